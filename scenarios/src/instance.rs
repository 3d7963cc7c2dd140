//! What an instance says of itself, as things to wait for, and small changes of its resource.

use harness::{
    Failure,
    conditions::{Condition, Verdict},
};
use k8s_openapi::api::core::v1::Event;
use kube::{
    api::{Patch, PatchParams},
    runtime::watcher,
};
use mysql_operator::crd::MySQL;
use serde_json::{Value, json};

use crate::{lab::Lab, watching};

/// A condition of the resource has this status and this reason.
pub fn says(type_: &'static str, status: &'static str, reason: &'static str) -> Condition<MySQL> {
    Condition::of(
        format!("to say {type_}={status} {reason}"),
        move |instance: &MySQL| {
            let said = instance
                .status
                .as_ref()
                .and_then(|all| all.condition(type_));
            match said {
                Some(said) if said.status == status && said.reason == reason => Verdict::Met,
                Some(said) => Verdict::NotYet(format!(
                    "{type_}={} {}: {}",
                    said.status, said.reason, said.message
                )),
                None => Verdict::NotYet(format!("it has no condition {type_}")),
            }
        },
    )
}

impl Lab<'_> {
    /// Waits until the instance says so; gives it as it then was.
    pub async fn says(
        &self,
        name: &str,
        type_: &'static str,
        status: &'static str,
        reason: &'static str,
    ) -> Result<MySQL, Failure> {
        let seen = self
            .cluster()
            .wait(&self.instances(), name, says(type_, status, reason))
            .await?;
        Ok(seen.ok_or("the instance is gone")?)
    }

    /// Sets annotations, as `kubectl annotate` does.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) -> Result<(), Failure> {
        self.patch(name, json!({"metadata": {"annotations": {key: value}}}))
            .await
    }

    /// Changes the resource, as `kubectl patch --type merge` does.
    pub async fn patch(&self, name: &str, patch: Value) -> Result<(), Failure> {
        self.instances()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Waits for an event on the resource; gives its text.
    pub async fn event(&self, name: &str, reason: &str) -> Result<String, Failure> {
        let what = format!("the event {reason} of {name}");
        let fields = format!("involvedObject.kind=MySQL,involvedObject.name={name}");
        let config = watcher::Config::default().fields(&fields);
        let events = self.cluster().namespaced::<Event>();
        watching::until(events, config, &what, |events| {
            events
                .values()
                .find(|event| event.reason.as_deref() == Some(reason))
                .map(|event| event.message.clone().unwrap_or_default())
        })
        .await
    }

    /// Runs statements as root.
    pub async fn write(
        &self,
        name: &str,
        password: &str,
        database: &str,
        statements: &[&str],
    ) -> Result<(), Failure> {
        let mut session = self.login(name, password, database).await?;
        for statement in statements {
            session.execute(statement).await?;
        }
        Ok(session.close().await?)
    }

    /// The rows of a query as root.
    pub async fn read(
        &self,
        name: &str,
        password: &str,
        database: &str,
        query: &str,
    ) -> Result<Vec<Vec<String>>, Failure> {
        let mut session = self.login(name, password, database).await?;
        let rows = session.rows(query).await?;
        session.close().await?;
        Ok(rows)
    }
}
