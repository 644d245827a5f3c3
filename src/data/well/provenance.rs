//! Reading back what a Well+ file says about its origin and accuracy.

use std::collections::BTreeMap;

use super::{ERROR_CURVES, Provenance, SAMPLE_SEED, WALL_SECONDS};
use crate::data::Dataset;
use crate::data::hdf5::{self, Attr};

/// Measured errors of a sample, one number a frame, as [`Writer::set_error_curves`](super::Writer::set_error_curves) got
/// them.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorCurves {
    /// Sample that was measured.
    pub sample: usize,
    /// Of the time stepping.
    pub time: Vec<f64>,
    /// Of the grid.
    pub space: Vec<f64>,
}

impl Dataset {
    /// Where the data come from; `None` if the file does not say, as those of others do not.
    pub fn provenance(&self) -> Option<Provenance> {
        if !self.source.contains(SAMPLE_SEED) {
            return None;
        }
        let attributes = self.source.attributes("/provenance").ok()?;
        let text = |name: &str| attributes.get(name).and_then(Attr::as_text).unwrap_or_default().to_owned();
        let number = |name: &str| attributes.get(name).and_then(Attr::as_f64);
        Some(Provenance {
            generator: text("generator"),
            git_commit: text("git_commit"),
            git_dirty: attributes.get("git_dirty").and_then(Attr::as_bool).unwrap_or(false),
            rustc: text("rustc"),
            target_cpu: text("target_cpu"),
            config_toml: text("config_toml"),
            command_line: text("command_line"),
            seed: unsigned(&attributes, "seed"),
            rng: text("rng"),
            started_utc: text("started_utc"),
            hostname_hash: text("hostname_hash"),
            threads: number("threads").unwrap_or(0.0) as usize,
            solver: text("solver"),
            solver_dt: number("solver_dt").unwrap_or(f64::NAN),
            dealiasing: text("dealiasing"),
            precision: text("precision"),
            reference_error_time_method: text("reference_error_time_method"),
            reference_error_space_method: text("reference_error_space_method"),
        })
    }

    /// Measured errors, of the samples that were measured.
    pub fn error_curves(&self) -> Vec<ErrorCurves> {
        let frames = self.times().len();
        let read = |name: &str, sample: usize| -> Option<Vec<f64>> {
            Some(self.source.read(name, &[sample, 0], &[1, frames]).ok()?.into_real())
        };
        let curves = (0..self.samples()).map_while(|sample| {
            let [time, space] = ERROR_CURVES.map(|name| read(name, sample));
            Some(ErrorCurves { sample, time: time?, space: space? })
        });
        curves.filter(|c| self.complete()[c.sample] && c.time.iter().chain(&c.space).all(|e| !e.is_nan())).collect()
    }

    /// Seconds that each sample took, where the file says.
    pub fn wall_seconds(&self) -> Option<Vec<f64>> {
        hdf5::read_all(self.source.as_ref(), WALL_SECONDS).ok()
    }
}

fn unsigned(attributes: &BTreeMap<String, Attr>, name: &str) -> u64 {
    match attributes.get(name) {
        Some(Attr::Unsigned(u)) => *u,
        Some(Attr::Int(i)) => *i as u64,
        _ => 0,
    }
}
