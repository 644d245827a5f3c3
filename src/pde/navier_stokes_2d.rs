//! Two-dimensional incompressible Navier-Stokes in vorticity form.

use std::f64::consts::TAU;

use num_complex::Complex64;

use super::{Invariant, Mode, Pde, Wave, constant, require_dim, require_finite, require_non_negative};
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
/// With energy `E = <|u|^2>/2` (without the mean flow's), enstrophy `Z = <omega^2>/2` and palinstrophy
/// `P = <|grad omega|^2>/2`,
///
/// ```text
/// dE/dt = -2 nu Z - 2 drag E + <psi f> ,    dZ/dt = -2 nu P - 2 drag Z + <omega f> .
/// ```
///
/// The mean vorticity is zero. It is conserved by the nonlinear term, and by the linear one without drag. Flows with
/// one wavenumber `|k|`, and parallel flows, have no nonlinear term: [`taylor_green`](Self::taylor_green) and
/// [`laminar`](Self::laminar) are exact solutions, also of the truncated system.
///
/// # Good values
///
/// Kolmogorov flow: box `[0, 2 pi)^2`, `nu = 1e-3`, `drag = 0.1`, forcing amplitude 1 at mode 4 (Kochkov et al., PNAS
/// 2021), `n = 256`, `dt = 5e-3`. Laminar solution `omega = -(A k / (nu k^2 + drag)) cos(k y)`.
///
/// Conventions of other codes: exponax takes `(u, v) = (d_1 psi, -d_0 psi)` of its array axes with
/// `lap psi = +omega`, which is this equation with its two axes exchanged, adds `+lambda omega` for drag, and multiplies
/// its Kolmogorov forcing by the integer mode instead of `k`.
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

    /// Vorticity at `(x, y)` and `t` of the Taylor-Green vortices `2 k cos(k x) cos(k y)` (velocity amplitude 1), which
    /// decay at the rate `2 nu k^2 + drag` and drift with the mean flow: exact without forcing.
    pub fn taylor_green(&self, k: f64, x: [f64; 2], t: f64) -> f64 {
        let [x, y] = [0, 1].map(|axis| x[axis] - self.mean_flow[axis] * t);
        2.0 * k * (k * x).cos() * (k * y).cos() * (-(2.0 * self.nu * k * k + self.drag) * t).exp()
    }

    /// Steady vorticity `-f / L` at `(x, y)` of the laminar flow that the forcing drives; zero without forcing.
    pub fn laminar(&self, x: [f64; 2]) -> f64 {
        self.forcing.mode().map_or(0.0, |(k, f)| {
            let response = -f / self.linear_symbol(0, k);
            (response * Complex64::cis(k[0] * x[0] + k[1] * x[1])).re
        })
    }
}

impl Forcing2d {
    /// Wavenumber and complex amplitude of `f = Re(f_hat exp(i k . x))`.
    fn mode(&self) -> Option<([f64; 3], Complex64)> {
        match *self {
            Self::None => None,
            Self::Kolmogorov { amplitude, mode, length } => {
                let k = TAU * mode as f64 / length;
                Some(([0.0, k, 0.0], Complex64::from(-amplitude * k)))
            }
            Self::Diagonal { amplitude } => Some(([TAU, TAU, 0.0], Complex64::new(amplitude, -amplitude))),
        }
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
        require_dim(self.id(), grid, 2..=2)?;
        require_non_negative("nu", self.nu)?;
        require_finite("drag", self.drag)?;
        require_finite("mean_flow", self.mean_flow[0])?;
        require_finite("mean_flow", self.mean_flow[1])?;
        match self.forcing {
            Forcing2d::Kolmogorov { length, .. } if length != grid.lengths()[1] => {
                Err(Error::parameter("forcing length", length, "must be the period of the box in y"))
            }
            Forcing2d::Diagonal { .. } if grid.lengths() != [1.0, 1.0] => {
                let lengths = format!("{:?}", grid.lengths());
                Err(Error::parameter("lengths", lengths, "must be [1, 1] for the diagonal forcing"))
            }
            _ => Ok(()),
        }
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
        let (k, f) = self.forcing.mode()?;
        Some((f * Complex64::cis(k[0] * x[0] + k[1] * x[1])).re)
    }

    // The amplitude of the forcing is not among them: the stepper differentiates with respect to the forcing field.
    fn parameters(&self) -> &'static [&'static str] {
        &["nu", "drag", "mean_flow_x", "mean_flow_y"]
    }

    fn parameter_mut(&mut self, parameter: usize) -> &mut f64 {
        match parameter {
            0 => &mut self.nu,
            1 => &mut self.drag,
            _ => &mut self.mean_flow[parameter - 2],
        }
    }

    fn linear_symbol_derivative(&self, parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        match parameter {
            0 => Complex64::from(-Mode(k).square()),
            1 => Complex64::from(-1.0),
            _ => Complex64::new(0.0, -k[parameter - 2]),
        }
    }

    fn invariants(&self) -> Vec<Invariant> {
        let Self { nu, drag, .. } = *self;
        // sum of |k|^(2 p) conj(a) b without the mean.
        let product = |k: Mode, power: i32, a: Complex64, b: Complex64| {
            if k.square() == 0.0 { 0.0 } else { k.square().powi(power) * (a.conj() * b).re }
        };
        vec![
            Invariant::balanced(
                "energy",
                move |s| 0.5 * s.mode_sum(|k, w, _| product(k, -1, w[0], w[0])),
                move |s| {
                    s.mode_sum(|k, w, f| -nu * product(k, 0, w[0], w[0]) + product(k, -1, w[0], f[0] - w[0] * drag))
                },
            ),
            Invariant::balanced(
                "enstrophy",
                move |s| 0.5 * s.mode_sum(|k, w, _| product(k, 0, w[0], w[0])),
                move |s| {
                    s.mode_sum(|k, w, f| -nu * product(k, 1, w[0], w[0]) + product(k, 0, w[0], f[0] - w[0] * drag))
                },
            ),
        ]
    }
}
