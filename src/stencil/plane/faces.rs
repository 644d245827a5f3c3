//! Values of both components at the faces of their control volumes.
//!
//! With `i + 1/2`-type faces of a staggered grid, the four fluxes of a step are (carrier times carried)
//!
//! | flux | face | carrier | carried |
//! |---|---|---|---|
//! | 0: u along x | (3/2, 1/2) | u | u |
//! | 1: u along y | (1, 1) | v | u |
//! | 2: v along x | (1, 1) | u | v |
//! | 3: v along y | (1/2, 3/2) | v | v |
//!
//! Each of the two components is wanted at two faces, as carrier and as carried value: eight interpolations.

use super::halo::{Points, Sums};
use super::interpolation::{differences, differences_vjp};
use super::limiter::{constant, limited, limited_vjp, van_leer, van_leer_vjp};
use crate::spectral::simd::Lanes;

/// Component (0 is u) whose values are carried, axis along which, of each flux.
pub(super) const CARRIED: [[usize; 2]; 4] = [[0, 0], [0, 1], [1, 0], [1, 1]];
/// Component that carries, and the axis across which it is averaged.
const CARRIER: [[usize; 2]; 4] = [[0, 0], [1, 0], [0, 1], [1, 1]];

/// How the values at the faces are found.
pub(super) trait Faces<V: Lanes>: Sync {
    /// The four fluxes at `W` points, of which the first is number `at` of the field.
    fn fluxes(&self, fields: [Points<V>; 2], at: usize) -> [V; 4];

    /// Adds the cotangents of the fields.
    fn fluxes_vjp(&self, fields: [Points<V>; 2], at: usize, bar: [V; 4], sums: [Sums<V>; 2]);
}

/// Shift of the next point along an axis.
#[inline(always)]
fn next(axis: usize) -> [isize; 2] {
    if axis == 0 { [1, 0] } else { [0, 1] }
}

#[inline(always)]
fn mean<V: Lanes>(f: Points<V>, axis: usize) -> V {
    (f.get([0, 0]) + f.get(next(axis))) * constant(0.5)
}

#[inline(always)]
fn mean_vjp<V: Lanes>(bar: V, axis: usize, sums: Sums<V>) {
    let half = bar * constant(0.5);
    sums.add([0, 0], half);
    sums.add(next(axis), half);
}

/// Shift of neighbour `k` of `l, c, r, rr`.
#[inline(always)]
fn along(axis: usize, k: usize) -> [isize; 2] {
    let d = k as isize - 1;
    if axis == 0 { [d, 0] } else { [0, d] }
}

#[inline(always)]
fn line<V: Lanes>(f: Points<V>, axis: usize) -> [V; 4] {
    [f.get(along(axis, 0)), f.get(along(axis, 1)), f.get(along(axis, 2)), f.get(along(axis, 3))]
}

#[inline(always)]
fn line_vjp<V: Lanes>(bar: [V; 4], axis: usize, sums: Sums<V>) {
    for k in 0..4 {
        sums.add(along(axis, k), bar[k]);
    }
}

/// Linear carriers; carried values linear or limited.
pub(super) struct Classical<V: Lanes, const LIMITED: bool> {
    /// `dt / h` of each axis.
    pub ratio: [V::Real; 2],
}

impl<V: Lanes, const LIMITED: bool> Faces<V> for Classical<V, LIMITED> {
    #[inline(always)]
    fn fluxes(&self, fields: [Points<V>; 2], _at: usize) -> [V; 4] {
        let mut fluxes = [constant(0.0); 4];
        for flux in 0..4 {
            let ([carrier, across], [carried, axis]) = (CARRIER[flux], CARRIED[flux]);
            let a = mean(fields[carrier], across);
            fluxes[flux] = match LIMITED {
                true => a * van_leer(V::splat(self.ratio[axis]), a, line(fields[carried], axis)),
                false => a * mean(fields[carried], axis),
            };
        }
        fluxes
    }

    #[inline(always)]
    fn fluxes_vjp(&self, fields: [Points<V>; 2], _at: usize, bar: [V; 4], sums: [Sums<V>; 2]) {
        for flux in 0..4 {
            let ([carrier, across], [carried, axis]) = (CARRIER[flux], CARRIED[flux]);
            let ratio = V::splat(self.ratio[axis]);
            let a = mean(fields[carrier], across);
            let mut a_bar;
            if LIMITED {
                let points = line(fields[carried], axis);
                a_bar = bar[flux] * van_leer(ratio, a, points);
                let (through, points_bar) = van_leer_vjp(ratio, a, points, bar[flux] * a);
                a_bar = a_bar + through;
                line_vjp(points_bar, axis, sums[carried]);
            } else {
                a_bar = bar[flux] * mean(fields[carried], axis);
                mean_vjp(bar[flux] * a, axis, sums[carried]);
            }
            mean_vjp(a_bar, across, sums[carrier]);
        }
    }
}

/// Interpolation number of carrier and carried value of each flux; interpolation `4 f + 2 axis + tag` is that of
/// component `f` to its face along `axis`, tag 0 as carrier, 1 as carried value.
const LEARNED: [[usize; 2]; 4] = [[0, 1], [4, 3], [2, 5], [6, 7]];

/// All eight interpolations with learned weights; carried values limited or not.
pub(super) struct Learned<'a, V: Lanes, const S: usize> {
    /// Whether carried values are limited.
    pub limited: bool,
    /// Logits `[8 (S - 1), n, n]`.
    pub logits: &'a [V::Real],
    /// Where their cotangents are added, if anywhere.
    pub logits_bar: *mut V::Real,
    /// Points `n^2` of a plane.
    pub plane: usize,
    pub norms: [V::Real; S],
}

// SAFETY: the pointer is to memory that one thread writes, the one that has this value.
unsafe impl<V: Lanes, const S: usize> Sync for Learned<'_, V, S> {}

impl<V: Lanes, const S: usize> Learned<'_, V, S> {
    #[inline(always)]
    fn index(&self, interpolation: usize, q: usize, at: usize) -> usize {
        (interpolation * (S - 1) + q - 1) * self.plane + at
    }

    #[inline(always)]
    fn logit(&self, interpolation: usize, q: usize, at: usize) -> V {
        let index = self.index(interpolation, q, at);
        debug_assert!(index + V::WIDTH <= self.logits.len());
        // SAFETY: there are 8 (S - 1) planes, `at + W` is at most the length of one.
        unsafe { V::load(self.logits.as_ptr().add(index)) }
    }

    /// The eight values.
    #[inline(always)]
    fn values(&self, fields: [Points<V>; 2], at: usize) -> [V; 8] {
        let mut values = [V::splat(num_traits::Zero::zero()); 8];
        for f in 0..2 {
            let mut patch = differences::<V, S>(&self.norms, fields[f], 0);
            for axis in 0..2 {
                if axis == 1 && S != 16 {
                    patch = differences::<V, S>(&self.norms, fields[f], 1);
                }
                let base = mean(fields[f], axis);
                let (carrier, carried) = (4 * f + 2 * axis, 4 * f + 2 * axis + 1);
                let mut value = [base, base];
                for q in 1..S {
                    value[0] = self.logit(carrier, q, at).madd(patch[q], value[0]);
                    value[1] = self.logit(carried, q, at).madd(patch[q], value[1]);
                }
                (values[carrier], values[carried]) = (value[0], value[1]);
            }
        }
        values
    }

    /// Adds the cotangents of fields and logits from those of the eight values.
    #[inline(always)]
    fn values_vjp(&self, fields: [Points<V>; 2], at: usize, bar: [V; 8], sums: [Sums<V>; 2]) {
        for f in 0..2 {
            let mut patch = differences::<V, S>(&self.norms, fields[f], 0);
            let mut patch_bar = [V::splat(num_traits::Zero::zero()); S];
            for axis in 0..2 {
                if axis == 1 && S != 16 {
                    differences_vjp(&self.norms, &patch_bar, sums[f], 0);
                    patch = differences::<V, S>(&self.norms, fields[f], 1);
                    patch_bar = [V::splat(num_traits::Zero::zero()); S];
                }
                for tag in 0..2 {
                    let interpolation = 4 * f + 2 * axis + tag;
                    let b = bar[interpolation];
                    for q in 1..S {
                        patch_bar[q] = self.logit(interpolation, q, at).madd(b, patch_bar[q]);
                    }
                    if !self.logits_bar.is_null() {
                        for q in 1..S {
                            // SAFETY: as in `logit`; the cotangents have the shape of the logits.
                            unsafe {
                                let p = self.logits_bar.add(self.index(interpolation, q, at));
                                patch[q].madd(b, V::load(p)).store(p);
                            }
                        }
                    }
                }
                mean_vjp(bar[4 * f + 2 * axis] + bar[4 * f + 2 * axis + 1], axis, sums[f]);
            }
            differences_vjp(&self.norms, &patch_bar, sums[f], if S == 16 { 0 } else { 1 });
        }
    }
}

impl<V: Lanes, const S: usize> Faces<V> for Learned<'_, V, S> {
    #[inline(always)]
    fn fluxes(&self, fields: [Points<V>; 2], at: usize) -> [V; 4] {
        let values = self.values(fields, at);
        let mut fluxes = [values[0]; 4];
        for flux in 0..4 {
            let (a, high) = (values[LEARNED[flux][0]], values[LEARNED[flux][1]]);
            let [carried, axis] = CARRIED[flux];
            fluxes[flux] = match self.limited {
                true => a * limited(a, line(fields[carried], axis), high),
                false => a * high,
            };
        }
        fluxes
    }

    #[inline(always)]
    fn fluxes_vjp(&self, fields: [Points<V>; 2], at: usize, bar: [V; 4], sums: [Sums<V>; 2]) {
        let values = self.values(fields, at);
        let mut values_bar = values;
        for flux in 0..4 {
            let [carrier, carried] = LEARNED[flux];
            let (a, high) = (values[carrier], values[carried]);
            if self.limited {
                let [component, axis] = CARRIED[flux];
                let points = line(fields[component], axis);
                values_bar[carrier] = bar[flux] * limited(a, points, high);
                let (high_bar, points_bar) = limited_vjp(a, points, high, bar[flux] * a);
                values_bar[carried] = high_bar;
                line_vjp(points_bar, axis, sums[component]);
            } else {
                values_bar[carrier] = bar[flux] * high;
                values_bar[carried] = bar[flux] * a;
            }
        }
        self.values_vjp(fields, at, values_bar, sums);
    }
}
