//! A resource goes only after a verified backup, or by the explicit wish of people.

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, ResourceExt as _};
use mysql_operator::crd::{DeletionPolicy, MySQL};

/// The resource as it was before it was gone: whether its data went without a backup.
pub async fn without_backup(client: &Client, before: &MySQL) -> Option<String> {
    if may_go(before) {
        return None;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = before.namespace().unwrap_or_default();
    let going = namespaces
        .get_opt(&namespace)
        .await
        .ok()
        .flatten()
        .is_none_or(|namespace| namespace.metadata.deletion_timestamp.is_some());
    (!going).then(|| {
        format!(
            "I8: {namespace}/{} is gone without a verified backup and without anybody's wish",
            before.name_any()
        )
    })
}

/// Pure: what the resource says of itself.
fn may_go(instance: &MySQL) -> bool {
    let status = instance.status.as_ref();
    let backed_up = status
        .and_then(|status| status.condition("FinalBackup"))
        .is_some_and(|said| said.status == "True");
    let was_filled = status.is_some_and(|status| status.initialized == Some(true));
    let wished = !matches!(
        instance.spec.deletion_policy,
        None | Some(DeletionPolicy::Backup)
    ) || instance
        .annotations()
        .get("otus.homework/skip-final-backup")
        .is_some_and(|value| value == "true");
    backed_up || !was_filled || wished
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn may_go_with(status: &serde_json::Value) -> bool {
        may_go(
            &serde_json::from_value(json!({
                "metadata": {"name": "db"},
                "spec": {"image": "m", "database": "d", "password": "p", "storage_size": "1Gi"},
                "status": status,
            }))
            .expect("a resource"),
        )
    }

    #[test]
    fn a_filled_instance_goes_only_with_a_backup() {
        let condition = |status: &str| {
            json!([{"type": "FinalBackup", "status": status, "reason": "r", "message": "m",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        };
        assert!(may_go_with(&json!({})));
        assert!(!may_go_with(&json!({"initialized": true})));
        assert!(!may_go_with(
            &json!({"initialized": true, "conditions": condition("False")})
        ));
        assert!(may_go_with(
            &json!({"initialized": true, "conditions": condition("True")})
        ));
    }
}
