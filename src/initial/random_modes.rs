//! Random Fourier coefficients that do not depend on the resolution.

use std::f64::consts::FRAC_1_SQRT_2;

use ndarray::{ArrayD, Axis, stack};
use num_complex::Complex64;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::field::Grid;
use crate::spectral::symbol;

/// Coefficients of `u(x) = sum_m amplitude(m) xi_m exp(i k_m x)`, real, one field a component,
/// `[components, half space]`; `xi_m` is complex normal with `E |xi_m|^2 = 1`, real normal for the mean.
///
/// `xi_m` is drawn from the stream of its mode and component, and `xi_-m = conj(xi_m)`. Nyquist modes are left out:
/// they exist on one grid only. `amplitude` must be even in `m`; modes of amplitude zero cost nothing.
pub(super) fn random_modes(
    grid: &Grid,
    components: usize,
    seed: u64,
    amplitude: impl Fn(&[i64]) -> f64,
) -> ArrayD<Complex64> {
    let points = grid.points() as f64;
    let coefficient = |component: usize, m: &[i64]| {
        let at_nyquist = m.iter().zip(grid.shape()).any(|(&m, &n)| symbol::is_nyquist(n, m));
        let scale = if at_nyquist { 0.0 } else { points * amplitude(m) };
        if scale == 0.0 { Complex64::ZERO } else { scale * mode_draw(m, component, seed) }
    };
    let fields: Vec<_> = (0..components).map(|c| symbol::over_modes(grid, |m| coefficient(c, m))).collect();
    let views: Vec<_> = fields.iter().map(|f| f.view()).collect();
    stack(Axis(0), &views).expect("components have equal shapes")
}

/// `xi_m` of one component.
fn mode_draw(m: &[i64], component: usize, seed: u64) -> Complex64 {
    // Of m and -m the one whose last non-zero entry is positive is drawn, the other is its conjugate.
    let sign = m.iter().rev().find(|&&m| m != 0).map_or(0, |m| m.signum());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream(m, if sign < 0 { -1 } else { 1 }, component));
    let (re, im): (f64, f64) = (rng.sample(StandardNormal), rng.sample(StandardNormal));
    let xi = if sign == 0 { Complex64::from(re) } else { Complex64::new(re, im) * FRAC_1_SQRT_2 };
    if sign < 0 { xi.conj() } else { xi }
}

/// Number of the stream of mode `sign m`: 20 bits an axis, then the component.
fn stream(m: &[i64], sign: i64, component: usize) -> u64 {
    let digits = m.iter().map(|m| (sign * m) as u64 & 0xF_FFFF);
    let mode = digits.enumerate().fold(0, |code, (axis, digit)| code | digit << (20 * axis));
    mode | (component as u64) << 60
}

/// Grid of the same box, the same for every resolution, that resolves modes up to `cut` eight times: where maxima are
/// taken, so that a normalisation by the maximum does not depend on the grid either.
pub(super) fn reference_grid(grid: &Grid, cut: usize) -> Grid {
    let n = (8 * cut.max(1)).next_power_of_two();
    grid.with_shape(&vec![n; grid.dim()]).expect("at least 8 points an axis")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::spectral::Transform;

    /// Asserts that two fields with a leading component axis (or none) share all modes below the Nyquist modes of
    /// both grids, relative to the largest coefficient.
    pub fn assert_same_modes(a: (&Grid, &ArrayD<f64>), b: (&Grid, &ArrayD<f64>)) {
        let series = |(grid, u): (&Grid, &ArrayD<f64>)| {
            let u_hat = Transform::plan(grid).forward(u.view());
            u_hat.mapv(|c| c / grid.points() as f64)
        };
        let (a_hat, b_hat) = (series(a), series(b));
        let scale = a_hat.iter().map(|c| c.norm()).fold(0.0, f64::max);
        assert!(scale > 0.0);
        let components = if a.1.ndim() > a.0.dim() { a.1.shape()[0] } else { 1 };
        let flat = |u: ArrayD<Complex64>, grid: &Grid| {
            u.into_shape_with_order([&[components], &grid.half_shape()[..]].concat()).unwrap()
        };
        let (a_hat, b_hat) = (flat(a_hat, a.0), flat(b_hat, b.0));
        let index = |grid: &Grid, m: &[i64]| {
            let i = m.iter().zip(grid.shape()).map(|(&m, &n)| m.rem_euclid(n as i64) as usize);
            i.collect::<Vec<_>>()
        };
        symbol::over_modes(a.0, |m| {
            let shared = m.iter().zip(a.0.shape()).zip(b.0.shape());
            if shared.into_iter().all(|((m, &p), &q)| 2 * (m.unsigned_abs() as usize) < p.min(q)) {
                for c in 0..components {
                    let (x, y) = (a_hat.index_axis(Axis(0), c), b_hat.index_axis(Axis(0), c));
                    let error = (x[&index(a.0, m)[..]] - y[&index(b.0, m)[..]]).norm();
                    // Round-off of two transforms.
                    assert!(error < 1e-14 * scale, "mode {m:?}: {error}");
                }
            }
        });
    }

    #[test]
    fn planes_of_the_half_spectrum_are_hermitian() {
        let grid = Grid::new(&[8, 9, 10], &[1.0; 3]).unwrap();
        let transform = Transform::<f64>::plan(&grid);
        let u_hat = random_modes(&grid, 2, 5, |_| 1.0);
        let again = transform.forward(transform.inverse(u_hat.view()).view());
        // The inverse transform would have changed coefficients without the symmetry.
        assert!((&again - &u_hat).iter().all(|e| e.norm() < 1e-11), "coefficients have size 720");
    }

    #[test]
    fn streams_differ_between_modes_components_and_seeds() {
        let mut draws = Vec::new();
        for component in 0..3 {
            for m in [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 1, 0], [1, 1, 0], [-1, -1, 1]] {
                for seed in 0..3 {
                    draws.push(mode_draw(&m, component, seed).re);
                }
            }
        }
        draws.sort_by(f64::total_cmp);
        assert!(draws.windows(2).all(|pair| pair[0] != pair[1]));
        let (m, minus) = ([2, -3, 0], [-2, 3, 0]);
        assert_eq!(mode_draw(&m, 0, 7), mode_draw(&minus, 0, 7).conj());
    }

    #[test]
    fn draws_have_unit_variance() {
        let draws: Vec<_> = (0..20000).map(|i| mode_draw(&[i, 1], 0, 1)).collect();
        let mean_square = draws.iter().map(|d| d.norm_sqr()).sum::<f64>() / 20000.0;
        let pseudo = draws.iter().map(|d| d * d).sum::<Complex64>() / 20000.0;
        // |xi|^2 is exponential: standard deviation 1 / sqrt(20000) = 0.007; four of them.
        assert!((mean_square - 1.0).abs() < 0.03 && pseudo.norm() < 0.03);
        let mean: f64 = (0..20000).map(|seed| mode_draw(&[0, 0], 0, seed).re.powi(2)).sum();
        assert!((mean / 20000.0 - 1.0).abs() < 0.04, "chi-square: standard deviation 0.01");
    }
}
