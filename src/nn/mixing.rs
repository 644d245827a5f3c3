//! Products of complex matrices, one for each mode: the heart of a spectral convolution.
//!
//! `C[p, q] = sum_r F[p, r] S[r, q]` or, for the adjoints, `sum_r conj(F[p, r]) S[r, q]`, where each entry is a row of
//! modes. The lanes run along the modes, so nothing is shuffled, and a block of `C` stays in registers.

use crate::autodiff::{Workers, dispatch};
use crate::field::Real;
use crate::spectral::simd::Lanes;

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

/// Bytes of the modes of a tile.
const TILE_BYTES: usize = 256;
/// Rows of `F` that are packed together.
const STRIP: usize = 2;

/// `C = beta C + F S`, or `conj(F) S` if `CONJ`; `beta` is 0 (then `C` is not read) or 1.
///
/// Rows of modes are often a power of two apart, so that they share few sets of the caches. A tile of `S` and a strip of
/// `F` are therefore packed first; the strip then stays in the first level and the tile in the second.
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
    let tile_len = TILE_BYTES / size_of::<T>();
    let scratch_len = 2 * tile_len * sizes.r * (sizes.q + STRIP);
    workers.tiles(sizes.modes.div_ceil(tile_len), scratch_len, |tile, scratch| {
        let first = tile * tile_len;
        let tile = Tile { sizes, first, len: tile_len.min(sizes.modes - first), stride: tile_len };
        // SAFETY: the caller's promise; tiles are disjoint ranges of modes.
        dispatch!(workers.isa(), V => V::<T>::vectorize(#[inline(always)] || unsafe {
            products::<V<T>, CONJ>(tile, f, s, is_added, c, scratch)
        }));
    });
}

/// The modes `first .. first + len`; packed rows are `stride` values long.
#[derive(Clone, Copy)]
struct Tile {
    sizes: Sizes,
    first: usize,
    len: usize,
    stride: usize,
}

impl Tile {
    /// Packs entries `(i, j)`, `i < rows`, `j < columns`, from row `from` on; real part before imaginary part.
    #[inline(always)]
    unsafe fn pack<T: Real>(self, m: ByMode<T>, from: usize, (rows, columns): (usize, usize), to: &mut [T]) {
        for (n, to) in to.chunks_exact_mut(self.stride).take(2 * rows * columns).enumerate() {
            let (part, entry) = (n % 2, n / 2);
            let (i, j) = (from + entry / columns, entry % columns);
            // SAFETY: the caller's promise.
            unsafe {
                let source = m.start.add(i * m.row + j * m.column + part * m.part + self.first);
                std::ptr::copy_nonoverlapping(source, to.as_mut_ptr(), self.len);
            }
            to[self.len..].fill(T::zero());
        }
    }
}

/// All products of a tile.
#[inline(always)]
unsafe fn products<V: Lanes, const CONJ: bool>(
    tile: Tile,
    f: ByMode<V::Real>,
    s: ByMode<V::Real>,
    is_added: bool,
    c: ByMode<V::Real>,
    scratch: &mut [V::Real],
) {
    let Sizes { p: rows, r: inner, q: columns, .. } = tile.sizes;
    let (right, strip) = scratch.split_at_mut(2 * tile.stride * inner * columns);
    // SAFETY: the caller's promise; the packed rows have `stride` values each.
    unsafe {
        tile.pack(s, 0, (inner, columns), right);
        let mut p = 0;
        while p < rows {
            let height = STRIP.min(rows - p);
            tile.pack(f, p, (height, inner), strip);
            let mut q = 0;
            while q < columns {
                let width = if columns - q >= 4 { 4 } else { 1 };
                let mut k = 0;
                while k < tile.len {
                    let to = c.start.add(p * c.row + q * c.column + tile.first + k);
                    let c = ByMode { start: to, ..c };
                    let (left, right) = (strip.as_ptr().add(k), right.as_ptr().add(2 * q * tile.stride + k));
                    match (height, width) {
                        (2, 4) => block::<V, CONJ, 2, 4>(tile, left, right, is_added, c, tile.len - k),
                        (2, _) => block::<V, CONJ, 2, 1>(tile, left, right, is_added, c, tile.len - k),
                        (_, 4) => block::<V, CONJ, 1, 4>(tile, left, right, is_added, c, tile.len - k),
                        _ => block::<V, CONJ, 1, 1>(tile, left, right, is_added, c, tile.len - k),
                    }
                    k += V::WIDTH;
                }
                q += width;
            }
            p += height;
        }
    }
}

/// `P x Q` entries in registers, of which the first `len` modes are stored.
#[inline(always)]
unsafe fn block<V: Lanes, const CONJ: bool, const P: usize, const Q: usize>(
    tile: Tile,
    left: *const V::Real,
    right: *const V::Real,
    is_added: bool,
    c: ByMode<V::Real>,
    len: usize,
) {
    let zero = V::splat(num_traits::Zero::zero());
    let Sizes { r: inner, q: columns, .. } = tile.sizes;
    let mut re = [[zero; Q]; P];
    let mut im = [[zero; Q]; P];
    for r in 0..inner {
        // SAFETY: packed rows of whole vectors.
        unsafe {
            let right = right.add(2 * r * columns * tile.stride);
            let right_re: [V; Q] = std::array::from_fn(|j| V::load(right.add(2 * j * tile.stride)));
            let right_im: [V; Q] = std::array::from_fn(|j| V::load(right.add((2 * j + 1) * tile.stride)));
            for i in 0..P {
                let left = left.add(2 * (i * inner + r) * tile.stride);
                let (left_re, left_im) = (V::load(left), V::load(left.add(tile.stride)));
                for j in 0..Q {
                    re[i][j] = left_re.madd(right_re[j], re[i][j]);
                    im[i][j] = left_re.madd(right_im[j], im[i][j]);
                    if CONJ {
                        re[i][j] = left_im.madd(right_im[j], re[i][j]);
                        im[i][j] = left_im.nmadd(right_re[j], im[i][j]);
                    } else {
                        re[i][j] = left_im.nmadd(right_im[j], re[i][j]);
                        im[i][j] = left_im.madd(right_re[j], im[i][j]);
                    }
                }
            }
        }
    }
    for i in 0..P {
        for j in 0..Q {
            for (part, value) in [re[i][j], im[i][j]].into_iter().enumerate() {
                // SAFETY: the caller's promise for the first `len` modes.
                unsafe {
                    let to = c.start.add(i * c.row + j * c.column + part * c.part);
                    if len >= V::WIDTH {
                        let value = if is_added { value + V::load(to) } else { value };
                        value.store(to);
                    } else {
                        let mut lanes = [num_traits::Zero::zero(); 16];
                        value.store(lanes.as_mut_ptr());
                        for (k, &lane) in lanes[..len].iter().enumerate() {
                            *to.add(k) = if is_added { *to.add(k) + lane } else { lane };
                        }
                    }
                }
            }
        }
    }
}
