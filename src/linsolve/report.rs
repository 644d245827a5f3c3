//! When a solve stops, and what it says afterwards.

use crate::error::{Error, Result};
use crate::spectral::simd::Isa;

/// Where a solve stops, and what it may use.
///
/// A solve has converged when `||b - A x|| <= max(relative ||b||, absolute)` in the Euclidean norm over the unknowns, with
/// `b` after its projection onto the range of `A`. All methods share this convention.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Tolerance as a part of `||b||`.
    pub relative: f64,
    /// Tolerance in the unit of `b`.
    pub absolute: f64,
    /// Most iterations.
    pub max_iterations: usize,
    /// Refuses right-hand sides whose `|sum b| / ||b||_1` over a component without Dirichlet faces exceeds this; others
    /// lose their mean there.
    pub max_incompatibility: f64,
    /// Threads; 1 is the calling thread alone. The result does not depend on it, bit for bit.
    pub threads: usize,
    /// Widest instruction set to use.
    pub isa: Isa,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            relative: 1e-8,
            absolute: 0.0,
            max_iterations: 10_000,
            max_incompatibility: f64::INFINITY,
            threads: 1,
            isa: Isa::detect(),
        }
    }
}

impl Options {
    pub(crate) fn validate(&self) -> Result<()> {
        for (name, value) in [("relative", self.relative), ("absolute", self.absolute)] {
            if !value.is_finite() || value < 0.0 {
                return Err(Error::parameter(name, value, "must be >= 0 and finite"));
            }
        }
        if self.relative == 0.0 && self.absolute == 0.0 {
            return Err(Error::parameter("relative", 0, "must be > 0 unless `absolute` is"));
        }
        if self.max_incompatibility.is_nan() || self.max_incompatibility < 0.0 {
            return Err(Error::parameter("max_incompatibility", self.max_incompatibility, "must be >= 0"));
        }
        Ok(())
    }

    pub(crate) fn target(&self, b_norm: f64) -> f64 {
        (self.relative * b_norm).max(self.absolute)
    }
}

/// Why a solve stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The true residual is within the tolerance.
    Converged,
    /// [`Options::max_iterations`] were made.
    MaxIterations,
    /// Round-off keeps the residual above the tolerance, or no progress was made for long.
    Stagnated,
    /// A direction `p` with `p.Ap <= 0`: the operator is not positive definite.
    IndefiniteOperator,
    /// A residual `r` with `r.Mr <= 0`: the preconditioner is not positive definite.
    IndefinitePreconditioner,
    /// The right-hand side or the initial guess holds a NaN or an infinity; `x` is as it was.
    NotFiniteInput,
    /// The operator or the preconditioner returned a NaN or an infinity.
    NotFinite,
    /// The right-hand side is not in the range of the operator, see [`Options::max_incompatibility`]; `x` is as it was.
    IncompatibleRhs,
}

/// What became of the directions of a learned method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// Used.
    pub accepted: usize,
    /// Finite, but with less gain than the guard asks for.
    pub rejected: usize,
    /// Zero, NaN or infinite.
    pub unusable: usize,
    /// Whether the clock switched the learned part off: it took longer for each order of magnitude than the classical one.
    pub too_slow: bool,
}

/// Account of a solve.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the method.
    pub method: &'static str,
    /// Why it stopped.
    pub stop: Stop,
    /// Iterations made.
    pub iterations: usize,
    /// `||b - A x||` computed from the returned `x` in double precision, unit of `b`.
    pub residual: f64,
    /// The same over `||b||`; zero if both are.
    pub relative_residual: f64,
    /// `||r_k|| / ||b||` of the residual that the recurrence carries, from the start on: `iterations + 1` entries.
    pub history: Vec<f64>,
    /// Largest `|sum b| / ||b||_1` over the components without Dirichlet faces.
    pub incompatibility: f64,
    /// Estimate of the condition number of the preconditioned operator from the coefficients of the iteration; zero
    /// where the method has none.
    pub condition: f64,
    /// Account of the learned directions, all zero for classical methods.
    pub directions: Directions,
    /// Seconds of the last set-up.
    pub setup_seconds: f64,
    /// Seconds of this solve.
    pub solve_seconds: f64,
    /// Bytes of the solver: coefficients, factors and vectors.
    pub bytes: usize,
}

impl Report {
    pub(crate) fn new(method: &'static str, max_iterations: usize) -> Self {
        Self {
            method,
            stop: Stop::MaxIterations,
            iterations: 0,
            residual: 0.0,
            relative_residual: 0.0,
            history: Vec::with_capacity(max_iterations.min(1 << 14) + 2),
            incompatibility: 0.0,
            condition: 0.0,
            directions: Directions::default(),
            setup_seconds: 0.0,
            solve_seconds: 0.0,
            bytes: 0,
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop = Stop::MaxIterations;
        (self.iterations, self.residual, self.relative_residual) = (0, 0.0, 0.0);
        (self.incompatibility, self.condition, self.solve_seconds) = (0.0, 0.0, 0.0);
        self.history.clear();
        self.directions = Directions::default();
    }

    /// Whether the tolerance was met.
    pub fn is_converged(&self) -> bool {
        self.stop == Stop::Converged
    }

    /// Iterations after which the carried residual was at most `relative ||b||` for the first time.
    pub fn iterations_to(&self, relative: f64) -> Option<usize> {
        self.history.iter().position(|&r| r <= relative)
    }
}

/// Watches the residual: stops when its minimum has not improved for the last two thirds of at least 500 iterations. The residual of
/// conjugate gradients is not monotonic; from a warm start it may stay above its first values for hundreds of iterations.
pub(crate) struct Progress {
    best: f64,
    at: usize,
}

impl Progress {
    pub fn new(residual: f64) -> Self {
        Self { best: residual, at: 0 }
    }

    pub fn has_stalled(&mut self, iteration: usize, residual: f64) -> bool {
        if residual < self.best {
            (self.best, self.at) = (residual, iteration);
        }
        iteration >= 500 && iteration > 3 * self.at
    }
}

/// Condition number of the tridiagonal Lanczos matrix that conjugate gradients build, `T = L D L^T` with
/// `T_kk = 1/alpha_k + beta_{k-1}/alpha_{k-1}` and `T_{k,k+1} = sqrt(beta_k)/alpha_k` (Golub & Van Loan 2013, section 10.2).
///
/// The extreme Ritz values are found by bisection on the sign count of the pivots.
#[derive(Default)]
pub(crate) struct Lanczos {
    diagonal: Vec<f64>,
    off: Vec<f64>,
    last: Option<(f64, f64)>,
}

impl Lanczos {
    /// Steps that are kept; more hardly move the estimate.
    const STEPS: usize = 256;

    pub fn new() -> Self {
        Self { diagonal: Vec::with_capacity(Self::STEPS), off: Vec::with_capacity(Self::STEPS), last: None }
    }

    pub fn restart(&mut self) {
        self.diagonal.clear();
        self.off.clear();
        self.last = None;
    }

    /// Step length `alpha_k` and the `beta_k` that follows it.
    pub fn push(&mut self, alpha: f64, beta: f64) {
        if self.diagonal.len() == Self::STEPS {
            return;
        }
        let carry = self.last.map_or(0.0, |(alpha, beta)| beta / alpha);
        if let Some((alpha, beta)) = self.last {
            self.off.push(beta.max(0.0).sqrt() / alpha);
        }
        self.diagonal.push(1.0 / alpha + carry);
        self.last = Some((alpha, beta));
    }

    fn below(&self, x: f64) -> usize {
        let (mut count, mut pivot) = (0, 1.0f64);
        for (k, &d) in self.diagonal.iter().enumerate() {
            let e = if k > 0 { self.off[k - 1] } else { 0.0 };
            pivot = d - x - e * e / pivot;
            if pivot == 0.0 {
                pivot = f64::MIN_POSITIVE.sqrt();
            }
            count += usize::from(pivot < 0.0);
        }
        count
    }

    fn ritz(&self, index: usize) -> f64 {
        let radius = |k: usize| self.off.get(k).copied().unwrap_or(0.0) + if k > 0 { self.off[k - 1] } else { 0.0 };
        let top = (0..self.diagonal.len()).map(|k| self.diagonal[k] + radius(k)).fold(0.0, f64::max);
        let (mut low, mut high) = (0.0, top);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.below(middle) > index { high = middle } else { low = middle }
        }
        0.5 * (low + high)
    }

    /// Ratio of the extreme Ritz values; zero before the first step.
    pub fn condition(&self) -> f64 {
        match self.diagonal.len() {
            0 => 0.0,
            n => self.ritz(n - 1) / self.ritz(0).max(f64::MIN_POSITIVE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_name_what_they_refuse() {
        let refused = |options: Options| options.validate().unwrap_err().to_string();
        assert!(refused(Options { relative: -1.0, ..Options::default() }).contains("relative = -1"));
        assert!(refused(Options { absolute: f64::NAN, ..Options::default() }).contains("absolute"));
        assert!(refused(Options { relative: 0.0, ..Options::default() }).contains("unless"));
        assert!(Options { relative: 0.0, absolute: 1e-3, ..Options::default() }.validate().is_ok());
    }

    #[test]
    fn two_steps_of_conjugate_gradients_give_the_condition_of_a_matrix_of_order_two() {
        // A = diag(1, 5), b = (1, 1): alpha_0 = r.r/r.Ar = 2/6, r_1 = (2/3, -2/3), beta_0 = (8/9)/2, and so on by hand.
        let (a, mut x, mut r) = ([1.0, 5.0], [0.0; 2], [1.0, 1.0]);
        let (mut p, mut rr, mut lanczos) = (r, 2.0, Lanczos::new());
        for _ in 0..2 {
            let alpha = rr / (a[0] * p[0] * p[0] + a[1] * p[1] * p[1]);
            for k in 0..2 {
                x[k] += alpha * p[k];
                r[k] -= alpha * a[k] * p[k];
            }
            let next = r[0] * r[0] + r[1] * r[1];
            lanczos.push(alpha, next / rr);
            p = [r[0] + next / rr * p[0], r[1] + next / rr * p[1]];
            rr = next;
        }
        // 60 bisections leave round-off only.
        assert!((lanczos.condition() - 5.0).abs() < 1e-12, "{}", lanczos.condition());
    }
}
