//! The passes of a convolution over its tiles.

use super::geometry::Geometry;
use super::pack;
use super::product::product;
use crate::autodiff::{Workers, dispatch};
use crate::field::Real;
use crate::spectral::simd::{Isa, Lanes};
use crate::stepper::team::Shared;

/// The weight as the forward pass reads it, `[c_in, kernel.., c_out]`.
pub(super) fn forward_weight<T: Real>(geometry: &Geometry, weight: &[T]) -> Vec<T> {
    let (c_out, terms) = (geometry.c_out, geometry.c_in * geometry.taps());
    let mut packed = vec![T::zero(); weight.len()];
    for (o, weight) in weight.chunks_exact(terms).enumerate() {
        for (k, &w) in weight.iter().enumerate() {
            packed[k * c_out + o] = w;
        }
    }
    packed
}

/// The weight of the transposed map, `[c_out, kernel.., c_in]` with the taps in reverse: the input's cotangent is
/// `sum_{o,t} w[o, c, t] g[o, p - t + h]`.
pub(super) fn backward_weight<T: Real>(geometry: &Geometry, weight: &[T]) -> Vec<T> {
    let (c_in, taps) = (geometry.c_in, geometry.taps());
    let mut packed = vec![T::zero(); weight.len()];
    for (channels, weight) in weight.chunks_exact(taps).enumerate() {
        let (o, c) = (channels / c_in, channels % c_in);
        for (t, &w) in weight.iter().rev().enumerate() {
            packed[(o * taps + t) * c_in + c] = w;
        }
    }
    packed
}

/// Writes (or, if `add`, adds) `sum_{c,t} w[o, c, t] x[c, p + t - h] + bias[o]` to `output`.
///
/// A direct convolution: the tile with its halo is copied together once, and every tap reads it at another offset.
#[expect(clippy::too_many_arguments, reason = "three arrays, a plan and where to run it")]
pub(super) fn convolve<T: Real>(
    workers: &Workers<T>,
    isa: Isa,
    geometry: &Geometry,
    x: &[T],
    weight: &[T],
    bias: Option<&[T]>,
    output: &mut [T],
    add: bool,
) {
    let width = dispatch!(isa, V => V::<T>::WIDTH);
    let positions = geometry.point_positions(width);
    let offsets = geometry.tap_offsets();
    let tile_len = geometry.c_in * geometry.channel_stride() + width;
    let row_len = positions.len() * width;
    let shared = Shared::new(output);
    workers.tiles(geometry.count(), tile_len + geometry.c_out * row_len, |index, scratch| {
        let tile = geometry.at(index);
        let (padded, results) = scratch.split_at_mut(tile_len);
        pack::gather(isa, geometry, &tile, x, padded);
        for (o, row) in results.chunks_exact_mut(row_len).enumerate() {
            row.fill(bias.map_or(T::zero(), |b| b[o]));
        }
        product(isa, results, weight, geometry.c_out, padded, &positions, &offsets);
        // SAFETY: tiles are disjoint.
        unsafe { pack::scatter(isa, geometry, &tile, results, shared, add) };
    });
}

/// Writes (or, if `add`, adds) `sum_{b,p} cotangent[b, o, p] x[b, c, p + t - h]` to `gradient[o, c, t]`.
pub(super) fn weight_gradient<T: Real>(
    workers: &Workers<T>,
    isa: Isa,
    geometry: &Geometry,
    x: &[T],
    cotangent: &[T],
    gradient: &mut [T],
    add: bool,
) {
    let width = dispatch!(isa, V => V::<T>::WIDTH);
    let positions = geometry.tap_positions(width);
    let offsets = geometry.point_offsets();
    // The cotangent is cut into the same tiles, without a halo and with zeros beyond the grid.
    let flat = Geometry { kernel: [1; 3], padding: super::Padding::Zero, ..geometry.transposed() };
    let padded_len = geometry.padded().iter().product::<usize>() * geometry.c_in;
    let scratch_len = padded_len + width + flat.tile_volume() * flat.c_in;
    let row_len = positions.len() * width;
    let mut sum = vec![T::zero(); geometry.c_out * row_len];
    workers.reduce(geometry.count(), &mut sum, scratch_len, |tiles, partial, scratch| {
        let (padded, cotangents) = scratch.split_at_mut(padded_len + width);
        for index in tiles {
            let tile = geometry.at(index);
            pack::gather_transposed(isa, geometry, &tile, x, padded);
            pack::gather_transposed(isa, &flat, &tile, cotangent, cotangents);
            product(isa, partial, cotangents, geometry.c_out, padded, &positions, &offsets);
        }
    });
    // From `[c_out, (kx, ky), (kz, c_in)]`.
    let (c_in, kz) = (geometry.c_in, geometry.kernel[2]);
    let line_len = geometry.vectors_of_a_tap_line(width) * width;
    for (index, gradient) in gradient.chunks_exact_mut(geometry.taps()).enumerate() {
        let (o, c) = (index / c_in, index % c_in);
        for (t, g) in gradient.iter_mut().enumerate() {
            let value = sum[o * row_len + t / kz * line_len + t % kz * c_in + c];
            *g = if add { *g + value } else { value };
        }
    }
}

/// Writes (or, if `add`, adds) `sum_{b,p} cotangent[b, o, p]` to `gradient[o]`.
pub(super) fn bias_gradient<T: Real>(
    workers: &Workers<T>,
    isa: Isa,
    geometry: &Geometry,
    cotangent: &[T],
    gradient: &mut [T],
    add: bool,
) {
    let volume = geometry.volume();
    workers.pieces(gradient, 1, 0, |o, gradient, _| {
        let planes = cotangent.chunks_exact(volume).skip(o).step_by(geometry.c_out);
        let value = T::of(planes.map(|plane| crate::nn::sums::sum(isa, plane)).sum());
        gradient[0] = if add { gradient[0] + value } else { value };
    });
}
