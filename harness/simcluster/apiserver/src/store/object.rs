//! One immutable version of an object, with its JSON text made at most once.
//!
//! Lists and watches send the same version to many clients; they share the text.

use std::sync::OnceLock;

use bytes::Bytes;
use serde_json::{Map, Value};

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Object {
    value: Value,
    revision: u64,
    text: OnceLock<Text>,
}

#[derive(Debug)]
struct Text {
    json: Bytes,
    /// Where the fields other than `kind` and `apiVersion` begin, behind the comma.
    rest: usize,
}

impl Object {
    /// The version `revision` of an object; its `metadata.resourceVersion` is set to it.
    pub(crate) fn new(mut value: Value, revision: u64) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "resourceVersion".to_owned(),
                Value::String(revision.to_string()),
            );
        }
        Self {
            value,
            revision,
            text: OnceLock::new(),
        }
    }

    /// An object that was not stored.
    pub(crate) fn without_revision(value: Value) -> Self {
        Self {
            value,
            revision: 0,
            text: OnceLock::new(),
        }
    }

    /// The object.
    pub(crate) fn value(&self) -> &Value {
        &self.value
    }

    /// The revision of this version.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// `metadata.namespace`, empty if absent.
    pub(crate) fn namespace(&self) -> &str {
        self.metadata("namespace")
    }

    /// `metadata.name`, empty if absent.
    pub(crate) fn name(&self) -> &str {
        self.metadata("name")
    }

    /// `metadata.uid`, empty if absent.
    pub(crate) fn uid(&self) -> &str {
        self.metadata("uid")
    }

    fn metadata(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }

    /// The whole object as JSON.
    pub(crate) fn json(&self) -> Bytes {
        self.text().json.clone()
    }

    /// The object's JSON behind its opening brace, `kind` and `apiVersion`: `"metadata":{…},…}`.
    pub(crate) fn json_without_type(&self) -> &[u8] {
        let text = self.text();
        &text.json[text.rest..]
    }

    fn text(&self) -> &Text {
        self.text.get_or_init(|| Text::of(&self.value))
    }
}

impl Text {
    fn of(value: &Value) -> Self {
        let empty = Map::new();
        let fields = value.as_object().unwrap_or(&empty);
        let mut json = Vec::with_capacity(512);
        json.push(b'{');
        for name in ["kind", "apiVersion"] {
            if let Some(value) = fields.get(name) {
                write_field(&mut json, name, value);
                json.push(b',');
            }
        }
        let rest = json.len();
        for (name, value) in fields {
            if name != "kind" && name != "apiVersion" {
                write_field(&mut json, name, value);
                json.push(b',');
            }
        }
        if json.last() == Some(&b',') {
            json.pop();
        }
        json.push(b'}');
        let rest = rest.min(json.len() - 1);
        json.shrink_to_fit();
        Self {
            json: Bytes::from(json),
            rest,
        }
    }
}

fn write_field(json: &mut Vec<u8>, name: &str, value: &Value) {
    serde_json::to_writer(&mut *json, name).expect("writing to memory does not fail");
    json.push(b':');
    serde_json::to_writer(&mut *json, value).expect("a value's keys are strings");
}
