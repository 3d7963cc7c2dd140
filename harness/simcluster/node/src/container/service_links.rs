//! The environment variables that tell a pod of the Services in its namespace. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;

/// The variables for a pod in `namespace`: those of its own Services if `links`, and always those of the
/// API server's Service.
pub(crate) fn variables<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut wanted: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let of = service.metadata.namespace.as_deref().unwrap_or_default();
        let api_server = of == "default" && name == "kubernetes";
        // A namespace's own `kubernetes` Service, if it has one, comes before the cluster's.
        if (links && of == namespace) || (api_server && !wanted.contains_key(name)) {
            wanted.insert(name, service);
        }
    }
    wanted
        .into_iter()
        .flat_map(|(name, service)| of_service(name, service))
        .collect()
}

fn of_service(name: &str, service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.clone().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let Some(ip) = spec.cluster_ip.filter(|ip| !ip.is_empty() && ip != "None") else {
        return Vec::new();
    };
    let Some(first) = ports.first() else {
        return Vec::new();
    };
    let prefix = variable_name(name);
    let mut all = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.clone()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in &ports {
        if let Some(port_name) = port.name.as_deref().filter(|n| !n.is_empty()) {
            let key = format!("{prefix}_SERVICE_PORT_{}", variable_name(port_name));
            all.push((key, port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let scheme = protocol.to_lowercase();
        let url = format!("{scheme}://{ip}:{}", port.port);
        if index == 0 {
            all.push((format!("{prefix}_PORT"), url.clone()));
        }
        let key = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        all.push((format!("{key}_PROTO"), scheme));
        all.push((format!("{key}_PORT"), port.port.to_string()));
        all.push((format!("{key}_ADDR"), ip.clone()));
        all.push((key, url));
    }
    all
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn services_of_the_namespace_and_the_api_server_are_told() {
        let service =
            |namespace: &str, name: &str, ip: &str, ports: serde_json::Value| -> Service {
                serde_json::from_value(json!({
                    "metadata": {"namespace": namespace, "name": name},
                    "spec": {"clusterIP": ip, "ports": ports},
                }))
                .unwrap()
            };
        let all = [
            service(
                "default",
                "kubernetes",
                "10.43.0.1",
                json!([{"name": "https", "port": 443}]),
            ),
            service("a", "my-db", "10.43.0.7", json!([{"port": 3306}])),
            service("a", "headless", "None", json!([{"port": 1}])),
            service("b", "other", "10.43.0.8", json!([{"port": 1}])),
        ];
        let vars = variables(&all, "a", true);
        assert_eq!(vars["MY_DB_SERVICE_HOST"], "10.43.0.7");
        assert_eq!(vars["MY_DB_PORT"], "tcp://10.43.0.7:3306");
        assert_eq!(vars["MY_DB_PORT_3306_TCP_ADDR"], "10.43.0.7");
        assert_eq!(vars["KUBERNETES_SERVICE_PORT_HTTPS"], "443");
        assert!(
            !vars
                .keys()
                .any(|k| k.starts_with("OTHER") || k.starts_with("HEADLESS"))
        );
        let without = variables(&all, "a", false);
        assert!(without.keys().all(|k| k.starts_with("KUBERNETES_")));
        assert!(!without.is_empty());
    }
}
