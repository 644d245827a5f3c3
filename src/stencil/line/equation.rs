//! The equations of the line.

use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// `u_t + (u^2 / 2)_x = L u` on `[0, length)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Equation {
    /// `L u = -u_xx - u_xxxx`: [`pde::KuramotoSivashinsky`](crate::pde::KuramotoSivashinsky) with `nu = 1`.
    KuramotoSivashinsky {
        /// Period.
        length: f64,
    },
    /// `L u = nu u_xx`: [`pde::Burgers`](crate::pde::Burgers).
    Burgers {
        /// Period.
        length: f64,
        /// Viscosity, length^2 / time.
        nu: f64,
    },
}

impl Equation {
    /// Period of the box.
    pub fn length(&self) -> f64 {
        match *self {
            Self::KuramotoSivashinsky { length } | Self::Burgers { length, .. } => length,
        }
    }

    /// Symbol of `L`, unit 1/time.
    pub fn symbol(&self, k: f64) -> f64 {
        match *self {
            Self::KuramotoSivashinsky { .. } => k * k - k.powi(4),
            Self::Burgers { nu, .. } => -nu * k * k,
        }
    }

    /// Whether the coefficients make sense.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a length or viscosity that is not positive.
    pub fn validate(&self) -> Result<()> {
        let nu = if let Self::Burgers { nu, .. } = *self { nu } else { 1.0 };
        for (name, value) in [("length", self.length()), ("nu", nu)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::parameter(name, value, "must be finite and > 0"));
            }
        }
        Ok(())
    }
}

/// `phi_1(z) = (e^z - 1) / z`, 1 at 0.
pub(super) fn phi_1(z: f64) -> f64 {
    if z == 0.0 { 1.0 } else { z.exp_m1() / z }
}

/// `phi_2(z) = (phi_1(z) - 1) / z`, 1/2 at 0.
pub(super) fn phi_2(z: f64) -> f64 {
    // Below 0.1 four digits would cancel; the series has the next term below 1e-13.
    if z.abs() > 0.1 {
        (phi_1(z) - 1.0) / z
    } else {
        // 1/2! + z/3! + z^2/4! + ..
        (2..=12).rev().fold(0.0, |sum, j| sum * z + 1.0 / (1..=j).map(f64::from).product::<f64>())
    }
}

/// Symbol of `f_i - f_(i - 1)` over `h`.
pub(super) fn divergence(k: f64, h: f64) -> Complex64 {
    (1.0 - Complex64::from_polar(1.0, -k * h)) / h
}
