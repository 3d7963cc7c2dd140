//! What is inside the PEM of a request and of a certificate, as far as the API looks.

use x509_parser::{
    certification_request::X509CertificationRequest,
    error::X509Error,
    pem::{Pem, parse_x509_pem},
    prelude::FromDer as _,
};

const REQUEST: &str = "CERTIFICATE REQUEST";
const CERTIFICATE: &str = "CERTIFICATE";
/// Elliptic curves, and Edwards' ones.
const ECDSA: &str = "1.2.840.10045.4.3";
const ED25519: &str = "1.3.101.112";

fn request(text: &[u8]) -> Option<Pem> {
    let (_, block) = parse_x509_pem(text).ok()?;
    (block.label == REQUEST).then_some(block)
}

/// What is wrong with a request for a certificate.
pub(super) fn request_complaint(text: &[u8]) -> Option<String> {
    let Some(block) = request(text) else {
        return Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    let Ok((_, asked)) = X509CertificationRequest::from_der(&block.contents) else {
        return Some("asn1: structure error: not a certificate request".to_owned());
    };
    let algorithm = asked.signature_algorithm.algorithm.to_id_string();
    match asked.verify_signature() {
        Ok(()) => None,
        Err(X509Error::SignatureUnsupportedAlgorithm) => {
            Some("x509: cannot verify signature: algorithm unimplemented".to_owned())
        }
        Err(_) if algorithm.starts_with(ECDSA) => {
            Some("x509: ECDSA verification failure".to_owned())
        }
        Err(_) if algorithm == ED25519 => Some("x509: Ed25519 verification failure".to_owned()),
        Err(_) => Some("crypto/rsa: verification error".to_owned()),
    }
}

/// The organizations of a request's subject.
pub(super) fn organizations(text: &[u8]) -> Vec<String> {
    let Some(block) = request(text) else {
        return Vec::new();
    };
    let Ok((_, asked)) = X509CertificationRequest::from_der(&block.contents) else {
        return Vec::new();
    };
    let subject = &asked.certification_request_info.subject;
    let names = subject
        .iter_organization()
        .filter_map(|one| one.as_str().ok());
    names.map(str::to_owned).collect()
}

/// What is wrong with certificates that a signer made; nothing is fine.
pub(super) fn certificate_complaint(text: &[u8]) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut count = 0;
    while let Ok((after, block)) = parse_x509_pem(rest) {
        if block.label != CERTIFICATE {
            return Some(format!(
                "only CERTIFICATE PEM blocks are allowed, found {:?}",
                block.label
            ));
        }
        if block.parse_x509().is_err() {
            return Some("x509: malformed certificate".to_owned());
        }
        count += 1;
        rest = after;
    }
    (count == 0).then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}
