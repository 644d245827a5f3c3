//! A scene as SVG: lines, areas and text stay vectors, each image is one embedded PNG.

use std::fmt::Write;

use super::colour::Rgb;
use super::file::encode_png;
use super::raster::Pixels;
use super::scene::{Align, Mark, Point, Scene};
use super::text::FAMILY;
use crate::error::Result;

/// Images are painted at `scale` pixels a point.
pub(super) fn draw(scene: &Scene, scale: f64) -> Result<String> {
    let mut out = String::new();
    write_scene(&mut out, scene, scale)?;
    Ok(out)
}

fn write_scene(out: &mut String, scene: &Scene, scale: f64) -> Result<()> {
    let (w, h) = (short(scene.width), short(scene.height));
    push(
        out,
        format_args!(r#"<svg xmlns="http://www.w3.org/2000/svg" width="{w}pt" height="{h}pt" viewBox="0 0 {w} {h}""#),
    );
    push(out, format_args!(" font-family=\"{FAMILY}\" stroke-linejoin=\"round\">\n"));
    push(out, format_args!("<rect width=\"{w}\" height=\"{h}\" fill=\"#ffffff\"/>\n"));
    for (index, mark) in scene.marks.iter().enumerate() {
        match mark {
            Mark::Image { rect, paint } => {
                let [width, height] = [rect.w, rect.h].map(|v| (v * scale).round().max(1.0) as usize);
                let png = encode_png(&Pixels { width, height, rgb: paint(width, height) })?;
                let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(short);
                push(
                    out,
                    format_args!(r#"<image x="{x}" y="{y}" width="{w}" height="{h}" preserveAspectRatio="none""#),
                );
                push(out, format_args!(" href=\"data:image/png;base64,{}\"/>\n", base64(&png)));
            }
            Mark::Gradient { rect, colours } => {
                push(out, format_args!(r#"<linearGradient id="g{index}" x1="0" y1="1" x2="0" y2="0">"#));
                for j in 0..=32 {
                    let t = f64::from(j) / 32.0;
                    push(out, format_args!(r#"<stop offset="{t}" stop-color="{}"/>"#, hex(colours.at(t))));
                }
                let [x, y, w, h] = [rect.x, rect.y, rect.w, rect.h].map(short);
                push(out, format_args!("</linearGradient>\n"));
                push(out, format_args!(r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="url(#g{index})"/>"#));
                out.push('\n');
            }
            Mark::Area { points, colour, opacity } => {
                let (points, colour) = (list(points), hex(*colour));
                push(out, format_args!(r#"<polygon points="{points}" fill="{colour}""#));
                if *opacity < 1.0 {
                    push(out, format_args!(r#" fill-opacity="{opacity}""#));
                }
                out.push_str("/>\n");
            }
            Mark::Line { points, colour, width, dash } => {
                // Axes meet in full corners; curves end at the frame.
                let cap = if points.len() == 2 { " stroke-linecap=\"square\"" } else { "" };
                let (points, colour) = (list(points), hex(*colour));
                push(
                    out,
                    format_args!(r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}""#),
                );
                if dash.is_empty() {
                    push(out, format_args!("{cap}/>\n"));
                } else {
                    let dash: Vec<String> = dash.iter().map(f64::to_string).collect();
                    push(out, format_args!(" stroke-dasharray=\"{}\"/>\n", dash.join(",")));
                }
            }
            Mark::Text(t) => {
                let [x, y] = t.at.map(short);
                let anchor = match t.align {
                    Align::Start => "start",
                    Align::Middle => "middle",
                    Align::End => "end",
                };
                push(out, format_args!(r#"<text x="{x}" y="{y}" font-size="{}" text-anchor="{anchor}""#, t.size));
                push(out, format_args!(" fill=\"{}\"", hex(t.colour)));
                if t.upward {
                    push(out, format_args!(r#" transform="rotate(-90 {x} {y})""#));
                }
                push(out, format_args!(">{}</text>\n", escape(&t.text)));
            }
        }
    }
    out.push_str("</svg>\n");
    Ok(())
}

fn push(out: &mut String, text: std::fmt::Arguments) {
    out.write_fmt(text).expect("writing to a string does not fail");
}

/// Two decimals: 0.01 pt is far below what is visible.
fn short(v: f64) -> f64 {
    (v * 100.0).round() / 100.0
}

fn list(points: &[Point]) -> String {
    let pairs: Vec<String> = points.iter().map(|p| format!("{},{}", short(p[0]), short(p[1]))).collect();
    pairs.join(" ")
}

fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// Text between tags of SVG and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// RFC 4648, section 4.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |w, (j, &b)| w | u32::from(b) << (16 - 8 * j));
        for j in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * j)) as usize & 63];
            out.push(if j <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_agrees_with_the_test_vectors_of_the_rfc() {
        let vectors = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, coded) in vectors {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn markup_in_labels_is_escaped() {
        assert_eq!(escape("a < b & c > d"), "a &lt; b &amp; c &gt; d");
    }
}
