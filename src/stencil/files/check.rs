//! What is checked of a file before it is read.

use super::Expected;
use crate::data::hdf5::{self, Attr};
use crate::data::{Dataset, Layout};
use crate::error::{Error, Result};

/// Relative deviation up to which two numbers agree; files store some of theirs in single precision.
const TOLERANCE: f64 = 1e-5;

/// Points along an axis of a box that is as expected.
pub(super) fn box_of(dataset: &Dataset, expected: &Expected) -> Result<usize> {
    let bad = |message: String| Error::format(dataset.path(), message);
    let (grid, (name, length)) = (dataset.grid(), expected.length);
    if grid.dim() != expected.dim {
        return Err(bad(format!("{} space axes, must be {}", grid.dim(), expected.dim)));
    }
    if let Some(&found) = grid.lengths().iter().find(|found| !agree(**found, length)) {
        return Err(bad(format!(
            "a period of {found} in the file, but {name} = {length}: they must agree (data.source.extent overrides the file)"
        )));
    }
    let points = grid.shape()[0];
    if grid.shape().iter().any(|&n| n != points) {
        return Err(bad(format!("{:?} points, must be as many along all axes", grid.shape())));
    }
    match dataset.layout() {
        Layout::Well => {
            let source = hdf5::open(dataset.path())?;
            let kind = dataset.attributes().get("grid_type").and_then(Attr::as_text).unwrap_or("cartesian");
            if kind != "cartesian" {
                return Err(bad(format!("grid_type {kind:?}, must be \"cartesian\"")));
            }
            let group = "/boundary_conditions";
            let members = if source.contains(group) { source.members(group)? } else { Vec::new() };
            for member in members.iter().filter(|member| member.is_group) {
                let attributes = source.attributes(&format!("{group}/{}", member.name))?;
                let kind = attributes.get("bc_type").and_then(Attr::as_text).unwrap_or("PERIODIC");
                if !kind.eq_ignore_ascii_case("periodic") {
                    return Err(bad(format!("{group}/{}: bc_type {kind:?}, all axes must be periodic", member.name)));
                }
            }
        }
        // The generator of the incompressible sets has walls: https://github.com/pdebench/PDEBench.
        Layout::PdeBench if dataset.field("force").is_ok() => {
            return Err(
                bad("incompressible flow of PDEBench lies between walls, all axes must be periodic".to_owned()),
            );
        }
        _ => {}
    }
    Ok(points)
}

/// First frame that is used, and stored frames from one to the next.
pub(super) fn frames_of(dataset: &Dataset, skip: f64, (name, spacing): (&str, f64)) -> Result<(usize, usize)> {
    let bad = |message: String| Error::format(dataset.path(), message);
    let times = dataset.times();
    let [first, .., last] = times else {
        return Err(bad(format!("{} frames, must be at least 2", times.len())));
    };
    let stored = (last - first) / (times.len() - 1) as f64;
    let expected = |index: usize| first + index as f64 * stored;
    // Times in single precision are off by more than the mean of their differences.
    let even = times.iter().enumerate().all(|(i, t)| (t - expected(i)).abs() <= 1e-2 * stored);
    if stored <= 0.0 || !even {
        return Err(bad("the times of the frames must be equally spaced".to_owned()));
    }
    let stride = (spacing / stored).round();
    if stride < 1.0 || !agree(stride * stored, spacing) {
        return Err(bad(format!(
            "a frame every {stored}, must divide {name} = {spacing} (data.source.dt overrides the file)"
        )));
    }
    let left_out = (skip / stored).round();
    if (left_out * stored - skip).abs() > TOLERANCE * stored * left_out.max(1.0) {
        let rule = format!("must be a multiple of the {stored} between frames of {}", dataset.path().display());
        return Err(Error::parameter("data.source.skip", skip, rule));
    }
    Ok((left_out as usize, stride as usize))
}

/// Refuses a file that states another equation or other coefficients; notes what it does not state.
pub(super) fn equation_of(dataset: &Dataset, expected: &Expected, notes: &mut Vec<String>) -> Result<()> {
    let bad = |message: String| Error::format(dataset.path(), message);
    let id = dataset.attributes().get("equation_id").and_then(Attr::as_text);
    if let Some(id) = id.filter(|id| *id != expected.equation) {
        return Err(bad(format!("equation {id} in the file, must be {}", expected.equation)));
    }
    let mut unknown = Vec::new();
    for &(name, ours, value) in &expected.coefficients {
        let found =
            dataset.parameters().iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, &found)| found);
        let found = match found {
            // PDEBench writes the viscosity of its Burgers equation as Nu / pi (Takamoto et al., NeurIPS 2022, app. D).
            Some(nu) if dataset.layout() == Layout::PdeBench && expected.dim == 1 => nu / std::f64::consts::PI,
            Some(found) => found,
            // Files of this toolkit state all that is not zero.
            None if id.is_some() => 0.0,
            None => {
                unknown.push(ours);
                continue;
            }
        };
        if !agree(found, value) {
            return Err(bad(format!("{name} = {found} in the file, but {ours} = {value}: they must agree")));
        }
    }
    // Both components of the mean flow have one name.
    unknown.dedup();
    if !unknown.is_empty() {
        notes.push(format!("{} does not state {}: not checked", dataset.path().display(), unknown.join(", ")));
    }
    Ok(())
}

/// Fields that make the state.
pub(super) fn fields_of(dataset: &Dataset, wanted: &[String], expected: &Expected) -> Result<Vec<String>> {
    let usual = expected.fields.iter().find(|names| names.iter().all(|name| dataset.field(name).is_ok()));
    let names: Vec<String> = match (wanted.is_empty(), usual) {
        (false, _) => wanted.to_vec(),
        (true, Some(names)) => names.iter().map(|name| (*name).to_owned()).collect(),
        (true, None) => {
            let names: Vec<_> = dataset.fields().iter().map(|field| field.name.as_str()).collect();
            let usual: Vec<_> = expected.fields.iter().map(|names| names.join(" and ")).collect();
            let message = format!(
                "fields {}, expected {}: name them in data.source.fields",
                names.join(", "),
                usual.join(", or ")
            );
            return Err(Error::format(dataset.path(), message));
        }
    };
    let mut channels = 0;
    for name in &names {
        let refused = |e: Error| Error::format(dataset.path(), format!("data.source.fields: {e}"));
        channels += dataset.field(name).map_err(refused)?.channels;
    }
    match (1..=expected.dim).contains(&channels) {
        true => Ok(names),
        false => {
            let message = format!("{}: {channels} components, must be 1 to {}", names.join(", "), expected.dim);
            Err(Error::format(dataset.path(), message))
        }
    }
}

/// Place of the first point for each channel: the file's coordinates, or the offset that a variable states.
pub(super) fn offsets_of(dataset: &Dataset, fields: &[String]) -> Result<Vec<Vec<f64>>> {
    let grid = dataset.grid();
    let axes = ["x", "y", "z"];
    let coordinate = |axis: usize| -> Result<f64> {
        let name = match dataset.layout() {
            Layout::Well => format!("/dimensions/{}", axes[axis]),
            Layout::PdeBench => format!("/{}-coordinate", axes[axis]),
            Layout::NetCdf => format!("/{}", axes[axis]),
            Layout::Matlab | Layout::Npy => return Ok(0.0),
        };
        let source = hdf5::open(dataset.path())?;
        let first = if source.contains(&name) { source.read(&name, &[0], &[1])?.into_real::<f64>() } else { vec![0.0] };
        // In whole spacings; the box begins at 0 or anywhere else.
        Ok(first[0] * grid.shape()[axis] as f64 / grid.lengths()[axis])
    };
    let points: Vec<f64> = (0..grid.dim()).map(coordinate).collect::<Result<_>>()?;
    let mut offsets = Vec::new();
    for name in fields {
        let field = dataset.field(name)?;
        let stated = match field.attributes.get("offset") {
            Some(Attr::Floats(offset)) if offset.len() == grid.dim() => offset.clone(),
            _ => points.clone(),
        };
        offsets.extend(std::iter::repeat_n(stated, field.channels));
    }
    Ok(offsets)
}

fn agree(a: f64, b: f64) -> bool {
    (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}
