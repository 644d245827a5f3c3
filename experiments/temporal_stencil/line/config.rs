//! Configurations of one-dimensional cases.

use std::path::Path;

use parseval::optim::{OptimizerConfig, Schedule as Rates};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::run::training::Schedule;
use parseval::stencil::files::{Files, Source};
use parseval::stencil::line::data::expected;
use parseval::stencil::line::reference::Recipe;
use parseval::stencil::line::{Equation, Flux, Gradient, ModelConfig};
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[Choice { section: "optimizer", key: "kind" }, Choice { section: "rate", key: "kind" }];

/// Values that may differ when a run is resumed: they do not change what is computed.
pub const MAY_CHANGE: &[&str] = &["training.log_every", "training.keep", "evaluate", "data.test", "data.source.files"];

/// A configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `line`.
    pub case: String,
    /// Name of the experiment, also of its folder.
    pub name: String,
    pub equation: Equation,
    pub scheme: Scheme,
    #[serde(default)]
    pub model: ModelConfig,
    pub data: Data,
    #[serde(default)]
    pub loss: Loss,
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    pub rate: Rates,
    pub training: Schedule,
    #[serde(default)]
    pub evaluate: Evaluate,
}

/// `[scheme]`: the coarse grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// Cells.
    pub cells: usize,
    /// Step, and time between the frames of the data.
    pub dt: f64,
}

/// `[data]`: trajectories of the spectral solver, from seeds, or of files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Files of trajectories. With them `warm_up`, `cut` and `amplitude` are not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Points of the reference. With files, theirs.
    #[serde(default)]
    pub points: usize,
    /// Steps of the spectral solver within one step of the scheme.
    pub steps: usize,
    /// Time left out at the start.
    #[serde(default)]
    pub warm_up: f64,
    /// Highest mode of the random start.
    #[serde(default)]
    pub cut: usize,
    /// Largest absolute value of the start.
    #[serde(default)]
    pub amplitude: f64,
    /// Trajectories trained on, and their length in time.
    pub train: usize,
    pub train_time: f64,
    /// Trajectories by which the best checkpoint is chosen.
    #[serde(default)]
    pub valid: usize,
    /// Trajectories tested on.
    pub test: usize,
    /// Time of a test, also of a validation.
    pub test_time: f64,
}

/// `[loss]`: mean square error over an unrolled rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loss {
    /// Trajectories in a batch.
    pub batch: usize,
    /// `[part of the training, steps]`: how many steps are unrolled up to there.
    pub unroll: Vec<(f64, usize)>,
    /// How far gradients flow.
    pub gradient: Gradient,
    /// Standard deviation of the noise on the frames shown, in units of the field.
    pub noise: f64,
    /// Longest gradient that is not shortened; 0 for no limit.
    pub clip: f64,
    /// Decay of the averaged parameters, which are the ones that are kept; 0 for the last ones.
    pub average: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { batch: 32, unroll: vec![(1.0, 8)], gradient: Gradient::Full, noise: 0.0, clip: 1.0, average: 0.0 }
    }
}

/// `[evaluate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Cells of finite volumes without learning.
    pub finite_volume: Vec<usize>,
    /// Their flux.
    pub flux: Flux,
    /// Their step at the coarsest grid; halved with each doubling of the cells if the flux is limited.
    pub finite_volume_dt: f64,
    /// Points of pseudo-spectral solvers.
    pub pseudo_spectral: Vec<usize>,
    /// Their steps, largest first: the first whose durations are within 3 % of those of the next counts.
    pub pseudo_spectral_dt: Vec<f64>,
    /// Windows of truth insertion, time.
    pub windows: Vec<f64>,
    /// Time between insertions.
    pub insert_every: f64,
    /// Time of the long run.
    pub long: f64,
    /// Resamples of the bootstrap.
    pub resamples: usize,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            finite_volume: Vec::new(),
            flux: Flux::Central,
            finite_volume_dt: 0.05,
            pseudo_spectral: Vec::new(),
            pseudo_spectral_dt: vec![0.5, 0.25, 0.125, 0.0625, 0.03125],
            windows: Vec::new(),
            insert_every: 1.0,
            long: 0.0,
            resamples: 10_000,
        }
    }
}

impl Config {
    /// Reads a file and overrides values, `section.key=value` each.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut table = Table::load(path)?;
        for assignment in overrides {
            table.set(assignment)?;
        }
        let mut config: Self = table.read(CHOICES)?;
        if let Some(files) = config.files()? {
            config.data.points = files.points();
        }
        config.check()?;
        Ok(config)
    }

    /// The files of the trajectories, if these are not made from seeds.
    pub fn files(&self) -> Result<Option<Files>> {
        let open = |source| Files::open(source, &expected(&self.equation, self.scheme.dt));
        self.data.source.as_ref().map(open).transpose()
    }

    /// The configuration with all values that were left out.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self, CHOICES)
    }

    /// Frames before the first that is predicted: the window of the model.
    pub fn lead(&self) -> usize {
        self.model.past * self.model.spacing
    }

    /// Steps of the scheme in a time.
    pub fn frames(&self, time: f64) -> usize {
        (time / self.scheme.dt).round() as usize
    }

    /// How the reference is made.
    pub fn recipe(&self) -> Recipe {
        let Data { points, steps, warm_up, cut, amplitude, .. } = self.data;
        Recipe { points, steps, dt: self.scheme.dt, warm_up, cut, amplitude }
    }

    /// Steps unrolled at a step of the training.
    pub fn unroll(&self, step: u64) -> usize {
        let part = step as f64 / self.training.steps.max(1) as f64;
        let stage = self.loss.unroll.iter().find(|(until, _)| part < *until);
        stage.or(self.loss.unroll.last()).map_or(1, |s| s.1)
    }

    fn check(&self) -> Result<()> {
        self.rate.validate()?;
        self.equation.validate()?;
        for (name, value) in [
            ("scheme.cells", self.scheme.cells),
            ("data.train", self.data.train),
            ("data.test", self.data.test),
            ("data.steps", self.data.steps),
            ("data.cut", if self.data.source.is_some() { 1 } else { self.data.cut }),
            ("loss.batch", self.loss.batch),
            ("loss.unroll", self.loss.unroll.len()),
            ("the least of loss.unroll", self.loss.unroll.iter().map(|u| u.1).min().unwrap_or(0)),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        if self.data.points < 2 * self.scheme.cells {
            let rule = format!("must be at least twice scheme.cells = {}", self.scheme.cells);
            return Err(Error::parameter("data.points", self.data.points, rule));
        }
        let frames = (self.data.train_time / self.scheme.dt) as usize;
        let most = self.loss.unroll.iter().map(|u| u.1).max().unwrap_or(0);
        if frames < self.lead() + 1 + most {
            let rule =
                format!("must hold the window of the model and the longest unroll: {} steps", self.lead() + 1 + most);
            return Err(Error::parameter("data.train_time", self.data.train_time, rule));
        }
        Ok(())
    }
}
