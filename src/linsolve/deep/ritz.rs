//! Right-hand sides as published: random mixtures of Ritz vectors, the lower ones weighted.
//!
//! Lanczos' method with full orthogonalisation from `A` times noise gives an orthonormal basis `V` of a Krylov space and a tridiagonal
//! `T = V^T A V` with eigenvectors `Y`; right-hand sides are
//!
//! ```text
//! b = V Y c / ||c||,   c_j normal, times 9 for the lowest half and a little more of the Ritz values above 1e-8.
//! ```

use faer::{Mat, Side};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::super::operator::Operator;
use crate::error::{Error, Result};

/// Ritz values below this times the largest are taken for the null space.
const ZERO: f64 = 1e-8;

/// Factor of the lower coefficients.
const EMPHASIS: f64 = 9.0;

/// A Krylov basis and its Ritz vectors.
pub struct RitzVectors {
    /// The basis, a vector a row.
    basis: Vec<Vec<f64>>,
    /// Ritz values, ascending.
    values: Vec<f64>,
    /// `vectors[j]`: coefficients of Ritz vector `j` in the basis.
    vectors: Vec<Vec<f64>>,
    /// Ritz vectors from the lowest on that are emphasised.
    lower: usize,
}

impl RitzVectors {
    /// Makes `steps` steps of Lanczos' method. Memory is `8 steps n` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for fewer than two steps or more than unknowns, and if the eigenvalues cannot be found.
    pub fn new(operator: &impl Operator, steps: usize, rng: &mut ChaCha8Rng) -> Result<Self> {
        let n = operator.len();
        if steps < 2 || steps > n {
            return Err(Error::parameter("steps", steps, format!("must be 2 to the number of unknowns, {n}")));
        }
        let noise: Vec<f64> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
        let mut w = vec![0.0; n];
        let mut start = noise;
        operator.project(&mut start);
        operator.apply(&start, &mut w);
        operator.project(&mut w);
        let (mut basis, mut diagonal, mut off): (Vec<Vec<f64>>, Vec<f64>, Vec<f64>) = Default::default();
        for _ in 0..steps {
            let norm = dot(&w, &w).sqrt();
            // The space is exhausted where nothing but round-off is left.
            if norm <= 1e-12 * diagonal.first().copied().unwrap_or(0.0) || !norm.is_finite() || norm == 0.0 {
                break;
            }
            if !basis.is_empty() {
                off.push(norm);
            }
            basis.push(w.iter().map(|w| w / norm).collect());
            let v = &basis[basis.len() - 1];
            operator.apply(v, &mut w);
            operator.project(&mut w);
            diagonal.push(dot(v, &w));
            // Twice is enough (Parlett 1998, section 6.9).
            for _ in 0..2 {
                for v in &basis {
                    let c = dot(v, &w);
                    w.iter_mut().zip(v).for_each(|(w, v)| *w -= c * v);
                }
            }
        }
        let m = basis.len();
        let t = Mat::from_fn(m, m, |i, j| match i.abs_diff(j) {
            0 => diagonal[i],
            1 => off[i.min(j)],
            _ => 0.0,
        });
        let bad = || Error::parameter("steps", steps, "must give eigenvalues: the tridiagonal matrix has none");
        let eigen = t.self_adjoint_eigen(Side::Lower).map_err(|_| bad())?;
        let all: Vec<f64> = (0..m).map(|j| eigen.S()[j]).collect();
        let largest = all.last().copied().ok_or_else(bad)?;
        let kept: Vec<usize> = (0..m).filter(|&j| all[j] > ZERO * largest).collect();
        let values: Vec<f64> = kept.iter().map(|&j| all[j]).collect();
        let vectors = kept.iter().map(|&j| (0..m).map(|i| eigen.U()[(i, j)]).collect()).collect();
        // The released code emphasises 5500 of 10000.
        Ok(Self { basis, lower: 55 * values.len() / 100, values, vectors })
    }

    /// The Ritz values, ascending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// A right-hand side of unit norm.
    pub fn sample(&self, rng: &mut ChaCha8Rng) -> Vec<f64> {
        let mut in_basis = vec![0.0; self.basis.len()];
        let mut square = 0.0;
        for (j, vector) in self.vectors.iter().enumerate() {
            let c: f64 = rng.sample::<f64, _>(StandardNormal) * if j < self.lower { EMPHASIS } else { 1.0 };
            square += c * c;
            in_basis.iter_mut().zip(vector).for_each(|(y, v)| *y += c * v);
        }
        let mut b = vec![0.0; self.basis.first().map_or(0, Vec::len)];
        for (v, y) in self.basis.iter().zip(&in_basis) {
            let y = y / square.sqrt();
            b.iter_mut().zip(v).for_each(|(b, v)| *b += y * v);
        }
        b
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::super::super::{Cell, Poisson, Walls};
    use super::*;

    #[test]
    fn ritz_values_of_a_small_box_are_its_eigenvalues() {
        // 4 x 3 x 2 cells open on all sides: 24 eigenvalues, sums of 4 sin^2(pi k / 2 (n + 1)), nearly all different.
        let n = [4, 3, 2];
        let cells = ndarray::ArrayD::from_elem(n.to_vec(), Cell::Fluid);
        let problem = Poisson::new(cells.view(), &[1.0; 3], Walls::open()).unwrap();
        let ritz = RitzVectors::new(&problem, 24, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        let one = |n: usize, k: usize| 4.0 * (std::f64::consts::PI * k as f64 / (2 * (n + 1)) as f64).sin().powi(2);
        let smallest: f64 = n.iter().map(|&n| one(n, 1)).sum();
        let largest: f64 = n.iter().map(|&n| one(n, n)).sum();
        // The whole space: round-off only.
        assert!((ritz.values()[0] - smallest).abs() < 1e-10, "{:?}", ritz.values());
        assert!((ritz.values()[ritz.values().len() - 1] - largest).abs() < 1e-10);
        let b = ritz.sample(&mut ChaCha8Rng::seed_from_u64(1));
        assert!((dot(&b, &b) - 1.0).abs() < 1e-10);
    }
}
