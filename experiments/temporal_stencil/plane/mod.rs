//! Kolmogorov flow: learned interpolation on coarse staggered cells.

pub mod classical;
pub mod config;
pub mod data;
pub mod evaluate;
pub mod train;
