//! The equation in moving coordinates, as a problem of least squares.

use std::ops::Range;
use std::sync::Arc;

use super::super::equation::{Equation, Polynomial};
use super::super::series::Series;
use super::motion::{Motion, Paths, pull, pull_adjoint};
use crate::autodiff::Workers;
use crate::error::{Error, Result};
use crate::jet::{Coordinate, Direction, Jets, Mlp};
use crate::optim::LeastSquares;

/// The form of a solution in one window: networks, motion, and initial state.
pub struct Form {
    pub(super) equation: Polynomial,
    coefficients: Vec<f64>,
    pub(super) motion: Motion,
    /// `t_0` and `t_0 + T`.
    pub(super) times: [f64; 2],
    pub(super) state: Series,
    /// `N` of `W = w_0 + (tau / T) N` and `d`.
    state_net: Jets<f64>,
    path_net: Option<Jets<f64>>,
    workers: Workers<f64>,
    /// Advection at the speed `advection[0] + advection[1] u`.
    advection: [f64; 2],
}

/// Derivatives of `W` and of `X` along `x_0`, and along `t`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Local {
    pub w: [f64; 4],
    pub w_t: f64,
    pub x: [f64; 4],
    pub x_t: f64,
}

impl Form {
    /// Plans a window.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an equation of several fields or with a fourth derivative, for a motion out of range, or a
    /// network that [`Mlp`] refuses.
    pub fn new(
        equation: &Polynomial,
        motion: &Motion,
        network: &Mlp,
        times: [f64; 2],
        state: Series,
        threads: usize,
    ) -> Result<Self> {
        motion.validate()?;
        if equation.fields() != 1 {
            return Err(Error::parameter("fields", equation.fields(), "must be 1 in moving coordinates"));
        }
        if !(1..=3).contains(&equation.order()) {
            return Err(Error::parameter("order", equation.order(), "must be in 1..=3 in moving coordinates"));
        }
        let directions = [Direction::axis(0, equation.order()), Direction::axis(1, 1)];
        let path_net =
            motion.paths.map(|paths| Jets::plan(&path_mlp(&paths, &state, times), &directions)).transpose()?;
        let mut advection = [0.0; 2];
        for term in equation.terms() {
            match term.factors[..] {
                [[0, 1]] => advection[0] -= term.coefficient,
                [[0, 0], [0, 1]] | [[0, 1], [0, 0]] => advection[1] -= term.coefficient,
                _ => {}
            }
        }
        Ok(Self {
            coefficients: equation.coefficients(),
            equation: equation.clone(),
            motion: *motion,
            times,
            state,
            state_net: Jets::plan(network, &directions)?,
            path_net,
            workers: Workers::new(threads)?,
            advection,
        })
    }

    /// Random parameters: of the network of the state, of that of the paths, and zeros for the shift.
    ///
    /// # Errors
    ///
    /// As [`Form::new`].
    pub fn parameters(&self, network: &Mlp, seed: u64) -> Result<Vec<f64>> {
        let mut theta = network.parameters::<f64>(seed)?.theta().to_vec();
        if let Some(paths) = &self.motion.paths {
            let mut all = path_mlp(paths, &self.state, self.times).parameters::<f64>(seed ^ 1)?;
            // Paths start as those of the frame.
            let last = all.theta().len() - 1 - paths.width;
            all.theta_mut()[last..].fill(0.0);
            theta.extend_from_slice(all.theta());
        }
        theta.resize(self.len(), 0.0);
        Ok(theta)
    }

    /// Number of parameters.
    pub(super) fn len(&self) -> usize {
        self.path_end() + self.motion.degree
    }

    fn path_end(&self) -> usize {
        self.state_net.parameters() + self.path_net.as_ref().map_or(0, Jets::parameters)
    }

    fn gate(&self, t: f64) -> [f64; 2] {
        let length = self.times[1] - self.times[0];
        if self.motion.soft > 0.0 { [1.0, 0.0] } else { [(t - self.times[0]) / length, 1.0 / length] }
    }

    /// `d X / d d` and its rate.
    fn path_gate(&self, t: f64) -> [f64; 2] {
        if self.motion.soft > 0.0 { [1.0, 0.0] } else { [t - self.times[0], 1.0] }
    }

    /// `w_0` and its derivatives at a label; nothing in the published form.
    pub(super) fn start(&self, x0: f64) -> [f64; 4] {
        let mut w = [0.0; 4];
        if self.motion.soft == 0.0 {
            self.state.evaluate(x0, &mut w);
        }
        w
    }

    /// `W` and `X` at points `[x_0, t]` with the initial states there.
    pub(super) fn local(&self, theta: &[f64], points: &[f64], starts: &[[f64; 4]], local: &mut Vec<Local>) {
        let (order, count) = (self.equation.order(), starts.len());
        let jet = order + 2;
        let mut state = self.workers.buffer(count * jet);
        self.state_net.derivatives(&self.workers, &theta[..self.state_net.parameters()], points, &mut state);
        local.clear();
        for ((jet, start), point) in state.chunks_exact(jet).zip(starts).zip(points.chunks_exact(2)) {
            let [g, g_t] = self.gate(point[1]);
            let mut here = Local { w: *start, ..Local::default() };
            (0..=order).for_each(|k| here.w[k] += g * jet[k]);
            here.w_t = g * jet[order + 1] + g_t * jet[0];
            let [shift, rate] = self.motion.shift(&theta[self.path_end()..], point[1] - self.times[0]);
            here.x = [point[0] + shift, 1.0, 0.0, 0.0];
            here.x_t = rate;
            local.push(here);
        }
        if let Some(net) = &self.path_net {
            let from = self.state_net.parameters();
            net.derivatives(&self.workers, &theta[from..from + net.parameters()], points, &mut state);
            for ((jet, here), point) in state.chunks_exact(jet).zip(local).zip(points.chunks_exact(2)) {
                let [g, g_t] = self.path_gate(point[1]);
                (0..=order).for_each(|k| here.x[k] += g * jet[k]);
                here.x_t += g * jet[order + 1] + g_t * jet[0];
            }
        }
    }

    /// `f = a + b u` at a label.
    fn speed(&self, u: f64) -> f64 {
        self.advection[0] + self.advection[1] * u
    }
}

/// The network `d`.
fn path_mlp(paths: &Paths, state: &Series, times: [f64; 2]) -> Mlp {
    Mlp {
        coordinates: vec![
            Coordinate::Periodic { length: state.length, modes: paths.modes },
            Coordinate::Linear { from: times[0], to: times[1] },
        ],
        width: paths.width,
        depth: paths.depth,
        outputs: 1,
        activation: crate::jet::Activation::Tanh,
        scale: None,
    }
}

/// Kinds of residuals, in the order of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// `W_t - X_t u_x - F`, or with `f` for `X_t` in the published form.
    Equation,
    /// `follow (X_t - f)`.
    Follow,
    /// `weight max(0, J_min - J)`.
    Compression,
    /// `soft (W - w_0)` and `soft (X - x_0)` at the start, of the published form.
    State,
    Label,
}

/// Residuals at collocation points `[x_0, t]`, each with weight `1 / sqrt(points)`.
pub struct AleResidual {
    form: Arc<Form>,
    kinds: Vec<Kind>,
    points: Vec<f64>,
    /// The same labels at the start.
    labels: Vec<f64>,
    starts: Vec<[f64; 4]>,
    /// `w_0` at labels, for the published form.
    initial: Vec<f64>,
    local: Vec<Local>,
    memory: Vec<f64>,
    cotangents: Vec<Local>,
}

impl AleResidual {
    /// The residual of a window at points `[x_0, t]`.
    pub fn new(form: Arc<Form>, points: &[[f64; 2]]) -> Self {
        let motion = &form.motion;
        let mut kinds = vec![Kind::Equation];
        kinds.extend((motion.follow > 0.0).then_some(Kind::Follow));
        kinds.extend(motion.paths.filter(|paths| paths.weight > 0.0).map(|_| Kind::Compression));
        if motion.soft > 0.0 {
            kinds.extend([Kind::State, Kind::Label]);
        }
        let initial = points.iter().map(|p| {
            let mut w = [0.0];
            form.state.evaluate(p[0], &mut w);
            w[0]
        });
        Self {
            kinds,
            points: points.as_flattened().to_vec(),
            labels: points.iter().flat_map(|p| [p[0], form.times[0]]).collect(),
            starts: points.iter().map(|p| form.start(p[0])).collect(),
            initial: initial.collect(),
            local: Vec::new(),
            memory: Vec::new(),
            cotangents: Vec::new(),
            form,
        }
    }

    fn count(&self) -> usize {
        self.starts.len()
    }

    /// The residual of a kind at a point, and its derivatives with respect to `W` and `X`.
    fn seed(&self, kind: Kind, p: usize, here: &Local) -> (f64, Local) {
        let Form { equation, coefficients, motion, .. } = &*self.form;
        let weight = 1.0 / (self.count() as f64).sqrt();
        let mut bar = Local::default();
        let value = match kind {
            Kind::Equation => {
                let u = pull(&here.w, &here.x);
                let jet = equation.order() + 1;
                let (mut f, mut du, mut dc) = ([0.0], [0.0; 4], [0.0; 16]);
                equation.rates(coefficients, &u[..jet], &mut f);
                equation.slopes(coefficients, &u[..jet], &mut du[..jet], &mut dc[..coefficients.len()]);
                let mut ubar = du.map(|d| -weight * d);
                // The equation may move with the flow, or with the labels, whatever they do.
                let published = motion.soft > 0.0;
                let speed = if published { self.form.speed(u[0]) } else { here.x_t };
                ubar[1] -= weight * speed;
                if published {
                    ubar[0] -= weight * self.form.advection[1] * u[1];
                } else {
                    bar.x_t = -weight * u[1];
                }
                [bar.w, bar.x] = pull_adjoint(&here.x, &u, ubar);
                bar.w_t = weight;
                weight * (here.w_t - speed * u[1] - f[0])
            }
            Kind::Follow => {
                let weight = weight * motion.follow;
                bar.x_t = weight;
                bar.w[0] = -weight * self.form.advection[1];
                weight * (here.x_t - self.form.speed(here.w[0]))
            }
            Kind::Compression => {
                let paths = motion.paths.unwrap_or_default();
                let (weight, excess) = (weight * paths.weight, paths.least - here.x[1]);
                if excess > 0.0 {
                    bar.x[1] = -weight;
                }
                weight * excess.max(0.0)
            }
            Kind::State => {
                bar.w[0] = weight * motion.soft;
                weight * motion.soft * (here.w[0] - self.initial[p])
            }
            Kind::Label => {
                bar.x[0] = weight * motion.soft;
                weight * motion.soft * (here.x[0] - self.labels[2 * p])
            }
        };
        (value, bar)
    }

    fn places(&self, kind: Kind) -> &[f64] {
        if matches!(kind, Kind::State | Kind::Label) { &self.labels } else { &self.points }
    }

    /// Root mean square of the equation's residual alone.
    pub fn rms(&mut self, theta: &[f64]) -> f64 {
        let mut local = std::mem::take(&mut self.local);
        self.form.local(theta, &self.points, &self.starts, &mut local);
        let sum: f64 = local.iter().enumerate().map(|(p, here)| self.seed(Kind::Equation, p, here).0.powi(2)).sum();
        self.local = local;
        sum.sqrt()
    }

    /// Magnitudes of the equation's residual at the points.
    pub(super) fn magnitudes(&mut self, theta: &[f64]) -> Vec<f64> {
        let mut local = std::mem::take(&mut self.local);
        self.form.local(theta, &self.points, &self.starts, &mut local);
        let sizes = local.iter().enumerate().map(|(p, here)| self.seed(Kind::Equation, p, here).0.abs()).collect();
        self.local = local;
        sizes
    }
}

impl LeastSquares for AleResidual {
    fn parameters(&self) -> usize {
        self.form.len()
    }

    fn residuals(&self) -> usize {
        self.kinds.len() * self.count()
    }

    fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
        let count = self.count();
        let (mut local, form) = (std::mem::take(&mut self.local), self.form.clone());
        let mut at_start = false;
        form.local(theta, &self.points, &self.starts, &mut local);
        for (&kind, r) in self.kinds.iter().zip(r.chunks_exact_mut(count)) {
            if !at_start && matches!(kind, Kind::State | Kind::Label) {
                form.local(theta, &self.labels, &self.starts, &mut local);
                at_start = true;
            }
            for (p, (r, here)) in r.iter_mut().zip(&local).enumerate() {
                *r = self.seed(kind, p, here).0;
            }
        }
        self.local = local;
    }

    fn rows(&mut self, theta: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
        let (count, stride, form) = (self.count(), self.parameters(), self.form.clone());
        let order = form.equation.order();
        let mut start = rows.start;
        while start < rows.end {
            let which = start / count;
            let (kind, end) = (self.kinds[which], rows.end.min((which + 1) * count));
            let part = start - which * count..end - which * count;
            let at = start - rows.start;
            let r = &mut r[at..at + part.len()];
            let jacobian = &mut jacobian[at * stride..(at + part.len()) * stride];
            let (mut local, mut bars) = (std::mem::take(&mut self.local), std::mem::take(&mut self.cotangents));
            let mut memory = std::mem::take(&mut self.memory);
            let points = &self.places(kind)[2 * part.start..2 * part.end];
            form.local(theta, points, &self.starts[part.clone()], &mut local);
            bars.clear();
            for ((i, here), r) in part.clone().zip(&local).zip(&mut *r) {
                let (value, bar) = self.seed(kind, i, here);
                *r = value;
                bars.push(bar);
            }
            // The networks' rows, side by side.
            let mut column = 0;
            let nets = [Some((&form.state_net, false)), form.path_net.as_ref().map(|net| (net, true))];
            for (net, is_path) in nets.into_iter().flatten() {
                let n = net.parameters();
                memory.resize(part.len() * (n + 1), 0.0);
                let (values, rows) = memory[..part.len() * (n + 1)].split_at_mut(part.len());
                net.jacobian(&form.workers, &theta[column..column + n], points, values, rows, |p, _, cotangent| {
                    let bar = bars[p];
                    let t = points[2 * p + 1];
                    let ([g, g_t], along, rate) = match is_path {
                        false => (form.gate(t), bar.w, bar.w_t),
                        true => (form.path_gate(t), bar.x, bar.x_t),
                    };
                    (0..=order).for_each(|k| cotangent[k] = g * along[k]);
                    cotangent[0] += g_t * rate;
                    cotangent[order + 1] = g * rate;
                    0.0
                });
                for (row, from) in jacobian.chunks_exact_mut(stride).zip(rows.chunks_exact(n)) {
                    row[column..column + n].copy_from_slice(from);
                }
                column += n;
            }
            for ((row, bar), point) in jacobian.chunks_exact_mut(stride).zip(&bars).zip(points.chunks_exact(2)) {
                let (tau, mut power) = (point[1] - form.times[0], 1.0);
                for (j, entry) in row[column..].iter_mut().enumerate() {
                    // d/ds_j of s and of its rate.
                    *entry = bar.x[0] * power * tau + bar.x_t * (j + 1) as f64 * power;
                    power *= tau;
                }
            }
            (self.local, self.cotangents, self.memory) = (local, bars, memory);
            start = end;
        }
    }
}

impl AleResidual {
    /// The points, `[x_0, t]` one after the other.
    pub(super) fn points(&self) -> &[f64] {
        &self.points
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jet::Activation;

    fn network() -> Mlp {
        Mlp {
            coordinates: vec![
                Coordinate::Periodic { length: std::f64::consts::TAU, modes: 2 },
                Coordinate::Linear { from: 0.0, to: 0.5 },
            ],
            width: 5,
            depth: 2,
            outputs: 1,
            activation: Activation::Tanh,
            scale: Some(1.1),
        }
    }

    fn problem(equation: &Polynomial, motion: Motion) -> (AleResidual, Vec<f64>) {
        let length = std::f64::consts::TAU;
        let values: Vec<f64> = (0..32).map(|j| (length * j as f64 / 32.0).sin().exp()).collect();
        let state = Series::interpolate(0.0, length, &values, 1e-15).unwrap();
        let form = Form::new(equation, &motion, &network(), [0.0, 0.5], state, 1).unwrap();
        let mut theta = form.parameters(&network(), 5).unwrap();
        theta.iter_mut().enumerate().for_each(|(i, x)| *x += 0.2 * (1.3 * i as f64).sin());
        let points: Vec<[f64; 2]> = (0..20).map(|i| [0.31 * i as f64, 0.5 * (0.7 * i as f64).sin().abs()]).collect();
        (AleResidual::new(Arc::new(form), &points), theta)
    }

    fn motions() -> [Motion; 5] {
        let paths = Paths { width: 4, depth: 1, modes: 1, least: 0.9, weight: 3.0 };
        [
            Motion::at_rest(),
            Motion::frame(3.0, 0),
            Motion::frame(-1.0, 3),
            Motion { degree: 1, ..Motion::paths(0.5, paths) },
            Motion::published(paths),
        ]
    }

    #[test]
    fn rows_are_the_derivatives_of_the_residuals() {
        for equation in
            [Polynomial::burgers(0.1), Polynomial::korteweg_de_vries(0.05), Polynomial::convection(2.0, 0.1)]
        {
            for motion in motions() {
                let (mut problem, theta) = problem(&equation, motion);
                let (p, m) = (problem.parameters(), problem.residuals());
                let (mut r, mut rows, mut again) = (vec![0.0; m], vec![f64::NAN; m * p], vec![0.0; m]);
                // In two parts that cut a kind in two.
                let cut = m / 2 + 3;
                let (first, second) = rows.split_at_mut(cut * p);
                problem.rows(&theta, 0..cut, &mut r[..cut], first);
                problem.rows(&theta, cut..m, &mut r[cut..], second);
                problem.residual(&theta, &mut again);
                assert!(r.iter().zip(&again).all(|(a, b)| (a - b).abs() < 1e-13), "{motion:?}");
                let largest = rows.iter().fold(0.0f64, |most, x| most.max(x.abs()));
                let mut at = |i: usize, s: f64| {
                    let mut moved = theta.clone();
                    moved[i] += s;
                    let mut r = vec![0.0; m];
                    problem.residual(&moved, &mut r);
                    r
                };
                for i in 0..p {
                    let h = 1e-4;
                    let (a, b, c, d) = (at(i, -2.0 * h), at(i, -h), at(i, h), at(i, 2.0 * h));
                    for k in 0..m {
                        let difference = (a[k] - 8.0 * b[k] + 8.0 * c[k] - d[k]) / (12.0 * h);
                        // Truncation h^4 times a fifth derivative, rounding 1e-15 / h.
                        assert!((difference - rows[k * p + i]).abs() < 1e-8 * largest, "{motion:?}: row {k}, {i}");
                    }
                }
            }
        }
    }

    #[test]
    fn residual_of_an_exact_solution_vanishes_for_any_map() {
        // u = 2 + x / (1 + t) solves Burgers without a period; W and X by hand, on a curved map.
        let (x0, t) = (0.8f64, 0.3f64);
        let x = [x0 + 0.2 * t * x0.sin() + t * t, 1.0 + 0.2 * t * x0.cos(), -0.2 * t * x0.sin(), -0.2 * t * x0.cos()];
        let x_t = 0.2 * x0.sin() + 2.0 * t;
        let s = 1.0 / (1.0 + t);
        let u = 2.0 + (x[0] - 2.0 * t) * s;
        let u_t = -(x[0] - 2.0 * t) * s * s - 2.0 * s;
        let here = Local { w: [u, s * x[1], s * x[2], s * x[3]], w_t: u_t + s * x_t, x, x_t };
        for motion in motions() {
            let (problem, _) = problem(&Polynomial::burgers(0.1), motion);
            let (r, _) = problem.seed(Kind::Equation, 0, &here);
            // In the published form only along characteristics.
            let exact = motion.soft == 0.0;
            assert!((r.abs() < 1e-15) == exact, "{motion:?}: {r}");
            let along = Local { w_t: u_t + s * u, x_t: u, ..here };
            assert!(problem.seed(Kind::Equation, 0, &along).0.abs() < 1e-15);
        }
    }

    #[test]
    fn equations_that_do_not_fit_are_refused_by_name() {
        let state = Series { origin: 0.0, length: 1.0, amplitudes: vec![1.0.into()] };
        let message = |equation: &Polynomial, motion: &Motion| {
            Form::new(equation, motion, &network(), [0.0, 0.5], state.clone(), 1).err().unwrap().to_string()
        };
        let fourth = Polynomial::kuramoto_sivashinsky(1.0, 1.0, 1.0);
        let rule = "order = 4 is not allowed: must be in 1..=3 in moving coordinates";
        assert_eq!(message(&fourth, &Motion::at_rest()), rule);
        let motion = Motion::paths(0.0, Paths { least: 2.0, ..Paths::default() });
        let rule = "motion.paths.least = 2 is not allowed: must be in (0, 1)";
        assert_eq!(message(&Polynomial::burgers(0.1), &motion), rule);
    }
}
