//! The parameters of a model: one flat vector with named views.

use crate::error::{Error, Result};
use crate::field::Real;

/// A named view of the flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Module path, e.g. `blocks.0.spectral.weight`.
    pub name: String,
    /// Shape, row-major.
    pub shape: Vec<usize>,
    /// First element in the flat vector.
    pub offset: usize,
}

impl View {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Handle of one parameter tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter(pub(super) usize);

/// All parameters of a model, `theta`, with the layout of its tensors.
///
/// Every optimiser works on the flat slice; names and shapes are for files and for people.
#[derive(Clone, Debug, Default)]
pub struct Parameters<T> {
    theta: Vec<T>,
    views: Vec<View>,
}

impl<T: Real> Parameters<T> {
    /// None yet.
    pub fn new() -> Self {
        Self { theta: Vec::new(), views: Vec::new() }
    }

    /// Appends a tensor with the values of `value()` in row-major order.
    ///
    /// # Panics
    ///
    /// If the name is taken.
    pub fn add(&mut self, name: impl Into<String>, shape: &[usize], mut value: impl FnMut() -> f64) -> Parameter {
        let view = View { name: name.into(), shape: shape.to_vec(), offset: self.theta.len() };
        assert!(self.views.iter().all(|v| v.name != view.name), "two parameters are called {}", view.name);
        self.theta.extend((0..view.len()).map(|_| T::of(value())));
        self.views.push(view);
        Parameter(self.views.len() - 1)
    }

    /// The flat vector.
    pub fn theta(&self) -> &[T] {
        &self.theta
    }

    /// The flat vector, to be changed.
    pub fn theta_mut(&mut self) -> &mut [T] {
        &mut self.theta
    }

    /// The layout.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// Layout of one tensor.
    pub fn view(&self, parameter: Parameter) -> &View {
        &self.views[parameter.0]
    }

    /// Values of one tensor.
    pub fn values(&self, parameter: Parameter) -> &[T] {
        let view = self.view(parameter);
        &self.theta[view.offset..view.offset + view.len()]
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.theta.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.theta.is_empty()
    }

    /// Name, shape and values of every tensor.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &[usize], &[T])> {
        self.views.iter().map(|v| (v.name.as_str(), v.shape.as_slice(), &self.theta[v.offset..v.offset + v.len()]))
    }

    /// Takes over all values; `tensor(name)` gives shape and values.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a tensor that is missing, [`Error::Shape`] for one of another shape. Nothing is changed
    /// then.
    pub fn assign<'a>(&mut self, mut tensor: impl FnMut(&str) -> Option<(&'a [usize], &'a [T])>) -> Result<()> {
        let mut theta = Vec::with_capacity(self.theta.len());
        for view in &self.views {
            let missing = || Error::parameter("tensor", &view.name, "must be in the file");
            let (shape, values) = tensor(&view.name).ok_or_else(missing)?;
            if shape != view.shape || values.len() != view.len() {
                return Err(Error::shape(&view.name, &view.shape, shape));
            }
            theta.extend_from_slice(values);
        }
        self.theta = theta;
        Ok(())
    }

    /// Which tensor, and which of its entries, the element `index` of the flat vector is; for messages.
    pub fn describe(&self, index: usize) -> String {
        match self.views.iter().find(|v| (v.offset..v.offset + v.len()).contains(&index)) {
            Some(view) => format!("{}[{}]", view.name, index - view.offset),
            None => format!("theta[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> (Parameters<f64>, Parameter, Parameter) {
        let mut parameters = Parameters::new();
        let mut count = 0.0;
        let mut next = || {
            count += 1.0;
            count
        };
        let weight = parameters.add("dense.weight", &[2, 3], &mut next);
        let bias = parameters.add("dense.bias", &[2], &mut next);
        (parameters, weight, bias)
    }

    #[test]
    fn tensors_are_views_of_the_flat_vector_in_order() {
        let (parameters, weight, bias) = example();
        assert_eq!(parameters.theta(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(parameters.values(bias), [7.0, 8.0]);
        assert_eq!(parameters.view(weight).shape, [2, 3]);
        assert_eq!(parameters.describe(6), "dense.bias[0]");
    }

    #[test]
    fn assigning_refuses_missing_and_misshapen_tensors_and_changes_nothing() {
        let (mut parameters, ..) = example();
        let before = parameters.theta().to_vec();
        let error = parameters.assign(|_| None).unwrap_err().to_string();
        assert_eq!(error, "tensor = dense.weight is not allowed: must be in the file");
        let values = [0.0; 6];
        let error = parameters.assign(|_| Some((&[3, 2], &values))).unwrap_err().to_string();
        assert_eq!(error, "dense.weight: expected shape [2, 3], got [3, 2]");
        assert_eq!(parameters.theta(), before);
    }
}
