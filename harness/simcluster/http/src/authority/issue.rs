//! Certificates for keys that others have: what a certificate signing request asks for, signed.
//!
//! Names and keys go into the certificate as they stand in the request. Whether the request is to be
//! granted is not decided here.

use jiff::Timestamp;
use rcgen::{Issuer, KeyPair, SigningKey as _};
use x509_parser::{
    certification_request::X509CertificationRequest, cri_attributes::ParsedCriAttribute,
    extensions::ParsedExtension, prelude::FromDer as _,
};

use super::der::{bits, extension, oid, sequence, tagged, time, unsigned};

const ECDSA_WITH_SHA256: [u8; 8] = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x0f];
const ALTERNATIVE_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 0x13];
const AUTHORITY_KEY: [u8; 3] = [0x55, 0x1d, 0x23];
const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 0x25];
/// Purposes of keys, but for the last number.
const PURPOSE: [u8; 7] = [0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03];
const ANY_PURPOSE: [u8; 4] = [0x55, 0x1d, 0x25, 0x00];
/// Tags of fields that a certificate numbers.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const KEY_IDENTIFIER: u8 = 0x80;

/// A certificate could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// It is no request.
    #[error("the certificate signing request cannot be read: {0}")]
    Unreadable(String),
    /// Whoever asks does not have the key.
    #[error("unable to verify certificate request signature: {0}")]
    Signature(String),
    /// Nothing that certificates are for.
    #[error("unrecognized usage: {0:?}")]
    Usage(String),
    /// The authority's own key failed.
    #[error("the certificate could not be signed")]
    Sign(#[source] rcgen::Error),
}

/// What a certificate is for, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// As `spec.usages` of a CertificateSigningRequest names them.
    pub usages: &'a [String],
    /// From when on.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// Who signs, and as whom.
pub(super) struct Signer<'a> {
    pub(super) issuer: &'a Issuer<'static, KeyPair>,
    pub(super) certificate: &'a [u8],
}

/// Subject, key and names of the certificate to be, as DER.
pub(super) struct Subject<'a> {
    pub(super) name: &'a [u8],
    pub(super) key: &'a [u8],
    /// The value of the extension.
    pub(super) alternative_names: Option<&'a [u8]>,
}

/// Issues what a request (as DER) asks for.
pub(super) fn requested(
    signer: &Signer<'_>,
    request: &[u8],
    terms: &Terms<'_>,
) -> Result<Vec<u8>, IssueError> {
    let (_, request) = X509CertificationRequest::from_der(request)
        .map_err(|error| IssueError::Unreadable(error.to_string()))?;
    (request.verify_signature()).map_err(|error| IssueError::Signature(error.to_string()))?;
    let info = &request.certification_request_info;
    let names = info.iter_attributes().find_map(|attribute| {
        let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() else {
            return None;
        };
        let is_names = |extension: &&x509_parser::extensions::X509Extension<'_>| {
            matches!(
                extension.parsed_extension(),
                ParsedExtension::SubjectAlternativeName(_)
            )
        };
        asked.extensions.iter().find(is_names)
    });
    let subject = Subject {
        name: info.subject.as_raw(),
        key: info.subject_pki.raw,
        alternative_names: names.map(|extension| extension.value),
    };
    issue(signer, &subject, terms)
}

/// A certificate as DER.
pub(super) fn issue(
    signer: &Signer<'_>,
    subject: &Subject<'_>,
    terms: &Terms<'_>,
) -> Result<Vec<u8>, IssueError> {
    let unreadable = |error: String| IssueError::Unreadable(error);
    let (_, own) = x509_parser::parse_x509_certificate(signer.certificate)
        .map_err(|error| unreadable(error.to_string()))?;
    let own_end = Timestamp::from_second(own.validity().not_after.timestamp());
    let not_after = own_end.map_or(terms.not_after, |end| end.min(terms.not_after));
    let algorithm = sequence([oid(&ECDSA_WITH_SHA256).as_slice()]);
    let serial: [u8; 16] = rand::random();
    let validity = sequence([
        time(terms.not_before).as_slice(),
        time(not_after).as_slice(),
    ]);
    let mut extensions = usages(terms.usages)?;
    extensions.push(extension(&BASIC_CONSTRAINTS, true, &sequence([])));
    let own_key = own
        .iter_extensions()
        .find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
            _ => None,
        });
    if let Some(key) = own_key {
        let value = sequence([tagged(KEY_IDENTIFIER, key).as_slice()]);
        extensions.push(extension(&AUTHORITY_KEY, false, &value));
    }
    if let Some(names) = subject.alternative_names {
        // Where there is no other name, this one must be understood.
        let nameless = subject.name == sequence([]);
        extensions.push(extension(&ALTERNATIVE_NAME, nameless, names));
    }
    let extensions = sequence(extensions.iter().map(Vec::as_slice));
    let content = sequence([
        tagged(VERSION, &unsigned(&[2])).as_slice(),
        unsigned(&serial).as_slice(),
        algorithm.as_slice(),
        own.subject().as_raw(),
        validity.as_slice(),
        subject.name,
        subject.key,
        tagged(EXTENSIONS, &extensions).as_slice(),
    ]);
    let signature = (signer.issuer.key().sign(&content)).map_err(IssueError::Sign)?;
    Ok(sequence([
        content.as_slice(),
        algorithm.as_slice(),
        bits(&signature, 0).as_slice(),
    ]))
}

/// The extensions that say what a key may do and what for.
fn usages(usages: &[String]) -> Result<Vec<Vec<u8>>, IssueError> {
    let mut mask = 0_u16;
    let mut purposes: Vec<Vec<u8>> = Vec::new();
    for usage in usages {
        let bit = match usage.as_str() {
            "signing" | "digital signature" => Some(0),
            "content commitment" => Some(1),
            "key encipherment" => Some(2),
            "data encipherment" => Some(3),
            "key agreement" => Some(4),
            "cert sign" => Some(5),
            "crl sign" => Some(6),
            "encipher only" => Some(7),
            "decipher only" => Some(8),
            _ => None,
        };
        let number = match usage.as_str() {
            "server auth" => 1,
            "client auth" => 2,
            "code signing" => 3,
            "email protection" | "s/mime" => 4,
            "ipsec end system" => 5,
            "ipsec tunnel" => 6,
            "ipsec user" => 7,
            "timestamping" => 8,
            "ocsp signing" => 9,
            _ => 0,
        };
        match (bit, number) {
            (Some(bit), _) => mask |= 1 << (15 - bit),
            (None, 0) if usage == "any" => purposes.push(oid(&ANY_PURPOSE)),
            (None, 0) => return Err(IssueError::Usage(usage.clone())),
            (None, number) => {
                let name: Vec<u8> = PURPOSE.into_iter().chain([number]).collect();
                purposes.push(oid(&name));
            }
        }
    }
    purposes.sort();
    purposes.dedup();
    let mut extensions = Vec::new();
    if mask != 0 {
        let [first, second] = mask.to_be_bytes();
        let (bytes, last) = if second == 0 {
            (vec![first], first)
        } else {
            (vec![first, second], second)
        };
        let unused = u8::try_from(last.trailing_zeros()).unwrap_or(0);
        extensions.push(extension(&KEY_USAGE, true, &bits(&bytes, unused)));
    }
    if !purposes.is_empty() {
        let value = sequence(purposes.iter().map(Vec::as_slice));
        extensions.push(extension(&EXTENDED_KEY_USAGE, false, &value));
    }
    Ok(extensions)
}
