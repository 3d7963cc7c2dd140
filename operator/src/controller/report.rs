//! Tells people: the status of the resource and its events. The texts are made here; deciding was
//! [`super::plan`]'s.
//!
//! The status is written only when it changes, and an event only with a change of the status: an
//! instance that waits does not fill anybody's screen.

mod describe;
mod news;
mod upkeep;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{Api, Patch};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;
use thiserror::Error;

pub use describe::status;

use super::plan::Plan;
use super::trouble::Trouble;
use super::validate::{Refusal, Validated};
use crate::crd::{MySQL, MySQLStatus};
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

/// Tells what is true after a plan was carried out.
pub async fn report(
    client: &Client,
    recorder: &Recorder,
    resource: &Arc<MySQL>,
    validated: &Validated,
    plan: &Plan,
    now: Timestamp,
) -> Result<(), Error> {
    let before = resource.status.clone().unwrap_or_default();
    let after = describe::status(&before, resource.metadata.generation, validated, plan, now);
    tell(
        client,
        recorder,
        resource,
        &before,
        &after,
        &news::of_plan(&before, &after, validated, plan),
    )
    .await
}

/// Tells that nothing can be done until somebody acts.
pub async fn report_refusal(
    client: &Client,
    recorder: &Recorder,
    resource: &Arc<MySQL>,
    refusal: &Refusal,
    now: Timestamp,
) -> Result<(), Error> {
    let before = resource.status.clone().unwrap_or_default();
    let after = describe::refused(&before, resource.metadata.generation, refusal, now);
    tell(
        client,
        recorder,
        resource,
        &before,
        &after,
        &news::of_change(&before, &after),
    )
    .await
}

/// Tells that the cluster refuses something that the instance needs.
pub async fn report_trouble(
    client: &Client,
    recorder: &Recorder,
    resource: &Arc<MySQL>,
    trouble: &Trouble,
    now: Timestamp,
) -> Result<(), Error> {
    let before = resource.status.clone().unwrap_or_default();
    let after = describe::troubled(&before, resource.metadata.generation, trouble, now);
    tell(
        client,
        recorder,
        resource,
        &before,
        &after,
        &news::of_change(&before, &after),
    )
    .await
}

async fn tell(
    client: &Client,
    recorder: &Recorder,
    resource: &Arc<MySQL>,
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
        let api: Api<MySQL> =
            Api::namespaced(client.clone(), &resource.namespace().unwrap_or_default());
        let patch = Patch::Merge(json!({ "status": after }));
        match api
            .patch_status(&resource.name_any(), &written::by_patch(), &patch)
            .await
        {
            Ok(_) => {}
            // It was released in this very round.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(source) => return Err(failed("status")(source)),
        }
    }
    let reference = resource.object_ref(&());
    for item in news {
        publish(recorder, item, &reference)
            .await
            .map_err(failed("event"))?;
    }
    Ok(())
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
