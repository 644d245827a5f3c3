//! Why a construction, a file or a run was refused.

use std::path::PathBuf;

use thiserror::Error;

/// Result with the crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Every error names the argument, the value and the rule that was broken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A parameter lies outside the range where the method is defined.
    #[error("{name} = {value} is not allowed: {rule}")]
    Parameter {
        /// Name as in the signature, the recipe or the command line.
        name: String,
        /// The offending value as text.
        value: String,
        /// The rule that was broken, e.g. `must be > 0`.
        rule: String,
    },
    /// Two arrays that must agree in shape do not.
    #[error("{what}: expected shape {expected:?}, got {got:?}")]
    Shape {
        /// Argument name as in the signature.
        what: String,
        /// Shape that the plan or the file prescribes.
        expected: Vec<usize>,
        /// Shape that was passed in.
        got: Vec<usize>,
    },
    /// The state stopped being finite; usually the step is too large.
    #[error("solution became non-finite in sample {sample} at step {step} (t = {t:.6}); try a smaller dt")]
    BlowUp {
        /// Index of the sample in the batch.
        sample: usize,
        /// Index of the first step after which a value was found non-finite.
        step: usize,
        /// Simulation time of that step.
        t: f64,
    },
    /// A number stopped being finite during a training.
    #[error("{what} is {value} at step {step}; {detail}")]
    NotFinite {
        /// What it is, e.g. `loss "residual"`.
        what: String,
        /// NaN or an infinity.
        value: f64,
        /// Number of the step that gave it, from 1.
        step: u64,
        /// What is known of the cause, and what is on disk.
        detail: String,
    },
    /// A file could not be opened, read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file was read, and its content breaks the format.
    #[error("{path}: {message}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Object inside the file, what was expected and what was found.
        message: String,
    },
    /// Two things that were to agree do not.
    #[error("{what} differ by {difference:.3e}, tolerance {tolerance:.3e}")]
    Differ {
        /// What was compared, in the plural.
        what: String,
        /// Largest relative difference.
        difference: f64,
        /// Largest that was allowed.
        tolerance: f64,
    },
    /// The user asked to stop; what was finished is on disk.
    #[error("interrupted after {done} of {total} {unit}")]
    Interrupted {
        /// Finished units of work.
        done: usize,
        /// All units of work.
        total: usize,
        /// What a unit is, in the plural.
        unit: &'static str,
    },
}

impl Error {
    /// A parameter that breaks a rule.
    pub fn parameter(name: impl Into<String>, value: impl ToString, rule: impl Into<String>) -> Self {
        Self::Parameter { name: name.into(), value: value.to_string(), rule: rule.into() }
    }

    /// A shape mismatch.
    pub fn shape(what: impl Into<String>, expected: &[usize], got: &[usize]) -> Self {
        Self::Shape { what: what.into(), expected: expected.to_vec(), got: got.to_vec() }
    }

    /// An operating-system error on `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// A file whose content breaks its format.
    pub fn format(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Format { path: path.into(), message: message.into() }
    }

    /// Whether the input was at fault (exit code 2) rather than the run (exit code 1).
    pub fn is_bad_input(&self) -> bool {
        match self {
            Self::Parameter { .. } | Self::Shape { .. } | Self::Format { .. } => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            Self::BlowUp { .. } | Self::NotFinite { .. } | Self::Differ { .. } | Self::Interrupted { .. } => false,
        }
    }
}
