//! Allen-Cahn equation in one to three dimensions.

use num_complex::Complex64;

use super::{Invariant, Mode, Pde, Wave, constant, require_dim, require_finite, require_non_negative};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t = eps2 lap u + r (u - u^3)`.
///
/// The reaction is split with a stabilising constant `s` that changes nothing in the equation:
///
/// ```text
/// L(k) = -eps2 |k|^2 - r s ,    N = r ((1 + s) u - u^3) .
/// ```
///
/// With `s = 2` the slope of `N` at the wells `u = +-1` vanishes, so that the exponential part carries all of the
/// relaxation there; `s = -1` leaves the pure cubic. It is the gradient flow of
/// `E = <eps2 |grad u|^2 / 2 + r (u^2 - 1)^2 / 4>`: `dE/dt = -<u_t^2>`. Fronts have the profile
/// [`front`](Self::front) and the width `sqrt(2 eps2 / r)`.
///
/// # Good values
///
/// [`pinn_benchmark`](Self::pinn_benchmark): box `[0, 2)` (`x - 1` in `[-1, 1)`), start `(x - 1)^2 cos(pi (x - 1))`,
/// `n = 512`, `dt = 1e-3`, to `t = 1`. That start has a jump of slope at the seam of the box, so that its coefficients
/// fall only as `k^(-2)` until diffusion has acted.
///
/// # Source
///
/// Allen & Cahn, Acta Metall. 27 (1979); the benchmark is from Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378
/// (2019), section 4.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AllenCahn {
    /// Diffusivity `eps^2`, length^2 / time.
    pub eps2: f64,
    /// Reaction rate, 1 / time.
    pub r: f64,
    /// Stabilising constant of the split, a property of the method.
    pub s: f64,
}

impl AllenCahn {
    /// The equation with the stabilised split, `s = 2`.
    pub fn new(eps2: f64, r: f64) -> Self {
        Self { eps2, r, s: 2.0 }
    }

    /// `u_t = 1e-4 u_xx + 5 u - 5 u^3`, the benchmark of physics-informed networks.
    pub fn pinn_benchmark() -> Self {
        Self::new(1e-4, 5.0)
    }

    /// Solution `u_0 / sqrt(u_0^2 + (1 - u_0^2) exp(-2 r t))` that starts from the constant `u0`.
    pub fn homogeneous(&self, u0: f64, t: f64) -> f64 {
        u0 / (u0 * u0 + (1.0 - u0 * u0) * (-2.0 * self.r * t).exp()).sqrt()
    }

    /// Stationary front `tanh(x / sqrt(2 eps2 / r))` on the infinite line.
    pub fn front(&self, x: f64) -> f64 {
        (x / (2.0 * self.eps2 / self.r).sqrt()).tanh()
    }
}

impl Pde for AllenCahn {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;
    const DEGREE: usize = 3;

    fn id(&self) -> &'static str {
        "allen_cahn"
    }

    fn equation(&self) -> String {
        "u_t = eps2 lap u + r (u - u^3)".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=3)?;
        require_non_negative("eps2", self.eps2)?;
        require_non_negative("r", self.r)?;
        require_finite("s", self.s)?;
        if self.s < -1.0 {
            return Err(Error::parameter("s", self.s, "must be >= -1"));
        }
        Ok(())
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-self.eps2 * Mode(k).square() - self.r * self.s)
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        let u = fields[0];
        products[0] = u * (u * u).nmadd(constant(1.0), constant(1.0 + self.s));
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        products[0] = self.slope(fields[0]) * tangent[0];
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        fields_bar[0] = self.slope(fields[0]) * cotangent[0];
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, _wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        tendency[0] = products[0].scale(constant(self.r));
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, _wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        products[0] = tendency[0].scale(constant(self.r));
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["eps2", "r"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        if parameter == 0 { &mut self.eps2 } else { &mut self.r }
    }

    fn linear_symbol_derivative(&self, parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(if parameter == 0 { -Mode(k).square() } else { -self.s })
    }

    fn tendency_depends_on(&self, parameter: usize) -> bool {
        parameter == 1
    }

    #[inline(always)]
    fn tendency_derivative<V: Lanes>(
        &self,
        parameter: usize,
        _wave: &Wave<V>,
        products: &[Complex<V>],
        tendency: &mut [Complex<V>],
    ) {
        tendency[0] = if parameter == 1 { products[0] } else { Complex::zero() };
    }

    fn invariants(&self) -> Vec<Invariant> {
        let Self { eps2, r, .. } = *self;
        vec![Invariant::balanced(
            "energy",
            move |s| {
                let gradient = s.mode_sum(|k, u, _| k.square() * u[0].norm_sqr());
                0.5 * eps2 * gradient + 0.25 * r * s.mean(|u| (u[0] * u[0] - 1.0).powi(2))
            },
            move |s| {
                let diffusion = s.apply(0, |k| Complex64::from(-eps2 * k.square()));
                let rates = s.field(0).iter().zip(&diffusion).map(|(u, d)| d + r * (u - u.powi(3)));
                -rates.map(|rate| rate * rate).sum::<f64>() / diffusion.len() as f64
            },
        )]
    }
}

impl AllenCahn {
    /// `1 + s - 3 u^2`.
    #[inline(always)]
    fn slope<V: Lanes>(&self, u: V) -> V {
        (u * u).nmadd(constant(3.0), constant(1.0 + self.s))
    }
}
