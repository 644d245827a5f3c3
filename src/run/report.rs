//! `report.html`: what a run found, in one file that can be mailed.
//!
//! Curves and fields are inline SVG and PNG, the style sheet is inside, there are no scripts, and nothing is loaded from
//! anywhere. The page follows the reader's choice of light or dark.

use std::path::Path;
use std::time::SystemTime;

use super::curves;
use super::directory::RunDirectory;
use super::environment::utc;
use super::files;
use super::metrics::Record;
use super::table::Table;
use crate::error::{Error, Result};
use crate::plot::{Figure, base64, escape};

const STYLE: &str = include_str!("report.css");

/// A report, written from top to bottom.
///
/// ```
/// use parseval::run::report::Report;
/// use parseval::run::table::Table;
///
/// let mut table = Table::new("Error at t = 1", &["method", "relative L²"]);
/// table.row(["FNO".into(), 3.1e-3.into()])?;
/// let mut report = Report::new("FNO on Burgers' equation");
/// report.text("Trained on 1000 samples.");
/// report.heading("Result");
/// report.table(&table);
/// let dir = tempfile::tempdir().expect("there is room for a file");
/// report.save(&dir.path().join("report.html"))?;
/// # Ok::<(), parseval::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    body: String,
    figures: usize,
}

impl Report {
    /// An empty report.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), body: String::new(), figures: 0 }
    }

    /// A heading.
    pub fn heading(&mut self, text: &str) {
        self.body += &format!("<h2>{}</h2>\n", escape(text));
    }

    /// Paragraphs, parted by blank lines.
    pub fn text(&mut self, text: &str) {
        for paragraph in text.split("\n\n").map(str::trim).filter(|p| !p.is_empty()) {
            self.body += &format!("<p>{}</p>\n", escape(paragraph));
        }
    }

    /// A table of results.
    pub fn table(&mut self, table: &Table) {
        self.body += &format!("<div class=\"scroll\">{}</div>\n", table.html());
    }

    /// A figure: vectors, its fields as images inside.
    ///
    /// # Errors
    ///
    /// As [`Figure::svg`].
    pub fn figure(&mut self, figure: &Figure, caption: &str) -> Result<()> {
        let svg = inline(&figure.svg()?, self.figures + 1);
        self.add_figure(&svg, caption);
        Ok(())
    }

    /// An image or animation, the content of a PNG or GIF file.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] for other content.
    pub fn image(&mut self, bytes: &[u8], caption: &str) -> Result<()> {
        let kind = match bytes {
            [0x89, b'P', b'N', b'G', ..] => "png",
            [b'G', b'I', b'F', ..] => "gif",
            _ => return Err(Error::parameter("image", caption, "must be a PNG or GIF file")),
        };
        self.add_figure(&format!("<img alt=\"\" src=\"data:image/{kind};base64,{}\">\n", base64(bytes)), caption);
        Ok(())
    }

    fn add_figure(&mut self, content: &str, caption: &str) {
        self.figures += 1;
        let number = self.figures;
        let caption = escape(caption);
        self.body +=
            &format!("<figure>\n{content}<figcaption><b>Figure {number}.</b> {caption}</figcaption>\n</figure>\n");
    }

    /// Losses and validation errors over the steps, a panel for each split; nothing if there are no records.
    ///
    /// # Errors
    ///
    /// As [`Figure::svg`].
    pub fn curves(&mut self, records: &[Record]) -> Result<()> {
        match curves::figure(records) {
            Some(figure) => self.figure(&figure, "Losses and errors during the training."),
            None => Ok(()),
        }
    }

    /// Names and values.
    pub fn facts<N: AsRef<str>, V: AsRef<str>>(&mut self, facts: impl IntoIterator<Item = (N, V)>) {
        self.body += "<div class=\"scroll\"><table class=\"facts\">\n<tbody>\n";
        for (name, value) in facts {
            let (name, value) = (escape(name.as_ref()), escape(value.as_ref()));
            self.body += &format!("<tr><th>{name}</th><td>{value}</td></tr>\n");
        }
        self.body += "</tbody>\n</table></div>\n";
    }

    /// A text as it is, such as a configuration, folded until it is asked for.
    pub fn listing(&mut self, title: &str, text: &str) {
        let (title, text) = (escape(title), escape(text.trim_end()));
        self.body += &format!("<details><summary>{title}</summary>\n<pre>{text}</pre>\n</details>\n");
    }

    /// How to repeat the run: program and machine of its first session, and the configuration.
    ///
    /// # Errors
    ///
    /// As [`RunDirectory::sessions`].
    pub fn provenance(&mut self, run: &RunDirectory) -> Result<()> {
        self.heading("Provenance");
        let sessions = run.sessions()?;
        let fact = |name: &str| {
            let value = sessions.first().map(|session| &session[name]);
            value.map_or_else(String::new, |value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let dirty = if fact("git_dirty") == "true" { " with changes" } else { "" };
        let commit = format!("{}{dirty}", fact("git_commit"));
        let all = [
            ("Program", fact("generator")),
            ("Commit", commit),
            ("Compiler", fact("rustc")),
            ("Processor", format!("{}, {} cores, {}", fact("cpu"), fact("cores"), fact("os"))),
            ("Command", fact("command_line")),
            ("Started", fact("started_utc")),
            ("Sessions", sessions.len().to_string()),
            ("Configuration", format!("SHA-256 {}", run.config_sha256())),
        ];
        self.facts(all.into_iter().filter(|(_, value)| !value.is_empty()));
        self.listing("config.toml", run.config());
        Ok(())
    }

    /// The page.
    pub fn html(&self) -> String {
        let (title, body) = (escape(&self.title), &self.body);
        let program = concat!("parseval ", env!("CARGO_PKG_VERSION"));
        let now = utc(SystemTime::now());
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <header>\n<h1>{title}</h1>\n</header>\n<main>\n{body}</main>\n\
             <footer>\n<p>Written by {program}, {now}</p>\n</footer>\n</body>\n</html>\n"
        )
    }

    /// Writes the page; the file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        files::replace(path, self.html().as_bytes())
    }
}

/// An SVG document as part of a page: without the name space, which HTML knows, and with names of its own, since those of
/// all figures of a page are one set.
fn inline(svg: &str, number: usize) -> String {
    let mut out = String::with_capacity(svg.len());
    for piece in svg.split_inclusive('>') {
        // Only tags are changed, not the texts before them.
        let (text, tag) = piece.split_at(piece.find('<').unwrap_or(piece.len()));
        out += text;
        if tag.contains("xmlns=") || tag.contains("id=\"g") || tag.contains("url(#g") {
            let tag = tag.replace(" xmlns=\"http://www.w3.org/2000/svg\"", "");
            out += &tag.replace(" id=\"g", &format!(" id=\"f{number}g")).replace("url(#g", &format!("url(#f{number}g"));
        } else {
            out += tag;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{HeatMap, Quantity};
    use ndarray::Array2;

    fn field() -> Figure {
        let values = Array2::from_shape_fn((16, 16), |(i, j)| (i as f64 * 0.4).sin() + 0.1 * j as f64);
        Figure::single_column()
            .row([HeatMap::field(values.view(), [1.0, 1.0], Quantity::Signed).label("ω <1> id=\"g0")])
    }

    fn records() -> Vec<Record> {
        (1..50).map(|step| Record::new(step, step as f64, "train", "loss <a>", 1.0 / step as f64)).collect()
    }

    fn example() -> Report {
        let mut table = Table::new("Errors & costs", &["method", "error"]);
        table.row(["<FNO>".into(), 1.25e-7.into()]).unwrap();
        let mut report = Report::new("A < B");
        report.text("One & one.\n\nTwo.");
        report.heading("Result <x>");
        report.table(&table);
        report.curves(&records()).unwrap();
        report.figure(&field(), "Field <1>").unwrap();
        report.figure(&field(), "Field 2").unwrap();
        report.image(&[0x89, b'P', b'N', b'G', 1, 2, 3], "Image").unwrap();
        report
    }

    #[test]
    fn nothing_is_loaded_from_elsewhere() {
        let html = example().html();
        // Base64 has neither colons nor quotes, so it cannot hold these by chance.
        for foreign in ["http:", "https:", "<script", "<link", "@import", "url(//", "src=\"/", "file:"] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        let sources = html.matches(" src=\"").count() + html.matches(" href=\"").count();
        assert_eq!(sources, html.matches("=\"data:image/").count());
        assert_eq!(sources, 3);
    }

    #[test]
    fn everything_given_is_there_and_escaped() {
        let html = example().html();
        for part in [
            "<title>A &lt; B</title>",
            "<h1>A &lt; B</h1>",
            "<p>One &amp; one.</p>\n<p>Two.</p>",
            "<h2>Result &lt;x&gt;</h2>",
            "<td>&lt;FNO&gt;</td>",
            "1.25×10<sup>−7</sup>",
            "loss &lt;a&gt;",
            "<b>Figure 2.</b> Field &lt;1&gt;",
            "<b>Figure 4.</b> Image",
            "data:image/png;base64,iVBORwECAw==",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("<FNO>") && !html.contains("<a>"));
    }

    #[test]
    fn figures_of_a_page_do_not_share_names() {
        let html = example().html();
        let mut names: Vec<&str> =
            html.split("<linearGradient id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(names.len(), 2);
        assert!(names.iter().all(|name| html.contains(&format!("url(#{name})"))), "{names:?}");
        names.dedup();
        assert_eq!(names.len(), 2);
        // The label that looks like a name is left as it was given.
        assert!(html.contains("ω &lt;1&gt; id=\"g0"));
    }

    #[test]
    fn provenance_names_program_and_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&dir.path().join("run"), "name = \"a<b\"\n", &[]).unwrap();
        let mut report = example();
        report.provenance(&run).unwrap();
        report.save(&run.report()).unwrap();
        let html = std::fs::read_to_string(run.report()).unwrap();
        for part in ["<pre>name = \"a&lt;b\"</pre>", "<th>Compiler</th><td>rustc", run.config_sha256()] {
            assert!(html.contains(part), "{part}");
        }
    }

    #[test]
    fn other_images_are_refused() {
        let message = example().image(b"JFIF", "photo").unwrap_err().to_string();
        assert_eq!(message, "image = photo is not allowed: must be a PNG or GIF file");
    }
}
