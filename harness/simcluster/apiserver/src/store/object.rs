//! One immutable version of an object, with its JSON text and what it is selected by made at most once.
//!
//! Lists and watches send the same version to many clients; they share the text. Each node's watch asks
//! of each change of each pod whether it is its own; they share the answer's first half.
//!
//! As a tree a version takes ten times the memory of its text. A past one that hardly anybody will ask for
//! is kept as text only, and read again when somebody does.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use serde_json::{Map, Value};
use simcluster_machinery::apply::packed;

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Object {
    /// Absent, where there is the text, until it is asked for.
    value: OnceLock<Value>,
    revision: u64,
    text: OnceLock<Text>,
    selectable: OnceLock<Selectable>,
    /// The same object as versions of its kind show it.
    converted: OnceLock<Box<Mutex<Vec<Converted>>>>,
}

/// Fields that field selectors may name, with their values.
pub(crate) type Selectable = Vec<(&'static str, String)>;

#[derive(Debug)]
struct Converted {
    api_version: String,
    /// Which state of the kind's definition it was made by.
    source: String,
    /// Nothing where it is shown as it is.
    object: Option<Arc<Object>>,
}

#[derive(Clone, Debug)]
struct Text {
    json: Bytes,
    /// Where the fields other than `kind` and `apiVersion` begin, behind the comma.
    rest: usize,
}

impl Object {
    /// The version `revision` of an object; its `metadata.resourceVersion` is set to it.
    pub(crate) fn new(mut value: Value, revision: u64) -> Self {
        packed::pack(&mut value);
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert(
                "resourceVersion".to_owned(),
                Value::String(revision.to_string()),
            );
        }
        Self::of(OnceLock::from(value), revision, OnceLock::new())
    }

    /// An object that was not stored.
    pub(crate) fn without_revision(value: Value) -> Self {
        Self::of(OnceLock::from(value), 0, OnceLock::new())
    }

    fn of(value: OnceLock<Value>, revision: u64, text: OnceLock<Text>) -> Self {
        Self {
            value,
            revision,
            text,
            selectable: OnceLock::new(),
            converted: OnceLock::new(),
        }
    }

    /// The same version as text only.
    pub(crate) fn as_text(self: &Arc<Self>) -> Arc<Self> {
        if self.value.get().is_none() {
            return Arc::clone(self);
        }
        let text = OnceLock::from(self.text().clone());
        Arc::new(Self::of(OnceLock::new(), self.revision, text))
    }

    /// The object, with its managers [packed].
    pub(crate) fn value(&self) -> &Value {
        self.value.get_or_init(|| {
            let text = self.text.get().map_or(&[][..], |text| &text.json);
            let mut value = serde_json::from_slice(text).unwrap_or_default();
            packed::pack(&mut value);
            value
        })
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
        self.value()["metadata"][field].as_str().unwrap_or_default()
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

    /// The fields that it is selected by, which `make` finds in it.
    pub(crate) fn selectable(
        &self,
        make: impl FnOnce(&Value) -> Selectable,
    ) -> &[(&'static str, String)] {
        self.selectable.get_or_init(|| make(self.value()))
    }

    /// The object as a version shows it, if that was kept for this state of the definition.
    pub(crate) fn converted(
        self: &Arc<Self>,
        api_version: &str,
        source: &str,
    ) -> Option<Arc<Self>> {
        let kept = self.converted.get()?;
        let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter()
            .find(|one| one.api_version == api_version && one.source == source)
            .map(|one| Arc::clone(one.object.as_ref().unwrap_or(self)))
    }

    /// Keeps how a version shows the object, unless that is as it is; what an older state of the
    /// definition made is dropped. Gives what is shown.
    pub(crate) fn keep_converted(
        self: &Arc<Self>,
        api_version: &str,
        source: &str,
        shown: Value,
    ) -> Arc<Self> {
        let shown = (shown != *self.value()).then(|| Arc::new(Self::new(shown, self.revision)));
        let kept = self.converted.get_or_init(Box::default);
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|one| one.api_version != api_version);
        kept.push(Converted {
            api_version: api_version.to_owned(),
            source: source.to_owned(),
            object: shown.clone(),
        });
        shown.unwrap_or_else(|| Arc::clone(self))
    }

    fn text(&self) -> &Text {
        self.text.get_or_init(|| Text::of(self.value()))
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
            match (name.as_str(), value) {
                ("kind" | "apiVersion", _) => continue,
                ("metadata", Value::Object(metadata)) => write_metadata(&mut json, metadata),
                _ => write_field(&mut json, name, value),
            }
            json.push(b',');
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

fn write_metadata(json: &mut Vec<u8>, metadata: &Map<String, Value>) {
    json.extend_from_slice(b"\"metadata\":{");
    for (n, (name, value)) in metadata.iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        match packed::text(name, value) {
            Some(managers) => {
                json.extend_from_slice(b"\"managedFields\":");
                json.extend_from_slice(managers.as_bytes());
            }
            None => write_field(json, name, value),
        }
    }
    json.push(b'}');
}

fn write_field(json: &mut Vec<u8>, name: &str, value: &Value) {
    serde_json::to_writer(&mut *json, name).expect("writing to memory does not fail");
    json.push(b':');
    serde_json::to_writer(&mut *json, value).expect("a value's keys are strings");
}
