//! Fourier space: transforms, and everything that is diagonal there.

pub mod fft;
pub mod layout;
pub mod simd;
mod symbol;
mod transform;

pub use transform::{Transform, TransformScratch};
