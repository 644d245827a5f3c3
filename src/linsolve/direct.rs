//! Direct solution on boxes by cosine and sine transforms.
//!
//! On a box with one kind of wall a side the operator is a sum of one-dimensional ones, whose eigenvectors are known:
//!
//! ```text
//! solid - solid   cos(pi m (j + 1/2) / n),                        lambda = 2 - 2 cos(pi m / n)
//! air - air       sin(pi (m + 1) (j + 1) / (n + 1)),              lambda = 2 - 2 cos(pi (m + 1) / (n + 1))
//! solid - air     cos(pi (2 m + 1) (2 j + 1) / (4 n + 2)),        lambda = 2 - 2 cos(pi (2 m + 1) / (2 n + 1))
//! ```
//!
//! So `A^{-1} = Q (lambda_0 + lambda_1 + lambda_2)^{-1} Q^T` with `Q` the tensor product (fast diagonalisation, Lynch, Rice & Thomas,
//! *Numer. Math.* 6 (1964)). The transforms are matrix products: up to a few hundred cells a side these are as fast as
//! fast transforms, whose lengths `n + 1` and `2 n + 1` would be awkward ones, and take any size alike.

use std::f64::consts::PI;
use std::sync::Arc;
use std::time::Instant;

use super::cells::Cell;
use super::krylov::{Start, begin, finish};
use super::operator::{Operator, Solver, check_lengths};
use super::poisson::{Poisson, axes_of, with_matrix};
use super::pool::{Planes, Pool};
use super::report::{Options, Report, Stop};
use crate::error::{Error, Result};

/// Solver for boxes.
pub struct Direct {
    problem: Arc<Poisson>,
    pool: Arc<Pool>,
    cuts: Vec<usize>,
    /// Orthonormal eigenvectors of each axis, `n x n` row-major, a column each.
    vectors: [Vec<f64>; 3],
    /// Eigenvalues of each axis.
    values: [Vec<f64>; 3],
    u: Vec<f64>,
    v: Vec<f64>,
    options: Options,
    report: Report,
}

/// Eigenvectors (columns) and eigenvalues of the second difference of `n` cells between two walls.
fn eigen(n: usize, walls: [Cell; 2]) -> (Vec<f64>, Vec<f64>) {
    let size = n as f64;
    let is_air = walls.map(|w| w == Cell::Air);
    let angle = |m: usize| match is_air {
        [false, false] => PI * m as f64 / size,
        [true, true] => PI * (m + 1) as f64 / (size + 1.0),
        _ => PI * (2 * m + 1) as f64 / (2.0 * size + 1.0),
    };
    let value = |j: usize, m: usize| match is_air {
        [false, false] | [false, true] => (angle(m) * (j as f64 + 0.5)).cos(),
        [true, true] => (angle(m) * (j + 1) as f64).sin(),
        [true, false] => (angle(m) * (size - 0.5 - j as f64)).cos(),
    };
    let mut q = vec![0.0; n * n];
    for m in 0..n {
        let norm = (0..n).map(|j| value(j, m).powi(2)).sum::<f64>().sqrt();
        (0..n).for_each(|j| q[j * n + m] = value(j, m) / norm);
    }
    // 2 - 2 cos(t) = 4 sin^2(t / 2), without cancellation.
    (q, (0..n).map(|m| 4.0 * (0.5 * angle(m)).sin().powi(2)).collect())
}

/// `C = A B` for `A` of `m x k` and `B` of `k x n`, given with (row, column) strides; `C` is row-major.
fn multiply([m, n, k]: [usize; 3], c: &mut [f64], (a, sa): (&[f64], [usize; 2]), (b, sb): (&[f64], [usize; 2])) {
    let last = |rows: usize, columns: usize, s: [usize; 2]| (rows - 1) * s[0] + (columns - 1) * s[1];
    assert!(c.len() >= m * n && a.len() > last(m, k, sa) && b.len() > last(k, n, sb));
    // SAFETY: the last element of each matrix is inside its slice, as just checked, and `c` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.as_ptr(),
            sa[1] as isize,
            sa[0] as isize,
            b.as_ptr(),
            sb[1] as isize,
            sb[0] as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

impl Direct {
    /// Plans for a box.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the problem is no box, or for options out of range.
    pub fn plan(problem: &Arc<Poisson>, options: &Options) -> Result<Self> {
        options.validate()?;
        let start = Instant::now();
        let Some(walls) = problem.as_box() else {
            let rule = "must be a box of fluid cells with beta = 1 for the direct solver";
            return Err(Error::parameter("problem", format!("{:?}", problem.shape()), rule));
        };
        let n = problem.layout.n;
        let weights = with_matrix!(problem, s => s.axis.map(|w| problem.scale * w));
        let mut vectors = [const { Vec::new() }; 3];
        let mut values = [const { Vec::new() }; 3];
        for a in 0..3 {
            let side = axes_of(problem.shape().len()).iter().position(|&b| b == a);
            let (q, lambda) = eigen(n[a], side.map_or([Cell::Solid; 2], |d| walls.sides[d]));
            (vectors[a], values[a]) = (q, lambda.into_iter().map(|l| weights[a] * l).collect());
        }
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        let cuts = pool.cuts((0..n[0]).map(|_| n[1] * n[2]), 1);
        let zeros = || vec![0.0; problem.cells()];
        let mut report = Report::new("direct", options.max_iterations);
        report.bytes = 16 * problem.cells() + 8 * vectors.iter().map(Vec::len).sum::<usize>() + problem.bytes();
        let mut solver = Self {
            pool,
            cuts,
            vectors,
            values,
            u: zeros(),
            v: zeros(),
            options: options.clone(),
            report,
            problem: problem.clone(),
        };
        solver.report.setup_seconds = start.elapsed().as_secs_f64();
        Ok(solver)
    }

    /// `u = A^{-1} u`; `v` is scratch.
    fn invert(&mut self) {
        let n = self.problem.layout.n;
        let size = n[1] * n[2];
        let [q0, q1, q2] = &self.vectors;
        let row_major = |q: usize| [n[q], 1];
        let transposed = |q: usize| [1, n[q]];
        // 1. Axes 1 and 2 of each plane: U <- Q1^T U Q2, by way of V.
        let planes = |u: &mut [f64], v: &mut [f64], q1_strides: [usize; 2], q2_strides: [usize; 2]| {
            for (v, u) in v.chunks_exact_mut(size).zip(u.chunks_exact_mut(size)) {
                multiply([n[1], n[2], n[2]], v, (u, [n[2], 1]), (q2, q2_strides));
                multiply([n[1], n[2], n[1]], u, (q1, q1_strides), (v, [n[2], 1]));
            }
        };
        self.pool.run(&self.cuts, (Planes::new(&mut self.u, size), Planes::new(&mut self.v, size)), |_, (u, v)| {
            planes(u.data, v.data, transposed(1), row_major(2));
        });
        // 2. Axis 0, divided by the eigenvalues: V = Q0^T U / lambda.
        let u = &self.u;
        self.pool.run(&self.cuts, Planes::new(&mut self.v, size), |range, v| {
            multiply([range.len(), size, n[0]], v.data, (&q0[range.start..], [1, n[0]]), (u, [size, 1]));
            for (v, m0) in v.data.chunks_exact_mut(size).zip(range) {
                for (v, m1) in v.chunks_exact_mut(n[2]).zip(0..n[1]) {
                    let above = self.values[0][m0] + self.values[1][m1];
                    for (v, &l) in v.iter_mut().zip(&self.values[2]) {
                        // The constant of a closed box has no image.
                        *v = if above + l > 0.0 { *v / (above + l) } else { 0.0 };
                    }
                }
            }
        });
        // 3. Back: U = Q0 V, then U <- Q1 U Q2^T.
        let v = &self.v;
        self.pool.run(&self.cuts, Planes::new(&mut self.u, size), |range, u| {
            multiply([range.len(), size, n[0]], u.data, (&q0[range.start * n[0]..], [n[0], 1]), (v, [size, 1]));
        });
        self.pool.run(&self.cuts, (Planes::new(&mut self.u, size), Planes::new(&mut self.v, size)), |_, (u, v)| {
            planes(u.data, v.data, row_major(1), transposed(2));
        });
    }

    fn run(&mut self, b: &[f64], x: &mut [f64]) {
        let problem = self.problem.clone();
        let Some(Start { b_norm, target }) = begin(&problem, &self.options, &mut self.report, b, x, &mut self.u) else {
            return;
        };
        let size = problem.layout.n[1] * problem.layout.n[2];
        let mut best = f64::INFINITY;
        loop {
            // u = b - A x; a second round is a step of iterative refinement.
            self.pool.run(&self.cuts, Planes::new(&mut self.u, size), |range, u| {
                problem.apply_planes(range.clone(), x, u.data);
                u.data.iter_mut().zip(&b[range.start * size..]).for_each(|(u, b)| *u = b - *u);
            });
            problem.project(&mut self.u);
            let norm = self.u.iter().map(|v| v * v).sum::<f64>().sqrt();
            self.report.history.push(norm / b_norm);
            if norm <= target
                || self.report.iterations >= self.options.max_iterations
                || norm.is_nan()
                || norm >= 0.5 * best
            {
                self.report.stop = if self.report.iterations >= self.options.max_iterations {
                    Stop::MaxIterations
                } else {
                    Stop::Stagnated
                };
                finish(&mut self.report, norm, b_norm, target);
                return;
            }
            best = norm;
            self.invert();
            x.iter_mut().zip(&self.u).for_each(|(x, u)| *x += u);
            problem.project(x);
            self.report.iterations += 1;
        }
    }
}

impl Solver for Direct {
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report> {
        check_lengths(self.problem.cells(), b, x)?;
        let start = Instant::now();
        self.report.restart();
        self.run(b, x);
        self.report.solve_seconds = start.elapsed().as_secs_f64();
        Ok(&self.report)
    }
}
