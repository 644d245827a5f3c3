//! Random Fourier series.

use ndarray::{ArrayD, Axis};
use serde::{Deserialize, Serialize};

use super::random_modes::{random_modes, reference_grid};
use super::{require_finite, require_positive, require_resolved};
use crate::error::Result;
use crate::field::Grid;
use crate::spectral::Transform;

/// Decay of the amplitudes with `|m| = sqrt(m_1^2 + .. + m_d^2)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AmplitudeLaw {
    /// All modes alike.
    Flat,
    /// `(1 + |m|^2)^(-exponent / 2)`.
    Power {
        /// Decay exponent.
        exponent: f64,
    },
    /// `exp(-|m|^2 / (2 width^2))`.
    Gaussian {
        /// Width in modes.
        width: f64,
    },
}

/// Random Fourier series `u(x) = sum_{|m_i| <= cut} a(|m|) xi_m exp(i k_m x)` with independent normal `xi_m`,
/// `E |xi_m|^2 = 1`.
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::RandomFourier};
/// let series = RandomFourier::new(5);
/// let (coarse, fine) = (Grid::cube(1, 16, 1.0)?, Grid::cube(1, 32, 1.0)?);
/// let (u, v) = (series.sample(&coarse, 7)?, series.sample(&fine, 7)?);
/// assert!((u[3] - v[6]).abs() < 1e-13); // the same function on both grids
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RandomFourier {
    /// Highest mode on each axis.
    pub cut: usize,
    /// Decay of the amplitudes.
    pub amplitude: AmplitudeLaw,
    /// Whether the mean is zero; otherwise it is a mode like the others.
    pub mean_free: bool,
    /// If given, the field is scaled to this maximum of `|u|`. The maximum is taken on a grid of at least `8 cut`
    /// points an axis, the same for every resolution; on the caller's grid it may differ by a few per cent.
    pub max: Option<f64>,
}

impl RandomFourier {
    /// Modes up to `cut`, flat amplitudes, no mean, maximum 1.
    pub fn new(cut: usize) -> Self {
        Self { cut, amplitude: AmplitudeLaw::Flat, mean_free: true, max: Some(1.0) }
    }

    /// The field of a seed, `[space]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) if `cut` is 0 or at least half the points of an axis, or a
    /// number is out of range.
    pub fn sample(&self, grid: &Grid, seed: u64) -> Result<ArrayD<f64>> {
        require_positive("cut", self.cut as f64)?;
        require_resolved(grid, "cut", self.cut)?;
        match self.amplitude {
            AmplitudeLaw::Flat => {}
            AmplitudeLaw::Power { exponent } => require_finite("exponent", exponent)?,
            AmplitudeLaw::Gaussian { width } => require_positive("width", width)?,
        }
        if let Some(max) = self.max {
            require_positive("max", max)?;
        }
        let mut u = self.unscaled(grid, seed);
        if let Some(max) = self.max {
            let reference = self.unscaled(&reference_grid(grid, self.cut), seed);
            let largest = reference.iter().fold(0.0f64, |largest, u| largest.max(u.abs()));
            u *= max / largest;
        }
        Ok(u)
    }

    fn unscaled(&self, grid: &Grid, seed: u64) -> ArrayD<f64> {
        let u_hat = random_modes(grid, 1, seed, |m| self.amplitude(m));
        Transform::plan(grid).inverse(u_hat.index_axis(Axis(0), 0))
    }

    fn amplitude(&self, m: &[i64]) -> f64 {
        let m2 = m.iter().map(|m| m * m).sum::<i64>() as f64;
        if m.iter().any(|m| m.unsigned_abs() as usize > self.cut) || (self.mean_free && m2 == 0.0) {
            return 0.0;
        }
        match self.amplitude {
            AmplitudeLaw::Flat => 1.0,
            AmplitudeLaw::Power { exponent } => (1.0 + m2).powf(-exponent / 2.0),
            AmplitudeLaw::Gaussian { width } => (-m2 / (2.0 * width * width)).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random_modes::tests::assert_same_modes;
    use super::*;
    use crate::error::Error;
    use crate::spectral::Resample;

    #[test]
    fn a_seed_is_the_same_function_at_every_resolution() {
        let series = RandomFourier { amplitude: AmplitudeLaw::Power { exponent: 1.5 }, ..RandomFourier::new(4) };
        let fine = Grid::new(&[20, 21, 16], &[1.0, 2.0, 3.0]).unwrap();
        let coarse = fine.with_shape(&[9, 10, 12]).unwrap();
        let (u, v) = (series.sample(&fine, 3).unwrap(), series.sample(&coarse, 3).unwrap());
        let resampled = Resample::plan(&fine, &coarse).unwrap().apply(u.view());
        assert!((&resampled - &v).iter().all(|e| e.abs() < 1e-14), "fields of maximum 1");
        assert_same_modes((&fine, &u), (&coarse, &v));
        assert_eq!(series.sample(&fine, 3).unwrap(), u);
        assert!((&series.sample(&fine, 4).unwrap() - &u).iter().any(|d| d.abs() > 0.1));
    }

    #[test]
    fn maximum_and_mean_are_as_asked() {
        let grid = Grid::cube(1, 64, 2.0).unwrap();
        // cut 8 is scaled on 64 points, here the grid itself.
        let u = RandomFourier { max: Some(3.0), ..RandomFourier::new(8) }.sample(&grid, 1).unwrap();
        let largest = u.iter().fold(0.0f64, |largest, u| largest.max(u.abs()));
        assert!((largest - 3.0).abs() < 1e-14 && u.sum().abs() < 1e-12);
        let with_mean = RandomFourier { mean_free: false, ..RandomFourier::new(8) }.sample(&grid, 1).unwrap();
        assert!(with_mean.sum().abs() > 1e-3);
    }

    #[test]
    fn an_unresolved_cut_is_refused() {
        let grid = Grid::cube(1, 16, 1.0).unwrap();
        for bad in
            [RandomFourier::new(8), RandomFourier::new(0), RandomFourier { max: Some(-1.0), ..RandomFourier::new(3) }]
        {
            assert!(matches!(bad.sample(&grid, 0), Err(Error::Parameter { .. })));
        }
    }
}
