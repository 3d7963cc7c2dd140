//! One operator at a time: a Lease that the working one holds.
//!
//! Whether the holder is still there is judged by the time since the Lease was last seen to change, on
//! this machine's clock alone: clocks of different machines are never compared. An operator that
//! cannot renew its Lease ends before another one may take it. It does not know what is being led.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;

use crate::names;
use crate::telemetry::chain;
use crate::written;

/// What other operators of Kubernetes use, too.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// Where and as whom to be elected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// This operator, different from all others.
    pub identity: String,
    /// A Lease that did not change for this long is free; the same for all operators.
    pub patience: Duration,
}

impl Election {
    /// A holder that could not renew for this long gives up; well before anybody else may begin.
    fn give_up(&self) -> Duration {
        self.patience * 2 / 3
    }

    /// Between two looks.
    fn period(&self) -> Duration {
        self.patience * 2 / 15
    }
}

/// A Lease that was seen, and when it was first seen so.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    holder: String,
    since: Instant,
}

/// What to do about a Lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Take,
    Wait,
}

/// Takes part in the election.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a client cannot be printed")]
pub struct Elector {
    api: Api<Lease>,
    election: Election,
}

impl Elector {
    /// Takes part.
    pub fn new(client: &Client, election: &Election) -> Self {
        Self {
            api: Api::namespaced(client.clone(), &election.namespace),
            election: election.clone(),
        }
    }

    /// Waits until this operator is the one; `false` if it is to stop before.
    pub async fn acquire(&self, shutdown: &CancellationToken) -> bool {
        let mut seen: Option<Seen> = None;
        let mut told = false;
        loop {
            let attempt = tokio::select! {
                () = shutdown.cancelled() => return false,
                attempt = self.attempt(&mut seen) => attempt,
            };
            match attempt {
                Ok(true) => {
                    tracing::info!(identity = %self.election.identity, "this operator is the one at work");
                    return true;
                }
                Ok(false) if !std::mem::replace(&mut told, true) => {
                    let holder = seen.as_ref().map_or("", |seen| &seen.holder);
                    tracing::info!(%holder, "another operator is at work; this one waits for its Lease");
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(error = %chain(&error), "cannot take the Lease"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(self.election.period()) => {}
            }
        }
    }

    /// Renews the Lease; ends when it could not be renewed for too long or somebody else has it.
    pub async fn hold(&self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.election.period()).await;
            match tokio::time::timeout(self.election.period(), self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(error = %chain(&error), "cannot renew the Lease"),
                Err(_) => tracing::warn!("renewing the Lease takes too long"),
            }
            if renewed.elapsed() >= self.election.give_up() {
                return;
            }
        }
    }

    /// Frees the Lease, so that the next operator need not wait.
    pub async fn release(&self) {
        let Ok(Some(lease)) = self.api.get_opt(names::MANAGER).await else {
            return;
        };
        if !is_held_by(&lease, &self.election.identity) {
            return;
        }
        let mut free = lease;
        // Nobody: the API takes no empty name.
        free.spec.get_or_insert_default().holder_identity = None;
        if let Err(error) = self.replace(&free).await {
            tracing::info!(error = %chain(&error), "the Lease was not freed; it runs out by itself");
        }
    }

    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(names::MANAGER).await? else {
            let fresh = self.held(None);
            return unless_conflict(self.api.create(&written::by_post(), &fresh).await);
        };
        let now = Instant::now();
        if seen
            .as_ref()
            .is_none_or(|seen| seen.version != lease.resource_version())
        {
            *seen = Some(Seen {
                version: lease.resource_version(),
                holder: holder(&lease).unwrap_or_default().to_owned(),
                since: now,
            });
        }
        let unchanged = seen
            .as_ref()
            .map_or(Duration::ZERO, |seen| now - seen.since);
        match judge(&lease, &self.election, unchanged) {
            Verdict::Wait => Ok(false),
            Verdict::Take => unless_conflict(self.replace(&self.held(Some(&lease))).await),
        }
    }

    async fn renew(&self) -> Result<bool, kube::Error> {
        match self.api.get_opt(names::MANAGER).await? {
            Some(lease) if is_held_by(&lease, &self.election.identity) => {
                unless_conflict(self.replace(&self.held(Some(&lease))).await)
            }
            Some(_) => Ok(false),
            // Removed by somebody: whoever makes it anew first has it.
            None => unless_conflict(self.api.create(&written::by_post(), &self.held(None)).await),
        }
    }

    async fn replace(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.api
            .replace(names::MANAGER, &written::by_post(), lease)
            .await
    }

    /// The Lease as this operator holds it.
    fn held(&self, before: Option<&Lease>) -> Lease {
        let spec = before
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let ours = before.is_some_and(|lease| is_held_by(lease, &self.election.identity));
        let now = MicroTime(Timestamp::now());
        let transitions = spec.lease_transitions.unwrap_or(0);
        Lease {
            metadata: before.map_or_else(
                || ObjectMeta {
                    name: Some(names::MANAGER.to_owned()),
                    ..ObjectMeta::default()
                },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.election.identity.clone()),
                lease_duration_seconds: i32::try_from(self.election.patience.as_secs()).ok(),
                acquire_time: if ours {
                    spec.acquire_time
                } else {
                    Some(now.clone())
                },
                renew_time: Some(now),
                lease_transitions: Some(if ours { transitions } else { transitions + 1 }),
                ..LeaseSpec::default()
            }),
        }
    }
}

fn is_held_by(lease: &Lease, identity: &str) -> bool {
    holder(lease) == Some(identity)
}

fn holder(lease: &Lease) -> Option<&str> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .as_deref()
        .filter(|holder| !holder.is_empty())
}

/// Free, ours, or not seen to change for longer than its holder would wait.
fn judge(lease: &Lease, election: &Election, unchanged: Duration) -> Verdict {
    match holder(lease) {
        None => Verdict::Take,
        Some(holder) if holder == election.identity || unchanged >= election.patience => {
            Verdict::Take
        }
        Some(_) => Verdict::Wait,
    }
}

/// Somebody else was faster: not ours.
fn unless_conflict(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(holder: &str) -> Lease {
        serde_yaml::from_str(&format!("spec: {{holderIdentity: '{holder}'}}")).unwrap()
    }

    fn me() -> Election {
        Election {
            namespace: "n".to_owned(),
            identity: "me".to_owned(),
            patience: PATIENCE,
        }
    }

    #[test]
    fn a_lease_that_changes_is_left_to_its_holder() {
        let judge = |unchanged| judge(&lease("other"), &me(), unchanged);
        assert_eq!(judge(Duration::ZERO), Verdict::Wait);
        assert_eq!(judge(PATIENCE / 2), Verdict::Wait);
    }

    #[test]
    fn a_lease_that_is_free_or_forgotten_is_taken() {
        assert_eq!(judge(&lease(""), &me(), Duration::ZERO), Verdict::Take);
        assert_eq!(
            judge(&Lease::default(), &me(), Duration::ZERO),
            Verdict::Take
        );
        assert_eq!(judge(&lease("me"), &me(), Duration::ZERO), Verdict::Take);
        assert_eq!(judge(&lease("other"), &me(), PATIENCE), Verdict::Take);
    }

    #[test]
    fn a_holder_gives_up_before_another_one_begins() {
        // One look may take a whole period, and the next one begins a period later.
        assert!(me().give_up() + me().period() * 2 < me().patience);
    }
}
