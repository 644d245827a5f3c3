//! Heat maps: fields in the plane and space-time diagrams.

use ndarray::{Array2, ArrayView2};

use super::axis::{Axis, Scale};
use super::colour::{ColourMap, Quantity, Rgb};
use crate::error::{Error, Result};
use crate::field::Real;

/// Where the nodes of one direction lie between the ends of its axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nodes {
    /// `x_j = j L / n`, and node `n` is node 0 again.
    Periodic,
    /// The first and the last node lie on the ends.
    EndsIncluded,
    /// Node `j` is the middle of the `j`-th of `n` equal cells.
    Cells,
}

impl Nodes {
    /// The two nodes around `fraction` of the axis and the weight of the second.
    fn around(self, fraction: f64, n: usize) -> (usize, usize, f64) {
        let s = match self {
            Self::Periodic => fraction * n as f64,
            Self::EndsIncluded => fraction * (n - 1) as f64,
            Self::Cells => (fraction * n as f64 - 0.5).clamp(0.0, (n - 1) as f64),
        };
        let j = (s.floor() as usize).min(n - 1);
        let next = if self == Self::Periodic { (j + 1) % n } else { (j + 1).min(n - 1) };
        (j, next, s - j as f64)
    }
}

/// A function of two variables as colours, each node drawn at its own coordinate.
///
/// `values[[i, j]]` belongs to the `i`-th node of the horizontal and the `j`-th of the vertical axis; x points to the
/// right and y upwards. Cells that are NaN are grey, and counted in the panel unless they are `masked`.
///
/// ```
/// use ndarray::Array2;
/// use parseval::plot::{Figure, HeatMap, Quantity};
///
/// let omega = Array2::from_shape_fn((32, 32), |(i, j)| (i as f64 / 5.0).sin() * (j as f64 / 5.0).cos());
/// let mut map = HeatMap::field(omega.view(), [1.0, 1.0], Quantity::Signed);
/// map.label = "ω".into();
/// let dir = tempfile::tempdir()?;
/// Figure::single_column().row([map]).save(dir.path().join("omega.png"))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct HeatMap {
    /// Values, `[horizontal, vertical]`.
    pub values: Array2<f64>,
    /// Horizontal axis; linear, with limits.
    pub x: Axis,
    /// Vertical axis; linear, with limits.
    pub y: Axis,
    /// Where the nodes lie on the two axes.
    pub nodes: [Nodes; 2],
    /// Text above the panel.
    pub title: String,
    /// What is drawn, with its unit; written along the colour bar.
    pub label: String,
    /// Sign convention of the values.
    pub quantity: Quantity,
    /// Colour map; that of the quantity unless changed.
    pub colours: ColourMap,
    /// Values of the first and last colour; from the data if absent, see [`Quantity::limits`].
    pub limits: Option<[f64; 2]>,
    /// Bilinear interpolation instead of the nearest node.
    pub smooth: bool,
    /// Whether NaN marks what is not part of the domain, so that it is grey but not counted as missing.
    pub masked: bool,
    /// Whether the panel has its own colour bar.
    pub bar: bool,
    /// Height over width of the panel; the common one of the figure if absent.
    pub aspect: Option<f64>,
}

impl HeatMap {
    /// A periodic field `[x, y]` on `[0, Lx) x [0, Ly)`, with the same scale on both axes.
    pub fn field<T: Real>(values: ArrayView2<T>, lengths: [f64; 2], quantity: Quantity) -> Self {
        Self {
            x: Axis::new("x").limits(0.0, lengths[0]),
            y: Axis::new("y").limits(0.0, lengths[1]),
            nodes: [Nodes::Periodic; 2],
            aspect: Some(lengths[1] / lengths[0]),
            ..Self::new(values, quantity)
        }
    }

    /// A space-time diagram of `[time, x]`: x in `[0, L)` to the right, time upwards from `times[0]` (first row) to
    /// `times[1]` (last row).
    pub fn space_time<T: Real>(values: ArrayView2<T>, length: f64, times: [f64; 2], quantity: Quantity) -> Self {
        Self {
            x: Axis::new("x").limits(0.0, length),
            y: Axis::new("t").limits(times[0], times[1]),
            nodes: [Nodes::Periodic, Nodes::EndsIncluded],
            ..Self::new(values.t(), quantity)
        }
    }

    /// Values `[horizontal, vertical]` as cells numbered from 0.
    pub fn new<T: Real>(values: ArrayView2<T>, quantity: Quantity) -> Self {
        let (nx, ny) = values.dim();
        Self {
            values: values.mapv(|v| v.as_f64()),
            x: Axis::default().limits(-0.5, nx as f64 - 0.5),
            y: Axis::default().limits(-0.5, ny as f64 - 0.5),
            nodes: [Nodes::Cells; 2],
            title: String::new(),
            label: String::new(),
            quantity,
            colours: quantity.colours(),
            limits: None,
            smooth: false,
            masked: false,
            bar: true,
            aspect: None,
        }
    }

    /// With a title.
    pub fn title(self, title: impl Into<String>) -> Self {
        Self { title: title.into(), ..self }
    }

    /// With a label at the colour bar.
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// With bilinear interpolation.
    pub fn smooth(self) -> Self {
        Self { smooth: true, ..self }
    }

    /// With fixed colour limits.
    pub fn limits(self, lo: f64, hi: f64) -> Self {
        Self { limits: Some([lo, hi]), ..self }
    }

    /// The same axes and colours for other values, `[horizontal, vertical]`.
    pub fn with_values<T: Real>(self, values: ArrayView2<T>) -> Self {
        Self { values: values.mapv(|v| v.as_f64()), ..self }
    }

    /// Values of the first and last colour.
    pub fn colour_limits(&self) -> [f64; 2] {
        self.limits.unwrap_or_else(|| self.quantity.limits(&self.values))
    }

    /// How many values are NaN and should not be.
    pub fn missing(&self) -> usize {
        if self.masked {
            return 0;
        }
        self.values.iter().filter(|v| v.is_nan()).count()
    }

    /// # Errors
    ///
    /// [`Error::Shape`] if there is no value, [`Error::Parameter`] if an axis or the colour limits are unusable.
    pub(super) fn check(&self) -> Result<()> {
        if self.values.is_empty() {
            return Err(Error::shape("values of a heat map", &[1, 1], self.values.shape()));
        }
        for (name, axis) in [("x limits", &self.x), ("y limits", &self.y)] {
            if axis.scale != Scale::Linear || axis.limits.is_none() {
                return Err(Error::parameter(name, format!("{axis:?}"), "a heat map needs linear axes with limits"));
            }
            axis.resolve(name, std::iter::empty(), 0.0)?;
        }
        let [lo, hi] = self.colour_limits();
        if !(lo < hi && (hi - lo).is_finite()) {
            return Err(Error::parameter("colour limits", format!("[{lo}, {hi}]"), "must be finite and ascending"));
        }
        match self.aspect {
            Some(a) if !(a > 0.0 && a.is_finite()) => Err(Error::parameter("aspect", a, "must be finite and > 0")),
            _ => Ok(()),
        }
    }

    /// The map as `w` by `h` RGB pixels, rows from the top.
    pub(super) fn paint(&self, w: usize, h: usize) -> Vec<u8> {
        let (nx, ny) = self.values.dim();
        let [lo, hi] = self.colour_limits();
        let per_unit = 1.0 / (hi - lo);
        let columns: Vec<_> = (0..w).map(|i| self.nodes[0].around((i as f64 + 0.5) / w as f64, nx)).collect();
        let nearest = |(a, b, weight): (usize, usize, f64)| if weight < 0.5 { a } else { b };
        let colour = |value: f64| -> Rgb { self.colours.at((value - lo) * per_unit) };
        let mut out = Vec::with_capacity(3 * w * h);
        for row in 0..h {
            let y = self.nodes[1].around(1.0 - (row as f64 + 0.5) / h as f64, ny);
            for &x in &columns {
                let at = self.values[[nearest(x), nearest(y)]];
                if self.smooth {
                    let along = |j: usize| self.values[[x.0, j]] * (1.0 - x.2) + self.values[[x.1, j]] * x.2;
                    let value = along(y.0) * (1.0 - y.2) + along(y.1) * y.2;
                    // Beside a missing cell the nearest one decides.
                    out.extend(colour(if value.is_nan() || at.is_nan() { at } else { value }));
                } else {
                    out.extend(colour(at));
                }
            }
        }
        out
    }
}

/// Gives all maps the limits that hold all their values (symmetric about zero if any of them is signed).
pub fn share_limits(maps: &mut [HeatMap]) {
    let signed = maps.iter().any(|m| m.quantity == Quantity::Signed);
    let quantity = if signed { Quantity::Signed } else { Quantity::Positive };
    let limits = quantity.limits(maps.iter().flat_map(|m| &m.values));
    for map in maps {
        map.limits = Some(limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    fn pixel(pixels: &[u8], w: usize, x: usize, y: usize) -> Rgb {
        let j = 3 * (y * w + x);
        [pixels[j], pixels[j + 1], pixels[j + 2]]
    }

    #[test]
    fn x_points_right_and_y_up() {
        // values[[i, j]]: i to the right, j upwards.
        let map = HeatMap::new(array![[0.0, 1.0], [2.0, 3.0]].view(), Quantity::Positive);
        let p = map.paint(20, 20);
        let colour = |v: f64| ColourMap::Viridis.at(v / 3.0);
        assert_eq!(pixel(&p, 20, 5, 15), colour(0.0));
        assert_eq!(pixel(&p, 20, 5, 5), colour(1.0));
        assert_eq!(pixel(&p, 20, 15, 15), colour(2.0));
        assert_eq!(pixel(&p, 20, 15, 5), colour(3.0));
    }

    #[test]
    fn time_points_up_in_space_time_diagrams() {
        // The value grows with time and does not depend on x.
        let values = Array2::from_shape_fn((11, 8), |(t, _)| t as f64);
        let p = HeatMap::space_time(values.view(), 1.0, [0.0, 1.0], Quantity::Positive).paint(8, 110);
        assert_eq!(pixel(&p, 8, 3, 109), ColourMap::Viridis.at(0.0));
        assert_eq!(pixel(&p, 8, 3, 0), ColourMap::Viridis.at(1.0));
    }

    #[test]
    fn periodic_nodes_are_drawn_at_their_coordinate() {
        // Node 0 of four is at both ends of the axis, node 2 in its middle.
        let values = array![[-1.0], [0.5], [1.0], [0.5]];
        let map = HeatMap::field(values.view(), [1.0, 1.0], Quantity::Signed);
        let p = map.paint(80, 1);
        for (x, value) in [(0, -1.0), (79, -1.0), (40, 1.0), (20, 0.5), (60, 0.5)] {
            assert_eq!(pixel(&p, 80, x, 0), ColourMap::RedBlue.at(0.5 * (value + 1.0)), "{x}");
        }
    }

    #[test]
    fn smooth_maps_reproduce_linear_functions() {
        let values = Array2::from_shape_fn((5, 3), |(i, j)| i as f64 + 2.0 * j as f64);
        let mut map = HeatMap::new(values.view(), Quantity::Positive).smooth();
        map.nodes = [Nodes::EndsIncluded; 2];
        let p = map.paint(40, 30);
        for (x, y) in [(0, 0), (13, 7), (39, 29), (20, 15)] {
            let value = 4.0 * (x as f64 + 0.5) / 40.0 + 4.0 * (1.0 - (y as f64 + 0.5) / 30.0);
            assert_eq!(pixel(&p, 40, x, y), ColourMap::Viridis.at(value / 8.0));
        }
    }

    #[test]
    fn missing_cells_are_grey_in_both_interpolations() {
        let mut map = HeatMap::new(array![[0.0, 1.0], [f64::NAN, 3.0]].view(), Quantity::Positive);
        assert_eq!(map.missing(), 1);
        assert_eq!(HeatMap { masked: true, ..map.clone() }.missing(), 0);
        for smooth in [false, true] {
            map.smooth = smooth;
            let p = map.paint(20, 20);
            assert_eq!(pixel(&p, 20, 15, 15), super::super::colour::MISSING);
            assert_ne!(pixel(&p, 20, 5, 15), super::super::colour::MISSING);
        }
    }

    #[test]
    fn empty_maps_and_bad_limits_are_refused() {
        let empty = Array2::<f64>::zeros((0, 3));
        assert!(matches!(HeatMap::new(empty.view(), Quantity::Signed).check(), Err(Error::Shape { .. })));
        let map = HeatMap::new(array![[1.0]].view(), Quantity::Signed);
        assert!(map.clone().limits(1.0, 1.0).check().is_err());
        assert!(map.clone().limits(f64::NAN, 1.0).check().is_err());
        assert!(map.check().is_ok());
    }

    #[test]
    fn shared_limits_hold_all_maps() {
        let map = |v: f64| HeatMap::new(array![[v, 1.0]].view(), Quantity::Signed);
        let mut maps = [map(-4.0), map(2.0)];
        share_limits(&mut maps);
        assert!(maps.iter().all(|m| m.limits == Some([-4.0, 4.0])));
    }
}
