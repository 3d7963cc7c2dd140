//! Rows as HTML, each with a strip of SVG, so that a script can hide some and a reader can fold many.
//!
//! It decides nothing: what has a row is said by its caller.

use std::fmt::Write as _;

use super::{Group, Row, scale::Scale};
use crate::report::html::escape;

/// An object that was deleted before the end.
pub(super) const GONE: &str = "gone";

/// What the colours mean.
pub(super) const MEANINGS: [(&str, &str); 13] = [
    ("act", "does"),
    ("wait", "waits"),
    ("sql", "SQL"),
    ("fault", "fault"),
    ("failure", "failed"),
    ("pending", "pending"),
    ("terminating", "being deleted"),
    ("running", "running, ready"),
    ("succeeded", "succeeded"),
    ("object", "there"),
    (GONE, "gone"),
    ("write", "write"),
    ("read", "read"),
];

/// Letters of a name that fit left of the bars.
const NAME: usize = 36;
/// The width of a dot, in percent.
const DOT: f64 = 0.35;

/// A picture that is being drawn.
pub(super) struct Picture<'a>(&'a mut String);

impl<'a> Picture<'a> {
    /// The legend, and the times on top.
    pub(super) fn begin(scale: &Scale, page: &'a mut String) -> Self {
        page.push_str("<p class=\"legend\">");
        for (class, meaning) in MEANINGS.iter().filter(|(class, _)| *class != GONE) {
            let _ = write!(page, "<span><i class=\"{class}\"></i>{meaning}</span> ");
        }
        let _ = writeln!(
            page,
            "</p>\n<div class=\"picture\" style=\"--step:{:.3}%\">",
            scale.x(scale.step())
        );
        page.push_str("<div class=\"row axis\"><span class=\"name\"></span><div>");
        for (x, text) in scale.marks() {
            let _ = write!(page, "<span style=\"left:{x:.2}%\">{text}</span>");
        }
        page.push_str("</div></div>\n");
        Self(page)
    }

    pub(super) fn rows(&mut self, rows: &[Row]) {
        for row in rows {
            self.row(row);
        }
    }

    pub(super) fn groups(&mut self, groups: &[Group]) {
        for group in groups {
            let title = escape(&group.title);
            let _ = writeln!(self.0, "<details><summary>{title}</summary>");
            self.rows(&group.rows);
            self.0.push_str("</details>\n");
        }
    }

    fn row(&mut self, row: &Row) {
        let _ = write!(
            self.0,
            "<div class=\"row\"><span class=\"name\" title=\"{}\">{}</span><svg role=\"img\">",
            escape(&row.name),
            escape(&cut(&row.name, NAME))
        );
        for (from, to, class, title) in &row.bars {
            let width = (to - from).max(DOT);
            // A dot at the very end is still to be seen.
            let from = from.min(100.0 - DOT);
            let _ = write!(
                self.0,
                "<rect class=\"{class}\" x=\"{from:.2}%\" y=\"2\" width=\"{width:.2}%\" height=\"13\">\
                 <title>{}</title></rect>",
                escape(title)
            );
        }
        self.0.push_str("</svg></div>\n");
    }

    pub(super) fn end(self) {
        self.0.push_str("</div>\n");
    }
}

/// Short enough for its place; the beginning and the end say most.
fn cut(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let end = most / 3;
    let start: String = letters[..most - end - 1].iter().collect();
    let rest: String = letters[letters.len() - end..].iter().collect();
    format!("{start}…{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_beginning_and_its_end() {
        let name = cut("PersistentVolumeClaim data-of-a-very-long-name-0", 20);
        assert_eq!(name.chars().count(), 20);
        assert!(
            name.starts_with("Persis") && name.ends_with("name-0"),
            "{name}"
        );
    }
}
