//! A certificate authority that lives as long as its cluster: its keys are never written anywhere.

mod der;
mod issue;

use std::{net::IpAddr, sync::Arc};

use jiff::Timestamp;

pub use self::issue::{IssueError, Terms};
use self::issue::{Signer, Subject};
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _,
};
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Key or certificate.
    #[error("could not make a certificate for {subject}")]
    Certificate {
        /// For whom.
        subject: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A certificate for somebody.
    #[error("could not issue a certificate")]
    Issue(#[from] IssueError),
    /// TLS refused what was made.
    #[error("could not set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Credentials {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// The authority of one cluster.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    der: CertificateDer<'static>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes an authority with a fresh key.
    pub fn new() -> Result<Self, AuthorityError> {
        let subject = "kubernetes-ca";
        let failed = |source| AuthorityError::Certificate {
            subject: subject.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = named(subject);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let certificate = params.self_signed(&key).map_err(failed)?;
        Ok(Self {
            certificate: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's own certificate, as PEM: what clients trust.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client certificate: the name is the user, the organizations are the groups.
    pub fn client(&self, name: &str, groups: &[&str]) -> Result<Credentials, AuthorityError> {
        let key = KeyPair::generate().map_err(|source| AuthorityError::Certificate {
            subject: name.to_owned(),
            source,
        })?;
        let groups = groups.iter().map(|group| (ORGANIZATION, *group));
        let subject = Subject {
            name: &der::name(groups.chain([(COMMON_NAME, name)])),
            key: &key.subject_public_key_info(),
            alternative_names: None,
        };
        let usages = ["digital signature".to_owned(), "client auth".to_owned()];
        let terms = Terms {
            usages: &usages,
            not_before: LONG_AGO,
            not_after: Timestamp::MAX,
        };
        let certificate = issue::issue(&self.signer(), &subject, &terms)?;
        Ok(Credentials {
            certificate: pem(&certificate),
            key: key.serialize_pem(),
        })
    }

    /// The certificate that a certificate signing request (as DER) asks for, as PEM.
    pub fn issue(&self, request: &[u8], terms: &Terms<'_>) -> Result<String, IssueError> {
        let certificate = issue::requested(&self.signer(), request, terms)?;
        Ok(pem(&certificate))
    }

    fn signer(&self) -> Signer<'_> {
        Signer {
            issuer: &self.issuer,
            certificate: &self.der,
        }
    }

    /// TLS for a server that goes by these names and addresses; clients may show a certificate.
    pub fn server(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<ServerConfig, AuthorityError> {
        let subject = "kube-apiserver";
        let mut params = named(subject);
        let all = names.iter().map(ToString::to_string);
        let all: Vec<String> = all
            .chain(addresses.iter().map(ToString::to_string))
            .collect();
        params.subject_alt_names = CertificateParams::new(all)
            .map_err(|source| AuthorityError::Certificate {
                subject: subject.to_owned(),
                source,
            })?
            .subject_alt_names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(subject, &params)?;
        let tls = |error: Box<dyn std::error::Error + Send + Sync>| AuthorityError::Tls(error);
        let mut roots = RootCertStore::empty();
        roots
            .add(self.der.clone())
            .map_err(|error| tls(error.into()))?;
        let provider = Arc::new(ring::default_provider());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|error| tls(error.into()))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| tls(error.into()))?
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate.der().clone()], key)
            .map_err(|error| tls(error.into()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn sign(
        &self,
        subject: &str,
        params: &CertificateParams,
    ) -> Result<(rcgen::Certificate, KeyPair), AuthorityError> {
        let failed = |source| AuthorityError::Certificate {
            subject: subject.to_owned(),
            source,
        };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok((certificate, key))
    }
}

fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params
}

/// Attributes of names, as DER writes them.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];
/// Before any clock that is only somewhat wrong.
const LONG_AGO: Timestamp = Timestamp::UNIX_EPOCH;
/// Characters on a line of PEM.
const LINE: usize = 64;

fn pem(certificate: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for (index, character) in encoded.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_issued_keeps_the_names_of_the_request_and_its_terms() {
        let authority = Authority::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["a.example.com".to_owned()]).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jan");
        let request = params.serialize_request(&key).unwrap();
        let usages = ["digital signature", "key encipherment", "client auth"];
        let usages = usages.map(str::to_owned);
        let terms = Terms {
            usages: &usages,
            not_before: "2026-01-01T00:00:00Z".parse().unwrap(),
            not_after: "2027-01-01T00:00:00Z".parse().unwrap(),
        };
        let text = authority.issue(request.der(), &terms).unwrap();
        let (_, block) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
        let certificate = block.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=jan");
        assert_eq!(certificate.issuer().to_string(), "CN=kubernetes-ca");
        assert_eq!(
            certificate.validity().not_after.timestamp(),
            terms.not_after.as_second()
        );
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment() && !usage.key_cert_sign());
        assert!(
            certificate
                .extended_key_usage()
                .unwrap()
                .unwrap()
                .value
                .client_auth
        );
        let names = certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value;
        assert_eq!(names.general_names.len(), 1);
        let (_, own) = x509_parser::parse_x509_certificate(&authority.der).unwrap();
        certificate
            .verify_signature(Some(own.public_key()))
            .unwrap();
    }

    #[test]
    fn somebody_without_the_key_gets_no_certificate() {
        let authority = Authority::new().unwrap();
        let key = KeyPair::generate().unwrap();
        let request = named("jan").serialize_request(&key).unwrap();
        let mut forged = request.der().to_vec();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let terms = Terms {
            usages: &[],
            not_before: LONG_AGO,
            not_after: Timestamp::MAX,
        };
        assert!(matches!(
            authority.issue(&forged, &terms),
            Err(IssueError::Signature(_) | IssueError::Unreadable(_))
        ));
        assert!(matches!(
            authority.issue(b"nonsense", &terms),
            Err(IssueError::Unreadable(_))
        ));
    }
}
