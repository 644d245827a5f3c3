//! An inviscid plume of smoke on a staggered grid.
//!
//! ```text
//! u_t + u . grad u = -grad p + rho e_z,   div u = 0,   rho_t + u . grad rho = 0,
//! ```
//!
//! in a closed box with an open top, around a solid sphere. Each step advects along the flow, adds the buoyancy and projects. Velocities are
//! carried back along the flow (semi-Lagrangian, Stam 1999), the smoke with the correction of MacCormack kept
//! between its neighbours (Selle, Fedkiw, Kim, Liu & Rossignac, *J. Sci. Comput.* 35 (2008)).

use std::sync::Arc;

use ndarray::{ArrayD, Dimension, IxDyn};
use parseval::Result;
use parseval::linsolve::{Cell, Poisson, Walls};
use rayon::prelude::*;

/// The state; lengths in widths of the box, times in units where smoke accelerates by one.
pub struct Flow {
    shape: Vec<usize>,
    h: f64,
    cells: ArrayD<Cell>,
    pub problem: Arc<Poisson>,
    /// Velocity along each axis, on the faces normal to it.
    u: Vec<ArrayD<f64>>,
    /// Smoke in each cell.
    pub smoke: ArrayD<f64>,
    /// Pressure times the step, the start of the next solve.
    pub pressure: Vec<f64>,
    pub time: f64,
    courant: f64,
}

/// A place in units of cells from the corner of the grid; unused axes are zero.
type Place = [f64; 3];

impl Flow {
    /// Fluid at rest, with a sphere of so many widths at two fifths of the height.
    pub fn new(shape: &[usize], sphere: f64, courant: f64) -> Result<Self> {
        let dim = shape.len();
        let h = 1.0 / shape[0] as f64;
        let height = shape[dim - 1] as f64 * h;
        let cells = ArrayD::from_shape_fn(IxDyn(shape), |index| {
            let distance: f64 = (0..dim)
                .map(|a| {
                    let middle = if a == dim - 1 { 0.4 * height } else { 0.5 * shape[a] as f64 * h };
                    ((index[a] as f64 + 0.5) * h - middle).powi(2)
                })
                .sum();
            if distance < sphere * sphere { Cell::Solid } else { Cell::Fluid }
        });
        let problem = Arc::new(Poisson::new(cells.view(), &vec![h; dim], Walls::open_top(dim))?);
        let u = (0..dim)
            .map(|a| {
                let mut faces = shape.to_vec();
                faces[a] += 1;
                ArrayD::zeros(faces)
            })
            .collect();
        let smoke = ArrayD::zeros(shape.to_vec());
        let pressure = vec![0.0; problem.cells()];
        Ok(Self { shape: shape.to_vec(), h, cells, problem, u, smoke, pressure, time: 0.0, courant })
    }

    /// Advects and accelerates; returns the step that was taken and the right-hand side of the projection.
    pub fn predict(&mut self) -> Result<(f64, Vec<f64>)> {
        let dim = self.shape.len();
        self.add_source();
        let fastest = self.u.iter().flatten().fold(0.0f64, |m, u| m.max(u.abs()));
        // From rest, the step in which the buoyancy crosses a cell.
        let dt = self.courant * self.h / fastest.max(self.h.sqrt());
        let centre = [0.5; 3];
        let back = self.carried(&self.smoke, centre, dt);
        let forth = self.carried(&back, centre, -dt);
        let smoke = ArrayD::from_shape_fn(IxDyn(&self.shape), |at| {
            let corrected = back[&at] + 0.5 * (self.smoke[&at] - forth[&at]);
            let [low, high] = self.range(&self.smoke, self.origin(self.place(at.slice(), centre), dt), centre);
            corrected.clamp(low, high)
        });
        let u: Vec<ArrayD<f64>> = (0..dim).map(|a| self.carried(&self.u[a], offset(a), dt)).collect();
        (self.smoke, self.u) = (smoke, u);
        let up = dim - 1;
        let n = self.shape[up];
        let smoke = &self.smoke;
        for (index, w) in self.u[up].indexed_iter_mut() {
            let mut below = index.clone();
            let k = index[up];
            below[up] = k.saturating_sub(1);
            let mut above = index.clone();
            above[up] = k.min(n - 1);
            *w += dt * 0.5 * (smoke[&below] + smoke[&above]);
        }
        self.close_walls();
        self.time += dt;
        let views: Vec<_> = self.u.iter().map(|u| u.view()).collect();
        Ok((dt, self.problem.projection_rhs(&views)?))
    }

    /// Takes the pressure of a solver.
    pub fn correct(&mut self, pressure: Vec<f64>) -> Result<()> {
        let mut views: Vec<_> = self.u.iter_mut().map(|u| u.view_mut()).collect();
        self.problem.subtract_gradient(&pressure, &mut views)?;
        self.pressure = pressure;
        Ok(())
    }

    /// Largest divergence in a fluid cell, in units of velocity over a cell.
    pub fn divergence(&self) -> Result<f64> {
        let views: Vec<_> = self.u.iter().map(|u| u.view()).collect();
        Ok(self.problem.projection_rhs(&views)?.iter().fold(0.0f64, |m, b| m.max(b.abs())) * self.h)
    }

    /// Smoke of the middle slice, NaN in the solid: `[x, z]`.
    pub fn slice(&self) -> ndarray::Array2<f64> {
        let dim = self.shape.len();
        ndarray::Array2::from_shape_fn((self.shape[0], self.shape[dim - 1]), |(i, k)| {
            let index = if dim == 3 { vec![i, self.shape[1] / 2, k] } else { vec![i, k] };
            if self.cells[&index[..]] == Cell::Fluid { self.smoke[&index[..]] } else { f64::NAN }
        })
    }

    /// Width and height of the slice.
    pub fn lengths(&self) -> [f64; 2] {
        [1.0, self.shape[self.shape.len() - 1] as f64 * self.h]
    }

    /// Smoke enters in a disc above the bottom.
    fn add_source(&mut self) {
        let (shape, h) = (self.shape.clone(), self.h);
        let up = shape.len() - 1;
        for (index, rho) in self.smoke.indexed_iter_mut() {
            let across: f64 = (0..up).map(|a| ((index[a] as f64 + 0.5 - 0.5 * shape[a] as f64) * h).powi(2)).sum();
            // A tilt of the rim starts the instabilities without noise.
            let radius = 0.1 + 0.01 * (40.0 * (index[0] as f64 + 0.5) * h).sin();
            if across < radius * radius && (index[up] as f64 + 0.5) * h < 0.08 {
                *rho = 1.0;
            }
        }
    }

    /// No flow through faces of solids and walls; the top is open.
    fn close_walls(&mut self) {
        let up = self.shape.len() - 1;
        for (a, u) in self.u.iter_mut().enumerate() {
            let n = self.shape[a];
            for (index, u) in u.indexed_iter_mut() {
                let solid = |i: usize| {
                    let mut at = index.clone();
                    at[a] = i;
                    self.cells[&at] == Cell::Solid
                };
                let i = index[a];
                let is_open = i > 0 && (i < n || a == up);
                if !is_open || (i > 0 && solid(i - 1)) || (i < n && solid(i)) {
                    *u = 0.0;
                }
            }
        }
    }

    /// `field` at the places where the flow was `dt` before.
    fn carried(&self, field: &ArrayD<f64>, at: Place, dt: f64) -> ArrayD<f64> {
        let shape = field.shape().to_vec();
        let row = shape[shape.len() - 1];
        let mut out = ArrayD::zeros(IxDyn(&shape));
        let values = out.as_slice_mut().expect("a new array is contiguous");
        values.par_chunks_mut(row).enumerate().for_each(|(line, values)| {
            let mut index = vec![0; shape.len()];
            let mut rest = line;
            for a in (0..shape.len() - 1).rev() {
                (index[a], rest) = (rest % shape[a], rest / shape[a]);
            }
            for (k, value) in values.iter_mut().enumerate() {
                index[shape.len() - 1] = k;
                *value = sample(field, self.origin(self.place(&index, at), dt), at);
            }
        });
        out
    }

    fn place(&self, index: &[usize], at: Place) -> Place {
        std::array::from_fn(|a| index.get(a).map_or(0.0, |&i| i as f64 + at[a]))
    }

    /// Where a parcel at `x` was `dt` before, by the midpoint rule.
    fn origin(&self, x: Place, dt: f64) -> Place {
        let half = self.moved(x, x, -0.5 * dt);
        self.moved(x, half, -dt)
    }

    fn moved(&self, x: Place, with: Place, dt: f64) -> Place {
        std::array::from_fn(|a| match self.u.get(a) {
            Some(u) => (x[a] + dt / self.h * sample(u, with, offset(a))).clamp(0.0, self.shape[a] as f64),
            None => 0.0,
        })
    }

    /// Least and largest of the values that the interpolation at `x` uses.
    fn range(&self, field: &ArrayD<f64>, x: Place, at: Place) -> [f64; 2] {
        let mut range = [f64::INFINITY, f64::NEG_INFINITY];
        corners(field, x, at, |value, _| range = [range[0].min(value), range[1].max(value)]);
        range
    }
}

/// Where entry zero of the component along `axis` lies.
fn offset(axis: usize) -> Place {
    std::array::from_fn(|a| if a == axis { 0.0 } else { 0.5 })
}

/// Linear interpolation at `x` of a field whose entry zero lies at `at`.
fn sample(field: &ArrayD<f64>, x: Place, at: Place) -> f64 {
    let mut sum = 0.0;
    corners(field, x, at, |value, weight| sum += weight * value);
    sum
}

/// Calls `f(value, weight)` for the nodes around `x`.
fn corners(field: &ArrayD<f64>, x: Place, at: Place, mut f: impl FnMut(f64, f64)) {
    let shape = field.shape();
    let values = field.as_slice().expect("fields are contiguous");
    let (mut first, mut part) = ([0; 3], [0.0; 3]);
    for (a, &n) in shape.iter().enumerate() {
        let s = (x[a] - at[a]).clamp(0.0, (n - 1) as f64);
        first[a] = (s as usize).min(n.saturating_sub(2));
        part[a] = s - first[a] as f64;
    }
    for corner in 0..1usize << shape.len() {
        let (mut flat, mut weight) = (0, 1.0);
        for (a, &n) in shape.iter().enumerate() {
            let bit = corner >> a & 1;
            flat = flat * n + (first[a] + bit).min(n - 1);
            weight *= if bit == 1 { part[a] } else { 1.0 - part[a] };
        }
        f(values[flat], weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parseval::linsolve::{Method, Options, PoissonSolver, Solver};

    #[test]
    fn interpolation_of_a_linear_field_is_exact() {
        let field = ArrayD::from_shape_fn(IxDyn(&[5, 6, 7]), |i| i[0] as f64 + 2.0 * i[1] as f64 - 0.5 * i[2] as f64);
        let x = [1.3, 2.9, 3.25];
        // Round-off.
        assert!((sample(&field, x, [0.5, 0.0, 0.5]) - (0.8 + 2.0 * 2.9 - 0.5 * 2.75)).abs() < 1e-13);
    }

    #[test]
    fn smoke_rises_without_divergence_and_without_overshoot() {
        let mut flow = Flow::new(&[16, 24], 0.12, 1.0).unwrap();
        let options = Options { relative: 1e-10, ..Options::default() };
        let mut solver = PoissonSolver::plan(flow.problem.clone(), Method::Multigrid, &options).unwrap();
        for _ in 0..20 {
            let (_, b) = flow.predict().unwrap();
            let mut p = flow.pressure.clone();
            assert!(solver.solve(&b, &mut p).unwrap().is_converged());
            flow.correct(p).unwrap();
            // The residual of the solve, in the largest norm.
            assert!(flow.divergence().unwrap() < 1e-7);
        }
        let height: f64 = flow.smoke.indexed_iter().map(|(i, rho)| rho * i[1] as f64).sum::<f64>() / flow.smoke.sum();
        assert!(height > 2.0, "the source lies in the two lowest rows: {height}");
        assert!(flow.smoke.iter().all(|rho| (0.0..=1.0).contains(rho)));
    }
}
