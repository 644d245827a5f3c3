//! Sums and products, elementwise and by a vector of one value a channel.

use super::kernel::{pull, same_shape, sum_of_pair, zip};
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers, dispatch};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::Lanes;

/// Records `x + y` of arrays of one shape.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn add<T: Real>(tape: &mut Tape<T>, x: Var, y: Var) -> Result<Var> {
    tape.apply(Sum { name: "add", sign: 1.0 }, &[x, y])
}

/// Records `x - y` of arrays of one shape.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn subtract<T: Real>(tape: &mut Tape<T>, x: Var, y: Var) -> Result<Var> {
    tape.apply(Sum { name: "subtract", sign: -1.0 }, &[x, y])
}

/// Records the elementwise product `x y` of arrays of one shape.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn multiply<T: Real>(tape: &mut Tape<T>, x: Var, y: Var) -> Result<Var> {
    tape.apply(Product, &[x, y])
}

/// Records `factor x`.
///
/// # Errors
///
/// None for any shape; the result is that of [`Tape::apply`].
pub fn scale<T: Real>(tape: &mut Tape<T>, x: Var, factor: f64) -> Result<Var> {
    tape.apply(Scale { factor }, &[x])
}

/// Records `x + v`, one value of `v`, shape `[channel]`, for each channel of `x`, shape `[batch, channel, points..]`.
///
/// # Errors
///
/// [`Error::Shape`] if `v` is not as long as the channel axis.
pub fn add_channels<T: Real>(tape: &mut Tape<T>, x: Var, v: Var) -> Result<Var> {
    tape.apply(ChannelSum, &[x, v])
}

/// Records `x v`, one value of `v`, shape `[channel]`, for each channel of `x`, shape `[batch, channel, points..]`.
///
/// # Errors
///
/// [`Error::Shape`] if `v` is not as long as the channel axis.
pub fn multiply_channels<T: Real>(tape: &mut Tape<T>, x: Var, v: Var) -> Result<Var> {
    tape.apply(ChannelProduct, &[x, v])
}

/// `x + sign y`.
struct Sum {
    name: &'static str,
    sign: f64,
}

impl<T: Real> Operation<T> for Sum {
    fn name(&self) -> &'static str {
        self.name
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        same_shape(self.name, inputs)
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let sign = T::of(self.sign);
        zip(workers, output, false, [inputs[0].values, inputs[1].values], |x, y| x + sign * y);
    }
    fn vjp(&self, workers: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        for (input, sign) in inputs.iter_mut().zip([1.0, self.sign].map(T::of)) {
            if let Some(input) = input.take() {
                pull(workers, input, [cotangent; 2], |c, _| sign * c);
            }
        }
    }
    fn jvp(&self, workers: &Workers<T>, _: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        output.fill(T::zero());
        for (tangent, sign) in tangents.iter().zip([1.0, self.sign].map(T::of)) {
            if let Some(tangent) = tangent {
                zip(workers, output, true, [tangent; 2], |t, _| sign * t);
            }
        }
        true
    }
}

/// `factor x`.
struct Scale {
    factor: f64,
}

impl<T: Real> Operation<T> for Scale {
    fn name(&self) -> &'static str {
        "scale"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let factor = T::of(self.factor);
        zip(workers, output, false, [inputs[0].values; 2], |x, _| factor * x);
    }
    fn vjp(&self, workers: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        if let Some(input) = inputs[0].take() {
            let factor = T::of(self.factor);
            pull(workers, input, [cotangent; 2], |c, _| factor * c);
        }
    }
    fn jvp(&self, workers: &Workers<T>, _: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let Some(tangent) = tangents[0] else { return false };
        let factor = T::of(self.factor);
        zip(workers, output, false, [tangent; 2], |t, _| factor * t);
        true
    }
}

/// `x y`.
struct Product;

impl<T: Real> Operation<T> for Product {
    fn name(&self) -> &'static str {
        "multiply"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        same_shape("multiply", inputs)
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        zip(workers, output, false, [inputs[0].values, inputs[1].values], |x, y| x * y);
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        for (i, input) in inputs.iter_mut().enumerate() {
            if let Some(input) = input.take() {
                pull(workers, input, [cotangent, record.inputs[1 - i].values], |c, other| c * other);
            }
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        output.fill(T::zero());
        for (i, tangent) in tangents.iter().enumerate() {
            if let Some(tangent) = tangent {
                zip(workers, output, true, [tangent, record.inputs[1 - i].values], |t, other| t * other);
            }
        }
        true
    }
}

/// `x_bcp + v_c`.
struct ChannelSum;

impl<T: Real> Operation<T> for ChannelSum {
    fn name(&self) -> &'static str {
        "add_channels"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        channel_shape("add_channels", inputs)
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let v = inputs[1].values;
        each_channel(workers, inputs[0].shape, output, inputs[0].values, |c, x| x + v[c], false);
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        if let Some(input) = inputs[0].take() {
            pull(workers, input, [cotangent; 2], |c, _| c);
        }
        if let Some(input) = inputs[1].take() {
            sum_channels(workers, record.inputs[0].shape, input.add(), [cotangent; 2], |c, _| c);
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let Tensor { values: x, shape } = record.inputs[0];
        match tangents[0] {
            Some(tangent) => output.copy_from_slice(tangent),
            None => output.fill(T::zero()),
        }
        if let Some(v) = tangents[1] {
            each_channel(workers, shape, output, x, |c, _| v[c], true);
        }
        true
    }
}

/// `x_bcp v_c`.
struct ChannelProduct;

impl<T: Real> Operation<T> for ChannelProduct {
    fn name(&self) -> &'static str {
        "multiply_channels"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        channel_shape("multiply_channels", inputs)
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let v = inputs[1].values;
        each_channel(workers, inputs[0].shape, output, inputs[0].values, |c, x| x * v[c], false);
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let ([x, v], shape) = ([record.inputs[0].values, record.inputs[1].values], record.inputs[0].shape);
        if let Some(input) = inputs[0].take() {
            let (values, weight) = input.target();
            each_channel(workers, shape, values, cotangent, |c, g| g * v[c], weight != T::zero());
        }
        if let Some(input) = inputs[1].take() {
            sum_channels(workers, shape, input.add(), [cotangent, x], |g, x| g * x);
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let ([x, v], shape) = ([record.inputs[0].values, record.inputs[1].values], record.inputs[0].shape);
        output.fill(T::zero());
        if let Some(tangent) = tangents[0] {
            each_channel(workers, shape, output, tangent, |c, t| t * v[c], true);
        }
        if let Some(tangent) = tangents[1] {
            each_channel(workers, shape, output, x, |c, x| x * tangent[c], true);
        }
        true
    }
}

/// Values that are handed to a thread together.
const PIECE: usize = 1 << 14;

/// `[batch, channel, points..]` and `[channel]`.
fn channel_shape(what: &str, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    match inputs {
        [[_, channels, ..], v] if **v == [*channels] => Ok(inputs[0].to_vec()),
        [[_, channels, ..], v] => Err(Error::shape(what, &[*channels], v)),
        _ => Err(Error::shape(what, &[0, inputs[1].iter().product()], inputs[0])),
    }
}

/// `output_bcp = f(c, x_bcp)`, or added to what is there if `add`; the shape is that of both.
fn each_channel<T: Real>(
    workers: &Workers<T>,
    shape: &[usize],
    output: &mut [T],
    x: &[T],
    f: impl Fn(usize, T) -> T + Sync,
    add: bool,
) {
    let (channels, points) = (shape[1], shape[2..].iter().product::<usize>());
    let rows = (PIECE / points.max(1)).max(1);
    let isa = workers.isa();
    workers.pieces(output, rows * points, 0, |index, piece, _| {
        let x = &x[index * rows * points..][..piece.len()];
        dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
            for (row, (y, x)) in piece.chunks_exact_mut(points).zip(x.chunks_exact(points)).enumerate() {
                let c = (index * rows + row) % channels;
                if add {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y += f(c, x));
                } else {
                    y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(c, x));
                }
            }
        }));
    });
}

/// `v_c += sum_bp f(a_bcp, b_bcp)`, summed in double precision.
fn sum_channels<T: Real>(
    workers: &Workers<T>,
    shape: &[usize],
    v: &mut [T],
    [a, b]: [&[T]; 2],
    f: impl Fn(f64, f64) -> f64 + Sync,
) {
    let (channels, points) = (shape[1], shape[2..].iter().product::<usize>());
    let isa = workers.isa();
    workers.pieces(v, 1, 0, |c, v, _| {
        let row = |batch: usize| (batch * channels + c) * points..(batch * channels + c + 1) * points;
        let sum = dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
            (0..shape[0]).map(|batch| sum_of_pair(&a[row(batch)], &b[row(batch)], &f)).sum::<f64>()
        }));
        v[0] += T::of(sum);
    });
}

#[cfg(test)]
mod tests {
    use super::super::kernel::testing::{assert_derivatives, assert_threads_agree, noise};
    use super::*;
    use crate::autodiff::Parameters;

    #[test]
    fn elementwise_results_are_those_of_the_formulas() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 2).unwrap();
        let x = tape.variable(&[3], &[1.0, -2.0, 3.0]).unwrap();
        let y = tape.variable(&[3], &[0.5, 4.0, -1.0]).unwrap();
        let sum = add(&mut tape, x, y).unwrap();
        let difference = subtract(&mut tape, x, y).unwrap();
        let product = multiply(&mut tape, x, y).unwrap();
        let scaled = scale(&mut tape, x, -2.0).unwrap();
        assert_eq!(tape.values(sum), [1.5, 2.0, 2.0]);
        assert_eq!(tape.values(difference), [0.5, -6.0, 4.0]);
        assert_eq!(tape.values(product), [0.5, -8.0, -3.0]);
        assert_eq!(tape.values(scaled), [-2.0, 4.0, -6.0]);
    }

    #[test]
    fn a_channel_vector_is_broadcast_over_batch_and_points() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[2, 2, 3], &(0..12).map(f64::from).collect::<Vec<_>>()).unwrap();
        let v = tape.variable(&[2], &[10.0, -1.0]).unwrap();
        let sum = add_channels(&mut tape, x, v).unwrap();
        let product = multiply_channels(&mut tape, x, v).unwrap();
        assert_eq!(tape.values(sum), [10.0, 11.0, 12.0, 2.0, 3.0, 4.0, 16.0, 17.0, 18.0, 8.0, 9.0, 10.0]);
        assert_eq!(tape.values(product), [0.0, 10.0, 20.0, -3.0, -4.0, -5.0, 60.0, 70.0, 80.0, -9.0, -10.0, -11.0]);
        let by = tape.gradients(product, &[1.0; 12], &[v]).unwrap();
        assert_eq!(by[0], [0.0 + 1.0 + 2.0 + 6.0 + 7.0 + 8.0, 3.0 + 4.0 + 5.0 + 9.0 + 10.0 + 11.0]);
    }

    #[test]
    fn derivatives_agree() {
        let pair = [noise(&[3, 7], 1), noise(&[3, 7], 2)];
        assert_derivatives(|| Sum { name: "add", sign: 1.0 }, &pair);
        assert_derivatives(|| Sum { name: "subtract", sign: -1.0 }, &pair);
        assert_derivatives(|| Product, &pair);
        assert_derivatives(|| Scale { factor: 0.7 }, &pair[..1]);
        for points in [&[5, 6][..], &[]] {
            let by_channel = [noise(&[&[2, 4], points].concat(), 3), noise(&[4], 4)];
            assert_derivatives(|| ChannelSum, &by_channel);
            assert_derivatives(|| ChannelProduct, &by_channel);
        }
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let pair = [noise(&[3, 7, 4099], 1), noise(&[3, 7, 4099], 2)];
        assert_threads_agree(&pair, |t, v| multiply(t, v[0], v[1]), |t, v| subtract(t, v[0], v[1]));
        let by_channel = [noise(&[3, 7, 4099], 3), noise(&[7], 4)];
        assert_threads_agree(&by_channel, |t, v| multiply_channels(t, v[0], v[1]), |t, v| add_channels(t, v[0], v[1]));
    }

    #[test]
    fn misfits_are_refused_with_both_shapes() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.constant(&[1, 2, 3], &[0.0; 6]).unwrap();
        let v = tape.constant(&[3], &[0.0; 3]).unwrap();
        let message = |result: Result<Var>| result.unwrap_err().to_string();
        assert_eq!(message(add(&mut tape, x, v)), "add: expected shape [1, 2, 3], got [3]");
        assert_eq!(message(add_channels(&mut tape, x, v)), "add_channels: expected shape [2], got [3]");
        assert!(message(multiply_channels(&mut tape, v, v)).ends_with("got [3]"));
    }
}
