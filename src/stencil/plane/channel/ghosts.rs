//! Fields of a channel with their neighbours beyond the edge.
//!
//! Along x they are periodic images. At a wall at rest or moving at `U`,
//!
//! ```text
//! u[-1-j] = 2 U - u[j]            U in the middle between a value and its image,
//! v[-1] = 0,  v[-2] = v[0]        no flow through the wall; v is even, since v_y = -u_x = 0 there,
//! ```
//!
//! and the same at the upper wall, where the stored `v[ny-1]` is that of the wall.

use super::super::halo::{Points, Sums};
use crate::field::Real;
use crate::spectral::simd::Lanes;

/// Images before and behind the first and last value of each axis.
const LOW: [usize; 2] = [1, 2];
const HIGH: usize = 2;

/// Which component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Component<T> {
    /// `u`, with the velocities of the lower and the upper wall.
    Along([T; 2]),
    /// `v`.
    Across,
}

/// Padded `[nx, ny]` fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ghosts {
    nx: usize,
    ny: usize,
    stride: usize,
}

impl Ghosts {
    pub fn new([nx, ny]: [usize; 2]) -> Self {
        Self { nx, ny, stride: LOW[1] + ny + HIGH }
    }

    /// Values of a padded field.
    pub fn len(self) -> usize {
        (LOW[0] + self.nx + HIGH) * self.stride
    }

    /// Pairs of images along y and the value that they are of, both counted in a padded row, with the wall (0 or 1).
    fn images<T>(self, component: Component<T>) -> [(usize, usize, usize); 4] {
        let (first, end) = (LOW[1], LOW[1] + self.ny);
        match component {
            Component::Along(_) => {
                [(first - 1, first, 0), (first - 2, first + 1, 0), (end, end - 1, 1), (end + 1, end - 2, 1)]
            }
            // The value at the lower wall is zero, as is that at the upper one.
            Component::Across => {
                [(first - 2, first, 0), (end, end - 2, 1), (end + 1, end - 3, 1), (first - 1, end - 1, 0)]
            }
        }
    }

    /// Copies a field with its images. The last value of `v` in a row is taken as zero, whatever it is.
    pub fn fill<T: Real>(self, component: Component<T>, field: &[T], padded: &mut [T]) {
        let (nx, ny) = (self.nx, self.ny);
        for (row, to) in padded.chunks_exact_mut(self.stride).enumerate() {
            to[LOW[1]..LOW[1] + ny].copy_from_slice(&field[(row + nx - LOW[0]) % nx * ny..][..ny]);
            if component == Component::Across {
                to[LOW[1] + ny - 1] = T::zero();
            }
            for (image, of, wall) in self.images(component) {
                to[image] = match component {
                    Component::Along(speed) => speed[wall] + speed[wall] - to[of],
                    Component::Across => to[of],
                };
            }
        }
    }

    /// Transpose of the linear part of [`Ghosts::fill`]: `field += sum of the images`; the padded field is used up.
    pub fn fold<T: Real>(self, component: Component<T>, padded: &mut [T], field: &mut [T]) {
        let (nx, ny) = (self.nx, self.ny);
        for (row, from) in padded.chunks_exact_mut(self.stride).enumerate() {
            for (image, of, _) in self.images(component) {
                let value = from[image];
                match component {
                    Component::Along(_) => from[of] -= value,
                    Component::Across => from[of] += value,
                }
            }
            if component == Component::Across {
                from[LOW[1] + ny - 1] = T::zero();
            }
            let to = &mut field[(row + nx - LOW[0]) % nx * ny..][..ny];
            to.iter_mut().zip(&from[LOW[1]..]).for_each(|(to, &from)| *to += from);
        }
    }

    /// The point `(i, j)`, `-1 <= j < ny`, and its neighbours.
    #[inline(always)]
    pub fn points<V: Lanes>(self, padded: &[V::Real], i: usize, j: isize) -> Points<V> {
        Points::new(padded, self.index(i, j), self.stride)
    }

    /// As [`Ghosts::points`], to be added to.
    #[inline(always)]
    pub fn sums<V: Lanes>(self, padded: &mut [V::Real], i: usize, j: isize) -> Sums<V> {
        Sums::new(padded, self.index(i, j), self.stride)
    }

    #[inline(always)]
    fn index(self, i: usize, j: isize) -> usize {
        assert!(i < self.nx && (-1..self.ny as isize).contains(&j));
        (i + LOW[0]) * self.stride + (j + LOW[1] as isize) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fold_is_the_transpose_of_fill() {
        let [nx, ny] = [4, 5];
        let ghosts = Ghosts::new([nx, ny]);
        for component in [Component::Along([0.0; 2]), Component::Across] {
            let field: Vec<f64> = (0..nx * ny).map(|i| (i * i % 7) as f64).collect();
            let mut weights: Vec<f64> = (0..ghosts.len()).map(|i| (i * 5 % 11) as f64).collect();
            let mut padded = vec![0.0; ghosts.len()];
            ghosts.fill(component, &field, &mut padded);
            let left: f64 = padded.iter().zip(&weights).map(|(a, b)| a * b).sum();
            let mut folded = vec![0.0; nx * ny];
            ghosts.fold(component, &mut weights, &mut folded);
            let right: f64 = folded.iter().zip(&field).map(|(a, b)| a * b).sum();
            assert_eq!(left, right, "integers are exact: {component:?}");
        }
    }

    #[test]
    fn images_are_those_of_the_walls() {
        let ghosts = Ghosts::new([4, 4]);
        let field: Vec<f64> = (0..16).map(f64::from).collect();
        let mut padded = vec![f64::NAN; ghosts.len()];
        ghosts.fill(Component::Along([1.0, 10.0]), &field, &mut padded);
        let bottom = ghosts.points::<f64>(&padded, 1, 0);
        assert_eq!([-1, 0, 1, 2].map(|d| bottom.get([0, d])), [2.0 - 4.0, 4.0, 5.0, 6.0]);
        let top = ghosts.points::<f64>(&padded, 1, 3);
        assert_eq!([top.get([0, 1]), top.get([0, 2])], [20.0 - 7.0, 20.0 - 6.0]);
        ghosts.fill(Component::Across, &field, &mut padded);
        let bottom = ghosts.points::<f64>(&padded, 1, -1);
        assert_eq!([-1, 0, 1].map(|d| bottom.get([0, d])), [4.0, 0.0, 4.0]);
        let top = ghosts.points::<f64>(&padded, 1, 3);
        assert_eq!([-1, 0, 1, 2].map(|d| top.get([0, d])), [6.0, 0.0, 6.0, 5.0]);
        assert_eq!(padded.iter().filter(|x| x.is_nan()).count(), 0);
    }
}
