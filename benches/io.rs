//! Throughput of writing and reading samples, MB/s, beside a plain copy of the same bytes to the same disk.
//!
//! `cargo bench --bench io -- [MEGABYTES] [FOLDER]`; 512 MB into the system's temporary folder by default. Every
//! sample is flushed to the disk (fsync), as in a real run; reads come from the page cache.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use ndarray::ArrayD;
use parseval::data::Dataset;
use parseval::data::well::{FieldData, FieldSpec, Header, Precision, Writer};
use parseval::field::Grid;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let megabytes: usize = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(512);
    let folder = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = tempfile::tempdir_in(folder).expect("a folder to write to");

    let (n, frames) = (256, 64);
    let sample_bytes = n * n * frames * 4;
    let samples = (megabytes * 1_000_000).div_ceil(sample_bytes);
    let total = (samples * sample_bytes) as f64 / 1e6;
    let grid = Grid::new(&[n, n], &[1.0, 1.0]).expect("a box");
    let times = (0..frames).map(|i| i as f64).collect();
    let mut header = Header::new("bench", grid, vec![FieldSpec::new("omega", 0)], times, samples);
    header.precision = Precision::F32;
    let single: Vec<f32> = (0..n * n * frames).map(|i| (i as f32 * 0.1).sin()).collect();
    let double: Vec<f64> = single.iter().map(|&x| f64::from(x)).collect();
    println!("{samples} samples of {frames} frames of {n}^2, {total:.0} MB in f32");

    let report = |what: &str, start: Instant| {
        println!("{what:<34} {:8.0} MB/s", total / start.elapsed().as_secs_f64());
    };
    let raw: Vec<u8> = single.iter().flat_map(|x| x.to_le_bytes()).collect();
    let start = Instant::now();
    let mut file = std::fs::File::create(folder.path().join("raw")).expect("a file");
    for _ in 0..samples {
        file.write_all(&raw).expect("room on the disk");
        file.sync_data().expect("fsync");
    }
    report("limit: plain write, fsync each", start);
    std::fs::remove_file(folder.path().join("raw")).expect("removed");

    for (what, data) in
        [("write_sample f32 -> f32", FieldData::F32(&single)), ("write_sample f64 -> f32", FieldData::F64(&double))]
    {
        let path = folder.path().join("bench.hdf5");
        let _ = std::fs::remove_file(&path);
        let start = Instant::now();
        let mut writer = Writer::create(&path, &header).expect("a file");
        for sample in 0..samples {
            writer.write_sample(sample, &[data], 0, 0.0).expect("room on the disk");
        }
        writer.finish().expect("complete");
        report(what, start);
    }
    let data = Dataset::open(&folder.path().join("bench.hdf5"), None).expect("just written");
    let start = Instant::now();
    for sample in 0..samples {
        let u: ArrayD<f32> = data.read("omega", sample, 0..frames, 1).expect("complete");
        std::hint::black_box(u);
    }
    report("read f32, whole samples", start);
    let start = Instant::now();
    for sample in 0..samples {
        for t in 0..frames {
            let u: ArrayD<f64> = data.read("omega", sample, t..t + 1, 1).expect("complete");
            std::hint::black_box(u);
        }
    }
    report("read f64, frame by frame", start);
}
