//! Minimisation over one flat vector of parameters `theta`.
//!
//! Three kinds of methods, one file each:
//!
//! * **Updates from a gradient**, one [`Optimizer::step`] at a time, for noisy objectives: [`Adam`] (and AdamW), [`Soap`].
//!   [`Schedule`] gives their learning rate, [`clip_global_norm`] tames their gradient, [`Ema`] averages their path, and
//!   [`OptimizerConfig`] builds them from a configuration.
//! * **Minimisers of a deterministic objective** `FnMut(&[T], &mut [T]) -> f64` (value, and gradient into the second
//!   slice), with a strong Wolfe [line search](Wolfe): [`Lbfgs`] for any size, [`SelfScaled`] (SSBFGS, SSBroyden) for up
//!   to some thousand parameters. They return a [`Report`]; to reach a limit is a result, not an error.
//! * **Least squares**: [`GaussNewton`] for a [`LeastSquares`] problem, residuals and rows of their Jacobian matrix, one
//!   damped step at a time.
//!
//! All are [`Stateful`]: their state is a list of [`NamedTensor`]s, and one that was restored goes on with the same bits.
//!
//! Sums are in double precision. Vectors longer than 65 536 are cut into tiles for the rayon pool of the caller (to bound
//! the threads, call inside `ThreadPool::install`). Results are the same bits for any number of threads, and, but for the
//! matrix products of [`Soap`], on every instruction set.

mod adam;
mod clip;
mod config;
mod ema;
mod gauss_newton;
mod gradient;
mod lbfgs;
mod line_search;
mod quasi_newton;
mod rotation;
mod schedule;
mod soap;
mod ssbroyden;
mod tensor;
#[cfg(test)]
mod testing;
mod vector;

pub use adam::{Adam, AdamOptions};
pub use clip::clip_global_norm;
pub use config::OptimizerConfig;
pub use ema::{Ema, EmaStart};
pub use gauss_newton::{
    Damping, Factorization, GaussNewton, GaussNewtonOptions, LeastSquares, Phase, Scaling, StepReport,
};
pub use gradient::{norm, worst_entry};
pub use lbfgs::{Lbfgs, LbfgsOptions};
pub use line_search::Wolfe;
pub use quasi_newton::{Limits, Report, Stop};
pub use schedule::Schedule;
pub use soap::{Block, Soap, SoapOptions};
pub use ssbroyden::{SelfScaled, SelfScaledOptions, Update};
pub use tensor::{NamedTensor, TensorData};

use crate::error::Result;
use crate::field::Real;

/// Something whose state can be stored and restored exactly.
pub trait Stateful {
    /// The whole state, as tensors with names that are unique within it.
    fn state(&self) -> Vec<NamedTensor>;

    /// Goes back to a state that [`Stateful::state`] gave for the same sizes and options.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) if a tensor is absent, unknown or of another precision,
    /// [`Error::Shape`](crate::Error::Shape) if one has another shape. The state is then as before.
    fn restore(&mut self, state: &[NamedTensor]) -> Result<()>;
}

/// A method that changes the parameters by one gradient at a time.
pub trait Optimizer<T: Real>: Stateful + Send {
    /// One step down `grad`, the gradient at `theta`, with learning rate `lr`.
    ///
    /// The gradient must be finite, or the state is spoilt: [`clip_global_norm`] tells at no extra cost, and
    /// [`worst_entry`] where.
    ///
    /// # Panics
    ///
    /// If a length is not the one that the optimiser was made for.
    fn step(&mut self, theta: &mut [T], grad: &[T], lr: f64);
}
