//! What people are told while something is tried again and again: the situations in their order, as YAML, and the
//! whole status.

use serde_json::{Value, json};

use super::status;
use crate::controller::fixtures::{now, observed, planned, store, validated};
use crate::controller::observe::Observed;
use crate::controller::plan::tests::{DONE, UID, alive, filled, filling, job, running};
use crate::crd::{MySQL, MySQLStatus};

const CORRUPT: &str =
    r#"{"op":"restore","opId":"x","result":"refused","reason":"ChecksumMismatch","detail":"cut"}"#;
const REJECTED: &str = r#"{"op":"password","opId":"x","result":"refused","reason":"PasswordRejected","detail":"too short"}"#;
const CHANGE: &str = "password-11111111-2";

/// The status as the situations follow each other.
#[derive(Default)]
struct Told(MySQLStatus);

impl Told {
    fn next(&mut self, resource: &MySQL, observed: &Observed) -> Value {
        let (plan, validated) = (
            planned(resource, observed),
            validated(resource, observed).unwrap(),
        );
        let generation = resource.metadata.generation;
        self.0 = status(&self.0, generation, &validated, &plan, now());
        json!(self.0)
    }

    fn ready(&self) -> &str {
        &self.0.condition("Ready").unwrap().reason
    }
}

/// The same Job while it tries again by itself.
fn trying_again(failed: &str) -> String {
    failed.replace("status:\n  cont", "status:\n  phase: Failed\n  cont")
}

/// A Job that has only just been made.
fn begun(job: &str) -> String {
    let (job, _) = job.split_once("---").unwrap();
    job.replace("uid: job-uid", "uid: job-2")
}

fn going(job: &str) -> String {
    begun(job).replace("uid: job-2", "deletionTimestamp: '2026-01-01T12:00:00Z'")
}

/// What is told from the first failed attempt to the last, and when.
fn lasting(job: impl Fn(&str) -> String) -> [(&'static str, String); 7] {
    [
        ("an attempt failed, the Job goes on", trying_again(&job(""))),
        ("the Job was given up", job("Failed")),
        ("the Job is being removed", going(&job(""))),
        ("the Job is gone", String::new()),
        ("another Job has just begun", begun(&job(""))),
        ("its first attempt failed", trying_again(&job(""))),
        ("it was given up too", job("Failed")),
    ]
}

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T12:00:00Z", "observedGeneration": 1,
    })
}

#[test]
fn a_restore_that_failed_says_why_until_an_attempt_succeeds() {
    let restore = |ended: &str| job("restore", UID, &filling(), ended, CORRUPT);
    let mut told = Told::default();
    told.next(&alive(), &observed(&begun(&restore(""))));
    assert_eq!(told.ready(), "Initializing");
    let expected = json!({
        "phase": "Blocked",
        "observedGeneration": 1,
        "initialized": false,
        "conditions": [
            condition("Ready", "False", "ChecksumMismatch", "cut"),
            condition("Restored", "False", "ChecksumMismatch", "cut"),
            condition("PasswordSynced", "False", "NotYet", "root does not have the password of the spec yet"),
        ],
    });
    for (moment, objects) in lasting(restore) {
        assert_eq!(
            told.next(&alive(), &observed(&objects)),
            expected,
            "{moment}"
        );
    }
    let done = job("restore", UID, &filling(), "Complete", DONE);
    told.next(&alive(), &observed(&done));
    assert_eq!(told.ready(), "SyncingPassword");
    assert_eq!(told.0.condition("Restored").unwrap().reason, "NoBackup");
}

/// The cluster's own trouble is news, and the cause of what the Job runs into.
#[test]
fn what_keeps_the_server_from_running_is_told_of_a_restore_that_failed() {
    let unreachable = CORRUPT
        .replace("refused", "failed")
        .replace("ChecksumMismatch", "ServerUnavailable");
    let restore = |ended: &str| job("restore", UID, &filling(), ended, &unreachable);
    let server = "
---
kind: PersistentVolumeClaim
metadata:
  name: shop-db-pvc
  labels: {app.kubernetes.io/managed-by: mysql-operator}
  annotations: {otus.homework/instance-uid: 11111111-2222, otus.homework/layout: data-and-state}
---
kind: Pod
metadata: {name: shop-db-1, labels: {app: shop-db}}
status:
  containerStatuses:
  - {name: mysql, ready: false, restartCount: 0, image: i, imageID: i,
     state: {waiting: {reason: ImagePullBackOff, message: no such tag}}}
";
    let mut told = Told::default();
    for (moment, objects) in lasting(restore) {
        told.next(&alive(), &observed(&format!("{objects}{server}")));
        assert_eq!(told.ready(), "ImagePullBackOff", "{moment}");
    }
}

#[test]
fn another_wish_of_what_to_restore_has_not_failed_yet() {
    let restore = |ended: &str| job("restore", UID, &filling(), ended, CORRUPT);
    let mut told = Told::default();
    let failed = observed(&restore("Failed"));
    told.next(&alive(), &failed);
    let mut wished = alive();
    let wish = [("otus.homework/restore-generation", "gen-000001-x")];
    wished.metadata.annotations = Some(
        wish.map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    );
    told.next(&wished, &failed);
    assert_eq!(told.ready(), "Initializing");
    told.next(&wished, &observed(&going(&restore(""))));
    assert_eq!(told.ready(), "Initializing");
}

/// An instance whose root is to get another password than it has.
fn changing(objects: &str) -> Observed {
    let mut observed = running(&alive(), objects);
    store(&mut observed, &alive(), |ledger| {
        filled(ledger);
        ledger.want("second");
    });
    observed
}

fn with_password(password: &str, generation: i64) -> MySQL {
    let mut resource = alive();
    resource.spec.password = Some(password.to_owned());
    resource.metadata.generation = Some(generation);
    resource
}

#[test]
fn a_password_change_that_failed_says_why_until_an_attempt_succeeds() {
    let change = |ended: &str| job("passwd", UID, CHANGE, ended, REJECTED);
    let resource = with_password("second", 1);
    let mut told = Told::default();
    told.next(&resource, &changing(&begun(&change(""))));
    assert_eq!(told.ready(), "SyncingPassword");
    let expected = json!({
        "phase": "Blocked",
        "observedGeneration": 1,
        "initialized": true,
        "message": "shop-db created WITHOUT restore-job",
        "conditions": [
            condition("Ready", "True", "PasswordRejected", "too short"),
            condition("Restored", "True", "NoBackup", "there were no rows to bring back"),
            condition("PasswordSynced", "False", "PasswordRejected", "too short"),
        ],
    });
    for (moment, objects) in lasting(change) {
        assert_eq!(
            told.next(&resource, &changing(&objects)),
            expected,
            "{moment}"
        );
    }
    told.next(
        &resource,
        &changing(&job("passwd", UID, CHANGE, "Complete", "")),
    );
    assert_eq!(told.ready(), "Ready");
}

#[test]
fn another_password_has_not_failed_yet() {
    let failed = changing(&job("passwd", UID, CHANGE, "Failed", REJECTED));
    let going = changing(&going(&job("passwd", UID, CHANGE, "", REJECTED)));
    let mut told = Told::default();
    told.next(&with_password("second", 1), &failed);
    assert_eq!(told.ready(), "PasswordRejected");
    let third = with_password("third", 2);
    for observed in [&failed, &going] {
        told.next(&third, observed);
        assert_eq!(told.ready(), "SyncingPassword");
    }
}
