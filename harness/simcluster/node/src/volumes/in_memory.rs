//! Which emptyDirs of a pod are in memory (`medium: Memory`), and how large they may grow. Pure.
//!
//! Who writes beyond the limit is told that no space is left; nobody is evicted. The node itself does not see what is
//! in memory: parts of it (`subPath`) are found by the runtime.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Pod, Volume};
use simcluster_runtime::spec::MemoryVolume;

use crate::quantity;

/// The emptyDirs that are in memory; `path` tells where a volume lies.
pub(crate) fn volumes(pod: &Pod, path: impl Fn(&str) -> PathBuf) -> Vec<MemoryVolume> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let group = spec
        .security_context
        .as_ref()
        .and_then(|context| u32::try_from(context.fs_group?).ok());
    let all = spec.volumes.iter().flatten();
    all.filter_map(|volume| {
        let source = volume.empty_dir.as_ref().filter(|_| wants_memory(volume))?;
        let limit = source.size_limit.as_ref();
        let size = limit.and_then(|limit| quantity::divide(&limit.0, "1"));
        Some(MemoryVolume {
            path: path(&volume.name),
            size: size
                .and_then(|bytes| u64::try_from(bytes).ok())
                .filter(|bytes| *bytes > 0),
            group,
        })
    })
    .collect()
}

/// Whether a volume is an emptyDir that asks to be in memory.
pub(crate) fn wants_memory(volume: &Volume) -> bool {
    let source = volume.empty_dir.as_ref();
    source.is_some_and(|source| source.medium.as_deref() == Some("Memory"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn memory_is_for_those_that_ask() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "securityContext": {"fsGroup": 7},
            "volumes": [
                {"name": "disk", "emptyDir": {"sizeLimit": "1Mi"}},
                {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "free", "emptyDir": {"medium": "Memory"}},
                {"name": "parts", "emptyDir": {"medium": "Memory"}},
            ],
            "containers": [{"name": "c", "volumeMounts": [
                {"name": "memory", "mountPath": "/m"},
                {"name": "parts", "mountPath": "/p", "subPath": "a"},
            ]}],
        }}))
        .unwrap();
        let volume = |name: &str, size| MemoryVolume {
            path: name.into(),
            size,
            group: Some(7),
        };
        assert_eq!(
            volumes(&pod, |name| PathBuf::from(name)),
            [
                volume("memory", Some(1 << 20)),
                volume("free", None),
                volume("parts", None)
            ]
        );
    }
}
