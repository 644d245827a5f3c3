//! Change of resolution in the same box.

use ndarray::{ArrayD, ArrayViewD, Axis, Slice};
use num_complex::Complex;
use num_traits::Zero;

use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::Transform;

/// Plan that carries fields from one grid to another of the same box, by trigonometric interpolation.
///
/// Axis by axis, `N -> M`: modes `|m| < min(N, M) / 2` are copied and multiplied by `M / N`. The Nyquist mode of the
/// smaller grid (if its size is even and differs from the other) is split in halves over `±N/2` on the way up and
/// collects the two conjugates on the way down. A field without modes above either grid's Nyquist mode is sampled
/// exactly, to round-off; other modes are cut, not aliased.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, spectral::Resample};
///
/// let (coarse, fine) = (Grid::cube(1, 8, 1.0)?, Grid::cube(1, 15, 1.0)?);
/// let u = |grid: &Grid| Array::from_iter(grid.coordinates(0).into_iter().map(|x| (6.28318530717958 * x).sin()));
/// let up = Resample::<f64>::plan(&coarse, &fine)?.apply(u(&coarse).into_dyn().view());
/// assert!((up - u(&fine)).iter().all(|e| e.abs() < 1e-13));
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Resample<T: Real> {
    from: Transform<T>,
    to: Transform<T>,
}

impl<T: Real> Resample<T> {
    /// Plans the way between two grids.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the boxes differ.
    pub fn plan(from: &Grid, to: &Grid) -> Result<Self> {
        if from.lengths() != to.lengths() {
            let rule = format!("must be the box of the source grid, {:?}", from.lengths());
            return Err(Error::parameter("to.lengths", format!("{:?}", to.lengths()), rule));
        }
        Ok(Self { from: Transform::plan(from), to: Transform::plan(to) })
    }

    /// Transform of the source grid.
    pub fn source(&self) -> &Transform<T> {
        &self.from
    }

    /// Transform of the target grid.
    pub fn target(&self) -> &Transform<T> {
        &self.to
    }

    /// Values on the target grid, `[.., space]`.
    ///
    /// # Panics
    ///
    /// If the trailing axes of `u` are not the source grid's.
    pub fn apply(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.to.inverse_owned(self.apply_hat(self.from.forward(u).view()))
    }

    /// Coefficients on the target grid, `[.., half space]`.
    ///
    /// # Panics
    ///
    /// If the trailing axes of `u_hat` are not the source grid's half spectrum.
    pub fn apply_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        let (from, to) = (self.from.grid(), self.to.grid());
        assert!(
            u_hat.shape().ends_with(&from.half_shape()),
            "Resample: trailing axes must be {:?}, got {:?}",
            from.half_shape(),
            u_hat.shape()
        );
        let space = u_hat.ndim() - from.dim();
        let last = from.dim() - 1;
        // The half axis goes first: its Nyquist rule mirrors the others, which must still be complete.
        let mut v_hat = resample_half_axis(u_hat, space, from.shape()[last], to.shape()[last]);
        for axis in 0..last {
            v_hat = resample_full_axis(v_hat, Axis(space + axis), from.shape()[axis], to.shape()[axis]);
        }
        let scale = T::of(to.points() as f64 / from.points() as f64);
        v_hat.mapv_inplace(|c| c * scale);
        v_hat
    }
}

/// Last axis, half spectrum of `n` points to that of `m`; `space` is the first axis of space.
fn resample_half_axis<T: Real>(
    u_hat: ArrayViewD<'_, Complex<T>>,
    space: usize,
    n: usize,
    m: usize,
) -> ArrayD<Complex<T>> {
    let axis = Axis(u_hat.ndim() - 1);
    let half = T::of(0.5);
    let kept = n.min(m) / 2 + 1;
    let mut v_hat = zeros_along(&u_hat, axis, m / 2 + 1);
    let source = u_hat.slice_axis(axis, Slice::from(..kept));
    v_hat.slice_axis_mut(axis, Slice::from(..kept)).assign(&source);
    if n < m && n.is_multiple_of(2) {
        v_hat.index_axis_mut(axis, n / 2).mapv_inplace(|c| c * half);
    }
    if m < n && m.is_multiple_of(2) {
        // The coefficient of mode (m', -M/2) is the conjugate of that of (-m', M/2).
        let mut conjugate = v_hat.index_axis(axis, m / 2).mapv(|c| c.conj());
        for a in space..conjugate.ndim() {
            conjugate = mirror(conjugate, Axis(a));
        }
        let mut nyquist = v_hat.index_axis_mut(axis, m / 2);
        nyquist += &conjugate;
    }
    v_hat
}

/// A full axis in FFT order, `n` modes to `m`.
fn resample_full_axis<T: Real>(u_hat: ArrayD<Complex<T>>, axis: Axis, n: usize, m: usize) -> ArrayD<Complex<T>> {
    if n == m {
        return u_hat;
    }
    let smaller = n.min(m);
    // Modes 0..positive and -negative..-1 lie strictly below the smaller Nyquist mode.
    let (positive, negative) = (smaller.div_ceil(2), (smaller - 1) / 2);
    let mut v_hat = zeros_along(&u_hat.view(), axis, m);
    let mut copy = |to: usize, from: usize, count: usize| {
        let source = u_hat.slice_axis(axis, Slice::from(from..from + count));
        v_hat.slice_axis_mut(axis, Slice::from(to..to + count)).assign(&source);
    };
    copy(0, 0, positive);
    copy(m - negative, n - negative, negative);
    if smaller.is_multiple_of(2) {
        let nyquist = smaller / 2;
        let up = n < m;
        let both = if up {
            u_hat.index_axis(axis, nyquist).mapv(|c| c * T::of(0.5))
        } else {
            &u_hat.index_axis(axis, nyquist) + &u_hat.index_axis(axis, n - nyquist)
        };
        v_hat.index_axis_mut(axis, nyquist).assign(&both);
        v_hat.index_axis_mut(axis, m - nyquist).assign(&both);
    }
    v_hat
}

/// Mode `m` to mode `-m` of a full axis in FFT order: index `i` to `(n - i) mod n`.
fn mirror<T: Real>(u_hat: ArrayD<Complex<T>>, axis: Axis) -> ArrayD<Complex<T>> {
    let n = u_hat.len_of(axis);
    let indices: Vec<_> = (0..n).map(|i| (n - i) % n).collect();
    u_hat.select(axis, &indices)
}

fn zeros_along<T: Real>(like: &ArrayViewD<'_, Complex<T>>, axis: Axis, len: usize) -> ArrayD<Complex<T>> {
    let mut shape = like.shape().to_vec();
    shape[axis.index()] = len;
    ArrayD::from_elem(shape, Complex::zero())
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::spectral::testing::{distance, largest, noise, sample};

    /// A function with modes up to 3 in x and y and 2 in z, without any symmetry.
    fn smooth(x: &[f64]) -> f64 {
        let y = x.get(1).copied().unwrap_or(0.4);
        let z = x.get(2).copied().unwrap_or(0.7);
        0.3 + (3.0 * x[0] - 2.0 * y + 0.2).cos() + (x[0] + 3.0 * y - z).sin() * 0.5 + (2.0 * z + 2.0 * x[0]).cos()
    }

    fn grid(shape: &[usize]) -> Grid {
        Grid::new(shape, &vec![TAU; shape.len()]).unwrap()
    }

    #[test]
    fn resampling_a_band_limited_field_samples_the_function() {
        let pairs: [(&[usize], &[usize]); 8] = [
            (&[8], &[13]),
            (&[13], &[8]),
            (&[8, 9], &[9, 8]),
            (&[16, 12], &[8, 7]),
            (&[7, 8], &[7, 30]),
            (&[8, 8, 8], &[9, 12, 7]),
            (&[11, 8, 10], &[8, 7, 6]),
            (&[8, 8], &[8, 8]),
        ];
        for (from, to) in pairs {
            let (from, to) = (grid(from), grid(to));
            let resample = Resample::<f64>::plan(&from, &to).unwrap();
            let values = resample.apply(sample::<f64>(&from, smooth).view());
            assert!(distance(&values, &sample(&to, smooth)) < 1e-13, "{from:?} {to:?}");
        }
    }

    #[test]
    fn going_up_and_down_again_is_the_identity() {
        // White noise: Nyquist modes are split on the way up and collected on the way down, on every axis.
        for (coarse, fine) in [(vec![8], vec![9]), (vec![8, 6], vec![20, 7]), (vec![7, 6, 8], vec![8, 9, 10])] {
            let (coarse, fine) = (grid(&coarse), grid(&fine));
            let u = noise::<f64>(&[&[2], coarse.shape()].concat(), 1);
            let up = Resample::plan(&coarse, &fine).unwrap().apply(u.view());
            let down = Resample::plan(&fine, &coarse).unwrap().apply(up.view());
            assert!(distance(&down, &u) < 1e-14 * 10.0, "{coarse:?}");
        }
    }

    #[test]
    fn the_interpolant_passes_through_the_points() {
        // Doubling: every second point of the fine grid is a point of the coarse one.
        let (coarse, fine) = (grid(&[6, 8]), grid(&[12, 16]));
        let u = noise::<f64>(coarse.shape(), 2);
        let up = Resample::plan(&coarse, &fine).unwrap().apply(u.view());
        assert!(distance(&up.slice(ndarray::s![..;2, ..;2]).to_owned().into_dyn(), &u) < 1e-14 * 10.0);
    }

    #[test]
    fn the_nyquist_mode_of_the_coarse_grid_is_sampled() {
        // Mode 4 is the Nyquist mode of 8 points, in either direction and mixed with other modes across.
        let f = |x: &[f64]| (4.0 * x[0] + 0.3).cos() * (x[1] - 0.2).sin() + (4.0 * x[1] + x[0] + 0.5).cos();
        let (fine, coarse) = (grid(&[18, 20]), grid(&[8, 8]));
        let down = Resample::plan(&fine, &coarse).unwrap();
        let fine_hat = Transform::<f64>::plan(&fine).forward(sample(&fine, f).view());
        assert!(distance(&down.apply(sample::<f64>(&fine, f).view()), &sample(&coarse, f)) < 1e-14 * 10.0);
        // And its coefficients are those of a real field, not only up to the projection of the inverse.
        let error =
            down.apply_hat(fine_hat.view()) - Transform::plan(&coarse).forward(sample::<f64>(&coarse, f).view());
        assert!(error.iter().all(|e| e.norm() < 1e-12));
    }

    #[test]
    fn modes_above_the_coarse_grid_are_cut_not_aliased() {
        let (fine, coarse) = (grid(&[16]), grid(&[8]));
        let u = sample::<f64>(&fine, |x| (6.0 * x[0]).cos());
        assert!(largest(&Resample::plan(&fine, &coarse).unwrap().apply(u.view())) < 1e-15 * 10.0);
    }

    #[test]
    fn another_box_is_refused() {
        let other = Grid::cube(1, 8, 2.0).unwrap();
        assert!(matches!(Resample::<f64>::plan(&grid(&[8]), &other), Err(Error::Parameter { .. })));
    }
}
