//! Tells people: the status of the resource and its events. The texts are made here; deciding was
//! [`super::plan`]'s.
//!
//! The status is written only when it changes, and an event only with a change of the status: an
//! instance that waits does not fill anybody's screen.

mod deletion;
mod describe;
mod news;
mod retried;
mod upkeep;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Resource as _, ResourceExt as _};
use serde_json::json;
use thiserror::Error;

pub use describe::status;

use super::observe::Basis;
use super::plan::Plan;
use super::trouble::Trouble;
use super::validate::{Refusal, Validated};
use crate::crd::{MySQL, MySQLStatus};
use crate::hands::Hands;
use crate::names::Instance;
use crate::written;

/// What could not be told.
#[derive(Debug, Error)]
#[error("cannot write the {what} of {instance}; it is tried again")]
pub struct Error {
    what: &'static str,
    instance: String,
    #[source]
    source: Box<kube::Error>,
}

impl Error {
    /// It is another resource by now, or is to be looked at again: nothing was written.
    pub fn is_conflict(&self) -> bool {
        matches!(&*self.source, kube::Error::Api(status) if matches!(status.code, 409 | 422))
    }

    /// What the API server said.
    pub fn source(&self) -> &kube::Error {
        &self.source
    }
}

/// Tells what is true after a plan was carried out.
pub async fn report(
    hands: &Hands,
    resource: &MySQL,
    basis: Basis,
    validated: &Validated,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), Error> {
    let before = resource.status.clone().unwrap_or_default();
    let after = describe::status(&before, resource.metadata.generation, validated, plan, now);
    let news = news::of_plan(&before, &after, validated, plan);
    // What is said by a view that may be late must not take the place of something newer.
    let version = (basis == Basis::Watches)
        .then(|| resource.resource_version())
        .flatten();
    tell(hands, resource, version, &before, &after, &news).await
}

/// Tells that nothing can be done until somebody acts.
pub async fn report_refusal(
    hands: &Hands,
    resource: &MySQL,
    refusal: &Refusal,
    now: Timestamp,
) -> Result<(), Error> {
    let before = resource.status.clone().unwrap_or_default();
    let after = describe::refused(&before, resource.metadata.generation, refusal, now);
    tell_change(hands, resource, &before, &after).await
}

/// Tells that the cluster refuses something that the instance needs.
pub async fn report_trouble(
    hands: &Hands,
    resource: &MySQL,
    trouble: &Trouble,
    now: Timestamp,
) -> Result<(), Error> {
    let before = resource.status.clone().unwrap_or_default();
    let after = describe::troubled(&before, resource.metadata.generation, trouble, now);
    tell_change(hands, resource, &before, &after).await
}

/// Tells a change of the status, as the cluster itself has shown why.
async fn tell_change(
    hands: &Hands,
    resource: &MySQL,
    before: &MySQLStatus,
    after: &MySQLStatus,
) -> Result<(), Error> {
    let news = news::of_change(before, after);
    tell(hands, resource, None, before, after, &news).await
}

async fn tell(
    hands: &Hands,
    resource: &MySQL,
    version: Option<String>,
    before: &MySQLStatus,
    after: &MySQLStatus,
    news: &[news::News],
) -> Result<(), Error> {
    let failed = |what| {
        let instance = resource.name_any();
        move |source| Error {
            what,
            instance,
            source: Box::new(source),
        }
    };
    if before != after {
        let api: Api<MySQL> = Api::namespaced(
            hands.client.clone(),
            &resource.namespace().unwrap_or_default(),
        );
        // A namesake may have been made meanwhile: it must not be told what was true of this one.
        let mut operations =
            vec![json!({ "op": "test", "path": "/metadata/uid", "value": resource.uid() })];
        operations.extend(version.map(
            |seen| json!({ "op": "test", "path": "/metadata/resourceVersion", "value": seen }),
        ));
        operations.push(json!({ "op": "add", "path": "/status", "value": after }));
        let patch = Patch::<()>::Json(
            serde_json::from_value(operations.into())
                .expect("every operation is written as RFC 6902 has it"),
        );
        match api
            .patch_status(&resource.name_any(), &written::by_patch(), &patch)
            .await
        {
            Ok(told) if told.metadata.deletion_timestamp.is_none() => {
                let instance = Instance::new(told.namespace().unwrap_or_default(), told.name_any());
                hands.recent.note(&instance, &told);
            }
            Ok(_) => {}
            // It was released in this very round.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(failed("status")(source)),
        }
    }
    let reference = resource.object_ref(&());
    for item in news {
        publish(&hands.recorder, item, &reference)
            .await
            .map_err(failed("event"))?;
        log(resource, item);
    }
    Ok(())
}

/// Whoever reads the log sees what whoever looks at the resource sees.
fn log(resource: &MySQL, news: &news::News) {
    let instance = Instance::new(
        resource.namespace().unwrap_or_default(),
        resource.name_any(),
    );
    let (reason, note) = (&news.reason, &news.note);
    if news.warning {
        tracing::warn!(%instance, %reason, "{note}");
    } else {
        tracing::info!(%instance, %reason, "{note}");
    }
}

async fn publish(
    recorder: &Recorder,
    news: &news::News,
    reference: &ObjectReference,
) -> Result<(), kube::Error> {
    let event = Event {
        type_: if news.warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: news.reason.clone(),
        note: Some(news.note.clone()),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    match recorder.publish(&event, reference).await {
        // A namespace that goes takes no events any more.
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
