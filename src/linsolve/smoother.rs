//! Polynomial smoothers: damped Jacobi sweeps `x <- x + w_k S (b - A x)` with a weight each.
//!
//! The error is multiplied by `p(S A) = prod_k (1 - w_k S A)`: the reciprocals of the weights are the roots of `p`. With
//! `S = D^{-1}` the spectrum of `S A` lies in `[0, 2]`.

use std::f64::consts::PI;

use crate::error::{Error, Result};

/// Bound of the spectrum of `D^{-1} A` for any matrix with zero or positive row sums (Gershgorin).
const JACOBI_BOUND: f64 = 2.0;

/// Weights of the sweeps, in the order of the descent; the ascent takes them backwards.
#[derive(Clone, Debug, PartialEq)]
pub struct Smoother {
    pub(super) weights: Vec<f32>,
}

impl Smoother {
    /// Sweeps with the given weights.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there is 1 to 16 of them and `|p(t)| < 1` for `0 < t <= 2`, which keeps the cycle
    /// positive definite.
    pub fn new(weights: &[f64]) -> Result<Self> {
        if weights.is_empty() || weights.len() > 16 {
            return Err(Error::parameter("weights", format!("{weights:?}"), "must be 1 to 16 numbers"));
        }
        let smoother = Self { weights: weights.iter().map(|&w| w as f32).collect() };
        let is_finite = smoother.weights.iter().all(|w| w.is_finite());
        if !is_finite || smoother.amplification(JACOBI_BOUND) >= 1.0 {
            let rule = "must damp: |prod(1 - w t)| < 1 for 0 < t <= 2";
            return Err(Error::parameter("weights", format!("{weights:?}"), rule));
        }
        Ok(smoother)
    }

    /// `sweeps` equal sweeps of damped Jacobi, `w = 0.8`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are 1 to 16 sweeps.
    pub fn jacobi(sweeps: usize) -> Result<Self> {
        Self::new(&vec![0.8; sweeps])
    }

    /// Chebyshev polynomial of the first kind on `[2 / ratio, 2]`: the least largest `|p|` on this interval.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are 1 to 16 sweeps and `ratio > 1`.
    pub fn chebyshev(sweeps: usize, ratio: f64) -> Result<Self> {
        if !ratio.is_finite() || ratio <= 1.0 {
            return Err(Error::parameter("ratio", ratio, "must be > 1 and finite"));
        }
        let (low, high) = (JACOBI_BOUND / ratio, JACOBI_BOUND);
        let root =
            |k: usize| 0.5 * (high + low) + 0.5 * (high - low) * ((2 * k + 1) as f64 * PI / (2 * sweeps) as f64).cos();
        Self::new(&(0..sweeps).map(|k| 1.0 / root(k)).collect::<Vec<_>>())
    }

    /// Chebyshev polynomial of the fourth kind, `p(t) = W_n(1 - t) / (2 n + 1)`: the least largest `t p(t)^2` on `[0, 2]`,
    /// which is what a two-grid bound asks for, without an interval to choose.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are 1 to 16 sweeps.
    ///
    /// # Source
    ///
    /// J. Lottes, *Numer. Linear Algebra Appl.* 30 (2023) e2518; its three-term recurrence is written as a product here.
    pub fn fourth_kind(sweeps: usize) -> Result<Self> {
        let root = |k: usize| JACOBI_BOUND * ((sweeps - k) as f64 * PI / (2 * sweeps + 1) as f64).sin().powi(2);
        Self::new(&(0..sweeps).map(|k| 1.0 / root(k)).collect::<Vec<_>>())
    }

    /// The fourth kind with optimised coefficients, `p = 1 - sum_k beta_k (P_{k-1} - P_k)` with the plain polynomials `P_k` of degree `k`:
    /// the least largest `t p(t)^2 / (1 - p(t)^2)` on `[0, 2]`, the bound of a whole V-cycle.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are 1 to 4 sweeps.
    ///
    /// # Source
    ///
    /// As [`Smoother::fourth_kind`], table of optimal `beta`. The weights are one over the roots, found by bisection.
    pub fn fourth_kind_optimised(sweeps: usize) -> Result<Self> {
        const BETA: [&[f64]; 4] = [
            &[1.125],
            &[1.02387287570313, 1.26408905371085],
            &[1.00842544782028, 1.08867839208730, 1.33753125909618],
            &[1.00391310427285, 1.04035811188593, 1.14863498546254, 1.38268869241000],
        ];
        let Some(beta) = BETA.get(sweeps.wrapping_sub(1)) else {
            return Err(Error::parameter("sweeps", sweeps, "must be 1 to 4"));
        };
        // W_k(cos a) / (2 k + 1) = sin((k + 1/2) a) / ((2 k + 1) sin(a / 2)) with cos a = 1 - t.
        let plain = |k: usize, a: f64| ((k as f64 + 0.5) * a).sin() / ((2 * k + 1) as f64 * (0.5 * a).sin());
        let p = |a: f64| 1.0 - (1..=sweeps).map(|k| beta[k - 1] * (plain(k - 1, a) - plain(k, a))).sum::<f64>();
        const SAMPLES: usize = 1000;
        let angle = |s: usize| PI * s as f64 / SAMPLES as f64;
        let mut weights = Vec::new();
        for s in 1..SAMPLES {
            let (mut low, mut high) = (angle(s), angle(s + 1));
            if p(low) * p(high) <= 0.0 {
                for _ in 0..60 {
                    let middle = 0.5 * (low + high);
                    if p(low) * p(middle) <= 0.0 { high = middle } else { low = middle }
                }
                weights.push(1.0 / (1.0 - low.cos()));
            }
        }
        weights.reverse();
        Self::new(&weights)
    }

    /// The weights.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// Largest `|p(t)|` for `0 < t <= bound`, `t = 0` itself left out where `p` is one.
    pub(super) fn amplification(&self, bound: f64) -> f64 {
        const SAMPLES: usize = 4096;
        let p = |t: f64| self.weights.iter().map(|&w| 1.0 - f64::from(w) * t).product::<f64>().abs();
        (1..=SAMPLES).map(|s| p(bound * s as f64 / SAMPLES as f64)).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(smoother: &Smoother, t: f64) -> f64 {
        smoother.weights.iter().map(|&w| 1.0 - f64::from(w) * t).product()
    }

    #[test]
    fn chebyshev_polynomials_are_those_of_their_definitions() {
        for sweeps in 1..=6 {
            let (first, fourth) = (Smoother::chebyshev(sweeps, 10.0).unwrap(), Smoother::fourth_kind(sweeps).unwrap());
            let n = sweeps as f64;
            // T_n on [0.2, 2] over its value at 0; outside [-1, 1] T_n is a hyperbolic cosine.
            let top = (n * (2.2f64 / 1.8).acosh()).cosh();
            for t in [0.2, 0.5, 1.0, 1.7, 2.0] {
                let theta = ((2.2 - 2.0 * t) / 1.8f64).clamp(-1.0, 1.0).acos();
                // Weights are rounded to single precision.
                assert!((p(&first, t) - (n * theta).cos() / top).abs() < 1e-5);
                let theta = (1.0 - t).acos();
                let w = ((n + 0.5) * theta).sin() / (0.5 * theta).sin();
                assert!((p(&fourth, t) - w / (2.0 * n + 1.0)).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn optimised_weights_lower_the_bound_of_a_v_cycle() {
        let bound = |smoother: &Smoother| {
            (1..=2000)
                .map(|s| 1e-3 * s as f64)
                .map(|t| t * p(smoother, t).powi(2) / (1.0 - p(smoother, t).powi(2)))
                .fold(0.0, f64::max)
        };
        for sweeps in 1..=4 {
            let (plain, optimised) =
                (Smoother::fourth_kind(sweeps).unwrap(), Smoother::fourth_kind_optimised(sweeps).unwrap());
            assert_eq!(optimised.weights().len(), sweeps);
            // The bound falls from (1/3) / n (n + 1) to about (4/pi^2) / ((2 n + 1)^2 - 1), times two for the interval [0, 2].
            assert!(bound(&optimised) < 0.95 * bound(&plain), "{sweeps}: {} {}", bound(&optimised), bound(&plain));
        }
        assert!(Smoother::fourth_kind_optimised(5).is_err() && Smoother::fourth_kind_optimised(0).is_err());
    }

    #[test]
    fn weights_that_amplify_are_refused() {
        assert!(Smoother::new(&[1.01]).is_err());
        assert!(Smoother::new(&[-0.1]).is_err());
        assert!(Smoother::new(&[f64::NAN]).is_err());
        assert!(Smoother::new(&[]).is_err() && Smoother::jacobi(17).is_err() && Smoother::fourth_kind(0).is_err());
        assert!(Smoother::chebyshev(2, 1.0).is_err());
        assert!(Smoother::new(&[0.577, 2.01]).is_ok());
    }
}
