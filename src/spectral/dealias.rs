//! Dealiasing: cuts, smooth filters and exact products.
//!
//! A product of `p` fields with modes `|m| <= K` has modes up to `p K`; on `N` points mode `m` is indistinguishable
//! from `m ± N`. With `(p + 1) K < N` everything that folds back lands above `K` and a cut there removes it, so the
//! product is exact on the retained modes (the 2/3 rule of Orszag 1971 for `p = 2`, the 1/2 rule for `p = 3`).
//! The same thing from the other side is padding: [`DealiasedProduct`] multiplies on a finer grid.

use ndarray::{ArrayD, ArrayViewD};

use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::{Resample, symbol};

/// Highest mode that stays free of aliasing in a product of `degree` factors, `max {K: (degree + 1) K < n}`.
///
/// # Example
///
/// ```
/// use parseval::spectral::dealias::cut;
/// assert_eq!([64, 128, 1024].map(|n| cut(n, 2)), [21, 42, 341]);
/// assert_eq!(cut(64, 3), 15);
/// ```
pub fn cut(n: usize, degree: usize) -> usize {
    n.saturating_sub(1) / (degree + 1)
}

/// Multiplier that keeps `|m_i| <= cut_i` on each axis: 1 inside, 0 outside, shape of the half spectrum.
///
/// # Errors
///
/// [`Error::Shape`] unless there is one cut an axis.
pub fn square_mask<T: Real>(grid: &Grid, cut: &[usize]) -> Result<ArrayD<T>> {
    mask(grid, cut, |scaled| scaled.iter().all(|s| *s <= 1.0))
}

/// Multiplier that keeps the ellipsoid `sum (m_i / cut_i)^2 <= 1`: 1 inside, 0 outside, shape of the half spectrum.
///
/// # Errors
///
/// [`Error::Shape`] unless there is one cut an axis.
pub fn radial_mask<T: Real>(grid: &Grid, cut: &[usize]) -> Result<ArrayD<T>> {
    // A mode on the sphere belongs to it whatever the rounding of the quotients.
    mask(grid, cut, |scaled| scaled.iter().map(|s| s * s).sum::<f64>() <= 1.0 + 1e-12)
}

/// The default truncation: [`square_mask`] at [`cut`] of each axis.
pub fn truncation<T: Real>(grid: &Grid, degree: usize) -> ArrayD<T> {
    let cuts: Vec<_> = grid.shape().iter().map(|&n| cut(n, degree)).collect();
    square_mask(grid, &cuts).expect("one cut an axis")
}

fn mask<T: Real>(grid: &Grid, cut: &[usize], keep: impl Fn(&[f64]) -> bool) -> Result<ArrayD<T>> {
    if cut.len() != grid.dim() {
        return Err(Error::shape("cut", &[grid.dim()], &[cut.len()]));
    }
    Ok(symbol::over_modes(grid, |m| {
        // 0 / 0 is inside: a cut of 0 keeps the mean of its axis.
        let scaled =
            m.iter().zip(cut).map(|(&m, &cut)| if m == 0 { 0.0 } else { m.unsigned_abs() as f64 / cut as f64 });
        T::of(if keep(&scaled.collect::<Vec<_>>()) { 1.0 } else { 0.0 })
    }))
}

/// Smooth filter `prod_i exp(-alpha eta_i^order)`, `eta_i = |m_i| / (N_i / 2)`, shape of the half spectrum.
///
/// Apply it once a step, not once a stage. It damps marginally resolved modes; it is no exact dealiasing.
/// `alpha = -ln(eps)`, about 36 in f64 and 16 in f32, sends the Nyquist mode to round-off; `order` is even, 8 to 36.
///
/// # Errors
///
/// [`Error::Parameter`] if `alpha` is negative or not finite, or `order` is odd or zero.
pub fn exponential_filter<T: Real>(grid: &Grid, alpha: f64, order: u32) -> Result<ArrayD<T>> {
    if !alpha.is_finite() || alpha < 0.0 {
        return Err(Error::parameter("alpha", alpha, "must be >= 0 and finite"));
    }
    if order == 0 || !order.is_multiple_of(2) {
        return Err(Error::parameter("order", order, "must be even and > 0"));
    }
    Ok(symbol::over_modes(grid, |m| {
        let eta = m.iter().zip(grid.shape()).map(|(&m, &n)| m.unsigned_abs() as f64 / (0.5 * n as f64));
        T::of((-alpha * eta.map(|eta| eta.powi(order as i32)).sum::<f64>()).exp())
    }))
}

/// The filter of Hou and Li (J. Comput. Phys. 226, 2007): [`exponential_filter`] with `alpha = 36`, `order = 36`.
pub fn hou_li_filter<T: Real>(grid: &Grid) -> ArrayD<T> {
    exponential_filter(grid, 36.0, 36).expect("the published constants are valid")
}

/// Plan of exact products by padding: factors with modes `|m| < N/2` are multiplied on `M >= (degree + 1) N / 2`
/// points an axis (even, without prime factors above 5) and the result is cut to `|m| < N/2`.
///
/// Nyquist modes of even axes are dropped from the factors and from the product.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, spectral::dealias::DealiasedProduct};
///
/// // cos(6x) cos(6x) = 1/2 + cos(12x) / 2: on 16 points the second term poses as cos(4x).
/// let grid = Grid::cube(1, 16, std::f64::consts::TAU)?;
/// let u = Array::from_iter(grid.coordinates(0).into_iter().map(|x| (6.0 * x).cos())).into_dyn();
/// let u2 = DealiasedProduct::<f64>::plan(&grid, 2)?.apply(&[u.view(), u.view()]);
/// assert!(u2.iter().all(|v| (v - 0.5).abs() < 1e-14));
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct DealiasedProduct<T: Real> {
    degree: usize,
    up: Resample<T>,
    down: Resample<T>,
    mask: ArrayD<T>,
}

impl<T: Real> DealiasedProduct<T> {
    /// Plans products of up to `degree` factors.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `degree` is zero.
    pub fn plan(grid: &Grid, degree: usize) -> Result<Self> {
        if degree == 0 {
            return Err(Error::parameter("degree", degree, "must be at least 1"));
        }
        let shape: Vec<_> = grid.shape().iter().map(|&n| smooth_even(((degree + 1) * n).div_ceil(2))).collect();
        let padded = grid.with_shape(&shape)?;
        let below_nyquist: Vec<_> = grid.shape().iter().map(|&n| (n - 1) / 2).collect();
        Ok(Self {
            degree,
            up: Resample::plan(grid, &padded)?,
            down: Resample::plan(&padded, grid)?,
            mask: square_mask(grid, &below_nyquist)?,
        })
    }

    /// Product of factors `[.., space]` of equal shape.
    ///
    /// # Panics
    ///
    /// If there are no factors or more than planned, or shapes disagree.
    pub fn apply(&self, factors: &[ArrayViewD<'_, T>]) -> ArrayD<T> {
        assert!(
            (1..=self.degree).contains(&factors.len()),
            "DealiasedProduct: planned for {} factors, got {}",
            self.degree,
            factors.len()
        );
        let lift = |u: &ArrayViewD<'_, T>| {
            let u_hat = self.up.source().forward(u.view()) * &self.mask;
            self.up.target().inverse_owned(self.up.apply_hat(u_hat.view()))
        };
        let mut product = lift(&factors[0]);
        for factor in &factors[1..] {
            assert!(factor.shape() == factors[0].shape(), "DealiasedProduct: factors differ in shape");
            product *= &lift(factor);
        }
        let product_hat = self.down.apply_hat(self.down.source().forward(product.view()).view());
        self.down.target().inverse_owned(product_hat * &self.mask)
    }
}

/// Smallest even number from `n` on without prime factors above 5.
fn smooth_even(n: usize) -> usize {
    let is_smooth = |n: &usize| {
        let mut rest = *n;
        for p in [2, 3, 5] {
            while rest.is_multiple_of(p) {
                rest /= p;
            }
        }
        rest == 1
    };
    (n..).find(|n| n.is_multiple_of(2) && is_smooth(n)).expect("powers of two are unbounded")
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;
    use crate::spectral::Transform;
    use crate::spectral::testing::{distance, noise};

    /// Noise with the modes of a mask.
    fn masked_noise(grid: &Grid, mask: &ArrayD<f64>, seed: u64) -> ArrayD<f64> {
        let transform = Transform::plan(grid);
        transform.inverse((transform.forward(noise(grid.shape(), seed).view()) * mask).view())
    }

    #[test]
    fn cut_is_the_largest_alias_free_mode() {
        for n in 4..200 {
            for degree in 1..5 {
                let k = cut(n, degree);
                assert!((degree + 1) * k < n && (degree + 1) * (k + 1) >= n);
            }
        }
        assert_eq!([64, 128, 256, 1024].map(|n| cut(n, 2)), [21, 42, 85, 341]);
    }

    #[test]
    fn masks_keep_the_square_and_the_ellipse() {
        let grid = Grid::new(&[16, 12], &[1.0, 1.0]).unwrap();
        let count = |mask: ArrayD<f64>| mask.sum();
        assert_eq!(count(square_mask(&grid, &[3, 2]).unwrap()), 7.0 * 3.0);
        // m_x = 0: m_y = 0..2; |m_x| = 1: 0..1 (1/9 + 1 > 1 excludes 2); |m_x| = 2: 0..1; |m_x| = 3: 0.
        assert_eq!(count(radial_mask(&grid, &[3, 2]).unwrap()), 3.0 + 4.0 + 4.0 + 2.0);
        assert!(matches!(square_mask::<f64>(&grid, &[3]), Err(Error::Shape { .. })));
    }

    #[test]
    fn truncated_products_equal_padded_ones_on_retained_modes() {
        // Both are exact there, so they agree to round-off.
        for (shape, degree) in [(vec![16], 2), (vec![17], 2), (vec![12, 15], 2), (vec![16, 17], 3), (vec![8, 9, 10], 2)]
        {
            let grid = Grid::new(&shape, &vec![TAU; shape.len()]).unwrap();
            let mask = truncation::<f64>(&grid, degree);
            let factors: Vec<_> = (0..degree as u64).map(|seed| masked_noise(&grid, &mask, seed)).collect();
            let plain = factors.iter().skip(1).fold(factors[0].clone(), |product, factor| product * factor);
            let views: Vec<_> = factors.iter().map(|f| f.view()).collect();
            let padded = DealiasedProduct::plan(&grid, degree).unwrap().apply(&views);
            let transform = Transform::plan(&grid);
            let cut = |u: &ArrayD<f64>| transform.inverse((transform.forward(u.view()) * &mask).view());
            assert!(distance(&cut(&plain), &cut(&padded)) < 1e-14, "{shape:?}");
            assert!(distance(&plain, &padded) > 1e-3, "the plain product is aliased above the cut");
        }
    }

    #[test]
    fn padded_products_equal_products_on_a_much_finer_grid() {
        for (shape, degree) in [(vec![16], 2), (vec![9, 10], 2), (vec![8, 9], 3)] {
            let grid = Grid::new(&shape, &vec![1.0; shape.len()]).unwrap();
            let below: Vec<_> = shape.iter().map(|n| (n - 1) / 2).collect();
            let mask = square_mask(&grid, &below).unwrap();
            let fine = grid.with_shape(&shape.iter().map(|n| 4 * n + 1).collect::<Vec<_>>()).unwrap();
            let (up, down) = (Resample::plan(&grid, &fine).unwrap(), Resample::plan(&fine, &grid).unwrap());
            let factors: Vec<_> = (0..degree as u64).map(|seed| masked_noise(&grid, &mask, seed)).collect();
            let fine_product =
                factors.iter().map(|f| up.apply(f.view())).reduce(|product, factor| product * factor).unwrap();
            let exact_hat = Transform::plan(&grid).forward(down.apply(fine_product.view()).view()) * &mask;
            let exact = Transform::plan(&grid).inverse(exact_hat.view());
            let views: Vec<_> = factors.iter().map(|f| f.view()).collect();
            assert!(distance(&DealiasedProduct::plan(&grid, degree).unwrap().apply(&views), &exact) < 1e-13);
        }
    }

    #[test]
    fn filters_pass_the_mean_and_erase_the_nyquist_mode() {
        let grid = Grid::cube(1, 64, 1.0).unwrap();
        let filter = hou_li_filter::<f64>(&grid);
        assert_eq!(filter[[0]], 1.0);
        assert!((filter[[32]] - (-36.0f64).exp()).abs() < 1e-30);
        // Half of Nyquist: 36 / 2^36 = 5e-10 is taken off.
        assert!((1.0 - filter[[16]] - 36.0 / 2f64.powi(36)).abs() < 1e-15);
        assert!(exponential_filter::<f64>(&grid, 36.0, 7).is_err());
        assert!(exponential_filter::<f64>(&grid, f64::NAN, 8).is_err());
    }
}
