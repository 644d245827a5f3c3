//! Fourier neural operators.
//!
//! Li et al., "Fourier Neural Operator for Parametric Partial Differential Equations", ICLR 2021: lift, some layers
//! `v <- f( W v + b + K v )` with `K` a spectral convolution, project. Two readings of time:
//!
//! * [`Time::March`] (FNO-2D): the last `m` frames are channels, the network gives the next frame, and is applied `l` times;
//! * [`Time::Axis`] (FNO-3D): the `m` frames are channels on a space-time grid of `l` frames, transformed in time as well.
//!
//! With `factorised`, the layers are those of Tran, Mathews, Xie and Ong, "Factorized Fourier Neural Operators", ICLR 2023:
//! `v <- v + MLP(K v)` with a convolution along each axis alone, so that many layers and wide ones are affordable.
//!
//! Coordinates come as `sin` and `cos`, so that nothing jumps at the end of the period. With `residual` the network gives
//! the change since the last frame.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Operator, check_input};
use crate::autodiff::{Parameters, Tape, Var};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn::modes::{Axis, Half, Samples};
use crate::nn::{
    Branch, FactorisedLayer, PointwiseConfig, PointwiseLayer, SpectralConfig, SpectralLayer, add, concatenate,
    hold_last, reshape, slice,
};
use crate::spectral::simd::Activation;

/// How a Fourier neural operator treats time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Time {
    /// One frame after the other.
    March,
    /// All frames at once, time being an axis of the convolution.
    Axis,
}

/// Sizes of an [`Fno`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FnoConfig {
    /// How time is treated.
    pub time: Time,
    /// Channels of the latent field.
    pub width: usize,
    /// Kept spatial modes of one sign, on both axes.
    pub modes: usize,
    /// Kept modes in time, if it is an axis.
    pub modes_time: usize,
    /// Fourier layers.
    pub layers: usize,
    /// Whether the layers are factorised.
    pub factorised: bool,
    /// Hidden channels of the networks of factorised layers, as a multiple of the width.
    pub expansion: usize,
    /// Hidden channels of the projection.
    pub projection: usize,
    /// Whether the network gives the change since the last frame.
    pub residual: bool,
    /// Activation.
    pub activation: Activation,
}

impl Default for FnoConfig {
    fn default() -> Self {
        Self {
            time: Time::March,
            width: 20,
            modes: 12,
            modes_time: 5,
            layers: 4,
            factorised: false,
            expansion: 4,
            projection: 128,
            residual: true,
            activation: Activation::Gelu,
        }
    }
}

/// The operator with handles of its parameters.
pub struct Fno<T> {
    config: FnoConfig,
    channels: usize,
    input_frames: usize,
    lift: PointwiseLayer,
    layers: Vec<Layer<T>>,
    project: PointwiseLayer,
}

/// One Fourier layer.
enum Layer<T> {
    /// `v <- f( W v + b + K v )`.
    Full(SpectralLayer<T>, PointwiseLayer),
    /// `v <- v + MLP(K v)`.
    Factorised(FactorisedLayer<T>, PointwiseLayer),
}

impl<T: Real> Layer<T> {
    fn record(&self, tape: &mut Tape<T>, v: Var, axes: &[Axis]) -> Result<Var> {
        match self {
            Self::Full(spectral, local) => {
                let convolved = spectral.record(tape, v, axes)?;
                local.record(tape, v, Some(convolved))
            }
            Self::Factorised(spectral, local) => {
                let convolved = spectral.record(tape, v, axes)?;
                local.record(tape, convolved, Some(v))
            }
        }
    }
}

/// Channels of the coordinates: `sin` and `cos` of `2 pi x` and `2 pi y`, and time if it is an axis.
fn coordinate_channels(time: Time) -> usize {
    4 + usize::from(time == Time::Axis)
}

impl FnoConfig {
    /// Adds the parameters of an operator from `input_frames` frames of `channels` channels.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a size that is zero.
    pub fn init<T: Real>(
        &self,
        channels: usize,
        input_frames: usize,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Fno<T>> {
        for (name, value) in [
            ("width", self.width),
            ("modes", self.modes),
            ("modes_time", self.modes_time),
            ("expansion", self.expansion),
            ("projection", self.projection),
            ("input_frames", input_frames),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        let (modes, half) = match self.time {
            Time::March => (vec![self.modes; 2], Half::Last),
            Time::Axis => (vec![self.modes_time, self.modes, self.modes], Half::First),
        };
        let inputs = channels * input_frames + coordinate_channels(self.time);
        let width = self.width;
        let lift = PointwiseConfig::linear(inputs, width).init("lift", parameters, rng);
        let mut layers = Vec::new();
        for layer in 0..self.layers {
            let name = format!("layers.{layer}");
            if self.factorised {
                let spectral =
                    FactorisedLayer::init(&format!("{name}.spectral"), (width, width), &modes, parameters, rng);
                let local = PointwiseConfig {
                    hidden: Some((self.expansion * width, self.activation)),
                    branch: Branch::Identity,
                    ..PointwiseConfig::linear(width, width)
                };
                layers.push(Layer::Factorised(spectral, local.init(&format!("{name}.local"), parameters, rng)));
                continue;
            }
            let spectral = SpectralConfig {
                channels: (width, width),
                modes: modes.clone(),
                half,
                scale: 1.0 / (width * width) as f64,
                bias: None,
            };
            // The last layer is linear; its activation is that of the projection.
            let last = layer + 1 == self.layers;
            let local = PointwiseConfig {
                branch: Branch::Identity,
                activation: if last { Activation::Identity } else { self.activation },
                ..PointwiseConfig::linear(width, width)
            };
            let spectral = spectral.init(&format!("{name}.spectral"), parameters, rng);
            layers.push(Layer::Full(spectral, local.init(&format!("{name}.local"), parameters, rng)));
        }
        let project = PointwiseConfig {
            hidden: Some((self.projection, self.activation)),
            ..PointwiseConfig::linear(width, channels)
        };
        let project = project.init("project", parameters, rng);
        Ok(Fno { config: self.clone(), channels, input_frames, lift, layers, project })
    }
}

impl<T: Real> Fno<T> {
    /// The network on `[batch, channels * input_frames, points..]`, coordinates not yet among the channels.
    fn network(&self, tape: &mut Tape<T>, x: Var, axes: &[Axis]) -> Result<Var> {
        let (batch, points) = (tape.shape(x)[0], tape.shape(x)[2..].to_vec());
        let coordinates = coordinates(self.config.time, &points);
        let channels = coordinate_channels(self.config.time);
        let all: Vec<T> = std::iter::repeat_n(coordinates, batch).flatten().collect();
        let coordinates = tape.constant(&[&[batch, channels][..], &points].concat(), &all)?;
        let x = concatenate(tape, &[x, coordinates], 1)?;
        let mut v = self.lift.record(tape, x, None)?;
        for layer in &self.layers {
            v = layer.record(tape, v, axes)?;
        }
        self.project.record(tape, v, None)
    }
}

impl<T: Real> Operator<T> for Fno<T> {
    fn record(&self, tape: &mut Tape<T>, input: Var, frames: usize) -> Result<Var> {
        let shape = check_input(tape, input, self.channels)?;
        let (batch, c, m, nx, ny) = (shape[0], shape[1], shape[2], shape[3], shape[4]);
        if m != self.input_frames {
            return Err(Error::shape("input frames", &[self.input_frames], &[m]));
        }
        let space = [Axis::periodic(nx, self.config.modes), Axis::periodic(ny, self.config.modes)];
        match self.config.time {
            Time::Axis => {
                let x = reshape(tape, input, &[batch, c * m, 1, nx, ny])?;
                let x = hold_last(tape, x, 2, frames)?;
                let time = Samples::padded(frames, frames);
                let time = Axis { input: time, output: time, modes: self.config.modes_time };
                let y = self.network(tape, x, &[time, space[0], space[1]])?;
                match self.config.residual {
                    true => {
                        let held = hold_last(tape, input, 2, frames)?;
                        add(tape, held, y)
                    }
                    false => Ok(y),
                }
            }
            Time::March => {
                let mut window = input;
                let mut outputs = Vec::with_capacity(frames);
                for frame in 0..frames {
                    let x = reshape(tape, window, &[batch, c * m, nx, ny])?;
                    let y = self.network(tape, x, &space)?;
                    let mut y = reshape(tape, y, &[batch, c, 1, nx, ny])?;
                    if self.config.residual {
                        let last = hold_last(tape, window, 2, 1)?;
                        y = add(tape, last, y)?;
                    }
                    outputs.push(y);
                    if frame + 1 < frames {
                        let rest = slice(tape, window, &[0..batch, 0..c, 1..m, 0..nx, 0..ny])?;
                        window = concatenate(tape, &[rest, y], 2)?;
                    }
                }
                concatenate(tape, &outputs, 2)
            }
        }
    }
}

/// `[channel, points..]`.
fn coordinates<T: Real>(time: Time, points: &[usize]) -> Vec<T> {
    let space = &points[points.len() - 2..];
    let total: usize = points.iter().product();
    let mut values = Vec::with_capacity(coordinate_channels(time) * total);
    let angle = |i: usize, axis: usize| {
        let index = if axis == 0 { i / space[1] % space[0] } else { i % space[1] };
        TAU * index as f64 / space[axis] as f64
    };
    for axis in 0..2 {
        values.extend((0..total).map(|i| T::of(angle(i, axis).sin())));
        values.extend((0..total).map(|i| T::of(angle(i, axis).cos())));
    }
    if time == Time::Axis {
        let frame = space[0] * space[1];
        values.extend((0..total).map(|i| T::of((i / frame + 1) as f64 / points[0] as f64)));
    }
    values
}
