//! Reading and filling objects that are plain JSON: how the rules reach a field by its path.
//!
//! Absent and `null` are the same; a value of another type than asked for counts as absent, because
//! types were checked when the object was decoded.

use serde_json::{Map, Value};

/// Reading by a path of field names, `spec.template.metadata`.
pub(crate) trait Read {
    /// The value, unless absent or null.
    fn at(&self, path: &str) -> Option<&Value>;

    /// A string, empty when absent.
    fn text(&self, path: &str) -> &str {
        self.at(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// An integer.
    fn integer(&self, path: &str) -> Option<i64> {
        self.at(path).and_then(Value::as_i64)
    }

    /// A boolean, false when absent.
    fn flag(&self, path: &str) -> bool {
        self.at(path).and_then(Value::as_bool).unwrap_or_default()
    }

    /// A list, empty when absent.
    fn list(&self, path: &str) -> &[Value] {
        self.at(path)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// The strings of a list.
    fn texts(&self, path: &str) -> Vec<&str> {
        self.list(path).iter().filter_map(Value::as_str).collect()
    }

    /// The entries of a map, none when absent.
    fn map<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.at(path)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    /// Whether the value is absent, an empty string, list or map.
    fn lacks(&self, path: &str) -> bool {
        match self.at(path) {
            None => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            Some(_) => false,
        }
    }
}

impl Read for Value {
    fn at(&self, path: &str) -> Option<&Value> {
        let value = path
            .split('.')
            .try_fold(self, |value, name| value.get(name))?;
        (!value.is_null()).then_some(value)
    }
}

/// Filling in by a path of field names.
pub(crate) trait Fill {
    /// The object at the path, made when it is absent. `None` when something else is in the way.
    fn object(&mut self, path: &str) -> Option<&mut Map<String, Value>>;

    /// Sets a field when it is absent, null or an empty string.
    fn fill(&mut self, path: &str, value: impl Into<Value>);

    /// Sets a field.
    fn put(&mut self, path: &str, value: impl Into<Value>);

    /// Removes a field, and answers with what it was.
    fn take_field(&mut self, path: &str) -> Option<Value>;

    /// The entries of a list, none when absent.
    fn items(&mut self, path: &str) -> &mut [Value];

    /// The value at the path, if it is there.
    fn inner(&mut self, path: &str) -> Option<&mut Value>;
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

impl Fill for Value {
    fn object(&mut self, path: &str) -> Option<&mut Map<String, Value>> {
        let mut value = self;
        for name in path.split('.').filter(|name| !name.is_empty()) {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            value = value.as_object_mut()?.entry(name).or_insert(Value::Null);
        }
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        value.as_object_mut()
    }

    fn fill(&mut self, path: &str, value: impl Into<Value>) {
        let (parent, name) = split(path);
        if let Some(fields) = self.object(parent) {
            let field = fields.entry(name).or_insert(Value::Null);
            if field.is_null() || field == "" {
                *field = value.into();
            }
        }
    }

    fn put(&mut self, path: &str, value: impl Into<Value>) {
        let (parent, name) = split(path);
        if let Some(fields) = self.object(parent) {
            fields.insert(name.to_owned(), value.into());
        }
    }

    fn take_field(&mut self, path: &str) -> Option<Value> {
        let (parent, name) = split(path);
        let parent = if parent.is_empty() {
            Some(self)
        } else {
            self.inner(parent)
        };
        parent?.as_object_mut()?.remove(name)
    }

    fn items(&mut self, path: &str) -> &mut [Value] {
        match self.inner(path) {
            Some(Value::Array(items)) => items,
            _ => &mut [],
        }
    }

    fn inner(&mut self, path: &str) -> Option<&mut Value> {
        let value = path
            .split('.')
            .try_fold(self, |value, name| value.get_mut(name))?;
        (!value.is_null()).then_some(value)
    }
}

/// `text`, or `other` when it is empty.
pub(crate) fn text_or<'a>(text: &'a str, other: &'a str) -> &'a str {
    if text.is_empty() { other } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_absent_and_the_wrong_type_too() {
        let object = json!({"a": {"b": null, "c": 1}});
        assert!(object.at("a.b").is_none() && object.lacks("a.b"));
        assert_eq!(object.text("a.c"), "");
        assert_eq!(object.integer("a.c"), Some(1));
    }

    #[test]
    fn filling_keeps_what_is_there_and_makes_the_way() {
        let mut object = json!({"a": {"x": "kept", "y": ""}});
        object.fill("a.x", "new");
        object.fill("a.y", "filled");
        object.fill("b.c.d", 1);
        assert_eq!(
            object,
            json!({"a": {"x": "kept", "y": "filled"}, "b": {"c": {"d": 1}}})
        );
        assert_eq!(object.take_field("b.c.d"), Some(json!(1)));
    }
}
