//! What every program needs and no equation knows: configurations, seeds, progress, signals, provenance, exit codes.

pub mod config;
mod environment;
mod exit;
mod progress;
pub mod seed;
mod signal;

pub use environment::{Environment, cores, utc};
pub use exit::{Printer, exit_code, main};
pub use progress::Progress;
pub use signal::Interrupt;
