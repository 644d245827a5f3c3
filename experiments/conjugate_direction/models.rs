//! Trained models, and solvers by name.

use std::path::Path;
use std::sync::Arc;

use parseval::autodiff::Parameters;
use parseval::linsolve::{
    Cycle, DeepDirection, Depth, Guard, Guarded, LevelCycle, Method, Multigrid, Network, Options, Poisson,
    PoissonSolver, Published, Smoother, Solver,
};
use parseval::run::RunDirectory;
use parseval::run::checkpoint::Checkpoint;
use parseval::run::seeds::Ensemble;
use parseval::run::tensor_file::{TensorFile, Tensors};
use parseval::{Error, Result};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::Config;
use crate::train::{tensor, theta};
use crate::{Experiment, Model};

/// Names of the solvers, in the order of the table.
pub const SOLVERS: [&str; 13] = [
    "direct",
    "multigrid",
    "multigrid, Jacobi 2",
    "multigrid, Chebyshev 3",
    "multigrid, fourth kind 4",
    "multigrid, optimised fourth kind 4",
    "multigrid, learned",
    "MIC(0)",
    "deflated",
    "Jacobi",
    "CG",
    "deep, published",
    "deep, guarded",
];

/// What was trained, as far as it was.
pub struct Models {
    config: Config,
    network: Option<Parameters<f32>>,
    cycle: Option<Cycle>,
}

impl Models {
    /// The best (or latest) models of the first seed in the folder of the experiment.
    pub fn load(experiment: &Experiment) -> Result<Self> {
        let Experiment { config, out, .. } = experiment;
        let network = match checkpoint(config, out, Model::Network)? {
            None => None,
            Some(checkpoint) => {
                let mut parameters = blank(config.network.depth);
                let values = theta(&parameters, &checkpoint.model)?;
                parameters.theta_mut().copy_from_slice(&values);
                Some(parameters)
            }
        };
        let cycle =
            checkpoint(config, out, Model::Cycle)?.map(|c| cycle_of(&c.model, config.cycle.sweeps)).transpose()?;
        Ok(Self { config: config.clone(), network, cycle })
    }

    /// Plans a solver; `None` where it does not apply: the direct one to what is no box, a learned one that was not trained, a network to
    /// two dimensions.
    pub fn plan(&self, name: &str, problem: &Arc<Poisson>, options: &Options) -> Result<Option<Box<dyn Solver>>> {
        let cycle = |smoother: Smoother| Method::MultigridWith(Cycle::uniform(smoother));
        let method = match name {
            "direct" => Method::Direct,
            "multigrid" => Method::Multigrid,
            "multigrid, Jacobi 2" => cycle(Smoother::jacobi(2)?),
            // The interval of the least mean decay on the test scenes at 32^3.
            "multigrid, Chebyshev 3" => cycle(Smoother::new(&[0.534, 0.941, 3.99])?),
            "multigrid, fourth kind 4" => cycle(Smoother::fourth_kind(4)?),
            "multigrid, optimised fourth kind 4" => cycle(Smoother::fourth_kind_optimised(4)?),
            "multigrid, learned" => match &self.cycle {
                Some(cycle) => Method::MultigridWith(cycle.clone()),
                None => return Ok(None),
            },
            "MIC(0)" => Method::IncompleteCholesky,
            "deflated" => Method::Deflated,
            "Jacobi" => Method::Jacobi,
            "CG" => Method::Cg,
            "deep, published" | "deep, guarded" => return self.deep(name == "deep, guarded", problem, options),
            _ => {
                let rule = format!("must be one of {}", SOLVERS.join("; "));
                return Err(Error::parameter("solver", name, rule));
            }
        };
        match PoissonSolver::plan(problem.clone(), method.clone(), options) {
            Ok(solver) => Ok(Some(Box::new(solver))),
            Err(Error::Parameter { .. }) if method == Method::Direct => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn deep(&self, guarded: bool, problem: &Arc<Poisson>, options: &Options) -> Result<Option<Box<dyn Solver>>> {
        let Some(parameters) = self.network.as_ref().filter(|_| problem.shape().len() == 3) else {
            return Ok(None);
        };
        let network = &self.config.network;
        let source = DeepDirection::new(network.depth, network.scaling, parameters, problem, options)?;
        if guarded {
            let classical = Multigrid::plan(problem, &Cycle::default(), options.threads, options.isa)?;
            let guard = Guard { clock: true, ..Guard::default() };
            return Ok(Some(Box::new(Guarded::new(problem.clone(), classical, source, &guard, options)?)));
        }
        let most = self.config.compare.published_limit;
        let options = Options { max_iterations: options.max_iterations.min(most), ..options.clone() };
        Ok(Some(Box::new(Published::new(problem.clone(), source, &options)?)))
    }
}

/// The checkpoint of the first seed that has one.
fn checkpoint(config: &Config, out: &Path, model: Model) -> Result<Option<Checkpoint>> {
    let root = out.join(model.folder());
    let keep = match model {
        Model::Network => config.training.keep,
        Model::Cycle => config.generations.keep,
    };
    for seed in Ensemble::seeds_in(&root) {
        let run = RunDirectory::resume(&Ensemble::folder(&root, seed), &config.to_toml()?, model.may_change())?;
        let checkpoints = run.checkpoints(model.folder(), keep)?;
        if let Some(checkpoint) = checkpoints.best()?.map_or_else(|| checkpoints.latest(), |best| Ok(Some(best)))? {
            return Ok(Some(checkpoint));
        }
    }
    Ok(None)
}

fn blank(depth: Depth) -> Parameters<f32> {
    let mut parameters = Parameters::new();
    Network::new(depth, &mut parameters, &mut ChaCha8Rng::seed_from_u64(0));
    parameters
}

/// Numbers of a level besides the weights of its sweeps.
const FACTORS: usize = 6;

/// A cycle as tensors `weights` and `factors`, a row a level.
pub fn cycle_tensors(cycle: &Cycle) -> Tensors {
    let levels = cycle.levels.len();
    let weights: Vec<f64> =
        cycle.levels.iter().flat_map(|l| l.smoother.weights().iter().map(|&w| f64::from(w))).collect();
    let factors: Vec<f64> = cycle
        .levels
        .iter()
        .flat_map(|l| {
            let ([a, b], [c, d]) = (l.smoother_boundary, l.correction_boundary);
            [l.coarse_scale, a, b, c, d, l.dirichlet]
        })
        .collect();
    [
        ("weights".to_owned(), tensor(&[levels, weights.len() / levels.max(1)], &weights)),
        ("factors".to_owned(), tensor(&[levels, FACTORS], &factors)),
    ]
    .into()
}

/// The cycle of such tensors, of one level or three.
fn cycle_of(file: &TensorFile, sweeps: usize) -> Result<Cycle> {
    let levels = if file.get::<f64>("factors", &[3, FACTORS]).is_ok() { 3 } else { 1 };
    let weights = file.get::<f64>("weights", &[levels, sweeps])?;
    let factors = file.get::<f64>("factors", &[levels, FACTORS])?;
    let level = |(weights, f): (&[f64], &[f64])| -> Result<LevelCycle> {
        Ok(LevelCycle {
            smoother: Smoother::new(weights)?,
            coarse_scale: f[0],
            smoother_boundary: [f[1], f[2]],
            correction_boundary: [f[3], f[4]],
            dirichlet: f[5],
        })
    };
    let pairs = weights.chunks_exact(sweeps).zip(factors.chunks_exact(FACTORS));
    Ok(Cycle { levels: pairs.map(level).collect::<Result<_>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_survives_its_tensors() {
        let mut level = LevelCycle::new(Smoother::fourth_kind(3).unwrap());
        (level.coarse_scale, level.smoother_boundary) = (1.1, [0.2, -0.3]);
        (level.correction_boundary, level.dirichlet) = ([0.5, 0.25], 0.75);
        let cycle = Cycle { levels: vec![level.clone(), level.clone(), LevelCycle { dirichlet: 2.0, ..level }] };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cycle.safetensors");
        parseval::run::tensor_file::write_tensors(&path, &cycle_tensors(&cycle), &Default::default()).unwrap();
        assert_eq!(cycle_of(&TensorFile::read(&path).unwrap(), 3).unwrap(), cycle);
    }
}
