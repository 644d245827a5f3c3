//! The record of one evaluation, and its derivatives.

use std::collections::HashMap;

use aligned_vec::AVec;

use super::{Cotangent, Operation, Parameter, Parameters, Record, Tensor, Workers};
use crate::error::{Error, Result};
use crate::field::Real;

/// A value on the tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Var {
    index: usize,
    recording: u64,
}

/// Records operations as they are evaluated, and takes derivatives of what was recorded.
///
/// The tape owns the parameters of the model, their gradient, the threads, and all buffers; [`Tape::clear`] keeps the
/// buffers for the next recording.
pub struct Tape<T: Real> {
    parameters: Parameters<T>,
    gradient: Vec<T>,
    workers: Workers<T>,
    buffers: Buffers<T>,
    nodes: Vec<Node<T>>,
    /// Variable of each parameter, once it was used in this recording.
    leaves: Vec<Option<Var>>,
    recording: u64,
}

struct Node<T> {
    /// `None` for constants and parameters.
    operation: Option<Box<dyn Operation<T>>>,
    inputs: Vec<usize>,
    shape: Vec<usize>,
    value: Value<T>,
    saved: AVec<T>,
    /// Whether a parameter or a variable lies under it.
    is_differentiable: bool,
}

enum Value<T> {
    Own(AVec<T>),
    Parameter(Parameter),
}

impl<T: Real> Tape<T> {
    /// A tape for the model with these parameters, on `threads` threads.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `threads` is zero.
    pub fn new(parameters: Parameters<T>, threads: usize) -> Result<Self> {
        Ok(Self {
            gradient: vec![T::zero(); parameters.len()],
            leaves: vec![None; parameters.views().len()],
            parameters,
            workers: Workers::new(threads)?,
            buffers: Buffers { free: HashMap::new() },
            nodes: Vec::new(),
            recording: 0,
        })
    }

    /// Forgets the recording and keeps its buffers. Variables of before may not be used any more.
    pub fn clear(&mut self) {
        self.recording += 1;
        self.leaves.fill(None);
        for node in self.nodes.drain(..) {
            if let Value::Own(value) = node.value {
                self.buffers.give(value);
            }
            self.buffers.give(node.saved);
        }
    }

    /// The parameters.
    pub fn parameters(&self) -> &Parameters<T> {
        &self.parameters
    }

    /// The parameters, to be changed; clears the recording, whose values they would contradict.
    pub fn parameters_mut(&mut self) -> &mut Parameters<T> {
        self.clear();
        &mut self.parameters
    }

    /// Gradient of the last [`Tape::backward`], as flat as the parameters.
    pub fn gradient(&self) -> &[T] {
        &self.gradient
    }

    /// What an optimiser needs: the parameters to change and their gradient. Clears the recording.
    pub fn update(&mut self) -> (&mut [T], &mut [T]) {
        self.clear();
        (self.parameters.theta_mut(), &mut self.gradient)
    }

    /// The threads.
    pub fn workers(&self) -> &Workers<T> {
        &self.workers
    }

    /// Bytes held by the recording and by the recycled buffers.
    pub fn bytes(&self) -> usize {
        let values = |node: &Node<T>| match &node.value {
            Value::Own(value) => value.len(),
            Value::Parameter(_) => 0,
        };
        let live: usize = self.nodes.iter().map(|n| values(n) + n.saved.len()).sum();
        (live + self.buffers.len()) * size_of::<T>()
    }

    /// Records values that no derivative is taken by.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the number of values is not that of the shape.
    pub fn constant(&mut self, shape: &[usize], values: &[T]) -> Result<Var> {
        self.leaf(shape, values, false)
    }

    /// Records values that [`Tape::gradients`] can take derivatives by.
    ///
    /// # Errors
    ///
    /// As [`Tape::constant`].
    pub fn variable(&mut self, shape: &[usize], values: &[T]) -> Result<Var> {
        self.leaf(shape, values, true)
    }

    fn leaf(&mut self, shape: &[usize], values: &[T], is_differentiable: bool) -> Result<Var> {
        if shape.iter().product::<usize>() != values.len() {
            return Err(Error::shape("values", shape, &[values.len()]));
        }
        let mut value = self.buffers.take(values.len());
        value.copy_from_slice(values);
        Ok(self.push(Node {
            operation: None,
            inputs: Vec::new(),
            shape: shape.to_vec(),
            value: Value::Own(value),
            saved: AVec::new(64),
            is_differentiable,
        }))
    }

    /// The variable of a parameter, the same each time.
    pub fn parameter(&mut self, parameter: Parameter) -> Var {
        if let Some(var) = self.leaves[parameter.0] {
            return var;
        }
        let node = Node {
            operation: None,
            inputs: Vec::new(),
            shape: self.parameters.view(parameter).shape.clone(),
            value: Value::Parameter(parameter),
            saved: AVec::new(64),
            is_differentiable: true,
        };
        let var = self.push(node);
        self.leaves[parameter.0] = Some(var);
        var
    }

    /// Evaluates an operation and records it.
    ///
    /// # Errors
    ///
    /// The operation's own, if the shapes of the inputs do not fit.
    pub fn apply(&mut self, operation: impl Operation<T> + 'static, inputs: &[Var]) -> Result<Var> {
        let inputs: Vec<usize> = inputs.iter().map(|&v| self.index(v)).collect();
        let shapes: Vec<&[usize]> = inputs.iter().map(|&i| self.nodes[i].shape.as_slice()).collect();
        let shape = operation.shape(&shapes)?;
        let saved = operation.saved(&shapes);
        let mut output = self.buffers.take(shape.iter().product());
        let mut saved = self.buffers.take(saved);
        operation.forward(&self.workers, &self.tensors(&inputs), &mut output, &mut saved);
        let is_differentiable = inputs.iter().any(|&i| self.nodes[i].is_differentiable);
        Ok(self.push(Node {
            operation: Some(Box::new(operation)),
            inputs,
            shape,
            value: Value::Own(output),
            saved,
            is_differentiable,
        }))
    }

    /// Shape of a variable.
    pub fn shape(&self, var: Var) -> &[usize] {
        &self.nodes[self.index(var)].shape
    }

    /// Values of a variable.
    pub fn values(&self, var: Var) -> &[T] {
        self.value(self.index(var))
    }

    /// Value of a variable of one element.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if it has more.
    pub fn scalar(&self, var: Var) -> Result<f64> {
        match self.values(var) {
            [value] => Ok(value.as_f64()),
            _ => Err(Error::shape("scalar", &[], self.shape(var))),
        }
    }

    /// Gradient of a scalar by all parameters, found in [`Tape::gradient`] afterwards.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `loss` is no scalar.
    pub fn backward(&mut self, loss: Var) -> Result<()> {
        self.scalar(loss)?;
        self.gradients(loss, &[T::one()], &[]).map(drop)
    }

    /// `J^T cotangent` for the output `of`: by all parameters, found in [`Tape::gradient`], and by the given variables.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the cotangent is not shaped as `of`.
    pub fn gradients(&mut self, of: Var, cotangent: &[T], by: &[Var]) -> Result<Vec<Vec<T>>> {
        let of = self.index(of);
        if cotangent.len() != self.value(of).len() {
            return Err(Error::shape("cotangent", &self.nodes[of].shape, &[cotangent.len()]));
        }
        let wanted: Vec<usize> = by.iter().map(|&v| self.index(v)).collect();
        let mut cotangents: Vec<Option<AVec<T>>> = (0..=of).map(|_| None).collect();
        let mut seed = self.buffers.take(cotangent.len());
        seed.copy_from_slice(cotangent);
        cotangents[of] = Some(seed);
        self.gradient.fill(T::zero());
        let mut results: Vec<Option<Vec<T>>> = vec![None; by.len()];
        for index in (0..=of).rev() {
            let Some(cotangent) = cotangents[index].take() else { continue };
            for (result, _) in results.iter_mut().zip(&wanted).filter(|(_, w)| **w == index) {
                *result = Some(cotangent.to_vec());
            }
            if self.nodes[index].operation.is_some() && self.nodes[index].is_differentiable {
                self.pull_back(index, &cotangent, &mut cotangents);
            } else if let Value::Parameter(parameter) = self.nodes[index].value {
                let view = self.parameters.view(parameter);
                self.gradient[view.offset..][..view.len()].copy_from_slice(&cotangent);
            }
            self.buffers.give(cotangent);
        }
        let zero = |w: &usize| vec![T::zero(); self.value(*w).len()];
        Ok(results.into_iter().zip(&wanted).map(|(r, w)| r.unwrap_or_else(|| zero(w))).collect())
    }

    /// Adds the contribution of one node to the cotangents of its inputs.
    fn pull_back(&mut self, index: usize, cotangent: &[T], cotangents: &mut [Option<AVec<T>>]) {
        let node = &self.nodes[index];
        // Buffers leave the list while they are written. An input that is named twice gets a buffer of its own for each
        // place, so that no two are the same memory.
        let mut buffers: Vec<Option<(AVec<T>, bool)>> = node
            .inputs
            .iter()
            .map(|&i| {
                let input = &self.nodes[i];
                let len = || input.shape.iter().product();
                input.is_differentiable.then(|| match cotangents[i].take() {
                    Some(buffer) => (buffer, false),
                    None => (self.buffers.take(len()), true),
                })
            })
            .collect();
        let mut targets: Vec<Option<Cotangent<T>>> =
            buffers.iter_mut().map(|b| b.as_mut().map(|(values, fresh)| Cotangent::new(values, *fresh))).collect();
        let inputs = self.tensors(&node.inputs);
        let record = Record {
            inputs: &inputs,
            output: Tensor { values: self.value(index), shape: &node.shape },
            saved: &node.saved,
        };
        let operation = node.operation.as_ref().expect("only operations are pulled back");
        operation.vjp(&self.workers, &record, cotangent, &mut targets);
        let is_left: Vec<bool> = targets.iter().map(Option::is_some).collect();
        drop(targets);
        let inputs = node.inputs.clone();
        for ((buffer, is_left), input) in buffers.into_iter().zip(is_left).zip(inputs) {
            let Some((mut buffer, fresh)) = buffer else { continue };
            if fresh && is_left {
                // The output does not depend on this input.
                buffer.fill(T::zero());
            }
            match &mut cotangents[input] {
                Some(sum) => {
                    sum.iter_mut().zip(buffer.iter()).for_each(|(s, &b)| *s += b);
                    self.buffers.give(buffer);
                }
                empty => *empty = Some(buffer),
            }
        }
    }

    /// Tangent of `of` when each given variable moves along its direction.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a direction is not shaped as its variable, [`Error::Parameter`] if an operation on the way
    /// has no tangent.
    pub fn tangent(&self, of: Var, directions: &[(Var, &[T])]) -> Result<Vec<T>> {
        let of = self.index(of);
        let mut tangents: Vec<Option<Vec<T>>> = vec![None; of + 1];
        for &(var, direction) in directions {
            let index = self.index(var);
            if direction.len() != self.value(index).len() {
                return Err(Error::shape("direction", &self.nodes[index].shape, &[direction.len()]));
            }
            if index <= of {
                tangents[index] = Some(direction.to_vec());
            }
        }
        for (index, node) in self.nodes.iter().enumerate().take(of + 1) {
            let Some(operation) = &node.operation else { continue };
            let directions: Vec<Option<&[T]>> = node.inputs.iter().map(|&i| tangents[i].as_deref()).collect();
            if directions.iter().all(Option::is_none) {
                continue;
            }
            let inputs = self.tensors(&node.inputs);
            let output = Tensor { values: self.value(index), shape: &node.shape };
            let record = Record { inputs: &inputs, output, saved: &node.saved };
            let mut tangent = vec![T::zero(); output.values.len()];
            if !operation.jvp(&self.workers, &record, &directions, &mut tangent) {
                return Err(Error::parameter("operation", operation.name(), "must have a tangent"));
            }
            tangents[index] = Some(tangent);
        }
        Ok(tangents[of].take().unwrap_or_else(|| vec![T::zero(); self.value(of).len()]))
    }

    fn push(&mut self, node: Node<T>) -> Var {
        self.nodes.push(node);
        Var { index: self.nodes.len() - 1, recording: self.recording }
    }

    fn index(&self, var: Var) -> usize {
        assert_eq!(var.recording, self.recording, "a variable of an earlier recording was used");
        var.index
    }

    fn value(&self, index: usize) -> &[T] {
        match &self.nodes[index].value {
            Value::Own(value) => value,
            Value::Parameter(parameter) => self.parameters.values(*parameter),
        }
    }

    fn tensors(&self, nodes: &[usize]) -> Vec<Tensor<'_, T>> {
        nodes.iter().map(|&i| Tensor { values: self.value(i), shape: &self.nodes[i].shape }).collect()
    }
}

/// Buffers by their length. A training step asks for the same lengths as the one before, so after the first step nothing
/// is allocated.
struct Buffers<T> {
    free: HashMap<usize, Vec<AVec<T>>>,
}

impl<T: Real> Buffers<T> {
    /// A buffer whose content means nothing.
    fn take(&mut self, len: usize) -> AVec<T> {
        let recycled = self.free.get_mut(&len).and_then(Vec::pop);
        recycled.unwrap_or_else(|| AVec::from_iter(64, std::iter::repeat_n(T::zero(), len)))
    }

    fn give(&mut self, buffer: AVec<T>) {
        if !buffer.is_empty() {
            self.free.entry(buffer.len()).or_default().push(buffer);
        }
    }

    fn len(&self) -> usize {
        self.free.iter().map(|(len, buffers)| len * buffers.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `z = x * y`, elementwise.
    struct Product;

    impl<T: Real> Operation<T> for Product {
        fn name(&self) -> &'static str {
            "product"
        }
        fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
            match inputs {
                [x, y] if x == y => Ok(x.to_vec()),
                _ => Err(Error::shape("product", inputs[0], inputs[1])),
            }
        }
        fn forward(&self, _: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], _: &mut [T]) {
            for ((z, &x), &y) in output.iter_mut().zip(inputs[0].values).zip(inputs[1].values) {
                *z = x * y;
            }
        }
        fn vjp(&self, _: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
            for (input, other) in inputs.iter_mut().zip(record.inputs.iter().rev()) {
                let Some(input) = input.take() else { continue };
                let (g, beta) = input.target();
                for ((g, &other), &c) in g.iter_mut().zip(other.values).zip(cotangent) {
                    *g = if beta == T::zero() { other * c } else { *g + other * c };
                }
            }
        }
    }

    fn tape() -> (Tape<f64>, Parameter) {
        let mut parameters = Parameters::new();
        parameters.add("unused", &[2], || 5.0);
        let weight = parameters.add("weight", &[2], || 3.0);
        (Tape::new(parameters, 1).unwrap(), weight)
    }

    #[test]
    fn cotangents_of_all_uses_are_added() {
        let (mut tape, weight) = tape();
        let w = tape.parameter(weight);
        let x = tape.variable(&[2], &[2.0, 7.0]).unwrap();
        // w^2 x w = w^3 x: the square names one input twice, w is used three times.
        let square = tape.apply(Product, &[w, w]).unwrap();
        let y = tape.apply(Product, &[square, x]).unwrap();
        let z = tape.apply(Product, &[y, w]).unwrap();
        assert_eq!(tape.values(z), [54.0, 189.0]);
        let by = tape.gradients(z, &[1.0, 10.0], &[x, square]).unwrap();
        assert_eq!(by[0], [27.0, 270.0]);
        assert_eq!(by[1], [6.0, 210.0]);
        assert_eq!(tape.gradient(), [0.0, 0.0, 54.0, 1890.0], "3 w^2 x, and nothing for the unused parameter");
    }

    #[test]
    fn a_second_recording_reuses_the_buffers_of_the_first() {
        let (mut tape, weight) = tape();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            tape.clear();
            let w = tape.parameter(weight);
            let x = tape.constant(&[2], &[1.0, 1.0]).unwrap();
            let y = tape.apply(Product, &[w, x]).unwrap();
            tape.gradients(y, &[1.0, 1.0], &[]).unwrap();
            bytes.push(tape.bytes());
        }
        assert_eq!(bytes[1], bytes[0]);
        assert_eq!(bytes[2], bytes[0]);
    }

    #[test]
    fn misfits_are_refused_with_both_shapes() {
        let (mut tape, weight) = tape();
        let w = tape.parameter(weight);
        let x = tape.constant(&[3], &[0.0; 3]).unwrap();
        let message = |e: Error| e.to_string();
        assert_eq!(message(tape.apply(Product, &[w, x]).unwrap_err()), "product: expected shape [2], got [3]");
        assert_eq!(message(tape.constant(&[4], &[0.0; 3]).unwrap_err()), "values: expected shape [4], got [3]");
        assert_eq!(message(tape.backward(x).unwrap_err()), "scalar: expected shape [], got [3]");
        assert_eq!(message(tape.gradients(x, &[1.0], &[]).unwrap_err()), "cotangent: expected shape [3], got [1]");
    }

    #[test]
    #[should_panic(expected = "a variable of an earlier recording was used")]
    fn variables_do_not_outlive_their_recording() {
        let (mut tape, weight) = tape();
        let w = tape.parameter(weight);
        tape.clear();
        tape.values(w);
    }
}
