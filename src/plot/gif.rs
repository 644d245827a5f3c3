//! Animations.

use std::io::BufWriter;
use std::path::Path;

use ::gif::{Encoder, Frame, Repeat};
use ndarray::ArrayView2;

use super::colour::{CATEGORICAL, ColourMap, MISSING, Rgb, tint};
use super::figure::{Figure, Panel};
use super::file::write_atomically;
use super::heat::{HeatMap, share_limits};
use super::raster::Pixels;
use super::text::fixed;
use crate::error::{Error, Result};
use crate::field::Real;

/// Speed of an animated GIF; it repeats for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Animation {
    /// Frames a second, at most 50; GIF rounds the delay to 1/100 s.
    pub frames_per_second: f64,
}

impl Default for Animation {
    fn default() -> Self {
        Self { frames_per_second: 12.0 }
    }
}

impl Animation {
    /// Writes `figures` as the frames of a GIF, each at its own [`Figure::dpi`]; 100 to 150 is enough on screens.
    ///
    /// The figures are drawn one after the other, so a long sequence need not be in memory. For a steady picture give
    /// all heat maps and axes fixed limits; frames are cut or padded to the size of the first.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there is no figure, [`Error::Parameter`] if the rate is not in `(0, 50]` or the extension not
    /// `gif`, [`Error::Io`] if the file cannot be written, and those of [`Figure::pixels`].
    pub fn save(&self, path: impl AsRef<Path>, figures: impl IntoIterator<Item = Figure>) -> Result<()> {
        let path = path.as_ref();
        if !path.extension().is_some_and(|e| e.eq_ignore_ascii_case("gif")) {
            return Err(Error::parameter("path", path.display(), "must end in .gif"));
        }
        let rate = self.frames_per_second;
        if !(rate > 0.0 && rate <= 50.0) {
            return Err(Error::parameter("frames_per_second", rate, "must be > 0 and <= 50"));
        }
        let delay = (100.0 / rate).round().min(f64::from(u16::MAX)) as u16;
        let mut figures = figures.into_iter();
        let first = figures.next().ok_or_else(|| Error::shape("frames of an animation", &[1], &[0]))?;
        let canvas = first.pixels()?;
        let size = [canvas.width, canvas.height];
        let [w, h] = size.map(u16::try_from);
        let (Ok(w), Ok(h)) = (w, h) else {
            return Err(Error::parameter("size", format!("{size:?}"), "GIF frames have at most 65535 pixels a side"));
        };
        let mut palette = Palette::of(&first);
        let mut frames = std::iter::once(Ok(canvas)).chain(figures.map(|f| f.pixels()));
        // An error of a figure ends the writing and is reported instead of the file error it causes.
        let mut refused = None;
        let written = write_atomically(path, |file| {
            let to_io = |e: ::gif::EncodingError| std::io::Error::other(e);
            let mut encoder = Encoder::new(BufWriter::new(file), w, h, &palette.bytes()).map_err(to_io)?;
            encoder.set_repeat(Repeat::Infinite).map_err(to_io)?;
            for pixels in &mut frames {
                let pixels = pixels.map_err(|e| {
                    refused = Some(e);
                    std::io::Error::other("a frame cannot be drawn")
                })?;
                let buffer = palette.indices(&pixels, size).into();
                encoder
                    .write_frame(&Frame { width: w, height: h, delay, buffer, ..Frame::default() })
                    .map_err(to_io)?;
            }
            encoder.into_inner().map_err(std::io::Error::other)?.into_inner().map_err(|e| e.into_error())?;
            Ok(())
        });
        refused.map_or(written, Err)
    }
}

/// Animates fields with the axes, colours and label of `like` (whose own values are not shown), one frame for each of
/// `times`.
///
/// The colour scale is that of `like`, or holds the values of all frames; the time stands in the title.
///
/// # Errors
///
/// [`Error::Shape`] if `times` has another length than `fields` or the fields have another shape than `like`, and those of
/// [`Animation::save`].
///
/// ```
/// use ndarray::Array2;
/// use parseval::plot::{HeatMap, Quantity, animate};
///
/// let field = |t: f64| Array2::from_shape_fn((16, 16), |(i, _)| (0.4 * i as f64 - t).sin());
/// let fields = [field(0.0), field(0.5), field(1.0)];
/// let views: Vec<_> = fields.iter().map(|f| f.view()).collect();
/// let like = HeatMap::field(fields[0].view(), [1.0, 1.0], Quantity::Signed).label("u");
/// let dir = tempfile::tempdir()?;
/// animate(dir.path().join("wave.gif"), &like, &views, &[0.0, 0.5, 1.0], Default::default())?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn animate<T: Real>(
    path: impl AsRef<Path>,
    like: &HeatMap,
    fields: &[ArrayView2<T>],
    times: &[f64],
    animation: Animation,
) -> Result<()> {
    if fields.len() != times.len() {
        return Err(Error::shape("times", &[fields.len()], &[times.len()]));
    }
    if let Some(field) = fields.iter().find(|f| f.dim() != like.values.dim()) {
        return Err(Error::shape("fields", like.values.shape(), field.shape()));
    }
    let mut maps: Vec<HeatMap> =
        fields.iter().map(|f| HeatMap { values: f.mapv(|v| v.as_f64()), ..like.clone() }).collect();
    if like.limits.is_none() {
        share_limits(&mut maps);
    }
    let span = times.iter().fold(0.0f64, |m, t| m.max(t.abs()));
    // Three digits of the last time.
    let decimals = if span > 0.0 { (2.0 - span.log10().floor()).clamp(0.0, 6.0) as usize } else { 1 };
    let figures = maps.into_iter().zip(times).map(|(map, &t)| {
        let title = format!("{} t = {}", like.title, fixed(t, decimals));
        Figure::single_column().row([map.title(title.trim_start())]).dpi(120.0)
    });
    animation.save(path, figures)
}

/// 256 colours: the maps of a figure, greys for text and lines, the categorical colours and their tints.
struct Palette {
    colours: Vec<Rgb>,
    /// Nearest entry of each colour in steps of 4, found when first needed.
    nearest: Vec<Option<u8>>,
}

impl Palette {
    fn of(figure: &Figure) -> Self {
        let mut maps: Vec<ColourMap> = vec![];
        let mut has_lines = false;
        for panel in figure.rows.iter().flatten() {
            match panel {
                Panel::Heat(map) if !maps.contains(&map.colours) => maps.push(map.colours),
                Panel::Lines(_) => has_lines = true,
                _ => {}
            }
        }
        let mut colours: Vec<Rgb> = (0..24u8).map(|j| [(f64::from(j) * 255.0 / 23.0).round() as u8; 3]).collect();
        colours.push(MISSING);
        if has_lines {
            let shares = [1.0, 0.75, 0.5, 0.22];
            colours.extend(shares.iter().flat_map(|&share| CATEGORICAL.map(|c| tint(c, share))));
        }
        let each = (256 - colours.len()) / maps.len().max(1);
        let steps = (each - 1) as f64;
        colours.extend(maps.iter().flat_map(|m| (0..each).map(move |j| m.at(j as f64 / steps))));
        colours.truncate(256);
        Self { colours, nearest: vec![None; 64 * 64 * 64] }
    }

    fn bytes(&self) -> Vec<u8> {
        self.colours.concat()
    }

    fn index(&mut self, colour: Rgb) -> u8 {
        let key = colour.iter().fold(0usize, |key, &c| 64 * key + usize::from(c >> 2));
        *self.nearest[key].get_or_insert_with(|| {
            let distance = |p: &Rgb| -> i32 { (0..3).map(|c| (i32::from(p[c]) - i32::from(colour[c])).pow(2)).sum() };
            let best = self.colours.iter().enumerate().min_by_key(|(_, p)| distance(p));
            best.map_or(0, |(j, _)| j as u8)
        })
    }

    /// Palette indices of `pixels`, cut or padded with white to `size`.
    fn indices(&mut self, pixels: &Pixels, [w, h]: [usize; 2]) -> Vec<u8> {
        let white = self.index([255; 3]);
        let mut out = vec![white; w * h];
        let columns = w.min(pixels.width);
        for (row, target) in pixels.rgb.chunks_exact(3 * pixels.width).zip(out.chunks_exact_mut(w)) {
            for (p, t) in row.chunks_exact(3).take(columns).zip(target) {
                *t = self.index([p[0], p[1], p[2]]);
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::Quantity;
    use ndarray::Array2;

    fn fields(n: usize, frames: usize) -> Vec<Array2<f64>> {
        let wave = |f: usize| {
            Array2::from_shape_fn((n, n), |(i, j)| (0.1 * (i + 2 * f) as f64).sin() * (0.07 * j as f64).cos())
        };
        (0..frames).map(wave).collect()
    }

    fn decode(path: &Path) -> Vec<(u16, u16, u16)> {
        let mut options = ::gif::DecodeOptions::new();
        options.set_color_output(::gif::ColorOutput::Indexed);
        let mut decoder = options.read_info(std::fs::File::open(path).unwrap()).unwrap();
        let mut frames = vec![];
        while let Some(f) = decoder.read_next_frame().unwrap() {
            frames.push((f.width, f.height, f.delay));
        }
        frames
    }

    #[test]
    fn gif_has_a_frame_a_field_and_the_delay_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.gif");
        let fields = fields(16, 5);
        let views: Vec<_> = fields.iter().map(|f| f.view()).collect();
        let like = HeatMap::field(views[0], [1.0, 1.0], Quantity::Signed);
        let animation = Animation { frames_per_second: 20.0 };
        animate(&path, &like, &views, &[0.0, 0.1, 0.2, 0.3, 0.4], animation).unwrap();
        let frames = decode(&path);
        assert_eq!(frames.len(), 5);
        // 3.4 inches at 120 pixels an inch, 5 hundredths of a second.
        assert!(frames.iter().all(|&f| f == (408, frames[0].1, 5)), "{frames:?}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn palette_keeps_the_colours_of_the_map() {
        let like = HeatMap::field(fields(8, 1)[0].view(), [1.0, 1.0], Quantity::Signed);
        let mut palette = Palette::of(&Figure::single_column().row([like]));
        assert!(palette.colours.len() <= 256);
        for &c in ColourMap::RedBlue.table() {
            let index = usize::from(palette.index(c));
            let found = palette.colours[index];
            let largest = (0..3).map(|j| c[j].abs_diff(found[j])).max().unwrap();
            // 3 from the steps of the look-up, 3 from having 231 instead of 256 colours.
            assert!(largest <= 6, "{c:?} {found:?}");
        }
        let white = usize::from(palette.index([255; 3]));
        assert_eq!(palette.colours[white], [255; 3]);
    }

    #[test]
    fn a_frame_that_cannot_be_drawn_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let good = Figure::new(1.5).row([HeatMap::new(fields(4, 1)[0].view(), Quantity::Signed)]).dpi(60.0);
        let bad = Figure::single_column();
        let animation = Animation::default();
        let e = animation.save(dir.path().join("a.gif"), [good.clone(), bad]).unwrap_err();
        assert!(matches!(e, Error::Shape { .. }), "{e}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(animation.save(dir.path().join("a.png"), [good.clone()]).is_err());
        assert!(Animation { frames_per_second: 0.0 }.save(dir.path().join("a.gif"), [good]).is_err());
        assert!(animation.save(dir.path().join("a.gif"), []).is_err());
    }
}
