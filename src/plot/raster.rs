//! A scene as pixels. Lines, areas and glyphs are drawn with analytic coverage, so nothing is supersampled.

use ab_glyph::{Font, point};
use ab_glyph_rasterizer::Rasterizer;

use super::colour::Rgb;
use super::scene::{Mark, Point, Rect, Scene, Text};
use super::text;

/// An RGB image, rows from the top.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `3 width height` bytes.
    pub rgb: Vec<u8>,
}

impl Pixels {
    /// Colour in column `x` of row `y`.
    ///
    /// # Panics
    ///
    /// Outside the image.
    pub fn at(&self, x: usize, y: usize) -> Rgb {
        assert!(x < self.width && y < self.height, "({x}, {y}) outside {}x{}", self.width, self.height);
        let j = 3 * (y * self.width + x);
        [self.rgb[j], self.rgb[j + 1], self.rgb[j + 2]]
    }

    /// Mixes `colour` into a pixel; outside the image nothing happens.
    fn blend(&mut self, x: i64, y: i64, colour: Rgb, coverage: f32) {
        if x < 0 || y < 0 || x >= self.width as i64 || y >= self.height as i64 || coverage <= 0.0 {
            return;
        }
        let j = 3 * (y as usize * self.width + x as usize);
        for (old, new) in self.rgb[j..j + 3].iter_mut().zip(colour) {
            *old = (f32::from(*old) + coverage.min(1.0) * (f32::from(new) - f32::from(*old))).round() as u8;
        }
    }

    /// The pixels of a rectangle of the page.
    fn snap(&self, rect: Rect, scale: f64) -> [usize; 4] {
        let clamp = |v: f64, n: usize| (v * scale).round().clamp(0.0, n as f64) as usize;
        [
            clamp(rect.x, self.width),
            clamp(rect.y, self.height),
            clamp(rect.right(), self.width),
            clamp(rect.bottom(), self.height),
        ]
    }

    /// Writes an image of the size of the rectangle into it.
    fn blit(&mut self, [x0, y0, x1, y1]: [usize; 4], paint: impl FnOnce(usize, usize) -> Vec<u8>) {
        if x1 <= x0 || y1 <= y0 {
            return;
        }
        let (w, pixels) = (x1 - x0, paint(x1 - x0, y1 - y0));
        for (y, row) in (y0..y1).zip(pixels.chunks_exact(3 * w)) {
            let start = 3 * (y * self.width + x0);
            self.rgb[start..start + 3 * w].copy_from_slice(row);
        }
    }

    /// A polygon in pixels.
    fn area(&mut self, points: &[Point], colour: Rgb, opacity: f64) {
        let Some((low, high)) = bounds(points) else { return };
        let (x0, y0) = (low[0].floor(), low[1].floor());
        let size = [(high[0].ceil() - x0) as usize + 1, (high[1].ceil() - y0) as usize + 1];
        let mut rasterizer = Rasterizer::new(size[0], size[1]);
        let local = |p: Point| point((p[0] - x0) as f32, (p[1] - y0) as f32);
        for (j, &p) in points.iter().enumerate() {
            let q = points[(j + 1) % points.len()];
            let (p, q) = (local(p), local(q));
            rasterizer.draw_line(ab_glyph_rasterizer::point(p.x, p.y), ab_glyph_rasterizer::point(q.x, q.y));
        }
        rasterizer.for_each_pixel_2d(|x, y, coverage| {
            self.blend(x0 as i64 + i64::from(x), y0 as i64 + i64::from(y), colour, coverage * opacity as f32);
        });
    }

    /// A horizontal or vertical line, snapped to whole pixels so that it is crisp.
    fn rule(&mut self, [a, b]: [Point; 2], colour: Rgb, width: f64) {
        let thickness = width.round().max(1.0);
        let across = usize::from(a[0] == b[0]) ^ 1;
        let along = 1 - across;
        let start = (a[across] - 0.5 * thickness).round() as i64;
        let (from, to) = (a[along].min(b[along]), a[along].max(b[along]));
        // Lines that meet at a corner overlap by half a width.
        let (from, to) = ((from - 0.5 * thickness).round() as i64, (to + 0.5 * thickness).round() as i64);
        for i in start..start + thickness as i64 {
            for j in from..to {
                let [x, y] = if across == 1 { [j, i] } else { [i, j] };
                self.blend(x, y, colour, 1.0);
            }
        }
    }

    /// A polyline with round joins and straight ends: the coverage of a pixel is that of the nearest segment, so that crossings and
    /// joins are not drawn twice.
    fn stroke(&mut self, pieces: &[Vec<Point>], colour: Rgb, width: f64) {
        let half = 0.5 * width.max(1.0);
        // Lines thinner than a pixel are one pixel wide and paler.
        let strength = width.min(1.0) as f32;
        let reach = half + 1.0;
        for points in pieces {
            let Some((low, high)) = bounds(points) else { continue };
            let (x0, y0) = ((low[0] - reach).floor(), (low[1] - reach).floor());
            let (w, h) = ((high[0] + reach - x0).ceil() as usize + 1, (high[1] + reach - y0).ceil() as usize + 1);
            let mut mask = vec![0f32; w * h];
            for (j, s) in points.windows(2).enumerate() {
                let [is_first, is_last] = [j == 0, j + 2 == points.len()];
                let (p, q) = ([s[0][0] - x0, s[0][1] - y0], [s[1][0] - x0, s[1][1] - y0]);
                let d = [q[0] - p[0], q[1] - p[1]];
                let length2 = d[0] * d[0] + d[1] * d[1];
                let rows = (p[1].min(q[1]) - reach).max(0.0) as usize..=(p[1].max(q[1]) + reach) as usize;
                for row in rows {
                    let y = row as f64 + 0.5;
                    // The part of the segment within reach of this row.
                    let [mut xa, mut xb] = [p[0].min(q[0]), p[0].max(q[0])];
                    if d[1].abs() > 1e-9 {
                        let cut = |yc: f64| p[0] + d[0] * ((yc - p[1]) / d[1]).clamp(0.0, 1.0);
                        let (a, b) = (cut(y - reach), cut(y + reach));
                        [xa, xb] = [a.min(b), a.max(b)];
                    }
                    let columns = (xa - reach).max(0.0) as usize..=((xb + reach) as usize).min(w - 1);
                    for column in columns {
                        let r = [column as f64 + 0.5 - p[0], y - p[1]];
                        let t = if length2 > 0.0 { (r[0] * d[0] + r[1] * d[1]) / length2 } else { 0.0 };
                        // Joins are round; the two ends of the polyline are cut straight.
                        let before = if is_first { -t * length2.sqrt() } else { f64::NEG_INFINITY };
                        let after = if is_last { (t - 1.0) * length2.sqrt() } else { f64::NEG_INFINITY };
                        let end = (0.5 - before.max(after)).clamp(0.0, 1.0);
                        let t = t.clamp(
                            if is_first { f64::NEG_INFINITY } else { 0.0 },
                            if is_last { f64::INFINITY } else { 1.0 },
                        );
                        let distance = (r[0] - t * d[0]).hypot(r[1] - t * d[1]);
                        let coverage = ((half + 0.5 - distance).clamp(0.0, 1.0) * end) as f32;
                        let cell = &mut mask[row.min(h - 1) * w + column];
                        *cell = cell.max(coverage);
                    }
                }
            }
            for (j, &coverage) in mask.iter().enumerate() {
                self.blend(x0 as i64 + (j % w) as i64, y0 as i64 + (j / w) as i64, colour, strength * coverage);
            }
        }
    }

    fn text(&mut self, t: &Text, scale: f64) {
        let font = text::font();
        let size = text::scale(t.size * scale);
        let per_em = t.size * scale / f64::from(font.units_per_em().expect("the bundled font is scalable"));
        let mut pen = t.start() * scale;
        let [x0, y0] = t.at.map(|v| v * scale);
        // The baseline of horizontal text sits on a pixel boundary; so does that of vertical text.
        let (origin, base) = if t.upward { (y0, x0.round()) } else { (x0, y0.round()) };
        let whole = origin.floor();
        pen += if t.upward { whole + 1.0 - origin } else { origin - whole };
        for c in t.text.chars() {
            let id = font.glyph_id(c);
            let glyph = id.with_scale_and_position(size, point(pen as f32, 0.0));
            if let Some(outline) = font.outline_glyph(glyph) {
                let b = outline.px_bounds();
                outline.draw(|gx, gy, coverage| {
                    let (along, up) = (b.min.x as i64 + i64::from(gx), b.min.y as i64 + i64::from(gy));
                    let (x, y) = if t.upward {
                        (base as i64 + up, whole as i64 - along)
                    } else {
                        (whole as i64 + along, base as i64 + up)
                    };
                    self.blend(x, y, t.colour, coverage);
                });
            }
            pen += f64::from(font.h_advance_unscaled(id)) * per_em;
        }
    }
}

fn bounds(points: &[Point]) -> Option<(Point, Point)> {
    let first = *points.first()?;
    Some(points.iter().fold((first, first), |(low, high), p| {
        ([low[0].min(p[0]), low[1].min(p[1])], [high[0].max(p[0]), high[1].max(p[1])])
    }))
}

/// Cuts a polyline into its dashes.
fn dashes(points: &[Point], pattern: &[f64]) -> Vec<Vec<Point>> {
    let mut pieces = vec![];
    let (mut index, mut left) = (0, pattern[0]);
    let mut piece: Vec<Point> = points.first().copied().into_iter().collect();
    for s in points.windows(2) {
        let (mut p, q) = (s[0], s[1]);
        let mut length = (q[0] - p[0]).hypot(q[1] - p[1]);
        while length > left {
            let t = left / length;
            p = [p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])];
            length -= left;
            if index % 2 == 0 {
                piece.push(p);
                pieces.push(std::mem::take(&mut piece));
            }
            index += 1;
            left = pattern[index % pattern.len()];
            if index % 2 == 0 {
                piece.push(p);
            }
        }
        left -= length;
        if index % 2 == 0 {
            piece.push(q);
        }
    }
    pieces.push(piece);
    pieces.retain(|p| p.len() > 1);
    pieces
}

/// Draws `scene` at `scale` pixels a point on white.
pub(super) fn draw(scene: &Scene, scale: f64) -> Pixels {
    let [width, height] = [scene.width, scene.height].map(|v| (v * scale).round().max(1.0) as usize);
    let mut pixels = Pixels { width, height, rgb: vec![255; 3 * width * height] };
    let to_pixels = |points: &[Point]| -> Vec<Point> { points.iter().map(|p| p.map(|v| v * scale)).collect() };
    for mark in &scene.marks {
        match mark {
            Mark::Image { rect, paint } => pixels.blit(pixels.snap(*rect, scale), paint),
            Mark::Gradient { rect, colours } => pixels.blit(pixels.snap(*rect, scale), |w, h| {
                let row = |y: usize| colours.at(1.0 - (y as f64 + 0.5) / h as f64).repeat(w);
                (0..h).flat_map(row).collect()
            }),
            Mark::Area { points, colour, opacity } => pixels.area(&to_pixels(points), *colour, *opacity),
            Mark::Line { points, colour, width, dash } => {
                let points = to_pixels(points);
                match points[..] {
                    [a, b] if dash.is_empty() && (a[0] == b[0] || a[1] == b[1]) => {
                        pixels.rule([a, b], *colour, width * scale)
                    }
                    _ if dash.is_empty() => pixels.stroke(&[points], *colour, width * scale),
                    _ => {
                        let pattern: Vec<f64> = dash.iter().map(|d| d * scale).collect();
                        pixels.stroke(&dashes(&points, &pattern), *colour, width * scale);
                    }
                }
            }
            Mark::Text(t) => pixels.text(t, scale),
        }
    }
    pixels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(width: usize, height: usize) -> Pixels {
        Pixels { width, height, rgb: vec![255; 3 * width * height] }
    }

    fn ink(p: &Pixels) -> f64 {
        p.rgb.iter().map(|&v| f64::from(255 - v) / 255.0).sum::<f64>() / 3.0
    }

    #[test]
    fn a_slanted_line_covers_length_times_width() {
        let mut p = blank(100, 100);
        p.stroke(&[vec![[10.0, 20.0], [40.0, 60.0], [70.0, 100.0 - 0.5]]], [0; 3], 3.0);
        let length = 50.0 + (30f64.powi(2) + 39.5f64.powi(2)).sqrt();
        // The wedge between the two segments at the join and 8-bit rounding stay below 2 pixels.
        assert!((ink(&p) - 3.0 * length).abs() < 2.0, "{} {}", ink(&p), 3.0 * length);
    }

    #[test]
    fn a_polygon_covers_its_area() {
        let mut p = blank(50, 50);
        p.area(&[[10.3, 10.2], [30.9, 12.0], [20.0, 40.5]], [0; 3], 1.0);
        let area = 0.5 * (20.6f64 * 30.3 - 9.7 * 1.8);
        // 8-bit rounding of about 90 boundary pixels.
        assert!((ink(&p) - area).abs() < 0.5, "{} {area}", ink(&p));
    }

    #[test]
    fn dashes_cover_their_share_of_the_line() {
        let pieces = dashes(&[[0.0, 0.0], [7.0, 0.0], [7.0, 13.0]], &[3.0, 2.0]);
        let length = |p: &Vec<Point>| p.windows(2).map(|s| (s[1][0] - s[0][0]).hypot(s[1][1] - s[0][1])).sum::<f64>();
        assert_eq!(pieces.len(), 4);
        assert!(pieces.iter().all(|p| (length(p) - 3.0).abs() < 1e-12));
    }

    #[test]
    fn upward_text_is_horizontal_text_turned() {
        let draw = |upward, at| {
            let mut p = blank(60, 60);
            let t = Text {
                at,
                text: "Lk".into(),
                size: 20.0,
                align: super::super::scene::Align::Start,
                upward,
                colour: [0; 3],
            };
            p.text(&t, 1.0);
            p
        };
        let flat = draw(false, [10.0, 40.0]);
        let turned = draw(true, [40.0, 49.0]);
        // The text covers columns from 10 to the right, or rows from 48 upwards.
        for y in 0..59 {
            for x in 0..59 {
                // Single-precision outlines may round to the next byte.
                assert!(flat.at(x, y)[0].abs_diff(turned.at(y, 58 - x)[0]) <= 1, "{x} {y}");
            }
        }
        assert!(ink(&flat) > 30.0);
    }
}
