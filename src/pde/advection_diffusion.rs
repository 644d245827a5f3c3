//! Advection-diffusion equation in one to three dimensions.

use num_complex::Complex64;

use super::{Invariant, Pde, Wave, require_dim, require_finite, require_non_negative};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t + c . grad u = nu lap u` with a uniform velocity `c`.
///
/// `L(k) = -i c . k - nu |k|^2` and `N = 0`: no transform is spent on it, and every exponential scheme is exact. So the
/// error of a run is round-off, which makes it the first test of a stepper, a layout or a file format.
///
/// The mean is conserved; `<u^2>/2` decays at the rate `nu <|grad u|^2>`.
///
/// # Good values
///
/// Box `[0, 2 pi)`, `c = 1`, `nu = 0.01`, `n = 64`, any step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdvectionDiffusion {
    /// Velocity `c`, length / time; components along axes that the box does not have are ignored.
    pub velocity: [f64; 3],
    /// Diffusivity, length^2 / time.
    pub nu: f64,
}

impl AdvectionDiffusion {
    /// Factor `exp(L(k) t)` by which the mode of angular wavenumber `k` grows in the time `t`: the exact solution.
    pub fn exact_mode(&self, k: [f64; 3], t: f64) -> Complex64 {
        (self.linear_symbol(0, k) * t).exp()
    }
}

impl Pde for AdvectionDiffusion {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 0;
    const PRODUCTS: usize = 0;
    const DEGREE: usize = 1;

    fn id(&self) -> &'static str {
        "advection_diffusion"
    }

    fn equation(&self) -> String {
        "u_t + velocity . grad u = nu lap u".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=3)?;
        require_non_negative("nu", self.nu)?;
        self.velocity.iter().try_for_each(|&c| require_finite("velocity", c))
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        let (c, k2) = (self.velocity, k[0] * k[0] + k[1] * k[1] + k[2] * k[2]);
        Complex64::new(-self.nu * k2, -(c[0] * k[0] + c[1] * k[1] + c[2] * k[2]))
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, _fields: &[V], _products: &mut [V]) {}

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, _fields: &[V], _tangent: &[V], _products: &mut [V]) {}

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, _fields: &[V], _cotangent: &[V], _fields_bar: &mut [V]) {}

    #[inline(always)]
    fn tendency<V: Lanes>(&self, _wave: &Wave<V>, _products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        tendency[0] = Complex::zero();
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, _wave: &Wave<V>, _tendency: &[Complex<V>], _products: &mut [Complex<V>]) {}

    fn parameters(&self) -> &'static [&'static str] {
        &["nu", "velocity_x", "velocity_y", "velocity_z"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        if parameter == 0 { &mut self.nu } else { &mut self.velocity[parameter - 1] }
    }

    fn linear_symbol_derivative(&self, parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        if parameter == 0 {
            Complex64::from(-(k[0] * k[0] + k[1] * k[1] + k[2] * k[2]))
        } else {
            Complex64::new(0.0, -k[parameter - 1])
        }
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
