//! `sfno train`.

use ndarray::{Array5, ArrayD, ArrayView5, ArrayViewMut4, Axis, Ix5, concatenate, s};
use parseval::data::loader::{Batches, Loader};
use parseval::field::{Grid, Real};
use parseval::nn::RelativeSobolev;
use parseval::operator::{Predictor, Trainer};
use parseval::optim::{NamedTensor, TensorData};
use parseval::run::checkpoint::{Checkpoint, Snapshot};
use parseval::run::seed;
use parseval::run::tensor_file::{Tensor, TensorFile, Tensors};
use parseval::run::training::{Scalars, Train};
use parseval::{Error, Result};
use rand::RngExt;

use crate::config::Config;
use crate::windows::{Source, Windows, errors};

/// Single precision: the errors of operators are far above its round-off.
pub type Precision = f32;

/// A training run of one seed.
pub struct Training {
    config: Config,
    seed: u64,
    trainer: Trainer<Precision>,
    loader: Loader,
    batches: Option<(u64, Batches<Precision>)>,
    valid: Option<Windows<Precision>>,
    grid: Grid,
}

impl Training {
    pub fn new(config: &Config, source: &Source, run_seed: u64, threads: usize) -> Result<Self> {
        let predictor = predictor(config, source, run_seed, threads)?;
        let grid = source.grid().clone();
        let loss = RelativeSobolev::plan(&grid, config.loss.order, config.loss.alpha)?;
        let clip = Some(config.loss.clip).filter(|&limit| limit > 0.0);
        let valid = match source.valid.is_empty() {
            true => None,
            false => Some(source.windows(config, &source.valid)?),
        };
        Ok(Self {
            trainer: Trainer::new(predictor, &config.optimizer, loss, clip)?,
            loader: source.loader(config, seed::derive(run_seed, "batches", 0))?,
            batches: None,
            config: config.clone(),
            seed: run_seed,
            valid,
            grid,
        })
    }

    pub fn predictor(&mut self) -> &mut Predictor<Precision> {
        self.trainer.predictor()
    }
}

/// The operator of a configuration with the initial parameters of a seed.
pub fn predictor<T: Real>(config: &Config, source: &Source, run_seed: u64, threads: usize) -> Result<Predictor<T>> {
    let seed = seed::derive(run_seed, "parameters", 0);
    let predictor = Predictor::new(&config.model, source.channels, config.data.input_frames, seed, threads)?;
    if config.data.divergence_free { predictor.divergence_free(source.grid()) } else { Ok(predictor) }
}

/// Replaces the parameters of a predictor of any precision by stored ones.
pub fn load<T: Real>(predictor: &mut Predictor<T>, file: &TensorFile) -> Result<()> {
    let mut stored = Vec::new();
    for view in predictor.parameters().views() {
        let values = file.get::<Precision>(&view.name, &view.shape)?;
        stored.push((
            view.name.clone(),
            view.shape.clone(),
            values.iter().map(|v| T::of(v.as_f64())).collect::<Vec<T>>(),
        ));
    }
    predictor.parameters_mut().assign(|name| {
        stored.iter().find(|(n, ..)| n == name).map(|(_, shape, values)| (shape.as_slice(), values.as_slice()))
    })
}

/// Predictions of windows, a batch at a time.
pub fn predict<T: Real>(
    predictor: &mut Predictor<T>,
    input: ArrayView5<T>,
    frames: usize,
    batch: usize,
) -> Result<Array5<T>> {
    let parts = input.axis_chunks_iter(Axis(0), batch).map(|part| predictor.predict(part, frames));
    let parts: Vec<Array5<T>> = parts.collect::<Result<_>>()?;
    let views: Vec<ArrayView5<T>> = parts.iter().map(|p| p.view()).collect();
    Ok(concatenate(Axis(0), &views).expect("batches of one shape"))
}

/// `[batch, time, channel, x, y]` of the loader as `[batch, channel, time, x, y]`.
fn channels_first<T: Real>(frames: ArrayD<T>) -> Array5<T> {
    let five = frames.into_dimensionality::<Ix5>().expect("two space axes");
    five.permuted_axes([0, 2, 1, 3, 4]).as_standard_layout().into_owned()
}

impl Train for Training {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn step(&mut self, step: u64) -> Result<Scalars> {
        let mut batches = match self.batches.take() {
            Some((next, batches)) if next == step => batches,
            _ => self.loader.stream(step),
        };
        let empty = || Error::parameter("data.train", self.config.data.train, "must give at least one window");
        let batch = batches.next().ok_or_else(empty)??;
        self.batches = Some((step + 1, batches));
        let rate = self.config.rate.at(step, self.config.training.steps);
        let (mut input, mut target) = (channels_first(batch.input), channels_first(batch.output));
        if !self.config.data.shifts.is_empty() {
            let mut rng = seed::stream(self.seed, "shift", step);
            for window in 0..input.dim().0 {
                let n = self.grid.shape().iter().max().copied().unwrap_or(1) as i64;
                let by = self.config.data.shifts.iter().fold([0, 0], |by, direction| {
                    let times = rng.random_range(0..n);
                    [by[0] + times * direction[0], by[1] + times * direction[1]]
                });
                shift(input.index_axis_mut(Axis(0), window), by);
                shift(target.index_axis_mut(Axis(0), window), by);
            }
        }
        let report = self.trainer.step(input.view(), target.view(), rate)?;
        Ok(vec![("loss".into(), report.loss), ("gradient".into(), report.gradient_norm), ("rate".into(), rate)])
    }

    fn validate(&mut self, _: u64) -> Result<Scalars> {
        let Some(valid) = &self.valid else { return Ok(Scalars::new()) };
        let data = &self.config.data;
        let prediction = predict(self.trainer.predictor(), valid.input(), data.output_frames, data.batch)?;
        let (l2, h1) = errors(&self.grid, prediction.view(), valid.target())?;
        Ok(vec![("relative L2".into(), l2), ("relative H1".into(), h1)])
    }

    fn save(&self) -> Snapshot {
        let parameters = self.trainer.parameters().tensors();
        let model: Tensors = parameters.map(|(name, shape, values)| (name.to_owned(), tensor(shape, values))).collect();
        let optimizer = self.trainer.optimizer_state().into_iter();
        let optimizer = optimizer.map(|t| {
            let stored = match &t.data {
                TensorData::F32(values) => tensor(&t.shape, values),
                TensorData::F64(values) => tensor(&t.shape, values),
            };
            (t.name, stored)
        });
        Snapshot { model, optimizer: optimizer.collect(), ..Snapshot::default() }
    }

    fn restore(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        load(self.trainer.predictor(), &checkpoint.model)?;
        let mut state = Vec::new();
        for known in self.trainer.optimizer_state() {
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
        self.trainer.optimizer().restore(&state)?;
        self.batches = None;
        Ok(())
    }

    fn diagnose(&self) -> String {
        self.trainer.worst_gradient()
    }
}

/// Shifts `[channel, time, x, y]` periodically by so many points along x and y.
fn shift(mut window: ArrayViewMut4<Precision>, by: [i64; 2]) {
    let source = window.to_owned();
    let (nx, ny) = (source.dim().2, source.dim().3);
    let [sx, sy] = [by[0].rem_euclid(nx as i64) as usize, by[1].rem_euclid(ny as i64) as usize];
    let parts = |n: usize, s: usize| [(0..n - s, s..n), (n - s..n, 0..s)];
    for (from_x, to_x) in parts(nx, sx) {
        for (from_y, to_y) in parts(ny, sy) {
            let from = source.slice(s![.., .., from_x.clone(), from_y]);
            window.slice_mut(s![.., .., to_x.clone(), to_y]).assign(&from);
        }
    }
}

fn tensor<T: parseval::run::tensor_file::Element>(shape: &[usize], values: &[T]) -> Tensor {
    Tensor::new(shape, values.to_vec()).expect("a tensor has as many values as its shape says")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array4;

    #[test]
    fn a_shift_moves_every_point_by_the_same() {
        let field = Array4::from_shape_fn((1, 2, 4, 6), |(_, t, x, y)| (100 * t + 10 * x + y) as f32);
        let mut moved = field.clone();
        shift(moved.view_mut(), [1, -2]);
        for ((_, t, x, y), value) in field.indexed_iter() {
            assert_eq!(moved[[0, t, (x + 1) % 4, (y + 4) % 6]], *value);
        }
    }
}
