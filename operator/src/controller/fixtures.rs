//! Instances for tests: the resource and the objects around it as YAML, through the real validation.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::Deserialize as _;
use serde_json::Value;

use super::observe::Observed;
use super::plan::{self, Plan, View};
use super::validate::{Refusal, Validated, validate};
use crate::crd::MySQL;
use crate::ledger::Ledger;
use crate::settings::Settings;

/// The instance of the homework. Its UID is not its name, so that swapping them is noticed.
pub(crate) const RESOURCE: &str = "
apiVersion: otus.homework/v1
kind: MySQL
metadata: {name: shop-db, namespace: shop, uid: 11111111-2222, generation: 1}
spec: {image: 'mysql:5.7', database: otus-database, password: otuspassword, storage_size: 1Gi}
";

/// The moment of all observations.
pub(crate) fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// The resource, changed.
pub(crate) fn resource(change: impl FnOnce(&mut MySQL)) -> MySQL {
    let mut resource = serde_yaml::from_str(RESOURCE).unwrap();
    change(&mut resource);
    resource
}

/// A new ledger, the same every time.
pub(crate) fn ledger() -> Ledger {
    Ledger::generate(&mut StdRng::seed_from_u64(7))
}

/// What is seen when exactly these objects exist.
pub(crate) fn observed(objects: &str) -> Observed {
    let mut observed = Observed::default();
    for document in serde_yaml::Deserializer::from_str(objects) {
        let object = Value::deserialize(document).unwrap();
        if object.is_null() {
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let kind = object["kind"].as_str().unwrap().to_owned();
        put(&mut observed, &kind, &name, object);
    }
    if observed.namespace.is_none() {
        observed.namespace = serde_yaml::from_str("metadata: {name: shop}").unwrap();
    }
    observed
}

fn put(observed: &mut Observed, kind: &str, name: &str, object: Value) {
    fn read<T: serde::de::DeserializeOwned>(object: Value) -> Option<T> {
        serde_json::from_value(object).unwrap()
    }
    match (kind, name) {
        ("Namespace", _) => observed.namespace = read(object),
        ("Secret", "shop-db-auth") => observed.secret = read(object),
        ("Secret", _) => observed.password_secret = read(object),
        ("PersistentVolume", "shop-db-pv") => observed.data_volume = read(object),
        ("PersistentVolume", "backup-shop-db-pv") => observed.backup_volume = read(object),
        ("PersistentVolumeClaim", "shop-db-pvc") => observed.data_claim = read(object),
        ("PersistentVolumeClaim", "backup-shop-db-pvc") => observed.backup_claim = read(object),
        ("Service", "shop-db") => observed.service = read(object),
        ("Service", "shop-db-admin") => observed.admin_service = read(object),
        ("Deployment", _) => observed.deployment = read(object),
        ("Pod", _) => observed.pods.extend(read(object)),
        ("Job", "restore-shop-db-job") => observed.restore_job = read(object),
        ("Job", "backup-shop-db-job") => observed.backup_job = read(object),
        ("Job", "passwd-shop-db-job") => observed.password_job = read(object),
        ("Job", "upkeep-shop-db-job") => observed.upkeep_job = read(object),
        ("StorageClass", _) => observed.storage_class = read(object),
        (kind, name) => panic!("an instance has no {kind} {name}"),
    }
}

/// Validates.
pub(crate) fn validated(resource: &MySQL, observed: &Observed) -> Result<Validated, Refusal> {
    validate(resource, observed, &Settings::default(), ledger())
}

/// Validates and plans.
pub(crate) fn planned(resource: &MySQL, observed: &Observed) -> Plan {
    let validated = validated(resource, observed).unwrap();
    let settings = Settings::default();
    plan::plan(View {
        validated: &validated,
        observed,
        settings: &settings,
        now: now(),
    })
}

/// Stores a ledger where the operator would.
pub(crate) fn store(observed: &mut Observed, resource: &MySQL, change: impl FnOnce(&mut Ledger)) {
    let mut ledger = ledger();
    ledger.begin(&resource.uid().unwrap(), false);
    ledger.record.image.clone_from(&resource.spec.image);
    ledger.record.database.clone_from(&resource.spec.database);
    if let Some(password) = &resource.spec.password {
        ledger.want(password);
    }
    change(&mut ledger);
    let mut secret: Secret = serde_yaml::from_str(
        "metadata: {name: shop-db-auth, labels: {app.kubernetes.io/managed-by: mysql-operator}}",
    )
    .unwrap();
    secret.data = Some(ledger.to_data());
    observed.secret = Some(secret);
}
