//! The elliptic problem on a grid of cells.

use std::sync::Mutex;

use ndarray::{ArrayD, ArrayViewD};

use super::cells::{Cell, Layout, Walls};
use super::components::{Component, Run, Runs};
use super::operator::Operator;
use super::pool::vectorize;
use super::stencil::Stencil;
use crate::error::{Error, Result};
use crate::spectral::simd::Isa;

/// `-div(beta grad p) = b` on the fluid cells of a 2-D or 3-D grid.
///
/// The finite-volume discretisation of second order with the unknowns at the cell centres, as of the marker-and-cell
/// scheme:
///
/// ```text
/// (A p)_i = sum over the faces f of cell i that touch no solid   beta_f / h_a^2 (p_i - p_j),
/// ```
///
/// where `a` is the axis of the face, `h_a` the spacing and `j` the cell beyond, with `p_j = 0` if that is air (add known
/// values to the right-hand side with [`Poisson::add_air_values`]). Faces to solids drop out: a Neumann condition. `A` is symmetric; it
/// is positive definite when a Dirichlet face touches each component of connected unknowns, and else has the constants of the
/// untouched components as null space, which every solver takes out.
///
/// A free surface between two cell centres, at the part `theta` of the way, is `beta_f = beta / theta` on its face (ghost fluid
/// method, Gibou et al., J. Comput. Phys. 176 (2002)); a Dirichlet value on the wall itself is `theta = 1/2`.
pub struct Poisson {
    shape: Vec<usize>,
    spacing: Vec<f64>,
    walls: Walls,
    pub(super) layout: Layout,
    /// Codes of [`Cell`] in the padded layout.
    pub(super) flags: Vec<u8>,
    /// `A` is this times the stencil of `matrix`.
    pub(super) scale: f64,
    pub(super) matrix: Matrix,
    pub(super) dirichlet: Vec<DirichletFace>,
    pub(super) runs: Runs,
    components: Vec<Component>,
    /// A row of zeros, which stands in for what lies beyond the walls.
    zeros: Vec<f64>,
    /// Scratch: sums over components.
    sums: Mutex<Vec<[f64; 2]>>,
}

/// The stencil, its diagonal in single precision where that is exact (equal spacings, `beta = 1`).
pub(super) enum Matrix {
    Single(Stencil<f64, f32>),
    Double(Stencil<f64, f64>),
}

/// Evaluates `$body` with `$s` the stencil of the problem.
macro_rules! with_matrix {
    ($problem:expr, $s:ident => $body:expr) => {
        match &$problem.matrix {
            $crate::linsolve::poisson::Matrix::Single($s) => $body,
            $crate::linsolve::poisson::Matrix::Double($s) => $body,
        }
    };
}
pub(super) use with_matrix;

/// A face between an unknown and air.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirichletFace {
    /// The unknown.
    pub cell: [u32; 3],
    pub axis: u8,
    /// Whether the air is on the high side.
    pub is_high: bool,
    /// `beta_f / h_a^2` over the scale.
    pub weight: f64,
}

/// Axes of the three-dimensional layout that the axes of a grid are.
pub(super) fn axes_of(dim: usize) -> &'static [usize] {
    if dim == 2 { &[0, 2] } else { &[0, 1, 2] }
}

impl Poisson {
    /// The problem with `beta = 1`.
    ///
    /// # Arguments
    ///
    /// * `cells`: what each cell holds, shape `[nx, ny]` or `[nx, ny, nz]`.
    /// * `spacing`: size of a cell along each axis.
    /// * `walls`: what lies beyond the sides.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are 2 or 3 axes with at least one cell each, fewer than 2^31 cells, and positive
    /// finite spacings; [`Error::Shape`] unless there is one spacing an axis.
    ///
    /// # Example
    ///
    /// ```
    /// use ndarray::ArrayD;
    /// use parseval::linsolve::{Cell, Method, Options, Poisson, Solver, Walls};
    /// let cells = ArrayD::from_elem(vec![32, 32, 32], Cell::Fluid);
    /// let problem = Poisson::new(cells.view(), &[1.0 / 32.0; 3], Walls::open_top(3))?;
    /// let (b, mut p) = (vec![1.0; problem.cells()], vec![0.0; problem.cells()]);
    /// let mut solver = problem.plan(Method::Multigrid, &Options::default())?;
    /// let report = solver.solve(&b, &mut p)?;
    /// assert!(report.is_converged() && report.iterations <= 13);
    /// # Ok::<(), parseval::Error>(())
    /// ```
    pub fn new(cells: ArrayViewD<Cell>, spacing: &[f64], walls: Walls) -> Result<Self> {
        Self::build(cells, spacing, walls, None)
    }

    /// The problem with `beta = 1` from an array of codes, see [`Cell::from_code`].
    ///
    /// # Errors
    ///
    /// As [`Poisson::new`], and for codes that there are not.
    pub fn from_codes(codes: ArrayViewD<u8>, spacing: &[f64], walls: Walls) -> Result<Self> {
        let mut cells = ArrayD::from_elem(codes.raw_dim(), Cell::Solid);
        for (cell, &code) in cells.iter_mut().zip(codes) {
            *cell = Cell::from_code(code)?;
        }
        Self::new(cells.view(), spacing, walls)
    }

    /// The problem with `beta` given on the faces.
    ///
    /// `beta[a]` has one more entry along axis `a` than the grid: entry `i` is the face between cells `i - 1` and `i`. A zero closes
    /// the face.
    ///
    /// # Errors
    ///
    /// As [`Poisson::new`]; [`Error::Shape`] for a coefficient of another shape; [`Error::Parameter`] for one that is negative
    /// or not finite.
    pub fn with_coefficients(
        cells: ArrayViewD<Cell>,
        spacing: &[f64],
        walls: Walls,
        beta: &[ArrayViewD<f64>],
    ) -> Result<Self> {
        Self::build(cells, spacing, walls, Some(beta))
    }

    fn build(cells: ArrayViewD<Cell>, spacing: &[f64], walls: Walls, beta: Option<&[ArrayViewD<f64>]>) -> Result<Self> {
        let shape = cells.shape().to_vec();
        let dim = shape.len();
        if !(2..=3).contains(&dim) || shape.contains(&0) {
            return Err(Error::parameter("cells", format!("{shape:?}"), "must have 2 or 3 axes, none of them empty"));
        }
        if shape.iter().try_fold(1usize, |n, &m| n.checked_mul(m)).is_none_or(|n| n >= 1 << 31) {
            return Err(Error::parameter("cells", format!("{shape:?}"), "must be fewer than 2^31"));
        }
        if spacing.len() != dim {
            return Err(Error::shape("spacing", &[dim], &[spacing.len()]));
        }
        if let Some(h) = spacing.iter().find(|h| !h.is_normal() || **h <= 0.0 || !(*h * *h).recip().is_normal()) {
            return Err(Error::parameter("spacing", h, "must be > 0 and finite, and so must its inverse square"));
        }
        let mut n = [1; 3];
        let mut axis = [0.0; 3];
        for ((&a, &m), h) in axes_of(dim).iter().zip(&shape).zip(spacing) {
            (n[a], axis[a]) = (m, 1.0 / (h * h));
        }
        let layout = Layout::new(n, dim == 2);
        let flags = padded_flags(cells, walls, &layout, dim);
        let (scale, matrix) = match beta {
            None => {
                let scale = axis.iter().copied().fold(0.0, f64::max);
                let axis = axis.map(|w| w / scale);
                let exact = axes_of(dim).iter().all(|&a| axis[a] == 1.0);
                let matrix = if exact {
                    Matrix::Single(Stencil { layout, axis, faces: None, diag: uniform_diagonal(&layout, &flags, axis) })
                } else {
                    Matrix::Double(Stencil { layout, axis, faces: None, diag: uniform_diagonal(&layout, &flags, axis) })
                };
                (scale, matrix)
            }
            Some(beta) => {
                let (scale, faces) = padded_faces(beta, &shape, axis, &layout, &flags)?;
                let axis = axis.map(|w| w / scale);
                let diag = faces_diagonal(&layout, &flags, &faces);
                (scale, Matrix::Double(Stencil { layout, axis, faces: Some(faces), diag }))
            }
        };
        let zeros = vec![0.0; n[2]];
        let (spacing, runs) = (spacing.to_vec(), Runs::default());
        let (dirichlet, components) = (Vec::new(), Vec::new());
        let mut problem = Self {
            shape,
            spacing,
            walls,
            layout,
            flags,
            scale,
            matrix,
            dirichlet,
            runs,
            components,
            zeros,
            sums: Mutex::default(),
        };
        vectorize(Isa::detect(), || {
            problem.find_dirichlet();
            problem.find_components();
        });
        problem.sums = Mutex::new(vec![[0.0; 2]; problem.components.len()]);
        Ok(problem)
    }

    /// Cells along each axis.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Size of a cell along each axis.
    pub fn spacing(&self) -> &[f64] {
        &self.spacing
    }

    /// Number of cells, the length of the vectors.
    pub fn cells(&self) -> usize {
        self.layout.cells()
    }

    /// Number of fluid cells.
    pub fn unknowns(&self) -> usize {
        self.components.iter().map(|c| c.cells).sum()
    }

    /// The connected components of the unknowns, in the order of their first cells.
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// Flat indices of unknowns without any neighbour; their value is zero.
    pub fn isolated_cells(&self) -> Vec<usize> {
        let alone = |run: &&Run| {
            let component = self.components[run.component as usize];
            component.cells == 1 && !component.has_dirichlet
        };
        let n = self.layout.n;
        (0..n[0] * n[1])
            .flat_map(|row| self.runs.row(row).iter().filter(alone).map(move |run| row * n[2] + run.start as usize))
            .collect()
    }

    /// What lies beyond the walls, if the grid is a box: all cells fluid, `beta = 1`.
    pub(super) fn as_box(&self) -> Option<Walls> {
        let uniform = with_matrix!(self, s => s.faces.is_none());
        (uniform && self.unknowns() == self.cells()).then_some(self.walls)
    }

    /// Relative weight of the face between cell `o` and the one before it along `axis`, both not solid.
    pub(super) fn face_weight(&self, axis: usize, o: usize) -> f64 {
        with_matrix!(self, s => s.faces.as_ref().map_or(s.axis[axis], |faces| faces[axis][o]))
    }

    fn find_dirichlet(&mut self) {
        const AIR: u8 = Cell::Air as u8;
        let n = self.layout.n;
        for (i, j) in (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| (i, j))) {
            let o = self.layout.at(i, j);
            let here = &self.flags[o..o + n[2]];
            for axis in 0..3 {
                for is_high in [false, true] {
                    let step = self.layout.step(axis);
                    let from = if is_high { o + step } else { o - step };
                    let beyond = &self.flags[from..from + n[2]];
                    let touches = |f: u8, b: u8| (f == Cell::Fluid as u8) & (b == AIR);
                    if !here.iter().zip(beyond).fold(false, |any, (&f, &b)| any | touches(f, b)) {
                        continue;
                    }
                    for k in (0..n[2]).filter(|&k| touches(here[k], beyond[k])) {
                        let weight = self.face_weight(axis, if is_high { o + k + step } else { o + k });
                        if weight > 0.0 {
                            let cell = [i as u32, j as u32, k as u32];
                            self.dirichlet.push(DirichletFace { cell, axis: axis as u8, is_high, weight });
                        }
                    }
                }
            }
        }
    }

    fn find_components(&mut self) {
        let n = self.layout.n;
        let open = |axis: usize, o: usize| self.face_weight(axis, o) > 0.0;
        let mut runs = Runs::default();
        runs.rows.push(0);
        for (i, j) in (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| (i, j))) {
            let o = self.layout.at(i, j);
            let row = &self.flags[o..o + n[2]];
            let is_fluid = |k: usize| row[k] == Cell::Fluid as u8;
            let mut k = 0;
            while k < n[2] {
                if is_fluid(k) {
                    let start = k;
                    k += 1;
                    while k < n[2] && is_fluid(k) && open(2, o + k) {
                        k += 1;
                    }
                    runs.runs.push(Run { start: start as u32, end: k as u32, component: 0 });
                } else {
                    k += 1;
                }
            }
            runs.rows.push(runs.runs.len());
        }
        let is_uniform = with_matrix!(self, s => s.faces.is_none());
        let sizes = runs.join([n[0], n[1]], |row, axis, start, end| {
            let o = self.layout.at(row / n[1], row % n[1]);
            is_uniform || (start..end).any(|k| open(axis, o + k as usize))
        });
        self.runs = runs;
        self.components = sizes.into_iter().map(|cells| Component { cells, has_dirichlet: false }).collect();
        for face in &self.dirichlet {
            let [i, j, k] = face.cell.map(|c| c as usize);
            if let Some(c) = self.runs.component(i * n[1] + j, k) {
                self.components[c].has_dirichlet = true;
            }
        }
    }

    /// Calls `f(component, cells of a run)` for every run of the components without Dirichlet faces.
    fn for_singular_runs(&self, mut f: impl FnMut(usize, std::ops::Range<usize>)) {
        if self.components.iter().all(|c| c.has_dirichlet) {
            return;
        }
        let n = self.layout.n;
        for row in 0..n[0] * n[1] {
            for run in self.runs.row(row) {
                if !self.components[run.component as usize].has_dirichlet {
                    f(run.component as usize, row * n[2] + run.start as usize..row * n[2] + run.end as usize);
                }
            }
        }
    }

    /// `y = A x` for rows of planes `planes`, to `y` from the first of them on.
    #[inline(always)]
    pub(super) fn apply_planes(&self, planes: std::ops::Range<usize>, x: &[f64], y: &mut [f64]) {
        let n = self.layout.n;
        for ((i, j), y) in planes.flat_map(|i| (0..n[1]).map(move |j| (i, j))).zip(y.chunks_exact_mut(n[2])) {
            let span = self.runs.span(i * n[1] + j);
            with_matrix!(self, s => s.apply_flat(self.scale, x, &self.zeros, [i, j], span, y));
        }
    }
}

impl Operator for Poisson {
    fn len(&self) -> usize {
        self.cells()
    }

    fn apply(&self, x: &[f64], y: &mut [f64]) {
        vectorize(Isa::detect(), || self.apply_planes(0..self.layout.n[0], x, y));
    }

    fn project(&self, v: &mut [f64]) {
        let n = self.layout.n;
        for (row, v) in v.chunks_exact_mut(n[2]).enumerate() {
            let mut end = 0;
            for run in self.runs.row(row) {
                v[end..run.start as usize].fill(0.0);
                end = run.end as usize;
            }
            v[end..].fill(0.0);
        }
        // Twice: the first mean leaves its own round-off, which may be large where the mean was.
        let mut sums = self.sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for _ in 0..2 {
            sums.fill([0.0; 2]);
            self.for_singular_runs(|c, cells| sums[c][0] += v[cells].iter().sum::<f64>());
            self.for_singular_runs(|c, cells| {
                let mean = sums[c][0] / self.components[c].cells as f64;
                v[cells].iter_mut().for_each(|v| *v -= mean);
            });
        }
    }

    fn incompatibility(&self, b: &[f64]) -> f64 {
        let mut sums = self.sums.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        sums.fill([0.0; 2]);
        self.for_singular_runs(|c, cells| {
            for v in &b[cells] {
                sums[c][0] += v;
                sums[c][1] += v.abs();
            }
        });
        sums.iter().filter(|s| s[1] > 0.0).map(|s| s[0].abs() / s[1]).fold(0.0, f64::max)
    }

    fn diagonal(&self) -> Option<Vec<f64>> {
        let n = self.layout.n;
        let rows = (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| self.layout.at(i, j)));
        let cells = rows.flat_map(|o| o..o + n[2]);
        Some(cells.map(|o| self.scale * with_matrix!(self, s => s.diagonal(o))).collect())
    }

    fn bytes(&self) -> usize {
        let faces = with_matrix!(self, s => size_of_val(&s.diag[..]) + s.faces.iter().flatten().map(|f| 8 * f.len()).sum::<usize>());
        self.flags.len() + faces + size_of_val(&self.dirichlet[..]) + size_of_val(&self.runs.runs[..])
    }
}

fn padded_flags(cells: ArrayViewD<Cell>, walls: Walls, layout: &Layout, dim: usize) -> Vec<u8> {
    let n = layout.n;
    let mut flags = vec![Cell::Solid as u8; layout.len()];
    let standard = cells.as_standard_layout();
    let rows = standard.as_slice().expect("standard layout is contiguous").chunks_exact(n[2]);
    for ((i, j), row) in (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| (i, j))).zip(rows) {
        for (f, &cell) in flags[layout.at(i, j)..].iter_mut().zip(row) {
            *f = cell as u8;
        }
    }
    for (&a, sides) in axes_of(dim).iter().zip(walls.sides) {
        let others: Vec<usize> = (0..3).filter(|&b| b != a).collect();
        for (is_high, side) in [false, true].into_iter().zip(sides) {
            for p in 0..n[others[0]] {
                for q in 0..n[others[1]] {
                    let mut cell = [0; 3];
                    (cell[others[0]], cell[others[1]]) = (p, q);
                    cell[a] = if is_high { n[a] - 1 } else { 0 };
                    let o = layout.at(cell[0], cell[1]) + cell[2];
                    flags[if is_high { o + layout.step(a) } else { o - layout.step(a) }] = side as u8;
                }
            }
        }
    }
    flags
}

/// Sum of the weights of the faces that touch no solid.
fn uniform_diagonal<D: Diagonal>(layout: &Layout, flags: &[u8], axis: [f64; 3]) -> Vec<D> {
    let n = layout.n;
    let mut diag = vec![D::default(); layout.len()];
    vectorize(Isa::detect(), || {
        for (i, j) in (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| (i, j))) {
            let o = layout.at(i, j);
            let pair = |a: usize| {
                let step = layout.step(a);
                (&flags[o - step..o - step + n[2]], &flags[o + step..o + step + n[2]])
            };
            let (pairs, here) = ([pair(0), pair(1), pair(2)], &flags[o..o + n[2]]);
            let out = &mut diag[o..o + n[2]];
            for k in 0..n[2] {
                let weight =
                    |a: usize| axis[a] * f64::from(u8::from(pairs[a].0[k] != 0) + u8::from(pairs[a].1[k] != 0));
                let d = weight(0) + weight(1) + weight(2);
                out[k] = D::of(if here[k] == Cell::Fluid as u8 { d } else { 0.0 });
            }
        }
    });
    diag
}

/// Precision that a diagonal is kept in.
trait Diagonal: Copy + Default {
    fn of(d: f64) -> Self;
}

impl Diagonal for f32 {
    #[inline(always)]
    fn of(d: f64) -> Self {
        d as f32
    }
}

impl Diagonal for f64 {
    #[inline(always)]
    fn of(d: f64) -> Self {
        d
    }
}

/// Scale, and weights of all faces of unknowns that touch no solid, over it.
fn padded_faces(
    beta: &[ArrayViewD<f64>],
    shape: &[usize],
    axis: [f64; 3],
    layout: &Layout,
    flags: &[u8],
) -> Result<(f64, [Vec<f64>; 3])> {
    let dim = shape.len();
    if beta.len() != dim {
        return Err(Error::shape("beta", &[dim], &[beta.len()]));
    }
    let mut faces: [Vec<f64>; 3] = std::array::from_fn(|_| vec![0.0; layout.len()]);
    let mut scale = 0.0f64;
    for (d, (&a, beta)) in axes_of(dim).iter().zip(beta).enumerate() {
        let mut expected = shape.to_vec();
        expected[d] += 1;
        if beta.shape() != expected {
            return Err(Error::shape(format!("beta[{d}]"), &expected, beta.shape()));
        }
        let step = layout.step(a);
        for (index, &beta) in beta.indexed_iter() {
            if !beta.is_finite() || beta < 0.0 {
                return Err(Error::parameter(format!("beta[{d}]"), beta, "must be >= 0 and finite"));
            }
            let [i, j, k] = if dim == 2 { [index[0], 0, index[1]] } else { [index[0], index[1], index[2]] };
            let o = layout.at(i, j) + k;
            let pair = [flags[o], flags[o - step]];
            if pair.contains(&(Cell::Fluid as u8)) && !pair.contains(&(Cell::Solid as u8)) {
                faces[a][o] = beta * axis[a];
                scale = scale.max(faces[a][o]);
            }
        }
    }
    let scale = if scale > 0.0 { scale } else { 1.0 };
    faces.iter_mut().flatten().for_each(|w| *w /= scale);
    Ok((scale, faces))
}

fn faces_diagonal(layout: &Layout, flags: &[u8], faces: &[Vec<f64>; 3]) -> Vec<f64> {
    let mut diag = vec![0.0; layout.len()];
    let n = layout.n;
    for (i, j) in (0..n[0]).flat_map(|i| (0..n[1]).map(move |j| (i, j))) {
        let o = layout.at(i, j);
        for o in (o..o + n[2]).filter(|&o| flags[o] == Cell::Fluid as u8) {
            diag[o] = (0..3).map(|a| faces[a][o] + faces[a][o + layout.step(a)]).sum();
        }
    }
    diag
}
