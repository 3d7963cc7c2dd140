//! New pods: service account, limits, priority, tolerations.

use std::time::Duration;

use rand::Rng as _;
use serde_json::Value;
use simcluster_kinds::admission;

use super::{forbidden, values};
use crate::server::{Failure, call::Call};

/// How long a pod waits for its service account: the one of a new namespace may be about to come.
const PATIENCE: Duration = Duration::from_secs(1);

/// Changes a new pod as the plug-ins that every cluster runs do.
pub(super) fn create(call: &Call, pod: &mut Value) -> Result<(), Failure> {
    let mirror = &pod["metadata"]["annotations"]["kubernetes.io/config.mirror"];
    if mirror.is_null() && call.server.config.service_account_admission {
        service_account(call, pod)?;
    }
    let ranges = values(call, "/limitranges", &call.route.namespace);
    admission::apply_limit_ranges(pod, ranges.iter().map(|range| range.value()));
    let classes = values(call, "scheduling.k8s.io/priorityclasses", "");
    admission::priority(pod, classes.iter().map(|class| class.value()))
        .map_err(|why| forbidden(call, pod, &why))?;
    admission::default_tolerations(pod);
    Ok(())
}

fn service_account(call: &Call, pod: &mut Value) -> Result<(), Failure> {
    let namespace = &call.route.namespace;
    let name = admission::service_account_name(pod);
    let key = format!("{namespace}/{name}");
    let Some(account) = call.server.store.read().get("/serviceaccounts", &key) else {
        let why =
            format!("error looking up service account {key}: serviceaccount {name:?} not found");
        return Err(forbidden(call, pod, &why));
    };
    let mut rng = rand::rng();
    let suffix: String = (0..5)
        .map(|_| char::from(b"bcdfghjklmnpqrstvwxz2456789"[rng.random_range(0..27)]))
        .collect();
    admission::service_account(pod, account.value(), &suffix);
    Ok(())
}

/// Waits, before a pod is created, for a service account that is on its way.
pub(crate) async fn service_account_settles(call: &Call) {
    if !call.resource.is("", "pods") || !call.server.config.service_account_admission {
        return;
    }
    let pod: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let name = match pod["spec"]["serviceAccountName"].as_str() {
        None | Some("") => "default",
        Some(name) => name,
    };
    let key = format!("{}/{name}", call.route.namespace);
    let mut changed = call.server.store.subscribe(&"/serviceaccounts".into());
    let there = || {
        call.server
            .store
            .read()
            .get("/serviceaccounts", &key)
            .is_some()
    };
    // What is not there after that is reported as missing.
    let _ = tokio::time::timeout(PATIENCE, async {
        while !there() && changed.changed().await.is_ok() {}
    })
    .await;
}
