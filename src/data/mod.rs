//! Data on disk.
pub mod hdf5;
