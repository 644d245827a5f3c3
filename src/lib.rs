//! **Parseval** solves partial differential equations on periodic boxes, by classical spectral methods and by learned
//! ones, on one differentiable core in double precision, and measures each against the other.
//!
//! The core: eleven equations, exponential and implicit-explicit time steppers with exact derivatives of whole rollouts,
//! initial states, HDF5 data sets that carry the measured accuracy of their own content, and figures. On it: a tape of
//! coarse operations with layers and optimisers, neural operators with an error estimate that needs no truth, jets through
//! coordinate networks, and linear solvers for Poisson problems. The name is the identity that the library leans on: norms
//! in Fourier space are exact.
//!
//! # Conventions
//!
//! * Fields are row-major [`ndarray`] arrays, `[batch, channel, x, (y, (z))]`; a trajectory has time after the batch.
//! * The box is `[0, L)` a side, right end excluded: `x_j = j L / n`. Angular wavenumbers are `k = 2 pi m / L` with integer
//!   modes `m`.
//! * The forward transform is not scaled, the inverse carries `1/N`. The last axis keeps its half spectrum `0 ..= n/2`. At
//!   the Nyquist mode odd derivatives are zero. The suffix `_hat` always means Fourier coefficients.
//! * Vorticity is `omega = v_x - u_y`, the stream function solves `-lap psi = omega`, and `(u, v) = (psi_y, -psi_x)`.
//! * [`field::Real`] is `f32` or `f64`. Precision, threads and memory belong to a plan; nothing is global. Results are the
//!   same bits for any number of threads.
//! * Constructors, files and configurations return [`Result`]; hot loops check lengths once a call and panic on a
//!   programmer's error.
//!
//! # Example
//!
//! ```
//! use parseval::{field::Grid, initial, pde::NavierStokes2d, stepper::{Options, Scheme, Stepper}};
//!
//! let grid = Grid::cube(2, 64, std::f64::consts::TAU)?;
//! let omega = initial::McWilliams::published().sample(&grid, 0)?;
//! let mut stepper = Stepper::<f64>::plan(&NavierStokes2d::decaying(1e-3), &grid, Scheme::Etdrk4, 0.01, &Options::default())?;
//! let mut state = stepper.load(omega.view())?;
//! stepper.advance(&mut state, 100)?; // in place, no allocation in a step
//! let omega = stepper.store(&state); // [batch, channel, x, y]
//! # assert_eq!(omega.shape(), [1, 1, 64, 64]);
//! # Ok::<(), parseval::Error>(())
//! ```
//!
//! # Where to read
//!
//! [`pde`] (what is solved) → [`stepper`] (how) → [`spectral`] (on what). [`initial`] starts, [`data`] keeps, [`plot`]
//! shows, [`simulate`] turns a recipe into a data set. [`autodiff`] → [`nn`] → [`operator`] is the way to a trained
//! operator, [`optim`] and [`run`] train it; [`jet`] differentiates coordinate networks; [`linsolve`] solves elliptic
//! problems.

pub mod autodiff;
pub mod data;
pub mod error;
pub mod field;
pub mod initial;
pub mod jet;
pub mod linsolve;
pub mod nn;
pub mod operator;
pub mod optim;
pub mod pde;
pub mod pinn;
pub mod plot;
pub mod run;
pub mod simulate;
pub mod spectral;
pub mod stepper;

pub use error::{Error, Result};
pub use num_complex::{Complex32, Complex64};

/// The README's example runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
