//! `temporal_stencil train` in two dimensions.

use std::collections::VecDeque;

use ndarray::{Array5, ArrayView5, s};
use parseval::autodiff::{Parameters, Tape};
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::seed;
use parseval::run::tensor_file::Tensors;
use parseval::run::training::{Scalars, Train};
use parseval::stencil::plane::training::{Trainer, unroll};
use parseval::stencil::plane::{Correction, FiniteVolume, LearnedSolver, Symmetry, TemporalStencil, metric};
use parseval::{Error, Result};
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::config::{Config, Model};
use super::data::Data;
use crate::tensors::{get, load, put, tensor};

/// Single precision: the errors of a coarse model are far above its round-off.
pub type Precision = f32;

/// Time that validations look ahead.
const VALIDATION: f64 = 3.0;

/// A training run of one seed.
pub struct Training<'a> {
    config: Config,
    seed: u64,
    data: &'a Data,
    trainer: Trainer<Precision>,
}

/// A learned solver with its parameters.
pub type Learned = (Box<dyn LearnedSolver<Precision>>, Tape<Precision>);

/// The model of a configuration with the initial parameters of a seed, and its tape.
pub fn model(config: &Config, run_seed: u64, threads: usize) -> Result<Learned> {
    let (mut parameters, mut rng) = (Parameters::new(), seed::stream(run_seed, "parameters", 0));
    let model: Box<dyn LearnedSolver<Precision>> = match &config.model {
        Model::Interpolation(model) => {
            let solver = FiniteVolume::plan(&config.flow, config.data.n, config.data.dt)?;
            Box::new(TemporalStencil::new(model, solver, &mut parameters, &mut rng)?)
        }
        Model::Correction(model) => {
            Box::new(Correction::new(model, &config.flow, config.data.n, threads, &mut parameters, &mut rng)?)
        }
    };
    Ok((model, Tape::new(parameters, threads)?))
}

/// Window of states that ends with the present, frame `past - 1` of `truth: [sample, time, 2, n, n]`.
pub fn window(
    config: &Config,
    model: &dyn LearnedSolver<Precision>,
    truth: ArrayView5<Precision>,
) -> VecDeque<Vec<Precision>> {
    let state = |t: usize| {
        let frame: Vec<Precision> = truth.slice(s![.., t, .., .., ..]).iter().copied().collect();
        model.encode(&frame)
    };
    (config.data.past - model.window()..config.data.past).map(state).collect()
}

/// Predicted frames `[sample, time, 2, n, n]`, `every` frames of the data apart, beginning with the present.
pub fn predict(
    config: &Config,
    (model, tape): (&dyn LearnedSolver<Precision>, &mut Tape<Precision>),
    truth: ArrayView5<Precision>,
    (frames, every): (usize, usize),
) -> Result<Array5<Precision>> {
    let (samples, _, _, n, _) = truth.dim();
    let every = every / config.model.stride(&config.data);
    let mut result = Array5::zeros((samples, frames, 2, n, n));
    let mut keep = |t: usize, state: &[Precision]| {
        let frame = model.decode(state);
        result.slice_mut(s![.., t, .., .., ..]).iter_mut().zip(frame).for_each(|(to, from)| *to = from);
    };
    let mut window = window(config, model, truth);
    keep(0, window.back().expect("the present is in the window"));
    model.predict(tape, &mut window, (frames - 1) * every, &mut |step, state| {
        if step.is_multiple_of(every) {
            keep(step / every, state);
        }
        Ok(())
    })?;
    Ok(result)
}

/// Frames of the data between compared ones, about `spacing` apart: whole steps of the model.
pub fn every(config: &Config, spacing: f64) -> usize {
    let stride = config.model.stride(&config.data);
    (spacing / (stride as f64 * config.data.dt)).round().max(1.0) as usize * stride
}

impl<'a> Training<'a> {
    pub fn new(config: &Config, data: &'a Data, run_seed: u64, threads: usize) -> Result<Self> {
        let (model, tape) = model(config, run_seed, threads)?;
        let trainer = Trainer::new(model, tape, &config.optimizer, config.unroll.gradient, config.unroll.clip)?;
        Ok(Self { config: config.clone(), seed: run_seed, data, trainer })
    }

    pub fn parts(&mut self) -> (&dyn LearnedSolver<Precision>, &mut Tape<Precision>) {
        self.trainer.parts()
    }

    /// Random windows of frames a step of the model apart, `[batch, 2, n, n]` each.
    fn windows(&self, step: u64, frames: usize) -> Vec<Vec<Precision>> {
        let Config { flow, unroll, data, model, .. } = &self.config;
        let stride = model.stride(data);
        let mut rng = seed::stream(self.seed, "windows", step);
        let (samples, times, ..) = self.data.train.dim();
        let len = 2 * data.n * data.n;
        let mut result = vec![vec![0.0; unroll.batch * len]; frames];
        let train = self.data.train.as_slice().expect("read in standard layout");
        for window in 0..unroll.batch {
            let (sample, first) = (rng.random_range(0..samples), rng.random_range(0..times - (frames - 1) * stride));
            let symmetry = match unroll.augment {
                true => Symmetry::random(flow, data.n, &mut rng),
                false => Symmetry::default(),
            };
            for (t, frame) in result.iter_mut().enumerate() {
                let from = &train[(sample * times + first + t * stride) * len..][..len];
                symmetry.apply(data.n, from, &mut frame[window * len..][..len]);
            }
        }
        let past = model.window() - 1;
        if unroll.noise > 0.0 {
            for x in result[..past].iter_mut().flatten() {
                let noise: f64 = StandardNormal.sample(&mut rng);
                *x += (unroll.noise * noise) as Precision;
            }
        }
        result
    }
}

impl Train for Training<'_> {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn step(&mut self, step: u64) -> Result<Scalars> {
        let unrolled = unroll(&self.config.unroll.curriculum, step, self.config.training.steps)?;
        let window = self.config.model.window();
        let frames = self.windows(step, window + unrolled);
        let (model, _) = self.trainer.parts();
        let frames: Vec<_> = frames.iter().map(|frame| model.encode(frame)).collect();
        let rate = self.config.rate.at(step, self.config.training.steps);
        let report = self.trainer.step(&frames, rate)?;
        Ok(vec![
            // A longer unroll has a larger error; the error a step can be compared between stages.
            ("loss".into(), report.loss),
            ("gradient".into(), report.gradient_norm),
            ("unroll".into(), unrolled as f64),
            ("rate".into(), rate),
        ])
    }

    fn validate(&mut self, _: u64) -> Result<Scalars> {
        if self.config.data.valid == 0 {
            return Ok(Scalars::new());
        }
        let config = &self.config;
        let (past, dt, every) = (config.data.past, config.data.dt, every(config, 0.1));
        let frames = (VALIDATION.min(config.data.time) / (every as f64 * dt)).floor() as usize + 1;
        let truth = self.data.valid.slice(s![.., past - 1..;every as isize, .., .., ..]);
        let truth = truth.slice(s![.., ..frames, .., .., ..]);
        let mean = match predict(config, self.trainer.parts(), self.data.valid.view(), (frames, every)) {
            Ok(prediction) => metric::correlations(prediction.view(), truth)?.mean().unwrap_or(0.0),
            Err(Error::BlowUp { .. }) => 0.0,
            Err(error) => return Err(error),
        };
        Ok(vec![("decorrelation".into(), 1.0 - mean)])
    }

    fn save(&self) -> Snapshot {
        let parameters = self.trainer.parameters().tensors();
        let model: Tensors = parameters.map(|(name, shape, values)| (name.to_owned(), tensor(shape, values))).collect();
        let mut optimizer = Tensors::new();
        put(&mut optimizer, "", self.trainer.optimizer_state());
        Snapshot { model, optimizer, ..Snapshot::default() }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        load(self.trainer.parts().1, &checkpoint.model)?;
        let state = get(&checkpoint.optimizer, "", self.trainer.optimizer_state())?;
        self.trainer.optimizer().restore(&state)
    }

    fn diagnose(&self) -> String {
        self.trainer.worst_gradient()
    }
}
