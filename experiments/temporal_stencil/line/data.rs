//! Trajectories of cell averages, made from their seeds or read from files.

use ndarray::{Array2, Array3, Axis, s};
use parseval::Result;
use parseval::stencil::files::{Files, Source};
use parseval::stencil::line::data::averages_of;
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
        if let (Some(source), Some(files)) = (&config.data.source, config.files()?) {
            return Self::from_files(config, source, &files);
        }
        let make = |first: u64, samples: usize, frames: usize| -> Result<Array3<f32>> {
            if samples == 0 {
                return Ok(Array3::zeros((0, frames, config.scheme.cells)));
            }
            let (recipe, cells) = (config.recipe(), config.scheme.cells);
            let start = starts(&config.equation, &recipe, first..first + samples as u64, threads)?;
            Ok(averages(&config.equation, &recipe, start.view(), cells, frames, threads)?.mapv(|x| x as f32))
        };
        Ok(Self {
            train: make(TRAIN, config.data.train, config.frames(config.data.train_time) + 1)?,
            valid: make(VALID, config.data.valid, config.lead() + config.frames(config.data.test_time) + 1)?,
        })
    }

    fn from_files(config: &Config, source: &Source, files: &Files) -> Result<Self> {
        let data = &config.data;
        let [train, valid, _] = source.split([data.train, data.valid, data.test], files.samples())?;
        let read = |samples, lead: usize, name, time| -> Result<Array3<f32>> {
            let frames = lead + config.frames(time) + 1;
            files.require(frames, name, time)?;
            Ok(averages_of(files, config.scheme.cells, samples, frames, 0)?.0.mapv(|x| x as f32))
        };
        // The frames of the test, before the training rather than after it.
        files.require(config.lead() + config.frames(data.test_time) + 1, "data.test_time", data.test_time)?;
        Ok(Self {
            train: read(train, 0, "data.train_time", data.train_time)?,
            valid: read(valid, config.lead(), "data.test_time", data.test_time)?,
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
        let (recipe, cells, frames) = (config.recipe(), config.scheme.cells, config.frames(config.data.test_time));
        if let (Some(source), Some(files)) = (&config.data.source, config.files()?) {
            let data = &config.data;
            let [.., samples] = source.split([data.train, data.valid, data.test], files.samples())?;
            files.require(lead + frames + 1, "data.test_time", data.test_time)?;
            let (all, field) = averages_of(&files, cells, samples, lead + frames + 1, lead)?;
            let past = all.slice(s![.., ..=lead, ..]).to_owned();
            let truth = all.slice(s![.., lead + 1.., ..]).permuted_axes([1, 0, 2]).as_standard_layout().into_owned();
            return Ok(Self { past, truth, field });
        }
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
        let mut truth = Array3::zeros((frames, samples, cells));
        march(&mut stepper, field.view(), frames, recipe.steps, |frame, fields| {
            truth.index_axis_mut(Axis(0), frame - 1).assign(&fields.dot(&map.t()));
            Ok(())
        })?;
        Ok(Self { past, truth, field })
    }
}
