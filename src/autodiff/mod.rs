//! Reverse-mode differentiation of coarse operations.
//!
//! A [`Tape`] evaluates and records a few dozen large operations (a spectral convolution, a fused pointwise network, a
//! solver's rollout, a norm), not thousands of small ones. Each [`Operation`] owns its kernels, forward and backward;
//! elementwise work is fused into its producer. The layers of [`nn`](crate::nn) are made of such operations.
//!
//! # Adding an operation
//!
//! One struct in one file: the shape of the output, the map, and the transpose of its derivative.
//!
//! ```
//! use parseval::autodiff::{Cotangent, Operation, Parameters, Record, Tape, Tensor, Workers, check};
//! use parseval::{Error, Result, field::Real};
//!
//! /// `y = x |x|`.
//! struct SignedSquare;
//!
//! impl<T: Real> Operation<T> for SignedSquare {
//!     fn name(&self) -> &'static str {
//!         "signed_square"
//!     }
//!     fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
//!         Ok(inputs[0].to_vec())
//!     }
//!     fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _saved: &mut [T]) {
//!         let x = inputs[0].values;
//!         workers.pieces(output, 4096, 0, |index, piece, _| {
//!             for (y, &x) in piece.iter_mut().zip(&x[index * 4096..]) {
//!                 *y = x * x.abs();
//!             }
//!         });
//!     }
//!     fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
//!         let Some(input) = inputs[0].take() else { return };
//!         let x = record.inputs[0].values;
//!         workers.pieces(input.add(), 4096, 0, |index, piece, _| {
//!             for (i, g) in piece.iter_mut().enumerate() {
//!                 let i = index * 4096 + i;
//!                 *g += (x[i] + x[i]).abs() * cotangent[i];
//!             }
//!         });
//!     }
//! }
//!
//! let mut tape = Tape::<f64>::new(Parameters::new(), 2)?;
//! let x = tape.variable(&[3], &[1.0, -2.0, 3.0])?;
//! let y = tape.apply(SignedSquare, &[x])?;
//! assert_eq!(tape.values(y), [1.0, -4.0, 9.0]);
//! assert_eq!(tape.gradients(y, &[1.0, 1.0, 1.0], &[x])?[0], [2.0, 4.0, 6.0]);
//! // The derivative agrees with central differences of sixth order.
//! assert!(check(|| SignedSquare, &[(vec![3], vec![1.0, -2.0, 3.0])], 0)?.difference < 1e-10);
//! # Ok::<(), Error>(())
//! ```

mod check;
pub(crate) mod gemm;
mod operation;
mod parameters;
mod tape;
mod workers;

pub use check::{Check, check};
pub use operation::{Cotangent, Operation, Record, Tensor};
pub use parameters::{Parameter, Parameters, View};
pub use tape::{Tape, Var};
pub(crate) use workers::dispatch;
pub use workers::{Buffer, Workers};
