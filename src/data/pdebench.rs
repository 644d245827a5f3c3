//! PDEBench, in its three families.
//!
//! * A, flat: `/tensor [B, T, x]`, or the fields of compressible flow `[B, T, x, (y, (z))]`, or Darcy's `/nu` and
//!   `/tensor`; coordinates are cell centres; parameters are root attributes.
//! * B, one group a sample: `/0000/data [T, x, (y), C]` with `/0000/grid/{x,y,t}`.
//! * C, incompressible flow: `/velocity /particles [B, T, x, y, C]`, `/force [B, x, y, C]`, `/t [B, T]`; no
//!   coordinates, so the extent must be given.
//!
//! Family A has one time stamp more than states; the last one is dropped with a warning. The families are told
//! apart by the names inside, never by suffix or rank.
//!
//! Source: the generators and loaders of <https://github.com/pdebench/PDEBench>.

use std::collections::BTreeMap;
use std::path::Path;

use super::dataset::{Dataset, Field, Layout, OpenOptions, Place, Role, all_complete, field, grid, stem, times};
use super::hdf5::{self, Attr, Source};
use super::well::AXES;
use crate::error::{Error, Result};

/// Fields of compressible flow.
const FLOW: [&str; 5] = ["density", "pressure", "Vx", "Vy", "Vz"];

/// Whether names inside are those of a family.
pub(super) fn looks_like(source: &dyn Source) -> Result<bool> {
    Ok(["/tensor", "/density", "/particles"].iter().any(|name| source.contains(name)) || !groups(source)?.is_empty())
}

/// Groups `0000, 0001, ...` in the order of their numbers.
fn groups(source: &dyn Source) -> Result<Vec<String>> {
    let mut numbered: Vec<(u64, String)> = source
        .members("/")?
        .into_iter()
        .filter(|m| m.is_group && source.contains(&format!("/{}/data", m.name)))
        .filter_map(|m| Some((m.name.parse().ok()?, m.name)))
        .collect();
    numbered.sort();
    Ok(numbered.into_iter().map(|(_, name)| name).collect())
}

/// Describes a PDEBench file.
pub(super) fn open(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let source = hdf5::open(path)?;
    let parts = if source.contains("/velocity") && source.contains("/t") {
        incompressible(path, source.as_ref(), options)?
    } else if source.contains("/tensor") || source.contains("/density") {
        flat(path, source.as_ref(), options)?
    } else {
        grouped(path, source.as_ref(), options)?
    };
    let attributes = source.attributes("/")?;
    let parameters: BTreeMap<String, f64> = attributes
        .iter()
        .filter(|(n, _)| *n != "latestIndex")
        .filter_map(|(n, a)| Some((n.clone(), a.as_f64()?)))
        .collect();
    Ok(Dataset {
        path: path.to_owned(),
        layout: Layout::PdeBench,
        name: stem(path),
        samples: parts.samples,
        times: parts.times,
        grid: parts.grid,
        fields: parts.fields,
        parameters,
        attributes,
        complete: all_complete(path, parts.samples)?,
        warnings: parts.warnings,
        source,
    })
}

/// What differs between the families.
struct Parts {
    samples: usize,
    times: Vec<f64>,
    grid: crate::field::Grid,
    fields: Vec<Field>,
    warnings: Vec<String>,
}

/// `[B, T]` and the space axes of a stored shape.
fn space(count: usize) -> impl Iterator<Item = Role> {
    (0..count).map(Role::Space)
}

fn first(path: &Path, dataset: &str, shape: &[usize]) -> Result<usize> {
    shape.first().copied().ok_or_else(|| Error::format(path, format!("{dataset} is a scalar")))
}

fn flat(path: &Path, source: &dyn Source, options: &OpenOptions) -> Result<Parts> {
    let dims = AXES.iter().filter(|name| source.contains(&format!("/{name}-coordinate"))).count();
    let mut points = Vec::new();
    for name in &AXES[..dims] {
        let x = hdf5::read_all(source, &format!("/{name}-coordinate"))?;
        points.push((x.len(), Some(x)));
    }
    let roles: Vec<Role> = [Role::Sample, Role::Time].into_iter().chain(space(dims)).collect();
    let mut fields = Vec::new();
    let darcy = source.contains("/nu");
    if darcy {
        let roles: Vec<Role> = [Role::Sample].into_iter().chain(space(dims)).collect();
        fields.push(field(source, "nu", 0, Place::new("/nu", &roles))?);
    }
    if source.contains("/tensor") {
        fields.push(field(source, "u", 0, Place::new("/tensor", &roles))?);
    }
    for name in FLOW {
        let dataset = format!("/{name}");
        if source.contains(&dataset) {
            fields.push(field(source, name, 0, Place::new(dataset, &roles))?);
        }
    }
    let dataset = &fields.last().expect("one of the names was found").place.datasets[0];
    let shape = source.info(dataset)?.shape;
    if shape.len() != roles.len() {
        return Err(Error::format(
            path,
            format!("{dataset}: shape {shape:?}, but {dims} coordinates: expected [B, T, x..]"),
        ));
    }
    let frames = shape[1];
    let mut warnings = Vec::new();
    let mut stamps = match source.contains("/t-coordinate") {
        true => Some(hdf5::read_all(source, "/t-coordinate")?),
        false if darcy => Some(vec![0.0]),
        false => None,
    };
    if let Some(t) = stamps.as_mut().filter(|t| t.len() == frames + 1) {
        t.pop();
        warnings.push(format!("{} time stamps for {frames} states: the last one is dropped", frames + 1));
    }
    Ok(Parts {
        samples: shape[0],
        times: times(path, frames, stamps, options)?,
        grid: grid(path, &points, options)?,
        fields,
        warnings,
    })
}

fn grouped(path: &Path, source: &dyn Source, options: &OpenOptions) -> Result<Parts> {
    let groups = groups(source)?;
    let group = groups.first().ok_or_else(|| {
        Error::format(path, "none of /tensor, /density, /velocity with /t, /0000/data: not a PDEBench file")
    })?;
    let dims = AXES.iter().filter(|name| source.contains(&format!("/{group}/grid/{name}"))).count();
    let mut points = Vec::new();
    for name in &AXES[..dims] {
        let x = hdf5::read_all(source, &format!("/{group}/grid/{name}"))?;
        points.push((x.len(), Some(x)));
    }
    let stamps = format!("/{group}/grid/t");
    let stamps = if source.contains(&stamps) { Some(hdf5::read_all(source, &stamps)?) } else { None };
    let datasets: Vec<String> = groups.iter().map(|g| format!("/{g}/data")).collect();
    let shape = source.info(&datasets[0])?.shape;
    if shape.len() != dims + 2 {
        return Err(Error::format(path, format!("{}: shape {shape:?}, expected [T, {dims} axes, C]", datasets[0])));
    }
    let roles: Vec<Role> = [Role::Time].into_iter().chain(space(dims)).chain([Role::Channel]).collect();
    let channels = shape[dims + 1];
    let mut fields = Vec::new();
    for c in 0..channels {
        let place = Place { datasets: datasets.clone(), roles: roles.clone(), channels: Some(c..c + 1) };
        let name = if channels == 1 { "u".to_owned() } else { format!("u{c}") };
        fields.push(field(source, &name, 0, place)?);
    }
    Ok(Parts {
        samples: groups.len(),
        times: times(path, shape[0], stamps, options)?,
        grid: grid(path, &points, options)?,
        fields,
        warnings: Vec::new(),
    })
}

fn incompressible(path: &Path, source: &dyn Source, options: &OpenOptions) -> Result<Parts> {
    let shape = source.info("/velocity")?.shape;
    let [samples, frames, nx, ny, _] = shape[..] else {
        return Err(Error::format(path, format!("/velocity: shape {shape:?}, expected [B, T, x, y, 2]")));
    };
    let moving = [Role::Sample, Role::Time, Role::Space(0), Role::Space(1), Role::Channel];
    let fixed = [Role::Sample, Role::Space(0), Role::Space(1), Role::Channel];
    let mut fields = vec![field(source, "velocity", 1, Place::new("/velocity", &moving))?];
    if source.contains("/particles") {
        fields.push(field(source, "particles", 0, Place::new("/particles", &moving))?);
    }
    if source.contains("/force") {
        fields.push(field(source, "force", 1, Place::new("/force", &fixed))?);
    }
    let t = source.info("/t")?.shape;
    let rows = first(path, "/t", &t)?;
    let all: Vec<f64> = hdf5::read_all(source, "/t")?;
    let row = all.len() / rows.max(1);
    let mut warnings = Vec::new();
    if row > 0 && all.chunks(row).any(|other| other != &all[..row]) {
        warnings.push("the samples have different times; those of the first are taken".to_owned());
    }
    // The generator counts written frames; what lies beyond was never computed.
    let latest = source.attributes("/")?.get("latestIndex").and_then(Attr::as_f64);
    if latest.is_some_and(|last| last + 1.0 < frames as f64) {
        warnings.push(format!("latestIndex is {}: the last frames were never written", latest.unwrap_or(-1.0)));
    }
    Ok(Parts {
        samples,
        times: times(path, frames, Some(all[..row].to_vec()), options)?,
        grid: grid(path, &[(nx, None), (ny, None)], options)?,
        fields,
        warnings,
    })
}
