//! Gauss-Newton and Levenberg-Marquardt methods for nonlinear least squares.

mod problem;

pub use problem::LeastSquares;

/// Which decomposition a step was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Normal equations `J^T J`.
    Gram,
    /// QR decomposition of `J`.
    Qr,
    /// Fewer residuals than parameters: `J J^T`.
    Dual,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// `|r|^2` after the step.
    pub loss: f64,
    /// Damping of the step.
    pub lambda: f64,
    /// Reduction of `|r|^2` over the predicted one.
    pub rho: f64,
    /// Length of the step.
    pub radius: f64,
    /// Whether the parameters were changed.
    pub accepted: bool,
    /// Decomposition in use.
    pub phase: Phase,
}
