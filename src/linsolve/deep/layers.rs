//! Operations of the network that the tape lacks: rectification, and the change between a grid and one of half its cells.

use crate::autodiff::{Cotangent, Operation, Record, Tensor, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Values of a piece that a thread works on.
const PIECE: usize = 1 << 14;

/// `y = max(x, 0)`, or `max(x, 0) + a` with a second input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rectify;

impl<T: Real> Operation<T> for Rectify {
    fn name(&self) -> &'static str {
        "rectify"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        match inputs.get(1) {
            Some(a) if *a != inputs[0] => Err(Error::shape("second input of rectify", inputs[0], a)),
            _ => Ok(inputs[0].to_vec()),
        }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        let x = inputs[0].values;
        workers.pieces(output, PIECE, 0, |index, y, _| {
            let from = index * PIECE;
            let x = &x[from..from + y.len()];
            let a = inputs.get(1).map(|a| &a.values[from..from + y.len()]);
            run(workers.isa(), || match a {
                None => (0..y.len()).for_each(|k| y[k] = positive(x[k])),
                Some(a) => (0..y.len()).for_each(|k| y[k] = positive(x[k]) + a[k]),
            });
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let x = record.inputs[0].values;
        for (i, input) in inputs.iter_mut().enumerate() {
            let Some((g, beta)) = input.take().map(Cotangent::target) else { continue };
            let adds = beta != T::zero();
            workers.pieces(g, PIECE, 0, |index, g, _| {
                let from = index * PIECE;
                let (x, c) = (&x[from..from + g.len()], &cotangent[from..from + g.len()]);
                run(workers.isa(), || {
                    for k in 0..g.len() {
                        let passed = if i == 1 || x[k] > T::zero() { c[k] } else { T::zero() };
                        g[k] = if adds { g[k] + passed } else { passed };
                    }
                });
            });
        }
    }
}

#[inline(always)]
fn positive<T: Real>(x: T) -> T {
    if x > T::zero() { x } else { T::zero() }
}

/// Runs a loop compiled for the instruction set.
#[inline(always)]
fn run<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    match isa {
        Isa::Scalar => f(),
        Isa::Neon => <f32 as Real>::Neon::vectorize(f),
        Isa::Avx2 => <f32 as Real>::Avx2::vectorize(f),
        Isa::Avx512 => <f32 as Real>::Avx512::vectorize(f),
    }
}

/// Mean over blocks of 2^3 cells: `[batch, channel, x, y, z]` to half as many cells along each axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Average;

/// The value of each cell on its 2^3 cells, the transpose of [`Average`] but for the factor 1/8.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat;

impl<T: Real> Operation<T> for Average {
    fn name(&self) -> &'static str {
        "average"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let x = inputs[0];
        if x.len() != 5 || x[2..].iter().any(|n| n % 2 == 1) {
            let rule = "must be [batch, channel, x, y, z] with even numbers of points";
            return Err(Error::parameter("shape of the input of an average", format!("{x:?}"), rule));
        }
        Ok(vec![x[0], x[1], x[2] / 2, x[3] / 2, x[4] / 2])
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        gather(workers, &inputs[0].shape[2..], T::of(0.125), inputs[0].values, output, false);
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        if let Some((g, beta)) = inputs[0].take().map(Cotangent::target) {
            scatter(workers, &record.inputs[0].shape[2..], T::of(0.125), cotangent, g, beta != T::zero());
        }
    }
}

impl<T: Real> Operation<T> for Repeat {
    fn name(&self) -> &'static str {
        "repeat"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let x = inputs[0];
        if x.len() != 5 {
            let rule = "must be [batch, channel, x, y, z]";
            return Err(Error::parameter("shape of the input of a repetition", format!("{x:?}"), rule));
        }
        Ok(vec![x[0], x[1], 2 * x[2], 2 * x[3], 2 * x[4]])
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
        let fine: Vec<usize> = inputs[0].shape[2..].iter().map(|n| 2 * n).collect();
        scatter(workers, &fine, T::one(), inputs[0].values, output, false);
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        if let Some((g, beta)) = inputs[0].take().map(Cotangent::target) {
            gather(workers, &record.output.shape[2..], T::one(), cotangent, g, beta != T::zero());
        }
    }
}

/// `coarse = factor * sum over 2^3 cells of fine`, a volume a piece.
fn gather<T: Real>(workers: &Workers<T>, n: &[usize], factor: T, fine: &[T], coarse: &mut [T], adds: bool) {
    let volume: usize = n.iter().product();
    let plane = n[1] * n[2];
    workers.pieces(coarse, volume / 8, 0, |index, coarse, _| {
        let fine = &fine[index * volume..(index + 1) * volume];
        for (row, out) in coarse.chunks_exact_mut(n[2] / 2).enumerate() {
            let o = row / (n[1] / 2) * 2 * plane + row % (n[1] / 2) * 2 * n[2];
            let rows = [o, o + n[2], o + plane, o + plane + n[2]].map(|o| &fine[o..o + n[2]]);
            for (k, out) in out.iter_mut().enumerate() {
                let sum: T = rows.iter().map(|r| r[2 * k] + r[2 * k + 1]).sum();
                *out = if adds { *out } else { T::zero() } + factor * sum;
            }
        }
    });
}

/// `fine = factor * coarse` on each of the 2^3 cells, a volume a piece.
fn scatter<T: Real>(workers: &Workers<T>, n: &[usize], factor: T, coarse: &[T], fine: &mut [T], adds: bool) {
    let volume: usize = n.iter().product();
    workers.pieces(fine, volume, 0, |index, fine, _| {
        let coarse = &coarse[index * volume / 8..(index + 1) * volume / 8];
        for (row, out) in fine.chunks_exact_mut(n[2]).enumerate() {
            let (i, j) = (row / n[1] / 2, row % n[1] / 2);
            let from = &coarse[(i * (n[1] / 2) + j) * (n[2] / 2)..][..n[2] / 2];
            for (pair, &c) in out.chunks_exact_mut(2).zip(from) {
                for v in pair {
                    *v = if adds { *v } else { T::zero() } + factor * c;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check;

    fn noise(shape: &[usize], seed: f64) -> (Vec<usize>, Vec<f64>) {
        let len: usize = shape.iter().product();
        (shape.to_vec(), (0..len).map(|i| 0.1 + ((i as f64 + seed) * 12.9898).sin()).collect())
    }

    #[test]
    fn derivatives_are_exact() {
        // Sums of eight numbers of order one; differences of sixth order (no kink lies within their step).
        let shape = [2, 3, 4, 6, 2];
        assert!(check(|| Average, &[noise(&shape, 0.0)], 1).unwrap().difference < 1e-9);
        assert!(check(|| Repeat, &[noise(&shape, 0.0)], 2).unwrap().difference < 1e-9);
        // Away from the kink by more than the step of the differences.
        let off = |(shape, values): (Vec<usize>, Vec<f64>)| -> (Vec<usize>, Vec<f64>) {
            (shape, values.iter().map(|v| v + 0.1 * v.signum()).collect())
        };
        let pair = [off(noise(&shape, 0.0)), noise(&shape, 0.5)];
        assert!(check(|| Rectify, &pair, 3).unwrap().difference < 1e-9);
        assert!(check(|| Rectify, &pair[..1], 4).unwrap().difference < 1e-9);
    }

    #[test]
    fn shapes_that_do_not_fit_are_named() {
        let odd = Operation::<f64>::shape(&Average, &[&[1, 1, 4, 3, 4]]).unwrap_err().to_string();
        assert!(odd.contains("even"), "{odd}");
        assert!(Operation::<f64>::shape(&Rectify, &[&[2], &[3]]).is_err());
        assert!(Operation::<f64>::shape(&Repeat, &[&[2]]).is_err());
    }
}
