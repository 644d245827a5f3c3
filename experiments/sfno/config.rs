//! What an experiment is made of.

use std::path::{Path, PathBuf};

use parseval::operator::Model;
use parseval::optim::{OptimizerConfig, Schedule as Rates};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::run::training::Schedule;
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[
    Choice { section: "model", key: "kind" },
    Choice { section: "optimizer", key: "kind" },
    Choice { section: "rate", key: "kind" },
];

/// Values that may differ when a run is resumed: they do not change what is computed.
pub const MAY_CHANGE: &[&str] = &["data.path", "training.log_every", "training.keep", "evaluate", "refine"];

/// A configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the experiment, also of its folder.
    pub name: String,
    pub data: Data,
    pub model: Model,
    #[serde(default)]
    pub loss: Loss,
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    pub rate: Rates,
    pub training: Schedule,
    #[serde(default)]
    pub evaluate: Evaluate,
    #[serde(default)]
    pub refine: Refine,
}

/// `[data]`: a file, and which of its samples and frames are used for what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// File: Well+, PDEBench, MATLAB v7.3.
    pub path: PathBuf,
    /// Field.
    #[serde(default = "vorticity")]
    pub field: String,
    /// The first samples, trained on.
    pub train: usize,
    /// The last samples, tested on.
    pub test: usize,
    /// Samples before those of the test, by which the best checkpoint is chosen.
    #[serde(default)]
    pub valid: usize,
    /// Frames shown.
    #[serde(default = "ten")]
    pub input_frames: usize,
    /// Frames predicted.
    #[serde(default = "ten")]
    pub output_frames: usize,
    /// First frames of the windows of validation and test.
    #[serde(default = "starts")]
    pub test_starts: Vec<usize>,
    /// Windows in a batch.
    #[serde(default = "four")]
    pub batch: usize,
    /// Directions in grid points, such as `[1, -1]`, along which a shift of the flow is a flow: training windows are shifted
    /// by random multiples of each.
    #[serde(default)]
    pub shifts: Vec<[i64; 2]>,
    /// Whether the field is a velocity, whose predictions shall have no divergence.
    #[serde(default)]
    pub divergence_free: bool,
}

fn vorticity() -> String {
    "vorticity".to_owned()
}

fn ten() -> usize {
    10
}

fn four() -> usize {
    4
}

fn starts() -> Vec<usize> {
    vec![0, 30, 60]
}

/// `[loss]`: mean relative error in the Sobolev norm with weight `(alpha + |k|^2)^order`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loss {
    /// Order of the norm; 0 is L2.
    pub order: f64,
    /// Shift of the weight.
    pub alpha: f64,
    /// Longest gradient that is not shortened; 0 for no limit.
    pub clip: f64,
}

impl Default for Loss {
    fn default() -> Self {
        Self { order: 1.0, alpha: 0.1, clip: 0.0 }
    }
}

/// `[evaluate]`: rows of the classical solver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Points along x; the stored grid, and half of it, if empty.
    pub resolutions: Vec<usize>,
    /// Steps; the time between frames, and halves of it, if empty.
    pub dts: Vec<f64>,
    /// Repeated timings, of which the median counts.
    pub repeat: usize,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self { resolutions: Vec::new(), dts: Vec::new(), repeat: 5 }
    }
}

/// `[refine]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refine {
    /// Relative L2 error that is good enough.
    pub tolerance: f64,
    /// Solver steps between two frames of a Newton sweep.
    pub steps: usize,
    /// Newton sweeps at most.
    pub sweeps: usize,
    /// Iterations of the published fine-tuning, and of the one by the coupled residual.
    pub iterations: usize,
    /// Windows of the test that are refined; 0 for all.
    pub windows: usize,
}

impl Default for Refine {
    fn default() -> Self {
        Self { tolerance: 1e-4, steps: 2, sweeps: 3, iterations: 50, windows: 0 }
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

    fn check(&self) -> Result<()> {
        self.rate.validate()?;
        for (name, value) in [
            ("data.train", self.data.train),
            ("data.test", self.data.test),
            ("data.input_frames", self.data.input_frames),
            ("data.output_frames", self.data.output_frames),
            ("data.batch", self.data.batch),
            ("data.test_starts", self.data.test_starts.len()),
            ("evaluate.repeat", self.evaluate.repeat),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        if self.loss.clip < 0.0 {
            return Err(Error::parameter("loss.clip", self.loss.clip, "must be >= 0"));
        }
        Ok(())
    }
}
