//! Fourier space: transforms, and everything that is diagonal there.

pub mod fft;
pub mod simd;
