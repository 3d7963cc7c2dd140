//! Which protocol a request asks for, and the headers of the 101 answer. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// What the stream is for; each has sub-protocols of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `exec` and `attach`.
    Session,
    /// `portforward`.
    PortForward,
}

/// How the bytes are framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `v4.channel.k8s.io`, `v5.channel.k8s.io`: the first byte of a message is its channel.
    WebSocketChannels {
        /// Version 5: the client can close its end of standard input.
        closes_stdin: bool,
    },
    /// SPDY/3.1 directly on the connection.
    Spdy,
    /// SPDY/3.1 inside binary WebSocket messages.
    SpdyInWebSocket,
}

/// A protocol, and what the answer must say.
#[derive(Clone, Debug)]
pub struct Upgrade {
    /// How to go on after the 101 answer.
    pub protocol: Protocol,
    /// Headers of the 101 answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The request cannot be upgraded; the API answers with the text and 400 (or 403 for the protocol).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// No `Upgrade` header that we know.
    #[error("unable to upgrade: missing upgrade headers in request")]
    NotAnUpgrade,
    /// None of the offered sub-protocols is known.
    #[error(
        "unable to upgrade: unable to negotiate protocol: client supports [{offered}], server accepts [{accepted}]"
    )]
    NoCommonProtocol {
        /// What the client offered.
        offered: String,
        /// What would have been right.
        accepted: String,
    },
}

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const PORT_FORWARD: &str = "portforward.k8s.io";
const TUNNELLED_PORT_FORWARD: &str = "SPDY/3.1+portforward.k8s.io";

/// Chooses the first protocol of ours that the client offers.
pub fn negotiate(headers: &HeaderMap, purpose: Purpose) -> Result<Upgrade, NegotiationError> {
    let asks_for = |name: &str| {
        values(headers, &header::UPGRADE).any(|value| value.eq_ignore_ascii_case(name))
    };
    if asks_for("websocket") {
        websocket(headers, purpose)
    } else if asks_for("SPDY/3.1") {
        spdy(headers, purpose)
    } else {
        Err(NegotiationError::NotAnUpgrade)
    }
}

fn websocket(headers: &HeaderMap, purpose: Purpose) -> Result<Upgrade, NegotiationError> {
    let accepted: &[&str] = match purpose {
        Purpose::Session => &[V5, V4],
        Purpose::PortForward => &[TUNNELLED_PORT_FORWARD, V4],
    };
    let chosen = choose(headers, &header::SEC_WEBSOCKET_PROTOCOL, accepted)?;
    let protocol = match chosen {
        TUNNELLED_PORT_FORWARD => Protocol::SpdyInWebSocket,
        version => Protocol::WebSocketChannels {
            closes_stdin: version == V5,
        },
    };
    let key = headers
        .get(header::SEC_WEBSOCKET_KEY)
        .ok_or(NegotiationError::NotAnUpgrade)?;
    let accept = HeaderValue::from_str(&derive_accept_key(key.as_bytes()))
        .map_err(|_| NegotiationError::NotAnUpgrade)?;
    Ok(Upgrade {
        protocol,
        headers: vec![
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("websocket")),
            (header::SEC_WEBSOCKET_ACCEPT, accept),
            (
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(chosen),
            ),
        ],
    })
}

fn spdy(headers: &HeaderMap, purpose: Purpose) -> Result<Upgrade, NegotiationError> {
    const VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
    // Over SPDY a client closes standard input by ending the stream, so version 5 does not exist there.
    let accepted: &[&str] = match purpose {
        Purpose::Session => &[V4],
        Purpose::PortForward => &[PORT_FORWARD],
    };
    let chosen = choose(headers, &VERSION, accepted)?;
    Ok(Upgrade {
        protocol: Protocol::Spdy,
        headers: vec![
            (header::CONNECTION, HeaderValue::from_static("Upgrade")),
            (header::UPGRADE, HeaderValue::from_static("SPDY/3.1")),
            (VERSION, HeaderValue::from_static(chosen)),
        ],
    })
}

fn choose<'a>(
    headers: &HeaderMap,
    name: &HeaderName,
    accepted: &[&'a str],
) -> Result<&'a str, NegotiationError> {
    let offered: Vec<&str> = values(headers, name).collect();
    accepted
        .iter()
        .copied()
        .find(|protocol| offered.contains(protocol))
        .ok_or_else(|| NegotiationError::NoCommonProtocol {
            offered: offered.join(" "),
            accepted: accepted.join(" "),
        })
}

/// All values of a header that may repeat and may hold lists.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect()
    }

    #[test]
    fn the_newest_common_version_is_chosen() {
        let offer = headers(&[
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            (
                "sec-websocket-protocol",
                "v4.channel.k8s.io, v5.channel.k8s.io",
            ),
        ]);
        let upgrade = negotiate(&offer, Purpose::Session).expect("a protocol");
        assert_eq!(
            upgrade.protocol,
            Protocol::WebSocketChannels { closes_stdin: true }
        );
        // The example of RFC 6455, section 1.3.
        assert!(
            upgrade
                .headers
                .iter()
                .any(|(_, value)| value == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        );
    }

    #[test]
    fn an_unknown_protocol_is_refused_with_what_would_be_right() {
        let offer = headers(&[("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "v9")]);
        let error = negotiate(&offer, Purpose::PortForward).expect_err("no protocol");
        assert!(
            error
                .to_string()
                .contains("server accepts [portforward.k8s.io]"),
            "{error}"
        );
    }

    #[test]
    fn a_plain_request_is_not_an_upgrade() {
        assert_eq!(
            negotiate(&HeaderMap::new(), Purpose::Session).expect_err("no upgrade"),
            NegotiationError::NotAnUpgrade
        );
    }
}
