//! The connection to the init process: calls go out, answers and ends of processes come in.
//!
//! One task owns the socket and all that waits for something; when the socket closes, everything that
//! waits is told. It knows no meaning of requests.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    sync::atomic::{AtomicU64, Ordering},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::{mpsc, oneshot, watch},
};

use crate::{
    error::Error,
    protocol::{Answer, Call, Failure, Notice, Request},
    spec::ExitStatus,
    sys,
    wire::{Inbox, Outbox},
};

/// What the init process answered, with the descriptors that came along.
pub(super) type Reply = Result<(Answer, Vec<OwnedFd>), Failure>;

/// `None` while the process runs.
pub(super) type Exit = watch::Sender<Option<ExitStatus>>;

/// The way to the task that owns the socket.
#[derive(Debug)]
pub(super) struct Connection {
    orders: mpsc::UnboundedSender<Order>,
    next_process: AtomicU64,
}

#[derive(Debug)]
struct Order {
    request: Request,
    descriptors: Vec<OwnedFd>,
    /// The process that the request starts, by its number.
    exit: Option<(u64, Exit)>,
    reply: oneshot::Sender<Reply>,
}

impl Connection {
    /// Takes over the socket of an init process that serves. What has arrived already is in `inbox`.
    pub(super) fn open(socket: OwnedFd, inbox: Inbox) -> io::Result<Self> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        let socket = sys::watch(socket, interest)?;
        let (orders, received) = mpsc::unbounded_channel();
        let post = Post {
            socket,
            inbox,
            outbox: Outbox::default(),
            next_call: 0,
            replies: BTreeMap::new(),
            exits: BTreeMap::new(),
        };
        tokio::spawn(post.run(received));
        Ok(Self {
            orders,
            next_process: AtomicU64::new(0),
        })
    }

    /// A number for a process to come.
    pub(super) fn number_process(&self) -> u64 {
        self.next_process.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn call(
        &self,
        doing: &'static str,
        request: Request,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Reply, Error> {
        self.order(doing, request, descriptors, None).await
    }

    /// As [`Connection::call`], for a request that starts a process.
    pub(super) async fn call_for_process(
        &self,
        doing: &'static str,
        request: Request,
        descriptors: Vec<OwnedFd>,
        process: u64,
        exit: Exit,
    ) -> Result<Reply, Error> {
        self.order(doing, request, descriptors, Some((process, exit)))
            .await
    }

    async fn order(
        &self,
        doing: &'static str,
        request: Request,
        descriptors: Vec<OwnedFd>,
        exit: Option<(u64, Exit)>,
    ) -> Result<Reply, Error> {
        let (reply, answered) = oneshot::channel();
        let order = Order {
            request,
            descriptors,
            exit,
            reply,
        };
        self.orders.send(order).map_err(|_| Error::Lost { doing })?;
        answered.await.map_err(|_| Error::Lost { doing })
    }
}

/// The task.
struct Post {
    socket: AsyncFd<OwnedFd>,
    inbox: Inbox,
    outbox: Outbox,
    next_call: u64,
    replies: BTreeMap<u64, (oneshot::Sender<Reply>, Option<u64>)>,
    exits: BTreeMap<u64, Exit>,
}

impl Post {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        // Whatever ends the loop, dropping what waits tells those who wait.
        if let Err(error) = self.serve(&mut orders).await {
            tracing::debug!(%error, "the connection to the node's init process ended");
        }
    }

    async fn serve(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>) -> io::Result<()> {
        loop {
            while let Some((notice, descriptors)) = self.inbox.take::<Notice>()? {
                self.deliver(notice, descriptors);
            }
            tokio::select! {
                order = orders.recv() => match order {
                    None => return Ok(()),
                    Some(order) => self.send(order)?,
                },
                ready = self.socket.readable() => {
                    let filled = ready?.try_io(|socket| self.inbox.fill(socket.as_fd()));
                    match filled {
                        Ok(Ok(0)) => return Ok(()),
                        Ok(Err(error)) => return Err(error),
                        Ok(Ok(_)) | Err(_) => {}
                    }
                }
                ready = self.socket.writable(), if !self.outbox.is_empty() => {
                    if let Ok(sent) = ready?.try_io(|socket| self.outbox.flush(socket.as_fd())) {
                        sent?;
                    }
                }
            }
        }
    }

    fn send(&mut self, order: Order) -> io::Result<()> {
        self.next_call += 1;
        let id = self.next_call;
        let process = order.exit.map(|(process, exit)| {
            self.exits.insert(process, exit);
            process
        });
        self.replies.insert(id, (order.reply, process));
        self.outbox.push(
            &Call {
                id,
                request: order.request,
            },
            order.descriptors,
        )?;
        match self.outbox.flush(self.socket.get_ref().as_fd()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    fn deliver(&mut self, notice: Notice, descriptors: Vec<OwnedFd>) {
        match notice {
            Notice::Reply { id, result } => {
                let Some((reply, process)) = self.replies.remove(&id) else {
                    return;
                };
                if let (Err(_), Some(process)) = (&result, process) {
                    self.exits.remove(&process);
                }
                // Who asked may have gone away meanwhile.
                let _ = reply.send(result.map(|answer| (answer, descriptors)));
            }
            Notice::Exited { process, status } => {
                if let Some(exit) = self.exits.remove(&process) {
                    exit.send_replace(Some(status));
                }
            }
            Notice::Dead { doing, .. } => {
                tracing::error!("a node's init process is unable to {doing}");
            }
            Notice::Spawned { .. } | Notice::Ready => {}
        }
    }
}
