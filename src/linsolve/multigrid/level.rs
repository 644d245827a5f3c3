//! The levels of the hierarchy: what a coarse cell is, and which weights its faces have.

use super::super::cells::{Cell, LEAD, Layout, VECTOR};
use super::super::poisson::{DirichletFace, Poisson, with_matrix};
use super::super::pool::Pool;
use super::super::stencil::Stencil;
use super::LevelCycle;
use super::cycle::Scratch;
use super::transfer::{interpolate_row, interpolate_rows};

/// What a level does not change during a solve: its stencil in single precision and the smoother's data.
pub(crate) struct Parts {
    pub stencil: Stencil<f32>,
    /// Codes of [`Cell`].
    pub flags: Vec<u8>,
    /// `S`, the smoother's inverse diagonal; zero where the cell is no unknown.
    pub smooth: Vec<f32>,
    /// Factor of each unknown's interpolated correction; zero where the cell is no unknown.
    pub prolong: Vec<f32>,
    /// Smoother's weights.
    pub weights: Vec<f32>,
    /// Factor of the whole correction from the next level.
    pub coarse_scale: f32,
    /// Axes along which the next level has half as many cells.
    pub halved: [bool; 3],
    /// First and one past the last unknown of each row, rounded outwards to whole vectors.
    pub spans: Vec<[u32; 2]>,
}

/// One level: its parts, the vectors of the cycle, and the workers' shares.
pub(crate) struct Level {
    pub parts: Parts,
    pub b: Vec<f32>,
    /// The iterate between descent and ascent.
    pub x: Vec<f32>,
    /// What the cycle returns.
    pub z: Vec<f32>,
    /// Planes where the workers' shares begin.
    pub cuts: Vec<usize>,
    pub scratch: Vec<Scratch>,
}

/// Dirichlet points closer to a coarse cell's centre than this, in cells of that level, count as at this distance: the
/// centre may lie beyond the surface.
const NEAREST: f64 = 0.25;

impl Parts {
    fn new(stencil: Stencil<f32>, flags: Vec<u8>, cycle: &LevelCycle) -> Self {
        let layout = stencil.layout;
        let n = layout.n;
        let mut smooth: Vec<f32> = stencil.diag.iter().map(|&d| if d > 0.0 { 1.0 / d } else { 0.0 }).collect();
        if cycle.smoother_boundary != [0.0; 2] {
            for_boundary(&stencil, &flags, |o, d, open, features| {
                smooth[o] = (factor(cycle.smoother_boundary, features) / d).min(2.0 / (d + open));
            });
        }
        let spans =
            (0..n[0] * n[1]).map(|row| span(&stencil.diag[layout.at(row / n[1], row % n[1])..][..n[2]])).collect();
        // Axes with weak coupling are left alone (semi-coarsening): point smoothers do not reach across them.
        let present = |a: usize| n[a] > 1;
        let strongest = (0..3).filter(|&a| present(a)).map(|a| stencil.axis[a]).fold(0.0, f32::max);
        let halved = std::array::from_fn(|a| present(a) && stencil.axis[a] > 0.4 * strongest);
        let (weights, coarse_scale) = (cycle.smoother.weights().to_vec(), cycle.coarse_scale as f32);
        Self { flags, smooth, prolong: Vec::new(), weights, coarse_scale, halved, spans, stencil }
    }

    /// The level of the problem itself.
    pub fn finest(problem: &Poisson, cycle: &LevelCycle) -> Self {
        let layout = problem.layout;
        let stencil = with_matrix!(problem, s => Stencil {
            layout,
            axis: s.axis.map(|w| w as f32),
            faces: s.faces.as_ref().map(|faces| faces.each_ref().map(|f| f.iter().map(|&w| w as f32).collect())),
            diag: (0..s.diag.len()).map(|o| s.diagonal(o) as f32).collect(),
        });
        Self::new(stencil, problem.flags.clone(), cycle)
    }

    pub fn unknowns(&self) -> usize {
        self.stencil.diag.iter().filter(|&&d| d > 0.0).count()
    }

    /// The next level. `ratio` are the cells of the finest level in one of the new level, per axis; `cycles` those of this level
    /// and of the next.
    pub fn coarsen(&mut self, dirichlet: &[DirichletFace], ratio: [usize; 3], cycles: [&LevelCycle; 2]) -> Self {
        let fine = &self.stencil.layout;
        let n = std::array::from_fn(|a| if self.halved[a] { fine.n[a].div_ceil(2) } else { fine.n[a] });
        let layout = Layout::new(n, fine.is_2d);
        let flags = self.coarse_flags(&layout);
        let faces = self.coarse_faces(&layout);
        let mut diag = vec![0.0f32; layout.len()];
        for (i, j) in rows(layout.n) {
            let o = layout.at(i, j);
            for o in (o..o + layout.n[2]).filter(|&o| flags[o] == Cell::Fluid as u8) {
                diag[o] = (0..3).map(|a| faces[a][o] + faces[a][o + layout.step(a)]).sum();
            }
        }
        for face in dirichlet {
            // The conductance of the face over the volume of a coarse cell, with the distance from that cell's centre.
            let axis = face.axis as usize;
            let cell: [usize; 3] = std::array::from_fn(|a| face.cell[a] as usize / ratio[a]);
            let size = ratio[axis] as f64;
            let point = face.cell[axis] as f64 + if face.is_high { 1.5 } else { -0.5 };
            let centre = (cell[axis] as f64 + 0.5) * size;
            let distance = if face.is_high { point - centre } else { centre - point };
            let volume = ratio.iter().product::<usize>() as f64;
            let weight = cycles[1].dirichlet * face.weight / (volume * distance.max(NEAREST * size));
            diag[layout.at(cell[0], cell[1]) + cell[2]] += weight as f32;
        }
        let axis = std::array::from_fn(|a| self.stencil.axis[a] * if self.halved[a] { 0.25 } else { 1.0 });
        let coarse = Self::new(Stencil { layout, axis, faces: Some(faces), diag }, flags, cycles[1]);
        self.prolong = self.prolongation_factors(&coarse);
        let theta = cycles[0].correction_boundary;
        if theta != [0.0; 2] {
            let prolong = &mut self.prolong;
            for_boundary(&self.stencil, &self.flags, |o, _, _, features| prolong[o] *= factor(theta, features));
        }
        coarse
    }

    /// Fluid if any child is, else air if any child is, else solid.
    fn coarse_flags(&self, layout: &Layout) -> Vec<u8> {
        let fine = &self.stencil.layout;
        let mut flags = vec![Cell::Solid as u8; layout.len()];
        // Children of coarse cell `c - 1` along axis `a`, both counted from the halo.
        let children = |a: usize, c: usize| -> [usize; 2] {
            match (self.halved[a], c) {
                (false, c) => [c, c],
                (true, 0) => [0, 0],
                (true, c) => [(2 * c - 1).min(fine.n[a] + 1), (2 * c).min(fine.n[a] + 1)],
            }
        };
        let rank = |f: u8| [0u8, 2, 1][f as usize];
        let mut best = vec![0u8; fine.n[2] + 2];
        for i in 0..layout.n[0] + 2 {
            for j in 0..layout.n[1] + 2 {
                best.fill(0);
                for p in children(0, i) {
                    for q in children(1, j) {
                        let start = p * fine.plane + q * fine.row + LEAD - 1;
                        for (b, &f) in best.iter_mut().zip(&self.flags[start..]) {
                            *b = (*b).max(rank(f));
                        }
                    }
                }
                let start = i * layout.plane + j * layout.row + LEAD - 1;
                for k in 0..layout.n[2] + 2 {
                    let [p, q] = children(2, k);
                    flags[start + k] = [0u8, 2, 1][best[p].max(best[q]) as usize];
                }
            }
        }
        flags
    }

    /// Weights between fluid cells: the mean over the finer faces that make up a coarse face, a quarter of it where the distance
    /// doubles. Fluid children have fluid parents, so that the finer flags decide.
    fn coarse_faces(&self, layout: &Layout) -> [Vec<f32>; 3] {
        const FLUID: u8 = Cell::Fluid as u8;
        let fine = &self.stencil.layout;
        let mut faces: [Vec<f32>; 3] = std::array::from_fn(|_| vec![0.0; layout.len()]);
        let mut line = vec![0.0; fine.n[2] + 1];
        for (a, face) in faces.iter_mut().enumerate() {
            let step = fine.step(a);
            // Children of coarse cell `c` along axis `b`; along its own axis a coarse face has the position of its first child's.
            let children = |b: usize, c: usize| match (self.halved[b], a == b) {
                (false, _) => c..c + 1,
                (true, true) => 2 * c..2 * c + 1,
                (true, false) => 2 * c..(2 * c + 2).min(fine.n[b]),
            };
            let parts: f32 = (0..3).map(|b| if a != b && self.halved[b] { 2.0 } else { 1.0 }).product();
            let factor = if self.halved[a] { 0.25 } else { 1.0 } / parts;
            for (i, j) in rows(layout.n) {
                let o = layout.at(i, j);
                let out = &mut face[o..o + layout.n[2]];
                for (p, q) in children(0, i).flat_map(|p| children(1, j).map(move |q| (p, q))) {
                    let (f, n) = (fine.at(p, q), fine.n[2]);
                    let (here, before) = (&self.flags[f..f + n], &self.flags[f - step..f - step + n]);
                    let open = |k: usize| (here[k] == FLUID) & (before[k] == FLUID);
                    let line_n = &mut line[..n];
                    match &self.stencil.faces {
                        None => (0..n).for_each(|k| line_n[k] = if open(k) { self.stencil.axis[a] } else { 0.0 }),
                        Some(faces) => {
                            let weights = &faces[a][f..f + n];
                            (0..n).for_each(|k| line_n[k] = if open(k) { weights[k] } else { 0.0 });
                        }
                    }
                    // The line ends with a zero, for the missing child of an odd row.
                    match (self.halved[2], a == 2) {
                        (false, _) => out.iter_mut().zip(&line).for_each(|(out, w)| *out += factor * w),
                        (true, true) => {
                            out.iter_mut().zip(line.iter().step_by(2)).for_each(|(out, w)| *out += factor * w)
                        }
                        (true, false) => {
                            let pairs = line.chunks_exact(2);
                            out.iter_mut().zip(pairs).for_each(|(out, w)| *out += factor * (w[0] + w[1]));
                        }
                    }
                }
            }
        }
        faces
    }

    /// One over the interpolation weight that falls on coarse cells that are not solid, so that constants are interpolated
    /// exactly beside Neumann faces.
    fn prolongation_factors(&self, coarse: &Self) -> Vec<f32> {
        let (fine, layout) = (&self.stencil.layout, &coarse.stencil.layout);
        let open: Vec<f32> = coarse.flags.iter().map(|&f| if f == Cell::Solid as u8 { 0.0 } else { 1.0 }).collect();
        let mut factors = vec![0.0; fine.len()];
        let (mut row, mut out) = (vec![0.0; layout.n[2] + 2], vec![0.0; fine.n[2]]);
        for (i, j) in rows(fine.n) {
            interpolate_rows(self.halved, layout, &open, [i, j], &mut row);
            interpolate_row(self.halved[2], &row, &mut out);
            let o = fine.at(i, j);
            let (diag, factors) = (&self.stencil.diag[o..o + fine.n[2]], &mut factors[o..o + fine.n[2]]);
            for k in 0..fine.n[2] {
                factors[k] = if diag[k] > 0.0 && out[k] > 0.0 { 1.0 / out[k] } else { 0.0 };
            }
        }
        factors
    }

    fn bytes(&self) -> usize {
        let floats: usize = [&self.stencil.diag, &self.smooth, &self.prolong].iter().map(|v| v.len()).sum();
        let faces: usize = self.stencil.faces.iter().flatten().map(Vec::len).sum();
        4 * (floats + faces) + self.flags.len()
    }
}

impl Level {
    /// Adds the vectors, those of `old` where they fit, and shares the level out among workers.
    pub fn new(parts: Parts, pool: &Pool, coarse: Option<&Layout>, old: Option<Self>) -> Self {
        let layout = parts.stencil.layout;
        let n = layout.n;
        let spans = &parts.spans;
        let work = (0..n[0]).map(|i| spans[i * n[1]..(i + 1) * n[1]].iter().map(|s| (s[1] - s[0]) as usize).sum());
        let cuts = pool.cuts(work, 2);
        let scratch = Scratch::for_workers(cuts.len() - 1, &layout, coarse, parts.weights.len());
        let zeros = || vec![0.0; layout.len()];
        match old.filter(|old| old.parts.stencil.layout == layout) {
            // What is left in `b` and `x` beyond the unknowns meets coefficients that are zero; the passes zero `z` there,
            // but for the coarsest level, which has none.
            Some(Self { b, x, mut z, .. }) => {
                if coarse.is_none() {
                    z.fill(0.0);
                }
                Self { b, x, z, cuts, scratch, parts }
            }
            None => Self { b: zeros(), x: zeros(), z: zeros(), cuts, scratch, parts },
        }
    }

    /// Takes other sweeps.
    pub fn set_weights(&mut self, weights: &[f32], coarse: Option<&Layout>) {
        if weights.len() != self.parts.weights.len() {
            let layout = self.parts.stencil.layout;
            self.scratch = Scratch::for_workers(self.cuts.len() - 1, &layout, coarse, weights.len());
        }
        self.parts.weights = weights.to_vec();
    }

    pub fn bytes(&self) -> usize {
        12 * self.b.len() + self.parts.bytes() + self.scratch.iter().map(Scratch::bytes).sum::<usize>()
    }
}

/// `exp(theta . phi)`.
fn factor(theta: [f64; 2], phi: [f32; 2]) -> f32 {
    (theta[0] as f32 * phi[0] + theta[1] as f32 * phi[1]).exp()
}

/// Calls `f(o, d, sum_j w_j, features)` for the unknowns at boundaries, see [`LevelCycle`].
fn for_boundary(stencil: &Stencil<f32>, flags: &[u8], mut f: impl FnMut(usize, f32, f32, [f32; 2])) {
    const FLUID: u8 = Cell::Fluid as u8;
    let layout = &stencil.layout;
    let full: f32 = 2.0 * (0..3).filter(|&a| !(a == 1 && layout.is_2d)).map(|a| stencil.axis[a]).sum::<f32>();
    for (i, j) in rows(layout.n) {
        let start = layout.at(i, j);
        for o in (start..start + layout.n[2]).filter(|&o| stencil.diag[o] > 0.0) {
            let d = stencil.diag[o];
            let weight = |a: usize, face: usize, beyond: usize| match &stencil.faces {
                None if flags[beyond] == FLUID => stencil.axis[a],
                None => 0.0,
                Some(faces) if flags[beyond] == FLUID => faces[a][face],
                Some(_) => 0.0,
            };
            let open: f32 = (0..3)
                .map(|a| {
                    let step = layout.step(a);
                    weight(a, o, o - step) + weight(a, o + step, o + step)
                })
                .sum();
            // Round-off of the sum is no boundary.
            let features = [((d - open) / d).max(0.0), (1.0 - d / full).clamp(0.0, 1.0)];
            if features[0] > 1e-6 || features[1] > 1e-6 {
                f(o, d, open, features);
            }
        }
    }
}

/// Rows `(i, j)` of a grid.
pub(crate) fn rows(n: [usize; 3]) -> impl Iterator<Item = (usize, usize)> + Clone {
    (0..n[0]).flat_map(move |i| (0..n[1]).map(move |j| (i, j)))
}

/// A row without a remainder is twice as fast as one with; what is beyond the unknowns has zero coefficients.
fn span(diag: &[f32]) -> [u32; 2] {
    let start = diag.iter().position(|&d| d > 0.0).unwrap_or(0);
    let end = diag.iter().rposition(|&d| d > 0.0).map_or(0, |k| k + 1);
    [(start - start % VECTOR) as u32, end.next_multiple_of(VECTOR) as u32]
}
