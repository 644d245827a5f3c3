//! `conjugate_direction train`: a network, or the parts of a cycle.

use parseval::Result;
use parseval::autodiff::Parameters;
use parseval::linsolve::{Cycle, CycleTrainer, Trainer};
use parseval::optim::{NamedTensor, TensorData};
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::tensor_file::{Tensor, TensorFile, Tensors};
use parseval::run::training::{Scalars, Train};

use crate::config::Config;
use crate::models;

/// A network in training.
pub struct NetworkTraining {
    config: Config,
    trainer: Trainer,
}

impl NetworkTraining {
    pub fn new(config: &Config, seed: u64, threads: usize) -> Result<Self> {
        let mut trainer = Trainer::new(&config.network, seed, threads)?;
        if let Some(path) = &config.start {
            let file = TensorFile::read(path)?;
            let theta = theta(trainer.parameters(), &file)?;
            let state = trainer.state();
            trainer.restore(&theta, &state)?;
        }
        Ok(Self { trainer, config: config.clone() })
    }
}

impl Train for NetworkTraining {
    fn name(&self) -> &str {
        "network"
    }

    fn step(&mut self, step: u64) -> Result<Scalars> {
        let rate = self.config.rate.at(step, self.config.training.steps);
        let done = self.trainer.step(step, rate)?;
        Ok(vec![("loss".into(), done.loss), ("gradient".into(), done.gradient), ("rate".into(), rate)])
    }

    fn validate(&mut self, _: u64) -> Result<Scalars> {
        let held_out = self.trainer.validate()?;
        let limit = self.config.validate.limit;
        let iterations = self.trainer.iterations(self.config.validate.scenes, limit)?;
        let mean = iterations.iter().sum::<usize>() as f64 / iterations.len().max(1) as f64;
        Ok(vec![("iterations".into(), mean), ("loss".into(), held_out.loss)])
    }

    fn save(&self) -> Snapshot {
        let model: Tensors = self
            .trainer
            .parameters()
            .tensors()
            .map(|(name, shape, values)| (name.to_owned(), tensor(shape, values)))
            .collect();
        let optimizer = self.trainer.state().into_iter().map(|t| {
            let stored = match &t.data {
                TensorData::F32(values) => tensor(&t.shape, values),
                TensorData::F64(values) => tensor(&t.shape, values),
            };
            (t.name, stored)
        });
        Snapshot { model, optimizer: optimizer.collect(), ..Snapshot::default() }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let theta = theta(self.trainer.parameters(), &checkpoint.model)?;
        let mut state = Vec::new();
        for known in self.trainer.state() {
            let data = match known.data {
                TensorData::F32(_) => {
                    TensorData::F32(checkpoint.optimizer.get::<f32>(&known.name, &known.shape)?.to_vec())
                }
                TensorData::F64(_) => {
                    TensorData::F64(checkpoint.optimizer.get::<f64>(&known.name, &known.shape)?.to_vec())
                }
            };
            state.push(NamedTensor { name: known.name, shape: known.shape, data });
        }
        self.trainer.restore(&theta, &state)
    }
}

/// The stored parameters, in the order of a model's.
pub fn theta(parameters: &Parameters<f32>, file: &TensorFile) -> Result<Vec<f32>> {
    let mut theta = Vec::with_capacity(parameters.len());
    for view in parameters.views() {
        theta.extend_from_slice(file.get::<f32>(&view.name, &view.shape)?);
    }
    Ok(theta)
}

/// A cycle in training.
pub struct CycleTraining {
    trainer: CycleTrainer,
}

impl CycleTraining {
    pub fn new(config: &Config, seed: u64, threads: usize) -> Result<Self> {
        Ok(Self { trainer: CycleTrainer::new(&config.cycle, seed, threads)? })
    }
}

impl Train for CycleTraining {
    fn name(&self) -> &str {
        "cycle"
    }

    fn step(&mut self, _: u64) -> Result<Scalars> {
        Ok(vec![("log10 residual an iteration".into(), self.trainer.step())])
    }

    fn validate(&mut self, _: u64) -> Result<Scalars> {
        let score = self.trainer.best().map_or(0.0, |cycle| self.trainer.validate(&cycle));
        let classical = self.trainer.validate(&Cycle::default());
        Ok(vec![("log10 residual an iteration".into(), score), ("classical".into(), classical)])
    }

    fn save(&self) -> Snapshot {
        let cycle = self.trainer.best().unwrap_or_default();
        let search = Tensor::vector(self.trainer.state());
        Snapshot {
            model: models::cycle_tensors(&cycle),
            optimizer: [("search".to_owned(), search)].into(),
            ..Snapshot::default()
        }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let known = self.trainer.state().len();
        let state = checkpoint.optimizer.get::<f64>("search", &[known])?.to_vec();
        self.trainer.evolution().restore(&state)
    }
}

pub fn tensor<T: parseval::run::tensor_file::Element>(shape: &[usize], values: &[T]) -> Tensor {
    Tensor::new(shape, values.to_vec()).expect("a tensor has as many values as its shape says")
}
