//! The objects of an instance, as they shall be. Pure, and cannot fail: whatever could be wrong was
//! refused before.
//!
//! None has an owner reference to the resource: a foreground deletion would take the server away
//! before its last backup. What belongs to an instance is told by labels and by the UID annotation.

mod claim;
mod deployment;
mod job;
mod pod;
mod secret;
mod service;
mod upkeep;
mod volume;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::plan::upkeep::Errand;
use super::validate::Validated;
use crate::ledger::Ledger;
use crate::names;

/// Everything that an instance may consist of.
#[derive(Clone, Debug, PartialEq)]
pub struct Resources {
    /// Credentials and record.
    pub secret: Secret,
    /// The data volume, unless a class provides it.
    pub data_volume: Option<PersistentVolume>,
    /// Its claim.
    pub data_claim: PersistentVolumeClaim,
    /// The backup volume, unless a class provides it.
    pub backup_volume: Option<PersistentVolume>,
    /// Its claim.
    pub backup_claim: PersistentVolumeClaim,
    /// What Jobs connect to.
    pub admin_service: Service,
    /// What clients connect to.
    pub service: Service,
    /// The server.
    pub deployment: Deployment,
    /// Brings the rows back.
    pub restore_job: Job,
    /// Backs up for the last time.
    pub backup_job: Job,
    /// Sets the password.
    pub password_job: Job,
    /// Looks after the serving instance, if there is something to do.
    pub upkeep_job: Option<Job>,
}

/// Builds them all. The ledger has the last word on which image runs.
pub fn build(validated: &Validated, ledger: &Ledger, errand: Option<&Errand>) -> Resources {
    let validated = &Validated {
        image: ledger.record.image.clone(),
        ..validated.clone()
    };
    Resources {
        secret: secret::credentials(validated, ledger),
        data_volume: volume::data(validated),
        data_claim: claim::data(validated),
        backup_volume: volume::backup(validated),
        backup_claim: claim::backup(validated),
        admin_service: service::admin(validated),
        service: service::headless(validated),
        deployment: deployment::server(validated),
        restore_job: job::restore(validated, ledger),
        backup_job: job::backup(validated, ledger),
        password_job: job::password(validated, ledger),
        upkeep_job: errand.map(|errand| upkeep::job(validated, ledger, errand)),
    }
}

/// Labels of everything that belongs to the instance.
fn labels(validated: &Validated, component: &str) -> BTreeMap<String, String> {
    [
        (names::MANAGED_BY, names::MANAGER),
        (names::INSTANCE, &validated.instance.name),
        (names::COMPONENT, component),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// Metadata of an object in the instance's namespace.
fn metadata(validated: &Validated, name: String, component: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.instance.namespace.clone()),
        labels: Some(labels(validated, component)),
        annotations: Some([(names::INSTANCE_UID.to_owned(), validated.uid.clone())].into()),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests;
