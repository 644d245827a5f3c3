//! Fourier series of states, and their evaluation anywhere.

use ndarray::Array1;
use num_complex::Complex64;

use crate::error::{Error, Result};
use crate::field::Grid;
use crate::spectral::Transform;

/// A real periodic function `u(x) = Re sum_m a_m exp(i k_m (x - x_0))`, `k_m = 2 pi m / L`, `m = 0..=M`.
///
/// A number is the series with `M = 0`; so the state of an ordinary differential equation is one too.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// `x_0`.
    pub origin: f64,
    /// `L`.
    pub length: f64,
    /// `a_m`: twice the Fourier coefficients but for the mean.
    pub amplitudes: Vec<Complex64>,
}

impl Series {
    /// Interpolates values at `x_j = x_0 + j L / n`, and leaves off the tail of amplitudes below `cut` times the largest.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for fewer than two or an odd number of values, a length that is not positive, or a value that
    /// is not finite.
    pub fn interpolate(origin: f64, length: f64, values: &[f64], cut: f64) -> Result<Self> {
        if let Some(bad) = values.iter().find(|v| !v.is_finite()) {
            return Err(Error::parameter("value of a state", bad, "must be finite"));
        }
        let grid = Grid::new(&[values.len()], &[length])?;
        let n = values.len();
        let hat = Transform::<f64>::plan(&grid).forward(Array1::from(values.to_vec()).into_dyn().view());
        let mut amplitudes: Vec<Complex64> = hat.iter().map(|a| a * (2.0 / n as f64)).collect();
        amplitudes[0] *= 0.5;
        // The highest mode's sine is not seen on the grid.
        amplitudes.truncate(n / 2);
        let mut series = Self { origin, length, amplitudes };
        series.truncate(cut);
        Ok(series)
    }

    /// Leaves off the tail of amplitudes below `cut` times the largest.
    pub fn truncate(&mut self, cut: f64) {
        let largest = self.amplitudes.iter().map(|a| a.norm()).fold(0.0, f64::max);
        let end = self.amplitudes.iter().rposition(|a| a.norm() > cut * largest).map_or(1, |last| last + 1);
        self.amplitudes.truncate(end);
    }

    /// A constant, on any interval.
    pub fn constant(value: f64) -> Self {
        Self { origin: 0.0, length: 1.0, amplitudes: vec![value.into()] }
    }

    /// `k_m`.
    pub fn wavenumber(&self, m: usize) -> f64 {
        std::f64::consts::TAU * m as f64 / self.length
    }

    /// `u` and its derivatives up to `orders.len() - 1` at `x` for the series of the `count` amplitudes `amplitude(m)`.
    pub fn sum(&self, x: f64, count: usize, mut amplitude: impl FnMut(usize) -> Complex64, orders: &mut [f64]) {
        orders.fill(0.0);
        let phase = self.wavenumber(1) * (x - self.origin);
        let rotation = Complex64::cis(phase);
        let mut wave = Complex64::new(1.0, 0.0);
        for m in 0..count {
            // Exact again every 64 modes: products of rotations drift by a rounding each.
            if m % 64 == 0 {
                wave = Complex64::cis(phase * m as f64);
            }
            let mut term = amplitude(m) * wave;
            let ik = Complex64::new(0.0, self.wavenumber(m));
            for order in orders.iter_mut() {
                *order += term.re;
                term *= ik;
            }
            wave *= rotation;
        }
    }

    /// `u` and its derivatives up to `orders.len() - 1` at `x`.
    pub fn evaluate(&self, x: f64, orders: &mut [f64]) {
        self.sum(x, self.amplitudes.len(), |m| self.amplitudes[m], orders);
    }

    /// Values of `derivative` at `n` points `x_0 + j L / n`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an odd `n` or one that is too small for the modes.
    pub fn sample(&self, n: usize, derivative: usize) -> Result<Vec<f64>> {
        if 2 * (self.amplitudes.len() - 1) >= n.max(1) {
            let rule = format!("must be more than twice the highest mode, {}", self.amplitudes.len() - 1);
            return Err(Error::parameter("n", n, rule));
        }
        let grid = Grid::new(&[n], &[self.length])?;
        let mut hat = ndarray::Array1::<Complex64>::zeros(n / 2 + 1);
        for (m, a) in self.amplitudes.iter().enumerate() {
            let ik = Complex64::new(0.0, self.wavenumber(m));
            let half = if m == 0 { 1.0 } else { 0.5 };
            hat[m] = a * ik.powu(derivative as u32) * (half * n as f64);
        }
        Ok(Transform::<f64>::plan(&grid).inverse(hat.into_dyn().view()).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_gives_back_values_and_derivatives() {
        let f = |x: f64| (std::f64::consts::PI * x).sin().exp();
        let values: Vec<f64> = (0..64).map(|j| f(-1.0 + j as f64 / 32.0)).collect();
        let series = Series::interpolate(-1.0, 2.0, &values, 1e-15).unwrap();
        assert!(series.amplitudes.len() < 20, "coefficients of exp(sin) fall faster than exponentially");
        let mut u = [0.0; 3];
        for x in [-0.9, 0.123, 0.7, 2.7] {
            series.evaluate(x, &mut u);
            let p = std::f64::consts::PI;
            let (s, c) = (p * x).sin_cos();
            let exact = [f(x), p * c * f(x), p * p * (c * c - s) * f(x)];
            // The derivatives multiply rounding 1e-16 by the highest wavenumber, 60, each time.
            for (k, (u, exact)) in u.iter().zip(exact).enumerate() {
                assert!((u - exact).abs() < 1e-14 * 60f64.powi(k as i32), "{k}: {u} {exact}");
            }
        }
        let again = series.sample(64, 0).unwrap();
        assert!(values.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-14));
    }
}
