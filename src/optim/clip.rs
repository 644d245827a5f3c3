//! Clipping of a gradient by its norm.

use super::{gradient, vector};
use crate::field::Real;

/// Scales `grad` by `min(1, max_norm / ||grad||)` and returns the norm before, summed in `f64`.
///
/// If the norm is not finite, `grad` is left as it is: skip the step then, as clipping would make all of it NaN.
///
/// # Source
///
/// Pascanu, Mikolov & Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, Algorithm 1.
///
/// # Example
///
/// ```
/// let mut grad = [3.0, 4.0];
/// assert_eq!(parseval::optim::clip_global_norm(&mut grad, 1.0), 5.0);
/// assert!((grad[0] - 0.6f64).abs() < 1e-15);
/// ```
pub fn clip_global_norm<T: Real>(grad: &mut [T], max_norm: f64) -> f64 {
    let norm = gradient::norm(grad);
    if norm.is_finite() && norm > max_norm {
        vector::scale(grad, max_norm / norm);
    }
    norm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::testing::noise;

    #[test]
    fn clipping_keeps_the_direction_and_sets_the_norm() {
        let grad = noise(1000, 1);
        let mut clipped = grad.clone();
        let norm = clip_global_norm(&mut clipped, 0.25);
        for (c, g) in clipped.iter().zip(&grad) {
            // The factor and the product are rounded once each.
            assert!((c - g * 0.25 / norm).abs() <= 3e-16 * c.abs());
        }
        assert!((gradient::norm(&clipped) - 0.25).abs() < 1e-15);
    }

    #[test]
    fn short_and_broken_gradients_are_left_alone() {
        let mut grad = [0.3, 0.4];
        assert_eq!(clip_global_norm(&mut grad, 0.6), 0.5);
        assert_eq!(grad, [0.3, 0.4]);
        let mut grad = [1.0, f64::INFINITY];
        assert_eq!(clip_global_norm(&mut grad, 1.0), f64::INFINITY);
        assert_eq!(grad, [1.0, f64::INFINITY]);
    }
}
