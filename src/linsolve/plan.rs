//! From a problem to a solver.

use std::sync::Arc;
use std::time::Instant;

use super::deflation::Deflation;
use super::direct::Direct;
use super::incomplete_cholesky::IncompleteCholesky;
use super::krylov::{Flexible, Identity, Jacobi, Krylov};
use super::multigrid::{Cycle, Multigrid, MultigridPcg};
use super::operator::{Operator, Preconditioner, Solver};
use super::poisson::Poisson;
use super::pool::{Planes, Pool};
use super::report::{Options, Report};
use crate::error::Result;

/// How a [`Poisson`] problem is solved.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Method {
    /// [`Method::Direct`] for boxes of up to about 256 cells a side, else [`Method::Multigrid`].
    #[default]
    Auto,
    /// Conjugate gradients.
    Cg,
    /// Conjugate gradients with the diagonal.
    Jacobi,
    /// Conjugate gradients with a modified incomplete Cholesky factor.
    IncompleteCholesky,
    /// Conjugate gradients with the diagonal and with piecewise constants on boxes of eight cells a side deflated.
    Deflated,
    /// Conjugate gradients with a geometric multigrid cycle.
    Multigrid,
    /// The same with a cycle of one's own shape.
    MultigridWith(Cycle),
    /// Flexible conjugate gradients with the multigrid cycle, all in double precision outside the cycle.
    FlexibleMultigrid,
    /// Cosine and sine transforms; boxes only.
    Direct,
}

/// A solver for grid problems.
pub struct PoissonSolver {
    method: Method,
    options: Options,
    problem: Arc<Poisson>,
    solver: Inner,
}

enum Inner {
    Multigrid(Box<MultigridPcg>),
    Direct(Box<Direct>),
    Krylov(Box<Krylov<Threaded, Box<dyn Preconditioner>>>),
}

/// The operator of a problem on a pool.
struct Threaded {
    problem: Arc<Poisson>,
    pool: Arc<Pool>,
    cuts: Vec<usize>,
}

impl Operator for Threaded {
    fn len(&self) -> usize {
        self.problem.cells()
    }
    fn apply(&self, x: &[f64], y: &mut [f64]) {
        let size = self.problem.layout.n[1] * self.problem.layout.n[2];
        self.pool.run(&self.cuts, Planes::new(y, size), |range, y| self.problem.apply_planes(range, x, y.data));
    }
    fn project(&self, v: &mut [f64]) {
        self.problem.project(v);
    }
    fn incompatibility(&self, b: &[f64]) -> f64 {
        self.problem.incompatibility(b)
    }
    fn diagonal(&self) -> Option<Vec<f64>> {
        self.problem.diagonal()
    }
    fn bytes(&self) -> usize {
        self.problem.bytes()
    }
}

impl Poisson {
    /// Plans a solver.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Parameter`] for options out of range, and for [`Method::Direct`] if this is no box.
    pub fn plan(self, method: Method, options: &Options) -> Result<PoissonSolver> {
        PoissonSolver::plan(Arc::new(self), method, options)
    }
}

impl PoissonSolver {
    /// As [`Poisson::plan`], for a problem that is shared.
    ///
    /// # Errors
    ///
    /// As [`Poisson::plan`].
    pub fn plan(problem: Arc<Poisson>, method: Method, options: &Options) -> Result<Self> {
        let solver = Inner::plan(&problem, &method, options)?;
        Ok(Self { method, options: options.clone(), problem, solver })
    }

    /// Takes another problem, after a change of the flags, say. Multigrid keeps its threads and vectors.
    ///
    /// # Errors
    ///
    /// As [`Poisson::plan`].
    pub fn update(&mut self, problem: Poisson) -> Result<()> {
        let problem = Arc::new(problem);
        match (&mut self.solver, self.method == Method::Auto && prefers_direct(&problem)) {
            (Inner::Multigrid(solver), false) => solver.update(&problem)?,
            _ => self.solver = Inner::plan(&problem, &self.method, &self.options)?,
        }
        self.problem = problem;
        Ok(())
    }

    /// The problem that is solved.
    pub fn problem(&self) -> &Arc<Poisson> {
        &self.problem
    }

    /// The hierarchy to set what a learner found, if this is multigrid.
    pub fn multigrid_mut(&mut self) -> Option<&mut Multigrid> {
        match &mut self.solver {
            Inner::Multigrid(solver) => Some(solver.multigrid_mut()),
            Inner::Direct(_) | Inner::Krylov(_) => None,
        }
    }
}

/// The transforms cost `12 (n_0 + n_1 + n_2)` operations a cell, multigrid the same for any size; on 256^3 cells both take as
/// long (`cargo bench --bench linsolve`).
fn prefers_direct(problem: &Poisson) -> bool {
    problem.as_box().is_some() && problem.shape().iter().sum::<usize>() <= 3 * 256
}

impl Inner {
    fn plan(problem: &Arc<Poisson>, method: &Method, options: &Options) -> Result<Self> {
        let start = Instant::now();
        let (preconditioner, deflation): (Box<dyn Preconditioner>, _) = match method {
            Method::Auto if prefers_direct(problem) => return Self::plan(problem, &Method::Direct, options),
            Method::Auto | Method::Multigrid => {
                return Self::plan(problem, &Method::MultigridWith(Cycle::default()), options);
            }
            Method::MultigridWith(cycle) => {
                return Ok(Self::Multigrid(Box::new(MultigridPcg::plan(problem, cycle, options)?)));
            }
            Method::Direct => return Ok(Self::Direct(Box::new(Direct::plan(problem, options)?))),
            Method::Cg => (Box::new(Identity), None),
            Method::Jacobi => (Box::new(Jacobi::new(problem)?), None),
            Method::IncompleteCholesky => (Box::new(IncompleteCholesky::new(problem)), None),
            Method::Deflated => (Box::new(Jacobi::new(problem)?), Some(Deflation::boxes(problem, 8)?)),
            Method::FlexibleMultigrid => {
                let multigrid = Multigrid::plan(problem, &Cycle::default(), options.threads, options.isa)?;
                (Box::new(Flexible(multigrid)), None)
            }
        };
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        let n = problem.layout.n;
        let cuts = pool.cuts((0..n[0]).map(|_| n[1] * n[2]), 1);
        let operator = Threaded { problem: problem.clone(), pool: pool.clone(), cuts };
        let mut krylov = Krylov::trusted(operator, preconditioner, deflation, &pool, options)?;
        krylov.set_setup_seconds(start.elapsed().as_secs_f64());
        Ok(Self::Krylov(Box::new(krylov)))
    }
}

impl Solver for PoissonSolver {
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report> {
        match &mut self.solver {
            Inner::Multigrid(solver) => solver.solve(b, x),
            Inner::Direct(solver) => solver.solve(b, x),
            Inner::Krylov(solver) => solver.solve(b, x),
        }
    }
}
