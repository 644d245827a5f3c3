//! Well+: a valid The Well file that also opens as netCDF-4, with its provenance.
//!
//! One file holds `B` samples on one periodic box:
//!
//! | object | content |
//! |---|---|
//! | `/` attributes | The Well's, one attribute a parameter, CF texts, equation, `schema_version` |
//! | `/sample /time /x /y /z /component` | dimension scales with units, axis, period |
//! | `/dimensions/{time,x,y,z}` | hard links to the scales |
//! | `/boundary_conditions/x_periodic` ... | masks as The Well asks |
//! | `/scalars` | parameters once more |
//! | `/t0_fields /t1_fields /t2_fields` | fields `[B, T, x.., D..]` with scales attached |
//! | `/provenance` attributes | [`Provenance`] |
//! | `/provenance/complete` | u8\[B\], 1 once a sample is whole |
//! | `/provenance/{sample_seed,wall_seconds}` | u64\[B\], f64\[B\] |
//! | `/provenance/{reference_error_time,reference_error_space}` | f64\[B\], NaN where not measured |
//! | `/provenance/{error_curve_time,error_curve_space}` | f64\[B, T\], the same at every frame |
//!
//! # Crash safety
//!
//! All shapes are fixed at creation. [`Writer::create`] makes the whole file, all storage contiguous and
//! allocated, under a temporary name, and renames it. From then on only raw bytes at known places change: the
//! numbers of a sample, fsync, then its flag. So a process killed at any moment leaves a file that every HDF5
//! library can open, in which all samples with a set flag are whole.
//!
//! This is where the format departs from chunked, appendable storage with an attribute `complete_steps`: an
//! attribute or a chunk index rewritten in place can be torn, a flag of one byte cannot. The price: no
//! filters, and the number of samples is fixed in advance (use more files).
//!
//! The Well: <https://github.com/PolymathicAI/the_well>, its format page and checker. netCDF-4: dimension scales
//! as in the HDF5 Dimension Scale Specification. CF: Climate and Forecast conventions 1.10.

mod header;
mod provenance;
mod reader;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

pub use header::{FieldSpec, Header, Precision, Provenance, Symmetry};
pub use provenance::ErrorCurves;
pub(super) use reader::open;
pub use writer::{FieldData, Writer};

/// Version of the layout beyond The Well's own.
pub const SCHEMA_VERSION: i64 = 1;

/// Value of the root attribute `Conventions`.
pub const CONVENTIONS: &str = "CF-1.10 WellPlus-1";

const COMPLETE: &str = "/provenance/complete";
const SAMPLE_SEED: &str = "/provenance/sample_seed";
const WALL_SECONDS: &str = "/provenance/wall_seconds";
const ERROR_TIME: &str = "/provenance/reference_error_time";
const ERROR_SPACE: &str = "/provenance/reference_error_space";
const ERROR_CURVES: [&str; 2] = ["/provenance/error_curve_time", "/provenance/error_curve_space"];

/// Names of the space axes.
pub(super) const AXES: [&str; 3] = ["x", "y", "z"];
