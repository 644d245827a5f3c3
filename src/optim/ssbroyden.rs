//! Self-scaled quasi-Newton methods with a dense inverse Hessian.

use serde::{Deserialize, Serialize};

use super::line_search::Wolfe;
use super::quasi_newton::{self, Limits, Model, Report, Secant};
use super::tensor::Reader;
use super::vector::{dot_kernel, vectorize};
use super::{NamedTensor, Stateful};
use crate::error::Result;
use crate::field::Real;

/// Member of the Broyden family and its scaling; see [`SelfScaled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Update {
    /// BFGS without scaling, for comparison: `theta = 0`, `tau = 1`.
    Bfgs,
    /// BFGS with Al-Baali's scaling: `theta = 0`, `tau = min(1, 1 / b)`.
    Ssbfgs,
    /// SSBroyden1 of the reference code.
    Ssbroyden1,
    /// SSBroyden2 of the reference code.
    #[default]
    Ssbroyden2,
}

/// Constants of [`SelfScaled`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SelfScaledOptions {
    /// Update formula.
    pub update: Update,
    /// Whether the first update scales the initial `H = 1` to the curvature along the first step, by
    /// `tau = h / (1 + a theta)`; Nocedal & Wright (6.20) if `theta = 0`.
    pub initial_scaling: bool,
    /// Line search.
    pub wolfe: Wolfe,
}

impl Default for SelfScaledOptions {
    /// SSBroyden2 with initial scaling.
    fn default() -> Self {
        Self { update: Update::default(), initial_scaling: true, wolfe: Wolfe::default() }
    }
}

/// BFGS and Broyden methods that rescale their dense inverse Hessian `H` in each step, so that its large eigenvalues
/// come down:
///
/// ```text
/// s = theta_+ - theta,   y = g_+ - g,   rho = 1 / (s . y),   h = rho y.Hy,   b = rho s.Bs,   a = b h - 1,
/// H_+ = (H - Hy Hy^T / y.Hy + phi (y.Hy) v v^T) / tau + rho s s^T,
/// v   = rho s - Hy / y.Hy,       phi = (1 - theta) / (1 + a theta).
/// ```
///
/// With `c = sqrt(a / (1 + a))`, `rho_m = min(1, h (1 - c))`, `theta_m = (rho_m - 1) / a`, the parameters are
///
/// ```text
/// SSBroyden1: theta = max(theta_m, 1 / (1 - b)) if b > 1, else min(max(1, b (1 + c)), 1 / (1 - b)),
/// SSBroyden2: theta = max(theta_m, min(1 / rho_m, (1 - b) / b)),
/// both:       tau = min(r q, sigma) if theta <= 0, else r min(q, 1 / theta),
///             sigma = 1 + a theta,   q = sigma^(1 / (1 - n)),   r = min(1, 1 / b).
/// ```
///
/// Use it for small networks (up to some thousand parameters) after a first phase of Adam. Memory is `4 n (n + 1)` bytes
/// (the lower triangle), work three passes over it an iteration, on one thread. As with [`Lbfgs`](super::Lbfgs), `H` is
/// kept from one call to the next, also if the objective changes (resampled points), and is set back to 1 if a line
/// search fails.
///
/// # Source
///
/// Urbán, Stefanou & Pons, *Unveiling the optimization process of physics informed neural networks*, J. Comput. Phys.
/// 523 (2025), and its code; Al-Baali, *Comput. Optim. Appl.* 9 (1998).
///
/// # Example
///
/// ```
/// use parseval::optim::{Limits, SelfScaled, SelfScaledOptions, Stop};
///
/// let mut theta = [-1.2, 1.0]; // Rosenbrock's function
/// let mut method = SelfScaled::new(2, SelfScaledOptions::default())?;
/// let report = method.minimize(&mut theta, &Limits::default(), |x: &[f64], grad| {
///     let (a, b) = (x[1] - x[0] * x[0], 1.0 - x[0]);
///     (grad[0], grad[1]) = (-400.0 * a * x[0] - 2.0 * b, 200.0 * a);
///     100.0 * a * a + b * b
/// });
/// assert_eq!(report.stop, Stop::Gradient);
/// assert!((theta[0] - 1.0).abs() < 1e-7);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SelfScaled {
    wolfe: Wolfe,
    inverse: Inverse,
}

impl SelfScaled {
    /// Minimiser over `n` parameters.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`](crate::Error::Parameter) if a constant of the line search is out of range.
    pub fn new(n: usize, options: SelfScaledOptions) -> Result<Self> {
        options.wolfe.validate()?;
        let SelfScaledOptions { update, initial_scaling, wolfe } = options;
        let zeros = || vec![0.0; n];
        let mut inverse = Inverse {
            n,
            update,
            initial_scaling,
            h: vec![0.0; n * (n + 1) / 2],
            updates: 0,
            s: zeros(),
            x: zeros(),
            hx: zeros(),
        };
        inverse.set_identity();
        Ok(Self { wolfe, inverse })
    }

    /// Minimises `objective` (value, and gradient into the second slice) from `theta` on, in place.
    ///
    /// # Panics
    ///
    /// If the length of `theta` is not `n`.
    pub fn minimize<T: Real>(
        &mut self,
        theta: &mut [T],
        limits: &Limits,
        objective: impl FnMut(&[T], &mut [T]) -> f64,
    ) -> Report {
        assert_eq!(theta.len(), self.inverse.n, "SelfScaled::minimize");
        quasi_newton::minimize(theta, objective, &mut self.inverse, &self.wolfe, limits)
    }
}

impl Stateful for SelfScaled {
    fn state(&self) -> Vec<NamedTensor> {
        let Inverse { h, updates, .. } = &self.inverse;
        vec![
            NamedTensor::new("inverse_hessian", &[h.len()], h.iter().copied()),
            NamedTensor::count("updates", *updates),
        ]
    }

    fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let mut reader = Reader::new(state);
        let h = reader.take("inverse_hessian", &[self.inverse.h.len()])?;
        let updates = reader.take_count("updates")?;
        reader.finish()?;
        (self.inverse.h, self.inverse.updates) = (h, updates);
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Inverse {
    n: usize,
    update: Update,
    initial_scaling: bool,
    /// Rows of the lower triangle, one after the other.
    h: Vec<f64>,
    updates: u64,
    /// Scratch: a step, a vector to multiply, and its product.
    s: Vec<f64>,
    x: Vec<f64>,
    hx: Vec<f64>,
}

impl Inverse {
    fn set_identity(&mut self) {
        self.h.fill(0.0);
        (0..self.n).for_each(|i| self.h[i * (i + 1) / 2 + i] = 1.0);
        self.updates = 0;
    }
}

fn widen<T: Real>(to: &mut [f64], from: &[T]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = from.as_f64());
}

impl<T: Real> Model<T> for Inverse {
    fn direction(&mut self, grad: &[T], direction: &mut [T]) {
        widen(&mut self.x, grad);
        multiply(&self.h, &self.x, &mut self.hx);
        direction.iter_mut().zip(&self.hx).for_each(|(p, hg)| *p = T::of(-hg));
    }

    fn learn(&mut self, secant: &Secant<T>) {
        widen(&mut self.s, secant.s);
        widen(&mut self.x, secant.y);
        multiply(&self.h, &self.x, &mut self.hx);
        let y_h_y = vectorize::<f64, _>(|| dot_kernel(&self.x, &self.hx));
        let rho = 1.0 / secant.s_y;
        let first = self.updates == 0 && self.initial_scaling;
        let (phi, tau) = self.update.parameters(self.n, rho * y_h_y, rho * secant.s_b_s, first);
        // The products of v written out: H_+ = H / tau + ss s s^T + su (s Hy^T + Hy s^T) + uu Hy Hy^T.
        let ss = phi * y_h_y * rho * rho / tau + rho;
        let su = -phi * rho / tau;
        let uu = (phi - 1.0) / y_h_y / tau;
        if [ss, su, uu, tau].iter().all(|x| x.is_finite()) {
            add_rank_two(&mut self.h, 1.0 / tau, &self.s, &self.hx, [ss, su, uu]);
            self.updates += 1;
        }
    }

    fn is_unscaled(&self) -> bool {
        self.updates == 0
    }

    fn forget(&mut self) -> bool {
        let learned = self.updates > 0;
        self.set_identity();
        learned
    }
}

impl Update {
    /// `(phi, tau)` from `h`, `b` and the number of parameters; `first` asks for the scaling of the initial matrix.
    fn parameters(self, n: usize, h: f64, b: f64, first: bool) -> (f64, f64) {
        // Not negative by Cauchy and Schwarz; zero, up to rounding, if Hy and s are parallel. All formulas then agree.
        let a = b * h - 1.0;
        let self_scaled = matches!(self, Self::Ssbroyden1 | Self::Ssbroyden2);
        let theta = if self_scaled && a > 1e-14 {
            let c = (a / (1.0 + a)).sqrt();
            let rho_m = (h * (1.0 - c)).min(1.0);
            let theta_m = (rho_m - 1.0) / a;
            match self {
                Self::Ssbroyden1 if b == 1.0 => theta_m,
                Self::Ssbroyden1 if b > 1.0 => theta_m.max(1.0 / (1.0 - b)),
                Self::Ssbroyden1 => (b * (1.0 + c)).max(1.0).min(1.0 / (1.0 - b)),
                _ => theta_m.max((1.0 / rho_m).min((1.0 - b) / b)),
            }
        } else {
            0.0
        };
        let sigma = 1.0 + a * theta;
        let phi = (1.0 - theta) / sigma;
        let r = (1.0 / b).min(1.0);
        let q = if n > 1 { sigma.abs().powf(1.0 / (1.0 - n as f64)) } else { 1.0 };
        let tau = match self {
            _ if first => h / sigma,
            Self::Bfgs => 1.0,
            Self::Ssbfgs => r,
            _ if theta <= 0.0 => (r * q).min(sigma),
            _ => r * q.min(1.0 / theta),
        };
        (phi, tau)
    }
}

/// `out = H x` of the packed symmetric matrix, reading it once.
fn multiply(h: &[f64], x: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    vectorize::<f64, _>(
        #[inline(always)]
        || {
            let mut rest = h;
            for i in 0..x.len() {
                let (row, next) = rest.split_at(i + 1);
                let (row, diagonal) = (&row[..i], row[i]);
                let (above, this) = out.split_at_mut(i);
                for (out, h) in above.iter_mut().zip(row) {
                    *out += h * x[i];
                }
                this[0] = dot_kernel(row, &x[..i]) + diagonal * x[i];
                rest = next;
            }
        },
    );
}

/// `H <- scale H + ss s s^T + su (s u^T + u s^T) + uu u u^T` of the packed symmetric matrix.
fn add_rank_two(h: &mut [f64], scale: f64, s: &[f64], u: &[f64], [ss, su, uu]: [f64; 3]) {
    vectorize::<f64, _>(
        #[inline(always)]
        || {
            let mut rest = h;
            for i in 0..s.len() {
                let (row, next) = rest.split_at_mut(i + 1);
                let (p, q) = (ss * s[i] + su * u[i], su * s[i] + uu * u[i]);
                for ((h, s), u) in row.iter_mut().zip(s).zip(u) {
                    *h = scale * *h + (p * s + q * u);
                }
                rest = next;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Stop;
    use crate::optim::testing::{noise, rosenbrock, rosenbrock_start, transplant};

    const ALL: [Update; 4] = [Update::Bfgs, Update::Ssbfgs, Update::Ssbroyden1, Update::Ssbroyden2];

    fn method(n: usize, update: Update) -> SelfScaled {
        SelfScaled::new(n, SelfScaledOptions { update, ..SelfScaledOptions::default() }).unwrap()
    }

    /// The packed matrix in full.
    fn dense(inverse: &Inverse) -> Vec<Vec<f64>> {
        let at = |i: usize, j: usize| inverse.h[i.max(j) * (i.max(j) + 1) / 2 + i.min(j)];
        (0..inverse.n).map(|i| (0..inverse.n).map(|j| at(i, j)).collect()).collect()
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn update_is_the_published_formula_and_satisfies_the_secant_equation() {
        let n = 7;
        for update in ALL {
            let mut inverse = method(n, update).inverse;
            for k in 0..12 {
                // Of a convex quadratic with Hessian diag(1 .. n), from wild steps.
                let s: Vec<f64> = noise(n, 100 + k);
                let y: Vec<f64> = s.iter().enumerate().map(|(i, s)| (1 + i) as f64 * s).collect();
                let before = dense(&inverse);
                let s_y = dot(&s, &y);
                let hy: Vec<f64> = before.iter().map(|row| dot(row, &y)).collect();
                let y_h_y = dot(&y, &hy);
                // s.Bs by Cauchy and Schwarz is at least (s.y)^2 / y.Hy; any larger number can occur.
                let s_b_s = s_y * s_y / y_h_y * (1.1 + k as f64 / 4.0);
                let (rho, first) = (1.0 / s_y, inverse.updates == 0);
                let (phi, tau) = update.parameters(n, rho * y_h_y, rho * s_b_s, first);
                inverse.learn(&Secant { s: &s, y: &y, s_y, s_b_s });
                let after = dense(&inverse);
                let v: Vec<f64> = s.iter().zip(&hy).map(|(s, hy)| rho * s - hy / y_h_y).collect();
                let size = after.iter().flatten().fold(0.0f64, |m, x| m.max(x.abs()));
                for i in 0..n {
                    for j in 0..n {
                        let published = (before[i][j] - hy[i] * hy[j] / y_h_y + phi * y_h_y * v[i] * v[j]) / tau
                            + rho * s[i] * s[j];
                        assert!((after[i][j] - published).abs() < 1e-12 * size, "{update:?} {k}");
                    }
                    // H_+ y = s; rounding is relative to the entries of H.
                    assert!((dot(&after[i], &y) - s[i]).abs() < 1e-12 * size, "{update:?} {k}");
                }
                let x = noise(n, 500 + k);
                let hx: Vec<f64> = after.iter().map(|row| dot(row, &x)).collect();
                assert!(dot(&x, &hx) > 0.0, "{update:?} {k}: positive definite");
            }
        }
    }

    #[test]
    fn packed_product_equals_the_dense_one() {
        for n in [1, 2, 33, 70] {
            let mut inverse = method(n, Update::Bfgs).inverse;
            inverse.h = noise(n * (n + 1) / 2, 1);
            let x = noise(n, 2);
            let mut out = vec![f64::NAN; n];
            multiply(&inverse.h, &x, &mut out);
            for (row, out) in dense(&inverse).iter().zip(&out) {
                // n products below one.
                assert!((dot(row, &x) - out).abs() < 1e-15 * n as f64);
            }
        }
    }

    #[test]
    fn rosenbrock_is_solved_in_the_usual_number_of_iterations() {
        for update in ALL {
            let mut theta = rosenbrock_start(2);
            let report = method(2, update).minimize(&mut theta, &Limits::default(), rosenbrock);
            assert!(report.stop == Stop::Gradient && report.iterations <= 50, "{update:?} {report:?}");
            // The smallest eigenvalue of the Hessian at the minimum is 0.4.
            assert!(theta.iter().all(|x| (x - 1.0).abs() < 1e-8 / 0.39));
        }
    }

    #[test]
    fn last_steps_are_superlinear() {
        for update in ALL {
            let mut theta = rosenbrock_start(2);
            let mut method = method(2, update);
            let one = Limits { max_iterations: 1, gradient_tolerance: 1e-13, ..Limits::default() };
            let mut norms = vec![];
            while norms.last().is_none_or(|&g| g > 1e-10) && norms.len() < 60 {
                norms.push(method.minimize(&mut theta, &one, rosenbrock).gradient_norm);
            }
            // The first twenty gradients are all of the size of the first; in the end three steps gain five digits.
            let [.., before, _, _, last] = norms[..] else { panic!("{norms:?}") };
            assert!(last < 1e-5 * before && last < 1e-10, "{update:?}: {norms:?}");
        }
    }

    /// Sum of squares of a tiny network `sum_k c_k tanh(a_k x + b_k)` fitted to `sin`, the kind of problem that the
    /// methods are made for.
    fn network(theta: &[f64], grad: &mut [f64]) -> f64 {
        let units = theta.len() / 3;
        grad.fill(0.0);
        let mut value = 0.0;
        for j in 0..40 {
            let x = j as f64 / 39.0 * 6.0 - 3.0;
            let unit = |k: usize| (theta[3 * k] * x + theta[3 * k + 1]).tanh();
            let res = (0..units).map(|k| theta[3 * k + 2] * unit(k)).sum::<f64>() - x.sin();
            value += res * res / 40.0;
            for k in 0..units {
                let (u, c) = (unit(k), theta[3 * k + 2]);
                let slope = c * (1.0 - u * u);
                for (g, d) in grad[3 * k..][..3].iter_mut().zip([slope * x, slope, u]) {
                    *g += 2.0 * res * d / 40.0;
                }
            }
        }
        value
    }

    #[test]
    fn self_scaling_goes_deeper_than_bfgs_on_a_network() {
        let limits = Limits { max_iterations: 400, gradient_tolerance: 0.0, ..Limits::default() };
        let mean_digits = |update| {
            let digits = |seed| {
                let mut theta = noise(24, seed);
                -method(24, update).minimize(&mut theta, &limits, network).value.log10()
            };
            (1..=5).map(digits).sum::<f64>() / 5.0
        };
        let [bfgs, ssbfgs, ssbroyden1, ssbroyden2] = ALL.map(mean_digits);
        // The claim of the paper, in the mean over starts. Measured: 7.7 digits of the loss against 9.5, 9.6 and 9.8.
        for scaled in [ssbfgs, ssbroyden1, ssbroyden2] {
            assert!(scaled > bfgs + 0.5, "{bfgs} {ssbfgs} {ssbroyden1} {ssbroyden2}");
        }
    }

    #[test]
    fn resumed_run_is_the_same_run() {
        let limits = Limits { max_iterations: 20, gradient_tolerance: 0.0, ..Limits::default() };
        let half = Limits { max_iterations: 10, ..limits };
        for update in ALL {
            let (mut through, mut theta) = (method(24, update), noise(24, 1));
            let whole = through.minimize(&mut theta, &limits, network);
            let (mut first, mut cut) = (method(24, update), noise(24, 1));
            first.minimize(&mut cut, &half, network);
            let mut second = method(24, update);
            transplant(&first, &mut second);
            let rest = second.minimize(&mut cut, &half, network);
            assert_eq!((theta, whole.value, through.state()), (cut, rest.value, second.state()));
        }
    }

    #[test]
    fn one_parameter_is_enough() {
        for update in ALL {
            let mut theta = [3.0f64];
            let report = method(1, update).minimize(&mut theta, &Limits::default(), |x, grad| {
                grad[0] = x[0].powi(3);
                x[0].powi(4) / 4.0
            });
            assert_eq!(report.stop, Stop::Gradient, "{update:?}");
        }
    }
}
