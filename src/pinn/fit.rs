//! Gauss-Newton in one window: what marches on the line and in the plane share.

use super::march::Marching;
use super::solution::Tensor;
use crate::error::{Error, Result};
use crate::optim::{GaussNewton, LeastSquares, NamedTensor, Stateful, TensorData};

/// Unknowns on their way to the least squares.
pub(super) struct Fit {
    pub theta: Vec<f64>,
    /// Steps made.
    pub step: usize,
    optimizer: GaussNewton,
    losses: Vec<f64>,
}

/// What a step found.
pub(super) struct Advance {
    /// Root mean squares of the residual before and after.
    pub before: f64,
    pub rms: f64,
    /// Damping.
    pub lambda: f64,
    /// Whether the loss has fallen by less than [`Marching::stall`] over twenty steps.
    pub stalled: bool,
    /// Whether there is no reason to go on.
    pub settled: bool,
}

impl Fit {
    pub fn new(theta: Vec<f64>, rows: usize, options: &Marching, threads: usize) -> Result<Self> {
        let optimizer = GaussNewton::new(theta.len(), rows, options.optimizer, threads)?;
        Ok(Self { theta, step: 0, optimizer, losses: Vec::new() })
    }

    /// Whether points are to be drawn again before the next step.
    pub fn is_due(&self, options: &Marching) -> bool {
        options.redraw > 0 && self.step > 0 && self.step.is_multiple_of(options.redraw)
    }

    /// One step; `window` is named in the error.
    pub fn advance(
        &mut self,
        residual: &mut impl LeastSquares,
        options: &Marching,
        (index, times): (usize, [f64; 2]),
    ) -> Result<Advance> {
        let report = self.optimizer.step(residual, &mut self.theta)?;
        self.step += 1;
        let rms = report.loss.sqrt();
        if !rms.is_finite() {
            return Err(Error::NotFinite {
                what: "residual".into(),
                value: rms,
                step: self.step as u64,
                detail: format!("window {index}, times {times:?}"),
            });
        }
        self.losses.push(report.loss);
        let before = self.losses.len().checked_sub(21).map(|i| self.losses[i]);
        let stalled = before.is_some_and(|before| before < options.stall * report.loss) && options.stall > 1.0;
        let settled = rms <= options.tolerance || self.step >= options.steps || stalled;
        Ok(Advance { before: report.before.sqrt(), rms, lambda: report.lambda, stalled, settled })
    }

    /// Forgets the losses, since the residual is another one from here on.
    pub fn forget(&mut self) {
        self.losses.clear();
    }

    /// Everything that the next steps depend on but for the number of steps.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let vector = |values: &[f64]| (vec![values.len()], values.to_vec());
        let mut tensors =
            vec![("current.theta".into(), vector(&self.theta)), ("current.losses".into(), vector(&self.losses))];
        for tensor in self.optimizer.state() {
            let TensorData::F64(values) = tensor.data else { unreachable!("a method in double precision") };
            tensors.push((format!("current.optimizer.{}", tensor.name), (tensor.shape, values)));
        }
        tensors
    }

    /// Goes back to what [`Fit::tensors`] gave after so many steps.
    pub fn restore(&mut self, step: usize, get: impl Fn(&str) -> Result<Tensor>) -> Result<()> {
        let (_, theta) = get("current.theta")?;
        if theta.len() != self.theta.len() {
            return Err(Error::shape("current.theta", &[self.theta.len()], &[theta.len()]));
        }
        (self.step, self.theta, self.losses) = (step, theta, get("current.losses")?.1);
        let stored = self.optimizer.state().into_iter().map(|known| {
            let (shape, values) = get(&format!("current.optimizer.{}", known.name))?;
            Ok(NamedTensor { name: known.name, shape, data: TensorData::F64(values) })
        });
        let stored = stored.collect::<Result<Vec<_>>>()?;
        self.optimizer.restore(&stored)
    }
}
