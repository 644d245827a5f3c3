//! Every one-step scheme as a table of diagonal coefficients.
//!
//! With `z = h L(k)` a scheme for `u_t = L u + N(u)` reads, mode by mode,
//!
//! ```text
//! U_i = R_i(z) u + h sum_{j < i} a_ij(z) N(U_j),   i = 1 .. s - 1,   U_0 = u
//! u+  = R(z) u   + h sum_{j < s} b_j(z) N(U_j) .
//! ```
//!
//! Exponential, integrating-factor and implicit-explicit schemes differ only in the functions `R, a, b`; step, tangent
//! and adjoint are written once.

use std::collections::HashMap;

use aligned_vec::AVec;
use num_complex::Complex64;

use super::pipeline::Coefficient;
use super::{etdrk, ifrk, imex};
use crate::field::Real;
use crate::spectral::layout::Layout;

/// A time-stepping scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Exponential time differencing Runge-Kutta of order 2.
    Etdrk2,
    /// Exponential time differencing Runge-Kutta of order 3.
    Etdrk3,
    /// Exponential time differencing Runge-Kutta of order 4, the default.
    Etdrk4,
    /// Classical Runge-Kutta of order 4 under the integrating factor `exp(-L t)` (Lawson).
    Ifrk4,
    /// Crank-Nicolson for `L`, Adams-Bashforth 2 for `N`; order 2, one evaluation a step.
    CnAb2,
    /// Crank-Nicolson for `L` inside the five-stage low-storage Runge-Kutta scheme of Carpenter and Kennedy; order 2
    /// with a small constant (order 4 in `N` alone).
    CnRk4,
}

impl Scheme {
    /// All schemes.
    pub const ALL: [Self; 6] = [Self::Etdrk2, Self::Etdrk3, Self::Etdrk4, Self::Ifrk4, Self::CnAb2, Self::CnRk4];

    /// Name as in recipes and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etdrk2 => "etdrk2",
            Self::Etdrk3 => "etdrk3",
            Self::Etdrk4 => "etdrk4",
            Self::Ifrk4 => "ifrk4",
            Self::CnAb2 => "cnab2",
            Self::CnRk4 => "cnrk4",
        }
    }

    /// The scheme of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Order of convergence for stiff `L`.
    pub fn order(self) -> usize {
        match self {
            Self::Etdrk2 | Self::CnAb2 | Self::CnRk4 => 2,
            Self::Etdrk3 => 3,
            Self::Etdrk4 | Self::Ifrk4 => 4,
        }
    }

    /// Evaluations of `N` a step, `s`.
    pub fn stages(self) -> usize {
        match self {
            Self::CnAb2 => 1,
            Self::Etdrk2 => 2,
            Self::Etdrk3 => 3,
            Self::Etdrk4 | Self::Ifrk4 => 4,
            Self::CnRk4 => 5,
        }
    }

    /// Coefficients at `z`: for row `i = 1 .. s` the entries `R_i, a_i0, .., a_i,i-1`, the last row being `R, b_0, ..`.
    fn evaluate(self, z: Complex64) -> Vec<Complex64> {
        match self {
            Self::Etdrk2 => etdrk::etdrk2(z),
            Self::Etdrk3 => etdrk::etdrk3(z),
            Self::Etdrk4 => etdrk::etdrk4(z),
            Self::Ifrk4 => ifrk::ifrk4(z),
            Self::CnAb2 => imex::cn_ab2(z),
            Self::CnRk4 => imex::cn_rk4(z),
        }
    }

    /// Coefficients, or their derivatives, at `z`.
    ///
    /// The functions of the exponential schemes are entire, but their closed forms cancel near `z = 0`. There the value
    /// is the mean over a circle about `z` (Kassam & Trefethen 2005, section 3). They use radius 1; where that circle
    /// passes near the origin (`z` near -1) cancellation returns, so ours has radius `|z| + 1` and keeps distance 1. For
    /// `|z| > 3/2` the closed form is accurate to a few units of round-off and is used as it stands. Derivatives come
    /// from a circle by Cauchy's formula `g'(z) = (1 / M r) sum_j g(z + r e^(i theta_j)) e^(-i theta_j)`, for the rational
    /// functions too, whose poles lie at `z >= 2`.
    ///
    /// The mean is complex whenever `z` is: taking its real part is right for real symbols only.
    fn values(self, z: Complex64, derivative: bool) -> Vec<Complex64> {
        const POINTS: usize = 32;
        let exponential = matches!(self, Self::Etdrk2 | Self::Etdrk3 | Self::Etdrk4);
        let far = z.norm() > 1.5;
        if !derivative && (far || !exponential) {
            return self.evaluate(z);
        }
        let radius = match (exponential, far) {
            (true, true) | (false, _) => 0.5,
            (true, false) => z.norm() + 1.0,
        };
        // On the real axis the lower half of the circle gives the conjugates of the upper half.
        let points = if z.im == 0.0 { POINTS / 2 } else { POINTS };
        let mut sum = vec![Complex64::default(); row_start(self.stages() + 1)];
        for j in 0..points {
            let direction = Complex64::cis(std::f64::consts::TAU * (j as f64 + 0.5) / POINTS as f64);
            let weight = if derivative { direction.conj() / radius } else { Complex64::from(1.0) } / points as f64;
            for (sum, value) in sum.iter_mut().zip(self.evaluate(z + direction * radius)) {
                *sum += value * weight;
            }
        }
        if z.im == 0.0 {
            sum.iter_mut().for_each(|s| s.im = 0.0);
        }
        if !derivative {
            // The propagators do not cancel, and only if they are exact are means conserved exactly.
            let exact = self.evaluate(z);
            sum.iter_mut().zip(exact).enumerate().filter(|(j, _)| is_propagator(*j)).for_each(|(_, (s, e))| *s = e);
        }
        sum
    }
}

/// Index of the first entry of row `i` (from 1) in the list of coefficients; rows `1 .. i` have `2, .., i` entries.
pub(super) fn row_start(i: usize) -> usize {
    (i - 1) * (i + 2) / 2
}

/// Coefficients of a scheme for every stored mode.
pub(super) struct Coefficients<T: Real> {
    /// Entries in the order of [`Scheme::evaluate`], those of `N` multiplied by `h`; `None` where zero for every mode.
    list: Vec<Option<Coefficient<T>>>,
    /// Coefficients of the previous step's `N`, and of `N` in the first step, for the multistep scheme.
    pub history: Option<[Coefficient<T>; 2]>,
    /// Reals after which the coefficients repeat in a sample (one channel if all channels share a symbol).
    pub period: usize,
}

impl<T: Real> Coefficients<T> {
    /// Coefficients for the step `dt`; `symbols[channel]` holds `L` for the lanes of every group (zero in dead lanes,
    /// as `live` tells).
    pub fn new(scheme: Scheme, layout: &Layout, symbols: &[Vec<Complex64>], live: &[bool], dt: f64) -> Self {
        let is_real = symbols.iter().flatten().all(|l| l.im == 0.0);
        let entries = row_start(scheme.stages() + 1);
        let lanes = layout.groups() * layout.width;
        let mut tables = vec![vec![Complex64::default(); lanes * symbols.len()]; entries];
        // Isotropic symbols take the same value at many modes.
        let mut known: HashMap<[u64; 2], Vec<Complex64>> = HashMap::new();
        for (channel, symbol) in symbols.iter().enumerate() {
            for (lane, l) in symbol.iter().enumerate().filter(|(lane, _)| live[*lane]) {
                let z = l * dt;
                let values =
                    known.entry([z.re.to_bits(), z.im.to_bits()]).or_insert_with(|| scheme.values(z, false)).clone();
                for ((entry, table), value) in tables.iter_mut().enumerate().zip(values) {
                    table[channel * lanes + lane] = if is_propagator(entry) { value } else { value * dt };
                }
            }
        }
        let coefficient = |table: &[Complex64]| pack(table, layout.width, is_real);
        let list =
            tables.iter().map(|t| t.iter().any(|v| *v != Complex64::default()).then(|| coefficient(t))).collect();
        // u+ = R u + h b ((3/2) N^n - (1/2) N^(n-1)), where b = 1 / (1 - z / 2); entry 1 of the list is (3/2) h b.
        let history = (scheme == Scheme::CnAb2).then(|| {
            [-1.0 / 3.0, 2.0 / 3.0].map(|share| coefficient(&tables[1].iter().map(|v| v * share).collect::<Vec<_>>()))
        });
        let period = symbols.len() * layout.channel_len();
        Self { list, history, period }
    }

    /// No coefficients, before the first step size is set.
    pub fn empty() -> Self {
        Self { list: Vec::new(), history: None, period: 0 }
    }

    /// Entry `j` of row `i`: 0 multiplies `u`, `j` multiplies `N(U_{j-1})`.
    pub fn get(&self, i: usize, j: usize) -> Option<&Coefficient<T>> {
        self.list[row_start(i) + j].as_ref()
    }
}

/// Whether an entry of the list multiplies `u` (the first of its row).
pub(super) fn is_propagator(entry: usize) -> bool {
    (1..).map(row_start).take_while(|s| *s <= entry).any(|s| s == entry)
}

/// Derivatives of every entry with respect to `z`, and the values, at `z = dt L`, in the order of the list.
pub(super) fn derivatives(scheme: Scheme, z: Complex64) -> (Vec<Complex64>, Vec<Complex64>) {
    (scheme.values(z, false), scheme.values(z, true))
}

fn pack<T: Real>(table: &[Complex64], width: usize, is_real: bool) -> Coefficient<T> {
    if is_real {
        Coefficient::Real(AVec::from_iter(128, table.iter().map(|c| T::of(c.re))))
    } else {
        let groups = table.chunks_exact(width);
        let values = groups.flat_map(|g| g.iter().map(|c| T::of(c.re)).chain(g.iter().map(|c| T::of(c.im))));
        Coefficient::Complex(AVec::from_iter(128, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Power series of `phi_k(z) = sum_n z^n / (n + k)!`, exact to round-off for `|z| <= 1`.
    fn phi_series(k: u32, z: Complex64) -> Complex64 {
        let mut term = Complex64::from(1.0 / (1..=k).map(f64::from).product::<f64>());
        let mut sum = Complex64::default();
        for n in 1..40 {
            sum += term;
            term *= z / (n + k) as f64;
        }
        sum
    }

    #[test]
    fn etdrk4_coefficients_match_phi_functions() {
        // f1 = phi1 - 3 phi2 + 4 phi3, f2 = phi2 - 2 phi3, f3 = -phi2 + 4 phi3 (Hochbruck & Ostermann 2010, eq. 2.42).
        for z in [
            Complex64::new(0.0, 0.0),
            Complex64::new(1e-8, 0.0),
            Complex64::new(1e-3, 0.0),
            Complex64::new(-1.0, 0.0),
            Complex64::new(-1.0, 1e-6),
            Complex64::new(0.0, 0.7),
            Complex64::new(0.9, -1.1),
            Complex64::new(-1.6, 0.0),
        ] {
            let [p1, p2, p3] = [1, 2, 3].map(|k| phi_series(k, z));
            let c = Scheme::Etdrk4.values(z, false);
            let last = row_start(4);
            for (got, want) in [
                (c[last], z.exp()),
                (c[last + 1], p1 - p2 * 3.0 + p3 * 4.0),
                (c[last + 2], p2 * 2.0 - p3 * 4.0),
                (c[last + 4], p3 * 4.0 - p2),
                (c[1], phi_series(1, z * 0.5) * 0.5),
            ] {
                // Cancellation on the circle costs at most a factor of about 10 on the unit round-off.
                assert!((got - want).norm() < 4e-15, "{z}: {got} {want}");
            }
        }
    }

    #[test]
    fn etdrk4_coefficients_are_exact_far_from_the_origin() {
        let last = row_start(4);
        // e^-50 = 2e-22 is below round-off, so that f1(-50) = (-4 + 50) / -50^3 and f3(-50) = (-4 + 150 - 2500) / -50^3.
        let c = Scheme::Etdrk4.values(Complex64::from(-50.0), false);
        assert!((c[last + 1] - Complex64::from(-46.0 / 125_000.0)).norm() < 1e-17);
        assert!((c[last + 4] - Complex64::from(2354.0 / 125_000.0)).norm() < 1e-17);
        let z = Complex64::new(0.0, 10.0);
        let e = z.exp();
        let c = Scheme::Etdrk4.values(z, false);
        // Far from the origin the closed form itself is accurate.
        let f1 = (-4.0 - z + e * (4.0 - z * 3.0 + z * z)) / (z * z * z);
        assert!((c[last + 1] - f1).norm() < 1e-15);
    }

    #[test]
    fn derivatives_match_differences() {
        for scheme in Scheme::ALL {
            for z in [Complex64::new(-0.7, 0.3), Complex64::new(0.0, 0.0), Complex64::new(-30.0, 0.0)] {
                let d = scheme.values(z, true);
                // Central differences in complex arithmetic, O(eps^2) + round-off / eps.
                let eps = 1e-5;
                let plus = scheme.values(z + eps, false);
                let minus = scheme.values(z - eps, false);
                for (j, d) in d.iter().enumerate() {
                    let difference = (plus[j] - minus[j]) / (2.0 * eps);
                    assert!((d - difference).norm() < 1e-9, "{scheme:?} {z} {j}: {d} {difference}");
                }
            }
        }
    }

    #[test]
    fn rows_start_where_the_previous_ends() {
        assert_eq!([1, 2, 3, 4, 5].map(row_start), [0, 2, 5, 9, 14]);
        assert!([0, 2, 5, 9].into_iter().all(is_propagator) && ![1, 3, 4, 6, 13].into_iter().any(is_propagator));
    }
}
