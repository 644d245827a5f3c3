//! A recipe that was found sound, and how one of its samples is computed.

use std::path::Path;

use ndarray::{ArrayD, Axis, Slice};

use super::equation::{Equation, WithPde};
use super::initial::Source;
use super::recipe::Recipe;
use crate::data::well::{FieldSpec, Header, Provenance};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::Pde;
use crate::run::{Environment, seed};
use crate::spectral::{Derivatives, Resample};
use crate::stepper::{self, Stepper};

/// Largest relative departure of `save_every / dt` and the like from a whole number: round-off of decimal fractions.
const WHOLE: f64 = 1e-9;

/// Bytes of a sample at most; it is held in memory until it is written.
const SAMPLE_BYTES: f64 = 128e9;

/// A recipe with everything checked and nothing computed.
pub struct Simulation {
    recipe: Recipe,
    resolved: String,
    grid: Grid,
    source: Source,
    identity: Identity,
    steps: Steps,
}

/// What the equation says about itself.
struct Identity {
    id: &'static str,
    equation: String,
    /// Channels of the state.
    channels: Vec<&'static str>,
    /// Channels of the file.
    stored: Vec<&'static str>,
}

/// The time axis in steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Steps {
    pub warmup: usize,
    pub per_frame: usize,
    /// Stored frames besides the first.
    pub frames: usize,
}

/// The frames of one sample.
pub struct Trajectory {
    /// Each field of the file, `[T, x, .., component]`, row-major.
    pub fields: Vec<Vec<f64>>,
    /// State of the first frame on the solver's grid, `[channel, x, ..]`.
    pub start: ArrayD<f64>,
}

struct Describe;

impl WithPde for Describe {
    type Output = Identity;
    fn call<P: Pde>(self, pde: P) -> Identity {
        let channels = pde.channel_names();
        Identity { id: pde.id(), equation: pde.equation(), stored: channels.clone(), channels }
    }
}

struct Plan<'a> {
    grid: &'a Grid,
    recipe: &'a Recipe,
    dt: f64,
    threads: usize,
}

impl WithPde for Plan<'_> {
    type Output = Result<Stepper<f64>>;
    fn call<P: Pde>(self, pde: P) -> Self::Output {
        let options = stepper::Options { threads: self.threads, ..stepper::Options::default() };
        Stepper::plan(&pde, self.grid, self.recipe.time.scheme, self.dt, &options)
    }
}

impl Simulation {
    /// Checks a recipe; `folder` is where its relative paths start.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] or [`Error::Shape`] naming the key, its value and the rule; what reading an initial file
    /// may give.
    pub fn new(recipe: Recipe, folder: &Path) -> Result<Self> {
        let grid = recipe.grid.build()?;
        let mut identity = recipe.equation.with(&grid, Describe)?;
        if recipe.output.velocity {
            if !matches!(recipe.equation, Equation::NavierStokes2d { .. }) {
                let rule = format!("must be false for the equation {}, whose state is no vorticity", identity.id);
                return Err(Error::parameter("output.velocity", true, rule));
            }
            identity.stored = vec!["velocity_x", "velocity_y"];
        }
        if recipe.dataset.samples == 0 {
            return Err(Error::parameter("dataset.samples", 0, "must be at least 1"));
        }
        let name = &recipe.dataset.name;
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            let rule = "must be letters, digits and _ - . (it is also the name of the file)";
            return Err(Error::parameter("dataset.name", format!("{name:?}"), rule));
        }
        let steps = steps(&recipe)?;
        let numbers = |frames: usize| {
            identity.stored.len() as f64 * frames as f64 * grid.shape().iter().map(|&n| n as f64).product::<f64>()
        };
        for (name, frames) in [("grid.n", 1), ("time.t_end", steps.frames)] {
            let bytes = 8.0 * numbers(frames);
            if bytes > SAMPLE_BYTES {
                let rule = format!("gives samples of {:.0} GB; store fewer frames or points", bytes / 1e9);
                let value = if frames == 1 { format!("{:?}", grid.shape()) } else { recipe.time.t_end.to_string() };
                return Err(Error::parameter(name, value, rule));
            }
        }
        let stride = recipe.output.stride;
        if let Some(n) = grid.shape().iter().find(|&&n| stride == 0 || n % stride != 0 || n / stride < 4) {
            let rule = format!("must divide the {n} points of each axis and leave at least 4");
            return Err(Error::parameter("output.stride", stride, rule));
        }
        let state: Vec<usize> = std::iter::once(identity.channels.len()).chain(grid.shape().iter().copied()).collect();
        let source = recipe.initial.open(folder, recipe.dataset.samples, &state)?;
        let resolved = recipe.to_toml()?;
        let simulation = Self { recipe, resolved, grid, source, identity, steps };
        // Draws the first state and plans nothing: wrong arguments show before any work, large grids cost little.
        simulation.initial(0)?;
        Ok(simulation)
    }

    /// The recipe.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// The recipe with all values that were left out.
    pub fn resolved(&self) -> &str {
        &self.resolved
    }

    /// The solver's grid.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Grid of the stored fields.
    ///
    /// # Errors
    ///
    /// None in a simulation that [`Simulation::new`] accepted.
    pub fn stored_grid(&self) -> Result<Grid> {
        let stride = self.recipe.output.stride;
        self.grid.with_shape(&self.grid.shape().iter().map(|n| n / stride).collect::<Vec<_>>())
    }

    /// Number of samples.
    pub fn samples(&self) -> usize {
        self.recipe.dataset.samples
    }

    /// Times of the stored frames, from 0.
    pub fn times(&self) -> Vec<f64> {
        (0..=self.steps.frames).map(|frame| frame as f64 * self.recipe.time.save_every).collect()
    }

    pub(super) fn steps(&self) -> Steps {
        self.steps
    }

    /// Steps of the solver in one sample.
    pub fn steps_per_sample(&self) -> usize {
        self.steps.warmup + self.steps.per_frame * self.steps.frames
    }

    /// Seed of a sample.
    pub fn seed(&self, sample: usize) -> u64 {
        seed::derive(self.recipe.dataset.seed, "sample", sample as u64)
    }

    /// What the file says.
    ///
    /// # Errors
    ///
    /// None in a simulation that [`Simulation::new`] accepted.
    pub fn header(&self, environment: &Environment, threads: usize) -> Result<Header> {
        let recipe = &self.recipe;
        let dataset = &recipe.dataset;
        let names = &self.identity.stored;
        let mut header = Header::new(&dataset.name, self.stored_grid()?, fields(names), self.times(), dataset.samples);
        if !dataset.title.is_empty() {
            header.title = dataset.title.clone();
        }
        header.summary = dataset.summary.clone();
        header.license = dataset.license.clone();
        header.creator = environment.generator.clone();
        header.equation = self.identity.equation.clone();
        header.equation_id = self.identity.id.to_owned();
        header.parameters = recipe.equation.parameters();
        header.precision = recipe.output.precision;
        header.provenance = Provenance {
            generator: environment.generator.clone(),
            git_commit: environment.git_commit.clone(),
            git_dirty: environment.git_dirty,
            rustc: environment.rustc.clone(),
            target_cpu: environment.cpu.clone(),
            config_toml: self.resolved.clone(),
            command_line: environment.command_line.clone(),
            seed: dataset.seed,
            rng: seed::RNG.to_owned(),
            started_utc: environment.started_utc.clone(),
            hostname_hash: environment.hostname_hash.clone(),
            threads,
            solver: recipe.time.scheme.name().to_owned(),
            solver_dt: recipe.time.dt,
            dealiasing: "truncation: products of retained modes are exact (2/3 rule for quadratic terms)".to_owned(),
            precision: "f64".to_owned(),
            reference_error_time_method: super::accuracy::TIME_METHOD.to_owned(),
            reference_error_space_method: super::accuracy::SPACE_METHOD.to_owned(),
        };
        Ok(header)
    }

    /// A solver for one sample at a time, with step `dt` on `grid`.
    ///
    /// # Errors
    ///
    /// What planning may give.
    pub fn plan(&self, grid: &Grid, dt: f64, threads: usize) -> Result<Stepper<f64>> {
        self.recipe.equation.with(grid, Plan { grid, recipe: &self.recipe, dt, threads })?.map_err(
            |error| match error {
                Error::Parameter { name, value, rule } if name == "dt" => Error::parameter("time.dt", value, rule),
                other => other,
            },
        )
    }

    /// State of a sample at time zero, `[channel, x, ..]`.
    ///
    /// # Errors
    ///
    /// What the kind of initial state may give.
    pub fn initial(&self, sample: usize) -> Result<ArrayD<f64>> {
        let channels = self.identity.channels.len();
        self.recipe.initial.sample(&self.source, &self.recipe.equation, &self.grid, channels, sample, self.seed(sample))
    }

    /// Computes a sample; `progress` gets the number of steps after each frame.
    ///
    /// # Errors
    ///
    /// [`Error::BlowUp`] naming the sample.
    pub fn run(
        &self,
        sample: usize,
        stepper: &mut Stepper<f64>,
        mut progress: impl FnMut(usize),
    ) -> Result<Trajectory> {
        let of_this_sample = |error| match error {
            Error::BlowUp { step, t, .. } => Error::BlowUp { sample, step, t },
            other => other,
        };
        let mut state = stepper.load(self.initial(sample)?.view())?;
        stepper.advance(&mut state, self.steps.warmup).map_err(of_this_sample)?;
        progress(self.steps.warmup);
        let start = stepper.store(&state).index_axis_move(Axis(0), 0);
        let mut fields = self.empty_fields();
        self.append(&mut fields, &start);
        for _ in 0..self.steps.frames {
            stepper.advance(&mut state, self.steps.per_frame).map_err(of_this_sample)?;
            progress(self.steps.per_frame);
            self.append(&mut fields, &stepper.store(&state).index_axis_move(Axis(0), 0));
        }
        Ok(Trajectory { fields, start })
    }

    /// Room for the fields of a sample.
    pub(super) fn empty_fields(&self) -> Vec<Vec<f64>> {
        let names = &self.identity.stored;
        vec![Vec::new(); if is_vector(names) { 1 } else { names.len() }]
    }

    /// Adds the stored points of a state on the solver's grid to the fields.
    fn append(&self, fields: &mut [Vec<f64>], state: &ArrayD<f64>) {
        self.append_every(self.recipe.output.stride, fields, state);
    }

    /// As [`Simulation::append`] with another stride, for states on finer grids.
    pub(super) fn append_every(&self, stride: usize, fields: &mut [Vec<f64>], state: &ArrayD<f64>) {
        let velocity = self.recipe.output.velocity.then(|| self.velocity(state));
        let state = velocity.as_ref().unwrap_or(state);
        let truncated = (self.recipe.output.truncate && stride > 1).then(|| self.truncate(state));
        let mut stored = truncated.as_ref().unwrap_or(state).view();
        for axis in 1..state.ndim() {
            let stride = if truncated.is_some() { 1 } else { stride };
            stored.slice_axis_inplace(Axis(axis), Slice::new(0, None, stride as isize));
        }
        if let [vector] = fields
            && stored.len_of(Axis(0)) > 1
        {
            // Components last.
            let order: Vec<usize> = (1..stored.ndim()).chain([0]).collect();
            vector.extend(stored.permuted_axes(order).iter());
        } else {
            fields.iter_mut().zip(stored.outer_iter()).for_each(|(field, channel)| field.extend(channel.iter()));
        }
    }

    /// Velocity of a vorticity on any grid of the box, with the mean flow.
    fn velocity(&self, state: &ArrayD<f64>) -> ArrayD<f64> {
        let grid = self.grid.with_shape(&state.shape()[1..]).expect("a state is on a grid of the box");
        let mut u = Derivatives::plan(&grid).biot_savart(state.index_axis(Axis(0), 0).into_dyn());
        if let Equation::NavierStokes2d { mean_flow, .. } = self.recipe.equation {
            u.outer_iter_mut().zip(mean_flow).for_each(|(mut component, mean)| component += mean);
        }
        u
    }

    /// A state of any grid of the box on the stored points, without the modes that they cannot carry.
    fn truncate(&self, state: &ArrayD<f64>) -> ArrayD<f64> {
        let from = self.grid.with_shape(&state.shape()[1..]).expect("a state is on a grid of the box");
        let to = self.stored_grid().expect("checked when the simulation was made");
        Resample::plan(&from, &to).expect("both are grids of one box").apply(state.view())
    }
}

/// Whether the channels are the components of one vector: `u_x, u_y, ..`.
fn is_vector(channels: &[&str]) -> bool {
    let base = |(name, axis): (&&str, &str)| name.strip_suffix(axis).map(str::to_owned);
    let bases: Vec<_> = channels.iter().zip(["_x", "_y", "_z"]).map(base).collect();
    channels.len() > 1 && bases[0].is_some() && bases.iter().all(|b| *b == bases[0])
}

/// Fields of the file: a vector, or one scalar a channel.
fn fields(channels: &[&str]) -> Vec<FieldSpec> {
    if is_vector(channels) {
        vec![FieldSpec::new(channels[0].trim_end_matches("_x"), 1)]
    } else {
        channels.iter().map(|name| FieldSpec::new(name, 0)).collect()
    }
}

fn steps(recipe: &Recipe) -> Result<Steps> {
    let time = &recipe.time;
    for (name, value) in [("time.dt", time.dt), ("time.t_end", time.t_end), ("time.save_every", time.save_every)] {
        if !(value > 0.0 && value.is_finite()) {
            return Err(Error::parameter(name, value, "must be > 0 and finite"));
        }
    }
    if !(time.t_warmup >= 0.0 && time.t_warmup.is_finite()) {
        return Err(Error::parameter("time.t_warmup", time.t_warmup, "must be >= 0 and finite"));
    }
    let whole = |name: &str, value: f64, unit_name: &str, unit: f64| {
        let count = (value / unit).round();
        if count > 1e15 || (value - count * unit).abs() > WHOLE * value || (value > 0.0 && count < 1.0) {
            return Err(Error::parameter(name, value, format!("must be a multiple of {unit_name} = {unit}")));
        }
        Ok(count as usize)
    };
    let steps = Steps {
        warmup: whole("time.t_warmup", time.t_warmup, "time.dt", time.dt)?,
        per_frame: whole("time.save_every", time.save_every, "time.dt", time.dt)?,
        frames: whole("time.t_end", time.t_end, "time.save_every", time.save_every)?,
    };
    Ok(steps)
}
