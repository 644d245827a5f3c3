//! Geometric multigrid: a V-cycle in single precision, and conjugate gradients in double precision around it.
//!
//! The cycle is matrix-free, symmetric and positive definite: the ascent takes the weights of the descent backwards, the
//! restriction is the transpose of the interpolation, and the coarsest level is solved exactly. Everything a learner may set
//! keeps it so: the weights of the sweeps, the smoother's diagonal and the factor of the coarse correction, each a level.
//!
//! # Source
//!
//! McAdams, Sifakis & Teran, *Symposium on Computer Animation* (2010) for multigrid as a preconditioner on cells with flags. Ours
//! differs: the weights of coarse faces are the mean of the finer ones, Dirichlet points keep their distance from the coarse
//! centres, and the interpolation beside Neumann faces is scaled to keep constants.

mod cycle;
mod level;
mod pcg;
mod transfer;

use std::sync::Arc;
use std::time::Instant;

pub use pcg::MultigridPcg;

use super::dense::{Cholesky, lift_null_space};
use super::operator::Preconditioner;
use super::poisson::Poisson;
use super::pool::{Pool, vectorize};
use super::smoother::Smoother;
use crate::error::{Error, Result};
use crate::spectral::simd::Isa;
pub(super) use level::rows;
use level::{Level, Parts};

/// Unknowns below which a level is solved by a dense inverse.
const DENSE: usize = 128;

/// Shape of the cycle, level by level.
#[derive(Clone, Debug, PartialEq)]
pub struct Cycle {
    /// From the finest level on; the last entry is for all coarser ones too.
    pub levels: Vec<LevelCycle>,
}

/// What the cycle does on one level.
///
/// The factors are `exp(theta . phi_i)` with two features of each unknown `i`: the part of its diagonal that belongs to Dirichlet
/// faces, and the part of the diagonal of a free cell that it lacks by Neumann faces. Both are zero away from boundaries, so that
/// `theta = 0` is the classical cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelCycle {
    /// Sweeps on the way down, and backwards on the way up.
    pub smoother: Smoother,
    /// Factor of the correction from the next level, in `(0, 2)`.
    pub coarse_scale: f64,
    /// `theta` of the factor of the smoother's diagonal `1 / d_i`. The product is cut so that `s_i (d_i + sum_j w_ij) <= 2`, which
    /// bounds the spectrum of `S A` by 2 (Gershgorin) and so keeps the cycle positive definite.
    pub smoother_boundary: [f64; 2],
    /// `theta` of the factor of the interpolated correction, and of the residual that is restricted.
    pub correction_boundary: [f64; 2],
    /// Factor of the weights of Dirichlet faces; not for the finest level, where they are given.
    pub dirichlet: f64,
}

impl LevelCycle {
    /// The classical cycle with a smoother.
    pub fn new(smoother: Smoother) -> Self {
        Self { smoother, coarse_scale: 1.0, smoother_boundary: [0.0; 2], correction_boundary: [0.0; 2], dirichlet: 1.0 }
    }

    fn check(&self) -> Result<()> {
        check_scale(self.coarse_scale)?;
        check_damping(&self.smoother, 2.0)?;
        for theta in [self.smoother_boundary, self.correction_boundary].as_flattened() {
            // exp(3) = 20 is far beyond what helps, and its powers stay within single precision.
            if theta.is_nan() || theta.abs() > 3.0 {
                return Err(Error::parameter("theta", theta, "must lie in [-3, 3]"));
            }
        }
        match self.dirichlet > 0.0 && self.dirichlet <= 100.0 {
            true => Ok(()),
            false => Err(Error::parameter("dirichlet", self.dirichlet, "must lie in (0, 100]")),
        }
    }
}

impl Cycle {
    /// The same on all levels.
    pub fn uniform(smoother: Smoother) -> Self {
        Self { levels: vec![LevelCycle::new(smoother)] }
    }

    /// What is done on a level.
    pub fn level(&self, level: usize) -> &LevelCycle {
        &self.levels[level.min(self.levels.len() - 1)]
    }

    fn check(&self) -> Result<()> {
        match self.levels.is_empty() {
            true => Err(Error::parameter("levels", 0, "must be at least one")),
            false => self.levels.iter().try_for_each(LevelCycle::check),
        }
    }
}

impl Default for Cycle {
    /// Four sweeps, with weights that were tuned for the decay of the residual on scenes of 32^3 cells. A sweep costs little,
    /// as all of a level's run in one pass over memory.
    fn default() -> Self {
        Self::uniform(Smoother::new(&[0.517, 0.708, 1.378, 5.048]).expect("these weights damp"))
    }
}

/// The hierarchy and its V-cycle.
pub struct Multigrid {
    problem: Arc<Poisson>,
    levels: Vec<Level>,
    /// Inverse on the coarsest level, over `unknowns`.
    inverse: Vec<f32>,
    /// Offsets of the unknowns of the coarsest level.
    unknowns: Vec<usize>,
    pool: Arc<Pool>,
    /// `b.z` of each plane of the finest level.
    sums: Vec<f64>,
    setup_seconds: f64,
}

impl Multigrid {
    /// Builds the hierarchy for `threads` workers.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if there are no threads, the instruction set is not available or the cycle is out of range.
    pub fn plan(problem: &Arc<Poisson>, cycle: &Cycle, threads: usize, isa: Isa) -> Result<Self> {
        Self::with_pool(problem, cycle, Arc::new(Pool::new(threads, isa)?), Vec::new())
    }

    /// On a pool, with the memory of `old` levels.
    fn with_pool(problem: &Arc<Poisson>, cycle: &Cycle, pool: Arc<Pool>, old: Vec<Level>) -> Result<Self> {
        let start = Instant::now();
        cycle.check()?;
        let (levels, inverse, unknowns) = vectorize(Isa::detect(), || {
            let mut parts = vec![Parts::finest(problem, cycle.level(0))];
            let mut ratio = [1; 3];
            while let (parts_made, Some(fine)) = (parts.len(), parts.last_mut()) {
                if fine.unknowns() <= DENSE || fine.halved == [false; 3] {
                    break;
                }
                for (r, halved) in ratio.iter_mut().zip(fine.halved) {
                    *r *= if halved { 2 } else { 1 };
                }
                let coarse =
                    fine.coarsen(&problem.dirichlet, ratio, [cycle.level(parts_made - 1), cycle.level(parts_made)]);
                parts.push(coarse);
            }
            let (inverse, unknowns) = invert(&parts[parts.len() - 1]);
            let layouts: Vec<_> = parts.iter().map(|p| p.stencil.layout).collect();
            let mut old = old.into_iter();
            let levels: Vec<Level> = parts
                .into_iter()
                .enumerate()
                .map(|(l, p)| Level::new(p, &pool, layouts.get(l + 1), old.next()))
                .collect();
            (levels, inverse, unknowns)
        });
        let sums = vec![0.0; problem.layout.n[0]];
        let setup_seconds = start.elapsed().as_secs_f64();
        Ok(Self { problem: problem.clone(), levels, inverse, unknowns, pool, sums, setup_seconds })
    }

    /// Number of levels.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Seconds that the set-up took.
    pub fn setup_seconds(&self) -> f64 {
        self.setup_seconds
    }

    /// Cells along each axis of a level; a 2-D grid `[nx, ny]` is `[nx, 1, ny]`.
    pub fn level_shape(&self, level: usize) -> [usize; 3] {
        self.levels[level].parts.stencil.layout.n
    }

    /// Codes of the cells of a level, row-major: what a learned smoother looks at.
    pub fn level_flags(&self, level: usize) -> Vec<u8> {
        let parts = &self.levels[level].parts;
        flat(parts, &parts.flags)
    }

    /// Diagonal of a level's operator, row-major, zero where the cell is no unknown.
    pub fn level_diagonal(&self, level: usize) -> Vec<f32> {
        let parts = &self.levels[level].parts;
        flat(parts, &parts.stencil.diag)
    }

    /// Sets the sweeps of one level.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if with the level's diagonal they would not damp.
    pub fn set_smoother(&mut self, level: usize, smoother: &Smoother) -> Result<()> {
        check_damping(smoother, self.bound(level, &self.levels[level].parts.smooth))?;
        let coarse = self.levels.get(level + 1).map(|coarse| coarse.parts.stencil.layout);
        self.levels[level].set_weights(smoother.weights(), coarse.as_ref());
        Ok(())
    }

    /// Sets the factor of the correction that a level gets from the next.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless it lies in `(0, 2)`.
    pub fn set_coarse_scale(&mut self, level: usize, scale: f64) -> Result<()> {
        check_scale(scale)?;
        self.levels[level].parts.coarse_scale = scale as f32;
        Ok(())
    }

    /// Sets the diagonal `S` of one level's sweeps `x <- x + w_k S (b - A x)`, row-major over its cells; entries
    /// outside the unknowns are ignored. The default is one over [`Multigrid::level_diagonal`].
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another length; [`Error::Parameter`] unless the entries are positive and finite and the sweeps
    /// damp: `|p(t)| < 1` up to the bound `t <= max s_i (d_i + sum_j w_ij)` of the spectrum of `S A`, which keeps the cycle
    /// positive definite.
    pub fn set_smoother_diagonal(&mut self, level: usize, diagonal: &[f32]) -> Result<()> {
        let parts = &self.levels[level].parts;
        let layout = parts.stencil.layout;
        if diagonal.len() != layout.cells() {
            return Err(Error::shape("diagonal", &[layout.cells()], &[diagonal.len()]));
        }
        let mut smooth = vec![0.0; layout.len()];
        for ((i, j), row) in rows(layout.n).zip(diagonal.chunks_exact(layout.n[2])) {
            let o = layout.at(i, j);
            for (k, &s) in row.iter().enumerate().filter(|&(k, _)| parts.stencil.diag[o + k] > 0.0) {
                if !s.is_finite() || s <= 0.0 {
                    return Err(Error::parameter("diagonal", s, "must be > 0 and finite on the unknowns"));
                }
                smooth[o + k] = s;
            }
        }
        check_damping(&Smoother { weights: parts.weights.clone() }, self.bound(level, &smooth))?;
        self.levels[level].parts.smooth = smooth;
        Ok(())
    }

    /// Gershgorin's bound of the spectrum of `S A` on a level.
    fn bound(&self, level: usize, smooth: &[f32]) -> f64 {
        let diag = &self.levels[level].parts.stencil.diag;
        // The off-diagonal entries of a row sum to no more than its diagonal.
        smooth.iter().zip(diag).map(|(&s, &d)| 2.0 * f64::from(s) * f64::from(d)).fold(0.0, f64::max)
    }

    /// One V-cycle from the finest level's `b` to its `z`; returns `b.z`.
    fn cycle(&mut self) -> f64 {
        let last = self.levels.len() - 1;
        for l in 0..last {
            let (fine, coarse) = self.levels.split_at_mut(l + 1);
            fine[l].descend(&mut coarse[0], &self.pool);
        }
        let coarsest = &mut self.levels[last];
        let n = self.unknowns.len();
        for (row, &o) in self.inverse.chunks_exact(n.max(1)).zip(&self.unknowns) {
            coarsest.z[o] = row.iter().zip(&self.unknowns).map(|(a, &o)| a * coarsest.b[o]).sum();
        }
        for l in (0..last).rev() {
            let (fine, coarse) = self.levels.split_at_mut(l + 1);
            let sums = if l == 0 { &mut self.sums[..] } else { &mut [] };
            fine[l].ascend(&coarse[0], &self.pool, sums);
        }
        if last == 0 {
            let level = &self.levels[0];
            return self.unknowns.iter().map(|&o| f64::from(level.b[o]) * f64::from(level.z[o])).sum();
        }
        self.sums.iter().sum()
    }
}

impl Preconditioner for Multigrid {
    fn name(&self) -> &'static str {
        "multigrid"
    }

    fn apply(&mut self, r: &[f64], z: &mut [f64]) {
        // Single precision would underflow or overflow without a scale.
        let largest = r.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if largest == 0.0 || !largest.is_finite() {
            z.fill(if largest == 0.0 { 0.0 } else { f64::NAN });
            return;
        }
        let layout = self.problem.layout;
        let n = layout.n;
        let level = &mut self.levels[0];
        for ((i, j), r) in rows(n).zip(r.chunks_exact(n[2])) {
            let o = layout.at(i, j);
            let (b, m) = (&mut level.b[o..o + n[2]], &level.parts.stencil.diag[o..o + n[2]]);
            for k in 0..n[2] {
                b[k] = if m[k] > 0.0 { (r[k] / largest) as f32 } else { 0.0 };
            }
        }
        self.cycle();
        let scale = largest / self.problem.scale;
        for ((i, j), z) in rows(n).zip(z.chunks_exact_mut(n[2])) {
            for (z, &v) in z.iter_mut().zip(&self.levels[0].z[layout.at(i, j)..]) {
                *z = scale * f64::from(v);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.levels.iter().map(Level::bytes).sum::<usize>() + 4 * self.inverse.len()
    }
}

fn flat<T: Copy>(parts: &Parts, padded: &[T]) -> Vec<T> {
    let layout = parts.stencil.layout;
    rows(layout.n).flat_map(|(i, j)| padded[layout.at(i, j)..][..layout.n[2]].iter().copied()).collect()
}

fn check_scale(scale: f64) -> Result<()> {
    if scale > 0.0 && scale < 2.0 { Ok(()) } else { Err(Error::parameter("coarse_scale", scale, "must lie in (0, 2)")) }
}

fn check_damping(smoother: &Smoother, bound: f64) -> Result<()> {
    let worst = smoother.amplification(bound);
    if worst < 1.0 {
        return Ok(());
    }
    let rule = format!("must damp: |prod(1 - w t)| < 1 for 0 < t <= {bound:.3}");
    Err(Error::parameter("smoother", format!("{:?} with {worst:.3}", smoother.weights()), rule))
}

/// Dense inverse of the coarsest operator, and the offsets of its unknowns.
fn invert(parts: &Parts) -> (Vec<f32>, Vec<usize>) {
    let layout = parts.stencil.layout;
    let unknowns: Vec<usize> = rows(layout.n)
        .flat_map(|(i, j)| layout.at(i, j)..layout.at(i, j) + layout.n[2])
        .filter(|&o| parts.stencil.diag[o] > 0.0)
        .collect();
    let n = unknowns.len();
    let mut a = vec![0.0; n * n];
    for (row, &o) in unknowns.iter().enumerate() {
        a[row * n + row] = f64::from(parts.stencil.diag[o]);
        for axis in 0..3 {
            let weight = parts.stencil.faces.as_ref().map_or(parts.stencil.axis[axis], |faces| faces[axis][o]);
            if let Ok(column) = unknowns.binary_search(&(o - layout.step(axis))) {
                a[row * n + column] = -f64::from(weight);
                a[column * n + row] = -f64::from(weight);
            }
        }
    }
    lift_null_space(n, &mut a);
    let mut inverse = vec![0.0f32; n * n];
    // Round-off may spoil a matrix that is nearly singular; then its diagonal has to do.
    match Cholesky::new(n, a.clone()) {
        Some(factor) => {
            let mut column = vec![0.0; n];
            for j in 0..n {
                column.fill(0.0);
                column[j] = 1.0;
                factor.solve(&mut column);
                // Column j below the diagonal, mirrored: the inverse is symmetric to the last bit.
                for i in j..n {
                    inverse[i * n + j] = column[i] as f32;
                    inverse[j * n + i] = column[i] as f32;
                }
            }
        }
        None => (0..n).for_each(|i| inverse[i * n + i] = (1.0 / a[i * n + i]) as f32),
    }
    (inverse, unknowns)
}
