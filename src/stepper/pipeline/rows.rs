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
        let from: [*const V::Real; MAX] = std::array::from_fn(|f| values.wrapping_add(from(f)).cast_const());
        let to: [*mut V::Real; MAX] = std::array::from_fn(|p| values.wrapping_add(to(p)));
        V::vectorize(
            #[inline(always)]
            || {
                let (from, to) = (from, to);
                for j in (0..end).step_by(step) {
                    let mut fields = [V::splat(V::Real::of(0.0)); MAX];
                    let mut products = [V::splat(V::Real::of(0.0)); MAX];
                    // SAFETY: the caller's promise.
                    unsafe {
                        for (f, field) in fields[..O::FIELDS].iter_mut().enumerate() {
                            *field = V::load(from[f].add(j));
                        }
                        op.pointwise(&self.pde, &fields[..O::FIELDS], &mut products[..O::PRODUCTS]);
                        for (p, product) in products[..O::PRODUCTS].iter().enumerate() {
                            product.store(to[p].add(j));
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
                let (lines, z, sizes) =
                    ([start(2 * c).cast_const(), start(2 * c + 1).cast_const()], spectrum.as_ptr(), [n, cut]);
                match V::WIDTH {
                    2 => pack::<V, 2>(lines, z, sizes, blocks, stride),
                    4 => pack::<V, 4>(lines, z, sizes, blocks, stride),
                    8 => pack::<V, 8>(lines, z, sizes, blocks, stride),
                    _ => pack::<V, 16>(lines, z, sizes, blocks, stride),
                }
                fft.inverse(complexes(spectrum, n), complexes(column(c), n), complexes(scratch, scratch_len));
            }
            for row in 0..rows {
                // Products take the places of fields.
                let place = |slot: usize| (slot * rows + row) / 2 * len + (slot * rows + row) % 2 * V::WIDTH;
                self.pointwise(op, private.as_ptr(), (len, group), place, place);
            }
            for c in 0..columns_out {
                fft.forward(complexes(column(c), n), complexes(spectrum, n), complexes(scratch, scratch_len));
                let (lines, z, sizes) = ([start(2 * c), start(2 * c + 1)], spectrum.as_ptr().cast_const(), [n, cut]);
                let scale = self.sizes.scale;
                match V::WIDTH {
                    2 => unpack::<V, 2>(z, lines, sizes, blocks, stride, scale),
                    4 => unpack::<V, 4>(z, lines, sizes, blocks, stride, scale),
                    8 => unpack::<V, 8>(z, lines, sizes, blocks, stride, scale),
                    _ => unpack::<V, 16>(z, lines, sizes, blocks, stride, scale),
                }
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
/// Its real parts are made of those of `A` and the imaginary ones of `B`, its imaginary parts of the others: two tiles at a
/// time, which the registers hold.
///
/// # Safety
///
/// `a` and `b` point to `W` consecutive groups in each of `blocks` blocks `stride` reals apart, `z` to `n` groups.
unsafe fn pack<V: Lanes, const W: usize>(
    [a, b]: [*const V::Real; 2],
    z: *mut V::Real,
    [n, cut]: [usize; 2],
    blocks: usize,
    stride: usize,
) {
    let group = 2 * W;
    V::vectorize(
        #[inline(always)]
        || {
            for block in 0..blocks {
                let count = cut + 1 - block * W;
                let (low, high) = (z.wrapping_add(block * W * group), z.wrapping_add((n - block * W) * group));
                // SAFETY: the caller's promise.
                unsafe {
                    let (a, b) = (a.add(block * stride), b.add(block * stride));
                    let (x, y) = (load_tile::<V, W>(a), load_tile::<V, W>(b.add(W)));
                    let (mut to, mut image) = (low, high);
                    // All `W` turns with a test, not fewer turns: unrolled, the tiles stay in registers.
                    for l in 0..W {
                        if block * W + l == 0 {
                            // The mean of a real line is real.
                            x[l].store(to);
                        } else if l < count {
                            (x[l] - y[l]).store(to);
                            (x[l] + y[l]).store(image);
                        }
                        (to, image) = (to.wrapping_add(group), image.wrapping_sub(group));
                    }
                    let (x, y) = (load_tile::<V, W>(a.add(W)), load_tile::<V, W>(b));
                    let (mut to, mut image) = (low.wrapping_add(W), high.wrapping_add(W));
                    for l in 0..W {
                        if block * W + l == 0 {
                            y[l].store(to);
                        } else if l < count {
                            (y[l] + x[l]).store(to);
                            (y[l] - x[l]).store(image);
                        }
                        (to, image) = (to.wrapping_add(group), image.wrapping_sub(group));
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
unsafe fn unpack<V: Lanes, const W: usize>(
    z: *const V::Real,
    [a, b]: [*mut V::Real; 2],
    [n, cut]: [usize; 2],
    blocks: usize,
    stride: usize,
    scale: f64,
) {
    let group = 2 * W;
    V::vectorize(
        #[inline(always)]
        || {
            let half = V::splat(V::Real::of(0.5 * scale));
            for block in 0..blocks {
                let count = cut + 1 - block * W;
                let (low, high) = (z.wrapping_add(block * W * group), z.wrapping_add((n - block * W) * group));
                // Mode 0 is its own mirror image.
                let first = if block == 0 { z } else { high };
                // SAFETY: the caller's promise.
                unsafe {
                    let (a, b) = (a.add(block * stride), b.add(block * stride));
                    let [sum, difference] = mirrored::<V, W>([low, first, high], count, [half, half]);
                    store_tile(sum, a);
                    store_tile(difference, b.add(W));
                    let imaginary = [low, first, high].map(|part| part.wrapping_add(W));
                    let [sum, difference] = mirrored::<V, W>(imaginary, count, [half, -half]);
                    store_tile(sum, b);
                    store_tile(difference, a.add(W));
                }
            }
        },
    );
}

/// Sums `f Z(m) + f Z(n - m)` and differences `g Z(n - m) - g Z(m)` of one part of a spectrum, zero from `count` on. `Z(m)`
/// ascends from `low`, `Z(n - m)` descends from `high`, except that the first is at `first`.
///
/// # Safety
///
/// The pointers are to parts of groups of a spectrum that holds all modes and images.
#[inline(always)]
unsafe fn mirrored<V: Lanes, const W: usize>(
    [mut low, first, mut high]: [*const V::Real; 3],
    count: usize,
    [f, g]: [V; 2],
) -> [[V; W]; 2] {
    let mut sums = [V::splat(V::Real::of(0.0)); W];
    let mut differences = sums;
    for (l, (sum, difference)) in sums.iter_mut().zip(&mut differences).enumerate() {
        if l < count {
            // SAFETY: the caller's promise.
            let (p, q) = unsafe { (V::load(low), V::load(if l == 0 { first } else { high })) };
            (*sum, *difference) = ((p + q) * f, (q - p) * g);
        }
        (low, high) = (low.wrapping_add(2 * W), high.wrapping_sub(2 * W));
    }
    [sums, differences]
}

/// One part of `W` consecutive groups, transposed: element `l` holds mode `l` of the `W` lines.
///
/// # Safety
///
/// `p` points to that part of `W` groups.
#[inline(always)]
unsafe fn load_tile<V: Lanes, const W: usize>(p: *const V::Real) -> [V; W] {
    let mut tile = [V::splat(V::Real::of(0.0)); W];
    let mut from = p;
    for x in &mut tile {
        // SAFETY: the caller's promise.
        *x = unsafe { V::load(from) };
        from = from.wrapping_add(2 * W);
    }
    V::transpose(&mut tile);
    tile
}

/// The inverse of [`load_tile`].
///
/// # Safety
///
/// As [`load_tile`].
#[inline(always)]
unsafe fn store_tile<V: Lanes, const W: usize>(mut tile: [V; W], p: *mut V::Real) {
    V::transpose(&mut tile);
    let mut to = p;
    for x in tile {
        // SAFETY: the caller's promise.
        unsafe { x.store(to) };
        to = to.wrapping_add(2 * W);
    }
}
