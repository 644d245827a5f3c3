//! Convolution on a grid, in one to three dimensions.
//!
//! ```text
//! y[b, o, p] = bias[o] + sum_{c, t} w[o, c, t] x[b, c, p + t - h],   h = (kernel - 1) / 2,
//! ```
//!
//! which is the cross-correlation that learned layers call convolution. Output and input have the same points: beyond the
//! grid the input is periodic or zero.
//!
//! Both derivatives of this bilinear map are sums of the same form, so all passes run in one kernel, a matrix product
//! whose right factor is read at tabulated offsets (`product.rs`): forward and for the input's cotangent the sum is over
//! channels and taps and vectors lie along the last axis; for the weight's cotangent the sum is over points and vectors
//! lie along channels and taps. Nothing is unfolded in memory but tiles with their halo.

mod geometry;
mod pack;
mod passes;
mod product;
#[cfg(test)]
mod tests;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::autodiff::{Cotangent, Operation, Parameter, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use geometry::Geometry;

/// What lies beyond the grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The grid again.
    Periodic,
    /// Zeros.
    Zero,
}

/// Convolution as an operation of `x: [batch, c_in, points..]`, `weight: [c_out, c_in, kernel..]` and, optionally,
/// `bias: [c_out]`, with the result `[batch, c_out, points..]`. The weight has the layout of PyTorch.
///
/// # Errors
///
/// Recording it fails if the inputs have not these shapes with one to three axes of points, if a kernel size is even, or
/// if a kernel is larger than a periodic grid.
#[derive(Clone, Copy, Debug)]
pub struct Convolve {
    /// What lies beyond the grid.
    pub padding: Padding,
}

impl Convolve {
    fn geometry<T: Real>(&self, x: &[usize], weight: &[usize]) -> Geometry {
        Geometry::new(self.padding, x, weight, size_of::<T>())
    }
}

impl<T: Real> Operation<T> for Convolve {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (x, weight) = (inputs[0], inputs[1]);
        if !(3..=5).contains(&x.len()) || x.contains(&0) {
            let rule = "must be [batch, channel, points..], not empty, with one to three axes of points";
            return Err(Error::parameter("shape of the input of a convolution", format!("{x:?}"), rule));
        }
        if weight.len() != x.len() || weight.contains(&0) {
            let rule = format!("must be [c_out, c_in, kernel..], not empty, with as many axes as the input {x:?}");
            return Err(Error::parameter("shape of the weight of a convolution", format!("{weight:?}"), rule));
        }
        if weight[1] != x[1] {
            let expected: Vec<usize> = [&[weight[0], x[1]], &weight[2..]].concat();
            return Err(Error::shape(format!("weight of a convolution of {x:?}"), &expected, weight));
        }
        check_kernel(&weight[2..])?;
        for (&k, &n) in weight[2..].iter().zip(&x[2..]) {
            if self.padding == Padding::Periodic && k > n {
                let rule = format!("must not be larger than the periodic grid {:?}", &x[2..]);
                return Err(Error::parameter("kernel", format!("{:?}", &weight[2..]), rule));
            }
        }
        if let Some(&bias) = inputs.get(2)
            && bias != [weight[0]]
        {
            return Err(Error::shape("bias of a convolution", &weight[..1], bias));
        }
        Ok([&[x[0], weight[0]], &x[2..]].concat())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        let (x, weight) = (inputs[0], inputs[1]);
        let geometry = self.geometry::<T>(x.shape, weight.shape);
        let packed = passes::forward_weight(&geometry, weight.values);
        let bias = inputs.get(2).map(|b| b.values);
        passes::convolve(workers, workers.isa(), &geometry, x.values, &packed, bias, output, false);
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let (x, weight) = (record.inputs[0], record.inputs[1]);
        let geometry = self.geometry::<T>(x.shape, weight.shape);
        let isa = workers.isa();
        let mut target = |i: usize| {
            let (values, beta) = inputs.get_mut(i)?.take()?.target();
            Some((values, beta != T::zero()))
        };
        if let Some((g, add)) = target(0) {
            let packed = passes::backward_weight(&geometry, weight.values);
            let back = Geometry::transposed(&geometry);
            passes::convolve(workers, isa, &back, cotangent, &packed, None, g, add);
        }
        if let Some((g, add)) = target(1) {
            passes::weight_gradient(workers, isa, &geometry, x.values, cotangent, g, add);
        }
        if let Some((g, add)) = target(2) {
            passes::bias_gradient(workers, isa, &geometry, cotangent, g, add);
        }
    }

    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let (x, weight) = (record.inputs[0], record.inputs[1]);
        let geometry = self.geometry::<T>(x.shape, weight.shape);
        let isa = workers.isa();
        // y' = w' * x + w * x' + bias'.
        let rows = output.chunks_exact_mut(geometry.volume()).enumerate();
        rows.for_each(|(row, y)| {
            y.fill(tangents.get(2).copied().flatten().map_or(T::zero(), |b| b[row % geometry.c_out]))
        });
        for (x, weight) in [(Some(x.values), tangents[1]), (tangents[0], Some(weight.values))] {
            if let (Some(x), Some(weight)) = (x, weight) {
                let packed = passes::forward_weight(&geometry, weight);
                passes::convolve(workers, isa, &geometry, x, &packed, None, output, true);
            }
        }
        true
    }
}

fn check_kernel(kernel: &[usize]) -> Result<()> {
    match kernel.iter().all(|k| k % 2 == 1) {
        true => Ok(()),
        false => Err(Error::parameter("kernel", format!("{kernel:?}"), "must be odd along every axis")),
    }
}

/// A convolution with its parameters `name.weight` and, if it has one, `name.bias`.
///
/// ```
/// use parseval::autodiff::{Parameters, Tape};
/// use parseval::nn::{Convolution, Padding};
/// use rand::SeedableRng;
/// use rand_chacha::ChaCha8Rng;
///
/// let (mut parameters, mut rng) = (Parameters::<f32>::new(), ChaCha8Rng::seed_from_u64(0));
/// let layer = Convolution::new(&mut parameters, "lift", (2, 8), &[3, 5], Padding::Periodic, true, &mut rng)?;
/// assert_eq!(parameters.views()[0].name, "lift.weight");
/// assert_eq!(parameters.views()[0].shape, [8, 2, 3, 5]);
/// let mut tape = Tape::new(parameters, 2)?;
/// let x = tape.constant(&[1, 2, 16, 16], &[0.5; 512])?;
/// let y = layer.record(&mut tape, x)?;
/// assert_eq!(tape.shape(y), [1, 8, 16, 16]);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Convolution {
    weight: Parameter,
    bias: Option<Parameter>,
    padding: Padding,
}

impl Convolution {
    /// Adds the parameters for `channels = (c_in, c_out)` and a kernel of one to three odd sizes. Their values are uniform
    /// in `+- 1 / sqrt(c_in prod(kernel))`, the default of PyTorch (He et al. 2015 with a leak of `sqrt 5`).
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a number of channels of zero, an even kernel, or another number of axes.
    pub fn new<T: Real>(
        parameters: &mut Parameters<T>,
        name: &str,
        channels: (usize, usize),
        kernel: &[usize],
        padding: Padding,
        bias: bool,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let (c_in, c_out) = channels;
        if c_in == 0 || c_out == 0 {
            return Err(Error::parameter("channels", format!("{channels:?}"), "must be positive"));
        }
        if !(1..=3).contains(&kernel.len()) {
            return Err(Error::parameter("kernel", format!("{kernel:?}"), "must have one to three axes"));
        }
        check_kernel(kernel)?;
        let bound = 1.0 / ((c_in * kernel.iter().product::<usize>()) as f64).sqrt();
        let mut value = || rng.random_range(-bound..bound);
        let shape = [&[c_out, c_in], kernel].concat();
        let weight = parameters.add(format!("{name}.weight"), &shape, &mut value);
        let bias = bias.then(|| parameters.add(format!("{name}.bias"), &[c_out], &mut value));
        Ok(Self { weight, bias, padding })
    }

    /// Records the layer on `x: [batch, c_in, points..]`; the result is `[batch, c_out, points..]`.
    ///
    /// # Errors
    ///
    /// As [`Convolve`].
    pub fn record<T: Real>(&self, tape: &mut Tape<T>, x: Var) -> Result<Var> {
        let mut inputs = vec![x, tape.parameter(self.weight)];
        inputs.extend(self.bias.map(|bias| tape.parameter(bias)));
        tape.apply(Convolve { padding: self.padding }, &inputs)
    }
}
