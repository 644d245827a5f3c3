//! What every program needs and no equation knows: configurations, seeds, progress, signals, provenance, exit codes; and
//! for trainings the folder of a run with its metrics and checkpoints, the loop, tables and the report.

pub mod checkpoint;
pub mod command;
pub mod config;
mod curves;
mod directory;
mod environment;
mod exit;
mod files;
pub mod metrics;
mod progress;
pub mod report;
pub mod seed;
pub mod seeds;
mod signal;
pub mod table;
pub mod tensor_file;
pub mod tensorboard;
pub mod training;
mod wall;

pub use directory::RunDirectory;
pub use environment::{Environment, cores, utc};
pub use exit::{Printer, exit_code, main};
pub use progress::Progress;
pub use signal::Interrupt;
pub use wall::duration;
