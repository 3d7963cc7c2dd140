//! Merge patches (RFC 7386): objects are merged, `null` removes, everything else replaces.

use serde_json::{Map, Value};

use super::{PatchError, read_object};
use crate::decode::Problem;

/// Reads the body of a merge patch.
pub fn parse(body: &[u8]) -> Result<(Value, Vec<Problem>), PatchError> {
    read_object(body, "error decoding patch: ")
}

/// Applies a patch.
pub fn apply(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else {
        return;
    };
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(_) => apply(target.entry(name.clone()).or_insert(Value::Null), value),
            _ => {
                target.insert(name.clone(), value.clone());
            }
        }
    }
}

/// The smallest patch that makes `to` of `from`.
pub fn diff(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return to.clone();
    };
    let mut patch = Map::new();
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        patch.insert(name.clone(), Value::Null);
    }
    for (name, value) in to {
        match from.get(name) {
            Some(old) if old == value => {}
            Some(old) if old.is_object() && value.is_object() => {
                patch.insert(name.clone(), diff(old, value));
            }
            _ => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(patch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::arbitrary;

    #[test]
    fn null_removes_and_objects_merge() {
        let mut target = json!({"a": 1, "b": {"c": 2, "d": [1]}});
        apply(
            &mut target,
            &json!({"a": null, "b": {"d": [2], "e": {"f": null, "g": 1}}}),
        );
        assert_eq!(target, json!({"b": {"c": 2, "d": [2], "e": {"g": 1}}}));
    }

    #[test]
    fn a_patch_that_is_no_object_is_refused() {
        let error = parse(b"\"just a string\"").unwrap_err();
        assert_eq!(
            error.to_string(),
            "error decoding patch: json: cannot unmarshal string into Go value of type \
             map[string]interface {}"
        );
        let error = parse(b"{\"data\": ").unwrap_err();
        assert_eq!(
            error.to_string(),
            "error decoding patch: unexpected end of JSON input"
        );
    }

    proptest! {
        #[test]
        fn applying_twice_is_applying_once(
            target in arbitrary::object(), patch in arbitrary::object(),
        ) {
            let mut once = target;
            apply(&mut once, &patch);
            let mut twice = once.clone();
            apply(&mut twice, &patch);
            prop_assert_eq!(once, twice);
        }

        #[test]
        fn the_difference_makes_one_of_the_other(
            from in arbitrary::object(), to in arbitrary::object_without_nulls(),
        ) {
            let mut patched = from.clone();
            apply(&mut patched, &diff(&from, &to));
            prop_assert_eq!(patched, to);
        }
    }
}
