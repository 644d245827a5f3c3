//! A trained operator at work, and its training step.

use ndarray::{Array5, ArrayView5};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Model, Operator, Solenoidal};
use crate::autodiff::{Parameters, Tape, Var};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::nn::RelativeSobolev;
use crate::optim::{self, Block, Optimizer, OptimizerConfig};

/// An operator with its parameters and the memory to evaluate it.
///
/// # Example
///
/// ```
/// use ndarray::Array5;
/// use parseval::operator::{Model, Predictor, SfnoConfig};
///
/// let model = Model::Sfno(SfnoConfig { width: 6, modes: 3, modes_time: 3, ..SfnoConfig::default() });
/// let mut predictor = Predictor::<f32>::new(&model, 1, 10, 0, 1)?;
/// let frames = Array5::zeros((2, 1, 10, 16, 16)); // [batch, channel, time, x, y]
/// assert_eq!(predictor.predict(frames.view(), 7)?.dim(), (2, 1, 7, 16, 16));
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct Predictor<T: Real> {
    tape: Tape<T>,
    operator: Box<dyn Operator<T>>,
    channels: usize,
}

impl<T: Real> Predictor<T> {
    /// An operator from `input_frames` frames of `channels` channels with the initial parameters of a seed.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for sizes that make no operator, or no threads.
    pub fn new(model: &Model, channels: usize, input_frames: usize, seed: u64, threads: usize) -> Result<Self> {
        let mut parameters = Parameters::new();
        let operator = model.init(channels, input_frames, &mut parameters, &mut ChaCha8Rng::seed_from_u64(seed))?;
        Ok(Self { tape: Tape::new(parameters, threads)?, operator, channels })
    }

    /// The same operator with every predicted frame projected on the velocities without divergence, on one grid.
    ///
    /// # Errors
    ///
    /// As [`Solenoidal::new`].
    pub fn divergence_free(self, grid: &Grid) -> Result<Self> {
        let operator = Box::new(Solenoidal::new(self.operator, self.channels, grid)?);
        Ok(Self { operator, ..self })
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters<T> {
        self.tape.parameters()
    }

    /// The parameters, to be replaced by trained ones.
    pub fn parameters_mut(&mut self) -> &mut Parameters<T> {
        self.tape.parameters_mut()
    }

    /// The next `frames` frames, `[batch, channel, time, x, y]`.
    ///
    /// # Errors
    ///
    /// As [`Operator::record`].
    pub fn predict(&mut self, input: ArrayView5<T>, frames: usize) -> Result<Array5<T>> {
        self.tape.clear();
        let input = constant(&mut self.tape, input)?;
        let output = self.operator.record(&mut self.tape, input, frames)?;
        let shape: [usize; 5] = self.tape.shape(output).try_into().expect("operators give five axes");
        Ok(Array5::from_shape_vec(shape, self.tape.values(output).to_vec()).expect("as many values as the shape says"))
    }

    /// Tape and operator, for derivatives of a prediction.
    pub fn parts(&mut self) -> (&mut Tape<T>, &dyn Operator<T>) {
        (&mut self.tape, &*self.operator)
    }
}

/// Records an array of any memory order as a constant.
pub(super) fn constant<T: Real>(tape: &mut Tape<T>, values: ArrayView5<T>) -> Result<Var> {
    let standard = values.as_standard_layout();
    tape.constant(standard.shape(), standard.as_slice().expect("standard layout is contiguous"))
}

/// How far a step of a training came.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Mean relative error of the batch in the norm of the loss.
    pub loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: f64,
}

/// An operator in training.
pub struct Trainer<T: Real> {
    predictor: Predictor<T>,
    optimizer: Box<dyn Optimizer<T>>,
    loss: RelativeSobolev<T>,
    clip: Option<f64>,
}

impl<T: Real> Trainer<T> {
    /// Training of an operator with a loss; gradients longer than `clip` are shortened.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for constants of the optimiser, or a limit, out of range.
    pub fn new(
        predictor: Predictor<T>,
        optimizer: &OptimizerConfig,
        loss: RelativeSobolev<T>,
        clip: Option<f64>,
    ) -> Result<Self> {
        if let Some(limit) = clip.filter(|limit| limit.is_nan() || *limit <= 0.0) {
            return Err(Error::parameter("clip", limit, "must be > 0"));
        }
        let views = predictor.parameters().views();
        let blocks: Vec<Block> = views.iter().map(|v| Block { offset: v.offset, shape: v.shape.clone() }).collect();
        Ok(Self { predictor, optimizer: optimizer.build(&blocks)?, loss, clip })
    }

    /// One step with the given rate. If loss or gradient are not finite, nothing moves.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the arrays do not fit, as [`Operator::record`].
    pub fn step(&mut self, input: ArrayView5<T>, target: ArrayView5<T>, rate: f64) -> Result<StepReport> {
        let Predictor { tape, operator, .. } = &mut self.predictor;
        tape.clear();
        let input = constant(tape, input)?;
        let output = operator.record(tape, input, target.shape()[2])?;
        let target = constant(tape, target)?;
        let loss = self.loss.record(tape, output, target)?;
        tape.backward(loss)?;
        let loss = tape.scalar(loss)?;
        let (theta, gradient) = tape.update();
        let gradient_norm = match self.clip {
            Some(limit) => optim::clip_global_norm(gradient, limit),
            None => optim::norm(gradient),
        };
        if loss.is_finite() && gradient_norm.is_finite() {
            self.optimizer.step(theta, gradient, rate);
        }
        Ok(StepReport { loss, gradient_norm })
    }

    /// Where the last gradient is largest, or first not finite, e.g. `blocks.0.spectral.weight[17] = NaN`.
    pub fn worst_gradient(&self) -> String {
        let tape = &self.predictor.tape;
        match optim::worst_entry(tape.gradient()) {
            Some((index, value)) => {
                format!("largest gradient {} = {:e}", tape.parameters().describe(index), value.as_f64())
            }
            None => "there is no gradient".to_owned(),
        }
    }

    /// The operator.
    pub fn predictor(&mut self) -> &mut Predictor<T> {
        &mut self.predictor
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters<T> {
        self.predictor.parameters()
    }

    /// The optimiser, whose state belongs into a checkpoint.
    pub fn optimizer(&mut self) -> &mut dyn Optimizer<T> {
        &mut *self.optimizer
    }

    /// State of the optimiser.
    pub fn optimizer_state(&self) -> Vec<optim::NamedTensor> {
        self.optimizer.state()
    }
}
