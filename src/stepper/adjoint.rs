//! Reverse mode through rollouts.
//!
//! For one step of a scheme in table form (`tableau.rs`), with `lambda` the cotangent of `u+`, stages in reverse:
//!
//! ```text
//! N_bar_j = conj(b_j) lambda + sum_{i > j} conj(a_ij) U_bar_i
//! U_bar_j = DN(U_j)^T N_bar_j
//! u_bar   = conj(R) lambda + sum_i conj(R_i) U_bar_i + U_bar_0
//! ```
//!
//! Cotangents are spectra of physical gradient fields: if `dJ = sum_x g(x) du(x)` then `lambda` is the spectrum of `g`.
//! Diagonal multipliers then have their conjugates as adjoints, and no weights appear.

use aligned_vec::AVec;
use ndarray::{ArrayD, ArrayViewD};
use num_complex::Complex64;

use super::pipeline::{Coefficient, Map, Term};
use super::plan::{State, Stepper, inner, lane_of, zeros};
use super::step::{SharedWork, StepContext, copy};
use super::tableau::{Scheme, derivatives, is_propagator, row_start};
use super::team::{Shared, Worker};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::spectral::layout::Layout;

/// What a recorded rollout keeps for its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checkpoints {
    /// All stages of every step: most memory (`s` states a step), least work.
    Stages,
    /// The state before every step; stages are recomputed.
    Steps,
    /// The state before every `k`-th step; a segment of `k` steps is replayed and its stages kept meanwhile.
    Segments(usize),
    /// The initial state and at most this many others at any time, by binomial checkpointing (Griewank & Walther, ACM
    /// Trans. Math. Softw. 26, 2000): the least recomputation for that memory.
    Binomial(usize),
}

impl Checkpoints {
    /// The policy with the least work whose tape for `steps` steps of states of `state_bytes` stays within `cap_bytes`.
    pub fn within(cap_bytes: usize, state_bytes: usize, stages: usize, steps: usize) -> Self {
        let states = cap_bytes / state_bytes.max(1);
        let segment = (steps as f64).sqrt().round().max(1.0) as usize;
        if stages * steps <= states {
            Self::Stages
        } else if steps <= states {
            Self::Steps
        } else if steps.div_ceil(segment) + stages * segment <= states {
            Self::Segments(segment)
        } else {
            Self::Binomial(states.max(1))
        }
    }
}

/// A recorded rollout.
pub struct Tape<T: Real> {
    policy: Checkpoints,
    steps: usize,
    dt: f64,
    /// Whether the first step had no history (multistep scheme).
    is_first: bool,
    /// Steps that the state had taken before.
    first_step: usize,
    /// Kept states, `[sample][kept]`, each a bundle of state and history.
    states: AVec<T>,
    kept: usize,
    /// Stages `U_1 .. U_{s-1}`, `[sample][step][stage]`.
    stages: AVec<T>,
}

impl<T: Real> Tape<T> {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        (self.states.len() + self.stages.len()) * size_of::<T>()
    }

    /// Recorded steps.
    pub fn steps(&self) -> usize {
        self.steps
    }
}

/// Which gradients [`Stepper::backward`] computes besides that with respect to the initial state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// With respect to the equation's coefficients ([`crate::pde::Pde::parameters`]) and the step.
    pub parameters: bool,
    /// With respect to the steady forcing field.
    pub forcing: bool,
}

/// Gradients of a scalar `J` of a rollout, summed over the batch.
#[derive(Clone)]
pub struct Gradient<T: Real> {
    /// `dJ / dp` for each coefficient, by name; empty if not wanted.
    pub parameters: Vec<(&'static str, f64)>,
    /// `dJ / d dt` at a fixed number of steps; zero if not wanted.
    pub dt: f64,
    /// `dJ / d f(x)` as a physical field, shape `[channel, x, ..]`.
    pub forcing: Option<ArrayD<T>>,
}

/// Everything the reverse sweep of one sample needs.
struct Sweep<'a, T: Real> {
    context: &'a StepContext<'a, T>,
    work: &'a SharedWork<T>,
    worker: &'a Worker<'a>,
    wanted: Wanted,
    nonlinear_parameters: &'a [usize],
    /// Cotangent of the bundle, in and out.
    lambda: Shared<T>,
    /// Sum of `conj(bar) x` for every entry of the table.
    products: Shared<T>,
    /// `sum N_bar`.
    forcing: Shared<T>,
    /// `<N_bar, dN/dp>` for every coefficient, double precision.
    direct: Shared<f64>,
    sample_len: usize,
    is_first: bool,
    first_step: usize,
}

impl<T: Real> Sweep<'_, T> {
    fn state(&self, bundle: Shared<T>) -> Shared<T> {
        bundle.part(0, self.sample_len)
    }

    fn history(&self, bundle: Shared<T>, step: usize) -> Option<(Shared<T>, bool)> {
        (bundle.len() > self.sample_len)
            .then(|| (bundle.part(self.sample_len, self.sample_len), self.is_first && step == 0))
    }

    /// Advances a bundle in place from step `from` to step `to`.
    ///
    /// # Safety
    ///
    /// The team has the bundle and the work memory for itself.
    unsafe fn advance(&self, bundle: Shared<T>, from: usize, to: usize) {
        let u = self.state(bundle);
        for step in from..to {
            let history = self.history(bundle, step);
            // SAFETY: the caller's promise.
            unsafe {
                let SharedWork { u: stages, n, memory, .. } = self.work;
                self.context.step(u, u, history, stages, n, false, memory, self.worker);
                self.context.project_if_due(u, self.first_step + step + 1, self.worker);
            }
        }
    }

    /// Recomputes the stages of `step` from its bundle, then goes back through it.
    ///
    /// # Safety
    ///
    /// As [`Sweep::advance`].
    unsafe fn recompute_and_reverse(&self, bundle: Shared<T>, step: usize) {
        let u = self.state(bundle);
        let stages = &self.work.u;
        // The last row is not needed; `dn[0]` takes it.
        // SAFETY: the caller's promise. A multistep scheme has one stage, `u` itself: nothing to recompute.
        unsafe {
            if !stages.is_empty() {
                let SharedWork { n, dn, memory, .. } = self.work;
                self.context.step(u, dn[0], None, stages, n, true, memory, self.worker);
                self.worker.barrier();
            }
            self.reverse(u, stages, step);
        }
    }

    /// `lambda` of `u+` to `lambda` of `u`, through step `step`.
    ///
    /// # Safety
    ///
    /// As [`Sweep::advance`].
    unsafe fn reverse(&self, u: Shared<T>, stages: &[Shared<T>], step: usize) {
        let Self { context, work, worker, lambda, .. } = self;
        let (rhs, coefficients, s) = (context.rhs, context.coefficients, context.stages);
        let lambda_u = self.state(*lambda);
        let n_bar = work.dn[0];
        if self.wanted.parameters {
            // SAFETY: the caller's promise.
            unsafe { self.accumulate(row_start(s), lambda_u, u) };
        }
        for j in (0..s).rev() {
            rhs.for_each_owned(worker, &mut |offset, len| {
                let piece = |x: Shared<T>| x.part(offset, len);
                let mut terms = Vec::with_capacity(6);
                match self.history(*lambda, step) {
                    Some((lambda_history, is_first)) => {
                        let [_, first] = coefficients.history.as_ref().expect("the multistep scheme has them");
                        let current = if is_first { Some(first) } else { coefficients.get(1, 1) };
                        terms.extend(current.map(|coefficient| Term { coefficient, x: piece(lambda_u) }));
                        terms.push(Term { coefficient: &Coefficient::One, x: piece(lambda_history) });
                    }
                    None => {
                        let rows = (j + 1..s).map(|i| (i, work.du[i - 1])).chain([(s, lambda_u)]);
                        for (i, bar) in rows {
                            terms.extend(coefficients.get(i, j + 1).map(|c| Term { coefficient: c, x: piece(bar) }));
                        }
                    }
                }
                // SAFETY: the piece is this worker's.
                unsafe { rhs.combine(piece(n_bar), offset % coefficients.period, &terms, true) };
                if self.wanted.forcing {
                    let one = &Coefficient::One;
                    let terms = [piece(self.forcing), piece(n_bar)].map(|x| Term { coefficient: one, x });
                    // SAFETY: as above.
                    unsafe { rhs.combine(piece(self.forcing), 0, &terms, false) };
                }
            });
            let input = if j == 0 { u } else { stages[j - 1] };
            if self.wanted.parameters {
                // SAFETY: the caller's promise.
                unsafe {
                    for i in j + 1..=s {
                        let bar = if i == s { lambda_u } else { work.du[i - 1] };
                        self.accumulate(row_start(i) + j + 1, bar, work.n[j]);
                    }
                    self.accumulate_direct(input, n_bar);
                }
            }
            let sink = |offset: usize, bar: Shared<T>| {
                let piece = |x: Shared<T>| x.part(offset, bar.len());
                // SAFETY: the piece is this worker's.
                unsafe {
                    if j > 0 {
                        copy(piece(work.du[j - 1]), bar);
                        return;
                    }
                    if let Some((lambda_history, is_first)) = self.history(*lambda, step) {
                        let [lagged, _] = coefficients.history.as_ref().expect("the multistep scheme has them");
                        let term = [Term { coefficient: lagged, x: piece(lambda_u) }];
                        let count = usize::from(!is_first);
                        if count == 0 {
                            piece(lambda_history).as_mut_slice().fill(T::of(0.0));
                        } else {
                            rhs.combine(piece(lambda_history), offset % coefficients.period, &term, true);
                        }
                    }
                    let mut terms = vec![Term { coefficient: &Coefficient::One, x: bar }];
                    let rows = (1..s).map(|i| (i, work.du[i - 1])).chain([(s, lambda_u)]);
                    for (i, x) in rows {
                        terms.extend(coefficients.get(i, 0).map(|coefficient| Term { coefficient, x: piece(x) }));
                    }
                    rhs.combine(piece(lambda_u), offset % coefficients.period, &terms, true);
                }
            };
            // SAFETY: the caller's promise; the sink writes its piece only.
            unsafe {
                rhs.evaluate(Map::Adjoint, [input, n_bar], &work.memory, worker, &sink);
                if self.wanted.parameters && j > 0 {
                    self.accumulate(row_start(j), work.du[j - 1], u);
                }
            }
        }
        worker.barrier();
    }

    /// Adds `conj(bar) x` to one entry's sum; one worker does it, so that the order does not depend on the team.
    ///
    /// # Safety
    ///
    /// As [`Sweep::advance`].
    unsafe fn accumulate(&self, entry: usize, bar: Shared<T>, x: Shared<T>) {
        self.worker.barrier();
        if self.worker.index == 0 {
            let width = self.context.rhs.layout().width;
            // SAFETY: the other workers wait.
            let (sum, bar, x) = unsafe {
                let sum = self.products.part(entry * self.sample_len, self.sample_len).as_mut_slice();
                (sum, bar.as_slice(), x.as_slice())
            };
            let groups = bar.chunks_exact(2 * width).zip(x.chunks_exact(2 * width));
            for (sum, (bar, x)) in sum.chunks_exact_mut(2 * width).zip(groups) {
                for lane in 0..width {
                    let (a, b, c, d) = (bar[lane], bar[lane + width], x[lane], x[lane + width]);
                    sum[lane] += a * c + b * d;
                    sum[lane + width] += a * d - b * c;
                }
            }
        }
        self.worker.barrier();
    }

    /// Adds `<N_bar, dN/dp>` for the coefficients on which `N` depends.
    ///
    /// # Safety
    ///
    /// As [`Sweep::advance`].
    unsafe fn accumulate_direct(&self, input: Shared<T>, n_bar: Shared<T>) {
        let rhs = self.context.rhs;
        // The first array holds `N_bar`; the last is free and takes dN/dp.
        let derivative = *self.work.dn.last().expect("a scheme has stages");
        for &parameter in self.nonlinear_parameters {
            let sink = |offset: usize, piece: Shared<T>| {
                // SAFETY: the piece is this worker's.
                unsafe { copy(derivative.part(offset, piece.len()), piece) };
            };
            // SAFETY: the caller's promise; the sum is made while the other workers wait.
            unsafe {
                rhs.evaluate(Map::Parameter(parameter), [input, input], &self.work.memory, self.worker, &sink);
                self.worker.barrier();
                if self.worker.index == 0 {
                    let direct = &mut self.direct.as_mut_slice()[parameter];
                    *direct += inner(rhs.layout(), n_bar.as_slice(), derivative.as_slice());
                }
                self.worker.barrier();
            }
        }
    }

    /// Goes back from step `to` to step `from`, given the bundle before step `from`, with `slots` further bundles.
    ///
    /// # Safety
    ///
    /// As [`Sweep::advance`].
    unsafe fn binomial(&self, start: Shared<T>, from: usize, to: usize, slots: &[Shared<T>]) {
        // SAFETY: the caller's promise.
        unsafe {
            match (to - from, slots) {
                (0, _) => {}
                (1, _) => self.recompute_and_reverse(start, from),
                (_, [last]) => {
                    for step in (from..to).rev() {
                        self.copy_bundle(*last, start);
                        self.advance(*last, from, step);
                        self.recompute_and_reverse(*last, step);
                    }
                }
                (length, [slot, rest @ ..]) => {
                    let middle = from + binomial_split(length, slots.len());
                    self.copy_bundle(*slot, start);
                    self.advance(*slot, from, middle);
                    self.binomial(*slot, middle, to, rest);
                    self.binomial(start, from, middle, slots);
                }
                (_, []) => unreachable!("a sweep has at least one slot"),
            }
        }
    }

    /// # Safety
    ///
    /// As [`Sweep::advance`].
    unsafe fn copy_bundle(&self, to: Shared<T>, from: Shared<T>) {
        self.worker.barrier();
        if self.worker.index == 0 {
            // SAFETY: the others wait.
            unsafe { copy(to, from) };
        }
        self.worker.barrier();
    }
}

/// Steps to advance before the next checkpoint: with `c` slots and repetition number `r`, the least with
/// `C(c + r, c) >= n`, the right part gets at most `C(c + r - 1, c - 1)` steps.
fn binomial_split(n: usize, c: usize) -> usize {
    let choose = |n: usize, k: usize| (0..k).fold(1usize, |p, i| p.saturating_mul(n - i) / (i + 1));
    let r = (1..).find(|r| choose(c + r, c) >= n).expect("grows without bound");
    n.saturating_sub(choose(c + r - 1, c - 1)).max(1)
}

impl<T: Real> Stepper<T> {
    /// Advances a state by `steps` steps as [`Stepper::advance`] does, and records what the way back needs.
    ///
    /// # Errors
    ///
    /// [`Error::BlowUp`] if the final state is not finite; [`Error::Parameter`] for a policy of size zero.
    ///
    /// # Panics
    ///
    /// If the state belongs to another layout.
    pub fn record(&mut self, state: &mut State<T>, steps: usize, policy: Checkpoints) -> Result<Tape<T>> {
        self.check(state);
        if matches!(policy, Checkpoints::Segments(0) | Checkpoints::Binomial(0)) {
            return Err(Error::parameter("checkpoints", 0, "must be at least 1"));
        }
        let sample_len = self.layout().sample_len();
        let is_first = self.start_history(state);
        let first_step = state.step;
        let bundle_len = sample_len * if state.history.is_some() { 2 } else { 1 };
        let every = match policy {
            Checkpoints::Stages | Checkpoints::Steps => 1,
            Checkpoints::Segments(k) => k,
            Checkpoints::Binomial(_) => steps.max(1),
        };
        let kept = steps.div_ceil(every);
        let stage_count = if policy == Checkpoints::Stages { self.scheme.stages() - 1 } else { 0 };
        let mut tape = Tape {
            policy,
            steps,
            dt: self.dt,
            is_first,
            first_step,
            states: zeros(self.batch * kept * bundle_len),
            kept,
            stages: zeros(self.batch * steps * stage_count * sample_len),
        };
        let data = Shared::new(&mut state.data);
        let history = state.history.as_mut().map(|h| Shared::new(h));
        let (states, stages) = (Shared::new(&mut tape.states), Shared::new(&mut tape.stages));
        self.for_each_sample(false, |context, work, worker, sample| {
            let u = data.part(sample * sample_len, sample_len);
            let history = history.map(|h| h.part(sample * sample_len, sample_len));
            for step in 0..steps {
                // SAFETY: the team has this sample for itself.
                unsafe {
                    if step % every == 0 && worker.index == 0 {
                        let bundle = states.part((sample * kept + step / every) * bundle_len, bundle_len);
                        copy(bundle.part(0, sample_len), u);
                        if let Some(h) = history {
                            copy(bundle.part(sample_len, sample_len), h);
                        }
                    }
                    worker.barrier();
                    let recorded: Vec<Shared<T>> = (0..stage_count)
                        .map(|i| stages.part(((sample * steps + step) * stage_count + i) * sample_len, sample_len))
                        .collect();
                    let stages = if stage_count > 0 { &recorded } else { &work.u };
                    let history = history.map(|h| (h, is_first && step == 0));
                    context.step(u, u, history, stages, &work.n, false, &work.memory, worker);
                    context.project_if_due(u, first_step + step + 1, worker);
                }
            }
        });
        state.step += steps;
        state.t += steps as f64 * self.dt;
        match state.data.chunks_exact(sample_len).position(|u| !u.iter().all(|x| x.is_finite())) {
            None => Ok(tape),
            Some(sample) => Err(Error::BlowUp { sample, step: state.step, t: state.t }),
        }
    }

    /// Takes the cotangent of the final state, in `lambda`, back to that of the initial state.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the tape was recorded with another step, or if parameter gradients are wanted of the
    /// multistep scheme, which does not offer them.
    ///
    /// # Panics
    ///
    /// If `lambda` belongs to another layout.
    pub fn backward(&mut self, tape: &Tape<T>, lambda: &mut State<T>, wanted: Wanted) -> Result<Gradient<T>> {
        self.backward_with(tape, lambda, wanted, &[], |_, _| {})
    }

    /// As [`Stepper::backward`] for an objective that also depends on the states after the steps in `at` (ascending,
    /// `0 ..= steps`): `add(step, lambda)` is called on the way back and adds the partial derivative at that step.
    ///
    /// # Errors
    ///
    /// As [`Stepper::backward`].
    ///
    /// # Panics
    ///
    /// As [`Stepper::backward`], or if `at` does not ascend.
    pub fn backward_with(
        &mut self,
        tape: &Tape<T>,
        lambda: &mut State<T>,
        wanted: Wanted,
        at: &[usize],
        mut add: impl FnMut(usize, &mut State<T>),
    ) -> Result<Gradient<T>> {
        self.check(lambda);
        assert!(at.is_sorted() && at.last().is_none_or(|&s| s <= tape.steps), "steps must ascend up to {}", tape.steps);
        if tape.dt != self.dt {
            return Err(Error::parameter(
                "dt",
                self.dt,
                format!("must be {}, with which the tape was recorded", tape.dt),
            ));
        }
        if wanted.parameters && self.scheme == Scheme::CnAb2 {
            return Err(Error::parameter("scheme", "cnab2", "offers no parameter gradients; use a one-step scheme"));
        }
        if self.coefficients.history.is_some() && lambda.history.is_none() {
            lambda.history = Some(zeros(lambda.data.len()));
        }
        let parameters = self.symbols.parameters();
        // Per sample: gradients of the coefficients, then of the step.
        let mut scalars = vec![0.0; self.batch * (parameters.len() + 1)];
        let mut forcing = zeros(if wanted.forcing { self.batch * self.layout().sample_len() } else { 0 });
        let tables = wanted.parameters.then(|| self.derivative_tables());
        let mut to = tape.steps;
        for &step in at.iter().rev() {
            self.reverse_range(tape, lambda, wanted, step, to, tables.as_deref(), &mut scalars, &mut forcing);
            add(step, lambda);
            to = step;
        }
        self.reverse_range(tape, lambda, wanted, 0, to, tables.as_deref(), &mut scalars, &mut forcing);
        lambda.history = None;
        let points = self.layout().grid.points() as f64;
        let total = |p: usize| points * scalars.chunks_exact(parameters.len() + 1).map(|s| s[p]).sum::<f64>();
        Ok(Gradient {
            parameters: if wanted.parameters {
                parameters.iter().enumerate().map(|(p, name)| (*name, total(p))).collect()
            } else {
                Vec::new()
            },
            dt: if wanted.parameters { total(parameters.len()) } else { 0.0 },
            forcing: wanted.forcing.then(|| self.sum_of_samples(forcing)),
        })
    }

    /// State whose spectrum is that of a physical gradient field `g`, `dJ = sum_x g du`; shape as in [`Stepper::load`].
    ///
    /// # Errors
    ///
    /// As [`Stepper::load`].
    pub fn load_cotangent(&self, g: ArrayViewD<'_, T>) -> Result<State<T>> {
        self.load(g)
    }

    /// Physical gradient field of a cotangent, shape `[batch, channel, x, ..]`.
    pub fn store_cotangent(&self, lambda: &State<T>) -> ArrayD<T> {
        self.store(lambda)
    }

    #[allow(clippy::too_many_arguments)]
    fn reverse_range(
        &mut self,
        tape: &Tape<T>,
        lambda: &mut State<T>,
        wanted: Wanted,
        from: usize,
        to: usize,
        tables: Option<&DerivativeTables>,
        scalars: &mut [f64],
        forcing: &mut AVec<T>,
    ) {
        if from == to {
            return;
        }
        let sample_len = self.layout().sample_len();
        let bundle_len = sample_len * if lambda.history.is_some() { 2 } else { 1 };
        let stages = self.scheme.stages();
        let parameters = self.symbols.parameters().len();
        let nonlinear: Vec<usize> = (0..parameters).filter(|&p| self.symbols.tendency_depends_on(p)).collect();
        let slots = match tape.policy {
            Checkpoints::Stages | Checkpoints::Steps => 1,
            Checkpoints::Segments(k) => k.max(2),
            Checkpoints::Binomial(c) => c + 1,
        };
        let entries = if wanted.parameters { row_start(stages + 1) } else { 0 };
        // Of each team: the cotangent bundle, replay slots, sums of products; and of each sample the direct sums.
        let team_len = (1 + slots) * bundle_len + entries * sample_len;
        let mut team_memory = zeros::<T>(self.teams.work.len() * team_len);
        let mut direct = vec![0.0; self.batch * parameters];
        let (team_memory, direct) = (Shared::new(&mut team_memory), Shared::new(&mut direct));
        let data = Shared::new(&mut lambda.data);
        let history = lambda.history.as_mut().map(|h| Shared::new(h));
        let (states, recorded) = (Shared::read_only(&tape.states), Shared::read_only(&tape.stages));
        let (forcing, scalars) = (Shared::new(forcing), Shared::new(scalars));
        let every = match tape.policy {
            Checkpoints::Stages | Checkpoints::Steps => 1,
            Checkpoints::Segments(k) => k,
            Checkpoints::Binomial(_) => tape.steps,
        };
        self.for_each_sample(true, |context, work, worker, sample| {
            let own = team_memory.part(work.team * team_len, team_len);
            let part = |x: Shared<T>| x.part(sample * sample_len, sample_len);
            let bundle = own.part(0, bundle_len);
            let slots: Vec<Shared<T>> = (1..=slots).map(|i| own.part(i * bundle_len, bundle_len)).collect();
            let sweep = Sweep {
                context,
                work,
                worker,
                wanted,
                nonlinear_parameters: &nonlinear,
                lambda: bundle,
                products: own.part((1 + slots.len()) * bundle_len, entries * sample_len),
                forcing: if wanted.forcing { part(forcing) } else { forcing },
                direct: direct.part(sample * parameters, parameters),
                sample_len,
                is_first: tape.is_first,
                first_step: tape.first_step,
            };
            let kept = |index: usize| states.part((sample * tape.kept + index) * bundle_len, bundle_len);
            // SAFETY: the team has this sample and its memory for itself; the tape is only read.
            unsafe {
                if worker.index == 0 {
                    copy(bundle.part(0, sample_len), part(data));
                    if let Some(h) = history {
                        copy(bundle.part(sample_len, sample_len), part(h));
                    }
                    sweep.products.as_mut_slice().fill(T::of(0.0));
                }
                worker.barrier();
                let mut end = to;
                while end > from {
                    let index = (end - 1) / every;
                    let start = (index * every).max(from);
                    if tape.policy == Checkpoints::Stages && !wanted.parameters {
                        let step = start;
                        let stages: Vec<Shared<T>> = (0..stages - 1)
                            .map(|i| ((sample * tape.steps + step) * (stages - 1) + i) * sample_len)
                            .map(|at| recorded.part(at, sample_len))
                            .collect();
                        sweep.reverse(kept(index).part(0, sample_len), &stages, step);
                    } else if every == 1 {
                        sweep.copy_bundle(slots[0], kept(index));
                        sweep.recompute_and_reverse(slots[0], start);
                    } else if matches!(tape.policy, Checkpoints::Segments(_)) {
                        // Replay: the state before every step of the segment.
                        sweep.copy_bundle(slots[0], kept(index));
                        sweep.advance(slots[0], index * every, start);
                        for (i, step) in (start + 1..end).enumerate() {
                            sweep.copy_bundle(slots[i + 1], slots[i]);
                            sweep.advance(slots[i + 1], step - 1, step);
                        }
                        for step in (start..end).rev() {
                            sweep.recompute_and_reverse(slots[step - start], step);
                        }
                    } else {
                        sweep.copy_bundle(slots[0], kept(index));
                        sweep.advance(slots[0], 0, start);
                        sweep.binomial(slots[0], start, end, &slots[1..]);
                    }
                    end = start;
                }
                worker.barrier();
                if worker.index == 0 {
                    copy(part(data), bundle.part(0, sample_len));
                    if let Some(h) = history {
                        copy(part(h), bundle.part(sample_len, sample_len));
                    }
                    if let Some(tables) = tables {
                        let scalars = scalars.part(sample * (parameters + 1), parameters + 1).as_mut_slice();
                        tables.contract(context.rhs.layout(), sweep.products.as_slice(), scalars);
                        for (scalar, direct) in scalars.iter_mut().zip(sweep.direct.as_slice()) {
                            *scalar += direct;
                        }
                    }
                }
            }
        });
    }

    fn sum_of_samples(&self, forcing: AVec<T>) -> ArrayD<T> {
        let sample_len = self.layout().sample_len();
        let mut sum = self.zeros();
        for sample in forcing.chunks_exact(sample_len) {
            sum.data[..sample_len].iter_mut().zip(sample).for_each(|(s, x)| *s += *x);
        }
        self.store_cotangent(&sum).index_axis_move(ndarray::Axis(0), 0)
    }

    /// Derivatives of every table entry with respect to every coefficient and the step, for every lane.
    fn derivative_tables(&self) -> Box<DerivativeTables> {
        let layout = self.layout();
        let parameters = self.symbols.parameters().len();
        let entries = row_start(self.scheme.stages() + 1);
        let lanes = layout.groups() * layout.width;
        let mut values = vec![Complex64::default(); layout.channels * lanes * entries * (parameters + 1)];
        for channel in 0..layout.channels {
            layout.for_each_mode(|offset, m| {
                let k = layout.wavenumber(m);
                let l = self.symbols.linear_symbol(channel, k);
                let (value, slope) = derivatives(self.scheme, l * self.dt);
                let lane = channel * lanes + lane_of(layout, offset);
                for entry in 0..entries {
                    // c = g(z) for entries of u, h g(z) for those of N.
                    let (power, own) =
                        if is_propagator(entry) { (1.0, Complex64::default()) } else { (self.dt, value[entry]) };
                    let at = (lane * entries + entry) * (parameters + 1);
                    for p in 0..parameters {
                        let dl = self.symbols.linear_symbol_derivative(p, channel, k);
                        values[at + p] = slope[entry] * dl * (power * self.dt);
                    }
                    values[at + parameters] = own + slope[entry] * l * power;
                }
            });
        }
        Box::new(DerivativeTables { values, entries, columns: parameters + 1 })
    }
}

/// See [`Stepper::derivative_tables`]: `[channel][lane][entry][coefficients.., step]`.
struct DerivativeTables {
    values: Vec<Complex64>,
    entries: usize,
    columns: usize,
}

impl DerivativeTables {
    /// `scalars += sum over entries and modes of Re(dc conj(bar) x)`, full spectrum.
    fn contract(&self, layout: &Layout, products: &[impl Real], scalars: &mut [f64]) {
        let lanes = layout.groups() * layout.width;
        for channel in 0..layout.channels {
            layout.for_each_mode(|offset, m| {
                let weight = if m[layout.outer_axes()] == 0 { 1.0 } else { 2.0 };
                let lane = channel * lanes + lane_of(layout, offset);
                for entry in 0..self.entries {
                    let at = entry * layout.sample_len() + channel * layout.channel_len() + offset;
                    let product = Complex64::new(products[at].as_f64(), products[at + layout.width].as_f64());
                    let row = &self.values[(lane * self.entries + entry) * self.columns..][..self.columns];
                    for (scalar, dc) in scalars.iter_mut().zip(row) {
                        *scalar += weight * (dc * product).re;
                    }
                }
            });
        }
    }
}

#[cfg(test)]
mod tests;
