//! Three-dimensional incompressible Navier-Stokes in velocity form.

use std::f64::consts::TAU;

use num_complex::Complex64;

use super::{Invariant, Mode, Pde, Wave, constant, require_dim, require_non_negative};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::simd::{Complex, Lanes};

/// Steady, divergence-free forcing of the velocity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Forcing3d {
    /// Free decay.
    None,
    /// `f = (A sin(k y), 0, 0)` with `k = 2 pi mode / L_y` (Kolmogorov flow).
    Kolmogorov {
        /// Amplitude `A`, length / time^2.
        amplitude: f64,
        /// Number of periods in the box.
        mode: usize,
        /// Period `L_y` of the box.
        length: f64,
    },
}

/// `u_t + u . grad u = -grad p + nu lap u + f`, `div u = 0`.
///
/// `L(k) = -nu |k|^2`. The state is the velocity and must start divergence-free; it stays so, because the tendency is
/// projected with `Pi = 1 - k k^T / |k|^2`. The nonlinear term costs eight real transforms (Basdevant, J. Comput. Phys.
/// 50, 1983): three inverse ones for the velocity, five forward ones for the symmetric products with the trace removed,
///
/// ```text
/// T_ij = u_i u_j - delta_ij w^2 ,    N_hat = -Pi (i k_j T_hat_ij) ,
/// ```
///
/// where the removed `grad w^2` is absorbed by the pressure. With exact dealiasing this equals the rotational form
/// `Pi (u x omega)`, which costs nine. The mean velocity is conserved.
///
/// With energy `E = <|u|^2>/2`, enstrophy `Z = <|omega|^2>/2` and helicity `H = <u . omega>`,
/// `dE/dt = -2 nu Z + <u . f>` and `dH/dt = -2 nu <omega . curl omega> + 2 <omega . f>`.
///
/// # Good values
///
/// Taylor-Green vortex `u = (sin x cos y cos z, -cos x sin y cos z, 0)` on `[0, 2 pi)^3`: `nu = 1/100`, `n = 64`,
/// `dt = 0.02`; at `nu = 1/1600` with `n = 256` or more the dissipation peaks near `t = 9`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NavierStokes3d {
    /// Kinematic viscosity, length^2 / time.
    pub nu: f64,
    /// Steady forcing; a field of the user's own is given to the stepper instead.
    pub forcing: Forcing3d,
}

impl NavierStokes3d {
    /// Free decay with viscosity `nu`.
    pub fn decaying(nu: f64) -> Self {
        Self { nu, forcing: Forcing3d::None }
    }

    /// Kolmogorov flow on a box of period `length` in `y`.
    pub fn kolmogorov(nu: f64, amplitude: f64, mode: usize, length: f64) -> Self {
        Self { nu, forcing: Forcing3d::Kolmogorov { amplitude, mode, length } }
    }

    /// Velocity at `x` and `t` of the Arnold-Beltrami-Childress flow of amplitudes `(A, B, C)`,
    ///
    /// ```text
    /// u = (A sin(k z) + C cos(k y), B sin(k x) + A cos(k z), C sin(k y) + B cos(k x)) exp(-nu k^2 t) .
    /// ```
    ///
    /// `curl u = k u`, so that the nonlinear term is a gradient: exact without forcing.
    pub fn abc_flow(&self, amplitudes: [f64; 3], k: f64, x: [f64; 3], t: f64) -> [f64; 3] {
        let [a, b, c] = amplitudes.map(|amplitude| amplitude * (-self.nu * k * k * t).exp());
        let [(sin_x, cos_x), (sin_y, cos_y), (sin_z, cos_z)] = x.map(|x| (k * x).sin_cos());
        [a * sin_z + c * cos_y, b * sin_x + a * cos_z, c * sin_y + b * cos_x]
    }

    /// Steady velocity at `x` of the laminar flow that the forcing drives, `f / (nu k^2)`; zero without forcing.
    pub fn laminar(&self, x: [f64; 3]) -> [f64; 3] {
        match self.forcing {
            Forcing3d::None => [0.0; 3],
            Forcing3d::Kolmogorov { amplitude, mode, length } => {
                let k = TAU * mode as f64 / length;
                [amplitude * (k * x[1]).sin() / (self.nu * k * k), 0.0, 0.0]
            }
        }
    }
}

/// `Pi t = t - k (k . t) / |k|^2`; the mean is left alone.
#[inline(always)]
fn project<V: Lanes>(wave: &Wave<V>, t: [Complex<V>; 3]) -> [Complex<V>; 3] {
    let [kx, ky, kz] = wave.k;
    let divergence = t[0].scale(kx).add_scaled(ky, t[1]).add_scaled(kz, t[2]).scale(-wave.inverse_k2);
    [t[0].add_scaled(kx, divergence), t[1].add_scaled(ky, divergence), t[2].add_scaled(kz, divergence)]
}

impl Pde for NavierStokes3d {
    const CHANNELS: usize = 3;
    const FIELDS: usize = 3;
    const PRODUCTS: usize = 5;

    fn id(&self) -> &'static str {
        "navier_stokes_3d"
    }

    fn equation(&self) -> String {
        let forcing = match self.forcing {
            Forcing3d::None => "",
            Forcing3d::Kolmogorov { .. } => " + (amplitude sin(k y), 0, 0)",
        };
        format!("u_t + u . grad u = -grad p + nu lap u{forcing}, div u = 0")
    }

    fn channel_names(&self) -> Vec<&'static str> {
        vec!["velocity_x", "velocity_y", "velocity_z"]
    }

    fn validate(&self, grid: &Grid) -> Result<()> {
        require_dim(self.id(), grid, 3..=3)?;
        require_non_negative("nu", self.nu)?;
        match self.forcing {
            Forcing3d::Kolmogorov { length, .. } if length != grid.lengths()[1] => {
                Err(Error::parameter("forcing length", length, "must be the period of the box in y"))
            }
            _ => Ok(()),
        }
    }

    fn linear_symbol(&self, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-self.nu * Mode(k).square())
    }

    // T_xx, T_yy, T_xy, T_xz, T_yz; T_zz = 0.
    #[inline(always)]
    fn products<V: Lanes>(&self, fields: &[V], products: &mut [V]) {
        let (u, v, w) = (fields[0], fields[1], fields[2]);
        let w2 = w * w;
        products[0] = u.msub(u, w2);
        products[1] = v.msub(v, w2);
        products[2] = u * v;
        products[3] = u * w;
        products[4] = v * w;
    }

    #[inline(always)]
    fn products_jvp<V: Lanes>(&self, fields: &[V], tangent: &[V], products: &mut [V]) {
        let (u, v, w) = (fields[0], fields[1], fields[2]);
        let (du, dv, dw) = (tangent[0], tangent[1], tangent[2]);
        let two = constant::<V>(2.0);
        products[0] = two * u.msub(du, w * dw);
        products[1] = two * v.msub(dv, w * dw);
        products[2] = du.madd(v, u * dv);
        products[3] = du.madd(w, u * dw);
        products[4] = dv.madd(w, v * dw);
    }

    #[inline(always)]
    fn products_vjp<V: Lanes>(&self, fields: &[V], cotangent: &[V], fields_bar: &mut [V]) {
        let (u, v, w) = (fields[0], fields[1], fields[2]);
        let two = constant::<V>(2.0);
        let (xx, yy, xy, xz, yz) = (two * cotangent[0], two * cotangent[1], cotangent[2], cotangent[3], cotangent[4]);
        fields_bar[0] = xx.madd(u, xy.madd(v, xz * w));
        fields_bar[1] = xy.madd(u, yy.madd(v, yz * w));
        fields_bar[2] = xz.madd(u, yz.msub(v, (xx + yy) * w));
    }

    #[inline(always)]
    fn tendency<V: Lanes>(&self, wave: &Wave<V>, products: &[Complex<V>], tendency: &mut [Complex<V>]) {
        let [kx, ky, kz] = wave.k;
        let (xx, yy, xy, xz, yz) = (products[0], products[1], products[2], products[3], products[4]);
        let divergence = [
            xx.scale(kx).add_scaled(ky, xy).add_scaled(kz, xz),
            xy.scale(kx).add_scaled(ky, yy).add_scaled(kz, yz),
            xz.scale(kx).add_scaled(ky, yz),
        ];
        let [x, y, z] = project(wave, divergence);
        tendency[0] = x.mul_neg_i();
        tendency[1] = y.mul_neg_i();
        tendency[2] = z.mul_neg_i();
    }

    #[inline(always)]
    fn tendency_adjoint<V: Lanes>(&self, wave: &Wave<V>, tendency: &[Complex<V>], products: &mut [Complex<V>]) {
        let [kx, ky, kz] = wave.k;
        let [x, y, z] = project(wave, [tendency[0].mul_i(), tendency[1].mul_i(), tendency[2].mul_i()]);
        products[0] = x.scale(kx);
        products[1] = y.scale(ky);
        products[2] = x.scale(ky).add_scaled(kx, y);
        products[3] = x.scale(kz).add_scaled(kx, z);
        products[4] = y.scale(kz).add_scaled(ky, z);
    }

    fn forcing(&self, channel: usize, x: [f64; 3]) -> Option<f64> {
        match self.forcing {
            Forcing3d::Kolmogorov { amplitude, mode, length } if channel == 0 => {
                Some(amplitude * (TAU * mode as f64 * x[1] / length).sin())
            }
            _ => None,
        }
    }

    // The amplitude of the forcing is not among them: the stepper differentiates with respect to the forcing field.
    fn parameters(&self) -> &'static [&'static str] {
        &["nu"]
    }

    fn parameter_mut(&mut self, _parameter: usize) -> &mut f64 {
        &mut self.nu
    }

    fn linear_symbol_derivative(&self, _parameter: usize, _channel: usize, k: [f64; 3]) -> Complex64 {
        Complex64::from(-Mode(k).square())
    }

    fn invariants(&self) -> Vec<Invariant> {
        let nu = self.nu;
        let dot = |a: &[Complex64], b: &[Complex64]| a.iter().zip(b).map(|(a, b)| (a.conj() * b).re).sum::<f64>();
        vec![
            Invariant::conserved("mean velocity x", |s| s.mean(|u| u[0])),
            Invariant::balanced(
                "energy",
                move |s| 0.5 * s.mode_sum(|_, u, _| dot(u, u)),
                move |s| s.mode_sum(|k, u, f| dot(u, f) - nu * k.square() * dot(u, u)),
            ),
            Invariant::balanced(
                "helicity",
                move |s| s.mode_sum(|k, u, _| dot(&k.curl(u), u)),
                move |s| s.mode_sum(|k, u, f| 2.0 * (dot(&k.curl(u), f) - nu * k.square() * dot(&k.curl(u), u))),
            ),
        ]
    }
}
