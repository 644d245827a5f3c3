//! Initial conditions: random fields, solitons and the classical starts.
//!
//! Every function returns values on a [`Grid`] in double precision, shape `[space]` for a scalar and
//! `[components, space]` for a vector field. Random fields take a `u64` seed and draw each Fourier mode from a stream
//! of its own (ChaCha8, numbered by the mode), so **a seed means the same field at every resolution**: a finer grid
//! adds modes and changes none.
//!
//! | family | what |
//! |---|---|
//! | [`RandomFourier`] | random Fourier series up to a mode |
//! | [`GaussianField`] | Gaussian field `N(0, sigma^2 (-lap + tau^2)^-alpha)`, presets of the FNO data sets |
//! | [`FilteredVelocity`] | divergence-free velocity peaked at a wavenumber (JAX-CFD) |
//! | [`McWilliams`] | decaying turbulence, 2-D vorticity |
//! | [`Kdv`] | solitons of the Korteweg-de Vries equation, exact at any time; the cosine of Zabusky and Kruskal |
//! | [`taylor_green`], [`abc`] | vortices with known solutions |
//! | [`modes`] | a sum of given cosines |
//! | [`classical`] | Kassam-Trefethen, Allen-Cahn, Gray-Scott |

pub mod abc;
pub mod classical;
mod filtered_velocity;
mod gaussian;
mod mcwilliams;
pub mod modes;
mod random_fourier;
mod random_modes;
mod soliton;
pub mod taylor_green;

pub use classical::GrayScottSquares;
pub use filtered_velocity::FilteredVelocity;
pub use gaussian::GaussianField;
pub use mcwilliams::{McWilliams, McWilliamsVariant};
pub use modes::CosineMode;
pub use random_fourier::{AmplitudeLaw, RandomFourier};
pub use soliton::{Kdv, Soliton, zabusky_kruskal};

use ndarray::{ArrayD, IxDyn};

use crate::error::{Error, Result};
use crate::field::Grid;

/// Samples a function of the coordinates.
fn sample(grid: &Grid, mut f: impl FnMut(&[f64]) -> f64) -> ArrayD<f64> {
    let coordinates: Vec<_> = (0..grid.dim()).map(|axis| grid.coordinates(axis)).collect();
    let mut x = vec![0.0; grid.dim()];
    ArrayD::from_shape_fn(grid.shape(), |index: IxDyn| {
        for axis in 0..x.len() {
            x[axis] = coordinates[axis][index[axis]];
        }
        f(&x)
    })
}

/// Refuses grids of other dimensions.
fn require_dim(grid: &Grid, allowed: std::ops::RangeInclusive<usize>) -> Result<()> {
    if allowed.contains(&grid.dim()) {
        return Ok(());
    }
    let (low, high) = allowed.into_inner();
    let rule = if low == high { format!("must be {low}") } else { format!("must be {low} to {high}") };
    Err(Error::parameter("grid.dim", grid.dim(), rule))
}

/// Refuses boxes with unequal sides.
fn require_cube(grid: &Grid) -> Result<()> {
    if grid.lengths().iter().all(|l| *l == grid.lengths()[0]) {
        return Ok(());
    }
    Err(Error::parameter("grid.lengths", format!("{:?}", grid.lengths()), "must be equal on all axes"))
}

/// Refuses what is not a positive finite number.
fn require_positive(name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(Error::parameter(name, value, "must be > 0 and finite"))
}

/// Refuses what is not a finite number.
fn require_finite(name: &str, value: f64) -> Result<()> {
    if value.is_finite() { Ok(()) } else { Err(Error::parameter(name, value, "must be finite")) }
}

/// Refuses a highest mode at or above the Nyquist mode of an axis.
fn require_resolved(grid: &Grid, name: &str, mode: usize) -> Result<()> {
    match grid.shape().iter().find(|&&n| 2 * mode >= n) {
        Some(n) => Err(Error::parameter(name, mode, format!("must be below half of the {n} points of each axis"))),
        None => Ok(()),
    }
}
