//! A certificate authority that lives as long as its cluster: its keys are never written anywhere.

use std::{net::IpAddr, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
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
        let mut params = named(subject, &[]);
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
        let mut params = named(name, groups);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = self.sign(name, &params)?;
        Ok(Credentials {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// TLS for a server that goes by these names and addresses; clients may show a certificate.
    pub fn server(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<ServerConfig, AuthorityError> {
        let subject = "kube-apiserver";
        let mut params = named(subject, &[]);
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

fn named(common_name: &str, organizations: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    // rcgen keeps one value per attribute; several groups go into one, separated, and are split again.
    if !organizations.is_empty() {
        params
            .distinguished_name
            .push(DnType::OrganizationName, organizations.join(SEPARATOR));
    }
    params
}

/// Between groups in a certificate's organization; no group's name has a line break.
pub(crate) const SEPARATOR: &str = "\n";
