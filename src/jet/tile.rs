//! One tile of points through the network and back.
//!
//! Jets of a layer are stored as `[component, point, unit]` with rows padded to whole vectors, so that all components of all
//! points are the rows of one matrix. A tile is so small that the activations of all layers stay in the second-level
//! cache from the way forward to the way back.

use super::Activation;
use super::activation::{components, padded};
use super::embedding::Embedding;
use super::network::Place;
use crate::autodiff::gemm::{Matrix, gemm};
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};

/// Bytes of a tile (from 320 to 1024 KiB the time is the same to 3 %), and bounds of its number of points.
const TILE_BYTES: usize = 640 << 10;
const MIN_POINTS: usize = 16;
const MAX_POINTS: usize = 128;

/// A layer, and where its parts lie in a tile's memory and in the prepared weights.
struct Layer {
    place: Place,
    /// Distance of rows of its input and its output.
    stride: (usize, usize),
    /// Its input in the tile's memory; the output is the input of the next.
    input: usize,
    /// `a W^T` `[inputs, stride.1]`, `a W` `[outputs, stride.0]` and `a b` `[stride.1]` among the prepared weights.
    forward: usize,
    backward: usize,
    bias: usize,
}

/// Everything about a tile that does not depend on `theta`.
pub(super) struct Tile {
    embedding: Embedding,
    activation: Activation,
    orders: Vec<usize>,
    components: usize,
    layers: Vec<Layer>,
    /// Most points of a tile.
    pub points: usize,
    /// End of the activations (the last of them is the network's output), and size of a buffer of one layer.
    activations: usize,
    buffer: usize,
    /// Length of the prepared weights.
    pub prepared: usize,
}

/// Memory of one tile.
pub(super) struct Memory<'a, T> {
    activations: &'a mut [T],
    /// Slopes of hidden layers, where the activations keep them.
    slopes: &'a mut [T],
    /// Two cotangents of one layer.
    cotangents: [&'a mut [T]; 2],
}

impl Tile {
    pub(super) fn new<T: Real>(
        embedding: Embedding,
        activation: Activation,
        orders: Vec<usize>,
        places: Vec<Place>,
    ) -> Self {
        let components = components(&orders);
        let last = places.len() - 1;
        // Rows of the output are not padded: it has few columns, and no activation.
        let stride = |l: usize, n: usize| if l == last { n } else { padded::<T>(n) };
        let widest = places.iter().map(|p| padded::<T>(p.inputs)).max().unwrap_or(0).max(places[last].outputs);
        let row: usize = places.iter().map(|p| padded::<T>(p.inputs)).sum::<usize>() + 2 * widest;
        let kept = if activation.keeps_slope() { 2 } else { 1 };
        let fits = TILE_BYTES / (row * kept * components * size_of::<T>());
        let points = (fits / 8 * 8).clamp(MIN_POINTS, MAX_POINTS);
        let (mut input, mut prepared) = (0, 0);
        let mut layers = Vec::with_capacity(places.len());
        for (l, place) in places.into_iter().enumerate() {
            let stride = (padded::<T>(place.inputs), stride(l, place.outputs));
            let forward = prepared;
            let backward = forward + padded::<T>(place.inputs * stride.1);
            let bias = backward + padded::<T>(place.outputs * stride.0);
            prepared = bias + padded::<T>(stride.1);
            layers.push(Layer { stride, input, forward, backward, bias, place });
            input += components * points * stride.0;
        }
        let output = padded::<T>(components * points * layers[last].stride.1);
        let activations = input + output;
        Self {
            embedding,
            activation,
            orders,
            components,
            layers,
            points,
            activations,
            buffer: padded::<T>(components * points * widest),
            prepared,
        }
    }

    /// Values of scratch memory.
    pub(super) fn scratch(&self) -> usize {
        let slopes = if self.activation.keeps_slope() { self.activations } else { 0 };
        self.activations + slopes + 2 * self.buffer
    }

    pub(super) fn split<'a, T>(&self, scratch: &'a mut [T]) -> Memory<'a, T> {
        let (activations, rest) = scratch.split_at_mut(self.activations);
        let (slopes, rest) = rest.split_at_mut(if self.activation.keeps_slope() { self.activations } else { 0 });
        let (one, two) = rest.split_at_mut(self.buffer);
        Memory { activations, slopes, cotangents: [one, two] }
    }

    /// Scaled weights in both orders, padded with zeros.
    pub(super) fn prepare<T: Real>(&self, theta: &[T], prepared: &mut [T]) {
        prepared.fill(T::zero());
        for layer in &self.layers {
            let Place { inputs, outputs, weight, bias, scale } = layer.place;
            let a = scale.map_or(T::one(), |scale| theta[scale]);
            for o in 0..outputs {
                for i in 0..inputs {
                    let w = a * theta[weight + o * inputs + i];
                    prepared[layer.forward + i * layer.stride.1 + o] = w;
                    prepared[layer.backward + o * layer.stride.0 + i] = w;
                }
                prepared[layer.bias + o] = a * theta[bias + o];
            }
        }
    }

    /// Jets of the network's outputs `[component, point, output]` at points `[point, coordinate]`, Taylor's coefficients.
    pub(super) fn forward<'a, T: Real>(
        &self,
        isa: Isa,
        prepared: &[T],
        points: &[T],
        count: usize,
        memory: &'a mut Memory<T>,
    ) -> &'a [T] {
        let rows = self.components * count;
        let features = self.layers[0].stride.0;
        self.embedding.jets(points, features, &mut memory.activations[..rows * features]);
        let last = self.layers.len() - 1;
        for (l, layer) in self.layers.iter().enumerate() {
            let end = self.layers.get(l + 1).map_or(self.output(), |next| next.input);
            let (input, output) = memory.activations.split_at_mut(end);
            let output = &mut output[..rows * layer.stride.1];
            let weight = Matrix::new(&prepared[layer.forward..], layer.place.inputs, layer.stride.1, layer.stride.1);
            let input = Matrix::new(&input[layer.input..], rows, layer.place.inputs, layer.stride.0);
            gemm(output, layer.stride.1, T::zero(), input, weight);
            let bias = &prepared[layer.bias..][..layer.stride.1];
            if l < last {
                let slope = if memory.slopes.is_empty() { &mut [] } else { &mut memory.slopes[end..][..output.len()] };
                self.activation.forward(isa, &self.orders, output, bias, slope);
            } else {
                for row in output[..count * bias.len()].chunks_exact_mut(bias.len()) {
                    row.iter_mut().zip(bias).for_each(|(u, &b)| *u += b);
                }
            }
        }
        &memory.activations[self.output()..][..rows * self.layers[last].stride.1]
    }

    /// Where the network's output lies.
    fn output(&self) -> usize {
        let last = &self.layers[self.layers.len() - 1];
        last.input + self.components * self.points * last.stride.0
    }

    /// Outputs and, to be written, their cotangents before [`Tile::backward`], both `[component, point, output]`.
    pub(super) fn seeds<'a, T: Real>(&self, count: usize, memory: &'a mut Memory<T>) -> (&'a [T], &'a mut [T]) {
        let len = self.components * count * self.layers[self.layers.len() - 1].stride.1;
        (&memory.activations[self.output()..][..len], &mut memory.cotangents[0][..len])
    }

    /// Back from the cotangents of the outputs. For each layer, last first, `visit(layer, zbar, h)` gets the cotangent of
    /// the scaled linear map's result and its input.
    pub(super) fn backward<T: Real>(
        &self,
        isa: Isa,
        prepared: &[T],
        count: usize,
        memory: &mut Memory<T>,
        mut visit: impl FnMut(&Factors<T>),
    ) {
        let rows = self.components * count;
        let [mut zbar, mut other] = memory.cotangents.each_mut().map(|c| &mut **c);
        for (l, layer) in self.layers.iter().enumerate().rev() {
            let outputs = layer.place.outputs;
            let h = &memory.activations[layer.input..][..rows * layer.stride.0];
            let factors =
                Factors { place: &layer.place, stride: layer.stride, components: self.components, count, zbar, h };
            visit(&factors);
            if l > 0 {
                let hbar = &mut other[..rows * layer.stride.0];
                let weight = Matrix::new(&prepared[layer.backward..], outputs, layer.stride.0, layer.stride.0);
                gemm(hbar, layer.stride.0, T::zero(), Matrix::new(zbar, rows, outputs, layer.stride.1), weight);
                let slope = if memory.slopes.is_empty() { &[] } else { &memory.slopes[layer.input..][..hbar.len()] };
                self.activation.adjoint(isa, &self.orders, h, slope, hbar);
                std::mem::swap(&mut zbar, &mut other);
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
