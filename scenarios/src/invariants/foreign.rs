//! Objects and finalizers of others are not touched. Pure.
//!
//! Two sources: what objects say of who wrote them (`managedFields`), and, where the operator runs in this
//! process, the very writes that it sent.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt as _};
use mysql_operator::crd::MySQL;
use serde_json::Value;

use crate::requests::Write;

const MANAGER: &str = "mysql-operator";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// What the operator may take off: its own finalizer and that of the operator before it.
const OURS: [&str; 2] = [
    "otus.homework/final-backup",
    "kopf.zalando.org/KopfFinalizerMarker",
];

/// Objects that the operator has written and that do not say that they are its own. An object that is just
/// being taken over is one for the time between two writes, so it is judged at the end.
#[derive(Clone, Debug, Default)]
pub struct Written(BTreeMap<String, String>);

impl Written {
    /// An object as it is now, or was when it went.
    pub fn saw<K: Resource<DynamicType = ()>>(&mut self, object: &K) {
        let uid = object.uid().unwrap_or_default();
        let is_ours = object
            .labels()
            .get(MANAGED_BY)
            .is_some_and(|by| by == MANAGER);
        if is_ours || !is_written_by_us(object) {
            self.0.remove(&uid);
            return;
        }
        let text = format!(
            "I10: the operator has written the {} {}, which is not its own",
            K::kind(&()),
            object.name_any()
        );
        self.0.insert(uid, text);
    }

    /// Those that were left like that.
    pub fn violations(&self) -> Vec<String> {
        self.0.values().cloned().collect()
    }
}

/// The spec of the resource is its user's.
pub fn spec_written(instance: &MySQL) -> Option<String> {
    let written = instance.managed_fields().iter().any(|entry| {
        entry.manager.as_deref() == Some(MANAGER)
            && entry
                .fields_v1
                .as_ref()
                .is_some_and(|fields| fields.0.get("f:spec").is_some())
    });
    written.then(|| {
        format!(
            "I10: the operator has written the spec of {}",
            super::key(instance)
        )
    })
}

fn is_written_by_us<K: Resource>(object: &K) -> bool {
    object
        .managed_fields()
        .iter()
        .any(|entry| entry.manager.as_deref() == Some(MANAGER))
}

/// What is wrong with a write, if anything is.
pub fn wrong(write: &Write) -> Option<String> {
    let what = format!("{} {}", write.verb, write.path);
    let Some(body) = &write.body else {
        return (write.verb == "delete").then(|| {
            format!(
                "I10: {what} would also delete a namesake: it does not say which object it means"
            )
        });
    };
    if write.verb == "delete" {
        let named = body["preconditions"]["uid"].is_string();
        return (!named).then(|| {
            format!(
                "I10: {what} would also delete a namesake: it does not say which object it means"
            )
        });
    }
    let finalizers = match body {
        Value::Array(operations) => operations
            .iter()
            .enumerate()
            .any(|(index, operation)| is_foreign_finalizer(&operations[..index], operation)),
        // Any other form replaces the whole list.
        _ => write.verb == "patch" && body["metadata"].get("finalizers").is_some(),
    };
    finalizers.then(|| format!("I10: {what} may take away a finalizer of somebody else: {body}"))
}

/// The operation of a JSON patch touches a finalizer that no test before it has shown to be ours.
fn is_foreign_finalizer(before: &[Value], operation: &Value) -> bool {
    let path = operation["path"].as_str().unwrap_or_default();
    let is_ours = |value: &Value| value.as_str().is_some_and(|name| OURS.contains(&name));
    if !path.starts_with("/metadata/finalizers") {
        return false;
    }
    match operation["op"].as_str() {
        Some("test") => false,
        Some("add") if path.ends_with("/-") => !is_ours(&operation["value"]),
        // The whole list, where there was none: the revision must be the one that was seen.
        Some("add") => {
            let list = operation["value"].as_array();
            !(list.is_some_and(|list| list.iter().all(is_ours))
                && before.iter().any(|earlier| {
                    earlier["op"] == "test" && earlier["path"] == "/metadata/resourceVersion"
                }))
        }
        _ => !before.iter().any(|earlier| {
            earlier["op"] == "test" && earlier["path"] == path && is_ours(&earlier["value"])
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    fn write(verb: &str, body: Value) -> Write {
        Write {
            verb: verb.to_owned(),
            path: "/apis/otus.homework/v1/namespaces/n/mysqls/db".to_owned(),
            body: Some(body),
        }
    }

    #[test]
    fn taking_off_the_finalizer_of_somebody_else_is_noticed() {
        let path = "/metadata/finalizers/1";
        let take_off = |name: &str| {
            write(
                "patch",
                json!([{"op": "test", "path": path, "value": name}, {"op": "remove", "path": path}]),
            )
        };
        assert_eq!(wrong(&take_off("otus.homework/final-backup")), None);
        assert!(wrong(&take_off("example.com/theirs")).is_some());
        let blind = write("patch", json!([{"op": "remove", "path": path}]));
        assert!(wrong(&blind).is_some());
        for list in [
            json!(null),
            json!([]),
            json!(["otus.homework/final-backup"]),
        ] {
            let whole = write("patch", json!({"metadata": {"finalizers": list}}));
            assert!(wrong(&whole).is_some(), "{whole:?}");
        }
        let labels = write("patch", json!({"metadata": {"labels": {"a": "b"}}}));
        assert_eq!(wrong(&labels), None);
    }

    #[test]
    fn a_deletion_by_name_alone_is_noticed() {
        let exact = write("delete", json!({"preconditions": {"uid": "u"}}));
        assert_eq!(wrong(&exact), None);
        assert!(wrong(&write("delete", json!({}))).is_some());
        let bare = Write {
            body: None,
            ..write("delete", json!(null))
        };
        assert!(wrong(&bare).is_some());
    }

    #[test]
    fn a_write_to_an_object_of_somebody_else_is_noticed() {
        let service = |labels: Value, manager: &str| -> Service {
            serde_json::from_value(json!({"metadata": {
                "name": "s", "uid": "u", "labels": labels,
                "managedFields": [{"manager": manager, "operation": "Apply"}],
            }}))
            .expect("a Service")
        };
        let mut written = Written::default();
        written.saw(&service(json!({}), "somebody"));
        written.saw(&service(json!({MANAGED_BY: MANAGER}), MANAGER));
        assert!(written.violations().is_empty());
        written.saw(&service(json!({}), MANAGER));
        assert_eq!(written.violations().len(), 1);
        // Taken over: it carries the label now.
        written.saw(&service(json!({MANAGED_BY: MANAGER}), MANAGER));
        assert!(written.violations().is_empty());
    }

    #[test]
    fn a_write_to_the_spec_of_the_resource_is_noticed() {
        let instance = |manager: &str| -> MySQL {
            serde_json::from_value(json!({
                "metadata": {"name": "db", "managedFields": [
                    {"manager": manager, "operation": "Update", "fieldsV1": {"f:spec": {}}},
                ]},
                "spec": {"image": "m", "database": "d", "password": "p", "storage_size": "1Gi"},
            }))
            .expect("a resource")
        };
        assert_eq!(spec_written(&instance("kubectl")), None);
        assert!(spec_written(&instance(MANAGER)).is_some());
    }
}
