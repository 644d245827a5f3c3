//! What a two-dimensional experiment is made of.

use std::path::{Path, PathBuf};

use parseval::optim::{OptimizerConfig, Schedule as Rates};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::run::training::Schedule;
use parseval::stencil::files::{Files, Source};
use parseval::stencil::plane::data::{Reference, expected};
use parseval::stencil::plane::training::{GradientMode, Stage, unroll};
use parseval::stencil::plane::{CorrectionConfig, Flow, Kolmogorov, ModelConfig};
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[
    Choice { section: "model", key: "kind" },
    Choice { section: "optimizer", key: "kind" },
    Choice { section: "rate", key: "kind" },
];

/// Values that may differ when a run is resumed: they do not change what is computed. Models of another kind have other
/// keys; runs from before there were kinds lack it.
pub const MAY_CHANGE: &[&str] =
    &["data.path", "data.source.files", "training.log_every", "training.keep", "evaluate", "model.kind"];

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
    pub model: Model,
    pub unroll: Unroll,
    #[serde(default)]
    pub optimizer: OptimizerConfig,
    pub rate: Rates,
    pub training: Schedule,
    #[serde(default)]
    pub evaluate: Evaluate,
}

/// `[model]`, of the kind `interpolation` if that is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// Learned interpolation in the finite-volume solver, from the present or from the past.
    Interpolation(ModelConfig),
    /// A coarse solver that a network corrects.
    Correction(CorrectionConfig),
}

impl Model {
    /// Time of a step; that of the data for learned interpolation.
    pub fn dt(&self, data: &Data) -> f64 {
        match self {
            Self::Interpolation(_) => data.dt,
            Self::Correction(c) => c.interval,
        }
    }

    /// Frames of the data in a step.
    pub fn stride(&self, data: &Data) -> usize {
        (self.dt(data) / data.dt).round() as usize
    }

    /// States that a rollout begins with.
    pub fn window(&self) -> usize {
        match self {
            Self::Interpolation(m) => m.history.map_or(1, |h| h.window),
            Self::Correction(_) => 1,
        }
    }
}

/// `[data]`: trajectories, made by `temporal_stencil data`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// File that `temporal_stencil data` makes.
    pub path: PathBuf,
    /// Files of the flow on a finer grid. With them `reference`, `test_reference` and `seed` are not used, other flows
    /// apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
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
    /// Other flows that the trained models are tested on.
    pub flows: Vec<OtherFlow>,
}

/// `[[evaluate.flows]]`: a flow that was not trained on. What is left out is as in the training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtherFlow {
    /// Name in the tables and of the file with its trajectories, which lies beside that of the training.
    pub name: String,
    #[serde(default)]
    pub nu: Option<f64>,
    #[serde(default)]
    pub drag: Option<f64>,
    /// Amplitude of the forcing; 0 lets the flow decay.
    #[serde(default)]
    pub forcing: Option<f64>,
    /// The box is so many times as long, with so many times as many cells, points of all spectral solvers, and waves of
    /// the forcing.
    #[serde(default = "one")]
    pub boxes: usize,
    /// Solver of the truth, before its points are multiplied by `boxes`.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// Files of the truth, whose samples from `starts[2]` on are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Trajectories.
    #[serde(default)]
    pub test: Option<usize>,
    /// Length of each.
    #[serde(default)]
    pub time: Option<f64>,
    /// Seed of the first.
    #[serde(default = "thousand")]
    pub seed: u64,
}

fn one() -> usize {
    1
}

fn thousand() -> u64 {
    1000
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
            flows: Vec::new(),
        }
    }
}

impl Config {
    /// Reads a file and overrides values, `section.key=value` each.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut table = Table::load(path)?;
        if !names_kind(path)? {
            table.set("model.kind=interpolation")?;
        }
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

    /// The files of the trajectories, if these are not made from seeds.
    pub fn files(&self) -> Result<Option<Files>> {
        let open = |source| Files::open(source, &expected(&self.flow, self.data.dt));
        self.data.source.as_ref().map(open).transpose()
    }

    /// Frames of a training trajectory.
    pub fn frames(&self) -> usize {
        (self.data.time / self.data.dt).round() as usize + 1
    }

    /// Frames of a trajectory of a validation or test, which begins with the past.
    pub fn long(&self) -> usize {
        self.frames() + self.data.past - 1
    }

    /// Trajectories for validation that are kept: of seeds at least one, on which the seeds of the test rest.
    pub fn valid(&self) -> usize {
        if self.data.source.is_some() { self.data.valid } else { self.data.valid.max(1) }
    }

    /// The configuration of a test on another flow: its data have no other part.
    pub fn on(&self, other: &OtherFlow) -> Result<Self> {
        let mut config = self.clone();
        let Self { flow, data, evaluate, .. } = &mut config;
        let boxes = other.boxes;
        flow.length *= boxes as f64;
        flow.nu = other.nu.unwrap_or(flow.nu);
        flow.drag = other.drag.unwrap_or(flow.drag);
        let amplitude = other.forcing.or(flow.forcing.map(|f| f.amplitude)).unwrap_or(0.0);
        let forcing = flow.forcing.or(Flow::default().forcing).filter(|_| amplitude != 0.0);
        flow.forcing = forcing.map(|f| Kolmogorov { amplitude, mode: f.mode * boxes, ..f });
        let stem = data.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        data.path.set_file_name(format!("{stem}_{}.safetensors", other.name));
        data.n *= boxes;
        (data.train, data.valid) = (0, 0);
        data.test = other.test.unwrap_or(data.test);
        data.time = other.time.unwrap_or(data.time);
        data.seed = other.seed;
        data.source = other.source.clone();
        data.reference = other.reference.unwrap_or(*self.test_reference());
        data.reference.n *= boxes;
        data.test_reference = None;
        let rows = [&mut evaluate.spectral, &mut evaluate.insertion, &mut evaluate.volumes];
        rows.into_iter().flatten().for_each(|[n, _]| *n *= boxes);
        match (boxes, data.test) {
            (0, _) => Err(Error::parameter("evaluate.flows.boxes", boxes, "must be >= 1")),
            (_, 0) => Err(Error::parameter("evaluate.flows.test", data.test, "must be >= 1")),
            _ => Ok(config),
        }
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
        let (dt, stride) = (self.model.dt(&self.data), self.model.stride(&self.data));
        if !(stride >= 1 && (stride as f64 * self.data.dt / dt - 1.0).abs() < 1e-9) {
            let rule = format!("must be a multiple of the time between frames {}", self.data.dt);
            return Err(Error::parameter("model.interval", dt, rule));
        }
        let window = self.model.window();
        if window > self.data.past {
            let rule = format!("must be at most the stored past of {} frames", self.data.past);
            return Err(Error::parameter("model.history.window", window, rule));
        }
        let longest = self.unroll.curriculum.iter().map(|s| s.unroll).max().unwrap_or(0);
        if (window + longest - 1) * stride + 1 > self.frames() {
            let rule = format!("must fit, {stride} frames a step, with the window of {window} into {}", self.frames());
            return Err(Error::parameter("unroll.curriculum", longest, rule));
        }
        for (i, flow) in self.evaluate.flows.iter().enumerate() {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if flow.name.is_empty() || !flow.name.chars().all(plain) {
                let rule = "must be a name of letters, digits, - and _";
                return Err(Error::parameter("evaluate.flows.name", &flow.name, rule));
            }
            if self.evaluate.flows[..i].iter().any(|f| f.name == flow.name) {
                return Err(Error::parameter("evaluate.flows.name", &flow.name, "must be given once"));
            }
            self.on(flow)?;
        }
        if self.unroll.noise.is_nan() || self.unroll.noise < 0.0 {
            return Err(Error::parameter("unroll.noise", self.unroll.noise, "must be >= 0"));
        }
        Ok(())
    }
}

/// Whether a file says which kind of model it has.
fn names_kind(path: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let table: Option<toml::Table> = text.parse().ok();
    Ok(table.is_some_and(|t| t.get("model").is_some_and(|model| model.get("kind").is_some())))
}
