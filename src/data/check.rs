//! Is a file what it claims to be?
//!
//! Three sets of rules: The Well's (its format page and checker, restated), those of Well+ beyond them (scales
//! attached, provenance, completeness), and those of any trajectory (times increase, values are finite, frames move).
//! Findings are returned, not thrown: only a file that cannot be read at all is an [`Error`](crate::Error).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use super::dataset::{Dataset, Layout, OpenOptions};
use super::hdf5::{self, Attr, Source};
use super::well;
use crate::error::Result;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Readable, but a reader may be misled.
    Warning,
    /// The file breaks its format.
    Error,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Path of the object inside the file.
    pub object: String,
    /// What was expected and what is there.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let name = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{name}: {}: {}", self.object, self.message)
    }
}

/// Checks a file; no finding of severity [`Severity::Error`] means that it is sound.
///
/// Reads every number once, one frame in memory at a time.
///
/// # Errors
///
/// As [`Dataset::open_with`].
pub fn check(path: &Path, options: &OpenOptions) -> Result<Vec<Finding>> {
    let layout = match options.layout {
        Some(layout) => layout,
        None => Layout::detect(path)?,
    };
    let mut findings = Findings::default();
    if layout == Layout::Well {
        let source = hdf5::open(path)?;
        TheWell { source: source.as_ref(), findings: &mut findings, sizes: BTreeMap::new() }.check()?;
        // A broken tree is reported rule by rule; opening it would only stop at the first.
        if findings.0.iter().any(|f| f.severity == Severity::Error) {
            return Ok(findings.0);
        }
    }
    let data = Dataset::open_with(path, &OpenOptions { layout: Some(layout), ..options.clone() })?;
    data.warnings().iter().for_each(|w| findings.add(Severity::Warning, "/", w.clone()));
    check_times(&data, &mut findings);
    check_complete(&data, &mut findings);
    check_numbers(&data, &mut findings)?;
    Ok(findings.0)
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, object: &str, message: String) {
        self.0.push(Finding { severity, object: object.to_owned(), message });
    }

    /// An error unless the rule holds.
    fn rule(&mut self, holds: bool, object: &str, message: impl FnOnce() -> String) {
        if !holds {
            self.add(Severity::Error, object, message());
        }
    }
}

fn check_times(data: &Dataset, findings: &mut Findings) {
    let t = data.times();
    let increasing = t.iter().all(|t| t.is_finite()) && t.windows(2).all(|w| w[1] > w[0]);
    findings.rule(increasing, "/time", || "times must be finite and increase".into());
    if let [first, second, ..] = *t {
        let dt = second - first;
        // Stamps stored in f32 carry 6e-8 of their own size each.
        let tolerance = 1e-6 * dt.abs() + 1e-6 * t[t.len() - 1].abs();
        if t.windows(2).any(|w| (w[1] - w[0] - dt).abs() > tolerance) {
            findings.add(Severity::Note, "/time", "the time step is not constant; The Well assumes it is".into());
        }
    }
}

fn check_complete(data: &Dataset, findings: &mut Findings) {
    let missing: Vec<usize> = (0..data.samples()).filter(|&i| !data.complete()[i]).collect();
    if !missing.is_empty() {
        let message = format!("samples {missing:?} of {} are incomplete: resume the run", data.samples());
        findings.add(Severity::Warning, "/provenance/complete", message);
    }
}

/// Finite values, healthy magnitudes, frames that differ from the one before and within themselves.
fn check_numbers(data: &Dataset, findings: &mut Findings) -> Result<()> {
    for field in data.fields() {
        let limit = field.attributes.get("valid_max_abs").and_then(Attr::as_f64);
        let frames = if field.time_varying { data.times().len() } else { 1 };
        for sample in (0..data.samples()).filter(|&i| data.complete()[i]) {
            let mut previous = None;
            let (mut constant, mut repeated) = (0, 0);
            for t in 0..frames {
                let frame = data.read::<f64>(&field.name, sample, t..t + 1, 1)?;
                let place = || format!("sample {sample}, frame {t}");
                if frame.iter().any(|x| !x.is_finite()) {
                    findings.add(Severity::Error, &field.name, format!("{}: a value is not finite", place()));
                    break;
                }
                let largest = frame.iter().fold(0.0f64, |m, x| m.max(x.abs()));
                if let Some(limit) = limit.filter(|&l| largest > l) {
                    let message = format!("{}: |value| reaches {largest:e}, valid_max_abs is {limit:e}", place());
                    findings.add(Severity::Warning, &field.name, message);
                }
                let first = frame.iter().next().copied();
                constant += usize::from(frame.iter().all(|x| Some(*x) == first));
                repeated += usize::from(previous.as_ref() == Some(&frame));
                previous = Some(frame);
            }
            for (count, what) in [(constant, "constant in space"), (repeated, "equal to the one before")] {
                if count > 0 && field.time_varying {
                    let message = format!("sample {sample}: {count} of {frames} frames are {what}");
                    findings.add(Severity::Warning, &field.name, message);
                }
            }
        }
    }
    Ok(())
}

/// What kind of attribute a rule asks for.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Text,
    Texts,
    Int,
    Bool,
    Bools,
}

/// The Well's rules and those of Well+.
struct TheWell<'a> {
    source: &'a dyn Source,
    findings: &'a mut Findings,
    /// Length of `time` and of each space axis.
    sizes: BTreeMap<String, usize>,
}

impl TheWell<'_> {
    fn check(&mut self) -> Result<()> {
        for group in ["/dimensions", "/boundary_conditions", "/scalars", "/t0_fields", "/t1_fields", "/t2_fields"] {
            self.findings.rule(self.source.contains(group), group, || "the group is missing".into());
        }
        self.attribute("/", "dataset_name", Kind::Text)?;
        let grid = self.attribute("/", "grid_type", Kind::Text)?;
        if let Some(grid) = grid.as_ref().and_then(Attr::as_text) {
            let known = ["cartesian", "spherical"].contains(&grid);
            self.findings.rule(known, "/", || format!("grid_type {grid:?} is neither cartesian nor spherical"));
        }
        let dim = self.attribute("/", "n_spatial_dims", Kind::Int)?.and_then(|a| a.as_f64()).unwrap_or(0.0) as usize;
        let samples =
            self.attribute("/", "n_trajectories", Kind::Int)?.and_then(|a| a.as_f64()).unwrap_or(0.0) as usize;
        let parameters = self.attribute("/", "simulation_parameters", Kind::Texts)?;
        let parameters = parameters.and_then(|a| a.as_texts()).unwrap_or_default();
        let dims = self.dimensions(dim)?;
        self.boundaries(&dims)?;
        self.scalars(&parameters, samples)?;
        for rank in 0..3 {
            self.fields(rank, &dims, samples)?;
        }
        let ours = self.source.attributes("/")?.get("Conventions").and_then(Attr::as_text) == Some(well::CONVENTIONS);
        if ours {
            self.plus()?;
        }
        Ok(())
    }

    /// The attribute, after checking its kind.
    fn attribute(&mut self, object: &str, name: &str, kind: Kind) -> Result<Option<Attr>> {
        if !self.source.contains(object) {
            return Ok(None);
        }
        let value = self.source.attributes(object)?.remove(name);
        let fits = match (&value, kind) {
            (None, _) => false,
            (Some(a), Kind::Text) => a.as_text().is_some(),
            (Some(a), Kind::Texts) => a.as_texts().is_some() || is_empty_list(a),
            (Some(a), Kind::Bool) => a.as_bool().is_some(),
            (Some(a), Kind::Int) => matches!(a, Attr::Int(_) | Attr::Unsigned(_) | Attr::Ints(_)),
            (Some(a), Kind::Bools) => matches!(a, Attr::Bools(_)),
        };
        self.findings.rule(fits, object, || match &value {
            None => format!("attribute {name} is missing"),
            Some(value) => format!("attribute {name} = {value:?}, expected {kind:?}"),
        });
        Ok(value.filter(|_| fits))
    }

    fn flag(&mut self, object: &str, name: &str, expected: Option<bool>) -> Result<bool> {
        let value = self.attribute(object, name, Kind::Bool)?.and_then(|a| a.as_bool());
        if let (Some(expected), Some(value)) = (expected, value) {
            self.findings.rule(value == expected, object, || format!("{name} is {value}, must be {expected}"));
        }
        Ok(value.unwrap_or(true))
    }

    fn members(&self, group: &str) -> Result<BTreeSet<String>> {
        if !self.source.contains(group) {
            return Ok(BTreeSet::new());
        }
        Ok(self.source.members(group)?.into_iter().map(|m| m.name).collect())
    }

    fn dimensions(&mut self, dim: usize) -> Result<Vec<String>> {
        let dims = self.attribute("/dimensions", "spatial_dims", Kind::Texts)?;
        let dims = dims.and_then(|a| a.as_texts()).unwrap_or_default();
        self.findings
            .rule(dims.len() == dim, "/dimensions", || format!("spatial_dims {dims:?}, but n_spatial_dims is {dim}"));
        for name in std::iter::once("time").chain(dims.iter().map(String::as_str)) {
            let path = format!("/dimensions/{name}");
            if !self.source.contains(&path) {
                self.findings.add(Severity::Error, &path, "the dataset is missing".into());
                continue;
            }
            let shape = self.source.info(&path)?.shape;
            self.findings.rule(shape.len() == 1, &path, || format!("shape {shape:?}, must be 1-D"));
            self.sizes.insert(name.to_owned(), shape.iter().product());
            self.flag(&path, "sample_varying", Some(false))?;
            self.flag(&path, "time_varying", Some(name == "time"))?;
            let x = hdf5::read_all(self.source, &path)?;
            let uniform = x.windows(2).all(|w| w[1] > w[0]);
            self.findings.rule(uniform, &path, || "coordinates must increase".into());
        }
        Ok(dims)
    }

    fn boundaries(&mut self, dims: &[String]) -> Result<()> {
        let mut covered = BTreeSet::new();
        for name in self.members("/boundary_conditions")? {
            let group = format!("/boundary_conditions/{name}");
            self.attribute(&group, "associated_fields", Kind::Texts)?;
            self.flag(&group, "sample_varying", None)?;
            self.flag(&group, "time_varying", None)?;
            if let Some(kind) = self.attribute(&group, "bc_type", Kind::Text)?.as_ref().and_then(Attr::as_text) {
                let known = ["WALL", "OPEN", "PERIODIC"].contains(&kind.to_uppercase().as_str());
                self.findings.rule(known, &group, || format!("bc_type {kind:?}, must be WALL, OPEN or PERIODIC"));
            }
            let associated = self.attribute(&group, "associated_dims", Kind::Texts)?;
            let associated = associated.and_then(|a| a.as_texts()).unwrap_or_default();
            for d in &associated {
                self.findings.rule(dims.contains(d), &group, || format!("associated_dims names {d:?}, no dimension"));
                covered.insert(d.clone());
            }
            let mask = format!("{group}/mask");
            if !self.source.contains(&mask) {
                self.findings.add(Severity::Error, &mask, "the dataset is missing".into());
                continue;
            }
            let shape = self.source.info(&mask)?.shape;
            let expected: Vec<usize> = associated.iter().filter_map(|d| self.sizes.get(d).copied()).collect();
            self.findings.rule(shape == expected, &mask, || format!("shape {shape:?}, expected {expected:?}"));
        }
        for d in dims.iter().filter(|d| !covered.contains(*d)) {
            self.findings.add(Severity::Warning, "/boundary_conditions", format!("no condition is given for {d}"));
        }
        Ok(())
    }

    fn scalars(&mut self, parameters: &[String], samples: usize) -> Result<()> {
        let names = self.listed("/scalars")?;
        for name in parameters {
            let at_root = self.source.attributes("/")?.contains_key(name);
            self.findings.rule(at_root, "/", || format!("parameter {name} has no attribute"));
            self.findings.rule(names.contains(name), "/scalars", || format!("parameter {name} has no dataset"));
        }
        for name in names {
            let path = format!("/scalars/{name}");
            let mut expected = Vec::new();
            expected.extend(self.flag(&path, "sample_varying", None)?.then_some(samples));
            if self.flag(&path, "time_varying", None)? {
                expected.push(self.size("time"));
            }
            let shape = self.source.info(&path)?.shape;
            self.findings.rule(shape == expected, &path, || format!("shape {shape:?}, expected {expected:?}"));
        }
        Ok(())
    }

    /// Members of a group, after comparing them with its `field_names`.
    fn listed(&mut self, group: &str) -> Result<BTreeSet<String>> {
        let names = self.members(group)?;
        if let Some(listed) = self.attribute(group, "field_names", Kind::Texts)? {
            let listed: BTreeSet<String> = listed.as_texts().unwrap_or_default().into_iter().collect();
            self.findings.rule(listed == names, group, || format!("field_names {listed:?}, but it holds {names:?}"));
        }
        Ok(names)
    }

    fn size(&self, name: &str) -> usize {
        self.sizes.get(name).copied().unwrap_or(0)
    }

    /// `[B] + [T] + [n_d, ..] + [D] * rank`, each only where the field varies.
    fn fields(&mut self, rank: usize, dims: &[String], samples: usize) -> Result<()> {
        let group = format!("/t{rank}_fields");
        for name in self.listed(&group)? {
            let path = format!("{group}/{name}");
            let mut expected = Vec::new();
            expected.extend(self.flag(&path, "sample_varying", None)?.then_some(samples));
            if self.flag(&path, "time_varying", None)? {
                expected.push(self.size("time"));
            }
            let varying = match self.attribute(&path, "dim_varying", Kind::Bools)? {
                Some(Attr::Bools(v)) if v.len() == dims.len() => v,
                Some(other) => {
                    let message = format!("dim_varying {other:?}, expected {} flags", dims.len());
                    self.findings.add(Severity::Error, &path, message);
                    continue;
                }
                None => continue,
            };
            expected.extend(dims.iter().zip(varying).filter(|(_, v)| *v).map(|(d, _)| self.size(d)));
            let flat = [expected.as_slice(), &[dims.len() * dims.len()]].concat();
            expected.extend(std::iter::repeat_n(dims.len(), rank));
            let shape = self.source.info(&path)?.shape;
            let fits = shape == expected || (rank == 2 && shape == flat);
            self.findings.rule(fits, &path, || format!("shape {shape:?}, expected {expected:?}"));
            if rank == 2 {
                self.flag(&path, "symmetric", None)?;
                self.flag(&path, "antisymmetric", None)?;
            }
        }
        Ok(())
    }

    /// Scales, units, provenance.
    fn plus(&mut self) -> Result<()> {
        for rank in 0..3 {
            let group = format!("/t{rank}_fields");
            for name in self.members(&group)? {
                let path = format!("{group}/{name}");
                self.attribute(&path, "units", Kind::Text)?;
                self.attribute(&path, "long_name", Kind::Text)?;
                let scales = self.source.scales(&path)?;
                let bare: Vec<usize> = (0..scales.len()).filter(|&axis| scales[axis].is_none()).collect();
                self.findings.rule(bare.is_empty(), &path, || format!("axes {bare:?} have no dimension scale"));
            }
        }
        if !self.source.contains("/provenance") {
            self.findings.add(Severity::Error, "/provenance", "the group is missing".into());
            return Ok(());
        }
        let attributes = self.source.attributes("/provenance")?;
        for name in ["generator", "git_commit", "config_toml", "command_line", "solver", "rng", "started_utc"] {
            let known = attributes.get(name).and_then(Attr::as_text).is_some_and(|s| !s.is_empty());
            if !known {
                self.findings.add(Severity::Note, "/provenance", format!("{name} is not stated"));
            }
        }
        let error = "/provenance/reference_error_time";
        if self.source.contains(error) && hdf5::read_all(self.source, error)?.iter().all(|e| e.is_nan()) {
            self.findings.add(Severity::Note, error, "the accuracy of no sample was measured".into());
        }
        Ok(())
    }
}

/// h5py writes an empty list of texts as an empty list of doubles.
fn is_empty_list(a: &Attr) -> bool {
    matches!(a, Attr::Floats(v) if v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hdf5::{Backend, Create, Dtype, Slice};
    use crate::data::well::tests::{header, sample, write};
    use crate::data::well::{FieldData, Precision, Writer};
    use tempfile::tempdir;

    fn worst(findings: &[Finding]) -> Option<Severity> {
        findings.iter().map(|f| f.severity).max()
    }

    fn text(findings: &[Finding]) -> String {
        findings.iter().map(|f| format!("{f}\n")).collect()
    }

    #[test]
    fn our_own_and_the_well_s_files_pass() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("a.hdf5");
        let header = header(2, Precision::F32);
        let mut writer = Writer::create(&path, &header).unwrap();
        write(&mut writer, &header, 0);
        write(&mut writer, &header, 1);
        let findings = check(&path, &OpenOptions::default()).unwrap();
        assert_eq!(worst(&findings), Some(Severity::Note), "{}", text(&findings));
        let well = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/the_well.hdf5");
        let findings = check(&well, &OpenOptions::default()).unwrap();
        assert_eq!(worst(&findings), None, "{}", text(&findings));
    }

    #[test]
    fn incomplete_constant_repeated_and_non_finite_data_are_found() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("a.hdf5");
        let mut header = header(4, Precision::F64);
        header.fields[1].valid_max_abs = Some(3100.0);
        let mut writer = Writer::create(&path, &header).unwrap();
        let spoil: [fn(&mut Vec<Vec<f64>>); 3] =
            [|d| d[1][30] = f64::NAN, |d| d[0].iter_mut().for_each(|x| *x = 2.5), |d| d[1].copy_within(24..48, 48)];
        for (index, spoil) in spoil.iter().enumerate() {
            let mut data = sample(&header, index);
            spoil(&mut data);
            let fields: Vec<FieldData> = data.iter().map(|v| v.as_slice().into()).collect();
            writer.write_sample(index, &fields, 0, 0.0).unwrap();
        }
        let findings = text(&check(&path, &OpenOptions::default()).unwrap());
        for expected in [
            "warning: /provenance/complete: samples [3] of 4",
            "error: omega: sample 0, frame 1: a value is not finite",
            "warning: velocity: sample 1: 3 of 3 frames are constant",
            "warning: velocity: sample 1: 2 of 3 frames are equal",
            "warning: omega: sample 2: 1 of 3 frames are equal",
            "warning: omega: sample 2, frame 0: |value| reaches 3.1",
            "note: /time: the time step is not constant",
        ] {
            assert!(findings.contains(expected), "{expected}\nnot in\n{findings}");
        }
    }

    #[test]
    fn a_broken_tree_is_reported_rule_by_rule() {
        let dir = tempdir().unwrap();
        let path = dir.path().join("broken.hdf5");
        let mut sink = Backend::Pure.create(&path).unwrap();
        for group in ["/dimensions", "/boundary_conditions", "/t0_fields", "/t2_fields"] {
            sink.group(group).unwrap();
        }
        sink.attribute("/", "grid_type", &"polar".into()).unwrap();
        sink.attribute("/", "n_spatial_dims", &Attr::Int(2)).unwrap();
        sink.attribute("/", "n_trajectories", &Attr::Int(3)).unwrap();
        sink.attribute("/", "simulation_parameters", &Attr::Texts(vec!["nu".into()])).unwrap();
        sink.attribute("/dimensions", "spatial_dims", &Attr::Texts(vec!["x".into()])).unwrap();
        sink.attribute("/t0_fields", "field_names", &Attr::Texts(vec!["v".into()])).unwrap();
        for name in ["/dimensions/time", "/dimensions/x"] {
            sink.dataset(name, &Create::contiguous(&[4], Dtype::F64)).unwrap();
            sink.write(name, &[0], &[4], Slice::F64(&[0.0, 1.0, 1.0, 2.0])).unwrap();
            sink.attribute(name, "time_varying", &false.into()).unwrap();
        }
        sink.dataset("/t0_fields/u", &Create::contiguous(&[3, 5], Dtype::F32)).unwrap();
        sink.attribute("/t0_fields/u", "sample_varying", &true.into()).unwrap();
        sink.attribute("/t0_fields/u", "time_varying", &false.into()).unwrap();
        sink.attribute("/t0_fields/u", "dim_varying", &Attr::Bools(vec![true])).unwrap();
        sink.close().unwrap();
        let findings = text(&check(&path, &OpenOptions::default()).unwrap());
        for expected in [
            "error: /scalars: the group is missing",
            "error: /t1_fields: the group is missing",
            "error: /: attribute dataset_name is missing",
            "error: /: grid_type \"polar\"",
            "error: /dimensions: spatial_dims [\"x\"], but n_spatial_dims is 2",
            "error: /dimensions/time: time_varying is false, must be true",
            "error: /dimensions/x: attribute sample_varying is missing",
            "error: /dimensions/x: coordinates must increase",
            "warning: /boundary_conditions: no condition is given for x",
            "error: /: parameter nu has no attribute",
            "error: /t0_fields: field_names {\"v\"}, but it holds {\"u\"}",
            "error: /t0_fields/u: shape [3, 5], expected [3, 4]",
        ] {
            assert!(findings.contains(expected), "{expected}\nnot in\n{findings}");
        }
    }
}
