//! An open port, with what a client needs to use it.

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, PoisonError},
};

use simcluster_http::{Login, kubeconfig};

use super::{
    ApiServer, StartError,
    identity::{Identity, MASTERS},
};

/// A port on which the server answers; dropping it closes the port.
#[derive(Debug)]
pub struct Listening {
    inner: simcluster_http::Listening,
    kubeconfig: kube::config::Kubeconfig,
}

impl Listening {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.inner.address()
    }

    /// A kubeconfig for the administrator.
    pub fn kubeconfig(&self) -> &kube::config::Kubeconfig {
        &self.kubeconfig
    }

    /// Writes the administrator's kubeconfig to a file that only its owner can read.
    pub fn write_kubeconfig(&self, path: &Path) -> io::Result<()> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let text = serde_yaml::to_string(&self.kubeconfig).map_err(io::Error::other)?;
        // A file that is there keeps its mode, so it is replaced.
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(text.as_bytes())
    }

    /// Where connections that were accepted elsewhere may be handed in, as a node's service proxy
    /// does for the address of the Service `kubernetes`.
    pub fn streams(&self) -> tokio::sync::mpsc::Sender<tokio::net::TcpStream> {
        self.inner.streams()
    }
}

impl ApiServer {
    /// Serves HTTPS; port 0 is a free one.
    pub async fn listen(&self, address: SocketAddr) -> Result<Listening, StartError> {
        let authority = self.inner.authority()?;
        let mut names = vec![
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        names.extend(self.inner.config.names.iter().map(String::as_str));
        let addresses = [IpAddr::V4(self.inner.config.service_range.nth(1))];
        let inner = simcluster_http::listen(
            Arc::new(self.clone()),
            &authority,
            address,
            &names,
            &addresses,
        )
        .await?;
        let admin = Identity::admin();
        *self
            .inner
            .address
            .write()
            .unwrap_or_else(PoisonError::into_inner) = inner.address().to_string();
        let credentials = authority.client(&admin.user, &[MASTERS])?;
        let bound = inner.address();
        let host = if bound.ip().is_unspecified() {
            SocketAddr::new(IpAddr::from([127, 0, 0, 1]), bound.port())
        } else {
            bound
        };
        Ok(Listening {
            kubeconfig: kubeconfig(
                "simcluster",
                &format!("https://{host}"),
                authority.certificate(),
                &Login::Certificate(credentials),
            ),
            inner,
        })
    }
}
