//! Lyapunov exponents by tangent vectors and repeated orthonormalisation (Benettin et al., Meccanica 15, 1980).

use super::plan::{State, Stepper};
use crate::error::{Error, Result};
use crate::field::Real;

/// Lengths of a Lyapunov run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LyapunovRun {
    /// Exponents wanted, from the largest.
    pub count: usize,
    /// Steps between two orthonormalisations.
    pub steps: usize,
    /// Intervals before the average starts, for the tangents to align.
    pub discard: usize,
    /// Intervals averaged.
    pub intervals: usize,
}

impl<T: Real> Stepper<T> {
    /// The leading Lyapunov exponents along the trajectory of a state (batch of one), unit 1/time, each with the standard
    /// error of its mean over 20 blocks of intervals.
    ///
    /// `lambda_i = (1 / t) sum log R_ii`, where `Q R` is the factorisation of the advanced tangents.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a length is zero or the batch is not one; [`Error::BlowUp`] as [`Stepper::advance`].
    pub fn lyapunov_exponents(&mut self, state: &mut State<T>, run: &LyapunovRun) -> Result<Vec<(f64, f64)>> {
        for (name, value) in [("count", run.count), ("steps", run.steps), ("intervals", run.intervals)] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be at least 1"));
            }
        }
        if self.batch != 1 {
            return Err(Error::parameter("batch", self.batch, "must be 1 for Lyapunov exponents"));
        }
        let mut tangents: Vec<State<T>> = (0..run.count).map(|i| self.seed_tangent(i)).collect();
        self.orthonormalise(&mut tangents);
        let time = run.steps as f64 * self.dt;
        let mut rates = vec![Vec::with_capacity(run.intervals); run.count];
        for interval in 0..run.discard + run.intervals {
            let start = state.clone();
            for tangent in &mut tangents {
                *state = start.clone();
                tangent.history = None;
                self.advance_tangent(state, tangent, run.steps)?;
            }
            let lengths = self.orthonormalise(&mut tangents);
            if interval >= run.discard {
                rates.iter_mut().zip(lengths).for_each(|(rates, length)| rates.push(length.ln() / time));
            }
        }
        Ok(rates.iter().map(|rates| mean_and_error(rates)).collect())
    }

    /// A tangent with all coefficients of comparable size, different for each index.
    fn seed_tangent(&self, index: usize) -> State<T> {
        let mut tangent = self.zeros();
        let layout = self.layout().clone();
        for (c, piece) in tangent.data.chunks_exact_mut(layout.channel_len()).enumerate() {
            layout.for_each_mode(|offset, m| {
                // Only modes whose mirror is not stored too, so that the field is real.
                if m[layout.outer_axes()] > 0 {
                    let phase = (1 + index + c) as f64 * (offset + 1) as f64;
                    piece[offset] = T::of(phase.sin());
                    piece[offset + layout.width] = T::of((phase * 1.7).cos());
                }
            });
        }
        tangent
    }

    /// Gram-Schmidt, twice for orthogonality to round-off; lengths before normalisation, `R_ii`.
    fn orthonormalise(&self, vectors: &mut [State<T>]) -> Vec<f64> {
        (0..vectors.len())
            .map(|i| {
                let (done, rest) = vectors.split_at_mut(i);
                let vector = &mut rest[0];
                for _ in 0..2 {
                    for q in done.iter() {
                        let overlap = T::of(self.inner(q, vector));
                        vector.data.iter_mut().zip(q.data.iter()).for_each(|(v, q)| *v -= overlap * *q);
                    }
                }
                let length = self.inner(vector, vector).sqrt();
                let scale = T::of(1.0 / length);
                vector.data.iter_mut().for_each(|v| *v *= scale);
                length
            })
            .collect()
    }
}

fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let block = values.len().div_ceil(20);
    let means: Vec<f64> = values.chunks(block).map(|b| b.iter().sum::<f64>() / b.len() as f64).collect();
    let variance = means.iter().map(|m| (m - mean).powi(2)).sum::<f64>() / (means.len() as f64 - 1.0).max(1.0);
    (mean, (variance / means.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;
    use crate::field::Grid;
    use crate::pde::KuramotoSivashinsky;
    use crate::stepper::{Options, Scheme};

    #[test]
    fn ks_leading_exponents_match_the_literature() {
        // L = 22: 0.048, 0, 0, -0.003 (Cvitanovic, Davidchack & Siminos, SIAM J. Appl. Dyn. Syst. 9, 2010).
        let grid = Grid::cube(1, 64, 22.0).unwrap();
        let pde = KuramotoSivashinsky::default();
        let mut stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, 0.1, &Options::default()).unwrap();
        let u0 = Array::from_shape_fn(64, |j| {
            let x = std::f64::consts::TAU * j as f64 / 64.0;
            x.cos() * (1.0 + x.sin()) + 0.3 * (3.0 * x).cos()
        });
        let mut state = stepper.load(u0.into_dyn().view()).unwrap();
        let run = LyapunovRun { count: 4, steps: 10, discard: 200, intervals: 3000 };
        let exponents = stepper.lyapunov_exponents(&mut state, &run).unwrap();
        println!("{exponents:?}");
        // The standard error over t = 3000 is about 3e-3; the window is the published value with two of it.
        assert!((0.043..0.054).contains(&exponents[0].0), "{exponents:?}");
        // Translation in time and space; three standard errors.
        for zero in &exponents[1..3] {
            assert!(zero.0.abs() < 3.0 * zero.1 + 1e-3, "{exponents:?}");
        }
        assert!((exponents[3].0 + 0.003).abs() < 3.0 * exponents[3].1, "{exponents:?}");
    }
}
