//! How a truncated spectrum lies in memory.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::field::Grid;

/// Which modes a solver keeps, and on which grid it forms products.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum Dealias {
    /// The largest `K` with `(degree + 1) K < n` an axis: products of the given degree are exact on `|m| <= K`
    /// (the 2/3 rule for quadratic terms; Orszag 1971).
    #[default]
    Truncate,
    /// All modes `|m| < n / 2` of the user's grid; products on the next grid of a convenient size with
    /// `M > (degree + 1) (n / 2 - 1)` (the 3/2 rule for quadratic terms).
    Pad,
    /// Modes `|m| <= cut[axis]` on the user's grid, whatever aliases: for comparison with other codes.
    Cut(Vec<usize>),
}

/// Storage of one sample's truncated spectrum, `|m_i| <= K_i`, half along the last axis.
///
/// Modes of the last axis are grouped by `W` (the vector width): a group is `W` real parts followed by `W` imaginary
/// parts of consecutive modes. The order is channel, block of `W` last-axis modes, rows of the other axes (`m = 0, 1,
/// .., K, -K, .., -1`), so that a transform along another axis is a batch of `W` transforms on contiguous memory.
/// Coefficients are Fourier coefficients proper: the forward transform divided by the number of points. Lanes above
/// `K` in the last block are zero, always.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The user's grid.
    pub grid: Grid,
    /// Points along each axis of the grid on which products are formed.
    pub quadrature: Vec<usize>,
    /// Highest retained mode `K` of each axis.
    pub cut: Vec<usize>,
    /// Vector width `W`.
    pub width: usize,
    /// Components of the state.
    pub channels: usize,
}

/// Smallest `2^a 3^b 5^c >= n` that is divisible by `multiple`.
pub fn smooth_length(n: usize, multiple: usize) -> usize {
    (n.div_ceil(multiple)..)
        .find(|&q| {
            let mut rest = q;
            for p in [2, 3, 5] {
                while rest % p == 0 {
                    rest /= p;
                }
            }
            rest == 1
        })
        .expect("there is always a larger power of two")
        * multiple
}

/// Retained modes and quadrature grid for products of degree `degree`.
///
/// # Errors
///
/// [`Error::Parameter`] if a cut has the wrong number of axes, or is not below half the points of its axis.
pub fn dealias(grid: &Grid, rule: &Dealias, degree: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    let n = grid.shape();
    match rule {
        Dealias::Truncate => Ok((n.iter().map(|&n| super::dealias::cut(n, degree)).collect(), n.to_vec())),
        Dealias::Pad => {
            let cut: Vec<usize> = n.iter().map(|&n| (n - 1) / 2).collect();
            // 16 keeps the vector kernels of every width available.
            let quadrature = cut.iter().map(|&k| smooth_length((degree + 1) * k + 1, 16)).collect();
            Ok((cut, quadrature))
        }
        Dealias::Cut(cut) => {
            if cut.len() != n.len() {
                return Err(Error::shape("dealias cut", &[n.len()], &[cut.len()]));
            }
            if let Some((k, n)) = cut.iter().zip(n).find(|(k, n)| 2 * **k >= **n) {
                return Err(Error::parameter("dealias cut", k, format!("must be below half of n = {n}")));
            }
            Ok((cut.clone(), n.to_vec()))
        }
    }
}

impl Layout {
    /// Axes other than the last.
    pub fn outer_axes(&self) -> usize {
        self.cut.len() - 1
    }

    /// Retained rows `2 K + 1` of an outer axis, 1 for an axis that the box does not have.
    pub fn rows(&self, axis: usize) -> usize {
        if axis < self.outer_axes() { 2 * self.cut[axis] + 1 } else { 1 }
    }

    /// Blocks of `W` modes along the last axis.
    pub fn blocks(&self) -> usize {
        (self.cut[self.outer_axes()] + 1).div_ceil(self.width)
    }

    /// Groups in one block.
    pub fn block_groups(&self) -> usize {
        self.rows(0) * self.rows(1)
    }

    /// Reals in one block.
    pub fn block_len(&self) -> usize {
        self.block_groups() * 2 * self.width
    }

    /// Groups in one channel.
    pub fn groups(&self) -> usize {
        self.blocks() * self.block_groups()
    }

    /// Reals in one channel.
    pub fn channel_len(&self) -> usize {
        self.groups() * 2 * self.width
    }

    /// Reals in the state of one sample.
    pub fn sample_len(&self) -> usize {
        self.channels * self.channel_len()
    }

    /// Signed mode of a row of an outer axis.
    pub fn row_mode(&self, axis: usize, row: usize) -> i64 {
        let k = self.cut[axis];
        if row <= k { row as i64 } else { row as i64 - (2 * k + 1) as i64 }
    }

    /// Offset of the real part of a mode in a channel (the imaginary part is `W` further on); `None` if the mode is not
    /// retained or belongs to the half that is not stored.
    pub fn offset(&self, m: &[i64]) -> Option<usize> {
        let outer = self.outer_axes();
        let last = m[outer];
        if last < 0 || last > self.cut[outer] as i64 {
            return None;
        }
        let last = last as usize;
        let mut row = last / self.width;
        for (axis, &m) in m[..outer].iter().enumerate() {
            if m.unsigned_abs() as usize > self.cut[axis] {
                return None;
            }
            row = row * self.rows(axis) + if m >= 0 { m as usize } else { (m + self.rows(axis) as i64) as usize };
        }
        Some(row * 2 * self.width + last % self.width)
    }

    /// Calls `f(offset, m)` for every stored mode, `offset` as [`Layout::offset`].
    pub fn for_each_mode(&self, mut f: impl FnMut(usize, [i64; 3])) {
        let outer = self.outer_axes();
        for block in 0..self.blocks() {
            for row0 in 0..self.rows(0) {
                for row1 in 0..self.rows(1) {
                    let group = (block * self.rows(0) + row0) * self.rows(1) + row1;
                    for lane in 0..self.width {
                        let last = block * self.width + lane;
                        if last <= self.cut[outer] {
                            let mut m = [0; 3];
                            for (axis, row) in [row0, row1].into_iter().enumerate().take(outer) {
                                m[axis] = self.row_mode(axis, row);
                            }
                            m[outer] = last as i64;
                            f(group * 2 * self.width + lane, m);
                        }
                    }
                }
            }
        }
    }

    /// Angular wavenumber of a mode.
    pub fn wavenumber(&self, m: [i64; 3]) -> [f64; 3] {
        let mut k = [0.0; 3];
        for (axis, k) in k.iter_mut().enumerate().take(self.cut.len()) {
            *k = m[axis] as f64 * self.grid.k_unit(axis);
        }
        k
    }

    /// Share of `total` items that worker `index` of `count` owns.
    pub fn share(total: usize, index: usize, count: usize) -> Range<usize> {
        total * index / count..total * (index + 1) / count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(width: usize) -> Layout {
        let grid = Grid::new(&[12, 10, 24], &[1.0, 2.0, 3.0]).unwrap();
        let (cut, quadrature) = dealias(&grid, &Dealias::Truncate, 2).unwrap();
        Layout { grid, quadrature, cut, width, channels: 2 }
    }

    #[test]
    fn every_mode_has_its_own_offset() {
        for width in [1, 4, 8] {
            let layout = layout(width);
            assert_eq!(layout.cut, [3, 3, 7]);
            let mut seen = vec![false; layout.channel_len()];
            layout.for_each_mode(|offset, m| {
                assert_eq!(layout.offset(&m), Some(offset));
                assert!(!std::mem::replace(&mut seen[offset], true));
                assert!(!std::mem::replace(&mut seen[offset + width], true));
            });
            assert_eq!(seen.iter().filter(|s| **s).count(), 2 * 7 * 7 * 8);
            assert_eq!(layout.offset(&[4, 0, 0]), None);
            assert_eq!(layout.offset(&[0, 0, -1]), None);
        }
    }

    #[test]
    fn padded_grid_resolves_all_products() {
        let grid = Grid::cube(1, 64, 1.0).unwrap();
        assert_eq!(dealias(&grid, &Dealias::Pad, 2).unwrap(), (vec![31], vec![96]));
        assert_eq!(dealias(&grid, &Dealias::Truncate, 2).unwrap(), (vec![21], vec![64]));
        assert_eq!(dealias(&grid, &Dealias::Truncate, 3).unwrap(), (vec![15], vec![64]));
        assert!(dealias(&grid, &Dealias::Cut(vec![32]), 2).is_err());
    }
}
