//! Vectors of `W` reals behind one trait, and complex numbers over them.
//!
//! A kernel is written once, generic over [`Lanes`], and instantiated for AVX-512, AVX2, NEON and the plain scalar
//! (`W = 1`, which is the oracle of the others). The choice is made once, when a plan is built ([`Isa::detect`]); the
//! kernel's body then runs inside [`Lanes::vectorize`], which is compiled with the instruction set's features. So a
//! binary built for a generic target is as fast as a native one.

pub mod activation;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod complex;
#[cfg(test)]
mod double_double;
pub mod math;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;

pub use activation::Activation;
#[cfg(target_arch = "x86_64")]
pub use avx2::{F32x8, F64x4};
#[cfg(target_arch = "x86_64")]
pub use avx512::{F32x16, F64x8};
pub use complex::Complex;
#[cfg(target_arch = "aarch64")]
pub use neon::{F32x4, F64x2};

use std::ops::{Add, Mul, Neg, Sub};

use crate::field::Real;

/// A vector of [`Lanes::WIDTH`] reals with elementwise arithmetic.
///
/// All methods are inlined; outside [`Lanes::vectorize`] they are correct, but slow.
pub trait Lanes:
    Copy + Send + Sync + 'static + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Neg<Output = Self>
{
    /// The scalar in each lane.
    type Real: Real;

    /// Number of lanes, a power of two of at most 16.
    const WIDTH: usize;

    /// Whether `madd` and its kin round once.
    const FUSED: bool;

    /// Whether this processor has the instruction set of this vector; nothing else may be called where it has not.
    fn is_available() -> bool;

    /// All lanes equal to `x`.
    fn splat(x: Self::Real) -> Self;

    /// Reads `WIDTH` consecutive reals; no alignment is needed (64 bytes is fastest).
    ///
    /// # Safety
    ///
    /// `p` must be valid for reading `WIDTH` reals.
    unsafe fn load(p: *const Self::Real) -> Self;

    /// Writes `WIDTH` consecutive reals.
    ///
    /// # Safety
    ///
    /// `p` must be valid for writing `WIDTH` reals.
    unsafe fn store(self, p: *mut Self::Real);

    /// `self * a + b`, fused where the instruction set fuses.
    fn madd(self, a: Self, b: Self) -> Self;

    /// `self * a - b`, fused where the instruction set fuses.
    fn msub(self, a: Self, b: Self) -> Self;

    /// `b - self * a`, fused where the instruction set fuses.
    fn nmadd(self, a: Self, b: Self) -> Self;

    /// Lanewise quotient.
    fn over(self, other: Self) -> Self;

    /// The larger of `self` and `bound`; NaN stays.
    fn at_least(self, bound: Self) -> Self;

    /// The smaller of `self` and `bound`; NaN stays.
    fn at_most(self, bound: Self) -> Self;

    /// Absolute value.
    fn magnitude(self) -> Self;

    /// The magnitude of `self` with the sign of `sign`.
    fn signed_as(self, sign: Self) -> Self;

    /// Nearest integer, ties to even.
    fn nearest(self) -> Self;

    /// `self * 2^n` for integral `n`, `|n| <= 2000` (`f64`) or `250` (`f32`).
    ///
    /// For `self` near one it rounds at most once: overflow gives infinity, and underflow is gradual.
    fn scale2(self, n: Self) -> Self;

    /// `yes` where `self < other`, else `no` (so too where either is NaN).
    fn select_less(self, other: Self, yes: Self, no: Self) -> Self;

    /// Lanes in reverse order.
    fn reverse(self) -> Self;

    /// The lanes of even and of odd index of the sequence `a, b`.
    fn deinterleave(a: Self, b: Self) -> (Self, Self);

    /// Inverse of [`Lanes::deinterleave`].
    fn interleave(even: Self, odd: Self) -> (Self, Self);

    /// Transposes the `WIDTH x WIDTH` tile whose row `i` is `tile[i]`, in registers.
    fn transpose(tile: &mut [Self]);

    /// Runs `f` compiled with the features of this vector's instruction set.
    ///
    /// Call this around whole loops, never inside one, with a closure marked `#[inline(always)]`: one that the compiler
    /// leaves a function of its own is compiled without those features.
    ///
    /// # Panics
    ///
    /// If the processor lacks the instruction set.
    fn vectorize<R>(f: impl FnOnce() -> R) -> R;
}

/// Instruction set a plan was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// One real at a time; runs anywhere.
    Scalar,
    /// 128-bit vectors of AArch64.
    Neon,
    /// 256-bit vectors with fused multiply-add.
    Avx2,
    /// 512-bit vectors.
    Avx512,
}

impl Isa {
    /// The widest set this processor has.
    pub fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512dq")
                && std::arch::is_x86_feature_detected!("avx512vl")
            {
                return Self::Avx512;
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        if cfg!(target_arch = "aarch64") { Self::Neon } else { Self::Scalar }
    }

    /// Whether this processor can run it.
    pub fn is_available(self) -> bool {
        self == Self::Scalar || (self <= Self::detect() && (self == Self::Neon) == cfg!(target_arch = "aarch64"))
    }
}

#[cfg(test)]
mod tests {
    use num_traits::Float;

    use super::*;
    use crate::spectral::fft::testing::{for_each_vector, noise};

    fn vector<V: Lanes>(x: &[f64]) -> V {
        let reals: Vec<V::Real> = x.iter().map(|&x| V::Real::of(x)).collect();
        assert_eq!(reals.len(), V::WIDTH);
        // SAFETY: there are W reals.
        unsafe { V::load(reals.as_ptr()) }
    }

    fn lanes<V: Lanes>(v: V) -> Vec<V::Real> {
        let mut reals = vec![V::Real::of(0.0); V::WIDTH];
        // SAFETY: there are W reals.
        unsafe { v.store(reals.as_mut_ptr()) };
        reals
    }

    fn arithmetic<V: Lanes>() {
        let w = V::WIDTH;
        let (x, y, z) = (noise(w, 1), noise(w, 2), noise(w, 3));
        let (a, b, c) = (vector::<V>(&x), vector::<V>(&y), vector::<V>(&z));
        let scalar = |f: fn(V::Real, V::Real, V::Real) -> V::Real| -> Vec<V::Real> {
            (0..w).map(|l| f(V::Real::of(x[l]), V::Real::of(y[l]), V::Real::of(z[l]))).collect()
        };
        assert_eq!(lanes(a + b), scalar(|a, b, _| a + b));
        assert_eq!(lanes(a - b), scalar(|a, b, _| a - b));
        assert_eq!(lanes(a * b), scalar(|a, b, _| a * b));
        assert_eq!(lanes(a.over(b)), scalar(|a, b, _| a / b));
        assert_eq!(lanes(-a), scalar(|a, _, _| -a));
        assert_eq!(lanes(V::splat(V::Real::of(x[0]))), vec![V::Real::of(x[0]); w]);
        let same = |vector: V, scalar: Vec<V::Real>| {
            for (v, s) in lanes(vector).into_iter().zip(scalar) {
                // Operands are below one, so one rounding that the fused operation leaves out is at most eps / 2.
                assert!((v - s).as_f64().abs() <= <V::Real as num_traits::Float>::epsilon().as_f64());
            }
        };
        same(a.madd(b, c), scalar(|a, b, c| a * b + c));
        same(a.msub(b, c), scalar(|a, b, c| a * b - c));
        same(a.nmadd(b, c), scalar(|a, b, c| c - a * b));
    }

    #[test]
    fn arithmetic_equals_that_of_the_scalar_in_each_lane() {
        for_each_vector!(arithmetic);
    }

    fn selections<V: Lanes>() {
        let nan = f64::NAN;
        let values = [0.0, -0.0, 0.5, -0.5, 1.5, -2.5, 3.7, -1e9, f64::INFINITY, f64::NEG_INFINITY, nan];
        let check = |name: &str, vector: V, scalar: V::Real| {
            for lane in lanes(vector) {
                let same = lane.as_f64().to_bits() == scalar.as_f64().to_bits();
                assert!(same || (lane.is_nan() && scalar.is_nan()), "{name}: {lane} for {scalar}");
            }
        };
        for x in values.map(V::Real::of) {
            let a = V::splat(x);
            check("magnitude", a.magnitude(), x.magnitude());
            check("nearest", a.nearest(), x.nearest());
            for y in values.map(V::Real::of) {
                let b = V::splat(y);
                check("at_least", a.at_least(b), x.at_least(y));
                check("at_most", a.at_most(b), x.at_most(y));
                check("signed_as", a.signed_as(b), x.signed_as(y));
                check("select_less", a.select_less(b, a, -b), if x < y { x } else { -y });
            }
        }
        // Powers of two through the whole range, from zero over the subnormal ones to infinity.
        let (low, high) = if V::Real::NAME == "f32" { (-160, 140) } else { (-1100, 1040) };
        for n in low..=high {
            let exact = V::Real::of(1.25 * f64::from(n / 2).exp2() * f64::from(n - n / 2).exp2());
            let [x, n] = [1.25, f64::from(n)].map(|x| V::splat(V::Real::of(x)));
            check("scale2", x.scale2(n), exact);
        }
    }

    #[test]
    fn selections_and_powers_of_two_equal_those_of_the_scalar_also_for_nan() {
        for_each_vector!(selections);
    }

    fn shuffles<V: Lanes>() {
        let w = V::WIDTH;
        let x: Vec<f64> = (0..w * w).map(|i| i as f64).collect();
        let of = |x: Vec<f64>| -> Vec<V::Real> { x.into_iter().map(V::Real::of).collect() };
        let rows: Vec<V> = x.chunks(w).map(vector).collect();
        assert_eq!(lanes(rows[0].reverse()), of((0..w).rev().map(|l| l as f64).collect()));

        let pair: Vec<f64> = (0..2 * w).map(|l| l as f64).collect();
        let (a, b) = (vector::<V>(&pair[..w]), vector::<V>(&pair[w..]));
        let (even, odd) = V::deinterleave(a, b);
        if w > 1 {
            assert_eq!(lanes(even), of((0..w).map(|l| 2.0 * l as f64).collect()));
            assert_eq!(lanes(odd), of((0..w).map(|l| 2.0 * l as f64 + 1.0).collect()));
        }
        let (first, second) = V::interleave(even, odd);
        assert_eq!([lanes(first), lanes(second)], [lanes(a), lanes(b)]);

        let mut tile = rows;
        V::transpose(&mut tile);
        for (i, row) in tile.into_iter().enumerate() {
            assert_eq!(lanes(row), of((0..w).map(|l| (l * w + i) as f64).collect()), "row {i}");
        }
    }

    #[test]
    fn shuffles_move_every_lane_to_its_place() {
        for_each_vector!(shuffles);
    }

    fn product<V: Lanes>() {
        let w = V::WIDTH;
        let (x, y) = (noise(2 * w, 4), noise(2 * w, 5));
        let z = Complex::new(vector::<V>(&x[..w]), vector(&x[w..])) * Complex::new(vector(&y[..w]), vector(&y[w..]));
        let (re, im) = V::vectorize(|| (lanes(z.re), lanes(z.im)));
        for l in 0..w {
            let exact = num_complex::Complex::new(x[l], x[w + l]) * num_complex::Complex::new(y[l], y[w + l]);
            // Three roundings of operands and result, all below 2.
            let tolerance = 4.0 * <V::Real as num_traits::Float>::epsilon().as_f64();
            assert!((re[l].as_f64() - exact.re).abs() < tolerance && (im[l].as_f64() - exact.im).abs() < tolerance);
        }
    }

    #[test]
    fn complex_product_is_that_of_each_lane() {
        for_each_vector!(product);
    }
}
