//! Maps from labels to positions.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The map `X = x_0 + c tau + sum_j s_j tau^j + tau d(x_0, t)`, `tau` the time since the start of a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Motion {
    /// Known speed `c`.
    pub speed: f64,
    /// Degree of the trained polynomial `s`, `j = 1..=degree`.
    pub degree: usize,
    /// The network `d`, if there is one.
    pub paths: Option<Paths>,
    /// Weight of the residual `X_t - f`, `f` the speed of advection: how closely labels follow the flow.
    pub follow: f64,
    /// Weight of the initial state as a residual, for the published form: `W` and `X` are networks of their own, and the
    /// equation has `f` where the exact one has `X_t`. With 0 the initial state is built in and the equation is exact.
    pub soft: f64,
}

/// The network `d(x_0, t)`, and the bound of compression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Paths {
    /// Units of a layer.
    pub width: usize,
    /// Hidden layers.
    pub depth: usize,
    /// Modes of the embedding of `x_0`.
    pub modes: usize,
    /// `J_min`: the residual `max(0, J_min - J)` keeps labels apart.
    pub least: f64,
    /// Its weight.
    pub weight: f64,
}

impl Default for Paths {
    fn default() -> Self {
        Self { width: 12, depth: 2, modes: 1, least: 0.2, weight: 10.0 }
    }
}

impl Default for Motion {
    fn default() -> Self {
        Self::at_rest()
    }
}

impl Motion {
    /// `X = x_0`.
    pub fn at_rest() -> Self {
        Self { speed: 0.0, degree: 0, paths: None, follow: 0.0, soft: 0.0 }
    }

    /// `X = x_0 + speed t + s(t)`, where `s` is trained if its degree is positive. Labels then follow the mean flow with weight
    /// 0.03, which only decides between frames that are all exact.
    pub fn frame(speed: f64, degree: usize) -> Self {
        Self { speed, degree, follow: if degree > 0 { 0.03 } else { 0.0 }, ..Self::at_rest() }
    }

    /// Paths of their own on top of a frame, which follow the flow with weight 0.03.
    pub fn paths(speed: f64, paths: Paths) -> Self {
        Self { speed, paths: Some(paths), follow: 0.03, ..Self::at_rest() }
    }

    /// The two-branch form: characteristics weigh `sqrt(10)` and the initial state `sqrt(1000)`, in mean squares.
    pub fn published(paths: Paths) -> Self {
        Self {
            paths: Some(Paths { weight: 0.0, ..paths }),
            follow: 10f64.sqrt(),
            soft: 1000f64.sqrt(),
            ..Self::at_rest()
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        for (name, value) in [("follow", self.follow), ("soft", self.soft)] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(Error::parameter(format!("motion.{name}"), value, "must be finite and not negative"));
            }
        }
        if !self.speed.is_finite() {
            return Err(Error::parameter("motion.speed", self.speed, "must be finite"));
        }
        if let Some(paths) = self.paths {
            if !(paths.least > 0.0 && paths.least < 1.0) {
                return Err(Error::parameter("motion.paths.least", paths.least, "must be in (0, 1)"));
            }
            if !(paths.weight >= 0.0 && paths.weight.is_finite()) {
                let rule = "must be finite and not negative";
                return Err(Error::parameter("motion.paths.weight", paths.weight, rule));
            }
        } else if self.soft > 0.0 {
            return Err(Error::parameter("motion.paths", "none", "must be given for the published form"));
        }
        Ok(())
    }

    /// `c tau + s(tau)` and its derivative for coefficients `s`.
    pub(super) fn shift(&self, s: &[f64], tau: f64) -> [f64; 2] {
        let (mut value, mut slope) = (0.0, 0.0);
        for &s in s.iter().rev() {
            slope = slope * tau + value;
            value = value * tau + s;
        }
        // The polynomial starts at tau^1.
        slope = slope * tau + value;
        [self.speed * tau + value * tau, self.speed + slope]
    }
}

/// Derivatives of `u` along `x` from those of `W` and `X` along `x_0`: `[u, u_x, u_xx, u_xxx]`.
pub(super) fn pull(w: &[f64; 4], x: &[f64; 4]) -> [f64; 4] {
    let j = x[1];
    let u1 = w[1] / j;
    let u2 = (w[2] - u1 * x[2]) / (j * j);
    let u3 = (w[3] - u1 * x[3] - 3.0 * u2 * j * x[2]) / (j * j * j);
    [w[0], u1, u2, u3]
}

/// The transpose of the derivative of [`pull`]: cotangents of `W`'s and `X`'s derivatives.
pub(super) fn pull_adjoint(x: &[f64; 4], u: &[f64; 4], mut ubar: [f64; 4]) -> [[f64; 4]; 2] {
    let j = x[1];
    let (mut w, mut xbar) = ([ubar[0], 0.0, 0.0, 0.0], [0.0; 4]);
    let q = ubar[3] / (j * j * j);
    w[3] = q;
    ubar[1] -= q * x[3];
    ubar[2] -= 3.0 * q * j * x[2];
    xbar[3] -= q * u[1];
    xbar[2] -= 3.0 * q * u[2] * j;
    xbar[1] -= 3.0 * q * u[2] * x[2] + 3.0 * u[3] * ubar[3] / j;
    let q = ubar[2] / (j * j);
    w[2] = q;
    ubar[1] -= q * x[2];
    xbar[2] -= q * u[1];
    xbar[1] -= 2.0 * u[2] * ubar[2] / j;
    w[1] = ubar[1] / j;
    xbar[1] -= u[1] * ubar[1] / j;
    [w, xbar]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derivatives_along_positions_are_those_of_the_closed_form() {
        // X = x_0 + 0.3 sin x_0, u = cos 2x.
        let (x0, f) = (0.7f64, 0.3);
        let x = [x0 + f * x0.sin(), 1.0 + f * x0.cos(), -f * x0.sin(), -f * x0.cos()];
        let (c, s) = ((2.0 * x[0]).cos(), (2.0 * x[0]).sin());
        let u = [c, -2.0 * s, -4.0 * c, 8.0 * s];
        let w = [
            u[0],
            u[1] * x[1],
            u[2] * x[1] * x[1] + u[1] * x[2],
            u[3] * x[1].powi(3) + 3.0 * u[2] * x[1] * x[2] + u[1] * x[3],
        ];
        // A dozen roundings of numbers up to ten.
        assert!(pull(&w, &x).iter().zip(u).all(|(a, b)| (a - b).abs() < 1e-13));
    }

    #[test]
    fn adjoint_is_the_transpose_of_the_derivative() {
        let (w, x) = ([0.3, -1.2, 0.8, 2.0], [0.0, 0.7, -0.4, 0.9]);
        let (dw, dx, ubar) = ([0.5, 0.1, -0.6, 0.2], [0.0, 0.3, 0.8, -0.7], [0.9, -0.3, 0.4, 1.1]);
        let at = |h: f64| {
            let moved = |a: &[f64; 4], d: &[f64; 4]| std::array::from_fn(|i| a[i] + h * d[i]);
            pull(&moved(&w, &dw), &moved(&x, &dx)).iter().zip(ubar).map(|(u, b)| u * b).sum::<f64>()
        };
        let [wbar, xbar] = pull_adjoint(&x, &pull(&w, &x), ubar);
        let product: f64 = (0..4).map(|i| wbar[i] * dw[i] + xbar[i] * dx[i]).sum();
        let h = 1e-3;
        let odd = |h: f64| at(h) - at(-h);
        let difference = (45.0 * odd(h) - 9.0 * odd(2.0 * h) + odd(3.0 * h)) / (60.0 * h);
        // Truncation h^6 times a seventh derivative up to 7! / 0.7^7, rounding 1e-15 / h.
        assert!((product - difference).abs() < 1e-11 * 100.0, "{product} {difference}");
    }

    #[test]
    fn slope_of_a_shift_is_that_of_its_polynomial() {
        let motion = Motion::frame(2.0, 3);
        let [value, slope] = motion.shift(&[1.0, -0.5, 0.25], 0.4);
        assert!((value - (0.8 + 0.4 - 0.5 * 0.16 + 0.25 * 0.064)).abs() < 1e-15);
        assert!((slope - (2.0 + 1.0 - 0.4 + 0.75 * 0.16)).abs() < 1e-15);
    }
}
