//! Probes containers: a program, an HTTP request, a TCP connection or [`grpc`], at the spec's pace.
//!
//! It reports each result; what they add up to is [`crate::pod::probes`]'s.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use http_body_util::Empty;
use hyper::{Request, body::Bytes, header};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Pod, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use simcluster_runtime::spec::ExecSpec;
use tokio::{io::AsyncReadExt as _, time::MissedTickBehavior};

use super::{Worker, grpc, tls};
use crate::{
    context::Context,
    handle::PodHandle,
    pod::{
        Event,
        probes::{ProbeKind, ProbeOutcome},
    },
    runtime::Running,
};

/// A container as probes and hooks reach it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) context: Arc<Context>,
    pub(super) handle: Arc<PodHandle>,
    pub(super) pod: Arc<Pod>,
    pub(super) container: Container,
    pub(super) address: Ipv4Addr,
}

/// How a probe tells of an answer that is no success.
pub(super) const REFUSED: &str = "HTTP probe failed with statuscode";
/// What is kept of a probe's output.
const OUTPUT_BYTES: u64 = 10 * 1024;

impl Worker {
    pub(super) fn start_probe(&mut self, index: usize, run: u32, kind: ProbeKind) {
        let target = self.target(index);
        let Some(probe) = kind.of(&target.container).cloned() else {
            return;
        };
        let events = self.handle.events.clone();
        let task = self.spawn(async move {
            let seconds = |value: Option<i32>, default: u64| {
                let value = value.and_then(|v| u64::try_from(v).ok()).unwrap_or(default);
                Duration::from_secs(value)
            };
            tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
            let limit = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
            let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
            let mut pace = tokio::time::interval(period);
            pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                pace.tick().await;
                // The check of gRPC keeps its time itself: it tells in what it has spent it.
                let patience = if probe.grpc.is_some() {
                    limit * 2
                } else {
                    limit
                };
                let outcome = tokio::time::timeout(patience, once(&target, &probe, limit))
                    .await
                    .unwrap_or_else(|_| overdue(&target, &probe, limit));
                let event = Event::Probed {
                    container: index,
                    run,
                    kind,
                    outcome,
                };
                if events.send(event).is_err() {
                    return;
                }
            }
        });
        self.probes.entry(index).or_default().push(task);
    }
}

async fn once(target: &Target, probe: &Probe, limit: Duration) -> ProbeOutcome {
    if let Some(action) = &probe.exec {
        exec(target, action.command.clone().unwrap_or_default()).await
    } else if let Some(action) = &probe.http_get {
        http(target, action).await
    } else if let Some(action) = &probe.tcp_socket {
        tcp(target, action.host.as_deref(), &action.port).await
    } else if let Some(action) = &probe.grpc {
        grpc::check(target, action, limit).await
    } else {
        ProbeOutcome::Errored("missing probe handler".into())
    }
}

fn overdue(target: &Target, probe: &Probe, limit: Duration) -> ProbeOutcome {
    let seconds = limit.as_secs();
    ProbeOutcome::Failure(if let Some(action) = &probe.exec {
        let command = action.command.clone().unwrap_or_default().join(" ");
        format!("command timed out: {command:?} timed out after {seconds}s")
    } else if let Some(action) = &probe.http_get {
        let url = url(target, action).map_or_else(|error| error, |(_, _, url)| url);
        format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )
    } else {
        format!("dial tcp {}: i/o timeout", target.address)
    })
}

/// Kills a program that is not waited for any longer.
struct Leash(Option<futures::future::BoxFuture<'static, ()>>);

impl Drop for Leash {
    fn drop(&mut self) {
        if let Some(kill) = self.0.take() {
            tokio::spawn(kill);
        }
    }
}

/// What a program said that has ended.
pub(super) struct Said {
    pub(super) code: i32,
    /// All of it, complaints last.
    pub(super) output: Vec<u8>,
    pub(super) complaints: Vec<u8>,
}

pub(super) async fn exec(target: &Target, command: Vec<String>) -> ProbeOutcome {
    match run(target, command).await {
        Ok(said) if said.code == 0 => ProbeOutcome::Success,
        Ok(said) => ProbeOutcome::Failure(String::from_utf8_lossy(&said.output).into_owned()),
        Err(error) => ProbeOutcome::Errored(error),
    }
}

/// Runs a program in a container to its end; the error says why it did not come to run.
pub(super) async fn run(target: &Target, command: Vec<String>) -> Result<Said, String> {
    let Some(run) = target.handle.runs(&target.container.name).current else {
        return Err("the container does not run".into());
    };
    let spec = ExecSpec {
        container: run.id,
        command,
        tty: false,
    };
    let process = match target.context.runtime.exec(spec, false).await {
        Ok(process) => process,
        Err(error) => return Err(error.to_string()),
    };
    let Running {
        stdout,
        stderr,
        exit,
        kill,
        ..
    } = process;
    let mut leash = Leash(Some(kill));
    let read = async |output: Option<simcluster_kubelet_api::Output>| {
        let mut text = Vec::new();
        if let Some(output) = output {
            // What was read before an error is still worth telling.
            let _ = output.take(OUTPUT_BYTES).read_to_end(&mut text).await;
        }
        text
    };
    let (mut output, complaints, status) = tokio::join!(read(stdout), read(stderr), exit);
    leash.0 = None;
    output.extend(&complaints);
    Ok(Said {
        code: status.code,
        output,
        complaints,
    })
}

/// The number behind a port: itself, or that of the container's port of this name.
fn port(container: &Container, port: &IntOrString) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut all = container.ports.iter().flatten();
            match all.find(|p| p.name.as_deref() == Some(name)) {
                Some(named) => named.container_port,
                None => name
                    .parse()
                    .map_err(|_| format!("strconv.Atoi: parsing {name:?}: invalid syntax"))?,
            }
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("invalid port number: {number}"))
}

/// The address and port a request goes to, and its URL.
fn url(target: &Target, action: &HTTPGetAction) -> Result<(String, u16, String), String> {
    let port = port(&target.container, &action.port)?;
    let own = target.address.to_string();
    let host = action.host.clone().filter(|h| !h.is_empty()).unwrap_or(own);
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let scheme = action.scheme.as_deref().unwrap_or("HTTP").to_lowercase();
    let url = format!("{scheme}://{host}:{port}{slash}{path}");
    Ok((host, port, url))
}

pub(super) async fn http(target: &Target, action: &HTTPGetAction) -> ProbeOutcome {
    match get(target, action).await {
        Ok(code) if (200..400).contains(&code) => ProbeOutcome::Success,
        Ok(code) => ProbeOutcome::Failure(format!("{REFUSED}: {code}")),
        Err(outcome) => outcome,
    }
}

async fn get(target: &Target, action: &HTTPGetAction) -> Result<u16, ProbeOutcome> {
    let (host, port, url) = url(target, action).map_err(ProbeOutcome::Errored)?;
    let failed = |why: String| ProbeOutcome::Failure(format!("Get {url:?}: {why}"));
    let mut stream = dial(target, &host, port).await.map_err(failed)?;
    if url.starts_with("https:") {
        stream = tls::wrap(stream, &host).await.map_err(failed)?;
    }
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(error.to_string()))?;
    let driver = tokio::spawn(connection);
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut request = Request::get(format!("/{path}"))
        .header(header::USER_AGENT, "kube-probe/1.36")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    let headers = action.http_headers.iter().flatten();
    let mut named = false;
    for header in headers {
        named |= header.name.eq_ignore_ascii_case("host");
        request = request.header(&header.name, &header.value);
    }
    if !named {
        request = request.header(header::HOST, format!("{host}:{port}"));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .map_err(|error| ProbeOutcome::Errored(error.to_string()))?;
    let answer = sender.send_request(request).await;
    driver.abort();
    answer
        .map(|answer| answer.status().as_u16())
        .map_err(|error| failed(error.to_string()))
}

async fn tcp(target: &Target, host: Option<&str>, on: &IntOrString) -> ProbeOutcome {
    let number = match port(&target.container, on) {
        Ok(number) => number,
        Err(error) => return ProbeOutcome::Errored(error),
    };
    let own = target.address.to_string();
    let host = host.filter(|h| !h.is_empty()).unwrap_or(&own);
    match dial(target, host, number).await {
        Ok(_) => ProbeOutcome::Success,
        Err(why) => ProbeOutcome::Failure(why),
    }
}

pub(super) async fn dial(
    target: &Target,
    host: &str,
    port: u16,
) -> Result<Box<dyn simcluster_kubelet_api::Duplex>, String> {
    let address = match host {
        "localhost" => Ipv4Addr::LOCALHOST,
        text => text.parse().map_err(|_| {
            format!("dial tcp: lookup {host}: this node probes IPv4 addresses, not names")
        })?,
    };
    let uid = target.handle.uid.clone();
    target
        .context
        .runtime
        .dial(uid, address, port)
        .await
        .map_err(|error| {
            let refused = error.to_string().contains("refused");
            let why = if refused {
                "connect: connection refused".to_owned()
            } else {
                error.to_string()
            };
            format!("dial tcp {address}:{port}: {why}")
        })
}
