//! Whether somebody may do what they ask for: RBAC over the roles in the store.

use std::sync::{Arc, Mutex, PoisonError};

use simcluster_auth::rbac::{Attributes, Policy};
use simcluster_machinery::{kind::GroupResource, status::Status};

use super::{Failure, identity::Identity, route::ResourceRoute};
use crate::watch::SharedStore;

/// The collections that a policy is made of.
const COLLECTIONS: [&str; 4] = [
    "rbac.authorization.k8s.io/clusterroles",
    "rbac.authorization.k8s.io/clusterrolebindings",
    "rbac.authorization.k8s.io/roles",
    "rbac.authorization.k8s.io/rolebindings",
];

/// The policy made from the store's roles and bindings, and made anew when they change.
#[derive(Debug, Default)]
pub(crate) struct PolicyCache(Mutex<(u64, Arc<Policy>)>);

impl PolicyCache {
    /// The policy as of now.
    pub(crate) fn current(&self, store: &SharedStore) -> Arc<Policy> {
        let store = store.read();
        let changed = COLLECTIONS
            .iter()
            .map(|collection| store.changed(collection))
            .max()
            .unwrap_or(0);
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.0 != changed {
            let mut policy = Policy::default();
            for collection in COLLECTIONS {
                for object in store.snapshot(collection).objects.values() {
                    policy.add(object.value());
                }
            }
            *cached = (changed, Arc::new(policy));
        }
        Arc::clone(&cached.1)
    }
}

/// What a request for a resource asks for.
pub(crate) fn attributes(identity: &Identity, route: &ResourceRoute, verb: &str) -> Attributes {
    Attributes {
        user: identity.user.clone(),
        groups: identity.groups.clone(),
        verb: verb.to_owned(),
        group: route.group.clone(),
        resource: route.resource.clone(),
        subresource: route.subresource.clone(),
        name: route.name.clone(),
        namespace: route.namespace.clone(),
        path: None,
    }
}

/// What a request for a path asks for.
pub(crate) fn path_attributes(identity: &Identity, path: &str, verb: &str) -> Attributes {
    Attributes {
        user: identity.user.clone(),
        groups: identity.groups.clone(),
        verb: verb.to_owned(),
        path: Some(path.to_owned()),
        ..Attributes::default()
    }
}

/// The refusal of what was asked for.
pub(crate) fn forbidden(asked: &Attributes) -> Failure {
    let resource = GroupResource::new(&asked.group, &asked.resource);
    Box::new(Status::forbidden(
        &resource,
        &asked.name,
        &asked.to_string(),
    ))
}
