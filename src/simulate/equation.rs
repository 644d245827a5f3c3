//! Equations by name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Value;

use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::{
    AdvectionDiffusion, AllenCahn, Burgers, Forcing2d, Forcing3d, GinzburgLandau, GrayScott, KortewegDeVries,
    KuramotoSivashinsky, KuramotoSivashinskyIntegral, NavierStokes2d, NavierStokes3d, NonlinearSchroedinger, Pde,
};

/// `[equation]`: an `id` and the coefficients as the types in [`crate::pde`] name them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Equation {
    AdvectionDiffusion {
        /// One entry an axis.
        velocity: Vec<f64>,
        nu: f64,
    },
    AllenCahn {
        eps2: f64,
        r: f64,
        #[serde(default = "two")]
        s: f64,
    },
    Burgers {
        nu: f64,
    },
    GinzburgLandau {
        c1: f64,
        c3: f64,
    },
    GrayScott {
        diffusion_u: f64,
        diffusion_v: f64,
        feed: f64,
        kill: f64,
    },
    KortewegDeVries {
        a: f64,
        b: f64,
    },
    KuramotoSivashinsky {
        #[serde(default = "one")]
        nu: f64,
    },
    KuramotoSivashinskyIntegral {
        #[serde(default = "one")]
        nu: f64,
    },
    #[serde(rename = "navier_stokes_2d")]
    NavierStokes2d {
        nu: f64,
        #[serde(default)]
        drag: f64,
        #[serde(default)]
        mean_flow: [f64; 2],
        #[serde(default)]
        forcing: Forcing2dSpec,
    },
    #[serde(rename = "navier_stokes_3d")]
    NavierStokes3d {
        nu: f64,
        #[serde(default)]
        forcing: Forcing3dSpec,
    },
    NonlinearSchroedinger {
        dispersion: f64,
        cubic: f64,
    },
}

/// `equation.forcing` in two dimensions, see [`Forcing2d`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Forcing2dSpec {
    None {},
    Kolmogorov { amplitude: f64, mode: usize },
    Diagonal { amplitude: f64 },
}

impl Default for Forcing2dSpec {
    fn default() -> Self {
        Self::None {}
    }
}

/// `equation.forcing` in three dimensions, see [`Forcing3d`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)]
pub enum Forcing3dSpec {
    None {},
    Kolmogorov { amplitude: f64, mode: usize },
}

impl Default for Forcing3dSpec {
    fn default() -> Self {
        Self::None {}
    }
}

/// Something to be done with an equation, whatever its type.
pub trait WithPde {
    /// What comes of it.
    type Output;

    /// Does it.
    fn call<P: Pde>(self, pde: P) -> Self::Output;
}

impl Equation {
    /// Hands the equation on a box over.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the equation is not defined on the box or refuses a coefficient.
    pub fn with<W: WithPde>(&self, grid: &Grid, work: W) -> Result<W::Output> {
        fn checked<W: WithPde, P: Pde>(pde: P, grid: &Grid, work: W) -> Result<W::Output> {
            pde.validate(grid).map_err(|error| match error {
                Error::Parameter { name, value, rule } if name == "dim" => Error::parameter("grid.dim", value, rule),
                other => crate::run::config::within("equation")(other),
            })?;
            Ok(work.call(pde))
        }
        match *self {
            Self::AdvectionDiffusion { ref velocity, nu } => {
                if velocity.len() != grid.dim() {
                    return Err(Error::shape("equation.velocity", &[grid.dim()], &[velocity.len()]));
                }
                let mut all = [0.0; 3];
                all[..velocity.len()].copy_from_slice(velocity);
                checked(AdvectionDiffusion { velocity: all, nu }, grid, work)
            }
            Self::AllenCahn { eps2, r, s } => checked(AllenCahn { eps2, r, s }, grid, work),
            Self::Burgers { nu } => checked(Burgers { nu }, grid, work),
            Self::GinzburgLandau { c1, c3 } => checked(GinzburgLandau { c1, c3 }, grid, work),
            Self::GrayScott { diffusion_u, diffusion_v, feed, kill } => {
                checked(GrayScott { diffusion_u, diffusion_v, feed, kill }, grid, work)
            }
            Self::KortewegDeVries { a, b } => checked(KortewegDeVries { a, b }, grid, work),
            Self::KuramotoSivashinsky { nu } => checked(KuramotoSivashinsky { nu }, grid, work),
            Self::KuramotoSivashinskyIntegral { nu } => checked(KuramotoSivashinskyIntegral { nu }, grid, work),
            Self::NavierStokes2d { nu, drag, mean_flow, forcing } => {
                let length = grid.lengths()[grid.dim().min(2) - 1];
                let forcing = match forcing {
                    Forcing2dSpec::None {} => Forcing2d::None,
                    Forcing2dSpec::Kolmogorov { amplitude, mode } => Forcing2d::Kolmogorov { amplitude, mode, length },
                    Forcing2dSpec::Diagonal { amplitude } => Forcing2d::Diagonal { amplitude },
                };
                checked(NavierStokes2d { nu, drag, mean_flow, forcing }, grid, work)
            }
            Self::NavierStokes3d { nu, forcing } => {
                let length = grid.lengths()[grid.dim().min(2) - 1];
                let forcing = match forcing {
                    Forcing3dSpec::None {} => Forcing3d::None,
                    Forcing3dSpec::Kolmogorov { amplitude, mode } => Forcing3d::Kolmogorov { amplitude, mode, length },
                };
                checked(NavierStokes3d { nu, forcing }, grid, work)
            }
            Self::NonlinearSchroedinger { dispersion, cubic } => {
                checked(NonlinearSchroedinger { dispersion, cubic }, grid, work)
            }
        }
    }

    /// All coefficients that are numbers, by name; those of the forcing as `forcing_amplitude` and so on.
    pub fn parameters(&self) -> BTreeMap<String, f64> {
        fn collect(prefix: &str, value: &Value, into: &mut BTreeMap<String, f64>) {
            let number = value.as_float().or(value.as_integer().map(|i| i as f64));
            match value {
                Value::Table(table) => table.iter().for_each(|(key, value)| {
                    // The forcing's kind is a level of its own here.
                    let inner = if value.is_table() { prefix.to_owned() } else { format!("{prefix}{key}") };
                    let inner = if key == "forcing" { format!("{prefix}forcing_") } else { inner };
                    collect(&inner, value, into);
                }),
                Value::Array(list) => list.iter().zip(["_x", "_y", "_z"]).for_each(|(value, axis)| {
                    collect(&format!("{prefix}{axis}"), value, into);
                }),
                _ => into.extend(number.map(|number| (prefix.to_owned(), number))),
            }
        }
        let mut parameters = BTreeMap::new();
        if let Ok(value) = Value::try_from(self) {
            collect("", &value, &mut parameters);
        }
        parameters
    }
}

fn one() -> f64 {
    1.0
}

fn two() -> f64 {
    2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Id;
    impl WithPde for Id {
        type Output = &'static str;
        fn call<P: Pde>(self, pde: P) -> &'static str {
            pde.id()
        }
    }

    #[test]
    fn names_in_recipes_are_the_equations_own() {
        for (text, dim) in [
            ("[advection_diffusion]\nvelocity = [1]\nnu = 0", 1),
            ("[allen_cahn]\neps2 = 1e-4\nr = 5", 1),
            ("[burgers]\nnu = 1", 1),
            ("[ginzburg_landau]\nc1 = 1\nc3 = 1", 1),
            ("[gray_scott]\ndiffusion_u = 1\ndiffusion_v = 1\nfeed = 1\nkill = 1", 2),
            ("[korteweg_de_vries]\na = 6\nb = 1", 1),
            ("[kuramoto_sivashinsky]", 1),
            ("[kuramoto_sivashinsky_integral]", 1),
            ("[navier_stokes_2d]\nnu = 1", 2),
            ("[navier_stokes_3d]\nnu = 1", 3),
            ("[nonlinear_schroedinger]\ndispersion = 1\ncubic = 2", 1),
        ] {
            let equation: Equation = toml::from_str(text).unwrap();
            let id = equation.with(&Grid::cube(dim, 8, 1.0).unwrap(), Id).unwrap();
            assert!(text.starts_with(&format!("[{id}]")), "{text} {id}");
        }
    }

    #[test]
    fn parameters_are_flat() {
        let equation = Equation::NavierStokes2d {
            nu: 1e-3,
            drag: 0.1,
            mean_flow: [1.0, 2.0],
            forcing: Forcing2dSpec::Kolmogorov { amplitude: 1.0, mode: 4 },
        };
        let expected = [
            ("drag", 0.1),
            ("forcing_amplitude", 1.0),
            ("forcing_mode", 4.0),
            ("mean_flow_x", 1.0),
            ("mean_flow_y", 2.0),
            ("nu", 1e-3),
        ];
        assert_eq!(equation.parameters(), expected.map(|(name, value)| (name.to_owned(), value)).into());
    }
}
