//! Carries a plan out, one step after the other. It decides nothing.
//!
//! Every step can be repeated: objects are made if missing, corrected if they differ, removed if
//! there. A crash between two steps leaves a state that the next plan goes on from.

mod write;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, Patch, Preconditions, PropagationPolicy};
use serde_json::json;
use thiserror::Error;

use super::build::Resources;
use super::observe::{Basis, Observed};
use super::plan::{JobKind, Plan, Step};
use super::trouble::Trouble;
use super::validate::Validated;
use crate::crd::MySQL;
use crate::hands::Hands;
use crate::names;
use crate::written;
use write::Writer;

/// A step that failed.
#[derive(Debug, Error)]
#[error("cannot {action} {object} of the instance {instance}; it is tried again")]
pub struct Error {
    /// Whose.
    pub instance: String,
    /// `create`, `change`, `remove`
    pub action: &'static str,
    /// Kind and name.
    pub object: String,
    /// It was to be changed only as it had been seen, and is different by now.
    pub outdated: bool,
    /// What the API server said.
    #[source]
    pub source: Box<kube::Error>,
}

impl Error {
    /// Somebody else was faster: what was seen is out of date, and looking again is all it takes.
    pub fn is_conflict(&self) -> bool {
        self.outdated || matches!(&*self.source, kube::Error::Api(status) if status.code == 409)
    }
}

impl Error {
    /// The cluster does not want the object: a quota, an admission policy, a missing permission.
    pub fn is_refusal(&self) -> bool {
        !self.outdated
            && matches!(&*self.source, kube::Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422))
    }

    /// The same, in the words of the cluster.
    pub fn trouble(&self) -> Trouble {
        let (reason, said) = match &*self.source {
            kube::Error::Api(status) if !status.reason.is_empty() => {
                (status.reason.clone(), status.message.clone())
            }
            other => ("WriteRefused".to_owned(), other.to_string()),
        };
        Trouble {
            reason,
            detail: format!("cannot {} {}: {said}", self.action, self.object),
        }
    }
}

/// What the steps work on.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// The resource.
    pub resource: &'a MySQL,
    /// The instance.
    pub validated: &'a Validated,
    /// What was seen before.
    pub observed: &'a Observed,
    /// What shall be.
    pub resources: &'a Resources,
}

/// Carries the steps out, in their order.
pub async fn apply(hands: &Hands, world: &World<'_>, steps: &[Step]) -> Result<(), Error> {
    let writer = Writer::new(hands, &world.validated.instance);
    for step in steps {
        carry_out(&writer, world, step).await?;
    }
    Ok(())
}

/// Whether the plan may be carried out by this view of the world. One that may be late must not change or remove
/// what exists; that it does not even want to is seen by trying it with hands that are tied.
pub async fn may(tied: &Hands, world: &World<'_>, plan: &Plan, basis: Basis) -> bool {
    match basis {
        Basis::Cluster => true,
        Basis::New => plan
            .steps
            .iter()
            .all(|step| step.makes() || step.may_be_late()),
        Basis::Watches => {
            let rest: Vec<Step> = plan
                .steps
                .iter()
                .filter(|step| !step.may_be_late())
                .cloned()
                .collect();
            apply(tied, world, &rest).await.is_ok()
        }
    }
}

async fn carry_out(writer: &Writer<'_>, world: &World<'_>, step: &Step) -> Result<(), Error> {
    match step {
        Step::AddFinalizer => add_finalizer(writer, world.resource).await,
        Step::DropFinalizer => drop_finalizer(writer, world.resource).await,
        Step::DropOldMarks => drop_old_marks(writer, world.resource).await,
        Step::StoreLedger => store_ledger(writer, world).await,
        Step::Ensure => ensure(writer, world).await,
        Step::OpenGate(pod) => set_gate(writer, pod, true).await,
        Step::CloseGate(pod) => set_gate(writer, pod, false).await,
        Step::Start(kind) => match job_of(world.resources, *kind) {
            Some(job) => writer.create(job).await,
            None => Ok(()),
        },
        // In the foreground: the Deployment is there until its pod has ended.
        Step::RemoveHalfMadeServer => {
            writer
                .remove(
                    world.observed.deployment.as_ref(),
                    PropagationPolicy::Foreground,
                )
                .await
        }
        Step::GrowVolume(name) => grow_volume(writer, world, name).await,
        Step::GrowClaim(name) => grow_claim(writer, world, name).await,
        Step::RemoveJob(kind) => remove_job(writer, world, *kind).await,
        Step::MarkBackups(generation) => mark_backups(writer, world, generation).await,
        Step::ReleaseBackupVolume => {
            let volume = named(
                world.observed.backup_volume.as_ref(),
                world.observed.backup_volume_apart.as_ref(),
                world.resources.backup_volume.as_ref(),
            );
            release_volume(writer, volume).await
        }
        Step::ReleaseDataVolume => {
            let volume = named(
                world.observed.data_volume.as_ref(),
                world.observed.data_volume_apart.as_ref(),
                world.resources.data_volume.as_ref(),
            );
            release_volume(writer, volume).await
        }
        Step::RemoveStaleDataVolume => remove_data_volume(writer, world).await,
        Step::RemoveDeployment => {
            writer
                .remove(
                    world.observed.deployment.as_ref(),
                    PropagationPolicy::Background,
                )
                .await
        }
        Step::RemoveServices => {
            writer
                .remove(
                    world.observed.service.as_ref(),
                    PropagationPolicy::Background,
                )
                .await?;
            writer
                .remove(
                    world.observed.admin_service.as_ref(),
                    PropagationPolicy::Background,
                )
                .await
        }
        Step::RemoveData => {
            writer
                .remove(
                    world.observed.data_claim.as_ref(),
                    PropagationPolicy::Background,
                )
                .await?;
            remove_data_volume(writer, world).await
        }
        Step::RemoveSecret => {
            writer
                .remove(
                    world.observed.secret.as_ref(),
                    PropagationPolicy::Background,
                )
                .await
        }
    }
}

/// Adds to the list and never replaces it: other finalizers are not ours to touch.
async fn add_finalizer(writer: &Writer<'_>, resource: &MySQL) -> Result<(), Error> {
    let patch = if resource.finalizers().is_empty() {
        json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": resource.resource_version() },
            { "op": "add", "path": "/metadata/finalizers", "value": [names::FINALIZER] },
        ])
    } else {
        json!([{ "op": "add", "path": "/metadata/finalizers/-", "value": names::FINALIZER }])
    };
    patch_resource(writer, resource, patch).await
}

async fn drop_finalizer(writer: &Writer<'_>, resource: &MySQL) -> Result<(), Error> {
    let Some(patch) = without_finalizers(resource, &[names::FINALIZER, names::OLD_FINALIZER])
    else {
        return Ok(());
    };
    match patch_resource(writer, resource, patch).await {
        Ok(()) => {
            writer.note_end();
            Ok(())
        }
        // It has gone with it.
        Err(Error { source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) => {
            Ok(())
        }
        other => other,
    }
}

/// The old operator's finalizer would hold the resource for ever; its annotation has the password in clear.
async fn drop_old_marks(writer: &Writer<'_>, resource: &MySQL) -> Result<(), Error> {
    if let Some(patch) = without_finalizers(resource, &[names::OLD_FINALIZER]) {
        patch_resource(writer, resource, patch).await?;
    }
    if resource.annotations().contains_key(names::OLD_ANNOTATION) {
        let path = format!(
            "/metadata/annotations/{}",
            names::OLD_ANNOTATION.replace('/', "~1")
        );
        patch_resource(writer, resource, json!([{ "op": "remove", "path": path }])).await?;
    }
    Ok(())
}

/// Removes exactly these finalizers, and only if they still stand where they were seen.
fn without_finalizers(resource: &MySQL, finalizers: &[&str]) -> Option<serde_json::Value> {
    let mut operations = Vec::new();
    // From the end, so that the places of the others stay.
    for (position, name) in resource.finalizers().iter().enumerate().rev() {
        if finalizers.contains(&name.as_str()) {
            let path = format!("/metadata/finalizers/{position}");
            operations.push(json!({ "op": "test", "path": path, "value": name }));
            operations.push(json!({ "op": "remove", "path": path }));
        }
    }
    (!operations.is_empty()).then_some(serde_json::Value::Array(operations))
}

async fn patch_resource(
    writer: &Writer<'_>,
    resource: &MySQL,
    mut patch: serde_json::Value,
) -> Result<(), Error> {
    // A namesake may have been made meanwhile; it is not meant.
    let same = json!({ "op": "test", "path": "/metadata/uid", "value": resource.uid() });
    if let Some(operations) = patch.as_array_mut() {
        operations.insert(0, same);
    }
    let patch = Patch::<()>::Json(
        serde_json::from_value(patch).expect("every operation above is written as RFC 6902 has it"),
    );
    let api: Api<MySQL> = writer.namespaced();
    let name = resource.name_any();
    api.patch(&name, &written::by_patch(), &patch)
        .await
        .map(|written| writer.note(&written))
        .map_err(|source| Error {
            // A test of the patch did not hold.
            outdated: matches!(&source, kube::Error::Api(status) if status.code == 422),
            ..writer.failed("change", &format!("MySQL {name}"), source)
        })
}

/// Writes it only over the version that the plan was made from.
async fn store_ledger(writer: &Writer<'_>, world: &World<'_>) -> Result<(), Error> {
    let mut secret = world.resources.secret.clone();
    let api: Api<Secret> = writer.namespaced();
    let name = secret.name_any();
    let parameters = written::by_post();
    let (action, written) = if let Some(seen) = &world.observed.secret {
        secret.metadata.resource_version = seen.resource_version();
        let replaced = api.replace(&name, &parameters, &secret).await;
        ("change", replaced)
    } else {
        ("create", api.create(&parameters, &secret).await)
    };
    // Whatever has become of it, it is not what was seen.
    writer.note_secret(written.as_ref().ok());
    written
        .map(drop)
        .map_err(|source| writer.failed(action, &format!("Secret {name}"), source))
}

/// The volumes come before what mounts them, the services before what is reached through them.
async fn ensure(writer: &Writer<'_>, world: &World<'_>) -> Result<(), Error> {
    let observed = world.observed;
    let Resources {
        // Written by `StoreLedger`, which minds its version.
        secret: _,
        data_volume,
        data_claim,
        backup_volume,
        backup_claim,
        admin_service,
        service,
        deployment,
        // Started one at a time.
        restore_job: _,
        backup_job: _,
        password_job: _,
        upkeep_job: _,
    } = world.resources;
    writer
        .ensure_volume(
            data_volume.as_ref(),
            named(
                observed.data_volume.as_ref(),
                observed.data_volume_apart.as_ref(),
                data_volume.as_ref(),
            ),
            observed.data_claim.as_ref(),
        )
        .await?;
    writer
        .ensure_claim(data_claim, observed.data_claim.as_ref())
        .await?;
    writer
        .ensure_volume(
            backup_volume.as_ref(),
            named(
                observed.backup_volume.as_ref(),
                observed.backup_volume_apart.as_ref(),
                backup_volume.as_ref(),
            ),
            observed.backup_claim.as_ref(),
        )
        .await?;
    writer
        .ensure_claim(backup_claim, observed.backup_claim.as_ref())
        .await?;
    writer
        .ensure(admin_service, observed.admin_service.as_ref())
        .await?;
    writer.ensure(service, observed.service.as_ref()).await?;
    writer
        .ensure(deployment, observed.deployment.as_ref())
        .await
}

/// Of the two volumes that were looked for, the one that is meant.
fn named<'a>(
    usual: Option<&'a PersistentVolume>,
    apart: Option<&'a PersistentVolume>,
    meant: Option<&PersistentVolume>,
) -> Option<&'a PersistentVolume> {
    let name = meant?.name_any();
    [usual, apart]
        .into_iter()
        .flatten()
        .find(|volume| volume.name_any() == name)
}

async fn set_gate(writer: &Writer<'_>, pod: &str, open: bool) -> Result<(), Error> {
    let status = if open { "True" } else { "False" };
    let patch = json!({ "status": { "conditions": [{ "type": names::READINESS_GATE, "status": status }] } });
    let api: Api<Pod> = writer.namespaced();
    match api
        .patch_status(pod, &written::by_patch(), &Patch::Strategic(patch))
        .await
    {
        Ok(pod) => {
            writer.note(&pod);
            Ok(())
        }
        // A pod that has gone meanwhile has no gate; its successor will be seen.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(writer.failed("change", &format!("Pod {pod}"), source)),
    }
}

fn job_of(resources: &Resources, kind: JobKind) -> Option<&Job> {
    match kind {
        JobKind::Restore => Some(&resources.restore_job),
        JobKind::Backup => Some(&resources.backup_job),
        JobKind::Password => Some(&resources.password_job),
        JobKind::Upkeep => resources.upkeep_job.as_ref(),
    }
}

async fn remove_job(writer: &Writer<'_>, world: &World<'_>, kind: JobKind) -> Result<(), Error> {
    let job = match kind {
        JobKind::Restore => &world.observed.restore_job,
        JobKind::Backup => &world.observed.backup_job,
        JobKind::Password => &world.observed.password_job,
        JobKind::Upkeep => &world.observed.upkeep_job,
    };
    // It is there until its pods are gone: the next operation must not meet one of them.
    writer
        .remove(job.as_ref(), PropagationPolicy::Foreground)
        .await
}

async fn remove_data_volume(writer: &Writer<'_>, world: &World<'_>) -> Result<(), Error> {
    let observed = world.observed;
    let meant = world.resources.data_volume.as_ref();
    let volume = named(
        observed.data_volume.as_ref(),
        observed.data_volume_apart.as_ref(),
        meant,
    );
    writer.remove(volume, PropagationPolicy::Background).await
}

async fn grow_volume(writer: &Writer<'_>, world: &World<'_>, name: &str) -> Result<(), Error> {
    let api: Api<PersistentVolume> = writer.cluster_wide();
    let patch = json!({ "spec": { "capacity": { "storage": world.validated.storage } } });
    api.patch(name, &written::by_patch(), &Patch::Merge(patch))
        .await
        .map(|written| writer.note(&written))
        .map_err(|source| writer.failed("change", &format!("PersistentVolume {name}"), source))
}

async fn grow_claim(writer: &Writer<'_>, world: &World<'_>, name: &str) -> Result<(), Error> {
    let api: Api<PersistentVolumeClaim> = writer.namespaced();
    let patch =
        json!({ "spec": { "resources": { "requests": { "storage": world.validated.storage } } } });
    api.patch(name, &written::by_patch(), &Patch::Merge(patch))
        .await
        .map(|written| writer.note(&written))
        .map_err(|source| writer.failed("change", &format!("PersistentVolumeClaim {name}"), source))
}

/// On the claim, and on the volume where we make it: that outlives a claim that somebody removes.
async fn mark_backups(
    writer: &Writer<'_>,
    world: &World<'_>,
    generation: &str,
) -> Result<(), Error> {
    let marks = json!({ names::VERIFIED_GENERATION: generation });
    let claim = world.observed.backup_claim.as_ref();
    writer.annotate(claim, &marks).await?;
    let volume = named(
        world.observed.backup_volume.as_ref(),
        world.observed.backup_volume_apart.as_ref(),
        world.resources.backup_volume.as_ref(),
    );
    // A volume that somebody else has made is not ours to write to.
    let ours = volume.filter(|volume| {
        let manager = volume.labels().get(names::MANAGED_BY);
        manager.is_some_and(|manager| manager == names::MANAGER)
    });
    writer.annotate(ours, &marks).await
}

/// Keeps the reservation for our claim and forgets which object that claim was.
async fn release_volume(
    writer: &Writer<'_>,
    volume: Option<&PersistentVolume>,
) -> Result<(), Error> {
    let Some(volume) = volume else {
        return Ok(());
    };
    let api: Api<PersistentVolume> = writer.cluster_wide();
    let name = volume.name_any();
    let patch = json!({
        "metadata": { "resourceVersion": volume.resource_version() },
        "spec": { "claimRef": { "uid": null, "resourceVersion": null } },
    });
    api.patch(&name, &written::by_patch(), &Patch::Merge(patch))
        .await
        .map(|written| writer.note(&written))
        .map_err(|source| writer.failed("change", &format!("PersistentVolume {name}"), source))
}

/// Deletes exactly the object that was seen: never a namesake that came after it.
fn exactly(uid: Option<String>, policy: PropagationPolicy) -> DeleteParams {
    DeleteParams {
        propagation_policy: Some(policy),
        preconditions: Some(Preconditions {
            uid,
            resource_version: None,
        }),
        ..DeleteParams::default()
    }
}
