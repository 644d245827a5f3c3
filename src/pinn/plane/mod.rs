//! Two-dimensional incompressible flow on a square torus, by networks for the stream function.
//!
//! ```text
//! omega_t + u omega_x + v omega_y = nu lap omega ,   omega = -lap psi ,   (u, v) = (psi_y, -psi_x) ,
//! psi(x, y, t) = psi_l(x, y, t) + g(t) N(x, y, t; theta)
//! ```
//!
//! As in one dimension, the [lifting](super::Lifting) carries the initial state and what an integrator knows, `g` vanishes at
//! the start, and the network has the period in both directions. With a stream function the velocity has no divergence
//! whatever the parameters are, so that the residual of the vorticity is the only term of the loss. It takes fourth
//! derivatives of the network, along oblique directions for the mixed ones (see [`Network`]).
//!
//! * [`Flow`] is the problem, [`March`] solves it window after window by Gauss-Newton, [`Solution`] is evaluated anywhere.
//! * [`reference()`] is the classical solution.
//!
//! # Example
//!
//! ```
//! use parseval::pinn::plane::{Flow, Initial, March};
//! use parseval::pinn::{Architecture, Lifting, Marching};
//!
//! let flow = Flow {
//!     length: std::f64::consts::TAU,
//!     nu: 0.05,
//!     initial: Initial::Modes { modes: vec![[1.0, 0.0, 1.0, 0.0], [0.0, 2.0, 0.5, 0.0]] },
//!     lifting: Lifting::Exponential,
//!     network: Architecture { width: 8, depth: 1, ..Architecture::default() },
//! };
//! let options = Marching { ends: vec![0.1], points: 150, steps: 10, state_points: 16, ..Marching::default() };
//! let mut march = March::new(&flow, &options, 0, 1)?;
//! while march.step()?.is_some() {}
//! let here = march.solution().evaluate(&[[0.5, 1.0, 0.1]])?[0];
//! let residual = here.omega_t + here.u() * here.omega_x + here.v() * here.omega_y - flow.nu * here.lap_omega;
//! assert!(residual.abs() < 0.1);
//! # Ok::<(), parseval::Error>(())
//! ```

mod flow;
mod march;
mod network;
mod reference;
mod residual;
mod solution;
mod window;

pub use flow::{Flow, Initial, Vorticity};
pub use march::March;
pub use network::{Local, Network};
pub use reference::reference;
pub use residual::Residual;
pub use solution::{Piece, Solution};
pub use window::Window;
