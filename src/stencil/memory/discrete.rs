//! From continuous time to frames.

use faer::Mat;
use faer::linalg::solvers::Solve;
use ndarray::{Array1, Array2};
use num_complex::Complex64;

use super::hippo::{Measure, System, legendre};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stencil::vectorize;

/// `c <- A c + B f`, one frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Update {
    /// `A`, shape `[order, order]`.
    pub a: Array2<f64>,
    /// `B`, shape `[order]`.
    pub b: Array1<f64>,
}

impl System {
    /// Eigenvalues of `A`, unit 1/time, in no order.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if they cannot be found.
    pub fn eigenvalues(&self) -> Result<Vec<Complex64>> {
        let refuse = |e| Error::parameter("A", format!("{:?}", self.a.dim()), format!("must have eigenvalues: {e:?}"));
        to_faer(&self.a).eigenvalues().map_err(refuse)
    }

    /// Bilinear (trapezoidal) rule with step `dt`: `A_d = (I - dt A / 2)^-1 (I + dt A / 2)`, `B_d = (I - dt A / 2)^-1 dt B`.
    ///
    /// For [`Measure::LegS`] step `k = 1, 2, ..` is that with `dt = 1 / k`; it is of first order in `1 / k`, and
    /// [`legs_exact`] is better.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `dt` is not positive.
    pub fn bilinear(&self, dt: f64) -> Result<Update> {
        check_step(dt)?;
        let n = self.b.len();
        let shifted = |sign: f64, i: usize, j: usize| f64::from(u8::from(i == j)) + sign * 0.5 * dt * self.a[[i, j]];
        let left = Mat::from_fn(n, n, |i, j| shifted(-1.0, i, j));
        let right = Mat::from_fn(n, n + 1, |i, j| if j < n { shifted(1.0, i, j) } else { dt * self.b[i] });
        let solution = left.partial_piv_lu().solve(&right);
        Ok(Update {
            a: Array2::from_shape_fn((n, n), |(i, j)| solution[(i, j)]),
            b: Array1::from_shape_fn(n, |i| solution[(i, n)]),
        })
    }

    /// Exact for input that is constant from frame to frame (zero-order hold): `A_d = e^(dt A)`,
    /// `B_d = int_0^dt e^(s A) ds B`, both in one exponential of the matrix `[[A, B], [0, 0]]`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `dt` is not positive.
    pub fn zero_order_hold(&self, dt: f64) -> Result<Update> {
        check_step(dt)?;
        let n = self.b.len();
        let augmented = Array2::from_shape_fn((n + 1, n + 1), |(i, j)| match (i < n, j < n) {
            (true, true) => dt * self.a[[i, j]],
            (true, false) => dt * self.b[i],
            _ => 0.0,
        });
        let exponential = exponential(augmented);
        Ok(Update {
            a: Array2::from_shape_fn((n, n), |(i, j)| exponential[[i, j]]),
            b: Array1::from_shape_fn(n, |i| exponential[[i, n]]),
        })
    }
}

/// Exact step `k - 1 -> k` of [`Measure::LegS`] for input that is constant over the step.
///
/// In `s = ln t` the system does not depend on time, and its propagator is `A_k = e^(A ln(k / (k - 1)))`. It is also a
/// projection: the old reconstruction, stretched from `[0, k - 1]` to a part of `[0, k]`, is projected anew. With
/// `phi_n(x) = sqrt(2n+1) P_n(2x - 1)` and `r = (k - 1) / k`,
///
/// ```text
/// (A_k)_nm = r int_0^1 phi_n(r x) phi_m(x) dx  (m <= n, else 0),      (B_k)_n = int_r^1 phi_n(x) dx,
/// ```
///
/// which Gauss's rule with `order` points gives to round-off at any order, without an exponential of a matrix whose
/// eigenvectors are useless.
///
/// # Errors
///
/// [`Error::Parameter`] for an order or a step of zero.
pub fn legs_exact(order: usize, k: usize) -> Result<Update> {
    for (name, value) in [("order", order), ("k", k)] {
        if value == 0 {
            return Err(Error::parameter(name, value, "must be >= 1"));
        }
    }
    let phi = |x: f64| Measure::LegS.basis(order, 1.0 - x);
    let r = (k - 1) as f64 / k as f64;
    let (mut a, mut b) = (Array2::zeros((order, order)), Array1::zeros(order));
    for (x, weight) in gauss(order) {
        let (stretched, plain, end) = (phi(r * x), phi(x), phi(r + (1.0 - r) * x));
        for n in 0..order {
            b[n] += (1.0 - r) * weight * end[n];
            for m in 0..=n {
                a[[n, m]] += r * weight * stretched[n] * plain[m];
            }
        }
    }
    Ok(Update { a, b })
}

/// Nodes and weights of Gauss's rule on `[0, 1]`, exact for degree `2n - 1`, by Newton's method on `P_n`.
pub(super) fn gauss(n: usize) -> Vec<(f64, f64)> {
    (0..n)
        .map(|i| {
            let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..50 {
                let p = legendre(n + 1, x);
                slope = n as f64 * (x * p[n] - p[n.saturating_sub(1)]) / (x * x - 1.0);
                let step = p[n] / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            (0.5 + 0.5 * x, 1.0 / ((1.0 - x * x) * slope * slope))
        })
        .collect()
}

/// `e^M` by Taylor's series of `M / 2^s`, whose norm is below 1/2, and `s` squarings.
fn exponential(matrix: Array2<f64>) -> Array2<f64> {
    let norm = matrix.rows().into_iter().map(|r| r.iter().map(|x| x.abs()).sum::<f64>()).fold(0.0, f64::max);
    let squarings = (2.0 * norm).max(1.0).log2().ceil() as i32;
    let scaled = matrix / 2f64.powi(squarings);
    let identity = Array2::<f64>::eye(scaled.nrows());
    // Horner's rule; the first term left out is 0.5^19 / 19! < 2e-23.
    let mut sum = identity.clone();
    for j in (1..=18).rev() {
        sum = &identity + &(scaled.dot(&sum) / f64::from(j));
    }
    for _ in 0..squarings {
        sum = sum.dot(&sum);
    }
    sum
}

fn check_step(dt: f64) -> Result<()> {
    match dt > 0.0 && dt.is_finite() {
        true => Ok(()),
        false => Err(Error::parameter("dt", dt, "must be finite and > 0")),
    }
}

pub(super) fn to_faer(a: &Array2<f64>) -> Mat<f64> {
    Mat::from_fn(a.nrows(), a.ncols(), |i, j| a[[i, j]])
}

/// Features by a dense recurrence, the same at every point.
pub struct Recurrence<T> {
    a: Vec<T>,
    b: Vec<T>,
    points: usize,
    /// `[order][points]`, and scratch of the same shape.
    state: Vec<T>,
    next: Vec<T>,
}

impl<T: Real> Recurrence<T> {
    /// The recurrence from an empty past at each of `points` points.
    pub fn new(update: &Update, points: usize) -> Self {
        let order = update.b.len();
        let round = |x: &f64| T::of(*x);
        let zeros = || vec![T::zero(); order * points];
        Self {
            a: update.a.iter().map(round).collect(),
            b: update.b.iter().map(round).collect(),
            points,
            state: zeros(),
            next: zeros(),
        }
    }

    /// The features, `[order][points]`.
    pub fn features(&self) -> &[T] {
        &self.state
    }

    /// Changes the update, for systems whose steps differ; the features stay.
    ///
    /// # Panics
    ///
    /// If the order differs.
    pub fn set(&mut self, update: &Update) {
        assert_eq!(update.b.len(), self.b.len(), "order of the update");
        self.a.iter_mut().zip(&update.a).for_each(|(a, x)| *a = T::of(*x));
        self.b.iter_mut().zip(&update.b).for_each(|(b, x)| *b = T::of(*x));
    }

    /// Takes in a frame.
    ///
    /// # Panics
    ///
    /// If the frame has another number of points.
    pub fn push(&mut self, frame: &[T]) {
        assert_eq!(frame.len(), self.points, "points of the frame");
        let (a, b, points, state, next) = (&self.a, &self.b, self.points, &self.state, &mut self.next);
        let order = b.len();
        vectorize::<T, _>(
            #[inline(always)]
            || {
                for n in 0..order {
                    let row = &mut next[n * points..(n + 1) * points];
                    row.iter_mut().zip(frame).for_each(|(y, &f)| *y = b[n] * f);
                    for (&weight, x) in a[n * order..(n + 1) * order].iter().zip(state.chunks_exact(points.max(1))) {
                        row.iter_mut().zip(x).for_each(|(y, &x)| *y += weight * x);
                    }
                }
            },
        );
        std::mem::swap(&mut self.state, &mut self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(t: f64) -> f64 {
        let tau = std::f64::consts::TAU;
        (tau * t).sin() + 0.5 * t * (2.0 * tau * t + 0.3).cos()
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    /// Coefficients of the signal over `[from, to]` by Gauss's rule on 40 parts.
    fn projection(order: usize, from: f64, to: f64) -> Vec<f64> {
        let mut c = vec![0.0; order];
        for part in 0..40 {
            for (x, weight) in gauss(8) {
                let s = (part as f64 + x) / 40.0;
                let basis = Measure::LegS.basis(order, 1.0 - s);
                c.iter_mut().zip(basis).for_each(|(c, b)| *c += weight / 40.0 * b * signal(from + s * (to - from)));
            }
        }
        c
    }

    #[test]
    fn gauss_integrates_polynomials_of_degree_2n_minus_1() {
        for n in [1, 5, 64] {
            let moment: f64 = gauss(n).iter().map(|(x, w)| w * x.powi(2 * n as i32 - 1)).sum();
            // 64 roundings of numbers below one.
            assert!((moment * 2.0 * n as f64 - 1.0).abs() < 1e-12, "{n}");
        }
    }

    #[test]
    fn legs_errors_are_the_known_ones() {
        let system = Measure::LegS.system(16).unwrap();
        let exact = projection(16, 0.0, 1.0);
        let error = |steps: usize, update: &dyn Fn(usize) -> Update, shift: f64| {
            let mut features = Recurrence::<f64>::new(&update(1), 1);
            for k in 1..=steps {
                features.set(&update(k));
                features.push(&[signal((k as f64 - shift) / steps as f64)]);
            }
            distance(features.features(), &exact)
        };
        let bilinear = |k: usize| system.bilinear(1.0 / k as f64).unwrap();
        let log_time = |k: usize| legs_exact(16, k).unwrap();
        // Measured independently; two digits.
        for (steps, end, middle, exact) in
            [(100, 2.0e-2, 1.3e-2, 1.2e-3), (200, 1.0e-2, 6.6e-3, 2.9e-4), (400, 5.1e-3, 3.3e-3, 7.3e-5)]
        {
            for (found, known) in [
                (error(steps, &bilinear, 0.0), end),
                (error(steps, &bilinear, 0.5), middle),
                (error(steps, &log_time, 0.5), exact),
            ] {
                assert!((found / known - 1.0).abs() < 0.05, "{steps}: {found:e} for {known:e}");
            }
        }
    }

    #[test]
    fn legs_exact_is_the_exponential_in_logarithmic_time() {
        let system = Measure::LegS.system(8).unwrap();
        for k in [2, 3, 50] {
            let tau = (k as f64 / (k as f64 - 1.0)).ln();
            let (projected, exponential) = (legs_exact(8, k).unwrap(), system.zero_order_hold(tau).unwrap());
            let pairs = projected.a.iter().chain(&projected.b).zip(exponential.a.iter().chain(&exponential.b));
            // Six squarings of a matrix whose eigenvectors have condition 8e4.
            pairs.for_each(|(a, b)| assert!((a - b).abs() < 1e-10, "{a} {b}"));
        }
    }

    #[test]
    fn legs_of_a_constant_and_of_a_line_are_exact() {
        let order = 64;
        let mut features = Recurrence::<f64>::new(&legs_exact(order, 1).unwrap(), 2);
        for k in 1..=50 {
            features.set(&legs_exact(order, k).unwrap());
            features.push(&[1.0, (k as f64 - 0.5) / 50.0]);
            let c: Vec<f64> = features.features().iter().step_by(2).copied().collect();
            // Round-off of 64 terms.
            assert!((c[0] - 1.0).abs() < 1e-12 && c[1..].iter().all(|c| c.abs() < 1e-12));
        }
        let line: Vec<f64> = features.features().iter().skip(1).step_by(2).copied().collect();
        // A staircase of 50 steps for the line: the mean is exact, the slope to second order in 1 / 50.
        assert!((line[0] - 0.5).abs() < 1e-12 && (line[1] - 0.5 / 3f64.sqrt()).abs() < 4e-4);
    }

    #[test]
    fn legt_errors_are_the_known_ones() {
        let measure = Measure::LegT { window: 1.0 };
        let error = |order: usize, steps: usize| {
            let dt = 3.0 / steps as f64;
            let mut features = Recurrence::<f64>::new(&measure.system(order).unwrap().bilinear(dt).unwrap(), 1);
            for k in 1..=steps {
                let ends = [signal((k - 1) as f64 * dt), signal(k as f64 * dt)];
                features.push(&[0.5 * (ends[0] + ends[1])]);
            }
            let exact = projection(order, 2.0, 3.0);
            distance(features.features(), &exact) / distance(&exact, &vec![0.0; order])
        };
        // Relative, measured independently; the first three are of second order in time, the last is the closure of the window.
        for (order, steps, known) in [(16, 200, 1.4e-2), (16, 800, 8.8e-4), (16, 3200, 5.5e-5), (8, 3200, 0.114)] {
            let found = error(order, steps);
            assert!((found / known - 1.0).abs() < 0.05, "{order} {steps}: {found:e} for {known:e}");
        }
    }

    #[test]
    fn reconstruction_gives_the_signal_back() {
        // Projection error alone: 1.7e-6 of the norm at order 16 on [0, 1], measured independently.
        let c = projection(16, 0.0, 1.0);
        let (mut error, mut square) = (0.0, 0.0);
        for i in 0..1000 {
            let t = (i as f64 + 0.5) / 1000.0;
            error += (Measure::LegS.reconstruct(&c, 1.0 - t) - signal(t)).powi(2);
            square += signal(t).powi(2);
        }
        assert!(((error / square).sqrt() / 1.7e-6 - 1.0).abs() < 0.05, "{:e}", (error / square).sqrt());
    }

    #[test]
    fn every_window_follows_a_slow_signal() {
        // A slow sine after many windows; the families differ in how well they hold it: Fourier's ends do not meet.
        for (measure, order, age, tolerance) in [
            (Measure::LegT { window: 1.0 }, 9, 0.5, 1e-3),
            (Measure::Fourier { window: 1.0 }, 33, 0.5, 2e-2),
            (Measure::LagT, 24, 1.0, 2e-2),
        ] {
            let dt = 0.005;
            let update = measure.system(order).unwrap().zero_order_hold(dt).unwrap();
            let mut features = Recurrence::<f64>::new(&update, 1);
            let f = |t: f64| (0.3 * (t - 40.0)).exp() * (0.7 * t).sin();
            for k in 1..=8000 {
                features.push(&[f((k as f64 - 0.5) * dt)]);
            }
            let found = measure.reconstruct(features.features(), age);
            assert!((found - f(40.0 - age)).abs() < tolerance, "{measure:?}: {found} for {}", f(40.0 - age));
        }
    }
}
