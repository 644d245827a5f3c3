//! Kuramoto-Sivashinsky equation in one dimension.

use num_complex::Complex64;

use super::{Pde, Wave, constant};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t = -u u_x - u_xx - nu u_xxxx` (derivative form), with `u u_x = (u^2)_x / 2`.
///
/// `L(k) = k^2 - nu k^4`, `N_hat = -(i k / 2) (u^2)_hat`. Modes `0 < |k| < nu^(-1/2)` grow, the fastest at
/// `k = (2 nu)^(-1/2)` with rate `1 / (4 nu)`. The mean is conserved. Symmetries: `u(x, t) -> -u(-x, t)` and
/// `u -> u(x - c t, t) + c`.
///
/// Two scalings are in use and related by a change of units: box `[0, L)` with `nu = 1`, and box `[0, 2 pi)` with
/// `nu = (2 pi / L)^2`, where `u_1(x, t) = (2 pi / L) v(2 pi x / L, (2 pi / L)^2 t)`.
///
/// # Good values
///
/// `L = 22`, `n = 64`, `dt = 0.1`: weak chaos, largest Lyapunov exponent 0.048. `L = 32 pi`, `n = 128`, `dt = 1/4`, to
/// `t = 150` from `cos(x/16) (1 + sin(x/16))` is the run of Kassam & Trefethen (SIAM J. Sci. Comput. 26, 2005).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KuramotoSivashinsky {
    /// Coefficient of `u_xxxx`, length^4 / time in the units of the box; 1 in the common scaling.
    pub nu: f64,
}

impl Default for KuramotoSivashinsky {
    fn default() -> Self {
        Self { nu: 1.0 }
    }
}

impl Pde for KuramotoSivashinsky {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;

    fn id(&self) -> &'static str {
        "kuramoto_sivashinsky"
    }

    fn equation(&self) -> String {
        "u_t + u u_x + u_xx + nu u_xxxx = 0".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        if grid.dim() != 1 {
            return Err(Error::parameter("dim", grid.dim(), "must be 1 for kuramoto_sivashinsky"));
        }
        if !(self.nu > 0.0 && self.nu.is_finite()) {
            return Err(Error::parameter("nu", self.nu, "must be > 0"));
        }
        Ok(())
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        let k2 = k[0] * k[0];
        Complex64::from(k2 - self.nu * k2 * k2)
    }

    #[inline(always)]
    fn fields<V: Lanes>(&self, _wave: &Wave<V>, u: &[Complex<V>], fields: &mut [Complex<V>]) {
        fields[0] = u[0];
    }

    #[inline(always)]
    fn fields_adjoint<V: Lanes>(&self, _wave: &Wave<V>, fields: &[Complex<V>], u: &mut [Complex<V>]) {
        u[0] = fields[0];
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        products[0] = fields[0] * fields[0];
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        products[0] = constant::<V>(2.0) * fields[0] * tangent[0];
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        fields_bar[0] = constant::<V>(2.0) * fields[0] * cotangent[0];
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        tendency[0] = products[0].scale_i(constant::<V>(-0.5) * wave.k[0]);
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        products[0] = tendency[0].scale_i(constant::<V>(0.5) * wave.k[0]);
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["nu"]
    }

    fn linear_symbol_derivative(&self, _parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-k[0].powi(4))
    }
}
