//! A sum of outer products and its damped Cholesky factor.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place, cholesky_in_place_scratch};
use faer::linalg::matmul::{matmul, triangular};
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::prelude::ReborrowMut;
use faer::{Accum, MatMut, MatRef, Par};
use triangular::BlockStructure::{Rectangular, TriangularLower};

use crate::autodiff::Workers;

/// Columns that one thread takes at a time. Below, the product of a block is less efficient.
const COLUMNS: usize = 128;

/// `G = sum X X^T`, `n x n`, and the Cholesky factor of `G + lambda diag(s)`; column-major, lower triangles.
pub(super) struct Gram {
    n: usize,
    matrix: Vec<f64>,
    factor: Vec<f64>,
    scratch: MemBuffer,
}

impl Gram {
    pub fn new(n: usize) -> Self {
        let scratch = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
        Self { n, matrix: vec![0.0; n * n], factor: vec![0.0; n * n], scratch }
    }

    pub fn clear(&mut self) {
        self.matrix.fill(0.0);
    }

    /// Adds `x x^T` to the lower triangle, for `x` with `n` rows.
    pub fn add(&mut self, workers: &Workers<f64>, x: MatRef<f64>) {
        let n = self.n;
        assert_eq!(x.nrows(), n, "rows of a factor");
        workers.pieces(&mut self.matrix, COLUMNS * n, 0, |index, columns, _| {
            let (first, count) = (index * COLUMNS, columns.len() / n);
            let columns = MatMut::from_column_major_slice_mut(columns, n, count);
            let (diagonal, below) = columns.split_at_row_mut(first).1.split_at_row_mut(count);
            let (here, rest) = x.split_at_row(first).1.split_at_row(count);
            let right = here.transpose();
            let rectangular = Rectangular;
            triangular::matmul(
                diagonal,
                TriangularLower,
                Accum::Add,
                here,
                rectangular,
                right,
                rectangular,
                1.0,
                Par::Seq,
            );
            matmul(below, Accum::Add, rest, right, 1.0, Par::Seq);
        });
    }

    pub fn diagonal(&self) -> impl Iterator<Item = f64> {
        self.matrix.iter().step_by(self.n + 1).copied()
    }

    /// Factors `G + lambda diag(s)`; false if it is not positive definite to working precision.
    pub fn factor(&mut self, lambda: f64, s: &[f64]) -> bool {
        let n = self.n;
        for (j, s) in s.iter().enumerate() {
            let (column, from) = (&mut self.factor[j * n + j..(j + 1) * n], &self.matrix[j * n + j..(j + 1) * n]);
            column.copy_from_slice(from);
            column[0] += lambda * s;
        }
        let factor = MatMut::from_column_major_slice_mut(&mut self.factor, n, n);
        let stack = MemStack::new(&mut self.scratch);
        cholesky_in_place(factor, Default::default(), Par::Seq, stack, Default::default()).is_ok()
    }

    /// Overwrites `b` with `(G + lambda diag(s))^{-1} b`, by the last factor.
    pub fn solve(&self, b: &mut [f64]) {
        let l = MatRef::from_column_major_slice(&self.factor, self.n, self.n);
        let mut b = MatMut::from_column_major_slice_mut(b, self.n, 1);
        solve_lower_triangular_in_place(l, b.rb_mut(), Par::Seq);
        solve_upper_triangular_in_place(l.transpose(), b, Par::Seq);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::noise;
    use super::*;

    #[test]
    fn sum_and_solution_are_those_of_the_definition_on_any_number_of_threads() {
        let (n, k) = (2 * COLUMNS + 37, 300);
        let (x, b) = (noise(n * k, 1), noise(n, 2));
        let s: Vec<f64> = (0..n).map(|i| 1.0 + 0.3 * (i as f64).sin()).collect();
        let run = |threads| {
            let workers = Workers::new(threads).unwrap();
            let (mut gram, mut y) = (Gram::new(n), b.clone());
            for part in x.chunks(n * 100) {
                gram.add(&workers, MatRef::from_column_major_slice(part, n, part.len() / n));
            }
            assert!(gram.factor(0.5, &s));
            gram.solve(&mut y);
            (gram.matrix, y)
        };
        let (matrix, y) = run(1);
        assert!((matrix.clone(), y.clone()) == run(3), "bits depend on the threads");
        for i in 0..n {
            let entry = |j: usize| (0..k).map(|c| x[c * n + i] * x[c * n + j]).sum::<f64>();
            // 300 products of numbers below one.
            assert!((0..=i).all(|j| (matrix[j * n + i] - entry(j)).abs() < 1e-12));
            let residual = (0..n).map(|j| entry(j) * y[j]).sum::<f64>() + 0.5 * s[i] * y[i] - b[i];
            // Eigenvalues up to 400, of a matrix with condition 1e3.
            assert!(residual.abs() < 1e-10, "{residual}");
        }
    }

    #[test]
    fn indefinite_matrix_has_no_factor() {
        let mut gram = Gram::new(2);
        gram.add(&Workers::new(1).unwrap(), MatRef::from_column_major_slice(&[1.0, 1.0], 2, 1));
        assert!(!gram.factor(-0.1, &[1.0; 2]) && gram.factor(0.1, &[1.0; 2]));
    }
}
