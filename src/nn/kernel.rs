//! Elementwise loops and sums on the threads of a tape.

use std::ops::Range;

use crate::autodiff::{Cotangent, Workers, dispatch};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::Lanes;
use crate::stepper::team::Shared;

/// Values in a piece: enough to be worth handing to a thread, few enough for the second-level cache.
const PIECE: usize = 1 << 14;

/// Accumulators of a sum; a fixed number, so that the result does not depend on the instruction set.
const ACCUMULATORS: usize = 16;

/// `output_i = f(a_i, b_i)`, or added to what is there if `add`.
pub(crate) fn zip<T: Real>(
    workers: &Workers<T>,
    output: &mut [T],
    add: bool,
    [a, b]: [&[T]; 2],
    f: impl Fn(T, T) -> T + Sync,
) {
    assert!(a.len() == output.len() && b.len() == output.len(), "lengths of elementwise operands");
    let isa = workers.isa();
    workers.pieces(output, PIECE, 0, |index, piece, _| {
        let range = index * PIECE..index * PIECE + piece.len();
        let (a, b) = (&a[range.clone()], &b[range]);
        dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
            let triples = piece.iter_mut().zip(a).zip(b);
            if add {
                triples.for_each(|((y, &a), &b)| *y += f(a, b));
            } else {
                triples.for_each(|((y, &a), &b)| *y = f(a, b));
            }
        }));
    });
}

/// Adds `f(a_i, b_i)` to a cotangent.
pub(crate) fn pull<T: Real>(
    workers: &Workers<T>,
    cotangent: Cotangent<T>,
    operands: [&[T]; 2],
    f: impl Fn(T, T) -> T + Sync,
) {
    let (values, weight) = cotangent.target();
    zip(workers, values, weight != T::zero(), operands, f);
}

/// `sum_i f(a_i, b_i)` in double precision, the same bits on any number of threads.
pub(crate) fn sum<T: Real>(workers: &Workers<T>, [a, b]: [&[T]; 2], f: impl Fn(f64, f64) -> f64 + Sync) -> f64 {
    assert!(a.len() == b.len(), "lengths of the operands of a sum");
    let isa = workers.isa();
    sum_of_pieces(workers, a.len(), |range| {
        let (a, b) = (&a[range.clone()], &b[range]);
        dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || sum_of_pair(a, b, &f)))
    })
}

/// `sum work(range)` over ranges that cover `0..len`, in their order.
fn sum_of_pieces<T: Real>(workers: &Workers<T>, len: usize, work: impl Fn(Range<usize>) -> f64 + Sync) -> f64 {
    let mut partial = vec![0.0; len.div_ceil(PIECE)];
    let count = partial.len();
    let shared = Shared::new(&mut partial);
    workers.tiles(count, 0, |index, _| {
        let sum = work(index * PIECE..len.min((index + 1) * PIECE));
        // SAFETY: each tile writes its own element.
        unsafe { shared.part(index, 1).as_mut_slice()[0] = sum };
    });
    partial.iter().sum()
}

/// `sum_i f(a_i, b_i)` in double precision on the calling thread.
#[inline(always)]
pub(crate) fn sum_of_pair<T: Real>(a: &[T], b: &[T], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; ACCUMULATORS];
    let (blocks_a, blocks_b) = (a.chunks_exact(ACCUMULATORS), b.chunks_exact(ACCUMULATORS));
    let rest = blocks_a.remainder().iter().zip(blocks_b.remainder());
    let rest: f64 = rest.map(|(a, b)| f(a.as_f64(), b.as_f64())).sum();
    for (a, b) in blocks_a.zip(blocks_b) {
        for l in 0..ACCUMULATORS {
            sums[l] += f(a[l].as_f64(), b[l].as_f64());
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// The common shape of all inputs.
///
/// # Errors
///
/// [`Error::Shape`] if they differ.
pub(crate) fn same_shape(what: &str, inputs: &[&[usize]]) -> Result<Vec<usize>> {
    match inputs.iter().find(|shape| **shape != inputs[0]) {
        None => Ok(inputs[0].to_vec()),
        Some(other) => Err(Error::shape(what, inputs[0], other)),
    }
}

/// `shape`, if it is the expected one.
///
/// # Errors
///
/// [`Error::Shape`] if it is not.
pub(crate) fn expect_shape(what: &str, expected: &[usize], got: &[usize]) -> Result<()> {
    if expected == got { Ok(()) } else { Err(Error::shape(what, expected, got)) }
}

/// Test inputs and comparisons of the operations of this folder.
#[cfg(test)]
pub(crate) mod testing {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use crate::autodiff::{Operation, Parameters, Tape, Var, check};
    use crate::error::Result;
    use crate::field::Real;

    /// Shape and uniform noise in [-1, 1).
    pub fn noise(shape: &[usize], seed: u64) -> (Vec<usize>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let len = shape.iter().product();
        (shape.to_vec(), (0..len).map(|_| rng.random_range(-1.0..1.0)).collect())
    }

    /// Adjoint, tangent and central differences of a map that is linear or of size one.
    pub fn assert_derivatives<O>(operation: impl Fn() -> O, inputs: &[(Vec<usize>, Vec<f64>)])
    where
        O: Operation<f64> + 'static,
    {
        for seed in 0..3 {
            let found = check(&operation, inputs, seed).unwrap();
            // Round-off of sums of at most some thousand terms of size one.
            assert!(found.adjoint.is_none_or(|error| error < 1e-13), "{found:?}");
            // Sixth-order differences: round-off 1e-16 over a step of 3e-3, and its sixth power.
            assert!(found.difference < 1e-10, "{found:?}");
        }
    }

    /// Values of the result, and gradients by all inputs for a cotangent of noise, as bits of `T`.
    pub fn run<T: Real>(
        threads: usize,
        inputs: &[(Vec<usize>, Vec<f64>)],
        record: impl Fn(&mut Tape<T>, &[Var]) -> Result<Var>,
    ) -> Vec<Vec<T>> {
        let mut tape = Tape::<T>::new(Parameters::new(), threads).unwrap();
        let round = |values: &[f64]| values.iter().map(|&x| T::of(x)).collect::<Vec<T>>();
        let vars: Vec<Var> =
            inputs.iter().map(|(shape, values)| tape.variable(shape, &round(values)).unwrap()).collect();
        let output = record(&mut tape, &vars).unwrap();
        let values = tape.values(output).to_vec();
        let cotangent = round(&noise(&[values.len()], 77).1);
        let mut results = tape.gradients(output, &cotangent, &vars).unwrap();
        results.push(values);
        results
    }

    /// The same bits on one and on three threads, in both precisions.
    pub fn assert_threads_agree(
        inputs: &[(Vec<usize>, Vec<f64>)],
        single: impl Fn(&mut Tape<f32>, &[Var]) -> Result<Var>,
        double: impl Fn(&mut Tape<f64>, &[Var]) -> Result<Var>,
    ) {
        assert!(run(1, inputs, &single) == run(3, inputs, &single), "f32");
        assert!(run(1, inputs, &double) == run(3, inputs, &double), "f64");
    }
}
