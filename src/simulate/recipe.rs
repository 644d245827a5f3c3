//! Recipes: what to simulate, as text.

use std::f64::consts::PI;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::equation::Equation;
use super::initial::Initial;
use crate::data::well::Precision;
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::run::config::{self, Choice, Config};
use crate::stepper::Scheme;

/// Sections whose first entry chooses the others.
const CHOICES: &[Choice] = &[
    Choice { section: "equation", key: "id" },
    Choice { section: "equation.forcing", key: "kind" },
    Choice { section: "initial", key: "kind" },
];

/// Everything that determines a data set, except the machine.
///
/// # Example
///
/// ```
/// use parseval::simulate::Recipe;
/// let recipe = Recipe::parse(
///     r#"
///     [dataset]
///     name = "ks"
///     samples = 4
///     [equation]
///     id = "kuramoto_sivashinsky"
///     [grid]
///     n = 64
///     length = 22
///     [initial]
///     kind = "random_fourier"
///     cut = 4
///     [time]
///     dt = 0.1
///     t_end = 100
///     save_every = 1
///     "#,
///     &["time.dt=0.05".into()],
/// )?;
/// assert_eq!(recipe.time.dt, 0.05);
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// What the data set is called and how large it is.
    pub dataset: DatasetSection,
    /// The equation and its coefficients.
    pub equation: Equation,
    /// The box.
    pub grid: GridSection,
    /// The state at time zero.
    pub initial: Initial,
    /// Time stepping.
    pub time: TimeSection,
    /// What is stored.
    #[serde(default)]
    pub output: OutputSection,
    /// How the accuracy is measured.
    #[serde(default)]
    pub accuracy: AccuracySection,
}

/// `[dataset]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSection {
    /// Short name, also of the file.
    pub name: String,
    /// One line; the name if left out.
    #[serde(default)]
    pub title: String,
    /// A paragraph.
    #[serde(default)]
    pub summary: String,
    /// Licence of the data.
    #[serde(default = "default_license")]
    pub license: String,
    /// Number of samples.
    pub samples: usize,
    /// Seed of the whole set; each sample has a seed derived from it.
    #[serde(default)]
    pub seed: u64,
}

/// `[grid]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridSection {
    /// Points, one number for all axes or a list.
    pub n: PerAxis<usize>,
    /// Periods, one for all axes or a list; a number or a text such as `"32 pi"`.
    pub length: PerAxis<Size>,
    /// Number of axes; needed only if neither `n` nor `length` is a list and it is not 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
}

/// `[time]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeSection {
    /// Scheme.
    #[serde(default = "default_scheme", with = "scheme_name")]
    pub scheme: Scheme,
    /// Step.
    pub dt: f64,
    /// Time that passes before the first stored frame.
    #[serde(default)]
    pub t_warmup: f64,
    /// Time of the last stored frame, counted from the first.
    pub t_end: f64,
    /// Time between stored frames, a multiple of `dt`.
    pub save_every: f64,
}

/// `[output]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSection {
    /// Precision of the stored fields, `"f32"` or `"f64"`; all work is done in `f64`.
    #[serde(default = "default_precision", with = "precision_name")]
    pub precision: Precision,
    /// Every `stride`-th point of each axis is stored; values are the solution's own, no average, unless it is truncated.
    #[serde(default = "one")]
    pub stride: usize,
    /// Whether the modes that the stored points cannot carry are cut first, so that they are not aliased.
    #[serde(default)]
    pub truncate: bool,
    /// Whether a plane flow is stored by its velocity, two components, and not by its vorticity.
    #[serde(default)]
    pub velocity: bool,
}

impl Default for OutputSection {
    fn default() -> Self {
        Self { precision: default_precision(), stride: 1, truncate: false, velocity: false }
    }
}

/// `[accuracy]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccuracySection {
    /// Samples, from the first on, of which the accuracy is measured. Costs about `2 + 2^(d + 1)` runs each.
    #[serde(default = "one")]
    pub samples: usize,
}

impl Default for AccuracySection {
    fn default() -> Self {
        Self { samples: 1 }
    }
}

impl Recipe {
    /// Reads a recipe file and overrides values, `section.key=value` each.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be read; [`Error::Format`] naming file, key, what was expected and what was found.
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self> {
        Self::from_config(Config::load(path)?, overrides)
    }

    /// As [`Recipe::load`] for a text.
    ///
    /// # Errors
    ///
    /// As [`Recipe::load`].
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self> {
        Self::from_config(Config::parse(text, Path::new("recipe"))?, overrides)
    }

    fn from_config(mut config: Config, overrides: &[String]) -> Result<Self> {
        overrides.iter().try_for_each(|assignment| config.set(assignment))?;
        config.read(CHOICES)
    }

    /// The recipe with all values that were left out, as text; reads back to the same.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a seed beyond `i64`, which TOML cannot hold.
    pub fn to_toml(&self) -> Result<String> {
        config::to_toml(self, CHOICES)
    }
}

impl GridSection {
    /// The box.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the lists differ in length or there is no such box.
    pub fn build(&self) -> Result<Grid> {
        let dim = match (self.dim, self.n.len(), self.length.len()) {
            (None, n, length) => n.or(length).unwrap_or(1),
            (Some(dim), ..) => dim,
        };
        if !(1..=3).contains(&dim) {
            return Err(Error::parameter("grid.dim", dim, "must be 1, 2 or 3"));
        }
        for (name, len) in [("grid.n", self.n.len()), ("grid.length", self.length.len())] {
            if let Some(len) = len.filter(|&len| len != dim) {
                return Err(Error::parameter(
                    name,
                    format!("{len} entries"),
                    format!("must have one entry a dimension, {dim}"),
                ));
            }
        }
        let lengths: Vec<f64> = self.length.spread(dim).iter().map(|l| l.0).collect();
        Grid::new(&self.n.spread(dim), &lengths).map_err(config::within("grid"))
    }
}

/// One value for all axes, or a list with one for each.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum PerAxis<T> {
    /// The same on all axes.
    All(T),
    /// One for each axis.
    Each(Vec<T>),
}

impl<T: Clone> PerAxis<T> {
    /// Number of axes, if it says.
    fn len(&self) -> Option<usize> {
        match self {
            Self::All(_) => None,
            Self::Each(list) => Some(list.len()),
        }
    }

    /// A value for each of `dim` axes.
    fn spread(&self, dim: usize) -> Vec<T> {
        match self {
            Self::All(value) => vec![value.clone(); dim],
            Self::Each(list) => list.clone(),
        }
    }
}

// By hand, since an untagged enum forgets what was wrong with the value.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for PerAxis<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = PerAxis<T>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("one value for all axes or a list")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = seq.next_element()? {
                    list.push(value);
                }
                Ok(PerAxis::Each(list))
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> std::result::Result<Self::Value, E> {
                T::deserialize(de::value::I64Deserializer::new(v)).map(PerAxis::All)
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> std::result::Result<Self::Value, E> {
                T::deserialize(de::value::F64Deserializer::new(v)).map(PerAxis::All)
            }
            fn visit_str<E: de::Error>(self, v: &str) -> std::result::Result<Self::Value, E> {
                T::deserialize(de::value::StrDeserializer::new(v)).map(PerAxis::All)
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

/// A length: a number, or a text such as `"pi"`, `"2 pi"` or `"32 pi"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size(pub f64);

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Size;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a number or a text such as \"2 pi\"")
            }
            fn visit_i64<E: de::Error>(self, v: i64) -> std::result::Result<Size, E> {
                Ok(Size(v as f64))
            }
            fn visit_f64<E: de::Error>(self, v: f64) -> std::result::Result<Size, E> {
                Ok(Size(v))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> std::result::Result<Size, E> {
                let factor = v.trim().strip_suffix("pi").map(|factor| factor.trim().trim_end_matches('*').trim());
                let factor = factor.and_then(|f| if f.is_empty() { Some(1.0) } else { f.parse::<f64>().ok() });
                factor.map(|f| Size(f * PI)).ok_or_else(|| E::invalid_value(de::Unexpected::Str(v), &self))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

mod scheme_name {
    use super::*;

    pub fn serialize<S: Serializer>(scheme: &Scheme, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(scheme.name())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Scheme, D::Error> {
        const NAMES: &[&str] = &["etdrk2", "etdrk3", "etdrk4", "ifrk4", "cnab2", "cnrk4"];
        let name = String::deserialize(deserializer)?;
        Scheme::from_name(&name).ok_or_else(|| de::Error::unknown_variant(&name, NAMES))
    }
}

mod precision_name {
    use super::*;

    pub fn serialize<S: Serializer>(precision: &Precision, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(if *precision == Precision::F32 { "f32" } else { "f64" })
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Precision, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "f32" => Ok(Precision::F32),
            "f64" => Ok(Precision::F64),
            other => Err(de::Error::unknown_variant(other, &["f32", "f64"])),
        }
    }
}

fn default_license() -> String {
    "CC-BY-4.0".to_owned()
}

fn default_scheme() -> Scheme {
    Scheme::Etdrk4
}

fn default_precision() -> Precision {
    Precision::F32
}

fn one() -> usize {
    1
}
