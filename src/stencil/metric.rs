//! How long predictions of chaotic fields stay near the truth, and whether they keep its statistics.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::field::Real;

/// `<a, b> / (|a| |b|)` of every frame and sample, without subtracting a mean.
///
/// `prediction` and `truth` have shape `[time, sample, points]`; the result `[time, sample]`. Where a norm is zero or not
/// finite the correlation is 0.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn correlation<T: Real>(prediction: ArrayView3<T>, truth: ArrayView3<T>) -> Result<Array2<f64>> {
    if prediction.shape() != truth.shape() {
        return Err(Error::shape("prediction", truth.shape(), prediction.shape()));
    }
    let (times, samples, _) = truth.dim();
    Ok(Array2::from_shape_fn((times, samples), |(t, s)| {
        let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
        let a = prediction.index_axis(Axis(0), t);
        let b = truth.index_axis(Axis(0), t);
        for (a, b) in a.row(s).iter().zip(b.row(s)) {
            let (a, b) = (a.as_f64(), b.as_f64());
            ab += a * b;
            aa += a * a;
            bb += b * b;
        }
        let correlation = ab / (aa * bb).sqrt();
        if correlation.is_finite() { correlation } else { 0.0 }
    }))
}

/// First time at which the mean correlation over the samples falls below `threshold`, with linear interpolation between
/// frames. Frame `i` is at time `(i + 1) dt`, and the start has correlation `start`. The last time if it never falls.
pub fn duration(correlation: ArrayView2<f64>, start: f64, threshold: f64, dt: f64) -> f64 {
    let samples: Vec<usize> = (0..correlation.ncols()).collect();
    duration_of(correlation, &samples, start, threshold, dt)
}

fn duration_of(correlation: ArrayView2<f64>, samples: &[usize], start: f64, threshold: f64, dt: f64) -> f64 {
    if start < threshold {
        return 0.0;
    }
    let mut before = start;
    for (i, row) in correlation.rows().into_iter().enumerate() {
        let mean = samples.iter().map(|&s| row[s]).sum::<f64>() / samples.len() as f64;
        if mean < threshold {
            return dt * (i as f64 + (before - threshold) / (before - mean));
        }
        before = mean;
    }
    dt * correlation.nrows() as f64
}

/// A [`duration`] with its 90 % interval over the choice of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Duration {
    /// The value of all samples.
    pub value: f64,
    /// 5th percentile.
    pub low: f64,
    /// 95th percentile.
    pub high: f64,
}

/// [`duration`] with a bootstrap interval: `resamples` times as many samples are drawn with replacement.
pub fn bootstrap(
    correlation: ArrayView2<f64>,
    start: f64,
    threshold: f64,
    dt: f64,
    resamples: usize,
    seed: u64,
) -> Duration {
    let value = duration(correlation, start, threshold, dt);
    let n = correlation.ncols();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: Vec<f64> = (0..resamples)
        .map(|_| {
            let samples: Vec<usize> = (0..n).map(|_| rng.random_range(0..n)).collect();
            duration_of(correlation, &samples, start, threshold, dt)
        })
        .collect();
    draws.sort_by(f64::total_cmp);
    let at = |part: f64| draws.get((part * draws.len() as f64) as usize).copied().unwrap_or(value);
    Duration { value, low: at(0.05), high: at(0.95) }
}

/// Mean energy `|u_hat_m|^2 / 2` of the modes `m = 0 ..= n / 2` of periodic rows of `n` points, `u_hat` with the factor
/// `1/n`; conjugate modes are counted together, so that the sum is half the mean square.
///
/// `fields` has shape `[row, n]`.
pub fn spectrum<T: Real>(fields: ArrayView2<T>) -> Array1<f64> {
    let n = fields.ncols();
    let mut energy = Array1::zeros(n / 2 + 1);
    let table: Vec<(f64, f64)> =
        (0..n).map(|j| (std::f64::consts::TAU * j as f64 / n as f64).sin_cos()).map(|(s, c)| (c, s)).collect();
    for row in fields.rows() {
        for (m, energy) in energy.iter_mut().enumerate() {
            let (mut re, mut im) = (0.0, 0.0);
            for (j, u) in row.iter().enumerate() {
                let (c, s) = table[m * j % n];
                re += u.as_f64() * c;
                im += u.as_f64() * s;
            }
            let pairs = if m == 0 || 2 * m == n { 0.5 } else { 1.0 };
            *energy += pairs * (re * re + im * im) / (n * n) as f64;
        }
    }
    energy / fields.nrows() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn correlation_is_one_for_multiples_and_zero_for_orthogonal_or_broken_fields() {
        let truth = Array3::from_shape_fn((1, 4, 8), |(_, _, j)| (std::f64::consts::TAU * j as f64 / 8.0).sin());
        let mut prediction = truth.clone();
        for j in 0..8 {
            prediction[[0, 0, j]] *= 3.0;
            prediction[[0, 1, j]] = (std::f64::consts::TAU * j as f64 / 8.0).cos();
            prediction[[0, 2, j]] = 0.0;
            prediction[[0, 3, j]] = f64::NAN;
        }
        let found = correlation(prediction.view(), truth.view()).unwrap();
        // Eight roundings.
        assert!((found[[0, 0]] - 1.0).abs() < 1e-14 && found[[0, 1]].abs() < 1e-14);
        assert_eq!((found[[0, 2]], found[[0, 3]]), (0.0, 0.0));
    }

    #[test]
    fn the_crossing_is_interpolated() {
        let falling = array![[0.9, 0.9], [0.7, 0.7], [0.1, 0.3]];
        // From 1 to 0.9 to 0.7: 0.8 is crossed halfway between the times 2 and 4.
        assert!((duration(falling.view(), 1.0, 0.8, 2.0) - 3.0).abs() < 1e-14);
        assert_eq!(duration(falling.view(), 1.0, 0.05, 2.0), 6.0);
        assert_eq!(duration(falling.view(), 0.7, 0.8, 2.0), 0.0);
        assert!((duration(falling.view(), 1.0, 0.95, 2.0) - 1.0).abs() < 1e-14);
    }

    #[test]
    fn the_interval_holds_the_value_and_vanishes_for_equal_samples() {
        let equal = array![[0.9, 0.9, 0.9], [0.5, 0.5, 0.5]];
        let found = bootstrap(equal.view(), 1.0, 0.8, 1.0, 200, 0);
        assert!((found.low - found.value).abs() < 1e-14 && (found.high - found.value).abs() < 1e-14);
        let mixed = Array2::from_shape_fn((20, 16), |(t, s)| 1.0 - t as f64 * (0.02 + 0.004 * s as f64));
        let found = bootstrap(mixed.view(), 1.0, 0.8, 1.0, 1000, 0);
        assert!(found.low < found.value && found.value < found.high, "{found:?}");
    }

    #[test]
    fn spectrum_adds_up_to_half_the_mean_square() {
        let fields = Array2::from_shape_fn((3, 12), |(r, j)| ((r * 12 + j) as f64 * 1.7).sin());
        let half = 0.5 * fields.iter().map(|u| u * u).sum::<f64>() / 36.0;
        // Parseval, to the round-off of twelve terms.
        assert!((spectrum(fields.view()).sum() - half).abs() < 1e-14);
    }
}
