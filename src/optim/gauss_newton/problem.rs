//! What a least-squares problem has to provide.

use std::ops::Range;

/// A nonlinear least-squares problem `min |r(theta)|^2`, `r` with `m` entries, `theta` with `p`.
///
/// Weights belong into the residuals: a mean over `n` points is `r_i / sqrt(n)`. Everything a problem adapts (points,
/// weights) must stay fixed during a step.
pub trait LeastSquares {
    /// Number `p` of parameters.
    fn parameters(&self) -> usize;

    /// Number `m` of residuals.
    fn residuals(&self) -> usize;

    /// All residuals `r` at `theta`, of length `m`.
    fn residual(&mut self, theta: &[f64], r: &mut [f64]);

    /// Some residuals `r` and their rows of the Jacobian matrix `d r_i / d theta_j`, `[rows.len(), p]` row-major. The
    /// values in `jacobian` before the call mean nothing; all are to be written.
    fn rows(&mut self, theta: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]);
}
