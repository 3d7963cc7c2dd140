//! The picture of a run over time: operations, lives of objects with their phases, Events, requests.
//!
//! Times of objects and Events are the API's, which are whole seconds; those of operations and requests are
//! exact. It decides what is worth a row at once and what unfolds, so that a run with hundreds of objects can
//! still be read; it judges nothing. `draw` makes HTML and SVG of it, `scale` places of times.

mod draw;
mod scale;

use std::collections::BTreeMap;

use serde_json::Value;

use self::scale::{END, Scale};
use super::Timeline;
use crate::{history::Version, scenario::Run};

/// So many objects of a kind have a row each at once; more are folded together.
const FEW: usize = 12;
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

/// Bars and dots of one row.
struct Row {
    name: String,
    /// From, to, class, what it says when pointed at.
    bars: Vec<(f64, f64, &'static str, String)>,
    /// How it stood at the end of the run: the class of its last bar, or that it is gone.
    stands: &'static str,
}

/// Rows that stand together; folded unless somebody wants to see them.
struct Group {
    title: String,
    rows: Vec<Row>,
}

/// Draws a run.
pub(super) fn draw(run: &Run, timeline: &Timeline, page: &mut String) {
    let scale = Scale::of(run);
    let mut picture = draw::Picture::begin(&scale, page);
    picture.rows(&operation_rows(run, &scale));
    let (first, rest) = objects(timeline, &scale);
    for (kind, rows) in first {
        let (rows, folded) = worth_a_row(&kind, rows);
        picture.rows(&rows);
        picture.groups(folded.as_slice());
    }
    picture.rows(&dot_rows(timeline, &scale));
    picture.groups(&others(rest));
    picture.end();
}

/// Of few objects all; of many those that ended badly or not at all, and the others folded.
fn worth_a_row(kind: &str, rows: Vec<Row>) -> (Vec<Row>, Option<Group>) {
    if rows.len() <= FEW {
        return (rows, None);
    }
    let all = rows.len();
    let (mut rows, mut rest): (Vec<Row>, Vec<Row>) = rows
        .into_iter()
        .partition(|row| matches!(row.stands, "failure" | "pending" | "terminating"));
    // When nearly all are in trouble, those that failed are worth most.
    rows.sort_by_key(|row| row.stands != "failure");
    rest.splice(0..0, rows.split_off(rows.len().min(FEW)));
    let title = format!("{} more of {all} {kind}: {}", rest.len(), counted(&rest));
    let group = (!rest.is_empty()).then_some(Group { title, rows: rest });
    (rows, group)
}

/// Objects of kinds that are seldom looked at: one fold, or one a kind if they are many.
fn others(kinds: Vec<(String, Vec<Row>)>) -> Vec<Group> {
    let all: usize = kinds.iter().map(|(_, rows)| rows.len()).sum();
    if all <= FEW {
        let rows: Vec<Row> = kinds.into_iter().flat_map(|(_, rows)| rows).collect();
        let title = format!("{all} more objects");
        return if all == 0 {
            Vec::new()
        } else {
            vec![Group { title, rows }]
        };
    }
    kinds
        .into_iter()
        .map(|(kind, rows)| Group {
            title: format!("{} {kind}: {}", rows.len(), counted(&rows)),
            rows,
        })
        .collect()
}

/// How they stood at the end: `3 failed, 117 running`.
fn counted(rows: &[Row]) -> String {
    let counts = draw::MEANINGS.iter().filter_map(|(class, meaning)| {
        let count = rows.iter().filter(|row| row.stands == *class).count();
        (count > 0).then(|| format!("{count} {meaning}"))
    });
    counts.collect::<Vec<_>>().join(", ")
}

fn operation_rows(run: &Run, scale: &Scale) -> Vec<Row> {
    run.steps
        .iter()
        .map(|step| Row {
            name: format!("step {}", step.name),
            stands: "",
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

/// A life from the first version to the deletion, a new bar for each phase, by kind: those kinds that are looked
/// at first, and the others.
#[expect(
    clippy::type_complexity,
    reason = "two lists of kinds with their rows; names for them would say no more"
)]
fn objects(
    timeline: &Timeline,
    scale: &Scale,
) -> (Vec<(String, Vec<Row>)>, Vec<(String, Vec<Row>)>) {
    let mut lives: BTreeMap<(usize, &str, &str, &str), Vec<&Version>> = BTreeMap::new();
    for version in &timeline.versions {
        let namespace = version.object["metadata"]["namespace"].as_str();
        let key = (
            rank(version),
            &*version.kind,
            namespace.unwrap_or_default(),
            &*version.name,
        );
        lives.entry(key).or_default().push(version);
    }
    let mut kinds: BTreeMap<(usize, &str), Vec<Row>> = BTreeMap::new();
    for ((rank, kind, _, name), versions) in lives {
        let row = life(&format!("{kind} {name}"), &versions, scale);
        // What was there before the run and did not change is no news.
        if versions.len() > 1 || row.bars.iter().any(|bar| bar.0 > 0.1) {
            kinds.entry((rank, kind)).or_default().push(row);
        }
    }
    let (first, rest): (Vec<_>, Vec<_>) = kinds
        .into_iter()
        .partition(|((rank, _), _)| *rank <= FIRST.len());
    let named = |kinds: Vec<((usize, &str), Vec<Row>)>| {
        let kinds = kinds.into_iter();
        kinds
            .map(|((_, kind), rows)| (kind.to_owned(), rows))
            .collect()
    };
    (named(first), named(rest))
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
            .map_or(Some(END), |next| scale.at(next.at.as_deref()?))
            .unwrap_or(END);
        let phase = version.object["status"]["phase"]
            .as_str()
            .unwrap_or_default();
        let class = class_of(&version.object, phase);
        let title = format!(
            "{name} {phase}\nrevision {} by {}\n{}",
            version.revision,
            version.by,
            version.changes.join("\n")
        );
        bars.push((from, to.max(from), class, title));
    }
    let gone = versions.last().is_some_and(|last| last.change == "DELETED");
    let stands = bars.last().map_or("object", |bar| bar.2);
    Row {
        name: name.to_owned(),
        bars,
        stands: if gone { draw::GONE } else { stands },
    }
}

/// How an object stands: by its phase, else by the conditions that most kinds have.
fn class_of(object: &Value, phase: &str) -> &'static str {
    let conditions = object["status"]["conditions"].as_array();
    let condition = |name: &str| {
        let mut all = conditions.into_iter().flatten();
        let found = all.find(|condition| condition["type"] == name)?;
        found["status"].as_str()
    };
    let ready = ["Ready", "Available"].into_iter().find_map(condition);
    match phase {
        _ if object["metadata"]["deletionTimestamp"].is_string() => "terminating",
        "Pending" | "Initializing" | "Starting" => "pending",
        "Running" | "Ready" if ready == Some("False") => "pending",
        "Running" | "Bound" | "Active" | "Ready" | "Available" => "running",
        "Succeeded" => "succeeded",
        "Failed" => "failure",
        _ if condition("Failed") == Some("True") => "failure",
        _ if condition("Complete") == Some("True") => "succeeded",
        _ if ready == Some("True") => "running",
        _ if ready == Some("False") => "pending",
        _ => "object",
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
                stands: "",
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
            stands: "",
        }
    }));
    rows
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(count: usize, stands: &'static str) -> Vec<Row> {
        (0..count)
            .map(|number| Row {
                name: format!("Pod {stands}-{number}"),
                bars: Vec::new(),
                stands,
            })
            .collect()
    }

    #[test]
    fn of_many_objects_those_in_trouble_have_rows_and_the_others_are_counted() {
        let mut pods = rows(100, "running");
        pods.extend(rows(2, "failure"));
        pods.extend(rows(30, draw::GONE));
        let (rows, folded) = worth_a_row("Pod", pods);
        assert_eq!(rows.len(), 2);
        let folded = folded.expect("the others");
        assert_eq!(folded.rows.len(), 130);
        assert_eq!(
            folded.title,
            "130 more of 132 Pod: 100 running, ready, 30 gone"
        );
    }

    #[test]
    fn how_an_object_stands_is_told_by_its_phase_or_its_conditions() {
        let stands = |status: Value| {
            let phase = status["phase"].as_str().unwrap_or_default().to_owned();
            class_of(&json!({"status": status}), &phase)
        };
        let with =
            |name: &str, status: &str| json!({"conditions": [{"type": name, "status": status}]});
        assert_eq!(stands(json!({"phase": "Bound"})), "running");
        assert_eq!(stands(with("Complete", "True")), "succeeded");
        assert_eq!(stands(with("Failed", "True")), "failure");
        assert_eq!(stands(with("Available", "False")), "pending");
        let mut unready = with("Ready", "False");
        unready["phase"] = "Running".into();
        assert_eq!(stands(unready), "pending");
        assert_eq!(stands(json!({})), "object");
    }

    #[test]
    fn few_objects_have_a_row_each() {
        let (rows, folded) = worth_a_row("Pod", rows(FEW, "running"));
        assert_eq!(rows.len(), FEW);
        assert!(folded.is_none());
    }

    #[test]
    fn however_many_are_in_trouble_the_picture_stays_short_and_loses_none() {
        let mut pods = rows(500, "pending");
        pods.extend(rows(1, "failure"));
        let (rows, folded) = worth_a_row("Pod", pods);
        assert_eq!(rows.len(), FEW);
        assert_eq!(rows[0].stands, "failure");
        assert_eq!(folded.expect("the others").rows.len(), 501 - FEW);
    }
}
