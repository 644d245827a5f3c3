//! Physics-informed networks in time windows.
pub mod equation;
pub mod sobol;
pub mod series;
pub mod ansatz;
pub mod residual;
pub mod levenberg;
pub mod initial;
pub mod lagrangian;
pub mod solution;
pub mod march;
pub use solution::*;
pub use march::*;
pub use equation::{Equation, Polynomial, Term};
pub use sobol::Sobol;
pub use series::Series;
pub use ansatz::{Lifting, Parity, Window};
pub use residual::{Network, Residual, Sample};
pub use initial::{Initial, Interval};
