//! Colour maps of even lightness, and the categorical palette.
//!
//! Every map runs through a few anchor colours in OKLab (Björn Ottosson, *A perceptual color space for image
//! processing*, 2020): ten colours of viridis (van der Walt & Smith, CC0), own choices for the others. The lightness of the anchors is replaced by an exactly linear ramp (sequential
//! maps) or by an exactly symmetric one (diverging maps), so that equal steps of the data look equally large and the
//! two signs equally strong; chroma that leaves the sRGB gamut is reduced at constant lightness and hue.

use std::sync::OnceLock;

/// An sRGB colour.
pub type Rgb = [u8; 3];

/// Colour of cells that hold no finite number.
pub const MISSING: Rgb = [170, 170, 170];

/// Categorical colours that stay distinct under colour-vision deficiency: Okabe & Ito (2008) in an order that begins
/// with the most different ones; their yellow is left out because it vanishes on white.
pub const CATEGORICAL: [Rgb; 7] =
    [[0, 114, 178], [213, 94, 0], [0, 158, 115], [204, 121, 167], [86, 180, 233], [230, 159, 0], [0, 0, 0]];

/// What the numbers of a heat map mean; it chooses the colour map and the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Zero is special (vorticity, an error): diverging map, limits symmetric about zero.
    Signed,
    /// No special value (energy, density, temperature): sequential map between the extremes of the data.
    Positive,
}

impl Quantity {
    /// Colour map of this kind of quantity.
    pub fn colours(self) -> ColourMap {
        match self {
            Self::Signed => ColourMap::RedBlue,
            Self::Positive => ColourMap::Viridis,
        }
    }

    /// Colour limits of `values`; numbers that are not finite are ignored.
    ///
    /// Equal values get a small range around them (`±5 %`, or `±1` about zero); no finite value at all gets that
    /// about zero.
    pub fn limits<'a>(self, values: impl IntoIterator<Item = &'a f64>) -> [f64; 2] {
        let finite = values.into_iter().filter(|v| v.is_finite());
        let [lo, hi] = finite.fold([f64::INFINITY, f64::NEG_INFINITY], |[lo, hi], &v| [lo.min(v), hi.max(v)]);
        let [lo, hi] = if lo > hi { [0.0, 0.0] } else { [lo, hi] };
        match self {
            Self::Signed => {
                let largest = lo.abs().max(hi.abs());
                let largest = if largest > TINY { largest.min(HUGE) } else { 1.0 };
                [-largest, largest]
            }
            Self::Positive => widen(lo, hi),
        }
    }
}

/// Largest end of a range: its extent is still a finite number.
const HUGE: f64 = 1e300;

/// Below this a range is as good as empty: its reciprocal would not be finite.
const TINY: f64 = 1e-290;

/// `[lo, hi]`, or a small range about the common value if both agree to rounding.
pub(super) fn widen(lo: f64, hi: f64) -> [f64; 2] {
    let [lo, hi] = [lo, hi].map(|v| v.clamp(-HUGE, HUGE));
    let largest = lo.abs().max(hi.abs());
    if hi - lo > (1e-12 * largest).max(TINY) {
        return [lo, hi];
    }
    let half = if largest > TINY { 0.05 * largest } else { 1.0 };
    [lo - half, hi + half]
}

/// A map from `[0, 1]` to colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourMap {
    /// Sequential, dark violet over green to yellow; close to viridis.
    Viridis,
    /// Sequential, dark blue over purple and orange to pale yellow; for temperature and other scalars.
    Thermal,
    /// Diverging, blue over white to red, medium-dark ends.
    RedBlue,
    /// Diverging, blue over white to red, nearly black ends; shows more detail at large amplitude.
    Balance,
}

impl ColourMap {
    /// All maps.
    pub const ALL: [Self; 4] = [Self::Viridis, Self::Thermal, Self::RedBlue, Self::Balance];

    /// 256 colours at `t = j / 255`, computed once.
    pub fn table(self) -> &'static [Rgb; 256] {
        static TABLES: [OnceLock<[Rgb; 256]>; 4] = [const { OnceLock::new() }; 4];
        TABLES[self as usize].get_or_init(|| {
            let anchors: Vec<Lab> = self.anchors().iter().map(|&hex| to_oklab(from_hex(hex))).collect();
            std::array::from_fn(|j| {
                let t = j as f64 / 255.0;
                let [_, a, b] = spline(&anchors, t);
                into_gamut([self.lightness(t), a, b])
            })
        })
    }

    /// Colour at `t`, clamped to `[0, 1]`; [`MISSING`] if `t` is not a number.
    pub fn at(self, t: f64) -> Rgb {
        if t.is_nan() { MISSING } else { self.table()[(t.clamp(0.0, 1.0) * 255.0).round() as usize] }
    }

    /// OKLab lightness at `t`.
    fn lightness(self, t: f64) -> f64 {
        let from_centre = (2.0 * t - 1.0).abs();
        match self {
            Self::Viridis => 0.29 + 0.62 * t,
            Self::Thermal => 0.24 + 0.69 * t,
            Self::RedBlue => 0.975 - 0.575 * from_centre,
            Self::Balance => 0.96 - 0.71 * from_centre,
        }
    }

    /// Hue and chroma, evenly spaced in `t`.
    fn anchors(self) -> &'static [u32] {
        match self {
            Self::Viridis => {
                &[0x440154, 0x482878, 0x3e4989, 0x31688e, 0x26828e, 0x1f9e89, 0x35b779, 0x6ece58, 0xb5de2b, 0xfde725]
            }
            Self::Thermal => &[0x0b2242, 0x35327f, 0x68408f, 0x99508c, 0xcb627a, 0xee8056, 0xf9ad45, 0xf0ea68],
            Self::RedBlue => &[0x0a3f80, 0x2f74b5, 0x7fb2da, 0xf7f7f7, 0xeb9f80, 0xcb4b43, 0x860f25],
            Self::Balance => {
                &[0x141f45, 0x23489f, 0x3f83c4, 0x9dbdd4, 0xf3f1ef, 0xdcaf9d, 0xc8644f, 0x9c2233, 0x3a0a16]
            }
        }
    }
}

/// Colour mixed with white: `share = 1` leaves it as it is.
pub(super) fn tint(colour: Rgb, share: f64) -> Rgb {
    colour.map(|c| (255.0 - share * (255.0 - f64::from(c))).round() as u8)
}

fn from_hex(hex: u32) -> Rgb {
    let [_, r, g, b] = hex.to_be_bytes();
    [r, g, b]
}

/// Lightness, green-red and blue-yellow coordinate.
type Lab = [f64; 3];

fn apply(m: &[[f64; 3]; 3], v: [f64; 3]) -> [f64; 3] {
    m.map(|row| row[0] * v[0] + row[1] * v[1] + row[2] * v[2])
}

fn to_oklab(colour: Rgb) -> Lab {
    const LMS: [[f64; 3]; 3] = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ];
    const LAB: [[f64; 3]; 3] = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ];
    let linear = colour.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    apply(&LAB, apply(&LMS, linear).map(f64::cbrt))
}

fn to_linear(lab: Lab) -> [f64; 3] {
    const LMS: [[f64; 3]; 3] =
        [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]];
    const RGB: [[f64; 3]; 3] = [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ];
    apply(&RGB, apply(&LMS, lab).map(|c| c.powi(3)))
}

/// The nearest displayable colour of the same lightness and hue: chroma is bisected.
fn into_gamut([l, a, b]: Lab) -> Rgb {
    let displayable =
        |share: f64| to_linear([l, share * a, share * b]).iter().all(|c| (-1e-9..=1.0 + 1e-9).contains(c));
    let mut share = 1.0;
    if !displayable(1.0) {
        let mut bounds = [0.0, 1.0];
        for _ in 0..40 {
            let middle = 0.5 * (bounds[0] + bounds[1]);
            bounds[usize::from(!displayable(middle))] = middle;
        }
        share = bounds[0];
    }
    to_linear([l, share * a, share * b]).map(|c| {
        let c = c.clamp(0.0, 1.0);
        let c = if c <= 0.0031308 { 12.92 * c } else { 1.055 * c.powf(1.0 / 2.4) - 0.055 };
        (255.0 * c).round() as u8
    })
}

/// Catmull-Rom spline through evenly spaced anchors.
fn spline(anchors: &[Lab], t: f64) -> Lab {
    let last = anchors.len() - 1;
    let s = t * last as f64;
    let j = (s as usize).min(last - 1);
    let f = s - j as f64;
    let (p0, p1, p2, p3) = (anchors[j.saturating_sub(1)], anchors[j], anchors[j + 1], anchors[(j + 2).min(last)]);
    std::array::from_fn(|c| {
        let (m1, m2) = (0.5 * (p2[c] - p0[c]), 0.5 * (p3[c] - p1[c]));
        let (f2, f3) = (f * f, f * f * f);
        (2.0 * f3 - 3.0 * f2 + 1.0) * p1[c] + (f3 - 2.0 * f2 + f) * m1 + (3.0 * f2 - 2.0 * f3) * p2[c] + (f3 - f2) * m2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lightness(map: ColourMap) -> Vec<f64> {
        map.table().iter().map(|&c| to_oklab(c)[0]).collect()
    }

    // One 8-bit step of a dark colour is up to 0.006 of OKLab lightness.
    const ROUNDING: f64 = 0.006;

    #[test]
    fn oklab_round_trip_returns_the_same_bytes() {
        for c in [[0, 0, 0], [255, 255, 255], [12, 200, 99], [255, 0, 0], [3, 7, 250]] {
            assert_eq!(into_gamut(to_oklab(c)), c);
        }
        // White has lightness 1 and no chroma; the published matrices have 10 digits.
        let white = to_oklab([255; 3]);
        assert!((white[0] - 1.0).abs() < 1e-7 && white[1].abs() < 1e-7 && white[2].abs() < 1e-7);
    }

    #[test]
    fn sequential_maps_have_linear_rising_lightness() {
        for map in [ColourMap::Viridis, ColourMap::Thermal] {
            let l = lightness(map);
            for (j, l) in l.iter().enumerate() {
                assert!((l - map.lightness(j as f64 / 255.0)).abs() < ROUNDING, "{map:?} {j}");
            }
            assert!(l.windows(9).all(|w| w[8] > w[0]), "{map:?}");
            assert!(l[255] - l[0] > 0.6);
        }
    }

    #[test]
    fn diverging_maps_have_symmetric_lightness_and_a_neutral_centre() {
        for map in [ColourMap::RedBlue, ColourMap::Balance] {
            let l = lightness(map);
            for j in 0..128 {
                assert!((l[j] - l[255 - j]).abs() < 2.0 * ROUNDING, "{map:?} {j}");
            }
            assert!(l[..128].windows(9).all(|w| w[8] > w[0]), "{map:?}");
            let [_, a, b] = to_oklab(map.at(0.5));
            // Chroma of a vivid colour is 0.2.
            assert!(a.hypot(b) < 0.01, "{map:?}");
            let [cold, warm] = [map.at(0.2), map.at(0.8)];
            assert!(cold[2] > cold[0] && warm[0] > warm[2], "{map:?}");
        }
    }

    #[test]
    fn neighbouring_colours_differ_by_less_than_the_eye_sees() {
        for map in ColourMap::ALL {
            for w in map.table().windows(2) {
                let [p, q] = [to_oklab(w[0]), to_oklab(w[1])];
                let distance = (0..3).map(|c| (p[c] - q[c]).powi(2)).sum::<f64>().sqrt();
                // About 0.02 is just noticeable in OKLab.
                assert!(distance < 0.02, "{map:?} {w:?} {distance}");
            }
        }
    }

    #[test]
    fn signed_limits_are_symmetric_and_ignore_what_is_not_finite() {
        assert_eq!(Quantity::Signed.limits(&[-3.0, 1.0, f64::NAN, f64::INFINITY]), [-3.0, 3.0]);
        assert_eq!(Quantity::Positive.limits(&[2.0, 5.0, f64::NAN]), [2.0, 5.0]);
    }

    #[test]
    fn equal_data_gets_a_small_range() {
        assert_eq!(Quantity::Positive.limits(&[2.0, 2.0]), [1.9, 2.1]);
        assert_eq!(Quantity::Positive.limits(&[0.0]), [-1.0, 1.0]);
        assert_eq!(Quantity::Signed.limits(&[0.0]), [-1.0, 1.0]);
        assert_eq!(Quantity::Signed.limits(&[f64::NAN]), [-1.0, 1.0]);
    }
}
