//! SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

use serde::{Deserialize, Serialize};

use super::adam::{AdamOptions, Factors, Moments};
use super::rotation::{Rotation, Side, Towards};
use super::tensor::Reader;
use super::vector;
use super::{NamedTensor, Optimizer, Stateful};
use crate::error::{Error, Result};
use crate::field::Real;

/// Constants of [`Soap`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoapOptions {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decay of the factors `L` and `R`.
    pub shampoo_beta: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay: parameters shrink by `1 - lr weight_decay` a step.
    pub weight_decay: f64,
    /// Steps between two refreshes of the bases.
    pub frequency: u64,
    /// Largest side that has a factor; longer ones keep the identity. A side `d` costs up to `16 d^2` bytes and some
    /// `6 d^3` operations a refresh; two of 512 take about 0.1 s on a core. (The paper's code has 10 000, for GPUs.)
    pub max_dim: usize,
}

impl Default for SoapOptions {
    /// All betas 0.95, `eps = 1e-8`, no weight decay, a refresh each 10 steps (all as in the paper), `max_dim = 512`.
    fn default() -> Self {
        Self { beta1: 0.95, beta2: 0.95, shampoo_beta: 0.95, eps: 1e-8, weight_decay: 0.0, frequency: 10, max_dim: 512 }
    }
}

/// Where a named parameter lies in `theta`, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// First element.
    pub offset: usize,
    /// Extents.
    pub shape: Vec<usize>,
}

/// SOAP. A block that is a matrix with gradient `G` has the factors and bases
///
/// ```text
/// L <- beta L + (1 - beta) G G^T = Q_L Lambda_L Q_L^T,        R <- beta R + (1 - beta) G^T G = Q_R Lambda_R Q_R^T,
/// ```
///
/// and steps by Adam (AdamW) on `Q_L^T G Q_R`, turned back. Every `frequency` steps the bases are refreshed by one step of
/// power iteration, `Q <- qr(L Q)`, with the columns sorted by falling `(Q^T L Q)_jj`; the first moment is turned to the
/// new bases, the second keeps to its sorted columns.
///
/// * **Shapes.** Axes of length one are dropped. What has one axis left, or sides above `max_dim` only, is stepped by
///   plain Adam. A tensor of higher rank becomes the matrix whose rows are the first `k` axes, with the `k` that makes
///   rows + columns least (the smallest such): a convolution `[64, 64, 3, 3]` is `64 x 576`, a spectral weight
///   `[32, 32, 12, 12, 2]` is `1024 x 288`.
/// * **First step.** In the eigenbasis of its own gradient alone, Adam would divide rounding errors by themselves. As in
///   the reference code, the first gradient of a block with factors only makes the bases; its parameters move from the
///   second step on. Blocks of plain Adam move from the first.
/// * **Precision.** Factors are in `f64`, as small eigenvalues of `G G^T` are lost in `f32`; bases, moments and rotations
///   are in the precision of the parameters.
///
/// # Source
///
/// Vyas, Morwani, Zhao, Shapira, Brandfonbrener, Janson & Kakade, *SOAP: Improving and Stabilizing Shampoo using Adam*
/// (2024), Algorithms 3 and 4. They keep the first moment unrotated and rotate it in each step, which is the same up to
/// rounding.
///
/// # Example
///
/// ```
/// use parseval::optim::{Block, Optimizer, Soap, SoapOptions};
///
/// let blocks = [Block { offset: 0, shape: vec![2, 2] }, Block { offset: 4, shape: vec![2] }]; // weight, bias
/// let mut soap = Soap::<f64>::new(&blocks, SoapOptions::default())?;
/// let mut theta = [3.0, 1.0, -2.0, 4.0, 1.0, -1.0];
/// for _ in 0..300 {
///     let grad = theta; // of |theta|^2 / 2
///     soap.step(&mut theta, &grad, 0.02);
/// }
/// assert!(theta.iter().all(|x| x.abs() < 0.1));
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct Soap<T: Real> {
    options: SoapOptions,
    blocks: Vec<State<T>>,
    n: usize,
}

impl<T: Real> Soap<T> {
    /// Optimiser of the parameters that `blocks` cover.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the blocks do not follow one another from offset 0 without gaps, or a constant is out of
    /// range.
    pub fn new(blocks: &[Block], options: SoapOptions) -> Result<Self> {
        options.adam().validate()?;
        if !(0.0..1.0).contains(&options.shampoo_beta) {
            return Err(Error::parameter("shampoo_beta", options.shampoo_beta, "must be in [0, 1)"));
        }
        if options.frequency == 0 {
            return Err(Error::parameter("frequency", 0, "must be > 0"));
        }
        let mut n = 0;
        for (i, block) in blocks.iter().enumerate() {
            if block.offset != n {
                let rule = format!("must be {n}, where the block before ends");
                return Err(Error::parameter(format!("blocks[{i}].offset"), block.offset, rule));
            }
            n += block.shape.iter().product::<usize>();
        }
        let blocks = blocks.iter().map(|block| State::new(&block.shape, options.max_dim)).collect();
        Ok(Self { options, blocks, n })
    }
}

impl SoapOptions {
    fn adam(&self) -> AdamOptions {
        let &Self { beta1, beta2, eps, weight_decay, .. } = self;
        AdamOptions { beta1, beta2, eps, weight_decay }
    }
}

impl<T: Real> Optimizer<T> for Soap<T> {
    fn step(&mut self, theta: &mut [T], grad: &[T], lr: f64) {
        let n = self.n;
        assert!(theta.len() == n && grad.len() == n, "step: {n} parameters, got {} and {}", theta.len(), grad.len());
        step_blocks(&mut self.blocks, theta, grad, lr, &self.options);
    }
}

impl<T: Real> Stateful for Soap<T> {
    fn state(&self) -> Vec<NamedTensor> {
        let mut state = vec![];
        for (i, block) in self.blocks.iter().enumerate() {
            state.extend(block.moments.state(&format!("blocks.{i}.")));
            state.push(NamedTensor::count(format!("blocks.{i}.count"), block.count));
            for (name, side) in block.rotation.iter().flat_map(Rotation::sides) {
                let shape = [side.d, side.d];
                let name = |what| format!("blocks.{i}.{name}.{what}");
                state.push(NamedTensor::new(name("factor"), &shape, side.factor.iter().copied()));
                state.push(NamedTensor::new(name("basis"), &shape, side.basis.iter().copied()));
            }
        }
        state
    }

    fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let mut reader = Reader::new(state);
        let mut read = vec![];
        for (i, block) in self.blocks.iter().enumerate() {
            let moments = Moments::read(&mut reader, &format!("blocks.{i}."), block.moments.m.len())?;
            let count = reader.take_count(&format!("blocks.{i}.count"))?;
            let mut sides = vec![];
            for (name, side) in block.rotation.iter().flat_map(Rotation::sides) {
                let shape = [side.d, side.d];
                let factor = reader.take(&format!("blocks.{i}.{name}.factor"), &shape)?;
                sides.push(Side {
                    d: side.d,
                    factor,
                    basis: reader.take(&format!("blocks.{i}.{name}.basis"), &shape)?,
                });
            }
            read.push((moments, count, sides));
        }
        reader.finish()?;
        for (block, (moments, count, sides)) in self.blocks.iter_mut().zip(read) {
            (block.moments, block.count) = (moments, count);
            let old = block.rotation.iter_mut().flat_map(|r| r.left.iter_mut().chain(&mut r.right));
            old.zip(sides).for_each(|(old, new)| *old = new);
        }
        Ok(())
    }
}

/// Halves the list of blocks between threads; `theta` and `grad` are theirs.
fn step_blocks<T: Real>(blocks: &mut [State<T>], theta: &mut [T], grad: &[T], lr: f64, options: &SoapOptions) {
    match blocks {
        [] => {}
        [block] => block.step(theta, grad, lr, options),
        _ => {
            let (blocks, blocks_rest) = blocks.split_at_mut(blocks.len() / 2);
            let at = blocks.iter().map(|b| b.moments.m.len()).sum();
            let ((theta, theta_rest), (grad, grad_rest)) = (theta.split_at_mut(at), grad.split_at(at));
            rayon::join(
                || step_blocks(blocks, theta, grad, lr, options),
                || step_blocks(blocks_rest, theta_rest, grad_rest, lr, options),
            );
        }
    }
}

/// One block.
struct State<T> {
    moments: Moments<T>,
    /// Gradients seen.
    count: u64,
    /// None is the identity.
    rotation: Option<Rotation<T>>,
}

impl<T: Real> State<T> {
    fn new(shape: &[usize], max_dim: usize) -> Self {
        let moments = Moments::zeros(shape.iter().product());
        Self { moments, count: 0, rotation: Rotation::new(shape, max_dim) }
    }

    fn step(&mut self, theta: &mut [T], grad: &[T], lr: f64, options: &SoapOptions) {
        let (adam, beta) = (options.adam(), options.shampoo_beta);
        self.count += 1;
        let Some(rotation) = &mut self.rotation else {
            return self.moments.step(theta, grad, &Factors::new(&adam, self.count, lr));
        };
        if self.count > 1 {
            let updates = self.count - 1;
            let factors = Factors::new(&adam, updates, lr);
            rotation.turn(grad, Towards::Basis);
            self.moments.precondition(&mut rotation.turned, &factors);
            rotation.turn_back();
            let along = &rotation.turned;
            vector::update(
                theta,
                along,
                #[inline(always)]
                |theta, ratio| factors.moved(theta, ratio),
            );
            rotation.accumulate(grad, beta);
            if updates.is_multiple_of(options.frequency) {
                rotation.refresh(&mut self.moments);
            }
        } else {
            rotation.accumulate(grad, beta);
            rotation.set_eigenbases();
        }
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::*;
    use crate::optim::rotation::{Matrix, identity, product};
    use crate::optim::testing::{noise, transplant};
    use crate::optim::{Adam, Schedule};

    fn blocks(shapes: &[&[usize]]) -> Vec<Block> {
        let mut offset = 0;
        let mut next = |shape: &&[usize]| {
            let block = Block { offset, shape: shape.to_vec() };
            offset += shape.iter().product::<usize>();
            block
        };
        shapes.iter().map(&mut next).collect()
    }

    /// Largest entry of `Q^T Q - 1`.
    fn defect<T: Real>(side: &Side<T>) -> f64 {
        let d = side.d;
        let mut gram = vec![T::zero(); d * d];
        let q = Matrix::square(&side.basis, d);
        product(&mut gram, q.transposed(), q, T::zero(), T::one());
        gram.iter().zip(identity::<T>(d)).map(|(a, b)| (*a - b).as_f64().abs()).fold(0.0, f64::max)
    }

    fn shared_adam<T: Real>(mut soap: Soap<T>, first: u64) {
        let mut adam = Adam::<T>::new(soap.n, soap.options.adam()).unwrap();
        let mut theta: Vec<T> = noise(soap.n, 1).into_iter().map(T::of).collect();
        let mut reference = theta.clone();
        for t in 0..20 {
            let grad: Vec<T> = noise(soap.n, 10 + t).into_iter().map(T::of).collect();
            soap.step(&mut theta, &grad, 0.01);
            if t >= first {
                adam.step(&mut reference, &grad, 0.01);
            }
            assert_eq!(theta, reference, "step {t}");
        }
    }

    #[test]
    fn identity_bases_are_adam_bit_for_bit() {
        let options = SoapOptions { weight_decay: 0.1, ..SoapOptions::default() };
        // No matrix, or sides that are too long.
        let plain = blocks(&[&[7], &[1, 5], &[3, 4], &[]]);
        shared_adam(Soap::<f32>::new(&plain, SoapOptions { max_dim: 2, ..options }).unwrap(), 0);
        shared_adam(Soap::<f64>::new(&plain, SoapOptions { max_dim: 2, ..options }).unwrap(), 0);
        // Through the rotation, by bases that happen to be the identity and are never refreshed; from the second step.
        fn rotated<T: Real>(options: SoapOptions) -> Soap<T> {
            let options = SoapOptions { frequency: u64::MAX, ..options };
            let mut soap = Soap::<T>::new(&blocks(&[&[6, 5]]), options).unwrap();
            soap.step(&mut [T::zero(); 30], &[T::zero(); 30], 0.1);
            let rotation = soap.blocks[0].rotation.as_mut().unwrap();
            (rotation.left.as_mut().unwrap().basis, rotation.right.as_mut().unwrap().basis) =
                (identity(6), identity(5));
            soap
        }
        shared_adam(rotated::<f32>(options), 0);
        shared_adam(rotated::<f64>(options), 0);
    }

    #[test]
    fn steps_are_those_of_the_published_algorithm() {
        // Algorithm 3 with dense matrices and the first moment kept unrotated; exact eigenvectors in each step where the
        // gradients' factors do not turn: G_t = U diag(c_t) V^T with fixed U and V.
        let (m, n) = (5, 3);
        let orthogonal = |d: usize, seed| {
            let a = noise(d * d, seed);
            Mat::from_fn(d, d, |i, j| a[i * d + j]).qr().compute_thin_Q()
        };
        let (u, v) = (orthogonal(m, 1), orthogonal(n, 2));
        let options = SoapOptions { frequency: 3, eps: 1e-3, ..SoapOptions::default() };
        let mut soap = Soap::<f64>::new(&blocks(&[&[m, n]]), options).unwrap();
        let mut theta = vec![0.0; m * n];
        let (mut first, mut second, mut diagonal) = ([0.0; 3], [0.0; 3], [0.0; 3]);
        for t in 0..20 {
            let c: Vec<f64> = (0..n).map(|j| (4.0 - j as f64) * (1.0 + 0.3 * ((t * (j + 1)) as f64).sin())).collect();
            let grad = &u * Mat::from_fn(m, n, |i, j| if i == j { c[j] } else { 0.0 }) * v.transpose();
            let grad: Vec<f64> = (0..m * n).map(|at| grad[(at / n, at % n)]).collect();
            soap.step(&mut theta, &grad, 0.1);
            for j in 0..n {
                if t > 0 {
                    // Adam on the diagonal, in the bases U and V.
                    first[j] = 0.95 * first[j] + 0.05 * c[j];
                    second[j] = 0.95 * second[j] + 0.05 * c[j] * c[j];
                    let unbias = 1.0 - 0.95f64.powi(t as i32);
                    diagonal[j] -= 0.1 * first[j] / unbias / ((second[j] / unbias).sqrt() + 1e-3);
                }
            }
        }
        let exact = &u * Mat::from_fn(m, n, |i, j| if i == j { diagonal[j] } else { 0.0 }) * v.transpose();
        for (at, theta) in theta.iter().enumerate() {
            // Off the diagonal rounding errors of 1e-15 are divided by eps.
            assert!((theta - exact[(at / n, at % n)]).abs() < 1e-10, "{at}");
        }
    }

    #[test]
    fn bases_become_the_eigenvectors_of_the_factors() {
        let (m, n) = (8, 6);
        let options = SoapOptions { frequency: 1, shampoo_beta: 0.999, ..SoapOptions::default() };
        let mut soap = Soap::<f64>::new(&blocks(&[&[m, n]]), options).unwrap();
        let mut theta = vec![0.0; m * n];
        for t in 0..300 {
            // Rows of scales 1, 1/2, 1/4, ..: separated eigenvalues.
            let grad: Vec<f64> =
                noise(m * n, t + 1).iter().enumerate().map(|(at, g)| g / (1 << (at / n)) as f64).collect();
            soap.step(&mut theta, &grad, 0.0);
        }
        let side = soap.blocks[0].rotation.as_ref().unwrap().left.as_ref().unwrap();
        assert!(defect(side) < 1e-13);
        let mut turned = vec![0.0; m * m];
        let mut diagonal = vec![0.0; m * m];
        let q = Matrix::square(&side.basis, m);
        product(&mut turned, Matrix::square(&side.factor, m), q, 0.0, 1.0);
        product(&mut diagonal, q.transposed(), Matrix::square(&turned, m), 0.0, 1.0);
        for i in 0..m {
            for j in 0..i {
                let scale = (diagonal[i * m + i] * diagonal[j * m + j]).sqrt();
                // The factor still turns by about 1/1000 a step.
                assert!(diagonal[i * m + j].abs() < 0.02 * scale, "{i} {j}");
                assert!(diagonal[i * m + i] < diagonal[j * m + j], "sorted");
            }
        }
    }

    #[test]
    fn bases_stay_orthogonal_when_the_gradient_is_degenerate() {
        for rank in [0, 1] {
            let mut soap =
                Soap::<f32>::new(&blocks(&[&[9, 7]]), SoapOptions { frequency: 1, ..SoapOptions::default() }).unwrap();
            let mut theta = vec![0.0f32; 63];
            let grad: Vec<f32> = (0..63).map(|at| (rank * (at / 7 + 1) * (at % 7)) as f32).collect();
            (0..10).for_each(|_| soap.step(&mut theta, &grad, 0.01));
            assert!(theta.iter().all(|x| x.is_finite()));
            for (_, side) in soap.blocks[0].rotation.as_ref().unwrap().sides() {
                // Rounding of the basis to f32.
                assert!(defect(side) < 1e-6, "rank {rank}: {}", defect(side));
            }
        }
    }

    /// `|A^(1/2) (W - W_0) B^(1/2)|^2 / 2` with dense, badly conditioned `A` and `B`.
    fn factored(m: usize, n: usize) -> impl Fn(&[f64], &mut [f64]) -> f64 {
        let spd = |d: usize, seed| {
            let a = noise(d * d, seed);
            let q = Mat::from_fn(d, d, |i, j| a[i * d + j]).qr().compute_thin_Q();
            let lambda =
                Mat::from_fn(d, d, |i, j| if i == j { 10f64.powf(-3.0 * i as f64 / (d - 1) as f64) } else { 0.0 });
            let a = &q * lambda * q.transpose();
            (0..d * d).map(|at| a[(at / d, at % d)]).collect::<Vec<f64>>()
        };
        let (a, b, target) = (spd(m, 1), spd(n, 2), noise(m * n, 3));
        move |w, grad| {
            let error: Vec<f64> = w.iter().zip(&target).map(|(w, t)| w - t).collect();
            let mut half = vec![0.0; m * n];
            product(&mut half, Matrix::square(&a, m), Matrix::new(&error, m, n), 0.0, 1.0);
            product(grad, Matrix::new(&half, m, n), Matrix::square(&b, n), 0.0, 1.0);
            0.5 * error.iter().zip(&*grad).map(|(e, g)| e * g).sum::<f64>()
        }
    }

    #[test]
    fn soap_beats_adam_on_an_ill_conditioned_matrix() {
        let (m, n) = (12, 10);
        let objective = factored(m, n);
        let run = |optimizer: &mut dyn Optimizer<f64>, first: f64| {
            let schedule = Schedule::Cosine { lr: first, min_lr: 0.0, warmup_steps: 0 };
            let (mut theta, mut grad) = (vec![0.0; m * n], vec![0.0; m * n]);
            for t in 0..400 {
                objective(&theta, &mut grad);
                optimizer.step(&mut theta, &grad, schedule.at(t, 400));
            }
            objective(&theta, &mut grad)
        };
        let options = SoapOptions::default();
        let best = |run: &dyn Fn(f64) -> f64| [0.01, 0.03, 0.1, 0.3].map(run).into_iter().fold(f64::INFINITY, f64::min);
        let adam = best(&|lr| run(&mut Adam::new(m * n, options.adam()).unwrap(), lr));
        let soap = best(&|lr| run(&mut Soap::new(&blocks(&[&[m, n]]), options).unwrap(), lr));
        // Each at its best rate of four. Measured: 2.2e-5 and 6.2e-10.
        assert!(soap < adam / 1000.0, "adam {adam:.3e}, soap {soap:.3e}");
    }

    fn resume<T: Real>() {
        let blocks = blocks(&[&[5, 4], &[4], &[3, 2, 2], &[2, 30]]);
        let n = 96;
        let new =
            || Soap::<T>::new(&blocks, SoapOptions { frequency: 3, max_dim: 16, ..SoapOptions::default() }).unwrap();
        let run = |soap: &mut Soap<T>, theta: &mut [T], from: u64| {
            for t in from..from + 8 {
                let grad: Vec<T> = noise(n, t).into_iter().map(T::of).collect();
                soap.step(theta, &grad, 0.01);
            }
        };
        let mut theta = vec![T::zero(); n];
        let mut through = new();
        run(&mut through, &mut theta, 1);
        let (mut resumed, mut resumed_theta) = (new(), theta.clone());
        transplant(&through, &mut resumed);
        run(&mut through, &mut theta, 9);
        run(&mut resumed, &mut resumed_theta, 9);
        assert_eq!(theta, resumed_theta);
    }

    #[test]
    fn restored_soap_goes_on_with_the_same_bits() {
        resume::<f32>();
        resume::<f64>();
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let blocks = blocks(&[&[20, 30], &[30], &[30, 10]]);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut soap = Soap::<f32>::new(&blocks, SoapOptions { frequency: 2, ..SoapOptions::default() }).unwrap();
            let mut theta = vec![0.0; 930];
            for t in 0..7 {
                let grad: Vec<f32> = noise(930, t + 1).into_iter().map(|x| x as f32).collect();
                pool.install(|| soap.step(&mut theta, &grad, 0.1));
            }
            theta
        };
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn gradients_that_are_not_finite_leave_the_bases_alone() {
        for bad_step in [0, 3] {
            let options = SoapOptions { frequency: 1, ..SoapOptions::default() };
            let mut soap = Soap::<f64>::new(&blocks(&[&[6, 5]]), options).unwrap();
            for t in 0..6 {
                let mut grad = noise(30, t + 1);
                grad[7] = if t == bad_step { f64::NAN } else { grad[7] };
                soap.step(&mut [0.0; 30], &grad, 0.1);
            }
            for (_, side) in soap.blocks[0].rotation.as_ref().unwrap().sides() {
                assert!(defect(side) < 1e-14, "{bad_step}");
            }
        }
    }

    #[test]
    fn gaps_and_bad_constants_are_refused() {
        let gap = [Block { offset: 0, shape: vec![2, 2] }, Block { offset: 5, shape: vec![2] }];
        assert!(Soap::<f64>::new(&gap, SoapOptions::default()).is_err());
        for options in [
            SoapOptions { frequency: 0, ..SoapOptions::default() },
            SoapOptions { shampoo_beta: 1.0, ..SoapOptions::default() },
            SoapOptions { beta2: 1.0, ..SoapOptions::default() },
        ] {
            assert!(Soap::<f64>::new(&[], options).is_err());
        }
    }
}
