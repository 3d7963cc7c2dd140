//! `/etc/hosts`, `/etc/resolv.conf` and the host name of a pod. Pure.

use std::{fmt::Write as _, net::Ipv4Addr};

use k8s_openapi::api::core::v1::Pod;

/// A pod's host name: `spec.hostname`, else its name, cut to what a kernel takes.
pub(crate) fn hostname(pod: &Pod, node: &str) -> String {
    let spec = pod.spec.as_ref();
    if is_in_nodes_network(pod) && spec.is_none_or(|spec| spec.hostname_override.is_none()) {
        return node.to_owned();
    }
    let own = spec
        .and_then(|s| s.hostname_override.clone().or(s.hostname.clone()))
        .filter(|name| !name.is_empty());
    let name = own.or(pod.metadata.name.clone()).unwrap_or_default();
    name.chars()
        .take(63)
        .collect::<String>()
        .trim_end_matches(['-', '.'])
        .to_owned()
}

/// Whether it has no network of its own.
fn is_in_nodes_network(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.host_network == Some(true))
}

/// The full name of a pod with a `subdomain`.
fn full_name(pod: &Pod, node: &str, domain: &str) -> Option<String> {
    let subdomain = pod
        .spec
        .as_ref()?
        .subdomain
        .as_deref()
        .filter(|s| !s.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref()?;
    Some(format!(
        "{}.{subdomain}.{namespace}.svc.{domain}",
        hostname(pod, node)
    ))
}

/// `/etc/hosts`
pub(crate) fn hosts(pod: &Pod, ip: Option<&str>, node: &str, domain: &str) -> String {
    let of_node = if is_in_nodes_network(pod) {
        " (host network)"
    } else {
        ""
    };
    let mut text = format!("# Kubernetes-managed hosts file{of_node}.\n");
    text.push_str(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost \
         ip6-loopback\nfe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let name = hostname(pod, node);
    if let Some(ip) = ip {
        let _ = match full_name(pod, node, domain) {
            Some(full) => writeln!(text, "{ip}\t{full}\t{name}"),
            None => writeln!(text, "{ip}\t{name}"),
        };
    }
    let aliases: Vec<_> = pod
        .spec
        .iter()
        .flat_map(|s| s.host_aliases.iter().flatten())
        .collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names = alias.hostnames.clone().unwrap_or_default().join("\t");
            let _ = writeln!(text, "{}\t{names}", alias.ip);
        }
    }
    text
}

/// `/etc/resolv.conf`, by the pod's `dnsPolicy` and `dnsConfig`.
pub(crate) fn resolv_conf(pod: &Pod, dns: Ipv4Addr, domain: &str) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let config = spec.dns_config.unwrap_or_default();
    let mut servers = Vec::new();
    let mut searches = Vec::new();
    let mut options: Vec<(String, Option<String>)> = Vec::new();
    // `Default` means the machine's resolver, which a node without a way out does not have: its pods
    // then ask the cluster's like all others.
    if spec.dns_policy.as_deref() != Some("None") {
        servers.push(dns.to_string());
        searches.extend([
            format!("{namespace}.svc.{domain}"),
            format!("svc.{domain}"),
            domain.to_owned(),
        ]);
        options.push(("ndots".into(), Some("5".into())));
    }
    servers.extend(config.nameservers.unwrap_or_default());
    searches.extend(config.searches.unwrap_or_default());
    for option in config.options.into_iter().flatten() {
        let Some(name) = option.name else { continue };
        options.retain(|(known, _)| *known != name);
        options.push((name, option.value));
    }
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let words: Vec<String> = options
            .into_iter()
            .map(|(name, value)| match value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            })
            .collect();
        let _ = writeln!(text, "options {}", words.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Pod {
        let mut spec = spec;
        spec["containers"] = json!([]);
        let meta = json!({"name": "web-0", "namespace": "ns"});
        serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
    }

    const DNS: Ipv4Addr = Ipv4Addr::new(10, 43, 0, 10);

    #[test]
    fn a_pod_asks_the_clusters_dns_and_searches_its_namespace_first() {
        assert_eq!(
            resolv_conf(&pod(json!({})), DNS, "cluster.local"),
            "search ns.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.43.0.10\n\
             options ndots:5\n"
        );
    }

    #[test]
    fn dns_config_adds_and_replaces() {
        let spec = json!({"dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.2.3.4"], "options": [{"name": "ndots", "value": "2"}],
        }});
        let text = resolv_conf(&pod(spec), DNS, "cluster.local");
        assert_eq!(text, "nameserver 1.2.3.4\noptions ndots:2\n");
    }

    #[test]
    fn a_pod_with_a_subdomain_knows_its_full_name() {
        let text = hosts(
            &pod(json!({"subdomain": "web"})),
            Some("10.42.0.9"),
            "node-1",
            "cluster.local",
        );
        assert!(
            text.ends_with("10.42.0.9\tweb-0.web.ns.svc.cluster.local\tweb-0\n"),
            "{text}"
        );
        let text = hosts(
            &pod(json!({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]})),
            Some("10.42.0.9"),
            "node-1",
            "cluster.local",
        );
        assert!(text.contains("10.42.0.9\tweb-0\n") && text.ends_with("1.2.3.4\ta\tb\n"));
    }

    #[test]
    fn the_host_name_is_the_specs_or_the_pods() {
        assert_eq!(hostname(&pod(json!({"hostname": "db"})), "node-1"), "db");
        assert_eq!(hostname(&pod(json!({})), "node-1"), "web-0");
        let shared = pod(json!({"hostNetwork": true}));
        assert_eq!(hostname(&shared, "node-1"), "node-1");
        let text = hosts(&shared, Some("10.0.0.1"), "node-1", "cluster.local");
        assert!(text.starts_with("# Kubernetes-managed hosts file (host network).\n"));
        assert!(text.ends_with("10.0.0.1\tnode-1\n"), "{text}");
    }
}
