//! Interpolation to a face by learned weights that sum to one.
//!
//! A stencil of `S` cells `f_0, .., f_{S-1}` has the weights `b + sum_q z_q n_q`, where `b` is the mean of the two cells at
//! the face, `z` are the `S - 1` logits, and `n_q`, `q = 1, .., S - 1`, are the orthonormal Helmert vectors
//!
//! ```text
//! n_q = (1, .., 1, -q, 0, .., 0) / sqrt(q (q + 1))
//! ```
//!
//! with `q` ones, which span all weights of sum zero. So a constant is interpolated exactly for any logits, and
//! `sum_q z_q (n_q . f)` costs running sums: `n_q . f = (f_0 + .. + f_{q-1} - q f_q) / sqrt(q (q + 1))`.

use serde::{Deserialize, Serialize};

use super::halo::{Points, Sums};
use super::limiter::constant;
use crate::field::Real;
use crate::spectral::simd::Lanes;

/// Cells of a learned interpolation, along the axis of the face and across it.
///
/// The cells are numbered row by row, x outermost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cells {
    /// Shifts `-1..=2` along both axes, 16 cells.
    #[default]
    #[serde(rename = "4x4")]
    Square,
    /// Shifts `-1..=2` along the axis of the face and `-1..=1` across it, 12 cells.
    #[serde(rename = "4x3")]
    Band,
    /// Shifts `-1..=2` along the axis of the face, 4 cells.
    #[serde(rename = "4x1")]
    Line,
}

impl Cells {
    /// Number of cells `S`.
    pub fn count(self) -> usize {
        match self {
            Self::Square => 16,
            Self::Band => 12,
            Self::Line => 4,
        }
    }

    /// Logits `8 (S - 1)` of the eight interpolations of a step.
    pub fn logits(self) -> usize {
        8 * (self.count() - 1)
    }
}

/// Shift of cell `s` of a stencil of `S` cells for a face along `axis`.
#[inline(always)]
pub(super) const fn shift<const S: usize>(axis: usize, s: usize) -> [isize; 2] {
    let s = s as isize;
    match (S, axis) {
        (16, _) => [s / 4 - 1, s % 4 - 1],
        (12, 0) => [s / 3 - 1, s % 3 - 1],
        (12, _) => [s / 4 - 1, s % 4 - 1],
        (_, 0) => [s - 1, 0],
        _ => [0, s - 1],
    }
}

/// `1 / sqrt(q (q + 1))`; nothing for `q = 0`.
pub(super) fn norms<T: Real, const S: usize>() -> [T; S] {
    std::array::from_fn(|q| T::of(if q == 0 { 0.0 } else { 1.0 / ((q * (q + 1)) as f64).sqrt() }))
}

/// `n_q . f`, for `q >= 1`.
#[inline(always)]
pub(super) fn differences<V: Lanes, const S: usize>(norms: &[V::Real; S], f: Points<V>, axis: usize) -> [V; S] {
    let mut sum = f.get(shift::<S>(axis, 0));
    let mut result = [sum; S];
    for q in 1..S {
        let x = f.get(shift::<S>(axis, q));
        result[q] = constant::<V>(q as f64).nmadd(x, sum) * V::splat(norms[q]);
        sum = sum + x;
    }
    result
}

/// Adds `sum_q bar_q n_q`, the transpose of [`differences`].
#[inline(always)]
pub(super) fn differences_vjp<V: Lanes, const S: usize>(
    norms: &[V::Real; S],
    bar: &[V; S],
    f_bar: Sums<V>,
    axis: usize,
) {
    let mut sum = V::splat(num_traits::Zero::zero());
    for q in (1..S).rev() {
        let scaled = bar[q] * V::splat(norms[q]);
        f_bar.add(shift::<S>(axis, q), constant::<V>(q as f64).nmadd(scaled, sum));
        sum = sum + scaled;
    }
    f_bar.add(shift::<S>(axis, 0), sum);
}
