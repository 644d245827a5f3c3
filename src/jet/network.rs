//! The network: an embedding, dense layers with a smooth activation, and a linear layer at the end.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

use super::Activation;
use super::embedding::Coordinate;
use crate::autodiff::Parameters;
use crate::error::{Error, Result};
use crate::field::Real;

/// `u = W_D h_D + b_D`, `h_{l+1} = f(a_l (W_l h_l + b_l))`, with the features of the coordinates as `h_0`.
///
/// Parameters are named `layers.l.weight` `[outputs, inputs]`, `layers.l.bias` `[outputs]`, and `layers.l.scale` `[1]` for
/// `a_l` of hidden layers, if trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mlp {
    /// Axes of the domain, in the order of a point's coordinates.
    pub coordinates: Vec<Coordinate>,
    /// Units of each hidden layer.
    pub width: usize,
    /// Number of hidden layers.
    pub depth: usize,
    /// Number of fields in `u`.
    pub outputs: usize,
    /// `f`.
    pub activation: Activation,
    /// Initial `a_l`, trained for each layer; `None` is a fixed 1.
    ///
    /// Jagtap, Kawaguchi & Karniadakis, *J. Comput. Phys.* 404, 109136 (2020); with the sine, 30 gives the first layer of
    /// Sitzmann et al., *NeurIPS* 2020.
    #[serde(default)]
    pub scale: Option<f64>,
}

/// Where the tensors of a layer lie in `theta`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: usize,
    pub bias: usize,
    pub scale: Option<usize>,
}

impl Mlp {
    /// Random parameters. For tanh weights are normal with variance `2 / (inputs + outputs)` (Glorot & Bengio 2010); for
    /// the sine uniform within `1 / inputs` in the first layer and `sqrt(6 / inputs) / a` in the others (Sitzmann et al.).
    /// Biases are zero.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a size of zero, a coordinate without extent, or a scale that is not positive.
    pub fn parameters<T: Real>(&self, seed: u64) -> Result<Parameters<T>> {
        self.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Parameters::new();
        for (l, place) in self.places().iter().enumerate() {
            let (inputs, outputs) = (place.inputs as f64, place.outputs as f64);
            let bound = if l == 0 { 1.0 / inputs } else { (6.0 / inputs).sqrt() / self.scale.unwrap_or(1.0) };
            let deviation = (2.0 / (inputs + outputs)).sqrt();
            parameters.add(format!("layers.{l}.weight"), &[place.outputs, place.inputs], || match self.activation {
                Activation::Tanh => deviation * rng.sample::<f64, _>(StandardNormal),
                Activation::Sin => rng.random_range(-bound..bound),
            });
            parameters.add(format!("layers.{l}.bias"), &[place.outputs], || 0.0);
            if let (Some(_), Some(scale)) = (place.scale, self.scale) {
                parameters.add(format!("layers.{l}.scale"), &[1], || scale);
            }
        }
        Ok(parameters)
    }

    pub(super) fn validate(&self) -> Result<()> {
        let sizes = [("width", self.width), ("depth", self.depth), ("outputs", self.outputs)];
        if let Some((name, size)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(Error::parameter(name, size, "must be >= 1"));
        }
        if self.coordinates.is_empty() {
            return Err(Error::parameter("coordinates", "[]", "must have at least one"));
        }
        if let Some(scale) = self.scale.filter(|&scale| !(scale > 0.0 && scale.is_finite())) {
            return Err(Error::parameter("scale", scale, "must be positive and finite"));
        }
        self.coordinates.iter().try_for_each(Coordinate::validate)
    }

    /// The layout of `theta`.
    pub(super) fn places(&self) -> Vec<Place> {
        let mut inputs = self.coordinates.iter().map(Coordinate::features).sum();
        let mut end = 0;
        let mut places = Vec::with_capacity(self.depth + 1);
        for l in 0..=self.depth {
            let hidden = l < self.depth;
            let outputs = if hidden { self.width } else { self.outputs };
            let (weight, bias) = (end, end + outputs * inputs);
            end = bias + outputs;
            let scale = (hidden && self.scale.is_some()).then_some(end);
            end += usize::from(scale.is_some());
            places.push(Place { inputs, outputs, weight, bias, scale });
            inputs = outputs;
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mlp(activation: Activation, scale: Option<f64>) -> Mlp {
        let coordinates =
            vec![Coordinate::Periodic { length: 2.0, modes: 3 }, Coordinate::Linear { from: 0.0, to: 1.0 }];
        Mlp { coordinates, width: 40, depth: 3, outputs: 2, activation, scale }
    }

    #[test]
    fn named_views_are_the_layout_that_kernels_use() {
        for scale in [None, Some(2.0)] {
            let mlp = mlp(Activation::Tanh, scale);
            let parameters = mlp.parameters::<f64>(0).unwrap();
            let offset = |name: &str| parameters.views().iter().find(|v| v.name == name).map(|v| v.offset);
            for (l, place) in mlp.places().into_iter().enumerate() {
                assert_eq!(offset(&format!("layers.{l}.weight")), Some(place.weight));
                assert_eq!(offset(&format!("layers.{l}.bias")), Some(place.bias));
                assert_eq!(offset(&format!("layers.{l}.scale")), place.scale);
            }
            let last = &mlp.places()[3];
            assert_eq!(parameters.len(), last.bias + last.outputs);
            assert_eq!(parameters.theta()[mlp.places()[1].scale.unwrap_or(last.bias)], scale.unwrap_or(0.0));
        }
    }

    #[test]
    fn weights_have_the_variance_of_their_rule() {
        for (activation, scale, exact) in
            [(Activation::Tanh, None, 2.0 / 80.0), (Activation::Sin, Some(30.0), 6.0 / 40.0 / 900.0 / 3.0)]
        {
            let parameters = mlp(activation, scale).parameters::<f64>(1).unwrap();
            let (_, _, weights) = parameters.tensors().find(|t| t.0 == "layers.1.weight").unwrap();
            let variance = weights.iter().map(|w| w * w).sum::<f64>() / weights.len() as f64;
            // 1600 samples: the variance is within sqrt(2 / 1600) = 4 % (standard deviation), five of which are 18 %.
            assert!((variance / exact - 1.0).abs() < 0.18, "{activation:?} {variance} {exact}");
        }
    }
}
