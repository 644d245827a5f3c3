//! Quadratic diagnostics of a field and their distribution over scales.

use ndarray::{ArrayD, ArrayViewD};
use num_complex::Complex;

use crate::field::{Grid, Real};
use crate::spectral::{Transform, symbol};

/// Shell spectrum: `density[i]` belongs to the shell of wavenumbers `k[i] - dk/2 <= |k| < k[i] + dk/2`.
#[derive(Clone, Debug, PartialEq)]
pub struct ShellSpectrum {
    /// Wavenumber of each shell, `0, dk, 2 dk, ..`; `dk = 2 pi / L` of the longest side.
    pub k: Vec<f64>,
    /// Contribution of each shell; the sum is the diagnostic itself.
    pub density: Vec<f64>,
}

/// Plan of the volume-averaged quadratic diagnostics `1/2 <| |k|^p u |^2>` and their shell spectra.
///
/// ```text
/// 1/2 <|u|^2> = (1/2) N^-2 sum_half w_m |û_m|^2
/// ```
///
/// Leading axes are components: their contributions are added, so the same functions serve a scalar
/// `[space]` and a velocity `[d, space]`. Sums are in double precision.
///
/// # Panics
///
/// Every method panics if the trailing axes are not the grid's.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, spectral::Spectra};
///
/// let grid = Grid::cube(2, 16, std::f64::consts::TAU)?;
/// let spectra = Spectra::<f64>::plan(&grid);
/// let x = grid.coordinates(0);
/// let omega = Array::from_shape_fn((16, 16), |(i, j)| 2.0 * x[i].cos() * x[j].cos()).into_dyn();
/// assert!((spectra.enstrophy(omega.view()) - 0.5).abs() < 1e-14);
/// assert!((spectra.energy_of_vorticity(omega.view()) - 0.25).abs() < 1e-14);
/// let spectrum = spectra.energy_spectrum_of_vorticity(omega.view());
/// assert!((spectrum.density[1] - 0.25).abs() < 1e-14); // |m| = sqrt(2) lies in shell 1
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Spectra<T: Real> {
    transform: Transform<T>,
    /// `(1/2) N^-2 w_m` of each mode.
    weight: ArrayD<f64>,
    k2: ArrayD<f64>,
    shell: ArrayD<usize>,
    dk: f64,
}

impl<T: Real> Spectra<T> {
    /// Plans the diagnostics of a grid.
    pub fn plan(grid: &Grid) -> Self {
        let dk = (0..grid.dim()).map(|axis| grid.k_unit(axis)).fold(f64::INFINITY, f64::min);
        let scale = 0.5 / (grid.points() as f64).powi(2);
        let k2 = symbol::k_squared::<f64>(grid);
        Self {
            transform: Transform::plan(grid),
            weight: symbol::over_modes(grid, |_| scale) * &symbol::hermitian_weights::<f64>(grid),
            shell: k2.mapv(|k2| (k2.sqrt() / dk + 0.5).floor() as usize),
            k2,
            dk,
        }
    }

    /// `1/2 <|u|^2>`: kinetic energy of a velocity, half the mean square of a scalar.
    pub fn energy(&self, u: ArrayViewD<'_, T>) -> f64 {
        self.moment_hat(self.transform.forward(u).view(), 0)
    }

    /// Kinetic energy `1/2 <omega (-lap)^-1 omega>` of a vorticity; its mean carries none.
    pub fn energy_of_vorticity(&self, omega: ArrayViewD<'_, T>) -> f64 {
        self.moment_hat(self.transform.forward(omega).view(), -1)
    }

    /// Enstrophy `1/2 <omega^2>` of a vorticity.
    pub fn enstrophy(&self, omega: ArrayViewD<'_, T>) -> f64 {
        self.energy(omega)
    }

    /// Palinstrophy `1/2 <|grad omega|^2>` of a vorticity.
    pub fn palinstrophy(&self, omega: ArrayViewD<'_, T>) -> f64 {
        self.moment_hat(self.transform.forward(omega).view(), 1)
    }

    /// Shell spectrum of [`Spectra::energy`].
    pub fn energy_spectrum(&self, u: ArrayViewD<'_, T>) -> ShellSpectrum {
        self.shells_hat(self.transform.forward(u).view(), 0)
    }

    /// Shell spectrum of [`Spectra::energy_of_vorticity`].
    pub fn energy_spectrum_of_vorticity(&self, omega: ArrayViewD<'_, T>) -> ShellSpectrum {
        self.shells_hat(self.transform.forward(omega).view(), -1)
    }

    /// `1/2 <u (-lap)^p u>` from coefficients: with `p = 0` energy or enstrophy, with a vorticity `p = -1` the energy
    /// and `p = 1` the palinstrophy. The mean is left out if `p < 0`.
    pub fn moment_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>, p: i32) -> f64 {
        self.modal(&u_hat, p).map(|(_, e)| e).sum()
    }

    /// Shell spectrum of [`Spectra::moment_hat`].
    pub fn shells_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>, p: i32) -> ShellSpectrum {
        let shells = self.shell.iter().max().map_or(0, |last| last + 1);
        let mut density = vec![0.0; shells];
        self.modal(&u_hat, p).for_each(|(shell, e)| density[shell] += e);
        ShellSpectrum { k: (0..shells).map(|i| i as f64 * self.dk).collect(), density }
    }

    /// Shell and contribution of every mode of every component.
    fn modal<'a>(&'a self, u_hat: &'a ArrayViewD<'_, Complex<T>>, p: i32) -> impl Iterator<Item = (usize, f64)> + 'a {
        let half = self.shell.shape();
        assert!(u_hat.shape().ends_with(half), "Spectra: trailing axes must be {half:?}, got {:?}", u_hat.shape());
        let modes = || self.shell.iter().zip(&self.k2).zip(&self.weight);
        let components = u_hat.len() / self.shell.len();
        u_hat.iter().zip((0..components).flat_map(move |_| modes())).map(move |(u, ((&shell, &k2), w))| {
            let power = if k2 == 0.0 && p < 0 { 0.0 } else { k2.powi(p) };
            (shell, w * power * (u.re.as_f64().powi(2) + u.im.as_f64().powi(2)))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::spectral::Derivatives;
    use crate::spectral::testing::{dot, noise, sample};

    #[test]
    fn spectra_add_up_to_the_diagnostic() {
        for grid in [
            Grid::new(&[16], &[TAU]).unwrap(),
            Grid::new(&[12, 9], &[1.0, 3.0]).unwrap(),
            Grid::new(&[6, 7, 8], &[1.0, 1.0, 2.0]).unwrap(),
        ] {
            let spectra = Spectra::<f64>::plan(&grid);
            let velocity = noise::<f64>(&[&[grid.dim()], grid.shape()].concat(), 1);
            let mean_square = dot(&velocity, &velocity) / grid.points() as f64;
            let energy = spectra.energy(velocity.view());
            assert!((energy / (0.5 * mean_square) - 1.0).abs() < 1e-14);
            let shells = spectra.energy_spectrum(velocity.view());
            assert!((shells.density.iter().sum::<f64>() / energy - 1.0).abs() < 1e-14);
            assert_eq!(shells.k.len(), shells.density.len());
            let scalar = noise::<f64>(grid.shape(), 2);
            let sum: f64 = spectra.energy_spectrum_of_vorticity(scalar.view()).density.iter().sum();
            assert!((sum / spectra.energy_of_vorticity(scalar.view()) - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn a_mode_lies_in_the_shell_of_its_wavenumber() {
        // dk = 0.5; k = (1, 2) has |k| / dk = 4.47, shell 4.
        let grid = Grid::new(&[16, 16], &[TAU, 2.0 * TAU]).unwrap();
        let u = sample::<f64>(&grid, |x| 2.0 * (x[0] + 2.0 * x[1]).cos());
        let spectrum = Spectra::plan(&grid).energy_spectrum(u.view());
        assert_eq!(spectrum.k[4], 2.0);
        assert!((spectrum.density[4] - 1.0).abs() < 1e-14);
        assert!(spectrum.density.iter().enumerate().all(|(i, e)| i == 4 || e.abs() < 1e-28));
    }

    #[test]
    fn vorticity_and_velocity_agree_on_the_energy() {
        let grid = Grid::new(&[9, 11], &[1.0, 2.0]).unwrap();
        let (spectra, derivatives) = (Spectra::<f64>::plan(&grid), Derivatives::plan(&grid));
        let omega = noise::<f64>(grid.shape(), 3);
        let velocity = derivatives.biot_savart(omega.view());
        let of_omega = spectra.energy_spectrum_of_vorticity(omega.view());
        let of_velocity = spectra.energy_spectrum(velocity.view());
        for (a, b) in of_omega.density.iter().zip(&of_velocity.density) {
            assert!((a - b).abs() < 1e-14 * spectra.energy(velocity.view()));
        }
        let gradient = derivatives.gradient(omega.view());
        assert!((spectra.palinstrophy(omega.view()) / spectra.energy(gradient.view()) - 1.0).abs() < 1e-13);
        assert_eq!(spectra.enstrophy(omega.view()), spectra.energy(omega.view()));
    }
}
