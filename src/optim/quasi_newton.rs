//! Descent by a model of the inverse Hessian and a line search: what L-BFGS and the dense methods share.

use serde::{Deserialize, Serialize};

use super::line_search::{self, Outcome, Point, Wolfe};
use super::{gradient, vector};
use crate::field::Real;

/// When a minimiser stops.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Iterations.
    pub max_iterations: usize,
    /// Evaluations of the objective.
    pub max_evaluations: Option<usize>,
    /// Euclidean norm of the gradient, absolute.
    pub gradient_tolerance: f64,
    /// Decrease of the value in an iteration over its magnitude; 0 never stops.
    pub decrease_tolerance: f64,
}

impl Default for Limits {
    /// 1000 iterations, a gradient of 1e-8.
    fn default() -> Self {
        Self { max_iterations: 1000, max_evaluations: None, gradient_tolerance: 1e-8, decrease_tolerance: 0.0 }
    }
}

/// Why a minimiser stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// The gradient is as small as was asked for.
    Gradient,
    /// The value hardly decreases any more.
    Decrease,
    /// As many iterations as allowed.
    MaxIterations,
    /// As many evaluations as allowed.
    MaxEvaluations,
    /// No decrease was found along the steepest descent: the value is at round-off, or the gradient is wrong.
    LineSearchFailed,
    /// The objective is not finite, at the start or however short the step.
    NonFinite,
}

/// What a minimiser did. The parameters are at the best point found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Last value.
    pub value: f64,
    /// Iterations of this call.
    pub iterations: usize,
    /// Evaluations of this call.
    pub evaluations: usize,
    /// Euclidean norm of the last gradient.
    pub gradient_norm: f64,
    /// Reason of the end.
    pub stop: Stop,
}

/// A step `s` between two points and the change of gradient `y` over it.
pub(super) struct Secant<'a, T> {
    pub s: &'a [T],
    pub y: &'a [T],
    /// `s . y > 0`.
    pub s_y: f64,
    /// `s . B s` with the model `B` of the Hessian that `s` was found with: `-alpha g . s`, since `B s = -alpha g`.
    pub s_b_s: f64,
}

/// A model `H` of the inverse Hessian.
pub(super) trait Model<T> {
    /// `direction = -H grad`.
    fn direction(&mut self, grad: &[T], direction: &mut [T]);

    /// Learns from a step, so that `H y = s`.
    fn learn(&mut self, secant: &Secant<T>);

    /// Whether `H` has learned nothing and has no scale.
    fn is_unscaled(&self) -> bool;

    /// Forgets what was learned; false if there was nothing.
    fn forget(&mut self) -> bool;
}

/// Minimises from `theta` on.
pub(super) fn minimize<T: Real>(
    theta: &mut [T],
    mut objective: impl FnMut(&[T], &mut [T]) -> f64,
    model: &mut impl Model<T>,
    wolfe: &Wolfe,
    limits: &Limits,
) -> Report {
    let zeros = || vec![T::zero(); theta.len()];
    let (mut grad, mut direction, mut trial, mut trial_grad) = (zeros(), zeros(), zeros(), zeros());
    let max_evaluations = limits.max_evaluations.unwrap_or(usize::MAX);
    let mut value = objective(theta, &mut grad);
    let (mut evaluations, mut iterations, mut stalled) = (1, 0, false);
    let (stop, gradient_norm) = loop {
        let gradient_norm = gradient::norm(&grad);
        let limit = if !(value.is_finite() && gradient_norm.is_finite()) {
            Some(Stop::NonFinite)
        } else if gradient_norm <= limits.gradient_tolerance {
            Some(Stop::Gradient)
        } else if stalled {
            Some(Stop::Decrease)
        } else if iterations >= limits.max_iterations {
            Some(Stop::MaxIterations)
        } else {
            (evaluations >= max_evaluations).then_some(Stop::MaxEvaluations)
        };
        if let Some(stop) = limit {
            break (stop, gradient_norm);
        }

        model.direction(&grad, &mut direction);
        let slope = vector::dot(&grad, &direction);
        let start = Point { alpha: 0.0, value, slope };
        let first = if model.is_unscaled() { (1.0 / gradient_norm).min(1.0) } else { 1.0 };
        let budget = wolfe.max_evaluations.min(max_evaluations - evaluations);
        let mut evaluate = |alpha: f64| {
            evaluations += 1;
            trial.copy_from_slice(theta);
            vector::add_scaled(&mut trial, alpha, &direction);
            let value = objective(&trial, &mut trial_grad);
            (value, vector::dot(&trial_grad, &direction))
        };
        let outcome = if slope < 0.0 && slope.is_finite() {
            line_search::search(wolfe, start, first, budget, &mut evaluate)
        } else {
            Outcome::Failed // rounding has made the model indefinite
        };
        let accepted = match outcome {
            Outcome::Wolfe(point) => point,
            Outcome::Decrease(point) => {
                evaluate(point.alpha); // it was not the last
                point
            }
            Outcome::Failed | Outcome::NonFinite if evaluations >= max_evaluations => continue,
            // From the steepest descent once more, unless this was it.
            Outcome::Failed | Outcome::NonFinite if model.forget() => continue,
            Outcome::Failed => break (Stop::LineSearchFailed, gradient_norm),
            Outcome::NonFinite => break (Stop::NonFinite, gradient_norm),
        };

        // The step as it was rounded and the change of the gradient, in place of what they came from.
        vector::update(
            &mut direction,
            &trial,
            #[inline(always)]
            |_, x| x,
        );
        vector::add_scaled(&mut direction, -1.0, theta);
        vector::update(
            &mut grad,
            &trial_grad,
            #[inline(always)]
            |old, new| new - old,
        );
        let (s_y, s_b_s) = (vector::dot(&direction, &grad), -accepted.alpha * accepted.alpha * slope);
        if s_y > f64::EPSILON * s_b_s {
            model.learn(&Secant { s: &direction, y: &grad, s_y, s_b_s });
        }
        theta.copy_from_slice(&trial);
        std::mem::swap(&mut grad, &mut trial_grad);
        let decrease = value - accepted.value;
        let least = limits.decrease_tolerance * value.abs().max(accepted.value.abs());
        stalled = limits.decrease_tolerance > 0.0 && decrease <= least;
        value = accepted.value;
        iterations += 1;
    };
    Report { value, iterations, evaluations, gradient_norm, stop }
}
