//! Reading what pods refer to from the API: ConfigMaps, Secrets, claims and volumes, tokens.
//!
//! It reads and asks; what is made of the answers is decided elsewhere.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{
            PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod, ServiceAccount,
            ServiceAccountTokenProjection,
        },
    },
};
use kube::{Api, Client, Resource, api::PostParams};
use serde::de::DeserializeOwned;

use crate::container::references::{Found, References};

/// How many objects are fetched at a time for one pod.
const AT_ONCE: usize = 8;

/// Fetches all that exists of `references`.
pub(crate) async fn find(
    client: &Client,
    namespace: &str,
    references: &References,
) -> Result<Found, kube::Error> {
    if references.is_empty() {
        return Ok(Found::default());
    }
    let (config_maps, secrets) = futures::try_join!(
        all(client, namespace, &references.config_maps),
        all(client, namespace, &references.secrets)
    )?;
    Ok(Found {
        config_maps,
        secrets,
    })
}

async fn all<K>(
    client: &Client,
    namespace: &str,
    names: &std::collections::BTreeSet<String>,
) -> Result<std::collections::BTreeMap<String, K>, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    stream::iter(names.clone())
        .map(|name| {
            let api = api.clone();
            async move { Ok((api.get_opt(&name).await?, name)) }
        })
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|(object, name)| async move { Ok(object.map(|object| (name, object))) })
        .try_collect()
        .await
}

/// The volume behind a claim. The error is the tail of what a real node says about it.
pub(crate) async fn volume_of_claim(
    client: &Client,
    namespace: &str,
    claim: &str,
) -> Result<PersistentVolumeSpec, String> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    let found = claims
        .get(claim)
        .await
        .map_err(|error| format!("failed to fetch PVC from API server: {}", text(&error)))?;
    let bound = found
        .status
        .is_some_and(|s| s.phase.as_deref() == Some("Bound"));
    let name = found
        .spec
        .and_then(|s| s.volume_name)
        .filter(|name| bound && !name.is_empty());
    let Some(name) = name else {
        return Err("PVC is not bound".into());
    };
    let volumes: Api<PersistentVolume> = Api::all(client.clone());
    let volume = volumes.get(&name).await.map_err(|error| {
        format!(
            "failed to fetch PV {name:?} from API server: {}",
            text(&error)
        )
    })?;
    volume
        .spec
        .ok_or_else(|| format!("PV {name:?} has no spec"))
}

/// Asks for a token of the pod's service account, bound to the pod.
pub(crate) async fn token(
    client: &Client,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
) -> Result<(String, jiff::Timestamp), String> {
    let meta = &pod.metadata;
    let account = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.service_account_name.as_deref())
        .filter(|name| !name.is_empty())
        .unwrap_or("default");
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: source
                .audience
                .clone()
                .filter(|a| !a.is_empty())
                .map(|a| vec![a]),
            expiration_seconds: source.expiration_seconds.or(Some(3607)),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let answer = accounts
        .create_token_request(account, &PostParams::default(), &request)
        .await
        .map_err(|error| format!("failed to fetch token: {}", text(&error)))?;
    let status = answer
        .status
        .ok_or("failed to fetch token: the answer has no status")?;
    match (status.token, status.expiration_timestamp) {
        (Some(token), Some(expires)) => Ok((token, expires.0)),
        _ => Err("failed to fetch token: the answer has none".into()),
    }
}

/// The API server's own words, where it has answered.
pub(crate) fn text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}
