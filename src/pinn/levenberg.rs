//! Local Levenberg-Marquardt, until the library's is merged.
use faer::{Mat, Side, linalg::solvers::Solve};
use std::ops::Range;
/// Least squares.
pub trait LeastSquares {
    /// n
    fn parameters(&self) -> usize;
    /// m
    fn residuals(&self) -> usize;
    /// r
    fn residual(&mut self, theta: &[f64], r: &mut [f64]);
    /// rows
    fn rows(&mut self, theta: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]);
}
/// c += a^T b
fn tn(c: &mut [f64], cs: usize, a: &[f64], sa: usize, b: &[f64], sb: usize, (m, n, k): (usize, usize, usize)) {
    assert!((k - 1) * sa + m <= a.len() && (k - 1) * sb + n <= b.len() && (m - 1) * cs + n <= c.len());
    // SAFETY: sizes are checked.
    unsafe {
        gemm::gemm(m, n, k, c.as_mut_ptr(), 1, cs as isize, true, a.as_ptr(), sa as isize, 1, b.as_ptr(), 1, sb as isize,
            1.0, 1.0, false, false, false, gemm::Parallelism::None);
    }
}
/// LM.
pub struct GaussNewton {
    /// damping
    pub lambda: f64,
}
/// What a step did.
pub struct StepReport {
    /// |r|^2
    pub loss: f64,
    /// damping
    pub lambda: f64,
    /// whether
    pub accepted: bool,
}
impl GaussNewton {
    /// One step.
    pub fn step(&mut self, problem: &mut dyn LeastSquares, theta: &mut [f64]) -> StepReport {
        let (p, m) = (problem.parameters(), problem.residuals());
        let tile = 1024;
        let mut jac = vec![0.0; tile * p];
        let mut r = vec![0.0; m];
        let mut g = vec![0.0; p * p];
        let mut b = vec![0.0; p];
        for s in (0..m).step_by(tile) {
            let c = tile.min(m - s);
            problem.rows(theta, s..s + c, &mut r[s..s + c], &mut jac[..c * p]);
            let nb = 256;
            for i in (0..p).step_by(nb) {
                for j in (0..=i).step_by(nb) {
                    let (wi, wj) = (nb.min(p - i), nb.min(p - j));
                    tn(&mut g[i * p + j..], p, &jac[i..], p, &jac[j..], p, (wi, wj, c));
                }
            }
            tn(&mut b, 1, &jac, p, &r[s..s + c], 1, (p, 1, c));
        }
        let loss: f64 = r.iter().map(|r| r * r).sum();
        let mut best: Option<(f64, f64, Vec<f64>)> = None;
        let mut lambda = self.lambda;
        let mut failures = 0;
        let scale = (0..p).map(|i| g[i * p + i]).fold(0.0, f64::max);
        loop {
            let a = Mat::from_fn(p, p, |i, j| {
                if i < j { 0.0 } else if i == j { g[i * p + i] * (1.0 + lambda) + 1e-15 * scale } else { g[i * p + j] }
            });
            let trial = a.llt(Side::Lower).ok().map(|f| {
                let d = f.solve(Mat::from_fn(p, 1, |i, _| -b[i]));
                let t: Vec<f64> = theta.iter().enumerate().map(|(i, t)| t + d[(i, 0)]).collect();
                problem.residual(&t, &mut r);
                (r.iter().map(|r| r * r).sum::<f64>(), t)
            });
            let value = trial.as_ref().map_or(f64::INFINITY, |t| t.0);
            let target = best.as_ref().map_or(loss, |b| b.0);
            if value < target {
                best = Some((value, lambda, trial.unwrap().1));
                if failures > 0 || lambda < 1e-15 { break; }
                lambda /= 5.0;
            } else {
                if best.is_some() || failures > 15 { break; }
                failures += 1;
                lambda *= 4.0;
            }
        }
        match best {
            Some((value, l, t)) => {
                theta.copy_from_slice(&t);
                self.lambda = l;
                StepReport { loss: value, lambda: l, accepted: true }
            }
            None => { self.lambda = lambda; StepReport { loss, lambda, accepted: false } }
        }
    }
}
