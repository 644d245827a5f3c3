//! Physics-informed networks in moving coordinates: the state `W` along paths `X` of labels `x_0`.
//!
//! With any invertible map `X(x_0, t)`, `J = X_(x_0) > 0`, and `u(X(x_0, t), t) = W(x_0, t)`, the equation `u_t = F(u, u_x, ...)` is
//!
//! ```text
//! W_t - X_t u_x = F(u, u_x, u_xx, ...),   u_x = W_(x_0) / J,   u_xx = (u_x)_(x_0) / J,   ...
//! ```
//!
//! It is exact whatever the map, which need not be learned exactly. A map that moves with the solution makes `W` slow and smooth,
//! and that is what a network learns well: convection at any speed is then as easy as at none.
//!
//! * [`Motion::at_rest`]: `X = x_0`, the usual network.
//! * [`Motion::frame`]: `X = x_0 + s(t)`, at a known speed, or `s` a trained polynomial.
//! * [`Motion::paths`]: `X = x_0 + s(t) + t d(x_0, t)` with a second network `d`.
//! * [`Motion::published`]: characteristics `X_t = f` as an equation of their own.
//!
//! # Source
//!
//! Mojgani, Balajewicz & Hassanzadeh, *Comput. Methods Appl. Mech. Engrg.* 404 (2023), 115810, for networks along
//! characteristics; the form above is that of arbitrary Lagrangian-Eulerian methods: Hirt, Amsden & Cook, *J. Comput.
//! Phys.* 14 (1974).

mod march;
mod motion;
mod residual;
mod solution;

pub use march::{Descent, LagrangianMarch, LagrangianMarching, LagrangianProgress, Method};
pub use motion::{Motion, Paths};
pub use residual::{AleResidual, Form};
pub use solution::{LagrangianPiece, LagrangianSolution};
