//! Velocities without divergence, whatever the network says.

use super::Operator;
use crate::autodiff::{Tape, Var};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::nn::{Helmholtz, permute};

/// `P N(u)`: an operator on velocities `[batch, 2, t, x, y]` followed by the Leray projection `P` of each frame.
pub struct Solenoidal<T: Real> {
    inner: Box<dyn Operator<T>>,
    plan: Helmholtz<T>,
}

impl<T: Real> Solenoidal<T> {
    /// Projects the frames of an operator on fields of `channels` channels on a grid.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are two channels on a grid of two axes.
    pub fn new(inner: Box<dyn Operator<T>>, channels: usize, grid: &Grid) -> Result<Self> {
        if channels != 2 || grid.dim() != 2 {
            let given = format!("{channels} channels in {} dimensions", grid.dim());
            return Err(Error::parameter("divergence_free", given, "needs the two components of a plane velocity"));
        }
        Ok(Self { inner, plan: Helmholtz::plan(grid)? })
    }
}

impl<T: Real> Operator<T> for Solenoidal<T> {
    fn record(&self, tape: &mut Tape<T>, input: Var, frames: usize) -> Result<Var> {
        let u = self.inner.record(tape, input, frames)?;
        let by_frame = permute(tape, u, &[0, 2, 1, 3, 4])?;
        let projected = self.plan.leray(tape, by_frame)?;
        permute(tape, projected, &[0, 2, 1, 3, 4])
    }
}
