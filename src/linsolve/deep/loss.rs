//! What an exact step along a direction leaves of the residual.
//!
//! ```text
//! L(q) = || b - s A q ||^2,   s = (q, b) / (q, A q),   ||b|| = 1,
//! ```
//!
//! averaged over a batch; a logarithm of it may be taken, which weighs a residual by what is left of it. The sign and the scale of
//! `q` do not matter. With `e = b - s A q` and `c = (q, A q)` the gradient is
//! `-2 [ (e, A q) (b - 2 s A q) / c + s A e ]`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::operator::Operator;
use super::super::poisson::Poisson;
use crate::autodiff::{Cotangent, Operation, Record, Tensor, Workers};
use crate::error::{Error, Result};

/// What is averaged over the batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// `||e||^2`, as published.
    #[default]
    Squared,
    /// `log10 ||e||`: the orders of magnitude that a step gains, with the sign changed.
    Orders,
}

/// The loss as an operation of `q: [batch, 1, x, y, z]`; the result has one value.
pub(super) struct StepLoss {
    pub loss: Loss,
    /// Problem and right-hand side of unit norm of each sample.
    pub samples: Vec<(Arc<Poisson>, Vec<f64>)>,
}

/// One sample's `||e||^2`, and its gradient over all cells.
pub(super) fn step_loss(problem: &Poisson, b: &[f64], q: &[f32]) -> (f64, Vec<f64>) {
    let n = b.len();
    let mut p: Vec<f64> = q.iter().map(|&q| f64::from(q)).collect();
    problem.project(&mut p);
    let (mut ap, mut ae) = (vec![0.0; n], vec![0.0; n]);
    problem.apply(&p, &mut ap);
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let c = dot(&p, &ap);
    if !c.is_finite() || c <= 0.0 {
        // Zero, or not finite: no step.
        return (if c == 0.0 { dot(b, b) } else { f64::NAN }, vec![0.0; n]);
    }
    let s = dot(&p, b) / c;
    let e: Vec<f64> = b.iter().zip(&ap).map(|(b, ap)| b - s * ap).collect();
    problem.apply(&e, &mut ae);
    let eap = dot(&e, &ap);
    let mut gradient: Vec<f64> = (0..n).map(|k| -2.0 * (eap * (b[k] - 2.0 * s * ap[k]) / c + s * ae[k])).collect();
    problem.project(&mut gradient);
    (dot(&e, &e), gradient)
}

impl Operation<f32> for StepLoss {
    fn name(&self) -> &'static str {
        "residual after a step"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let shape = self.samples.first().map_or(&[][..], |s| s.0.shape());
        let expected = [&[self.samples.len(), 1], shape].concat();
        match inputs[0] == expected {
            true => Ok(vec![1]),
            false => Err(Error::shape("directions", &expected, inputs[0])),
        }
    }

    fn saved(&self, inputs: &[&[usize]]) -> usize {
        inputs[0].iter().product()
    }

    fn forward(&self, _: &Workers<f32>, inputs: &[Tensor<f32>], output: &mut [f32], saved: &mut [f32]) {
        let cells = inputs[0].values.len() / self.samples.len();
        let mut sum = 0.0;
        let parts = self.samples.iter().zip(inputs[0].values.chunks_exact(cells)).zip(saved.chunks_exact_mut(cells));
        for (((problem, b), q), saved) in parts {
            let (square, gradient) = step_loss(problem, b, q);
            let (value, factor) = match self.loss {
                Loss::Squared => (square, 1.0),
                Loss::Orders => (0.5 * square.log10(), 0.5 / (square * std::f64::consts::LN_10)),
            };
            sum += value;
            let factor = factor / self.samples.len() as f64;
            saved.iter_mut().zip(&gradient).for_each(|(g, v)| *g = (factor * v) as f32);
        }
        output[0] = (sum / self.samples.len() as f64) as f32;
    }

    fn vjp(&self, _: &Workers<f32>, record: &Record<f32>, cotangent: &[f32], inputs: &mut [Option<Cotangent<f32>>]) {
        if let Some(input) = inputs[0].take() {
            input.add().iter_mut().zip(record.saved).for_each(|(g, s)| *g += cotangent[0] * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Scene;
    use super::*;

    #[test]
    fn the_gradient_of_the_loss_is_exact() {
        for scene in [Scene::Pillars, Scene::Smoke] {
            let problem = scene.problem(&[8, 6, 10]).unwrap();
            let field = |seed: f64| -> Vec<f64> {
                let mut v: Vec<f64> = (0..480).map(|k| ((k as f64 + seed) * 12.9898).sin()).collect();
                problem.project(&mut v);
                v
            };
            let (b, direction) = (field(0.1), field(0.3));
            let q: Vec<f32> = field(0.2).iter().map(|&v| v as f32).collect();
            let (_, gradient) = step_loss(&problem, &b, &q);
            let moved = |h: f64| -> Vec<f32> { q.iter().zip(&direction).map(|(q, d)| q + (h * d) as f32).collect() };
            let h = 1e-2;
            let difference = (step_loss(&problem, &b, &moved(h)).0 - step_loss(&problem, &b, &moved(-h)).0) / (2.0 * h);
            let exact: f64 = gradient.iter().zip(&direction).map(|(g, d)| g * d).sum();
            // A second-order difference with h = 1e-2 of single-precision arguments.
            assert!((difference - exact).abs() < 2e-3 * exact.abs().max(1e-3), "{difference} {exact}");
        }
    }
}
