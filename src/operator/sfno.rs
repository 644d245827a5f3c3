//! Spatiotemporal Fourier neural operator.
//!
//! From `m` frames of a trajectory to the next `l`, for any `m` and `l`, on any grid. After Cao, Brarda, Li and Xi,
//! "Spectral-Refiner: Accurate Fine-Tuning of Spatiotemporal Fourier Neural Operator for Turbulent Flows", ICLR 2025,
//! with `w` the input frames and time as an axis of the convolutions:
//!
//! 1. `v = W norm(w + p)`: a positional encoding `p` in each of `width` channels, normalised over each sample;
//! 2. `v <- f( hold(v) + MLP(K v) )`: a spectral convolution to `latent` frames; `hold` repeats the last frame;
//! 3. `v <- f( MLP(K v) + S v )`, `layers` times;
//! 4. `z = W v`, one channel for each of the field;
//! 5. `w(t_m ..) = hold(w) + K' [last frame of w; z]`: a spectral convolution with an additive term for each mode, on a time
//!    axis of twice the length whose first half is zero, from which the last `l` frames are taken.
//!
//! Different from the published program: transforms scaled by `1/N`, so that amplitudes do not depend on the number of
//! frames; an encoding that is periodic in space and does not change with the grid; no Nyquist modes; and the `l` output
//! frames cover the same time as the latent ones for every `l`.

use std::collections::HashMap;
use std::f64::consts::{PI, TAU};
use std::sync::{Arc, Mutex};

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Operator, check_input};
use crate::autodiff::{Cotangent, Operation, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn::modes::{Axis, Half, Samples};
use crate::nn::{
    Branch, GroupNorm, PointwiseConfig, PointwiseLayer, SpectralConfig, SpectralLayer, add, concatenate, hold_last,
};
use crate::spectral::simd::Activation;

/// Sizes of an [`Sfno`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SfnoConfig {
    /// Channels of the latent field.
    pub width: usize,
    /// Kept spatial modes of one sign, on both axes.
    pub modes: usize,
    /// Kept modes in time.
    pub modes_time: usize,
    /// Kept spatial modes of the last convolution, which has few channels and can afford all of them; `modes` if 0.
    pub modes_output: usize,
    /// Whether the time axis of all convolutions has a half of zeros before the frames, as that of the last one always has:
    /// a series of frames is not periodic.
    pub pad_time: bool,
    /// Frames of the latent field.
    pub latent: usize,
    /// Fourier layers after the lifting one.
    pub layers: usize,
    /// Hidden channels of the pointwise networks, as a multiple of the width.
    pub expansion: usize,
    /// Growth rate of the temporal encoding, `exp(beta t)`.
    pub beta: f64,
    /// Scale of the additive term of each mode.
    pub delta: f64,
    /// Activation.
    pub activation: Activation,
}

impl Default for SfnoConfig {
    fn default() -> Self {
        Self {
            width: 10,
            modes: 12,
            modes_time: 5,
            modes_output: 0,
            pad_time: false,
            latent: 10,
            layers: 3,
            expansion: 4,
            beta: 0.02,
            delta: 0.1,
            activation: Activation::Gelu,
        }
    }
}

/// The operator with handles of its parameters.
pub struct Sfno<T> {
    config: SfnoConfig,
    channels: usize,
    norm: GroupNorm,
    lift: PointwiseLayer,
    spectral: Vec<SpectralLayer<T>>,
    local: Vec<PointwiseLayer>,
    reduce: PointwiseLayer,
    output: SpectralLayer<T>,
    encodings: Mutex<HashMap<Vec<usize>, Arc<Vec<T>>>>,
}

impl SfnoConfig {
    fn output_modes(&self) -> usize {
        if self.modes_output == 0 { self.modes } else { self.modes_output }
    }

    /// A time axis from `from` to `to` frames.
    fn time(&self, from: usize, to: usize) -> Axis {
        let samples = |n| if self.pad_time { Samples::padded(n, n) } else { Samples::periodic(n) };
        Axis { input: samples(from), output: samples(to), modes: self.modes_time }
    }

    /// Adds the parameters of an operator on fields of `channels` channels.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a size that is zero, or fewer than 6 channels (five of them are the encoding's of place).
    pub fn init<T: Real>(
        &self,
        channels: usize,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Sfno<T>> {
        for (name, value, least) in [
            ("width", self.width, 6.max(channels)),
            ("modes", self.modes, 1),
            ("modes_time", self.modes_time, 1),
            ("latent", self.latent, 1),
            ("expansion", self.expansion, 1),
        ] {
            if value < least {
                return Err(Error::parameter(name, value, format!("must be >= {least}")));
            }
        }
        let width = self.width;
        let spectral = |name: &str, channels: (usize, usize), space: usize, bias, parameters: &mut _, rng: &mut _| {
            let (scale, modes) = (0.5 / (channels.0 * channels.1) as f64, vec![self.modes_time, space, space]);
            SpectralConfig { channels, modes, half: Half::First, scale, bias }.init(name, parameters, rng)
        };
        let norm = GroupNorm::new(parameters, "norm", 1, width, 1e-7)?;
        let lift = PointwiseConfig::linear(width, width).init("lift", parameters, rng);
        let (mut convolutions, mut local) = (Vec::new(), Vec::new());
        for layer in 0..=self.layers {
            let name = format!("blocks.{layer}");
            convolutions.push(spectral(&format!("{name}.spectral"), (width, width), self.modes, None, parameters, rng));
            let branch = if layer == 0 { Branch::Identity } else { Branch::Linear };
            let network = PointwiseConfig {
                channels: (width, width),
                hidden: Some((self.expansion * width, self.activation)),
                branch,
                branch_channels: width,
                activation: self.activation,
            };
            local.push(network.init(&format!("{name}.local"), parameters, rng));
        }
        let reduce = PointwiseConfig::linear(width, channels).init("reduce", parameters, rng);
        let output = spectral("output", (channels, channels), self.output_modes(), Some(self.delta), parameters, rng);
        let encodings = Mutex::new(HashMap::new());
        let config = self.clone();
        Ok(Sfno { config, channels, norm, lift, spectral: convolutions, local, reduce, output, encodings })
    }
}

impl<T: Real> Sfno<T> {
    /// The encoding of `frames x nx x ny` points, `[width, t, x, y]`.
    fn encoding(&self, points: &[usize]) -> Arc<Vec<T>> {
        let mut encodings = self.encodings.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let make = || Arc::new(encoding(self.config.width, self.config.beta, points));
        encodings.entry(points.to_vec()).or_insert_with(make).clone()
    }

    /// Steps 1 to 4: the latent field `[batch, channel, latent, x, y]`, which a refinement of the last layer reuses.
    ///
    /// # Errors
    ///
    /// As [`Operator::record`].
    pub fn record_latent(&self, tape: &mut Tape<T>, input: Var) -> Result<Var> {
        let shape = check_input(tape, input, self.channels)?;
        let axes =
            |time| [time, Axis::periodic(shape[3], self.config.modes), Axis::periodic(shape[4], self.config.modes)];
        let latent = self.config.latent;
        let encoding = self.encoding(&shape[2..]);
        let v = tape.apply(Encode { encoding, width: self.config.width }, &[input])?;
        let v = self.norm.record(tape, v)?;
        let v = self.lift.record(tape, v, None)?;
        let time = self.config.time(shape[2], latent);
        let convolved = self.spectral[0].record(tape, v, &axes(time))?;
        let held = hold_last(tape, v, 2, latent)?;
        let mut v = self.local[0].record(tape, convolved, Some(held))?;
        for (spectral, local) in self.spectral.iter().zip(&self.local).skip(1) {
            let convolved = spectral.record(tape, v, &axes(self.config.time(latent, latent)))?;
            v = local.record(tape, convolved, Some(v))?;
        }
        self.reduce.record(tape, v, None)
    }

    /// Step 5: the output frames of a latent field.
    ///
    /// # Errors
    ///
    /// As [`Operator::record`].
    pub fn record_output(&self, tape: &mut Tape<T>, input: Var, latent: Var, frames: usize) -> Result<Var> {
        let shape = check_input(tape, input, self.channels)?;
        let (length, modes) = (self.config.latent + 1, self.config.output_modes());
        let time = Axis {
            input: Samples::padded(length, length),
            output: Samples { count: frames, first: frames + 2, period: 2 * (frames + 1) },
            modes: self.config.modes_time,
        };
        let last = hold_last(tape, input, 2, 1)?;
        let series = concatenate(tape, &[last, latent], 2)?;
        let axes = [time, Axis::periodic(shape[3], modes), Axis::periodic(shape[4], modes)];
        let change = self.output.record(tape, series, &axes)?;
        let held = hold_last(tape, input, 2, frames)?;
        add(tape, held, change)
    }
}

impl<T: Real> Operator<T> for Sfno<T> {
    fn record(&self, tape: &mut Tape<T>, input: Var, frames: usize) -> Result<Var> {
        let latent = self.record_latent(tape, input)?;
        self.record_output(tape, input, latent, frames)
    }
}

/// Channels: `sin` and `cos` of `2 pi x` and `2 pi y`, the time `t_j = (j + 1) / 100`, then `exp(beta t) s(pi (k + 1) t)`
/// with `s` the sine for even `k` and the cosine for odd.
fn encoding<T: Real>(width: usize, beta: f64, points: &[usize]) -> Vec<T> {
    let (frames, nx, ny) = (points[0], points[1], points[2]);
    let mut values = Vec::with_capacity(width * frames * nx * ny);
    for channel in 0..width {
        for j in 0..frames {
            let t = (j + 1) as f64 / 100.0;
            for x in 0..nx {
                for y in 0..ny {
                    let (x, y) = (TAU * x as f64 / nx as f64, TAU * y as f64 / ny as f64);
                    values.push(T::of(match channel {
                        0 => x.sin(),
                        1 => x.cos(),
                        2 => y.sin(),
                        3 => y.cos(),
                        4 => t,
                        _ => {
                            let k = channel - 5;
                            let phase = PI * (k + 1) as f64 * t;
                            (beta * t).exp() * if k % 2 == 0 { phase.sin() } else { phase.cos() }
                        }
                    }));
                }
            }
        }
    }
    values
}

/// `y_c = x_{c mod C} + p_c` for `c < width`, with a constant `p`.
struct Encode<T> {
    encoding: Arc<Vec<T>>,
    width: usize,
}

impl<T: Real> Operation<T> for Encode<T> {
    fn name(&self) -> &'static str {
        "positional encoding"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let points = self.encoding.len() / self.width;
        match inputs[0] {
            [batch, _, rest @ ..] if rest.iter().product::<usize>() == points => {
                Ok([&[*batch, self.width], rest].concat())
            }
            other => Err(Error::shape("encoded field", &[1, 1, points], other)),
        }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let (points, channels) = (self.encoding.len() / self.width, inputs[0].shape[1]);
        workers.pieces(output, points, 0, |i, y, _| {
            let (sample, channel) = (i / self.width, i % self.width);
            let x = &inputs[0].values[(sample * channels + channel % channels) * points..];
            let p = &self.encoding[channel * points..];
            y.iter_mut().zip(x).zip(p).for_each(|((y, &x), &p)| *y = x + p);
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(x) = inputs[0].take() else { return };
        let (points, channels) = (self.encoding.len() / self.width, record.inputs[0].shape[1]);
        workers.pieces(x.add(), points, 0, |i, x, _| {
            let (sample, channel) = (i / channels, i % channels);
            for c in (channel..self.width).step_by(channels) {
                let g = &cotangent[(sample * self.width + c) * points..];
                x.iter_mut().zip(g).for_each(|(x, &g)| *x += g);
            }
        });
    }

    fn jvp(&self, _: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let (points, channels) = (self.encoding.len() / self.width, record.inputs[0].shape[1]);
        let x = tangents[0].expect("the only input");
        for (i, y) in output.chunks_exact_mut(points).enumerate() {
            let (sample, channel) = (i / self.width, i % self.width);
            y.copy_from_slice(&x[(sample * channels + channel % channels) * points..][..points]);
        }
        true
    }
}
