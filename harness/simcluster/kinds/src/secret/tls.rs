//! Whether a certificate and a key are in the PEM form that they must have.
//!
//! Whether they are sound, and belong to each other, is not looked at.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Why a text that should hold a certificate and one that should hold its key do not, in Go's words.
pub(super) fn why_no_pair(certificate: &str, key: &str) -> Option<String> {
    let kinds = blocks(certificate);
    if !kinds.contains(&"CERTIFICATE") {
        return Some(match kinds.as_slice() {
            [] => "tls: failed to find any PEM data in certificate input".to_owned(),
            [only] if only.ends_with("PRIVATE KEY") => {
                "tls: failed to find certificate PEM data in certificate input, but did find a \
                 private key; PEM inputs may have been switched"
                    .to_owned()
            }
            others => format!(
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after \
                 skipping PEM blocks of the following types: [{}]",
                others.join(" ")
            ),
        });
    }
    let kinds = blocks(key);
    if kinds.iter().any(|kind| kind.ends_with("PRIVATE KEY")) {
        return None;
    }
    Some(match kinds.as_slice() {
        [] => "tls: failed to find any PEM data in key input".to_owned(),
        ["CERTIFICATE"] => "tls: found a certificate rather than a key in the PEM for the private \
                            key"
        .to_owned(),
        others => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after \
             skipping PEM blocks of the following types: [{}]",
            others.join(" ")
        ),
    })
}

/// What kinds of blocks a PEM text has.
fn blocks(text: &str) -> Vec<&str> {
    let mut kinds = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("-----BEGIN ") {
        rest = after;
        let Some((kind, body)) = after.split_once("-----") else {
            break;
        };
        let Some((body, _)) = body.split_once(&format!("-----END {kind}-----")) else {
            continue;
        };
        // Headers, if there are any, end with an empty line.
        let body = body.rsplit_once("\n\n").map_or(body, |(_, body)| body);
        let plain: String = body.chars().filter(|one| !one.is_whitespace()).collect();
        if STANDARD.decode(plain).is_ok() {
            kinds.push(kind);
        }
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pair_of_certificate_and_key_is_told_in_gos_words() {
        let certificate = "-----BEGIN CERTIFICATE-----\nYQ==\n-----END CERTIFICATE-----\n";
        let key = "-----BEGIN RSA PRIVATE KEY-----\nYQ==\n-----END RSA PRIVATE KEY-----\n";
        assert_eq!(why_no_pair(certificate, key), None);
        assert_eq!(
            why_no_pair("x", key).as_deref(),
            Some("tls: failed to find any PEM data in certificate input")
        );
        assert!(why_no_pair(key, certificate).is_some_and(|why| why.contains("switched")));
        assert_eq!(
            why_no_pair(certificate, certificate).as_deref(),
            Some("tls: found a certificate rather than a key in the PEM for the private key")
        );
    }
}
