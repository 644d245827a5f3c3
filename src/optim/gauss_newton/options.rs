//! Choices of the method, and what a step reports.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How the damping of a step is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damping {
    /// Several dampings are tried in each step (an evaluation of the residuals each), in the order of growing steps, until
    /// the ratio of the actual to the predicted reduction falls below `target`; the step is taken where it does, unless
    /// a shorter one leaves less than half its loss.
    ///
    /// Webb, Jerad & Cartis (2026), whose small target gets a network out of flat valleys early. Once the damping grows
    /// again (its trend over 30 steps, after 80), `late_target` is used.
    Ratio {
        /// Ratio at the step taken.
        target: f64,
        /// The same at the end.
        late_target: f64,
    },
    /// One damping a step, by the gain ratio of the step before.
    ///
    /// Nielsen, *Damping parameter in Marquardt's method*, IMM-REP-1999-05, DTU (1999).
    Nielsen,
}

impl Default for Damping {
    /// Targets 0.075 and 0.5.
    fn default() -> Self {
        Self::Ratio { target: 0.075, late_target: 0.5 }
    }
}

/// The matrix that a step is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Factorization {
    /// [`Phase::Dual`] for fewer residuals than parameters, else [`Phase::Gram`], and [`Phase::Qr`] from where that stalls: the
    /// loss falls by less than 0.1 % in three steps one after the other, the damping reaches its floor, or the matrix is
    /// not definite any more.
    #[default]
    Auto,
    /// Always [`Phase::Gram`] or [`Phase::Dual`], which take half the time and memory.
    Normal,
    /// Always [`Phase::Qr`].
    Qr,
}

/// The norm of a step `|D d|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// `D = 1`.
    #[default]
    None,
    /// `D_j` is the length of column `j` of the Jacobian matrix (Marquardt 1963): steps do not depend on the units of
    /// parameters.
    Columns,
}

/// Constants of [`GaussNewton`](super::GaussNewton).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GaussNewtonOptions {
    /// Choice of the damping.
    pub damping: Damping,
    /// Choice of the decomposition.
    pub factorization: Factorization,
    /// Norm of the step.
    pub scaling: Scaling,
    /// Adds half the second-order correction along the step where it is short enough and helps; takes two evaluations of
    /// the residuals and one of the Jacobian more.
    ///
    /// Transtrum & Sethna, arXiv:1201.5885 (2012).
    pub geodesic: bool,
    /// First damping, relative to the largest diagonal entry of `D^-1 J^T J D^-1`.
    pub first_damping: f64,
    /// Most steps tried before a step is given up.
    pub max_probes: usize,
    /// Rows of the Jacobian matrix that are asked for at a time.
    pub rows: usize,
}

impl Default for GaussNewtonOptions {
    fn default() -> Self {
        Self {
            damping: Damping::default(),
            factorization: Factorization::default(),
            scaling: Scaling::default(),
            geodesic: false,
            first_damping: 1e-3,
            max_probes: 24,
            rows: 512,
        }
    }
}

impl GaussNewtonOptions {
    pub(super) fn validate(&self) -> Result<()> {
        if let Damping::Ratio { target, late_target } = self.damping {
            for (name, value) in [("target", target), ("late_target", late_target)] {
                if !(value > 0.0 && value < 1.0) {
                    return Err(Error::parameter(name, value, "must be in (0, 1)"));
                }
            }
        }
        if !(self.first_damping > 0.0 && self.first_damping.is_finite()) {
            return Err(Error::parameter("first_damping", self.first_damping, "must be positive and finite"));
        }
        if !(3..=MAX_PROBES).contains(&self.max_probes) {
            return Err(Error::parameter("max_probes", self.max_probes, format!("must be in 3..={MAX_PROBES}")));
        }
        if self.rows == 0 {
            return Err(Error::parameter("rows", self.rows, "must be >= 1"));
        }
        Ok(())
    }
}

/// Bound of [`GaussNewtonOptions::max_probes`].
pub(super) const MAX_PROBES: usize = 64;

/// Which decomposition a step was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Cholesky factor of `J^T J + lambda D^2`: resolves singular values down to 1e-8 of the largest.
    Gram,
    /// QR decomposition of `[J; sqrt(lambda) D]`: resolves them down to 1e-16.
    Qr,
    /// Fewer residuals than parameters: Cholesky factor of `J D^-2 J^T + lambda`, which gives the same step as the first.
    Dual,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// `|r|^2` before the step.
    pub before: f64,
    /// `|r|^2` after it.
    pub loss: f64,
    /// Damping `lambda`.
    pub lambda: f64,
    /// Actual over predicted reduction of `|r|^2`.
    pub rho: f64,
    /// `|D d|`.
    pub radius: f64,
    /// Whether the parameters were changed; if not, no step that was tried reduced the loss.
    pub accepted: bool,
    /// Decomposition that the step was taken from.
    pub phase: Phase,
    /// Whether the system was singular to working precision, so that only the damping gave the step.
    pub regularised: bool,
    /// Evaluations of the residuals.
    pub evaluations: usize,
}
