//! The problem: a flow and its initial vorticity.

use std::f64::consts::{PI, TAU};

use ndarray::{Array2, ArrayD};
use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::super::ansatz::Lifting;
use super::super::solution::Architecture;
use super::network::Network;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::jet::{self, Coordinate, Mlp, ModifiedMlp};
use crate::spectral::Transform;

/// A flow with its initial state, and the form of its solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// Period in both directions.
    pub length: f64,
    /// Viscosity.
    pub nu: f64,
    /// Initial vorticity.
    pub initial: Initial,
    /// What is built into the solution.
    pub lifting: Lifting,
    /// Network.
    pub network: Architecture,
}

impl Flow {
    /// Refuses values out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`].
    pub fn validate(&self) -> Result<()> {
        if !(self.length > 0.0 && self.length.is_finite()) {
            return Err(Error::parameter("length", self.length, "must be positive and finite"));
        }
        if !(self.nu >= 0.0 && self.nu.is_finite()) {
            return Err(Error::parameter("nu", self.nu, "must be finite and not negative"));
        }
        if self.lifting == Lifting::None {
            return Err(Error::parameter("lifting", "none", "must contain the initial state of a flow in the plane"));
        }
        Ok(())
    }

    /// The network of a window, planned.
    ///
    /// # Errors
    ///
    /// As [`Network::plan`].
    pub fn plan(&self, times: [f64; 2], threads: usize) -> Result<Network> {
        let Architecture { width, depth, modes, activation, scale, gated } = self.network;
        let axis = Coordinate::Periodic { length: self.length, modes };
        let coordinates = vec![axis, axis, Coordinate::Linear { from: times[0], to: times[1] }];
        let scale = (scale > 0.0).then_some(scale);
        let mlp = Mlp { coordinates, width, depth, outputs: 1, activation, scale };
        let network: Box<dyn jet::Architecture> =
            if gated { Box::new(ModifiedMlp { mlp, fourier: None }) } else { Box::new(mlp) };
        Network::plan(&*network, times, threads)
    }

    /// Initial vorticity on a grid of `n x n` points.
    ///
    /// # Errors
    ///
    /// As [`Vorticity::of_values`].
    pub fn state(&self, n: usize) -> Result<Vorticity> {
        self.initial.vorticity(self.length, n)
    }
}

/// An initial vorticity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Initial {
    /// Vortices `2 k cos(k x) cos(k y)` of speed 1, `k = 2 pi mode / L`, which keep their form and decay as `exp(-2 nu k^2 t)`.
    TaylorGreen {
        /// Periods in the box.
        mode: usize,
    },
    /// Modes `0 < |m| <= modes` with amplitudes `|m|^2 exp(-(|m| / peak)^2)` and phases from the generator splitmix64,
    /// scaled to a largest speed.
    Random {
        /// Start of the generator.
        seed: u64,
        /// Largest mode.
        modes: usize,
        /// Scale of the spectrum.
        peak: f64,
        /// Largest speed.
        speed: f64,
    },
    /// `sum (c cos(k . x) + s sin(k . x))`, `k = 2 pi m / L`.
    Modes {
        /// `[m_x, m_y, c, s]`; the mode zero is not allowed.
        modes: Vec<[f64; 4]>,
    },
}

/// Grid on which the largest speed of a random flow is taken.
const SPEED_GRID: usize = 256;

impl Initial {
    fn vorticity(&self, length: f64, n: usize) -> Result<Vorticity> {
        let k = TAU / length;
        match self {
            &Self::TaylorGreen { mode } => {
                let (m, half) = (mode as f64, 0.5 * 2.0 * k * mode as f64);
                Vorticity::of_modes(length, n, &[[m, m, half, 0.0], [m, -m, half, 0.0]])
            }
            Self::Modes { modes } => Vorticity::of_modes(length, n, modes),
            &Self::Random { seed, modes, peak, speed } => {
                let mut list = random(seed, modes, peak);
                let largest = Vorticity::of_modes(length, SPEED_GRID, &list)?.speed();
                if largest <= 0.0 || !largest.is_finite() {
                    return Err(Error::parameter("vorticity.modes", modes, "must be >= 1, with a positive peak"));
                }
                list.iter_mut()
                    .for_each(|mode| (mode[2], mode[3]) = (mode[2] * speed / largest, mode[3] * speed / largest));
                Vorticity::of_modes(length, n, &list)
            }
        }
    }
}

/// Modes of one half plane in the order of `m_x`, then `m_y`.
fn random(seed: u64, modes: usize, peak: f64) -> Vec<[f64; 4]> {
    let (most, mut list, mut state) = (modes as i64, Vec::new(), seed);
    for mx in 0..=most {
        for my in -most..=most {
            let square = (mx * mx + my * my) as f64;
            if square > (most * most) as f64 || (mx == 0 && my <= 0) {
                continue;
            }
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let phase = TAU * ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
            let amplitude = square * (-square / (peak * peak)).exp();
            list.push([mx as f64, my as f64, amplitude * phase.cos(), -amplitude * phase.sin()]);
        }
    }
    list
}

/// A vorticity `omega(x, y)` of mean zero by its Fourier coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct Vorticity {
    /// `L`.
    pub length: f64,
    /// Half spectrum `[n, n / 2 + 1]` of the forward transform, unscaled.
    pub omega_hat: Array2<Complex64>,
}

impl Vorticity {
    /// Interpolates values `[x, y]` on `n x n` points; the mean is left off.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for values that are not square, [`Error::Parameter`] for one that is not finite or a bad grid.
    pub fn of_values(length: f64, values: ArrayD<f64>) -> Result<Self> {
        let &[n, m] = values.shape() else { return Err(Error::shape("values", &[0, 0], values.shape())) };
        if n != m {
            return Err(Error::shape("values", &[n, n], values.shape()));
        }
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::parameter("value of a vorticity", bad, "must be finite"));
        }
        let hat = Transform::<f64>::plan(&Grid::cube(2, n, length)?).forward(values.view());
        let mut omega_hat = hat.into_dimensionality().expect("two axes");
        omega_hat[[0, 0]] = Complex64::default();
        Ok(Self { length, omega_hat })
    }

    /// `sum (c cos(k . x) + s sin(k . x))` of `[m_x, m_y, c, s]`.
    fn of_modes(length: f64, n: usize, modes: &[[f64; 4]]) -> Result<Self> {
        Grid::cube(2, n, length)?;
        let mut omega_hat = Array2::default([n, n / 2 + 1]);
        for &[mx, my, c, s] in modes {
            let (most, whole) = (n as f64 / 2.0, mx.fract() == 0.0 && my.fract() == 0.0);
            if !whole || (mx == 0.0 && my == 0.0) || mx.abs() >= most || my.abs() >= most {
                let rule = format!("must be whole numbers, not both zero, and below {most} on {n} points");
                return Err(Error::parameter("mode of a vorticity", format!("{:?}", [mx, my]), rule));
            }
            // (c - i s) / 2 at m and its conjugate at -m, of which the half spectrum holds those with m_y >= 0.
            let half = Complex64::new(0.5 * c, -0.5 * s) * (n * n) as f64;
            for (mx, my, value) in [(mx, my, half), (-mx, -my, half.conj())] {
                if my >= 0.0 {
                    omega_hat[[(mx as i64).rem_euclid(n as i64) as usize, my as usize]] += value;
                }
            }
        }
        Ok(Self { length, omega_hat })
    }

    /// Points in each direction.
    pub fn side(&self) -> usize {
        self.omega_hat.nrows()
    }

    /// Values `[x, y]` on the points.
    pub fn values(&self) -> ArrayD<f64> {
        self.inverse(|_, omega| omega)
    }

    /// Largest speed on the points.
    pub fn speed(&self) -> f64 {
        let along = |axis: usize| {
            self.inverse(|k, omega| {
                let square = k[0] * k[0] + k[1] * k[1];
                if square == 0.0 { omega } else { omega * Complex64::new(0.0, k[axis]) / square }
            })
        };
        along(0).iter().zip(&along(1)).map(|(a, b)| a.hypot(*b)).fold(0.0, f64::max)
    }

    fn inverse(&self, change: impl Fn([f64; 2], Complex64) -> Complex64) -> ArrayD<f64> {
        let n = self.side();
        let grid = Grid::cube(2, n, self.length).expect("checked when it was made");
        let mut hat = self.omega_hat.clone();
        hat.indexed_iter_mut().for_each(|(at, omega)| *omega = change(self.wavenumber(at), *omega));
        Transform::<f64>::plan(&grid).inverse(hat.into_dyn().view())
    }

    /// Wavenumber of a coefficient.
    pub(super) fn wavenumber(&self, (i, j): (usize, usize)) -> [f64; 2] {
        let m = self.modes((i, j));
        m.map(|m| m as f64 * 2.0 * PI / self.length)
    }

    /// Mode numbers of a coefficient.
    pub(super) fn modes(&self, (i, j): (usize, usize)) -> [i64; 2] {
        let n = self.side() as i64;
        [if 2 * i as i64 > n { i as i64 - n } else { i as i64 }, j as i64]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_the_sum_of_their_waves() {
        let modes = vec![[1.0, -2.0, 0.3, 0.7], [0.0, 1.0, 1.0, 0.0], [3.0, 0.0, 0.0, -0.4], [-2.0, 1.0, 0.1, 0.2]];
        let omega = Initial::Modes { modes: modes.clone() }.vorticity(3.0, 16).unwrap();
        let values = omega.values();
        for (i, j) in [(0, 0), (3, 5), (15, 1)] {
            let at = |m: f64, index: usize| TAU * m * index as f64 / 16.0;
            let exact: f64 = modes
                .iter()
                .map(|[mx, my, c, s]| {
                    let phase = at(*mx, i) + at(*my, j);
                    c * phase.cos() + s * phase.sin()
                })
                .sum();
            // Roundings of a transform of 256 points.
            assert!((values[[i, j]] - exact).abs() < 1e-14, "{} {exact}", values[[i, j]]);
        }
        let again = Vorticity::of_values(3.0, values).unwrap();
        assert!(again.omega_hat.iter().zip(&omega.omega_hat).all(|(a, b)| (a - b).norm() < 1e-12));
    }

    #[test]
    fn random_flows_have_their_speed_on_any_grid() {
        let flow = Initial::Random { seed: 1, modes: 8, peak: 2.0, speed: 3.0 };
        let (coarse, fine) = (flow.vorticity(TAU, 32).unwrap(), flow.vorticity(TAU, 64).unwrap());
        assert!((fine.values()[[2, 4]] - coarse.values()[[1, 2]]).abs() < 1e-12);
        // On other points than those of the scaling the largest speed is a little less.
        assert!((flow.vorticity(TAU, 256).unwrap().speed() - 3.0).abs() < 1e-12);
        assert!(fine.speed() <= 3.0 && fine.speed() > 2.9);
        // cos^2 + sin^2 of Taylor-Green vortices: speed 1.
        assert!((Initial::TaylorGreen { mode: 2 }.vorticity(TAU, 32).unwrap().speed() - 1.0).abs() < 1e-13);
    }

    #[test]
    fn modes_that_a_grid_does_not_hold_are_refused() {
        let message = |m: [f64; 2]| {
            let modes = vec![[m[0], m[1], 1.0, 0.0]];
            Initial::Modes { modes }.vorticity(1.0, 8).unwrap_err().to_string()
        };
        let rule = "must be whole numbers, not both zero, and below 4 on 8 points";
        for m in [[4.0, 0.0], [0.0, 0.0], [0.5, 1.0]] {
            assert_eq!(message(m), format!("mode of a vorticity = {m:?} is not allowed: {rule}"));
        }
    }
}
