//! Promise: what we write, others read. Python's h5py and xarray open a Well+ file and find its numbers.

use std::path::Path;
use std::process::Command;

use parseval::data::well::{FieldData, FieldSpec, Header, Writer};
use parseval::field::Grid;

/// The interpreter: `PARSEVAL_PYTHON`, else `python3`.
fn python() -> String {
    std::env::var("PARSEVAL_PYTHON").unwrap_or_else(|_| "python3".into())
}

#[test]
fn python_reads_what_we_write() {
    let packages = "import h5py, netCDF4, h5netcdf, xarray";
    let found = Command::new(python()).args(["-c", packages]).output().is_ok_and(|o| o.status.success());
    if !found {
        println!("skipped: {} lacks h5py, netCDF4, h5netcdf or xarray (set PARSEVAL_PYTHON)", python());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("interop.hdf5");
    write(&path);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/check.py");
    let output = Command::new(python()).arg(script).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn write(path: &Path) {
    let grid = Grid::new(&[4, 6], &[1.0, 3.0]).unwrap();
    let mut forcing = FieldSpec::new("forcing", 0);
    forcing.time_varying = false;
    let fields = vec![FieldSpec::new("velocity", 1), FieldSpec::new("omega", 0), FieldSpec::new("stress", 2), forcing];
    let mut header = Header::new("interop", grid, fields, vec![0.0, 0.5, 1.5], 2);
    header.parameters.insert("nu".into(), 0.01);
    header.provenance.seed = u64::MAX;
    header.provenance.config_toml = "[grid]\nn = 4\n".repeat(500);
    let mut writer = Writer::create(path, &header).unwrap();
    for sample in 0..2 {
        let data: Vec<Vec<f64>> = header
            .fields
            .iter()
            .enumerate()
            .map(|(field, spec)| {
                let n: usize = spec.sample_shape(3, &header.grid).iter().product();
                (0..n).map(|i| (1000 * (sample + 1) + 100 * field) as f64 + i as f64 / 512.0).collect()
            })
            .collect();
        let slices: Vec<FieldData> = data.iter().map(|v| v.as_slice().into()).collect();
        writer.write_sample(sample, &slices, sample as u64, 0.5).unwrap();
    }
    writer.finish().unwrap();
}
