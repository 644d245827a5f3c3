//! Training by unrolling through the solver.

use ndarray::{Array3, Axis, s};
use parseval::Result;
use parseval::autodiff::{Parameters, Tape, Var};
use parseval::nn::{concatenate, mean_square};
use parseval::optim::{self, Block, Ema, EmaStart, Optimizer, Stateful};
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::seed;
use parseval::run::tensor_file::Tensors;
use parseval::run::training::{Scalars, Train};
use parseval::stencil::line::LineModel;
use parseval::stencil::metric::correlation;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::config::Config;
use super::data::Sets;
use crate::tensors::{get, put, tensor};

/// A model with the tape that holds its parameters.
pub struct Trained {
    pub tape: Tape<f32>,
    pub model: LineModel<f32>,
}

impl Trained {
    /// The model of a configuration with the initial parameters of a seed.
    pub fn new(config: &Config, run_seed: u64, threads: usize) -> Result<Self> {
        let mut parameters = Parameters::new();
        let mut rng = seed::stream(run_seed, "parameters", 0);
        let (cells, dt) = (config.scheme.cells, config.scheme.dt);
        let model = LineModel::new(&config.equation, cells, dt, &config.model, &mut parameters, &mut rng)?;
        Ok(Self { tape: Tape::new(parameters, threads)?, model })
    }
}

/// A training run of one seed.
pub struct Training<'a> {
    config: Config,
    sets: &'a Sets,
    seed: u64,
    trained: Trained,
    optimizer: Box<dyn Optimizer<f32>>,
    average: Option<Ema>,
}

impl<'a> Training<'a> {
    pub fn new(config: &Config, sets: &'a Sets, run_seed: u64, threads: usize) -> Result<Self> {
        let trained = Trained::new(config, run_seed, threads)?;
        let views = trained.tape.parameters().views();
        let blocks: Vec<Block> = views.iter().map(|v| Block { offset: v.offset, shape: v.shape.clone() }).collect();
        let average = match config.loss.average {
            0.0 => None,
            decay => Some(Ema::new(trained.tape.parameters().len(), decay, EmaStart::WarmUp)?),
        };
        let optimizer = config.optimizer.build(&blocks)?;
        Ok(Self { config: config.clone(), sets, seed: run_seed, trained, optimizer, average })
    }

    /// The averaged parameters, or the last ones.
    fn kept(&self) -> Vec<f32> {
        let mut theta = self.trained.tape.parameters().theta().to_vec();
        if let Some(average) = &self.average {
            average.store(&mut theta);
        }
        theta
    }

    /// Frames `[frame][batch * cells]` of a batch: random trajectories, times, shifts and reflections.
    fn batch(&self, step: u64, frames: usize) -> Vec<Vec<f32>> {
        let (samples, times, n) = self.sets.train.dim();
        let mut rng = seed::stream(self.seed, "batch", step);
        let mut batch = vec![Vec::with_capacity(self.config.loss.batch * n); frames];
        for _ in 0..self.config.loss.batch {
            let (sample, start) = (rng.random_range(0..samples), rng.random_range(0..=times - frames));
            let (shift, reflect) = (rng.random_range(0..n), rng.random_bool(0.5));
            for (t, frame) in batch.iter_mut().enumerate() {
                let row = self.sets.train.slice(s![sample, start + t, ..]);
                // u(x) -> -u(-x) maps averages of cell i to those of cell n - 1 - i.
                frame.extend((0..n).map(|i| match reflect {
                    true => -row[(2 * n - 1 - i - shift) % n],
                    false => row[(i + n - shift) % n],
                }));
            }
        }
        batch
    }
}

impl Train for Training<'_> {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn step(&mut self, step: u64) -> Result<Scalars> {
        let loss = &self.config.loss;
        let (unroll, window, n) = (self.config.unroll(step), self.trained.model.window(), self.config.scheme.cells);
        let frames = self.batch(step, window + unroll);
        let mut noise = seed::stream(self.seed, "noise", step);
        let Trained { tape, model } = &mut self.trained;
        tape.clear();
        let past: Vec<Var> = frames[..window]
            .iter()
            .map(|frame| {
                let mut frame = frame.clone();
                if loss.noise > 0.0 {
                    let mut normal = || -> f32 { StandardNormal.sample(&mut noise) };
                    frame.iter_mut().for_each(|u| *u += loss.noise as f32 * normal());
                }
                tape.constant(&[loss.batch, 1, n], &frame)
            })
            .collect::<Result<_>>()?;
        let states = model.record(tape, &past, unroll, loss.gradient)?;
        let states = concatenate(tape, &states, 1)?;
        let target: Vec<f32> = (0..loss.batch)
            .flat_map(|b| frames[window..].iter().flat_map(move |frame| &frame[b * n..(b + 1) * n]))
            .copied()
            .collect();
        let target = tape.constant(&[loss.batch, unroll, n], &target)?;
        let error = mean_square(tape, states, target)?;
        tape.backward(error)?;
        let value = tape.scalar(error)?;
        let rate = self.config.rate.at(step, self.config.training.steps);
        let (theta, gradient) = tape.update();
        let norm = match loss.clip {
            0.0 => optim::norm(gradient),
            limit => optim::clip_global_norm(gradient, limit),
        };
        if !(value.is_finite() && norm.is_finite()) {
            // A rollout left the attractor; the next batch starts from the truth again.
            return Ok(vec![("skipped".into(), 1.0)]);
        }
        self.optimizer.step(theta, gradient, rate);
        if let Some(average) = &mut self.average {
            average.update(theta);
        }
        Ok(vec![("loss".into(), value), ("gradient".into(), norm), ("rate".into(), rate)])
    }

    /// `lost`: one less the mean correlation over the time of a test.
    fn validate(&mut self, _: u64) -> Result<Scalars> {
        let valid = &self.sets.valid;
        let (samples, times, n) = valid.dim();
        if samples == 0 {
            return Ok(Scalars::new());
        }
        let kept = self.kept();
        let own = self.trained.tape.parameters().theta().to_vec();
        let Trained { tape, model } = &mut self.trained;
        tape.parameters_mut().theta_mut().copy_from_slice(&kept);
        let lead = model.window() - 1;
        let steps = times - lead - 1;
        let mut prediction = Array3::<f32>::zeros((steps, samples, n));
        // A sample that blows up has no correlation from there on.
        let found = model.predict(tape, valid.slice(s![.., ..=lead, ..]), steps, |step, u| {
            let mut frame = prediction.index_axis_mut(Axis(0), step - 1);
            frame.iter_mut().zip(u).for_each(|(p, &u)| *p = u);
            Ok(())
        });
        tape.parameters_mut().theta_mut().copy_from_slice(&own);
        found?;
        let truth = valid.slice(s![.., lead + 1.., ..]).permuted_axes([1, 0, 2]);
        let mean = correlation(prediction.view(), truth)?.mean().unwrap_or(0.0);
        Ok(vec![("lost".into(), 1.0 - mean)])
    }

    fn save(&self) -> Snapshot {
        let parameters = self.trained.tape.parameters();
        let (theta, kept) = (parameters.theta(), self.kept());
        let mut model = Tensors::new();
        for view in parameters.views() {
            model.insert(view.name.clone(), tensor(&view.shape, &kept[view.offset..view.offset + view.len()]));
        }
        let mut optimizer = Tensors::from([("theta".to_owned(), tensor(&[theta.len()], theta))]);
        put(&mut optimizer, "average.", self.average.iter().flat_map(Ema::state));
        put(&mut optimizer, "optimizer.", self.optimizer.state());
        Snapshot { model, optimizer, ..Snapshot::default() }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let file = &checkpoint.optimizer;
        let theta = self.trained.tape.parameters_mut().theta_mut();
        theta.copy_from_slice(file.get::<f32>("theta", &[theta.len()])?);
        self.optimizer.restore(&get(file, "optimizer.", self.optimizer.state())?)?;
        if let Some(average) = &mut self.average {
            average.restore(&get(file, "average.", average.state())?)?;
        }
        Ok(())
    }

    fn diagnose(&self) -> String {
        let tape = &self.trained.tape;
        match optim::worst_entry(tape.gradient()) {
            Some((index, value)) => format!("largest gradient {} = {value:e}", tape.parameters().describe(index)),
            None => "there is no gradient".to_owned(),
        }
    }
}
