//! Evaluation of a network without a tape: direct convolution with the 16 channels of a cell side by side.
//!
//! One vector of AVX-512 holds all channels of a cell. A strip of cells along the last axis is accumulated in registers over
//! taps and input channels, `acc[cell] += x[cell + tap][c] w[tap][c]` with `x` broadcast from memory: two loads feed two
//! multiply-adds, so that the loop runs near the peak. Bias, rectifier and skip connection are in the same pass. Two fields of the grid
//! and two of its half are all the memory.

use super::super::pool::{Planes, Pool};
use super::network::{CHANNELS, Depth, Field, Step};
use crate::autodiff::Parameters;
use crate::error::Result;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Most cells of a strip: the last one of a row reaches into the next row, the last of all into so many cells beyond.
const STRIP: usize = 16;

/// Channels of a cell.
type CellValues = [f32; CHANNELS];

/// A field with a halo of one cell of zeros.
struct Padded {
    n: [usize; 3],
    /// Cells from a row to the next, and from a plane to the next.
    row: usize,
    plane: usize,
    values: Vec<CellValues>,
}

impl Padded {
    fn new(n: [usize; 3]) -> Self {
        let (row, plane) = (n[2] + 2, (n[1] + 2) * (n[2] + 2));
        Self { n, row, plane, values: vec![[0.0; CHANNELS]; (n[0] + 2) * plane + STRIP] }
    }

    /// The planes of cells, without the halo.
    fn interior(&mut self) -> Planes<'_, CellValues> {
        let plane = self.plane;
        Planes::new(&mut self.values[plane..plane * (self.n[0] + 1)], plane)
    }

    /// Offset of the first cell of row `j` in its plane.
    fn in_plane(&self, j: usize) -> usize {
        (j + 1) * self.row + 1
    }
}

/// Weights of a layer: for each tap and input channel those of the 16 output channels.
struct Weights {
    taps: Vec<CellValues>,
    bias: CellValues,
}

/// A network with its weights and fields for one grid.
pub struct Inference {
    depth: Depth,
    lift: Weights,
    hidden: Vec<Weights>,
    project: (CellValues, f32),
    fields: [Padded; 4],
    /// The residual with its halo.
    input: Vec<f32>,
    cuts: [Vec<usize>; 2],
}

impl Inference {
    /// Takes over the parameters of a [`super::Network`] for a grid of `n` cells. Odd numbers are made even with zeros.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Shape`] if the parameters are not those of `depth`.
    pub(super) fn new(depth: Depth, parameters: &Parameters<f32>, n: [usize; 3], pool: &Pool) -> Result<Self> {
        if parameters.len() != depth.parameters() {
            return Err(crate::Error::shape("parameters of the network", &[depth.parameters()], &[parameters.len()]));
        }
        let mut layers = parameters.views().chunks_exact(2).map(|pair| {
            let [weight, bias] = [&pair[0], &pair[1]].map(|v| &parameters.theta()[v.offset..v.offset + v.len()]);
            (weight, bias)
        });
        let mut next = || layers.next().expect("a layer for each step");
        let convolution = |(weight, bias): (&[f32], &[f32])| {
            // From [out, in, tap] to [tap, in, out].
            let inputs = weight.len() / (27 * CHANNELS);
            let mut taps = vec![[0.0; CHANNELS]; 27 * inputs];
            for (k, &w) in weight.iter().enumerate() {
                let (out, c, tap) = (k / (27 * inputs), k / 27 % inputs, k % 27);
                taps[tap * inputs + c][out] = w;
            }
            Weights { taps, bias: std::array::from_fn(|c| bias[c]) }
        };
        let (mut lift, mut hidden, mut project) = (None, Vec::new(), ([0.0; CHANNELS], 0.0));
        for step in depth.steps() {
            match step {
                Step::Lift => lift = Some(convolution(next())),
                Step::Convolve { .. } => hidden.push(convolution(next())),
                Step::Project => {
                    let (weight, bias) = next();
                    project = (std::array::from_fn(|c| weight[c]), bias[0]);
                }
                Step::Average | Step::Repeat => {}
            }
        }
        let even = n.map(|n| n.next_multiple_of(2));
        let half = even.map(|n| n / 2);
        let fields = [even, even, half, half].map(Padded::new);
        let cuts = [even, half].map(|n| pool.cuts((0..n[0]).map(|_| n[1] * n[2] * CHANNELS), 1));
        let input = vec![0.0; fields[0].values.len()];
        let lift = lift.expect("every network begins with a lift");
        Ok(Self { depth, lift, hidden, project, fields, input, cuts })
    }

    /// `q = f(r)` on a grid of `n` cells, row-major.
    pub(super) fn evaluate(&mut self, pool: &Pool, isa: Isa, n: [usize; 3], r: &[f64], q: &mut [f64]) {
        let padded = &self.fields[0];
        let (row, plane) = (padded.row, padded.plane);
        for (line, r) in r.chunks_exact(n[2]).enumerate() {
            let o = (line / n[1] + 1) * plane + padded.in_plane(line % n[1]);
            self.input[o..o + n[2]].iter_mut().zip(r).for_each(|(x, r)| *x = *r as f32);
        }
        let mut hidden = self.hidden.iter();
        for step in self.depth.steps() {
            let [a, b, coarse_a, coarse_b] = &mut self.fields;
            match step {
                Step::Lift => {
                    let (input, lift) = (&self.input, &self.lift);
                    let (n, row) = (a.n, a.row);
                    pool.run(&self.cuts[0], a.interior(), |planes, out| {
                        for (i, out) in planes.zip(out.data.chunks_exact_mut(plane)) {
                            lift_plane(n, [row, plane], i, lift, input, out);
                        }
                    });
                }
                Step::Convolve { from, to, adds } => {
                    let weights = hidden.next().expect("weights for each convolution");
                    let (from, to, cuts) = match (from, to) {
                        (Field::A, Field::B) => (&*a, b, &self.cuts[0]),
                        (Field::B, Field::A) => (&*b, a, &self.cuts[0]),
                        (Field::CoarseA, Field::CoarseB) => (&*coarse_a, coarse_b, &self.cuts[1]),
                        (Field::CoarseB, Field::CoarseA) => (&*coarse_b, coarse_a, &self.cuts[1]),
                        _ => unreachable!("no step mixes grids or works in place"),
                    };
                    pool.run(cuts, to.interior(), |planes, out| {
                        for (i, out) in planes.zip(out.data.chunks_exact_mut(from.plane)) {
                            match isa {
                                Isa::Avx512 => convolve::<<f32 as Real>::Avx512, 1, 16>(from, i, weights, adds, out),
                                Isa::Avx2 => convolve::<<f32 as Real>::Avx2, 2, 6>(from, i, weights, adds, out),
                                Isa::Neon => convolve::<<f32 as Real>::Neon, 4, 6>(from, i, weights, adds, out),
                                Isa::Scalar => convolve::<f32, 16, 1>(from, i, weights, adds, out),
                            }
                        }
                    });
                }
                Step::Average => {
                    let (fine, n, to_row, to_plane) = (&*a, coarse_a.n, coarse_a.row, coarse_a.plane);
                    pool.run(&self.cuts[1], coarse_a.interior(), |planes, out| {
                        for (i, out) in planes.zip(out.data.chunks_exact_mut(to_plane)) {
                            average_plane(n, to_row, i, fine, out);
                        }
                    });
                }
                Step::Repeat => {
                    let (coarse, n) = (&*coarse_a, a.n);
                    pool.run(&self.cuts[0], a.interior(), |planes, out| {
                        for (i, out) in planes.zip(out.data.chunks_exact_mut(plane)) {
                            for j in 0..n[1] {
                                let from = &coarse.values[(i / 2 + 1) * coarse.plane + coarse.in_plane(j / 2)..];
                                let out = &mut out[(j + 1) * row + 1..][..n[2]];
                                for (pair, from) in out.chunks_exact_mut(2).zip(from) {
                                    for cell in pair {
                                        cell.iter_mut().zip(from).for_each(|(y, x)| *y += x);
                                    }
                                }
                            }
                        }
                    });
                }
                Step::Project => {
                    let (w, bias) = &self.project;
                    for (line, q) in q.chunks_exact_mut(n[2]).enumerate() {
                        let o = (line / n[1] + 1) * plane + a.in_plane(line % n[1]);
                        for (q, u) in q.iter_mut().zip(&a.values[o..]) {
                            *q = f64::from(bias + u.iter().zip(w).map(|(u, w)| u * w).sum::<f32>());
                        }
                    }
                }
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|f| size_of_val(&f.values[..])).sum();
        fields + 4 * self.input.len() + 4 * self.depth.parameters()
    }
}

/// One plane of the first convolution, from one channel.
#[inline(always)]
fn lift_plane(
    n: [usize; 3],
    [row, plane]: [usize; 2],
    i: usize,
    weights: &Weights,
    input: &[f32],
    out: &mut [CellValues],
) {
    for j in 0..n[1] {
        let out = &mut out[(j + 1) * row + 1..][..n[2]];
        out.fill(weights.bias);
        for (tap, w) in weights.taps.iter().enumerate() {
            // The first tap is the neighbour at -1 along every axis, which the halo shifts to 0.
            let x = &input[(i + tap / 9) * plane + (j + tap / 3 % 3) * row + tap % 3..][..n[2]];
            for (y, &x) in out.iter_mut().zip(x) {
                y.iter_mut().zip(w).for_each(|(y, w)| *y += x * w);
            }
        }
    }
}

/// One plane of `out = relu(bias + w * x)`, plus what `out` holds if it adds, in strips of `N` cells of `R` vectors.
fn convolve<L: Lanes<Real = f32>, const R: usize, const N: usize>(
    x: &Padded,
    i: usize,
    weights: &Weights,
    adds: bool,
    out: &mut [CellValues],
) {
    assert!(R * L::WIDTH == CHANNELS && N <= STRIP);
    L::vectorize(
        #[inline(always)]
        || {
            for j in 0..x.n[1] {
                for k in (0..x.n[2]).step_by(N) {
                    let acc = accumulate::<L, R, N>(x, [i, j, k], &weights.taps);
                    let out = &mut out[(j + 1) * x.row + 1 + k..][..N.min(x.n[2] - k)];
                    for (out, acc) in out.iter_mut().zip(&acc) {
                        for (r, &sum) in acc.iter().enumerate() {
                            let mut y = (sum + load::<L>(&weights.bias, r)).at_least(L::splat(0.0));
                            if adds {
                                y = y + load::<L>(out, r);
                            }
                            // SAFETY: vector `r` of `R` lies within the 16 values.
                            unsafe { y.store(out.as_mut_ptr().add(r * L::WIDTH)) };
                        }
                    }
                }
            }
        },
    );
}

/// Vector `r` of 16 values.
#[inline(always)]
fn load<L: Lanes<Real = f32>>(values: &CellValues, r: usize) -> L {
    assert!((r + 1) * L::WIDTH <= CHANNELS);
    // SAFETY: as just checked.
    unsafe { L::load(values.as_ptr().add(r * L::WIDTH)) }
}

/// `w * x` for the strip of cells from `(i, j, k)` on.
#[inline(always)]
fn accumulate<L: Lanes<Real = f32>, const R: usize, const N: usize>(
    x: &Padded,
    [i, j, k]: [usize; 3],
    taps: &[CellValues],
) -> [[L; R]; N] {
    let mut acc = [[L::splat(0.0); R]; N];
    for (tap, w) in taps.chunks_exact(CHANNELS).enumerate() {
        let o = (i + tap / 9) * x.plane + (j + tap / 3 % 3) * x.row + k + tap % 3;
        let cells: &[CellValues; N] = x.values[o..o + N].try_into().expect("a strip has N cells");
        for c in 0..CHANNELS {
            let mut v = [L::splat(0.0); R];
            for (r, v) in v.iter_mut().enumerate() {
                *v = load(&w[c], r);
            }
            for m in 0..N {
                let value = L::splat(cells[m][c]);
                for r in 0..R {
                    acc[m][r] = value.madd(v[r], acc[m][r]);
                }
            }
        }
    }
    acc
}

/// One plane of the mean over 2^3 cells.
#[inline(always)]
fn average_plane(n: [usize; 3], row: usize, i: usize, fine: &Padded, out: &mut [CellValues]) {
    for j in 0..n[1] {
        let at =
            |p: usize, q: usize| &fine.values[(2 * i + 1 + p) * fine.plane + fine.in_plane(2 * j + q)..][..2 * n[2]];
        let rows = [at(0, 0), at(0, 1), at(1, 0), at(1, 1)];
        for (k, out) in out[(j + 1) * row + 1..][..n[2]].iter_mut().enumerate() {
            *out = [0.0; CHANNELS];
            for cell in rows.iter().flat_map(|row| &row[2 * k..2 * k + 2]) {
                out.iter_mut().zip(cell).for_each(|(y, x)| *y += 0.125 * x);
            }
        }
    }
}
