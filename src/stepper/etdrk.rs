//! Exponential time differencing Runge-Kutta schemes (Cox & Matthews, J. Comput. Phys. 176, 2002, section 3).
//!
//! Coefficient functions of `z = h L`, without the factor `h` of the nonlinear terms, in the order of
//! [`super::Scheme`]'s table. They are evaluated on circles that keep away from `z = 0`.

use num_complex::Complex64;

/// `phi_1(z) = (e^z - 1) / z`.
fn phi1(z: Complex64) -> Complex64 {
    (z.exp() - 1.0) / z
}

/// `phi_2(z) = (e^z - 1 - z) / z^2`.
fn phi2(z: Complex64) -> Complex64 {
    (z.exp() - 1.0 - z) / (z * z)
}

/// The three functions of the last row of ETDRK3 and ETDRK4, equal to 1/6, 1/6, 1/6 at `z = 0`.
fn weights(z: Complex64) -> [Complex64; 3] {
    let (e, z2) = (z.exp(), z * z);
    let z3 = z2 * z;
    [
        (-4.0 - z + e * (4.0 - z * 3.0 + z2)) / z3,
        (2.0 + z + e * (z - 2.0)) / z3,
        (-4.0 - z * 3.0 - z2 + e * (4.0 - z)) / z3,
    ]
}

/// `a = e^z u + h phi_1 N(u)`, `u+ = a + h phi_2 (N(a) - N(u))`. Eqs. (21), (22).
pub(super) fn etdrk2(z: Complex64) -> Vec<Complex64> {
    let (e, p1, p2) = (z.exp(), phi1(z), phi2(z));
    vec![e, p1, e, p1 - p2, p2]
}

/// `a = e^(z/2) u + (h/2) phi_1(z/2) N(u)`, `b = e^z u + h phi_1(z) (2 N(a) - N(u))`,
/// `u+ = e^z u + h (f1 N(u) + 4 f2 N(a) + f3 N(b))`. Eqs. (23)-(25).
pub(super) fn etdrk3(z: Complex64) -> Vec<Complex64> {
    let (e, e2) = (z.exp(), (z * 0.5).exp());
    let (p1, [f1, f2, f3]) = (phi1(z), weights(z));
    vec![e2, phi1(z * 0.5) * 0.5, e, -p1, p1 * 2.0, e, f1, f2 * 4.0, f3]
}

/// With `Q = (1/2) phi_1(z/2)`: `a = e^(z/2) u + h Q N(u)`, `b = e^(z/2) u + h Q N(a)`,
/// `c = e^(z/2) a + h Q (2 N(b) - N(u))`, `u+ = e^z u + h (f1 N(u) + 2 f2 (N(a) + N(b)) + f3 N(c))`. Eqs. (26)-(29).
///
/// `a` is inserted into `c`, which then reads `e^z u + h (e^(z/2) - 1) Q N(u) + 2 h Q N(b)`.
pub(super) fn etdrk4(z: Complex64) -> Vec<Complex64> {
    let (e, e2) = (z.exp(), (z * 0.5).exp());
    let (q, [f1, f2, f3]) = (phi1(z * 0.5) * 0.5, weights(z));
    let zero = Complex64::default();
    vec![e2, q, e2, zero, q, e, (e2 - 1.0) * q, zero, q * 2.0, e, f1, f2 * 2.0, f2 * 2.0, f3]
}
