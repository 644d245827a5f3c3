//! The real transform of fields on a grid.

use std::sync::Arc;

use ndarray::{ArrayD, ArrayViewD, ArrayViewMutD};
use num_complex::Complex;
use num_traits::Zero;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use rustfft::{Fft, FftPlanner};

use crate::field::{Grid, Real};
use crate::spectral::symbol;

/// Columns gathered into contiguous memory at a time: a cache line of each row is used whole.
const BLOCK: usize = 8;

/// Plan of the real-to-complex transform over the trailing `d` axes of an array.
///
/// ```text
/// û_m = sum_j u_j exp(-i k_m x_j),        u_j = (1/N) sum_m û_m exp(i k_m x_j),        N = N_1 ... N_d
/// ```
///
/// Fields have shape `[.., N_1, .., N_d]`; coefficients have shape `[.., N_1, .., N_d / 2 + 1]`, the modes of axis `i`
/// in the order of [`Grid::modes`]. Any `N`, odd ones included. All leading axes are transformed independently.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, spectral::Transform};
///
/// let grid = Grid::cube(1, 16, 1.0)?;
/// let transform = Transform::<f64>::plan(&grid);
/// let u = Array::from_shape_fn(16, |j| 3.0 * (2.0 * std::f64::consts::TAU * j as f64 / 16.0).cos()).into_dyn();
/// let u_hat = transform.forward(u.view());
/// assert!((u_hat[2].re - 3.0 * 16.0 / 2.0).abs() < 1e-12); // A cos(kx) has û_m = A N / 2
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Transform<T: Real> {
    grid: Grid,
    line_forward: Arc<dyn RealToComplex<T>>,
    line_inverse: Arc<dyn ComplexToReal<T>>,
    /// Forward and inverse of the axes before the last.
    columns: Vec<[Arc<dyn Fft<T>>; 2]>,
}

/// Scratch memory of a [`Transform`], from [`Transform::scratch`].
pub struct TransformScratch<T: Real> {
    line: Vec<T>,
    columns: Vec<Complex<T>>,
    work: Vec<Complex<T>>,
}

impl<T: Real> Transform<T> {
    /// Plans the transform of a grid.
    pub fn plan(grid: &Grid) -> Self {
        let (mut real, mut complex) = (RealFftPlanner::new(), FftPlanner::new());
        let (&last, others) = grid.shape().split_last().expect("a grid has at least one axis");
        Self {
            grid: grid.clone(),
            line_forward: real.plan_fft_forward(last),
            line_inverse: real.plan_fft_inverse(last),
            columns: others.iter().map(|&n| [complex.plan_fft_forward(n), complex.plan_fft_inverse(n)]).collect(),
        }
    }

    /// The grid of the plan.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Scratch for the `_into` variants, any number of calls.
    pub fn scratch(&self) -> TransformScratch<T> {
        let line = self.grid.shape()[self.grid.dim() - 1];
        let work = self.columns.iter().flatten().map(|fft| fft.get_inplace_scratch_len());
        let work = work.chain([self.line_forward.get_scratch_len(), self.line_inverse.get_scratch_len()]).max();
        let longest = self.grid.shape().iter().max().expect("a grid has at least one axis");
        TransformScratch {
            line: vec![T::zero(); line],
            columns: vec![Complex::zero(); BLOCK * longest],
            work: vec![Complex::zero(); work.unwrap_or(0)],
        }
    }

    /// Coefficients of a field: `[.., space]` to `[.., half space]`, unscaled.
    ///
    /// # Panics
    ///
    /// If the trailing axes are not the grid's.
    pub fn forward(&self, u: ArrayViewD<'_, T>) -> ArrayD<Complex<T>> {
        let shape = leading(u.shape(), self.grid.shape()).iter().copied().chain(self.grid.half_shape());
        let mut u_hat = ArrayD::zeros(shape.collect::<Vec<_>>());
        self.forward_into(u, u_hat.view_mut(), &mut self.scratch());
        u_hat
    }

    /// Field of coefficients, scaled by `1/N`: `[.., half space]` to `[.., space]`.
    ///
    /// Where a real field forces a relation between stored coefficients (last mode 0 or `N/2`), the input is projected
    /// onto it: imaginary parts of self-conjugate modes are dropped.
    ///
    /// # Panics
    ///
    /// If the trailing axes are not those of the grid's half spectrum.
    pub fn inverse(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<T> {
        self.inverse_owned(u_hat.as_standard_layout().into_owned())
    }

    /// [`Transform::inverse`] of coefficients that are not needed any more.
    pub(crate) fn inverse_owned(&self, u_hat: ArrayD<Complex<T>>) -> ArrayD<T> {
        let mut u_hat = if u_hat.is_standard_layout() { u_hat } else { u_hat.as_standard_layout().into_owned() };
        let shape = leading(u_hat.shape(), &self.grid.half_shape()).iter().chain(self.grid.shape()).copied();
        let mut u = ArrayD::zeros(shape.collect::<Vec<_>>());
        self.inverse_into(u_hat.view_mut(), u.view_mut(), &mut self.scratch());
        u
    }

    /// [`Transform::forward`] into memory of the caller.
    ///
    /// # Panics
    ///
    /// If shapes disagree, or `u_hat` is not contiguous in row-major order.
    pub fn forward_into(
        &self,
        u: ArrayViewD<'_, T>,
        mut u_hat: ArrayViewMutD<'_, Complex<T>>,
        scratch: &mut TransformScratch<T>,
    ) {
        self.assert_shapes(u.shape(), u_hat.shape());
        let half = u_hat.as_slice_mut().expect("u_hat must be contiguous and row-major");
        let modes = self.line_forward.len() / 2 + 1;
        for (line, line_hat) in u.rows().into_iter().zip(half.chunks_exact_mut(modes)) {
            scratch.line.iter_mut().zip(line).for_each(|(to, &from)| *to = from);
            self.line_forward
                .process_with_scratch(&mut scratch.line, line_hat, &mut scratch.work)
                .expect("lengths were checked");
        }
        for axis in (0..self.columns.len()).rev() {
            self.transform_columns(half, axis, 0, scratch);
        }
    }

    /// [`Transform::inverse`] into memory of the caller; `u_hat` is overwritten by intermediate values.
    ///
    /// # Panics
    ///
    /// If shapes disagree, or `u_hat` is not contiguous in row-major order.
    pub fn inverse_into(
        &self,
        mut u_hat: ArrayViewMutD<'_, Complex<T>>,
        mut u: ArrayViewMutD<'_, T>,
        scratch: &mut TransformScratch<T>,
    ) {
        self.assert_shapes(u.shape(), u_hat.shape());
        let half = u_hat.as_slice_mut().expect("u_hat must be contiguous and row-major");
        for axis in 0..self.columns.len() {
            self.transform_columns(half, axis, 1, scratch);
        }
        let n = self.line_inverse.len();
        let scale = T::of(1.0 / self.grid.points() as f64);
        for (line_hat, line) in half.chunks_exact_mut(n / 2 + 1).zip(u.rows_mut()) {
            // The kernel refuses imaginary parts that no real line can have.
            line_hat[0].im = T::zero();
            if n.is_multiple_of(2) {
                line_hat[n / 2].im = T::zero();
            }
            self.line_inverse
                .process_with_scratch(line_hat, &mut scratch.line, &mut scratch.work)
                .expect("lengths were checked");
            scratch.line.iter().zip(line).for_each(|(&from, to)| *to = scale * from);
        }
    }

    /// Adjoint of [`Transform::forward`], with the real and imaginary part of each stored coefficient as independent
    /// reals: for `dJ = Re sum_half conj(g) dû`,
    ///
    /// ```text
    /// dJ/du_j = Re sum_half g_m exp(i k_m x_j) = N inverse(g / w)_j,
    /// ```
    ///
    /// `w` the weights of [`symbol::hermitian_weights`].
    ///
    /// # Panics
    ///
    /// As [`Transform::inverse`].
    pub fn vjp_forward(&self, g: ArrayViewD<'_, Complex<T>>) -> ArrayD<T> {
        let points = T::of(self.grid.points() as f64);
        let factor = symbol::hermitian_weights::<T>(&self.grid).mapv(|w| points / w);
        self.inverse_owned(&g * &factor)
    }

    /// Adjoint of [`Transform::inverse`], with the real and imaginary part of each stored coefficient as independent
    /// reals: for `dJ = sum_j v_j du_j`, the descent direction `g = (w / N) forward(v)`, so that
    /// `dJ = Re sum_half conj(g) dû`.
    ///
    /// # Panics
    ///
    /// As [`Transform::forward`].
    pub fn vjp_inverse(&self, v: ArrayViewD<'_, T>) -> ArrayD<Complex<T>> {
        let points = T::of(self.grid.points() as f64);
        let factor = symbol::hermitian_weights::<T>(&self.grid).mapv(|w| w / points);
        self.forward(v) * &factor
    }

    /// Complex transforms along an axis before the last, in place; `way` 0 is forward, 1 inverse.
    fn transform_columns(&self, half: &mut [Complex<T>], axis: usize, way: usize, scratch: &mut TransformScratch<T>) {
        let fft = &self.columns[axis][way];
        let n = fft.len();
        let inner: usize = self.grid.half_shape()[axis + 1..].iter().product();
        for slab in half.chunks_exact_mut(n * inner) {
            for first in (0..inner).step_by(BLOCK) {
                let width = BLOCK.min(inner - first);
                let block = &mut scratch.columns[..width * n];
                for (i, row) in slab.chunks_exact(inner).enumerate() {
                    row[first..first + width].iter().enumerate().for_each(|(c, &value)| block[c * n + i] = value);
                }
                fft.process_with_scratch(block, &mut scratch.work);
                for (i, row) in slab.chunks_exact_mut(inner).enumerate() {
                    row[first..first + width].iter_mut().enumerate().for_each(|(c, value)| *value = block[c * n + i]);
                }
            }
        }
    }

    fn assert_shapes(&self, field: &[usize], half: &[usize]) {
        let batch = leading(field, self.grid.shape());
        let batch_hat = leading(half, &self.grid.half_shape());
        assert!(batch == batch_hat, "Transform: leading axes differ, {batch:?} and {batch_hat:?}");
    }
}

/// Leading axes of `shape`, whose trailing axes must be `space`.
fn leading<'a>(shape: &'a [usize], space: &[usize]) -> &'a [usize] {
    shape.strip_suffix(space).unwrap_or_else(|| panic!("Transform: trailing axes must be {space:?}, got {shape:?}"))
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use proptest::prelude::*;

    use super::*;
    use crate::spectral::testing::{complex_noise, distance, dot, dot_hat, noise, sample};

    /// Boxes of 1 to 3 axes with even, odd and prime sizes.
    fn any_grid() -> impl Strategy<Value = Grid> {
        prop::collection::vec((4usize..12, 0.5f64..8.0), 1..=3).prop_map(|axes| {
            let (shape, lengths): (Vec<_>, Vec<_>) = axes.into_iter().unzip();
            Grid::new(&shape, &lengths).unwrap()
        })
    }

    /// The definition, mode by mode.
    fn naive_forward(grid: &Grid, u: &ArrayD<f64>) -> ArrayD<Complex<f64>> {
        symbol::over_modes(grid, |m| {
            let term = |(index, &u): (ndarray::IxDyn, &f64)| {
                let turns: f64 = (0..m.len()).map(|i| m[i] as f64 * index[i] as f64 / grid.shape()[i] as f64).sum();
                Complex::from_polar(u, -TAU * turns)
            };
            u.indexed_iter().map(term).sum()
        })
    }

    #[test]
    fn forward_is_the_unscaled_sum_over_points() {
        for shape in [&[7][..], &[8], &[6, 5], &[5, 8], &[4, 5, 6], &[5, 4, 7]] {
            let grid = Grid::new(shape, &vec![1.0; shape.len()]).unwrap();
            let u = noise::<f64>(shape, 1);
            let error = &Transform::plan(&grid).forward(u.view()) - &naive_forward(&grid, &u);
            // At most 140 terms of size 1, each with a phase rounded at a few eps.
            assert!(error.iter().all(|e| e.norm() < 1e-12), "{shape:?}");
        }
    }

    #[test]
    fn a_cosine_has_coefficient_half_of_amplitude_times_points() {
        let grid = Grid::new(&[8, 12], &[2.0, 3.0]).unwrap();
        let u = sample(&grid, |x| 5.0 + 3.0 * (TAU * (2.0 * x[0] / 2.0 - x[1] / 3.0)).cos());
        let u_hat = Transform::<f64>::plan(&grid).forward(u.view());
        // Mode (2, -1) is stored as the conjugate of (-2, 1).
        assert!((u_hat[[0, 0]] - 5.0 * 96.0).norm() < 1e-12);
        assert!((u_hat[[6, 1]] - 3.0 * 96.0 / 2.0).norm() < 1e-12);
        assert!(u_hat[[2, 1]].norm() < 1e-12);
    }

    #[test]
    fn batch_axes_and_strided_views_transform_as_their_parts() {
        let grid = Grid::new(&[6, 9], &[1.0, 1.0]).unwrap();
        let transform = Transform::<f64>::plan(&grid);
        let batch = noise::<f64>(&[2, 3, 6, 9], 2);
        let batch_hat = transform.forward(batch.view());
        let reversed = noise::<f64>(&[9, 6], 3);
        for (b, c) in [(0, 0), (1, 2)] {
            let part = batch.slice(ndarray::s![b, c, .., ..]).into_dyn();
            assert_eq!(batch_hat.slice(ndarray::s![b, c, .., ..]).into_dyn(), transform.forward(part));
        }
        let copied = reversed.t().as_standard_layout().into_owned();
        assert_eq!(transform.forward(reversed.t()), transform.forward(copied.view()));
    }

    #[test]
    fn f32_agrees_with_f64() {
        let grid = Grid::new(&[16, 12, 10], &[1.0; 3]).unwrap();
        let u = noise::<f32>(grid.shape(), 4);
        let single = Transform::<f32>::plan(&grid);
        let u_hat = single.forward(u.view());
        let double_hat = Transform::<f64>::plan(&grid).forward(u.mapv(f64::from).view());
        // Coefficients are of size sqrt(1920) = 44; a few eps (6e-8) of that.
        assert!(u_hat.iter().zip(&double_hat).all(|(s, d)| (s.re as f64 - d.re).hypot(s.im as f64 - d.im) < 1e-4));
        assert!(distance(&single.inverse(u_hat.view()), &u) < 1e-6);
    }

    #[test]
    #[should_panic(expected = "trailing axes must be [8], got [9]")]
    fn a_wrong_shape_is_named() {
        Transform::<f64>::plan(&Grid::cube(1, 8, 1.0).unwrap()).forward(noise(&[9], 0).view());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn inverse_undoes_forward(grid in any_grid(), seed in any::<u64>()) {
            let transform = Transform::<f64>::plan(&grid);
            let u = noise::<f64>(&[&[2], grid.shape()].concat(), seed);
            prop_assert!(distance(&transform.inverse(transform.forward(u.view()).view()), &u) < 1e-13);
        }

        #[test]
        fn parseval_holds_with_the_hermitian_weights(grid in any_grid(), seed in any::<u64>()) {
            let transform = Transform::<f64>::plan(&grid);
            let (u, v) = (noise::<f64>(grid.shape(), seed), noise::<f64>(grid.shape(), seed ^ 1));
            let (u_hat, v_hat) = (transform.forward(u.view()), transform.forward(v.view()));
            let weighted = &v_hat * &symbol::hermitian_weights::<f64>(&grid);
            let n = grid.points() as f64;
            // Sums of n terms of size at most 1.
            prop_assert!((dot(&u, &v) - dot_hat(&u_hat, &weighted) / n).abs() < 1e-13 * n);
        }

        #[test]
        fn vjp_forward_is_the_adjoint(grid in any_grid(), seed in any::<u64>()) {
            let transform = Transform::<f64>::plan(&grid);
            let (u, g) = (noise::<f64>(grid.shape(), seed), complex_noise::<f64>(&grid.half_shape(), seed ^ 1));
            let left = dot_hat(&g, &transform.forward(u.view()));
            let right = dot(&transform.vjp_forward(g.view()), &u);
            prop_assert!((left - right).abs() < 1e-13 * grid.points() as f64 * (grid.points() as f64).sqrt());
        }

        #[test]
        fn vjp_inverse_is_the_adjoint(grid in any_grid(), seed in any::<u64>()) {
            // Coefficients without symmetry: the projection inside `inverse` belongs to the map.
            let transform = Transform::<f64>::plan(&grid);
            let (u_hat, v) = (complex_noise::<f64>(&grid.half_shape(), seed), noise::<f64>(grid.shape(), seed ^ 1));
            let left = dot(&v, &transform.inverse(u_hat.view()));
            let right = dot_hat(&transform.vjp_inverse(v.view()), &u_hat);
            prop_assert!((left - right).abs() < 1e-13 * (grid.points() as f64).sqrt());
        }
    }
}
