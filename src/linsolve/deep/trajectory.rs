//! Residuals as the solver itself meets them.
//!
//! A trajectory is a solve in progress: a scene, the residual, and the last two directions. Each training step evaluates the network on
//! residuals of some trajectories anyway, and these answers then advance them, so that the right distribution of residuals costs no evaluation.
//! After its last step a trajectory begins again on another scene.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::operator::Operator;
use super::super::poisson::Poisson;
use super::super::random_scene::{Family, RandomScene, random_rhs};
use crate::error::Result;

/// Part of the residual that a step must not leave.
const STUCK: f64 = 0.99;

/// A solve in progress.
pub(super) struct Trajectory {
    /// Number of the scene, from which it can be made again.
    pub scene: u64,
    /// Steps made and to be made.
    pub steps: [u64; 2],
    pub problem: Arc<Poisson>,
    /// The residual, of unit norm.
    pub r: Vec<f64>,
    /// The last two directions with their images, the older first; energies, zero if there is none.
    pub kept: [(Vec<f64>, Vec<f64>); 2],
    pub energies: [f64; 2],
}

/// What trajectories are drawn from.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub seed: u64,
    pub family: Family,
    /// Cells along each axis.
    pub cells: usize,
    /// Most steps of a trajectory.
    pub longest: u64,
}

impl Recipe {
    /// Problem number `scene`, and the random numbers that follow it.
    pub fn problem(&self, scene: u64) -> Result<(Arc<Poisson>, ChaCha8Rng)> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(scene);
        let n = self.cells;
        loop {
            let problem = RandomScene::draw(self.family, &mut rng).problem(&[n; 3])?;
            // A scene that is all solid has nothing to learn from.
            if problem.unknowns() > n {
                return Ok((Arc::new(problem), rng));
            }
        }
    }

    /// Trajectory number `scene` at its start.
    pub fn begin(&self, scene: u64) -> Result<Trajectory> {
        let (problem, mut rng) = self.problem(scene)?;
        let r = random_rhs(&problem, (scene % 3) as usize, &mut rng);
        let zeros = || vec![0.0; r.len()];
        Ok(Trajectory {
            scene,
            steps: [0, rng.random_range(1..=self.longest)],
            kept: [(zeros(), zeros()), (zeros(), zeros())],
            energies: [0.0; 2],
            problem,
            r,
        })
    }
}

impl Trajectory {
    pub fn is_over(&self) -> bool {
        self.steps[0] >= self.steps[1]
    }

    /// The step of the published loop along `q`; ends the trajectory if it cannot be made.
    pub fn advance(&mut self, q: &[f32]) {
        let mut p: Vec<f64> = q.iter().map(|&q| f64::from(q)).collect();
        self.problem.project(&mut p);
        let coefficients =
            [0, 1].map(|j| if self.energies[j] > 0.0 { dot(&p, &self.kept[j].1) / self.energies[j] } else { 0.0 });
        for ((kept, _), c) in self.kept.iter().zip(coefficients) {
            p.iter_mut().zip(kept).for_each(|(p, k)| *p -= c * k);
        }
        let mut ap = vec![0.0; p.len()];
        self.problem.apply(&p, &mut ap);
        let energy = dot(&p, &ap);
        let alpha = dot(&p, &self.r) / energy;
        self.r.iter_mut().zip(&ap).for_each(|(r, ap)| *r -= alpha * ap);
        let norm = dot(&self.r, &self.r).sqrt();
        self.steps[0] += 1;
        // After a step that gains nothing the next residual would be the same again.
        if !(norm > 1e-12 && norm < STUCK && energy > 0.0) {
            self.steps[0] = self.steps[1];
            return;
        }
        self.r.iter_mut().for_each(|r| *r /= norm);
        self.kept.swap(0, 1);
        self.energies.swap(0, 1);
        (self.kept[1], self.energies[1]) = ((p, ap), energy);
    }
}

pub(super) fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
