//! A pod's row in a table: what `kubectl get pods` makes of its many conditions and states.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::read::{Read, text_or};
use crate::table::{self, AGE, Column, NAME, Row};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    Column::text("Ready"),
    Column::text("Status"),
    Column::text("Restarts"),
    AGE,
    Column::wide("IP"),
    Column::wide("Node"),
    Column::wide("Nominated Node"),
    Column::wide("Readiness Gates"),
];

pub(super) fn row(pod: &Value, now: Timestamp) -> Row {
    let summary = Summary::of(pod);
    let restarts = match summary.last_restart {
        Some(time) if summary.restarts > 0 => {
            format!("{} ({} ago)", summary.restarts, table::since(time, now))
        }
        _ => summary.restarts.to_string(),
    };
    let or_none = |path: &str| json!(text_or(pod.text(path), "<none>"));
    let address = pod
        .list("status.podIPs")
        .first()
        .map_or("", |entry| entry.text("ip"));
    let gates = pod.list("spec.readinessGates");
    let open = gates
        .iter()
        .filter(|gate| condition(pod, gate.text("conditionType")).is_some_and(is_true))
        .count();
    let cells = vec![
        table::name(pod),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        table::age(pod, now),
        json!(text_or(address, "<none>")),
        or_none("spec.nodeName"),
        or_none("status.nominatedNodeName"),
        if gates.is_empty() {
            json!("<none>")
        } else {
            json!(format!("{open}/{}", gates.len()))
        },
    ];
    Row {
        cells,
        conditions: row_conditions(pod),
    }
}

fn row_conditions(pod: &Value) -> Vec<Value> {
    let (reason, message) = match pod.text("status.phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    pod.list("status.conditions")
        .iter()
        .find(|condition| condition.text("type") == kind)
}

fn is_true(condition: &Value) -> bool {
    condition.text("status") == "True"
}

/// What containers' statuses amount to.
struct Summary<'a> {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<&'a str>,
}

/// Restarts and when the last one was.
#[derive(Clone, Copy, Default)]
struct Restarts<'a> {
    count: i64,
    last: Option<&'a str>,
}

impl<'a> Restarts<'a> {
    fn add(&mut self, status: &'a Value) {
        self.count += status.integer("restartCount").unwrap_or(0);
        let ended = status
            .at("lastState.terminated.finishedAt")
            .and_then(Value::as_str);
        self.last = self.last.max(ended);
    }
}

impl<'a> Summary<'a> {
    fn of(pod: &'a Value) -> Self {
        let init = pod.list("spec.initContainers");
        let sidecar = |name: &str| {
            init.iter()
                .any(|one| one.text("name") == name && one.text("restartPolicy") == "Always")
        };
        let sidecars = init
            .iter()
            .filter(|one| one.text("restartPolicy") == "Always")
            .count();
        let phase = pod.text("status.phase");
        let mut reason = text_or(pod.text("status.reason"), phase).to_owned();
        if condition(pod, "PodScheduled").is_some_and(|one| one.text("reason") == "SchedulingGated")
        {
            "SchedulingGated".clone_into(&mut reason);
        }
        let mut ready = 0;
        let mut restarts = Restarts::default();
        let mut sidecar_restarts = Restarts::default();
        let mut initializing = false;
        for (index, status) in pod.list("status.initContainerStatuses").iter().enumerate() {
            restarts.add(status);
            let is_sidecar = sidecar(status.text("name"));
            if is_sidecar {
                sidecar_restarts.add(status);
            }
            if status.integer("state.terminated.exitCode") == Some(0) {
                continue;
            }
            if is_sidecar && status.flag("started") {
                ready += usize::from(status.flag("ready"));
                continue;
            }
            initializing = true;
            reason = match (
                status.at("state.terminated"),
                status.text("state.waiting.reason"),
            ) {
                (Some(ended), _) => format!("Init:{}", end_reason(ended)),
                (None, waiting) if !matches!(waiting, "" | "PodInitializing") => {
                    format!("Init:{waiting}")
                }
                _ => format!("Init:{index}/{}", init.len()),
            };
            break;
        }
        if !initializing || condition(pod, "Initialized").is_some_and(is_true) {
            restarts = sidecar_restarts;
            let mut running = false;
            for status in pod.list("status.containerStatuses").iter().rev() {
                restarts.add(status);
                let waiting = status.text("state.waiting.reason");
                if !waiting.is_empty() {
                    waiting.clone_into(&mut reason);
                } else if let Some(ended) = status.at("state.terminated") {
                    reason = end_reason(ended);
                } else if status.flag("ready") && status.at("state.running").is_some() {
                    running = true;
                    ready += 1;
                }
            }
            if reason == "Completed" && running {
                let is_ready = condition(pod, "Ready").is_some_and(is_true);
                (if is_ready { "Running" } else { "NotReady" }).clone_into(&mut reason);
            }
        }
        if pod.at("metadata.deletionTimestamp").is_some() {
            if pod.text("status.reason") == "NodeLost" {
                "Unknown".clone_into(&mut reason);
            } else if !matches!(phase, "Failed" | "Succeeded") {
                "Terminating".clone_into(&mut reason);
            }
        }
        Self {
            reason,
            ready,
            total: pod.list("spec.containers").len() + sidecars,
            restarts: restarts.count,
            last_restart: restarts.last,
        }
    }
}

fn end_reason(ended: &Value) -> String {
    let reason = ended.text("reason");
    match ended.integer("signal").unwrap_or(0) {
        _ if !reason.is_empty() => reason.to_owned(),
        0 => format!("ExitCode:{}", ended.integer("exitCode").unwrap_or(0)),
        signal => format!("Signal:{signal}"),
    }
}
