//! Networks whose layers are gated by features of the coordinates.

use serde::{Deserialize, Serialize};

use super::blueprint::{Architecture, Blueprint, Init};
use super::{Activation, Coordinate, Mlp};
use crate::error::{Error, Result};

/// Random Fourier features `sin(B y + b)` of the features `y` of the coordinates; `b` is 0 in the first half and `pi / 2` in
/// the second, `B` is normal. Both are trained.
///
/// Tancik et al., *NeurIPS* 2020.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fourier {
    /// Number of features, even.
    pub features: usize,
    /// Standard deviation of the entries of `B`.
    pub deviation: f64,
}

impl Fourier {
    fn add(self, blueprint: &mut Blueprint) -> Result<()> {
        let Self { features, deviation } = self;
        if features == 0 || !features.is_multiple_of(2) {
            return Err(Error::parameter("features", features, "must be even and positive"));
        }
        if !(deviation > 0.0 && deviation.is_finite()) {
            return Err(Error::parameter("deviation", deviation, "must be positive and finite"));
        }
        let init = [Init::Normal(deviation), Init::Phases];
        blueprint.dense("fourier", 0, features, Some(Activation::Sin), init, None);
        Ok(())
    }
}

fn glorot(inputs: usize, outputs: usize) -> [Init; 2] {
    [Init::Normal((2.0 / (inputs + outputs) as f64).sqrt()), Init::Constant(0.0)]
}

/// The two gates `U, V = f(W y + b)`.
fn gates(blueprint: &mut Blueprint, width: usize, activation: Activation) -> [usize; 2] {
    let y = blueprint.last();
    let init = glorot(blueprint.slots[y], width);
    ["gates.u", "gates.v"].map(|name| blueprint.dense(name, y, width, Some(activation), init, None))
}

/// An [`Mlp`] whose hidden layers are gated by two encodings of its features `y`:
///
/// ```text
/// U = f(W_u y + b_u),   V = f(W_v y + b_v),   z_l = f(a_l (W_l h_l + b_l)),   h_{l+1} = z_l U + (1 - z_l) V.
/// ```
///
/// Wang, Teng & Perdikaris, *SIAM J. Sci. Comput.* 43 (2021), with the Fourier features of Wang et al., arXiv:2308.08468
/// (2023), if asked for. Weights are normal with variance `2 / (inputs + outputs)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModifiedMlp {
    /// Coordinates, sizes and activation.
    pub mlp: Mlp,
    /// Features between those of the coordinates and the network.
    #[serde(default)]
    pub fourier: Option<Fourier>,
}

impl Architecture for ModifiedMlp {
    fn blueprint(&self) -> Result<Blueprint> {
        let Mlp { coordinates, width, depth, outputs, activation, scale } = &self.mlp;
        self.mlp.validate()?;
        let mut blueprint = Blueprint::new(coordinates)?;
        if let Some(fourier) = self.fourier {
            fourier.add(&mut blueprint)?;
        }
        let mut h = blueprint.last();
        let gates = gates(&mut blueprint, *width, *activation);
        for l in 0..*depth {
            let init = glorot(blueprint.slots[h], *width);
            let z = blueprint.dense(&format!("layers.{l}"), h, *width, Some(*activation), init, *scale);
            h = blueprint.gate(z, gates);
        }
        let init = glorot(blueprint.slots[h], *outputs);
        blueprint.dense(&format!("layers.{depth}"), h, *outputs, None, init, None);
        Ok(blueprint)
    }
}

/// Residual blocks of three layers each that start as the identity:
///
/// ```text
/// f = f(W_1 x + b_1),        z_1 = f U + (1 - f) V,
/// g = f(W_2 z_1 + b_2),      z_2 = g U + (1 - g) V,
/// h = f(W_3 z_2 + b_3),      x  <- a h + (1 - a) x,   a = 0 at the start,
/// ```
///
/// with the gates `U`, `V` of a [`ModifiedMlp`] and `x` the [`Fourier`] features, as many as a layer has units.
///
/// Wang, Li, Chen & Perdikaris, *J. Mach. Learn. Res.* 25 (2024).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PirateNet {
    /// Axes of the domain.
    pub coordinates: Vec<Coordinate>,
    /// Features, which are also the units of each layer.
    pub fourier: Fourier,
    /// Number of blocks.
    pub blocks: usize,
    /// Number of fields.
    pub outputs: usize,
    /// `f`.
    pub activation: Activation,
}

impl Architecture for PirateNet {
    fn blueprint(&self) -> Result<Blueprint> {
        let Self { coordinates, fourier, blocks, outputs, activation } = self;
        for (name, size) in [("blocks", *blocks), ("outputs", *outputs)] {
            if size == 0 {
                return Err(Error::parameter(name, size, "must be >= 1"));
            }
        }
        let mut blueprint = Blueprint::new(coordinates)?;
        fourier.add(&mut blueprint)?;
        let (mut x, width) = (blueprint.last(), fourier.features);
        let gates = gates(&mut blueprint, width, *activation);
        for b in 0..*blocks {
            let mut h = x;
            for l in 0..3 {
                let init = glorot(width, width);
                h = blueprint.dense(&format!("blocks.{b}.{l}"), h, width, Some(*activation), init, None);
                if l < 2 {
                    h = blueprint.gate(h, gates);
                }
            }
            x = blueprint.mix(&format!("blocks.{b}"), h, x);
        }
        blueprint.dense("output", x, *outputs, None, glorot(width, *outputs), None);
        Ok(blueprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_sizes_are_refused_by_name() {
        let coordinates = vec![Coordinate::Linear { from: 0.0, to: 1.0 }];
        let fourier = Fourier { features: 8, deviation: 1.0 };
        let good = PirateNet { coordinates, fourier, blocks: 1, outputs: 1, activation: Activation::Tanh };
        // Features 8 x 1 + 8, gates twice 8 x 8 + 8, three layers of the same size and a weight, output 8 + 1.
        assert_eq!(good.blueprint().unwrap().len(), 16 + 5 * 72 + 1 + 9);
        let message = |net: PirateNet| net.blueprint().unwrap_err().to_string();
        assert_eq!(message(PirateNet { blocks: 0, ..good.clone() }), "blocks = 0 is not allowed: must be >= 1");
        let odd = Fourier { features: 7, ..fourier };
        let rule = "features = 7 is not allowed: must be even and positive";
        assert_eq!(message(PirateNet { fourier: odd, ..good.clone() }), rule);
        let flat = Fourier { deviation: 0.0, ..fourier };
        let rule = "deviation = 0 is not allowed: must be positive and finite";
        assert_eq!(message(PirateNet { fourier: flat, ..good }), rule);
    }
}
