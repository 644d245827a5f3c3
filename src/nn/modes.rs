//! Fourier analysis and synthesis of a few modes, as small matrix products.
//!
//! Per axis, `X_k = (1/n) sum_j x_j exp(-2 pi i k j / n)` for the kept integer modes only, so constants keep their size
//! when the number of points changes. A network keeps a tenth of all modes; then the product with a matrix of kept modes
//! by points costs no more than a fast transform of all of them, runs at the speed of a matrix product, and takes any
//! number of points, other numbers of points on the way back, and padding.
//!
//! One axis carries half of a spectrum, `k = 0 .. m-1`, since the field is real; the others `k = 0 .. m-1, -m .. -1`. The
//! mode 0 of the half axis is real on the way back, as in every inverse real transform: the imaginary part that the other
//! axes leave there is dropped. Analysis and synthesis are real linear maps between the points and the pairs `(Re X, Im X)`,
//! and their transposes are exact.

use std::f64::consts::TAU;

use crate::autodiff::gemm::{Matrix, gemm};
use crate::error::{Error, Result};
use crate::field::Real;

/// One axis: its points, and which of its modes are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Points that are given to the analysis.
    pub input: Samples,
    /// Points that the synthesis gives.
    pub output: Samples,
    /// Kept modes `m`: `0 .. m-1` of the half axis, `0 .. m-1, -m .. -1` of another.
    pub modes: usize,
}

/// `count` consecutive points of a period of `period` points, the first at index `first`; elsewhere the field is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Samples {
    /// Number of points.
    pub count: usize,
    /// Index of the first in the period.
    pub first: usize,
    /// Points of a period.
    pub period: usize,
}

impl Samples {
    /// A whole period of `n` points.
    pub fn periodic(n: usize) -> Self {
        Self { count: n, first: 0, period: n }
    }

    /// `n` points after `padding` zeros.
    pub fn padded(n: usize, padding: usize) -> Self {
        Self { count: n, first: padding, period: n + padding }
    }
}

impl Axis {
    /// An axis of `n` periodic points.
    pub fn periodic(n: usize, modes: usize) -> Self {
        Self { input: Samples::periodic(n), output: Samples::periodic(n), modes }
    }
}

/// Which axis carries the half spectrum; it is the first to be transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Half {
    /// The first axis: of space-time `t, x, y`, where time is short.
    First,
    /// The last axis: of space `x, (y, (z))`.
    Last,
}

/// Plan of the transforms between real points and kept modes of one channel.
///
/// Modes are stored as all real parts, then all imaginary parts, each in the order of the axes.
pub struct Modes<T> {
    analysis: Vec<Step<T>>,
    analysis_transpose: Vec<Step<T>>,
    synthesis: Vec<Step<T>>,
    synthesis_transpose: Vec<Step<T>>,
    input: usize,
    output: usize,
    modes: usize,
    /// Size of the largest array between two axes.
    between: usize,
}

/// One axis of the transform of one channel: a product with a matrix.
struct Step<T> {
    /// `[rows, columns]`; two of them where planes of real and imaginary parts are apart.
    matrix: Vec<T>,
    rows: usize,
    columns: usize,
    side: Side,
}

enum Side {
    /// `y[o] = M x[o]` for `outer` blocks of `columns x inner`.
    Left { outer: usize, inner: usize },
    /// `y = x M`, `outer` rows.
    Right { outer: usize },
    /// `y_p = x M_p`, `outer` rows, into plane `p`.
    Split { outer: usize },
    /// `y = sum_p x_p M_p`, `outer` rows, from plane `p`.
    Join { outer: usize },
}

impl<T: Real> Step<T> {
    /// `y = beta y + M x`.
    fn apply(&self, x: &[T], beta: T, y: &mut [T]) {
        let (rows, columns) = (self.rows, self.columns);
        let len = rows * columns;
        match self.side {
            Side::Left { outer, inner } => {
                let matrix = Matrix::new(&self.matrix, rows, columns, columns);
                for o in 0..outer {
                    let block = Matrix::new(&x[o * columns * inner..], columns, inner, inner);
                    gemm(&mut y[o * rows * inner..][..rows * inner], inner, beta, matrix, block);
                }
            }
            Side::Right { outer } => {
                let matrix = Matrix::new(&self.matrix, rows, columns, columns);
                gemm(y, columns, beta, Matrix::new(x, outer, rows, rows), matrix);
            }
            Side::Split { outer } => {
                for p in 0..2 {
                    let matrix = Matrix::new(&self.matrix[p * len..], rows, columns, columns);
                    let plane = &mut y[p * outer * columns..][..outer * columns];
                    gemm(plane, columns, beta, Matrix::new(x, outer, rows, rows), matrix);
                }
            }
            Side::Join { outer } => {
                for p in 0..2 {
                    let matrix = Matrix::new(&self.matrix[p * len..], rows, columns, columns);
                    let plane = Matrix::new(&x[p * outer * rows..], outer, rows, rows);
                    gemm(y, columns, if p == 0 { beta } else { T::one() }, plane, matrix);
                }
            }
        }
    }

    fn transpose(&self) -> Self {
        let (rows, columns) = (self.rows, self.columns);
        let mut matrix = self.matrix.clone();
        for (from, to) in self.matrix.chunks_exact(rows * columns).zip(matrix.chunks_exact_mut(rows * columns)) {
            for i in 0..rows {
                for j in 0..columns {
                    to[j * rows + i] = from[i * columns + j];
                }
            }
        }
        let side = match self.side {
            Side::Left { outer, inner } => Side::Left { outer, inner },
            Side::Right { outer } => Side::Right { outer },
            Side::Split { outer } => Side::Join { outer },
            Side::Join { outer } => Side::Split { outer },
        };
        Self { matrix, rows: columns, columns: rows, side }
    }

    fn output(&self) -> usize {
        match self.side {
            Side::Left { outer, inner } => outer * self.rows * inner,
            Side::Right { outer } | Side::Join { outer } => outer * self.columns,
            Side::Split { outer } => 2 * outer * self.columns,
        }
    }
}

impl<T: Real> Modes<T> {
    /// Plans the transforms of channels with these axes.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if an axis has no points or no modes, or if a Nyquist mode would be among them.
    pub fn plan(axes: &[Axis], half: Half) -> Result<Self> {
        if !(1..=3).contains(&axes.len()) || half == Half::First && axes.len() == 1 {
            return Err(Error::parameter("axes", axes.len(), "must be 1 to 3, and 2 or 3 if time is one"));
        }
        for (i, axis) in axes.iter().enumerate() {
            for samples in [axis.input, axis.output] {
                if samples.count == 0 || samples.first + samples.count > samples.period {
                    let rule = "must have points, all of them inside the period";
                    return Err(Error::parameter(format!("axis {i}"), format!("{samples:?}"), rule));
                }
                let most =
                    if is_half(i, axes.len(), half) { samples.period.div_ceil(2) } else { (samples.period - 1) / 2 };
                if !(1..=most).contains(&axis.modes) {
                    let rule = format!("must be from 1 to {most}, below the Nyquist mode of {} points", samples.period);
                    return Err(Error::parameter(format!("modes of axis {i}"), axis.modes, rule));
                }
            }
        }
        // X = (1/n) sum x exp(-i..) forward; back, x = X_0 + 2 Re sum X exp(i..) over the half axis and a plain sum over
        // the others, which is the transpose of an analysis with the weights 1 and 2.
        let analysis = steps(axes, half, |axis| axis.input, |n, _, _| 1.0 / n as f64);
        let doubled = |_, is_half: bool, k: i64| if is_half && k > 0 { 2.0 } else { 1.0 };
        let synthesis_transpose = steps(axes, half, |axis| axis.output, doubled);
        let transpose = |steps: &[Step<T>]| steps.iter().rev().map(Step::transpose).collect();
        let (analysis_transpose, synthesis): (Vec<_>, Vec<_>) = (transpose(&analysis), transpose(&synthesis_transpose));
        let all = [&analysis, &analysis_transpose, &synthesis, &synthesis_transpose];
        Ok(Self {
            input: axes.iter().map(|a| a.input.count).product(),
            output: axes.iter().map(|a| a.output.count).product(),
            modes: (0..axes.len()).map(|a| kept(axes, half, a)).product(),
            between: all.into_iter().flatten().map(Step::output).max().unwrap_or(0),
            analysis,
            analysis_transpose,
            synthesis,
            synthesis_transpose,
        })
    }

    /// Points of a channel before.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Points of a channel after.
    pub fn output(&self) -> usize {
        self.output
    }

    /// Kept modes `K`; a channel has `2 K` reals.
    pub fn modes(&self) -> usize {
        self.modes
    }

    /// Length of the scratch memory of the transforms.
    pub fn scratch(&self) -> usize {
        2 * self.between
    }

    /// Modes of the points of one channel.
    pub fn analyse(&self, x: &[T], x_hat: &mut [T], scratch: &mut [T]) {
        chain(&self.analysis, T::zero(), x, x_hat, scratch);
    }

    /// Adjoint of [`Modes::analyse`], `x = beta x + A^T x_hat`.
    pub fn analyse_transposed(&self, x_hat: &[T], beta: T, x: &mut [T], scratch: &mut [T]) {
        chain(&self.analysis_transpose, beta, x_hat, x, scratch);
    }

    /// Points of the modes of one channel.
    pub fn synthesise(&self, y_hat: &[T], y: &mut [T], scratch: &mut [T]) {
        chain(&self.synthesis, T::zero(), y_hat, y, scratch);
    }

    /// Adjoint of [`Modes::synthesise`].
    pub fn synthesise_transposed(&self, y: &[T], y_hat: &mut [T], scratch: &mut [T]) {
        chain(&self.synthesis_transpose, T::zero(), y, y_hat, scratch);
    }
}

/// Applies the steps one after the other; the last one writes `y = beta y + ..`.
fn chain<T: Real>(steps: &[Step<T>], beta: T, x: &[T], y: &mut [T], scratch: &mut [T]) {
    let (mut from, mut to) = scratch.split_at_mut(scratch.len() / 2);
    let last = steps.len() - 1;
    for (i, step) in steps.iter().enumerate() {
        let source = if i == 0 { x } else { &*from };
        if i == last {
            step.apply(source, beta, y);
        } else {
            step.apply(source, T::zero(), &mut to[..step.output()]);
            std::mem::swap(&mut from, &mut to);
        }
    }
}

fn is_half(axis: usize, axes: usize, half: Half) -> bool {
    axis == if half == Half::First { 0 } else { axes - 1 }
}

/// Kept modes of an axis.
fn kept(axes: &[Axis], half: Half, axis: usize) -> usize {
    if is_half(axis, axes.len(), half) { axes[axis].modes } else { 2 * axes[axis].modes }
}

/// The steps of an analysis with `weight(period, is_half, k) exp(-2 pi i k j / period)`.
///
/// Between two axes the real and imaginary parts lie right beside the axis that comes next, so that a complex product is
/// one real product with rows and columns `(part, k)` and `(part, j)` in the order of the memory.
fn steps<T: Real>(
    axes: &[Axis],
    half: Half,
    samples: impl Fn(&Axis) -> Samples,
    weight: impl Fn(usize, bool, i64) -> f64,
) -> Vec<Step<T>> {
    let last = axes.len() - 1;
    let points = |range: std::ops::Range<usize>| -> usize { axes[range].iter().map(|a| samples(a).count).product() };
    let modes = |range: std::ops::Range<usize>| -> usize { range.map(|a| kept(axes, half, a)).product() };
    let order: Vec<usize> = if half == Half::First { (0..=last).collect() } else { (0..=last).rev().collect() };
    order
        .into_iter()
        .map(|a| {
            let (at, m) = (samples(&axes[a]), axes[a].modes as i64);
            let is_half = is_half(a, axes.len(), half);
            let wavenumbers: Vec<i64> = if is_half { (0..m).collect() } else { (0..m).chain(-m..0).collect() };
            let (n, k) = (at.count, wavenumbers.len());
            // Entry from part `q` of point `j` to part `p` of mode `k`.
            let entry = |p: usize, k: usize, q: usize, j: usize| -> T {
                let k = wavenumbers[k];
                let turns = (k * (at.first + j) as i64).rem_euclid(at.period as i64) as f64 / at.period as f64;
                let (sin, cos) = (TAU * turns).sin_cos();
                let value = [[cos, sin], [-sin, cos]][p][q];
                T::of(weight(at.period, is_half, k) * value)
            };
            let table = |rows: usize, columns: usize, entry: &dyn Fn(usize, usize) -> T| -> Vec<T> {
                (0..rows * columns).map(|i| entry(i / columns, i % columns)).collect()
            };
            match half {
                Half::Last if is_half => Step {
                    matrix: table(n, 2 * k, &|r, c| entry(c / k, c % k, 0, r)),
                    rows: n,
                    columns: 2 * k,
                    side: Side::Right { outer: points(0..a) },
                },
                Half::Last => Step {
                    matrix: table(2 * k, 2 * n, &|r, c| entry(r / k, r % k, c % 2, c / 2)),
                    rows: 2 * k,
                    columns: 2 * n,
                    side: Side::Left { outer: points(0..a), inner: modes(a + 1..last + 1) },
                },
                Half::First if is_half => Step {
                    matrix: table(2 * k, n, &|r, c| entry(r % 2, r / 2, 0, c)),
                    rows: 2 * k,
                    columns: n,
                    side: Side::Left { outer: 1, inner: points(1..last + 1) },
                },
                Half::First if a < last => Step {
                    matrix: table(2 * k, 2 * n, &|r, c| entry(r % 2, r / 2, c / n, c % n)),
                    rows: 2 * k,
                    columns: 2 * n,
                    side: Side::Left { outer: modes(0..a), inner: points(a + 1..last + 1) },
                },
                Half::First => Step {
                    matrix: (0..2).flat_map(|p| table(2 * n, k, &|r, c| entry(p, c, r / n, r % n))).collect(),
                    rows: 2 * n,
                    columns: k,
                    side: Side::Split { outer: modes(0..a) },
                },
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use num_complex::Complex64;

    fn noise(len: usize, seed: f64) -> Vec<f64> {
        (0..len).map(|i| ((i as f64 + seed) * 12.9898).sin()).collect()
    }

    fn cases() -> Vec<(Vec<Axis>, Half)> {
        let resampled =
            Axis { input: Samples::padded(5, 5), output: Samples { count: 3, first: 9, period: 12 }, modes: 3 };
        vec![
            (vec![Axis::periodic(8, 3)], Half::Last),
            (vec![Axis::periodic(8, 3), Axis::periodic(6, 3)], Half::Last),
            (vec![Axis::periodic(7, 2), Axis::periodic(5, 2), Axis::periodic(6, 2)], Half::Last),
            (vec![resampled, Axis::periodic(6, 2)], Half::First),
            (vec![resampled, Axis::periodic(6, 2), Axis::periodic(9, 3)], Half::First),
        ]
    }

    fn wavenumbers(axes: &[Axis], half: Half, a: usize) -> Vec<i64> {
        let m = axes[a].modes as i64;
        if is_half(a, axes.len(), half) { (0..m).collect() } else { (0..m).chain(-m..0).collect() }
    }

    /// Index tuples of an array.
    fn indices(shape: &[usize]) -> Vec<Vec<usize>> {
        let len = shape.iter().product();
        let digit = |i: usize, a: usize| i / shape[a + 1..].iter().product::<usize>() % shape[a];
        (0..len).map(|i| (0..shape.len()).map(|a| digit(i, a)).collect()).collect()
    }

    #[test]
    fn transforms_are_the_fourier_sums_of_their_definition() {
        for (axes, half) in cases() {
            let plan = Modes::<f64>::plan(&axes, half).unwrap();
            let k: Vec<Vec<i64>> = (0..axes.len()).map(|a| wavenumbers(&axes, half, a)).collect();
            let modes = indices(&k.iter().map(Vec::len).collect::<Vec<_>>());
            let phase = |samples: &dyn Fn(&Axis) -> Samples, mode: &[usize], point: &[usize]| -> f64 {
                let turns = |a: usize| {
                    let at = samples(&axes[a]);
                    k[a][mode[a]] as f64 * (at.first + point[a]) as f64 / at.period as f64
                };
                TAU * (0..axes.len()).map(turns).sum::<f64>()
            };
            let x = noise(plan.input(), 0.2);
            let points = indices(&axes.iter().map(|a| a.input.count).collect::<Vec<_>>());
            let mut scratch = vec![f64::NAN; plan.scratch()];
            let mut x_hat = vec![f64::NAN; 2 * plan.modes()];
            plan.analyse(&x, &mut x_hat, &mut scratch);
            let period: usize = axes.iter().map(|a| a.input.period).product();
            for (i, mode) in modes.iter().enumerate() {
                let term = |(x, point): (&f64, &Vec<usize>)| x * Complex64::cis(-phase(&|a| a.input, mode, point));
                let exact = x.iter().zip(&points).map(term).sum::<Complex64>() / period as f64;
                // Sums of a few hundred numbers below one, divided by their count.
                assert!((x_hat[i] - exact.re).abs() < 1e-14 && (x_hat[plan.modes() + i] - exact.im).abs() < 1e-14);
            }
            let y_hat = noise(2 * plan.modes(), 0.5);
            let mut y = vec![f64::NAN; plan.output()];
            plan.synthesise(&y_hat, &mut y, &mut scratch);
            for (point, &y) in indices(&axes.iter().map(|a| a.output.count).collect::<Vec<_>>()).iter().zip(&y) {
                let mut exact = 0.0;
                for (i, mode) in modes.iter().enumerate() {
                    let h = if half == Half::First { 0 } else { axes.len() - 1 };
                    let weight = if mode[h] == 0 { 1.0 } else { 2.0 };
                    let value = Complex64::new(y_hat[i], y_hat[plan.modes() + i]);
                    exact += weight * (value * Complex64::cis(phase(&|a| a.output, mode, point))).re;
                }
                // Sums of a few hundred numbers of size one.
                assert!((y - exact).abs() < 1e-12, "{y} {exact}");
            }
        }
    }

    #[test]
    fn transposes_are_exact() {
        let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
        for (axes, half) in cases() {
            let plan = Modes::<f64>::plan(&axes, half).unwrap();
            let mut scratch = vec![f64::NAN; plan.scratch()];
            let (x, w_hat) = (noise(plan.input(), 0.2), noise(2 * plan.modes(), 0.4));
            let (mut x_hat, mut back) = (vec![f64::NAN; 2 * plan.modes()], vec![1.0; plan.input()]);
            plan.analyse(&x, &mut x_hat, &mut scratch);
            plan.analyse_transposed(&w_hat, 1.0, &mut back, &mut scratch);
            // Round-off of inner products of a few hundred numbers of size one.
            assert!((dot(&x_hat, &w_hat) - (dot(&x, &back) - x.iter().sum::<f64>())).abs() < 1e-12);
            let (y_hat, w) = (noise(2 * plan.modes(), 0.6), noise(plan.output(), 0.8));
            let (mut y, mut back) = (vec![f64::NAN; plan.output()], vec![f64::NAN; 2 * plan.modes()]);
            plan.synthesise(&y_hat, &mut y, &mut scratch);
            plan.synthesise_transposed(&w, &mut back, &mut scratch);
            assert!((dot(&y, &w) - dot(&y_hat, &back)).abs() < 1e-12);
        }
    }

    #[test]
    fn nyquist_modes_and_empty_axes_are_refused() {
        let message = |axes: &[Axis], half| Modes::<f64>::plan(axes, half).err().unwrap().to_string();
        assert_eq!(
            message(&[Axis::periodic(8, 4), Axis::periodic(8, 4)], Half::Last),
            "modes of axis 0 = 4 is not allowed: must be from 1 to 3, below the Nyquist mode of 8 points"
        );
        assert!(message(&[Axis::periodic(8, 5)], Half::Last).contains("must be from 1 to 4"));
        assert!(message(&[Axis::periodic(0, 1)], Half::Last).contains("must have points"));
        assert!(message(&[], Half::Last).contains("must be 1 to 3"));
    }
}
