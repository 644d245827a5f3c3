//! Where everything goes: margins come from the extents of the text, all panels of a row and of a column align.

use super::axis::{Scale, Ticks, ticks};
use super::colour::Rgb;
use super::figure::{Figure, Panel};
use super::heat::HeatMap;
use super::lines::Legend;
use super::place::Place;
use super::scene::{Align, Mark, Rect, Scene};
use super::text::{CAP, DESCENT, width};
use super::{GREY, INK, LABEL_SIZE, TICK_SIZE};
use crate::error::{Error, Result};

/// All lengths are in points.
const PAGE_MARGIN: f64 = 3.0;
const PANEL_GAP: f64 = 8.0;
const AXIS_WIDTH: f64 = 0.6;
const TICK: f64 = 2.6;
const MINOR_TICK: f64 = 1.5;
/// Between a tick and its label.
const PAD: f64 = 2.0;
/// Between tick labels and axis label, axes and title.
const LABEL_PAD: f64 = 3.5;
const BAR_GAP: f64 = 5.0;
const BAR_WIDTH: f64 = 7.0;
/// Height of a line of text.
const TICK_LINE: f64 = TICK_SIZE * CAP;
const LABEL_LINE: f64 = LABEL_SIZE * (CAP + DESCENT);

/// One axis of one panel, ready to draw.
struct Side {
    scale: Scale,
    limits: [f64; 2],
    ticks: Ticks,
    text: String,
    /// Whether tick labels and text are drawn.
    labelled: bool,
}

impl Side {
    /// Width of the widest tick label.
    fn widest(&self) -> f64 {
        self.ticks.major.iter().map(|(_, s)| width(s, TICK_SIZE)).fold(0.0, f64::max)
    }

    /// Room that a vertical axis takes beside its line.
    fn breadth(&self) -> f64 {
        if !self.labelled {
            return TICK;
        }
        let label = if self.text.is_empty() { 0.0 } else { LABEL_PAD + LABEL_LINE };
        TICK + PAD + self.widest() + label
    }

    /// Room that a colour bar takes beside its own width: its common factor may be the widest part.
    fn bar_breadth(&self) -> f64 {
        self.breadth().max(width(&self.ticks.factor, TICK_SIZE) - BAR_WIDTH)
    }

    /// Room that a horizontal axis takes below its line.
    fn depth(&self) -> f64 {
        if !self.labelled {
            return TICK;
        }
        let label = if self.text.is_empty() && self.ticks.factor.is_empty() { 0.0 } else { LABEL_PAD + LABEL_LINE };
        // Superscripts need a little more than capitals.
        TICK + PAD + TICK_LINE + 0.1 * TICK_SIZE + label
    }

    /// How far labels of a horizontal axis of `length` reach beyond its two ends.
    fn overhang(&self, length: f64) -> [f64; 2] {
        if !self.labelled {
            return [0.0; 2];
        }
        self.ticks.major.iter().fold([0.0f64; 2], |[left, right], (v, s)| {
            let (at, half) = (length * self.share(*v), 0.5 * width(s, TICK_SIZE));
            [left.max(half - at), right.max(at + half - length)]
        })
    }

    fn share(&self, value: f64) -> f64 {
        let [lo, hi] = self.limits.map(|v| self.scale.coordinate(v));
        (self.scale.coordinate(value) - lo) / (hi - lo)
    }
}

fn horizontal_ticks(scale: Scale, limits: [f64; 2], length: f64) -> Ticks {
    roomy_ticks(|room| ticks(scale, limits, length, &|s| width(s, TICK_SIZE) + 6.0 * room))
}

fn vertical_ticks(scale: Scale, limits: [f64; 2], length: f64) -> Ticks {
    roomy_ticks(|room| ticks(scale, limits, length, &|_| (0.75 + 0.8 * room) * TICK_SIZE))
}

/// Ticks with room between their labels, or crowded ones if there would be fewer than two.
fn roomy_ticks(ticks: impl Fn(f64) -> Ticks) -> Ticks {
    let roomy = ticks(1.0);
    if roomy.major.len() > 1 { roomy } else { ticks(0.4) }
}

/// The colour bar of `map`, `height` points high.
fn bar_side(map: &HeatMap, height: f64) -> Side {
    let (scale, limits) = (Scale::Linear, map.colour_limits());
    let ticks = vertical_ticks(scale, limits, height);
    Side { scale, limits, ticks, text: map.label.clone(), labelled: true }
}

/// One panel in its place in the grid.
struct View<'a> {
    panel: &'a Panel,
    row: usize,
    column: usize,
    title: String,
    sides: [Side; 2],
    bar: Option<Side>,
    missing: usize,
}

/// Room around the axes.
#[derive(Clone, Copy, Default)]
struct Margins {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl View<'_> {
    fn margins(&self, [w, _]: [f64; 2]) -> Margins {
        let [x, y] = &self.sides;
        let [before, after] = x.overhang(w);
        let legend = match self.panel {
            Panel::Lines(plot) if plot.legend == Legend::Outside => {
                plot.legend_size().map_or(0.0, |[w, _]| BAR_GAP + w)
            }
            _ => 0.0,
        };
        let bar = self.bar.as_ref().map_or(0.0, |bar| BAR_GAP + BAR_WIDTH + bar.bar_breadth());
        // Half a label of a vertical axis may stand above its end.
        let mut top = 0.5 * TICK_LINE + self.factor_line();
        if !self.title.is_empty() {
            top = top.max(self.title_rise(w) + LABEL_LINE);
        }
        Margins { left: y.breadth().max(before), right: bar.max(legend).max(after).max(0.5), top, bottom: x.depth() }
    }

    /// Whether the axis and the colour bar have a common factor above them.
    fn factors(&self) -> [bool; 2] {
        [Some(&self.sides[1]), self.bar.as_ref()].map(|s| s.is_some_and(|s| s.labelled && !s.ticks.factor.is_empty()))
    }

    /// Height of the line above the axes with the common factors of vertical axes.
    fn factor_line(&self) -> f64 {
        if self.factors().contains(&true) { TICK_LINE + PAD } else { 0.0 }
    }

    /// How far the baseline of the title is above axes of width `w`: over the factors it would run into.
    fn title_rise(&self, w: f64) -> f64 {
        let [axis, bar] = self.factors();
        let collides = axis || (bar && width(&self.title, LABEL_SIZE) > w);
        LABEL_PAD + if collides { self.factor_line() } else { 0.0 }
    }

    /// Height over width.
    fn aspect(&self, figure: &Figure) -> f64 {
        match self.panel {
            Panel::Heat(map) => map.aspect.unwrap_or(figure.aspect),
            _ => figure.aspect,
        }
    }
}

/// Lays the figure out and draws it.
pub(super) fn scene(figure: &Figure) -> Result<Scene<'_>> {
    let (rows, columns) = (figure.rows.len(), figure.rows.iter().map(Vec::len).max().unwrap_or(0));
    let page = 72.0 * figure.width;
    let shared = figure.share_bar.then(|| figure.rows.iter().flatten().find_map(heat)).flatten();
    // Ticks depend on the size of the panels, which depends on the room that the tick labels take.
    let mut w = 0.7 * page / columns as f64;
    let mut heights = vec![w * figure.aspect; rows];
    let mut shared_bar = None;
    let mut views = vec![];
    let mut grid = Grid::default();
    for _ in 0..4 {
        views = views_of(figure, w, &heights)?;
        grid = Grid::of(&views, rows, columns, w, &heights);
        let total_height: f64 = heights.iter().sum::<f64>() + grid.between_rows();
        shared_bar = shared.map(|map| bar_side(map, total_height));
        let bar = shared_bar.as_ref().map_or(0.0, |bar| BAR_GAP + BAR_WIDTH + bar.bar_breadth());
        let taken = 2.0 * PAGE_MARGIN + grid.left.iter().chain(&grid.right).sum::<f64>() + bar;
        w = (page - taken - PANEL_GAP * (columns - 1) as f64) / columns as f64;
        if w < 18.0 {
            return Err(Error::parameter("width", figure.width, "leaves no room for the panels beside their labels"));
        }
        for (row, height) in heights.iter_mut().enumerate() {
            // Panels with a fixed aspect decide; the others follow.
            let fixed = |v: &&View| matches!(v.panel, Panel::Heat(map) if map.aspect.is_some());
            let of_row = || views.iter().filter(|v| v.row == row);
            let decisive = of_row().filter(fixed).map(|v| v.aspect(figure)).reduce(f64::max);
            *height = w * decisive.unwrap_or(figure.aspect);
        }
    }

    let title = if figure.title.is_empty() { 0.0 } else { LABEL_LINE + LABEL_PAD + 1.0 };
    let mut scene = Scene { width: page, height: 0.0, marks: vec![] };
    let mut y = PAGE_MARGIN + title;
    let mut extent = [f64::INFINITY, 0.0];
    for (row, &height) in heights.iter().enumerate() {
        y += grid.top[row];
        let mut x = PAGE_MARGIN;
        for column in 0..columns {
            x += grid.left[column];
            if let Some(view) = views.iter().find(|v| v.row == row && v.column == column) {
                let h = match view.panel {
                    Panel::Heat(map) if map.aspect.is_some() => w * view.aspect(figure),
                    _ => height,
                };
                let rect = Rect { x, y: y + 0.5 * (height - h), w, h };
                extent = [extent[0].min(rect.y), extent[1].max(rect.bottom())];
                let cell = Rect { x: x - grid.left[column], y, w: w + grid.left[column] + grid.right[column], h };
                draw_panel(&mut scene, view, rect, cell, figure.letters);
            }
            x += w + grid.right[column] + PANEL_GAP;
        }
        y += height + grid.bottom[row] + PANEL_GAP;
    }
    scene.height = y - PANEL_GAP + PAGE_MARGIN;
    if let (Some(map), Some(bar)) = (shared, &shared_bar) {
        let x = page - PAGE_MARGIN - BAR_WIDTH - bar.bar_breadth();
        draw_bar(&mut scene, map, bar, Rect { x, y: extent[0], w: BAR_WIDTH, h: extent[1] - extent[0] });
    }
    if !figure.title.is_empty() {
        let size = fit(&figure.title, LABEL_SIZE + 0.6, page - 2.0 * PAGE_MARGIN);
        scene.text([0.5 * page, PAGE_MARGIN + LABEL_SIZE], figure.title.clone(), size, Align::Middle);
    }
    Ok(scene)
}

fn heat(panel: &Panel) -> Option<&HeatMap> {
    match panel {
        Panel::Heat(map) => Some(map),
        _ => None,
    }
}

fn views_of<'a>(figure: &'a Figure, w: f64, heights: &[f64]) -> Result<Vec<View<'a>>> {
    let mut views = vec![];
    for (row, panels) in figure.rows.iter().enumerate() {
        for (column, panel) in panels.iter().enumerate() {
            let (axes, limits, title, missing) = match panel {
                Panel::Heat(map) => {
                    map.check()?;
                    let limits = [&map.x, &map.y].map(|a| a.limits.expect("a checked map has limits"));
                    ([&map.x, &map.y], limits, &map.title, map.missing())
                }
                Panel::Lines(plot) => ([&plot.x, &plot.y], plot.limits()?, &plot.title, plot.missing()),
                Panel::Empty => continue,
            };
            let h = match panel {
                Panel::Heat(HeatMap { aspect: Some(a), .. }) => w * a,
                _ => heights[row],
            };
            // With shared axes only the outermost panels are labelled.
            let below =
                figure.rows[row + 1..].iter().any(|r| matches!(r.get(column), Some(p) if !matches!(p, Panel::Empty)));
            let beside = panels[..column].iter().any(|p| !matches!(p, Panel::Empty));
            let inner = [below, beside].map(|inner| inner && figure.share_axes);
            let sides = [0, 1].map(|j| {
                let (scale, limits) = (axes[j].scale, limits[j]);
                let ticks = if j == 0 { horizontal_ticks(scale, limits, w) } else { vertical_ticks(scale, limits, h) };
                Side { scale, limits, ticks, text: axes[j].text(), labelled: !inner[j] }
            });
            let bar = heat(panel).filter(|map| map.bar && !figure.share_bar).map(|map| bar_side(map, h));
            let letter = if figure.letters { format!("({}) ", letter(views.len())) } else { String::new() };
            let title = format!("{letter}{title}").trim_end().to_string();
            views.push(View { panel, row, column, title, sides, bar, missing });
        }
    }
    Ok(views)
}

/// a, b, ..., z, aa, ab, ...
fn letter(index: usize) -> String {
    let last = char::from(b'a' + (index % 26) as u8);
    if index < 26 { last.to_string() } else { format!("{}{last}", letter(index / 26 - 1)) }
}

/// Margins that the panels of a row or a column have in common.
#[derive(Default)]
struct Grid {
    left: Vec<f64>,
    right: Vec<f64>,
    top: Vec<f64>,
    bottom: Vec<f64>,
}

impl Grid {
    fn of(views: &[View], rows: usize, columns: usize, w: f64, heights: &[f64]) -> Self {
        let mut grid =
            Self { left: vec![0.0; columns], right: vec![0.0; columns], top: vec![0.0; rows], bottom: vec![0.0; rows] };
        for view in views {
            let m = view.margins([w, heights[view.row]]);
            let raise = |old: &mut f64, new: f64| *old = old.max(new);
            raise(&mut grid.left[view.column], m.left);
            // The label of a colour bar keeps its distance from the axis of the next panel.
            let apart = if view.bar.is_some() && view.column + 1 < columns { BAR_GAP } else { 0.0 };
            raise(&mut grid.right[view.column], m.right + apart);
            raise(&mut grid.top[view.row], m.top);
            raise(&mut grid.bottom[view.row], m.bottom);
        }
        grid
    }

    /// Everything between the first and the last row but the panels.
    fn between_rows(&self) -> f64 {
        (1..self.top.len()).map(|row| self.bottom[row - 1] + PANEL_GAP + self.top[row]).sum()
    }
}

/// The largest size up to `size` at which `text` fits into `room`.
fn fit(text: &str, size: f64, room: f64) -> f64 {
    (size * room / width(text, size)).min(size).max(1.0)
}

/// Size and centre of `text`: at `centre` if it fits between `from` and `to` there, otherwise moved and made smaller.
fn place_text(text: &str, size: f64, centre: f64, [from, to]: [f64; 2]) -> (f64, f64) {
    let size = fit(text, size, to - from);
    let half = 0.5 * width(text, size);
    (size, centre.min(to - half).max(from + half))
}

fn draw_panel<'a>(scene: &mut Scene<'a>, view: &View<'a>, rect: Rect, cell: Rect, letters: bool) {
    let [x, y] = &view.sides;
    match view.panel {
        Panel::Heat(map) => scene.marks.push(Mark::Image { rect, paint: Box::new(move |w, h| map.paint(w, h)) }),
        Panel::Lines(plot) => plot.draw(scene, rect, [x.limits, y.limits]),
        Panel::Empty => return,
    }
    let place = Place { rect, limits: [x.limits, y.limits], scales: [x.scale, y.scale] };
    let base = [x.limits[0], y.limits[0]];
    let at_x = |v: f64| place.point(v, base[1])[0];
    let at_y = |v: f64| place.point(base[0], v)[1];

    let bottom = rect.bottom();
    for (v, text) in &x.ticks.major {
        scene.line(vec![[at_x(*v), bottom], [at_x(*v), bottom + TICK]], INK, AXIS_WIDTH);
        if x.labelled {
            let baseline = bottom + TICK + PAD + TICK_LINE + 0.1 * TICK_SIZE;
            scene.text([at_x(*v), baseline], text.clone(), TICK_SIZE, Align::Middle);
        }
    }
    for &v in &x.ticks.minor {
        scene.line(vec![[at_x(v), bottom], [at_x(v), bottom + MINOR_TICK]], INK, 0.75 * AXIS_WIDTH);
    }
    draw_vertical_ticks(scene, y, rect.x, -1.0, at_y);
    scene.frame(rect, INK, AXIS_WIDTH);

    if x.labelled {
        let baseline = bottom + x.depth() - LABEL_SIZE * DESCENT;
        let mut end = cell.right();
        if !x.ticks.factor.is_empty() {
            scene.text([rect.right(), baseline], x.ticks.factor.clone(), TICK_SIZE, Align::End);
            end = rect.right() - width(&x.ticks.factor, TICK_SIZE) - LABEL_PAD;
        }
        let (size, centre) = place_text(&x.text, LABEL_SIZE, rect.x + 0.5 * rect.w, [cell.x, end]);
        scene.text([centre, baseline], x.text.clone(), size, Align::Middle);
    }
    if y.labelled {
        let baseline = cell.x + LABEL_SIZE * CAP;
        let size = fit(&y.text, LABEL_SIZE, rect.h + 10.0);
        scene.upward_text([baseline, rect.y + 0.5 * rect.h], y.text.clone(), size, Align::Middle);
        draw_factor(scene, y, rect.x, rect.y);
    }
    if !view.title.is_empty() {
        let baseline = rect.y - view.title_rise(rect.w);
        let half = 0.5 * width(&view.title, LABEL_SIZE);
        let centre = if letters { rect.x + half } else { rect.x + 0.5 * rect.w };
        let (size, centre) = place_text(&view.title, LABEL_SIZE, centre, [cell.x, cell.right()]);
        scene.text([centre, baseline], view.title.clone(), size, Align::Middle);
    }
    if view.missing > 0 {
        let plural = if view.missing == 1 { "" } else { "s" };
        draw_note(scene, rect, &format!("{} value{plural} missing", view.missing));
    }
    if let (Some(map), Some(bar)) = (heat(view.panel), &view.bar) {
        draw_bar(scene, map, bar, Rect { x: rect.right() + BAR_GAP, w: BAR_WIDTH, ..rect });
    }
}

/// Ticks and labels of a vertical axis at `x`, to the left (`side = -1`) or right (`1`) of it.
fn draw_vertical_ticks(scene: &mut Scene, side: &Side, x: f64, direction: f64, at: impl Fn(f64) -> f64) {
    let align = if direction < 0.0 { Align::End } else { Align::Start };
    for (v, text) in &side.ticks.major {
        scene.line(vec![[x, at(*v)], [x + direction * TICK, at(*v)]], INK, AXIS_WIDTH);
        if side.labelled {
            let to = [x + direction * (TICK + PAD), at(*v) + 0.5 * TICK_LINE];
            scene.text(to, text.clone(), TICK_SIZE, align);
        }
    }
    for &v in &side.ticks.minor {
        scene.line(vec![[x, at(v)], [x + direction * MINOR_TICK, at(v)]], INK, 0.75 * AXIS_WIDTH);
    }
}

/// The common factor of a vertical axis, above its end.
fn draw_factor(scene: &mut Scene, side: &Side, x: f64, top: f64) {
    if !side.ticks.factor.is_empty() {
        scene.text([x, top - PAD - 0.5], side.ticks.factor.clone(), TICK_SIZE, Align::Start);
    }
}

fn draw_bar(scene: &mut Scene, map: &HeatMap, bar: &Side, rect: Rect) {
    scene.marks.push(Mark::Gradient { rect, colours: map.colours });
    draw_vertical_ticks(scene, bar, rect.right(), 1.0, |v| rect.bottom() - rect.h * bar.share(v));
    scene.frame(rect, INK, AXIS_WIDTH);
    draw_factor(scene, bar, rect.x, rect.y);
    let baseline = rect.right() + bar.breadth() - LABEL_SIZE * DESCENT;
    let size = fit(&bar.text, LABEL_SIZE, rect.h + 10.0);
    scene.upward_text([baseline, rect.y + 0.5 * rect.h], bar.text.clone(), size, Align::Middle);
}

/// A remark in the lower left corner of the panel.
fn draw_note(scene: &mut Scene, rect: Rect, text: &str) {
    const WHITE: Rgb = [255; 3];
    let size = fit(text, TICK_SIZE, rect.w - 8.0);
    let background = Rect { x: rect.x + 2.0, y: rect.bottom() - size - 4.5, w: width(text, size) + 4.0, h: size + 2.5 };
    scene.fill(background, WHITE, 0.85);
    scene.text([rect.x + 4.0, rect.bottom() - 4.0], text, size, Align::Start);
    if let Some(Mark::Text(t)) = scene.marks.last_mut() {
        t.colour = GREY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Curve, LinePlot, Quantity};
    use ndarray::Array2;

    fn texts<'a>(scene: &'a Scene) -> Vec<(&'a str, Rect)> {
        let text = |m: &'a Mark| if let Mark::Text(t) = m { Some((t.text.as_str(), t.bounds())) } else { None };
        scene.marks.iter().filter_map(text).filter(|(s, _)| !s.is_empty()).collect()
    }

    fn map(scale: f64) -> HeatMap {
        let values = Array2::from_shape_fn((8, 8), |(i, j)| scale * (i as f64 - 0.9 * j as f64));
        HeatMap::field(values.view(), [1.0, 1.0], Quantity::Signed).label("vorticity (1/s)").title("t = 1.25")
    }

    fn figures() -> Vec<Figure> {
        let lines = |y: f64| {
            LinePlot::new(Axis::new("t").unit("s"), Axis::new("kinetic energy").unit("m²/s²"))
                .curve(Curve::new(&[0.0, 5e5], &[y, 1.001 * y], "a"))
                .title("a long title of this panel")
                .legend(Legend::Outside)
        };
        let log = LinePlot::new(Axis::new("k").log(), Axis::new("E").log()).curve(Curve::new(
            &[1.0, 3e4],
            &[1.0, 1e-16],
            "a",
        ));
        let triptych = Figure::triptych(map(1.0), map(1.03)).unwrap();
        let snapshots = Figure::snapshots(vec![map(1.0), map(2.0), map(3e-6), map(3.0), map(2.0)], 3).unwrap();
        vec![
            Figure::single_column().row([map(1e-7)]),
            Figure::single_column().row([lines(1e7), lines(1e-9)]).lettered(),
            Figure::double_column().row([Panel::from(map(3.0)), log.into(), lines(2.0).into()]).title("all"),
            triptych,
            snapshots,
        ]
    }

    #[test]
    fn text_is_never_cut_and_never_overlaps() {
        for (n, figure) in figures().iter().enumerate() {
            let scene = scene(figure).unwrap();
            let texts = texts(&scene);
            // Bounds include descenders and superscripts that most texts lack.
            let slack = 1.5;
            for (s, r) in &texts {
                let inside = r.x > -slack
                    && r.y > -slack
                    && r.right() < scene.width + slack
                    && r.bottom() < scene.height + slack;
                assert!(inside, "figure {n}: {s} {r:?} on {}x{}", scene.width, scene.height);
            }
            for (j, (s, a)) in texts.iter().enumerate() {
                for (t, b) in &texts[..j] {
                    let overlap = [a.right().min(b.right()) - a.x.max(b.x), a.bottom().min(b.bottom()) - a.y.max(b.y)];
                    assert!(overlap[0] < slack || overlap[1] < slack, "figure {n}: {s} over {t}, {overlap:?}");
                }
            }
        }
    }

    #[test]
    fn panels_of_a_row_have_equal_size_and_align() {
        for figure in figures() {
            let scene = scene(&figure).unwrap();
            let images: Vec<Rect> = scene
                .marks
                .iter()
                .filter_map(|m| if let Mark::Image { rect, .. } = m { Some(*rect) } else { None })
                .collect();
            for pair in images.windows(2) {
                assert!((pair[0].w - pair[1].w).abs() < 1e-9);
                assert!(pair[0].y == pair[1].y || pair[1].y > pair[0].bottom());
            }
        }
    }

    #[test]
    fn fields_keep_their_aspect() {
        let mut wide = map(1.0);
        wide.aspect = Some(0.25);
        let figure = Figure::single_column().row([wide]);
        let scene = scene(&figure).unwrap();
        let Some(Mark::Image { rect, .. }) = scene.marks.first() else { panic!() };
        assert!((rect.h / rect.w - 0.25).abs() < 1e-12);
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([letter(0), letter(25), letter(26), letter(27)], ["a", "z", "aa", "ab"]);
    }
}
