//! Vectors of `W` reals behind one trait, and complex numbers over them.
//!
//! A kernel is written once, generic over [`Lanes`], and instantiated for AVX-512, AVX2, NEON and the plain scalar
//! (`W = 1`, which is the oracle of the others). The choice is made once, when a plan is built ([`Isa::detect`]); the
//! kernel's body then runs inside [`Lanes::vectorize`], which is compiled with the instruction set's features. So a
//! binary built for a generic target is as fast as a native one.

mod complex;
mod scalar;

pub use complex::Complex;

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

    /// Number of lanes.
    const WIDTH: usize;

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

    /// Lanes in reverse order.
    fn reverse(self) -> Self;

    /// Transposes the `WIDTH x WIDTH` tile whose row `i` is `tile[i]`, in registers.
    fn transpose(tile: &mut [Self]);

    /// Runs `f` compiled with the features of this vector's instruction set.
    ///
    /// Call this around whole loops, never inside one.
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
