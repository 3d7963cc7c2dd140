//! One page with a picture of a run over time: operations, objects' lives with pods' phases, requests, Events.
//!
//! The picture is SVG made here; the page works without network and without script, and unfolds with
//! `<details>`. Times of objects are the API's, which are whole seconds.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;

use super::Timeline;
use crate::scenario::{Run, Verdict};

const STYLE: &str = include_str!("page.css");
/// Width of the picture, in its own units.
const WIDTH: f64 = 1000.0;
/// Where time begins, right of the names.
const LEFT: f64 = 260.0;
const ROW: f64 = 18.0;

/// The runs as one page.
pub fn html(runs: &[(Run, Timeline)]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>Scenarios</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Scenarios</h1>\n"
    );
    let _ = writeln!(
        page,
        "<table>\n<tr><th>scenario</th><th>cluster</th><th>verdict</th><th>seconds</th></tr>"
    );
    for (index, (run, _)) in runs.iter().enumerate() {
        let (class, verdict) = verdict(&run.verdict);
        let _ = writeln!(
            page,
            "<tr><td><a href=\"#run{index}\">{}</a></td><td>{}</td><td class=\"{class}\">{verdict}</td>\
             <td>{:.2}</td></tr>",
            escape(&run.name),
            run.cluster,
            run.took.as_secs_f64()
        );
    }
    page.push_str("</table>\n");
    for (index, (run, timeline)) in runs.iter().enumerate() {
        section(index, run, timeline, &mut page);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn verdict(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Passed => ("passed", "passed"),
        Verdict::Failed(_) => ("failed", "FAILED"),
        Verdict::Skipped(_) => ("skipped", "skipped"),
        Verdict::Stopped(_) => ("skipped", "stopped"),
    }
}

fn section(index: usize, run: &Run, timeline: &Timeline, page: &mut String) {
    let (class, word) = verdict(&run.verdict);
    let _ = writeln!(
        page,
        "<section id=\"run{index}\">\n<h2>{} <span class=\"{class}\">{word}</span></h2>",
        escape(&run.name)
    );
    if let Verdict::Failed(why) | Verdict::Skipped(why) = &run.verdict {
        let _ = writeln!(page, "<pre class=\"why\">{}</pre>", escape(why));
    }
    for left in &run.left_behind {
        let _ = writeln!(page, "<p>left behind: {}</p>", escape(left));
    }
    picture(run, timeline, page);
    operations(run, page);
    events(timeline, page);
    requests(timeline, page);
    history(timeline, page);
    page.push_str("</section>\n");
}

/// Time as a place in the picture.
struct Scale {
    start: Timestamp,
    seconds: f64,
}

impl Scale {
    fn of(run: &Run) -> Self {
        Self {
            start: run.started,
            seconds: run.took.as_secs_f64().max(0.1),
        }
    }

    fn x(&self, seconds: f64) -> f64 {
        let part = (seconds / self.seconds).clamp(0.0, 1.0);
        LEFT + part * (WIDTH - LEFT - 10.0)
    }

    fn at(&self, time: &str) -> Option<f64> {
        let time: Timestamp = time.parse().ok()?;
        Some(self.x((time - self.start).total(jiff::Unit::Second).ok()?))
    }
}

/// Bars and dots of one row.
struct Row {
    name: String,
    /// From, to, class, what it says when pointed at.
    bars: Vec<(f64, f64, &'static str, String)>,
}

fn picture(run: &Run, timeline: &Timeline, page: &mut String) {
    let scale = Scale::of(run);
    let mut rows = operation_rows(run, &scale);
    rows.extend(object_rows(timeline, &scale));
    rows.extend(dot_rows(timeline, &scale));
    #[expect(clippy::cast_precision_loss, reason = "a picture has few rows")]
    let height = (rows.len() as f64 + 2.0) * ROW;
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"the run over time\">"
    );
    for tick in 0..=10 {
        let seconds = scale.seconds * f64::from(tick) / 10.0;
        let x = scale.x(seconds);
        let _ = writeln!(
            page,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{ROW}\" y2=\"{height}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"12\">{seconds:.1} s</text>"
        );
    }
    let mut y = ROW * 1.5;
    for row in rows {
        let _ = writeln!(
            page,
            "<text x=\"0\" y=\"{:.1}\">{}</text>",
            y + 11.0,
            escape(&cut(&row.name, 42))
        );
        for (from, to, class, title) in row.bars {
            let width = (to - from).max(2.5);
            let _ = writeln!(
                page,
                "<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"13\">\
                 <title>{}</title></rect>",
                escape(&title)
            );
        }
        y += ROW;
    }
    page.push_str("</svg>\n");
}

fn operation_rows(run: &Run, scale: &Scale) -> Vec<Row> {
    run.steps
        .iter()
        .map(|step| Row {
            name: format!("step {}", step.name),
            bars: step
                .operations
                .iter()
                .map(|operation| {
                    let began = operation.began.as_secs_f64();
                    let took = operation.took.as_secs_f64();
                    let class = match (operation.action, &operation.failure) {
                        (_, Some(_)) => "failure",
                        ("fault", _) => "fault",
                        ("sql", _) => "sql",
                        ("assert" | "error" | "wait" | "hold", _) => "wait",
                        _ => "act",
                    };
                    let title = format!(
                        "{} {} ({took:.2} s)\n{}",
                        operation.action,
                        operation.subject,
                        operation.failure.as_deref().unwrap_or_default()
                    );
                    (scale.x(began), scale.x(began + took), class, title)
                })
                .collect(),
        })
        .collect()
}

/// A life from the first version to the deletion; a new bar for each phase.
fn object_rows(timeline: &Timeline, scale: &Scale) -> Vec<Row> {
    let mut lives: BTreeMap<(String, String), Vec<&crate::history::Version>> = BTreeMap::new();
    for version in &timeline.versions {
        lives
            .entry((version.kind.clone(), version.name.clone()))
            .or_default()
            .push(version);
    }
    let mut rows = Vec::new();
    for ((kind, name), versions) in lives {
        let mut row = Row {
            name: format!("{kind} {name}"),
            bars: Vec::new(),
        };
        for (index, version) in versions.iter().enumerate() {
            if version.change == "DELETED" {
                continue;
            }
            let Some(from) = version.at.as_deref().and_then(|at| scale.at(at)) else {
                continue;
            };
            let to = versions
                .get(index + 1)
                .and_then(|next| scale.at(next.at.as_deref()?))
                .unwrap_or(WIDTH - 10.0);
            let phase = version.object["status"]["phase"]
                .as_str()
                .unwrap_or_default();
            let class = match phase {
                _ if version.object["metadata"]["deletionTimestamp"].is_string() => "terminating",
                "Pending" | "Initializing" => "pending",
                "Running" | "Bound" | "Active" | "Ready" | "Available" => "running",
                "Succeeded" => "succeeded",
                "Failed" => "failure",
                _ => "object",
            };
            let title = format!(
                "{kind} {name} {phase}\nrevision {} by {}\n{}",
                version.revision,
                version.by,
                version.changes.join("\n")
            );
            row.bars.push((from, to.max(from), class, title));
        }
        // What was there before the run and did not change is no news.
        if versions.len() > 1 || row.bars.iter().any(|bar| bar.0 > LEFT + 1.0) {
            rows.push(row);
        }
    }
    rows
}

fn dot_rows(timeline: &Timeline, scale: &Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    let dots = timeline
        .events
        .iter()
        .filter_map(|[time, about, reason, message]| {
            let x = scale.at(time)?;
            Some((x, x, "event", format!("{about} {reason}: {message}")))
        });
    rows.push(Row {
        name: "Events".to_owned(),
        bars: dots.collect(),
    });
    let mut clients: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for request in &timeline.requests {
        let class = match request.status {
            Some(status) if status < 400 && request.is_write() => "write",
            Some(status) if status < 400 => "read",
            _ => "refused",
        };
        if let Some(x) = scale.at(&request.at.to_string()) {
            let bar = (x, x, class, request.to_string());
            clients.entry(&request.who).or_default().push(bar);
        }
    }
    rows.extend(clients.into_iter().map(|(who, bars)| Row {
        name: format!("requests by {who}"),
        bars,
    }));
    rows
}

fn operations(run: &Run, page: &mut String) {
    page.push_str("<details open><summary>operations</summary>\n<table>\n");
    for step in &run.steps {
        for operation in &step.operations {
            let class = if operation.failure.is_some() {
                "failed"
            } else {
                "passed"
            };
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td class=\"{class}\">{} {}</td><td>{:.2} s</td><td><pre>{}</pre></td></tr>",
                escape(&step.name),
                operation.action,
                escape(&operation.subject),
                operation.took.as_secs_f64(),
                escape(
                    operation
                        .failure
                        .as_ref()
                        .or(operation.output.as_ref())
                        .map_or("", String::as_str)
                )
            );
        }
    }
    page.push_str("</table></details>\n");
}

fn events(timeline: &Timeline, page: &mut String) {
    page.push_str("<details><summary>Events</summary>\n<table>\n");
    for event in &timeline.events {
        let cells: Vec<String> = event
            .iter()
            .map(|cell| format!("<td>{}</td>", escape(cell)))
            .collect();
        let _ = writeln!(page, "<tr>{}</tr>", cells.concat());
    }
    page.push_str("</table></details>\n");
}

fn requests(timeline: &Timeline, page: &mut String) {
    let lines: Vec<String> = timeline.requests.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        page,
        "<details><summary>{} requests of the operator</summary>\n<pre>{}</pre></details>",
        lines.len(),
        escape(&lines.join("\n"))
    );
}

fn history(timeline: &Timeline, page: &mut String) {
    let lines: Vec<String> = timeline.versions.iter().map(ToString::to_string).collect();
    let _ = writeln!(
        page,
        "<details><summary>{} versions of objects</summary>\n<pre>{}</pre></details>",
        lines.len(),
        escape(&lines.join("\n"))
    );
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most - 1).collect();
    format!("{kept}…")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
