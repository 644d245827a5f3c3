//! What the vectors of all instruction sets share, written once.

/// Defines a vector type and its [`Lanes`](super::Lanes) from the names of an instruction set's functions.
///
/// `fmadd(a, b, c) = a b + c`, `fmsub = a b - c`, `fnmadd = c - a b`; `copysign` to
/// `select_less` and the last four are functions of the calling file.
macro_rules! vector {
    (
        $(#[$doc:meta])* $name:ident($raw:ident): $width:literal x $real:ident, $isa:ident, $features:literal;
        $set1:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $mul:ident, $div:ident, $neg:ident,
        $fmadd:ident, $fmsub:ident, $fnmadd:ident;
        $max:ident, $min:ident, $abs:ident; $copysign:ident, $round:ident, $scale2:ident, $select_less:ident;
        $reverse:ident, $deinterleave:ident, $interleave:ident, $transpose:ident
    ) => {
        $(#[$doc])*
        ///
        /// Its operations may be executed only where [`Lanes::is_available`](super::Lanes::is_available) says so; plans check that once.
        #[derive(Clone, Copy, Debug)]
        #[repr(transparent)]
        pub struct $name($raw);

        // SAFETY of every block below: the processor has the instruction set, by the condition on the type above.
        // Memory is touched by `load` and `store` only, under their callers' promises.

        impl std::ops::Add for $name {
            type Output = Self;
            #[inline(always)]
            fn add(self, other: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $add(self.0, other.0) })
            }
        }

        impl std::ops::Sub for $name {
            type Output = Self;
            #[inline(always)]
            fn sub(self, other: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $sub(self.0, other.0) })
            }
        }

        impl std::ops::Mul for $name {
            type Output = Self;
            #[inline(always)]
            fn mul(self, other: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $mul(self.0, other.0) })
            }
        }

        impl std::ops::Neg for $name {
            type Output = Self;
            #[inline(always)]
            fn neg(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $neg(self.0) })
            }
        }

        impl $crate::spectral::simd::Lanes for $name {
            type Real = $real;
            const WIDTH: usize = $width;
            const FUSED: bool = true;

            #[inline(always)]
            fn is_available() -> bool {
                $crate::spectral::simd::Isa::$isa.is_available()
            }

            #[inline(always)]
            fn splat(x: $real) -> Self {
                // SAFETY: see above.
                Self(unsafe { $set1(x) })
            }

            #[inline(always)]
            unsafe fn load(p: *const $real) -> Self {
                // SAFETY: the caller's promise.
                Self(unsafe { $load(p) })
            }

            #[inline(always)]
            unsafe fn store(self, p: *mut $real) {
                // SAFETY: the caller's promise.
                unsafe { $store(p, self.0) }
            }

            #[inline(always)]
            fn madd(self, a: Self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $fmadd(self.0, a.0, b.0) })
            }

            #[inline(always)]
            fn msub(self, a: Self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $fmsub(self.0, a.0, b.0) })
            }

            #[inline(always)]
            fn nmadd(self, a: Self, b: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $fnmadd(self.0, a.0, b.0) })
            }

            #[inline(always)]
            fn over(self, other: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $div(self.0, other.0) })
            }

            #[inline(always)]
            fn at_least(self, bound: Self) -> Self {
                // SAFETY: see above. Of a NaN and a number these give the second.
                Self(unsafe { $max(bound.0, self.0) })
            }

            #[inline(always)]
            fn at_most(self, bound: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $min(bound.0, self.0) })
            }

            #[inline(always)]
            fn magnitude(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $abs(self.0) })
            }

            #[inline(always)]
            fn signed_as(self, sign: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $copysign(self.0, sign.0) })
            }

            #[inline(always)]
            fn nearest(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $round(self.0) })
            }

            #[inline(always)]
            fn scale2(self, n: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $scale2(self.0, n.0) })
            }

            #[inline(always)]
            fn select_less(self, other: Self, yes: Self, no: Self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $select_less(self.0, other.0, yes.0, no.0) })
            }

            #[inline(always)]
            fn reverse(self) -> Self {
                // SAFETY: see above.
                Self(unsafe { $reverse(self.0) })
            }

            #[inline(always)]
            fn deinterleave(a: Self, b: Self) -> (Self, Self) {
                // SAFETY: see above.
                let (even, odd) = unsafe { $deinterleave(a.0, b.0) };
                (Self(even), Self(odd))
            }

            #[inline(always)]
            fn interleave(even: Self, odd: Self) -> (Self, Self) {
                // SAFETY: see above.
                let (a, b) = unsafe { $interleave(even.0, odd.0) };
                (Self(a), Self(b))
            }

            #[inline(always)]
            fn transpose(tile: &mut [Self]) {
                // The off-diagonal blocks of every 2x2 block matrix are exchanged, for blocks of 1, 2, 4, ... lanes.
                assert_eq!(tile.len(), $width);
                let mut block = 1;
                while block < $width {
                    for i in (0..$width).filter(|i| i & block == 0) {
                        // SAFETY: see above.
                        let (a, b) = unsafe { $transpose(tile[i].0, tile[i + block].0, block) };
                        (tile[i], tile[i + block]) = (Self(a), Self(b));
                    }
                    block *= 2;
                }
            }

            #[inline(always)]
            fn vectorize<R>(f: impl FnOnce() -> R) -> R {
                #[target_feature(enable = $features)]
                unsafe fn with_features<R>(f: impl FnOnce() -> R) -> R {
                    f()
                }
                assert!(Self::is_available(), concat!(stringify!($isa), " is not available on this processor"));
                // SAFETY: just checked.
                unsafe { with_features(f) }
            }
        }
    };
}

pub(super) use vector;
