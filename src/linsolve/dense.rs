//! Small dense systems: the coarsest level and the deflated space.

/// Cholesky factor `A = L L^T` of a symmetric positive definite matrix, row-major.
pub(crate) struct Cholesky {
    n: usize,
    l: Vec<f64>,
}

impl Cholesky {
    /// Factors the lower triangle of `a`, `n x n`. `None` if it is not positive definite to working precision.
    pub fn new(n: usize, mut a: Vec<f64>) -> Option<Self> {
        for i in 0..n {
            let (above, here) = a.split_at_mut(i * n);
            for j in 0..=i {
                let row = if j < i { &above[j * n..j * n + j] } else { &here[..0] };
                let known = if j < i {
                    row.iter().zip(&here[..j]).map(|(x, y)| x * y).sum::<f64>()
                } else {
                    here[..i].iter().map(|x| x * x).sum()
                };
                let value = here[j] - known;
                here[j] = if j < i {
                    value / above[j * n + j]
                } else if value > 1e-14 * here[i] {
                    value.sqrt()
                } else {
                    return None;
                };
            }
        }
        Some(Self { n, l: a })
    }

    /// Overwrites `b` with `A^{-1} b`.
    pub fn solve(&self, b: &mut [f64]) {
        let n = self.n;
        for i in 0..n {
            let (known, rest) = b.split_at_mut(i);
            let row = &self.l[i * n..=i * n + i];
            rest[0] = (rest[0] - row[..i].iter().zip(&*known).map(|(l, x)| l * x).sum::<f64>()) / row[i];
        }
        for i in (0..n).rev() {
            let row = &self.l[i * n..=i * n + i];
            let x = b[i] / row[i];
            b[i] = x;
            b[..i].iter_mut().zip(row).for_each(|(b, l)| *b -= l * x);
        }
    }

    pub fn bytes(&self) -> usize {
        8 * self.l.len()
    }
}

/// Makes a semidefinite matrix with zero row sums on some of its connected blocks definite: adds `d 1 1^T / n` to each such
/// block of `n` rows, `d` its mean diagonal. Rows with a zero diagonal get a one.
///
/// On the range of the matrix the inverse is unchanged, for any right-hand side it is a definite one.
pub(crate) fn lift_null_space(n: usize, a: &mut [f64]) {
    let mut seen = vec![false; n];
    for first in 0..n {
        if a[first * n + first] == 0.0 {
            a[first * n + first] = 1.0;
            continue;
        }
        if std::mem::replace(&mut seen[first], true) {
            continue;
        }
        let (mut block, mut next) = (vec![first], 0);
        while let Some(&i) = block.get(next) {
            next += 1;
            for j in 0..n {
                if a[i * n + j] != 0.0 && !std::mem::replace(&mut seen[j], true) {
                    block.push(j);
                }
            }
        }
        let trace: f64 = block.iter().map(|&i| a[i * n + i]).sum();
        let sum: f64 = block.iter().flat_map(|&i| &a[i * n..(i + 1) * n]).sum();
        // The weights were rounded to single precision.
        if sum.abs() < 1e-6 * trace {
            let lift = trace / (block.len() * block.len()) as f64;
            for &i in &block {
                block.iter().for_each(|&j| a[i * n + j] += lift);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_solves_its_system_and_an_indefinite_matrix_has_none() {
        let a = vec![4.0, 0.0, 0.0, 2.0, 5.0, 0.0, -2.0, 1.0, 6.0];
        let mut b = [4.0 + 2.0 * 2.0 - 2.0 * 3.0, 2.0 + 5.0 * 2.0 + 3.0, -2.0 + 2.0 + 6.0 * 3.0];
        Cholesky::new(3, a).unwrap().solve(&mut b);
        // Round-off of three divisions.
        assert!(b.iter().zip([1.0, 2.0, 3.0]).all(|(x, y)| (x - y).abs() < 1e-14), "{b:?}");
        assert!(Cholesky::new(2, vec![1.0, 0.0, 2.0, 1.0]).is_none());
    }

    #[test]
    fn a_lifted_matrix_is_inverted_on_its_range() {
        // Two Neumann cells, one isolated cell.
        let (w, mut a) = (3.0, vec![3.0, -3.0, 0.0, -3.0, 3.0, 0.0, 0.0, 0.0, 0.0]);
        lift_null_space(3, &mut a);
        let mut b = [1.0, -1.0, 0.0];
        Cholesky::new(3, a).unwrap().solve(&mut b);
        assert!((b[0] - 0.5 / w).abs() < 1e-15 && (b[1] + 0.5 / w).abs() < 1e-15 && b[2] == 0.0, "{b:?}");
    }
}
