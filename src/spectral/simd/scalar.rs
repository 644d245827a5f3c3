//! One lane: the plain reals.

use super::Lanes;

macro_rules! impl_scalar {
    ($t:ident, $int:ident, $bits:ident) => {
        impl Lanes for $t {
            type Real = $t;
            const WIDTH: usize = 1;
            const FUSED: bool = false;

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
            fn at_least(self, bound: Self) -> Self {
                if bound > self { bound } else { self }
            }

            #[inline(always)]
            fn at_most(self, bound: Self) -> Self {
                if bound < self { bound } else { self }
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                self.abs()
            }

            #[inline(always)]
            fn signed_as(self, sign: Self) -> Self {
                self.copysign(sign)
            }

            #[inline(always)]
            fn nearest(self) -> Self {
                self.round_ties_even()
            }

            #[inline(always)]
            fn scale2(self, n: Self) -> Self {
                // In two steps: the exponent range is smaller than the range of `n`.
                let power = |k: $int| $t::from_bits((k + $t::MAX_EXP as $int - 1 << $t::MANTISSA_DIGITS - 1) as $bits);
                let n = n as $int;
                self * power(n / 2) * power(n - n / 2)
            }

            #[inline(always)]
            fn select_less(self, other: Self, yes: Self, no: Self) -> Self {
                if self < other { yes } else { no }
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

impl_scalar!(f32, i32, u32);
impl_scalar!(f64, i64, u64);
