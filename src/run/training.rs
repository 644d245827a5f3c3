//! The loop around every training: metrics, progress, validation, checkpoints, signals, limits.
//!
//! A method implements [`Train`]; [`train`] runs it in a [`RunDirectory`]. If there is a checkpoint, it goes on from it.
//!
//! # Resuming to the bit
//!
//! A run that was stopped, by a signal, a limit or a kill, and resumed on the same machine ends in the same bits as one
//! that never stopped, if the method keeps two promises: [`Train::step`] depends only on what [`Train::save`] gives and
//! on the number of the step, and [`Train::validate`] changes nothing. Random numbers then come from
//! [`stream(seed, name, step)`](super::seed::stream), and windows of data from
//! [`Loader::stream(step)`](crate::data::loader::Loader::stream).
//!
//! # Example
//!
//! ```
//! use parseval::run::checkpoint::{Checkpoint, Snapshot};
//! use parseval::run::tensor_file::Tensor;
//! use parseval::run::training::{Options, Scalars, Schedule, Train, train};
//! use parseval::run::{Interrupt, RunDirectory};
//!
//! /// Gradient descent on `x² / 2`.
//! struct Descent(f64);
//!
//! impl Train for Descent {
//!     fn name(&self) -> &str {
//!         "descent"
//!     }
//!     fn step(&mut self, _step: u64) -> parseval::Result<Scalars> {
//!         self.0 -= 0.1 * self.0;
//!         Ok(vec![("loss".into(), self.0 * self.0 / 2.0)])
//!     }
//!     fn save(&self) -> Snapshot {
//!         let model = [("x".to_owned(), Tensor::vector(vec![self.0]))].into();
//!         Snapshot { model, ..Snapshot::default() }
//!     }
//!     fn restore(&mut self, checkpoint: &Checkpoint) -> parseval::Result<()> {
//!         self.0 = checkpoint.model.get("x", &[1])?[0];
//!         Ok(())
//!     }
//! }
//!
//! let dir = tempfile::tempdir()?;
//! let run = RunDirectory::open(&dir.path().join("run"), "rate = 0.1", &[])?;
//! let schedule = Schedule { steps: 100, ..Schedule::default() };
//! let options = Options { quiet: true, ..Options::default() };
//! let summary = train(&mut Descent(1.0), &run, &schedule, &options, &Interrupt::default())?;
//! assert_eq!(summary.step, 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use toml::{Table, Value};

use super::checkpoint::{Checkpoint, Checkpoints, Snapshot};
use super::directory::RunDirectory;
use super::exit::Printer;
use super::metrics::{self, MetricLog, Record};
use super::progress::Progress;
use super::signal::Interrupt;
use super::{files, table};
use crate::error::{Error, Result};

/// Numbers by name.
pub type Scalars = Vec<(Cow<'static, str>, f64)>;

/// What a method gives to be trained.
pub trait Train {
    /// Name of the model in checkpoints, e.g. `"fno"`.
    fn name(&self) -> &str;

    /// Makes step `step`, counted from 0, and gives its losses.
    ///
    /// # Errors
    ///
    /// Whatever ends the training; the last checkpoint stays.
    fn step(&mut self, step: u64) -> Result<Scalars>;

    /// Errors on data that are not trained on, after `step` steps; none by default.
    ///
    /// # Errors
    ///
    /// Whatever ends the training.
    fn validate(&mut self, _step: u64) -> Result<Scalars> {
        Ok(Scalars::new())
    }

    /// Everything that [`Train::step`] depends on.
    fn save(&self) -> Snapshot;

    /// Becomes what was saved.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] if the checkpoint does not fit, as [`TensorFile::get`](super::tensor_file::TensorFile::get)
    /// gives it.
    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()>;

    /// What is known when a loss is not finite, such as the name and size of the largest gradient.
    fn diagnose(&self) -> String {
        String::new()
    }
}

/// How long, and how often what; a section of a configuration. Numbers of steps; 0 means never, but for `steps`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Steps in all, those before a resume included.
    pub steps: u64,
    /// From one logged loss to the next.
    pub log_every: u64,
    /// From one validation to the next; there is one after the last step in any case.
    pub validate_every: u64,
    /// From one checkpoint to the next; there is one after the last step in any case.
    pub checkpoint_every: u64,
    /// Newest checkpoints that are kept.
    pub keep: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { steps: 1000, log_every: 10, validate_every: 100, checkpoint_every: 500, keep: 2 }
    }
}

/// What does not belong to the configuration of a run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Name of the validation error by which the best checkpoint is chosen, the smaller the better; the first one if
    /// absent.
    pub best: Option<String>,
    /// Time after which the training stops and saves.
    pub max_wall: Option<Duration>,
    /// Command that continues the run; by default the program with `--resume` and the folder.
    pub continue_with: Option<String>,
    /// No progress on standard error.
    pub quiet: bool,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// All steps are made.
    Finished,
    /// The time is up.
    WallLimit,
}

/// The best checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Finished steps.
    pub step: u64,
    /// Validation error.
    pub value: f64,
}

/// How a training ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Why.
    pub stop: Stop,
    /// Finished steps.
    pub step: u64,
    /// Steps that were asked for.
    pub steps: u64,
    /// Seconds in all sessions.
    pub seconds: f64,
    /// The checkpoint with the smallest validation error.
    pub best: Option<Best>,
    /// Last value of every metric, `split/name`.
    pub metrics: Vec<(String, f64)>,
}

impl Summary {
    fn json(&self) -> Json {
        let number = |value: f64| table::Cell::Number(value).json();
        let metrics: Map<String, Json> = self.metrics.iter().map(|(name, v)| (name.clone(), number(*v))).collect();
        json!({
            "stop": self.stop,
            "step": self.step,
            "steps": self.steps,
            "seconds": self.seconds,
            "best": self.best,
            "metrics": metrics,
        })
    }
}

/// Trains a method in the folder of a run, from its latest checkpoint if there is one, and writes `metrics.jsonl`,
/// checkpoints and `summary.json`.
///
/// A signal lets the step finish, saves, tells on standard error how to go on, and gives [`Error::Interrupted`].
///
/// # Errors
///
/// [`Error::Interrupted`]; [`Error::NotFinite`] naming loss, step and [`Train::diagnose`] when a loss is NaN or infinite,
/// the state being kept under `checkpoints/failed-STEP`; those of the method; [`Error::Io`] and [`Error::Format`] of the
/// files.
pub fn train<M: Train + ?Sized>(
    method: &mut M,
    run: &RunDirectory,
    schedule: &Schedule,
    options: &Options,
    interrupt: &Interrupt,
) -> Result<Summary> {
    let checkpoints = run.checkpoints(method.name(), schedule.keep)?;
    let mut session = Session::begin(method, run, checkpoints, schedule, options)?;
    let stop = session.work(method, interrupt);
    session.progress.finish();
    session.end(run, stop?)
}

/// Why the loop was left.
enum Leave {
    Stop(Stop),
    Interrupted,
}

/// One process at work on a run.
struct Session<'a> {
    schedule: &'a Schedule,
    options: &'a Options,
    checkpoints: Checkpoints,
    log: MetricLog,
    progress: Progress,
    started: Instant,
    /// Seconds of earlier sessions.
    seconds_before: f64,
    /// Finished steps.
    done: u64,
    best: Option<Best>,
    /// When the losses were last shown.
    shown: Option<Instant>,
    /// Last validation errors, as shown.
    validation: String,
}

impl<'a> Session<'a> {
    fn begin<M: Train + ?Sized>(
        method: &mut M,
        run: &RunDirectory,
        checkpoints: Checkpoints,
        schedule: &'a Schedule,
        options: &'a Options,
    ) -> Result<Self> {
        let (mut done, mut seconds_before, mut best) = (0, 0.0, None);
        if let Some(checkpoint) = checkpoints.latest()? {
            method.restore(&checkpoint)?;
            done = checkpoint.step;
            let bad = |e: toml::de::Error| {
                Error::format(
                    checkpoints.path(checkpoint.step).join("state.toml"),
                    format!("[training]: {}", e.message()),
                )
            };
            let state: Kept = Value::Table(checkpoint.training.clone()).try_into().map_err(bad)?;
            (seconds_before, best) = (state.seconds, state.best);
        }
        let progress = Progress::new(schedule.steps, "steps", options.quiet);
        progress.begin_at(done);
        Ok(Self {
            schedule,
            options,
            checkpoints,
            log: MetricLog::open(&run.metrics(), done)?,
            progress,
            started: Instant::now(),
            seconds_before,
            done,
            best,
            shown: None,
            validation: String::new(),
        })
    }

    fn seconds(&self) -> f64 {
        self.seconds_before + self.started.elapsed().as_secs_f64()
    }

    fn work<M: Train + ?Sized>(&mut self, method: &mut M, interrupt: &Interrupt) -> Result<Leave> {
        while self.done < self.schedule.steps {
            let is_late = self.options.max_wall.is_some_and(|limit| self.started.elapsed() >= limit);
            if interrupt.is_set() || is_late {
                self.save(method, false)?;
                return Ok(if interrupt.is_set() { Leave::Interrupted } else { Leave::Stop(Stop::WallLimit) });
            }
            let losses = method.step(self.done)?;
            self.done += 1;
            if let Some((name, value)) = losses.iter().find(|(_, value)| !value.is_finite()) {
                return Err(self.not_finite(method, name, *value));
            }
            self.progress.advance(1);
            self.show(&losses);
            let is_last = self.done == self.schedule.steps;
            if is_last || is_due(self.done, self.schedule.log_every) {
                self.write("train", &losses)?;
            }
            let mut is_best = false;
            if is_last || is_due(self.done, self.schedule.validate_every) {
                let errors = method.validate(self.done)?;
                self.write("valid", &errors)?;
                is_best = self.compare(&errors)?;
                self.validation = in_words(&errors);
            }
            if is_last || is_best || is_due(self.done, self.schedule.checkpoint_every) {
                self.save(method, is_best)?;
            }
        }
        Ok(Leave::Stop(Stop::Finished))
    }

    fn end(mut self, run: &RunDirectory, leave: Leave) -> Result<Summary> {
        self.log.sync()?;
        let explain = |reason: &str| {
            let hint = match &self.options.continue_with {
                Some(command) => command.clone(),
                None => resume_command(run.path()),
            };
            Printer.note(format_args!(
                "{reason}: step {} of {} is saved in {}; continue with: {hint}",
                self.done,
                self.schedule.steps,
                run.path().display()
            ));
        };
        let stop = match leave {
            Leave::Interrupted => {
                explain("interrupted");
                return Err(Error::Interrupted {
                    done: self.done as usize,
                    total: self.schedule.steps as usize,
                    unit: "steps",
                });
            }
            Leave::Stop(Stop::WallLimit) => {
                explain("time is up");
                Stop::WallLimit
            }
            Leave::Stop(stop) => stop,
        };
        let summary = Summary {
            stop,
            step: self.done,
            steps: self.schedule.steps,
            seconds: self.seconds(),
            metrics: metrics::last_values(&metrics::read(&run.metrics())?),
            best: self.best,
        };
        files::replace(&run.path().join("summary.json"), format!("{:#}\n", summary.json()).as_bytes())?;
        Ok(summary)
    }

    fn write(&mut self, split: &str, values: &Scalars) -> Result<()> {
        let seconds = self.seconds();
        values
            .iter()
            .try_for_each(|(name, value)| self.log.write(&Record::new(self.done, seconds, split, name, *value)))
    }

    /// Whether these validation errors are the best so far. NaN never is.
    fn compare(&mut self, errors: &Scalars) -> Result<bool> {
        let entry = match &self.options.best {
            None => errors.first(),
            Some(name) => Some(errors.iter().find(|(n, _)| n == name).ok_or_else(|| {
                let known: Vec<&str> = errors.iter().map(|(n, _)| &**n).collect();
                Error::parameter("best", name, format!("must be one of the validation errors: {}", known.join(", ")))
            })?),
        };
        let Some(&(_, value)) = entry else { return Ok(false) };
        let is_best = !value.is_nan() && self.best.as_ref().is_none_or(|best| value < best.value);
        if is_best {
            self.best = Some(Best { step: self.done, value });
        }
        Ok(is_best)
    }

    fn save<M: Train + ?Sized>(&mut self, method: &M, is_best: bool) -> Result<()> {
        // What the checkpoint looks back on must be on disk before it.
        self.log.sync()?;
        self.checkpoints.save(self.done, method.save(), self.kept()?, is_best)
    }

    fn kept(&self) -> Result<Table> {
        let kept = Kept { seconds: self.seconds(), best: self.best.clone() };
        Table::try_from(kept).map_err(|e| Error::parameter("state of the training", e, "must be writable as TOML"))
    }

    /// The error for a loss that is not finite, once the state is saved beside the checkpoints.
    fn not_finite<M: Train + ?Sized>(&self, method: &M, name: &str, value: f64) -> Error {
        let saved = self.kept().and_then(|kept| self.checkpoints.save_failed(self.done, method.save(), kept));
        let saved = match saved {
            Ok(folder) => format!("this state is in {}, the last good one in `latest` beside it", folder.display()),
            Err(error) => format!("this state could not be saved ({error})"),
        };
        let cause = method.diagnose();
        let detail = if cause.is_empty() { saved } else { format!("{cause}; {saved}") };
        Error::NotFinite { what: format!("loss \"{name}\""), value, step: self.done, detail }
    }

    /// Shows losses beside the bar, a few times a second.
    fn show(&mut self, losses: &Scalars) {
        const PERIOD: Duration = Duration::from_millis(200);
        if !self.options.quiet && self.shown.is_none_or(|shown| shown.elapsed() >= PERIOD) {
            self.shown = Some(Instant::now());
            self.progress.message(format!("{}  {}", in_words(losses), self.validation).trim_end().to_owned());
        }
    }
}

/// What the loop keeps in a checkpoint about itself.
#[derive(Serialize, Deserialize)]
struct Kept {
    seconds: f64,
    best: Option<Best>,
}

fn is_due(done: u64, every: u64) -> bool {
    every > 0 && done.is_multiple_of(every)
}

fn in_words(values: &Scalars) -> String {
    let words = values.iter().map(|(name, value)| format!("{name} {}", table::significant(*value, 3)));
    words.collect::<Vec<_>>().join("  ")
}

/// The command that goes on with the run in a folder: this program with `--resume`.
pub fn resume_command(path: &Path) -> String {
    let program = std::env::args_os().next().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let path = path.display().to_string();
    let is_plain = path.chars().all(|c| c.is_alphanumeric() || "/\\._-:".contains(c));
    if is_plain { format!("{program} --resume {path}") } else { format!("{program} --resume '{path}'") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::seed::stream;
    use crate::run::tensor_file::Tensor;
    use rand::{Rng, RngExt};
    use sha2::{Digest, Sha256};

    const CONFIG: &str = "[model]\nsize = 5\n";

    /// Stochastic gradient descent with momentum on `|theta|² / 2` with random noise, single and double precision mixed.
    struct Descent {
        theta: Vec<f64>,
        momentum: Vec<f32>,
        draws: u64,
        /// Number of a step at which the process is killed.
        kill: Option<u64>,
        /// Number of a step at which the user asks to stop.
        stop: Option<(u64, Interrupt)>,
        nan: Option<u64>,
    }

    impl Descent {
        fn new() -> Self {
            Self { theta: vec![1.0; 5], momentum: vec![0.0; 5], draws: 0, kill: None, stop: None, nan: None }
        }
    }

    impl Train for Descent {
        fn name(&self) -> &str {
            "descent"
        }

        fn step(&mut self, step: u64) -> Result<Scalars> {
            if self.kill == Some(step) {
                return Err(Error::parameter("process", step, "killed"));
            }
            if let Some((at, interrupt)) = &self.stop
                && *at == step
            {
                interrupt.set();
            }
            let mut rng = stream(3, "noise", step);
            for (theta, momentum) in self.theta.iter_mut().zip(&mut self.momentum) {
                *momentum = 0.9 * *momentum + (*theta + 0.1 * rng.random::<f64>()) as f32;
                *theta -= 0.01 * f64::from(*momentum);
            }
            self.draws = self.draws.wrapping_add(rng.next_u64());
            let loss = self.theta.iter().map(|v| v * v / 2.0).sum();
            Ok(vec![("loss".into(), if self.nan == Some(step) { f64::NAN } else { loss })])
        }

        fn validate(&mut self, step: u64) -> Result<Scalars> {
            // Not monotone: the best is somewhere in between.
            Ok(vec![("error".into(), (step as f64 - 33.0).abs()), ("other".into(), 1.0)])
        }

        fn save(&self) -> Snapshot {
            Snapshot {
                model: [("theta".to_owned(), Tensor::vector(self.theta.clone()))].into(),
                optimizer: [
                    ("momentum".to_owned(), Tensor::vector(self.momentum.clone())),
                    ("draws".to_owned(), Tensor::vector(vec![self.draws])),
                ]
                .into(),
                state: Table::new(),
            }
        }

        fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
            self.theta.copy_from_slice(checkpoint.model.get("theta", &[5])?);
            self.momentum.copy_from_slice(checkpoint.optimizer.get("momentum", &[5])?);
            self.draws = checkpoint.optimizer.get("draws", &[1])?[0];
            Ok(())
        }

        fn diagnose(&self) -> String {
            "largest gradient is theta[2] = 1e300".to_owned()
        }
    }

    fn schedule(steps: u64) -> Schedule {
        Schedule { steps, log_every: 3, validate_every: 15, checkpoint_every: 16, keep: 2 }
    }

    fn go(path: &Path, method: &mut Descent, steps: u64, interrupt: &Interrupt) -> Result<Summary> {
        let run = RunDirectory::open(path, CONFIG, &[])?;
        train(method, &run, &schedule(steps), &Options { quiet: true, ..Options::default() }, interrupt)
    }

    /// Everything that a run leaves and that does not depend on the clock.
    fn left(path: &Path) -> String {
        let records = metrics::read(&path.join("metrics.jsonl")).unwrap();
        let lines = records.iter().map(|r| format!("{} {} {} {:x}\n", r.step, r.split, r.name, r.value.to_bits()));
        let mut out: String = lines.collect();
        for pointer in ["latest", "best"] {
            let name = std::fs::read_to_string(path.join("checkpoints").join(pointer)).unwrap();
            let folder = path.join("checkpoints").join(&name);
            for file in ["model", "optimizer"] {
                let bytes = std::fs::read(folder.join(file).with_extension("safetensors")).unwrap();
                out += &format!("{name} {file} {:x}\n", Sha256::digest(bytes));
            }
        }
        out
    }

    fn uninterrupted(path: &Path) -> (String, Summary) {
        let summary = go(path, &mut Descent::new(), 60, &Interrupt::default()).unwrap();
        (left(path), summary)
    }

    #[test]
    fn a_run_stopped_at_random_steps_ends_in_the_same_bits() {
        let dir = tempfile::tempdir().unwrap();
        let (expected, summary) = uninterrupted(&dir.path().join("whole"));
        assert_eq!((summary.step, summary.stop), (60, Stop::Finished));
        assert_eq!(summary.best, Some(Best { step: 30, value: 3.0 }));
        for trial in 0..2 {
            let path = dir.path().join(format!("stopped-{trial}"));
            let mut rng = stream(trial, "stops", 0);
            let mut sessions = 0;
            loop {
                let mut method = Descent::new();
                let interrupt = Interrupt::default();
                // A session ends after this step, if it has not passed it yet.
                let at = rng.random_range(0..60);
                method.stop = Some((at, interrupt.clone()));
                sessions += 1;
                match go(&path, &mut method, 60, &interrupt) {
                    Ok(summary) => break assert_eq!(summary.step, 60),
                    Err(Error::Interrupted { done, total: 60, unit: "steps" }) => assert_eq!(done as u64, at + 1),
                    Err(other) => panic!("{other}"),
                }
            }
            assert_eq!(left(&path), expected, "{sessions} sessions");
        }
    }

    #[test]
    fn a_run_killed_at_random_steps_ends_in_the_same_bits() {
        let dir = tempfile::tempdir().unwrap();
        let (expected, _) = uninterrupted(&dir.path().join("whole"));
        for trial in 0..2 {
            let path = dir.path().join(format!("killed-{trial}"));
            let mut rng = stream(trial, "kills", 0);
            for at in std::iter::repeat_with(|| rng.random_range(0..60)).take(4).collect::<Vec<u64>>() {
                let mut method = Descent::new();
                method.kill = Some(at);
                let _ = go(&path, &mut method, 60, &Interrupt::default());
                // What a kill in the middle of a write leaves: a torn line and half a checkpoint.
                let log = path.join("metrics.jsonl");
                let mut bytes = std::fs::read(&log).unwrap();
                bytes.extend(&b"{\"step\":7,\"seco"[..rng.random_range(0..15)]);
                std::fs::write(&log, bytes).unwrap();
                let half = path.join("checkpoints").join(format!(".step-{:08}.tmp", rng.random_range(0..60)));
                std::fs::create_dir_all(&half).unwrap();
                std::fs::write(half.join("model.safetensors"), b"half").unwrap();
            }
            go(&path, &mut Descent::new(), 60, &Interrupt::default()).unwrap();
            assert_eq!(left(&path), expected);
        }
    }

    #[test]
    fn twenty_steps_are_ten_and_ten_more() {
        let dir = tempfile::tempdir().unwrap();
        let [once, twice] = ["once", "twice"].map(|name| dir.path().join(name));
        let interrupt = Interrupt::default();
        let mut whole = Descent::new();
        go(&once, &mut whole, 20, &interrupt).unwrap();
        go(&twice, &mut Descent::new(), 10, &interrupt).unwrap();
        let mut second = Descent::new();
        go(&twice, &mut second, 20, &interrupt).unwrap();
        assert_eq!(whole.save(), second.save());
        // A finished run has nothing left to do and says the same again.
        let mut third = Descent::new();
        let summary = go(&twice, &mut third, 20, &interrupt).unwrap();
        assert_eq!((third.save(), summary.step), (whole.save(), 20));
        assert_eq!(
            summary.metrics.iter().map(|(n, _)| &**n).collect::<Vec<_>>(),
            ["train/loss", "valid/error", "valid/other"]
        );
        let text = std::fs::read_to_string(twice.join("summary.json")).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["stop"], &json["step"]), (&json!("finished"), &json!(20)));
        assert_eq!(json["metrics"]["valid/error"], 13.0);
    }

    #[test]
    fn a_loss_that_is_not_finite_names_step_and_cause_and_keeps_the_last_good_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let mut method = Descent { nan: Some(17), ..Descent::new() };
        let error = go(&path, &mut method, 60, &Interrupt::default()).unwrap_err();
        let message = error.to_string();
        let expected = "loss \"loss\" is NaN at step 18; largest gradient is theta[2] = 1e300; this state is in ";
        assert!(message.starts_with(expected), "{message}");
        assert!(!error.is_bad_input());
        let failed = path.join("checkpoints/failed-00000018");
        assert!(message.contains(&failed.display().to_string()));
        assert_eq!(Checkpoint::read(&failed).unwrap().step, 18);
        // It goes on from the last good checkpoint, step 16, and not from NaN.
        let run = RunDirectory::resume(&path, CONFIG, &[]).unwrap();
        assert_eq!(run.checkpoints("descent", 2).unwrap().latest().unwrap().unwrap().step, 16);
    }

    #[test]
    fn the_wall_limit_stops_and_saves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let run = RunDirectory::create(&path, CONFIG, &[]).unwrap();
        let options = Options { quiet: true, max_wall: Some(Duration::ZERO), ..Options::default() };
        let summary = train(&mut Descent::new(), &run, &schedule(60), &options, &Interrupt::default()).unwrap();
        assert_eq!((summary.stop, summary.step), (Stop::WallLimit, 0));
        drop(run);
        let mut method = Descent::new();
        go(&path, &mut method, 60, &Interrupt::default()).unwrap();
        let mut whole = Descent::new();
        go(&dir.path().join("whole"), &mut whole, 60, &Interrupt::default()).unwrap();
        assert_eq!(method.save(), whole.save());
    }

    #[test]
    fn an_unknown_name_for_the_best_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&dir.path().join("run"), CONFIG, &[]).unwrap();
        let options = Options { quiet: true, best: Some("eror".into()), ..Options::default() };
        let error = train(&mut Descent::new(), &run, &schedule(10), &options, &Interrupt::default()).unwrap_err();
        let expected = "best = eror is not allowed: must be one of the validation errors: error, other";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn the_command_to_go_on_names_program_and_folder() {
        assert!(resume_command(Path::new("runs/a")).ends_with(" --resume runs/a"));
        assert!(resume_command(Path::new("my runs/a")).ends_with(" --resume 'my runs/a'"));
    }
}
