//! Progress on standard error.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two lines where standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar with rate and remaining time on a terminal, a line every few seconds elsewhere.
pub struct Progress {
    bar: ProgressBar,
    unit: &'static str,
    /// Time of the last line; `None` on a terminal.
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// Progress over `total` units (in the plural, e.g. `"steps"`); `quiet` shows nothing.
    pub fn new(total: u64, unit: &'static str, quiet: bool) -> Self {
        let on_terminal = stderr().is_terminal() && !quiet;
        let target = if on_terminal { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{bar:24} {percent:>3} %  {msg}  {custom_rate}  ETA {eta}")
            .expect("the template is well formed")
            .with_key("custom_rate", move |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{} {unit}/s", significant(state.per_sec()));
            });
        let bar = ProgressBar::with_draw_target(Some(total), target).with_style(style);
        let last_line = (!on_terminal && !quiet).then(|| Mutex::new(Instant::now()));
        Self { bar, unit, last_line }
    }

    /// Begins at `done` units that an earlier process finished; they do not count for the rate.
    pub fn begin_at(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// Counts `units` more.
    pub fn advance(&self, units: u64) {
        self.bar.inc(units);
        if let Some(last) = &self.last_line {
            let mut last = last.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if last.elapsed() >= LINE_EVERY {
                *last = Instant::now();
                let percent = 100 * self.bar.position() / self.bar.length().unwrap_or(1).max(1);
                let rate = significant(self.bar.per_sec());
                let eta = self.bar.eta().as_secs();
                let message = self.bar.message();
                let _ = writeln!(stderr(), "{percent:>3} %  {message}  {rate} {}/s  ETA {eta} s", self.unit);
            }
        }
    }

    /// Sets the text beside the bar.
    pub fn message(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Seconds since the start.
    pub fn seconds(&self) -> f64 {
        self.bar.elapsed().as_secs_f64()
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Three significant digits.
fn significant(x: f64) -> String {
    if x >= 100.0 {
        format!("{x:.0}")
    } else if x >= 10.0 {
        format!("{x:.1}")
    } else {
        format!("{x:.2}")
    }
}
