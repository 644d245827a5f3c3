//! Sobolev norms of any real order, exact by Parseval's identity.

use ndarray::{ArrayD, ArrayViewD};
use num_complex::Complex;

use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::{Transform, symbol};

/// Which power of the wavenumber weighs a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SobolevKind {
    /// `(1 + |k|^2)^s`.
    Inhomogeneous,
    /// `|k|^(2s)`; the mean has weight zero, so this is a seminorm.
    Homogeneous,
}

/// Plan of the inner product and norm of `H^s` on the box, for any real `s`:
///
/// ```text
/// <u, v>_s = V N^-2 sum_half w_m (1 + |k|^2)^s Re(conj(û_m) v̂_m),      ||u||_s = sqrt(<u, u>_s),
/// ```
///
/// with the volume `V`, the number of points `N` and the weights `w` of [`symbol::hermitian_weights`]. At `s = 0` it is
/// the integral over the box by quadrature, `(V / N) sum_j u_j v_j`. Sums are in double precision.
///
/// Leading axes are components: their squares are added. Call it sample by sample to have the norms of a batch.
///
/// # Panics
///
/// Every method panics if the trailing axes are not the grid's or two arguments differ in shape.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, spectral::{Sobolev, SobolevKind}};
///
/// let grid = Grid::cube(1, 16, std::f64::consts::TAU)?;
/// let u = Array::from_iter(grid.coordinates(0).into_iter().map(|x| (3.0 * x).cos())).into_dyn();
/// let h1 = Sobolev::<f64>::plan(&grid, 1.0, SobolevKind::Inhomogeneous)?;
/// // ||cos(3x)||^2 = pi, times 1 + 3^2.
/// assert!((h1.norm(u.view()).powi(2) - 10.0 * std::f64::consts::PI).abs() < 1e-12);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Sobolev<T: Real> {
    transform: Transform<T>,
    /// `(1 + |k|^2)^s` or `|k|^(2s)`.
    weight: ArrayD<T>,
    /// `V N^-2 w_m` times `weight`.
    quadrature: ArrayD<f64>,
}

impl<T: Real> Sobolev<T> {
    /// Plans the norm of order `s`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `s` is not finite.
    pub fn plan(grid: &Grid, s: f64, kind: SobolevKind) -> Result<Self> {
        if !s.is_finite() {
            return Err(Error::parameter("s", s, "must be finite"));
        }
        let weight = symbol::over_modes(grid, |m| match (kind, symbol::mode_k_squared(grid, m)) {
            (SobolevKind::Inhomogeneous, k2) => (1.0 + k2).powf(s),
            (SobolevKind::Homogeneous, 0.0) => 0.0,
            (SobolevKind::Homogeneous, k2) => k2.powf(s),
        });
        let scale = grid.volume() / (grid.points() as f64).powi(2);
        let quadrature = &weight * &symbol::hermitian_weights::<f64>(grid) * scale;
        Ok(Self { transform: Transform::plan(grid), weight: weight.mapv(T::of), quadrature })
    }

    /// `<u, v>_s` of two fields.
    pub fn inner(&self, u: ArrayViewD<'_, T>, v: ArrayViewD<'_, T>) -> f64 {
        self.inner_hat(self.transform.forward(u).view(), self.transform.forward(v).view())
    }

    /// `<u, v>_s` from coefficients.
    pub fn inner_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>, v_hat: ArrayViewD<'_, Complex<T>>) -> f64 {
        assert!(u_hat.shape() == v_hat.shape(), "Sobolev: {:?} and {:?} differ", u_hat.shape(), v_hat.shape());
        let weight = self
            .quadrature
            .broadcast(u_hat.raw_dim())
            .filter(|_| u_hat.shape().ends_with(self.quadrature.shape()))
            .unwrap_or_else(|| {
                panic!("Sobolev: trailing axes must be {:?}, got {:?}", self.quadrature.shape(), u_hat.shape())
            });
        let pairs = u_hat.iter().zip(&v_hat).zip(&weight);
        pairs.map(|((u, v), w)| w * (u.re.as_f64() * v.re.as_f64() + u.im.as_f64() * v.im.as_f64())).sum()
    }

    /// `||u||_s` of a field.
    pub fn norm(&self, u: ArrayViewD<'_, T>) -> f64 {
        self.norm_hat(self.transform.forward(u).view())
    }

    /// `||u||_s` from coefficients.
    pub fn norm_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> f64 {
        self.inner_hat(u_hat.view(), u_hat.view()).sqrt()
    }

    /// `||u - reference||_s / ||reference||_s`; not finite if the reference has norm zero.
    pub fn relative_error(&self, u: ArrayViewD<'_, T>, reference: ArrayViewD<'_, T>) -> f64 {
        assert!(u.shape() == reference.shape(), "Sobolev: {:?} and {:?} differ", u.shape(), reference.shape());
        self.norm((&u - &reference).view()) / self.norm(reference)
    }

    /// Gradient of `||u||_s^2` with respect to the values on the grid,
    /// `d ||u||_s^2 / du_j = 2 (V / N) inverse[(1 + |k|^2)^s û]_j`.
    pub fn gradient(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.gradient_from_hat(self.transform.forward(u).view())
    }

    /// [`Sobolev::gradient`] (values on the grid) from coefficients.
    pub fn gradient_from_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<T> {
        let grid = self.transform.grid();
        let scale = T::of(2.0 * grid.volume() / grid.points() as f64);
        self.transform.inverse_owned(&u_hat * &self.weight.mapv(|w| scale * w))
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{PI, TAU};

    use super::*;
    use crate::spectral::Derivatives;
    use crate::spectral::testing::{dot, noise, sample};
    use SobolevKind::{Homogeneous, Inhomogeneous};

    fn grids() -> [Grid; 3] {
        [
            Grid::new(&[12], &[3.0]).unwrap(),
            Grid::new(&[9, 8], &[2.0, 5.0]).unwrap(),
            Grid::new(&[6, 5, 7], &[1.0, 2.0, 3.0]).unwrap(),
        ]
    }

    #[test]
    fn order_zero_is_the_quadrature_of_the_square() {
        for grid in grids() {
            let u = noise::<f64>(&[&[2], grid.shape()].concat(), 1);
            let norm = Sobolev::plan(&grid, 0.0, Inhomogeneous).unwrap().norm(u.view());
            let quadrature = grid.volume() / grid.points() as f64 * dot(&u, &u);
            assert!((norm * norm / quadrature - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn norms_of_a_mode_are_known() {
        let grid = Grid::new(&[16, 12], &[TAU, 2.0 * TAU]).unwrap();
        let u = sample::<f64>(&grid, |x| 0.5 + (3.0 * x[0] - 2.0 * 0.5 * x[1]).cos());
        for s in [-1.0, 0.5, 2.0] {
            // |k|^2 = 10; the integral of cos^2 is half the volume 8 pi^2.
            let mode = 4.0 * PI * PI;
            let homogeneous = Sobolev::plan(&grid, s, Homogeneous).unwrap().norm(u.view()).powi(2);
            assert!((homogeneous / (mode * 10f64.powf(s)) - 1.0).abs() < 1e-13);
            let inhomogeneous = Sobolev::plan(&grid, s, Inhomogeneous).unwrap().norm(u.view()).powi(2);
            assert!((inhomogeneous / (0.25 * 8.0 * PI * PI + mode * 11f64.powf(s)) - 1.0).abs() < 1e-13);
        }
        let reference = sample::<f64>(&grid, |x| (3.0 * x[0]).cos());
        let error = &reference * 1.1;
        let l2 = Sobolev::plan(&grid, 0.0, Inhomogeneous).unwrap();
        assert!((l2.relative_error(error.view(), reference.view()) - 0.1).abs() < 1e-14);
    }

    #[test]
    fn homogeneous_order_one_is_the_norm_of_the_gradient() {
        // Odd sizes: the discrete gradient drops the Nyquist modes, the norm does not.
        let grid = Grid::new(&[9, 11], &[2.0, 5.0]).unwrap();
        let u = noise::<f64>(grid.shape(), 2);
        let gradient = Derivatives::plan(&grid).gradient(u.view());
        let l2 = Sobolev::plan(&grid, 0.0, Inhomogeneous).unwrap().norm(gradient.view());
        assert!((Sobolev::plan(&grid, 1.0, Homogeneous).unwrap().norm(u.view()) / l2 - 1.0).abs() < 1e-13);
    }

    #[test]
    fn pairing_is_bounded_by_dual_norms_and_attained() {
        for grid in grids() {
            let (u, v) = (noise::<f64>(grid.shape(), 3), noise::<f64>(grid.shape(), 4));
            let l2 = Sobolev::plan(&grid, 0.0, Inhomogeneous).unwrap();
            for s in [0.5, 1.0, 2.3] {
                let strong = Sobolev::plan(&grid, s, Inhomogeneous).unwrap();
                let weak = Sobolev::plan(&grid, -s, Inhomogeneous).unwrap();
                assert!(l2.inner(u.view(), v.view()).abs() <= strong.norm(u.view()) * weak.norm(v.view()));
                // Equality for v = (1 - lap)^s u, which is the gradient up to a factor.
                let dual = strong.gradient(u.view());
                let ratio = l2.inner(u.view(), dual.view()) / (strong.norm(u.view()) * weak.norm(dual.view()));
                assert!((ratio - 1.0).abs() < 1e-13);
            }
        }
    }

    #[test]
    fn gradient_is_the_slope_of_the_squared_norm() {
        for grid in grids() {
            for (s, kind) in [(-1.0, Homogeneous), (0.0, Inhomogeneous), (1.5, Inhomogeneous)] {
                let sobolev = Sobolev::plan(&grid, s, kind).unwrap();
                let (u, du) = (noise::<f64>(grid.shape(), 5), noise::<f64>(grid.shape(), 6));
                let squared = |h: f64| sobolev.norm((&u + &(&du * h)).view()).powi(2);
                // A central difference of a quadratic is exact at any step.
                let difference = (squared(0.5) - squared(-0.5)) / 1.0;
                let slope = dot(&sobolev.gradient(u.view()), &du);
                let scale = sobolev.norm(u.view()) * sobolev.norm(du.view());
                assert!((slope - difference).abs() < 1e-13 * scale, "{s} {grid:?}");
            }
        }
    }

    #[test]
    fn f32_fields_are_summed_in_double() {
        let grid = Grid::cube(2, 64, 1.0).unwrap();
        let u = noise::<f32>(grid.shape(), 7);
        let single = Sobolev::<f32>::plan(&grid, -1.0, Inhomogeneous).unwrap().norm(u.view());
        let double = Sobolev::<f64>::plan(&grid, -1.0, Inhomogeneous).unwrap().norm(u.mapv(f64::from).view());
        // A few eps of f32 (6e-8) from the transform.
        assert!((single / double - 1.0).abs() < 3e-7);
        assert!(Sobolev::<f64>::plan(&grid, f64::INFINITY, Homogeneous).is_err());
    }
}
