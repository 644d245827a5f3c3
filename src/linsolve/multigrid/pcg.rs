//! Conjugate gradients around the cycle, with three passes over memory an iteration besides it.
//!
//! ```text
//! z = M r,  beta = (r, z) / (r, z)_old,  p = z + beta p,
//! alpha = (r, z) / (p, A p),  x += alpha p,  r -= alpha A p.
//! ```
//!
//! `x` and `r` are double; `z` and `p` are single: the residual is updated with the `p` that `x` gets, so that rounding `p` costs
//! conjugacy to 1e-7 and no accuracy. `A p` is not stored but computed twice, which moves fewer bytes.

use std::sync::Arc;
use std::time::Instant;

use super::super::krylov::{Start, begin, finish};
use super::super::operator::{Operator, Preconditioner, Solver, check_lengths};
use super::super::poisson::{Poisson, with_matrix};
use super::super::pool::{Planes, Pool};
use super::super::report::{Lanczos, Options, Progress, Report, Stop};
use super::super::stencil::{Around, apply, dot, with_weights};
use super::{Cycle, Multigrid};
use crate::error::Result;

/// Multigrid-preconditioned conjugate gradients, the default of [`Poisson::plan`].
pub struct MultigridPcg {
    multigrid: Multigrid,
    cycle: Cycle,
    options: Options,
    /// Double-precision residual, row-major.
    r: Vec<f64>,
    /// Search direction in the padded layout.
    p: Vec<f32>,
    lines: Vec<Vec<f64>>,
    lanczos: Lanczos,
    report: Report,
}

impl MultigridPcg {
    /// Plans for a problem.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Parameter`] for options or a cycle that are out of range.
    pub fn plan(problem: &Arc<Poisson>, cycle: &Cycle, options: &Options) -> Result<Self> {
        options.validate()?;
        let start = Instant::now();
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        let multigrid = Multigrid::with_pool(problem, cycle, pool, Vec::new())?;
        let n = problem.layout.n;
        let mut solver = Self {
            r: vec![0.0; problem.cells()],
            p: vec![0.0; problem.layout.len()],
            lines: vec![vec![0.0; n[2]]; options.threads],
            lanczos: Lanczos::new(),
            report: Report::new("multigrid PCG", options.max_iterations),
            cycle: cycle.clone(),
            options: options.clone(),
            multigrid,
        };
        solver.report.bytes = solver.bytes();
        solver.report.setup_seconds = start.elapsed().as_secs_f64();
        Ok(solver)
    }

    /// Takes another problem, after a change of the flags, say; threads and vectors are kept. What a learner had set is
    /// lost.
    ///
    /// # Errors
    ///
    /// As [`MultigridPcg::plan`].
    pub fn update(&mut self, problem: &Arc<Poisson>) -> Result<()> {
        let start = Instant::now();
        let old = std::mem::take(&mut self.multigrid.levels);
        self.multigrid = Multigrid::with_pool(problem, &self.cycle, self.multigrid.pool.clone(), old)?;
        self.r.resize(problem.cells(), 0.0);
        self.p.clear();
        self.p.resize(problem.layout.len(), 0.0);
        self.lines.iter_mut().for_each(|line| line.resize(problem.layout.n[2], 0.0));
        self.report.bytes = self.bytes();
        self.report.setup_seconds = start.elapsed().as_secs_f64();
        Ok(())
    }

    /// The hierarchy, to look at.
    pub fn multigrid(&self) -> &Multigrid {
        &self.multigrid
    }

    /// The hierarchy, to set what a learner found.
    pub fn multigrid_mut(&mut self) -> &mut Multigrid {
        &mut self.multigrid
    }

    fn bytes(&self) -> usize {
        8 * self.r.len() + 4 * self.p.len() + self.multigrid.bytes() + self.multigrid.problem.bytes()
    }

    /// `r = b - A x` with the projections of both; returns `||r||`.
    fn true_residual(&mut self, b: &[f64], x: &[f64]) -> f64 {
        let problem = &self.multigrid.problem;
        let n = problem.layout.n;
        let stride = n[1] * n[2];
        let cuts = &self.multigrid.levels[0].cuts;
        let outputs = (Planes::new(&mut self.r, stride), Planes::new(&mut self.multigrid.sums, 1));
        self.multigrid.pool.run(cuts, outputs, |range, (r, _)| {
            problem.apply_planes(range.clone(), x, r.data);
            for (r, b) in r.data.iter_mut().zip(&b[range.start * stride..]) {
                *r = b - *r;
            }
        });
        problem.project(&mut self.r);
        let r = &self.r;
        self.multigrid.pool.run(cuts, Planes::new(&mut self.multigrid.sums, 1), |range, sums| {
            for (s, i) in sums.data.iter_mut().zip(range) {
                let r = &r[i * stride..(i + 1) * stride];
                *s = dot(r, r);
            }
        });
        self.multigrid.sums.iter().sum::<f64>().sqrt()
    }

    /// Puts `r / scale` on the finest level, from where the cycle takes it.
    fn load_residual(&mut self, scale: f64) {
        let layout = self.multigrid.problem.layout;
        let [_, n1, n2] = layout.n;
        let (r, inverse) = (&self.r, 1.0 / scale);
        let level = &mut self.multigrid.levels[0];
        let b = Planes::new(&mut level.b[layout.plane..layout.plane * (layout.n[0] + 1)], layout.plane);
        self.multigrid.pool.run(&level.cuts, b, |range, b| {
            for (b, i) in b.data.chunks_exact_mut(layout.plane).zip(range) {
                for j in 0..n1 {
                    let r = &r[(i * n1 + j) * n2..][..n2];
                    for (b, r) in b[layout.in_plane(j)..][..n2].iter_mut().zip(r) {
                        *b = (r * inverse) as f32;
                    }
                }
            }
        });
    }

    /// `p = z + beta p`.
    fn update_direction(&mut self, beta: f64) {
        let layout = self.multigrid.problem.layout;
        let (level, beta) = (&self.multigrid.levels[0], beta as f32);
        let p = Planes::new(&mut self.p[layout.plane..layout.plane * (layout.n[0] + 1)], layout.plane);
        self.multigrid.pool.run(&level.cuts, p, |range, p| {
            let z = &level.z[(range.start + 1) * layout.plane..][..p.data.len()];
            if beta == 0.0 {
                p.data.copy_from_slice(z);
            }
            for (p, z) in p.data.iter_mut().zip(z) {
                *p = z + beta * *p;
            }
        });
    }

    /// `(p, A p)` over the problem's scale.
    fn curvature(&mut self) -> f64 {
        let Multigrid { problem, levels, pool, sums, .. } = &mut self.multigrid;
        let (layout, p) = (problem.layout, &self.p);
        let spans = &levels[0].parts.spans;
        let outputs = (Planes::new(sums, 1), super::super::pool::Each { data: &mut self.lines, first: 0 });
        pool.run(&levels[0].cuts, outputs, |range, (sums, lines)| {
            let line = &mut lines.data[0];
            for (s, i) in sums.data.iter_mut().zip(range) {
                *s = 0.0;
                let planes = three_planes(&layout, p, i);
                for j in 0..layout.n[1] {
                    let [start, end] = spans[i * layout.n[1] + j].map(|k| (k as usize).min(layout.n[2]));
                    let (o, n) = (layout.at(i, j) + start, end - start);
                    let around = Around::of_planes(&layout, planes, j, start..end);
                    let line = &mut line[..n];
                    with_matrix!(problem, m => with_weights!(m, o, n, w =>
                        apply(w, &m.diag[o..o + n], &around, 1.0f64, line)));
                    *s += dot(around.centre, line);
                }
            }
        });
        sums.iter().sum()
    }

    /// `x += alpha p`, `r -= alpha' A p`, and `r / scale` to the finest level; returns `||r||`.
    fn step(&mut self, alpha: f64, alpha_r: f64, scale: f64, x: &mut [f64]) -> f64 {
        let Multigrid { problem, levels, pool, sums, .. } = &mut self.multigrid;
        let (layout, p) = (problem.layout, &self.p);
        let n = layout.n;
        let level = &mut levels[0];
        let spans = &level.parts.spans;
        let inverse = 1.0 / scale;
        let outputs = (
            Planes::new(sums, 1),
            super::super::pool::Each { data: &mut self.lines, first: 0 },
            Planes::new(x, n[1] * n[2]),
            Planes::new(&mut self.r, n[1] * n[2]),
            Planes::new(&mut level.b[layout.plane..layout.plane * (n[0] + 1)], layout.plane),
        );
        pool.run(&level.cuts, outputs, |range, (sums, lines, x, r, b)| {
            let line = &mut lines.data[0];
            for (plane, i) in range.enumerate() {
                let mut sum = 0.0;
                let planes = three_planes(&layout, p, i);
                for j in 0..n[1] {
                    let [start, end] = spans[i * n[1] + j].map(|k| (k as usize).min(n[2]));
                    let (o, len) = (layout.at(i, j) + start, end - start);
                    let around = Around::of_planes(&layout, planes, j, start..end);
                    let line = &mut line[..len];
                    with_matrix!(problem, m => with_weights!(m, o, len, w =>
                        apply(w, &m.diag[o..o + len], &around, alpha_r, line)));
                    let at = (plane * n[1] + j) * n[2];
                    let (x, r) = (&mut x.data[at + start..at + end], &mut r.data[at + start..at + end]);
                    let b = &mut b.data[plane * layout.plane + layout.in_plane(j) + start..][..len];
                    let p = &around.centre[..len];
                    for k in 0..len {
                        x[k] += alpha * f64::from(p[k]);
                        r[k] -= line[k];
                        b[k] = (r[k] * inverse) as f32;
                    }
                    sum += dot(r, r);
                }
                sums.data[plane] = sum;
            }
        });
        sums.iter().sum::<f64>().sqrt()
    }

    /// Iterates from the residual in `r` down to `target`; returns why it stopped.
    fn iterate(&mut self, target: f64, b_norm: f64, norm: f64, x: &mut [f64]) -> Stop {
        // Every cycle sees numbers of order one, whatever the unit of `b`.
        let scale = norm;
        self.load_residual(scale);
        let (mut rz_old, mut alpha, mut beta) = (0.0, 0.0, 0.0);
        let mut progress = Progress::new(norm);
        let inverse_scale = 1.0 / self.multigrid.problem.scale;
        while self.report.iterations < self.options.max_iterations {
            // In units where the stencil has no scale: z is M r / scale, p like it, and r is restored in `step`.
            let rz = self.multigrid.cycle();
            if !rz.is_finite() {
                return Stop::NotFinite;
            }
            if rz <= 0.0 {
                return if rz < 0.0 { Stop::IndefinitePreconditioner } else { Stop::Stagnated };
            }
            if rz_old > 0.0 {
                beta = rz / rz_old;
                self.lanczos.push(alpha, beta);
            }
            rz_old = rz;
            self.update_direction(beta);
            let curvature = self.curvature();
            if !curvature.is_finite() || curvature <= 0.0 {
                return if curvature.is_finite() { Stop::IndefiniteOperator } else { Stop::NotFinite };
            }
            alpha = rz / curvature;
            let norm = self.step(alpha * scale * inverse_scale, alpha * scale, scale, x);
            self.report.iterations += 1;
            self.report.history.push(norm / b_norm);
            if norm <= target {
                return Stop::Converged;
            }
            if progress.has_stalled(self.report.iterations, norm) {
                return Stop::Stagnated;
            }
        }
        Stop::MaxIterations
    }

    fn run(&mut self, b: &[f64], x: &mut [f64]) {
        self.lanczos.restart();
        let problem = self.multigrid.problem.clone();
        let begun = begin(&problem, &self.options, &mut self.report, b, x, &mut self.r);
        let Some(Start { b_norm, target }) = begun else {
            return;
        };
        let mut norm = self.true_residual(b, x);
        self.report.history.push(norm / b_norm);
        while norm > target && self.report.iterations < self.options.max_iterations {
            let before = norm;
            self.report.stop = self.iterate(target, b_norm, norm, x);
            problem.project(x);
            norm = self.true_residual(b, x);
            // The carried residual drifts from the true one by round-off: go on from the true one while that helps.
            if self.report.stop != Stop::Converged || norm.is_nan() || norm >= 0.5 * before {
                break;
            }
        }
        finish(&mut self.report, norm, b_norm, target);
        self.report.condition = self.lanczos.condition();
    }
}

impl Solver for MultigridPcg {
    fn solve(&mut self, b: &[f64], x: &mut [f64]) -> Result<&Report> {
        check_lengths(self.multigrid.problem.cells(), b, x)?;
        let start = Instant::now();
        self.report.restart();
        let pool = self.multigrid.pool.clone();
        pool.enter(|| self.run(b, x));
        self.report.solve_seconds = start.elapsed().as_secs_f64();
        Ok(&self.report)
    }
}

#[inline(always)]
fn three_planes<'a>(layout: &super::super::cells::Layout, p: &'a [f32], i: usize) -> [&'a [f32]; 3] {
    [0, 1, 2].map(|d| &p[(i + d) * layout.plane..(i + d + 1) * layout.plane])
}
