//! The two working precisions.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use crate::spectral::simd::Lanes;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`.
///
/// Solvers, estimators and everything that certifies run in `f64`; `f32` halves memory and time where the
/// model error is larger than 1e-6 anyway.
pub trait Real:
    sealed::Sealed
    + num_traits::Float
    + num_traits::FloatConst
    + num_traits::NumAssign
    + rustfft::FftNum
    + Lanes<Real = Self>
    + Default
    + Debug
    + Display
    + Sum
    + Send
    + Sync
    + 'static
{
    /// Widest vector of each instruction set that this scalar has (the scalar itself where the target lacks it).
    type Avx512: Lanes<Real = Self>;
    /// 256-bit vector.
    type Avx2: Lanes<Real = Self>;
    /// 128-bit vector of AArch64.
    type Neon: Lanes<Real = Self>;

    /// Machine name, `"f32"` or `"f64"`.
    const NAME: &'static str;

    /// Rounds a double.
    fn of(x: f64) -> Self;

    /// Widens to a double, exactly.
    fn as_f64(self) -> f64;
}

macro_rules! impl_real {
    ($t:ident, $avx512:ident, $avx2:ident, $neon:ident) => {
        impl Real for $t {
            #[cfg(target_arch = "x86_64")]
            type Avx512 = crate::spectral::simd::$avx512;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx512 = $t;
            #[cfg(target_arch = "x86_64")]
            type Avx2 = crate::spectral::simd::$avx2;
            #[cfg(not(target_arch = "x86_64"))]
            type Avx2 = $t;
            #[cfg(target_arch = "aarch64")]
            type Neon = crate::spectral::simd::$neon;
            #[cfg(not(target_arch = "aarch64"))]
            type Neon = $t;

            const NAME: &'static str = stringify!($t);

            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }

            #[inline(always)]
            fn as_f64(self) -> f64 {
                self as f64
            }
        }
    };
}

impl_real!(f32, F32x16, F32x8, F32x4);
impl_real!(f64, F64x8, F64x4, F64x2);
