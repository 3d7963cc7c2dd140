//! The parameters of the kubelet's writes: in `managedFields` they stand under its name.

use kube::api::{PatchParams, PostParams};

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
