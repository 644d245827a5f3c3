//! Products of complex matrices, one for each mode: the heart of a spectral convolution.
//!
//! `C[p, q] = sum_r F[p, r] S[r, q]` or, for the adjoints, `sum_r conj(F[p, r]) S[r, q]`, where each entry is a row of
//! modes. The lanes run along the modes, so nothing is shuffled, and a block of `C` stays in registers.

use crate::autodiff::{Workers, dispatch};
use crate::field::Real;
use crate::spectral::simd::{Complex, Lanes};

/// Complex matrices by mode in memory: real part of entry `(i, j)` and mode `k` at `i * row + j * column + k`, imaginary
/// part `part` further.
pub struct ByMode<T> {
    /// First value.
    pub start: *mut T,
    /// Distance of rows.
    pub row: usize,
    /// Distance of columns.
    pub column: usize,
    /// Distance of imaginary from real parts.
    pub part: usize,
}

impl<T> ByMode<T> {
    /// The transposed matrices.
    pub fn t(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }
}

impl<T> Clone for ByMode<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ByMode<T> {}

// SAFETY: the memory is touched inside `mix` only, under its caller's promise.
unsafe impl<T: Send> Send for ByMode<T> {}
unsafe impl<T: Send> Sync for ByMode<T> {}

/// Sizes of the products.
#[derive(Clone, Copy)]
pub struct Sizes {
    /// Rows of `C`.
    pub p: usize,
    /// Inner size.
    pub r: usize,
    /// Columns of `C`.
    pub q: usize,
    /// Number of modes.
    pub modes: usize,
}

/// Modes of a tile.
const TILE: usize = 64;

/// `C = beta C + F S`, or `conj(F) S` if `CONJ`; `beta` is 0 (then `C` is not read) or 1.
///
/// # Safety
///
/// All entries must be valid, those of `c` for writing, and nobody else touches them.
pub unsafe fn mix<T: Real, const CONJ: bool>(
    workers: &Workers<T>,
    sizes: Sizes,
    f: ByMode<T>,
    s: ByMode<T>,
    beta: T,
    c: ByMode<T>,
) {
    let is_added = beta != T::zero();
    workers.tiles(sizes.modes.div_ceil(TILE), 0, |tile, _| {
        let modes = tile * TILE..sizes.modes.min((tile + 1) * TILE);
        // SAFETY: the caller's promise; tiles are disjoint ranges of modes.
        dispatch!(workers.isa(), V => V::<T>::vectorize(|| unsafe {
            let mut k = modes.start;
            while k + V::<T>::WIDTH <= modes.end {
                matrix::<V<T>, CONJ>(sizes, f, s, is_added, c, k);
                k += V::<T>::WIDTH;
            }
            for k in k..modes.end {
                matrix::<T, CONJ>(sizes, f, s, is_added, c, k);
            }
        }));
    });
}

/// All blocks of the matrices of the modes from `k` on.
#[inline(always)]
unsafe fn matrix<V: Lanes, const CONJ: bool>(
    sizes: Sizes,
    f: ByMode<V::Real>,
    s: ByMode<V::Real>,
    is_added: bool,
    c: ByMode<V::Real>,
    k: usize,
) {
    let mut p = 0;
    while p < sizes.p {
        let height = if sizes.p - p >= 2 { 2 } else { 1 };
        let mut q = 0;
        while q < sizes.q {
            let width = if sizes.q - q >= 4 { 4 } else { 1 };
            // SAFETY: the caller's promise.
            unsafe {
                match (height, width) {
                    (2, 4) => block::<V, CONJ, 2, 4>(sizes.r, f, s, is_added, c, k, p, q),
                    (2, _) => block::<V, CONJ, 2, 1>(sizes.r, f, s, is_added, c, k, p, q),
                    (_, 4) => block::<V, CONJ, 1, 4>(sizes.r, f, s, is_added, c, k, p, q),
                    _ => block::<V, CONJ, 1, 1>(sizes.r, f, s, is_added, c, k, p, q),
                }
            }
            q += width;
        }
        p += height;
    }
}

/// `P x Q` entries in registers.
#[allow(clippy::too_many_arguments)]
#[inline(always)]
unsafe fn block<V: Lanes, const CONJ: bool, const P: usize, const Q: usize>(
    inner: usize,
    f: ByMode<V::Real>,
    s: ByMode<V::Real>,
    is_added: bool,
    c: ByMode<V::Real>,
    k: usize,
    p: usize,
    q: usize,
) {
    // SAFETY: the caller's promise.
    let load = |m: ByMode<V::Real>, i: usize, j: usize| unsafe {
        let at = m.start.add(i * m.row + j * m.column + k);
        Complex::new(V::load(at), V::load(at.add(m.part)))
    };
    let zero = V::splat(num_traits::Zero::zero());
    let mut sum = [[Complex::new(zero, zero); Q]; P];
    for r in 0..inner {
        let right: [Complex<V>; Q] = std::array::from_fn(|j| load(s, r, q + j));
        for i in 0..P {
            let left = load(f, p + i, r);
            for j in 0..Q {
                let (sum, right) = (&mut sum[i][j], right[j]);
                sum.re = left.re.madd(right.re, sum.re);
                sum.im = left.re.madd(right.im, sum.im);
                if CONJ {
                    sum.re = left.im.madd(right.im, sum.re);
                    sum.im = left.im.nmadd(right.re, sum.im);
                } else {
                    sum.re = left.im.nmadd(right.im, sum.re);
                    sum.im = left.im.madd(right.re, sum.im);
                }
            }
        }
    }
    for (i, sum) in sum.iter().enumerate() {
        for (j, sum) in sum.iter().enumerate() {
            let mut value = *sum;
            if is_added {
                let old = load(c, p + i, q + j);
                value = Complex::new(value.re + old.re, value.im + old.im);
            }
            // SAFETY: the caller's promise.
            unsafe {
                let at = c.start.add((p + i) * c.row + (q + j) * c.column + k);
                value.re.store(at);
                value.im.store(at.add(c.part));
            }
        }
    }
}
