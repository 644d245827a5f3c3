//! The problem that is solved, and its solution: networks in windows of time, evaluated anywhere.

use std::sync::Arc;

use num_complex::Complex64;
use serde::{Deserialize, Serialize};

use super::ansatz::{Lifting, Parity, Window};
use super::equation::{Equation, Polynomial, Term};
use super::initial::{Initial, Interval};
use super::residual::{Network, assemble};
use super::series::Series;
use crate::error::{Error, Result};
use crate::jet::{self, Activation, Coordinate, Mlp, ModifiedMlp};

/// Size of the network of a window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Architecture {
    /// Units of each hidden layer.
    pub width: usize,
    /// Hidden layers.
    pub depth: usize,
    /// Modes of the periodic embedding of `x`.
    pub modes: usize,
    /// Activation.
    pub activation: Activation,
    /// Initial slope of the activations, trained for each layer; 0 for a fixed slope of 1.
    pub scale: f64,
    /// Gates hidden layers by two encodings of the features, as a [`ModifiedMlp`] does.
    pub gated: bool,
}

impl Default for Architecture {
    fn default() -> Self {
        Self { width: 20, depth: 3, modes: 1, activation: Activation::Tanh, scale: 0.0, gated: false }
    }
}

/// An equation with its initial state, and the form of its solution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Problem {
    /// Number of fields.
    pub fields: usize,
    /// Right-hand side.
    pub terms: Vec<Term>,
    /// Periodic interval; none for ordinary differential equations.
    pub interval: Option<Interval>,
    /// Initial state.
    pub initial: Initial,
    /// What is built into the solution.
    pub lifting: Lifting,
    /// Symmetry that is built in.
    pub parity: Parity,
    /// Point of the symmetry.
    pub about: f64,
    /// Network.
    pub network: Architecture,
}

impl Problem {
    /// The equation.
    ///
    /// # Errors
    ///
    /// As [`Polynomial::new`]; [`Error::Parameter`] for an interval without derivatives in `x` or the other way round.
    pub fn equation(&self) -> Result<Polynomial> {
        let equation = Polynomial::new(self.fields, self.terms.clone())?;
        match (equation.order(), self.interval) {
            (0, Some(_)) => {
                Err(Error::parameter("interval", "given", "must be absent for an equation without derivatives in x"))
            }
            (1.., None) => {
                Err(Error::parameter("interval", "none", "must be given for an equation with derivatives in x"))
            }
            _ => Ok(equation),
        }
    }

    /// Initial state, a series a field.
    ///
    /// # Errors
    ///
    /// As [`Initial::series`].
    pub fn state(&self) -> Result<Vec<Series>> {
        self.initial.series(self.interval, self.fields)
    }

    /// The network of a window.
    pub fn architecture(&self, times: [f64; 2]) -> Box<dyn jet::Architecture> {
        let Architecture { width, depth, modes, activation, scale, gated } = self.network;
        let time = Coordinate::Linear { from: times[0], to: times[1] };
        let space = self.interval.map(|Interval { length, .. }| Coordinate::Periodic { length, modes });
        let coordinates = space.into_iter().chain([time]).collect();
        let scale = (scale > 0.0).then_some(scale);
        let mlp = Mlp { coordinates, width, depth, outputs: self.fields, activation, scale };
        if gated { Box::new(ModifiedMlp { mlp, fourier: None }) } else { Box::new(mlp) }
    }

    /// The network of a window, planned.
    ///
    /// # Errors
    ///
    /// As [`Network::plan`].
    pub fn plan(&self, times: [f64; 2], threads: usize) -> Result<Network> {
        Network::plan(&*self.architecture(times), self.equation()?.order(), self.parity, self.about, threads)
    }
}

/// The solution in one window.
#[derive(Clone)]
pub struct Piece {
    /// Window with its initial state.
    pub window: Arc<Window>,
    /// Network.
    pub network: Arc<Network>,
    /// Its parameters.
    pub theta: Vec<f64>,
}

impl Piece {
    /// Jets `[point, component, field]` at points `[x, t]`: derivatives `0..=order` in `x`, then the one in `t`.
    pub fn evaluate(&self, points: &[[f64; 2]]) -> Vec<f64> {
        let mut jets = Vec::new();
        self.network.derivatives(&self.theta, &self.network.places(points), &mut jets);
        let jet = self.network.jet();
        let mut lift = vec![0.0; jet];
        for (u, &[x, t]) in jets.chunks_exact_mut(jet).zip(points) {
            self.window.lift(x, t, &mut lift);
            assemble(u, &lift, self.window.gate(t), self.network.outputs());
        }
        jets
    }

    /// The state at the end of the window, interpolated at `n` points.
    ///
    /// # Errors
    ///
    /// As [`Series::interpolate`].
    pub fn end(&self, n: usize) -> Result<Vec<Series>> {
        let (fields, t) = (self.window.state.len(), self.window.times[1]);
        if self.network.order() == 0 {
            let u = self.evaluate(&[[0.0, t]]);
            return Ok(u[..fields].iter().map(|&u| Series::constant(u)).collect());
        }
        let Series { origin, length, .. } = self.window.state[0];
        let points: Vec<[f64; 2]> = (0..n).map(|j| [origin + length * j as f64 / n as f64, t]).collect();
        let jets = self.evaluate(&points);
        let jet = jets.len() / n;
        let series = (0..fields).map(|field| {
            let values: Vec<f64> = jets.chunks_exact(jet).map(|u| u[field]).collect();
            Series::interpolate(origin, length, &values, TAIL)
        });
        series.collect()
    }
}

/// Amplitudes of a window's end below this, relative to the largest, are round-off of the network.
const TAIL: f64 = 1e-14;

/// A solution, window after window; it may still be growing.
///
/// ```no_run
/// # fn solution() -> parseval::pinn::Solution { unreachable!() }
/// let solution = solution();
/// let jets = solution.evaluate(&[[0.25, 0.5]])?; // u, u_x, ..., u_t at x = 0.25, t = 0.5
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Solution {
    /// The windows, in order.
    pub pieces: Vec<Piece>,
}

/// A named tensor of a solution: shape and values.
pub type Tensor = (Vec<usize>, Vec<f64>);

impl Solution {
    /// Jets `[point, component, field]` at points `[x, t]`; for ordinary differential equations `x` means nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a time outside all windows.
    pub fn evaluate(&self, points: &[[f64; 2]]) -> Result<Vec<f64>> {
        let mut jets = Vec::new();
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.pieces.len()];
        for (i, &[_, t]) in points.iter().enumerate() {
            groups[window_at(&self.pieces, |piece| piece.window.times, t)?].push(i);
        }
        for (piece, group) in self.pieces.iter().zip(groups) {
            let part = piece.evaluate(&group.iter().map(|&i| points[i]).collect::<Vec<_>>());
            let jet = piece.network.jet();
            jets.resize(points.len() * jet, 0.0);
            group.iter().zip(part.chunks_exact(jet)).for_each(|(i, u)| jets[i * jet..][..jet].copy_from_slice(u));
        }
        Ok(jets)
    }

    /// Everything that is needed to build the solution again beside its [`Problem`].
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for (k, Piece { window, theta, .. }) in self.pieces.iter().enumerate() {
            tensors.push((format!("windows.{k}.times"), (vec![2], window.times.to_vec())));
            tensors.push((format!("windows.{k}.theta"), (vec![theta.len()], theta.clone())));
            for (field, series) in window.state.iter().enumerate() {
                tensors.push((format!("windows.{k}.state.{field}"), of_series(series)));
            }
        }
        tensors
    }

    /// The solution of a problem from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a tensor that is absent, [`Error::Shape`] for one that does not fit.
    pub fn from_tensors(problem: &Problem, tensor: impl Fn(&str) -> Option<Tensor>, threads: usize) -> Result<Self> {
        let (equation, mut pieces) = (problem.equation()?, Vec::new());
        let c = equation.coefficients();
        while let Some((_, times)) = tensor(&format!("windows.{}.times", pieces.len())) {
            let k = pieces.len();
            let read =
                |name: String| tensor(&name).ok_or_else(|| Error::parameter("tensor", name, "must be in the file"));
            let times = times.try_into().map_err(|t: Vec<f64>| Error::shape("times", &[2], &[t.len()]))?;
            let state = (0..problem.fields).map(|field| series(problem, read(format!("windows.{k}.state.{field}"))?));
            let state = state.collect::<Result<Vec<_>>>()?;
            let network = problem.plan(times, threads)?;
            let (_, theta) = read(format!("windows.{k}.theta"))?;
            if theta.len() != network.parameters() {
                return Err(Error::shape(format!("windows.{k}.theta"), &[network.parameters()], &[theta.len()]));
            }
            let window = Window::new(&equation, &c, problem.lifting, times, state)?;
            pieces.push(Piece { window: window.into(), network: network.into(), theta });
        }
        Ok(Self { pieces })
    }
}

/// Number of the piece whose window holds a time; the earlier one at a seam.
pub(super) fn window_at<P>(pieces: &[P], times: impl Fn(&P) -> [f64; 2], t: f64) -> Result<usize> {
    let range = match (pieces.first(), pieces.last()) {
        (Some(first), Some(last)) => [times(first)[0], times(last)[1]],
        _ => [f64::NAN; 2],
    };
    let slack = 1e-12 * (range[1] - range[0]);
    if !(t >= range[0] - slack && t <= range[1] + slack) {
        return Err(Error::parameter("t", t, format!("must be in [{}, {}]", range[0], range[1])));
    }
    let index = pieces.partition_point(|piece| times(piece)[1] < t);
    Ok(index.min(pieces.len() - 1))
}

/// A series as a tensor `[mode, 2]`.
pub(super) fn of_series(series: &Series) -> Tensor {
    (vec![series.amplitudes.len(), 2], series.amplitudes.iter().flat_map(|a| [a.re, a.im]).collect())
}

/// The series of a tensor.
pub(super) fn series(problem: &Problem, (shape, values): Tensor) -> Result<Series> {
    if shape.len() != 2 || shape[1] != 2 || values.len() != shape[0] * 2 {
        return Err(Error::shape("state", &[values.len() / 2, 2], &shape));
    }
    let amplitudes = values.chunks_exact(2).map(|a| Complex64::new(a[0], a[1])).collect();
    let Interval { from, length } = problem.interval.unwrap_or(Interval { from: 0.0, length: 1.0 });
    Ok(Series { origin: from, length, amplitudes })
}
