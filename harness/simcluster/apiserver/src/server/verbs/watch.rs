//! A stream of changes.
//!
//! The stream pulls: it sleeps until its collection changes and then reads from the store's log
//! what it has not sent yet.

use std::{collections::VecDeque, io, sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use http::StatusCode;
use rand::Rng as _;
use serde_json::json;
use simcluster_machinery::status::Status;
use tokio::{sync::watch::Receiver, time::Instant};

use super::{
    list::prefix,
    list_options::{ListOptions, too_new},
};
use crate::{
    server::{
        Failure, Inner,
        call::Call,
        convert,
        form::Former,
        negotiate,
        registry::Resource,
        reply::{self, Reply},
        select::Selection,
    },
    store::{Change, Event, Key, Object, StoreError},
};

/// How often a client that wants bookmarks gets one while nothing happens.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// A client that names no time-out is cut off after this, and up to twice this.
const MIN_TIMEOUT: Duration = Duration::from_secs(1800);

/// `GET` with `watch=true`.
pub(super) async fn watch(call: &Call) -> Result<Reply, Failure> {
    let wanted = negotiate::stream(&call.headers, &call.query)?;
    let former = Former::new(call, wanted)?;
    let options = ListOptions::of(call, true)?;
    let selection = Selection::of(call)?;
    selection.agrees_with(&call.route.name)?;
    let name = selection
        .name()
        .or(Some(&*call.route.name).filter(|name| !name.is_empty()));
    let scope = match name {
        Some(name) if !call.resource.namespaced || !call.route.namespace.is_empty() => {
            Scope::One(call.resource.key(&call.route.namespace, name))
        }
        _ => Scope::Prefix(prefix(call)),
    };
    let timeout = options
        .timeout
        .unwrap_or_else(|| MIN_TIMEOUT.mul_f64(1.0 + rand::rng().random::<f64>()));
    let mut watcher = Watcher {
        changed: call.server.store.subscribe(&call.resource.collection),
        server: Arc::clone(&call.server),
        resource: Arc::clone(&call.resource),
        former,
        selection,
        scope,
        seen: 0,
        bookmarks: options.bookmarks,
        deadline: Instant::now() + timeout,
        next_bookmark: Instant::now() + BOOKMARK_PERIOD,
        first_row: true,
        ended: false,
        queue: VecDeque::new(),
    };
    watcher.begin(&options).await?;
    let chunks = stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((Ok::<Bytes, io::Error>(chunk), watcher))
    });
    Ok(reply::reply(
        StatusCode::OK,
        "application/json",
        reply::streamed(chunks.boxed()),
    ))
}

/// Which keys a watch is about.
enum Scope {
    /// One object.
    One(Key),
    /// All whose keys begin like this.
    Prefix(String),
}

impl Scope {
    fn covers(&self, key: &str) -> bool {
        match self {
            Self::One(own) => **own == *key,
            Self::Prefix(prefix) => key.starts_with(prefix),
        }
    }
}

struct Watcher {
    server: Arc<Inner>,
    resource: Arc<Resource>,
    former: Former,
    selection: Selection,
    scope: Scope,
    changed: Receiver<u64>,
    /// All changes up to this revision were sent.
    seen: u64,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    first_row: bool,
    ended: bool,
    /// Ready to be sent.
    queue: VecDeque<Bytes>,
}

impl Watcher {
    /// Finds where to begin, and prepares the events that describe the present.
    async fn begin(&mut self, options: &ListOptions) -> Result<(), Failure> {
        let initial = match (options.send_initial_events, options.revision) {
            (Some(initial), _) => initial,
            (None, None | Some(0)) => true,
            (None, Some(_)) => false,
        };
        let current = self.server.store.read().revision();
        if let Some(asked) = options.revision
            && asked > current
            && options.send_initial_events == Some(true)
        {
            return Err(too_new(asked, current));
        }
        if !initial {
            self.seen = options
                .revision
                .filter(|&revision| revision > 0)
                .unwrap_or(current);
            return Ok(());
        }
        let snapshot = (self.server.store.read()).snapshot(&self.resource.collection);
        self.seen = snapshot.revision;
        let covered = (snapshot.objects.iter()).filter(|(key, _)| self.scope.covers(key));
        let covered: Vec<_> = covered.map(|(_, object)| object).collect();
        convert::ready(&self.server, &self.resource, covered).await?;
        for (key, object) in &snapshot.objects {
            if self.scope.covers(key) {
                let object = convert::served(&self.resource, object);
                if self.selection.matches(&self.resource, &object) {
                    self.push("ADDED", &object);
                }
            }
        }
        if options.send_initial_events == Some(true) && options.bookmarks {
            self.push_bookmark(true);
        }
        Ok(())
    }

    /// The next bytes; `None` when the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(chunk) = self.take() {
                return Some(chunk);
            }
            if self.ended {
                return None;
            }
            self.changed.borrow_and_update();
            self.pull().await;
            if !self.queue.is_empty() {
                continue;
            }
            let bookmark_at = if self.bookmarks {
                self.next_bookmark
            } else {
                self.deadline
            };
            tokio::select! {
                changed = self.changed.changed() => {
                    if changed.is_err() {
                        return None;
                    }
                }
                () = self.server.stopped.cancelled() => return None,
                () = tokio::time::sleep_until(bookmark_at.min(self.deadline)) => {
                    if Instant::now() >= self.deadline {
                        return None;
                    }
                    self.next_bookmark = Instant::now() + BOOKMARK_PERIOD;
                    self.push_bookmark(false);
                }
            }
        }
    }

    /// All that is ready, as one chunk.
    fn take(&mut self) -> Option<Bytes> {
        let first = self.queue.pop_front()?;
        if self.queue.is_empty() {
            return Some(first);
        }
        let mut chunk = BytesMut::from(first);
        for event in self.queue.drain(..) {
            chunk.put(event);
        }
        Some(chunk.freeze())
    }

    /// Reads what happened since the last look.
    async fn pull(&mut self) {
        let (events, current) = {
            let store = self.server.store.read();
            (
                store.events_since(&self.resource.collection, self.seen),
                store.revision(),
            )
        };
        match events {
            Ok(events) => {
                let covered = events.iter().filter(|one| self.scope.covers(&one.key));
                let objects: Vec<_> = covered
                    .flat_map(|one| std::iter::once(&one.object).chain(&one.previous))
                    .collect();
                if let Err(failure) = convert::ready(&self.server, &self.resource, objects).await {
                    self.end_with(&failure);
                    return;
                }
                for event in events {
                    self.seen = event.revision;
                    self.judge(&event);
                }
                self.seen = self.seen.max(current);
            }
            // Somebody who asked for the future waits for it.
            Err(StoreError::Future { .. }) => {}
            Err(error) => {
                let oldest = match error {
                    StoreError::Compacted { oldest, .. } => oldest,
                    _ => current,
                };
                let status = Status::expired(format!(
                    "too old resource version: {} ({oldest})",
                    self.seen
                ));
                self.end_with(&status);
            }
        }
    }

    /// The last event says why there are no more.
    fn end_with(&mut self, status: &Status) {
        let event = json!({"type": "ERROR", "object": status});
        self.queue.push_back(format!("{event}\n").into());
        self.ended = true;
    }

    /// What a change means to this client, whose selectors may stop or begin to match.
    fn judge(&mut self, event: &Event) {
        if !self.scope.covers(&event.key) {
            return;
        }
        let object = convert::served(&self.resource, &event.object);
        let selects = |object: &Object| {
            self.selection.is_everything() || self.selection.matches(&self.resource, object)
        };
        let before = event
            .previous
            .as_ref()
            .map(|previous| convert::served(&self.resource, previous));
        let was = before.as_deref().is_some_and(selects);
        let is = event.change != Change::Deleted && selects(&object);
        match (was, is) {
            (false, false) => {}
            (false, true) => self.push("ADDED", &object),
            (true, true) => self.push("MODIFIED", &object),
            (true, false) => {
                // Whoever no longer matches leaves with the state in which it last did.
                let last = match (&before, event.change) {
                    (Some(before), Change::Added | Change::Modified) => {
                        Arc::new(Object::new(before.value().clone(), event.revision))
                    }
                    _ => object,
                };
                self.push("DELETED", &last);
            }
        }
    }

    fn push(&mut self, kind: &str, object: &Object) {
        let text = self.former.event_object(object, self.first_row);
        self.first_row = false;
        let mut event = BytesMut::with_capacity(text.len() + 40);
        event.put_slice(b"{\"type\":\"");
        event.put_slice(kind.as_bytes());
        event.put_slice(b"\",\"object\":");
        event.put(text);
        event.put_slice(b"}\n");
        self.queue.push_back(event.freeze());
    }

    /// Tells the client how far it has seen.
    fn push_bookmark(&mut self, initial_events_end: bool) {
        let mut object = json!({
            "kind": self.resource.kind.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": {"resourceVersion": self.seen.to_string()},
        });
        if initial_events_end {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = Object::new(object, self.seen);
        self.push("BOOKMARK", &object);
    }
}
