//! Learned stencils inside finite-volume solvers.

pub mod plane;
