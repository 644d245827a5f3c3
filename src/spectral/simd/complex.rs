//! Complex numbers over lanes, real and imaginary parts in separate vectors.

use std::ops::{Add, Mul, Neg, Sub};

use super::Lanes;

/// `W` complex numbers; in memory `W` real parts followed by `W` imaginary parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C)]
pub struct Complex<V> {
    /// Real parts.
    pub re: V,
    /// Imaginary parts.
    pub im: V,
}

impl<V: Lanes> Complex<V> {
    /// `re + i im`.
    #[inline(always)]
    pub fn new(re: V, im: V) -> Self {
        Self { re, im }
    }

    /// Zero in every lane.
    #[inline(always)]
    pub fn zero() -> Self {
        let zero = V::splat(num_traits::Zero::zero());
        Self { re: zero, im: zero }
    }

    /// `a` times itself, with real `a`.
    #[inline(always)]
    pub fn scale(self, a: V) -> Self {
        Self { re: self.re * a, im: self.im * a }
    }

    /// `i z`.
    #[inline(always)]
    pub fn mul_i(self) -> Self {
        Self { re: -self.im, im: self.re }
    }

    /// `-i z`.
    #[inline(always)]
    pub fn mul_neg_i(self) -> Self {
        Self { re: self.im, im: -self.re }
    }

    /// `i a z`, with real `a`.
    #[inline(always)]
    pub fn scale_i(self, a: V) -> Self {
        Self { re: -(self.im * a), im: self.re * a }
    }

    /// `self + a z`, with real `a`.
    #[inline(always)]
    pub fn add_scaled(self, a: V, z: Self) -> Self {
        Self { re: a.madd(z.re, self.re), im: a.madd(z.im, self.im) }
    }

    /// `self + c z`.
    #[inline(always)]
    pub fn add_product(self, c: Self, z: Self) -> Self {
        Self { re: c.im.nmadd(z.im, c.re.madd(z.re, self.re)), im: c.im.madd(z.re, c.re.madd(z.im, self.im)) }
    }

    /// Conjugate.
    #[inline(always)]
    pub fn conj(self) -> Self {
        Self { re: self.re, im: -self.im }
    }

    /// Reads `W` real parts, then `W` imaginary parts.
    ///
    /// # Safety
    ///
    /// `p` must be valid for reading `2 W` reals.
    #[inline(always)]
    pub unsafe fn load(p: *const V::Real) -> Self {
        // SAFETY: the caller's promise.
        unsafe { Self { re: V::load(p), im: V::load(p.add(V::WIDTH)) } }
    }

    /// Writes `W` real parts, then `W` imaginary parts.
    ///
    /// # Safety
    ///
    /// `p` must be valid for writing `2 W` reals.
    #[inline(always)]
    pub unsafe fn store(self, p: *mut V::Real) {
        // SAFETY: the caller's promise.
        unsafe {
            self.re.store(p);
            self.im.store(p.add(V::WIDTH));
        }
    }
}

impl<V: Lanes> Add for Complex<V> {
    type Output = Self;
    #[inline(always)]
    fn add(self, z: Self) -> Self {
        Self { re: self.re + z.re, im: self.im + z.im }
    }
}

impl<V: Lanes> Sub for Complex<V> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, z: Self) -> Self {
        Self { re: self.re - z.re, im: self.im - z.im }
    }
}

impl<V: Lanes> Mul for Complex<V> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, z: Self) -> Self {
        Self { re: self.re.msub(z.re, self.im * z.im), im: self.re.madd(z.im, self.im * z.re) }
    }
}

impl<V: Lanes> Neg for Complex<V> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { re: -self.re, im: -self.im }
    }
}
