//! Event, as the core group and as `events.k8s.io` know it.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::IMMUTABLE;
use crate::meta::{NameRule, complain};
use crate::read::{Read, text_or};
use crate::rules::KindRules;
use crate::table::{self, Column, NAME, Row};

/// An event by the fields of its API group.
pub(crate) struct Event {
    names: &'static Names,
}

struct Names {
    object: &'static str,
    message: &'static str,
    source: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    controller: &'static str,
    new: bool,
}

/// `v1`
pub(crate) static CORE: Event = Event {
    names: &Names {
        object: "involvedObject",
        message: "message",
        source: "source",
        first: "firstTimestamp",
        last: "lastTimestamp",
        count: "count",
        controller: "reportingComponent",
        new: false,
    },
};

/// `events.k8s.io/v1`
pub(crate) static NEW: Event = Event {
    names: &Names {
        object: "regarding",
        message: "note",
        source: "deprecatedSource",
        first: "deprecatedFirstTimestamp",
        last: "deprecatedLastTimestamp",
        count: "deprecatedCount",
        controller: "reportingController",
        new: true,
    },
};

impl KindRules for Event {
    fn validate_create(&self, event: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        self.validate(event, &mut errors);
        if self.names.new {
            validate_series(event, &mut errors);
            if event.at("eventTime").is_none() {
                errors.push(Error::required(&Path::new("eventTime"), ""));
            }
            let kind = event.text("type");
            if !matches!(kind, "Normal" | "Warning") {
                let detail = format!("has invalid value: {kind}");
                errors.push(Error::invalid(&Path::new("type"), "", detail));
            }
            for (field, words) in [
                (self.names.first, "firstTimestamp"),
                (self.names.last, "lastTimestamp"),
            ] {
                if event.at(field).is_some() {
                    errors.push(Error::invalid(&Path::new(words), "", "needs to be unset"));
                }
            }
            if event.integer(self.names.count).unwrap_or(0) != 0 {
                errors.push(Error::invalid(&Path::new("count"), "", "needs to be unset"));
            }
            if !event
                .text(&format!("{}.component", self.names.source))
                .is_empty()
                || !event
                    .text(&format!("{}.host", self.names.source))
                    .is_empty()
            {
                errors.push(Error::invalid(
                    &Path::new("source"),
                    "",
                    "needs to be unset",
                ));
            }
        }
        errors
    }

    /// What the new group's events say stays, but for their series.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        self.validate(new, &mut errors);
        if !self.names.new {
            return errors;
        }
        if new.at("series") != old.at("series") {
            validate_series(new, &mut errors);
        }
        for (field, words) in [
            (self.names.object, "involvedObject"),
            ("reason", "reason"),
            (self.names.message, "message"),
            (self.names.source, "source"),
            (self.names.first, "firstTimestamp"),
            (self.names.last, "lastTimestamp"),
            (self.names.count, "count"),
            ("reason", "reason"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("action", "action"),
            ("related", "related"),
            (self.names.controller, "reportingController"),
            ("reportingInstance", "reportingInstance"),
        ] {
            if new.at(field) != old.at(field) {
                let given = new.at(field).cloned().unwrap_or(Value::Null);
                errors.push(Error::invalid(&Path::new(words), given, IMMUTABLE));
            }
        }
        errors
    }

    /// The core group's events keep to what every object keeps to, and no more.
    fn name_rule(&self) -> NameRule {
        if self.names.new {
            NameRule::Subdomain
        } else {
            NameRule::PathSegment
        }
    }

    fn finalizers_are_qualified(&self) -> bool {
        self.names.new
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
    }

    fn selectable_fields(&self, event: &Value) -> Vec<(&'static str, String)> {
        let object = event.at(self.names.object).unwrap_or(&Value::Null);
        let of_object = |field: &str| object.text(field).to_owned();
        let controller = event.text(self.names.controller);
        let source = event.text(&format!("{}.component", self.names.source));
        let mut fields = vec![
            ("reason", event.text("reason").to_owned()),
            ("type", event.text("type").to_owned()),
        ];
        let prefixed: [&'static str; 7] = if self.names.new {
            [
                "regarding.kind",
                "regarding.namespace",
                "regarding.name",
                "regarding.uid",
                "regarding.apiVersion",
                "regarding.resourceVersion",
                "regarding.fieldPath",
            ]
        } else {
            [
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
                "involvedObject.apiVersion",
                "involvedObject.resourceVersion",
                "involvedObject.fieldPath",
            ]
        };
        fields.extend(prefixed.map(|label| {
            let (_, field) = label.split_once('.').unwrap_or(("", label));
            (label, of_object(field))
        }));
        fields.push((self.names.controller, controller.to_owned()));
        if !self.names.new {
            fields.push(("source", text_or(source, controller).to_owned()));
        }
        fields
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                Column::text("Last Seen"),
                Column::text("Type"),
                Column::text("Reason"),
                Column::text("Object"),
                Column::wide("Subobject"),
                Column::wide("Source"),
                Column::text("Message"),
                Column::wide("First Seen"),
                Column::wide("Count"),
                Column {
                    priority: 1,
                    ..NAME
                },
            ]
        }
    }

    fn row(&self, event: &Value, now: Timestamp) -> Row {
        let first = text_or(event.text(self.names.first), event.text("eventTime"));
        let last = text_or(event.text(self.names.last), first);
        let last = text_or(event.text("series.lastObservedTime"), last);
        let count = event
            .integer("series.count")
            .or(event.integer(self.names.count));
        let object = event.at(self.names.object).unwrap_or(&Value::Null);
        let kind = object.text("kind").to_lowercase();
        let target = match object.text("name") {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        Row::new(vec![
            json!(table::since(last, now)),
            json!(event.text("type")),
            json!(event.text("reason")),
            json!(target),
            json!(object.text("fieldPath")),
            json!(self.source(event)),
            json!(event.text(self.names.message).trim()),
            json!(table::since(first, now)),
            json!(count.unwrap_or(0).max(1)),
            table::name(event),
        ])
    }
}

impl Event {
    fn validate(&self, event: &Value, errors: &mut Vec<Error>) {
        let namespace = event.text("metadata.namespace");
        // Both groups' events are told about the core group's field.
        let place = Path::new("involvedObject").child("namespace");
        let of_object = event.text(&format!("{}.namespace", self.names.object));
        let timed = event.at("eventTime").is_some();
        let fits = if of_object.is_empty() {
            matches!(namespace, "" | "default") || timed && namespace == "kube-system"
        } else {
            timed || namespace == of_object
        };
        if !fits {
            errors.push(Error::invalid(
                &place,
                of_object,
                "does not match event.namespace",
            ));
        }
        if event.at("eventTime").is_none() {
            return;
        }
        let controller = event.text(self.names.controller);
        let path = Path::new(self.names.controller);
        if controller.is_empty() {
            errors.push(Error::required(&path, ""));
        }
        complain(errors, &path, controller, name::qualified_name(controller));
        for (field, limit) in [("reportingInstance", 128), ("action", 128), ("reason", 128)] {
            let text = event.text(field);
            if text.is_empty() {
                errors.push(Error::required(&Path::new(field), ""));
            }
            too_long(text, limit, &Path::new(field), errors);
        }
        too_long(
            event.text(self.names.message),
            1024,
            &Path::new("message"),
            errors,
        );
    }

    fn source(&self, event: &Value) -> String {
        let part = |field: &str| event.text(&format!("{}.{field}", self.names.source));
        let component = text_or(part("component"), event.text(self.names.controller));
        match text_or(part("host"), event.text("reportingInstance")) {
            "" => component.to_owned(),
            host => format!("{component}, {host}"),
        }
    }
}

/// A series is of more than one event, and was seen.
fn validate_series(event: &Value, errors: &mut Vec<Error>) {
    let Some(series) = event.at("series") else {
        return;
    };
    if series.integer("count").unwrap_or(0) < 2 {
        let path = Path::new("series.count");
        errors.push(Error::invalid(&path, "", "should be at least 2"));
    }
    if series.at("lastObservedTime").is_none() {
        errors.push(Error::required(&Path::new("series.lastObservedTime"), ""));
    }
}

fn too_long(text: &str, limit: usize, path: &Path, errors: &mut Vec<Error>) {
    if text.len() > limit {
        let detail = format!("can have at most {limit} characters");
        errors.push(Error::invalid(path, "", detail));
    }
}
