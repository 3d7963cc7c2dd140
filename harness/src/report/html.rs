//! One page with a picture of a run over time, what failed and what the cluster warned of.
//!
//! The page works without network and without script, and unfolds with `<details>`.

use std::fmt::Write as _;

use super::{EventLine, Timeline, picture};
use crate::scenario::{Run, Verdict};

const STYLE: &str = include_str!("page.css");
/// How many warnings stand in front.
const WARNINGS: usize = 8;

/// The runs as one page.
pub fn html(runs: &[(Run, Timeline)]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
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
        failure(why, page);
    }
    warnings(timeline, page);
    if let Some(reproduce) = &run.reproduce {
        let _ = writeln!(
            page,
            "<p>Run it again: <code>{}</code></p>",
            escape(reproduce)
        );
    }
    for left in &run.left_behind {
        let _ = writeln!(page, "<p>left behind: {}</p>", escape(left));
    }
    picture::draw(run, timeline, page);
    operations(run, page);
    events(timeline, page);
    requests(timeline, page);
    history(timeline, page);
    page.push_str("</section>\n");
}

/// The difference at once; the object that was last seen unfolds.
fn failure(why: &str, page: &mut String) {
    let (first, seen) = match why.split_once("\nlast seen: ") {
        Some((first, seen)) => (first, Some(seen)),
        None => (why, None),
    };
    let _ = writeln!(page, "<pre class=\"why\">{}</pre>", escape(first));
    if let Some((what, object)) = seen.and_then(|seen| seen.split_once('\n')) {
        let _ = writeln!(
            page,
            "<details><summary>last seen: {}</summary><pre class=\"why\">{}</pre></details>",
            escape(what.trim_end_matches(':')),
            escape(object)
        );
    }
}

/// What the cluster itself complained of: mostly the cause.
fn warnings(timeline: &Timeline, page: &mut String) {
    let warnings: Vec<&EventLine> = timeline
        .events
        .iter()
        .filter(|event| event.warning)
        .collect();
    if warnings.is_empty() {
        return;
    }
    page.push_str("<h3>What the cluster warned of</h3>\n<table class=\"warnings\">\n");
    // The last ones are of the failure; all are below, among the Events.
    for event in warnings
        .iter()
        .skip(warnings.len().saturating_sub(WARNINGS))
    {
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(&event.about),
            escape(&event.reason),
            escape(&event.message)
        );
    }
    page.push_str("</table>\n");
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
        let cells: Vec<String> = [&event.at, &event.about, &event.reason, &event.message]
            .into_iter()
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

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
