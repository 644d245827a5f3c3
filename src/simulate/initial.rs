//! Initial states by name.

use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis, IxDyn};
use ndarray_npy::ReadNpyExt;
use serde::{Deserialize, Serialize};

use super::equation::Equation;
use crate::data::{Dataset, Layout};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::initial::{
    self, AmplitudeLaw, CosineMode, FilteredVelocity, GaussianField, GrayScottSquares, Kdv, McWilliams, Soliton,
};
use crate::run::config::within;
use crate::spectral::Derivatives;

/// `[initial]`: a `kind` and its arguments as the types in [`crate::initial`] name them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Initial {
    /// [`initial::RandomFourier`], one field a component.
    RandomFourier {
        cut: usize,
        #[serde(default = "flat")]
        amplitude: AmplitudeLaw,
        #[serde(default = "yes")]
        mean_free: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<f64>,
    },
    /// [`GaussianField`].
    GaussianField(GaussianField),
    /// [`FilteredVelocity`]; its vorticity for equations of the vorticity.
    FilteredVelocity(FilteredVelocity),
    /// [`McWilliams`].
    Mcwilliams(McWilliams),
    /// [`GrayScottSquares`].
    GraySquares(GrayScottSquares),
    /// Exact solitons of the Korteweg-de Vries equation with the recipe's coefficients.
    Solitons { solitons: Vec<Soliton> },
    /// Taylor-Green vortices, in two or three dimensions.
    TaylorGreen {
        #[serde(default = "one")]
        mode: usize,
    },
    /// Arnold-Beltrami-Childress flow.
    Abc {
        amplitudes: [f64; 3],
        #[serde(default = "one")]
        mode: usize,
    },
    /// A sum of cosines.
    Modes { modes: Vec<CosineMode> },
    /// [`initial::classical::kassam_trefethen`].
    KassamTrefethen {},
    /// [`initial::classical::allen_cahn`].
    AllenCahn {},
    /// [`initial::zabusky_kruskal`].
    ZabuskyKruskal {},
    /// States from a file: `.npy` of shape `[channel, x, ..]` (all samples alike) or `[sample, channel, x, ..]`, the
    /// channel axis left out if there is one channel only; or any file that [`Dataset::open`] reads.
    File {
        /// Relative to the recipe.
        path: PathBuf,
        /// Fields that make the state, in order; all if left out. For HDF5.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        fields: Vec<String>,
        /// Frame to start from. For HDF5.
        #[serde(default)]
        frame: usize,
    },
}

/// Initial states, read or about to be drawn.
pub(super) enum Source {
    /// Drawn for each seed.
    Drawn,
    /// Read from a file, one for each sample, or one for all.
    Read(Vec<ArrayD<f64>>),
}

impl Initial {
    /// Reads what has to be read; `folder` is where relative paths start.
    pub(super) fn open(&self, folder: &Path, samples: usize, shape: &[usize]) -> Result<Source> {
        let Self::File { path, fields, frame } = self else { return Ok(Source::Drawn) };
        let path = folder.join(path);
        let states = match path.extension().is_some_and(|e| e == "npy") {
            true => read_npy(&path, shape)?,
            false => read_dataset(&path, fields, *frame, shape)?,
        };
        if states.len() != 1 && states.len() < samples {
            let rule = format!("must be at most the {} states in {}", states.len(), path.display());
            return Err(Error::parameter("dataset.samples", samples, rule));
        }
        Ok(Source::Read(states))
    }

    /// State of one sample, `[channel, x, ..]`.
    pub(super) fn sample(
        &self,
        source: &Source,
        equation: &Equation,
        grid: &Grid,
        channels: usize,
        index: usize,
        seed: u64,
    ) -> Result<ArrayD<f64>> {
        if let Source::Read(states) = source {
            return Ok(states[if states.len() == 1 { 0 } else { index }].clone());
        }
        let state = self.draw(equation, grid, channels, seed).map_err(within("initial"))?;
        let state = if state.ndim() == grid.dim() { state.insert_axis(Axis(0)) } else { state };
        let expected: Vec<usize> = std::iter::once(channels).chain(grid.shape().iter().copied()).collect();
        if state.shape() != expected {
            return Err(Error::shape("initial.kind (state of this equation)", &expected, state.shape()));
        }
        Ok(state)
    }

    fn draw(&self, equation: &Equation, grid: &Grid, channels: usize, seed: u64) -> Result<ArrayD<f64>> {
        match self {
            Self::RandomFourier { cut, amplitude, mean_free, max } => {
                let series =
                    initial::RandomFourier { cut: *cut, amplitude: *amplitude, mean_free: *mean_free, max: *max };
                components(channels, seed, |seed| series.sample(grid, seed))
            }
            Self::GaussianField(field) => components(channels, seed, |seed| field.sample(grid, seed)),
            Self::FilteredVelocity(field) => {
                let velocity = field.sample(grid, seed)?;
                let is_vorticity = matches!(equation, Equation::NavierStokes2d { .. });
                Ok(if is_vorticity { Derivatives::plan(grid).curl(velocity.view()) } else { velocity })
            }
            Self::Mcwilliams(field) => field.sample(grid, seed),
            Self::GraySquares(field) => field.sample(grid, seed),
            Self::Solitons { solitons } => match *equation {
                Equation::KortewegDeVries { a, b } => Kdv { a, b }.solitons(grid, solitons, 0.0),
                _ => Err(Error::parameter("kind", "solitons", "needs the equation korteweg_de_vries")),
            },
            Self::TaylorGreen { mode } if grid.dim() == 2 => initial::taylor_green::vorticity(grid, *mode),
            Self::TaylorGreen { mode } => initial::taylor_green::velocity(grid, *mode),
            Self::Abc { amplitudes, mode } => initial::abc::velocity(grid, *amplitudes, *mode),
            Self::Modes { modes } => initial::modes::sum(grid, modes),
            Self::KassamTrefethen {} => initial::classical::kassam_trefethen(grid),
            Self::AllenCahn {} => initial::classical::allen_cahn(grid),
            Self::ZabuskyKruskal {} => initial::zabusky_kruskal(grid),
            Self::File { .. } => unreachable!("files are read by `open`"),
        }
    }
}

/// One field a component, each of its own seed; the first has the sample's.
fn components(channels: usize, seed: u64, field: impl Fn(u64) -> Result<ArrayD<f64>>) -> Result<ArrayD<f64>> {
    use crate::run::seed::derive;
    let fields = (0..channels).map(|c| field(if c == 0 { seed } else { derive(seed, "component", c as u64) }));
    let fields = fields.collect::<Result<Vec<_>>>()?;
    let views: Vec<_> = fields.iter().map(|field| field.view()).collect();
    Ok(ndarray::stack(Axis(0), &views).expect("components have equal shapes"))
}

fn read_npy(path: &Path, shape: &[usize]) -> Result<Vec<ArrayD<f64>>> {
    let open = || std::fs::File::open(path).map(std::io::BufReader::new).map_err(|e| Error::io(path, e));
    let array = match ArrayD::<f64>::read_npy(open()?) {
        Ok(array) => array,
        Err(double) => match ArrayD::<f32>::read_npy(open()?) {
            Ok(array) => array.mapv(f64::from),
            Err(_) => return Err(Error::format(path, format!("no array of f64 or f32: {double}"))),
        },
    };
    let got = array.shape().to_vec();
    let space = &shape[1..];
    let one_channel = shape[0] == 1;
    let array = match got.as_slice() {
        s if s == shape => array.insert_axis(Axis(0)),
        s if one_channel && s == space => array.insert_axis(Axis(0)).insert_axis(Axis(0)),
        s if s.len() == shape.len() + 1 && &s[1..] == shape => array,
        s if one_channel && s.len() == shape.len() && &s[1..] == space => array.insert_axis(Axis(1)),
        _ => return Err(Error::shape(format!("initial.path {}", path.display()), shape, &got)),
    };
    Ok(array.outer_iter().map(|state| state.to_owned()).collect())
}

fn read_dataset(path: &Path, fields: &[String], frame: usize, shape: &[usize]) -> Result<Vec<ArrayD<f64>>> {
    let data = Dataset::open(path, None::<Layout>)?;
    let names: Vec<String> =
        if fields.is_empty() { data.fields().iter().map(|f| f.name.clone()).collect() } else { fields.to_vec() };
    if frame >= data.times().len() {
        return Err(Error::parameter("initial.frame", frame, format!("must be < {}", data.times().len())));
    }
    (0..data.samples())
        .map(|sample| {
            let parts = names.iter().map(|name| data.read::<f64>(name, sample, frame..frame + 1, 1));
            let parts = parts.collect::<Result<Vec<_>>>()?;
            let views: Vec<_> = parts.iter().map(|part| part.index_axis(Axis(0), 0)).collect();
            let state: ArrayD<f64> =
                ndarray::concatenate(Axis(0), &views).unwrap_or_else(|_| ArrayD::zeros(IxDyn(&[0])));
            if state.shape() == shape {
                Ok(state)
            } else {
                Err(Error::shape(format!("initial.path {}", path.display()), shape, state.shape()))
            }
        })
        .collect()
}

fn flat() -> AmplitudeLaw {
    AmplitudeLaw::Flat
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}
