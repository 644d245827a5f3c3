//! Preconditioned conjugate gradients for any operator.
//!
//! ```text
//! z = M r,  p = z + beta p,  q = A p,  alpha = (r, p) / (p, q),  x += alpha p,  r -= alpha q
//! ```
//!
//! with `beta = (r, z) / (r, z)_old` (Hestenes & Stiefel 1952) for a fixed linear `M`, and `beta = -(z, q) / (p, q)`, which keeps `p`
//! conjugate to the last direction for any `M` (Notay, *SIAM J. Sci. Comput.* 22 (2000), with one direction kept), for others.

use std::sync::Arc;
use std::time::Instant;

use super::deflation::Deflation;
use super::operator::{Operator, Preconditioner, Solver, check_lengths, check_operator};
use super::pool::Pool;
use super::report::{Lanczos, Options, Progress, Report, Stop};
use super::vector::Vectors;
use crate::error::{Error, Result};

/// No preconditioner, `M = 1`.
pub struct Identity;

impl Preconditioner for Identity {
    fn name(&self) -> &'static str {
        "CG"
    }
    fn apply(&mut self, r: &[f64], z: &mut [f64]) {
        z.copy_from_slice(r);
    }
}

/// One over the diagonal, `M = D^{-1}`.
pub struct Jacobi {
    inverse: Vec<f64>,
}

impl Jacobi {
    /// Takes the diagonal of an operator; zeros stay zero.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the operator does not know its diagonal, or if it has a negative entry or one that is not finite.
    pub fn new(operator: &impl Operator) -> Result<Self> {
        let Some(mut inverse) = operator.diagonal() else {
            return Err(Error::parameter("diagonal", "unknown", "must be given with FnOperator::with_diagonal"));
        };
        for d in &mut inverse {
            if !d.is_finite() || *d < 0.0 {
                return Err(Error::parameter("diagonal", *d, "must be >= 0 and finite"));
            }
            *d = if *d > 0.0 { 1.0 / *d } else { 0.0 };
        }
        Ok(Self { inverse })
    }
}

impl Preconditioner for Jacobi {
    fn name(&self) -> &'static str {
        "Jacobi PCG"
    }
    fn apply(&mut self, r: &[f64], z: &mut [f64]) {
        for ((z, r), d) in z.iter_mut().zip(r).zip(&self.inverse) {
            *z = r * d;
        }
    }
    fn bytes(&self) -> usize {
        8 * self.inverse.len()
    }
}

/// The preconditioner with the flexible recurrence, whatever it says of itself.
pub struct Flexible<M>(pub M);

impl<M: Preconditioner> Preconditioner for Flexible<M> {
    fn name(&self) -> &'static str {
        "flexible CG"
    }
    fn apply(&mut self, r: &[f64], z: &mut [f64]) {
        self.0.apply(r, z);
    }
    fn is_linear_spd(&self) -> bool {
        false
    }
    fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

/// Conjugate gradients with a preconditioner, and with a deflated space if there is one.
pub struct Krylov<O, M> {
    operator: O,
    preconditioner: M,
    deflation: Option<Deflation>,
    vectors: Vectors,
    r: Vec<f64>,
    z: Vec<f64>,
    p: Vec<f64>,
    q: Vec<f64>,
    options: Options,
    lanczos: Lanczos,
    report: Report,
}

impl<O: Operator> Krylov<O, Identity> {
    /// Plain conjugate gradients.
    ///
    /// # Errors
    ///
    /// As [`Krylov::new`].
    pub fn cg(operator: O, options: &Options) -> Result<Self> {
        Self::new(operator, Identity, options)
    }
}

impl<O: Operator, M: Preconditioner> Krylov<O, M> {
    /// Plans for a user's operator, which is probed first, see [`check_operator`].
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for options out of range and for operators that are not symmetric or not positive.
    pub fn new(operator: O, preconditioner: M, options: &Options) -> Result<Self> {
        check_operator(&operator)?;
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        Self::trusted(operator, preconditioner, None, &pool, options)
    }

    /// As [`Krylov::new`] with the piecewise constants over `blocks[k] < count` deflated: the space in which conjugate gradients
    /// are slow is solved directly. Costs `count` products with the operator.
    ///
    /// # Errors
    ///
    /// As [`Krylov::new`]; [`Error::Shape`] or [`Error::Parameter`] for blocks that do not fit.
    pub fn deflated(operator: O, preconditioner: M, blocks: &[u32], count: usize, options: &Options) -> Result<Self> {
        check_operator(&operator)?;
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        let deflation = Deflation::probe(&operator, blocks, count)?;
        Self::trusted(operator, preconditioner, Some(deflation), &pool, options)
    }

    pub(super) fn trusted(
        operator: O,
        preconditioner: M,
        deflation: Option<Deflation>,
        pool: &Arc<Pool>,
        options: &Options,
    ) -> Result<Self> {
        options.validate()?;
        let n = operator.len();
        let zeros = || vec![0.0; n];
        let name = if deflation.is_some() { "deflated PCG" } else { preconditioner.name() };
        let mut report = Report::new(name, options.max_iterations);
        let held = deflation.as_ref().map_or(0, Deflation::bytes) + operator.bytes() + preconditioner.bytes();
        report.bytes = held + 32 * n;
        Ok(Self {
            vectors: Vectors::new(pool, n),
            r: zeros(),
            z: zeros(),
            p: zeros(),
            q: zeros(),
            options: options.clone(),
            lanczos: Lanczos::new(),
            report,
            operator,
            preconditioner,
            deflation,
        })
    }

    /// For callers that know how long their part of the set-up took.
    pub(super) fn set_setup_seconds(&mut self, seconds: f64) {
        self.report.setup_seconds = seconds;
    }

    /// `r = b - A x`, projected; returns `||r||`.
    fn true_residual(&mut self, b: &[f64], x: &[f64]) -> f64 {
        self.operator.apply(x, &mut self.q);
        self.r.copy_from_slice(b);
        self.vectors.add(-1.0, &self.q, &mut self.r);
        self.operator.project(&mut self.r);
        self.vectors.dot(&self.r, &self.r).sqrt()
    }

    fn iterate(&mut self, target: f64, b_norm: f64, norm: f64, x: &mut [f64]) -> Stop {
        let (mut rz_old, mut pq, mut alpha, mut progress) = (0.0, 0.0, 0.0, Progress::new(norm));
        while self.report.iterations < self.options.max_iterations {
            self.preconditioner.apply(&self.r, &mut self.z);
            let rz = self.vectors.dot(&self.r, &self.z);
            if !rz.is_finite() {
                return Stop::NotFinite;
            }
            if rz <= 0.0 && self.preconditioner.is_linear_spd() {
                return if rz < 0.0 { Stop::IndefinitePreconditioner } else { Stop::Stagnated };
            }
            let beta = if rz_old == 0.0 {
                0.0
            } else if self.preconditioner.is_linear_spd() {
                rz / rz_old
            } else {
                -self.vectors.dot(&self.z, &self.q) / pq
            };
            if rz_old != 0.0 {
                self.lanczos.push(alpha, beta);
            }
            rz_old = rz;
            if let Some(deflation) = &mut self.deflation {
                // q is free here: the recurrence above was the last to need it.
                self.operator.apply(&self.z, &mut self.q);
                deflation.correct(-1.0, &self.q, &mut self.z);
            }
            self.vectors.direction(&self.z, beta, &mut self.p);
            self.operator.apply(&self.p, &mut self.q);
            pq = self.vectors.dot(&self.p, &self.q);
            if !pq.is_finite() || pq <= 0.0 {
                return if pq.is_finite() { Stop::IndefiniteOperator } else { Stop::NotFinite };
            }
            let is_linear = self.preconditioner.is_linear_spd();
            alpha = if is_linear { rz } else { self.vectors.dot(&self.r, &self.p) } / pq;
            let norm = self.vectors.step(alpha, &self.p, &self.q, x, &mut self.r).sqrt();
            self.report.iterations += 1;
            self.report.history.push(norm / b_norm);
            if !norm.is_finite() {
                return Stop::NotFinite;
            }
            if norm <= target {
                return Stop::Converged;
            }
            if progress.has_stalled(self.report.iterations, norm) {
                return Stop::Stagnated;
            }
        }
        Stop::MaxIterations
    }

    fn run(&mut self, b: &[f64], x: &mut [f64]) {
        self.lanczos.restart();
        let Some(Start { b_norm, target }) = begin(&self.operator, &self.options, &mut self.report, b, x, &mut self.r)
        else {
            return;
        };
        let mut norm = self.true_residual(b, x);
        self.report.history.push(norm / b_norm);
        while norm > target && self.report.iterations < self.options.max_iterations {
            if let Some(deflation) = &mut self.deflation {
                deflation.correct(1.0, &self.r, x);
                norm = self.true_residual(b, x);
                if norm <= target {
                    break;
                }
            }
            let before = norm;
            self.report.stop = self.iterate(target, b_norm, norm, x);
            self.operator.project(x);
            norm = self.true_residual(b, x);
            // The carried residual drifts from the true one by round-off: go on from the true one while that helps.
            if self.report.stop != Stop::Converged || norm.is_nan() || norm >= 0.5 * before {
                break;
            }
        }
        finish(&mut self.report, norm, b_norm, target);
        self.report.condition = self.lanczos.condition();
    }
}

impl<O: Operator, M: Preconditioner> Solver for Krylov<O, M> {
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report> {
        check_lengths(self.operator.len(), b, x)?;
        let start = Instant::now();
        self.report.restart();
        self.run(b, x);
        self.report.solve_seconds = start.elapsed().as_secs_f64();
        Ok(&self.report)
    }
}

/// What a solve starts from.
pub(super) struct Start {
    /// `||b||` after projection, or one if that is zero: what residuals are divided by.
    pub b_norm: f64,
    /// Residual norm to reach.
    pub target: f64,
}

/// The checks that all methods share; projects `x`. `None`: the report says why not. `scratch` has the length of `b`.
pub(super) fn begin(
    operator: &impl Operator,
    options: &Options,
    report: &mut Report,
    b: &[f64],
    x: &mut [f64],
    scratch: &mut [f64],
) -> Option<Start> {
    scratch.copy_from_slice(x);
    operator.project(scratch);
    let refused = |report: &mut Report, stop| {
        report.stop = stop;
        (report.residual, report.relative_residual) = (f64::NAN, f64::NAN);
        None
    };
    // Entries that are no unknowns do not matter; projection has made zeros of them, unless they were not finite.
    let is_finite = scratch.iter().all(|v| v.is_finite());
    scratch.copy_from_slice(b);
    operator.project(scratch);
    if !is_finite || !scratch.iter().all(|v| v.is_finite()) {
        return refused(report, Stop::NotFiniteInput);
    }
    report.incompatibility = operator.incompatibility(b);
    if report.incompatibility > options.max_incompatibility {
        return refused(report, Stop::IncompatibleRhs);
    }
    operator.project(x);
    let norm = scratch.iter().map(|v| v * v).sum::<f64>().sqrt();
    if !norm.is_finite() {
        return refused(report, Stop::NotFiniteInput);
    }
    let target = options.target(norm);
    Some(Start { b_norm: if norm > 0.0 { norm } else { 1.0 }, target })
}

/// Enters the true residual at the end of a solve.
pub(super) fn finish(report: &mut Report, norm: f64, b_norm: f64, target: f64) {
    (report.residual, report.relative_residual) = (norm, norm / b_norm);
    if norm <= target {
        report.stop = Stop::Converged;
    } else if report.stop == Stop::Converged {
        report.stop = Stop::Stagnated;
    }
}
