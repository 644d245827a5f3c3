//! Errors to be reported: always in double precision, sample by sample, in `L^2` and in a Sobolev norm side by side.

use ndarray::{ArrayViewD, Axis};

use super::RelativeSobolev;
use crate::error::{Error, Result};
use crate::field::{Grid, Real};

/// Relative errors of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct RelativeErrors {
    /// `||y - t|| / ||t||` in `L^2`, one a sample.
    pub l2: Vec<f64>,
    /// The same in `H^s`, with the weight `(1 + |k|^2)^s`.
    pub sobolev: Vec<f64>,
    /// The order `s`.
    pub order: f64,
}

impl RelativeErrors {
    /// Means over the samples, `L^2` and `H^s`.
    pub fn mean(&self) -> (f64, f64) {
        let mean = |errors: &[f64]| errors.iter().sum::<f64>() / errors.len() as f64;
        (mean(&self.l2), mean(&self.sobolev))
    }
}

/// Prints the means, e.g. `relative L2 1.234e-2, H1 4.321e-2`.
impl std::fmt::Display for RelativeErrors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (l2, sobolev) = self.mean();
        write!(f, "relative L2 {l2:.3e}, H{} {sobolev:.3e}", self.order)
    }
}

/// Relative errors of `y` against the targets `t`, both `[batch, .., space]`, in `L^2` and in the Sobolev norm of order
/// `s` with the weight `(1 + |k|^2)^s` of [`Sobolev`](crate::spectral::Sobolev) (angular wavenumbers). All frames and
/// channels of a sample are taken together. Values are widened first; an error is not finite if its target vanishes.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ or the trailing axes are not the grid's; [`Error::Parameter`] if `s` is not
/// finite.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, nn::relative_errors};
///
/// let grid = Grid::cube(1, 16, std::f64::consts::TAU)?;
/// let t = Array::from_iter(grid.coordinates(0).into_iter().map(f64::sin)).into_dyn().insert_axis(ndarray::Axis(0));
/// let errors = relative_errors(&grid, 1.0, (&t * 1.1).view(), t.view())?;
/// assert_eq!(errors.to_string(), "relative L2 1.000e-1, H1 1.000e-1");
/// # Ok::<(), parseval::Error>(())
/// ```
pub fn relative_errors<T: Real>(
    grid: &Grid,
    s: f64,
    y: ArrayViewD<'_, T>,
    t: ArrayViewD<'_, T>,
) -> Result<RelativeErrors> {
    if y.shape() != t.shape() {
        return Err(Error::shape("relative_errors", t.shape(), y.shape()));
    }
    if y.ndim() <= grid.dim() {
        return Err(Error::shape("relative_errors, [batch, .., space]", &[&[1], grid.shape()].concat(), y.shape()));
    }
    let norm = RelativeSobolev::<f64>::plan(grid, s, 1.0)?;
    let mut errors = RelativeErrors { l2: Vec::new(), sobolev: Vec::new(), order: s };
    for (y, t) in y.axis_iter(Axis(0)).zip(t.axis_iter(Axis(0))) {
        let t = t.mapv(Real::as_f64);
        let error = y.mapv(Real::as_f64) - &t;
        let square = |x: &ndarray::ArrayD<f64>| x.iter().map(|x| x * x).sum::<f64>();
        errors.l2.push((square(&error) / square(&t)).sqrt());
        errors.sobolev.push(norm.norm(error.view())? / norm.norm(t.view())?);
    }
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::super::kernel::testing::noise;
    use super::*;
    use crate::autodiff::{Parameters, Tape};
    use crate::nn::relative_l2;
    use crate::spectral::{Sobolev, SobolevKind};

    #[test]
    fn reported_errors_are_those_of_the_losses_and_of_the_spectral_plan() {
        let grid = Grid::new(&[8, 9], &[1.0, 2.0]).unwrap();
        let shape = [3, 2, 8, 9];
        let [y, t] = [1, 2].map(|seed| ArrayD::from_shape_vec(&shape[..], noise(&shape, seed).1).unwrap());
        let errors = relative_errors(&grid, 1.0, y.view(), t.view()).unwrap();
        let plan = Sobolev::<f64>::plan(&grid, 1.0, SobolevKind::Inhomogeneous).unwrap();
        for (sample, error) in errors.sobolev.iter().enumerate() {
            let [y, t] = [&y, &t].map(|a| a.index_axis(Axis(0), sample));
            assert!((error / plan.relative_error(y, t) - 1.0).abs() < 1e-13);
        }
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let [a, b] = [&y, &t].map(|x| tape.constant(&shape, x.as_slice().unwrap()).unwrap());
        let loss = relative_l2(&mut tape, a, b).unwrap();
        assert!((tape.scalar(loss).unwrap() / errors.mean().0 - 1.0).abs() < 1e-13);
        // Single-precision values are widened: only their rounding (6e-8) is left.
        let rough = relative_errors(&grid, 1.0, y.mapv(|x| x as f32).view(), t.mapv(|x| x as f32).view()).unwrap();
        assert!((rough.mean().1 / errors.mean().1 - 1.0).abs() < 1e-7);
    }

    #[test]
    fn misfits_are_refused_with_both_shapes() {
        let grid = Grid::cube(1, 8, 1.0).unwrap();
        let (x, y) = (ArrayD::<f64>::zeros(vec![2, 8]), ArrayD::<f64>::zeros(vec![2, 9]));
        let error = relative_errors(&grid, 1.0, x.view(), y.view()).unwrap_err().to_string();
        assert_eq!(error, "relative_errors: expected shape [2, 9], got [2, 8]");
        assert!(matches!(relative_errors(&grid, 1.0, y.view(), y.view()), Err(Error::Shape { .. })));
        let flat = ArrayD::<f64>::zeros(vec![8]);
        assert!(matches!(relative_errors(&grid, 1.0, flat.view(), flat.view()), Err(Error::Shape { .. })));
    }
}
