//! Tables of results: one structure as text, Markdown, JSON and HTML.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::plot::escape;

/// Content of a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number, shown with three significant digits.
    Number(f64),
    /// Mean and standard deviation over several runs.
    Spread {
        /// Mean.
        mean: f64,
        /// Standard deviation of a single run.
        deviation: f64,
    },
    /// Nothing was measured.
    Empty,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<f64> for Cell {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl Cell {
    fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.replace('\n', " "),
            Self::Number(value) => significant(*value, 3),
            Self::Spread { mean, deviation } => format!("{} ± {}", significant(*mean, 3), significant(*deviation, 2)),
            Self::Empty => "-".to_owned(),
        }
    }

    fn html(&self) -> String {
        match self {
            Self::Text(text) => escape(text),
            Self::Empty => "–".to_owned(),
            number => number.plain().split(' ').map(typeset).collect::<Vec<_>>().join(" "),
        }
    }

    pub(super) fn json(&self) -> Value {
        // JSON has no NaN.
        let number = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
        match self {
            Self::Text(text) => json!(text),
            Self::Number(value) => number(*value),
            Self::Spread { mean, deviation } => json!({ "mean": number(*mean), "deviation": number(*deviation) }),
            Self::Empty => Value::Null,
        }
    }
}

/// A table of results.
///
/// ```
/// use parseval::run::table::{Cell, Table};
///
/// let mut table = Table::new("Burgers, t = 1", &["method", "error", "solve [s]"]);
/// table.row([Cell::from("FNO"), Cell::Spread { mean: 3.12e-3, deviation: 2.1e-4 }, 0.04.into()])?;
/// table.row([Cell::from("ETDRK4"), 1.5e-9.into(), 1.25.into()])?;
/// assert_eq!(table.text(), "\
/// Burgers, t = 1
/// method             error  solve [s]
/// ------  ----------------  ---------
/// FNO     3.12e-3 ± 2.1e-4     0.0400
/// ETDRK4           1.50e-9       1.25
/// ");
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows; units stand in the names of the columns, `"solve [s]"`.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self { title: title.into(), columns: columns.iter().map(|&c| c.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if it has more or fewer cells than there are columns.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> Result<()> {
        let cells: Vec<Cell> = cells.into_iter().collect();
        if cells.len() != self.columns.len() {
            return Err(Error::shape(
                format!("row of table \"{}\"", self.title),
                &[self.columns.len()],
                &[cells.len()],
            ));
        }
        self.rows.push(cells);
        Ok(())
    }

    /// Title.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Whether column `j` holds numbers and is aligned at its right.
    fn is_numeric(&self, j: usize) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| !matches!(row[j], Cell::Text(_)))
    }

    /// Names and cells as they are printed.
    fn lines(&self) -> Vec<Vec<String>> {
        let rows = self.rows.iter().map(|row| row.iter().map(Cell::plain).collect());
        std::iter::once(self.columns.clone()).chain(rows).collect()
    }

    /// Aligned columns for a terminal.
    pub fn text(&self) -> String {
        let lines = self.lines();
        let length = |text: &String| text.chars().count();
        let widths: Vec<usize> =
            (0..self.columns.len()).map(|j| lines.iter().map(|line| length(&line[j])).max().unwrap_or(0)).collect();
        let align = |line: &Vec<String>| -> String {
            let fields = line.iter().zip(&widths).enumerate().map(|(j, (text, &width))| match self.is_numeric(j) {
                true => format!("{text:>width$}"),
                false => format!("{text:<width$}"),
            });
            fields.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let mut out = if self.title.is_empty() { String::new() } else { format!("{}\n", self.title) };
        out += &align(&lines[0]);
        out += &align(&widths.iter().map(|&width| "-".repeat(width)).collect());
        lines[1..].iter().for_each(|line| out += &align(line));
        out
    }

    /// A table of GitHub's Markdown.
    pub fn markdown(&self) -> String {
        let row = |cells: &Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let lines = self.lines();
        let rule = (0..self.columns.len()).map(|j| if self.is_numeric(j) { "--:" } else { "---" }.to_owned()).collect();
        let mut out = if self.title.is_empty() { String::new() } else { format!("**{}**\n\n", self.title) };
        out += &row(&lines[0]);
        out += &row(&rule);
        lines[1..].iter().for_each(|line| out += &row(line));
        out
    }

    /// `{"title": .., "rows": [{COLUMN: .., ..}, ..]}` with all digits; means with spread are objects.
    pub fn json(&self) -> Value {
        let row = |cells: &Vec<Cell>| -> Map<String, Value> {
            self.columns.iter().cloned().zip(cells.iter().map(Cell::json)).collect()
        };
        json!({ "title": self.title, "rows": self.rows.iter().map(row).collect::<Vec<_>>() })
    }

    /// A `<table>` with a caption.
    pub fn html(&self) -> String {
        let class = |j: usize| if self.is_numeric(j) { " class=\"number\"" } else { "" };
        let row = |tag: &str, cells: Vec<String>| {
            let cells = cells.iter().enumerate().map(|(j, cell)| format!("<{tag}{}>{cell}</{tag}>", class(j)));
            format!("<tr>{}</tr>\n", cells.collect::<String>())
        };
        let mut out = String::from("<table>\n");
        if !self.title.is_empty() {
            out += &format!("<caption>{}</caption>\n", escape(&self.title));
        }
        out += &format!("<thead>{}</thead>\n<tbody>\n", row("th", self.columns.iter().map(|c| escape(c)).collect()));
        self.rows.iter().for_each(|cells| out += &row("td", cells.iter().map(Cell::html).collect()));
        out + "</tbody>\n</table>\n"
    }
}

/// `digits` significant digits, plain between 0.01 and 10⁴, otherwise `1.23e-5`; whole numbers below 10⁶ as they are.
pub(super) fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() || (value == value.round() && value.abs() < 1e6) {
        return value.to_string();
    }
    // Rounded first: 9.999 is 10.0, not 10.00.
    let rounded = format!("{value:.*e}", digits - 1);
    let exponent: i32 = rounded.split_once('e').map_or(0, |(_, e)| e.parse().unwrap_or(0));
    match exponent {
        -2..4 => format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize),
        _ => rounded,
    }
}

/// A number in print: `1.2e-5` becomes `1.2×10⁻⁵`.
fn typeset(number: &str) -> String {
    let number = number.replace('-', "−");
    match number.split_once('e') {
        Some((mantissa, exponent)) => format!("{mantissa}×10<sup>{exponent}</sup>"),
        None => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Table {
        let mut table = Table::new("a < b", &["method", "error", "solve [s]"]);
        table.row([Cell::from("x|y <z>"), Cell::Spread { mean: -1.2345e-5, deviation: 2.26e-6 }, 12.0.into()]).unwrap();
        table.row([Cell::from("é"), Cell::Number(f64::NAN), Cell::Empty]).unwrap();
        table
    }

    #[test]
    fn numbers_keep_their_significant_digits() {
        for (value, text) in [
            (0.0, "0"),
            (12.0, "12"),
            (-3.14659, "-3.15"),
            (9.999, "10.0"),
            (0.0099999, "0.0100"),
            (0.00999, "9.99e-3"),
            (0.000999, "9.99e-4"),
            (1234.56, "1235"),
            (9999.96, "1.00e4"),
            (1e7, "1.00e7"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(significant(value, 3), text);
        }
    }

    #[test]
    fn text_aligns_numbers_at_the_right() {
        let expected = "a < b\n\
                        method                 error  solve [s]\n\
                        -------  -------------------  ---------\n\
                        x|y <z>  -1.23e-5 ± 2.3e-6         12\n\
                        é                        NaN          -\n";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('-', "");
        assert_eq!(squeeze(&example().text()), squeeze(expected));
        let widths: Vec<usize> = example().text().lines().skip(1).map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&w| w == widths[0]), "{widths:?}");
    }

    #[test]
    fn markdown_and_html_escape_their_marks() {
        let markdown = example().markdown();
        assert!(markdown.contains("| --- | --: | --: |") && markdown.contains("x\\|y <z>"), "{markdown}");
        let html = example().html();
        assert!(html.contains("<caption>a &lt; b</caption>") && html.contains("<td>x|y &lt;z&gt;</td>"), "{html}");
        assert!(html.contains("−1.23×10<sup>−5</sup> ± 2.3×10<sup>−6</sup>"), "{html}");
    }

    #[test]
    fn json_keeps_all_digits() {
        let json = example().json();
        assert_eq!(json["rows"][0]["error"], json!({ "mean": -1.2345e-5, "deviation": 2.26e-6 }));
        assert_eq!(json["rows"][1], json!({ "method": "é", "error": "NaN", "solve [s]": null }));
    }

    #[test]
    fn rows_must_fit() {
        let message = example().row([Cell::Empty]).unwrap_err().to_string();
        assert_eq!(message, "row of table \"a < b\": expected shape [3], got [1]");
    }
}
