//! Vector operations over fixed pieces: partial sums are added in the order of the pieces, so that the number of threads
//! does not show.

use std::sync::Arc;

use super::pool::{Planes, Pool};
use super::stencil::dot;

/// Elements of a piece; two vectors of them fit the first cache level.
const PIECE: usize = 2048;

/// Threads and partial sums for vectors of one length.
pub(crate) struct Vectors {
    pool: Arc<Pool>,
    cuts: Vec<usize>,
    sums: Vec<f64>,
}

impl Vectors {
    pub fn new(pool: &Arc<Pool>, n: usize) -> Self {
        let pieces = n.div_ceil(PIECE).max(1);
        let cuts = pool.cuts((0..pieces).map(|_| PIECE), 1);
        Self { pool: pool.clone(), cuts, sums: vec![0.0; pieces] }
    }

    fn total(&self) -> f64 {
        self.sums.iter().sum()
    }

    /// `x.y`.
    pub fn dot(&mut self, x: &[f64], y: &[f64]) -> f64 {
        self.pool.run(&self.cuts, Planes::new(&mut self.sums, 1), |range, sums| {
            for (s, piece) in sums.data.iter_mut().zip(range) {
                let (start, end) = (piece * PIECE, ((piece + 1) * PIECE).min(x.len()));
                *s = dot(&x[start..end], &y[start..end]);
            }
        });
        self.total()
    }

    /// `p = z + beta p`.
    pub fn direction(&mut self, z: &[f64], beta: f64, p: &mut [f64]) {
        self.pool.run(&self.cuts, Planes::new(p, PIECE), |range, p| {
            for (p, z) in p.data.iter_mut().zip(&z[(range.start * PIECE).min(z.len())..]) {
                *p = z + beta * *p;
            }
        });
    }

    /// `y += a x`.
    pub fn add(&mut self, a: f64, x: &[f64], y: &mut [f64]) {
        self.pool.run(&self.cuts, Planes::new(y, PIECE), |range, y| {
            for (y, x) in y.data.iter_mut().zip(&x[(range.start * PIECE).min(x.len())..]) {
                *y += a * x;
            }
        });
    }

    /// `x += alpha p`, `r -= alpha q`; returns `r.r`.
    pub fn step(&mut self, alpha: f64, p: &[f64], q: &[f64], x: &mut [f64], r: &mut [f64]) -> f64 {
        let outputs = (Planes::new(&mut self.sums, 1), Planes::new(x, PIECE), Planes::new(r, PIECE));
        self.pool.run(&self.cuts, outputs, |range, (sums, x, r)| {
            for (n, piece) in range.enumerate() {
                let (start, end) = (n * PIECE, ((n + 1) * PIECE).min(x.data.len()));
                let from = piece * PIECE;
                let (x, r) = (&mut x.data[start..end], &mut r.data[start..end]);
                let (p, q) = (&p[from..from + x.len()], &q[from..from + x.len()]);
                for k in 0..x.len() {
                    x[k] += alpha * p[k];
                    r[k] -= alpha * q[k];
                }
                sums.data[n] = dot(r, r);
            }
        });
        self.total()
    }
}
