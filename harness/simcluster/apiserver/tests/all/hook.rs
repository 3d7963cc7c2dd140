//! Webhooks, served here over HTTPS as an operator serves them.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use simcluster_http::Authority;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::TlsAcceptor;

/// A webhook that answers as it is told, and remembers what it was asked.
pub(crate) struct Hook {
    pub(crate) config: Value,
    asked: Arc<Mutex<Vec<Value>>>,
    task: JoinHandle<()>,
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Hook {
    /// One that admits: it is given the request of a review and gives the response.
    pub(crate) async fn start(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        Self::reviewing("AdmissionReview", answer).await
    }

    /// One that admits everything, and adds `added: yes` to the data.
    pub(crate) async fn adding() -> Self {
        Self::start(|_| {
            let patch = json!([{"op": "add", "path": "/data/added", "value": "yes"}]);
            json!({"allowed": true, "patchType": "JSONPatch",
                   "patch": STANDARD.encode(patch.to_string())})
        })
        .await
    }

    /// One that is sent reviews of this kind.
    pub(crate) async fn reviewing(
        kind: &'static str,
        answer: impl Fn(&Value) -> Value + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new().expect("keys can be made");
        let tls = authority
            .server(&["localhost"], &[])
            .expect("a certificate can be made");
        let mut tls = tls;
        tls.alpn_protocols.clear();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let asked: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (seen, answer) = (Arc::clone(&asked), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                let service = service_fn(move |request: http::Request<Incoming>| {
                    let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                    async move {
                        let body = request.into_body().collect().await?.to_bytes();
                        let review: Value = serde_json::from_slice(&body).unwrap_or_default();
                        let request = &review["request"];
                        seen.lock().expect("no test panicked").push(request.clone());
                        let mut response = answer(request);
                        response["uid"] = request["uid"].clone();
                        let review = json!({
                            "apiVersion": review["apiVersion"], "kind": kind,
                            "response": response,
                        });
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(bytes::Bytes::from(
                            review.to_string(),
                        ))))
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        let config = json!({
            "url": format!("https://localhost:{port}/ask"),
            "caBundle": STANDARD.encode(authority.certificate()),
        });
        Self {
            config,
            asked,
            task,
        }
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Value> {
        self.asked.lock().expect("no test panicked").clone()
    }
}
