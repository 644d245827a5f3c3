//! Training by unrolling the model through its solver.

use serde::{Deserialize, Serialize};

use super::learned::{self, LearnedSolver};
use crate::autodiff::{Tape, Var};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn;
use crate::optim::{self, Block, Optimizer, OptimizerConfig};

/// How far a derivative goes back in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GradientMode {
    /// Through all steps.
    #[default]
    Full,
    /// Through one step: each begins at a copy of the state.
    Detached,
    /// Through so many steps.
    Truncated(usize),
}

/// A part of a curriculum.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Steps that are unrolled.
    pub unroll: usize,
    /// Share of all training steps; those of all stages sum to one.
    pub share: f64,
}

/// Stage of a training step.
///
/// # Errors
///
/// [`Error::Parameter`] if there is no stage, an unroll is zero, or the shares do not sum to one.
pub fn unroll(stages: &[Stage], step: u64, steps: u64) -> Result<usize> {
    let total: f64 = stages.iter().map(|s| s.share).sum();
    if (total - 1.0).abs() > 1e-6 || stages.iter().any(|s| s.share < 0.0) {
        return Err(Error::parameter("curriculum shares", total, "must be >= 0 and sum to 1"));
    }
    if stages.iter().any(|s| s.unroll == 0) {
        return Err(Error::parameter("curriculum unroll", 0, "must be at least 1"));
    }
    let (position, mut end) = (step as f64 / steps.max(1) as f64, 0.0);
    for stage in stages {
        end += stage.share;
        if position < end {
            return Ok(stage.unroll);
        }
    }
    Ok(stages.last().expect("shares that sum to one are not none").unroll)
}

/// What a training step gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean square of the error of the state, over steps, samples, components and points.
    pub loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
}

/// A model in training.
pub struct Trainer<T: Real> {
    model: Box<dyn LearnedSolver<T>>,
    tape: Tape<T>,
    optimizer: Box<dyn Optimizer<T>>,
    mode: GradientMode,
    clip: f64,
}

impl<T: Real> Trainer<T> {
    /// Training of a model whose parameters the tape has. Gradients longer than `clip` are shortened.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for constants of the optimiser, or a limit, out of range.
    pub fn new(
        model: Box<dyn LearnedSolver<T>>,
        tape: Tape<T>,
        optimizer: &OptimizerConfig,
        mode: GradientMode,
        clip: f64,
    ) -> Result<Self> {
        if clip.is_nan() || clip <= 0.0 {
            return Err(Error::parameter("clip", clip, "must be > 0"));
        }
        if mode == GradientMode::Truncated(0) {
            return Err(Error::parameter("gradient truncated", 0, "must be at least 1"));
        }
        let views = tape.parameters().views();
        let blocks: Vec<Block> = views.iter().map(|v| Block { offset: v.offset, shape: v.shape.clone() }).collect();
        Ok(Self { optimizer: optimizer.build(&blocks)?, model, tape, mode, clip })
    }

    /// One training step. `frames` holds `window + unroll` states of a batch, a step of the model apart: the window that the
    /// model begins with, and the truth of the steps. Nothing moves if loss or gradient are not finite.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there are no frames beyond the window, [`Error::Shape`] if frames do not fit.
    pub fn step(&mut self, frames: &[Vec<T>], rate: f64) -> Result<StepReport> {
        let window = self.model.window();
        if frames.len() <= window {
            let rule = format!("must be more than the window of {window}");
            return Err(Error::parameter("frames of a training step", frames.len(), rule));
        }
        let Self { model, tape, .. } = self;
        let shape = model.state();
        tape.clear();
        let record = |tape: &mut Tape<T>, frame: &Vec<T>| learned::constant(tape, shape, frame);
        let start: Vec<Var> = frames[..window].iter().map(|f| record(tape, f)).collect::<Result<_>>()?;
        let steps = frames.len() - window;
        let period = match self.mode {
            GradientMode::Full => steps,
            GradientMode::Detached => 1,
            GradientMode::Truncated(steps) => steps,
        };
        let results = model.rollout(tape, &start, steps, &mut |tape, step, state| {
            if !(step + 1).is_multiple_of(period) {
                return Ok(state);
            }
            let (shape, values) = (tape.shape(state).to_vec(), tape.values(state).to_vec());
            tape.constant(&shape, &values)
        })?;
        let mut sum = None;
        for (&result, truth) in results.iter().zip(&frames[window..]) {
            let truth = record(tape, truth)?;
            let square = nn::mean_square(tape, result, truth)?;
            sum = Some(match sum {
                Some(sum) => nn::add(tape, sum, square)?,
                None => square,
            });
        }
        let loss = nn::scale(tape, sum.expect("there is a step"), 1.0 / steps as f64)?;
        tape.backward(loss)?;
        let loss = tape.scalar(loss)?;
        let (theta, gradient) = tape.update();
        let gradient_norm = optim::clip_global_norm(gradient, self.clip);
        if loss.is_finite() && gradient_norm.is_finite() {
            self.optimizer.step(theta, gradient, rate);
        }
        Ok(StepReport { loss, gradient_norm })
    }

    /// The model and its tape.
    pub fn parts(&mut self) -> (&dyn LearnedSolver<T>, &mut Tape<T>) {
        (&*self.model, &mut self.tape)
    }

    /// The optimiser, to be saved and restored.
    pub fn optimizer(&mut self) -> &mut dyn Optimizer<T> {
        &mut *self.optimizer
    }

    /// State of the optimiser.
    pub fn optimizer_state(&self) -> Vec<optim::NamedTensor> {
        self.optimizer.state()
    }

    /// The parameters.
    pub fn parameters(&self) -> &crate::autodiff::Parameters<T> {
        self.tape.parameters()
    }

    /// Where the last gradient is largest, or first not finite.
    pub fn worst_gradient(&self) -> String {
        match optim::worst_entry(self.tape.gradient()) {
            Some((index, value)) => format!("gradient {} = {value}", self.tape.parameters().describe(index)),
            None => "no gradient".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::autodiff::{Parameters, Workers};
    use crate::initial::FilteredVelocity;
    use crate::stencil::plane::data::random_start;
    use crate::stencil::plane::{FiniteVolume, Flow, Interpolation, ModelConfig, TemporalStencil, coarsen};

    #[test]
    fn curricula_go_through_their_stages() {
        let stages = [Stage { unroll: 4, share: 0.5 }, Stage { unroll: 16, share: 0.5 }];
        let seen: Vec<usize> = (0..4).map(|s| unroll(&stages, s, 4).unwrap()).collect();
        assert_eq!(seen, [4, 4, 16, 16]);
        assert!(unroll(&stages[..1], 0, 4).is_err());
    }

    /// Frames of a fine limited solver on `2 n` cells, coarsened to `n`.
    fn truth(n: usize, frames: usize, dt: f64) -> Vec<Vec<f64>> {
        let solver = FiniteVolume::<f64>::plan(&Flow::default(), 2 * n, dt / 2.0).unwrap();
        let velocity = FilteredVelocity { peak: 4.0, max_speed: 3.0 };
        let mut state = random_start(&solver, velocity, 1).unwrap();
        let workers = Workers::new(1).unwrap();
        (0..frames)
            .map(|_| {
                solver.advance(&workers, Interpolation::VanLeer, &mut state, 2).unwrap();
                let view = ndarray::ArrayView3::from_shape((2, 2 * n, 2 * n), &state).unwrap();
                coarsen(view, 2).unwrap().into_raw_vec_and_offset().0
            })
            .collect()
    }

    #[test]
    fn a_short_training_beats_the_solver_without_model() {
        let (n, dt) = (16, 0.025);
        let flow = Flow::default();
        let frames = truth(n, 120, dt);
        let solver = FiniteVolume::<f64>::plan(&flow, n, dt).unwrap();
        let config = ModelConfig { width: 8, layers: 2, ..ModelConfig::default() };
        let mut parameters = Parameters::new();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let model = TemporalStencil::new(&config, solver.clone(), &mut parameters, &mut rng).unwrap();
        let tape = Tape::new(parameters, 1).unwrap();
        let mut trainer =
            Trainer::new(Box::new(model), tape, &OptimizerConfig::default(), GradientMode::Full, 1.0).unwrap();
        for step in 0..150 {
            let start = step * 7 % 110;
            trainer.step(&frames[start..start + 5], 3e-3).unwrap();
        }
        let error = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let (model, tape) = trainer.parts();
        let mut window = [frames[60].clone()].into();
        let mut learned = 0.0;
        model
            .predict(tape, &mut window, 20, &mut |s, state| {
                learned += error(state, &frames[60 + s]);
                Ok(())
            })
            .unwrap();
        let (mut state, mut plain) = (frames[60].clone(), 0.0);
        for s in 1..=20 {
            solver.advance(&Workers::new(1).unwrap(), Interpolation::VanLeer, &mut state, 1).unwrap();
            plain += error(&state, &frames[60 + s]);
        }
        assert!(learned < plain / 1.5, "learned {learned}, without model {plain}");
    }
}
