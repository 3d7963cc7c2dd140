//! The network of model pods: who listens where, and how a Service's name leads there.
//!
//! Connections are pipes in memory. There are no packets, so nothing is lost but what a program drops.

use std::{
    collections::HashMap,
    fmt, io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{io::DuplexStream, sync::mpsc};

use crate::services::{Services, is_headless};

/// A connection between two model pods, or from the node to one.
pub type ModelStream = DuplexStream;

type Place = (Ipv4Addr, u16);

/// Who listens; clones are the same network.
#[derive(Clone, Debug, Default)]
pub(super) struct Network(Arc<Mutex<HashMap<Place, mpsc::UnboundedSender<ModelStream>>>>);

impl Network {
    fn with<T>(
        &self,
        act: impl FnOnce(&mut HashMap<Place, mpsc::UnboundedSender<ModelStream>>) -> T,
    ) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A port that is listened at, until this is dropped.
pub struct ModelListener {
    place: Place,
    network: Network,
    accepted: mpsc::UnboundedReceiver<ModelStream>,
}

impl fmt::Debug for ModelListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelListener").field(&self.place).finish()
    }
}

impl ModelListener {
    /// The next connection.
    pub async fn accept(&mut self) -> ModelStream {
        match self.accepted.recv().await {
            Some(stream) => stream,
            None => std::future::pending().await,
        }
    }
}

impl Drop for ModelListener {
    fn drop(&mut self) {
        self.network.with(|all| all.remove(&self.place));
    }
}

/// The network as a pod reaches it.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) network: Network,
    pub(super) services: Services,
}

impl Way {
    pub(super) fn listen(&self, own: Option<Ipv4Addr>, port: u16) -> io::Result<ModelListener> {
        let place = (own.unwrap_or(Ipv4Addr::LOCALHOST), port);
        let (sender, accepted) = mpsc::unbounded_channel();
        self.network.with(|all| {
            if all.contains_key(&place) {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            all.insert(place, sender);
            Ok(())
        })?;
        Ok(ModelListener {
            place,
            network: self.network.clone(),
            accepted,
        })
    }

    pub(super) fn connect(
        &self,
        own: Option<Ipv4Addr>,
        host: &str,
        port: u16,
    ) -> io::Result<ModelStream> {
        const PIPE: usize = 64 * 1024;
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "connection refused");
        for place in self.places(own, host, port)? {
            let listener = self.network.with(|all| all.get(&place).cloned());
            let (ours, theirs) = tokio::io::duplex(PIPE);
            if listener.is_some_and(|listener| listener.send(theirs).is_ok()) {
                return Ok(ours);
            }
        }
        Err(refused())
    }

    /// Where a host leads: to itself, or to what is behind a Service.
    fn places(&self, own: Option<Ipv4Addr>, host: &str, port: u16) -> io::Result<Vec<Place>> {
        let service = match host.parse::<Ipv4Addr>() {
            Ok(address) if address.is_loopback() || host == "localhost" => {
                return Ok(vec![(own.unwrap_or(Ipv4Addr::LOCALHOST), port)]);
            }
            Ok(address) => match self.services.at(address) {
                Some(service) => service,
                None => return Ok(vec![(address, port)]),
            },
            Err(_) => {
                let mut words = host.split('.');
                let (name, namespace) = (words.next().unwrap_or_default(), words.next());
                let found = namespace.and_then(|namespace| self.services.get(namespace, name));
                found.ok_or_else(|| {
                    let why = format!("no Service is called {host}");
                    io::Error::new(io::ErrorKind::NotFound, why)
                })?
            }
        };
        let backends = self.services.backends(&service);
        if is_headless(&service) {
            return Ok(backends.iter().map(|b| (b.address, port)).collect());
        }
        let ports = service.spec.iter().flat_map(|s| s.ports.iter().flatten());
        let asked = ports.filter(|p| p.port == i32::from(port));
        let names: Vec<_> = asked.map(|p| p.name.clone().unwrap_or_default()).collect();
        Ok(backends
            .iter()
            .flat_map(|b| {
                names
                    .iter()
                    .filter_map(|n| Some((b.address, *b.ports.get(n)?)))
            })
            .collect())
    }
}
