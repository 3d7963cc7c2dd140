//! The health check of gRPC, `grpc.health.v1.Health/Check`, as a probe makes it.
//!
//! The two messages are small enough to be read and written here; there is no other gRPC in the node.

use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, body::Incoming, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::GRPCAction;
use tokio::time::{Instant, timeout_at};

use super::prober::{Target, dial};
use crate::pod::probes::ProbeOutcome;

/// How soon a refused connection is tried again, while there is time.
const PAUSE: Duration = Duration::from_millis(100);
const DEADLINE: &str = "context deadline exceeded";
const SERVING: u64 = 1;
const UNIMPLEMENTED: u32 = 12;

/// Asks the service for its health; `limit` is for all of it.
pub(super) async fn check(target: &Target, action: &GRPCAction, limit: Duration) -> ProbeOutcome {
    let Some(port) = u16::try_from(action.port).ok().filter(|port| *port > 0) else {
        return ProbeOutcome::Errored(format!("invalid port number: {}", action.port));
    };
    let at = format!("{}:{port}", target.address);
    let deadline = Instant::now() + limit;
    let connect = async {
        loop {
            if let Ok(stream) = dial(target, &target.address.to_string(), port).await {
                return stream;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let within = format!("{}s", limit.as_secs());
    let Ok(stream) = timeout_at(deadline, connect).await else {
        return ProbeOutcome::Failure(format!(
            "timeout: failed to connect service {at:?} within {within}: {DEADLINE}"
        ));
    };
    let service = action.service.as_deref().unwrap_or_default();
    let asked = timeout_at(deadline, ask(stream, &at, service)).await;
    let Ok(answer) = asked else {
        return ProbeOutcome::Failure(format!(
            "timeout: health rpc did not complete within {within}"
        ));
    };
    match answer {
        Ok(Answer::Status(SERVING)) => ProbeOutcome::Success,
        Ok(Answer::Status(other)) => ProbeOutcome::Failure(format!(
            "service unhealthy (responded with {:?})",
            status_name(other)
        )),
        Ok(Answer::Refused(UNIMPLEMENTED, why)) => ProbeOutcome::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {why}"
        )),
        Ok(Answer::Refused(code, why)) => ProbeOutcome::Failure(format!(
            "error: health rpc failed: rpc error: code = {} desc = {why}",
            code_name(code)
        )),
        Err(why) => ProbeOutcome::Failure(format!(
            "error: health rpc failed: rpc error: code = Unavailable desc = {why}"
        )),
    }
}

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// `HealthCheckResponse.status`
    Status(u64),
    /// A status of gRPC other than OK.
    Refused(u32, String),
}

async fn ask(
    stream: Box<dyn simcluster_kubelet_api::Duplex>,
    at: &str,
    service: &str,
) -> Result<Answer, String> {
    let text = |error: hyper::Error| error.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(text)?;
    let driver = tokio::spawn(connection);
    let asked = async {
        let request = Request::post(format!("http://{at}/grpc.health.v1.Health/Check"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .header(header::USER_AGENT, "kube-probe/1.36")
            .body(Full::new(Bytes::from(question(service))))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(text)?;
        read(response).await
    };
    let answer = asked.await;
    driver.abort();
    answer
}

async fn read(response: Response<Incoming>) -> Result<Answer, String> {
    let (head, body) = response.into_parts();
    let body = body.collect().await.map_err(|error| error.to_string())?;
    let trailers = body.trailers().cloned().unwrap_or_default();
    let find = |name: &str| {
        // A server without anything to say sends the trailers as its head.
        let value = trailers.get(name).or(head.headers.get(name))?;
        value.to_str().ok().map(str::to_owned)
    };
    if !head.status.is_success() {
        let code = head.status.as_u16();
        return Err(format!(
            "unexpected HTTP status code received from server: {code}"
        ));
    }
    match find("grpc-status").and_then(|code| code.parse().ok()) {
        Some(0) => status(&body.to_bytes())
            .map(Answer::Status)
            .ok_or_else(|| "the answer is malformed".to_owned()),
        Some(code) => Ok(Answer::Refused(
            code,
            find("grpc-message").unwrap_or_default(),
        )),
        None => Err("server closed the stream without sending trailers".to_owned()),
    }
}

/// `HealthCheckRequest` in its frame.
fn question(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend(message);
    frame
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let digit = value.to_le_bytes()[0] & 0x7f;
        value >>= 7;
        if value == 0 {
            return out.push(digit);
        }
        out.push(digit | 0x80);
    }
}

/// `HealthCheckResponse.status` in its frame. A field that is not there is 0.
fn status(frame: &[u8]) -> Option<u64> {
    let message = frame.get(5..)?;
    let [0x08, digits @ ..] = message else {
        return message.is_empty().then_some(0);
    };
    let mut value = 0;
    for (index, byte) in digits.iter().take(9).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn status_name(status: u64) -> String {
    match status {
        0 => "UNKNOWN".into(),
        1 => "SERVING".into(),
        2 => "NOT_SERVING".into(),
        3 => "SERVICE_UNKNOWN".into(),
        other => other.to_string(),
    }
}

fn code_name(code: u32) -> String {
    const NAMES: [&str; 17] = [
        "OK",
        "Canceled",
        "Unknown",
        "InvalidArgument",
        "DeadlineExceeded",
        "NotFound",
        "AlreadyExists",
        "PermissionDenied",
        "ResourceExhausted",
        "FailedPrecondition",
        "Aborted",
        "OutOfRange",
        "Unimplemented",
        "Internal",
        "Unavailable",
        "DataLoss",
        "Unauthenticated",
    ];
    let known = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    known.map_or_else(|| format!("Code({code})"), |name| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_framed_as_grpc_frames_them() {
        assert_eq!(question(""), [0, 0, 0, 0, 0]);
        assert_eq!(question("db"), [0, 0, 0, 0, 4, 0x0a, 2, b'd', b'b']);
        assert_eq!(status(&[0, 0, 0, 0, 2, 0x08, 1]), Some(SERVING));
        assert_eq!(status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(status(&[0, 0, 0, 0, 2, 0x08, 0x80]), None);
        assert_eq!(status(&[]), None);
    }
}
