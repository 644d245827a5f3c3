//! Data sets on disk: one writer, many readers, one view.
//!
//! * [`well::Writer`] writes the toolkit's own format, safe against a kill at any moment.
//! * [`Dataset::open`] reads it and the layouts of The Well, PDEBench, FNO's MATLAB files, JAX-CFD and APEBench;
//!   each window comes as `[time, channel, x, (y, (z))]`, read by hyperslab.
//! * [`check`], [`convert`], [`diff`], [`stats`] are the four things one does with a file.
//! * [`split`] and [`loader`] feed training: reproducible by seed, reading ahead in the background.
//!
//! This module knows arrays, times and grids; it knows nothing of equations or solvers.

pub mod check;
pub mod convert;
mod dataset;
pub mod diff;
pub mod hdf5;
pub mod loader;
mod matlab;
mod netcdf;
mod npy;
mod pdebench;
pub mod split;
pub mod stats;
pub mod well;

pub use dataset::{Dataset, Field, Layout, OpenOptions};
