//! Linear maps on a periodic line that commute with shifts.

use num_complex::Complex64;

use crate::field::Real;

/// `y_i = sum_j k_j x_(i - j)` on `n` periodic cells.
///
/// As dense products: on lines of 32 to 256 cells they run at the speed of vectors and cost less than the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Circulant<T> {
    kernel: Vec<T>,
}

impl<T: Real> Circulant<T> {
    /// The map with `y_hat = symbol(k) x_hat`, `k = 2 pi m / length`. Of the Nyquist mode the real part of the symbol counts.
    pub fn from_symbol(n: usize, length: f64, symbol: impl Fn(f64) -> Complex64) -> Self {
        let tau = std::f64::consts::TAU;
        let symbols: Vec<Complex64> = (0..=n / 2).map(|m| symbol(tau * m as f64 / length)).collect();
        let entry = |j: usize| {
            let terms = symbols.iter().enumerate().map(|(m, s)| {
                let pairs = if m == 0 || 2 * m == n { 1.0 } else { 2.0 };
                let angle = tau * (m * j % n) as f64 / n as f64;
                pairs * if 2 * m == n { s.re * angle.cos() } else { s.re * angle.cos() - s.im * angle.sin() }
            });
            T::of(terms.sum::<f64>() / n as f64)
        };
        Self { kernel: (0..n).map(entry).collect() }
    }

    /// Number of cells.
    pub fn cells(&self) -> usize {
        self.kernel.len()
    }

    /// The transpose, `k_j -> k_(-j)`.
    pub fn transpose(&self) -> Self {
        let n = self.kernel.len();
        Self { kernel: (0..n).map(|j| self.kernel[(n - j) % n]).collect() }
    }

    /// `y += K x`, where `twice` is `x` followed by `x`. To be called inside vectorised code.
    #[inline(always)]
    pub(super) fn add(&self, twice: &[T], y: &mut [T]) {
        let n = self.kernel.len();
        debug_assert!(twice.len() == 2 * n && y.len() == n);
        for (j, &k) in self.kernel.iter().enumerate() {
            y.iter_mut().zip(&twice[n - j..2 * n - j]).for_each(|(y, &x)| *y += k * x);
        }
    }
}

/// `x` followed by `x`.
#[inline(always)]
pub(super) fn twice<T: Real>(x: &[T], out: &mut [T]) {
    let (first, second) = out.split_at_mut(x.len());
    first.copy_from_slice(x);
    second.copy_from_slice(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_circulant_multiplies_modes_by_its_symbol_and_its_transpose_by_the_conjugate() {
        let (n, length) = (16, 3.0);
        let symbol = |k: f64| Complex64::new(1.0 / (1.0 + k * k), 0.1 * k);
        let map = Circulant::<f64>::from_symbol(n, length, symbol);
        let k = std::f64::consts::TAU * 3.0 / length;
        let x: Vec<f64> = (0..n).map(|j| (k * length * j as f64 / n as f64).cos()).collect();
        let doubled: Vec<f64> = x.iter().chain(&x).copied().collect();
        for (map, sign) in [(map.clone(), 1.0), (map.transpose(), -1.0)] {
            let mut y = vec![0.0; n];
            map.add(&doubled, &mut y);
            for (j, y) in y.iter().enumerate() {
                let angle = k * length * j as f64 / n as f64;
                let exact = symbol(k).re * angle.cos() - sign * symbol(k).im * angle.sin();
                // Sixteen roundings.
                assert!((y - exact).abs() < 1e-14);
            }
        }
    }
}
