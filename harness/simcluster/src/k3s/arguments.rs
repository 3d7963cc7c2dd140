//! The arguments of `k3s server`, as far as they mean something here.
//!
//! Pure. Flags that k3s has and that ask for nothing this cluster could do differently are taken and
//! named; flags that k3s does not have are refused, as k3s refuses them.

/// Flags of `k3s server` that take a value and are taken without effect.
const VALUES_WITHOUT_EFFECT: [&str; 37] = [
    "bind-address",
    "advertise-address",
    "advertise-port",
    "cluster-cidr",
    "service-cidr",
    "service-node-port-range",
    "cluster-dns",
    "cluster-domain",
    "flannel-backend",
    "flannel-iface",
    "egress-selector-mode",
    "data-dir",
    "d",
    "token",
    "t",
    "agent-token",
    "server",
    "s",
    "kubelet-arg",
    "kube-apiserver-arg",
    "kube-controller-manager-arg",
    "kube-scheduler-arg",
    "kube-proxy-arg",
    "etcd-arg",
    "datastore-endpoint",
    "node-name",
    "node-label",
    "node-taint",
    "node-ip",
    "node-external-ip",
    "snapshotter",
    "container-runtime-endpoint",
    "pause-image",
    "private-registry",
    "system-default-registry",
    "log",
    "v",
];

/// Flags of `k3s server` without a value that are taken without effect.
const SWITCHES_WITHOUT_EFFECT: [&str; 14] = [
    "cluster-init",
    "cluster-reset",
    "debug",
    "disable-agent",
    "disable-cloud-controller",
    "disable-helm-controller",
    "disable-kube-proxy",
    "disable-network-policy",
    "docker",
    "protect-kernel-defaults",
    "rootless",
    "secrets-encryption",
    "selinux",
    "prefer-bundled-bin",
];

/// What `k3s server` was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Port of the API server.
    pub(crate) port: u16,
    /// Names and addresses, beside loopback, that the certificate is for.
    pub(crate) tls_san: Vec<String>,
    /// Where to write the kubeconfig.
    pub(crate) kubeconfig: String,
    /// Permission bits of that file.
    pub(crate) mode: u32,
    /// Flags that were given and have no effect here.
    pub(crate) without_effect: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            port: 6443,
            tls_san: Vec::new(),
            kubeconfig: "/etc/rancher/k3s/k3s.yaml".to_owned(),
            mode: 0o600,
            without_effect: Vec::new(),
        }
    }
}

impl Server {
    /// Reads what follows the word `server`.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut server = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(flag) = argument.strip_prefix('-') else {
                return Err(format!("unexpected argument {argument:?}"));
            };
            let flag = flag.strip_prefix('-').unwrap_or(flag);
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (flag.to_owned(), None),
            };
            if SWITCHES_WITHOUT_EFFECT.contains(&name.as_str()) {
                server.without_effect.push(name);
                continue;
            }
            let mut value = || {
                given
                    .clone()
                    .or_else(|| arguments.next())
                    .ok_or_else(|| format!("flag needs an argument: -{name}"))
            };
            match name.as_str() {
                "tls-san" => server
                    .tls_san
                    .extend(value()?.split(',').map(str::to_owned)),
                // What could be disabled, Traefik and its like, is not there in the first place.
                "disable" => drop(value()?),
                "https-listen-port" => {
                    let text = value()?;
                    server.port = text
                        .parse()
                        .map_err(|_| format!("invalid value {text:?} for flag -{name}"))?;
                }
                "write-kubeconfig" | "o" => server.kubeconfig = value()?,
                "write-kubeconfig-mode" => {
                    let text = value()?;
                    server.mode = u32::from_str_radix(&text, 8)
                        .map_err(|_| format!("invalid value {text:?} for flag -{name}"))?;
                }
                known if VALUES_WITHOUT_EFFECT.contains(&known) => {
                    drop(value()?);
                    server.without_effect.push(name);
                }
                _ => return Err(format!("flag provided but not defined: -{name}")),
            }
        }
        Ok(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &str) -> Result<Server, String> {
        Server::parse(arguments.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn what_test_container_libraries_pass_is_understood() {
        let server = parse("--disable traefik --disable=servicelb --tls-san=localhost,10.0.0.1")
            .expect("valid arguments");
        assert_eq!(server.tls_san, ["localhost", "10.0.0.1"]);
        assert_eq!(server.port, 6443);
    }

    #[test]
    fn a_flag_that_k3s_does_not_have_is_refused_in_its_words() {
        assert_eq!(
            parse("--tls-sam x"),
            Err("flag provided but not defined: -tls-sam".to_owned())
        );
    }

    #[test]
    fn a_flag_without_its_value_is_refused() {
        assert_eq!(
            parse("--tls-san"),
            Err("flag needs an argument: -tls-san".to_owned())
        );
    }

    #[test]
    fn flags_without_effect_are_named() {
        let server = parse("--cluster-init --cluster-cidr 10.1.0.0/16 --https-listen-port=7443");
        let server = server.expect("valid arguments");
        assert_eq!(server.without_effect, ["cluster-init", "cluster-cidr"]);
        assert_eq!(server.port, 7443);
    }
}
