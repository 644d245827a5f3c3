//! `max(x, 0)` as an operation.

use crate::autodiff::{Cotangent, Operation, Record, Tensor, Workers};
use crate::error::Result;
use crate::field::Real;

/// Values of a tile.
const TILE: usize = 8192;

/// `y = max(x, 0)`.
pub(super) struct Relu;

impl<T: Real> Operation<T> for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        Ok(inputs[0].to_vec())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        workers.pieces(output, TILE, 0, |index, piece, _| {
            piece.iter_mut().zip(&inputs[0].values[index * TILE..]).for_each(|(y, &x)| *y = if x > T::zero() { x } else { T::zero() });
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let (bar, beta) = input.target();
        workers.pieces(bar, TILE, 0, |index, piece, _| {
            let start = index * TILE;
            let from = record.output.values[start..].iter().zip(&cotangent[start..]);
            for (b, (&y, &c)) in piece.iter_mut().zip(from) {
                let passed = if y > T::zero() { c } else { T::zero() };
                *b = if beta == T::zero() { passed } else { *b + passed };
            }
        });
    }
}
