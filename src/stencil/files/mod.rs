//! Trajectories from data sets: which files, whether they are of the equation at hand, and their frames.

mod check;

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

use crate::data::{Dataset, OpenOptions};
use crate::error::{Error, Result};

/// Values read at a time, per field: 8 MiB of doubles.
const BLOCK: usize = 1 << 20;

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
    /// Layout, by its name in [`Layout::name`](crate::data::Layout::name); detected if left out.
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
            let points = check::box_of(&dataset, expected)?;
            if !result.files.is_empty() && points != result.points {
                let message = format!("{points} points along an axis, but {} in the file before", result.points);
                return Err(Error::format(path, message));
            }
            let (skip, stride) = check::frames_of(&dataset, source.skip, expected.spacing)?;
            check::equation_of(&dataset, expected, &mut result.notes)?;
            let fields = check::fields_of(&dataset, &source.fields, expected)?;
            let offsets = check::offsets_of(&dataset, &fields)?;
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::well::{FieldSpec, Header, Precision, Writer};
    use crate::field::Grid;

    /// A file with one field whose values are given by sample, frame and place in the frame; a frame every 0.5 from t = 3
    /// on.
    pub(crate) fn file(
        path: &Path,
        change: impl FnOnce(&mut Header),
        value: impl Fn(usize, usize, usize) -> f64,
    ) -> PathBuf {
        let times = (0..9).map(|i| 3.0 + 0.5 * f64::from(i)).collect();
        let mut header = Header::new("a", Grid::cube(1, 8, 64.0).unwrap(), vec![FieldSpec::new("u", 0)], times, 3);
        header.equation_id = "kuramoto_sivashinsky".to_owned();
        header.parameters.insert("nu".to_owned(), 1.0);
        header.precision = Precision::F64;
        change(&mut header);
        let mut writer = Writer::create(path, &header).unwrap();
        let frame = header.fields[0].sample_shape(1, &header.grid).iter().product::<usize>();
        for sample in 0..header.samples {
            let all = |i| value(sample, i / frame, i % frame);
            let values: Vec<f64> = (0..header.times.len() * frame).map(all).collect();
            let fields: Vec<_> = header.fields.iter().map(|_| values.as_slice().into()).collect();
            writer.write_sample(sample, &fields, 0, 0.0).unwrap();
        }
        writer.finish().unwrap();
        path.to_owned()
    }

    pub(crate) fn source(files: &[PathBuf]) -> Source {
        let files = files.to_vec();
        Source { files, fields: Vec::new(), starts: None, skip: 0.0, layout: None, extent: None, dt: None }
    }

    fn expected() -> Expected {
        Expected {
            dim: 1,
            length: ("equation.length", 64.0),
            spacing: ("scheme.dt", 1.0),
            equation: "kuramoto_sivashinsky",
            coefficients: vec![("nu", "equation.nu", 1.0)],
            fields: &[&["u"]],
        }
    }

    #[test]
    fn samples_are_numbered_through_the_files_and_frames_are_the_model_s_own() {
        let folder = tempfile::tempdir().unwrap();
        let value = |file: usize| move |s: usize, t: usize, x: usize| (1000 * file + 100 * s + 10 * t + x) as f64;
        let files = [0, 1].map(|i| file(&folder.path().join(format!("{i}.hdf5")), |_| {}, value(i)));
        let files = Files::open(&Source { skip: 1.5, ..source(&files) }, &expected()).unwrap();
        assert_eq!((files.samples(), files.points(), files.notes().len()), (6, 8, 0));
        let mut shown = Vec::new();
        let keep = |frame, field: ArrayViewD<f64>| {
            assert_eq!(field.shape(), [1, 8]);
            shown.push((frame, field[[0, 7]]));
            Ok(())
        };
        files.read(4, 1..3, keep).unwrap();
        // Sample 1 of the second file; frames 3 + 2 and 3 + 4 of the stored ones.
        assert_eq!(shown, [(1, 1157.0), (2, 1177.0)]);
        assert_eq!(files.place(4).1, 1);
        assert!(files.require(3, "data.time", 2.0).is_ok());
        let message = files.require(4, "data.time", 3.0).unwrap_err().to_string();
        assert!(message.contains("data.time = 3") && message.contains("needs 4 frames") && message.contains("has 3"));
    }

    #[test]
    fn parts_follow_one_another_or_begin_where_they_are_told_and_never_overlap() {
        let mut source = source(&["a.hdf5".into()]);
        assert_eq!(source.split([3, 0, 2], 5).unwrap(), [0..3, 3..3, 3..5]);
        let message = source.split([3, 1, 2], 5).unwrap_err().to_string();
        assert!(
            message.contains("data.test: samples = 4..6") && message.contains("the 5 samples of a.hdf5"),
            "{message}"
        );
        source.starts = Some([2, 10, 0]);
        assert_eq!(source.split([3, 0, 2], 5).unwrap(), [2..5, 10..10, 0..2]);
        let message = source.split([3, 0, 3], 5).unwrap_err().to_string();
        assert!(message.contains("data.source.starts = [2, 10, 0]"), "{message}");
    }

    #[test]
    fn files_of_something_else_are_refused_with_both_values() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.hdf5");
        let refused = |change: &dyn Fn(&mut Header), want: &dyn Fn(&mut Expected), message: &str| {
            let file = file(&path, |header| change(header), |_, _, _| 1.0);
            let mut expected = expected();
            want(&mut expected);
            let found = Files::open(&source(&[file]), &expected).err().expect(message).to_string();
            assert!(found.starts_with(path.to_str().unwrap()) && found.contains(message), "{found} / {message}");
            std::fs::remove_file(&path).unwrap();
        };
        let same = |_: &mut Header| {};
        refused(&same, &|e| e.length.1 = 22.0, "a period of 64 in the file, but equation.length = 22");
        refused(&same, &|e| e.dim = 2, "1 space axes, must be 2");
        refused(&same, &|e| e.spacing.1 = 0.75, "a frame every 0.5, must divide scheme.dt = 0.75");
        refused(&same, &|e| e.spacing.1 = 0.25, "a frame every 0.5, must divide scheme.dt = 0.25");
        refused(&same, &|e| e.equation = "burgers", "equation kuramoto_sivashinsky in the file, must be burgers");
        refused(&same, &|e| e.coefficients[0].2 = 2.0, "nu = 1 in the file, but equation.nu = 2");
        // Files of this toolkit state all coefficients: what is not there is zero.
        refused(
            &same,
            &|e| e.coefficients.push(("drag", "flow.drag", 0.1)),
            "drag = 0 in the file, but flow.drag = 0.1",
        );
        refused(&|h| h.fields[0].name = "w".to_owned(), &|_| {}, "fields w, expected u");
        refused(&|h| h.times[4] += 0.2, &|_| {}, "must be equally spaced");
        refused(&|h| h.times.truncate(1), &|_| {}, "1 frames, must be at least 2");
    }

    #[test]
    fn walls_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(&folder.path().join("a.hdf5"), |_| {}, |_, _, _| 1.0);
        let mut bytes = std::fs::read(&path).unwrap();
        let (periodic, wall) = (b"PERIODIC", b"WALL\0\0\0\0");
        let at = bytes.windows(8).position(|window| window == periodic).expect("the condition is in the file");
        bytes[at..at + 8].copy_from_slice(wall);
        std::fs::write(&path, bytes).unwrap();
        let message = Files::open(&source(&[path]), &expected()).err().expect("walls").to_string();
        assert!(message.contains("bc_type \"WALL\"") && message.contains("must be periodic"), "{message}");
    }

    #[test]
    fn a_value_that_is_no_number_is_refused_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let nan = |s, t, x| if (s, t, x) == (1, 6, 3) { f64::NAN } else { 1.0 };
        let path = file(&folder.path().join("a.hdf5"), |_| {}, nan);
        let files = Files::open(&source(&[path]), &expected()).unwrap();
        assert!(files.read(1, 0..3, |_, _| Ok(())).is_ok());
        let message = files.read(1, 0..4, |_, _| Ok(())).unwrap_err().to_string();
        assert!(message.contains("u: sample 1, frame 6: NaN, must be finite"), "{message}");
    }

    #[test]
    fn the_fingerprint_tells_contents_apart_and_not_names() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b, c] = [("a", 1.0), ("b", 1.0), ("c", 2.0)]
            .map(|(name, x)| file(&folder.path().join(name), |_| {}, |_, _, _| x))
            .map(|path| source(&[path]).fingerprint().unwrap());
        assert!(a == b && a != c);
    }

    #[test]
    fn one_file_may_be_given_without_a_list() {
        let source: Source = toml::from_str("files = \"a.hdf5\"").unwrap();
        assert_eq!(source, super::tests::source(&["a.hdf5".into()]));
        let two: Source = toml::from_str("files = [\"a.hdf5\", \"b.hdf5\"]\nstarts = [0, 1, 2]").unwrap();
        assert_eq!((two.files.len(), two.starts), (2, Some([0, 1, 2])));
        assert!(toml::from_str::<Source>("files = 3").is_err());
    }
}
