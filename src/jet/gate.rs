//! Jets through a gate and through a weighted mean, and back.
//!
//! A gate `h = z U + (1 - z) V = V + z (U - V)` is a Cauchy product along each direction, `h_k = V_k + sum_i z_i D_(k-i)` with
//! `D = U - V`; its transpose is
//!
//! ```text
//! zbar_k = sum_{j>=k} D_(j-k) hbar_j,   g_k = sum_{j>=k} z_(j-k) hbar_j,   Ubar += g,   Vbar += hbar - g.
//! ```

// Products are written with the indices of their formulas.
#![allow(clippy::needless_range_loop)]

use super::activation::{Coefficients, components, load, store, with_order};
use crate::autodiff::dispatch;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// `h = z u + (1 - z) v` for jets `[component, ...]` of one length, a whole number of vectors a component.
pub(super) fn forward<T: Real>(isa: Isa, orders: &[usize], [z, u, v]: [&[T]; 3], h: &mut [T]) {
    check(orders, &[z, u, v], h.len());
    dispatch!(isa, V => V::<T>::vectorize(
        #[inline(always)]
        || product::<V<T>>(orders, [z, u, v], h)
    ));
}

/// Writes `zbar` and adds to `ubar` and `vbar`.
pub(super) fn adjoint<T: Real>(isa: Isa, orders: &[usize], [z, u, v]: [&[T]; 3], hbar: &[T], bars: [&mut [T]; 3]) {
    check(orders, &[z, u, v, &*bars[0], &*bars[1], &*bars[2]], hbar.len());
    dispatch!(isa, V => V::<T>::vectorize(
        #[inline(always)]
        || transpose::<V<T>>(orders, [z, u, v], hbar, bars)
    ));
}

fn check<T>(orders: &[usize], jets: &[&[T]], len: usize) {
    let n = len / components(orders);
    assert!(n * components(orders) == len && (n * size_of::<T>()).is_multiple_of(64), "units of a jet");
    assert!(jets.iter().all(|jet| jet.len() == len), "lengths of jets");
}

/// `(a b)_k`.
#[inline(always)]
fn cauchy<V: Lanes>(k: usize, a: &Coefficients<V>, b: &Coefficients<V>) -> V {
    let mut sum = a[0] * b[k];
    for i in 1..=k {
        sum = a[i].madd(b[k - i], sum);
    }
    sum
}

/// `sum_{j>=k} a_(j-k) b_j` up to order `K`.
#[inline(always)]
fn correlate<V: Lanes, const K: usize>(k: usize, a: &Coefficients<V>, b: &Coefficients<V>) -> V {
    let mut sum = a[0] * b[k];
    for j in k + 1..=K {
        sum = a[j - k].madd(b[j], sum);
    }
    sum
}

#[inline(always)]
fn difference<V: Lanes>(a: &Coefficients<V>, b: &Coefficients<V>) -> Coefficients<V> {
    std::array::from_fn(
        #[inline(always)]
        |k| a[k] - b[k],
    )
}

/// # Safety
///
/// `to` must be valid for reading and writing a vector.
#[inline(always)]
unsafe fn add<V: Lanes>(to: *mut V::Real, x: V) {
    // SAFETY: the caller's promise.
    unsafe { (V::load(to) + x).store(to) }
}

#[inline(always)]
fn product<V: Lanes>(orders: &[usize], [z, u, v]: [&[V::Real]; 3], h: &mut [V::Real]) {
    let n = h.len() / components(orders);
    for i in (0..n).step_by(V::WIDTH) {
        // SAFETY: whole vectors inside each component, by the caller's checks.
        unsafe {
            let at = |x: &[V::Real]| x.as_ptr().add(i);
            let (z, u, v, h) = (at(z), at(u), at(v), h.as_mut_ptr().add(i));
            let (z0, u0, v0) = (V::load(z), V::load(u), V::load(v));
            z0.madd(u0 - v0, v0).store(h);
            let mut first = n;
            for &order in orders {
                with_order!(order, K => {
                    let z = load::<V, K>(z0, z.add(first), n);
                    let v = load::<V, K>(v0, v.add(first), n);
                    let d = difference(&load::<V, K>(u0, u.add(first), n), &v);
                    let mut out = v;
                    for k in 1..=K {
                        out[k] = v[k] + cauchy(k, &z, &d);
                    }
                    store::<V, K>(&out, h.add(first), n);
                });
                first += order * n;
            }
        }
    }
}

#[inline(always)]
fn transpose<V: Lanes>(
    orders: &[usize],
    [z, u, v]: [&[V::Real]; 3],
    hbar: &[V::Real],
    [zbar, ubar, vbar]: [&mut [V::Real]; 3],
) {
    let n = hbar.len() / components(orders);
    for i in (0..n).step_by(V::WIDTH) {
        // SAFETY: whole vectors inside each component, by the caller's checks.
        unsafe {
            let at = |x: &[V::Real]| x.as_ptr().add(i);
            let (z, u, v, hbar) = (at(z), at(u), at(v), at(hbar));
            let (zbar, ubar, vbar) = (zbar.as_mut_ptr().add(i), ubar.as_mut_ptr().add(i), vbar.as_mut_ptr().add(i));
            let (z0, d0, h0) = (V::load(z), V::load(u) - V::load(v), V::load(hbar));
            let (mut zero_z, mut zero_g) = (d0 * h0, z0 * h0);
            let mut first = n;
            for &order in orders {
                with_order!(order, K => {
                    let z = load::<V, K>(z0, z.add(first), n);
                    let mut d = difference(&load::<V, K>(d0, u.add(first), n), &load::<V, K>(d0, v.add(first), n));
                    d[0] = d0;
                    let h = load::<V, K>(h0, hbar.add(first), n);
                    for j in 1..=K {
                        zero_z = d[j].madd(h[j], zero_z);
                        zero_g = z[j].madd(h[j], zero_g);
                    }
                    for k in 1..=K {
                        let offset = first + (k - 1) * n;
                        correlate::<V, K>(k, &d, &h).store(zbar.add(offset));
                        let g = correlate::<V, K>(k, &z, &h);
                        add::<V>(ubar.add(offset), g);
                        add::<V>(vbar.add(offset), h[k] - g);
                    }
                });
                first += order * n;
            }
            zero_z.store(zbar);
            add::<V>(ubar, zero_g);
            add::<V>(vbar, h0 - zero_g);
        }
    }
}

/// `out = a f + (1 - a) x`.
pub(super) fn mix<T: Real>(isa: Isa, a: T, f: &[T], x: &[T], out: &mut [T]) {
    dispatch!(isa, V => V::<T>::vectorize(
        #[inline(always)]
        || for ((out, &f), &x) in out.iter_mut().zip(f).zip(x) {
            *out = x + a * (f - x);
        }
    ));
}

/// Writes `fbar = a hbar` and adds `(1 - a) hbar` to `xbar`.
pub(super) fn mix_adjoint<T: Real>(isa: Isa, a: T, hbar: &[T], fbar: &mut [T], xbar: &mut [T]) {
    dispatch!(isa, V => V::<T>::vectorize(
        #[inline(always)]
        || for ((&h, f), x) in hbar.iter().zip(fbar).zip(xbar) {
            *f = a * h;
            *x += h - *f;
        }
    ));
}

/// `hbar . (f - x)`.
pub(super) fn difference_along<T: Real>(hbar: &[T], f: &[T], x: &[T]) -> T {
    hbar.iter().zip(f).zip(x).fold(T::zero(), |sum, ((&h, &f), &x)| sum + h * (f - x))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: [usize; 3] = [4, 1, 2];
    const N: usize = 16;

    fn wave(phase: f64) -> Vec<f64> {
        (0..N * components(&ORDERS)).map(|i| (1.7 * i as f64 + phase).sin()).collect()
    }

    fn available() -> impl Iterator<Item = Isa> {
        [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available())
    }

    #[test]
    fn gate_is_the_product_of_polynomials_on_every_instruction_set() {
        let (z, u, v) = (wave(0.0), wave(1.0), wave(2.0));
        for isa in available() {
            let mut h = vec![0.0; z.len()];
            forward(isa, &ORDERS, [&z, &u, &v], &mut h);
            for i in 0..N {
                let mut first = 1;
                for order in ORDERS {
                    let at = |x: &[f64], k: usize| x[if k == 0 { i } else { (first + k - 1) * N + i }];
                    for k in 0..=order {
                        let exact =
                            at(&v, k) + (0..=k).map(|j| at(&z, j) * (at(&u, k - j) - at(&v, k - j))).sum::<f64>();
                        // Six terms of size two.
                        assert!((at(&h, k) - exact).abs() < 1e-14, "{isa:?} {order} {k}");
                    }
                    first += order;
                }
            }
        }
    }

    #[test]
    fn adjoint_is_the_transpose_of_the_derivative() {
        let jets = [wave(0.0), wave(1.0), wave(2.0)];
        let tangents = [wave(0.3), wave(1.4), wave(2.5)];
        let hbar = wave(4.0);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for isa in available() {
            let at = |s: f64| {
                let moved: Vec<Vec<f64>> = jets
                    .iter()
                    .zip(&tangents)
                    .map(|(x, d)| x.iter().zip(d).map(|(x, d)| x + s * d).collect())
                    .collect();
                let mut h = vec![0.0; hbar.len()];
                forward(isa, &ORDERS, [&moved[0], &moved[1], &moved[2]], &mut h);
                dot(&hbar, &h)
            };
            let mut bars = [vec![f64::NAN; hbar.len()], vec![0.0; hbar.len()], vec![0.0; hbar.len()]];
            let [zbar, ubar, vbar] = bars.each_mut().map(|b| &mut b[..]);
            adjoint(isa, &ORDERS, [&jets[0], &jets[1], &jets[2]], &hbar, [zbar, ubar, vbar]);
            let product: f64 = bars.iter().zip(&tangents).map(|(b, t)| dot(b, t)).sum();
            // The gate is quadratic: central differences are exact, to the rounding of 128 terms.
            assert!((product - 0.5 * (at(1.0) - at(-1.0))).abs() < 1e-12, "{isa:?}");
        }
    }
}
