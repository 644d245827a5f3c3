//! The seven-point stencil, a row at a time: `(A x)_i = d_i x_i - sum_j w_ij x_j` over the six neighbours `j` of `i`.
//!
//! `x` is zero where the cell is no unknown, so that no kernel looks at a flag: the coefficients do it all. The loops are
//! plain; they are vectorised where they are inlined into `Pool::run`.

use std::ops::Range;

use super::cells::Layout;
use crate::field::Real;

/// Coefficients in the padded layout. Arithmetic is in `T`; the diagonal may be kept in less where that is exact.
pub(crate) struct Stencil<T, D = T> {
    pub layout: Layout,
    /// Weight of all faces normal to each axis; used where `faces` is none.
    pub axis: [T; 3],
    /// Weight of the face between a cell and the one before it, per axis.
    pub faces: Option<[Vec<T>; 3]>,
    /// `d`, zero where the cell is no unknown.
    pub diag: Vec<D>,
}

/// A row of cells and its six neighbours, all of one length.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a, X> {
    pub centre: &'a [X],
    low: [&'a [X]; 3],
    high: [&'a [X]; 3],
}

impl<'a, X> Around<'a, X> {
    /// From three planes of the padded layout, cells `span` of row `j`.
    #[inline(always)]
    pub fn of_planes(layout: &Layout, planes: [&'a [X]; 3], j: usize, span: Range<usize>) -> Self {
        let (q, n) = (layout.in_plane(j) + span.start, span.len());
        let [before, here, after] = planes;
        // A 2-D grid has no neighbours along axis 1; the row itself stands in, with weight zero.
        let step = if layout.is_2d { 0 } else { layout.row };
        Self {
            centre: &here[q..q + n],
            low: [&before[q..q + n], &here[q - step..q - step + n], &here[q - 1..q - 1 + n]],
            high: [&after[q..q + n], &here[q + step..q + step + n], &here[q + 1..q + 1 + n]],
        }
    }

    /// From an array without halo; `zeros` stands in for rows and cells beyond the walls. `span` must not reach both a
    /// wall of the last axis and beyond one cell.
    #[inline(always)]
    pub fn of_flat(n: [usize; 3], x: &'a [X], zeros: &'a [X], [i, j]: [usize; 2], span: Range<usize>) -> Self {
        let (o, len) = ((i * n[1] + j) * n[2] + span.start, span.len());
        let at = |inside: bool, start: usize| if inside { &x[start..start + len] } else { &zeros[..len] };
        Self {
            centre: &x[o..o + len],
            low: [
                at(i > 0, o.wrapping_sub(n[1] * n[2])),
                at(j > 0, o.wrapping_sub(n[2])),
                at(span.start > 0, o.wrapping_sub(1)),
            ],
            high: [at(i + 1 < n[0], o + n[1] * n[2]), at(j + 1 < n[1], o + n[2]), at(span.end < n[2], o + 1)],
        }
    }
}

/// Weights of the faces of one row.
pub(crate) trait Weights<T>: Copy {
    /// `sum_j w_kj x_j`.
    fn neighbours<X: Copy + Into<T>>(self, x: &Around<X>, k: usize) -> T;
}

/// The same weight for all faces normal to an axis.
#[derive(Clone, Copy)]
pub(crate) struct Uniform<T>(pub [T; 3]);

impl<T: Real> Weights<T> for Uniform<T> {
    #[inline(always)]
    fn neighbours<X: Copy + Into<T>>(self, x: &Around<X>, k: usize) -> T {
        let pair = |a: usize| self.0[a] * (x.low[a][k].into() + x.high[a][k].into());
        pair(0) + pair(1) + pair(2)
    }
}

/// A weight for each face.
#[derive(Clone, Copy)]
pub(crate) struct Faces<'a, T> {
    low: [&'a [T]; 3],
    high: [&'a [T]; 3],
}

impl<'a, T> Faces<'a, T> {
    #[inline(always)]
    pub fn new(layout: &Layout, faces: &'a [Vec<T>; 3], o: usize, n: usize) -> Self {
        let low = |a: usize| &faces[a][o..o + n];
        let high = |a: usize| &faces[a][o + layout.step(a)..o + layout.step(a) + n];
        Self { low: [low(0), low(1), low(2)], high: [high(0), high(1), high(2)] }
    }
}

impl<T: Real> Weights<T> for Faces<'_, T> {
    #[inline(always)]
    fn neighbours<X: Copy + Into<T>>(self, x: &Around<X>, k: usize) -> T {
        let pair = |a: usize| self.low[a][k] * x.low[a][k].into() + self.high[a][k] * x.high[a][k].into();
        pair(0) + pair(1) + pair(2)
    }
}

/// Evaluates `$body` with `$w` the [`Weights`] of `$n` cells from offset `$o` of `$stencil`.
macro_rules! with_weights {
    ($stencil:expr, $o:expr, $n:expr, $w:ident => $body:expr) => {
        match &$stencil.faces {
            None => {
                let $w = $crate::linsolve::stencil::Uniform($stencil.axis);
                $body
            }
            Some(faces) => {
                let $w = $crate::linsolve::stencil::Faces::new(&$stencil.layout, faces, $o, $n);
                $body
            }
        }
    };
}
pub(crate) use with_weights;

/// `y = A x`, zero where the cell is no unknown.
#[inline(always)]
pub(crate) fn apply<T: Real, D, X>(w: impl Weights<T>, diag: &[D], x: &Around<X>, scale: T, y: &mut [T])
where
    D: Copy + Into<T>,
    X: Copy + Into<T>,
{
    let n = x.centre.len();
    let (diag, y) = (&diag[..n], &mut y[..n]);
    for k in 0..n {
        let d: T = diag[k].into();
        let value = scale * (d * x.centre[k].into() - w.neighbours(x, k));
        y[k] = if d > T::zero() { value } else { T::zero() };
    }
}

/// `y = m (b - A x)`, with `m` zero where the cell is no unknown.
#[inline(always)]
pub(crate) fn residual(w: impl Weights<f32>, diag: &[f32], m: &[f32], x: &Around<f32>, b: &[f32], y: &mut [f32]) {
    let n = x.centre.len();
    let (diag, m, b, y) = (&diag[..n], &m[..n], &b[..n], &mut y[..n]);
    for k in 0..n {
        y[k] = m[k] * ((b[k] - diag[k] * x.centre[k]) + w.neighbours(x, k));
    }
}

/// `y = x + omega s (b - A x)`, with `s` zero where the cell is no unknown.
#[inline(always)]
pub(crate) fn sweep(w: impl Weights<f32>, [diag, s, b]: [&[f32]; 3], omega: f32, x: &Around<f32>, y: &mut [f32]) {
    let n = x.centre.len();
    let (diag, s, b, y) = (&diag[..n], &s[..n], &b[..n], &mut y[..n]);
    for k in 0..n {
        y[k] = x.centre[k] + omega * s[k] * ((b[k] - diag[k] * x.centre[k]) + w.neighbours(x, k));
    }
}

/// `sum_k x_k y_k` in double precision, in an order that depends on the length alone.
#[inline(always)]
pub(crate) fn dot<X: Copy + Into<f64>, Y: Copy + Into<f64>>(x: &[X], y: &[Y]) -> f64 {
    const LANES: usize = 16;
    let mut sums = [0.0; LANES];
    let (mut xs, mut ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    for (x, y) in (&mut xs).zip(&mut ys) {
        for l in 0..LANES {
            sums[l] += x[l].into() * y[l].into();
        }
    }
    for ((s, &x), &y) in sums.iter_mut().zip(xs.remainder()).zip(ys.remainder()) {
        *s += x.into() * y.into();
    }
    sums.iter().sum()
}

impl<D: Copy + Into<f64> + Sync> Stencil<f64, D> {
    /// `d` of the cell at offset `o`.
    #[inline(always)]
    pub fn diagonal(&self, o: usize) -> f64 {
        self.diag[o].into()
    }

    /// Row `(i, j)` of `scale A x` for an array without halo; `zeros` is at least a row long.
    #[inline(always)]
    pub fn apply_flat(&self, scale: f64, x: &[f64], zeros: &[f64], row: [usize; 2], span: Range<usize>, y: &mut [f64]) {
        let n = self.layout.n;
        let o = self.layout.at(row[0], row[1]);
        y[..span.start].fill(0.0);
        y[span.end..].fill(0.0);
        // The first and the last cell of a row have a wall beside them.
        let (first, last) = (span.start.max(1).min(span.end), span.end.min(n[2] - 1).max(span.start));
        let pieces = if n[2] == 1 {
            [span.clone(), 0..0, 0..0]
        } else {
            [span.start..first, first..last.max(first), last.max(first)..span.end]
        };
        for piece in pieces.into_iter().filter(|p| !p.is_empty()) {
            let (at, len) = (o + piece.start, piece.len());
            let around = Around::of_flat(n, x, zeros, row, piece.clone());
            with_weights!(self, at, len, w => apply(w, &self.diag[at..at + len], &around, scale, &mut y[piece]));
        }
    }
}
