//! Decaying two-dimensional turbulence.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::random_modes::random_modes;
use super::{require_dim, require_positive, require_resolved};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::{Spectra, Transform, symbol};

/// How the amplitude of the stream function follows from `rho(k) = 1 / (k (1 + (k / k0)^4))`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum McWilliamsVariant {
    /// `|psi_k|^2 ~ rho`: the density of the paper, energy `E(k) ~ k^2 / (1 + (k / k0)^4)`.
    Published,
    /// `|psi_k| ~ rho`: torch-cfd multiplies white noise by the density itself, a steeper start.
    TorchCfd,
}

/// Random vorticity with the spectrum of McWilliams 1984.
///
/// The stream function has independent normal coefficients of variance `rho(k)` ([`McWilliamsVariant::Published`]) or
/// `rho(k)^2` ([`McWilliamsVariant::TorchCfd`]); `omega = -lap psi` is scaled to the given kinetic energy.
///
/// # Source
///
/// J. C. McWilliams, "The emergence of isolated coherent vortices in turbulent flow", J. Fluid Mech. 146 (1984); the
/// second variant as in the public code of torch-cfd (`vorticity_field`).
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::McWilliams, spectral::Spectra};
/// let grid = Grid::cube(2, 64, std::f64::consts::TAU)?;
/// let omega = McWilliams::published().sample(&grid, 1)?;
/// assert!((Spectra::plan(&grid).energy_of_vorticity(omega.view()) - 0.5).abs() < 1e-14);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct McWilliams {
    /// Amplitude law.
    pub variant: McWilliamsVariant,
    /// Wavenumber `k0` (angular) where the density bends.
    pub k0: f64,
    /// Kinetic energy `1/2 <|u|^2>`.
    pub energy: f64,
    /// Highest mode on each axis. `None` fills the grid below its Nyquist modes: the energy is exact on any grid, but
    /// the published spectrum falls off slowly (`E ~ k^-2`), so the common scale factor of a seed then depends on the
    /// resolution. With `Some` the field is the same at every resolution.
    pub cut: Option<usize>,
}

impl McWilliams {
    /// The published density with `k0 = 6`, energy 1/2.
    pub fn published() -> Self {
        Self { variant: McWilliamsVariant::Published, k0: 6.0, energy: 0.5, cut: None }
    }

    /// The variant of torch-cfd with peak wavenumber `k0`, scaled as there: `sum_m 2 |k psi_hat_m|^2 / N^4 = 1` sets
    /// the mean square of the speed to 1/2, that is the energy `1/2 <|u|^2>` to 1/4.
    pub fn torch_cfd(k0: f64) -> Self {
        Self { variant: McWilliamsVariant::TorchCfd, k0, energy: 0.25, cut: None }
    }

    /// The vorticity of a seed, `[x, y]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the grid is not two-dimensional, a number is not positive, or `cut` is 0 or at least
    /// half the points of an axis.
    pub fn sample(&self, grid: &Grid, seed: u64) -> Result<ArrayD<f64>> {
        require_dim(grid, 2..=2)?;
        require_positive("k0", self.k0)?;
        require_positive("energy", self.energy)?;
        if let Some(cut) = self.cut {
            if cut == 0 {
                return Err(Error::parameter("cut", cut, "must be at least 1"));
            }
            require_resolved(grid, "cut", cut)?;
        }
        let mut omega_hat = random_modes(grid, 1, seed, |m| {
            let k2 = symbol::mode_k_squared(grid, m);
            let above_cut = |m: &i64| self.cut.is_some_and(|cut| m.unsigned_abs() as usize > cut);
            if k2 == 0.0 || m.iter().any(above_cut) { 0.0 } else { k2 * self.psi_amplitude(k2.sqrt()) }
        });
        let energy = Spectra::plan(grid).moment_hat(omega_hat.view(), -1);
        omega_hat *= num_complex::Complex64::from((self.energy / energy).sqrt());
        Ok(Transform::plan(grid).inverse(omega_hat.index_axis(Axis(0), 0)))
    }

    fn psi_amplitude(&self, k: f64) -> f64 {
        let density = 1.0 / (k * (1.0 + (k / self.k0).powi(4)));
        match self.variant {
            McWilliamsVariant::Published => density.sqrt(),
            McWilliamsVariant::TorchCfd => density,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::random_modes::tests::assert_same_modes;
    use super::*;

    #[test]
    fn energy_is_as_asked_and_the_mean_is_zero() {
        for shape in [[64, 64], [45, 64]] {
            let grid = Grid::new(&shape, &[TAU, TAU]).unwrap();
            let spectra = Spectra::plan(&grid);
            for start in [
                McWilliams::published(),
                McWilliams::torch_cfd(4.0),
                McWilliams { cut: Some(20), ..McWilliams::published() },
            ] {
                let omega = start.sample(&grid, 2).unwrap();
                assert!((spectra.energy_of_vorticity(omega.view()) / start.energy - 1.0).abs() < 1e-13);
                assert!(omega.mean().unwrap().abs() < 1e-14);
            }
        }
    }

    #[test]
    fn torch_cfd_normalisation_is_energy_one_quarter() {
        // The peer's own formula, sum over the full spectrum of 2 |k psi|^2 / N^4 = 1.
        let grid = Grid::cube(2, 32, TAU).unwrap();
        let omega = McWilliams::torch_cfd(3.0).sample(&grid, 1).unwrap();
        let omega_hat = Transform::plan(&grid).forward(omega.view());
        let full = symbol::hermitian_weights::<f64>(&grid)
            * symbol::over_modes(&grid, |m| if m == [0, 0] { 0.0 } else { 2.0 / symbol::mode_k_squared(&grid, m) });
        let sum: f64 = omega_hat.iter().zip(&full).map(|(c, w)| w * c.norm_sqr()).sum();
        assert!((sum / 32f64.powi(4) - 1.0).abs() < 1e-13);
    }

    #[test]
    fn spectra_follow_the_two_laws() {
        let grid = Grid::cube(2, 128, TAU).unwrap();
        let spectra = Spectra::plan(&grid);
        for (start, slope) in [(McWilliams::published(), -2.0), (McWilliams::torch_cfd(6.0), -7.0)] {
            let mut density = vec![0.0; 128];
            for seed in 0..10 {
                let shells = spectra.energy_spectrum_of_vorticity(start.sample(&grid, seed).unwrap().view());
                shells.density.iter().zip(&mut density).for_each(|(e, sum)| *sum += e);
            }
            // E(k) ~ k^3 |psi_k|^2. Shells of 100 modes or more, 10 samples: each sum is good to 3 %; ln 2 is 0.69.
            let measured = (density[48] / density[24]).log2();
            let (rho24, rho48) = (1.0 / (24.0 * 257.0f64), 1.0 / (48.0 * 4097.0f64));
            let power = if slope == -2.0 { 1.0 } else { 2.0 };
            let expected = 3.0 + power * (rho48 / rho24).log2();
            assert!((measured - expected).abs() < 0.25 && (expected - slope).abs() < 0.1, "{measured} {expected}");
        }
    }

    #[test]
    fn with_a_cut_a_seed_is_the_same_vorticity_at_every_resolution() {
        let (coarse, fine) = (Grid::cube(2, 32, TAU).unwrap(), Grid::cube(2, 45, TAU).unwrap());
        let start = McWilliams { cut: Some(12), ..McWilliams::published() };
        assert_same_modes((&coarse, &start.sample(&coarse, 3).unwrap()), (&fine, &start.sample(&fine, 3).unwrap()));
        // Without a cut, up to a factor.
        let start = McWilliams::published();
        let (u, v) = (start.sample(&coarse, 3).unwrap(), start.sample(&fine, 3).unwrap());
        let mode =
            |grid: &Grid, u: &ArrayD<f64>| Transform::plan(grid).forward(u.view())[[1, 2]] / grid.points() as f64;
        let factor = mode(&coarse, &u) / mode(&fine, &v);
        assert!(factor.im.abs() < 1e-13);
        assert_same_modes((&coarse, &u), (&fine, &(v * factor.re)));
    }

    #[test]
    fn only_two_dimensions_and_resolved_cuts() {
        let start = McWilliams::published();
        assert!(start.sample(&Grid::cube(3, 8, 1.0).unwrap(), 0).is_err());
        assert!(McWilliams { cut: Some(16), ..start }.sample(&Grid::cube(2, 32, 1.0).unwrap(), 0).is_err());
        assert!(McWilliams { k0: -1.0, ..start }.sample(&Grid::cube(2, 32, 1.0).unwrap(), 0).is_err());
    }
}
