//! Decides what becomes of an occurrence: a new Event, one more of an Event that is there, or nothing.
//!
//! The rules are those of Kubernetes' own recorder: the same message again raises a count; more than ten different
//! messages of one reason on one object within ten minutes are combined; an object that causes more than 25 Events in
//! a burst is heard only once in five minutes. Pure: time is given.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Event, EventSource},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use serde_json::{Value, json};

use super::{Form, Occurrence};
use crate::clock::whole_seconds;

const SIMILAR_MESSAGES: usize = 10;
const SIMILAR_WINDOW: SignedDuration = SignedDuration::from_mins(10);
const BURST: f64 = 25.0;
const SECONDS_PER_TOKEN: f64 = 300.0;
const REMEMBERED: usize = 4096;

/// What becomes of an occurrence.
#[derive(Debug)]
pub(crate) enum Decision {
    Create(Box<Event>),
    Raise {
        namespace: String,
        name: String,
        patch: Value,
    },
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct About {
    component: &'static str,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sort {
    about: About,
    type_: &'static str,
    reason: String,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Seen {
    name: String,
    count: i32,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Correlator {
    similar: HashMap<Sort, Similar>,
    /// By sort and message; combined events have no message.
    seen: HashMap<(Sort, Option<String>), Seen>,
    buckets: HashMap<About, Bucket>,
    last_name: i128,
}

impl Correlator {
    /// Decides, and remembers the decision as done.
    pub(crate) fn decide(&mut self, occurrence: Occurrence, now: Timestamp) -> Decision {
        self.bound(now);
        let sort = sort_of(&occurrence);
        if occurrence.form == Form::Core && !self.spend(&sort.about, now) {
            return Decision::Drop;
        }
        let combined = self.is_one_of_many(&sort, &occurrence.message, now);
        let message = if combined {
            format!("(combined from similar events): {}", occurrence.message)
        } else {
            occurrence.message.clone()
        };
        let identity = (sort, (!combined).then(|| message.clone()));
        let namespace = namespace_of(&occurrence);
        if let Some(seen) = self.seen.get_mut(&identity) {
            seen.count += 1;
            let patch = match occurrence.form {
                Form::Core => json!({
                    "count": seen.count,
                    "lastTimestamp": whole_seconds(now),
                    "message": message,
                }),
                Form::Reporting => json!({
                    "series": {"count": seen.count, "lastObservedTime": MicroTime(now)},
                }),
            };
            return Decision::Raise {
                namespace,
                name: seen.name.clone(),
                patch,
            };
        }
        self.last_name = now.as_nanosecond().max(self.last_name + 1);
        let object = occurrence.regarding.name.as_deref().unwrap_or_default();
        let name = format!("{object}.{:x}", self.last_name);
        self.seen.insert(
            identity,
            Seen {
                name: name.clone(),
                count: 1,
            },
        );
        Decision::Create(Box::new(event(occurrence, name, namespace, message, now)))
    }

    /// The Event of this occurrence is not there any more.
    pub(crate) fn forget(&mut self, occurrence: &Occurrence) {
        let sort = sort_of(occurrence);
        self.seen.retain(|(known, _), _| *known != sort);
    }

    fn is_one_of_many(&mut self, sort: &Sort, message: &str, now: Timestamp) -> bool {
        let similar = self.similar.entry(sort.clone()).or_insert_with(|| Similar {
            messages: HashSet::new(),
            last: now,
        });
        if now.duration_since(similar.last) > SIMILAR_WINDOW {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.len() < SIMILAR_MESSAGES {
            similar.messages.insert(message.to_owned());
        }
        !similar.messages.contains(message)
    }

    fn spend(&mut self, about: &About, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(about.clone()).or_insert(Bucket {
            tokens: BURST,
            filled: now,
        });
        let refill = now.duration_since(bucket.filled).as_secs_f64() / SECONDS_PER_TOKEN;
        bucket.tokens = (bucket.tokens + refill).min(BURST);
        bucket.filled = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }

    fn bound(&mut self, now: Timestamp) {
        if self.similar.len() > REMEMBERED {
            self.similar
                .retain(|_, similar| now.duration_since(similar.last) < SIMILAR_WINDOW);
        }
        // What is forgotten is told as a new Event next time: harmless, and memory stays bounded.
        if self.similar.len() > REMEMBERED {
            self.similar.clear();
        }
        if self.seen.len() > REMEMBERED {
            self.seen.clear();
        }
        if self.buckets.len() > REMEMBERED {
            self.buckets.clear();
        }
    }
}

fn sort_of(occurrence: &Occurrence) -> Sort {
    let regarding = &occurrence.regarding;
    Sort {
        about: About {
            component: occurrence.component,
            kind: regarding.kind.clone().unwrap_or_default(),
            namespace: regarding.namespace.clone().unwrap_or_default(),
            name: regarding.name.clone().unwrap_or_default(),
            uid: regarding.uid.clone().unwrap_or_default(),
        },
        type_: occurrence.type_,
        reason: occurrence.reason.clone(),
    }
}

/// Events about cluster-scoped objects stand in `default`.
fn namespace_of(occurrence: &Occurrence) -> String {
    match occurrence.regarding.namespace.as_deref() {
        None | Some("") => "default".to_owned(),
        Some(namespace) => namespace.to_owned(),
    }
}

fn event(
    occurrence: Occurrence,
    name: String,
    namespace: String,
    message: String,
    now: Timestamp,
) -> Event {
    let component = occurrence.component.to_owned();
    let mut event = Event {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        involved_object: occurrence.regarding,
        reason: Some(occurrence.reason),
        message: Some(message),
        type_: Some(occurrence.type_.to_owned()),
        reporting_component: Some(component.clone()),
        ..Event::default()
    };
    match occurrence.form {
        Form::Core => {
            event.source = Some(EventSource {
                component: Some(component),
                host: None,
            });
            event.count = Some(1);
            event.first_timestamp = Some(whole_seconds(now));
            event.last_timestamp = Some(whole_seconds(now));
        }
        Form::Reporting => {
            event.event_time = Some(MicroTime(now));
            event.reporting_instance = Some(format!("{component}-simcluster"));
            event.action = Some(occurrence.action.to_owned());
        }
    }
    event
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    fn occurrence(message: &str) -> Occurrence {
        Occurrence {
            component: "job-controller",
            form: Form::Core,
            regarding: ObjectReference {
                kind: Some("Job".into()),
                namespace: Some("n".into()),
                name: Some("j".into()),
                ..ObjectReference::default()
            },
            type_: "Normal",
            reason: "Completed".into(),
            message: message.into(),
            action: "",
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_same_again_raises_the_count() {
        let mut correlator = Correlator::default();
        let Decision::Create(event) = correlator.decide(occurrence("a"), at(0)) else {
            panic!()
        };
        assert_eq!(event.count, Some(1));
        let Decision::Raise { name, patch, .. } = correlator.decide(occurrence("a"), at(1)) else {
            panic!()
        };
        assert_eq!(Some(name), event.metadata.name);
        assert_eq!(patch["count"], 2);
    }

    #[test]
    fn the_eleventh_different_message_is_combined_with_the_next() {
        let mut correlator = Correlator::default();
        for n in 0..10 {
            let decision = correlator.decide(occurrence(&n.to_string()), at(n));
            assert!(matches!(decision, Decision::Create(_)));
        }
        let Decision::Create(event) = correlator.decide(occurrence("10"), at(10)) else {
            panic!()
        };
        assert_eq!(
            event.message.as_deref(),
            Some("(combined from similar events): 10")
        );
        assert!(matches!(
            correlator.decide(occurrence("11"), at(11)),
            Decision::Raise { .. }
        ));
    }

    #[test]
    fn a_burst_is_cut_after_25_and_heard_again_after_five_minutes() {
        let mut correlator = Correlator::default();
        let told = (0..40)
            .filter(|_| !matches!(correlator.decide(occurrence("a"), at(0)), Decision::Drop))
            .count();
        assert_eq!(told, 25);
        assert!(matches!(
            correlator.decide(occurrence("a"), at(301)),
            Decision::Raise { .. }
        ));
    }

    #[test]
    fn names_never_repeat() {
        let mut correlator = Correlator::default();
        let Decision::Create(first) = correlator.decide(occurrence("a"), at(0)) else {
            panic!()
        };
        let Decision::Create(second) = correlator.decide(occurrence("b"), at(0)) else {
            panic!()
        };
        assert_ne!(first.metadata.name, second.metadata.name);
    }

    #[test]
    fn cluster_scoped_objects_have_their_events_in_default() {
        let mut occurrence = occurrence("a");
        occurrence.regarding.namespace = None;
        let Decision::Create(event) = Correlator::default().decide(occurrence, at(0)) else {
            panic!()
        };
        assert_eq!(event.metadata.namespace.as_deref(), Some("default"));
    }
}
