//! Fields for the tests of this folder.

use ndarray::{ArrayD, IxDyn};
use num_complex::Complex;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::field::{Grid, Real};

/// White noise in [-1, 1).
pub fn noise<T: Real>(shape: &[usize], seed: u64) -> ArrayD<T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    ArrayD::from_shape_fn(shape, |_| T::of(rng.random_range(-1.0..1.0)))
}

/// Complex white noise without any symmetry.
pub fn complex_noise<T: Real>(shape: &[usize], seed: u64) -> ArrayD<Complex<T>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || T::of(rng.random_range(-1.0..1.0));
    ArrayD::from_shape_fn(shape, |_| Complex::new(draw(), draw()))
}

/// Samples a function of the coordinates.
pub fn sample<T: Real>(grid: &Grid, f: impl Fn(&[f64]) -> f64) -> ArrayD<T> {
    let x: Vec<_> = (0..grid.dim()).map(|axis| grid.coordinates(axis)).collect();
    ArrayD::from_shape_fn(grid.shape(), |index: IxDyn| {
        let point: Vec<_> = x.iter().enumerate().map(|(axis, x)| x[index[axis]]).collect();
        T::of(f(&point))
    })
}

/// Largest absolute difference.
pub fn distance<T: Real>(a: &ArrayD<T>, b: &ArrayD<T>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| (a.as_f64() - b.as_f64()).abs()).fold(0.0, f64::max)
}

/// Largest absolute value.
pub fn largest<T: Real>(a: &ArrayD<T>) -> f64 {
    a.iter().map(|a| a.as_f64().abs()).fold(0.0, f64::max)
}

/// `sum a b`.
pub fn dot(a: &ArrayD<f64>, b: &ArrayD<f64>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `Re sum conj(a) b`, real and imaginary parts as independent reals.
pub fn dot_hat(a: &ArrayD<Complex<f64>>, b: &ArrayD<Complex<f64>>) -> f64 {
    assert_eq!(a.shape(), b.shape());
    a.iter().zip(b).map(|(a, b)| a.re * b.re + a.im * b.im).sum()
}
