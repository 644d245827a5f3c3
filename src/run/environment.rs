//! Which program ran, where and when.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Facts about the program and the machine that go into every output.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    /// Program and version, e.g. `"parseval 0.1.0"`.
    pub generator: String,
    /// Commit of the sources, empty outside a checkout.
    pub git_commit: String,
    /// Whether the sources differed from that commit when they were compiled.
    pub git_dirty: bool,
    /// Compiler version.
    pub rustc: String,
    /// Architecture and processor.
    pub cpu: String,
    /// Operating system, e.g. `"linux"`.
    pub os: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Command line as given.
    pub command_line: String,
    /// Time of the capture, ISO 8601.
    pub started_utc: String,
    /// First 12 hexadecimal digits of the SHA-256 of the host's name: tells machines apart without naming them.
    pub hostname_hash: String,
}

impl Environment {
    /// Looks around.
    pub fn capture() -> Self {
        Self {
            generator: concat!("parseval ", env!("CARGO_PKG_VERSION")).to_owned(),
            git_commit: env!("PARSEVAL_GIT_COMMIT").to_owned(),
            git_dirty: env!("PARSEVAL_GIT_DIRTY") == "true",
            rustc: env!("PARSEVAL_RUSTC").to_owned(),
            cpu: cpu(),
            os: std::env::consts::OS.to_owned(),
            cores: cores(),
            command_line: std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" "),
            started_utc: utc(SystemTime::now()),
            hostname_hash: hash(&hostname()),
        }
    }
}

/// Number of cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name));
    match model {
        Some(name) => format!("{} ({})", std::env::consts::ARCH, name.trim()),
        None => std::env::consts::ARCH.to_owned(),
    }
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_default()
}

fn hash(text: &str) -> String {
    Sha256::digest(text.trim().as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// ISO 8601 to the second, e.g. `"2026-11-24T07:15:00Z"`.
pub fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from the day number, counting years from 1 March (Hinnant, "chrono-compatible low-level date
    // algorithms", civil_from_days).
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = era * 400 + year + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn utc_matches_known_instants() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_000_000_000, "2001-09-09T01:46:40Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
        ] {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn capture_names_version_and_compiler() {
        let environment = Environment::capture();
        assert!(environment.generator.starts_with("parseval "));
        assert!(environment.rustc.starts_with("rustc "));
        assert_eq!(environment.hostname_hash.len(), 12);
    }
}
