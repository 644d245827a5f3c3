//! A posteriori estimation and refinement of a predicted trajectory.
//!
//! A surrogate hands over frames `u(t_0), .., u(t_M)` of a solution of `u_t = L u + N(u) + f` that started from a known
//! `u_0`. How wrong are they, and what does it cost to make them right? Everything here runs on the solver's own
//! spectral core in double precision.
//!
//! | step | what | cost |
//! |---|---|---|
//! | [`Estimator::coupled`] | residual that ties each frame to its neighbours; bound and indicator of the error | one evaluation of `N`, one transform a frame |
//! | [`Estimator::paper`] | the published residual, for comparison: it does not see the error | three evaluations of `N` a frame |
//! | [`March`] | the solver from the last input frame, its step checked by doubling | twice a march of the final step |
//! | [`Newton`] | linearised marches; quadratic convergence to the solver's trajectory | 2.5 marches a sweep |
//! | [`Objective`] | the estimate as a function of a space-time correction, with gradient, for an optimiser | three evaluations a frame and iteration |
//! | [`Certifier`] | estimates a batch, repairs what fails, estimates again | the estimates, and the repair of what failed |
//! | [`anchors`] | the solver's error-cost curve that every table of a surrogate carries | a march a row |
//!
//! A single trajectory is never refined faster than it is marched anew: a Newton sweep contains a march. What the
//! estimate offers is the decision *which* predictions are good enough to keep, for less than the march would cost: six
//! tenths of it on 64^2 points with two steps a frame, one tenth on 256^2 with eight. Three numbers answer three questions:
//!
//! * [`Estimate::energy_bound`] is a bound of the error, and far too large over many turnover times.
//! * [`Estimate::error`] is an indicator of the relative error: 1.1 to 2.9 times the true one over a hundred predictions of
//!   forced flow with errors of 0.1 % to 10 %, smooth or rough in space or time.
//! * [`Calibration::upper`] is that indicator, scaled on predictions whose error is known.
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
pub use certify::{Calibration, Certificate, Certified, Certifier, CertifierOptions, Repair};
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
