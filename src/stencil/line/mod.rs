//! One-dimensional conservation laws `u_t + (u^2 / 2)_x = L u` on periodic cells, with a learned flux.
//!
//! The state are cell averages. A step treats the linear part exactly and the flux by a first-order exponential scheme,
//!
//! ```text
//! u <- e^(dt L) u - dt phi_1(dt L) (F_(i+1/2) - F_(i-1/2)) / h,      F = a b / 2 + g.
//! ```
//!
//! `a` and `b` are two interpolations of the state to the face whose weights a convolutional network chooses from the
//! present and past frames, `g` an optional learned addition. Averaging over cells commutes with `L`, so all errors of the
//! step are those of the flux, which is what is learned.
//!
//! [`Equation`] → [`FluxStep`] → [`LineModel`] → [`mod@reference`] (exact cell averages from the spectral core), [`data`]
//! (the same from data sets) and [`FiniteVolume`] (what there is without learning).

mod circulant;
mod classical;
pub mod data;
mod equation;
mod history;
mod model;
pub mod reference;
mod step;

pub use circulant::Circulant;
pub use classical::{FiniteVolume, Flux};
pub use equation::Equation;
pub use history::Project;
pub use model::{Gradient, LineModel, ModelConfig, check_finite};
pub use step::{Base, FluxStep};
