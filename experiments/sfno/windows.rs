//! Windows of a data set that a model is measured on, and the equation behind them.

use ndarray::{Array5, ArrayD, ArrayView5, ArrayViewD, Axis, Ix5, concatenate, s};
use parseval::data::Dataset;
use parseval::data::loader::{Loader, WindowSpec};
use parseval::field::{Grid, Real};
use parseval::nn::relative_errors;
use parseval::simulate::{Equation, Recipe};
use parseval::{Error, Result};

use crate::config::Config;

/// Data set with the samples of each split.
pub struct Source {
    pub dataset: Dataset,
    pub train: Vec<usize>,
    pub valid: Vec<usize>,
    pub test: Vec<usize>,
    pub channels: usize,
    /// Time between frames.
    pub dt: f64,
}

impl Source {
    pub fn open(config: &Config) -> Result<Self> {
        let data = &config.data;
        let dataset = Dataset::open(&data.path, None)?;
        let samples = dataset.samples();
        let wanted = data.train + data.valid + data.test;
        if wanted > samples {
            let rule = format!("must be at most the {samples} samples of {}", data.path.display());
            return Err(Error::parameter("data.train + data.valid + data.test", wanted, rule));
        }
        let grid = dataset.grid();
        if grid.dim() != 2 {
            return Err(Error::parameter("data.path", data.path.display(), "must hold fields in two dimensions"));
        }
        let channels = dataset.frame_shape(dataset.field(&data.field)?)[0];
        let (frames, times) = (data.input_frames + data.output_frames, dataset.times());
        if let Some(start) = data.test_starts.iter().find(|&&start| start + frames > times.len()) {
            let rule = format!("must leave {frames} of the {} frames", times.len());
            return Err(Error::parameter("data.test_starts", start, rule));
        }
        let dt = times[1] - times[0];
        let test = samples - data.test..samples;
        let valid = test.start - data.valid..test.start;
        Ok(Self {
            train: (0..data.train).collect(),
            valid: valid.collect(),
            test: test.collect(),
            channels,
            dt,
            dataset,
        })
    }

    pub fn grid(&self) -> &Grid {
        self.dataset.grid()
    }

    /// All training windows, read in the background.
    pub fn loader(&self, config: &Config, seed: u64) -> Result<Loader> {
        let spec = WindowSpec {
            input_frames: config.data.input_frames,
            output_frames: config.data.output_frames,
            batch: config.data.batch,
            seed,
            ahead: 4,
            ..WindowSpec::new(&[&config.data.field])
        };
        Loader::new(&config.data.path, &Default::default(), &self.train, spec)
    }

    /// Windows of some samples at the first frames of the test.
    pub fn windows<T: Real>(&self, config: &Config, samples: &[usize]) -> Result<Windows<T>> {
        let data = &config.data;
        let mut all = Vec::new();
        for &sample in samples {
            for &start in &data.test_starts {
                let frames = start..start + data.input_frames + data.output_frames;
                // [time, channel, x, y] -> [1, channel, time, x, y].
                let window: ArrayD<T> = self.dataset.read(&data.field, sample, frames, 1)?;
                let window = window.into_dimensionality::<ndarray::Ix4>().expect("two space axes");
                all.push(window.permuted_axes([1, 0, 2, 3]).insert_axis(Axis(0)));
            }
        }
        let views: Vec<ArrayView5<T>> = all.iter().map(|w| w.view()).collect();
        let frames = concatenate(Axis(0), &views).expect("windows of one shape");
        Ok(Windows { frames: frames.as_standard_layout().into_owned(), input: data.input_frames })
    }

    /// The equation that the data solve, if the file says so.
    pub fn equation(&self) -> Result<Equation> {
        let recipe = self.dataset.provenance().map(|p| Recipe::parse(&p.config_toml, &[]));
        let rule = "must be written by `simulate`, whose files say which equation they solve";
        let recipe = recipe.ok_or_else(|| Error::parameter("data.path", self.dataset.path().display(), rule))??;
        Ok(recipe.equation)
    }
}

/// Windows `[window, channel, time, x, y]`.
pub struct Windows<T> {
    frames: Array5<T>,
    input: usize,
}

impl<T: Real> Windows<T> {
    pub fn len(&self) -> usize {
        self.frames.dim().0
    }

    pub fn input(&self) -> ArrayView5<'_, T> {
        self.frames.slice(s![.., .., ..self.input, .., ..])
    }

    pub fn target(&self) -> ArrayView5<'_, T> {
        self.frames.slice(s![.., .., self.input.., .., ..])
    }

    /// Last shown frame and all that follow, `[window, time, channel, x, y]`.
    pub fn trajectories(&self) -> ArrayD<f64> {
        let part = self.frames.slice(s![.., .., self.input - 1.., .., ..]);
        part.permuted_axes([0, 2, 1, 3, 4]).mapv(Real::as_f64).as_standard_layout().into_owned().into_dyn()
    }

    /// The first windows only.
    pub fn first(self, count: usize) -> Self {
        let count = if count == 0 { self.len() } else { count.min(self.len()) };
        Self { frames: self.frames.slice(s![..count, .., .., .., ..]).to_owned(), input: self.input }
    }
}

/// Mean relative L2 and H1 errors of predictions `[window, channel, time, x, y]`.
pub fn errors<T: Real>(grid: &Grid, prediction: ArrayView5<T>, target: ArrayView5<T>) -> Result<(f64, f64)> {
    Ok(relative_errors(grid, 1.0, prediction.into_dyn(), target.into_dyn())?.mean())
}

/// Trajectories `[window, time, channel, x, y]` as windows `[window, channel, time, x, y]`.
pub fn channels_first(trajectories: ArrayViewD<f64>) -> Array5<f64> {
    let five = trajectories.into_dimensionality::<Ix5>().expect("five axes");
    five.permuted_axes([0, 2, 1, 3, 4]).as_standard_layout().into_owned()
}
