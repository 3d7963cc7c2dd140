//! What can be done with resources: one file per verb or family of subresources.

mod apply;
mod create;
mod delete;
mod list;
mod list_options;
mod modify;
mod patch;
mod pods;
mod read;
mod reviews;
mod scale;
mod streams;
mod tokens;
mod watch;
mod write_options;

use http::{Method, StatusCode};
use simcluster_machinery::status::Status;

use super::{
    Failure, admit,
    call::Call,
    form::Former,
    negotiate::{self, Offer},
    reply::{self, Reply},
};
use crate::store::Object;
pub(crate) use create::{Admitted, admit_and_create, new_uid};

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// All but the status.
    Whole,
    /// The status.
    Status,
    /// A namespace's `spec.finalizers`.
    Finalize,
    /// The ephemeral containers of a pod.
    EphemeralContainers,
    /// The decisions about a certificate signing request.
    Approval,
    /// Whatever the server itself has decided.
    Direct,
}

/// Does what the request asks for.
pub(crate) async fn run(mut call: Call) -> Result<Reply, Failure> {
    let reply = dispatch(&mut call).await;
    let mut reply = reply.unwrap_or_else(|failure| reply::status(&failure));
    reply::warn(reply.headers_mut(), &call.warnings);
    Ok(reply)
}

async fn dispatch(call: &mut Call) -> Result<Reply, Failure> {
    let verb = call.route.verb(&call.method, &call.query);
    if call.method == Method::HEAD || verb.is_empty() {
        return Err(Box::new(Status::method_not_allowed()));
    }
    let deprecation = match &call.resource.custom {
        Some(version) => version.deprecation.clone(),
        None => call.resource.rules().deprecation().map(str::to_owned),
    };
    call.warnings.extend(deprecation);
    let subresource = call.route.subresource.clone();
    if let Some(known) = call.resource.subresource(&subresource)
        && !known.verbs.iter().any(|own| own == verb)
    {
        return Err(wrong_method(call));
    }
    match subresource.as_str() {
        "" => {
            if verb == "create" {
                admit::service_account_settles(call).await;
            }
            whole(call, verb).await
        }
        "status" => part(call, verb, Part::Status).await,
        "scale" => scale::run(call, verb).await,
        other => match (call.resource.collection.as_ref(), other, verb) {
            ("/pods", "binding", "create") => pods::bind(call).await,
            ("/pods", "eviction", "create") => pods::evict(call).await,
            ("/pods", "log", "get") => streams::log(call).await,
            ("/pods", "exec", "get" | "create") => streams::session(call, false).await,
            ("/pods", "attach", "get" | "create") => streams::session(call, true).await,
            ("/pods", "portforward", "get" | "create") => streams::port_forward(call).await,
            ("/pods", "ephemeralcontainers", _) => {
                part(call, verb, Part::EphemeralContainers).await
            }
            ("/namespaces", "finalize", "update") => modify::update(call, Part::Finalize).await,
            ("certificates.k8s.io/certificatesigningrequests", "approval", _) => {
                part(call, verb, Part::Approval).await
            }
            ("/serviceaccounts", "token", "create") => tokens::request(call).await,
            _ => Err(Box::new(Status::not_implemented(&format!(
                "{verb} of {}/{other}",
                call.resource.name
            )))),
        },
    }
}

async fn whole(call: &mut Call, verb: &str) -> Result<Reply, Failure> {
    let named = !call.route.name.is_empty();
    // A POST to an object, or a PUT to a collection, is no path of the API.
    if (verb == "create" && named) || (matches!(verb, "update" | "patch") && !named) {
        return Err(wrong_method(call));
    }
    let nowhere = call.resource.namespaced && call.route.namespace.is_empty();
    if !call.resource.allows(verb) || (nowhere && !matches!(verb, "list" | "watch")) {
        return Err(wrong_method(call));
    }
    if verb == "create" {
        if let Some(answer) = reviews::answer(call) {
            return answer;
        }
        if call.resource.is("", "bindings") {
            return pods::bind_in_collection(call).await;
        }
    }
    match verb {
        "get" => read::get(call).await,
        "list" => list::list(call).await,
        "watch" => watch::watch(call).await,
        "create" => create::create(call).await,
        "update" => modify::update(call, Part::Whole).await,
        "patch" => patch::patch(call, Part::Whole).await,
        "delete" => delete::delete(call).await,
        "deletecollection" => delete::delete_collection(call).await,
        _ => Err(wrong_method(call)),
    }
}

async fn part(call: &mut Call, verb: &str, part: Part) -> Result<Reply, Failure> {
    match verb {
        "get" => read::get(call).await,
        "update" => modify::update(call, part).await,
        "patch" => patch::patch(call, part).await,
        _ => Err(wrong_method(call)),
    }
}

fn wrong_method(call: &Call) -> Failure {
    Box::new(if call.resource.custom.is_some() {
        Status::method_not_supported(
            &call.resource.name,
            &call.method.as_str().to_ascii_lowercase(),
        )
    } else {
        Status::method_not_allowed()
    })
}

/// An answer with one object of the call's resource.
fn object_reply(call: &Call, code: StatusCode, object: &Object) -> Result<Reply, Failure> {
    let wanted = negotiate::object(&call.headers, &call.query, Offer::Forms, false)?;
    let former = Former::new(call, wanted)?;
    Ok(reply::json_text(
        code,
        former.object(object),
        &former.wanted,
    ))
}

/// Refuses an answer that could not be sent before anything is changed.
fn check_acceptable(call: &Call) -> Result<(), Failure> {
    negotiate::object(&call.headers, &call.query, Offer::Forms, false).map(|_| ())
}
