//! A periodic convolutional tower.

use rand_chacha::ChaCha8Rng;

use crate::autodiff::{Cotangent, Operation, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn::{Convolution, Padding};

/// Periodic 3x3 convolutions with ReLU, then a 1x1 convolution: `[batch, c_in, n, n]` to `[batch, c_out, n, n]`.
pub(super) struct Tower {
    layers: Vec<Convolution>,
    head: Convolution,
    channels: (usize, usize),
    width: usize,
}

impl Tower {
    /// Adds the parameters `tower.{i}` and `head`; those of the head are multiplied by `factor`.
    pub fn new<T: Real>(
        parameters: &mut Parameters<T>,
        channels: (usize, usize),
        width: usize,
        layers: usize,
        factor: f64,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        for (name, value) in [("width", width), ("layers", layers)] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be at least 1"));
            }
        }
        let mut hidden = Vec::new();
        for layer in 0..layers {
            let (name, c_in) = (format!("tower.{layer}"), if layer == 0 { channels.0 } else { width });
            hidden.push(Convolution::new(parameters, &name, (c_in, width), &[3, 3], Padding::Periodic, true, rng)?);
        }
        let begin = parameters.len();
        let head = Convolution::new(parameters, "head", (width, channels.1), &[1, 1], Padding::Periodic, true, rng)?;
        let factor = T::of(factor);
        parameters.theta_mut()[begin..].iter_mut().for_each(|w| *w *= factor);
        Ok(Self { layers: hidden, head, channels, width })
    }

    pub fn record<T: Real>(&self, tape: &mut Tape<T>, mut x: Var) -> Result<Var> {
        for layer in &self.layers {
            x = layer.record(tape, x)?;
            x = tape.apply(Relu, &[x])?;
        }
        self.head.record(tape, x)
    }

    /// Multiplications and additions a point.
    pub fn flops(&self) -> f64 {
        let (c_in, c_out) = self.channels;
        let hidden = c_in * self.width + (self.layers.len() - 1) * self.width * self.width;
        (18 * hidden + 2 * self.width * c_out) as f64
    }
}

/// Values of a tile.
const TILE: usize = 8192;

/// `y = max(x, 0)`.
struct Relu;

impl<T: Real> Operation<T> for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        workers.pieces(output, TILE, 0, |index, piece, _| {
            for (y, &x) in piece.iter_mut().zip(&inputs[0].values[index * TILE..]) {
                *y = if x > T::zero() { x } else { T::zero() };
            }
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let (bar, beta) = input.target();
        workers.pieces(bar, TILE, 0, |index, piece, _| {
            let start = index * TILE;
            let from = record.output.values[start..].iter().zip(&cotangent[start..]);
            for (b, (&y, &c)) in piece.iter_mut().zip(from) {
                let passed = if y > T::zero() { c } else { T::zero() };
                *b = if beta == T::zero() { passed } else { *b + passed };
            }
        });
    }
}
