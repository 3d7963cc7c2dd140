//! The managers of an object: `metadata.managedFields`, read, changed and written.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Writer;
use super::conflict::Conflict;
use super::set::FieldSet;

/// More managers that update than this are folded into one.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

/// How a manager came to own its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One manager and its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The manager's name.
    pub manager: String,
    /// How it came to own them.
    pub operation: Operation,
    /// The version it spoke.
    pub api_version: String,
    /// The subresource it wrote to, empty for the object itself.
    pub subresource: String,
    /// When it last changed something.
    pub time: Option<String>,
    /// The fields.
    pub fields: FieldSet,
}

impl Entry {
    pub(super) fn new(writer: &Writer<'_>, operation: Operation, fields: FieldSet) -> Self {
        let manager = if writer.manager.is_empty() {
            "unknown"
        } else {
            writer.manager
        };
        Self {
            manager: manager.to_owned(),
            operation,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: Some(writer.time.to_owned()),
            fields,
        }
    }

    /// Whether both are the same manager: one that applies is so in any version.
    fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn decode(value: &Value) -> Option<Self> {
        let text = |name| {
            value
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let fields = match value.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => FieldSet::decode(fields)?,
        };
        if !matches!(text("fieldsType").as_str(), "" | "FieldsV1") {
            return None;
        }
        Some(Self {
            manager: text("manager"),
            operation: match text("operation").as_str() {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            },
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: value.get("time").and_then(Value::as_str).map(str::to_owned),
            fields,
        })
    }

    fn encode(&self) -> Value {
        let mut entry = Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                entry.insert(name.to_owned(), Value::String(value.to_owned()));
            }
        };
        put("apiVersion", &self.api_version);
        put("fieldsType", "FieldsV1");
        put("manager", &self.manager);
        put("operation", self.operation.as_str());
        put("subresource", &self.subresource);
        put("time", self.time.as_deref().unwrap_or_default());
        entry.insert("fieldsV1".to_owned(), self.fields.encode());
        Value::Object(entry)
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagedFields {
    entries: Vec<Entry>,
}

impl ManagedFields {
    /// Reads `metadata.managedFields`; `None` if it cannot be read. Nothing is no managers.
    pub fn decode(value: Option<&Value>) -> Option<Self> {
        match value {
            None | Some(Value::Null) => Some(Self::default()),
            Some(Value::Array(entries)) => {
                let entries = entries.iter().map(Entry::decode).collect::<Option<_>>()?;
                Some(Self { entries })
            }
            Some(_) => None,
        }
    }

    /// Writes `metadata.managedFields`: who applies first, then by time and name.
    pub fn encode(&self) -> Value {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by(|a, b| {
            let key = |entry: &'_ Entry| {
                let Entry {
                    manager,
                    operation,
                    api_version,
                    subresource,
                    time,
                    ..
                } = entry;
                let rest = (manager.clone(), api_version.clone(), subresource.clone());
                (*operation, time.clone(), rest)
            };
            key(a).cmp(&key(b))
        });
        Value::Array(entries.into_iter().map(Entry::encode).collect())
    }

    /// The managers.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Whether nobody manages anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a manager as it stands, though there may be one of its name.
    pub(super) fn push(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The fields of all managers together.
    pub(super) fn all_fields(&self) -> FieldSet {
        let mut all = FieldSet::default();
        self.entries
            .iter()
            .for_each(|entry| all.extend(&entry.fields));
        all
    }

    /// Takes out what the writer applied before.
    pub(super) fn take_applied(&mut self, writer: &Writer<'_>) -> Option<Entry> {
        let own = Entry::new(writer, Operation::Apply, FieldSet::default());
        let index = self
            .entries
            .iter()
            .position(|entry| entry.same_manager(&own))?;
        Some(self.entries.remove(index))
    }

    /// Nobody owns these any more.
    pub(super) fn drop_fields(&mut self, gone: &FieldSet) {
        if gone.is_empty() {
            return;
        }
        for entry in &mut self.entries {
            entry.fields = entry.fields.difference(gone);
        }
        self.entries.retain(|entry| !entry.fields.is_empty());
    }

    /// Adds fields to a manager, which may be a new one.
    pub(super) fn add(&mut self, entry: Entry) {
        match self.entries.iter_mut().find(|one| one.same_manager(&entry)) {
            Some(own) => {
                own.fields.extend(&entry.fields);
                own.time = entry.time;
            }
            None => self.entries.push(entry),
        }
    }

    /// Which of these fields are somebody's.
    pub(super) fn conflicts_with(&self, changed: &FieldSet) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for entry in &self.entries {
            entry
                .fields
                .intersection(changed)
                .for_each(&mut |path| conflicts.push(Conflict::new(entry, path)));
        }
        conflicts
    }

    /// Folds the oldest updaters into one where there are too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<usize> = (0..self.entries.len())
            .filter(|&index| self.entries[index].operation == Operation::Update)
            .collect();
        let Some(mut excess) = updaters.len().checked_sub(MAX_UPDATERS) else {
            return;
        };
        updaters.sort_by_key(|&index| {
            let entry = &self.entries[index];
            (entry.time.clone(), entry.manager.clone())
        });
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let mut folded = Vec::new();
        for index in updaters {
            if excess == 0 {
                break;
            }
            let entry = self.entries[index].clone();
            match first.get(&entry.api_version) {
                None => {
                    first.insert(entry.api_version.clone(), index);
                }
                Some(&bucket) => {
                    let bucket = &mut self.entries[bucket];
                    ANCIENT.clone_into(&mut bucket.manager);
                    bucket.subresource.clear();
                    bucket.fields.extend(&entry.fields);
                    bucket.time = entry.time;
                    folded.push(index);
                    excess -= 1;
                }
            }
        }
        let mut index = 0;
        self.entries.retain(|_| {
            index += 1;
            !folded.contains(&(index - 1))
        });
    }
}
