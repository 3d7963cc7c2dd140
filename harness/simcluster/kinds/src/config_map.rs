//! ConfigMap, and the keys and sizes that it shares with Secret.

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::complain;
use crate::read::Read;
use crate::rules::KindRules;
use crate::table::{self, AGE, Column, NAME, Row};

/// All values of a ConfigMap or a Secret together.
pub(crate) const SIZE_LIMIT: usize = 1024 * 1024;
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

pub(crate) struct ConfigMap;

impl KindRules for ConfigMap {
    fn validate_create(&self, map: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let mut size = 0;
        for (key, value) in map.map("data") {
            let path = Path::new("data").key(key);
            complain(&mut errors, &path, key, name::config_map_key(key));
            if map.map("binaryData").any(|(other, _)| other == key) {
                let detail = "duplicate of key present in binaryData";
                errors.push(Error::invalid(&path, key.as_str(), detail));
            }
            size += value.as_str().unwrap_or_default().len();
        }
        for (key, value) in map.map("binaryData") {
            let path = Path::new("binaryData").key(key);
            complain(&mut errors, &path, key, name::config_map_key(key));
            size += decoded_length(value);
        }
        if size > SIZE_LIMIT {
            errors.push(Error::too_long(&Path::new("[]"), SIZE_LIMIT));
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        keep_immutable(new, old, &["data", "binaryData"], &mut errors);
        errors
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, Column::text("Data"), AGE] }
    }

    fn row(&self, map: &Value, now: Timestamp) -> Row {
        let count = map.map("data").count() + map.map("binaryData").count();
        Row::new(vec![table::name(map), json!(count), table::age(map, now)])
    }
}

/// How many bytes a base64 text stands for.
pub(crate) fn decoded_length(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// What is immutable stays so, and its data too.
pub(crate) fn keep_immutable(new: &Value, old: &Value, data: &[&str], errors: &mut Vec<Error>) {
    if !old.flag("immutable") {
        return;
    }
    if !new.flag("immutable") {
        errors.push(Error::forbidden(&Path::new("immutable"), IMMUTABLE));
    }
    for field in data {
        let same = match (new.lacks(field), old.lacks(field)) {
            (true, true) => true,
            _ => new.at(field) == old.at(field),
        };
        if !same {
            errors.push(Error::forbidden(&Path::new(field), IMMUTABLE));
        }
    }
}
