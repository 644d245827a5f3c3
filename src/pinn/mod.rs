//! Physics-informed networks for evolution equations `u_t = f(u, u_x, ..., u_xxxx)`.
//!
//! ```text
//! u(x, t) = l(x, t) + g(t) N(x, t; theta) ,   min_theta sum_points |u_t - f(u, u_x, ...)|^2
//! ```
//!
//! The [lifting](Lifting) `l` carries the initial state, and as much of the evolution as a step of an exponential integrator
//! knows, `g` vanishes at the start, and `N` is a small network with the period, and if wished the [parity](Parity), of the
//! solution. So one term is left in the loss, and nothing has to be balanced. Time is cut into windows; the state at the end of
//! one is the start of the next ([`March`]). In a window the parameters are found by Gauss-Newton in double precision.
//!
//! * [`Equation`] is the trait for an equation of one's own, [`Polynomial`] a sum of products of derivatives.
//! * [`Problem`] puts equation, interval, initial state and the form of the solution together; [`March`] solves it;
//!   [`Solution`] is evaluated anywhere, with derivatives, and stored as tensors.
//! * [`Train`] chooses the unknowns of a window: all parameters, or the last layer of a wide network of random [`Features`].
//! * [`March::identify`] finds unknown coefficients from samples, with their uncertainty.
//! * [`Reference`] is the classical solution of the same problem.
//! * [`CausalMarch`] is the published training with exponential causal weights, for comparison. A patent application
//!   covers those weights: see [`NOTICE`]. Nothing else here uses them.
//! * [`plane`] has the same for two-dimensional flow.
//! * [`lagrangian`] has the same in moving coordinates, for what is carried along fast.
//!
//! # Example
//!
//! ```
//! use parseval::pinn::{Architecture, Initial, Interval, Lifting, March, Marching, Parity, Polynomial, Problem};
//!
//! let problem = Problem {
//!     fields: 1,
//!     terms: Polynomial::burgers(0.1).terms().to_vec(),
//!     interval: Some(Interval { from: -1.0, length: 2.0 }),
//!     initial: Initial::MinusSine {},
//!     lifting: Lifting::Exponential,
//!     parity: Parity::Odd,
//!     about: 0.0,
//!     network: Architecture { width: 8, depth: 2, ..Architecture::default() },
//! };
//! let options = Marching { ends: vec![0.2], points: 200, steps: 30, state_points: 64, ..Marching::default() };
//! let mut march = March::new(&problem, &options, 0, 1)?;
//! while let Some(progress) = march.step()? {
//!     assert!(progress.residual.is_finite());
//! }
//! let jet = march.solution().evaluate(&[[0.25, 0.1]])?; // u, u_x, u_xx, u_t
//! let [u, u_x, u_xx, u_t] = jet[..] else { unreachable!() };
//! assert!((u_t - (-u * u_x + 0.1 * u_xx)).abs() < 5e-2);
//! # Ok::<(), parseval::Error>(())
//! ```

mod ansatz;
mod causal;
mod covariance;
mod equation;
mod features;
mod fit;
mod initial;
pub mod lagrangian;
mod march;
pub mod plane;
mod reference;
mod residual;
mod series;
mod sobol;
mod solution;

pub use ansatz::{Lifting, Parity, Window};
pub use causal::{Causal, CausalMarch, CausalProgress, NOTICE, causal_weights};
pub use covariance::deviations;
pub use equation::{Equation, Polynomial, Term};
pub use features::{Bumps, Features};
pub use initial::{Initial, Interval};
pub use march::{Identified, March, Marching, Progress, Train};
pub use reference::{Places, Reference};
pub use residual::{Network, Residual, Sample};
pub use series::Series;
pub use sobol::Sobol;
pub use solution::{Architecture, Piece, Problem, Solution, Tensor};
