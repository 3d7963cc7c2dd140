//! Answers: a status code, headers and a body that is text or a stream.
//!
//! Knows bytes and media types, not objects.

use std::io;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::Value;
pub(crate) use simcluster_http::{Body, full};
use simcluster_machinery::status::Status;

use super::negotiate::{Encoding, Wanted};

/// An answer of the server.
pub(crate) type Reply = Response<Body>;

/// Answers longer than this are compressed for clients that can read it.
const GZIP_THRESHOLD: usize = 128 * 1024;

/// A body that ends when the stream does.
pub(crate) fn streamed(stream: BoxStream<'static, io::Result<Bytes>>) -> Body {
    use futures::StreamExt as _;
    StreamBody::new(stream.map(|chunk| chunk.map(Frame::data).map_err(Into::into))).boxed_unsync()
}

/// An answer of this media type.
pub(crate) fn reply(code: StatusCode, media_type: &'static str, body: Body) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = code;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, private"),
    );
    reply
}

/// Plain text, as Go's own handlers answer.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = reply(code, "text/plain; charset=utf-8", full(text));
    reply.headers_mut().insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    reply
}

/// The answer to a path that means nothing.
pub(crate) fn page_not_found() -> Reply {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// JSON text that is there already, in the encoding that is wanted.
pub(crate) fn json_text(code: StatusCode, json: Bytes, wanted: &Wanted) -> Reply {
    let (media_type, body) = match wanted.encoding {
        Encoding::Json if wanted.pretty => ("application/json", pretty(&json)),
        Encoding::Json => ("application/json", json),
        Encoding::Yaml => ("application/yaml", yaml(&json)),
    };
    if wanted.gzip && body.len() >= GZIP_THRESHOLD {
        let mut reply = reply(code, media_type, full(gzip(&body)));
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        return reply;
    }
    reply(code, media_type, full(body))
}

/// A JSON document.
pub(crate) fn json(code: StatusCode, value: &Value, wanted: &Wanted) -> Reply {
    json_text(code, value.to_string().into(), wanted)
}

/// A failure.
pub(crate) fn status(status: &Status) -> Reply {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let text = serde_json::to_vec(status).unwrap_or_default();
    let mut reply = reply(code, "application/json", full(text));
    let retry_after = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if retry_after > 0 {
        reply
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    }
    reply
}

/// All warnings together may be this long before each is cut.
const WARNINGS_LIMIT: usize = 4 * 1024;
/// What is left of a warning when there are too many.
const CUT_WARNING: usize = 256;

/// Adds `Warning` headers: code 299, no agent, the text quoted. Each is said once; when all are too
/// long together, each is cut, and then those beyond the limit are not said at all.
pub(crate) fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    let mut said: Vec<&str> = Vec::new();
    for warning in warnings {
        if !warning.is_empty() && !said.contains(&warning.as_str()) {
            said.push(warning);
        }
    }
    let length: usize = said.iter().map(|text| text.chars().count()).sum();
    let cut = if length > WARNINGS_LIMIT {
        CUT_WARNING
    } else {
        usize::MAX
    };
    let mut written = 0;
    for warning in said {
        if written >= WARNINGS_LIMIT && cut < usize::MAX {
            break;
        }
        let shown: String = warning.chars().take(cut).collect();
        written += shown.chars().count();
        let mut quoted = String::from("299 - \"");
        for c in shown.chars().filter(|c| !c.is_control()) {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.push('"');
        if let Ok(value) =
            HeaderValue::from_str(&quoted).or_else(|_| HeaderValue::from_bytes(quoted.as_bytes()))
        {
            headers.append(header::WARNING, value);
        }
    }
}

fn pretty(json: &Bytes) -> Bytes {
    let Ok(value) = serde_json::from_slice::<Value>(json) else {
        return json.clone();
    };
    serde_json::to_vec_pretty(&value).map_or_else(|_| json.clone(), Bytes::from)
}

fn yaml(json: &Bytes) -> Bytes {
    serde_json::from_slice::<Value>(json)
        .ok()
        .map_or_else(|| json.clone(), |value| super::yaml::write(&value).into())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(bytes.len() / 4),
        flate2::Compression::fast(),
    );
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("writing to memory does not fail")
}
