//! Curves over linear or logarithmic axes.

use ndarray::ArrayView2;

use super::axis::Axis;
use super::colour::{CATEGORICAL, Rgb};
use super::place::{Place, length_inside};
use super::scene::{Align, Mark, Point, Rect, Scene, Text};
use super::text;
use super::{GREY, TICK_SIZE};
use crate::error::{Error, Result};
use crate::field::Real;

/// Length of the line drawn in a legend, in points.
const LEGEND_SAMPLE: f64 = 15.0;

/// Distance of the entries of a legend.
const LEGEND_ROW: f64 = 10.0;

/// How the points of a curve are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Stroke {
    /// A full line.
    #[default]
    Solid,
    /// Dashes.
    Dashed,
    /// Dots.
    Dotted,
    /// Not at all: symbols only.
    None,
}

impl Stroke {
    fn pattern(self) -> &'static [f64] {
        match self {
            Self::Solid | Self::None => &[],
            Self::Dashed => &[4.0, 2.0],
            Self::Dotted => &[1.0, 1.6],
        }
    }
}

/// What is drawn at each point of a curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symbol {
    /// Nothing.
    #[default]
    None,
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square on its tip.
    Diamond,
}

impl Symbol {
    /// Outline about `centre`; all symbols have nearly the same area.
    fn outline(self, [x, y]: Point) -> Vec<Point> {
        let regular = |corners: u32, radius: f64, turn: f64| -> Vec<Point> {
            let angle = |j: u32| turn + std::f64::consts::TAU * f64::from(j) / f64::from(corners);
            (0..corners).map(|j| [x + radius * angle(j).sin(), y - radius * angle(j).cos()]).collect()
        };
        match self {
            Self::None => vec![],
            Self::Circle => regular(24, 1.9, 0.0),
            Self::Square => regular(4, 2.4, std::f64::consts::FRAC_PI_4),
            Self::Triangle => regular(3, 2.7, 0.0),
            Self::Diamond => regular(4, 2.5, 0.0),
        }
    }
}

/// A curve, perhaps with a band about it.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Abscissas.
    pub x: Vec<f64>,
    /// Ordinates, as many; the curve is interrupted where one is not finite or has no place on a logarithmic axis.
    pub y: Vec<f64>,
    /// Lower and upper edge of the band, as many.
    pub band: Option<[Vec<f64>; 2]>,
    /// Entry of the legend; none if empty.
    pub label: String,
    /// Colour; the next of [`CATEGORICAL`] if absent.
    pub colour: Option<Rgb>,
    /// Line.
    pub stroke: Stroke,
    /// Symbols.
    pub symbol: Symbol,
    /// Line width in points.
    pub width: f64,
}

impl Curve {
    /// A solid line through `(x[j], y[j])`.
    pub fn new<T: Real>(x: &[f64], y: &[T], label: impl Into<String>) -> Self {
        Self {
            x: x.to_vec(),
            y: y.iter().map(|v| v.as_f64()).collect(),
            band: None,
            label: label.into(),
            colour: None,
            stroke: Stroke::Solid,
            symbol: Symbol::None,
            width: 1.1,
        }
    }

    /// Median of `samples` (`[sample, x]`, e.g. one row a seed) with the band between the quartiles.
    ///
    /// Quantiles interpolate linearly between order statistics; values that are not finite are left out.
    pub fn quantiles<T: Real>(x: &[f64], samples: ArrayView2<T>, label: impl Into<String>) -> Self {
        let mut quantiles = [0.25, 0.5, 0.75].map(|_| Vec::with_capacity(samples.ncols()));
        for column in samples.columns() {
            let mut sorted: Vec<f64> = column.iter().map(|v| v.as_f64()).filter(|v| v.is_finite()).collect();
            sorted.sort_by(f64::total_cmp);
            for (values, q) in quantiles.iter_mut().zip([0.25, 0.5, 0.75]) {
                values.push(quantile(&sorted, q));
            }
        }
        let [low, median, high] = quantiles;
        Self { band: Some([low, high]), ..Self::new(x, &median, label) }
    }

    /// With a colour.
    pub fn colour(self, colour: Rgb) -> Self {
        Self { colour: Some(colour), ..self }
    }

    /// With another line.
    pub fn stroke(self, stroke: Stroke) -> Self {
        Self { stroke, ..self }
    }

    /// With symbols.
    pub fn symbol(self, symbol: Symbol) -> Self {
        Self { symbol, ..self }
    }

    /// With a band.
    pub fn band(self, low: &[f64], high: &[f64]) -> Self {
        Self { band: Some([low.to_vec(), high.to_vec()]), ..self }
    }

    fn check(&self) -> Result<()> {
        if self.x.is_empty() {
            return Err(Error::shape(format!("curve \"{}\"", self.label), &[1], &[0]));
        }
        for values in [Some(&self.y), self.band.as_ref().map(|b| &b[0]), self.band.as_ref().map(|b| &b[1])] {
            match values {
                Some(v) if v.len() != self.x.len() => {
                    return Err(Error::shape(format!("curve \"{}\"", self.label), &[self.x.len()], &[v.len()]));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let s = q * last as f64;
    let j = s as usize;
    sorted[j] + (s - j as f64) * (sorted[(j + 1).min(last)] - sorted[j])
}

/// A short dashed reference line `y = y₀ (x / x₀)^p`, straight on doubly logarithmic axes.
#[derive(Debug, Clone)]
pub struct Slope {
    /// The power `p`.
    pub exponent: f64,
    /// Where it begins (`x₀`) and ends.
    pub span: [f64; 2],
    /// Its ordinate `y₀` at the beginning.
    pub start: f64,
    /// Text beside its middle.
    pub label: String,
}

impl Slope {
    /// The power `exponent` of `variable` on `span`, labelled like `k⁻³` or `k⁻⁵ᐟ³`.
    pub fn new(variable: &str, exponent: f64, span: [f64; 2], start: f64) -> Self {
        let thirds = (3.0 * exponent).round();
        let power = if exponent == exponent.round() {
            format!("{exponent:.0}")
        } else if (thirds - 3.0 * exponent).abs() < 1e-9 {
            format!("{thirds:.0}/3")
        } else {
            return Self { exponent, span, start, label: format!("{variable}^{}", text::number(exponent, 3)) };
        };
        let power = if power == "1" { String::new() } else { text::superscript(&power) };
        Self { exponent, span, start, label: format!("{variable}{power}") }
    }
}

/// Place of the legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Legend {
    /// The corner or edge where it hides least.
    #[default]
    Best,
    /// Top left.
    TopLeft,
    /// Top right.
    TopRight,
    /// Bottom left.
    BottomLeft,
    /// Bottom right.
    BottomRight,
    /// To the right of the axes.
    Outside,
    /// Nowhere.
    Hidden,
}

/// Curves with their axes.
///
/// ```
/// use parseval::plot::{Axis, Curve, Figure, LinePlot, Slope};
///
/// let k: Vec<f64> = (1..100).map(f64::from).collect();
/// let e: Vec<f64> = k.iter().map(|k| k.powi(-3)).collect();
/// let plot = LinePlot::new(Axis::new("k").log(), Axis::new("E(k)").log())
///     .curve(Curve::new(&k, &e, "reference"))
///     .slope(Slope::new("k", -3.0, [5.0, 50.0], 0.02))
///     .vertical(64.0, "cut-off");
/// let dir = tempfile::tempdir()?;
/// Figure::single_column().row([plot]).save(dir.path().join("spectrum.svg"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct LinePlot {
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// Text above the panel.
    pub title: String,
    /// Curves, the last one on top.
    pub curves: Vec<Curve>,
    /// Reference slopes.
    pub slopes: Vec<Slope>,
    /// Vertical lines with their labels, e.g. a dealiasing cut-off.
    pub verticals: Vec<(f64, String)>,
    /// Place of the legend.
    pub legend: Legend,
}

impl LinePlot {
    /// Empty axes.
    pub fn new(x: Axis, y: Axis) -> Self {
        Self { x, y, ..Self::default() }
    }

    /// With a title.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// With one more curve.
    pub fn curve(mut self, curve: Curve) -> Self {
        self.curves.push(curve);
        self
    }

    /// With one more reference slope.
    pub fn slope(mut self, slope: Slope) -> Self {
        self.slopes.push(slope);
        self
    }

    /// With one more vertical line.
    pub fn vertical(mut self, x: f64, label: impl Into<String>) -> Self {
        self.verticals.push((x, label.into()));
        self
    }

    /// With the legend elsewhere.
    pub fn legend(self, legend: Legend) -> Self {
        Self { legend, ..self }
    }

    /// Limits of both axes.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there is no curve, or one is empty or of unequal lengths; [`Error::Parameter`] if given
    /// limits are unusable.
    pub(super) fn limits(&self) -> Result<[[f64; 2]; 2]> {
        if self.curves.is_empty() {
            return Err(Error::shape("curves of a line plot", &[1], &[0]));
        }
        self.curves.iter().try_for_each(Curve::check)?;
        let has_symbols = self.curves.iter().any(|c| c.symbol != Symbol::None);
        let xs = self.curves.iter().flat_map(|c| c.x.iter().copied());
        let x = self.x.resolve("x limits", xs, if has_symbols { 0.05 } else { 0.0 })?;
        let points = self.curves.iter().flat_map(|c| {
            let edges = c.band.iter().flatten().flat_map(|edge| c.x.iter().zip(edge));
            c.x.iter().zip(&c.y).chain(edges)
        });
        let visible = points.filter(|&(&v, _)| v >= x[0] && v <= x[1]).map(|(_, &v)| v);
        Ok([x, self.y.resolve("y limits", visible, 0.05)?])
    }

    /// How many ordinates have no place on the axes.
    pub(super) fn missing(&self) -> usize {
        let points = self.curves.iter().flat_map(|c| c.x.iter().zip(&c.y));
        points.filter(|&(&x, &y)| !self.x.scale.holds(x) || !self.y.scale.holds(y)).count()
    }

    /// Draws the contents into `rect`.
    pub(super) fn draw(&self, scene: &mut Scene, rect: Rect, limits: [[f64; 2]; 2]) {
        let place = Place { rect, limits, scales: [self.x.scale, self.y.scale] };
        let mut occupied: Vec<Rect> = vec![];
        let colours: Vec<Rgb> = self.colours();
        for (curve, &colour) in self.curves.iter().zip(&colours) {
            if let Some([low, high]) = &curve.band {
                for points in place.bands(&curve.x, low, high) {
                    scene.marks.push(Mark::Area { points, colour, opacity: 0.22 });
                }
            }
        }
        for (x, label) in &self.verticals {
            if !self.x.scale.holds(*x) || *x < limits[0][0] || *x > limits[0][1] {
                continue;
            }
            let px = place.point(*x, limits[1][0].max(f64::MIN_POSITIVE))[0];
            let (points, dash) = (vec![[px, rect.bottom()], [px, rect.y]], Stroke::Dotted.pattern());
            scene.marks.push(Mark::Line { points, colour: GREY, width: 0.8, dash });
            // Left of the line unless there is no room.
            let right = px - rect.x < TICK_SIZE * 1.6;
            let at = [px + if right { TICK_SIZE } else { -2.5 }, rect.y + 4.0];
            let t = Text { at, text: label.clone(), size: TICK_SIZE, align: Align::End, upward: true, colour: GREY };
            occupied.push(t.bounds());
            scene.marks.push(Mark::Text(t));
        }
        let mut lines: Vec<Vec<Point>> = vec![];
        for (curve, &colour) in self.curves.iter().zip(&colours) {
            if curve.stroke != Stroke::None {
                for points in place.polylines(&curve.x, &curve.y) {
                    lines.push(points.clone());
                    let dash = curve.stroke.pattern();
                    scene.marks.push(Mark::Line { points, colour, width: curve.width, dash });
                }
            }
            if curve.symbol != Symbol::None {
                for (&x, &y) in curve.x.iter().zip(&curve.y) {
                    if place.holds(x, y) && rect.grow(0.01).contains(place.point(x, y)) {
                        let at = place.point(x, y);
                        lines.push(vec![at, [at[0] + 0.1, at[1]]]);
                        scene.marks.push(Mark::Area { points: curve.symbol.outline(at), colour, opacity: 1.0 });
                    }
                }
            }
        }
        for slope in &self.slopes {
            self.draw_slope(scene, &place, slope, &mut occupied, &mut lines);
        }
        self.draw_legend(scene, rect, &colours, &occupied, &lines);
    }

    fn colours(&self) -> Vec<Rgb> {
        let mut next = CATEGORICAL.iter().cycle().copied();
        self.curves.iter().map(|c| c.colour.unwrap_or_else(|| next.next().unwrap_or(super::INK))).collect()
    }

    fn draw_slope(
        &self,
        scene: &mut Scene,
        place: &Place,
        slope: &Slope,
        occupied: &mut Vec<Rect>,
        lines: &mut Vec<Vec<Point>>,
    ) {
        let [a, b] = slope.span;
        let x: Vec<f64> = (0..=32).map(|j| a * (b / a).powf(f64::from(j) / 32.0)).collect();
        let y: Vec<f64> = x.iter().map(|x| slope.start * (x / a).powf(slope.exponent)).collect();
        for points in place.polylines(&x, &y) {
            let ([p, q], middle) = ([points[0], points[points.len() - 1]], points[points.len() / 2]);
            // Beside the middle, on the upper side: to the right of falling lines, to the left of rising ones.
            let falling = q[1] > p[1];
            let align = if falling { Align::Start } else { Align::End };
            let at = [middle[0] + if falling { 3.5 } else { -3.5 }, middle[1] - 2.5];
            let (text, colour) = (slope.label.clone(), super::INK);
            let t = Text { at, text, size: TICK_SIZE, align, upward: false, colour };
            occupied.push(t.bounds());
            scene.marks.push(Mark::Text(t));
            lines.push(points.clone());
            scene.marks.push(Mark::Line { points, colour, width: 0.8, dash: &[3.0, 1.8] });
        }
    }

    /// Width and height of the legend, if there is one.
    pub(super) fn legend_size(&self) -> Option<[f64; 2]> {
        let labels = || self.curves.iter().map(|c| c.label.as_str()).filter(|label| !label.is_empty());
        let widest = labels().map(|label| text::width(label, TICK_SIZE)).reduce(f64::max)?;
        let size = [LEGEND_SAMPLE + 4.0 + widest + 4.0, LEGEND_ROW * labels().count() as f64 + 2.0];
        (self.legend != Legend::Hidden).then_some(size)
    }

    fn draw_legend(&self, scene: &mut Scene, rect: Rect, colours: &[Rgb], texts: &[Rect], lines: &[Vec<Point>]) {
        let Some([w, h]) = self.legend_size() else { return };
        let inset = 4.0;
        let [left, right] = [rect.x + inset, rect.right() - inset - w];
        let [top, bottom] = [rect.y + inset, rect.bottom() - inset - h];
        let (centre, middle) = (0.5 * (left + right), 0.5 * (top + bottom));
        let candidates = match self.legend {
            Legend::TopLeft => vec![[left, top]],
            Legend::TopRight => vec![[right, top]],
            Legend::BottomLeft => vec![[left, bottom]],
            Legend::BottomRight => vec![[right, bottom]],
            Legend::Outside => vec![[rect.right() + inset, rect.y]],
            Legend::Best | Legend::Hidden => vec![
                [right, top],
                [left, bottom],
                [left, top],
                [right, bottom],
                [centre, top],
                [centre, bottom],
                [right, middle],
                [left, middle],
            ],
        };
        let hidden = |&[x, y]: &Point| {
            let legend = Rect { x, y, w, h }.grow(2.0);
            let overlap = |r: &Rect| {
                legend.x < r.right() && r.x < legend.right() && legend.y < r.bottom() && r.y < legend.bottom()
            };
            let covered: f64 = lines.iter().map(|line| length_inside(line, legend)).sum();
            covered + 100.0 * texts.iter().filter(|r| overlap(r)).count() as f64
        };
        let at = candidates.into_iter().map(|at| (hidden(&at), at)).reduce(|a, b| if b.0 < a.0 { b } else { a });
        let Some((_, [x, y])) = at else { return };
        scene.fill(Rect { x, y, w, h }, [255; 3], 0.85);
        let entries = self.curves.iter().zip(colours.iter().copied()).filter(|(c, _)| !c.label.is_empty());
        for (j, (curve, colour)) in entries.enumerate() {
            let line = y + 1.0 + LEGEND_ROW * (j as f64 + 0.5);
            let (from, to) = (x + 2.0, x + LEGEND_SAMPLE);
            if curve.band.is_some() {
                scene.fill(Rect { x: from, y: line - 2.8, w: to - from, h: 5.6 }, colour, 0.22);
            }
            if curve.stroke != Stroke::None {
                let (points, dash) = (vec![[from, line], [to, line]], curve.stroke.pattern());
                scene.marks.push(Mark::Line { points, colour, width: curve.width, dash });
            }
            if curve.symbol != Symbol::None {
                let points = curve.symbol.outline([0.5 * (from + to), line]);
                scene.marks.push(Mark::Area { points, colour, opacity: 1.0 });
            }
            scene.text(
                [x + LEGEND_SAMPLE + 4.0, line + 0.36 * TICK_SIZE],
                curve.label.clone(),
                TICK_SIZE,
                Align::Start,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn quantiles_interpolate_between_order_statistics() {
        let samples = array![[3.0, 1.0], [1.0, f64::NAN], [2.0, 5.0], [5.0, 3.0], [4.0, f64::INFINITY]];
        let c = Curve::quantiles(&[0.0, 1.0], samples.view(), "");
        assert_eq!(c.y, [3.0, 3.0]);
        assert_eq!(c.band, Some([vec![2.0, 2.0], vec![4.0, 4.0]]));
    }

    #[test]
    fn slopes_are_labelled_with_their_power() {
        let label = |p| Slope::new("k", p, [1.0, 2.0], 1.0).label;
        assert_eq!([label(-3.0), label(-5.0 / 3.0), label(1.0), label(-0.5)], ["k⁻³", "k⁻⁵ᐟ³", "k", "k^−0.500"]);
    }

    #[test]
    fn limits_skip_what_has_no_place() {
        let plot = LinePlot::new(Axis::new("t"), Axis::new("error").log())
            .curve(Curve::new(&[0.0, 1.0, 2.0], &[1e-3, f64::NAN, 0.0], "a"))
            .curve(Curve::new(&[0.0, 2.0], &[1e-1, 1e-2], "b"));
        let [x, y] = plot.limits().unwrap();
        assert_eq!(x, [0.0, 2.0]);
        // 5 % of two decades at either end.
        assert!((y[0].log10() + 3.1).abs() < 1e-12 && (y[1].log10() + 0.9).abs() < 1e-12);
        assert_eq!(plot.missing(), 2);
    }

    #[test]
    fn empty_and_unequal_curves_are_refused() {
        let plot = LinePlot::new(Axis::new("t"), Axis::new("e"));
        assert!(matches!(plot.limits(), Err(Error::Shape { .. })));
        assert!(plot.clone().curve(Curve::new::<f64>(&[], &[], "")).limits().is_err());
        assert!(plot.clone().curve(Curve::new(&[1.0, 2.0], &[1.0], "")).limits().is_err());
    }
}
