//! `Status` objects: the API's way of saying that a request failed, word for word.
//!
//! One constructor per way to fail. Which of them a situation calls for is decided elsewhere.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field;
use crate::kind::GroupResource;

/// A failed request, as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", rename = "Status")]
pub struct Status {
    /// Always `v1`.
    pub api_version: String,
    /// Empty, but for a list that cannot go on as it began.
    #[serde(default)]
    pub metadata: StatusMetadata,
    /// `Failure`, or `Success` for a finished deletion.
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// About what, and because of which fields.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status code.
    pub code: u16,
}

/// The list metadata of a Status, which is hardly ever filled.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusMetadata {
    /// Where a list whose parts are forgotten can go on, with what there is now.
    #[serde(default, rename = "continue", skip_serializing_if = "String::is_empty")]
    pub go_on: String,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource, or for invalid objects the kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Each single thing that is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again; also goes into the header `Retry-After`.
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_zero(seconds: &u32) -> bool {
    *seconds == 0
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// `FieldValueInvalid`, `FieldManagerConflict`, …
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

impl Status {
    /// Any failure; an empty reason stays absent.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            api_version: "v1".to_owned(),
            metadata: StatusMetadata::default(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// The answer to a deletion that is complete.
    pub fn success(details: Details) -> Self {
        let details = Some(details);
        Self {
            status: "Success".to_owned(),
            details,
            ..Self::failure(200, "", "")
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    fn about(self, resource: &GroupResource, name: &str) -> Self {
        self.with_details(Details {
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            name: name.to_owned(),
            ..Details::default()
        })
    }

    /// 404 `deployments.apps "x" not found`
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::failure(404, "NotFound", format!("{resource} {name:?} not found"))
            .about(resource, name)
    }

    /// 404 for a path that is no resource.
    pub fn no_such_resource() -> Self {
        let message = "the server could not find the requested resource";
        Self::failure(404, "NotFound", message).with_details(Details::default())
    }

    /// 409 `configmaps "x" already exists`
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::failure(
            409,
            "AlreadyExists",
            format!("{resource} {name:?} already exists"),
        )
        .about(resource, name)
    }

    /// 409 `Operation cannot be fulfilled on configmaps "x": why`
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {why}");
        Self::failure(409, "Conflict", message).about(resource, name)
    }

    /// 409 because somebody else wrote in between.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        let why = "the object has been modified; \
                   please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 409 of server-side apply, with one cause for each field that another manager owns.
    pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        let details = Details {
            causes,
            ..Details::default()
        };
        Self::failure(409, "Conflict", message).with_details(details)
    }

    /// 422 `Deployment.apps "x" is invalid: …`
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[field::Error]) -> Self {
        let causes = errors.iter().map(|error| Cause {
            reason: error.kind.reason().to_owned(),
            message: error.body(),
            field: error.path.to_string(),
        });
        let details = Details {
            group: group.to_owned(),
            kind: kind.to_owned(),
            name: name.to_owned(),
            causes: causes.collect(),
            ..Details::default()
        };
        let kind = GroupResource::new(group, kind);
        // The quotes are Go's even around nothing, and a kind that is not known leaves its blank.
        let mut message = format!("{kind} {name:?} is invalid");
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&aggregate(errors.iter().map(ToString::to_string)));
        }
        Self::failure(422, "Invalid", message).with_details(details)
    }

    /// 422 for a patch that cannot be applied to this object.
    pub fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::failure(422, "Invalid", message).with_details(Details::default())
    }

    /// 400
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 403 `pods "x" is forbidden: why`; without a name for requests about no single object.
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = if resource.resource.is_empty() {
            format!("forbidden: {why}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {why}")
        } else {
            format!("{resource} {name:?} is forbidden: {why}")
        };
        Self::failure(403, "Forbidden", message).about(resource, name)
    }

    /// 405
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::failure(405, "MethodNotAllowed", message).with_details(Details::default())
    }

    /// 405 `update is not supported on resources of kind "…"`
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind {:?}",
            resource.to_string()
        );
        Self::failure(405, "MethodNotAllowed", message).about(resource, "")
    }

    /// 406 when no representation in `Accept` can be served.
    pub fn not_acceptable(available: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            available.join(", ")
        );
        Self::failure(406, "NotAcceptable", message)
    }

    /// 410, the revision is gone; the reason tells a watch to start anew.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 410 without the reason of an expired revision.
    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, "Gone", message)
    }

    /// 413 `Request entity too large: …`
    pub fn too_large(message: &str) -> Self {
        let message = format!("Request entity too large: {message}");
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// 415 when the body's format is none of these.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 429 `Too many requests: …`, with when to try again.
    pub fn too_many_requests(message: &str, retry_after_seconds: u32) -> Self {
        let details = Details {
            retry_after_seconds,
            ..Details::default()
        };
        Self::failure(429, "TooManyRequests", message).with_details(details)
    }

    /// 500 `Internal error occurred: …`
    pub fn internal(message: &str) -> Self {
        let cause = Cause {
            message: message.to_owned(),
            ..Cause::default()
        };
        let details = Details {
            causes: vec![cause],
            ..Details::default()
        };
        Self::failure(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .with_details(details)
    }

    /// 500 without a reason, as the API answers errors that it did not expect.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::failure(500, "", message)
    }

    /// 501 for what this server does not do.
    pub fn not_implemented(what: &str) -> Self {
        let message = format!("{what} is not implemented by this simulated cluster");
        Self::failure(501, "NotImplemented", message)
    }

    /// 503
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// 504 `Timeout: …`
    pub fn timeout(message: &str, retry_after_seconds: u32) -> Self {
        let details = Details {
            retry_after_seconds,
            ..Details::default()
        };
        Self::failure(504, "Timeout", format!("Timeout: {message}")).with_details(details)
    }
}

/// Several messages as one: `[a, b]`, the same message only once, a single one bare.
pub fn aggregate(messages: impl Iterator<Item = String>) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for message in messages {
        if !distinct.contains(&message) {
            distinct.push(message);
        }
    }
    match distinct.len() {
        1 => distinct.remove(0),
        _ => format!("[{}]", distinct.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::field::{Error, Path};

    #[test]
    fn a_missing_object_is_named_with_its_group() {
        let status = Status::not_found(&GroupResource::new("apps", "deployments"), "nope");
        assert_eq!(
            serde_json::to_value(status).unwrap(),
            json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "deployments.apps \"nope\" not found", "reason": "NotFound",
                "details": {"name": "nope", "group": "apps", "kind": "deployments"}, "code": 404
            })
        );
    }

    #[test]
    fn several_errors_are_listed_once_each() {
        let path = Path::new("spec").child("a");
        let error = Error::required(&path, "");
        let other = Error::required(&Path::new("b"), "");
        let status = Status::invalid("", "Pod", "x", &[error.clone(), error, other]);
        assert_eq!(
            status.message,
            "Pod \"x\" is invalid: [spec.a: Required value, b: Required value]"
        );
        assert_eq!(status.details.unwrap().causes.len(), 3);
    }

    #[test]
    fn an_invalid_object_of_no_kind_keeps_the_blank() {
        let error = Error::invalid(&Path::new("patch"), "{}", "broken");
        let status = Status::invalid("", "", "", &[error]);
        assert_eq!(
            status.message,
            " \"\" is invalid: patch: Invalid value: \"{}\": broken"
        );
        assert_eq!(status.details.unwrap().kind, "");
    }
}
