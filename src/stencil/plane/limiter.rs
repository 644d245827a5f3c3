//! Upwind-limited values at a face.
//!
//! With the neighbours `l, c | r, rr` of a face and the carrier velocity `a`, let `d = r - c`, and
//!
//! ```text
//! a > 0:   low = c,   e = c - l,    s = 1
//! else:    low = r,   e = rr - r,   s = -1
//! ```
//!
//! Van Leer's limiter `phi = 2 rho / (1 + rho)` of the slope ratio `rho = e / d` (zero for `rho <= 0`) times the
//! Lax-Wendroff slope is a harmonic mean,
//!
//! ```text
//! low + 1/2 (s - C) d phi = low + (s - C) e d / (e + d)   if e d > 0,      C = a dt / h,
//! ```
//!
//! which needs no guard but that of its sign. Limited is any other value `high` of the face by
//! `low + (high - low) phi`. Source: B. van Leer, J. Comput. Phys. 14 (1974); the public code of JAX-CFD.

use num_traits::{One, Zero};

use crate::spectral::simd::Lanes;

#[inline(always)]
pub(super) fn constant<V: Lanes>(x: f64) -> V {
    V::splat(crate::field::Real::of(x))
}

/// Upwind side of a face.
struct Upwind<V> {
    low: V,
    e: V,
    d: V,
    /// `1 / (e + d)` where `e d > 0`, else zero.
    inverse: V,
}

#[inline(always)]
fn upwind<V: Lanes>(a: V, [l, c, r, rr]: [V; 4]) -> Upwind<V> {
    let (zero, one) = (V::splat(Zero::zero()), V::splat(One::one()));
    let low = zero.select_less(a, c, r);
    let e = zero.select_less(a, c - l, rr - r);
    let d = r - c;
    let product = e * d;
    let inverse = zero.select_less(product, one.over(zero.select_less(product, e + d, one)), zero);
    Upwind { low, e, d, inverse }
}

/// Adds cotangents of `low`, `e` and `d` to those of `l, c, r, rr`.
#[inline(always)]
fn upwind_vjp<V: Lanes>(a: V, low: V, e: V, d: V, bar: &mut [V; 4]) {
    let zero = V::splat(Zero::zero());
    let left = |x: V| zero.select_less(a, x, zero);
    let right = |x: V| zero.select_less(a, zero, x);
    bar[0] = bar[0] - left(e);
    bar[1] = bar[1] + left(low + e) - d;
    bar[2] = bar[2] + right(low - e) + d;
    bar[3] = bar[3] + right(e);
}

#[inline(always)]
fn side<V: Lanes>(a: V) -> V {
    V::splat(Zero::zero()).select_less(a, V::splat(One::one()), -V::splat(V::Real::one()))
}

/// Limited Lax-Wendroff value of the face between `c` and `r` of `[l, c, r, rr]`; `ratio = dt / h`.
#[inline(always)]
pub(super) fn van_leer<V: Lanes>(ratio: V, a: V, points: [V; 4]) -> V {
    let Upwind { low, e, d, inverse } = upwind(a, points);
    (side(a) - a * ratio).madd(e * d * inverse, low)
}

/// Cotangents of `a` and of `[l, c, r, rr]` from that of the value.
#[inline(always)]
pub(super) fn van_leer_vjp<V: Lanes>(ratio: V, a: V, points: [V; 4], bar: V) -> (V, [V; 4]) {
    let Upwind { e, d, inverse, .. } = upwind(a, points);
    let slope = (side(a) - a * ratio) * bar;
    let (share_e, share_d) = (d * inverse, e * inverse);
    let mut points_bar = [V::splat(Zero::zero()); 4];
    upwind_vjp(a, bar, slope * share_e * share_e, slope * share_d * share_d, &mut points_bar);
    (-(ratio * bar * e * share_e), points_bar)
}

/// `low + (high - low) phi(e / d)`.
#[inline(always)]
pub(super) fn limited<V: Lanes>(a: V, points: [V; 4], high: V) -> V {
    let Upwind { low, e, inverse, .. } = upwind(a, points);
    (high - low).madd(constant::<V>(2.0) * e * inverse, low)
}

/// Cotangents of `high` and of `[l, c, r, rr]`; the value does not depend on the size of `a`.
#[inline(always)]
pub(super) fn limited_vjp<V: Lanes>(a: V, points: [V; 4], high: V, bar: V) -> (V, [V; 4]) {
    let Upwind { low, e, d, inverse } = upwind(a, points);
    let phi = constant::<V>(2.0) * e * inverse;
    // phi = 2 e / (e + d): phi_e = 2 d / (e + d)^2, phi_d = -2 e / (e + d)^2.
    let slope = (high - low) * bar * constant(2.0) * inverse * inverse;
    let mut points_bar = [V::splat(Zero::zero()); 4];
    upwind_vjp(a, bar - phi * bar, slope * d, -(slope * e), &mut points_bar);
    (phi * bar, points_bar)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula as it is written in JAX-CFD.
    fn reference(ratio: f64, a: f64, [l, c, r, rr]: [f64; 4]) -> f64 {
        let courant = a * ratio;
        let (low, high, rise) = match a > 0.0 {
            true => (c, c + 0.5 * (1.0 - courant) * (r - c), c - l),
            false => (r, r - 0.5 * (1.0 + courant) * (r - c), rr - r),
        };
        let rho = rise / if r == c { 1.0 } else { r - c };
        let phi = if rho > 0.0 { 2.0 * rho / (1.0 + rho) } else { 0.0 };
        low - (low - high) * phi
    }

    const CASES: [(f64, [f64; 4]); 8] = [
        (1.0, [0.0, 1.0, 3.0, 4.0]),
        (-1.0, [0.0, 1.0, 3.0, 4.0]),
        (0.7, [2.0, 1.0, 3.0, 4.0]),
        (-0.7, [2.0, 1.0, 3.0, 2.5]),
        (0.3, [1.0, 1.0, 3.0, 4.0]),
        (0.3, [0.5, 1.0, 1.0, 4.0]),
        (-0.3, [3.0, 2.0, 0.5, 0.1]),
        (0.4, [-1.0, -2.0, -2.5, 0.1]),
    ];

    #[test]
    fn harmonic_form_equals_the_published_formula() {
        for (a, points) in CASES {
            // A few roundings of numbers below 5.
            assert!((van_leer(0.4, a, points) - reference(0.4, a, points)).abs() < 1e-14, "{a} {points:?}");
            let lax_wendroff = points[1] + 0.5 * (a.signum() - 0.4 * a) * (points[2] - points[1]);
            let high = if a > 0.0 { lax_wendroff } else { lax_wendroff + points[2] - points[1] };
            assert!((limited(a, points, high) - van_leer(0.4, a, points)).abs() < 1e-14, "{a} {points:?}");
        }
    }

    #[test]
    fn derivatives_agree_with_differences() {
        for (a, points) in CASES.into_iter().filter(|(_, p)| p[0] != p[1] && p[1] != p[2]) {
            let (a_bar, bar) = van_leer_vjp(0.4, a, points, 1.0);
            let (high_bar, limited_bar) = limited_vjp(a, points, 1.7, 1.0);
            let h = 1e-6;
            let slope = |f: &dyn Fn(f64) -> f64| (f(h) - f(-h)) / (2.0 * h);
            // Central differences: h^2 and eps / h.
            assert!((slope(&|h| van_leer(0.4, a + h, points)) - a_bar).abs() < 1e-8);
            assert!((slope(&|h| limited(a, points, 1.7 + h)) - high_bar).abs() < 1e-8);
            for k in 0..4 {
                let moved = |h: f64| std::array::from_fn(|i| points[i] + if i == k { h } else { 0.0 });
                assert!((slope(&|h| van_leer(0.4, a, moved(h))) - bar[k]).abs() < 1e-8, "{a} {points:?} {k}");
                assert!((slope(&|h| limited(a, moved(h), 1.7)) - limited_bar[k]).abs() < 1e-8, "{a} {points:?} {k}");
            }
        }
    }
}
