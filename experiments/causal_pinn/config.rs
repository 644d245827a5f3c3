//! What an experiment is made of.

use std::path::Path;

use parseval::pinn::plane::{self, Flow};
use parseval::pinn::{Architecture, Causal, Initial, Interval, Lifting, Marching, Parity, Polynomial, Problem, Term};
use parseval::run::config::{Choice, Config as Table, to_toml};
use parseval::{Error, Result};
use serde::{Deserialize, Serialize};

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[
    Choice { section: "equation", key: "kind" },
    Choice { section: "initial", key: "kind" },
    Choice { section: "vorticity", key: "kind" },
];

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
    /// Initial state; not for flows in the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Initial>,
    /// Initial vorticity of a flow in the plane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vorticity: Option<plane::Initial>,
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
    /// `omega_t + u . grad omega = nu lap omega` on a square torus.
    NavierStokes { nu: f64 },
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
    /// Points of the solver, in each direction; nothing for ordinary differential equations.
    #[serde(default)]
    pub points: usize,
    /// Step of the solver; the run that estimates its error has twice that, and half the points.
    pub dt: f64,
    /// Times of the comparison after the first.
    #[serde(default = "hundred")]
    pub times: usize,
    /// Points of the comparison, in each direction.
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
        let folder = path.parent().unwrap_or(Path::new(""));
        config.initial = config.initial.map(|initial| initial.read(folder)).transpose()?;
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
        for (name, value) in [("times", self.reference.times), ("compare", self.reference.compare)] {
            if value == 0 {
                return Err(Error::parameter(format!("reference.{name}"), 0, "must be >= 1"));
            }
        }
        if let Some(flow) = self.flow()? {
            flow.validate()?;
            flow.state(self.march.state_points)?;
            flow.plan([0.0, 1.0], 1)?;
            return Ok(());
        }
        let problem = self.problem()?;
        self.march.features.check(&problem)?;
        let equation = problem.equation()?;
        problem.state()?;
        problem.plan([0.0, 1.0], 1)?;
        if let Some(inverse) = &self.inverse {
            inverse.unknown.iter().try_for_each(|name| equation.coefficient(name).map(|_| ()))?;
            if inverse.guess.len() != inverse.unknown.len() {
                return Err(Error::shape("inverse.guess", &[inverse.unknown.len()], &[inverse.guess.len()]));
            }
            if self.ansatz.lifting.knows_rates() {
                let rule = "must be state or semigroup if coefficients are unknown: the others fix u_t at the start";
                return Err(Error::parameter("ansatz.lifting", format!("{:?}", self.ansatz.lifting), rule));
            }
            if self.march.windows().len() > 1 {
                return Err(Error::parameter(
                    "march.ends",
                    format!("{:?}", self.march.ends),
                    "must be one window if coefficients are unknown",
                ));
            }
        }
        Ok(())
    }

    /// The flow, if that is the equation.
    pub fn flow(&self) -> Result<Option<Flow>> {
        let refuse = |name: &str, rule: &str| Err(Error::parameter(name, "given", rule));
        let &Equation::NavierStokes { nu } = &self.equation else {
            return match self.vorticity {
                Some(_) => refuse("vorticity", "is for navier_stokes alone"),
                None => Ok(None),
            };
        };
        let rule = "must be given for navier_stokes";
        let initial = self.vorticity.clone().ok_or_else(|| Error::parameter("vorticity", "none", rule))?;
        let Interval { from, length } = self.interval.ok_or_else(|| Error::parameter("interval", "none", rule))?;
        if from != 0.0 {
            return Err(Error::parameter("interval.from", from, "must be 0 for navier_stokes"));
        }
        let only = "must be absent for navier_stokes";
        match self {
            Self { initial: Some(_), .. } => return refuse("initial", only),
            Self { inverse: Some(_), .. } => return refuse("inverse", only),
            Self { ansatz: Ansatz { parity: Parity::Even | Parity::Odd, .. }, .. } => {
                return refuse("ansatz.parity", only);
            }
            _ => {}
        }
        Ok(Some(Flow { length, nu, initial, lifting: self.ansatz.lifting, network: self.network }))
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
            Equation::NavierStokes { .. } => {
                return Err(Error::parameter(
                    "equation.kind",
                    "navier_stokes",
                    "is for `train`, `evaluate` and `export`",
                ));
            }
            Equation::Polynomial { fields, terms } => Polynomial::new(*fields, terms.clone())?,
        };
        use parseval::pinn::Equation as _;
        Ok(Problem {
            fields: equation.fields(),
            terms: equation.terms().to_vec(),
            interval: self.interval,
            initial: self.initial.clone().ok_or_else(|| Error::parameter("initial", "none", "must be given"))?,
            lifting: self.ansatz.lifting,
            parity: self.ansatz.parity,
            about: self.ansatz.about,
            network: self.network,
        })
    }
}
