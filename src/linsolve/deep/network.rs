//! The published networks, as a list of steps that the tape and the inference both follow.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::layers::{Average, Rectify, Repeat};
use crate::autodiff::{Parameter, Parameters, Tape, Var};
use crate::error::{Error, Result};
use crate::nn::{Branch, Convolve, Padding, Pointwise, add};
use crate::spectral::simd::Activation;

/// Channels of all hidden fields.
pub(super) const CHANNELS: usize = 16;

/// Which of the two published networks; they differ in depth alone.
///
/// ```text
/// h = conv(r);  a = relu conv(h);  b = relu conv(a)
/// repeat: a = relu conv(b) + a;  b = relu conv(a)
/// c = mean over 2^3 cells of b;       repeat: c = relu conv(relu conv(c)) + c
/// u = c on each of the 2^3 cells + b; repeat: u = relu conv(relu conv(u)) + u
/// q = w.u + bias
/// ```
///
/// with convolutions of 3^3 taps on 16 channels and zeros beyond the grid.
///
/// # Source
///
/// Kaneda et al., *A Deep Conjugate Direction Method*, ICML 2023 (PMLR 202), as in the released code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Depth {
    /// The network published for 64^3 cells: 97 457 parameters.
    #[default]
    #[serde(rename = "64")]
    Model64,
    /// The one for 128^3 cells: 152 881 parameters.
    #[serde(rename = "128")]
    Model128,
}

/// Fields that the steps work on: two of the grid and two of half as many cells an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    A,
    B,
    CoarseA,
    CoarseB,
}

/// One step; the convolutions take their weights in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// `A = conv(r)`.
    Lift,
    /// `to = relu conv(from)`, plus `to` if it adds.
    Convolve { from: Field, to: Field, adds: bool },
    /// `CoarseA = mean of A`.
    Average,
    /// `A = CoarseA on each of its cells + A`.
    Repeat,
    /// `q = w.A + bias`.
    Project,
}

impl Depth {
    /// How often the three blocks are repeated.
    fn repeats(self) -> [usize; 3] {
        match self {
            Self::Model64 => [1, 3, 2],
            Self::Model128 => [2, 5, 3],
        }
    }

    pub(super) fn steps(self) -> Vec<Step> {
        let plain = |from, to| Step::Convolve { from, to, adds: false };
        let onto = |from, to| Step::Convolve { from, to, adds: true };
        let [before, coarse, after] = self.repeats();
        let mut steps = vec![Step::Lift, plain(Field::A, Field::B), plain(Field::B, Field::A)];
        steps.extend([onto(Field::A, Field::B), plain(Field::B, Field::A)].repeat(before));
        steps.push(Step::Average);
        steps.extend([plain(Field::CoarseA, Field::CoarseB), onto(Field::CoarseB, Field::CoarseA)].repeat(coarse));
        steps.push(Step::Repeat);
        steps.extend([plain(Field::A, Field::B), onto(Field::B, Field::A)].repeat(after));
        steps.push(Step::Project);
        steps
    }

    /// Number of parameters.
    pub fn parameters(self) -> usize {
        let hidden = self.steps().iter().filter(|s| matches!(s, Step::Convolve { .. })).count();
        (27 * CHANNELS + CHANNELS) + hidden * (27 * CHANNELS * CHANNELS + CHANNELS) + CHANNELS + 1
    }

    /// Floating-point operations of an evaluation for each cell of the grid.
    pub fn flops(self) -> f64 {
        let hidden = |coarse: bool| {
            let is = |f: Field| matches!(f, Field::CoarseA | Field::CoarseB) == coarse;
            self.steps().iter().filter(|s| matches!(s, Step::Convolve { from, .. } if is(*from))).count() as f64
        };
        let one = (2 * 27 * CHANNELS * CHANNELS) as f64;
        (2 * 27 * CHANNELS + 2 * CHANNELS) as f64 + one * (hidden(false) + hidden(true) / 8.0)
    }
}

/// A network on the tape: the handles of its parameters `lift`, `hidden0`, `hidden1`, ..., `project`.
#[derive(Clone, Debug)]
pub struct Network {
    depth: Depth,
    layers: Vec<[Parameter; 2]>,
}

impl Network {
    /// Adds the parameters: weights uniform in `+- sqrt(6 / (fan_in + fan_out))`, zero biases (Glorot & Bengio 2010, as of
    /// the released code).
    pub fn new(depth: Depth, parameters: &mut Parameters<f32>, rng: &mut ChaCha8Rng) -> Self {
        let mut layers = Vec::new();
        let mut layer = |name: String, shape: &[usize]| {
            let taps: usize = shape[2..].iter().product();
            let bound = (6.0 / (taps * (shape[0] + shape[1])) as f64).sqrt();
            let weight = parameters.add(format!("{name}.weight"), shape, || rng.random_range(-bound..bound));
            layers.push([weight, parameters.add(format!("{name}.bias"), &shape[..1], || 0.0)]);
        };
        let mut hidden = 0;
        for step in depth.steps() {
            match step {
                Step::Lift => layer("lift".into(), &[CHANNELS, 1, 3, 3, 3]),
                Step::Convolve { .. } => {
                    layer(format!("hidden{hidden}"), &[CHANNELS, CHANNELS, 3, 3, 3]);
                    hidden += 1;
                }
                Step::Project => layer("project".into(), &[1, CHANNELS]),
                Step::Average | Step::Repeat => {}
            }
        }
        Self { depth, layers }
    }

    /// Which network this is.
    pub fn depth(&self) -> Depth {
        self.depth
    }

    /// Records the network on residuals `r: [batch, 1, x, y, z]` of unit norm; the result has the same shape.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless there are three axes of points, each with an even number of them.
    pub fn record(&self, tape: &mut Tape<f32>, r: Var) -> Result<Var> {
        let shape = tape.shape(r).to_vec();
        if shape.len() != 5 || shape[1] != 1 || shape[2..].iter().any(|n| n % 2 == 1) {
            let rule = "must be [batch, 1, x, y, z] with even numbers of cells";
            return Err(Error::parameter("shape of the residual", format!("{shape:?}"), rule));
        }
        let (mut fields, mut layers) = ([r; 4], self.layers.iter());
        let convolve = Convolve { padding: Padding::Zero };
        for step in self.depth.steps() {
            let mut layer = |tape: &mut Tape<f32>| {
                let [weight, bias] = *layers.next().expect("a layer for each step");
                [tape.parameter(weight), tape.parameter(bias)]
            };
            match step {
                Step::Lift => {
                    let [weight, bias] = layer(tape);
                    fields[0] = tape.apply(convolve, &[r, weight, bias])?;
                }
                Step::Convolve { from, to, adds } => {
                    let [weight, bias] = layer(tape);
                    let y = tape.apply(convolve, &[fields[from as usize], weight, bias])?;
                    let inputs = [y, fields[to as usize]];
                    fields[to as usize] = tape.apply(Rectify, if adds { &inputs } else { &inputs[..1] })?;
                }
                Step::Average => fields[Field::CoarseA as usize] = tape.apply(Average, &[fields[0]])?,
                Step::Repeat => {
                    let fine = tape.apply(Repeat, &[fields[Field::CoarseA as usize]])?;
                    fields[0] = add(tape, fine, fields[0])?;
                }
                Step::Project => {
                    let [weight, bias] = layer(tape);
                    let linear = Pointwise { hidden: None, branch: Branch::None, activation: Activation::Identity };
                    fields[0] = tape.apply(linear, &[fields[0], weight, bias])?;
                }
            }
        }
        Ok(fields[0])
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_networks_have_the_published_numbers_of_parameters() {
        for (depth, count, kiloflops) in [(Depth::Model64, 97_457, 122.0), (Depth::Model128, 152_881, 184.0)] {
            let mut parameters = Parameters::new();
            Network::new(depth, &mut parameters, &mut ChaCha8Rng::seed_from_u64(0));
            assert_eq!((parameters.len(), depth.parameters()), (count, count));
            // The published count of operations, rounded to thousands.
            assert!((depth.flops() / 1e3 - kiloflops).abs() < 0.6, "{}", depth.flops());
        }
    }
}
