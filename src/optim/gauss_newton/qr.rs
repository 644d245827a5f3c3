//! The triangular factor of a tall matrix that arrives in blocks of rows.

use std::ops::Range;

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::prelude::{Reborrow, ReborrowMut};
use faer::{Accum, MatMut, MatRef, Par};

use super::super::vector;
use crate::autodiff::Workers;

/// Columns of a panel, and columns of the rest that one thread takes at a time.
const PANEL: usize = 32;
const COLUMNS: usize = 64;

/// An upper triangle `R` (`p x p`) and a vector `c` such that `R^T R = J^T J`, `R^T c = J^T r` for the rows seen so far.
///
/// Rows `B` are absorbed by reflections of `[R; B]`, whose vectors are `[e_k; v]`: the triangle above is never filled, and the
/// work is `2 p^2` for each row (the `tpqrt` of LAPACK). Column `j` of the storage is `[R_j; B_j]`, the last one `[c; r]`.
pub(super) struct Qr {
    p: usize,
    /// Most rows in a block.
    rows: usize,
    stack: Vec<f64>,
    /// `T` of a panel, `[PANEL, PANEL]` column-major.
    t: [f64; PANEL * PANEL],
}

impl Qr {
    pub fn new(p: usize, rows: usize) -> Self {
        Self { p, rows, stack: vec![0.0; (p + rows) * (p + 1)], t: [0.0; PANEL * PANEL] }
    }

    pub fn clear(&mut self) {
        self.stack.fill(0.0);
    }

    /// `R` and `c` of another.
    pub fn copy_from(&mut self, other: &Self) {
        let (to, from, p) = (self.p + self.rows, other.p + other.rows, self.p);
        for j in 0..=p {
            self.stack[j * to..][..p].copy_from_slice(&other.stack[j * from..][..p]);
        }
    }

    /// Takes rows `[count, p]`, row-major, and their right-hand sides.
    pub fn absorb(&mut self, workers: &Workers<f64>, rows: &[f64], r: &[f64]) {
        let (p, ld) = (self.p, self.p + self.rows);
        assert!(rows.len() == r.len() * p && r.len() <= self.rows, "rows of a block");
        for j in 0..p {
            let column = &mut self.stack[j * ld + p..(j + 1) * ld];
            column.iter_mut().zip(rows[j..].iter().step_by(p)).for_each(|(b, &x)| *b = x);
        }
        self.stack[p * ld + p..][..r.len()].copy_from_slice(r);
        self.eliminate(workers, |_| r.len());
    }

    /// Takes the rows of `diag(d)`, with zeros on the right-hand side.
    pub fn absorb_diagonal(&mut self, workers: &Workers<f64>, d: impl Iterator<Item = f64>) {
        let (p, ld) = (self.p, self.p + self.rows);
        assert!(self.rows >= p, "rows of a diagonal");
        self.stack.chunks_exact_mut(ld).for_each(|column| column[p..].fill(0.0));
        d.enumerate().for_each(|(j, d)| self.stack[j * ld + p + j] = d);
        // Rows below the panel are still zero there.
        self.eliminate(workers, |end| end);
    }

    /// Eliminates the block below, of which `active(end of the panel)` rows are not zero.
    fn eliminate(&mut self, workers: &Workers<f64>, active: impl Fn(usize) -> usize) {
        let (p, ld) = (self.p, self.p + self.rows);
        for first in (0..p).step_by(PANEL) {
            let end = (first + PANEL).min(p);
            let (width, rows) = (end - first, active(end));
            let (panel, rest) = self.stack[first * ld..].split_at_mut(width * ld);
            factor_panel(panel, ld, first, p..p + rows, &mut self.t);
            let v = MatRef::from_column_major_slice_with_stride(panel, ld, width, ld).subrows(p, rows);
            let t = MatRef::from_column_major_slice_with_stride(&self.t, width, width, PANEL);
            // Q^T [C1; C2] = [C1; C2] - [1; V] T^T (C1 + V^T C2).
            workers.pieces(rest, COLUMNS * ld, 2 * PANEL * COLUMNS, |_, columns, scratch| {
                let count = columns.len() / ld;
                let columns = MatMut::from_column_major_slice_mut(columns, ld, count);
                let (above, below) = columns.split_at_row_mut(p);
                let (mut above, mut below) = (above.subrows_mut(first, width), below.subrows_mut(0, rows));
                let (w, tw) = scratch.split_at_mut(PANEL * COLUMNS);
                let mut w = MatMut::from_column_major_slice_mut(&mut w[..width * count], width, count);
                let mut tw = MatMut::from_column_major_slice_mut(&mut tw[..width * count], width, count);
                w.copy_from(above.rb());
                matmul(w.rb_mut(), Accum::Add, v.transpose(), below.rb(), 1.0, Par::Seq);
                matmul(tw.rb_mut(), Accum::Replace, t.transpose(), w.rb(), 1.0, Par::Seq);
                above -= tw.rb();
                matmul(below.rb_mut(), Accum::Add, v, tw.rb(), -1.0, Par::Seq);
            });
        }
    }

    /// Squared lengths of the columns of `R`, which are those of `J`.
    pub fn columns(&self) -> impl Iterator<Item = f64> {
        let ld = self.p + self.rows;
        self.stack
            .chunks_exact(ld)
            .take(self.p)
            .enumerate()
            .map(|(j, column)| vector::dot(&column[..=j], &column[..=j]))
    }

    /// Smallest and largest magnitude of the diagonal of `R`.
    pub fn pivots(&self) -> (f64, f64) {
        let diagonal = self.stack.iter().step_by(self.p + self.rows + 1).take(self.p);
        diagonal.fold((f64::INFINITY, 0.0), |(least, most), x| (least.min(x.abs()), most.max(x.abs())))
    }

    /// `x = R^{-1} c`.
    pub fn solve(&self, x: &mut [f64]) {
        let (p, ld) = (self.p, self.p + self.rows);
        x.copy_from_slice(&self.stack[p * ld..][..p]);
        self.solve_upper(x);
    }

    /// Overwrites `x` with `(R^T R)^{-1} x`.
    pub fn solve_normal(&self, x: &mut [f64]) {
        let r = self.r();
        let columns = MatMut::from_column_major_slice_mut(x, self.p, 1);
        solve_lower_triangular_in_place(r.transpose(), columns, Par::Seq);
        self.solve_upper(x);
    }

    /// `y = R x`.
    pub fn multiply(&self, x: &[f64], y: &mut [f64]) {
        y.fill(0.0);
        let ld = self.p + self.rows;
        for (j, (column, &x)) in self.stack.chunks_exact(ld).zip(x).enumerate() {
            vector::add_scaled(&mut y[..=j], x, &column[..=j]);
        }
    }

    fn r(&self) -> MatRef<'_, f64> {
        MatRef::from_column_major_slice_with_stride(&self.stack, self.p, self.p, self.p + self.rows)
    }

    fn solve_upper(&self, x: &mut [f64]) {
        solve_upper_triangular_in_place(self.r(), MatMut::from_column_major_slice_mut(x, self.p, 1), Par::Seq);
    }
}

/// Reflections that clear the rows `block` of a panel whose triangle starts at row `first`; their vectors stay in the block.
///
/// Householder's in the form of Golub & Van Loan, *Matrix Computations*, 4th ed., 5.1.3, and `T` by Schreiber & Van Loan,
/// *SIAM J. Sci. Stat. Comput.* 10 (1989): `H_0 .. H_k = 1 - V T V^T`.
fn factor_panel(panel: &mut [f64], ld: usize, first: usize, block: Range<usize>, t: &mut [f64]) {
    for k in 0..panel.len() / ld {
        let (done, rest) = panel.split_at_mut(k * ld);
        let (column, rest) = rest.split_at_mut(ld);
        let (top, v) = (column[first + k], &mut column[block.clone()]);
        let tail = vector::dot(v, v);
        let tau = if tail == 0.0 {
            0.0
        } else {
            let alpha = -(top * top + tail).sqrt().copysign(top);
            vector::scale(v, 1.0 / (top - alpha));
            column[first + k] = alpha;
            (alpha - top) / alpha
        };
        let v = &column[block.clone()];
        for other in rest.chunks_exact_mut(ld) {
            let w = tau * (other[first + k] + vector::dot(v, &other[block.clone()]));
            other[first + k] -= w;
            vector::add_scaled(&mut other[block.clone()], -w, v);
        }
        // T_{0..k, k} = -tau T V^T v_k.
        let (known, here) = t.split_at_mut(k * PANEL);
        here[..PANEL].fill(0.0);
        for (j, other) in done.chunks_exact(ld).enumerate() {
            let z = -tau * vector::dot(&other[block.clone()], v);
            for (t, &known) in here.iter_mut().zip(&known[j * PANEL..][..=j]) {
                *t += z * known;
            }
        }
        here[k] = tau;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::noise;
    use super::*;

    #[test]
    fn triangle_and_solution_are_those_of_the_normal_equations_on_any_number_of_threads() {
        let (p, m, block) = (150, 400, 170);
        let (j, r) = (noise(m * p, 1), noise(m, 2));
        let run = |threads| {
            let workers = Workers::new(threads).unwrap();
            let mut qr = Qr::new(p, block);
            for (rows, r) in j.chunks(block * p).zip(r.chunks(block)) {
                qr.absorb(&workers, rows, r);
            }
            let mut damped = Qr::new(p, p);
            damped.copy_from(&qr);
            damped.absorb_diagonal(&workers, (0..p).map(|j| (0.1 + j as f64).sqrt()));
            let mut x = vec![0.0; p];
            damped.solve(&mut x);
            (qr.columns().collect::<Vec<_>>(), x)
        };
        let (columns, x) = run(1);
        assert!((columns.clone(), x.clone()) == run(3), "bits depend on the threads");
        let product = |row: usize| j[row * p..][..p].iter().zip(&x).map(|(a, b)| a * b).sum::<f64>() - r[row];
        for c in 0..p {
            let exact: f64 = (0..m).map(|row| j[row * p + c].powi(2)).sum();
            // 400 products of numbers below one.
            assert!((columns[c] - exact).abs() < 1e-11);
            let gradient = (0..m).map(|row| j[row * p + c] * product(row)).sum::<f64>() + (0.1 + c as f64) * x[c];
            assert!(gradient.abs() < 1e-11, "{gradient}");
        }
    }

    #[test]
    fn solves_with_the_triangle_are_inverse_to_products_with_it() {
        let p = 70;
        let (workers, x) = (Workers::new(1).unwrap(), noise(p, 3));
        let mut qr = Qr::new(p, 2 * p);
        qr.absorb(&workers, &noise(2 * p * p, 1), &noise(2 * p, 2));
        let (mut y, mut z) = (vec![0.0; p], vec![0.0; p]);
        qr.multiply(&x, &mut y);
        let square = vector::dot(&y, &y);
        // R^T y by the definition, then back.
        for (i, z) in z.iter_mut().enumerate() {
            *z = (0..=i).map(|k| qr.r()[(k, i)] * y[k]).sum();
        }
        assert!((vector::dot(&x, &z) - square).abs() < 1e-12 * square);
        qr.solve_normal(&mut z);
        // The condition of the triangle is about ten, squared.
        assert!(x.iter().zip(&z).all(|(x, z)| (x - z).abs() < 1e-12));
    }
}
