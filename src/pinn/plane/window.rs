//! The initial state, built into the solution.

use num_complex::Complex64;

use super::super::ansatz::{Lifting, phi};
use super::flow::Vorticity;
use super::network::{Local, VALUES};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::NavierStokes2d;
use crate::stepper::{Options, Scheme, Stepper};

/// A window of time with its initial vorticity and the [`Lifting`] of the stream function, mode by mode
///
/// ```text
/// omega_l = exp(lambda s) omega_0 + s phi_1(lambda s) F + s^2 phi_2(lambda s) G ,   lambda = -nu |k|^2 ,   psi_l = omega_l / |k|^2 ,
/// ```
///
/// `F = -(u . grad) omega` at the start and `G` its rate (`lambda = 0` without the semigroup).
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// `t_0` and `t_0 + tau`.
    pub times: [f64; 2],
    /// Initial vorticity.
    pub state: Vorticity,
    /// Kind of the lifting.
    pub lifting: Lifting,
    modes: Vec<Mode>,
    /// The values of `lambda`.
    rates: Vec<f64>,
    /// Largest mode of each axis.
    most: [usize; 2],
}

/// A term `Re(a(s) exp(i k . x))` of the lifting.
#[derive(Clone, Debug, PartialEq)]
struct Mode {
    m: [i64; 2],
    k: [f64; 2],
    /// Place of `lambda` in the list.
    rate: usize,
    /// Amplitudes of `omega_0`, `F` and `G`.
    amplitudes: [Complex64; 3],
}

/// Modes whose amplitudes are below this, relative to the largest, are round-off.
const TAIL: f64 = 1e-14;

impl Window {
    /// The window of a flow from a vorticity.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a lifting that does not contain the initial state; as [`Stepper::plan`].
    pub fn new(nu: f64, lifting: Lifting, times: [f64; 2], state: Vorticity) -> Result<Self> {
        if lifting == Lifting::None {
            return Err(Error::parameter("lifting", "none", "must contain the initial state of a flow in the plane"));
        }
        let (n, start) = (state.side(), state.omega_hat.clone().into_dyn());
        let zero = || ndarray::ArrayD::<Complex64>::zeros(start.shape());
        let (mut first, mut second) = (zero(), zero());
        if lifting.knows_rates() {
            let grid = Grid::cube(2, n, state.length)?;
            let pde = NavierStokes2d::decaying(nu);
            // The step means nothing.
            let mut stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, 1.0, &Options::default())?;
            let omega = stepper.from_half(start.view())?;
            let rate = stepper.time_derivative(&omega);
            for (target, state) in
                [(&mut first, stepper.nonlinear(&omega)), (&mut second, stepper.nonlinear_jvp(&omega, &rate))]
            {
                *target = stepper.to_half(&state).into_shape_with_order(start.raw_dim()).expect("one channel");
            }
        }
        if lifting != Lifting::Taylor {
            second.fill(Complex64::default());
        }
        let (mut modes, mut rates) = (Vec::new(), Vec::new());
        let (scale, unit) = (1.0 / (n * n) as f64, std::f64::consts::TAU / state.length);
        for ((i, j), &omega) in state.omega_hat.indexed_iter() {
            let (m, k) = (state.modes((i, j)), state.wavenumber((i, j)));
            // The highest modes have one sign only on the grid; a column j > 0 stands for its mirror image, too.
            if m == [0, 0] || 2 * m[0].unsigned_abs() as usize == n || 2 * j == n {
                continue;
            }
            let twice = if j > 0 { 2.0 } else { 1.0 };
            let amplitudes = [omega, first[[i, j]], second[[i, j]]].map(|a| a * scale * twice);
            let m_squared = (m[0] * m[0] + m[1] * m[1]) as f64;
            let lambda = if lifting == Lifting::State { 0.0 } else { -nu * m_squared * unit * unit };
            // Modes of the same length share theirs, and the exponentials.
            let rate = rates.iter().position(|&known| known == lambda).unwrap_or(rates.len());
            if rate == rates.len() {
                rates.push(lambda);
            }
            modes.push(Mode { m, k, rate, amplitudes });
        }
        let size = |mode: &Mode, a: usize| mode.amplitudes[a].norm();
        let largest: [f64; 3] = std::array::from_fn(|a| modes.iter().map(|m| size(m, a)).fold(0.0, f64::max));
        modes.retain(|mode| (0..3).any(|a| size(mode, a) > TAIL * largest[a]));
        let most = [0, 1].map(|axis| modes.iter().map(|m| m.m[axis].unsigned_abs() as usize).max().unwrap_or(0));
        Ok(Self { times, state, lifting, modes, rates, most })
    }

    /// The lifting at `[x, y, t]`.
    pub fn lift(&self, [x, y, t]: [f64; 3]) -> Local {
        let (s, unit) = (t - self.times[0], std::f64::consts::TAU / self.state.length);
        let powers = |x: f64, most: usize| -> Vec<Complex64> {
            (0..=most).map(|m| Complex64::cis(unit * m as f64 * x)).collect()
        };
        let (along_x, along_y) = (powers(x, self.most[0]), powers(y, self.most[1]));
        let phis: Vec<[f64; 3]> =
            self.rates.iter().map(|lambda| phi(Complex64::from(lambda * s)).map(|phi| phi.re)).collect();
        let mut sum = [0.0; VALUES];
        for Mode { m, k, rate, amplitudes: [start, first, second] } in &self.modes {
            let ex = along_x[m[0].unsigned_abs() as usize];
            let wave = if m[0] < 0 { ex.conj() } else { ex } * along_y[m[1] as usize];
            let (lambda, [phi0, phi1, phi2]) = (self.rates[*rate], phis[*rate]);
            let omega = (start * phi0 + (first * phi1 + second * (s * phi2)) * s) * wave;
            let rate = ((start * lambda + first) * phi0 + second * (s * phi1)) * wave;
            let square = k[0] * k[0] + k[1] * k[1];
            let psi = omega / square;
            // Re(i k a) = -k Im(a).
            let terms = [
                psi.re,
                -k[0] * psi.im,
                -k[1] * psi.im,
                omega.re,
                -k[0] * omega.im,
                -k[1] * omega.im,
                -square * omega.re,
                rate.re,
            ];
            sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
        }
        Local::of_array(sum)
    }

    /// `g = (s / tau)^q` and `dg / dt`.
    pub fn gate(&self, t: f64) -> [f64; 2] {
        self.lifting.gate(self.times, t)
    }
}
