//! Two-dimensional incompressible Navier-Stokes in vorticity form.

use std::f64::consts::TAU;

use num_complex::Complex64;

use super::{Pde, Wave, constant};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// Steady forcing `f` of the vorticity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forcing2d {
    /// Free decay.
    None,
    /// Velocity forcing `(A sin(k y), 0)`: `f = -A k cos(k y)` with `k = 2 pi mode / L_y` (Kolmogorov flow).
    Kolmogorov {
        /// Amplitude `A` of the velocity forcing, length / time^2.
        amplitude: f64,
        /// Number of periods in the box.
        mode: usize,
        /// Period `L_y` of the box.
        length: f64,
    },
    /// `f = A (sin(2 pi (x + y)) + cos(2 pi (x + y)))` on the unit square, the forcing of the Fourier-neural-operator
    /// data with `A = 0.1` (Li et al., ICLR 2021, section 5.3).
    Diagonal {
        /// Amplitude `A`, 1 / time^2.
        amplitude: f64,
    },
}

/// `omega_t + u . grad omega = nu lap omega - drag omega + f`, `omega = v_x - u_y`, `-lap psi = omega`,
/// `(u, v) = (psi_y, -psi_x)`.
///
/// `L(k) = -nu |k|^2 - drag - i (U k_x + V k_y)`. The nonlinear term costs four real transforms (Basdevant, J. Comput.
/// Phys. 50, 1983): with `p = u v` and `q = v^2 - u^2`,
///
/// ```text
/// N_hat = (k_x^2 - k_y^2) p_hat + k_x k_y q_hat .
/// ```
///
/// Without forcing and drag `dE/dt = -2 nu Z`, `dZ/dt = -2 nu P` (energy, enstrophy, palinstrophy). The mean vorticity
/// stays zero.
///
/// # Good values
///
/// Kolmogorov flow: box `[0, 2 pi)^2`, `nu = 1e-3`, `drag = 0.1`, forcing amplitude 1 at mode 4 (Kochkov et al., PNAS
/// 2021), `n = 256`, `dt = 5e-3`. Laminar solution `omega = -(A k / (nu k^2 + drag)) cos(k y)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NavierStokes2d {
    /// Kinematic viscosity, length^2 / time.
    pub nu: f64,
    /// Linear drag, 1 / time.
    pub drag: f64,
    /// Uniform mean flow `(U, V)`, length / time.
    pub mean_flow: [f64; 2],
    /// Steady forcing; a field of the user's own is given to the stepper instead.
    pub forcing: Forcing2d,
}

impl NavierStokes2d {
    /// Free decay with viscosity `nu`.
    pub fn decaying(nu: f64) -> Self {
        Self { nu, drag: 0.0, mean_flow: [0.0; 2], forcing: Forcing2d::None }
    }

    /// Kolmogorov flow with drag on a box of period `length` in `y`.
    pub fn kolmogorov(nu: f64, drag: f64, amplitude: f64, mode: usize, length: f64) -> Self {
        Self { nu, drag, mean_flow: [0.0; 2], forcing: Forcing2d::Kolmogorov { amplitude, mode, length } }
    }

    /// The Fourier-neural-operator data set's flow on the unit square.
    pub fn fno(nu: f64) -> Self {
        Self { nu, drag: 0.0, mean_flow: [0.0; 2], forcing: Forcing2d::Diagonal { amplitude: 0.1 } }
    }
}

impl Pde for NavierStokes2d {
    const CHANNELS: usize = 1;
    const FIELDS: usize = 2;
    const PRODUCTS: usize = 2;

    fn id(&self) -> &'static str {
        "navier_stokes_2d"
    }

    fn equation(&self) -> String {
        let forcing = match self.forcing {
            Forcing2d::None => "",
            Forcing2d::Kolmogorov { .. } => " - amplitude k cos(k y)",
            Forcing2d::Diagonal { .. } => " + amplitude (sin(2 pi (x + y)) + cos(2 pi (x + y)))",
        };
        format!("omega_t + u . grad omega = nu lap omega - drag omega{forcing}, omega = v_x - u_y")
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["vorticity"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        if grid.dim() != 2 {
            return Err(Error::parameter("dim", grid.dim(), "must be 2 for navier_stokes_2d"));
        }
        if !(self.nu >= 0.0 && self.nu.is_finite()) {
            return Err(Error::parameter("nu", self.nu, "must be >= 0"));
        }
        if !self.drag.is_finite() {
            return Err(Error::parameter("drag", self.drag, "must be finite"));
        }
        if let Forcing2d::Kolmogorov { length, .. } = self.forcing
            && length != grid.lengths()[1]
        {
            return Err(Error::parameter("forcing length", length, "must be the period of the box in y"));
        }
        Ok(())
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        let k2 = k[0] * k[0] + k[1] * k[1];
        Complex64::new(-self.nu * k2 - self.drag, -(self.mean_flow[0] * k[0] + self.mean_flow[1] * k[1]))
    }

    // u_hat = i k_y omega_hat / k^2, v_hat = -i k_x omega_hat / k^2.
    #[inline(always)]
    fn fields<V: Lanes>(&self, wave: &Wave<V>, u: &[Complex<V>], fields: &mut [Complex<V>]) {
        let i_psi = u[0].scale_i(wave.inverse_k2);
        fields[0] = i_psi.scale(wave.k[1]);
        fields[1] = i_psi.scale(-wave.k[0]);
    }

    #[inline(always)]
    fn fields_adjoint<V: Lanes>(&self, wave: &Wave<V>, fields: &[Complex<V>], u: &mut [Complex<V>]) {
        let curl = fields[1].scale(wave.k[0]) - fields[0].scale(wave.k[1]);
        u[0] = curl.scale_i(wave.inverse_k2);
    }

    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        let (u, v) = (fields[0], fields[1]);
        products[0] = u * v;
        products[1] = v.msub(v, u * u);
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        let (u, v, du, dv) = (fields[0], fields[1], tangent[0], tangent[1]);
        products[0] = du.madd(v, u * dv);
        products[1] = constant::<V>(2.0) * v.msub(dv, u * du);
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        let (u, v, p, q2) = (fields[0], fields[1], cotangent[0], constant::<V>(2.0) * cotangent[1]);
        fields_bar[0] = p.msub(v, q2 * u);
        fields_bar[1] = p.madd(u, q2 * v);
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        let [kx, ky, _] = wave.k;
        tendency[0] = products[0].scale(kx.msub(kx, ky * ky)).add_scaled(kx * ky, products[1]);
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        let [kx, ky, _] = wave.k;
        products[0] = tendency[0].scale(kx.msub(kx, ky * ky));
        products[1] = tendency[0].scale(kx * ky);
    }

    fn forcing(&self, _channel: usize, x: [f64; 3]) -> Option<f64> {
        match self.forcing {
            Forcing2d::None => None,
            Forcing2d::Kolmogorov { amplitude, mode, length } => {
                let k = TAU * mode as f64 / length;
                Some(-amplitude * k * (k * x[1]).cos())
            }
            Forcing2d::Diagonal { amplitude } => {
                let (sin, cos) = (TAU * (x[0] + x[1])).sin_cos();
                Some(amplitude * (sin + cos))
            }
        }
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["nu", "drag"]
    }

    fn linear_symbol_derivative(&self, parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(if parameter == 0 { -(k[0] * k[0] + k[1] * k[1]) } else { -1.0 })
    }
}
