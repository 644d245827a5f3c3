//! JAX-CFD netCDF-4, read as the HDF5 it is.
//!
//! Variables `u, v, w` and scalars over the dimensions `([sample,] time, x, y, z)`, found by their attached scales.
//! Coordinates are cell centres although components sit on faces: the attribute `offset` of a variable holds the
//! true place in cells, and stays with the field's attributes. Global attributes become parameters where they are
//! numbers.
//!
//! Source: `velocity_trajectory_to_xarray` in <https://github.com/google/jax-cfd>; netCDF-4 file format.

use std::path::Path;

use super::dataset::{Dataset, Layout, OpenOptions, Place, Role, all_complete, field, grid, stem, times};
use super::hdf5::{self, Attr, Source};
use super::well::AXES;
use crate::error::{Error, Result};

/// Whether the root holds dimension scales named `x` and `time`.
pub(super) fn looks_like(source: &dyn Source) -> Result<bool> {
    Ok(source.contains("/x") && source.contains("/time") && is_scale(source, "/time")?)
}

fn is_scale(source: &dyn Source, dataset: &str) -> Result<bool> {
    Ok(source.attributes(dataset)?.get("CLASS").and_then(Attr::as_text) == Some("DIMENSION_SCALE"))
}

/// Describes a file.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let source = hdf5::open(path)?;
    let s = source.as_ref();
    let dim = AXES.iter().filter(|name| s.contains(&format!("/{name}"))).count();
    let mut points = Vec::new();
    for name in &AXES[..dim] {
        let dataset = format!("/{name}");
        let n = s.info(&dataset)?.shape.iter().product();
        points.push((n, coordinate(s, &dataset)?));
    }
    let mut fields = Vec::new();
    let (mut samples, mut frames) = (1, None);
    for member in s.members("/")?.into_iter().filter(|m| !m.is_group) {
        let dataset = format!("/{}", member.name);
        if is_scale(s, &dataset)? {
            continue;
        }
        let Some(roles) = roles(&s.scales(&dataset)?, dim) else { continue };
        let shape = s.info(&dataset)?.shape;
        for (role, &n) in roles.iter().zip(&shape) {
            match role {
                Role::Sample => samples = n,
                Role::Time => frames = Some(n),
                _ => {}
            }
        }
        fields.push(field(s, &member.name, 0, Place::new(dataset, &roles))?);
    }
    if fields.is_empty() {
        return Err(Error::format(path, "no variable over (sample, time, x, y, z): not a file of this layout"));
    }
    let stamps = if frames.is_some() { coordinate(s, "/time")? } else { Some(vec![0.0]) };
    let attributes = s.attributes("/")?;
    let parameters = attributes.iter().filter_map(|(name, a)| Some((name.clone(), a.as_f64()?))).collect();
    Ok(Dataset {
        path: path.to_owned(),
        layout: Layout::NetCdf,
        name: stem(path),
        samples,
        times: times(path, frames.unwrap_or(1), stamps, options)?,
        grid: grid(path, &points, options)?,
        fields,
        parameters,
        attributes,
        complete: all_complete(path, samples)?,
        warnings: Vec::new(),
        source,
    })
}

/// Values of a coordinate; a dimension without values says so in its name.
fn coordinate(source: &dyn Source, dataset: &str) -> Result<Option<Vec<f64>>> {
    let attributes = source.attributes(dataset)?;
    let name = attributes.get("NAME").and_then(Attr::as_text).unwrap_or_default();
    if name.starts_with("This is a netCDF dimension but not a netCDF variable") {
        return Ok(None);
    }
    hdf5::read_all(source, dataset).map(Some)
}

/// Meaning of each axis from the name of its scale; `None` for a variable over other dimensions (`kx`, ...).
fn roles(scales: &[Option<String>], dim: usize) -> Option<Vec<Role>> {
    let roles: Option<Vec<Role>> = scales
        .iter()
        .map(|scale| match scale.as_deref()? {
            "/sample" => Some(Role::Sample),
            "/time" => Some(Role::Time),
            other => AXES[..dim].iter().position(|name| other == format!("/{name}")).map(Role::Space),
        })
        .collect();
    roles.filter(|r| r.iter().any(|role| matches!(role, Role::Space(_))))
}
