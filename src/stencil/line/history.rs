//! Features of a window of frames as an operation of the tape.

use std::sync::Arc;

use crate::autodiff::{Cotangent, Operation, Record, Tensor, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::memory::LegendreFir;

/// `[batch, window, points..] -> [batch, order, points..]`: the Legendre features of frames in their order in time.
#[derive(Clone, Debug)]
pub struct Project {
    fir: Arc<LegendreFir>,
}

impl Project {
    /// The projection of [`LegendreFir`].
    pub fn new(fir: LegendreFir) -> Self {
        Self { fir: Arc::new(fir) }
    }
}

impl<T: Real> Operation<T> for Project {
    fn name(&self) -> &'static str {
        "Legendre features"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let mut shape = inputs[0].to_vec();
        if shape.len() < 3 || shape[1] != self.fir.window() {
            let expected = [1, self.fir.window(), 1];
            return Err(Error::shape("window of frames [batch, window, points..]", &expected, inputs[0]));
        }
        shape[1] = self.fir.order();
        Ok(shape)
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        let points: usize = inputs[0].shape[2..].iter().product();
        let window = self.fir.window() * points;
        workers.pieces(output, self.fir.order() * points, 0, |sample, features, _| {
            let frames: Vec<&[T]> = inputs[0].values[sample * window..][..window].chunks_exact(points).collect();
            self.fir.project(&frames, features);
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(target) = inputs[0].take() else { return };
        let points: usize = record.inputs[0].shape[2..].iter().product();
        let features = self.fir.order() * points;
        workers.pieces(target.add(), self.fir.window() * points, 0, |sample, frames, _| {
            let mut frames: Vec<&mut [T]> = frames.chunks_exact_mut(points).collect();
            self.fir.project_adjoint(&cotangent[sample * features..][..features], &mut frames);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check;

    #[test]
    fn derivatives_are_exact() {
        let values = (0..2 * 9 * 70).map(|i| (i as f64 * 12.9898).sin()).collect();
        let project = Project::new(LegendreFir::new(4, 9).unwrap());
        let found = check(|| project.clone(), &[(vec![2, 9, 70], values)], 0).unwrap();
        // Sixth-order differences of a linear map.
        assert!(found.difference < 1e-11, "{found:?}");
    }
}
