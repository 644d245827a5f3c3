//! A posteriori estimation and refinement of a predicted trajectory.
//!
//! A surrogate hands over frames `u(t_0), .., u(t_M)` of a solution of `u_t = L u + N(u) + f` that started from a known
//! `u_0`. How wrong are they, and what does it cost to make them right? Everything here runs on the solver's own
//! spectral core in double precision.
//!
//! | step | what | cost, in marches of the solver |
//! |---|---|---|
//! | [`Estimator::coupled`] | residual that ties each frame to its neighbours, in a dual norm | one evaluation of the right-hand side a frame |
//! | [`Estimator::paper`] | the published residual, for comparison: it does not see the error | two evaluations a frame |
//! | [`March`] | the solver from the last input frame, its step checked by doubling | 3 (1 to find the step, 2 for the answer) |
//! | [`Newton`] | linearised marches; quadratic convergence to the solver's trajectory | 2.5 a sweep |
//! | [`Objective`] | the estimate as a function of a space-time correction, with gradient, for an optimiser | three evaluations a frame and iteration |
//! | [`Certifier`] | estimates a batch, repairs what fails, estimates again | the estimates, and the repair of what failed |
//! | [`anchors`] | the solver's error-cost curve that every table of a surrogate carries | many |
//!
//! A single trajectory is never refined faster than it is marched anew: a Newton sweep contains a march. What the
//! estimate offers is the decision *which* predictions are good enough to keep.
//!
//! # Conventions
//!
//! Norms are means over the box: `|u|^2 = sum_k |u_hat_k|^2 = <u^2>` by Parseval, with Fourier coefficients proper; a
//! Sobolev norm weighs them with `(alpha + |k|^2)^s`, `k` angular. Trajectories have shape `[frame, channel, x, ..]`, the
//! known start `[channel, x, ..]`. Only the modes that the solver keeps can have a residual.

mod anchor;
mod certify;
mod estimator;
mod march;
mod modes;
mod newton;
mod objective;
mod statistics;
#[cfg(test)]
mod testing;
mod time;

pub use anchor::{Anchor, AnchorMethod, AnchorOptions, anchors};
pub use certify::{Calibration, Certificate, Certifier, CertifierOptions, Certified, Repair};
pub use estimator::{Estimate, Estimator, EstimatorOptions, PaperEstimate, PaperOptions};
pub use march::{March, MarchOptions, Marched};
pub use newton::{Newton, NewtonOptions, Refinement, Sweep};
pub use objective::Objective;
pub use statistics::spearman;
pub use time::TimeGrid;

/// Why an iteration ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The error estimate met the tolerance.
    Converged,
    /// The largest number of sweeps, or the smallest step, was reached first.
    Limit,
    /// The increments grew, or a value stopped being finite; the result is that of the best sweep.
    Diverged,
}
