//! Staggered cell data from finer fields.

use num_complex::Complex64;

use super::Flow;
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::Transform;
use ndarray::{ArrayD, ArrayView3, ArrayViewD, IxDyn};

/// Exact staggered data of a spectral vorticity field.
///
/// On coarse cells of size `h` the velocity means over faces are, mode by mode,
///
/// ```text
/// u_hat exp(i (k_x h + k_y h / 2)) sinc(k_y h / 2),      v_hat exp(i (k_x h / 2 + k_y h)) sinc(k_x h / 2),
/// ```
///
/// `sinc z = sin z / z`, sampled at the coarse points: the limit of averaging an ever finer staggered field over whole
/// faces. The result is discretely divergence-free.
pub struct StaggeredFilter {
    coarse: Transform<f64>,
    /// Mode by mode of the fine half spectrum: factor of omega for u and for v, and place of this mode and of its
    /// conjugate in the coarse half spectrum.
    modes: Vec<Mode>,
    n: usize,
    fine: usize,
}

struct Mode {
    factors: [Complex64; 2],
    places: [Option<usize>; 2],
}

impl StaggeredFilter {
    /// Plans the filter from a fine half spectrum `[fine, fine / 2 + 1]` to `n x n` cells of the same box.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `n` is larger than `fine`, or below 4.
    pub fn plan(flow: &Flow, fine: usize, n: usize) -> Result<Self> {
        if n < 4 || n > fine {
            return Err(Error::parameter("n", n, format!("must be in [4, fine = {fine}]")));
        }
        let grid = Grid::cube(2, fine, flow.length)?;
        let h = flow.length / n as f64;
        let scale = (n as f64 / fine as f64).powi(2);
        let sinc = |z: f64| if z == 0.0 { 1.0 } else { z.sin() / z };
        let half = fine / 2 + 1;
        let mut modes = Vec::with_capacity(fine * half);
        for mx in grid.modes(0) {
            for my in 0..half as i64 {
                let [kx, ky] = [mx, my].map(|m| m as f64 * grid.k_unit(0));
                let k2 = kx * kx + ky * ky;
                // The Nyquist modes have no derivative, and a truncated field has none of them.
                let is_kept = k2 > 0.0 && 2 * my < fine as i64 && 2 * mx.abs() < fine as i64;
                let over = if is_kept { scale / k2 } else { 0.0 };
                let u = Complex64::new(0.0, ky * over * sinc(ky * h / 2.0)) * Complex64::cis(kx * h + ky * h / 2.0);
                let v = Complex64::new(0.0, -kx * over * sinc(kx * h / 2.0)) * Complex64::cis(kx * h / 2.0 + ky * h);
                let place = |mx: i64, my: i64| {
                    let [x, y] = [mx, my].map(|m| m.rem_euclid(n as i64) as usize);
                    (y <= n / 2).then_some(x * (n / 2 + 1) + y)
                };
                let conjugate = if my > 0 { place(-mx, -my) } else { None };
                modes.push(Mode { factors: [u, v], places: [place(mx, my), conjugate] });
            }
        }
        Ok(Self { coarse: Transform::plan(&Grid::cube(2, n, flow.length)?), modes, n, fine })
    }

    /// Cells along an axis.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Staggered velocity `[2, n, n]` of a half spectrum of the vorticity, `[fine, fine / 2 + 1]`, unscaled.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the spectrum is not that of the plan.
    pub fn apply<T: Real>(&self, omega_hat: ArrayViewD<'_, num_complex::Complex<T>>) -> Result<ArrayD<f64>> {
        let expected = [self.fine, self.fine / 2 + 1];
        if omega_hat.shape() != expected {
            return Err(Error::shape("omega_hat", &expected, omega_hat.shape()));
        }
        let mut hat = ArrayD::<Complex64>::zeros(IxDyn(&[2, self.n, self.n / 2 + 1]));
        let plane = self.n * (self.n / 2 + 1);
        let values = hat.as_slice_mut().expect("a new array is in standard layout");
        for (mode, omega) in self.modes.iter().zip(&omega_hat) {
            let omega = Complex64::new(omega.re.as_f64(), omega.im.as_f64());
            for (component, factor) in mode.factors.iter().enumerate() {
                let value = factor * omega;
                if let Some(place) = mode.places[0] {
                    values[component * plane + place] += value;
                }
                if let Some(place) = mode.places[1] {
                    values[component * plane + place] += value.conj();
                }
            }
        }
        Ok(self.coarse.inverse(hat.view()))
    }
}

impl StaggeredFilter {
    /// The spectrum of the vorticity that staggered data `[2, n, n]` tell: modes below the coarse Nyquist mode by least
    /// squares over both components, as if nothing had aliased, and zero beyond. `[fine, fine / 2 + 1]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the field is not that of the plan.
    pub fn invert<T: Real>(&self, field: ArrayView3<'_, T>) -> Result<ArrayD<Complex64>> {
        if field.shape() != [2, self.n, self.n] {
            return Err(Error::shape("field", &[2, self.n, self.n], field.shape()));
        }
        let hat = self.coarse.forward(field.mapv(|x| x.as_f64()).into_dyn().view());
        let hat = hat.as_slice().expect("a new array is in standard layout");
        let (half, plane) = (self.fine / 2 + 1, self.n * (self.n / 2 + 1));
        let mut omega = ArrayD::zeros(IxDyn(&[self.fine, half]));
        for (index, (value, mode)) in omega.iter_mut().zip(&self.modes).enumerate() {
            let (mx, my) = (index / half, index % half);
            let weight: f64 = mode.factors.iter().map(|f| f.norm_sqr()).sum();
            if let (true, Some(place)) = (self.resolves(mx, my) && weight > 0.0, mode.places[0]) {
                *value = (mode.factors[0].conj() * hat[place] + mode.factors[1].conj() * hat[plane + place]) / weight;
            }
        }
        Ok(omega)
    }

    /// Whether an entry of the fine half spectrum is one that [`StaggeredFilter::invert`] finds.
    pub fn resolves(&self, mx: usize, my: usize) -> bool {
        2 * mx.min(self.fine - mx) < self.n && 2 * my < self.n
    }
}

/// Staggered data on cells `factor` times as large: `u` is kept on every `factor`-th face and averaged along y over it,
/// `v` with the axes exchanged. `[2, n, n]` to `[2, n / factor, n / factor]`.
///
/// Discretely divergence-free fields stay so, and the flux through every coarse face is kept.
///
/// # Errors
///
/// [`Error::Shape`] if the field is not `[2, n, n]` with `n` divisible by `factor`.
pub fn coarsen<T: Real>(field: ArrayView3<'_, T>, factor: usize) -> Result<ArrayD<T>> {
    let (c, n, m) = field.dim();
    if c != 2 || n != m || factor == 0 || !n.is_multiple_of(factor) {
        let whole = n.div_ceil(factor.max(1)) * factor.max(1);
        return Err(Error::shape("field", &[2, whole, whole], field.shape()));
    }
    let (coarse, last) = (n / factor, factor - 1);
    let scale = T::of(1.0 / factor as f64);
    Ok(ArrayD::from_shape_fn(IxDyn(&[2, coarse, coarse]), |index| {
        let (i, j) = (index[1] * factor, index[2] * factor);
        let sum: T = (0..factor)
            .map(|k| if index[0] == 0 { field[[0, i + last, j + k]] } else { field[[1, i + k, j + last]] })
            .sum();
        sum * scale
    }))
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use ndarray::Ix3;

    use super::*;

    fn spectrum(n: usize) -> ArrayD<Complex64> {
        let grid = Grid::cube(2, n, TAU).unwrap();
        let x = grid.coordinates(0);
        let omega = ArrayD::from_shape_fn(IxDyn(&[n, n]), |p| {
            let (x, y) = (x[p[0]], x[p[1]]);
            (3.0 * x + 1.0).sin() + (2.0 * x - 5.0 * y).cos() + (x + 6.0 * y + 0.3).sin()
        });
        Transform::plan(&grid).forward(omega.view())
    }

    fn divergence(field: &ArrayD<f64>) -> f64 {
        let n = field.shape()[1];
        let h = TAU / n as f64;
        let at = |c: usize, i: usize, j: usize| field[[c, i % n, j % n]];
        let d = |i: usize, j: usize| at(0, i, j) - at(0, i + n - 1, j) + at(1, i, j) - at(1, i, j + n - 1);
        (0..n * n).map(|p| (d(p / n, p % n) / h).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn the_filter_is_the_mean_over_faces_also_of_modes_that_alias() {
        let filter = StaggeredFilter::plan(&Flow::decaying(0.0), 16, 8).unwrap();
        let field = filter.apply(spectrum(16).view()).unwrap();
        let h = TAU / 8.0;
        // psi = omega / k^2 mode by mode; the mean of u = psi_y over a face is the rise of psi along it over h.
        let psi = |x: f64, y: f64| {
            (3.0 * x + 1.0).sin() / 9.0 + (2.0 * x - 5.0 * y).cos() / 29.0 + (x + 6.0 * y + 0.3).sin() / 37.0
        };
        for i in 0..8 {
            for j in 0..8 {
                let (x, y) = ((i + 1) as f64 * h, (j + 1) as f64 * h);
                // Sums of a dozen modes of size one.
                assert!((field[[0, i, j]] - (psi(x, y) - psi(x, y - h)) / h).abs() < 1e-13);
                assert!((field[[1, i, j]] + (psi(x, y) - psi(x - h, y)) / h).abs() < 1e-13);
            }
        }
        assert!(divergence(&field) < 1e-12);
    }

    #[test]
    fn data_without_aliases_are_inverted_exactly() {
        let filter = StaggeredFilter::plan(&Flow::decaying(0.0), 16, 14).unwrap();
        let exact = spectrum(16);
        let field = filter.apply(exact.view()).unwrap().into_dimensionality::<Ix3>().unwrap();
        let found = filter.invert(field.view()).unwrap();
        // Coefficients are of size 128; modes up to 6 are below the Nyquist mode 7.
        assert!((&found - &exact).iter().all(|d| d.norm() < 1e-11));
    }

    #[test]
    fn coarsening_commutes_with_the_exact_filter_and_keeps_divergence_zero() {
        let flow = Flow::decaying(0.0);
        let fine = StaggeredFilter::plan(&flow, 16, 16).unwrap().apply(spectrum(16).view()).unwrap();
        let coarse = StaggeredFilter::plan(&flow, 16, 4).unwrap().apply(spectrum(16).view()).unwrap();
        let boxed = coarsen(fine.view().into_dimensionality::<Ix3>().unwrap(), 4).unwrap();
        // Means of means are means, up to round-off.
        assert!((&boxed - &coarse).iter().all(|d| d.abs() < 1e-13));
        assert!(divergence(&boxed) < 1e-12);
        assert!(coarsen(fine.view().into_dimensionality::<Ix3>().unwrap(), 3).is_err());
    }
}
