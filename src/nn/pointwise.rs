//! Networks that act on the channels of each point alone, fused.
//!
//! `y = f( W_2 g(W_1 x + b_1) + b_2 + S v )` at every point, where the hidden layer, the linear branch `S v` (or a plain
//! `+ v`) and the activations are optional: a dense layer, the pointwise network of an operator, or the whole local half
//! of a Fourier layer, `v <- f( MLP(K v) + S v )`. Points are taken in tiles whose activations stay in the second cache
//! level. Backwards the hidden activations are computed again: that costs less than to write and read them.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::autodiff::gemm::{Matrix, add_products_of_rows, gemm, gemm_at};
use crate::autodiff::{Cotangent, Operation, Parameter, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::simd::Activation;
use crate::stepper::team::Shared;

/// What is added before the outer activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Nothing.
    None,
    /// A field of as many channels as the output.
    Identity,
    /// A matrix times a field.
    Linear,
}

/// The operation. Inputs: `x` of `[batch, c_in, points..]`; with a hidden layer `W_1` of `[hidden, c_in]` and `b_1`;
/// `W_2` of `[c_out, hidden or c_in]` and `b_2`; for a branch `v` of `[batch, c, points..]`, and `S` of `[c_out, c]`.
#[derive(Clone, Copy, Debug)]
pub struct Pointwise {
    /// Activation of the hidden layer, if there is one.
    pub hidden: Option<Activation>,
    /// What is added.
    pub branch: Branch,
    /// Activation of the result.
    pub activation: Activation,
}

/// Places of the inputs, and sizes.
struct Places {
    batch: usize,
    c_in: usize,
    /// Channels that `W_2` acts on.
    hidden: usize,
    c_out: usize,
    /// Channels of the linear branch.
    c_branch: usize,
    points: usize,
    /// Index of `W_2` among the inputs: 1 or 3.
    w2: usize,
}

/// Values of a tile's hidden activations, at most.
const TILE_VALUES: usize = 32 * 1024;

impl Places {
    fn of(operation: &Pointwise, shapes: &[&[usize]]) -> Self {
        let w2 = if operation.hidden.is_some() { 3 } else { 1 };
        Self {
            batch: shapes[0][0],
            c_in: shapes[0][1],
            hidden: shapes[w2][1],
            c_out: shapes[w2][0],
            c_branch: if operation.branch == Branch::Linear { shapes[w2 + 3][1] } else { 0 },
            points: shapes[0][2..].iter().product(),
            w2,
        }
    }

    /// Points of a tile.
    fn width(&self) -> usize {
        (TILE_VALUES / (self.hidden + self.c_out)).next_multiple_of(64).clamp(64, 1024).min(self.points.max(1))
    }

    fn tiles(&self) -> usize {
        self.batch * self.points.div_ceil(self.width())
    }

    /// Sample, first point and number of points of a tile.
    fn tile(&self, tile: usize) -> (usize, usize, usize) {
        let (width, per_sample) = (self.width(), self.points.div_ceil(self.width()));
        let first = tile % per_sample * width;
        (tile / per_sample, first, width.min(self.points - first))
    }

    /// The channels of a field on the points of a tile.
    fn rows<'a, T: Real>(
        &self,
        field: &'a [T],
        channels: usize,
        (sample, first, n): (usize, usize, usize),
    ) -> Matrix<'a, T> {
        Matrix::new(&field[sample * channels * self.points + first..], channels, n, self.points)
    }

    /// The same, to be written; disjoint for different tiles.
    fn rows_at<T: Real>(&self, field: Shared<T>, channels: usize, (sample, first, n): (usize, usize, usize)) -> *mut T {
        let start = sample * channels * self.points + first;
        field.part(start, (channels - 1) * self.points + n).as_ptr()
    }
}

/// Fills each row of `z` with its bias.
fn fill_rows<T: Real>(z: &mut [T], bias: &[T], n: usize) {
    z.chunks_exact_mut(n).zip(bias).for_each(|(row, &b)| row.fill(b));
}

impl Pointwise {
    /// `W_1 x + b_1` on a tile.
    fn hidden_rows<T: Real>(&self, places: &Places, inputs: &[Tensor<T>], tile: (usize, usize, usize), z: &mut [T]) {
        let n = tile.2;
        fill_rows(z, inputs[2].values, n);
        let w1 = Matrix::new(inputs[1].values, places.hidden, places.c_in, places.c_in);
        gemm(z, n, T::one(), w1, places.rows(inputs[0].values, places.c_in, tile));
    }

    /// `W_2 h + b_2 + S v`, where `h` are the hidden activations, or `x` itself, into rows `places.points` apart.
    ///
    /// # Safety
    ///
    /// `z` must be valid for the rows of the tile, and nobody else touches them.
    unsafe fn outer_rows<T: Real>(
        &self,
        places: &Places,
        inputs: &[Tensor<T>],
        tile: (usize, usize, usize),
        h: Matrix<T>,
        z: *mut T,
    ) {
        let (w2, stride) = (places.w2, places.points);
        let bias = inputs[w2 + 1].values;
        for (c, &b) in bias.iter().enumerate() {
            // SAFETY: the caller's promise.
            let row = unsafe { std::slice::from_raw_parts_mut(z.add(c * stride), tile.2) };
            if self.branch == Branch::Identity {
                let start = (tile.0 * places.c_out + c) * stride + tile.1;
                row.iter_mut().zip(&inputs[w2 + 2].values[start..]).for_each(|(z, &v)| *z = v + b);
            } else {
                row.fill(b);
            }
        }
        let matrix = Matrix::new(inputs[w2].values, places.c_out, places.hidden, places.hidden);
        // SAFETY: the caller's promise.
        unsafe { gemm_at(z, stride, T::one(), matrix, h) };
        if self.branch == Branch::Linear {
            let s = Matrix::new(inputs[w2 + 3].values, places.c_out, places.c_branch, places.c_branch);
            let v = places.rows(inputs[w2 + 2].values, places.c_branch, tile);
            // SAFETY: the caller's promise.
            unsafe { gemm_at(z, stride, T::one(), s, v) };
        }
    }
}

/// Copies the rows of a tile into a field.
///
/// # Safety
///
/// As [`gemm_at`].
unsafe fn store_rows<T: Real>(rows: &[T], n: usize, field: *mut T, stride: usize) {
    for (c, row) in rows.chunks_exact(n).enumerate() {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::copy_nonoverlapping(row.as_ptr(), field.add(c * stride), n) };
    }
}

impl<T: Real> Operation<T> for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise network"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let x = inputs[0];
        if x.len() < 2 {
            return Err(Error::shape("pointwise network of x", &[1, 1, 1], x));
        }
        let mut channels = x[1];
        let mut place = 1;
        for name in ["hidden layer", "outer layer"].iter().skip(usize::from(self.hidden.is_none())) {
            let (weight, bias) = (inputs[place], inputs[place + 1]);
            if weight.len() != 2 || weight[1] != channels {
                let expected = [weight.first().copied().unwrap_or(1), channels];
                return Err(Error::shape(format!("weight of the {name}"), &expected, weight));
            }
            if bias != &weight[..1] {
                return Err(Error::shape(format!("bias of the {name}"), &weight[..1], bias));
            }
            channels = weight[0];
            place += 2;
        }
        let output = [&[x[0], channels][..], &x[2..]].concat();
        match self.branch {
            Branch::None => {}
            Branch::Identity if inputs[place] == output => {}
            Branch::Identity => return Err(Error::shape("added field", &output, inputs[place])),
            Branch::Linear => {
                let (v, s) = (inputs[place], inputs[place + 1]);
                let c = v.get(1).copied().unwrap_or(1);
                let expected = [&[x[0], c][..], &x[2..]].concat();
                if v != expected {
                    return Err(Error::shape("field of the linear branch", &expected, v));
                }
                if s != [channels, c] {
                    return Err(Error::shape("weight of the linear branch", &[channels, c], s));
                }
            }
        }
        Ok(output)
    }

    fn saved(&self, inputs: &[&[usize]]) -> usize {
        let places = Places::of(self, inputs);
        if self.activation == Activation::Identity { 0 } else { places.batch * places.c_out * places.points }
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], saved: &mut [T]) {
        let places = Places::of(self, &inputs.iter().map(|t| t.shape).collect::<Vec<_>>());
        let (output, saved) = (Shared::new(output), Shared::new(saved));
        let width = places.width();
        workers.tiles(places.tiles(), places.hidden * width, |tile, scratch| {
            let tile @ (_, _, n) = places.tile(tile);
            let h = match self.hidden {
                Some(activation) => {
                    let h = &mut scratch[..places.hidden * n];
                    self.hidden_rows(&places, inputs, tile, h);
                    activation.apply_in_place(workers.isa(), h);
                    Matrix::new(h, places.hidden, n, n)
                }
                None => places.rows(inputs[0].values, places.c_in, tile),
            };
            let output = places.rows_at(output, places.c_out, tile);
            // SAFETY: tiles are disjoint.
            unsafe {
                if self.activation == Activation::Identity {
                    self.outer_rows(&places, inputs, tile, h, output);
                } else {
                    let z = places.rows_at(saved, places.c_out, tile);
                    self.outer_rows(&places, inputs, tile, h, z);
                    for c in 0..places.c_out {
                        let z = std::slice::from_raw_parts(z.add(c * places.points), n);
                        let y = std::slice::from_raw_parts_mut(output.add(c * places.points), n);
                        self.activation.apply(workers.isa(), z, y);
                    }
                }
            }
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let places = Places::of(self, &record.inputs.iter().map(|t| t.shape).collect::<Vec<_>>());
        let (isa, w2) = (workers.isa(), places.w2);
        let values = |i: usize| record.inputs[i].values;
        let mut field = |i: usize| {
            inputs.get_mut(i).and_then(Option::take).map(|c| {
                let (values, beta) = c.target();
                (Shared::new(values), beta)
            })
        };
        let dx = field(0);
        let dv = if self.branch == Branch::None { None } else { field(w2 + 2) };
        // All weights are summed in one vector: W_1, b_1, W_2, b_2, S.
        let mut weights: Vec<usize> = (1..w2 + 2).collect();
        weights.extend((self.branch == Branch::Linear).then_some(w2 + 3));
        let total = weights.iter().map(|&i| values(i).len()).sum();
        let mut sum = workers.buffer(total);
        sum.fill(T::zero());
        let width = places.width();
        let scratch_len = (2 * places.hidden + places.c_out + 1) * width;
        workers.reduce(places.tiles(), &mut sum, scratch_len, |tiles, sum, scratch| {
            let (h, rest) = scratch.split_at_mut(places.hidden * width);
            let (dh, rest) = rest.split_at_mut(places.hidden * width);
            let (dz, ones) = rest.split_at_mut(places.c_out * width);
            ones.fill(T::one());
            let (hidden_sum, sum) = sum.split_at_mut(if w2 == 3 { places.hidden * (places.c_in + 1) } else { 0 });
            let (w2_sum, sum) = sum.split_at_mut(places.c_out * places.hidden);
            let (b2_sum, s_sum) = sum.split_at_mut(places.c_out);
            for tile in tiles {
                let tile @ (_, _, n) = places.tile(tile);
                let ones = Matrix::new(ones, 1, n, n);
                let x = places.rows(values(0), places.c_in, tile);
                let dz = &mut dz[..places.c_out * n];
                for (c, dz) in dz.chunks_exact_mut(n).enumerate() {
                    let start = (tile.0 * places.c_out + c) * places.points + tile.1;
                    dz.copy_from_slice(&cotangent[start..start + n]);
                    if self.activation != Activation::Identity {
                        self.activation.vjp_in_place(isa, &record.saved[start..start + n], dz);
                    }
                }
                let dz = &*dz;
                let dz_rows = Matrix::new(dz, places.c_out, n, n);
                add_products_of_rows(isa, b2_sum, dz_rows, ones);
                if let Some((dv, beta)) = dv {
                    let channels = if self.branch == Branch::Linear { places.c_branch } else { places.c_out };
                    let at = places.rows_at(dv, channels, tile);
                    if self.branch == Branch::Linear {
                        let s = Matrix::new(values(w2 + 3), places.c_out, places.c_branch, places.c_branch);
                        // SAFETY: tiles are disjoint.
                        unsafe { gemm_at(at, places.points, beta, s.t(), dz_rows) };
                    } else {
                        for (c, row) in dz.chunks_exact(n).enumerate() {
                            // SAFETY: tiles are disjoint.
                            let to = unsafe { std::slice::from_raw_parts_mut(at.add(c * places.points), n) };
                            match beta == T::zero() {
                                true => to.copy_from_slice(row),
                                false => to.iter_mut().zip(row).for_each(|(t, &r)| *t += r),
                            }
                        }
                    }
                }
                if self.branch == Branch::Linear {
                    add_products_of_rows(isa, s_sum, dz_rows, places.rows(values(w2 + 2), places.c_branch, tile));
                }
                let outer = Matrix::new(values(w2), places.c_out, places.hidden, places.hidden);
                let Some(activation) = self.hidden else {
                    add_products_of_rows(isa, w2_sum, dz_rows, x);
                    if let Some((dx, beta)) = dx {
                        // SAFETY: tiles are disjoint.
                        unsafe {
                            gemm_at(places.rows_at(dx, places.c_in, tile), places.points, beta, outer.t(), dz_rows)
                        };
                    }
                    continue;
                };
                let (h, dh) = (&mut h[..places.hidden * n], &mut dh[..places.hidden * n]);
                self.hidden_rows(&places, record.inputs, tile, h);
                gemm(dh, n, T::zero(), outer.t(), dz_rows);
                activation.apply_and_vjp_in_place(isa, h, dh);
                let (h, dh) = (Matrix::new(h, places.hidden, n, n), Matrix::new(dh, places.hidden, n, n));
                add_products_of_rows(isa, w2_sum, dz_rows, h);
                let (w1_sum, b1_sum) = hidden_sum.split_at_mut(places.hidden * places.c_in);
                add_products_of_rows(isa, w1_sum, dh, x);
                add_products_of_rows(isa, b1_sum, dh, ones);
                if let Some((dx, beta)) = dx {
                    let w1 = Matrix::new(values(1), places.hidden, places.c_in, places.c_in);
                    // SAFETY: tiles are disjoint.
                    unsafe { gemm_at(places.rows_at(dx, places.c_in, tile), places.points, beta, w1.t(), dh) };
                }
            }
        });
        let mut from = 0;
        for i in weights {
            let len = values(i).len();
            if let Some(weight) = inputs[i].take() {
                weight.add().iter_mut().zip(&sum[from..from + len]).for_each(|(w, &s)| *w += s);
            }
            from += len;
        }
    }

    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let places = Places::of(self, &record.inputs.iter().map(|t| t.shape).collect::<Vec<_>>());
        let (isa, w2) = (workers.isa(), places.w2);
        let values = |i: usize| record.inputs[i].values;
        let matrix = |values, rows, columns| Matrix::new(values, rows, columns, columns);
        let output = Shared::new(output);
        let width = places.width();
        workers.tiles(places.tiles(), (2 * places.hidden + places.c_out) * width, |tile, scratch| {
            let tile @ (_, _, n) = places.tile(tile);
            let (h, rest) = scratch.split_at_mut(places.hidden * width);
            let (dh, dz) = rest.split_at_mut(places.hidden * width);
            let dz = &mut dz[..places.c_out * n];
            // One product for each of the two factors of `W x` that moves.
            let add_product = |to: &mut [T], (rows, columns), weight: usize, field: usize| {
                if let Some(w) = tangents[weight] {
                    gemm(to, n, T::one(), matrix(w, rows, columns), places.rows(values(field), columns, tile));
                }
                if let Some(x) = tangents[field] {
                    gemm(to, n, T::one(), matrix(values(weight), rows, columns), places.rows(x, columns, tile));
                }
            };
            let bias = |to: &mut [T], bias: usize| match tangents[bias] {
                Some(b) => fill_rows(to, b, n),
                None => to.fill(T::zero()),
            };
            bias(dz, w2 + 1);
            match self.hidden {
                None => add_product(dz, (places.c_out, places.c_in), 1, 0),
                Some(activation) => {
                    let (h, dh) = (&mut h[..places.hidden * n], &mut dh[..places.hidden * n]);
                    bias(dh, 2);
                    add_product(dh, (places.hidden, places.c_in), 1, 0);
                    self.hidden_rows(&places, record.inputs, tile, h);
                    activation.apply_and_vjp_in_place(isa, h, dh);
                    let (rows, columns) = (places.c_out, places.hidden);
                    gemm(dz, n, T::one(), matrix(values(w2), rows, columns), Matrix::new(dh, columns, n, n));
                    if let Some(w) = tangents[w2] {
                        gemm(dz, n, T::one(), matrix(w, rows, columns), Matrix::new(h, columns, n, n));
                    }
                }
            }
            if self.branch == Branch::Linear {
                add_product(dz, (places.c_out, places.c_branch), w2 + 3, w2 + 2);
            }
            for (c, dz) in dz.chunks_exact_mut(n).enumerate() {
                let start = (tile.0 * places.c_out + c) * places.points + tile.1;
                if let (Branch::Identity, Some(v)) = (self.branch, tangents.get(w2 + 2).copied().flatten()) {
                    dz.iter_mut().zip(&v[start..]).for_each(|(z, &v)| *z += v);
                }
                if self.activation != Activation::Identity {
                    self.activation.vjp_in_place(isa, &record.saved[start..start + n], dz);
                }
            }
            // SAFETY: tiles are disjoint.
            unsafe { store_rows(dz, n, places.rows_at(output, places.c_out, tile), places.points) };
        });
        true
    }
}

/// A pointwise network with its parameters.
#[derive(Clone, Debug)]
pub struct PointwiseLayer {
    operation: Pointwise,
    /// `W_1`, `b_1`, `W_2`, `b_2` as far as they are there.
    layers: Vec<Parameter>,
    branch: Option<Parameter>,
}

/// What a [`PointwiseLayer`] is made of.
#[derive(Clone, Debug)]
pub struct PointwiseConfig {
    /// Channels before and after.
    pub channels: (usize, usize),
    /// Channels and activation of the hidden layer, if there is one.
    pub hidden: Option<(usize, Activation)>,
    /// What is added; a linear branch has this many channels.
    pub branch: Branch,
    /// Channels of a linear branch.
    pub branch_channels: usize,
    /// Activation of the result.
    pub activation: Activation,
}

impl PointwiseConfig {
    /// A dense layer.
    pub fn linear(c_in: usize, c_out: usize) -> Self {
        Self {
            channels: (c_in, c_out),
            hidden: None,
            branch: Branch::None,
            branch_channels: 0,
            activation: Activation::Identity,
        }
    }

    /// Adds the parameters `name.hidden.weight`, `name.hidden.bias`, `name.weight`, `name.bias`, `name.branch.weight`, as
    /// far as they are there. They begin uniform in `[-1, 1) / sqrt(number of inputs)`, as PyTorch's linear layers do.
    pub fn init<T: Real>(&self, name: &str, parameters: &mut Parameters<T>, rng: &mut ChaCha8Rng) -> PointwiseLayer {
        let (c_in, c_out) = self.channels;
        let mut add = |name: String, shape: &[usize], inputs: usize| {
            let bound = 1.0 / (inputs as f64).sqrt();
            parameters.add(name, shape, || rng.random_range(-bound..bound))
        };
        let mut layers = Vec::new();
        let inner = self.hidden.map_or(c_in, |(hidden, _)| hidden);
        if let Some((hidden, _)) = self.hidden {
            layers.push(add(format!("{name}.hidden.weight"), &[hidden, c_in], c_in));
            layers.push(add(format!("{name}.hidden.bias"), &[hidden], c_in));
        }
        layers.push(add(format!("{name}.weight"), &[c_out, inner], inner));
        layers.push(add(format!("{name}.bias"), &[c_out], inner));
        let branch = (self.branch == Branch::Linear)
            .then(|| add(format!("{name}.branch.weight"), &[c_out, self.branch_channels], self.branch_channels));
        let operation =
            Pointwise { hidden: self.hidden.map(|h| h.1), branch: self.branch, activation: self.activation };
        PointwiseLayer { operation, layers, branch }
    }
}

impl PointwiseLayer {
    /// Records the network of `x`, with the field of the branch if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the fields do not fit.
    ///
    /// # Panics
    ///
    /// If a branch has no field, or a field no branch.
    pub fn record<T: Real>(&self, tape: &mut Tape<T>, x: Var, branch: Option<Var>) -> Result<Var> {
        assert_eq!(branch.is_some(), self.operation.branch != Branch::None, "field of the branch");
        let mut inputs = vec![x];
        inputs.extend(self.layers.iter().map(|&p| tape.parameter(p)));
        inputs.extend(branch);
        inputs.extend(self.branch.map(|p| tape.parameter(p)));
        tape.apply(self.operation, &inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check;

    fn noise(shape: &[usize], seed: f64) -> (Vec<usize>, Vec<f64>) {
        let len: usize = shape.iter().product();
        (shape.to_vec(), (0..len).map(|i| ((i as f64 + seed) * 12.9898).sin()).collect())
    }

    type Case = (Pointwise, Vec<(Vec<usize>, Vec<f64>)>);

    /// All combinations of hidden layer, branch and outer activation, with inputs that fit.
    fn cases() -> Vec<Case> {
        let mut cases = Vec::new();
        for hidden in [None, Some(Activation::Gelu)] {
            for branch in [Branch::None, Branch::Identity, Branch::Linear] {
                for activation in [Activation::Identity, Activation::Tanh] {
                    // 1090 points: a whole tile and the rest of one.
                    let mut inputs = vec![noise(&[2, 3, 109, 10], 0.1)];
                    if hidden.is_some() {
                        inputs.extend([noise(&[6, 3], 0.2), noise(&[6], 0.3)]);
                    }
                    let inner = if hidden.is_some() { 6 } else { 3 };
                    inputs.extend([noise(&[5, inner], 0.4), noise(&[5], 0.5)]);
                    match branch {
                        Branch::None => {}
                        Branch::Identity => inputs.push(noise(&[2, 5, 109, 10], 0.6)),
                        Branch::Linear => inputs.extend([noise(&[2, 4, 109, 10], 0.6), noise(&[5, 4], 0.7)]),
                    }
                    cases.push((Pointwise { hidden, branch, activation }, inputs));
                }
            }
        }
        cases
    }

    #[test]
    fn values_are_those_of_the_formula() {
        for (operation, inputs) in cases() {
            let mut tape = Tape::new(Parameters::new(), 2).unwrap();
            let vars: Vec<Var> = inputs.iter().map(|(s, v)| tape.variable(s, v).unwrap()).collect();
            let y = tape.apply(operation, &vars).unwrap();
            let value = |i: usize, at: usize| inputs[i].1[at];
            let apply = |f: Activation, x: f64| {
                let mut x = [x];
                f.apply_in_place(tape.workers().isa(), &mut x);
                x[0]
            };
            for (b, p) in [(0, 0), (1, 1023), (0, 1024), (1, 1089)] {
                let x: Vec<f64> = (0..3).map(|c| value(0, (b * 3 + c) * 1090 + p)).collect();
                let (h, w2) = match operation.hidden {
                    None => (x, 1),
                    Some(g) => {
                        let z = |j: usize| value(2, j) + (0..3).map(|c| value(1, j * 3 + c) * x[c]).sum::<f64>();
                        ((0..6).map(|j| apply(g, z(j))).collect(), 3)
                    }
                };
                let inner = h.len();
                for o in 0..5 {
                    let mut z =
                        value(w2 + 1, o) + h.iter().enumerate().map(|(j, h)| value(w2, o * inner + j) * h).sum::<f64>();
                    match operation.branch {
                        Branch::None => {}
                        Branch::Identity => z += value(w2 + 2, (b * 5 + o) * 1090 + p),
                        Branch::Linear => {
                            let v = |c: usize| value(w2 + 2, (b * 4 + c) * 1090 + p);
                            z += (0..4).map(|c| value(w2 + 3, o * 4 + c) * v(c)).sum::<f64>();
                        }
                    }
                    let got = tape.values(y)[(b * 5 + o) * 1090 + p];
                    // Sums of a dozen numbers of size one.
                    assert!((got - apply(operation.activation, z)).abs() < 1e-14, "{operation:?}");
                }
            }
        }
    }

    #[test]
    fn derivatives_are_exact() {
        for (operation, inputs) in cases() {
            let check = check(|| operation, &inputs, 3).unwrap();
            // Round-off of some ten thousand products; the differences divide it by the step 3e-3.
            assert!(check.adjoint.unwrap() < 1e-14 && check.difference < 1e-11, "{operation:?}: {check:?}");
        }
    }

    #[test]
    fn gradients_are_the_same_bits_on_any_number_of_threads() {
        let (operation, inputs) = cases().pop().unwrap();
        let run = |threads| {
            let mut tape = Tape::<f32>::new(Parameters::new(), threads).unwrap();
            let single = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<_>>();
            let vars: Vec<Var> = inputs.iter().map(|(s, v)| tape.variable(s, &single(v)).unwrap()).collect();
            let y = tape.apply(operation, &vars).unwrap();
            let cotangent = tape.values(y).to_vec();
            let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            tape.gradients(y, &cotangent, &vars).unwrap().into_iter().map(bits).collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(2));
        assert_eq!(run(1), run(3));
    }

    #[test]
    fn misfits_name_both_shapes() {
        let shape = |operation: Pointwise, shapes: &[&[usize]]| {
            Operation::<f64>::shape(&operation, shapes).unwrap_err().to_string()
        };
        let plain = Pointwise { hidden: None, branch: Branch::None, activation: Activation::Identity };
        assert_eq!(
            shape(plain, &[&[2, 3, 8], &[5, 4], &[5]]),
            "weight of the outer layer: expected shape [5, 3], got [5, 4]"
        );
        assert_eq!(shape(plain, &[&[2, 3, 8], &[5, 3], &[4]]), "bias of the outer layer: expected shape [5], got [4]");
        let added = Pointwise { branch: Branch::Identity, ..plain };
        assert_eq!(
            shape(added, &[&[2, 3, 8], &[5, 3], &[5], &[2, 3, 8]]),
            "added field: expected shape [2, 5, 8], got [2, 3, 8]"
        );
    }
}
