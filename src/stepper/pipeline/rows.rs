//! Stage 2: lines to physical space, products, and back.
//!
//! Two strategies with the same result up to round-off. A long line is transformed by itself, vectors lying along it
//! ([`LineFft`]). Short lines leave such vectors partly empty: there `W` lines at once are the columns of a
//! [`ColumnFft`], two real lines to a complex one, after a transposition of `W x W` tiles in registers.

use super::super::team::Shared;
use super::columns::complexes;
use super::op::Op;
use super::{MAX, Pipeline, Sink};
use crate::field::Real;
use crate::pde::Pde;
use crate::spectral::fft::{ColumnFft, LineFft};
use crate::spectral::simd::{Complex, Lanes};

/// How the lines along the last axis are transformed.
pub(super) enum Rows<V: Lanes> {
    /// One by one.
    Lines(LineFft<V>),
    /// `W` (or, if fields or products are odd in number, `2 W`) at a time.
    Bundles(ColumnFft<V>),
}

impl<V: Lanes> Rows<V> {
    /// Whether bundles are the faster way: below `2 W^2` points the vectors along a line are partly empty, up to `4 W^2`
    /// bundles still win (`benches/fft.rs`, `benches/core.rs`), beyond that they outgrow the nearest caches. There must
    /// be enough lines to fill the lanes.
    pub fn prefers_bundles(n: usize, lines: usize) -> bool {
        V::WIDTH > 1
            && n <= 4 * V::WIDTH * V::WIDTH
            && lines.is_multiple_of(2 * V::WIDTH)
            && ColumnFft::<V>::supports(n)
    }

    /// Reals of private memory for `fields` and `products`.
    pub fn memory_len(&self, fields: usize, products: usize) -> usize {
        match self {
            Self::Lines(fft) => (fields + products) * fft.len() + fft.scratch_len(),
            Self::Bundles(fft) => {
                let complex = 2 * V::WIDTH;
                (fields.max(products) + 1) * fft.len() * complex + fft.scratch_len().max(fft.len()) * complex
            }
        }
    }
}

/// Rows in a task: an even number of real lines must share the complex ones.
const fn rows_per_lane<P: Pde, O: Op<P>>() -> usize {
    if O::FIELDS.is_multiple_of(2) && O::PRODUCTS.is_multiple_of(2) { 1 } else { 2 }
}

impl<P: Pde, V: Lanes> Pipeline<P, V> {
    /// Tasks that the rows of the planes are cut into.
    pub(super) fn row_tasks<O: Op<P>>(&self) -> usize {
        match &self.rows {
            Rows::Lines(_) => self.sizes.plane_rows,
            Rows::Bundles(_) => self.sizes.plane_rows / (V::WIDTH * rows_per_lane::<P, O>()),
        }
    }

    /// Stage 2 for one task.
    ///
    /// # Safety
    ///
    /// As [`super::Rhs::evaluate`]; the task's rows of the planes and `private` belong to this worker.
    pub(super) unsafe fn row_task<O: Op<P>>(
        &self,
        op: O,
        task: usize,
        planes: Shared<V::Real>,
        private: Shared<V::Real>,
    ) {
        match &self.rows {
            Rows::Lines(fft) => {
                let start = task * 2 * V::WIDTH;
                let half = |slot: usize| planes.part(slot * self.sizes.plane_len + start, 2 * V::WIDTH).as_ptr();
                // SAFETY: the caller's promise.
                unsafe { self.line(op, fft, half, self.sizes.plane_stride, private) };
            }
            // SAFETY: the caller's promise.
            Rows::Bundles(fft) => unsafe { self.bundle(op, fft, task, planes, private) },
        }
    }

    /// One line: the half spectra at `half(slot)` become those of the products, in place.
    ///
    /// # Safety
    ///
    /// `half(slot)` points to the line's groups at `stride` for every field and product slot, and nobody else touches
    /// them or `private`.
    #[inline(always)]
    unsafe fn line<O: Op<P>>(
        &self,
        op: O,
        fft: &LineFft<V>,
        half: impl Fn(usize) -> *mut V::Real,
        stride: usize,
        private: Shared<V::Real>,
    ) {
        let n = fft.len();
        let values = private.part(0, (O::FIELDS + O::PRODUCTS) * n);
        let scratch = private.part(values.len(), fft.scratch_len());
        // SAFETY: the parts of `private` are disjoint; the caller's promise for `half`.
        unsafe {
            for f in 0..O::FIELDS {
                fft.inverse(half(f), stride, values.part(f * n, n).as_mut_slice(), scratch.as_mut_slice());
            }
            self.pointwise(op, values.as_ptr(), (n, V::WIDTH), |f| f * n, |p| (O::FIELDS + p) * n);
            for p in 0..O::PRODUCTS {
                let line = values.part((O::FIELDS + p) * n, n).as_mut_slice();
                fft.forward(line, half(p), stride, scratch.as_mut_slice());
            }
        }
    }

    /// Products of vectors of points: field `f` is at `values + from(f) + j`, product `p` goes to `values + to(p) + j`, for
    /// `j` in steps up to `end`.
    ///
    /// # Safety
    ///
    /// `values` is valid for all of them.
    #[inline(always)]
    pub(super) unsafe fn pointwise<O: Op<P>>(
        &self,
        op: O,
        values: *mut V::Real,
        (end, step): (usize, usize),
        from: impl Fn(usize) -> usize,
        to: impl Fn(usize) -> usize,
    ) {
        V::vectorize(
            #[inline(always)]
            || {
                for j in (0..end).step_by(step) {
                    let mut fields = [V::splat(V::Real::of(0.0)); MAX];
                    let mut products = [V::splat(V::Real::of(0.0)); MAX];
                    // SAFETY: the caller's promise.
                    unsafe {
                        for (f, field) in fields[..O::FIELDS].iter_mut().enumerate() {
                            *field = V::load(values.add(from(f) + j));
                        }
                        op.pointwise(&self.pde, &fields[..O::FIELDS], &mut products[..O::PRODUCTS]);
                        for (p, product) in products[..O::PRODUCTS].iter().enumerate() {
                            product.store(values.add(to(p) + j));
                        }
                    }
                }
            },
        );
    }

    /// `W` or `2 W` lines at once. Real line `r = field * rows + row` is part `r % 2` of complex column `r / 2`.
    ///
    /// # Safety
    ///
    /// As [`Pipeline::row_task`].
    unsafe fn bundle<O: Op<P>>(
        &self,
        op: O,
        fft: &ColumnFft<V>,
        task: usize,
        planes: Shared<V::Real>,
        private: Shared<V::Real>,
    ) {
        let rows = rows_per_lane::<P, O>();
        let (columns_in, columns_out) = (O::FIELDS * rows / 2, O::PRODUCTS * rows / 2);
        let n = fft.len();
        let len = n * 2 * V::WIDTH;
        let group = 2 * V::WIDTH;
        // Columns, then a spectrum that is being packed or unpacked, and the transform's scratch.
        let column = |c: usize| private.part(c * len, len);
        let spectrum = private.part(columns_in.max(columns_out) * len, len);
        let scratch_len = fft.scratch_len().max(n);
        let scratch = private.part((columns_in.max(columns_out) + 1) * len, scratch_len * group);
        // Start of the groups of real line `r` in block 0.
        let start = |r: usize| {
            let first_row = (task * rows + r % rows) * V::WIDTH;
            planes.part(r / rows * self.sizes.plane_len + first_row * group, V::WIDTH * group).as_ptr()
        };
        let (blocks, stride, cut) = (self.sizes.blocks, self.sizes.plane_stride, self.sizes.cut_last);
        // SAFETY: the parts of `private` are disjoint; the caller's promise for the planes.
        unsafe {
            for c in 0..columns_in {
                let (a, b) = (start(2 * c), start(2 * c + 1));
                pack::<V>(a, b, spectrum.as_ptr(), n, cut, blocks, stride);
                fft.inverse(complexes(spectrum, n), complexes(column(c), n), complexes(scratch, scratch_len));
            }
            for row in 0..rows {
                // Products take the places of fields.
                let place = |slot: usize| (slot * rows + row) / 2 * len + (slot * rows + row) % 2 * V::WIDTH;
                self.pointwise(op, private.as_ptr(), (len, group), place, place);
            }
            for c in 0..columns_out {
                fft.forward(complexes(column(c), n), complexes(spectrum, n), complexes(scratch, scratch_len));
                let (a, b) = (start(2 * c), start(2 * c + 1));
                unpack::<V>(spectrum.as_ptr(), a, b, n, cut, blocks, stride, self.sizes.scale);
            }
        }
    }

    /// Everything for a box of one dimension.
    ///
    /// # Safety
    ///
    /// As [`super::Rhs::evaluate`]; `private` belongs to this worker.
    pub(super) unsafe fn evaluate_line<O: Op<P>>(
        &self,
        op: O,
        inputs: [Shared<V::Real>; 2],
        private: Shared<V::Real>,
        sink: Sink<V::Real>,
    ) {
        let Rows::Lines(fft) = &self.rows else { unreachable!("a box of one dimension has one line") };
        let len = self.sizes.channel_len;
        let slots = O::FIELDS.max(O::PRODUCTS);
        let halves = private.part(0, slots * len);
        let out = private.part(halves.len(), P::CHANNELS * len);
        let private = private.part(halves.len() + out.len(), private.len() - halves.len() - out.len());
        let group_len = 2 * V::WIDTH;
        let blocks = self.sizes.blocks;
        let half = |slot: usize| halves.part(slot * len, len).as_ptr();
        // SAFETY: all parts are this worker's own; the caller's promise for the inputs.
        unsafe {
            if slots > 0 {
                V::vectorize(
                    #[inline(always)]
                    || {
                        for block in 0..blocks {
                            let fields = self.build(op, inputs, (block, 0, 0));
                            for (f, field) in fields[..O::FIELDS].iter().enumerate() {
                                field.store(halves.as_ptr().add(f * len + block * group_len));
                            }
                        }
                    },
                );
                self.line(op, fft, half, group_len, private);
            }
            V::vectorize(
                #[inline(always)]
                || {
                    for block in 0..blocks {
                        let mut products = [Complex::zero(); MAX];
                        for (p, product) in products[..O::PRODUCTS].iter_mut().enumerate() {
                            *product = Complex::load(halves.as_ptr().add(p * len + block * group_len));
                        }
                        self.finish(op, &products, (block, 0, 0), out.as_ptr(), len, block * group_len);
                    }
                },
            );
        }
        for c in 0..P::CHANNELS {
            sink(c * len, out.part(c * len, len));
        }
    }
}

/// Spectrum of `A + i B` from the half spectra of `W` real lines `A` and `W` real lines `B`:
/// `Z(m) = A(m) + i B(m)`, `Z(n - m) = conj(A(m)) + i conj(B(m))`, zero above the cut.
///
/// # Safety
///
/// `a` and `b` point to `W` consecutive groups in each of `blocks` blocks `stride` reals apart, `z` to `n` groups.
unsafe fn pack<V: Lanes>(
    a: *const V::Real,
    b: *const V::Real,
    z: *mut V::Real,
    n: usize,
    cut: usize,
    blocks: usize,
    stride: usize,
) {
    let (w, group) = (V::WIDTH, 2 * V::WIDTH);
    V::vectorize(
        #[inline(always)]
        || {
            for block in 0..blocks {
                // SAFETY: the caller's promise.
                unsafe {
                    let [a, b] = [a, b].map(|p| p.add(block * stride));
                    let a = transposed::<V>(a);
                    let b = transposed::<V>(b);
                    let count = (cut + 1 - block * w).min(w);
                    for l in 0..count {
                        let m = block * w + l;
                        let (a, b) = (Complex::new(a[0][l], a[1][l]), Complex::new(b[0][l], b[1][l]));
                        let sum = Complex::new(a.re - b.im, a.im + b.re);
                        if m == 0 {
                            // The mean of a real line is real.
                            Complex::new(a.re, b.re).store(z);
                        } else {
                            sum.store(z.add(m * group));
                            Complex::new(a.re + b.im, b.re - a.im).store(z.add((n - m) * group));
                        }
                    }
                }
            }
            for m in cut + 1..n - cut {
                // SAFETY: the caller's promise.
                unsafe { Complex::<V>::zero().store(z.add(m * group)) };
            }
        },
    );
}

/// The inverse of [`pack`], times `scale`: `A(m) = (Z(m) + conj Z(n - m)) / 2`, `B(m) = (Z(m) - conj Z(n - m)) / 2 i`.
///
/// # Safety
///
/// As [`pack`].
#[allow(clippy::too_many_arguments, clippy::needless_range_loop)]
unsafe fn unpack<V: Lanes>(
    z: *const V::Real,
    a: *mut V::Real,
    b: *mut V::Real,
    n: usize,
    cut: usize,
    blocks: usize,
    stride: usize,
    scale: f64,
) {
    let (w, group) = (V::WIDTH, 2 * V::WIDTH);
    V::vectorize(
        #[inline(always)]
        || {
            let half = V::splat(V::Real::of(0.5 * scale));
            let zero = Complex::zero();
            for block in 0..blocks {
                for (line, out) in [a, b].into_iter().enumerate() {
                    let mut tiles = [[zero.re; MAX_WIDTH]; 2];
                    // SAFETY: the caller's promise.
                    unsafe {
                        for l in 0..w {
                            let m = block * w + l;
                            let part = if m <= cut {
                                let p = Complex::<V>::load(z.add(m * group));
                                let q = Complex::<V>::load(z.add(if m == 0 { 0 } else { n - m } * group));
                                if line == 0 {
                                    Complex::new(p.re + q.re, p.im - q.im)
                                } else {
                                    Complex::new(p.im + q.im, q.re - p.re)
                                }
                            } else {
                                zero
                            };
                            (tiles[0][l], tiles[1][l]) = (part.re * half, part.im * half);
                        }
                        for tile in &mut tiles {
                            V::transpose(&mut tile[..w]);
                        }
                        for l in 0..w {
                            Complex::new(tiles[0][l], tiles[1][l]).store(out.add(block * stride + l * group));
                        }
                    }
                }
            }
        },
    );
}

/// Widest vector.
const MAX_WIDTH: usize = 16;

/// Real and imaginary parts of `W` consecutive groups, transposed: element `l` holds mode `l` of the `W` lines.
///
/// # Safety
///
/// `p` points to `W` groups.
#[inline(always)]
#[allow(clippy::needless_range_loop)]
unsafe fn transposed<V: Lanes>(p: *const V::Real) -> [[V; MAX_WIDTH]; 2] {
    let mut tiles = [[V::splat(V::Real::of(0.0)); MAX_WIDTH]; 2];
    for l in 0..V::WIDTH {
        // SAFETY: the caller's promise.
        let z = unsafe { Complex::<V>::load(p.add(l * 2 * V::WIDTH)) };
        (tiles[0][l], tiles[1][l]) = (z.re, z.im);
    }
    for tile in &mut tiles {
        V::transpose(&mut tile[..V::WIDTH]);
    }
    tiles
}
