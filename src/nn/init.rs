//! First values of parameters, for [`Parameters::add`](crate::autodiff::Parameters::add).
//!
//! Each function returns a source of values in row-major order. The generator is the caller's, so that one seed fixes a
//! whole model.
//!
//! # Example
//!
//! ```
//! use parseval::{autodiff::Parameters, nn::init};
//! use rand::SeedableRng;
//! use rand_chacha::ChaCha8Rng;
//!
//! let mut rng = ChaCha8Rng::seed_from_u64(0);
//! let mut parameters = Parameters::<f64>::new();
//! let shape = [64, 32]; // [out, in]
//! let (fan_in, fan_out) = init::fans(&shape);
//! parameters.add("dense.weight", &shape, init::xavier_uniform(&mut rng, fan_in, fan_out, 1.0));
//! parameters.add("dense.bias", &[64], init::zeros());
//! let bound = (6.0f64 / 96.0).sqrt();
//! assert!(parameters.theta().iter().all(|w| w.abs() <= bound));
//! ```

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Fan in and fan out of a weight of shape `[out, in, kernel..]`: inputs of one output value and outputs of one input
/// value, the points of the kernel counted. A vector `[n]` has both `n`.
pub fn fans(shape: &[usize]) -> (usize, usize) {
    match shape {
        [] => (1, 1),
        [n] => (*n, *n),
        [out, input, kernel @ ..] => {
            let points: usize = kernel.iter().product();
            (input * points, out * points)
        }
    }
}

/// Zeros.
pub fn zeros() -> impl FnMut() -> f64 {
    || 0.0
}

/// The same value everywhere.
pub fn constant(value: f64) -> impl FnMut() -> f64 {
    move || value
}

/// Uniform in `[low, high)`.
pub fn uniform(rng: &mut ChaCha8Rng, low: f64, high: f64) -> impl FnMut() -> f64 {
    move || low + (high - low) * rng.random::<f64>()
}

/// Normal with mean zero and standard deviation `std`.
pub fn normal(rng: &mut ChaCha8Rng, std: f64) -> impl FnMut() -> f64 {
    move || std * rng.sample::<f64, _>(StandardNormal)
}

/// Uniform in `±gain sqrt(6 / (fan_in + fan_out))`: variance `2 gain^2 / (fan_in + fan_out)` (Glorot & Bengio 2010,
/// eq. 16), for layers before tanh or none.
pub fn xavier_uniform(rng: &mut ChaCha8Rng, fan_in: usize, fan_out: usize, gain: f64) -> impl FnMut() -> f64 {
    symmetric(rng, gain * (6.0 / (fan_in + fan_out) as f64).sqrt())
}

/// Uniform in `±gain sqrt(3 / fan_in)`: variance `gain^2 / fan_in` (He et al. 2015, eq. 10). `gain = sqrt(2)` before a
/// ReLU; `gain = 1 / sqrt(3)` is `±1 / sqrt(fan_in)`, the default of PyTorch's linear and convolution layers.
pub fn kaiming_uniform(rng: &mut ChaCha8Rng, fan_in: usize, gain: f64) -> impl FnMut() -> f64 {
    symmetric(rng, gain * (3.0 / fan_in as f64).sqrt())
}

fn symmetric(rng: &mut ChaCha8Rng, bound: f64) -> impl FnMut() -> f64 {
    uniform(rng, -bound, bound)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn moments(mut value: impl FnMut() -> f64) -> (f64, f64, f64) {
        let values: Vec<f64> = (0..40_000).map(|_| value()).collect();
        let mean = values.iter().sum::<f64>() / 40_000.0;
        let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 40_000.0;
        (mean, variance, values.iter().fold(0.0, |a, x| x.abs().max(a)))
    }

    #[test]
    fn variances_and_bounds_are_those_of_the_rules() {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        // 40000 draws: relative standard error of a variance is below 1 %, allow four of them.
        let close = |got: f64, expected: f64| assert!((got / expected - 1.0).abs() < 0.03, "{got} {expected}");
        let (mean, variance, bound) = moments(xavier_uniform(&mut rng, 20, 30, 2.0));
        close(variance, 2.0 * 4.0 / 50.0);
        assert!(mean.abs() < 0.01 && bound <= 2.0 * (6.0f64 / 50.0).sqrt());
        let (_, variance, bound) = moments(kaiming_uniform(&mut rng, 16, 1.0 / 3f64.sqrt()));
        close(variance, 1.0 / 48.0);
        assert!(bound <= 0.25);
        let (mean, variance, _) = moments(normal(&mut rng, 0.5));
        close(variance, 0.25);
        assert!(mean.abs() < 0.01);
        let (mean, ..) = moments(uniform(&mut rng, 1.0, 3.0));
        assert!((mean - 2.0).abs() < 0.02);
    }

    #[test]
    fn a_seed_fixes_the_values() {
        let draw = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let first = normal(&mut rng, 1.0)();
            (first, uniform(&mut rng, 0.0, 1.0)())
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn fans_count_the_kernel() {
        assert_eq!(fans(&[64, 32]), (32, 64));
        assert_eq!(fans(&[8, 4, 3, 3]), (36, 72));
        assert_eq!((zeros()(), constant(2.5)()), (0.0, 2.5));
    }
}
