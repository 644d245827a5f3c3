//! Limited-memory BFGS.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::line_search::Wolfe;
use super::quasi_newton::{self, Limits, Model, Report, Secant};
use super::tensor::Reader;
use super::vector;
use super::{NamedTensor, Stateful};
use crate::error::{Error, Result};
use crate::field::Real;

/// Constants of [`Lbfgs`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LbfgsOptions {
    /// Pairs that are kept; each costs two vectors of memory.
    pub history: usize,
    /// Line search.
    pub wolfe: Wolfe,
}

impl Default for LbfgsOptions {
    /// 20 pairs.
    fn default() -> Self {
        Self { history: 20, wolfe: Wolfe::default() }
    }
}

/// Limited-memory BFGS with a strong Wolfe line search.
///
/// The inverse Hessian is that of BFGS over the last `m` steps `s` and changes of gradient `y`, applied by the two-loop
/// recursion to the initial model
///
/// ```text
/// H_0 = gamma D,    gamma = (s . y) / (y . D y)  of the last step,    D = 1 or a given positive diagonal.
/// ```
///
/// If a line search fails, the pairs are forgotten and the steepest descent (with respect to `D`) is tried once.
///
/// Pairs are kept from one call of [`Lbfgs::minimize`] to the next. So a run cut in two is the same run, with one
/// evaluation more; call it in blocks of iterations to report progress or to stop.
///
/// Cost of an iteration: `4 m + 10` passes over a vector, and mostly one evaluation.
///
/// # Source
///
/// Nocedal & Wright, *Numerical Optimization*, 2nd ed. (2006), Algorithms 7.4 and 7.5 and Eq. (7.20).
///
/// # Example
///
/// ```
/// use parseval::optim::{Lbfgs, LbfgsOptions, Limits, Stop};
///
/// let mut theta = [3.0, -1.0];
/// let report = Lbfgs::new(2, LbfgsOptions::default())?.minimize(&mut theta, &Limits::default(), |x: &[f64], grad| {
///     (grad[0], grad[1]) = (2.0 * x[0], 20.0 * x[1]);
///     x[0] * x[0] + 10.0 * x[1] * x[1]
/// });
/// assert_eq!(report.stop, Stop::Gradient);
/// assert!(theta[0].abs() < 1e-8 && report.iterations < 10);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Lbfgs<T: Real> {
    wolfe: Wolfe,
    memory: Memory<T>,
}

impl<T: Real> Lbfgs<T> {
    /// Minimiser over `n` parameters.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the history is empty or a constant of the line search is out of range.
    pub fn new(n: usize, options: LbfgsOptions) -> Result<Self> {
        if options.history == 0 {
            return Err(Error::parameter("history", 0, "must be > 0"));
        }
        options.wolfe.validate()?;
        let LbfgsOptions { history, wolfe } = options;
        let memory =
            Memory { n, history, pairs: VecDeque::new(), gamma: 1.0, diagonal: None, coefficients: Vec::new() };
        Ok(Self { wolfe, memory })
    }

    /// Sets the diagonal `D` of the initial inverse Hessian. The first step is then tried at full length.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if its length is not `n`, [`Error::Parameter`] if an entry is not positive.
    pub fn with_preconditioner(mut self, diagonal: Vec<T>) -> Result<Self> {
        if diagonal.len() != self.memory.n {
            return Err(Error::shape("diagonal", &[self.memory.n], &[diagonal.len()]));
        }
        if let Some(bad) = diagonal.iter().find(|d| !(**d > T::zero() && d.is_finite())) {
            return Err(Error::parameter("diagonal", bad, "must be > 0"));
        }
        self.memory.diagonal = Some(diagonal);
        Ok(self)
    }

    /// Minimises `objective` (value, and gradient into the second slice) from `theta` on, in place.
    ///
    /// # Panics
    ///
    /// If the length of `theta` is not `n`.
    pub fn minimize(
        &mut self,
        theta: &mut [T],
        limits: &Limits,
        objective: impl FnMut(&[T], &mut [T]) -> f64,
    ) -> Report {
        assert_eq!(theta.len(), self.memory.n, "Lbfgs::minimize");
        quasi_newton::minimize(theta, objective, &mut self.memory, &self.wolfe, limits)
    }
}

impl<T: Real> Stateful for Lbfgs<T> {
    fn state(&self) -> Vec<NamedTensor> {
        let Memory { pairs, n, .. } = &self.memory;
        let shape = [pairs.len(), *n];
        vec![
            NamedTensor::new("s", &shape, pairs.iter().flat_map(|p| p.s.iter().copied())),
            NamedTensor::new("y", &shape, pairs.iter().flat_map(|p| p.y.iter().copied())),
        ]
    }

    fn restore(&mut self, state: &[NamedTensor]) -> Result<()> {
        let Memory { n, history, .. } = self.memory;
        let mut reader = Reader::new(state);
        let s = reader.take_rows::<T>("s", history, n)?;
        let y = reader.take_rows::<T>("y", history, n)?;
        reader.finish()?;
        if s.len() != y.len() {
            return Err(Error::shape("y", &[s.len(), n], &[y.len(), n]));
        }
        self.memory.forget();
        for (s, y) in s.iter().zip(&y) {
            self.memory.push(s, y, vector::dot(s, y));
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
struct Pair<T> {
    s: Vec<T>,
    y: Vec<T>,
    s_y: f64,
}

/// The last pairs, oldest first.
#[derive(Clone, Debug)]
struct Memory<T> {
    n: usize,
    history: usize,
    pairs: VecDeque<Pair<T>>,
    gamma: f64,
    diagonal: Option<Vec<T>>,
    /// Scratch of the two loops.
    coefficients: Vec<f64>,
}

impl<T: Real> Memory<T> {
    fn push(&mut self, s: &[T], y: &[T], s_y: f64) {
        let mut pair = if self.pairs.len() == self.history {
            self.pairs.pop_front().expect("the history is not empty")
        } else {
            Pair { s: vec![T::zero(); self.n], y: vec![T::zero(); self.n], s_y }
        };
        pair.s.copy_from_slice(s);
        pair.y.copy_from_slice(y);
        pair.s_y = s_y;
        self.pairs.push_back(pair);
        let y_d_y = match &self.diagonal {
            None => vector::dot(y, y),
            Some(d) => y.iter().zip(d).map(|(y, d)| y.as_f64() * y.as_f64() * d.as_f64()).sum(),
        };
        self.gamma = s_y / y_d_y;
    }
}

impl<T: Real> Model<T> for Memory<T> {
    fn direction(&mut self, grad: &[T], direction: &mut [T]) {
        let q = direction;
        q.copy_from_slice(grad);
        self.coefficients.clear();
        for pair in self.pairs.iter().rev() {
            let a = vector::dot(&pair.s, q) / pair.s_y;
            vector::add_scaled(q, -a, &pair.y);
            self.coefficients.push(a);
        }
        // The sign of the descent goes with the initial model; the second loop then works on -q.
        vector::scale(q, -self.gamma);
        if let Some(diagonal) = &self.diagonal {
            vector::update(
                q,
                diagonal,
                #[inline(always)]
                |q, d| q * d,
            );
        }
        for (pair, a) in self.pairs.iter().zip(self.coefficients.iter().rev()) {
            let b = vector::dot(&pair.y, q) / pair.s_y;
            vector::add_scaled(q, -(a + b), &pair.s);
        }
    }

    fn learn(&mut self, secant: &Secant<T>) {
        self.push(secant.s, secant.y, secant.s_y);
    }

    fn is_unscaled(&self) -> bool {
        self.pairs.is_empty() && self.diagonal.is_none()
    }

    fn forget(&mut self) -> bool {
        self.gamma = 1.0;
        let learned = !self.pairs.is_empty();
        self.pairs.clear();
        learned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::optim::Stop;
    use crate::optim::testing::{noise, rosenbrock, rosenbrock_start, transplant};

    fn lbfgs(n: usize, history: usize) -> Lbfgs<f64> {
        Lbfgs::new(n, LbfgsOptions { history, ..LbfgsOptions::default() }).unwrap()
    }

    /// `sum_i d_i (x_i - 1)^2 / 2`.
    fn quadratic(d: &[f64]) -> impl Fn(&[f64], &mut [f64]) -> f64 + '_ {
        move |x, grad| {
            let mut value = 0.0;
            for ((x, g), d) in x.iter().zip(grad).zip(d) {
                *g = d * (x - 1.0);
                value += 0.5 * *g * (x - 1.0);
            }
            value
        }
    }

    #[test]
    fn rosenbrock_is_solved_in_the_usual_number_of_iterations() {
        for n in [2, 100] {
            let mut theta = rosenbrock_start(n);
            let report = lbfgs(n, 10).minimize(&mut theta, &Limits::default(), rosenbrock);
            assert_eq!(report.stop, Stop::Gradient, "{report:?}");
            // Published implementations need 35 to 45 iterations from this start.
            assert!(report.iterations <= 45 && report.evaluations <= 60, "{report:?}");
            // The smallest eigenvalue of the Hessian at the minimum is 0.4.
            assert!(theta.iter().all(|x| (x - 1.0).abs() < 1e-8 / 0.39));
        }
    }

    #[test]
    fn full_history_converges_superlinearly_on_a_quadratic() {
        let d: Vec<f64> = (0..12).map(|i| 10f64.powf(i as f64 / 4.0)).collect();
        let mut theta = vec![0.0; 12];
        let mut method = lbfgs(12, 40);
        let one = Limits { max_iterations: 1, gradient_tolerance: 0.0, ..Limits::default() };
        let norms: Vec<f64> = (0..40).map(|_| method.minimize(&mut theta, &one, quadratic(&d)).gradient_norm).collect();
        let converged = norms.iter().position(|&g| g < 1e-9 * norms[0]).expect("converges");
        // A method of first order would need about sqrt(1000) times ln(1e9); a finite one at least 12.
        assert!(converged < 36, "{norms:?}");
        let rates: Vec<f64> = norms[..converged].windows(4).map(|g| (g[3] / g[0]).cbrt()).collect();
        assert!(rates[rates.len() - 1] < 0.3 * rates[rates.len() / 3].max(rates[0]), "{rates:?}");
    }

    #[test]
    fn exact_preconditioner_solves_a_quadratic_at_once() {
        let d: Vec<f64> = (0..50).map(|i| 10f64.powf(i as f64 / 8.0)).collect();
        let inverse: Vec<f64> = d.iter().map(|d| 1.0 / d).collect();
        let mut theta = vec![0.0; 50];
        let mut exact = lbfgs(50, 5).with_preconditioner(inverse.clone()).unwrap();
        let report = exact.minimize(&mut theta, &Limits::default(), quadratic(&d));
        assert_eq!((report.stop, report.iterations), (Stop::Gradient, 1));
        // A preconditioner that is exact up to a factor learns the factor from the first step.
        let mut theta = vec![0.0; 50];
        let scaled = inverse.iter().map(|d| 7.0 * d).collect();
        let mut scaled = lbfgs(50, 5).with_preconditioner(scaled).unwrap();
        let report = scaled.minimize(&mut theta, &Limits::default(), quadratic(&d));
        assert!(report.stop == Stop::Gradient && report.iterations <= 3, "{report:?}");
        let mut theta = vec![0.0; 50];
        let plain = lbfgs(50, 5).minimize(&mut theta, &Limits::default(), quadratic(&d));
        assert!(plain.iterations > 100, "the problem is hard without: {plain:?}");
    }

    #[test]
    fn single_precision_parameters_converge_to_their_own_round_off() {
        let mut theta = vec![0.0f32; 8];
        let limits = Limits { gradient_tolerance: 1e-5, ..Limits::default() };
        let d = noise(8, 1).iter().map(|x| 2.0 + x).collect::<Vec<_>>();
        let report =
            Lbfgs::new(8, LbfgsOptions::default()).unwrap().minimize(&mut theta, &limits, |x: &[f32], grad| {
                let (x, mut g) = (x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(), vec![0.0; 8]);
                let value = quadratic(&d)(&x, &mut g);
                grad.iter_mut().zip(g).for_each(|(to, from)| *to = from as f32);
                value
            });
        assert_eq!(report.stop, Stop::Gradient);
        assert!(theta.iter().all(|x| (x - 1.0).abs() < 2e-5));
    }

    #[test]
    fn resumed_run_is_the_same_run() {
        let n = 20;
        let limits = Limits { max_iterations: 14, gradient_tolerance: 0.0, ..Limits::default() };
        let half = Limits { max_iterations: 7, ..limits };
        let (mut through, mut theta) = (lbfgs(n, 5), rosenbrock_start(n));
        let whole = through.minimize(&mut theta, &limits, rosenbrock);
        let (mut first, mut cut) = (lbfgs(n, 5), rosenbrock_start(n));
        first.minimize(&mut cut, &half, rosenbrock);
        let mut second = lbfgs(n, 5);
        transplant(&first, &mut second);
        let rest = second.minimize(&mut cut, &half, rosenbrock);
        assert_eq!((theta, whole.value, through.state()), (cut, rest.value, second.state()));
    }

    #[test]
    fn ends_name_their_reason() {
        let start = rosenbrock_start(2);
        let run = |limits: Limits| lbfgs(2, 5).minimize(&mut start.clone(), &limits, rosenbrock);
        assert_eq!(run(Limits { max_iterations: 3, ..Limits::default() }).stop, Stop::MaxIterations);
        let few = run(Limits { max_evaluations: Some(6), ..Limits::default() });
        assert!(few.stop == Stop::MaxEvaluations && few.evaluations <= 7, "{few:?}");
        assert_eq!(run(Limits { decrease_tolerance: 0.5, ..Limits::default() }).stop, Stop::Decrease);
        let mut theta = start.clone();
        let nan = lbfgs(2, 5).minimize(&mut theta, &Limits::default(), |_, _| f64::NAN);
        assert_eq!((nan.stop, nan.evaluations, theta), (Stop::NonFinite, 1, start.clone()));
        let mut theta = start.clone();
        let wrong = lbfgs(2, 5).minimize(&mut theta, &Limits::default(), |x, grad| {
            let value = rosenbrock(x, grad);
            grad.iter_mut().for_each(|g| *g = -*g);
            value
        });
        assert_eq!((wrong.stop, theta), (Stop::LineSearchFailed, start));
    }

    #[test]
    fn values_that_are_not_finite_shorten_the_step() {
        // Not defined for x <= 0; minimum 1 at 1. The first step from 1e-2 along -f' = 1e4 is far out.
        let barrier = |x: &[f64], grad: &mut [f64]| {
            grad[0] = 1.0 - 1.0 / x[0];
            x[0] - x[0].ln()
        };
        for start in [1e-2, 30.0] {
            let mut theta = [start];
            let mut method = lbfgs(1, 5).with_preconditioner(vec![50.0]).unwrap();
            let report = method.minimize(&mut theta, &Limits::default(), barrier);
            assert!(report.stop == Stop::Gradient && (theta[0] - 1.0).abs() < 1e-7, "{report:?}");
        }
        // Finite at the start only.
        let mut calls = 0;
        let mut theta = [1.0];
        let report = lbfgs(1, 5).minimize(&mut theta, &Limits::default(), |_, grad| {
            grad[0] = 1.0;
            calls += 1;
            if calls == 1 { 0.0 } else { f64::NAN }
        });
        assert_eq!((report.stop, theta[0], report.value), (Stop::NonFinite, 1.0, 0.0));
    }

    #[test]
    fn a_model_that_points_uphill_is_forgotten() {
        // A pair of negative curvature, which a search would never accept; as of another objective, or a damaged file.
        let d = [1.0, 2.0];
        let mut method = lbfgs(2, 5);
        let pair = |name, x| NamedTensor::new(name, &[1, 2], [x, 0.0]);
        method.restore(&[pair("s", 1.0), pair("y", -1.0)]).unwrap();
        let report = method.minimize(&mut [0.0; 2], &Limits::default(), quadratic(&d));
        assert!(report.stop == Stop::Gradient && report.iterations < 10, "{report:?}");
    }

    #[test]
    fn bad_preconditioners_are_refused() {
        assert!(lbfgs(2, 1).with_preconditioner(vec![1.0]).is_err());
        assert!(lbfgs(2, 1).with_preconditioner(vec![1.0, 0.0]).is_err());
        assert!(Lbfgs::<f64>::new(2, LbfgsOptions { history: 0, ..LbfgsOptions::default() }).is_err());
    }
}
