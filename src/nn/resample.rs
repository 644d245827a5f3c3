//! Change of resolution along any axis, by trigonometric interpolation.
//!
//! Along one axis the map from `N` to `M` points is a matrix. With `S = min(N, M)` and `x_ij = i/M - j/N`,
//!
//! ```text
//! A_ij = 1/N [ D(x_ij) + c cos(pi S i/M) cos(pi S j/N) ] ,    D(x) = sum_{|m| < S/2} exp(2 pi i m x) ,
//! ```
//!
//! `D` the Dirichlet kernel. The last term is there for even `S`, with `c = 1` on the way up (the Nyquist mode of `N`
//! points is split in halves over `±N/2`) and `c = 2` on the way down (that of `M` points collects both): the rules of
//! [`spectral::Resample`](crate::spectral::Resample). For the sizes of learned operators (8 to some hundred points)
//! products with this matrix are as fast as transforms; the adjoint is its transpose, to the last bit.

use std::f64::consts::PI;

use super::kernel::expect_shape;
use crate::autodiff::gemm::{Matrix, gemm_at};
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stepper::team::Shared;

/// Records the values of the trigonometric interpolant of a periodic axis on `points` equidistant points.
///
/// Constants stay constant, whatever the sizes; modes beyond the coarser grid are cut, not aliased.
///
/// # Errors
///
/// [`Error::Parameter`] if the axis does not exist, or if a size is zero.
pub fn resample_axis<T: Real>(tape: &mut Tape<T>, x: Var, axis: usize, points: usize) -> Result<Var> {
    let operation = AxisMatrix::resampling(tape.shape(x), axis, points)?;
    if tape.shape(x)[axis] == points { Ok(x) } else { tape.apply(operation, &[x]) }
}

/// Records `x`, shape `[.., space]`, on the grid `space` of the same box: [`resample_axis`] for each trailing axis.
///
/// # Errors
///
/// [`Error::Shape`] if `x` has fewer axes; else as [`resample_axis`].
pub fn resample<T: Real>(tape: &mut Tape<T>, x: Var, space: &[usize]) -> Result<Var> {
    let shape = tape.shape(x).to_vec();
    let first = shape.len().checked_sub(space.len()).ok_or_else(|| Error::shape("resample", space, &shape))?;
    // Axes that shrink go first: less work for the others.
    let mut axes: Vec<(usize, usize)> = space.iter().enumerate().map(|(i, &points)| (first + i, points)).collect();
    axes.sort_by(|&(a, m), &(b, n)| (m * shape[b]).cmp(&(n * shape[a])));
    axes.into_iter().try_fold(x, |x, (axis, points)| resample_axis(tape, x, axis, points))
}

/// A matrix applied along one axis.
struct AxisMatrix<T> {
    input: Vec<usize>,
    axis: usize,
    /// `[points of the output, points of the input]`.
    matrix: Vec<T>,
    points: usize,
}

/// Values of the inner axes that a thread takes at a time.
const COLUMNS: usize = 1024;

impl<T: Real> AxisMatrix<T> {
    fn resampling(shape: &[usize], axis: usize, points: usize) -> Result<Self> {
        let n =
            *shape.get(axis).ok_or_else(|| Error::parameter("axis", axis, format!("must be an axis of {shape:?}")))?;
        if n == 0 || points == 0 {
            return Err(Error::parameter("points", points.min(n), "must be at least 1 along a resampled axis"));
        }
        let matrix = interpolation(n, points).into_iter().map(T::of).collect();
        Ok(Self { input: shape.to_vec(), axis, matrix, points })
    }

    /// `y = alpha y + A x` along the axis, or with the transpose.
    fn apply(&self, workers: &Workers<T>, is_transposed: bool, x: &[T], y: &mut [T], alpha: T) {
        let inner: usize = self.input[self.axis + 1..].iter().product();
        let outer: usize = self.input[..self.axis].iter().product();
        let matrix = Matrix::new(&self.matrix, self.points, self.input[self.axis], self.input[self.axis]);
        let [n, m] = [self.input[self.axis], self.points];
        let ([n, m], matrix) = if is_transposed { ([m, n], matrix.t()) } else { ([n, m], matrix) };
        let y = Shared::new(y);
        if inner == 1 {
            // Rows are samples: Y = X A^T.
            let rows = (COLUMNS * 8 / n).max(1);
            workers.tiles(outer.div_ceil(rows), 0, |tile, _| {
                let rows = tile * rows..outer.min((tile + 1) * rows);
                let x = Matrix::new(&x[rows.start * n..rows.end * n], rows.len(), n, n);
                // SAFETY: the tiles are disjoint rows.
                unsafe { gemm_at(y.part(rows.start * m, rows.len() * m).as_ptr(), m, alpha, x, matrix.t()) };
            });
        } else {
            // Columns are samples: Y = A X for each outer index.
            let pieces = inner.div_ceil(COLUMNS);
            workers.tiles(outer * pieces, 0, |tile, _| {
                let (outer, start) = (tile / pieces, tile % pieces * COLUMNS);
                let columns = COLUMNS.min(inner - start);
                let x = Matrix::new(&x[outer * n * inner + start..], n, columns, inner);
                let y = y.part(outer * m * inner + start, (m - 1) * inner + columns);
                // SAFETY: the tiles are disjoint columns.
                unsafe { gemm_at(y.as_ptr(), inner, alpha, matrix, x) };
            });
        }
    }
}

/// The matrix from `n` to `m` points, row-major.
fn interpolation(n: usize, m: usize) -> Vec<f64> {
    // x_ij is a multiple of 1 / lcm(n, m), and D has period one.
    let period = lcm(n, m);
    let (row, column) = (period / m, period / n);
    let smaller = n.min(m);
    let kernel: Vec<f64> = (0..period).map(|r| dirichlet(smaller, r, period) / n as f64).collect();
    let halves = if smaller % 2 == 1 { 0.0 } else { f64::from(1 + u8::from(n > m)) };
    let wave = |k: usize, points: usize| (PI * (smaller * k % (2 * points)) as f64 / points as f64).cos();
    let waves: Vec<f64> = (0..n).map(|j| halves / n as f64 * wave(j, n)).collect();
    let mut matrix = Vec::with_capacity(n * m);
    for i in 0..m {
        let wave = wave(i, m);
        matrix.extend((0..n).map(|j| kernel[(i * row + period - j * column) % period] + wave * waves[j]));
    }
    matrix
}

/// `sum_{|k| < s/2} exp(2 pi i k r / period) = sin(pi c r / period) / sin(pi r / period)` with the number `c` of terms.
fn dirichlet(s: usize, r: usize, period: usize) -> f64 {
    let count = 2 * s.div_ceil(2) - 1;
    // The kernel is even; the nearer zero keeps the digits of the denominator.
    match r.min(period - r) {
        0 => count as f64,
        r => {
            let angle = |k: usize| PI * (k % (2 * period)) as f64 / period as f64;
            angle(count * r).sin() / angle(r).sin()
        }
    }
}

fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

impl<T: Real> Operation<T> for AxisMatrix<T> {
    fn name(&self) -> &'static str {
        "resample"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        expect_shape("resample", &self.input, inputs[0])?;
        let mut shape = self.input.clone();
        shape[self.axis] = self.points;
        Ok(shape)
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        self.apply(workers, false, inputs[0].values, output, T::zero());
    }
    fn vjp(&self, workers: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let (values, weight) = input.target();
        self.apply(workers, true, cotangent, values, weight);
    }
    fn jvp(&self, workers: &Workers<T>, _: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let Some(tangent) = tangents[0] else { return false };
        self.apply(workers, false, tangent, output, T::zero());
        true
    }
}

#[cfg(test)]
mod tests {
    use ndarray::ArrayD;

    use super::super::kernel::testing::{assert_derivatives, assert_threads_agree, noise};
    use super::*;
    use crate::autodiff::Parameters;
    use crate::field::Grid;
    use crate::spectral::Resample;

    fn resampled(x: &(Vec<usize>, Vec<f64>), space: &[usize]) -> (Vec<usize>, Vec<f64>) {
        let mut tape = Tape::<f64>::new(Parameters::new(), 2).unwrap();
        let x = tape.variable(&x.0, &x.1).unwrap();
        let y = resample(&mut tape, x, space).unwrap();
        (tape.shape(y).to_vec(), tape.values(y).to_vec())
    }

    #[test]
    fn matrices_are_the_interpolation_of_the_spectral_plan() {
        // Noise: Nyquist modes of even and odd sizes are there, on the way up, down, and mixed.
        let sizes = [([8, 9], [13, 6]), ([12, 8], [12, 20]), ([16, 10], [8, 7]), ([7, 8], [16, 16])];
        for (from, to) in sizes {
            let x = noise(&[&[2, 3], &from[..]].concat(), 1);
            let grid = |shape: &[usize]| Grid::new(shape, &[1.0, 2.0]).unwrap();
            let plan = Resample::<f64>::plan(&grid(&from), &grid(&to)).unwrap();
            let expected = plan.apply(ArrayD::from_shape_vec(x.0.clone(), x.1.clone()).unwrap().view());
            let (shape, values) = resampled(&x, &to);
            assert_eq!(shape, expected.shape());
            // Sums of at most 20 x 20 terms, weights at most one.
            assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-13), "{from:?} {to:?}");
        }
    }

    #[test]
    fn dirichlet_kernel_is_the_sum_of_its_modes() {
        for (s, period) in [(1, 5), (2, 6), (7, 21), (8, 40)] {
            for r in 0..period {
                let mode = |k: i64| (2.0 * PI * (k * r as i64) as f64 / period as f64).cos();
                let sum: f64 = (-(s as i64)..=s as i64).filter(|k| 2 * k.abs() < s as i64).map(mode).sum();
                assert!((dirichlet(s, r, period) - sum).abs() < 1e-13, "{s} {r}");
            }
        }
    }

    #[test]
    fn amplitudes_are_kept_along_a_short_time_axis() {
        // A constant stays constant for a quarter, half, the same and four times the points.
        for points in [2, 5, 10, 20, 40] {
            let constant = (vec![2, 10], vec![0.7; 20]);
            assert!(resampled(&constant, &[points]).1.iter().all(|y| (y - 0.7).abs() < 1e-14));
        }
        assert_eq!(resampled(&(vec![2, 1], vec![3.0, 4.0]), &[3]).1, [3.0, 3.0, 3.0, 4.0, 4.0, 4.0]);
    }

    #[test]
    fn adjoint_is_the_transpose() {
        for (axis, points) in [(0, 7), (1, 3), (2, 11), (2, 5)] {
            let shape = [4, 6, 8];
            assert_derivatives(|| AxisMatrix::resampling(&shape, axis, points).unwrap(), &[noise(&shape, 1)]);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let x = [noise(&[3, 4, 32, 40], 1)];
        assert_threads_agree(&x, |t, v| resample(t, v[0], &[48, 30]), |t, v| resample_axis(t, v[0], 0, 5));
    }

    #[test]
    fn misfits_are_refused() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[4], &[0.0; 4]).unwrap();
        let message = |result: Result<Var>| result.unwrap_err().to_string();
        assert_eq!(message(resample(&mut tape, x, &[4, 4])), "resample: expected shape [4, 4], got [4]");
        assert_eq!(message(resample_axis(&mut tape, x, 1, 4)), "axis = 1 is not allowed: must be an axis of [4]");
        assert!(message(resample_axis(&mut tape, x, 0, 0)).contains("must be at least 1"));
        assert_eq!(resample_axis(&mut tape, x, 0, 4).unwrap(), x, "nothing to do");
    }
}
