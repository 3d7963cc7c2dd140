//! Images and archives for tests, made in memory.

use std::{collections::BTreeMap, fs, io::Write as _, path::Path};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::{digest::hex, oci::document::architecture};

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A tar archive of plain files.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(bytes.len() as u64);
        builder
            .append_data(&mut header, path, *bytes)
            .expect("memory takes it");
    }
    builder.into_inner().expect("memory takes it")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// How a layer is compressed.
pub(crate) type Pack = fn(&[u8]) -> Vec<u8>;

/// Not at all.
pub(crate) fn plain(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

/// In two frames, with one to be skipped before each, as tools write that let clients fetch parts.
pub(crate) fn zstd_frames(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let skipped = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3];
    [&skipped[..], &zstd(first), &skipped, &zstd(second)].concat()
}

/// Blobs by their digests (`sha256:…`).
#[derive(Clone, Debug, Default)]
pub(crate) struct Blobs(pub(crate) BTreeMap<String, Vec<u8>>);

impl Blobs {
    /// Keeps a blob, and answers its descriptor.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Value {
        let digest = format!("sha256:{}", sha256(bytes));
        self.0.insert(digest.clone(), bytes.to_vec());
        json!({"digest": digest, "size": bytes.len(), "mediaType": "x"})
    }

    pub(crate) fn put_json(&mut self, document: &Value) -> Value {
        self.put(document.to_string().as_bytes())
    }

    /// An image of these layers, packed by these functions; answers the descriptor of its manifest.
    pub(crate) fn image(&mut self, config: &Value, layers: &[(Pack, Vec<u8>)]) -> Value {
        let contents = layers
            .iter()
            .map(|(_, tar)| format!("sha256:{}", sha256(tar)));
        let contents: Vec<String> = contents.collect();
        let config = self.put_json(&json!({
            "os": "linux", "architecture": architecture(), "config": config,
            "rootfs": {"type": "layers", "diff_ids": contents},
        }));
        let layers = layers.iter().map(|(pack, tar)| self.put(&pack(tar)));
        let layers: Vec<Value> = layers.collect();
        self.put_json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
        }))
    }

    /// An index of an image for this machine, and of one for another that is not there.
    pub(crate) fn index(&mut self, image: &Value) -> Value {
        let mut mine = image.clone();
        mine["platform"] = json!({"os": "linux", "architecture": architecture()});
        let mut other = image.clone();
        other["platform"] = json!({"os": "linux", "architecture": "s390x"});
        other["digest"] = json!(format!("sha256:{}", "0".repeat(64)));
        self.put_json(&json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [other, mine],
        }))
    }

    /// Writes an OCI layout with this image.
    pub(crate) fn layout(&self, dir: &Path, image: &Value, name: &str) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).expect("a new directory");
        for (digest, bytes) in &self.0 {
            let file = blobs.join(digest.trim_start_matches("sha256:"));
            fs::write(file, bytes).expect("it is writable");
        }
        let mut named = image.clone();
        named["annotations"] = json!({"io.containerd.image.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [named]});
        fs::write(dir.join("index.json"), index.to_string()).expect("it is writable");
        fs::write(dir.join("oci-layout"), "{}").expect("it is writable");
    }
}
