//! Layers as operations of the tape.
//!
//! Arrays are channels-first, `[batch, channel, points..]`, where the points are space, `x, (y, (z))`, or space-time,
//! `t, x, y`. A layer holds handles of its parameters and the constants of its plan; its `record` puts operations on a
//! [`Tape`](crate::autodiff::Tape).

mod convolution;
mod norm;
mod sums;

pub use convolution::{Convolution, Convolve, Padding};
pub use norm::{GroupNorm, Normalise};
