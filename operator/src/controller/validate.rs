//! The only place that refuses: from the resource and what was seen to a description that everything
//! later can rely on. Pure.
//!
//! A resource that is being deleted is never refused for its spec: what the instance really is then
//! comes from its record.

mod password;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::ResourceExt as _;
use mysql_job::arguments::RestoreMode;
use thiserror::Error;

pub use self::password::Trouble as PasswordTrouble;
use self::password::password;

use super::observe::{Observed, is_reserved_elsewhere};
use super::ownership::Owner;
use crate::crd::{DeletionPolicy, MySQL};
use crate::ledger::{Ledger, LedgerError, Restored};
use crate::names::{self, Instance};
use crate::schedule::Schedule;
use crate::settings::Settings;

/// Why an instance cannot be worked on; somebody has to act.
#[derive(Debug, Error)]
pub enum Refusal {
    /// An object with a name that we need is somebody else's.
    #[error(
        "the {kind} {name} exists and is not this operator's; remove it, or annotate the resource with \
         otus.homework/adopt=true to take it over"
    )]
    NameConflict {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An object with a name that we need is another instance's.
    #[error(
        "the {kind} {name} belongs to the instance {other}: the names of these two instances lead to the same \
         object; make this instance under another name"
    )]
    TakenByAnother {
        /// What it is.
        kind: &'static str,
        /// Its name.
        name: String,
        /// Whose it is.
        other: String,
    },
    /// The password is not at hand.
    #[error(transparent)]
    Password(#[from] PasswordTrouble),
    /// The Secret was changed by somebody.
    #[error(
        "the Secret {name} cannot be used; restore it, or delete it to have new credentials made \
         (root's password on the server must then be the one in the spec)"
    )]
    SecretUnusable {
        /// Its name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: LedgerError,
    },
}

impl Refusal {
    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NameConflict { .. } | Self::TakenByAnother { .. } => "NameConflict",
            Self::Password(trouble) => trouble.reason(),
            Self::SecretUnusable { .. } => "SecretUnusable",
        }
    }
}

/// Where in the data volume the data lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// In a directory of their own, beside the mark of a complete initialisation.
    Own,
    /// At the root, as the old operator mounted it.
    Root,
}

/// What becomes of the data when the resource goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Verified backup first, then everything goes.
    Backup,
    /// The server goes, its data stay.
    Retain,
    /// Everything goes at once.
    Delete,
}

/// What restoring may do, by the wish of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreWish {
    /// Whether to restore, and how strictly.
    pub mode: RestoreMode,
    /// From a backup of this database.
    pub from_database: Option<String>,
    /// From this generation.
    pub generation: Option<String>,
}

/// An instance that can be planned and built for.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not depend on one another"
)]
pub struct Validated {
    /// Its names.
    pub instance: Instance,
    /// UID of the resource.
    pub uid: String,
    /// The resource has our finalizer.
    pub has_finalizer: bool,
    /// The resource is being deleted.
    pub deleting: bool,
    /// The image that the server runs.
    pub image: String,
    /// The image of the spec.
    pub wanted_image: String,
    /// It is to be applied without looking at it first.
    pub force_upgrade: bool,
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// When to back up beside at the end.
    pub schedule: Option<String>,
    /// Why not, if that cannot be understood.
    pub schedule_trouble: Option<String>,
    /// A wish for a backup; another wish for another one.
    pub backup_now: Option<String>,
    /// A wish for a restore test.
    pub restore_test: Option<String>,
    /// The password is in a Secret of somebody else's.
    pub watches_a_secret: bool,
    /// The database.
    pub database: String,
    /// Size of both volumes.
    pub storage: String,
    /// Class of both volumes; `None` for volumes that we make.
    pub storage_class: Option<String>,
    /// Name of the data volume, where we make it.
    pub data_volume: Option<String>,
    /// Name of the backup volume, where we make it.
    pub backup_volume: Option<String>,
    /// Where the data lie.
    pub layout: Layout,
    /// What becomes of the data.
    pub ending: Ending,
    /// How many backups to keep.
    pub keep: i32,
    /// What restoring may do.
    pub restore: RestoreWish,
    /// The newest generation that is known to have been good.
    pub expect_backup: Option<String>,
    /// UID of the claim that backups go to.
    pub backup_claim: Option<String>,
    /// Directories on the node belong to root at first; an init container hands them over.
    pub hand_over: bool,
    /// Why the password of the spec is not at hand; the last one stays in force.
    pub password_trouble: Option<PasswordTrouble>,
    /// Credentials and record, with the wishes of the spec in it.
    pub ledger: Ledger,
    /// From the settings.
    pub operator_image: String,
    /// From the settings.
    pub host_path_root: String,
    /// From the settings.
    pub run_as: i64,
}

/// Validates. `fresh` becomes the instance's ledger if it has none.
pub fn validate(
    resource: &MySQL,
    observed: &Observed,
    settings: &Settings,
    fresh: Ledger,
) -> Result<Validated, Refusal> {
    let instance = Instance::new(
        resource.namespace().unwrap_or_default(),
        resource.name_any(),
    );
    let uid = resource.uid().unwrap_or_default();
    let deleting = resource.metadata.deletion_timestamp.is_some();
    let annotation = |key: &str| resource.annotations().get(key).cloned();
    let is_set = |key: &str| annotation(key).is_some_and(|value| value == "true");
    if !deleting {
        Owner::of(resource, &instance).refuse_conflicts(observed)?;
    }
    let mut ledger = ledger_of(resource, observed, &instance, fresh)?;
    let password_trouble = if deleting {
        remember_for_the_end(&mut ledger, resource, observed);
        None
    } else {
        bring_up_to_date(&mut ledger, resource, observed)?
    };
    let spec = &resource.spec;
    let usual_or_apart = |usual: Option<&PersistentVolume>, name: String, apart: String| {
        if usual.is_some_and(|volume| is_reserved_elsewhere(volume, &instance)) {
            apart
        } else {
            name
        }
    };
    let made_by_us = spec.storage_class_name.is_none();
    let schedule = spec
        .backup
        .as_ref()
        .and_then(|backup| backup.schedule.clone());
    Ok(Validated {
        has_finalizer: resource.finalizers().iter().any(|name| {
            // One that is going can be given no finalizer any more; the old operator's holds it as well.
            name == names::FINALIZER || (deleting && name == names::OLD_FINALIZER)
        }),
        deleting,
        image: or(&ledger.record.image, &spec.image),
        wanted_image: spec.image.clone(),
        force_upgrade: annotation(names::UPGRADE).as_deref() == Some("force"),
        generation: resource.metadata.generation,
        schedule_trouble: schedule
            .as_ref()
            .and_then(|pattern| Schedule::parse(pattern).err()),
        schedule,
        backup_now: annotation(names::BACKUP_NOW),
        restore_test: annotation(names::RESTORE_TEST),
        watches_a_secret: spec.password_secret_ref.is_some(),
        database: or(&ledger.record.database, &spec.database),
        storage: spec.storage_size.clone(),
        storage_class: spec.storage_class_name.clone(),
        data_volume: made_by_us.then(|| {
            usual_or_apart(
                observed.data_volume.as_ref(),
                instance.data_volume(),
                instance.data_volume_apart(),
            )
        }),
        backup_volume: made_by_us.then(|| {
            usual_or_apart(
                observed.backup_volume.as_ref(),
                instance.backup_volume(),
                instance.backup_volume_apart(),
            )
        }),
        layout: layout(observed.data_claim.as_ref()),
        ending: ending(
            spec.deletion_policy.unwrap_or_default(),
            is_set(names::SKIP_FINAL_BACKUP),
            is_set(names::DELETE_DATA),
        ),
        keep: spec
            .backup
            .as_ref()
            .and_then(|backup| backup.keep)
            .unwrap_or(3),
        restore: RestoreWish {
            mode: restore_mode(annotation(names::RESTORE).as_deref()),
            from_database: annotation(names::RESTORE_AS),
            generation: annotation(names::RESTORE_GENERATION),
        },
        expect_backup: known_generation(observed, &instance),
        backup_claim: observed
            .backup_claim
            .as_ref()
            .and_then(kube::ResourceExt::uid),
        hand_over: made_by_us && !is_restricted(observed),
        password_trouble,
        ledger,
        operator_image: settings.operator_image.clone(),
        host_path_root: settings.host_path_root.clone(),
        run_as: settings.run_as,
        instance,
        uid,
    })
}

/// The instance's ledger, begun anew if it is another resource's.
fn ledger_of(
    resource: &MySQL,
    observed: &Observed,
    instance: &Instance,
    fresh: Ledger,
) -> Result<Ledger, Refusal> {
    let uid = resource.uid().unwrap_or_default();
    let adopted = observed
        .data_claim
        .as_ref()
        .is_some_and(|claim| is_of_another(claim, &uid));
    let mut ledger = match observed.secret.as_ref().map(Ledger::from_secret) {
        None => {
            let mut ledger = fresh;
            ledger.begin(&uid, adopted);
            remember_from_status(&mut ledger, resource, observed);
            ledger
        }
        Some(Ok(ledger)) => ledger,
        Some(Err(source)) => {
            return Err(Refusal::SecretUnusable {
                name: instance.secret(),
                source,
            });
        }
    };
    if ledger.record.instance_uid != uid {
        ledger.begin(&uid, adopted);
    }
    Ok(ledger)
}

/// What the claim of the backups says of them; failing that, the volume, which outlives its claim.
fn known_generation(observed: &Observed, instance: &Instance) -> Option<String> {
    let of_claim = observed
        .backup_claim
        .as_ref()
        .and_then(|claim| claim.annotations().get(names::VERIFIED_GENERATION));
    let volumes = [&observed.backup_volume, &observed.backup_volume_apart];
    let of_volume = volumes
        .into_iter()
        .flatten()
        .filter(|volume| !is_reserved_elsewhere(volume, instance))
        .find_map(|volume| volume.annotations().get(names::VERIFIED_GENERATION));
    of_claim.or(of_volume).cloned()
}

fn restore_mode(annotation: Option<&str>) -> RestoreMode {
    match annotation {
        Some("skip") => RestoreMode::Skip,
        Some("force") => RestoreMode::Force,
        Some(_) | None => RestoreMode::Normal,
    }
}

fn or(recorded: &str, specified: &str) -> String {
    if recorded.is_empty() {
        specified.to_owned()
    } else {
        recorded.to_owned()
    }
}

/// Puts the spec's wishes into the ledger; gives the reason why the password could not be, if the
/// instance can go on with the one it has.
fn bring_up_to_date(
    ledger: &mut Ledger,
    resource: &MySQL,
    observed: &Observed,
) -> Result<Option<PasswordTrouble>, Refusal> {
    // Another image takes over only when the plan lets it; until there are rows, any image will do.
    if ledger.record.restored.is_none() || ledger.record.image.is_empty() {
        ledger.record.image.clone_from(&resource.spec.image);
    }
    ledger.record.database.clone_from(&resource.spec.database);
    match password(resource, observed) {
        Ok(password) => {
            ledger.want(&password);
            Ok(None)
        }
        Err(trouble) if ledger.record.desired > 0 => Ok(Some(trouble)),
        Err(trouble) => Err(Refusal::Password(trouble)),
    }
}

/// A Secret that was lost while the resource goes took the credentials with it, too: root's password of the
/// spec makes new ones. What the old operator made was never in a ledger, and has rows all the same.
fn remember_for_the_end(ledger: &mut Ledger, resource: &MySQL, observed: &Observed) {
    if ledger.record.desired == 0
        && let Ok(password) = password(resource, observed)
    {
        ledger.want(&password);
    }
    let is_old = resource
        .finalizers()
        .iter()
        .any(|name| name == names::OLD_FINALIZER);
    if is_old && ledger.record.restored.is_none() && observed.data_claim.is_some() {
        ledger.record.restored = Some(taken_over("left-by-the-old-operator"));
    }
    if ledger.record.image.is_empty() {
        ledger.record.image.clone_from(&resource.spec.image);
        ledger.record.database.clone_from(&resource.spec.database);
    }
}

fn taken_over(operation: &str) -> Restored {
    Restored {
        operation: operation.to_owned(),
        generation: None,
        reason: "DataAdopted".to_owned(),
        server: None,
        detail: String::new(),
    }
}

/// A Secret that was lost takes the record with it; what the status knows is better than nothing: an
/// instance that was ready must not be filled a second time, nor go without a backup.
fn remember_from_status(ledger: &mut Ledger, resource: &MySQL, observed: &Observed) {
    let was_ready = resource
        .status
        .as_ref()
        .is_some_and(|status| status.initialized == Some(true));
    if was_ready && observed.data_claim.is_some() {
        ledger.record.restored = Some(taken_over("known-from-status"));
    }
}

fn is_of_another(claim: &PersistentVolumeClaim, uid: &str) -> bool {
    claim
        .annotations()
        .get(names::INSTANCE_UID)
        .is_none_or(|owner| owner != uid)
}

fn layout(claim: Option<&PersistentVolumeClaim>) -> Layout {
    match claim {
        Some(claim) if !claim.annotations().contains_key(names::LAYOUT) => Layout::Root,
        Some(_) | None => Layout::Own,
    }
}

fn ending(policy: DeletionPolicy, skip_backup: bool, delete_data: bool) -> Ending {
    match (policy, skip_backup, delete_data) {
        (DeletionPolicy::Delete, _, _) | (DeletionPolicy::Backup, true, true) => Ending::Delete,
        (DeletionPolicy::Retain, _, _) | (DeletionPolicy::Backup, true, false) => Ending::Retain,
        (DeletionPolicy::Backup, false, _) => Ending::Backup,
    }
}

/// The namespace lets no container run as root.
fn is_restricted(observed: &Observed) -> bool {
    observed.namespace.as_ref().is_some_and(|namespace| {
        let level = namespace.labels().get("pod-security.kubernetes.io/enforce");
        level.is_some_and(|level| level == "restricted")
    })
}

#[cfg(test)]
mod tests;
