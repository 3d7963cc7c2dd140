//! EndpointSlices for Endpoints that users write themselves, of services without a selector.
//!
//! Each subset of the Endpoints has a slice of its own for each address family. It does NOT touch Endpoints of services
//! with a selector: `endpoint_slice` makes slices of those.

use std::{future::Future, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::ResourceExt;

use crate::{
    cache::{Cache, ObjectKey},
    context::Context,
    objects::{Objects, WriteError},
    ownership::controller_reference,
    services,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "endpoint-slice-mirroring-controller";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// So many addresses of one subset are mirrored.
const MOST: usize = 1000;

struct Controller {
    slices: Objects<EndpointSlice>,
    endpoints: Arc<Cache<Endpoints>>,
    services: Arc<Cache<Service>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let slices = context.objects::<EndpointSlice>();
    let endpoints = context.cache::<Endpoints>();
    let services = context.cache::<Service>();
    let own = queue.clone();
    endpoints.on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let own = queue.clone();
    services.on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let own = queue.clone();
    slices.cache().on_change(move |change| {
        if let Some(name) = mirrored_name(change.object()) {
            let namespace = change.object().namespace().unwrap_or_default();
            own.add(ObjectKey::new(namespace, name));
        }
    });
    let controller = Controller {
        slices,
        endpoints,
        services,
    };
    async move {
        controller.slices.cache().synced().await;
        controller.endpoints.synced().await;
        controller.services.synced().await;
        work(NAME, queue, 4, controller).await;
    }
}

/// The Endpoints that a slice of ours mirrors.
fn mirrored_name(slice: &EndpointSlice) -> Option<&str> {
    let ours = slice.labels().get(MANAGED_BY).map(String::as_str) == Some(MANAGER);
    let name = slice.labels().get(SERVICE_NAME).filter(|_| ours)?;
    Some(name)
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let mut known = self.slices.cache().in_namespace(&key.namespace);
        known.retain(|slice| {
            mirrored_name(slice) == Some(&*key.name) && slice.metadata.deletion_timestamp.is_none()
        });
        let has_service = self
            .services
            .find(&key)
            .is_some_and(|service| !services::is_selecting(&service));
        let endpoints = self.endpoints.find(&key);
        let endpoints = endpoints.filter(|endpoints| has_service && is_mirrored(endpoints));
        for slice in endpoints.iter().flat_map(|endpoints| wanted(endpoints)) {
            let fits = |known: &Arc<EndpointSlice>| {
                known.address_type == slice.address_type && known.ports == slice.ports
            };
            let Some(place) = known.iter().position(fits) else {
                self.slices.create(&slice).await?;
                continue;
            };
            let there = known.swap_remove(place);
            let same = there.endpoints == slice.endpoints
                && there.metadata.labels == slice.metadata.labels
                && there.metadata.annotations == slice.metadata.annotations;
            if !same {
                let mut new = EndpointSlice::clone(&there);
                new.endpoints = slice.endpoints;
                new.metadata.labels = slice.metadata.labels;
                new.metadata.annotations = slice.metadata.annotations;
                self.slices.replace(&new).await?;
            }
        }
        for slice in known {
            self.slices.delete(&*slice, None).await?;
        }
        Ok(Next::OnChange)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    endpoints.labels().get(SKIP).map(String::as_str) != Some("true")
        && !endpoints.annotations().contains_key(LEADER)
        && endpoints.metadata.deletion_timestamp.is_none()
}

/// The slices of some Endpoints, without names yet.
fn wanted(endpoints: &Endpoints) -> Vec<EndpointSlice> {
    let mut slices: Vec<EndpointSlice> = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports: Vec<_> = subset
            .ports
            .iter()
            .flatten()
            .map(|port| EndpointPort {
                name: Some(port.name.clone().unwrap_or_default()),
                port: Some(port.port),
                protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
                app_protocol: port.app_protocol.clone(),
            })
            .collect();
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let waiting = subset.not_ready_addresses.iter().flatten();
        let all = ready.chain(waiting.map(|a| (a, false))).take(MOST);
        for (address, ready) in all {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                continue;
            };
            let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
            let fits = |slice: &EndpointSlice| {
                slice.address_type == family && slice.ports.as_ref() == Some(&ports)
            };
            let place = slices.iter().position(fits).unwrap_or_else(|| {
                slices.push(empty(endpoints, family, ports.clone()));
                slices.len() - 1
            });
            slices[place]
                .endpoints
                .get_or_insert_default()
                .push(endpoint(address, ready));
        }
    }
    slices
}

fn empty(endpoints: &Endpoints, family: &str, ports: Vec<EndpointPort>) -> EndpointSlice {
    let name = endpoints.name_any();
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.annotations().clone();
    annotations.remove(LAST_APPLIED);
    EndpointSlice {
        address_type: family.to_owned(),
        endpoints: Some(Vec::new()),
        metadata: ObjectMeta {
            namespace: endpoints.namespace(),
            generate_name: Some(format!("{name}-")),
            labels: Some(labels),
            annotations: (!annotations.is_empty()).then_some(annotations),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        ports: Some(ports),
    }
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            ..EndpointConditions::default()
        }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_family_and_set_of_ports_has_a_slice() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "1", "labels": {"a": "b"},
                         "annotations": {LAST_APPLIED: "{}"}},
            "subsets": [{
                "addresses": [{"ip": "10.1.2.3", "hostname": "one"}, {"ip": "fd00::1"}],
                "notReadyAddresses": [{"ip": "10.1.2.4"}],
                "ports": [{"port": 80}],
            }, {
                "addresses": [{"ip": "10.1.2.3"}],
                "ports": [{"name": "admin", "port": 81, "protocol": "TCP"}],
            }],
        }))
        .unwrap();
        let slices = wanted(&endpoints);
        let shapes: Vec<_> = slices
            .iter()
            .map(|slice| {
                let ready: Vec<_> = slice
                    .endpoints
                    .iter()
                    .flatten()
                    .map(|e| e.conditions.as_ref().unwrap().ready.unwrap())
                    .collect();
                let port = slice.ports.as_ref().unwrap()[0].port.unwrap();
                (slice.address_type.as_str(), port, ready)
            })
            .collect();
        assert_eq!(
            shapes,
            [
                ("IPv4", 80, vec![true, false]),
                ("IPv6", 80, vec![true]),
                ("IPv4", 81, vec![true]),
            ]
        );
        let metadata = serde_json::to_value(&slices[0].metadata).unwrap();
        assert_eq!(
            metadata,
            json!({
                "generateName": "db-", "namespace": "n",
                "labels": {"a": "b", SERVICE_NAME: "db", MANAGED_BY: MANAGER},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Endpoints", "name": "db",
                                     "uid": "1", "controller": true, "blockOwnerDeletion": true}],
            })
        );
    }
}
