//! What equations of one field with a square in the nonlinear term have in common: `P = u^2`, and the flux form
//! `N = -(a/2) (u^2)_x`, `N_hat = -(i a k / 2) P_hat`.

use super::{Wave, constant};
use crate::spectral::simd::{Complex, Lanes};

/// `P = u^2`.
#[inline(always)]
pub(super) fn square<V: Lanes>(fields: &[V], products: &mut [V]) {
    products[0] = fields[0] * fields[0];
}

/// `2 u v`: the derivative of the square along `v`, and its transpose too.
#[inline(always)]
pub(super) fn square_jvp<V: Lanes>(fields: &[V], tangent: &[V], products: &mut [V]) {
    products[0] = constant::<V>(2.0) * fields[0] * tangent[0];
}

/// `N_hat = -(i a k / 2) P_hat`.
#[inline(always)]
pub(super) fn tendency<V: Lanes>(a: f64, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
    tendency[0] = products[0].scale_i(constant::<V>(-0.5 * a) * wave.k[0]);
}

/// Adjoint of [`tendency`].
#[inline(always)]
pub(super) fn tendency_adjoint<V: Lanes>(a: f64, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
    products[0] = tendency[0].scale_i(constant::<V>(0.5 * a) * wave.k[0]);
}
