//! What can be done with resources: one file per verb or family of subresources.

mod apply;
mod create;
mod delete;
mod list;
mod list_options;
mod modify;
mod node_proxy;
mod patch;
mod pods;
mod proxy;
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
    metrics,
    negotiate::{self, Offer, Wanted},
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
    /// What the containers of a pod get.
    Resize,
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
    let proxied = call.route.subresource == "proxy";
    if call.method == Method::HEAD && !proxied || verb.is_empty() {
        return Err(Box::new(Status::method_not_allowed()));
    }
    if call.resource.name.group == metrics::GROUP {
        return metrics::answer(call, verb).await;
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
            ("/pods" | "/services", "proxy", _) => proxy::run(call).await,
            ("/nodes", "proxy", _) => node_proxy::run(call).await,
            ("/pods", "resize", _) => part(call, verb, Part::Resize).await,
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
    let wanted = wanted(call, false)?;
    let former = Former::new(call, wanted)?;
    Ok(reply::json_text(
        code,
        former.object(object),
        &former.wanted,
    ))
}

/// Refuses an answer that could not be sent before anything is changed.
fn check_acceptable(call: &Call) -> Result<(), Failure> {
    wanted(call, false).map(|_| ())
}

/// The form in which the client wants an object, or a list of them.
fn wanted(call: &Call, list: bool) -> Result<Wanted, Failure> {
    let wanted = negotiate::object(&call.headers, &call.query, Offer::Forms, list)?;
    if !wanted.mismatched {
        return Ok(wanted);
    }
    // A real server names the type that it has inside.
    let kind = &call.resource.kind;
    let end = if list { "List" } else { "" };
    let inside = match kind.group.as_str() {
        _ if call.resource.custom.is_some() => format!("unstructured.Unstructured{end}"),
        "" | "events.k8s.io" => format!("core.{}{end}", kind.kind),
        group => {
            let package = group.split('.').next().unwrap_or_default();
            format!("{package}.{}{end}", kind.kind)
        }
    };
    let (asked, is) = if list {
        ("PartialObjectMetadata", "a list")
    } else {
        ("PartialObjectMetadataList", "not a list")
    };
    let message = format!("you requested {asked}, but the requested object is {is} (*{inside})");
    Err(Box::new(Status::failure(406, "NotAcceptable", message)))
}
