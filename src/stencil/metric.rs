//! How long predictions of chaotic fields stay near the truth, and whether they keep its statistics.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayView3, s};
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
        let of = |x: &T| x.as_f64();
        cosine(prediction.slice(s![t, s, ..]).iter().map(of), truth.slice(s![t, s, ..]).iter().map(of))
    }))
}

/// `<a, b> / (|a| |b|)`, zero if that is not finite.
pub(super) fn cosine(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>) -> f64 {
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.zip(b) {
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    let cosine = ab / (aa * bb).sqrt();
    if cosine.is_finite() { cosine } else { 0.0 }
}

/// First time at which a curve falls below a threshold, by linear interpolation between `times`; the last time if it does
/// not, and the first if it begins below.
///
/// # Panics
///
/// If the curve has another length than the times.
pub fn horizon(times: &[f64], curve: &[f64], threshold: f64) -> f64 {
    assert_eq!(times.len(), curve.len(), "horizon: times and curve");
    match curve.iter().position(|&c| c < threshold) {
        Some(0) => times[0],
        Some(k) => {
            let (before, after) = (curve[k - 1], curve[k]);
            times[k - 1] + (times[k] - times[k - 1]) * (before - threshold) / (before - after)
        }
        None => times.last().copied().unwrap_or(0.0),
    }
}

/// A [`horizon`] with its 90 % interval over the choice of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    /// Of the mean over all samples.
    pub time: f64,
    /// 5th percentile.
    pub low: f64,
    /// 95th percentile.
    pub high: f64,
}

/// [`horizon`] of the mean over samples of `curves: [time, sample]`, with a bootstrap interval: `resamples` times as many
/// samples are drawn with replacement.
pub fn horizon_of_mean(times: &[f64], curves: ArrayView2<f64>, threshold: f64, resamples: usize, seed: u64) -> Horizon {
    let samples = curves.ncols();
    let of = |chosen: &[usize]| {
        let mean = |row: ArrayView1<f64>| chosen.iter().map(|&s| row[s]).sum::<f64>() / samples as f64;
        horizon(times, &curves.rows().into_iter().map(mean).collect::<Vec<f64>>(), threshold)
    };
    let time = of(&(0..samples).collect::<Vec<usize>>());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: Vec<f64> =
        (0..resamples).map(|_| of(&(0..samples).map(|_| rng.random_range(0..samples)).collect::<Vec<_>>())).collect();
    draws.sort_by(f64::total_cmp);
    let at = |part: f64| draws.get((part * resamples.saturating_sub(1) as f64).round() as usize).copied();
    Horizon { time, low: at(0.05).unwrap_or(time), high: at(0.95).unwrap_or(time) }
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
    fn horizons_are_interpolated_between_times() {
        let times = [0.0, 1.0, 2.0, 3.0];
        // A few roundings.
        assert!((horizon(&times, &[1.0, 0.9, 0.7, 0.2], 0.8) - 1.5).abs() < 1e-14);
        assert_eq!(horizon(&times, &[1.0, 0.9, 0.85, 0.81], 0.8), 3.0);
        assert_eq!(horizon(&times, &[0.7, 0.9, 0.85, 0.81], 0.8), 0.0);
    }

    #[test]
    fn the_interval_holds_the_value_and_vanishes_for_equal_samples() {
        let equal = array![[1.0, 1.0], [0.9, 0.9], [0.5, 0.5]];
        let found = horizon_of_mean(&[0.0, 1.0, 2.0], equal.view(), 0.8, 200, 0);
        // Means of equal numbers, up to round-off.
        assert!((found.low - found.time).abs() < 1e-14 && (found.high - found.time).abs() < 1e-14);
        let times: Vec<f64> = (0..20).map(f64::from).collect();
        let mixed = Array2::from_shape_fn((20, 16), |(t, s)| 1.0 - t as f64 * (0.02 + 0.004 * s as f64));
        let found = horizon_of_mean(&times, mixed.view(), 0.8, 1000, 0);
        assert!(found.low < found.time && found.time < found.high, "{found:?}");
        let none = horizon_of_mean(&times, mixed.view(), 0.8, 0, 0);
        assert_eq!((none.low, none.high), (none.time, none.time));
    }

    #[test]
    fn spectrum_adds_up_to_half_the_mean_square() {
        let fields = Array2::from_shape_fn((3, 12), |(r, j)| ((r * 12 + j) as f64 * 1.7).sin());
        let half = 0.5 * fields.iter().map(|u| u * u).sum::<f64>() / 36.0;
        // Parseval, to the round-off of twelve terms.
        assert!((spectrum(fields.view()).sum() - half).abs() < 1e-14);
    }
}
