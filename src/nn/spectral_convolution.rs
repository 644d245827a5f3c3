//! Spectral convolution: a matrix over channels for each kept mode.
//!
//! `y_o = F^-1 [ sum_i R_{io}(k) F x_i (k) + scale b_o(k) ]` for the kept modes `k`, zero elsewhere. Li et al., "Fourier
//! Neural Operator for Parametric Partial Differential Equations", ICLR 2021, Eq. (5), with the forward transform scaled
//! by `1/N`, so that amplitudes do not depend on the grid, and no Nyquist modes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::mixing::{ByMode, Sizes, mix};
use super::modes::{Axis, Half, Modes};
use crate::autodiff::{Cotangent, Operation, Parameter, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;

/// The operation. Inputs: `x` of `[batch, c_in, points..]`, weight `[2, c_in, c_out, modes..]`, and, if there is a scale,
/// bias `[2, c_out, modes..]`; the leading 2 are real and imaginary parts. Output `[batch, c_out, points..]`.
pub struct SpectralConvolution<T> {
    modes: Arc<Modes<T>>,
    axes: Vec<Axis>,
    half: Half,
    bias_scale: Option<T>,
}

impl<T: Real> SpectralConvolution<T> {
    /// With the plan of the axes; `bias_scale` if there is a bias.
    ///
    /// # Errors
    ///
    /// As [`Modes::plan`].
    pub fn new(axes: &[Axis], half: Half, bias_scale: Option<f64>) -> Result<Self> {
        let modes = Arc::new(Modes::plan(axes, half)?);
        Ok(Self { modes, axes: axes.to_vec(), half, bias_scale: bias_scale.map(T::of) })
    }

    fn sizes(&self, inputs: &[Tensor<T>]) -> (usize, usize, usize) {
        (inputs[0].shape[0], inputs[1].shape[1], inputs[1].shape[2])
    }

    /// Real fields of `channels` channels by mode: entry `(channel, sample)`.
    fn by_mode(&self, values: *mut T, channels: usize) -> ByMode<T> {
        let k = self.modes.modes();
        ByMode { start: values, row: 2 * k, column: channels * 2 * k, part: k }
    }

    /// Weights by mode: entry `(input channel, output channel)`.
    fn weight_by_mode(&self, values: *mut T, (c_in, c_out): (usize, usize)) -> ByMode<T> {
        let k = self.modes.modes();
        ByMode { start: values, row: c_out * k, column: k, part: c_in * c_out * k }
    }

    /// Modes of all channels.
    fn analyse(&self, workers: &Workers<T>, x: &[T], x_hat: &mut [T]) {
        let n = self.modes.input();
        workers.pieces(x_hat, 2 * self.modes.modes(), self.modes.scratch(), |i, x_hat, scratch| {
            self.modes.analyse(&x[i * n..][..n], x_hat, scratch);
        });
    }

    /// `y_hat = R x_hat`.
    fn mix(
        &self,
        workers: &Workers<T>,
        (batch, c_in, c_out): (usize, usize, usize),
        x_hat: &[T],
        weight: &[T],
        y_hat: &mut [T],
    ) {
        let sizes = Sizes { p: c_out, r: c_in, q: batch, modes: self.modes.modes() };
        let r = self.weight_by_mode(weight.as_ptr().cast_mut(), (c_in, c_out)).t();
        let x = self.by_mode(x_hat.as_ptr().cast_mut(), c_in);
        // SAFETY: the lengths were checked by the shape of the operation; `y_hat` is borrowed mutably.
        unsafe { mix::<T, false>(workers, sizes, r, x, T::zero(), self.by_mode(y_hat.as_mut_ptr(), c_out)) }
    }

    fn synthesise(&self, workers: &Workers<T>, y_hat: &[T], y: &mut [T]) {
        let k = 2 * self.modes.modes();
        workers.pieces(y, self.modes.output(), self.modes.scratch(), |i, y, scratch| {
            self.modes.synthesise(&y_hat[i * k..][..k], y, scratch);
        });
    }

    /// `y_hat = y_hat + scale b`, with `b` as stored, `[2, c_out, modes]`.
    fn add_bias(&self, y_hat: &mut [T], bias: &[T], c_out: usize) {
        let (k, scale) = (self.modes.modes(), self.bias_scale.expect("there is a bias"));
        for (i, y_hat) in y_hat.chunks_exact_mut(k).enumerate() {
            let (part, channel) = (i % 2, i / 2 % c_out);
            let bias = &bias[(part * c_out + channel) * k..][..k];
            y_hat.iter_mut().zip(bias).for_each(|(y, &b)| *y += scale * b);
        }
    }
}

impl<T: Real> Operation<T> for SpectralConvolution<T> {
    fn name(&self) -> &'static str {
        "spectral convolution"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let (x, weight) = (inputs[0], inputs[1]);
        let counts = |samples: fn(&Axis) -> usize| self.axes.iter().map(samples).collect::<Vec<usize>>();
        if x.len() != 2 + self.axes.len() || x[2..] != counts(|a| a.input.count) {
            let expected = [&[x.first().copied().unwrap_or(1), 1][..], &counts(|a| a.input.count)].concat();
            return Err(Error::shape("spectral convolution of x", &expected, x));
        }
        let c_out = weight.get(2).copied().unwrap_or(1);
        let kept = kept(&self.axes.iter().map(|a| a.modes).collect::<Vec<_>>(), self.half);
        let expected = [&[2, x[1], c_out][..], &kept].concat();
        if weight != expected {
            return Err(Error::shape("spectral convolution with weight", &expected, weight));
        }
        if self.bias_scale.is_some() {
            let expected = [&[2, c_out][..], &kept].concat();
            if inputs[2] != expected {
                return Err(Error::shape("spectral convolution with bias", &expected, inputs[2]));
            }
        }
        Ok([&[x[0], c_out][..], &counts(|a| a.output.count)].concat())
    }

    fn saved(&self, inputs: &[&[usize]]) -> usize {
        inputs[0][0] * inputs[0][1] * 2 * self.modes.modes()
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], saved: &mut [T]) {
        let sizes @ (batch, _, c_out) = self.sizes(inputs);
        self.analyse(workers, inputs[0].values, saved);
        let mut y_hat = workers.buffer(batch * c_out * 2 * self.modes.modes());
        self.mix(workers, sizes, saved, inputs[1].values, &mut y_hat);
        if self.bias_scale.is_some() {
            self.add_bias(&mut y_hat, inputs[2].values, c_out);
        }
        self.synthesise(workers, &y_hat, output);
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let (batch, c_in, c_out) = self.sizes(record.inputs);
        let (k, points) = (self.modes.modes(), self.modes.output());
        let mut g_hat = workers.buffer(batch * c_out * 2 * k);
        workers.pieces(&mut g_hat, 2 * k, self.modes.scratch(), |i, g_hat, scratch| {
            self.modes.synthesise_transposed(&cotangent[i * points..][..points], g_hat, scratch);
        });
        let g = self.by_mode(g_hat.as_mut_ptr(), c_out);
        if let Some(weight) = inputs[1].take() {
            let (weight, beta) = weight.target();
            let x = self.by_mode(record.saved.as_ptr().cast_mut(), c_in);
            let sizes = Sizes { p: c_in, r: batch, q: c_out, modes: k };
            let to = self.weight_by_mode(weight.as_mut_ptr(), (c_in, c_out));
            // SAFETY: as in the forward pass.
            unsafe { mix::<T, true>(workers, sizes, x, g.t(), beta, to) };
        }
        if let Some(bias) = inputs.get_mut(2).and_then(Option::take) {
            let (bias, scale) = (bias.add(), self.bias_scale.expect("there is a bias"));
            for (i, g) in g_hat.chunks_exact(k).enumerate() {
                let (part, channel) = (i % 2, i / 2 % c_out);
                let bias = &mut bias[(part * c_out + channel) * k..][..k];
                bias.iter_mut().zip(g).for_each(|(b, &g)| *b += scale * g);
            }
        }
        if let Some(x) = inputs[0].take() {
            let mut x_hat = workers.buffer(batch * c_in * 2 * k);
            let weight = self.weight_by_mode(record.inputs[1].values.as_ptr().cast_mut(), (c_in, c_out));
            let sizes = Sizes { p: c_in, r: c_out, q: batch, modes: k };
            // SAFETY: as in the forward pass.
            unsafe { mix::<T, true>(workers, sizes, weight, g, T::zero(), self.by_mode(x_hat.as_mut_ptr(), c_in)) };
            let (x, beta) = x.target();
            workers.pieces(x, self.modes.input(), self.modes.scratch(), |i, x, scratch| {
                self.modes.analyse_transposed(&x_hat[i * 2 * k..][..2 * k], beta, x, scratch);
            });
        }
    }

    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let sizes @ (batch, c_in, c_out) = self.sizes(record.inputs);
        let k = self.modes.modes();
        let mut y_hat = workers.buffer(batch * c_out * 2 * k);
        y_hat.fill(T::zero());
        let mut term = workers.buffer(batch * c_out * 2 * k);
        let mut add = |x_hat: &[T], weight: &[T]| {
            self.mix(workers, sizes, x_hat, weight, &mut term);
            y_hat.iter_mut().zip(term.iter()).for_each(|(y, &t)| *y += t);
        };
        if let Some(x) = tangents[0] {
            let mut x_hat = workers.buffer(batch * c_in * 2 * k);
            self.analyse(workers, x, &mut x_hat);
            add(&x_hat, record.inputs[1].values);
        }
        if let Some(weight) = tangents[1] {
            add(record.saved, weight);
        }
        if let Some(Some(bias)) = tangents.get(2) {
            self.add_bias(&mut y_hat, bias, c_out);
        }
        self.synthesise(workers, &y_hat, output);
        true
    }
}

/// Numbers of kept modes by axis, for `m` modes of one sign.
fn kept(modes: &[usize], half: Half) -> Vec<usize> {
    let h = if half == Half::First { 0 } else { modes.len() - 1 };
    modes.iter().enumerate().map(|(a, &m)| if a == h { m } else { 2 * m }).collect()
}

/// A spectral convolution with its parameters.
pub struct SpectralLayer<T> {
    weight: Parameter,
    bias: Option<(Parameter, f64)>,
    modes: Vec<usize>,
    half: Half,
    /// Plans of the grids that were seen.
    plans: Mutex<HashMap<Vec<Axis>, Arc<Modes<T>>>>,
}

/// What a [`SpectralLayer`] is made of.
#[derive(Clone, Debug)]
pub struct SpectralConfig {
    /// Channels before and after.
    pub channels: (usize, usize),
    /// Kept modes of one sign, by axis.
    pub modes: Vec<usize>,
    /// Axis of the half spectrum.
    pub half: Half,
    /// Real and imaginary parts of the weights begin uniform in `[0, scale)`.
    pub scale: f64,
    /// Factor of the additive bias of each mode, which begins at zero; `None` for no bias.
    pub bias: Option<f64>,
}

impl SpectralConfig {
    /// Adds the parameters `name.weight` and `name.bias`.
    pub fn init<T: Real>(&self, name: &str, parameters: &mut Parameters<T>, rng: &mut ChaCha8Rng) -> SpectralLayer<T> {
        let (c_in, c_out) = self.channels;
        let kept = kept(&self.modes, self.half);
        let shape = [&[2, c_in, c_out][..], &kept].concat();
        let weight = parameters.add(format!("{name}.weight"), &shape, || self.scale * rng.random::<f64>());
        let bias = self.bias.map(|scale| {
            let shape = [&[2, c_out][..], &kept].concat();
            (parameters.add(format!("{name}.bias"), &shape, || 0.0), scale)
        });
        SpectralLayer { weight, bias, modes: self.modes.clone(), half: self.half, plans: Mutex::new(HashMap::new()) }
    }
}

impl<T: Real> SpectralLayer<T> {
    /// Records the convolution from the points of the axes to the points of the axes.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `x` does not fit, [`Error::Parameter`] if a grid is too coarse for the modes.
    pub fn record(&self, tape: &mut Tape<T>, x: Var, axes: &[Axis]) -> Result<Var> {
        let modes: Vec<usize> = axes.iter().map(|a| a.modes).collect();
        if modes != self.modes {
            return Err(Error::shape("modes of the axes", &self.modes, &modes));
        }
        let mut plans = self.plans.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let plan = match plans.get(axes) {
            Some(plan) => plan.clone(),
            None => {
                let plan = Arc::new(Modes::plan(axes, self.half)?);
                plans.insert(axes.to_vec(), plan.clone());
                plan
            }
        };
        let bias_scale = self.bias.map(|(_, scale)| T::of(scale));
        let operation = SpectralConvolution { modes: plan, axes: axes.to_vec(), half: self.half, bias_scale };
        let mut inputs = vec![x, tape.parameter(self.weight)];
        inputs.extend(self.bias.map(|(bias, _)| tape.parameter(bias)));
        tape.apply(operation, &inputs)
    }

    /// The weights.
    pub fn weight(&self) -> Parameter {
        self.weight
    }

    /// The bias, if there is one.
    pub fn bias(&self) -> Option<Parameter> {
        self.bias.map(|(bias, _)| bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check;
    use crate::nn::modes::Samples;
    use num_complex::Complex64;
    use std::f64::consts::TAU;

    fn noise(shape: &[usize], seed: f64) -> (Vec<usize>, Vec<f64>) {
        let len: usize = shape.iter().product();
        (shape.to_vec(), (0..len).map(|i| ((i as f64 + seed) * 12.9898).sin()).collect())
    }

    fn space_time() -> [Axis; 3] {
        let time = Axis { input: Samples::padded(5, 5), output: Samples { count: 4, first: 6, period: 10 }, modes: 3 };
        [time, Axis::periodic(6, 2), Axis::periodic(8, 2)]
    }

    #[test]
    fn derivatives_are_exact() {
        for (axes, half, bias) in [
            (&[Axis::periodic(8, 3)][..], Half::Last, None),
            (&[Axis::periodic(8, 3), Axis::periodic(6, 3)][..], Half::Last, Some(0.3)),
            (&space_time()[..], Half::First, Some(0.1)),
        ] {
            let kept = kept(&axes.iter().map(|a| a.modes).collect::<Vec<_>>(), half);
            let points: Vec<usize> = axes.iter().map(|a| a.input.count).collect();
            let mut inputs =
                vec![noise(&[&[5, 3][..], &points].concat(), 0.1), noise(&[&[2, 3, 2][..], &kept].concat(), 0.2)];
            if bias.is_some() {
                inputs.push(noise(&[&[2, 2][..], &kept].concat(), 0.3));
            }
            let check = check(|| SpectralConvolution::new(axes, half, bias).unwrap(), &inputs, 7).unwrap();
            // Bilinear: round-off of sums of some thousand products; the differences divide it by the step 3e-3.
            assert!(check.adjoint.unwrap() < 1e-14 && check.difference < 1e-11, "{check:?}");
        }
    }

    #[test]
    fn one_mode_is_multiplied_by_its_weight() {
        let axes = [Axis::periodic(12, 4), Axis::periodic(10, 3)];
        let (m, k) = (8, 8 * 3);
        let mut weight = vec![0.0; 2 * k];
        // Row m - 2 is k_x = -2, column 1 is k_y = 1.
        let r = Complex64::new(0.7, -0.4);
        (weight[(m - 2) * 3 + 1], weight[k + (m - 2) * 3 + 1]) = (r.re, r.im);
        let wave = |i: usize, phase: f64| {
            let (x, y) = ((i / 10) as f64 / 12.0, (i % 10) as f64 / 10.0);
            (TAU * (-2.0 * x + y) + phase).cos()
        };
        let x: Vec<f64> = (0..120).map(|i| wave(i, 0.3) + 5.0).collect();
        let mut tape = Tape::new(Parameters::new(), 1).unwrap();
        let x = tape.constant(&[1, 1, 12, 10], &x).unwrap();
        let weight = tape.constant(&[2, 1, 1, 8, 3], &weight).unwrap();
        let y = tape.apply(SpectralConvolution::new(&axes, Half::Last, None).unwrap(), &[x, weight]).unwrap();
        for (i, y) in tape.values(y).iter().enumerate() {
            // Sums of a hundred numbers of size 6.
            assert!((y - r.norm() * wave(i, 0.3 + r.arg())).abs() < 1e-13);
        }
    }

    #[test]
    fn constants_in_time_keep_their_size_at_any_output_length() {
        for l in [5, 10, 40] {
            let time = Axis { input: Samples::periodic(10), output: Samples::periodic(l), modes: 3 };
            let axes = [time, Axis::periodic(6, 2), Axis::periodic(6, 2)];
            let mut weight = vec![0.0; 2 * 48];
            weight[..48].fill(1.0);
            let field = |i: usize| 1.0 + (TAU * (i / 6 % 6) as f64 / 6.0).sin();
            let x: Vec<f64> = (0..360).map(field).collect();
            let mut tape = Tape::new(Parameters::new(), 1).unwrap();
            let x = tape.constant(&[1, 1, 10, 6, 6], &x).unwrap();
            let weight = tape.constant(&[2, 1, 1, 3, 4, 4], &weight).unwrap();
            let y = tape.apply(SpectralConvolution::new(&axes, Half::First, None).unwrap(), &[x, weight]).unwrap();
            assert_eq!(tape.shape(y), [1, 1, l, 6, 6]);
            // Sums of some hundred numbers of size one.
            assert!(tape.values(y).iter().enumerate().all(|(i, y)| (y - field(i)).abs() < 1e-13));
        }
    }

    #[test]
    fn results_are_the_same_bits_on_any_number_of_threads() {
        let axes = space_time();
        let run = |threads| {
            let mut tape = Tape::<f32>::new(Parameters::new(), threads).unwrap();
            let single = |(shape, values): (Vec<usize>, Vec<f64>)| -> (Vec<usize>, Vec<f32>) {
                (shape, values.into_iter().map(|v| v as f32).collect())
            };
            let (shape, x) = single(noise(&[2, 3, 5, 6, 8], 0.1));
            let x = tape.variable(&shape, &x).unwrap();
            let (shape, weight) = single(noise(&[2, 3, 4, 3, 4, 4], 0.2));
            let weight = tape.variable(&shape, &weight).unwrap();
            let y = tape.apply(SpectralConvolution::new(&axes, Half::First, None).unwrap(), &[x, weight]).unwrap();
            let cotangent = tape.values(y).to_vec();
            let gradients = tape.gradients(y, &cotangent, &[x, weight]).unwrap();
            [vec![cotangent], gradients].concat().concat().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn misfits_name_both_shapes() {
        let axes = [Axis::periodic(8, 3)];
        let operation = || SpectralConvolution::<f64>::new(&axes, Half::Last, None).unwrap();
        let message = |x: &[usize], w: &[usize]| operation().shape(&[x, w]).unwrap_err().to_string();
        assert_eq!(
            message(&[1, 2, 9], &[2, 2, 2, 3]),
            "spectral convolution of x: expected shape [1, 1, 8], got [1, 2, 9]"
        );
        assert_eq!(
            message(&[1, 2, 8], &[2, 2, 2, 4]),
            "spectral convolution with weight: expected shape [2, 2, 2, 3], got [2, 2, 2, 4]"
        );
    }
}
