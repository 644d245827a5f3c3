//! The linear least-squares problem of a step.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::super::vector;
use super::gram::Gram;
use super::options::{Factorization, GaussNewtonOptions, Phase, Scaling};
use super::problem::LeastSquares;
use super::qr::Qr;
use crate::autodiff::Workers;
use crate::error::{Error, Result};

/// Step of the differences along `d`, for the second derivative of the residuals.
const CURVE: f64 = 0.1;

/// `r` and a decomposition of `J` at one `theta`, and the steps of any damping.
///
/// In the dual phase everything is in scaled variables `D d`: `jacobian` is `J D^-1`, and so are `gradient` and `step` until
/// it is asked for.
pub(super) struct Linear {
    p: usize,
    phase: Phase,
    scaling: Scaling,
    workers: Workers<f64>,
    gram: Option<Gram>,
    /// `J` and `[J; sqrt(lambda) D]`.
    qr: Option<[Qr; 2]>,
    /// Some rows of `J` (all, in the dual phase).
    jacobian: Vec<f64>,
    rows: usize,
    r: Vec<f64>,
    /// `J^T r`.
    gradient: Vec<f64>,
    /// `D_j^2`, and the diagonal that damping adds to (ones, in the dual phase).
    square: Vec<f64>,
    damped: Vec<f64>,
    step: Vec<f64>,
    /// As long as `step` and as `r`.
    short: Vec<f64>,
    long: Vec<f64>,
    largest: f64,
    singular: bool,
    evaluations: usize,
}

impl Linear {
    pub fn new(p: usize, m: usize, options: &GaussNewtonOptions, threads: usize) -> Result<Self> {
        let dual = m < p && options.factorization != Factorization::Qr;
        let phase = match options.factorization {
            Factorization::Qr => Phase::Qr,
            _ if dual => Phase::Dual,
            _ => Phase::Gram,
        };
        let rows = options.rows.min(m);
        let qr = !dual && options.factorization != Factorization::Normal;
        let kept = if dual { m } else { rows };
        Ok(Self {
            p,
            phase,
            scaling: options.scaling,
            workers: Workers::new(threads)?,
            gram: (phase != Phase::Qr).then(|| Gram::new(m.min(p))),
            qr: qr.then(|| [Qr::new(p, rows), Qr::new(p, p)]),
            jacobian: vec![0.0; kept * p],
            rows,
            r: vec![0.0; m],
            gradient: vec![0.0; p],
            square: vec![1.0; p],
            damped: vec![1.0; if dual { m } else { p }],
            step: vec![0.0; p],
            short: vec![0.0; p],
            long: vec![0.0; m],
            largest: 0.0,
            singular: false,
            evaluations: 0,
        })
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Goes on with QR; false if that is so already, or is not planned.
    pub fn refine(&mut self) -> bool {
        let gains = self.phase == Phase::Gram && self.qr.is_some();
        if gains {
            self.phase = Phase::Qr;
        }
        gains
    }

    pub fn set_refined(&mut self, refined: bool) -> Result<()> {
        match (refined, self.phase) {
            (true, Phase::Qr) | (false, Phase::Gram | Phase::Dual) => {}
            (true, Phase::Gram) if self.qr.is_some() => self.phase = Phase::Qr,
            (false, Phase::Qr) if self.gram.is_some() => self.phase = Phase::Gram,
            _ => return Err(Error::parameter("refined", refined, "must be possible with this factorization")),
        }
        Ok(())
    }

    /// Largest diagonal entry of `D^-1 J^T J D^-1`.
    pub fn largest(&self) -> f64 {
        self.largest
    }

    /// The least damping that is above the rounding errors of the decomposition.
    pub fn floor(&self) -> f64 {
        let rounding = self.damped.len() as f64 * f64::EPSILON;
        let relative = if self.phase == Phase::Qr { f64::EPSILON * rounding } else { rounding };
        (relative * self.largest).max(f64::MIN_POSITIVE)
    }

    /// Whether a system since the last linearisation was singular to working precision.
    pub fn is_singular(&self) -> bool {
        self.singular
    }

    pub fn evaluations(&self) -> usize {
        self.evaluations
    }

    pub fn step(&self) -> &[f64] {
        &self.step
    }

    /// Residuals and Jacobian matrix at `theta`. Returns `|r|^2`.
    pub fn linearise(&mut self, problem: &mut impl LeastSquares, theta: &[f64], step: u64) -> Result<f64> {
        (self.singular, self.evaluations) = (false, 1);
        self.gradient.fill(0.0);
        self.short.fill(0.0);
        match self.phase {
            Phase::Gram => self.gram.iter_mut().for_each(Gram::clear),
            Phase::Qr => self.qr.iter_mut().for_each(|[undamped, _]| undamped.clear()),
            Phase::Dual => {}
        }
        let (p, m) = (self.p, self.r.len());
        for first in (0..m).step_by(self.rows) {
            let part = first..(first + self.rows).min(m);
            let at = if self.phase == Phase::Dual { first * p } else { 0 };
            let rows = &mut self.jacobian[at..][..part.len() * p];
            problem.rows(theta, part.clone(), &mut self.r[part.clone()], rows);
            match (self.phase, &mut self.gram, &mut self.qr) {
                (Phase::Gram, Some(gram), _) => {
                    gram.add(&self.workers, MatRef::from_column_major_slice(rows, p, part.len()));
                    add_product(rows, &self.r[part], &mut self.gradient);
                }
                (Phase::Qr, _, Some([qr, _])) => qr.absorb(&self.workers, rows, &self.r[part]),
                _ => rows.chunks_exact(p).for_each(|row| add_squares(&mut self.short, row)),
            }
        }
        match (self.phase, &self.gram, &self.qr) {
            (Phase::Gram, Some(gram), _) => gram.diagonal().zip(&mut self.short).for_each(|(x, to)| *to = x),
            (Phase::Qr, _, Some([qr, _])) => qr.columns().zip(&mut self.short).for_each(|(x, to)| *to = x),
            _ => {}
        }
        self.scale();
        if self.phase == Phase::Dual {
            self.outer();
        }
        let loss = vector::dot(&self.r, &self.r);
        let bad = |(what, value): (&str, f64)| {
            (!value.is_finite()).then(|| Error::NotFinite {
                what: what.into(),
                value,
                step,
                detail: "the residuals have no derivative there".into(),
            })
        };
        match [("the sum of squared residuals", loss), ("a column of the Jacobian matrix", self.largest)]
            .into_iter()
            .find_map(bad)
        {
            Some(error) => Err(error),
            None => Ok(loss),
        }
    }

    /// `D` from the squared lengths of columns in `short`.
    fn scale(&mut self) {
        // A maximum that lets NaN through.
        let most = self.short.iter().fold(0.0, |most: f64, &x| if x <= most { most } else { x });
        self.largest = most;
        if self.scaling == Scaling::Columns && most > 0.0 && most.is_finite() {
            for (square, &x) in self.square.iter_mut().zip(&self.short) {
                *square = x.max(f64::EPSILON * most);
            }
            self.largest = 1.0;
        }
        if self.phase != Phase::Dual {
            self.damped.copy_from_slice(&self.square);
        }
    }

    /// `J D^-1`, its Gram matrix over residuals, and the gradient.
    fn outer(&mut self) {
        let (p, m) = (self.p, self.r.len());
        if self.scaling == Scaling::Columns {
            for row in self.jacobian.chunks_exact_mut(p) {
                row.iter_mut().zip(&self.square).for_each(|(x, s)| *x /= s.sqrt());
            }
        }
        add_product(&self.jacobian, &self.r, &mut self.gradient);
        if let Some(gram) = &mut self.gram {
            gram.clear();
            gram.add(&self.workers, MatRef::from_row_major_slice(&self.jacobian, m, p));
        }
    }

    /// The step of damping `lambda`, its length `|D d|`, and the reduction `|r|^2 - |r + J d|^2` that it promises. `None` if
    /// the matrix is not definite.
    pub fn solve(&mut self, lambda: f64) -> Option<(f64, f64)> {
        let solved = match (self.phase, &mut self.gram, &mut self.qr) {
            (Phase::Qr, _, Some([undamped, damped])) => {
                damped.copy_from(undamped);
                damped.absorb_diagonal(&self.workers, self.damped.iter().map(|s| (lambda * s).sqrt()));
                let (least, most) = damped.pivots();
                self.singular |= least <= self.p as f64 * f64::EPSILON * most;
                damped.solve(&mut self.step);
                least > 0.0
            }
            (_, Some(gram), _) => {
                let factored = gram.factor(lambda, &self.damped);
                if self.phase == Phase::Gram {
                    self.step.copy_from_slice(&self.gradient);
                    if factored {
                        gram.solve(&mut self.step);
                    }
                } else if factored {
                    self.long.copy_from_slice(&self.r);
                    gram.solve(&mut self.long);
                    self.step.fill(0.0);
                    add_product(&self.jacobian, &self.long, &mut self.step);
                }
                factored
            }
            _ => false,
        };
        if !solved {
            self.singular = true;
            return None;
        }
        vector::scale(&mut self.step, -1.0);
        let radius = self.length();
        // |r|^2 - |r + J d|^2 = -r.J d + lambda |D d|^2 = |J d|^2 + 2 lambda |D d|^2.
        let predicted = if let (Phase::Qr, Some([qr, _])) = (self.phase, &self.qr) {
            qr.multiply(&self.step, &mut self.short);
            vector::dot(&self.short, &self.short) + 2.0 * lambda * radius * radius
        } else {
            lambda * radius * radius - vector::dot(&self.gradient, &self.step)
        };
        self.unscale();
        Some((radius, predicted))
    }

    /// `|D d|` of the step as it was solved for.
    fn length(&self) -> f64 {
        if self.phase == Phase::Dual {
            return vector::dot(&self.step, &self.step).sqrt();
        }
        self.step.iter().zip(&self.square).map(|(d, s)| d * d * s).sum::<f64>().sqrt()
    }

    /// From `D d` to `d`.
    fn unscale(&mut self) {
        if self.phase == Phase::Dual && self.scaling == Scaling::Columns {
            self.step.iter_mut().zip(&self.square).for_each(|(d, s)| *d /= s.sqrt());
        }
    }

    /// `|r|^2` at another `theta`.
    pub fn loss(&mut self, problem: &mut impl LeastSquares, theta: &[f64], r: &mut [f64]) -> f64 {
        self.evaluations += 1;
        problem.residual(theta, r);
        vector::dot(r, r)
    }

    /// Replaces the step `d` that led to `theta` by its second-order correction
    ///
    /// ```text
    /// -(1/2) (J^T J + lambda D^2)^-1 J^T r_dd,   r_dd = (r(base + h d) - 2 r(base) + r(base - h d)) / h^2
    /// ```
    ///
    /// and returns its length; `None` if a residual is not finite. `trial` and `trial_r` are scratch.
    pub fn curve(
        &mut self,
        problem: &mut impl LeastSquares,
        theta: &[f64],
        trial: &mut [f64],
        trial_r: &mut [f64],
    ) -> Option<f64> {
        let p = self.p;
        let base = |at: f64, trial: &mut [f64], step: &[f64]| {
            trial.iter_mut().zip(theta).zip(step).for_each(|((t, theta), d)| *t = theta + (at - 1.0) * d);
        };
        base(CURVE, trial, &self.step);
        problem.residual(trial, trial_r);
        base(-CURVE, trial, &self.step);
        problem.residual(trial, &mut self.long);
        self.evaluations += 2;
        for ((second, plus), r) in self.long.iter_mut().zip(&*trial_r).zip(&self.r) {
            *second = (*second + plus - 2.0 * r) / (CURVE * CURVE);
        }
        if !vector::dot(&self.long, &self.long).is_finite() {
            return None;
        }
        if self.phase == Phase::Dual {
            self.gram.as_ref()?.solve(&mut self.long);
            self.step.fill(0.0);
            add_product(&self.jacobian, &self.long, &mut self.step);
        } else {
            base(0.0, trial, &self.step);
            self.step.fill(0.0);
            for first in (0..self.r.len()).step_by(self.rows) {
                let part: Range<usize> = first..(first + self.rows).min(self.r.len());
                let rows = &mut self.jacobian[..part.len() * p];
                problem.rows(trial, part.clone(), &mut trial_r[part.clone()], rows);
                add_product(rows, &self.long[part], &mut self.step);
            }
            match (self.phase, &self.gram, &self.qr) {
                (Phase::Qr, _, Some([_, damped])) => damped.solve_normal(&mut self.step),
                (_, Some(gram), _) => gram.solve(&mut self.step),
                _ => return None,
            }
        }
        vector::scale(&mut self.step, -0.5);
        let length = self.length();
        self.unscale();
        Some(length)
    }
}

/// `y += rows^T x`.
fn add_product(rows: &[f64], x: &[f64], y: &mut [f64]) {
    let (m, p) = (x.len(), y.len());
    let rows = MatRef::from_column_major_slice(rows, p, m);
    let (x, y) = (MatRef::from_column_major_slice(x, m, 1), MatMut::from_column_major_slice_mut(y, p, 1));
    matmul(y, Accum::Add, rows, x, 1.0, Par::Seq);
}

fn add_squares(sums: &mut [f64], row: &[f64]) {
    sums.iter_mut().zip(row).for_each(|(s, x)| *s += x * x);
}
