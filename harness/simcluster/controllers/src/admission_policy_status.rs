//! What a ValidatingAdmissionPolicy's expressions look like when the types of the objects are known: warnings in its
//! status. It does NOT judge any object, and a warning changes nothing.

use std::{collections::BTreeSet, future::Future, sync::Arc};

use k8s_openapi::{
    api::admissionregistration::v1::{NamedRuleWithOperations, ValidatingAdmissionPolicy},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::ResourceExt;
use serde_json::json;
use simcluster_machinery::{
    cel::admission::type_warnings,
    kind::GroupVersionKind,
    schema::{Schema, SchemaRef, builtin},
};

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    objects::{Objects, WriteError},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "validatingadmissionpolicy-status";
/// As many kinds as one policy's expressions are checked against.
const MOST_KINDS: usize = 10;

struct Controller {
    policies: Objects<ValidatingAdmissionPolicy>,
    definitions: Arc<Cache<CustomResourceDefinition>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<String>> = Arc::default();
    let policies = context.objects_as::<ValidatingAdmissionPolicy>(NAME);
    let own = queue.clone();
    policies.cache().on_change(move |change| {
        if !change.is_removal() && !is_checked(change.object()) {
            own.add(change.object().name_any());
        }
    });
    let controller = Controller {
        policies,
        definitions: context.cache(),
    };
    async move {
        controller.policies.cache().synced().await;
        controller.definitions.synced().await;
        work(NAME, queue, 1, controller).await;
    }
}

/// Whether its status is of this generation.
fn is_checked(policy: &ValidatingAdmissionPolicy) -> bool {
    let status = policy.status.as_ref();
    let observed = status.and_then(|status| status.observed_generation);
    policy.metadata.generation.unwrap_or(0) <= observed.unwrap_or(0)
}

/// A resource in a version: group, version, plural name.
type ResourceName = (String, String, String);

/// The resources that a rule names, if it names its groups and versions.
fn resources_of(rule: &NamedRuleWithOperations) -> Vec<ResourceName> {
    let named = |list: &Option<Vec<String>>| -> Option<Vec<String>> {
        let mut names = list.clone().unwrap_or_default();
        names.sort();
        (!names.iter().any(|name| name.contains('*'))).then_some(names)
    };
    let (Some(groups), Some(versions)) = (named(&rule.api_groups), named(&rule.api_versions))
    else {
        return Vec::new();
    };
    let mut resources = rule.resources.clone().unwrap_or_default();
    resources.retain(|resource| !resource.contains(['*', '/']));
    resources.sort();
    let mut all = Vec::new();
    for group in &groups {
        for version in &versions {
            for resource in &resources {
                all.push((group.clone(), version.clone(), resource.clone()));
            }
        }
    }
    all
}

impl Controller {
    /// The kind of a resource.
    fn kind_of(&self, (group, version, plural): &ResourceName) -> Option<GroupVersionKind> {
        let built_in = builtin::resources()
            .iter()
            .find(|one| one.group == *group && one.version == *version && one.resource == *plural);
        if let Some(built_in) = built_in {
            return Some(built_in.gvk());
        }
        let definition = self.definitions.get("", &format!("{plural}.{group}"))?;
        let mut versions = definition.spec.versions.iter();
        versions.find(|one| one.name == *version && one.served)?;
        let kind = &definition.spec.names.kind;
        Some(GroupVersionKind::new(group, version, kind))
    }

    /// The schema of a kind's objects.
    fn schema_of(&self, kind: &GroupVersionKind) -> Option<SchemaRef> {
        if let Some(schema) = builtin::schema(kind) {
            return Some(schema);
        }
        let definitions = self.definitions.all();
        let definition = definitions
            .iter()
            .find(|one| one.spec.group == kind.group && one.spec.names.kind == kind.kind)?;
        let mut versions = definition.spec.versions.iter();
        let version = versions.find(|one| one.name == kind.version)?;
        let schema = version.schema.as_ref()?.open_api_v3_schema.as_ref()?;
        Some(Schema::of_objects(&serde_json::to_value(schema).ok()?))
    }

    /// The kinds that a policy is for, as far as it names them.
    fn kinds_of(&self, policy: &ValidatingAdmissionPolicy) -> BTreeSet<(String, String, String)> {
        let spec = policy.spec.as_ref();
        let matched = spec.and_then(|spec| spec.match_constraints.as_ref());
        let rules = matched.and_then(|matched| matched.resource_rules.as_deref());
        let mut kinds = BTreeSet::new();
        for rule in rules.unwrap_or_default() {
            let resources = resources_of(rule);
            let found = resources
                .iter()
                .filter_map(|resource| self.kind_of(resource));
            let found: Vec<_> = found.take(MOST_KINDS).collect();
            let is_full = found.len() == MOST_KINDS;
            kinds.extend(
                found
                    .into_iter()
                    .map(|kind| (kind.group, kind.version, kind.kind)),
            );
            if is_full {
                break;
            }
        }
        kinds
    }
}

impl Reconcile<String> for Controller {
    async fn reconcile(&self, name: String) -> Result<Next, WriteError> {
        let Some(policy) = self.policies.cache().get("", &name) else {
            return Ok(Next::OnChange);
        };
        if is_checked(&policy) {
            return Ok(Next::OnChange);
        }
        let kinds: Vec<_> = self
            .kinds_of(&policy)
            .into_iter()
            .map(|(group, version, kind)| GroupVersionKind::new(&group, &version, &kind))
            .filter_map(|kind| self.schema_of(&kind).map(|schema| (kind, schema)))
            .collect();
        let spec = policy.spec.as_ref();
        let params = spec
            .and_then(|spec| spec.param_kind.as_ref())
            .and_then(|of| {
                let version = of.api_version.as_deref().unwrap_or_default();
                let kind = of.kind.as_deref().unwrap_or_default();
                self.schema_of(&GroupVersionKind::from_api_version(version, kind))
            });
        let whole = serde_json::to_value(&*policy).unwrap_or_default();
        let warnings = type_warnings(&whole, &kinds, params.as_ref());
        let warnings: Vec<_> = warnings
            .into_iter()
            .map(|one| json!({"fieldRef": one.field, "warning": one.text}))
            .collect();
        let checked = if warnings.is_empty() {
            json!({})
        } else {
            json!({"expressionWarnings": warnings})
        };
        let status = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "status": {"observedGeneration": policy.metadata.generation, "typeChecking": checked},
        });
        let key = ObjectKey::new("", name);
        match self.policies.apply_status(&key, status).await {
            Err(error) if error.is_not_found() => Ok(Next::OnChange),
            other => other.map(|_| Next::OnChange),
        }
    }
}
