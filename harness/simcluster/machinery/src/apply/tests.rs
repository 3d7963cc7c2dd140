//! The promises of managed fields and server-side apply.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::arbitrary;
use crate::kind::GroupVersionKind;
use crate::schema::{self, Schema, builtin};

fn builtin(group: &str, kind: &str) -> ObjectType {
    ObjectType::Builtin(builtin::schema(&GroupVersionKind::new(group, "v1", kind)).unwrap())
}

fn rack() -> ObjectType {
    let schema = Schema::from_openapi(&json!({"type": "object", "properties": {"spec": {
        "type": "object", "properties": {
            "slots": {
                "type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "properties": {
                    "id": {"type": "string"}, "size": {"type": "integer"}
                }}
            },
            "tags": {
                "type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}
            },
            "order": {"type": "array", "items": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}
        }
    }}}));
    ObjectType::Custom(schema::custom_object(&schema))
}

fn writer<'a>(manager: &'a str, version: &'a str, reset: &'a FieldSet) -> Writer<'a> {
    Writer {
        manager,
        subresource: "",
        api_version: version,
        time: "2024-01-01T00:00:00Z",
        reset,
    }
}

fn applied(
    live: Option<&Value>,
    configuration: &Value,
    object: &ObjectType,
    manager: &str,
    force: bool,
) -> Result<Value, ApplyError> {
    let reset = FieldSet::default();
    let version = configuration["apiVersion"].as_str().unwrap().to_owned();
    apply(
        live,
        configuration,
        object,
        &writer(manager, &version, &reset),
        force,
    )
}

/// As clients see them.
fn managers(object: &Value) -> Value {
    packed::unpacked(object)["metadata"]["managedFields"].clone()
}

fn fields_of(object: &Value, manager: &str) -> Value {
    let entries = managers(object);
    let entries = entries.as_array().unwrap();
    let entry = entries.iter().find(|entry| entry["manager"] == manager);
    entry.map_or(Value::Null, |entry| entry["fieldsV1"].clone())
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": data})
}

#[test]
fn a_create_owns_all_it_sets() {
    let object = builtin("", "ConfigMap");
    let mut new = config_map(&json!({"a": "b"}));
    update(
        None,
        &mut new,
        &object,
        &writer("painter", "v1", &FieldSet::default()),
    );
    assert_eq!(
        managers(&new),
        json!([{
            "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "painter",
            "operation": "Update", "time": "2024-01-01T00:00:00Z",
            "fieldsV1": {"f:data": {".": {}, "f:a": {}}}
        }])
    );

    let live = new.clone();
    let mut new = config_map(&json!({"a": "b", "c": "d"}));
    update(
        Some(&live),
        &mut new,
        &object,
        &writer("explicit", "v1", &FieldSet::default()),
    );
    assert_eq!(fields_of(&new, "explicit"), json!({"f:data": {"f:c": {}}}));
    assert_eq!(
        fields_of(&new, "painter"),
        json!({"f:data": {".": {}, "f:a": {}}})
    );
}

#[test]
fn structs_that_go_always_writes_are_nobodys() {
    let object = builtin("apps", "Deployment");
    let ObjectType::Builtin(schema) = &object else {
        unreachable!()
    };
    let new = json!({
        "metadata": {"name": "v"},
        "spec": {
            "replicas": 0, "selector": {"matchLabels": {"a": "b"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "one", "image": "x", "resources": {}}]}
            }
        }
    });
    let mut new = decode::typed_value(new, schema).unwrap().value;
    update(
        None,
        &mut new,
        &object,
        &writer("apidiff", "apps/v1", &FieldSet::of(&[&["status"]])),
    );
    assert_eq!(
        fields_of(&new, "apidiff"),
        json!({"f:spec": {
            "f:replicas": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"one\"}": {
                    ".": {}, "f:image": {}, "f:name": {}, "f:resources": {}
                }}}
            }
        }})
    );
}

#[test]
fn an_apply_owns_what_it_names() {
    let object = builtin("", "ConfigMap");
    let mut configuration = config_map(&json!({"x": "1"}));
    configuration["metadata"]["labels"] = json!({"a": "1"});
    let created = applied(None, &configuration, &object, "alpha", false).unwrap();
    assert_eq!(created["data"], json!({"x": "1"}));
    assert_eq!(
        fields_of(&created, "alpha"),
        json!({"f:data": {"f:x": {}}, "f:metadata": {"f:labels": {"f:a": {}}}})
    );
    let again = applied(Some(&created), &configuration, &object, "alpha", false).unwrap();
    assert_eq!(again, created);
}

#[test]
fn a_field_of_another_manager_is_a_conflict_unless_forced_or_the_same() {
    let object = builtin("", "ConfigMap");
    let configuration = config_map(&json!({"x": "1", "y": "1"}));
    let live = applied(None, &configuration, &object, "alpha", false).unwrap();
    let other = config_map(&json!({"x": "2"}));
    let error = applied(Some(&live), &other, &object, "beta", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"alpha\": .data.x"
    );
    let status = error.status();
    assert_eq!(status.code, 409);
    assert_eq!(status.details.unwrap().causes[0].field, ".data.x");

    let forced = applied(Some(&live), &other, &object, "beta", true).unwrap();
    assert_eq!(forced["data"], json!({"x": "2", "y": "1"}));
    assert_eq!(fields_of(&forced, "alpha"), json!({"f:data": {"f:y": {}}}));
    assert_eq!(fields_of(&forced, "beta"), json!({"f:data": {"f:x": {}}}));

    let same = config_map(&json!({"x": "1"}));
    let shared = applied(Some(&live), &same, &object, "beta", false).unwrap();
    assert_eq!(fields_of(&shared, "beta"), json!({"f:data": {"f:x": {}}}));
    assert_eq!(shared["data"], json!({"x": "1", "y": "1"}));
}

#[test]
fn an_updater_is_named_with_its_version() {
    let object = builtin("", "ConfigMap");
    let mut live = config_map(&json!({"x": "1"}));
    update(
        None,
        &mut live,
        &object,
        &writer("editor", "v1", &FieldSet::default()),
    );
    let other = config_map(&json!({"x": "2"}));
    let error = applied(Some(&live), &other, &object, "beta", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.x"
    );
}

#[test]
fn fields_no_longer_applied_are_removed_unless_somebody_else_owns_them() {
    let object = builtin("", "ConfigMap");
    let configuration = config_map(&json!({"x": "1", "y": "2"}));
    let live = applied(None, &configuration, &object, "alpha", false).unwrap();
    let fewer = config_map(&json!({"y": "2"}));
    let result = applied(Some(&live), &fewer, &object, "alpha", false).unwrap();
    assert_eq!(result["data"], json!({"y": "2"}));

    let shared = applied(
        Some(&live),
        &config_map(&json!({"x": "1"})),
        &object,
        "beta",
        false,
    );
    let result = applied(Some(&shared.unwrap()), &fewer, &object, "alpha", false).unwrap();
    assert_eq!(result["data"], json!({"x": "1", "y": "2"}));
    assert_eq!(fields_of(&result, "alpha"), json!({"f:data": {"f:y": {}}}));

    let mut nothing = config_map(&Value::Null);
    nothing.as_object_mut().unwrap().remove("data");
    let result = applied(Some(&live), &nothing, &object, "alpha", false).unwrap();
    assert_eq!(result.get("data"), None);
    assert_eq!(result["metadata"].get("managedFields"), None);
}

#[test]
fn list_types_of_custom_resources_are_honoured() {
    let object = rack();
    let configuration = |spec: Value| json!({"apiVersion": "x/v1", "kind": "Rack", "metadata": {"name": "r"}, "spec": spec});
    let first = configuration(json!({
        "slots": [{"id": "a", "size": 1}], "tags": ["x"], "order": ["one", "two"]
    }));
    let live = applied(None, &first, &object, "alpha", false).unwrap();
    assert_eq!(
        fields_of(&live, "alpha"),
        json!({"f:spec": {
            "f:order": {},
            "f:slots": {"k:{\"id\":\"a\"}": {".": {}, "f:id": {}, "f:size": {}}},
            "f:tags": {"v:\"x\"": {}}
        }})
    );
    let second = configuration(json!({"slots": [{"id": "b", "size": 2}], "tags": ["y"]}));
    let live = applied(Some(&live), &second, &object, "beta", false).unwrap();
    assert_eq!(
        live["spec"],
        json!({
            "slots": [{"id": "a", "size": 1}, {"id": "b", "size": 2}], "tags": ["x", "y"],
            "order": ["one", "two"]
        })
    );
    let third = configuration(json!({"slots": [{"id": "a", "size": 9}], "order": ["three"]}));
    let error = applied(Some(&live), &third, &object, "beta", false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"alpha\":\n\
         - .spec.order\n- .spec.slots[id=\"a\"].size"
    );
    let fewer = configuration(json!({"tags": ["y", "z"]}));
    let live = applied(Some(&live), &fewer, &object, "beta", false).unwrap();
    assert_eq!(live["spec"]["slots"], json!([{"id": "a", "size": 1}]));
    assert_eq!(live["spec"]["tags"], json!(["x", "y", "z"]));
}

#[test]
fn a_configuration_that_does_not_follow_its_schema_is_refused() {
    for (object, configuration, expected) in [
        (
            builtin("", "ConfigMap"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"},
                   "data": {"n": 5}}),
            "failed to create typed patch object (/bad; /v1, Kind=ConfigMap): .data.n: expected \
             string, got &value.valueUnstructured{Value:5}",
        ),
        (
            builtin("", "Service"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"},
                   "spec": {"prots": [], "ports": [{"port": 1}]}}),
            "failed to create typed patch object (/bad; /v1, Kind=Service): .spec.prots: field \
             not declared in schema",
        ),
        (
            builtin("", "Service"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"},
                   "spec": {"ports": [{"port": 1, "protocol": "TCP"}, {"port": 1}]}}),
            "failed to create typed patch object (/bad; /v1, Kind=Service): .spec.ports: \
             duplicate entries for key [port=1,protocol=\"TCP\"]",
        ),
    ] {
        let error = applied(None, &configuration, &object, "x", false).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.status().code, 500);
    }
}

#[test]
fn keys_with_defaults_need_not_be_given() {
    let object = builtin("apps", "Deployment");
    let configuration = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "df"},
        "spec": {"template": {"spec": {"containers": [
            {"name": "c", "ports": [{"containerPort": 80}], "env": [{"name": "A"}]}
        ]}}}
    });
    let live = applied(None, &configuration, &object, "alpha", false).unwrap();
    let container = &fields_of(&live, "alpha")["f:spec"]["f:template"]["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"];
    assert_eq!(
        container["f:ports"],
        json!({"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}})
    );
}

#[test]
fn managed_fields_in_a_configuration_and_other_versions_are_refused() {
    let object = builtin("", "Secret");
    let mut configuration =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"managedFields": []}});
    let error = applied(None, &configuration, &object, "x", false).unwrap_err();
    assert_eq!(error.to_string(), "metadata.managedFields must be nil");
    configuration["metadata"] = json!({});
    let reset = FieldSet::default();
    let writer = writer("x", "v2", &reset);
    let error = apply(None, &configuration, &object, &writer, false).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Incorrect version specified in apply patch.")
    );
}

#[test]
fn what_a_door_does_not_let_through_is_not_owned() {
    let object = builtin("batch", "Job");
    let reset = FieldSet::of(&[&["spec"]]);
    let door = Writer {
        subresource: "status",
        ..writer("reporter", "batch/v1", &reset)
    };
    let live = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "st"},
                      "spec": {"suspend": true}});
    let configuration = json!({"apiVersion": "batch/v1", "kind": "Job",
                               "metadata": {"name": "st"}, "spec": {"suspend": true},
                               "status": {"active": 7}});
    let result = apply(Some(&live), &configuration, &object, &door, false).unwrap();
    let entry = &managers(&result)[0];
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:active": {}}}));
}

#[test]
fn the_oldest_updaters_are_folded_into_one() {
    let object = builtin("", "ConfigMap");
    let mut live = config_map(&json!({"k": "0"}));
    let reset = FieldSet::default();
    for number in 0..14 {
        let mut new = live.clone();
        new["data"][format!("k{number}")] = json!("x");
        let (name, time) = (
            format!("m{number:02}"),
            format!("2024-01-01T00:00:{number:02}Z"),
        );
        let door = Writer {
            time: &time,
            ..writer(&name, "v1", &reset)
        };
        update(Some(&live), &mut new, &object, &door);
        live = new;
    }
    let managed = ManagedFields::decode(live.pointer("/metadata/managedFields")).unwrap();
    assert_eq!(managed.entries().len(), 10);
    assert!(
        managed
            .entries()
            .iter()
            .any(|entry| entry.manager == "ancient-changes")
    );
    assert_eq!(
        fields_of(&live, "ancient-changes")["f:data"]
            .as_object()
            .unwrap()
            .len(),
        5,
        "{live}"
    );
}

#[test]
fn managed_fields_can_be_reset_and_are_otherwise_kept() {
    let object = builtin("", "ConfigMap");
    let reset = FieldSet::default();
    let mut live = config_map(&json!({"a": "1"}));
    update(None, &mut live, &object, &writer("one", "v1", &reset));
    let mut silent = config_map(&json!({"a": "1"}));
    update(
        Some(&live),
        &mut silent,
        &object,
        &writer("two", "v1", &reset),
    );
    assert_eq!(silent, live);
    let mut cleared = live.clone();
    cleared["metadata"]["managedFields"] = json!([]);
    update(
        Some(&live),
        &mut cleared,
        &object,
        &writer("two", "v1", &reset),
    );
    assert_eq!(cleared["metadata"].get("managedFields"), None);
}

#[test]
fn a_write_without_effect_keeps_its_times() {
    let object = builtin("", "ConfigMap");
    let configuration = config_map(&json!({"a": "1"}));
    let reset = FieldSet::default();
    let live = applied(None, &configuration, &object, "alpha", false).unwrap();
    let mut new = live.clone();
    packed::unpack(&mut new);
    new["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    keep_times_if_same(&live, &mut new);
    assert_eq!(new, live);
    let _ = reset;
}

#[test]
fn packed_managers_are_read_as_the_list_that_they_are() {
    let object = builtin("", "ConfigMap");
    let configuration = config_map(&json!({"a": "1"}));
    let kept = applied(None, &configuration, &object, "alpha", false).unwrap();
    let mut shown = kept.clone();
    packed::unpack(&mut shown);
    assert_ne!(shown, kept);
    assert_eq!(shown["metadata"]["managedFields"][0]["manager"], "alpha");
    let read = |object: &Value| ManagedFields::decode(object.pointer("/metadata/managedFields"));
    assert_eq!(read(&kept), read(&shown));
    packed::pack(&mut shown);
    assert_eq!(shown, kept);
}

#[test]
fn what_is_no_list_of_managers_is_not_packed() {
    for managers in [
        json!("f:a"),
        json!([{"operation": "Guess"}]),
        json!({}),
        json!(7),
    ] {
        let mut object = config_map(&json!({}));
        object["metadata"]["managedFields"] = managers;
        let sent = object.clone();
        packed::pack(&mut object);
        assert_eq!(object, sent);
        packed::unpack(&mut object);
        assert_eq!(object, sent);
    }
}

#[test]
fn what_kubectl_applied_from_its_side_is_no_conflict() {
    let object = builtin("", "ConfigMap");
    let mut live = config_map(&json!({"a": "1"}));
    let last = live.to_string();
    live["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    update(
        None,
        &mut live,
        &object,
        &writer("kubectl-client-side-apply", "v1", &FieldSet::default()),
    );
    let other = config_map(&json!({"a": "2"}));
    assert!(applied(Some(&live), &other, &object, "somebody", false).is_err());
    let result = applied(Some(&live), &other, &object, "kubectl", false).unwrap();
    assert_eq!(result["data"], json!({"a": "2"}));
}

fn with_meta(spec: impl Into<Value>) -> Value {
    let spec = spec.into();
    json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": spec})
}

/// A spec of the rack, whose lists have no entry twice.
fn rack_spec() -> impl Strategy<Value = Value> {
    let slots = prop::collection::btree_map("[a-d]", 0..3_i32, 0..4).prop_map(|slots| {
        let slot = |(id, size)| json!({"id": id, "size": size});
        Value::Array(slots.into_iter().map(slot).collect())
    });
    let tags = prop::collection::btree_set("[a-d]", 0..4).prop_map(|tags| json!(tags));
    (slots, tags, arbitrary::object_without_nulls())
        .prop_map(|(slots, tags, open)| json!({"slots": slots, "tags": tags, "open": open}))
}

proptest! {
    #[test]
    fn applying_the_same_again_changes_nothing(spec in rack_spec(), other in rack_spec()) {
        let object = rack();
        let live = applied(None, &with_meta(other), &object, "other", false).unwrap();
        let once = applied(Some(&live), &with_meta(spec.clone()), &object, "me", true).unwrap();
        let twice = applied(Some(&once), &with_meta(spec), &object, "me", false).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn a_sole_applier_gets_exactly_what_it_last_said(first in rack_spec(), then in rack_spec()) {
        let object = rack();
        let live = applied(None, &with_meta(first), &object, "me", false).unwrap();
        let live = applied(Some(&live), &with_meta(then.clone()), &object, "me", false).unwrap();
        let fresh = applied(None, &with_meta(then), &object, "me", false).unwrap();
        let comparison = Comparison::of(&fresh["spec"], &live["spec"], Type::Deduced);
        // Order of entries and empty leftovers aside, nothing of the first is there any more.
        let left = fields::set_of(&live, object.root());
        let wanted = fields::set_of(&fresh, object.root());
        prop_assert_eq!(left.difference(&wanted), FieldSet::default(), "{:?}", comparison);
        prop_assert_eq!(fields_of(&live, "me"), fields_of(&fresh, "me"));
    }

    #[test]
    fn what_others_own_survives(mine in rack_spec(), theirs in rack_spec()) {
        let object = rack();
        let live = applied(None, &with_meta(theirs), &object, "they", false).unwrap();
        let both = applied(Some(&live), &with_meta(mine), &object, "me", true).unwrap();
        let rest = applied(Some(&both), &with_meta(json!({})), &object, "me", false).unwrap();
        let there = fields::set_of(&rest, object.root());
        let managed = ManagedFields::decode(both.pointer("/metadata/managedFields")).unwrap();
        for entry in managed.entries().iter().filter(|entry| entry.manager == "they") {
            let mut missing = Vec::new();
            entry.fields.for_each(&mut |path| {
                let named = there.has(path) || there.with_named_fields(object.root()).has(path);
                if !named {
                    missing.push(path::display(path));
                }
            });
            prop_assert!(missing.is_empty(), "{missing:?} in {rest}");
        }
    }

    #[test]
    fn owners_together_own_what_they_said(one in rack_spec(), two in rack_spec()) {
        let object = rack();
        let said = |spec: &Value| {
            let all = fields::set_of(&with_meta(spec.clone()), object.root());
            all.difference(set::never_managed())
        };
        let live = applied(None, &with_meta(one.clone()), &object, "one", false).unwrap();
        let both = applied(Some(&live), &with_meta(two.clone()), &object, "two", true).unwrap();
        let managed = ManagedFields::decode(both.pointer("/metadata/managedFields")).unwrap();
        let owned = managed.all_fields();
        let beyond = owned.difference(&said(&one).union(&said(&two)));
        prop_assert_eq!(beyond, FieldSet::default(), "nobody owns what nobody said");
        let lost = said(&two).difference(&owned);
        prop_assert_eq!(lost, FieldSet::default(), "who forces owns all that it said");
    }

    #[test]
    fn sets_of_fields_are_read_as_they_are_written(spec in rack_spec()) {
        let object = rack();
        let set = fields::set_of(&with_meta(spec), object.root());
        let text = serde_json::to_string(&set).unwrap();
        prop_assert_eq!(&serde_json::from_str::<FieldSet>(&text).unwrap(), &set);
        let tree = serde_json::to_value(&set).unwrap();
        prop_assert_eq!(&serde_json::from_value::<FieldSet>(tree).unwrap(), &set);
    }

    #[test]
    fn objects_without_a_schema_never_panic(
        live in arbitrary::object(), configuration in arbitrary::object(),
    ) {
        let mut new = with_meta(configuration.clone());
        let live = with_meta(live);
        let writer = FieldSet::default();
        let writer = self::writer("me", "x/v1", &writer);
        update(Some(&live), &mut new, &ObjectType::Untyped, &writer);
        let _ = apply(Some(&new), &with_meta(configuration), &ObjectType::Untyped, &writer, false);
    }
}
