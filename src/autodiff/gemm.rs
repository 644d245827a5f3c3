//! Matrix products of strided views, one thread each; the kernels are those of the `gemm` crate.

use crate::field::Real;

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
}
