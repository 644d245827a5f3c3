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
    pub test: Test,
}

/// What models and solvers are tested on.
pub struct Test {
    /// As [`Data::valid`].
    pub frames: Array5<f32>,
    /// Vorticity of the reference at the start of the test, `[sample, x, y]`.
    pub start: Array3<f64>,
}

/// Makes the file of a configuration.
pub fn make(config: &Config, threads: usize, quiet: bool) -> Result<()> {
    let data = &config.data;
    let past = data.past - 1;
    let long = config.frames() + past;
    let valid_seed = data.seed + data.train as u64;
    let parts = [
        ("train", (data.train, data.seed), (config.frames(), 0), &data.reference),
        ("valid", (data.valid.max(1), valid_seed), (long, past), &data.reference),
        ("test", (data.test, valid_seed + data.valid.max(1) as u64), (long, past), config.test_reference()),
    ];
    write(config, &parts, threads, quiet)
}

/// Reads the file of a configuration, to which it must belong.
pub fn read(config: &Config) -> Result<Data> {
    let file = TensorFile::read(&config.data.path)?;
    if file.metadata.get("identity") != Some(&identity(config)?) {
        let message = "was made with other values of [flow] or [data]: run `temporal_stencil data` again".to_owned();
        return Err(Error::format(&config.data.path, message));
    }
    let (data, long) = (&config.data, config.frames() + config.data.past - 1);
    Ok(Data {
        train: frames(config, &file, "train", data.train, config.frames())?,
        valid: frames(config, &file, "valid", data.valid.max(1), long)?,
        test: read_test(config, &file)?,
    })
}

/// The test of a configuration that has no other data ([`Config::on`]); its file is made if there is none that belongs
/// to it.
pub fn test_alone(config: &Config, threads: usize, quiet: bool) -> Result<Test> {
    let (data, path) = (&config.data, &config.data.path);
    let stored = if path.exists() { Some(TensorFile::read(path)?) } else { None };
    let stored = stored.filter(|file| identity(config).is_ok_and(|id| file.metadata.get("identity") == Some(&id)));
    let file = match stored {
        Some(file) => file,
        None => {
            let (past, long) = (data.past - 1, config.frames() + data.past - 1);
            write(config, &[("test", (data.test, data.seed), (long, past), &data.reference)], threads, quiet)?;
            TensorFile::read(path)?
        }
    };
    read_test(config, &file)
}

/// Name, number and first seed, frames and start, solver of the trajectories.
type Part<'a> = (&'a str, (usize, u64), (usize, usize), &'a Reference);

fn write(config: &Config, parts: &[Part], threads: usize, quiet: bool) -> Result<()> {
    let data = &config.data;
    let progress = Progress::new(1000 * parts.len() as u64, "permille", quiet);
    let mut told = 0;
    let mut tensors = Tensors::new();
    for (number, &(name, samples, frames, reference)) in parts.iter().enumerate() {
        let tell = |share: f64| {
            let now = (1000.0 * (number as f64 + share)) as u64;
            progress.advance(now.saturating_sub(told));
            told = told.max(now);
        };
        let Trajectories { frames, vorticity, .. } =
            trajectories(&config.flow, reference, data.n, data.dt, samples, frames, threads, tell)?;
        tensors.insert(name.to_owned(), Tensor::new(frames.shape(), frames.iter().copied().collect::<Vec<f32>>())?);
        if name == "test" {
            let start = vorticity.iter().copied().collect::<Vec<f64>>();
            tensors.insert("start".to_owned(), Tensor::new(vorticity.shape(), start)?);
        }
    }
    progress.finish();
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

fn frames(config: &Config, file: &TensorFile, name: &str, samples: usize, times: usize) -> Result<Array5<f32>> {
    let n = config.data.n;
    let shape = [samples, times, 2, n, n];
    let values = file.get::<f32>(name, &shape)?.to_vec();
    Ok(Array5::from_shape_vec((samples, times, 2, n, n), values).expect("the shape was checked"))
}

fn read_test(config: &Config, file: &TensorFile) -> Result<Test> {
    let (data, fine) = (&config.data, config.test_reference().n);
    let start = file.get::<f64>("start", &[data.test, fine, fine])?.to_vec();
    Ok(Test {
        frames: frames(config, file, "test", data.test, config.frames() + data.past - 1)?,
        start: Array3::from_shape_vec((data.test, fine, fine), start).expect("the shape was checked"),
    })
}
