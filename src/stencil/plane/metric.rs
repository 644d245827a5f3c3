//! Correlations and spectra of staggered fields; how long a prediction stays correlated is told by
//! [`stencil::metric`](crate::stencil::metric).

use ndarray::{Array2, ArrayView3, ArrayView5, s};

use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::Transform;
use crate::stencil::metric::cosine;

/// Vorticity at cell corners of a staggered field `[2, n, n]`, times the cell size:
/// `h omega = v[i+1, j] - v[i, j] - u[i, j+1] + u[i, j]`.
pub fn corner_vorticity<T: Real>(field: ArrayView3<'_, T>) -> Array2<f64> {
    let n = field.dim().1;
    let at = |c: usize, i: usize, j: usize| field[[c, i % n, j % n]].as_f64();
    Array2::from_shape_fn((n, n), |(i, j)| at(1, i + 1, j) - at(1, i, j) - at(0, i, j + 1) + at(0, i, j))
}

/// Correlation `<a, b> / |a| |b|` of the corner vorticities of two staggered fields, without their means, which are
/// zero; 0 if a value is not finite.
pub fn vorticity_correlation<T: Real>(a: ArrayView3<'_, T>, b: ArrayView3<'_, T>) -> f64 {
    cosine(corner_vorticity(a).into_iter(), corner_vorticity(b).into_iter())
}

/// Correlations `[time, sample]` of frames `[sample, time, 2, n, n]` with the truth.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn correlations<T: Real>(prediction: ArrayView5<'_, T>, truth: ArrayView5<'_, T>) -> Result<Array2<f64>> {
    if prediction.shape() != truth.shape() {
        return Err(Error::shape("prediction", truth.shape(), prediction.shape()));
    }
    let (samples, times, ..) = truth.dim();
    Ok(Array2::from_shape_fn((times, samples), |(t, s)| {
        vorticity_correlation(prediction.slice(s![s, t, .., .., ..]), truth.slice(s![s, t, .., .., ..]))
    }))
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
    use ndarray::Array3;

    use super::*;

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
