//! One-dimensional transforms on lanes, the two kernels that every fast path is made of.
//!
//! * [`ColumnFft`]: complex transforms of `W` columns at once, lane = column; no shuffles.
//! * [`LineFft`]: the real transform of one contiguous line, lanes along the line, truncated to the modes
//!   `m <= cut` that a dealiased solver keeps.
//!
//! Both are unnormalised (the forward line transform takes a factor, which is free there). With the scalar vector
//! (`W = 1`) they call `rustfft` and `realfft`, for any length; these are the oracle of the vector kernels.
//!
//! A line is worth the widest vector with `n >= 2 W^2` only: below, its `W x W` tiles are partly empty, and a narrower
//! vector is faster (`benches/fft.rs`).

// The kernels index arrays, tables and memory by the same number.
#![allow(clippy::needless_range_loop)]

mod butterfly;
mod column;
mod line;
mod stockham;
#[cfg(test)]
pub(super) mod testing;

pub use column::ColumnFft;
pub use line::LineFft;
