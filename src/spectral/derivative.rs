//! Differential operators and their inverses.

use ndarray::{ArrayD, ArrayViewD, Axis, stack};
use num_complex::Complex;

use crate::field::{Grid, Real};
use crate::spectral::{Transform, symbol};

/// Plan of the differential operators on a grid; spectrally exact for every mode below Nyquist.
///
/// Scalars have shape `[.., space]`, vector fields `[.., d, space]` with components in the order x, y, z. Each
/// operator has a `_hat` form on coefficients (`space` is then the half spectrum); the plain form is
/// `inverse . operator_hat . forward`.
///
/// First derivatives are zero at the Nyquist mode of their axis (see [`symbol`]).
///
/// # Panics
///
/// Every method panics if the trailing axes are not the grid's, or the component axis is not as stated.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, spectral::Derivatives};
///
/// let grid = Grid::cube(1, 16, std::f64::consts::TAU)?;
/// let derivatives = Derivatives::<f64>::plan(&grid);
/// let x = grid.coordinates(0);
/// let u = Array::from_iter(x.iter().map(|x| (3.0 * x).sin())).into_dyn();
/// let u_x = derivatives.derivative(u.view(), 0, 1);
/// assert!((u_x[5] - 3.0 * (3.0 * x[5]).cos()).abs() < 1e-13);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Derivatives<T: Real> {
    transform: Transform<T>,
    /// `i k` of each axis, zero at Nyquist.
    ik: Vec<ArrayD<Complex<T>>>,
    k2: ArrayD<T>,
    inverse_laplacian: ArrayD<T>,
    /// `1 / sum (k_i)^2` with `k_i` as in `ik`; zero where all vanish.
    inverse_ik2: ArrayD<T>,
}

impl<T: Real> Derivatives<T> {
    /// Plans the operators of a grid.
    pub fn plan(grid: &Grid) -> Self {
        let inverse_ik2 = symbol::over_modes(grid, |m| {
            let below_nyquist = |axis: usize| if symbol::is_nyquist(grid.shape()[axis], m[axis]) { 0 } else { m[axis] };
            let m: Vec<_> = (0..grid.dim()).map(below_nyquist).collect();
            let k2 = symbol::mode_k_squared(grid, &m);
            T::of(if k2 == 0.0 { 0.0 } else { 1.0 / k2 })
        });
        Self {
            transform: Transform::plan(grid),
            ik: (0..grid.dim()).map(|axis| symbol::derivative(grid, axis, 1)).collect(),
            k2: symbol::k_squared(grid),
            inverse_laplacian: symbol::inverse_laplacian(grid),
            inverse_ik2,
        }
    }

    /// The transform that the plain forms use.
    pub fn transform(&self) -> &Transform<T> {
        &self.transform
    }

    /// Derivative of any order along an axis, `(i k)^order û`.
    pub fn derivative_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>, axis: usize, order: u32) -> ArrayD<Complex<T>> {
        &u_hat * &symbol::derivative(self.transform.grid(), axis, order)
    }

    /// Derivative of any order along an axis, `d^order u / dx_axis^order`.
    pub fn derivative(&self, u: ArrayViewD<'_, T>, axis: usize, order: u32) -> ArrayD<T> {
        self.through(u, |u_hat| self.derivative_hat(u_hat, axis, order))
    }

    /// Gradient of a scalar, `[.., space]` to `[.., d, space]`.
    pub fn gradient_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        let components: Vec<_> = self.ik.iter().map(|ik| &u_hat * ik).collect();
        self.vector(&components)
    }

    /// Gradient of a scalar, `[.., space]` to `[.., d, space]`.
    pub fn gradient(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(u, |u_hat| self.gradient_hat(u_hat))
    }

    /// Divergence of a vector field, `[.., d, space]` to `[.., space]`.
    pub fn divergence_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        self.assert_vector(&u_hat);
        let mut sum = &self.component(&u_hat, 0) * &self.ik[0];
        for (i, ik) in self.ik.iter().enumerate().skip(1) {
            sum += &(&self.component(&u_hat, i) * ik);
        }
        sum
    }

    /// Divergence of a vector field, `[.., d, space]` to `[.., space]`.
    pub fn divergence(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(u, |u_hat| self.divergence_hat(u_hat))
    }

    /// Laplacian `-|k|^2 û` of a scalar or of each component.
    pub fn laplacian_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        -(&u_hat * &self.k2)
    }

    /// Laplacian of a scalar or of each component.
    pub fn laplacian(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(u, |u_hat| self.laplacian_hat(u_hat))
    }

    /// Solution of `lap u = f` with zero mean; the mean of `f` is ignored.
    pub fn inverse_laplacian_hat(&self, f_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        &f_hat * &self.inverse_laplacian
    }

    /// Solution of `lap u = f` with zero mean; the mean of `f` is ignored.
    pub fn inverse_laplacian(&self, f: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(f, |f_hat| self.inverse_laplacian_hat(f_hat))
    }

    /// Curl. 2-D: `omega = v_x - u_y`, `[.., 2, space]` to `[.., space]`; 3-D: `[.., 3, space]` to the same.
    pub fn curl_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        self.assert_vector(&u_hat);
        // d_i u_j - d_j u_i
        let rotation =
            |i: usize, j: usize| &self.component(&u_hat, j) * &self.ik[i] - &self.component(&u_hat, i) * &self.ik[j];
        match self.ik.len() {
            2 => rotation(0, 1),
            3 => self.vector(&[rotation(1, 2), rotation(2, 0), rotation(0, 1)]),
            d => panic!("curl: needs 2 or 3 dimensions, got {d}"),
        }
    }

    /// Curl. 2-D: `omega = v_x - u_y`, `[.., 2, space]` to `[.., space]`; 3-D: `[.., 3, space]` to the same.
    pub fn curl(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(u, |u_hat| self.curl_hat(u_hat))
    }

    /// Velocity of a vorticity (Biot-Savart), with zero mean and zero divergence.
    ///
    /// 2-D: `-lap psi = omega`, `(u, v) = (psi_y, -psi_x)`, `[.., space]` to `[.., 2, space]`. 3-D: `-lap psi = omega`,
    /// `u = curl psi`, `[.., 3, space]` to the same. The mean and the Nyquist modes of `omega` have no counterpart.
    pub fn biot_savart_hat(&self, omega_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        let psi_hat = -self.inverse_laplacian_hat(omega_hat);
        match self.ik.len() {
            2 => self.vector(&[&psi_hat * &self.ik[1], -(&psi_hat * &self.ik[0])]),
            3 => self.curl_hat(psi_hat.view()),
            d => panic!("biot_savart: needs 2 or 3 dimensions, got {d}"),
        }
    }

    /// Velocity of a vorticity; see [`Derivatives::biot_savart_hat`].
    pub fn biot_savart(&self, omega: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(omega, |omega_hat| self.biot_savart_hat(omega_hat))
    }

    /// Leray projection onto divergence-free fields, `[.., d, space]` to the same: `P_ij = delta_ij - k_i k_j / |k|^2`.
    ///
    /// Here `k` is the wavenumber of [`Derivatives::divergence_hat`] (zero at the Nyquist mode of its axis), also in
    /// `|k|^2`: then `P` is an orthogonal projection and the discrete divergence vanishes at every mode. Modes with
    /// `k = 0`, the mean among them, pass unchanged.
    pub fn leray_hat(&self, u_hat: ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>> {
        // With D = ik: P u = u + D (D . u) / |k|^2.
        let phi_hat = self.divergence_hat(u_hat.view()) * &self.inverse_ik2;
        &u_hat + &self.gradient_hat(phi_hat.view())
    }

    /// Leray projection onto divergence-free fields; see [`Derivatives::leray_hat`].
    pub fn leray(&self, u: ArrayViewD<'_, T>) -> ArrayD<T> {
        self.through(u, |u_hat| self.leray_hat(u_hat))
    }

    /// `inverse . operator . forward`.
    fn through(
        &self,
        u: ArrayViewD<'_, T>,
        operator: impl Fn(ArrayViewD<'_, Complex<T>>) -> ArrayD<Complex<T>>,
    ) -> ArrayD<T> {
        self.transform.inverse_owned(operator(self.transform.forward(u).view()))
    }

    fn assert_vector(&self, u_hat: &ArrayViewD<'_, Complex<T>>) {
        let d = self.ik.len();
        let component_axis = u_hat.ndim().checked_sub(d + 1);
        assert!(
            component_axis.is_some_and(|axis| u_hat.shape()[axis] == d),
            "a vector field on this grid has shape [.., {d}, space], got {:?}",
            u_hat.shape()
        );
    }

    /// Component `i` of a vector field.
    fn component<'a>(&self, u_hat: &ArrayViewD<'a, Complex<T>>, i: usize) -> ArrayViewD<'a, Complex<T>> {
        u_hat.clone().index_axis_move(Axis(u_hat.ndim() - self.ik.len() - 1), i)
    }

    /// Vector field of components.
    fn vector(&self, components: &[ArrayD<Complex<T>>]) -> ArrayD<Complex<T>> {
        let axis = Axis(components[0].ndim() - self.ik.len());
        let views: Vec<_> = components.iter().map(|c| c.view()).collect();
        stack(axis, &views).expect("components have equal shapes")
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::spectral::testing::{distance, dot, largest, noise, sample};

    #[test]
    fn derivative_of_a_mode_is_exact() {
        for n in [15usize, 16] {
            let grid = Grid::cube(1, n, TAU).unwrap();
            let derivatives = Derivatives::<f64>::plan(&grid);
            for m in 0..=n / 2 {
                let m = m as f64;
                let below_nyquist = if 2 * m as usize == n { 0.0 } else { 1.0 };
                for order in 0..5u32 {
                    let u = sample::<f64>(&grid, |x| (m * x[0] + 0.3).cos());
                    let phase = order as f64 * TAU / 4.0;
                    // At Nyquist cos(mx + 0.3) is cos(0.3) cos(mx) on the grid; odd derivatives are zero.
                    let exact = sample::<f64>(&grid, |x| match (below_nyquist == 0.0, order % 2) {
                        (true, 0) => m.powi(order as i32) * 0.3f64.cos() * (m * x[0] + phase).cos(),
                        (true, _) => 0.0,
                        _ => m.powi(order as i32) * (m * x[0] + 0.3 + phase).cos(),
                    });
                    // Phases up to 50 are rounded at 5e-15; the largest multiplier amplifies that by (n/2)^order.
                    let tolerance = 2e-14 * (n as f64 / 2.0).powi(order as i32);
                    assert!(
                        distance(&derivatives.derivative(u.view(), 0, order), &exact) < tolerance,
                        "{n} {m} {order}"
                    );
                }
            }
        }
    }

    #[test]
    fn derivatives_follow_their_axis_and_the_length_of_the_box() {
        let grid = Grid::new(&[12, 9, 10], &[1.0, 2.0, 5.0]).unwrap();
        let derivatives = Derivatives::<f64>::plan(&grid);
        let k = [2.0 * TAU / 1.0, -3.0 * TAU / 2.0, 1.0 * TAU / 5.0];
        let phase = move |x: &[f64]| k[0] * x[0] + k[1] * x[1] + k[2] * x[2];
        let u = sample::<f64>(&grid, |x| phase(x).sin());
        let gradient = derivatives.gradient(u.view());
        for (axis, k) in k.iter().enumerate() {
            let exact = sample::<f64>(&grid, |x| k * phase(x).cos());
            assert!(distance(&gradient.index_axis(Axis(0), axis).to_owned(), &exact) < 1e-12);
        }
        let k2: f64 = k.iter().map(|k| k * k).sum();
        let laplacian = derivatives.laplacian(u.view());
        assert!(distance(&laplacian, &u.mapv(|u| -k2 * u)) < 1e-14 * 1e4, "sum of (N/2)^2 k_unit^2 is about 1e4");
        assert!(distance(&derivatives.inverse_laplacian(laplacian.view()), &u) < 1e-13);
        assert!(distance(&derivatives.divergence(gradient.view()), &laplacian) < 1e-10, "no Nyquist modes here");
    }

    #[test]
    fn laplacian_keeps_the_nyquist_mode() {
        let grid = Grid::cube(2, 8, TAU).unwrap();
        let u = sample::<f64>(&grid, |x| (4.0 * x[0]).cos());
        let laplacian = Derivatives::plan(&grid).laplacian(u.view());
        assert!(distance(&laplacian, &u.mapv(|u| -16.0 * u)) < 1e-13);
    }

    #[test]
    fn taylor_green_velocity_follows_from_its_vorticity() {
        // psi = cos x cos y, omega = 2 psi, u = psi_y = -cos x sin y, v = -psi_x = sin x cos y.
        let grid = Grid::new(&[12, 15], &[TAU, TAU]).unwrap();
        let derivatives = Derivatives::<f64>::plan(&grid);
        let omega = sample::<f64>(&grid, |x| 2.0 * x[0].cos() * x[1].cos());
        let velocity = derivatives.biot_savart(omega.view());
        let u = sample::<f64>(&grid, |x| -x[0].cos() * x[1].sin());
        let v = sample::<f64>(&grid, |x| x[0].sin() * x[1].cos());
        assert!(distance(&velocity.index_axis(Axis(0), 0).to_owned(), &u) < 1e-14);
        assert!(distance(&velocity.index_axis(Axis(0), 1).to_owned(), &v) < 1e-14);
        assert!(distance(&derivatives.curl(velocity.view()), &omega) < 1e-13);
    }

    #[test]
    fn curl_undoes_biot_savart() {
        // Odd sizes: no Nyquist modes, so only the mean is lost.
        let grid = Grid::new(&[9, 11], &[1.0, 3.0]).unwrap();
        let derivatives = Derivatives::<f64>::plan(&grid);
        let omega = noise::<f64>(&[4, 9, 11], 1);
        let omega = &omega
            - &omega.mean_axis(Axis(2)).unwrap().mean_axis(Axis(1)).unwrap().into_shape_with_order([4, 1, 1]).unwrap();
        let velocity = derivatives.biot_savart(omega.view());
        assert_eq!(velocity.shape(), [4, 2, 9, 11]);
        assert!(distance(&derivatives.curl(velocity.view()), &omega) < 1e-13);
        assert!(largest(&derivatives.divergence(velocity.view())) < 1e-13);

        let grid = Grid::new(&[5, 7, 9], &[1.0, 3.0, 2.0]).unwrap();
        let derivatives = Derivatives::<f64>::plan(&grid);
        let velocity = derivatives.leray(noise::<f64>(&[3, 5, 7, 9], 2).view());
        let omega = derivatives.curl(velocity.view());
        let again = derivatives.biot_savart(omega.view());
        let fluctuation = &velocity - &again;
        // They differ by the mean velocity, one constant a component.
        for c in 0..3 {
            let component = fluctuation.index_axis(Axis(0), c);
            assert!(component.iter().all(|d| (d - component[[0, 0, 0]]).abs() < 1e-13));
        }
    }

    #[test]
    fn leray_is_an_orthogonal_projection_without_divergence() {
        for (shape, lengths) in [(vec![8, 6], vec![1.0, 2.0]), (vec![6, 5, 8], vec![1.0, 2.0, 3.0])] {
            let grid = Grid::new(&shape, &lengths).unwrap();
            let derivatives = Derivatives::<f64>::plan(&grid);
            let shape = [&[shape.len()], &shape[..]].concat();
            // White noise: the Nyquist modes are full.
            let (u, v) = (noise::<f64>(&shape, 3), noise::<f64>(&shape, 4));
            let (pu, pv) = (derivatives.leray(u.view()), derivatives.leray(v.view()));
            // Wavenumbers up to 25: a divergence of size 25 without the projection.
            assert!(largest(&derivatives.divergence(pu.view())) < 1e-13);
            assert!(distance(&derivatives.leray(pu.view()), &pu) < 1e-14);
            assert!((dot(&pu, &v) - dot(&u, &pv)).abs() < 1e-12);
            let gradient = derivatives.gradient(noise::<f64>(grid.shape(), 5).view());
            assert!(largest(&derivatives.leray(gradient.view())) < 1e-13);
        }
    }

    #[test]
    #[should_panic(expected = "a vector field on this grid has shape [.., 2, space], got [3, 8, 5]")]
    fn a_wrong_component_axis_is_named() {
        let grid = Grid::cube(2, 8, 1.0).unwrap();
        Derivatives::<f64>::plan(&grid).curl(noise(&[3, 8, 8], 0).view());
    }
}
