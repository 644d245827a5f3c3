//! The loop as released, without a guard.
//!
//! ```text
//! q = f(r / ||r||);  p = q - sum over the last two of (q, A p_j) / (p_j, A p_j) p_j
//! alpha = (p, r) / (p, A p);  x += alpha p;  r = b - A x
//! ```
//!
//! with both coefficients from the direction before it is made orthogonal. A network that returns zero gives NaN, one that returns noise
//! stalls; [`super::super::Guarded`] is for use, this is to compare with.

use std::time::Instant;

use super::super::guarded::Direction;
use super::super::krylov::{Start, begin, finish};
use super::super::operator::{Operator, Solver, check_lengths};
use super::super::report::{Options, Progress, Report, Stop};
use crate::error::Result;

/// The published method with a source of directions.
pub struct Published<O, D> {
    operator: O,
    source: D,
    options: Options,
    report: Report,
    r: Vec<f64>,
    q: Vec<f64>,
    aq: Vec<f64>,
    /// The last two directions and their images, the older first.
    kept: [(Vec<f64>, Vec<f64>, f64); 2],
}

impl<O: Operator, D: Direction> Published<O, D> {
    /// Plans for an operator.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Parameter`] for options out of range.
    pub fn new(operator: O, source: D, options: &Options) -> Result<Self> {
        options.validate()?;
        let n = operator.len();
        let zeros = || vec![0.0; n];
        let mut report = Report::new("published deep conjugate directions", options.max_iterations);
        report.bytes = operator.bytes() + source.bytes() + 8 * 7 * n;
        let kept = std::array::from_fn(|_| (zeros(), zeros(), 0.0));
        Ok(Self { r: zeros(), q: zeros(), aq: zeros(), kept, options: options.clone(), report, operator, source })
    }

    fn run(&mut self, b: &[f64], x: &mut [f64]) {
        let Self { operator, source, options, report, r, q, aq, kept } = self;
        let Some(Start { b_norm, target }) = begin(operator, options, report, b, x, r) else {
            return;
        };
        let residual = |x: &[f64], r: &mut [f64], scratch: &mut [f64]| {
            operator.apply(x, scratch);
            r.iter_mut().zip(b).zip(scratch.iter()).for_each(|((r, b), ax)| *r = b - ax);
            operator.project(r);
            dot(r, r).sqrt()
        };
        let mut norm = residual(x, r, aq);
        report.history.push(norm / b_norm);
        kept.iter_mut().for_each(|k| k.2 = 0.0);
        let mut progress = Progress::new(norm);
        while norm > target && report.iterations < options.max_iterations {
            aq.iter_mut().zip(r.iter()).for_each(|(n, r)| *n = r / norm);
            q.fill(0.0);
            source.direction(aq, q);
            operator.project(q);
            let coefficients = [0, 1].map(|j| if kept[j].2 > 0.0 { dot(q, &kept[j].1) / kept[j].2 } else { 0.0 });
            for ((p, ..), c) in kept.iter().zip(coefficients) {
                q.iter_mut().zip(p).for_each(|(q, p)| *q -= c * p);
            }
            operator.apply(q, aq);
            let energy = dot(q, aq);
            let alpha = dot(q, r) / energy;
            if !alpha.is_finite() {
                report.stop = Stop::NotFinite;
                break;
            }
            x.iter_mut().zip(q.iter()).for_each(|(x, q)| *x += alpha * q);
            kept.swap(0, 1);
            std::mem::swap(&mut kept[1].0, q);
            std::mem::swap(&mut kept[1].1, aq);
            kept[1].2 = energy;
            norm = residual(x, r, aq);
            report.iterations += 1;
            report.history.push(norm / b_norm);
            if progress.has_stalled(report.iterations, norm) {
                report.stop = Stop::Stagnated;
                break;
            }
        }
        operator.project(x);
        norm = residual(x, r, aq);
        finish(report, norm, b_norm, target);
    }
}

impl<O: Operator, D: Direction> Solver for Published<O, D> {
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report> {
        check_lengths(self.operator.len(), b, x)?;
        let start = Instant::now();
        self.report.restart();
        self.run(b, x);
        self.report.solve_seconds = start.elapsed().as_secs_f64();
        Ok(&self.report)
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}
