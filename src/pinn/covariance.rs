//! Uncertainty of identified coefficients.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatRef, Par, Side};

use crate::error::{Error, Result};
use crate::optim::LeastSquares;

/// Rows of the Jacobian matrix at a time.
const TILE: usize = 512;

/// Standard deviations of the last `count` unknowns of a problem at its solution, by Gauss-Newton:
///
/// ```text
/// cov = s^2 (J^T J)^-1 ,   s^2 = |r_samples|^2 / samples ,
/// ```
///
/// where the last `samples` residuals are those of the measurements. The residual of the equation is treated as if it were
/// as uncertain as they are. The error of the network itself is not included: for data without noise the true error may be
/// larger. Directions that the data do not determine are held by a ridge of 1e-14 of the largest diagonal entry.
///
/// # Errors
///
/// [`Error::NotFinite`] if the matrix is not finite.
pub fn deviations(problem: &mut impl LeastSquares, theta: &[f64], count: usize, samples: usize) -> Result<Vec<f64>> {
    let (p, m) = (problem.parameters(), problem.residuals());
    let (mut r, mut rows) = (vec![0.0; m], vec![0.0; TILE.min(m) * p]);
    let mut gram = Mat::<f64>::zeros(p, p);
    for start in (0..m).step_by(TILE) {
        let end = (start + TILE).min(m);
        let rows = &mut rows[..(end - start) * p];
        problem.rows(theta, start..end, &mut r[start..end], rows);
        let j = MatRef::from_row_major_slice(rows, end - start, p);
        matmul(gram.as_mut(), Accum::Add, j.transpose(), j, 1.0, Par::Seq);
    }
    let largest = (0..p).map(|i| gram[(i, i)]).fold(0.0, f64::max);
    (0..p).for_each(|i| gram[(i, i)] += 1e-14 * largest);
    let misfit = r[m - samples..].iter().map(|r| r * r).sum::<f64>() / samples.max(1) as f64;
    let factor = gram.llt(Side::Lower).map_err(|_| Error::NotFinite {
        what: "normal matrix".into(),
        value: largest,
        step: 0,
        detail: "no uncertainty can be given".into(),
    })?;
    let units = Mat::from_fn(p, count, |i, j| if i == p - count + j { 1.0 } else { 0.0 });
    let inverse = factor.solve(units);
    Ok((0..count).map(|j| (misfit * inverse[(p - count + j, j)]).max(0.0).sqrt()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A straight line `a + b x` through measurements: the textbook covariance is `s^2 (X^T X)^-1`.
    struct Line(Vec<[f64; 2]>);

    impl LeastSquares for Line {
        fn parameters(&self) -> usize {
            2
        }
        fn residuals(&self) -> usize {
            self.0.len()
        }
        fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
            r.iter_mut().zip(&self.0).for_each(|(r, [x, y])| *r = theta[0] + theta[1] * x - y);
        }
        fn rows(&mut self, theta: &[f64], rows: std::ops::Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
            for ((i, r), row) in rows.zip(r).zip(jacobian.chunks_exact_mut(2)) {
                let [x, y] = self.0[i];
                *r = theta[0] + theta[1] * x - y;
                row.copy_from_slice(&[1.0, x]);
            }
        }
    }

    #[test]
    fn deviation_of_a_slope_is_that_of_the_textbook() {
        let data: Vec<[f64; 2]> = (0..1000).map(|i| [i as f64 / 1000.0, (i as f64).sin()]).collect();
        let n = data.len() as f64;
        let mean = data.iter().map(|d| d[0]).sum::<f64>() / n;
        let spread: f64 = data.iter().map(|d| (d[0] - mean).powi(2)).sum();
        let misfit = data.iter().map(|d| (0.1 + 0.2 * d[0] - d[1]).powi(2)).sum::<f64>() / n;
        let found = deviations(&mut Line(data), &[0.1, 0.2], 1, 1000).unwrap()[0];
        let exact = (misfit / spread).sqrt();
        // The ridge is 1e-14; a thousand terms are summed.
        assert!((found / exact - 1.0).abs() < 1e-10, "{found} {exact}");
    }
}
