//! Starts that the literature keeps using.

use std::f64::consts::{PI, TAU};

use ndarray::{ArrayD, Axis, stack};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{RandomFourier, require_dim, sample};
use crate::error::{Error, Result};
use crate::field::Grid;

/// Kuramoto-Sivashinsky start of Kassam and Trefethen, `cos(theta) (1 + sin(theta))`, `theta = 2 pi x / L`; `[x]`.
///
/// On their box `L = 32 pi` it is `cos(x/16) (1 + sin(x/16))`.
///
/// # Source
///
/// A.-K. Kassam and L. N. Trefethen, "Fourth-order time-stepping for stiff PDEs", SIAM J. Sci. Comput. 26 (2005).
///
/// # Errors
///
/// [`Error::Parameter`] if the grid has more than one dimension.
pub fn kassam_trefethen(grid: &Grid) -> Result<ArrayD<f64>> {
    require_dim(grid, 1..=1)?;
    let k = TAU / grid.lengths()[0];
    Ok(sample(grid, |x| (k * x[0]).cos() * (1.0 + (k * x[0]).sin())))
}

/// Allen-Cahn start of the PINN literature, `xi^2 cos(pi xi)` with `xi = 2 x / L - 1` in `[-1, 1)`; `[x]`.
///
/// The box `[0, 2)` stands for the usual `[-1, 1]`, point 0 being `xi = -1`. The periodic continuation is continuous,
/// its derivative jumps at the seam: Fourier coefficients fall as `m^-2`.
///
/// # Source
///
/// M. Raissi, P. Perdikaris and G. E. Karniadakis, "Physics-informed neural networks", J. Comput. Phys. 378 (2019).
///
/// # Errors
///
/// [`Error::Parameter`] if the grid has more than one dimension.
pub fn allen_cahn(grid: &Grid) -> Result<ArrayD<f64>> {
    require_dim(grid, 1..=1)?;
    let length = grid.lengths()[0];
    Ok(sample(grid, |x| {
        let xi = 2.0 * x[0] / length - 1.0;
        xi * xi * (PI * xi).cos()
    }))
}

/// Gray-Scott start: `(u, v) = (1, 0)` with seeded cubes of `(1/2, 1/4)` and a little noise.
///
/// Pearson's start is one square of 20 of 256 points and 1 % noise. Here the noise is smooth (modes up to 8), so that a
/// seed means the same function at every resolution.
///
/// # Source
///
/// J. E. Pearson, "Complex patterns in a simple system", Science 261 (1993).
///
/// # Example
///
/// ```
/// use parseval::{field::Grid, initial::GrayScottSquares};
/// let uv = GrayScottSquares::default().sample(&Grid::cube(2, 64, 2.5)?, 1)?;
/// assert_eq!(uv.shape(), [2, 64, 64]);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrayScottSquares {
    /// Number of squares; a single one sits in the middle, more are placed at random.
    pub count: usize,
    /// Side of a square in sides of the box, in (0, 1].
    pub side: f64,
    /// Largest noise added to either species, >= 0.
    pub noise: f64,
}

impl Default for GrayScottSquares {
    /// Pearson's: one square of 20/256 of the side, 1 % noise.
    fn default() -> Self {
        Self { count: 1, side: 20.0 / 256.0, noise: 0.01 }
    }
}

impl GrayScottSquares {
    /// The two species of a seed, `[2, space]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `count` is 0, `side` or `noise` is out of range, or noise is asked for on 16 points an
    /// axis or fewer.
    pub fn sample(&self, grid: &Grid, seed: u64) -> Result<ArrayD<f64>> {
        if self.count == 0 {
            return Err(Error::parameter("count", self.count, "must be at least 1"));
        }
        if !(self.side > 0.0 && self.side <= 1.0) {
            return Err(Error::parameter("side", self.side, "must be in (0, 1]"));
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return Err(Error::parameter("noise", self.noise, "must be >= 0 and finite"));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // Centres in sides of the box.
        let centres: Vec<Vec<f64>> = match self.count {
            1 => vec![vec![0.5; grid.dim()]],
            count => (0..count).map(|_| (0..grid.dim()).map(|_| rng.random()).collect()).collect(),
        };
        let inside = |x: &[f64]| {
            centres.iter().any(|centre| {
                x.iter().zip(centre).zip(grid.lengths()).all(|((x, c), length)| {
                    let offset = (x / length - c + 0.5).rem_euclid(1.0) - 0.5;
                    offset.abs() <= 0.5 * self.side
                })
            })
        };
        let mut u = sample(grid, |x| if inside(x) { 0.5 } else { 1.0 });
        let mut v = sample(grid, |x| if inside(x) { 0.25 } else { 0.0 });
        if self.noise > 0.0 {
            let smooth = RandomFourier { max: Some(self.noise), ..RandomFourier::new(8) };
            u += &smooth.sample(grid, rng.random())?;
            v += &smooth.sample(grid, rng.random())?;
        }
        Ok(stack(Axis(0), &[u.view(), v.view()]).expect("species have equal shapes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kassam_trefethen_is_as_printed_on_their_box() {
        let grid = Grid::cube(1, 128, 32.0 * PI).unwrap();
        let u = kassam_trefethen(&grid).unwrap();
        for (u, x) in u.iter().zip(grid.coordinates(0)) {
            assert!((u - (x / 16.0).cos() * (1.0 + (x / 16.0).sin())).abs() < 1e-14);
        }
    }

    #[test]
    fn allen_cahn_is_as_printed_on_the_shifted_box() {
        let grid = Grid::cube(1, 8, 2.0).unwrap();
        let u = allen_cahn(&grid).unwrap();
        for (u, x) in u.iter().zip(grid.coordinates(0)) {
            assert!((u - (x - 1.0).powi(2) * (PI * (x - 1.0)).cos()).abs() < 1e-15);
        }
        assert!(allen_cahn(&Grid::cube(2, 8, 2.0).unwrap()).is_err());
    }

    #[test]
    fn squares_have_the_published_concentrations() {
        let grid = Grid::cube(2, 256, 2.5).unwrap();
        let uv = GrayScottSquares::default().sample(&grid, 1).unwrap();
        assert!((uv[[0, 128, 128]] - 0.5).abs() < 0.02 && (uv[[1, 128, 128]] - 0.25).abs() < 0.02);
        assert!((uv[[0, 5, 5]] - 1.0).abs() < 0.02 && uv[[1, 5, 5]].abs() < 0.02);
        let clean = GrayScottSquares { noise: 0.0, ..Default::default() }.sample(&grid, 1).unwrap();
        // 20 intervals have 21 points.
        assert_eq!(clean.index_axis(Axis(0), 1).iter().filter(|v| **v == 0.25).count(), 21 * 21);
    }

    #[test]
    fn a_seed_is_the_same_start_at_every_resolution() {
        let squares = GrayScottSquares { count: 6, side: 0.13, noise: 0.02 };
        let (coarse, fine) = (Grid::cube(2, 20, 1.0).unwrap(), Grid::cube(2, 40, 1.0).unwrap());
        let (a, b) = (squares.sample(&coarse, 5).unwrap(), squares.sample(&fine, 5).unwrap());
        let shared = b.slice(ndarray::s![.., ..;2, ..;2]).to_owned().into_dyn();
        assert!((a - shared).iter().all(|d| d.abs() < 1e-14));
        assert!(squares.sample(&Grid::cube(2, 16, 1.0).unwrap(), 0).is_err(), "noise up to mode 8");
        assert!(GrayScottSquares { count: 0, ..squares }.sample(&coarse, 0).is_err());
        assert!(GrayScottSquares { side: 1.5, ..squares }.sample(&coarse, 0).is_err());
    }
}
