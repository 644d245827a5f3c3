//! Finite volumes without learning.

use serde::{Deserialize, Serialize};

use super::circulant::{Circulant, twice};
use super::equation::{Equation, divergence, phi_1, phi_2};
use crate::error::{Error, Result};
use crate::stencil::vectorize;

/// How a face value is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Flux {
    /// `F = ((u_i + u_(i+1)) / 2)^2 / 2`, second order.
    Central,
    /// Linear reconstruction with van Leer's limiter, and Godunov's flux of the two values at the face.
    VanLeer,
}

/// A finite-volume solver of second order in space and time (ETD2RK), in double precision.
///
/// ```text
/// a  = e^(dt L) u + dt phi_1 N(u),      u' = a + dt phi_2 (N(a) - N(u)),      N = -(F_i - F_(i-1)) / h.
/// ```
///
/// # Source
///
/// Cox, Matthews, *J. Comput. Phys.* 176 (2002), section 2.2; van Leer, *J. Comput. Phys.* 32 (1979).
pub struct FiniteVolume {
    n: usize,
    flux: Flux,
    propagate: Circulant<f64>,
    first: Circulant<f64>,
    second: Circulant<f64>,
    doubled: Vec<f64>,
    fluxes: [Vec<f64>; 2],
    next: Vec<f64>,
}

impl FiniteVolume {
    /// The solver on `n` cells with step `dt`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for bad coefficients, less than 4 cells, or a step that is not positive.
    pub fn plan(equation: &Equation, n: usize, dt: f64, flux: Flux) -> Result<Self> {
        equation.validate()?;
        if n < 4 {
            return Err(Error::parameter("n", n, "must be at least 4"));
        }
        if !(dt > 0.0 && dt.is_finite()) {
            return Err(Error::parameter("dt", dt, "must be finite and > 0"));
        }
        let h = equation.length() / n as f64;
        let map = |f: fn(f64) -> f64| {
            Circulant::from_symbol(n, equation.length(), |k| -dt * f(dt * equation.symbol(k)) * divergence(k, h))
        };
        let propagate = Circulant::from_symbol(n, equation.length(), |k| (dt * equation.symbol(k)).exp().into());
        let zeros = || vec![0.0; n];
        Ok(Self {
            n,
            flux,
            propagate,
            first: map(phi_1),
            second: map(phi_2),
            doubled: vec![0.0; 2 * n],
            fluxes: [zeros(), zeros()],
            next: zeros(),
        })
    }

    /// Advances cell averages `[batch][n]` by so many steps, in place. Values may become infinite.
    ///
    /// # Panics
    ///
    /// If the length is no multiple of `n`.
    pub fn advance(&mut self, states: &mut [f64], steps: usize) {
        assert!(states.len().is_multiple_of(self.n), "states are [batch][n]");
        for u in states.chunks_exact_mut(self.n) {
            vectorize::<f64, _>(
                #[inline(always)]
                || (0..steps).for_each(|_| self.step(u)),
            );
        }
    }

    #[inline(always)]
    fn step(&mut self, u: &mut [f64]) {
        let Self { flux, propagate, first, second, doubled, fluxes: [f, g], next, .. } = self;
        face_fluxes(*flux, u, f);
        twice(u, doubled);
        next.fill(0.0);
        propagate.add(doubled, next);
        twice(f, doubled);
        first.add(doubled, next);
        face_fluxes(*flux, next, g);
        g.iter_mut().zip(&*f).for_each(|(g, f)| *g -= f);
        twice(g, doubled);
        u.copy_from_slice(next);
        second.add(doubled, u);
    }
}

/// `f_i` at the face between cells `i` and `i + 1`.
#[inline(always)]
fn face_fluxes(flux: Flux, u: &[f64], f: &mut [f64]) {
    let n = u.len();
    for (i, f) in f.iter_mut().enumerate() {
        let (c, r) = (u[i], u[(i + 1) % n]);
        *f = match flux {
            Flux::Central => 0.125 * (c + r) * (c + r),
            Flux::VanLeer => {
                let (l, rr) = (u[(i + n - 1) % n], u[(i + 2) % n]);
                let (left, right) = (c + 0.5 * slope(c - l, r - c), r - 0.5 * slope(r - c, rr - r));
                // Godunov: the least or largest of u^2 / 2 between the two.
                if left <= right {
                    let nearest = 0f64.clamp(left, right);
                    0.5 * nearest * nearest
                } else {
                    0.5 * left.abs().max(right.abs()).powi(2)
                }
            }
        };
    }
}

/// Harmonic mean of two differences of one sign, else 0.
#[inline(always)]
fn slope(a: f64, b: f64) -> f64 {
    if a * b > 0.0 { 2.0 * a * b / (a + b) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pde::Burgers;

    /// Mean error of cell averages of Burgers' solution from sin x.
    fn error(n: usize, flux: Flux, t: f64) -> f64 {
        let (nu, tau) = (0.1, std::f64::consts::TAU);
        let h = tau / n as f64;
        let average = |f: &dyn Fn(f64) -> f64, i: usize| {
            // Gauss's rule with three points, exact to h^6.
            let x = (i as f64 + 0.5) * h;
            let d = 0.5 * h * 0.6f64.sqrt();
            (5.0 * f(x - d) + 8.0 * f(x) + 5.0 * f(x + d)) / 18.0
        };
        let mut u: Vec<f64> = (0..n).map(|i| average(&f64::sin, i)).collect();
        let steps = 4 * n;
        let equation = Equation::Burgers { length: tau, nu };
        FiniteVolume::plan(&equation, n, t / steps as f64, flux).unwrap().advance(&mut u, steps);
        let burgers = Burgers { nu };
        let exact = |x: f64| burgers.cole_hopf(tau, f64::sin, |y| -y.cos(), x, t);
        u.iter().enumerate().map(|(i, u)| (u - average(&exact, i)).abs()).sum::<f64>() / n as f64
    }

    #[test]
    fn both_fluxes_converge_to_the_exact_solution_with_second_order() {
        for flux in [Flux::Central, Flux::VanLeer] {
            let [coarse, fine] = [32, 64].map(|n| error(n, flux, 1.0));
            let order = (coarse / fine).log2();
            // Limited at the extrema, and before its asymptotic range.
            assert!(order > 1.7 && fine < 2e-3, "{flux:?}: order {order}, error {fine:e}");
        }
    }

    #[test]
    fn the_limiter_keeps_the_bounds_of_a_step_and_the_central_flux_does_not() {
        let n = 64;
        let overshoot = |flux| {
            let mut u: Vec<f64> = (0..n).map(|i| if i < n / 2 { 1.0 } else { -0.5 }).collect();
            let equation = Equation::Burgers { length: 1.0, nu: 1e-5 };
            FiniteVolume::plan(&equation, n, 0.2 / n as f64, flux).unwrap().advance(&mut u, 100);
            u.iter().map(|u| (u - 1.0).max(-0.5 - u)).fold(0.0, f64::max)
        };
        // The exact exponential of the viscosity is not monotone across a jump; its share is below 1e-3.
        assert!(overshoot(Flux::VanLeer) < 1e-3 && overshoot(Flux::Central) > 0.05);
    }
}
