//! What equations of a complex field `A` with the cubic term `|A|^2 A` have in common.
//!
//! Physically the field is the pair `(Re A, Im A)`, whose coefficients are `r` and `s`. The state of a mode is
//!
//! ```text
//! a = (r + i s) / sqrt(2) = A_hat(m) / sqrt(2) ,    b = (r - i s) / sqrt(2) = conj(A_hat(-m)) / sqrt(2) ,
//! ```
//!
//! so that the half spectrum of the two holds all of `A_hat`, and a symbol `lambda(|k|^2)` of `A` is diagonal: `lambda`
//! on `a`, `conj(lambda)` on `b`. The factor makes the map unitary.

use num_complex::Complex64;

use super::constant;
use crate::spectral::simd::{Complex, Lanes};

/// `(r, s) -> (a, b)`.
#[inline(always)]
pub(super) fn load<V: Lanes>(physical: [Complex<V>; 2]) -> [Complex<V>; 2] {
    let [r, s] = physical.map(|z| z.scale(constant(std::f64::consts::FRAC_1_SQRT_2)));
    [r + s.mul_i(), r - s.mul_i()]
}

/// `(a, b) -> (r, s)`.
#[inline(always)]
pub(super) fn store<V: Lanes>(state: [Complex<V>; 2]) -> [Complex<V>; 2] {
    let [a, b] = state.map(|z| z.scale(constant(std::f64::consts::FRAC_1_SQRT_2)));
    [a + b, (b - a).mul_i()]
}

/// Applies `map` to two double-precision coefficients in place.
pub(super) fn in_place(map: fn([Complex<f64>; 2]) -> [Complex<f64>; 2], channels: &mut [Complex64]) {
    let mapped = map([channels[0], channels[1]].map(|z| Complex::new(z.re, z.im)));
    channels.iter_mut().zip(mapped).for_each(|(to, z)| *to = Complex64::new(z.re, z.im));
}

/// `P = |A|^2 (Re A, Im A)`.
#[inline(always)]
pub(super) fn cubic<V: Lanes>(fields: &[V], products: &mut [V]) {
    let (r, s) = (fields[0], fields[1]);
    let square = r.madd(r, s * s);
    products[0] = square * r;
    products[1] = square * s;
}

/// `p'(F) dF`. The Jacobian is symmetric (`P` is the gradient of `|A|^4 / 4`), so this is the transposed product too.
#[inline(always)]
pub(super) fn cubic_jvp<V: Lanes>(fields: &[V], tangent: &[V], products: &mut [V]) {
    let (r, s) = (fields[0], fields[1]);
    let square = r.madd(r, s * s);
    let twice = constant::<V>(2.0) * r.madd(tangent[0], s * tangent[1]);
    products[0] = square.madd(tangent[0], twice * r);
    products[1] = square.madd(tangent[1], twice * s);
}

/// State coefficients of `g |A|^2 A` from those of `P`.
#[inline(always)]
pub(super) fn tendency<V: Lanes>(g: Complex64, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
    let [a, b] = load([products[0], products[1]]);
    let g = Complex::new(constant(g.re), constant(g.im));
    tendency[0] = g * a;
    tendency[1] = g.conj() * b;
}

/// Adjoint of [`tendency`].
#[inline(always)]
pub(super) fn tendency_adjoint<V: Lanes>(g: Complex64, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
    let g = Complex::new(constant(g.re), constant(g.im));
    let [r, s] = store([g.conj() * tendency[0], g * tendency[1]]);
    products[0] = r;
    products[1] = s;
}

/// `lambda` for the first component of the state, its conjugate for the second.
pub(super) fn symbol(lambda: Complex64, channel: usize) -> Complex64 {
    if channel == 0 { lambda } else { lambda.conj() }
}
