//! What a job's podFailurePolicy says of a failed pod. Pure.

use k8s_openapi::api::{
    batch::v1::{Job, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule},
    core::v1::{ContainerStatus, Pod},
};
use kube::ResourceExt;

use super::spec;
use crate::pods;

/// What a failed pod means for its job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It counts against the back-off limit.
    Counts,
    /// It does not count.
    Ignored,
    /// Its index has failed for good.
    FailsIndex,
    /// The job has failed, for this reason.
    FailsJob(String),
}

/// The first rule that fits decides; without one, the failure counts.
pub(super) fn meaning(job: &Job, pod: &Pod) -> Meaning {
    let rules = spec::failure_policy(job)
        .map(|policy| policy.rules.as_slice())
        .unwrap_or_default();
    for (number, rule) in rules.iter().enumerate() {
        if let Some(why) = fits(rule, pod) {
            return match rule.action.as_str() {
                "Ignore" => Meaning::Ignored,
                "FailIndex" => Meaning::FailsIndex,
                "FailJob" => {
                    Meaning::FailsJob(format!("{why} matching FailJob rule at index {number}"))
                }
                _ => Meaning::Counts,
            };
        }
    }
    Meaning::Counts
}

/// Why a rule fits, in words.
fn fits(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let who = format!("{namespace}/{}", pod.name_any());
    if let Some(requirement) = &rule.on_exit_codes {
        let (container, code) = failed_container(requirement, pod)?;
        return Some(format!(
            "Container {container} for pod {who} failed with exit code {code}"
        ));
    }
    rule.on_pod_conditions.iter().flatten().find_map(|pattern| {
        let condition = pods::condition(pod, &pattern.type_)?;
        let wanted = pattern.status.as_deref().unwrap_or("True");
        (condition.status == wanted).then(|| format!("Pod {who} has condition {}", pattern.type_))
    })
}

fn failed_container(
    requirement: &PodFailurePolicyOnExitCodesRequirement,
    pod: &Pod,
) -> Option<(String, i32)> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let inits = status.init_container_statuses.iter().flatten();
    containers.chain(inits).find_map(|container| {
        let named = requirement
            .container_name
            .as_ref()
            .is_none_or(|name| *name == container.name);
        let code = exit_code(container).filter(|code| *code != 0)?;
        let listed = requirement.values.contains(&code);
        let fits = if requirement.operator == "NotIn" {
            !listed
        } else {
            listed
        };
        (named && fits).then(|| (container.name.clone(), code))
    })
}

fn exit_code(container: &ContainerStatus) -> Option<i32> {
    Some(container.state.as_ref()?.terminated.as_ref()?.exit_code)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judge(rules: &Value, status: &Value) -> Meaning {
        let job: Job = serde_json::from_value(json!({
            "metadata": {},
            "spec": {"template": {}, "podFailurePolicy": {"rules": rules}},
        }))
        .unwrap();
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "n"}, "status": status,
        }))
        .unwrap();
        meaning(&job, &pod)
    }

    fn exited(code: i32) -> Value {
        json!({"containerStatuses": [{
            "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code}},
        }]})
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 42]}},
        ]);
        let text =
            "Container c for pod n/p failed with exit code 42 matching FailJob rule at index 1";
        for (status, expected) in [
            (exited(42), Meaning::FailsJob(text.to_owned())),
            (exited(1), Meaning::Counts),
            (exited(2), Meaning::FailsIndex),
            (exited(0), Meaning::Counts),
            (
                json!({"conditions": [{"type": "DisruptionTarget", "status": "True"}]}),
                Meaning::Ignored,
            ),
        ] {
            assert_eq!(judge(&rules, &status), expected, "{status}");
        }
    }
}
