//! The two requests that the Docker engine is asked, over its Unix socket.

use std::{io, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, Response, StatusCode, body::Bytes, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, net::UnixStream, time::timeout};

/// An engine on the same machine that takes longer to look into its list does not answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer to an inspection is larger.
const MAX_ANSWER: usize = 4 << 20;

/// Why the engine has nothing for us.
#[derive(Debug, thiserror::Error)]
pub(super) enum EngineError {
    #[error("no image of this name")]
    NoSuchImage,
    #[error("{socket} cannot be connected to: {error}")]
    Connect { socket: String, error: io::Error },
    #[error("it does not answer within {} s", PATIENCE.as_secs())]
    Silent,
    #[error("it answers with status {status}: {text}")]
    Status { status: StatusCode, text: String },
    #[error("its answer broke off: {0}")]
    Broken(hyper::Error),
    #[error("its answer cannot be understood: {0}")]
    Answer(String),
    #[error("the archive cannot be written: {0}")]
    Write(io::Error),
}

/// What matters of an image.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    pub(super) id: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) architecture: String,
}

/// Looks for an image among those that the engine has.
pub(super) async fn inspect(socket: &Path, name: &str) -> Result<Inspected, EngineError> {
    let path = format!("/images/{name}/json");
    let asked = timeout(PATIENCE, get(socket, &path)).await;
    let mut response = asked.map_err(|_| EngineError::Silent)??;
    let bytes = read(&mut response).await?;
    serde_json::from_slice(&bytes).map_err(|error| EngineError::Answer(error.to_string()))
}

/// Writes an image to a file, as `docker save` does.
pub(super) async fn save(
    socket: &Path,
    name: &str,
    to: &Path,
    progress: &dyn Fn(u64),
) -> Result<(), EngineError> {
    let mut response = get(socket, &format!("/images/{name}/get")).await?;
    let file = tokio::fs::File::create(to)
        .await
        .map_err(EngineError::Write)?;
    let mut file = tokio::io::BufWriter::with_capacity(1 << 20, file);
    let mut done = 0;
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(EngineError::Broken)?;
        if let Some(data) = frame.data_ref() {
            file.write_all(data).await.map_err(EngineError::Write)?;
            done += data.len() as u64;
            progress(done);
        }
    }
    file.flush().await.map_err(EngineError::Write)
}

async fn get(socket: &Path, path: &str) -> Result<Response<Incoming>, EngineError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| EngineError::Connect {
            socket: socket.display().to_string(),
            error,
        })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(EngineError::Broken)?;
    tokio::spawn(connection);
    let request = Request::get(path)
        .header("host", "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|error| EngineError::Answer(error.to_string()))?;
    let mut response = sender
        .send_request(request)
        .await
        .map_err(EngineError::Broken)?;
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::NOT_FOUND => Err(EngineError::NoSuchImage),
        status => {
            let text = read(&mut response).await?;
            let text = String::from_utf8_lossy(&text).trim().to_owned();
            Err(EngineError::Status { status, text })
        }
    }
}

async fn read(response: &mut Response<Incoming>) -> Result<Vec<u8>, EngineError> {
    let mut bytes = Vec::new();
    while let Some(frame) = response.body_mut().frame().await {
        let frame = frame.map_err(EngineError::Broken)?;
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        if bytes.len() > MAX_ANSWER {
            return Err(EngineError::Answer("it does not end".to_owned()));
        }
    }
    Ok(bytes)
}
