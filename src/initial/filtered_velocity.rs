//! Divergence-free white noise filtered to a wavenumber.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::random_modes::{random_modes, reference_grid};
use super::{require_dim, require_positive};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::{Derivatives, symbol};

/// Velocity field like `filtered_velocity_field` of JAX-CFD: white noise in each component times a log-normal density
/// of the wavenumber, projected onto divergence-free fields, scaled to a maximum speed.
///
/// ```text
/// û_m ~ P_m xi_m rho(|k_m|),      rho(k) = exp(-(ln(peak) + s - ln k)^2 / (2 s)) / k^d,      s = 1/4
/// ```
///
/// The log-normal density has its mode at `peak`; the division by `k^(d-1)` accounts for the size of the shell. There
/// is no mean flow.
///
/// # Source
///
/// Kochkov et al. 2021, "Machine learning-accelerated computational fluid dynamics", and the public code of JAX-CFD.
/// That code works on staggered finite volumes and repeats projection and scaling against round-off; here one spectral
/// projection is exact.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::FilteredVelocity};
/// let grid = Grid::cube(2, 64, std::f64::consts::TAU)?;
/// let velocity = FilteredVelocity { peak: 4.0, max_speed: 7.0 }.sample(&grid, 1)?;
/// assert_eq!(velocity.shape(), [2, 64, 64]);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilteredVelocity {
    /// Wavenumber of the largest magnitudes, angular.
    pub peak: f64,
    /// Maximum of `|u|`. It is taken on a reference grid of the box, the same for every resolution, of at least 32
    /// points (2-D) or 8 points (3-D) a peak wavelength; on the caller's grid it may differ by a few per cent.
    pub max_speed: f64,
}

impl Default for FilteredVelocity {
    /// Peak wavenumber 3, maximum speed 1, as in JAX-CFD.
    fn default() -> Self {
        Self { peak: 3.0, max_speed: 1.0 }
    }
}

impl FilteredVelocity {
    /// The velocity of a seed, `[d, space]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) if the grid has one dimension or a number is not positive.
    pub fn sample(&self, grid: &Grid, seed: u64) -> Result<ArrayD<f64>> {
        require_dim(grid, 2..=3)?;
        require_positive("peak", self.peak)?;
        require_positive("max_speed", self.max_speed)?;
        let mut velocity = self.unscaled(grid, seed);
        let longest = (0..grid.dim()).map(|axis| grid.k_unit(axis)).fold(f64::INFINITY, f64::min);
        let peak_mode = (self.peak / longest).ceil() as usize;
        let reference = reference_grid(grid, if grid.dim() == 2 { 4 * peak_mode } else { peak_mode });
        let reference = self.unscaled(&reference, seed);
        let speed = reference.map_axis(Axis(0), |u| u.iter().map(|u| u * u).sum::<f64>().sqrt());
        velocity *= self.max_speed / speed.iter().fold(0.0f64, |largest, s| largest.max(*s));
        Ok(velocity)
    }

    fn unscaled(&self, grid: &Grid, seed: u64) -> ArrayD<f64> {
        let derivatives = Derivatives::plan(grid);
        let noise_hat =
            random_modes(grid, grid.dim(), seed, |m| self.density(symbol::mode_k_squared(grid, m).sqrt(), grid.dim()));
        derivatives.transform().inverse_owned(derivatives.leray_hat(noise_hat.view()))
    }

    fn density(&self, k: f64, dim: usize) -> f64 {
        if k == 0.0 {
            return 0.0;
        }
        // With s = 1/4 the log-normal density 1/k exp(-(ln k - mu)^2 / 2s) has its mode at exp(mu - s).
        let s = 0.25;
        let deviation = self.peak.ln() + s - k.ln();
        (-deviation * deviation / (2.0 * s)).exp() / k.powi(dim as i32)
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::random_modes::tests::assert_same_modes;
    use super::*;
    use crate::spectral::Spectra;

    #[test]
    fn velocity_is_divergence_free_with_the_maximum_speed() {
        for (shape, lengths) in [(vec![128, 128], vec![TAU, TAU]), (vec![48, 45, 64], vec![TAU, TAU, TAU])] {
            let grid = Grid::new(&shape, &lengths).unwrap();
            let velocity = FilteredVelocity { peak: 2.0, max_speed: 7.0 }.sample(&grid, 1).unwrap();
            let divergence = Derivatives::plan(&grid).divergence(velocity.view());
            // Gradients have size 20.
            assert!(divergence.iter().all(|d| d.abs() < 1e-11));
            let speed = velocity.map_axis(Axis(0), |u| u.iter().map(|u| u * u).sum::<f64>().sqrt());
            let largest = speed.iter().fold(0.0f64, |largest, s| largest.max(*s));
            // The grid is not the reference grid. Half a spacing from its crest at 8 points a wavelength the peak mode
            // has lost 1 - cos(pi / 8) = 8 %.
            assert!((largest / 7.0 - 1.0).abs() < 0.08, "{largest}");
        }
    }

    #[test]
    fn energy_peaks_at_or_below_the_peak_wavenumber() {
        let grid = Grid::cube(2, 64, TAU).unwrap();
        let mut density = vec![0.0; 64];
        for seed in 0..20 {
            let velocity = FilteredVelocity { peak: 6.0, max_speed: 1.0 }.sample(&grid, seed).unwrap();
            let shells = Spectra::plan(&grid).energy_spectrum(velocity.view());
            shells.density.iter().zip(&mut density).for_each(|(e, sum)| *sum += e);
        }
        // E(k) ~ k rho^2: d ln E / d ln k = 1 - 4 + 8 (ln(6) + 1/4 - ln k) = 0 at k = 6 exp(-1/8) = 5.3.
        let peak = (0..64).max_by(|&a, &b| density[a].total_cmp(&density[b])).unwrap();
        assert!((4..=6).contains(&peak), "{peak}");
    }

    #[test]
    fn a_seed_is_the_same_velocity_at_every_resolution() {
        let (coarse, fine) = (Grid::cube(2, 32, TAU).unwrap(), Grid::cube(2, 54, TAU).unwrap());
        let filter = FilteredVelocity::default();
        let (u, v) = (filter.sample(&coarse, 4).unwrap(), filter.sample(&fine, 4).unwrap());
        assert_same_modes((&coarse, &u), (&fine, &v));
    }

    #[test]
    fn one_dimension_is_refused() {
        assert!(FilteredVelocity::default().sample(&Grid::cube(1, 16, 1.0).unwrap(), 0).is_err());
        let still = FilteredVelocity { peak: 3.0, max_speed: 0.0 };
        assert!(still.sample(&Grid::cube(2, 16, 1.0).unwrap(), 0).is_err());
    }
}
