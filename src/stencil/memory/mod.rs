//! Features of the history of a field, point by point.
//!
//! | type | what it keeps | cost a point and frame |
//! |---|---|---|
//! | [`LegendreFir`] | exact projection of the last `W` frames on `N` Legendre polynomials | `2 N W` when it is read |
//! | [`Recurrence`] | any [`System`] of HiPPO, dense: `c <- A c + B f` | `2 N²` a frame |
//! | [`Diagonal`] | the same after perturb-then-diagonalise | about `4 N` a frame, `2 N²` when it is read |
//! | [`LaguerreChain`] | the translated Laguerre system by its all-pass chain | `5 N` a frame |
//!
//! The default is [`LegendreFir`]: no drift, no start-up, an exact adjoint. The recurrences are for windows much longer than
//! 64 frames.
//!
//! # Sources
//!
//! HiPPO: Gu, Dao, Ermon, Rudra, Ré, *NeurIPS* 2020. Perturb-then-diagonalise: Yu, Nigmetov, Morozov, Mahoney, Erichson,
//! *ICLR* 2024. Features of a temporal stencil model: Sun, Yang, Yoo, *ICLR* 2023.

mod diagonal;
mod discrete;
mod hippo;
mod laguerre;
mod legendre;
mod transfer;

pub use diagonal::{Diagonal, DiagonalFeatures, Perturbation};
pub use discrete::{Recurrence, Update, legs_exact};
pub use hippo::{Measure, System};
pub use laguerre::LaguerreChain;
pub use legendre::LegendreFir;
pub use transfer::{Response, distance, frequencies};
