//! Pure: one grace period for all pods that a scenario writes, also in what makes pods.

use std::time::Duration;

use kube::api::DynamicObject;
use serde_json::Value;

/// Sets the grace period in the pod, or in the pod template, of an object; others stay as they are.
pub(super) fn force(object: &mut DynamicObject, grace: Duration) {
    let kind = object
        .types
        .as_ref()
        .map_or("", |types| types.kind.as_str());
    let path = match kind {
        "Pod" => "/spec",
        "Deployment"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicaSet"
        | "ReplicationController"
        | "Job" => "/spec/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => return,
    };
    if let Some(Value::Object(spec)) = object.data.pointer_mut(path) {
        spec.insert(
            "terminationGracePeriodSeconds".to_owned(),
            grace.as_secs().into(),
        );
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn forced(object: Value) -> Value {
        let mut object: DynamicObject = serde_json::from_value(object).expect("an object");
        force(&mut object, Duration::from_secs(5));
        object.data
    }

    #[test]
    fn the_grace_period_is_forced_on_pods_and_on_what_makes_them() {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {}});
        assert_eq!(
            forced(pod)["spec"]["terminationGracePeriodSeconds"],
            json!(5)
        );
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {},
            "spec": {"template": {"spec": {"terminationGracePeriodSeconds": 60}}}});
        let job = forced(job);
        assert_eq!(
            job["spec"]["template"]["spec"]["terminationGracePeriodSeconds"],
            json!(5)
        );
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "spec": {}});
        assert_eq!(forced(map), json!({"spec": {}}));
    }
}
