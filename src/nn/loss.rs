//! Losses: mean square, and relative errors in `L^2` and in Sobolev norms of any order.

use std::sync::Arc;

use ndarray::ArrayViewD;
use num_complex::Complex;

use super::frames::Frames;
use super::kernel::{pull, same_shape, sum, zip};
use crate::autodiff::{Cotangent, Operation, Record, Tape, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};
use crate::spectral::symbol;
use crate::stepper::team::Shared;

/// Records the mean square `1/n sum_i (y_i - t_i)^2` over all values, shape `[]`, summed in double precision.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn mean_square<T: Real>(tape: &mut Tape<T>, y: Var, t: Var) -> Result<Var> {
    tape.apply(MeanSquare, &[y, t])
}

/// Records the relative error `1/B sum_b |y_b - t_b| / |t_b|` with the Euclidean norm over everything but the first
/// axis, shape `[]`, summed in double precision. It is not finite if a target vanishes.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes differ.
pub fn relative_l2<T: Real>(tape: &mut Tape<T>, y: Var, t: Var) -> Result<Var> {
    tape.apply(Relative { weights: None }, &[y, t])
}

/// Plan of relative errors in the norm of order `s`,
///
/// ```text
/// ||u||_s^2 = sum_k (alpha + |k|^2)^s |u_hat_k / N|^2 ,
/// ```
///
/// exact by Parseval's identity; `k` is the angular wavenumber of the box, the sum runs over the full spectrum. With
/// `s = 0` it is the mean square over the points, whatever `alpha`. With `alpha = 0` it is a seminorm: the mean has
/// weight zero. `V ||u||_s^2` with `alpha = 1` is the square of [`Sobolev::norm`](crate::spectral::Sobolev::norm).
///
/// # Example
///
/// Relative errors of one field in `L^2` and in `H^1`: the mode of the error is eight times as high as that of the target.
///
/// ```
/// use std::f64::consts::TAU;
/// use parseval::{autodiff::{Parameters, Tape}, field::Grid, nn::{RelativeSobolev, relative_l2}};
///
/// let grid = Grid::cube(1, 32, 1.0)?;
/// let target: Vec<f64> = grid.coordinates(0).iter().map(|x| (TAU * x).sin()).collect();
/// let result: Vec<f64> = grid.coordinates(0).iter().map(|x| (TAU * x).sin() + 0.1 * (8.0 * TAU * x).sin()).collect();
/// let mut tape = Tape::new(Parameters::new(), 1)?;
/// let t = tape.constant(&[1, 32], &target)?;
/// let y = tape.variable(&[1, 32], &result)?;
/// let l2 = relative_l2(&mut tape, y, t)?;
/// let h1 = RelativeSobolev::plan(&grid, 1.0, 0.1)?.record(&mut tape, y, t)?;
/// assert!((tape.scalar(l2)? - 0.1).abs() < 1e-12);
/// assert!((tape.scalar(h1)? - 0.799).abs() < 1e-3);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct RelativeSobolev<T: Real> {
    weights: Arc<Weights<T>>,
}

impl<T: Real> RelativeSobolev<T> {
    /// Plans the norm of order `s` with the constant `alpha`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `s` is not finite, or `alpha` not finite and `>= 0`.
    pub fn plan(grid: &Grid, s: f64, alpha: f64) -> Result<Self> {
        if !s.is_finite() {
            return Err(Error::parameter("s", s, "must be finite"));
        }
        if !(alpha >= 0.0 && alpha.is_finite()) {
            return Err(Error::parameter("alpha", alpha, "must be >= 0 and finite"));
        }
        let weight = symbol::over_modes(grid, |m| match alpha + symbol::mode_k_squared(grid, m) {
            _ if s == 0.0 => 1.0,
            0.0 => 0.0,
            base => base.powf(s),
        });
        let multiplicity = symbol::hermitian_weights::<f64>(grid) / (grid.points() as f64).powi(2);
        let quadrature = (&weight * &multiplicity).iter().copied().collect();
        let weight = weight.iter().map(|&w| T::of(w)).collect();
        Ok(Self { weights: Arc::new(Weights { frames: Frames::plan(grid, 1), weight, quadrature }) })
    }

    /// Records `1/B sum_b ||y_b - t_b||_s / ||t_b||_s` of arrays of shape `[batch, .., space]`, shape `[]`. The squares
    /// of all frames and channels of a sample are added. It is not finite if a target has norm zero.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the shapes differ, or the trailing axes are not the grid's.
    pub fn record(&self, tape: &mut Tape<T>, y: Var, t: Var) -> Result<Var> {
        tape.apply(Relative { weights: Some(self.weights.clone()) }, &[y, t])
    }

    /// `||u||_s` of a field, shape `[.., space]`; the squares over leading axes are added.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the trailing axes are not the grid's.
    pub fn norm(&self, u: ArrayViewD<'_, T>) -> Result<f64> {
        let frames = &self.weights.frames;
        if !u.shape().ends_with(frames.grid().shape()) {
            return Err(Error::shape("norm", frames.grid().shape(), u.shape()));
        }
        let u = u.as_standard_layout();
        let u = u.as_slice().expect("standard layout");
        let squares = u.chunks_exact(frames.grid().points()).map(|frame| {
            frames.with(|memory| {
                frames.forward(frame, memory);
                self.weights.square(&memory.hat)
            })
        });
        Ok(squares.sum::<f64>().sqrt())
    }
}

struct Weights<T: Real> {
    frames: Frames<T>,
    /// `(alpha + |k|^2)^s` of the half spectrum.
    weight: Vec<T>,
    /// The same times multiplicity over `N^2`.
    quadrature: Vec<f64>,
}

impl<T: Real> Weights<T> {
    fn square(&self, hat: &[Complex<T>]) -> f64 {
        let mut sums = [0.0; 4];
        for (hat, weight) in hat.chunks(4).zip(self.quadrature.chunks(4)) {
            for ((sum, z), w) in sums.iter_mut().zip(hat).zip(weight) {
                *sum += w * (z.re.as_f64().powi(2) + z.im.as_f64().powi(2));
            }
        }
        sums.iter().sum()
    }
}

/// Mean over the batch of `|y - t| / |t|`, in `L^2` or with weights.
///
/// Kept are `|y - t|` and `|t|` of every sample, and the weighted coefficients of `y - t`.
struct Relative<T: Real> {
    weights: Option<Arc<Weights<T>>>,
}

impl<T: Real> Relative<T> {
    /// Squares of `y - t` and of `t` for every sample; fills the coefficients of the first.
    fn squares(&self, workers: &Workers<T>, y: Tensor<T>, t: &[T], coefficients: &mut [T]) -> Vec<[f64; 2]> {
        let batch = y.shape[0];
        let len = y.values.len() / batch.max(1);
        let Some(weights) = &self.weights else {
            let mean = |squares: f64| squares / len as f64;
            return (0..batch)
                .map(|sample| {
                    let range = sample * len..(sample + 1) * len;
                    let (y, t) = (&y.values[range.clone()], &t[range]);
                    let error = sum(workers, [y, t], |y, t| (y - t) * (y - t));
                    [mean(error), mean(sum(workers, [t, t], |t, _| t * t))]
                })
                .collect();
        };
        let frames = &weights.frames;
        let (points, modes) = (frames.grid().points(), frames.modes());
        let count = y.values.len() / points;
        let mut squares = vec![[0.0; 2]; count];
        let (results, coefficients) = (Shared::new(&mut squares), Shared::new(coefficients));
        workers.tiles(count, points, |frame, error| {
            let range = frame * points..(frame + 1) * points;
            let (y, t) = (&y.values[range.clone()], &t[range]);
            error.iter_mut().zip(y).zip(t).for_each(|((e, &y), &t)| *e = y - t);
            // SAFETY: every frame has its own coefficients and result.
            let (kept, result) = unsafe {
                let kept = coefficients.part(frame * 2 * modes, 2 * modes).as_mut_slice();
                (kept, &mut results.part(frame, 1).as_mut_slice()[0])
            };
            frames.with(|memory| {
                frames.forward(t, memory);
                result[1] = weights.square(&memory.hat);
                frames.forward(error, memory);
                result[0] = weights.square(&memory.hat);
                for ((kept, z), &w) in kept.chunks_exact_mut(2).zip(&memory.hat).zip(&weights.weight) {
                    (kept[0], kept[1]) = (w * z.re, w * z.im);
                }
            });
        });
        let of_sample = |frames: &[[f64; 2]]| frames.iter().fold([0.0; 2], |[a, b], [c, d]| [a + c, b + d]);
        squares.chunks_exact((count / batch.max(1)).max(1)).map(of_sample).collect()
    }

    /// Adds, for every sample, `a_b / N` times the weighted error and `b_b / N` times the weighted target.
    fn add_gradient(&self, workers: &Workers<T>, record: &Record<T>, factors: &[[f64; 2]], input: Cotangent<T>) {
        let [y, t] = [record.inputs[0].values, record.inputs[1].values];
        let len = y.len() / factors.len().max(1);
        let (values, old) = input.target();
        let is_fresh = old == T::zero();
        let Some(weights) = &self.weights else {
            for (sample, factors) in factors.iter().enumerate() {
                let range = sample * len..(sample + 1) * len;
                let [a, b] = factors.map(|f| T::of(f / len as f64));
                let operands = [&y[range.clone()], &t[range.clone()]];
                zip(workers, &mut values[range], !is_fresh, operands, |y, t| a * (y - t) + b * t);
            }
            return;
        };
        let frames = &weights.frames;
        let (points, modes) = (frames.grid().points(), frames.modes());
        let kept = &record.saved[2 * factors.len()..];
        workers.pieces(values, points, points, |frame, g, field| {
            let [a, b] = factors[frame * points / len].map(|f| T::of(f / points as f64));
            frames.with(|memory| {
                if b == T::zero() {
                    memory.hat.fill(Complex::new(b, b));
                } else {
                    frames.forward(&t[frame * points..(frame + 1) * points], memory);
                }
                let kept = kept[frame * 2 * modes..].chunks_exact(2);
                for ((z, kept), &w) in memory.hat.iter_mut().zip(kept).zip(&weights.weight) {
                    let target = b * w;
                    *z = Complex::new(a * kept[0] + target * z.re, a * kept[1] + target * z.im);
                }
                frames.inverse(memory, field);
            });
            for (g, &f) in g.iter_mut().zip(field.iter()) {
                *g = if is_fresh { f } else { *g + f };
            }
        });
    }
}

impl<T: Real> Operation<T> for Relative<T> {
    fn name(&self) -> &'static str {
        if self.weights.is_some() { "relative_sobolev" } else { "relative_l2" }
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let name = Operation::<T>::name(self);
        let shape = same_shape(name, inputs)?;
        let space = self.weights.as_ref().map_or(&[][..], |weights| weights.frames.grid().shape());
        if shape.len() <= space.len() || !shape.ends_with(space) {
            return Err(Error::shape(format!("{name}, [batch, .., space]"), &[&[1], space].concat(), &shape));
        }
        Ok(Vec::new())
    }
    fn saved(&self, inputs: &[&[usize]]) -> usize {
        let coefficients = self.weights.as_ref().map_or(0, |weights| {
            2 * weights.frames.modes() * inputs[0].iter().product::<usize>() / weights.frames.grid().points()
        });
        2 * inputs[0][0] + coefficients
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], saved: &mut [T]) {
        let batch = inputs[0].shape[0];
        let (norms, coefficients) = saved.split_at_mut(2 * batch);
        let squares = self.squares(workers, inputs[0], inputs[1].values, coefficients);
        let mut total = 0.0;
        for (norms, [error, target]) in norms.chunks_exact_mut(2).zip(squares) {
            let [error, target] = [error.sqrt(), target.sqrt()];
            (norms[0], norms[1]) = (T::of(error), T::of(target));
            total += error / target;
        }
        output[0] = T::of(total / batch as f64);
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        // With e = y - t: d(|e| / |t|) = <e, dy - dt> / (|e| |t|) - |e| <t, dt> / |t|^3. At e = 0 the first is taken as 0.
        let batch = record.inputs[0].shape[0];
        let scale = cotangent[0].as_f64() / batch as f64;
        let norms = record.saved[..2 * batch].chunks_exact(2).map(|n| [n[0].as_f64(), n[1].as_f64()]);
        let inverse = |x: f64| if x == 0.0 { 0.0 } else { 1.0 / x };
        let factors: Vec<[f64; 2]> =
            norms.map(|[e, t]| [scale * inverse(e * t), scale * e * inverse(t.powi(3))]).collect();
        for (i, input) in inputs.iter_mut().enumerate() {
            let Some(input) = input.take() else { continue };
            let factors: Vec<[f64; 2]> =
                factors.iter().map(|&[a, b]| if i == 0 { [a, 0.0] } else { [-a, -b] }).collect();
            self.add_gradient(workers, record, &factors, input);
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        output[0] = T::of(slope(self, workers, record, tangents));
        true
    }
}

/// Tangent of a scalar: the gradient times the directions.
fn slope<T: Real>(
    operation: &impl Operation<T>,
    workers: &Workers<T>,
    record: &Record<T>,
    tangents: &[Option<&[T]>],
) -> f64 {
    let mut gradients: Vec<Option<Vec<T>>> =
        tangents.iter().map(|tangent| tangent.map(|t| vec![T::zero(); t.len()])).collect();
    let mut targets: Vec<Option<Cotangent<T>>> =
        gradients.iter_mut().map(|g| g.as_mut().map(|g| Cotangent::new(g, true))).collect();
    operation.vjp(workers, record, &[T::one()], &mut targets);
    drop(targets);
    let pairs = gradients.iter().zip(tangents).filter_map(|(g, t)| Some([g.as_deref()?, (*t)?]));
    pairs.map(|pair| sum(workers, pair, |g, t| g * t)).sum()
}

/// `1/n sum_i (y_i - t_i)^2`.
struct MeanSquare;

impl<T: Real> Operation<T> for MeanSquare {
    fn name(&self) -> &'static str {
        "mean_square"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        same_shape("mean_square", inputs).map(|_| Vec::new())
    }
    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        let [y, t] = [inputs[0].values, inputs[1].values];
        output[0] = T::of(sum(workers, [y, t], |y, t| (y - t) * (y - t)) / y.len() as f64);
    }
    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let operands = [record.inputs[0].values, record.inputs[1].values];
        for (input, sign) in inputs.iter_mut().zip([2.0, -2.0]) {
            if let Some(input) = input.take() {
                let factor = T::of(sign * cotangent[0].as_f64() / operands[0].len() as f64);
                pull(workers, input, operands, |y, t| factor * (y - t));
            }
        }
    }
    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        output[0] = T::of(slope(self, workers, record, tangents));
        true
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{ArrayD, Axis};

    use super::super::kernel::testing::{assert_derivatives, assert_threads_agree, noise};
    use super::*;
    use crate::autodiff::Parameters;
    use crate::spectral::{Sobolev, SobolevKind};

    fn grids() -> [Grid; 3] {
        [
            Grid::new(&[12], &[3.0]).unwrap(),
            Grid::new(&[9, 8], &[2.0, 5.0]).unwrap(),
            Grid::new(&[6, 5, 4], &[1.0, 2.0, 3.0]).unwrap(),
        ]
    }

    #[test]
    fn norm_of_a_mode_is_its_weight_over_root_two() {
        let grid = Grid::new(&[16, 12], &[1.0, 2.0]).unwrap();
        let k = [3.0 * grid.k_unit(0), -2.0 * grid.k_unit(1)];
        let (x, y) = (grid.coordinates(0), grid.coordinates(1));
        let u = ArrayD::from_shape_fn(grid.shape(), |i| (k[0] * x[i[0]] + k[1] * y[i[1]] + 0.3).cos());
        for (s, alpha) in [(-1.0, 0.1), (0.0, 0.0), (0.5, 10f64.powf(-1.5)), (1.0, 0.0), (1.0, 0.1), (2.3, 1.0)] {
            let norm = RelativeSobolev::<f64>::plan(&grid, s, alpha).unwrap().norm(u.view()).unwrap();
            let exact = (alpha + k[0] * k[0] + k[1] * k[1]).powf(0.5 * s) / 2f64.sqrt();
            // Round-off of a transform of 192 points; other modes weigh at most 50 times as much.
            assert!((norm / exact - 1.0).abs() < 1e-12, "{s} {alpha}");
        }
    }

    #[test]
    fn an_error_in_mode_eight_counts_eightfold_in_h1() {
        let grid = Grid::cube(2, 32, 1.0).unwrap();
        let x = grid.coordinates(0);
        let wave = |m: f64| ArrayD::from_shape_fn(vec![1, 32, 32], |i| (m * grid.k_unit(0) * x[i[1]]).sin());
        let (t, y) = (wave(1.0), wave(1.0) + 0.1 * wave(8.0));
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let t = tape.constant(t.shape(), t.as_slice().unwrap()).unwrap();
        let y = tape.variable(y.shape(), y.as_slice().unwrap()).unwrap();
        let l2 = relative_l2(&mut tape, y, t).unwrap();
        let h1 = RelativeSobolev::plan(&grid, 1.0, 0.1).unwrap().record(&mut tape, y, t).unwrap();
        assert!((tape.scalar(l2).unwrap() - 0.1).abs() < 1e-12);
        let k2 = grid.k_unit(0).powi(2);
        let exact = 0.1 * ((0.1 + 64.0 * k2) / (0.1 + k2)).sqrt();
        assert!((tape.scalar(h1).unwrap() - exact).abs() < 1e-12);
        assert!((exact - 0.799).abs() < 5e-4, "the published number, to its three digits");
    }

    #[test]
    fn relative_errors_are_those_of_the_spectral_plan() {
        for grid in grids() {
            let shape = [&[2, 3], grid.shape()].concat();
            let [y, t] = [1, 2].map(|seed| ArrayD::from_shape_vec(shape.clone(), noise(&shape, seed).1).unwrap());
            for s in [-1.0, 0.0, 1.5] {
                let plan = Sobolev::<f64>::plan(&grid, s, SobolevKind::Inhomogeneous).unwrap();
                let samples = y.axis_iter(Axis(0)).zip(t.axis_iter(Axis(0)));
                let expected = samples.map(|(y, t)| plan.relative_error(y, t)).sum::<f64>() / 2.0;
                let mut tape = Tape::<f64>::new(Parameters::new(), 2).unwrap();
                let [y, t] = [&y, &t].map(|a| tape.variable(&shape, a.as_slice().unwrap()).unwrap());
                let loss = RelativeSobolev::plan(&grid, s, 1.0).unwrap().record(&mut tape, y, t).unwrap();
                assert!((tape.scalar(loss).unwrap() / expected - 1.0).abs() < 1e-13);
                if s == 0.0 {
                    let l2 = relative_l2(&mut tape, y, t).unwrap();
                    assert!((tape.scalar(l2).unwrap() / expected - 1.0).abs() < 1e-13);
                }
            }
        }
    }

    #[test]
    fn derivatives_agree() {
        for grid in grids() {
            let shape = [&[2, 2], grid.shape()].concat();
            let pair = [noise(&shape, 1), noise(&shape, 2)];
            assert_derivatives(|| MeanSquare, &pair);
            assert_derivatives(|| Relative { weights: None }, &pair);
            for (s, alpha) in [(1.0, 0.1), (-0.5, 1.0), (1.5, 0.0)] {
                let plan = RelativeSobolev::plan(&grid, s, alpha).unwrap();
                assert_derivatives(|| Relative { weights: Some(plan.weights.clone()) }, &pair);
            }
        }
    }

    #[test]
    fn gradient_vanishes_where_the_error_does() {
        let grid = Grid::cube(1, 8, 1.0).unwrap();
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let (shape, values) = noise(&[3, 8], 1);
        let t = tape.constant(&shape, &values).unwrap();
        let y = tape.variable(&shape, &values).unwrap();
        let loss = RelativeSobolev::plan(&grid, 1.0, 1.0).unwrap().record(&mut tape, y, t).unwrap();
        assert_eq!(tape.scalar(loss).unwrap(), 0.0);
        assert!(tape.gradients(loss, &[1.0], &[y]).unwrap()[0].iter().all(|g| *g == 0.0));
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_threads() {
        let pair = [noise(&[3, 5, 48, 48], 1), noise(&[3, 5, 48, 48], 2)];
        let grid = Grid::cube(2, 48, 1.0).unwrap();
        let single = RelativeSobolev::plan(&grid, 1.0, 0.1).unwrap();
        let double = RelativeSobolev::plan(&grid, -1.0, 0.1).unwrap();
        assert_threads_agree(&pair, |t, v| single.record(t, v[0], v[1]), |t, v| double.record(t, v[0], v[1]));
        assert_threads_agree(&pair, |t, v| relative_l2(t, v[0], v[1]), |t, v| mean_square(t, v[0], v[1]));
    }

    #[test]
    fn single_precision_agrees_with_double() {
        let grid = Grid::cube(2, 32, 1.0).unwrap();
        let (shape, y) = noise(&[2, 2, 32, 32], 1);
        let t = noise(&shape, 2).1;
        let mut single = Tape::<f32>::new(Parameters::new(), 1).unwrap();
        let mut double = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let [a, b] = [&y, &t].map(|x| {
            let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
            single.variable(&shape, &x).unwrap()
        });
        let [c, d] = [&y, &t].map(|x| double.variable(&shape, x).unwrap());
        let rough = RelativeSobolev::plan(&grid, 1.0, 0.1).unwrap().record(&mut single, a, b).unwrap();
        let fine = RelativeSobolev::plan(&grid, 1.0, 0.1).unwrap().record(&mut double, c, d).unwrap();
        let (rough, fine) = (single.scalar(rough).unwrap(), double.scalar(fine).unwrap());
        // A few eps of f32 (6e-8) from the inputs and the transform.
        assert!((rough / fine - 1.0).abs() < 3e-7, "{rough} {fine}");
    }

    #[test]
    fn misfits_are_refused_with_both_shapes() {
        let grid = Grid::cube(1, 8, 1.0).unwrap();
        let plan = RelativeSobolev::<f64>::plan(&grid, 1.0, 0.1).unwrap();
        let mut tape = Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.constant(&[2, 8], &[0.0; 16]).unwrap();
        let y = tape.constant(&[2, 9], &[0.0; 18]).unwrap();
        let message = |result: Result<Var>| result.unwrap_err().to_string();
        assert_eq!(message(relative_l2(&mut tape, x, y)), "relative_l2: expected shape [2, 8], got [2, 9]");
        let text = "relative_sobolev, [batch, .., space]: expected shape [1, 8], got [2, 9]";
        assert_eq!(message(plan.record(&mut tape, y, y)), text);
        assert!(RelativeSobolev::<f64>::plan(&grid, f64::NAN, 0.1).is_err());
        assert!(RelativeSobolev::<f64>::plan(&grid, 1.0, -0.1).is_err());
    }
}
