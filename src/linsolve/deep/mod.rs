//! Deep conjugate directions: networks that return a search direction for a residual.
//!
//! [`DeepDirection`] is a trained network as a [`Direction`]: inside [`super::Guarded`] it cannot keep a solve from converging. [`Published`] is
//! the method as released, without a guard, to compare with. [`Trainer`] trains a network from right-hand sides alone, by the residual that
//! an exact step along its answer leaves. Nothing in a network depends on the size of the grid.
//!
//! # Source
//!
//! A. Kaneda, O. Akar, J. Chen, V. Kala, D. Hyde, J. Teran, *A Deep Conjugate Direction Method for Iteratively Solving
//! Linear Systems*, ICML 2023 (PMLR 202, 15720-15736), and the released code.

mod inference;
mod layers;
mod loss;
mod network;
mod published;
mod ritz;
mod trainer;
mod trajectory;

use std::sync::Arc;

pub use loss::Loss;
pub use network::{Depth, Network};
pub use published::Published;
pub use ritz::RitzVectors;
pub use trainer::{Trained, Trainer, TrainerOptions, TrainingData};

use super::guarded::Direction;
use super::poisson::Poisson;
use super::pool::Pool;
use super::report::Options;
use crate::autodiff::Parameters;
use crate::error::{Error, Result};
use crate::spectral::simd::Isa;
use inference::Inference;

/// How a residual is scaled before the network sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scaling {
    /// To unit Euclidean norm, as released. The entries then shrink with the number of cells while the biases stay.
    Norm,
    /// To unit mean square over the cells, so that grids of all sizes look alike.
    #[default]
    MeanSquare,
}

impl Scaling {
    /// What a residual of unit norm is multiplied by.
    pub(super) fn factor(self, cells: usize) -> f64 {
        match self {
            Self::Norm => 1.0,
            Self::MeanSquare => (cells as f64).sqrt(),
        }
    }
}

/// A network as a source of directions for one 3-D grid.
pub struct DeepDirection {
    inference: Inference,
    scaling: Scaling,
    n: [usize; 3],
    input: Vec<f64>,
    pool: Arc<Pool>,
    isa: Isa,
}

impl DeepDirection {
    /// Takes over the parameters of a [`Network`] for the grid of `problem`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the problem is not three-dimensional or the options are out of range; [`Error::Shape`] if the parameters are not
    /// those of `depth`.
    pub fn new(
        depth: Depth,
        scaling: Scaling,
        parameters: &Parameters<f32>,
        problem: &Poisson,
        options: &Options,
    ) -> Result<Self> {
        let &[nx, ny, nz] = problem.shape() else {
            let rule = "must have three axes: the published networks are three-dimensional";
            return Err(Error::parameter("cells", format!("{:?}", problem.shape()), rule));
        };
        let n = [nx, ny, nz];
        let pool = Arc::new(Pool::new(options.threads, options.isa)?);
        let inference = Inference::new(depth, parameters, n, &pool)?;
        Ok(Self { inference, scaling, n, input: vec![0.0; nx * ny * nz], pool, isa: options.isa })
    }
}

impl Direction for DeepDirection {
    fn name(&self) -> &'static str {
        "deep conjugate direction"
    }

    fn direction(&mut self, r: &[f64], q: &mut [f64]) {
        let factor = self.scaling.factor(r.len());
        self.input.iter_mut().zip(r).for_each(|(x, r)| *x = factor * r);
        self.inference.evaluate(&self.pool, self.isa, self.n, &self.input, q);
    }

    fn bytes(&self) -> usize {
        self.inference.bytes() + 8 * self.input.len()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::{Cell, Walls};
    use super::*;
    use crate::autodiff::Tape;

    /// A network with biases, so that every term counts, on odd and even grids and with every instruction set.
    #[test]
    fn the_inference_agrees_with_the_tape() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut parameters = Parameters::new();
        let network = Network::new(Depth::Model64, &mut parameters, &mut rng);
        parameters.theta_mut().iter_mut().for_each(|t| *t += rng.random_range(-0.02..0.02));
        for n in [[6, 4, 18], [5, 6, 7]] {
            let even = n.map(|n: usize| n.next_multiple_of(2));
            let cells = ndarray::ArrayD::from_elem(n.to_vec(), Cell::Fluid);
            let problem = Poisson::new(cells.view(), &[1.0; 3], Walls::open()).unwrap();
            let r: Vec<f64> = (0..problem.cells()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut padded = ndarray::Array3::<f32>::zeros(even);
            for (index, &r) in ndarray::indices(n).into_iter().zip(&r) {
                padded[index] = (r * Scaling::MeanSquare.factor(problem.cells())) as f32;
            }
            let mut tape = Tape::new(parameters.clone(), 1).unwrap();
            let x = tape.constant(&[1, 1, even[0], even[1], even[2]], padded.as_slice().unwrap()).unwrap();
            let y = network.record(&mut tape, x).unwrap();
            let expected = ndarray::ArrayView3::from_shape(even, tape.values(y)).unwrap();
            for isa in [Isa::Scalar, Isa::Avx2, Isa::detect()].into_iter().filter(|isa| isa.is_available()) {
                let options = Options { isa, ..Options::default() };
                let mut deep =
                    DeepDirection::new(Depth::Model64, Scaling::MeanSquare, &parameters, &problem, &options).unwrap();
                let mut q = vec![0.0; r.len()];
                deep.direction(&r, &mut q);
                let largest = q.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                for (index, q) in ndarray::indices(n).into_iter().zip(&q) {
                    // Sums of up to 432 terms in single precision, through 16 layers.
                    let error = (q - f64::from(expected[index])).abs();
                    assert!(error < 1e-4 * largest, "{isa:?} {index:?}: {error:e} of {largest:e}");
                }
            }
        }
    }
}
