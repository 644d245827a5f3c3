//! Partial differential equations by classical and learned spectral methods, on one differentiable
//! pseudo-spectral core.

pub mod data;
pub mod error;
pub mod field;
pub mod initial;
pub mod pde;
pub mod plot;
pub mod run;
pub mod simulate;
pub mod spectral;
pub mod stepper;

pub use error::{Error, Result};
pub use num_complex::{Complex32, Complex64};
