//! Gaussian random fields.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::random_modes::random_modes;
use super::{require_finite, require_positive};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::{Transform, symbol};

/// Gaussian random field `N(0, sigma^2 (-lap + tau^2 I)^-alpha)` on the periodic box.
///
/// ```text
/// u(x) = sum_m sqrt(lambda_m / V) xi_m exp(i k_m x),      lambda_m = sigma^2 (|k_m|^2 + tau^2)^-alpha,
/// ```
///
/// `xi_m` complex normal with `E |xi_m|^2 = 1`, `V` the volume: the variance at every point is `sum_m lambda_m / V`.
/// Modes up to the Nyquist mode of the grid (excluded) are drawn; a finer grid adds modes.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::GaussianField};
/// let omega = GaussianField::fno_navier_stokes().sample(&Grid::cube(2, 64, 1.0)?, 1)?;
/// assert_eq!(omega.shape(), [64, 64]);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianField {
    /// Scale of the field.
    pub sigma: f64,
    /// Inverse correlation length, in wavenumbers.
    pub tau: f64,
    /// Smoothness: sample paths have `alpha - d/2` derivatives.
    pub alpha: f64,
    /// Whether the mean is zero; otherwise it has variance `lambda_0 / V`.
    pub mean_free: bool,
}

impl GaussianField {
    /// Vorticity of the FNO Navier-Stokes data on `[0, 1)^2`: `sigma^2 = 7^3`, `tau = 7`, `alpha = 2.5`, no mean.
    ///
    /// # Source
    ///
    /// Li et al. 2021 (Fourier neural operator), sec. 5.3, and the authors' generator. The paper prints the factor
    /// `7^(3/2)` of the covariance's square root; the generator takes the real part of a complex field, which halves
    /// the power that its factor `sqrt(2)` doubles.
    pub fn fno_navier_stokes() -> Self {
        Self { sigma: 7f64.powf(1.5), tau: 7.0, alpha: 2.5, mean_free: true }
    }

    /// Start of the FNO Burgers data on `[0, 1)`: `N(0, 625 (-lap + 25 I)^-2)`, no mean.
    ///
    /// # Source
    ///
    /// Li et al. 2021, sec. 5.1, the law as printed; the authors' generator sets the mean to zero.
    pub fn fno_burgers() -> Self {
        Self { sigma: 25.0, tau: 5.0, alpha: 2.0, mean_free: true }
    }

    /// The field of a seed, `[space]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `sigma` is not positive, `tau` is negative, `tau` is zero while the mean is drawn, or a
    /// number is not finite.
    pub fn sample(&self, grid: &Grid, seed: u64) -> Result<ArrayD<f64>> {
        require_positive("sigma", self.sigma)?;
        require_finite("alpha", self.alpha)?;
        if !self.tau.is_finite() || self.tau < 0.0 || (self.tau == 0.0 && !self.mean_free) {
            return Err(Error::parameter("tau", self.tau, "must be >= 0 and finite, and > 0 unless mean_free"));
        }
        let u_hat = random_modes(grid, 1, seed, |m| (self.eigenvalue(grid, m) / grid.volume()).sqrt());
        Ok(Transform::plan(grid).inverse(u_hat.index_axis(Axis(0), 0)))
    }

    /// Eigenvalue `lambda_m` of the covariance at a mode.
    pub fn eigenvalue(&self, grid: &Grid, m: &[i64]) -> f64 {
        if self.mean_free && m.iter().all(|&m| m == 0) {
            return 0.0;
        }
        self.sigma.powi(2) * (symbol::mode_k_squared(grid, m) + self.tau.powi(2)).powf(-self.alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::super::random_modes::tests::assert_same_modes;
    use super::*;

    /// `sum_m lambda_m / V` over the modes that the grid draws.
    fn variance(field: &GaussianField, grid: &Grid) -> f64 {
        let weights = symbol::hermitian_weights::<f64>(grid);
        let modes = symbol::over_modes(grid, |m| {
            let drawn = !m.iter().zip(grid.shape()).any(|(&m, &n)| symbol::is_nyquist(n, m));
            if drawn { field.eigenvalue(grid, m) / grid.volume() } else { 0.0 }
        });
        (modes * &weights).sum()
    }

    #[test]
    fn variance_is_the_sum_of_the_eigenvalues() {
        let burgers = GaussianField::fno_burgers();
        let with_mean = GaussianField { mean_free: false, tau: 2.0, ..burgers };
        let cases = [
            (GaussianField::fno_navier_stokes(), Grid::cube(2, 16, 1.0).unwrap()),
            (burgers, Grid::cube(1, 33, 1.0).unwrap()),
            (with_mean, Grid::new(&[9, 8], &[2.0, 3.0]).unwrap()),
        ];
        for (field, grid) in cases {
            let expected = variance(&field, &grid);
            let samples = 2000;
            let squares = |seed| field.sample(&grid, seed).unwrap().mapv(|u| u * u).mean().unwrap();
            let mean_square = (0..samples).map(squares).sum::<f64>() / samples as f64;
            // The mean square of one sample scatters by at most sqrt(2) of itself: 3.2 % over 2000; four of them.
            assert!((mean_square / expected - 1.0).abs() < 0.13, "{mean_square} {expected}");
        }
    }

    #[test]
    fn navier_stokes_preset_has_the_published_spectrum() {
        // lambda_m = 7^3 (4 pi^2 |m|^2 + 49)^-2.5; mode (1, 0): 343 / 88.478^2.5.
        let lambda = GaussianField::fno_navier_stokes().eigenvalue(&Grid::cube(2, 8, 1.0).unwrap(), &[1, 0]);
        assert!((lambda - 343.0 / (39.47841760435743f64 + 49.0).powf(2.5)).abs() < 1e-15);
        let burgers = GaussianField::fno_burgers().eigenvalue(&Grid::cube(1, 8, 1.0).unwrap(), &[1]);
        assert!((burgers - 625.0 / (39.47841760435743f64 + 25.0).powi(2)).abs() < 1e-15);
    }

    #[test]
    fn a_finer_grid_adds_modes_and_changes_none() {
        let field = GaussianField::fno_navier_stokes();
        let (coarse, fine) = (Grid::cube(2, 16, 1.0).unwrap(), Grid::cube(2, 33, 1.0).unwrap());
        let (u, v) = (field.sample(&coarse, 9).unwrap(), field.sample(&fine, 9).unwrap());
        assert_same_modes((&coarse, &u), (&fine, &v));
        assert!(u.sum().abs() < 1e-10);
    }

    #[test]
    fn covariances_that_do_not_exist_are_refused() {
        let grid = Grid::cube(1, 8, 1.0).unwrap();
        let good = GaussianField::fno_burgers();
        for bad in [
            GaussianField { sigma: 0.0, ..good },
            GaussianField { tau: -1.0, ..good },
            GaussianField { tau: 0.0, mean_free: false, ..good },
            GaussianField { alpha: f64::NAN, ..good },
        ] {
            assert!(matches!(bad.sample(&grid, 0), Err(Error::Parameter { .. })));
        }
    }
}
