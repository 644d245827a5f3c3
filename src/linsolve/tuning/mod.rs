//! Learning the parts of a multigrid cycle that keep it linear, symmetric and positive definite, so that plain conjugate
//! gradients stay valid.
//!
//! [`CycleTrainer`] minimises what a user pays for: the mean over random scenes of `log10 ||r_k|| / ||r_0||` after `k` iterations of the
//! solver, over the numbers of a [`Cycle`]. There are a few dozen of them, so that an evolution strategy does without derivatives.

mod evolution;

use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use evolution::Evolution;

use super::multigrid::{Cycle, LevelCycle, MultigridPcg};
use super::operator::Solver;
use super::poisson::Poisson;
use super::random_scene::{Family, RandomScene, random_rhs};
use super::report::Options;
use super::smoother::Smoother;
use crate::error::{Error, Result};

/// Which numbers are learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parts {
    /// Weights of the sweeps, the same on all levels.
    Weights,
    /// Weights of the sweeps and factors of the coarse corrections, for the finest level, the next, and the others.
    Levels,
    /// These, and what depends on the boundaries: see [`LevelCycle`].
    #[default]
    Boundaries,
}

/// Options of a [`CycleTrainer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CycleOptions {
    /// What is learned.
    pub parts: Parts,
    /// Sweeps of the smoother.
    pub sweeps: usize,
    /// Kind of the scenes.
    pub family: Family,
    /// Cells along each axis, the sizes taken in turn.
    pub sizes: Vec<usize>,
    /// Scenes of the training, and as many others of the validation.
    pub scenes: usize,
    /// Iterations after which the residual is judged.
    pub iterations: usize,
    /// First length of the steps of the evolution strategy.
    pub spread: f64,
}

impl Default for CycleOptions {
    fn default() -> Self {
        Self {
            parts: Parts::Boundaries,
            sweeps: 4,
            family: Family::Surface,
            sizes: vec![32],
            scenes: 16,
            iterations: 5,
            spread: 0.08,
        }
    }
}

/// A cycle in training.
pub struct CycleTrainer {
    options: CycleOptions,
    evolution: Evolution,
    start: Vec<f64>,
    train: Vec<Sample>,
    valid: Vec<Sample>,
    pool: rayon::ThreadPool,
}

struct Sample {
    problem: Arc<Poisson>,
    b: Vec<f64>,
}

/// Numbers of a level besides the weights.
const LEVEL: usize = 6;

impl CycleTrainer {
    /// A cycle that begins as the default one (or, with other than four sweeps, with optimised Chebyshev polynomials of the fourth
    /// kind), and its scenes.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] that names what is out of range.
    pub fn new(options: &CycleOptions, seed: u64, threads: usize) -> Result<Self> {
        for (name, value) in
            [("scenes", options.scenes), ("iterations", options.iterations), ("sizes", options.sizes.len())]
        {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        let smoother = match options.sweeps {
            4 => Cycle::default().level(0).smoother.clone(),
            sweeps => Smoother::fourth_kind_optimised(sweeps)?,
        };
        let weights: Vec<f64> = smoother.weights().iter().map(|&w| f64::from(w).ln()).collect();
        let start = match options.parts {
            Parts::Weights => weights,
            Parts::Levels | Parts::Boundaries => {
                let mut level = weights;
                level.extend([0.0; LEVEL]);
                level.repeat(3)
            }
        };
        let draw = |first: u64| -> Result<Vec<Sample>> {
            (0..options.scenes)
                .map(|k| {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream(first + k as u64);
                    let n = options.sizes[k % options.sizes.len()];
                    let problem = Arc::new(RandomScene::draw(options.family, &mut rng).problem(&[n; 3])?);
                    let b = random_rhs(&problem, if k % 2 == 0 { 2 } else { 0 }, &mut rng);
                    Ok(Sample { problem, b })
                })
                .collect()
        };
        let refuse = |e| Error::parameter("threads", threads, format!("must be available: {e}"));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build().map_err(refuse)?;
        let (train, valid) = (draw(0)?, draw(1 << 40)?);
        let evolution = Evolution::new(&vec![0.0; start.len()], options.spread, seed)?;
        Ok(Self { options: options.clone(), evolution, start, train, valid, pool })
    }

    /// One generation; returns the least mean `log10` of a residual for an iteration among its candidates.
    pub fn step(&mut self) -> f64 {
        let candidates = self.evolution.ask();
        let score = |candidate: &Vec<f64>| match self.cycle(candidate) {
            Ok(cycle) => self.score(&cycle, &self.train),
            Err(_) => f64::INFINITY,
        };
        let scores: Vec<f64> = self.pool.install(|| candidates.par_iter().map(score).collect());
        self.evolution.tell(&candidates, &scores);
        scores.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The cycle in the middle of the population.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if it is not valid, as the mean of valid ones may be in the first generations.
    pub fn best(&self) -> Result<Cycle> {
        self.cycle(&self.evolution.mean())
    }

    /// Mean `log10` of the residual for an iteration on scenes that are not trained on.
    pub fn validate(&self, cycle: &Cycle) -> f64 {
        self.score(cycle, &self.valid)
    }

    /// The state of the search.
    pub fn evolution(&mut self) -> &mut Evolution {
        &mut self.evolution
    }

    /// The state of the search, to save.
    pub fn state(&self) -> Vec<f64> {
        self.evolution.state()
    }

    /// From `start + delta` to a cycle.
    fn cycle(&self, delta: &[f64]) -> Result<Cycle> {
        let theta: Vec<f64> = self.start.iter().zip(delta).map(|(s, d)| s + d).collect();
        let n = self.options.sweeps;
        let smoother = |ln: &[f64]| Smoother::new(&ln.iter().map(|w| w.exp()).collect::<Vec<_>>());
        let level = |theta: &[f64]| -> Result<LevelCycle> {
            let mut level = LevelCycle::new(smoother(&theta[..n])?);
            let rest = &theta[n..];
            level.coarse_scale = rest[0].exp();
            if self.options.parts == Parts::Boundaries {
                level.smoother_boundary = [2.0 * rest[1], 2.0 * rest[2]];
                level.correction_boundary = [2.0 * rest[3], 2.0 * rest[4]];
                level.dirichlet = (2.0 * rest[5]).exp();
            }
            Ok(level)
        };
        match self.options.parts {
            Parts::Weights => Ok(Cycle::uniform(smoother(&theta)?)),
            Parts::Levels | Parts::Boundaries => {
                Ok(Cycle { levels: theta.chunks_exact(n + LEVEL).map(level).collect::<Result<_>>()? })
            }
        }
    }

    fn score(&self, cycle: &Cycle, samples: &[Sample]) -> f64 {
        let options = Options { relative: 1e-15, max_iterations: self.options.iterations, ..Options::default() };
        let orders = |sample: &Sample| -> f64 {
            let Ok(mut solver) = MultigridPcg::plan(&sample.problem, cycle, &options) else { return f64::INFINITY };
            let mut x = vec![0.0; sample.b.len()];
            let Ok(report) = solver.solve(&sample.b, &mut x) else { return f64::INFINITY };
            let last = report.history.last().copied().unwrap_or(1.0).max(1e-16);
            last.log10() / report.iterations.max(1) as f64
        };
        samples.iter().map(orders).sum::<f64>() / samples.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Multigrid, check_preconditioner};
    use super::*;

    #[test]
    fn a_few_generations_improve_a_poor_cycle_and_keep_it_symmetric() {
        let options = CycleOptions { sizes: vec![16], scenes: 4, iterations: 4, sweeps: 2, ..CycleOptions::default() };
        let mut trainer = CycleTrainer::new(&options, 0, 1).unwrap();
        let before = trainer.validate(&trainer.best().unwrap());
        for _ in 0..15 {
            trainer.step();
        }
        let cycle = trainer.best().unwrap();
        let after = trainer.validate(&cycle);
        assert!(after < before, "{before} to {after}");
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let problem = Arc::new(RandomScene::draw(Family::Surface, &mut rng).problem(&[16, 12, 20]).unwrap());
        let mut multigrid = Multigrid::plan(&problem, &cycle, 1, Options::default().isa).unwrap();
        check_preconditioner(&problem, &mut multigrid).unwrap();
    }

    #[test]
    fn the_number_of_threads_does_not_show() {
        let options = CycleOptions { sizes: vec![12], scenes: 2, iterations: 3, ..CycleOptions::default() };
        let run = |threads| {
            let mut trainer = CycleTrainer::new(&options, 7, threads).unwrap();
            for _ in 0..3 {
                trainer.step();
            }
            trainer.state()
        };
        assert_eq!(run(1), run(2));
    }
}
