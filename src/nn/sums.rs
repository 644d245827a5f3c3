//! Sums of many values: those of a block in lanes, those of blocks in double precision.
//!
//! So the rounding error does not grow with the number of values, and the order of summation is that of the values, on
//! any number of threads.

use crate::autodiff::dispatch;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Values that are summed in the working precision.
const BLOCK: usize = 512;

/// Independent sums of vectors, to hide the latency of additions.
const CHAINS: usize = 4;

/// `sum_i x_i`.
pub(super) fn sum<T: Real>(isa: Isa, x: &[T]) -> f64 {
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
        blocks::<V<T>, 1>(x.len(), #[inline(always)] |i| [lanes(x, i, T::zero())])[0]
    }))
}

/// `sum_i (x_i - c)^2`.
pub(super) fn squares<T: Real>(isa: Isa, x: &[T], c: T) -> f64 {
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
        blocks::<V<T>, 1>(x.len(), #[inline(always)] |i| {
            let x = lanes::<V<T>>(x, i, c) - V::<T>::splat(c);
            [x * x]
        })[0]
    }))
}

/// `sum_i y_i` and `sum_i y_i (x_i - c)`.
pub(super) fn products<T: Real>(isa: Isa, y: &[T], x: &[T], c: T) -> [f64; 2] {
    assert_eq!(y.len(), x.len(), "factors of a sum");
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
        blocks::<V<T>, 2>(x.len(), #[inline(always)] |i| {
            let (x, y) = (lanes::<V<T>>(x, i, c), lanes::<V<T>>(y, i, T::zero()));
            [y, y * (x - V::<T>::splat(c))]
        })
    }))
}

/// Sums of `term(i)`, a vector over `i .. i + W`, for all multiples `i` of `W` below `len`.
#[inline(always)]
fn blocks<V: Lanes, const N: usize>(len: usize, term: impl Fn(usize) -> [V; N]) -> [f64; N] {
    let mut total = [0.0; N];
    for start in (0..len).step_by(BLOCK) {
        let end = len.min(start + BLOCK);
        let mut sums = [[V::splat(V::Real::default()); N]; CHAINS];
        for i in (start..end).step_by(CHAINS * V::WIDTH) {
            for (chain, sums) in sums.iter_mut().enumerate() {
                let i = i + chain * V::WIDTH;
                if i < end {
                    for (sum, term) in sums.iter_mut().zip(term(i)) {
                        *sum = *sum + term;
                    }
                }
            }
        }
        let [a, b, c, d] = sums;
        for (n, total) in total.iter_mut().enumerate() {
            let mut lanes = [V::Real::default(); 16];
            // SAFETY: no vector has more than sixteen lanes.
            unsafe { ((a[n] + b[n]) + (c[n] + d[n])).store(lanes.as_mut_ptr()) };
            *total += lanes[..V::WIDTH].iter().map(|lane| lane.as_f64()).sum::<f64>();
        }
    }
    total
}

/// The vector `x[i ..]`, with `pad` beyond the end.
#[inline(always)]
fn lanes<V: Lanes>(x: &[V::Real], i: usize, pad: V::Real) -> V {
    let x = &x[i..];
    if x.len() >= V::WIDTH {
        // SAFETY: just checked.
        return unsafe { V::load(x.as_ptr()) };
    }
    let mut padded = [pad; 16];
    padded[..x.len()].copy_from_slice(x);
    // SAFETY: no vector has more than sixteen lanes.
    unsafe { V::load(padded.as_ptr()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_sums_all_values_and_nothing_beyond() {
        for isa in [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available()) {
            for len in [0, 1, 7, 16, 63, 511, 512, 513, 3000] {
                // Integers: every sum is exact.
                let x: Vec<f32> = (0..len).map(|i| (i % 7) as f32).collect();
                let y: Vec<f32> = (0..len).map(|i| (i % 5) as f32).collect();
                let exact = |f: fn(f64, f64) -> f64| (0..len).map(|i| f((i % 7) as f64, (i % 5) as f64)).sum::<f64>();
                assert_eq!(sum(isa, &x), exact(|x, _| x), "{isa:?} {len}");
                assert_eq!(squares(isa, &x, 2.0), exact(|x, _| (x - 2.0).powi(2)), "{isa:?} {len}");
                assert_eq!(products(isa, &y, &x, 2.0), [exact(|_, y| y), exact(|x, y| y * (x - 2.0))], "{isa:?} {len}");
            }
        }
    }

    #[test]
    fn a_million_single_precision_values_are_summed_to_single_precision() {
        let x: Vec<f32> = (0..1 << 20).map(|i| 1.0 + (i as f32).sin()).collect();
        let exact: f64 = x.iter().map(|&x| f64::from(x)).sum();
        // Blocks of 512 positive values in at least four sums of at most 128: 128 roundings at worst, rarely all one way.
        assert!((sum(Isa::detect(), &x) / exact - 1.0).abs() < 128.0 * f64::from(f32::EPSILON) / 2.0);
        assert!((sum(Isa::Scalar, &x) / exact - 1.0).abs() < 128.0 * f64::from(f32::EPSILON) / 2.0);
    }
}
