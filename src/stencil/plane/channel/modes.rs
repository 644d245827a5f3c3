//! Fast diagonalisation: functions of discrete Laplacians, periodic along x and with walls along y.
//!
//! On `n` cells of size `h` the second difference has, for each of the boundaries, orthonormal eigenvectors in closed form
//! and the eigenvalue `-(2 - 2 cos theta) / h^2`:
//!
//! | values | boundary | eigenvector | theta |
//! |---|---|---|---|
//! | all | periodic | `cos(j theta)`, `sin(j theta)` | `2 pi k / n` |
//! | at centres, `y = (j + 1/2) h` | no flux (pressure) | `cos((j + 1/2) theta)`, the cosine transform | `pi k / n`, `k = 0 .. n-1` |
//! | at centres | odd about the walls (`u`) | `sin((j + 1/2) theta)` | `pi k / n`, `k = 1 .. n` |
//! | at nodes, `y = (j + 1) h` | zero at the walls (`v`) | `sin((j + 1) theta)` | `pi k / n`, `k = 1 .. n-1` |
//!
//! The transforms are products with the matrices of eigenvectors, `X <- Q_x (g(lambda) * (Q_x^T X Q_y)) Q_y^T`. At some
//! tens of cells a matrix product costs no more than a fast transform. The map is symmetric. Source: Lynch, Rice & Thomas,
//! Numer. Math. 6 (1964).

use std::f64::consts::{PI, TAU};

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayViewMut2};

use crate::field::Real;

/// What holds at the walls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wall {
    /// No flux, values at centres.
    Neumann,
    /// Zero between the last value and its image, values at centres.
    Odd,
    /// Zero at a node; the last value is that of the upper wall.
    Zero,
}

/// Plan of a function of the Laplacian on `[nx, ny]`.
pub(super) struct Modes<T> {
    qx: Array2<T>,
    qy: Array2<T>,
    /// `g` of the eigenvalues, `[nx, ny]`.
    factors: Array2<T>,
}

/// Memory of a call.
pub(super) struct Memory<T> {
    first: Array2<T>,
    second: Array2<T>,
}

impl<T: Real> Memory<T> {
    pub fn new([nx, ny]: [usize; 2]) -> Self {
        Self { first: Array2::zeros((nx, ny)), second: Array2::zeros((nx, ny)) }
    }
}

impl<T: Real> Modes<T> {
    /// The map with factors `g(lambda)`, `lambda >= 0` the eigenvalue of minus the Laplacian.
    pub fn plan([nx, ny]: [usize; 2], h: [f64; 2], wall: Wall, g: impl Fn(f64) -> f64) -> Self {
        let (qx, theta_x) = periodic(nx);
        let (qy, theta_y) = walls(ny, wall);
        let lambda = |theta: f64, h: f64| (2.0 - 2.0 * theta.cos()) / (h * h);
        let factors =
            Array2::from_shape_fn((nx, ny), |(k, l)| T::of(g(lambda(theta_x[k], h[0]) + lambda(theta_y[l], h[1]))));
        Self { qx: qx.mapv(T::of), qy: qy.mapv(T::of), factors }
    }

    /// Applies the map in place.
    pub fn apply(&self, memory: &mut Memory<T>, field: &mut [T]) {
        let (one, zero) = (T::one(), T::zero());
        let mut x = ArrayViewMut2::from_shape(self.factors.raw_dim(), field).expect("a field of the plan");
        let Memory { first, second } = memory;
        general_mat_mul(one, &self.qx.t(), &x, zero, first);
        general_mat_mul(one, first, &self.qy, zero, second);
        *second *= &self.factors;
        general_mat_mul(one, &self.qx, second, zero, first);
        general_mat_mul(one, first, &self.qy.t(), zero, &mut x);
    }
}

/// Orthonormal eigenvectors as columns, and their angles.
fn periodic(n: usize) -> (Array2<f64>, Vec<f64>) {
    let angle = |k: usize| TAU * k.div_ceil(2) as f64 / n as f64;
    let vectors = Array2::from_shape_fn((n, n), |(j, k)| {
        let norm = if k == 0 || (n.is_multiple_of(2) && k == n - 1) { 1.0 } else { 2.0 };
        let x = j as f64 * angle(k);
        // Columns: 1, cos 1, sin 1, cos 2, .., and the Nyquist mode last if there is one.
        (norm / n as f64).sqrt() * if k.is_multiple_of(2) && k > 0 { x.sin() } else { x.cos() }
    });
    (vectors, (0..n).map(angle).collect())
}

fn walls(n: usize, wall: Wall) -> (Array2<f64>, Vec<f64>) {
    let angle = |k: usize| match wall {
        Wall::Neumann => PI * k as f64 / n as f64,
        Wall::Odd | Wall::Zero => PI * (k + 1) as f64 / n as f64,
    };
    let vectors = Array2::from_shape_fn((n, n), |(j, k)| {
        let (centre, node) = ((j as f64 + 0.5) * angle(k), (j + 1) as f64 * angle(k));
        let (value, single) = match wall {
            Wall::Neumann => (centre.cos(), k == 0),
            Wall::Odd => (centre.sin(), k == n - 1),
            // The value at the wall belongs to no mode.
            Wall::Zero if j == n - 1 || k == n - 1 => return 0.0,
            Wall::Zero => (node.sin(), false),
        };
        value * (if single { 1.0 } else { 2.0 } / n as f64).sqrt()
    });
    (vectors, (0..n).map(angle).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest entry of `v^T v - expected`.
    fn defect(vectors: &Array2<f64>, expected: &Array2<f64>) -> f64 {
        (vectors.t().dot(vectors) - expected).iter().fold(0.0, |largest: f64, d| largest.max(d.abs()))
    }

    #[test]
    fn eigenvectors_are_orthonormal() {
        for n in [4, 7, 12] {
            let bases = [periodic(n).0, walls(n, Wall::Neumann).0, walls(n, Wall::Odd).0];
            for basis in &bases {
                // Round-off of sums of n terms below one.
                assert!(defect(basis, &Array2::eye(n)) < 1e-14, "n = {n}");
            }
            let mut projector = Array2::eye(n);
            projector[[n - 1, n - 1]] = 0.0;
            assert!(defect(&walls(n, Wall::Zero).0, &projector) < 1e-14, "n = {n}");
        }
    }

    #[test]
    fn the_map_is_the_function_of_the_difference_matrix() {
        let ([nx, ny], [hx, hy]) = ([6, 5], [0.3, 0.2]);
        for wall in [Wall::Neumann, Wall::Odd, Wall::Zero] {
            let mut field: Vec<f64> = (0..nx * ny).map(|i| (i as f64 * 1.3).sin()).collect();
            if wall == Wall::Zero {
                field.chunks_exact_mut(ny).for_each(|row| row[ny - 1] = 0.0);
            }
            // Minus the second differences, with the images of each boundary.
            let at = |i: usize, j: isize| {
                let row = &field[i % nx * ny..][..ny];
                match (wall, j) {
                    (Wall::Neumann, -1) => row[0],
                    (Wall::Neumann, j) if j == ny as isize => row[ny - 1],
                    (Wall::Odd, -1) => -row[0],
                    (Wall::Odd, j) if j == ny as isize => -row[ny - 1],
                    (Wall::Zero, j) if j < 0 || j >= ny as isize - 1 => 0.0,
                    (_, j) => row[j as usize],
                }
            };
            let expected: Vec<f64> = (0..nx * ny)
                .map(|p| {
                    let (i, j) = (p / ny, (p % ny) as isize);
                    if wall == Wall::Zero && j == ny as isize - 1 {
                        return 0.0;
                    }
                    (2.0 * at(i, j) - at(i + 1, j) - at(i + nx - 1, j)) / (hx * hx)
                        + (2.0 * at(i, j) - at(i, j - 1) - at(i, j + 1)) / (hy * hy)
                })
                .collect();
            let modes = Modes::<f64>::plan([nx, ny], [hx, hy], wall, |lambda| lambda);
            modes.apply(&mut Memory::new([nx, ny]), &mut field);
            // Round-off of eigenvalues up to 150.
            assert!(field.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-11), "{wall:?}");
        }
    }
}
