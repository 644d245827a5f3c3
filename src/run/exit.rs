//! The frame of every program: arguments in, exit code out, never a panic.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use super::signal::INTERRUPTED;
use crate::error::{Error, Result};

/// Standard output and standard error of a program. Unlike `println!`, a reader that went away (`| head`) is no panic:
/// it ends the program quietly.
#[derive(Clone, Copy, Debug, Default)]
pub struct Printer;

impl Printer {
    /// A line, or several, to standard output.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written; [`main`] takes a closed pipe as a wish to stop.
    pub fn line(&self, text: impl Display) -> Result<()> {
        writeln!(io::stdout(), "{text}").map_err(|e| Error::io("standard output", e))
    }

    /// A remark to standard error, lost if nobody listens.
    pub fn note(&self, text: impl Display) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// 0 fine, 1 the run failed, 2 bad input, 130 interrupted.
pub fn exit_code(result: &Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(Error::Interrupted { .. }) => INTERRUPTED,
        Err(error) if error.is_bad_input() => 2,
        Err(_) => 1,
    }
}

/// Runs a program: reports its error on standard error and gives the exit code.
pub fn main(program: impl FnOnce(Printer) -> Result<()>) -> ExitCode {
    let result = program(Printer);
    let code = exit_code(&result);
    if let Err(error) = result
        && code != 0
    {
        Printer.note(format_args!("error: {error}"));
    }
    ExitCode::from(code as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_tell_input_from_run() {
        let io = |kind| Err(Error::io("f", io::Error::from(kind)));
        assert_eq!(exit_code(&Ok(())), 0);
        assert_eq!(exit_code(&io(io::ErrorKind::BrokenPipe)), 0);
        assert_eq!(exit_code(&io(io::ErrorKind::StorageFull)), 1);
        assert_eq!(exit_code(&io(io::ErrorKind::NotFound)), 2);
        assert_eq!(exit_code(&Err(Error::parameter("dt", -1, "must be > 0"))), 2);
        assert_eq!(exit_code(&Err(Error::BlowUp { sample: 0, step: 1, t: 0.1 })), 1);
        assert_eq!(exit_code(&Err(Error::Interrupted { done: 1, total: 2, unit: "samples" })), 130);
    }
}
