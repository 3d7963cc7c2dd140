//! hold, operator, fault: what only a laboratory can do.

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};

use super::Engine;
use crate::{
    Failure,
    scenario::{
        duration,
        model::{Fault, Hold, OperatorAction},
    },
};

impl Engine<'_> {
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
        match action {
            OperatorAction::Start => self.subject.start(self.cluster).await,
            OperatorAction::Stop => self.subject.stop().await,
            OperatorAction::Kill => self.subject.kill().await,
            OperatorAction::Restart => {
                self.subject.kill().await?;
                self.subject.start(self.cluster).await
            }
        }
    }

    pub(super) async fn fault(&mut self, fault: &Fault) -> Result<(), Failure> {
        if fault.crash_operator.is_some() {
            return self.operator(OperatorAction::Restart).await;
        }
        if let Some(pods) = &fault.kill_pod {
            return self.kill_pods(&pods.selector).await;
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

    /// Without grace: the processes get SIGKILL and the objects go at once.
    async fn kill_pods(&mut self, selector: &str) -> Result<(), Failure> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client(), &self.namespace);
        let selector = self.text(selector)?;
        let pods = api.list(&ListParams::default().labels(&selector)).await?;
        if pods.items.is_empty() {
            return Err(format!("the fault did not fire: no pod has the labels {selector}").into());
        }
        let mut killed = Vec::new();
        for pod in pods {
            let now = DeleteParams::default().grace_period(0);
            api.delete(&pod.name_any(), &now).await?;
            killed.push(pod.name_any());
        }
        self.output = Some(format!("fired: killed {}", killed.join(", ")));
        Ok(())
    }
}
