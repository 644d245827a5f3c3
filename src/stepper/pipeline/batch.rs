//! Many lines at once: one-dimensional batches with lanes across samples.
//!
//! A bundle of `W` samples is brought into the layout `[array][channel][mode]` of vectors whose lanes are samples, is advanced
//! there by any number of steps, and is brought back. Nothing is shuffled in between: wavenumbers and coefficients are the same
//! for all lanes, and so are the twiddles of the real transform, which for `n` points is a complex one of `h = n / 2`:
//!
//! ```text
//! z_j = x_{2j} + i x_{2j+1},  w = exp(2 pi i / n)
//! Z(m) = (X(m) + conj X(h - m)) + i w^m (X(m) - conj X(h - m))             inverse, before the transform
//! X(m) = [(Z(m) + conj Z(h - m)) - i w^-m (Z(m) - conj Z(h - m))] / 2      forward, after it
//! ```
//!
//! No sample meets another, not even in round-off.

use num_traits::Float;

use super::super::tableau::Coefficients;
use super::super::team::Shared;
use super::columns::complexes;
use super::op::{NonlinearOp, Op};
use super::{Coefficient, MAX, Pipeline};
use crate::field::Real;
use crate::pde::{MAX_SLOTS, Pde, Wave};
use crate::spectral::fft::ColumnFft;
use crate::spectral::simd::{Complex, Lanes};

/// What a bundle needs besides the pipeline.
pub(super) struct Batch<V: Lanes> {
    fft: ColumnFft<V>,
    /// Wavenumber and `1 / k^2` of every mode.
    waves: Vec<[V::Real; 2]>,
    /// `w^m`, `m = 0 ..= h / 2`.
    twiddles: Vec<[V::Real; 2]>,
}

impl<V: Lanes> Batch<V> {
    /// For lines of `n` points with modes up to `cut`, if the vector has the transform.
    pub fn plan(n: usize, cut: usize, k_unit: f64) -> Option<Self> {
        (V::WIDTH > 1 && n.is_multiple_of(2) && ColumnFft::<V>::supports(n / 2)).then(|| {
            let wave = |m: usize| {
                let k = m as f64 * k_unit;
                [k, if m == 0 { 0.0 } else { 1.0 / (k * k) }].map(V::Real::of)
            };
            let twiddle = |m: usize| {
                let (sin, cos) = (std::f64::consts::TAU * m as f64 / n as f64).sin_cos();
                [cos, sin].map(V::Real::of)
            };
            Self {
                fft: ColumnFft::plan(n / 2),
                waves: (0..=cut).map(wave).collect(),
                twiddles: (0..=n / 4).map(twiddle).collect(),
            }
        })
    }
}

/// One operand of a row: its coefficients and its array.
#[derive(Clone, Copy)]
struct Operand<T> {
    coefficients: *const T,
    is_complex: bool,
    array: *const T,
}

/// The row that follows a stage: where its operands are, and where the results go.
#[derive(Clone, Copy)]
struct Row<'a, T> {
    operands: &'a [Operand<T>],
    /// Whether no coefficient is complex.
    is_real: bool,
    /// `N(U_j)`.
    tendency: *mut T,
    /// `U_{j+1}`, or `u` after the last stage.
    target: *mut T,
    /// Whether all channels share one symbol.
    is_shared: bool,
}

impl<P: Pde, V: Lanes> Pipeline<P, V> {
    /// Samples in a bundle.
    pub(super) fn bundle_size(&self) -> usize {
        if self.batch.is_some() { V::WIDTH } else { 0 }
    }

    /// Vectors of complex numbers in one array of a bundle.
    fn bundle_array(&self) -> usize {
        P::CHANNELS * (self.sizes.cut_last + 1)
    }

    /// Reals of memory for a scheme of `stages`: state, stages, nonlinear terms; spectra, columns, scratch.
    pub(super) fn bundle_memory_len(&self, stages: usize) -> usize {
        let Some(batch) = &self.batch else { return 0 };
        let n = batch.fft.len();
        let transforms = 2 * P::FIELDS.max(P::PRODUCTS).max(1) * n + batch.fft.scratch_len();
        (2 * stages * self.bundle_array() + transforms) * 2 * V::WIDTH
    }

    /// Advances up to `W` consecutive samples by `steps`; the first step and sample found not finite, if any, after which
    /// the bundle stops.
    ///
    /// # Safety
    ///
    /// Nobody else touches `samples` or `memory`, which has [`Pipeline::bundle_memory_len`] reals.
    pub(super) unsafe fn advance_bundle(
        &self,
        samples: Shared<V::Real>,
        steps: usize,
        coefficients: &Coefficients<V::Real>,
        stages: usize,
        memory: Shared<V::Real>,
    ) -> Option<(usize, usize)> {
        let batch = self.batch.as_ref().expect("bundles were planned");
        let count = samples.len() / self.layout.sample_len();
        let array = self.bundle_array();
        let element = 2 * V::WIDTH;
        let arrays = memory.part(0, 2 * stages * array * element);
        let rest = memory.part(arrays.len(), memory.len() - arrays.len());
        // SAFETY: the caller's promise.
        let reals = unsafe { arrays.part(0, array * element).as_mut_slice() };
        reals.fill(V::Real::of(0.0));
        self.for_each_lane(count, |sample, lane| {
            // SAFETY: offsets lie in the samples.
            reals[lane] = unsafe { *samples.as_ptr().add(sample) };
        });
        let mut failed = None;
        for step in 0..steps {
            for j in 0..stages {
                // SAFETY: the memory is this call's own.
                unsafe { self.bundle_stage(batch, j, stages, coefficients, arrays, rest) };
            }
            // A value that is not finite reaches every mode within one evaluation.
            let probe = reals[..element].iter().position(|x| !x.is_finite());
            if let Some(at) = probe {
                failed = Some((step, at % V::WIDTH));
                break;
            }
        }
        self.for_each_lane(count, |sample, lane| {
            // SAFETY: offsets lie in the samples.
            unsafe { *samples.as_ptr().add(sample) = reals[lane] };
        });
        failed
    }

    /// Calls `f` with the offset of every real in `count` samples and in the bundle's array.
    fn for_each_lane(&self, count: usize, mut f: impl FnMut(usize, usize)) {
        let (w, modes) = (V::WIDTH, self.sizes.cut_last + 1);
        for s in 0..count {
            for c in 0..P::CHANNELS {
                let from = s * self.layout.sample_len() + c * self.sizes.channel_len;
                for m in 0..modes {
                    for part in 0..2 {
                        let lane = (c * modes + m) * 2 * w + part * w + s;
                        f(from + (m / w * 2 + part) * w + m % w, lane);
                    }
                }
            }
        }
    }

    /// Stage `j` of a step: `N(U_j)` and the next row of the table. Arrays are `u, U_1 .., N_0 ..`.
    ///
    /// # Safety
    ///
    /// `arrays` and `rest` are as [`Pipeline::advance_bundle`] cuts them, for this call alone.
    unsafe fn bundle_stage(
        &self,
        batch: &Batch<V>,
        j: usize,
        stages: usize,
        coefficients: &Coefficients<V::Real>,
        arrays: Shared<V::Real>,
        rest: Shared<V::Real>,
    ) {
        let (w, element) = (V::WIDTH, 2 * V::WIDTH);
        let (h, modes) = (batch.fft.len(), self.sizes.cut_last + 1);
        let slots = P::FIELDS.max(P::PRODUCTS).max(1);
        let len = h * element;
        let spectrum = |slot: usize| rest.part(slot * len, len);
        let column = |slot: usize| rest.part((slots + slot) * len, len);
        let scratch = rest.part(2 * slots * len, batch.fft.scratch_len() * element);
        let array = self.bundle_array() * element;
        // SAFETY: within the arrays.
        let start = |index: usize| unsafe { arrays.as_ptr().add(index * array) };
        let twiddle = |m: usize| {
            let [cos, sin] = batch.twiddles[m].map(V::splat);
            Complex::new(cos, sin)
        };
        let base = rest.as_ptr();
        // SAFETY: all pointers stay within their parts, which belong to this call.
        unsafe {
            if P::FIELDS > 0 {
                V::vectorize(
                    #[inline(always)]
                    || {
                        for m in 0..=h / 2 {
                            let low = self.bundle_fields(batch, start(j), m);
                            let high = self.bundle_fields(batch, start(j), h - m);
                            let twiddle = twiddle(m);
                            for f in 0..P::FIELDS {
                                let (mut a, b) = (low[f], high[f].conj());
                                if m == 0 {
                                    // The mean of a real line is real.
                                    a.im = b.im;
                                }
                                let (sum, turned) = (a + b, (twiddle * (a - b)).mul_i());
                                (sum + turned).store(base.add(f * len + m * element));
                                if m > 0 {
                                    // w^(h - m) = -conj(w^m).
                                    (sum - turned).conj().store(base.add(f * len + (h - m) * element));
                                }
                            }
                        }
                    },
                );
                for f in 0..P::FIELDS {
                    let parts = (complexes(spectrum(f), h), complexes(column(f), h));
                    batch.fft.inverse(parts.0, parts.1, complexes(scratch, batch.fft.scratch_len()));
                }
                // Even points, then odd ones.
                for part in 0..2 {
                    let place = |slot: usize| (slots + slot) * len + part * w;
                    self.pointwise(NonlinearOp, base, (len, element), place, place);
                }
                for p in 0..P::PRODUCTS {
                    let parts = (complexes(column(p), h), complexes(spectrum(p), h));
                    batch.fft.forward(parts.0, parts.1, complexes(scratch, batch.fft.scratch_len()));
                }
            }
            // The next row: R u + sum of a N.
            let row = j + 1;
            let target = if row == stages { 0 } else { row };
            let mut operands =
                [Operand { coefficients: std::ptr::null(), is_complex: false, array: start(0) }; super::MAX_TERMS];
            let mut count = 0;
            for i in 0..=row {
                let (coefficients, is_complex) = match coefficients.get(row, i) {
                    None => continue,
                    Some(Coefficient::Real(c)) => (c.as_ptr(), false),
                    Some(Coefficient::Complex(c)) => (c.as_ptr(), true),
                    Some(Coefficient::One) => unreachable!("tables hold values"),
                };
                let array = start(if i == 0 { 0 } else { stages + i - 1 }).cast_const();
                operands[count] = Operand { coefficients, is_complex, array };
                count += 1;
            }
            let row = Row {
                operands: &operands[..count],
                is_real: operands[..count].iter().all(|operand| !operand.is_complex),
                tendency: start(stages + j),
                target: start(target),
                is_shared: coefficients.period == self.sizes.channel_len,
            };
            let half_scale = V::splat(V::Real::of(0.5 * self.sizes.scale));
            V::vectorize(
                #[inline(always)]
                || {
                    for m in 0..=h / 2 {
                        let (mut low, mut high) = ([Complex::zero(); MAX], [Complex::zero(); MAX]);
                        let twiddle = twiddle(m).conj();
                        for p in 0..P::PRODUCTS {
                            let mirror = if m == 0 { 0 } else { h - m };
                            let a = Complex::<V>::load(base.add(p * len + m * element));
                            let b = Complex::<V>::load(base.add(p * len + mirror * element)).conj();
                            let (sum, turned) = (a + b, (twiddle * (a - b)).mul_neg_i());
                            low[p] = (sum + turned).scale(half_scale);
                            high[p] = (sum - turned).conj().scale(half_scale);
                        }
                        if m < modes {
                            self.bundle_row(batch, row, &low, m);
                        }
                        // The middle mode of an even `h` is its own mirror.
                        if h - m < modes && 2 * m != h {
                            self.bundle_row(batch, row, &high, h - m);
                        }
                    }
                },
            );
        }
    }

    #[inline(always)]
    fn bundle_wave(&self, batch: &Batch<V>, m: usize) -> Wave<V> {
        let [k, inverse_k2] = batch.waves[m].map(V::splat);
        let zero = V::splat(V::Real::of(0.0));
        Wave { k: [k, zero, zero], inverse_k2 }
    }

    /// Fields of mode `m`, zero above the cut.
    ///
    /// # Safety
    ///
    /// `state` points to an array of a bundle.
    #[inline(always)]
    unsafe fn bundle_fields(&self, batch: &Batch<V>, state: *const V::Real, m: usize) -> [Complex<V>; MAX] {
        let modes = self.sizes.cut_last + 1;
        let mut fields = [Complex::zero(); MAX];
        if m < modes {
            let mut u = [Complex::zero(); MAX_SLOTS];
            for (c, u) in u[..P::CHANNELS].iter_mut().enumerate() {
                // SAFETY: the caller's promise.
                *u = unsafe { Complex::load(state.add((c * modes + m) * 2 * V::WIDTH)) };
            }
            self.pde.fields(&self.bundle_wave(batch, m), &u[..P::CHANNELS], &mut fields[..P::FIELDS]);
        }
        fields
    }

    /// Tendency of mode `m` and the row that it completes.
    ///
    /// # Safety
    ///
    /// The row's pointers are to arrays of a bundle and to coefficients of the layout.
    #[inline(always)]
    unsafe fn bundle_row(&self, batch: &Batch<V>, row: Row<V::Real>, products: &[Complex<V>], m: usize) {
        let (w, modes) = (V::WIDTH, self.sizes.cut_last + 1);
        // Offsets of the mode's coefficients, real and complex.
        let (real, complex) = (m, m / w * 2 * w + m % w);
        let mut tendency = [Complex::zero(); MAX_SLOTS];
        let wave = self.bundle_wave(batch, m);
        NonlinearOp.finish(&self.pde, &wave, &products[..P::PRODUCTS], &mut tendency[..P::CHANNELS]);
        for (c, value) in tendency[..P::CHANNELS].iter().enumerate() {
            let mut value = *value;
            let at = (c * modes + m) * 2 * w;
            let channel = if row.is_shared { 0 } else { c * self.sizes.channel_len };
            // SAFETY: the caller's promise.
            unsafe {
                if let Some(forcing) = &self.forcing {
                    let f = forcing.as_ptr().add(c * self.sizes.channel_len + complex);
                    value = value + Complex::new(V::splat(*f), V::splat(*f.add(w)));
                }
                value.store(row.tendency.add(at));
                let real = channel / 2 + real;
                let sum = match (row.is_real, row.operands.len()) {
                    (true, 2) => real_combination::<V, 2>(row.operands, real, at),
                    (true, 3) => real_combination::<V, 3>(row.operands, real, at),
                    (true, 4) => real_combination::<V, 4>(row.operands, real, at),
                    (true, 5) => real_combination::<V, 5>(row.operands, real, at),
                    _ => {
                        let mut sum = Complex::<V>::zero();
                        for operand in row.operands {
                            let x = Complex::<V>::load(operand.array.add(at));
                            sum = if operand.is_complex {
                                let v = operand.coefficients.add(channel + complex);
                                sum.add_product(Complex::new(V::splat(*v), V::splat(*v.add(w))), x)
                            } else {
                                sum.add_scaled(V::splat(*operand.coefficients.add(real)), x)
                            };
                        }
                        sum
                    }
                };
                sum.store(row.target.add(at));
            }
        }
    }
}

/// `sum_j c_j x_j` of the first `N` operands, whose coefficients are real; unrolled, it is bound by the loads.
///
/// # Safety
///
/// There are `N` operands, with coefficients at `coefficient` and values at `at`.
#[inline(always)]
unsafe fn real_combination<V: Lanes, const N: usize>(
    operands: &[Operand<V::Real>],
    coefficient: usize,
    at: usize,
) -> Complex<V> {
    let mut sum = Complex::<V>::zero();
    for j in 0..N {
        // SAFETY: the caller's promise.
        unsafe {
            let operand = operands.get_unchecked(j);
            let x = Complex::<V>::load(operand.array.add(at));
            sum = sum.add_scaled(V::splat(*operand.coefficients.add(coefficient)), x);
        }
    }
    sum
}
