//! Linear systems of elliptic problems: pressure projection, diffusion, potentials.
//!
//! [`Poisson`] is `-div(beta grad p) = b` on a 2-D or 3-D grid of cells that are solid, fluid or air, matrix-free; [`Poisson::plan`]
//! makes a solver of a [`Method`]. [`Krylov`] and [`Guarded`] take any [`Operator`], also a closure ([`FnOperator`]).
//! Every solver is planned once, then [`Solver::solve`] only computes (no vector is allocated), starts from the `x` it is given, and returns a
//! [`Report`] that says why it stopped and what the true residual is.
//!
//! # Which method
//!
//! [`Method::Auto`]: transforms on boxes of moderate size, multigrid elsewhere. On 128^3 cells to `1e-8`, one iteration of multigrid costs as much as
//! seven of plain conjugate gradients and there are 6 or 7 of them instead of 400 to 900, whatever the size of the grid; `cargo bench
//! --bench linsolve` prints the table. The others are here to compare with.
//!
//! # Conventions
//!
//! * Vectors are row-major fields over all cells, whatever is in them; entries outside the fluid are zero on return.
//! * A component of unknowns that no Dirichlet face touches has its constant as null space: `b` loses its mean there, and `x` is
//!   returned with mean zero. [`Report::incompatibility`] says how much was lost, [`Options::max_incompatibility`] refuses.
//! * Tolerances are those of [`Options`], the same for every method.
//! * Vectors and residuals are double; the multigrid cycle and its search direction are single, which does not limit the
//!   accuracy. Results are the same bits for any number of threads.
//!
//! # What is learned
//!
//! [`Cycle`] holds numbers that keep the multigrid cycle symmetric and positive definite, or is refused; [`CycleTrainer`] finds them on
//! random scenes. [`Trainer`] trains a network that returns search directions, [`DeepDirection`] evaluates it, and [`Guarded`]
//! takes it, or any other [`Direction`], and converges whatever it returns; [`Published`] is the method without a guard.
//! [`Multigrid::set_smoother`], [`Multigrid::set_smoother_diagonal`] and [`Multigrid::set_coarse_scale`] are for learners of one's own.
//!
//! # Limits
//!
//! Coarse cells are merged without regard to walls inside them: thin obstacles that separate fluid cost
//! iterations (13 instead of 6 for slabs of six cells at 128^3). Coefficients that jump by orders of magnitude do too.
//! Axes are coarsened together unless their couplings differ by more than 2.5; couplings in between cost some iterations.
//!
//! # Example
//!
//! A bubble of air in a closed tank:
//!
//! ```
//! use ndarray::ArrayD;
//! use parseval::linsolve::{Cell, Method, Options, Poisson, Solver, Walls};
//! let mut cells = ArrayD::from_elem(vec![24, 24, 24], Cell::Fluid);
//! cells[[12, 12, 18]] = Cell::Air;
//! let problem = Poisson::new(cells.view(), &[1.0; 3], Walls::closed())?;
//! let mut solver = problem.plan(Method::Auto, &Options::default())?;
//! let (b, mut p) = (vec![1e-3; 24 * 24 * 24], vec![0.0; 24 * 24 * 24]);
//! let report = solver.solve(&b, &mut p)?;
//! assert!(report.is_converged() && report.relative_residual <= 1e-8);
//! # Ok::<(), parseval::Error>(())
//! ```

mod cells;
mod components;
mod deep;
mod deflation;
mod dense;
mod direct;
mod guarded;
mod incomplete_cholesky;
mod krylov;
mod matrix;
mod multigrid;
mod operator;
mod plan;
mod poisson;
mod pool;
mod random_scene;
mod report;
mod scene;
mod smoother;
mod stencil;
#[cfg(test)]
mod tests;
mod tuning;
mod vector;
mod velocity;

pub use cells::{Cell, Walls};
pub use components::Component;
pub use deep::{
    DeepDirection, Depth, Loss, Network, Published, RitzVectors, Scaling, Trained, Trainer, TrainerOptions,
    TrainingData,
};
pub use direct::Direct;
pub use guarded::{Direction, Guard, Guarded};
pub use incomplete_cholesky::IncompleteCholesky;
pub use krylov::{Flexible, Identity, Jacobi, Krylov};
pub use matrix::Matrix;
pub use multigrid::{Cycle, LevelCycle, Multigrid, MultigridPcg};
pub use operator::{FnOperator, Operator, Preconditioner, Solver, check_operator, check_preconditioner};
pub use plan::{Method, PoissonSolver};
pub use poisson::Poisson;
pub use random_scene::{Family, RandomScene};
pub use report::{Directions, Options, Report, Stop};
pub use scene::{Scene, source};
pub use smoother::Smoother;
pub use tuning::{CycleOptions, CycleTrainer, Evolution, Parts};
