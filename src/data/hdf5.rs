//! HDF5 through two small traits: [`Source`] reads a file, [`Sink`] makes one.
//!
//! Two back ends implement them. [`Backend::Pure`] is the crate `rust-hdf5`, with nothing to install. With the
//! feature `libhdf5`, `Backend::Library` is the C library through `hdf5-metno` and becomes the default. One
//! conformance suite runs on both and lets each read what the other wrote.
//!
//! A file is made once: groups, attributes, links and the places of all arrays are fixed when a [`Sink`] closes.
//! What changes later are raw bytes at [`Info::offset`], which need no HDF5 library; the writer of Well+ files
//! rests on this.
//!
//! A known weakness of `rust-hdf5` 0.7.9, found by the suite: it describes the characters of a variable-length string
//! as one-byte strings where the C library has unsigned bytes. h5py, xarray, netCDF-C and h5dump read the text
//! attributes of such files; a C program that asks for a string type of its own instead of the file's native type gets
//! "no conversion path". Numbers, flags, names and scales are not affected, and files made with `libhdf5` are not.
//!
//! Corrupt files: every call into a third-party decoder is guarded, so that its panic becomes
//! [`Error::Format`]; a request for far more bytes than the file could hold is refused before it allocates.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::{Error, Result};
use crate::field::Real;

#[cfg(feature = "libhdf5")]
mod clib;
mod headers;
mod pure;
#[cfg(test)]
mod tests;

/// Element type of a dataset, as this crate reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE binary32, either byte order.
    F32,
    /// IEEE binary64, either byte order.
    F64,
    /// Signed integer; narrower ones are widened.
    I64,
    /// Unsigned integer; narrower ones but `u8` are widened.
    U64,
    /// Byte.
    U8,
    /// The enumeration `{FALSE = 0, TRUE = 1}` over `i8` (h5py's convention).
    Bool,
    /// Anything else, by name; not readable as numbers.
    Other(String),
}

/// What is known of a dataset without reading it.
#[derive(Clone, Debug)]
pub struct Info {
    /// Size of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// Chunk shape, if chunked.
    pub chunk: Option<Vec<usize>>,
    /// Absolute byte position of the first element where storage is one contiguous block.
    pub offset: Option<u64>,
}

/// How a dataset is to be stored.
#[derive(Clone, Debug)]
pub struct Create<'a> {
    /// Size of each axis; empty for a scalar.
    pub shape: &'a [usize],
    /// Element type.
    pub dtype: Dtype,
    /// Chunk shape; `None` is one contiguous block, allocated at once.
    pub chunk: Option<&'a [usize]>,
    /// Shuffle and deflate level, only with chunks.
    pub deflate: Option<u8>,
}

impl<'a> Create<'a> {
    /// One contiguous block.
    pub fn contiguous(shape: &'a [usize], dtype: Dtype) -> Self {
        Self { shape, dtype, chunk: None, deflate: None }
    }
}

/// Numbers to write, of exactly the dataset's element type.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Slice<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
    I64(&'a [i64]),
    U64(&'a [u64]),
    U8(&'a [u8]),
    Bool(&'a [bool]),
}

impl Slice<'_> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Numbers read, in the precision of the file.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    U64(Vec<u64>),
}

impl Values {
    /// Converts to a working precision, rounding to nearest.
    pub fn into_real<T: Real>(self) -> Vec<T> {
        match self {
            Self::F32(v) => v.into_iter().map(|x| T::of(f64::from(x))).collect(),
            Self::F64(v) => v.into_iter().map(T::of).collect(),
            Self::I64(v) => v.into_iter().map(|x| T::of(x as f64)).collect(),
            Self::U64(v) => v.into_iter().map(|x| T::of(x as f64)).collect(),
        }
    }

    /// Unsigned integers; other types give `None`.
    pub fn into_u64(self) -> Option<Vec<u64>> {
        match self {
            Self::U64(v) => Some(v),
            _ => None,
        }
    }
}

/// Value of an attribute: a scalar or a list.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Attr {
    Float(f64),
    Int(i64),
    Unsigned(u64),
    Bool(bool),
    Text(String),
    Floats(Vec<f64>),
    Ints(Vec<i64>),
    Bools(Vec<bool>),
    Texts(Vec<String>),
}

impl Attr {
    /// The number, where there is exactly one (a list of one counts: netCDF stores scalars so).
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(x) => Some(*x),
            Self::Int(x) => Some(*x as f64),
            Self::Unsigned(x) => Some(*x as f64),
            Self::Floats(v) if v.len() == 1 => Some(v[0]),
            Self::Ints(v) if v.len() == 1 => Some(v[0] as f64),
            _ => None,
        }
    }

    /// The text, where there is exactly one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(s) => Some(s),
            Self::Texts(v) if v.len() == 1 => Some(&v[0]),
            _ => None,
        }
    }

    /// The truth value, where there is exactly one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            Self::Bools(v) if v.len() == 1 => Some(v[0]),
            _ => None,
        }
    }

    /// All texts; a single one counts as a list.
    pub fn as_texts(&self) -> Option<Vec<String>> {
        match self {
            Self::Text(s) => Some(vec![s.clone()]),
            Self::Texts(v) => Some(v.clone()),
            _ => None,
        }
    }
}

impl From<&str> for Attr {
    fn from(s: &str) -> Self {
        Self::Text(s.to_owned())
    }
}

impl From<f64> for Attr {
    fn from(x: f64) -> Self {
        Self::Float(x)
    }
}

impl From<bool> for Attr {
    fn from(b: bool) -> Self {
        Self::Bool(b)
    }
}

/// A name in a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Link name.
    pub name: String,
    /// Whether it is a group (else a dataset).
    pub is_group: bool,
}

/// An HDF5 file open for reading. Paths are absolute, `/group/dataset`; `/` is the root group.
pub trait Source {
    /// Names in a group, sorted.
    fn members(&self, group: &str) -> Result<Vec<Member>>;

    /// Shape, type and storage of a dataset.
    fn info(&self, dataset: &str) -> Result<Info>;

    /// Attributes of a group or dataset. Types that [`Attr`] lacks (references, compounds) are left out.
    fn attributes(&self, object: &str) -> Result<BTreeMap<String, Attr>>;

    /// Reads the hyperslab `start .. start + count`, row-major, in the precision of the file.
    fn read(&self, dataset: &str, start: &[usize], count: &[usize]) -> Result<Values>;

    /// Path of the first dimension scale attached to each axis.
    fn scales(&self, dataset: &str) -> Result<Vec<Option<String>>>;

    /// Whether the path names an object.
    fn contains(&self, object: &str) -> bool;
}

/// Reads a whole (small) dataset as doubles.
///
/// # Errors
///
/// As [`Source::read`].
pub fn read_all(source: &dyn Source, dataset: &str) -> Result<Vec<f64>> {
    let shape = source.info(dataset)?.shape;
    Ok(source.read(dataset, &vec![0; shape.len()], &shape)?.into_real())
}

/// An HDF5 file being made. Paths are as in [`Source`]; parents must exist.
pub trait Sink {
    /// Creates a group.
    fn group(&mut self, path: &str) -> Result<()>;

    /// Creates a dataset and its storage; elements not written are zero.
    fn dataset(&mut self, path: &str, create: &Create) -> Result<()>;

    /// Writes the hyperslab `start .. start + count`, row-major.
    fn write(&mut self, dataset: &str, start: &[usize], count: &[usize], values: Slice) -> Result<()>;

    /// Sets an attribute of a group or dataset.
    fn attribute(&mut self, object: &str, name: &str, value: &Attr) -> Result<()>;

    /// Adds the hard link `link` to the dataset `target`.
    fn link(&mut self, target: &str, link: &str) -> Result<()>;

    /// Makes a 1-D dataset a dimension scale.
    fn scale(&mut self, dataset: &str, name: &str) -> Result<()>;

    /// Attaches a dimension scale to an axis, with the back reference.
    fn attach(&mut self, dataset: &str, axis: usize, scale: &str) -> Result<()>;

    /// Writes everything that is pending and closes the file.
    fn close(self: Box<Self>) -> Result<()>;
}

/// Who encodes and decodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The crate `rust-hdf5`.
    #[cfg_attr(not(feature = "libhdf5"), default)]
    Pure,
    /// The C library.
    #[cfg(feature = "libhdf5")]
    #[default]
    Library,
}

impl Backend {
    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be opened, [`Error::Format`] if it is not HDF5.
    pub fn open(self, path: &Path) -> Result<Box<dyn Source>> {
        match self {
            Self::Pure => Ok(Box::new(pure::PureSource::open(path)?)),
            #[cfg(feature = "libhdf5")]
            Self::Library => Ok(Box::new(clib::LibrarySource::open(path)?)),
        }
    }

    /// Creates a file, replacing one that exists.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be created.
    pub fn create(self, path: &Path) -> Result<Box<dyn Sink>> {
        // The operating system's own words, which the libraries wrap or lose.
        std::fs::File::create(path).map_err(|e| Error::io(path, e))?;
        match self {
            Self::Pure => Ok(Box::new(pure::PureSink::create(path)?)),
            #[cfg(feature = "libhdf5")]
            Self::Library => Ok(Box::new(clib::LibrarySink::create(path)?)),
        }
    }
}

/// Opens a file for reading with the default back end.
///
/// # Errors
///
/// As [`Backend::open`].
pub fn open(path: &Path) -> Result<Box<dyn Source>> {
    Backend::default().open(path)
}

/// Whether the file carries the HDF5 signature, at the start or after a user block.
pub fn is_hdf5(path: &Path) -> bool {
    headers::find_signature(path).is_ok_and(|at| at.is_some())
}

/// Runs third-party code; its panic becomes [`Error::Format`].
fn guard<T>(path: &Path, run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|cause| {
        let text = cause
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| cause.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(Error::format(path, format!("corrupt HDF5 structure: the decoder panicked: {text}")))
    })
}

/// Elements of a hyperslab, after checking it against the shape and the size of the file.
fn check_slab(
    path: &Path,
    dataset: &str,
    shape: &[usize],
    start: &[usize],
    count: &[usize],
    len: u64,
) -> Result<usize> {
    if start.len() != shape.len() || count.len() != shape.len() {
        return Err(Error::shape(format!("hyperslab of {dataset}"), shape, count));
    }
    for ((&n, &s), &c) in shape.iter().zip(start).zip(count) {
        if s.checked_add(c).is_none_or(|end| end > n) {
            return Err(Error::shape(format!("hyperslab of {dataset} from {start:?}"), shape, count));
        }
    }
    check_size(path, dataset, count, len)
}

/// Elements of a block, after checking that so many bytes can come from this file.
///
/// Deflate packs at most 1032:1; beyond that (with a floor of 256 MiB for datasets of pure fill value) a header
/// is corrupt, and an allocation of that size would end the process.
fn check_size(path: &Path, dataset: &str, block: &[usize], len: u64) -> Result<usize> {
    let elements = block.iter().try_fold(1usize, |product, &n| product.checked_mul(n));
    let limit = (len.saturating_mul(1100)).max(1 << 28) / 8;
    match elements {
        Some(n) if n as u64 <= limit => Ok(n),
        _ => Err(Error::format(path, format!("{dataset}: {block:?} elements cannot come from a file of {len} bytes"))),
    }
}
