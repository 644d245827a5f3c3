//! The fused pseudo-spectral evaluation `B P_K FFT p IFFT A` and its derivatives.
//!
//! Three stages, each a loop over independent pieces that the workers of a team share out:
//!
//! 1. *columns*: for each block of `W` last-axis modes build the field spectra (`A`) and transform them along the outer
//!    axes, `W` columns at once, into the planes;
//! 2. *rows*: for each point of the outer axes transform the fields' lines to physical space, form the products (`p`),
//!    and transform them back in place: physical fields exist only here, in the nearest cache;
//! 3. *columns*: for each block transform the products back, form the tendency (`B`) and hand the block to the `sink`,
//!    which does the stage update of the time stepper while the block is in cache.
//!
//! In one dimension there are no outer axes and everything happens in stage 2.

use aligned_vec::AVec;

use super::team::{Shared, Worker};
use crate::error::Result;
use crate::field::Real;
use crate::pde::{MAX_SLOTS, Pde, Wave};
use crate::spectral::fft::{ColumnFft, LineFft};
use crate::spectral::layout::Layout;
use crate::spectral::simd::{Complex, Isa, Lanes};

/// Upper bound of fields or products of an [`Op`]: a tangent or adjoint carries those of the state along.
const MAX: usize = 2 * MAX_SLOTS;

/// Which map of an equation is evaluated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Map {
    /// `N(u) + f` of `[u]`.
    Nonlinear,
    /// `DN(u) v` of `[u, v]`.
    Tangent,
    /// `DN(u)^T lambda` of `[u, lambda]`.
    Adjoint,
    /// `dN(u) / dp` of `[u]`.
    Parameter(usize),
}

/// Receives a finished piece: offset in the sample, values.
pub(super) type Sink<'a, T> = &'a (dyn Fn(usize, Shared<T>) + Sync);

/// Memory of one team for [`Rhs::evaluate`].
pub(super) struct Memory<T: Real> {
    planes: AVec<T>,
    private: Vec<AVec<T>>,
}

impl<T: Real> Memory<T> {
    /// Shares the memory among the workers.
    pub fn share(&mut self) -> SharedMemory<T> {
        SharedMemory {
            planes: Shared::new(&mut self.planes),
            private: self.private.iter_mut().map(|p| Shared::new(p)).collect(),
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.planes.len() + self.private.iter().map(|p| p.len()).sum::<usize>()) * size_of::<T>()
    }
}

/// [`Memory`] as the workers see it.
pub(super) struct SharedMemory<T> {
    planes: Shared<T>,
    private: Vec<Shared<T>>,
}

/// Diagonal multiplier, one value per stored mode.
#[derive(Clone)]
pub(super) enum Coefficient<T: Real> {
    /// Identity.
    One,
    /// Real values in groups of `W`.
    Real(AVec<T>),
    /// Complex values in groups of `W` real and `W` imaginary parts.
    Complex(AVec<T>),
}

/// One term of a linear combination: `coefficient * x`, or with the coefficient's conjugate.
#[derive(Clone, Copy)]
pub(super) struct Term<'a, T: Real> {
    pub coefficient: &'a Coefficient<T>,
    /// The piece of the operand that belongs to the range.
    pub x: Shared<T>,
}

/// A pipeline with its equation and vector type erased.
pub(super) trait Rhs<T: Real>: Send + Sync {
    fn layout(&self) -> &Layout;

    fn isa(&self) -> Isa;

    fn memory(&self, workers: usize) -> Memory<T>;

    /// Adds a steady field to `N`; a sample-shaped spectrum.
    fn set_forcing(&mut self, forcing: AVec<T>);

    /// Evaluates a map and hands every piece of the result to `sink`. Every worker of the team calls this.
    ///
    /// # Safety
    ///
    /// `inputs` are samples that nobody writes to before the sink is called, and the sink writes only to the range it
    /// was given.
    unsafe fn evaluate(
        &self,
        map: Map,
        inputs: [Shared<T>; 2],
        memory: &SharedMemory<T>,
        worker: &Worker,
        sink: Sink<T>,
    );

    /// Calls `piece(offset, len)` for the pieces of a sample that the worker owns: those it hands to the sink.
    fn for_each_owned(&self, worker: &Worker, piece: &mut dyn FnMut(usize, usize));

    /// `out = sum_j coefficient_j x_j` over the piece at `offset` of a sample; `conjugate` uses the conjugates.
    ///
    /// # Safety
    ///
    /// Nobody else touches `out`; the `x` have its length. `out` may be one of the `x`.
    unsafe fn combine(&self, out: Shared<T>, offset: usize, terms: &[Term<T>], conjugate: bool);
}

/// Counts and per-group maps of one [`Map`], resolved at compile time.
trait Op<P: Pde>: Copy + Send + Sync {
    const FIELDS: usize;
    const PRODUCTS: usize;
    const FORCED: bool = false;

    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], v: &[Complex<V>], fields: &mut [Complex<V>]);
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]);
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]);
    /// Whether the second input is read.
    const TWO_INPUTS: bool = false;
}

#[derive(Clone, Copy)]
struct NonlinearOp;
#[derive(Clone, Copy)]
struct TangentOp;
#[derive(Clone, Copy)]
struct AdjointOp;
#[derive(Clone, Copy)]
struct ParameterOp(usize);

impl<P: Pde> Op<P> for NonlinearOp {
    const FIELDS: usize = P::FIELDS;
    const PRODUCTS: usize = P::PRODUCTS;
    const FORCED: bool = true;

    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], _v: &[Complex<V>], fields: &mut [Complex<V>]) {
        pde.fields(wave, u, fields);
    }

    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        pde.products(fields, products);
    }

    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.tendency(wave, products, out);
    }
}

impl<P: Pde> Op<P> for TangentOp {
    const FIELDS: usize = 2 * P::FIELDS;
    const PRODUCTS: usize = P::PRODUCTS;
    const TWO_INPUTS: bool = true;

    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], v: &[Complex<V>], fields: &mut [Complex<V>]) {
        let (base, tangent) = fields.split_at_mut(P::FIELDS);
        pde.fields(wave, u, base);
        pde.fields(wave, v, tangent);
    }

    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        let (base, tangent) = fields.split_at(P::FIELDS);
        pde.products_jvp(base, tangent, products);
    }

    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.tendency(wave, products, out);
    }
}

impl<P: Pde> Op<P> for AdjointOp {
    const FIELDS: usize = P::FIELDS + P::PRODUCTS;
    const PRODUCTS: usize = P::FIELDS;
    const TWO_INPUTS: bool = true;

    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], v: &[Complex<V>], fields: &mut [Complex<V>]) {
        let (base, cotangent) = fields.split_at_mut(P::FIELDS);
        pde.fields(wave, u, base);
        pde.tendency_adjoint(wave, v, cotangent);
    }

    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        let (base, cotangent) = fields.split_at(P::FIELDS);
        pde.products_vjp(base, cotangent, products);
    }

    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.fields_adjoint(wave, products, out);
    }
}

impl<P: Pde> Op<P> for ParameterOp {
    const FIELDS: usize = P::FIELDS;
    const PRODUCTS: usize = P::PRODUCTS;

    #[inline(always)]
    fn build<V: Lanes>(self, pde: &P, wave: &Wave<V>, u: &[Complex<V>], _v: &[Complex<V>], fields: &mut [Complex<V>]) {
        pde.fields(wave, u, fields);
    }

    #[inline(always)]
    fn pointwise<V: Lanes>(self, pde: &P, fields: &[V], products: &mut [V]) {
        pde.products(fields, products);
    }

    #[inline(always)]
    fn finish<V: Lanes>(self, pde: &P, wave: &Wave<V>, products: &[Complex<V>], out: &mut [Complex<V>]) {
        pde.tendency_derivative(self.0, wave, products, out);
    }
}

/// The kernels of one equation on one layout with vectors `V`.
pub(super) struct Pipeline<P: Pde, V: Lanes> {
    pde: P,
    layout: Layout,
    isa: Isa,
    line: LineFft<V>,
    columns: Vec<ColumnFft<V>>,
    /// Whether [`ColumnFft`] leaves its result in the scratch (depends on the number of its passes).
    lands_in_scratch: Vec<bool>,
    /// Wavenumbers of the last axis, one vector a block; zero above the cut.
    k_last: Vec<V>,
    /// Wavenumbers of the rows of the outer axes.
    k_outer: [Vec<V>; 2],
    /// `1 / |k|^2` of every group.
    inverse_k2: Vec<V>,
    forcing: Option<AVec<V::Real>>,
}

/// Reals between the starts of two blocks of a plane: one group more than the rows, so that the blocks of one row do
/// not all fall into the same cache set.
fn plane_stride<V: Lanes>(rows: usize) -> usize {
    (rows + 1) * 2 * V::WIDTH
}

impl<P: Pde, V: Lanes> Pipeline<P, V> {
    /// Whether the vector has transforms of these lengths.
    pub fn supports(quadrature: &[usize]) -> bool {
        let (last, outer) = quadrature.split_last().expect("a grid has at least one axis");
        LineFft::<V>::supports(*last) && outer.iter().all(|&n| ColumnFft::<V>::supports(n))
    }

    pub fn plan(pde: &P, layout: Layout, isa: Isa) -> Result<Self> {
        assert!(layout.width == V::WIDTH && P::FIELDS.max(P::PRODUCTS).max(P::CHANNELS) <= MAX_SLOTS);
        let outer = layout.outer_axes();
        let points: usize = layout.quadrature.iter().product();
        let line = LineFft::plan(layout.quadrature[outer], layout.cut[outer], 1.0 / points as f64);
        let columns: Vec<_> = layout.quadrature[..outer].iter().map(|&n| ColumnFft::<V>::plan(n)).collect();
        let lands_in_scratch = columns
            .iter()
            .map(|fft| {
                let mut data = vec![Complex::zero(); fft.len()];
                let mut scratch = vec![Complex::zero(); fft.scratch_len()];
                let start = data.as_ptr();
                fft.inverse(&mut data, &mut scratch).as_ptr() != start
            })
            .collect();
        // Fills a vector lane by lane.
        let vector = |f: &dyn Fn(usize) -> f64| {
            let lanes: Vec<V::Real> = (0..V::WIDTH).map(|lane| V::Real::of(f(lane))).collect();
            // SAFETY: `lanes` holds W reals.
            unsafe { V::load(lanes.as_ptr()) }
        };
        let cut = layout.cut[outer];
        let k_last_at = |block: usize, lane: usize| {
            let m = block * V::WIDTH + lane;
            if m <= cut { m as f64 * layout.grid.k_unit(outer) } else { 0.0 }
        };
        let k_last = (0..layout.blocks()).map(|b| vector(&|lane| k_last_at(b, lane))).collect();
        let k_row = |axis: usize, row: usize| {
            if axis < outer { layout.row_mode(axis, row) as f64 * layout.grid.k_unit(axis) } else { 0.0 }
        };
        let k_outer = [0, 1].map(|axis| (0..layout.rows(axis)).map(|r| vector(&|_| k_row(axis, r))).collect());
        let mut inverse_k2 = Vec::with_capacity(layout.groups());
        for block in 0..layout.blocks() {
            for row0 in 0..layout.rows(0) {
                for row1 in 0..layout.rows(1) {
                    inverse_k2.push(vector(&|lane| {
                        let k2 = k_row(0, row0).powi(2) + k_row(1, row1).powi(2) + k_last_at(block, lane).powi(2);
                        if k2 == 0.0 || block * V::WIDTH + lane > cut { 0.0 } else { 1.0 / k2 }
                    }));
                }
            }
        }
        Ok(Self {
            pde: pde.clone(),
            layout,
            isa,
            line,
            columns,
            lands_in_scratch,
            k_last,
            k_outer,
            inverse_k2,
            forcing: None,
        })
    }

    /// Rows of the planes.
    fn plane_rows(&self) -> usize {
        self.layout.quadrature[..self.layout.outer_axes()].iter().product()
    }

    /// Reals of the plane of one field.
    fn plane_len(&self) -> usize {
        self.layout.blocks() * plane_stride::<V>(self.plane_rows())
    }

    /// Elements of a column buffer, long enough to be scratch too.
    fn column_len(&self) -> usize {
        self.columns.iter().map(|fft| fft.len().max(fft.scratch_len())).max().unwrap_or(0)
    }

    #[inline(always)]
    fn wave(&self, block: usize, row0: usize, row1: usize) -> Wave<V> {
        let group = (block * self.layout.rows(0) + row0) * self.layout.rows(1) + row1;
        let last = self.k_last[block];
        let k = match self.layout.outer_axes() {
            0 => [last, self.k_outer[0][0], self.k_outer[1][0]],
            1 => [self.k_outer[0][row0], last, self.k_outer[1][0]],
            _ => [self.k_outer[0][row0], self.k_outer[1][row1], last],
        };
        Wave { k, inverse_k2: self.inverse_k2[group] }
    }

    /// Row of the transform that holds a retained row of an outer axis.
    #[inline(always)]
    fn point_row(&self, axis: usize, row: usize) -> usize {
        if row <= self.layout.cut[axis] { row } else { self.layout.quadrature[axis] - (self.layout.rows(axis) - row) }
    }

    /// Loads the groups of both inputs, builds the fields and passes them on.
    ///
    /// # Safety
    ///
    /// Inputs are samples of this layout that nobody writes to meanwhile.
    #[inline(always)]
    unsafe fn build<O: Op<P>>(
        &self,
        op: O,
        inputs: [Shared<V::Real>; 2],
        (block, row0, row1): (usize, usize, usize),
    ) -> [Complex<V>; MAX] {
        let group = (block * self.layout.rows(0) + row0) * self.layout.rows(1) + row1;
        let channel = self.layout.channel_len();
        let mut u = [Complex::zero(); MAX_SLOTS];
        let mut v = [Complex::zero(); MAX_SLOTS];
        for c in 0..P::CHANNELS {
            // SAFETY: the group lies inside the sample.
            unsafe {
                u[c] = Complex::load(inputs[0].as_ptr().add(c * channel + group * 2 * V::WIDTH));
                if O::TWO_INPUTS {
                    v[c] = Complex::load(inputs[1].as_ptr().add(c * channel + group * 2 * V::WIDTH));
                }
            }
        }
        let mut fields = [Complex::zero(); MAX];
        let wave = self.wave(block, row0, row1);
        op.build(&self.pde, &wave, &u[..P::CHANNELS], &v[..P::CHANNELS], &mut fields[..O::FIELDS]);
        fields
    }

    /// Forms the tendency of one group and stores it with the forcing.
    ///
    /// # Safety
    ///
    /// `out` has `CHANNELS` pieces of `piece` reals, the group at offset `at` in each.
    #[inline(always)]
    unsafe fn finish<O: Op<P>>(
        &self,
        op: O,
        products: &[Complex<V>],
        (block, row0, row1): (usize, usize, usize),
        out: Shared<V::Real>,
        piece: usize,
        at: usize,
    ) {
        let group = (block * self.layout.rows(0) + row0) * self.layout.rows(1) + row1;
        let mut tendency = [Complex::zero(); MAX_SLOTS];
        let wave = self.wave(block, row0, row1);
        op.finish(&self.pde, &wave, &products[..O::PRODUCTS], &mut tendency[..P::CHANNELS]);
        for (c, value) in tendency[..P::CHANNELS].iter().enumerate() {
            let mut value = *value;
            // SAFETY: the caller's promise; the forcing is a sample.
            unsafe {
                if O::FORCED
                    && let Some(forcing) = &self.forcing
                {
                    let offset = c * self.layout.channel_len() + group * 2 * V::WIDTH;
                    value = value + Complex::load(forcing.as_ptr().add(offset));
                }
                value.store(out.as_ptr().add(c * piece + at));
            }
        }
    }

    /// Products of `points` physical values: `values` holds the fields' lines, then the products' lines.
    #[inline(always)]
    fn pointwise<O: Op<P>>(&self, op: O, values: Shared<V::Real>) {
        let n = self.line.len();
        assert!(values.len() >= (O::FIELDS + O::PRODUCTS) * n && n.is_multiple_of(V::WIDTH));
        V::vectorize(
            #[inline(always)]
            || {
                for j in (0..n).step_by(V::WIDTH) {
                    let mut fields = [V::splat(V::Real::of(0.0)); MAX];
                    let mut products = [V::splat(V::Real::of(0.0)); MAX];
                    // SAFETY: bounds were just checked.
                    unsafe {
                        for (f, field) in fields[..O::FIELDS].iter_mut().enumerate() {
                            *field = V::load(values.as_ptr().add(f * n + j));
                        }
                        op.pointwise(&self.pde, &fields[..O::FIELDS], &mut products[..O::PRODUCTS]);
                        for (p, product) in products[..O::PRODUCTS].iter().enumerate() {
                            product.store(values.as_ptr().add((O::FIELDS + p) * n + j));
                        }
                    }
                }
            },
        );
    }

    /// Stage 2 for one line: the half spectra at `half(slot)` become those of the products, in place.
    ///
    /// # Safety
    ///
    /// `half(slot)` points to the line's groups at `stride` for every field and product slot, and nobody else touches
    /// them.
    #[inline(always)]
    unsafe fn row<O: Op<P>>(
        &self,
        op: O,
        half: impl Fn(usize) -> *mut V::Real,
        stride: usize,
        private: Shared<V::Real>,
    ) {
        let n = self.line.len();
        let values = private.part(0, (O::FIELDS + O::PRODUCTS) * n);
        let scratch = private.part(values.len(), self.line.scratch_len());
        // SAFETY: the parts of `private` belong to this worker and are disjoint; the caller's promise for `half`.
        unsafe {
            for f in 0..O::FIELDS {
                self.line.inverse(half(f), stride, values.part(f * n, n).as_mut_slice(), scratch.as_mut_slice());
            }
            self.pointwise(op, values);
            for p in 0..O::PRODUCTS {
                let line = values.part((O::FIELDS + p) * n, n).as_mut_slice();
                self.line.forward(line, half(p), stride, scratch.as_mut_slice());
            }
        }
    }

    /// Everything for a box of one dimension.
    ///
    /// # Safety
    ///
    /// As [`Rhs::evaluate`].
    unsafe fn evaluate_line<O: Op<P>>(
        &self,
        op: O,
        inputs: [Shared<V::Real>; 2],
        private: Shared<V::Real>,
        sink: Sink<V::Real>,
    ) {
        let len = self.layout.channel_len();
        let slots = O::FIELDS.max(O::PRODUCTS);
        let halves = private.part(0, slots * len);
        let out = private.part(halves.len(), P::CHANNELS * len);
        let private = private.part(halves.len() + out.len(), private.len() - halves.len() - out.len());
        let group_len = 2 * V::WIDTH;
        // SAFETY: all parts are this worker's own; the caller's promise for the inputs.
        unsafe {
            if slots > 0 {
                V::vectorize(
                    #[inline(always)]
                    || {
                        for block in 0..self.layout.blocks() {
                            let fields = self.build(op, inputs, (block, 0, 0));
                            for (f, field) in fields[..O::FIELDS].iter().enumerate() {
                                field.store(halves.as_ptr().add(f * len + block * group_len));
                            }
                        }
                    },
                );
                self.row(op, |slot| halves.as_ptr().add(slot * len), group_len, private);
            }
            V::vectorize(
                #[inline(always)]
                || {
                    for block in 0..self.layout.blocks() {
                        let mut products = [Complex::zero(); MAX];
                        for (p, product) in products[..O::PRODUCTS].iter_mut().enumerate() {
                            *product = Complex::load(halves.as_ptr().add(p * len + block * group_len));
                        }
                        self.finish(op, &products, (block, 0, 0), out, len, block * group_len);
                    }
                },
            );
        }
        for c in 0..P::CHANNELS {
            sink(c * len, out.part(c * len, len));
        }
    }

    /// Stage 1 of one block.
    ///
    /// # Safety
    ///
    /// As [`Rhs::evaluate`]; the planes' block and `private` belong to this worker.
    unsafe fn columns_inverse<O: Op<P>>(
        &self,
        op: O,
        inputs: [Shared<V::Real>; 2],
        block: usize,
        planes: Shared<V::Real>,
        private: Shared<V::Real>,
    ) {
        let (r0, r1) = (self.layout.rows(0), self.layout.rows(1));
        let n0 = self.layout.quadrature[0];
        let n1 = if self.columns.len() == 2 { self.layout.quadrature[1] } else { 1 };
        let buffer_len = self.column_len();
        let buffer = |slot: usize| private.part(slot * buffer_len * 2 * V::WIDTH, buffer_len * 2 * V::WIDTH);
        let plane =
            |f: usize| planes.part(f * self.plane_len() + block * plane_stride::<V>(n0 * n1), n0 * n1 * 2 * V::WIDTH);
        // Where a column along axis 0 is built, so that the transform leaves it in the plane if that is contiguous.
        let in_place = n1 == 1 && !self.lands_in_scratch[0];
        let source = |f: usize| if in_place { plane(f) } else { buffer(f) };
        for row1 in 0..r1 {
            // SAFETY: sources are this worker's own; rows are within `n0`.
            unsafe {
                V::vectorize(
                    #[inline(always)]
                    || {
                        for f in 0..O::FIELDS {
                            for z in self.layout.cut[0] + 1..n0 - self.layout.cut[0] {
                                Complex::<V>::zero().store(source(f).as_ptr().add(z * 2 * V::WIDTH));
                            }
                        }
                        for row0 in 0..r0 {
                            let fields = self.build(op, inputs, (block, row0, row1));
                            let at = self.point_row(0, row0) * 2 * V::WIDTH;
                            for (f, field) in fields[..O::FIELDS].iter().enumerate() {
                                field.store(source(f).as_ptr().add(at));
                            }
                        }
                    },
                );
                for f in 0..O::FIELDS {
                    let data = complexes::<V>(source(f), n0);
                    if n1 == 1 {
                        let plane_is_scratch = !in_place && self.columns[0].scratch_len() <= n0;
                        let scratch = if plane_is_scratch { plane(f) } else { buffer(O::FIELDS) };
                        let column = self.columns[0].inverse(data, complexes(scratch, scratch.len() / (2 * V::WIDTH)));
                        if !in_place && !plane_is_scratch {
                            complexes::<V>(plane(f), n0).copy_from_slice(column);
                        }
                    } else {
                        let scratch = complexes(buffer(O::FIELDS), buffer_len);
                        let column = self.columns[0].inverse(data, scratch);
                        let rows = complexes::<V>(plane(f), n0 * n1);
                        let row = self.point_row(1, row1);
                        for (z, value) in column.iter().enumerate() {
                            rows[z * n1 + row] = *value;
                        }
                    }
                }
            }
        }
        if n1 > 1 {
            for f in 0..O::FIELDS {
                // SAFETY: the plane's block and the buffer are this worker's own.
                let (rows, scratch) = unsafe { (complexes::<V>(plane(f), n0 * n1), complexes(buffer(0), buffer_len)) };
                for row in rows.chunks_exact_mut(n1) {
                    row[self.layout.cut[1] + 1..n1 - self.layout.cut[1]].fill(Complex::zero());
                    if self.lands_in_scratch[1] {
                        let result: *const Complex<V> = self.columns[1].inverse(row, scratch).as_ptr();
                        // SAFETY: the result lies in the scratch, apart from the row.
                        row.copy_from_slice(unsafe { std::slice::from_raw_parts(result, n1) });
                    } else {
                        self.columns[1].inverse(row, scratch);
                    }
                }
            }
        }
    }

    /// Stage 3 of one block.
    ///
    /// # Safety
    ///
    /// As [`Rhs::evaluate`]; the planes' block and `private` belong to this worker.
    unsafe fn columns_forward<O: Op<P>>(
        &self,
        op: O,
        block: usize,
        planes: Shared<V::Real>,
        private: Shared<V::Real>,
        sink: Sink<V::Real>,
    ) {
        let (r0, r1) = (self.layout.rows(0), self.layout.rows(1));
        let n0 = self.layout.quadrature[0];
        let n1 = if self.columns.len() == 2 { self.layout.quadrature[1] } else { 1 };
        let block_len = self.layout.block_len();
        let out = private.part(0, P::CHANNELS * block_len);
        let private = private.part(out.len(), private.len() - out.len());
        let buffer_len = self.column_len();
        let buffer = |slot: usize| private.part(slot * buffer_len * 2 * V::WIDTH, buffer_len * 2 * V::WIDTH);
        let plane =
            |p: usize| planes.part(p * self.plane_len() + block * plane_stride::<V>(n0 * n1), n0 * n1 * 2 * V::WIDTH);
        if n1 > 1 {
            for p in 0..O::PRODUCTS {
                // SAFETY: the plane's block and the buffer are this worker's own.
                let (rows, scratch) = unsafe { (complexes::<V>(plane(p), n0 * n1), complexes(buffer(0), buffer_len)) };
                for row in rows.chunks_exact_mut(n1) {
                    if self.lands_in_scratch[1] {
                        let result: *const Complex<V> = self.columns[1].forward(row, scratch).as_ptr();
                        // SAFETY: the result lies in the scratch, apart from the row.
                        row.copy_from_slice(unsafe { std::slice::from_raw_parts(result, n1) });
                    } else {
                        self.columns[1].forward(row, scratch);
                    }
                }
            }
        }
        for row1 in 0..r1 {
            let mut columns = [std::ptr::null::<V::Real>(); MAX];
            // SAFETY: buffers and the plane's block are this worker's own.
            unsafe {
                for (p, column) in columns[..O::PRODUCTS].iter_mut().enumerate() {
                    let result = if n1 == 1 {
                        self.columns[0].forward(complexes(plane(p), n0), complexes(buffer(p), buffer_len))
                    } else {
                        let rows = complexes::<V>(plane(p), n0 * n1);
                        let data = complexes(buffer(p), n0);
                        let row = self.point_row(1, row1);
                        for (z, value) in data.iter_mut().enumerate() {
                            *value = rows[z * n1 + row];
                        }
                        self.columns[0].forward(data, complexes(buffer(O::PRODUCTS + p), buffer_len))
                    };
                    *column = result.as_ptr().cast();
                }
                V::vectorize(
                    #[inline(always)]
                    || {
                        for row0 in 0..r0 {
                            let at = self.point_row(0, row0) * 2 * V::WIDTH;
                            let mut products = [Complex::zero(); MAX];
                            for (p, product) in products[..O::PRODUCTS].iter_mut().enumerate() {
                                *product = Complex::load(columns[p].add(at));
                            }
                            let group = (row0 * r1 + row1) * 2 * V::WIDTH;
                            self.finish(op, &products, (block, row0, row1), out, block_len, group);
                        }
                    },
                );
            }
        }
        for c in 0..P::CHANNELS {
            sink(c * self.layout.channel_len() + block * block_len, out.part(c * block_len, block_len));
        }
    }

    /// # Safety
    ///
    /// As [`Rhs::evaluate`].
    unsafe fn evaluate_op<O: Op<P>>(
        &self,
        op: O,
        inputs: [Shared<V::Real>; 2],
        memory: &SharedMemory<V::Real>,
        worker: &Worker,
        sink: Sink<V::Real>,
    ) {
        let private = memory.private[worker.index];
        if self.columns.is_empty() {
            // A line is never shared by a team.
            if worker.index == 0 {
                // SAFETY: the caller's promise.
                unsafe { self.evaluate_line(op, inputs, private, sink) };
            }
            worker.barrier();
            return;
        }
        let blocks = Layout::share(self.layout.blocks(), worker.index, worker.count);
        let rows = Layout::share(self.plane_rows(), worker.index, worker.count);
        let stride = plane_stride::<V>(self.plane_rows());
        // SAFETY: a worker touches only its own blocks in the column stages and its own rows in the row stage, and the
        // barriers order the stages. The next evaluation starts with the blocks that this one ends with.
        unsafe {
            if O::FIELDS > 0 {
                for block in blocks.clone() {
                    self.columns_inverse(op, inputs, block, memory.planes, private);
                }
                worker.barrier();
                for row in rows {
                    let half = |slot: usize| memory.planes.as_ptr().add(slot * self.plane_len() + row * 2 * V::WIDTH);
                    self.row(op, half, stride, private);
                }
            }
            // Also the end of all reading of the inputs, which the sink may overwrite.
            worker.barrier();
            for block in blocks {
                self.columns_forward(op, block, memory.planes, private, sink);
            }
        }
    }
}

/// Memory of groups as a slice of lane complexes.
///
/// # Safety
///
/// As [`Shared::as_mut_slice`].
#[inline(always)]
unsafe fn complexes<'a, V: Lanes>(memory: Shared<V::Real>, len: usize) -> &'a mut [Complex<V>] {
    assert!(memory.len() >= len * 2 * V::WIDTH);
    // SAFETY: a complex over lanes is `2 W` reals in memory order; vector loads and stores of it need the alignment of
    // the allocation (128 bytes), which every group start has, since a group is `2 W` reals.
    unsafe { std::slice::from_raw_parts_mut(memory.as_ptr().cast(), len) }
}

impl<P: Pde, V: Lanes> Rhs<V::Real> for Pipeline<P, V> {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn isa(&self) -> Isa {
        self.isa
    }

    fn memory(&self, workers: usize) -> Memory<V::Real> {
        let fields = (2 * P::FIELDS).max(P::FIELDS + P::PRODUCTS);
        let products = P::PRODUCTS.max(P::FIELDS);
        let slots = fields.max(products);
        let n = self.line.len();
        let row = (fields + products) * n + self.line.scratch_len();
        let private = if self.columns.is_empty() {
            (slots + P::CHANNELS) * self.layout.channel_len() + row
        } else {
            let buffers = (fields + 1).max(2 * products) * self.column_len() * 2 * V::WIDTH;
            row.max(P::CHANNELS * self.layout.block_len() + buffers)
        };
        let planes = if self.columns.is_empty() { 0 } else { slots * self.plane_len() };
        let zeros = |len: usize| AVec::from_iter(128, std::iter::repeat_n(V::Real::of(0.0), len));
        Memory { planes: zeros(planes), private: (0..workers).map(|_| zeros(private)).collect() }
    }

    fn set_forcing(&mut self, forcing: AVec<V::Real>) {
        assert_eq!(forcing.len(), self.layout.sample_len());
        self.forcing = Some(forcing);
    }

    unsafe fn evaluate(
        &self,
        map: Map,
        inputs: [Shared<V::Real>; 2],
        memory: &SharedMemory<V::Real>,
        worker: &Worker,
        sink: Sink<V::Real>,
    ) {
        assert!(inputs.iter().all(|x| x.len() == self.layout.sample_len()));
        // SAFETY: the caller's promise.
        unsafe {
            match map {
                Map::Nonlinear => self.evaluate_op(NonlinearOp, inputs, memory, worker, sink),
                Map::Tangent => self.evaluate_op(TangentOp, inputs, memory, worker, sink),
                Map::Adjoint => self.evaluate_op(AdjointOp, inputs, memory, worker, sink),
                Map::Parameter(p) => self.evaluate_op(ParameterOp(p), inputs, memory, worker, sink),
            }
        }
    }

    fn for_each_owned(&self, worker: &Worker, piece: &mut dyn FnMut(usize, usize)) {
        let (len, block_len) = (self.layout.channel_len(), self.layout.block_len());
        for c in 0..P::CHANNELS {
            if self.columns.is_empty() {
                if worker.index == 0 {
                    piece(c * len, len);
                }
            } else {
                for block in Layout::share(self.layout.blocks(), worker.index, worker.count) {
                    piece(c * len + block * block_len, block_len);
                }
            }
        }
    }

    unsafe fn combine(&self, out: Shared<V::Real>, offset: usize, terms: &[Term<V::Real>], conjugate: bool) {
        // SAFETY: the caller's promise.
        unsafe { combine::<V>(out, offset, terms, conjugate) }
    }
}

/// See [`Rhs::combine`].
///
/// # Safety
///
/// As [`Rhs::combine`].
unsafe fn combine<V: Lanes>(out: Shared<V::Real>, offset: usize, terms: &[Term<V::Real>], conjugate: bool) {
    let group = 2 * V::WIDTH;
    let groups = out.len() / group;
    assert!(terms.iter().all(|t| t.x.len() == out.len()));
    let mut reals = [(std::ptr::null::<V::Real>(), std::ptr::null::<V::Real>()); MAX_TERMS];
    let mut count = 0;
    let all_real = terms.iter().all(|t| matches!(t.coefficient, Coefficient::Real(_)));
    if all_real {
        for term in terms {
            if let Coefficient::Real(c) = term.coefficient {
                assert!(offset / 2 + out.len() / 2 <= c.len());
                // SAFETY: just checked.
                reals[count] = (unsafe { c.as_ptr().add(offset / 2) }, term.x.as_ptr().cast_const());
                count += 1;
            }
        }
        // SAFETY: all pointers are valid for `groups` groups.
        unsafe {
            match count {
                1 => combine_real::<V, 1>(out.as_ptr(), &reals, groups),
                2 => combine_real::<V, 2>(out.as_ptr(), &reals, groups),
                3 => combine_real::<V, 3>(out.as_ptr(), &reals, groups),
                4 => combine_real::<V, 4>(out.as_ptr(), &reals, groups),
                5 => combine_real::<V, 5>(out.as_ptr(), &reals, groups),
                6 => combine_real::<V, 6>(out.as_ptr(), &reals, groups),
                _ => unreachable!("a scheme has at most 6 terms"),
            }
        }
        return;
    }
    V::vectorize(
        #[inline(always)]
        || {
            let sign = V::splat(V::Real::of(if conjugate { -1.0 } else { 1.0 }));
            for g in 0..groups {
                let mut sum = Complex::<V>::zero();
                for term in terms {
                    // SAFETY: lengths were checked; coefficients cover the sample.
                    unsafe {
                        let x = Complex::<V>::load(term.x.as_ptr().add(g * group));
                        sum = match term.coefficient {
                            Coefficient::One => sum + x,
                            Coefficient::Real(c) => {
                                sum.add_scaled(V::load(c.as_ptr().add(offset / 2 + g * V::WIDTH)), x)
                            }
                            Coefficient::Complex(c) => {
                                let c = Complex::<V>::load(c.as_ptr().add(offset + g * group));
                                sum.add_product(Complex::new(c.re, c.im * sign), x)
                            }
                        };
                    }
                }
                // SAFETY: as above.
                unsafe { sum.store(out.as_ptr().add(g * group)) };
            }
        },
    );
}

/// Terms of the longest linear combination.
const MAX_TERMS: usize = 6;

/// # Safety
///
/// The first `N` pairs point to `groups` groups of coefficients (`W` reals) and operands (`2 W` reals).
unsafe fn combine_real<V: Lanes, const N: usize>(
    out: *mut V::Real,
    terms: &[(*const V::Real, *const V::Real); MAX_TERMS],
    groups: usize,
) {
    V::vectorize(
        #[inline(always)]
        || {
            for g in 0..groups {
                let mut sum = Complex::<V>::zero();
                for (c, x) in &terms[..N] {
                    // SAFETY: the caller's promise.
                    unsafe {
                        let x = Complex::<V>::load(x.add(g * 2 * V::WIDTH));
                        sum = sum.add_scaled(V::load(c.add(g * V::WIDTH)), x);
                    }
                }
                // SAFETY: the caller's promise.
                unsafe { sum.store(out.add(g * 2 * V::WIDTH)) };
            }
        },
    );
}
