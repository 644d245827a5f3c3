//! Checkpoints: the state of a training, whole or not there at all.
//!
//! ```text
//! checkpoints/
//!   step-00001200/   model.safetensors  optimizer.safetensors  state.toml
//!   latest           name of the folder to go on from
//!   best             name of the folder with the smallest validation error
//! ```
//!
//! A checkpoint is written under a temporary name, made durable and renamed; then the names in `latest` and `best` change.
//! So a process killed at any moment leaves `latest` at a whole checkpoint. Both tensor files carry `format_version`,
//! `model`, `config_sha256` and `step`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::files;
use super::tensor_file::{TensorFile, Tensors, encode};
use crate::error::{Error, Result};

/// Version of the layout, raised by changes that older readers cannot follow.
const FORMAT_VERSION: &str = "1";

/// Beginning of the names of checkpoints.
const PREFIX: &str = "step-";

/// What a method needs to go on exactly where it stopped.
///
/// Everything that must come back to the bit is a tensor: TOML has no integers beyond 63 bits. Random numbers need no
/// entry if they are drawn from [`stream(seed, name, step)`](super::seed::stream).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Parameters: what is needed to use the model.
    pub model: Tensors,
    /// Moments, histories, averages: what is needed to train on.
    pub optimizer: Tensors,
    /// Small facts for people and programs: schedule position, weights of losses, sizes of the model.
    pub state: Table,
}

/// A checkpoint that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Finished steps.
    pub step: u64,
    /// Parameters.
    pub model: TensorFile,
    /// Moments, histories, averages.
    pub optimizer: TensorFile,
    /// As in [`Snapshot::state`].
    pub state: Table,
    /// What the training loop keeps about itself.
    pub(super) training: Table,
}

impl Checkpoint {
    /// Reads the checkpoint in a folder, e.g. to use a model elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file is not there, [`Error::Format`] if one is damaged or of another version.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("state.toml");
        let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
        let mut file: Table = text.parse().map_err(|e| Error::format(&path, format!("is no TOML: {e}")))?;
        let mut section = |name: &str| match file.remove(name) {
            Some(Value::Table(table)) => Ok(table),
            _ => Err(Error::format(&path, format!("has no section [{name}]"))),
        };
        let (training, state) = (section("training")?, section("state")?);
        let step = file.get("step").and_then(Value::as_integer).and_then(|step| u64::try_from(step).ok());
        let step = step.ok_or_else(|| Error::format(&path, "has no step"))?;
        let model = TensorFile::read(&folder.join("model.safetensors"))?;
        let optimizer = TensorFile::read(&folder.join("optimizer.safetensors"))?;
        for file in [&model, &optimizer] {
            expect(file, "format_version", FORMAT_VERSION)?;
            expect(file, "step", &step.to_string())?;
        }
        Ok(Self { step, model, optimizer, state, training })
    }

    /// Name of the model that was saved.
    pub fn model_name(&self) -> &str {
        self.model.metadata.get("model").map_or("", String::as_str)
    }
}

/// Refuses a file whose metadata say something else.
fn expect(file: &TensorFile, key: &str, expected: &str) -> Result<()> {
    match file.metadata.get(key) {
        Some(found) if found == expected => Ok(()),
        Some(found) => Err(Error::format(&file.path, format!("has {key} `{found}`, expected `{expected}`"))),
        None => Err(Error::format(&file.path, format!("says nothing about its {key}, expected `{expected}`"))),
    }
}

/// The checkpoints of a run.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
    model: String,
    config_sha256: String,
    keep: usize,
}

impl Checkpoints {
    /// Checkpoints in `folder` of the model named `model` under a configuration with the given hash; all but the newest
    /// `keep` (at least one) and the best are deleted as others come.
    pub fn new(folder: &Path, model: &str, config_sha256: &str, keep: usize) -> Self {
        Self {
            folder: folder.to_owned(),
            model: model.to_owned(),
            config_sha256: config_sha256.to_owned(),
            keep: keep.max(1),
        }
    }

    /// Folder of the checkpoint after `step` steps.
    pub fn path(&self, step: u64) -> PathBuf {
        self.folder.join(name(step))
    }

    /// The checkpoint to go on from; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::read`]; [`Error::Format`] if it belongs to another model or configuration.
    pub fn latest(&self) -> Result<Option<Checkpoint>> {
        self.named("latest")
    }

    /// The checkpoint with the smallest validation error; `None` if there is none yet.
    ///
    /// # Errors
    ///
    /// As [`Checkpoints::latest`].
    pub fn best(&self) -> Result<Option<Checkpoint>> {
        self.named("best")
    }

    fn named(&self, pointer: &str) -> Result<Option<Checkpoint>> {
        let Some(name) = self.pointer(pointer)? else { return Ok(None) };
        let checkpoint = Checkpoint::read(&self.folder.join(name))?;
        for file in [&checkpoint.model, &checkpoint.optimizer] {
            expect(file, "model", &self.model)?;
            expect(file, "config_sha256", &self.config_sha256)?;
        }
        Ok(Some(checkpoint))
    }

    /// Name of the folder that `latest` or `best` points to.
    fn pointer(&self, pointer: &str) -> Result<Option<String>> {
        let path = self.folder.join(pointer);
        let Some(text) = files::read(&path)? else { return Ok(None) };
        match step_of(text.trim()) {
            Some(_) => Ok(Some(text.trim().to_owned())),
            None => Err(Error::format(&path, format!("names no checkpoint: `{}`", text.trim()))),
        }
    }

    /// Saves the state after `step` steps as the latest checkpoint, perhaps also as the best.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written, [`Error::Parameter`] for a state that TOML cannot hold.
    pub(super) fn save(&self, step: u64, snapshot: Snapshot, training: Table, is_best: bool) -> Result<()> {
        let name = name(step);
        // The latest checkpoint is never touched; an equal step means that nothing happened since.
        if self.pointer("latest")?.as_deref() != Some(&name) {
            self.write(&name, step, snapshot, training)?;
        }
        // In this order: a kill in between repeats the steps since the older `latest`, and finds the same best.
        if is_best {
            files::replace(&self.folder.join("best"), name.as_bytes())?;
        }
        files::replace(&self.folder.join("latest"), name.as_bytes())?;
        self.prune(step)
    }

    /// Saves a state that cannot be gone on from, for people to look at. Gives the folder.
    ///
    /// # Errors
    ///
    /// As [`Checkpoints::save`].
    pub(super) fn save_failed(&self, step: u64, snapshot: Snapshot, training: Table) -> Result<PathBuf> {
        let name = format!("failed-{step:08}");
        self.write(&name, step, snapshot, training)?;
        Ok(self.folder.join(name))
    }

    fn write(&self, name: &str, step: u64, snapshot: Snapshot, training: Table) -> Result<()> {
        let Snapshot { model, optimizer, state } = snapshot;
        let (temporary, target) = (self.folder.join(format!(".{name}.tmp")), self.folder.join(name));
        remove(&temporary)?;
        fs::create_dir_all(&temporary).map_err(|e| Error::io(&temporary, e))?;
        let facts = [
            ("format_version", FORMAT_VERSION),
            ("model", &self.model),
            ("config_sha256", &self.config_sha256),
            ("step", &step.to_string()),
        ];
        let metadata: BTreeMap<String, String> = facts.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        let step = i64::try_from(step).map_err(|_| Error::parameter("step", step, "must be below 2^63"))?;
        let file = [
            ("step".to_owned(), Value::Integer(step)),
            ("training".to_owned(), Value::Table(training)),
            ("state".to_owned(), Value::Table(state)),
        ];
        let text = toml::to_string(&Table::from_iter(file))
            .map_err(|e| Error::parameter("state of a checkpoint", e, "must be writable as TOML"))?;
        let contents = [
            ("model.safetensors", encode(&model, &metadata)?),
            ("optimizer.safetensors", encode(&optimizer, &metadata)?),
            ("state.toml", text.into_bytes()),
        ];
        // What is there under the final name was written by a process that was killed before it could say so.
        remove(&target)?;
        let finish = || -> io::Result<()> {
            contents.iter().try_for_each(|(name, bytes)| files::create(&temporary.join(name), bytes))?;
            files::sync_folder(&temporary)?;
            fs::rename(&temporary, &target)?;
            files::sync_folder(&self.folder)
        };
        finish().map_err(|e| Error::io(&target, e))
    }

    /// Deletes what is not kept: only folders with names given here.
    fn prune(&self, step: u64) -> Result<()> {
        let best = self.pointer("best")?;
        let entries = fs::read_dir(&self.folder).map_err(|e| Error::io(&self.folder, e))?;
        let mut steps = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|e| Error::io(&self.folder, e))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            match name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp")) {
                Some(left) if step_of(left).is_some() => remove(&entry.path())?,
                _ => steps.extend(step_of(&name)),
            }
        }
        steps.sort_unstable();
        // Later ones are of a process that was killed: they come again.
        let done: Vec<u64> = steps.into_iter().filter(|&s| s <= step).collect();
        for old in done.iter().rev().skip(self.keep).filter(|&&s| best.as_ref() != Some(&name(s))) {
            remove(&self.path(*old))?;
        }
        Ok(())
    }
}

/// Name of a checkpoint.
fn name(step: u64) -> String {
    format!("{PREFIX}{step:08}")
}

/// Step of a checkpoint's name.
fn step_of(text: &str) -> Option<u64> {
    let step = text.strip_prefix(PREFIX)?.parse().ok()?;
    (name(step) == text).then_some(step)
}

/// Deletes a folder that may not be there.
fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io(folder, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tensor_file::Tensor;

    fn snapshot(value: f64) -> Snapshot {
        Snapshot {
            model: [("theta".to_owned(), Tensor::vector(vec![value, 0.1 + 0.2]))].into(),
            optimizer: [("moment".to_owned(), Tensor::vector(vec![value as f32]))].into(),
            state: Table::from_iter([("rate".to_owned(), Value::Float(value / 3.0))]),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = entries.collect();
        names.sort();
        names
    }

    #[test]
    fn a_checkpoint_gives_back_what_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), "fno", "abc", 2);
        assert_eq!(checkpoints.latest().unwrap(), None);
        checkpoints.save(1200, snapshot(1.5), Table::new(), true).unwrap();
        for checkpoint in
            [checkpoints.latest(), checkpoints.best(), Checkpoint::read(&checkpoints.path(1200)).map(Some)]
        {
            let checkpoint = checkpoint.unwrap().unwrap();
            assert_eq!((checkpoint.step, checkpoint.model_name()), (1200, "fno"));
            assert_eq!(checkpoint.model.tensors, snapshot(1.5).model);
            assert_eq!(checkpoint.optimizer.tensors, snapshot(1.5).optimizer);
            assert_eq!(checkpoint.state, snapshot(1.5).state);
            assert_eq!(checkpoint.model.metadata["config_sha256"], "abc");
        }
        let mut files = names(&checkpoints.path(1200));
        files.sort();
        assert_eq!(files, ["model.safetensors", "optimizer.safetensors", "state.toml"]);
    }

    #[test]
    fn the_newest_and_the_best_are_kept_and_nothing_foreign_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), "fno", "abc", 2);
        fs::create_dir(dir.path().join("step-mine")).unwrap();
        fs::create_dir(dir.path().join("step-5")).unwrap();
        for step in 1..=6 {
            checkpoints.save(step, snapshot(step as f64), Table::new(), step == 2).unwrap();
        }
        let expected = ["best", "latest", "step-00000002", "step-00000005", "step-00000006", "step-5", "step-mine"];
        assert_eq!(names(dir.path()), expected);
        assert_eq!(checkpoints.best().unwrap().unwrap().step, 2);
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 6);
    }

    #[test]
    fn a_kill_while_saving_leaves_the_checkpoint_before() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), "fno", "abc", 2);
        checkpoints.save(1, snapshot(1.0), Table::new(), false).unwrap();
        // Killed while writing the temporary folder, and between the rename and the change of `latest`.
        fs::create_dir(dir.path().join(".step-00000002.tmp")).unwrap();
        fs::write(dir.path().join(".step-00000002.tmp/model.safetensors"), "half").unwrap();
        checkpoints.write("step-00000003", 3, snapshot(9.0), Table::new()).unwrap();
        assert_eq!(checkpoints.latest().unwrap().unwrap().step, 1);
        for step in [2, 3] {
            checkpoints.save(step, snapshot(step as f64), Table::new(), false).unwrap();
        }
        assert_eq!(checkpoints.latest().unwrap().unwrap().model.tensors, snapshot(3.0).model);
        assert_eq!(names(dir.path()), ["latest", "step-00000002", "step-00000003"]);
    }

    #[test]
    fn messages_name_the_file_and_both_sides() {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = Checkpoints::new(dir.path(), "fno", "abc", 2);
        checkpoints.save(7, snapshot(1.0), Table::new(), false).unwrap();
        let message = |model: &str, hash: &str| {
            let error = Checkpoints::new(dir.path(), model, hash, 2).latest().unwrap_err().to_string();
            error.rsplit_once("safetensors: ").unwrap().1.to_owned()
        };
        assert_eq!(message("sfno", "abc"), "has model `fno`, expected `sfno`");
        assert_eq!(message("fno", "xyz"), "has config_sha256 `abc`, expected `xyz`");
        let damage = |file: &str, content: &str| {
            let path = checkpoints.path(7).join(file);
            let before = fs::read(&path).unwrap();
            fs::write(&path, content).unwrap();
            let message = checkpoints.latest().unwrap_err().to_string();
            fs::write(&path, before).unwrap();
            assert!(message.contains(file), "{message}");
            message
        };
        assert!(damage("optimizer.safetensors", "half").contains("is cut short"));
        assert!(damage("state.toml", "step = 7").contains("has no section [training]"));
        assert!(damage("state.toml", "[training]\n[state]").contains("has no step"));
        fs::write(checkpoints.path(7).join("state.toml"), "step = 8\n[training]\n[state]").unwrap();
        assert!(checkpoints.latest().unwrap_err().to_string().ends_with("has step `7`, expected `8`"));
        fs::write(dir.path().join("latest"), "../../etc").unwrap();
        assert!(checkpoints.latest().unwrap_err().to_string().contains("names no checkpoint: `../../etc`"));
    }
}
