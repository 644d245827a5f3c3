//! Viscous Burgers equation in one dimension.

use num_complex::Complex64;

use super::quadratic_flux as flux;
use super::{Invariant, Pde, Wave, require_dim, require_non_negative};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t + u u_x = nu u_xx`, with `u u_x = (u^2)_x / 2`.
///
/// `L(k) = -nu k^2`, `N_hat = -(i k / 2) (u^2)_hat`. The mean is conserved, and `<u^2>/2` decays at the rate
/// `nu <u_x^2>`. Symmetries: `u(x, t) -> -u(-x, t)` and `u -> u(x - c t, t) + c`. Fronts have a width of about
/// `4 nu / jump`, on which `n` must be chosen: with four points across it the error is about 1e-6.
///
/// # Good values
///
/// Box `[0, 1)`, `nu = 0.1`, start from the Gaussian field with covariance `625 (-lap + 25)^(-2)` to `t = 1` (Li et al.,
/// ICLR 2021, section 5.1). Box `[0, 2)`, `u = -sin(pi (x - 1))`, `nu = 0.01 / pi` to `t = 1` is the common test of
/// physics-informed networks; its front needs `n = 4096` for ten digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Burgers {
    /// Viscosity, length^2 / time.
    pub nu: f64,
}

impl Burgers {
    /// Exact solution at `(x, t)` for a start with zero mean, period `length` and antiderivative `potential`.
    ///
    /// With `u = -2 nu (log phi)_x` the equation becomes `phi_t = nu phi_xx`, so that
    ///
    /// ```text
    /// u(x, t) = int u_0(y) w(y) dy / int w(y) dy ,   w(y) = exp(-(U_0(y) + (x - y)^2 / (2 t)) / (2 nu)) ,
    /// ```
    ///
    /// where `U_0' = u_0`. The weight is scaled by its maximum before the exponential, so that small `nu` does not
    /// overflow. The trapezoidal rule converges geometrically here; points are doubled until two sums differ by less
    /// than 1e-14 of the largest value met. For a start with mean `c` add `c` to the solution at `x - c t`.
    ///
    /// # Source
    ///
    /// Hopf, Comm. Pure Appl. Math. 3 (1950); Cole, Quart. Appl. Math. 9 (1951).
    ///
    /// # Example
    ///
    /// ```
    /// use parseval::pde::Burgers;
    /// let burgers = Burgers { nu: 0.01 };
    /// let u = burgers.cole_hopf(std::f64::consts::TAU, f64::sin, |y| -y.cos(), 1.0, 1e-6);
    /// assert!((u - 1.0f64.sin()).abs() < 1e-6);
    /// ```
    pub fn cole_hopf(
        &self,
        length: f64,
        u0: impl Fn(f64) -> f64,
        potential: impl Fn(f64) -> f64,
        x: f64,
        t: f64,
    ) -> f64 {
        if t == 0.0 {
            return u0(x);
        }
        let (low, high) = (0..512)
            .map(|i| potential(length * i as f64 / 512.0))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), p| (low.min(p), high.max(p)));
        // Beyond this distance the weight is below exp(-40) of its maximum.
        let reach = (2.0 * t * (80.0 * self.nu + 1.1 * (high - low))).sqrt();
        let log_weight = |y: f64| -(potential(y) + (x - y).powi(2) / (2.0 * t)) / (2.0 * self.nu);
        let quadrature = |points: usize| {
            let nodes = || (0..=points).map(|i| x - reach + 2.0 * reach * i as f64 / points as f64);
            let top = nodes().map(log_weight).fold(f64::NEG_INFINITY, f64::max);
            let (mut sum, mut mass, mut scale) = (0.0, 0.0, 0.0f64);
            for y in nodes() {
                let (u, w) = (u0(y), (log_weight(y) - top).exp());
                sum += u * w;
                mass += w;
                scale = scale.max(u.abs());
            }
            (sum / mass, scale)
        };
        let mut points = 128;
        let (mut value, _) = quadrature(points);
        while points < 1 << 20 {
            points *= 2;
            let (finer, scale) = quadrature(points);
            let change = (finer - value).abs();
            value = finer;
            if change <= 1e-14 * scale {
                break;
            }
        }
        value
    }
}

impl Pde for Burgers {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;

    fn id(&self) -> &'static str {
        "burgers"
    }

    fn equation(&self) -> String {
        "u_t + u u_x = nu u_xx".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=1)?;
        require_non_negative("nu", self.nu)
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-self.nu * k[0] * k[0])
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
        Complex64::from(-k[0] * k[0])
    }

    fn invariants(&self) -> Vec<Invariant> {
        let nu = self.nu;
        vec![
            Invariant::conserved("mean", |s| s.mean(|u| u[0])),
            Invariant::balanced(
                "energy",
                |s| 0.5 * s.mean(|u| u[0] * u[0]),
                move |s| -nu * s.mode_sum(|k, u, _| k.square() * u[0].norm_sqr()),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    /// `u_t + u u_x - nu u_xx` by central differences of step `h`, order `h^2`.
    fn residual(nu: f64, x: f64, t: f64, h: f64) -> f64 {
        let u = |x, t| Burgers { nu }.cole_hopf(TAU, f64::sin, |y: f64| -y.cos(), x, t);
        let (centre, left, right) = (u(x, t), u(x - h, t), u(x + h, t));
        (u(x, t + h) - u(x, t - h)) / (2.0 * h) + centre * (right - left) / (2.0 * h)
            - nu * (right - 2.0 * centre + left) / (h * h)
    }

    #[test]
    fn cole_hopf_satisfies_the_equation_before_and_after_the_front_forms() {
        for (x, t) in [(1.0, 0.3), (2.5, 0.9), (3.1, 2.0), (5.0, 10.0)] {
            // Differences of step 1e-3 leave h^2 u''' / 6 with derivatives up to about 1e2 near the front.
            let fine = residual(0.1, x, t, 1e-3);
            assert!(fine.abs() < 3e-4, "residual {fine} at ({x}, {t})");
        }
    }

    #[test]
    fn cole_hopf_does_not_overflow_at_small_viscosity() {
        // exp(-U / (2 nu)) alone would be exp(5e4).
        let burgers = Burgers { nu: 1e-5 };
        let u = |x| burgers.cole_hopf(TAU, f64::sin, |y: f64| -y.cos(), x, 2.0);
        // Away from the front the solution follows the characteristic x = y + t sin y; viscosity changes O(nu).
        let y = 0.4f64;
        assert!((u(y + 2.0 * y.sin()) - y.sin()).abs() < 1e-4);
        assert!(u(std::f64::consts::PI).abs() < 1e-10, "odd about the front");
    }
}
