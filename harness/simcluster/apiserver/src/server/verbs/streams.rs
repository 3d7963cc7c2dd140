//! What reaches into a running pod: logs, exec, attach, port-forward.
//!
//! The wire protocols are [`simcluster_streams`]; what runs is the node's.

use std::{io, sync::Arc};

use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simcluster_kubelet_api::{Kubelet, KubeletError, LogOptions, PodRef, StreamOptions};
use simcluster_machinery::{
    kind::GroupVersionKind,
    status::{Details, Status},
};
use simcluster_streams::{Protocol, Purpose, negotiate, serve_port_forward, serve_session};
use tracing::debug;

use crate::{
    server::{
        Failure,
        admit::{self, webhooks::Write},
        call::Call,
        reply::{self, Reply},
    },
    store::Object,
};

/// A pod, and who runs it.
struct Running {
    pod: PodRef,
    kubelet: Arc<dyn Kubelet>,
}

/// The node's agent; `None` when the pod has no node yet.
fn running(call: &Call, pod: &Object) -> Result<Option<Running>, Failure> {
    let node = pod.value()["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Ok(None);
    }
    let kubelet = call.server.kubelet(node).ok_or_else(|| {
        Box::new(Status::internal(&format!(
            "no kubelet of node {node:?} can be reached"
        )))
    })?;
    Ok(Some(Running {
        pod: PodRef {
            namespace: pod.namespace().to_owned(),
            name: pod.name().to_owned(),
            uid: pod.uid().to_owned(),
        },
        kubelet,
    }))
}

fn kubelet_failure(error: &KubeletError) -> Failure {
    let text = error.to_string();
    Box::new(match error {
        KubeletError::BadRequest(_) => Status::bad_request(text),
        KubeletError::NotFound(_) => {
            Status::failure(404, "NotFound", text).with_details(Details::default())
        }
        KubeletError::Internal(_) => Status::internal(&text),
    })
}

/// All containers of a pod by name, in the order in which messages list them.
fn containers<'p>(pod: &'p Value, field: &str) -> Vec<&'p str> {
    let list = pod["spec"][field].as_array().into_iter().flatten();
    list.filter_map(|container| container["name"].as_str())
        .collect()
}

/// The container that is meant: the one named, or the only one there is.
fn container(call: &Call, pod: &Object) -> Result<String, Failure> {
    let asked = call.query.get("container");
    let own = containers(pod.value(), "containers");
    let init = containers(pod.value(), "initContainers");
    let ephemeral = containers(pod.value(), "ephemeralContainers");
    let bad = |message: String| Err(Box::new(Status::bad_request(message)));
    if asked.is_empty() {
        return match own.as_slice() {
            [only] => Ok((*only).to_owned()),
            [] => bad(format!(
                "a container name must be specified for pod {}",
                pod.name()
            )),
            _ => {
                let mut message = format!(
                    "a container name must be specified for pod {}, choose one of: [{}]",
                    pod.name(),
                    own.join(" ")
                );
                for (names, kind) in [(&init, "init"), (&ephemeral, "ephemeral")] {
                    if !names.is_empty() {
                        message = format!(
                            "{message} or one of the {kind} containers: [{}]",
                            names.join(" ")
                        );
                    }
                }
                bad(message)
            }
        };
    }
    if [own, init, ephemeral]
        .iter()
        .flatten()
        .any(|name| *name == asked)
    {
        return Ok(asked.to_owned());
    }
    bad(format!(
        "container {asked} is not valid for pod {}",
        pod.name()
    ))
}

/// `GET` of a pod's log.
pub(super) async fn log(call: &Call) -> Result<Reply, Failure> {
    let pod = super::read::find(call)?;
    let options = LogOptions {
        container: container(call, &pod)?,
        ..log_options(call)?
    };
    let Some(Running { pod, kubelet }) = running(call, &pod)? else {
        let mut nothing = Response::new(reply::full(""));
        *nothing.status_mut() = StatusCode::NO_CONTENT;
        return Ok(nothing);
    };
    let stream = kubelet
        .logs(pod, options)
        .await
        .map_err(|error| kubelet_failure(&error))?;
    Ok(reply::reply(
        StatusCode::OK,
        "text/plain",
        reply::streamed(stream),
    ))
}

fn log_options(call: &Call) -> Result<LogOptions, Failure> {
    use simcluster_machinery::field::{Error, Path};
    let query = &call.query;
    for name in ["tailLines", "limitBytes", "sinceSeconds"] {
        let number = query.number(name);
        number.map_err(|why| Box::new(Status::bad_request(why)))?;
    }
    let mut errors = Vec::new();
    let mut number = |name: &str, least: i64| -> Option<u64> {
        let value = query.number(name).ok().flatten()?;
        if value < least {
            let detail = match least {
                0 => "must be greater than or equal to 0",
                _ => "must be greater than 0",
            };
            errors.push(Error::invalid(&Path::new(name), value, detail));
        }
        u64::try_from(value).ok()
    };
    let tail_lines = number("tailLines", 0);
    let limit_bytes = number("limitBytes", 1);
    let since_seconds = number("sinceSeconds", 1);
    let now = call.server.config.clock.now().as_nanosecond();
    let since_unix_nanos = match (since_seconds, query.find("sinceTime")) {
        (Some(_), Some(_)) => {
            let detail = "at most one of `sinceTime` or `sinceSeconds` may be specified";
            errors.push(Error::forbidden(&Path::new("[]"), detail));
            None
        }
        (Some(seconds), None) => Some(now - i128::from(seconds) * 1_000_000_000),
        (None, Some(time)) => time
            .parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_nanosecond),
        (None, None) => None,
    };
    if !errors.is_empty() {
        return Err(Box::new(Status::invalid(
            "",
            "PodLogOptions",
            &call.route.name,
            &errors,
        )));
    }
    Ok(LogOptions {
        container: String::new(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail_lines,
        limit_bytes,
        since_unix_nanos,
    })
}

/// `exec` and `attach`, which differ in who starts the process.
pub(super) async fn session(call: &mut Call, attach: bool) -> Result<Reply, Failure> {
    let word = if attach { "attach" } else { "exec" };
    let mut asked = json!({});
    for flag in ["stdin", "stdout", "stderr", "tty"] {
        if call.query.flag(flag) {
            asked[flag] = true.into();
        }
    }
    if !call.query.get("container").is_empty() {
        asked["container"] = call.query.get("container").into();
    }
    let command: Vec<&str> = call.query.all("command").collect();
    if !attach && !command.is_empty() {
        asked["command"] = json!(command);
    }
    let kind = if attach {
        "PodAttachOptions"
    } else {
        "PodExecOptions"
    };
    connects(call, kind, asked).await?;
    let pod = super::read::find(call)?;
    let phase = pod.value()["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        let verb = if attach { "attach to" } else { "exec into" };
        return Err(Box::new(Status::bad_request(format!(
            "cannot {verb} a container in a completed pod; current phase is {phase}"
        ))));
    }
    let options = StreamOptions {
        container: container(call, &pod)?,
        command: call.query.all("command").map(str::to_owned).collect(),
        stdin: call.query.flag("stdin"),
        stdout: call.query.flag("stdout"),
        stderr: call.query.flag("stderr") && !call.query.flag("tty"),
        tty: call.query.flag("tty"),
    };
    let Some(Running { pod, kubelet }) = running(call, &pod)? else {
        return Err(no_host(&call.route.name));
    };
    if !options.stdin && !options.stdout && !options.stderr {
        let message = "you must specify at least 1 of stdin, stdout, stderr";
        return Err(Box::new(Status::bad_request(message)));
    }
    let upgrade = negotiate(&call.headers, Purpose::Session)
        .map_err(|error| Box::new(Status::bad_request(error.to_string())))?;
    let on_upgrade = take_upgrade(call)?;
    let session = if attach {
        kubelet.attach(pod, options.clone()).await
    } else {
        kubelet.exec(pod, options.clone()).await
    }
    .map_err(|error| kubelet_failure(&error))?;
    let protocol = upgrade.protocol;
    tokio::spawn(async move {
        let served = match on_upgrade.await {
            Ok(connection) => {
                serve_session(TokioIo::new(connection), protocol, &options, session).await
            }
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = served {
            debug!(%error, word, "a stream broke");
        }
    });
    Ok(switching(upgrade.headers))
}

/// Asks policies and webhooks whether somebody may connect to a pod; the options are not theirs to
/// change.
pub(super) async fn connects(call: &mut Call, kind: &str, options: Value) -> Result<(), Failure> {
    let kind = GroupVersionKind::new("", "v1", kind);
    let mut options = options;
    options["kind"] = kind.kind.as_str().into();
    options["apiVersion"] = kind.api_version().into();
    let write = Write {
        operation: "CONNECT",
        ..Write::default()
    };
    admit::through(call, &kind, &mut options, write).await
}

/// `portforward`.
pub(super) async fn port_forward(call: &mut Call) -> Result<Reply, Failure> {
    let asked: Vec<i64> = (call.query.all("ports"))
        .flat_map(|list| list.split(','))
        .filter_map(|port| port.parse().ok())
        .collect();
    let asked = if asked.is_empty() {
        json!({})
    } else {
        json!({ "ports": asked })
    };
    connects(call, "PodPortForwardOptions", asked).await?;
    let pod = super::read::find(call)?;
    let Some(Running { pod, kubelet }) = running(call, &pod)? else {
        return Err(no_host(&call.route.name));
    };
    let ports: Vec<u16> = call
        .query
        .all("ports")
        .flat_map(|list| list.split(','))
        .filter_map(|port| port.parse().ok())
        .collect();
    let upgrade = negotiate(&call.headers, Purpose::PortForward)
        .map_err(|error| Box::new(Status::bad_request(error.to_string())))?;
    if matches!(upgrade.protocol, Protocol::WebSocketChannels { .. }) && ports.is_empty() {
        return Err(Box::new(Status::bad_request(
            "query parameter \"port\" is required",
        )));
    }
    let on_upgrade = take_upgrade(call)?;
    let protocol = upgrade.protocol;
    tokio::spawn(async move {
        let served = match on_upgrade.await {
            Ok(connection) => {
                let dial = move |port: u16| kubelet.port_forward(pod.clone(), port);
                serve_port_forward(TokioIo::new(connection), protocol, &ports, &dial).await
            }
            Err(error) => Err(io::Error::other(error)),
        };
        if let Err(error) = served {
            debug!(%error, "a port-forward broke");
        }
    });
    Ok(switching(upgrade.headers))
}

fn no_host(pod: &str) -> Failure {
    Box::new(Status::bad_request(format!(
        "pod {pod} does not have a host assigned"
    )))
}

fn take_upgrade(call: &mut Call) -> Result<OnUpgrade, Failure> {
    call.upgrade
        .take()
        .ok_or_else(|| Box::new(Status::bad_request("Upgrade request required")))
}

fn switching(headers: Vec<(http::HeaderName, http::HeaderValue)>) -> Reply {
    let mut reply = Response::new(reply::full(""));
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    reply.headers_mut().extend(headers);
    reply
}
