//! A sum of given cosines.

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::{require_finite, sample};
use crate::error::{Error, Result};
use crate::field::Grid;

/// One term `amplitude cos(k_m . x + phase)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosineMode {
    /// Integer mode of each axis; all zero is the constant `amplitude cos(phase)`.
    pub mode: Vec<i64>,
    /// Amplitude.
    pub amplitude: f64,
    /// Phase in radians; `-pi/2` makes a sine.
    #[serde(default)]
    pub phase: f64,
}

/// The field `sum amplitude cos(k_m . x + phase)`, `k_m = 2 pi m / L` on each axis; `[space]`.
///
/// # Errors
///
/// [`Error::Shape`] if a mode has not one entry an axis; [`Error::Parameter`] if it lies above the Nyquist mode of an
/// axis or a number is not finite.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::{CosineMode, modes}};
/// let grid = Grid::cube(2, 8, 1.0)?;
/// let u = modes::sum(&grid, &[CosineMode { mode: vec![1, -2], amplitude: 0.5, phase: 0.0 }])?;
/// assert_eq!(u[[0, 0]], 0.5);
/// # Ok::<(), parseval::Error>(())
/// ```
pub fn sum(grid: &Grid, modes: &[CosineMode]) -> Result<ArrayD<f64>> {
    for term in modes {
        if term.mode.len() != grid.dim() {
            return Err(Error::shape("mode", &[grid.dim()], &[term.mode.len()]));
        }
        require_finite("amplitude", term.amplitude)?;
        require_finite("phase", term.phase)?;
        if let Some((m, n)) = term.mode.iter().zip(grid.shape()).find(|(m, n)| m.unsigned_abs() > (**n / 2) as u64) {
            return Err(Error::parameter("mode", m, format!("must be at most half of the {n} points of its axis")));
        }
    }
    Ok(sample(grid, |x| {
        let value = |term: &CosineMode| {
            let phase = |(axis, m): (usize, &i64)| *m as f64 * grid.k_unit(axis) * x[axis];
            term.amplitude * (term.mode.iter().enumerate().map(phase).sum::<f64>() + term.phase).cos()
        };
        modes.iter().map(value).sum()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::Transform;

    #[test]
    fn each_term_fills_its_coefficient() {
        let grid = Grid::new(&[8, 9], &[1.0, 3.0]).unwrap();
        let terms = [
            CosineMode { mode: vec![2, -3], amplitude: 0.5, phase: 0.4 },
            CosineMode { mode: vec![0, 0], amplitude: 2.0, phase: 0.0 },
        ];
        let u_hat = Transform::plan(&grid).forward(sum(&grid, &terms).unwrap().view());
        // (2, -3) is stored as the conjugate of (-2, 3).
        let expected = num_complex::Complex64::from_polar(0.25 * 72.0, -0.4);
        assert!((u_hat[[6, 3]] - expected).norm() < 1e-13);
        assert!((u_hat[[0, 0]].re - 2.0 * 72.0).abs() < 1e-12);
    }

    #[test]
    fn unresolved_modes_are_refused() {
        let grid = Grid::cube(1, 8, 1.0).unwrap();
        let term = |mode, amplitude| CosineMode { mode, amplitude, phase: 0.0 };
        assert!(sum(&grid, &[term(vec![4], 1.0)]).is_ok());
        assert!(matches!(sum(&grid, &[term(vec![-5], 1.0)]), Err(Error::Parameter { .. })));
        assert!(matches!(sum(&grid, &[term(vec![1, 1], 1.0)]), Err(Error::Shape { .. })));
        assert!(matches!(sum(&grid, &[term(vec![1], f64::NAN)]), Err(Error::Parameter { .. })));
    }
}
