//! `temporal_stencil data`, and its file.

use std::collections::BTreeMap;

use ndarray::{Array3, Array5};
use parseval::run::Progress;
use parseval::run::tensor_file::{Tensor, TensorFile, Tensors, write_tensors};
use parseval::stencil::plane::data::{Reference, Trajectories, trajectories};
use parseval::{Error, Result};

use super::config::Config;

/// Trajectories of a configuration.
pub struct Data {
    /// `[sample, time, 2, n, n]`.
    pub train: Array5<f32>,
    /// As `train`; begins `past` frames before the start of the test.
    pub valid: Array5<f32>,
    /// As `valid`.
    pub test: Array5<f32>,
    /// Vorticity of the reference at the start of the test, `[sample, x, y]`.
    pub start: Array3<f64>,
}

/// Makes the file.
pub fn make(config: &Config, threads: usize, quiet: bool) -> Result<()> {
    let data = &config.data;
    let past = data.past - 1;
    let progress = Progress::new(3000, "permille", quiet);
    let mut seed = data.seed;
    let mut told = 0;
    let mut part = |name: usize, samples: usize, frames: usize, start: usize, reference: &Reference| {
        let told = |share: f64| {
            let now = (1000.0 * (name as f64 + share)) as u64;
            progress.advance(now.saturating_sub(told));
            told = told.max(now);
        };
        let sets = (samples, seed);
        seed += samples as u64;
        trajectories(&config.flow, reference, data.n, data.dt, sets, (frames, start), threads, told)
    };
    let train = part(0, data.train, config.frames(), 0, &data.reference)?;
    let frames = config.frames() + past;
    let valid = part(1, data.valid.max(1), frames, past, &data.reference)?;
    let test = part(2, data.test, frames, past, config.test_reference())?;
    progress.finish();
    let mut tensors = Tensors::new();
    for (name, Trajectories { frames, .. }) in [("train", &train), ("valid", &valid), ("test", &test)] {
        tensors.insert(name.to_owned(), Tensor::new(frames.shape(), frames.iter().copied().collect::<Vec<f32>>())?);
    }
    let start = test.vorticity.iter().copied().collect::<Vec<f64>>();
    tensors.insert("start".to_owned(), Tensor::new(test.vorticity.shape(), start)?);
    let metadata = BTreeMap::from([("identity".to_owned(), identity(config)?)]);
    if let Some(folder) = data.path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    write_tensors(&data.path, &tensors, &metadata)
}

/// What the content of the file depends on.
fn identity(config: &Config) -> Result<String> {
    let mut data = config.data.clone();
    data.path = Default::default();
    let text = serde_json::to_string(&(&config.flow, &data));
    text.map_err(|e| Error::parameter("data", format!("{data:?}"), e.to_string()))
}

/// Reads the file, which must belong to the configuration.
pub fn read(config: &Config) -> Result<Data> {
    let file = TensorFile::read(&config.data.path)?;
    if file.metadata.get("identity") != Some(&identity(config)?) {
        let message = "was made with other values of [flow] or [data]: run `temporal_stencil data` again".to_owned();
        return Err(Error::format(&config.data.path, message));
    }
    let (data, n) = (&config.data, config.data.n);
    let frames = |name: &str, samples: usize, frames: usize| {
        let shape = [samples, frames, 2, n, n];
        let values = file.get::<f32>(name, &shape)?.to_vec();
        Ok::<_, Error>(Array5::from_shape_vec((samples, frames, 2, n, n), values).expect("the shape was checked"))
    };
    let fine = config.test_reference().n;
    let start = file.get::<f64>("start", &[data.test, fine, fine])?.to_vec();
    let long = config.frames() + data.past - 1;
    Ok(Data {
        train: frames("train", data.train, config.frames())?,
        valid: frames("valid", data.valid.max(1), long)?,
        test: frames("test", data.test, long)?,
        start: Array3::from_shape_vec((data.test, fine, fine), start).expect("the shape was checked"),
    })
}
