//! Two-dimensional incompressible flow on staggered finite volumes, with learned interpolation.

// Kernels index arrays, tables and memory by the same number.
#![allow(clippy::needless_range_loop)]

mod channel;
mod correction;
pub mod data;
mod faces;
mod filter;
mod halo;
mod history;
mod implicit;
mod interpolation;
mod kernel;
mod learned;
mod limiter;
pub mod metric;
mod model;
mod solver;
mod spectral;
mod symmetry;
mod tower;
pub mod training;

pub use channel::{Channel, ChannelFlow};
pub use correction::{Base, Correction, CorrectionConfig, CorrectionMode};
pub use filter::{StaggeredFilter, coarsen};
pub use interpolation::Cells;
pub use learned::LearnedSolver;
pub use model::{History, Indexing, ModelConfig, TemporalStencil};
pub use solver::{FiniteVolume, Flow, ForcingAverage, Interpolation, Kolmogorov, Stencil};
pub use symmetry::Symmetry;
