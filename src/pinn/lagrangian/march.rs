//! Training, window after window.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::equation::Polynomial;
use super::super::series::Series;
use super::super::sobol::Sobol;
use super::motion::Motion;
use super::residual::{AleResidual, Form};
use super::solution::{LagrangianPiece, LagrangianSolution};
use crate::error::{Error, Result};
use crate::jet::{Activation, Coordinate, Mlp};
use crate::optim::{
    Adam, AdamOptions, GaussNewton, GaussNewtonOptions, Lbfgs, LbfgsOptions, LeastSquares, Limits, NamedTensor,
    Optimizer, Stateful,
};

/// Candidates for each point that is drawn where the residual is large.
const CANDIDATES: usize = 4;

/// First-order training: Adam at a falling rate, then L-BFGS, ten iterations a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Descent {
    /// Steps of Adam.
    pub adam: usize,
    /// Its rate at first; it falls to a hundredth, geometrically.
    pub rate: f64,
}

impl Default for Descent {
    fn default() -> Self {
        Self { adam: 2000, rate: 1e-2 }
    }
}

/// What finds the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Gauss-Newton.
    GaussNewton(GaussNewtonOptions),
    /// Adam, then L-BFGS.
    Descent(Descent),
}

impl Default for Method {
    fn default() -> Self {
        Self::GaussNewton(GaussNewtonOptions::default())
    }
}

/// How a solution is marched; a section of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LagrangianMarching {
    /// Ends of the windows, ascending.
    pub ends: Vec<f64>,
    /// Units of a layer of the state's network, its layers, and modes of its embedding.
    pub width: usize,
    /// Hidden layers.
    pub depth: usize,
    /// Modes of the embedding of labels.
    pub modes: usize,
    /// Initial slope of the activations, trained for each layer; 0 for a fixed slope of 1.
    pub scale: f64,
    /// Collocation points of a window.
    pub points: usize,
    /// Share of the points that are drawn where the residual is large.
    pub adaptive: f64,
    /// Steps of a window at most.
    pub steps: usize,
    /// Steps after which points are drawn again; 0 for never.
    pub redraw: usize,
    /// Root mean square of the residuals at which a window is done.
    pub tolerance: f64,
    /// Positions at which the state at the end of a window is taken.
    pub state_points: usize,
    /// Optimiser.
    pub method: Method,
}

impl Default for LagrangianMarching {
    fn default() -> Self {
        Self {
            ends: vec![1.0],
            width: 20,
            depth: 3,
            modes: 1,
            scale: 0.0,
            points: 2048,
            adaptive: 0.3,
            steps: 100,
            redraw: 25,
            tolerance: 0.0,
            state_points: 256,
            method: Method::default(),
        }
    }
}

impl LagrangianMarching {
    /// Refuses values out of range.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`].
    pub fn validate(&self) -> Result<()> {
        let ascending = self.ends.iter().try_fold(0.0, |before, &end| (end > before).then_some(end));
        if self.ends.is_empty() || ascending.is_none_or(|last: f64| !last.is_finite()) {
            return Err(Error::parameter("march.ends", format!("{:?}", self.ends), "must be positive and ascending"));
        }
        for (name, value) in [("points", self.points), ("steps", self.steps)] {
            if value == 0 {
                return Err(Error::parameter(format!("march.{name}"), 0, "must be >= 1"));
            }
        }
        if !(0.0..=1.0).contains(&self.adaptive) {
            return Err(Error::parameter("march.adaptive", self.adaptive, "must be in [0, 1]"));
        }
        if self.state_points < 4 || !self.state_points.is_multiple_of(2) {
            return Err(Error::parameter("march.state_points", self.state_points, "must be even and at least 4"));
        }
        Ok(())
    }

    fn network(&self, length: f64, times: [f64; 2]) -> Mlp {
        Mlp {
            coordinates: vec![
                Coordinate::Periodic { length, modes: self.modes },
                Coordinate::Linear { from: times[0], to: times[1] },
            ],
            width: self.width,
            depth: self.depth,
            outputs: 1,
            activation: Activation::Tanh,
            scale: (self.scale > 0.0).then_some(self.scale),
        }
    }
}

/// What a step found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LagrangianProgress {
    /// Window, from 0.
    pub window: usize,
    /// Steps of this window.
    pub step: usize,
    /// Root mean square of all residuals.
    pub residual: f64,
    /// Damping of the step; 0 for first-order methods.
    pub lambda: f64,
    /// Whether the window is done.
    pub done: bool,
}

/// A training in progress.
pub struct LagrangianMarch {
    equation: Polynomial,
    motion: Motion,
    options: LagrangianMarching,
    solution: LagrangianSolution,
    seed: u64,
    threads: usize,
    current: Option<Current>,
}

struct Current {
    form: Arc<Form>,
    theta: Vec<f64>,
    residual: AleResidual,
    optimizer: Optimiser,
    step: usize,
}

enum Optimiser {
    GaussNewton(Box<GaussNewton>),
    Descent(Descent, Box<Adam<f64>>, Box<Lbfgs<f64>>),
}

impl LagrangianMarch {
    /// The solution of an equation from a state with the random numbers of a seed.
    ///
    /// # Errors
    ///
    /// Those of [`Form::new`] and [`LagrangianMarching::validate`].
    pub fn new(
        equation: &Polynomial,
        motion: &Motion,
        state: Series,
        options: &LagrangianMarching,
        seed: u64,
        threads: usize,
    ) -> Result<Self> {
        options.validate()?;
        let mut march = Self {
            equation: equation.clone(),
            motion: *motion,
            options: options.clone(),
            solution: LagrangianSolution::default(),
            seed,
            threads,
            current: None,
        };
        march.open(state)?;
        Ok(march)
    }

    /// The windows that are done.
    pub fn solution(&self) -> &LagrangianSolution {
        &self.solution
    }

    /// Whether all windows are done.
    pub fn is_done(&self) -> bool {
        self.current.is_none()
    }

    /// Number of parameters of a window.
    pub fn parameters(&self) -> usize {
        let of = |form: &Form| form.len();
        let current = self.current.as_ref().map(|current| of(&current.form));
        current.or(self.solution.pieces.first().map(|piece| of(&piece.form))).unwrap_or(0)
    }

    /// The residual at hand and the parameters, to look at the landscape around them; of the last window if all are done.
    pub fn landscape(&self) -> Option<(AleResidual, Vec<f64>)> {
        let (form, theta) = match (&self.current, self.solution.pieces.last()) {
            (Some(current), _) => (current.form.clone(), current.theta.clone()),
            (None, Some(piece)) => (piece.form.clone(), piece.theta.clone()),
            _ => return None,
        };
        let points = self.points(&form, self.options.points, self.seed);
        Some((AleResidual::new(form, &points), theta))
    }

    fn open(&mut self, state: Series) -> Result<()> {
        let k = self.solution.pieces.len();
        let Some(&end) = self.options.ends.get(k) else {
            self.current = None;
            return Ok(());
        };
        let times = [if k == 0 { 0.0 } else { self.options.ends[k - 1] }, end];
        let network = self.options.network(state.length, times);
        let form = Arc::new(Form::new(&self.equation, &self.motion, &network, times, state, self.threads)?);
        let theta = match self.solution.pieces.last() {
            Some(piece) => piece.theta.clone(),
            None => form.parameters(&network, self.seed)?,
        };
        let residual = AleResidual::new(form.clone(), &self.points(&form, self.options.points, self.draws(0)));
        let (p, m) = (residual.parameters(), residual.residuals());
        let optimizer = match self.options.method {
            Method::GaussNewton(options) => {
                Optimiser::GaussNewton(Box::new(GaussNewton::new(p, m, options, self.threads)?))
            }
            Method::Descent(descent) => Optimiser::Descent(
                descent,
                Box::new(Adam::new(p, AdamOptions::default())?),
                Box::new(Lbfgs::new(p, LbfgsOptions::default())?),
            ),
        };
        self.current = Some(Current { form, theta, residual, optimizer, step: 0 });
        Ok(())
    }

    /// Seed of the points that are drawn after so many steps.
    fn draws(&self, step: usize) -> u64 {
        let index = (self.solution.pieces.len() as u64) << 32 | step as u64;
        (self.seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    fn points(&self, form: &Form, count: usize, seed: u64) -> Vec<[f64; 2]> {
        let (mut sobol, mut point) = (Sobol::new(2, seed), [0.0; 2]);
        let [start, end] = form.times;
        let draw = |_| {
            sobol.point(&mut point);
            [form.state.origin + form.state.length * point[0], start + (end - start) * point[1]]
        };
        (0..count).map(draw).collect()
    }

    /// Points of which a share is where the residual is large.
    fn draw(&self, current: &Current) -> AleResidual {
        let (count, seed) = (self.options.points, self.draws(current.step));
        let chosen = (self.options.adaptive * count as f64) as usize;
        let mut points = self.points(&current.form, count - chosen, seed);
        if chosen > 0 {
            let candidates = self.points(&current.form, CANDIDATES * chosen, seed ^ 0x5555);
            let sizes = AleResidual::new(current.form.clone(), &candidates).magnitudes(&current.theta);
            let mean = sizes.iter().sum::<f64>() / chosen as f64;
            // A comb over the running sum; a candidate may be taken more than once only where it holds several teeth.
            let (mut sum, mut next) = (0.0, 0.5 * mean);
            for (candidate, size) in candidates.iter().zip(&sizes) {
                sum += size;
                if sum >= next && points.len() < count {
                    points.push(*candidate);
                    next = (next + mean).max(sum - mean);
                }
            }
            points.extend(candidates.iter().take(count - points.len()));
        }
        AleResidual::new(current.form.clone(), &points)
    }

    /// One step; when a window is done the next one is opened. `None` if all are done.
    ///
    /// # Errors
    ///
    /// [`Error::NotFinite`] if the residual stops being finite, those of [`LagrangianPiece::end`].
    pub fn step(&mut self) -> Result<Option<LagrangianProgress>> {
        let window = self.solution.pieces.len();
        let Some(mut current) = self.current.take() else { return Ok(None) };
        let redraw = self.options.redraw;
        if redraw > 0 && current.step > 0 && current.step.is_multiple_of(redraw) {
            current.residual = self.draw(&current);
        }
        let (loss, lambda, stopped) = current.descend(self.options.steps)?;
        current.step += 1;
        let residual = loss.sqrt();
        if !residual.is_finite() {
            return Err(Error::NotFinite {
                what: "residual".into(),
                value: residual,
                step: current.step as u64,
                detail: format!("window {window}, times {:?}", current.form.times),
            });
        }
        let done = residual <= self.options.tolerance || current.step >= self.options.steps || stopped;
        let progress = LagrangianProgress { window, step: current.step, residual, lambda, done };
        if done {
            let piece = LagrangianPiece { form: current.form, theta: current.theta };
            let last = self.options.ends.len() == window + 1;
            let end = if last { piece.form.state.clone() } else { piece.end(self.options.state_points)? };
            self.solution.pieces.push(piece);
            self.open(end)?;
        } else {
            self.current = Some(current);
        }
        Ok(Some(progress))
    }

    /// Everything that a later run needs to go on with the same bits.
    pub fn state(&self) -> Vec<NamedTensor> {
        let mut tensors = Vec::new();
        let mut add = |name: String, values: &[f64]| {
            let data = crate::optim::TensorData::F64(values.to_vec());
            tensors.push(NamedTensor { name, shape: vec![values.len()], data });
        };
        let forms = self.solution.pieces.iter().map(|piece| (&piece.form, &piece.theta));
        let current = self.current.as_ref().map(|current| (&current.form, &current.theta));
        for (k, (form, theta)) in forms.chain(current).enumerate() {
            let amplitudes: Vec<f64> = form.state.amplitudes.iter().flat_map(|a| [a.re, a.im]).collect();
            add(format!("window.{k}.state"), &amplitudes);
            add(format!("window.{k}.theta"), theta);
        }
        add("windows done".into(), &[self.solution.pieces.len() as f64]);
        if let Some(current) = &self.current {
            add("step".into(), &[current.step as f64]);
            add("points".into(), current.residual.points());
        }
        if let Some(current) = &self.current {
            let named = |part: &str, state: Vec<NamedTensor>| {
                state.into_iter().map(|t| NamedTensor { name: format!("{part}.{}", t.name), ..t }).collect::<Vec<_>>()
            };
            match &current.optimizer {
                Optimiser::GaussNewton(method) => tensors.extend(named("gauss_newton", method.state())),
                Optimiser::Descent(_, adam, lbfgs) => {
                    tensors.extend(named("adam", adam.state()));
                    tensors.extend(named("lbfgs", lbfgs.state()));
                }
            }
        }
        tensors
    }

    /// Goes back to a state that [`LagrangianMarch::state`] gave for the same problem and options.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Shape`] if a tensor is absent or has another size.
    pub fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let get = |name: &str| {
            let found = state.iter().find(|t| t.name == name).map(|t| &t.data);
            match found {
                Some(crate::optim::TensorData::F64(values)) => Ok(values.clone()),
                _ => Err(Error::parameter(name, "absent", "must be in the state of a march")),
            }
        };
        let done = get("windows done")?[0] as usize;
        self.solution.pieces.clear();
        for k in 0..=done {
            let base = match (&self.current, self.solution.pieces.last()) {
                (Some(current), _) => current.form.state.clone(),
                (None, Some(piece)) => piece.form.state.clone(),
                _ => return Err(Error::parameter("march", "empty", "must have a window")),
            };
            if k == self.options.ends.len() {
                self.current = None;
                return Ok(());
            }
            let amplitudes = get(&format!("window.{k}.state"))?;
            let amplitudes = amplitudes.chunks_exact(2).map(|a| num_complex::Complex64::new(a[0], a[1])).collect();
            self.open(Series { amplitudes, ..base })?;
            let theta = get(&format!("window.{k}.theta"))?;
            let Some(mut current) = self.current.take() else { return Ok(()) };
            if theta.len() != current.theta.len() {
                return Err(Error::shape("theta", &[current.theta.len()], &[theta.len()]));
            }
            current.theta = theta;
            if k < done {
                self.solution.pieces.push(LagrangianPiece { form: current.form.clone(), theta: current.theta.clone() });
                self.current = Some(current);
                continue;
            }
            current.step = get("step")?[0] as usize;
            let points: Vec<[f64; 2]> = get("points")?.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
            current.residual = AleResidual::new(current.form.clone(), &points);
            let part = |part: &str| -> Vec<NamedTensor> {
                let own = |t: &NamedTensor| t.name.strip_prefix(part)?.strip_prefix('.').map(str::to_owned);
                state.iter().filter_map(|t| Some(NamedTensor { name: own(t)?, ..t.clone() })).collect()
            };
            match &mut current.optimizer {
                Optimiser::GaussNewton(method) => method.restore(&part("gauss_newton"))?,
                Optimiser::Descent(_, adam, lbfgs) => {
                    adam.restore(&part("adam"))?;
                    lbfgs.restore(&part("lbfgs"))?;
                }
            }
            self.current = Some(current);
        }
        Ok(())
    }
}

impl Current {
    /// One step: `|r|^2`, the damping, and whether nothing can be gained any more.
    fn descend(&mut self, steps: usize) -> Result<(f64, f64, bool)> {
        let Self { residual, theta, optimizer, step, .. } = self;
        match optimizer {
            Optimiser::GaussNewton(method) => {
                let report = method.step(residual, theta)?;
                Ok((report.loss, report.lambda, false))
            }
            Optimiser::Descent(descent, adam, _) if *step < descent.adam => {
                let mut gradient = vec![0.0; theta.len()];
                let loss = loss_gradient(residual, theta, &mut gradient);
                let rate = descent.rate * 0.01f64.powf(*step as f64 / descent.adam.min(steps) as f64);
                adam.step(theta, &gradient, rate);
                Ok((loss, 0.0, false))
            }
            Optimiser::Descent(_, _, lbfgs) => {
                let limits = Limits { max_iterations: 10, gradient_tolerance: 0.0, ..Limits::default() };
                let report = lbfgs.minimize(theta, &limits, |theta, gradient| loss_gradient(residual, theta, gradient));
                Ok((report.value, 0.0, report.iterations == 0))
            }
        }
    }
}

/// `|r|^2` and its gradient, `2 J^T r`.
fn loss_gradient(problem: &mut impl LeastSquares, theta: &[f64], gradient: &mut [f64]) -> f64 {
    const ROWS: usize = 256;
    let (p, m) = (problem.parameters(), problem.residuals());
    let (mut r, mut rows) = (vec![0.0; ROWS], vec![0.0; ROWS * p]);
    gradient.fill(0.0);
    let mut loss = 0.0;
    for first in (0..m).step_by(ROWS) {
        let count = ROWS.min(m - first);
        let (r, rows) = (&mut r[..count], &mut rows[..count * p]);
        problem.rows(theta, first..first + count, r, rows);
        for (r, row) in r.iter().zip(rows.chunks_exact(p)) {
            loss += r * r;
            gradient.iter_mut().zip(row).for_each(|(g, j)| *g += 2.0 * r * j);
        }
    }
    loss
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(method: Method, ends: &[f64]) -> LagrangianMarching {
        LagrangianMarching {
            ends: ends.to_vec(),
            width: 8,
            depth: 2,
            points: 200,
            steps: 6,
            redraw: 4,
            state_points: 32,
            method,
            ..LagrangianMarching::default()
        }
    }

    fn march(motion: &Motion, options: &LagrangianMarching, threads: usize) -> LagrangianMarch {
        let sine = vec![0.0.into(), num_complex::Complex64::new(0.0, -1.0)];
        let state = Series { origin: 0.0, length: std::f64::consts::TAU, amplitudes: sine };
        LagrangianMarch::new(&Polynomial::convection(30.0, 0.05), motion, state, options, 1, threads).unwrap()
    }

    #[test]
    fn fast_convection_is_solved_in_its_frame_over_two_windows() {
        let options = LagrangianMarching { steps: 25, ..options(Method::default(), &[0.5, 1.0]) };
        let mut march = march(&Motion::frame(30.0, 0), &options, 1);
        while march.step().unwrap().is_some() {}
        let points: Vec<[f64; 2]> = (0..50).map(|i| [0.3 * i as f64, i as f64 / 49.0]).collect();
        for (u, [x, t]) in march.solution().evaluate(&points).unwrap().iter().zip(&points) {
            let (decay, phase) = ((-0.05 * t).exp(), x - 30.0 * t);
            // Residuals of 1e-6 or so, measured, with a margin of ten.
            assert!((u[0] - decay * phase.sin()).abs() < 1e-5, "{x} {t}: {}", u[0] - decay * phase.sin());
            assert!((u[4] + decay * (0.05 * phase.sin() + 30.0 * phase.cos())).abs() < 1e-3);
        }
        assert!(march.solution().evaluate(&[[0.0, 1.5]]).is_err(), "no window has this time");
    }

    #[test]
    fn resumed_march_is_the_same_march_on_any_number_of_threads() {
        let descent = Method::Descent(Descent { adam: 4, rate: 1e-2 });
        let paths = super::super::Paths { width: 4, depth: 1, ..super::super::Paths::default() };
        for (motion, method) in [
            (Motion::paths(30.0, paths), Method::default()),
            (Motion::frame(29.0, 2), Method::default()),
            (Motion::published(paths), descent),
        ] {
            let options = options(method, &[0.05, 0.1]);
            let run = |march: &mut LagrangianMarch, steps: usize| {
                for _ in 0..steps {
                    march.step().unwrap();
                }
            };
            let mut through = march(&motion, &options, 1);
            run(&mut through, 10);
            for cut in [3, 6, 9] {
                let mut first = march(&motion, &options, 2);
                run(&mut first, cut);
                let mut second = march(&motion, &options, 1);
                second.restore(&first.state()).unwrap();
                run(&mut second, 10 - cut);
                assert!(through.state() == second.state(), "{motion:?} cut at {cut}");
            }
            let mut done = march(&motion, &options, 1);
            run(&mut through, 2);
            assert!(through.is_done());
            done.restore(&through.state()).unwrap();
            assert!(done.is_done() && done.state() == through.state());
        }
    }

    #[test]
    fn windows_out_of_order_are_refused_by_name() {
        let refused = LagrangianMarching { ends: vec![1.0, 0.5], ..LagrangianMarching::default() };
        let rule = "march.ends = [1.0, 0.5] is not allowed: must be positive and ascending";
        assert_eq!(refused.validate().unwrap_err().to_string(), rule);
    }
}
