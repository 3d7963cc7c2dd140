//! The printer columns of a custom resource.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::jsonpath::{self, JsonPath};

/// One column.
#[derive(Debug)]
pub(super) struct Column {
    name: String,
    kind: String,
    format: String,
    priority: i64,
    path: Option<JsonPath>,
}

/// The columns of a version: the name, and what the definition says, or else the age.
pub(super) fn read(version: &Value) -> Vec<Column> {
    let mut columns = vec![Column {
        name: "Name".to_owned(),
        kind: "string".to_owned(),
        format: "name".to_owned(),
        priority: 0,
        path: JsonPath::parse(".metadata.name").ok(),
    }];
    let given = version["additionalPrinterColumns"].as_array();
    if given.is_none_or(Vec::is_empty) {
        columns.push(Column {
            name: "Age".to_owned(),
            kind: "date".to_owned(),
            format: String::new(),
            priority: 0,
            path: JsonPath::parse(".metadata.creationTimestamp").ok(),
        });
        return columns;
    }
    for column in given.into_iter().flatten() {
        let text = |field: &str| column[field].as_str().unwrap_or_default().to_owned();
        columns.push(Column {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            priority: column["priority"].as_i64().unwrap_or(0),
            path: JsonPath::parse(&text("jsonPath")).ok(),
        });
    }
    columns
}

impl Column {
    pub(super) fn definition(&self) -> Value {
        json!({
            "name": self.name, "type": self.kind, "format": self.format,
            "description": "", "priority": self.priority,
        })
    }

    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let value = self.path.as_ref().and_then(|path| path.first(object));
        if self.kind == "date" {
            // A date that is missing or none is shown as the real one shows it.
            let text = value.and_then(Value::as_str);
            return match text {
                None => Value::Null,
                Some(text) if text.parse::<Timestamp>().is_err() => "<invalid>".into(),
                Some(text) => simcluster_kinds::table::since(text, now).into(),
            };
        }
        jsonpath::cell(&self.kind, value)
    }
}
