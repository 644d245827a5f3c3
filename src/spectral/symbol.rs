//! Multipliers on the half spectrum, as arrays that broadcast against coefficients `[.., half space]`.
//!
//! Rules at the Nyquist mode of an axis with even `N` (mode `N/2`, which aliases with `-N/2`): odd derivatives are
//! zero there, since the derivative of `cos(N x / 2)` vanishes at every grid point; even ones keep `|m| = N/2`. So the
//! Laplacian is `-|k|^2` and not the square of the gradient.

use ndarray::{ArrayD, IxDyn};
use num_complex::Complex;

use crate::field::{Grid, Real};

/// Whether mode `m` of an axis with `n` points is its Nyquist mode.
pub fn is_nyquist(n: usize, m: i64) -> bool {
    n.is_multiple_of(2) && m.unsigned_abs() as usize == n / 2
}

/// Tabulates `f(m)` over the modes of one axis; the shape is 1 along the others.
pub fn along_axis<A>(grid: &Grid, axis: usize, f: impl FnMut(i64) -> A) -> ArrayD<A> {
    let mut shape = vec![1; grid.dim()];
    shape[axis] = grid.half_shape()[axis];
    let values = grid.modes(axis).into_iter().map(f).collect();
    ArrayD::from_shape_vec(shape, values).expect("one value a mode")
}

/// Tabulates `f(m)` over all modes `m = [m_1, .., m_d]` of the half spectrum.
pub fn over_modes<A>(grid: &Grid, mut f: impl FnMut(&[i64]) -> A) -> ArrayD<A> {
    let modes: Vec<_> = (0..grid.dim()).map(|axis| grid.modes(axis)).collect();
    let mut m = vec![0; grid.dim()];
    ArrayD::from_shape_fn(grid.half_shape(), |index: IxDyn| {
        for axis in 0..m.len() {
            m[axis] = modes[axis][index[axis]];
        }
        f(&m)
    })
}

/// Squared wavenumber `|k|^2` of a mode.
pub fn mode_k_squared(grid: &Grid, m: &[i64]) -> f64 {
    m.iter().enumerate().map(|(axis, &m)| (m as f64 * grid.k_unit(axis)).powi(2)).sum()
}

/// `|k|^2`, shape of the half spectrum.
pub fn k_squared<T: Real>(grid: &Grid) -> ArrayD<T> {
    over_modes(grid, |m| T::of(mode_k_squared(grid, m)))
}

/// `(i k)^order` of one axis; zero at its Nyquist mode if `order` is odd.
pub fn derivative<T: Real>(grid: &Grid, axis: usize, order: u32) -> ArrayD<Complex<T>> {
    let (n, unit) = (grid.shape()[axis], grid.k_unit(axis));
    along_axis(grid, axis, |m| {
        let odd_nyquist = !order.is_multiple_of(2) && is_nyquist(n, m);
        let power = if odd_nyquist { 0.0 } else { (m as f64 * unit).powi(order as i32) };
        // i^order, exactly.
        let (re, im) = [(power, 0.0), (0.0, power), (-power, 0.0), (0.0, -power)][order as usize % 4];
        Complex::new(T::of(re), T::of(im))
    })
}

/// `-1 / |k|^2`, zero for the mean.
pub fn inverse_laplacian<T: Real>(grid: &Grid) -> ArrayD<T> {
    over_modes(grid, |m| {
        let k2 = mode_k_squared(grid, m);
        T::of(if k2 == 0.0 { 0.0 } else { -1.0 / k2 })
    })
}

/// Multiplicity `w_m` of each stored mode in the full spectrum, shape `[1, .., N_d / 2 + 1]`: 1 for last mode 0 or
/// `N_d / 2` (even `N_d`), else 2.
///
/// Parseval: `sum_j u_j v_j = (1/N) sum_half w_m Re(conj(û_m) v̂_m)`.
pub fn hermitian_weights<T: Real>(grid: &Grid) -> ArrayD<T> {
    let last = grid.dim() - 1;
    let n = grid.shape()[last];
    along_axis(grid, last, |m| T::of(if m == 0 || is_nyquist(n, m) { 1.0 } else { 2.0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_derivatives_vanish_at_nyquist_and_even_ones_do_not() {
        let grid = Grid::new(&[6, 8], &[std::f64::consts::TAU; 2]).unwrap();
        let (d1, d2) = (derivative::<f64>(&grid, 0, 1), derivative::<f64>(&grid, 0, 2));
        assert_eq!(d1.shape(), [6, 1]);
        assert_eq!((d1[[3, 0]], d1[[5, 0]]), (Complex::ZERO, -Complex::I));
        assert_eq!(d2[[3, 0]], Complex::from(-9.0));
        let d3 = derivative::<f64>(&grid, 1, 3);
        assert_eq!((d3[[0, 2]], d3[[0, 4]]), (-8.0 * Complex::I, Complex::ZERO));
        let odd = Grid::cube(1, 9, std::f64::consts::TAU).unwrap();
        assert_eq!(derivative::<f64>(&odd, 0, 1)[[4]], 4.0 * Complex::I);
    }

    #[test]
    fn hermitian_weights_count_the_full_spectrum() {
        for (n, expected) in [(6, vec![1.0, 2.0, 2.0, 1.0]), (7, vec![1.0, 2.0, 2.0, 2.0])] {
            let weights = hermitian_weights::<f64>(&Grid::cube(2, n, 1.0).unwrap());
            assert_eq!(weights.iter().copied().collect::<Vec<_>>(), expected);
        }
    }
}
