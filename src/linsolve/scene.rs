//! Test scenes that need no data: boxes, obstacles, free surfaces. The last axis points up.

use ndarray::{ArrayD, IxDyn};

use super::cells::{Cell, Walls};
use super::poisson::Poisson;
use crate::error::Result;

/// A scene in the unit box, for any number of cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Fluid everywhere, open above.
    OpenBox,
    /// Fluid everywhere, closed: singular.
    ClosedBox,
    /// A solid sphere of radius 0.2, open above.
    Sphere,
    /// The same in a closed box, as for smoke: singular.
    Smoke,
    /// Free surface with waves and a step, and nine vertical pillars of radius 0.05, open above: 42 % fluid.
    Pillars,
    /// Horizontal slabs, a twentieth of the height thick, that leave gaps at alternating sides, open above.
    Slabs,
    /// A steep irregular free surface without obstacles, open above.
    Surface,
}

impl Scene {
    /// All scenes.
    pub const ALL: [Self; 7] =
        [Self::OpenBox, Self::ClosedBox, Self::Sphere, Self::Smoke, Self::Pillars, Self::Slabs, Self::Surface];

    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenBox => "open box",
            Self::ClosedBox => "closed box",
            Self::Sphere => "sphere",
            Self::Smoke => "smoke",
            Self::Pillars => "pillars",
            Self::Slabs => "slabs",
            Self::Surface => "surface",
        }
    }

    /// What is beyond the sides.
    pub fn walls(self, dim: usize) -> Walls {
        if matches!(self, Self::ClosedBox | Self::Smoke) { Walls::closed() } else { Walls::open_top(dim) }
    }

    /// What is at a point of the unit box; in two dimensions `y` is 1/2.
    fn cell(self, [x, y, z]: [f64; 3]) -> Cell {
        let is_solid = match self {
            Self::Sphere | Self::Smoke => (x - 0.5).powi(2) + (y - 0.5).powi(2) + (z - 0.4).powi(2) < 0.04,
            Self::Pillars => {
                let near = |c: f64| [0.25, 0.5, 0.75].iter().map(|p| (c - p).powi(2)).fold(1.0, f64::min);
                near(x) + near(y) < 0.0025
            }
            Self::Slabs => (1..4).any(|s| {
                let inside = (z - 0.25 * f64::from(s)).abs() < 0.025;
                inside && if s % 2 == 0 { x > 0.2 } else { x < 0.8 }
            }),
            Self::OpenBox | Self::ClosedBox | Self::Surface => false,
        };
        let surface = match self {
            Self::Pillars => {
                0.35 + if x < 0.4 { 0.25 } else { 0.0 } + 0.06 * (9.0 * x + 4.0 * y).sin() * (7.0 * y).cos()
            }
            Self::Surface => {
                0.5 + 0.2 * (11.0 * x + 3.0 * y).sin() * (8.0 * y).cos() + 0.1 * (23.0 * x).sin() * (19.0 * y).sin()
            }
            _ => f64::INFINITY,
        };
        match (is_solid, z > surface) {
            (true, _) => Cell::Solid,
            (false, true) => Cell::Air,
            (false, false) => Cell::Fluid,
        }
    }

    /// The cells, by what is at their centres.
    pub fn cells(self, shape: &[usize]) -> ArrayD<Cell> {
        ArrayD::from_shape_fn(IxDyn(shape), |index| self.cell(centre(shape, |a| index[a])))
    }

    /// The problem on `shape` cells, whose size is one over the first.
    ///
    /// # Errors
    ///
    /// As [`Poisson::new`].
    pub fn problem(self, shape: &[usize]) -> Result<Poisson> {
        let h = 1.0 / shape.first().copied().unwrap_or(1).max(1) as f64;
        Poisson::new(self.cells(shape).view(), &vec![h; shape.len()], self.walls(shape.len()))
    }
}

/// Centre of the cell with index `index(a)` along axis `a`, in the unit box.
pub(super) fn centre(shape: &[usize], index: impl Fn(usize) -> usize) -> [f64; 3] {
    let x = |a: usize| (index(a) as f64 + 0.5) / shape[a] as f64;
    match shape.len() {
        3 => [x(0), x(1), x(2)],
        2 => [x(0), 0.5, x(1)],
        _ => [0.5; 3],
    }
}

/// A right-hand side for the scenes: a source and sink near the bottom, and a small product of sines,
/// `20 (z - 0.12) exp(-60 |x - (0.5, 0.5, 0.12)|^2) + 0.02 sin(20 x) sin(14 y) cos(9 z)`.
pub fn source(shape: &[usize]) -> Vec<f64> {
    let value = |[x, y, z]: [f64; 3]| {
        let (dx, dy, dz) = (x - 0.5, y - 0.5, z - 0.12);
        20.0 * dz * (-60.0 * (dx * dx + dy * dy + dz * dz)).exp()
            + 0.02 * (20.0 * x).sin() * (14.0 * y).sin() * (9.0 * z).cos()
    };
    ndarray::indices(shape).into_iter().map(|index| value(centre(shape, |a| index[a]))).collect()
}
