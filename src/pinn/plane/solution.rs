//! The solution: networks in windows of time, evaluated anywhere.

use std::sync::Arc;

use ndarray::{Array2, ArrayD};
use num_complex::Complex64;

use super::super::reference::Reference;
use super::super::solution::{Tensor, window_at};
use super::flow::{Flow, Vorticity};
use super::network::{Local, Network};
use super::window::Window;
use crate::error::{Error, Result};

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

/// Points that are evaluated at a time.
const BLOCK: usize = 4096;

impl Piece {
    /// Stream function, vorticity and derivatives at points `[x, y, t]`.
    pub fn evaluate(&self, points: &[[f64; 3]]) -> Vec<Local> {
        let mut locals = Vec::with_capacity(points.len());
        for points in points.chunks(BLOCK) {
            let network = self.network.evaluate(&self.theta, points);
            let whole = network
                .into_iter()
                .zip(points)
                .map(|(local, &point)| local.assemble(&self.window.lift(point), self.window.gate(point[2])));
            locals.extend(whole);
        }
        locals
    }

    /// The vorticity at the end of the window, interpolated on `n x n` points.
    ///
    /// # Errors
    ///
    /// As [`Vorticity::of_values`].
    pub fn end(&self, n: usize) -> Result<Vorticity> {
        let (length, t) = (self.window.state.length, self.window.times[1]);
        let at = |j: usize| length * j as f64 / n as f64;
        let points: Vec<[f64; 3]> = (0..n * n).map(|p| [at(p / n), at(p % n), t]).collect();
        let values = self.evaluate(&points).iter().map(|local| local.omega).collect();
        Vorticity::of_values(length, ArrayD::from_shape_vec(vec![n, n], values).expect("as many values as points"))
    }
}

/// A solution, window after window; it may still be growing.
#[derive(Clone, Default)]
pub struct Solution {
    /// The windows, in order.
    pub pieces: Vec<Piece>,
}

impl Solution {
    /// Stream function, vorticity and derivatives at points `[x, y, t]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a time outside all windows.
    pub fn evaluate(&self, points: &[[f64; 3]]) -> Result<Vec<Local>> {
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.pieces.len()];
        for (i, &[_, _, t]) in points.iter().enumerate() {
            groups[window_at(&self.pieces, |piece| piece.window.times, t)?].push(i);
        }
        let mut locals = vec![Local::default(); points.len()];
        for (piece, group) in self.pieces.iter().zip(groups) {
            let part = piece.evaluate(&group.iter().map(|&i| points[i]).collect::<Vec<_>>());
            group.iter().zip(part).for_each(|(&i, local)| locals[i] = local);
        }
        Ok(locals)
    }

    /// Vorticities `[time, x, y]` at the places of a reference.
    ///
    /// # Errors
    ///
    /// As [`Solution::evaluate`].
    pub fn at(&self, reference: &Reference) -> Result<Vec<f64>> {
        let x = &reference.x;
        let plane = |t: f64| x.iter().flat_map(move |&x_| x.iter().map(move |&y| [x_, y, t]));
        let points: Vec<[f64; 3]> = reference.times.iter().flat_map(|&t| plane(t)).collect();
        Ok(self.evaluate(&points)?.iter().map(|local| local.omega).collect())
    }

    /// Everything that is needed to build the solution again beside its [`Flow`].
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for (k, Piece { window, theta, .. }) in self.pieces.iter().enumerate() {
            tensors.push((format!("windows.{k}.times"), (vec![2], window.times.to_vec())));
            tensors.push((format!("windows.{k}.theta"), (vec![theta.len()], theta.clone())));
            tensors.push((format!("windows.{k}.state"), of_vorticity(&window.state)));
        }
        tensors
    }

    /// The solution of a flow from its tensors.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a tensor that is absent, [`Error::Shape`] for one that does not fit.
    pub fn from_tensors(flow: &Flow, tensor: impl Fn(&str) -> Option<Tensor>, threads: usize) -> Result<Self> {
        let mut pieces = Vec::new();
        while let Some((_, times)) = tensor(&format!("windows.{}.times", pieces.len())) {
            let k = pieces.len();
            let read = |name: &str| {
                let name = format!("windows.{k}.{name}");
                tensor(&name).ok_or_else(|| Error::parameter("tensor", name, "must be in the file"))
            };
            let times = times.try_into().map_err(|t: Vec<f64>| Error::shape("times", &[2], &[t.len()]))?;
            let state = vorticity(flow, read("state")?)?;
            let network = flow.plan(times, threads)?;
            let (_, theta) = read("theta")?;
            if theta.len() != network.parameters() {
                return Err(Error::shape(format!("windows.{k}.theta"), &[network.parameters()], &[theta.len()]));
            }
            let window = Window::new(flow.nu, flow.lifting, times, state)?;
            pieces.push(Piece { window: window.into(), network: network.into(), theta });
        }
        Ok(Self { pieces })
    }
}

/// A vorticity as a tensor `[n, n / 2 + 1, 2]`.
pub(super) fn of_vorticity(state: &Vorticity) -> Tensor {
    let (n, m) = state.omega_hat.dim();
    (vec![n, m, 2], state.omega_hat.iter().flat_map(|a| [a.re, a.im]).collect())
}

/// The vorticity of a tensor.
pub(super) fn vorticity(flow: &Flow, (shape, values): Tensor) -> Result<Vorticity> {
    let bad = || Error::shape("state", &[values.len() / 4, values.len() / 4, 2], &shape);
    let &[n, m, 2] = &shape[..] else { return Err(bad()) };
    if m != n / 2 + 1 || values.len() != n * m * 2 {
        return Err(bad());
    }
    let amplitudes = values.chunks_exact(2).map(|a| Complex64::new(a[0], a[1])).collect();
    let omega_hat = Array2::from_shape_vec([n, m], amplitudes).map_err(|_| bad())?;
    Ok(Vorticity { length: flow.length, omega_hat })
}
