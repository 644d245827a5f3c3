//! The real transform of one line, truncated to the retained modes.

use std::sync::Arc;

use num_traits::Zero;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};

use crate::field::Real;
use crate::spectral::simd::Lanes;

/// Plan of a real line of `n` points and its modes `0..=cut`.
///
/// A half spectrum is stored in groups of `W` modes, `W` real parts then `W` imaginary parts; consecutive groups are
/// `stride` reals apart, so a line can be read from and written to a plane without a copy.
///
/// `inverse`: `x_j = X_0 + 2 Re sum_{m=1..cut} X_m exp(2 pi i j m / n)`.
/// `forward`: `X_m = factor sum_j x_j exp(-2 pi i j m / n)`, zero in the lanes above `cut`.
pub struct LineFft<V: Lanes> {
    n: usize,
    cut: usize,
    factor: V::Real,
    plain_forward: Arc<dyn RealToComplex<V::Real>>,
    plain_inverse: Arc<dyn ComplexToReal<V::Real>>,
}

impl<V: Lanes> LineFft<V> {
    /// Whether this vector has a kernel for length `n`.
    pub fn supports(n: usize) -> bool {
        V::WIDTH == 1 && n > 0
    }

    /// Plans lines of `n` points with modes `0..=cut`, `cut < n / 2` (rounded up), and the forward factor.
    ///
    /// # Panics
    ///
    /// Unless [`LineFft::supports`] `n` and `2 cut < n`.
    pub fn plan(n: usize, cut: usize, factor: f64) -> Self {
        assert!(Self::supports(n), "LineFft: no kernel for length {n} with {} lanes", V::WIDTH);
        assert!(2 * cut < n, "LineFft: cut {cut} must be below half of {n}");
        let mut planner = RealFftPlanner::new();
        Self {
            n,
            cut,
            factor: V::Real::of(factor),
            plain_forward: planner.plan_fft_forward(n),
            plain_inverse: planner.plan_fft_inverse(n),
        }
    }

    /// Points of the line.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Whether the line is empty (it never is).
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Groups of a half spectrum, `ceil((cut + 1) / W)`.
    pub fn groups(&self) -> usize {
        (self.cut + 1).div_ceil(V::WIDTH)
    }

    /// Reals that `scratch` must have; 64-byte alignment is fastest.
    pub fn scratch_len(&self) -> usize {
        2 * (self.n / 2 + 1) + 2 * self.plain_forward.get_scratch_len().max(self.plain_inverse.get_scratch_len())
    }

    /// Points from modes. Lanes above `cut` in the last group must be zero.
    ///
    /// # Safety
    ///
    /// `half` must be valid for reading [`LineFft::groups`] groups at the given stride.
    ///
    /// # Panics
    ///
    /// If `line` or `scratch` is too short.
    pub unsafe fn inverse(&self, half: *const V::Real, stride: usize, line: &mut [V::Real], scratch: &mut [V::Real]) {
        assert!(line.len() == self.n && scratch.len() >= self.scratch_len());
        let (spectrum, scratch) = self.split(scratch);
        for (m, c) in spectrum.iter_mut().enumerate() {
            // SAFETY: group `m` is within the caller's promise.
            *c = if m <= self.cut {
                unsafe { num_complex::Complex::new(*half.add(m * stride), *half.add(m * stride + 1)) }
            } else {
                Zero::zero()
            };
        }
        // The mean of a real line is real; realfft reports an error otherwise.
        spectrum[0].im = Zero::zero();
        self.plain_inverse
            .process_with_scratch(spectrum, line, scratch)
            .expect("lengths were checked and the mean is real");
    }

    /// Modes from points, times the factor; destroys `line`.
    ///
    /// # Safety
    ///
    /// `half` must be valid for writing [`LineFft::groups`] groups at the given stride.
    ///
    /// # Panics
    ///
    /// If `line` or `scratch` is too short.
    pub unsafe fn forward(&self, line: &mut [V::Real], half: *mut V::Real, stride: usize, scratch: &mut [V::Real]) {
        assert!(line.len() == self.n && scratch.len() >= self.scratch_len());
        let (spectrum, scratch) = self.split(scratch);
        self.plain_forward.process_with_scratch(line, spectrum, scratch).expect("lengths were checked");
        for (m, c) in spectrum[..=self.cut].iter().enumerate() {
            // SAFETY: group `m` is within the caller's promise.
            unsafe {
                *half.add(m * stride) = c.re * self.factor;
                *half.add(m * stride + 1) = c.im * self.factor;
            }
        }
    }

    fn split<'a>(
        &self,
        scratch: &'a mut [V::Real],
    ) -> (&'a mut [num_complex::Complex<V::Real>], &'a mut [num_complex::Complex<V::Real>]) {
        // SAFETY: num_complex::Complex is repr(C) over two reals, so half as many fit in the same memory.
        let all = unsafe { std::slice::from_raw_parts_mut(scratch.as_mut_ptr().cast(), scratch.len() / 2) };
        all.split_at_mut(self.n / 2 + 1)
    }
}
