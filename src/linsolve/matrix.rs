//! The matrix itself, for other programs.

use super::multigrid::rows;
use super::operator::Operator;
use super::poisson::Poisson;

/// The matrix of the unknowns in compressed rows, symmetric.
pub struct Matrix {
    /// Flat index of the cell of each unknown.
    pub cells: Vec<u32>,
    /// `pointers[row] .. pointers[row + 1]` are the entries of a row.
    pub pointers: Vec<usize>,
    /// Column of each entry, ascending in a row.
    pub columns: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f64>,
}

impl Poisson {
    /// The matrix of the unknowns, without the cells that are none.
    pub fn matrix(&self) -> Matrix {
        let n = self.layout.n;
        let diagonal = self.diagonal().unwrap_or_default();
        let mut number = vec![u32::MAX; self.cells()];
        let mut cells = Vec::new();
        for (row, _) in rows(n).enumerate() {
            for run in self.runs.row(row) {
                for k in run.start as usize..run.end as usize {
                    number[row * n[2] + k] = cells.len() as u32;
                    cells.push((row * n[2] + k) as u32);
                }
            }
        }
        let steps = [n[1] * n[2], n[2], 1];
        let (mut pointers, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for &cell in &cells {
            let c = cell as usize;
            let at = [c / steps[0], c / n[2] % n[1], c % n[2]];
            let o = self.layout.at(at[0], at[1]) + at[2];
            let mut push = |other: usize, value: f64| {
                if number[other] < u32::MAX && value != 0.0 {
                    columns.push(number[other]);
                    values.push(value);
                }
            };
            for a in 0..3 {
                if at[a] > 0 {
                    push(c - steps[a], -self.scale * self.face_weight(a, o));
                }
            }
            push(c, diagonal[c]);
            for a in (0..3).rev() {
                if at[a] + 1 < n[a] {
                    push(c + steps[a], -self.scale * self.face_weight(a, o + self.layout.step(a)));
                }
            }
            pointers.push(columns.len());
        }
        Matrix { cells, pointers, columns, values }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scene;
    use super::*;

    #[test]
    fn the_matrix_is_that_of_the_operator() {
        for shape in [vec![6, 7, 8], vec![9, 12]] {
            let problem = Scene::Pillars.problem(&shape).unwrap();
            let matrix = problem.matrix();
            assert_eq!(matrix.cells.len(), problem.unknowns());
            let mut x: Vec<f64> = (0..problem.cells()).map(|k| ((k as f64) * 12.9898).sin()).collect();
            problem.project(&mut x);
            let mut y = vec![0.0; x.len()];
            problem.apply(&x, &mut y);
            for (row, &cell) in matrix.cells.iter().enumerate() {
                let entries = matrix.pointers[row]..matrix.pointers[row + 1];
                assert!(matrix.columns[entries.clone()].is_sorted());
                let sum: f64 =
                    entries.map(|e| matrix.values[e] * x[matrix.cells[matrix.columns[e] as usize] as usize]).sum();
                // Seven terms of the size of the diagonal, about 6 / h^2.
                assert!((sum - y[cell as usize]).abs() < 1e-12 * 6.0 * 144.0);
            }
        }
    }
}
