//! Learned interpolation, from the present (LI) or from the past (the temporal stencil model, TSM).

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::history::Features;
use super::learned::{self, Between, LearnedSolver};
use super::tower::Tower;
use super::{FiniteVolume, Stencil};
use crate::autodiff::{Parameters, Tape, Var};
use crate::error::{Error, Result};
use crate::field::Real;

/// The window of past frames that a tower sees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct History {
    /// Frames, the present one included, a solver step apart.
    pub window: usize,
    /// Legendre polynomials they are projected onto.
    pub order: usize,
    /// Feature `n` is multiplied by `gain^n`, at most by `largest`.
    pub gain: f64,
    /// See `gain`.
    pub largest: f64,
}

impl Default for History {
    fn default() -> Self {
        Self { window: 32, order: 8, gain: 4.0, largest: 64.0 }
    }
}

/// When the tower is evaluated, and which of its slices a step takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Indexing {
    /// At step 0 and every `bundle`-th after; slices in order.
    #[default]
    Correct,
    /// As the released code of the temporal stencil model does with a bundle of 4: in chunks of 32 steps the first four
    /// have zero logits, then the tower is evaluated every fifth step, and its last slice is used twice.
    AsReleased,
}

/// Constants of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// Channels of the hidden layers.
    pub width: usize,
    /// Hidden layers, each a periodic 3x3 convolution and a ReLU; a 1x1 convolution follows.
    pub layers: usize,
    /// Factor of the input.
    pub scale: f64,
    /// Factor of the initial weights of the last layer; 0 begins at linear interpolation.
    pub head: f64,
    /// Cells and limiter of the interpolations.
    pub stencil: Stencil,
    /// Steps that one evaluation of the tower serves.
    pub bundle: usize,
    /// Bookkeeping of the bundle.
    pub indexing: Indexing,
    /// The past, if the tower sees it.
    pub history: Option<History>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            width: 32,
            layers: 3,
            scale: 1.0,
            head: 0.1,
            stencil: Stencil::default(),
            bundle: 1,
            indexing: Indexing::Correct,
            history: None,
        }
    }
}

/// A finite-volume solver whose interpolations come from a convolutional tower.
///
/// ```text
/// z = tower(features of the last frames),      c' = step(c, z_0),  c'' = step(c', z_1), ..
/// ```
///
/// One evaluation gives the logits `z` of `bundle` steps. Source: learned interpolation after Kochkov et al., PNAS 2021;
/// with features of the past, temporal stencil modelling (Sun, Yang & Yoo, ICML 2023), here with an exact projection onto
/// Legendre polynomials in place of a recurrence.
pub struct TemporalStencil<T: Real> {
    config: ModelConfig,
    solver: FiniteVolume<T>,
    tower: Tower,
}

impl<T: Real> TemporalStencil<T> {
    /// Adds the parameters `tower.{i}` and `head` of a model.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a width, a number of layers or a bundle of zero, an order larger than the window, or a
    /// bundle other than 4 with the released indexing.
    pub fn new(
        config: &ModelConfig,
        solver: FiniteVolume<T>,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        if config.bundle == 0 {
            return Err(Error::parameter("bundle", config.bundle, "must be at least 1"));
        }
        if config.indexing == Indexing::AsReleased && config.bundle != 4 {
            return Err(Error::parameter("bundle", config.bundle, "must be 4 with the indexing as released"));
        }
        let channels = (features(config)?.channels(), config.bundle * config.stencil.cells.logits());
        let tower = Tower::new(parameters, channels, config.width, config.layers, config.head, rng)?;
        Ok(Self { config: config.clone(), solver, tower })
    }

    /// The constants.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The solver.
    pub fn solver(&self) -> &FiniteVolume<T> {
        &self.solver
    }

    /// Records the logits of the next `bundle` steps from a window of frames, oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for another number of frames, [`Error::Shape`] for frames of another shape.
    pub fn logits(&self, tape: &mut Tape<T>, window: &[Var]) -> Result<Var> {
        let x = tape.apply(features(&self.config)?, window)?;
        self.tower.record(tape, x)
    }

    /// Whether the tower is evaluated before a step, and the slice that the step takes; none for zero logits.
    fn turn(&self, step: usize) -> (bool, Option<usize>) {
        match self.config.indexing {
            Indexing::Correct => (step.is_multiple_of(self.config.bundle), Some(step % self.config.bundle)),
            Indexing::AsReleased => match step % 32 {
                early if early < 4 => (false, None),
                late => ((late - 4).is_multiple_of(5), Some(((late - 4) % 5).min(3))),
            },
        }
    }

    fn zeros(&self, tape: &mut Tape<T>, state: Var) -> Result<Var> {
        let (batch, n) = (tape.shape(state)[0], self.solver.n());
        let shape = [batch, self.config.stencil.cells.logits(), n, n];
        tape.constant(&shape, &vec![T::zero(); shape.iter().product()])
    }
}

impl<T: Real> LearnedSolver<T> for TemporalStencil<T> {
    fn state(&self) -> [usize; 3] {
        [2, self.solver.n(), self.solver.n()]
    }

    fn dt(&self) -> f64 {
        self.solver.dt()
    }

    fn window(&self) -> usize {
        self.config.history.map_or(1, |h| h.window)
    }

    fn bundle(&self) -> usize {
        // The release restarts its bookkeeping after so many steps.
        if self.config.indexing == Indexing::AsReleased { 32 } else { self.config.bundle }
    }

    /// Multiplications and additions of convolutions and features, shared out over the bundle, of stencils and transforms.
    fn flops(&self) -> f64 {
        let points = (self.solver.n() * self.solver.n()) as f64;
        let features = features(&self.config).expect("was checked when the model was made");
        let logits = self.config.stencil.cells.logits();
        let history = 4.0 * features.weights.len() as f64;
        let per_bundle = (self.tower.flops() + history) * points / self.config.bundle as f64;
        // Logits times differences, running sums of two patches; fluxes; two complex transforms of n^2 points.
        let stencil = (2 * logits + 2 * 4 * self.config.stencil.cells.count() + 40) as f64 * points;
        per_bundle + stencil + self.solver.implicit_flops()
    }

    fn rollout(&self, tape: &mut Tape<T>, window: &[Var], steps: usize, between: &mut Between<T>) -> Result<Vec<Var>> {
        learned::check_window(window.len(), self.window())?;
        let mut frames: VecDeque<Var> = window.iter().copied().collect();
        let (mut results, mut logits) = (Vec::with_capacity(steps), None);
        for step in 0..steps {
            let state = *frames.back().expect("the window is not empty");
            let (evaluate, slice) = self.turn(step);
            if evaluate {
                logits = Some(self.logits(tape, frames.make_contiguous())?);
            }
            let z = match logits {
                Some(z) if slice.is_some() => z,
                _ => self.zeros(tape, state)?,
            };
            let next = self.solver.record_learned(tape, self.config.stencil, state, z, slice.unwrap_or(0))?;
            results.push(next);
            if step + 1 < steps {
                frames.push_back(between(tape, step, next)?);
                frames.pop_front();
            }
        }
        Ok(results)
    }
}

fn features(config: &ModelConfig) -> Result<Features> {
    match config.history {
        Some(History { window, order, gain, largest }) => {
            Features::legendre(config.scale, order, window, gain, largest)
        }
        None => Ok(Features::present(config.scale)),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::stencil::plane::{Flow, Interpolation};

    fn model(config: &ModelConfig) -> (TemporalStencil<f64>, Tape<f64>) {
        let solver = FiniteVolume::plan(&Flow::default(), 16, 0.025).unwrap();
        let mut parameters = Parameters::new();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let model = TemporalStencil::new(config, solver, &mut parameters, &mut rng).unwrap();
        (model, Tape::new(parameters, 1).unwrap())
    }

    fn window(frames: usize) -> VecDeque<Vec<f64>> {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let first: Vec<f64> = (0..512).map(|_| rng.random_range(-0.5..0.5)).collect();
        (0..frames).map(|k| first.iter().map(|x| x * (1.0 + 0.01 * k as f64)).collect()).collect()
    }

    fn small() -> ModelConfig {
        let history = Some(History { window: 4, order: 2, ..History::default() });
        ModelConfig { width: 4, layers: 2, head: 1.0, bundle: 4, history, ..ModelConfig::default() }
    }

    #[test]
    fn zero_logits_predict_as_linear_interpolation() {
        let (model, mut tape) = model(&ModelConfig { head: 0.0, ..small() });
        let (mut frames, mut seen) = (window(4), 0);
        let mut state = frames[3].clone();
        let workers = crate::autodiff::Workers::new(1).unwrap();
        model
            .predict(&mut tape, &mut frames, 6, &mut |step, predicted| {
                model.solver().advance(&workers, Interpolation::Linear, &mut state, 1)?;
                // Biases times zero are zero; only signs of zeros may differ.
                assert!(predicted.iter().zip(&state).all(|(a, b)| (a - b).abs() < 1e-14));
                seen = step;
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, 6);
    }

    #[test]
    fn a_rollout_in_one_recording_is_that_of_a_rolling_window() {
        for indexing in [Indexing::Correct, Indexing::AsReleased] {
            let (model, mut tape) = model(&ModelConfig { indexing, ..small() });
            let mut predicted = Vec::new();
            let mut rolling = window(4);
            model
                .predict(&mut tape, &mut rolling, 10, &mut |_, state| {
                    predicted.push(state.to_vec());
                    Ok(())
                })
                .unwrap();
            tape.clear();
            let frames: Vec<Var> = window(4).iter().map(|f| tape.constant(&[1, 2, 16, 16], f).unwrap()).collect();
            let results = model.rollout(&mut tape, &frames, 10, &mut |_, _, s| Ok(s)).unwrap();
            for (result, predicted) in results.iter().zip(&predicted) {
                assert_eq!(tape.values(*result), predicted);
            }
        }
    }

    #[test]
    fn released_indexing_evaluates_at_the_steps_of_the_release() {
        let (model, _) = model(&ModelConfig { indexing: Indexing::AsReleased, ..small() });
        let evaluated: Vec<usize> = (0..32).filter(|&s| model.turn(s).0).map(|s| s + 1).collect();
        assert_eq!(evaluated, [5, 10, 15, 20, 25, 30]);
        let slices: Vec<Option<usize>> = (0..10).map(|s| model.turn(s).1).collect();
        let chain = [None; 4].into_iter().chain([0, 1, 2, 3, 3, 0].map(Some));
        assert_eq!(slices, chain.collect::<Vec<_>>());
    }

    #[test]
    fn the_gradient_of_a_rollout_agrees_with_differences() {
        let (model, mut tape) = model(&small());
        let parameters = tape.parameters().len();
        let direction: Vec<f64> = (0..parameters).map(|i| (i as f64 * 0.7).sin()).collect();
        let mut value = |h: f64, gradient: bool| {
            tape.parameters_mut().theta_mut().iter_mut().zip(&direction).for_each(|(w, d)| *w += h * d);
            let frames: Vec<Var> = window(4).iter().map(|f| tape.constant(&[1, 2, 16, 16], f).unwrap()).collect();
            let results = model.rollout(&mut tape, &frames, 6, &mut |_, _, s| Ok(s)).unwrap();
            let target = tape.constant(&[1, 2, 16, 16], &vec![0.1; 512]).unwrap();
            let loss = crate::nn::mean_square(&mut tape, *results.last().unwrap(), target).unwrap();
            let loss_value = tape.scalar(loss).unwrap();
            let mut slope = 0.0;
            if gradient {
                tape.backward(loss).unwrap();
                slope = tape.gradient().iter().zip(&direction).map(|(g, d)| g * d).sum();
            }
            tape.parameters_mut().theta_mut().iter_mut().zip(&direction).for_each(|(w, d)| *w -= h * d);
            (loss_value, slope)
        };
        let (_, slope) = value(0.0, true);
        let h = 1e-6;
        let difference = (value(h, false).0 - value(-h, false).0) / (2.0 * h);
        // eps / h, and kinks of the ReLU that the step crosses.
        assert!((difference - slope).abs() < 1e-5 * slope.abs().max(1e-2), "{difference} {slope}");
    }

    #[test]
    fn windows_of_another_length_and_blow_ups_are_named() {
        let (model, mut tape) = model(&small());
        let error = model.predict(&mut tape, &mut window(3), 1, &mut |_, _| Ok(())).unwrap_err().to_string();
        assert_eq!(error, "states of the window = 3 is not allowed: must be 4");
        let mut wild: VecDeque<Vec<f64>> =
            window(4).into_iter().map(|f| f.iter().map(|x| 1e200 * x).collect()).collect();
        let error = model.predict(&mut tape, &mut wild, 5, &mut |_, _| Ok(())).unwrap_err();
        assert!(matches!(error, Error::BlowUp { sample: 0, step: 1, .. }), "{error}");
    }
}
