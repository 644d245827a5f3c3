//! The network: an embedding, dense layers with a smooth activation, and a linear layer at the end.

use serde::{Deserialize, Serialize};

use super::Activation;
use super::blueprint::{Architecture, Blueprint, Init};
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

impl Mlp {
    /// Random parameters. For tanh weights are normal with variance `2 / (inputs + outputs)` (Glorot & Bengio 2010); for
    /// the sine uniform within `1 / inputs` in the first layer and `sqrt(6 / inputs) / a` in the others (Sitzmann et al.).
    /// Biases are zero.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a size of zero, a coordinate without extent, or a scale that is not positive.
    pub fn parameters<T: Real>(&self, seed: u64) -> Result<Parameters<T>> {
        Ok(self.blueprint()?.parameters(seed))
    }

    pub(super) fn validate(&self) -> Result<()> {
        let sizes = [("width", self.width), ("depth", self.depth), ("outputs", self.outputs)];
        if let Some((name, size)) = sizes.into_iter().find(|&(_, size)| size == 0) {
            return Err(Error::parameter(name, size, "must be >= 1"));
        }
        if let Some(scale) = self.scale.filter(|&scale| !(scale > 0.0 && scale.is_finite())) {
            return Err(Error::parameter("scale", scale, "must be positive and finite"));
        }
        Ok(())
    }
}

impl Architecture for Mlp {
    fn blueprint(&self) -> Result<Blueprint> {
        self.validate()?;
        let mut blueprint = Blueprint::new(&self.coordinates)?;
        for l in 0..=self.depth {
            let hidden = l < self.depth;
            let outputs = if hidden { self.width } else { self.outputs };
            let from = blueprint.last();
            let inputs = blueprint.slots[from] as f64;
            let weight = match self.activation {
                Activation::Tanh => Init::Normal((2.0 / (inputs + outputs as f64)).sqrt()),
                Activation::Sin if l == 0 => Init::Uniform(1.0 / inputs),
                Activation::Sin => Init::Uniform((6.0 / inputs).sqrt() / self.scale.unwrap_or(1.0)),
            };
            let (activation, scale) = (hidden.then_some(self.activation), self.scale.filter(|_| hidden));
            blueprint.dense(&format!("layers.{l}"), from, outputs, activation, [weight, Init::Constant(0.0)], scale);
        }
        Ok(blueprint)
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
            for (l, place) in mlp.blueprint().unwrap().places().enumerate() {
                assert_eq!(offset(&format!("layers.{l}.weight")), Some(place.weight));
                assert_eq!(offset(&format!("layers.{l}.bias")), Some(place.bias));
                assert_eq!(offset(&format!("layers.{l}.scale")), place.scale);
            }
            let places: Vec<_> = mlp.blueprint().unwrap().places().cloned().collect();
            let last = &places[3];
            assert_eq!(parameters.len(), last.bias + last.outputs);
            assert_eq!(parameters.theta()[places[1].scale.unwrap_or(last.bias)], scale.unwrap_or(0.0));
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
