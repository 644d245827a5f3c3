//! Where fields live: the periodic [`Grid`] and the scalar type [`Real`].

mod grid;
mod real;

pub use grid::Grid;
pub use real::Real;
