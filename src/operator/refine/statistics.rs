//! Rank correlation.

/// Spearman's rank correlation of two samples: Pearson's correlation of the ranks, ties sharing their mean rank. It is 1
/// for any increasing relation. Not a number for samples of length below two or without variation.
///
/// # Panics
///
/// If the samples differ in length.
///
/// # Example
///
/// ```
/// use parseval::operator::refine::spearman;
/// assert_eq!(spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 1e6]), 1.0);
/// ```
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    assert!(a.len() == b.len(), "spearman: {} and {} values", a.len(), b.len());
    let (a, b) = (ranks(a), ranks(b));
    // Ranks with ties keep their mean.
    let mean = 0.5 * (a.len() as f64 - 1.0);
    let covariance = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    covariance(&a, &b) / (covariance(&a, &a) * covariance(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for tied in order.chunk_by(|&i, &j| values[i] == values[j]) {
        let rank = start as f64 + 0.5 * (tied.len() as f64 - 1.0);
        tied.iter().for_each(|&i| ranks[i] = rank);
        start += tied.len();
    }
    ranks
}

/// The value at the share `q` of the sorted sample, by linear interpolation.
pub(super) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q * (sorted.len() as f64 - 1.0);
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlation_of_known_samples() {
        let a = [3.0, 1.0, 4.0, 2.0, 5.0];
        assert_eq!(spearman(&a, &a.map(|x| -x.powi(3))), -1.0);
        // Without ties 1 - 6 sum d^2 / (n (n^2 - 1)): one exchange of neighbours among five, 1 - 12 / 120.
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0, 5.0], &[2.0, 1.0, 3.0, 4.0, 5.0]) - 0.9).abs() < 1e-15);
        // Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
        assert!((spearman(&[1.0, 2.0, 2.0, 3.0], &[1.0, 2.0, 3.0, 4.0]) - 0.9f64.sqrt()).abs() < 1e-15);
        assert!(spearman(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), 2.0);
        assert_eq!(quantile(&[0.0, 1.0], 0.25), 0.25);
        assert_eq!(quantile(&[7.0], 0.9), 7.0);
    }
}
