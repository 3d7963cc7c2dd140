//! Images as people build them, run as pods.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use simcluster::{Cluster, ImageStore, StoreConfig};

use crate::support::{cluster, create, libraries, phase, pod, until, within};

const NAME: &str = "registry.example/team/app:1";

/// What the image's entrypoint says, before it becomes what it was told to run.
const ENTRYPOINT: &str = "#!/bin/sh
set -e
echo \"user $(id -u):$(id -g) in $(pwd), $GREETING\"
[ ! -e /etc/removed ] && echo 'a removed file is gone'
[ ! -e /opt/dir/old ] && [ -e /opt/dir/new ] && echo 'an emptied directory has only what is new'
cat /etc/linked
exec \"$@\"
";

/// A layer under construction.
struct Layer(tar::Builder<Vec<u8>>, Vec<PathBuf>);

impl Layer {
    fn new() -> Self {
        Self(tar::Builder::new(Vec::new()), Vec::new())
    }

    fn file(mut self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        let path = path.trim_start_matches('/');
        self.0.append_data(&mut header, path, bytes).unwrap();
        self
    }

    fn link(mut self, kind: tar::EntryType, path: &str, to: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(0);
        self.0.append_link(&mut header, path, to).unwrap();
        self
    }

    /// A program of this machine, with what it needs to start.
    fn program(mut self, name: &str) -> Self {
        let path = Path::new("/bin").join(name);
        let files = libraries(&path).into_iter().chain([path]);
        for file in files {
            if self.1.contains(&file) {
                continue;
            }
            self.1.push(file.clone());
            let bytes = fs::read(&file).unwrap();
            self = self.file(file.to_str().unwrap(), 0o755, &bytes);
        }
        self
    }

    fn tar(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// Writes an OCI archive of one image, as builders do: compressed layers, a script as entrypoint, an ordinary user.
fn archive(path: &Path) {
    let base = Layer::new()
        .program("sh")
        .program("id")
        .program("cat")
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0::/:/bin/sh\napp:x:1000:1001::/srv:/bin/sh\n",
        )
        .file("etc/removed", 0o644, b"x")
        .file("etc/original", 0o644, b"through a hard link\n")
        .link(tar::EntryType::Link, "etc/linked", "etc/original")
        .file("opt/dir/old", 0o644, b"x");
    let top = Layer::new()
        .file("etc/.wh.removed", 0, b"")
        .file("opt/dir/.wh..wh..opq", 0, b"")
        .file("opt/dir/new", 0o644, b"x")
        .file("usr/local/bin/entrypoint.sh", 0o755, ENTRYPOINT.as_bytes())
        .link(
            tar::EntryType::Symlink,
            "entry",
            "/usr/local/bin/entrypoint.sh",
        );
    let mut blobs: Vec<Vec<u8>> = Vec::new();
    let mut put = |bytes: Vec<u8>| -> Value {
        let descriptor = json!({"mediaType": "x", "digest": format!("sha256:{}", hex(&bytes)), "size": bytes.len()});
        blobs.push(bytes);
        descriptor
    };
    let (mut layers, mut contents) = (Vec::new(), Vec::new());
    for layer in [base.tar(), top.tar()] {
        contents.push(format!("sha256:{}", hex(&layer)));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&layer).unwrap();
        layers.push(put(gzip.finish().unwrap()));
    }
    let config = put(json!({
        "os": "linux",
        "config": {
            "Entrypoint": ["/entry"], "Cmd": ["sh", "-c", "echo ran: $0 $1", "first"],
            "User": "app", "WorkingDir": "/srv/app", "Env": ["PATH=/bin", "GREETING=hello"],
        },
        "rootfs": {"type": "layers", "diff_ids": contents},
    })
    .to_string()
    .into_bytes());
    let mut manifest = put(
        json!({"schemaVersion": 2, "config": config, "layers": layers})
            .to_string()
            .into_bytes(),
    );
    manifest["annotations"] = json!({"io.containerd.image.name": NAME});
    let index = json!({"schemaVersion": 2, "manifests": [manifest]}).to_string();
    let mut out = Layer::new()
        .file("oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)
        .file("index.json", 0o644, index.as_bytes());
    for blob in blobs {
        out = out.file(&format!("blobs/sha256/{}", hex(&blob)), 0o644, &blob);
    }
    File::create(path).unwrap().write_all(&out.tar()).unwrap();
}

#[tokio::test]
async fn an_image_as_people_build_them_runs_as_a_pod() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.tar");
    archive(&file);
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(dir.path().join("cache")),
        registries: false,
        engine: false,
        packages: false,
        ..StoreConfig::default()
    })
    .unwrap();
    let builder = Cluster::builder().images(Arc::new(store));
    let cluster = builder.image_archive(&file).start().await.unwrap();
    let pods = within::<Pod>(&cluster, "default");
    let container = json!({"name": "c", "image": NAME});
    let spec = json!({
        "metadata": {"name": "app"},
        "spec": {"restartPolicy": "Never", "containers": [container]},
    });
    create(&pods, spec).await;
    let done = until(pods.clone(), "app", phase("Succeeded"))
        .await
        .unwrap();
    assert_eq!(
        pods.logs("app", &LogParams::default()).await.unwrap(),
        "user 1000:1001 in /srv/app, hello\n\
         a removed file is gone\n\
         an emptied directory has only what is new\n\
         through a hard link\n\
         ran: first\n"
    );
    let statuses = done.status.unwrap().container_statuses.unwrap();
    assert_eq!(statuses[0].image, NAME);
    assert!(
        statuses[0].image_id.contains("@sha256:"),
        "{}",
        statuses[0].image_id
    );
    cluster.shutdown().await;
}

#[test]
fn an_ordinary_user_can_run_it_too() {
    if !nix::unistd::geteuid().is_root() {
        return; // Then the test before has shown it.
    }
    let dir = tempfile::tempdir().unwrap();
    let tmp = dir.path().join("tmp");
    fs::create_dir(&tmp).unwrap();
    for (path, mode) in [(dir.path(), 0o755), (&tmp, 0o777)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let program: PathBuf = dir.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(&program)
        .args([
            "--exact",
            "images::an_image_as_people_build_them_runs_as_a_pod",
        ])
        .env("TMPDIR", &tmp)
        .env("HOME", "/nonexistent")
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{complaints}");
    assert!(text.contains("1 passed"), "{text}");
    let left: Vec<_> = fs::read_dir(&tmp).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_pod_that_wants_more_memory_than_its_limit_is_oom_killed() {
    if simcluster::memory_limits().is_err() {
        return; // The runtime's own tests see to it that this is said.
    }
    let cluster = cluster(1).await;
    let pods = within::<Pod>(&cluster, "default");
    let mut greedy = pod("greedy", "node-1", "want_much_memory", &[]);
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "24Mi"}});
    create(&pods, greedy).await;
    let dead = until(pods, "greedy", phase("Failed")).await.unwrap();
    let statuses = dead.status.unwrap().container_statuses.unwrap();
    let end = statuses[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!(
        (end.reason.as_deref(), end.exit_code),
        (Some("OOMKilled"), 137)
    );
    cluster.shutdown().await;
}
