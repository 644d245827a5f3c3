//! Random features: the hidden layers of a network of which only the last is solved for.
//!
//! Without knowledge of the solution, [`Network::features`] lets units switch at places all over the domain, all with slopes of
//! the same size. A state with fronts needs slopes of many sizes, each at its place. With one mode of the period, the unit
//!
//! ```text
//! tanh(a (cos k(x - c) - 1) + b + w s),   a = 2 / (k h)^2 ,   k = 2 pi / L ,   s in [-1, 1] the time in its window
//! ```
//!
//! is a bump about `c`: its argument is `b + w s - ((x - c) / h)^2` to leading order. It is periodic in all derivatives and flat
//! away from `c`. [`Features::State`] draws the centres `c` with the density of the local length of the state that the window
//! starts with, and the half-widths `h` in proportion to that length.
//!
//! Sampling features where the function varies is the idea of Bolager et al., *NeurIPS* 2023, and Datar et al., arXiv:2405.20836
//! (2024), who draw steps between pairs of points.

use std::f64::consts::TAU;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::residual::Network;
use super::series::Series;
use super::sobol::Sobol;
use super::solution::{Architecture, Problem};
use crate::error::{Error, Result};
use crate::jet::{Activation, MAX_ORDER};

/// How the hidden layer of a network is drawn whose last layer alone is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Features {
    /// Slopes of one size, switching all over the domain.
    #[default]
    Uniform,
    /// Bumps whose places and widths follow the state that a window starts with; so do the collocation points. New ones in each
    /// window. For networks of one hidden layer, one mode and a fixed slope of 1.
    State(Bumps),
}

/// Constants of [`Features::State`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bumps {
    /// Least and largest half-width `h`, in local lengths; drawn with a uniform logarithm.
    pub widths: [f64; 2],
    /// Largest `|w|`: what the argument of a bump gains from the middle of a window to its end.
    pub drift: f64,
}

impl Default for Bumps {
    fn default() -> Self {
        Self { widths: [0.7, 2.0], drift: 0.5 }
    }
}

impl Features {
    /// Refuses constants out of range, and problems whose network cannot make the features.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`].
    pub fn check(&self, problem: &Problem) -> Result<()> {
        let Self::State(Bumps { widths, drift }) = *self else { return Ok(()) };
        let refuse = |name: &str, value: String, rule: &str| Err(Error::parameter(name, value, rule));
        if !(widths[0] > 0.0 && widths[0] <= widths[1] && widths[1].is_finite()) {
            return refuse("march.features.state.widths", format!("{widths:?}"), "must be positive and ascending");
        }
        if !(drift >= 0.0 && drift.is_finite()) {
            return refuse("march.features.state.drift", drift.to_string(), "must be finite and not negative");
        }
        if problem.interval.is_none() {
            return refuse("march.features", "state".into(), "must be uniform for an equation without x");
        }
        let Architecture { depth, modes, scale, gated, activation, .. } = problem.network;
        let rule = "must have depth 1, modes 1, scale 0, tanh and no gates for features of the state";
        match depth == 1 && modes == 1 && scale == 0.0 && !gated && activation == Activation::Tanh {
            true => Ok(()),
            false => refuse("network", format!("{:?}", problem.network), rule),
        }
    }
}

/// How fast a local length may grow: away from a layer it is this times the distance, as of a function whose nearest singularity
/// is there. (Bounded growth of the spacing is standard for moving grids: Huang & Russell, *Adaptive Moving Mesh Methods*, 2011.)
const GROWTH: f64 = 0.3;

/// Share of centres and points that are drawn evenly.
const EVEN: f64 = 0.05;

/// Largest `k h`; beyond it a bump is a cosine.
const BROADEST: f64 = 1.5;

/// Cells on which local lengths are known, at least.
const CELLS: usize = 1024;

/// The local length of a state, and places drawn with the density of its reciprocal:
///
/// ```text
/// 1 / l_0(x) = max(1 / L, max_{i = 1..4} (|d^i u / dx^i| / max |u - mean u|)^(1 / i)) ,   l(x) = min_y (l_0(y) + GROWTH |x - y|)
/// ```
///
/// Roots make it blind to the noise of high derivatives.
pub(super) struct Lengths {
    from: f64,
    /// Width of a cell.
    step: f64,
    /// Of each cell.
    lengths: Vec<f64>,
    /// Share of the places left of each edge of a cell, from 0 to 1.
    shares: Vec<f64>,
}

impl Lengths {
    /// The smallest local length of several fields on `[from, from + extent)`, a period or a part of it.
    pub fn new(state: &[Series], [from, extent]: [f64; 2]) -> Result<Self> {
        let Series { origin, length, .. } = state[0];
        let modes = state.iter().map(|series| series.amplitudes.len()).max().unwrap_or(1);
        let n = (4 * modes).next_power_of_two().max(CELLS);
        let dx = length / n as f64;
        let mut inverse = vec![1.0 / length; n];
        for series in state {
            let (mean, values) = (series.amplitudes[0].re, series.sample(n, 0)?);
            let size = values.iter().map(|u| (u - mean).abs()).fold(f64::MIN_POSITIVE, f64::max);
            for order in 1..=MAX_ORDER {
                let derivatives = series.sample(n, order)?;
                for (inverse, u) in inverse.iter_mut().zip(derivatives) {
                    *inverse = inverse.max((u.abs() / size).powf(1.0 / order as f64));
                }
            }
        }
        let mut around: Vec<f64> = inverse.iter().map(|inverse| 1.0 / inverse).collect();
        // Twice around the period in each direction.
        for i in (0..2 * n).chain((0..2 * n).rev()) {
            let (left, right) = (i % n, (i + 1) % n);
            around[right] = around[right].min(around[left] + GROWTH * dx);
            around[left] = around[left].min(around[right] + GROWTH * dx);
        }
        let step = extent / n as f64;
        let nearest = |i: usize| ((from + (i as f64 + 0.5) * step - origin) / dx).round().rem_euclid(n as f64);
        let lengths: Vec<f64> = (0..n).map(|i| around[nearest(i) as usize % n]).collect();
        let total: f64 = lengths.iter().map(|length| 1.0 / length).sum();
        let mut shares = vec![0.0];
        shares.extend(lengths.iter().scan(0.0, |sum, length| {
            *sum += (1.0 - EVEN) / (length * total) + EVEN / n as f64;
            Some(*sum)
        }));
        Ok(Self { from, step, lengths, shares })
    }

    /// The place with this share, in `(0, 1)`, of all left of it, and the local length there.
    pub fn place(&self, share: f64) -> (f64, f64) {
        let cell = self.shares.partition_point(|&s| s <= share).clamp(1, self.lengths.len()) - 1;
        let [left, right] = [self.shares[cell], self.shares[cell + 1]];
        (self.from + self.step * (cell as f64 + (share - left) / (right - left)), self.lengths[cell])
    }
}

impl Network {
    /// Random parameters whose last layer is zero, and where its parameters begin: those before make random features.
    ///
    /// Biases are uniform within the sums of the absolute weights of their unit, so that units switch at places all over the domain.
    pub fn features(&self, seed: u64) -> (Vec<f64>, usize) {
        let parameters = self.blueprint.parameters::<f64>(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(1));
        let mut theta = parameters.theta().to_vec();
        let of = |name: &str| parameters.views().iter().find(|view| view.name == name);
        for bias in parameters.views().iter().filter(|view| view.name.ends_with(".bias")) {
            let weight = of(&bias.name.replace(".bias", ".weight")).expect("a layer has weights and biases");
            let inputs = weight.len() / bias.len();
            for unit in 0..bias.len() {
                let weights = &theta[weight.offset + unit * inputs..][..inputs];
                let bound: f64 = weights.iter().map(|w| w.abs()).sum();
                theta[bias.offset + unit] = rng.random_range(-1.0..1.0) * bound;
            }
        }
        let [.., weight, _] = parameters.views() else { unreachable!("a network has a last layer") };
        let last = weight.offset;
        theta[last..].fill(0.0);
        (theta, last)
    }

    /// The same for bumps that follow local lengths, with `b` within 1; `length` is the period.
    ///
    /// # Panics
    ///
    /// If the network is not of the form that [`Features::check`] asks for.
    pub(super) fn bumps(&self, lengths: &Lengths, bumps: Bumps, length: f64, seed: u64) -> (Vec<f64>, usize) {
        let parameters = self.blueprint.parameters::<f64>(seed);
        let [weight, bias, last, _] = parameters.views() else { panic!("a network of one hidden layer") };
        assert_eq!(weight.len(), 3 * bias.len(), "features of the coordinates: cosine, sine, time");
        let mut theta = vec![0.0; parameters.len()];
        let k = TAU / length;
        let mut sobol = Sobol::new(4, seed);
        let mut q = [0.0; 4];
        for unit in 0..bias.len() {
            sobol.point(&mut q);
            let (centre, local) = lengths.place(q[0]);
            let h = local * bumps.widths[0] * (bumps.widths[1] / bumps.widths[0]).powf(q[1]);
            let a = 2.0 / (k * h).min(BROADEST).powi(2);
            let (sin, cos) = (k * centre).sin_cos();
            let weights = [a * cos, a * sin, bumps.drift * (2.0 * q[2] - 1.0)];
            theta[weight.offset + 3 * unit..][..3].copy_from_slice(&weights);
            theta[bias.offset + unit] = 2.0 * q[3] - 1.0 - a;
        }
        (theta, last.offset)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::jet::{Coordinate, Mlp};
    use crate::pinn::{Initial, Interval, Lifting, Parity, Polynomial};

    /// `tanh(sin(pi x) / 0.05)`: fronts of width 0.05 / pi at the integers.
    fn fronts() -> Series {
        let f = |x: f64| ((std::f64::consts::PI * x).sin() / 0.05).tanh();
        let values: Vec<f64> = (0..2048).map(|j| f(-1.0 + j as f64 / 1024.0)).collect();
        Series::interpolate(-1.0, 2.0, &values, 1e-14).unwrap()
    }

    fn network(width: usize, parity: Parity) -> Arc<Network> {
        let space = Coordinate::Periodic { length: 2.0, modes: 1 };
        let coordinates = vec![space, Coordinate::Linear { from: 0.0, to: 0.5 }];
        let mlp = Mlp { coordinates, width, depth: 1, outputs: 1, activation: Activation::Tanh, scale: None };
        Arc::new(Network::plan(&mlp, 2, parity, 0.0, 1).unwrap())
    }

    #[test]
    fn local_lengths_are_those_of_fronts_and_grow_away_from_them() {
        let lengths = Lengths::new(&[fronts()], [-1.0, 2.0]).unwrap();
        let at = |x: f64| lengths.lengths[((x + 1.0) / lengths.step) as usize];
        // The slope at the front is pi / 0.05 of the amplitude; higher derivatives ask for up to twice as much beside it.
        let front = 0.05 / std::f64::consts::PI;
        assert!(at(0.0) < 1.01 * front && at(0.0) > 0.3 * front, "{} {front}", at(0.0));
        assert!(at(0.5) > 0.1 && at(0.5) < at(0.0) + 0.5 * GROWTH + 1e-3, "{}", at(0.5));
        for pair in lengths.lengths.windows(2) {
            assert!((pair[1] - pair[0]).abs() <= 1.01 * GROWTH * lengths.step);
        }
    }

    #[test]
    fn centres_have_the_density_of_the_reciprocal_length() {
        let lengths = Lengths::new(&[fronts()], [0.0, 1.0]).unwrap();
        let network = network(4096, Parity::Odd);
        let (theta, last) = network.bumps(&lengths, Bumps::default(), 2.0, 5);
        assert_eq!(theta.len() - last, 4097);
        let mut counts = [0usize; 8];
        let edges: Vec<f64> = (0..=8).map(|i| lengths.shares[i * (lengths.shares.len() - 1) / 8]).collect();
        for unit in 0..4096 {
            let [cos, sin] = [theta[3 * unit], theta[3 * unit + 1]];
            let x = sin.atan2(cos) / std::f64::consts::PI;
            assert!((-1e-12..=1.0 + 1e-12).contains(&x), "one half of the period: {x}");
            counts[((8.0 * x) as usize).min(7)] += 1;
        }
        assert!(edges[1] > 0.2, "fronts take more than their share");
        for (count, edges) in counts.iter().zip(edges.windows(2)) {
            // A Sobol sequence of 4096 points has one point in each of 4096 equal parts: an error of one at each edge.
            let exact = 4096.0 * (edges[1] - edges[0]);
            assert!((*count as f64 - exact).abs() <= 2.0, "{count} {exact}");
        }
    }

    #[test]
    fn bumps_are_periodic_have_the_parity_and_depend_on_the_seed_alone() {
        let lengths = Lengths::new(&[fronts()], [0.0, 1.0]).unwrap();
        for parity in [Parity::None, Parity::Even, Parity::Odd] {
            let network = network(50, parity);
            let (mut theta, last) = network.bumps(&lengths, Bumps::default(), 2.0, 1);
            assert_eq!(theta, network.bumps(&lengths, Bumps::default(), 2.0, 1).0);
            assert_ne!(theta, network.bumps(&lengths, Bumps::default(), 2.0, 2).0);
            theta[last..].iter_mut().enumerate().for_each(|(i, c)| *c = (i as f64).sin());
            let jets = |x: f64| {
                let mut jets = Vec::new();
                network.derivatives(&theta, &network.places(&[[x, 0.2]]), &mut jets);
                jets
            };
            let (here, next, mirror) = (jets(0.3), jets(2.3), jets(-0.3));
            for k in 0..3 {
                // Arguments up to a = 2 / (pi h)^2 = 1e4 carry a rounding of 1e-12, and derivatives are of size 1 / h^k.
                let bound = 1e-10 * 100f64.powi(k as i32);
                assert!((here[k] - next[k]).abs() < bound, "{k}: {here:?} {next:?}");
                if let Some(sign) = parity.sign(k) {
                    assert!((here[k] - sign * mirror[k]).abs() < bound, "{parity:?} {k}: {here:?} {mirror:?}");
                }
            }
        }
    }

    #[test]
    fn networks_that_cannot_make_bumps_are_refused() {
        let network = Architecture { width: 10, depth: 1, ..Architecture::default() };
        let good = Problem {
            fields: 1,
            terms: Polynomial::burgers(0.1).terms().to_vec(),
            interval: Some(Interval { from: -1.0, length: 2.0 }),
            initial: Initial::MinusSine {},
            lifting: Lifting::State,
            parity: Parity::Odd,
            about: 0.0,
            network,
        };
        let state = Features::State(Bumps::default());
        assert!(state.check(&good).is_ok());
        for network in [
            Architecture { depth: 2, ..network },
            Architecture { modes: 2, ..network },
            Architecture { scale: 1.0, ..network },
            Architecture { gated: true, ..network },
            Architecture { activation: Activation::Sin, ..network },
        ] {
            let problem = Problem { network, ..good.clone() };
            assert!(state.check(&problem).unwrap_err().to_string().contains("must have depth 1"), "{network:?}");
            assert!(Features::Uniform.check(&problem).is_ok());
        }
        let message = |bumps| Features::State(bumps).check(&good).unwrap_err().to_string();
        assert!(message(Bumps { widths: [2.0, 1.0], ..Bumps::default() }).contains("must be positive and ascending"));
        assert!(message(Bumps { drift: f64::NAN, ..Bumps::default() }).contains("must be finite"));
        let point = Problem { interval: None, ..good.clone() };
        assert!(state.check(&point).unwrap_err().to_string().contains("without x"));
    }
}
