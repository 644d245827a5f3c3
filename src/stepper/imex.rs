//! Implicit-explicit schemes: Crank-Nicolson for `L`, explicit for `N`.

use num_complex::Complex64;

/// Crank-Nicolson and Adams-Bashforth 2, `(1 - z/2) u+ = (1 + z/2) u + h ((3/2) N^n - (1/2) N^(n-1))`.
///
/// The table holds the coefficients of `u` and `N^n`; the one of `N^(n-1)` is `-1/3` of the latter, and the first step
/// (Crank-Nicolson and Euler) uses `2/3` of it.
pub(super) fn cn_ab2(z: Complex64) -> Vec<Complex64> {
    let implicit = 1.0 / (1.0 - z * 0.5);
    vec![(1.0 + z * 0.5) * implicit, implicit * 1.5]
}

/// Crank-Nicolson within low-storage Runge-Kutta (Canuto, Hussaini, Quarteroni & Zang, *Spectral Methods: Evolution to
/// Complex Geometries*, 2007, appendix D.3) with the coefficients of Carpenter & Kennedy (NASA TM 109112, 1994), as used
/// by JAX-CFD and torch-cfd:
///
/// ```text
/// H <- N(u) + beta_k H;  mu = (alpha_{k+1} - alpha_k) / 2;  u <- (u + gamma_k h H + mu z u) / (1 - mu z)
/// ```
///
/// The recursion is expanded into the table, which costs two more operands a stage than two registers would and gives
/// the tangent and the adjoint for free.
pub(super) fn cn_rk4(z: Complex64) -> Vec<Complex64> {
    const ALPHA: [f64; 6] =
        [0.0, 0.149_659_021_999_3, 0.370_400_957_364_4, 0.622_255_763_134_5, 0.958_282_130_674_8, 1.0];
    const BETA: [f64; 5] = [0.0, -0.417_890_474_5, -1.192_151_694_643, -1.697_784_692_471, -1.514_183_444_257];
    const GAMMA: [f64; 5] =
        [0.149_659_021_999_3, 0.379_210_312_999_9, 0.822_955_029_386_9, 0.699_450_455_948_8, 0.153_057_247_968_1];
    let mut table = Vec::with_capacity(20);
    // Coefficients of u, N_0, .., N_4 in the current state and in the accumulated right side H.
    let mut state = [Complex64::default(); 6];
    let mut sum = [Complex64::default(); 6];
    state[0] = Complex64::from(1.0);
    for k in 0..5 {
        sum.iter_mut().for_each(|s| *s *= BETA[k]);
        sum[k + 1] += 1.0;
        let mu = 0.5 * (ALPHA[k + 1] - ALPHA[k]);
        for (state, sum) in state.iter_mut().zip(sum) {
            *state = (*state * (1.0 + z * mu) + sum * GAMMA[k]) / (1.0 - z * mu);
        }
        table.extend_from_slice(&state[..k + 2]);
    }
    table
}
