//! Right-hand sides and corrections: staggered velocities, known values in the air.

use ndarray::{ArrayViewD, ArrayViewMutD};

use super::cells::Cell;
use super::multigrid::rows;
use super::poisson::{Poisson, axes_of};
use crate::error::{Error, Result};

/// Projection of a staggered velocity: with `b` from [`Poisson::projection_rhs`] and `p` from a solver,
/// [`Poisson::subtract_gradient`] makes the velocity divergence-free in every fluid cell,
///
/// ```text
/// -div(beta grad p) = -div u,    u <- u - beta grad p.
/// ```
///
/// `u[a]` holds the component along axis `a` on the faces normal to it: one entry more along that axis than the grid, entry `i` between
/// cells `i - 1` and `i`. On faces to solids it is the solid's velocity and is left alone.
impl Poisson {
    /// `b = -div u` on the fluid cells, zero elsewhere; row-major.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless there is a component for each axis, of its shape.
    pub fn projection_rhs(&self, u: &[ArrayViewD<f64>]) -> Result<Vec<f64>> {
        self.check_faces(u.iter().map(|u| u.shape()))?;
        let n = self.layout.n;
        let mut b = vec![0.0; self.cells()];
        for (row, (i, j)) in rows(n).enumerate() {
            for k in self.runs.row(row).iter().flat_map(|run| run.start as usize..run.end as usize) {
                let cell = self.index([i, j, k]);
                b[row * n[2] + k] = (0..u.len())
                    .map(|a| {
                        let mut high = cell.clone();
                        high[a] += 1;
                        (u[a][&cell[..]] - u[a][&high[..]]) / self.spacing()[a]
                    })
                    .sum();
            }
        }
        Ok(b)
    }

    /// `u <- u - beta grad p` on the faces of fluid cells that touch no solid, with `p = 0` in the air.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless `p` has an entry for each cell, and `u` a component for each axis, of its shape.
    pub fn subtract_gradient(&self, p: &[f64], u: &mut [ArrayViewMutD<f64>]) -> Result<()> {
        self.check_faces(u.iter().map(|u| u.shape()))?;
        if p.len() != self.cells() {
            return Err(Error::shape("p", &[self.cells()], &[p.len()]));
        }
        let axes = axes_of(self.shape().len());
        let n = self.layout.n;
        let value = |o: usize, flat: usize| if self.flags[o] == Cell::Fluid as u8 { p[flat] } else { 0.0 };
        for (u, (&a, h)) in u.iter_mut().zip(axes.iter().zip(self.spacing())) {
            let step = self.layout.step(a);
            let flat_step = [n[1] * n[2], n[2], 1][a];
            for (index, u) in u.indexed_iter_mut() {
                let mut cell = [0; 3];
                axes.iter().enumerate().for_each(|(d, &b)| cell[b] = index[d]);
                let o = self.layout.at(cell[0], cell[1]) + cell[2];
                let pair = [self.flags[o - step], self.flags[o]];
                if pair.contains(&(Cell::Solid as u8)) || !pair.contains(&(Cell::Fluid as u8)) {
                    continue;
                }
                let flat = (cell[0] * n[1] + cell[1]) * n[2] + cell[2];
                // The face's weight is beta / h^2. A halo cell is no fluid, so that its flat index is not used.
                let weight = self.scale * self.face_weight(a, o);
                *u -= weight * h * (value(o, flat) - value(o - step, flat.wrapping_sub(flat_step)));
            }
        }
        Ok(())
    }

    /// Adds to `b` what known values in the air contribute: `beta_f / h^2 p_air` for each face between fluid and air.
    ///
    /// `value` gets the index of an air cell along each axis; beyond the walls it is -1 or the number of cells.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless `b` has an entry for each cell.
    pub fn add_air_values(&self, value: impl Fn(&[isize]) -> f64, b: &mut [f64]) -> Result<()> {
        if b.len() != self.cells() {
            return Err(Error::shape("b", &[self.cells()], &[b.len()]));
        }
        let n = self.layout.n;
        for face in &self.dirichlet {
            let cell = face.cell.map(|c| c as usize);
            let mut air = cell.map(|c| c as isize);
            air[face.axis as usize] += if face.is_high { 1 } else { -1 };
            let axes = axes_of(self.shape().len());
            let index: [isize; 3] = std::array::from_fn(|d| axes.get(d).map_or(0, |&a| air[a]));
            b[(cell[0] * n[1] + cell[1]) * n[2] + cell[2]] += self.scale * face.weight * value(&index[..axes.len()]);
        }
        Ok(())
    }

    /// Index of a cell of the layout along the axes of the grid.
    fn index(&self, cell: [usize; 3]) -> Vec<usize> {
        axes_of(self.shape().len()).iter().map(|&a| cell[a]).collect()
    }

    fn check_faces<'a>(&self, shapes: impl ExactSizeIterator<Item = &'a [usize]>) -> Result<()> {
        if shapes.len() != self.shape().len() {
            return Err(Error::shape("u", &[self.shape().len()], &[shapes.len()]));
        }
        for (a, shape) in shapes.enumerate() {
            let mut expected = self.shape().to_vec();
            expected[a] += 1;
            if shape != expected {
                return Err(Error::shape(format!("u[{a}]"), &expected, shape));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ndarray::{ArrayD, Dimension};

    use super::super::{Method, Options, PoissonSolver, Scene, Solver};
    use super::*;

    #[test]
    fn a_projected_velocity_has_no_divergence() {
        for (scene, shape) in
            [(Scene::Pillars, vec![20, 18, 16]), (Scene::Smoke, vec![16; 3]), (Scene::Sphere, vec![24, 20])]
        {
            let problem = Arc::new(scene.problem(&shape).unwrap());
            let mut u: Vec<ArrayD<f64>> = (0..shape.len())
                .map(|a| {
                    let mut faces = shape.clone();
                    faces[a] += 1;
                    let mut state = 7 + a as u64;
                    let mut noise = ArrayD::from_shape_simple_fn(faces.clone(), || {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        (state >> 40) as f64 / (1 << 24) as f64 - 0.5
                    });
                    // Walls and solids at rest, so that closed scenes have a solution.
                    let cells = scene.cells(&shape);
                    let sides = scene.walls(shape.len()).sides[a];
                    for (index, u) in noise.indexed_iter_mut() {
                        let i = index[a];
                        let mut before = index.as_array_view().to_vec();
                        let here = if i < shape[a] { cells[&before[..]] } else { sides[1] };
                        before[a] = i.saturating_sub(1);
                        let there = if i > 0 { cells[&before[..]] } else { sides[0] };
                        if here == Cell::Solid || there == Cell::Solid {
                            *u = 0.0;
                        }
                    }
                    noise
                })
                .collect();
            let views: Vec<_> = u.iter().map(|u| u.view()).collect();
            let b = problem.projection_rhs(&views).unwrap();
            let largest = |b: &[f64]| b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let before = largest(&b);
            let options = Options { relative: 1e-11, ..Options::default() };
            let mut solver = PoissonSolver::plan(problem.clone(), Method::Multigrid, &options).unwrap();
            let mut p = vec![0.0; problem.cells()];
            assert!(solver.solve(&b, &mut p).unwrap().is_converged());
            let mut views: Vec<_> = u.iter_mut().map(|u| u.view_mut()).collect();
            problem.subtract_gradient(&p, &mut views).unwrap();
            let views: Vec<_> = u.iter().map(|u| u.view()).collect();
            let after = largest(&problem.projection_rhs(&views).unwrap());
            // The new divergence is the residual: 1e-11 of the old one in the mean square, of which one cell of 5000 may hold all.
            assert!(after < 1e-9 * before, "{scene:?}: {after} of {before}");
        }
    }

    #[test]
    fn known_values_in_the_air_continue_a_linear_pressure() {
        // p = z is harmonic; with its values given beyond all walls the discrete solution is exact.
        let shape = [6, 5, 7];
        let cells = ArrayD::from_elem(shape.to_vec(), Cell::Fluid);
        let problem = Arc::new(Poisson::new(cells.view(), &[0.5; 3], super::super::Walls::open()).unwrap());
        let mut b = vec![0.0; problem.cells()];
        let z = |k: isize| 0.5 * (k as f64 + 0.5);
        problem.add_air_values(|index| z(index[2]), &mut b).unwrap();
        let mut p = vec![0.0; problem.cells()];
        let options = Options { relative: 1e-13, ..Options::default() };
        let mut solver = PoissonSolver::plan(problem, Method::Auto, &options).unwrap();
        solver.solve(&b, &mut p).unwrap();
        // Round-off of a sum over the grid.
        assert!(p.iter().enumerate().all(|(c, p)| (p - z((c % 7) as isize)).abs() < 1e-12));
    }

    #[test]
    fn arrays_of_another_shape_are_named() {
        let problem = Scene::OpenBox.problem(&[4, 4]).unwrap();
        let u = ArrayD::zeros(vec![4, 4]);
        let text = problem.projection_rhs(&[u.view(), u.view()]).unwrap_err().to_string();
        assert!(text.contains("u[0]") && text.contains("[5, 4]"), "{text}");
        assert!(problem.subtract_gradient(&[0.0; 3], &mut []).is_err());
        assert!(problem.add_air_values(|_| 0.0, &mut [0.0; 3]).is_err());
    }
}
