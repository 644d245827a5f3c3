//! Kuramoto-Sivashinsky equation in one dimension.

use std::f64::consts::TAU;

use num_complex::Complex64;

use super::quadratic_flux as flux;
use super::{Invariant, Pde, Wave, constant, require_dim};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t = -u u_x - u_xx - nu u_xxxx` (derivative form), with `u u_x = (u^2)_x / 2`.
///
/// `L(k) = k^2 - nu k^4`, `N_hat = -(i k / 2) (u^2)_hat`. Modes `0 < |k| < nu^(-1/2)` grow, the fastest at
/// `k = (2 nu)^(-1/2)` with rate `1 / (4 nu)`. The mean is conserved. Symmetries: `u(x, t) -> -u(-x, t)` and
/// `u -> u(x - c t, t) + c`.
///
/// Two scalings are in use and related by a change of units: box `[0, L)` with `nu = 1` ([`unit`](Self::unit)), and box
/// `[0, 2 pi)` with `nu = (2 pi / L)^2` ([`fixed_box`](Self::fixed_box)). [`units`](Self::units) converts.
///
/// `d/dt <u^2>/2 = <u_x^2> - nu <u_xx^2>`.
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

impl KuramotoSivashinsky {
    /// The common scaling, `nu = 1` on a box of any length.
    pub fn unit() -> Self {
        Self { nu: 1.0 }
    }

    /// The scaling on the box `[0, 2 pi)` of the flow that has period `length` at `nu = 1`: `nu = (2 pi / length)^2`.
    pub fn fixed_box(length: f64) -> Self {
        Self { nu: (TAU / length).powi(2) }
    }

    /// Factors that turn lengths, times and amplitudes of the scaling `nu = 1` into those of this one.
    pub fn units(&self) -> KuramotoSivashinskyUnits {
        let s = self.nu.sqrt();
        KuramotoSivashinskyUnits { length: s, time: s * s, amplitude: 1.0 / s }
    }
}

impl Default for KuramotoSivashinsky {
    fn default() -> Self {
        Self::unit()
    }
}

/// Change of units between two scalings, with `s = sqrt(nu)`.
///
/// If `u(x, t)` solves the equation with `nu = 1`, then `v(xi, tau)` with `xi = s x`, `tau = s^2 t` and `v = u / s`
/// solves it with `nu`; in the integral form the amplitude stays, `g = h`.
///
/// # Example
///
/// ```
/// use parseval::pde::KuramotoSivashinsky;
/// let units = KuramotoSivashinsky::fixed_box(22.0).units();
/// assert!((22.0 * units.length - std::f64::consts::TAU).abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KuramotoSivashinskyUnits {
    /// `xi / x`.
    pub length: f64,
    /// `tau / t`.
    pub time: f64,
    /// `v / u`.
    pub amplitude: f64,
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
        require_dim(self.id(), grid, 1..=1)?;
        require_positive_nu(self.nu)
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        symbol(self.nu, k[0])
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        flux::square(fields, products);
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        flux::square_jvp(fields, tangent, products);
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        flux::square_jvp(fields, cotangent, fields_bar);
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        flux::tendency(1.0, wave, products, tendency);
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        flux::tendency_adjoint(1.0, wave, tendency, products);
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["nu"]
    }

    fn parameter_mut(&mut self, _parameter: usize) -> &mut f64 {
        &mut self.nu
    }

    fn linear_symbol_derivative(&self, _parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-k[0].powi(4))
    }

    fn invariants(&self) -> Vec<Invariant> {
        let nu = self.nu;
        vec![
            Invariant::conserved("mean", |s| s.mean(|u| u[0])),
            Invariant::balanced(
                "energy",
                |s| 0.5 * s.mean(|u| u[0] * u[0]),
                move |s| s.mode_sum(|k, u, _| symbol(nu, k.0[0]).re * u[0].norm_sqr()),
            ),
        ]
    }
}

/// `h_t = -(h_x)^2 / 2 - h_xx - nu h_xxxx` (integral form, flame fronts), with `u = h_x`.
///
/// `L(k) = k^2 - nu k^4`, `N_hat = -((h_x)^2)_hat / 2`. The mean of `h` drifts at `-<h_x^2> / 2`; all else is as in
/// [`KuramotoSivashinsky`], whose solution is `h_x`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KuramotoSivashinskyIntegral {
    /// Coefficient of `h_xxxx`, as in [`KuramotoSivashinsky`].
    pub nu: f64,
}

impl KuramotoSivashinskyIntegral {
    /// The common scaling, `nu = 1` on a box of any length.
    pub fn unit() -> Self {
        Self { nu: 1.0 }
    }

    /// The scaling on the box `[0, 2 pi)` of the flow that has period `length` at `nu = 1`: `nu = (2 pi / length)^2`.
    pub fn fixed_box(length: f64) -> Self {
        Self { nu: KuramotoSivashinsky::fixed_box(length).nu }
    }

    /// Factors that turn lengths, times and amplitudes of the scaling `nu = 1` into those of this one.
    pub fn units(&self) -> KuramotoSivashinskyUnits {
        KuramotoSivashinskyUnits { amplitude: 1.0, ..KuramotoSivashinsky { nu: self.nu }.units() }
    }
}

impl Default for KuramotoSivashinskyIntegral {
    fn default() -> Self {
        Self::unit()
    }
}

impl Pde for KuramotoSivashinskyIntegral {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;

    fn id(&self) -> &'static str {
        "kuramoto_sivashinsky_integral"
    }

    fn equation(&self) -> String {
        "h_t + (h_x)^2 / 2 + h_xx + nu h_xxxx = 0".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["h"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=1)?;
        require_positive_nu(self.nu)
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        symbol(self.nu, k[0])
    }

    #[inline(always)]
    fn fields<V: Lanes>(&self, wave: &Wave<V>, u: &[Complex<V>], fields: &mut [Complex<V>]) {
        fields[0] = u[0].scale_i(wave.k[0]);
    }

    #[inline(always)]
    fn fields_adjoint<V: Lanes>(&self, wave: &Wave<V>, fields: &[Complex<V>], u: &mut [Complex<V>]) {
        u[0] = fields[0].scale_i(-wave.k[0]);
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        flux::square(fields, products);
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        flux::square_jvp(fields, tangent, products);
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        flux::square_jvp(fields, cotangent, fields_bar);
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, _wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        tendency[0] = products[0].scale(constant(-0.5));
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, _wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        products[0] = tendency[0].scale(constant(-0.5));
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["nu"]
    }

    fn parameter_mut(&mut self, _parameter: usize) -> &mut f64 {
        &mut self.nu
    }

    fn linear_symbol_derivative(&self, _parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-k[0].powi(4))
    }

    fn invariants(&self) -> Vec<Invariant> {
        let nu = self.nu;
        vec![
            Invariant::balanced(
                "mean",
                |s| s.mean(|h| h[0]),
                |s| -0.5 * s.mode_sum(|k, h, _| k.square() * h[0].norm_sqr()),
            ),
            Invariant::balanced(
                "energy",
                |s| 0.5 * s.mode_sum(|k, h, _| k.square() * h[0].norm_sqr()),
                move |s| s.mode_sum(|k, h, _| k.square() * symbol(nu, k.0[0]).re * h[0].norm_sqr()),
            ),
        ]
    }
}

fn symbol(nu: f64, k: f64) -> Complex64 {
    let k2 = k * k;
    Complex64::from(k2 - nu * k2 * k2)
}

fn require_positive_nu(nu: f64) -> Result<()> {
    if nu > 0.0 && nu.is_finite() { Ok(()) } else { Err(Error::parameter("nu", nu, "must be > 0 and finite")) }
}
