//! The picture of a run over time, as SVG: operations, lives of objects with their phases, Events, requests.
//!
//! Times of objects and Events are the API's, which are whole seconds; those of operations and requests are
//! exact. It decides what is worth a row at once and what unfolds; it judges nothing.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;

use super::{Timeline, html::escape};
use crate::{history::Version, scenario::Run};

/// Width of the picture, in its own units.
const WIDTH: f64 = 1000.0;
/// Where time begins, right of the names.
const LEFT: f64 = 260.0;
const RIGHT: f64 = WIDTH - 20.0;
const ROW: f64 = 18.0;
/// Letters of a name that fit left of the bars.
const NAME: usize = 38;
/// Kinds whose lives are looked at first, beside custom resources.
const FIRST: [&str; 8] = [
    "Pod",
    "Job",
    "CronJob",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "PersistentVolumeClaim",
    "PersistentVolume",
];
/// What the colours mean.
const LEGEND: [(&str, &str); 12] = [
    ("act", "does"),
    ("wait", "waits"),
    ("sql", "SQL"),
    ("fault", "fault"),
    ("failure", "failed"),
    ("pending", "pending"),
    ("running", "running, ready"),
    ("succeeded", "succeeded"),
    ("terminating", "being deleted"),
    ("object", "is there"),
    ("write", "write"),
    ("read", "read"),
];

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
        LEFT + part * (RIGHT - LEFT)
    }

    fn at(&self, time: &str) -> Option<f64> {
        let time: Timestamp = time.parse().ok()?;
        Some(self.x((time - self.start).total(jiff::Unit::Second).ok()?))
    }

    /// Times for the marks on top: round ones, ten at the most.
    fn ticks(&self) -> Vec<f64> {
        let mut step = 0.01;
        'found: for power in 0..8 {
            for factor in [1.0, 2.0, 5.0] {
                step = 0.01 * 10_f64.powi(power) * factor;
                if self.seconds / step <= 10.0 {
                    break 'found;
                }
            }
        }
        let mut ticks = vec![0.0];
        while ticks.len() < 12 {
            let next = ticks.last().unwrap_or(&0.0) + step;
            if next > self.seconds {
                break;
            }
            ticks.push(next);
        }
        ticks
    }
}

/// Bars and dots of one row.
struct Row {
    name: String,
    /// From, to, class, what it says when pointed at.
    bars: Vec<(f64, f64, &'static str, String)>,
}

/// Draws a run.
pub(super) fn draw(run: &Run, timeline: &Timeline, page: &mut String) {
    let scale = Scale::of(run);
    let (first, rest) = object_rows(timeline, &scale);
    let mut rows = operation_rows(run, &scale);
    rows.extend(first);
    rows.extend(dot_rows(timeline, &scale));
    page.push_str("<p class=\"legend\">");
    for (class, meaning) in LEGEND {
        let _ = write!(page, "<span><i class=\"{class}\"></i>{meaning}</span> ");
    }
    page.push_str("</p>\n");
    svg(&scale, rows, "the run over time", page);
    if !rest.is_empty() {
        let _ = writeln!(
            page,
            "<details><summary>{} more objects</summary>",
            rest.len()
        );
        svg(&scale, rest, "other objects over time", page);
        page.push_str("</details>\n");
    }
}

fn svg(scale: &Scale, rows: Vec<Row>, label: &str, page: &mut String) {
    #[expect(clippy::cast_precision_loss, reason = "a picture has few rows")]
    let height = (rows.len() as f64 + 2.0) * ROW;
    let _ = writeln!(
        page,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">"
    );
    for seconds in scale.ticks() {
        let x = scale.x(seconds);
        let text = if scale.seconds < 2.0 {
            format!("{seconds:.2} s")
        } else {
            format!("{seconds:.0} s")
        };
        let _ = writeln!(
            page,
            "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{ROW}\" y2=\"{height}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"12\">{text}</text>"
        );
    }
    let mut y = ROW * 1.5;
    for row in rows {
        let _ = writeln!(
            page,
            "<text x=\"0\" y=\"{:.1}\"><title>{}</title>{}</text>",
            y + 11.0,
            escape(&row.name),
            escape(&cut(&row.name, NAME))
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

/// A life from the first version to the deletion, a new bar for each phase: those that are looked at first,
/// and the others.
fn object_rows(timeline: &Timeline, scale: &Scale) -> (Vec<Row>, Vec<Row>) {
    let mut lives: BTreeMap<(usize, String, String), Vec<&Version>> = BTreeMap::new();
    for version in &timeline.versions {
        let key = (rank(version), version.kind.clone(), version.name.clone());
        lives.entry(key).or_default().push(version);
    }
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for ((rank, kind, name), versions) in lives {
        let row = life(&format!("{kind} {name}"), &versions, scale);
        // What was there before the run and did not change is no news.
        if versions.len() > 1 || row.bars.iter().any(|bar| bar.0 > LEFT + 1.0) {
            let rows = if rank <= FIRST.len() {
                &mut first
            } else {
                &mut rest
            };
            rows.push(row);
        }
    }
    (first, rest)
}

/// Custom resources before all, then the kinds of [`FIRST`].
fn rank(version: &Version) -> usize {
    let group = version.object["apiVersion"]
        .as_str()
        .and_then(|text| text.split_once('/'))
        .map_or("", |(group, _)| group);
    if group.contains('.') && !group.ends_with(".k8s.io") {
        return 0;
    }
    let place = FIRST.iter().position(|kind| *kind == version.kind);
    place.unwrap_or(FIRST.len()) + 1
}

fn life(name: &str, versions: &[&Version], scale: &Scale) -> Row {
    let mut bars: Vec<(f64, f64, &'static str, String)> = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        if version.change == "DELETED" {
            continue;
        }
        let Some(from) = version.at.as_deref().and_then(|at| scale.at(at)) else {
            continue;
        };
        // Whole seconds: a version that was followed within one is as long as nothing.
        let to = versions
            .get(index + 1)
            .map_or(Some(RIGHT), |next| scale.at(next.at.as_deref()?))
            .unwrap_or(RIGHT);
        let phase = version.object["status"]["phase"]
            .as_str()
            .unwrap_or_default();
        let class = match phase {
            _ if version.object["metadata"]["deletionTimestamp"].is_string() => "terminating",
            "Pending" | "Initializing" | "Starting" => "pending",
            "Running" | "Bound" | "Active" | "Ready" | "Available" => "running",
            "Succeeded" => "succeeded",
            "Failed" => "failure",
            _ => "object",
        };
        let title = format!(
            "{name} {phase}\nrevision {} by {}\n{}",
            version.revision,
            version.by,
            version.changes.join("\n")
        );
        bars.push((from, to.max(from), class, title));
    }
    Row {
        name: name.to_owned(),
        bars,
    }
}

fn dot_rows(timeline: &Timeline, scale: &Scale) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, warning) in [("Events", false), ("Events: warnings", true)] {
        let of_type = timeline
            .events
            .iter()
            .filter(|event| event.warning == warning);
        let bars: Vec<_> = of_type
            .filter_map(|event| {
                let x = scale.at(&event.at)?;
                let class = if warning { "refused" } else { "event" };
                let text = format!("{} {}: {}", event.about, event.reason, event.message);
                Some((x, x, class, text))
            })
            .collect();
        if !bars.is_empty() {
            rows.push(Row {
                name: name.to_owned(),
                bars,
            });
        }
    }
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
    rows.extend(clients.into_iter().map(|(who, mut bars)| {
        // What matters most is drawn last, over the others.
        bars.sort_by_key(|bar| match bar.2 {
            "read" => 0,
            "write" => 1,
            _ => 2,
        });
        Row {
            name: format!("requests by {who}"),
            bars,
        }
    }));
    rows
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
    fn marks_are_round_and_few_however_long_a_run_is() {
        for seconds in [0.1, 0.9, 7.3, 23.5, 61.0, 3600.0, 90_000.0] {
            let scale = Scale {
                start: Timestamp::UNIX_EPOCH,
                seconds,
            };
            let ticks = scale.ticks();
            assert!((4..=12).contains(&ticks.len()), "{seconds}: {ticks:?}");
        }
    }

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
