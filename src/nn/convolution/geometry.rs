//! How a convolution is cut into tiles, and the tables by which the kernel finds its operands in one.

use super::Padding;

/// Bytes of a tile's operands that the second-level cache holds beside the weight.
const TILE_BYTES: usize = 384 * 1024;

/// Tiles that are wanted at least, so that threads have something to share.
const TILES: usize = 16;

/// Sizes of one convolution. Fewer than three axes are preceded by axes of one point.
#[derive(Clone, Debug)]
pub(super) struct Geometry {
    pub padding: Padding,
    pub batch: usize,
    pub c_in: usize,
    pub c_out: usize,
    /// Grid points along each axis.
    pub points: [usize; 3],
    /// Taps along each axis.
    pub kernel: [usize; 3],
    /// Output points of a tile along each axis. The last tile of an axis may reach beyond the grid: what it computes
    /// there is dropped.
    pub tile: [usize; 3],
    /// Tiles along each axis.
    pub tiles: [usize; 3],
}

/// One tile: which sample, and its first output point.
pub(super) struct Tile {
    pub sample: usize,
    pub origin: [usize; 3],
}

impl Geometry {
    /// Sizes for input `[batch, c_in, points..]` and weight `[c_out, c_in, kernel..]` of reals of `bytes` bytes.
    pub fn new(padding: Padding, x: &[usize], weight: &[usize], bytes: usize) -> Self {
        let three = |axes: &[usize]| {
            let mut all = [1; 3];
            all[3 - axes.len()..].copy_from_slice(axes);
            all
        };
        let geometry = Self {
            padding,
            batch: x[0],
            c_in: x[1],
            c_out: weight[0],
            points: three(&x[2..]),
            kernel: three(&weight[2..]),
            tile: [1; 3],
            tiles: [1; 3],
        };
        geometry.cut(TILE_BYTES / bytes)
    }

    /// The same between the cotangents: from the output's to the input's.
    pub fn transposed(&self) -> Self {
        Self { c_in: self.c_out, c_out: self.c_in, ..self.clone() }
    }

    /// Chooses the tiles: whole lines along the last axis if they fit, then as near to a cube as fits.
    fn cut(mut self, capacity: usize) -> Self {
        let n = self.points;
        let reals = |tile: [usize; 3]| {
            let padded: usize = (0..3).map(|a| tile[a] + self.kernel[a] - 1).product();
            self.c_in * padded + self.c_out * tile.iter().product::<usize>()
        };
        let count = |tile: [usize; 3]| self.batch * (0..3).map(|a| n[a].div_ceil(tile[a])).product::<usize>();
        let fits = |tile| reals(tile) <= capacity && count(tile) >= TILES;
        let mut tile = [1, 1, n[2]];
        while !fits(tile) && tile[2] > 64 {
            tile[2] = (tile[2] / 2).next_multiple_of(16);
        }
        loop {
            let axis = if tile[0] < n[0] && (tile[0] < tile[1] || tile[1] == n[1]) { 0 } else { 1 };
            let mut larger = tile;
            larger[axis] = (2 * tile[axis]).min(n[axis]);
            if larger == tile || !fits(larger) {
                break;
            }
            tile = larger;
        }
        for axis in 0..3 {
            self.tiles[axis] = n[axis].div_ceil(tile[axis]);
            self.tile[axis] = n[axis].div_ceil(self.tiles[axis]);
        }
        self
    }

    /// Number of tiles.
    pub fn count(&self) -> usize {
        self.batch * self.tiles.iter().product::<usize>()
    }

    /// The tile of this number.
    pub fn at(&self, index: usize) -> Tile {
        let [tx, ty, tz] = self.tiles;
        let origin = [index / tz / ty % tx * self.tile[0], index / tz % ty * self.tile[1], index % tz * self.tile[2]];
        Tile { sample: index / tz / ty / tx, origin }
    }

    /// Grid points of a sample.
    pub fn volume(&self) -> usize {
        self.points.iter().product()
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    /// Points of a tile.
    pub fn tile_volume(&self) -> usize {
        self.tile.iter().product()
    }

    /// Extents of a tile with its halo.
    pub fn padded(&self) -> [usize; 3] {
        std::array::from_fn(|a| self.tile[a] + self.kernel[a] - 1)
    }

    /// Distance of two channels of a padded tile: an odd number of cache lines, so that no two begin in the same place of
    /// the cache.
    pub fn channel_stride(&self) -> usize {
        self.padded().iter().product::<usize>().next_multiple_of(16) | 16
    }

    /// Where in a padded tile the window of each output point begins, for the points of `corner`.
    fn corners<'a>(&'a self, z: impl Iterator<Item = usize> + Clone + 'a) -> impl Iterator<Item = usize> + 'a {
        let [_, py, pz] = self.padded();
        let rows = (0..self.tile[0]).flat_map(move |x| (0..self.tile[1]).map(move |y| (x * py + y) * pz));
        rows.flat_map(move |row| z.clone().map(move |z| row + z))
    }

    /// Vectors along a line of a tile.
    pub fn vectors_of_a_line(&self, width: usize) -> usize {
        self.tile[2].div_ceil(width)
    }

    /// First point of a vector along a line of a tile; the last vector overlaps the one before rather than the end.
    pub fn vector_start(&self, vector: usize, width: usize) -> usize {
        (vector * width).min(self.tile[2].saturating_sub(width))
    }

    /// Where the vectors of output points read the first tap of the first channel.
    pub fn point_positions(&self, width: usize) -> Vec<usize> {
        self.corners((0..self.vectors_of_a_line(width)).map(move |v| self.vector_start(v, width))).collect()
    }

    /// Offset of each channel and tap, in the order `[c_in, kernel..]`.
    pub fn tap_offsets(&self) -> Vec<usize> {
        let [_, py, pz] = self.padded();
        let [kx, ky, kz] = self.kernel;
        let mut offsets = Vec::with_capacity(self.c_in * self.taps());
        for c in 0..self.c_in {
            for x in 0..kx {
                for y in 0..ky {
                    offsets.extend((0..kz).map(|z| c * self.channel_stride() + (x * py + y) * pz + z));
                }
            }
        }
        offsets
    }

    /// Vectors of one line of taps with the channel innermost.
    pub fn vectors_of_a_tap_line(&self, width: usize) -> usize {
        (self.kernel[2] * self.c_in).div_ceil(width)
    }

    /// In a padded tile with the channel innermost: where the vectors of taps and channels, `[kx, ky, (kz, c_in)]` with the
    /// last pair padded to whole vectors, begin for the first point.
    pub fn tap_positions(&self, width: usize) -> Vec<usize> {
        let [_, py, pz] = self.padded();
        let [kx, ky, _] = self.kernel;
        let lines = (0..kx).flat_map(|x| (0..ky).map(move |y| (x * py + y) * pz * self.c_in));
        lines.flat_map(|line| (0..self.vectors_of_a_tap_line(width)).map(move |v| line + v * width)).collect()
    }

    /// In the same tile: offset of each output point.
    pub fn point_offsets(&self) -> Vec<usize> {
        self.corners(0..self.tile[2]).map(|corner| corner * self.c_in).collect()
    }

    /// Grid point along `axis` behind place `i` of a padded tile that begins at `origin`; `None` is outside.
    pub fn source(&self, axis: usize, origin: usize, i: usize) -> Option<usize> {
        let n = self.points[axis] as isize;
        let j = (origin + i) as isize - (self.kernel[axis] / 2) as isize;
        match self.padding {
            Padding::Periodic => Some(j.rem_euclid(n) as usize),
            Padding::Zero => (0..n).contains(&j).then_some(j as usize),
        }
    }

    /// A line of a padded tile that begins at `origin`, cut into pieces of consecutive grid points.
    pub fn line_pieces(&self, origin: usize) -> Vec<Piece> {
        let len = self.padded()[2];
        let mut pieces = Vec::new();
        let mut at = 0;
        while at < len {
            let source = self.source(2, origin, at);
            let run = match source {
                Some(z) => (self.points[2] - z).min(len - at),
                None => (at..len).take_while(|&i| self.source(2, origin, i).is_none()).count(),
            };
            pieces.push(Piece { at, len: run, source });
            at += run;
        }
        pieces
    }
}

/// Consecutive points of a line of a padded tile.
pub(super) struct Piece {
    /// Place in the line.
    pub at: usize,
    pub len: usize,
    /// Grid point behind the first; `None` is outside.
    pub source: Option<usize>,
}
