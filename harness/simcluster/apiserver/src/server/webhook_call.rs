//! Carries a question to a webhook and its answer back: over HTTPS, to a URL or to a Service of the
//! cluster, whose pods are reached through their nodes.
//!
//! What is asked is the business of [`super::admit::webhooks`] and of [`super::convert`].

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use simcluster_kubelet_api::{Duplex, PodRef};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

use crate::server::Inner;

/// An answer may be no longer than this.
const ANSWER_LIMIT: usize = 16 * 1024 * 1024;

/// Where a webhook is.
struct Target {
    host: String,
    port: u16,
    /// Path with the time-out, as webhooks are told it.
    path: String,
    service: Option<(String, String)>,
}

/// Posts JSON and reads JSON; the error is what an API server's own client would say.
pub(crate) async fn post(
    server: &Arc<Inner>,
    config: &Value,
    timeout: Duration,
    body: &Value,
) -> Result<Value, String> {
    let target = target(config, timeout)?;
    let shown = format!("Post \"https://{}{}\"", authority(&target), target.path);
    let answer = tokio::time::timeout(timeout, exchange(server, config, &target, body)).await;
    match answer {
        Ok(Ok((status, answer))) if status == StatusCode::OK => serde_json::from_slice(&answer)
            .map_err(|_| "could not get REST client: the answer is no AdmissionReview".to_owned()),
        Ok(Ok((status, answer))) => Err(refused(status, &answer)),
        Ok(Err(why)) => Err(format!("{shown}: {why}")),
        Err(_) => Err(format!("{shown}: context deadline exceeded")),
    }
}

fn refused(status: StatusCode, answer: &[u8]) -> String {
    match status {
        StatusCode::NOT_FOUND => "the server could not find the requested resource".to_owned(),
        StatusCode::UNAUTHORIZED => {
            "the server has asked for the client to provide credentials".to_owned()
        }
        status if status.is_server_error() => format!(
            "an error on the server ({:?}) has prevented the request from succeeding",
            String::from_utf8_lossy(answer).trim()
        ),
        _ => "the server rejected our request for an unknown reason".to_owned(),
    }
}

fn authority(target: &Target) -> String {
    if target.port == 443 && target.service.is_none() {
        target.host.clone()
    } else {
        format!("{}:{}", target.host, target.port)
    }
}

fn target(config: &Value, timeout: Duration) -> Result<Target, String> {
    let time = format!("timeout={}s", timeout.as_secs());
    if let Some(url) = config["url"].as_str() {
        let uri: http::Uri = url
            .parse()
            .map_err(|_| format!("the url {url:?} is none"))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let join = if path.contains('?') { '&' } else { '?' };
        return Ok(Target {
            host: uri.host().unwrap_or_default().to_owned(),
            port: uri.port_u16().unwrap_or(443),
            path: format!("{path}{join}{time}"),
            service: None,
        });
    }
    let service = &config["service"];
    let text = |field: &str| service[field].as_str().unwrap_or_default();
    let (name, namespace) = (text("name"), text("namespace"));
    let port = service["port"]
        .as_u64()
        .and_then(|port| u16::try_from(port).ok());
    Ok(Target {
        host: format!("{name}.{namespace}.svc"),
        port: port.unwrap_or(443),
        path: format!("/{}?{time}", text("path").trim_start_matches('/')),
        service: Some((namespace.to_owned(), name.to_owned())),
    })
}

async fn exchange(
    server: &Arc<Inner>,
    config: &Value,
    target: &Target,
    body: &Value,
) -> Result<(StatusCode, Vec<u8>), String> {
    let stream = match &target.service {
        None => dial(&target.host, target.port).await?,
        Some((namespace, name)) => to_service(server, namespace, name, target.port).await?,
    };
    let tls = TlsConnector::from(Arc::new(trust(config)?));
    let host = target.host.trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
    let stream = tls
        .connect(name, stream)
        .await
        .map_err(|error| format!("tls: failed to verify certificate: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    // Ends with the exchange: the sender is dropped, and the connection with it.
    let connection = tokio::spawn(connection);
    let request = Request::post(&target.path)
        .header(header::HOST, authority(target))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(bytes::Bytes::from(body.to_string())))
        .map_err(|error| error.to_string())?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())?;
    let status = answer.status();
    let answer = Limited::new(answer.into_body(), ANSWER_LIMIT)
        .collect()
        .await;
    connection.abort();
    let answer = answer.map_err(|error| error.to_string())?;
    Ok((status, answer.to_bytes().to_vec()))
}

/// Whom a webhook's certificate must come from.
fn trust(config: &Value) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let bundle = config["caBundle"].as_str().unwrap_or_default();
    let bundle = STANDARD.decode(bundle).map_err(|error| error.to_string())?;
    for certificate in CertificateDer::pem_slice_iter(&bundle).flatten() {
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

async fn dial(host: &str, port: u16) -> Result<Box<dyn Duplex>, String> {
    let host = host.trim_matches(['[', ']']);
    match TcpStream::connect((host, port)).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Err(format!(
            "dial tcp {host}:{port}: connect: connection refused"
        )),
        Err(error) => Err(format!("dial tcp {host}:{port}: {error}")),
    }
}

/// A connection to one of the pods, or addresses, behind a Service.
async fn to_service(
    server: &Arc<Inner>,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Box<dyn Duplex>, String> {
    let service = server
        .store
        .read()
        .get("/services", &format!("{namespace}/{name}"));
    let Some(service) = service else {
        return Err(format!("service {name:?} not found"));
    };
    let ports = service.value()["spec"]["ports"].as_array();
    let wanted = ports.into_iter().flatten().find(|one| one["port"] == port);
    let Some(wanted) = wanted else {
        return Err(format!(
            "service port {port} not found for service {name:?}"
        ));
    };
    let port_name = wanted["name"].as_str().unwrap_or_default().to_owned();
    let slices = server
        .store
        .read()
        .snapshot("discovery.k8s.io/endpointslices");
    let prefix = format!("{namespace}/");
    let of_service = slices.objects.iter().filter(|(key, slice)| {
        let labels = &slice.value()["metadata"]["labels"];
        key.starts_with(&prefix) && labels["kubernetes.io/service-name"] == name
    });
    for (_, slice) in of_service {
        let ports = slice.value()["ports"].as_array();
        let own = ports
            .into_iter()
            .flatten()
            .find(|one| one["name"].as_str().unwrap_or_default() == port_name);
        let own = own.and_then(|one| one["port"].as_u64());
        let Some(own) = own.and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        let endpoints = slice.value()["endpoints"].as_array();
        for endpoint in endpoints.into_iter().flatten() {
            if endpoint["conditions"]["ready"] == false {
                continue;
            }
            if endpoint["targetRef"]["kind"] == "Pod" {
                let pod = endpoint["targetRef"]["name"].as_str().unwrap_or_default();
                return to_pod(server, namespace, pod, own).await;
            }
            if let Some(address) = endpoint["addresses"][0].as_str() {
                return dial(address, own).await;
            }
        }
    }
    Err(format!("no endpoints available for service {name:?}"))
}

async fn to_pod(
    server: &Arc<Inner>,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Box<dyn Duplex>, String> {
    let pod = server
        .store
        .read()
        .get("/pods", &format!("{namespace}/{name}"));
    let pod = pod.ok_or_else(|| format!("pod {name:?} not found"))?;
    let node = pod.value()["spec"]["nodeName"].as_str().unwrap_or_default();
    let kubelet = server
        .kubelet(node)
        .ok_or_else(|| format!("no kubelet of node {node:?} can be reached"))?;
    let reference = PodRef {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        uid: pod.uid().to_owned(),
    };
    kubelet
        .port_forward(reference, port)
        .await
        .map_err(|error| error.to_string())
}
