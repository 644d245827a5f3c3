//! The Gauss-Newton method for nonlinear least squares, damped after Levenberg and Marquardt.

mod gram;
mod linear;
mod options;
mod problem;
mod qr;
mod ratio;
#[cfg(test)]
mod tests;

pub use options::{Damping, Factorization, GaussNewtonOptions, Phase, Scaling, StepReport};
pub use problem::LeastSquares;

use linear::Linear;
use options::MAX_PROBES;
use ratio::{Probe, crossing};

use super::tensor::Reader;
use super::{NamedTensor, Stateful};
use crate::error::{Error, Result};

/// Ratio of dampings from one probe to the next; squared after three moves in the same direction, and so on.
const MOVE: f64 = 2.5;

/// Steps over which the trend of the damping is taken, and before which it is not asked for.
const TREND: usize = 30;
const EARLY: u64 = 80;

/// Minimises `|r(theta)|^2` by steps
///
/// ```text
/// d = argmin |J d + r|^2 + lambda |D d|^2,   J_ij = d r_i / d theta_j.
/// ```
///
/// The Jacobian matrix is taken in tiles of rows and never stored, unless it is flat. A step costs `m p^2` (normal equations) or
/// `2 m p^2` operations (QR) and a factorisation of `p^3 / 3` (`2 p^3 / 3`) for each damping tried; memory is `2 p^2` numbers, and
/// `5 p^2` for QR. All is allocated at the start.
///
/// A singular system is not an error: the damping stays above the floor of the decomposition's rounding, and the report
/// tells ([`StepReport::regularised`]). Results are the same bits for any number of threads.
///
/// # Source
///
/// Nocedal & Wright, *Numerical Optimization*, 2nd ed., 10.3; see [`Damping`] for the damping.
///
/// # Example
///
/// Rosenbrock's function, `100 (y - x^2)^2 + (1 - x)^2`:
///
/// ```
/// use parseval::optim::{GaussNewton, GaussNewtonOptions, LeastSquares};
///
/// struct Rosenbrock;
///
/// impl LeastSquares for Rosenbrock {
///     fn parameters(&self) -> usize {
///         2
///     }
///     fn residuals(&self) -> usize {
///         2
///     }
///     fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
///         r.copy_from_slice(&[10.0 * (theta[1] - theta[0] * theta[0]), 1.0 - theta[0]]);
///     }
///     fn rows(&mut self, theta: &[f64], rows: std::ops::Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
///         let mut all = [0.0; 2];
///         self.residual(theta, &mut all);
///         let all_rows = [[-20.0 * theta[0], 10.0], [-1.0, 0.0]];
///         for (i, row) in rows.zip(jacobian.chunks_exact_mut(2)) {
///             r[i] = all[i];
///             row.copy_from_slice(&all_rows[i]);
///         }
///     }
/// }
///
/// let mut theta = [-1.2, 1.0];
/// let mut method = GaussNewton::new(2, 2, GaussNewtonOptions::default(), 1)?;
/// while method.step(&mut Rosenbrock, &mut theta)?.loss > 1e-20 {}
/// assert!((theta[0] - 1.0).abs() < 1e-9 && (theta[1] - 1.0).abs() < 1e-9);
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct GaussNewton {
    options: GaussNewtonOptions,
    linear: Linear,
    /// `theta + d`, and its residuals.
    trial: Vec<f64>,
    trial_r: Vec<f64>,
    probes: Vec<Probe>,
    /// The next damping; 0 before the first step.
    lambda: f64,
    /// Nielsen's factor.
    nu: f64,
    steps: u64,
    /// Steps in a row that hardly reduced the loss.
    slow: u64,
    /// Whether the late target holds.
    late: bool,
    /// `log10 lambda` of the last accepted steps, oldest first, padded with zeros.
    trend: [f64; TREND],
}

impl GaussNewton {
    /// A method for problems of `p` parameters and `m` residuals on so many threads.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a size is zero, a constant out of range, or the threads are refused.
    pub fn new(p: usize, m: usize, options: GaussNewtonOptions, threads: usize) -> Result<Self> {
        options.validate()?;
        for (name, size) in [("parameters", p), ("residuals", m)] {
            if size == 0 {
                return Err(Error::parameter(name, size, "must be >= 1"));
            }
        }
        Ok(Self {
            options,
            linear: Linear::new(p, m, &options, threads)?,
            trial: vec![0.0; p],
            trial_r: vec![0.0; m],
            probes: Vec::with_capacity(MAX_PROBES),
            lambda: 0.0,
            nu: 2.0,
            steps: 0,
            slow: 0,
            late: false,
            trend: [0.0; TREND],
        })
    }

    /// The decomposition of the next step.
    pub fn phase(&self) -> Phase {
        self.linear.phase()
    }

    /// One step from `theta`, in place. The parameters change only if the loss falls.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the problem or `theta` has another size than the method, [`Error::NotFinite`] if a residual or
    /// the Jacobian matrix at `theta` is not finite. (Trials that are not finite only shorten the step.)
    pub fn step(&mut self, problem: &mut impl LeastSquares, theta: &mut [f64]) -> Result<StepReport> {
        let (p, m) = (self.trial.len(), self.trial_r.len());
        for (what, expected, got) in [
            ("theta", p, theta.len()),
            ("parameters of the problem", p, problem.parameters()),
            ("residuals of the problem", m, problem.residuals()),
        ] {
            if expected != got {
                return Err(Error::shape(what, &[expected], &[got]));
            }
        }
        let before = self.linear.linearise(problem, theta, self.steps + 1)?;
        if self.steps == 0 {
            self.lambda = self.options.first_damping * self.linear.largest();
        }
        self.lambda = self.lambda.max(self.linear.floor());
        self.probes.clear();
        let phase = self.linear.phase();
        let taken = match self.options.damping {
            _ if before == 0.0 => None,
            Damping::Nielsen => self.nielsen(problem, theta, before),
            Damping::Ratio { target, late_target } => {
                self.by_ratio(problem, theta, before, if self.late { late_target } else { target })
            }
        };
        let mut loss = taken.map_or(before, |probe| probe.loss);
        if let Some(probe) = taken {
            theta.copy_from_slice(&self.trial);
            if self.options.geodesic {
                loss = self.accelerate(problem, theta, probe);
            }
        }
        self.learn(taken, before, loss);
        let Probe { lambda, radius, rho, .. } = taken.or(self.probes.last().copied()).unwrap_or(Probe {
            lambda: self.lambda,
            radius: 0.0,
            loss: before,
            rho: 0.0,
        });
        Ok(StepReport {
            before,
            loss,
            lambda,
            rho,
            radius,
            accepted: taken.is_some(),
            phase,
            regularised: self.linear.is_singular(),
            evaluations: self.linear.evaluations(),
        })
    }

    /// The step of damping `lambda`, left in `trial`. `None` if the matrix is not definite.
    fn attempt(&mut self, problem: &mut impl LeastSquares, theta: &[f64], before: f64, lambda: f64) -> Option<Probe> {
        let (radius, predicted) = self.linear.solve(lambda)?;
        for ((trial, theta), d) in self.trial.iter_mut().zip(theta).zip(self.linear.step()) {
            *trial = theta + d;
        }
        let loss = self.linear.loss(problem, &self.trial, &mut self.trial_r);
        let loss = if loss.is_finite() { loss } else { f64::INFINITY };
        let rho = if predicted > 0.0 { (before - loss) / predicted } else { f64::NEG_INFINITY };
        let probe = Probe { lambda, radius, loss, rho };
        self.probes.push(probe);
        Some(probe)
    }

    /// Raises the damping until the loss falls. If it never does, as at round-off, the damping stays where it was.
    fn nielsen(&mut self, problem: &mut impl LeastSquares, theta: &[f64], before: f64) -> Option<Probe> {
        let start = (self.lambda, self.nu);
        for _ in 0..self.options.max_probes {
            let probe = self.attempt(problem, theta, before, self.lambda);
            if let Some(probe) = probe.filter(|probe| probe.rho > 0.0) {
                self.lambda *= (1.0 - (2.0 * probe.rho - 1.0).powi(3)).max(0.2);
                self.nu = 2.0;
                return Some(probe);
            }
            self.lambda *= self.nu;
            self.nu *= 2.0;
        }
        (self.lambda, self.nu) = start;
        None
    }

    /// Walks from the last damping towards the target until the ratio crosses it, and takes the step there.
    fn by_ratio(&mut self, problem: &mut impl LeastSquares, theta: &[f64], before: f64, target: f64) -> Option<Probe> {
        let (mut lambda, floor, max) = (self.lambda, self.linear.floor(), self.options.max_probes);
        let mut start = self.attempt(problem, theta, before, lambda);
        for _ in 0..max {
            if start.is_some() {
                break;
            }
            lambda *= 10.0;
            start = self.attempt(problem, theta, before, lambda);
        }
        let trusted = start?.rho >= target;
        for moves in 0..max - 1 {
            if trusted && lambda <= floor {
                break;
            }
            let factor = MOVE.powi(1 << (moves / 3).min(6));
            lambda = if trusted { (lambda / factor).max(floor) } else { lambda * factor };
            match self.attempt(problem, theta, before, lambda) {
                Some(probe) if (probe.rho >= target) == trusted => {}
                _ => break,
            }
        }
        let least = self.probes.last()?.lambda;
        // Where the first step was the best of all, a shorter one may be better still.
        let is_lowest = |probes: &[Probe], at: usize| probes.iter().all(|probe| probes[at].loss <= probe.loss);
        let mut best = 0;
        while trusted && is_lowest(&self.probes, best) && self.probes.len() < max {
            lambda = self.probes[best].lambda * MOVE;
            if self.attempt(problem, theta, before, lambda).is_none() {
                break;
            }
            best = self.probes.len() - 1;
        }
        let last = self.probes.last().copied();
        let lowest = self.probes.iter().copied().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
        let wanted = match crossing(&mut self.probes, target) {
            Some(lambda) => lambda.max(floor),
            None if trusted => least,
            None => lowest.lambda,
        };
        let mut taken = self.again(problem, theta, before, last, wanted);
        // A long step is worth some of the reduction, not most of it.
        if taken.is_none_or(|probe| !(probe.rho > 0.0 && probe.loss <= 2.0 * lowest.loss)) {
            taken = self.again(problem, theta, before, taken, lowest.lambda);
        }
        self.lambda = taken.map_or(wanted, |probe| probe.lambda);
        taken.filter(|probe| probe.rho > 0.0)
    }

    /// The step of a damping that may be the one of the last attempt.
    fn again(
        &mut self,
        problem: &mut impl LeastSquares,
        theta: &[f64],
        before: f64,
        last: Option<Probe>,
        lambda: f64,
    ) -> Option<Probe> {
        last.filter(|probe| probe.lambda == lambda).or_else(|| self.attempt(problem, theta, before, lambda))
    }

    /// Adds the second-order correction to the step that led to `theta`, if it is short and helps. Returns the loss.
    fn accelerate(&mut self, problem: &mut impl LeastSquares, theta: &mut [f64], probe: Probe) -> f64 {
        let Some(radius) = self.linear.curve(problem, theta, &mut self.trial, &mut self.trial_r) else {
            return probe.loss;
        };
        if 2.0 * radius <= 0.75 * probe.radius {
            for ((trial, theta), d) in self.trial.iter_mut().zip(&*theta).zip(self.linear.step()) {
                *trial = theta + d;
            }
            let loss = self.linear.loss(problem, &self.trial, &mut self.trial_r);
            if loss < probe.loss {
                theta.copy_from_slice(&self.trial);
                return loss;
            }
        }
        probe.loss
    }

    /// Changes the decomposition and the target, if it is time.
    fn learn(&mut self, taken: Option<Probe>, before: f64, loss: f64) {
        self.steps += 1;
        self.slow = if before - loss < 1e-3 * before { self.slow + 1 } else { 0 };
        let at_floor = taken.is_some_and(|probe| probe.lambda <= self.linear.floor());
        let stuck = self.slow >= 3 || at_floor || self.linear.is_singular();
        if stuck && self.options.factorization == Factorization::Auto && self.linear.refine() {
            self.slow = 0;
        }
        if let Some(probe) = taken {
            self.trend.rotate_left(1);
            self.trend[TREND - 1] = probe.lambda.log10();
            self.late |= self.steps >= EARLY && slope(&self.trend) > 0.0;
        }
    }
}

/// The sign of the slope of a line through equidistant values, by least squares.
fn slope(y: &[f64]) -> f64 {
    let middle = (y.len() - 1) as f64 / 2.0;
    y.iter().enumerate().map(|(i, y)| (i as f64 - middle) * y).sum()
}

impl Stateful for GaussNewton {
    fn state(&self) -> Vec<NamedTensor> {
        vec![
            NamedTensor::new("damping", &[2], [self.lambda, self.nu]),
            NamedTensor::new("trend", &[TREND], self.trend),
            NamedTensor::count("steps", self.steps),
            NamedTensor::count("slow", self.slow),
            NamedTensor::count("late", u64::from(self.late)),
            NamedTensor::count("refined", u64::from(self.phase() == Phase::Qr)),
        ]
    }

    fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let mut reader = Reader::new(state);
        let damping = reader.take::<f64>("damping", &[2])?;
        let trend = reader.take::<f64>("trend", &[TREND])?;
        let [steps, slow, late, refined] = ["steps", "slow", "late", "refined"].map(|name| reader.take_count(name));
        let (steps, slow, late, refined) = (steps?, slow?, late?, refined?);
        reader.finish()?;
        self.linear.set_refined(refined != 0)?;
        (self.lambda, self.nu) = (damping[0], damping[1]);
        self.trend.copy_from_slice(&trend);
        (self.steps, self.slow, self.late) = (steps, slow, late != 0);
        Ok(())
    }
}
