//! The published causal training, for comparison.
//!
//! # Notice
//!
//! A patent application covers the exponential causal weights: WO2023172408A2, "Methods, systems, and computer readable
//! media for causal training of physics-informed neural networks", inventors P. Perdikaris and S. Wang, University of
//! Pennsylvania. The authors state that the algorithm may not be used commercially. This is an independent implementation
//! from the published equations for research and comparison; ask for legal advice before any other use. Nothing else in
//! this library uses it: [`March`](super::March) has hard initial states and time windows instead.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::ansatz::{Lifting, Parity, Window};
use super::equation::{Equation, Polynomial};
use super::initial::Interval;
use super::residual::{assemble, assemble_adjoint};
use super::series::Series;
use super::solution::{Architecture, Piece, Problem, Solution, Tensor, of_series, series};
use crate::autodiff::Workers;
use crate::error::{Error, Result};
use crate::field::Real;
use crate::jet::{Direction, Jets};
use crate::optim::{Adam, AdamOptions, NamedTensor, Optimizer, Stateful, TensorData};

/// The remark that goes with every use.
pub const NOTICE: &str = "method causal: the exponential causal weights are the subject of patent application WO2023172408A2 (University of Pennsylvania); for research and comparison only, the default method does not use them";

/// Constants of the published method; a section of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Causal {
    /// Equal windows of time.
    pub windows: usize,
    /// Times and points of a step.
    pub times: usize,
    /// Points at each time.
    pub points: usize,
    /// `eps`, stage after stage.
    pub eps: Vec<f64>,
    /// Number of times that `eps` is meant for. The exponents are sums over times, so that with another number of `times`
    /// they are multiplied by `eps_times / times`.
    pub eps_times: usize,
    /// A stage ends when the smallest weight is above this.
    pub delta: f64,
    /// Most steps of a stage.
    pub steps: usize,
    /// Steps from one look at the weights to the next.
    pub check_every: usize,
    /// Weight of the initial state.
    pub lambda: f64,
    /// Whether the weighted loss of the initial state is part of every exponent.
    pub initial_in_weights: bool,
    /// Learning rate `rate decay^(step / decay_steps)`.
    pub rate: f64,
    /// See `rate`.
    pub decay: f64,
    /// See `rate`.
    pub decay_steps: f64,
    /// Times are drawn up to this multiple of a window.
    pub stretch: f64,
    /// Single precision, as published.
    pub single: bool,
    /// Network of a window; a modified MLP, as published.
    pub network: Architecture,
}

impl Default for Causal {
    fn default() -> Self {
        Self {
            windows: 1,
            times: 32,
            points: 64,
            eps: vec![1e-2, 1e-1, 1.0, 10.0, 100.0],
            eps_times: 32,
            delta: 0.99,
            steps: 20_000,
            check_every: 1000,
            lambda: 1e3,
            initial_in_weights: false,
            rate: 1e-3,
            decay: 0.9,
            decay_steps: 5000.0,
            stretch: 1.01,
            single: true,
            network: Architecture { width: 128, depth: 3, modes: 5, gated: true, ..Architecture::default() },
        }
    }
}

impl Causal {
    /// Most steps that there can be.
    pub fn max_steps(&self) -> usize {
        self.windows * self.eps.len() * self.steps
    }

    /// Refuses values out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`].
    pub fn validate(&self) -> Result<()> {
        for (name, value) in [
            ("windows", self.windows),
            ("times", self.times),
            ("points", self.points),
            ("steps", self.steps),
            ("check_every", self.check_every),
            ("eps", self.eps.len()),
            ("eps_times", self.eps_times),
        ] {
            if value == 0 {
                return Err(Error::parameter(format!("causal.{name}"), 0, "must be >= 1"));
            }
        }
        for (name, value) in [("rate", self.rate), ("decay", self.decay), ("decay_steps", self.decay_steps)] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::parameter(format!("causal.{name}"), value, "must be positive and finite"));
            }
        }
        if !(self.stretch >= 1.0 && self.stretch < 2.0) {
            return Err(Error::parameter("causal.stretch", self.stretch, "must be in [1, 2)"));
        }
        Ok(())
    }
}

/// `w_1 = 1`, `w_i = exp(-eps (base + sum_(k < i) L_k))`.
///
/// # Source
///
/// Wang, Sankaran & Perdikaris, *Comput. Methods Appl. Mech. Eng.* 421, 116813 (2024), eq. (3.8). `base` is zero there
/// and the weighted loss of the initial state in part of the authors' runs.
pub fn causal_weights(losses: &[f64], eps: f64, base: f64) -> Vec<f64> {
    let mut sum = base;
    let weight = |loss: &f64| {
        let weight = (-eps * sum).exp();
        sum += loss;
        weight
    };
    losses.iter().map(weight).collect()
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CausalProgress {
    /// Window and stage, from 0.
    pub window: usize,
    /// See `window`.
    pub stage: usize,
    /// `eps` of the stage.
    pub eps: f64,
    /// Loss.
    pub loss: f64,
    /// Loss of the initial state, without its weight.
    pub initial: f64,
    /// Weights at a quarter, a half, three quarters and the end of the window.
    pub weights: [f64; 4],
    /// Learning rate.
    pub rate: f64,
}

/// Points at which the initial state is fitted.
const INITIAL_POINTS: usize = 256;

/// Training by Adam under causal weights, `u = N(x, t)` with a penalty for the initial state; `u = u_0 + t N(t)` for ordinary
/// differential equations.
///
/// A step draws random times, sorted, and points; the loss is
///
/// ```text
/// lambda L_0 + 1 / N_t sum_i w_i L_i
/// ```
///
/// with the mean squares `L_i` of the residual at each of the `N_t` times and [`causal_weights`] that are not differentiated. A
/// stage ends when all weights are above `delta`. Moments and learning rate go on over the stages of a window; a window
/// begins with the same random parameters, and with the state at the end of the one before.
pub struct CausalMarch<T: Real> {
    problem: Problem,
    options: Causal,
    end: f64,
    equation: Arc<Polynomial>,
    solution: Solution,
    seed: u64,
    threads: usize,
    workers: Workers<T>,
    current: Option<Current<T>>,
}

struct Current<T: Real> {
    window: Arc<Window>,
    jets: Jets<T>,
    values: Jets<T>,
    theta: Vec<T>,
    adam: Adam<T>,
    stage: usize,
    /// Steps of the stage, and of the window.
    step: usize,
    total: usize,
    initial: (Vec<T>, Vec<f64>),
}

impl<T: Real> CausalMarch<T> {
    /// The training of a problem up to the time `end`.
    ///
    /// # Errors
    ///
    /// Those of the problem and of [`Causal::validate`].
    pub fn new(problem: &Problem, options: &Causal, end: f64, seed: u64, threads: usize) -> Result<Self> {
        options.validate()?;
        let problem = Self::published(problem, options);
        let mut march = Self {
            equation: Arc::new(problem.equation()?),
            options: options.clone(),
            end,
            solution: Solution::default(),
            seed,
            threads,
            workers: Workers::new(threads)?,
            current: None,
            problem,
        };
        march.open(march.problem.state()?)?;
        Ok(march)
    }

    /// The problem in the published form: nothing is built into the solution but the period, and the initial state of an
    /// ordinary differential equation.
    pub fn published(problem: &Problem, options: &Causal) -> Problem {
        let lifting = if problem.interval.is_some() { Lifting::None } else { Lifting::State };
        Problem { lifting, parity: Parity::None, network: options.network, ..problem.clone() }
    }

    /// The problem that is solved.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }

    /// The windows that are done.
    pub fn solution(&self) -> &Solution {
        &self.solution
    }

    fn open(&mut self, state: Vec<Series>) -> Result<()> {
        let k = self.solution.pieces.len();
        if k == self.options.windows {
            self.current = None;
            return Ok(());
        }
        let tau = self.end / self.options.windows as f64;
        let times = [tau * k as f64, tau * (k + 1) as f64];
        let (equation, network) = (&*self.equation, self.problem.architecture(times));
        let order = equation.order();
        let time = Direction::axis(usize::from(order > 0), 1);
        let directions = if order == 0 { vec![time] } else { vec![Direction::axis(0, order), time] };
        let mut initial = (Vec::new(), Vec::new());
        if let (Some(Interval { from, length }), Lifting::None) = (self.problem.interval, self.problem.lifting) {
            let mut u = [0.0];
            for j in 0..INITIAL_POINTS {
                let x = from + length * j as f64 / INITIAL_POINTS as f64;
                initial.0.extend([T::of(x), T::of(times[0])]);
                for series in &state {
                    series.evaluate(x, &mut u);
                    initial.1.push(u[0]);
                }
            }
        }
        let window = Window::new(equation, &equation.coefficients(), self.problem.lifting, times, state)?;
        let theta: Vec<T> = network.blueprint()?.parameters(self.seed).theta().to_vec();
        self.current = Some(Current {
            window: window.into(),
            jets: Jets::plan(&*network, &directions)?,
            values: Jets::plan(&*network, &[])?,
            adam: Adam::new(theta.len(), AdamOptions::default())?,
            theta,
            stage: 0,
            step: 0,
            total: 0,
            initial,
        });
        Ok(())
    }

    /// One step of Adam; `None` when all windows are done.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] naming window, stage and step; those of the next window.
    pub fn step(&mut self) -> Result<Option<CausalProgress>> {
        let Some(mut current) = self.current.take() else { return Ok(None) };
        let (window, options) = (self.solution.pieces.len(), &self.options);
        let points = self.draw(&current);
        let (fields, c) = (self.problem.fields, self.equation.coefficients());
        let per_time = if self.equation.order() == 0 { 1 } else { options.points };
        let components = current.jets.components();
        let mut jets = vec![T::zero(); options.times * per_time * components * fields];
        current.jets.derivatives(&self.workers, &current.theta, &points, &mut jets);
        let coordinates = usize::from(self.equation.order() > 0) + 1;
        let times: Vec<f64> = points[coordinates - 1..].iter().step_by(coordinates).map(|t| t.as_f64()).collect();
        let residual = |p: usize, jet: &[T], u: &mut Vec<f64>, f: &mut [f64]| {
            u.clear();
            u.extend(jet.iter().map(|u| u.as_f64()));
            if current.window.lifting != Lifting::None {
                let mut lift = vec![0.0; u.len()];
                current.window.lift(0.0, times[p], &mut lift);
                assemble(u, &lift, current.window.gate(times[p]), fields);
            }
            let (values, rates) = u.split_at(u.len() - fields);
            self.equation.rates(&c, values, f);
            f.iter_mut().zip(rates).for_each(|(f, rate)| *f = rate - *f);
        };
        let (mut u, mut r) = (Vec::new(), vec![0.0; fields]);
        let losses: Vec<f64> = jets
            .chunks_exact(per_time * components * fields)
            .enumerate()
            .map(|(i, time)| {
                let squares = time.chunks_exact(components * fields).enumerate().map(|(j, jet)| {
                    residual(i * per_time + j, jet, &mut u, &mut r);
                    r.iter().map(|r| r * r).sum::<f64>()
                });
                squares.sum::<f64>() / per_time as f64
            })
            .collect();
        let n = current.theta.len();
        let mut gradient = vec![T::zero(); n];
        let count = current.initial.1.len() as f64 / fields as f64;
        let (lambda, states) = (options.lambda, &current.initial.1);
        let initial = current.values.gradient(
            &self.workers,
            &current.theta,
            &current.initial.0,
            &mut gradient,
            |p, u, cotangent| {
                let mut sum = 0.0;
                for (field, (u, cotangent)) in u.iter().zip(cotangent).enumerate() {
                    let difference = u.as_f64() - states[p * fields + field];
                    *cotangent = T::of(2.0 * lambda * difference / count);
                    sum += difference * difference / count;
                }
                T::of(sum)
            },
        );
        let initial = initial.as_f64();
        let eps = options.eps[current.stage];
        let eps_of_sum = eps * options.eps_times as f64 / options.times as f64;
        let weights =
            causal_weights(&losses, eps_of_sum, if options.initial_in_weights { lambda * initial } else { 0.0 });
        let total = (options.times * per_time) as f64;
        let mut part = vec![T::zero(); n];
        let coefficients = c.len();
        current.jets.gradient(&self.workers, &current.theta, &points, &mut part, |p, jet, cotangent| {
            let (mut u, mut r) = (Vec::with_capacity(jet.len()), vec![0.0; fields]);
            residual(p, jet, &mut u, &mut r);
            let values = jet.len() - fields;
            let (mut du, mut dc) = (vec![0.0; fields * values], vec![0.0; fields * coefficients]);
            self.equation.slopes(&c, &u[..values], &mut du, &mut dc);
            let w = 2.0 * weights[p / per_time] / total;
            for (i, u) in u[..values].iter_mut().enumerate() {
                *u = -w * (0..fields).map(|e| r[e] * du[e * values + i]).sum::<f64>();
            }
            (0..fields).for_each(|e| u[values + e] = w * r[e]);
            if current.window.lifting != Lifting::None {
                assemble_adjoint(&mut u, current.window.gate(times[p]), fields);
            }
            cotangent.iter_mut().zip(&u).for_each(|(cotangent, &u)| *cotangent = T::of(u));
            T::zero()
        });
        gradient.iter_mut().zip(&part).for_each(|(g, p)| *g += *p);
        let loss =
            lambda * initial + losses.iter().zip(&weights).map(|(l, w)| l * w).sum::<f64>() / losses.len() as f64;
        if !loss.is_finite() {
            return Err(Error::NotFinite {
                what: "loss".into(),
                value: loss,
                step: current.total as u64 + 1,
                detail: format!("window {window}, stage {} (eps = {eps})", current.stage),
            });
        }
        let rate = options.rate * options.decay.powf(current.total as f64 / options.decay_steps);
        current.adam.step(&mut current.theta, &gradient, rate);
        current.step += 1;
        current.total += 1;
        let at = |share: usize| weights[(weights.len() * share / 4).max(1) - 1];
        let progress = CausalProgress {
            window,
            stage: current.stage,
            eps,
            loss,
            initial,
            weights: [at(1), at(2), at(3), at(4)],
            rate,
        };
        let passed = current.step.is_multiple_of(options.check_every) && weights.iter().all(|&w| w > options.delta);
        if passed || current.step >= options.steps {
            (current.stage, current.step) = (current.stage + 1, 0);
        }
        if current.stage == options.eps.len() {
            let times = current.window.times;
            let theta = current.theta.iter().map(|t| t.as_f64()).collect();
            let network = Arc::new(self.problem.plan(times, self.threads)?);
            let piece = Piece { window: current.window, network, theta };
            // Twice the points at which the next state is fitted; what single precision cannot hold is noise.
            let mut end = piece.end(2 * INITIAL_POINTS)?;
            let tail = if options.single { 1e-7 } else { 1e-14 };
            end.iter_mut().for_each(|series| series.truncate(tail));
            self.solution.pieces.push(piece);
            self.open(end)?;
        } else {
            self.current = Some(current);
        }
        Ok(Some(progress))
    }

    /// Sorted random times, and random points at each.
    fn draw(&self, current: &Current<T>) -> Vec<T> {
        let stream = self.seed.wrapping_mul(1_000_003).wrapping_add(self.solution.pieces.len() as u64);
        let mut rng = ChaCha8Rng::seed_from_u64(stream);
        rng.set_stream(current.total as u64);
        let [start, end] = current.window.times;
        let reach = (end - start) * self.options.stretch;
        let mut times: Vec<f64> = (0..self.options.times).map(|_| start + reach * rng.random::<f64>()).collect();
        times.sort_by(f64::total_cmp);
        let mut points = Vec::new();
        for t in times {
            match self.problem.interval {
                None => points.push(T::of(t)),
                Some(Interval { from, length }) => (0..self.options.points)
                    .for_each(|_| points.extend([T::of(from + length * rng.random::<f64>()), T::of(t)])),
            }
        }
        points
    }

    /// Everything that the next steps depend on.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = self.solution.tensors();
        let Some(current) = &self.current else { return state };
        for (field, series) in current.window.state.iter().enumerate() {
            state.push((format!("current.state.{field}"), of_series(series)));
        }
        let theta: Vec<f64> = current.theta.iter().map(|t| t.as_f64()).collect();
        state.push(("current.theta".into(), (vec![theta.len()], theta)));
        let counts = [current.stage, current.step, current.total].map(|n| n as f64).to_vec();
        state.push(("current.counts".into(), (vec![3], counts)));
        for tensor in current.adam.state() {
            let values = match tensor.data {
                TensorData::F32(values) => values.into_iter().map(f64::from).collect(),
                TensorData::F64(values) => values,
            };
            state.push((format!("current.optimizer.{}", tensor.name), (tensor.shape, values)));
        }
        state
    }

    /// Goes back to a state that [`CausalMarch::state`] gave for the same problem and options.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Shape`] for a tensor that is absent or does not fit.
    pub fn restore(&mut self, tensor: impl Fn(&str) -> Option<Tensor>) -> Result<()> {
        self.solution = Solution::from_tensors(&self.problem, &tensor, self.threads)?;
        let get = |name: &str| tensor(name).ok_or_else(|| Error::parameter("tensor", name, "must be in the file"));
        if tensor("current.counts").is_none() {
            self.current = None;
            return Ok(());
        }
        let state = (0..self.problem.fields).map(|f| series(&self.problem, get(&format!("current.state.{f}"))?));
        self.open(state.collect::<Result<_>>()?)?;
        let Some(mut current) = self.current.take() else {
            return Err(Error::parameter("causal.windows", self.options.windows, "must be more than are done"));
        };
        let (_, counts) = get("current.counts")?;
        let [stage, step, total] = counts[..] else {
            return Err(Error::shape("current.counts", &[3], &[counts.len()]));
        };
        (current.stage, current.step, current.total) = (stage as usize, step as usize, total as usize);
        let (_, theta) = get("current.theta")?;
        if theta.len() != current.theta.len() {
            return Err(Error::shape("current.theta", &[current.theta.len()], &[theta.len()]));
        }
        current.theta = theta.into_iter().map(T::of).collect();
        let stored = current.adam.state().into_iter().map(|known| {
            let (shape, values) = get(&format!("current.optimizer.{}", known.name))?;
            let data = match known.data {
                TensorData::F32(_) => TensorData::F32(values.into_iter().map(|v| v as f32).collect()),
                TensorData::F64(_) => TensorData::F64(values),
            };
            Ok(NamedTensor { name: known.name, shape, data })
        });
        current.adam.restore(&stored.collect::<Result<Vec<_>>>()?)?;
        self.current = Some(current);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::f64::consts::PI;

    use super::*;
    use crate::pinn::Initial;

    #[test]
    fn weights_follow_the_losses_before_them() {
        let w = causal_weights(&[0.5, 0.25, 1.0], 2.0, 0.0);
        // Sums 0, 0.5, 0.75.
        for (w, sum) in w.iter().zip([0.0f64, 0.5, 0.75]) {
            assert!((w - (-2.0 * sum).exp()).abs() < 1e-15);
        }
        assert!((causal_weights(&[1.0], 3.0, 0.1)[0] - (-0.3f64).exp()).abs() < 1e-15);
    }

    /// Few steps of a small network for `y' = -y`, `y(0) = 1`, or heat conduction.
    fn march(equation: Polynomial) -> CausalMarch<f64> {
        let network = Architecture { width: 12, depth: 2, modes: 1, gated: true, ..Architecture::default() };
        let interval = (equation.order() > 0).then_some(Interval { from: -1.0, length: 2.0 });
        let problem = Problem {
            fields: 1,
            terms: equation.terms().to_vec(),
            initial: if interval.is_some() { Initial::MinusSine {} } else { Initial::Point { values: vec![1.0] } },
            interval,
            lifting: Lifting::Exponential,
            parity: Parity::None,
            about: 0.0,
            network,
        };
        let options = Causal {
            windows: 2,
            times: 8,
            points: 8,
            eps: vec![0.1, 10.0],
            steps: 400,
            check_every: 100,
            rate: 1e-2,
            single: false,
            network,
            ..Causal::default()
        };
        CausalMarch::new(&problem, &options, 1.0, 3, 1).unwrap()
    }

    #[test]
    fn published_training_solves_decay_and_conduction() {
        let decay = Polynomial::new(1, vec![crate::pinn::Term::of(0, "", -1.0, &[[0, 0]])]).unwrap();
        // A hundredth of the published number of steps.
        for (equation, rate, bound) in [(decay, 1.0, 1e-2), (Polynomial::convection(0.0, 0.1), 0.1 * PI * PI, 5e-2)] {
            let mut march = march(equation);
            while march.step().unwrap().is_some() {}
            for t in [0.3, 0.5, 0.9] {
                let u = march.solution().evaluate(&[[-0.5, t]]).unwrap()[0];
                assert!((u - (-rate * t).exp()).abs() < bound, "{u} at {t}, rate {rate}");
            }
        }
    }

    #[test]
    fn the_initial_state_of_an_ordinary_equation_is_exact() {
        let mut march = march(Polynomial::new(1, vec![crate::pinn::Term::of(0, "", -1.0, &[[0, 0]])]).unwrap());
        while march.step().unwrap().is_some() {}
        assert_eq!(march.solution().evaluate(&[[0.0, 0.0]]).unwrap()[0], 1.0);
    }

    #[test]
    fn a_stored_training_goes_on_to_the_same_bits() {
        let mut whole = march(Polynomial::convection(1.0, 0.1));
        while whole.step().unwrap().is_some() {}
        let mut first = march(Polynomial::convection(1.0, 0.1));
        (0..430).for_each(|_| assert!(first.step().unwrap().is_some()));
        let stored: HashMap<_, _> = first.state().into_iter().collect();
        let mut second = march(Polynomial::convection(1.0, 0.1));
        second.restore(|name| stored.get(name).cloned()).unwrap();
        while second.step().unwrap().is_some() {}
        assert_eq!(second.solution().tensors(), whole.solution().tensors());
    }
}
