//! The solver itself, from the last input frame, with a checked step.

use std::time::Instant;

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};

use super::Stop;
use super::modes::Norm;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::Pde;
use crate::spectral::layout::Dealias;
use crate::stepper::{Options, Scheme, Stepper};

/// Choices of a [`March`].
#[derive(Clone, Debug, PartialEq)]
pub struct MarchOptions {
    /// Relative L2 error of the time stepping allowed at the worst frame.
    pub tolerance: f64,
    /// Steps a frame to begin with.
    pub first_steps: usize,
    /// Most steps a frame.
    pub max_steps: usize,
    /// Modes of the solver.
    pub dealias: Dealias,
    /// Threads; samples are shared out among them.
    pub threads: usize,
}

impl Default for MarchOptions {
    fn default() -> Self {
        Self { tolerance: 1e-6, first_steps: 1, max_steps: 1024, dealias: Dealias::Truncate, threads: 1 }
    }
}

/// One marched trajectory.
#[derive(Clone, Debug)]
pub struct Marched {
    /// The start and the frames that follow it, `[frame, channel, x, ..]`.
    pub frames: ArrayD<f64>,
    /// Estimated relative L2 error of the time stepping at the worst frame, `|u_h - u_2h| / 15`.
    pub error: f64,
    /// Solver step `h` of the result.
    pub dt: f64,
    /// Evaluations of the nonlinear term, failed and coarser runs included.
    pub evaluations: usize,
    /// Wall time: this sample's share of the rounds that it took part in.
    pub seconds: f64,
    /// Whether the tolerance was met.
    pub stop: Stop,
}

/// ETDRK4 from known starts at the coarsest step that is stable and accurate enough, by step doubling.
///
/// Round `j` marches with `first_steps 2^j` steps a frame every sample that is not finished. A sample is finished when the
/// difference of two successive rounds, divided by `2^4 - 1` (Richardson), meets the tolerance at every frame; it keeps the
/// finer one. A blow-up is a failed round: it halves the step. A sample that meets the tolerance with `n` steps a frame has
/// cost `2 n - 1` steps a frame, less where coarse rounds blew up early.
///
/// # Example
///
/// ```
/// use ndarray::Array;
/// use parseval::{field::Grid, pde::KuramotoSivashinsky};
/// use parseval::operator::refine::{March, MarchOptions, Stop};
///
/// let grid = Grid::cube(1, 64, 22.0)?;
/// let start = Array::from_shape_fn((1, 1, 64), |(_, _, j)| (std::f64::consts::TAU * j as f64 / 64.0).cos()).into_dyn();
/// let march = March::plan(&KuramotoSivashinsky::default(), &grid, 1.0, 5, &MarchOptions::default())?;
/// let marched = &march.run(start.view())?[0];
/// assert_eq!(marched.frames.shape(), [6, 1, 64]);
/// assert!(marched.stop == Stop::Converged && marched.error < 1e-6);
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct March<P: Pde> {
    pde: P,
    grid: Grid,
    dt_out: f64,
    outputs: usize,
    options: MarchOptions,
}

/// Frames of a sample in one round, in the stepper's layout; `None` if it blew up.
pub(super) type Run = Option<Vec<f64>>;

impl<P: Pde> March<P> {
    /// Plans marches of `outputs` frames, one every `dt_out`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `outputs` or `first_steps` is zero, `max_steps` is below twice that, `dt_out` or the
    /// tolerance is not positive, or the equation refuses the grid.
    pub fn plan(pde: &P, grid: &Grid, dt_out: f64, outputs: usize, options: &MarchOptions) -> Result<Self> {
        for (name, value) in [("outputs", outputs), ("first_steps", options.first_steps), ("threads", options.threads)]
        {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be at least 1"));
            }
        }
        if options.max_steps < 2 * options.first_steps {
            return Err(Error::parameter("max_steps", options.max_steps, "must be at least twice first_steps"));
        }
        if !(options.tolerance > 0.0 && options.tolerance.is_finite()) {
            return Err(Error::parameter("tolerance", options.tolerance, "must be > 0 and finite"));
        }
        let march = Self { pde: pde.clone(), grid: grid.clone(), dt_out, outputs, options: options.clone() };
        march.stepper(1, options.first_steps)?;
        Ok(march)
    }

    /// Marches a batch of starts, `[batch, channel, x, ..]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for another shape; [`Error::Parameter`] if a value is not finite; [`Error::BlowUp`] naming the
    /// sample that is unstable even with the smallest step.
    pub fn run(&self, starts: ArrayViewD<'_, f64>) -> Result<Vec<Marched>> {
        let expected = [&[starts.shape().first().copied().unwrap_or(0), P::CHANNELS], self.grid.shape()].concat();
        if starts.shape() != expected || expected[0] == 0 {
            return Err(Error::shape("starts", &expected, starts.shape()));
        }
        let batch = expected[0];
        let mut done: Vec<Option<Marched>> = vec![None; batch];
        let mut previous: Vec<Run> = vec![None; batch];
        let (mut evaluations, mut seconds) = (vec![0; batch], vec![0.0; batch]);
        let writer = self.stepper(self.outputs, self.options.first_steps)?;
        let mut steps = self.options.first_steps;
        loop {
            let active: Vec<usize> = (0..batch).filter(|&s| done[s].is_none()).collect();
            if active.is_empty() {
                return Ok(done.into_iter().map(|d| d.expect("every sample is finished")).collect());
            }
            let is_last = 2 * steps > self.options.max_steps;
            let began = Instant::now();
            let mut stepper = self.stepper(active.len(), steps)?;
            let (runs, taken) = rollout(&mut stepper, starts.select(Axis(0), &active).view(), self.outputs, steps)?;
            let norm = Norm::l2(stepper.layout());
            let share = began.elapsed().as_secs_f64() / active.len() as f64;
            for ((&sample, run), taken) in active.iter().zip(runs).zip(taken) {
                evaluations[sample] += Scheme::Etdrk4.stages() * taken;
                seconds[sample] += share;
                let error = match (&run, &previous[sample]) {
                    (Some(fine), Some(coarse)) => self.worst(&norm, fine, coarse) / 15.0,
                    _ => f64::INFINITY,
                };
                let is_good = error <= self.options.tolerance;
                if is_last && run.is_none() {
                    return Err(Error::BlowUp { sample, step: taken, t: taken as f64 * stepper.dt() });
                }
                if is_good || is_last {
                    let began = Instant::now();
                    let frames = run.as_deref().expect("a run that blew up is not accepted");
                    done[sample] = Some(Marched {
                        frames: store(&writer, starts.index_axis(Axis(0), sample), frames),
                        error,
                        dt: stepper.dt(),
                        evaluations: evaluations[sample],
                        seconds: seconds[sample] + began.elapsed().as_secs_f64(),
                        stop: if is_good { Stop::Converged } else { Stop::Limit },
                    });
                }
                previous[sample] = run;
            }
            steps *= 2;
        }
    }

    fn stepper(&self, batch: usize, steps: usize) -> Result<Stepper<f64>> {
        let MarchOptions { threads, dealias, .. } = self.options.clone();
        let options = Options { batch, threads, dealias, ..Options::default() };
        Stepper::plan(&self.pde, &self.grid, Scheme::Etdrk4, self.dt_out / steps as f64, &options)
    }

    /// Largest relative difference over the frames.
    fn worst(&self, norm: &Norm, fine: &[f64], coarse: &[f64]) -> f64 {
        let len = norm.weights.len();
        let differences = fine.chunks_exact(len).zip(coarse.chunks_exact(len)).map(|(u, v)| norm.relative(v, u));
        differences.fold(0.0, f64::max)
    }
}

/// `outputs` frames of every sample of a batch of starts, `steps` solver steps each; and the steps that each sample took.
pub(super) fn rollout(
    stepper: &mut Stepper<f64>,
    starts: ArrayViewD<'_, f64>,
    outputs: usize,
    steps: usize,
) -> Result<(Vec<Run>, Vec<usize>)> {
    let len = stepper.layout().sample_len();
    let mut state = stepper.load(starts)?;
    let mut runs: Vec<Run> = vec![Some(Vec::with_capacity(outputs * len)); stepper.batch()];
    let mut taken = vec![0; stepper.batch()];
    for output in 1..=outputs {
        // A sample that blew up earlier stops at its first step, and does not stop the others.
        let result = stepper.advance(&mut state, steps);
        state.step = output * steps;
        for ((run, taken), u) in runs.iter_mut().zip(&mut taken).zip(state.as_slice().chunks_exact(len)) {
            if let Some(frames) = run {
                *taken += steps;
                if result.is_err() && !u.iter().all(|u| u.is_finite()) {
                    *run = None;
                } else {
                    frames.extend_from_slice(u);
                }
            }
        }
        if runs.iter().all(Option::is_none) {
            break;
        }
    }
    Ok((runs, taken))
}

/// The start and the frames of a run as fields, `[frame, channel, x, ..]`; the stepper's batch is the number of frames.
pub(super) fn store(writer: &Stepper<f64>, start: ArrayViewD<'_, f64>, frames: &[f64]) -> ArrayD<f64> {
    let mut state = writer.zeros();
    state.as_mut_slice().copy_from_slice(frames);
    let later = writer.store(&state);
    concatenate(Axis(0), &[start.insert_axis(Axis(0)), later.view()]).expect("frames have equal shapes")
}

#[cfg(test)]
mod tests {
    use ndarray::stack;

    use super::super::testing::*;
    use super::*;

    #[test]
    fn the_estimated_error_is_the_error() {
        let u = reference();
        for tolerance in [1e-5, 1e-8] {
            let options = MarchOptions { tolerance, ..MarchOptions::default() };
            let march = March::plan(&flow(), &grid(), DT_OUT, 40, &options).unwrap();
            let marched = &march.run(start(u).insert_axis(Axis(0)).view()).unwrap()[0];
            let error = relative(&marched.frames, u);
            println!(
                "{tolerance:e}: {error:.2e} estimated {:.2e} dt {} evaluations {} {:.4} s",
                marched.error, marched.dt, marched.evaluations, marched.seconds
            );
            assert_eq!(marched.stop, Stop::Converged);
            assert!(marched.error <= tolerance);
            // The worst frame against the mean, and an asymptotic estimate: a factor 5 either way; the reference itself is
            // at 16 steps a frame, its error 1e-11.
            assert!(
                error < 5.0 * marched.error + 1e-10 && marched.error < 5.0 * error + 1e-10,
                "{error} {}",
                marched.error
            );
        }
    }

    #[test]
    fn each_sample_gets_its_own_step_and_blow_up_halves_it() {
        let u = reference();
        let calm = start(u);
        // Twelve times the vorticity at the same step: unstable, and less accurate where it is not.
        let wild = 12.0 * &calm;
        let starts = stack(Axis(0), &[calm.view(), wild.view(), calm.view()]).unwrap();
        let march = |starts: ArrayViewD<'_, f64>, threads| {
            let options = MarchOptions { tolerance: 1e-4, threads, ..MarchOptions::default() };
            March::plan(&flow(), &grid(), DT_OUT, 3, &options).unwrap().run(starts).unwrap()
        };
        let all = march(starts.view(), 2);
        assert!(all[1].dt < 0.5 * all[0].dt, "{} {}", all[0].dt, all[1].dt);
        assert!(all.iter().all(|m| m.stop == Stop::Converged));
        // A sample does not notice its neighbours, and its start is returned untouched.
        let alone = march(calm.view().insert_axis(Axis(0)), 1);
        assert_eq!(all[0].frames, alone[0].frames);
        assert_eq!(all[2].frames, alone[0].frames);
        assert_eq!(all[0].frames.index_axis(Axis(0), 0), calm);
    }

    #[test]
    fn limits_are_results_and_instability_is_an_error() {
        let calm = start(reference()).insert_axis(Axis(0));
        let options = MarchOptions { tolerance: 1e-14, max_steps: 4, ..MarchOptions::default() };
        let march = March::plan(&flow(), &grid(), DT_OUT, 2, &options).unwrap();
        let marched = &march.run(calm.view()).unwrap()[0];
        assert!(marched.stop == Stop::Limit && marched.error > 1e-14);
        assert!(matches!(march.run((1e6 * &calm).view()), Err(Error::BlowUp { sample: 0, .. })));
        assert!(matches!(march.run(start(reference()).view()), Err(Error::Shape { .. })));
    }
}
