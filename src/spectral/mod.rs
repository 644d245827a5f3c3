//! Fourier space: transforms, and everything that is diagonal there.
//!
//! Plan once on a [`Grid`](crate::field::Grid), then call. All plans take arrays whose trailing axes are space, with
//! any number of batch or component axes before them; a vector field has its component axis right before space.
//! Functions named `_hat` take and give Fourier coefficients (unscaled, half of the last axis), the others give the
//! same result for values on the grid.
//!
//! * [`Transform`]: the real transform of 1 to 3 dimensions, and its two adjoints.
//! * [`symbol`]: multipliers as arrays that broadcast against coefficients.
//! * [`Derivatives`]: gradient, divergence, curl, Laplacian, Biot-Savart, Leray projection.
//! * [`Resample`]: from any grid to any grid of the same box.
//! * [`dealias`]: cuts, filters and exact products.
//! * [`Sobolev`]: norms `H^s` of any real order, with gradients.
//! * [`Spectra`]: energy, enstrophy, palinstrophy, and their shell spectra.
//!
//! The time-steppers have fused kernels of their own, made from [`fft`] and [`simd`].

pub mod dealias;
mod derivative;
pub mod fft;
pub mod layout;
mod norm;
mod resample;
pub mod simd;
mod spectrum;
pub mod symbol;
#[cfg(test)]
mod testing;
mod transform;

pub use derivative::Derivatives;
pub use norm::{Sobolev, SobolevKind};
pub use resample::Resample;
pub use spectrum::{ShellSpectrum, Spectra};
pub use transform::{Transform, TransformScratch};
