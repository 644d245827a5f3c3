//! Two-dimensional incompressible flow on staggered finite volumes, with learned interpolation and learned corrections.
//!
//! [`FiniteVolume`] is the solver on the torus and [`Channel`] that between walls; both have steps with learned values at
//! the faces, on the tape. [`LearnedSolver`]s are [`TemporalStencil`] and, between walls, [`ChannelStencil`], which
//! interpolate, and [`Correction`], which corrects a coarse solver, spectral or of finite volumes; [`training`] unrolls
//! all. [`data`] makes their truth with the
//! spectral solver, [`StaggeredFilter`] brings it onto the cells.

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

pub use channel::{Channel, ChannelFlow, ChannelModelConfig, ChannelStencil};
pub use correction::{Base, Correction, CorrectionConfig, CorrectionMode};
pub use filter::{StaggeredFilter, coarsen};
pub use interpolation::Cells;
pub use learned::{Between, LearnedSolver};
pub use model::{History, Indexing, ModelConfig, TemporalStencil};
pub use solver::{FiniteVolume, Flow, ForcingAverage, Interpolation, Kolmogorov, Stencil};
pub use symmetry::Symmetry;
