//! One pull: from a reference to an OCI layout on disk, blob by blob, each verified by its digest.
//!
//! It unpacks nothing. The protocol itself, with its tokens and redirections, is the client library's.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures::{StreamExt as _, TryStreamExt as _};
use oci_client::{
    Client, RegistryOperation,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
};
use tokio::io::AsyncWriteExt as _;

use super::credentials::Credentials;
use crate::{
    ImageError, Reference,
    error::with_causes,
    oci::{
        self,
        document::{Descriptor, Index, Manifest},
    },
    progress::Event,
    source::Reporter,
    store::Workspace,
};

/// A registry that takes longer to be connected to cannot be reached.
const CONNECT: Duration = Duration::from_secs(5);
/// And one that takes longer between two parts of its answer has gone away.
const SILENCE: Duration = Duration::from_secs(30);
/// How many layers are downloaded at a time; as many as Docker does.
const AT_ONCE: usize = 3;
/// How often a download that breaks off is begun.
const ATTEMPTS: usize = 3;
/// Indexes within indexes end somewhere.
const MAX_DEPTH: usize = 4;
/// No manifest is larger, says the specification.
const MAX_DOCUMENT: usize = 4 << 20;
/// What a manifest may be.
const MANIFESTS: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// What to ask for, whom and as whom.
pub(super) struct Pull<'a> {
    pub(super) reference: &'a Reference,
    pub(super) plain_http: bool,
    pub(super) credentials: &'a Credentials,
    pub(super) reporter: &'a dyn Reporter,
}

/// Where to pull to.
pub(super) struct Destination<'a> {
    /// An empty directory.
    pub(super) layout: &'a Path,
    /// Knows which layers need not be pulled.
    pub(super) workspace: &'a Workspace,
    /// The manifest to take instead of what the tag means by now.
    pub(super) digest: Option<&'a str>,
}

/// Why there is no image.
#[derive(Debug)]
pub(super) enum PullError {
    /// The registry did not answer at all.
    Unreachable(String),
    /// It did, but not with the image.
    Refused(String),
    /// It is not about the registry.
    Image(ImageError),
}

impl Pull<'_> {
    /// The digest of what the reference means now.
    pub(super) async fn look_up(&self) -> Result<String, PullError> {
        let image = self.image();
        let client = self.greet(&image).await?;
        let found = client
            .pull_manifest_raw(&image, self.credentials.auth(), &MANIFESTS)
            .await;
        let (_, digest) = found.map_err(|error| self.explain(error))?;
        // It becomes part of a name in the cache.
        hex(&digest)?;
        Ok(digest)
    }

    /// Fills the layout with this one image.
    pub(super) async fn run(&self, into: &Destination<'_>) -> Result<(), PullError> {
        let image = match into.digest {
            Some(digest) => self.image().clone_with_digest(digest.to_owned()),
            None => self.image(),
        };
        let client = self.greet(&image).await?;
        let (manifest, descriptor) = self.manifest(&client, &image).await?;

        let blobs = into.layout.join("blobs/sha256");
        write(tokio::fs::create_dir_all(&blobs).await, &blobs)?;
        let place = blobs.join(hex(&descriptor.digest)?);
        write(tokio::fs::write(&place, &manifest.bytes).await, &place)?;
        let count = Counter::default();
        self.blob(&client, &image, &manifest.parsed.config, &blobs, &count)
            .await?;
        let key = oci::layer_key(&manifest.parsed.config.digest);
        if !into.workspace.has(&key).map_err(PullError::Image)? {
            self.layers(&client, &image, &manifest.parsed.layers, &blobs)
                .await?;
        }
        let index = Index::of(descriptor, &self.reference.to_string());
        let place = into.layout.join("index.json");
        write(tokio::fs::write(&place, index.to_json()).await, &place)
    }

    /// A client that the registry knows.
    async fn greet(&self, image: &oci_client::Reference) -> Result<Client, PullError> {
        let client = self.client();
        self.step(&format!("asking {}", self.reference.registry()))?;
        client
            .auth(image, self.credentials.auth(), RegistryOperation::Pull)
            .await
            .map_err(|error| self.explain(error))?;
        Ok(client)
    }

    fn image(&self) -> oci_client::Reference {
        let registry = self.reference.registry().to_owned();
        let repository = self.reference.repository().to_owned();
        match (self.reference.digest(), self.reference.tag()) {
            (Some(digest), _) => {
                oci_client::Reference::with_digest(registry, repository, digest.to_owned())
            }
            (None, tag) => oci_client::Reference::with_tag(
                registry,
                repository,
                tag.unwrap_or("latest").to_owned(),
            ),
        }
    }

    fn client(&self) -> Client {
        // Whoever was first in this process has chosen; that is as good.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        Client::new(ClientConfig {
            protocol: if self.plain_http {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("simcluster/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        })
    }

    /// The manifest for this machine, through as many indexes as it takes.
    async fn manifest(
        &self,
        client: &Client,
        image: &oci_client::Reference,
    ) -> Result<(Fetched, Descriptor), PullError> {
        let mut image = image.clone();
        for _ in 0..MAX_DEPTH {
            let (bytes, digest) = client
                .pull_manifest_raw(&image, self.credentials.auth(), &MANIFESTS)
                .await
                .map_err(|error| self.explain(error))?;
            if bytes.len() > MAX_DOCUMENT {
                return Err(self.refused("its manifest is larger than manifests are"));
            }
            if let Ok(parsed) = serde_json::from_slice::<Manifest>(&bytes) {
                let descriptor = Descriptor {
                    media_type: parsed.media_type.clone(),
                    digest,
                    size: bytes.len() as u64,
                    ..Descriptor::default()
                };
                let bytes = bytes.to_vec();
                return Ok((Fetched { bytes, parsed }, descriptor));
            }
            let index: Index = serde_json::from_slice(&bytes).map_err(|error| {
                self.refused(&format!("its manifest cannot be understood: {error}"))
            })?;
            let chosen = index.for_this_machine().map_err(|why| self.refused(&why))?;
            image = image.clone_with_digest(chosen.digest.clone());
        }
        Err(self.refused("its indexes lead into one another"))
    }

    async fn layers(
        &self,
        client: &Client,
        image: &oci_client::Reference,
        layers: &[Descriptor],
        blobs: &Path,
    ) -> Result<(), PullError> {
        let total: u64 = layers.iter().map(|layer| layer.size).sum();
        self.step(&format!("pulling {} layers", layers.len()))?;
        let count = Counter {
            done: AtomicU64::new(0),
            total: Some(total),
        };
        let pulls = layers
            .iter()
            .map(|layer| self.blob(client, image, layer, blobs, &count));
        futures::stream::iter(pulls)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Downloads a blob unless it is there.
    async fn blob(
        &self,
        client: &Client,
        image: &oci_client::Reference,
        descriptor: &Descriptor,
        blobs: &Path,
        count: &Counter,
    ) -> Result<(), PullError> {
        let place = blobs.join(hex(&descriptor.digest)?);
        let mut attempt = 1;
        loop {
            let mut here = 0;
            let tried = self.try_blob(client, image, descriptor, &place, count, &mut here);
            match tried.await {
                Err(PullError::Unreachable(why)) if attempt < ATTEMPTS => {
                    tracing::debug!(why, digest = descriptor.digest, "download begun again");
                    count.done.fetch_sub(here, Ordering::Relaxed);
                    attempt += 1;
                }
                // It did answer before.
                Err(PullError::Unreachable(why)) => return Err(self.refused(&why)),
                other => return other,
            }
        }
    }

    async fn try_blob(
        &self,
        client: &Client,
        image: &oci_client::Reference,
        descriptor: &Descriptor,
        place: &Path,
        count: &Counter,
        here: &mut u64,
    ) -> Result<(), PullError> {
        let mut stream = client
            .pull_blob_stream(image, descriptor.digest.as_str())
            .await
            .map_err(|error| self.explain(error))?;
        let mut file = write(tokio::fs::File::create(place).await, place)?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| {
                let why = format!(
                    "blob {} broke off: {}",
                    descriptor.digest,
                    with_causes(&error)
                );
                PullError::Unreachable(why)
            })?;
            write(file.write_all(&chunk).await, place)?;
            let length = chunk.len() as u64;
            *here += length;
            let done = count.done.fetch_add(length, Ordering::Relaxed) + length;
            if let Some(total) = count.total {
                let total = Some(total);
                self.reporter
                    .report(Event::Bytes { done, total })
                    .map_err(PullError::Image)?;
            }
        }
        write(file.flush().await, place)
    }

    fn step(&self, text: &str) -> Result<(), PullError> {
        self.reporter.step(text).map_err(PullError::Image)
    }

    fn refused(&self, why: &str) -> PullError {
        PullError::Refused(format!("{}: {why}", self.reference.registry()))
    }

    /// In words that say what happened, without a look into the library.
    fn explain(&self, error: OciDistributionError) -> PullError {
        match error {
            OciDistributionError::RequestError(error)
                if error.is_connect() || error.is_timeout() =>
            {
                PullError::Unreachable(with_causes(&error.without_url()))
            }
            OciDistributionError::RequestError(error) => {
                self.refused(&with_causes(&error.without_url()))
            }
            OciDistributionError::RegistryError { envelope, .. } => {
                let told: Vec<_> = envelope
                    .errors
                    .iter()
                    .map(|error| format!("{:?}: {}", error.code, error.message))
                    .collect();
                self.refused(&told.join(", "))
            }
            OciDistributionError::UnauthorizedError { .. } => self.refused(
                "access is denied, or there is no such repository (registries do not say which)",
            ),
            OciDistributionError::ServerError { code: 404, .. } => {
                self.refused("it has no such image")
            }
            OciDistributionError::ServerError { code, .. } => {
                self.refused(&format!("it answers with status {code}"))
            }
            other => self.refused(&other.to_string()),
        }
    }
}

/// A manifest, and its exact bytes.
struct Fetched {
    bytes: Vec<u8>,
    parsed: Manifest,
}

/// How much of all blobs is here.
#[derive(Default)]
struct Counter {
    done: AtomicU64,
    /// `None` where nobody wants to know.
    total: Option<u64>,
}

/// The name of a blob's file: no digest leads out of the directory.
fn hex(digest: &str) -> Result<&str, PullError> {
    oci::sha256(digest).map_err(PullError::Refused)
}

fn write<T>(result: std::io::Result<T>, path: &Path) -> Result<T, PullError> {
    result.map_err(|error| PullError::Image(crate::error::io("write", path)(error)))
}
