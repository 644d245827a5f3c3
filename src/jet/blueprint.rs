//! What a network is made of, for the kernels: a short list of operations on slots that hold the jets of all units of a
//! layer.

use std::fmt::Debug;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::Activation;
use super::embedding::Coordinate;
use crate::autodiff::Parameters;
use crate::error::{Error, Result};
use crate::field::Real;

/// A coordinate network that [`Jets`](super::Jets) can differentiate.
pub trait Architecture: Debug + Send + Sync {
    /// The network as a list of operations.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a size of zero, a coordinate without extent, or a constant out of range.
    fn blueprint(&self) -> Result<Blueprint>;
}

/// A network as a list of operations, with the layout and the initial values of its parameters.
#[derive(Clone, Debug)]
pub struct Blueprint {
    pub(super) coordinates: Vec<Coordinate>,
    /// Number of units of each slot; the first holds the features of the coordinates, the last the output.
    pub(super) slots: Vec<usize>,
    pub(super) nodes: Vec<Node>,
    tensors: Vec<Tensor>,
    parameters: usize,
}

/// An operation; it reads slots and fills a new one.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// `f(a (W h + b))`, or `W h + b`.
    Dense { place: Place, from: usize, to: usize, activation: Option<Activation> },
    /// `z U + (1 - z) V`.
    Gate { z: usize, u: usize, v: usize, to: usize },
    /// `a f + (1 - a) x`; `alpha` is the place of `a`.
    Mix { f: usize, x: usize, alpha: usize, to: usize },
}

impl Node {
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        let slots = match *self {
            Self::Dense { from, .. } => [Some(from), None, None],
            Self::Gate { z, u, v, .. } => [Some(z), Some(u), Some(v)],
            Self::Mix { f, x, .. } => [Some(f), Some(x), None],
        };
        slots.into_iter().flatten()
    }

    pub fn output(&self) -> usize {
        match *self {
            Self::Dense { to, .. } | Self::Gate { to, .. } | Self::Mix { to, .. } => to,
        }
    }
}

/// Where the tensors of a dense layer lie in `theta`.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: usize,
    pub bias: usize,
    pub scale: Option<usize>,
}

/// Initial values.
#[derive(Clone, Copy, Debug)]
pub(super) enum Init {
    Constant(f64),
    /// With this deviation.
    Normal(f64),
    /// Within this bound.
    Uniform(f64),
    /// Zero in the first half and `pi / 2` in the second, which makes cosines of sines.
    Phases,
}

#[derive(Clone, Debug)]
struct Tensor {
    name: String,
    shape: Vec<usize>,
    init: Init,
}

impl Blueprint {
    /// A network that has only its features so far.
    pub(super) fn new(coordinates: &[Coordinate]) -> Result<Self> {
        if coordinates.is_empty() {
            return Err(Error::parameter("coordinates", "[]", "must have at least one"));
        }
        coordinates.iter().try_for_each(Coordinate::validate)?;
        if let Some(time) = coordinates.iter().filter_map(Coordinate::time).find(|&time| time >= coordinates.len()) {
            return Err(Error::parameter(
                "time",
                time,
                format!("must be one of the {} coordinates", coordinates.len()),
            ));
        }
        Ok(Self {
            coordinates: coordinates.to_vec(),
            slots: vec![coordinates.iter().map(Coordinate::features).sum()],
            nodes: Vec::new(),
            tensors: Vec::new(),
            parameters: 0,
        })
    }

    /// The newest slot.
    pub(super) fn last(&self) -> usize {
        self.slots.len() - 1
    }

    fn tensor(&mut self, name: String, shape: &[usize], init: Init) -> usize {
        let offset = self.parameters;
        self.parameters += shape.iter().product::<usize>();
        self.tensors.push(Tensor { name, shape: shape.to_vec(), init });
        offset
    }

    fn slot(&mut self, units: usize) -> usize {
        self.slots.push(units);
        self.last()
    }

    /// Adds a dense layer behind a slot; `scale` is the initial `a`, if it is trained.
    pub(super) fn dense(
        &mut self,
        name: &str,
        from: usize,
        outputs: usize,
        activation: Option<Activation>,
        [weight, bias]: [Init; 2],
        scale: Option<f64>,
    ) -> usize {
        let inputs = self.slots[from];
        let weight = self.tensor(format!("{name}.weight"), &[outputs, inputs], weight);
        let bias = self.tensor(format!("{name}.bias"), &[outputs], bias);
        let scale = scale.map(|scale| self.tensor(format!("{name}.scale"), &[1], Init::Constant(scale)));
        let to = self.slot(outputs);
        let place = Place { inputs, outputs, weight, bias, scale };
        self.nodes.push(Node::Dense { place, from, to, activation });
        to
    }

    /// Adds `z U + (1 - z) V`.
    pub(super) fn gate(&mut self, z: usize, [u, v]: [usize; 2]) -> usize {
        let to = self.slot(self.slots[z]);
        self.nodes.push(Node::Gate { z, u, v, to });
        to
    }

    /// Adds `a f + (1 - a) x` with a trained `a` that starts at zero.
    pub(super) fn mix(&mut self, name: &str, f: usize, x: usize) -> usize {
        let alpha = self.tensor(format!("{name}.alpha"), &[1], Init::Constant(0.0));
        let to = self.slot(self.slots[x]);
        self.nodes.push(Node::Mix { f, x, alpha, to });
        to
    }

    /// Random parameters.
    pub fn parameters<T: Real>(&self, seed: u64) -> Parameters<T> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters = Parameters::new();
        for Tensor { name, shape, init } in &self.tensors {
            let (mut index, count) = (0, shape.iter().product::<usize>());
            parameters.add(name.clone(), shape, || {
                index += 1;
                match *init {
                    Init::Constant(value) => value,
                    Init::Normal(deviation) => deviation * rng.sample::<f64, _>(StandardNormal),
                    Init::Uniform(bound) => rng.random_range(-bound..bound),
                    Init::Phases if 2 * index > count => std::f64::consts::FRAC_PI_2,
                    Init::Phases => 0.0,
                }
            });
        }
        parameters
    }

    /// Number of parameters.
    pub fn len(&self) -> usize {
        self.parameters
    }

    /// Whether there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.parameters == 0
    }

    /// Number of coordinates of a point.
    pub fn coordinates(&self) -> usize {
        self.coordinates.len()
    }

    /// Number of fields in the network's output.
    pub fn outputs(&self) -> usize {
        self.slots[self.last()]
    }

    /// Dense layers, in the order of `theta`.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Dense { place, .. } => Some(place),
            _ => None,
        })
    }
}
