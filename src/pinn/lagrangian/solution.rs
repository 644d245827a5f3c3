//! Solutions in moving coordinates, evaluated at positions.

use std::sync::Arc;

use super::super::equation::Equation;
use super::super::series::Series;
use super::motion::pull;
use super::residual::{Form, Local};
use crate::error::{Error, Result};

/// Rounds of Newton's method; a bisection takes 50 to the last digit.
const ROUNDS: usize = 100;

/// Longest bracket of a label: a thousand periods.
const DOUBLINGS: usize = 10;

/// The solution in one window.
#[derive(Clone)]
pub struct LagrangianPiece {
    /// Networks, motion, initial state.
    pub form: Arc<Form>,
    /// Parameters.
    pub theta: Vec<f64>,
}

impl LagrangianPiece {
    /// Labels `x_0` of points `[x, t]`: `X(x_0, t) = x` by Newton's method inside a bracket that is halved where it fails. `X` grows
    /// with `x_0`, by a period a period.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the map is not invertible at a point.
    pub fn labels(&self, points: &[[f64; 2]]) -> Result<Vec<f64>> {
        let Form { motion, times, state, .. } = &*self.form;
        let s = &self.theta[self.theta.len() - motion.degree..];
        let mut labels: Vec<f64> = points.iter().map(|p| p[0] - motion.shift(s, p[1] - times[0])[0]).collect();
        if motion.paths.is_none() {
            return Ok(labels);
        }
        let mut brackets = self.brackets(&labels, points);
        let length = state.length;
        let scale = points.iter().fold(length, |scale, p| scale.max(p[0].abs()));
        let (tolerance, mut worst) = (4.0 * f64::EPSILON * scale, [0.0; 2]);
        for _ in 0..ROUNDS {
            let local = self.local(&labels, points);
            worst = [0.0, 1.0];
            for (((x0, [low, high]), here), point) in labels.iter_mut().zip(&mut brackets).zip(&local).zip(points) {
                let excess = here.x[0] - point[0];
                if excess.abs() > worst[0] {
                    worst = [excess.abs(), here.x[1]];
                }
                if excess.abs() <= tolerance {
                    continue;
                }
                if excess > 0.0 {
                    *high = *x0
                } else {
                    *low = *x0
                }
                let newton = *x0 - excess / here.x[1];
                *x0 = if newton > *low && newton < *high { newton } else { 0.5 * (*low + *high) };
            }
            if worst[0] <= tolerance {
                break;
            }
        }
        // The last digit may never be hit; a bracket that has closed elsewhere means that there is no root.
        let [excess, jacobian] = worst;
        if excess > 1e3 * tolerance || jacobian <= 0.0 {
            let rule = format!("must be invertible: X misses a position by {excess:.1e} where J = {jacobian:.1e}");
            return Err(Error::parameter("map", "X(x_0, t)", rule));
        }
        Ok(labels)
    }

    /// Labels on both sides of those of points, found by steps that double from a period on.
    fn brackets(&self, guesses: &[f64], points: &[[f64; 2]]) -> Vec<[f64; 2]> {
        let mut sides = [-1.0, 1.0].map(|side| {
            let mut reach = vec![side * self.form.state.length; guesses.len()];
            for _ in 0..DOUBLINGS {
                let labels: Vec<f64> = guesses.iter().zip(&reach).map(|(x0, reach)| x0 + reach).collect();
                let local = self.local(&labels, points);
                let short = |here: &Local, point: &[f64; 2]| side * (here.x[0] - point[0]) < 0.0;
                let mut done = true;
                for ((reach, here), point) in reach.iter_mut().zip(&local).zip(points) {
                    if short(here, point) {
                        *reach *= 2.0;
                        done = false;
                    }
                }
                if done {
                    break;
                }
            }
            reach
        });
        let [low, high] = sides.each_mut().map(std::mem::take);
        guesses.iter().zip(low.iter().zip(&high)).map(|(x0, (low, high))| [x0 + low, x0 + high]).collect()
    }

    fn local(&self, labels: &[f64], points: &[[f64; 2]]) -> Vec<Local> {
        let places: Vec<f64> = labels.iter().zip(points).flat_map(|(&x0, p)| [x0, p[1]]).collect();
        let starts: Vec<[f64; 4]> = labels.iter().map(|&x0| self.form.start(x0)).collect();
        let mut local = Vec::new();
        self.form.local(&self.theta, &places, &starts, &mut local);
        local
    }

    /// `[u, u_x, u_xx, u_xxx, u_t]` at points `[x, t]`; derivatives beyond the order of the equation are zero.
    ///
    /// # Errors
    ///
    /// As [`LagrangianPiece::labels`].
    pub fn evaluate(&self, points: &[[f64; 2]]) -> Result<Vec<[f64; 5]>> {
        let order = self.form.equation.order();
        let local = self.local(&self.labels(points)?, points);
        let jet = |here: &Local| {
            let mut u = pull(&here.w, &here.x);
            u[order + 1..].fill(0.0);
            [u[0], u[1], u[2], u[3], here.w_t - here.x_t * u[1]]
        };
        Ok(local.iter().map(jet).collect())
    }

    /// Smallest `J` at `n x n` labels and times.
    pub fn least_jacobian(&self, n: usize) -> f64 {
        let Form { times, state, .. } = &*self.form;
        let at = |i: usize| i as f64 / n as f64;
        let grid = (0..=n).flat_map(|j| (0..n).map(move |i| (i, j)));
        let (labels, points): (Vec<f64>, Vec<[f64; 2]>) = grid
            .map(|(i, j)| {
                let x0 = state.origin + state.length * at(i);
                (x0, [x0, times[0] + (times[1] - times[0]) * at(j)])
            })
            .unzip();
        self.local(&labels, &points).iter().fold(f64::INFINITY, |least, here| least.min(here.x[1]))
    }

    /// The state at the end of the window, interpolated at `n` positions.
    ///
    /// # Errors
    ///
    /// As [`LagrangianPiece::labels`] and [`Series::interpolate`].
    pub fn end(&self, n: usize) -> Result<Series> {
        let Form { times, state, .. } = &*self.form;
        let points: Vec<[f64; 2]> =
            (0..n).map(|j| [state.origin + state.length * j as f64 / n as f64, times[1]]).collect();
        let values: Vec<f64> = self.evaluate(&points)?.iter().map(|u| u[0]).collect();
        Series::interpolate(state.origin, state.length, &values, 1e-14)
    }
}

/// The solution in all windows.
#[derive(Clone, Default)]
pub struct LagrangianSolution {
    /// Windows, in the order of time.
    pub pieces: Vec<LagrangianPiece>,
}

impl LagrangianSolution {
    /// `[u, u_x, u_xx, u_xxx, u_t]` at points `[x, t]`. At the boundary of two windows the earlier one counts.
    ///
    /// # Errors
    ///
    /// As [`LagrangianPiece::labels`]; [`Error::Parameter`] for a time in no window.
    pub fn evaluate(&self, points: &[[f64; 2]]) -> Result<Vec<[f64; 5]>> {
        let mut jets = vec![[0.0; 5]; points.len()];
        let of = |t: f64| {
            let found = self.pieces.iter().position(|piece| t >= piece.form.times[0] && t <= piece.form.times[1]);
            found.ok_or_else(|| Error::parameter("t", t, "must be inside the windows that are solved"))
        };
        let windows: Vec<usize> = points.iter().map(|p| of(p[1])).collect::<Result<_>>()?;
        for (k, piece) in self.pieces.iter().enumerate() {
            let here: Vec<usize> = (0..points.len()).filter(|&p| windows[p] == k).collect();
            let part: Vec<[f64; 2]> = here.iter().map(|&p| points[p]).collect();
            for (&p, jet) in here.iter().zip(piece.evaluate(&part)?) {
                jets[p] = jet;
            }
        }
        Ok(jets)
    }
}

#[cfg(test)]
mod tests {
    use super::super::motion::{Motion, Paths};
    use super::*;
    use crate::jet::{Activation, Coordinate, Mlp};
    use crate::pinn::Polynomial;

    pub fn piece(motion: Motion, amplitude: f64) -> LagrangianPiece {
        let length = std::f64::consts::TAU;
        let values: Vec<f64> = (0..32).map(|j| (length * j as f64 / 32.0).sin().exp()).collect();
        let state = Series::interpolate(0.0, length, &values, 1e-15).unwrap();
        let network = Mlp {
            coordinates: vec![Coordinate::Periodic { length, modes: 1 }, Coordinate::Linear { from: 0.0, to: 1.0 }],
            width: 6,
            depth: 2,
            outputs: 1,
            activation: Activation::Tanh,
            scale: None,
        };
        let form = Form::new(&Polynomial::burgers(0.1), &motion, &network, [0.0, 1.0], state, 1).unwrap();
        let mut theta = form.parameters(&network, 3).unwrap();
        let from = network.parameters::<f64>(0).unwrap().len();
        theta[from..].iter_mut().enumerate().for_each(|(i, x)| *x = amplitude * (1.7 * i as f64).sin());
        LagrangianPiece { form: Arc::new(form), theta }
    }

    #[test]
    fn labels_lead_to_their_positions() {
        let piece = piece(Motion { degree: 2, ..Motion::paths(20.0, Paths::default()) }, 0.4);
        assert!(piece.least_jacobian(64) > 0.1, "{}", piece.least_jacobian(64));
        let points: Vec<[f64; 2]> = (0..200).map(|i| [0.07 * i as f64 - 5.0, (i % 11) as f64 / 10.0]).collect();
        let labels = piece.labels(&points).unwrap();
        for (here, point) in piece.local(&labels, &points).iter().zip(&points) {
            // Some units in the last place of positions up to 20.
            assert!((here.x[0] - point[0]).abs() < 1e-13);
        }
    }

    #[test]
    fn derivatives_at_positions_are_those_of_the_values() {
        let piece = piece(Motion { degree: 1, ..Motion::paths(1.0, Paths::default()) }, 0.3);
        let u = |x: f64, t: f64| piece.evaluate(&[[x, t]]).unwrap()[0];
        let (x, t, h) = (2.3, 0.6, 1e-3);
        let central = |f: &dyn Fn(f64) -> f64| (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h);
        let exact = u(x, t);
        // Truncation h^4 / 30 times a fifth derivative of some hundreds.
        for (k, tolerance) in [(0, 1e-9), (1, 1e-8)] {
            assert!((central(&|s| u(x + s, t)[k]) - exact[k + 1]).abs() < tolerance);
        }
        assert!((central(&|s| u(x, t + s)[0]) - exact[4]).abs() < 1e-9);
    }

    #[test]
    fn map_that_folds_is_refused() {
        let folded = piece(Motion::paths(0.0, Paths::default()), 3.0);
        assert!(folded.least_jacobian(64) < 0.0);
        let points: Vec<[f64; 2]> = (0..200).map(|i| [0.0314 * i as f64, 1.0]).collect();
        // Every position is still reached; roots where X falls are not labels.
        let found = folded.labels(&points);
        let falls = |labels: Vec<f64>| folded.local(&labels, &points).iter().any(|here| here.x[1] < 0.0);
        assert!(found.map_or_else(|e| e.to_string().contains("must be invertible"), |labels| !falls(labels)));
    }
}
