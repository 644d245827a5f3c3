//! Refinement to the solver's trajectory by Newton's method.

use std::time::Instant;

use ndarray::{ArrayD, ArrayViewD, Axis, stack};

use super::Stop;
use super::modes::Norm;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::Pde;
use crate::stepper::{Options, Scheme, State, Stepper};

/// When [`Newton::refine`] stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NewtonOptions {
    /// Relative L2 distance from the solver's trajectory, at the worst frame, that is good enough.
    pub tolerance: f64,
    /// Most sweeps.
    pub max_sweeps: usize,
}

impl Default for NewtonOptions {
    fn default() -> Self {
        Self { tolerance: 1e-8, max_sweeps: 6 }
    }
}

/// One sweep of [`Newton`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sweep {
    /// Largest `|Phi(u_m) - u_(m+1)| / |u_(m+1)|` over the frames before the sweep, and of the start.
    pub defect: f64,
    /// Largest `|delta_m| / |u_m|`: to first order the error before the sweep.
    pub increment: f64,
    /// Wall time.
    pub seconds: f64,
}

/// Result of [`Newton::refine`].
#[derive(Clone, Debug)]
pub struct Refinement {
    /// Refined frames, `[frame, channel, x, ..]`.
    pub frames: ArrayD<f64>,
    /// What each sweep did.
    pub sweeps: Vec<Sweep>,
    /// Estimated relative distance of the result from the solver's trajectory. With increments `epsilon_j` it is
    /// `C epsilon_n^2`, `C = epsilon_n / epsilon_(n-1)^2`; after one sweep, `epsilon_1` itself.
    pub error: f64,
    /// Why it ended.
    pub stop: Stop,
}

/// Newton's method on the residual that couples the frames.
///
/// Let `Phi` be the solver over one output interval (so many ETDRK4 steps). The trajectory that it makes from the start is
/// the zero of the multiple-shooting residual
///
/// ```text
/// F_0 = u_0 - u(t_0),      F_(m+1) = Phi(u_m) - u_(m+1) .
/// ```
///
/// A Newton step solves `DF delta = -F`, block forward substitution from the start:
///
/// ```text
/// delta_0 = F_0,      delta_(m+1) = DPhi(u_m) delta_m + F_(m+1),      u_m <- u_m + delta_m .
/// ```
///
/// It is the linearised march `delta_t = J(u) delta - R` of the continuous residual, without interpolation of `u` and `R`
/// between frames: the limit is the solver's own trajectory, to round-off, and its error is that of the solver's step.
/// State and tangent advance together, so that `Phi(u_m)` comes with `DPhi(u_m) delta_m`.
///
/// # Cost
///
/// A sweep costs about 2.5 marches of the same step (a tangent stage costs 1.5 evaluations of `N`) and, frame after frame,
/// has the same sequential depth. A plain march from `u_0` gives the limit at once: on one machine, marching is cheaper
/// than a single sweep, whatever the prediction. What a sweep adds is the error of the prediction, frame by frame, to first
/// order.
pub struct Newton {
    stepper: Stepper<f64>,
    norm: Norm,
    steps: usize,
}

impl Newton {
    /// Plans refinement of trajectories with a frame every `dt_out`, with `steps` solver steps a frame.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `steps` is zero, `dt_out` is not positive, `options.batch` is not 1, or the equation refuses
    /// the grid.
    pub fn plan<P: Pde>(pde: &P, grid: &Grid, dt_out: f64, steps: usize, options: &Options) -> Result<Self> {
        if steps == 0 {
            return Err(Error::parameter("steps", steps, "must be at least 1"));
        }
        if options.batch != 1 {
            return Err(Error::parameter("batch", options.batch, "must be 1: a trajectory is refined by itself"));
        }
        let stepper = Stepper::plan(pde, grid, Scheme::Etdrk4, dt_out / steps as f64, options)?;
        Ok(Self { norm: Norm::l2(stepper.layout()), stepper, steps })
    }

    /// Sweeps over a prediction until it meets the tolerance.
    ///
    /// # Arguments
    ///
    /// * `start`: the known state at the first frame's time, `[channel, x, ..]`.
    /// * `frames`: the prediction at `t_0, t_0 + dt_out, ..`, `[frame, channel, x, ..]`, at least two frames. Modes that
    ///   the solver does not keep are dropped.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for other shapes; [`Error::Parameter`] if a value is not finite. Divergence is a result, see
    /// [`Refinement::stop`].
    pub fn refine(
        &mut self,
        start: ArrayViewD<'_, f64>,
        frames: ArrayViewD<'_, f64>,
        options: &NewtonOptions,
    ) -> Result<Refinement> {
        if frames.ndim() == 0 || frames.shape()[0] < 2 {
            let expected = [&[2], start.shape()].concat();
            return Err(Error::shape("frames (at least two)", &expected, frames.shape()));
        }
        let start = self.stepper.load(start)?;
        let mut states = frames.axis_iter(Axis(0)).map(|u| self.stepper.load(u)).collect::<Result<Vec<_>>>()?;
        let mut increments: Vec<State<f64>> = states.iter().map(|_| self.stepper.zeros()).collect();
        let (mut sweeps, mut error, mut stop) = (Vec::<Sweep>::new(), f64::INFINITY, Stop::Limit);
        while sweeps.len() < options.max_sweeps {
            let Some(sweep) = self.sweep(&start, &states, &mut increments) else {
                stop = Stop::Diverged;
                break;
            };
            let previous = sweeps.last().map(|s| s.increment);
            sweeps.push(sweep);
            // Far from the solution the first increments may grow; twice the size of the field is no such case.
            if sweep.increment > 2.0 && previous.is_some_and(|p| sweep.increment > p) {
                stop = Stop::Diverged;
                break;
            }
            for (u, delta) in states.iter_mut().zip(&increments) {
                u.as_mut_slice().iter_mut().zip(delta.as_slice()).for_each(|(u, d)| *u += d);
            }
            error = match previous {
                Some(p) if sweep.increment < p => sweep.increment.powi(3) / (p * p),
                _ => sweep.increment,
            };
            if error <= options.tolerance {
                stop = Stop::Converged;
                break;
            }
        }
        let fields: Vec<_> = states.iter().map(|u| self.stepper.store(u).index_axis_move(Axis(0), 0)).collect();
        let views: Vec<_> = fields.iter().map(|u| u.view()).collect();
        let frames = stack(Axis(0), &views).expect("frames have equal shapes");
        Ok(Refinement { frames, sweeps, error, stop })
    }

    /// The increments of all frames; `None` if a value stops being finite.
    fn sweep(&mut self, start: &State<f64>, states: &[State<f64>], increments: &mut [State<f64>]) -> Option<Sweep> {
        let began = Instant::now();
        let Self { stepper, norm, steps } = self;
        let size = |u: &State<f64>| norm.squared(u.as_slice()).sqrt().max(f64::MIN_POSITIVE);
        let mut delta = start.clone();
        subtract(&mut delta, &states[0]);
        let mut defect = size(&delta) / size(&states[0]);
        let mut increment = defect;
        increments[0] = delta.clone();
        for (m, pair) in states.windows(2).enumerate() {
            let mut u = pair[0].clone();
            // Where a plain march would be, so that both project onto real fields at the same steps.
            u.step = m * *steps;
            stepper.advance_tangent(&mut u, &mut delta, *steps).ok()?;
            subtract(&mut u, &pair[1]);
            delta.as_mut_slice().iter_mut().zip(u.as_slice()).for_each(|(d, f)| *d += f);
            defect = defect.max(size(&u) / size(&pair[1]));
            increment = increment.max(size(&delta) / size(&pair[1]));
            increments[m + 1].as_mut_slice().copy_from_slice(delta.as_slice());
        }
        Some(Sweep { defect, increment, seconds: began.elapsed().as_secs_f64() })
    }
}

/// `a -= b`.
fn subtract(a: &mut State<f64>, b: &State<f64>) {
    a.as_mut_slice().iter_mut().zip(b.as_slice()).for_each(|(a, b)| *a -= b);
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    /// The trajectory of the solver with this many steps a frame, from the first frame of another.
    fn march(u: &ArrayD<f64>, grid: &Grid, steps: usize, threads: usize) -> (ArrayD<f64>, f64) {
        let options = Options { threads, ..Options::default() };
        let mut stepper = Stepper::<f64>::plan(&flow(), grid, Scheme::Etdrk4, DT_OUT / steps as f64, &options).unwrap();
        let mut state = stepper.load(u.index_axis(Axis(0), 0)).unwrap();
        let mut out = u.clone();
        let mut seconds = 0.0;
        for mut frame in out.axis_iter_mut(Axis(0)).skip(1) {
            let began = Instant::now();
            stepper.advance(&mut state, steps).unwrap();
            seconds += began.elapsed().as_secs_f64();
            frame.assign(&stepper.store(&state).index_axis(Axis(0), 0));
        }
        (out, seconds)
    }

    #[test]
    fn convergence_is_quadratic_from_every_kind_of_error() {
        let (u, _) = march(reference(), &grid(), 2, 1);
        let mut newton = Newton::plan(&flow(), &grid(), DT_OUT, 2, &Options::default()).unwrap();
        for kind in KINDS {
            let prediction = perturbed(&u, kind, 1e-2, 3);
            let mut errors = vec![relative(&prediction, &u)];
            for sweeps in 1..=3 {
                let options = NewtonOptions { tolerance: 0.0, max_sweeps: sweeps };
                let refined = newton.refine(start(&u).view(), prediction.view(), &options).unwrap();
                errors.push(relative(&refined.frames, &u));
                assert_eq!(refined.stop, Stop::Limit);
            }
            println!("{kind:?} {errors:?}");
            // e_(j+1) = C e_j^2 down to round-off, with C of order one or ten (the flow is mildly unstable).
            assert!(errors[1] < 30.0 * errors[0].powi(2) && errors[2] < 30.0 * errors[1].powi(2) + 1e-13, "{errors:?}");
            assert!(errors[3] < 1e-12, "{errors:?}");
        }
    }

    #[test]
    fn one_percent_becomes_round_off_and_the_error_is_known() {
        let u = reference();
        let (solver, march_seconds) = march(u, &grid(), 2, 1);
        let prediction = perturbed(u, Kind::Smooth, 1e-2, 5);
        let mut newton = Newton::plan(&flow(), &grid(), DT_OUT, 2, &Options::default()).unwrap();
        let options = NewtonOptions { tolerance: 1e-6, ..NewtonOptions::default() };
        let refined = newton.refine(start(u).view(), prediction.view(), &options).unwrap();
        assert_eq!(refined.stop, Stop::Converged);
        assert!(refined.sweeps.len() <= 3 && refined.error <= 1e-6, "{:?}", refined.sweeps);
        let distance = relative(&refined.frames, &solver);
        // The estimate is that of the worst frame; an order of magnitude is what an extrapolation can promise.
        assert!(distance < 10.0 * refined.error, "{distance} {}", refined.error);
        // What is left is the solver's own error at two steps a frame.
        assert!(relative(&refined.frames, u) < 1e-6);
        let worst = |a: &ArrayD<f64>, b: &ArrayD<f64>| {
            let of = |u: ArrayViewD<'_, f64>| u.iter().map(|u| u * u).sum::<f64>().sqrt();
            let pairs = a.axis_iter(Axis(0)).zip(b.axis_iter(Axis(0)));
            pairs.map(|(a, b)| of((&a - &b).view()) / of(a)).fold(0.0, f64::max)
        };
        // The first increment is the error of the prediction to first order.
        let ratio = refined.sweeps[0].increment / worst(&prediction, &solver);
        assert!((ratio - 1.0).abs() < 0.1, "{ratio}");
        let seconds: f64 = refined.sweeps.iter().map(|s| s.seconds).sum();
        println!(
            "64: {} sweeps {seconds:.4} s, march {march_seconds:.4} s, {:?}",
            refined.sweeps.len(),
            refined.sweeps
        );
    }

    #[test]
    fn the_solvers_trajectory_is_a_fixed_point() {
        let (u, _) = march(reference(), &grid(), 4, 1);
        let mut newton = Newton::plan(&flow(), &grid(), DT_OUT, 4, &Options::default()).unwrap();
        let refined = newton.refine(start(&u).view(), u.view(), &NewtonOptions::default()).unwrap();
        // Round-off of the passage through physical space.
        assert!(refined.sweeps.len() == 1 && refined.sweeps[0].increment < 1e-13, "{:?}", refined.sweeps);
    }

    #[test]
    fn a_hopeless_prediction_is_reported_as_such() {
        let u = reference();
        let hopeless = 1e3 * perturbed(u, Kind::RoughInTime, 10.0, 1);
        let mut newton = Newton::plan(&flow(), &grid(), DT_OUT, 1, &Options::default()).unwrap();
        let refined = newton.refine(start(u).view(), hopeless.view(), &NewtonOptions::default()).unwrap();
        assert_ne!(refined.stop, Stop::Converged);
        assert!(refined.error > 1e-8);
        let options = Options { batch: 2, ..Options::default() };
        assert!(Newton::plan(&flow(), &grid(), DT_OUT, 1, &options).is_err());
        assert!(newton.refine(start(u).view(), start(u).view(), &NewtonOptions::default()).is_err());
    }

    #[test]
    #[ignore = "seconds of both cores"]
    fn three_sweeps_suffice_at_256() {
        let grid = Grid::cube(2, 256, 1.0).unwrap();
        let up = crate::spectral::Resample::plan(&super::super::testing::grid(), &grid).unwrap();
        for threads in [1, 2] {
            let (u, march_seconds) = march(&up.apply(reference().view()), &grid, 8, threads);
            let prediction = up.apply(perturbed(reference(), Kind::Smooth, 1e-2, 5).view());
            let options = Options { threads, ..Options::default() };
            let mut newton = Newton::plan(&flow(), &grid, DT_OUT, 8, &options).unwrap();
            let options = NewtonOptions { tolerance: 1e-6, ..NewtonOptions::default() };
            let refined = newton.refine(start(&u).view(), prediction.view(), &options).unwrap();
            let error = relative(&refined.frames, &u);
            println!("256, {threads} threads: march {march_seconds:.2} s, {error:.1e} {:?}", refined.sweeps);
            assert!(refined.sweeps.len() <= 3 && error < 1e-6, "{error}");
        }
    }
}
