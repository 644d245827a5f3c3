//! Periodic fields with their neighbours beyond the edge, so that a shifted read is a read.

use crate::field::Real;
use crate::spectral::simd::Lanes;

/// Points before the first one of an axis, and beyond the last one.
const LOW: usize = 1;
const HIGH: usize = 2;

/// An `n x n` periodic field, one row and column before it and two beyond it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Halo {
    n: usize,
    stride: usize,
}

impl Halo {
    pub fn new(n: usize) -> Self {
        Self { n, stride: LOW + n + HIGH }
    }

    /// Values of a padded field.
    pub fn len(self) -> usize {
        self.stride * self.stride
    }

    fn index(self, i: usize, j: usize) -> usize {
        (i + LOW) * self.stride + j + LOW
    }

    /// Copies a field with its periodic images.
    pub fn fill<T: Real>(self, field: &[T], padded: &mut [T]) {
        let n = self.n;
        for (row, to) in padded.chunks_exact_mut(self.stride).enumerate() {
            let from = &field[(row + n - LOW) % n * n..][..n];
            to[LOW..LOW + n].copy_from_slice(from);
            to[0] = from[n - 1];
            to[LOW + n..].copy_from_slice(&from[..HIGH]);
        }
    }

    /// Transpose of [`Halo::fill`]: `field += sum of the images`; the padded field is used up.
    pub fn fold<T: Real>(self, padded: &mut [T], field: &mut [T]) {
        let n = self.n;
        for (row, from) in padded.chunks_exact_mut(self.stride).enumerate() {
            from[n] += from[0];
            from[LOW] += from[LOW + n];
            from[LOW + 1] += from[LOW + n + 1];
            let to = &mut field[(row + n - LOW) % n * n..][..n];
            to.iter_mut().zip(&from[LOW..]).for_each(|(to, &from)| *to += from);
        }
    }

    /// `W` points from `(i, j)` on, and their neighbours.
    #[inline(always)]
    pub fn points<V: Lanes>(self, padded: &[V::Real], i: usize, j: usize) -> Points<V> {
        assert!(padded.len() == self.len() && i < self.n && j + V::WIDTH <= self.n);
        Points::new(padded, self.index(i, j), self.stride)
    }

    /// As [`Halo::points`], to be added to.
    #[inline(always)]
    pub fn sums<V: Lanes>(self, padded: &mut [V::Real], i: usize, j: usize) -> Sums<V> {
        assert!(padded.len() == self.len() && i < self.n && j + V::WIDTH <= self.n);
        Sums::new(padded, self.index(i, j), self.stride)
    }
}

/// Reads at shifts `-1..=2` along each axis.
#[derive(Clone, Copy)]
pub(super) struct Points<V: Lanes> {
    at: *const V::Real,
    stride: isize,
}

impl<V: Lanes> Points<V> {
    /// `W` points from number `at` of a padded field on, whose rows are `stride` values apart.
    #[inline(always)]
    pub fn new(padded: &[V::Real], at: usize, stride: usize) -> Self {
        assert!(at > stride && at + 2 * stride + 2 + V::WIDTH <= padded.len());
        // SAFETY: the index is below the length, which was checked.
        Self { at: unsafe { padded.as_ptr().add(at) }, stride: stride as isize }
    }

    #[inline(always)]
    pub fn get(self, [dx, dy]: [isize; 2]) -> V {
        debug_assert!((-1..=2).contains(&dx) && (-1..=2).contains(&dy));
        // SAFETY: the halo holds these shifts of every point.
        unsafe { V::load(self.at.offset(dx * self.stride + dy)) }
    }
}

/// Additions at shifts `-1..=2` along each axis.
#[derive(Clone, Copy)]
pub(super) struct Sums<V: Lanes> {
    at: *mut V::Real,
    stride: isize,
}

impl<V: Lanes> Sums<V> {
    /// As [`Points::new`].
    #[inline(always)]
    pub fn new(padded: &mut [V::Real], at: usize, stride: usize) -> Self {
        assert!(at > stride && at + 2 * stride + 2 + V::WIDTH <= padded.len());
        // SAFETY: the index is below the length, which was checked.
        Self { at: unsafe { padded.as_mut_ptr().add(at) }, stride: stride as isize }
    }

    #[inline(always)]
    pub fn add(self, [dx, dy]: [isize; 2], value: V) {
        debug_assert!((-1..=2).contains(&dx) && (-1..=2).contains(&dy));
        // SAFETY: as in `Points::get`; the memory is borrowed mutably by the maker of these sums.
        unsafe {
            let p = self.at.offset(dx * self.stride + dy);
            (V::load(p) + value).store(p);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fold_is_the_transpose_of_fill() {
        let n = 4;
        let halo = Halo::new(n);
        let field: Vec<f64> = (0..n * n).map(|i| (i * i % 7) as f64).collect();
        let weights: Vec<f64> = (0..halo.len()).map(|i| (i * 5 % 11) as f64).collect();
        let mut padded = vec![0.0; halo.len()];
        halo.fill(&field, &mut padded);
        let left: f64 = padded.iter().zip(&weights).map(|(a, b)| a * b).sum();
        let mut folded = vec![0.0; n * n];
        halo.fold(&mut weights.clone(), &mut folded);
        let right: f64 = folded.iter().zip(&field).map(|(a, b)| a * b).sum();
        assert_eq!(left, right, "integers are exact");
        let points = halo.points::<f64>(&padded, 3, 0);
        assert_eq!(points.get([2, -1]), field[n + 3]);
    }
}
