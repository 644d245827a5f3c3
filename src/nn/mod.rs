//! Layers as operations of the tape.
//!
//! Arrays are channels-first, `[batch, channel, points..]`, where the points are space, `x, (y, (z))`, or space-time,
//! `t, x, y`. A layer holds handles of its parameters and the constants of its plan; its `record` puts operations on a
//! [`Tape`](crate::autodiff::Tape).

mod arithmetic;
mod convolution;
mod factorised_convolution;
mod files;
mod frames;
mod helmholtz;
pub mod init;
pub(crate) mod kernel;
mod loss;
mod metric;
mod mixing;
pub mod modes;
mod norm;
mod pointwise;
mod reduce;
mod repeat;
mod resample;
mod shape;
mod solver;
mod spectral_convolution;
mod sums;

pub use arithmetic::{add, add_channels, multiply, multiply_channels, scale, subtract};
pub use convolution::{Convolution, Convolve, Padding};
pub use factorised_convolution::{FactorisedConvolution, FactorisedLayer};
pub use files::{Precision, from_safetensors, to_safetensors};
pub use helmholtz::Helmholtz;
pub use loss::{RelativeSobolev, mean_square, relative_l2};
pub use metric::{RelativeErrors, relative_errors};
pub use norm::{GroupNorm, Normalise};
pub use pointwise::{Branch, Pointwise, PointwiseConfig, PointwiseLayer};
pub use reduce::{inner, mean_of, mean_over, sum_of, sum_over};
pub use repeat::hold_last;
pub use resample::{resample, resample_axis};
pub use shape::{concatenate, pad, permute, reshape, roll, slice};
pub use solver::Rollout;
pub use spectral_convolution::{SpectralConfig, SpectralConvolution, SpectralLayer};
