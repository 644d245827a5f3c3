//! Complex Ginzburg-Landau equation in one to three dimensions.

use num_complex::Complex64;

use super::{Invariant, Mode, Pde, Wave, complex_amplitude as amplitude, require_dim, require_finite};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `A_t = A + (1 + i c1) lap A - (1 - i c3) |A|^2 A` for a complex amplitude `A`, in rescaled units.
///
/// Channels are `Re A` and `Im A`; the state of a mode is `A_hat(m)` and `conj(A_hat(-m))`, each over `sqrt(2)`
/// ([`Pde::load_channels`]), in which `L` is diagonal: `1 - (1 + i c1) |k|^2` and its conjugate. Two products,
/// `|A|^2 Re A` and `|A|^2 Im A`.
///
/// Signs: this is the form of Shraiman et al.; in Aranson & Kramer's `(1 + i b) lap A - (1 + i c) |A|^2 A` one has
/// `b = c1`, `c = -c3`. Replacing `A` by its conjugate changes the sign of both.
///
/// Plane waves are [`plane_wave`](Self::plane_wave). All of them are unstable for `c1 c3 > 1` (Benjamin-Feir-Newell).
/// `d/dt <|A|^2>/2 = <|A|^2> - <|grad A|^2> - <|A|^4>`.
///
/// # Good values
///
/// `c1 = 2`, `c3 = 1`, box `[0, 200)^d` from small noise, `n = 256` an axis, `dt = 0.05`: no plane wave is stable.
/// `c1 = 0`, `c3 = 1.3` in two dimensions: spiral waves.
///
/// # Source
///
/// Shraiman et al., Physica D 57 (1992); Aranson & Kramer, Rev. Mod. Phys. 74 (2002).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GinzburgLandau {
    /// Linear dispersion.
    pub c1: f64,
    /// Nonlinear frequency shift.
    pub c3: f64,
}

impl GinzburgLandau {
    /// Plane wave `sqrt(1 - q^2) exp(i (q x - w t))`, `w = c1 q^2 - c3 (1 - q^2)`, along the first axis, `|q| < 1`.
    pub fn plane_wave(&self, q: f64, x: f64, t: f64) -> Complex64 {
        let omega = self.c1 * q * q - self.c3 * (1.0 - q * q);
        Complex64::from_polar((1.0 - q * q).sqrt(), q * x - omega * t)
    }

    fn cubic(&self) -> Complex64 {
        Complex64::new(-1.0, self.c3)
    }
}

impl Pde for GinzburgLandau {
    const CHANNELS: usize = 2;
    const FIELDS: usize = 2;
    const PRODUCTS: usize = 2;
    const DEGREE: usize = 3;

    fn id(&self) -> &'static str {
        "ginzburg_landau"
    }

    fn equation(&self) -> String {
        "A_t = A + (1 + i c1) lap A - (1 - i c3) |A|^2 A".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["re", "im"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=3)?;
        require_finite("c1", self.c1)?;
        require_finite("c3", self.c3)
    }

    fn load_channels(&self, physical: &mut [Complex64]) {
        amplitude::in_place(amplitude::load, physical);
    }

    fn store_channels(&self, state: &mut [Complex64]) {
        amplitude::in_place(amplitude::store, state);
    }

    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64 {
        let k2 = Mode(k).square();
        amplitude::symbol(Complex64::new(1.0 - k2, -self.c1 * k2), channel)
    }

    #[inline(always)]
    fn fields<V: Lanes>(&self, _wave: &Wave<V>, u: &[Complex<V>], fields: &mut [Complex<V>]) {
        [fields[0], fields[1]] = amplitude::store([u[0], u[1]]);
    }

    #[inline(always)]
    fn fields_adjoint<V: Lanes>(&self, _wave: &Wave<V>, fields: &[Complex<V>], u: &mut [Complex<V>]) {
        [u[0], u[1]] = amplitude::load([fields[0], fields[1]]);
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        amplitude::cubic(fields, products);
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        amplitude::cubic_jvp(fields, tangent, products);
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        amplitude::cubic_jvp(fields, cotangent, fields_bar);
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, _wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        amplitude::tendency(self.cubic(), products, tendency);
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, _wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        amplitude::tendency_adjoint(self.cubic(), tendency, products);
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["c1", "c3"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        if parameter == 0 { &mut self.c1 } else { &mut self.c3 }
    }

    fn linear_symbol_derivative(&self, parameter: usize, channel: usize, k: [f64; 3]) -> Complex64 {
        let per_c1 = if parameter == 0 { -Mode(k).square() } else { 0.0 };
        amplitude::symbol(Complex64::new(0.0, per_c1), channel)
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
        let per_c3 = Complex64::new(0.0, if parameter == 1 { 1.0 } else { 0.0 });
        amplitude::tendency(per_c3, products, tendency);
    }

    fn invariants(&self) -> Vec<Invariant> {
        vec![Invariant::balanced(
            "energy",
            |s| 0.5 * s.mean(|a| a[0] * a[0] + a[1] * a[1]),
            |s| {
                let gain = s.mode_sum(|k, a, _| (1.0 - k.square()) * (a[0].norm_sqr() + a[1].norm_sqr()));
                gain - s.mean(|a| (a[0] * a[0] + a[1] * a[1]).powi(2))
            },
        )]
    }
}
