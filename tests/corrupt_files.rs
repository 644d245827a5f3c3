//! Promise: no file, however broken, makes the readers panic; truncation never goes unnoticed.
//!
//! Only with the pure-Rust back end: the C library itself is known to crash on some corrupt files.
#![cfg(not(feature = "libhdf5"))]

use std::path::{Path, PathBuf};

use parseval::data::check::check;
use parseval::data::well::{FieldData, FieldSpec, Header, Writer};
use parseval::data::{Dataset, OpenOptions};
use parseval::field::Grid;
use parseval::{Error, Result};
use proptest::prelude::*;

const FIXTURES: [&str; 8] = [
    "the_well.hdf5",
    "1D_Burgers_Sols_Nu0.01.hdf5",
    "2D_DarcyFlow_beta1.0.hdf5",
    "2D_diff-react_NA_NA.h5",
    "ns_incom_inhom_2d_512-0.h5",
    "fno_v73.mat",
    "jax_cfd.nc",
    "apebench_train.npy",
];

/// Opens and reads every number, as a user would.
fn read_all(path: &Path) -> Result<()> {
    let options = OpenOptions { extent: Some(vec![1.0, 1.0]), dt: Some(0.5), ..OpenOptions::default() };
    let data = Dataset::open_with(path, &options)?;
    // A corrupt count may be huge and consistent only by chance; a few samples show what there is to see.
    for sample in 0..data.samples().min(4) {
        for field in data.fields() {
            for t in 0..data.times().len().min(8) {
                data.read::<f32>(&field.name, sample, t..t + 1, 1)?;
            }
        }
    }
    Ok(())
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A complete Well+ file of one sample.
fn ours(path: &Path) {
    let grid = Grid::new(&[8, 8], &[1.0, 1.0]).unwrap();
    let header = Header::new("ours", grid, vec![FieldSpec::new("u", 1)], vec![0.0, 1.0], 1);
    let mut writer = Writer::create(path, &header).unwrap();
    writer.write_sample(0, &[FieldData::F64(&[0.5; 256])], 1, 0.0).unwrap();
    writer.finish().unwrap();
}

/// The bytes of fixture `index`, the last of which is a file of our own.
fn bytes(index: usize) -> (Vec<u8>, String) {
    if let Some(name) = FIXTURES.get(index) {
        return (std::fs::read(fixture(name)).unwrap(), (*name).to_owned());
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ours.hdf5");
    ours(&path);
    (std::fs::read(path).unwrap(), "ours.hdf5".to_owned())
}

fn with_file<T>(name: &str, bytes: &[u8], run: impl FnOnce(&Path) -> T) -> T {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    run(&path)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn flipped_bits_never_panic(
        index in 0..=FIXTURES.len(),
        flips in prop::collection::vec((0.0..1.0f64, 1..=255u8), 1..4),
        // Metadata lies in the first kilobytes of most files: flip there more often.
        near_start in any::<bool>(),
    ) {
        let (mut bytes, name) = bytes(index);
        let len = if near_start { bytes.len().min(3000) } else { bytes.len() };
        for (at, mask) in flips {
            bytes[(at * len as f64) as usize] ^= mask;
        }
        with_file(&name, &bytes, |path| {
            let _ = read_all(path);
            let _ = check(path, &OpenOptions::default());
            let _ = Writer::resume(path);
        });
    }

    #[test]
    fn truncated_files_are_errors(index in 0..=FIXTURES.len(), keep in 0.0..1.0f64) {
        let (mut bytes, name) = bytes(index);
        bytes.truncate((keep * bytes.len() as f64) as usize);
        let outcome = with_file(&name, &bytes, read_all);
        prop_assert!(outcome.is_err(), "{name} cut to {} bytes was read", bytes.len());
        prop_assert!(with_file(&name, &bytes, |p| Writer::resume(p).map(drop)).is_err());
    }
}

#[test]
fn what_is_no_data_file_is_a_format_error() {
    for (name, content) in [("empty.h5", &b""[..]), ("text.hdf5", b"hello"), ("text.npy", b"hello"), ("text.mat", b"x")]
    {
        with_file(name, content, |path| match Dataset::open(path, None) {
            Err(Error::Format { path: at, .. }) => assert_eq!(at, path),
            Err(other) => panic!("{name}: {other:?}"),
            Ok(_) => panic!("{name} was read"),
        });
    }
}

#[test]
fn the_intact_files_are_read() {
    for index in 0..=FIXTURES.len() {
        let (bytes, name) = bytes(index);
        with_file(&name, &bytes, |path| read_intact(path, &name)).unwrap();
    }
}

fn read_intact(path: &Path, name: &str) -> Result<()> {
    // One extent for each axis: the Burgers fixture has one, the others two.
    if name.starts_with("1D") {
        let data = Dataset::open(path, None)?;
        return data.read::<f32>("u", 0, 0..1, 1).map(drop);
    }
    read_all(path)
}
