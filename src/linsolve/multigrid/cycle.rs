//! The two halves of the V-cycle on one level, each in one pass over memory.
//!
//! A sweep needs its neighbours in the plane before and the plane after, so sweep `s` follows one plane behind sweep `s - 1`: while a
//! worker walks through its planes, the last three of every sweep stay in the cache. At the borders of its share a worker
//! computes a few planes that its neighbour computes too, from the same inputs and to the same bits.

use std::ops::Range;

use super::super::cells::{LEAD, Layout};
use super::super::pool::{Each, Planes, Pool};
use super::super::stencil::{Around, dot, residual, sweep, with_weights};
use super::level::{Level, Parts};
use super::transfer::{interpolate_row, interpolate_rows, restrict_plane};

/// The last planes of a sweep.
pub(crate) struct Ring {
    planes: Vec<Vec<f32>>,
}

impl Ring {
    fn new(count: usize, len: usize) -> Self {
        Self { planes: vec![vec![0.0; len]; count] }
    }

    #[inline(always)]
    fn get(&self, i: isize) -> &[f32] {
        &self.planes[i.rem_euclid(self.planes.len() as isize) as usize]
    }

    #[inline(always)]
    fn get_mut(&mut self, i: isize) -> &mut [f32] {
        let count = self.planes.len() as isize;
        &mut self.planes[i.rem_euclid(count) as usize]
    }
}

/// Memory of one worker on one level.
pub(crate) struct Scratch {
    /// Planes of the sweeps; the first ring of the ascent holds the corrected iterate.
    sweeps: Vec<Ring>,
    residual: Vec<f32>,
    /// Residual planes, restricted within the plane.
    restricted: Ring,
    row: Vec<f32>,
    line: Vec<f32>,
    zero: Vec<f32>,
}

impl Scratch {
    pub fn for_workers(count: usize, layout: &Layout, coarse: Option<&Layout>, sweeps: usize) -> Vec<Self> {
        (0..count).map(|_| Self::new(layout, coarse, sweeps)).collect()
    }

    fn new(layout: &Layout, coarse: Option<&Layout>, sweeps: usize) -> Self {
        Self {
            sweeps: (0..sweeps).map(|_| Ring::new(3, layout.plane)).collect(),
            // The right halo cell of the last row lies beyond the plane.
            residual: vec![0.0; layout.plane + LEAD],
            restricted: Ring::new(4, coarse.map_or(0, |c| c.plane)),
            row: vec![0.0; layout.n[2] + 8],
            line: vec![0.0; layout.row - LEAD],
            zero: vec![0.0; layout.plane],
        }
    }

    pub fn bytes(&self) -> usize {
        let planes = 3 * self.sweeps.len() + 2;
        4 * (planes * self.zero.len() + 4 * self.restricted.planes[0].len() + self.row.len())
    }
}

impl Parts {
    #[inline(always)]
    fn span(&self, i: usize, j: usize) -> Range<usize> {
        let [start, end] = self.spans[i * self.stencil.layout.n[1] + j];
        start as usize..end as usize
    }

    /// The cells of row `(i, j)`, the offset of the first in an array, and the row of the output plane, which is zeroed outside
    /// them. (No closure over rows: the compiler would keep it out of the vectorised caller.)
    #[inline(always)]
    fn row<'a>(&self, i: usize, j: usize, out: &'a mut [f32]) -> (Range<usize>, usize, &'a mut [f32]) {
        let layout = &self.stencil.layout;
        let span = self.span(i, j);
        let row = &mut out[layout.in_plane(j)..][..layout.row - LEAD];
        row[..span.start].fill(0.0);
        row[span.end..].fill(0.0);
        (span.clone(), layout.at(i, j) + span.start, &mut row[span])
    }

    /// The first sweep from zero, `x = omega s b`.
    #[inline(always)]
    fn start(&self, i: usize, omega: f32, b: &[f32], out: &mut [f32]) {
        for j in 0..self.stencil.layout.n[1] {
            let (_, o, row) = self.row(i, j, out);
            let (s, b) = (&self.smooth[o..o + row.len()], &b[o..o + row.len()]);
            for k in 0..row.len() {
                row[k] = omega * s[k] * b[k];
            }
        }
    }

    #[inline(always)]
    fn sweep(&self, i: usize, omega: f32, b: &[f32], x: [&[f32]; 3], out: &mut [f32]) {
        let stencil = &self.stencil;
        for j in 0..stencil.layout.n[1] {
            let (span, o, row) = self.row(i, j, out);
            let n = row.len();
            let around = Around::of_planes(&stencil.layout, x, j, span);
            let data = [&stencil.diag[o..o + n], &self.smooth[o..o + n], &b[o..o + n]];
            with_weights!(stencil, o, n, w => sweep(w, data, omega, &around, row));
        }
    }

    #[inline(always)]
    fn residual(&self, i: usize, b: &[f32], x: [&[f32]; 3], out: &mut [f32]) {
        let stencil = &self.stencil;
        for j in 0..stencil.layout.n[1] {
            let (span, o, row) = self.row(i, j, out);
            let n = row.len();
            let around = Around::of_planes(&stencil.layout, x, j, span);
            let [diag, m, b] = [&stencil.diag[o..o + n], &self.prolong[o..o + n], &b[o..o + n]];
            with_weights!(stencil, o, n, w => residual(w, diag, m, &around, b, row));
        }
    }

    /// `x + scale m P z`, with scratch for a coarse and a fine row.
    #[inline(always)]
    fn correct(&self, i: usize, below: &Layout, [x, z]: [&[f32]; 2], [coarse, fine]: [&mut [f32]; 2], out: &mut [f32]) {
        for j in 0..self.stencil.layout.n[1] {
            let (span, o, row) = self.row(i, j, out);
            if row.is_empty() {
                continue;
            }
            interpolate_rows(self.halved, below, z, [i, j], coarse);
            interpolate_row(self.halved[2], coarse, &mut fine[..self.stencil.layout.n[2]]);
            let n = row.len();
            let (m, x, v) = (&self.prolong[o..o + n], &x[o..o + n], &fine[span]);
            for k in 0..n {
                row[k] = x[k] + self.coarse_scale * m[k] * v[k];
            }
        }
    }
}

/// Planes `i - 1`, `i`, `i + 1`; zero beyond the walls.
#[inline(always)]
fn three<'a>(ring: &'a Ring, zero: &'a [f32], i: isize, n: isize) -> [&'a [f32]; 3] {
    [if i > 0 { ring.get(i - 1) } else { zero }, ring.get(i), if i + 1 < n { ring.get(i + 1) } else { zero }]
}

impl Level {
    /// Sweeps from zero, and restricts the residual: `x = p(b)`, `b_coarse = R (b - A x)`.
    pub(crate) fn descend(&mut self, coarse: &mut Level, pool: &Pool) {
        let (layout, below) = (self.parts.stencil.layout, coarse.parts.stencil.layout);
        let (planes, halved) = (layout.plane, self.parts.halved);
        let half = halved[0];
        let (parts, b) = (&self.parts, &self.b);
        let mask = &coarse.parts.stencil.diag;
        let outputs = (
            Each { data: &mut self.scratch, first: 0 },
            Planes::new(&mut self.x[planes..planes * (layout.n[0] + 1)], planes),
            Planes {
                data: &mut coarse.b[below.plane..below.plane * (below.n[0] + 1)],
                first: 0,
                stride: below.plane,
                ratio: if half { 2 } else { 1 },
            },
        );
        pool.run(&self.cuts, outputs, |range, (scratch, x, coarse_b)| {
            let Scratch { sweeps, residual, restricted, row, zero, .. } = &mut scratch.data[0];
            let (n, count) = (layout.n[0] as isize, parts.weights.len() as isize);
            // Planes whose residual this worker needs, and for each sweep those that it must know for that.
            let reach = isize::from(half);
            let needed = (range.start as isize - reach).max(0)..(range.end as isize + reach).min(n);
            let known = |s: isize| (needed.start - (count - s)).max(0)..(needed.end + (count - s)).min(n);
            // At step `t` sweep `s` does plane `t - s`, the residual plane `t - count`, the restriction follows.
            for t in known(0).start..needed.end + count {
                for s in 0..count {
                    let i = t - s;
                    if !known(s).contains(&i) {
                        continue;
                    }
                    let (before, after) = sweeps.split_at_mut(s as usize);
                    let (omega, out) = (parts.weights[s as usize], after[0].get_mut(i));
                    match before.last() {
                        None => parts.start(i as usize, omega, b, out),
                        Some(ring) => parts.sweep(i as usize, omega, b, three(ring, zero, i, n), out),
                    }
                    if s + 1 == count && range.contains(&(i as usize)) {
                        let at = (i as usize - range.start) * layout.plane;
                        x.data[at..at + layout.plane].copy_from_slice(out);
                    }
                }
                let i = t - count;
                if !needed.contains(&i) {
                    continue;
                }
                parts.residual(i as usize, b, three(&sweeps[count as usize - 1], zero, i, n), residual);
                restrict_plane(halved, [&layout, &below], residual, row, restricted.get_mut(i));
                let out = |c: usize| c * below.plane..(c + 1) * below.plane;
                let first = range.start / if half { 2 } else { 1 };
                if !half {
                    let c = i as usize - first;
                    masked(&below, i as usize, mask, [(1.0, restricted.get(i)); 1], &mut coarse_b.data[out(c)]);
                    continue;
                }
                // A coarse plane is complete with the fine plane after its children, or with the last.
                for c in (0..coarse_b.data.len() / below.plane).filter(|&c| {
                    let last = (2 * (first + c) as isize + 2).min(n - 1);
                    last == i
                }) {
                    let child = 2 * (first + c) as isize;
                    let plane = |f: isize, w: f32| {
                        (w, if (0..n).contains(&f) { restricted.get(f) } else { &zero[..below.plane] })
                    };
                    let parts = [
                        plane(child - 1, 0.125),
                        plane(child, 0.375),
                        plane(child + 1, 0.375),
                        plane(child + 2, 0.125),
                    ];
                    masked(&below, first + c, mask, parts, &mut coarse_b.data[out(c)]);
                }
            }
        });
    }

    /// Adds the coarse correction and sweeps: `z = q(x + P z_coarse)`. Puts `b.z` of each plane into `sums`, if there are any.
    pub(crate) fn ascend(&mut self, coarse: &Level, pool: &Pool, sums: &mut [f64]) {
        let (layout, below) = (self.parts.stencil.layout, coarse.parts.stencil.layout);
        let planes = layout.plane;
        let (parts, b) = (&self.parts, &self.b);
        let (x, correction) = (&self.x, &coarse.z);
        let wants_sums = !sums.is_empty();
        let stride = usize::from(wants_sums);
        let outputs = (
            Each { data: &mut self.scratch, first: 0 },
            Planes::new(&mut self.z[planes..planes * (layout.n[0] + 1)], planes),
            Planes::new(sums, stride),
        );
        pool.run(&self.cuts, outputs, |range, (scratch, z, sums)| {
            let Scratch { sweeps, row, line, zero, .. } = &mut scratch.data[0];
            let (n, count) = (layout.n[0] as isize, parts.weights.len() as isize);
            let (start, end) = (range.start as isize, range.end as isize);
            let known = |s: isize| (start - (count - s)).max(0)..(end + (count - s)).min(n);
            for t in known(0).start..end + count {
                if known(0).contains(&t) {
                    parts.correct(t as usize, &below, [x, correction], [row, line], sweeps[0].get_mut(t));
                }
                for s in 1..=count {
                    let i = t - s;
                    if !known(s).contains(&i) {
                        continue;
                    }
                    let omega = parts.weights[(count - s) as usize];
                    let (before, after) = sweeps.split_at_mut(s as usize);
                    let from = three(&before[s as usize - 1], zero, i, n);
                    if s < count {
                        parts.sweep(i as usize, omega, b, from, after[0].get_mut(i));
                        continue;
                    }
                    let p = i as usize - range.start;
                    let out = &mut z.data[p * layout.plane..(p + 1) * layout.plane];
                    parts.sweep(i as usize, omega, b, from, out);
                    if wants_sums {
                        sums.data[p] = 0.0;
                        for j in 0..layout.n[1] {
                            let (o, span) = (layout.in_plane(j), parts.span(i as usize, j));
                            let b = &b[(i as usize + 1) * layout.plane + o..];
                            sums.data[p] += dot(&out[o..][span.clone()], &b[span]);
                        }
                    }
                }
            }
        });
    }
}

/// `out = sum of the weighted planes` on the unknowns of coarse plane `i`.
#[inline(always)]
fn masked<const N: usize>(layout: &Layout, i: usize, mask: &[f32], parts: [(f32, &[f32]); N], out: &mut [f32]) {
    for j in 0..layout.n[1] {
        let o = layout.in_plane(j);
        let n = layout.n[2];
        let mask = &mask[layout.at(i, j)..][..n];
        let parts = parts.map(|(w, plane)| (w, &plane[o..o + n]));
        let out = &mut out[o..o + n];
        for k in 0..n {
            let mut sum = 0.0;
            for (w, plane) in &parts {
                sum += w * plane[k];
            }
            out[k] = if mask[k] > 0.0 { sum } else { 0.0 };
        }
    }
}
