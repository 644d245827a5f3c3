//! The kernel of all passes: a matrix product whose right factor is gathered from memory by two tables.

use crate::autodiff::dispatch;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Terms that are summed in registers before they are added to the result. So many lines of the right factor, for three
/// vectors, stay in the first-level cache while all rows of the result pass by; and a sum of sums is more accurate.
const CHUNK: usize = 128;

/// Vectors of a register block.
const VECTORS: usize = 3;

/// `c[m][v] += sum_k a[k][m] x[positions[v] + offsets[k] ..]`, where the entries of `c` (and of `x`) are vectors of the
/// instruction set: `W` consecutive reals, beginning anywhere in `x`.
///
/// `a` is `[offsets.len(), rows]`, `c` is `[rows, positions.len() W]`.
///
/// # Panics
///
/// If the shapes do not fit, or a vector lies beyond `x`.
pub(super) fn product<T: Real>(
    isa: Isa,
    c: &mut [T],
    a: &[T],
    rows: usize,
    x: &[T],
    positions: &[usize],
    offsets: &[usize],
) {
    assert_eq!(a.len(), rows * offsets.len(), "left factor");
    // Accumulators of a block of eight rows need 32 registers.
    let tallest = if matches!(isa, Isa::Avx512 | Isa::Neon) { 8 } else { 4 };
    let end = |table: &[usize]| table.iter().copied().max().unwrap_or(0);
    let end = end(positions) + end(offsets);
    dispatch!(isa, V => {
        assert_eq!(c.len(), rows * positions.len() * V::<T>::WIDTH, "result");
        assert!(end + V::<T>::WIDTH <= x.len(), "right factor");
        // SAFETY: all loads and stores lie inside, as just checked.
        V::<T>::vectorize(#[inline(always)] || unsafe { sweep::<V<T>>(c, a, rows, x, positions, offsets, tallest) })
    });
}

/// All blocks of the result.
///
/// # Safety
///
/// As [`product`] checks.
#[inline(always)]
unsafe fn sweep<V: Lanes>(
    c: &mut [V::Real],
    a: &[V::Real],
    rows: usize,
    x: &[V::Real],
    positions: &[usize],
    offsets: &[usize],
    tallest: usize,
) {
    let stride = positions.len() * V::WIDTH;
    let blocks = positions.len().div_ceil(VECTORS);
    for block in 0..blocks {
        // Near-equal blocks: four vectors are twice two, not three and one.
        let first = block * positions.len() / blocks;
        let vectors = &positions[first..(block + 1) * positions.len() / blocks];
        for (chunk, offsets) in offsets.chunks(CHUNK).enumerate() {
            let mut row = 0;
            while row < rows {
                let height = (rows - row).min(tallest);
                // SAFETY: the block starts inside.
                unsafe {
                    let c = c.as_mut_ptr().add(row * stride + first * V::WIDTH);
                    let a = a.as_ptr().add(chunk * CHUNK * rows + row);
                    row += tall::<V>(height, vectors, c, stride, a, rows, x.as_ptr(), offsets);
                }
            }
        }
    }
}

/// One block of at most `height` rows; returns its rows.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "two matrices with strides")]
unsafe fn tall<V: Lanes>(
    height: usize,
    vectors: &[usize],
    c: *mut V::Real,
    stride: usize,
    a: *const V::Real,
    rows: usize,
    x: *const V::Real,
    offsets: &[usize],
) -> usize {
    macro_rules! blocks {
        ($($m:literal)*) => {
            // SAFETY: the caller's promise.
            unsafe {
                match (height, vectors) {
                    $(
                        ($m.., &[p, q, r]) => { accumulate::<V, $m, 3>(c, stride, a, rows, x, [p, q, r], offsets); $m }
                        ($m.., &[p, q]) => { accumulate::<V, $m, 2>(c, stride, a, rows, x, [p, q], offsets); $m }
                        ($m.., &[p]) => { accumulate::<V, $m, 1>(c, stride, a, rows, x, [p], offsets); $m }
                    )*
                    _ => unreachable!("a block has one to {VECTORS} vectors"),
                }
            }
        };
    }
    blocks!(8 4 2 1)
}

/// The innermost loop: `M N` sums in registers.
#[inline(always)]
unsafe fn accumulate<V: Lanes, const M: usize, const N: usize>(
    c: *mut V::Real,
    stride: usize,
    a: *const V::Real,
    rows: usize,
    x: *const V::Real,
    positions: [usize; N],
    offsets: &[usize],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let x = positions.map(|p| x.add(p));
        let mut a = a;
        let mut sum = [[V::splat(V::Real::default()); N]; M];
        for &offset in offsets {
            let x = x.map(|x| V::load(x.add(offset)));
            for (m, sum) in sum.iter_mut().enumerate() {
                let a = V::splat(*a.add(m));
                for (sum, x) in sum.iter_mut().zip(x) {
                    *sum = a.madd(x, *sum);
                }
            }
            a = a.add(rows);
        }
        for (m, sum) in sum.into_iter().enumerate() {
            for (n, sum) in sum.into_iter().enumerate() {
                let c = c.add(m * stride + n * V::WIDTH);
                (V::load(c) + sum).store(c);
            }
        }
    }
}
