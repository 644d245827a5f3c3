//! Copies along an axis.

use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;

/// `y[.., j, ..] = x[.., n - 1, ..]` for `j < count`: the last entry of an axis, held.
///
/// # Errors
///
/// [`Error::Shape`] if there is no such axis, or nothing along it.
pub fn hold_last<T: Real>(tape: &mut Tape<T>, x: Var, axis: usize, count: usize) -> Result<Var> {
    tape.apply(HoldLast { axis, count }, &[x])
}

struct HoldLast {
    axis: usize,
    count: usize,
}

impl HoldLast {
    /// Entries before, along and after the axis.
    fn sizes(&self, shape: &[usize]) -> (usize, usize, usize) {
        (shape[..self.axis].iter().product(), shape[self.axis], shape[self.axis + 1..].iter().product())
    }

    fn hold<T: Real>(&self, shape: &[usize], x: &[T], y: &mut [T]) {
        let (_, n, inner) = self.sizes(shape);
        for (outer, block) in y.chunks_exact_mut(self.count * inner).enumerate() {
            let last = &x[(outer * n + n - 1) * inner..][..inner];
            block.chunks_exact_mut(inner).for_each(|y| y.copy_from_slice(last));
        }
    }
}

impl<T: Real> Operation<T> for HoldLast {
    fn name(&self) -> &'static str {
        "hold last"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let mut shape = inputs[0].to_vec();
        match shape.get_mut(self.axis) {
            Some(n) if *n > 0 => *n = self.count,
            _ => return Err(Error::shape(format!("axis {} to hold", self.axis), &vec![1; self.axis + 1], inputs[0])),
        }
        Ok(shape)
    }

    fn forward(&self, _: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        self.hold(inputs[0].shape, inputs[0].values, output);
    }

    fn vjp(&self, _: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(x) = inputs[0].take() else { return };
        let (_, n, inner) = self.sizes(record.inputs[0].shape);
        let x = x.add();
        for (outer, block) in cotangent.chunks_exact(self.count * inner).enumerate() {
            let last = &mut x[(outer * n + n - 1) * inner..][..inner];
            for g in block.chunks_exact(inner) {
                last.iter_mut().zip(g).for_each(|(x, &g)| *x += g);
            }
        }
    }

    fn jvp(&self, _: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        self.hold(record.inputs[0].shape, tangents[0].expect("the only input"), output);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::{Parameters, check};

    #[test]
    fn every_copy_is_the_last_entry() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[2, 2, 1], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let y = hold_last(&mut tape, x, 1, 3).unwrap();
        assert_eq!(tape.shape(y), [2, 3, 1]);
        assert_eq!(tape.values(y), [2.0, 2.0, 2.0, 4.0, 4.0, 4.0]);
        let check = check(|| HoldLast { axis: 1, count: 3 }, &[(vec![2, 2, 2], vec![0.5; 8])], 1).unwrap();
        // Sums of a dozen products.
        assert!(check.adjoint.unwrap() < 1e-15 && check.difference < 1e-12);
        assert!(hold_last(&mut tape, x, 3, 1).is_err());
    }
}
