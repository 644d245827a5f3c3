//! Gray-Scott reaction-diffusion system in one to three dimensions.

use num_complex::Complex64;

use super::{Invariant, Mode, Pde, Wave, constant, require_dim, require_finite, require_non_negative};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `u_t = diffusion_u lap u - u v^2 + feed (1 - u)`, `v_t = diffusion_v lap v + u v^2 - (feed + kill) v`.
///
/// `L = (-diffusion_u |k|^2 - feed, -diffusion_v |k|^2 - feed - kill)`, one product `P = u v^2`, `N_hat = (-P_hat, P_hat)`,
/// and the constant `feed` is a forcing of `u`. The trivial state `(1, 0)` is stable; patterns need a finite start,
/// such as a patch of `(1/2, 1/4)` with one percent of noise.
///
/// # Good values
///
/// [`pearson`](Self::pearson) on the box `[0, 2.5)^2`, `n = 256`, `dt = 1`, to `t = 2e4`, `(feed, kill)`:
/// `(0.014, 0.054)` gliders, `(0.018, 0.051)` spirals, `(0.03, 0.062)` spots, `(0.029, 0.057)` mazes,
/// `(0.058, 0.065)` worms, `(0.098, 0.057)` bubbles.
///
/// # Source
///
/// Gray & Scott, Chem. Eng. Sci. 38 (1983); Pearson, Science 261 (1993).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GrayScott {
    /// Diffusivity of `u`, length^2 / time.
    pub diffusion_u: f64,
    /// Diffusivity of `v`, length^2 / time.
    pub diffusion_v: f64,
    /// Rate `F` at which `u` is fed and both are washed out, 1 / time.
    pub feed: f64,
    /// Rate `k` at which `v` is removed, 1 / time.
    pub kill: f64,
}

impl GrayScott {
    /// Pearson's diffusivities, `2e-5` and `1e-5`.
    pub fn pearson(feed: f64, kill: f64) -> Self {
        Self { diffusion_u: 2e-5, diffusion_v: 1e-5, feed, kill }
    }
}

impl Pde for GrayScott {
    const CHANNELS: usize = 2;
    const FIELDS: usize = 2;
    const PRODUCTS: usize = 1;
    const DEGREE: usize = 3;

    fn id(&self) -> &'static str {
        "gray_scott"
    }

    fn equation(&self) -> String {
        "u_t = diffusion_u lap u - u v^2 + feed (1 - u), v_t = diffusion_v lap v + u v^2 - (feed + kill) v".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["u", "v"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=3)?;
        require_non_negative("diffusion_u", self.diffusion_u)?;
        require_non_negative("diffusion_v", self.diffusion_v)?;
        require_finite("feed", self.feed)?;
        require_finite("kill", self.kill)
    }

    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64 {
        let k2 = Mode(k).square();
        Complex64::from(match channel {
            0 => -self.diffusion_u * k2 - self.feed,
            _ => -self.diffusion_v * k2 - self.feed - self.kill,
        })
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        let (u, v) = (fields[0], fields[1]);
        products[0] = u * v * v;
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        let (u, v, du, dv) = (fields[0], fields[1], tangent[0], tangent[1]);
        products[0] = v * du.madd(v, constant::<V>(2.0) * u * dv);
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        let (u, v, p_v) = (fields[0], fields[1], cotangent[0] * fields[1]);
        fields_bar[0] = p_v * v;
        fields_bar[1] = constant::<V>(2.0) * u * p_v;
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, _wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        tendency[0] = -products[0];
        tendency[1] = products[0];
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, _wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        products[0] = tendency[1] - tendency[0];
    }

    fn forcing(&self, channel: usize, _x: [f64; 3]) -> Option<f64> {
        (channel == 0).then_some(self.feed)
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["diffusion_u", "diffusion_v", "feed", "kill"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        match parameter {
            0 => &mut self.diffusion_u,
            1 => &mut self.diffusion_v,
            2 => &mut self.feed,
            _ => &mut self.kill,
        }
    }

    fn linear_symbol_derivative(&self, parameter: usize, channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(match (parameter, channel) {
            (0, 0) | (1, 1) => -Mode(k).square(),
            (2, _) | (3, 1) => -1.0,
            _ => 0.0,
        })
    }

    // The feed also enters the forcing.
    fn forcing_derivative(&self, parameter: usize, channel: usize, _x: [f64; 3]) -> f64 {
        if parameter == 2 && channel == 0 { 1.0 } else { 0.0 }
    }

    fn invariants(&self) -> Vec<Invariant> {
        let Self { feed, kill, .. } = *self;
        vec![
            Invariant::balanced(
                "mean u",
                |s| s.mean(|c| c[0]),
                move |s| s.mean(|c| feed * (1.0 - c[0]) - c[0] * c[1] * c[1]),
            ),
            Invariant::balanced(
                "mean v",
                |s| s.mean(|c| c[1]),
                move |s| s.mean(|c| c[0] * c[1] * c[1] - (feed + kill) * c[1]),
            ),
        ]
    }
}
