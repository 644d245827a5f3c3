//! Complex transforms of `W` columns at once.

use std::sync::Arc;

use rustfft::{Fft, FftPlanner};

use crate::spectral::simd::{Complex, Lanes};

/// Plan of `X_m = sum_j x_j exp(-+2 pi i j m / n)` for `W` columns, lane = column.
pub struct ColumnFft<V: Lanes> {
    n: usize,
    plain: [Arc<dyn Fft<V::Real>>; 2],
}

impl<V: Lanes> ColumnFft<V> {
    /// Whether this vector has a kernel for length `n`.
    pub fn supports(n: usize) -> bool {
        V::WIDTH == 1 && n > 0
    }

    /// Plans transforms of length `n`.
    ///
    /// # Panics
    ///
    /// Unless [`ColumnFft::supports`] `n`.
    pub fn plan(n: usize) -> Self {
        assert!(Self::supports(n), "ColumnFft: no kernel for length {n} with {} lanes", V::WIDTH);
        let mut planner = FftPlanner::new();
        Self { n, plain: [planner.plan_fft_forward(n), planner.plan_fft_inverse(n)] }
    }

    /// Length of the transform.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether the length is zero (it never is).
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Elements that `scratch` must have.
    pub fn scratch_len(&self) -> usize {
        self.n.max(self.plain[0].get_inplace_scratch_len()).max(self.plain[1].get_inplace_scratch_len())
    }

    /// Forward transform; the result is in the returned slice, which is `data` or the head of `scratch`.
    pub fn forward<'a>(&self, data: &'a mut [Complex<V>], scratch: &'a mut [Complex<V>]) -> &'a mut [Complex<V>] {
        self.run(0, data, scratch)
    }

    /// Inverse transform without the factor `1/n`; the result is in the returned slice.
    pub fn inverse<'a>(&self, data: &'a mut [Complex<V>], scratch: &'a mut [Complex<V>]) -> &'a mut [Complex<V>] {
        self.run(1, data, scratch)
    }

    fn run<'a>(
        &self,
        direction: usize,
        data: &'a mut [Complex<V>],
        scratch: &'a mut [Complex<V>],
    ) -> &'a mut [Complex<V>] {
        assert!(data.len() == self.n && scratch.len() >= self.scratch_len());
        // SAFETY: with one lane `Complex<V>` is `[re, im]` of the same scalar, the layout of num_complex::Complex.
        let (d, s) = unsafe {
            (
                std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<num_complex::Complex<V::Real>>(), data.len()),
                std::slice::from_raw_parts_mut(
                    scratch.as_mut_ptr().cast::<num_complex::Complex<V::Real>>(),
                    scratch.len(),
                ),
            )
        };
        self.plain[direction].process_with_scratch(d, s);
        data
    }
}
