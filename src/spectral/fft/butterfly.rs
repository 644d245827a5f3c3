//! Transforms of a few points in registers, `X_k = sum_j z_j exp(-2 pi i j k / R)`.

use num_traits::FloatConst;

use crate::field::Real;
use crate::spectral::simd::{Complex, Lanes};

/// Transforms `R` = 1, 2, 3, 4, 5, 7, 8 or 16 points in place, result in natural order.
#[inline(always)]
pub(super) fn dft<V: Lanes, const R: usize>(z: &mut [Complex<V>; R]) {
    const FITS: &str = "the arm's length is R";
    match R {
        1 => {}
        2 => (z[0], z[1]) = (z[0] + z[1], z[0] - z[1]),
        4 => dft4((&mut z[..]).try_into().expect(FITS)),
        8 => dft8((&mut z[..]).try_into().expect(FITS)),
        16 => dft16((&mut z[..]).try_into().expect(FITS)),
        _ => dft_odd(z),
    }
}

#[inline(always)]
fn dft4<V: Lanes>(z: &mut [Complex<V>; 4]) {
    let (a, b) = (z[0] + z[2], z[0] - z[2]);
    let (c, d) = (z[1] + z[3], (z[1] - z[3]).mul_neg_i());
    *z = [a + c, b + d, a - c, b - d];
}

/// Two transforms of half the length, of the points of even and of odd index, then `X_k = E_k + w^k O_k` and
/// `X_{k+4} = E_k - w^k O_k` with `w = (1 - i) / sqrt 2`. The root is left to the last, fused, additions.
#[inline(always)]
fn dft8<V: Lanes>(z: &mut [Complex<V>; 8]) {
    let mut e = [z[0], z[2], z[4], z[6]];
    let mut o = [z[1], z[3], z[5], z[7]];
    dft4(&mut e);
    dft4(&mut o);
    let root = V::splat(V::Real::FRAC_1_SQRT_2());
    let one = Complex::new(o[1].re + o[1].im, o[1].im - o[1].re);
    let two = o[2].mul_neg_i();
    let three = Complex::new(o[3].im - o[3].re, -(o[3].re + o[3].im));
    *z = [
        e[0] + o[0],
        e[1].add_scaled(root, one),
        e[2] + two,
        e[3].add_scaled(root, three),
        e[0] - o[0],
        sub_scaled(e[1], root, one),
        e[2] - two,
        sub_scaled(e[3], root, three),
    ];
}

/// As [`dft8`], one level up; `w^k = c (1 - i t)` with `c = cos(pi k / 8)`, `t = tan(pi k / 8)`.
#[inline(always)]
fn dft16<V: Lanes>(z: &mut [Complex<V>; 16]) {
    let mut e = [z[0], z[2], z[4], z[6], z[8], z[10], z[12], z[14]];
    let mut o = [z[1], z[3], z[5], z[7], z[9], z[11], z[13], z[15]];
    dft8(&mut e);
    dft8(&mut o);
    (z[0], z[8]) = (e[0] + o[0], e[0] - o[0]);
    let two = o[4].mul_neg_i();
    (z[4], z[12]) = (e[4] + two, e[4] - two);
    // cos(pi / 8), cos(pi / 4), cos(3 pi / 8), ... and the tangents, which LLVM does not evaluate.
    const C: [f64; 4] = [1.0, 0.923_879_532_511_286_7, std::f64::consts::FRAC_1_SQRT_2, 0.382_683_432_365_089_8];
    const T: [f64; 4] = [0.0, 0.414_213_562_373_095_05, 1.0, 2.414_213_562_373_095];
    for k in [1, 2, 3, 5, 6, 7] {
        let (c, t) = if k < 4 { (C[k], T[k]) } else { (-C[8 - k], -T[8 - k]) };
        let (c, t) = (V::splat(V::Real::of(c)), V::splat(V::Real::of(t)));
        let turned = Complex::new(t.madd(o[k].im, o[k].re), t.nmadd(o[k].re, o[k].im));
        (z[k], z[k + 8]) = (e[k].add_scaled(c, turned), sub_scaled(e[k], c, turned));
    }
}

/// `z - a y`, with real `a`.
#[inline(always)]
fn sub_scaled<V: Lanes>(z: Complex<V>, a: V, y: Complex<V>) -> Complex<V> {
    Complex::new(a.nmadd(y.re, z.re), a.nmadd(y.im, z.im))
}

/// Odd `R`: with `s_j = z_j + z_{R-j}` and `d_j = z_j - z_{R-j}`,
/// `X_k, X_{R-k} = z_0 + sum_j cos(2 pi j k / R) s_j -+ i sum_j sin(2 pi j k / R) d_j`.
#[inline(always)]
fn dft_odd<V: Lanes, const R: usize>(z: &mut [Complex<V>; R]) {
    let mut x = [z[0]; R];
    for j in 1..=R / 2 {
        x[0] = x[0] + (z[j] + z[R - j]);
    }
    for k in 1..=R / 2 {
        let mut even = z[0];
        let mut odd = Complex::zero();
        for j in 1..=R / 2 {
            let [cos, sin] = root_of_unity::<V, R>(j * k % R);
            even = even.add_scaled(cos, z[j] + z[R - j]);
            odd = odd.add_scaled(sin, z[j] - z[R - j]);
        }
        let odd = odd.mul_neg_i();
        (x[k], x[R - k]) = (even + odd, even - odd);
    }
    *z = x;
}

/// `cos` and `sin` of `2 pi j / R` for `R` = 3, 5 or 7; tables, as LLVM does not evaluate all of these.
#[inline(always)]
fn root_of_unity<V: Lanes, const R: usize>(j: usize) -> [V; 2] {
    const THREE: [f64; 2] = [-0.5, 0.866_025_403_784_438_6];
    const FIVE: [[f64; 2]; 2] =
        [[0.309_016_994_374_947_45, 0.951_056_516_295_153_5], [-0.809_016_994_374_947_5, 0.587_785_252_292_473_1]];
    const SEVEN: [[f64; 2]; 3] = [
        [0.623_489_801_858_733_6, 0.781_831_482_468_029_8],
        [-0.222_520_933_956_314_4, 0.974_927_912_181_823_6],
        [-0.900_968_867_902_419_1, 0.433_883_739_117_558_1],
    ];
    let first = j.min(R - j);
    let [cos, sin] = match R {
        3 => THREE,
        5 => FIVE[first - 1],
        _ => SEVEN[first - 1],
    };
    let sin = if first == j { sin } else { -sin };
    [V::splat(V::Real::of(cos)), V::splat(V::Real::of(sin))]
}
