//! JSON patches (RFC 6902): operations in order, all of them or none.

use json_patch::{PatchErrorKind, PatchOperation};
use serde_json::{Map, Value};

use super::{MAX_JSON_PATCH_OPERATIONS, PatchError};
use crate::decode::{self, Problem};
use crate::go;

/// A JSON patch that could be read; whether its operations make sense shows when it is applied.
#[derive(Clone, Debug)]
pub struct JsonPatch {
    operations: Vec<Value>,
}

/// Reads the body of a JSON patch. Members that an operation does not know are reported, as a
/// body's unknown fields are.
pub fn parse(body: &[u8]) -> Result<(JsonPatch, Vec<Problem>), PatchError> {
    let malformed = |why: String| PatchError::Malformed(format!("error decoding patch: {why}"));
    let decoded = decode::untyped(body).map_err(|error| malformed(error.to_string()))?;
    let mut problems = decoded.problems;
    let operations = match decoded.value {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => {
            return Err(malformed(format!(
                "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                go::json_kind(&other)
            )));
        }
    };
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, \
             got {}",
            operations.len()
        )));
    }
    for (index, operation) in operations.iter().enumerate() {
        let Value::Object(members) = operation else {
            return Err(malformed(format!(
                "json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
                go::json_kind(operation)
            )));
        };
        for (name, value) in members {
            match name.as_str() {
                "op" | "path" | "from" if !value.is_string() && !value.is_null() => {
                    return Err(malformed(format!(
                        "json: cannot unmarshal {} into Go struct field jsonPatchOp.{name} of \
                         type string",
                        go::json_kind(value)
                    )));
                }
                "op" | "path" | "from" | "value" => {}
                _ => problems.push(Problem::Unknown(format!("[{index}].{name}"))),
            }
        }
    }
    let problems = problems.into_iter().map(Box::new);
    Ok((
        JsonPatch { operations },
        problems.map(Problem::JsonPatch).collect(),
    ))
}

impl JsonPatch {
    /// Whether an operation names the field, something in it or something around it.
    pub fn touches(&self, field: &str) -> bool {
        let places = self.operations.iter().flat_map(|operation| {
            ["path", "from"].map(|name| operation.get(name).and_then(Value::as_str))
        });
        let within = |inner: &str, outer: &str| {
            let rest = inner.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        places
            .flatten()
            .any(|place| within(place, field) || within(field, place))
    }

    /// Applies all operations, or leaves the object as it is.
    pub fn apply(&self, target: &mut Value) -> Result<(), PatchError> {
        let mut patched = target.clone();
        for operation in &self.operations {
            if tests_for_nothing(operation, &patched) {
                continue;
            }
            let operation = known(operation, &patched)
                .ok_or_else(|| PatchError::DoesNotFit("unknown operation".to_owned()))?;
            json_patch::patch(&mut patched, &[operation]).map_err(|error| match error.kind {
                PatchErrorKind::TestFailed => PatchError::TestFailed(error.to_string()),
                _ => PatchError::DoesNotFit(error.to_string()),
            })?;
        }
        *target = patched;
        Ok(())
    }
}

/// A test for null also holds where there is nothing, which the API allows beyond the RFC.
fn tests_for_nothing(operation: &Value, target: &Value) -> bool {
    let text = |name: &str| operation.get(name).and_then(Value::as_str);
    let nothing = operation.get("value").is_none_or(Value::is_null);
    let parent = text("path").and_then(|path| path.rsplit_once('/'));
    let absent = parent.is_some_and(|(parent, name)| {
        let name = name.replace("~1", "/").replace("~0", "~");
        let parent = target.pointer(parent).and_then(Value::as_object);
        parent.is_some_and(|parent| !parent.contains_key(&name))
    });
    text("op") == Some("test") && nothing && absent
}

/// An operation as the RFC has it. An index below zero counts from the end, which the API allows
/// beyond the RFC.
fn known(operation: &Value, target: &Value) -> Option<PatchOperation> {
    let mut operation: Map<String, Value> = operation.as_object()?.clone();
    for name in ["path", "from"] {
        let Some(Value::String(pointer)) = operation.get(name) else {
            continue;
        };
        if pointer.contains("/-") {
            let resolved = from_the_end(pointer, target);
            operation.insert(name.to_owned(), Value::String(resolved));
        }
    }
    // An operation without a value means null.
    if matches!(operation.get("op")?.as_str()?, "add" | "replace" | "test") {
        operation.entry("value").or_insert(Value::Null);
    }
    serde_json::from_value(Value::Object(operation)).ok()
}

fn from_the_end(pointer: &str, target: &Value) -> String {
    let mut resolved = String::new();
    for part in pointer.split('/').skip(1) {
        let items = target.pointer(&resolved).and_then(Value::as_array);
        let back = part
            .strip_prefix('-')
            .and_then(|digits| digits.parse::<usize>().ok());
        let index = items
            .zip(back)
            .and_then(|(items, back)| items.len().checked_sub(back));
        resolved.push('/');
        resolved.push_str(&index.map_or_else(|| part.to_owned(), |index| index.to_string()));
    }
    resolved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::arbitrary;

    fn patched(target: Value, patch: &Value) -> Result<Value, PatchError> {
        let mut target = target;
        let (patch, _) = parse(patch.to_string().as_bytes())?;
        patch.apply(&mut target)?;
        Ok(target)
    }

    #[test]
    fn operations_apply_in_order() {
        let patch = json!([
            {"op": "test", "path": "/data/x", "value": "1"},
            {"op": "add", "path": "/data/z", "value": "3"},
            {"op": "move", "from": "/data/y", "path": "/data/w"},
            {"op": "copy", "from": "/data/x", "path": "/data/v"},
            {"op": "replace", "path": "/data/x", "value": "9"},
            {"op": "remove", "path": "/labels/a"},
        ]);
        let result = patched(
            json!({"data": {"x": "1", "y": "2"}, "labels": {"a": "1"}}),
            &patch,
        );
        assert_eq!(
            result.unwrap(),
            json!({"data": {"v": "1", "w": "2", "x": "9", "z": "3"}, "labels": {}})
        );
    }

    #[test]
    fn an_operation_that_does_not_fit_leaves_the_object_alone() {
        for operation in [
            json!({"op": "test", "path": "/a", "value": 2}),
            json!({"op": "remove", "path": "/absent"}),
            json!({"op": "explode", "path": "/a"}),
            json!({"op": "replace", "path": "/absent", "value": 1}),
            json!({"path": "/a"}),
        ] {
            let patch = json!([{"op": "add", "path": "/b", "value": 1}, operation]);
            let mut target = json!({"a": 1});
            let (patch, _) = parse(patch.to_string().as_bytes()).unwrap();
            let error = patch.apply(&mut target).unwrap_err();
            assert_eq!(error.status().code, 422);
            assert_eq!(target, json!({"a": 1}));
        }
    }

    #[test]
    fn a_patch_that_is_no_list_is_malformed() {
        let error = parse(b"{\"not\": \"a list\"}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "error decoding patch: json: cannot unmarshal object into Go value of type \
             []handlers.jsonPatchOp"
        );
        assert_eq!(error.status().code, 400);
    }

    #[test]
    fn a_test_for_null_holds_where_there_is_nothing() {
        let patch = json!([{"op": "test", "path": "/absent", "value": null}]);
        assert!(patched(json!({"a": 1}), &patch).is_ok());
        let patch = json!([{"op": "test", "path": "/a", "value": null}]);
        assert!(patched(json!({"a": 1}), &patch).is_err());
    }

    #[test]
    fn negative_indices_count_from_the_end() {
        let patch = json!([{"op": "remove", "path": "/l/-1"}]);
        assert_eq!(
            patched(json!({"l": [1, 2]}), &patch).unwrap(),
            json!({"l": [1]})
        );
        let patch = json!([{"op": "add", "path": "/l/-", "value": 3}]);
        assert_eq!(
            patched(json!({"l": [1]}), &patch).unwrap(),
            json!({"l": [1, 3]})
        );
    }

    proptest! {
        #[test]
        fn no_patch_panics(target in arbitrary::object(), patch in arbitrary::value()) {
            let _ = patched(target, &json!([patch]));
        }

        #[test]
        fn a_difference_makes_one_of_the_other(
            from in arbitrary::object(), to in arbitrary::object(),
        ) {
            let there = json_patch::diff(&from, &to);
            let patch = serde_json::to_value(&there).expect("patches are JSON");
            prop_assert_eq!(patched(from, &patch).unwrap(), to);
        }

        #[test]
        fn a_patch_whose_last_test_fails_changes_nothing(
            from in arbitrary::object(), to in arbitrary::object(),
        ) {
            let there = json_patch::diff(&from, &to);
            let mut patch = serde_json::to_value(&there).expect("patches are JSON");
            let fails = json!({"op": "test", "path": "", "value": "no object"});
            patch.as_array_mut().expect("a patch is a list").push(fails);
            let (patch, _) = parse(patch.to_string().as_bytes()).unwrap();
            let mut target = from.clone();
            prop_assert!(patch.apply(&mut target).is_err_and(|error| error.is_failed_test()));
            prop_assert_eq!(target, from);
        }

        #[test]
        fn adding_and_removing_is_doing_nothing(
            target in arbitrary::object(), value in arbitrary::value(),
        ) {
            let patch = json!([
                {"op": "add", "path": "/brand~1new", "value": value},
                {"op": "test", "path": "/brand~1new", "value": value},
                {"op": "remove", "path": "/brand~1new"},
            ]);
            prop_assert_eq!(patched(target.clone(), &patch).unwrap(), target);
        }
    }
}
