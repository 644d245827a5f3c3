//! Arnold-Beltrami-Childress flows.

use ndarray::{ArrayD, Axis, stack};

use super::{require_cube, require_dim, require_finite, require_positive, require_resolved, sample};
use crate::error::Result;
use crate::field::Grid;

/// Velocity of the ABC flow, `k = 2 pi mode / L`; `[3, x, y, z]`:
///
/// ```text
/// (A sin kz + C cos ky,  B sin kx + A cos kz,  C sin ky + B cos kx)
/// ```
///
/// It is a Beltrami field, `curl u = k u`: the nonlinear term is a gradient, and under viscosity the flow decays as
/// `exp(-nu k^2 t)`, exactly.
///
/// # Errors
///
/// [`Error::Parameter`](crate::Error::Parameter) unless the grid is three-dimensional, cubic and resolves `mode > 0`,
/// and the amplitudes are finite.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::abc};
/// let velocity = abc::velocity(&Grid::cube(3, 16, std::f64::consts::TAU)?, [1.0, 1.0, 1.0], 1)?;
/// assert_eq!(velocity.shape(), [3, 16, 16, 16]);
/// # Ok::<(), parseval::Error>(())
/// ```
pub fn velocity(grid: &Grid, [a, b, c]: [f64; 3], mode: usize) -> Result<ArrayD<f64>> {
    require_dim(grid, 3..=3)?;
    require_cube(grid)?;
    for (name, value) in [("a", a), ("b", b), ("c", c)] {
        require_finite(name, value)?;
    }
    require_positive("mode", mode as f64)?;
    require_resolved(grid, "mode", mode)?;
    let k = mode as f64 * grid.k_unit(0);
    let u = sample(grid, |x| a * (k * x[2]).sin() + c * (k * x[1]).cos());
    let v = sample(grid, |x| b * (k * x[0]).sin() + a * (k * x[2]).cos());
    let w = sample(grid, |x| c * (k * x[1]).sin() + b * (k * x[0]).cos());
    Ok(stack(Axis(0), &[u.view(), v.view(), w.view()]).expect("components have equal shapes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::Derivatives;

    #[test]
    fn abc_flow_is_an_eigenfield_of_the_curl() {
        let grid = Grid::new(&[12, 9, 10], &[2.0, 2.0, 2.0]).unwrap();
        let velocity = velocity(&grid, [1.0, 0.7, 0.4], 3).unwrap();
        let curl = Derivatives::plan(&grid).curl(velocity.view());
        let k = 3.0 * grid.k_unit(0);
        // k = 9.4; round-off of size eps k N.
        assert!((curl - velocity * k).iter().all(|d| d.abs() < 1e-13 * k));
    }

    #[test]
    fn other_boxes_are_refused() {
        assert!(velocity(&Grid::cube(2, 8, 1.0).unwrap(), [1.0; 3], 1).is_err());
        assert!(velocity(&Grid::cube(3, 8, 1.0).unwrap(), [1.0, f64::NAN, 1.0], 1).is_err());
        assert!(velocity(&Grid::cube(3, 8, 1.0).unwrap(), [1.0; 3], 4).is_err());
    }
}
