//! Two-dimensional incompressible flow on staggered finite volumes, with learned interpolation.

// Kernels index arrays, tables and memory by the same number.
#![allow(clippy::needless_range_loop)]

mod faces;
mod halo;
mod implicit;
mod interpolation;
mod kernel;
mod limiter;
mod solver;

pub use interpolation::Cells;
pub use solver::{FiniteVolume, Flow, ForcingAverage, Interpolation, Kolmogorov, Stencil};
