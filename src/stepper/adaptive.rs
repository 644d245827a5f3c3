//! Steps chosen by an error estimate.
//!
//! A step of size `h` is compared with two of `h / 2`. The difference divided by `2^p - 1` estimates the error of the
//! finer result (Richardson), which is the one that is kept. Sizes are taken from the ladder `h_0 2^(-j/2)`, so that
//! coefficients, which depend on `h`, are computed once a rung.

use super::plan::{State, Stepper};
use super::tableau::Scheme;
use crate::error::{Error, Result};
use crate::field::Real;

/// How far an adaptive run may be off, and how small its steps may get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative L2 error allowed per step, of every sample.
    pub relative: f64,
    /// Smallest step before the run is given up.
    pub min_dt: f64,
    /// Largest step.
    pub max_dt: f64,
}

impl Tolerance {
    /// Relative error per step, without bounds on the step.
    pub fn relative(relative: f64) -> Self {
        Self { relative, min_dt: 0.0, max_dt: f64::INFINITY }
    }
}

/// What an adaptive run did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdaptiveReport {
    /// Steps kept.
    pub accepted: usize,
    /// Steps repeated with a smaller size.
    pub rejected: usize,
    /// Evaluations of the nonlinear term.
    pub evaluations: usize,
    /// Smallest and largest step kept, the last (cut to fit) left out.
    pub dt_range: (f64, f64),
}

/// Share of the tolerance aimed at.
const SAFETY: f64 = 0.8;

impl<T: Real> Stepper<T> {
    /// Advances to exactly `t_end` with steps chosen by the error estimate, starting from the planned step, which also
    /// fixes the ladder. The planned step is set again at the end.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a tolerance that is not positive, for `t_end` before the state's time, or for the
    /// multistep scheme, whose steps cannot change; [`Error::BlowUp`] if the step falls below `min_dt`.
    ///
    /// # Panics
    ///
    /// If the state belongs to another layout.
    pub fn advance_to(&mut self, state: &mut State<T>, t_end: f64, tolerance: &Tolerance) -> Result<AdaptiveReport> {
        if !(tolerance.relative > 0.0 && tolerance.relative.is_finite()) {
            return Err(Error::parameter("tolerance", tolerance.relative, "must be > 0"));
        }
        if !(t_end >= state.t && t_end.is_finite()) {
            return Err(Error::parameter("t_end", t_end, format!("must be at least the state's time {}", state.t)));
        }
        if self.scheme == Scheme::CnAb2 {
            return Err(Error::parameter("scheme", "cnab2", "must be a one-step scheme for adaptive steps"));
        }
        let planned = self.dt;
        let result = self.advance_on_ladder(state, t_end, tolerance, planned);
        self.set_dt(planned)?;
        result
    }

    fn advance_on_ladder(
        &mut self,
        state: &mut State<T>,
        t_end: f64,
        tolerance: &Tolerance,
        planned: f64,
    ) -> Result<AdaptiveReport> {
        let order = self.scheme.order() as f64;
        let rung_dt = |rung: i32| planned * (-f64::from(rung) / 2.0).exp2();
        let mut report = AdaptiveReport { accepted: 0, rejected: 0, evaluations: 0, dt_range: (f64::INFINITY, 0.0) };
        let mut rung = 0;
        while rung_dt(rung) > tolerance.max_dt {
            rung += 1;
        }
        let (mut coarse, mut fine) = (state.clone(), state.clone());
        while state.t < t_end {
            let remaining = t_end - state.t;
            // A sliver of a step at the end would cost as much as a whole one.
            let is_last = rung_dt(rung) > remaining * (1.0 - 1e-9);
            let dt = if is_last { remaining } else { rung_dt(rung) };
            coarse.clone_from_state(state);
            fine.clone_from_state(state);
            self.set_dt(dt)?;
            let mut failed = self.advance(&mut coarse, 1).is_err();
            self.set_dt(0.5 * dt)?;
            failed |= self.advance(&mut fine, 2).is_err();
            report.evaluations += 3 * self.scheme.stages();
            let error = if failed { f64::INFINITY } else { self.largest_difference(&coarse, &fine) };
            let estimate = error / (order.exp2() - 1.0);
            // Factor by which the step could grow.
            let growth = (SAFETY * tolerance.relative / estimate.max(f64::MIN_POSITIVE)).powf(1.0 / (order + 1.0));
            if estimate <= tolerance.relative {
                let t = if is_last { t_end } else { state.t + dt };
                std::mem::swap(state, &mut fine);
                state.t = t;
                report.accepted += 1;
                if !is_last {
                    report.dt_range = (report.dt_range.0.min(dt), report.dt_range.1.max(dt));
                    let up = (2.0 * growth.log2()).floor().clamp(-1.0, 2.0) as i32;
                    rung -= up;
                    while rung_dt(rung) > tolerance.max_dt {
                        rung += 1;
                    }
                }
            } else {
                report.rejected += 1;
                let down = (-2.0 * growth.log2()).ceil().clamp(1.0, 8.0) as i32;
                while rung_dt(rung) > dt {
                    rung += 1;
                }
                rung += down;
                if rung_dt(rung) < tolerance.min_dt.max(1e-14 * planned) {
                    return Err(Error::BlowUp { sample: 0, step: state.step, t: state.t });
                }
            }
        }
        Ok(report)
    }

    /// Largest relative L2 difference over the samples.
    fn largest_difference(&self, a: &State<T>, b: &State<T>) -> f64 {
        let layout = self.layout();
        let sample_len = layout.sample_len();
        let samples = a.data.chunks_exact(sample_len).zip(b.data.chunks_exact(sample_len));
        let relative = samples.map(|(a, b)| {
            let difference: Vec<T> = a.iter().zip(b).map(|(a, b)| *a - *b).collect();
            let norm = super::plan::inner(layout, b, b);
            (super::plan::inner(layout, &difference, &difference) / norm.max(f64::MIN_POSITIVE)).sqrt()
        });
        relative.fold(0.0, f64::max)
    }
}

impl<T: Real> State<T> {
    fn clone_from_state(&mut self, other: &Self) {
        self.data.copy_from_slice(&other.data);
        (self.t, self.step) = (other.t, other.step);
        self.history = None;
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array;

    use super::*;
    use crate::field::Grid;
    use crate::pde::KuramotoSivashinsky;
    use crate::stepper::Options;

    #[test]
    fn tolerance_controls_the_error_and_the_end_is_exact() {
        let grid = Grid::cube(1, 64, 22.0).unwrap();
        let pde = KuramotoSivashinsky::default();
        let u0 = Array::from_shape_fn(64, |j| (std::f64::consts::TAU * j as f64 / 64.0).cos()).into_dyn();
        let mut reference = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, 0.001, &Options::default()).unwrap();
        let mut exact = reference.load(u0.view()).unwrap();
        reference.advance(&mut exact, 10_000).unwrap();
        let mut errors = Vec::new();
        for tolerance in [1e-4, 1e-6, 1e-8] {
            let mut stepper = Stepper::<f64>::plan(&pde, &grid, Scheme::Etdrk4, 0.5, &Options::default()).unwrap();
            let mut state = stepper.load(u0.view()).unwrap();
            let report = stepper.advance_to(&mut state, 10.0, &Tolerance::relative(tolerance)).unwrap();
            assert_eq!(state.t, 10.0);
            assert_eq!(stepper.dt(), 0.5);
            assert!(report.rejected < report.accepted);
            let error = stepper.largest_difference(&state, &exact);
            // Errors of some hundred steps add up and grow with the flow's instability, at most e^(0.05 t) later on.
            assert!(error < 100.0 * tolerance, "{tolerance}: {error}, {report:?}");
            errors.push(error);
        }
        assert!(errors[2] < 1e-2 * errors[0], "{errors:?}");
    }

    #[test]
    fn impossible_tolerances_and_times_are_refused() {
        let grid = Grid::cube(1, 32, 22.0).unwrap();
        let pde = KuramotoSivashinsky::default();
        let plan = |scheme| Stepper::<f64>::plan(&pde, &grid, scheme, 0.1, &Options::default()).unwrap();
        let mut stepper = plan(Scheme::Etdrk4);
        let mut state = stepper.zeros();
        assert!(stepper.advance_to(&mut state, 1.0, &Tolerance::relative(0.0)).is_err());
        assert!(stepper.advance_to(&mut state, -1.0, &Tolerance::relative(1e-6)).is_err());
        let mut stepper = plan(Scheme::CnAb2);
        assert!(stepper.advance_to(&mut state, 1.0, &Tolerance::relative(1e-6)).is_err());
    }
}
