//! Programs that run inside the pods of these tests: this very executable, asked for one of its tests.
//!
//! They are ignored unless a pod runs them by name; see [`super::support::program`].

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket},
    sync::Arc,
    time::Duration,
};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::rustls;

fn argument(name: &str) -> String {
    std::env::var(name).expect("the pod sets it")
}

/// Answers every connection on `$PORT` with `$ANSWER` as HTTP, status `$STATUS`.
#[test]
#[ignore = "a program for pods"]
fn http_server() {
    let listener = TcpListener::bind(("0.0.0.0", argument("PORT").parse().unwrap())).unwrap();
    println!("listening");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request);
        let (status, body) = (argument("STATUS"), argument("ANSWER"));
        let length = body.len();
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
        let _ = stream.write_all(head.as_bytes());
    }
}

/// Sends every datagram on port 5000 back.
#[test]
#[ignore = "a program for pods"]
fn udp_echo() {
    let socket = UdpSocket::bind("0.0.0.0:5000").unwrap();
    println!("listening");
    let mut buffer = [0; 1024];
    while let Ok((length, client)) = socket.recv_from(&mut buffer) {
        socket.send_to(&buffer[..length], client).unwrap();
    }
}

/// Sends datagrams to `$TARGET` until one comes back.
#[test]
#[ignore = "a program for pods"]
fn udp_ask() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect(argument("TARGET")).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut buffer = [0; 1024];
    for _ in 0..50 {
        let _ = socket.send(b"ping");
        if let Ok(length) = socket.recv(&mut buffer) {
            println!("answer: {}", String::from_utf8_lossy(&buffer[..length]));
            return;
        }
    }
}

/// A node with a pod, until someone kills it.
#[tokio::test]
#[ignore = "a program for a test that kills it"]
async fn node_until_killed() {
    let directory = argument("NODE_DIRECTORY");
    let cluster = super::support::Cluster::start_in(directory.as_ref()).await;
    cluster
        .pod(
            "p",
            serde_json::json!({"containers": [super::support::shell("sleep 600")]}),
        )
        .await;
    cluster.wait_ready("p").await;
    println!("running");
    std::future::pending::<()>().await;
}

/// Answers every TLS connection on port 8443, under a certificate that nobody knows.
#[tokio::test]
#[ignore = "a program for pods"]
async fn https_server() {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["x".into()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8443").await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            continue;
        };
        let _ = stream.read(&mut [0; 1024]).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n")
            .await;
        let _ = stream.shutdown().await;
    }
}

/// Says what `$NAME` resolves to.
#[test]
#[ignore = "a program for pods"]
fn resolve() {
    let mut all: Vec<String> = match (argument("NAME").as_str(), 0).to_socket_addrs() {
        Ok(addresses) => addresses.map(|address| address.ip().to_string()).collect(),
        Err(_) => vec!["nothing".into()],
    };
    all.sort();
    all.dedup();
    println!("resolved: {}", all.join(" "));
}

/// Connects to `$TARGET` and says what comes.
#[test]
#[ignore = "a program for pods"]
fn fetch() {
    let answer = TcpStream::connect(argument("TARGET")).and_then(|mut stream| {
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut head = [0; 4096];
        let length = stream.read(&mut head)?;
        Ok(String::from_utf8_lossy(&head[..length]).into_owned())
    });
    match answer {
        Ok(answer) => println!("answer: {}", answer.lines().last().unwrap_or_default()),
        Err(error) => println!("error: {:?}", error.kind()),
    }
}

/// Answers health checks of gRPC on port 9000: `up` serves, `down` does not, nothing else is known.
#[tokio::test]
#[ignore = "a program for pods"]
async fn grpc_server() {
    use http_body_util::{BodyExt as _, StreamBody};
    use hyper::{
        HeaderMap, Request, Response,
        body::{Bytes, Frame, Incoming},
        server::conn::http2,
        service::service_fn,
    };
    use hyper_util::rt::{TokioExecutor, TokioIo};

    async fn answer(
        request: Request<Incoming>,
    ) -> Result<
        Response<impl hyper::body::Body<Data = Bytes, Error = std::io::Error>>,
        std::io::Error,
    > {
        let asked = request.into_body().collect().await.unwrap().to_bytes();
        let (status, code) = match &asked[5..] {
            [0x0a, 2, b'u', b'p'] => (1, "0"),
            [0x0a, 4, b'd', b'o', b'w', b'n'] => (2, "0"),
            _ => (0, "5"),
        };
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", code.parse().unwrap());
        trailers.insert("grpc-message", "unknown service".parse().unwrap());
        let frames = [
            Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]))),
            Ok(Frame::trailers(trailers)),
        ];
        Ok(Response::new(StreamBody::new(futures::stream::iter(
            frames,
        ))))
    }

    let listener = tokio::net::TcpListener::bind("0.0.0.0:9000").await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let served = http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service_fn(answer));
        tokio::spawn(served);
    }
}
