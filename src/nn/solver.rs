//! A classical solver inside a learned model.

use std::sync::{Arc, Mutex, MutexGuard};

use ndarray::{ArrayD, ArrayViewD, Axis};

use super::kernel::expect_shape;
use crate::autodiff::{self, Cotangent, Operation, Record, Tensor, Var, Workers};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::stepper::{Checkpoints, Scheme, State, Stepper, Tape, Wanted};

/// The map from an initial field to the fields after some steps of a [`Stepper`], with the solver's own exact adjoint.
///
/// Input and output are physical fields. Modes that the solver does not keep are dropped on the way in, and their
/// gradient is zero. If the solution blows up, the output (and any gradient through it) is NaN.
///
/// The threads are the stepper's. Each recording keeps what the checkpoint policy says until the tape is cleared, also
/// where no gradient is taken in the end: without one, use the [`Stepper`] itself.
///
/// # Example
///
/// ```
/// use parseval::{autodiff::{Parameters, Tape}, field::Grid, nn::Rollout, pde::KuramotoSivashinsky};
/// use parseval::stepper::{Checkpoints, Options, Scheme, Stepper};
///
/// let grid = Grid::cube(1, 64, 22.0)?;
/// let stepper = Stepper::<f64>::plan(&KuramotoSivashinsky::default(), &grid, Scheme::Etdrk4, 0.1, &Options::default())?;
/// let rollout = Rollout::new(stepper, 10, Checkpoints::Stages)?;
/// let mut tape = Tape::new(Parameters::new(), 1)?;
/// let u0: Vec<f64> = grid.coordinates(0).iter().map(|x| (grid.k_unit(0) * x).cos()).collect();
/// let u0 = tape.variable(&[1, 1, 64], &u0)?;
/// let u1 = rollout.record(&mut tape, u0)?;
/// assert_eq!(tape.shape(u1), [1, 1, 64]);
/// let gradient = tape.gradients(u1, &[1.0; 64], &[u0])?;
/// // The equation conserves the mean: the gradient of the sum is one, at any time.
/// assert!(gradient[0].iter().all(|g| (g - 1.0).abs() < 1e-12));
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone)]
pub struct Rollout<T: Real> {
    solver: Arc<Mutex<Stepper<T>>>,
    /// `[batch, channel, x, ..]`.
    state: Vec<usize>,
    steps: usize,
    frames: Option<usize>,
    checkpoints: Checkpoints,
}

impl<T: Real> Rollout<T> {
    /// The state after `steps` steps: `[batch, channel, x, ..]` to the same.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `steps` is zero, or the checkpoint policy has size zero.
    pub fn new(stepper: Stepper<T>, steps: usize, checkpoints: Checkpoints) -> Result<Self> {
        if steps == 0 {
            return Err(Error::parameter("steps", steps, "must be at least 1"));
        }
        if matches!(checkpoints, Checkpoints::Segments(0) | Checkpoints::Binomial(0)) {
            return Err(Error::parameter("checkpoints", 0, "must be at least 1"));
        }
        let layout = stepper.layout();
        let state = [&[stepper.batch(), layout.channels], layout.grid.shape()].concat();
        Ok(Self { solver: Arc::new(Mutex::new(stepper)), state, steps, frames: None, checkpoints })
    }

    /// The states after every `every` steps: `[batch, channel, x, ..]` to `[batch, frames, channel, x, ..]`.
    ///
    /// # Errors
    ///
    /// As [`Rollout::new`], and if `frames` is zero; the multistep scheme allows one frame only.
    pub fn trajectory(stepper: Stepper<T>, every: usize, frames: usize, checkpoints: Checkpoints) -> Result<Self> {
        if frames == 0 {
            return Err(Error::parameter("frames", frames, "must be at least 1"));
        }
        if frames > 1 && stepper.scheme() == Scheme::CnAb2 {
            return Err(Error::parameter("frames", frames, "must be 1 with the multistep scheme cnab2"));
        }
        Ok(Self { frames: Some(frames), ..Self::new(stepper, every, checkpoints)? })
    }

    /// Records the rollout from `u`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `u` is not `[batch, channel, x, ..]` of the stepper.
    pub fn record(&self, tape: &mut autodiff::Tape<T>, u: Var) -> Result<Var> {
        tape.apply(Steps { rollout: self.clone(), tapes: Mutex::new(Vec::new()) }, &[u])
    }

    fn solver(&self) -> MutexGuard<'_, Stepper<T>> {
        self.solver.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn view<'a>(&self, values: &'a [T]) -> ArrayViewD<'a, T> {
        ArrayViewD::from_shape(self.state.clone(), values).expect("the shape was checked")
    }

    /// Writes one frame into all of them.
    fn put(&self, frame: usize, u: &ArrayD<T>, output: &mut [T]) {
        let (batch, count) = (self.state[0], self.frames.unwrap_or(1));
        let len = u.len() / batch;
        let values = u.as_slice().expect("a new array is in standard layout");
        for (sample, u) in values.chunks_exact(len).enumerate() {
            output[(sample * count + frame) * len..][..len].copy_from_slice(u);
        }
    }

    /// Reads one frame of all.
    fn take(&self, frame: usize, values: &[T]) -> ArrayD<T> {
        let shape = [&[self.state[0], self.frames.unwrap_or(1)], &self.state[1..]].concat();
        let all = ArrayViewD::from_shape(shape, values).expect("the shape was checked");
        all.index_axis_move(Axis(1), frame).to_owned()
    }
}

/// One recorded rollout, a tape of the solver for each frame; none if it blew up.
struct Steps<T: Real> {
    rollout: Rollout<T>,
    tapes: Mutex<Vec<Tape<T>>>,
}

impl<T: Real> Steps<T> {
    fn tapes(&self) -> MutexGuard<'_, Vec<Tape<T>>> {
        self.tapes.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn run(&self, u: &[T], output: &mut [T]) -> Result<()> {
        let rollout = &self.rollout;
        let (mut solver, mut tapes) = (rollout.solver(), self.tapes());
        tapes.clear();
        let mut state = solver.load(rollout.view(u))?;
        for frame in 0..rollout.frames.unwrap_or(1) {
            tapes.push(solver.record(&mut state, rollout.steps, rollout.checkpoints)?);
            rollout.put(frame, &solver.store(&state), output);
        }
        Ok(())
    }

    fn pull_back(&self, cotangent: &[T]) -> Result<ArrayD<T>> {
        let rollout = &self.rollout;
        let (mut solver, tapes) = (rollout.solver(), self.tapes());
        let mut lambda: Option<State<T>> = None;
        for (frame, tape) in tapes.iter().enumerate().rev() {
            let mut sum = solver.load_cotangent(rollout.take(frame, cotangent).view())?;
            if let Some(later) = lambda {
                sum.as_mut_slice().iter_mut().zip(later.as_slice()).for_each(|(s, &l)| *s += l);
            }
            solver.backward(tape, &mut sum, Wanted::default())?;
            lambda = Some(sum);
        }
        Ok(lambda.map_or_else(|| ArrayD::from_elem(rollout.state.clone(), T::nan()), |l| solver.store_cotangent(&l)))
    }

    fn push_forward(&self, u: &[T], tangent: &[T], output: &mut [T]) -> Result<()> {
        let rollout = &self.rollout;
        let mut solver = rollout.solver();
        let (mut state, mut tangent) = (solver.load(rollout.view(u))?, solver.load(rollout.view(tangent))?);
        for frame in 0..rollout.frames.unwrap_or(1) {
            solver.advance_tangent(&mut state, &mut tangent, rollout.steps)?;
            rollout.put(frame, &solver.store(&tangent), output);
        }
        Ok(())
    }
}

impl<T: Real> Operation<T> for Steps<T> {
    fn name(&self) -> &'static str {
        "rollout"
    }
    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let state = &self.rollout.state;
        expect_shape("rollout", state, inputs[0])?;
        Ok(match self.rollout.frames {
            None => state.clone(),
            Some(frames) => [&[state[0], frames], &state[1..]].concat(),
        })
    }
    fn forward(&self, _: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
        if self.run(inputs[0].values, output).is_err() {
            self.tapes().clear();
            output.fill(T::nan());
        }
    }
    fn vjp(&self, _: &Workers<T>, _: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let Some(input) = inputs[0].take() else { return };
        let (values, weight) = input.target();
        match self.pull_back(cotangent) {
            Err(_) => values.fill(T::nan()),
            Ok(gradient) if weight == T::zero() => values.iter_mut().zip(&gradient).for_each(|(v, &g)| *v = g),
            Ok(gradient) => values.iter_mut().zip(&gradient).for_each(|(v, &g)| *v += g),
        }
    }
    fn jvp(&self, _: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let Some(tangent) = tangents[0] else { return false };
        if self.push_forward(record.inputs[0].values, tangent, output).is_err() {
            output.fill(T::nan());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::super::kernel::testing::{noise, run};
    use super::*;
    use crate::autodiff::{Parameters, check};
    use crate::field::Grid;
    use crate::pde::{GinzburgLandau, KuramotoSivashinsky, NavierStokes2d, Pde};
    use crate::stepper::Options;

    fn stepper<T: Real, P: Pde>(pde: &P, grid: &Grid, scheme: Scheme, dt: f64, threads: usize) -> Stepper<T> {
        let options = Options { batch: 2, threads, ..Options::default() };
        Stepper::plan(pde, grid, scheme, dt, &options).unwrap()
    }

    fn steps(rollout: &Rollout<f64>) -> Steps<f64> {
        Steps { rollout: rollout.clone(), tapes: Mutex::new(Vec::new()) }
    }

    fn assert_exact(rollout: &Rollout<f64>) {
        let found = check(|| steps(rollout), &[noise(&rollout.state, 1)], 2).unwrap();
        // Round-off of some thousand operations; the differences as in `check`.
        assert!(found.adjoint.unwrap() < 1e-12 && found.difference < 1e-9, "{found:?}");
    }

    #[test]
    fn adjoint_is_the_transpose_and_agrees_with_differences() {
        let grid = Grid::new(&[16, 12], &[TAU, TAU]).unwrap();
        let ns = NavierStokes2d::kolmogorov(0.02, 0.1, 1.0, 2, TAU);
        for policy in [Checkpoints::Stages, Checkpoints::Steps, Checkpoints::Segments(2), Checkpoints::Binomial(1)] {
            assert_exact(&Rollout::new(stepper(&ns, &grid, Scheme::Etdrk4, 0.02, 1), 5, policy).unwrap());
        }
        assert_exact(
            &Rollout::trajectory(stepper(&ns, &grid, Scheme::Etdrk4, 0.02, 1), 2, 3, Checkpoints::Steps).unwrap(),
        );
        assert_exact(&Rollout::new(stepper(&ns, &grid, Scheme::CnAb2, 0.02, 1), 4, Checkpoints::Steps).unwrap());
        // The state of a complex amplitude is not its physical pair.
        let line = Grid::cube(1, 32, 20.0).unwrap();
        let cgl = GinzburgLandau { c1: 1.0, c3: 0.5 };
        assert_exact(
            &Rollout::trajectory(stepper(&cgl, &line, Scheme::Etdrk2, 0.05, 1), 3, 2, Checkpoints::Stages).unwrap(),
        );
    }

    #[test]
    fn frames_are_the_states_of_the_solver() {
        let grid = Grid::cube(1, 48, 20.0).unwrap();
        let ks = KuramotoSivashinsky { nu: 0.7 };
        let plan = || stepper::<f64, _>(&ks, &grid, Scheme::Etdrk4, 0.05, 1);
        let u = noise(&[2, 1, 48], 1);
        let mut tape = autodiff::Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x = tape.variable(&u.0, &u.1).unwrap();
        let frames = Rollout::trajectory(plan(), 3, 4, Checkpoints::Steps).unwrap().record(&mut tape, x).unwrap();
        assert_eq!(tape.shape(frames), [2, 4, 1, 48]);
        let mut solver = plan();
        let mut state = solver.load(ArrayViewD::from_shape(u.0, &u.1).unwrap()).unwrap();
        for frame in 0..4 {
            solver.advance(&mut state, 3).unwrap();
            let expected = solver.store(&state);
            for sample in 0..2 {
                let got = &tape.values(frames)[(sample * 4 + frame) * 48..][..48];
                assert!(got.iter().eq(expected.index_axis(Axis(0), sample).iter()));
            }
        }
    }

    #[test]
    fn results_do_not_depend_on_the_threads_of_the_solver() {
        let grid = Grid::cube(2, 16, TAU).unwrap();
        let ns = NavierStokes2d::decaying(0.01);
        let u = [noise(&[2, 1, 16, 16], 1)];
        let of = |threads| {
            let plan = Rollout::<f32>::new(stepper(&ns, &grid, Scheme::Etdrk4, 0.02, threads), 4, Checkpoints::Steps);
            let plan = plan.unwrap();
            run::<f32>(1, &u, |tape, v| plan.record(tape, v[0]))
        };
        assert!(of(1) == of(2));
    }

    #[test]
    fn one_plan_serves_several_recordings_at_once() {
        let grid = Grid::cube(1, 48, 20.0).unwrap();
        let ks = KuramotoSivashinsky { nu: 0.7 };
        let plan =
            |steps| Rollout::new(stepper::<f64, _>(&ks, &grid, Scheme::Etdrk4, 0.05, 1), steps, Checkpoints::Steps);
        let (once, twice) = (plan(3).unwrap(), plan(6).unwrap());
        let u = [noise(&[2, 1, 48], 1)];
        let halves = run::<f64>(1, &u, |tape, v| {
            let middle = once.record(tape, v[0])?;
            once.record(tape, middle)
        });
        let whole = run::<f64>(1, &u, |tape, v| twice.record(tape, v[0]));
        // The way through physical space costs round-off only.
        assert!(halves.iter().flatten().zip(whole.iter().flatten()).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn a_blow_up_is_nan_and_a_wrong_plan_is_refused() {
        let grid = Grid::cube(1, 48, 20.0).unwrap();
        let ks = KuramotoSivashinsky { nu: 0.7 };
        let plan = || stepper::<f64, _>(&ks, &grid, Scheme::Etdrk4, 0.05, 1);
        let rollout = Rollout::new(plan(), 3, Checkpoints::Steps).unwrap();
        let mut tape = autodiff::Tape::<f64>::new(Parameters::new(), 1).unwrap();
        let x =
            tape.variable(&[2, 1, 48], &noise(&[2, 1, 48], 1).1.iter().map(|x| 1e200 * x).collect::<Vec<_>>()).unwrap();
        let y = rollout.record(&mut tape, x).unwrap();
        assert!(tape.values(y).iter().all(|v| v.is_nan()));
        assert!(tape.gradients(y, &[1.0; 96], &[x]).unwrap()[0].iter().all(|v| v.is_nan()));
        let wrong = tape.variable(&[1, 1, 48], &[0.0; 48]).unwrap();
        let error = rollout.record(&mut tape, wrong).unwrap_err().to_string();
        assert_eq!(error, "rollout: expected shape [2, 1, 48], got [1, 1, 48]");
        assert!(Rollout::new(plan(), 0, Checkpoints::Steps).is_err());
        assert!(Rollout::new(plan(), 1, Checkpoints::Segments(0)).is_err());
        let multistep = stepper::<f64, _>(&ks, &grid, Scheme::CnAb2, 0.05, 1);
        assert!(Rollout::trajectory(multistep, 1, 2, Checkpoints::Steps).is_err());
    }
}
