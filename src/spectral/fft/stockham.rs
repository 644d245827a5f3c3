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
/// Where there are more than the 16 registers of AVX2, powers of two are made of eights, which read and write the points
/// least often, at the end; with 16 registers, where a butterfly of eight points does not fit, of fours (`benches/fft.rs`).
pub(super) fn factorise<V: Lanes>(n: usize) -> Option<Vec<usize>> {
    let mut rest = n;
    let mut factors = Vec::new();
    for radix in [7, 5, 3] {
        while rest > 0 && rest.is_multiple_of(radix) {
            factors.push(radix);
            rest /= radix;
        }
    }
    let twos = rest.checked_ilog2()? as usize;
    let (fours, eights) = match (size_of::<V>() != 32, twos) {
        (true, 2..) => ([0, 2, 1][twos % 3], (twos - 2 * [0, 2, 1][twos % 3]) / 3),
        _ => (twos / 2, 0),
    };
    factors.extend(std::iter::repeat_n(2, twos - 2 * fours - 3 * eights));
    factors.extend(std::iter::repeat_n(4, fours));
    factors.extend(std::iter::repeat_n(8, eights));
    rest.is_power_of_two().then_some(factors)
}

/// `exp(-2 pi i j / n)`.
pub(super) fn twiddle<T: Real>(j: usize, n: usize) -> [T; 2] {
    let angle = -TAU * (j % n) as f64 / n as f64;
    [T::of(angle.cos()), T::of(angle.sin())]
}

/// Where the points of a transform are. Loops walk from point to point, and do not index: LLVM makes vectors of products of
/// indices, which cost more than the butterflies.
pub(super) trait Points<V: Lanes>: Copy {
    /// Reals between the starts of neighbours.
    fn stride(self) -> usize;

    /// The points that begin `reals` further on, which may be behind the last.
    fn skip(self, reals: usize) -> Self;

    /// Reads the first point.
    ///
    /// # Safety
    ///
    /// It must be in memory that is valid for reading.
    unsafe fn load(self) -> Complex<V>;

    /// Writes the first point.
    ///
    /// # Safety
    ///
    /// It must be in memory that is valid for writing.
    unsafe fn store(self, z: Complex<V>);

    /// The points from point `j` on.
    #[inline(always)]
    fn at(self, j: usize) -> Self {
        self.skip(j * self.stride())
    }
}

/// Points `stride` reals apart, `W` real and `W` imaginary parts each, which an inverse exchanges.
#[derive(Clone, Copy)]
pub(super) struct Rows<V: Lanes, const EXCHANGED: bool> {
    start: *mut V::Real,
    stride: usize,
}

impl<V: Lanes, const EXCHANGED: bool> Rows<V, EXCHANGED> {
    /// Points from `start` on, every `step`-th element.
    #[inline(always)]
    pub(super) fn new(start: *mut V::Real, step: usize) -> Self {
        Self { start, stride: 2 * V::WIDTH * step }
    }
}

impl<V: Lanes, const EXCHANGED: bool> Points<V> for Rows<V, EXCHANGED> {
    #[inline(always)]
    fn stride(self) -> usize {
        self.stride
    }

    #[inline(always)]
    fn skip(self, reals: usize) -> Self {
        Self { start: self.start.wrapping_add(reals), ..self }
    }

    #[inline(always)]
    unsafe fn load(self) -> Complex<V> {
        // SAFETY: the caller's promise.
        let Complex { re, im } = unsafe { Complex::load(self.start) };
        if EXCHANGED { Complex::new(im, re) } else { Complex::new(re, im) }
    }

    #[inline(always)]
    unsafe fn store(self, z: Complex<V>) {
        let z = if EXCHANGED { Complex::new(z.im, z.re) } else { z };
        // SAFETY: the caller's promise.
        unsafe { z.store(self.start) };
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
        let (next_in, next_out) = (s * m * input.stride(), out_k * output.stride());
        for p in 0..m {
            let (mut first, mut out) = (input.at(s * p), output.at(p * out_p));
            for _ in 0..s {
                let mut z = [Complex::zero(); R];
                let mut from = first;
                for z in &mut z {
                    *z = from.load();
                    from = from.skip(next_in);
                }
                dft(&mut z);
                out.store(z[0]);
                let mut to = out;
                for k in 1..R {
                    to = to.skip(next_out);
                    if m == 1 {
                        to.store(z[k]);
                    } else {
                        // Read here, as an operand of the product: registers are for the points.
                        let [re, im] = *twiddles.add(p * (R - 1) + k - 1);
                        to.store(Complex::new(V::splat(re), V::splat(im)) * z[k]);
                    }
                }
                (first, out) = (first.at(1), out.at(1));
            }
        }
    }
}
