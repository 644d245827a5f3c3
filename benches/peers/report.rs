//! The tables as text, and the JSON of everything measured.

use serde::Serialize;

use crate::accuracy::{Level, METHODS};
use crate::cases::Case;
use crate::measure::{Measured, Precision, Side, median};

/// One line of the table.
#[derive(Serialize)]
pub struct Row {
    pub case: String,
    pub size: String,
    pub batch: usize,
    pub precision: Precision,
    pub threads: usize,
    pub dt: f64,
    pub steps: usize,
    /// Instruction set of ours.
    pub isa: String,
    pub ours: Side,
    pub exponax: Option<Side>,
    pub jax_cfd: Option<Side>,
}

const COLUMNS: [&str; 15] = [
    "case",
    "n",
    "batch",
    "prec",
    "thr",
    "isa",
    "ours wall / cpu",
    "exponax wall / cpu",
    "ratio (min..max)",
    "cpu ratio",
    "jax-cfd wall / cpu",
    "ratio (min..max)",
    "cpu ratio",
    "MiB ours / exponax / jax-cfd",
    "distance exponax / jax-cfd",
];

impl Row {
    pub fn new(case: &Case, precision: Precision, threads: usize, measured: Measured) -> Self {
        let mut rivals = measured.rivals.into_iter();
        Self {
            case: case.name(),
            size: case.size(),
            batch: case.batch,
            precision,
            threads,
            dt: case.dt,
            steps: case.steps,
            isa: measured.isa,
            ours: measured.ours,
            exponax: rivals.next().flatten(),
            jax_cfd: rivals.next().flatten(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let time = |side: &Side| {
            format!("{} / {}", digits(median(&side.wall_us_per_step)), digits(median(&side.cpu_us_per_step)))
        };
        let number = |x: f64| digits(x);
        let error = |x: f64| format!("{x:.1e}");
        let of = |side: &Option<Side>, text: &dyn Fn(&Side) -> String| side.as_ref().map_or("".into(), text);
        let ratio = |side: &Side| {
            let pairs = side.wall_us_per_step.iter().zip(&self.ours.wall_us_per_step).map(|(a, b)| a / b);
            let (least, most) = pairs.fold((f64::INFINITY, 0.0f64), |(lo, hi), r| (lo.min(r), hi.max(r)));
            let of_medians = median(&side.wall_us_per_step) / median(&self.ours.wall_us_per_step);
            format!("{} ({}..{})", digits(of_medians), digits(least), digits(most))
        };
        let cpu_ratio = |side: &Side| digits(median(&side.cpu_us_per_step) / median(&self.ours.cpu_us_per_step));
        let triple = |ours: Option<f64>, pick: &dyn Fn(&Side) -> f64, text: &dyn Fn(f64) -> String| {
            let theirs = [&self.exponax, &self.jax_cfd].into_iter().flatten().map(pick);
            ours.into_iter().chain(theirs).map(text).collect::<Vec<_>>().join(" / ")
        };
        vec![
            self.case.clone(),
            self.size.clone(),
            self.batch.to_string(),
            self.precision.into(),
            self.threads.to_string(),
            self.isa.clone(),
            time(&self.ours),
            of(&self.exponax, &time),
            of(&self.exponax, &ratio),
            of(&self.exponax, &cpu_ratio),
            of(&self.jax_cfd, &time),
            of(&self.jax_cfd, &ratio),
            of(&self.jax_cfd, &cpu_ratio),
            triple(Some(self.ours.mib), &|side| side.mib, &number),
            triple(None, &|side| side.distance, &error),
        ]
    }
}

/// The table of the cases.
pub fn cases(rows: &[Row], markdown: bool) -> String {
    let header = COLUMNS.iter().map(|c| c.to_string()).collect();
    table(header, rows.iter().map(Row::cells).collect(), markdown)
}

/// The table of accuracy per cost.
pub fn accuracy(levels: &[Level], markdown: bool) -> String {
    let mut header = vec!["equation".to_string(), "dt".into()];
    for method in METHODS {
        header.extend([format!("{method}: error"), "order".into(), "wall / cpu ms".into()]);
    }
    let rows = levels.iter().map(|level| {
        let mut cells = vec![level.equation.to_string(), format!("{}", level.dt)];
        for point in &level.points {
            cells.extend(match point {
                None => [const { String::new() }; 3],
                Some(p) => [
                    format!("{:.1e}", p.error),
                    p.order.map_or("".into(), |order| format!("{order:.2}")),
                    format!("{} / {}", digits(p.wall_ms), digits(p.cpu_ms)),
                ],
            });
        }
        cells
    });
    table(header, rows.collect(), markdown)
}

/// Three significant digits, without an exponent.
fn digits(x: f64) -> String {
    let decimals = if x > 0.0 { (2 - x.log10().floor() as i32).clamp(0, 6) } else { 0 };
    format!("{x:.*}", decimals as usize)
}

/// Columns of equal width, with the bars of Markdown or without.
fn table(header: Vec<String>, rows: Vec<Vec<String>>, markdown: bool) -> String {
    let widths: Vec<usize> = (0..header.len())
        .map(|c| rows.iter().chain([&header]).map(|cells| cells[c].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect::<Vec<_>>();
        let text = if markdown { format!("| {} |", padded.join(" | ")) } else { padded.join("  ") };
        text.trim_end().to_string() + "\n"
    };
    let rule = widths.iter().map(|&width| "-".repeat(width)).collect::<Vec<_>>();
    line(&header) + &line(&rule) + &rows.iter().map(|cells| line(cells)).collect::<String>()
}
