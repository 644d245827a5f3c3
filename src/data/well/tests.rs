use super::*;
use crate::data::Dataset;
use crate::data::hdf5;
use crate::error::Error;
use crate::field::Grid;
use ndarray::{ArrayD, IxDyn};
use std::path::Path;
use tempfile::tempdir;

/// Two samples of a scalar, a vector, a matrix and a constant field on a 4 x 6 box, three frames.
pub(crate) fn header(samples: usize, precision: Precision) -> Header {
    let grid = Grid::new(&[4, 6], &[1.0, 3.0]).unwrap();
    let mut forcing = FieldSpec::new("forcing", 0);
    forcing.time_varying = false;
    let fields = vec![FieldSpec::new("velocity", 1), FieldSpec::new("omega", 0), FieldSpec::new("stress", 2), forcing];
    let mut header = Header::new("test", grid, fields, vec![0.0, 0.5, 1.5], samples);
    header.precision = precision;
    header.parameters.insert("nu".into(), 0.01);
    header.parameters.insert("beta".into(), -2.0);
    header.provenance.seed = u64::MAX;
    header.provenance.config_toml = "[grid]\nn = 4 # \u{3bd}\n".into();
    header
}

/// Values of a sample that tell sample, field and position.
pub(crate) fn sample(header: &Header, index: usize) -> Vec<Vec<f64>> {
    let per_field = header.fields.iter().enumerate().map(|(f, spec)| {
        let n: usize = spec.sample_shape(header.times.len(), &header.grid).iter().product();
        (0..n).map(|i| (1000 * (index + 1) + 100 * f) as f64 + i as f64 / 512.0).collect()
    });
    per_field.collect()
}

pub(crate) fn write(writer: &mut Writer, header: &Header, index: usize) {
    let data = sample(header, index);
    let fields: Vec<FieldData> = data.iter().map(|v| v.as_slice().into()).collect();
    writer.write_sample(index, &fields, 40 + index as u64, 0.25).unwrap();
}

/// Asserts that a complete sample holds what [`sample`] says, read through the common view.
fn assert_sample(dataset: &Dataset, header: &Header, index: usize) {
    let data = sample(header, index);
    let (nx, ny, frames) = (4, 6, 3);
    for (spec, values) in header.fields.iter().zip(data) {
        let got: ArrayD<f64> = dataset.read(&spec.name, index, 0..frames, 1).unwrap();
        let channels = 2usize.pow(spec.rank as u32);
        assert_eq!(got.shape(), [frames, channels, nx, ny]);
        for ((t, c), (x, y)) in indices(frames, channels).flat_map(|tc| indices(nx, ny).map(move |xy| (tc, xy))) {
            let t = if spec.time_varying { t } else { 0 };
            let expected = values[((t * nx + x) * ny + y) * channels + c];
            assert_eq!(got[IxDyn(&[t, c, x, y])], expected, "{} {t} {c} {x} {y}", spec.name);
        }
    }
}

fn indices(n: usize, m: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |i| (0..m).map(move |j| (i, j)))
}

#[test]
fn what_was_written_is_read_with_its_metadata() {
    for precision in [Precision::F32, Precision::F64] {
        let dir = tempdir().unwrap();
        let path = dir.path().join("a.hdf5");
        let header = header(2, precision);
        let mut writer = Writer::create(&path, &header).unwrap();
        // Any order; multiples of 1/512 below 2^15 are exact in f32.
        write(&mut writer, &header, 1);
        write(&mut writer, &header, 0);
        writer.set_reference_errors(1, 1e-9, 1e-11).unwrap();
        writer.finish().unwrap();

        let dataset = Dataset::open(&path, None).unwrap();
        for index in 0..2 {
            assert_sample(&dataset, &header, index);
        }
        assert_eq!(dataset.name(), "test");
        assert_eq!(dataset.grid(), &header.grid);
        assert_eq!(dataset.times(), header.times);
        assert_eq!(dataset.parameters(), &header.parameters);
        assert_eq!(dataset.complete(), [true, true]);
        assert_eq!(dataset.sample_seeds(), Some(vec![40, 41]));
        let names: Vec<_> = dataset.fields().iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["velocity", "omega", "stress", "forcing"]);
        assert_eq!(dataset.field("omega").unwrap().is_f32, precision == Precision::F32);

        let source = hdf5::open(&path).unwrap();
        let provenance = source.attributes("/provenance").unwrap();
        assert_eq!(provenance["seed"], hdf5::Attr::Unsigned(u64::MAX));
        assert_eq!(provenance["config_toml"].as_text(), Some("[grid]\nn = 4 # \u{3bd}\n"));
        let errors = hdf5::read_all(source.as_ref(), ERROR_TIME).unwrap();
        assert!(errors[0].is_nan() && errors[1] == 1e-9, "{errors:?}");
        assert_eq!(
            source.scales("/t1_fields/velocity").unwrap(),
            ["/sample", "/time", "/x", "/y", "/component"].map(|s| Some(s.to_owned()))
        );
    }
}

#[test]
fn windows_and_strides_are_parts_of_the_whole() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.hdf5");
    let header = header(1, Precision::F64);
    let mut writer = Writer::create(&path, &header).unwrap();
    write(&mut writer, &header, 0);
    let dataset = Dataset::open(&path, None).unwrap();
    for name in ["velocity", "forcing"] {
        let all: ArrayD<f64> = dataset.read(name, 0, 0..3, 1).unwrap();
        let window: ArrayD<f64> = dataset.read(name, 0, 1..3, 1).unwrap();
        assert_eq!(window, all.slice_each_axis(|a| if a.axis.index() == 0 { (1..3).into() } else { (..).into() }));
        let strided: ArrayD<f64> = dataset.read(name, 0, 0..3, 2).unwrap();
        assert_eq!(strided.shape()[0], 2);
        assert_eq!(strided.index_axis(ndarray::Axis(0), 1), all.index_axis(ndarray::Axis(0), 2));
    }
    assert!(matches!(dataset.read::<f64>("omega", 0, 0..4, 1), Err(Error::Parameter { .. })));
    assert!(matches!(dataset.read::<f64>("omega", 1, 0..1, 1), Err(Error::Parameter { .. })));
    assert!(matches!(dataset.read::<f64>("omega", 0, 0..1, 0), Err(Error::Parameter { .. })));
    let error = dataset.read::<f64>("vorticity", 0, 0..1, 1).unwrap_err().to_string();
    assert!(error.contains("velocity, omega, stress, forcing"), "{error}");
}

/// All states of the file that a kill may leave: the bytes after each write call, and within each write.
///
/// A recording of the write calls is replayed on a copy, so that every prefix of the sequence is seen, also with
/// the last call cut in half.
#[test]
fn a_kill_at_any_write_leaves_a_readable_file_that_resumes() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.hdf5");
    let header = header(3, Precision::F32);
    let mut writer = Writer::create(&path, &header).unwrap();
    let mut states = vec![(std::fs::read(&path).unwrap(), 0)];
    for index in 0..3 {
        let before = states.last().unwrap().0.clone();
        write(&mut writer, &header, index);
        let after = std::fs::read(&path).unwrap();
        // Only raw bytes change; the flag is the last of them to be written.
        assert_eq!(before.len(), after.len());
        let flag = writer_flag_position(&path) + index;
        let changed: Vec<usize> = (0..after.len()).filter(|&i| before[i] != after[i] && i != flag).collect();
        assert_eq!((before[flag], after[flag]), (0, 1));
        for keep in (0..=changed.len()).step_by(97).chain([changed.len()]) {
            let mut state = before.clone();
            for &i in &changed[..keep] {
                state[i] = after[i];
            }
            states.push((state, index));
        }
        states.push((after, index + 1));
    }
    for (number, (state, complete)) in states.iter().enumerate() {
        let copy = dir.path().join(format!("copy{number}.hdf5"));
        std::fs::write(&copy, state).unwrap();
        let dataset = Dataset::open(&copy, None).unwrap();
        assert_eq!(dataset.complete(), (0..3).map(|i| i < *complete).collect::<Vec<_>>());
        for index in 0..*complete {
            assert_sample(&dataset, &header, index);
        }
        if *complete < 3 {
            assert!(matches!(dataset.read::<f64>("omega", *complete, 0..1, 1), Err(Error::Format { .. })));
        }
        drop(dataset);
        let (mut writer, flags) = Writer::resume(&copy).unwrap();
        for index in (0..3).filter(|&i| !flags[i]) {
            write(&mut writer, &header, index);
        }
        writer.finish().unwrap();
        let same = std::fs::read(&copy).unwrap() == states.last().unwrap().0;
        assert!(same, "a resumed file differs from an uninterrupted one");
        std::fs::remove_file(&copy).unwrap();
    }
}

fn writer_flag_position(path: &Path) -> usize {
    hdf5::open(path).unwrap().info(COMPLETE).unwrap().offset.unwrap() as usize
}

#[test]
fn rewriting_a_sample_replaces_it() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.hdf5");
    let header = header(2, Precision::F64);
    let mut writer = Writer::create(&path, &header).unwrap();
    write(&mut writer, &header, 0);
    let other = sample(&header, 1);
    let fields: Vec<FieldData> = other.iter().map(|v| v.as_slice().into()).collect();
    writer.write_sample(0, &fields, 9, 0.0).unwrap();
    let got: ArrayD<f64> = Dataset::open(&path, None).unwrap().read("omega", 0, 0..1, 1).unwrap();
    assert_eq!(got[IxDyn(&[0, 0, 0, 0])], other[1][0]);
}

#[test]
fn headers_that_make_no_file_are_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.hdf5");
    let good = header(2, Precision::F32);
    let broken: [fn(&mut Header); 9] = [
        |h| h.samples = 0,
        |h| h.fields.clear(),
        |h| h.times.clear(),
        |h| h.times = vec![0.0, 0.0, 1.0],
        |h| h.times[1] = f64::NAN,
        |h| h.fields[0].rank = 3,
        |h| h.fields[0].name = "a/b".into(),
        |h| h.fields[0].name = "omega".into(),
        |h| _ = h.parameters.insert("title".into(), 1.0),
    ];
    for (case, breaks) in broken.iter().enumerate() {
        let mut header = good.clone();
        breaks(&mut header);
        assert!(matches!(Writer::create(&path, &header), Err(Error::Parameter { .. })), "case {case}");
        assert!(!path.exists());
    }
    Writer::create(&path, &good).unwrap();
    assert!(matches!(Writer::create(&path, &good), Err(Error::Io { .. })), "an existing file is not overwritten");
}

#[test]
fn wrong_data_and_missing_samples_are_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.hdf5");
    let header = header(2, Precision::F32);
    let mut writer = Writer::create(&path, &header).unwrap();
    let data = sample(&header, 0);
    let fields: Vec<FieldData> = data.iter().map(|v| v.as_slice().into()).collect();
    assert!(matches!(writer.write_sample(2, &fields, 0, 0.0), Err(Error::Parameter { .. })));
    assert!(matches!(writer.write_sample(0, &fields[1..], 0, 0.0), Err(Error::Shape { .. })));
    let mut short = fields.clone();
    short[2] = (&data[2][1..]).into();
    assert!(matches!(writer.write_sample(0, &short, 0, 0.0), Err(Error::Shape { .. })));
    writer.write_sample(0, &fields, 0, 0.0).unwrap();
    let error = writer.finish().unwrap_err().to_string();
    assert!(error.contains("[1]"), "{error}");
}

#[test]
fn unwritable_places_and_full_disks_are_io_errors_with_the_path() {
    let header = header(1, Precision::F32);
    let nowhere = Path::new("/nonexistent/folder/a.hdf5");
    assert!(
        matches!(Writer::create(nowhere, &header), Err(Error::Io { path, .. }) if path.starts_with("/nonexistent"))
    );
    assert!(matches!(Writer::resume(nowhere), Err(Error::Io { .. })));
}

/// `/dev/full` answers every write with "no space left on device".
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_sample_incomplete() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.hdf5");
    let header = header(1, Precision::F32);
    let mut writer = Writer::create(&path, &header).unwrap();
    writer.redirect(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let data = sample(&header, 0);
    let fields: Vec<FieldData> = data.iter().map(|v| v.as_slice().into()).collect();
    match writer.write_sample(0, &fields, 0, 0.0) {
        Err(Error::Io { path: at, source }) => {
            assert_eq!(at, path);
            assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(Dataset::open(&path, None).unwrap().complete(), [false]);
}
