//! hold, operator, fault, faultsFired: what only a laboratory can do.

use k8s_openapi::{
    api::{coordination::v1::Lease, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};

use tokio::sync::{Mutex, mpsc::UnboundedReceiver};

use super::Engine;
use crate::{
    Cluster, Failure,
    faults::{self, Deed, Effect, Happening, Trigger, When},
    proof::chain,
    scenario::{
        duration,
        model::{Fault, FaultTime, FaultTrigger, Hold, OperatorAction},
        subject::Subject,
    },
};

/// Who holds a Lease that was taken away.
const RIVAL: &str = "a-rival-of-the-scenario";

impl Engine<'_, '_> {
    pub(super) async fn hold(&mut self, hold: &Hold) -> Result<(), Failure> {
        let time = duration::parse(&hold.r#for)?;
        let before = self.cluster.journal().entries().len();
        match &hold.assert {
            Some(assert) => self.stays(assert, time).await?,
            None => tokio::time::sleep(time).await,
        }
        let Some(who) = &hold.no_writes_by else {
            return Ok(());
        };
        let entries = self.cluster.journal().entries();
        if !entries.iter().any(|entry| *entry.who == **who) {
            return Err(format!(
                "no request by {who:?} was ever recorded, so nothing is known of its writes"
            )
            .into());
        }
        let writes: Vec<String> = entries
            .iter()
            .skip(before)
            .filter(|entry| *entry.who == **who && entry.is_write())
            .map(ToString::to_string)
            .collect();
        if writes.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{who} wrote {} times within {time:?}:\n  {}",
            writes.len(),
            writes.join("\n  ")
        )
        .into())
    }

    pub(super) async fn operator(&mut self, action: OperatorAction) -> Result<(), Failure> {
        let mut subject = self.subject.lock().await;
        match action {
            OperatorAction::Start => subject.start(self.cluster).await,
            OperatorAction::Stop => subject.stop().await,
            OperatorAction::Kill => subject.kill().await,
            OperatorAction::Restart => {
                subject.kill().await?;
                subject.start(self.cluster).await
            }
        }
    }

    pub(super) async fn fault(&mut self, fault: &Fault) -> Result<(), Failure> {
        if let [name, ..] = fault.not_there().as_slice() {
            return Err(format!("the fault `{name}` is not there").into());
        }
        if let Some(on) = &fault.on {
            let armed = self.armed(fault, on)?;
            self.cluster.faults().arm(armed);
            self.output = Some("armed; `faultsFired: all` waits for it".to_owned());
            return Ok(());
        }
        if fault.crash_operator.is_some() {
            return self.operator(OperatorAction::Restart).await;
        }
        if let Some(deed) = self.deed(fault)? {
            let done = carry_out(self.cluster, &self.namespace, &deed).await?;
            self.output = Some(format!("fired: {done}"));
            return Ok(());
        }
        if fault.forget_history.is_none() {
            return Err("this fault needs `on`: at which request of the operator".into());
        }
        let Some(cluster) = self.cluster.backend().simulated() else {
            return Err(
                "only a simulated cluster can forget its history on demand; \
                        say `backends: [simulated]`"
                    .into(),
            );
        };
        cluster.api_server().compact();
        self.output = Some("fired: watches that resume from the past get 410 Gone".to_owned());
        Ok(())
    }

    /// What somebody beside the operator does.
    fn deed(&self, fault: &Fault) -> Result<Option<Deed>, Failure> {
        if let Some(pods) = &fault.kill_pod {
            return Ok(Some(Deed::KillPods(self.text(&pods.selector)?)));
        }
        let Some(lease) = &fault.expire_lease else {
            return Ok(None);
        };
        let namespace = self.optional_text(lease.namespace.as_ref())?;
        let namespace = namespace.unwrap_or_else(|| self.namespace.clone());
        Ok(Some(Deed::TakeLease(namespace, self.text(&lease.name)?)))
    }

    fn armed(&self, fault: &Fault, on: &FaultTrigger) -> Result<faults::Fault, Failure> {
        let text = |text: &Option<String>| text.as_ref().map(|text| self.text(text)).transpose();
        let mut when = match on.when {
            FaultTime::Before => When::Before,
            FaultTime::AfterCommit => When::AfterCommit,
        };
        let effect = if let Some(code) = fault.error {
            Effect::Error(code)
        } else if fault.lose_response.is_some() {
            // What is lost is the answer of something that was done.
            when = When::AfterCommit;
            Effect::LoseResponse
        } else if fault.conflict.is_some() {
            Effect::Conflict
        } else if fault.gone410.is_some() {
            Effect::Gone
        } else if fault.crash_operator.is_some() {
            Effect::CrashOperator
        } else if let Some(drop) = &fault.drop_events {
            Effect::DropEvents(drop.count.unwrap_or(1))
        } else if let Some(lag) = &fault.lag_watch {
            Effect::LagWatch(duration::parse(&lag.by)?)
        } else if let Some(deed) = self.deed(fault)? {
            Effect::Elsewhere(deed)
        } else {
            return Err("this fault happens at once, without `on`".into());
        };
        Ok(faults::Fault {
            effect,
            trigger: Trigger {
                verb: on.verb.clone(),
                resource: text(&on.resource)?,
                name: text(&on.name)?,
            },
            when,
            occurrence: on.occurrence.unwrap_or(1),
        })
    }

    pub(super) async fn faults_fired(&mut self) -> Result<(), Failure> {
        let limit = self.limit(None, |t| &t.assert, 30)?;
        let proofs = self.cluster.faults().all_fired(limit).await?;
        if proofs.is_empty() {
            return Err("no fault was armed, so none has fired".into());
        }
        self.output = Some(proofs.join("\n"));
        Ok(())
    }
}

/// Carries out what a fault at a request cannot do itself; runs beside the scenario and never ends.
pub(super) async fn disturb(
    cluster: &Cluster,
    subject: &Mutex<&mut (dyn Subject + '_)>,
    namespace: &str,
    mut happenings: UnboundedReceiver<Happening>,
) -> std::convert::Infallible {
    while let Some(happening) = happenings.recv().await {
        let outcome = match happening {
            Happening::Crash => {
                let mut subject = subject.lock().await;
                match subject.kill().await {
                    Ok(()) => subject.start(cluster).await,
                    failed => failed,
                }
            }
            Happening::Do(deed, done) => {
                let what = carry_out(cluster, namespace, &deed).await;
                // A request that is gone by now waits for nothing.
                what.map(|what| drop(done.send(what)))
            }
        };
        if let Err(failure) = outcome {
            cluster.faults().trouble(chain(&*failure));
        }
    }
    std::future::pending().await
}

/// Does it, and says what was done.
async fn carry_out(cluster: &Cluster, namespace: &str, deed: &Deed) -> Result<String, Failure> {
    match deed {
        Deed::KillPods(selector) => {
            let killed = kill_pods(cluster, namespace, selector).await?;
            Ok(format!("killed {}", killed.join(", ")))
        }
        Deed::TakeLease(namespace, name) => take_lease(cluster, namespace, name).await,
    }
}

/// As another candidate takes a Lease that it found expired, whatever its holder thinks.
async fn take_lease(cluster: &Cluster, namespace: &str, name: &str) -> Result<String, Failure> {
    let leases: Api<Lease> = Api::namespaced(cluster.client(), namespace);
    loop {
        let mut lease = leases.get(name).await?;
        let spec = lease.spec.get_or_insert_default();
        let before = spec.holder_identity.replace(RIVAL.to_owned());
        let Some(before) = before.filter(|holder| !holder.is_empty()) else {
            return Err(format!("the fault did not fire: nobody holds the Lease {name}").into());
        };
        let now = Some(MicroTime(jiff::Timestamp::now()));
        spec.acquire_time.clone_from(&now);
        spec.renew_time = now;
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default() + 1);
        match leases.replace(name, &PostParams::default(), &lease).await {
            Ok(taken) => {
                let revision = taken.metadata.resource_version.unwrap_or_default();
                return Ok(format!(
                    "the Lease {name} was taken from {before}, which made revision {revision}"
                ));
            }
            // Its holder renewed it meanwhile.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Without grace: the processes get SIGKILL and the objects go at once.
async fn kill_pods(
    cluster: &Cluster,
    namespace: &str,
    selector: &str,
) -> Result<Vec<String>, Failure> {
    let api: Api<Pod> = Api::namespaced(cluster.client(), namespace);
    let pods = api.list(&ListParams::default().labels(selector)).await?;
    if pods.items.is_empty() {
        return Err(format!("the fault did not fire: no pod has the labels {selector}").into());
    }
    let mut killed = Vec::new();
    for pod in pods {
        let now = DeleteParams::default().grace_period(0);
        api.delete(&pod.name_any(), &now).await?;
        killed.push(pod.name_any());
    }
    Ok(killed)
}
