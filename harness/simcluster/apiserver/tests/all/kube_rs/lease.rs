//! Leader election on a Lease: kube-rs has no helper for it, so this is the protocol itself, with
//! the API's own optimistic concurrency.

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};

use crate::support::World;

/// Takes the lease if it is free or `from` holds it.
async fn acquire(api: &Api<Lease>, me: &str, from: Option<&str>) -> Result<bool, kube::Error> {
    let Some(mut lease) = api.get_opt("leader").await? else {
        let lease = Lease {
            metadata: ObjectMeta {
                name: Some("leader".to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(me.to_owned()),
                lease_duration_seconds: Some(15),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        return match api.create(&PostParams::default(), &lease).await {
            Ok(_) => Ok(true),
            Err(kube::Error::Api(status)) if status.is_already_exists() => Ok(false),
            Err(other) => Err(other),
        };
    };
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() != from {
        return Ok(false);
    }
    spec.holder_identity = Some(me.to_owned());
    spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + 1);
    match api.replace("leader", &PostParams::default(), &lease).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() => Ok(false),
        Err(other) => Err(other),
    }
}

async fn winners(api: &Api<Lease>, round: &str, from: Option<&str>) -> Vec<String> {
    let candidates: Vec<String> = (0..8).map(|n| format!("{round}-{n}")).collect();
    let tries = candidates.iter().map(|me| acquire(api, me, from));
    let won = futures::future::try_join_all(tries).await;
    let won = won.expect("nothing but conflicts fails");
    let won = candidates.into_iter().zip(won).filter(|(_, won)| *won);
    won.map(|(name, _)| name).collect()
}

#[tokio::test]
async fn of_all_who_want_a_lease_one_gets_it() {
    let world = World::start();
    let api: Api<Lease> = Api::namespaced(world.client.clone(), "default");
    let first = winners(&api, "first", None).await;
    assert_eq!(first.len(), 1, "{first:?}");
    let second = winners(&api, "second", Some(&first[0])).await;
    assert_eq!(second.len(), 1, "{second:?}");
    let lease = api.get("leader").await.expect("it is there");
    let spec = lease.spec.expect("it says who");
    assert_eq!(spec.holder_identity.as_deref(), Some(second[0].as_str()));
    assert_eq!(spec.lease_transitions, Some(1));
}
