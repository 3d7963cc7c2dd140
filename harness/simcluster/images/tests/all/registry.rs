//! Pulls from a real registry, the distribution's own, which runs in a container here.

use std::{fmt::Write as _, fs, io::Write as _, net::Ipv4Addr};

use oci_client::{
    Client, Reference,
    client::{ClientConfig, ClientProtocol, Config, ImageLayer},
    manifest::{IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_GZIP_MEDIA_TYPE},
    secrets::RegistryAuth,
};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use simcluster_images::{ImageStore, StoreConfig};
use simcluster_runtime::spec::Target;
use tokio::net::{TcpListener, TcpStream};

use crate::container::{Container, Running};

/// A registry, and the port of this machine that leads to it while this lives.
struct Registry {
    host: String,
    running: Running,
    forward: tokio::task::JoinHandle<()>,
}

impl Registry {
    async fn start() -> Self {
        let running = Container::of("registry:2").await.start().await;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let runtime = running.runtime();
        let forward = tokio::spawn(async move {
            while let Ok((mut ours, _)) = listener.accept().await {
                let mut theirs: TcpStream = loop {
                    // Until it listens.
                    let dialled = runtime
                        .dial(Target::Sandbox("pod".to_owned()), Ipv4Addr::LOCALHOST, 5000)
                        .await;
                    match dialled {
                        Ok(stream) => break stream,
                        Err(_) => tokio::task::yield_now().await,
                    }
                };
                tokio::spawn(async move {
                    let _ = tokio::io::copy_bidirectional(&mut ours, &mut theirs).await;
                });
            }
        });
        Self {
            host,
            running,
            forward,
        }
    }

    /// Pushes an image of one file.
    async fn push(&self, name: &str, file: &str, content: &str) {
        // The client wants one even where it speaks plainly.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, file, content.as_bytes())
            .unwrap();
        let archive = archive.into_inner().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&archive).unwrap();
        let layer = packed.finish().unwrap();
        let layer = ImageLayer::new(layer, IMAGE_LAYER_GZIP_MEDIA_TYPE.to_owned(), None);
        let mut content = "sha256:".to_owned();
        for byte in Sha256::digest(&archive) {
            write!(content, "{byte:02x}").unwrap();
        }
        let config = json!({
            "os": "linux", "config": {"Cmd": ["/run"]},
            "rootfs": {"type": "layers", "diff_ids": [content]},
        });
        let config = Config::new(
            config.to_string().into_bytes(),
            IMAGE_CONFIG_MEDIA_TYPE.to_owned(),
            None,
        );
        let reference: Reference = format!("{}/{name}", self.host).parse().unwrap();
        client
            .push(&reference, &[layer], config, &RegistryAuth::Anonymous, None)
            .await
            .unwrap();
    }

    async fn stop(self) {
        self.forward.abort();
        let _ = self.forward.await;
        self.running.stop().await;
    }
}

#[tokio::test]
async fn an_image_is_pulled_from_the_distributions_own_registry() {
    let registry = Registry::start().await;
    registry.push("my/thing:1", "etc/thing", "first").await;
    registry.push("my/thing:2", "etc/thing", "second").await;
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().to_owned()),
        registries: true,
        engine: false,
        packages: false,
        ..StoreConfig::default()
    })
    .unwrap();
    for (tag, content) in [("1", "first"), ("2", "second")] {
        let name = format!("{}/my/thing:{tag}", registry.host);
        let image = store.ensure(&name, &()).await.unwrap();
        let file = image.layers[0].join("etc/thing");
        assert_eq!(fs::read_to_string(file).unwrap(), content);
        assert_eq!(image.config.cmd, ["/run"]);
    }
    let absent = format!("{}/my/thing:3", registry.host);
    let error = store.ensure(&absent, &()).await.unwrap_err().to_string();
    assert!(error.contains("manifest unknown"), "{error}");
    registry.stop().await;
}
