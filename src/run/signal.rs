//! Ctrl-C, SIGTERM and SIGHUP.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// Exit code of an interrupted program.
pub(super) const INTERRUPTED: i32 = 130;

/// Whether the user asked to stop. The first signal only raises this flag, for the program to finish what it is at; the
/// second ends the program at once.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Installs the handler; once a process.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the system refuses, or a handler is there already.
    pub fn install() -> Result<Self> {
        let interrupt = Self::default();
        let flag = interrupt.0.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(INTERRUPTED);
            }
        })
        .map_err(|e| Error::io("signal handler", std::io::Error::other(e)))?;
        Ok(interrupt)
    }

    /// Whether a signal has come.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// Asks to stop, as a signal does.
    pub fn set(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
