//! Every name, label and annotation, each made in one place.
//!
//! Users and scripts rely on the object names; nothing here can fail for a name that the custom
//! resource definition lets in.

/// The API group, and the prefix of our own keys.
pub const GROUP: &str = "otus.homework";
/// The field manager of every write, the value of [`MANAGED_BY`], the reporter of events.
pub const MANAGER: &str = "mysql-operator";
/// Keeps a resource until its rows are safe.
pub const FINALIZER: &str = "otus.homework/final-backup";
/// What the old operator put there instead.
pub const OLD_FINALIZER: &str = "kopf.zalando.org/KopfFinalizerMarker";
/// Where the old operator kept the spec, with the password in clear.
pub const OLD_ANNOTATION: &str = "kopf.zalando.org/last-handled-configuration";

/// Label: whose object it is; our watches select by it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: the instance an object belongs to.
pub const INSTANCE: &str = "otus.homework/instance";
/// Label: the namespace of that instance, on cluster-wide objects.
pub const INSTANCE_NAMESPACE: &str = "otus.homework/instance-namespace";
/// Label: what part of the instance an object is.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// Label that users select the instance's one pod by; nothing else may carry it.
pub const APP: &str = "app";
/// Label of persistent volumes, as the homework has it.
pub const PV_USAGE: &str = "pv-usage";

/// Annotation: the UID of the resource an object was made for.
pub const INSTANCE_UID: &str = "otus.homework/instance-uid";
/// Annotation of a Job: which operation it carries out.
pub const OPERATION_ID: &str = "otus.homework/operation-id";
/// Annotation of a Job: which of the passwords in the Secret it sets.
pub const PASSWORD_SEQUENCE: &str = "otus.homework/password-sequence";
/// Annotation of a Job: UID of the claim that its backups are on.
pub const BACKUP_CLAIM: &str = "otus.homework/backup-claim-uid";
/// Annotation of the data claim: how the volume is laid out; without it the data lie at its root.
pub const LAYOUT: &str = "otus.homework/layout";
/// The value of [`LAYOUT`] for volumes that we lay out.
pub const LAYOUT_OWN: &str = "data-and-state";
/// Annotation of the backup claim: the newest generation known to be good.
pub const VERIFIED_GENERATION: &str = "otus.homework/last-verified-generation";

/// Annotation by users: delete without a final backup.
pub const SKIP_FINAL_BACKUP: &str = "otus.homework/skip-final-backup";
/// Annotation by users: with [`SKIP_FINAL_BACKUP`], remove the data as well.
pub const DELETE_DATA: &str = "otus.homework/delete-data";
/// Annotation by users: `skip` or `force`.
pub const RESTORE: &str = "otus.homework/restore";
/// Annotation by users: accept a backup of this other database.
pub const RESTORE_AS: &str = "otus.homework/restore-as";
/// Annotation by users: restore this generation.
pub const RESTORE_GENERATION: &str = "otus.homework/restore-generation";
/// Annotation by users: back up now; another value asks for another backup.
pub const BACKUP_NOW: &str = "otus.homework/backup-now";
/// Annotation by users: try to restore into a scratch server; another value asks for another test.
pub const RESTORE_TEST: &str = "otus.homework/restore-test";
/// Annotation by users: `force` applies another image without asking what is in it, and without a backup.
pub const UPGRADE: &str = "otus.homework/upgrade";
/// Annotation by users: take objects over that somebody else has made.
pub const ADOPT: &str = "otus.homework/adopt";

/// The condition on the instance's pod that lets clients in.
pub const READINESS_GATE: &str = "otus.homework/restored";
/// MySQL's port.
pub const PORT: i32 = 3306;
/// The name of that port.
pub const PORT_NAME: &str = "mysql";
/// The operator's own account on every server.
pub const OPERATOR_USER: &str = "otus_operator";

/// One instance, and the names of everything that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instance {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Instance {
    /// From its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The data volume.
    pub fn data_volume(&self) -> String {
        format!("{}-pv", self.name)
    }

    /// The data volume where an instance of the same name in another namespace has taken
    /// [`Self::data_volume`]. An instance's name has no dot, so no two instances share this one.
    pub fn data_volume_apart(&self) -> String {
        format!("{}.{}-pv", self.name, self.namespace)
    }

    /// The claim of the data volume.
    pub fn data_claim(&self) -> String {
        format!("{}-pvc", self.name)
    }

    /// The backup volume.
    pub fn backup_volume(&self) -> String {
        format!("backup-{}-pv", self.name)
    }

    /// The backup volume, apart as in [`Self::data_volume_apart`].
    pub fn backup_volume_apart(&self) -> String {
        format!("backup-{}.{}-pv", self.name, self.namespace)
    }

    /// The claim of the backup volume.
    pub fn backup_claim(&self) -> String {
        format!("backup-{}-pvc", self.name)
    }

    /// The service that clients connect to.
    pub fn service(&self) -> String {
        self.name.clone()
    }

    /// The service that our Jobs connect to, ready or not.
    pub fn admin_service(&self) -> String {
        format!("{}-admin", self.name)
    }

    /// The deployment.
    pub fn deployment(&self) -> String {
        self.name.clone()
    }

    /// The Secret with the operator's own credentials and records.
    pub fn secret(&self) -> String {
        format!("{}-auth", self.name)
    }

    /// The Job that brings the rows back.
    pub fn restore_job(&self) -> String {
        format!("restore-{}-job", self.name)
    }

    /// The Job that writes a backup.
    pub fn backup_job(&self) -> String {
        format!("backup-{}-job", self.name)
    }

    /// The Job that sets the password.
    pub fn password_job(&self) -> String {
        format!("passwd-{}-job", self.name)
    }

    /// The Job for everything that is done to an instance while it serves: backups on schedule or on demand,
    /// restore tests, looking at an image before an upgrade, looking after the password.
    pub fn upkeep_job(&self) -> String {
        format!("upkeep-{}-job", self.name)
    }

    /// Where Jobs mount the backup volume: the old operator's dump lies there under its old path.
    pub fn backup_mount(&self) -> String {
        format!("/{}", self.backup_volume())
    }

    /// The dump of the old operator, on the backup volume.
    pub fn legacy_dump(&self) -> String {
        format!("{}-dump.sql", self.name)
    }
}

impl std::fmt::Display for Instance {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_still_fits_every_object() {
        let instance = Instance::new("n", "x".repeat(40));
        for name in [
            instance.restore_job(),
            instance.password_job(),
            instance.admin_service(),
        ] {
            assert!(name.len() <= 63, "{name}");
        }
    }

    #[test]
    fn two_instances_never_share_a_volume_apart() {
        let one = Instance::new("a", "b").data_volume_apart();
        assert_ne!(one, Instance::new("b", "a").data_volume_apart());
        // The usual names have no dot.
        assert!(!Instance::new("default", "b-a").data_volume().contains('.'));
    }
}
