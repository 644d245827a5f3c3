//! Stages 1 and 3: modes to fields along the outer axes, and products back to modes.

use super::super::team::Shared;
use super::op::Op;
use super::{MAX, Pipeline, Sink};
use crate::pde::{MAX_SLOTS, Pde, Wave};
use crate::spectral::simd::{Complex, Lanes};

/// Memory of groups as a slice of lane complexes.
///
/// # Safety
///
/// As [`Shared::as_mut_slice`].
#[inline(always)]
pub(super) unsafe fn complexes<'a, V: Lanes>(memory: Shared<V::Real>, len: usize) -> &'a mut [Complex<V>] {
    assert!(memory.len() >= len * 2 * V::WIDTH);
    // SAFETY: a complex over lanes is `2 W` reals in memory order, and every group starts at a multiple of `2 W` reals in
    // memory that is aligned to more than a vector.
    unsafe { std::slice::from_raw_parts_mut(memory.as_ptr().cast(), len) }
}

/// A group: block of the last axis, rows of the two outer axes.
pub(super) type Group = (usize, usize, usize);

impl<P: Pde, V: Lanes> Pipeline<P, V> {
    #[inline(always)]
    fn wave(&self, (block, row0, row1): Group, group: usize) -> Wave<V> {
        // SAFETY: the tables hold every block, row and group.
        unsafe {
            let last = *self.k_last.get_unchecked(block);
            let [k0, k1] = [*self.k_outer[0].get_unchecked(row0), *self.k_outer[1].get_unchecked(row1)];
            let k = match self.sizes.outer {
                0 => [last, k0, k1],
                1 => [k0, last, k1],
                _ => [k0, k1, last],
            };
            Wave { k, inverse_k2: *self.inverse_k2.get_unchecked(group) }
        }
    }

    /// Loads one group of both inputs and builds the fields.
    ///
    /// # Safety
    ///
    /// Inputs are samples of this layout that nobody writes to meanwhile.
    #[inline(always)]
    pub(super) unsafe fn build<O: Op<P>>(&self, op: O, inputs: [Shared<V::Real>; 2], at: Group) -> [Complex<V>; MAX] {
        let group = (at.0 * self.sizes.r[0] + at.1) * self.sizes.r[1] + at.2;
        let mut u = [Complex::zero(); MAX_SLOTS];
        let mut v = [Complex::zero(); MAX_SLOTS];
        for c in 0..P::CHANNELS {
            let offset = c * self.sizes.channel_len + group * 2 * V::WIDTH;
            // SAFETY: the group lies inside the sample.
            unsafe {
                u[c] = Complex::load(inputs[0].as_ptr().add(offset));
                if O::TWO_INPUTS {
                    v[c] = Complex::load(inputs[1].as_ptr().add(offset));
                }
            }
        }
        let mut fields = [Complex::zero(); MAX];
        let wave = self.wave(at, group);
        op.build(&self.pde, &wave, &u[..P::CHANNELS], &v[..P::CHANNELS], &mut fields[..O::FIELDS]);
        fields
    }

    /// Forms the tendency of one group and stores it with the forcing.
    ///
    /// # Safety
    ///
    /// `out` has `CHANNELS` pieces of `piece` reals, the group at `offset` in each.
    #[inline(always)]
    pub(super) unsafe fn finish<O: Op<P>>(
        &self,
        op: O,
        products: &[Complex<V>],
        at: Group,
        out: *mut V::Real,
        piece: usize,
        offset: usize,
    ) {
        let group = (at.0 * self.sizes.r[0] + at.1) * self.sizes.r[1] + at.2;
        let mut tendency = [Complex::zero(); MAX_SLOTS];
        let wave = self.wave(at, group);
        op.finish(&self.pde, &wave, &products[..O::PRODUCTS], &mut tendency[..P::CHANNELS]);
        for (c, value) in tendency[..P::CHANNELS].iter().enumerate() {
            let mut value = *value;
            // SAFETY: the caller's promise; the forcing is a sample.
            unsafe {
                if O::FORCED
                    && let Some(forcing) = &self.forcing
                {
                    let offset = c * self.sizes.channel_len + group * 2 * V::WIDTH;
                    value = value + Complex::load(forcing.as_ptr().add(offset));
                }
                value.store(out.add(c * piece + offset));
            }
        }
    }

    /// Row of the transform that holds a retained row of an outer axis.
    #[inline(always)]
    fn point_row(&self, axis: usize, row: usize) -> usize {
        let sizes = &self.sizes;
        if row <= sizes.cut[axis] { row } else { sizes.n[axis] - (sizes.r[axis] - row) }
    }

    /// Rows of an outer axis that hold no mode.
    fn empty_rows(&self, axis: usize) -> std::ops::Range<usize> {
        self.sizes.cut[axis] + 1..self.sizes.n[axis] - self.sizes.cut[axis]
    }

    /// Block of a plane.
    fn plane_block(&self, planes: Shared<V::Real>, slot: usize, block: usize) -> Shared<V::Real> {
        let start = slot * self.sizes.plane_len + block * self.sizes.plane_stride;
        planes.part(start, self.sizes.plane_rows * 2 * V::WIDTH)
    }

    /// Stage 1 of one block.
    ///
    /// # Safety
    ///
    /// As [`super::Rhs::evaluate`]; the planes' block and `private` belong to this worker.
    pub(super) unsafe fn columns_inverse<O: Op<P>>(
        &self,
        op: O,
        inputs: [Shared<V::Real>; 2],
        block: usize,
        planes: Shared<V::Real>,
        private: Shared<V::Real>,
    ) {
        let sizes = self.sizes;
        let ([n0, n1], [r0, r1]) = (sizes.n, sizes.r);
        let buffer =
            |slot: usize| private.part(slot * sizes.column_len * 2 * V::WIDTH, sizes.column_len * 2 * V::WIDTH);
        // SAFETY: buffers and the planes' block are this worker's own.
        let (scratch, empty) = unsafe { (complexes::<V>(buffer(O::FIELDS), sizes.column_len), self.empty_rows(0)) };
        let first: [*mut V::Real; MAX] = std::array::from_fn(|f| buffer(f.min(O::FIELDS)).as_ptr());
        for row1 in 0..r1 {
            // SAFETY: as above; rows are within `n0`.
            unsafe {
                V::vectorize(
                    #[inline(always)]
                    || {
                        for start in &first[..O::FIELDS] {
                            for z in empty.clone() {
                                Complex::<V>::zero().store(start.add(z * 2 * V::WIDTH));
                            }
                        }
                        for row0 in 0..r0 {
                            let fields = self.build(op, inputs, (block, row0, row1));
                            let at = self.point_row(0, row0) * 2 * V::WIDTH;
                            for (f, field) in fields[..O::FIELDS].iter().enumerate() {
                                field.store(first[f].add(at));
                            }
                        }
                    },
                );
                for f in 0..O::FIELDS {
                    let column = complexes::<V>(buffer(f), n0);
                    let plane = complexes::<V>(self.plane_block(planes, f, block), sizes.plane_rows);
                    if sizes.outer == 1 {
                        self.columns[0].inverse(column, plane, scratch);
                    } else {
                        let out = complexes::<V>(buffer(O::FIELDS + 1), n0);
                        self.columns[0].inverse(column, out, scratch);
                        let row = self.point_row(1, row1);
                        for (z, value) in out.iter().enumerate() {
                            plane[z * n1 + row] = *value;
                        }
                    }
                }
            }
        }
        if sizes.outer == 2 {
            // SAFETY: as above.
            let copy = unsafe { complexes::<V>(buffer(0), n1) };
            for f in 0..O::FIELDS {
                // SAFETY: as above.
                let plane = unsafe { complexes::<V>(self.plane_block(planes, f, block), sizes.plane_rows) };
                for row in plane.chunks_exact_mut(n1) {
                    row[self.empty_rows(1)].fill(Complex::zero());
                    copy.copy_from_slice(row);
                    self.columns[1].inverse(copy, row, scratch);
                }
            }
        }
    }

    /// Stage 3 of one block.
    ///
    /// # Safety
    ///
    /// As [`super::Rhs::evaluate`]; the planes' block and `private` belong to this worker.
    pub(super) unsafe fn columns_forward<O: Op<P>>(
        &self,
        op: O,
        block: usize,
        planes: Shared<V::Real>,
        private: Shared<V::Real>,
        sink: Sink<V::Real>,
    ) {
        let sizes = self.sizes;
        let ([n0, n1], [r0, r1]) = (sizes.n, sizes.r);
        let out = private.part(0, P::CHANNELS * sizes.block_len);
        let private = private.part(out.len(), private.len() - out.len());
        let buffer =
            |slot: usize| private.part(slot * sizes.column_len * 2 * V::WIDTH, sizes.column_len * 2 * V::WIDTH);
        // SAFETY: buffers and the planes' block are this worker's own.
        let scratch = unsafe { complexes::<V>(buffer(O::PRODUCTS), sizes.column_len) };
        if sizes.outer == 2 {
            // SAFETY: as above.
            let copy = unsafe { complexes::<V>(buffer(0), n1) };
            for p in 0..O::PRODUCTS {
                // SAFETY: as above.
                let plane = unsafe { complexes::<V>(self.plane_block(planes, p, block), sizes.plane_rows) };
                for row in plane.chunks_exact_mut(n1) {
                    copy.copy_from_slice(row);
                    self.columns[1].forward(copy, row, scratch);
                }
            }
        }
        let columns: [*const V::Real; MAX] = std::array::from_fn(|p| buffer(p.min(O::PRODUCTS)).as_ptr().cast_const());
        for row1 in 0..r1 {
            // SAFETY: as above.
            unsafe {
                for p in 0..O::PRODUCTS {
                    let plane = complexes::<V>(self.plane_block(planes, p, block), sizes.plane_rows);
                    let column = complexes::<V>(buffer(p), n0);
                    if sizes.outer == 1 {
                        self.columns[0].forward(plane, column, scratch);
                    } else {
                        let gathered = complexes::<V>(buffer(O::PRODUCTS + 1), n0);
                        let row = self.point_row(1, row1);
                        for (z, value) in gathered.iter_mut().enumerate() {
                            *value = plane[z * n1 + row];
                        }
                        self.columns[0].forward(gathered, column, scratch);
                    }
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
                            let offset = (row0 * r1 + row1) * 2 * V::WIDTH;
                            self.finish(op, &products, (block, row0, row1), out.as_ptr(), sizes.block_len, offset);
                        }
                    },
                );
            }
        }
        for c in 0..P::CHANNELS {
            sink(c * sizes.channel_len + block * sizes.block_len, out.part(c * sizes.block_len, sizes.block_len));
        }
    }
}
