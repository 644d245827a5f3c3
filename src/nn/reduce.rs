//! Sums, means and inner products.

use super::kernel::{pull, same_shape, sum, sum_of_pair};
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers, dispatch};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::Lanes;

/// Records the sum over the given axes, which disappear; the sum over all has shape `[]`.
///
/// # Errors
///
/// [`Error::Parameter`] if an axis does not exist or is named twice.
pub fn sum_over<T: Real>(tape: &mut Tape<T>, x: Var, axes: &[usize]) -> Result<Var> {
    reduce(tape, x, axes, false)
}

/// Records the mean over the given axes, which disappear.
///
/// # Errors
///
/// As [`sum_over`].
pub fn mean_over<T: Real>(tape: &mut Tape<T>, x: Var, axes: &[usize]) -> Result<Var> {
    reduce(tape, x, axes, true)
}

/// Records the sum of all values, shape `[]`.
///
/// # Errors
///
/// None for any shape; the result is that of [`Tape::apply`].
pub fn sum_of<T: Real>(tape: &mut Tape<T>, x: Var) -> Result<Var> {
    let axes: Vec<usize> = (0..tape.shape(x).len()).collect();
    sum_over(tape, x, &axes)
}

/// Records the mean of all values, shape `[]`.
///
/// # Errors
///
/// None for any shape; the result is that of [`Tape::apply`].
pub fn mean_of<T: Real>(tape: &mut Tape<T>, x: Var) -> Result<Var> {
    let axes: Vec<usize> = (0..tape.shape(x).len()).collect();
    mean_over(tape, x, &axes)
}

/// Records the inner product `sum_i x_i y_i` of two arrays of one shape, shape `[]`, summed in double precision.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn inner<T: Real>(tape: &mut Tape<T>, x: Var, y: Var) -> Result<Var> {
    tape.apply(Inner, &[x, y])
}

/// One operation for each run of neighbouring axes, from the last to the first.
fn reduce<T: Real>(tape: &mut Tape<T>, x: Var, axes: &[usize], is_mean: bool) -> Result<Var> {
    let shape = tape.shape(x).to_vec();
    let mut is_reduced = vec![false; shape.len()];
    for &axis in axes {
        match is_reduced.get_mut(axis) {
            Some(seen @ false) => *seen = true,
            _ => return Err(Error::parameter("axis", axis, format!("must be an axis of {shape:?}, named once"))),
        }
    }
    let mut result = x;
    let mut end = shape.len();
    while let Some(last) = (0..end).rev().find(|&axis| is_reduced[axis]) {
        let first = (0..last).rev().find(|&axis| !is_reduced[axis]).map_or(0, |axis| axis + 1);
        let count: usize = shape[first..=last].iter().product();
        let factor = if is_mean { 1.0 / count as f64 } else { 1.0 };
        result = tape.apply(SumAxes { first, last, factor }, &[result])?;
        end = first;
    }
    Ok(result)
}

/// `y_ij = factor sum_m x_imj`, where `m` runs over the axes `first ..= last`.
struct SumAxes {
    first: usize,
    last: usize,
    factor: f64,
}

impl SumAxes {
    /// Values before, along and after the axes.
    fn extents(&self, shape: &[usize]) -> [usize; 3] {
        [&shape[..self.first], &shape[self.first..=self.last], &shape[self.last + 1..]].map(|s| s.iter().product())
    }

    fn apply<T: Real>(&self, workers: &Workers<T>, shape: &[usize], x: &[T], output: &mut [T]) {
        let [_, count, inner] = self.extents(shape);
        let isa = workers.isa();
        if output.len() == 1 {
            output[0] = T::of(self.factor * sum(workers, [x, x], |x, _| x));
        } else if inner == 1 {
            // Rows of neighbours; a thread takes some at a time.
            let rows = (4096 / count.max(1)).max(1);
            workers.pieces(output, rows, 0, |index, piece, _| {
                dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
                    for (i, y) in piece.iter_mut().enumerate() {
                        let row = &x[(index * rows + i) * count..][..count];
                        *y = T::of(self.factor * sum_of_pair(row, row, |x, _| x));
                    }
                }));
            });
        } else {
            workers.pieces(output, inner, 0, |outer, y, _| {
                let (factor, x) = (T::of(self.factor), &x[outer * count * inner..][..count * inner]);
                dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
                    y.fill(T::zero());
                    for row in x.chunks_exact(inner) {
                        y.iter_mut().zip(row).for_each(|(y, &x)| *y += x);
                    }
                    y.iter_mut().for_each(|y| *y *= factor);
                }));
            });
        }
    }
}

impl<T: Real> Operation<T> for SumAxes {
    fn name(&self) -> &'static str {
        "sum_over"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok([&inputs[0][..self.first], &inputs[0][self.last + 1..]].concat())
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        self.apply(workers, inputs[0].shape, inputs[0].values, output);
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let [outer, count, inner] = self.extents(record.inputs[0].shape);
        let factor = T::of(self.factor);
        if outer * inner == 1 {
            let c = factor * cotangent[0];
            return pull(workers, input, [record.inputs[0].values; 2], |_, _| c);
        }
        let (values, weight) = input.target();
        let add = |g: &mut T, c: T| *g = if weight == T::zero() { factor * c } else { *g + factor * c };
        if inner == 1 {
            workers.pieces(values, count, 0, |outer, row, _| row.iter_mut().for_each(|g| add(g, cotangent[outer])));
        } else {
            workers.pieces(values, count * inner, 0, |outer, rows, _| {
                let cotangent = &cotangent[outer * inner..][..inner];
                for row in rows.chunks_exact_mut(inner) {
                    row.iter_mut().zip(cotangent).for_each(|(g, &c)| add(g, c));
                }
            });
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let Some(tangent) = tangents[0] else { return false };
        self.apply(workers, record.inputs[0].shape, tangent, output);
        true
    }
}

/// `sum_i x_i y_i`.
struct Inner;

impl<T: Real> Operation<T> for Inner {
    fn name(&self) -> &'static str {
        "inner"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        same_shape("inner", inputs).map(|_| Vec::new())
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        output[0] = T::of(sum(workers, [inputs[0].values, inputs[1].values], |x, y| x * y));
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        for (i, input) in inputs.iter_mut().enumerate() {
            if let Some(input) = input.take() {
                let (c, other) = (cotangent[0], record.inputs[1 - i].values);
                pull(workers, input, [other; 2], |other, _| c * other);
            }
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let pairs = tangents.iter().enumerate().filter_map(|(i, t)| t.map(|t| [t, record.inputs[1 - i].values]));
        output[0] = T::of(pairs.map(|pair| sum(workers, pair, |x, y| x * y)).sum());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::kernel::testing::{assert_derivatives, assert_threads_agree, noise};
    use super::*;
    use crate::autodiff::Parameters;

    #[test]
    fn sums_and_means_are_those_of_ndarray() {
        let (shape, values) = noise(&[3, 4, 2, 5], 1);
        let array = ndarray::ArrayD::from_shape_vec(shape.clone(), values.clone()).unwrap();
        for axes in [&[0][..], &[3], &[1, 2], &[3, 0], &[0, 2], &[0, 1, 2, 3], &[]] {
            let mut tape = Tape::<f64>::new(Parameters::new(), 2).unwrap();
            let x = tape.variable(&shape, &values).unwrap();
            let (sum, mean) = (sum_over(&mut tape, x, axes).unwrap(), mean_over(&mut tape, x, axes).unwrap());
            let mut descending = axes.to_vec();
            descending.sort_by(|a, b| b.cmp(a));
            let expected = descending.iter().fold(array.clone(), |a, &axis| a.sum_axis(ndarray::Axis(axis)));
            assert_eq!(tape.shape(sum), expected.shape());
            let count: usize = axes.iter().map(|&axis| shape[axis]).product();
            for ((s, m), e) in tape.values(sum).iter().zip(tape.values(mean)).zip(&expected) {
                // At most 120 terms of size one.
                assert!((s - e).abs() < 1e-13 && (m - e / count as f64).abs() < 1e-13, "{axes:?}");
            }
        }
    }

    #[test]
    fn derivatives_agree() {
        for (first, last) in [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2)] {
            assert_derivatives(|| SumAxes { first, last, factor: 0.3 }, &[noise(&[3, 4, 5], 1)]);
        }
        assert_derivatives(|| Inner, &[noise(&[3, 4], 1), noise(&[3, 4], 2)]);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let pair = [noise(&[5, 3, 20_011], 1), noise(&[5, 3, 20_011], 2)];
        assert_threads_agree(&pair, |t, v| inner(t, v[0], v[1]), |t, v| inner(t, v[0], v[1]));
        for axes in [&[0][..], &[1], &[2], &[0, 2], &[0, 1, 2]] {
            assert_threads_agree(&pair[..1], |t, v| sum_over(t, v[0], axes), |t, v| mean_over(t, v[0], axes));
        }
    }

    #[test]
    fn a_sum_in_single_precision_is_accumulated_in_double() {
        let mut tape = Tape::<f32>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[3_000_000], &vec![0.1; 3_000_000]).unwrap();
        let mean = mean_of(&mut tape, x).unwrap();
        assert_eq!(tape.values(mean), [0.1]);
    }

    #[test]
    fn unknown_and_repeated_axes_are_refused() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[2, 3], &[0.0; 6]).unwrap();
        for axes in [[0, 2], [1, 1]] {
            let error = sum_over(&mut tape, x, &axes).unwrap_err().to_string();
            assert!(error.ends_with("is not allowed: must be an axis of [2, 3], named once"), "{error}");
        }
    }
}
