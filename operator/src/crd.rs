//! The custom resource: `mysqls.otus.homework`, version `v1`, kind `MySQL`.
//!
//! A superset of the homework's four fields. Everything that can be refused when the resource is
//! written is refused there: by the schema, and by CEL rules where a schema cannot say it.

#![expect(
    unreachable_pub,
    reason = "the derived schema repeats the spec inside of a function"
)]

pub mod status;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt as _, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use status::{BackupStatus, Condition, MySQLStatus, Phase, RestoreTestStatus};

/// A MySQL server with its data, its backups and its password.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "otus.homework",
    version = "v1",
    kind = "MySQL",
    plural = "mysqls",
    singular = "mysql",
    shortname = "ms",
    namespaced,
    derive = "PartialEq",
    status = "MySQLStatus",
    doc = "A MySQL server that never loses a row: deleting it backs it up, creating it again restores it.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message"),
    printcolumn(name = "Database", type_ = "string", json_path = ".spec.database", priority = "1"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = "1"),
    printcolumn(name = "Last Backup", type_ = "date", json_path = ".status.lastBackup.time", priority = "1"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be at most 40 lower case letters, digits and dashes, begin with a letter and not end with a dash: the names of the instance's objects are made of it"),
)]
#[x_kube(
    validation = Rule::new("has(self.password) || has(self.passwordSecretRef)")
        .message("either password or passwordSecretRef must be set")
        .field_path(".password")
        .reason(Reason::FieldValueRequired),
    validation = Rule::new("!(has(self.password) && has(self.passwordSecretRef))")
        .message("password and passwordSecretRef exclude each other")
        .field_path(".passwordSecretRef")
        .reason(Reason::FieldValueForbidden),
    validation = Rule::new("has(self.storageClassName) == has(oldSelf.storageClassName)")
        .message("the class of existing volumes cannot be changed")
        .field_path(".storageClassName")
        .reason(Reason::FieldValueForbidden)
)]
pub struct MySQLSpec {
    /// The server's image, for example mysql:8.4 or mariadb:11.4. Jobs use the same one.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    /// The database to make and to back up. It cannot be changed.
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_-]*$")
    )]
    #[x_kube(
        validation = Rule::new("self == oldSelf").message("the database of an instance cannot be changed; make another instance"),
        validation = Rule::new("!(self.lowerAscii() in ['mysql', 'sys', 'information_schema', 'performance_schema', '_otus_restore', '_otus_fence'])")
            .message("this name belongs to the server itself")
    )]
    pub database: String,

    /// Root's password, in clear. passwordSecretRef is the better way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[^\x00]+$"))]
    pub password: Option<String>,

    /// Size of the data volume and of the backup volume, for example 1Gi. It can only grow.
    #[schemars(
        length(min = 1, max = 32),
        regex(pattern = r"^[0-9]+(\.[0-9]+)?([eE][0-9]+|[mkMGTPE]|[KMGTPE]i)?$")
    )]
    #[x_kube(
        validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
            .message("must be a quantity greater than zero"),
        validation = Rule::new("!isQuantity(self) || !isQuantity(oldSelf) || quantity(self).compareTo(quantity(oldSelf)) >= 0")
            .message("a volume cannot shrink")
    )]
    pub storage_size: String,

    /// Where root's password is instead of in password.
    #[serde(
        default,
        rename = "passwordSecretRef",
        skip_serializing_if = "Option::is_none"
    )]
    pub password_secret_ref: Option<SecretKeyRef>,

    /// The class of both volumes. Without it the operator makes volumes on the node itself.
    #[serde(
        default,
        rename = "storageClassName",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the class of existing volumes cannot be changed"))]
    pub storage_class_name: Option<String>,

    /// What becomes of the data when the resource is deleted. Backup: a verified backup is made first.
    /// Retain: the data volume stays. Delete: the data are removed without a backup.
    #[serde(
        default,
        rename = "deletionPolicy",
        skip_serializing_if = "Option::is_none"
    )]
    pub deletion_policy: Option<DeletionPolicy>,

    /// When to back up beside at the end, and how many backups to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupSpec>,
}

/// A key of a Secret in the same namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretKeyRef {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What becomes of the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// Back up, verify, then remove.
    #[default]
    Backup,
    /// Stop the server, keep the volume.
    Retain,
    /// Remove without a backup.
    Delete,
}

/// Backups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupSpec {
    /// How many verified generations to keep; 3 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub keep: Option<i32>,
    /// When to back up while the instance serves: a cron pattern in UTC, for example "30 2 * * *" or @daily.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub schedule: Option<String>,
}

/// The definition, as in `deploy/crd.yml`.
pub fn crd() -> CustomResourceDefinition {
    MySQL::crd()
}

/// The text of `deploy/crd.yml`.
pub fn manifest() -> Result<String, serde_yaml::Error> {
    let definition = serde_yaml::to_string(&crd())?;
    Ok(format!(
        "# Generated by `mysql-operator --print-crd`; change operator/src/crd.rs instead.\n{definition}"
    ))
}

#[cfg(test)]
mod tests;
