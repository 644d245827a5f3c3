//! Folder of a run.
//!
//! ```text
//! runs/NAME/seed-0000/
//!   config.toml        resolved, with all defaults
//!   environment.json   program, commit, machine; one entry a session
//!   metrics.jsonl      one object a line
//!   summary.json       how the run ended
//!   checkpoints/  figures/  tensorboard/  report.html
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use super::checkpoint::Checkpoints;
use super::environment::{Environment, utc};
use super::{files, metrics, tensorboard};
use crate::error::{Error, Result};

/// A folder that this process, and no other, writes a run to.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    config: String,
    config_sha256: String,
    /// Locked until the process ends or this is dropped.
    _lock: Option<File>,
}

impl RunDirectory {
    /// `root/NAME/seed-0000`: where a run goes that nobody gave a folder to.
    pub fn place(root: &Path, name: &str, seed: u64) -> PathBuf {
        root.join(name).join(format!("seed-{seed:04}"))
    }

    /// `root/NAME/2026-11-24T01-12-09Z_7f3a`: a new name a call, for runs that are not told apart by their seeds.
    pub fn stamped(root: &Path, name: &str) -> PathBuf {
        let now = SystemTime::now();
        let nanos = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let tail = sha256(&format!("{nanos} {}", std::process::id()));
        root.join(name).join(format!("{}_{}", utc(now).replace(':', "-"), &tail[..4]))
    }

    /// Whether a folder holds a run.
    pub fn is_run(path: &Path) -> bool {
        path.join("config.toml").is_file()
    }

    /// Begins a run in a folder that is not there yet, or empty.
    ///
    /// `config` is the resolved configuration, TOML. `may_change` lists keys (`"training.steps"`) and sections
    /// (`"output"`) that may have other values when the run is resumed; it is the same list in every session of a run,
    /// since it decides which values belong to the identity of its checkpoints.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the folder holds a run or other files, [`Error::Io`] if it cannot be written.
    pub fn create(path: &Path, config: &str, may_change: &[&str]) -> Result<Self> {
        let refuse = |rule: String| Error::parameter("--out", path.display(), rule);
        if Self::is_run(path) {
            return Err(refuse(format!(
                "holds a run; continue it with --resume {}, or choose another",
                path.display()
            )));
        }
        let visible = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
        };
        if fs::read_dir(path).is_ok_and(|mut entries| entries.any(visible)) {
            return Err(refuse("must be a new or empty folder".to_owned()));
        }
        fs::create_dir_all(path).map_err(|e| Error::io(path, e))?;
        Self::enter(path, config, may_change)
    }

    /// Goes on with a run under the same configuration.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if the folder holds no run, another process is at it, or a value that may not change has
    /// changed: all such keys are named with both values.
    pub fn resume(path: &Path, config: &str, may_change: &[&str]) -> Result<Self> {
        if !Self::is_run(path) {
            return Err(Error::parameter(
                "--resume",
                path.display(),
                "must be the folder of a run, with a config.toml",
            ));
        }
        let before = Self::config_of(path)?;
        let (before, now) = (flat(&before, path)?, flat(config, path)?);
        let show = |value: Option<&String>| value.cloned().unwrap_or_else(|| "absent".to_owned());
        let keys: std::collections::BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let changed = keys.into_iter().filter(|key| !is_listed(key, may_change) && before.get(*key) != now.get(*key));
        let changes: Vec<String> = changed
            .map(|key| format!("{key} ({} in the run, {} now)", show(before.get(key)), show(now.get(key))))
            .collect();
        if !changes.is_empty() {
            let rule = format!("was started with another configuration: {}", changes.join(", "));
            return Err(Error::parameter("--resume", path.display(), rule));
        }
        Self::enter(path, config, may_change)
    }

    /// [`RunDirectory::resume`] if the folder holds a run, otherwise [`RunDirectory::create`].
    ///
    /// # Errors
    ///
    /// As those.
    pub fn open(path: &Path, config: &str, may_change: &[&str]) -> Result<Self> {
        let open = if Self::is_run(path) { Self::resume } else { Self::create };
        open(path, config, may_change)
    }

    /// The resolved configuration of the run in a folder.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is none.
    pub fn config_of(path: &Path) -> Result<String> {
        let file = path.join("config.toml");
        fs::read_to_string(&file).map_err(|e| Error::io(file, e))
    }

    fn enter(path: &Path, config: &str, may_change: &[&str]) -> Result<Self> {
        let fixed = flat(config, path)?.into_iter().filter(|(key, _)| !is_listed(key, may_change));
        let config_sha256 = sha256(&fixed.map(|(key, value)| format!("{key} = {value}\n")).collect::<String>());
        let run = Self { path: path.to_owned(), config: config.to_owned(), config_sha256, _lock: lock(path)? };
        files::replace(&path.join("config.toml"), config.as_bytes())?;
        run.add_session()?;
        Ok(run)
    }

    /// Adds this process to `environment.json`.
    fn add_session(&self) -> Result<()> {
        let mut sessions = self.sessions()?;
        sessions.push(json!(Environment::capture()));
        let text = serde_json::to_string_pretty(&sessions).expect("JSON values are writable");
        files::replace(&self.path.join("environment.json"), text.as_bytes())
    }

    /// Program and machine of every process that worked on the run, the first one first.
    ///
    /// # Errors
    ///
    /// [`Error::Format`] if `environment.json` is damaged.
    pub fn sessions(&self) -> Result<Vec<Json>> {
        let path = self.path.join("environment.json");
        match files::read(&path)? {
            Some(text) => serde_json::from_str(&text).map_err(|e| Error::format(&path, e.to_string())),
            None => Ok(Vec::new()),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved configuration, TOML.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// SHA-256 of all values of the configuration that may not change.
    pub fn config_sha256(&self) -> &str {
        &self.config_sha256
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.path.join("metrics.jsonl")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }

    /// `figures/`, made if it is not there.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be made.
    pub fn figures(&self) -> Result<PathBuf> {
        let folder = self.path.join("figures");
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        Ok(folder)
    }

    /// Writes the metrics as `metrics.csv` and as a TensorBoard event file, and gives both paths.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Format`] if the metrics cannot be read, [`Error::Io`] if a file cannot be written.
    pub fn export(&self) -> Result<[PathBuf; 2]> {
        let records = metrics::read(&self.metrics())?;
        let csv = self.path.join("metrics.csv");
        fs::write(&csv, metrics::to_csv(&records)).map_err(|e| Error::io(&csv, e))?;
        // The records count from the start of the run; the folder was made then.
        let created = fs::metadata(self.path.join("config.toml")).and_then(|m| m.modified());
        let started = created.ok().and_then(|t| t.duration_since(SystemTime::UNIX_EPOCH).ok());
        let started = started.map_or(0.0, |t| t.as_secs_f64());
        Ok([csv, tensorboard::export(&records, started, &self.path.join("tensorboard"))?])
    }

    /// The checkpoints of the model named `model`, the newest `keep` of them kept.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if their folder cannot be made.
    pub fn checkpoints(&self, model: &str, keep: usize) -> Result<Checkpoints> {
        let folder = self.path.join("checkpoints");
        fs::create_dir_all(&folder).map_err(|e| Error::io(&folder, e))?;
        Ok(Checkpoints::new(&folder, model, &self.config_sha256, keep))
    }
}

/// Keeps other processes away; the system lets go of it when this one ends in whatever way. File systems without locks
/// are used without.
fn lock(path: &Path) -> Result<Option<File>> {
    let file = path.join(".lock");
    let file = File::create(&file).map_err(|e| Error::io(file, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => {
            Err(Error::parameter("run folder", path.display(), "is in use by another process"))
        }
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// Whether a key, or a section it lies in, is in a list.
fn is_listed(key: &str, list: &[&str]) -> bool {
    list.iter().any(|entry| key.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// All values of a configuration by dotted key.
fn flat(config: &str, path: &Path) -> Result<BTreeMap<String, String>> {
    fn collect(table: &Table, prefix: &str, out: &mut BTreeMap<String, String>) {
        for (key, value) in table {
            match value {
                Value::Table(inner) => collect(inner, &format!("{prefix}{key}."), out),
                value => drop(out.insert(format!("{prefix}{key}"), value.to_string())),
            }
        }
    }
    let table: Table = config
        .parse()
        .map_err(|e: toml::de::Error| Error::format(path.join("config.toml"), e.message().replace('\n', ", ")))?;
    let mut out = BTreeMap::new();
    collect(&table, "", &mut out);
    Ok(out)
}

fn sha256(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "name = 'a'\n[training]\nsteps = 10\nrate = 0.1\n[model]\nwidth = [4, 8]\n";

    #[test]
    fn a_run_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = RunDirectory::place(dir.path(), "ks", 3);
        assert!(path.ends_with("ks/seed-0003"));
        drop(RunDirectory::create(&path, CONFIG, &[]).unwrap());
        let message = RunDirectory::create(&path, CONFIG, &[]).unwrap_err().to_string();
        assert!(message.contains("--resume") && message.contains("seed-0003"), "{message}");
        let message = RunDirectory::create(dir.path(), CONFIG, &[]).unwrap_err().to_string();
        assert!(message.contains("must be a new or empty folder"), "{message}");
        let message = RunDirectory::resume(dir.path(), CONFIG, &[]).unwrap_err().to_string();
        assert!(message.contains("must be the folder of a run"), "{message}");
        assert_eq!(RunDirectory::config_of(&path).unwrap(), CONFIG);
    }

    #[test]
    fn changed_values_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let may_change = ["training.steps", "output"];
        let before = RunDirectory::create(&path, CONFIG, &may_change).unwrap().config_sha256().to_owned();
        let resume = |from: &str, to: &str| RunDirectory::resume(&path, &CONFIG.replace(from, to), &may_change);
        for (from, to, expected) in [
            ("0.1", "0.2", "training.rate (0.1 in the run, 0.2 now)"),
            ("[4, 8]", "[4]", "model.width ([4, 8] in the run, [4] now)"),
            ("rate = 0.1", "", "training.rate (0.1 in the run, absent now)"),
            ("[model]", "stepsize = 1\n[model]", "training.stepsize (absent in the run, 1 now)"),
            ("'a'", "'b'", "name (\"a\" in the run, \"b\" now)"),
        ] {
            let message = resume(from, to).unwrap_err().to_string();
            assert!(message.ends_with(&format!("was started with another configuration: {expected}")), "{message}");
        }
        // A refused resume changes nothing; allowed changes are written and do not make it another run.
        assert_eq!(RunDirectory::config_of(&path).unwrap(), CONFIG);
        let run = resume("steps = 10\nrate = 0.1", "steps = 20\nrate = 0.1\n[output]\nfigures = true").unwrap();
        assert_eq!(run.config_sha256(), before);
        assert!(RunDirectory::config_of(&path).unwrap().contains("steps = 20"));
        assert_eq!(run.sessions().unwrap().len(), 2);
        assert!(run.sessions().unwrap()[0]["rustc"].as_str().unwrap().starts_with("rustc"));
    }

    #[test]
    fn two_processes_do_not_share_a_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run");
        let run = RunDirectory::create(&path, CONFIG, &[]).unwrap();
        let message = RunDirectory::resume(&path, CONFIG, &[]).unwrap_err().to_string();
        assert!(message.contains("is in use by another process"), "{message}");
        drop(run);
        assert!(RunDirectory::open(&path, CONFIG, &[]).is_ok());
        assert!(RunDirectory::open(&dir.path().join("new"), CONFIG, &[]).is_ok());
    }

    #[test]
    fn stamped_names_differ() {
        let [a, b] = [(); 2].map(|()| RunDirectory::stamped(Path::new("runs"), "ks"));
        assert_ne!(a, b);
        assert!(a.starts_with("runs/ks") && !a.to_string_lossy().contains(':'));
    }
}
