//! The temporal stencil model of the line.

use std::collections::VecDeque;

use ndarray::ArrayView3;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::equation::Equation;
use super::history::Project;
use super::step::{Base, FluxStep};
use crate::autodiff::{Cotangent, Operation, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn::{Convolution, Padding, PointwiseConfig, PointwiseLayer, concatenate, scale, slice};
use crate::spectral::simd::Activation;
use crate::stencil::memory::LegendreFir;

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Channels of the hidden layers.
    pub width: usize,
    /// Convolutions before the pointwise last layer.
    pub layers: usize,
    /// Cells of each convolution's kernel.
    pub kernel: usize,
    /// Cells that a face is interpolated from.
    pub stencil: usize,
    /// Face values of zero logits.
    pub base: Base,
    /// Whether the network also adds to the flux.
    pub additive: bool,
    /// Past frames that the network sees beside the present one.
    pub past: usize,
    /// Steps between these frames.
    pub spacing: usize,
    /// Legendre features that the frames are compressed to; 0 for the frames as they are.
    pub order: usize,
    /// Steps for which one evaluation of the network gives the logits.
    pub bundle: usize,
    /// Factor of the network's input.
    pub scale: f64,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            width: 32,
            layers: 3,
            kernel: 5,
            stencil: 6,
            base: Base::Mean,
            additive: false,
            past: 0,
            spacing: 1,
            order: 0,
            bundle: 1,
            scale: 1.0,
        }
    }
}

/// How far gradients flow back through an unrolled solver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gradient {
    /// Through all steps.
    #[default]
    Full,
    /// Not from one step to the one before: the model is trained on its own states, each of them taken as given.
    Detached,
    /// Through so many steps.
    Truncated(usize),
}

/// A learned finite-volume scheme with memory: features of the present and past frames, a tower of periodic convolutions,
/// logits, and a [`FluxStep`].
pub struct LineModel<T: Real> {
    config: ModelConfig,
    step: FluxStep<T>,
    project: Option<Project>,
    tower: Vec<Convolution>,
    head: PointwiseLayer,
}

impl<T: Real> LineModel<T> {
    /// A model on `n` cells with step `dt`, whose parameters are appended to `parameters`. The last layer begins at zero, so
    /// that the untrained model is the scheme without learning.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for sizes that make no model; those of [`FluxStep::plan`].
    pub fn new(
        equation: &Equation,
        n: usize,
        dt: f64,
        config: &ModelConfig,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        for (name, value) in
            [("width", config.width), ("layers", config.layers), ("spacing", config.spacing), ("bundle", config.bundle)]
        {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        if config.kernel > n {
            return Err(Error::parameter("kernel", config.kernel, format!("must be at most {n}, the cells")));
        }
        let step = FluxStep::plan(equation, n, dt, config.stencil, config.base, config.additive)?;
        let project = match config.order {
            0 => None,
            order => Some(Project::new(LegendreFir::new(order, config.past + 1)?)),
        };
        let mut channels = if config.order > 0 { config.order } else { config.past + 1 };
        let mut tower = Vec::new();
        for layer in 0..config.layers {
            let (name, sizes) = (format!("tower.{layer}"), (channels, config.width));
            tower.push(Convolution::new(parameters, &name, sizes, &[config.kernel], Padding::Periodic, true, rng)?);
            channels = config.width;
        }
        let before = parameters.len();
        let head = PointwiseConfig::linear(channels, step.logits() * config.bundle).init("logits", parameters, rng);
        parameters.theta_mut()[before..].fill(T::zero());
        Ok(Self { config: *config, step, project, tower, head })
    }

    /// Frames that a prediction starts from, one step apart, the present one included.
    pub fn window(&self) -> usize {
        self.config.past * self.config.spacing + 1
    }

    /// Records `steps` steps from [`LineModel::window`] frames `[batch, 1, n]`, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for too few frames, [`Error::Shape`] for frames of another shape.
    pub fn record(&self, tape: &mut Tape<T>, past: &[Var], steps: usize, gradient: Gradient) -> Result<Vec<Var>> {
        if past.len() < self.window() {
            let rule = format!("must be at least {}, the window of the model", self.window());
            return Err(Error::parameter("frames", past.len(), rule));
        }
        let reach = match gradient {
            Gradient::Full => usize::MAX,
            Gradient::Detached => 1,
            Gradient::Truncated(steps) => steps.max(1),
        };
        let mut frames: VecDeque<Var> = past[past.len() - self.window()..].iter().copied().collect();
        let (mut states, mut logits) = (Vec::with_capacity(steps), None);
        for step in 0..steps {
            if step > 0 && step % reach == 0 {
                for frame in &mut frames {
                    let (shape, values) = (tape.shape(*frame).to_vec(), tape.values(*frame).to_vec());
                    *frame = tape.constant(&shape, &values)?;
                }
            }
            let phase = step % self.config.bundle;
            let bundle = match logits {
                Some(bundle) if phase > 0 => bundle,
                _ => self.logits(tape, &frames)?,
            };
            logits = Some(bundle);
            let own = match self.config.bundle {
                1 => bundle,
                _ => {
                    let (shape, count) = (tape.shape(bundle).to_vec(), self.step.logits());
                    slice(tape, bundle, &[0..shape[0], phase * count..(phase + 1) * count, 0..shape[2]])?
                }
            };
            let present = *frames.back().expect("the window has a frame");
            let next = tape.apply(self.step.clone(), &[present, own])?;
            frames.pop_front();
            frames.push_back(next);
            states.push(next);
        }
        Ok(states)
    }

    fn logits(&self, tape: &mut Tape<T>, frames: &VecDeque<Var>) -> Result<Var> {
        let seen: Vec<Var> = frames.iter().step_by(self.config.spacing).copied().collect();
        let mut x = if seen.len() == 1 { seen[0] } else { concatenate(tape, &seen, 1)? };
        if let Some(project) = &self.project {
            x = tape.apply(project.clone(), &[x])?;
        }
        if self.config.scale != 1.0 {
            x = scale(tape, x, self.config.scale)?;
        }
        for layer in &self.tower {
            x = layer.record(tape, x)?;
            x = tape.apply(Activate, &[x])?;
        }
        self.head.record(tape, x, None)
    }

    /// Runs `steps` steps from frames `[batch, time, n]` of which the last [`LineModel::window`] are used, and shows each
    /// state `[batch][n]` to `observe(step)`, counted from 1. The memory does not grow with the number of steps.
    ///
    /// Samples do not mix: where one stops being finite, the others go on. [`check_finite`] tells.
    ///
    /// # Errors
    ///
    /// Those of `observe` and of [`LineModel::record`].
    pub fn predict(
        &self,
        tape: &mut Tape<T>,
        past: ArrayView3<T>,
        steps: usize,
        mut observe: impl FnMut(usize, &[T]) -> Result<()>,
    ) -> Result<()> {
        let (batch, times, n) = past.dim();
        let keep = self.window().min(times);
        let mut frames: VecDeque<Vec<T>> =
            (times - keep..times).map(|t| past.index_axis(ndarray::Axis(1), t).iter().copied().collect()).collect();
        // Whole bundles at a time, so that the logits of one are not cut.
        let portion = self.config.bundle * 16usize.div_ceil(self.config.bundle);
        let mut done = 0;
        while done < steps {
            tape.clear();
            let vars: Vec<Var> = frames.iter().map(|f| tape.constant(&[batch, 1, n], f)).collect::<Result<_>>()?;
            let states = self.record(tape, &vars, portion.min(steps - done), Gradient::Full)?;
            for state in states {
                done += 1;
                let values = tape.values(state);
                observe(done, values)?;
                frames.pop_front();
                frames.push_back(values.to_vec());
            }
        }
        tape.clear();
        Ok(())
    }

    /// Operations of a step at one cell, multiplications and additions counted apart.
    pub fn flops(&self) -> f64 {
        let c = &self.config;
        let input = if c.order > 0 { c.order } else { c.past + 1 };
        let tower = c.kernel * c.width * (input + (c.layers - 1) * c.width) + c.width * self.step.logits() * c.bundle;
        let features = if c.order > 0 { c.order * (c.past + 1) } else { 0 };
        let (n, q) = (self.step.cells(), c.stencil - 1);
        2.0 * (tower + features) as f64 / c.bundle as f64 + 2.0 * (3 * n + q * (q + 3) / 2 + 2 * q) as f64
    }
}

/// Whether all states `[batch][n]` after `step` steps of `dt` are finite.
///
/// # Errors
///
/// [`Error::BlowUp`] naming the first sample that is not, the step and the time.
pub fn check_finite<T: Real>(states: &[T], n: usize, step: usize, dt: f64) -> Result<()> {
    match states.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(bad) => Err(Error::BlowUp { sample: bad / n, step, t: dt * step as f64 }),
    }
}

/// Gaussian error linear unit of every value.
struct Activate;

/// Values a thread takes at a time.
const PIECE: usize = 1 << 13;

impl<T: Real> Operation<T> for Activate {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        let (x, isa) = (inputs[0].values, workers.isa());
        workers.pieces(output, PIECE, 0, |index, piece, _| {
            Activation::Gelu.apply(isa, &x[index * PIECE..][..piece.len()], piece);
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(target) = inputs[0].take() else { return };
        let (values, weight) = target.target();
        let (x, isa) = (record.inputs[0].values, workers.isa());
        workers.pieces(values, PIECE, PIECE, |index, piece, scratch| {
            let range = index * PIECE..index * PIECE + piece.len();
            let own = &mut scratch[..piece.len()];
            Activation::Gelu.vjp(isa, &x[range.clone()], &cotangent[range], own);
            match weight == T::zero() {
                true => piece.copy_from_slice(own),
                false => piece.iter_mut().zip(&*own).for_each(|(p, &o)| *p += o),
            }
        });
    }
}

#[cfg(test)]
mod tests;
