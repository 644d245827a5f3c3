//! Metrics of a run as curves over its steps.

use super::metrics::Record;
use crate::plot::{Axis, Curve, Figure, LinePlot};

/// Pieces of a long curve; of each the smallest and the largest value are drawn, so that no spike is lost.
const PIECES: usize = 400;

/// A panel for each split with a curve for each metric, two panels a row; `None` if there are no records.
///
/// The axis of a panel is logarithmic if all of its finite values are positive.
pub fn figure(records: &[Record]) -> Option<Figure> {
    let panels: Vec<LinePlot> = in_order(records.iter().map(|r| &*r.split)).iter().map(|s| panel(records, s)).collect();
    let figure = match panels.len() {
        0 => return None,
        1 => Figure { aspect: 0.45, ..Figure::new(6.0) },
        _ => Figure::double_column(),
    };
    Some(panels.chunks(2).fold(figure, |figure, row| figure.row(row.iter().cloned())))
}

fn panel(records: &[Record], split: &str) -> LinePlot {
    let of_split: Vec<&Record> = records.iter().filter(|r| r.split == split).collect();
    let mut finite = of_split.iter().map(|r| r.value).filter(|v| v.is_finite()).peekable();
    let is_log = finite.peek().is_some() && finite.all(|v| v > 0.0);
    let names = in_order(of_split.iter().map(|r| &*r.name));
    let label = if names.len() == 1 { names[0] } else { "" };
    let axis = if is_log { Axis::new(label).log() } else { Axis::new(label) };
    names.iter().fold(LinePlot::new(Axis::new("step"), axis).title(split), |plot, name| {
        let curve: Vec<[f64; 2]> =
            of_split.iter().filter(|r| r.name == *name).map(|r| [r.step as f64, r.value]).collect();
        let thin = thinned(&curve);
        let [x, y] = [0, 1].map(|j| thin.iter().map(|point| point[j]).collect::<Vec<f64>>());
        plot.curve(Curve::new(&x, &y, if names.len() == 1 { "" } else { name }))
    })
}

/// Different words in order of first appearance.
fn in_order<'a>(words: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    words.fold(Vec::new(), |mut seen, word| {
        if !seen.contains(&word) {
            seen.push(word);
        }
        seen
    })
}

/// A curve of at most `2 PIECES` points with the same outline.
fn thinned(curve: &[[f64; 2]]) -> Vec<[f64; 2]> {
    if curve.len() <= 2 * PIECES {
        return curve.to_vec();
    }
    let mut out = Vec::with_capacity(2 * PIECES);
    for piece in curve.chunks(curve.len().div_ceil(PIECES)) {
        let by_value = |i: &usize, j: &usize| piece[*i][1].total_cmp(&piece[*j][1]);
        let extremes = [(0..piece.len()).min_by(by_value), (0..piece.len()).max_by(by_value)];
        let [a, b] = extremes.map(|index| index.expect("no piece is empty"));
        out.push(piece[a.min(b)]);
        out.push(piece[a.max(b)]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Panel, Scale};

    #[test]
    fn splits_become_panels_and_metrics_curves() {
        assert!(figure(&[]).is_none());
        let mut records = Vec::new();
        for step in 1..=20 {
            records.push(Record::new(step, 0.0, "train", "loss", 1.0 / step as f64));
            records.push(Record::new(step, 0.0, "train", "penalty", 2.0));
            records.push(Record::new(step, 0.0, "valid", "bias", -1.0));
        }
        records.push(Record::new(21, 0.0, "train", "loss", f64::NAN));
        let figure = figure(&records).unwrap();
        let [Panel::Lines(train), Panel::Lines(valid)] = &figure.rows[0][..] else { panic!() };
        assert_eq!((train.curves.len(), valid.curves.len()), (2, 1));
        assert_eq!((train.y.scale, valid.y.scale), (Scale::Log, Scale::Linear));
        assert_eq!(train.curves[0].y[..2], [1.0, 0.5]);
        assert!(figure.svg().unwrap().contains("penalty"));
    }

    #[test]
    fn thinning_keeps_every_spike() {
        let mut curve: Vec<[f64; 2]> = (0..100_000).map(|i| [i as f64, (i as f64 / 9e3).sin()]).collect();
        curve[54_321][1] = 1e9;
        curve[12_345][1] = -1e9;
        let thin = thinned(&curve);
        assert!(thin.len() <= 2 * PIECES);
        assert!(thin.contains(&[54_321.0, 1e9]) && thin.contains(&[12_345.0, -1e9]));
        assert!(thin.windows(2).all(|pair| pair[0][0] <= pair[1][0]));
        assert_eq!(thinned(&curve[..10]), curve[..10]);
    }
}
