//! The vorticity equation at collocation points, as a problem of least squares.

use std::ops::Range;
use std::sync::Arc;

use super::network::{Local, Network};
use super::window::Window;
use crate::optim::LeastSquares;

/// Residuals `r = (omega_t + u omega_x + v omega_y - nu lap omega) / sqrt(points)` of `psi = psi_l + g N`, whose sum of squares
/// is a mean.
pub struct Residual {
    nu: f64,
    network: Arc<Network>,
    points: Vec<[f64; 3]>,
    /// Of the lifting, and `g, g_t`.
    lifts: Vec<(Local, [f64; 2])>,
    weight: f64,
}

impl Residual {
    /// The residual at points `[x, y, t]`.
    pub fn new(nu: f64, network: Arc<Network>, window: &Window, points: Vec<[f64; 3]>) -> Self {
        let lifts = points.iter().map(|&point| (window.lift(point), window.gate(point[2]))).collect();
        let weight = 1.0 / (points.len() as f64).sqrt();
        Self { nu, network, points, lifts, weight }
    }

    /// The collocation points.
    pub fn points(&self) -> &[[f64; 3]] {
        &self.points
    }

    /// The residual without its weight.
    pub fn unweighted(&mut self, theta: &[f64]) -> Vec<f64> {
        let mut r = vec![0.0; self.points.len()];
        self.residual(theta, &mut r);
        r.iter_mut().for_each(|r| *r /= self.weight);
        r
    }
}

impl Local {
    /// `omega_t + u . grad omega - nu lap omega`.
    pub fn residual(&self, nu: f64) -> f64 {
        self.omega_t + self.psi_y * self.omega_x - self.psi_x * self.omega_y - nu * self.lap_omega
    }

    /// Its derivatives.
    fn slopes(&self, nu: f64) -> Self {
        Self {
            psi_x: -self.omega_y,
            psi_y: self.omega_x,
            omega_x: self.psi_y,
            omega_y: -self.psi_x,
            lap_omega: -nu,
            omega_t: 1.0,
            ..Self::default()
        }
    }
}

impl LeastSquares for Residual {
    fn parameters(&self) -> usize {
        self.network.parameters()
    }

    fn residuals(&self) -> usize {
        self.points.len()
    }

    fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
        let locals = self.network.evaluate(theta, &self.points);
        for ((r, local), (lift, gate)) in r.iter_mut().zip(locals).zip(&self.lifts) {
            *r = self.weight * local.assemble(lift, *gate).residual(self.nu);
        }
    }

    fn rows(&mut self, theta: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
        let (nu, weight, lifts) = (self.nu, self.weight, &self.lifts[rows.clone()]);
        self.network.rows(theta, &self.points[rows], r, jacobian, |p, local| {
            let (lift, gate) = &lifts[p];
            let here = local.assemble(lift, *gate);
            (weight * here.residual(nu), here.slopes(nu).assemble_adjoint(gate.map(|g| weight * g)))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::pinn::plane::{Flow, Initial};
    use crate::pinn::residual::tests::check_columns;
    use crate::pinn::{Architecture, Lifting};

    fn problem(initial: Initial, lifting: Lifting, count: usize) -> (Residual, Vec<f64>, Window) {
        let network = Architecture { width: 5, depth: 2, modes: 1, scale: 1.0, ..Architecture::default() };
        let flow = Flow { length: TAU, nu: 0.03, initial, lifting, network };
        let times = [0.1, 0.4];
        let window = Window::new(flow.nu, lifting, times, flow.state(32).unwrap()).unwrap();
        let network = Arc::new(flow.plan(times, 1).unwrap());
        let points = (0..count)
            .map(|i| [1.3, 2.1, 0.7].map(|f| f * i as f64))
            .map(|[x, y, t]| [x % TAU, y % TAU, 0.25 + 0.15 * t.sin()]);
        let theta = network.random(2).iter().enumerate().map(|(i, t)| t + 0.1 * (i as f64).sin()).collect();
        (Residual::new(flow.nu, network, &window, points.collect()), theta, window)
    }

    fn random() -> Initial {
        Initial::Random { seed: 1, modes: 4, peak: 2.0, speed: 1.0 }
    }

    #[test]
    fn decaying_vortices_leave_no_residual() {
        for lifting in [Lifting::Semigroup, Lifting::Exponential, Lifting::Taylor] {
            let (mut residual, theta, window) = problem(Initial::TaylorGreen { mode: 2 }, lifting, 40);
            // The lifting is the solution; the network, all zero, adds nothing.
            let r = residual.unweighted(&vec![0.0; theta.len()]);
            // Vorticities up to 4 and a transform of 1024 points.
            assert!(r.iter().all(|r| r.abs() < 1e-12), "{lifting:?} {r:?}");
            let ([x, y, t], exact) = ([0.3f64, 0.9f64, 0.3f64], |x: f64, y: f64, t: f64| {
                4.0 * (2.0 * x).cos() * (2.0 * y).cos() * (-2.0 * 0.03 * 4.0 * t).exp()
            });
            assert!((window.lift([x, y, t]).omega - exact(x, y, t - 0.1)).abs() < 1e-13);
        }
    }

    #[test]
    fn residual_of_the_lifting_falls_with_its_order() {
        for (lifting, order) in [(Lifting::Exponential, 1), (Lifting::Taylor, 2)] {
            let (_, _, window) = problem(random(), lifting, 1);
            let r = |s: f64| window.lift([1.0, 2.0, 0.1 + s]).residual(0.03);
            let ratio = r(2e-3) / r(1e-3);
            // The next order is smaller by s times rates of about ten.
            assert!((ratio / 2f64.powi(order) - 1.0).abs() < 0.05, "{lifting:?}: {ratio}");
        }
    }

    #[test]
    fn rows_are_the_derivatives_of_the_residuals() {
        for lifting in [Lifting::State, Lifting::Taylor] {
            let (mut residual, theta, _) = problem(random(), lifting, 70);
            let (n, m, cut) = (residual.parameters(), residual.residuals(), 33);
            let (mut r, mut jacobian) = (vec![f64::NAN; m], vec![f64::NAN; m * n]);
            let (first, second) = jacobian.split_at_mut(cut * n);
            residual.rows(&theta, 0..cut, &mut r[..cut], first);
            residual.rows(&theta, cut..m, &mut r[cut..], second);
            let mut exact = vec![0.0; m];
            residual.residual(&theta, &mut exact);
            assert!(r.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-12 * (1.0 + b.abs())));
            check_columns(&mut residual, &theta, &jacobian, 3, 1e-7);
        }
    }
}
