//! The parameters of every write: in `managedFields` users read who wrote what.
//!
//! Without a name the server would say `unknown`. Server-side apply names its manager where it is done.

use kube::api::{PatchParams, PostParams};

use crate::names;

/// For patches.
pub(crate) fn by_patch() -> PatchParams {
    PatchParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// For objects that are created or replaced.
pub(crate) fn by_post() -> PostParams {
    PostParams {
        field_manager: Some(names::MANAGER.to_owned()),
        ..PostParams::default()
    }
}
