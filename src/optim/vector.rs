//! Kernels on flat vectors.
//!
//! They are plain loops that the compiler vectorises for the instruction set at hand. Nothing is contracted to fused
//! operations and every sum has a fixed order, so the bits depend neither on the instruction set nor on the threads.

use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Elements that one thread takes at a time; a halving above this length is worth a hand-over between threads.
pub(super) const TILE: usize = 1 << 16;

/// Partial sums of [`dot`]: enough to fill the pipelines of any instruction set.
const PARTIALS: usize = 32;

/// Runs `f` compiled for the widest instruction set of this processor.
#[inline(always)]
pub(super) fn vectorize<T: Real, R>(f: impl FnOnce() -> R) -> R {
    match Isa::detect() {
        Isa::Avx512 => T::Avx512::vectorize(f),
        Isa::Avx2 => T::Avx2::vectorize(f),
        Isa::Neon => T::Neon::vectorize(f),
        Isa::Scalar => f(),
    }
}

/// Where a vector of more than [`TILE`] elements is cut in two: half of its tiles, rounded up.
pub(super) fn halve(len: usize) -> usize {
    len.div_ceil(TILE).div_ceil(2) * TILE
}

/// Inner product, summed in `f64`.
pub(super) fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len(), "dot");
    if a.len() <= TILE {
        return vectorize::<T, _>(
            #[inline(always)]
            || dot_kernel(a, b),
        );
    }
    let ((a, a_rest), (b, b_rest)) = (a.split_at(halve(a.len())), b.split_at(halve(b.len())));
    let (first, second) = rayon::join(|| dot(a, b), || dot(a_rest, b_rest));
    first + second
}

/// [`dot`] of one tile, for use inside a vectorised function.
#[inline(always)]
pub(super) fn dot_kernel<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut partials = [0.0; PARTIALS];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<PARTIALS>(), b.as_chunks::<PARTIALS>());
    for (a, b) in a.iter().zip(b) {
        for l in 0..PARTIALS {
            partials[l] += a[l].as_f64() * b[l].as_f64();
        }
    }
    let mut width = PARTIALS;
    while width > 1 {
        width /= 2;
        for l in 0..width {
            partials[l] += partials[l + width];
        }
    }
    let mut rest = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a.as_f64() * b.as_f64();
    }
    partials[0] + rest
}

/// `y_i = f(y_i, x_i)`.
pub(super) fn update<T: Real>(y: &mut [T], x: &[T], f: impl Fn(T, T) -> T + Copy + Sync + Send) {
    assert_eq!(y.len(), x.len(), "update");
    if y.len() <= TILE {
        return vectorize::<T, _>(
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f(*y, x);
                }
            },
        );
    }
    let at = halve(y.len());
    let ((y, y_rest), (x, x_rest)) = (y.split_at_mut(at), x.split_at(at));
    rayon::join(|| update(y, x, f), || update(y_rest, x_rest, f));
}

/// `y += a x`.
pub(super) fn add_scaled<T: Real>(y: &mut [T], a: f64, x: &[T]) {
    let a = T::of(a);
    update(
        y,
        x,
        #[inline(always)]
        |y, x| y + a * x,
    );
}

/// `y *= a`.
pub(super) fn scale<T: Real>(y: &mut [T], a: f64) {
    let a = T::of(a);
    vectorize::<T, _>(
        #[inline(always)]
        || y.iter_mut().for_each(|y| *y *= a),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::noise;

    #[test]
    fn dot_is_the_sum_of_products() {
        for n in [0, 1, 31, 32, 33, 1000] {
            let (a, b) = (noise(n, 1), noise(n, 2));
            let naive: f64 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            // n roundings of terms below one.
            assert!((dot(&a, &b) - naive).abs() <= 1e-16 * (n * n) as f64, "{n}");
        }
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let n = 5 * TILE + 77;
        let (a, b) = (noise(n, 1), noise(n, 2));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut y = a.clone();
                add_scaled(&mut y, 0.3, &b);
                (dot(&a, &b), y)
            })
        };
        assert_eq!(run(1), run(3));
    }
}
