//! Tokens of service accounts.

use http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_auth::token::{Bound, Claims, Reference};
use simcluster_machinery::{
    field::{Error, Path},
    kind::{GroupResource, GroupVersionKind},
    status::Status,
};

use crate::server::{
    Failure,
    admit::{self, webhooks::Write},
    authenticate,
    call::Call,
    clock, decode,
    negotiate::{self, Offer},
    reply::{self, Reply},
};

/// No token is good for less than this.
const SHORTEST: i64 = 600;
/// How long a token is good unless it is said.
const USUAL: i64 = 3600;
/// No token is good for more than this.
const LONGEST: i64 = 1 << 32;

/// `POST` of a service account's token.
pub(super) async fn request(call: &mut Call) -> Result<Reply, Failure> {
    let kind = GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest");
    let mut request = decode::other(call, &kind)?;
    let write = Write {
        operation: "CREATE",
        ..Write::default()
    };
    admit::through(call, &kind, &mut request, write).await?;
    let account = super::read::find(call)?;
    let spec = &request["spec"];
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(USUAL);
    let path = Path::new("spec").child("expirationSeconds");
    let mut errors = Vec::new();
    if seconds < SHORTEST {
        errors.push(Error::invalid(
            &path,
            seconds,
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds > LONGEST {
        errors.push(Error::invalid(
            &path,
            seconds,
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    if !errors.is_empty() {
        return Err(Box::new(Status::invalid(
            &kind.group,
            &kind.kind,
            "",
            &errors,
        )));
    }
    let mut audiences: Vec<String> = spec["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.push(authenticate::ISSUER.to_owned());
    }
    let reference = bound_object(call, &spec["boundObjectRef"])?;
    let now = call.server.config.clock.now();
    let expires = now.as_second().saturating_add(seconds);
    let (pod, secret) = match reference {
        Some((true, reference)) => (Some(reference), None),
        Some((false, reference)) => (None, Some(reference)),
        None => (None, None),
    };
    let claims = Claims {
        aud: audiences.clone(),
        exp: expires,
        iat: now.as_second(),
        iss: authenticate::ISSUER.to_owned(),
        nbf: now.as_second(),
        sub: format!(
            "system:serviceaccount:{}:{}",
            account.namespace(),
            account.name()
        ),
        kubernetes: Bound {
            namespace: account.namespace().to_owned(),
            serviceaccount: Reference {
                name: account.name().to_owned(),
                uid: account.uid().to_owned(),
            },
            pod,
            secret,
        },
    };
    let bound = request["spec"]
        .get("boundObjectRef")
        .cloned()
        .unwrap_or(Value::Null);
    request["metadata"] = json!({
        "name": account.name(), "namespace": account.namespace(), "uid": account.uid(),
        "creationTimestamp": clock::rfc3339(now),
    });
    request["spec"] = json!({
        "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound,
    });
    let end = Timestamp::from_second(expires).unwrap_or(Timestamp::MAX);
    request["status"] = json!({
        "token": call.server.signer.mint(&claims),
        "expirationTimestamp": clock::rfc3339(end),
    });
    let wanted = negotiate::object(&call.headers, &call.query, Offer::Whole, false)?;
    Ok(reply::json(StatusCode::CREATED, &request, &wanted))
}

/// The pod (`true`) or secret that the token shall live no longer than.
fn bound_object(call: &Call, reference: &Value) -> Result<Option<(bool, Reference)>, Failure> {
    if !reference.is_object() {
        return Ok(None);
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (is_pod, resource) = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => (true, "pods"),
        ("v1", "Secret") => (false, "secrets"),
        (version, kind) => {
            return Err(Box::new(Status::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to object of type {version}, Kind={kind}",
                call.route.name
            ))));
        }
    };
    let key = format!("{}/{}", call.route.namespace, text("name"));
    let object = call.server.store.read().get(&format!("/{resource}"), &key);
    let name = GroupResource::new("", resource);
    let object = object.ok_or_else(|| Box::new(Status::not_found(&name, text("name"))))?;
    let asked = text("uid");
    if !asked.is_empty() && asked != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(Box::new(Status::conflict(&name, text("name"), &why)));
    }
    let reference = Reference {
        name: object.name().to_owned(),
        uid: object.uid().to_owned(),
    };
    Ok(Some((is_pod, reference)))
}
