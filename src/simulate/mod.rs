//! From a recipe to a file: the layer that joins equation, initial state, time stepper and writer.
//!
//! A [`Recipe`] is a TOML text; a [`Simulation`] is a recipe that was found sound; [`generate`] fills a Well+ file with
//! its samples. The measured accuracy of the solution goes into the file with it (see [`accuracy`]).

pub mod accuracy;
mod equation;
pub mod figures;
mod generate;
mod initial;
mod recipe;
mod simulation;

pub use equation::{Equation, Forcing2dSpec, Forcing3dSpec, WithPde};
pub use generate::{Options, Report, generate};
pub use initial::Initial;
pub use recipe::{AccuracySection, DatasetSection, GridSection, OutputSection, PerAxis, Recipe, Size, TimeSection};
pub use simulation::{Simulation, Trajectory};
