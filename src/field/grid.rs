//! The periodic box.

use std::f64::consts::TAU;

use crate::error::{Error, Result};

/// Uniform grid on the periodic box `[0, L_1) x ... x [0, L_d)`, `x_j = j L / n`, right ends excluded, d = 1, 2, 3.
///
/// Axis 0 is `x`, axis 1 `y`, axis 2 `z`; the last axis is contiguous in memory and is the one whose spectrum is
/// halved by the real transform.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    shape: Vec<usize>,
    lengths: Vec<f64>,
}

impl Grid {
    /// Grid with `shape[i]` points and period `lengths[i]` (length unit of the problem) along axis `i`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are 1 to 3 axes, each with at least 4 points and a positive finite period;
    /// [`Error::Shape`] if the two slices differ in length.
    ///
    /// # Example
    ///
    /// ```
    /// use parseval::field::Grid;
    /// let grid = Grid::new(&[8, 16], &[1.0, 2.0])?;
    /// assert_eq!(grid.half_shape(), [8, 9]);
    /// assert_eq!(grid.spacing(1), 0.125);
    /// # Ok::<(), parseval::Error>(())
    /// ```
    pub fn new(shape: &[usize], lengths: &[f64]) -> Result<Self> {
        if shape.is_empty() || shape.len() > 3 {
            return Err(Error::parameter("shape", format!("{shape:?}"), "must have 1, 2 or 3 axes"));
        }
        if shape.len() != lengths.len() {
            return Err(Error::shape("lengths", &[shape.len()], &[lengths.len()]));
        }
        if let Some(n) = shape.iter().find(|&&n| n < 4) {
            return Err(Error::parameter("n", n, "must be at least 4 points an axis"));
        }
        if let Some(l) = lengths.iter().find(|l| !l.is_finite() || **l <= 0.0) {
            return Err(Error::parameter("length", l, "must be > 0 and finite"));
        }
        Ok(Self { shape: shape.to_vec(), lengths: lengths.to_vec() })
    }

    /// Grid with the same `n` and period on each of `dim` axes.
    ///
    /// # Errors
    ///
    /// As [`Grid::new`].
    pub fn cube(dim: usize, n: usize, length: f64) -> Result<Self> {
        Self::new(&vec![n; dim], &vec![length; dim])
    }

    /// Number of space dimensions.
    pub fn dim(&self) -> usize {
        self.shape.len()
    }

    /// Points along each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Period of each axis.
    pub fn lengths(&self) -> &[f64] {
        &self.lengths
    }

    /// Points altogether, `N_1 ... N_d`.
    pub fn points(&self) -> usize {
        self.shape.iter().product()
    }

    /// Volume of the box, `L_1 ... L_d`.
    pub fn volume(&self) -> f64 {
        self.lengths.iter().product()
    }

    /// Grid spacing `L / n` of an axis.
    pub fn spacing(&self, axis: usize) -> f64 {
        self.lengths[axis] / self.shape[axis] as f64
    }

    /// Coordinates `x_j = j L / n` of an axis.
    pub fn coordinates(&self, axis: usize) -> Vec<f64> {
        let n = self.shape[axis];
        (0..n).map(|j| j as f64 * self.lengths[axis] / n as f64).collect()
    }

    /// Shape of the half spectrum: the last axis becomes `n / 2 + 1`.
    pub fn half_shape(&self) -> Vec<usize> {
        let mut shape = self.shape.clone();
        let last = shape.len() - 1;
        shape[last] = shape[last] / 2 + 1;
        shape
    }

    /// Lowest angular wavenumber `2 pi / L` of an axis.
    pub fn k_unit(&self, axis: usize) -> f64 {
        TAU / self.lengths[axis]
    }

    /// Integer modes of an axis as the half spectrum stores them: `0, .., n/2` on the last axis, else
    /// `0, 1, .., -2, -1` with the Nyquist mode of an even axis counted as `-n/2`.
    pub fn modes(&self, axis: usize) -> Vec<i64> {
        let n = self.shape[axis] as i64;
        if axis + 1 == self.dim() {
            (0..=n / 2).collect()
        } else {
            (0..n).map(|i| if i < (n + 1) / 2 { i } else { i - n }).collect()
        }
    }

    /// Angular wavenumbers `k = 2 pi m / L` in the order of [`Grid::modes`].
    pub fn wavenumbers(&self, axis: usize) -> Vec<f64> {
        let unit = self.k_unit(axis);
        self.modes(axis).into_iter().map(|m| m as f64 * unit).collect()
    }

    /// The same box with `n` points on every axis scaled as `shape`.
    ///
    /// # Errors
    ///
    /// As [`Grid::new`].
    pub fn with_shape(&self, shape: &[usize]) -> Result<Self> {
        Self::new(shape, &self.lengths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_follow_fft_order_with_negative_nyquist() {
        let grid = Grid::new(&[6, 5, 8], &[1.0, 1.0, 2.0]).unwrap();
        assert_eq!(grid.modes(0), [0, 1, 2, -3, -2, -1]);
        assert_eq!(grid.modes(1), [0, 1, 2, -2, -1]);
        assert_eq!(grid.modes(2), [0, 1, 2, 3, 4]);
        assert!((grid.wavenumbers(2)[3] - 3.0 * std::f64::consts::PI).abs() < 1e-15);
    }

    #[test]
    fn grid_refuses_what_is_no_box() {
        for (shape, lengths) in [
            (vec![], vec![]),
            (vec![8], vec![0.0]),
            (vec![8], vec![f64::NAN]),
            (vec![2], vec![1.0]),
            (vec![8], vec![1.0, 1.0]),
        ] {
            assert!(Grid::new(&shape, &lengths).is_err(), "{shape:?} {lengths:?}");
        }
    }
}
