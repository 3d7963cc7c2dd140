//! UDP ports of Services: each client's datagrams go to one endpoint, its answers come back.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::UdpSocket, sync::watch};

use super::Upstream;
use crate::{runtime::Ground, tasks::Tasks};

/// A client that is silent for so long is forgotten; a real node's kernel keeps half a minute, too.
const IDLE: Duration = Duration::from_secs(30);
/// The largest datagram.
const DATAGRAM: usize = 64 * 1024;

/// Forwards until the task is dropped.
pub(super) async fn serve(
    socket: UdpSocket,
    upstream: watch::Receiver<Upstream>,
    ground: Arc<Ground>,
    own: Ipv4Addr,
    tasks: Tasks,
) {
    let socket = Arc::new(socket);
    let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut turn = 0;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            // An earlier answer that could not be delivered comes back as an error here.
            tokio::task::yield_now().await;
            continue;
        };
        clients.retain(|_, session| Arc::strong_count(session) > 1);
        let session = if let Some(session) = clients.get(&client) {
            Arc::clone(session)
        } else {
            turn += 1;
            match open(&upstream, &ground, own, turn).await {
                Ok(Some(session)) => {
                    let session = Arc::new(session);
                    tasks.spawn(answers(Arc::clone(&session), Arc::clone(&socket), client));
                    clients.insert(client, Arc::clone(&session));
                    session
                }
                Ok(None) => continue,
                Err(error) => {
                    tracing::debug!(%error, "udp endpoint not reached");
                    continue;
                }
            }
        };
        if let Err(error) = session.send(&buffer[..length]).await {
            tracing::debug!(%error, "datagram not forwarded");
        }
    }
}

/// A socket that is connected with an endpoint, if there is one.
async fn open(
    upstream: &watch::Receiver<Upstream>,
    ground: &Ground,
    own: Ipv4Addr,
    turn: usize,
) -> io::Result<Option<UdpSocket>> {
    let Upstream::Endpoints { backends, .. } = upstream.borrow().clone() else {
        return Ok(None);
    };
    let endpoint = backends[turn % backends.len()];
    let socket = ground.runtime.udp(own, 0).await.map_err(io::Error::other)?;
    socket.connect(endpoint).await?;
    Ok(Some(socket))
}

/// Brings the endpoint's answers to the client, until both have been silent.
async fn answers(session: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; DATAGRAM];
    while let Ok(Ok(length)) = tokio::time::timeout(IDLE, session.recv(&mut buffer)).await {
        if socket.send_to(&buffer[..length], client).await.is_err() {
            return;
        }
    }
}
