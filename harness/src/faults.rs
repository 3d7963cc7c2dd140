//! Faults at the operator's requests: what goes wrong, when, and the proof that it did.
//!
//! The seam is the client that [`crate::Cluster::client_of`] gives to the operator under test, so faults
//! are the same on every cluster. A fault is armed with a trigger, strikes once at the matching request
//! of its number, and is proved by that request, its time, and the revision that it made. Faults in the stream
//! of a watch strike at an event instead, also of a watch that began before the fault was armed.
//!
//! | module | its one job |
//! |---|---|
//! | `request` | pure: what a request is in the API's words, and whether a trigger means it |
//! | `strike` | the client's requests on their way, and what faults make of them |
//! | `stream` | the events of a watch on their way |

mod request;
mod stream;
mod strike;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::sync::{mpsc, oneshot, watch};

use self::request::Seen;
pub use self::request::Trigger;
pub(crate) use self::request::name_pattern;

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The answer is this error.
    Error(u16),
    /// The answer is a conflict.
    Conflict,
    /// The write is done and the connection breaks before its answer.
    LoseResponse,
    /// A watch is told that its revision is too old.
    Gone,
    /// The operator ends where it stands, and is started again.
    CrashOperator,
    /// Something happens elsewhere before the operator hears the answer.
    Elsewhere(Deed),
    /// So many events of a watch are kept from the operator; then the watch ends with 410, as it does for a
    /// client that was away for too long.
    DropEvents(usize),
    /// From this event on, a watch tells everything so much later.
    LagWatch(Duration),
}

impl Effect {
    /// Whether it strikes at events of a watch, and not at requests.
    fn is_in_streams(&self) -> bool {
        matches!(self, Self::DropEvents(_) | Self::LagWatch(_))
    }
}

/// What somebody beside the request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Pods with these labels vanish.
    KillPods(String),
    /// Somebody else takes a Lease of this namespace and name.
    TakeLease(String, String),
}

/// When it strikes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum When {
    /// The cluster never sees the request.
    #[default]
    Before,
    /// The cluster has done what was asked, with success.
    AfterCommit,
}

/// A fault to come.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happens.
    pub effect: Effect,
    /// At which requests.
    pub trigger: Trigger,
    /// Before or after the cluster does what was asked.
    pub when: When,
    /// At which of them, counted from 1.
    pub occurrence: usize,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    matched: usize,
    proof: Option<String>,
}

/// What somebody beside the request has to do.
#[derive(Debug)]
pub(crate) enum Happening {
    /// End the operator and start it again.
    Crash,
    /// Do something, then say what was done.
    Do(Deed, oneshot::Sender<String>),
}

#[derive(Debug, Default)]
struct State {
    armed: Vec<Armed>,
    tell: Option<mpsc::UnboundedSender<Happening>>,
    trouble: Option<String>,
}

/// The faults of a cluster; clones share them.
#[derive(Clone, Debug)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            changed: Arc::new(watch::Sender::new(0)),
        }
    }
}

impl Faults {
    /// A client like `client` whose requests the faults strike.
    pub fn client(&self, client: &Client) -> Client {
        let namespace = client.default_namespace().to_owned();
        Client::new(strike::Disturbed::new(client, self), namespace)
    }

    /// From now on, wait for its request.
    pub fn arm(&self, fault: Fault) {
        self.lock().armed.push(Armed {
            fault,
            matched: 0,
            proof: None,
        });
    }

    /// Forgets what has not struck yet; gives what that was.
    pub fn disarm(&self) -> Vec<String> {
        let mut state = self.lock();
        let (struck, waiting): (Vec<Armed>, _) = std::mem::take(&mut state.armed)
            .into_iter()
            .partition(|armed| armed.proof.is_some());
        state.armed = struck;
        waiting.iter().map(ToString::to_string).collect()
    }

    /// Waits until all have struck; gives their proofs, or those that have not.
    pub async fn all_fired(&self, limit: Duration) -> Result<Vec<String>, String> {
        let mut changed = self.changed.subscribe();
        let waiting = async {
            loop {
                changed.mark_unchanged();
                if let Some(outcome) = self.outcome() {
                    return outcome;
                }
                if changed.changed().await.is_err() {
                    return Err("the faults are gone".to_owned());
                }
            }
        };
        if let Ok(outcome) = tokio::time::timeout(limit, waiting).await {
            return outcome;
        }
        let state = self.lock();
        let missing: Vec<String> = state
            .armed
            .iter()
            .filter(|armed| armed.proof.is_none())
            .map(ToString::to_string)
            .collect();
        Err(format!(
            "did not fire within {limit:?}: {}",
            missing.join("; ")
        ))
    }

    /// `None` while some have not struck.
    fn outcome(&self) -> Option<Result<Vec<String>, String>> {
        let state = self.lock();
        if let Some(trouble) = &state.trouble {
            return Some(Err(trouble.clone()));
        }
        let proofs: Option<Vec<String>> = state
            .armed
            .iter()
            .map(|armed| armed.proof.clone())
            .collect();
        proofs.map(Ok)
    }

    /// Who does what a request cannot do itself; the last one that asked.
    pub(crate) fn listen(&self) -> mpsc::UnboundedReceiver<Happening> {
        let (tell, told) = mpsc::unbounded_channel();
        self.lock().tell = Some(tell);
        told
    }

    /// A fault could not be carried out.
    pub(crate) fn trouble(&self, what: String) {
        self.lock().trouble.get_or_insert(what);
        self.changed.send_modify(|count| *count += 1);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waits(&self) -> bool {
        self.lock().armed.iter().any(|armed| armed.proof.is_none())
    }

    /// The fault that strikes at this request, or at this event of a watch, if one does; it counts as struck
    /// until it is taken back.
    fn strike(&self, seen: &Seen, is_event: bool) -> Option<(usize, Fault)> {
        let mut state = self.lock();
        let mut struck = None;
        for (index, armed) in state.armed.iter_mut().enumerate() {
            // There is no commit after a read, and a watch has no end that one could wait for.
            let is_read = ["get", "list", "watch"].contains(&seen.verb);
            if armed.fault.effect.is_in_streams() != is_event
                || armed.matched >= armed.fault.occurrence
                || (is_read && armed.fault.when == When::AfterCommit)
                || !armed.fault.trigger.means(seen)
            {
                continue;
            }
            armed.matched += 1;
            if armed.matched == armed.fault.occurrence && struck.is_none() {
                struck = Some((index, armed.fault.clone()));
            }
        }
        struck
    }

    /// The request had no success, so there is nothing after its commit.
    fn take_back(&self, index: usize) {
        if let Some(armed) = self.lock().armed.get_mut(index) {
            armed.matched = armed.matched.saturating_sub(1);
        }
    }

    fn prove(&self, index: usize, proof: String) {
        if let Some(armed) = self.lock().armed.get_mut(index) {
            armed.proof = Some(proof);
        }
        self.changed.send_modify(|count| *count += 1);
    }

    fn tell(&self, happening: Happening) {
        let told = self.lock().tell.clone();
        if told.is_none_or(|tell| tell.send(happening).is_err()) {
            self.trouble("nobody is there who could carry out the fault".to_owned());
        }
    }
}

impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fault {
            effect,
            trigger,
            when,
            occurrence,
        } = &self.fault;
        let part = |text: &Option<String>| text.clone().unwrap_or_else(|| "any".to_owned());
        write!(
            f,
            "{effect:?} {when:?} {} {} {}: {} of {occurrence} such requests were seen",
            part(&trigger.verb),
            part(&trigger.resource),
            part(&trigger.name),
            self.matched,
        )
    }
}
