//! How long a prediction stays correlated with the truth, and how its energy is spread.

use ndarray::{Array1, Array2, ArrayView2, ArrayView3, ArrayView5, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::Transform;

/// Vorticity at cell corners of a staggered field `[2, n, n]`, times the cell size:
/// `h omega = v[i+1, j] - v[i, j] - u[i, j+1] + u[i, j]`.
pub fn corner_vorticity<T: Real>(field: ArrayView3<'_, T>) -> Array2<f64> {
    let n = field.dim().1;
    let at = |c: usize, i: usize, j: usize| field[[c, i % n, j % n]].as_f64();
    Array2::from_shape_fn((n, n), |(i, j)| at(1, i + 1, j) - at(1, i, j) - at(0, i, j + 1) + at(0, i, j))
}

/// Correlation `<a, b> / |a| |b|` of the corner vorticities of two staggered fields, without their means, which are
/// zero; NaN if a value is.
pub fn vorticity_correlation<T: Real>(a: ArrayView3<'_, T>, b: ArrayView3<'_, T>) -> f64 {
    let (a, b) = (corner_vorticity(a), corner_vorticity(b));
    let dot = |a: &Array2<f64>, b: &Array2<f64>| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

/// Correlations of frames `[sample, time, 2, n, n]` with the truth, `[sample, time]`; a frame that is not finite counts
/// zero.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn correlations<T: Real>(prediction: ArrayView5<'_, T>, truth: ArrayView5<'_, T>) -> Result<Array2<f64>> {
    if prediction.shape() != truth.shape() {
        return Err(Error::shape("prediction", truth.shape(), prediction.shape()));
    }
    let (samples, times, ..) = truth.dim();
    Ok(Array2::from_shape_fn((samples, times), |(s, t)| {
        let of = |x: &ArrayView5<'_, T>| x.index_axis(Axis(0), s).index_axis_move(Axis(0), t).to_owned();
        let value = vorticity_correlation(of(&prediction).view(), of(&truth).view());
        if value.is_finite() { value } else { 0.0 }
    }))
}

/// First time at which a correlation curve falls below a threshold, by linear interpolation between `times`; the last
/// time if it does not, and 0 if it begins below.
pub fn horizon(times: &[f64], correlation: &[f64], threshold: f64) -> f64 {
    assert_eq!(times.len(), correlation.len(), "horizon: times and correlation");
    match correlation.iter().position(|&c| c < threshold) {
        Some(0) => 0.0,
        Some(k) => {
            let (before, after) = (correlation[k - 1], correlation[k]);
            times[k - 1] + (times[k] - times[k - 1]) * (before - threshold) / (before - after)
        }
        None => times.last().copied().unwrap_or(0.0),
    }
}

/// A time with its bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Horizon {
    /// Of the mean over all samples.
    pub time: f64,
    /// Lower end of the central 90 % over resampled sets of samples.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// [`horizon`] of the mean of the curves `[sample, time]`, with the 5 % and 95 % points of `resamples` means over samples
/// drawn with replacement.
pub fn horizon_of_mean(
    times: &[f64],
    correlations: ArrayView2<'_, f64>,
    threshold: f64,
    resamples: usize,
    seed: u64,
) -> Horizon {
    let samples = correlations.nrows();
    let mean = |rows: &mut dyn Iterator<Item = usize>| {
        let mut sum = Array1::<f64>::zeros(correlations.ncols());
        rows.for_each(|r| sum += &correlations.row(r));
        (sum / samples as f64).to_vec()
    };
    let time = horizon(times, &mean(&mut (0..samples)), threshold);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut draws: Vec<f64> = (0..resamples)
        .map(|_| horizon(times, &mean(&mut (0..samples).map(|_| rng.random_range(0..samples))), threshold))
        .collect();
    draws.sort_by(f64::total_cmp);
    let point = |p: f64| draws.get((p * (draws.len() - 1) as f64).round() as usize).copied().unwrap_or(time);
    if draws.is_empty() {
        return Horizon { time, low: time, high: time };
    }
    Horizon { time, low: point(0.05), high: point(0.95) }
}

/// Kinetic energy `<u^2 + v^2> / 2` a unit of area.
pub fn kinetic_energy<T: Real>(field: ArrayView3<'_, T>) -> f64 {
    let n = field.dim().1;
    field.iter().map(|x| x.as_f64().powi(2)).sum::<f64>() / (2 * n * n) as f64
}

/// Kinetic energy in shells `|m| - 1/2 <= |k| < |m| + 1/2` of integer modes, `0..=n / 2`. They sum to the energy of all
/// modes within.
pub fn energy_spectrum<T: Real>(field: ArrayView3<'_, T>) -> Vec<f64> {
    let n = field.dim().1;
    let grid = Grid::cube(2, n, 1.0).expect("a field has at least one cell");
    let hat = Transform::<f64>::plan(&grid).forward(field.mapv(|x| x.as_f64()).into_dyn().view());
    let modes = grid.modes(0);
    let mut shells = vec![0.0; n / 2 + 1];
    for (index, z) in hat.indexed_iter() {
        let (mx, my) = (modes[index[1]], index[2]);
        let weight = if my == 0 || 2 * my == n { 0.5 } else { 1.0 };
        let shell = ((mx * mx) as f64 + (my * my) as f64).sqrt().round() as usize;
        if let Some(shell) = shells.get_mut(shell) {
            *shell += weight * z.norm_sqr() / (n as f64).powi(4);
        }
    }
    shells
}

/// Mean over the shells `1..` of `|ln(E / E_ref)|` where `E_ref > threshold`; where only `E` exceeds the threshold,
/// `|ln(E / threshold)|` counts.
pub fn spectrum_distance(energy: &[f64], reference: &[f64], threshold: f64) -> f64 {
    let (mut sum, mut count) = (0.0, 0);
    for (&e, &r) in energy.iter().zip(reference).skip(1) {
        if r > threshold || e > threshold {
            sum += (e.max(f64::MIN_POSITIVE) / r.max(threshold)).ln().abs();
            count += 1;
        }
    }
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, array};

    use super::*;

    #[test]
    fn horizons_are_interpolated_between_frames() {
        let times = [0.0, 1.0, 2.0, 3.0];
        // A few roundings.
        assert!((horizon(&times, &[1.0, 0.9, 0.7, 0.2], 0.8) - 1.5).abs() < 1e-14);
        assert_eq!(horizon(&times, &[1.0, 0.9, 0.85, 0.81], 0.8), 3.0);
        assert_eq!(horizon(&times, &[0.7, 0.9, 0.85, 0.81], 0.8), 0.0);
    }

    #[test]
    fn bootstrap_intervals_hold_the_mean_and_shrink_to_it_for_equal_samples() {
        let times = [0.0, 1.0, 2.0];
        let equal = array![[1.0, 0.9, 0.5], [1.0, 0.9, 0.5]];
        let found = horizon_of_mean(&times, equal.view(), 0.8, 100, 0);
        assert_eq!((found.low, found.high), (found.time, found.time));
        let unequal = array![[1.0, 0.9, 0.5], [1.0, 0.6, 0.5], [1.0, 0.95, 0.9]];
        let found = horizon_of_mean(&times, unequal.view(), 0.8, 1000, 0);
        assert!(found.low < found.time && found.time < found.high, "{found:?}");
    }

    #[test]
    fn spectrum_of_a_wave_lies_in_its_shell_and_sums_to_the_energy() {
        let n = 16;
        let field = Array3::from_shape_fn((2, n, n), |(c, i, j)| {
            let (x, y) = (i as f64, j as f64);
            if c == 0 { (std::f64::consts::TAU * (3.0 * x + 4.0 * y) / n as f64).sin() } else { 0.0 }
        });
        let shells = energy_spectrum(field.view());
        assert!((shells[5] - 0.25).abs() < 1e-14 && (kinetic_energy(field.view()) - 0.25).abs() < 1e-14);
        assert!(spectrum_distance(&shells, &shells, 1e-9) == 0.0);
        let doubled: Vec<f64> = shells.iter().map(|e| 2.0 * e).collect();
        assert!((spectrum_distance(&doubled, &shells, 1e-9) - 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_field_is_correlated_with_itself_and_not_with_its_negative() {
        let field = Array3::from_shape_fn((2, 8, 8), |(c, i, j)| ((c + 3 * i + 5 * j * j) % 7) as f64);
        assert!((vorticity_correlation(field.view(), field.view()) - 1.0).abs() < 1e-14);
        assert!((vorticity_correlation(field.view(), (-&field).view()) + 1.0).abs() < 1e-14);
    }
}
