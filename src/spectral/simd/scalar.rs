//! One lane: the plain reals.

use super::Lanes;

macro_rules! impl_scalar {
    ($t:ident) => {
        impl Lanes for $t {
            type Real = $t;
            const WIDTH: usize = 1;

            #[inline(always)]
            fn is_available() -> bool {
                true
            }

            #[inline(always)]
            fn splat(x: $t) -> Self {
                x
            }

            #[inline(always)]
            unsafe fn load(p: *const $t) -> Self {
                // SAFETY: the caller's promise.
                unsafe { *p }
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut $t) {
                // SAFETY: the caller's promise.
                unsafe { *p = self }
            }

            // No fused operation here: without the FMA feature `f64::mul_add` is a library call.
            #[inline(always)]
            fn madd(self, a: Self, b: Self) -> Self {
                self * a + b
            }

            #[inline(always)]
            fn msub(self, a: Self, b: Self) -> Self {
                self * a - b
            }

            #[inline(always)]
            fn nmadd(self, a: Self, b: Self) -> Self {
                b - self * a
            }

            #[inline(always)]
            fn over(self, other: Self) -> Self {
                self / other
            }

            #[inline(always)]
            fn reverse(self) -> Self {
                self
            }

            #[inline(always)]
            fn deinterleave(a: Self, b: Self) -> (Self, Self) {
                (a, b)
            }

            #[inline(always)]
            fn interleave(even: Self, odd: Self) -> (Self, Self) {
                (even, odd)
            }

            #[inline(always)]
            fn transpose(_tile: &mut [Self]) {}

            #[inline(always)]
            fn vectorize<R>(f: impl FnOnce() -> R) -> R {
                f()
            }
        }
    };
}

impl_scalar!(f32);
impl_scalar!(f64);
