//! Partial differential equations by classical and learned spectral methods, on one differentiable
//! pseudo-spectral core.

pub mod data;
pub mod error;
pub mod field;
pub mod spectral;

pub use error::{Error, Result};
pub use num_complex::{Complex32, Complex64};
