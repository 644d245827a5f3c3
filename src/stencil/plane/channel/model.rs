//! Learned interpolation between walls.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::learned::{self, Between, LearnedSolver};
use super::super::tower::Tower;
use super::{Channel, Stencil};
use crate::autodiff::{Cotangent, Operation, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn;

/// Constants of a [`ChannelStencil`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChannelModelConfig {
    /// Channels of the hidden layers.
    pub width: usize,
    /// Hidden layers, each a 3x3 convolution and a ReLU; a 1x1 convolution follows.
    pub layers: usize,
    /// Factor of the input.
    pub scale: f64,
    /// Factor of the initial weights of the last layer; 0 begins at linear interpolation.
    pub head: f64,
    /// Cells and limiter of the interpolations.
    pub stencil: Stencil,
}

impl Default for ChannelModelConfig {
    fn default() -> Self {
        Self { width: 32, layers: 3, scale: 1.0, head: 0.1, stencil: Stencil::default() }
    }
}

/// A [`Channel`] whose interpolations to the faces come from a convolutional tower.
///
/// The tower is periodic along both axes of the flow and its mirror image, `u(x, 2 H - y) = u`, `v(x, 2 H - y) = -v`: a
/// period `2 H` of a flow that knows nothing of an origin, in which the walls stand out by their shear.
pub struct ChannelStencil<T: Real> {
    config: ChannelModelConfig,
    channel: Channel<T>,
    tower: Tower,
}

impl<T: Real> ChannelStencil<T> {
    /// Adds the parameters `tower.{i}` and `head` of a model.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a width or a number of layers of zero.
    pub fn new(
        config: &ChannelModelConfig,
        channel: Channel<T>,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let channels = (2, config.stencil.cells.logits());
        let tower = Tower::new(parameters, channels, config.width, config.layers, config.head, rng)?;
        Ok(Self { config: *config, channel, tower })
    }

    /// The solver.
    pub fn channel(&self) -> &Channel<T> {
        &self.channel
    }

    /// Records the logits of the next step.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a state of another shape.
    pub fn logits(&self, tape: &mut Tape<T>, state: Var) -> Result<Var> {
        let mirrored = tape.apply(Mirror { scale: self.config.scale }, &[state])?;
        let logits = self.tower.record(tape, mirrored)?;
        let [nx, ny] = self.channel.shape();
        let (batch, channels) = (tape.shape(logits)[0], tape.shape(logits)[1]);
        nn::slice(tape, logits, &[0..batch, 0..channels, 0..nx, 0..ny])
    }
}

impl<T: Real> LearnedSolver<T> for ChannelStencil<T> {
    fn state(&self) -> [usize; 3] {
        let [nx, ny] = self.channel.shape();
        [2, nx, ny]
    }

    fn dt(&self) -> f64 {
        self.channel.dt()
    }

    fn window(&self) -> usize {
        1
    }

    fn flops(&self) -> f64 {
        let [nx, ny] = self.channel.shape();
        let cells = self.config.stencil.cells;
        // The tower runs over the mirror image as well.
        let point = 2.0 * self.tower.flops() + (2 * cells.logits() + 2 * 4 * cells.count() + 40) as f64;
        point * (nx * ny) as f64 + self.channel.implicit_flops()
    }

    fn rollout(&self, tape: &mut Tape<T>, window: &[Var], steps: usize, between: &mut Between<T>) -> Result<Vec<Var>> {
        learned::repeat(tape, window, steps, between, |tape, state| {
            let logits = self.logits(tape, state)?;
            self.channel.record_learned(tape, self.config.stencil, state, logits)
        })
    }
}

/// A state `[batch, 2, nx, ny]` and its mirror image, `[batch, 2, nx, 2 ny]`, times a factor.
///
/// `u` lies at centres, `y = (j + 1/2) h`; `v` at nodes, `y = (j + 1) h`, and is zero on both walls.
struct Mirror {
    scale: f64,
}

/// The place of the image of a value of component `c`, if it has one, and its sign.
fn image(c: usize, j: usize, ny: usize) -> Option<(usize, f64)> {
    match c {
        0 => Some((2 * ny - 1 - j, 1.0)),
        _ => (j < ny - 1).then(|| (2 * ny - 2 - j, -1.0)),
    }
}

impl<T: Real> Operation<T> for Mirror {
    fn name(&self) -> &'static str {
        "mirror"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match *inputs[0] {
            [batch, 2, nx, ny] => Ok(vec![batch, 2, nx, 2 * ny]),
            _ => Err(Error::shape("state of a channel", &[1, 2, 4, 4], inputs[0])),
        }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let (nx, ny) = (inputs[0].shape[2], inputs[0].shape[3]);
        workers.pieces(output, 2 * nx * ny, 0, |plane, to, _| {
            let from = &inputs[0].values[plane * nx * ny..][..nx * ny];
            for (row, to) in from.chunks_exact(ny).zip(to.chunks_exact_mut(2 * ny)) {
                to.fill(T::zero());
                for (j, &x) in row.iter().enumerate() {
                    // What is stored on the wall is not read.
                    if let Some((k, sign)) = image(plane % 2, j, ny) {
                        to[j] = T::of(self.scale) * x;
                        to[k] = T::of(self.scale * sign) * x;
                    }
                }
            }
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let (nx, ny) = (record.inputs[0].shape[2], record.inputs[0].shape[3]);
        workers.pieces(input.add(), nx * ny, 0, |plane, bar, _| {
            let from = &cotangent[plane * 2 * nx * ny..][..2 * nx * ny];
            for (row, bar) in from.chunks_exact(2 * ny).zip(bar.chunks_exact_mut(ny)) {
                for (j, bar) in bar.iter_mut().enumerate() {
                    if let Some((k, sign)) = image(plane % 2, j, ny) {
                        *bar += T::of(self.scale) * row[j] + T::of(self.scale * sign) * row[k];
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::autodiff::check;
    use crate::optim::OptimizerConfig;
    use crate::stencil::plane::training::{GradientMode, Trainer};
    use crate::stencil::plane::{Cells, ChannelFlow, Interpolation};

    #[test]
    fn the_mirror_image_is_a_flow_between_the_same_walls_and_has_its_adjoint() {
        let state: Vec<f64> = (0..24).map(|i| (i as f64 * 0.7).sin()).collect();
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.constant(&[1, 2, 3, 4], &state).unwrap();
        let y = tape.apply(Mirror { scale: 2.0 }, &[x]).unwrap();
        let values = tape.values(y);
        let (u, v) = (&values[..8], &values[24..32]);
        assert!((0..4).all(|j| u[j] == 2.0 * state[j] && u[7 - j] == u[j]));
        assert!((0..3).all(|j| v[j] == 2.0 * state[12 + j] && v[6 - j] == -v[j]) && v[3] == 0.0 && v[7] == 0.0);
        let found = check(|| Mirror { scale: 2.0 }, &[(vec![2, 2, 3, 4], [state.clone(), state].concat())], 0).unwrap();
        // The map is linear.
        assert!(found.difference < 1e-12, "{found:?}");
    }

    /// A jet between walls that breaks up, on `2 n x n` cells: frames of every `every`-th step, coarsened by `factor`.
    fn frames(n: usize, dt: f64, count: usize, every: usize, factor: usize) -> Vec<Vec<f64>> {
        let channel = Channel::<f64>::plan(&flow(), [2 * n, n], dt, Interpolation::VanLeer).unwrap();
        let h = 1.0 / n as f64;
        let psi = |i: usize, j: usize| {
            let (x, y) = (i as f64 * h, j as f64 * h);
            let bump = (16.0 * (y * (1.0 - y)).powi(2)).powi(2);
            0.15 * (y - 0.5).tanh()
                + bump
                    * (0.06 * (std::f64::consts::PI * x).sin()
                        + 0.04 * (3.0 * std::f64::consts::PI * x + 7.0 * y).cos())
        };
        let mut state = vec![0.0; 4 * n * n];
        for i in 0..2 * n {
            for j in 0..n {
                state[i * n + j] = (psi(i + 1, j + 1) - psi(i + 1, j)) / h;
                state[2 * n * n + i * n + j] = if j + 1 == n { 0.0 } else { (psi(i, j + 1) - psi(i + 1, j + 1)) / h };
            }
        }
        let (workers, coarse) = (Workers::new(1).unwrap(), n / factor);
        (0..count)
            .map(|_| {
                channel.advance(&workers, &mut state, every).unwrap();
                let mut frame = vec![0.0; 4 * coarse * coarse];
                for (p, to) in frame.iter_mut().enumerate() {
                    let (c, i, j) =
                        (p / (2 * coarse * coarse), p / coarse % (2 * coarse) * factor, p % coarse * factor);
                    // Means over faces of the coarse cells, as `coarsen`.
                    let sum: f64 = (0..factor)
                        .map(|k| match c {
                            0 => state[(i + factor - 1) * n + j + k],
                            _ => state[2 * n * n + (i + k) * n + j + factor - 1],
                        })
                        .sum();
                    *to = sum / factor as f64;
                }
                frame
            })
            .collect()
    }

    fn flow() -> ChannelFlow {
        ChannelFlow { nu: 1e-3, force: 0.02, walls: [0.0; 2], length: 2.0, height: 1.0 }
    }

    #[test]
    fn a_short_training_beats_the_limited_channel() {
        let (n, dt) = (8, 0.04);
        let frames = frames(4 * n, dt / 4.0, 80, 4, 4);
        let channel = Channel::<f64>::plan(&flow(), [2 * n, n], dt, Interpolation::VanLeer).unwrap();
        let stencil = Stencil { cells: Cells::Band, limited: false };
        let config = ChannelModelConfig { width: 8, layers: 2, stencil, ..ChannelModelConfig::default() };
        let (mut parameters, mut rng) = (Parameters::new(), ChaCha8Rng::seed_from_u64(1));
        let model = ChannelStencil::new(&config, channel.clone(), &mut parameters, &mut rng).unwrap();
        let tape = Tape::new(parameters, 1).unwrap();
        let (adam, mode) = (OptimizerConfig::default(), GradientMode::Full);
        let mut trainer = Trainer::new(Box::new(model), tape, &adam, mode, 1.0).unwrap();
        for step in 0..200 {
            let start = step * 7 % 74;
            trainer.step(&frames[start..start + 5], 3e-3).unwrap();
        }
        let error = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let (model, tape) = trainer.parts();
        let mut learned = 0.0;
        let mut observe = |step: usize, state: &[f64]| {
            learned += error(state, &frames[40 + step]);
            Ok(())
        };
        model.predict(tape, &mut [frames[40].clone()].into(), 20, &mut observe).unwrap();
        let (mut state, mut plain) = (frames[40].clone(), 0.0);
        for step in 1..=20 {
            channel.advance(&Workers::new(1).unwrap(), &mut state, 1).unwrap();
            plain += error(&state, &frames[40 + step]);
        }
        assert!(learned < plain / 1.5, "learned {learned}, limited {plain}");
    }
}
