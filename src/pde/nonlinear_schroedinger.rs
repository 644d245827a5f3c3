//! Cubic nonlinear Schroedinger equation in one to three dimensions.

use num_complex::Complex64;

use super::{Invariant, Mode, Pde, Wave, complex_amplitude as amplitude, require_dim, require_finite};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// `i psi_t + dispersion lap psi + cubic |psi|^2 psi = 0` for a complex wave `psi`.
///
/// Channels are `Re psi` and `Im psi`; the state of a mode is `psi_hat(m)` and `conj(psi_hat(-m))`, each over `sqrt(2)`
/// ([`Pde::load_channels`]), in which `L` is diagonal: `-i dispersion |k|^2` and its conjugate. `N = i cubic |psi|^2 psi`.
///
/// Focusing for `dispersion cubic > 0`. In two and three dimensions focusing waves can collapse in finite time.
/// Conserved: mass `<|psi|^2>`, momentum `<Im(conj(psi) psi_x)>` and Hamiltonian
/// `<dispersion |grad psi|^2 - cubic |psi|^4 / 2>`, all three also by the truncated system.
///
/// # Good values
///
/// [`focusing`](Self::focusing) with a [`bright_soliton`](Self::bright_soliton) of `eta = 1` in the box `[0, 80)`,
/// `n = 768`, `dt = 5e-3`: error 2e-9 at `t = 3` with `etdrk4`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NonlinearSchroedinger {
    /// Coefficient of `lap psi`.
    pub dispersion: f64,
    /// Coefficient of `|psi|^2 psi`.
    pub cubic: f64,
}

impl NonlinearSchroedinger {
    /// `i psi_t + lap psi + 2 |psi|^2 psi = 0`.
    pub fn focusing() -> Self {
        Self { dispersion: 1.0, cubic: 2.0 }
    }

    /// `i psi_t + lap psi - 2 |psi|^2 psi = 0`.
    pub fn defocusing() -> Self {
        Self { dispersion: 1.0, cubic: -2.0 }
    }

    /// Plane wave `a exp(i (q x - w t))`, `w = dispersion q^2 - cubic a^2`, along the first axis.
    pub fn plane_wave(&self, a: f64, q: f64, x: f64, t: f64) -> Complex64 {
        Complex64::from_polar(a, q * x - (self.dispersion * q * q - self.cubic * a * a) * t)
    }

    /// Bright soliton of inverse width `eta` and speed `c` centred at `x = c t` on the infinite line (one dimension,
    /// focusing), with `d = dispersion`:
    ///
    /// ```text
    /// psi = eta sqrt(2 d / cubic) sech(eta (x - c t)) exp(i (c x / (2 d) + (d eta^2 - c^2 / (4 d)) t)) .
    /// ```
    pub fn bright_soliton(&self, eta: f64, c: f64, x: f64, t: f64) -> Complex64 {
        let d = self.dispersion;
        let amplitude = eta * (2.0 * d / self.cubic).sqrt() / (eta * (x - c * t)).cosh();
        Complex64::from_polar(amplitude, c * x / (2.0 * d) + (d * eta * eta - c * c / (4.0 * d)) * t)
    }

    fn cubic(&self) -> Complex64 {
        Complex64::new(0.0, self.cubic)
    }
}

impl Pde for NonlinearSchroedinger {
    const CHANNELS: usize = 2;
    const FIELDS: usize = 2;
    const PRODUCTS: usize = 2;
    const DEGREE: usize = 3;

    fn id(&self) -> &'static str {
        "nonlinear_schroedinger"
    }

    fn equation(&self) -> String {
        "i psi_t + dispersion lap psi + cubic |psi|^2 psi = 0".into()
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["re", "im"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 1..=3)?;
        require_finite("dispersion", self.dispersion)?;
        require_finite("cubic", self.cubic)
    }

    fn load_channels(&self, physical: &mut [Complex64]) {
        amplitude::in_place(amplitude::load, physical);
    }

    fn store_channels(&self, state: &mut [Complex64]) {
        amplitude::in_place(amplitude::store, state);
    }

    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64 {
        amplitude::symbol(Complex64::new(0.0, -self.dispersion * Mode(k).square()), channel)
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
        &["dispersion", "cubic"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        if parameter == 0 { &mut self.dispersion } else { &mut self.cubic }
    }

    fn linear_symbol_derivative(&self, parameter: usize, channel: usize, k: [f64; 3]) -> Complex64 {
        let per_dispersion = if parameter == 0 { -Mode(k).square() } else { 0.0 };
        amplitude::symbol(Complex64::new(0.0, per_dispersion), channel)
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
        let per_cubic = Complex64::new(0.0, if parameter == 1 { 1.0 } else { 0.0 });
        amplitude::tendency(per_cubic, products, tendency);
    }

    fn invariants(&self) -> Vec<Invariant> {
        let Self { dispersion, cubic } = *self;
        vec![
            Invariant::conserved("mass", |s| s.mean(|a| a[0] * a[0] + a[1] * a[1])),
            // <r s_x - s r_x> with r = Re psi, s = Im psi.
            Invariant::conserved("momentum", |s| s.mode_sum(|k, a, _| 2.0 * k.0[0] * (a[0] * a[1].conj()).im)),
            Invariant::conserved("hamiltonian", move |s| {
                let gradient = s.mode_sum(|k, a, _| k.square() * (a[0].norm_sqr() + a[1].norm_sqr()));
                dispersion * gradient - 0.5 * cubic * s.mean(|a| (a[0] * a[0] + a[1] * a[1]).powi(2))
            }),
        ]
    }
}
