//! What all learned solvers have in common.

use std::collections::VecDeque;

use crate::autodiff::{Tape, Var};
use crate::error::{Error, Result};
use crate::field::Real;

/// What replaces a state between two steps of a rollout: `(tape, step, state)`.
pub type Between<'a, T> = dyn FnMut(&mut Tape<T>, usize, Var) -> Result<Var> + 'a;

/// A learned solver of staggered frames `[.., 2, n, n]`, whose parameters a [`Tape`] has.
///
/// It steps states of its own, which are the frames themselves or what [`LearnedSolver::encode`] makes of them.
pub trait LearnedSolver<T: Real> {
    /// Shape of the state of one sample.
    fn state(&self) -> [usize; 3];

    /// Time of a step.
    fn dt(&self) -> f64;

    /// States that a rollout begins with, a step apart; the last of them is the initial state.
    fn window(&self) -> usize;

    /// Steps that are recorded together by [`LearnedSolver::predict`].
    fn bundle(&self) -> usize {
        1
    }

    /// Floating-point operations of one step of one sample.
    fn flops(&self) -> f64;

    /// Records `steps` steps from a window of states, `[batch, ..]` each, oldest first, and gives their results.
    /// `between(tape, step, state)` may replace a state before the next step, such as by a copy that no derivative goes
    /// through.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for another number of states, [`Error::Shape`] for states of another shape.
    fn rollout(&self, tape: &mut Tape<T>, window: &[Var], steps: usize, between: &mut Between<T>) -> Result<Vec<Var>>;

    /// Makes `steps` steps from a window of states, oldest first, which moves along; calls `observe(step, state)` after
    /// each, `step` from 1. Any number of steps: the tape holds one bundle at a time, and is left clear.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for another number of states, [`Error::BlowUp`] with the step after which a value is not
    /// finite, or the error of `observe`.
    fn predict(
        &self,
        tape: &mut Tape<T>,
        window: &mut VecDeque<Vec<T>>,
        steps: usize,
        observe: &mut dyn FnMut(usize, &[T]) -> Result<()>,
    ) -> Result<()> {
        check_window(window.len(), self.window())?;
        let (shape, mut done) = (self.state(), 0);
        let len = shape.iter().product();
        while done < steps {
            let count = self.bundle().min(steps - done);
            tape.clear();
            let frames: Vec<Var> = window.iter().map(|frame| constant(tape, shape, frame)).collect::<Result<_>>()?;
            let results = self.rollout(tape, &frames, count, &mut |_, _, state| Ok(state))?;
            for (k, &result) in results.iter().enumerate() {
                let mut frame = window.pop_front().expect("the window is not empty");
                frame.copy_from_slice(tape.values(result));
                check(&frame, len, done + k + 1, self.dt())?;
                observe(done + k + 1, &frame)?;
                window.push_back(frame);
            }
            done += count;
        }
        tape.clear();
        Ok(())
    }

    /// States of frames `[.., 2, n, n]`.
    fn encode(&self, frames: &[T]) -> Vec<T> {
        frames.to_vec()
    }

    /// Frames of states.
    fn decode(&self, states: &[T]) -> Vec<T> {
        states.to_vec()
    }
}

/// Fails if a window has another number of states than the solver takes.
pub(super) fn check_window(states: usize, expected: usize) -> Result<()> {
    match states == expected {
        true => Ok(()),
        false => Err(Error::parameter("states of the window", states, format!("must be {expected}"))),
    }
}

/// The rollout of a solver that steps from one state by `record`.
pub(super) fn repeat<T: Real>(
    tape: &mut Tape<T>,
    window: &[Var],
    steps: usize,
    between: &mut Between<T>,
    record: impl Fn(&mut Tape<T>, Var) -> Result<Var>,
) -> Result<Vec<Var>> {
    check_window(window.len(), 1)?;
    let (mut state, mut results) = (window[0], Vec::with_capacity(steps));
    for step in 0..steps {
        let next = record(tape, state)?;
        results.push(next);
        if step + 1 < steps {
            state = between(tape, step, next)?;
        }
    }
    Ok(results)
}

/// Fails if a value of samples of `len` values is not finite after `step` steps of `dt`.
pub(super) fn check<T: Real>(state: &[T], len: usize, step: usize, dt: f64) -> Result<()> {
    match state.iter().position(|x| !x.is_finite()) {
        Some(index) => Err(Error::BlowUp { sample: index / len, step, t: step as f64 * dt }),
        None => Ok(()),
    }
}

/// Records states `[batch, ..shape]`.
pub(super) fn constant<T: Real>(tape: &mut Tape<T>, shape: [usize; 3], state: &[T]) -> Result<Var> {
    let batch = state.len() / shape.iter().product::<usize>();
    tape.constant(&[batch, shape[0], shape[1], shape[2]], state)
}
