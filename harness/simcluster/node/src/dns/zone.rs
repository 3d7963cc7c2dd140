//! What a name in the cluster means. Pure over the caches of [`crate::services`].

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;

use crate::services::{Backend, Services, cluster_ip, is_headless};

/// What a question asks for, as far as the zone has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// IPv4 addresses.
    A,
    /// Host and port of a service.
    Srv,
    /// The name of an address.
    Ptr,
    /// Something that no name here has.
    Other,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    A(Ipv4Addr),
    Srv { port: u16, target: String },
    Ptr(String),
    Cname(String),
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The name does not exist.
    Nothing,
    /// It does; the list may be empty. Addresses of targets come in the second list.
    Records(Vec<Data>, Vec<(String, Ipv4Addr)>),
}

/// The zone of one cluster.
pub(crate) struct Zone {
    /// `cluster.local`
    pub(crate) domain: String,
    pub(crate) services: Services,
}

impl Zone {
    /// Answers a question; `name` is in lower case and without the last dot.
    pub(crate) fn find(&self, name: &str, kind: Kind) -> Found {
        if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
            return self.reverse(reversed, kind);
        }
        let Some(inside) = name.strip_suffix(self.domain.as_str()) else {
            return Found::Nothing;
        };
        if inside.is_empty() {
            return Found::Records(Vec::new(), Vec::new());
        }
        let Some(inside) = inside.strip_suffix('.') else {
            return Found::Nothing;
        };
        let labels: Vec<&str> = inside.rsplit('.').collect();
        match labels.as_slice() {
            ["svc" | "pod"] => Found::Records(Vec::new(), Vec::new()),
            ["svc", namespace] => {
                let of = |s: &Service| s.metadata.namespace.as_deref() == Some(namespace);
                match self.services.services.find(of) {
                    Some(_) => Found::Records(Vec::new(), Vec::new()),
                    None => Found::Nothing,
                }
            }
            ["svc", namespace, service, rest @ ..] => match self.services.get(namespace, service) {
                Some(found) => self.of_service(&found, rest, kind),
                None => Found::Nothing,
            },
            // A pod's name is its address.
            ["pod", _namespace, address] => match address.replace('-', ".").parse() {
                Ok(address) if kind == Kind::A => {
                    Found::Records(vec![Data::A(address)], Vec::new())
                }
                Ok(_) => Found::Records(Vec::new(), Vec::new()),
                Err(_) => Found::Nothing,
            },
            _ => Found::Nothing,
        }
    }

    /// `below` are the labels before the Service's name, the nearest first.
    fn of_service(&self, service: &Service, below: &[&str], kind: Kind) -> Found {
        let own = self.name_of(service);
        let external = service.spec.as_ref().and_then(|s| s.external_name.clone());
        if let (Some(target), []) = (external.filter(|name| !name.is_empty()), below) {
            return Found::Records(vec![Data::Cname(target)], Vec::new());
        }
        let hosts: Vec<(String, Ipv4Addr, Backend)> = if is_headless(service) {
            let backends = self.services.backends(service).into_iter();
            backends
                .map(|b| (format!("{}.{own}", host_of(&b)), b.address, b))
                .collect()
        } else {
            Vec::new()
        };
        let addresses = |list: Vec<Ipv4Addr>| {
            let list = if kind == Kind::A { list } else { Vec::new() };
            Found::Records(list.into_iter().map(Data::A).collect(), Vec::new())
        };
        match below {
            [] => match cluster_ip(service) {
                Some(ip) => addresses(vec![ip]),
                // A headless Service without anything ready does not exist.
                None if hosts.is_empty() => Found::Nothing,
                None => addresses(hosts.iter().map(|(_, address, _)| *address).collect()),
            },
            [protocol, port] if protocol.starts_with('_') && port.starts_with('_') => {
                Self::ports(service, &own, &hosts, (&protocol[1..], &port[1..]), kind)
            }
            [host] => {
                let wanted = format!("{host}.{own}");
                let matching: Vec<Ipv4Addr> = hosts
                    .iter()
                    .filter(|(name, ..)| *name == wanted)
                    .map(|h| h.1)
                    .collect();
                if matching.is_empty() {
                    Found::Nothing
                } else {
                    addresses(matching)
                }
            }
            _ => Found::Nothing,
        }
    }

    fn ports(
        service: &Service,
        own: &str,
        hosts: &[(String, Ipv4Addr, Backend)],
        (protocol, name): (&str, &str),
        kind: Kind,
    ) -> Found {
        let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
        let port = ports.into_iter().find(|port| {
            port.name.as_deref() == Some(name)
                && port
                    .protocol
                    .as_deref()
                    .unwrap_or("TCP")
                    .eq_ignore_ascii_case(protocol)
        });
        let Some(port) = port else {
            return Found::Nothing;
        };
        if kind != Kind::Srv {
            return Found::Records(Vec::new(), Vec::new());
        }
        if let (Some(ip), Ok(port)) = (cluster_ip(service), u16::try_from(port.port)) {
            let target = own.to_owned();
            return Found::Records(vec![Data::Srv { port, target }], vec![(own.to_owned(), ip)]);
        }
        let mut records = Vec::new();
        let mut additional = Vec::new();
        for (host, address, backend) in hosts {
            if let Some(port) = backend.ports.get(name) {
                records.push(Data::Srv {
                    port: *port,
                    target: host.clone(),
                });
                additional.push((host.clone(), *address));
            }
        }
        if records.is_empty() {
            Found::Nothing
        } else {
            Found::Records(records, additional)
        }
    }

    fn reverse(&self, reversed: &str, kind: Kind) -> Found {
        let address: String = reversed.split('.').rev().collect::<Vec<_>>().join(".");
        let Ok(address) = address.parse() else {
            return Found::Nothing;
        };
        let name = match (self.services.at(address), self.services.backend_at(address)) {
            (Some(service), _) => self.name_of(&service),
            (None, Some((service, backend))) => {
                format!("{}.{}", host_of(&backend), self.name_of(&service))
            }
            (None, None) => return Found::Nothing,
        };
        let records = if kind == Kind::Ptr {
            vec![Data::Ptr(name)]
        } else {
            Vec::new()
        };
        Found::Records(records, Vec::new())
    }

    fn name_of(&self, service: &Service) -> String {
        let meta = &service.metadata;
        format!(
            "{}.{}.svc.{}",
            meta.name.as_deref().unwrap_or_default(),
            meta.namespace.as_deref().unwrap_or_default(),
            self.domain
        )
    }
}

/// The label of a backend below its Service: its host name, or its address with dashes.
fn host_of(backend: &Backend) -> String {
    backend
        .hostname
        .clone()
        .unwrap_or_else(|| backend.address.to_string().replace('.', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::runtime::{reflector, watcher};
    use serde_json::{Value, json};

    fn zone() -> Zone {
        let service = |name: &str, spec: Value| json!({"metadata": {"name": name, "namespace": "ns"}, "spec": spec});
        let port = json!([{"name": "db", "port": 3306}]);
        let services = [
            service("db", json!({"clusterIP": "10.43.0.7", "ports": port})),
            service("web", json!({"clusterIP": "None", "ports": port})),
            service(
                "all",
                json!({"clusterIP": "None", "publishNotReadyAddresses": true}),
            ),
            service("empty", json!({"clusterIP": "None"})),
            service(
                "out",
                json!({"type": "ExternalName", "externalName": "example.com"}),
            ),
        ];
        let slice = |name: &str| {
            json!({
                "metadata": {"name": format!("{name}-x"), "namespace": "ns",
                             "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "ports": [{"name": "db", "port": 13306}],
                "endpoints": [
                    {"addresses": ["10.42.0.5"], "hostname": "web-0",
                     "conditions": {"ready": true}},
                    {"addresses": ["10.42.0.6"], "conditions": {"ready": false}},
                ],
            })
        };
        let (service_store, mut writer) = reflector::store();
        for service in services {
            let service = serde_json::from_value(service).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(service));
        }
        let (slice_store, mut writer) = reflector::store();
        for name in ["web", "all"] {
            let slice = serde_json::from_value(slice(name)).unwrap();
            writer.apply_watcher_event(&watcher::Event::Apply(slice));
        }
        Zone {
            domain: "cluster.local".into(),
            services: Services {
                services: service_store,
                slices: slice_store,
            },
        }
    }

    fn records(name: &str, kind: Kind) -> Vec<Data> {
        match zone().find(name, kind) {
            Found::Records(records, _) => records,
            Found::Nothing => panic!("{name} does not exist"),
        }
    }

    fn a(last: u8) -> Data {
        Data::A(Ipv4Addr::new(10, 42, 0, last))
    }

    #[test]
    fn a_service_with_an_address_is_that_address() {
        let name = "db.ns.svc.cluster.local";
        assert_eq!(
            records(name, Kind::A),
            [Data::A(Ipv4Addr::new(10, 43, 0, 7))]
        );
        assert_eq!(
            records(name, Kind::Other),
            [],
            "it exists, but has no IPv6 address"
        );
        assert_eq!(
            records("_db._tcp.db.ns.svc.cluster.local", Kind::Srv),
            [Data::Srv {
                port: 3306,
                target: name.into()
            }]
        );
    }

    #[test]
    fn a_headless_service_is_what_is_ready_behind_it() {
        assert_eq!(records("web.ns.svc.cluster.local", Kind::A), [a(5)]);
        assert_eq!(records("web-0.web.ns.svc.cluster.local", Kind::A), [a(5)]);
        assert_eq!(records("all.ns.svc.cluster.local", Kind::A), [a(5), a(6)]);
        assert_eq!(
            records("10-42-0-6.all.ns.svc.cluster.local", Kind::A),
            [a(6)]
        );
        assert_eq!(
            records("_db._tcp.web.ns.svc.cluster.local", Kind::Srv),
            [Data::Srv {
                port: 13306,
                target: "web-0.web.ns.svc.cluster.local".into()
            }]
        );
    }

    #[test]
    fn addresses_have_names() {
        assert_eq!(
            records("7.0.43.10.in-addr.arpa", Kind::Ptr),
            [Data::Ptr("db.ns.svc.cluster.local".into())]
        );
        assert_eq!(
            records("5.0.42.10.in-addr.arpa", Kind::Ptr).len(),
            1,
            "one of the headless services names it"
        );
    }

    #[test]
    fn an_external_name_is_an_alias_and_a_pods_name_its_address() {
        assert_eq!(
            records("out.ns.svc.cluster.local", Kind::A),
            [Data::Cname("example.com".into())]
        );
        assert_eq!(records("10-42-0-9.ns.pod.cluster.local", Kind::A), [a(9)]);
    }

    #[test]
    fn other_names_do_not_exist() {
        let names = [
            "nope.ns.svc.cluster.local",
            "db.other.svc.cluster.local",
            "empty.ns.svc.cluster.local",
            "x.db.ns.svc.cluster.local",
            "_no._tcp.db.ns.svc.cluster.local",
            "example.com",
            "db.ns.svc.cluster.local.cluster.local",
        ];
        for name in names {
            assert_eq!(zone().find(name, Kind::A), Found::Nothing, "{name}");
        }
    }
}
