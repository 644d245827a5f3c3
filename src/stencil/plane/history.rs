//! Features of the past: projections of a window of frames onto discrete Legendre polynomials.

use crate::autodiff::{Cotangent, Operation, Record, Tensor, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::memory::LegendreFir;

/// Features of a window as an operation of its frames, each `[batch, 2, n, n]`, oldest first, with the result
/// `[batch, 2 + 2 order, n, n]`: the last frame, then for each order both components, all times their scales.
pub(super) struct Features {
    /// `[1 + order, window]`: one row a pair of channels.
    pub weights: Vec<f64>,
    pub window: usize,
}

impl Features {
    /// The present alone.
    pub fn present(scale: f64) -> Self {
        Self { weights: vec![scale], window: 1 }
    }

    /// The present, and a window of the past. Feature `n` is a mean over the window times `min(gain^n, largest)`: for
    /// smooth signals the features fall off with their order, which hinders the training.
    pub fn legendre(scale: f64, order: usize, window: usize, gain: f64, largest: f64) -> Result<Self> {
        let mut weights = vec![0.0; window];
        weights.extend(LegendreFir::new(order, window)?.polynomials());
        weights[window - 1] = scale;
        for (n, row) in weights.chunks_exact_mut(window).enumerate().skip(1) {
            let factor = scale * gain.powi(n as i32 - 1).min(largest) / window as f64;
            row.iter_mut().for_each(|w| *w *= factor);
        }
        Ok(Self { weights, window })
    }

    pub fn channels(&self) -> usize {
        2 * self.weights.len() / self.window
    }
}

impl<T: Real> Operation<T> for Features {
    fn name(&self) -> &'static str {
        "history_features"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        if inputs.len() != self.window {
            return Err(Error::parameter("frames of the history", inputs.len(), format!("must be {}", self.window)));
        }
        match inputs.iter().find(|shape| **shape != inputs[0] || shape.len() != 4 || shape[1] != 2) {
            Some(shape) => Err(Error::shape("frame of the history", inputs[0], shape)),
            None => Ok([inputs[0][0], self.channels(), inputs[0][2], inputs[0][3]].into()),
        }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let len = 2 * inputs[0].shape[2] * inputs[0].shape[3];
        workers.pieces(output, self.channels() / 2 * len, 0, |sample, features, _| {
            for (feature, row) in features.chunks_exact_mut(len).zip(self.weights.chunks_exact(self.window)) {
                feature.fill(T::zero());
                for (frame, &weight) in inputs.iter().zip(row).filter(|(_, w)| **w != 0.0) {
                    axpy(T::of(weight), &frame.values[sample * len..][..len], feature);
                }
            }
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let shape = record.inputs[0].shape;
        let len = 2 * shape[2] * shape[3];
        let per_sample = self.channels() / 2 * len;
        for (k, input) in inputs.iter_mut().enumerate() {
            let Some(input) = input.take() else { continue };
            workers.pieces(input.add(), len, 0, |sample, bar, _| {
                let features = cotangent[sample * per_sample..][..per_sample].chunks_exact(len);
                for (feature, row) in features.zip(self.weights.chunks_exact(self.window)) {
                    if row[k] != 0.0 {
                        axpy(T::of(row[k]), feature, bar);
                    }
                }
            });
        }
    }
}

/// `y += a x`.
fn axpy<T: Real>(a: T, x: &[T], y: &mut [T]) {
    y.iter_mut().zip(x).for_each(|(y, &x)| *y += a * x);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check;

    #[test]
    fn features_of_a_constant_past_are_the_present_and_its_mean() {
        let features = Features::legendre(0.5, 3, 4, 4.0, 10.0).unwrap();
        let frame = (vec![1, 2, 4, 4], vec![2.0; 32]);
        let mut tape = crate::autodiff::Tape::<f64>::new(crate::autodiff::Parameters::new(), 1).unwrap();
        let frames: Vec<_> = (0..4).map(|_| tape.constant(&frame.0, &frame.1).unwrap()).collect();
        let y = tape.apply(features, &frames).unwrap();
        assert_eq!(tape.shape(y), [1, 8, 4, 4]);
        let planes: Vec<f64> = tape.values(y).chunks(16).map(|p| p[0]).collect();
        for (plane, expected) in planes.iter().zip([1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]) {
            assert!((plane - expected).abs() < 1e-14, "{planes:?}");
        }
    }

    #[test]
    fn the_adjoint_is_exact() {
        let frame = |seed: usize| (vec![2, 2, 3, 3], (0..36).map(|i| ((i * seed) as f64).sin()).collect());
        let found = check(|| Features::legendre(0.7, 2, 3, 4.0, 10.0).unwrap(), &[frame(1), frame(2), frame(3)], 0);
        // The map is linear.
        assert!(found.unwrap().difference < 1e-12);
    }
}
