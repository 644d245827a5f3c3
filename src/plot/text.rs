//! The bundled font: extents of text, and Unicode superscripts.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, PxScale, ScaleFont};

/// Family in SVG files; Verdana has nearly the same widths where DejaVu is not installed.
pub(super) const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// Height of capitals and digits over the size.
pub(super) const CAP: f64 = 0.73;

/// Depth of descenders over the size.
pub(super) const DESCENT: f64 = 0.24;

/// DejaVu Sans, see `font/LICENSE.txt`.
pub(super) fn font() -> &'static FontRef<'static> {
    static FONT: OnceLock<FontRef<'static>> = OnceLock::new();
    FONT.get_or_init(|| {
        FontRef::try_from_slice(include_bytes!("font/DejaVuSans-subset.ttf")).expect("the bundled font is valid")
    })
}

/// The scale that makes an em square `size` units wide (`ab_glyph` scales by the line height).
pub(super) fn scale(size: f64) -> PxScale {
    let units = font().units_per_em().expect("the bundled font is scalable");
    PxScale::from(size as f32 * font().height_unscaled() / units)
}

/// Width of `text` in the unit of `size`.
pub(super) fn width(text: &str, size: f64) -> f64 {
    // At a large scale, since advances are single precision.
    let font = font().as_scaled(scale(100.0));
    let advance: f32 = text.chars().map(|c| font.h_advance(font.glyph_id(c))).sum();
    f64::from(advance) * size / 100.0
}

/// `text` in Unicode superscripts: digits, signs and `/`; other characters are kept.
///
/// ```
/// assert_eq!(format!("k{}", parseval::plot::superscript("-5/3")), "k⁻⁵ᐟ³");
/// ```
pub fn superscript(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '0' | '4'..='9' => char::from_u32(0x2070 + c as u32 - '0' as u32).unwrap_or(c),
            '-' | '−' => '⁻',
            '+' => '⁺',
            '/' => 'ᐟ',
            _ => c,
        })
        .collect()
}

/// `10ᵉ`.
pub(super) fn power_of_ten(exponent: i32) -> String {
    format!("10{}", superscript(&exponent.to_string()))
}

/// `value` with `decimals` digits behind the point and a true minus sign; never `−0`.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let is_zero = !text.bytes().any(|b| (b'1'..=b'9').contains(&b));
    if is_zero { text.trim_start_matches('-').to_string() } else { text.replace('-', "−") }
}

/// `value` with `digits` significant digits: plain between 0.001 and 10⁴, otherwise `1.2×10⁻⁵`.
///
/// ```
/// assert_eq!(parseval::plot::number(-0.25, 2), "−0.25");
/// assert_eq!(parseval::plot::number(3.14e-7, 3), "3.14×10⁻⁷");
/// ```
pub fn number(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".into();
    }
    if !value.is_finite() {
        return value.to_string().replace('-', "−").replace("inf", "∞");
    }
    // Rounding may carry into the next decade: 9.99 with two digits is 10, so the exponent is read afterwards.
    let rounded = format!("{:.*e}", digits.max(1) - 1, value);
    let (mantissa, exponent) = rounded.split_once('e').expect("the exponent format contains e");
    let exponent: i32 = exponent.parse().expect("the exponent is an integer");
    if (-3..4).contains(&exponent) {
        return fixed(value, (digits as i32 - 1 - exponent).max(0) as usize);
    }
    format!("{}×{}", mantissa.replace('-', "−"), power_of_ten(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_is_proportional_to_size_and_additive() {
        // Single-precision advances.
        assert!((width("Σω", 20.0) - 2.0 * width("Σω", 10.0)).abs() < 1e-9);
        assert!((width("ab", 9.0) - width("a", 9.0) - width("b", 9.0)).abs() < 1e-5);
        // Advance of a digit in the table of DejaVu Sans: 1303 of 2048 units.
        assert!((width("0", 2048.0) - 1303.0).abs() < 0.01);
    }

    #[test]
    fn every_character_of_scientific_labels_is_in_the_font() {
        let labels =
            "abcXYZ0123456789 αβγδεζηθκλμνξπρστφχψω ΓΔΘΛΞΠΣΦΨΩ ⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᐟ ₀₁₂₃₄₅₆₇₈₉ₓₘₙ ×·−±≤≥≈∂∇∫∑√∞⟨⟩‖|→°";
        let missing: String = labels.chars().filter(|&c| font().glyph_id(c).0 == 0).collect();
        assert_eq!(missing, "");
    }

    #[test]
    fn numbers_are_written_as_in_print() {
        assert_eq!(number(0.0, 3), "0");
        assert_eq!(number(12.0, 3), "12.0");
        assert_eq!(number(9.999, 2), "10");
        assert_eq!(number(-123456.0, 2), "−1.2×10⁵");
        assert_eq!(number(99999.0, 2), "1.0×10⁵");
        assert_eq!(number(f64::NEG_INFINITY, 2), "−∞");
        assert_eq!(fixed(-0.001, 1), "0.0");
        assert_eq!(power_of_ten(-12), "10⁻¹²");
    }
}
