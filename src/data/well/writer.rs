//! Writing Well+ files; see the module documentation for the order that makes it safe.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::header::{FieldSpec, Header, Precision, Symmetry};
use super::{
    AXES, COMPLETE, CONVENTIONS, ERROR_CURVES, ERROR_SPACE, ERROR_TIME, SAMPLE_SEED, SCHEMA_VERSION, WALL_SECONDS,
};
use crate::data::hdf5::{self, Attr, Create, Dtype, Sink, Slice};
use crate::error::{Error, Result};

/// Bytes that are converted and written at a time.
const BLOCK: usize = 1 << 20;

/// The numbers of one field of one sample, row-major `[T, x.., component..]`; rounded to the file's precision.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum FieldData<'a> {
    F32(&'a [f32]),
    F64(&'a [f64]),
}

impl FieldData<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }
}

impl<'a> From<&'a [f32]> for FieldData<'a> {
    fn from(v: &'a [f32]) -> Self {
        Self::F32(v)
    }
}

impl<'a> From<&'a [f64]> for FieldData<'a> {
    fn from(v: &'a [f64]) -> Self {
        Self::F64(v)
    }
}

/// A Well+ file being filled, sample by sample, in any order.
///
/// # Example
///
/// ```
/// use parseval::data::well::{FieldSpec, Header, Writer};
/// use parseval::field::Grid;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("waves.hdf5");
/// let grid = Grid::new(&[8], &[1.0])?;
/// let header = Header::new("waves", grid, vec![FieldSpec::new("u", 0)], vec![0.0, 0.1], 2);
/// let mut writer = Writer::create(&path, &header)?;
/// writer.write_sample(0, &[(&[0.5f64; 16][..]).into()], 7, 0.01)?;
/// drop(writer); // the run is interrupted here
///
/// let (mut writer, completed) = Writer::resume(&path)?;
/// assert_eq!(completed, [true, false]);
/// writer.write_sample(1, &[(&[0.25f64; 16][..]).into()], 8, 0.01)?;
/// writer.finish()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Writer {
    path: PathBuf,
    file: File,
    precision: Precision,
    fields: Vec<Place>,
    complete: Vec<bool>,
    complete_at: u64,
    seed_at: u64,
    wall_at: u64,
    error_time_at: u64,
    error_space_at: u64,
    error_curves_at: [u64; 2],
    frames: usize,
    block: Vec<u8>,
}

/// Where a field lies.
struct Place {
    name: String,
    sample_shape: Vec<usize>,
    offset: u64,
}

impl Place {
    fn values(&self) -> usize {
        self.sample_shape.iter().product()
    }
}

impl Writer {
    /// Makes the file with all its metadata and storage; no sample is complete yet.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a header that breaks a rule; [`Error::Io`] if the file exists already (resume it
    /// or remove it) or cannot be made.
    pub fn create(path: &Path, header: &Header) -> Result<Self> {
        header.validate()?;
        if path.exists() {
            let refusal = io::Error::new(io::ErrorKind::AlreadyExists, "exists already: resume it or remove it");
            return Err(Error::io(path, refusal));
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".tmp");
        let partial = PathBuf::from(partial);
        let made = write_metadata(&partial, header).and_then(|()| {
            let sync = || -> io::Result<()> {
                File::open(&partial)?.sync_all()?;
                fs::rename(&partial, path)?;
                sync_folder(path)
            };
            sync().map_err(|e| Error::io(path, e))
        });
        if let Err(error) = made {
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        Ok(Self::resume(path)?.0)
    }

    /// Opens a file made by [`Writer::create`] to go on; also tells which samples are complete.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be opened for writing, [`Error::Format`] if it is not a whole Well+ file.
    pub fn resume(path: &Path) -> Result<(Self, Vec<bool>)> {
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(|e| Error::io(path, e))?;
        let len = file.metadata().map_err(|e| Error::io(path, e))?.len();
        let source = hdf5::open(path)?;
        let bad = |what: String| Error::format(path, what);
        let conventions = source.attributes("/")?.get("Conventions").and_then(|a| a.as_text().map(str::to_owned));
        if conventions.as_deref() != Some(CONVENTIONS) {
            return Err(bad(format!("Conventions are {conventions:?}, not {CONVENTIONS:?}: cannot be resumed")));
        }
        let place = |dataset: &str, bytes: usize| -> Result<(Vec<usize>, u64)> {
            let info = source.info(dataset)?;
            let offset = info.offset.ok_or_else(|| bad(format!("{dataset} is not contiguous: cannot be resumed")))?;
            let size = info.shape.iter().product::<usize>() * bytes;
            if offset.checked_add(size as u64).is_none_or(|end| end > len) {
                return Err(bad(format!("{dataset} ends beyond the end of the file: the file is truncated")));
            }
            Ok((info.shape, offset))
        };

        let (shape, complete_at) = place(COMPLETE, 1)?;
        let complete: Vec<bool> = hdf5::read_all(source.as_ref(), COMPLETE)?.iter().map(|&c| c == 1.0).collect();
        let samples = shape.iter().product::<usize>();
        let order = source.attributes("/provenance")?.get("field_order").and_then(Attr::as_texts);
        let order = order.ok_or_else(|| bad("/provenance: attribute field_order is missing".into()))?;
        let mut fields = Vec::new();
        let mut precision = Precision::F32;
        for name in order {
            let dataset = (0..3).map(|rank| field_path(rank, &name)).find(|p| source.contains(p));
            let dataset = dataset.ok_or_else(|| bad(format!("field {name} is missing")))?;
            precision = match source.info(&dataset)?.dtype {
                Dtype::F32 => Precision::F32,
                Dtype::F64 => Precision::F64,
                other => return Err(bad(format!("{dataset} holds {other:?}"))),
            };
            let (shape, offset) = place(&dataset, precision.bytes())?;
            if shape.first() != Some(&samples) {
                return Err(bad(format!("{dataset} has shape {shape:?}, but there are {samples} samples")));
            }
            fields.push(Place { name, sample_shape: shape[1..].to_vec(), offset });
        }
        let writer = Self {
            path: path.to_owned(),
            file,
            precision,
            fields,
            complete: complete.clone(),
            complete_at,
            seed_at: place(SAMPLE_SEED, 8)?.1,
            wall_at: place(WALL_SECONDS, 8)?.1,
            error_time_at: place(ERROR_TIME, 8)?.1,
            error_space_at: place(ERROR_SPACE, 8)?.1,
            error_curves_at: [place(ERROR_CURVES[0], 8)?.1, place(ERROR_CURVES[1], 8)?.1],
            frames: source.info("/time")?.shape.iter().product(),
            block: Vec::with_capacity(BLOCK),
        };
        Ok((writer, complete))
    }

    /// Number of samples the file has room for.
    pub fn samples(&self) -> usize {
        self.complete.len()
    }

    /// Which samples are whole.
    pub fn complete(&self) -> &[bool] {
        &self.complete
    }

    /// Writes one sample and marks it complete once its numbers have reached the disk.
    ///
    /// `fields` come in the header's order; `seed` makes the sample again, `wall_seconds` is what it took. A
    /// sample written before is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for an index beyond the last sample, [`Error::Shape`] for data of the wrong size,
    /// [`Error::Io`] if the disk refuses; the sample then stays incomplete.
    pub fn write_sample(&mut self, index: usize, fields: &[FieldData], seed: u64, wall_seconds: f64) -> Result<()> {
        if fields.len() != self.fields.len() {
            return Err(Error::shape("fields of a sample", &[self.fields.len()], &[fields.len()]));
        }
        for (place, data) in self.fields.iter().zip(fields) {
            if data.len() != place.values() {
                return Err(Error::shape(&place.name, &place.sample_shape, &[data.len()]));
            }
        }
        for (field, data) in fields.iter().enumerate() {
            self.write_part(index, field, 0, *data)?;
        }
        self.complete_sample(index, seed, wall_seconds)
    }

    /// Writes consecutive numbers of one field of one sample, from number `first` of the sample's row-major order.
    ///
    /// For samples that do not fit into memory: write all parts, then call [`Writer::complete_sample`]. The first
    /// part of a sample that was complete makes it incomplete.
    ///
    /// # Errors
    ///
    /// As [`Writer::write_sample`].
    pub fn write_part(&mut self, index: usize, field: usize, first: usize, data: FieldData) -> Result<()> {
        self.check_index(index)?;
        let place = self
            .fields
            .get(field)
            .ok_or_else(|| Error::parameter("field index", field, format!("must be < {}", self.fields.len())))?;
        if first.checked_add(data.len()).is_none_or(|end| end > place.values()) {
            return Err(Error::shape(format!("{} from {first}", place.name), &place.sample_shape, &[data.len()]));
        }
        let at = place.offset + ((index * place.values() + first) * self.precision.bytes()) as u64;
        self.put_values(index, at, data).map_err(|e| Error::io(&self.path, e))
    }

    /// Marks a sample complete once its numbers have reached the disk.
    ///
    /// # Errors
    ///
    /// As [`Writer::write_sample`].
    pub fn complete_sample(&mut self, index: usize, seed: u64, wall_seconds: f64) -> Result<()> {
        self.check_index(index)?;
        self.put_flag(index, seed, wall_seconds).map_err(|e| Error::io(&self.path, e))
    }

    fn put_values(&mut self, index: usize, at: u64, data: FieldData) -> io::Result<()> {
        if self.complete[index] {
            self.put(self.complete_at + index as u64, &[0])?;
            self.file.sync_data()?;
            self.complete[index] = false;
        }
        self.file.seek(SeekFrom::Start(at))?;
        write_values(&mut self.file, data, self.precision, &mut self.block)
    }

    fn put_flag(&mut self, index: usize, seed: u64, wall_seconds: f64) -> io::Result<()> {
        self.put(self.seed_at + 8 * index as u64, &seed.to_le_bytes())?;
        self.put(self.wall_at + 8 * index as u64, &wall_seconds.to_le_bytes())?;
        // The flag may reach the disk only after the numbers.
        self.file.sync_data()?;
        self.put(self.complete_at + index as u64, &[1])?;
        self.complete[index] = true;
        Ok(())
    }

    /// Records the measured accuracy of a sample; NaN for what was not measured.
    ///
    /// # Errors
    ///
    /// As [`Writer::write_sample`].
    pub fn set_reference_errors(&mut self, index: usize, time: f64, space: f64) -> Result<()> {
        self.check_index(index)?;
        let at = 8 * index as u64;
        self.put(self.error_time_at + at, &time.to_le_bytes())
            .and_then(|()| self.put(self.error_space_at + at, &space.to_le_bytes()))
            .map_err(|e| Error::io(&self.path, e))
    }

    /// Records the measured errors of a sample at every frame; the last ones also as its reference errors.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] unless there is one number a frame, and as [`Writer::write_sample`].
    pub fn set_error_curves(&mut self, index: usize, time: &[f64], space: &[f64]) -> Result<()> {
        self.check_index(index)?;
        for (slot, curve) in [time, space].into_iter().enumerate() {
            if curve.len() != self.frames {
                return Err(Error::shape("error curve", &[self.frames], &[curve.len()]));
            }
            let bytes: Vec<u8> = curve.iter().flat_map(|e| e.to_le_bytes()).collect();
            let at = self.error_curves_at[slot] + (index * bytes.len()) as u64;
            self.put(at, &bytes).map_err(|e| Error::io(&self.path, e))?;
        }
        self.set_reference_errors(index, time[self.frames - 1], space[self.frames - 1])
    }

    /// Flushes everything to the disk and closes the file.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the disk refuses, [`Error::Format`] if samples are missing (drop the writer instead to
    /// leave a file that is to be resumed).
    pub fn finish(self) -> Result<()> {
        self.file.sync_all().map_err(|e| Error::io(&self.path, e))?;
        let missing: Vec<usize> = (0..self.samples()).filter(|&i| !self.complete[i]).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(Error::format(&self.path, format!("samples {missing:?} were never written")))
        }
    }

    /// Sends further bytes to another file, to test what a failing disk does.
    #[cfg(test)]
    pub(super) fn redirect(&mut self, file: File) {
        self.file = file;
    }

    fn check_index(&self, index: usize) -> Result<()> {
        if index < self.samples() {
            return Ok(());
        }
        Err(Error::parameter("sample index", index, format!("must be < {}", self.samples())))
    }

    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(bytes)
    }
}

/// Writes numbers, little-endian, rounded to `precision`, a block at a time.
fn write_values(file: &mut File, data: FieldData, precision: Precision, block: &mut Vec<u8>) -> io::Result<()> {
    macro_rules! blocks {
        ($values:expr, $as:ty) => {
            for values in $values.chunks(BLOCK / size_of::<$as>()) {
                block.clear();
                block.extend(values.iter().flat_map(|&x| (x as $as).to_le_bytes()));
                file.write_all(block)?;
            }
        };
    }
    match (data, precision) {
        (FieldData::F32(v), Precision::F32) => blocks!(v, f32),
        (FieldData::F32(v), Precision::F64) => blocks!(v, f64),
        (FieldData::F64(v), Precision::F32) => blocks!(v, f32),
        (FieldData::F64(v), Precision::F64) => blocks!(v, f64),
    }
    Ok(())
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn field_path(rank: usize, name: &str) -> String {
    format!("/t{rank}_fields/{name}")
}

/// Everything but the samples.
fn write_metadata(path: &Path, header: &Header) -> Result<()> {
    let mut sink = hdf5::Backend::default().create(path)?;
    let sink_ref = sink.as_mut();
    root_attributes(sink_ref, header)?;
    coordinates(sink_ref, header)?;
    boundaries(sink_ref, header)?;
    scalars(sink_ref, header)?;
    for rank in 0..3 {
        fields(sink_ref, header, rank)?;
    }
    provenance(sink_ref, header)?;
    sink.close()
}

fn set(sink: &mut dyn Sink, object: &str, attributes: &[(&str, Attr)]) -> Result<()> {
    attributes.iter().try_for_each(|(name, value)| sink.attribute(object, name, value))
}

fn text(s: &str) -> Attr {
    Attr::Text(s.to_owned())
}

fn root_attributes(sink: &mut dyn Sink, header: &Header) -> Result<()> {
    let names: Vec<String> = header.parameters.keys().cloned().collect();
    set(
        sink,
        "/",
        &[
            ("dataset_name", text(&header.name)),
            ("grid_type", text("cartesian")),
            ("n_spatial_dims", Attr::Int(header.grid.dim() as i64)),
            ("n_trajectories", Attr::Int(header.samples as i64)),
            ("simulation_parameters", Attr::Texts(names)),
            ("Conventions", text(CONVENTIONS)),
            ("title", text(&header.title)),
            ("summary", text(&header.summary)),
            ("license", text(&header.license)),
            ("creator_name", text(&header.creator)),
            ("equation", text(&header.equation)),
            ("equation_id", text(&header.equation_id)),
            ("nondimensional", Attr::Bool(header.nondimensional)),
            ("schema_version", Attr::Int(SCHEMA_VERSION)),
        ],
    )?;
    header.parameters.iter().try_for_each(|(name, &value)| sink.attribute("/", name, &Attr::Float(value)))
}

/// Scales at the root, where netCDF looks for them, and The Well's names as hard links.
fn coordinates(sink: &mut dyn Sink, header: &Header) -> Result<()> {
    let grid = &header.grid;
    let dims = &AXES[..grid.dim()];
    sink.group("/dimensions")?;
    sink.attribute("/dimensions", "spatial_dims", &Attr::Texts(dims.iter().map(|&d| d.to_owned()).collect()))?;

    let mut scale = |name: &str, values: Slice, dtype: Dtype, attributes: &[(&str, Attr)]| -> Result<()> {
        let path = format!("/{name}");
        let n = values.len();
        sink.dataset(&path, &Create::contiguous(&[n], dtype))?;
        sink.write(&path, &[0], &[n], values)?;
        sink.scale(&path, name)?;
        set(sink, &path, attributes)?;
        let in_the_well = name == "time" || dims.contains(&name);
        if in_the_well { sink.link(&path, &format!("/dimensions{path}")) } else { Ok(()) }
    };
    let count = |n: usize| (0..n as i64).collect::<Vec<i64>>();
    scale("sample", Slice::I64(&count(header.samples)), Dtype::I64, &[("units", text("1"))])?;
    if header.fields.iter().any(|f| f.rank > 0) {
        scale("component", Slice::I64(&count(grid.dim())), Dtype::I64, &[("units", text("1"))])?;
    }
    let mut time = vec![
        ("units", text(&header.time_units)),
        ("axis", text("T")),
        ("sample_varying", Attr::Bool(false)),
        ("time_varying", Attr::Bool(true)),
        ("dt_solver", Attr::Float(header.provenance.solver_dt)),
    ];
    if let [first, second, ..] = header.times[..] {
        time.push(("dt_saved", Attr::Float(second - first)));
    }
    scale("time", Slice::F64(&header.times), Dtype::F64, &time)?;
    for (axis, &name) in dims.iter().enumerate() {
        let attributes = [
            ("units", text(&header.length_units)),
            ("axis", text(&name.to_uppercase())),
            ("periodic", Attr::Bool(true)),
            ("extent", Attr::Float(grid.lengths()[axis])),
            ("sample_varying", Attr::Bool(false)),
            ("time_varying", Attr::Bool(false)),
        ];
        scale(name, Slice::F64(&grid.coordinates(axis)), Dtype::F64, &attributes)?;
    }
    Ok(())
}

/// The Well marks a periodic axis by a mask that is true at its two ends.
fn boundaries(sink: &mut dyn Sink, header: &Header) -> Result<()> {
    sink.group("/boundary_conditions")?;
    for (axis, name) in AXES[..header.grid.dim()].iter().enumerate() {
        let group = format!("/boundary_conditions/{name}_periodic");
        sink.group(&group)?;
        set(
            sink,
            &group,
            &[
                ("associated_dims", Attr::Texts(vec![(*name).to_owned()])),
                ("associated_fields", Attr::Texts(Vec::new())),
                ("bc_type", text("PERIODIC")),
                ("sample_varying", Attr::Bool(false)),
                ("time_varying", Attr::Bool(false)),
            ],
        )?;
        let n = header.grid.shape()[axis];
        let mask: Vec<bool> = (0..n).map(|i| i == 0 || i + 1 == n).collect();
        let path = format!("{group}/mask");
        sink.dataset(&path, &Create::contiguous(&[n], Dtype::Bool))?;
        sink.write(&path, &[0], &[n], Slice::Bool(&mask))?;
    }
    Ok(())
}

fn scalars(sink: &mut dyn Sink, header: &Header) -> Result<()> {
    sink.group("/scalars")?;
    sink.attribute("/scalars", "field_names", &Attr::Texts(header.parameters.keys().cloned().collect()))?;
    for (name, &value) in &header.parameters {
        let path = format!("/scalars/{name}");
        sink.dataset(&path, &Create::contiguous(&[], Dtype::F64))?;
        sink.write(&path, &[], &[], Slice::F64(&[value]))?;
        set(sink, &path, &[("sample_varying", Attr::Bool(false)), ("time_varying", Attr::Bool(false))])?;
    }
    Ok(())
}

fn fields(sink: &mut dyn Sink, header: &Header, rank: usize) -> Result<()> {
    let group = format!("/t{rank}_fields");
    let fields: Vec<&FieldSpec> = header.fields.iter().filter(|f| f.rank == rank).collect();
    sink.group(&group)?;
    sink.attribute(&group, "field_names", &Attr::Texts(fields.iter().map(|f| f.name.clone()).collect()))?;
    for field in fields {
        let path = field_path(rank, &field.name);
        let dim = header.grid.dim();
        let mut shape = vec![header.samples];
        shape.extend(field.sample_shape(header.times.len(), &header.grid));
        let dtype = match header.precision {
            Precision::F32 => Dtype::F32,
            Precision::F64 => Dtype::F64,
        };
        sink.dataset(&path, &Create::contiguous(&shape, dtype))?;
        let mut scales = vec!["/sample".to_owned()];
        scales.extend(field.time_varying.then(|| "/time".to_owned()));
        scales.extend(AXES[..dim].iter().map(|name| format!("/{name}")));
        scales.extend(std::iter::repeat_n("/component".to_owned(), rank));
        for (axis, scale) in scales.iter().enumerate() {
            sink.attach(&path, axis, scale)?;
        }
        let mut attributes = vec![
            ("sample_varying", Attr::Bool(true)),
            ("time_varying", Attr::Bool(field.time_varying)),
            ("dim_varying", Attr::Bools(vec![true; dim])),
            ("units", text(&field.units)),
            ("long_name", text(&field.long_name)),
            ("location", text("node")),
            ("offset", Attr::Floats(vec![0.0; dim])),
        ];
        if rank == 2 {
            attributes.push(("symmetric", Attr::Bool(field.symmetry == Symmetry::Symmetric)));
            attributes.push(("antisymmetric", Attr::Bool(field.symmetry == Symmetry::Antisymmetric)));
        }
        attributes.extend(field.standard_name.as_deref().map(|name| ("standard_name", text(name))));
        attributes.extend(field.valid_max_abs.map(|max| ("valid_max_abs", Attr::Float(max))));
        set(sink, &path, &attributes)?;
    }
    Ok(())
}

fn provenance(sink: &mut dyn Sink, header: &Header) -> Result<()> {
    let p = &header.provenance;
    sink.group("/provenance")?;
    set(
        sink,
        "/provenance",
        &[
            ("generator", text(&p.generator)),
            ("git_commit", text(&p.git_commit)),
            ("git_dirty", Attr::Bool(p.git_dirty)),
            ("rustc", text(&p.rustc)),
            ("target_cpu", text(&p.target_cpu)),
            ("config_toml", text(&p.config_toml)),
            ("command_line", text(&p.command_line)),
            ("seed", Attr::Unsigned(p.seed)),
            ("rng", text(&p.rng)),
            ("started_utc", text(&p.started_utc)),
            ("hostname_hash", text(&p.hostname_hash)),
            ("threads", Attr::Int(p.threads as i64)),
            ("solver", text(&p.solver)),
            ("solver_dt", Attr::Float(p.solver_dt)),
            ("dealiasing", text(&p.dealiasing)),
            ("precision", text(&p.precision)),
            ("reference_error_time_method", text(&p.reference_error_time_method)),
            ("reference_error_space_method", text(&p.reference_error_space_method)),
            ("field_order", Attr::Texts(header.fields.iter().map(|f| f.name.clone()).collect())),
        ],
    )?;
    let b = header.samples;
    let unknown = vec![f64::NAN; b];
    sink.dataset(COMPLETE, &Create::contiguous(&[b], Dtype::U8))?;
    sink.write(COMPLETE, &[0], &[b], Slice::U8(&vec![0; b]))?;
    sink.dataset(SAMPLE_SEED, &Create::contiguous(&[b], Dtype::U64))?;
    sink.write(SAMPLE_SEED, &[0], &[b], Slice::U64(&vec![0; b]))?;
    for path in [WALL_SECONDS, ERROR_TIME, ERROR_SPACE] {
        sink.dataset(path, &Create::contiguous(&[b], Dtype::F64))?;
        sink.write(path, &[0], &[b], Slice::F64(&unknown))?;
    }
    let frames = header.times.len();
    let unknown = vec![f64::NAN; b * frames];
    for path in ERROR_CURVES {
        sink.dataset(path, &Create::contiguous(&[b, frames], Dtype::F64))?;
        sink.write(path, &[0, 0], &[b, frames], Slice::F64(&unknown))?;
    }
    Ok(())
}
