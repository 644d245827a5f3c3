//! What is in each cell, what lies beyond the walls, and where a cell is in memory.

use crate::error::{Error, Result};

/// What a cell of the grid holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Cell {
    /// No flow through its faces: a homogeneous Neumann condition for its neighbours.
    Solid = 0,
    /// An unknown.
    #[default]
    Fluid = 1,
    /// A known value, zero unless given: a Dirichlet condition for its neighbours.
    Air = 2,
}

impl Cell {
    /// The cell of a code: 0 solid, 1 fluid, 2 air.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for any other code.
    pub fn from_code(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Self::Solid),
            1 => Ok(Self::Fluid),
            2 => Ok(Self::Air),
            _ => Err(Error::parameter("cell", code, "must be 0 (solid), 1 (fluid) or 2 (air)")),
        }
    }
}

/// What lies beyond each side of the grid: [`Cell::Solid`] or [`Cell::Air`], `sides[axis] = [low, high]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walls {
    /// Low and high side of each axis; sides of axes that the grid lacks are ignored.
    pub sides: [[Cell; 2]; 3],
}

impl Walls {
    /// Solid on all sides: a pure Neumann problem, unless there is air inside.
    pub fn closed() -> Self {
        Self { sides: [[Cell::Solid; 2]; 3] }
    }

    /// Air on all sides: a pure Dirichlet problem.
    pub fn open() -> Self {
        Self { sides: [[Cell::Air; 2]; 3] }
    }

    /// Solid, but for the high side of the last of `dim` axes.
    pub fn open_top(dim: usize) -> Self {
        let mut walls = Self::closed();
        walls.sides[dim.clamp(1, 3) - 1][1] = Cell::Air;
        walls
    }
}

/// Memory layout of coefficients and single-precision vectors: `n[0]` planes of `n[1]` rows of `n[2]` cells with a halo
/// of one cell, rows padded to vectors. A 2-D grid `[nx, ny]` is `[nx, 1, ny]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Cells along each axis.
    pub n: [usize; 3],
    /// Elements from a row to the next.
    pub row: usize,
    /// Elements from a plane to the next.
    pub plane: usize,
    /// Whether there is no axis 1 at all, not even walls along it.
    pub is_2d: bool,
}

/// Single-precision elements that rows are padded to.
pub(crate) const VECTOR: usize = 16;

/// Elements in front of the first cell of a row: the left halo cell and alignment.
pub(crate) const LEAD: usize = VECTOR;

impl Layout {
    pub fn new(n: [usize; 3], is_2d: bool) -> Self {
        // The pad between two rows holds the right halo of one (its first element) and the left halo of the next (its last).
        let row = n[2].next_multiple_of(VECTOR) + LEAD;
        Self { n, row, plane: (n[1] + 2) * row, is_2d }
    }

    /// Elements of an array, halo included.
    pub fn len(&self) -> usize {
        (self.n[0] + 2) * self.plane + LEAD
    }

    /// Offset of cell `(i, j, 0)`.
    #[inline(always)]
    pub fn at(&self, i: usize, j: usize) -> usize {
        (i + 1) * self.plane + self.in_plane(j)
    }

    /// Offset of cell `(j, 0)` within its plane.
    #[inline(always)]
    pub fn in_plane(&self, j: usize) -> usize {
        (j + 1) * self.row + LEAD
    }

    /// Cells.
    pub fn cells(&self) -> usize {
        self.n.iter().product()
    }

    /// Offset from a cell to the next along `axis`.
    pub fn step(&self, axis: usize) -> usize {
        [self.plane, self.row, 1][axis]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halo_cells_of_neighbouring_rows_do_not_share_memory() {
        for n2 in [1, 7, 8, 9, 128] {
            let layout = Layout::new([3, 4, n2], false);
            let mut seen = vec![false; layout.len()];
            for i in 0..5 {
                for j in 0..6 {
                    // The row of halo cell (i - 1, j - 1), from its left halo cell to its right one.
                    let start = i * layout.plane + j * layout.row + LEAD - 1;
                    for (k, cell) in seen[start..start + n2 + 2].iter_mut().enumerate() {
                        assert!(!std::mem::replace(cell, true), "({i}, {j}, {k}) of {layout:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn unknown_codes_are_refused() {
        assert_eq!(Cell::from_code(2).unwrap(), Cell::Air);
        assert!(Cell::from_code(3).unwrap_err().to_string().contains("cell = 3"));
    }
}
