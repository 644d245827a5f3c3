//! `temporal_stencil data`, and its file.

use std::collections::BTreeMap;
use std::ops::Range;

use ndarray::{Array3, Array5};
use parseval::run::Progress;
use parseval::run::tensor_file::{Tensor, TensorFile, Tensors, write_tensors};
use parseval::stencil::files::Files;
use parseval::stencil::plane::data::{Reference, Trajectories, from_files, trajectories};
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

/// Trajectories of one purpose.
struct Part<'a> {
    name: &'a str,
    /// Frames, and the one whose vorticity is kept.
    frames: (usize, usize),
    from: Origin<'a>,
}

/// Where trajectories come from.
enum Origin<'a> {
    /// Number of trajectories and first seed.
    Seeds((usize, u64), &'a Reference),
    /// Samples of files.
    Files(&'a Files, Range<usize>),
}

/// Makes the file of a configuration; returns what is to be said of the files that it is made from.
pub fn make(config: &Config, threads: usize, quiet: bool) -> Result<Vec<String>> {
    let (data, past, files) = (&config.data, config.data.past - 1, config.files()?);
    let valid_seed = data.seed + data.train as u64;
    let origins = match (&data.source, &files) {
        (Some(source), Some(files)) => source
            .split([data.train, data.valid, data.test], files.samples())?
            .map(|samples| Origin::Files(files, samples)),
        _ => [
            Origin::Seeds((data.train, data.seed), &data.reference),
            Origin::Seeds((config.valid(), valid_seed), &data.reference),
            Origin::Seeds((data.test, valid_seed + config.valid() as u64), config.test_reference()),
        ],
    };
    let lengths = [("train", (config.frames(), 0)), ("valid", (config.long(), past)), ("test", (config.long(), past))];
    let parts = lengths.into_iter().zip(origins).map(|((name, frames), from)| Part { name, frames, from });
    write(config, &parts.collect::<Vec<_>>(), threads, quiet)?;
    Ok(files.map_or_else(Vec::new, |files| files.notes().to_vec()))
}

/// Reads the file of a configuration, to which it must belong.
pub fn read(config: &Config) -> Result<Data> {
    let file = TensorFile::read(&config.data.path)?;
    let again = |what: &str| Error::format(&config.data.path, format!("{what}: run `temporal_stencil data` again"));
    if file.metadata.get("identity") != Some(&identity(config)?) {
        return Err(again("was made with other values of [flow] or [data]"));
    }
    if !is_of_these_files(config, &file)? {
        return Err(again("was made from files of other content"));
    }
    let data = &config.data;
    Ok(Data {
        train: frames(config, &file, "train", data.train, config.frames())?,
        valid: frames(config, &file, "valid", config.valid(), config.long())?,
        test: read_test(config, &file)?,
    })
}

/// The test of a configuration that has no other data ([`Config::on`]); its file is made if there is none that belongs
/// to it.
pub fn test_alone(config: &Config, threads: usize, quiet: bool) -> Result<Test> {
    let (data, path) = (&config.data, &config.data.path);
    if path.exists() {
        let file = TensorFile::read(path)?;
        if file.metadata.get("identity") == Some(&identity(config)?) && is_of_these_files(config, &file)? {
            return read_test(config, &file);
        }
    }
    let files = config.files()?;
    let from = match (&data.source, &files) {
        (Some(source), Some(files)) => {
            let [.., samples] = source.split([0, 0, data.test], files.samples())?;
            Origin::Files(files, samples)
        }
        _ => Origin::Seeds((data.test, data.seed), &data.reference),
    };
    write(config, &[Part { name: "test", frames: (config.long(), data.past - 1), from }], threads, quiet)?;
    read_test(config, &TensorFile::read(path)?)
}

fn write(config: &Config, parts: &[Part], threads: usize, quiet: bool) -> Result<()> {
    let data = &config.data;
    // Before the work: files that are too short, and a folder that cannot be.
    for part in parts {
        if let Origin::Files(files, _) = part.from {
            files.require(part.frames.0, "data.time", data.time)?;
        }
    }
    if let Some(folder) = data.path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    }
    let progress = Progress::new(1000 * parts.len() as u64, "permille", quiet);
    let mut told = 0;
    let mut tensors = Tensors::new();
    for (number, Part { name, frames, from }) in parts.iter().enumerate() {
        let tell = |share: f64| {
            let now = (1000.0 * (number as f64 + share)) as u64;
            progress.advance(now.saturating_sub(told));
            told = told.max(now);
        };
        let Trajectories { frames, vorticity, .. } = match from {
            Origin::Seeds(samples, reference) => {
                trajectories(&config.flow, reference, data.n, data.dt, *samples, *frames, threads, tell)?
            }
            Origin::Files(files, samples) => from_files(&config.flow, files, data.n, samples.clone(), *frames, tell)?,
        };
        tensors.insert((*name).to_owned(), Tensor::new(frames.shape(), frames.iter().copied().collect::<Vec<f32>>())?);
        if *name == "test" {
            let start = vorticity.iter().copied().collect::<Vec<f64>>();
            tensors.insert("start".to_owned(), Tensor::new(vorticity.shape(), start)?);
        }
    }
    progress.finish();
    let mut metadata = BTreeMap::from([("identity".to_owned(), identity(config)?)]);
    if let Some(source) = &data.source {
        metadata.insert("files".to_owned(), source.fingerprint()?);
    }
    write_tensors(&data.path, &tensors, &metadata)
}

/// What the content of the file depends on, but for that of the files it is made from.
fn identity(config: &Config) -> Result<String> {
    let mut data = config.data.clone();
    data.path = Default::default();
    if let Some(source) = &mut data.source {
        source.files.clear();
        (data.reference, data.test_reference, data.seed) = (Reference::default(), None, 0);
    }
    let text = serde_json::to_string(&(&config.flow, &data));
    text.map_err(|e| Error::parameter("data", format!("{data:?}"), e.to_string()))
}

/// Whether a file was made from the present content of the files of the source; these may be gone.
fn is_of_these_files(config: &Config, file: &TensorFile) -> Result<bool> {
    match &config.data.source {
        Some(source) if source.files.iter().all(|path| path.exists()) => {
            Ok(file.metadata.get("files") == Some(&source.fingerprint()?))
        }
        _ => Ok(true),
    }
}

fn frames(config: &Config, file: &TensorFile, name: &str, samples: usize, times: usize) -> Result<Array5<f32>> {
    let n = config.data.n;
    let shape = [samples, times, 2, n, n];
    let values = file.get::<f32>(name, &shape)?.to_vec();
    Ok(Array5::from_shape_vec((samples, times, 2, n, n), values).expect("the shape was checked"))
}

fn read_test(config: &Config, file: &TensorFile) -> Result<Test> {
    let test = config.data.test;
    // Files have points of their own.
    let fine = match (&config.data.source, file.tensors.get("start").map(Tensor::shape)) {
        (Some(_), Some(&[_, points, _])) => points,
        _ => config.test_reference().n,
    };
    let start = file.get::<f64>("start", &[test, fine, fine])?.to_vec();
    Ok(Test {
        frames: frames(config, file, "test", test, config.long())?,
        start: Array3::from_shape_vec((test, fine, fine), start).expect("the shape was checked"),
    })
}
