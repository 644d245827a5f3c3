//! One step of any scheme, its tangent, and rollouts of a batch.

use aligned_vec::AVec;
use ndarray::ArrayD;
use num_complex::Complex64;

use super::pipeline::{Coefficient, MAX_TERMS, Map, Memory, Rhs, SharedMemory, Term};
use super::plan::{State, Stepper, Symbols, gather, scatter, zeros};
use super::tableau::Coefficients;
use super::team::{self, Shared, Worker};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::layout::Layout;

/// Memory of one team: that of the pipeline, and sample-shaped arrays for stages.
pub(super) struct Work<T: Real> {
    memory: Memory<T>,
    /// `N(U_j)`, `U_1 .. U_{s-1}`, then the same for tangents (allocated on first use).
    arrays: AVec<T>,
    sample_len: usize,
    stages: usize,
}

/// [`Work`] as the workers see it.
pub(super) struct SharedWork<T: Real> {
    /// Number of the team.
    pub team: usize,
    pub memory: SharedMemory<T>,
    /// `N(U_j)`, `j = 0 .. s`.
    pub n: Vec<Shared<T>>,
    /// `U_i`, `i = 1 .. s`, at index `i - 1`.
    pub u: Vec<Shared<T>>,
    /// Tangents of both, or cotangents.
    pub dn: Vec<Shared<T>>,
    pub du: Vec<Shared<T>>,
}

impl<T: Real> Work<T> {
    pub fn new(memory: Memory<T>, sample_len: usize, stages: usize) -> Self {
        Self { memory, arrays: zeros((2 * stages - 1) * sample_len), sample_len, stages }
    }

    /// Makes room for tangents or cotangents.
    pub fn with_tangents(&mut self) {
        let len = 2 * (2 * self.stages - 1) * self.sample_len;
        if self.arrays.len() < len {
            self.arrays = zeros(len);
        }
    }

    pub fn share(&mut self, team: usize) -> SharedWork<T> {
        let arrays = Shared::new(&mut self.arrays);
        let (len, s) = (self.sample_len, self.stages);
        let list = |from: usize, count: usize| -> Vec<Shared<T>> {
            if (from + count) * len > arrays.len() {
                return Vec::new();
            }
            (from..from + count).map(|i| arrays.part(i * len, len)).collect()
        };
        SharedWork {
            team,
            memory: self.memory.share(),
            n: list(0, s),
            u: list(s, s - 1),
            dn: list(2 * s - 1, s),
            du: list(3 * s - 1, s - 1),
        }
    }

    pub fn bytes(&self) -> usize {
        self.memory.bytes() + self.arrays.len() * size_of::<T>()
    }
}

/// What a step needs besides the sample.
pub(super) struct StepContext<'a, T: Real> {
    pub rhs: &'a dyn Rhs<T>,
    pub symbols: &'a dyn Symbols,
    pub coefficients: &'a Coefficients<T>,
    pub stages: usize,
}

impl<T: Real> StepContext<'_, T> {
    /// `out = sum of row i` on the piece at `offset`: `R_i u + sum_j a_ij N_j`, where the newest `N_{i-1}` may still be in
    /// the pipeline's own memory.
    ///
    /// # Safety
    ///
    /// As [`Rhs::combine`].
    unsafe fn row(&self, i: usize, out: Shared<T>, offset: usize, u: Shared<T>, n: &[Shared<T>], newest: Shared<T>) {
        let len = newest.len();
        let mut terms = [Term { coefficient: &Coefficient::One, x: newest }; MAX_TERMS];
        let mut count = 0;
        for j in 0..=i {
            if let Some(coefficient) = self.coefficients.get(i, j) {
                let x = match j {
                    0 => u.part(offset, len),
                    _ if j == i => newest,
                    _ => n[j - 1].part(offset, len),
                };
                terms[count] = Term { coefficient, x };
                count += 1;
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.rhs.combine(out.part(offset, len), offset % self.coefficients.period, &terms[..count], false) }
    }

    /// Every so many steps, projects the state after `steps` steps onto the spectra of real fields; the whole team calls
    /// this.
    ///
    /// # Safety
    ///
    /// Nobody but the team touches the sample.
    pub unsafe fn project_if_due(&self, u: Shared<T>, steps: usize, worker: &Worker) {
        worker.barrier();
        if steps.is_multiple_of(STEPS_PER_PROJECTION) {
            if worker.index == 0 {
                // SAFETY: the others wait.
                unsafe { project_onto_real(self.rhs, self.symbols, u) };
            }
            worker.barrier();
        }
    }

    /// Whether `N(U_j)` is used again after row `j + 1`.
    fn is_used_later(&self, j: usize) -> bool {
        (j + 2..=self.stages).any(|i| self.coefficients.get(i, j + 1).is_some())
    }

    /// One step of one sample: `u_new` from `u` (they may be the same memory), leaving the stages in `stages` and, if
    /// `keep` is set, all nonlinear terms in `n`.
    ///
    /// # Safety
    ///
    /// All arrays are samples; the whole team calls this with the same arguments, and nobody else touches them.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn step(
        &self,
        u: Shared<T>,
        u_new: Shared<T>,
        history: Option<(Shared<T>, bool)>,
        stages: &[Shared<T>],
        n: &[Shared<T>],
        keep: bool,
        memory: &SharedMemory<T>,
        worker: &Worker,
    ) {
        for j in 0..self.stages {
            let input = if j == 0 { u } else { stages[j - 1] };
            let out = if j + 1 == self.stages { u_new } else { stages[j] };
            let store = keep || self.is_used_later(j);
            let sink = |offset: usize, newest: Shared<T>| {
                // SAFETY: the piece belongs to this worker.
                unsafe {
                    if store {
                        copy(n[j].part(offset, newest.len()), newest);
                    }
                    match history {
                        None => self.row(j + 1, out, offset, u, n, newest),
                        Some((previous, is_first)) => self.multistep_row(out, offset, u, previous, is_first, newest),
                    }
                }
            };
            // SAFETY: the caller's promise; the sink writes its piece only.
            unsafe { self.rhs.evaluate(Map::Nonlinear, [input, input], memory, worker, &sink) };
        }
    }

    /// `R u + b N^n + b' N^(n-1)`, and remembers `N^n`.
    ///
    /// # Safety
    ///
    /// As [`Rhs::combine`].
    unsafe fn multistep_row(
        &self,
        out: Shared<T>,
        offset: usize,
        u: Shared<T>,
        previous: Shared<T>,
        is_first: bool,
        newest: Shared<T>,
    ) {
        let [lagged, first] = self.coefficients.history.as_ref().expect("the multistep scheme has them");
        let (Some(propagator), Some(current)) = (self.coefficients.get(1, 0), self.coefficients.get(1, 1)) else {
            unreachable!("Crank-Nicolson and Adams-Bashforth coefficients do not vanish")
        };
        let len = newest.len();
        let previous = previous.part(offset, len);
        let terms = [
            Term { coefficient: propagator, x: u.part(offset, len) },
            Term { coefficient: if is_first { first } else { current }, x: newest },
            Term { coefficient: lagged, x: previous },
        ];
        let count = if is_first { 2 } else { 3 };
        // SAFETY: the caller's promise.
        unsafe {
            self.rhs.combine(out.part(offset, len), offset % self.coefficients.period, &terms[..count], false);
            copy(previous, newest);
        }
    }

    /// One step of a sample and of a tangent of it.
    ///
    /// # Safety
    ///
    /// As [`StepContext::step`].
    pub unsafe fn step_tangent(
        &self,
        u: Shared<T>,
        du: Shared<T>,
        history: Option<(Shared<T>, Shared<T>, bool)>,
        work: &SharedWork<T>,
        worker: &Worker,
    ) {
        for j in 0..self.stages {
            let (input, tangent) = if j == 0 { (u, du) } else { (work.u[j - 1], work.du[j - 1]) };
            let last = j + 1 == self.stages;
            let (out, out_tangent) = if last { (u, du) } else { (work.u[j], work.du[j]) };
            let store = self.is_used_later(j);
            let tangent_sink = |offset: usize, newest: Shared<T>| {
                // SAFETY: the piece belongs to this worker.
                unsafe {
                    if store {
                        copy(work.dn[j].part(offset, newest.len()), newest);
                    }
                    match history {
                        None => self.row(j + 1, out_tangent, offset, du, &work.dn, newest),
                        Some((_, d, first)) => self.multistep_row(out_tangent, offset, du, d, first, newest),
                    }
                }
            };
            let sink = |offset: usize, newest: Shared<T>| {
                // SAFETY: the piece belongs to this worker.
                unsafe {
                    if store {
                        copy(work.n[j].part(offset, newest.len()), newest);
                    }
                    match history {
                        None => self.row(j + 1, out, offset, u, &work.n, newest),
                        Some((previous, _, first)) => self.multistep_row(out, offset, u, previous, first, newest),
                    }
                }
            };
            // SAFETY: the caller's promise. The tangent goes first: it needs the stage that the other may overwrite.
            unsafe {
                self.rhs.evaluate(Map::Tangent, [input, tangent], &work.memory, worker, &tangent_sink);
                self.rhs.evaluate(Map::Nonlinear, [input, input], &work.memory, worker, &sink);
            }
        }
    }
}

/// Copies a piece.
///
/// # Safety
///
/// Nobody else touches `to`, nobody writes to `from`; they do not overlap.
pub(super) unsafe fn copy<T: Copy>(to: Shared<T>, from: Shared<T>) {
    // SAFETY: the caller's promise.
    unsafe { to.as_mut_slice().copy_from_slice(from.as_slice()) }
}

/// Steps between two projections onto the spectra of real fields.
const STEPS_PER_PROJECTION: usize = 64;

impl<T: Real> Stepper<T> {
    /// Advances a state by `steps` steps, in place.
    ///
    /// # Errors
    ///
    /// [`Error::BlowUp`] naming the sample, step and time at which a value stopped being finite; the state is then the
    /// one after that step.
    ///
    /// # Panics
    ///
    /// If the state belongs to another layout.
    pub fn advance(&mut self, state: &mut State<T>, steps: usize) -> Result<()> {
        self.check(state);
        if steps == 0 {
            return Ok(());
        }
        let is_first = self.start_history(state);
        // First bad step of each sample.
        let bad = if self.teams.bundles.is_empty() || state.history.is_some() {
            self.advance_samples(state, steps, is_first)
        } else {
            self.advance_bundles(state, steps)
        };
        let failed = bad.iter().enumerate().filter_map(|(s, b)| b.map(|step| (step, s))).min();
        let done = failed.map_or(steps, |(step, _)| step + 1);
        state.step += done;
        state.t += done as f64 * self.dt;
        match failed {
            None => Ok(()),
            Some((_, sample)) => Err(Error::BlowUp { sample, step: state.step, t: state.t }),
        }
    }

    /// Every sample by itself; the first bad step of each.
    fn advance_samples(&mut self, state: &mut State<T>, steps: usize, is_first: bool) -> Vec<Option<usize>> {
        let sample_len = self.layout().sample_len();
        let first_step = state.step;
        let data = Shared::new(&mut state.data);
        let history = state.history.as_mut().map(|h| Shared::new(h));
        let mut bad = vec![None; self.batch];
        let bad_shared = Shared::new(&mut bad);
        self.for_each_sample(false, |context, work, worker, sample| {
            let u = data.part(sample * sample_len, sample_len);
            let history = history.map(|h| h.part(sample * sample_len, sample_len));
            for step in 0..steps {
                let history = history.map(|h| (h, is_first && step == 0));
                // SAFETY: the team has this sample for itself.
                unsafe {
                    context.step(u, u, history, &work.u, &work.n, false, &work.memory, worker);
                    context.project_if_due(u, first_step + step + 1, worker);
                    if worker.index == 0 {
                        // A non-finite value reaches every mode within one evaluation of N, so one group is enough
                        // here; the whole state is checked at the end.
                        let probe = if step + 1 == steps { u } else { u.part(0, 2 * context.rhs.layout().width) };
                        if !probe.as_slice().iter().all(|x| x.is_finite()) {
                            bad_shared.part(sample, 1).as_mut_slice()[0] = Some(step);
                        }
                    }
                    worker.barrier();
                    if bad_shared.part(sample, 1).as_slice()[0].is_some() {
                        break;
                    }
                }
            }
        });
        bad
    }

    /// One-dimensional samples in bundles, lanes across samples; the first bad step of each. The last bundle may be partly
    /// empty, so that no sample's bits depend on its place in the batch.
    fn advance_bundles(&mut self, state: &mut State<T>, steps: usize) -> Vec<Option<usize>> {
        let (rhs, coefficients, stages) = (&*self.rhs, &*self.coefficients, self.scheme.stages());
        let (sample_len, size, batch) = (rhs.layout().sample_len(), rhs.bundle_size(), self.batch);
        let (first_step, threads) = (state.step, self.teams.bundles.len());
        let data = Shared::new(&mut state.data);
        let memory: Vec<Shared<T>> = self.teams.bundles.iter_mut().map(|m| Shared::new(m)).collect();
        let mut bad = vec![None; batch];
        let bad_shared = Shared::new(&mut bad);
        let symbols = &*self.symbols;
        team::run(threads, |worker| {
            for bundle in Layout::share(batch.div_ceil(size), worker.index, threads) {
                let samples = bundle * size..batch.min((bundle + 1) * size);
                let all = data.part(samples.start * sample_len, samples.len() * sample_len);
                let mut done = 0;
                while done < steps {
                    let until_projection = STEPS_PER_PROJECTION - (first_step + done) % STEPS_PER_PROJECTION;
                    let chunk = until_projection.min(steps - done);
                    // SAFETY: the bundle and the memory are this worker's own.
                    let failed = unsafe { rhs.advance_bundle(all, chunk, coefficients, stages, memory[worker.index]) };
                    if let Some((step, sample)) = failed {
                        // SAFETY: as above.
                        unsafe { bad_shared.part(samples.start + sample, 1).as_mut_slice()[0] = Some(done + step) };
                        break;
                    }
                    if chunk == until_projection {
                        for sample in 0..samples.len() {
                            // SAFETY: as above.
                            unsafe { project_onto_real(rhs, symbols, all.part(sample * sample_len, sample_len)) };
                        }
                    }
                    done += chunk;
                }
            }
        });
        bad
    }

    /// Advances a state by `frames` times `steps_per_frame` steps and hands `observe` the frame number (from 1) and the
    /// physical field, shape `[batch, channel, x, ..]`, after each.
    ///
    /// # Errors
    ///
    /// As [`Stepper::advance`], and whatever `observe` returns.
    pub fn rollout(
        &mut self,
        state: &mut State<T>,
        frames: usize,
        steps_per_frame: usize,
        mut observe: impl FnMut(usize, &State<T>, ArrayD<T>) -> Result<()>,
    ) -> Result<()> {
        for frame in 1..=frames {
            self.advance(state, steps_per_frame)?;
            let field = self.store(state);
            observe(frame, state, field)?;
        }
        Ok(())
    }

    /// Advances a state and one tangent of it, `du+ = (d u+ / d u) du` for each step.
    ///
    /// # Errors
    ///
    /// [`Error::BlowUp`] if a value of the state or the tangent is not finite at the end.
    ///
    /// # Panics
    ///
    /// If a state belongs to another layout.
    pub fn advance_tangent(&mut self, state: &mut State<T>, tangent: &mut State<T>, steps: usize) -> Result<()> {
        self.check(state);
        self.check(tangent);
        let sample_len = self.layout().sample_len();
        let is_first = self.start_history(state);
        if state.history.is_some() && tangent.history.is_none() {
            tangent.history = Some(zeros(tangent.data.len()));
        }
        let (data, tangents) = (Shared::new(&mut state.data), Shared::new(&mut tangent.data));
        let history = state.history.as_mut().zip(tangent.history.as_mut());
        let history = history.map(|(a, b)| (Shared::new(a), Shared::new(b)));
        let first_step = state.step;
        self.for_each_sample(true, |context, work, worker, sample| {
            let part = |x: Shared<T>| x.part(sample * sample_len, sample_len);
            for step in 0..steps {
                let history = history.map(|(a, b)| (part(a), part(b), is_first && step == 0));
                // SAFETY: the team has this sample for itself.
                unsafe {
                    context.step_tangent(part(data), part(tangents), history, work, worker);
                    context.project_if_due(part(data), first_step + step + 1, worker);
                    context.project_if_due(part(tangents), first_step + step + 1, worker);
                }
            }
        });
        state.step += steps;
        state.t += steps as f64 * self.dt;
        (tangent.step, tangent.t) = (state.step, state.t);
        let pairs = state.data.chunks_exact(sample_len).zip(tangent.data.chunks_exact(sample_len));
        for (sample, (u, du)) in pairs.enumerate() {
            if !u.iter().chain(du).all(|x| x.is_finite()) {
                return Err(Error::BlowUp { sample, step: state.step, t: state.t });
            }
        }
        Ok(())
    }

    /// `N(u) + f` of a state, for diagnostics; the same fused kernels as in a step.
    pub fn nonlinear(&mut self, state: &State<T>) -> State<T> {
        self.map(Map::Nonlinear, state, state)
    }

    /// `DN(u) v`.
    pub fn nonlinear_jvp(&mut self, state: &State<T>, tangent: &State<T>) -> State<T> {
        self.map(Map::Tangent, state, tangent)
    }

    /// `DN(u)^T lambda`, the transpose in the inner product [`Stepper::inner`].
    pub fn nonlinear_vjp(&mut self, state: &State<T>, cotangent: &State<T>) -> State<T> {
        self.map(Map::Adjoint, state, cotangent)
    }

    /// `du / dt = L u + N(u) + f` of a state.
    pub fn time_derivative(&mut self, state: &State<T>) -> State<T> {
        let mut out = self.nonlinear(state);
        let (symbols, _) = self.symbol_tables();
        let layout = self.rhs.layout();
        for (s, (out, u)) in out
            .data
            .chunks_exact_mut(layout.channel_len())
            .zip(state.data.chunks_exact(layout.channel_len()))
            .enumerate()
        {
            let symbol = &symbols[(s % layout.channels).min(symbols.len() - 1)];
            layout.for_each_mode(|offset, _| {
                let l = symbol[super::plan::lane_of(layout, offset)];
                let (re, im) = (u[offset], u[offset + layout.width]);
                let (l_re, l_im) = (T::of(l.re), T::of(l.im));
                out[offset] += l_re * re - l_im * im;
                out[offset + layout.width] += l_re * im + l_im * re;
            });
        }
        out
    }

    fn map(&mut self, map: Map, state: &State<T>, other: &State<T>) -> State<T> {
        self.check(state);
        self.check(other);
        let mut out = self.zeros();
        let sample_len = self.layout().sample_len();
        let (a, b) = (Shared::read_only(&state.data), Shared::read_only(&other.data));
        let result = Shared::new(&mut out.data);
        self.for_each_sample(false, |context, work, worker, sample| {
            let part = |x: Shared<T>| x.part(sample * sample_len, sample_len);
            let sink = |offset: usize, piece: Shared<T>| {
                // SAFETY: the piece belongs to this worker.
                unsafe { copy(part(result).part(offset, piece.len()), piece) };
            };
            // SAFETY: inputs are only read.
            unsafe { context.rhs.evaluate(map, [part(a), part(b)], &work.memory, worker, &sink) };
            worker.barrier();
        });
        (out.t, out.step) = (state.t, state.step);
        out
    }

    /// Calls `program` for every sample, on as many threads as planned: one team per thread, each with its share of the
    /// samples, or one team of all threads that takes the samples one by one.
    pub(super) fn for_each_sample(
        &mut self,
        tangents: bool,
        program: impl Fn(&StepContext<T>, &SharedWork<T>, &Worker, usize) + Sync,
    ) {
        if tangents {
            self.teams.work.iter_mut().for_each(Work::with_tangents);
        }
        let context = StepContext {
            rhs: &*self.rhs,
            symbols: &*self.symbols,
            coefficients: &self.coefficients,
            stages: self.scheme.stages(),
        };
        let work: Vec<SharedWork<T>> = self.teams.work.iter_mut().enumerate().map(|(team, w)| w.share(team)).collect();
        let (batch, threads, within_sample) = (self.batch, self.teams.threads, self.teams.within_sample);
        team::run(threads, |worker| {
            if within_sample {
                (0..batch).for_each(|sample| program(&context, &work[0], worker, sample));
            } else {
                team::run(1, |alone| {
                    for sample in Layout::share(batch, worker.index, threads) {
                        program(&context, &work[worker.index], alone, sample);
                    }
                });
            }
        });
    }

    /// Makes room for the previous `N` of the multistep scheme; whether the next step is the first.
    pub(super) fn start_history(&self, state: &mut State<T>) -> bool {
        let is_first = state.history.is_none();
        if self.coefficients.history.is_none() {
            state.history = None;
        } else if is_first {
            state.history = Some(zeros(state.data.len()));
        }
        is_first
    }

    pub(super) fn check(&self, state: &State<T>) {
        let expected = self.batch * self.layout().sample_len();
        assert!(state.data.len() == expected, "state: expected {expected} reals, got {}", state.data.len());
    }

    /// Bytes of scratch that the plan holds.
    pub fn scratch_bytes(&self) -> usize {
        self.teams.work.iter().map(Work::bytes).sum()
    }
}

/// Removes what no real field has from the plane of last mode zero: there `u_hat(-m) = conj(u_hat(m))` for every
/// physical component.
///
/// Round-off breaks the relation, the nonlinear term does not see the difference, and a linearly unstable mode would
/// amplify it without bound.
///
/// # Safety
///
/// Nobody else touches the sample.
unsafe fn project_onto_real<T: Real>(rhs: &dyn Rhs<T>, symbols: &dyn Symbols, sample: Shared<T>) {
    let layout = rhs.layout();
    let (r0, r1) = (layout.rows(0), layout.rows(1));
    // SAFETY: the caller's promise.
    let sample = unsafe { sample.as_mut_slice() };
    let [mut u, mut v] = [(); 2].map(|()| vec![Complex64::default(); layout.channels]);
    for row0 in 0..r0 {
        for row1 in 0..r1 {
            let mirror = (r0 - row0) % r0 * r1 + (r1 - row1) % r1;
            let group = row0 * r1 + row1;
            if group <= mirror {
                let (at, mirror) = (group * 2 * layout.width, mirror * 2 * layout.width);
                for (offset, mode) in [(at, &mut u), (mirror, &mut v)] {
                    gather(layout, sample, offset, mode);
                    symbols.store_channels(mode);
                }
                for (u, v) in u.iter_mut().zip(&mut v) {
                    *u = (*u + v.conj()) * 0.5;
                    *v = u.conj();
                }
                for (offset, mode) in [(at, &mut u), (mirror, &mut v)] {
                    symbols.load_channels(mode);
                    scatter(layout, sample, offset, mode);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
