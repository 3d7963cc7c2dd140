//! The events of a watch on their way to the operator: passed on at once, late, or not at all.
//!
//! What happens is what a real API server may do: events come late but in order; whoever missed some is told
//! 410 Gone and lists again.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::BoxError;

use super::{Effect, Faults, request::Seen, strike::status};

/// What the operator's client reads.
pub(super) type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// The response of a watch, whose events faults may strike as they come.
pub(super) fn disturbed(
    response: Response<Body>,
    faults: &Faults,
    resource: String,
) -> Response<Answer> {
    if !response.status().is_success() {
        return response.map(|body| Answer::new(body.map_err(Into::into)));
    }
    let (parts, body) = response.into_parts();
    let flow = Flow {
        body,
        faults: faults.clone(),
        resource,
        partial: Vec::new(),
        waiting: VecDeque::new(),
        lag: None,
        dropping: None,
        ended: false,
    };
    let frames = futures::stream::unfold(flow, async |mut flow| {
        let frame = flow.next().await?;
        Some((frame.map(Frame::data), flow))
    });
    Response::from_parts(parts, Answer::new(StreamBody::new(frames)))
}

/// One watch.
struct Flow {
    body: Body,
    faults: Faults,
    resource: String,
    /// What came after the last end of a line.
    partial: Vec<u8>,
    /// Lines, and when they are to be told.
    waiting: VecDeque<Late>,
    lag: Option<Duration>,
    dropping: Option<Dropping>,
    ended: bool,
}

struct Late {
    line: Bytes,
    due: Instant,
    /// A fault that is proved when this line is told.
    proof: Option<(usize, String)>,
}

struct Dropping {
    index: usize,
    left: usize,
    dropped: Vec<String>,
}

impl Flow {
    /// The next lines that the operator shall see; `None` at the end.
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            let due = self.waiting.front().map(|late| late.due);
            if due.is_none() && self.ended {
                return None;
            }
            let told = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = told => {
                    let late = self.waiting.pop_front()?;
                    if let Some((index, proof)) = late.proof {
                        self.faults.prove(index, proof);
                    }
                    return Some(Ok(late.line));
                }
                frame = self.body.frame(), if !self.ended => match frame {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            self.take(&data);
                        }
                    }
                    Some(Err(error)) => {
                        self.ended = true;
                        return Some(Err(error.into()));
                    }
                    None => self.ended = true,
                },
            }
        }
    }

    /// Takes what came apart into lines.
    fn take(&mut self, data: &[u8]) {
        self.partial.extend_from_slice(data);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let rest = self.partial.split_off(end + 1);
            let line = std::mem::replace(&mut self.partial, rest);
            if !self.ended {
                self.event(line);
            }
        }
    }

    /// Decides what becomes of one event.
    fn event(&mut self, line: Vec<u8>) {
        let mut proof = None;
        if self.dropping.is_some() || self.faults.waits() {
            let event: Value = serde_json::from_slice(&line).unwrap_or_default();
            let kind = event["type"].as_str().unwrap_or_default();
            // Bookmarks are about no object, and errors end the watch by themselves.
            if ["ADDED", "MODIFIED", "DELETED"].contains(&kind) {
                match self.strike(kind, &event["object"]["metadata"]) {
                    Struck::Not => {}
                    Struck::Dropped => return,
                    Struck::Delayed(proved) => proof = Some(proved),
                }
            }
        }
        let now = Instant::now();
        self.waiting.push_back(Late {
            line: line.into(),
            due: self.lag.map_or(now, |lag| now + lag),
            proof,
        });
    }

    fn strike(&mut self, kind: &str, metadata: &Value) -> Struck {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (name, revision) = (text(&metadata["name"]), text(&metadata["resourceVersion"]));
        let what = format!("{kind} {} {name} of revision {revision}", self.resource);
        if self.dropping.is_some() {
            self.drop_event(what);
            return Struck::Dropped;
        }
        let seen = Seen {
            verb: "watch",
            resource: self.resource.clone(),
            name,
        };
        let Some((index, fault)) = self.faults.strike(&seen, true) else {
            return Struck::Not;
        };
        match fault.effect {
            Effect::DropEvents(count) => {
                self.dropping = Some(Dropping {
                    index,
                    left: count,
                    dropped: Vec::new(),
                });
                self.drop_event(what);
                Struck::Dropped
            }
            Effect::LagWatch(by) => {
                self.lag = Some(by);
                let now = Timestamp::now();
                let proof =
                    format!("fired: LagWatch: {what} came at {now} and was told {by:?} later");
                Struck::Delayed((index, proof))
            }
            _ => Struck::Not,
        }
    }

    /// One more is dropped; after the last of them the watch ends.
    fn drop_event(&mut self, what: String) {
        let Some(dropping) = &mut self.dropping else {
            return;
        };
        dropping.dropped.push(what);
        dropping.left = dropping.left.saturating_sub(1);
        if dropping.left > 0 {
            return;
        }
        let proof = format!(
            "fired: DropEvents: at {} the operator was not told of {}; then its watch ended with 410",
            Timestamp::now(),
            dropping.dropped.join(", ")
        );
        let gone =
            json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")});
        self.waiting.push_back(Late {
            line: format!("{gone}\n").into(),
            due: Instant::now(),
            proof: Some((dropping.index, proof)),
        });
        self.dropping = None;
        self.ended = true;
    }
}

enum Struck {
    Not,
    Dropped,
    /// With the fault that is proved when it is told.
    Delayed((usize, String)),
}
