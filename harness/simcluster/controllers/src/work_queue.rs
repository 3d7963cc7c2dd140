//! A queue of keys: what has to be looked at again, at once or at a deadline.
//!
//! A key waits at most once; a key that is being worked on and comes again is worked on again afterwards, never twice
//! at a time. Failures come back after a growing pause. The book-keeping is pure ([`Book`]); [`WorkQueue`] adds the
//! lock and the waking, [`work`] the loop. It does NOT know what a key means.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    fmt::Debug,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream::FuturesUnordered};
use tokio::{sync::Notify, time::Instant};
use tracing::{debug, warn};

use crate::objects::WriteError;

/// What a key can be.
pub(crate) trait Key: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static {}
impl<T: Clone + Eq + Hash + Ord + Debug + Send + Sync + 'static> Key for T {}

/// When a key has to be looked at again without anything having happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Only when something happens.
    OnChange,
    /// Also at this time.
    At(Instant),
}

const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Book<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    running: HashSet<K>,
    again: HashSet<K>,
    deadlines: BTreeSet<(Instant, K)>,
    deadline_of: HashMap<K, Instant>,
    failures: HashMap<K, u32>,
}

impl<K: Key> Default for Book<K> {
    fn default() -> Self {
        Self {
            ready: VecDeque::new(),
            queued: HashSet::new(),
            running: HashSet::new(),
            again: HashSet::new(),
            deadlines: BTreeSet::new(),
            deadline_of: HashMap::new(),
            failures: HashMap::new(),
        }
    }
}

impl<K: Key> Book<K> {
    fn add(&mut self, key: K) {
        if self.running.contains(&key) {
            self.again.insert(key);
        } else if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    /// Of several deadlines of a key the earliest stays.
    fn add_at(&mut self, key: K, at: Instant) {
        if let Some(known) = self.deadline_of.get(&key) {
            if *known <= at {
                return;
            }
            self.deadlines.remove(&(*known, key.clone()));
        }
        self.deadline_of.insert(key.clone(), at);
        self.deadlines.insert((at, key));
    }

    /// Moves what is due to the ready keys, and takes the first of them.
    fn take(&mut self, now: Instant) -> Option<K> {
        while let Some((at, _)) = self.deadlines.first() {
            if *at > now {
                break;
            }
            let Some((_, key)) = self.deadlines.pop_first() else {
                break;
            };
            self.deadline_of.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front()?;
        self.queued.remove(&key);
        self.running.insert(key.clone());
        Some(key)
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn done(&mut self, key: K) {
        self.failures.remove(&key);
        self.finish(key);
    }

    /// Returns how long the key pauses.
    fn failed(&mut self, key: K, now: Instant) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let pause = FIRST_PAUSE
            .saturating_mul(1 << (*failures).min(20))
            .min(LONGEST_PAUSE);
        *failures += 1;
        self.add_at(key.clone(), now + pause);
        self.finish(key);
        pause
    }

    fn finish(&mut self, key: K) {
        self.running.remove(&key);
        if self.again.remove(&key) {
            self.add(key);
        }
    }
}

/// A shared queue of keys.
#[derive(Debug)]
pub(crate) struct WorkQueue<K: Key> {
    book: Mutex<Book<K>>,
    wake: Notify,
}

impl<K: Key> Default for WorkQueue<K> {
    fn default() -> Self {
        Self {
            book: Mutex::default(),
            wake: Notify::new(),
        }
    }
}

impl<K: Key> WorkQueue<K> {
    fn book(&self) -> MutexGuard<'_, Book<K>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key is worked on as soon as possible.
    pub(crate) fn add(&self, key: K) {
        self.book().add(key);
        self.wake.notify_one();
    }

    async fn next(&self) -> K {
        loop {
            let deadline = {
                let mut book = self.book();
                if let Some(key) = book.take(Instant::now()) {
                    return key;
                }
                book.next_deadline()
            };
            match deadline {
                None => self.wake.notified().await,
                Some(at) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }
}

/// Brings what a key names a step nearer to what is wanted.
pub(crate) trait Reconcile<K>: Send + Sync + 'static {
    /// Looks at the key again, and says when it wants to be asked the next time.
    fn reconcile(&self, key: K) -> impl Future<Output = Result<Next, WriteError>> + Send;
}

/// Works on the keys of `queue`, at most `parallel` at a time, until dropped.
pub(crate) async fn work<K: Key>(
    name: &'static str,
    queue: Arc<WorkQueue<K>>,
    parallel: usize,
    controller: impl Reconcile<K>,
) {
    let controller = Arc::new(controller);
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            key = queue.next(), if running.len() < parallel => {
                let controller = controller.clone();
                let reconciling = async move {
                    let outcome = controller.reconcile(key.clone()).await;
                    (key, outcome)
                };
                running.push(reconciling.boxed());
            }
            Some((key, outcome)) = running.next(), if !running.is_empty() => {
                let mut book = queue.book();
                match outcome {
                    Ok(next) => {
                        if let Next::At(at) = next {
                            book.add_at(key.clone(), at);
                        }
                        book.done(key);
                    }
                    Err(error) if error.is_namespace_terminating() => {
                        debug!(controller = name, ?key, "its namespace is going away");
                        book.done(key);
                    }
                    Err(error) => {
                        let pause = book.failed(key.clone(), Instant::now());
                        drop(book);
                        let source = std::error::Error::source(&error).map(ToString::to_string);
                        if error.is_conflict() || error.is_not_found() {
                            debug!(controller = name, ?key, %error, source, ?pause, "trying again");
                        } else {
                            warn!(controller = name, ?key, %error, source, ?pause, "trying again");
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_waits_only_once() {
        let mut book = Book::default();
        book.add("a");
        book.add("a");
        assert_eq!(book.take(Instant::now()), Some("a"));
        assert_eq!(book.take(Instant::now()), None);
    }

    #[test]
    fn a_key_that_comes_while_it_is_worked_on_is_worked_on_afterwards() {
        let mut book = Book::default();
        let now = Instant::now();
        book.add("a");
        assert_eq!(book.take(now), Some("a"));
        book.add("a");
        assert_eq!(book.take(now), None);
        book.done("a");
        assert_eq!(book.take(now), Some("a"));
    }

    #[test]
    fn a_deadline_makes_a_key_ready_and_the_earliest_counts() {
        let mut book = Book::default();
        let now = Instant::now();
        book.add_at("a", now + Duration::from_secs(9));
        book.add_at("a", now + Duration::from_secs(3));
        book.add_at("a", now + Duration::from_secs(6));
        assert_eq!(book.take(now + Duration::from_secs(2)), None);
        assert_eq!(book.take(now + Duration::from_secs(3)), Some("a"));
        assert_eq!(book.next_deadline(), None);
    }

    #[test]
    fn failures_pause_longer_each_time_and_success_forgets_them() {
        let mut book = Book::default();
        let now = Instant::now();
        book.add("a");
        book.take(now);
        assert_eq!(book.failed("a", now), Duration::from_millis(5));
        assert_eq!(book.take(now + Duration::from_millis(5)), Some("a"));
        assert_eq!(book.failed("a", now), Duration::from_millis(10));
        assert_eq!(book.take(now + Duration::from_millis(10)), Some("a"));
        book.done("a");
        book.add("a");
        book.take(now);
        assert_eq!(book.failed("a", now), Duration::from_millis(5));
    }
}
