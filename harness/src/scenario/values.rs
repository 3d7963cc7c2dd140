//! What scenarios find as `$values`: files, and single values over them, as helm and chainsaw take them.

use std::path::PathBuf;

use serde_json::{Map, Value};

use super::parse;
use crate::Failure;

/// Files over one another, then `path=value` pairs, then those whose value is text whatever it looks like.
pub fn load(files: &[PathBuf], set: &[String], set_text: &[String]) -> Result<Value, Failure> {
    let mut values = Value::Object(Map::new());
    for file in files {
        for document in parse::documents::<Value>(file, &parse::read(file)?)? {
            if !document.is_object() {
                return Err(format!("{}: values are names with values", file.display()).into());
            }
            merge(&mut values, document);
        }
    }
    for (pairs, is_text) in [(set, false), (set_text, true)] {
        for pair in pairs {
            let (path, text) = path_and_value(pair)?;
            let value = if is_text {
                text.into()
            } else {
                serde_yaml::from_str(text).map_err(|error| format!("{pair:?}: {error}"))?
            };
            let nested = path.rsplit('.').fold(value, |inner, part| {
                Value::Object(Map::from_iter([(part.to_owned(), inner)]))
            });
            merge(&mut values, nested);
        }
    }
    Ok(values)
}

/// The parts of `path.to.it=value`.
pub fn path_and_value(pair: &str) -> Result<(&str, &str), String> {
    pair.split_once('=')
        .filter(|(path, _)| path.split('.').all(|part| !part.is_empty()))
        .ok_or_else(|| format!("{pair:?} sets nothing; write path.to.it=value"))
}

/// Objects become one, anything else is replaced.
fn merge(into: &mut Value, over: Value) {
    match (into, over) {
        (Value::Object(into), Value::Object(over)) => {
            for (key, value) in over {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, over) => *into = over,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn single_values_lie_over_files_and_text_stays_text() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("values.yaml");
        std::fs::write(&file, "image: {name: a, tag: b}\nn: 1\n").expect("a file");
        let pairs = |pairs: &[&str]| {
            pairs
                .iter()
                .map(|pair| (*pair).to_owned())
                .collect::<Vec<_>>()
        };
        let found = load(
            &[file],
            &pairs(&["n=2", "x.y=true"]),
            &pairs(&["image.tag=01"]),
        );
        assert_eq!(
            found.expect("values"),
            json!({"image": {"name": "a", "tag": "01"}, "n": 2, "x": {"y": true}})
        );
        assert!(load(&[], &pairs(&["novalue"]), &[]).is_err());
    }
}
