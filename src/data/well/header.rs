//! What a Well+ file says about its content, as plain data.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result};
use crate::field::Grid;

/// Storage precision of the fields; coordinates, times and measured numbers are always `f64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Precision {
    #[default]
    F32,
    F64,
}

impl Precision {
    /// Bytes of a number.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Symmetry of a rank-2 field in its two component axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Symmetry {
    #[default]
    None,
    Symmetric,
    Antisymmetric,
}

/// One field of a data set.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldSpec {
    /// Name of the dataset.
    pub name: String,
    /// Tensor rank: 0 scalar, 1 vector, 2 matrix; stored with that many trailing axes of length `d`.
    pub rank: usize,
    /// UDUNITS text, `"1"` if dimensionless.
    pub units: String,
    /// Name for axes of plots.
    pub long_name: String,
    /// CF standard name, where there is one.
    pub standard_name: Option<String>,
    /// Whether the field has a time axis.
    pub time_varying: bool,
    /// Symmetry, for rank 2.
    pub symmetry: Symmetry,
    /// Largest magnitude of a healthy sample, if the maker knows it.
    pub valid_max_abs: Option<f64>,
}

impl FieldSpec {
    /// A dimensionless, time-varying field.
    pub fn new(name: &str, rank: usize) -> Self {
        Self {
            name: name.to_owned(),
            rank,
            units: "1".to_owned(),
            long_name: name.replace('_', " "),
            standard_name: None,
            time_varying: true,
            symmetry: Symmetry::None,
            valid_max_abs: None,
        }
    }

    /// Shape of one sample, `[T, x.., component..]`, without `T` if constant in time.
    pub fn sample_shape(&self, frames: usize, grid: &Grid) -> Vec<usize> {
        let mut shape = Vec::new();
        if self.time_varying {
            shape.push(frames);
        }
        shape.extend_from_slice(grid.shape());
        shape.extend(std::iter::repeat_n(grid.dim(), self.rank));
        shape
    }
}

/// Where a data set comes from: what is needed to make it again, and how far it can be trusted.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Provenance {
    /// Program and version.
    pub generator: String,
    /// Commit of the sources, empty if unknown.
    pub git_commit: String,
    /// Whether the sources differed from that commit.
    pub git_dirty: bool,
    /// Compiler version.
    pub rustc: String,
    /// Processor the code was compiled for.
    pub target_cpu: String,
    /// Full text of the resolved configuration.
    pub config_toml: String,
    /// Command line as given.
    pub command_line: String,
    /// Master seed.
    pub seed: u64,
    /// Random number generator, e.g. `"chacha8"`.
    pub rng: String,
    /// Start of the run, ISO 8601.
    pub started_utc: String,
    /// Hash of the host's name.
    pub hostname_hash: String,
    /// Threads used.
    pub threads: usize,
    /// Time stepper, e.g. `"etdrk4"`.
    pub solver: String,
    /// Its step; NaN if there was none.
    pub solver_dt: f64,
    /// Dealiasing rule, e.g. `"2/3"`.
    pub dealiasing: String,
    /// Working precision of the solver, `"f32"` or `"f64"`.
    pub precision: String,
    /// How `reference_error_time` was measured, e.g. `"relative L2 at the final time against dt/2"`.
    pub reference_error_time_method: String,
    /// How `reference_error_space` was measured.
    pub reference_error_space_method: String,
}

/// Everything that a Well+ file states before the first sample is written.
///
/// Fields are `[B, T, x.., component..]` on a periodic box; every sample has the same times.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// Short name, as The Well's `dataset_name`.
    pub name: String,
    /// One line.
    pub title: String,
    /// A paragraph.
    pub summary: String,
    /// Licence, SPDX text.
    pub license: String,
    /// Who made it.
    pub creator: String,
    /// The equation in plain text.
    pub equation: String,
    /// Its machine name, e.g. `"kuramoto_sivashinsky"`.
    pub equation_id: String,
    /// Whether all units are `"1"`.
    pub nondimensional: bool,
    /// Unit of lengths.
    pub length_units: String,
    /// Unit of times.
    pub time_units: String,
    /// The periodic box.
    pub grid: Grid,
    /// Fields, in the order of [`Writer::write_sample`](super::Writer::write_sample).
    pub fields: Vec<FieldSpec>,
    /// Parameters of the equation, the same for all samples.
    pub parameters: BTreeMap<String, f64>,
    /// Times of the stored frames, increasing.
    pub times: Vec<f64>,
    /// Number of samples `B`.
    pub samples: usize,
    /// Storage precision of the fields.
    pub precision: Precision,
    /// Where it comes from.
    pub provenance: Provenance,
}

impl Header {
    /// A nondimensional data set in `f32`; set the texts, parameters and provenance afterwards.
    pub fn new(name: &str, grid: Grid, fields: Vec<FieldSpec>, times: Vec<f64>, samples: usize) -> Self {
        Self {
            name: name.to_owned(),
            title: name.to_owned(),
            summary: String::new(),
            license: String::new(),
            creator: String::new(),
            equation: String::new(),
            equation_id: String::new(),
            nondimensional: true,
            length_units: "1".to_owned(),
            time_units: "1".to_owned(),
            grid,
            fields,
            parameters: BTreeMap::new(),
            times,
            samples,
            precision: Precision::F32,
            provenance: Provenance { solver_dt: f64::NAN, ..Provenance::default() },
        }
    }

    /// Checks what the file format asks for.
    pub(super) fn validate(&self) -> Result<()> {
        if self.samples == 0 {
            return Err(Error::parameter("samples", 0, "must be >= 1"));
        }
        if self.fields.is_empty() {
            return Err(Error::parameter("fields", "[]", "must have at least one field"));
        }
        if self.times.is_empty() || self.times.iter().any(|t| !t.is_finite()) {
            return Err(Error::parameter("times", format!("{:?}", self.times), "must be finite, at least one"));
        }
        if let Some(w) = self.times.windows(2).find(|w| w[1] <= w[0]) {
            return Err(Error::parameter("times", format!("{w:?}"), "must increase"));
        }
        let mut seen = BTreeSet::new();
        for field in &self.fields {
            check_name("field name", &field.name)?;
            if field.rank > 2 {
                return Err(Error::parameter(format!("rank of {}", field.name), field.rank, "must be 0, 1 or 2"));
            }
            if !seen.insert(&field.name) {
                return Err(Error::parameter("field name", &field.name, "must be given once"));
            }
        }
        for name in self.parameters.keys() {
            check_name("parameter name", name)?;
            if RESERVED.contains(&name.as_str()) {
                return Err(Error::parameter("parameter name", name, "is an attribute of the format itself"));
            }
        }
        Ok(())
    }
}

/// Root attributes that a parameter must not overwrite.
const RESERVED: [&str; 15] = [
    "dataset_name",
    "grid_type",
    "n_spatial_dims",
    "n_trajectories",
    "simulation_parameters",
    "Conventions",
    "title",
    "summary",
    "license",
    "creator_name",
    "equation",
    "equation_id",
    "nondimensional",
    "schema_version",
    "data_type",
];

fn check_name(what: &str, name: &str) -> Result<()> {
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.+".contains(c));
    if legal {
        Ok(())
    } else {
        Err(Error::parameter(what, name, "must start with a letter and hold only letters, digits and _-.+"))
    }
}
