//! What the tests of both kernels share.

use std::f64::consts::TAU;

use crate::field::Real;

/// Powers of two, products of small primes, and lengths at which the kernels change their order of work.
pub(in crate::spectral) const LENGTHS: [usize; 20] =
    [16, 32, 48, 64, 80, 96, 112, 120, 128, 224, 256, 384, 480, 512, 1000, 1024, 1536, 2048, 3072, 4096];

/// Calls a generic function for every vector type of this processor.
macro_rules! for_each_vector {
    ($f:ident) => {
        $f::<f64>();
        $f::<f32>();
        let detected = $crate::spectral::simd::Isa::detect();
        for isa in
            [$crate::spectral::simd::Isa::Avx512, $crate::spectral::simd::Isa::Avx2, $crate::spectral::simd::Isa::Neon]
        {
            if !isa.is_available() {
                println!("{isa:?} skipped: this processor has {detected:?}");
                continue;
            }
            match isa {
                $crate::spectral::simd::Isa::Avx512 => {
                    $f::<<f64 as $crate::field::Real>::Avx512>();
                    $f::<<f32 as $crate::field::Real>::Avx512>();
                }
                $crate::spectral::simd::Isa::Avx2 => {
                    $f::<<f64 as $crate::field::Real>::Avx2>();
                    $f::<<f32 as $crate::field::Real>::Avx2>();
                }
                _ => {
                    $f::<<f64 as $crate::field::Real>::Neon>();
                    $f::<<f32 as $crate::field::Real>::Neon>();
                }
            }
        }
    };
}
pub(in crate::spectral) use for_each_vector;

/// Reproducible numbers in `[-1, 1)`.
pub(in crate::spectral) fn noise(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// The defining sum, with exact reduction of the angle; summed in blocks, as one long sum would be less accurate than
/// the transforms it is to check.
pub(in crate::spectral) fn dft(z: &[[f64; 2]], inverse: bool) -> Vec<[f64; 2]> {
    let n = z.len();
    let block = n.isqrt().max(1);
    let sign = if inverse { 1.0 } else { -1.0 };
    let roots: Vec<(f64, f64)> = (0..n).map(|j| (sign * TAU * j as f64 / n as f64).sin_cos()).collect();
    let add = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
    let term = |j: usize, m: usize| {
        let (sin, cos) = roots[j * m % n];
        [z[j][0] * cos - z[j][1] * sin, z[j][0] * sin + z[j][1] * cos]
    };
    let sum = |from: usize, m: usize| (from..n.min(from + block)).map(|j| term(j, m)).fold([0.0, 0.0], add);
    (0..n).map(|m| (0..n).step_by(block).map(|from| sum(from, m)).fold([0.0, 0.0], add)).collect()
}

/// Error allowed in a mode of `n` points of size one.
///
/// A fast transform has relative l2 error `O(eps log2 n)` (Higham, *Accuracy and Stability*, th. 24.2), so a mode, of size
/// `sqrt n`, has `c eps log2 n sqrt n` with small `c`; 4 covers the maximum over all modes and the
/// error of the sum in doubles.
pub(in crate::spectral) fn round_off<T: Real>(n: usize) -> f64 {
    4.0 * T::epsilon().as_f64() * (n as f64).log2().max(1.0) * (n as f64).sqrt()
}
