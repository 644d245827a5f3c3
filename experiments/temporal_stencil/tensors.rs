//! Parameters of models and states of optimizers as tensors of files.

use parseval::Result;
use parseval::autodiff::Tape;
use parseval::optim::{NamedTensor, TensorData};
use parseval::run::tensor_file::{Element, Tensor, TensorFile, Tensors};

/// A tensor of a file.
pub fn tensor<T: Element>(shape: &[usize], values: &[T]) -> Tensor {
    Tensor::new(shape, values.to_vec()).expect("a tensor has as many values as its shape says")
}

/// Replaces the parameters of a tape by stored ones.
pub fn load(tape: &mut Tape<f32>, file: &TensorFile) -> Result<()> {
    let views = tape.parameters().views().to_vec();
    let stored: Vec<&[f32]> =
        views.iter().map(|view| file.get::<f32>(&view.name, &view.shape)).collect::<Result<_>>()?;
    tape.parameters_mut().assign(|name| {
        let index = views.iter().position(|view| view.name == name)?;
        Some((views[index].shape.as_slice(), stored[index]))
    })
}

/// Adds a state, its names after `prefix`.
pub fn put(tensors: &mut Tensors, prefix: &str, state: impl IntoIterator<Item = NamedTensor>) {
    for t in state {
        let stored = match &t.data {
            TensorData::F32(values) => tensor(&t.shape, values),
            TensorData::F64(values) => tensor(&t.shape, values),
        };
        tensors.insert(format!("{prefix}{}", t.name), stored);
    }
}

/// A state that [`put`] has stored, of the names and shapes of a known one.
pub fn get(file: &TensorFile, prefix: &str, known: Vec<NamedTensor>) -> Result<Vec<NamedTensor>> {
    let stored = known.into_iter().map(|t| {
        let name = format!("{prefix}{}", t.name);
        let data = match t.data {
            TensorData::F32(_) => TensorData::F32(file.get::<f32>(&name, &t.shape)?.to_vec()),
            TensorData::F64(_) => TensorData::F64(file.get::<f64>(&name, &t.shape)?.to_vec()),
        };
        Ok(NamedTensor { name: t.name, shape: t.shape, data })
    });
    stored.collect()
}
