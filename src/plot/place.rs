//! Data coordinates on the page, and what lies inside the axes.

use super::axis::Scale;
use super::scene::{Point, Rect};

/// Length of the part of a polyline inside a rectangle, to 2 points.
pub(super) fn length_inside(line: &[Point], rect: Rect) -> f64 {
    line.windows(2)
        .map(|s| {
            let length = (s[1][0] - s[0][0]).hypot(s[1][1] - s[0][1]);
            let pieces = (length / 2.0).ceil().max(1.0);
            let inside = (0..pieces as usize).filter(|&j| {
                let t = (j as f64 + 0.5) / pieces;
                rect.contains([s[0][0] + t * (s[1][0] - s[0][0]), s[0][1] + t * (s[1][1] - s[0][1])])
            });
            inside.count() as f64 * length / pieces
        })
        .sum()
}

/// Data coordinates on the page.
pub(super) struct Place {
    pub rect: Rect,
    pub limits: [[f64; 2]; 2],
    pub scales: [Scale; 2],
}

impl Place {
    /// Whether `(x, y)` has a place.
    pub fn holds(&self, x: f64, y: f64) -> bool {
        self.scales[0].holds(x) && self.scales[1].holds(y)
    }

    /// Where `(x, y)` is drawn.
    pub fn point(&self, x: f64, y: f64) -> Point {
        let share = |axis: usize, v: f64| {
            let scale = self.scales[axis];
            let [lo, hi] = self.limits[axis].map(|v| scale.coordinate(v));
            (scale.coordinate(v) - lo) / (hi - lo)
        };
        [self.rect.x + self.rect.w * share(0, x), self.rect.bottom() - self.rect.h * share(1, y)]
    }

    /// The parts of a curve inside the axes.
    pub fn polylines(&self, x: &[f64], y: &[f64]) -> Vec<Vec<Point>> {
        let mut parts: Vec<Vec<Point>> = vec![];
        for (a, b) in x.iter().zip(y).zip(x.iter().zip(y).skip(1)) {
            if !self.holds(*a.0, *a.1) || !self.holds(*b.0, *b.1) {
                continue;
            }
            let Some([p, q]) = clip(self.rect, self.point(*a.0, *a.1), self.point(*b.0, *b.1)) else { continue };
            match parts.last_mut() {
                Some(part) if part.last() == Some(&p) => part.push(q),
                _ => parts.push(vec![p, q]),
            }
        }
        parts
    }

    /// The band between `low` and `high` inside the axes, cut where an edge has no place. On a logarithmic axis a lower
    /// edge that is not positive lies at the bottom.
    pub fn bands(&self, x: &[f64], low: &[f64], high: &[f64]) -> Vec<Vec<Point>> {
        let floor = |v: f64| if self.scales[1] == Scale::Log && v <= 0.0 { self.limits[1][0] } else { v };
        let edges: Vec<Option<[Point; 2]>> = (0..x.len())
            .map(|j| {
                let low = floor(low[j]);
                let ok = self.holds(x[j], low) && self.holds(x[j], high[j]);
                ok.then(|| [self.point(x[j], low), self.point(x[j], high[j])])
            })
            .collect();
        let runs = edges.split(Option::is_none).filter(|run| run.len() > 1);
        runs.map(|run| {
            let lower = run.iter().flatten().map(|e| e[0]);
            let upper = run.iter().flatten().rev().map(|e| e[1]);
            clip_polygon(self.rect, lower.chain(upper).collect())
        })
        .filter(|polygon| polygon.len() > 2)
        .collect()
    }
}

/// The part of a segment inside a rectangle (Liang & Barsky, *ACM Trans. Graph.* 3 (1984)).
fn clip(rect: Rect, p: Point, q: Point) -> Option<[Point; 2]> {
    let d = [q[0] - p[0], q[1] - p[1]];
    let (mut enter, mut leave) = (0f64, 1f64);
    let edges =
        [(-d[0], p[0] - rect.x), (d[0], rect.right() - p[0]), (-d[1], p[1] - rect.y), (d[1], rect.bottom() - p[1])];
    for (rate, distance) in edges {
        if rate == 0.0 {
            // Ends on the frame count as inside in spite of rounding.
            if distance < -1e-9 {
                return None;
            }
        } else if rate < 0.0 {
            enter = enter.max(distance / rate);
        } else {
            leave = leave.min(distance / rate);
        }
    }
    let at = |t: f64| if t == 1.0 { q } else { [p[0] + t * d[0], p[1] + t * d[1]] };
    (enter <= leave).then(|| [at(enter), at(leave)])
}

/// The part of a polygon inside a rectangle (Sutherland & Hodgman, *Commun. ACM* 17 (1974)).
fn clip_polygon(rect: Rect, polygon: Vec<Point>) -> Vec<Point> {
    let sides = [(0, -1.0, -rect.x), (0, 1.0, rect.right()), (1, -1.0, -rect.y), (1, 1.0, rect.bottom())];
    sides.iter().fold(polygon, |points, &(axis, sign, bound)| {
        let mut kept = Vec::with_capacity(points.len() + 4);
        for (j, &q) in points.iter().enumerate() {
            let p = points[(j + points.len() - 1) % points.len()];
            let [dp, dq] = [p, q].map(|v| bound - sign * v[axis]);
            if (dp >= 0.0) != (dq >= 0.0) {
                let t = dp / (dp - dq);
                kept.push([p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])]);
            }
            if dq >= 0.0 {
                kept.push(q);
            }
        }
        kept
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: Rect = Rect { x: 0.0, y: 0.0, w: 1.0, h: 1.0 };

    #[test]
    fn segments_are_cut_at_the_frame() {
        assert_eq!(clip(UNIT, [-1.0, 0.5], [2.0, 0.5]), Some([[0.0, 0.5], [1.0, 0.5]]));
        assert_eq!(clip(UNIT, [-1.0, 0.0], [0.5, 1.8]), None);
        assert_eq!(clip(UNIT, [0.2, 0.2], [0.7, 0.4]), Some([[0.2, 0.2], [0.7, 0.4]]));
    }

    #[test]
    fn polygons_are_cut_at_the_frame() {
        let cut = clip_polygon(UNIT, vec![[-1.0, -1.0], [0.5, -1.0], [0.5, 0.5], [-1.0, 0.5]]);
        let area = |p: &[Point]| {
            let n = p.len();
            0.5 * (0..n).map(|j| p[j][0] * p[(j + 1) % n][1] - p[(j + 1) % n][0] * p[j][1]).sum::<f64>()
        };
        assert_eq!(area(&cut), 0.25);
    }

    #[test]
    fn curves_are_interrupted_where_they_have_no_place() {
        let place = Place { rect: UNIT, limits: [[0.0, 4.0], [0.1, 10.0]], scales: [Scale::Linear, Scale::Log] };
        let parts = place.polylines(&[0.0, 1.0, 2.0, 3.0, 4.0], &[1.0, 1.0, -1.0, 1.0, 1.0]);
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0], [[0.0, 0.5], [0.25, 0.5]]);
    }
}
