//! The estimates as functions of a space-time correction, with gradients.

use std::sync::Arc;

use ndarray::{Array2, ArrayD, ArrayView2, ArrayViewD, Axis};
use num_complex::Complex64;

use super::estimator::{Estimator, EstimatorOptions, PaperOptions};
use super::modes::{Norm, add_product, multiplicity, table};
use super::time::TimeGrid;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::Pde;
use crate::stepper::State;

/// `J(x)` of the trajectory `u + C^T x`, for an optimiser that works on slices.
///
/// The unknown `x` holds the coefficients of a correction in the orthonormal cosine basis `C` in time and in Fourier modes in
/// space: `terms` times the stepper's sample, `x[j sample_len ..]` belonging to frequency `j`. With all terms every
/// trajectory can be reached; with fewer the correction is smooth in time. The objective is that of
/// [`Estimator::coupled`],
///
/// ```text
/// J = |w(t_0) - u_0|^2 + (1/nu) sum_m omega_m |R_m|_s^2,      R = D w - L w - N(w) - f,      w = u + C^T x,
/// ```
///
/// or `sum_m omega_m |R_m|_{H^-1}^2` of the published residual ([`Objective::paper`]). With the weights
/// `Lambda_m = omega_m / nu (alpha + |k|^2)^s R_m` its gradient is
///
/// ```text
/// dJ/dw_n = 2 [ (D^T Lambda)_n - conj(L) Lambda_n - DN(w_n)^T Lambda_n + delta_n0 (w(t_0) - u_0) ] .
/// ```
///
/// Modes that the solver does not keep are neither corrected nor counted. Minimising a residual by first-order methods is
/// slow even when preconditioned; [`super::Newton`] or a march is the better repair wherever the solver is at hand.
///
/// # Example
///
/// ```
/// use ndarray::{Array, Axis};
/// use parseval::{field::Grid, pde::NavierStokes2d};
/// use parseval::operator::refine::{EstimatorOptions, Objective, TimeGrid};
///
/// let (grid, time) = (Grid::cube(2, 16, 1.0)?, TimeGrid::uniform(8, 0.1, 6)?);
/// let frames = Array::from_shape_fn((8, 1, 16, 16), |(_, _, i, j)| ((i + 2 * j) as f64 * 0.39269908169872414).sin()).into_dyn();
/// let pde = NavierStokes2d::decaying(0.01);
/// let options = EstimatorOptions::default();
/// let mut objective =
///     Objective::coupled(&pde, &grid, &time, &options, frames.index_axis(Axis(0), 0), frames.view(), 8)?;
/// let mut x = vec![0.0; objective.len()];
/// let mut gradient = x.clone();
/// let before = objective.value_and_gradient(&x, &mut gradient);
/// // A step along the preconditioned gradient.
/// let scale = objective.preconditioner(1.0);
/// x.iter_mut().zip(&gradient).zip(&scale).for_each(|((x, g), p)| *x -= 0.1 * p * p * g);
/// assert!(objective.value_and_gradient(&x, &mut gradient) < before);
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct Objective {
    estimator: Estimator,
    /// Of the published residual; `None` for the coupled one.
    published: Option<Arc<Published>>,
    /// Coefficients of the frames, and of the start.
    frames: State<f64>,
    start: Vec<f64>,
    /// The first rows of the cosine basis, `[term, frame]`, and their frequencies.
    basis: Array2<f64>,
    frequencies: Vec<f64>,
    /// Multiplicity of the stored reals, and the norm's weight without it.
    multiplicity: Vec<f64>,
    dual: Vec<f64>,
}

/// The published residual in the form
///
/// ```text
/// R = q w + r N(w) - L w_bar - N(w_bar) - f,      w_bar = a w + b N(w)       (N with forcing)
/// ```
///
/// with diagonal `a = c_- A_- + c_+ A_+`, `b = c_- B_- + c_+ B_+`, `q = (c_- (1 - A_-) + c_+ (A_+ - 1)) / delta`,
/// `r = (c_+ B_+ - c_- B_-) / delta`, and `A_d = (1 + d L / 2) / (1 - d L / 2)`, `B_d = d / (1 - d L / 2)`. Without the
/// cancellation of the difference quotient: `A_d - 1 = L B_d`.
struct Published {
    a: Vec<f64>,
    b: Vec<f64>,
    q: Vec<f64>,
    r: Vec<f64>,
}

impl Objective {
    /// The coupled objective of a prediction, to be corrected by the first `terms` cosines in time.
    ///
    /// # Arguments
    ///
    /// * `start`, `frames`: as for [`Estimator::coupled`].
    ///
    /// # Errors
    ///
    /// As [`Estimator::plan`] and [`Estimator::coupled`]; [`Error::Parameter`] if `terms` is not 1 to the number of frames.
    pub fn coupled<P: Pde>(
        pde: &P,
        grid: &Grid,
        time: &TimeGrid,
        options: &EstimatorOptions,
        start: ArrayViewD<'_, f64>,
        frames: ArrayViewD<'_, f64>,
        terms: usize,
    ) -> Result<Self> {
        if !(1..=time.frames()).contains(&terms) {
            return Err(Error::parameter("terms", terms, format!("must be 1 to the {} frames", time.frames())));
        }
        let estimator = Estimator::plan(pde, grid, time, options)?;
        // In the layout of the frames, whose vector width may depend on their number.
        let constant = start.broadcast([&[time.frames()], start.shape()].concat()).expect("an axis in front");
        let (constant, _) = estimator.load(constant)?;
        let (frames, _) = estimator.load(frames)?;
        let start = constant.as_slice()[..estimator.stepper.layout().sample_len()].to_vec();
        let multiplicity = multiplicity(estimator.stepper.layout());
        let dual = unweighted(&estimator.dual, &multiplicity);
        let (basis, mut frequencies) = time.cosine_basis();
        frequencies.truncate(terms);
        let basis = basis.slice_move(ndarray::s![..terms, ..]);
        Ok(Self { estimator, published: None, frames, start, basis, frequencies, multiplicity, dual })
    }

    /// The published objective: sum over frames of residuals that do not know each other. For comparison; it is flat.
    ///
    /// # Errors
    ///
    /// As [`Objective::coupled`]; [`Error::Parameter`] as [`Estimator::paper`].
    pub fn paper<P: Pde>(
        pde: &P,
        grid: &Grid,
        time: &TimeGrid,
        options: &PaperOptions,
        frames: ArrayViewD<'_, f64>,
        terms: usize,
    ) -> Result<Self> {
        let PaperOptions { delta, weights: [minus, plus], alpha } = *options;
        if !(delta > 0.0 && delta.is_finite()) {
            return Err(Error::parameter("delta", delta, "must be > 0 and finite"));
        }
        let estimator = EstimatorOptions { alpha, nu: Some(1.0), ..EstimatorOptions::default() };
        let start = frames.index_axis(Axis(0), 0);
        let mut objective = Self::coupled(pde, grid, time, &estimator, start, frames.view(), terms)?;
        let factor = |f: &dyn Fn(Complex64) -> Complex64| {
            table(objective.estimator.stepper.layout(), |channel, k| f(pde.linear_symbol(channel, k)))
        };
        let b = |l: Complex64, d: f64| d / (1.0 - l * (0.5 * d));
        objective.published = Some(Arc::new(Published {
            a: factor(&|l| minus + plus + l * (b(l, -delta) * minus + b(l, delta) * plus)),
            b: factor(&|l| b(l, -delta) * minus + b(l, delta) * plus),
            q: factor(&|l| l * (b(l, delta) * plus - b(l, -delta) * minus) / delta),
            r: factor(&|l| (b(l, delta) * plus - b(l, -delta) * minus) / delta),
        }));
        Ok(objective)
    }

    /// Number of unknowns.
    #[allow(clippy::len_without_is_empty)] // There is always at least one term.
    pub fn len(&self) -> usize {
        self.basis.nrows() * self.multiplicity.len()
    }

    /// `J(x)`, and `dJ/dx` into `gradient`.
    ///
    /// # Panics
    ///
    /// If a slice has not the length [`Objective::len`].
    pub fn value_and_gradient(&mut self, x: &[f64], gradient: &mut [f64]) -> f64 {
        assert!(gradient.len() == self.len(), "gradient: expected {} reals, got {}", self.len(), gradient.len());
        let w = self.trajectory(x);
        let (value, bar) = match self.published.clone() {
            None => self.coupled_terms(&w),
            Some(published) => self.paper_terms(&published, &w),
        };
        let (frames, len) = (self.basis.ncols(), self.multiplicity.len());
        let bar = ArrayView2::from_shape((frames, len), bar.as_slice()).expect("the state holds the frames");
        for (gradient, bar) in gradient.chunks_exact_mut(len).zip(self.basis.dot(&bar).rows()) {
            for ((gradient, bar), weight) in gradient.iter_mut().zip(bar).zip(&self.multiplicity) {
                *gradient = 2.0 * weight * bar;
            }
        }
        value
    }

    /// The corrected frames, `[frame, channel, x, ..]`; modes that the solver does not keep are dropped.
    ///
    /// # Panics
    ///
    /// If `x` has not the length [`Objective::len`].
    pub fn corrected(&self, x: &[f64]) -> ArrayD<f64> {
        self.estimator.stepper.store(&self.trajectory(x))
    }

    /// Diagonal `p` of a change of variables `x = p y` that makes the Hessian of the coupled objective close to a multiple
    /// of the identity: the parabolic symbol, and the weights of the norm,
    ///
    /// ```text
    /// p_jk = 1 / (c + |L(k)| + |omega_j|) (alpha + |k|^2)^(-s/2) (2 h_k dt / nu)^(-1/2),
    /// ```
    ///
    /// with the multiplicity `h` of a stored mode and the mean weight `dt` of a frame. `|L| = nu |k|^2` for a viscous flow.
    /// `c`, 1 / time, stands for what the nonlinear term adds; the rate of strain is a good value. As an initial inverse
    /// Hessian in the variables `x` take `p^2`. Zero where nothing is stored.
    pub fn preconditioner(&self, c: f64) -> Vec<f64> {
        let dt = self.estimator.time.duration() / self.basis.ncols() as f64;
        let [linear2, _] = &self.estimator.rates;
        let mut scale = Vec::with_capacity(self.len());
        for omega in &self.frequencies {
            for ((weight, s), linear2) in self.multiplicity.iter().zip(&self.dual).zip(linear2) {
                let rate = c + linear2.sqrt() + omega;
                let curvature = 2.0 * weight * s * dt / self.estimator.nu;
                scale.push(if curvature > 0.0 && rate > 0.0 { 1.0 / (rate * curvature.sqrt()) } else { 0.0 });
            }
        }
        scale
    }

    /// `u + C^T x`.
    fn trajectory(&self, x: &[f64]) -> State<f64> {
        assert!(x.len() == self.len(), "x: expected {} reals, got {}", self.len(), x.len());
        let x =
            ArrayView2::from_shape((self.basis.nrows(), self.multiplicity.len()), x).expect("the length was checked");
        let mut w = self.frames.clone();
        let correction = self.basis.t().dot(&x);
        w.as_mut_slice().iter_mut().zip(&correction).for_each(|(w, c)| *w += c);
        w
    }

    /// `sum_m omega_m / nu |R_m|^2`, and `R` turned into `Lambda`.
    fn weigh(&self, residual: &mut State<f64>) -> f64 {
        let Estimator { time, dual, nu, .. } = &self.estimator;
        let mut value = 0.0;
        for (r, omega) in residual.as_mut_slice().chunks_exact_mut(self.dual.len()).zip(time.weights()) {
            value += omega / nu * dual.squared(r);
            r.iter_mut().zip(&self.dual).for_each(|(r, s)| *r *= omega / nu * s);
        }
        value
    }

    /// Value, and half the gradient field of each frame.
    fn coupled_terms(&mut self, w: &State<f64>) -> (f64, State<f64>) {
        let (mut lambda, _) = self.estimator.residual(w, None);
        let mut value = self.weigh(&mut lambda);
        let width = self.estimator.stepper.layout().width;
        let len = self.dual.len();
        let mut bar = self.estimator.stepper.nonlinear_vjp(w, &lambda);
        for (bar, lambda) in bar.as_mut_slice().chunks_exact_mut(len).zip(lambda.as_slice().chunks_exact(len)) {
            add_product(width, &self.estimator.linear, lambda, true, bar);
        }
        let mut derivative = vec![0.0; bar.as_slice().len()];
        self.estimator.time.differentiate_adjoint(lambda.as_slice(), &mut derivative);
        bar.as_mut_slice().iter_mut().zip(&derivative).for_each(|(bar, d)| *bar = d - *bar);
        let first = bar.as_mut_slice().iter_mut().zip(w.as_slice()).zip(&self.start).zip(&self.multiplicity);
        for (((bar, w), start), weight) in first {
            value += weight * (w - start) * (w - start);
            *bar += w - start;
        }
        (value, bar)
    }

    /// As [`Objective::coupled_terms`] for the published residual.
    fn paper_terms(&mut self, published: &Published, w: &State<f64>) -> (f64, State<f64>) {
        let nonlinear = self.estimator.stepper.nonlinear(w);
        let (width, len) = (self.estimator.stepper.layout().width, self.dual.len());
        let (mut mean, mut lambda) = (self.estimator.stepper.zeros(), self.estimator.stepper.zeros());
        let add = |symbol: &[f64], x: &State<f64>, conjugate: bool, out: &mut State<f64>| {
            for (out, x) in out.as_mut_slice().chunks_exact_mut(len).zip(x.as_slice().chunks_exact(len)) {
                add_product(width, symbol, x, conjugate, out);
            }
        };
        add(&published.a, w, false, &mut mean);
        add(&published.b, &nonlinear, false, &mut mean);
        let tendency = self.estimator.stepper.time_derivative(&mean);
        add(&published.q, w, false, &mut lambda);
        add(&published.r, &nonlinear, false, &mut lambda);
        lambda.as_mut_slice().iter_mut().zip(tendency.as_slice()).for_each(|(r, f)| *r -= f);
        let value = self.weigh(&mut lambda);
        // Of w_bar, up to the sign.
        let mut mean_bar = self.estimator.stepper.nonlinear_vjp(&mean, &lambda);
        add(&self.estimator.linear, &lambda, true, &mut mean_bar);
        mean_bar.as_mut_slice().iter_mut().for_each(|bar| *bar = -*bar);
        // Of N(w), then of w.
        let mut nonlinear_bar = self.estimator.stepper.zeros();
        add(&published.r, &lambda, true, &mut nonlinear_bar);
        add(&published.b, &mean_bar, true, &mut nonlinear_bar);
        let mut bar = self.estimator.stepper.nonlinear_vjp(w, &nonlinear_bar);
        add(&published.q, &lambda, true, &mut bar);
        add(&published.a, &mean_bar, true, &mut bar);
        (value, bar)
    }
}

/// The weights of a norm over the multiplicity that they contain, zero in dead lanes.
fn unweighted(norm: &Norm, multiplicity: &[f64]) -> Vec<f64> {
    norm.weights.iter().zip(multiplicity).map(|(w, m)| if *m > 0.0 { w / m } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, *};
    use super::*;
    use crate::pde::NavierStokes2d;

    const FRAMES: usize = 9;

    fn case(nu: f64) -> (NavierStokes2d, Grid, TimeGrid, ArrayD<f64>) {
        let (grid, time) = (Grid::cube(2, 32, 1.0).unwrap(), TimeGrid::uniform(FRAMES, 0.1, 6).unwrap());
        let smooth = |seed: u64| crate::initial::GaussianField::fno_navier_stokes().sample(&grid, seed).unwrap();
        let (a, b) = (smooth(1), smooth(2));
        let frames = ArrayD::from_shape_fn(vec![FRAMES, 1, 32, 32], |i| {
            a[[i[2], i[3]]] + 0.2 * (i[0] as f64 * 0.3).sin() * b[[i[2], i[3]]]
        });
        (NavierStokes2d::fno(nu), grid, time, frames)
    }

    /// A direction that is the spectrum of real fields.
    fn direction(objective: &Objective, seed: u64) -> Vec<f64> {
        let terms = objective.basis.nrows();
        let shape = objective.estimator.stepper.store(&objective.frames).shape().to_vec();
        let state = objective.estimator.stepper.load(noise(&shape, seed).view()).unwrap();
        state.as_slice()[..terms * objective.dual.len()].to_vec()
    }

    fn check_gradient(objective: &mut Objective, tolerance: f64) {
        let n = objective.len();
        let (x, v) = (direction(objective, 1), direction(objective, 2));
        let mut gradient = vec![0.0; n];
        let value = objective.value_and_gradient(&x, &mut gradient);
        let slope: f64 = gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
        let mut at = |h: f64| {
            let moved: Vec<f64> = x.iter().zip(&v).map(|(x, v)| x + h * v).collect();
            objective.value_and_gradient(&moved, &mut vec![0.0; n])
        };
        // The objective is a quartic polynomial along the line: these two differences give its slope without error.
        let h = 0.5;
        let [d1, d2] = [h, 2.0 * h].map(|h| (at(h) - at(-h)) / (2.0 * h));
        let difference = (4.0 * d1 - d2) / 3.0;
        let scale = value.abs().max(at(2.0 * h).abs());
        assert!((slope - difference).abs() < tolerance * scale, "{slope} {difference} {scale}");
        assert!(slope.abs() > 1e-6 * scale, "the direction must matter: {slope} {scale}");
    }

    #[test]
    fn coupled_gradient_is_exact() {
        for (nu, terms) in [(1e-3, FRAMES), (5e-2, 3)] {
            let (pde, grid, time, frames) = case(nu);
            let start = start(&frames) * 0.9;
            let options = EstimatorOptions { alpha: 0.5, ..EstimatorOptions::default() };
            let mut objective =
                Objective::coupled(&pde, &grid, &time, &options, start.view(), frames.view(), terms).unwrap();
            check_gradient(&mut objective, 1e-11);
        }
    }

    #[test]
    fn paper_gradient_is_exact() {
        let (pde, grid, time, frames) = case(1e-3);
        // A large step, at which the published residual is not zero.
        let options = PaperOptions { delta: 0.05, weights: [0.3, 0.7], ..PaperOptions::default() };
        let mut objective = Objective::paper(&pde, &grid, &time, &options, frames.view(), FRAMES).unwrap();
        // R has degree 4 in w and the objective degree 8, so that differences are not exact: a small step.
        let (x, v) = (vec![0.0; objective.len()], direction(&objective, 2));
        let mut gradient = x.clone();
        let value = objective.value_and_gradient(&x, &mut gradient);
        let slope: f64 = gradient.iter().zip(&v).map(|(g, v)| g * v).sum();
        let mut at = |h: f64| {
            let moved: Vec<f64> = v.iter().map(|v| h * v).collect();
            objective.value_and_gradient(&moved, &mut vec![0.0; moved.len()])
        };
        let h = 1e-3;
        let [d1, d2] = [h, 2.0 * h].map(|h| (at(h) - at(-h)) / (2.0 * h));
        let difference = (4.0 * d1 - d2) / 3.0;
        assert!((slope / difference - 1.0).abs() < 1e-8, "{slope} {difference} {value}");
    }

    #[test]
    fn the_objective_is_the_estimate() {
        let (pde, grid, time, frames) = case(1e-3);
        let options = EstimatorOptions::default();
        let start = start(&frames) * 0.9;
        let mut objective =
            Objective::coupled(&pde, &grid, &time, &options, start.view(), frames.view(), FRAMES).unwrap();
        let x = vec![0.0; objective.len()];
        let kept = objective.corrected(&x);
        let mut estimator = Estimator::plan(&pde, &grid, &time, &options).unwrap();
        // Both on the modes that the solver keeps, of which the scaled start is made too.
        let start = testing::start(&kept) * 0.9;
        let eta2 = estimator.coupled(start.view(), kept.view()).unwrap().eta.powi(2);
        let value = objective.value_and_gradient(&x, &mut x.clone());
        assert!((value / eta2 - 1.0).abs() < 1e-12, "{value} {eta2}");
        let published = PaperOptions { delta: 1e-2, ..PaperOptions::default() };
        let mut objective = Objective::paper(&pde, &grid, &time, &published, frames.view(), FRAMES).unwrap();
        let value = objective.value_and_gradient(&x, &mut x.clone());
        let intended = estimator.paper(kept.view(), &published).unwrap().intended;
        assert!((value.sqrt() / intended - 1.0).abs() < 1e-9, "{value} {intended}");
    }

    /// Gradient descent with a quasi-Newton memory of ten pairs and backtracking, for the comparison below.
    fn descend(objective: &mut Objective, scale: &[f64], iterations: usize) -> (Vec<f64>, f64) {
        let n = objective.len();
        let mut evaluate = |y: &[f64]| {
            let x: Vec<f64> = y.iter().zip(scale).map(|(y, p)| y * p).collect();
            let mut g = vec![0.0; n];
            let value = objective.value_and_gradient(&x, &mut g);
            g.iter_mut().zip(scale).for_each(|(g, p)| *g *= p);
            (value, g)
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut y = vec![0.0; n];
        let (mut value, mut g) = evaluate(&y);
        let mut pairs: Vec<(Vec<f64>, Vec<f64>)> = Vec::new();
        for _ in 0..iterations {
            let mut d = g.clone();
            let mut factors = Vec::new();
            for (s, t) in pairs.iter().rev() {
                let a = dot(s, &d) / dot(s, t);
                d.iter_mut().zip(t).for_each(|(d, t)| *d -= a * t);
                factors.push(a);
            }
            let initial = pairs.last().map_or(1.0 / dot(&g, &g).sqrt(), |(s, t)| dot(s, t) / dot(t, t));
            d.iter_mut().for_each(|d| *d *= initial);
            for ((s, t), a) in pairs.iter().zip(factors.iter().rev()) {
                let b = dot(t, &d) / dot(s, t);
                d.iter_mut().zip(s).for_each(|(d, s)| *d += (a - b) * s);
            }
            let mut length = 1.0;
            let (trial, new) = loop {
                let trial: Vec<f64> = y.iter().zip(&d).map(|(y, d)| y - length * d).collect();
                let new = evaluate(&trial);
                if new.0 < value - 1e-4 * length * dot(&g, &d) || length < 1e-10 {
                    break (trial, new);
                }
                length *= 0.5;
            };
            let s: Vec<f64> = trial.iter().zip(&y).map(|(a, b)| a - b).collect();
            let t: Vec<f64> = new.1.iter().zip(&g).map(|(a, b)| a - b).collect();
            if dot(&s, &t) > 0.0 {
                pairs.push((s, t));
                pairs = pairs.split_off(pairs.len().saturating_sub(10));
            }
            (y, value, g) = (trial, new.0, new.1);
        }
        (y.iter().zip(scale).map(|(y, p)| y * p).collect(), value)
    }

    #[test]
    fn the_preconditioner_pays_and_the_published_objective_does_not_move() {
        let u = reference().slice_axis(Axis(0), (..21).into()).to_owned();
        let full = perturbed(reference(), Kind::Smooth, 1e-2, 4);
        let prediction = full.slice_axis(Axis(0), (..21).into()).to_owned();
        let time = TimeGrid::uniform(21, DT_OUT, 6).unwrap();
        let distance = |a: &ArrayD<f64>| ((a - &u).mapv(|e| e * e).sum() / u.mapv(|u| u * u).sum()).sqrt();
        let options = EstimatorOptions::default();
        let first = start(&u);
        let mut objective =
            Objective::coupled(&flow(), &grid(), &time, &options, first.view(), prediction.view(), 21).unwrap();
        let ones = vec![1.0; objective.len()];
        let scale = objective.preconditioner(1.0);
        let plain = descend(&mut objective, &ones, 40);
        let preconditioned = descend(&mut objective, &scale, 40);
        let errors = [&plain, &preconditioned].map(|(x, _)| distance(&objective.corrected(x)));
        let before = distance(&prediction);
        let mut published =
            Objective::paper(&flow(), &grid(), &time, &PaperOptions::default(), prediction.view(), 21).unwrap();
        let (x, _) = descend(&mut published, &scale, 10);
        let flat = distance(&published.corrected(&x));
        println!(
            "before {before:.2e}, plain {:.2e}, preconditioned {:.2e}, published {flat:.2e}",
            errors[0], errors[1]
        );
        println!("objective {:.2e} {:.2e}", plain.1, preconditioned.1);
        assert!(errors[1] < 0.5 * errors[0], "{before} {errors:?}");
        assert!(flat > 0.9 * before, "{flat} {before}");
    }
}
