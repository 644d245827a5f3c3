//! A jet through an activation, and back.
//!
//! With `z(s) = z_0 + z_1 s + ... + z_K s^K` and `v = f(z)`, `g = f'(z)`, the chain rule `v' = g z'` is a recurrence of
//! Taylor coefficients (Griewank & Walther, *Evaluating Derivatives*, 2nd ed., 2008, section 13.2):
//!
//! ```text
//! tanh:  k v_k = sum_{j=1..k} j z_j g_{k-j},   g = 1 - v v
//! sin:   k v_k = sum_{j=1..k} j z_j g_{k-j},   k g_k = -sum_{j=1..k} j z_j v_{k-j}
//! ```
//!
//! A perturbation of `z_k` changes `v` by `g(s) s^k`, so `d v_j / d z_k = g_{j-k}`: the transposed derivative is a product
//! with a triangular Toeplitz matrix,
//!
//! ```text
//! zbar_k = sum_{j=k..K} g_{j-k} vbar_j
//! ```
//!
//! and needs no derivative of `f` beyond the jet of the first. Directions share the coefficient of order zero.

// Recurrences are written with the indices of their formulas.
#![allow(clippy::needless_range_loop)]

use serde::{Deserialize, Serialize};

use super::MAX_ORDER;
use crate::autodiff::dispatch;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes, math};

/// Activation of a coordinate network; it must be smooth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `tanh z`.
    Tanh,
    /// `sin z`.
    Sin,
}

/// Taylor coefficients along one direction; those beyond its order are not used.
pub(super) type Coefficients<V> = [V; MAX_ORDER + 1];

impl Activation {
    /// Whether the jet of the slope is kept for the way back (for tanh it follows from the value).
    pub(super) fn keeps_slope(self) -> bool {
        self == Self::Sin
    }

    /// `v = f(z + bias)` in place for jets `[component, point, unit]`; the bias `[unit]` belongs to the order zero.
    ///
    /// `slope` takes the jet of `f'` if it is kept, else it is not touched. The number of units is a multiple of every
    /// vector's width.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub(super) fn forward<T: Real>(self, isa: Isa, orders: &[usize], z: &mut [T], bias: &[T], slope: &mut [T]) {
        let (n, units) = (z.len() / components(orders), bias.len());
        assert!(n * components(orders) == z.len() && n.is_multiple_of(units), "lengths of a jet");
        assert!(units.is_multiple_of(padded::<T>(1)), "units of a jet");
        assert!(!self.keeps_slope() || slope.len() == z.len(), "length of a slope");
        match self {
            Self::Tanh => dispatch!(isa, V => V::<T>::vectorize(
                #[inline(always)]
                || forward::<V<T>, Tanh>(orders, z, bias, slope)
            )),
            Self::Sin => dispatch!(isa, V => V::<T>::vectorize(
                #[inline(always)]
                || forward::<V<T>, Sin>(orders, z, bias, slope)
            )),
        }
    }

    /// `zbar` from `vbar` in place, given what [`Activation::forward`] returned.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit.
    pub(super) fn adjoint<T: Real>(self, isa: Isa, orders: &[usize], v: &[T], slope: &[T], cotangent: &mut [T]) {
        let n = v.len() / components(orders);
        assert!(v.len() == cotangent.len() && n * components(orders) == v.len(), "lengths of a jet");
        assert!(n.is_multiple_of(padded::<T>(1)), "units of a jet");
        assert!(!self.keeps_slope() || slope.len() == v.len(), "length of a slope");
        match self {
            Self::Tanh => dispatch!(isa, V => V::<T>::vectorize(
                #[inline(always)]
                || adjoint::<V<T>, Tanh>(orders, v, slope, cotangent)
            )),
            Self::Sin => dispatch!(isa, V => V::<T>::vectorize(
                #[inline(always)]
                || adjoint::<V<T>, Sin>(orders, v, slope, cotangent)
            )),
        }
    }
}

/// Number of components of a jet: the value, and the orders of each direction.
pub(super) fn components(orders: &[usize]) -> usize {
    1 + orders.iter().sum::<usize>()
}

/// The next multiple of 64 bytes, the widest vector.
pub(super) fn padded<T>(n: usize) -> usize {
    n.next_multiple_of(64 / size_of::<T>())
}

/// The recurrences of one function.
trait Function {
    const KEEPS_SLOPE: bool;

    /// `f` and `f'` at `z`.
    fn start<V: Lanes>(z: V) -> (V, V);

    /// Orders `1..=K` of `v` and `g`, whose order zero is given. If the slope is not kept, `g` is valid below `K`.
    fn compose<V: Lanes, const K: usize>(z: &Coefficients<V>, v: &mut Coefficients<V>, g: &mut Coefficients<V>);

    /// All orders of `g` from those of `v`, if the slope is not kept.
    fn slope<V: Lanes, const K: usize>(v: &Coefficients<V>) -> Coefficients<V>;
}

/// `sum_{j=1..k} (j / k) z_j a_{k-j}`.
#[inline(always)]
fn chain<V: Lanes>(k: usize, z: &Coefficients<V>, a: &Coefficients<V>) -> V {
    let mut sum = z[k] * a[0];
    for j in 1..k {
        sum = (z[j] * V::splat(V::Real::of(j as f64 / k as f64))).madd(a[k - j], sum);
    }
    sum
}

/// `-(v v)_k` for `k >= 1`.
#[inline(always)]
fn minus_square<V: Lanes>(k: usize, v: &Coefficients<V>) -> V {
    let mut half = v[0] * v[k];
    for i in 1..k.div_ceil(2) {
        half = v[i].madd(v[k - i], half);
    }
    let two = V::splat(V::Real::of(-2.0));
    if k.is_multiple_of(2) { half.msub(two, v[k / 2] * v[k / 2]) } else { half * two }
}

struct Tanh;

impl Function for Tanh {
    const KEEPS_SLOPE: bool = false;

    #[inline(always)]
    fn start<V: Lanes>(z: V) -> (V, V) {
        let v = math::tanh(z);
        (v, v.nmadd(v, V::splat(V::Real::of(1.0))))
    }

    #[inline(always)]
    fn compose<V: Lanes, const K: usize>(z: &Coefficients<V>, v: &mut Coefficients<V>, g: &mut Coefficients<V>) {
        for k in 1..=K {
            v[k] = chain(k, z, g);
            if k < K {
                g[k] = minus_square(k, v);
            }
        }
    }

    #[inline(always)]
    fn slope<V: Lanes, const K: usize>(v: &Coefficients<V>) -> Coefficients<V> {
        let mut g = *v;
        g[0] = v[0].nmadd(v[0], V::splat(V::Real::of(1.0)));
        for k in 1..=K {
            g[k] = minus_square(k, v);
        }
        g
    }
}

struct Sin;

impl Function for Sin {
    const KEEPS_SLOPE: bool = true;

    #[inline(always)]
    fn start<V: Lanes>(z: V) -> (V, V) {
        math::sin_cos(z)
    }

    #[inline(always)]
    fn compose<V: Lanes, const K: usize>(z: &Coefficients<V>, v: &mut Coefficients<V>, g: &mut Coefficients<V>) {
        for k in 1..=K {
            v[k] = chain(k, z, g);
            g[k] = -chain(k, z, v);
        }
    }

    #[inline(always)]
    fn slope<V: Lanes, const K: usize>(v: &Coefficients<V>) -> Coefficients<V> {
        *v // never asked for
    }
}

/// Calls `$body` with the order of a direction as a constant.
macro_rules! with_order {
    ($order:expr, $k:ident => $body:expr) => {
        match $order {
            1 => with_order!(@ $k = 1 => $body),
            2 => with_order!(@ $k = 2 => $body),
            3 => with_order!(@ $k = 3 => $body),
            _ => with_order!(@ $k = 4 => $body),
        }
    };
    (@ $k:ident = $order:literal => $body:expr) => {{
        const $k: usize = $order;
        $body
    }};
}

pub(super) use with_order;

/// Order zero `first`, and orders `1..=K` from consecutive components `n` values apart.
///
/// # Safety
///
/// `p + k n` must be valid for reading a vector for `k < K`.
#[inline(always)]
pub(super) unsafe fn load<V: Lanes, const K: usize>(first: V, p: *const V::Real, n: usize) -> Coefficients<V> {
    let mut c = [first; MAX_ORDER + 1];
    for k in 1..=K {
        // SAFETY: the caller's promise.
        c[k] = unsafe { V::load(p.add((k - 1) * n)) };
    }
    c
}

/// Inverse of [`load`], but for the order zero.
///
/// # Safety
///
/// As for [`load`], for writing.
#[inline(always)]
pub(super) unsafe fn store<V: Lanes, const K: usize>(c: &Coefficients<V>, p: *mut V::Real, n: usize) {
    for k in 1..=K {
        // SAFETY: the caller's promise.
        unsafe { c[k].store(p.add((k - 1) * n)) };
    }
}

#[inline(always)]
fn forward<V: Lanes, F: Function>(orders: &[usize], z: &mut [V::Real], bias: &[V::Real], slope: &mut [V::Real]) {
    let (n, units) = (z.len() / components(orders), bias.len());
    let (z, slope) = (z.as_mut_ptr(), slope.as_mut_ptr());
    for row in (0..n).step_by(units) {
        for unit in (0..units).step_by(V::WIDTH) {
            // SAFETY: whole vectors inside each component, by the caller's checks; the slope is touched if it is kept.
            unsafe {
                let (z, slope) = (z.add(row + unit), slope.wrapping_add(row + unit));
                let (v0, g0) = F::start(V::load(z) + V::load(bias.as_ptr().add(unit)));
                v0.store(z);
                if F::KEEPS_SLOPE {
                    g0.store(slope);
                }
                let mut at = n;
                for &order in orders {
                    with_order!(order, K => {
                        let (mut v, mut g) = ([v0; MAX_ORDER + 1], [g0; MAX_ORDER + 1]);
                        F::compose::<V, K>(&load::<V, K>(v0, z.add(at), n), &mut v, &mut g);
                        store::<V, K>(&v, z.add(at), n);
                        if F::KEEPS_SLOPE {
                            store::<V, K>(&g, slope.add(at), n);
                        }
                    });
                    at += order * n;
                }
            }
        }
    }
}

#[inline(always)]
fn adjoint<V: Lanes, F: Function>(orders: &[usize], v: &[V::Real], slope: &[V::Real], cotangent: &mut [V::Real]) {
    let n = v.len() / components(orders);
    let (v, slope, cotangent) = (v.as_ptr(), slope.as_ptr(), cotangent.as_mut_ptr());
    for i in (0..n).step_by(V::WIDTH) {
        // SAFETY: whole vectors inside each component, by the caller's checks; the slope is touched if it is kept.
        unsafe {
            let (v, slope, cotangent) = (v.add(i), slope.wrapping_add(i), cotangent.add(i));
            let source = if F::KEEPS_SLOPE { slope } else { v };
            let first = V::load(source);
            let vbar0 = V::load(cotangent);
            // Order zero of the slope is the same along every direction.
            let g0 = if F::KEEPS_SLOPE { first } else { F::slope::<V, 0>(&[first; MAX_ORDER + 1])[0] };
            let mut zbar0 = g0 * vbar0;
            let mut at = n;
            for &order in orders {
                with_order!(order, K => {
                    let read = load::<V, K>(first, source.add(at), n);
                    let g = if F::KEEPS_SLOPE { read } else { F::slope::<V, K>(&read) };
                    let mut bar = load::<V, K>(vbar0, cotangent.add(at), n);
                    for j in 1..=K {
                        zbar0 = g[j].madd(bar[j], zbar0);
                    }
                    for k in 1..=K {
                        let mut sum = g[0] * bar[k];
                        for j in k + 1..=K {
                            sum = g[j - k].madd(bar[j], sum);
                        }
                        bar[k] = sum;
                    }
                    store::<V, K>(&bar, cotangent.add(at), n);
                });
                at += order * n;
            }
            zbar0.store(cotangent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [usize; 4] = [4, 2, 1, 3];
    const UNITS: usize = 16;
    const N: usize = 2 * UNITS;

    fn example<T: Real>(phase: f64) -> Vec<T> {
        (0..N * components(&ORDERS)).map(|i| T::of(1.3 * (1.7 * i as f64 + phase).sin())).collect()
    }

    fn available() -> impl Iterator<Item = Isa> {
        [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available())
    }

    /// `f` and its derivatives `1..=4`.
    fn exact(f: Activation, z: f64) -> [f64; 5] {
        match f {
            Activation::Sin => [z.sin(), z.cos(), -z.sin(), -z.cos(), z.sin()],
            Activation::Tanh => {
                let a = z.tanh();
                let f1 = 1.0 - a * a;
                [a, f1, -2.0 * a * f1, f1 * (6.0 * a * a - 2.0), f1 * a * (16.0 - 24.0 * a * a)]
            }
        }
    }

    /// The jet of `f(z)` by the formula of Faa di Bruno.
    fn faa_di_bruno(f: Activation, z: [f64; 5]) -> [f64; 5] {
        let [f0, f1, f2, f3, f4] = exact(f, z[0]);
        let [_, z1, z2, z3, z4] = z;
        [
            f0,
            f1 * z1,
            f1 * z2 + f2 * z1 * z1 / 2.0,
            f1 * z3 + f2 * z1 * z2 + f3 * z1.powi(3) / 6.0,
            f1 * z4 + f2 * (z1 * z3 + z2 * z2 / 2.0) + f3 * z1 * z1 * z2 / 2.0 + f4 * z1.powi(4) / 24.0,
        ]
    }

    fn composed<T: Real>(tolerance: f64) {
        let (z, bias) = (example::<T>(0.0), vec![T::of(0.25); UNITS]);
        for f in [Activation::Tanh, Activation::Sin] {
            for isa in available() {
                let (mut v, mut slope) = (z.clone(), vec![T::zero(); z.len()]);
                f.forward(isa, &ORDERS, &mut v, &bias, &mut slope);
                for i in 0..N {
                    let mut first = 1;
                    for order in ORDERS {
                        let mut jet = [0.0; 5];
                        jet[0] = z[i].as_f64() + 0.25;
                        (1..=order).for_each(|k| jet[k] = z[(first + k - 1) * N + i].as_f64());
                        let exact = faa_di_bruno(f, jet);
                        for k in 0..=order {
                            let component = if k == 0 { 0 } else { first + k - 1 };
                            let error = (v[component * N + i].as_f64() - exact[k]).abs();
                            assert!(error < tolerance, "{f:?} {isa:?} order {k} of {order}: {error}");
                        }
                        first += order;
                    }
                }
            }
        }
    }

    #[test]
    fn jets_agree_with_the_formula_of_faa_di_bruno_on_every_instruction_set() {
        // Some twenty terms of size up to ten, rounded once or twice each.
        composed::<f64>(1e-13);
        composed::<f32>(1e-4);
    }

    #[test]
    fn adjoint_is_the_transpose_of_the_derivative() {
        let (z, dz, vbar) = (example::<f64>(0.0), example::<f64>(0.3), example::<f64>(2.0));
        let bias = [0.25; UNITS];
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for f in [Activation::Tanh, Activation::Sin] {
            for isa in available() {
                let at = |step: f64| {
                    let mut v: Vec<f64> = z.iter().zip(&dz).map(|(z, d)| z + step * d).collect();
                    let mut slope = vec![0.0; z.len()];
                    f.forward(isa, &ORDERS, &mut v, &bias, &mut slope);
                    (v, slope)
                };
                let (v, slope) = at(0.0);
                let mut zbar = vbar.clone();
                f.adjoint(isa, &ORDERS, &v, &slope, &mut zbar);
                let h = 2e-3;
                let along = |step: f64| dot(&vbar, &at(step).0) - dot(&vbar, &at(-step).0);
                let difference = (45.0 * along(h) - 9.0 * along(2.0 * h) + along(3.0 * h)) / (60.0 * h);
                // Truncation h^6 f^(7) / 140 and rounding 1e-16 / h, of 350 terms.
                let error = (dot(&zbar, &dz) - difference).abs();
                assert!(error < 1e-9 * dot(&vbar, &vbar), "{f:?} {isa:?}: {error}");
            }
        }
    }
}
