//! Learned maps between trajectories, and what makes their predictions trustworthy.

pub mod refine;
