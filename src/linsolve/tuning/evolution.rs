//! Evolution strategy with covariance matrix adaptation.
//!
//! # Source
//!
//! N. Hansen, *The CMA Evolution Strategy: A Tutorial*, arXiv:1604.00772 (2016), figure 6 with the default parameters of table 1,
//! without the negative weights.

use faer::{Mat, Side};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::error::{Error, Result};

/// A search for the minimum of a function of a few dozen variables.
pub struct Evolution {
    seed: u64,
    generation: u64,
    mean: Vec<f64>,
    sigma: f64,
    /// Covariance, row-major.
    c: Vec<f64>,
    /// Evolution paths of the covariance and of the step length.
    paths: [Vec<f64>; 2],
    /// Weights of the better half.
    weights: Vec<f64>,
}

impl Evolution {
    /// A search from `start` with steps of length `sigma`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there is a variable and the length is positive and finite.
    pub fn new(start: &[f64], sigma: f64, seed: u64) -> Result<Self> {
        let n = start.len();
        if n == 0 {
            return Err(Error::parameter("start", n, "must have at least one variable"));
        }
        if !(sigma > 0.0 && sigma.is_finite()) {
            return Err(Error::parameter("sigma", sigma, "must be > 0 and finite"));
        }
        let half = Self::population_of(n) / 2;
        let raw: Vec<f64> = (1..=half).map(|k| (half as f64 + 0.5).ln() - (k as f64).ln()).collect();
        let sum: f64 = raw.iter().sum();
        let mut c = vec![0.0; n * n];
        (0..n).for_each(|k| c[k * n + k] = 1.0);
        let weights = raw.iter().map(|w| w / sum).collect();
        let paths = [vec![0.0; n], vec![0.0; n]];
        Ok(Self { seed, generation: 0, mean: start.to_vec(), sigma, c, paths, weights })
    }

    fn population_of(n: usize) -> usize {
        4 + (3.0 * (n as f64).ln()) as usize
    }

    /// Centre of the search.
    pub fn mean(&self) -> Vec<f64> {
        self.mean.clone()
    }

    /// `B D` and `B D^-1 B^T` of `C = B D^2 B^T`.
    fn roots(&self) -> [Vec<f64>; 2] {
        let n = self.mean.len();
        let c = Mat::from_fn(n, n, |i, j| self.c[i * n + j]);
        let Ok(eigen) = c.self_adjoint_eigen(Side::Lower) else {
            // A covariance that is not finite: go on as from a sphere.
            let mut one = vec![0.0; n * n];
            (0..n).for_each(|k| one[k * n + k] = 1.0);
            return [one.clone(), one];
        };
        let d = |k: usize| eigen.S()[k].max(1e-20).sqrt();
        let bd = (0..n * n).map(|at| eigen.U()[(at / n, at % n)] * d(at % n)).collect();
        let inverse =
            (0..n * n).map(|at| (0..n).map(|k| eigen.U()[(at / n, k)] * eigen.U()[(at % n, k)] / d(k)).sum()).collect();
        [bd, inverse]
    }

    /// The candidates of this generation.
    pub fn ask(&self) -> Vec<Vec<f64>> {
        let n = self.mean.len();
        let [bd, _] = self.roots();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(self.generation);
        (0..Self::population_of(n))
            .map(|_| {
                let z: Vec<f64> = (0..n).map(|_| rng.sample(StandardNormal)).collect();
                self.mean.iter().zip(bd.chunks_exact(n)).map(|(m, row)| m + self.sigma * dot(row, &z)).collect()
            })
            .collect()
    }

    /// Takes the values of the candidates; infinity for one that is not allowed.
    pub fn tell(&mut self, candidates: &[Vec<f64>], values: &[f64]) {
        let n = self.mean.len();
        let nf = n as f64;
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let mu_eff = 1.0 / self.weights.iter().map(|w| w * w).sum::<f64>();
        let c_sigma = (mu_eff + 2.0) / (nf + mu_eff + 5.0);
        let d_sigma = 1.0 + 2.0 * (((mu_eff - 1.0) / (nf + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma;
        let c_c = (4.0 + mu_eff / nf) / (nf + 4.0 + 2.0 * mu_eff / nf);
        let c_1 = 2.0 / ((nf + 1.3).powi(2) + mu_eff);
        let c_mu = (1.0 - c_1).min(2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((nf + 2.0).powi(2) + mu_eff));
        let expected = nf.sqrt() * (1.0 - 1.0 / (4.0 * nf) + 1.0 / (21.0 * nf * nf));

        let [_, inverse] = self.roots();
        let steps: Vec<Vec<f64>> = order
            .iter()
            .take(self.weights.len())
            .map(|&k| candidates[k].iter().zip(&self.mean).map(|(x, m)| (x - m) / self.sigma).collect())
            .collect();
        let y: Vec<f64> = (0..n).map(|i| self.weights.iter().zip(&steps).map(|(w, s)| w * s[i]).sum()).collect();
        self.mean.iter_mut().zip(&y).for_each(|(m, y)| *m += self.sigma * y);
        let white: Vec<f64> = inverse.chunks_exact(n).map(|row| dot(row, &y)).collect();
        let [p_c, p_sigma] = &mut self.paths;
        let keep = (c_sigma * (2.0 - c_sigma) * mu_eff).sqrt();
        p_sigma.iter_mut().zip(&white).for_each(|(p, w)| *p = (1.0 - c_sigma) * *p + keep * w);
        let length = dot(p_sigma, p_sigma).sqrt();
        let fade = 1.0 - (1.0 - c_sigma).powi(2 * (self.generation as i32 + 1).min(10_000));
        let h = if length / fade.sqrt() < (1.4 + 2.0 / (nf + 1.0)) * expected { 1.0 } else { 0.0 };
        let keep = h * (c_c * (2.0 - c_c) * mu_eff).sqrt();
        p_c.iter_mut().zip(&y).for_each(|(p, y)| *p = (1.0 - c_c) * *p + keep * y);
        let rest = 1.0 - c_1 - c_mu + (1.0 - h) * c_1 * c_c * (2.0 - c_c);
        for i in 0..n {
            for j in 0..n {
                let rank_mu: f64 = self.weights.iter().zip(&steps).map(|(w, s)| w * s[i] * s[j]).sum();
                let c = &mut self.c[i * n + j];
                *c = rest * *c + c_1 * p_c[i] * p_c[j] + c_mu * rank_mu;
            }
        }
        self.sigma *= ((c_sigma / d_sigma) * (length / expected - 1.0)).exp();
        self.generation += 1;
    }

    /// Everything that the next generation depends on, in one vector.
    pub fn state(&self) -> Vec<f64> {
        let [p_c, p_sigma] = &self.paths;
        [&[self.generation as f64, self.sigma][..], &self.mean, p_c, p_sigma, &self.c].concat()
    }

    /// Becomes what was saved.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for a state of another number of variables.
    pub fn restore(&mut self, state: &[f64]) -> Result<()> {
        let n = self.mean.len();
        let expected = 2 + 3 * n + n * n;
        if state.len() != expected {
            return Err(Error::shape("state of the search", &[expected], &[state.len()]));
        }
        (self.generation, self.sigma) = (state[0] as u64, state[1]);
        let part = |k: usize| state[2 + k * n..2 + (k + 1) * n].to_vec();
        (self.mean, self.paths) = (part(0), [part(1), part(2)]);
        self.c = state[2 + 3 * n..].to_vec();
        Ok(())
    }
}

fn dot(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_stretched_and_turned_bowl_is_found() {
        // Rosenbrock's function in five variables: a curved valley.
        let f = |x: &[f64]| -> f64 {
            x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
        };
        let mut search = Evolution::new(&[0.0; 5], 0.3, 1).unwrap();
        for _ in 0..600 {
            let candidates = search.ask();
            let values: Vec<f64> = candidates.iter().map(|x| f(x)).collect();
            search.tell(&candidates, &values);
        }
        assert!(f(&search.mean()) < 1e-8, "{:?}", search.mean());
    }

    #[test]
    fn a_restored_search_goes_on_as_before() {
        let f = |x: &[f64]| x.iter().map(|x| (x - 1.0).powi(2)).sum::<f64>();
        let run = |search: &mut Evolution| {
            let candidates = search.ask();
            let values: Vec<f64> = candidates.iter().map(|x| f(x)).collect();
            search.tell(&candidates, &values);
        };
        let mut search = Evolution::new(&[0.0; 3], 1.0, 2).unwrap();
        (0..5).for_each(|_| run(&mut search));
        let mut other = Evolution::new(&[0.0; 3], 1.0, 2).unwrap();
        other.restore(&search.state()).unwrap();
        run(&mut search);
        run(&mut other);
        assert_eq!(search.state(), other.state());
        assert!(other.restore(&[0.0]).is_err() && Evolution::new(&[], 1.0, 0).is_err());
    }
}
