//! ClusterRoles with an aggregation rule: their rules are those of the roles that the rule selects. It does NOT
//! evaluate rules.

use std::{future::Future, sync::Arc};

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::ResourceExt;
use serde_json::json;

use crate::{
    cache::ObjectKey,
    context::Context,
    objects::{Objects, WriteError},
    selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "clusterrole-aggregation-controller";

struct Controller {
    roles: Objects<ClusterRole>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<String>> = Arc::default();
    let roles = context.objects::<ClusterRole>();
    let (touched, known) = (queue.clone(), roles.cache().clone());
    roles.cache().on_change(move |change| {
        for role in change.old().into_iter().chain([change.object()]) {
            for whole in known.all().iter().filter(|whole| selects(whole, role)) {
                touched.add(whole.name_any());
            }
        }
        if change.object().aggregation_rule.is_some() {
            touched.add(change.object().name_any());
        }
    });
    let controller = Controller { roles };
    async move {
        controller.roles.cache().synced().await;
        work(NAME, queue, 4, controller).await;
    }
}

/// Whether the first role is made of others, the second among them.
fn selects(whole: &ClusterRole, part: &ClusterRole) -> bool {
    let selectors = whole
        .aggregation_rule
        .as_ref()
        .and_then(|rule| rule.cluster_role_selectors.as_deref())
        .unwrap_or_default();
    whole.metadata.name != part.metadata.name
        && selectors
            .iter()
            .any(|wanted| selector::matches(wanted, part.metadata.labels.as_ref()))
}

/// The rules of all parts, in the order of their names, each once.
fn rules(whole: &ClusterRole, all: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let mut rules: Vec<PolicyRule> = Vec::new();
    for part in all.iter().filter(|part| selects(whole, part)) {
        for rule in part.rules.iter().flatten() {
            if !rules.contains(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}

impl Reconcile<String> for Controller {
    async fn reconcile(&self, name: String) -> Result<Next, WriteError> {
        let Some(whole) = self.roles.cache().get("", &name) else {
            return Ok(Next::OnChange);
        };
        if whole.aggregation_rule.is_none() {
            return Ok(Next::OnChange);
        }
        let rules = rules(&whole, &self.roles.cache().all());
        if whole.rules.clone().unwrap_or_default() != rules {
            let patch = json!({
                "metadata": {"resourceVersion": whole.metadata.resource_version},
                "rules": rules,
            });
            self.roles.merge(&ObjectKey::new("", name), patch).await?;
        }
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_selected_roles_are_joined_once_each() {
        let role = |name: &str, labels: serde_json::Value, verb: &str| -> Arc<ClusterRole> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": name, "labels": labels},
                    "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}],
                }))
                .unwrap(),
            )
        };
        let whole: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "whole"},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "whole"}}]},
        }))
        .unwrap();
        let all = [
            role("a", json!({"to": "whole"}), "get"),
            role("b", json!({"to": "whole"}), "get"),
            role("c", json!({}), "delete"),
            role("d", json!({"to": "whole"}), "list"),
        ];
        let verbs: Vec<_> = rules(&whole, &all)
            .into_iter()
            .flat_map(|rule| rule.verbs)
            .collect();
        assert_eq!(verbs, ["get", "list"]);
    }
}
