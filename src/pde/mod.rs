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

use crate::error::Result;
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

mod kuramoto_sivashinsky;
mod navier_stokes_2d;

pub use kuramoto_sivashinsky::KuramotoSivashinsky;
pub use navier_stokes_2d::{Forcing2d, NavierStokes2d};

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
    /// Fields that are transformed to physical space.
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

    /// Symbol of `L` for a component at angular wavenumber `k`, unit 1/time.
    fn linear_symbol(&self, channel: usize, k: [f64; 3]) -> Complex64;

    /// `F_hat = A(k) u_hat`.
    fn fields<V: Lanes>(&self, wave: &Wave<V>, u: &[Complex<V>], fields: &mut [Complex<V>]);

    /// `u_hat = A(k)^* F_hat`.
    fn fields_adjoint<V: Lanes>(&self, wave: &Wave<V>, fields: &[Complex<V>], u: &mut [Complex<V>]);

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

    /// Steady forcing of a component at the point `x`; `None` if the equation has none.
    fn forcing(&self, channel: usize, x: [f64; 3]) -> Option<f64> {
        let _ = (channel, x);
        None
    }

    /// Names of the coefficients with respect to which gradients are defined.
    fn parameters(&self) -> &'static [&'static str] {
        &[]
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
}
