//! Figures of a data set: fields, spectra, invariants, errors, animations.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ndarray::{Array2, ArrayD, Axis as NdAxis, Ix1, Ix2, s};

use super::equation::WithPde;
use super::recipe::Recipe;
use crate::data::{Dataset, Field, diff};
use crate::error::{Error, Result};
use crate::field::Grid;
use crate::pde::{Pde, Snapshot};
use crate::plot::{Animation, Axis, Curve, Figure, HeatMap, Legend, LinePlot, Panel, Quantity, Slope, Stroke, animate};
use crate::spectral::Spectra;

/// Samples of which curves are drawn or averaged.
const SAMPLES: usize = 4;

/// Invariants below are round-off of zero.
const ZERO: f64 = 1e-10;

/// Frames of an animation at most: more make files that no page loads.
const ANIMATED: usize = 60;

/// What can be drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Space-time diagrams in one dimension, snapshots in two, those of a plane in three.
    Field,
    /// Energy over wavenumber.
    Spectrum,
    /// Conserved and balanced quantities over time.
    Invariants,
    /// Measured errors over time, or the difference to a second file.
    Errors,
    /// An animated GIF.
    Animation,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 5] = [Self::Field, Self::Spectrum, Self::Invariants, Self::Errors, Self::Animation];

    /// Name, on the command line and in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Spectrum => "spectrum",
            Self::Invariants => "invariants",
            Self::Errors => "errors",
            Self::Animation => "animation",
        }
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let names = Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or_else(|| Error::parameter("kind", name, format!("must be one of {names}")))
    }
}

/// Draws the figures of a data set into `folder` as `STEM_KIND.png`, `.svg` and `.gif`; gives the files that were written.
///
/// A kind that does not apply (invariants of an unknown equation, errors that nobody measured) is left out. With `against`
/// the errors are those relative to that file.
///
/// # Errors
///
/// [`Error::Format`] if no sample is complete; what reading and writing may give.
pub fn draw(data: &Dataset, kinds: &[Kind], against: Option<&Dataset>, folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
    let samples: Vec<usize> = (0..data.samples()).filter(|&i| data.complete()[i]).take(SAMPLES).collect();
    if samples.is_empty() {
        return Err(Error::format(data.path(), "has no complete sample to draw"));
    }
    let stem = data.path().file_stem().map_or_else(|| data.name().into(), |s| s.to_string_lossy());
    let view = View { data, samples };
    let mut written = Vec::new();
    for &kind in kinds {
        let path = |extension: &str| folder.join(format!("{stem}_{}.{extension}", kind.name()));
        let figure = match kind {
            Kind::Field => view.field()?,
            Kind::Spectrum => view.spectrum()?,
            Kind::Invariants => view.invariants()?,
            Kind::Errors => match against {
                Some(other) => Some(view.against(other)?),
                None => view.errors(),
            },
            Kind::Animation => {
                if view.animation(&path("gif"))? {
                    written.push(path("gif"));
                }
                None
            }
        };
        if let Some(figure) = figure {
            for extension in ["png", "svg"] {
                figure.save(path(extension))?;
                written.push(path(extension));
            }
        }
    }
    Ok(written)
}

struct View<'a> {
    data: &'a Dataset,
    samples: Vec<usize>,
}

impl View<'_> {
    fn main_field(&self) -> &Field {
        &self.data.fields()[0]
    }

    /// One number a point of a frame: a channel, or the magnitude of a vector.
    fn frame(&self, sample: usize, frame: usize) -> Result<ArrayD<f64>> {
        let field = self.main_field();
        let state = self.data.read::<f64>(&field.name, sample, frame..frame + 1, 1)?.index_axis_move(NdAxis(0), 0);
        Ok(if field.channels == 1 {
            state.index_axis_move(NdAxis(0), 0)
        } else {
            state.mapv(|u| u * u).sum_axis(NdAxis(0)).mapv(f64::sqrt)
        })
    }

    /// A frame as a plane, cut at z = 0.
    fn plane(&self, sample: usize, frame: usize) -> Result<Array2<f64>> {
        let mut field = self.frame(sample, frame)?;
        while field.ndim() > 2 {
            let last = NdAxis(field.ndim() - 1);
            field = field.index_axis_move(last, 0);
        }
        Ok(field.into_dimensionality::<Ix2>().expect("two axes are left"))
    }

    /// Symbol of what [`View::frame`] gives.
    fn label(&self) -> String {
        let field = self.main_field();
        let symbol = match field.name.as_str() {
            "vorticity" => "ω",
            "velocity" => "|u|",
            name => name,
        };
        match field.units() {
            "1" => symbol.to_owned(),
            units => format!("{symbol} ({units})"),
        }
    }

    /// `count` frames at most, spread evenly from the first to the last.
    fn spread(&self, count: usize) -> Vec<usize> {
        let last = self.data.times().len() - 1;
        let count = count.min(last + 1);
        (0..count).map(|i| if count == 1 { 0 } else { (i * last + (count - 1) / 2) / (count - 1) }).collect()
    }

    fn field(&self) -> Result<Option<Figure>> {
        let (grid, times) = (self.data.grid(), self.data.times());
        if grid.dim() == 1 {
            if times.len() < 2 {
                return Ok(None);
            }
            let ends = [times[0], times[times.len() - 1]];
            let mut maps = Vec::new();
            for &sample in self.samples.iter().take(2) {
                let u = self.data.read::<f64>(&self.main_field().name, sample, 0..times.len(), 1)?;
                let u = u.index_axis_move(NdAxis(1), 0).into_dimensionality::<Ix2>().expect("time and x");
                let map = HeatMap::space_time(u.view(), grid.lengths()[0], ends, quantity(u.iter()));
                let map = if self.samples.len() > 1 { map.title(format!("sample {sample}")) } else { map };
                maps.push(map.label(self.label()).smooth());
            }
            return Ok(Some(if maps.len() == 1 {
                Figure::single_column().row(maps)
            } else {
                Figure::snapshots(maps, 2)?
            }));
        }
        let sample = self.samples[0];
        let mut maps = Vec::new();
        // Full rows of three.
        for frame in self.spread(if self.data.times().len() < 6 { 3 } else { 6 }) {
            let plane = self.plane(sample, frame)?;
            let lengths = [grid.lengths()[0], grid.lengths()[1]];
            let map = HeatMap::field(plane.view(), lengths, quantity(plane.iter()));
            let at = if grid.dim() == 3 { ", z = 0" } else { "" };
            maps.push(map.title(format!("t = {}{at}", decimal(times[frame]))).label(self.label()).smooth());
        }
        // One quantity, one kind of colours.
        let is_signed = maps.iter().any(|m| m.quantity == Quantity::Signed);
        if is_signed {
            for map in &mut maps {
                map.quantity = Quantity::Signed;
                map.colours = Quantity::Signed.colours();
            }
        }
        Figure::snapshots(maps, 3).map(Some)
    }

    fn spectrum(&self) -> Result<Option<Figure>> {
        let (grid, field) = (self.data.grid(), self.main_field());
        let spectra = Spectra::<f64>::plan(grid);
        let is_vorticity = grid.dim() == 2 && field.name == "vorticity";
        let mut plot = LinePlot::new(Axis::new("k").log(), Axis::new("E(k)").log());
        let mut reference = Vec::new();
        for (frame, stroke) in self.spread(3).into_iter().zip([Stroke::Dotted, Stroke::Dashed, Stroke::Solid]) {
            let mut mean: Vec<f64> = Vec::new();
            let mut k = Vec::new();
            for &sample in &self.samples {
                let state = self.data.read::<f64>(&field.name, sample, frame..frame + 1, 1)?;
                let spectrum = match is_vorticity {
                    true => spectra.energy_spectrum_of_vorticity(state.view()),
                    false => spectra.energy_spectrum(state.view()),
                };
                mean.resize(spectrum.density.len(), 0.0);
                mean.iter_mut().zip(&spectrum.density).for_each(|(m, e)| *m += e / self.samples.len() as f64);
                k = spectrum.k;
            }
            // Shells beyond the shortest axis are cut off by the corners of the box.
            let shells = k.iter().take_while(|k| **k <= largest_k(grid)).count();
            let (k, mean) = (&k[1..shells], &mean[1..shells]);
            // What lies below is the rounding of the file, or modes that the solver does not keep.
            let floor = mean.iter().fold(0.0f64, |m, e| m.max(*e)) * if field.is_f32 { 1e-14 } else { 1e-28 };
            let count = mean.iter().take_while(|e| **e > floor).count();
            reference = k[..count].iter().copied().zip(mean[..count].iter().copied()).collect();
            let label = format!("t = {}", decimal(self.data.times()[frame]));
            if count > 1 {
                plot = plot.curve(Curve::new(&k[..count], &mean[..count], label).stroke(stroke));
            }
        }
        if plot.curves.is_empty() {
            return Ok(None);
        }
        let equation = self.data.attributes().get("equation_id").and_then(|a| a.as_text()).unwrap_or_default();
        let power = match equation {
            "navier_stokes_2d" => Some(-3.0),
            "navier_stokes_3d" => Some(-5.0 / 3.0),
            "burgers" => Some(-2.0),
            _ => None,
        };
        let last = reference.len();
        if let Some(power) = power
            && last > 12
        {
            let (from, to) = (reference[last / 12], reference[last / 4]);
            plot = plot.slope(Slope::new("k", power, [from.0, to.0], 2.5 * from.1));
        }
        Ok(Some(Figure::single_column().row([plot])))
    }

    fn invariants(&self) -> Result<Option<Figure>> {
        // The equation stands in the recipe; files of others have none.
        let recipe = self.data.provenance().and_then(|p| Recipe::parse(&p.config_toml, &[]).ok());
        let Some(recipe) = recipe else { return Ok(None) };
        let grid = self.data.grid();
        let frames = self.spread(if grid.points() > 10_000 { 40 } else { 400 });
        let times: Vec<f64> = frames.iter().map(|&frame| self.data.times()[frame]).collect();
        // Of each invariant, a series for every sample.
        let mut all: Vec<Vec<InvariantSeries>> = Vec::new();
        for &sample in &self.samples {
            let mut states = Vec::new();
            for &frame in &frames {
                let parts = self.data.fields().iter();
                let parts = parts.map(|f| self.data.read::<f64>(&f.name, sample, frame..frame + 1, 1));
                let parts = parts.collect::<Result<Vec<_>>>()?;
                let views: Vec<_> = parts.iter().map(|p| p.index_axis(NdAxis(0), 0)).collect();
                let state = ndarray::concatenate(NdAxis(0), &views);
                states.push(state.map_err(|_| Error::format(self.data.path(), "fields differ in shape"))?);
            }
            let series = recipe.equation.with(grid, Series { grid, states: &states })??;
            all.resize_with(series.len(), Vec::new);
            all.iter_mut().zip(series).for_each(|(all, one)| all.push(one));
        }
        // What is zero and stays zero, as a mean, is no picture.
        all.retain(|series| times.len() > 1 && series.iter().any(|s| s.values.iter().any(|v| v.abs() > ZERO)));
        let panel = |series: &Vec<InvariantSeries>| {
            let curves = series.iter().zip(&self.samples).map(|(series, sample)| {
                let label = if self.samples.len() > 1 { format!("sample {sample}") } else { String::new() };
                series.curve(&times, label)
            });
            curves.fold(series[0].axes(&times), LinePlot::curve)
        };
        let mut panels: Vec<LinePlot> = all.iter().map(panel).collect();
        panels.iter_mut().skip(1).for_each(|panel| panel.legend = Legend::Hidden);
        let figure = if panels.len() == 1 { Figure::single_column() } else { Figure::double_column() };
        let rows = panels.chunks(if panels.len() == 4 { 2 } else { 3 });
        Ok((!panels.is_empty()).then(|| rows.fold(figure, |figure, row| figure.row(row.iter().cloned()))))
    }

    fn errors(&self) -> Option<Figure> {
        let curves = self.data.error_curves();
        let first = curves.first()?;
        let times = &self.data.times()[1..];
        if times.is_empty() {
            return None;
        }
        let mut plot = LinePlot::new(time_axis(times), Axis::new("relative L² error").log());
        // A run that agrees to the last bit has no place on a logarithmic axis.
        let positive = |e: &[f64]| e[1..].iter().map(|e| e.max(1e-17)).collect::<Vec<_>>();
        plot = plot.curve(Curve::new(times, &positive(&first.time), "in time, against dt/2"));
        plot = plot.curve(Curve::new(times, &positive(&first.space), "in space, against 2n").stroke(Stroke::Dashed));
        Some(Figure::single_column().row([plot]))
    }

    fn against(&self, other: &Dataset) -> Result<Figure> {
        let difference = diff::diff(other, self.data)?;
        let name = other.path().file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let mut plot = LinePlot::new(Axis::new("t"), Axis::new("relative L² difference").log());
        for field in &difference.fields {
            let positive: Vec<f64> = field.relative_l2.iter().map(|e| e.max(1e-17)).collect();
            plot = plot.curve(Curve::new(&difference.times, &positive, &*field.name));
        }
        Ok(Figure::single_column().row([plot.title(format!("against {name}"))]))
    }

    /// Whether there was something to animate.
    fn animation(&self, path: &Path) -> Result<bool> {
        let (grid, times) = (self.data.grid(), self.data.times());
        let frames = self.spread(ANIMATED);
        if frames.len() < 2 {
            return Ok(false);
        }
        let sample = self.samples[0];
        let times: Vec<f64> = frames.iter().map(|&frame| times[frame]).collect();
        if grid.dim() > 1 {
            let planes = frames.iter().map(|&f| self.plane(sample, f)).collect::<Result<Vec<_>>>()?;
            let views: Vec<_> = planes.iter().map(|p| p.view()).collect();
            let lengths = [grid.lengths()[0], grid.lengths()[1]];
            let kind = quantity(planes.iter().flatten());
            let like = HeatMap::field(views[0], lengths, kind).label(self.label()).smooth();
            animate(path, &like, &views, &times, Animation::default())?;
            return Ok(true);
        }
        let x = grid.coordinates(0);
        let lines = frames.iter().map(|&f| self.frame(sample, f)).collect::<Result<Vec<_>>>()?;
        let [lo, hi] = lines.iter().flatten().fold([f64::MAX, f64::MIN], |[lo, hi], u| [lo.min(*u), hi.max(*u)]);
        let pad = 0.05 * (hi - lo).max(1e-12);
        let figures = lines.iter().zip(&times).map(|(line, t)| {
            let line = line.view().into_dimensionality::<Ix1>().expect("one axis").slice(s![..]).to_vec();
            let plot = LinePlot::new(
                Axis::new("x").limits(0.0, grid.lengths()[0]),
                Axis::new(self.label()).limits(lo - pad, hi + pad),
            );
            let plot = plot.curve(Curve::new(&x, &line, "")).title(format!("t = {}", decimal(*t)));
            Figure::single_column().row([Panel::from(plot)]).dpi(120.0)
        });
        Animation::default().save(path, figures)?;
        Ok(true)
    }
}

/// Zero is special to values of both signs.
fn quantity<'a>(values: impl Iterator<Item = &'a f64>) -> Quantity {
    let [lo, hi] = values.fold([f64::MAX, f64::MIN], |[lo, hi], u| [lo.min(*u), hi.max(*u)]);
    if lo < -0.05 * hi.abs() && hi > 0.05 * lo.abs() { Quantity::Signed } else { Quantity::Positive }
}

/// Highest wavenumber that all axes resolve.
fn largest_k(grid: &Grid) -> f64 {
    (0..grid.dim()).map(|axis| grid.k_unit(axis) * (grid.shape()[axis] / 2) as f64).fold(f64::INFINITY, f64::min)
}

/// A time without the tail of a binary fraction.
fn decimal(t: f64) -> String {
    let text = format!("{t:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// From zero to the last time.
fn time_axis(times: &[f64]) -> Axis {
    Axis::new("t").limits(0.0, times[times.len() - 1])
}

/// One invariant over time.
struct InvariantSeries {
    name: &'static str,
    is_conserved: bool,
    values: Vec<f64>,
}

impl InvariantSeries {
    fn axes(&self, times: &[f64]) -> LinePlot {
        match self.is_conserved {
            true => LinePlot::new(time_axis(times), Axis::new("largest change so far").log())
                .title(format!("{} (conserved)", self.name)),
            false => LinePlot::new(time_axis(times), Axis::new(self.name)),
        }
    }

    /// The values; of a conserved quantity the largest change so far, relative to it if it is not zero.
    fn curve(&self, times: &[f64], label: String) -> Curve {
        if !self.is_conserved {
            return Curve::new(times, &self.values, label);
        }
        let scale = if self.values[0].abs() > ZERO { self.values[0].abs() } else { 1.0 };
        // No change at all has no place on a logarithmic axis.
        let change = self.values[1..].iter().scan(1e-17f64, |largest, v| {
            *largest = largest.max((v - self.values[0]).abs() / scale);
            Some(*largest)
        });
        Curve::new(&times[1..], &change.collect::<Vec<_>>(), label)
    }
}

struct Series<'a> {
    grid: &'a Grid,
    states: &'a [ArrayD<f64>],
}

impl WithPde for Series<'_> {
    type Output = Result<Vec<InvariantSeries>>;

    fn call<P: Pde>(self, pde: P) -> Self::Output {
        let invariants = pde.invariants();
        let mut series: Vec<InvariantSeries> = invariants
            .iter()
            .map(|i| InvariantSeries { name: i.name(), is_conserved: i.is_conserved(), values: Vec::new() })
            .collect();
        for state in self.states {
            let snapshot = Snapshot::new(&pde, self.grid, state.view())?;
            series.iter_mut().zip(&invariants).for_each(|(s, i)| s.values.push(i.value(&snapshot)));
        }
        Ok(series)
    }
}
