//! What a kind has beyond its schema: the built-in kinds' own rules, or those of a definition.

use simcluster_kinds::{KindRules, Scope};

use super::{definition_rules::DefinitionRules, registry::Resource};

impl Resource {
    /// The rules of its kind.
    pub(crate) fn rules(&self) -> &dyn KindRules {
        match &self.custom {
            Some(version) => &**version,
            None if self.is("apiextensions.k8s.io", "customresourcedefinitions") => {
                &DefinitionRules
            }
            None => simcluster_kinds::rules(&self.kind),
        }
    }

    /// Whether its objects live in namespaces, in the words of the rules.
    pub(crate) fn scope(&self) -> Scope {
        if self.namespaced {
            Scope::Namespaced
        } else {
            Scope::Cluster
        }
    }
}

/// Kinds that an update creates when they are not there.
const CREATED_ON_UPDATE: [(&str, &str); 12] = [
    ("", "endpoints"),
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "limitranges"),
    ("", "podtemplates"),
    ("", "services"),
    ("coordination.k8s.io", "leases"),
    ("certificates.k8s.io", "certificatesigningrequests"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
];

/// Kinds whose updates must name the revision that they are based on.
const CONDITIONAL_UPDATES: [(&str, &str); 13] = [
    ("", "serviceaccounts"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("coordination.k8s.io", "leases"),
    ("policy", "poddisruptionbudgets"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    (
        "admissionregistration.k8s.io",
        "mutatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicies",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingadmissionpolicybindings",
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    ),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
    ),
    ("node.k8s.io", "runtimeclasses"),
    ("storage.k8s.io", "csidrivers"),
];

/// Kinds whose deletion is answered with the object and not with a Status.
const DELETED_OBJECT_RETURNED: [(&str, &str); 12] = [
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
];

impl Resource {
    fn is_one_of(&self, list: &[(&str, &str)]) -> bool {
        list.iter()
            .any(|(group, resource)| self.is(group, resource))
    }

    /// Whether an update creates an object that is not there.
    pub(crate) fn creates_on_update(&self) -> bool {
        self.is_one_of(&CREATED_ON_UPDATE)
    }

    /// Whether an update may leave out the revision that it is based on.
    pub(crate) fn updates_unconditionally(&self) -> bool {
        self.custom.is_none() && !self.is_one_of(&CONDITIONAL_UPDATES)
    }

    /// Whether a deletion is answered with the object.
    pub(crate) fn answers_deletion_with_object(&self) -> bool {
        self.is_one_of(&DELETED_OBJECT_RETURNED)
    }
}
