//! The initial state, built into the solution.

use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::Equation;
use super::series::Series;
use crate::error::Result;

/// What the solution is without the network, `u = l(x, s) + (s / tau)^q N(x, t)` with `s = t - t_0` in a window of length
/// `tau`; `l(x, 0) = u_0`, so that the initial state is exact whatever the parameters are.
///
/// `S(s)` is the semigroup of the linear derivatives of the equation, mode by mode `exp(lambda_k s)`, and `F` all the rest
/// of its right-hand side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifting {
    /// `u = N`: the initial state is not built in, but fitted.
    None,
    /// `l = u_0`, `q = 1`.
    State,
    /// `l = S(s) u_0`, `q = 1`: a start that is not smooth is smoothed by the lifting, and the network need not see it.
    Semigroup,
    /// `l = S(s) u_0 + s phi_1(s L) F(u_0)`, `phi_1(z) = (e^z - 1) / z`, `q = 2`: the exponential Euler step as a function
    /// of time, to which the network is the correction.
    #[default]
    Exponential,
    /// The same and `s^2 phi_2(s L) G`, `phi_2(z) = (e^z - 1 - z) / z^2`, with the rate `G = dF / dt` at the start; `q = 3`.
    ///
    /// Errors of the state at high wavenumbers enter with the square of the semigroup's rates: for equations of third and fourth
    /// order only from smooth states, in the first window.
    Taylor,
}

impl Lifting {
    /// The power `q`.
    fn power(self) -> i32 {
        match self {
            Self::None => 0,
            Self::State | Self::Semigroup => 1,
            Self::Exponential => 2,
            Self::Taylor => 3,
        }
    }

    /// `g = (s / tau)^q` and `dg / dt` in a window.
    pub(super) fn gate(self, times: [f64; 2], t: f64) -> [f64; 2] {
        let tau = times[1] - times[0];
        let (s, q) = ((t - times[0]) / tau, self.power());
        [s.powi(q), if q == 0 { 0.0 } else { f64::from(q) * s.powi(q - 1) / tau }]
    }

    /// Whether it depends on the rate `u_t` at the start, and so on all coefficients.
    pub fn knows_rates(self) -> bool {
        self.power() > 1
    }
}

/// Symmetry of all fields about a point `x_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Parity {
    /// Not enforced.
    #[default]
    None,
    /// `u(2 x_* - x) = u(x)`.
    Even,
    /// `u(2 x_* - x) = -u(x)`.
    Odd,
}

impl Parity {
    /// Sign of the mirror image's derivative of order `k` in `u_k(x) = (N_k(x) + sign N_k(2 x_* - x)) / 2`; `None`
    /// without a symmetry.
    pub fn sign(self, k: usize) -> Option<f64> {
        let odd = match self {
            Self::None => return None,
            Self::Even => false,
            Self::Odd => true,
        };
        Some(if odd == k.is_multiple_of(2) { -1.0 } else { 1.0 })
    }
}

/// A window of time with its initial state.
///
/// # Source
///
/// The liftings are the first terms of the variation of constants with `F` expanded in time, as in exponential Taylor methods:
/// Hochbruck & Ostermann, *Acta Numerica* 19 (2010), sections 2.1 and 2.3.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// `t_0` and `t_0 + tau`.
    pub times: [f64; 2],
    /// Initial state, a series a field.
    pub state: Vec<Series>,
    /// Kind of the lifting.
    pub lifting: Lifting,
    /// For each field and mode: `lambda_m` and the amplitudes of `u_0`, `F` and `G`.
    modes: Vec<Vec<[Complex64; 4]>>,
    order: usize,
}

impl Window {
    /// The window of an equation from a state.
    ///
    /// # Errors
    ///
    /// As [`Series::sample`].
    pub fn new(
        equation: &dyn Equation,
        c: &[f64],
        lifting: Lifting,
        times: [f64; 2],
        state: Vec<Series>,
    ) -> Result<Self> {
        let (fields, order) = (equation.fields(), equation.order());
        let symbols: Vec<[f64; 4]> = match lifting {
            Lifting::None | Lifting::State => vec![[0.0; 4]; fields],
            _ => (0..fields).map(|field| equation.linear(c, field)).collect(),
        };
        let none = || vec![Vec::new(); fields];
        let [first, mut second] = match lifting.knows_rates() {
            true => Self::rates(equation, c, &symbols, &state)?,
            false => [none(), none()],
        };
        if lifting != Lifting::Taylor {
            second = none();
        }
        let mut modes = Vec::with_capacity(fields);
        for (field, series) in state.iter().enumerate() {
            let (start, first, second) = (&series.amplitudes, &first[field], &second[field]);
            let count = start.len().max(first.len()).max(second.len());
            let of = |m: usize| {
                let ik = Complex64::new(0.0, series.wavenumber(m));
                let lambda = symbols[field].iter().rev().fold(Complex64::default(), |sum, c| (sum + c) * ik);
                let amplitude = |list: &[Complex64]| list.get(m).copied().unwrap_or_default();
                [lambda, amplitude(start), amplitude(first), amplitude(second)]
            };
            modes.push((0..count).map(of).collect());
        }
        Ok(Self { times, state, lifting, modes, order })
    }

    /// Amplitudes of `F(u_0)` and of `G = F'(u_0) u_t`, a list a field.
    fn rates(
        equation: &dyn Equation,
        c: &[f64],
        symbols: &[[f64; 4]],
        state: &[Series],
    ) -> Result<[Vec<Vec<Complex64>>; 2]> {
        let (fields, order) = (equation.fields(), equation.order());
        let modes = state.iter().map(|s| s.amplitudes.len()).max().unwrap_or(1);
        // Modes below 4 M: all of F for up to three factors, and of G for two.
        let n = if modes == 1 { 4 } else { (8 * modes).next_power_of_two() };
        let sample = |state: &[Series]| -> Result<Vec<Vec<f64>>> {
            (0..=order).flat_map(|k| state.iter().map(move |series| series.sample(n, k))).collect()
        };
        let series = |values: Vec<Vec<f64>>| -> Result<Vec<Series>> {
            values.iter().zip(state).map(|(v, s)| Series::interpolate(s.origin, s.length, v, 1e-15)).collect()
        };
        let at = |jets: &[Vec<f64>], j: usize, u: &mut Vec<f64>| {
            u.clear();
            u.extend(jets.iter().map(|jet| jet[j]));
        };
        let linear = |u: &[f64], field: usize| -> f64 {
            (0..order).map(|k| symbols[field][k] * u[(k + 1) * fields + field]).sum()
        };
        let jets = sample(state)?;
        let zeros = || vec![vec![0.0; n]; fields];
        let (mut total, mut first, mut second) = (zeros(), zeros(), zeros());
        let (mut u, mut v, mut f) = (Vec::new(), Vec::new(), vec![0.0; fields]);
        for j in 0..n {
            at(&jets, j, &mut u);
            equation.rates(c, &u, &mut f);
            for field in 0..fields {
                total[field][j] = f[field];
                first[field][j] = f[field] - linear(&u, field);
            }
        }
        let rate_jets = sample(&series(total)?)?;
        let mut slopes = (vec![0.0; fields * jets.len()], vec![0.0; fields * c.len()]);
        #[allow(clippy::needless_range_loop)] // The fields come first.
        for j in 0..n {
            at(&jets, j, &mut u);
            at(&rate_jets, j, &mut v);
            equation.slopes(c, &u, &mut slopes.0, &mut slopes.1);
            for (field, slopes) in slopes.0.chunks_exact(jets.len()).enumerate() {
                let all: f64 = slopes.iter().zip(&v).map(|(a, b)| a * b).sum();
                second[field][j] = all - linear(&v, field);
            }
        }
        let amplitudes = |values| Ok(series(values)?.into_iter().map(|s: Series| s.amplitudes).collect());
        Ok([amplitudes(first)?, amplitudes(second)?])
    }

    /// The lifting's jet at `(x, t)`, `[component, field]`: derivatives `0..=order` in `x`, then the one in `t`.
    pub fn lift(&self, x: f64, t: f64, jet: &mut [f64]) {
        let (fields, s) = (self.state.len(), t - self.times[0]);
        assert_eq!(jet.len(), (self.order + 2) * fields, "length of a jet");
        if self.lifting == Lifting::None {
            return jet.fill(0.0);
        }
        let (mut orders, mut rates) = ([0.0; crate::jet::MAX_ORDER + 1], Vec::new());
        for (field, (series, modes)) in self.state.iter().zip(&self.modes).enumerate() {
            let orders = &mut orders[..self.order + 1];
            // Without the semigroup, which takes most of the time.
            if self.lifting == Lifting::State {
                series.evaluate(x, orders);
                orders.iter().enumerate().for_each(|(k, u)| jet[k * fields + field] = *u);
                jet[(self.order + 1) * fields + field] = 0.0;
                continue;
            }
            rates.clear();
            let value = |m: usize| {
                let [lambda, start, first, second] = modes[m];
                let [phi0, phi1, phi2] = phi(lambda * s);
                rates.push(phi0 * (lambda * start + first) + s * phi1 * second);
                phi0 * start + s * (phi1 * first + s * phi2 * second)
            };
            series.sum(x, modes.len(), value, orders);
            orders.iter().enumerate().for_each(|(k, u)| jet[k * fields + field] = *u);
            series.sum(x, modes.len(), |m| rates[m], &mut orders[..1]);
            jet[(self.order + 1) * fields + field] = orders[0];
        }
    }

    /// `g = (s / tau)^q` and `dg / dt`.
    pub fn gate(&self, t: f64) -> [f64; 2] {
        self.lifting.gate(self.times, t)
    }
}

/// `e^z`, `phi_1(z) = (e^z - 1) / z` and `phi_2(z) = (phi_1(z) - 1) / z`; where the differences would cancel, by the series
/// `phi_2(z) = sum_j z^j / (j + 2)!`.
pub(super) fn phi(z: Complex64) -> [Complex64; 3] {
    if z.norm_sqr() > 1.0 {
        let phi0 = z.exp();
        let phi1 = (phi0 - 1.0) / z;
        return [phi0, phi1, (phi1 - 1.0) / z];
    }
    // The first term left off is 1 / 20! = 4e-19.
    let phi2 = (1..18).rev().fold(Complex64::new(1.0, 0.0), |sum, j| 1.0 + sum * z / (j as f64 + 2.0)) * 0.5;
    let phi1 = 1.0 + z * phi2;
    [1.0 + z * phi1, phi1, phi2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pinn::Polynomial;

    fn start() -> Series {
        let values: Vec<f64> = (0..64).map(|j| (std::f64::consts::PI * (-1.0 + j as f64 / 32.0)).sin().exp()).collect();
        Series::interpolate(-1.0, 2.0, &values, 1e-15).unwrap()
    }

    #[test]
    fn lifting_by_the_semigroup_solves_the_linear_equation() {
        let equation = Polynomial::convection(100.0, 0.01);
        let c = equation.coefficients();
        for lifting in [Lifting::Semigroup, Lifting::Exponential, Lifting::Taylor] {
            let window = Window::new(&equation, &c, lifting, [0.5, 1.5], vec![start()]).unwrap();
            let mut jet = [0.0; 4];
            for (x, t) in [(0.3, 0.5), (-0.7, 0.9), (0.9, 1.5)] {
                window.lift(x, t, &mut jet);
                let mut f = [0.0];
                equation.rates(&c, &jet[..3], &mut f);
                // Phases up to 100 * 1 * k, k = 60, carry a rounding of 1e-16 each, times the speed.
                assert!((jet[3] - f[0]).abs() < 1e-11 * 100.0, "{lifting:?}: {} {}", jet[3], f[0]);
            }
        }
    }

    #[test]
    fn initial_state_and_rate_are_those_of_the_equation() {
        for equation in [Polynomial::allen_cahn(1e-4, 5.0), Polynomial::kuramoto_sivashinsky(5.0, 0.5, 0.005)] {
            let c = equation.coefficients();
            let components = equation.order() + 2;
            let series = start();
            for lifting in [Lifting::State, Lifting::Semigroup, Lifting::Exponential, Lifting::Taylor] {
                let window = Window::new(&equation, &c, lifting, [0.5, 0.6], vec![series.clone()]).unwrap();
                let (mut jet, mut exact) = (vec![0.0; components], vec![0.0; components - 1]);
                window.lift(0.3, 0.5, &mut jet);
                series.evaluate(0.3, &mut exact);
                for (k, (u, exact)) in jet.iter().zip(&exact).enumerate() {
                    // Modes up to 60 in wavenumber, a rounding each.
                    assert!((u - exact).abs() < 1e-14 * 60f64.powi(k as i32), "{lifting:?} {k}");
                }
                if lifting.knows_rates() {
                    let mut f = [0.0];
                    equation.rates(&c, &jet[..components - 1], &mut f);
                    assert!((jet[components - 1] - f[0]).abs() < 1e-10 * f[0].abs().max(1.0));
                    assert_eq!(window.gate(0.5), [0.0, 0.0]);
                }
            }
        }
    }

    #[test]
    fn error_of_the_lifting_falls_with_its_order() {
        // Residual u_t - f(u) of the lifting alone at time s: s for the exponential, s^2 for the Taylor lifting.
        let equation = Polynomial::kuramoto_sivashinsky(1.0, 0.5, 0.005);
        let c = equation.coefficients();
        for (lifting, order) in [(Lifting::Exponential, 1), (Lifting::Taylor, 2)] {
            let window = Window::new(&equation, &c, lifting, [0.0, 1.0], vec![start()]).unwrap();
            let residual = |s: f64| {
                let (mut jet, mut f) = ([0.0; 6], [0.0]);
                window.lift(0.4, s, &mut jet);
                equation.rates(&c, &jet[..5], &mut f);
                jet[5] - f[0]
            };
            let ratio = residual(1e-4) / residual(5e-5);
            // The next order is smaller by s times rates of about 1e2.
            assert!((ratio / 2f64.powi(order) - 1.0).abs() < 0.05, "{lifting:?}: {ratio}");
        }
    }

    #[test]
    fn time_derivative_of_the_lifting_is_that_of_its_values() {
        let equation = Polynomial::kuramoto_sivashinsky(5.0, 0.5, 0.005);
        let window =
            Window::new(&equation, &equation.coefficients(), Lifting::Taylor, [0.0, 0.1], vec![start()]).unwrap();
        let value = |t: f64| {
            let mut jet = [0.0; 6];
            window.lift(0.4, t, &mut jet);
            jet
        };
        // Differences of fourth order: h^4 times a fifth derivative (rates up to 1e3: 1e-16 * 1e15 / 30), rounding 1e-16 / h.
        let h = 1e-4;
        let (a, b, c, d) = (value(0.05 - 2.0 * h)[0], value(0.05 - h)[0], value(0.05 + h)[0], value(0.05 + 2.0 * h)[0]);
        let difference = (a - 8.0 * b + 8.0 * c - d) / (12.0 * h);
        let exact = value(0.05)[5];
        assert!((difference - exact).abs() < 1e-7 * exact.abs().max(1.0), "{difference} {exact}");
    }

    #[test]
    fn functions_of_the_semigroup_are_continuous_where_the_formula_changes() {
        for angle in [0.0, 1.0, 2.0, 3.0] {
            let z = Complex64::from_polar(1.0, angle);
            let (inside, outside) = (phi(z * (1.0 - 1e-15)), phi(z * (1.0 + 1e-14)));
            // Differences of numbers of size e.
            assert!(inside.iter().zip(outside).all(|(a, b)| (a - b).norm() < 1e-13), "{angle}");
        }
    }
}
