//! The kernel's settings that a pod asks for: which it may have, and what is set in its sandbox. Pure.
//!
//! No administrator can allow more of them here; the runtime sets them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// The kernel's settings that a pod may have without the administrator's leave: each is one of a namespace.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// What to set, by names with dots. In a sandbox without a network of its own that is nothing of the network: such a
/// pod has been refused.
pub(crate) fn of(pod: &Pod) -> BTreeMap<String, String> {
    let context = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.security_context.as_ref());
    let all = context
        .into_iter()
        .flat_map(|context| context.sysctls.iter().flatten());
    all.map(|sysctl| (with_dots(&sysctl.name), sysctl.value.clone()))
        .collect()
}

/// Why a pod may not have the settings that it asks for, if so: a kubelet's words.
pub(crate) fn forbidden(spec: &PodSpec) -> Option<String> {
    let context = spec.security_context.as_ref()?;
    context.sysctls.iter().flatten().find_map(|sysctl| {
        let name = with_dots(&sysctl.name);
        let shared = |namespace| format!("{name:?} not allowed with host {namespace} enabled");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            Some(format!("{name:?} not allowlisted"))
        } else if name.starts_with("kernel.") && spec.host_ipc == Some(true) {
            Some(shared("ipc"))
        } else if name.starts_with("net.") && spec.host_network == Some(true) {
            Some(shared("net"))
        } else {
            None
        }
    })
}

/// `net/ipv4/conf/eth0.1` is `net.ipv4.conf.eth0/1`: what comes first separates.
fn with_dots(name: &str) -> String {
    if name
        .find(['.', '/'])
        .is_none_or(|at| name[at..].starts_with('.'))
    {
        return name.to_owned();
    }
    let swapped = name.chars().map(|letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    });
    swapped.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(name: &str, host: bool) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": [], "hostNetwork": host,
            "securityContext": {"sysctls": [{"name": name, "value": "1"}]}}}))
        .unwrap()
    }

    #[test]
    fn only_sysctls_of_a_namespace_of_the_pods_own_are_taken() {
        let said = |name: &str, host: bool| forbidden(with(name, host).spec.as_ref().unwrap());
        assert_eq!(said("net.ipv4.tcp_syncookies", false), None);
        assert_eq!(said("net/ipv4/tcp_syncookies", false), None);
        assert_eq!(
            said("kernel.msgmax", false).as_deref(),
            Some("\"kernel.msgmax\" not allowlisted")
        );
        assert_eq!(
            said("net.ipv4.tcp_syncookies", true).as_deref(),
            Some("\"net.ipv4.tcp_syncookies\" not allowed with host net enabled")
        );
    }

    #[test]
    fn both_ways_to_write_a_name_are_one() {
        for name in ["net.ipv4.tcp_syncookies", "net/ipv4/tcp_syncookies"] {
            let set = of(&with(name, false));
            assert_eq!(
                set,
                [("net.ipv4.tcp_syncookies".to_owned(), "1".to_owned())].into()
            );
        }
    }
}
