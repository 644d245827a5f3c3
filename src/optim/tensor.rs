//! State as named tensors.

use crate::error::{Error, Result};
use crate::field::Real;

/// A piece of an optimiser's state.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Name, unique within the state; levels are separated by dots.
    pub name: String,
    /// Extents, slowest axis first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub data: TensorData,
}

/// Values in the precision they are used in, so that nothing is rounded on the way to a file and back.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision.
    F64(Vec<f64>),
}

impl NamedTensor {
    pub(super) fn new<T: Real>(name: impl Into<String>, shape: &[usize], values: impl IntoIterator<Item = T>) -> Self {
        let values = values.into_iter().map(T::as_f64);
        let data = if T::NAME == f32::NAME {
            TensorData::F32(values.map(|x| x as f32).collect())
        } else {
            TensorData::F64(values.collect())
        };
        debug_assert_eq!(data.len(), shape.iter().product::<usize>());
        Self { name: name.into(), shape: shape.to_vec(), data }
    }

    /// A counter; exact up to 2^53.
    pub(super) fn count(name: impl Into<String>, count: u64) -> Self {
        Self::new(name, &[], [count as f64])
    }
}

impl TensorData {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::F64(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn precision(&self) -> &'static str {
        match self {
            Self::F32(_) => f32::NAME,
            Self::F64(_) => f64::NAME,
        }
    }
}

/// Takes tensors out of a state by name, and refuses what is left over.
pub(super) struct Reader<'a>(Vec<&'a NamedTensor>);

impl<'a> Reader<'a> {
    pub fn new(state: &'a [NamedTensor]) -> Self {
        Self(state.iter().collect())
    }

    fn take_any<T: Real>(&mut self, name: &str) -> Result<(&'a [usize], Vec<T>)> {
        let at = self.0.iter().position(|t| t.name == name);
        let at = at.ok_or_else(|| Error::parameter(name, "absent", "must be in the optimiser's state"))?;
        let tensor = self.0.swap_remove(at);
        if tensor.data.precision() != T::NAME {
            let rule = format!("must have precision {}", T::NAME);
            return Err(Error::parameter(name, tensor.data.precision(), rule));
        }
        if tensor.data.len() != tensor.shape.iter().product::<usize>() {
            return Err(Error::shape(name, &tensor.shape, &[tensor.data.len()]));
        }
        let values = match &tensor.data {
            TensorData::F32(values) => values.iter().map(|&x| T::of(f64::from(x))).collect(),
            TensorData::F64(values) => values.iter().map(|&x| T::of(x)).collect(),
        };
        Ok((&tensor.shape, values))
    }

    pub fn take<T: Real>(&mut self, name: &str, shape: &[usize]) -> Result<Vec<T>> {
        let (got, values) = self.take_any(name)?;
        if got == shape { Ok(values) } else { Err(Error::shape(name, shape, got)) }
    }

    /// A list of at most `max` vectors of length `n`.
    pub fn take_rows<T: Real>(&mut self, name: &str, max: usize, n: usize) -> Result<Vec<Vec<T>>> {
        let (got, values) = self.take_any::<T>(name)?;
        match *got {
            [rows, columns] if rows <= max && columns == n => {
                Ok((0..rows).map(|i| values[i * n..][..n].to_vec()).collect())
            }
            _ => Err(Error::shape(name, &[max, n], got)),
        }
    }

    pub fn take_count(&mut self, name: &str) -> Result<u64> {
        let x = self.take::<f64>(name, &[])?[0];
        if x >= 0.0 && x.fract() == 0.0 { Ok(x as u64) } else { Err(Error::parameter(name, x, "must be a count")) }
    }

    pub fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some(tensor) => Err(Error::parameter(&tensor.name, "present", "does not belong to this optimiser's state")),
        }
    }
}
