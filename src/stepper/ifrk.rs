//! Integrating-factor Runge-Kutta (Lawson, SIAM J. Numer. Anal. 4, 1967).

use num_complex::Complex64;

/// Classical Runge-Kutta for `v = e^(-L t) u`: with `E2 = e^(z/2)`, `U_1 = E2 (u + (h/2) N_0)`,
/// `U_2 = E2 u + (h/2) N_1`, `U_3 = e^z u + h E2 N_2`,
/// `u+ = e^z u + (h/6) (e^z N_0 + 2 E2 (N_1 + N_2) + N_3)`.
///
/// Shares no coefficient function with the exponential schemes: the oracle that they are tested against.
pub(super) fn ifrk4(z: Complex64) -> Vec<Complex64> {
    let (e, e2) = (z.exp(), (z * 0.5).exp());
    let (zero, half, sixth) = (Complex64::default(), Complex64::from(0.5), Complex64::from(1.0 / 6.0));
    vec![e2, e2 * 0.5, e2, zero, half, e, zero, zero, e2, e, e / 6.0, e2 / 3.0, e2 / 3.0, sixth]
}
