//! Activations: value and slope together over lanes, and over slices.

use serde::{Deserialize, Serialize};

use super::math::{self, by_precision, exp, gaussian, mills, splat};
use super::{Isa, Lanes};
use crate::field::Real;

/// `1 / sqrt(2 pi)`.
const INV_SQRT_2_PI: f64 = 0.5 * math::SQRT_2_OVER_PI;

/// `x` and 1.
#[inline(always)]
pub fn identity<V: Lanes>(x: V) -> (V, V) {
    (x, splat(1.0))
}

/// `max(x, 0)`; the slope at zero is zero.
#[inline(always)]
pub fn relu<V: Lanes>(x: V) -> (V, V) {
    let zero = splat::<V>(0.0);
    (x.at_least(zero), zero.select_less(x, splat(1.0), zero))
}

/// `x S(x)` and its derivative, for a gate with `S(-x) = 1 - S(x)`, given `a = |x|`, `S(-a)` and `S'(a)`.
///
/// `x S(x) = max(x, 0) - a S(-a)` has no cancellation on either side, and keeps the left tail to its relative accuracy.
#[inline(always)]
fn gated<V: Lanes>(x: V, a: V, gate: V, slope: V) -> (V, V) {
    let left = a.nmadd(slope, gate);
    let derivative = x.select_less(splat(0.0), left, splat::<V>(1.0) - left);
    (a.nmadd(gate, x.at_least(splat(0.0))), derivative)
}

/// `x Phi(x)`, with the distribution function `Phi(x) = (1 + erf(x / sqrt 2)) / 2` (Hendrycks & Gimpel 2016).
///
/// The relative error stays below 10 ulp (4 ulp for `|x| < 3`) through the left tail down to underflow.
#[inline(always)]
pub fn gelu<V: Lanes>(x: V) -> (V, V) {
    // Phi(-a) = phi(a) M(a) with the density phi and the Mills ratio M; beyond the bound phi is zero.
    let a = x.magnitude().at_most(by_precision(14.5, 39.0));
    let density = gaussian(a) * splat(INV_SQRT_2_PI);
    gated(x, a, density * mills(a), density)
}

/// `x (1 + tanh u) / 2 = x / (1 + e^(-2u))` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`, within 5e-4 of [`gelu`].
#[inline(always)]
pub fn gelu_tanh<V: Lanes>(x: V) -> (V, V) {
    const CUBIC: f64 = 0.044715;
    let a = x.magnitude().at_most(by_precision(15.0, 40.0));
    let square = a * a;
    let scale = splat::<V>(2.0 * math::SQRT_2_OVER_PI);
    let u2 = scale * a * square.madd(splat(CUBIC), splat(1.0));
    let (gate, slope) = logistic(u2);
    gated(x, a, gate, slope * (scale * square.madd(splat(3.0 * CUBIC), splat(1.0))))
}

/// `x / (1 + e^-x)`, also called swish.
#[inline(always)]
pub fn silu<V: Lanes>(x: V) -> (V, V) {
    let a = x.magnitude().at_most(by_precision(110.0, 760.0));
    let (gate, slope) = logistic(a);
    gated(x, a, gate, slope)
}

/// `S(-a) = e^-a / (1 + e^-a)` and `S'(a) = S(-a) (1 - S(-a))` for `a >= 0`.
#[inline(always)]
fn logistic<V: Lanes>(a: V) -> (V, V) {
    let e = exp(-a);
    let gate = e.over(splat::<V>(1.0) + e);
    (gate, gate.nmadd(gate, gate))
}

/// `tanh x` and `1 - tanh^2 x`.
#[inline(always)]
pub fn tanh<V: Lanes>(x: V) -> (V, V) {
    let t = math::tanh(x);
    (t, t.nmadd(t, splat(1.0)))
}

/// `sin x` and `cos x`, as [`math::sin_cos`].
#[inline(always)]
pub fn sin<V: Lanes>(x: V) -> (V, V) {
    math::sin_cos(x)
}

/// Activation of a network, applied to each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// [`identity`].
    Identity,
    /// [`relu`].
    Relu,
    /// [`gelu`].
    Gelu,
    /// [`gelu_tanh`].
    GeluTanh,
    /// [`silu`].
    Silu,
    /// [`tanh`].
    Tanh,
    /// [`sin`].
    Sin,
}

/// Calls `$body` with the function of an activation, so that the choice is made outside of loops.
macro_rules! with_function {
    ($activation:expr, $f:ident => $body:expr) => {
        match $activation {
            Activation::Identity => with_function!(@ $f = identity => $body),
            Activation::Relu => with_function!(@ $f = relu => $body),
            Activation::Gelu => with_function!(@ $f = gelu => $body),
            Activation::GeluTanh => with_function!(@ $f = gelu_tanh => $body),
            Activation::Silu => with_function!(@ $f = silu => $body),
            Activation::Tanh => with_function!(@ $f = tanh => $body),
            Activation::Sin => with_function!(@ $f = sin => $body),
        }
    };
    (@ $f:ident = $function:ident => $body:expr) => {{
        let $f = $function;
        $body
    }};
}

impl Activation {
    /// `y = f(x)`. The result of an element does not depend on where it stands.
    ///
    /// # Panics
    ///
    /// If the lengths differ, or the processor lacks `isa`.
    pub fn apply<T: Real>(self, isa: Isa, x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "lengths of x and y");
        // SAFETY: both slices have this length.
        unsafe { self.apply_raw(isa, x.as_ptr(), y.as_mut_ptr(), x.len()) }
    }

    /// `x = f(x)`.
    ///
    /// # Panics
    ///
    /// If the processor lacks `isa`.
    pub fn apply_in_place<T: Real>(self, isa: Isa, x: &mut [T]) {
        let p = x.as_mut_ptr();
        // SAFETY: the slice has this length.
        unsafe { self.apply_raw(isa, p, p, x.len()) }
    }

    /// Vector-Jacobian product `dx = f'(x) dy`.
    ///
    /// # Panics
    ///
    /// If the lengths differ, or the processor lacks `isa`.
    pub fn vjp<T: Real>(self, isa: Isa, x: &[T], dy: &[T], dx: &mut [T]) {
        assert_eq!(x.len(), dy.len(), "lengths of x and dy");
        assert_eq!(x.len(), dx.len(), "lengths of x and dx");
        let (sources, dx, n) = ([x.as_ptr(), dy.as_ptr()], dx.as_mut_ptr(), x.len());
        // SAFETY: all slices have this length.
        unsafe {
            match isa {
                Isa::Scalar => self.vjp_lanes::<T>(sources, dx, n),
                Isa::Neon => self.vjp_lanes::<T::Neon>(sources, dx, n),
                Isa::Avx2 => self.vjp_lanes::<T::Avx2>(sources, dx, n),
                Isa::Avx512 => self.vjp_lanes::<T::Avx512>(sources, dx, n),
            }
        }
    }

    /// # Safety
    ///
    /// `x` must be valid for reading `n` reals, `y` for writing as many; they may be the same.
    unsafe fn apply_raw<T: Real>(self, isa: Isa, x: *const T, y: *mut T, n: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            match isa {
                Isa::Scalar => self.apply_lanes::<T>(x, y, n),
                Isa::Neon => self.apply_lanes::<T::Neon>(x, y, n),
                Isa::Avx2 => self.apply_lanes::<T::Avx2>(x, y, n),
                Isa::Avx512 => self.apply_lanes::<T::Avx512>(x, y, n),
            }
        }
    }

    /// # Safety
    ///
    /// As for `apply_raw`.
    unsafe fn apply_lanes<V: Lanes>(self, x: *const V::Real, y: *mut V::Real, n: usize) {
        V::vectorize(
            #[inline(always)]
            || {
                with_function!(self, f => {
                    // SAFETY: the caller's promise.
                    unsafe { map(#[inline(always)] |[x]: [V; 1]| f(x).0, [x], y, n) }
                })
            },
        )
    }

    /// # Safety
    ///
    /// Each of `sources` must be valid for reading `n` reals, `dx` for writing as many.
    unsafe fn vjp_lanes<V: Lanes>(self, sources: [*const V::Real; 2], dx: *mut V::Real, n: usize) {
        V::vectorize(
            #[inline(always)]
            || {
                with_function!(self, f => {
                    // SAFETY: the caller's promise.
                    unsafe { map(#[inline(always)] |[x, dy]: [V; 2]| f(x).1 * dy, sources, dx, n) }
                })
            },
        )
    }
}

impl Activation {
    /// Vector-Jacobian product in place, `g = f'(x) g`.
    ///
    /// # Panics
    ///
    /// If the lengths differ, or the processor lacks `isa`.
    pub fn vjp_in_place<T: Real>(self, isa: Isa, x: &[T], g: &mut [T]) {
        assert_eq!(x.len(), g.len(), "lengths of x and g");
        let (g, n) = (g.as_mut_ptr(), x.len());
        let sources = [x.as_ptr(), g.cast_const()];
        // SAFETY: both slices have this length; a vector of `g` is read before it is written.
        unsafe {
            match isa {
                Isa::Scalar => self.vjp_lanes::<T>(sources, g, n),
                Isa::Neon => self.vjp_lanes::<T::Neon>(sources, g, n),
                Isa::Avx2 => self.vjp_lanes::<T::Avx2>(sources, g, n),
                Isa::Avx512 => self.vjp_lanes::<T::Avx512>(sources, g, n),
            }
        }
    }

    /// Value and vector-Jacobian product in one pass, `g = f'(x) g` and `x = f(x)`.
    ///
    /// # Panics
    ///
    /// If the lengths differ, or the processor lacks `isa`.
    pub fn apply_and_vjp_in_place<T: Real>(self, isa: Isa, x: &mut [T], g: &mut [T]) {
        assert_eq!(x.len(), g.len(), "lengths of x and g");
        match isa {
            Isa::Scalar => self.both::<T>(x, g),
            Isa::Neon => self.both::<T::Neon>(x, g),
            Isa::Avx2 => self.both::<T::Avx2>(x, g),
            Isa::Avx512 => self.both::<T::Avx512>(x, g),
        }
    }

    // The closure is inlined where a function item would become a call without the instruction set.
    #[allow(clippy::redundant_closure)]
    fn both<V: Lanes>(self, x: &mut [V::Real], g: &mut [V::Real]) {
        V::vectorize(
            #[inline(always)]
            || with_function!(self, f => map_both::<V>(#[inline(always)] |x| f(x), x, g)),
        );
    }
}

/// `g = f'(x) g` and `x = f(x)`; what is left over goes through vectors of its own.
#[inline(always)]
fn map_both<V: Lanes>(f: impl Fn(V) -> (V, V), x: &mut [V::Real], g: &mut [V::Real]) {
    let w = V::WIDTH;
    let whole = x.len() - x.len() % w;
    // SAFETY: whole vectors inside both slices; buffers as wide as the widest vector.
    unsafe {
        for i in (0..whole).step_by(w) {
            let (value, slope) = f(V::load(x.as_ptr().add(i)));
            (slope * V::load(g.as_ptr().add(i))).store(g.as_mut_ptr().add(i));
            value.store(x.as_mut_ptr().add(i));
        }
        let (x, g) = (&mut x[whole..], &mut g[whole..]);
        if !x.is_empty() {
            let (mut a, mut b) = ([V::Real::of(0.0); 16], [V::Real::of(0.0); 16]);
            a[..x.len()].copy_from_slice(x);
            b[..g.len()].copy_from_slice(g);
            let (value, slope) = f(V::load(a.as_ptr()));
            (slope * V::load(b.as_ptr())).store(b.as_mut_ptr());
            value.store(a.as_mut_ptr());
            x.copy_from_slice(&a[..x.len()]);
            g.copy_from_slice(&b[..g.len()]);
        }
    }
}

/// `target[i] = f(sources[..][i])` for `n` elements; what is left over goes through a vector of its own.
///
/// # Safety
///
/// Each of `sources` must be valid for reading `n` reals, `target` for writing as many; it may be one of them.
#[inline(always)]
unsafe fn map<V: Lanes, const N: usize>(
    f: impl Fn([V; N]) -> V,
    sources: [*const V::Real; N],
    target: *mut V::Real,
    n: usize,
) {
    const MAX_WIDTH: usize = 16;
    let whole = n - n % V::WIDTH;
    let zero = splat::<V>(0.0);
    // SAFETY: the caller's promise; the buffers are as wide as the widest vector.
    unsafe {
        for i in (0..whole).step_by(V::WIDTH) {
            let mut x = [zero; N];
            for (x, p) in x.iter_mut().zip(sources) {
                *x = V::load(p.add(i));
            }
            f(x).store(target.add(i));
        }
        if whole < n {
            let mut rest = [[V::Real::of(0.0); MAX_WIDTH]; N];
            for (rest, p) in rest.iter_mut().zip(sources) {
                p.add(whole).copy_to_nonoverlapping(rest.as_mut_ptr(), n - whole);
            }
            let mut result = [V::Real::of(0.0); MAX_WIDTH];
            let mut x = [zero; N];
            for (x, rest) in x.iter_mut().zip(&rest) {
                *x = V::load(rest.as_ptr());
            }
            f(x).store(result.as_mut_ptr());
            result.as_ptr().copy_to_nonoverlapping(target.add(whole), n - whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::double_double::{Dd, Scaled};
    use super::super::math::tests::{evaluate, points, worst};
    use super::*;
    use crate::spectral::fft::testing::for_each_vector;

    const ALL: [Activation; 7] = [
        Activation::Identity,
        Activation::Relu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Tanh,
        Activation::Sin,
    ];

    /// `tanh u` of [`gelu_tanh`] and `du/dx`.
    fn cubic(x: Dd) -> (Dd, Dd) {
        let scale = Dd::SQRT_2 / Dd::SQRT_PI;
        let square = x * x * 0.044715.into();
        ((scale * x * (Dd::ONE + square)).tanh(), scale * (Dd::ONE + square * 3.0.into()))
    }

    const HALF: Dd = Dd(0.5, 0.0);

    fn accuracy<V: Lanes>() {
        let single = math::is_single::<V>();
        let epsilon = <V::Real as num_traits::Float>::epsilon().as_f64();
        let mut failed = Vec::new();
        let mut value = |name: &str, f: fn(V) -> V, (low, high): (f64, f64), bound: f64, exact: fn(Dd) -> Scaled| {
            let (error, x) = worst(&points(low, high, 1e-3), f, exact);
            println!("{name:>9} {} x {:>2}: {error:.2} ulp at {x:e}", V::Real::NAME, V::WIDTH);
            if error.is_nan() || error >= bound {
                failed.push((name.to_string(), error, x));
            }
        };
        // Far out the rounding of its argument costs the Mills ratio up to 6 ulp; density and products add their own.
        let tail = if single { -12.9 } else { -37.5 };
        let exact_gelu = |x: Dd| -> Scaled {
            let (phi, n) = x.normal_cdf();
            (x * phi, n)
        };
        let exact_silu = |x: Dd| -> Scaled {
            let (s, n) = x.sigmoid();
            (x * s, n)
        };
        value("gelu", |x| gelu(x).0, (-3.0, 3.0), 6.0, exact_gelu);
        value("gelu", |x| gelu(x).0, (tail, -tail), 10.0, exact_gelu);
        value("gelu_tanh", |x| gelu_tanh(x).0, (-1.0, 3.0), 8.0, |x| (HALF * x * (Dd::ONE + cubic(x).0), 0));
        value("silu", |x| silu(x).0, (-3.0, 3.0), 4.0, exact_silu);
        value("silu", |x| silu(x).0, (if single { -85.0 } else { -705.0 }, 20.0), 4.0, exact_silu);
        assert!(failed.is_empty(), "{} x {}: {failed:?}", V::Real::NAME, V::WIDTH);

        let slopes = |name: &str, f: fn(V) -> V, exact: fn(Dd) -> Dd| {
            let x = points(-12.0, 12.0, 1e-3);
            for (x, y) in x.iter().zip(evaluate(&x, f)) {
                let error = (exact(Dd(x.as_f64(), 0.0)) - Dd(y.as_f64(), 0.0)).0.abs() / epsilon;
                // Slopes are at most 1.13; they pass through zero, so the error is absolute.
                assert!(error < 3.0, "{name}' {} x {}: {error} eps at {x}", V::Real::NAME, V::WIDTH);
            }
        };
        slopes(
            "gelu",
            |x| gelu(x).1,
            |x| {
                let ((phi, n), (density, m)) = (x.normal_cdf(), x.normal_density());
                phi.times_power(n) + x * density.times_power(m)
            },
        );
        slopes(
            "silu",
            |x| silu(x).1,
            |x| {
                let (s, n) = x.sigmoid();
                let s = s.times_power(n);
                s + x * s * (Dd::ONE - s)
            },
        );
        slopes(
            "gelu_tanh",
            |x| gelu_tanh(x).1,
            |x| {
                let (t, slope) = cubic(x);
                HALF * (Dd::ONE + t) + HALF * x * (Dd::ONE - t * t) * slope
            },
        );
        slopes("tanh", |x| tanh(x).1, |x| Dd::ONE - x.tanh() * x.tanh());
        slopes("sin", |x| sin(x).1, |x| x.sin_cos().1);
    }

    #[test]
    fn values_and_slopes_agree_with_the_reference() {
        for_each_vector!(accuracy);
    }

    fn slices<T: Real>() {
        let (x, dy): (Vec<T>, Vec<T>) =
            (0..53).map(|i| (T::of(0.3 * f64::from(i) - 8.0), T::of(1.0 - 0.03 * f64::from(i)))).unzip();
        for isa in [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available()) {
            for f in ALL {
                let (mut whole, mut whole_dx) = (x.clone(), x.clone());
                f.apply(isa, &x, &mut whole);
                f.vjp(isa, &x, &dy, &mut whole_dx);
                for n in 0..40 {
                    // Any length at any offset gives the same bits, and touches nothing else.
                    let (mut y, mut dx, mut in_place) = (vec![T::of(7.0); n + 1], vec![T::of(7.0); n + 1], x.clone());
                    f.apply(isa, &x[n / 3..n / 3 + n], &mut y[..n]);
                    f.apply_in_place(isa, &mut in_place[n / 3..n / 3 + n]);
                    f.vjp(isa, &x[n / 3..n / 3 + n], &dy[n / 3..n / 3 + n], &mut dx[..n]);
                    assert_eq!((&y[..n], y[n]), (&whole[n / 3..n / 3 + n], T::of(7.0)), "{f:?} {isa:?} {n}");
                    assert_eq!((&dx[..n], dx[n]), (&whole_dx[n / 3..n / 3 + n], T::of(7.0)), "{f:?} {isa:?} {n}");
                    assert_eq!(&in_place[n / 3..n / 3 + n], &y[..n]);
                    assert_eq!((&in_place[..n / 3], &in_place[n / 3 + n..]), (&x[..n / 3], &x[n / 3 + n..]));
                }
                // f' by a central difference; the difference has an error h^2 |f'''| / 6 and eps |f| / h.
                let h = if T::NAME == "f32" { 1e-2 } else { 1e-5 };
                let away: Vec<T> = x.iter().map(|&x| x + T::of(0.05)).collect();
                let shifted = |s: f64| {
                    let mut y: Vec<T> = away.iter().map(|&x| x + T::of(s)).collect();
                    f.apply_in_place(isa, &mut y);
                    y
                };
                let (up, down, mut dx) = (shifted(h), shifted(-h), away.clone());
                f.vjp(isa, &away, &dy, &mut dx);
                for i in 0..x.len() {
                    let difference = (up[i] - down[i]).as_f64() / (2.0 * h) * dy[i].as_f64();
                    let bound = if T::NAME == "f32" { 3e-4 } else { 1e-9 };
                    assert!((dx[i].as_f64() - difference).abs() < bound, "{f:?} {isa:?} at {}", away[i]);
                }
            }
        }
    }

    #[test]
    fn slices_of_any_length_give_the_same_bits_and_a_consistent_slope() {
        slices::<f32>();
        slices::<f64>();
    }

    fn limits<V: Lanes>() {
        let at = |f: fn(V) -> (V, V), x: f64| -> [f64; 2] {
            let x = [V::Real::of(x); 16];
            [evaluate::<V>(&x, |x| f(x).0)[0].as_f64(), evaluate::<V>(&x, |x| f(x).1)[0].as_f64()]
        };
        for f in [relu, gelu, gelu_tanh, silu] {
            for x in [1e3, 1e30, f64::INFINITY] {
                assert_eq!(at(f, x), [V::Real::of(x).as_f64(), 1.0]);
                assert_eq!(at(f, -x), [0.0, 0.0]);
            }
            assert_eq!(at(f, 0.0)[0], 0.0);
            assert!(at(f, f64::NAN)[0].is_nan());
        }
        for f in [gelu, gelu_tanh, silu] {
            // Rounding of the Mills ratio: two ulp.
            assert!((at(f, 0.0)[1] - 0.5).abs() <= <V::Real as num_traits::Float>::epsilon().as_f64());
        }
    }

    #[test]
    fn gates_are_open_at_plus_infinity_and_shut_at_minus_infinity() {
        for_each_vector!(limits);
    }

    #[test]
    fn names_in_files_are_snake_case() {
        let names: Vec<String> = ALL.iter().map(|f| serde_json::to_string(f).unwrap()).collect();
        assert_eq!(names.join(" ").replace('"', ""), "identity relu gelu gelu_tanh silu tanh sin");
    }
}
