//! What each of Kubernetes' own signers signs, and what it says to other requests. Pure.

use std::collections::BTreeSet;

use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer as _,
};

const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";

/// Whether requests of the signer are signed here.
pub(super) fn is_ours(signer: &str) -> bool {
    matches!(signer, CLIENT | KUBELET_CLIENT | KUBELET_SERVING)
}

/// The request (PEM in) as DER, if its signer signs it, or why not.
pub(super) fn judge(signer: &str, request: &[u8], usages: &[String]) -> Result<Vec<u8>, String> {
    let (_, block) = x509_parser::pem::parse_x509_pem(request)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    let (_, asked) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|error| format!("the certificate request cannot be read: {error}"))?;
    let verdict = match signer {
        KUBELET_CLIENT => kubelet_client(&Asked::of(&asked), usages),
        KUBELET_SERVING => kubelet_serving(&Asked::of(&asked), usages),
        _ => client(usages),
    };
    verdict.map(|()| block.contents)
}

/// What the rules look at.
#[derive(Default)]
struct Asked {
    organizations: Vec<String>,
    common_name: String,
    /// The kinds of its other names.
    names: BTreeSet<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Dns,
    Email,
    Address,
    Uri,
}

impl Asked {
    fn has(&self, name: Name) -> bool {
        self.names.contains(&name)
    }

    fn of(request: &X509CertificationRequest<'_>) -> Self {
        let subject = &request.certification_request_info.subject;
        let mut asked = Self {
            organizations: subject
                .iter_organization()
                .filter_map(|one| one.as_str().ok().map(str::to_owned))
                .collect(),
            common_name: subject
                .iter_common_name()
                .last()
                .and_then(|one| one.as_str().ok())
                .unwrap_or_default()
                .to_owned(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else {
                continue;
            };
            let kinds = names.general_names.iter().filter_map(|name| match name {
                GeneralName::DNSName(_) => Some(Name::Dns),
                GeneralName::RFC822Name(_) => Some(Name::Email),
                GeneralName::IPAddress(_) => Some(Name::Address),
                GeneralName::URI(_) => Some(Name::Uri),
                _ => None,
            });
            asked.names.extend(kinds);
        }
        asked
    }
}

fn refuse_if(is_wrong: bool, why: &str) -> Result<(), String> {
    if is_wrong {
        Err(why.to_owned())
    } else {
        Ok(())
    }
}

fn of_nodes(asked: &Asked) -> Result<(), String> {
    let why = "subject organization is not system:nodes";
    refuse_if(asked.organizations != [NODES], why)
}

fn of_a_node(asked: &Asked) -> Result<(), String> {
    let why = "subject common name does not begin with system:node:";
    refuse_if(!asked.common_name.starts_with(NODE), why)
}

/// The usages are these, or these without what only RSA keys do.
fn only(usages: &[String], purpose: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let mut wanted = BTreeSet::from(["digital signature", "key encipherment", purpose]);
    let list: Vec<&str> = wanted.iter().copied().collect();
    let why = format!("usages did not match [{}]", list.join(" "));
    if given == wanted {
        return Ok(());
    }
    wanted.remove("key encipherment");
    refuse_if(given != wanted, &why)
}

fn kubelet_serving(asked: &Asked, usages: &[String]) -> Result<(), String> {
    of_nodes(asked)?;
    refuse_if(
        !asked.has(Name::Dns) && !asked.has(Name::Address),
        "DNS or IP subjectAltName is required",
    )?;
    refuse_if(
        asked.has(Name::Email),
        "Email subjectAltNames are not allowed",
    )?;
    refuse_if(asked.has(Name::Uri), "URI subjectAltNames are not allowed")?;
    only(usages, "server auth")?;
    of_a_node(asked)
}

fn kubelet_client(asked: &Asked, usages: &[String]) -> Result<(), String> {
    of_nodes(asked)?;
    refuse_if(asked.has(Name::Dns), "DNS subjectAltNames are not allowed")?;
    refuse_if(
        asked.has(Name::Email),
        "Email subjectAltNames are not allowed",
    )?;
    refuse_if(
        asked.has(Name::Address),
        "IP subjectAltNames are not allowed",
    )?;
    refuse_if(asked.has(Name::Uri), "URI subjectAltNames are not allowed")?;
    of_a_node(asked)?;
    only(usages, "client auth")
}

fn client(usages: &[String]) -> Result<(), String> {
    const OPTIONAL: [&str; 2] = ["digital signature", "key encipherment"];
    const REQUIRED: &str = "client auth";
    for usage in usages.iter().map(String::as_str) {
        if usage != REQUIRED && !OPTIONAL.contains(&usage) {
            return Err(format!("invalid usage for client certificate: {usage}"));
        }
    }
    let given = usages.iter().any(|usage| usage == REQUIRED);
    refuse_if(
        !given,
        &format!("missing required usage for client certificate: {REQUIRED}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(usages: &[&str]) -> Vec<String> {
        usages.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_certificate_of_a_client_is_for_nothing_else() {
        assert_eq!(
            client(&usages(&["client auth", "digital signature"])),
            Ok(())
        );
        assert_eq!(
            client(&usages(&["server auth"])).unwrap_err(),
            "invalid usage for client certificate: server auth"
        );
        assert_eq!(
            client(&usages(&["digital signature"])).unwrap_err(),
            "missing required usage for client certificate: client auth"
        );
    }

    #[test]
    fn a_kubelet_is_a_node_and_serves_under_a_name_or_an_address() {
        let node = || Asked {
            organizations: vec![NODES.to_owned()],
            common_name: "system:node:a".to_owned(),
            ..Asked::default()
        };
        let of_client = usages(&["digital signature", "client auth"]);
        let of_server = usages(&["digital signature", "key encipherment", "server auth"]);
        assert_eq!(kubelet_client(&node(), &of_client), Ok(()));
        assert_eq!(
            kubelet_client(&node(), &of_server).unwrap_err(),
            "usages did not match [client auth digital signature key encipherment]"
        );
        assert_eq!(
            kubelet_client(
                &Asked {
                    names: BTreeSet::from([Name::Dns]),
                    ..node()
                },
                &of_client
            )
            .unwrap_err(),
            "DNS subjectAltNames are not allowed"
        );
        assert_eq!(
            kubelet_client(&Asked::default(), &of_client).unwrap_err(),
            "subject organization is not system:nodes"
        );
        let stranger = Asked {
            common_name: "jan".to_owned(),
            names: BTreeSet::from([Name::Address]),
            ..node()
        };
        assert_eq!(
            kubelet_serving(&stranger, &of_server).unwrap_err(),
            "subject common name does not begin with system:node:"
        );
        assert_eq!(
            kubelet_serving(&node(), &of_server).unwrap_err(),
            "DNS or IP subjectAltName is required"
        );
        let serving = Asked {
            names: BTreeSet::from([Name::Address]),
            ..node()
        };
        assert_eq!(kubelet_serving(&serving, &of_server), Ok(()));
    }
}
