//! The equation at collocation points, as a problem of least squares.

use std::ops::Range;
use std::sync::Arc;

use super::Equation;
use super::ansatz::{Parity, Window};
use crate::autodiff::Workers;
use crate::error::{Error, Result};
use crate::jet::{Architecture, Blueprint, Direction, Jets};
use crate::optim::LeastSquares;

/// A network with the symmetry of its problem: `N(x, t)`, or its even or odd part about `x_*`.
///
/// For an ordinary differential equation there is no `x`, and points are times.
pub struct Network {
    pub(super) blueprint: Blueprint,
    jets: Jets<f64>,
    workers: Workers<f64>,
    parity: Parity,
    about: f64,
    order: usize,
}

impl Network {
    /// Plans `N` with derivatives up to `order` in `x` and the first in `t`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a network that its blueprint refuses, or whose coordinates are not `x, t` (`t` for order 0).
    pub fn plan(network: &dyn Architecture, order: usize, parity: Parity, about: f64, threads: usize) -> Result<Self> {
        let (blueprint, coordinates) = (network.blueprint()?, if order == 0 { 1 } else { 2 });
        if blueprint.coordinates() != coordinates {
            let rule = format!("must be {coordinates} for an equation of order {order} in x");
            return Err(Error::parameter("number of coordinates", blueprint.coordinates(), rule));
        }
        if order == 0 && parity != Parity::None {
            return Err(Error::parameter("parity", format!("{parity:?}"), "must be none without x"));
        }
        let time = Direction::axis(coordinates - 1, 1);
        let directions = if order == 0 { vec![time] } else { vec![Direction::axis(0, order), time] };
        Ok(Self {
            jets: Jets::plan(network, &directions)?,
            blueprint,
            workers: Workers::new(threads)?,
            parity,
            about,
            order,
        })
    }

    /// Number of parameters.
    pub fn parameters(&self) -> usize {
        self.jets.parameters()
    }

    /// Number of fields.
    pub fn outputs(&self) -> usize {
        self.blueprint.outputs()
    }

    /// Random parameters to start from.
    pub fn random(&self, seed: u64) -> Vec<f64> {
        self.blueprint.parameters(seed).theta().to_vec()
    }

    /// Highest derivative in `x`.
    pub fn order(&self) -> usize {
        self.order
    }

    /// Numbers in a jet, `[component, field]`: derivatives `0..=order` in `x`, then the one in `t`.
    pub(super) fn jet(&self) -> usize {
        self.jets.components() * self.outputs()
    }

    /// Points of the network for each point of the problem.
    fn images(&self) -> usize {
        if self.parity == Parity::None { 1 } else { 2 }
    }

    /// The points `[x, t]` and, with a symmetry, after each its mirror image.
    pub(super) fn places(&self, points: &[[f64; 2]]) -> Vec<f64> {
        let mut places = Vec::with_capacity(points.len() * 2 * self.images());
        for &[x, t] in points {
            match (self.order, self.parity) {
                (0, _) => places.push(t),
                (_, Parity::None) => places.extend([x, t]),
                _ => places.extend([x, t, 2.0 * self.about - x, t]),
            }
        }
        places
    }

    /// Sign of the mirror image in a component.
    fn sign(&self, component: usize) -> f64 {
        self.parity.sign(if component > self.order { 0 } else { component }).unwrap_or(0.0)
    }

    /// Jets at points whose [`Network::places`] are given.
    pub(super) fn derivatives(&self, theta: &[f64], places: &[f64], jets: &mut Vec<f64>) {
        let (jet, outputs) = (self.jet(), self.outputs());
        let count = places.len() / self.blueprint.coordinates();
        jets.resize(count * jet, 0.0);
        self.jets.derivatives(&self.workers, theta, places, jets);
        if self.parity != Parity::None {
            for p in 0..count / 2 {
                for i in 0..jet {
                    let (one, two) = (jets[2 * p * jet + i], jets[(2 * p + 1) * jet + i]);
                    jets[p * jet + i] = 0.5 * (one + self.sign(i / outputs) * two);
                }
            }
            jets.truncate(count / 2 * jet);
        }
    }

    /// Rows `d r_p / d theta` for the cotangents `d r_p / d jet_p`, `[point, component, field]`; each row has `stride` values, of which
    /// the first are those of the parameters after the `frozen` ones.
    fn rows(
        &self,
        theta: &[f64],
        places: &[f64],
        cotangents: &[f64],
        rows: &mut [f64],
        [stride, frozen]: [usize; 2],
        memory: &mut Vec<f64>,
    ) {
        let (jet, outputs, n) = (self.jet(), self.outputs(), self.parameters());
        let (count, images) = (cotangents.len() / jet, self.images());
        // A few points at a time: their rows stay in the cache until they are added up.
        let block = 64;
        let mut ignored = vec![0.0; block * images];
        memory.resize(block * images * n, 0.0);
        for first in (0..count).step_by(block) {
            let block = block.min(count - first);
            let coordinates = self.blueprint.coordinates();
            let places = &places[first * images * coordinates..][..block * images * coordinates];
            let part = &mut memory[..block * images * n];
            let cotangents = &cotangents[first * jet..][..block * jet];
            let seed = |p: usize, _: &[f64], cotangent: &mut [f64]| {
                let source = &cotangents[p / images * jet..][..jet];
                if images == 1 {
                    cotangent.copy_from_slice(source);
                } else {
                    for (i, (target, source)) in cotangent.iter_mut().zip(source).enumerate() {
                        *target = 0.5 * source * if p.is_multiple_of(2) { 1.0 } else { self.sign(i / outputs) };
                    }
                }
                0.0
            };
            self.jets.jacobian(&self.workers, theta, places, &mut ignored[..block * images], part, seed);
            for (p, row) in part.chunks_exact(images * n).enumerate() {
                let target = &mut rows[(first + p) * stride..][..n - frozen];
                match images {
                    1 => target.copy_from_slice(&row[frozen..]),
                    _ => {
                        let both = row[frozen..n].iter().zip(&row[n + frozen..]);
                        target.iter_mut().zip(both).for_each(|(t, (a, b))| *t = a + b);
                    }
                }
            }
        }
    }
}

/// A measured value of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// `x, t`.
    pub point: [f64; 2],
    /// Number of the field.
    pub field: usize,
    /// Its value.
    pub value: f64,
}

/// Residuals `r = w (u_t - f(u, u_x, ...; c))` of `u = l + g N` at collocation points, and `W (u - d)` at samples.
///
/// The unknowns are the parameters of the network and after them the unknown coefficients. With `w = 1 / sqrt(points)`
/// the sum of squares is a mean.
pub struct Residual {
    equation: Arc<dyn Equation>,
    network: Arc<Network>,
    window: Arc<Window>,
    coefficients: Vec<f64>,
    /// Coefficients that are unknown.
    unknown: Vec<usize>,
    points: Vec<[f64; 2]>,
    /// Weight of each point.
    weights: Vec<f64>,
    samples: Vec<Sample>,
    sample_weight: f64,
    /// The first parameters of the network, which are not unknowns.
    frozen: Vec<f64>,
    places: Vec<f64>,
    /// Of the lifting at points and samples, and `g, g_t`.
    lifts: Vec<f64>,
    gates: Vec<[f64; 2]>,
    jets: Vec<f64>,
    memory: Vec<f64>,
}

impl Residual {
    /// The residual at `points`, each with weight `1 / sqrt(points)`.
    pub fn new(
        equation: Arc<dyn Equation>,
        coefficients: &[f64],
        network: Arc<Network>,
        window: Arc<Window>,
        points: Vec<[f64; 2]>,
    ) -> Self {
        let mut residual = Self {
            equation,
            network,
            window,
            coefficients: coefficients.to_vec(),
            unknown: Vec::new(),
            weights: vec![1.0 / (points.len() as f64).sqrt(); points.len()],
            points,
            samples: Vec::new(),
            sample_weight: 0.0,
            frozen: Vec::new(),
            places: Vec::new(),
            lifts: Vec::new(),
            gates: Vec::new(),
            jets: Vec::new(),
            memory: Vec::new(),
        };
        residual.prepare();
        residual
    }

    /// With unknown coefficients, whose values are at the end of `theta`.
    pub fn with_unknown(mut self, unknown: &[usize]) -> Self {
        self.unknown = unknown.to_vec();
        self
    }

    /// With the first parameters of the network as they are; the unknowns are the others.
    pub fn with_frozen(mut self, frozen: &[f64]) -> Self {
        self.frozen = frozen.to_vec();
        self
    }

    /// With samples of weight `W` each.
    pub fn with_samples(mut self, samples: Vec<Sample>, weight: f64) -> Self {
        (self.samples, self.sample_weight) = (samples, weight);
        self.prepare();
        self
    }

    /// The collocation points.
    pub fn points(&self) -> &[[f64; 2]] {
        &self.points
    }

    fn prepare(&mut self) {
        let all: Vec<[f64; 2]> = self.points.iter().copied().chain(self.samples.iter().map(|s| s.point)).collect();
        let jet = self.network.jet();
        self.places = self.network.places(&all);
        self.gates = all.iter().map(|p| self.window.gate(p[1])).collect();
        self.lifts = vec![0.0; all.len() * jet];
        for (lift, &[x, t]) in self.lifts.chunks_exact_mut(jet).zip(&all) {
            self.window.lift(x, t, lift);
        }
    }

    /// Jets of the solution at points `range`, samples after collocation points.
    fn solution(&mut self, theta: &[f64], range: Range<usize>) {
        let (network, jet) = (self.network.clone(), self.network.jet());
        let per_point = self.places.len() / self.gates.len().max(1);
        let places = &self.places[range.start * per_point..range.end * per_point];
        network.derivatives(&theta[..network.parameters()], places, &mut self.jets);
        let fields = network.outputs();
        let lifts = &self.lifts[range.start * jet..];
        for ((u, lift), gate) in self.jets.chunks_exact_mut(jet).zip(lifts.chunks_exact(jet)).zip(&self.gates[range]) {
            assemble(u, lift, *gate, fields);
        }
    }

    /// All parameters of the network, and after them the unknown coefficients.
    fn full(&self, theta: &[f64]) -> Vec<f64> {
        [&self.frozen, theta].concat()
    }

    /// The coefficients with the unknown ones taken from `theta`.
    fn coefficients(&self, theta: &[f64]) -> Vec<f64> {
        let mut c = self.coefficients.clone();
        self.unknown.iter().zip(&theta[self.network.parameters()..]).for_each(|(&i, &value)| c[i] = value);
        c
    }

    /// `u_t - f` at all points without weights, `[equation, point]`.
    pub fn unweighted(&mut self, theta: &[f64]) -> Vec<f64> {
        let (points, jet, fields) = (self.points.len(), self.network.jet(), self.network.outputs());
        let mut r = vec![0.0; points * fields];
        let theta = &self.full(theta);
        let c = self.coefficients(theta);
        let mut f = vec![0.0; fields];
        self.solution(theta, 0..points);
        for (p, u) in self.jets.chunks_exact(jet).enumerate() {
            let (values, rates) = u.split_at(jet - fields);
            self.equation.rates(&c, values, &mut f);
            (0..fields).for_each(|e| r[e * points + p] = rates[e] - f[e]);
        }
        r
    }
}

/// `u = l + g N`, `u_t = l_t + g_t N + g N_t`, in place of `N`'s jet.
pub(super) fn assemble(jet: &mut [f64], lift: &[f64], [gate, rate]: [f64; 2], fields: usize) {
    let last = jet.len() - fields;
    for field in 0..fields {
        jet[last + field] = gate * jet[last + field] + rate * jet[field];
    }
    jet[..last].iter_mut().for_each(|u| *u *= gate);
    jet.iter_mut().zip(lift).for_each(|(u, l)| *u += l);
}

/// The transpose of [`assemble`] for cotangents.
pub(super) fn assemble_adjoint(cotangent: &mut [f64], [gate, rate]: [f64; 2], fields: usize) {
    let last = cotangent.len() - fields;
    for field in 0..fields {
        cotangent[field] = gate * cotangent[field] + rate * cotangent[last + field];
    }
    cotangent[fields..].iter_mut().for_each(|u| *u *= gate);
}

impl LeastSquares for Residual {
    fn parameters(&self) -> usize {
        self.network.parameters() - self.frozen.len() + self.unknown.len()
    }

    fn residuals(&self) -> usize {
        self.points.len() * self.network.outputs() + self.samples.len()
    }

    fn residual(&mut self, theta: &[f64], r: &mut [f64]) {
        let (points, jet, fields) = (self.points.len(), self.network.jet(), self.network.outputs());
        let theta = &self.full(theta);
        let c = self.coefficients(theta);
        let mut f = vec![0.0; fields];
        self.solution(theta, 0..points + self.samples.len());
        for (p, u) in self.jets[..points * jet].chunks_exact(jet).enumerate() {
            let (values, rates) = u.split_at(jet - fields);
            self.equation.rates(&c, values, &mut f);
            for e in 0..fields {
                r[e * points + p] = self.weights[p] * (rates[e] - f[e]);
            }
        }
        let of_samples = self.jets[points * jet..].chunks_exact(jet).zip(&self.samples);
        for (r, (u, sample)) in r[points * fields..].iter_mut().zip(of_samples) {
            *r = self.sample_weight * (u[sample.field] - sample.value);
        }
    }

    fn rows(&mut self, theta: &[f64], rows: Range<usize>, r: &mut [f64], jacobian: &mut [f64]) {
        let (points, jet, fields) = (self.points.len(), self.network.jet(), self.network.outputs());
        let theta = &self.full(theta);
        let (stride, weights, frozen) = (self.parameters(), self.network.parameters(), self.frozen.len());
        let c = self.coefficients(theta);
        let (mut f, mut du) = (vec![0.0; fields], vec![0.0; fields * (jet - fields)]);
        let mut dc = vec![0.0; fields * c.len()];
        // A run of rows belongs to one equation, or to the samples.
        let mut start = rows.start;
        while start < rows.end {
            let equation = (start / points.max(1)).min(fields);
            let base = equation * points;
            let end = if equation < fields { rows.end.min(base + points) } else { rows.end };
            // Points, or samples after all points.
            let range =
                if equation < fields { start - base..end - base } else { start - base + points..end - base + points };
            self.solution(theta, range.clone());
            let at = start - rows.start;
            let count = end - start;
            let (r, jacobian) = (&mut r[at..at + count], &mut jacobian[at * stride..(at + count) * stride]);
            let mut cotangents = std::mem::take(&mut self.jets);
            for (i, (p, u)) in range.clone().zip(cotangents.chunks_exact_mut(jet)).enumerate() {
                let unknown = &mut jacobian[i * stride + weights - frozen..(i + 1) * stride];
                if equation < fields {
                    let w = self.weights[p];
                    let (values, rates) = u.split_at_mut(jet - fields);
                    self.equation.rates(&c, values, &mut f);
                    self.equation.slopes(&c, values, &mut du, &mut dc);
                    r[i] = w * (rates[equation] - f[equation]);
                    let slopes = &du[equation * values.len()..][..values.len()];
                    values.iter_mut().zip(slopes).for_each(|(u, slope)| *u = -w * slope);
                    rates.fill(0.0);
                    rates[equation] = w;
                    let dc = &dc[equation * c.len()..][..c.len()];
                    unknown.iter_mut().zip(&self.unknown).for_each(|(column, &i)| *column = -w * dc[i]);
                } else {
                    let sample = self.samples[p - points];
                    r[i] = self.sample_weight * (u[sample.field] - sample.value);
                    u.fill(0.0);
                    u[sample.field] = self.sample_weight;
                    unknown.fill(0.0);
                }
                assemble_adjoint(u, self.gates[p], fields);
            }
            let per_point = self.places.len() / self.gates.len();
            let places = &self.places[range.start * per_point..range.end * per_point];
            self.network.rows(&theta[..weights], places, &cotangents, jacobian, [stride, frozen], &mut self.memory);
            self.jets = cotangents;
            start = end;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::jet::{Activation, Coordinate, Mlp};
    use crate::pinn::{Lifting, Polynomial, Series};

    fn mlp(order: usize, outputs: usize) -> Mlp {
        let space = Coordinate::Periodic { length: 2.0, modes: 2 };
        let time = Coordinate::Linear { from: 0.0, to: 0.5 };
        let coordinates = if order == 0 { vec![time] } else { vec![space, time] };
        Mlp { coordinates, width: 6, depth: 2, outputs, activation: Activation::Tanh, scale: Some(1.0) }
    }

    /// Compares every `stride`-th column of a Jacobian matrix with differences of the residuals, to `bound (1 + |exact|)`.
    pub(in crate::pinn) fn check_columns(
        residual: &mut impl LeastSquares,
        theta: &[f64],
        jacobian: &[f64],
        stride: usize,
        bound: f64,
    ) {
        let (m, n) = (residual.residuals(), residual.parameters());
        for i in (0..n).step_by(stride) {
            let mut at = |h: f64| {
                let mut theta = theta.to_vec();
                theta[i] += h;
                let mut r = vec![0.0; m];
                residual.residual(&theta, &mut r);
                r
            };
            // Sixth order: truncation h^6 of high derivatives, rounding 1e-15 / h of terms up to 100.
            let h = 2e-3;
            let steps: Vec<Vec<f64>> = [1.0, -1.0, 2.0, -2.0, 3.0, -3.0].iter().map(|s| at(s * h)).collect();
            for j in 0..m {
                let d = |k: usize| steps[2 * k][j] - steps[2 * k + 1][j];
                let exact = (45.0 * d(0) - 9.0 * d(1) + d(2)) / (60.0 * h);
                let found = jacobian[j * n + i];
                assert!((found - exact).abs() < bound * (1.0 + exact.abs()), "{i} {j}: {found} {exact}");
            }
        }
    }

    fn state(fields: usize, order: usize) -> Vec<Series> {
        let value = |j: usize| (std::f64::consts::PI * (-1.0 + j as f64 / 16.0)).sin();
        let series = Series::interpolate(-1.0, 2.0, &(0..32).map(value).collect::<Vec<_>>(), 1e-14).unwrap();
        if order == 0 { (0..fields).map(|f| Series::constant(1.0 + f as f64)).collect() } else { vec![series; fields] }
    }

    fn problem(equation: &Polynomial, parity: Parity, count: usize) -> (Residual, Vec<f64>) {
        let (fields, order) = (equation.fields(), equation.order());
        let mlp = mlp(order, fields);
        let network = Network::plan(&mlp, order, parity, 0.0, 1).unwrap();
        let c = equation.coefficients();
        let window = Window::new(equation, &c, Lifting::Exponential, [0.0, 0.5], state(fields, order)).unwrap();
        let points = (0..count).map(|i| [(1.1 * i as f64).sin(), 0.25 + 0.25 * (0.7 * i as f64).cos()]).collect();
        let mut theta = mlp.parameters(1).unwrap().theta().to_vec();
        theta.iter_mut().enumerate().for_each(|(i, t)| *t += 0.1 * (i as f64).sin());
        (Residual::new(Arc::new(equation.clone()), &c, network.into(), window.into(), points), theta)
    }

    #[test]
    fn rows_are_the_derivatives_of_the_residuals() {
        for (equation, parity) in [
            (Polynomial::allen_cahn(0.01, 5.0), Parity::Even),
            (Polynomial::burgers(0.1), Parity::None),
            (Polynomial::kuramoto_sivashinsky(1.0, 0.1, 0.001), Parity::Odd),
            (Polynomial::lorenz(1.0, 2.8, 0.8), Parity::None),
        ] {
            let (residual, mut theta) = problem(&equation, parity, 70);
            let samples = (0..3).map(|i| Sample { point: [0.3 * i as f64, 0.4], field: 0, value: 0.5 }).collect();
            let mut residual = residual.with_samples(samples, 0.2).with_unknown(&[1]);
            theta.push(equation.coefficients()[1]);
            let (n, m) = (residual.parameters(), residual.residuals());
            assert_eq!((n, m), (theta.len(), 70 * equation.fields() + 3));
            let (mut r, mut jacobian) = (vec![f64::NAN; m], vec![f64::NAN; m * n]);
            // In two tiles, the cut inside an equation.
            let cut = 33;
            let (first, second) = jacobian.split_at_mut(cut * n);
            residual.rows(&theta, 0..cut, &mut r[..cut], first);
            residual.rows(&theta, cut..m, &mut r[cut..], second);
            let mut exact = vec![0.0; m];
            residual.residual(&theta, &mut exact);
            assert!(r.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-13 * (1.0 + b.abs())));
            check_columns(&mut residual, &theta, &jacobian, 1, 2e-8);
        }
    }

    #[test]
    fn rows_of_the_last_layer_are_the_last_columns() {
        let (all, theta) = problem(&Polynomial::burgers(0.1), Parity::Odd, 9);
        let (features, first) = all.network.features(3);
        assert!(features[first..].iter().all(|w| *w == 0.0) && features[..first].iter().all(|w| *w != 0.0));
        // Six units and a bias.
        assert_eq!((theta.len(), theta.len() - first), (features.len(), 7));
        let rows = |mut residual: Residual, theta: &[f64]| {
            let (m, n) = (residual.residuals(), residual.parameters());
            let (mut r, mut jacobian) = (vec![0.0; m], vec![0.0; m * n]);
            residual.rows(theta, 0..m, &mut r, &mut jacobian);
            (r, jacobian)
        };
        let part = problem(&Polynomial::burgers(0.1), Parity::Odd, 9).0.with_frozen(&theta[..first]);
        let ((r, whole), (s, part)) = (rows(all, &theta), rows(part, &theta[first..]));
        assert_eq!(r, s);
        for (whole, part) in whole.chunks(theta.len()).zip(part.chunks(theta.len() - first)) {
            assert_eq!(&whole[first..], part);
        }
    }

    #[test]
    fn parity_and_the_initial_state_are_exact() {
        for parity in [Parity::Even, Parity::Odd] {
            let (mut residual, theta) = problem(&Polynomial::burgers(0.1), parity, 4);
            residual.points = vec![[0.3, 0.2], [-0.3, 0.2], [0.7, 0.0], [0.0, 0.4]];
            residual.prepare();
            residual.solution(&theta, 0..4);
            let jet = residual.network.jet();
            let of = |p: usize, lift: bool| -> Vec<f64> {
                let lifts = &residual.lifts[p * jet..][..jet];
                let u = &residual.jets[p * jet..][..jet];
                u.iter().zip(lifts).map(|(u, l)| if lift { *l } else { u - l }).collect()
            };
            // The lifting of -sin is odd in itself; what the network adds is of the asked parity, to the rounding of u - l.
            for (k, (a, b)) in of(0, false).iter().zip(of(1, false)).enumerate() {
                let sign = parity.sign(if k == 3 { 0 } else { k }).unwrap();
                assert!((a - sign * b).abs() < 1e-13, "{parity:?} {k}: {a} {b}");
            }
            assert_eq!(residual.jets[2 * jet], of(2, true)[0], "the network is silent at the start");
            if parity == Parity::Odd {
                assert!(of(3, false)[0].abs() < 1e-15);
            }
        }
    }

    #[test]
    fn residual_of_a_solution_is_round_off() {
        // The lifting solves a linear equation; the network, all zero, adds nothing.
        let equation = Polynomial::convection(3.0, 0.1);
        let (mut residual, theta) = problem(&equation, Parity::None, 50);
        let r = residual.unweighted(&vec![0.0; theta.len()]);
        // Wavenumbers up to pi, one mode.
        assert!(r.iter().all(|r| r.abs() < 1e-13), "{r:?}");
    }
}
