//! What a two-dimensional experiment is made of.

use std::path::{Path, PathBuf};

use parseval::optim::{OptimizerConfig, Schedule as Rates};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::run::training::Schedule;
use parseval::stencil::plane::data::Reference;
use parseval::stencil::plane::training::{GradientMode, Stage, unroll};
use parseval::stencil::plane::{Flow, ModelConfig};
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[Choice { section: "optimizer", key: "kind" }, Choice { section: "rate", key: "kind" }];

/// Values that may differ when a run is resumed: they do not change what is computed.
pub const MAY_CHANGE: &[&str] = &["data.path", "training.log_every", "training.keep", "evaluate"];

/// A configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `plane`.
    pub case: String,
    /// Name of the experiment, also of its folder.
    pub name: String,
    #[serde(default)]
    pub flow: Flow,
    pub data: Data,
    #[serde(default)]
    pub model: ModelConfig,
    pub unroll: Unroll,
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    pub rate: Rates,
    pub training: Schedule,
    #[serde(default)]
    pub evaluate: Evaluate,
}

/// `[data]`: trajectories, made by `temporal_stencil data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// File.
    pub path: PathBuf,
    /// Cells along an axis.
    pub n: usize,
    /// Solver step, and time between frames.
    pub dt: f64,
    /// Trajectories that are trained on, validated on, tested on.
    pub train: usize,
    pub valid: usize,
    pub test: usize,
    /// Length of each, in units of time.
    pub time: f64,
    /// Frames before the start of a test that a model may see.
    #[serde(default = "window")]
    pub past: usize,
    /// Solver of the training data.
    #[serde(default)]
    pub reference: Reference,
    /// Solver of the test data; that of the training data if left out.
    #[serde(default)]
    pub test_reference: Option<Reference>,
    /// Seed of the first training trajectory; those of validation and test follow.
    #[serde(default)]
    pub seed: u64,
}

fn window() -> usize {
    32
}

/// `[unroll]`: what one training step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unroll {
    /// Windows in a batch.
    pub batch: usize,
    /// Unrolled steps over the course of the training.
    pub curriculum: Vec<Stage>,
    /// How far derivatives go back.
    #[serde(default)]
    pub gradient: GradientMode,
    /// Longest gradient that is not shortened.
    pub clip: f64,
    /// Whether windows are moved by random symmetries of the flow.
    #[serde(default = "yes")]
    pub augment: bool,
    /// Standard deviation of noise added to the frames before the present.
    #[serde(default)]
    pub noise: f64,
}

fn yes() -> bool {
    true
}

/// `[evaluate]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Points of the spectral rows, each with its steps a time unit.
    pub spectral: Vec<[usize; 2]>,
    /// Points of the spectral rows that are corrected by the truth over the past of the test.
    pub insertion: Vec<[usize; 2]>,
    /// Cells of the finite-volume rows beside that of the model, each with its steps a time unit.
    pub volumes: Vec<[usize; 2]>,
    /// Time between compared frames.
    pub spacing: f64,
    /// Resampled sets of the bootstrap.
    pub resamples: usize,
    /// Length of the free run for stability; 0 for none.
    pub long: f64,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self {
            spectral: vec![[32, 20], [48, 30], [64, 40]],
            insertion: vec![[64, 40], [96, 60]],
            volumes: Vec::new(),
            spacing: 0.1,
            resamples: 10_000,
            long: 0.0,
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
        let config: Self = table.read(CHOICES)?;
        config.check()?;
        Ok(config)
    }

    /// The configuration with all values that were left out.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self, CHOICES)
    }

    /// Solver of the test data.
    pub fn test_reference(&self) -> &Reference {
        self.data.test_reference.as_ref().unwrap_or(&self.data.reference)
    }

    /// Frames of a training trajectory.
    pub fn frames(&self) -> usize {
        (self.data.time / self.data.dt).round() as usize + 1
    }

    fn check(&self) -> Result<()> {
        self.rate.validate()?;
        unroll(&self.unroll.curriculum, 0, 1)?;
        for (name, value) in [
            ("data.train", self.data.train),
            ("data.test", self.data.test),
            ("unroll.batch", self.unroll.batch),
            ("data.past", self.data.past),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        let window = self.model.history.map_or(1, |h| h.window);
        if window > self.data.past {
            let rule = format!("must be at most the stored past of {} frames", self.data.past);
            return Err(Error::parameter("model.history.window", window, rule));
        }
        let longest = self.unroll.curriculum.iter().map(|s| s.unroll).max().unwrap_or(0);
        if window + longest > self.frames() {
            let rule = format!("must fit, with the window of {window}, into {} frames", self.frames());
            return Err(Error::parameter("unroll.curriculum", longest, rule));
        }
        if self.unroll.noise.is_nan() || self.unroll.noise < 0.0 {
            return Err(Error::parameter("unroll.noise", self.unroll.noise, "must be >= 0"));
        }
        Ok(())
    }
}
