//! What an experiment is made of.

use std::path::Path;

use parseval::pinn::{Architecture, Causal, Initial, Interval, Lifting, Marching, Parity, Polynomial, Problem, Term};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[Choice { section: "equation", key: "kind" }, Choice { section: "initial", key: "kind" }];

/// Values that may differ when a run is resumed: they do not change what is computed.
pub const MAY_CHANGE: &[&str] = &["reference", "checkpoint_every"];

/// A configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of the experiment, also of its folder.
    pub name: String,
    /// Steps from one checkpoint to the next; there is one at the end in any case.
    #[serde(default = "fifty")]
    pub checkpoint_every: u64,
    pub equation: Equation,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    pub initial: Initial,
    #[serde(default)]
    pub ansatz: Ansatz,
    #[serde(default)]
    pub network: Architecture,
    #[serde(default)]
    pub march: Marching,
    #[serde(default)]
    pub causal: Causal,
    pub reference: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inverse: Option<Inverse>,
}

fn fifty() -> u64 {
    50
}

/// `[equation]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Equation {
    /// `u_t = diffusion u_xx + reaction (u - u^3)`
    AllenCahn { diffusion: f64, reaction: f64 },
    /// `u_t = -u u_x + nu u_xx`
    Burgers { nu: f64 },
    /// `u_t = -u u_x - dispersion u_xxx`
    KortewegDeVries { dispersion: f64 },
    /// `u_t = -alpha u u_x - beta u_xx - gamma u_xxxx`
    KuramotoSivashinsky { alpha: f64, beta: f64, gamma: f64 },
    /// `u_t = -speed u_x + nu u_xx`
    Convection { speed: f64, nu: f64 },
    /// `x' = sigma (y - x)`, `y' = x (rho - z) - y`, `z' = x y - beta z`
    Lorenz { sigma: f64, rho: f64, beta: f64 },
    /// Any sum of products of derivatives.
    Polynomial { fields: usize, terms: Vec<Term> },
}

/// `[ansatz]`: what is built into the solution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ansatz {
    pub lifting: Lifting,
    pub parity: Parity,
    /// Point of the symmetry.
    pub about: f64,
}

/// `[reference]`: the classical solution, and where the network is compared with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Points of the solver; nothing for ordinary differential equations.
    #[serde(default)]
    pub points: usize,
    /// Step of the solver; the run that estimates its error has twice that, and half the points.
    pub dt: f64,
    /// Times of the comparison after the first.
    #[serde(default = "hundred")]
    pub times: usize,
    /// Points of the comparison.
    #[serde(default = "points")]
    pub compare: usize,
    /// Best published relative L2 error, printed beside ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<f64>,
    /// Where that is from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
}

fn hundred() -> usize {
    100
}

fn points() -> usize {
    256
}

/// `[inverse]`: coefficients that are found from samples of the reference.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inverse {
    /// Names of the unknown coefficients; values are those on the right-hand side, signs included.
    pub unknown: Vec<String>,
    /// First guess of each.
    pub guess: Vec<f64>,
    /// Number of samples.
    pub samples: usize,
    /// Standard deviation of the noise, relative to the root mean square of the samples.
    #[serde(default)]
    pub noise: f64,
    /// Weight of the mean square of the samples' misfit beside that of the residual.
    pub weight: f64,
    /// The same at the end, to which it goes as points are drawn again; without, it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_weight: Option<f64>,
}

impl Config {
    /// Reads a file and overrides values, `section.key=value` each.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        let mut table = Table::load(path)?;
        for assignment in overrides {
            table.set(assignment)?;
        }
        let mut config: Self = table.read(CHOICES)?;
        config.initial = config.initial.read(path.parent().unwrap_or(Path::new("")))?;
        config.check()?;
        Ok(config)
    }

    /// The configuration with all values that were left out.
    pub fn to_toml(&self) -> Result<String> {
        to_toml(self, CHOICES)
    }

    fn check(&self) -> Result<()> {
        self.march.validate()?;
        self.causal.validate()?;
        let problem = self.problem()?;
        let equation = problem.equation()?;
        problem.state()?;
        problem.plan([0.0, 1.0], 1)?;
        for (name, value) in [("times", self.reference.times), ("compare", self.reference.compare)] {
            if value == 0 {
                return Err(Error::parameter(format!("reference.{name}"), 0, "must be >= 1"));
            }
        }
        if let Some(inverse) = &self.inverse {
            inverse.unknown.iter().try_for_each(|name| equation.coefficient(name).map(|_| ()))?;
            if inverse.guess.len() != inverse.unknown.len() {
                return Err(Error::shape("inverse.guess", &[inverse.unknown.len()], &[inverse.guess.len()]));
            }
            if self.ansatz.lifting.knows_rates() {
                let rule = "must be state or semigroup if coefficients are unknown: the others fix u_t at the start";
                return Err(Error::parameter("ansatz.lifting", format!("{:?}", self.ansatz.lifting), rule));
            }
            if self.march.ends.len() > 1 {
                return Err(Error::parameter(
                    "march.ends",
                    format!("{:?}", self.march.ends),
                    "must be one window if coefficients are unknown",
                ));
            }
        }
        Ok(())
    }

    /// The problem with its true coefficients.
    pub fn problem(&self) -> Result<Problem> {
        let equation = match &self.equation {
            &Equation::AllenCahn { diffusion, reaction } => Polynomial::allen_cahn(diffusion, reaction),
            &Equation::Burgers { nu } => Polynomial::burgers(nu),
            &Equation::KortewegDeVries { dispersion } => Polynomial::korteweg_de_vries(dispersion),
            &Equation::KuramotoSivashinsky { alpha, beta, gamma } => {
                Polynomial::kuramoto_sivashinsky(alpha, beta, gamma)
            }
            &Equation::Convection { speed, nu } => Polynomial::convection(speed, nu),
            &Equation::Lorenz { sigma, rho, beta } => Polynomial::lorenz(sigma, rho, beta),
            Equation::Polynomial { fields, terms } => Polynomial::new(*fields, terms.clone())?,
        };
        use parseval::pinn::Equation as _;
        Ok(Problem {
            fields: equation.fields(),
            terms: equation.terms().to_vec(),
            interval: self.interval,
            initial: self.initial.clone(),
            lifting: self.ansatz.lifting,
            parity: self.ansatz.parity,
            about: self.ansatz.about,
            network: self.network,
        })
    }
}
