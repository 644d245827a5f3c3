//! MATLAB v7.3 files of the Fourier neural operator.
//!
//! HDF5 behind a 512-byte user block. MATLAB is column-major, so a dataset's axes are the reverse of `size()`:
//! `u` of size `[N, x, y, T]` is stored `[T, y, x, N]`, and a sample is read as a hyperslab of the last axis.
//!
//! Navier-Stokes files hold `u [N, x, y, T]`, the initial state `a [N, x, y]` and `t [1, T]`; Burgers files
//! `a, u [N, x]`; Darcy files `coeff, sol [N, x, y]`. The grid is the unit box, right end excluded, unless an extent
//! is given. Files in MATLAB's older v5 format are not HDF5 and are refused with that hint.
//!
//! Source: <https://github.com/neuraloperator/neuraloperator>, Li et al., ICLR 2021, and the files themselves.

use std::collections::BTreeMap;
use std::path::Path;

use super::dataset::{Dataset, Layout, OpenOptions, Place, Role, all_complete, field, grid, stem, times};
use super::hdf5;
use crate::error::{Error, Result};

/// Describes a v7.3 file.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    if !hdf5::is_hdf5(path) {
        std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
        return Err(Error::format(path, "not a MATLAB v7.3 file; save older ones again with `save -v7.3`"));
    }
    let source = hdf5::open(path)?;
    let s = source.as_ref();
    let shape_of = |name: &str| -> Result<Option<Vec<usize>>> {
        let dataset = format!("/{name}");
        if !s.contains(&dataset) {
            return Ok(None);
        }
        let mut shape = s.info(&dataset)?.shape;
        shape.reverse();
        Ok(Some(shape))
    };
    let main = if s.contains("/u") { "u" } else { "sol" };
    let shape = shape_of(main)?.ok_or_else(|| Error::format(path, "neither u nor sol: not a file of this layout"))?;
    // A time axis is announced by `t`, not by the rank.
    let stamps = if s.contains("/t") { Some(hdf5::read_all(s, "/t")?) } else { None };
    let dim = shape.len().saturating_sub(1 + usize::from(stamps.is_some()));
    if dim == 0 || dim > 3 {
        return Err(Error::format(path, format!("{main} has size {shape:?}, expected [N, x.., (T)]")));
    }
    let roles = |with_time: bool| -> Vec<Role> {
        let mut roles: Vec<Role> = std::iter::once(Role::Sample).chain((0..dim).map(Role::Space)).collect();
        roles.extend(with_time.then_some(Role::Time));
        roles.reverse();
        roles
    };
    let mut fields = vec![field(s, main, 0, Place::new(format!("/{main}"), &roles(stamps.is_some())))?];
    for name in ["a", "coeff"] {
        if shape_of(name)?.is_some_and(|other| other == shape[..=dim]) {
            fields.push(field(s, name, 0, Place::new(format!("/{name}"), &roles(false)))?);
        }
    }
    let frames = if stamps.is_some() { shape[dim + 1] } else { 1 };
    let points: Vec<_> = shape[1..=dim].iter().map(|&n| (n, None)).collect();
    let mut options = options.clone();
    options.extent.get_or_insert_with(|| vec![1.0; dim]);
    Ok(Dataset {
        path: path.to_owned(),
        layout: Layout::Matlab,
        name: stem(path),
        samples: shape[0],
        times: times(path, frames, stamps.or(Some(vec![0.0])), &options)?,
        grid: grid(path, &points, &options)?,
        fields,
        parameters: BTreeMap::new(),
        attributes: s.attributes("/")?,
        complete: all_complete(path, shape[0])?,
        warnings: Vec::new(),
        source,
    })
}
