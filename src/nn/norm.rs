//! Normalisation over groups of channels.
//!
//! A group is the values of some channels of one sample, at all points. With the mean `m` and the variance `v` of its `N`
//! values,
//!
//! ```text
//! y_cp = weight_c z_cp + bias_c,   z_cp = (x_cp - m) r,   r = (v + eps)^(-1/2)
//! ```
//!
//! (Wu & He 2018, eq. 1-3). One group is layer normalisation over channels and points, as many groups as channels are
//! instance normalisation. The derivative of `z` is symmetric,
//!
//! ```text
//! dz = r (dx - <dx> - z <z dx>),   <.> = mean over the group,
//! ```
//!
//! so the cotangent of `x` has the same form with `weight_c g_cp` in place of `dx`.

use crate::autodiff::{Cotangent, Operation, Parameter, Parameters, Record, Tape, Tensor, Var, Workers, dispatch};
use crate::error::{Error, Result};
use crate::field::Real;
use crate::nn::sums;
use crate::spectral::simd::{Isa, Lanes};
use crate::stepper::team::Shared;

/// Normalisation as an operation of `x: [batch, channel, points..]` and, optionally, `weight: [channel]` and
/// `bias: [channel]` (without them 1 and 0).
///
/// # Errors
///
/// Recording it fails if the groups do not divide the channels, or shapes do not fit.
#[derive(Clone, Copy, Debug)]
pub struct Normalise {
    /// Number of groups of consecutive channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f64,
}

/// Sizes of one call.
#[derive(Clone, Copy)]
struct Sizes {
    channels: usize,
    /// Channels of a group.
    members: usize,
    points: usize,
}

impl Sizes {
    /// Values of a group.
    fn len(self) -> usize {
        self.members * self.points
    }

    /// First channel of a group, counted over all samples.
    fn channel(self, group: usize) -> usize {
        group * self.members % self.channels
    }
}

impl Normalise {
    fn sizes(&self, x: &[usize]) -> Sizes {
        Sizes { channels: x[1], members: x[1] / self.groups, points: x[2..].iter().product() }
    }
}

impl<T: Real> Operation<T> for Normalise {
    fn name(&self) -> &'static str {
        "group normalisation"
    }

    fn shape(&self, inputs: &[&[usize]]) -> Result<Vec<usize>> {
        let x = inputs[0];
        if x.len() < 2 || x.contains(&0) {
            let rule = "must be [batch, channel, points..], not empty";
            return Err(Error::parameter("shape of the input of a normalisation", format!("{x:?}"), rule));
        }
        check_groups(self.groups, x[1])?;
        for (name, &affine) in ["weight of a normalisation", "bias of a normalisation"].iter().zip(&inputs[1..]) {
            if affine != &x[1..2] {
                return Err(Error::shape(*name, &x[1..2], affine));
            }
        }
        Ok(x.to_vec())
    }

    /// Mean and `r` of every group.
    fn saved(&self, inputs: &[&[usize]]) -> usize {
        2 * inputs[0][0] * self.groups
    }

    fn forward(&self, workers: &Workers<T>, inputs: &[Tensor<T>], output: &mut [T], saved: &mut [T]) {
        let (isa, sizes, x) = (workers.isa(), self.sizes(inputs[0].shape), inputs[0].values);
        let affine = |i: usize, c: usize, none: f64| inputs.get(i).map_or(T::of(none), |a| a.values[c]);
        let saved = Shared::new(saved);
        workers.pieces(output, sizes.len(), 0, |group, y, _| {
            let x = &x[group * sizes.len()..][..sizes.len()];
            let mean = T::of(sums::sum(isa, x) / sizes.len() as f64);
            let variance = sums::squares(isa, x, mean) / sizes.len() as f64;
            let r = T::of((variance + self.eps).sqrt().recip());
            // SAFETY: each group has its own pair.
            unsafe { saved.part(2 * group, 2).as_mut_slice() }.copy_from_slice(&[mean, r]);
            let channels = x.chunks_exact(sizes.points).zip(y.chunks_exact_mut(sizes.points));
            for (c, (x, y)) in (sizes.channel(group)..).zip(channels) {
                combine(isa, y, [(x, mean, affine(1, c, 1.0) * r)], affine(2, c, 0.0), false);
            }
        });
    }

    fn vjp(&self, workers: &Workers<T>, record: &Record<T>, cotangent: &[T], inputs: &mut [Option<Cotangent<T>>]) {
        let (isa, sizes, x) = (workers.isa(), self.sizes(record.inputs[0].shape), record.inputs[0].values);
        let weight = |c: usize| record.inputs.get(1).map_or(T::one(), |w| w.values[c]);
        // Of every channel of every sample: sum_p g and sum_p g (x - m) r.
        let mut sums = vec![T::zero(); 2 * x.len() / sizes.points];
        workers.pieces(&mut sums, 2 * sizes.members, 0, |group, sums, _| {
            let [mean, r] = moments(record.saved, group);
            for (channel, sums) in (group * sizes.members..).zip(sums.chunks_exact_mut(2)) {
                let at = channel * sizes.points..(channel + 1) * sizes.points;
                let [g, gx] = sums::products(isa, &cotangent[at.clone()], &x[at], mean);
                sums.copy_from_slice(&[T::of(g), T::of(gx) * r]);
            }
        });
        if let Some(input) = inputs[0].take() {
            let (target, beta) = input.target();
            workers.pieces(target, sizes.len(), 0, |group, target, _| {
                let [mean, r] = moments(record.saved, group);
                let first = sizes.channel(group);
                let average = |part: usize| {
                    let sums = sums[2 * group * sizes.members..].chunks_exact(2).take(sizes.members);
                    let sum: f64 = (first..).zip(sums).map(|(c, s)| weight(c).as_f64() * s[part].as_f64()).sum();
                    T::of(sum / sizes.len() as f64)
                };
                let (g_mean, gz_mean) = (average(0), average(1));
                for (member, target) in target.chunks_exact_mut(sizes.points).enumerate() {
                    let start = (group * sizes.members + member) * sizes.points;
                    let (g, x) = (&cotangent[start..][..sizes.points], &x[start..][..sizes.points]);
                    let terms = [(g, T::zero(), weight(first + member) * r), (x, mean, -r * r * gz_mean)];
                    combine(isa, target, terms, -r * g_mean, beta != T::zero());
                }
            });
        }
        for (input, part) in [(1, 1), (2, 0)] {
            let Some(input) = inputs.get_mut(input).and_then(Option::take) else { continue };
            for (c, g) in input.add().iter_mut().enumerate() {
                let samples = sums.chunks_exact(2 * sizes.channels);
                *g += T::of(samples.map(|sums| sums[2 * c + part].as_f64()).sum());
            }
        }
    }

    fn jvp(&self, workers: &Workers<T>, record: &Record<T>, tangents: &[Option<&[T]>], output: &mut [T]) -> bool {
        let (isa, sizes, x) = (workers.isa(), self.sizes(record.inputs[0].shape), record.inputs[0].values);
        let weight = |c: usize| record.inputs.get(1).map_or(T::one(), |w| w.values[c]);
        let affine = |i: usize, c: usize| tangents.get(i).copied().flatten().map_or(T::zero(), |a| a[c]);
        workers.pieces(output, sizes.len(), 0, |group, y, _| {
            let [mean, r] = moments(record.saved, group);
            let at = group * sizes.len()..(group + 1) * sizes.len();
            let x = &x[at.clone()];
            let dx = tangents[0].map(|dx| &dx[at]);
            let [dx_mean, zdx_mean] = dx.map_or([T::zero(); 2], |dx| {
                let [sum, product] = sums::products(isa, dx, x, mean);
                [T::of(sum / sizes.len() as f64), T::of(product / sizes.len() as f64) * r]
            });
            for (member, y) in y.chunks_exact_mut(sizes.points).enumerate() {
                let (c, at) = (sizes.channel(group) + member, member * sizes.points);
                let a = weight(c) * r;
                let x = &x[at..][..sizes.points];
                combine(isa, y, [(x, mean, affine(1, c) * r - a * r * zdx_mean)], affine(2, c), false);
                if let Some(dx) = dx {
                    combine(isa, y, [(&dx[at..][..sizes.points], dx_mean, a)], T::zero(), true);
                }
            }
        });
        true
    }
}

/// Mean and `r` of a group.
fn moments<T: Real>(saved: &[T], group: usize) -> [T; 2] {
    [saved[2 * group], saved[2 * group + 1]]
}

/// Writes (or, if `add`, adds) `sum_i a_i (x_i - m_i) + b` for the terms `(x_i, m_i, a_i)`.
fn combine<T: Real, const N: usize>(isa: Isa, y: &mut [T], terms: [(&[T], T, T); N], b: T, add: bool) {
    assert!(terms.iter().all(|(x, ..)| x.len() == y.len()), "terms of a sum");
    dispatch!(isa, V => V::<T>::vectorize(#[inline(always)] || {
        let len = y.len();
        let whole = len - len % V::<T>::WIDTH;
        for i in (0..whole).step_by(V::<T>::WIDTH) {
            // SAFETY: the vector ends inside all slices.
            unsafe { combine_at::<V<T>, N>(y.as_mut_ptr().add(i), terms.map(|(x, m, a)| (x.as_ptr().add(i), m, a)), b, add) };
        }
        for i in whole..len {
            // SAFETY: the element lies inside all slices.
            unsafe { combine_at::<T, N>(y.as_mut_ptr().add(i), terms.map(|(x, m, a)| (x.as_ptr().add(i), m, a)), b, add) };
        }
    }));
}

/// One vector of [`combine`].
///
/// # Safety
///
/// All pointers must be valid for a vector.
#[inline(always)]
unsafe fn combine_at<V: Lanes, const N: usize>(
    y: *mut V::Real,
    terms: [(*const V::Real, V::Real, V::Real); N],
    b: V::Real,
    add: bool,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = V::splat(b);
        for (x, m, a) in terms {
            sum = (V::load(x) - V::splat(m)).madd(V::splat(a), sum);
        }
        if add {
            sum = V::load(y) + sum;
        }
        sum.store(y);
    }
}

fn check_groups(groups: usize, channels: usize) -> Result<()> {
    match groups > 0 && channels.is_multiple_of(groups) {
        true => Ok(()),
        false => Err(Error::parameter("groups", groups, format!("must divide the {channels} channels"))),
    }
}

/// Group normalisation with its parameters `name.weight` and `name.bias`.
///
/// ```
/// use parseval::autodiff::{Parameters, Tape};
/// use parseval::nn::GroupNorm;
///
/// let mut parameters = Parameters::<f64>::new();
/// let layer = GroupNorm::new(&mut parameters, "norm", 1, 2, 0.0)?;
/// let mut tape = Tape::new(parameters, 1)?;
/// let x = tape.constant(&[1, 2, 2], &[4.0, 6.0, 4.0, 6.0])?;
/// let y = layer.record(&mut tape, x)?;
/// assert_eq!(tape.values(y), [-1.0, 1.0, -1.0, 1.0]);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct GroupNorm {
    operation: Normalise,
    weight: Parameter,
    bias: Parameter,
}

impl GroupNorm {
    /// Adds the parameters, ones and zeros; `eps` is usually 1e-5.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `groups` does not divide `channels`, or `eps` is negative.
    pub fn new<T: Real>(
        parameters: &mut Parameters<T>,
        name: &str,
        groups: usize,
        channels: usize,
        eps: f64,
    ) -> Result<Self> {
        check_groups(groups, channels)?;
        if eps.is_nan() || eps < 0.0 {
            return Err(Error::parameter("eps", eps, "must be >= 0"));
        }
        let weight = parameters.add(format!("{name}.weight"), &[channels], || 1.0);
        let bias = parameters.add(format!("{name}.bias"), &[channels], || 0.0);
        Ok(Self { operation: Normalise { groups, eps }, weight, bias })
    }

    /// Records the layer on `x: [batch, channel, points..]`; the result has the same shape.
    ///
    /// # Errors
    ///
    /// As [`Normalise`].
    pub fn record<T: Real>(&self, tape: &mut Tape<T>, x: Var) -> Result<Var> {
        let inputs = [x, tape.parameter(self.weight), tape.parameter(self.bias)];
        tape.apply(self.operation, &inputs)
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::autodiff::check;

    /// Shape and groups: layer, group and instance normalisation; lines that fill vectors and that do not; no points.
    const CASES: [(&[usize], usize); 5] =
        [(&[2, 6, 5, 7], 1), (&[3, 6, 16], 3), (&[1, 4, 3, 3, 3], 4), (&[2, 8], 2), (&[1, 2, 40, 33], 2)];

    fn noise(len: usize, seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn inputs(shape: &[usize]) -> [(Vec<usize>, Vec<f64>); 3] {
        let c = shape[1];
        let x = noise(shape.iter().product(), 1).iter().map(|x| 0.3 + x).collect();
        [(shape.to_vec(), x), (vec![c], noise(c, 2)), (vec![c], noise(c, 3))]
    }

    /// The formula, summed naively in double precision.
    fn definition(shape: &[usize], groups: usize, x: &[f64], weight: &[f64], bias: &[f64], eps: f64) -> Vec<f64> {
        let points: usize = shape[2..].iter().product();
        let len = shape[1] / groups * points;
        let mean = |x: &[f64]| x.iter().sum::<f64>() / len as f64;
        let mut y = Vec::new();
        for (group, x) in x.chunks(len).enumerate() {
            let m = mean(x);
            let v = mean(&x.iter().map(|x| (x - m).powi(2)).collect::<Vec<_>>());
            for (i, x) in x.iter().enumerate() {
                let c = (group * len + i) / points % shape[1];
                y.push(weight[c] * (x - m) / (v + eps).sqrt() + bias[c]);
            }
        }
        y
    }

    fn values<T: Real>(operation: Normalise, inputs: &[(Vec<usize>, Vec<f64>)], threads: usize) -> Vec<T> {
        let mut tape = Tape::<T>::new(Parameters::new(), threads).unwrap();
        let mut variable = |(shape, values): &(Vec<usize>, Vec<f64>)| {
            tape.variable(shape, &values.iter().map(|&v| T::of(v)).collect::<Vec<_>>()).unwrap()
        };
        let vars: Vec<Var> = inputs.iter().map(&mut variable).collect();
        let y = tape.apply(operation, &vars).unwrap();
        let mut all = tape.values(y).to_vec();
        let g: Vec<T> = all.iter().map(|y| y.sin()).collect();
        all.extend(tape.gradients(y, &g, &vars).unwrap().concat());
        all
    }

    #[test]
    fn values_are_those_of_the_definition_in_both_precisions() {
        for (shape, groups) in CASES {
            let operation = Normalise { groups, eps: 1e-5 };
            let inputs = inputs(shape);
            let [x, w, b] = &inputs;
            let exact = definition(shape, groups, &x.1, &w.1, &b.1, 1e-5);
            let double = values::<f64>(operation, &inputs, 1);
            let single = values::<f32>(operation, &inputs, 1);
            for (i, exact) in exact.iter().enumerate() {
                // Values of size one to two after half a dozen roundings; single precision also rounds the inputs.
                assert!((double[i] - exact).abs() < 8.0 * f64::EPSILON, "{shape:?}");
                assert!((f64::from(single[i]) - exact).abs() < 8.0 * f64::from(f32::EPSILON), "{shape:?}");
            }
        }
    }

    #[test]
    fn single_precision_keeps_a_small_variation_of_a_large_mean() {
        // The mean is a hundred times the deviation: the squares must be taken of differences.
        let shape = [1, 1, 1 << 16];
        let x: Vec<f64> = noise(1 << 16, 5).iter().map(|x| f64::from((100.0 + x) as f32)).collect();
        let exact = definition(&shape, 1, &x, &[1.0], &[0.0], 0.0);
        let y = values::<f32>(Normalise { groups: 1, eps: 0.0 }, &[(shape.to_vec(), x)], 1);
        // The mean is rounded to half a unit of 100, 4e-6, which the deviation of 0.58 makes 7e-6.
        let error = exact.iter().zip(&y).fold(0.0, |m: f64, (e, &y)| m.max((f64::from(y) - e).abs()));
        assert!(error < 1e-5, "{error:e}");
    }

    #[test]
    fn derivatives_are_adjoint_and_those_of_the_values() {
        for (shape, groups) in CASES {
            let inputs = inputs(shape);
            for inputs in [&inputs[..], &inputs[..1]] {
                let check = check(|| Normalise { groups, eps: 1e-2 }, inputs, 7).unwrap();
                // Round-off of sums of a few thousand terms; differences of sixth order of a map of size one.
                assert!(check.adjoint.unwrap() < 1e-14, "{shape:?}: {check:?}");
                assert!(check.difference < 1e-10, "{shape:?}: {check:?}");
            }
        }
    }

    #[test]
    fn results_are_the_same_bits_on_any_number_of_threads() {
        for (shape, groups) in CASES {
            let operation = Normalise { groups, eps: 1e-5 };
            assert_eq!(values::<f32>(operation, &inputs(shape), 1), values::<f32>(operation, &inputs(shape), 3));
        }
    }

    #[test]
    fn a_new_layer_gives_every_group_mean_zero_and_variance_one() {
        let mut parameters = Parameters::<f64>::new();
        let layer = GroupNorm::new(&mut parameters, "norm", 2, 6, 0.0).unwrap();
        assert_eq!(
            parameters.views().iter().map(|v| v.name.as_str()).collect::<Vec<_>>(),
            ["norm.weight", "norm.bias"]
        );
        let mut tape = Tape::new(parameters, 1).unwrap();
        let x = tape.constant(&[2, 6, 20], &noise(240, 3)).unwrap();
        let y = layer.record(&mut tape, x).unwrap();
        for group in tape.values(y).chunks(60) {
            // Sixty values of size one and their roundings.
            assert!((group.iter().sum::<f64>() / 60.0).abs() < 1e-15);
            assert!((group.iter().map(|y| y * y).sum::<f64>() / 60.0 - 1.0).abs() < 1e-14);
        }
    }

    #[test]
    fn misfits_are_refused() {
        let message = |inputs: &[&[usize]], groups| {
            let operation = Normalise { groups, eps: 1e-5 };
            Operation::<f64>::shape(&operation, inputs).unwrap_err().to_string()
        };
        assert_eq!(message(&[&[1, 6, 4]], 4), "groups = 4 is not allowed: must divide the 6 channels");
        assert_eq!(message(&[&[1, 6, 4], &[6], &[5]], 3), "bias of a normalisation: expected shape [6], got [5]");
        assert!(message(&[&[6]], 1).contains("[batch, channel, points..]"));
        let mut parameters = Parameters::<f32>::new();
        assert!(GroupNorm::new(&mut parameters, "norm", 0, 6, 1e-5).is_err());
        assert!(GroupNorm::new(&mut parameters, "norm", 2, 6, f64::NAN).is_err());
        assert!(parameters.is_empty());
    }
}
