//! Accuracy per cost: the error at a fixed time against the time of the run, for a sequence of steps.

use std::f64::consts::TAU;

use anyhow::Result;
use serde::Serialize;

use crate::cases::{Case, Equation, Task};
use crate::measure::{Rival, Setup, distance, measure, median, plan};
use crate::peer::Peer;

/// One equation to a fixed end with ever smaller steps.
#[derive(Clone, Copy)]
pub struct Problem {
    pub equation: Equation,
    n: usize,
    length: f64,
    t_end: f64,
    /// Steps of the coarsest run; each further one takes twice as many.
    steps: usize,
}

/// Runs of each problem.
const LEVELS: usize = 5;

/// The reference takes this many times the steps of the finest run: its error is 4096 times smaller.
const FINER: usize = 8;

pub const PROBLEMS: [Problem; 3] = [
    Problem { equation: Equation::Ks, n: 256, length: 60.0, t_end: 10.0, steps: 50 },
    Problem { equation: Equation::Kdv, n: 512, length: 20.0, t_end: 0.4, steps: 200 },
    Problem { equation: Equation::Ns2d, n: 64, length: TAU, t_end: 1.0, steps: 25 },
];

/// Ours first, then the orders of exponax.
pub const METHODS: [&str; 3] = ["ours, ETDRK4", "exponax, ETDRK4", "exponax, ETDRK2"];

/// One method at one step.
#[derive(Clone, Copy, Serialize)]
pub struct Point {
    /// Relative L2 distance from the reference.
    pub error: f64,
    /// Observed order, from the run with twice this step.
    pub order: Option<f64>,
    pub wall_ms: f64,
    pub cpu_ms: f64,
}

/// All methods at one step.
#[derive(Serialize)]
pub struct Level {
    pub equation: &'static str,
    pub dt: f64,
    /// As [`METHODS`]; none where the peer refused.
    pub points: Vec<Option<Point>>,
}

impl Problem {
    /// What `--only` is compared with.
    pub fn label(&self) -> String {
        format!("accuracy {}", self.equation.name())
    }

    fn case(&self, steps: usize) -> Case {
        let dt = self.t_end / steps as f64;
        Case { equation: self.equation, task: Task::Advance, n: self.n, length: self.length, batch: 1, dt, steps }
    }

    /// Measures all levels in `f64`; `exponax` is the index of its server. Also gives the estimated error of the
    /// reference, by its distance from a run with twice its step.
    pub fn run(&self, setup: &Setup, peers: &mut [Peer], exponax: usize) -> Result<(Vec<Level>, f64)> {
        let finest = self.steps << (LEVELS - 1);
        let reference = self.solve(FINER * finest, setup)?;
        // Order 4: the distance is 15 times the error of the finer run.
        let reference_error = distance(&self.solve(FINER * finest / 2, setup)?, &reference) / 15.0;

        let rivals = [4, 2].map(|order| Rival { peer: exponax, order });
        let mut levels: Vec<Level> = Vec::new();
        for level in 0..LEVELS {
            let case = self.case(self.steps << level);
            let measured = measure(&case, setup, peers, &rivals)?;
            let sides = std::iter::once(Some(&measured.ours)).chain(measured.rivals.iter().map(Option::as_ref));
            let points = sides.enumerate().map(|(method, side)| {
                let side = side?;
                let error = distance(&side.result, &reference);
                let coarser = levels.last().and_then(|l| l.points[method]);
                let ms = |us_per_step: &[f64]| 1e-3 * case.steps as f64 * median(us_per_step);
                Some(Point {
                    error,
                    order: coarser.map(|c| (c.error / error).log2()).filter(|order| order.is_finite()),
                    wall_ms: ms(&side.wall_us_per_step),
                    cpu_ms: ms(&side.cpu_us_per_step),
                })
            });
            let points = points.collect();
            levels.push(Level { equation: self.equation.name(), dt: case.dt, points });
        }
        Ok((levels, reference_error))
    }

    fn solve(&self, steps: usize, setup: &Setup) -> Result<ndarray::ArrayD<f64>> {
        let case = self.case(steps);
        let mut run = plan(&case, &case.initial()?, setup)?;
        run.run()?;
        Ok(run.result())
    }
}
