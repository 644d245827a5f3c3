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
/// The lifting is the first stage of exponential Runge-Kutta methods: Hochbruck & Ostermann, *Acta Numerica* 19 (2010),
/// eq. (2.8).
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// `t_0` and `t_0 + tau`.
    pub times: [f64; 2],
    /// Initial state, a series a field.
    pub state: Vec<Series>,
    /// Kind of the lifting.
    pub lifting: Lifting,
    /// For each field and mode: `lambda_m` and the amplitude of `F(u_0)`.
    modes: Vec<Vec<[Complex64; 2]>>,
    order: usize,
}

impl Window {
    /// The window of an equation from a state.
    ///
    /// # Errors
    ///
    /// As [`Series::sample`].
    pub fn new(equation: &dyn Equation, c: &[f64], lifting: Lifting, times: [f64; 2], state: Vec<Series>) -> Result<Self> {
        let (fields, order) = (equation.fields(), equation.order());
        let symbols: Vec<[f64; 4]> = match lifting {
            Lifting::None | Lifting::State => vec![[0.0; 4]; fields],
            _ => (0..fields).map(|field| equation.linear(c, field)).collect(),
        };
        let rest = match lifting {
            Lifting::Exponential => Self::rest(equation, c, &symbols, &state)?,
            _ => state.clone(),
        };
        let mut modes = Vec::with_capacity(fields);
        let mut padded = state;
        for ((series, rest), symbol) in padded.iter_mut().zip(&rest).zip(&symbols) {
            let count = match lifting {
                Lifting::Exponential => series.amplitudes.len().max(rest.amplitudes.len()),
                _ => series.amplitudes.len(),
            };
            series.amplitudes.resize(count, 0.0.into());
            let of = |m: usize| {
                let ik = Complex64::new(0.0, series.wavenumber(m));
                let lambda = symbol.iter().rev().fold(Complex64::default(), |sum, c| (sum + c) * ik);
                let rest = match lifting {
                    Lifting::Exponential => rest.amplitudes.get(m).copied().unwrap_or_default(),
                    _ => Complex64::default(),
                };
                [lambda, rest]
            };
            modes.push((0..count).map(of).collect());
        }
        Ok(Self { times, state: padded, lifting, modes, order })
    }

    /// Series of `F(u_0)`.
    fn rest(equation: &dyn Equation, c: &[f64], symbols: &[[f64; 4]], state: &[Series]) -> Result<Vec<Series>> {
        let (fields, order) = (equation.fields(), equation.order());
        let modes = state.iter().map(|s| s.amplitudes.len()).max().unwrap_or(1);
        // Twice the points of the state's modes would do for squares; four times for cubes and more.
        let n = if modes == 1 { 4 } else { (4 * modes).next_power_of_two() };
        let mut jets = vec![vec![0.0; n]; (order + 1) * fields];
        for k in 0..=order {
            for (field, series) in state.iter().enumerate() {
                jets[k * fields + field] = series.sample(n, k)?;
            }
        }
        let mut rates = vec![vec![0.0; n]; fields];
        let (mut u, mut f) = (vec![0.0; jets.len()], vec![0.0; fields]);
        for j in 0..n {
            u.iter_mut().zip(&jets).for_each(|(u, jet)| *u = jet[j]);
            equation.rates(c, &u, &mut f);
            for (field, f) in f.iter().enumerate() {
                let linear: f64 = (0..order).map(|k| symbols[field][k] * u[(k + 1) * fields + field]).sum();
                rates[field][j] = f - linear;
            }
        }
        let series = rates.iter().zip(state).map(|(rates, s)| {
            Series::interpolate(s.origin, s.length, rates, 1e-15)
        });
        series.collect()
    }

    /// The lifting's jet at `(x, t)`, `[component, field]`: derivatives `0..=order` in `x`, then the one in `t`.
    pub fn lift(&self, x: f64, t: f64, jet: &mut [f64]) {
        let (fields, s) = (self.state.len(), t - self.times[0]);
        assert_eq!(jet.len(), (self.order + 2) * fields, "length of a jet");
        if self.lifting == Lifting::None {
            return jet.fill(0.0);
        }
        let mut orders = [0.0; crate::jet::MAX_ORDER + 1];
        for (field, (series, modes)) in self.state.iter().zip(&self.modes).enumerate() {
            let orders = &mut orders[..self.order + 1];
            let value = |m: usize| {
                let [lambda, rest] = modes[m];
                (lambda * s).exp() * series.amplitudes[m] + s * phi1(lambda * s) * rest
            };
            let rate = |m: usize| {
                let [lambda, rest] = modes[m];
                (lambda * s).exp() * (lambda * series.amplitudes[m] + rest)
            };
            series.sum(x, value, orders);
            orders.iter().enumerate().for_each(|(k, u)| jet[k * fields + field] = *u);
            series.sum(x, rate, &mut orders[..1]);
            jet[(self.order + 1) * fields + field] = orders[0];
        }
    }

    /// `g = (s / tau)^q` and `dg / dt`.
    pub fn gate(&self, t: f64) -> [f64; 2] {
        let tau = self.times[1] - self.times[0];
        let s = (t - self.times[0]) / tau;
        match self.lifting {
            Lifting::None => [1.0, 0.0],
            Lifting::Exponential => [s * s, 2.0 * s / tau],
            _ => [s, 1.0 / tau],
        }
    }
}

/// `phi_1(z) = (e^z - 1) / z`, by its series `sum_j z^j / (j + 1)!` where the difference would cancel.
fn phi1(z: Complex64) -> Complex64 {
    if z.norm_sqr() > 0.25 {
        return (z.exp() - 1.0) / z;
    }
    // The 15th term is below 0.5^15 / 16! = 1e-18.
    (1..16).rev().fold(Complex64::new(1.0, 0.0), |sum, j| 1.0 + sum * z / (j as f64 + 1.0))
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
        for lifting in [Lifting::Semigroup, Lifting::Exponential] {
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
            for lifting in [Lifting::State, Lifting::Semigroup, Lifting::Exponential] {
                let window = Window::new(&equation, &c, lifting, [0.5, 0.6], vec![series.clone()]).unwrap();
                let (mut jet, mut exact) = (vec![0.0; components], vec![0.0; components - 1]);
                window.lift(0.3, 0.5, &mut jet);
                series.evaluate(0.3, &mut exact);
                for (k, (u, exact)) in jet.iter().zip(&exact).enumerate() {
                    // Modes up to 60 in wavenumber, a rounding each.
                    assert!((u - exact).abs() < 1e-14 * 60f64.powi(k as i32), "{lifting:?} {k}");
                }
                if lifting == Lifting::Exponential {
                    let mut f = [0.0];
                    equation.rates(&c, &jet[..components - 1], &mut f);
                    assert!((jet[components - 1] - f[0]).abs() < 1e-10 * f[0].abs().max(1.0));
                    assert_eq!(window.gate(0.5), [0.0, 0.0]);
                }
            }
        }
    }

    #[test]
    fn time_derivative_of_the_lifting_is_that_of_its_values() {
        let equation = Polynomial::kuramoto_sivashinsky(5.0, 0.5, 0.005);
        let window =
            Window::new(&equation, &equation.coefficients(), Lifting::Exponential, [0.0, 0.1], vec![start()]).unwrap();
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
    fn phi1_is_continuous_where_the_formula_changes() {
        for angle in [0.0, 1.0, 2.0, 3.0] {
            let z = Complex64::from_polar(0.5, angle);
            let (inside, outside) = (phi1(z * (1.0 - 1e-15)), phi1(z * (1.0 + 1e-14)));
            // The difference e^z - 1 of two numbers of size one, divided by 0.5.
            assert!((inside - outside).norm() < 1e-14, "{angle}");
        }
    }
}
