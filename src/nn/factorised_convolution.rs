//! Factorised spectral convolution: a matrix over channels for each kept mode of each axis alone.
//!
//! `y_o = sum_a F_a^-1 [ sum_i R^a_{io}(k) F_a x_i (k) ]`, where `F_a` is the transform along axis `a` only, with the kept
//! modes `k = 0 .. m-1`. Tran, Mathews, Xie and Ong, "Factorized Fourier Neural Operators", ICLR 2023, Eq. (6). The number
//! of weights grows with the sum of the numbers of modes, not with their product.
//!
//! An axis is cut into tiles of lines. On a tile, analysis, products and synthesis are small matrix products whose results
//! stay in the second cache level; backwards they are computed again.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::modes::{Axis, Samples};
use crate::autodiff::gemm::{Matrix, add_products_of_rows, gemm, gemm_at};
use crate::autodiff::{Cotangent, Operation, Parameter, Parameters, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stepper::team::Shared;

/// Values of the modes of a tile, at most.
const TILE_VALUES: usize = 32 * 1024;

/// The operation. Inputs: `x` of `[batch, c_in, points..]`, then for each axis a weight `[2, c_in, c_out, modes]`, whose
/// leading 2 are real and imaginary parts. Output `[batch, c_out, points..]`.
pub struct FactorisedConvolution<T> {
    axes: Plan<T>,
}

/// Transforms along all axes.
type Plan<T> = Arc<Vec<Lines<T>>>;

/// Transforms of the lines along one axis.
struct Lines<T> {
    points: usize,
    modes: usize,
    /// Points before and after the axis, by which lines are numbered.
    before: usize,
    after: usize,
    /// `[2 modes, points]`, real parts first.
    analysis: Vec<T>,
    /// `[points, 2 modes]`.
    synthesis: Vec<T>,
}

/// Lines of one sample: `width` of them, the first point of the first at `start` of a channel.
#[derive(Clone, Copy)]
struct Tile {
    sample: usize,
    start: usize,
    width: usize,
}

impl<T: Real> Lines<T> {
    fn plan(axes: &[Axis], a: usize) -> Self {
        let Axis { input: Samples { count, first, period }, modes, .. } = axes[a];
        let points = |axes: &[Axis]| axes.iter().map(|axis| axis.input.count).product();
        let entry = |k: usize, j: usize, part: usize| {
            let (sin, cos) = (TAU * (k * (first + j) % period) as f64 / period as f64).sin_cos();
            if part == 0 { cos } else { -sin }
        };
        let analysis = (0..2 * modes * count).map(|i| {
            let (row, j) = (i / count, i % count);
            T::of(entry(row % modes, j, row / modes) / period as f64)
        });
        let synthesis = (0..2 * modes * count).map(|i| {
            let (j, column) = (i / (2 * modes), i % (2 * modes));
            let k = column % modes;
            T::of(if k == 0 { 1.0 } else { 2.0 } * entry(k, j, column / modes))
        });
        Self {
            points: count,
            modes,
            before: points(&axes[..a]),
            after: points(&axes[a + 1..]),
            analysis: analysis.collect(),
            synthesis: synthesis.collect(),
        }
    }

    /// Lines of a tile, at most.
    fn width(&self, channels: usize) -> usize {
        let lines = if self.after == 1 { self.before } else { self.after };
        (TILE_VALUES / (2 * self.modes * channels)).clamp(16, 512).min(lines)
    }

    /// Blocks of lines that lie side by side, and tiles of each.
    fn blocks(&self, width: usize) -> (usize, usize) {
        if self.after == 1 { (1, self.before.div_ceil(width)) } else { (self.before, self.after.div_ceil(width)) }
    }

    fn tile(&self, tile: usize, width: usize) -> Tile {
        let (blocks, tiles) = self.blocks(width);
        let (sample, block, first) = (tile / tiles / blocks, tile / tiles % blocks, tile % tiles * width);
        match self.after {
            1 => Tile { sample, start: first * self.points, width: width.min(self.before - first) },
            after => Tile { sample, start: block * self.points * after + first, width: width.min(after - first) },
        }
    }

    /// The points of a tile in one channel, `[points, width]`.
    fn view<'a>(&self, channel: &'a [T], tile: Tile) -> Matrix<'a, T> {
        match self.after {
            1 => Matrix::new(&channel[tile.start..], tile.width, self.points, self.points).t(),
            after => Matrix::new(&channel[tile.start..], self.points, tile.width, after),
        }
    }

    /// `X_c = A x_c` for each channel, or of a cotangent `X_c = S^T g_c`, with `matrix` of `[2 modes, points]`.
    fn to_modes(&self, matrix: Matrix<T>, values: &[T], channels: usize, tile: Tile, modes: &mut [T]) {
        let size = self.before * self.points * self.after;
        for (c, modes) in modes.chunks_exact_mut(2 * self.modes * tile.width).enumerate() {
            let channel = &values[(tile.sample * channels + c) * size..][..size];
            gemm(modes, tile.width, T::zero(), matrix, self.view(channel, tile));
        }
    }

    /// `y_c = beta y_c + matrix Y_c` for each channel, with `matrix` of `[points, 2 modes]`.
    fn to_points(&self, matrix: Matrix<T>, modes: &[T], beta: T, values: Shared<T>, channels: usize, tile: Tile) {
        let size = self.before * self.points * self.after;
        for (c, modes) in modes.chunks_exact(2 * self.modes * tile.width).enumerate() {
            let modes = Matrix::new(modes, 2 * self.modes, tile.width, tile.width);
            let start = (tile.sample * channels + c) * size + tile.start;
            // SAFETY: tiles are disjoint sets of points, those of this one lie inside the part.
            unsafe {
                if self.after == 1 {
                    let to = values.part(start, tile.width * self.points).as_ptr();
                    gemm_at(to, self.points, beta, modes.t(), matrix.t());
                } else {
                    let to = values.part(start, (self.points - 1) * self.after + tile.width).as_ptr();
                    gemm_at(to, self.after, beta, matrix, modes);
                }
            }
        }
    }

    fn analysis(&self) -> Matrix<'_, T> {
        Matrix::new(&self.analysis, 2 * self.modes, self.points, self.points)
    }

    fn synthesis(&self) -> Matrix<'_, T> {
        Matrix::new(&self.synthesis, self.points, 2 * self.modes, 2 * self.modes)
    }

    /// Rows `(channel, part)` of mode `k` of a tile.
    fn mode<'a>(&self, modes: &'a [T], channels: usize, k: usize, width: usize) -> Matrix<'a, T> {
        Matrix::new(&modes[k * width..], 2 * channels, width, self.modes * width)
    }

    /// `Y(k) = R(k) X(k)` for each mode, with real matrices `R` of `[mode, 2 c_out, 2 c_in]`, or their transposes.
    fn mix(&self, r: &[T], (c_to, c_from): (usize, usize), is_transposed: bool, x: &[T], y: &mut [T], width: usize) {
        for (k, r) in r.chunks_exact(4 * c_to * c_from).enumerate() {
            let r = match is_transposed {
                true => Matrix::new(r, 2 * c_from, 2 * c_to, 2 * c_to).t(),
                false => Matrix::new(r, 2 * c_to, 2 * c_from, 2 * c_from),
            };
            let x = self.mode(x, c_from, k, width);
            gemm(&mut y[k * width..], self.modes * width, T::zero(), r, x);
        }
    }
}

/// Weights `[2, c_in, c_out, modes]` as real matrices `[mode, 2 c_out, 2 c_in]` that act on pairs (real, imaginary).
fn real_matrices<T: Real>(weight: &[T], c_in: usize, c_out: usize, modes: usize, r: &mut [T]) {
    let (re, im) = weight.split_at(c_in * c_out * modes);
    for k in 0..modes {
        for o in 0..c_out {
            for i in 0..c_in {
                let (a, b) = (re[(i * c_out + o) * modes + k], im[(i * c_out + o) * modes + k]);
                let at = |row: usize, column: usize| ((k * c_out + o) * 2 + row) * 2 * c_in + 2 * i + column;
                (r[at(0, 0)], r[at(0, 1)], r[at(1, 0)], r[at(1, 1)]) = (a, -b, b, a);
            }
        }
    }
}

/// The transpose of [`real_matrices`], added to the weight.
fn add_real_matrices<T: Real>(r: &[T], c_in: usize, c_out: usize, modes: usize, weight: &mut [T]) {
    let (re, im) = weight.split_at_mut(c_in * c_out * modes);
    for k in 0..modes {
        for o in 0..c_out {
            for i in 0..c_in {
                let at = |row: usize, column: usize| r[((k * c_out + o) * 2 + row) * 2 * c_in + 2 * i + column];
                re[(i * c_out + o) * modes + k] += at(0, 0) + at(1, 1);
                im[(i * c_out + o) * modes + k] += at(1, 0) - at(0, 1);
            }
        }
    }
}

impl<T: Real> FactorisedConvolution<T> {
    /// With the plans of the axes, whose output points are their input points.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if an axis has other output points, or a Nyquist mode would be among its modes.
    pub fn new(axes: &[Axis]) -> Result<Self> {
        for (i, axis) in axes.iter().enumerate() {
            let most = axis.input.period.div_ceil(2);
            if axis.output != axis.input || axis.input.first + axis.input.count > axis.input.period {
                return Err(Error::parameter(format!("axis {i}"), format!("{axis:?}"), "must keep its points"));
            }
            if !(1..=most).contains(&axis.modes) {
                let rule = format!("must be from 1 to {most}, below the Nyquist mode of {} points", axis.input.period);
                return Err(Error::parameter(format!("modes of axis {i}"), axis.modes, rule));
            }
        }
        Ok(Self { axes: Arc::new((0..axes.len()).map(|a| Lines::plan(axes, a)).collect()) })
    }

    /// `y = beta y + F_a^-1 R F_a x`.
    fn convolve(&self, workers: &Workers<T>, a: usize, x: &[T], weight: &Tensor<T>, beta: T, y: Shared<T>) {
        let (lines, c_in, c_out) = (&self.axes[a], weight.shape[1], weight.shape[2]);
        let batch = x.len() / (c_in * lines.before * lines.points * lines.after);
        let mut r = workers.buffer(4 * c_in * c_out * lines.modes);
        real_matrices(weight.values, c_in, c_out, lines.modes, &mut r);
        let r = &*r;
        let width = lines.width(c_in + c_out);
        let (blocks, tiles) = lines.blocks(width);
        let scratch_len = 2 * lines.modes * width * (c_in + c_out);
        workers.tiles(batch * blocks * tiles, scratch_len, |tile, scratch| {
            let tile = lines.tile(tile, width);
            let len = 2 * lines.modes * tile.width;
            let (x_hat, y_hat) = scratch.split_at_mut(len * c_in);
            let y_hat = &mut y_hat[..len * c_out];
            lines.to_modes(lines.analysis(), x, c_in, tile, x_hat);
            lines.mix(r, (c_out, c_in), false, x_hat, y_hat, tile.width);
            lines.to_points(lines.synthesis(), y_hat, beta, y, c_out, tile);
        });
    }
}

/// Zero for the first axis, one for those that are added to it.
fn beta_of<T: Real>(first: T, a: usize) -> T {
    if a == 0 { first } else { T::one() }
}

impl<T: Real> Operation<T> for FactorisedConvolution<T> {
    fn name(&self) -> &'static str {
        "factorised spectral convolution"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let x = inputs[0];
        let points: Vec<usize> = self.axes.iter().map(|lines| lines.points).collect();
        if x.len() != 2 + points.len() || x[2..] != points {
            let expected = [&[x.first().copied().unwrap_or(1), 1][..], &points].concat();
            return Err(Error::shape("factorised spectral convolution of x", &expected, x));
        }
        let c_out = inputs[1].get(2).copied().unwrap_or(1);
        for (lines, weight) in self.axes.iter().zip(&inputs[1..]) {
            let expected = [2, x[1], c_out, lines.modes];
            if **weight != expected {
                return Err(Error::shape("factorised spectral convolution with weight", &expected, weight));
            }
        }
        Ok([&[x[0], c_out][..], &points].concat())
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let y = Shared::new(output);
        for (a, weight) in inputs[1..].iter().enumerate() {
            self.convolve(workers, a, inputs[0].values, weight, beta_of(T::zero(), a), y);
        }
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let (x, batch) = (record.inputs[0].values, record.inputs[0].shape[0]);
        let dx = inputs[0].take().map(|c| {
            let (values, beta) = c.target();
            (Shared::new(values), beta)
        });
        for (a, lines) in self.axes.iter().enumerate() {
            let weight = &record.inputs[1 + a];
            let (c_in, c_out, modes) = (weight.shape[1], weight.shape[2], lines.modes);
            let mut r = workers.buffer(4 * c_in * c_out * modes);
            real_matrices(weight.values, c_in, c_out, modes, &mut r);
            let r = &*r;
            let dw = inputs[1 + a].take();
            let mut dr = workers.buffer(if dw.is_some() { r.len() } else { 0 });
            dr.fill(T::zero());
            let width = lines.width(c_in + c_out);
            let (blocks, tiles) = lines.blocks(width);
            let scratch_len = 2 * modes * width * (2 * c_in + c_out);
            workers.reduce(batch * blocks * tiles, &mut dr, scratch_len, |tiles, dr, scratch| {
                for tile in tiles {
                    let tile = lines.tile(tile, width);
                    let len = 2 * modes * tile.width;
                    let (x_hat, rest) = scratch.split_at_mut(len * c_in);
                    let (dx_hat, g_hat) = rest.split_at_mut(len * c_in);
                    let g_hat = &mut g_hat[..len * c_out];
                    lines.to_modes(lines.synthesis().t(), cotangent, c_out, tile, g_hat);
                    if !dr.is_empty() {
                        lines.to_modes(lines.analysis(), x, c_in, tile, x_hat);
                        for (k, dr) in dr.chunks_exact_mut(4 * c_in * c_out).enumerate() {
                            let g = lines.mode(g_hat, c_out, k, tile.width);
                            add_products_of_rows(workers.isa(), dr, g, lines.mode(x_hat, c_in, k, tile.width));
                        }
                    }
                    if let Some((dx, beta)) = dx {
                        lines.mix(r, (c_in, c_out), true, g_hat, dx_hat, tile.width);
                        lines.to_points(lines.analysis().t(), dx_hat, beta_of(beta, a), dx, c_in, tile);
                    }
                }
            });
            if let Some(dw) = dw {
                add_real_matrices(&dr, c_in, c_out, modes, dw.add());
            }
        }
    }

    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        output.fill(T::zero());
        let y = Shared::new(output);
        for (a, weight) in record.inputs[1..].iter().enumerate() {
            if let Some(x) = tangents[0] {
                self.convolve(workers, a, x, weight, T::one(), y);
            }
            if let Some(values) = tangents[1 + a] {
                let weight = Tensor { values, ..*weight };
                self.convolve(workers, a, record.inputs[0].values, &weight, T::one(), y);
            }
        }
        true
    }
}

/// A factorised convolution with its parameters.
pub struct FactorisedLayer<T> {
    weights: Vec<Parameter>,
    /// Plans of the grids that were seen.
    plans: Mutex<HashMap<Vec<Axis>, Plan<T>>>,
}

impl<T: Real> FactorisedLayer<T> {
    /// Adds the parameters `name.weight.0`, `name.weight.1`, .. of the axes, uniform such that a random field keeps its
    /// variance.
    pub fn init(
        name: &str,
        (c_in, c_out): (usize, usize),
        modes: &[usize],
        parameters: &mut Parameters<T>,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        // sum_i |R_i|^2 = 1 / axes; a uniform variable in [-b, b) has the variance b^2 / 3.
        let bound = (3.0 / (2 * c_in * modes.len()) as f64).sqrt();
        let weights = modes.iter().enumerate().map(|(a, &m)| {
            parameters.add(format!("{name}.weight.{a}"), &[2, c_in, c_out, m], || rng.random_range(-bound..bound))
        });
        Self { weights: weights.collect(), plans: Mutex::new(HashMap::new()) }
    }

    /// Records the convolution of the points of the axes.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `x` does not fit, [`Error::Parameter`] if a grid is too coarse for the modes.
    pub fn record(&self, tape: &mut Tape<T>, x: Var, axes: &[Axis]) -> Result<Var> {
        let mut plans = self.plans.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let operation = match plans.get(axes) {
            Some(plan) => FactorisedConvolution { axes: plan.clone() },
            None => {
                let operation = FactorisedConvolution::new(axes)?;
                plans.insert(axes.to_vec(), operation.axes.clone());
                operation
            }
        };
        let weights = self.weights.iter().map(|&weight| tape.parameter(weight));
        let inputs: Vec<Var> = std::iter::once(x).chain(weights).collect();
        tape.apply(operation, &inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autodiff::check;
    use crate::nn::{SpectralConvolution, modes::Half};

    fn noise(shape: &[usize], seed: f64) -> (Vec<usize>, Vec<f64>) {
        let len: usize = shape.iter().product();
        (shape.to_vec(), (0..len).map(|i| ((i as f64 + seed) * 12.9898).sin()).collect())
    }

    fn axes() -> [Axis; 3] {
        let time = Samples::padded(5, 5);
        [Axis { input: time, output: time, modes: 3 }, Axis::periodic(6, 3), Axis::periodic(8, 2)]
    }

    #[test]
    fn derivatives_are_exact() {
        for axes in [&axes()[..1], &axes()[1..], &axes()[..]] {
            let points: Vec<usize> = axes.iter().map(|a| a.input.count).collect();
            let mut inputs = vec![noise(&[&[5, 3][..], &points].concat(), 0.1)];
            inputs.extend(axes.iter().enumerate().map(|(a, axis)| noise(&[2, 3, 2, axis.modes], 0.2 + a as f64)));
            let check = check(|| FactorisedConvolution::new(axes).unwrap(), &inputs, 7).unwrap();
            // Bilinear: round-off of sums of some thousand products; the differences divide it by the step 3e-3.
            assert!(check.adjoint.unwrap() < 1e-14 && check.difference < 1e-11, "{check:?}");
        }
    }

    #[test]
    fn one_axis_is_the_convolution_of_its_lines() {
        // Along the last axis every line is a sample; along the first of two every column.
        let axis = Axis::periodic(8, 3);
        let (_, x) = noise(&[4, 3, 8], 0.3);
        let (weight_shape, weight) = noise(&[2, 3, 2, 3], 0.4);
        let mut tape = Tape::new(Parameters::new(), 2).unwrap();
        let w = tape.constant(&weight_shape, &weight).unwrap();
        let zero = tape.constant(&[2, 3, 2, 1], &[0.0; 12]).unwrap();
        let lines = tape.constant(&[4, 3, 8], &x).unwrap();
        let plain = SpectralConvolution::new(&[axis], Half::Last, None).unwrap();
        let plain = tape.apply(plain, &[lines, w]).unwrap();
        let expected = tape.values(plain).to_vec();
        for is_last in [true, false] {
            // `[1, 3, 4, 8]` or `[1, 3, 8, 4]`.
            let place = |s: usize, c: usize, j: usize| {
                if is_last { (c * 4 + s) * 8 + j } else { (c * 8 + j) * 4 + s }
            };
            let mut values = vec![0.0; x.len()];
            for (i, &x) in x.iter().enumerate() {
                values[place(i / 24, i / 8 % 3, i % 8)] = x;
            }
            let (axes, weights, shape) = match is_last {
                true => ([Axis::periodic(4, 1), axis], [zero, w], [1, 3, 4, 8]),
                false => ([axis, Axis::periodic(4, 1)], [w, zero], [1, 3, 8, 4]),
            };
            let field = tape.constant(&shape, &values).unwrap();
            let operation = FactorisedConvolution::new(&axes).unwrap();
            let y = tape.apply(operation, &[field, weights[0], weights[1]]).unwrap();
            for (i, expected) in expected.iter().enumerate() {
                let y = tape.values(y)[place(i / 16, i / 8 % 2, i % 8)];
                // Sums of a few dozen products of size one.
                assert!((y - expected).abs() < 1e-13, "{y} {expected}");
            }
        }
    }

    #[test]
    fn modes_beyond_the_grid_are_refused() {
        let error = FactorisedConvolution::<f64>::new(&[Axis::periodic(8, 5)]).err().unwrap().to_string();
        assert!(error.contains("modes of axis 0 = 5"), "{error}");
    }
}
