//! The managers of an object: `metadata.managedFields`, read, changed and written.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Writer;
use super::conflict::Conflict;
use super::set::FieldSet;

/// More managers that update than this are folded into one.
const MAX_UPDATERS: usize = 10;
const ANCIENT: &str = "ancient-changes";
/// The one way in which fields are written.
const FIELDS_TYPE: &str = "FieldsV1";

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

    /// By what entries are ordered.
    fn place(&self) -> impl Ord + '_ {
        (
            self.operation,
            &self.time,
            (&self.manager, &self.api_version, &self.subresource),
        )
    }

    /// Whether both are the same manager: one that applies is so in any version.
    fn same_manager(&self, other: &Self) -> bool {
        self.manager == other.manager
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }
}

/// An entry as JSON has it.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Written<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    api_version: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    fields_type: Cow<'a, str>,
    #[serde(rename = "fieldsV1")]
    fields: Option<Cow<'a, FieldSet>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    manager: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    operation: Cow<'a, str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<Cow<'a, str>>,
}

impl<'a> From<&'a Entry> for Written<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            api_version: Cow::Borrowed(&entry.api_version),
            fields_type: Cow::Borrowed(FIELDS_TYPE),
            fields: Some(Cow::Borrowed(&entry.fields)),
            manager: Cow::Borrowed(&entry.manager),
            operation: Cow::Borrowed(entry.operation.as_str()),
            subresource: Cow::Borrowed(&entry.subresource),
            time: entry.time.as_deref().map(Cow::Borrowed),
        }
    }
}

impl Written<'_> {
    /// `None` if it is an entry of a kind that nobody knows.
    fn entry(self) -> Option<Entry> {
        if !matches!(&*self.fields_type, "" | FIELDS_TYPE) {
            return None;
        }
        Some(Entry {
            operation: match &*self.operation {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            },
            manager: self.manager.into_owned(),
            api_version: self.api_version.into_owned(),
            subresource: self.subresource.into_owned(),
            time: self.time.map(Cow::into_owned),
            fields: self.fields.unwrap_or_default().into_owned(),
        })
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagedFields {
    entries: Vec<Entry>,
}

impl ManagedFields {
    /// Reads `metadata.managedFields`, packed or not; `None` if it cannot be read. Nothing is no
    /// managers.
    pub fn decode(value: Option<&Value>) -> Option<Self> {
        let written: Vec<Written<'_>> = match value {
            None | Some(Value::Null) => return Some(Self::default()),
            Some(Value::String(packed)) => serde_json::from_str(packed).ok()?,
            Some(list) => Deserialize::deserialize(list).ok()?,
        };
        let entries = written.into_iter().map(Written::entry);
        Some(Self {
            entries: entries.collect::<Option<_>>()?,
        })
    }

    /// Writes them as [packed](super::packed) text: who applies first, then by time and name.
    pub(super) fn pack(&self) -> Value {
        let mut entries: Vec<&Entry> = self.entries.iter().collect();
        entries.sort_by(|a, b| a.place().cmp(&b.place()));
        let written: Vec<Written<'_>> = entries.into_iter().map(Written::from).collect();
        let text = serde_json::to_string(&written).expect("names of fields are text");
        Value::String(text)
    }

    /// Whether both say the same but for the times.
    pub(super) fn same_but_times(mut self, mut other: Self) -> bool {
        for managers in [&mut self, &mut other] {
            for entry in &mut managers.entries {
                entry.time = None;
            }
            managers.entries.sort_by(|a, b| a.place().cmp(&b.place()));
        }
        self == other
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
