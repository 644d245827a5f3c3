//! Trajectories from data sets: which files, whether they are of the equation at hand, and their frames.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, ArrayViewD, Axis, concatenate};
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::hdf5::{self, Attr};
use crate::data::{Dataset, Layout, OpenOptions};
use crate::error::{Error, Result};

/// Values read at a time, per field: 8 MiB of doubles.
const BLOCK: usize = 1 << 20;

/// Relative deviation up to which two numbers agree; files store some of theirs in single precision.
const TOLERANCE: f64 = 1e-5;

/// Which files, and which part of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// One file or several, of any layout that [`Dataset::open`] knows. Samples are numbered through all of them.
    #[serde(deserialize_with = "texts")]
    pub files: Vec<PathBuf>,
    /// Fields that make the state; by their usual names if empty.
    #[serde(default, deserialize_with = "texts", skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// First sample of training, validation and test; one part after the other if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<[usize; 3]>,
    /// Time at the start of every trajectory that is left out.
    #[serde(default)]
    pub skip: f64,
    /// Layout, by its name in [`Layout::name`]; detected if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
    /// Period of the axes, for files that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<f64>,
    /// Time between stored frames, for files that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dt: Option<f64>,
}

/// What the files must hold.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Axes of the box, equal ones.
    pub dim: usize,
    /// Their period, and its name in the configuration.
    pub length: (&'static str, f64),
    /// Time between the frames that are used, a multiple of that between the stored ones, and its name.
    pub spacing: (&'static str, f64),
    /// Name of the equation in files of this toolkit.
    pub equation: &'static str,
    /// Coefficients: name in such files, name in the configuration, value. One that a file lacks is zero there.
    pub coefficients: Vec<(&'static str, &'static str, f64)>,
    /// Names of fields that may make the state, the first that is there counts. Their components are at most `dim`.
    pub fields: &'static [&'static [&'static str]],
}

/// Files open for reading, found to be of the equation.
pub struct Files {
    files: Vec<Part>,
    points: usize,
    spacing: f64,
    notes: Vec<String>,
}

/// One file.
struct Part {
    dataset: Dataset,
    /// Number of its first sample.
    first: usize,
    fields: Vec<String>,
    /// Place of the first point for each channel, in spacings of the points.
    offsets: Vec<Vec<f64>>,
    /// First stored frame that is used, and stored frames from one to the next.
    skip: usize,
    stride: usize,
}

impl Source {
    /// Samples of training, validation and test.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if parts overlap, or `samples` are too few.
    pub fn split(&self, counts: [usize; 3], samples: usize) -> Result<[Range<usize>; 3]> {
        let [train, valid, test] = counts;
        let starts = self.starts.unwrap_or([0, train, train + valid]);
        let parts = [0, 1, 2].map(|i| starts[i]..starts[i] + counts[i]);
        for (part, name) in parts.iter().zip(["train", "valid", "test"]) {
            if !part.is_empty() && part.end > samples {
                let rule = format!("must lie within the {samples} samples of {}", self.names());
                return Err(Error::parameter(format!("data.{name}: samples"), format!("{part:?}"), rule));
            }
        }
        for (a, b) in [(0, 1), (0, 2), (1, 2)] {
            let (a, b) = (&parts[a], &parts[b]);
            if a.start.max(b.start) < a.end.min(b.end) {
                let rule = format!("must not overlap for {train} + {valid} + {test} samples of train, valid and test");
                return Err(Error::parameter("data.source.starts", format!("{starts:?}"), rule));
            }
        }
        Ok(parts)
    }

    /// What tells one content of the files from another: size, and a hash of the first and the last MiB, of each.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        const PIECE: u64 = 1 << 20;
        let of = |path: &PathBuf| -> std::io::Result<String> {
            let mut file = File::open(path)?;
            let size = file.metadata()?.len();
            let mut bytes = Vec::new();
            (&mut file).take(PIECE).read_to_end(&mut bytes)?;
            file.seek(SeekFrom::Start(size.saturating_sub(PIECE)))?;
            file.take(PIECE).read_to_end(&mut bytes)?;
            let hash: String = Sha256::digest(&bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            Ok(format!("{size}:{hash}"))
        };
        let all = self.files.iter().map(|path| of(path).map_err(|e| Error::io(path, e)));
        Ok(all.collect::<Result<Vec<_>>>()?.join(" "))
    }

    /// Names of the files for messages.
    fn names(&self) -> String {
        self.files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

impl Files {
    /// Opens the files of a source.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::open`], and [`Error::Format`] naming file, value and rule where a file is not what is expected:
    /// dimension, boundaries, box, equal points on all axes, spacing of the frames, equation, coefficients, fields.
    pub fn open(source: &Source, expected: &Expected) -> Result<Self> {
        let options = OpenOptions {
            layout: source.layout.as_deref().map(str::parse).transpose()?,
            extent: source.extent.map(|length| vec![length; expected.dim]),
            dt: source.dt,
        };
        if !(source.skip >= 0.0 && source.skip.is_finite()) {
            return Err(Error::parameter("data.source.skip", source.skip, "must be finite and >= 0"));
        }
        let mut result = Self { files: Vec::new(), points: 0, spacing: expected.spacing.1, notes: Vec::new() };
        for path in &source.files {
            let dataset = Dataset::open_with(path, &options)?;
            let points = box_of(&dataset, expected)?;
            if !result.files.is_empty() && points != result.points {
                let message = format!("{points} points along an axis, but {} in the file before", result.points);
                return Err(Error::format(path, message));
            }
            let (skip, stride) = frames_of(&dataset, source.skip, expected.spacing)?;
            equation_of(&dataset, expected, &mut result.notes)?;
            let fields = fields_of(&dataset, &source.fields, expected)?;
            let offsets = offsets_of(&dataset, &fields)?;
            result.notes.extend(dataset.warnings().iter().map(|warning| format!("{}: {warning}", path.display())));
            result.points = points;
            let first = result.samples();
            result.files.push(Part { dataset, first, fields, offsets, skip, stride });
        }
        match result.files.is_empty() {
            true => Err(Error::parameter("data.source.files", "[]", "must name a file")),
            false => Ok(result),
        }
    }

    /// Points along an axis.
    pub fn points(&self) -> usize {
        self.points
    }

    /// Samples in all files.
    pub fn samples(&self) -> usize {
        self.files.last().map_or(0, |part| part.first + part.dataset.samples())
    }

    /// What is odd, or could not be checked.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Place of the first point for each channel of the state of a sample, in spacings of the points.
    pub fn offsets(&self, sample: usize) -> &[Vec<f64>] {
        &self.part(sample).offsets
    }

    /// The file of a sample, and its number there.
    pub fn place(&self, sample: usize) -> (&Path, usize) {
        let part = self.part(sample);
        (part.dataset.path(), sample - part.first)
    }

    /// Whether every sample has so many frames; `name` and `value` are what asks for them.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if one has not.
    pub fn require(&self, frames: usize, name: &str, value: f64) -> Result<()> {
        for Part { dataset, skip, stride, .. } in &self.files {
            let there = dataset.times().len().saturating_sub(*skip).div_ceil(*stride);
            if frames > there {
                let path = dataset.path().display();
                let rule = format!(
                    "needs {frames} frames, the past among them, and {path} has {there}, {} apart",
                    self.spacing
                );
                return Err(Error::parameter(name, value, rule));
            }
        }
        Ok(())
    }

    /// Shows the frames of one sample, `[channel, x..]`, a block in memory at a time.
    ///
    /// # Errors
    ///
    /// Those of [`Dataset::read`] and of `show`, and [`Error::Format`] for a value that is not finite.
    pub fn read(
        &self,
        sample: usize,
        frames: Range<usize>,
        mut show: impl FnMut(usize, ArrayViewD<f64>) -> Result<()>,
    ) -> Result<()> {
        let Part { dataset, first, fields, skip, stride, .. } = self.part(sample);
        let block = (BLOCK / dataset.grid().shape().iter().product::<usize>()).max(1);
        for begin in frames.clone().step_by(block) {
            let end = (begin + block).min(frames.end);
            let stored = skip + begin * stride..skip + (end - 1) * stride + 1;
            let parts: Vec<ArrayD<f64>> = fields
                .iter()
                .map(|field| dataset.read(field, sample - first, stored.clone(), *stride))
                .collect::<Result<_>>()?;
            let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
            let all = concatenate(Axis(1), &views).expect("fields on one grid");
            for (frame, values) in (begin..end).zip(all.outer_iter()) {
                if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
                    let (sample, stored) = (sample - first, skip + frame * stride);
                    let message =
                        format!("{}: sample {sample}, frame {stored}: {bad}, must be finite", fields.join(", "));
                    return Err(Error::format(dataset.path(), message));
                }
                show(frame, values)?;
            }
        }
        Ok(())
    }

    fn part(&self, sample: usize) -> &Part {
        assert!(sample < self.samples(), "sample {sample} of {}", self.samples());
        self.files.iter().rfind(|part| part.first <= sample).expect("the first file begins with sample 0")
    }
}

/// Points along an axis of a box that is as expected.
fn box_of(dataset: &Dataset, expected: &Expected) -> Result<usize> {
    let bad = |message: String| Error::format(dataset.path(), message);
    let (grid, (name, length)) = (dataset.grid(), expected.length);
    if grid.dim() != expected.dim {
        return Err(bad(format!("{} space axes, must be {}", grid.dim(), expected.dim)));
    }
    if let Some(&found) = grid.lengths().iter().find(|found| !agree(**found, length)) {
        return Err(bad(format!("a period of {found} in the file, but {name} = {length}: they must agree")));
    }
    let points = grid.shape()[0];
    if grid.shape().iter().any(|&n| n != points) {
        return Err(bad(format!("{:?} points, must be as many along all axes", grid.shape())));
    }
    match dataset.layout() {
        Layout::Well => {
            let source = hdf5::open(dataset.path())?;
            let kind = dataset.attributes().get("grid_type").and_then(Attr::as_text).unwrap_or("cartesian");
            if kind != "cartesian" {
                return Err(bad(format!("grid_type {kind:?}, must be \"cartesian\"")));
            }
            let group = "/boundary_conditions";
            let members = if source.contains(group) { source.members(group)? } else { Vec::new() };
            for member in members.iter().filter(|member| member.is_group) {
                let attributes = source.attributes(&format!("{group}/{}", member.name))?;
                let kind = attributes.get("bc_type").and_then(Attr::as_text).unwrap_or("PERIODIC");
                if !kind.eq_ignore_ascii_case("periodic") {
                    return Err(bad(format!("{group}/{}: bc_type {kind:?}, all axes must be periodic", member.name)));
                }
            }
        }
        // The generator of the incompressible sets has walls: https://github.com/pdebench/PDEBench.
        Layout::PdeBench if dataset.field("force").is_ok() => {
            return Err(
                bad("incompressible flow of PDEBench lies between walls, all axes must be periodic".to_owned()),
            );
        }
        _ => {}
    }
    Ok(points)
}

/// First frame that is used, and stored frames from one to the next.
fn frames_of(dataset: &Dataset, skip: f64, (name, spacing): (&str, f64)) -> Result<(usize, usize)> {
    let bad = |message: String| Error::format(dataset.path(), message);
    let times = dataset.times();
    let [first, .., last] = times else {
        return Err(bad(format!("{} frames, must be at least 2", times.len())));
    };
    let stored = (last - first) / (times.len() - 1) as f64;
    let expected = |index: usize| first + index as f64 * stored;
    // Times in single precision are off by more than the mean of their differences.
    if !(stored > 0.0) || times.iter().enumerate().any(|(i, t)| (t - expected(i)).abs() > 1e-2 * stored) {
        return Err(bad("the times of the frames must be equally spaced".to_owned()));
    }
    let stride = (spacing / stored).round();
    if stride < 1.0 || !agree(stride * stored, spacing) {
        return Err(bad(format!("a frame every {stored}, must divide {name} = {spacing}")));
    }
    let left_out = (skip / stored).round();
    if (left_out * stored - skip).abs() > TOLERANCE * stored * left_out.max(1.0) {
        let rule = format!("must be a multiple of the {stored} between frames of {}", dataset.path().display());
        return Err(Error::parameter("data.source.skip", skip, rule));
    }
    Ok((left_out as usize, stride as usize))
}

/// Refuses a file that states another equation or other coefficients; notes what it does not state.
fn equation_of(dataset: &Dataset, expected: &Expected, notes: &mut Vec<String>) -> Result<()> {
    let bad = |message: String| Error::format(dataset.path(), message);
    let id = dataset.attributes().get("equation_id").and_then(Attr::as_text);
    if let Some(id) = id.filter(|id| *id != expected.equation) {
        return Err(bad(format!("equation {id} in the file, must be {}", expected.equation)));
    }
    let mut unknown = Vec::new();
    for &(name, ours, value) in &expected.coefficients {
        let found =
            dataset.parameters().iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, &found)| found);
        let found = match found {
            // PDEBench writes the viscosity of its Burgers equation as Nu / pi (Takamoto et al., NeurIPS 2022, app. D).
            Some(nu) if dataset.layout() == Layout::PdeBench && expected.dim == 1 => nu / std::f64::consts::PI,
            Some(found) => found,
            // Files of this toolkit state all that is not zero.
            None if id.is_some() => 0.0,
            None => {
                unknown.push(ours);
                continue;
            }
        };
        if !agree(found, value) {
            return Err(bad(format!("{name} = {found} in the file, but {ours} = {value}: they must agree")));
        }
    }
    if !unknown.is_empty() {
        let path = dataset.path().display();
        notes.push(format!("{path} does not state, so that nobody checked: {}", unknown.join(", ")));
    }
    Ok(())
}

/// Fields that make the state.
fn fields_of(dataset: &Dataset, wanted: &[String], expected: &Expected) -> Result<Vec<String>> {
    let usual = expected.fields.iter().find(|names| names.iter().all(|name| dataset.field(name).is_ok()));
    let names: Vec<String> = match (wanted.is_empty(), usual) {
        (false, _) => wanted.to_vec(),
        (true, Some(names)) => names.iter().map(|name| (*name).to_owned()).collect(),
        (true, None) => {
            let names: Vec<_> = dataset.fields().iter().map(|field| field.name.as_str()).collect();
            let usual: Vec<_> = expected.fields.iter().map(|names| names.join(" and ")).collect();
            let message = format!(
                "fields {}, expected {}: name them in data.source.fields",
                names.join(", "),
                usual.join(", or ")
            );
            return Err(Error::format(dataset.path(), message));
        }
    };
    let mut channels = 0;
    for name in &names {
        let refused = |e: Error| Error::format(dataset.path(), format!("data.source.fields: {e}"));
        channels += dataset.field(name).map_err(refused)?.channels;
    }
    match (1..=expected.dim).contains(&channels) {
        true => Ok(names),
        false => {
            let message = format!("{}: {channels} components, must be 1 to {}", names.join(", "), expected.dim);
            Err(Error::format(dataset.path(), message))
        }
    }
}

/// Place of the first point for each channel: the file's coordinates, or the offset that a variable states.
fn offsets_of(dataset: &Dataset, fields: &[String]) -> Result<Vec<Vec<f64>>> {
    let grid = dataset.grid();
    let axes = ["x", "y", "z"];
    let coordinate = |axis: usize| -> Result<f64> {
        let name = match dataset.layout() {
            Layout::Well => format!("/dimensions/{}", axes[axis]),
            Layout::PdeBench => format!("/{}-coordinate", axes[axis]),
            Layout::NetCdf => format!("/{}", axes[axis]),
            Layout::Matlab | Layout::Npy => return Ok(0.0),
        };
        let source = hdf5::open(dataset.path())?;
        let first = if source.contains(&name) { source.read(&name, &[0], &[1])?.into_real::<f64>() } else { vec![0.0] };
        // In whole spacings; the box begins at 0 or anywhere else.
        Ok(first[0] * grid.shape()[axis] as f64 / grid.lengths()[axis])
    };
    let points: Vec<f64> = (0..grid.dim()).map(coordinate).collect::<Result<_>>()?;
    let mut offsets = Vec::new();
    for name in fields {
        let field = dataset.field(name)?;
        let stated = match field.attributes.get("offset") {
            Some(Attr::Floats(offset)) if offset.len() == grid.dim() => offset.clone(),
            _ => points.clone(),
        };
        offsets.extend(std::iter::repeat_n(stated, field.channels));
    }
    Ok(offsets)
}

fn agree(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// One text or a list of texts.
fn texts<'de, D: Deserializer<'de>, T: From<String>>(deserializer: D) -> std::result::Result<Vec<T>, D::Error> {
    struct Texts<T>(PhantomData<T>);
    impl<'de, T: From<String>> Visitor<'de> for Texts<T> {
        type Value = Vec<T>;
        fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
            f.write_str("a text or a list of texts")
        }
        fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Vec<T>, E> {
            Ok(vec![T::from(text.to_owned())])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(text) = seq.next_element::<String>()? {
                list.push(T::from(text));
            }
            Ok(list)
        }
    }
    deserializer.deserialize_any(Texts(PhantomData))
}
