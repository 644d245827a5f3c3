//! Elementary functions over [`Lanes`], without branches.
//!
//! Each reduces its argument to a short interval, evaluates a polynomial there that is minimax in the relative error
//! of the result (Remez, 50 digits, then rounded), and rebuilds; Muller, *Elementary Functions*, 3rd ed., 2016,
//! chapters 3 and 11. Where two degrees are given, the lower is for `f32`.
//!
//! NaN gives NaN, infinities give the limit, odd functions are odd to the last bit. The error is below 2 units in the
//! last place (ulp) in every instruction set, also without fused operations (there 3 for the sine of large `f32`).

use super::Lanes;
use crate::field::Real;

/// The same constant in every lane.
#[inline(always)]
pub(super) fn splat<V: Lanes>(c: f64) -> V {
    V::splat(V::Real::of(c))
}

/// Whether the lanes are `f32`, known to the compiler.
#[inline(always)]
pub(super) const fn is_single<V: Lanes>() -> bool {
    size_of::<V::Real>() == 4
}

/// `single` for `f32`, `double` for `f64`.
#[inline(always)]
pub(super) fn by_precision<V: Lanes>(single: f64, double: f64) -> V {
    splat(if is_single::<V>() { single } else { double })
}

/// `c[0] + c[1] x + ... + c[N-1] x^(N-1)` by Horner's rule.
#[inline(always)]
fn polynomial<V: Lanes, const N: usize>(x: V, c: &[f64; N]) -> V {
    let mut sum = splat::<V>(c[N - 1]);
    for k in (0..N - 1).rev() {
        sum = sum.madd(x, splat(c[k]));
    }
    sum
}

/// `(n, r)` with `x = n ln 2 + r`, `|r| <= (ln 2) / 2`, `n` integral, for `x` between about -1100 and 1050 times `ln 2`.
#[inline(always)]
fn reduce_by_ln2<V: Lanes>(x: V) -> (V, V) {
    let n = (x * splat(std::f64::consts::LOG2_E)).nearest();
    // ln 2 in two parts; the first is so short that its product with `n` is exact.
    let r = n.nmadd(by_precision(0.693145751953125, 0.6931471805598903), x);
    (n, n.nmadd(by_precision(1.4286068203094173e-06, 5.497923018708371e-14), r))
}

/// `exp(r) - 1` for `|r| <= (ln 2) / 2`, as `r + r^2 q(r)`.
#[inline(always)]
fn expm1_reduced<V: Lanes>(r: V) -> V {
    // Degree 4: 2^-28.3. Degree 9: 2^-57.9.
    const SINGLE: [f64; 5] =
        [0.4999999344214423, 0.16666520659197584, 0.041668389696031365, 0.008368714048631492, 0.0013814497503330941];
    const DOUBLE: [f64; 10] = [
        0.5000000000000011,
        0.1666666666666641,
        0.04166666666653021,
        0.008333333333495464,
        0.0013888888943628423,
        0.00019841269505017616,
        2.4801493093650287e-05,
        2.7557587377963004e-06,
        2.7630251839540015e-07,
        2.499983670519081e-08,
    ];
    let q = if is_single::<V>() { polynomial(r, &SINGLE) } else { polynomial(r, &DOUBLE) };
    (r * r).madd(q, r)
}

/// Cuts `x` to where `exp` is neither zero nor infinite, and a little more.
#[inline(always)]
fn clamp_exponent<V: Lanes>(x: V) -> V {
    x.at_least(by_precision(-110.0, -760.0)).at_most(by_precision(100.0, 720.0))
}

/// `e^x`; gradual underflow.
#[inline(always)]
pub fn exp<V: Lanes>(x: V) -> V {
    let (n, r) = reduce_by_ln2(clamp_exponent(x));
    (expm1_reduced(r) + splat(1.0)).scale2(n)
}

/// `exp(-x^2 / 2)`, where fused to 2 ulp also far out: the rounding error of `x^2` is carried along.
#[inline(always)]
pub fn gaussian<V: Lanes>(x: V) -> V {
    // Beyond this the result is zero.
    let x = x.magnitude().at_most(by_precision(15.0, 40.0));
    let (square, rest) = square_exactly(x);
    let half = splat::<V>(-0.5);
    let (n, r) = reduce_by_ln2(clamp_exponent(half * square));
    (expm1_reduced(half.madd(rest, r)) + splat(1.0)).scale2(n)
}

/// `(s, e)` with `s = fl(x^2)` and `s + e = x^2`.
#[inline(always)]
fn square_exactly<V: Lanes>(x: V) -> (V, V) {
    let square = x * x;
    if V::FUSED {
        return (square, x.msub(x, square));
    }
    // Dekker 1971: split into halves whose products are exact.
    let big = x * by_precision(4097.0, 134217729.0);
    let high = big - (big - x);
    let low = x - high;
    (square, ((high * high - square) + (low + low) * high) + low * low)
}

/// Hyperbolic tangent `(1 - e^(-2|x|)) / (1 + e^(-2|x|))`, relatively accurate near zero.
#[inline(always)]
pub fn tanh<V: Lanes>(x: V) -> V {
    // The result is one long before the bound.
    let a = x.magnitude().at_most(by_precision(40.0, 300.0));
    let (n, r) = reduce_by_ln2(a * splat(-2.0));
    // m = 1 - e^(-2a) = (1 - 2^n) - 2^n (e^r - 1)
    let one = splat::<V>(1.0);
    let power = one.scale2(n);
    let p = expm1_reduced(r);
    power.nmadd(p, one - power).over(power.madd(p, one + power)).signed_as(x)
}

/// Logistic function `1 / (1 + e^-x)`, relatively accurate in the left tail.
#[inline(always)]
pub fn sigmoid<V: Lanes>(x: V) -> V {
    let one = splat::<V>(1.0);
    let e = exp(-x.magnitude());
    x.select_less(splat(0.0), e, one).over(one + e)
}

/// Mills ratio of the normal distribution, `(1 - Phi(a)) / phi(a) = sqrt(pi/2) e^(a^2/2) erfc(a / sqrt 2)`, for `a >= 0`.
///
/// `(a + K)` times it is smooth in `s = (a - A) / (a + K)` (Shepherd & Laframboise, Math. Comp. 36,
/// 1981, with `A = K`). A smaller `A` keeps `s`, and with it its rounding error, small where `phi` is not.
#[inline(always)]
pub(super) fn mills<V: Lanes>(a: V) -> V {
    // A = 1, K = 3.5, a <= 14.5, degree 9: 2^-27.0. A = 1.5, K = 5, a <= 39, degree 21: 2^-56.1.
    const SINGLE: [f64; 10] = [
        2.950557921783811,
        -4.021931105965292,
        3.1918814656203565,
        -1.1928920301034558,
        -0.1509515223181247,
        0.25449170689726014,
        0.028454102007317406,
        -0.06298728223199819,
        -0.011305048763655947,
        0.014796810625545383,
    ];
    const DOUBLE: [f64; 22] = [
        3.352801648416762,
        -6.207382279519811,
        8.45447196665696,
        -8.57926853229153,
        6.319811277818044,
        -3.063030194747805,
        0.6210678329355742,
        0.2825412213404364,
        -0.20551868937790446,
        -0.012239705271369025,
        0.04624086244728688,
        -0.0007457098690077933,
        -0.010988738463325733,
        -0.00024364005220545073,
        0.002781277513187208,
        0.00043630416318491126,
        -0.0006154889482772138,
        -0.0003589822870130845,
        9.710699858375968e-05,
        0.0003152313948453931,
        -0.00021561843560330185,
        4.2849656015099654e-05,
    ];
    let w = splat::<V>(1.0).over(a + by_precision(3.5, 5.0));
    let s = (a - by_precision(1.0, 1.5)) * w;
    w * if is_single::<V>() { polynomial(s, &SINGLE) } else { polynomial(s, &DOUBLE) }
}

/// Error function `2/sqrt(pi) int_0^x e^(-t^2) dt`, relatively accurate near zero.
#[inline(always)]
pub fn erf<V: Lanes>(x: V) -> V {
    // |x| < 1: x + x p(x^2), degree 6: 2^-29.6, degree 11: 2^-56.9.
    const SINGLE: [f64; 7] = [
        0.12837916572618147,
        -0.37612625824947893,
        0.1128358516987207,
        -0.02685381301406981,
        0.005188329835480771,
        -0.0008010212518731059,
        7.85392274594743e-05,
    ];
    const DOUBLE: [f64; 12] = [
        0.12837916709551256,
        -0.3761263890318352,
        0.11283791670944184,
        -0.026866170643111375,
        0.0052239776061179695,
        -0.0008548325929296913,
        0.00012055293576489741,
        -1.4924712295551755e-05,
        1.644713150415021e-06,
        -1.6206313317265972e-07,
        1.3710978741559486e-08,
        -7.779465790460984e-10,
    ];
    let a = x.magnitude();
    let square = a * a;
    let p = if is_single::<V>() { polynomial(square, &SINGLE) } else { polynomial(square, &DOUBLE) };
    let near = a.madd(p, a);
    // |x| >= 1: 1 - erfc |x|, where erfc is so small that its relative error hardly counts.
    let scaled = (a * splat(std::f64::consts::SQRT_2)).at_most(by_precision(14.0, 38.0));
    let erfc = exp(-square) * (mills(scaled) * splat(SQRT_2_OVER_PI));
    let one = splat::<V>(1.0);
    a.select_less(one, near, one - erfc).signed_as(x)
}

/// `sqrt(2 / pi)`.
pub(super) const SQRT_2_OVER_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

/// Sine and cosine.
///
/// Below 2 ulp for `|x| <= 1e5`. Beyond, an absolute error up to `epsilon |x|` comes in, as if `x` had been
/// rounded once more; from `|x| = 1e9` (`f64`) or `1e6` (`f32`) on the result is NaN, as it is for infinities.
#[inline(always)]
pub fn sin_cos<V: Lanes>(x: V) -> (V, V) {
    // |x| = q pi/2 + r with |r| <= pi/4 (Cody & Waite): sine and cosine of r, exchanged for odd q, negated by q mod 4.
    let one = splat::<V>(1.0);
    let a = x.magnitude();
    let q = (a * splat(std::f64::consts::FRAC_2_PI)).nearest();
    let mut r = a.select_less(by_precision(1e6, 1e9), a, splat(f64::NAN));
    for &part in half_pi::<V>() {
        r = q.nmadd(splat(part), r);
    }
    let (s, c) = sin_cos_reduced(r);
    // m = q mod 4 in {-1, 0, 1, 2} or -2; sin = m cos r for odd m, else (1 - |m|) sin r; cos accordingly.
    let m = (q * splat(0.25)).nearest().nmadd(splat(4.0), q);
    let even = one - m.magnitude();
    let is_even = splat::<V>(0.5);
    let sign = one.signed_as(x);
    let sine = is_even.select_less(even.magnitude(), even * s, m * c);
    let cosine = is_even.select_less(even.magnitude(), even * c, -(m * s));
    (sine * sign, cosine)
}

/// Sine, see [`sin_cos`].
#[inline(always)]
pub fn sin<V: Lanes>(x: V) -> V {
    sin_cos(x).0
}

/// Cosine, see [`sin_cos`].
#[inline(always)]
pub fn cos<V: Lanes>(x: V) -> V {
    sin_cos(x).1
}

/// Parts that add up to `pi/2`, so short that their products with `q <= 2^16` leave an exact difference.
#[inline(always)]
fn half_pi<V: Lanes>() -> &'static [f64] {
    match (is_single::<V>(), V::FUSED) {
        (false, _) => &[1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32],
        (true, true) => &[1.570796251296997, 7.549789415861596e-08, 5.390302858158119e-15],
        (true, false) => &[
            1.5703125,
            0.0004825592041015625,
            1.2665987014770508e-06,
            9.89530235528946e-10,
            2.5579538487363607e-12,
            5.384581669432009e-15,
            5.721188726109832e-18,
        ],
    }
}

/// Sine as `r + r^3 p(r^2)` and cosine as `1 - r^2 / 2 + r^4 q(r^2)` for `|r| <= pi/4`.
#[inline(always)]
fn sin_cos_reduced<V: Lanes>(r: V) -> (V, V) {
    // Degree 2: 2^-28.0 and 2^-33.0. Degree 5: 2^-57.9 and 2^-64.0.
    const SINGLE: [[f64; 3]; 2] = [
        [-0.16666654606019932, 0.008332160442191044, -0.00019515233833369418],
        [0.04166664568272537, -0.0013887316113980542, 2.443313068499524e-05],
    ];
    const DOUBLE: [[f64; 6]; 2] = [
        [
            -0.1666666666666663,
            0.008333333333322111,
            -0.00019841269829582792,
            2.7557313618935536e-06,
            -2.5050747360126522e-08,
            1.5896205671534293e-10,
        ],
        [
            0.041666666666666595,
            -0.0013888888888873043,
            2.4801587288842878e-05,
            -2.755731417663874e-07,
            2.0875700466990374e-09,
            -1.1358516431757617e-11,
        ],
    ];
    let u = r * r;
    let (p, q) = if is_single::<V>() {
        (polynomial(u, &SINGLE[0]), polynomial(u, &SINGLE[1]))
    } else {
        (polynomial(u, &DOUBLE[0]), polynomial(u, &DOUBLE[1]))
    };
    ((r * u).madd(p, r), (u * u).madd(q, u.nmadd(splat(0.5), splat(1.0))))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::double_double::{Dd, Scaled};
    use super::*;
    use crate::spectral::fft::testing::for_each_vector;

    /// `f` at each of `x`, whose number is a multiple of every width.
    pub fn evaluate<V: Lanes>(x: &[V::Real], f: impl Fn(V) -> V) -> Vec<V::Real> {
        let mut y = vec![V::Real::of(0.0); x.len()];
        V::vectorize(|| {
            for (x, y) in x.chunks_exact(V::WIDTH).zip(y.chunks_exact_mut(V::WIDTH)) {
                // SAFETY: both chunks have the width of the vector.
                unsafe { f(V::load(x.as_ptr())).store(y.as_mut_ptr()) }
            }
        });
        y
    }

    /// Error of `y` in units in the last place of `exact` in the precision of `T`.
    pub fn ulps<T: Real>(y: T, (exact, n): Scaled) -> f64 {
        let (digits, lowest) = if T::NAME == "f32" { (24, -149) } else { (53, -1074) };
        let power = |n: i32| (f64::from(n / 2).exp2(), f64::from(n - n / 2).exp2());
        let (a, b) = power(-n);
        let difference = (y.as_f64() * a * b - exact.0) - exact.1;
        let last = (exact.0.abs().log2().floor() as i32 + n - digits + 1).max(lowest) - n;
        let (a, b) = power(-last);
        difference.abs() * a * b
    }

    /// 512 points evenly spaced over `[low, high]`, then as many whose magnitude is geometric from `tiny` to `high`.
    pub fn points<T: Real>(low: f64, high: f64, tiny: f64) -> Vec<T> {
        let even = (0..512).map(|i| low + (high - low) * (f64::from(i) + 0.31) / 512.0);
        let geometric = (0..512).map(|i| {
            let x = tiny * (high / tiny).powf(f64::from(i) / 512.0);
            if i % 2 == 0 || low >= 0.0 { x } else { -x }
        });
        even.chain(geometric).map(T::of).collect()
    }

    /// Largest error in ulp of `f` over `points`, and where.
    pub fn worst<V: Lanes>(points: &[V::Real], f: impl Fn(V) -> V, exact: impl Fn(Dd) -> Scaled) -> (f64, f64) {
        let y = evaluate(points, f);
        let errors = points.iter().zip(y).map(|(x, y)| (ulps(y, exact(Dd(x.as_f64(), 0.0))), x.as_f64()));
        errors.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
    }

    fn accuracy<V: Lanes>() {
        let (bottom, top, tail, tiny) =
            if is_single::<V>() { (-103.0, 88.7, 4.2, 1e-37) } else { (-745.0, 709.7, 6.2, 1e-300) };
        // Without fused operations the reduction by pi/2 rounds once more per part.
        let bound = if V::FUSED || !is_single::<V>() { 2.0 } else { 3.0 };
        let mut failed = Vec::new();
        let mut check = |name: &str, f: fn(V) -> V, (low, high): (f64, f64), exact: fn(Dd) -> Scaled| {
            let (error, x) = worst(&points(low, high, tiny), f, exact);
            println!("{name:>8} {} x {:>2}: {error:.2} ulp at {x:e}", V::Real::NAME, V::WIDTH);
            if error.is_nan() || error >= bound {
                failed.push((name.to_string(), error, x));
            }
        };
        check("exp", exp, (bottom, top), |x| x.exp());
        check("exp", exp, (-1.0, 1.0), |x| x.exp());
        check("tanh", tanh, (-1.0, 1.0), |x| (x.tanh(), 0));
        check("tanh", tanh, (-20.0, 20.0), |x| (x.tanh(), 0));
        check("sigmoid", sigmoid, (bottom, -bottom), |x| x.sigmoid());
        check("sigmoid", sigmoid, (-4.0, 4.0), |x| x.sigmoid());
        check("erf", erf, (-1.5, 1.5), |x| (x.erf(), 0));
        check("erf", erf, (-tail, tail), |x| (x.erf(), 0));
        check("sine", sin, (-4.0, 4.0), |x| (x.sin_cos().0, 0));
        check("sine", sin, (-1e5, 1e5), |x| (x.sin_cos().0, 0));
        check("cosine", cos, (-4.0, 4.0), |x| (x.sin_cos().1, 0));
        check("cosine", cos, (-1e5, 1e5), |x| (x.sin_cos().1, 0));
        assert!(failed.is_empty(), "{} x {}: {failed:?}", V::Real::NAME, V::WIDTH);
        // The doubles nearest to multiples of pi/2 are the hardest for the reduction.
        let zeros: Vec<V::Real> =
            (0..2032).map(|q| V::Real::of(f64::from(31 * q + 1) * std::f64::consts::FRAC_PI_2)).collect();
        let (error, x) = worst::<V>(&zeros, sin, |x| (x.sin_cos().0, 0));
        println!("    zeros {} x {:>2}: {error:.2} ulp at {x:e}", V::Real::NAME, V::WIDTH);
        assert!(error < bound, "near multiples of pi/2: {error} at {x:e}");
    }

    #[test]
    fn errors_are_below_two_units_in_the_last_place() {
        for_each_vector!(accuracy);
    }

    fn limits<V: Lanes>() {
        let at = |f: fn(V) -> V, x: f64| -> f64 {
            let y = evaluate::<V>(&[V::Real::of(x); 16], f);
            assert!(y.iter().all(|v| v.as_f64().to_bits() == y[0].as_f64().to_bits()));
            y[0].as_f64()
        };
        let inf = f64::INFINITY;
        for f in [exp, gaussian, tanh, sigmoid, erf, sin, cos] {
            assert!(at(f, f64::NAN).is_nan());
        }
        for x in [1e3, 1e30, inf] {
            assert_eq!([at(exp, -x), at(exp, x), at(gaussian, -x), at(gaussian, x)], [0.0, inf, 0.0, 0.0], "{x}");
            assert_eq!([at(tanh, -x), at(tanh, x), at(erf, -x), at(erf, x)], [-1.0, 1.0, -1.0, 1.0], "{x}");
            assert_eq!([at(sigmoid, -x), at(sigmoid, x)], [0.0, 1.0], "{x}");
        }
        for x in [1e10, inf] {
            assert!([sin, cos].into_iter().all(|f| at(f, x).is_nan() && at(f, -x).is_nan()));
        }
        assert_eq!([exp, gaussian, cos].map(|f| at(f, 0.0)), [1.0; 3]);
        for f in [tanh, erf, sin] {
            for x in [0.0, 1e-30, 0.3, 1.7, 40.0] {
                assert_eq!(at(f, -x).to_bits(), (-at(f, x)).to_bits(), "odd at {x}");
            }
        }
    }

    #[test]
    fn limits_and_symmetries_are_exact() {
        for_each_vector!(limits);
    }
}
