//! Named arrays in the safetensors format, with exact types.
//!
//! `u64 n | n bytes of JSON | data`, all little-endian; the JSON gives type, shape and place of every tensor and a map of
//! texts under `__metadata__`. Equal contents make equal files: tensors lie in a fixed order, 8-byte types first, so that
//! all are aligned, then by name.
//!
//! The format has no complex numbers of double precision. Complex weights are real tensors with a trailing axis of 2, real
//! part first; the metadata then say `complex = "trailing2"`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use super::config::nearest;
use super::files;
use crate::error::{Error, Result};

/// Values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
    /// Counters, indices, states of generators.
    U64(Vec<u64>),
}

impl TensorData {
    fn name(&self) -> &'static str {
        match self {
            Self::F32(_) => f32::NAME,
            Self::F64(_) => f64::NAME,
            Self::U64(_) => u64::NAME,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
            Self::U64(values) => values.len(),
        }
    }

    /// Bytes of one value.
    fn size(&self) -> usize {
        if matches!(self, Self::F32(_)) { 4 } else { 8 }
    }

    fn append_to(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::F32(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Self::F64(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
            Self::U64(values) => values.iter().for_each(|v| bytes.extend(v.to_le_bytes())),
        }
    }
}

/// Types that a tensor can hold.
pub trait Element: Copy {
    /// Name in the format, e.g. `"F64"`.
    const NAME: &'static str;
    /// Values of this type as data of a tensor.
    fn wrap(values: Vec<Self>) -> TensorData;
    /// The values, if they are of this type.
    fn unwrap(data: &TensorData) -> Option<&[Self]>;
}

macro_rules! element {
    ($type:ty, $variant:ident, $name:literal) => {
        impl Element for $type {
            const NAME: &'static str = $name;
            fn wrap(values: Vec<Self>) -> TensorData {
                TensorData::$variant(values)
            }
            fn unwrap(data: &TensorData) -> Option<&[Self]> {
                match data {
                    TensorData::$variant(values) => Some(values),
                    _ => None,
                }
            }
        }
    };
}
element!(f32, F32, "F32");
element!(f64, F64, "F64");
element!(u64, U64, "U64");

/// A row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// An array of a shape.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there are more or fewer values than the shape holds.
    pub fn new<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Self> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(Error::shape("values of a tensor", shape, &[values.len()]));
        }
        Ok(Self { shape: shape.to_vec(), data: T::wrap(values) })
    }

    /// An array with one axis.
    pub fn vector<T: Element>(values: Vec<T>) -> Self {
        Self { shape: vec![values.len()], data: T::wrap(values) }
    }

    /// Lengths of the axes; none for a single value.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values with their type.
    pub fn data(&self) -> &TensorData {
        &self.data
    }
}

/// Tensors by name, e.g. `blocks.0.spectral.weight`.
pub type Tensors = BTreeMap<String, Tensor>;

/// A file that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorFile {
    /// Where it lies; named in messages.
    pub path: PathBuf,
    /// What it holds.
    pub tensors: Tensors,
    /// Texts about it.
    pub metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be read; [`Error::Format`] if it is cut short, is no safetensors file, or holds other
    /// types than F32, F64 and U64.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let bad = |e| Error::format(path, format!("is cut short or no safetensors file ({e})"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(bad)?;
        let metadata = header.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        let file = SafeTensors::deserialize(&bytes).map_err(bad)?;
        let mut tensors = Tensors::new();
        for (name, view) in file.iter() {
            let words = || view.data().as_chunks::<8>().0.iter();
            let data = match view.dtype() {
                Dtype::F32 => {
                    TensorData::F32(view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect())
                }
                Dtype::F64 => TensorData::F64(words().map(|&b| f64::from_le_bytes(b)).collect()),
                Dtype::U64 => TensorData::U64(words().map(|&b| u64::from_le_bytes(b)).collect()),
                other => {
                    let message = format!("tensor `{name}` is {other:?}; only F32, F64 and U64 can be read");
                    return Err(Error::format(path, message));
                }
            };
            tensors.insert(name.to_owned(), Tensor { shape: view.shape().to_vec(), data });
        }
        Ok(Self { path: path.to_owned(), tensors, metadata })
    }

    /// Values of a tensor whose type and shape are known to the caller.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] naming file, tensor, and what was expected and found, if there is no such tensor or it has
    /// another type or shape.
    pub fn get<T: Element>(&self, name: &str, shape: &[usize]) -> Result<&[T]> {
        let bad = |message: String| Error::format(&self.path, message);
        let tensor = self.tensors.get(name).ok_or_else(|| {
            let hint = nearest(name, self.tensors.keys().map(String::as_str));
            let hint = hint.map(|near| format!("; there is `{near}`")).unwrap_or_default();
            bad(format!("has no tensor `{name}`{hint}"))
        })?;
        if tensor.shape != shape {
            return Err(bad(format!("tensor `{name}` has shape {:?}, expected {shape:?}", tensor.shape)));
        }
        T::unwrap(&tensor.data)
            .ok_or_else(|| bad(format!("tensor `{name}` is {}, expected {}", tensor.data.name(), T::NAME)))
    }
}

/// Writes tensors to a file, durably; it appears whole or not at all.
///
/// # Errors
///
/// [`Error::Io`] if it cannot be written, [`Error::Parameter`] for a tensor named `__metadata__`.
pub fn write_tensors(path: &Path, tensors: &Tensors, metadata: &BTreeMap<String, String>) -> Result<()> {
    files::replace(path, &encode(tensors, metadata)?)
}

/// The bytes of a file with these tensors.
///
/// # Errors
///
/// [`Error::Parameter`] for a tensor named `__metadata__`.
pub(super) fn encode(tensors: &Tensors, metadata: &BTreeMap<String, String>) -> Result<Vec<u8>> {
    const METADATA: &str = "__metadata__";
    if tensors.contains_key(METADATA) {
        return Err(Error::parameter("tensor name", METADATA, "is reserved by the format"));
    }
    let mut ordered: Vec<_> = tensors.iter().collect();
    ordered.sort_by_key(|(name, tensor)| (std::cmp::Reverse(tensor.data.size()), *name));
    let mut header = Map::from_iter([(METADATA.to_owned(), json!(metadata))]);
    let mut end = 0;
    for (name, tensor) in &ordered {
        let start = end;
        end += tensor.data.len() * tensor.data.size();
        let entry = json!({ "dtype": tensor.data.name(), "shape": tensor.shape, "data_offsets": [start, end] });
        header.insert((*name).clone(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // Spaces, so that the data begin at a multiple of 8.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len() + end);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    ordered.iter().for_each(|(_, tensor)| tensor.data.append_to(&mut bytes));
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Tensors, BTreeMap<String, String>) {
        let tensors = [
            ("a.weight", Tensor::new(&[2, 3], vec![0.1, -0.0, f64::MIN_POSITIVE, 1e308, 5e-324, 3.0]).unwrap()),
            ("a.single", Tensor::new(&[3, 1], vec![0.1f32, f32::INFINITY, 1e-45]).unwrap()),
            ("counter", Tensor::new(&[], vec![u64::MAX]).unwrap()),
            ("empty", Tensor::new::<f64>(&[0, 4], vec![]).unwrap()),
        ];
        let metadata = [("model", "fno \"x\""), ("step", "12")];
        let text = |(k, v): (&str, &str)| (k.to_owned(), v.to_owned());
        (tensors.map(|(name, t)| (name.to_owned(), t)).into(), metadata.map(text).into())
    }

    #[test]
    fn a_file_gives_back_every_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let (tensors, metadata) = example();
        write_tensors(&path, &tensors, &metadata).unwrap();
        let file = TensorFile::read(&path).unwrap();
        assert_eq!((&file.tensors, &file.metadata), (&tensors, &metadata));
        // -0.0 == 0.0, so the bits are looked at as well.
        let weight: &[f64] = file.get("a.weight", &[2, 3]).unwrap();
        assert!(weight[1].is_sign_negative());
        assert_eq!(file.get::<u64>("counter", &[]).unwrap(), [u64::MAX]);
        assert_eq!(encode(&tensors, &metadata).unwrap(), std::fs::read(&path).unwrap());
    }

    #[test]
    fn messages_name_file_tensor_and_both_sides() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let (tensors, metadata) = example();
        write_tensors(&path, &tensors, &metadata).unwrap();
        let file = TensorFile::read(&path).unwrap();
        let message = |result: Result<&[f64]>| {
            let text = result.unwrap_err().to_string();
            text.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
        };
        assert_eq!(message(file.get("a.weigth", &[2, 3])), "has no tensor `a.weigth`; there is `a.weight`");
        assert_eq!(message(file.get("zzzzzz", &[2, 3])), "has no tensor `zzzzzz`");
        assert_eq!(message(file.get("a.weight", &[3, 2])), "tensor `a.weight` has shape [2, 3], expected [3, 2]");
        assert_eq!(message(file.get("a.single", &[3, 1])), "tensor `a.single` is F32, expected F64");
        assert!(Tensor::new(&[2, 2], vec![1.0]).unwrap_err().to_string().contains("[2, 2]"));
        let reserved = [("__metadata__".to_owned(), Tensor::vector(vec![1.0]))].into();
        assert!(encode(&reserved, &metadata).is_err());
    }

    #[test]
    fn every_truncation_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let (tensors, metadata) = example();
        let bytes = encode(&tensors, &metadata).unwrap();
        for length in (0..bytes.len()).step_by(7).chain([7, 8, 9, bytes.len() - 1]) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let error = TensorFile::read(&path).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{length}: {error}");
            assert!(error.to_string().contains("cut short"), "{error}");
        }
        assert!(matches!(TensorFile::read(&dir.path().join("none")), Err(Error::Io { .. })));
    }

    #[test]
    fn other_types_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.safetensors");
        let header = br#"{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}"#;
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
        std::fs::write(&path, bytes).unwrap();
        let message = TensorFile::read(&path).unwrap_err().to_string();
        assert!(message.contains("tensor `a` is I32"), "{message}");
    }
}
