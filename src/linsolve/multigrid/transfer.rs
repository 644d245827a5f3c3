//! Trilinear interpolation between cell centres, and its transpose.
//!
//! Along a halved axis a fine cell takes 3/4 of the coarse cell it lies in and 1/4 of that cell's neighbour on its side; along
//! the others it takes its own cell.

use super::super::cells::{LEAD, Layout};

/// The coarse indices (from the halo: cell `c` is `c + 1`) and the weights that fine index `f` takes along an axis.
#[inline(always)]
pub(crate) fn parents(is_halved: bool, f: usize) -> [(usize, f32); 2] {
    match (is_halved, f % 2) {
        (false, _) => [(f + 1, 1.0), (f + 1, 0.0)],
        (true, 0) => [(f / 2 + 1, 0.75), (f / 2, 0.25)],
        (true, _) => [(f / 2 + 1, 0.75), (f / 2 + 2, 0.25)],
    }
}

/// Interpolates along axes 0 and 1 to fine row `(i, j)`: `row` is the coarse row with its two halo cells.
#[inline(always)]
pub(crate) fn interpolate_rows(halved: [bool; 3], coarse: &Layout, z: &[f32], [i, j]: [usize; 2], row: &mut [f32]) {
    let m = coarse.n[2] + 2;
    let from = |p: usize, q: usize| &z[p * coarse.plane + q * coarse.row + LEAD - 1..][..m];
    let ([(p, a), (r, b)], [(q, c), (s, d)]) = (parents(halved[0], i), parents(halved[1], j));
    let (row, x, y, u, v) = (&mut row[..m], from(p, q), from(p, s), from(r, q), from(r, s));
    for k in 0..m {
        row[k] = a * (c * x[k] + d * y[k]) + b * (c * u[k] + d * v[k]);
    }
}

/// Interpolates along the last axis, from a coarse row with its halo cells.
#[inline(always)]
pub(crate) fn interpolate_row(is_halved: bool, coarse: &[f32], fine: &mut [f32]) {
    let n = fine.len();
    if !is_halved {
        fine.copy_from_slice(&coarse[1..=n]);
        return;
    }
    let row = &coarse[..n / 2 + 2];
    let (pairs, last) = fine.as_chunks_mut::<2>();
    for c in 0..n / 2 {
        pairs[c] = [0.75 * row[c + 1] + 0.25 * row[c], 0.75 * row[c + 1] + 0.25 * row[c + 2]];
    }
    if let [last] = last {
        *last = 0.75 * row[n / 2 + 1] + 0.25 * row[n / 2];
    }
}

/// Restricts a fine plane along axes 1 and 2 to a coarse one (padded layouts both); the weights of a coarse value sum to one.
/// `row` is as long as a fine row, halo cells included.
#[inline(always)]
pub(crate) fn restrict_plane(
    halved: [bool; 3],
    [fine, coarse]: [&Layout; 2],
    r: &[f32],
    row: &mut [f32],
    q: &mut [f32],
) {
    let n = fine.n[2] + 2;
    let row = &mut row[..n + 2];
    for j in 0..coarse.n[1] {
        // Rows are counted from the halo, as the layout stores them: row `f` is `f + 1`.
        let from = |f: usize| &r[f * fine.row + LEAD - 1..][..n];
        if halved[1] {
            let last = (2 * j + 3).min(fine.n[1] + 1);
            let (a, b, c, d) = (from(2 * j), from(2 * j + 1), from((2 * j + 2).min(last)), from(last));
            for k in 0..n {
                row[k] = 0.125 * (a[k] + d[k]) + 0.375 * (b[k] + c[k]);
            }
        } else {
            row[..n].copy_from_slice(from(j + 1));
        }
        let q = &mut q[coarse.in_plane(j)..][..coarse.n[2]];
        if halved[2] {
            let m = q.len();
            let row = &row[..2 * m + 2];
            for k in 0..m {
                q[k] = 0.125 * (row[2 * k] + row[2 * k + 3]) + 0.375 * (row[2 * k + 1] + row[2 * k + 2]);
            }
        } else {
            q.copy_from_slice(&row[1..=q.len()]);
        }
    }
}
