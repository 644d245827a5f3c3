//! The autosort transform that both kernels are made of.
//!
//! A transform of `n = R m` points splits by decimation in frequency into `R` transforms of `m` points,
//!
//! `X_{k + R l} = sum_{p < m} w_m^{p l} [ w_n^{p k} sum_{i < R} x_{p + i m} w_R^{i k} ]`,  `w_n = exp(-2 pi i / n)`.
//!
//! Stockham's ordering stores the bracket at `R p + k` (times the `s` interleaved transforms there are by then), so that
//! every pass reads and writes whole runs and the last one leaves the result in natural order.
//!
//! Source: Van Loan, *Computational Frameworks for the Fast Fourier Transform* (1992), sec. 1.7. The inverse is the
//! forward transform with real and imaginary parts exchanged, on reading and on writing.

use std::f64::consts::TAU;

use super::butterfly::dft;
use crate::field::Real;
use crate::spectral::simd::{Complex, Lanes};

/// Radices whose product is `n`, in the order of the passes, or `None` if another prime divides it.
///
/// Radix 4 is the fastest: a butterfly of 8 points with its twiddles is so long that the processor cannot overlap
/// two (`benches/fft.rs`: 40 against 51 GFLOP/s at `n = 64` on a Zen 4). Only the last pass, which has no twiddles, takes
/// 8 instead of 4 and 2, where there are more than the 16 registers of AVX2.
pub(super) fn factorise<V: Lanes>(n: usize) -> Option<Vec<usize>> {
    let mut rest = n;
    let mut factors = Vec::new();
    for radix in [7, 5, 3, 4, 2] {
        while rest > 0 && rest.is_multiple_of(radix) {
            factors.push(radix);
            rest /= radix;
        }
    }
    if size_of::<V>() != 32 && factors.ends_with(&[4, 2]) {
        factors.truncate(factors.len() - 2);
        factors.push(8);
    }
    (rest == 1).then_some(factors)
}

/// `exp(-2 pi i j / n)`.
pub(super) fn twiddle<T: Real>(j: usize, n: usize) -> [T; 2] {
    let angle = -TAU * (j % n) as f64 / n as f64;
    [T::of(angle.cos()), T::of(angle.sin())]
}

/// Where the points of a transform are.
pub(super) trait Points<V: Lanes>: Copy {
    /// Reads point `j`.
    ///
    /// # Safety
    ///
    /// Point `j` must be in memory that is valid for reading.
    unsafe fn load(self, j: usize) -> Complex<V>;

    /// Writes point `j`.
    ///
    /// # Safety
    ///
    /// Point `j` must be in memory that is valid for writing.
    unsafe fn store(self, j: usize, z: Complex<V>);
}

/// Points `stride` reals apart, `W` real and `W` imaginary parts each.
#[derive(Clone, Copy)]
pub(super) struct Rows<V: Lanes> {
    re: *mut V::Real,
    im: *mut V::Real,
    stride: usize,
}

impl<V: Lanes> Rows<V> {
    /// Points from `start` on, every `step`-th element; with the parts exchanged for an inverse.
    ///
    /// # Safety
    ///
    /// `start` must point to an element.
    #[inline(always)]
    pub(super) unsafe fn new(start: *mut V::Real, step: usize, exchanged: bool) -> Self {
        // SAFETY: an element has 2 W reals.
        let other = unsafe { start.add(V::WIDTH) };
        let (re, im) = if exchanged { (other, start) } else { (start, other) };
        Self { re, im, stride: 2 * V::WIDTH * step }
    }
}

impl<V: Lanes> Points<V> for Rows<V> {
    #[inline(always)]
    unsafe fn load(self, j: usize) -> Complex<V> {
        // SAFETY: the caller's promise.
        unsafe { Complex::new(V::load(self.re.add(j * self.stride)), V::load(self.im.add(j * self.stride))) }
    }

    #[inline(always)]
    unsafe fn store(self, j: usize, z: Complex<V>) {
        // SAFETY: the caller's promise.
        unsafe {
            z.re.store(self.re.add(j * self.stride));
            z.im.store(self.im.add(j * self.stride));
        }
    }
}

/// One pass: `m s` butterflies of `radix` points.
pub(super) struct Pass {
    radix: usize,
    /// Different twiddle sets; the set of `p = 0` is all ones.
    m: usize,
    /// Butterflies that share a set, on consecutive points.
    s: usize,
    /// First entry in the table.
    twiddles: usize,
}

/// Plan of a transform of `n` points.
pub(super) struct Stockham<T> {
    passes: Vec<Pass>,
    twiddles: Vec<[T; 2]>,
}

impl<T: Real> Stockham<T> {
    /// Plans the passes of the given radices.
    pub(super) fn plan(radices: &[usize]) -> Self {
        let mut plan = Self { passes: Vec::new(), twiddles: Vec::new() };
        let mut n: usize = radices.iter().product();
        let mut s = 1;
        for &radix in if n == 1 { &[1] } else { radices } {
            let m = n / radix;
            plan.passes.push(Pass { radix, m, s, twiddles: plan.twiddles.len() });
            if m > 1 {
                plan.twiddles.extend((0..m).flat_map(|p| (1..radix).map(move |k| twiddle(p * k, n))));
            }
            n = m;
            s *= radix;
        }
        plan
    }

    /// Number of passes, at least one.
    #[inline(always)]
    pub(super) fn passes(&self) -> usize {
        self.passes.len()
    }

    /// Runs pass `index`.
    ///
    /// # Safety
    ///
    /// `input` and `output` must hold the plan's points, in different memory unless there is only one butterfly.
    #[inline(always)]
    pub(super) unsafe fn run<V: Lanes<Real = T>>(&self, index: usize, input: impl Points<V>, output: impl Points<V>) {
        let &Pass { radix, m, s, twiddles } = &self.passes[index];
        // Stockham's order: butterfly `p, q` writes `R p + k` of its transform `q`.
        let layout = Layout { m, s, out_p: s * radix, out_k: s };
        // SAFETY: the caller's promise; the table holds m (R - 1) entries from `twiddles` on if m > 1.
        unsafe { butterflies(radix, layout, self.twiddles.as_ptr().add(twiddles), input, output) }
    }
}

/// Where a pass finds and leaves its points: reads `q + s (p + i m)`, writes `q + p out_p + k out_k`.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    pub(super) m: usize,
    pub(super) s: usize,
    pub(super) out_p: usize,
    pub(super) out_k: usize,
}

/// A pass of the given radix.
///
/// # Safety
///
/// All points of the layout must be valid; `twiddles` must hold `m (radix - 1)` entries unless `m = 1`.
#[inline(always)]
pub(super) unsafe fn butterflies<V: Lanes>(
    radix: usize,
    layout: Layout,
    twiddles: *const [V::Real; 2],
    input: impl Points<V>,
    output: impl Points<V>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match radix {
            1 => butterflies_of::<V, 1>(layout, twiddles, input, output),
            2 => butterflies_of::<V, 2>(layout, twiddles, input, output),
            3 => butterflies_of::<V, 3>(layout, twiddles, input, output),
            4 => butterflies_of::<V, 4>(layout, twiddles, input, output),
            5 => butterflies_of::<V, 5>(layout, twiddles, input, output),
            7 => butterflies_of::<V, 7>(layout, twiddles, input, output),
            8 => butterflies_of::<V, 8>(layout, twiddles, input, output),
            _ => unreachable!("no butterfly of radix {radix}"),
        }
    }
}

#[inline(always)]
unsafe fn butterflies_of<V: Lanes, const R: usize>(
    Layout { m, s, out_p, out_k }: Layout,
    twiddles: *const [V::Real; 2],
    input: impl Points<V>,
    output: impl Points<V>,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut z = [Complex::zero(); R];
        if m == 1 {
            for q in 0..s {
                for i in 0..R {
                    z[i] = input.load(q + s * i);
                }
                dft(&mut z);
                for k in 0..R {
                    output.store(q + k * out_k, z[k]);
                }
            }
            return;
        }
        for p in 0..m {
            let mut w = [Complex::zero(); R];
            for k in 1..R {
                let [re, im] = *twiddles.add(p * (R - 1) + k - 1);
                w[k] = Complex::new(V::splat(re), V::splat(im));
            }
            for q in 0..s {
                for i in 0..R {
                    z[i] = input.load(q + s * (p + i * m));
                }
                dft(&mut z);
                output.store(q + p * out_p, z[0]);
                for k in 1..R {
                    output.store(q + p * out_p + k * out_k, w[k] * z[k]);
                }
            }
        }
    }
}
