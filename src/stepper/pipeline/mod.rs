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

mod batch;
mod columns;
mod combine;
mod op;
mod rows;

use aligned_vec::AVec;

use self::batch::Batch;
use self::op::{AdjointOp, NonlinearOp, Op, ParameterOp, TangentOp};
use self::rows::Rows;
use super::tableau::Coefficients;
use super::team::{Shared, Worker};
use crate::field::Real;
use crate::pde::{MAX_SLOTS, Pde};
use crate::spectral::fft::{ColumnFft, LineFft};
use crate::spectral::layout::Layout;
use crate::spectral::simd::{Isa, Lanes};

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

/// Terms of the longest linear combination.
pub(super) const MAX_TERMS: usize = 6;

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

    /// Samples that [`Rhs::advance_bundle`] takes at once, 0 if it is not offered.
    fn bundle_size(&self) -> usize;

    /// Reals of memory for a bundle and a scheme of that many stages.
    fn bundle_memory_len(&self, stages: usize) -> usize;

    /// Advances a bundle of one-dimensional samples with lanes across samples (`batch.rs`).
    ///
    /// # Safety
    ///
    /// Nobody else touches the samples or the memory.
    unsafe fn advance_bundle(
        &self,
        samples: Shared<T>,
        steps: usize,
        coefficients: &Coefficients<T>,
        stages: usize,
        memory: Shared<T>,
    ) -> Option<(usize, usize)>;
}

/// Sizes that the kernels' loops need, in registers rather than behind the layout.
#[derive(Clone, Copy)]
struct Sizes {
    /// Number of outer axes.
    outer: usize,
    /// Points of the outer axes, 1 for an axis that the box does not have.
    n: [usize; 2],
    /// Retained rows of the outer axes.
    r: [usize; 2],
    /// Cut of the outer axes.
    cut: [usize; 2],
    /// Cut of the last axis.
    cut_last: usize,
    blocks: usize,
    channel_len: usize,
    block_len: usize,
    /// Rows of a plane.
    plane_rows: usize,
    /// Reals between the starts of two blocks of a plane: one group more than the rows, so that the blocks of one row do
    /// not all fall into the same cache set.
    plane_stride: usize,
    /// Reals of the plane of one field.
    plane_len: usize,
    /// Elements of a column buffer, long enough to be scratch too.
    column_len: usize,
    /// Factor of the forward transform, 1 over the points of the quadrature grid.
    scale: f64,
}

/// The kernels of one equation on one layout with vectors `V`.
pub(super) struct Pipeline<P: Pde, V: Lanes> {
    pde: P,
    layout: Layout,
    isa: Isa,
    sizes: Sizes,
    rows: Rows<V>,
    batch: Option<Batch<V>>,
    columns: Vec<ColumnFft<V>>,
    /// Wavenumbers of the last axis, one vector a block; zero above the cut.
    k_last: Vec<V>,
    /// Wavenumbers of the rows of the outer axes.
    k_outer: [Vec<V>; 2],
    /// `1 / |k|^2` of every group.
    inverse_k2: Vec<V>,
    forcing: Option<AVec<V::Real>>,
}

impl<P: Pde, V: Lanes> Pipeline<P, V> {
    /// Whether the vector has transforms of these lengths, and is not wasted on them: by lines too short for it, unless a
    /// batch of lines fills it.
    pub fn supports(quadrature: &[usize], batch: usize) -> bool {
        let (last, outer) = quadrature.split_last().expect("a grid has at least one axis");
        let lines = if outer.is_empty() { 1 } else { outer.iter().product() };
        let long_enough = V::WIDTH == 1 || *last >= 2 * V::WIDTH * V::WIDTH || (outer.is_empty() && batch >= V::WIDTH);
        let rows = (LineFft::<V>::supports(*last) && long_enough) || Rows::<V>::prefers_bundles(*last, lines);
        rows && outer.iter().all(|&n| ColumnFft::<V>::supports(n))
    }

    pub fn plan(pde: &P, layout: Layout, isa: Isa) -> Self {
        assert!(layout.width == V::WIDTH && P::FIELDS.max(P::PRODUCTS).max(P::CHANNELS) <= MAX_SLOTS);
        let outer = layout.outer_axes();
        let (last, lines) = (layout.quadrature[outer], layout.quadrature[..outer].iter().product::<usize>());
        let scale = 1.0 / (last * lines) as f64;
        let columns: Vec<_> = layout.quadrature[..outer].iter().map(|&n| ColumnFft::<V>::plan(n)).collect();
        let rows = if Rows::<V>::prefers_bundles(last, lines) {
            Rows::Bundles(ColumnFft::plan(last))
        } else {
            Rows::Lines(LineFft::plan(last, layout.cut[outer], scale))
        };
        let of_axis = |values: &[usize], default: usize| -> [usize; 2] {
            std::array::from_fn(|axis| if axis < outer { values[axis] } else { default })
        };
        let plane_stride = (lines + 1) * 2 * V::WIDTH;
        let sizes = Sizes {
            outer,
            n: of_axis(&layout.quadrature, 1),
            r: [layout.rows(0), layout.rows(1)],
            cut: of_axis(&layout.cut, 0),
            cut_last: layout.cut[outer],
            blocks: layout.blocks(),
            channel_len: layout.channel_len(),
            block_len: layout.block_len(),
            plane_rows: lines,
            plane_stride,
            plane_len: layout.blocks() * plane_stride,
            column_len: columns.iter().map(|fft| fft.len().max(fft.scratch_len())).max().unwrap_or(0),
            scale,
        };
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
        let batch = if outer == 0 { Batch::plan(last, cut, layout.grid.k_unit(0)) } else { None };
        Self { pde: pde.clone(), layout, isa, sizes, rows, batch, columns, k_last, k_outer, inverse_k2, forcing: None }
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
        let blocks = Layout::share(self.sizes.blocks, worker.index, worker.count);
        // SAFETY: a worker touches only its own blocks in the column stages and its own rows in the row stage, and the
        // barriers order the stages. The next evaluation starts with the blocks that this one ends with.
        unsafe {
            if O::FIELDS > 0 {
                for block in blocks.clone() {
                    self.columns_inverse(op, inputs, block, memory.planes, private);
                }
                worker.barrier();
                for task in Layout::share(self.row_tasks::<O>(), worker.index, worker.count) {
                    self.row_task(op, task, memory.planes, private);
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
        let row = self.rows.memory_len(fields, products);
        let private = if self.columns.is_empty() {
            (slots + P::CHANNELS) * self.sizes.channel_len + row
        } else {
            row.max(P::CHANNELS * self.sizes.block_len + (slots + 2) * self.sizes.column_len * 2 * V::WIDTH)
        };
        let planes = if self.columns.is_empty() { 0 } else { slots * self.sizes.plane_len };
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
        unsafe { combine::combine::<V>(out, offset, terms, conjugate) }
    }

    fn bundle_size(&self) -> usize {
        Self::bundle_size(self)
    }

    fn bundle_memory_len(&self, stages: usize) -> usize {
        Self::bundle_memory_len(self, stages)
    }

    unsafe fn advance_bundle(
        &self,
        samples: Shared<V::Real>,
        steps: usize,
        coefficients: &Coefficients<V::Real>,
        stages: usize,
        memory: Shared<V::Real>,
    ) -> Option<(usize, usize)> {
        // SAFETY: the caller's promise.
        unsafe { Self::advance_bundle(self, samples, steps, coefficients, stages, memory) }
    }
}
