//! The cases, and their truth.

use parseval::pinn::lagrangian::LagrangianSolution;
use parseval::pinn::{
    Architecture, Initial, Interval, Lifting, Parity, Places, Polynomial, Problem, Reference, Series,
};
use parseval::run::Printer;
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

use crate::config::Config;

/// `[problem]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Case {
    /// `u_t + c u_x = nu u_xx`, `u_0 = sin x` on `[0, 2 pi)`.
    Convection {
        /// `c`.
        speed: f64,
        /// `nu`.
        nu: f64,
    },
    /// `u_t + u u_x = nu u_xx`, `u_0 = mean + sin x` on `[0, 2 pi)`: a front that forms and moves.
    Burgers {
        /// Speed of the front.
        mean: f64,
        /// `nu`.
        nu: f64,
    },
    /// The same with `u_0 = 0.8 + 0.5 exp(-((x - 0.3) / 0.1)^2)` on `[0, 1.5)`.
    Gaussian {
        /// `nu`.
        nu: f64,
    },
    /// `u_t + u u_x + dispersion u_xxx = 0` on `[0, 2 pi)`, `u = 3 V sech^2(sqrt(V / dispersion) (x - pi - V t) / 2)`.
    Soliton {
        /// `V`.
        speed: f64,
        /// `dispersion`.
        dispersion: f64,
    },
}

/// Points on which initial states are sampled.
const SAMPLES: usize = 4096;

impl Case {
    pub fn check(&self) -> Result<()> {
        let bad = |name: &str, value: f64, rule: &str| Err(Error::parameter(format!("problem.{name}"), value, rule));
        match *self {
            Self::Convection { nu, .. } | Self::Burgers { nu, .. } | Self::Gaussian { nu }
                if !(nu >= 0.0 && nu.is_finite()) =>
            {
                bad("nu", nu, "must be finite and not negative")
            }
            Self::Convection { speed, .. } if !speed.is_finite() => bad("speed", speed, "must be finite"),
            Self::Burgers { mean, .. } if !mean.is_finite() => bad("mean", mean, "must be finite"),
            Self::Soliton { speed, .. } if !(speed > 0.0 && speed.is_finite()) => {
                bad("speed", speed, "must be positive and finite")
            }
            Self::Soliton { dispersion, .. } if !(dispersion > 0.0 && dispersion.is_finite()) => {
                bad("dispersion", dispersion, "must be positive and finite")
            }
            _ => Ok(()),
        }
    }

    /// The same case at another speed.
    pub fn at_speed(self, to: f64) -> Result<Self> {
        let case = match self {
            Self::Convection { nu, .. } => Self::Convection { speed: to, nu },
            Self::Burgers { nu, .. } => Self::Burgers { mean: to, nu },
            Self::Soliton { dispersion, .. } => Self::Soliton { speed: to, dispersion },
            Self::Gaussian { .. } => return Err(Error::parameter("problem.kind", "gaussian", "must have a speed")),
        };
        case.check()?;
        Ok(case)
    }

    pub fn equation(&self) -> Polynomial {
        match *self {
            Self::Convection { speed, nu } => Polynomial::convection(speed, nu),
            Self::Burgers { nu, .. } | Self::Gaussian { nu } => Polynomial::burgers(nu),
            Self::Soliton { dispersion, .. } => Polynomial::korteweg_de_vries(dispersion),
        }
    }

    /// Speed of the frame in which the solution is slow: that of the mean for Burgers.
    pub fn frame(&self) -> f64 {
        match *self {
            Self::Convection { speed, .. } | Self::Soliton { speed, .. } => speed,
            Self::Burgers { mean, .. } => mean,
            Self::Gaussian { .. } => 0.8 + 0.05 * std::f64::consts::PI.sqrt() / 1.5,
        }
    }

    fn length(&self) -> f64 {
        if matches!(self, Self::Gaussian { .. }) { 1.5 } else { TAU }
    }

    fn start(&self, x: f64) -> f64 {
        match *self {
            Self::Convection { .. } => x.sin(),
            Self::Burgers { mean, .. } => mean + x.sin(),
            // Images keep it periodic.
            Self::Gaussian { .. } => {
                0.8 + (-2..3).map(|i| 0.5 * (-((x - 0.3 + 1.5 * f64::from(i)) / 0.1).powi(2)).exp()).sum::<f64>()
            }
            Self::Soliton { speed, dispersion } => {
                let sech = |y: f64| 1.0 / (0.5 * (speed / dispersion).sqrt() * y).cosh();
                3.0 * speed * (-1..2).map(|i| sech(x - 0.5 * TAU + TAU * f64::from(i)).powi(2)).sum::<f64>()
            }
        }
    }

    fn values(&self, n: usize) -> Vec<f64> {
        (0..n).map(|j| self.start(self.length() * j as f64 / n as f64)).collect()
    }

    /// The initial state.
    pub fn state(&self) -> Result<Series> {
        Series::interpolate(0.0, self.length(), &self.values(SAMPLES), 1e-15)
    }

    fn problem(&self) -> Problem {
        Problem {
            fields: 1,
            terms: self.equation().terms().to_vec(),
            interval: Some(Interval { from: 0.0, length: self.length() }),
            initial: Initial::Values { values: self.values(SAMPLES) },
            lifting: Lifting::default(),
            parity: Parity::None,
            about: 0.0,
            network: Architecture::default(),
        }
    }

    /// `u` where it is known in closed form.
    fn exact(&self, x: f64, t: f64) -> Option<f64> {
        match *self {
            Self::Convection { speed, nu } => Some((-nu * t).exp() * (x - speed * t).sin()),
            // The images of the soliton meet where it is below round-off.
            Self::Soliton { speed, .. } => Some(self.start((x - speed * t).rem_euclid(TAU))),
            _ => None,
        }
    }
}

/// The exact or converged solution at the places of the comparison, `[time, x]`.
pub struct Truth {
    pub reference: Reference,
    problem: Problem,
    places: Places,
}

impl Truth {
    pub fn new(config: &Config) -> Result<Self> {
        let case = &config.problem;
        let end = config.march.ends.last().copied().unwrap_or(1.0);
        let places = Places { end, steps: config.evaluate.times, points: config.evaluate.points };
        let (n, dt) = config.evaluate.reference;
        // Burgers' equation is the same in every frame: the reference is solved in that of the mean.
        let (at_rest, mean) = match *case {
            Case::Burgers { mean, nu } => (Case::Burgers { mean: 0.0, nu }, mean),
            case => (case, 0.0),
        };
        let mut reference = Reference::solve(&at_rest.problem(), Places { points: n, ..places }, n, dt)?;
        let length = case.length();
        let x: Vec<f64> = (0..places.points).map(|j| length * j as f64 / places.points as f64).collect();
        let mut values = Vec::with_capacity(reference.times.len() * x.len());
        for (&t, row) in reference.times.iter().zip(reference.values.chunks_exact(n)) {
            let state = Series::interpolate(0.0, length, row, 0.0)?;
            for &x in &x {
                let mut u = [0.0];
                state.evaluate(x - mean * t, &mut u);
                values.push(case.exact(x, t).unwrap_or(mean + u[0]));
            }
        }
        (reference.x, reference.values) = (x, values);
        Ok(Self { reference, problem: case.problem(), places })
    }

    /// Relative L2 error of a solution over all places, and at each time; and its values.
    pub fn error(&self, solution: &LagrangianSolution) -> Result<(f64, Vec<f64>, Vec<f64>)> {
        let Reference { times, x, .. } = &self.reference;
        let points: Vec<[f64; 2]> = times.iter().flat_map(|&t| x.iter().map(move |&x| [x, t])).collect();
        let values: Vec<f64> = solution.evaluate(&points)?.iter().map(|u| u[0]).collect();
        let (error, each) = self.reference.error(&values);
        Ok((error, each, values))
    }

    /// [`Truth::error`]; NaN where the map of a form that trained badly cannot be inverted, which is a result, not an error.
    pub fn measure(&self, solution: &LagrangianSolution, print: Printer) -> (f64, Vec<f64>, Vec<f64>) {
        self.error(solution).unwrap_or_else(|error| {
            print.note(error);
            (f64::NAN, vec![f64::NAN; self.reference.times.len()], vec![f64::NAN; self.reference.values.len()])
        })
    }

    /// Error and seconds of the spectral solver.
    pub fn solver(&self, n: usize, dt: f64) -> Result<(f64, f64)> {
        let solved = Reference::solve(&self.problem, self.places, n, dt)?;
        Ok((self.reference.error(&solved.values).0, solved.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_states_are_periodic() {
        let soliton = Case::Soliton { speed: 4.0, dispersion: 0.1 };
        for case in [Case::Gaussian { nu: 0.01 }, soliton, Case::Burgers { mean: 1.0, nu: 0.1 }] {
            // A soliton's images overlap by 1e-16.
            assert!((case.start(0.0) - case.start(case.length())).abs() < 1e-13 * case.start(0.0).abs().max(1.0));
            assert!(case.state().unwrap().amplitudes.len() < 200);
        }
    }
}
