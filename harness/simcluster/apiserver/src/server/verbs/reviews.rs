//! Questions that are asked by creating an object that is not kept: who am I, may I.

use http::StatusCode;
use serde_json::{Value, json};
use simcluster_auth::rbac::Attributes;
use simcluster_machinery::{
    field::{Error, Path},
    status::Status,
};

use crate::server::{
    Failure, authenticate,
    call::Call,
    decode,
    identity::Identity,
    negotiate::{self, Offer},
    reply::{self, Reply},
};

/// Answers a create of a review, if the resource is one.
pub(super) fn answer(call: &mut Call) -> Option<Result<Reply, Failure>> {
    let group = call.resource.name.group.as_str();
    let review: fn(&Call, &mut Value) -> Result<(), Failure> =
        match (group, call.resource.name.resource.as_str()) {
            ("authentication.k8s.io", "selfsubjectreviews") => who_am_i,
            ("authentication.k8s.io", "tokenreviews") => token,
            ("authorization.k8s.io", "selfsubjectaccessreviews") => may_i,
            ("authorization.k8s.io", "subjectaccessreviews") => may_they,
            ("authorization.k8s.io", "localsubjectaccessreviews") => may_they_here,
            ("authorization.k8s.io", "selfsubjectrulesreviews") => my_rules,
            _ => return None,
        };
    Some(run(call, review))
}

fn run(
    call: &mut Call,
    review: fn(&Call, &mut Value) -> Result<(), Failure>,
) -> Result<Reply, Failure> {
    let mut object = decode::object(call)?;
    review(call, &mut object)?;
    let wanted = negotiate::object(&call.headers, &call.query, Offer::Whole, false)?;
    Ok(reply::json(StatusCode::CREATED, &object, &wanted))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "the same shape as the other reviews"
)]
fn who_am_i(call: &Call, object: &mut Value) -> Result<(), Failure> {
    object["metadata"] = json!({"creationTimestamp": call.server.config.clock.rfc3339()});
    object["status"] = json!({"userInfo": call.identity.user_info()});
    Ok(())
}

fn token(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let token = object["spec"]["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Box::new(Status::bad_request(
            "token is required for TokenReview in authentication",
        )));
    }
    let audiences: Vec<&str> = object["spec"]["audiences"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    object["status"] = authenticate::review(&call.server, token, &audiences);
    Ok(())
}

fn may_i(call: &Call, object: &mut Value) -> Result<(), Failure> {
    check_attributes(object)?;
    let asked = attributes(&call.identity, &object["spec"]);
    object["status"] = decision(call, &asked);
    Ok(())
}

fn may_they(call: &Call, object: &mut Value) -> Result<(), Failure> {
    check_attributes(object)?;
    let spec = &object["spec"];
    let user = spec["user"].as_str().unwrap_or_default();
    let groups: Vec<String> = spec["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|group| group.as_str().map(str::to_owned))
        .collect();
    if user.is_empty() && groups.is_empty() {
        let path = Path::new("spec").child("user");
        let error = Error::invalid(
            &path,
            user,
            "at least one of user or group must be specified",
        );
        return Err(refuse(error));
    }
    let who = Identity {
        user: user.to_owned(),
        groups,
        ..Identity::default()
    };
    let asked = attributes(&who, spec);
    object["status"] = decision(call, &asked);
    Ok(())
}

fn may_they_here(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let namespace = object["spec"]["resourceAttributes"]["namespace"]
        .as_str()
        .unwrap_or_default();
    if namespace != call.route.namespace {
        let path = Path::new("spec")
            .child("resourceAttributes")
            .child("namespace");
        let error = Error::invalid(&path, namespace, "must match metadata.namespace");
        return Err(refuse(error));
    }
    may_they(call, object)
}

fn refuse(error: Error) -> Failure {
    Box::new(Status::invalid("authorization.k8s.io", "", "", &[error]))
}

fn check_attributes(object: &Value) -> Result<(), Failure> {
    let spec = &object["spec"];
    if spec["resourceAttributes"].is_object() == spec["nonResourceAttributes"].is_object() {
        let path = Path::new("spec").child("resourceAttributes");
        let what = if spec["resourceAttributes"].is_object() {
            "cannot be specified in combination with nonResourceAttributes"
        } else {
            "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        };
        return Err(refuse(Error::invalid(
            &path,
            spec["resourceAttributes"].clone(),
            what,
        )));
    }
    Ok(())
}

fn attributes(who: &Identity, spec: &Value) -> Attributes {
    let mut asked = Attributes {
        user: who.user.clone(),
        groups: who.groups.clone(),
        ..Attributes::default()
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let resource = &spec["resourceAttributes"];
    if resource.is_object() {
        asked.verb = text(&resource["verb"]);
        asked.group = text(&resource["group"]);
        asked.resource = text(&resource["resource"]);
        asked.subresource = text(&resource["subresource"]);
        asked.name = text(&resource["name"]);
        asked.namespace = text(&resource["namespace"]);
    } else {
        asked.verb = text(&spec["nonResourceAttributes"]["verb"]);
        asked.path = Some(text(&spec["nonResourceAttributes"]["path"]));
    }
    asked
}

fn decision(call: &Call, asked: &Attributes) -> Value {
    let policy = call.server.policy.current(&call.server.store);
    json!({"allowed": policy.allows(asked)})
}

fn my_rules(call: &Call, object: &mut Value) -> Result<(), Failure> {
    let namespace = object["spec"]["namespace"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if namespace.is_empty() {
        return Err(Box::new(Status::bad_request("no namespace on request")));
    }
    let policy = call.server.policy.current(&call.server.store);
    let mut resource_rules = Vec::new();
    let mut path_rules = Vec::new();
    if call.identity.in_group(super::super::identity::MASTERS) {
        resource_rules.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        path_rules.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    let identity = &call.identity;
    for rule in policy.rules(&identity.user, &identity.groups, &namespace) {
        let mut value = serde_json::to_value(rule).unwrap_or_default();
        if value.get("nonResourceURLs").is_some() {
            path_rules.push(value);
        } else {
            for field in ["apiGroups", "resources"] {
                if value.get(field).is_none() {
                    value[field] = json!([]);
                }
            }
            resource_rules.push(value);
        }
    }
    object["status"] = json!({
        "resourceRules": resource_rules,
        "nonResourceRules": path_rules,
        "incomplete": false,
    });
    Ok(())
}
