//! Neural operators on periodic space-time fields, and what certifies their predictions.
//!
//! An [`Operator`] maps `m` frames of a trajectory to the next `l`. [`SfnoConfig`] and [`FnoConfig`] describe the two
//! families; [`Model`] chooses by name. [`refine`] measures, without the true solution, how far a prediction is from one,
//! and repairs it.

mod fno;
mod predictor;
pub mod refine;
mod sfno;
mod solenoidal;

use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::autodiff::{Parameters, Tape, Var};
use crate::error::{Error, Result};
use crate::field::Real;

pub use fno::{Fno, FnoConfig, Time};
pub use predictor::{Predictor, StepReport, Trainer};
pub use sfno::{Sfno, SfnoConfig};
pub use solenoidal::Solenoidal;

/// A map from frames to later frames.
pub trait Operator<T: Real>: Send + Sync {
    /// Records the prediction of `frames` frames, `[batch, channel, frames, x, y]`, from `[batch, channel, t, x, y]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the input has other axes, channels or (for an operator that needs it) frames;
    /// [`Error::Parameter`] if a grid is too coarse for the kept modes.
    fn record(&self, tape: &mut Tape<T>, input: Var, frames: usize) -> Result<Var>;
}

/// An operator by name: `kind = "sfno"` or `"fno"`, and its sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Model {
    /// [`Sfno`].
    Sfno(SfnoConfig),
    /// [`Fno`].
    Fno(FnoConfig),
}

impl Model {
    /// Adds the parameters of an operator from `input_frames` frames of `channels` channels.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for sizes that make no operator.
    pub fn init<T: Real>(
        &self,
        channels: usize,
        input_frames: usize,
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Box<dyn Operator<T>>> {
        Ok(match self {
            Self::Sfno(config) => Box::new(config.init(channels, parameters, rng)?),
            Self::Fno(config) => Box::new(config.init(channels, input_frames, parameters, rng)?),
        })
    }
}

/// Shape of the input of an operator, if it is one.
fn check_input<T: Real>(tape: &Tape<T>, input: Var, channels: usize) -> Result<[usize; 5]> {
    let shape = tape.shape(input);
    match <[usize; 5]>::try_from(shape) {
        Ok(five) if five[1] == channels && five.iter().all(|&n| n > 0) => Ok(five),
        _ => Err(Error::shape("input of the operator [batch, channel, t, x, y]", &[1, channels, 1, 1, 1], shape)),
    }
}

#[cfg(test)]
mod tests;
