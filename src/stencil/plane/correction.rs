//! Learned corrections of a coarse solver.

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::tower::Tower;
use super::{FiniteVolume, Interpolation};
use crate::autodiff::{Parameters, Tape, Var};
use crate::error::Result;
use crate::field::Real;
use crate::nn;

/// Where the network of a correction stands; `S` is the coarse solver, `N` the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorrectionMode {
    /// `S(c) + N(c)`.
    #[default]
    Parallel,
    /// `N(S(c))`.
    Sequential,
    /// `S(c) + N(S(c))`.
    SequentialWithBypass,
}

/// Constants of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrectionConfig {
    /// Where the network stands.
    pub mode: CorrectionMode,
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
        Self { mode: CorrectionMode::Parallel, width: 32, layers: 3, scale: 1.0, head: 0.01 }
    }
}

/// The solver that is corrected.
pub enum Coarse<T: Real> {
    /// One finite-volume step of `[batch, 2, n, n]`. What the network gives is projected onto divergence-free fields.
    Volumes {
        /// The solver.
        solver: FiniteVolume<T>,
        /// Its interpolation.
        interpolation: Interpolation,
    },
    /// Some steps of a spectral solver; the state is what it takes, `[batch, 1, n, n]` for a vorticity.
    Spectral(nn::Rollout<T>),
}

/// A coarse solver and a network that corrects each of its steps, whose derivatives go through both.
///
/// The three modes are those of APEBench (Koehler et al., NeurIPS 2024); a correction of a spectral solver is the setting
/// of Dresdner et al., TMLR 2023.
pub struct Correction<T: Real> {
    config: CorrectionConfig,
    coarse: Coarse<T>,
    projection: Option<FiniteVolume<T>>,
    tower: Tower,
}

impl<T: Real> Correction<T> {
    /// Adds the parameters `tower.{i}` and `head` of a network for `coarse`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) for a width or a number of layers of zero.
    pub fn new(
        config: &CorrectionConfig,
        coarse: Coarse<T>,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let (channels, projection) = match &coarse {
            Coarse::Volumes { solver, .. } => {
                // Without viscosity the implicit part of a step is the projection alone.
                let inviscid = super::Flow { nu: 0.0, forcing: None, ..*solver.flow() };
                (2, Some(FiniteVolume::plan(&inviscid, solver.n(), solver.dt())?))
            }
            Coarse::Spectral(_) => (1, None),
        };
        let tower = Tower::new(parameters, (channels, channels), config.width, config.layers, config.head, rng)?;
        Ok(Self { config: *config, coarse, projection, tower })
    }

    /// Records one corrected step.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) if the state is not one of the solver.
    pub fn record(&self, tape: &mut Tape<T>, state: Var) -> Result<Var> {
        let step = match &self.coarse {
            Coarse::Volumes { solver, interpolation } => solver.record(tape, *interpolation, state)?,
            Coarse::Spectral(rollout) => rollout.record(tape, state)?,
        };
        let input = if self.config.mode == CorrectionMode::Parallel { state } else { step };
        let scaled = nn::scale(tape, input, self.config.scale)?;
        let mut correction = self.tower.record(tape, scaled)?;
        if let Some(projection) = &self.projection {
            correction = projection.record_projection(tape, correction)?;
        }
        match self.config.mode {
            CorrectionMode::Sequential => Ok(correction),
            CorrectionMode::Parallel | CorrectionMode::SequentialWithBypass => nn::add(tape, step, correction),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::initial::FilteredVelocity;
    use crate::stencil::plane::Flow;
    use crate::stencil::plane::data::{random_start, spectral_solver};
    use crate::stepper::Checkpoints;

    /// The slope of a sum of squares of two steps along a direction of the parameters, and its central difference.
    fn slopes(coarse: impl Fn() -> Coarse<f64>, shape: [usize; 4], start: &[f64], mode: CorrectionMode) -> (f64, f64) {
        let config = CorrectionConfig { mode, width: 4, layers: 2, head: 1.0, ..CorrectionConfig::default() };
        let value = |h: f64| {
            let (mut parameters, mut rng) = (Parameters::new(), ChaCha8Rng::seed_from_u64(1));
            let model = Correction::new(&config, coarse(), &mut parameters, &mut rng).unwrap();
            let direction: Vec<f64> = (0..parameters.len()).map(|_| rng.random_range(-1.0..1.0)).collect();
            parameters.theta_mut().iter_mut().zip(&direction).for_each(|(w, d)| *w += h * d);
            let mut tape = Tape::new(parameters, 1).unwrap();
            let mut state = tape.constant(&shape, start).unwrap();
            for _ in 0..2 {
                state = model.record(&mut tape, state).unwrap();
            }
            let zero = tape.constant(&shape, &vec![0.0; start.len()]).unwrap();
            let loss = nn::mean_square(&mut tape, state, zero).unwrap();
            tape.backward(loss).unwrap();
            let slope: f64 = tape.gradient().iter().zip(&direction).map(|(g, d)| g * d).sum();
            (tape.scalar(loss).unwrap(), slope)
        };
        let h = 1e-6;
        (value(0.0).1, (value(h).0 - value(-h).0) / (2.0 * h))
    }

    #[test]
    fn derivatives_go_through_solver_and_network_in_every_mode() {
        let (n, flow) = (16, Flow::default());
        let solver = FiniteVolume::<f64>::plan(&flow, n, 0.02).unwrap();
        let start = random_start(&solver, FilteredVelocity { peak: 3.0, max_speed: 2.0 }, 1).unwrap();
        for mode in [CorrectionMode::Parallel, CorrectionMode::Sequential, CorrectionMode::SequentialWithBypass] {
            let volumes = || Coarse::Volumes { solver: solver.clone(), interpolation: Interpolation::Linear };
            let spectral = || {
                let stepper = spectral_solver(&flow, n, 0.02, 1, 1).unwrap();
                Coarse::Spectral(nn::Rollout::new(stepper, 2, Checkpoints::Stages).unwrap())
            };
            for (slope, difference) in
                [slopes(volumes, [1, 2, n, n], &start, mode), slopes(spectral, [1, 1, n, n], &start[..n * n], mode)]
            {
                // eps / h, and kinks of the ReLU within the step.
                assert!((slope - difference).abs() < 1e-5 * slope.abs().max(1.0), "{mode:?}: {slope} {difference}");
            }
        }
    }
}
