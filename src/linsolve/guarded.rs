//! Conjugate directions from an untrusted source.
//!
//! The deep conjugate direction method (Kaneda et al., ICML 2023, PMLR 202) takes its search direction from a network that sees the
//! normalised residual, makes it `A`-orthogonal to the last two and steps to the minimum of the energy along it. As published it
//! converges only if the network is good: a zero gives NaN, noise stalls. Here a direction must earn its place.
//!
//! # Guarantee
//!
//! A step along `q` lowers the squared energy norm of the error by at least its gain `(q, r)^2 / (q, A q)`, since making `q`
//! orthogonal to kept directions, on which exact steps were made, changes `(q, r)` by nothing and lowers `(q, A q)`. With the
//! classical direction `g = M r` the gain is at least `4 k / (1 + k)^2` of that norm, `k` the condition number of `M A` (Kantorovich). A learned
//! direction is used only with at least `gamma` times the gain that `g` had when it was last measured, relative to
//! `||r||^2`; so every step contracts the error by a fixed factor, whatever the source returns. After three refusals the source is
//! left alone for 50 iterations, then for 100, 200, ...; meanwhile this is conjugate gradients with `M`.

use std::sync::Arc;
use std::time::Instant;

use super::krylov::{Start, begin, finish};
use super::operator::{Operator, Preconditioner, Solver, check_lengths, check_operator};
use super::pool::Pool;
use super::report::{Options, Progress, Report, Stop};
use super::vector::Vectors;
use crate::error::{Error, Result};

/// A source of search directions: a network, say.
pub trait Direction: Send {
    /// Name for reports.
    fn name(&self) -> &'static str;

    /// Writes a direction for the residual `r`, `||r|| = 1`. Sign and scale do not matter, and nothing that is written can
    /// do harm; `q` holds zeros before.
    fn direction(&mut self, r: &[f64], q: &mut [f64]);

    /// Bytes held.
    fn bytes(&self) -> usize {
        0
    }
}

/// How the guard judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Least part of the classical gain that a learned direction must bring, in `(0, 1)`.
    pub gamma: f64,
    /// Number of previous directions that a new one is made orthogonal to.
    pub kept: usize,
    /// Refusals in a row after which the source is left alone.
    pub strikes: usize,
    /// Iterations for which it is left alone the first time.
    pub back_off: usize,
    /// Also measures time, and drops a source that takes longer for an order of magnitude than the classical direction. The
    /// result then depends on the machine; without, it is the same bits everywhere.
    pub clock: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self { gamma: 1e-2, kept: 2, strikes: 3, back_off: 50, clock: false }
    }
}

/// A direction on which an exact step was made.
#[derive(Clone)]
struct Kept {
    p: Vec<f64>,
    ap: Vec<f64>,
    /// `(p, A p)`, zero if there is none.
    energy: f64,
}

/// Orders of magnitude and the seconds that they took.
#[derive(Default)]
struct Pace {
    orders: f64,
    seconds: f64,
}

/// The guarded loop.
pub struct Guarded<O, M, D> {
    operator: O,
    classical: M,
    source: D,
    guard: Guard,
    kept: Vec<Kept>,
    vectors: Vectors,
    r: Vec<f64>,
    g: Vec<f64>,
    q: Vec<f64>,
    ag: Vec<f64>,
    aq: Vec<f64>,
    options: Options,
    report: Report,
}

/// What is known of the source during a solve.
struct Trust {
    /// Refusals in a row.
    strikes: usize,
    /// First iteration at which it may be asked again.
    until: usize,
    /// Length of the next pause.
    pause: usize,
    /// Directions it was asked for.
    asked: usize,
    /// Gain of the classical direction over `||r||^2`, when last measured.
    classical_gain: f64,
    learned: Pace,
    classical: Pace,
}

impl<O: Operator, M: Preconditioner, D: Direction> Guarded<O, M, D> {
    /// Plans for an operator, with the classical preconditioner to fall back on and the source of directions.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for options or a guard out of range, and for operators that are not symmetric or not positive.
    pub fn new(operator: O, classical: M, source: D, guard: &Guard, options: &Options) -> Result<Self> {
        options.validate()?;
        if !(guard.gamma > 0.0 && guard.gamma < 1.0) {
            return Err(Error::parameter("gamma", guard.gamma, "must lie in (0, 1)"));
        }
        for (name, value) in [("kept", guard.kept), ("strikes", guard.strikes), ("back_off", guard.back_off)] {
            if value == 0 || value > 1000 {
                return Err(Error::parameter(name, value, "must be 1 to 1000"));
            }
        }
        check_operator(&operator)?;
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        let n = operator.len();
        let zeros = || vec![0.0; n];
        let mut report = Report::new("guarded directions", options.max_iterations);
        report.bytes = operator.bytes() + classical.bytes() + source.bytes() + 8 * n * (5 + 2 * guard.kept);
        Ok(Self {
            kept: vec![Kept { p: zeros(), ap: zeros(), energy: 0.0 }; guard.kept],
            vectors: Vectors::new(&pool, n),
            r: zeros(),
            g: zeros(),
            q: zeros(),
            ag: zeros(),
            aq: zeros(),
            options: options.clone(),
            report,
            guard: guard.clone(),
            operator,
            classical,
            source,
        })
    }

    /// The source of directions.
    pub fn source(&self) -> &D {
        &self.source
    }

    /// Asks the source and judges its answer: whether `q` and `A q` may be used. `norm` is `||r||`.
    fn learned_direction(&mut self, norm: f64, trust: &mut Trust) -> bool {
        let start = Instant::now();
        // `aq` holds the normalised residual until `A q` comes.
        self.aq.iter_mut().zip(&self.r).for_each(|(n, r)| *n = r / norm);
        self.q.fill(0.0);
        self.source.direction(&self.aq, &mut self.q);
        trust.asked += 1;
        self.operator.project(&mut self.q);
        let largest = self.q.iter().fold(0.0f64, |m, v| if v.is_nan() { f64::INFINITY } else { m.max(v.abs()) });
        if largest == 0.0 || !largest.is_finite() {
            self.report.directions.unusable += 1;
            return false;
        }
        // In two steps, as 1 / largest may overflow: huge outputs are allowed.
        self.q.iter_mut().for_each(|q| *q /= largest);
        self.operator.apply(&self.q, &mut self.aq);
        let (energy, overlap) = (self.vectors.dot(&self.q, &self.aq), self.vectors.dot(&self.q, &self.r));
        let gain = overlap * overlap / energy;
        let seconds = start.elapsed().as_secs_f64();
        // Measured at the answers 1, 2, 4, 8, ..., and whenever the last measurement would refuse.
        let floor = self.guard.gamma * trust.classical_gain * norm * norm;
        let mut is_good = energy > 0.0 && gain.is_finite() && gain > 0.0;
        if is_good && (trust.asked.is_power_of_two() || gain < floor) {
            let start = Instant::now();
            self.classical_direction();
            let (energy_g, overlap_g) = (self.vectors.dot(&self.g, &self.ag), self.vectors.dot(&self.g, &self.r));
            let gain_g = overlap_g * overlap_g / energy_g;
            if gain_g.is_finite() {
                trust.classical_gain = gain_g / (norm * norm);
                is_good = gain >= self.guard.gamma * gain_g;
            }
            if self.guard.clock {
                // Orders of magnitude of the residual that a single step along each would bring.
                let mut orders = |v: &[f64], overlap: f64, energy: f64| {
                    let alpha = overlap / energy;
                    let r2 = norm * norm - 2.0 * alpha * self.vectors.dot(&self.r, v)
                        + alpha * alpha * self.vectors.dot(v, v);
                    -0.5 * (r2 / (norm * norm)).max(1e-32).log10()
                };
                trust.learned.orders += orders(&self.aq, overlap, energy);
                trust.learned.seconds += seconds;
                trust.classical.orders += orders(&self.ag, overlap_g, energy_g);
                trust.classical.seconds += start.elapsed().as_secs_f64();
                let (l, c) = (&trust.learned, &trust.classical);
                if trust.asked >= 4 && l.orders * c.seconds < c.orders * l.seconds {
                    self.report.directions.too_slow = true;
                    trust.until = usize::MAX;
                }
            }
        }
        if is_good {
            self.report.directions.accepted += 1;
        } else {
            self.report.directions.rejected += 1;
        }
        is_good
    }

    /// `g = M r` and `A g`.
    fn classical_direction(&mut self) {
        self.classical.apply(&self.r, &mut self.g);
        self.operator.project(&mut self.g);
        self.operator.apply(&self.g, &mut self.ag);
    }

    /// Makes direction (`q` if learned, else `g`) orthogonal to the kept ones, and its image with it; puts both into the
    /// oldest place. Returns `(p, A p)` and `||p||^2`.
    fn orthogonalise(&mut self, is_learned: bool) -> (f64, f64) {
        let (p, ap) = if is_learned { (&mut self.q, &mut self.aq) } else { (&mut self.g, &mut self.ag) };
        for kept in self.kept.iter().filter(|kept| kept.energy > 0.0) {
            let c = self.vectors.dot(p, &kept.ap) / kept.energy;
            self.vectors.add(-c, &kept.p, p);
            self.vectors.add(-c, &kept.ap, ap);
        }
        (self.vectors.dot(p, ap), self.vectors.dot(p, p))
    }

    fn true_residual(&mut self, b: &[f64], x: &[f64]) -> f64 {
        self.operator.apply(x, &mut self.aq);
        self.r.copy_from_slice(b);
        self.vectors.add(-1.0, &self.aq, &mut self.r);
        self.operator.project(&mut self.r);
        self.vectors.dot(&self.r, &self.r).sqrt()
    }

    fn run(&mut self, b: &[f64], x: &mut [f64]) {
        let Some(Start { b_norm, target }) = begin(&self.operator, &self.options, &mut self.report, b, x, &mut self.r)
        else {
            return;
        };
        self.kept.iter_mut().for_each(|kept| kept.energy = 0.0);
        let mut norm = self.true_residual(b, x);
        self.report.history.push(norm / b_norm);
        let mut trust = Trust {
            strikes: 0,
            until: 0,
            pause: self.guard.back_off,
            asked: 0,
            classical_gain: 0.0,
            learned: Pace::default(),
            classical: Pace::default(),
        };
        let mut progress = Progress::new(norm);
        while norm > target && self.report.iterations < self.options.max_iterations {
            let k = self.report.iterations;
            let mut is_learned = false;
            if k >= trust.until {
                is_learned = self.learned_direction(norm, &mut trust);
                trust.strikes = if is_learned { 0 } else { trust.strikes + 1 };
                if trust.strikes >= self.guard.strikes {
                    // One refusal after the pause is enough for the next.
                    (trust.until, trust.strikes) = (k.saturating_add(trust.pause), self.guard.strikes - 1);
                    trust.pause = trust.pause.saturating_mul(2);
                }
            }
            if !is_learned {
                self.classical_direction();
            }
            let (mut energy, mut size) = self.orthogonalise(is_learned);
            if !energy.is_finite() || energy <= f64::EPSILON * f64::EPSILON * size {
                // The direction was nearly in the span of the kept ones: forget them and take the classical one.
                self.kept.iter_mut().for_each(|kept| kept.energy = 0.0);
                self.classical_direction();
                is_learned = false;
                (energy, size) = self.orthogonalise(false);
            }
            if !energy.is_finite() || !size.is_finite() || energy <= 0.0 {
                self.report.stop = match energy {
                    e if !e.is_finite() || !size.is_finite() => Stop::NotFinite,
                    _ if size == 0.0 => Stop::IndefinitePreconditioner,
                    _ => Stop::IndefiniteOperator,
                };
                break;
            }
            let (p, ap) = if is_learned { (&mut self.q, &mut self.aq) } else { (&mut self.g, &mut self.ag) };
            let alpha = self.vectors.dot(&self.r, p) / energy;
            norm = self.vectors.step(alpha, p, ap, x, &mut self.r).sqrt();
            // The oldest direction makes room; the new one goes last, so that orthogonalisation runs from old to new.
            self.kept.rotate_left(1);
            let newest = self.kept.last_mut().expect("at least one direction is kept");
            std::mem::swap(&mut newest.p, p);
            std::mem::swap(&mut newest.ap, ap);
            newest.energy = energy;
            self.report.iterations += 1;
            self.report.history.push(norm / b_norm);
            if self.report.iterations.is_multiple_of(25) || norm <= target {
                norm = self.true_residual(b, x);
            }
            if !norm.is_finite() {
                self.report.stop = Stop::NotFinite;
                break;
            }
            if progress.has_stalled(self.report.iterations, norm) {
                self.report.stop = Stop::Stagnated;
                break;
            }
        }
        self.operator.project(x);
        norm = self.true_residual(b, x);
        finish(&mut self.report, norm, b_norm, target);
    }
}

impl<O: Operator, M: Preconditioner, D: Direction> Solver for Guarded<O, M, D> {
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report> {
        check_lengths(self.operator.len(), b, x)?;
        let start = Instant::now();
        self.report.restart();
        self.run(b, x);
        self.report.solve_seconds = start.elapsed().as_secs_f64();
        Ok(&self.report)
    }
}
