//! Temporal stencil models: coarse finite-volume solvers whose stencils are learned from the past.
//!
//! [`memory`] compresses a window of past frames into a few features a point. [`mod@line`] is the one-dimensional solver with
//! learned fluxes (Kuramoto-Sivashinsky, Burgers); [`plane`] the staggered solver of plane incompressible flow with learned
//! interpolation. [`files`] brings trajectories from data sets, [`metric`] tells how long a prediction stays correlated with the truth.

pub mod files;
pub mod line;
pub mod memory;
pub mod metric;
pub mod plane;

use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Runs `f`, marked `#[inline(always)]`, compiled for the widest vectors of this processor.
#[inline]
fn vectorize<T: Real, R>(f: impl FnOnce() -> R) -> R {
    match Isa::detect() {
        Isa::Avx512 => T::Avx512::vectorize(f),
        Isa::Avx2 => T::Avx2::vectorize(f),
        Isa::Neon => T::Neon::vectorize(f),
        Isa::Scalar => T::vectorize(f),
    }
}
