//! Trajectories of cell averages, made from their seeds.

use ndarray::{Array2, Array3, Axis, s};
use parseval::Result;
use parseval::stencil::line::reference::{averages, averaging, march, solver, starts};

use super::config::Config;

/// First seeds of the three sets; a training and a test never share one.
const TRAIN: u64 = 0;
const VALID: u64 = 1 << 32;
const TEST: u64 = 2 << 32;

/// What a training sees: `[sample, time, cells]`, one frame a step.
pub struct Sets {
    pub train: Array3<f32>,
    pub valid: Array3<f32>,
}

impl Sets {
    pub fn for_training(config: &Config, threads: usize) -> Result<Self> {
        let make = |first: u64, samples: usize, frames: usize| -> Result<Array3<f32>> {
            if samples == 0 {
                return Ok(Array3::zeros((0, frames, config.scheme.cells)));
            }
            let (recipe, cells) = (config.recipe(), config.scheme.cells);
            let start = starts(&config.equation, &recipe, first..first + samples as u64, threads)?;
            Ok(averages(&config.equation, &recipe, start.view(), cells, frames, threads)?.mapv(|x| x as f32))
        };
        let frames = |time: f64| (time / config.scheme.dt).round() as usize + 1;
        Ok(Self {
            train: make(TRAIN, config.data.train, frames(config.data.train_time))?,
            valid: make(VALID, config.data.valid, config.lead() + frames(config.data.test_time))?,
        })
    }
}

/// What a test compares with. Frame 0 is the present one.
pub struct Test {
    /// `lead + 1` frames up to the present, `[sample, time, cells]`.
    pub past: Array3<f64>,
    /// Later frames, `[time, sample, cells]`.
    pub truth: Array3<f64>,
    /// The present on the reference's points, `[sample, points]`.
    pub field: Array2<f64>,
}

impl Test {
    /// The test with `lead` frames before the present.
    pub fn make(config: &Config, lead: usize, threads: usize) -> Result<Self> {
        let (recipe, cells) = (config.recipe(), config.scheme.cells);
        let samples = config.data.test;
        let mut field = starts(&config.equation, &recipe, TEST..TEST + samples as u64, threads)?;
        let map = averaging(cells, recipe.points);
        let mut past = Array3::zeros((samples, lead + 1, cells));
        past.index_axis_mut(Axis(1), 0).assign(&field.dot(&map.t()));
        let dt = recipe.dt / recipe.steps as f64;
        let mut stepper = solver(&config.equation, recipe.points, dt, samples, threads)?;
        let start = field.clone();
        march(&mut stepper, start.view(), lead, recipe.steps, |frame, fields| {
            past.slice_mut(s![.., frame, ..]).assign(&fields.dot(&map.t()));
            field.assign(&fields);
            Ok(())
        })?;
        let frames = (config.data.test_time / recipe.dt).round() as usize;
        let mut truth = Array3::zeros((frames, samples, cells));
        march(&mut stepper, field.view(), frames, recipe.steps, |frame, fields| {
            truth.index_axis_mut(Axis(0), frame - 1).assign(&fields.dot(&map.t()));
            Ok(())
        })?;
        Ok(Self { past, truth, field })
    }
}
