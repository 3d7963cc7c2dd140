//! Who may approve and sign certificate signing requests, and what none may ask a signer for.

use serde_json::Value;
use simcluster_auth::rbac::Attributes;
use simcluster_kinds::certificate_signing_request::organizations;

use super::forbidden;
use crate::server::{Failure, authorize, call::Call, identity::MASTERS, verbs::Part};

const GROUP: &str = "certificates.k8s.io";
/// The signer whose certificates the API server takes for users.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

fn is_request(call: &Call) -> bool {
    call.resource.is(GROUP, "certificatesigningrequests")
}

/// Nobody becomes an administrator by a certificate.
pub(super) fn create(call: &Call, request: &Value) -> Result<(), Failure> {
    if !is_request(call) || request["spec"]["signerName"] != CLIENTS {
        return Ok(());
    }
    if organizations(request).iter().any(|group| group == MASTERS) {
        let why = format!("use of {CLIENTS} signer with {MASTERS} group is not allowed");
        return Err(forbidden(call, request, &why));
    }
    Ok(())
}

/// A decision needs `approve` of the signer, a certificate or a failure `sign`.
pub(super) fn update(call: &Call, part: Part, new: &Value, old: &Value) -> Result<(), Failure> {
    if !is_request(call) {
        return Ok(());
    }
    let changes = |field: &str| new["status"].get(field) != old["status"].get(field);
    let verb = match part {
        Part::Approval => "approve",
        Part::Status if changes("certificate") || changes("conditions") => "sign",
        _ => return Ok(()),
    };
    let signer = old["spec"]["signerName"].as_str().unwrap_or_default();
    let domain = signer.split('/').next().unwrap_or_default();
    if may(call, verb, signer) || may(call, verb, &format!("{domain}/*")) {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(forbidden(call, new, &why))
}

fn may(call: &Call, verb: &str, signer: &str) -> bool {
    let asked = Attributes {
        group: GROUP.to_owned(),
        resource: "signers".to_owned(),
        name: signer.to_owned(),
        subresource: String::new(),
        namespace: String::new(),
        ..authorize::attributes(&call.identity, &call.route, verb)
    };
    let policy = call.server.policy.current(&call.server.store);
    policy.allows(&asked)
}
