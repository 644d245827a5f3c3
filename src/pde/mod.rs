//! Equations `u_t = L u + N(u) + f` on periodic boxes, one file each.
//!
//! `L` is diagonal in Fourier space. `N` is given by three small maps, each written once for any vector width:
//!
//! ```text
//! fields      F_hat = A(k) u_hat      linear, mode by mode     (for example velocity from vorticity)
//! products    P     = p(F)            pointwise in physical space
//! tendency    N_hat = B(k) P_hat      linear, mode by mode     (for example a divergence)
//! ```
//!
//! so that `N = B P_K FFT p IFFT A`. An equation also gives the adjoints of `A` and `B` and the Jacobian products of
//! `p`. From these the stepper composes the derivative `DN = B P_K FFT p' IFFT A` and its transpose
//! `DN^T = A^* FFT p'^T IFFT B^*` with the same fused kernels as `N` itself: no equation writes a transform.

use num_complex::Complex64;

use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

mod advection_diffusion;
mod allen_cahn;
mod burgers;
mod complex_amplitude;
mod ginzburg_landau;
mod gray_scott;
mod invariants;
mod korteweg_de_vries;
mod kuramoto_sivashinsky;
mod navier_stokes_2d;
mod navier_stokes_3d;
mod nonlinear_schroedinger;
mod quadratic_flux;
#[cfg(test)]
mod tests;

pub use advection_diffusion::AdvectionDiffusion;
pub use allen_cahn::AllenCahn;
pub use burgers::Burgers;
pub use ginzburg_landau::GinzburgLandau;
pub use gray_scott::GrayScott;
pub use invariants::{Invariant, Mode, Snapshot};
pub use korteweg_de_vries::KortewegDeVries;
pub use kuramoto_sivashinsky::{KuramotoSivashinsky, KuramotoSivashinskyIntegral, KuramotoSivashinskyUnits};
pub use navier_stokes_2d::{Forcing2d, NavierStokes2d};
pub use navier_stokes_3d::{Forcing3d, NavierStokes3d};
pub use nonlinear_schroedinger::NonlinearSchroedinger;

/// Upper bound of [`Pde::FIELDS`], [`Pde::PRODUCTS`] and [`Pde::CHANNELS`].
pub const MAX_SLOTS: usize = 8;

/// Angular wavenumbers of `W` modes.
#[derive(Clone, Copy)]
pub struct Wave<V> {
    /// `k` of each axis; zero for axes that the box does not have.
    pub k: [V; 3],
    /// `1 / |k|^2`, zero for the mean.
    pub inverse_k2: V,
}

impl<V: Lanes> Wave<V> {
    /// `|k|^2`.
    #[inline(always)]
    pub fn k2(&self) -> V {
        self.k[0].madd(self.k[0], self.k[1].madd(self.k[1], self.k[2] * self.k[2]))
    }
}

/// A constant in every lane.
#[inline(always)]
pub fn constant<V: Lanes>(x: f64) -> V {
    V::splat(<V::Real as crate::field::Real>::of(x))
}

/// Refuses a box whose dimension is not in `allowed`.
fn require_dim(equation: &str, grid: &Grid, allowed: std::ops::RangeInclusive<usize>) -> Result<()> {
    if allowed.contains(&grid.dim()) {
        return Ok(());
    }
    let (low, high) = allowed.into_inner();
    let rule = if low == high { format!("must be {low}") } else { format!("must be {low} to {high}") };
    Err(Error::parameter("dim", grid.dim(), format!("{rule} for {equation}")))
}

/// Refuses a coefficient that is not finite.
fn require_finite(name: &str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::parameter(name, value, "must be finite")) }
}

/// Refuses a coefficient that is negative or not finite.
fn require_non_negative(name: &str, value: f64) -> Result<()> {
    if value >= 0.0 && value.is_finite() {
        Ok(())
    } else {
        Err(Error::parameter(name, value, "must be >= 0 and finite"))
    }
}

/// A semilinear equation `u_t = L u + N(u) + f` on a periodic box.
///
/// Implementors hold coefficients only; steppers own all memory. Mark the per-mode and pointwise methods
/// `#[inline(always)]`: they are called once for every `W` modes or points, and are vectorised only if inlined.
///
/// All coefficients `u_hat` here are Fourier coefficients proper (`u = sum_m u_hat_m exp(i k_m x)`), and only
/// `|m| <= K` is ever present, so that Nyquist rules do not arise.
pub trait Pde: Clone + Send + Sync + 'static {
    /// Components of the state.
    const CHANNELS: usize;
    /// Fields that are transformed to physical space; zero for a linear equation.
    const FIELDS: usize;
    /// Products that are transformed back.
    const PRODUCTS: usize;
    /// Polynomial degree of the products in the fields; sets the default cut `(DEGREE + 1) K < n`.
    const DEGREE: usize = 2;

    /// Identifier as in recipes and files, e.g. `"kuramoto_sivashinsky"`.
    fn id(&self) -> &'static str;

    /// The equation as text, with its coefficients by name.
    fn equation(&self) -> String;

    /// Names of the state's components.
    fn channel_names(&self) -> Vec<&'static str>;

    /// Refuses coefficients or boxes for which the equation is not defined.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Parameter`] naming the coefficient, its value and the rule.
    fn validate(&self, grid: &Grid) -> Result<()>;

    /// Maps the physical components of a mode to those of the state, in place, `CHANNELS` entries.
    ///
    /// The state is what `L` is diagonal in. For real equations it is the physical field itself, the default; a complex
    /// field `A`, given as `(Re A, Im A)`, is kept as `A_hat(m)` and `conj(A_hat(-m))`. The map is unitary, so that it
    /// also carries gradients; it is applied to initial states and to the forcing.
    fn load_channels(&self, physical: &mut [Complex64]) {
        let _ = physical;
    }

    /// Inverse, and so adjoint, of [`Pde::load_channels`].
    fn store_channels(&self, state: &mut [Complex64]) {
        let _ = state;
    }

    /// Symbol of `L` for a component at angular wavenumber `k`, unit 1/time.
    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64;

    /// `F_hat = A(k) u_hat`; by default the first `FIELDS` components of the state.
    #[inline(always)]
    fn fields<V: Lanes>(&self, wave: &Wave<V>, u: &[Complex<V>], fields: &mut [Complex<V>]) {
        let _ = wave;
        fields[..Self::FIELDS].copy_from_slice(&u[..Self::FIELDS]);
    }

    /// `u_hat = A(k)^* F_hat`.
    #[inline(always)]
    fn fields_adjoint<V: Lanes>(&self, wave: &Wave<V>, fields: &[Complex<V>], u: &mut [Complex<V>]) {
        let _ = wave;
        u.fill(Complex::zero());
        u[..Self::FIELDS].copy_from_slice(&fields[..Self::FIELDS]);
    }

    /// `P = p(F)` at `W` points.
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]);

    /// `dP = p'(F) dF`.
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]);

    /// `F_bar = p'(F)^T P_bar`.
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]);

    /// `N_hat = B(k) P_hat`.
    fn tendency<V: Lanes>(&self, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]);

    /// `P_hat = B(k)^* N_hat`.
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]);

    /// Steady forcing of a physical component at the point `x`; `None` if the equation has none.
    fn forcing(&self, channel: usize, x: [f64; 3]) -> Option<f64> {
        let _ = (channel, x);
        None
    }

    /// Names of the coefficients with respect to which gradients are defined.
    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    /// The coefficient `parameters()[parameter]`, for reading and writing.
    ///
    /// # Panics
    ///
    /// If there is no such coefficient.
    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        panic!("{} has no parameter {parameter}", self.id());
    }

    /// `dL / dp` for the coefficient `parameters()[parameter]`.
    fn linear_symbol_derivative(&self, parameter: usize, channel: usize, k: [f64; 3]) -> Complex64 {
        let _ = (parameter, channel, k);
        Complex64::new(0.0, 0.0)
    }

    /// Whether `N` depends on the coefficient.
    fn tendency_depends_on(&self, parameter: usize) -> bool {
        let _ = parameter;
        false
    }

    /// `dN_hat / dp = (dB / dp)(k) P_hat`, for coefficients on which `N` depends.
    fn tendency_derivative<V: Lanes>(
        &self,
        parameter: usize,
        wave: &Wave<V>,
        products: &[Complex<V>],
        tendency: &mut [Complex<V>],
    ) {
        let _ = (parameter, wave, products);
        tendency.fill(Complex::zero());
    }

    /// `df / dp` of a physical component at the point `x`, for coefficients on which the forcing depends.
    fn forcing_derivative(&self, parameter: usize, channel: usize, x: [f64; 3]) -> f64 {
        let _ = (parameter, channel, x);
        0.0
    }

    /// What the equation conserves or balances, for monitors and tests.
    fn invariants(&self) -> Vec<Invariant> {
        Vec::new()
    }
}
