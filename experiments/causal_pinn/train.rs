//! `causal_pinn train`.

use std::collections::BTreeMap;
use std::path::Path;

use parseval::pinn::plane::{self, Flow};
use parseval::pinn::{CausalMarch, Equation, March, Problem, Progress, Reference, Sample, Solution, Tensor as Values};
use parseval::run::RunDirectory;
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::seed;
use parseval::run::tensor_file::{Tensor, TensorFile, Tensors, write_tensors};
use parseval::run::training::{Scalars, Train};
use parseval::{Error, Result};
use rand::RngExt;
use rand_distr::StandardNormal;

use crate::Method;
use crate::config::Config;

/// A training run of one seed.
pub struct Training {
    name: String,
    solver: Solver,
    /// Processor seconds of the sessions before, and at the start of this one.
    seconds: [f64; 2],
}

/// What does the work.
enum Solver {
    GaussNewton(Box<March>),
    Single(Box<CausalMarch<f32>>),
    Double(Box<CausalMarch<f64>>),
    Plane(Box<plane::March>),
}

impl Training {
    pub fn new(config: &Config, reference: &Reference, method: Method, run_seed: u64, threads: usize) -> Result<Self> {
        let seed = seed::derive(run_seed, "parameters", 0);
        let new = |solver| Ok(Self { name: config.name.clone(), solver, seconds: [0.0, processor_seconds()] });
        if let Some(flow) = config.flow()? {
            return new(Solver::Plane(Box::new(plane::March::new(&flow, &config.march, seed, threads)?)));
        }
        let (problem, end) = (config.problem()?, end(config));
        new(match method {
            Method::Default => {
                let march = March::new(&problem, &config.march, seed, threads)?;
                Solver::GaussNewton(Box::new(identify(config, &problem, reference, march, run_seed)?))
            }
            Method::Causal if config.causal.single => {
                Solver::Single(Box::new(CausalMarch::new(&problem, &config.causal, end, seed, threads)?))
            }
            Method::Causal => Solver::Double(Box::new(CausalMarch::new(&problem, &config.causal, end, seed, threads)?)),
        })
    }

    /// What is solved so far.
    pub fn solved(&self) -> Solved {
        let line = |problem: &Problem, solution: &Solution| Solved::Line(problem.clone(), solution.clone());
        match &self.solver {
            Solver::GaussNewton(march) => line(march.problem(), march.solution()),
            Solver::Single(march) => line(march.problem(), march.solution()),
            Solver::Double(march) => line(march.problem(), march.solution()),
            Solver::Plane(march) => Solved::Plane(march.flow().clone(), march.solution().clone()),
        }
    }

    /// Names, values and standard deviations of the coefficients of an inverse problem.
    pub fn identified(&self, config: &Config) -> Vec<(String, f64, f64)> {
        let (Solver::GaussNewton(march), Some(inverse)) = (&self.solver, &config.inverse) else { return Vec::new() };
        let Some(found) = march.identified() else { return Vec::new() };
        let values = found.values.iter().zip(&found.deviations);
        inverse
            .unknown
            .iter()
            .zip(values)
            .map(|(name, (&value, &deviation))| (name.clone(), value, deviation))
            .collect()
    }

    fn processor_seconds(&self) -> f64 {
        self.seconds[0] + processor_seconds() - self.seconds[1]
    }

    fn tensors(&self) -> Vec<(String, Values)> {
        match &self.solver {
            Solver::GaussNewton(march) => march.state(),
            Solver::Single(march) => march.state(),
            Solver::Double(march) => march.state(),
            Solver::Plane(march) => march.state(),
        }
    }
}

/// A solution with its problem.
pub enum Solved {
    Line(Problem, Solution),
    Plane(Flow, plane::Solution),
}

impl Solved {
    /// Values at the places of a reference.
    pub fn at(&self, reference: &Reference) -> Result<Vec<f64>> {
        match self {
            Self::Line(_, solution) => reference.of(solution),
            Self::Plane(_, solution) => solution.at(reference),
        }
    }

    /// Windows, and parameters in each.
    pub fn size(&self) -> [usize; 2] {
        let [windows, parameters] = match self {
            Self::Line(_, s) => [s.pieces.len(), s.pieces.first().map_or(0, |piece| piece.theta.len())],
            Self::Plane(_, s) => [s.pieces.len(), s.pieces.first().map_or(0, |piece| piece.theta.len())],
        };
        [windows, parameters]
    }
}

/// What is recorded of a Gauss-Newton step.
fn gauss_newton(progress: Option<Progress>) -> Scalars {
    let Some(p) = progress else { return Scalars::new() };
    let mut scalars: Scalars = vec![
        ("residual".into(), p.residual),
        ("damping".into(), p.lambda),
        ("window".into(), p.window as f64),
        ("front".into(), p.front),
    ];
    if p.held_out.is_finite() {
        scalars.push(("held-out residual".into(), p.held_out));
    }
    scalars
}

/// Most steps that there can be.
pub fn max_steps(config: &Config, method: Method) -> u64 {
    match method {
        Method::Default => (config.march.windows().len() * config.march.steps) as u64,
        Method::Causal => config.causal.max_steps() as u64,
    }
}

/// Last time.
pub fn end(config: &Config) -> f64 {
    config.march.ends.last().copied().unwrap_or(0.0)
}

/// Turns a solution into an inverse problem if the configuration asks for it: random places, noise.
fn identify(config: &Config, problem: &Problem, reference: &Reference, march: March, run_seed: u64) -> Result<March> {
    let Some(inverse) = &config.inverse else { return Ok(march) };
    let equation = problem.equation()?;
    let mut rng = seed::stream(run_seed, "samples", 0);
    let fields = equation.fields();
    let mut samples: Vec<Sample> = (0..inverse.samples)
        .map(|_| {
            let (i, j) = (rng.random_range(0..reference.times.len()), rng.random_range(0..reference.x.len()));
            let field = rng.random_range(0..fields);
            let value = reference.values[(i * reference.x.len() + j) * fields + field];
            Sample { point: [reference.x[j], reference.times[i]], field, value }
        })
        .collect();
    let mean_square = samples.iter().map(|s| s.value * s.value).sum::<f64>() / samples.len().max(1) as f64;
    for sample in &mut samples {
        sample.value += inverse.noise * mean_square.sqrt() * rng.sample::<f64, _>(StandardNormal);
    }
    let unknown = inverse.unknown.iter().map(|name| equation.coefficient(name)).collect::<Result<Vec<_>>>()?;
    let weights = [inverse.weight, inverse.last_weight.unwrap_or(inverse.weight)];
    march.identify(samples, weights, &unknown, &inverse.guess)
}

/// Seconds that this process's first thread has computed; with one thread the cost that does not depend on who else uses
/// the machine. NaN where the system does not tell.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|n| n.parse::<f64>().ok())
        .map_or(f64::NAN, |nanoseconds| nanoseconds * 1e-9)
}

impl Train for Training {
    fn name(&self) -> &str {
        &self.name
    }

    /// Steps after the last window do nothing.
    fn step(&mut self, _: u64) -> Result<Scalars> {
        let mut scalars: Scalars = match &mut self.solver {
            Solver::GaussNewton(march) => gauss_newton(march.step()?),
            Solver::Plane(march) => gauss_newton(march.step()?),
            Solver::Single(march) => causal(march.step()?),
            Solver::Double(march) => causal(march.step()?),
        };
        if !scalars.is_empty() {
            scalars.push(("processor seconds".into(), self.processor_seconds()));
            scalars.retain(|(_, value)| !value.is_nan());
        }
        Ok(scalars)
    }

    fn save(&self) -> Snapshot {
        let tensor = |(shape, values): Values| Tensor::new(&shape, values).expect("as many values as the shape says");
        let (model, mut optimizer): (Vec<_>, Vec<_>) =
            self.tensors().into_iter().partition(|(name, _)| !name.starts_with("current."));
        let seconds = self.processor_seconds();
        optimizer.push(("processor".into(), (vec![1], vec![if seconds.is_nan() { 0.0 } else { seconds }])));
        Snapshot {
            model: model.into_iter().map(|(name, values)| (name, tensor(values))).collect(),
            optimizer: optimizer.into_iter().map(|(name, values)| (name, tensor(values))).collect(),
            ..Snapshot::default()
        }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let find = |name: &str| values(&checkpoint.model, name).or_else(|| values(&checkpoint.optimizer, name));
        match &mut self.solver {
            Solver::GaussNewton(march) => march.restore(find)?,
            Solver::Single(march) => march.restore(find)?,
            Solver::Double(march) => march.restore(find)?,
            Solver::Plane(march) => march.restore(find)?,
        }
        self.seconds = [find("processor").map_or(0.0, |(_, s)| s[0]), processor_seconds()];
        Ok(())
    }
}

fn causal(progress: Option<parseval::pinn::CausalProgress>) -> Scalars {
    let Some(p) = progress else { return Scalars::new() };
    let [quarter, half, three, end] = p.weights;
    vec![
        ("loss".into(), p.loss),
        ("initial state".into(), p.initial),
        ("eps".into(), p.eps),
        ("weight at 1/4".into(), quarter),
        ("weight at 1/2".into(), half),
        ("weight at 3/4".into(), three),
        ("weight at the end".into(), end),
        ("window".into(), p.window as f64),
        ("rate".into(), p.rate),
    ]
}

/// A tensor of a file.
fn values(file: &TensorFile, name: &str) -> Option<Values> {
    let tensor = file.tensors.get(name)?;
    let values = file.get::<f64>(name, tensor.shape()).ok()?;
    Some((tensor.shape().to_vec(), values.to_vec()))
}

/// Names of the two files of a solution in the folder of a run.
const TENSORS: &str = "solution.safetensors";
const PROBLEM: &str = "problem.json";

/// Writes a solution, and the problem that it needs to be built again.
pub fn save(run: &RunDirectory, solved: &Solved) -> Result<()> {
    let tensor = |(shape, values): Values| Tensor::new(&shape, values);
    let (tensors, problem) = match solved {
        Solved::Line(problem, solution) => (solution.tensors(), serde_json::to_string_pretty(problem)),
        Solved::Plane(flow, solution) => (solution.tensors(), serde_json::to_string_pretty(flow)),
    };
    let tensors = tensors.into_iter().map(|(name, values)| Ok((name, tensor(values)?)));
    let metadata =
        BTreeMap::from([("model".to_owned(), "pinn".to_owned()), ("problem".to_owned(), PROBLEM.to_owned())]);
    write_tensors(&run.path().join(TENSORS), &tensors.collect::<Result<Tensors>>()?, &metadata)?;
    let path = run.path().join(PROBLEM);
    let text = problem.map_err(|e| Error::format(&path, e.to_string()))?;
    std::fs::write(&path, text + "\n").map_err(|e| Error::io(&path, e))
}

/// Reads what [`save`] wrote for a configuration.
pub fn load(config: &Config, folder: &Path, threads: usize) -> Result<Solved> {
    let path = folder.join(PROBLEM);
    let text = std::fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
    let bad = |e: serde_json::Error| Error::format(&path, e.to_string());
    let file = TensorFile::read(&folder.join(TENSORS))?;
    let tensor = |name: &str| values(&file, name);
    if config.flow()?.is_some() {
        let flow: Flow = serde_json::from_str(&text).map_err(bad)?;
        let solution = plane::Solution::from_tensors(&flow, tensor, threads)?;
        return Ok(Solved::Plane(flow, solution));
    }
    let problem: Problem = serde_json::from_str(&text).map_err(bad)?;
    let solution = Solution::from_tensors(&problem, tensor, threads)?;
    Ok(Solved::Line(problem, solution))
}
