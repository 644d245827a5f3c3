//! Adam and AdamW.

use num_traits::Float;

use super::tensor::Reader;
use super::vector::{self, TILE};
use super::{NamedTensor, Optimizer, Stateful};
use crate::error::{Error, Result};
use crate::field::Real;

/// Constants of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamOptions {
    /// Decay of the first moment, in `[0, 1)`.
    pub beta1: f64,
    /// Decay of the second moment, in `[0, 1)`.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled decay: parameters shrink by `1 - lr weight_decay` a step. Zero is Adam, else AdamW.
    pub weight_decay: f64,
}

impl Default for AdamOptions {
    /// `beta1 = 0.9`, `beta2 = 0.999`, `eps = 1e-8`, no decay.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.0 }
    }
}

impl AdamOptions {
    pub(super) fn validate(&self) -> Result<()> {
        for (name, beta) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&beta) {
                return Err(Error::parameter(name, beta, "must be in [0, 1)"));
            }
        }
        for (name, x) in [("eps", self.eps), ("weight_decay", self.weight_decay)] {
            if !(x >= 0.0 && x.is_finite()) {
                return Err(Error::parameter(name, x, "must be >= 0"));
            }
        }
        Ok(())
    }
}

/// Adam, and AdamW if there is a weight decay `w`:
///
/// ```text
/// m <- beta1 m + (1 - beta1) g,        v <- beta2 v + (1 - beta2) g^2,
/// theta <- (1 - lr w) theta - lr m_t / (sqrt(v_t) + eps),    m_t = m / (1 - beta1^t),  v_t = v / (1 - beta2^t).
/// ```
///
/// A step reads and writes each array once (28 bytes a parameter in `f32`), so memory bandwidth is its limit.
///
/// # Source
///
/// Kingma & Ba, *Adam*, ICLR 2015, Algorithm 1; Loshchilov & Hutter, *Decoupled Weight Decay Regularization*, ICLR 2019,
/// Algorithm 2, with the decay multiplied by the learning rate as PyTorch does.
///
/// # Example
///
/// ```
/// use parseval::optim::{Adam, AdamOptions, Optimizer};
///
/// let mut theta = [1.0];
/// let mut adam = Adam::new(1, AdamOptions::default())?;
/// adam.step(&mut theta, &[1e3], 0.1); // the first step has the length of the learning rate
/// assert!((theta[0] - 0.9f64).abs() < 1e-11);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Adam<T: Real> {
    options: AdamOptions,
    moments: Moments<T>,
    count: u64,
}

impl<T: Real> Adam<T> {
    /// Optimiser of `n` parameters.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if a beta is outside `[0, 1)`, or `eps` or the decay is negative.
    pub fn new(n: usize, options: AdamOptions) -> Result<Self> {
        options.validate()?;
        Ok(Self { options, moments: Moments::zeros(n), count: 0 })
    }
}

impl<T: Real> Optimizer<T> for Adam<T> {
    fn step(&mut self, theta: &mut [T], grad: &[T], lr: f64) {
        self.count += 1;
        self.moments.step(theta, grad, &Factors::new(&self.options, self.count, lr));
    }
}

impl<T: Real> Stateful for Adam<T> {
    fn state(&self) -> Vec<NamedTensor> {
        let [m, v] = self.moments.state("");
        vec![m, v, NamedTensor::count("count", self.count)]
    }

    fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let mut reader = Reader::new(state);
        let moments = Moments::read(&mut reader, "", self.moments.m.len())?;
        let count = reader.take_count("count")?;
        reader.finish()?;
        (self.moments, self.count) = (moments, count);
        Ok(())
    }
}

/// Running means of the gradient and of its square.
#[derive(Clone, Debug)]
pub(super) struct Moments<T> {
    pub m: Vec<T>,
    pub v: Vec<T>,
}

impl<T: Real> Moments<T> {
    pub fn zeros(n: usize) -> Self {
        Self { m: vec![T::zero(); n], v: vec![T::zero(); n] }
    }

    pub fn state(&self, prefix: &str) -> [NamedTensor; 2] {
        [("m", &self.m), ("v", &self.v)]
            .map(|(name, x)| NamedTensor::new(format!("{prefix}{name}"), &[x.len()], x.iter().copied()))
    }

    pub fn read(reader: &mut Reader, prefix: &str, n: usize) -> Result<Self> {
        Ok(Self { m: reader.take(&format!("{prefix}m"), &[n])?, v: reader.take(&format!("{prefix}v"), &[n])? })
    }

    /// Takes in `grad` and steps `theta`.
    pub fn step(&mut self, theta: &mut [T], grad: &[T], factors: &Factors<T>) {
        let n = self.m.len();
        assert!(theta.len() == n && grad.len() == n, "step: {n} parameters, got {} and {}", theta.len(), grad.len());
        step_tiles(theta, grad, &mut self.m, &mut self.v, factors);
    }

    /// Takes `direction` in as a gradient and replaces it by the bias-free `m / (sqrt(v) + eps)`, up to the factor
    /// `1 / (1 - beta1^t)` that is in [`Factors::step`].
    pub fn precondition(&mut self, direction: &mut [T], factors: &Factors<T>) {
        assert_eq!(direction.len(), self.m.len(), "precondition");
        let (m, v) = (&mut self.m, &mut self.v);
        vector::vectorize::<T, _>(
            #[inline(always)]
            || {
                for ((d, m), v) in direction.iter_mut().zip(m).zip(v) {
                    *d = factors.ratio(*d, m, v);
                }
            },
        );
    }
}

/// What is the same for all parameters in a step.
#[derive(Clone, Copy)]
pub(super) struct Factors<T> {
    beta1: T,
    beta2: T,
    /// `1 - beta1` and `1 - beta2`, rounded once.
    new1: T,
    new2: T,
    /// `1 / sqrt(1 - beta2^t)`.
    unbias2: T,
    eps: T,
    /// `1 - lr weight_decay`.
    keep: T,
    /// `lr / (1 - beta1^t)`.
    step: T,
}

impl<T: Real> Factors<T> {
    /// Factors of update number `count = 1, 2, ..`.
    pub fn new(options: &AdamOptions, count: u64, lr: f64) -> Self {
        let &AdamOptions { beta1, beta2, eps, weight_decay } = options;
        let t = count as f64;
        Self {
            beta1: T::of(beta1),
            beta2: T::of(beta2),
            new1: T::of(1.0 - beta1),
            new2: T::of(1.0 - beta2),
            unbias2: T::of(1.0 / (1.0 - beta2.powf(t)).sqrt()),
            eps: T::of(eps),
            keep: T::of(1.0 - lr * weight_decay),
            step: T::of(lr / (1.0 - beta1.powf(t))),
        }
    }

    #[inline(always)]
    fn ratio(&self, g: T, m: &mut T, v: &mut T) -> T {
        *m = self.beta1 * *m + self.new1 * g;
        *v = self.beta2 * *v + self.new2 * g * g;
        *m / (Float::sqrt(*v) * self.unbias2 + self.eps)
    }

    /// The parameter after a step along `ratio`.
    #[inline(always)]
    pub fn moved(&self, theta: T, ratio: T) -> T {
        self.keep * theta - self.step * ratio
    }
}

fn step_tiles<T: Real>(theta: &mut [T], grad: &[T], m: &mut [T], v: &mut [T], factors: &Factors<T>) {
    if theta.len() <= TILE {
        return vector::vectorize::<T, _>(
            #[inline(always)]
            || step_kernel(theta, grad, m, v, factors),
        );
    }
    let at = vector::halve(theta.len());
    let (theta, theta_rest) = theta.split_at_mut(at);
    let (grad, grad_rest) = grad.split_at(at);
    let (m, m_rest) = m.split_at_mut(at);
    let (v, v_rest) = v.split_at_mut(at);
    rayon::join(
        || step_tiles(theta, grad, m, v, factors),
        || step_tiles(theta_rest, grad_rest, m_rest, v_rest, factors),
    );
}

#[inline(always)]
fn step_kernel<T: Real>(theta: &mut [T], grad: &[T], m: &mut [T], v: &mut [T], factors: &Factors<T>) {
    let factors = *factors; // in registers: through the reference it could alias what the loop writes
    for (((x, &g), m), v) in theta.iter_mut().zip(grad).zip(m).zip(v) {
        *x = factors.moved(*x, factors.ratio(g, m, v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::{noise, transplant};
    use crate::spectral::simd::Lanes;

    /// The published formula, one parameter at a time.
    fn published(theta: f64, grads: &[f64], lr: f64, o: &AdamOptions) -> f64 {
        let (mut theta, mut m, mut v) = (theta, 0.0, 0.0);
        for (t, g) in grads.iter().enumerate() {
            let t = t as i32 + 1;
            m = o.beta1 * m + (1.0 - o.beta1) * g;
            v = o.beta2 * v + (1.0 - o.beta2) * g.powi(2);
            let (m_hat, v_hat): (f64, f64) = (m / (1.0 - o.beta1.powi(t)), v / (1.0 - o.beta2.powi(t)));
            theta -= lr * o.weight_decay * theta;
            theta -= lr * m_hat / (v_hat.sqrt() + o.eps);
        }
        theta
    }

    #[test]
    fn steps_are_those_of_the_published_formula() {
        for options in [
            AdamOptions::default(),
            AdamOptions { beta1: 0.8, beta2: 0.98, eps: 1e-3, weight_decay: 0.1 },
            AdamOptions { weight_decay: 0.01, ..AdamOptions::default() },
        ] {
            let n = 37;
            let start = noise(n, 1);
            let grads: Vec<Vec<f64>> = (0..20).map(|t| noise(n, 10 + t)).collect();
            let mut theta = start.clone();
            let mut adam = Adam::new(n, options).unwrap();
            grads.iter().for_each(|g| adam.step(&mut theta, g, 0.05));
            for i in 0..n {
                let path: Vec<f64> = grads.iter().map(|g| g[i]).collect();
                // Twenty steps of a few roundings each; 1 - beta2^t loses three digits of t eps.
                assert!((theta[i] - published(start[i], &path, 0.05, &options)).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn two_steps_on_a_parabola_have_the_known_values() {
        // x^2 / 2 from 1 with lr 0.1: the gradient is x. Two steps worked by hand from the formula.
        let mut theta = [1.0];
        let mut adam = Adam::new(1, AdamOptions { eps: 0.0, ..AdamOptions::default() }).unwrap();
        let path: Vec<f64> = (0..2)
            .map(|_| {
                let grad = theta;
                adam.step(&mut theta, &grad, 0.1);
                theta[0]
            })
            .collect();
        let m2 = (0.09 + 0.1 * 0.9) / 0.19;
        let v2: f64 = (0.000_999 + 0.001 * 0.81) / 0.001_999;
        assert!((path[0] - 0.9).abs() < 1e-15);
        assert!((path[1] - (0.9 - 0.1 * m2 / v2.sqrt())).abs() < 1e-14);
    }

    fn kernel_bits<V: Lanes>() {
        if !V::is_available() {
            return;
        }
        let n = 203; // some full vectors and a rest
        let real = |seed| -> Vec<V::Real> { noise(n, seed).into_iter().map(V::Real::of).collect() };
        let factors = Factors::new(&AdamOptions { weight_decay: 0.1, ..AdamOptions::default() }, 3, 0.01);
        let run = |vectorised: bool| {
            let (mut theta, grad, mut m) = (real(1), real(2), real(3));
            let mut v: Vec<V::Real> = real(4).into_iter().map(|x| x * x).collect();
            let mut step = || step_kernel(&mut theta, &grad, &mut m, &mut v, &factors);
            if vectorised {
                V::vectorize(step)
            } else {
                step()
            }
            (theta, m, v)
        };
        assert_eq!(run(true), run(false));
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        kernel_bits::<<f32 as Real>::Avx512>();
        kernel_bits::<<f64 as Real>::Avx512>();
        kernel_bits::<<f32 as Real>::Avx2>();
        kernel_bits::<<f64 as Real>::Avx2>();
        kernel_bits::<<f32 as Real>::Neon>();
        kernel_bits::<<f64 as Real>::Neon>();
    }

    #[test]
    fn bits_do_not_depend_on_the_number_of_threads() {
        let n = 3 * TILE + 5;
        let grad = noise(n, 2);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut theta, mut adam) = (noise(n, 1), Adam::new(n, AdamOptions::default()).unwrap());
            pool.install(|| adam.step(&mut theta, &grad, 0.1));
            theta
        };
        assert_eq!(run(1), run(3));
    }

    fn resume<T: Real>() {
        let n = 10;
        let options = AdamOptions { weight_decay: 0.01, ..AdamOptions::default() };
        let run = |adam: &mut Adam<T>, theta: &mut [T], from: u64| {
            for t in from..from + 7 {
                let grad: Vec<T> = noise(n, t).into_iter().map(T::of).collect();
                adam.step(theta, &grad, 0.1);
            }
        };
        let mut theta = vec![T::zero(); n];
        let mut through = Adam::new(n, options).unwrap();
        run(&mut through, &mut theta, 1);
        let (mut resumed, mut resumed_theta) = (Adam::new(n, options).unwrap(), theta.clone());
        transplant(&through, &mut resumed);
        run(&mut through, &mut theta, 8);
        run(&mut resumed, &mut resumed_theta, 8);
        assert_eq!(theta, resumed_theta);
    }

    #[test]
    fn restored_adam_goes_on_with_the_same_bits() {
        resume::<f32>();
        resume::<f64>();
        let single = Adam::<f32>::new(1, AdamOptions::default()).unwrap().state();
        assert!(Adam::<f64>::new(1, AdamOptions::default()).unwrap().restore(&single).is_err());
    }

    #[test]
    fn constants_outside_their_range_are_refused() {
        for options in [
            AdamOptions { beta1: 1.0, ..AdamOptions::default() },
            AdamOptions { beta2: -0.1, ..AdamOptions::default() },
            AdamOptions { eps: f64::NAN, ..AdamOptions::default() },
            AdamOptions { weight_decay: -1.0, ..AdamOptions::default() },
        ] {
            assert!(Adam::<f64>::new(1, options).is_err());
        }
    }
}
