//! What an experiment is made of.

use std::path::Path;

use clap::ValueEnum;
use parseval::pinn::lagrangian::{Descent, LagrangianMarching, Method, Motion, Paths};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::run::training::Schedule;
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::problem::Case;

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] =
    &[Choice { section: "problem", key: "kind" }, Choice { section: "march.method", key: "kind" }];

/// Values that may differ when a run is resumed: they do not change what is computed.
pub const MAY_CHANGE: &[&str] = &["evaluate", "landscape", "log_every", "checkpoint_every"];

/// The forms of the equation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Form {
    /// At rest: the usual network.
    Eulerian,
    /// In a frame at the known speed.
    Frame,
    /// In a frame whose motion is trained.
    TrainedFrame,
    /// Along paths of their own, exactly.
    Paths,
    /// Along characteristics, the published form.
    Published,
}

impl Form {
    /// Name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Eulerian => "eulerian",
            Self::Frame => "frame",
            Self::TrainedFrame => "trained_frame",
            Self::Paths => "paths",
            Self::Published => "published",
        }
    }
}

/// A configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the experiment, also of its folder.
    pub name: String,
    /// Forms of the equation that are compared.
    pub methods: Vec<Form>,
    /// Steps from one logged residual to the next.
    #[serde(default = "one")]
    pub log_every: u64,
    /// Steps from one checkpoint to the next.
    #[serde(default = "fifty")]
    pub checkpoint_every: u64,
    pub problem: Case,
    #[serde(default)]
    pub march: LagrangianMarching,
    /// The network of the paths.
    #[serde(default)]
    pub paths: Paths,
    /// Degree of the trained motion of a frame.
    #[serde(default = "two")]
    pub degree: usize,
    #[serde(default)]
    pub published: Published,
    #[serde(default)]
    pub evaluate: Evaluate,
    #[serde(default)]
    pub landscape: Landscape,
}

fn one() -> u64 {
    1
}

fn two() -> usize {
    2
}

fn fifty() -> u64 {
    50
}

/// `[published]`: how the published form is trained, on one window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Published {
    /// Collocation points.
    pub points: usize,
    /// Steps of Adam.
    pub adam: usize,
    /// Rate of Adam at first.
    pub rate: f64,
    /// Steps of L-BFGS, ten iterations each.
    pub lbfgs: usize,
}

impl Default for Published {
    fn default() -> Self {
        Self { points: 1024, adam: 2000, rate: 1e-2, lbfgs: 100 }
    }
}

/// `[evaluate]`: where errors are measured, and rows of the spectral solver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {
    /// Points of the comparison.
    pub points: usize,
    /// Intervals of time of the comparison.
    pub times: usize,
    /// Points and step of the reference.
    pub reference: (usize, f64),
    /// Points and steps of solvers beside it.
    pub solvers: Vec<(usize, f64)>,
}

impl Default for Evaluate {
    fn default() -> Self {
        Self { points: 64, times: 20, reference: (512, 2.5e-4), solvers: vec![(64, 1e-2), (128, 2e-3)] }
    }
}

/// `[landscape]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Landscape {
    /// Points along each direction.
    pub points: usize,
    /// Largest step along each direction, in units of the length of the parameters.
    pub reach: f64,
}

impl Default for Landscape {
    fn default() -> Self {
        Self { points: 40, reach: 0.05 }
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
        self.march.validate()?;
        self.problem.check()?;
        for (name, value) in [
            ("methods", self.methods.len()),
            ("degree", self.degree),
            ("published.points", self.published.points),
            ("published.adam", self.published.adam),
            ("evaluate.points", self.evaluate.points),
            ("evaluate.times", self.evaluate.times),
            ("landscape.points", self.landscape.points),
        ] {
            if value == 0 {
                return Err(Error::parameter(name, value, "must be >= 1"));
            }
        }
        Ok(())
    }

    /// The motion of a form.
    pub fn motion(&self, form: Form) -> Motion {
        let speed = self.problem.frame();
        match form {
            Form::Eulerian => Motion::at_rest(),
            Form::Frame => Motion::frame(speed, 0),
            Form::TrainedFrame => Motion::frame(0.0, self.degree),
            Form::Paths => Motion::paths(speed, self.paths),
            Form::Published => Motion::published(self.paths),
        }
    }

    /// The marching of a form.
    pub fn marching(&self, form: Form) -> LagrangianMarching {
        let Published { points, adam, rate, lbfgs } = self.published;
        match form {
            Form::Published => LagrangianMarching {
                ends: self.march.ends.last().copied().into_iter().collect(),
                points,
                steps: adam + lbfgs,
                redraw: 0,
                method: Method::Descent(Descent { adam, rate }),
                ..self.march.clone()
            },
            _ => self.march.clone(),
        }
    }

    /// The loop around a training.
    pub fn schedule(&self, form: Form) -> Schedule {
        let march = self.marching(form);
        Schedule {
            steps: (march.steps * march.ends.len()) as u64,
            log_every: self.log_every,
            validate_every: 0,
            checkpoint_every: self.checkpoint_every,
            keep: 1,
        }
    }
}
