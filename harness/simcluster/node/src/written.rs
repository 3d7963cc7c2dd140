//! The kubelet's writes: in `managedFields` they stand under its name, and answers that nobody reads are not decoded.

use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams, PostParams, Request},
};
use serde_json::Value;

const KUBELET: &str = "kubelet";

/// For patches.
pub(crate) fn by_patch() -> PatchParams {
    PatchParams {
        field_manager: Some(KUBELET.to_owned()),
        ..PatchParams::default()
    }
}

/// For objects that are created.
pub(crate) fn by_post() -> PostParams {
    PostParams {
        field_manager: Some(KUBELET.to_owned()),
        ..PostParams::default()
    }
}

/// Merges `patch` into an object's status.
pub(crate) async fn patch_status<K: Resource>(
    client: &Client,
    api: &Api<K>,
    name: &str,
    patch: &Patch<Value>,
) -> Result<(), kube::Error> {
    let request = Request::new(api.resource_url());
    let request = request.patch_subresource("status", name, &by_patch(), patch);
    let request = request.map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(drop)
}

/// Creates an object.
pub(crate) async fn create<K: Resource + serde::Serialize>(
    client: &Client,
    api: &Api<K>,
    object: &K,
) -> Result<(), kube::Error> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(api.resource_url()).create(&by_post(), body);
    let request = request.map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(drop)
}
