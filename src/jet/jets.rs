//! Derivatives of a network at many points, gradients and Jacobian matrices of functions of them.

use super::activation::padded;
use super::blueprint::{Architecture, Place};
use super::embedding::Embedding;
use super::tile::{Memory, Tile};
use super::{Direction, MAX_ORDER};
use crate::autodiff::{Workers, dispatch};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stepper::team::Shared;

/// Plan of the derivatives of a network.
///
/// A `jet` of one point is `[component, output]`: the values, then the plain derivatives in the order of directions.
///
/// Results are the same bits for any number of threads.
pub struct Jets<T> {
    tile: Tile,
    places: Vec<Place>,
    directions: Vec<Direction>,
    coordinates: usize,
    outputs: usize,
    /// `k!` of each component.
    factorials: Vec<T>,
    parameters: usize,
}

impl<T: Real> Jets<T> {
    /// Plans the derivatives of a network along some directions.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a network that [`Architecture::blueprint`] refuses, an order beyond `1..=4`, a direction of more
    /// entries than there are coordinates, or one that is zero or not finite.
    pub fn plan(network: &(impl Architecture + ?Sized), directions: &[Direction]) -> Result<Self> {
        let blueprint = network.blueprint()?;
        let coordinates = blueprint.coordinates();
        for Direction { along, order } in directions {
            if !(1..=MAX_ORDER).contains(order) {
                return Err(Error::parameter("order", order, format!("must be in 1..={MAX_ORDER}")));
            }
            let describe = || format!("{along:?}");
            if along.len() > coordinates {
                return Err(Error::parameter("along", describe(), format!("must have at most {coordinates} entries")));
            }
            if along.iter().any(|a| !a.is_finite()) || along.iter().all(|&a| a == 0.0) {
                return Err(Error::parameter("along", describe(), "must be finite and not zero"));
            }
        }
        let full = directions.iter().map(|d| {
            let along = (0..coordinates).map(|axis| d.along.get(axis).copied().unwrap_or(0.0)).collect();
            (along, d.order)
        });
        let embedding = Embedding::new(&blueprint.coordinates, &full.collect::<Vec<_>>());
        let orders: Vec<usize> = directions.iter().map(|d| d.order).collect();
        let derivatives = orders.iter().flat_map(|&order| [1.0, 2.0, 6.0, 24.0].into_iter().take(order));
        let factorials = std::iter::once(1.0).chain(derivatives).map(T::of).collect();
        Ok(Self {
            tile: Tile::new::<T>(embedding, &blueprint, orders),
            places: blueprint.places().cloned().collect(),
            directions: directions.to_vec(),
            coordinates,
            outputs: blueprint.outputs(),
            factorials,
            parameters: blueprint.len(),
        })
    }

    /// Number of components of a jet.
    pub fn components(&self) -> usize {
        self.factorials.len()
    }

    /// Component of the derivative of the given order along a direction.
    ///
    /// # Panics
    ///
    /// If it was not planned.
    pub fn component(&self, direction: usize, order: usize) -> usize {
        assert!(
            order <= self.directions[direction].order,
            "derivative {order} along direction {direction} not planned"
        );
        if order == 0 { 0 } else { self.directions[..direction].iter().map(|d| d.order).sum::<usize>() + order }
    }

    /// Number of parameters, the length of `theta`.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Values and derivatives `[point, component, output]` at points `[point, coordinate]`.
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub fn derivatives(&self, workers: &Workers<T>, theta: &[T], points: &[T], jets: &mut [T]) {
        let count = self.check(theta, points);
        assert_eq!(jets.len(), count * self.jet(), "length of jets");
        let prepared = self.prepare(workers, theta);
        workers.pieces(jets, self.tile.points * self.jet(), self.scratch(), |index, jets, scratch| {
            let (mut memory, _) = self.split(scratch);
            let count = jets.len() / self.jet();
            let points = self.points_of(points, index, count);
            let values = self.tile.forward(workers.isa(), theta, &prepared, points, count, &mut memory);
            for (p, jet) in jets.chunks_exact_mut(self.jet()).enumerate() {
                self.gather(values, p, count, jet);
            }
        });
    }

    /// `sum_p seed(p, jet_p, cotangent_p)` and its gradient with respect to `theta`.
    ///
    /// `seed` gets the number of a point and its jet, returns the point's share of the sum, and writes the derivative of that
    /// share with respect to the jet into the cotangent, both `[component, output]`.
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub fn gradient(
        &self,
        workers: &Workers<T>,
        theta: &[T],
        points: &[T],
        gradient: &mut [T],
        seed: impl Fn(usize, &[T], &mut [T]) -> T + Sync,
    ) -> T {
        let total = self.check(theta, points);
        assert_eq!(gradient.len(), self.parameters, "length of the gradient");
        let prepared = self.prepare(workers, theta);
        // The sum of shares goes along as one more entry.
        let mut sum = workers.buffer(self.parameters + 1);
        sum.fill(T::zero());
        let tiles = total.div_ceil(self.tile.points);
        workers.reduce(tiles, &mut sum, self.scratch(), |tiles, partial, scratch| {
            let (mut memory, seeds) = self.split(scratch);
            for tile in tiles {
                let first = tile * self.tile.points;
                let count = self.tile.points.min(total - first);
                let points = self.points_of(points, tile, count);
                self.tile.forward(workers.isa(), theta, &prepared, points, count, &mut memory);
                let (partial, share) = partial.split_at_mut(self.parameters);
                self.seed(first, count, &mut memory, seeds, &seed, |_, value| share[0] += value);
                self.tile
                    .backward(workers.isa(), theta, &prepared, count, &mut memory, |part| part.add_gradient(partial));
            }
        });
        gradient.copy_from_slice(&sum[..self.parameters]);
        self.unscale(theta, gradient);
        sum[self.parameters]
    }

    /// `gradient = sum_p (d jet_p / d theta)^T cotangent_p` for cotangents `[point, component, output]`.
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub fn vjp(&self, workers: &Workers<T>, theta: &[T], points: &[T], cotangents: &[T], gradient: &mut [T]) {
        assert_eq!(cotangents.len(), self.check(theta, points) * self.jet(), "length of cotangents");
        self.gradient(workers, theta, points, gradient, |p, _, cotangent| {
            cotangent.copy_from_slice(&cotangents[p * self.jet()..][..self.jet()]);
            T::zero()
        });
    }

    /// Residuals `r_p = seed(p, jet_p, cotangent_p)` and the rows `d r_p / d theta` of their Jacobian matrix `[point, theta]`.
    ///
    /// `seed` is that of [`Jets::gradient`] with `r_p` for the share. A system of several residuals takes a call for each.
    ///
    /// # Panics
    ///
    /// If a length does not fit.
    pub fn jacobian(
        &self,
        workers: &Workers<T>,
        theta: &[T],
        points: &[T],
        residuals: &mut [T],
        rows: &mut [T],
        seed: impl Fn(usize, &[T], &mut [T]) -> T + Sync,
    ) {
        let total = self.check(theta, points);
        assert_eq!(residuals.len(), total, "length of residuals");
        assert_eq!(rows.len(), total * self.parameters, "length of the Jacobian");
        let prepared = self.prepare(workers, theta);
        let rows = Shared::new(rows);
        workers.pieces(residuals, self.tile.points, self.scratch(), |tile, residuals, scratch| {
            let (mut memory, seeds) = self.split(scratch);
            let (first, count) = (tile * self.tile.points, residuals.len());
            // SAFETY: tiles have disjoint rows.
            let rows = unsafe { rows.part(first * self.parameters, count * self.parameters).as_mut_slice() };
            let points = self.points_of(points, tile, count);
            self.tile.forward(workers.isa(), theta, &prepared, points, count, &mut memory);
            self.seed(first, count, &mut memory, seeds, &seed, |p, value| residuals[p] = value);
            self.tile.backward(workers.isa(), theta, &prepared, count, &mut memory, |part| {
                dispatch!(workers.isa(), V => part.write_rows::<V<T>>(rows, self.parameters));
            });
            for row in rows.chunks_exact_mut(self.parameters) {
                self.unscale(theta, row);
            }
        });
    }

    /// Values of one point's jet.
    fn jet(&self) -> usize {
        self.components() * self.outputs
    }

    fn check(&self, theta: &[T], points: &[T]) -> usize {
        assert_eq!(theta.len(), self.parameters, "length of theta");
        assert!(points.len().is_multiple_of(self.coordinates), "points of {} coordinates", self.coordinates);
        points.len() / self.coordinates
    }

    fn prepare<'a>(&self, workers: &'a Workers<T>, theta: &[T]) -> crate::autodiff::Buffer<'a, T> {
        let mut prepared = workers.buffer(self.tile.prepared);
        self.tile.prepare(theta, &mut prepared);
        prepared
    }

    /// Scratch memory of a tile, and a jet and a cotangent.
    fn scratch(&self) -> usize {
        self.tile.scratch() + 2 * padded::<T>(self.jet())
    }

    fn split<'a>(&self, scratch: &'a mut [T]) -> (Memory<'a, T>, &'a mut [T]) {
        let (tile, seeds) = scratch.split_at_mut(self.tile.scratch());
        (self.tile.split(tile), seeds)
    }

    fn points_of<'a>(&self, points: &'a [T], tile: usize, count: usize) -> &'a [T] {
        &points[tile * self.tile.points * self.coordinates..][..count * self.coordinates]
    }

    /// Plain derivatives of point `p` from Taylor coefficients `[component, point, output]`.
    fn gather(&self, values: &[T], p: usize, count: usize, jet: &mut [T]) {
        for (c, (jet, &factorial)) in jet.chunks_exact_mut(self.outputs).zip(&self.factorials).enumerate() {
            for (o, u) in jet.iter_mut().enumerate() {
                *u = factorial * values[(c * count + p) * self.outputs + o];
            }
        }
    }

    /// Calls `seed` for each point of a tile, and `take(point in the tile, result)`.
    fn seed(
        &self,
        first: usize,
        count: usize,
        memory: &mut Memory<T>,
        seeds: &mut [T],
        seed: impl Fn(usize, &[T], &mut [T]) -> T,
        mut take: impl FnMut(usize, T),
    ) {
        let (values, cotangents) = self.tile.seeds(count, memory);
        let (jet, cotangent) = seeds.split_at_mut(padded::<T>(self.jet()));
        let (jet, cotangent) = (&mut jet[..self.jet()], &mut cotangent[..self.jet()]);
        for p in 0..count {
            self.gather(values, p, count, jet);
            cotangent.fill(T::zero());
            take(p, seed(first + p, jet, cotangent));
            for (c, &factorial) in self.factorials.iter().enumerate() {
                for o in 0..self.outputs {
                    cotangents[(c * count + p) * self.outputs + o] = factorial * cotangent[c * self.outputs + o];
                }
            }
        }
    }

    /// From the gradient with respect to `a W` and `a b` to that with respect to `W`, `b` and `a`:
    /// `abar = <W, (aW)bar> + <b, (ab)bar>`, `Wbar = a (aW)bar`.
    fn unscale(&self, theta: &[T], gradient: &mut [T]) {
        for place in &self.places {
            let Some(scale) = place.scale else { continue };
            let (a, part) = (theta[scale], place.weight..scale);
            let mut sum = T::zero();
            for (g, &w) in gradient[part.clone()].iter_mut().zip(&theta[part]) {
                sum += w * *g;
                *g *= a;
            }
            gradient[scale] = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::{Activation, Coordinate, Fourier, Mlp, ModifiedMlp, PirateNet};
    use super::*;

    fn mlp(width: usize, depth: usize, outputs: usize, activation: Activation, scale: Option<f64>) -> Mlp {
        let coordinates =
            vec![Coordinate::Periodic { length: 3.0, modes: 2 }, Coordinate::Linear { from: -0.5, to: 1.5 }];
        Mlp { coordinates, width, depth, outputs, activation, scale }
    }

    /// Four derivatives in x and two in t.
    fn directions() -> Vec<Direction> {
        vec![Direction::axis(0, 4), Direction::axis(1, 2)]
    }

    /// Networks with biases, so that no term vanishes by symmetry.
    fn example<T: Real>(network: &dyn Architecture, seed: u64) -> Vec<T> {
        let mut parameters = network.blueprint().unwrap().parameters::<f64>(seed);
        for (i, value) in parameters.theta_mut().iter_mut().enumerate() {
            *value += 0.1 * (i as f64).sin();
        }
        parameters.theta().iter().map(|&value| T::of(value)).collect()
    }

    fn modified(fourier: bool) -> ModifiedMlp {
        let fourier = fourier.then_some(Fourier { features: 6, deviation: 0.7 });
        ModifiedMlp { mlp: mlp(5, 2, 2, Activation::Tanh, fourier.is_none().then_some(1.2)), fourier }
    }

    fn pirate() -> PirateNet {
        let coordinates = mlp(1, 1, 1, Activation::Tanh, None).coordinates;
        let fourier = Fourier { features: 6, deviation: 0.7 };
        PirateNet { coordinates, fourier, blocks: 2, outputs: 2, activation: Activation::Tanh }
    }

    fn networks() -> Vec<Box<dyn Architecture>> {
        vec![
            Box::new(mlp(5, 2, 2, Activation::Tanh, None)),
            Box::new(mlp(5, 2, 2, Activation::Sin, Some(1.5))),
            Box::new(mlp(19, 3, 1, Activation::Tanh, Some(0.8))),
            Box::new(modified(false)),
            Box::new(modified(true)),
            Box::new(pirate()),
        ]
    }

    fn spread<T: Real>(count: usize) -> Vec<T> {
        (0..2 * count).map(|i| T::of(1.5 * (1.1 * i as f64 + 0.2).sin())).collect()
    }

    fn largest(a: &[f64]) -> f64 {
        a.iter().fold(0.0, |m, x| m.max(x.abs()))
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).fold(0.0, |m, (a, b)| m.max((a - b).abs()))
    }

    /// Central difference of sixth order.
    fn difference(h: f64, f: impl Fn(f64) -> f64) -> f64 {
        let odd = |step: f64| f(step) - f(-step);
        (45.0 * odd(h) - 9.0 * odd(2.0 * h) + odd(3.0 * h)) / (60.0 * h)
    }

    #[test]
    fn derivatives_of_one_layer_are_those_of_the_closed_form() {
        let workers = Workers::new(1).unwrap();
        let mut line = mlp(3, 1, 1, Activation::Tanh, None);
        line.coordinates = vec![Coordinate::Linear { from: -1.0, to: 1.0 }];
        let jets = Jets::<f64>::plan(&line, &[Direction::axis(0, 4)]).unwrap();
        // u = 0.5 + sum_i w_i tanh(k_i x + b_i)
        let (k, b, w) = ([0.7, -1.3, 2.1], [0.1, 0.4, -0.6], [1.1, -0.3, 0.8]);
        let theta = [&k[..], &b, &w, &[0.5]].concat();
        let points = [-1.2, 0.0, 0.3, 2.0];
        let mut result = vec![0.0; 20];
        jets.derivatives(&workers, &theta, &points, &mut result);
        for (x, jet) in points.iter().zip(result.chunks(5)) {
            let mut exact = [0.5, 0.0, 0.0, 0.0, 0.0];
            for i in 0..3 {
                let a = (k[i] * x + b[i]).tanh();
                let f1 = 1.0 - a * a;
                let f = [a, f1, -2.0 * a * f1, f1 * (6.0 * a * a - 2.0), f1 * a * (16.0 - 24.0 * a * a)];
                (0..5).for_each(|n| exact[n] += w[i] * k[i].powi(n as i32) * f[n]);
            }
            // Up to 2.1^4 24 from a few roundings.
            assert!(distance(jet, &exact) < 1e-13, "{jet:?} {exact:?}");
        }
    }

    #[test]
    fn each_derivative_is_that_of_the_one_before_by_central_differences() {
        let workers = Workers::new(1).unwrap();
        for (n, network) in networks().into_iter().enumerate() {
            // Products with the gates are steeper; their last digits are compared with nested differentiation below.
            let growth: f64 = if n < 3 { 5.0 } else { 30.0 };
            let theta = example(&*network, 1);
            let mut directions = directions();
            directions.push(Direction { along: vec![0.5, -1.5], order: 3 });
            let jets = Jets::<f64>::plan(&*network, &directions).unwrap();
            let at = |point: [f64; 2]| {
                let mut jet = vec![0.0; jets.jet()];
                jets.derivatives(&workers, &theta, &point, &mut jet);
                jet
            };
            let point = [0.4, 0.9];
            let jet = at(point);
            for (d, Direction { along, order }) in directions.iter().enumerate() {
                let along = [along[0], along.get(1).copied().unwrap_or(0.0)];
                for k in 1..=*order {
                    for o in 0..jets.outputs {
                        let entry = |k: usize| jets.component(d, k) * jets.outputs + o;
                        let lower = |s: f64| at([point[0] + s * along[0], point[1] + s * along[1]])[entry(k - 1)];
                        let error = (jet[entry(k)] - difference(5e-4, lower)).abs();
                        // Truncation h^6 u^(k+6) / 140 = 1e-22 u^(k+6), measured to fall by 64 from twice the step and to
                        // be below 1e-12 5^k for the plain ones; rounding is 1e-15 u^(k-1) / h.
                        assert!(error < 1e-11 * growth.powi(k as i32), "{network:?} {d} {k}: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn mixed_derivative_comes_from_oblique_directions() {
        let workers = Workers::new(1).unwrap();
        let mlp = mlp(7, 2, 1, Activation::Tanh, None);
        let theta = example(&mlp, 2);
        let oblique = [vec![1.0, 1.0], vec![1.0, -1.0]].map(|along| Direction { along, order: 2 });
        let jets = Jets::<f64>::plan(&mlp, &[&oblique[..], &[Direction::axis(0, 1)]].concat()).unwrap();
        let at = |x: f64, t: f64| {
            let mut jet = vec![0.0; 6];
            jets.derivatives(&workers, &theta, &[x, t], &mut jet);
            jet
        };
        let jet = at(0.3, 0.2);
        let mixed = (jet[jets.component(0, 2)] - jet[jets.component(1, 2)]) / 4.0;
        let exact = difference(4e-3, |s| at(0.3, 0.2 + s)[jets.component(2, 1)]);
        // As above, for a derivative of second order.
        assert!((mixed - exact).abs() < 1e-9 * (1.0 + exact.abs()), "{mixed} {exact}");
    }

    #[test]
    fn gradient_is_that_of_central_differences_in_every_parameter() {
        let workers = Workers::new(1).unwrap();
        for network in networks() {
            let theta: Vec<f64> = example(&*network, 3);
            let jets = Jets::<f64>::plan(&*network, &directions()).unwrap();
            let points = spread(3);
            // Half the sum of squares of weighted derivatives.
            let seed = |_: usize, jet: &[f64], cotangent: &mut [f64]| {
                let weights = (0..jet.len()).map(|i| 0.3f64.powi((i / jets.outputs) as i32));
                let mut sum = 0.0;
                for ((g, &u), w) in cotangent.iter_mut().zip(jet).zip(weights) {
                    sum += 0.5 * w * u * u;
                    *g = w * u;
                }
                sum
            };
            let mut gradient = vec![0.0; theta.len()];
            let loss = jets.gradient(&workers, &theta, &points, &mut gradient, seed);
            for i in 0..theta.len() {
                let at = |s: f64| {
                    let mut theta = theta.clone();
                    theta[i] += s;
                    jets.gradient(&workers, &theta, &points, &mut vec![0.0; theta.len()], seed)
                };
                let error = (gradient[i] - difference(2e-3, at)).abs();
                // Rounding 1e-16 loss / h, truncation h^6 / 140 times a seventh derivative.
                assert!(error < 1e-10 * (loss + largest(&gradient)), "{network:?} {i}: {error} of {}", gradient[i]);
            }
        }
    }

    #[test]
    fn rows_of_the_jacobian_are_gradients_of_single_residuals() {
        let workers = Workers::new(2).unwrap();
        for network in networks() {
            let theta: Vec<f64> = example(&*network, 4);
            let jets = Jets::<f64>::plan(&*network, &directions()).unwrap();
            let count = 300;
            let (points, p) = (spread(count), theta.len());
            let weight = |p: usize, i: usize| (p as f64 + 0.7 * i as f64).cos();
            let seed = |p: usize, jet: &[f64], cotangent: &mut [f64]| {
                (0..jet.len()).for_each(|i| cotangent[i] = weight(p, i));
                jet.iter().zip(&*cotangent).map(|(u, w)| u * w).sum()
            };
            let (mut residuals, mut rows) = (vec![0.0; count], vec![f64::NAN; count * p]);
            jets.jacobian(&workers, &theta, &points, &mut residuals, &mut rows, seed);
            let mut total = vec![0.0; p];
            let sum = jets.gradient(&workers, &theta, &points, &mut total, seed);
            let scale = largest(&rows);
            for q in [0, 1, 17, 128, 299] {
                let mut row = vec![0.0; p];
                let point = &points[2 * q..2 * q + 2];
                let residual =
                    jets.gradient(&workers, &theta, point, &mut row, |_, jet, cotangent| seed(q, jet, cotangent));
                // The same numbers, summed over components in another order.
                assert!(distance(&row, &rows[q * p..][..p]) < 1e-14 * scale);
                assert!((residual - residuals[q]).abs() < 1e-13 * largest(&residuals));
            }
            // The gradient of the sum of residuals is the sum of rows: 300 terms, each with a relative error of 1e-15.
            let columns: Vec<f64> = (0..p).map(|i| rows.iter().skip(i).step_by(p).sum()).collect();
            assert!(distance(&columns, &total) < 1e-12 * scale);
            assert!((residuals.iter().sum::<f64>() - sum).abs() < 1e-12 * largest(&residuals));
        }
    }

    #[test]
    fn product_with_cotangents_is_the_transpose_of_the_derivative() {
        let workers = Workers::new(2).unwrap();
        for network in networks() {
            let theta: Vec<f64> = example(&*network, 5);
            let jets = Jets::<f64>::plan(&*network, &directions()).unwrap();
            let points = spread(200);
            let len = 200 * jets.jet();
            let cotangents: Vec<f64> = (0..len).map(|i| (1.3 * i as f64).sin() / len as f64).collect();
            let tangent: Vec<f64> = (0..theta.len()).map(|i| (0.9 * i as f64).cos()).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let along = |s: f64| {
                let theta: Vec<f64> = theta.iter().zip(&tangent).map(|(t, d)| t + s * d).collect();
                let mut values = vec![0.0; len];
                jets.derivatives(&workers, &theta, &points, &mut values);
                dot(&values, &cotangents)
            };
            let mut gradient = vec![f64::NAN; theta.len()];
            jets.vjp(&workers, &theta, &points, &cotangents, &mut gradient);
            let (product, exact) = (dot(&gradient, &tangent), difference(2e-4, along));
            // Truncation (h |tangent|)^6 / 140, rounding 1e-16 / h.
            let error = (product - exact).abs();
            assert!(error < 1e-9 * largest(&gradient) * theta.len() as f64, "{product} {exact}");
        }
    }

    #[test]
    fn values_and_gradients_agree_with_nested_automatic_differentiation() {
        let golden = include_str!("../../tests/golden/jets.json");
        let golden: HashMap<String, HashMap<String, Vec<f64>>> = serde_json::from_str(golden).unwrap();
        let workers = Workers::new(1).unwrap();
        let cases: [(&str, Box<dyn Architecture>); 5] = [
            ("tanh", Box::new(mlp(5, 2, 2, Activation::Tanh, None))),
            ("sin", Box::new(mlp(5, 2, 2, Activation::Sin, Some(1.0)))),
            ("tanh_scaled", Box::new(mlp(5, 2, 2, Activation::Tanh, Some(1.0)))),
            ("modified", Box::new(modified(true))),
            ("pirate", Box::new(pirate())),
        ];
        for (name, network) in cases {
            let case = &golden[name];
            let jets = Jets::<f64>::plan(&*network, &directions()).unwrap();
            let mut values = vec![0.0; 3 * jets.jet()];
            jets.derivatives(&workers, &case["theta"], &case["points"], &mut values);
            for c in 0..jets.components() {
                let of = |jets: &[f64]| -> Vec<f64> { jets.chunks(2).skip(c).step_by(7).flatten().copied().collect() };
                let exact = of(&case["jets"]);
                // Relative to the largest value of a derivative: both round some hundred times.
                let error = distance(&of(&values), &exact) / largest(&exact);
                assert!(error < 1e-13, "{name}, component {c}: {error}");
            }
            let mut gradient = vec![0.0; jets.parameters()];
            jets.vjp(&workers, &case["theta"], &case["points"], &case["cotangents"], &mut gradient);
            let error = distance(&gradient, &case["gradient"]) / largest(&gradient);
            assert!(error < 1e-13, "{name}, gradient: {error}");
        }
    }

    #[test]
    fn results_are_the_same_bits_on_any_number_of_threads() {
        let mlp = mlp(24, 2, 1, Activation::Sin, Some(2.0));
        let theta: Vec<f32> = example(&mlp, 6);
        let jets = Jets::<f32>::plan(&mlp, &directions()).unwrap();
        let count = 1000;
        let points = spread::<f32>(count);
        let run = |threads: usize| {
            let workers = Workers::new(threads).unwrap();
            let seed = |_: usize, jet: &[f32], cotangent: &mut [f32]| {
                cotangent.copy_from_slice(jet);
                jet.iter().map(|u| u * u).sum::<f32>() / 2.0
            };
            let (mut values, mut gradient) = (vec![0.0; count * jets.jet()], vec![0.0; theta.len()]);
            let (mut residuals, mut rows) = (vec![0.0; count], vec![0.0; count * theta.len()]);
            jets.derivatives(&workers, &theta, &points, &mut values);
            let loss = jets.gradient(&workers, &theta, &points, &mut gradient, seed);
            jets.jacobian(&workers, &theta, &points, &mut residuals, &mut rows, seed);
            [values, gradient, residuals, rows, vec![loss]].map(|a| a.into_iter().map(f32::to_bits).collect::<Vec<_>>())
        };
        let one = run(1);
        assert!(one == run(2));
        assert!(one == run(5));
    }

    #[test]
    fn single_precision_keeps_its_digits() {
        let workers = (Workers::<f32>::new(1).unwrap(), Workers::<f64>::new(1).unwrap());
        for network in networks() {
            let theta = example::<f32>(&*network, 7);
            let points = spread::<f32>(64);
            let wide = |a: &[f32]| -> Vec<f64> { a.iter().map(|&x| f64::from(x)).collect() };
            let single = Jets::<f32>::plan(&*network, &directions()).unwrap();
            let double = Jets::<f64>::plan(&*network, &directions()).unwrap();
            let (mut a, mut b) = (vec![0.0f32; 64 * single.jet()], vec![0.0f64; 64 * single.jet()]);
            single.derivatives(&workers.0, &theta, &points, &mut a);
            double.derivatives(&workers.1, &wide(&theta), &wide(&points), &mut b);
            for c in 0..single.components() {
                let component = |jets: &[f64]| -> Vec<f64> {
                    jets.chunks(single.outputs).skip(c).step_by(single.components()).flatten().copied().collect()
                };
                let (a, b) = (component(&wide(&a)), component(&b));
                // About ten epsilon for each of three layers.
                assert!(distance(&a, &b) < 4e-6 * largest(&b), "{c}: {} of {}", distance(&a, &b), largest(&b));
            }
            let (mut g, mut h) = (vec![0.0f32; theta.len()], vec![0.0f64; theta.len()]);
            let cotangents: Vec<f32> = (0..a.len()).map(|i| (1.3 * i as f32).sin()).collect();
            single.vjp(&workers.0, &theta, &points, &cotangents, &mut g);
            double.vjp(&workers.1, &wide(&theta), &wide(&points), &wide(&cotangents), &mut h);
            assert!(distance(&wide(&g), &h) < 1e-5 * largest(&h), "{} of {}", distance(&wide(&g), &h), largest(&h));
        }
    }

    #[test]
    fn values_alone_are_those_that_come_with_derivatives() {
        let workers = Workers::new(1).unwrap();
        for network in networks() {
            let (theta, points) = (example::<f64>(&*network, 9), spread(150));
            let [alone, all] = [vec![], directions()].map(|directions| {
                let jets = Jets::<f64>::plan(&*network, &directions).unwrap();
                let mut values = vec![0.0; 150 * jets.jet()];
                jets.derivatives(&workers, &theta, &points, &mut values);
                values.chunks(jets.jet()).flat_map(|jet| jet[..jets.outputs].to_vec()).collect::<Vec<_>>()
            });
            // The same products, perhaps summed in another order.
            assert!(distance(&alone, &all) < 1e-14 * largest(&all));
        }
    }

    #[test]
    fn no_points_give_no_gradient() {
        let mlp = mlp(5, 1, 1, Activation::Tanh, None);
        let theta = example::<f64>(&mlp, 8);
        let jets = Jets::<f64>::plan(&mlp, &[]).unwrap();
        let mut gradient = vec![f64::NAN; theta.len()];
        let loss = jets.gradient(&Workers::new(1).unwrap(), &theta, &[], &mut gradient, |_, _, _| 1.0);
        assert!(loss == 0.0 && gradient.iter().all(|&g| g == 0.0));
    }

    #[test]
    fn impossible_directions_and_networks_are_refused_by_name() {
        let good = mlp(5, 1, 1, Activation::Tanh, None);
        let message = |mlp: &Mlp, d: Direction| Jets::<f64>::plan(mlp, &[d]).err().unwrap().to_string();
        assert_eq!(message(&good, Direction::axis(0, 5)), "order = 5 is not allowed: must be in 1..=4");
        assert_eq!(
            message(&good, Direction::axis(2, 1)),
            "along = [0.0, 0.0, 1.0] is not allowed: must have at most 2 entries"
        );
        let none = Direction { along: vec![0.0], order: 1 };
        assert_eq!(message(&good, none), "along = [0.0] is not allowed: must be finite and not zero");
        let thin = Mlp { width: 0, ..good.clone() };
        assert_eq!(message(&thin, Direction::axis(0, 1)), "width = 0 is not allowed: must be >= 1");
        let flat = Mlp { coordinates: vec![Coordinate::Linear { from: 1.0, to: 1.0 }], ..good };
        let rule = "to = 1 is not allowed: must be larger than from = 1, both finite";
        assert_eq!(message(&flat, Direction::axis(0, 1)), rule);
    }
}
