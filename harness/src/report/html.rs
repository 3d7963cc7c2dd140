//! One page with a picture of a run over time, what failed and what the cluster warned of.
//!
//! The page needs no network and unfolds with `<details>`, without script; the script in it only adds a search.

use std::fmt::Write as _;

use super::{EventLine, Timeline, picture};
use crate::scenario::{Run, Verdict};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// The script shows it.
const SEARCH: &str = "<p class=\"search\" hidden><input type=\"search\" \
    placeholder=\"search objects, events, requests\" aria-label=\"search\"> <output></output></p>\n";
/// How many warnings stand in front.
const WARNINGS: usize = 8;

/// An output of so many lines is not folded.
const SHORT: usize = 4;

/// The runs as one page.
pub fn html(runs: &[(Run, Timeline)]) -> String {
    let title = match runs {
        [(run, _)] => escape(&run.name),
        _ => "Scenarios".to_owned(),
    };
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    );
    // One run needs no table of runs, and its search stands where the first thing is that it searches.
    let search = if runs.len() == 1 {
        SEARCH
    } else {
        overview(runs, &mut page);
        ""
    };
    for (index, (run, timeline)) in runs.iter().enumerate() {
        section(index, run, timeline, search, &mut page);
    }
    let _ = writeln!(page, "<script>\n{SCRIPT}</script>\n</body>\n</html>");
    page
}

fn overview(runs: &[(Run, Timeline)], page: &mut String) {
    page.push_str(
        "<h1>Scenarios</h1>\n<table>\n\
         <tr><th>scenario</th><th>cluster</th><th>verdict</th><th>seconds</th></tr>\n",
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
    page.push_str(SEARCH);
}

fn verdict(verdict: &Verdict) -> (&'static str, &'static str) {
    match verdict {
        Verdict::Passed => ("passed", "passed"),
        Verdict::Failed(_) => ("failed", "FAILED"),
        Verdict::Skipped(_) => ("skipped", "skipped"),
        Verdict::Stopped(_) => ("skipped", "stopped"),
        Verdict::Interrupted => ("skipped", "interrupted"),
    }
}

fn section(index: usize, run: &Run, timeline: &Timeline, search: &str, page: &mut String) {
    let (class, word) = verdict(&run.verdict);
    let _ = writeln!(
        page,
        "<section id=\"run{index}\">\n<h2>{} <span class=\"{class}\">{word}</span> \
         <small>{} cluster, {:.2} s</small></h2>",
        escape(&run.name),
        run.cluster,
        run.took.as_secs_f64()
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
    page.push_str(search);
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
    let warnings = distinct(&timeline.events);
    if warnings.is_empty() {
        return;
    }
    page.push_str("<h3>What the cluster warned of</h3>\n<table class=\"warnings\">\n");
    // The last ones are of the failure; all are below, among the Events.
    for (event, others) in warnings
        .iter()
        .skip(warnings.len().saturating_sub(WARNINGS))
    {
        let others = match others {
            0 => String::new(),
            others => format!(" ({} times)", others + 1),
        };
        let _ = writeln!(
            page,
            "<tr><td>{}</td><td>{}{others}</td><td>{}</td></tr>",
            escape(&event.about),
            escape(&event.reason),
            escape(&event.message)
        );
    }
    page.push_str("</table>\n");
}

/// The last warning of each kind and reason that says the same but for names, and how many there were beside it:
/// a hundred pods with one trouble are one trouble.
fn distinct(events: &[EventLine]) -> Vec<(&EventLine, usize)> {
    let mut found: Vec<(&EventLine, usize)> = Vec::new();
    let trouble = |event: &EventLine| {
        let (kind, name) = event.about.split_once(' ').unwrap_or((&event.about, ""));
        // What follows the name is the place of it and its UID.
        let said = match name {
            "" => Some(&*event.message),
            name => event.message.split(name).next(),
        };
        let said = said.unwrap_or_default().to_owned();
        (kind.to_owned(), event.reason.clone(), said)
    };
    for event in events.iter().filter(|event| event.warning) {
        let same = found
            .iter()
            .position(|(seen, _)| trouble(seen) == trouble(event));
        // The newest stands last, as it would without the others.
        let before = same.map_or(0, |place| found.remove(place).1 + 1);
        found.push((event, before));
    }
    found
}

fn operations(run: &Run, page: &mut String) {
    page.push_str("<details open><summary>operations</summary>\n<table class=\"operations\">\n");
    for step in &run.steps {
        // A step is named once.
        let mut name = step.name.as_str();
        for operation in &step.operations {
            let class = if operation.failure.is_some() {
                "failed"
            } else {
                "passed"
            };
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td class=\"{class}\">{} {}</td><td>{:.2} s</td><td>{}</td></tr>",
                escape(std::mem::take(&mut name)),
                operation.action,
                escape(&operation.subject),
                operation.took.as_secs_f64(),
                said(operation.failure.as_deref(), operation.output.as_deref())
            );
        }
    }
    page.push_str("</table></details>\n");
}

/// Why an operation failed; what one that did not has printed unfolds where it is long.
fn said(failure: Option<&str>, output: Option<&str>) -> String {
    if let Some(failure) = failure {
        // What was last seen stands above.
        let first = failure.split("\nlast seen: ").next().unwrap_or(failure);
        return format!("<pre>{}</pre>", escape(first));
    }
    let output = output.unwrap_or_default().trim_end();
    let text = format!("<pre>{}</pre>", escape(output));
    match output.lines().count() {
        0 => String::new(),
        lines if lines <= SHORT => text,
        lines => format!("<details><summary>{lines} lines</summary>{text}</details>"),
    }
}

fn events(timeline: &Timeline, page: &mut String) {
    page.push_str("<details><summary>Events</summary>\n<table class=\"events\">\n");
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
    entries("requests of the operator", &timeline.requests, page);
}

fn history(timeline: &Timeline, page: &mut String) {
    entries("versions of objects", &timeline.versions, page);
}

/// Each a text of its own, so that the search can hide the others.
fn entries<T: std::fmt::Display>(what: &str, all: &[T], page: &mut String) {
    let _ = writeln!(
        page,
        "<details><summary>{} {what}</summary>\n<div class=\"entries\">",
        all.len()
    );
    for one in all {
        let _ = writeln!(page, "<pre>{}</pre>", escape(&one.to_string()));
    }
    page.push_str("</div></details>\n");
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_pods_with_one_trouble_are_one_warning_and_do_not_hide_another() {
        let warning = |name: &str, reason: &str, message: String| EventLine {
            about: format!("Pod {name}"),
            warning: true,
            reason: reason.to_owned(),
            message,
            ..EventLine::default()
        };
        let mut events = vec![
            warning("bad", "Failed", "Failed to pull image".to_owned()),
            warning("bad", "Failed", "Error: ErrImagePull".to_owned()),
        ];
        events.extend((0..100).map(|number| {
            let name = format!("good-{number}x");
            let message = format!("Back-off restarting failed container c in pod {name}_default");
            warning(&name, "BackOff", message)
        }));
        let found = distinct(&events);
        let told: Vec<_> = found
            .iter()
            .map(|(event, others)| (&*event.about, &*event.reason, *others))
            .collect();
        assert_eq!(
            told,
            [
                ("Pod bad", "Failed", 0),
                ("Pod bad", "Failed", 0),
                ("Pod good-99x", "BackOff", 99)
            ]
        );
    }
}
