//! Parameters as safetensors bytes, which Python reads by `safetensors.numpy.load_file`.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, Value, json};

use crate::autodiff::Parameters;
use crate::error::{Error, Result};
use crate::field::Real;

/// What to do with a file in the other precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Refuse it.
    Same,
    /// Convert it; from double to single precision values are rounded.
    Convert,
}

/// Bytes of a safetensors file with every tensor under its name, `F32` or `F64` as `T`, and text of the caller under
/// `__metadata__`. Equal parameters and metadata give equal bytes.
///
/// # Example
///
/// ```
/// use std::collections::BTreeMap;
/// use parseval::{autodiff::Parameters, nn::{Precision, from_safetensors, to_safetensors}};
///
/// let mut parameters = Parameters::<f64>::new();
/// let weight = parameters.add("dense.weight", &[2, 3], || 0.5);
/// let bytes = to_safetensors(&parameters, &BTreeMap::from([("step".into(), "100".into())]));
/// parameters.theta_mut().fill(0.0);
/// let metadata = from_safetensors(&mut parameters, &bytes, Precision::Same)?;
/// assert_eq!(parameters.values(weight), [0.5; 6]);
/// assert_eq!(metadata["step"], "100");
/// # Ok::<(), parseval::Error>(())
/// ```
pub fn to_safetensors<T: Real>(parameters: &Parameters<T>, metadata: &BTreeMap<String, String>) -> Vec<u8> {
    // Layout: length of the header (8 bytes, little endian), header (JSON, padded to 8 bytes), values. The crate's own
    // writer puts the metadata in the order of a hash map, which changes from run to run.
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), json!(metadata));
    }
    let size = size_of::<T>();
    for view in parameters.views() {
        let range = [view.offset * size, (view.offset + view.len()) * size];
        header.insert(view.name.clone(), json!({"dtype": name_of::<T>(), "shape": view.shape, "data_offsets": range}));
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut bytes = Vec::with_capacity(8 + header.len() + parameters.len() * size);
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header.as_bytes());
    for value in parameters.theta() {
        match size {
            4 => bytes.extend((value.as_f64() as f32).to_le_bytes()),
            _ => bytes.extend(value.as_f64().to_le_bytes()),
        }
    }
    bytes
}

/// Takes over all values of [`to_safetensors`] (or of any safetensors file with the same names and shapes), and returns
/// the metadata. Nothing is changed if anything is wrong.
///
/// # Errors
///
/// [`Error::Format`] if the bytes are no safetensors file; [`Error::Parameter`] for a tensor that is missing, is not in
/// the model, or has another type; [`Error::Shape`] for one of another shape.
pub fn from_safetensors<T: Real>(
    parameters: &mut Parameters<T>,
    bytes: &[u8],
    precision: Precision,
) -> Result<BTreeMap<String, String>> {
    let broken = |e: safetensors::SafeTensorError| Error::format("safetensors", e.to_string());
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let mut tensors: BTreeMap<&str, (Vec<usize>, Vec<T>)> = BTreeMap::new();
    for (name, tensor) in file.iter() {
        if parameters.views().iter().all(|view| view.name != name) {
            return Err(Error::parameter("tensor", name, "must be in the model"));
        }
        let dtype = tensor.dtype();
        let is_same = dtype.to_string() == name_of::<T>();
        if !(is_same || precision == Precision::Convert && matches!(dtype, Dtype::F32 | Dtype::F64)) {
            let rule = format!("must have type {}, found {dtype}", name_of::<T>());
            return Err(Error::parameter("tensor", name, rule));
        }
        tensors.insert(name, (tensor.shape().to_vec(), values(dtype, tensor.data())));
    }
    parameters.assign(|name| tensors.get(name).map(|(shape, values)| (shape.as_slice(), values.as_slice())))?;
    Ok(metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The format's name of a type.
fn name_of<T: Real>() -> &'static str {
    if size_of::<T>() == 4 { "F32" } else { "F64" }
}

fn values<T: Real>(dtype: Dtype, bytes: &[u8]) -> Vec<T> {
    if dtype == Dtype::F32 {
        let (values, _) = bytes.as_chunks::<4>();
        values.iter().map(|&b| T::of(f32::from_le_bytes(b).into())).collect()
    } else {
        let (values, _) = bytes.as_chunks::<8>();
        values.iter().map(|&b| T::of(f64::from_le_bytes(b))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example<T: Real>(value: f64) -> Parameters<T> {
        let mut parameters = Parameters::new();
        let mut next = value;
        let mut draw = || {
            next += 0.1;
            next
        };
        parameters.add("z.weight", &[2, 3], &mut draw);
        parameters.add("a.bias", &[5], &mut draw);
        parameters
    }

    fn metadata() -> BTreeMap<String, String> {
        (0..9).map(|i| (format!("key {i}"), format!("\"{i}\""))).collect()
    }

    fn round_trip<T: Real>() {
        let original = example::<T>(1.0);
        let bytes = to_safetensors(&original, &metadata());
        assert_eq!(bytes, to_safetensors(&original, &metadata()), "the same bytes each time");
        let mut loaded = example::<T>(0.0);
        assert_eq!(from_safetensors(&mut loaded, &bytes, Precision::Same).unwrap(), metadata());
        assert_eq!(loaded.theta(), original.theta());
    }

    #[test]
    fn a_round_trip_changes_no_bit() {
        round_trip::<f32>();
        round_trip::<f64>();
    }

    #[test]
    fn values_are_aligned_and_in_the_order_of_the_model() {
        let bytes = to_safetensors(&example::<f64>(1.0), &metadata());
        let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        assert_eq!(header % 8, 0);
        assert_eq!(bytes.len(), 8 + header + 11 * 8);
        assert_eq!(bytes[8 + header..][..8], 1.1f64.to_le_bytes());
    }

    #[test]
    fn the_other_precision_is_converted_only_if_asked() {
        let bytes = to_safetensors(&example::<f64>(1.0), &BTreeMap::new());
        let mut single = example::<f32>(0.0);
        let error = from_safetensors(&mut single, &bytes, Precision::Same).unwrap_err().to_string();
        assert!(error.contains("must have type F32, found F64"), "{error}");
        assert_eq!(single.theta(), example::<f32>(0.0).theta());
        from_safetensors(&mut single, &bytes, Precision::Convert).unwrap();
        assert_eq!(single.theta(), example::<f32>(1.0).theta());
        let mut double = example::<f64>(0.0);
        let bytes = to_safetensors(&single, &BTreeMap::new());
        from_safetensors(&mut double, &bytes, Precision::Convert).unwrap();
        assert!(double.theta().iter().zip(single.theta()).all(|(d, s)| *d == f64::from(*s)));
    }

    #[test]
    fn errors_name_the_tensor_and_both_shapes() {
        let bytes = to_safetensors(&example::<f64>(1.0), &BTreeMap::new());
        let message = |mut model: Parameters<f64>, bytes: &[u8]| {
            from_safetensors(&mut model, bytes, Precision::Same).unwrap_err().to_string()
        };
        let mut other = Parameters::new();
        other.add("z.weight", &[3, 2], || 0.0);
        other.add("a.bias", &[5], || 0.0);
        assert_eq!(message(other, &bytes), "z.weight: expected shape [3, 2], got [2, 3]");
        let mut fewer = Parameters::new();
        fewer.add("z.weight", &[2, 3], || 0.0);
        assert_eq!(message(fewer, &bytes), "tensor = a.bias is not allowed: must be in the model");
        let mut more = example::<f64>(0.0);
        more.add("c", &[1], || 0.0);
        assert_eq!(message(more, &bytes), "tensor = c is not allowed: must be in the file");
        assert!(message(example(0.0), &bytes[..40]).starts_with("safetensors: "));
    }
}
