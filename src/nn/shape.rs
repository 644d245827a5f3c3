//! Operations that move values without changing them.
//!
//! Each is a list of blocks that are copied from an input to the output. The adjoint copies the blocks back.

use std::ops::Range;

use super::kernel::expect_shape;
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stepper::team::Shared;

/// Records the arrays one after the other along `axis`; all other axes must agree.
///
/// # Errors
///
/// [`Error::Parameter`] if there is no array or no such axis; [`Error::Shape`] if another axis differs.
pub fn concatenate<T: Real>(tape: &mut Tape<T>, inputs: &[Var], axis: usize) -> Result<Var> {
    let shapes: Vec<&[usize]> = inputs.iter().map(|&x| tape.shape(x)).collect();
    let operation = concatenation(&shapes, axis)?;
    tape.apply(operation, inputs)
}

/// Records the part `ranges[axis]` of every axis.
///
/// # Errors
///
/// [`Error::Shape`] unless there is one range an axis; [`Error::Parameter`] if one reaches beyond its axis.
pub fn slice<T: Real>(tape: &mut Tape<T>, x: Var, ranges: &[Range<usize>]) -> Result<Var> {
    let operation = part(tape.shape(x), ranges)?;
    tape.apply(operation, &[x])
}

/// Records `x` with `widths[axis] = [before, after]` zeros added at the ends of every axis.
///
/// # Errors
///
/// [`Error::Shape`] unless there is one pair an axis.
pub fn pad<T: Real>(tape: &mut Tape<T>, x: Var, widths: &[[usize; 2]]) -> Result<Var> {
    let operation = padding(tape.shape(x), widths)?;
    tape.apply(operation, &[x])
}

/// Records the periodic shift `y_(i + s) = x_i` by `shifts[axis]` points along every axis.
///
/// # Errors
///
/// [`Error::Shape`] unless there is one shift an axis.
pub fn roll<T: Real>(tape: &mut Tape<T>, x: Var, shifts: &[isize]) -> Result<Var> {
    let operation = rotation(tape.shape(x), shifts)?;
    tape.apply(operation, &[x])
}

/// Records the same values in row-major order with another shape.
///
/// # Errors
///
/// [`Error::Shape`] if the number of values differs.
pub fn reshape<T: Real>(tape: &mut Tape<T>, x: Var, shape: &[usize]) -> Result<Var> {
    let operation = reshaping(tape.shape(x), shape)?;
    tape.apply(operation, &[x])
}

/// Records `x` with its axes in another order: axis `i` of the result is axis `order[i]` of `x`.
///
/// # Errors
///
/// [`Error::Parameter`] unless `order` names every axis once.
pub fn permute<T: Real>(tape: &mut Tape<T>, x: Var, order: &[usize]) -> Result<Var> {
    let operation = permutation(tape.shape(x), order)?;
    tape.apply(operation, &[x])
}

fn concatenation(shapes: &[&[usize]], axis: usize) -> Result<Rearrange> {
    let first = *shapes.first().ok_or_else(|| Error::parameter("inputs", 0, "must be at least one array"))?;
    if axis >= first.len() {
        return Err(Error::parameter("axis", axis, format!("must be an axis of {first:?}")));
    }
    let mut total = first.to_vec();
    total[axis] = 0;
    for shape in shapes {
        let mut expected = first.to_vec();
        if shape.len() == first.len() {
            expected[axis] = shape[axis];
        }
        expect_shape("concatenate", &expected, shape)?;
        total[axis] += shape[axis];
    }
    let strides = row_major(&total);
    let mut start = 0;
    let mut blocks = Vec::new();
    for (input, shape) in shapes.iter().enumerate() {
        blocks.push(Block::new(input, shape, (0, row_major(shape)), (start * strides[axis], strides.clone())));
        start += shape[axis];
    }
    Ok(Rearrange::new("concatenate", shapes, total, blocks))
}

fn part(shape: &[usize], ranges: &[Range<usize>]) -> Result<Rearrange> {
    one_an_axis("ranges", shape, ranges.len())?;
    if let Some((range, &n)) = ranges.iter().zip(shape).find(|(r, n)| r.start > r.end || r.end > **n) {
        return Err(Error::parameter("range", format!("{range:?}"), format!("must lie in 0..{n}, of {shape:?}")));
    }
    let extents: Vec<usize> = ranges.iter().map(ExactSizeIterator::len).collect();
    let strides = row_major(shape);
    let offset = ranges.iter().zip(&strides).map(|(r, s)| r.start * s).sum();
    let block = Block::new(0, &extents, (offset, strides), (0, row_major(&extents)));
    Ok(Rearrange::new("slice", &[shape], extents, vec![block]))
}

fn padding(shape: &[usize], widths: &[[usize; 2]]) -> Result<Rearrange> {
    one_an_axis("widths", shape, widths.len())?;
    let padded: Vec<usize> = shape.iter().zip(widths).map(|(n, [before, after])| before + n + after).collect();
    let strides = row_major(&padded);
    let offset = widths.iter().zip(&strides).map(|([before, _], s)| before * s).sum();
    let block = Block::new(0, shape, (0, row_major(shape)), (offset, strides));
    Ok(Rearrange::new("pad", &[shape], padded, vec![block]))
}

fn rotation(shape: &[usize], shifts: &[isize]) -> Result<Rearrange> {
    one_an_axis("shifts", shape, shifts.len())?;
    let strides = row_major(shape);
    // Each shifted axis cuts every block in two: what moves up, and what comes in again from below.
    let mut blocks = vec![Block::new(0, shape, (0, strides.clone()), (0, strides.clone()))];
    for (axis, (&n, &shift)) in shape.iter().zip(shifts).enumerate().filter(|(_, (n, _))| **n > 0) {
        let shift = shift.rem_euclid(n as isize) as usize;
        let halves = |block: Block| {
            let [mut up, mut down] = [block.clone(), block];
            (up.extents[axis], down.extents[axis]) = (n - shift, shift);
            up.to.0 += shift * strides[axis];
            down.from.0 += (n - shift) * strides[axis];
            [up, down]
        };
        blocks = blocks.into_iter().flat_map(halves).filter(|block| block.len() > 0).collect();
    }
    Ok(Rearrange::new("roll", &[shape], shape.to_vec(), blocks))
}

fn reshaping(from: &[usize], to: &[usize]) -> Result<Rearrange> {
    let len: usize = from.iter().product();
    if len != to.iter().product::<usize>() {
        return Err(Error::shape("reshape", to, from));
    }
    Ok(Rearrange::new("reshape", &[from], to.to_vec(), vec![Block::new(0, &[len], (0, vec![1]), (0, vec![1]))]))
}

fn permutation(shape: &[usize], order: &[usize]) -> Result<Rearrange> {
    let mut sorted = order.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..shape.len()) {
        let rule = format!("must name every axis of {shape:?} once");
        return Err(Error::parameter("order", format!("{order:?}"), rule));
    }
    let strides = row_major(shape);
    let permuted = |values: &[usize]| order.iter().map(|&axis| values[axis]).collect::<Vec<_>>();
    let extents = permuted(shape);
    let block = Block::new(0, &extents, (0, permuted(&strides)), (0, row_major(&extents)));
    Ok(Rearrange::new("permute", &[shape], extents, vec![block]))
}

fn one_an_axis(what: &str, shape: &[usize], count: usize) -> Result<()> {
    if shape.len() == count { Ok(()) } else { Err(Error::shape(what, &[shape.len()], &[count])) }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Output of zeros with blocks of the inputs in it.
struct Rearrange {
    name: &'static str,
    inputs: Vec<Vec<usize>>,
    output: Vec<usize>,
    blocks: Vec<Block>,
    /// Whether the blocks fill the output, and each input.
    covers: (bool, Vec<bool>),
}

impl Rearrange {
    fn new(name: &'static str, inputs: &[&[usize]], output: Vec<usize>, blocks: Vec<Block>) -> Self {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        let of_input = |i: usize| blocks.iter().filter(|b| b.input == i).map(Block::len).sum::<usize>();
        let covers = (
            blocks.iter().map(Block::len).sum::<usize>() == count(&output),
            inputs.iter().enumerate().map(|(i, shape)| of_input(i) == count(shape)).collect(),
        );
        let blocks = blocks.into_iter().map(Block::merged).collect();
        Self { name, inputs: inputs.iter().map(|shape| shape.to_vec()).collect(), output, blocks, covers }
    }
}

impl<T: Real> Operation<T> for Rearrange {
    fn name(&self) -> &'static str {
        self.name
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        for (expected, got) in self.inputs.iter().zip(inputs) {
            expect_shape(self.name, expected, got)?;
        }
        Ok(self.output.clone())
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        if !self.covers.0 {
            output.fill(T::zero());
        }
        for block in &self.blocks {
            block.copy(workers, inputs[block.input].values, output, false);
        }
    }
    fn vjp(&self, workers: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        for (i, input) in inputs.iter_mut().enumerate() {
            let Some(input) = input.take() else { continue };
            let (values, add) = if self.covers.1[i] {
                let (values, weight) = input.target();
                (values, weight != T::zero())
            } else {
                (input.add(), true)
            };
            for block in self.blocks.iter().filter(|block| block.input == i) {
                block.reversed().copy(workers, cotangent, values, add);
            }
        }
    }
    fn jvp(&self, workers: &Workers<T>, _: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        output.fill(T::zero());
        for block in &self.blocks {
            if let Some(tangent) = tangents[block.input] {
                block.copy(workers, tangent, output, false);
            }
        }
        true
    }
}

/// Values that are copied by a thread at a time.
const PIECE: usize = 1 << 14;

/// Side of the tiles of a transposition: both sides of a tile stay in the first-level cache.
const TILE: usize = 16;

/// A box of values in one array that goes to a box of the same extents in another; offsets and strides of both.
#[derive(Clone)]
struct Block {
    input: usize,
    extents: Vec<usize>,
    from: (usize, Vec<usize>),
    to: (usize, Vec<usize>),
}

impl Block {
    fn new(input: usize, extents: &[usize], from: (usize, Vec<usize>), to: (usize, Vec<usize>)) -> Self {
        Self { input, extents: extents.to_vec(), from, to }
    }

    fn len(&self) -> usize {
        self.extents.iter().product()
    }

    fn reversed(&self) -> Self {
        Self { from: self.to.clone(), to: self.from.clone(), ..self.clone() }
    }

    /// The same block with as few axes as possible: neighbours that are contiguous on both sides are one.
    fn merged(self) -> Self {
        let mut merged =
            Self { extents: Vec::new(), from: (self.from.0, Vec::new()), to: (self.to.0, Vec::new()), ..self };
        let axes = self.extents.iter().zip(self.from.1.iter().zip(&self.to.1));
        for (&n, (&from, &to)) in axes.filter(|(n, _)| **n != 1) {
            match (merged.extents.last_mut(), merged.from.1.last_mut(), merged.to.1.last_mut()) {
                (Some(outer), Some(f), Some(t)) if *f == n * from && *t == n * to => {
                    (*outer, *f, *t) = (*outer * n, from, to);
                }
                _ => {
                    merged.extents.push(n);
                    merged.from.1.push(from);
                    merged.to.1.push(to);
                }
            }
        }
        merged
    }

    /// Copies the block, or adds it to what is there if `add`.
    fn copy<T: Real>(&self, workers: &Workers<T>, from: &[T], to: &mut [T], add: bool) {
        if self.len() == 0 {
            return;
        }
        let plan = Loops::new(self);
        let to = Shared::new(to);
        workers.tiles(plan.outer.iter().map(|axis| axis.0).product::<usize>() * plan.pieces, 0, |index, _| {
            let (mut rest, piece) = (index / plan.pieces, index % plan.pieces);
            let (mut f, mut t) = (self.from.0, self.to.0);
            for &(n, from, to) in plan.outer.iter().rev() {
                f += rest % n * from;
                t += rest % n * to;
                rest /= n;
            }
            // SAFETY: the tiles write to different places of the block.
            unsafe { plan.copy(piece, (from, f), (to, t), add) };
        });
    }
}

/// The loops of a copy: threads share the outer ones and the pieces of the rows.
struct Loops {
    /// Extent and strides.
    outer: Vec<(usize, usize, usize)>,
    rows: (usize, usize, usize),
    columns: (usize, usize, usize),
    /// Rows in a piece, and pieces.
    rows_in_piece: usize,
    pieces: usize,
}

impl Loops {
    fn new(block: &Block) -> Self {
        let strides = block.from.1.iter().zip(&block.to.1);
        let mut axes: Vec<_> = block.extents.iter().zip(strides).map(|(&n, (&f, &t))| (n, f, t)).collect();
        // Columns are contiguous in the result, rows, if possible, in the source.
        let mut take = |key: fn(&(usize, usize, usize)) -> usize| {
            let best = axes.iter().enumerate().min_by_key(|(_, axis)| key(axis)).map(|(i, _)| i);
            best.map_or((1, 0, 0), |i| axes.remove(i))
        };
        let columns = take(|axis| axis.2);
        let rows = take(|axis| axis.1);
        let rows_in_piece = (PIECE / columns.0).clamp(1, rows.0);
        Self { outer: axes, rows, columns, rows_in_piece, pieces: rows.0.div_ceil(rows_in_piece) }
    }

    /// # Safety
    ///
    /// Nobody else touches this piece of the block in `to`.
    unsafe fn copy<T: Real>(&self, piece: usize, from: (&[T], usize), to: (Shared<T>, usize), add: bool) {
        let rows = piece * self.rows_in_piece..self.rows.0.min((piece + 1) * self.rows_in_piece);
        let line = |row: usize, columns: Range<usize>| {
            let f = from.1 + row * self.rows.1 + columns.start * self.columns.1;
            let t = to.1 + row * self.rows.2 + columns.start * self.columns.2;
            let (count, stride) = (columns.len(), self.columns.1);
            let source = &from.0[f..=f + (count - 1) * stride];
            // SAFETY: in bounds of the checked part; the caller's promise.
            let target = unsafe { to.0.part(t, (count - 1) * self.columns.2 + 1).as_mut_slice() };
            match (stride, self.columns.2) {
                (1, 1) if !add => target.copy_from_slice(source),
                (1, 1) => target.iter_mut().zip(source).for_each(|(y, &x)| *y += x),
                (stride, step) => {
                    let pairs = target.iter_mut().step_by(step.max(1)).zip(source.iter().step_by(stride.max(1)));
                    pairs.for_each(|(y, &x)| *y = if add { *y + x } else { x });
                }
            }
        };
        if self.columns.1 <= 1 {
            rows.for_each(|row| line(row, 0..self.columns.0));
            return;
        }
        for first in rows.clone().step_by(TILE) {
            for start in (0..self.columns.0).step_by(TILE) {
                let columns = start..self.columns.0.min(start + TILE);
                (first..rows.end.min(first + TILE)).for_each(|row| line(row, columns.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Axis, Slice};

    use super::super::kernel::testing::{assert_derivatives, assert_threads_agree, noise};
    use super::*;
    use crate::autodiff::Parameters;

    const SHAPE: [usize; 4] = [2, 3, 18, 35];

    /// Result of an operation on noise of [`SHAPE`], and the noise.
    fn result(record: impl Fn(&mut Tape<f64>, Var) -> Result<Var>) -> (ArrayD<f64>, ArrayD<f64>) {
        let (shape, values) = noise(&SHAPE, 1);
        let mut tape = Tape::<f64>::new(Parameters::new(), 2).unwrap();
        let x = tape.variable(&shape, &values).unwrap();
        let y = record(&mut tape, x).unwrap();
        let y = ArrayD::from_shape_vec(tape.shape(y), tape.values(y).to_vec()).unwrap();
        (ArrayD::from_shape_vec(shape, values).unwrap(), y)
    }

    #[test]
    fn permuted_arrays_are_those_of_ndarray() {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [0, 1, 3, 2], [2, 0, 1, 3], [1, 3, 0, 2], [0, 3, 1, 2]] {
            let (x, y) = result(|tape, x| permute(tape, x, &order));
            assert_eq!(x.permuted_axes(&order[..]), y, "{order:?}");
        }
    }

    #[test]
    fn slices_pads_and_concatenations_are_those_of_ndarray() {
        let ranges = [0..2, 1..2, 3..18, 5..30];
        let (x, y) = result(|tape, x| slice(tape, x, &ranges));
        let expected = x.slice_each_axis(|axis| Slice::from(ranges[axis.axis.index()].clone()));
        assert_eq!(expected, y);

        let (x, y) = result(|tape, x| pad(tape, x, &[[0, 0], [1, 0], [0, 2], [3, 4]]));
        assert_eq!(y.shape(), [2, 4, 20, 42]);
        let inside = [0..2, 1..4, 0..18, 3..38];
        assert_eq!(y.slice_each_axis(|axis| Slice::from(inside[axis.axis.index()].clone())), x);
        assert_eq!(y.iter().filter(|v| **v != 0.0).count(), x.len(), "everything else is zero");

        for axis in 0..4 {
            let (x, y) = result(|tape, x| {
                let tail: Vec<Range<usize>> = (0..4).map(|a| usize::from(a == axis)..SHAPE[a]).collect();
                let tail = slice(tape, x, &tail)?;
                concatenate(tape, &[x, tail, x], axis)
            });
            let tail = x.slice_axis(Axis(axis), Slice::from(1..));
            assert_eq!(ndarray::concatenate(Axis(axis), &[x.view(), tail, x.view()]).unwrap(), y);
        }
    }

    #[test]
    fn a_roll_moves_every_point_periodically() {
        let shifts = [1, 0, -5, 38];
        let (x, y) = result(|tape, x| roll(tape, x, &shifts));
        for (index, value) in x.indexed_iter() {
            let moved: Vec<usize> = (0..4)
                .map(|axis| (index[axis] as isize + shifts[axis]).rem_euclid(SHAPE[axis] as isize) as usize)
                .collect();
            assert_eq!(y[&moved[..]], *value);
        }
    }

    #[test]
    fn a_reshape_keeps_the_order_of_the_values() {
        let (x, y) = result(|tape, x| reshape(tape, x, &[6, 630]));
        assert_eq!(y.shape(), [6, 630]);
        assert!(x.iter().eq(y.iter()));
    }

    #[test]
    fn adjoints_copy_back() {
        let x = [noise(&[2, 3, 4], 1)];
        assert_derivatives(|| permutation(&[2, 3, 4], &[2, 0, 1]).unwrap(), &x);
        assert_derivatives(|| part(&[2, 3, 4], &[0..2, 1..2, 1..4]).unwrap(), &x);
        assert_derivatives(|| part(&[2, 3, 4], &[0..2, 0..3, 2..3]).unwrap(), &x);
        assert_derivatives(|| padding(&[2, 3, 4], &[[1, 0], [0, 2], [1, 1]]).unwrap(), &x);
        assert_derivatives(|| rotation(&[2, 3, 4], &[1, -1, 3]).unwrap(), &x);
        assert_derivatives(|| reshaping(&[2, 3, 4], &[4, 6]).unwrap(), &x);
        let pair = [noise(&[2, 3, 4], 1), noise(&[2, 1, 4], 2)];
        assert_derivatives(|| concatenation(&[&[2, 3, 4], &[2, 1, 4]], 1).unwrap(), &pair);
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let x = [noise(&[3, 5, 70, 90], 1)];
        assert_threads_agree(&x, |t, v| permute(t, v[0], &[3, 1, 0, 2]), |t, v| permute(t, v[0], &[0, 1, 3, 2]));
        assert_threads_agree(&x, |t, v| roll(t, v[0], &[1, 2, 3, 4]), |t, v| concatenate(t, &[v[0], v[0]], 1));
        let part = [0..3, 1..4, 9..60, 7..80];
        assert_threads_agree(&x, |t, v| slice(t, v[0], &part), |t, v| pad(t, v[0], &[[0, 0], [0, 0], [9, 9], [9, 9]]));
    }

    #[test]
    fn misfits_are_refused_with_both_shapes() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.constant(&[2, 3], &[0.0; 6]).unwrap();
        let y = tape.constant(&[3, 2], &[0.0; 6]).unwrap();
        let message = |result: Result<Var>| result.unwrap_err().to_string();
        assert_eq!(message(concatenate(&mut tape, &[x, y], 0)), "concatenate: expected shape [3, 3], got [3, 2]");
        assert_eq!(message(reshape(&mut tape, x, &[4])), "reshape: expected shape [4], got [2, 3]");
        assert!(message(slice(&mut tape, x, &[0..3, 0..3])).contains("must lie in 0..2, of [2, 3]"));
        assert!(message(permute(&mut tape, x, &[0, 0])).contains("must name every axis of [2, 3] once"));
        assert!(message(concatenate(&mut tape, &[x, x], 2)).contains("must be an axis of [2, 3]"));
        assert_eq!(message(roll(&mut tape, x, &[1])), "shifts: expected shape [2], got [1]");
    }

    #[test]
    fn empty_parts_are_allowed() {
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&[2, 3], &[1.0; 6]).unwrap();
        let none = slice(&mut tape, x, &[1..1, 0..3]).unwrap();
        assert_eq!(tape.shape(none), [0, 3]);
        assert_eq!(tape.gradients(none, &[], &[x]).unwrap()[0], [0.0; 6]);
    }
}
