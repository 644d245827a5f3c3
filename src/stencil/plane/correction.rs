//! Learned corrections of a coarse solver.

use std::collections::VecDeque;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::learned::{self, Between, LearnedSolver};
use super::spectral::SpectralSteps;
use super::tower::Tower;
use super::{FiniteVolume, Flow, Interpolation};
use crate::autodiff::{Cotangent, Operation, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn;
use crate::spectral::layout::Dealias;

/// Where the network of a correction stands; `S` is the coarse solver over an interval, `N` the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorrectionMode {
    /// `S(c) + N(c)`.
    Parallel,
    /// `N(S(c))`.
    Sequential,
    /// `S(c) + N(S(c))`.
    #[default]
    SequentialWithBypass,
    /// `S(c)`: the solver alone, for comparison.
    Without,
}

/// The solver that is corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// The spectral solver on as many points as cells. It keeps modes up to a third of them (the 2/3 rule); others that
    /// the network adds are dropped by the next step.
    Spectral,
    /// The spectral solver with all modes below half the cells; its products are formed on half as many points more an
    /// axis (the 3/2 rule).
    #[default]
    SpectralPadded,
    /// Limited finite volumes. What the network gives is projected onto divergence-free fields.
    Volumes,
}

/// Constants of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrectionConfig {
    /// Where the network stands.
    pub mode: CorrectionMode,
    /// The solver.
    pub base: Base,
    /// Time between corrections.
    pub interval: f64,
    /// Steps that the solver makes in it.
    pub steps: usize,
    /// Channels of the hidden layers.
    pub width: usize,
    /// Hidden layers, each a periodic 3x3 convolution and a ReLU; a 1x1 convolution follows.
    pub layers: usize,
    /// Factor of the input of the network.
    pub scale: f64,
    /// Factor of the initial weights of the last layer.
    pub head: f64,
}

impl Default for CorrectionConfig {
    fn default() -> Self {
        Self {
            mode: CorrectionMode::default(),
            base: Base::default(),
            interval: 0.2,
            steps: 5,
            width: 16,
            layers: 3,
            scale: 0.25,
            head: 0.01,
        }
    }
}

/// A coarse solver and a network that corrects it once every `interval`; derivatives go through both.
///
/// The state of a spectral base is the vorticity, of which the data of the cells tell all modes below half the cells: a
/// divergence-free staggered field is the differences of a stream function at the corners, which the exact filter
/// ([`StaggeredFilter`](super::StaggeredFilter)) leaves as it is.
///
/// The three modes are those of APEBench (Koehler et al., NeurIPS 2024); a correction of a spectral solver is the setting
/// of Dresdner et al., TMLR 2023.
pub struct Correction<T: Real> {
    config: CorrectionConfig,
    coarse: Coarse<T>,
    tower: Tower,
    n: usize,
}

/// The solver of an interval.
enum Coarse<T: Real> {
    Volumes {
        solver: FiniteVolume<T>,
        /// Without viscosity the implicit part of a step is the projection alone.
        projection: FiniteVolume<T>,
    },
    Spectral(Box<SpectralSteps<T>>),
}

impl<T: Real> Correction<T> {
    /// Adds the parameters `tower.{i}` and `head` of a network for `n x n` cells. `threads` are those of a spectral base.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an interval that is not positive, no steps, width or layers, and what the solver refuses.
    pub fn new(
        config: &CorrectionConfig,
        flow: &Flow,
        n: usize,
        threads: usize,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        if !(config.interval > 0.0 && config.interval.is_finite()) {
            return Err(Error::parameter("interval", config.interval, "must be positive and finite"));
        }
        if config.steps == 0 {
            return Err(Error::parameter("steps", config.steps, "must be at least 1"));
        }
        let dt = config.interval / config.steps as f64;
        let spectral = |dealias| SpectralSteps::plan(flow, n, (dt, config.steps), dealias, threads);
        let (channels, coarse) = match config.base {
            Base::Spectral => (1, Coarse::Spectral(Box::new(spectral(Dealias::Truncate)?))),
            Base::SpectralPadded => (1, Coarse::Spectral(Box::new(spectral(Dealias::Pad)?))),
            Base::Volumes => {
                let solver = FiniteVolume::plan(flow, n, dt)?;
                let projection = FiniteVolume::plan(&Flow { nu: 0.0, forcing: None, ..*flow }, n, dt)?;
                (2, Coarse::Volumes { solver, projection })
            }
        };
        let tower = Tower::new(parameters, (channels, channels), config.width, config.layers, config.head, rng)?;
        Ok(Self { config: *config, coarse, tower, n })
    }

    /// The constants.
    pub fn config(&self) -> &CorrectionConfig {
        &self.config
    }

    /// Records what the network makes of a state: divergence-free, or a vorticity without mean.
    fn network(&self, tape: &mut Tape<T>, state: Var) -> Result<Var> {
        let scaled = nn::scale(tape, state, self.config.scale)?;
        let correction = self.tower.record(tape, scaled)?;
        match &self.coarse {
            Coarse::Volumes { projection, .. } => projection.record_projection(tape, correction),
            Coarse::Spectral(_) => tape.apply(WithoutMean, &[correction]),
        }
    }

    /// Records one interval.
    fn record(&self, tape: &mut Tape<T>, state: Var) -> Result<Var> {
        let step = match &self.coarse {
            Coarse::Volumes { solver, .. } => {
                (0..self.config.steps).try_fold(state, |state, _| solver.record(tape, Interpolation::VanLeer, state))?
            }
            Coarse::Spectral(steps) => steps.record(tape, state)?,
        };
        self.corrected(tape, state, step)
    }

    fn corrected(&self, tape: &mut Tape<T>, state: Var, step: Var) -> Result<Var> {
        match self.config.mode {
            CorrectionMode::Parallel => {
                let correction = self.network(tape, state)?;
                nn::add(tape, step, correction)
            }
            CorrectionMode::Sequential => self.network(tape, step),
            CorrectionMode::SequentialWithBypass => {
                let correction = self.network(tape, step)?;
                nn::add(tape, step, correction)
            }
            CorrectionMode::Without => Ok(step),
        }
    }

    /// Makes one interval in place, without a record of the solver's steps.
    fn advance(&self, tape: &mut Tape<T>, state: &mut [T]) -> Result<()> {
        tape.clear();
        let shape = self.state();
        let before = learned::constant(tape, shape, state)?;
        let after = match &self.coarse {
            Coarse::Volumes { .. } => self.record(tape, before)?,
            Coarse::Spectral(steps) => {
                steps.advance(state)?;
                let step = learned::constant(tape, shape, state)?;
                self.corrected(tape, before, step)?
            }
        };
        state.copy_from_slice(tape.values(after));
        Ok(())
    }
}

impl<T: Real> LearnedSolver<T> for Correction<T> {
    fn state(&self) -> [usize; 3] {
        match self.coarse {
            Coarse::Volumes { .. } => [2, self.n, self.n],
            Coarse::Spectral(_) => [1, self.n, self.n],
        }
    }

    fn dt(&self) -> f64 {
        self.config.interval
    }

    fn window(&self) -> usize {
        1
    }

    fn flops(&self) -> f64 {
        let (steps, is_corrected) = (self.config.steps as f64, self.config.mode != CorrectionMode::Without);
        let network = if is_corrected { self.tower.flops() * (self.n * self.n) as f64 } else { 0.0 };
        match &self.coarse {
            Coarse::Spectral(solver) => solver.flops() + network,
            Coarse::Volumes { solver, projection } => {
                let projection = if is_corrected { projection.implicit_flops() } else { 0.0 };
                steps * solver.flops(Interpolation::VanLeer) + projection + network
            }
        }
    }

    fn rollout(&self, tape: &mut Tape<T>, window: &[Var], steps: usize, between: &mut Between<T>) -> Result<Vec<Var>> {
        learned::repeat(tape, window, steps, between, |tape, state| self.record(tape, state))
    }

    fn predict(
        &self,
        tape: &mut Tape<T>,
        window: &mut VecDeque<Vec<T>>,
        steps: usize,
        observe: &mut dyn FnMut(usize, &[T]) -> Result<()>,
    ) -> Result<()> {
        learned::check_window(window.len(), 1)?;
        let len = self.state().iter().product();
        for step in 1..=steps {
            self.advance(tape, &mut window[0]).map_err(|error| match error {
                Error::BlowUp { sample, .. } => Error::BlowUp { sample, step, t: step as f64 * self.dt() },
                other => other,
            })?;
            learned::check(&window[0], len, step, self.dt())?;
            observe(step, &window[0])?;
        }
        tape.clear();
        Ok(())
    }

    fn encode(&self, frames: &[T]) -> Vec<T> {
        match &self.coarse {
            Coarse::Volumes { .. } => frames.to_vec(),
            Coarse::Spectral(steps) => steps.encode(frames),
        }
    }

    fn decode(&self, states: &[T]) -> Vec<T> {
        match &self.coarse {
            Coarse::Volumes { .. } => states.to_vec(),
            Coarse::Spectral(steps) => steps.decode(states),
        }
    }
}

/// `x - mean x` of every channel `[batch, channel, n, n]`, a projection.
struct WithoutMean;

/// `y (+)= x - mean x`.
fn subtract_mean<T: Real>(x: &[T], y: &mut [T], add: bool) {
    let mean = T::of(x.iter().map(|x| x.as_f64()).sum::<f64>() / x.len() as f64);
    y.iter_mut().zip(x).for_each(|(y, &x)| *y = if add { *y + (x - mean) } else { x - mean });
}

impl<T: Real> Operation<T> for WithoutMean {
    fn name(&self) -> &'static str {
        "without_mean"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs[0].len() {
            4 => Ok(inputs[0].to_vec()),
            _ => Err(Error::shape("field", &[1, 1, 1, 1], inputs[0])),
        }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let len = inputs[0].shape[2] * inputs[0].shape[3];
        workers.pieces(output, len, 0, |field, y, _| {
            subtract_mean(&inputs[0].values[field * len..][..len], y, false);
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let len = record.inputs[0].shape[2] * record.inputs[0].shape[3];
        workers.pieces(input.add(), len, 0, |field, bar, _| {
            subtract_mean(&cotangent[field * len..][..len], bar, true);
        });
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::initial::FilteredVelocity;
    use crate::stencil::plane::data::random_start;

    const BASES: [Base; 3] = [Base::Spectral, Base::SpectralPadded, Base::Volumes];
    const MODES: [CorrectionMode; 3] =
        [CorrectionMode::Parallel, CorrectionMode::Sequential, CorrectionMode::SequentialWithBypass];

    fn model(config: &CorrectionConfig, n: usize) -> (Correction<f64>, Parameters<f64>, ChaCha8Rng) {
        let (mut parameters, mut rng) = (Parameters::new(), ChaCha8Rng::seed_from_u64(1));
        let model = Correction::new(config, &Flow::default(), n, 1, &mut parameters, &mut rng).unwrap();
        (model, parameters, rng)
    }

    fn start(n: usize) -> Vec<f64> {
        let solver = FiniteVolume::<f64>::plan(&Flow::default(), n, 0.02).unwrap();
        random_start(&solver, FilteredVelocity { peak: 3.0, max_speed: 2.0 }, 1).unwrap()
    }

    #[test]
    fn derivatives_go_through_solver_and_network_in_every_mode() {
        let n = 16;
        for (base, mode) in BASES.iter().flat_map(|&base| MODES.map(|mode| (base, mode))) {
            let small = CorrectionConfig { width: 4, layers: 2, head: 1.0, ..CorrectionConfig::default() };
            let config = CorrectionConfig { mode, base, interval: 0.04, steps: 2, ..small };
            let value = |h: f64| {
                let (model, mut parameters, mut rng) = model(&config, n);
                let direction: Vec<f64> = (0..parameters.len()).map(|_| rng.random_range(-1.0..1.0)).collect();
                parameters.theta_mut().iter_mut().zip(&direction).for_each(|(w, d)| *w += h * d);
                let mut tape = Tape::new(parameters, 1).unwrap();
                let state = learned::constant(&mut tape, model.state(), &model.encode(&start(n))).unwrap();
                let results = model.rollout(&mut tape, &[state], 2, &mut |_, _, s| Ok(s)).unwrap();
                let zeros = vec![0.0; tape.values(results[1]).len()];
                let zero = learned::constant(&mut tape, model.state(), &zeros).unwrap();
                let loss = nn::mean_square(&mut tape, results[1], zero).unwrap();
                tape.backward(loss).unwrap();
                let slope: f64 = tape.gradient().iter().zip(&direction).map(|(g, d)| g * d).sum();
                (tape.scalar(loss).unwrap(), slope)
            };
            let h = 1e-6;
            let (slope, difference) = (value(0.0).1, (value(h).0 - value(-h).0) / (2.0 * h));
            // eps / h, and kinks of the ReLU and of the limiter within the step.
            assert!(
                (slope - difference).abs() < 1e-5 * slope.abs().max(1.0),
                "{base:?} {mode:?}: {slope} {difference}"
            );
        }
    }

    #[test]
    fn a_prediction_is_the_rollout_that_is_trained() {
        for (base, mode) in BASES.iter().flat_map(|&base| MODES.map(|mode| (base, mode))) {
            let config = CorrectionConfig { mode, base, interval: 0.04, steps: 2, ..CorrectionConfig::default() };
            let (model, parameters, _) = model(&config, 16);
            let mut tape = Tape::new(parameters, 1).unwrap();
            let state = model.encode(&start(16));
            let mut predicted = Vec::new();
            let mut observe = |_: usize, state: &[f64]| {
                predicted.push(state.to_vec());
                Ok(())
            };
            model.predict(&mut tape, &mut [state.clone()].into(), 3, &mut observe).unwrap();
            let state = learned::constant(&mut tape, model.state(), &state).unwrap();
            let results = model.rollout(&mut tape, &[state], 3, &mut |_, _, s| Ok(s)).unwrap();
            for (result, predicted) in results.iter().zip(&predicted) {
                // Round-off: the solver's recorded and plain steps are the same sums.
                assert!(tape.values(*result).iter().zip(predicted).all(|(a, b)| (a - b).abs() < 1e-12), "{base:?}");
            }
        }
    }

    #[test]
    fn corrections_of_a_vorticity_have_no_mean() {
        let config = CorrectionConfig { head: 10.0, mode: CorrectionMode::Sequential, ..CorrectionConfig::default() };
        let (model, parameters, _) = model(&config, 16);
        let mut tape = Tape::new(parameters, 1).unwrap();
        let mut state = model.encode(&start(16));
        model.advance(&mut tape, &mut state).unwrap();
        let (mean, largest) =
            (state.iter().sum::<f64>() / 256.0, state.iter().fold(0.0f64, |largest, x| largest.max(x.abs())));
        // Round-off of 256 terms.
        assert!(mean.abs() < 1e-14 * largest && largest > 0.0, "{mean} {largest}");
    }
}
