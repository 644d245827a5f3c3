//! Solitons of the Korteweg-de Vries equation.

use std::f64::consts::TAU;

use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::{require_dim, require_finite, require_positive, sample};
use crate::error::{Error, Result};
use crate::field::Grid;

/// Solitons at most: the exact solution has `2^n` terms.
const MAX_SOLITONS: usize = 8;

/// Coefficients of `u_t + a u u_x + b u_xxx = 0`, the exact solutions of which are
///
/// ```text
/// u = (12 b / a) d^2/dx^2 log F,      F = sum_{S in subsets} prod_{i<j in S} A_ij exp(sum_{i in S} theta_i),
/// theta_i = k_i (x - x_i) - b k_i^3 t,      A_ij = ((k_i - k_j) / (k_i + k_j))^2.
/// ```
///
/// One soliton is `u = (3 c / a) sech^2((1/2) sqrt(c / b) (x - c t - x_0))` with speed `c = b k^2`; two are
/// `F = 1 + e^theta_1 + e^theta_2 + A e^(theta_1 + theta_2)`. A collision moves the fast one forward and the slow one
/// back, each by `-ln(A) / k`.
///
/// With the weights `p_S` of the terms of `F` and `s_S = sum_{i in S} k_i`, the second logarithmic derivative
/// `(F F'' - F'^2) / F^2` is the variance `sum_S p_S (s_S - mean)^2`; the largest exponential is divided out, so
/// nothing overflows or cancels.
///
/// # Source
///
/// R. Hirota, "Exact solution of the Korteweg-de Vries equation for multiple collisions of solitons", Phys. Rev.
/// Lett. 27 (1971), brought to general (a, b) by scaling.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::Kdv};
/// let grid = Grid::cube(1, 256, 40.0)?;
/// let u = Kdv::PLUS.one_soliton(&grid, 2.0, 20.0, 0.0)?;
/// assert!((u[128] - 1.0).abs() < 1e-14); // amplitude c/2 at x_0
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdv {
    /// Coefficient of `u u_x`, not zero.
    pub a: f64,
    /// Coefficient of `u_xxx`, not zero.
    pub b: f64,
}

/// One of several solitons: speed `b k^2`, amplitude `3 b k^2 / a`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Soliton {
    /// Inverse width `k = sqrt(c / b) > 0`, one of its kind.
    pub k: f64,
    /// Phase position: the crest at `t = 0` if the soliton is alone, or far to the left of all others.
    pub x0: f64,
}

impl Kdv {
    /// `u_t - 6 u u_x + u_xxx = 0`: solitons are wells.
    pub const MINUS: Self = Self { a: -6.0, b: 1.0 };
    /// `u_t + 6 u u_x + u_xxx = 0`.
    pub const PLUS: Self = Self { a: 6.0, b: 1.0 };
    /// `u_t + u u_x + u_xxx = 0`.
    pub const UNIT: Self = Self { a: 1.0, b: 1.0 };
    /// `u_t + u u_x + 0.022^2 u_xxx = 0`, with [`zabusky_kruskal`] on `[0, 2)`.
    pub const ZABUSKY_KRUSKAL: Self = Self { a: 1.0, b: 0.022 * 0.022 };

    /// A soliton of speed `c` with crest at `x0 + c t`, wrapped into the box; `[x]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the grid has more than one dimension, a number is not finite, a coefficient is zero, or
    /// `c / b` is not positive.
    pub fn one_soliton(&self, grid: &Grid, c: f64, x0: f64, t: f64) -> Result<ArrayD<f64>> {
        self.check()?;
        if !c.is_finite() || c / self.b <= 0.0 {
            return Err(Error::parameter("c", c, format!("must have the sign of b = {}", self.b)));
        }
        self.solitons(grid, &[Soliton { k: (c / self.b).sqrt(), x0 }], t)
    }

    /// The exact solution with 1 to 8 solitons at time `t`, wrapped into the box; `[x]`.
    ///
    /// The solution on the line is evaluated on the period centred at the mean position of the solitons. The tails
    /// that leave that period are cut, an error of about `exp(-k d)` with the least distance `d` of a crest to its
    /// ends: keep the group narrow against the period, also at `t`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the grid has more than one dimension, there are no or too many solitons, a `k` is not
    /// positive or occurs twice, a coefficient is zero, or a number is not finite.
    pub fn solitons(&self, grid: &Grid, solitons: &[Soliton], t: f64) -> Result<ArrayD<f64>> {
        require_dim(grid, 1..=1)?;
        let solution = self.solution(solitons)?;
        require_finite("t", t)?;
        let positions = solitons.iter().map(|s| s.x0 + self.b * s.k * s.k * t);
        let centre = positions.sum::<f64>() / solitons.len() as f64;
        let length = grid.lengths()[0];
        Ok(sample(grid, |x| {
            let offset = (x[0] - centre + 0.5 * length).rem_euclid(length) - 0.5 * length;
            solution(centre + offset, t)
        }))
    }

    /// The exact solution `u(x, t)` with 1 to 8 solitons on the whole line.
    ///
    /// # Errors
    ///
    /// As [`Kdv::solitons`].
    pub fn solution(&self, solitons: &[Soliton]) -> Result<impl Fn(f64, f64) -> f64 + use<>> {
        self.check()?;
        let n = solitons.len();
        if n == 0 || n > MAX_SOLITONS {
            return Err(Error::parameter("solitons", n, format!("must be 1 to {MAX_SOLITONS}")));
        }
        for (i, s) in solitons.iter().enumerate() {
            require_positive("k", s.k)?;
            require_finite("x0", s.x0)?;
            if solitons[..i].iter().any(|other| other.k == s.k) {
                return Err(Error::parameter("k", s.k, "must differ between solitons"));
            }
        }
        let members = |subset: usize| (0..n).filter(move |i| subset >> i & 1 == 1);
        // Of each subset: log prod A_ij, and the coefficients of its exponent, slope x - shift - rate t.
        let terms: Vec<_> = (0..1usize << n)
            .map(|subset| {
                let log_a = |i: usize, j: usize| {
                    let (ki, kj) = (solitons[i].k, solitons[j].k);
                    2.0 * ((ki - kj).abs() / (ki + kj)).ln()
                };
                let pairs: f64 = members(subset)
                    .flat_map(|i| members(subset).filter(move |&j| j < i).map(move |j| log_a(i, j)))
                    .sum();
                let slope: f64 = members(subset).map(|i| solitons[i].k).sum();
                let shift: f64 = members(subset).map(|i| solitons[i].k * solitons[i].x0).sum();
                let rate: f64 = members(subset).map(|i| self.b * solitons[i].k.powi(3)).sum();
                (pairs - shift, slope, rate)
            })
            .collect();
        let amplitude = 12.0 * self.b / self.a;
        Ok(move |x: f64, t: f64| {
            let exponent = |&(constant, slope, rate): &(f64, f64, f64)| constant + slope * x - rate * t;
            let largest = terms.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
            let weighted = || terms.iter().map(|term| ((exponent(term) - largest).exp(), term.1));
            let sum: f64 = weighted().map(|(p, _)| p).sum();
            let mean = weighted().map(|(p, slope)| p * slope).sum::<f64>() / sum;
            amplitude * weighted().map(|(p, slope)| p * (slope - mean).powi(2)).sum::<f64>() / sum
        })
    }

    fn check(&self) -> Result<()> {
        for (name, value) in [("a", self.a), ("b", self.b)] {
            if !value.is_finite() || value == 0.0 {
                return Err(Error::parameter(name, value, "must be finite and not 0"));
            }
        }
        Ok(())
    }
}

/// The start of Zabusky and Kruskal, `cos(2 pi x / L)`: with [`Kdv::ZABUSKY_KRUSKAL`] on `[0, 2)` it is `cos(pi x)`.
///
/// # Source
///
/// N. J. Zabusky and M. D. Kruskal, Phys. Rev. Lett. 15 (1965).
///
/// # Errors
///
/// [`Error::Parameter`] if the grid has more than one dimension.
pub fn zabusky_kruskal(grid: &Grid) -> Result<ArrayD<f64>> {
    require_dim(grid, 1..=1)?;
    let k = TAU / grid.lengths()[0];
    Ok(sample(grid, |x| (k * x[0]).cos()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectral::Derivatives;

    fn largest(u: &ArrayD<f64>) -> f64 {
        u.iter().fold(0.0, |largest, u| largest.max(u.abs()))
    }

    /// Largest residual of the equation at time `t`, space by Fourier, time by a central difference of order 6.
    fn residual(kdv: Kdv, grid: &Grid, solitons: &[Soliton], t: f64, dt: f64) -> f64 {
        let derivatives = Derivatives::plan(grid);
        let u = |t: f64| kdv.solitons(grid, solitons, t).unwrap();
        let pair = |j: f64| u(t + j * dt) - u(t - j * dt);
        let u_t = (pair(1.0) * 45.0 - pair(2.0) * 9.0 + pair(3.0)) / (60.0 * dt);
        let now = u(t);
        let u_x = derivatives.derivative(now.view(), 0, 1);
        let u_xxx = derivatives.derivative(now.view(), 0, 3);
        largest(&(u_t + now * u_x * kdv.a + u_xxx * kdv.b))
    }

    #[test]
    fn solitons_solve_the_equation() {
        let grid = Grid::cube(1, 1080, 140.0).unwrap();
        let one = [Soliton { k: 1.2, x0: 30.0 }];
        let two = [Soliton { k: 1.6, x0: -14.0 }, Soliton { k: 1.0, x0: -5.0 }];
        let three = [Soliton { k: 1.5, x0: -9.0 }, Soliton { k: 1.1, x0: -2.0 }, Soliton { k: 0.8, x0: 3.0 }];
        for kdv in [Kdv::MINUS, Kdv::PLUS, Kdv { a: 2.5, b: 0.7 }, Kdv { a: 3.0, b: -1.0 }] {
            for (solitons, t) in [(&one[..], 3.0), (&two, 0.0), (&two, 5.5), (&two, 8.0), (&three, 4.0)] {
                // Terms of size 10; third derivatives amplify round-off by (pi 1080 / 140)^3 = 14000, and the time
                // difference is good to (1.6^3 dt)^6 = 5e-15 of u_t / dt.
                let r = residual(kdv, &grid, solitons, t, 1e-3);
                assert!(r < 1e-9, "{kdv:?} {} solitons at {t}: {r}", solitons.len());
            }
        }
    }

    #[test]
    fn one_soliton_is_the_sech_profile() {
        let grid = Grid::cube(1, 200, 50.0).unwrap();
        for (kdv, c) in [(Kdv::MINUS, 1.3), (Kdv::UNIT, 0.8), (Kdv { a: 2.0, b: -0.5 }, -1.0)] {
            let (x0, t): (f64, f64) = (20.0, 4.0);
            let u = kdv.one_soliton(&grid, c, x0, t).unwrap();
            let exact =
                sample(&grid, |x| 3.0 * c / kdv.a / (0.5 * (c / kdv.b).sqrt() * (x[0] - c * t - x0)).cosh().powi(2));
            assert!(largest(&(u - exact)) < 1e-8, "the wrapped tail, 4 exp(-22) of the amplitude");
        }
    }

    #[test]
    fn the_profile_wraps_around_the_box() {
        let grid = Grid::cube(1, 100, 50.0).unwrap();
        let u = Kdv::PLUS.one_soliton(&grid, 2.0, 10.0, 0.0).unwrap();
        let later = Kdv::PLUS.one_soliton(&grid, 2.0, 10.0, 3.0 * 25.0).unwrap();
        assert!(largest(&(u - later)) < 1e-13);
    }

    #[test]
    fn two_solitons_far_apart_are_two_single_ones() {
        let two = Kdv::MINUS.solution(&[Soliton { k: 1.6, x0: 0.0 }, Soliton { k: 1.0, x0: 0.0 }]).unwrap();
        let single = |k: f64, x: f64| -0.5 * k * k / (0.5 * k * x).cosh().powi(2);
        // The soliton on the right has the other's exponential large: its phase moves by ln A.
        let log_a = 2.0 * (0.6f64 / 2.6).ln();
        // The fast one is behind before the collision (t < 0), the slow one after it. They are 1.56 |t| = 62 apart.
        let (t, fast) = (40.0, 1.6f64.powi(2));
        for y in [-1.0, 0.0, 0.3, 2.0] {
            for (value, exact) in [
                (two(fast * t - log_a / 1.6 + y, t), single(1.6, y)),
                (two(t + y, t), single(1.0, y)),
                (two(-t - log_a + y, -t), single(1.0, y)),
                (two(-fast * t + y, -t), single(1.6, y)),
            ] {
                assert!((value - exact).abs() < 1e-13, "round-off of phases of size 100");
            }
        }
        // Overflow-safe: exponents of 1e5.
        assert_eq!(two(1e5, 0.0), 0.0);
        assert_eq!(two(-1e5, 0.0), 0.0);
    }

    #[test]
    fn bad_solitons_are_refused() {
        let grid = Grid::cube(1, 64, 10.0).unwrap();
        let good = Soliton { k: 1.0, x0: 0.0 };
        assert!(Kdv { a: 0.0, b: 1.0 }.one_soliton(&grid, 1.0, 0.0, 0.0).is_err());
        assert!(Kdv::PLUS.one_soliton(&grid, -1.0, 0.0, 0.0).is_err());
        assert!(Kdv::PLUS.solitons(&grid, &[], 0.0).is_err());
        assert!(Kdv::PLUS.solitons(&grid, &[good, good], 0.0).is_err());
        assert!(Kdv::PLUS.solitons(&grid, &[Soliton { k: -1.0, x0: 0.0 }], 0.0).is_err());
        assert!(Kdv::PLUS.solitons(&Grid::cube(2, 8, 1.0).unwrap(), &[good], 0.0).is_err());
        assert!(Kdv::PLUS.solitons(&grid, &[good], f64::NAN).is_err());
    }

    #[test]
    fn zabusky_kruskal_is_cos_pi_x_on_a_box_of_two() {
        let grid = Grid::cube(1, 32, 2.0).unwrap();
        let u = zabusky_kruskal(&grid).unwrap();
        let x = grid.coordinates(0);
        assert!((0..32).all(|j| (u[j] - (std::f64::consts::PI * x[j]).cos()).abs() < 1e-15));
    }
}
