//! Any readable layout into Well+.

use std::path::Path;

use ndarray::{ArrayD, Axis, Slice};

use super::well::{FieldData, FieldSpec, Header, Precision, Writer};
use super::{Dataset, Field};
use crate::error::Result;

/// A field of the new file and where its channels come from.
struct Part<'a> {
    source: &'a Field,
    channels: std::ops::Range<usize>,
    spec: FieldSpec,
}

/// Copies a data set into a new Well+ file at `path`, one frame in memory at a time.
///
/// Vectors and matrices stay such if they have as many channels as the grid asks for; other channels become scalars
/// `name0, name1, ...`. Points are counted from 0: where the source has cell centres the half-cell shift is dropped.
/// `describe` may complete the header (title, equation, licence, units) before the file is made; `progress` is
/// called with the number of finished samples.
///
/// An interrupted conversion is resumed by calling it again.
///
/// # Errors
///
/// As [`Dataset::read`] and [`Writer::create`].
pub fn convert(
    data: &Dataset,
    path: &Path,
    describe: impl FnOnce(&mut Header),
    mut progress: impl FnMut(usize),
) -> Result<()> {
    let parts = parts(data);
    let specs = parts.iter().map(|p| p.spec.clone()).collect();
    let mut header = Header::new(data.name(), data.grid().clone(), specs, data.times().to_vec(), data.samples());
    header.parameters = data.parameters().iter().filter(|(n, _)| is_name(n)).map(|(n, &v)| (n.clone(), v)).collect();
    header.precision = match data.fields().iter().all(|f| f.is_f32) {
        true => Precision::F32,
        false => Precision::F64,
    };
    header.provenance.generator = format!("parseval {} convert", env!("CARGO_PKG_VERSION"));
    header.summary = format!("Converted from {} ({})", data.path().display(), data.layout().name());
    describe(&mut header);

    let mut writer = if path.exists() { Writer::resume(path)?.0 } else { Writer::create(path, &header)? };
    let seeds = data.sample_seeds();
    for sample in 0..data.samples() {
        if !writer.complete()[sample] {
            for (number, part) in parts.iter().enumerate() {
                copy(data, &mut writer, sample, number, part)?;
            }
            writer.complete_sample(sample, seeds.as_ref().map_or(0, |s| s[sample]), f64::NAN)?;
        }
        progress(sample + 1);
    }
    writer.finish()
}

/// The fields of the new file.
fn parts(data: &Dataset) -> Vec<Part<'_>> {
    let dim = data.grid().dim();
    let mut parts = Vec::new();
    for field in data.fields() {
        let make = |name: &str, rank: usize, channels: std::ops::Range<usize>| {
            let mut spec = FieldSpec::new(&legal(name), rank);
            spec.units = field.units().to_owned();
            spec.time_varying = field.time_varying;
            Part { source: field, channels, spec }
        };
        if field.channels == dim.pow(field.rank as u32) {
            parts.push(make(&field.name, field.rank, 0..field.channels));
        } else {
            parts.extend((0..field.channels).map(|c| make(&format!("{}{c}", field.name), 0, c..c + 1)));
        }
    }
    parts
}

/// Copies one field of one sample, frame by frame, the channels from the front to the back.
fn copy(data: &Dataset, writer: &mut Writer, sample: usize, number: usize, part: &Part) -> Result<()> {
    let frames = if part.spec.time_varying { data.times().len() } else { 1 };
    for t in 0..frames {
        let mut frame: ArrayD<f64> =
            data.read::<f64>(&part.source.name, sample, t..t + 1, 1)?.index_axis_move(Axis(0), 0);
        frame.slice_axis_inplace(Axis(0), Slice::from(part.channels.clone()));
        let mut order: Vec<usize> = (1..frame.ndim()).collect();
        order.push(0);
        let values = frame.permuted_axes(order).as_standard_layout().into_owned();
        let values = values.as_slice().expect("standard layout");
        writer.write_part(sample, number, t * values.len(), FieldData::F64(values))?;
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name == legal(name)
}

/// A name that the format accepts.
fn legal(name: &str) -> String {
    let mut legal: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.+".contains(c) { c } else { '_' }).collect();
    if !legal.starts_with(|c: char| c.is_ascii_alphabetic()) {
        legal.insert(0, 'f');
    }
    legal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::OpenOptions;
    use crate::data::diff::diff;

    #[test]
    fn every_layout_survives_the_conversion() {
        let dir = tempfile::tempdir().unwrap();
        let unit = OpenOptions { extent: Some(vec![1.0; 2]), ..OpenOptions::default() };
        for (name, options) in [
            ("the_well.hdf5", OpenOptions::default()),
            ("1D_Burgers_Sols_Nu0.01.hdf5", OpenOptions::default()),
            ("2D_CFD_Rand_M0.1.hdf5", OpenOptions::default()),
            ("2D_DarcyFlow_beta1.0.hdf5", OpenOptions::default()),
            ("2D_diff-react_NA_NA.h5", OpenOptions::default()),
            ("ns_incom_inhom_2d_512-0.h5", unit),
            ("fno_v73.mat", OpenOptions::default()),
            ("jax_cfd.nc", OpenOptions::default()),
        ] {
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
            let source = Dataset::open_with(&source, &options).unwrap();
            let path = dir.path().join(format!("{name}.well.hdf5"));
            let mut done = 0;
            convert(&source, &path, |h| h.equation = "u_t = 0".into(), |n| done = n).unwrap();
            assert_eq!(done, source.samples());
            let copy = Dataset::open(&path, None).unwrap();
            assert_eq!(copy.grid(), source.grid(), "{name}");
            assert_eq!(copy.times(), source.times(), "{name}");
            let diff = diff(&source, &copy).unwrap();
            assert!(diff.only_in_one.is_empty(), "{name}: {:?}", diff.only_in_one);
            // Same precision on both sides: bit for bit.
            assert!(diff.fields.iter().all(|f| f.max.iter().all(|&m| m == 0.0)), "{name}: {diff:?}");
        }
    }

    #[test]
    fn channels_that_are_no_vector_become_scalars() {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/apebench_train.npy");
        let source = Dataset::open(&source, None).unwrap();
        let path = dir.path().join("a.hdf5");
        convert(&source, &path, |_| {}, |_| {}).unwrap();
        let copy = Dataset::open(&path, None).unwrap();
        let names: Vec<_> = copy.fields().iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["u0", "u1"]);
        let u: ArrayD<f32> = source.read("u", 2, 0..4, 1).unwrap();
        let u1: ArrayD<f32> = copy.read("u1", 2, 0..4, 1).unwrap();
        assert_eq!(u.index_axis(Axis(1), 1), u1.index_axis(Axis(1), 0));
    }
}
