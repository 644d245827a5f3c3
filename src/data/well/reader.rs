//! Reading The Well and Well+.

use std::path::Path;

use super::{COMPLETE, CONVENTIONS};
use crate::data::dataset::{Dataset, Layout, OpenOptions, Place, Role, all_complete, field, grid, stem, times};
use crate::data::hdf5::{self, Attr, Source};
use crate::error::{Error, Result};

/// Describes a The Well file.
pub(in crate::data) fn open(path: &Path, options: &OpenOptions) -> Result<Dataset> {
    let source = hdf5::open(path)?;
    let attributes = source.attributes("/")?;
    let bad = |what: String| Error::format(path, what);
    let dims = source
        .attributes("/dimensions")?
        .get("spatial_dims")
        .and_then(Attr::as_texts)
        .ok_or_else(|| bad("/dimensions: attribute spatial_dims is missing".into()))?;
    if dims.is_empty() || dims.len() > 3 {
        return Err(bad(format!("/dimensions: spatial_dims {dims:?}, expected 1 to 3 names")));
    }

    let mut points = Vec::new();
    let mut options = options.clone();
    let mut extents = Vec::new();
    for name in &dims {
        let dataset = format!("/dimensions/{name}");
        let x = hdf5::read_all(source.as_ref(), &dataset)?;
        extents.extend(source.attributes(&dataset)?.get("extent").and_then(Attr::as_f64));
        points.push((x.len(), Some(x)));
    }
    if options.extent.is_none() && extents.len() == dims.len() {
        options.extent = Some(extents);
    }
    let t = hdf5::read_all(source.as_ref(), "/dimensions/time")?;
    let samples = attributes.get("n_trajectories").and_then(Attr::as_f64);
    let samples = samples.ok_or_else(|| bad("attribute n_trajectories is missing".into()))? as usize;

    let mut fields = Vec::new();
    for rank in 0..3 {
        let group = format!("/t{rank}_fields");
        if !source.contains(&group) {
            return Err(bad(format!("group {group} is missing")));
        }
        for member in source.members(&group)?.into_iter().filter(|m| !m.is_group) {
            let dataset = format!("{group}/{}", member.name);
            let roles = roles(source.as_ref(), &dataset, dims.len(), rank)?;
            fields.push(field(source.as_ref(), &member.name, rank, Place::new(dataset, &roles))?);
        }
    }
    // Our own files state the order in which their fields were given.
    if let Some(order) = provenance_texts(source.as_ref(), "field_order")? {
        fields.sort_by_key(|f| order.iter().position(|name| *name == f.name));
    }

    let names = attributes.get("simulation_parameters").and_then(Attr::as_texts).unwrap_or_default();
    let parameters = names.iter().filter_map(|n| Some((n.clone(), attributes.get(n)?.as_f64()?))).collect();
    let is_ours = attributes.get("Conventions").and_then(Attr::as_text) == Some(CONVENTIONS);
    let complete = match is_ours {
        true => hdf5::read_all(source.as_ref(), COMPLETE)?.iter().map(|&c| c == 1.0).collect(),
        false => all_complete(path, samples)?,
    };
    if complete.len() != samples {
        return Err(bad(format!("{} completion flags for {samples} samples", complete.len())));
    }
    Ok(Dataset {
        path: path.to_owned(),
        layout: Layout::Well,
        name: attributes.get("dataset_name").and_then(Attr::as_text).map_or_else(|| stem(path), str::to_owned),
        samples,
        times: times(path, t.len(), Some(t), &options)?,
        grid: grid(path, &points, &options)?,
        fields,
        parameters,
        attributes,
        complete,
        warnings: Vec::new(),
        source,
    })
}

/// Axes of a field: `[sample] + [time] + [x, ..] + [component] * rank`, each only if the field varies along it.
fn roles(source: &dyn Source, dataset: &str, dim: usize, rank: usize) -> Result<Vec<Role>> {
    let attributes = source.attributes(dataset)?;
    let flag = |name: &str| attributes.get(name).and_then(Attr::as_bool).unwrap_or(true);
    let varying = match attributes.get("dim_varying") {
        Some(Attr::Bools(v)) if v.len() == dim => v.clone(),
        _ => vec![true; dim],
    };
    let mut roles = Vec::new();
    roles.extend(flag("sample_varying").then_some(Role::Sample));
    roles.extend(flag("time_varying").then_some(Role::Time));
    roles.extend((0..dim).filter(|&axis| varying[axis]).map(Role::Space));
    // Some files store a matrix as one axis of D^2, as The Well's format page says.
    let flat = rank == 2 && source.info(dataset)?.shape.len() == roles.len() + 1;
    roles.extend(std::iter::repeat_n(Role::Channel, if flat { 1 } else { rank }));
    Ok(roles)
}

fn provenance_texts(source: &dyn Source, name: &str) -> Result<Option<Vec<String>>> {
    if !source.contains("/provenance") {
        return Ok(None);
    }
    Ok(source.attributes("/provenance")?.get(name).and_then(Attr::as_texts))
}
