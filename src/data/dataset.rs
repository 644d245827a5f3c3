//! One in-memory view of every layout.
//!
//! A layout's file (`well/reader.rs`, `pdebench.rs`, ...) only describes where each field lies and what its axes
//! mean; the reading itself is here, once: a hyperslab a window, then a permutation of axes. Meaning never follows
//! from rank alone: the layout is asked for by name, and detection is only a default.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{ArrayD, Axis, IxDyn};

use super::hdf5::{self, Attr, Source};
use super::{matlab, netcdf, npy, pdebench, well};
use crate::error::{Error, Result};
use crate::field::{Grid, Real};

/// A family of files that agree on names and axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The Well and this toolkit's Well+.
    Well,
    /// PDEBench: flat, one group a sample, and incompressible Navier-Stokes.
    PdeBench,
    /// MATLAB v7.3 files of the Fourier neural operator, axes reversed.
    Matlab,
    /// JAX-CFD netCDF-4.
    NetCdf,
    /// APEBench: `.npy` with a `.json` beside it.
    Npy,
}

impl Layout {
    /// All layouts.
    pub const ALL: [Self; 5] = [Self::Well, Self::PdeBench, Self::Matlab, Self::NetCdf, Self::Npy];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::PdeBench => "pdebench",
            Self::Matlab => "matlab",
            Self::NetCdf => "netcdf",
            Self::Npy => "npy",
        }
    }

    /// Guesses the layout from the suffix and the names inside.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if nothing fits.
    pub fn detect(path: &Path) -> Result<Self> {
        std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        if path.extension().is_some_and(|e| e == "npy") {
            return Ok(Self::Npy);
        }
        if !hdf5::is_hdf5(path) {
            return Err(Error::format(path, "neither HDF5 nor .npy"));
        }
        let source = hdf5::open(path)?;
        if source.contains("/t0_fields") {
            return Ok(Self::Well);
        }
        if path.extension().is_some_and(|e| e == "mat") {
            return Ok(Self::Matlab);
        }
        if pdebench::looks_like(source.as_ref())? {
            return Ok(Self::PdeBench);
        }
        if netcdf::looks_like(source.as_ref())? {
            return Ok(Self::NetCdf);
        }
        let names: Vec<_> = Self::ALL.iter().map(|l| l.name()).collect();
        Err(Error::format(path, format!("the layout is not recognised; name it: one of {}", names.join(", "))))
    }
}

impl FromStr for Layout {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|l| l.name() == name)
            .ok_or_else(|| Error::parameter("layout", name, "must be well, pdebench, matlab, netcdf or npy"))
    }
}

/// More samples or frames than this come from a corrupt header.
const MOST: usize = 10_000_000;

/// What a file may leave open.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// The layout; detected if `None`.
    pub layout: Option<Layout>,
    /// Period of each axis, for files without coordinates; overrides what the file says.
    pub extent: Option<Vec<f64>>,
    /// Time between frames, for files without times; overrides what the file says.
    pub dt: Option<f64>,
}

/// Meaning of an axis of a stored array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Sample,
    Time,
    Channel,
    Space(usize),
}

/// Where a field is stored.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// One dataset, or one for each sample.
    pub datasets: Vec<String>,
    /// Meaning of each stored axis. Two channel axes are the components of a matrix.
    pub roles: Vec<Role>,
    /// Which channels of the stored ones belong to the field; all if `None`.
    pub channels: Option<Range<usize>>,
}

impl Place {
    pub fn new(dataset: impl Into<String>, roles: &[Role]) -> Self {
        Self { datasets: vec![dataset.into()], roles: roles.to_vec(), channels: None }
    }
}

/// A field of a [`Dataset`].
#[derive(Clone, Debug)]
pub struct Field {
    /// Name in the file.
    pub name: String,
    /// Tensor rank; its channels are the components, `x` first, row-major.
    pub rank: usize,
    /// Number of channels.
    pub channels: usize,
    /// Whether the file stores it in single precision.
    pub is_f32: bool,
    /// Whether it has a time axis; if not, every frame is the same.
    pub time_varying: bool,
    /// Attributes of the dataset (units, long name, ...).
    pub attributes: BTreeMap<String, Attr>,
    pub(super) place: Place,
}

impl Field {
    /// UDUNITS text; `"1"` where the file has none.
    pub fn units(&self) -> &str {
        self.attributes.get("units").and_then(Attr::as_text).unwrap_or("1")
    }
}

/// A file open for reading, whatever its layout.
///
/// # Example
///
/// ```no_run
/// use parseval::data::Dataset;
///
/// let data = Dataset::open("1D_Burgers_Sols_Nu0.01.hdf5".as_ref(), None)?;
/// // Frames 0, 4, 8, ... of sample 3: [time, channel, x].
/// let u = data.read::<f64>("u", 3, 0..data.times().len(), 4)?;
/// # Ok::<(), parseval::Error>(())
/// ```
pub struct Dataset {
    pub(super) path: PathBuf,
    pub(super) layout: Layout,
    pub(super) source: Box<dyn Source>,
    pub(super) name: String,
    pub(super) samples: usize,
    pub(super) times: Vec<f64>,
    pub(super) grid: Grid,
    pub(super) fields: Vec<Field>,
    pub(super) parameters: BTreeMap<String, f64>,
    pub(super) attributes: BTreeMap<String, Attr>,
    pub(super) complete: Vec<bool>,
    pub(super) warnings: Vec<String>,
}

impl Dataset {
    /// Opens a file; without a layout the detected one is taken.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be read, [`Error::Format`] if it breaks the layout.
    pub fn open(path: &Path, layout: Option<Layout>) -> Result<Self> {
        Self::open_with(path, &OpenOptions { layout, ..OpenOptions::default() })
    }

    /// Opens a file, saying what it leaves open.
    ///
    /// # Errors
    ///
    /// As [`Dataset::open`], and [`Error::Parameter`] if extent or dt make no grid.
    pub fn open_with(path: &Path, options: &OpenOptions) -> Result<Self> {
        let layout = match options.layout {
            Some(layout) => layout,
            None => Layout::detect(path)?,
        };
        let dataset = match layout {
            Layout::Well => well::open(path, options),
            Layout::PdeBench => pdebench::open(path, options),
            Layout::Matlab => matlab::open(path, options),
            Layout::NetCdf => netcdf::open(path, options),
            Layout::Npy => npy::open(path, options),
        }?;
        dataset.check_shapes()?;
        Ok(dataset)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its layout.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Name of the data set; the file's stem where it has none.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of samples, complete or not.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Which samples are whole; others are refused by [`Dataset::read`].
    pub fn complete(&self) -> &[bool] {
        &self.complete
    }

    /// Times of the frames.
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The box; where points are cell centres it is shifted by half a cell, which a periodic box does not notice.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// All fields.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// One field.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] with the names there are.
    pub fn field(&self, name: &str) -> Result<&Field> {
        self.fields.iter().find(|f| f.name == name).ok_or_else(|| {
            let names: Vec<_> = self.fields.iter().map(|f| f.name.as_str()).collect();
            Error::parameter("field", name, format!("must be one of {}", names.join(", ")))
        })
    }

    /// Parameters of the equation that the file states.
    pub fn parameters(&self) -> &BTreeMap<String, f64> {
        &self.parameters
    }

    /// Attributes of the file.
    pub fn attributes(&self) -> &BTreeMap<String, Attr> {
        &self.attributes
    }

    /// What was odd but could be read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Seeds of the samples, where the file has them.
    pub fn sample_seeds(&self) -> Option<Vec<u64>> {
        self.source.read("/provenance/sample_seed", &[0], &[self.samples]).ok()?.into_u64()
    }

    /// Shape of a frame, `[channel, x..]`.
    pub fn frame_shape(&self, field: &Field) -> Vec<usize> {
        std::iter::once(field.channels).chain(self.grid.shape().iter().copied()).collect()
    }

    /// Frames `frames.start, frames.start + stride, ...` of one sample, `[time, channel, x, (y, (z))]`.
    ///
    /// Only what is asked for is read and held. Axes along which the file does not vary are repeated.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for a field, sample, range or stride that does not exist; [`Error::Format`] for an
    /// incomplete sample or a corrupt file.
    pub fn read<T: Real>(&self, field: &str, sample: usize, frames: Range<usize>, stride: usize) -> Result<ArrayD<T>> {
        let field = self.field(field)?;
        if sample >= self.samples {
            return Err(Error::parameter("sample", sample, format!("must be < {}", self.samples)));
        }
        if !self.complete[sample] {
            return Err(Error::format(&self.path, format!("sample {sample} is incomplete: its run did not finish it")));
        }
        if frames.start >= frames.end || frames.end > self.times.len() {
            return Err(Error::parameter(
                "frames",
                format!("{frames:?}"),
                format!("must lie in 0..{}", self.times.len()),
            ));
        }
        if stride == 0 {
            return Err(Error::parameter("stride", stride, "must be >= 1"));
        }
        if stride == 1 || !field.time_varying {
            return self.window(field, sample, frames.start, frames.len().div_ceil(stride));
        }
        let mut shape = self.frame_shape(field);
        shape.insert(0, frames.len().div_ceil(stride));
        let mut all = ArrayD::zeros(IxDyn(&shape));
        for (mut frame, t) in all.outer_iter_mut().zip(frames.step_by(stride)) {
            frame.assign(&self.window(field, sample, t, 1)?.index_axis(Axis(0), 0));
        }
        Ok(all)
    }

    /// `frames` consecutive frames of one sample.
    fn window<T: Real>(&self, field: &Field, sample: usize, first: usize, frames: usize) -> Result<ArrayD<T>> {
        let place = &field.place;
        let dataset = if place.datasets.len() == 1 { &place.datasets[0] } else { &place.datasets[sample] };
        let stored = self.source.info(dataset)?.shape;
        let (mut start, mut count) = (vec![0; stored.len()], stored.clone());
        for (axis, role) in place.roles.iter().enumerate() {
            (start[axis], count[axis]) = match role {
                Role::Sample => (sample, 1),
                Role::Time => (first, frames),
                Role::Channel => place.channels.as_ref().map_or((0, stored[axis]), |c| (c.start, c.len())),
                Role::Space(_) => (0, stored[axis]),
            };
        }
        let values = self.source.read(dataset, &start, &count)?.into_real();
        let array = ArrayD::from_shape_vec(IxDyn(&count), values).expect("the source returns as many as asked for");

        // Stored axes in the order of their roles; the sort is stable, so matrix components keep theirs.
        let mut order: Vec<usize> = (0..count.len()).collect();
        order.sort_by_key(|&axis| place.roles[axis]);
        let array = array.permuted_axes(order).as_standard_layout().into_owned();
        // Axes that the file lacks have length 1 here, and are repeated by the broadcast.
        let length = |role: Role| {
            place.roles.iter().zip(&count).filter(|(r, _)| **r == role).map(|(_, &n)| n).product::<usize>()
        };
        let mut shape = vec![length(Role::Time), length(Role::Channel)];
        shape.extend((0..self.grid.dim()).map(|axis| length(Role::Space(axis))));
        let array = array.into_shape_with_order(IxDyn(&shape)).expect("one sample, all other axes kept");
        let mut target = self.frame_shape(field);
        target.insert(0, frames);
        if shape == target {
            return Ok(array);
        }
        let full = array.broadcast(IxDyn(&target));
        full.map(|a| a.to_owned()).ok_or_else(|| Error::shape(format!("frames of {}", field.name), &target, &shape))
    }

    /// Checks once that every field has the shape its description promises, so that windows cannot go astray.
    fn check_shapes(&self) -> Result<()> {
        let bad = |what: String| Error::format(&self.path, what);
        if self.samples == 0 || self.times.is_empty() || self.fields.is_empty() {
            return Err(bad(format!(
                "nothing to read: {} samples, {} times, {} fields",
                self.samples,
                self.times.len(),
                self.fields.len()
            )));
        }
        for field in &self.fields {
            let place = &field.place;
            if place.datasets.len() != 1 && place.datasets.len() != self.samples {
                return Err(bad(format!(
                    "{}: {} datasets for {} samples",
                    field.name,
                    place.datasets.len(),
                    self.samples
                )));
            }
            for dataset in &place.datasets {
                let shape = self.source.info(dataset)?.shape;
                if shape.len() != place.roles.len() {
                    return Err(bad(format!("{dataset}: shape {shape:?}, expected axes {:?}", place.roles)));
                }
                let mut channels = 1;
                for (&n, role) in shape.iter().zip(&place.roles) {
                    let expected = match role {
                        Role::Sample => self.samples,
                        Role::Time => self.times.len(),
                        Role::Space(axis) if *axis < self.grid.dim() => self.grid.shape()[*axis],
                        Role::Space(axis) => {
                            return Err(bad(format!("{dataset}: axis {axis} on a {}-D grid", self.grid.dim())));
                        }
                        Role::Channel => {
                            channels *= place.channels.as_ref().map_or(n, |c| if c.end <= n { c.len() } else { 0 });
                            continue;
                        }
                    };
                    if n != expected {
                        return Err(bad(format!("{dataset}: shape {shape:?}, but {role:?} has length {expected}")));
                    }
                }
                if channels != field.channels {
                    return Err(bad(format!("{dataset}: {channels} channels, expected {}", field.channels)));
                }
            }
        }
        Ok(())
    }
}

/// Description of a field from its dataset.
pub(super) fn field(source: &dyn Source, name: &str, rank: usize, place: Place) -> Result<Field> {
    let dataset = &place.datasets[0];
    let info = source.info(dataset)?;
    let channels = match &place.channels {
        Some(range) => range.len(),
        None => place.roles.iter().zip(&info.shape).filter(|(r, _)| **r == Role::Channel).map(|(_, &n)| n).product(),
    };
    Ok(Field {
        name: name.to_owned(),
        rank,
        channels,
        is_f32: info.dtype == hdf5::Dtype::F32,
        time_varying: place.roles.contains(&Role::Time),
        attributes: source.attributes(dataset)?,
        place,
    })
}

/// The box from the coordinates of its points, `L = n dx`; `extent` overrides it.
///
/// `points` holds for each axis the number of points and, if known, their coordinates.
pub(super) fn grid(path: &Path, points: &[(usize, Option<Vec<f64>>)], options: &OpenOptions) -> Result<Grid> {
    let shape: Vec<usize> = points.iter().map(|(n, _)| *n).collect();
    let lengths = match &options.extent {
        Some(extent) => extent.clone(),
        None => points
            .iter()
            .enumerate()
            .map(|(axis, (n, x))| match x {
                Some(x) if x.len() == *n && *n > 1 => Ok((x[n - 1] - x[0]) / (n - 1) as f64 * *n as f64),
                Some(x) => Err(Error::format(path, format!("axis {axis}: {} coordinates for {n} points", x.len()))),
                None => Err(Error::format(path, format!("axis {axis} has no coordinates: give the extent"))),
            })
            .collect::<Result<_>>()?,
    };
    let refused = |e: Error| match options.extent {
        Some(_) => e,
        None => Error::format(path, format!("the file's axes make no grid: {e}")),
    };
    Grid::new(&shape, &lengths).map_err(refused)
}

/// Times: `dt` times the index if `dt` is given, else the file's, else an error that asks for `dt`.
pub(super) fn times(path: &Path, frames: usize, found: Option<Vec<f64>>, options: &OpenOptions) -> Result<Vec<f64>> {
    if frames > MOST {
        return Err(Error::format(path, format!("{frames} frames are more than a file holds")));
    }
    if let Some(dt) = options.dt {
        if !dt.is_finite() || dt <= 0.0 {
            return Err(Error::parameter("dt", dt, "must be > 0"));
        }
        return Ok((0..frames).map(|i| i as f64 * dt).collect());
    }
    match found {
        Some(t) if t.len() == frames => Ok(t),
        Some(t) => Err(Error::format(path, format!("{} times for {frames} frames", t.len()))),
        None => Err(Error::format(path, "no times in the file: give dt")),
    }
}

/// Flags of a layout without incomplete samples; a number that no file holds comes from a corrupt header.
pub(super) fn all_complete(path: &Path, samples: usize) -> Result<Vec<bool>> {
    if samples > MOST {
        return Err(Error::format(path, format!("{samples} samples are more than a file holds")));
    }
    Ok(vec![true; samples])
}

/// The file's stem.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    /// `make_fixtures.py`: 1 + sum of index_k 10^-(k+1) over the axes in the order the layout's description gives.
    fn value(index: &[usize]) -> f64 {
        1.0 + index.iter().enumerate().map(|(k, &i)| i as f64 * 10f64.powi(-(k as i32) - 1)).sum::<f64>()
    }

    /// Compares one entry; values below 128 in f32 carry 2^-17 of error.
    fn assert_at(array: &ArrayD<f64>, index: &[usize], expected: f64) {
        let got = array[IxDyn(index)];
        assert!((got - expected).abs() < 1e-5, "{index:?}: {got}, expected {expected}");
    }

    #[test]
    fn layouts_are_detected_by_the_names_inside() {
        for (name, layout) in [
            ("the_well.hdf5", Layout::Well),
            ("1D_Burgers_Sols_Nu0.01.hdf5", Layout::PdeBench),
            ("2D_CFD_Rand_M0.1.hdf5", Layout::PdeBench),
            ("2D_DarcyFlow_beta1.0.hdf5", Layout::PdeBench),
            ("2D_diff-react_NA_NA.h5", Layout::PdeBench),
            ("ns_incom_inhom_2d_512-0.h5", Layout::PdeBench),
            ("fno_v73.mat", Layout::Matlab),
            ("jax_cfd.nc", Layout::NetCdf),
            ("apebench_train.npy", Layout::Npy),
        ] {
            assert_eq!(Layout::detect(&fixture(name)).unwrap(), layout, "{name}");
        }
        assert!(matches!(Layout::detect(&fixture("apebench.json")), Err(Error::Format { .. })));
        assert!(matches!(Layout::detect(&fixture("conformance.h5")), Err(Error::Format { .. })));
        assert!(matches!(Layout::detect(&fixture("none.h5")), Err(Error::Io { .. })));
        assert!("hdf".parse::<Layout>().is_err());
        assert!(Layout::ALL.iter().all(|l| l.name().parse::<Layout>().unwrap() == *l));
    }

    #[test]
    fn the_well_is_read_with_missing_axes_repeated() {
        let data = Dataset::open(&fixture("the_well.hdf5"), Some(Layout::Well)).unwrap();
        assert_eq!((data.samples(), data.times().len(), data.grid().shape()), (3, 4, &[6, 5][..]));
        assert_eq!(data.grid().lengths(), [1.5, 2.5]);
        assert_eq!(data.parameters()["reynolds"], 100.0);
        let pressure = data.read::<f64>("pressure", 2, 1..3, 1).unwrap();
        assert_at(&pressure, &[1, 0, 5, 3], value(&[2, 2, 5, 3]));
        let velocity = data.read::<f64>("velocity", 1, 0..4, 3).unwrap();
        assert_eq!(velocity.shape(), [2, 2, 6, 5]);
        assert_at(&velocity, &[1, 1, 4, 2], value(&[1, 3, 4, 2, 1]));
        let stress = data.read::<f64>("stress", 0, 0..1, 1).unwrap();
        assert_at(&stress, &[0, 2, 3, 4], value(&[0, 0, 3, 4, 1, 0]));
        let depth = data.read::<f64>("depth", 2, 0..2, 1).unwrap();
        assert_eq!(depth.shape(), [2, 1, 6, 5]);
        assert_at(&depth, &[1, 0, 4, 3], value(&[4]));
    }

    #[test]
    fn pdebench_flat_drops_the_stamp_too_many() {
        let data = Dataset::open(&fixture("1D_Burgers_Sols_Nu0.01.hdf5"), Some(Layout::PdeBench)).unwrap();
        assert_eq!((data.samples(), data.times().len()), (3, 4));
        assert_eq!(data.warnings().len(), 1, "{:?}", data.warnings());
        assert!((data.times()[3] - 0.03).abs() < 1e-8);
        assert!((data.grid().lengths()[0] - 1.0).abs() < 1e-6, "cell centres span 1 - dx");
        assert_eq!(data.parameters()["Nu"], 0.01);
        assert_at(&data.read("u", 1, 0..4, 1).unwrap(), &[3, 0, 7], value(&[1, 3, 7]));

        let flow = Dataset::open(&fixture("2D_CFD_Rand_M0.1.hdf5"), None).unwrap();
        let names: Vec<_> = flow.fields().iter().map(|f| f.name.clone()).collect();
        assert_eq!(names, ["density", "pressure", "Vx", "Vy"]);
        assert_at(&flow.read("Vy", 1, 2..3, 1).unwrap(), &[0, 0, 4, 3], value(&[1, 2, 4, 3]) + 30.0);
        assert_eq!(flow.parameters().len(), 3);

        let darcy = Dataset::open(&fixture("2D_DarcyFlow_beta1.0.hdf5"), None).unwrap();
        assert_eq!(darcy.times(), [0.0]);
        assert_at(&darcy.read("nu", 2, 0..1, 1).unwrap(), &[0, 0, 4, 3], value(&[2, 4, 3]));
        assert_at(&darcy.read("u", 2, 0..1, 1).unwrap(), &[0, 0, 4, 3], value(&[2, 0, 4, 3]));
    }

    #[test]
    fn pdebench_groups_are_samples_in_numeric_order() {
        let data = Dataset::open(&fixture("2D_diff-react_NA_NA.h5"), None).unwrap();
        assert_eq!((data.samples(), data.fields().len()), (4, 2));
        assert!((data.grid().lengths()[1] - 2.0).abs() < 1e-6);
        // The fourth group is 0010; 1e2 in f32 carries 4e-6.
        assert_at(&data.read("u1", 3, 0..4, 1).unwrap(), &[3, 0, 4, 5], value(&[3, 4, 5, 1]) + 100.0);
        assert_at(&data.read("u0", 1, 2..3, 1).unwrap(), &[0, 0, 4, 5], value(&[2, 4, 5, 0]) + 10.0);
    }

    #[test]
    fn pdebench_incompressible_needs_an_extent() {
        let path = fixture("ns_incom_inhom_2d_512-0.h5");
        let error = Dataset::open(&path, None).err().unwrap().to_string();
        assert!(error.contains("extent"), "{error}");
        let options = OpenOptions { extent: Some(vec![1.0, 1.0]), ..OpenOptions::default() };
        let data = Dataset::open_with(&path, &options).unwrap();
        assert!((data.times()[2] - 0.01).abs() < 1e-8);
        assert_at(&data.read("velocity", 1, 1..3, 1).unwrap(), &[1, 1, 4, 3], value(&[1, 2, 4, 3, 1]));
        assert_at(&data.read("force", 1, 0..3, 1).unwrap(), &[2, 1, 4, 3], value(&[1, 4, 3, 1]) + 20.0);
    }

    #[test]
    fn matlab_axes_are_reversed() {
        let data = Dataset::open(&fixture("fno_v73.mat"), None).unwrap();
        assert_eq!((data.samples(), data.grid().shape(), data.times()), (4, &[5, 6][..], &[1.0, 2.0, 3.0][..]));
        assert_eq!(data.grid().lengths(), [1.0, 1.0]);
        assert_at(&data.read("u", 3, 0..3, 1).unwrap(), &[2, 0, 4, 5], value(&[3, 4, 5, 2]));
        assert_at(&data.read("a", 2, 0..1, 1).unwrap(), &[0, 0, 4, 5], value(&[2, 4, 5]));
    }

    #[test]
    fn netcdf_axes_follow_the_attached_scales() {
        let data = Dataset::open(&fixture("jax_cfd.nc"), None).unwrap();
        assert_eq!((data.samples(), data.grid().shape(), data.times().len()), (2, &[8, 4][..], 3));
        // Coordinates are doubles: round-off only.
        assert!((data.grid().lengths()[1] - std::f64::consts::TAU).abs() < 1e-14);
        assert_eq!(data.parameters()["stable_time_step"], 0.007);
        assert_at(&data.read("v", 1, 2..3, 1).unwrap(), &[0, 0, 7, 3], value(&[1, 2, 7, 3]) + 10.0);
        assert_eq!(data.field("u").unwrap().attributes["offset"], Attr::Floats(vec![1.0, 0.5]));
    }

    #[test]
    fn npy_windows_are_read_in_either_byte_order() {
        for name in ["apebench_train.npy", "apebench_big_endian.npy"] {
            let options = OpenOptions { extent: Some(vec![3.0; 2]), dt: Some(0.25), ..OpenOptions::default() };
            let data = Dataset::open_with(&fixture(name), &options).unwrap();
            assert_eq!((data.samples(), data.times().len(), data.grid().shape()), (3, 4, &[6, 6][..]));
            assert_at(&data.read("u", 2, 1..4, 1).unwrap(), &[1, 1, 5, 4], value(&[2, 2, 1, 5, 4]));
        }
        let described = Dataset::open(&fixture("apebench_train.npy"), None).unwrap();
        assert_eq!((described.times()[3], described.grid().lengths()), (0.75, &[3.0, 3.0][..]));
        let error = Dataset::open(&fixture("apebench_big_endian.npy"), None).err().unwrap().to_string();
        assert!(error.contains("dt"), "{error}");
    }
}
