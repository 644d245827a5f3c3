//! Layers as operations of the tape.
//!
//! Arrays are channels-first, `[batch, channel, points..]`, where the points are space, `x, (y, (z))`, or space-time,
//! `t, x, y`. A layer holds handles of its parameters and the constants of its plan; its `record` puts operations on a
//! [`Tape`](crate::autodiff::Tape).

pub mod mixing;
pub mod modes;
mod pointwise;
mod repeat;
mod spectral_convolution;

pub use pointwise::{Branch, Pointwise, PointwiseConfig, PointwiseLayer};
pub use repeat::hold_last;
pub use spectral_convolution::{SpectralConfig, SpectralConvolution, SpectralLayer};
