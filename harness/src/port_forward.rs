//! A local TCP port that leads into a pod, as `kubectl port-forward` makes one.
//!
//! It listens on loopback only, and is closed when the value is dropped.

use std::{io, net::SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};
use tracing::debug;

/// An open forward; dropping it closes the port and its connections.
#[derive(Debug)]
pub struct PortForward {
    address: SocketAddr,
    acceptor: AbortHandle,
}

impl PortForward {
    /// Listens on a free local port and leads each connection to `port` of the pod `name`.
    pub async fn open(pods: Api<Pod>, name: &str, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let name = name.to_owned();
        let acceptor = tokio::spawn(accept(listener, pods, name, port)).abort_handle();
        Ok(Self { address, acceptor })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, pods: Api<Pod>, name: String, port: u16) {
    // Aborting this task drops the set, and with it every connection.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(forward(stream, pods.clone(), name.clone(), port));
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut local: TcpStream, pods: Api<Pod>, name: String, port: u16) {
    let outcome = async {
        let mut forwarder = pods
            .portforward(&name, &[port])
            .await
            .map_err(io::Error::other)?;
        let mut remote = forwarder
            .take_stream(port)
            .ok_or_else(|| io::Error::other("the API server opened no stream for the port"))?;
        copy_bidirectional(&mut local, &mut remote).await
    };
    if let Err(error) = outcome.await {
        debug!(pod = %name, port, %error, "a forwarded connection ended");
    }
}
