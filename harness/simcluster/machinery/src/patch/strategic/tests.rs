//! The promises of strategic merge patches.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::arbitrary;
use crate::kind::GroupVersionKind;
use crate::schema::builtin;

fn deployment() -> SchemaRef {
    builtin::schema(&GroupVersionKind::new("apps", "v1", "Deployment")).unwrap()
}

fn pod_spec(spec: &Value) -> Value {
    json!({"spec": {"template": {"spec": spec}}})
}

fn patched(target: &Value, patch: &Value) -> Result<Value> {
    let result = apply(pod_spec(target), &pod_spec(patch), &deployment())?;
    Ok(result["spec"]["template"]["spec"].clone())
}

#[test]
fn containers_are_merged_by_name_and_keep_their_order() {
    let target = json!({"containers": [
        {"name": "one", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
        {"name": "two"},
    ]});
    let patch = json!({"containers": [{"name": "two", "command": ["sleep"]}, {"name": "three"}]});
    let result = patched(&target, &patch).unwrap();
    assert_eq!(
        result["containers"][1],
        json!({"name": "two", "command": ["sleep"]})
    );
    assert_eq!(result["containers"][2]["name"], "three");

    let patch = json!({"containers": [{"name": "one", "env": [
        {"name": "B", "value": "22"}, {"name": "A", "$patch": "delete"}
    ]}]});
    let result = patched(&target, &patch).unwrap();
    assert_eq!(
        result["containers"][0]["env"],
        json!([{"name": "B", "value": "22"}])
    );

    let patch = json!({"containers": [{"name": "one", "$patch": "delete"}]});
    assert_eq!(
        patched(&target, &patch).unwrap(),
        json!({"containers": [{"name": "two"}]})
    );
}

#[test]
fn replace_stands_for_the_whole_list_or_object() {
    let target = json!({
        "nodeSelector": {"x": "1"}, "containers": [{"name": "one"}, {"name": "two"}]
    });
    let patch = json!({
        "nodeSelector": {"$patch": "replace", "y": "2"},
        "containers": [{"name": "solo"}, {"$patch": "replace"}]
    });
    assert_eq!(
        patched(&target, &patch).unwrap(),
        json!({"nodeSelector": {"y": "2"}, "containers": [{"name": "solo"}]})
    );
}

#[test]
fn an_entry_without_its_merge_key_is_refused() {
    let target = json!({"containers": [{"name": "one"}]});
    let patch = json!({"containers": [{"image": "busybox:1.36"}]});
    let error = patched(&target, &patch).unwrap_err();
    assert_eq!(
        error.to_string(),
        "map: map[image:busybox:1.36] does not contain declared merge key: name"
    );
    assert_eq!(error.status().code, 500);
    let error = apply(
        json!({"metadata": {}}),
        &json!({"metadata": {"$patch": "sideways"}}),
        &deployment(),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "unknown patch type: sideways in map: map[$patch:sideways]"
    );
}

#[test]
fn finalizers_are_a_set_and_new_ones_come_first() {
    let target = json!({"metadata": {"finalizers": ["a"]}});
    let patch = json!({"metadata": {"finalizers": ["b"]}});
    let result = apply(target, &patch, &deployment()).unwrap();
    assert_eq!(result, json!({"metadata": {"finalizers": ["b", "a"]}}));
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}});
    let result = apply(result, &patch, &deployment()).unwrap();
    assert_eq!(result, json!({"metadata": {"finalizers": ["b"]}}));
}

#[test]
fn an_order_in_the_patch_is_followed() {
    let target = json!({"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c", "image": "x"}]
    });
    let result = patched(&target, &patch).unwrap();
    let names: Vec<&str> = result["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["b", "c", "a"]);
    let patch = json!({
        "$setElementOrder/containers": [{"name": "a"}],
        "containers": [{"name": "z"}]
    });
    assert!(
        patched(&target, &patch)
            .unwrap_err()
            .to_string()
            .contains("doesn't match")
    );
}

#[test]
fn retain_keys_drops_the_others() {
    let target = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let result = apply(target, &patch, &deployment()).unwrap();
    assert_eq!(result, json!({"spec": {"strategy": {"type": "Recreate"}}}));
}

#[test]
fn nulls_remove_and_leave_nothing_behind() {
    let target = json!({"nodeSelector": {"x": "1", "y": "2"}});
    let patch = json!({"nodeSelector": {"x": null}, "securityContext": {"runAsUser": null}});
    assert_eq!(
        patched(&target, &patch).unwrap(),
        json!({"nodeSelector": {"y": "2"}, "securityContext": {}})
    );
}

/// Environments of a container: a list that is merged by name.
fn env() -> impl Strategy<Value = Value> {
    prop::collection::btree_map("[a-e]", "[0-9]", 0..5).prop_shuffle_entries()
}

trait Shuffled {
    fn prop_shuffle_entries(self) -> BoxedStrategy<Value>;
}

impl<S> Shuffled for S
where
    S: Strategy<Value = std::collections::BTreeMap<String, String>> + 'static,
{
    fn prop_shuffle_entries(self) -> BoxedStrategy<Value> {
        self.prop_map(|map| map.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
            .prop_map(|entries| {
                let entry = |(name, value)| json!({"name": name, "value": value});
                Value::Array(entries.into_iter().map(entry).collect())
            })
            .boxed()
    }
}

proptest! {
    #[test]
    fn merging_a_list_twice_is_merging_it_once(target in env(), patch in env()) {
        let wrap = |env: &Value| json!({"containers": [{"name": "c", "env": env}]});
        let once = patched(&wrap(&target), &wrap(&patch)).unwrap();
        let twice = patched(&once, &wrap(&patch)).unwrap();
        prop_assert_eq!(&once, &twice);
        let merged = once["containers"][0]["env"].as_array().unwrap();
        for entry in patch.as_array().unwrap() {
            prop_assert!(merged.contains(entry));
        }
    }

    #[test]
    fn no_patch_panics(target in arbitrary::object(), patch in arbitrary::object()) {
        let _ = apply(
            json!({"metadata": {"labels": target}}),
            &json!({"metadata": patch, "spec": patch}),
            &deployment(),
        );
    }
}
