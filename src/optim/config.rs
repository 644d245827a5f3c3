//! Optimisers by name.

use serde::{Deserialize, Serialize};

use super::{Adam, AdamOptions, Block, Optimizer, Soap, SoapOptions};
use crate::error::Result;
use crate::field::Real;

/// Which [`Optimizer`], with its constants, as a section of a configuration.
///
/// # Example
///
/// ```
/// use parseval::optim::{Block, Optimizer, OptimizerConfig};
///
/// let config: OptimizerConfig = toml::from_str("adamw = { weight_decay = 1e-4 }")?;
/// let mut optimizer = config.build::<f32>(&[Block { offset: 0, shape: vec![1] }])?;
/// let mut theta = [1.0];
/// optimizer.step(&mut theta, &[2.0], 1e-3);
/// assert!((theta[0] - 0.999f32).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// [`Adam`] without decay.
    Adam {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        eps: f64,
    },
    /// [`Adam`] with decoupled decay.
    AdamW {
        /// Decay of the first moment.
        #[serde(default = "beta1")]
        beta1: f64,
        /// Decay of the second moment.
        #[serde(default = "beta2")]
        beta2: f64,
        /// Added to the root of the second moment.
        #[serde(default = "eps")]
        eps: f64,
        /// Parameters shrink by `1 - lr weight_decay` a step; 0.01 if left out, as in PyTorch.
        #[serde(default = "one_hundredth")]
        weight_decay: f64,
    },
    /// [`Soap`].
    Soap(SoapOptions),
}

fn beta1() -> f64 {
    AdamOptions::default().beta1
}

fn beta2() -> f64 {
    AdamOptions::default().beta2
}

fn eps() -> f64 {
    AdamOptions::default().eps
}

fn one_hundredth() -> f64 {
    0.01
}

impl Default for OptimizerConfig {
    /// Adam with its default constants.
    fn default() -> Self {
        Self::Adam { beta1: beta1(), beta2: beta2(), eps: eps() }
    }
}

impl OptimizerConfig {
    /// The optimiser for parameters in `blocks`, which follow one another from offset 0.
    ///
    /// # Errors
    ///
    /// Those of [`Adam::new`] and [`Soap::new`].
    pub fn build<T: Real>(&self, blocks: &[Block]) -> Result<Box<dyn Optimizer<T>>> {
        let n = blocks.iter().map(|block| block.shape.iter().product::<usize>()).sum();
        Ok(match *self {
            Self::Adam { beta1, beta2, eps } => {
                Box::new(Adam::new(n, AdamOptions { beta1, beta2, eps, weight_decay: 0.0 })?)
            }
            Self::AdamW { beta1, beta2, eps, weight_decay } => {
                Box::new(Adam::new(n, AdamOptions { beta1, beta2, eps, weight_decay })?)
            }
            Self::Soap(options) => Box::new(Soap::new(blocks, options)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_survive_the_way_through_toml() {
        for text in ["adam = {}", "adamw = { beta2 = 0.98 }", "soap = { frequency = 2, max_dim = 64 }"] {
            let config: OptimizerConfig = toml::from_str(text).unwrap();
            assert_eq!(toml::from_str::<OptimizerConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
        }
        assert_eq!(toml::from_str::<OptimizerConfig>("adam = {}").unwrap(), OptimizerConfig::default());
    }

    #[test]
    fn unknown_keys_and_bad_values_are_refused() {
        for text in ["adam = { weight_decay = 0.1 }", "soap = { frequencies = 3 }", "sgd = {}"] {
            assert!(toml::from_str::<OptimizerConfig>(text).is_err(), "{text}");
        }
        let config: OptimizerConfig = toml::from_str("adam = { beta1 = 2.0 }").unwrap();
        assert!(config.build::<f64>(&[]).is_err());
    }
}
