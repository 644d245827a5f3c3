//! Copies between fields and tiles.

use super::geometry::{Geometry, Tile};
use crate::autodiff::dispatch;
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};
use crate::stepper::team::Shared;

/// Copies a tile with its halo, `[c_in, padded..]`, so that no window wraps around.
pub(super) fn gather<T: Real>(isa: Isa, geometry: &Geometry, tile: &Tile, x: &[T], out: &mut [T]) {
    let (pz, stride) = (geometry.padded()[2], geometry.channel_stride());
    let (lines, pieces) = (lines(geometry, tile), geometry.line_pieces(tile.origin[2]));
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
        for c in 0..geometry.c_in {
            let x = &x[(tile.sample * geometry.c_in + c) * geometry.volume()..][..geometry.volume()];
            for (line, out) in lines.iter().zip(out[c * stride..][..stride].chunks_exact_mut(pz)) {
                for piece in &pieces {
                    let out = &mut out[piece.at..][..piece.len];
                    match (line, piece.source) {
                        (Some(start), Some(z)) => copy::<V<T>>(&x[start + z..][..piece.len], out),
                        _ => out.fill(T::zero()),
                    }
                }
            }
        }
    }));
}

/// Copies a tile with its halo and the channel innermost, `[padded.., c_in]`.
pub(super) fn gather_transposed<T: Real>(isa: Isa, geometry: &Geometry, tile: &Tile, x: &[T], out: &mut [T]) {
    let (pz, c_in, volume) = (geometry.padded()[2], geometry.c_in, geometry.volume());
    let x = &x[tile.sample * c_in * volume..][..c_in * volume];
    let (lines, pieces) = (lines(geometry, tile), geometry.line_pieces(tile.origin[2]));
    for (line, out) in lines.iter().zip(out.chunks_exact_mut(pz * c_in)) {
        for piece in &pieces {
            let out = &mut out[piece.at * c_in..][..piece.len * c_in];
            match (line, piece.source) {
                (Some(start), Some(z)) => transpose(isa, &x[start + z..], volume, piece.len, c_in, out),
                _ => out.fill(T::zero()),
            }
        }
    }
}

/// Where the line of grid points behind each line of a padded tile begins; `None` is outside.
fn lines(geometry: &Geometry, tile: &Tile) -> Vec<Option<usize>> {
    let [px, py, _] = geometry.padded();
    let [_, ny, nz] = geometry.points;
    let line = |row| {
        let x = geometry.source(0, tile.origin[0], row / py)?;
        let y = geometry.source(1, tile.origin[1], row % py)?;
        Some((x * ny + y) * nz)
    };
    (0..px * py).map(line).collect()
}

/// Copies of one or two values at the ends of a line, or of a whole line: all too short for the system's routine.
#[inline(always)]
fn copy<V: Lanes>(from: &[V::Real], to: &mut [V::Real]) {
    let len = from.len().min(to.len());
    if len < V::WIDTH {
        from.iter().zip(to).for_each(|(from, to)| *to = *from);
        return;
    }
    for i in (0..len).step_by(V::WIDTH) {
        let i = i.min(len - V::WIDTH);
        // SAFETY: the vector ends inside; the last one overlaps the one before.
        unsafe { V::load(from.as_ptr().add(i)).store(to.as_mut_ptr().add(i)) };
    }
}

/// `out[p][c] = x[c stride + p]` for `p < points` and `c < channels`.
pub(super) fn transpose<T: Real>(isa: Isa, x: &[T], stride: usize, points: usize, channels: usize, out: &mut [T]) {
    assert!(points == 0 || channels == 0 || (channels - 1) * stride + points <= x.len(), "points to transpose");
    assert_eq!(out.len(), points * channels, "transposed points");
    dispatch!(isa, V => V::<T>::vectorize(
        #[inline(always)]
        // SAFETY: all loads and stores lie inside, as just checked.
        || unsafe { transpose_tiles::<V<T>>(x, stride, points, channels, out) },
    ));
}

/// [`transpose`] by squares of registers.
///
/// # Safety
///
/// As [`transpose`] checks.
#[inline(always)]
unsafe fn transpose_tiles<V: Lanes>(x: &[V::Real], stride: usize, points: usize, channels: usize, out: &mut [V::Real]) {
    let whole = |n: usize| n - n % V::WIDTH;
    let mut square = [V::splat(V::Real::default()); 16];
    let square = &mut square[..V::WIDTH];
    for c in (0..whole(channels)).step_by(V::WIDTH) {
        for p in (0..whole(points)).step_by(V::WIDTH) {
            // SAFETY: the caller's promise.
            unsafe {
                for (i, row) in square.iter_mut().enumerate() {
                    *row = V::load(x.as_ptr().add((c + i) * stride + p));
                }
                V::transpose(square);
                for (i, row) in square.iter().enumerate() {
                    row.store(out.as_mut_ptr().add((p + i) * channels + c));
                }
            }
        }
    }
    for c in 0..channels {
        let rest = if c < whole(channels) { whole(points) } else { 0 };
        for p in rest..points {
            out[p * channels + c] = x[c * stride + p];
        }
    }
}

/// Writes (or, if `add`, adds) the results of a tile, `[c_out, vectors]`, to the output.
///
/// # Safety
///
/// Nobody else may touch the output points of this tile.
pub(super) unsafe fn scatter<T: Real>(
    isa: Isa,
    geometry: &Geometry,
    tile: &Tile,
    results: &[T],
    output: Shared<T>,
    add: bool,
) {
    let [nx, ny, nz] = geometry.points;
    let [bx, by, bz] = geometry.tile;
    let [x0, y0, z0] = tile.origin;
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
        let vectors = geometry.vectors_of_a_line(V::<T>::WIDTH);
        for (index, results) in results.chunks_exact(vectors * V::<T>::WIDTH).enumerate() {
            let (c, x, y) = (index / by / bx, x0 + index / by % bx, y0 + index % by);
            if x >= nx || y >= ny || z0 >= nz {
                continue;
            }
            let start = (((tile.sample * geometry.c_out + c) * nx + x) * ny + y) * nz + z0;
            // SAFETY: the caller's promise.
            let line = unsafe { output.part(start, bz.min(nz - z0)).as_mut_slice() };
            for (vector, result) in results.chunks_exact(V::<T>::WIDTH).enumerate() {
                // Where two vectors overlap, the first has written already.
                let at = vector * V::<T>::WIDTH;
                let done = at - geometry.vector_start(vector, V::<T>::WIDTH);
                let at = at.min(line.len());
                write::<V<T>>(&result[done..], &mut line[at..], add);
            }
        }
    }));
}

/// Writes or adds what fits.
#[inline(always)]
fn write<V: Lanes>(result: &[V::Real], line: &mut [V::Real], add: bool) {
    if result.len() == V::WIDTH && line.len() >= V::WIDTH {
        // SAFETY: both have a vector.
        unsafe {
            let result = V::load(result.as_ptr());
            let sum = if add { V::load(line.as_ptr()) + result } else { result };
            sum.store(line.as_mut_ptr());
        }
        return;
    }
    for (y, &result) in line.iter_mut().zip(result) {
        *y = if add { *y + result } else { result };
    }
}
