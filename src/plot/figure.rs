//! Figures: grids of panels and the files made of them.

use std::io::Write;
use std::path::Path;

use ndarray::Zip;

use super::colour::Quantity;
use super::file::{encode_png_at, write_atomically};
use super::heat::{HeatMap, share_limits};
use super::layout;
use super::lines::LinePlot;
use super::raster::{self, Pixels};
use super::svg;
use super::text::number;
use crate::error::{Error, Result};

/// One pair of axes with its contents.
#[derive(Debug, Clone)]
pub enum Panel {
    /// Colours.
    Heat(HeatMap),
    /// Curves.
    Lines(LinePlot),
    /// Nothing; keeps a place in the grid free.
    Empty,
}

impl From<HeatMap> for Panel {
    fn from(map: HeatMap) -> Self {
        Self::Heat(map)
    }
}

impl From<LinePlot> for Panel {
    fn from(plot: LinePlot) -> Self {
        Self::Lines(plot)
    }
}

/// A grid of panels on a white page.
#[derive(Debug, Clone)]
pub struct Figure {
    /// Width of the page in inches.
    pub width: f64,
    /// Rows of panels from top to bottom, as wide as the longest of them.
    pub rows: Vec<Vec<Panel>>,
    /// Text above all panels.
    pub title: String,
    /// Height over width of panels that do not fix it themselves.
    pub aspect: f64,
    /// Whether tick labels and axis labels stand only on the outer sides of the grid; for panels with the same axes.
    pub share_axes: bool,
    /// Whether one colour bar, that of the first heat map, serves all panels.
    pub share_bar: bool,
    /// Whether panels are lettered (a), (b), ...
    pub letters: bool,
    /// Resolution in pixels per inch of PNG files and of images in SVG files.
    pub dpi: f64,
}

impl Figure {
    /// An empty page, `width` inches wide.
    pub fn new(width: f64) -> Self {
        Self {
            width,
            rows: Vec::new(),
            title: String::new(),
            aspect: 0.72,
            share_axes: false,
            share_bar: false,
            letters: false,
            dpi: 300.0,
        }
    }

    /// As wide as one column of a journal, 3.4 inches.
    pub fn single_column() -> Self {
        Self::new(3.4)
    }

    /// As wide as two columns of a journal, 7 inches.
    pub fn double_column() -> Self {
        Self::new(7.0)
    }

    /// With one more row of panels.
    pub fn row<P: Into<Panel>>(mut self, panels: impl IntoIterator<Item = P>) -> Self {
        self.rows.push(panels.into_iter().map(Into::into).collect());
        self
    }

    /// With a title.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// With lettered panels.
    pub fn lettered(self) -> Self {
        Self { letters: true, ..self }
    }

    /// With another resolution.
    pub fn dpi(self, dpi: f64) -> Self {
        Self { dpi, ..self }
    }

    /// Truth, prediction and their difference side by side, on two columns.
    ///
    /// Truth and prediction share their limits and a colour bar; the difference has its own, and its relative L² norm
    /// stands above it.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the two differ in shape.
    pub fn triptych(truth: HeatMap, prediction: HeatMap) -> Result<Self> {
        if truth.values.dim() != prediction.values.dim() {
            return Err(Error::shape("prediction", truth.values.shape(), prediction.values.shape()));
        }
        let mut error = HeatMap { quantity: Quantity::Signed, limits: None, ..prediction.clone() };
        error.colours = error.quantity.colours();
        Zip::from(&mut error.values).and(&truth.values).for_each(|e, t| *e -= t);
        let norm = |map: &HeatMap| map.values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let (size, reference) = (norm(&error), norm(&truth));
        let title = if reference > 0.0 && size.is_finite() {
            format!("error, {} of truth", number(size / reference, 2))
        } else {
            "error".into()
        };
        let mut pair = [truth, prediction];
        if let Some(limits) = pair[0].limits {
            pair[1].limits = Some(limits);
        } else {
            share_limits(&mut pair);
        }
        let [truth, prediction] = pair;
        let truth = HeatMap { bar: false, ..truth }.title("truth");
        let prediction = HeatMap { bar: true, ..prediction }.title("prediction");
        let error = HeatMap { bar: true, ..error }.title(title);
        Ok(Self { share_axes: true, ..Self::double_column() }.row([truth, prediction, error]))
    }

    /// Snapshots in `columns` columns with shared limits, axes and colour bar, on two columns of a journal.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] if `columns` is zero.
    pub fn snapshots(mut maps: Vec<HeatMap>, columns: usize) -> Result<Self> {
        if columns == 0 {
            return Err(Error::parameter("columns", columns, "must be > 0"));
        }
        if maps.iter().any(|m| m.limits.is_none()) {
            share_limits(&mut maps);
        }
        let grid = Self { share_axes: true, share_bar: true, ..Self::double_column() };
        Ok(maps.chunks(columns).fold(grid, |grid, row| grid.row(row.iter().cloned())))
    }

    /// The figure as pixels, [`Figure::dpi`] of them an inch.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] for empty figures, maps and curves or unequal lengths, [`Error::Parameter`] for unusable
    /// limits, sizes and resolutions.
    pub fn pixels(&self) -> Result<Pixels> {
        self.check()?;
        Ok(raster::draw(&layout::scene(self)?, self.dpi / 72.0))
    }

    /// The figure as an SVG document; each heat map is one embedded PNG, all else are vectors.
    ///
    /// # Errors
    ///
    /// As for [`Figure::pixels`].
    pub fn svg(&self) -> Result<String> {
        self.check()?;
        svg::draw(&layout::scene(self)?, self.dpi / 72.0)
    }

    /// Writes the figure as the extension of `path` says, `png` or `svg`.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for other extensions, [`Error::Io`] if the file cannot be written, and those of
    /// [`Figure::pixels`].
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let extension = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        let bytes = match extension.as_deref() {
            Some("png") => encode_png_at(&self.pixels()?, Some(self.dpi))?,
            Some("svg") => self.svg()?.into_bytes(),
            _ => return Err(Error::parameter("path", path.display(), "must end in .png or .svg")),
        };
        write_atomically(path, |file| file.write_all(&bytes))
    }

    fn check(&self) -> Result<()> {
        for (name, value, most) in
            [("width", self.width, 40.0), ("dpi", self.dpi, 2400.0), ("aspect", self.aspect, 20.0)]
        {
            if !(value > 0.0 && value <= most) {
                return Err(Error::parameter(name, value, format!("must be > 0 and <= {most}")));
            }
        }
        if self.rows.iter().all(Vec::is_empty) {
            return Err(Error::shape("panels of a figure", &[1, 1], &[self.rows.len(), 0]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Curve, MISSING};
    use ndarray::{Array2, array};

    fn map() -> HeatMap {
        let values = Array2::from_shape_fn((16, 16), |(i, j)| (i as f64 * 0.4).sin() + 0.1 * j as f64);
        HeatMap::field(values.view(), [1.0, 1.0], Quantity::Signed).label("ω & ψ")
    }

    fn lines() -> LinePlot {
        LinePlot::new(Axis::new("k").log(), Axis::new("E(k)").log())
            .curve(Curve::new(&[1.0, 10.0, 100.0], &[1.0, 1e-3, 1e-6], "model <1>"))
            .vertical(50.0, "cut-off")
    }

    #[test]
    fn png_has_the_width_and_resolution_that_were_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.PNG");
        Figure::single_column().row([map()]).dpi(100.0).save(&path).unwrap();
        let reader =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&path).unwrap())).read_info().unwrap();
        assert_eq!(reader.info().width, 340);
        assert_eq!(reader.info().pixel_dims.unwrap().xppu, 3937);
        // Nothing but the figure is left in the folder.
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn svg_keeps_text_and_has_one_image_a_heat_map() {
        let figure = Figure::double_column().row([Panel::from(map()), map().into(), lines().into()]).title("Title");
        let svg = figure.svg().unwrap();
        assert_eq!(svg.matches("<image").count(), 2);
        for label in ["ω &amp; ψ", "E(k)", "model &lt;1&gt;", "cut-off", "10⁻³", "Title", ">x<", ">y<"] {
            assert!(svg.contains(label), "{label}");
        }
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("width=\"504pt\""));
        // Not a rectangle a pixel.
        assert!(svg.len() < 400_000, "{}", svg.len());
    }

    #[test]
    fn heat_map_colours_arrive_in_the_page() {
        let map = HeatMap::new(array![[0.0, 1.0], [1.0, f64::NAN]].view(), Quantity::Positive);
        let pixels = Figure::new(3.0).row([map]).dpi(150.0).pixels().unwrap();
        let all = || (0..pixels.height).flat_map(|y| (0..pixels.width).map(move |x| (x, y)));
        let count = |c| all().filter(|&(x, y)| pixels.at(x, y) == c).count() as f64;
        let [low, high] = [0.0, 1.0].map(|t| count(crate::plot::ColourMap::Viridis.at(t)));
        let missing = count(MISSING);
        // Two cells of the high value, one missing, one low with the note in it; lines and the bar change a few per cent.
        assert!((high / missing - 2.0).abs() < 0.06, "{high} {missing}");
        assert!(low > 0.6 * missing && low < missing, "{low} {missing}");
    }

    #[test]
    fn missing_values_are_counted_in_the_panel() {
        let mut with_gap = map();
        with_gap.values[[3, 3]] = f64::NAN;
        assert!(Figure::single_column().row([with_gap]).svg().unwrap().contains("1 value missing"));
        assert!(!Figure::single_column().row([map()]).svg().unwrap().contains("missing"));
        let all = HeatMap::new(Array2::from_elem((4, 4), f64::NAN).view(), Quantity::Signed);
        assert!(Figure::single_column().row([all]).svg().unwrap().contains("16 values missing"));
    }

    #[test]
    fn triptych_shares_limits_and_shows_the_error() {
        let mut prediction = map();
        prediction.values *= 1.1;
        let figure = Figure::triptych(map(), prediction).unwrap();
        let Panel::Heat(error) = &figure.rows[0][2] else { panic!() };
        assert_eq!(error.title, "error, 0.10 of truth");
        let [Panel::Heat(a), Panel::Heat(b), _] = &figure.rows[0][..] else { panic!() };
        assert_eq!(a.limits, b.limits);
        let other = HeatMap::new(array![[1.0]].view(), Quantity::Signed);
        assert!(matches!(Figure::triptych(map(), other), Err(Error::Shape { .. })));
    }

    #[test]
    fn extreme_values_are_drawn() {
        let values = [f64::MAX, -f64::MAX, f64::MIN_POSITIVE, 1e-320, f64::INFINITY, f64::NAN, 0.0, 1e300, -1e-300];
        let x: Vec<f64> = (0..values.len()).map(|j| 1.0 + j as f64).collect();
        for j in 0..values.len() {
            for k in 0..values.len() {
                let y = [values[j], values[k]];
                let map = HeatMap::new(array![[y[0], y[1]]].view(), Quantity::Signed);
                let positive = HeatMap::new(array![[y[0], y[1]]].view(), Quantity::Positive);
                let plot = |axis: Axis| LinePlot::new(Axis::new("x"), axis).curve(Curve::new(&x[..2], &y, "a"));
                let lines = [plot(Axis::new("y")), plot(Axis::new("y").log())];
                let [linear, log] = lines.map(Panel::from);
                let figure = Figure::double_column().row([map.into(), positive.into(), linear, log]).dpi(40.0);
                assert_eq!(figure.pixels().unwrap().width, 280, "{y:?}");
            }
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let figure = Figure::single_column().row([map()]);
        assert!(matches!(figure.save(dir.path().join("a.pdf")), Err(Error::Parameter { .. })));
        assert!(matches!(figure.save(dir.path().join("a")), Err(Error::Parameter { .. })));
        assert!(matches!(figure.save(dir.path().join("none/a.png")), Err(Error::Io { .. })));
        assert!(matches!(Figure::single_column().pixels(), Err(Error::Shape { .. })));
        assert!(Figure::new(f64::NAN).row([map()]).pixels().is_err());
        // Too narrow for its own labels.
        assert!(matches!(Figure::new(0.4).row([map()]).pixels(), Err(Error::Parameter { .. })));
        assert!(Figure::snapshots(vec![map()], 0).is_err());
    }
}
