//! Initial states by name.

use std::f64::consts::PI;
use std::path::{Path, PathBuf};

use ndarray::Array1;
use ndarray_npy::ReadNpyExt;
use serde::{Deserialize, Serialize};

use super::series::Series;
use crate::error::{Error, Result};

/// An interval `[from, from + length)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// Left end.
    pub from: f64,
    /// Period.
    pub length: f64,
}

/// An initial state `u_0(x)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Initial {
    /// `-sin(pi x)`.
    MinusSine {},
    /// `cos(pi x)`.
    Cosine {},
    /// `sin x`.
    Sine {},
    /// `x^2 cos(pi x)`, which has a jump of slope at `x = 1`.
    ParabolaCosine {},
    /// `cos x (1 + sin x)`.
    CosineProduct {},
    /// `sum_m (c_m cos k_m x + s_m sin k_m x)`, `k_m = 2 pi m / L`, with `x` from the left end of the interval.
    Modes {
        /// `[c_m, s_m]` for `m = 0, 1, ...`.
        modes: Vec<[f64; 2]>,
    },
    /// Values on `n` equidistant points, the right end left off.
    Values {
        /// The values.
        values: Vec<f64>,
    },
    /// The same from a file.
    File {
        /// A one-dimensional `.npy` file in double precision.
        path: PathBuf,
    },
    /// One number a field: the state of an ordinary differential equation.
    Point {
        /// The numbers.
        values: Vec<f64>,
    },
}

/// Points on which named states are sampled: enough for all digits of those that are smooth.
const POINTS: usize = 8192;

impl Initial {
    /// Values in place of a file, whose path is relative to `folder`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] for a file that is not there or has another content.
    pub fn read(&self, folder: &Path) -> Result<Self> {
        let Self::File { path } = self else { return Ok(self.clone()) };
        let path = folder.join(path);
        let file = std::fs::File::open(&path).map_err(|e| Error::io(&path, e))?;
        let values = Array1::<f64>::read_npy(file).map_err(|e| Error::format(&path, e.to_string()))?;
        Ok(Self::Values { values: values.to_vec() })
    }

    /// The state as a series a field.
    ///
    /// # Errors
    ///
    /// Those of [`Initial::read`]; [`Error::Parameter`] for values that are not periodic to the eye, that is, whose highest modes are as large as the
    /// others, for more than one field of a named state, or a wrong number of values.
    pub fn series(&self, interval: Option<Interval>, fields: usize) -> Result<Vec<Series>> {
        if let Self::Point { values } = self {
            return match (values.len() == fields, interval) {
                (true, None) => Ok(values.iter().map(|&v| Series::constant(v)).collect()),
                (true, Some(_)) => Err(Error::parameter("initial.kind", "point", "must be a function of x")),
                (false, _) => Err(Error::shape("initial.values", &[fields], &[values.len()])),
            };
        }
        let rule = "must be there for an equation with derivatives in x";
        let Interval { from, length } = interval.ok_or_else(|| Error::parameter("interval", "none", rule))?;
        if fields != 1 {
            return Err(Error::parameter(
                "initial.kind",
                format!("{self:?}"),
                format!("gives one field, not {fields}"),
            ));
        }
        let sampled = |f: &dyn Fn(f64) -> f64| {
            let values: Vec<f64> = (0..POINTS).map(|j| f(from + length * j as f64 / POINTS as f64)).collect();
            Series::interpolate(from, length, &values, 2e-15)
        };
        let series = match self {
            Self::MinusSine {} => sampled(&|x| -(PI * x).sin()),
            Self::Cosine {} => sampled(&|x| (PI * x).cos()),
            Self::Sine {} => sampled(&f64::sin),
            Self::ParabolaCosine {} => sampled(&|x| x * x * (PI * x).cos()),
            Self::CosineProduct {} => sampled(&|x| x.cos() * (1.0 + x.sin())),
            Self::Modes { modes } => {
                let amplitudes = modes.iter().map(|[c, s]| num_complex::Complex64::new(*c, -s)).collect();
                Ok(Series { origin: from, length, amplitudes })
            }
            Self::Values { values } => {
                let series = Series::interpolate(from, length, values, 1e-15)?;
                let size = |a: &[num_complex::Complex64]| a.iter().map(|a| a.norm()).fold(0.0, f64::max);
                let (n, all) = (values.len(), size(&series.amplitudes));
                let tail = size(&series.amplitudes[(3 * n / 8).min(series.amplitudes.len())..]);
                if tail > 1e-3 * all {
                    let rule = "must be periodic and resolved: its highest modes are not small";
                    return Err(Error::parameter("initial.values", format!("{tail:.1e} of {all:.1e}"), rule));
                }
                Ok(series)
            }
            Self::File { .. } => return self.read(Path::new("."))?.series(interval, fields),
            Self::Point { .. } => unreachable!("done above"),
        };
        Ok(vec![series?])
    }
}
