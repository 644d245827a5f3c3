//! Transforms of single frames by many threads.

use std::sync::Mutex;

use ndarray::{ArrayView, ArrayViewMut, IxDyn};
use num_complex::Complex;
use num_traits::Zero;

use crate::field::{Grid, Real};
use crate::spectral::{Transform, TransformScratch};

/// A transform with memory for as many threads as come: `fields` half spectra for each.
pub(crate) struct Frames<T: Real> {
    transform: Transform<T>,
    fields: usize,
    pool: Mutex<Vec<Memory<T>>>,
}

/// Memory of one thread.
pub(crate) struct Memory<T: Real> {
    scratch: TransformScratch<T>,
    /// Half spectra, one after the other.
    pub hat: Vec<Complex<T>>,
}

impl<T: Real> Frames<T> {
    pub fn plan(grid: &Grid, fields: usize) -> Self {
        Self { transform: Transform::plan(grid), fields, pool: Mutex::new(Vec::new()) }
    }

    pub fn grid(&self) -> &Grid {
        self.transform.grid()
    }

    /// Coefficients of a half spectrum.
    pub fn modes(&self) -> usize {
        self.grid().half_shape().iter().product()
    }

    /// Runs `work` with memory that nobody else has.
    pub fn with<R>(&self, work: impl FnOnce(&mut Memory<T>) -> R) -> R {
        let lock = || self.pool.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let recycled = lock().pop();
        let fresh =
            || Memory { scratch: self.transform.scratch(), hat: vec![Complex::zero(); self.fields * self.modes()] };
        let mut memory = recycled.unwrap_or_else(fresh);
        let result = work(&mut memory);
        lock().push(memory);
        result
    }

    /// Coefficients of as many fields as `u` holds.
    pub fn forward(&self, u: &[T], memory: &mut Memory<T>) {
        let fields = u.len() / self.grid().points();
        let u = ArrayView::from_shape(self.shape(fields, self.grid().shape()), u).expect("whole fields");
        let hat = &mut memory.hat[..fields * self.modes()];
        let hat = ArrayViewMut::from_shape(self.shape(fields, &self.grid().half_shape()), hat).expect("same fields");
        self.transform.forward_into(u, hat, &mut memory.scratch);
    }

    /// Fields of the coefficients, which are destroyed; as many as `u` holds.
    pub fn inverse(&self, memory: &mut Memory<T>, u: &mut [T]) {
        let fields = u.len() / self.grid().points();
        let u = ArrayViewMut::from_shape(self.shape(fields, self.grid().shape()), u).expect("whole fields");
        let hat = &mut memory.hat[..fields * self.modes()];
        let hat = ArrayViewMut::from_shape(self.shape(fields, &self.grid().half_shape()), hat).expect("same fields");
        self.transform.inverse_into(hat, u, &mut memory.scratch);
    }

    fn shape(&self, fields: usize, space: &[usize]) -> IxDyn {
        IxDyn(&[&[fields], space].concat())
    }
}
