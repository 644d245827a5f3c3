//! Bases of the two sides of a matrix, for [`Soap`](super::Soap).

use faer::{Mat, Side as Triangle};
use gemm::Parallelism;

use super::adam::Moments;
use crate::field::Real;

/// The two sides of a block that is a matrix.
pub(super) struct Rotation<T> {
    rows: usize,
    columns: usize,
    pub left: Option<Side<T>>,
    pub right: Option<Side<T>>,
    /// The last result of [`Rotation::turn`], and scratch of the same size.
    pub turned: Vec<T>,
    half: Vec<T>,
    spare: Vec<T>,
    wide: Vec<f64>,
}

/// Factor and basis of one side, `d x d`, row-major; vectors of the basis are columns.
pub(super) struct Side<T> {
    pub d: usize,
    pub factor: Vec<f64>,
    pub basis: Vec<T>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Towards {
    Basis,
    Parameters,
}

impl<T: Real> Rotation<T> {
    pub fn new(shape: &[usize], max_dim: usize) -> Option<Self> {
        let (rows, columns) = matrix_shape(shape)?;
        let side = |d: usize| (d <= max_dim).then(|| Side { d, factor: vec![0.0; d * d], basis: identity(d) });
        let (left, right) = (side(rows), side(columns));
        if left.is_none() && right.is_none() {
            return None;
        }
        let n = rows * columns;
        let zeros = || vec![T::zero(); n];
        let (turned, half, spare) = (zeros(), zeros(), zeros());
        Some(Self { rows, columns, left, right, turned, half, spare, wide: vec![0.0; n] })
    }

    pub fn sides(&self) -> impl Iterator<Item = (&'static str, &Side<T>)> {
        let left = self.left.iter().map(|side| ("left", side));
        left.chain(self.right.iter().map(|side| ("right", side)))
    }

    /// `turned = Q_L^T x Q_R`, or `Q_L x Q_R^T` towards the parameters.
    pub fn turn(&mut self, x: &[T], towards: Towards) {
        let (rows, columns) = (self.rows, self.columns);
        let half: &[T] = match &self.left {
            None => x,
            Some(side) => {
                let q = Matrix::square(&side.basis, side.d);
                let q = if towards == Towards::Basis { q.transposed() } else { q };
                product(&mut self.half, q, Matrix::new(x, rows, columns), T::zero(), T::one());
                &self.half
            }
        };
        match &self.right {
            None => self.turned.copy_from_slice(half),
            Some(side) => {
                let q = Matrix::square(&side.basis, side.d);
                let q = if towards == Towards::Basis { q } else { q.transposed() };
                product(&mut self.turned, Matrix::new(half, rows, columns), q, T::zero(), T::one());
            }
        }
    }

    /// Turns `turned` towards the parameters, in place.
    pub fn turn_back(&mut self) {
        std::mem::swap(&mut self.turned, &mut self.spare);
        let x = std::mem::take(&mut self.spare);
        self.turn(&x, Towards::Parameters);
        self.spare = x;
    }

    /// `L <- beta L + (1 - beta) G G^T` and the same for `R`.
    pub fn accumulate(&mut self, grad: &[T], beta: f64) {
        self.wide.iter_mut().zip(grad).for_each(|(wide, g)| *wide = g.as_f64());
        let g = Matrix::new(&self.wide, self.rows, self.columns);
        if let Some(side) = &mut self.left {
            product(&mut side.factor, g, g.transposed(), beta, 1.0 - beta);
        }
        if let Some(side) = &mut self.right {
            product(&mut side.factor, g.transposed(), g, beta, 1.0 - beta);
        }
    }

    pub fn set_eigenbases(&mut self) {
        self.left.iter_mut().chain(&mut self.right).for_each(Side::set_eigenbasis);
    }

    /// Refreshes the bases and carries the moments along.
    pub fn refresh(&mut self, moments: &mut Moments<T>) {
        self.turn(&moments.m, Towards::Parameters);
        moments.m.copy_from_slice(&self.turned);
        let row = self.left.as_mut().map_or_else(|| (0..self.rows).collect(), Side::power_iteration);
        let column = self.right.as_mut().map_or_else(|| (0..self.columns).collect(), Side::power_iteration);
        self.turn(&moments.m, Towards::Basis);
        moments.m.copy_from_slice(&self.turned);
        self.half.copy_from_slice(&moments.v);
        for (v, i) in moments.v.chunks_exact_mut(self.columns).zip(row) {
            let old = &self.half[i * self.columns..][..self.columns];
            v.iter_mut().zip(&column).for_each(|(v, &j)| *v = old[j]);
        }
    }
}

impl<T: Real> Side<T> {
    /// Eigenvectors by falling eigenvalue; stays as it is if there are none (the factor is not finite).
    fn set_eigenbasis(&mut self) {
        let d = self.d;
        let factor = Mat::from_fn(d, d, |i, j| self.factor[i * d + j]);
        if let Ok(eigen) = factor.self_adjoint_eigen(Triangle::Lower) {
            let u = eigen.U();
            self.set_basis(|i, j| u[(i, d - 1 - j)]);
        }
    }

    /// `Q <- qr(F Q)` with sorted columns; returns which column went where.
    fn power_iteration(&mut self) -> Vec<usize> {
        let d = self.d;
        let basis: Vec<f64> = self.basis.iter().map(|q| q.as_f64()).collect();
        let mut power = vec![0.0; d * d];
        product(&mut power, Matrix::square(&self.factor, d), Matrix::square(&basis, d), 0.0, 1.0);
        let mut estimate = vec![0.0; d];
        for (basis, power) in basis.chunks_exact(d).zip(power.chunks_exact(d)) {
            estimate.iter_mut().zip(basis).zip(power).for_each(|((e, q), p)| *e += q * p);
        }
        let mut order: Vec<usize> = (0..d).collect();
        order.sort_by(|&i, &j| estimate[j].total_cmp(&estimate[i]));
        let q = Mat::from_fn(d, d, |i, j| power[i * d + order[j]]).qr().compute_thin_Q();
        if self.set_basis(|i, j| q[(i, j)]) { order } else { (0..d).collect() }
    }

    /// Takes a basis if it is finite.
    fn set_basis(&mut self, q: impl Fn(usize, usize) -> f64) -> bool {
        let d = self.d;
        let basis: Vec<T> = (0..d * d).map(|at| T::of(q(at / d, at % d))).collect();
        let is_finite = basis.iter().all(|q| q.is_finite());
        if is_finite {
            self.basis = basis;
        }
        is_finite
    }
}

pub(super) fn identity<T: Real>(d: usize) -> Vec<T> {
    (0..d * d).map(|at| if at / d == at % d { T::one() } else { T::zero() }).collect()
}

/// Rows and columns of the matrix that a shape is seen as; `None` if it has less than two axes longer than one.
pub(super) fn matrix_shape(shape: &[usize]) -> Option<(usize, usize)> {
    if shape.contains(&0) {
        return None;
    }
    let axes: Vec<usize> = shape.iter().copied().filter(|&d| d > 1).collect();
    let splits = (1..axes.len()).map(|k| (axes[..k].iter().product(), axes[k..].iter().product()));
    splits.min_by_key(|(rows, columns): &(usize, usize)| rows + columns)
}

/// A view of a matrix.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a, S> {
    data: &'a [S],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, S> Matrix<'a, S> {
    pub fn new(data: &'a [S], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns);
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    pub fn square(data: &'a [S], d: usize) -> Self {
        Self::new(data, d, d)
    }

    pub fn transposed(self) -> Self {
        let Self { data, rows, columns, row_stride, column_stride } = self;
        Self { data, rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }
}

/// `out <- keep out + scale a b`, row-major, on the calling thread.
pub(super) fn product<S: Real>(out: &mut [S], a: Matrix<S>, b: Matrix<S>, keep: S, scale: S) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(b.rows == k && out.len() == m * n, "product: {m} x {k} by {} x {n} into {}", b.rows, out.len());
    // SAFETY: the pointers are valid for the extents and strides, by the two assertions; `out` is borrowed alone.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            keep != S::zero(),
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            keep,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_become_the_matrices_that_the_documentation_says() {
        assert_eq!(matrix_shape(&[64, 64, 3, 3]), Some((64, 576)));
        assert_eq!(matrix_shape(&[32, 32, 12, 12, 2]), Some((1024, 288)));
        assert_eq!(matrix_shape(&[1, 8, 1, 3]), Some((8, 3)));
        assert_eq!([matrix_shape(&[]), matrix_shape(&[9]), matrix_shape(&[1, 9]), matrix_shape(&[0, 3, 2])], [None; 4]);
        let only_left = Rotation::<f64>::new(&[4, 100], 10).unwrap();
        assert!(only_left.left.is_some() && only_left.right.is_none());
    }
}
