//! Time stepping of `u_t = L u + N(u) + f`, and the derivatives of whole rollouts.

mod adaptive;
mod adjoint;
mod etdrk;
mod ifrk;
mod imex;
mod lyapunov;
mod pipeline;
mod plan;
mod step;
mod tableau;
pub(crate) mod team;

pub use adaptive::{AdaptiveReport, Tolerance};
pub use adjoint::{Checkpoints, Gradient, Tape, Wanted};
pub use lyapunov::LyapunovRun;
pub use plan::{Options, State, Stepper};
pub use tableau::Scheme;
