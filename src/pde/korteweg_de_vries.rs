//! Korteweg-de Vries equation in one dimension.

use num_complex::Complex64;

use super::quadratic_flux as flux;
use super::{Invariant, Pde, Wave, constant, require_dim, require_finite};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t + a u u_x + b u_xxx = 0`, with `u u_x = (u^2)_x / 2`.
///
/// `L(k) = i b k^3`, `N_hat = -(i a k / 2) (u^2)_hat`. The literature has four conventions, one constructor each; they
/// differ by the unit of `u` (`a u` is the same in all of them at equal `b`):
///
/// | constructor | `(a, b)` | one soliton of speed `c` |
/// |---|---|---|
/// | [`classic_minus`](Self::classic_minus) | `(-6, 1)` | `-(c/2) sech^2((sqrt(c)/2)(x - c t))` |
/// | [`classic_plus`](Self::classic_plus) | `(6, 1)` | `(c/2) sech^2((sqrt(c)/2)(x - c t))` |
/// | [`unit`](Self::unit) | `(1, 1)` | `3 c sech^2((sqrt(c)/2)(x - c t))` |
/// | [`zabusky_kruskal`](Self::zabusky_kruskal) | `(1, 0.022^2)` | `3 c sech^2((sqrt(c/b)/2)(x - c t))` |
///
/// and in general `(3 c / a) sech^2((1/2) sqrt(c / b) (x - c t))`. [`initial::Kdv`](crate::initial::Kdv)
/// evaluates one and several.
///
/// Conserved: `<u>`, `<u^2>` and the Hamiltonian `<a u^3 / 6 - b u_x^2 / 2>`, the last also by the truncated system. A
/// scheme's coefficients must stay complex: those of a real part are of first order only.
///
/// # Good values
///
/// Zabusky and Kruskal's run: `u_0 = cos(pi x)` on `[0, 2)`, `n = 256`, `dt = 1e-4`, solitons by `t = 3.6 / pi`. Two
/// solitons of speeds 2.56 and 1 in `classic_minus`: `L = 100`, `n = 512`, `dt = 0.005`, `t = 10`.
///
/// # Source
///
/// Zabusky & Kruskal, Phys. Rev. Lett. 15 (1965).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KortewegDeVries {
    /// Coefficient of `u u_x`.
    pub a: f64,
    /// Coefficient of `u_xxx`.
    pub b: f64,
}

impl KortewegDeVries {
    /// `u_t - 6 u u_x + u_xxx = 0`.
    pub fn classic_minus() -> Self {
        Self { a: -6.0, b: 1.0 }
    }

    /// `u_t + 6 u u_x + u_xxx = 0`.
    pub fn classic_plus() -> Self {
        Self { a: 6.0, b: 1.0 }
    }

    /// `u_t + u u_x + u_xxx = 0`.
    pub fn unit() -> Self {
        Self { a: 1.0, b: 1.0 }
    }

    /// `u_t + u u_x + 0.022^2 u_xxx = 0`.
    pub fn zabusky_kruskal() -> Self {
        Self { a: 1.0, b: 0.022 * 0.022 }
    }
}

impl Pde for KortewegDeVries {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 1;
    const PRODUCTS: usize = 1;

    fn id(&self) -> &'static str {
        "korteweg_de_vries"
    }

    fn equation(&self) -> String {
        "u_t + a u u_x + b u_xxx = 0".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=1)?;
        require_finite("a", self.a)?;
        require_finite("b", self.b)
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::new(0.0, self.b * k[0].powi(3))
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
        flux::tendency(self.a, wave, products, tendency);
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        flux::tendency_adjoint(self.a, wave, tendency, products);
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["a", "b"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        if parameter == 0 { &mut self.a } else { &mut self.b }
    }

    fn linear_symbol_derivative(&self, parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::new(0.0, if parameter == 0 { 0.0 } else { k[0].powi(3) })
    }

    fn tendency_depends_on(&self, parameter: usize) -> bool {
        parameter == 0
    }

    #[inline(always)]
    fn tendency_derivative<V: Lanes>(
        &self,
        parameter: usize,
        wave: &Wave<V>,
        products: &[Complex<V>],
        tendency: &mut [Complex<V>],
    ) {
        let per_a = if parameter == 0 { -0.5 } else { 0.0 };
        tendency[0] = products[0].scale_i(constant::<V>(per_a) * wave.k[0]);
    }

    fn invariants(&self) -> Vec<Invariant> {
        let Self { a, b } = *self;
        vec![
            Invariant::conserved("mean", |s| s.mean(|u| u[0])),
            Invariant::conserved("square", |s| s.mean(|u| u[0] * u[0])),
            Invariant::conserved("hamiltonian", move |s| {
                a / 6.0 * s.mean(|u| u[0].powi(3)) - b / 2.0 * s.mode_sum(|k, u, _| k.square() * u[0].norm_sqr())
            }),
        ]
    }
}
