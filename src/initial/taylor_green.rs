//! Taylor-Green vortices.

use ndarray::{ArrayD, Axis, stack};

use super::{require_cube, require_dim, require_positive, require_resolved, sample};
use crate::error::Result;
use crate::field::Grid;

/// Vorticity `omega = 2 k cos(k x) cos(k y)`, `k = 2 pi mode / L`, of the two-dimensional vortex
/// `(u, v) = (-cos(k x) sin(k y), sin(k x) cos(k y))`; `[x, y]`.
///
/// The nonlinear term vanishes: under viscosity it decays as `exp(-2 nu k^2 t)`, exactly.
///
/// # Errors
///
/// [`Error::Parameter`](crate::Error::Parameter) unless the grid is two-dimensional, square and resolves `mode > 0`.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::taylor_green};
/// let omega = taylor_green::vorticity(&Grid::cube(2, 32, std::f64::consts::TAU)?, 3)?;
/// assert_eq!(omega[[0, 0]], 6.0);
/// # Ok::<(), parseval::Error>(())
/// ```
pub fn vorticity(grid: &Grid, mode: usize) -> Result<ArrayD<f64>> {
    require_dim(grid, 2..=2)?;
    let k = wavenumber(grid, mode)?;
    Ok(sample(grid, |x| 2.0 * k * (k * x[0]).cos() * (k * x[1]).cos()))
}

/// Velocity `(sin(kx) cos(ky) cos(kz), -cos(kx) sin(ky) cos(kz), 0)`, `k = 2 pi mode / L`; `[3, x, y, z]`.
///
/// # Source
///
/// G. I. Taylor and A. E. Green, Proc. R. Soc. A 158 (1937); the test case at Re = 1600 of Brachet et al.,
/// J. Fluid Mech. 130 (1983).
///
/// # Errors
///
/// [`Error::Parameter`](crate::Error::Parameter) unless the grid is three-dimensional, cubic and resolves `mode > 0`.
pub fn velocity(grid: &Grid, mode: usize) -> Result<ArrayD<f64>> {
    require_dim(grid, 3..=3)?;
    let k = wavenumber(grid, mode)?;
    let u = sample(grid, |x| (k * x[0]).sin() * (k * x[1]).cos() * (k * x[2]).cos());
    let v = sample(grid, |x| -(k * x[0]).cos() * (k * x[1]).sin() * (k * x[2]).cos());
    let w = ArrayD::zeros(grid.shape());
    Ok(stack(Axis(0), &[u.view(), v.view(), w.view()]).expect("components have equal shapes"))
}

fn wavenumber(grid: &Grid, mode: usize) -> Result<f64> {
    require_cube(grid)?;
    require_positive("mode", mode as f64)?;
    require_resolved(grid, "mode", mode)?;
    Ok(mode as f64 * grid.k_unit(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::{Derivatives, Spectra};

    #[test]
    fn vorticity_has_no_nonlinear_term() {
        let grid = Grid::cube(2, 24, 3.0).unwrap();
        let derivatives = Derivatives::plan(&grid);
        let omega = vorticity(&grid, 2).unwrap();
        let velocity = derivatives.biot_savart(omega.view());
        let advection = (derivatives.gradient(omega.view()) * &velocity).sum_axis(Axis(0));
        // Two terms of size 2 k^2 = 35 cancel.
        assert!(advection.iter().all(|a| a.abs() < 1e-12));
        // <u^2 + v^2> / 2 = 1/4 at any k.
        assert!((Spectra::plan(&grid).energy_of_vorticity(omega.view()) - 0.25).abs() < 1e-14);
    }

    #[test]
    fn velocity_is_divergence_free_with_energy_one_eighth() {
        let grid = Grid::cube(3, 12, 2.0).unwrap();
        let velocity = velocity(&grid, 2).unwrap();
        assert!(Derivatives::plan(&grid).divergence(velocity.view()).iter().all(|d| d.abs() < 1e-13));
        assert!((Spectra::plan(&grid).energy(velocity.view()) - 0.125).abs() < 1e-15);
    }

    #[test]
    fn other_boxes_and_modes_are_refused() {
        assert!(vorticity(&Grid::new(&[8, 8], &[1.0, 2.0]).unwrap(), 1).is_err());
        assert!(vorticity(&Grid::cube(2, 8, 1.0).unwrap(), 4).is_err());
        assert!(vorticity(&Grid::cube(2, 8, 1.0).unwrap(), 0).is_err());
        assert!(velocity(&Grid::cube(2, 8, 1.0).unwrap(), 1).is_err());
    }
}
