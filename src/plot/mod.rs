//! Figures of journal quality: heat maps, curves, panel grids and animations, as PNG, SVG and GIF.
//!
//! A [`Figure`] is a grid of [`Panel`]s: [`HeatMap`]s and [`LinePlot`]s. Its width is that of a journal column, the height
//! follows from the panels, and margins follow from the extents of the text in them, so axes align and nothing is cut.
//! The same figure is drawn as PNG or SVG, chosen by the extension of the file:
//!
//! ```
//! use parseval::plot::{Axis, Curve, Figure, LinePlot};
//!
//! let t = [0.0, 1.0, 2.0, 3.0];
//! let plot = LinePlot::new(Axis::new("t").unit("s"), Axis::new("error").log())
//!     .curve(Curve::new(&t, &[1e-6, 1e-5, 1e-4, 1e-2], "learned"))
//!     .curve(Curve::new(&t, &[1e-9, 1e-9, 1e-8, 1e-8], "ETDRK4"));
//! let dir = tempfile::tempdir()?;
//! let figure = Figure::single_column().row([plot]);
//! figure.save(dir.path().join("error.png"))?;
//! figure.save(dir.path().join("error.svg"))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Fields have x to the right and y upwards, space-time diagrams x to the right and time upwards. Labels are Unicode
//! text (`ω`, `u₀`, `m²/s`); the bundled font covers Latin, Greek, superscripts, subscripts and operators. Values that are
//! NaN are drawn grey in heat maps, interrupt curves, and are counted in the panel. Files appear whole or not at all.

mod axis;
mod colour;
mod figure;
mod file;
mod gif;
mod heat;
mod layout;
mod lines;
mod place;
mod raster;
mod scene;
mod svg;
mod text;

pub use axis::{Axis, Scale};
pub use colour::{CATEGORICAL, ColourMap, MISSING, Quantity, Rgb};
pub use figure::{Figure, Panel};
pub use gif::{Animation, animate};
pub use heat::{HeatMap, Nodes, share_limits};
pub use lines::{Curve, Legend, LinePlot, Slope, Stroke, Symbol};
pub use raster::Pixels;
pub(crate) use svg::{base64, escape};
pub use text::{number, superscript};

/// Colour of axes and text.
const INK: Rgb = [30, 30, 30];

/// Colour of what stands back.
const GREY: Rgb = [110, 110, 110];

/// Size of tick labels, legends and notes in points.
const TICK_SIZE: f64 = 6.8;

/// Size of axis labels and titles in points.
const LABEL_SIZE: f64 = 7.8;
