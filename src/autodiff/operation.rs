//! What the tape records: one coarse operation with its derivatives.

use super::Workers;
use crate::error::Result;
use crate::field::Real;

/// Values in row-major order with their shape.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a, T> {
    /// The values.
    pub values: &'a [T],
    /// Their shape; the product is the number of values.
    pub shape: &'a [usize],
}

/// What an operation sees of its forward pass when a derivative is taken.
#[derive(Clone, Copy)]
pub struct Record<'a, T> {
    /// The inputs.
    pub inputs: &'a [Tensor<'a, T>],
    /// What [`Operation::forward`] made of them.
    pub output: Tensor<'a, T>,
    /// What it kept.
    pub saved: &'a [T],
}

/// Where the cotangent of one input is to be added.
///
/// Nothing is in a fresh cotangent yet: [`Cotangent::add`] clears it first, and a kernel that can as well write as add
/// asks [`Cotangent::target`] and saves a pass over the memory.
pub struct Cotangent<'a, T> {
    values: &'a mut [T],
    fresh: bool,
}

impl<'a, T: Real> Cotangent<'a, T> {
    /// A cotangent over `values`; `fresh` if their content means nothing yet.
    pub fn new(values: &'a mut [T], fresh: bool) -> Self {
        Self { values, fresh }
    }

    /// The values to add to.
    pub fn add(self) -> &'a mut [T] {
        if self.fresh {
            self.values.fill(T::zero());
        }
        self.values
    }

    /// The values, and what their present content counts: 0 (write) or 1 (add).
    pub fn target(self) -> (&'a mut [T], T) {
        (self.values, if self.fresh { T::zero() } else { T::one() })
    }
}

/// A differentiable map `y = f(x_1, .., x_n)` of arrays, with its own kernels.
///
/// Implement this to add an operation: a struct with the constants of the map. See the example of [`autodiff`](super).
/// The adjoint must be exact in the sense of `<J v, w> = <v, J^T w>` to round-off; [`check`](super::check()) measures
/// that, and compares the tangent with central differences.
pub trait Operation<T: Real>: Send + Sync {
    /// Name for messages.
    fn name(&self) -> &'static str;

    /// Shape of the output.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`](crate::Error::Shape) naming both shapes, if the inputs do not fit each other or the operation.
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>>;

    /// Number of values that [`forward`](Operation::forward) keeps for the derivatives.
    fn saved(&self, _inputs: &[&[usize]]) -> usize {
        0
    }

    /// Fills `output` (and `saved`), whose content means nothing before.
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], saved: &mut [T]);

    /// Adds `J^T cotangent` to the cotangents of the inputs; `None` is an input that needs none.
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]);

    /// Fills `output` with `sum_i J_i tangent_i`, where `None` is zero, and returns true; false if there is no such
    /// kernel.
    fn jvp(&self, _workers: &Workers<T>, _record: &Record<T>, _tangents: &[Option<&[T]>], _output: &mut [T]) -> bool {
        false
    }
}
