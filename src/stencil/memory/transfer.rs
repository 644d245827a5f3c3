//! Frequency responses of systems and the distance between them.

use faer::Mat;
use faer::linalg::solvers::Solve;
use num_complex::Complex64;

use super::hippo::System;

/// A linear map from a signal to a signal, by its transfer function.
pub trait Response {
    /// `G(i omega) = C (i omega - A)^-1 B` for the read-out `c`.
    fn response(&self, c: &[f64], omega: f64) -> Complex64;
}

impl Response for System {
    fn response(&self, c: &[f64], omega: f64) -> Complex64 {
        let n = self.b.len();
        let shifted =
            Mat::<Complex64>::from_fn(n, n, |i, j| Complex64::new(-self.a[[i, j]], if i == j { omega } else { 0.0 }));
        let b = Mat::<Complex64>::from_fn(n, 1, |i, _| self.b[i].into());
        let x = shifted.partial_piv_lu().solve(&b);
        c.iter().enumerate().map(|(i, &c)| x[(i, 0)] * c).sum()
    }
}

/// Frequencies at which a supremum over all of them is looked for: `points` of them from `1e-3` to four times the largest
/// `|eigenvalue|`, equally spaced in the logarithm, and around each resonance `|Im lambda|` eight within its width
/// `|Re lambda|`.
pub fn frequencies(eigenvalues: &[Complex64], points: usize) -> Vec<f64> {
    let largest = eigenvalues.iter().map(|l| l.norm()).fold(1e-2, f64::max);
    let (low, high) = (1e-3f64.ln(), (4.0 * largest).ln());
    let mut omega: Vec<f64> =
        (0..points).map(|i| (low + (high - low) * i as f64 / (points.max(2) - 1) as f64).exp()).collect();
    for l in eigenvalues.iter().filter(|l| l.im > 0.0) {
        omega.extend((0..8).map(|i| l.im + l.re.abs() * (i as f64 / 3.5 - 1.0)).filter(|w| *w > 0.0));
    }
    omega.sort_by(f64::total_cmp);
    omega
}

/// `max_omega |G_1 - G_2|`, `max_omega |G_1|` and the frequency of the first: the H-infinity distance on a set of
/// frequencies, and the norm that it is relative to.
pub fn distance(g1: &impl Response, g2: &impl Response, c: &[f64], frequencies: &[f64]) -> (f64, f64, f64) {
    let mut worst = (0.0, 0.0, 0.0);
    for &omega in frequencies {
        let (a, b) = (g1.response(c, omega), g2.response(c, omega));
        if (a - b).norm() > worst.0 {
            (worst.0, worst.2) = ((a - b).norm(), omega);
        }
        worst.1 = a.norm().max(worst.1);
    }
    worst
}
