//! What an experiment is made of.

use std::path::{Path, PathBuf};

use parseval::linsolve::{CycleOptions, TrainerOptions};
use parseval::optim::Schedule as Rates;
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::run::training::Schedule;
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[Choice { section: "rate", key: "kind" }];

/// A configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the experiment, also of its folder.
    pub name: String,
    #[serde(default)]
    pub network: TrainerOptions,
    /// Parameters that the network begins with, a `model.safetensors`.
    #[serde(default)]
    pub start: Option<PathBuf>,
    pub rate: Rates,
    pub training: Schedule,
    #[serde(default)]
    pub cycle: CycleOptions,
    /// Generations of the cycle's training.
    #[serde(default = "generations")]
    pub generations: Schedule,
    #[serde(default)]
    pub validate: Validate,
    #[serde(default)]
    pub compare: Compare,
    #[serde(default)]
    pub plume: Plume,
}

fn generations() -> Schedule {
    Schedule { steps: 150, log_every: 5, validate_every: 10, checkpoint_every: 10, keep: 2 }
}

/// `[validate]`: solves during the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validate {
    /// Scenes that are not trained on.
    pub scenes: u64,
    /// Iterations after which a solve is given up.
    pub limit: usize,
}

impl Default for Validate {
    fn default() -> Self {
        Self { scenes: 3, limit: 100 }
    }
}

/// `[compare]`: rows of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compare {
    /// Cells along each axis.
    pub sizes: Vec<usize>,
    /// Scenes by name; all if empty.
    pub scenes: Vec<String>,
    /// Random free surfaces with obstacles that no training saw, besides.
    pub held_out: u64,
    /// Files of flags, `.npy` or HDF5: 0 solid, 1 fluid, 2 air.
    pub flags: Vec<PathBuf>,
    /// Data set of the flags in HDF5 files.
    pub dataset: String,
    /// What is beyond the sides of the flags.
    pub walls: Sides,
    /// Solvers by name; all if empty.
    pub solvers: Vec<String>,
    /// Relative residual at which solves stop.
    pub tolerance: f64,
    /// Most iterations of the published loop, which may stall.
    pub published_limit: usize,
    /// Repeated solves, of which the fastest counts.
    pub repeat: usize,
}

/// What is beyond the sides of a grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sides {
    Closed,
    Open,
    OpenTop,
}

impl Default for Compare {
    fn default() -> Self {
        Self {
            sizes: vec![32],
            scenes: Vec::new(),
            held_out: 0,
            flags: Vec::new(),
            dataset: "flags".into(),
            walls: Sides::OpenTop,
            solvers: Vec::new(),
            tolerance: 1e-8,
            published_limit: 100,
            repeat: 3,
        }
    }
}

/// `[plume]`: the running simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plume {
    /// Cells along each axis, two or three; the last axis points up.
    pub shape: Vec<usize>,
    /// Time steps.
    pub steps: usize,
    /// Length of a step over that in which the fastest parcel crosses a cell.
    pub courant: f64,
    /// Relative residual of the pressure solves.
    pub tolerance: f64,
    /// Solver of the pressure.
    pub solver: String,
    /// Steps from one frame of the animation to the next.
    pub frame_every: usize,
    /// Radius of the solid sphere over the width; 0 for none.
    pub sphere: f64,
}

impl Default for Plume {
    fn default() -> Self {
        Self {
            shape: vec![64, 96],
            steps: 200,
            courant: 2.0,
            tolerance: 1e-6,
            solver: "multigrid".into(),
            frame_every: 4,
            sphere: 0.12,
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

    fn check(&self) -> Result<()> {
        self.rate.validate()?;
        for (name, value) in [
            ("compare.repeat", self.compare.repeat),
            ("plume.steps", self.plume.steps),
            ("plume.frame_every", self.plume.frame_every),
            ("validate.limit", self.validate.limit),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        for (name, value) in [
            ("compare.tolerance", self.compare.tolerance),
            ("plume.tolerance", self.plume.tolerance),
            ("plume.courant", self.plume.courant),
        ] {
            if !(value > 0.0 && value.is_finite()) {
                return Err(Error::parameter(name, value, "must be > 0 and finite"));
            }
        }
        if !(0.0..0.4).contains(&self.plume.sphere) {
            return Err(Error::parameter("plume.sphere", self.plume.sphere, "must be in [0, 0.4)"));
        }
        if !(2..=3).contains(&self.plume.shape.len()) || self.plume.shape.iter().any(|n| *n < 8) {
            let rule = "must be two or three numbers of at least 8 cells";
            return Err(Error::parameter("plume.shape", format!("{:?}", self.plume.shape), rule));
        }
        Ok(())
    }
}
