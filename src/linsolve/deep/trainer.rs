//! Training from right-hand sides alone.

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::super::operator::Solver;
use super::super::poisson::Poisson;
use super::super::random_scene::{Family, random_rhs};
use super::super::report::Options;
use super::loss::{Loss, StepLoss, step_loss};
use super::network::{Depth, Network};
use super::published::Published;
use super::ritz::RitzVectors;
use super::trajectory::{Recipe, Trajectory};
use super::{DeepDirection, Scaling};
use crate::autodiff::{Parameters, Tape};
use crate::error::{Error, Result};
use crate::optim::{Adam, AdamOptions, NamedTensor, Optimizer, Stateful, TensorData};

/// What right-hand sides are trained on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingData {
    /// Mixtures of Ritz vectors of the box that is open above, as published. On 8^3 cells 2400 samples of them make a network that
    /// solves in 16 iterations, where 8000 samples of trajectories make one that stalls.
    #[default]
    Ritz,
    /// Residuals of the solver itself on random scenes, from noise, from `A` times noise and from smooth fields.
    Trajectories,
}

/// Options of a [`Trainer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainerOptions {
    /// The network.
    pub depth: Depth,
    /// What the network sees of a residual.
    pub scaling: Scaling,
    /// What is minimised.
    pub loss: Loss,
    /// Where right-hand sides come from.
    pub data: TrainingData,
    /// Scenes of the trajectories, and those on which a validation counts iterations.
    pub family: Family,
    /// Cells along each axis; even.
    pub cells: usize,
    /// Samples of a step.
    pub batch: usize,
    /// Trajectories in progress.
    pub trajectories: usize,
    /// Most steps of a trajectory.
    pub longest: u64,
    /// Steps of Lanczos' method for the Ritz vectors.
    pub lanczos_steps: usize,
    /// Right-hand sides made of them.
    pub vectors: u64,
    /// Right-hand sides that are held out.
    pub held_out: u64,
}

impl Default for TrainerOptions {
    fn default() -> Self {
        Self {
            depth: Depth::Model64,
            scaling: Scaling::MeanSquare,
            loss: Loss::Squared,
            data: TrainingData::Ritz,
            family: Family::Box,
            cells: 32,
            batch: 4,
            trajectories: 32,
            longest: 25,
            lanczos_steps: 500,
            vectors: 2000,
            held_out: 16,
        }
    }
}

impl TrainerOptions {
    fn validate(&self) -> Result<()> {
        if self.cells < 4 || self.cells % 2 == 1 {
            return Err(Error::parameter("cells", self.cells, "must be even and at least 4"));
        }
        for (name, value) in [
            ("batch", self.batch as u64),
            ("trajectories", self.trajectories as u64),
            ("longest", self.longest),
            ("lanczos_steps", self.lanczos_steps as u64),
            ("vectors", self.vectors),
            ("held_out", self.held_out),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        if self.batch > self.trajectories {
            let rule = format!("must not exceed trajectories = {}", self.trajectories);
            return Err(Error::parameter("batch", self.batch, rule));
        }
        Ok(())
    }
}

/// Result of a training step or a validation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trained {
    /// Mean loss.
    pub loss: f64,
    /// Norm of the gradient, zero in a validation.
    pub gradient: f64,
}

enum Data {
    Trajectories(Vec<Trajectory>),
    Ritz(Arc<Poisson>, RitzVectors),
}

/// Numbers of scenes that are held out start here.
const HELD_OUT: u64 = 1 << 40;

/// A network in training.
pub struct Trainer {
    options: TrainerOptions,
    recipe: Recipe,
    network: Network,
    tape: Tape<f32>,
    adam: Adam<f32>,
    gradient: Vec<f32>,
    data: Data,
}

impl Trainer {
    /// A network with the initial parameters of `seed`, and its data.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] that names the option that is out of range.
    pub fn new(options: &TrainerOptions, seed: u64, threads: usize) -> Result<Self> {
        options.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Parameters::new();
        let network = Network::new(options.depth, &mut parameters, &mut rng);
        let recipe = Recipe { seed, family: options.family, cells: options.cells, longest: options.longest };
        let data = match options.data {
            TrainingData::Trajectories => {
                let begin = |slot| recipe.begin(slot as u64);
                Data::Trajectories((0..options.trajectories).map(begin).collect::<Result<_>>()?)
            }
            TrainingData::Ritz => {
                let open = Recipe { family: Family::Box, ..recipe.clone() };
                let (problem, mut rng) = open.problem(u64::MAX)?;
                let ritz = RitzVectors::new(&problem, options.lanczos_steps, &mut rng)?;
                Data::Ritz(problem, ritz)
            }
        };
        Ok(Self {
            adam: Adam::new(parameters.len(), AdamOptions::default())?,
            gradient: vec![0.0; parameters.len()],
            tape: Tape::new(parameters, threads)?,
            options: options.clone(),
            recipe,
            network,
            data,
        })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters<f32> {
        self.tape.parameters()
    }

    /// Step `step` of Adam at `rate`.
    ///
    /// # Errors
    ///
    /// Those of the tape; none in practice.
    pub fn step(&mut self, step: u64, rate: f64) -> Result<Trained> {
        self.gradient.fill(0.0);
        let (batch, mut loss, mut answers) = (self.options.batch, 0.0, Vec::new());
        for sample in 0..batch as u64 {
            let index = step * batch as u64 + sample;
            let (problem, b) = match &mut self.data {
                Data::Trajectories(pool) => {
                    let count = pool.len() as u64;
                    let slot = &mut pool[(index % count) as usize];
                    if slot.is_over() {
                        *slot = self.recipe.begin(slot.scene + count)?;
                    }
                    (slot.problem.clone(), slot.r.clone())
                }
                Data::Ritz(problem, ritz) => {
                    let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.seed);
                    rng.set_stream(index % self.options.vectors);
                    (problem.clone(), ritz.sample(&mut rng))
                }
            };
            self.tape.clear();
            let q = evaluate(&self.network, &mut self.tape, self.options.scaling, &problem, &b)?;
            answers.push(self.tape.values(q).to_vec());
            let operation = StepLoss { loss: self.options.loss, samples: vec![(problem, b)] };
            let value = self.tape.apply(operation, &[q])?;
            loss += self.tape.scalar(value)?;
            self.tape.backward(value)?;
            self.gradient.iter_mut().zip(self.tape.gradient()).for_each(|(sum, g)| *sum += g / batch as f32);
        }
        let (theta, _) = self.tape.update();
        self.adam.step(theta, &self.gradient, rate);
        if let Data::Trajectories(pool) = &mut self.data {
            let count = pool.len() as u64;
            for (sample, q) in answers.iter().enumerate() {
                pool[((step * batch as u64 + sample as u64) % count) as usize].advance(q);
            }
        }
        let norm = self.gradient.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
        Ok(Trained { loss: loss / batch as f64, gradient: norm })
    }

    /// Mean loss over right-hand sides that are not trained on: of other scenes, or other mixtures.
    ///
    /// # Errors
    ///
    /// As [`Trainer::step`].
    pub fn validate(&mut self) -> Result<Trained> {
        let mut loss = 0.0;
        for index in 0..self.options.held_out {
            let (problem, b) = match &self.data {
                Data::Trajectories(_) => {
                    let (problem, mut rng) = self.recipe.problem(HELD_OUT + index)?;
                    let b = random_rhs(&problem, (index % 3) as usize, &mut rng);
                    (problem, b)
                }
                Data::Ritz(problem, ritz) => {
                    let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.seed);
                    rng.set_stream(self.options.vectors + index);
                    (problem.clone(), ritz.sample(&mut rng))
                }
            };
            self.tape.clear();
            let q = evaluate(&self.network, &mut self.tape, self.options.scaling, &problem, &b)?;
            let square = step_loss(&problem, &b, self.tape.values(q)).0;
            loss += match self.options.loss {
                Loss::Squared => square,
                Loss::Orders => 0.5 * square.log10(),
            };
        }
        self.tape.clear();
        Ok(Trained { loss: loss / self.options.held_out as f64, gradient: 0.0 })
    }

    /// Iterations of the published loop to `1e-4` on `scenes` scenes that are not trained on, `limit` if there would be more.
    ///
    /// # Errors
    ///
    /// Those of the solver's set-up; none in practice.
    pub fn iterations(&self, scenes: u64, limit: usize) -> Result<Vec<usize>> {
        let options = Options { relative: 1e-4, max_iterations: limit, ..Options::default() };
        (0..scenes)
            .map(|scene| {
                let (problem, mut rng) = self.recipe.problem(HELD_OUT + scene)?;
                let b = random_rhs(&problem, 2, &mut rng);
                let (depth, scaling) = (self.options.depth, self.options.scaling);
                let deep = DeepDirection::new(depth, scaling, self.parameters(), &problem, &options)?;
                let mut x = vec![0.0; b.len()];
                let report = Published::new(problem, deep, &options)?.solve(&b, &mut x)?.clone();
                Ok(report.iterations_to(1e-4).unwrap_or(limit))
            })
            .collect()
    }

    /// Everything besides the parameters that the next step depends on.
    pub fn state(&self) -> Vec<NamedTensor> {
        let mut state = self.adam.state();
        state.iter_mut().for_each(|t| t.name = format!("adam.{}", t.name));
        if let Data::Trajectories(pool) = &self.data {
            for (slot, t) in pool.iter().enumerate() {
                let mut push = |name: &str, values: Vec<f64>| {
                    let (shape, data) = (vec![values.len()], TensorData::F64(values));
                    state.push(NamedTensor { name: format!("trajectory{slot}.{name}"), shape, data });
                };
                let [older, newer] = t.energies;
                push("counts", vec![t.scene as f64, t.steps[0] as f64, t.steps[1] as f64, older, newer]);
                push("r", t.r.clone());
                for (name, (p, ap)) in ["older", "newer"].iter().zip(&t.kept) {
                    push(name, [&p[..], ap].concat());
                }
            }
        }
        state
    }

    /// Becomes what was saved.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Shape`] if state or parameters are not those of such a trainer.
    pub fn restore(&mut self, theta: &[f32], state: &[NamedTensor]) -> Result<()> {
        if theta.len() != self.tape.parameters().len() {
            return Err(Error::shape("parameters", &[self.tape.parameters().len()], &[theta.len()]));
        }
        let strip = |t: &NamedTensor| {
            let name = t.name.strip_prefix("adam.")?.to_owned();
            Some(NamedTensor { name, ..t.clone() })
        };
        self.adam.restore(&state.iter().filter_map(strip).collect::<Vec<_>>())?;
        if let Data::Trajectories(pool) = &mut self.data {
            for (slot, t) in pool.iter_mut().enumerate() {
                let read = |name: &str| -> Result<&[f64]> {
                    let name = format!("trajectory{slot}.{name}");
                    match state.iter().find(|t| t.name == name).map(|t| &t.data) {
                        Some(TensorData::F64(values)) => Ok(values),
                        _ => Err(Error::parameter("state", &name, "must be there, in double precision")),
                    }
                };
                let &[scene, made, all, older, newer] = read("counts")? else {
                    return Err(Error::shape("counts", &[5], &[read("counts")?.len()]));
                };
                *t = self.recipe.begin(scene as u64)?;
                (t.steps, t.energies) = ([made as u64, all as u64], [older, newer]);
                let n = t.r.len();
                let fits = |values: &[f64], len: usize| match values.len() == len {
                    true => Ok(values.to_vec()),
                    false => Err(Error::shape("trajectory", &[len], &[values.len()])),
                };
                t.r = fits(read("r")?, n)?;
                for (name, (p, ap)) in ["older", "newer"].iter().zip(&mut t.kept) {
                    let both = fits(read(name)?, 2 * n)?;
                    (*p, *ap) = (both[..n].to_vec(), both[n..].to_vec());
                }
            }
        }
        self.tape.parameters_mut().theta_mut().copy_from_slice(theta);
        Ok(())
    }
}

/// Records the network on a residual of unit norm.
fn evaluate(
    network: &Network,
    tape: &mut Tape<f32>,
    scaling: Scaling,
    problem: &Poisson,
    b: &[f64],
) -> Result<crate::autodiff::Var> {
    let factor = scaling.factor(b.len());
    let input: Vec<f32> = b.iter().map(|b| (factor * b) as f32).collect();
    let r = tape.constant(&[&[1, 1], problem.shape()].concat(), &input)?;
    network.record(tape, r)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small(data: TrainingData) -> TrainerOptions {
        TrainerOptions {
            data,
            cells: 8,
            batch: 2,
            trajectories: 4,
            lanczos_steps: 60,
            vectors: 64,
            ..TrainerOptions::default()
        }
    }

    #[test]
    fn training_lowers_the_loss_on_what_is_held_out() {
        for data in [TrainingData::Trajectories, TrainingData::Ritz] {
            let mut trainer = Trainer::new(&small(data), 0, 1).unwrap();
            let before = trainer.validate().unwrap().loss;
            for step in 0..60 {
                trainer.step(step, 1e-3).unwrap();
            }
            let after = trainer.validate().unwrap().loss;
            // A random network is a poor direction; after 120 samples each step leaves visibly less of the residual.
            assert!(after < 0.9 * before, "{data:?}: {before} to {after}");
        }
    }

    #[test]
    fn a_restored_trainer_goes_on_to_the_bit_on_any_number_of_threads() {
        let options = small(TrainingData::Trajectories);
        let mut whole = Trainer::new(&options, 1, 1).unwrap();
        (0..6).for_each(|step| assert!(whole.step(step, 1e-3).is_ok()));
        let mut first = Trainer::new(&options, 1, 2).unwrap();
        (0..3).for_each(|step| assert!(first.step(step, 1e-3).is_ok()));
        let mut second = Trainer::new(&options, 1, 1).unwrap();
        second.restore(first.parameters().theta(), &first.state()).unwrap();
        (3..6).for_each(|step| assert!(second.step(step, 1e-3).is_ok()));
        assert_eq!(whole.parameters().theta(), second.parameters().theta());
        assert!(second.restore(&[0.0], &first.state()).is_err());
    }

    #[test]
    fn options_out_of_range_are_named() {
        let text = |options| Trainer::new(&options, 0, 1).err().unwrap().to_string();
        assert!(text(TrainerOptions { cells: 7, ..TrainerOptions::default() }).contains("cells"));
        assert!(text(TrainerOptions { batch: 99, ..TrainerOptions::default() }).contains("batch"));
    }
}
