//! What a gradient looks like, for clipping and for reports.

use super::vector;
use crate::field::Real;

/// Euclidean norm `sqrt(sum_i g_i^2)`, summed in `f64`; not finite if an entry is not.
pub fn norm<T: Real>(grad: &[T]) -> f64 {
    vector::dot(grad, grad).sqrt()
}

/// Index and value of the first entry that is not finite, or else of the first of those largest in magnitude; `None` if
/// there is no entry.
///
/// # Example
///
/// ```
/// use parseval::optim::worst_entry;
/// assert_eq!(worst_entry(&[1.0, -3.0, 2.0]), Some((1, -3.0)));
/// assert_eq!(worst_entry(&[1.0, f64::INFINITY, f64::NAN]).unwrap().0, 1);
/// ```
pub fn worst_entry<T: Real>(grad: &[T]) -> Option<(usize, T)> {
    let mut worst = (0, *grad.first()?);
    for (i, &g) in grad.iter().enumerate() {
        if !g.is_finite() {
            return Some((i, g));
        }
        if num_traits::Float::abs(g) > num_traits::Float::abs(worst.1) {
            worst = (i, g);
        }
    }
    Some(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_of_a_known_vector_is_exact_and_shows_what_is_not_finite() {
        assert_eq!(norm(&[3.0f32, 4.0]), 5.0);
        assert!(norm(&[1.0, f64::NAN]).is_nan());
        assert_eq!(norm(&[1.0, f64::NEG_INFINITY]), f64::INFINITY);
        assert_eq!(norm::<f64>(&[]), 0.0);
    }

    #[test]
    fn worst_entry_prefers_the_first_that_is_not_finite() {
        assert_eq!(worst_entry(&[-2.0, 2.0, 1.0]), Some((0, -2.0)));
        assert_eq!(worst_entry(&[9.0, 1.0, f64::NAN, f64::INFINITY]).map(|(i, _)| i), Some(2));
        assert_eq!(worst_entry(&[f32::NAN, 1.0]).map(|(i, _)| i), Some(0));
        assert_eq!(worst_entry::<f64>(&[]), None);
    }
}
