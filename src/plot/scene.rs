//! What a figure looks like, in points (1/72 inch) with y downwards; every output format draws the same scene.

use super::colour::{ColourMap, Rgb};
use super::text;

/// A point of the page.
pub(super) type Point = [f64; 2];

/// A rectangle of the page.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Rect {
    pub x: f64,
    pub y: f64,
    pub w: f64,
    pub h: f64,
}

impl Rect {
    pub fn right(self) -> f64 {
        self.x + self.w
    }

    pub fn bottom(self) -> f64 {
        self.y + self.h
    }

    pub fn grow(self, by: f64) -> Self {
        Self { x: self.x - by, y: self.y - by, w: self.w + 2.0 * by, h: self.h + 2.0 * by }
    }

    pub fn contains(self, [x, y]: Point) -> bool {
        x >= self.x && x <= self.right() && y >= self.y && y <= self.bottom()
    }

    pub fn corners(self) -> [Point; 4] {
        [[self.x, self.y], [self.right(), self.y], [self.right(), self.bottom()], [self.x, self.bottom()]]
    }
}

/// Horizontal position of a text relative to its anchor point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Start,
    Middle,
    End,
}

/// A line of text. The anchor lies on the baseline.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub at: Point,
    pub text: String,
    pub size: f64,
    pub align: Align,
    /// Reads upwards.
    pub upward: bool,
    pub colour: Rgb,
}

impl Text {
    /// Distance from the anchor to the start of the text, along the text.
    pub fn start(&self) -> f64 {
        let share = match self.align {
            Align::Start => 0.0,
            Align::Middle => 0.5,
            Align::End => 1.0,
        };
        -share * text::width(&self.text, self.size)
    }

    /// The rectangle that the text covers.
    pub fn bounds(&self) -> Rect {
        let (along, width) = (self.start(), text::width(&self.text, self.size));
        // Superscripts rise above capitals.
        let (up, down) = ((text::CAP + 0.1) * self.size, text::DESCENT * self.size);
        let [x, y] = self.at;
        if self.upward {
            Rect { x: x - up, y: y - along - width, w: up + down, h: width }
        } else {
            Rect { x: x + along, y: y - up, w: width, h: up + down }
        }
    }
}

/// Paints `w` by `h` pixels, rows from the top.
pub(super) type Paint<'a> = Box<dyn Fn(usize, usize) -> Vec<u8> + 'a>;

/// Something to draw.
pub(super) enum Mark<'a> {
    /// Pixels.
    Image { rect: Rect, paint: Paint<'a> },
    /// A colour map, from bottom to top.
    Gradient { rect: Rect, colours: ColourMap },
    /// A filled polygon.
    Area { points: Vec<Point>, colour: Rgb, opacity: f64 },
    /// A polyline; `dash` holds lengths drawn and skipped in turn.
    Line { points: Vec<Point>, colour: Rgb, width: f64, dash: &'static [f64] },
    /// Text.
    Text(Text),
}

/// Marks in the order in which they are drawn.
pub(super) struct Scene<'a> {
    pub width: f64,
    pub height: f64,
    pub marks: Vec<Mark<'a>>,
}

impl Scene<'_> {
    pub fn line(&mut self, points: Vec<Point>, colour: Rgb, width: f64) {
        self.marks.push(Mark::Line { points, colour, width, dash: &[] });
    }

    /// The outline of a rectangle.
    pub fn frame(&mut self, rect: Rect, colour: Rgb, width: f64) {
        let c = rect.corners();
        for j in 0..4 {
            self.line(vec![c[j], c[(j + 1) % 4]], colour, width);
        }
    }

    pub fn fill(&mut self, rect: Rect, colour: Rgb, opacity: f64) {
        self.marks.push(Mark::Area { points: rect.corners().to_vec(), colour, opacity });
    }

    pub fn text(&mut self, at: Point, text: impl Into<String>, size: f64, align: Align) {
        self.marks.push(Mark::Text(Text { at, text: text.into(), size, align, upward: false, colour: super::INK }));
    }

    pub fn upward_text(&mut self, at: Point, text: impl Into<String>, size: f64, align: Align) {
        self.marks.push(Mark::Text(Text { at, text: text.into(), size, align, upward: true, colour: super::INK }));
    }
}
