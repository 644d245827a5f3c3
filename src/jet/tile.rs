//! One tile of points through the network and back.
//!
//! Jets of a layer are stored as `[component, point, unit]` with rows padded to whole vectors, so that all components of all
//! points are the rows of one matrix. A tile is so small that the activations of all layers stay in the second-level
//! cache from the way forward to the way back.

use super::activation::{components, padded};
use super::blueprint::{Blueprint, Node, Place};
use super::embedding::Embedding;
use super::gate;
use crate::autodiff::gemm::{Matrix, gemm};
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Bytes of a tile (from 320 to 1024 KiB the time is the same to 3 %), and bounds of its number of points.
const TILE_BYTES: usize = 640 << 10;
const MIN_POINTS: usize = 16;
const MAX_POINTS: usize = 128;

/// Jets of one layer in the tile's memory.
#[derive(Clone, Copy)]
struct Slot {
    offset: usize,
    /// Distance of rows.
    stride: usize,
}

/// Where the cotangent of an input is kept, and whether nothing is there yet.
#[derive(Clone, Copy)]
struct Bar {
    buffer: usize,
    fresh: bool,
}

/// An operation, and what its kernels need.
struct Step {
    node: Node,
    /// Buffer of its output's cotangent.
    bar: usize,
    /// Those of its inputs; the features have none.
    inputs: [Option<Bar>; 3],
    /// For a dense layer `a W^T` `[inputs, stride]`, `a W` `[outputs, stride]` and `a b` `[stride]` among the prepared weights.
    forward: usize,
    backward: usize,
    bias: usize,
}

/// Everything about a tile that does not depend on `theta`.
pub(super) struct Tile {
    embedding: Embedding,
    orders: Vec<usize>,
    components: usize,
    slots: Vec<Slot>,
    steps: Vec<Step>,
    /// Most points of a tile.
    pub points: usize,
    /// End of the slots, the size of a buffer for a cotangent, and their number.
    activations: usize,
    buffer: usize,
    buffers: usize,
    /// Whether slopes are kept for some activation.
    slopes: bool,
    /// Length of the prepared weights.
    pub prepared: usize,
}

/// Memory of one tile.
pub(super) struct Memory<'a, T> {
    activations: &'a mut [T],
    /// Slopes of hidden layers, where the activations keep them; laid out as these.
    slopes: &'a mut [T],
    /// Buffers for the cotangents of layers.
    cotangents: &'a mut [T],
}

/// Gives each slot a buffer for its cotangent from its last use back to the operation that filled it. Returns the number
/// of buffers; the output has the first.
fn assign_buffers(steps: &mut [Step], slots: usize) -> usize {
    let mut of: Vec<Option<usize>> = vec![None; slots];
    let (mut free, mut count) = (Vec::new(), 1);
    of[slots - 1] = Some(0);
    for step in steps.iter_mut().rev() {
        step.bar = of[step.node.output()].expect("every slot but the last is read by a later operation");
        for (bar, slot) in step.inputs.iter_mut().zip(step.node.inputs()) {
            if slot == 0 {
                continue;
            }
            let fresh = of[slot].is_none();
            let buffer = *of[slot].get_or_insert_with(|| {
                free.pop().unwrap_or_else(|| {
                    count += 1;
                    count - 1
                })
            });
            *bar = Some(Bar { buffer, fresh });
        }
        free.push(step.bar);
    }
    count
}

impl Tile {
    pub(super) fn new<T: Real>(embedding: Embedding, blueprint: &Blueprint, orders: Vec<usize>) -> Self {
        let components = components(&orders);
        let last = blueprint.last();
        // Rows of the output are not padded: it has few columns, and no activation.
        let stride = |s: usize| if s == last { blueprint.slots[s] } else { padded::<T>(blueprint.slots[s]) };
        let mut prepared = 0;
        let mut steps: Vec<Step> = Vec::with_capacity(blueprint.nodes.len());
        for node in &blueprint.nodes {
            let (mut forward, mut backward, mut bias) = (0, 0, 0);
            if let Node::Dense { place, from, to, .. } = node {
                forward = prepared;
                backward = forward + padded::<T>(place.inputs * stride(*to));
                bias = backward + padded::<T>(place.outputs * stride(*from));
                prepared = bias + padded::<T>(stride(*to));
            }
            steps.push(Step { node: node.clone(), bar: 0, inputs: [None; 3], forward, backward, bias });
        }
        let buffers = assign_buffers(&mut steps, blueprint.slots.len());
        let slopes = blueprint
            .nodes
            .iter()
            .any(|node| matches!(node, Node::Dense { activation: Some(activation), .. } if activation.keeps_slope()));
        let widest = (0..=last).map(stride).max().unwrap_or(0);
        let row: usize = (0..last).map(stride).sum::<usize>() + buffers * widest;
        let kept = if slopes { 2 } else { 1 };
        let fits = TILE_BYTES / (row * kept * components * size_of::<T>());
        let points = (fits / 8 * 8).clamp(MIN_POINTS, MAX_POINTS);
        let mut offset = 0;
        let slots = (0..=last).map(|s| {
            let slot = Slot { offset, stride: stride(s) };
            offset += padded::<T>(components * points * slot.stride);
            slot
        });
        let slots = slots.collect();
        Self {
            embedding,
            orders,
            components,
            slots,
            steps,
            points,
            activations: offset,
            buffer: padded::<T>(components * points * widest),
            buffers,
            slopes,
            prepared,
        }
    }

    /// Values of scratch memory.
    pub(super) fn scratch(&self) -> usize {
        self.activations + self.slopes() + self.buffers * self.buffer
    }

    fn slopes(&self) -> usize {
        if self.slopes { self.activations } else { 0 }
    }

    pub(super) fn split<'a, T>(&self, scratch: &'a mut [T]) -> Memory<'a, T> {
        let (activations, rest) = scratch.split_at_mut(self.activations);
        let (slopes, cotangents) = rest.split_at_mut(self.slopes());
        Memory { activations, slopes, cotangents }
    }

    /// Scaled weights in both orders, padded with zeros.
    pub(super) fn prepare<T: Real>(&self, theta: &[T], prepared: &mut [T]) {
        prepared.fill(T::zero());
        for step in &self.steps {
            let Node::Dense { place, from, to, .. } = &step.node else { continue };
            let Place { inputs, outputs, weight, bias, scale } = *place;
            let (above, below) = (self.slots[*to].stride, self.slots[*from].stride);
            let a = scale.map_or(T::one(), |scale| theta[scale]);
            for o in 0..outputs {
                for i in 0..inputs {
                    let w = a * theta[weight + o * inputs + i];
                    prepared[step.forward + i * above + o] = w;
                    prepared[step.backward + o * below + i] = w;
                }
                prepared[step.bias + o] = a * theta[bias + o];
            }
        }
    }

    /// Jets of the network's outputs `[component, point, output]` at points `[point, coordinate]`, Taylor's coefficients.
    pub(super) fn forward<'a, T: Real>(
        &self,
        isa: Isa,
        theta: &[T],
        prepared: &[T],
        points: &[T],
        count: usize,
        memory: &'a mut Memory<T>,
    ) -> &'a [T] {
        let rows = self.components * count;
        let features = self.slots[0].stride;
        self.embedding.jets(points, features, &mut memory.activations[..rows * features]);
        for step in &self.steps {
            let to = self.slots[step.node.output()];
            let (before, output) = memory.activations.split_at_mut(to.offset);
            let output = &mut output[..rows * to.stride];
            let jets = |slot: usize| &before[self.slots[slot].offset..][..rows * self.slots[slot].stride];
            match &step.node {
                Node::Dense { place, from, activation, .. } => {
                    let weight = Matrix::new(&prepared[step.forward..], place.inputs, to.stride, to.stride);
                    let input = Matrix::new(jets(*from), rows, place.inputs, self.slots[*from].stride);
                    gemm(output, to.stride, T::zero(), input, weight);
                    let bias = &prepared[step.bias..][..to.stride];
                    if let Some(activation) = activation {
                        let slope = if activation.keeps_slope() {
                            &mut memory.slopes[to.offset..][..output.len()]
                        } else {
                            &mut []
                        };
                        activation.forward(isa, &self.orders, output, bias, slope);
                    } else {
                        for row in output[..count * to.stride].chunks_exact_mut(to.stride) {
                            row.iter_mut().zip(bias).for_each(|(u, &b)| *u += b);
                        }
                    }
                }
                Node::Gate { z, u, v, .. } => gate::forward(isa, &self.orders, [jets(*z), jets(*u), jets(*v)], output),
                Node::Mix { f, x, alpha, .. } => gate::mix(isa, theta[*alpha], jets(*f), jets(*x), output),
            }
        }
        &memory.activations[self.output(count)]
    }

    /// Where the network's output lies.
    fn output(&self, count: usize) -> std::ops::Range<usize> {
        let slot = self.slots[self.slots.len() - 1];
        slot.offset..slot.offset + self.components * count * slot.stride
    }

    /// Outputs and, to be written, their cotangents before [`Tile::backward`], both `[component, point, output]`.
    pub(super) fn seeds<'a, T: Real>(&self, count: usize, memory: &'a mut Memory<T>) -> (&'a [T], &'a mut [T]) {
        let output = self.output(count);
        let len = output.len();
        (&memory.activations[output], &mut memory.cotangents[..len])
    }

    /// Back from the cotangents of the outputs. `visit` gets what each layer contributes to the gradient, last first.
    pub(super) fn backward<T: Real>(
        &self,
        isa: Isa,
        theta: &[T],
        prepared: &[T],
        count: usize,
        memory: &mut Memory<T>,
        mut visit: impl FnMut(Contribution<T>),
    ) {
        let rows = self.components * count;
        let activations = &*memory.activations;
        let range = |slot: usize| {
            let Slot { offset, stride } = self.slots[slot];
            offset..offset + rows * stride
        };
        let jets = |slot: usize| &activations[range(slot)];
        let part = |bar: usize, slot: usize| {
            let start = bar * self.buffer;
            start..start + rows * self.slots[slot].stride
        };
        for step in self.steps.iter().rev() {
            let to = step.node.output();
            let here = part(step.bar, to);
            match &step.node {
                Node::Dense { place, from, activation, .. } => {
                    let (above, below) = (self.slots[to].stride, self.slots[*from].stride);
                    if let Some(activation) = activation {
                        let slope = if activation.keeps_slope() { &memory.slopes[range(to)] } else { &[] };
                        let zbar = &mut memory.cotangents[here.clone()];
                        activation.adjoint(isa, &self.orders, jets(to), slope, zbar);
                    }
                    visit(Contribution::Dense(Factors {
                        place,
                        stride: (below, above),
                        components: self.components,
                        count,
                        zbar: &memory.cotangents[here.clone()],
                        h: jets(*from),
                    }));
                    if let Some(Bar { buffer, fresh }) = step.inputs[0] {
                        let [zbar, hbar] = disjoint(memory.cotangents, [here, part(buffer, *from)]);
                        let weight = Matrix::new(&prepared[step.backward..], place.outputs, below, below);
                        let beta = if fresh { T::zero() } else { T::one() };
                        gemm(hbar, below, beta, Matrix::new(zbar, rows, place.outputs, above), weight);
                    }
                }
                Node::Gate { z, u, v, .. } => {
                    let [Some(of_z), Some(of_u), Some(of_v)] = step.inputs else {
                        unreachable!("a gate has three inputs behind the features")
                    };
                    let parts = [(of_z, *z), (of_u, *u), (of_v, *v)].map(|(bar, slot)| part(bar.buffer, slot));
                    for (bar, part) in [of_u, of_v].iter().zip(&parts[1..]) {
                        if bar.fresh {
                            memory.cotangents[part.clone()].fill(T::zero());
                        }
                    }
                    let [zr, ur, vr] = parts;
                    let [hbar, zbar, ubar, vbar] = disjoint(memory.cotangents, [here, zr, ur, vr]);
                    let inputs = [jets(*z), jets(*u), jets(*v)];
                    gate::adjoint(isa, &self.orders, inputs, hbar, [zbar, ubar, vbar]);
                }
                Node::Mix { f, x, alpha, .. } => {
                    let [Some(of_f), Some(of_x), _] = step.inputs else {
                        unreachable!("a mean has two inputs behind the features")
                    };
                    let hbar = &memory.cotangents[here.clone()];
                    let stride = self.slots[to].stride;
                    visit(Contribution::Mix { alpha: *alpha, count, stride, hbar, f: jets(*f), x: jets(*x) });
                    let parts = [here, part(of_f.buffer, *f), part(of_x.buffer, *x)];
                    if of_x.fresh {
                        memory.cotangents[parts[2].clone()].fill(T::zero());
                    }
                    let [hbar, fbar, xbar] = disjoint(memory.cotangents, parts);
                    gate::mix_adjoint(isa, theta[*alpha], hbar, fbar, xbar);
                }
            }
        }
    }
}

/// Parts of a tile's buffers that the assignment keeps apart.
fn disjoint<T, const N: usize>(buffers: &mut [T], parts: [std::ops::Range<usize>; N]) -> [&mut [T]; N] {
    buffers.get_disjoint_mut(parts).expect("live cotangents have buffers of their own")
}

/// What an operation contributes to the gradient.
pub(super) enum Contribution<'a, T> {
    Dense(Factors<'a, T>),
    /// `sum_{c, p} hbar_cp . (f_cp - x_cp)` to the entry `alpha`.
    Mix {
        alpha: usize,
        count: usize,
        stride: usize,
        hbar: &'a [T],
        f: &'a [T],
        x: &'a [T],
    },
}

impl<T: Real> Contribution<'_, T> {
    /// Adds the gradient over all points to `gradient`, of the length of `theta`.
    pub(super) fn add_gradient(&self, gradient: &mut [T]) {
        match *self {
            Self::Dense(ref factors) => factors.add_gradient(gradient),
            Self::Mix { alpha, hbar, f, x, .. } => gradient[alpha] += gate::difference_along(hbar, f, x),
        }
    }

    /// Writes the gradients, one for each point, into rows of the length of `theta`.
    pub(super) fn write_rows<V: Lanes<Real = T>>(&self, rows: &mut [T], length: usize) {
        match *self {
            Self::Dense(ref factors) => factors.write_rows::<V>(rows, length),
            Self::Mix { alpha, count, stride, hbar, f, x } => {
                for (p, row) in rows.chunks_exact_mut(length).enumerate() {
                    // Components of a point are `count` rows apart.
                    let starts = (p * stride..f.len()).step_by(count * stride);
                    row[alpha] = starts.fold(T::zero(), |sum, at| {
                        let part = at..at + stride;
                        sum + gate::difference_along(&hbar[part.clone()], &f[part.clone()], &x[part])
                    });
                }
            }
        }
    }
}

/// The two factors of a layer's gradient: `Wbar = sum_{c, p} zbar_cp h_cp^T`, `bbar = sum_p zbar_0p`.
pub(super) struct Factors<'a, T> {
    place: &'a Place,
    stride: (usize, usize),
    components: usize,
    count: usize,
    zbar: &'a [T],
    h: &'a [T],
}

impl<T: Real> Factors<'_, T> {
    /// Adds the gradient of this layer over all points to `gradient`, of the length of `theta`.
    pub(super) fn add_gradient(&self, gradient: &mut [T]) {
        let &Place { inputs, outputs, weight, bias, .. } = self.place;
        let rows = self.components * self.count;
        let zbar = Matrix::new(self.zbar, rows, outputs, self.stride.1);
        gemm(&mut gradient[weight..bias], inputs, T::one(), zbar.t(), Matrix::new(self.h, rows, inputs, self.stride.0));
        let sum = &mut gradient[bias..bias + outputs];
        for row in self.zbar[..self.count * self.stride.1].chunks_exact(self.stride.1) {
            sum.iter_mut().zip(row).for_each(|(s, &z)| *s += z);
        }
    }

    /// Writes the gradients of this layer, one for each point, into rows of the length of `theta`.
    pub(super) fn write_rows<V: Lanes<Real = T>>(&self, rows: &mut [T], length: usize) {
        let &Place { inputs, outputs, weight, bias, .. } = self.place;
        assert!(rows.len() == self.count * length && bias + outputs <= length, "rows of a Jacobian");
        V::vectorize(
            #[inline(always)]
            || {
                for (p, row) in rows.chunks_exact_mut(length).enumerate() {
                    row[bias..bias + outputs].copy_from_slice(&self.zbar[p * self.stride.1..][..outputs]);
                    let weight = &mut row[weight..weight + outputs * inputs];
                    let mut o = 0;
                    while o < outputs {
                        match outputs - o {
                            1..4 => self.outer::<V, 1>(p, o, weight),
                            _ => self.outer::<V, 4>(p, o, weight),
                        }
                        o += if outputs - o < 4 { 1 } else { 4 };
                    }
                }
            },
        );
    }

    /// Rows `o..o + R` of `sum_c zbar_c h_c^T` at one point.
    #[inline(always)]
    fn outer<V: Lanes<Real = T>, const R: usize>(&self, p: usize, o: usize, weight: &mut [T]) {
        let (inputs, stride) = (self.place.inputs, self.stride);
        for i in (0..inputs).step_by(V::WIDTH) {
            let mut sum = [V::splat(T::zero()); R];
            for c in 0..self.components {
                let row = c * self.count + p;
                let zbar = &self.zbar[row * stride.1 + o..][..R];
                let h = &self.h[row * stride.0 + i..][..V::WIDTH];
                // SAFETY: as many values as the vector has lanes.
                let h = unsafe { V::load(h.as_ptr()) };
                for r in 0..R {
                    sum[r] = V::splat(zbar[r]).madd(h, sum[r]);
                }
            }
            let width = V::WIDTH.min(inputs - i);
            for (r, sum) in sum.into_iter().enumerate() {
                let target = &mut weight[(o + r) * inputs + i..][..width];
                // SAFETY: whole vectors go into the row, a part of one through a buffer as wide as the widest.
                unsafe {
                    if width == V::WIDTH {
                        sum.store(target.as_mut_ptr());
                    } else {
                        let mut lanes = [T::zero(); 16];
                        sum.store(lanes.as_mut_ptr());
                        target.copy_from_slice(&lanes[..width]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::dispatch;

    fn rows<T: Real>() {
        let (components, count) = (3, 2);
        for (inputs, outputs) in [(1, 1), (5, 7), (16, 4), (37, 9)] {
            let place = Place { inputs, outputs, weight: 2, bias: 2 + inputs * outputs, scale: None };
            let stride = (padded::<T>(inputs), outputs);
            let wave = |n: usize, f: f64| -> Vec<T> { (0..n).map(|i| T::of((f * i as f64).sin())).collect() };
            let zbar = wave(components * count * stride.1, 0.7);
            let h = wave(components * count * stride.0, 1.1);
            let factors = Factors { place: &place, stride, components, count, zbar: &zbar, h: &h };
            let length = place.bias + outputs + 3;
            let mut total = vec![T::zero(); length];
            factors.add_gradient(&mut total);
            for isa in [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512].into_iter().filter(|isa| isa.is_available()) {
                let mut rows = vec![T::of(9.0); count * length];
                dispatch!(isa, V => factors.write_rows::<V<T>>(&mut rows, length));
                for (i, &total) in total.iter().enumerate() {
                    let (a, b) = (rows[i], rows[length + i]);
                    if (2..length - 3).contains(&i) {
                        // Six products of size one.
                        let tolerance = T::of(8.0) * num_traits::Float::epsilon();
                        assert!((a + b - total).magnitude() < tolerance, "{isa:?} {inputs} {outputs} {i}");
                    } else {
                        assert!(a == T::of(9.0) && b == a, "{isa:?}: {i} belongs to others");
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_points_add_up_to_the_gradient_on_every_instruction_set() {
        rows::<f32>();
        rows::<f64>();
    }
}
