//! Matrix products of strided views, one thread each.
//!
//! The kernels are those of the `gemm` crate, which are near the peak from the smallest layers on (measured:
//! 8 x 8 x 1024 at 60 %, 32 x 32 x 1024 at 85 %). Only where a small matrix is the sum over many points, as the gradient of
//! a weight is, packing the long rows costs up to ten times the product; [`add_products_of_rows`] is for that.

use super::dispatch;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// A matrix in memory: entry `(i, j)` is `values[i * stride.0 + j * stride.1]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a, T> {
    values: &'a [T],
    rows: usize,
    columns: usize,
    stride: (usize, usize),
}

impl<'a, T> Matrix<'a, T> {
    /// A `rows x columns` matrix whose rows are `stride` values apart.
    ///
    /// # Panics
    ///
    /// If it does not fit into the values.
    #[inline]
    pub fn new(values: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || columns == 0 || (rows - 1) * stride + columns <= values.len(), "matrix beyond its values");
        Self { values, rows, columns, stride: (stride, 1) }
    }

    /// The transpose.
    #[inline]
    pub fn t(self) -> Self {
        Self { rows: self.columns, columns: self.rows, stride: (self.stride.1, self.stride.0), ..self }
    }
}

/// `c = beta c + a b`, where `c` is row-major with rows `stride` values apart. With `beta = 0` the content of `c` is not
/// read.
///
/// # Panics
///
/// If the shapes do not fit, or `c` does not fit into its values.
pub fn gemm<T: Real>(c: &mut [T], stride: usize, beta: T, a: Matrix<T>, b: Matrix<T>) {
    assert!(a.rows == 0 || b.columns == 0 || (a.rows - 1) * stride + b.columns <= c.len(), "product beyond its values");
    // SAFETY: `c` is borrowed mutably and large enough.
    unsafe { gemm_at(c.as_mut_ptr(), stride, beta, a, b) }
}

/// [`gemm`] into memory that other threads write to elsewhere.
///
/// # Safety
///
/// `c` must be valid for writing (and, if `beta` is not zero, reading) the `a.rows x b.columns` entries of its rows, and
/// nobody else may touch them meanwhile.
pub unsafe fn gemm_at<T: Real>(c: *mut T, stride: usize, beta: T, a: Matrix<T>, b: Matrix<T>) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    // SAFETY: the views lie inside their slices; `c` by the caller's promise.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            c,
            1,
            stride as isize,
            beta != T::zero(),
            a.values.as_ptr(),
            a.stride.1 as isize,
            a.stride.0 as isize,
            b.values.as_ptr(),
            b.stride.1 as isize,
            b.stride.0 as isize,
            beta,
            T::one(),
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `c = c + a b^T` for few, long, contiguous rows in `a` and `b`; `c` is row-major and contiguous.
///
/// # Panics
///
/// If the shapes do not fit.
pub fn add_products_of_rows<T: Real>(isa: Isa, c: &mut [T], a: Matrix<T>, b: Matrix<T>) {
    assert_eq!(a.columns, b.columns, "inner sizes of a product");
    assert_eq!(c.len(), a.rows * b.rows, "product of {} x {}", a.rows, b.rows);
    assert!(a.stride.1 == 1 && b.stride.1 == 1, "rows must be contiguous");
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || rows::<V<T>>(c, a, b)));
}

#[inline(always)]
fn rows<V: Lanes>(c: &mut [V::Real], a: Matrix<V::Real>, b: Matrix<V::Real>) {
    let step = |left: usize| if left >= 4 { 4 } else { 1 };
    let mut i = 0;
    while i < a.rows {
        let mut j = 0;
        while j < b.rows {
            // SAFETY: there are as many rows from `i` and `j` on as each case takes.
            unsafe {
                match (step(a.rows - i), step(b.rows - j)) {
                    (4, 4) => block::<V, 4, 4>(c, a, b, i, j),
                    (4, _) => block::<V, 4, 1>(c, a, b, i, j),
                    (_, 4) => block::<V, 1, 4>(c, a, b, i, j),
                    _ => block::<V, 1, 1>(c, a, b, i, j),
                }
            }
            j += step(b.rows - j);
        }
        i += step(a.rows - i);
    }
}

/// `R x Q` entries, each summed in the lanes of one register.
///
/// # Safety
///
/// `a` has rows `i..i + R`, `b` rows `j..j + Q`.
#[inline(always)]
unsafe fn block<V: Lanes, const R: usize, const Q: usize>(
    c: &mut [V::Real],
    a: Matrix<V::Real>,
    b: Matrix<V::Real>,
    i: usize,
    j: usize,
) {
    let (w, length) = (V::WIDTH, a.columns);
    let zero: V::Real = num_traits::Zero::zero();
    let mut sum = [[V::splat(zero); Q]; R];
    let whole = length / w * w;
    // SAFETY: the rows are there, each has `length` values; no vector has more than 16 lanes.
    unsafe {
        let (left, right) = (a.values.as_ptr().add(i * a.stride.0), b.values.as_ptr().add(j * b.stride.0));
        let mut p = 0;
        while p < whole {
            let right: [V; Q] = std::array::from_fn(|q| V::load(right.add(q * b.stride.0 + p)));
            for (r, sum) in sum.iter_mut().enumerate() {
                let left = V::load(left.add(r * a.stride.0 + p));
                for (sum, &right) in sum.iter_mut().zip(&right) {
                    *sum = left.madd(right, *sum);
                }
            }
            p += w;
        }
        for (r, sum) in sum.iter().enumerate() {
            for (q, sum) in sum.iter().enumerate() {
                let mut lanes = [zero; 16];
                sum.store(lanes.as_mut_ptr());
                // Halves are added to halves: the order of a sum does not depend on the block that it is in.
                let mut half = w / 2;
                while half > 0 {
                    for l in 0..half {
                        lanes[l] += lanes[l + half];
                    }
                    half /= 2;
                }
                let mut dot = lanes[0];
                for p in whole..length {
                    dot += *left.add(r * a.stride.0 + p) * *right.add(q * b.stride.0 + p);
                }
                c[(i + r) * b.rows + j + q] += dot;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_of_transposed_and_strided_views_is_that_of_the_definition() {
        let a: Vec<f64> = (0..40).map(|i| (i as f64).sin()).collect();
        let b: Vec<f64> = (0..60).map(|i| (i as f64).cos()).collect();
        // A is 3 x 4 inside rows of 7; B is the transpose of a 5 x 4 inside rows of 9.
        let mut c = vec![1.0; 3 * 6];
        gemm(&mut c, 6, 2.0, Matrix::new(&a, 3, 4, 7), Matrix::new(&b, 5, 4, 9).t());
        for i in 0..3 {
            for j in 0..5 {
                let exact = 2.0 + (0..4).map(|k| a[i * 7 + k] * b[j * 9 + k]).sum::<f64>();
                // Four products and five sums of numbers of size one.
                assert!((c[i * 6 + j] - exact).abs() < 1e-14);
            }
            assert_eq!(c[i * 6 + 5], 1.0, "the gap between rows is left alone");
        }
        let mut fresh = vec![f64::NAN; 15];
        gemm(&mut fresh, 5, 0.0, Matrix::new(&a, 3, 4, 7), Matrix::new(&b, 5, 4, 9).t());
        assert!(fresh.iter().all(|x| x.is_finite()));
    }

    #[test]
    fn product_of_rows_is_that_of_the_definition_on_every_instruction_set() {
        for isa in [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available()) {
            for (m, k, n) in [(1, 5, 1), (4, 16, 8), (7, 130, 9), (8, 1, 4), (2, 0, 3)] {
                let a: Vec<f64> = (0..m * (k + 3)).map(|i| (i as f64).sin()).collect();
                let b: Vec<f64> = (0..n * k).map(|i| (i as f64).cos()).collect();
                let mut c = vec![1.0; m * n];
                add_products_of_rows(isa, &mut c, Matrix::new(&a, m, k, k + 3), Matrix::new(&b, n, k, k));
                for i in 0..m {
                    for j in 0..n {
                        let exact = 1.0 + (0..k).map(|p| a[i * (k + 3) + p] * b[j * k + p]).sum::<f64>();
                        // k products of size one, each rounded once.
                        assert!((c[i * n + j] - exact).abs() < 1e-14 * (k as f64 + 2.0), "{isa:?} {m} {k} {n}");
                    }
                }
            }
        }
    }
}
