//! Derivatives of coordinate networks `u(x, t; theta)` by Taylor arithmetic, the core of physics-informed networks.
//!
//! A jet holds the Taylor coefficients of `u` along a few directions of its coordinates,
//!
//! ```text
//! u(p + s d) = u_0 + u_1 s + ... + u_K s^K + O(s^(K+1)),   d^k u / ds^k = k! u_k
//! ```
//!
//! and goes through the whole network at once: a linear layer multiplies every coefficient by the same matrix (one matrix
//! product for all of them), an activation is a short recurrence. A fourth derivative costs five coefficients; nested
//! automatic differentiation carries up to sixteen copies. One pass back gives the gradient with
//! respect to `theta` of any function of the derivatives, or a row of the Jacobian matrix for each point.
//!
//! Inside, coefficients are Taylor's (the factor `1/k!` makes every rule a plain convolution); at the interface they are
//! plain derivatives `u_x`, `u_xx`, ..., and cotangents are those of plain derivatives.
//!
//! The components of a jet are `u`, then for each [`Direction`] in order its derivatives `1..=order`. For `u(x, t)` with
//! order 4 in `x` and 1 in `t`: `u, u_x, u_xx, u_xxx, u_xxxx, u_t`. A mixed derivative comes from oblique directions, e.g.
//! `4 u_xy = (d/d(1,1))^2 u - (d/d(1,-1))^2 u`.
//!
//! # Example
//!
//! Loss and gradient of the residual of Allen-Cahn, `u_t = 1e-4 u_xx + 5 (u - u^3)`:
//!
//! ```
//! use parseval::autodiff::Workers;
//! use parseval::jet::{Activation, Coordinate, Direction, Jets, Mlp};
//!
//! let mlp = Mlp {
//!     coordinates: vec![Coordinate::Periodic { length: 2.0, modes: 4 }, Coordinate::Linear { from: 0.0, to: 1.0 }],
//!     width: 16,
//!     depth: 2,
//!     outputs: 1,
//!     activation: Activation::Tanh,
//!     scale: None,
//! };
//! let parameters = mlp.parameters::<f64>(0)?;
//! let jets = Jets::<f64>::plan(&mlp, &[Direction::axis(0, 2), Direction::axis(1, 1)])?;
//! let workers = Workers::new(2)?;
//! let points = [0.1, 0.0, -0.7, 0.5, 0.4, 1.0]; // x, t of three points
//! let mut gradient = vec![0.0; parameters.len()];
//! let loss = jets.gradient(&workers, parameters.theta(), &points, &mut gradient, |_, jet, cotangent| {
//!     let [u, _, u_xx, u_t] = [jet[0], jet[1], jet[2], jet[3]];
//!     let r = u_t - 1e-4 * u_xx - 5.0 * (u - u.powi(3));
//!     cotangent.copy_from_slice(&[-5.0 * (1.0 - 3.0 * u * u) * r, 0.0, -1e-4 * r, r]);
//!     0.5 * r * r
//! });
//! assert!(loss > 0.0 && gradient.iter().any(|&g| g != 0.0));
//! # Ok::<(), parseval::Error>(())
//! ```

mod activation;
mod blueprint;
mod embedding;
mod gate;
mod gated;
mod jets;
mod network;
mod tile;

pub use activation::Activation;
pub use blueprint::{Architecture, Blueprint};
pub use embedding::Coordinate;
pub use gated::{Fourier, ModifiedMlp, PirateNet};
pub use jets::Jets;
pub use network::Mlp;

/// Highest order of a derivative.
pub const MAX_ORDER: usize = 4;

/// A direction in the space of coordinates, and how many derivatives along it are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction {
    /// The direction `d`; coordinates that are left off at the end are zero. Its length matters: along `2 d` a derivative
    /// of order `k` is `2^k` times as large.
    pub along: Vec<f64>,
    /// Highest order, `1..=4`.
    pub order: usize,
}

impl Direction {
    /// Along the coordinate `axis`.
    pub fn axis(axis: usize, order: usize) -> Self {
        let mut along = vec![0.0; axis + 1];
        along[axis] = 1.0;
        Self { along, order }
    }
}
