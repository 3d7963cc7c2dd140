//! What is done in which situation. A situation is the resource and the objects that exist.

use super::{JobKind, State, Step};
use crate::controller::fixtures::{observed, planned, resource, store};
use crate::controller::observe::Observed;
use crate::crd::MySQL;
use crate::ledger::{Backup, Ledger, Restored};

const CHILDREN: &str = "
kind: PersistentVolumeClaim
metadata:
  name: shop-db-pvc
  labels: {app.kubernetes.io/managed-by: mysql-operator}
  annotations: {otus.homework/instance-uid: 11111111-2222, otus.homework/layout: data-and-state}
---
kind: Deployment
metadata: {name: shop-db, labels: {app.kubernetes.io/managed-by: mysql-operator}}
spec: {selector: {}, template: {}}
---
kind: Pod
metadata: {name: shop-db-1, labels: {app: shop-db}}
status: {conditions: [{type: Ready, status: 'True'}, {type: otus.homework/restored, status: 'True'}]}
";

pub(super) fn alive() -> MySQL {
    resource(|resource| {
        resource.metadata.finalizers = Some(vec!["otus.homework/final-backup".to_owned()]);
    })
}

fn dying() -> MySQL {
    resource(|resource| {
        resource.metadata.finalizers = Some(vec!["otus.homework/final-backup".to_owned()]);
        resource.metadata.deletion_timestamp =
            serde_yaml::from_str("'2026-01-01T11:59:59Z'").unwrap();
    })
}

pub(super) fn filled(ledger: &mut Ledger) {
    ledger.record.restored = Some(Restored {
        operation: "restore-1".into(),
        generation: None,
        reason: "NoBackup".into(),
        server: None,
        detail: String::new(),
    });
    ledger.confirm(1);
    ledger.record.upkeep.password_checked = Some(crate::controller::fixtures::now().as_second());
}

/// An instance that has its rows and its password, with further objects.
pub(super) fn running(resource: &MySQL, more: &str) -> Observed {
    let mut observed = observed(&format!("{CHILDREN}\n---\n{more}"));
    store(&mut observed, resource, filled);
    observed
}

pub(super) fn job(name: &str, uid: &str, operation: &str, ended: &str, message: &str) -> String {
    let conditions = match ended {
        "" => String::new(),
        type_ => format!(
            "status: {{conditions: [{{type: {type_}, status: 'True', reason: R, \
             lastTransitionTime: '2026-01-01T11:59:50Z'}}]}}"
        ),
    };
    let sequence = operation.rsplit('-').next().unwrap();
    format!(
        "
kind: Job
metadata:
  name: {name}-shop-db-job
  uid: job-uid
  annotations:
    otus.homework/instance-uid: {uid}
    otus.homework/operation-id: {operation}
    otus.homework/password-sequence: '{sequence}'
{conditions}
---
kind: Pod
metadata: {{name: {name}-pod, ownerReferences: [{{apiVersion: batch/v1, kind: Job, name: j, uid: job-uid}}]}}
status:
  containerStatuses:
  - {{name: mysql-job, ready: false, restartCount: 0, image: i, imageID: i,
     state: {{terminated: {{exitCode: 0, message: '{message}'}}}}}}
"
    )
}

pub(super) const UID: &str = "11111111-2222";
const DONE: &str = r#"{"op":"restore","opId":"x","result":"no-backup","reason":"NoBackup","server":"mysql 9.7.4"}"#;
const BACKED_UP: &str = r#"{"op":"backup","opId":"x","result":"ok","generation":"gen-000001-x","bytes":5,"sha256":"s","rows":2}"#;
const REFUSED: &str = r#"{"op":"backup","opId":"x","result":"refused","reason":"DatabaseMissing","detail":"no database"}"#;

/// The operation that fills the instance.
fn filling() -> String {
    let observed = observed("");
    let validated = crate::controller::fixtures::validated(&alive(), &observed).unwrap();
    super::create::restore_operation(&validated)
}

#[test]
fn everything_is_made_at_once_and_the_finalizer_before_anything_else() {
    let plan = planned(&resource(|_| {}), &observed(""));
    assert_eq!(plan.state, State::Restoring { trouble: None });
    assert_eq!(
        plan.steps,
        [
            Step::AddFinalizer,
            Step::DropOldMarks,
            Step::StoreLedger,
            Step::Ensure,
            Step::Start(JobKind::Restore),
        ]
    );
}

#[test]
fn a_restore_that_succeeded_opens_the_gate_in_the_same_step() {
    let mut observed = observed(&format!(
        "{}\n---\n{}",
        CHILDREN.replace(
            "otus.homework/restored, status: 'True'",
            "other, status: 'True'"
        ),
        job("restore", UID, &filling(), "Complete", DONE)
            .replace("password-sequence: '", "password-sequence: '1'\n    was: '"),
    ));
    store(&mut observed, &alive(), |_| {});
    let plan = planned(&alive(), &observed);
    assert!(plan.steps.contains(&Step::StoreLedger));
    assert!(plan.steps.contains(&Step::OpenGate("shop-db-1".to_owned())));
    let record = &plan.ledger.record;
    assert_eq!(record.restored.as_ref().unwrap().reason, "NoBackup");
    assert!(plan.ledger.is_synced());
}

#[test]
fn a_restore_job_of_another_life_counts_for_nothing() {
    for (uid, operation) in [
        ("another-uid", filling()),
        (UID, "restore-older".to_owned()),
    ] {
        let mut observed = observed(&job("restore", uid, &operation, "Complete", DONE));
        store(&mut observed, &alive(), |_| {});
        let plan = planned(&alive(), &observed);
        assert!(
            plan.steps.contains(&Step::RemoveJob(JobKind::Restore)),
            "{uid} {operation}"
        );
        assert_eq!(plan.ledger.record.restored, None);
    }
}

#[test]
fn a_restore_that_failed_is_told_and_tried_again_later() {
    let objects = job("restore", UID, &filling(), "Failed", REFUSED);
    let plan = planned(&alive(), &observed(&objects));
    let State::RestoreFailed(failure) = &plan.state else {
        panic!("{:?}", plan.state)
    };
    assert_eq!(failure.reason, "DatabaseMissing");
    assert_eq!(plan.again.as_secs(), 50);
    assert!(!plan.steps.contains(&Step::RemoveJob(JobKind::Restore)));

    let long_ago = objects.replace("2026-01-01T11:59:50Z", "2026-01-01T11:00:00Z");
    let plan = planned(&alive(), &observed(&long_ago));
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Restore)));
}

#[test]
fn leftovers_that_are_going_are_waited_for() {
    let claim = CHILDREN.replace(
        "name: shop-db-pvc\n",
        "name: shop-db-pvc\n  deletionTimestamp: '2026-01-01T11:59:59Z'\n",
    );
    let plan = planned(&alive(), &observed(&claim));
    assert!(matches!(&plan.state, State::Clearing { what } if what.contains("shop-db-pvc")));
    assert!(!plan.steps.contains(&Step::Ensure));
}

#[test]
fn a_volume_that_the_old_operator_left_behind_is_replaced() {
    let volume = "{kind: PersistentVolume, metadata: {name: shop-db-pv}, \
                  spec: {claimRef: {namespace: shop, name: shop-db-pvc, uid: gone}}}";
    let plan = planned(&alive(), &observed(volume));
    assert!(matches!(plan.state, State::Clearing { .. }));
    assert!(plan.steps.contains(&Step::RemoveStaleDataVolume));
}

#[test]
fn a_backup_volume_whose_claim_is_gone_is_released_and_kept() {
    let volume = "{kind: PersistentVolume, metadata: {name: backup-shop-db-pv}, \
                  spec: {claimRef: {namespace: shop, name: backup-shop-db-pvc, uid: gone}}}";
    let plan = planned(&alive(), &observed(volume));
    assert!(plan.steps.contains(&Step::ReleaseBackupVolume));
    assert!(plan.steps.contains(&Step::Ensure));
}

#[test]
fn an_unchanged_instance_costs_no_write() {
    let plan = planned(&alive(), &running(&alive(), ""));
    assert_eq!(plan.state, State::Ready);
    assert_eq!(plan.steps, [Step::DropOldMarks, Step::Ensure]);
}

#[test]
fn the_wish_for_a_password_is_stored_before_the_job_starts() {
    let observed = running(&alive(), "");
    let mut changed = alive();
    changed.spec.password = Some("newpassword".to_owned());
    let plan = planned(&changed, &observed);
    assert_eq!(
        plan.state,
        State::SyncingPassword {
            trouble: None,
            ready: true
        }
    );
    let position = |step| plan.steps.iter().position(|one| *one == step).unwrap();
    assert!(position(Step::StoreLedger) < position(Step::Start(JobKind::Password)));
    assert_eq!(plan.ledger.record.desired, 2);
}

#[test]
fn the_success_of_a_password_job_counts_only_for_its_own_password() {
    let mut changed = alive();
    changed.spec.password = Some("third".to_owned());
    let mut observed = running(
        &alive(),
        &job("passwd", UID, "password-11111111-2", "Complete", ""),
    );
    store(&mut observed, &alive(), |ledger| {
        filled(ledger);
        ledger.want("second");
    });
    let plan = planned(&changed, &observed);
    assert_eq!(
        (plan.ledger.record.applied, plan.ledger.record.desired),
        (Some(2), 3)
    );
    assert!(matches!(plan.state, State::SyncingPassword { .. }));
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Password)));
}

#[test]
fn a_deleted_instance_is_fenced_and_backed_up_before_anything_goes() {
    let plan = planned(&dying(), &running(&dying(), ""));
    assert_eq!(plan.state, State::BackingUp { trouble: None });
    assert_eq!(
        plan.steps,
        [
            Step::Ensure,
            Step::CloseGate("shop-db-1".to_owned()),
            Step::Start(JobKind::Backup)
        ]
    );
}

#[test]
fn old_jobs_are_gone_before_the_last_backup_starts() {
    let old = job("backup", "another-uid", "final-old", "Complete", BACKED_UP);
    let plan = planned(&dying(), &running(&dying(), &old));
    assert_eq!(plan.state, State::ClearingJobs);
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Backup)));
    assert!(!plan.steps.contains(&Step::RemoveDeployment));

    let restore = job("restore", UID, &filling(), "Complete", DONE);
    let plan = planned(&dying(), &running(&dying(), &restore));
    assert_eq!(plan.state, State::ClearingJobs);
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Restore)));
    assert!(!plan.steps.contains(&Step::Start(JobKind::Backup)));
}

#[test]
fn a_verified_backup_is_recorded_before_the_server_goes() {
    let done = job("backup", UID, "final-11111111", "Complete", BACKED_UP);
    let plan = planned(&dying(), &running(&dying(), &done));
    assert_eq!(plan.state, State::Stopping);
    let position = |step| plan.steps.iter().rposition(|one| *one == step).unwrap();
    assert!(position(Step::StoreLedger) < position(Step::RemoveDeployment));
    assert!(!plan.steps.contains(&Step::RemoveData));
    assert_eq!(
        plan.ledger.record.final_backup.unwrap().generation,
        "gen-000001-x"
    );
}

#[test]
fn a_backup_job_without_a_report_proves_nothing() {
    for message in [
        "",
        "who knows",
        r#"{"op":"backup","opId":"x","result":"ok"}"#,
    ] {
        let job = job("backup", UID, "final-11111111", "Complete", message);
        let plan = planned(&dying(), &running(&dying(), &job));
        assert_eq!(plan.state, State::ClearingJobs, "{message}");
        assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Backup)));
        assert!(!plan.steps.contains(&Step::RemoveDeployment));
    }
}

#[test]
fn a_failed_backup_blocks_the_deletion_and_removes_nothing() {
    let failed = job("backup", UID, "final-11111111", "Failed", REFUSED);
    let plan = planned(&dying(), &running(&dying(), &failed));
    assert!(matches!(plan.state, State::BackupFailed(_)));
    for step in [
        Step::RemoveDeployment,
        Step::RemoveData,
        Step::DropFinalizer,
        Step::RemoveSecret,
    ] {
        assert!(!plan.steps.contains(&step));
    }
}

#[test]
fn deleting_the_failed_job_by_hand_starts_another_one() {
    let plan = planned(&dying(), &running(&dying(), ""));
    assert!(plan.steps.contains(&Step::Start(JobKind::Backup)));
}

#[test]
fn data_go_only_when_the_server_is_gone_and_the_secret_last() {
    let backed_up = |ledger: &mut Ledger| {
        filled(ledger);
        ledger.record.final_backup = Some(Backup {
            generation: "g".into(),
            bytes: 1,
            sha256: "s".into(),
            rows: 2,
        });
    };
    let mut stopping = observed(CHILDREN);
    store(&mut stopping, &dying(), backed_up);
    let plan = planned(&dying(), &stopping);
    assert_eq!(plan.state, State::Stopping);
    assert!(!plan.steps.contains(&Step::RemoveData));

    stopping.deployment = None;
    stopping.pods.clear();
    let plan = planned(&dying(), &stopping);
    assert!(matches!(plan.state, State::Removing { .. }));
    assert!(plan.steps.contains(&Step::RemoveData) && !plan.steps.contains(&Step::RemoveSecret));

    stopping.data_claim = None;
    let plan = planned(&dying(), &stopping);
    assert_eq!(plan.state, State::Releasing);
    assert_eq!(plan.steps, [Step::RemoveSecret, Step::DropFinalizer]);
}

#[test]
fn an_instance_that_was_never_filled_goes_without_a_backup() {
    let mut observed = observed(CHILDREN);
    store(&mut observed, &dying(), |_| {});
    let plan = planned(&dying(), &observed);
    assert_eq!(plan.state, State::Stopping);
    assert!(!plan.steps.contains(&Step::Start(JobKind::Backup)));
}

#[test]
fn a_namespace_that_goes_takes_the_instance_with_it() {
    let going =
        "{kind: Namespace, metadata: {name: shop, deletionTimestamp: '2026-01-01T11:59:59Z'}}";
    let plan = planned(&dying(), &running(&dying(), going));
    assert_eq!(
        (plan.state, plan.steps),
        (State::Abandoning, vec![Step::DropFinalizer])
    );
}

#[test]
fn an_explicit_wish_keeps_the_data_without_a_backup() {
    let mut retaining = dying();
    retaining
        .metadata
        .annotations
        .get_or_insert_default()
        .insert("otus.homework/skip-final-backup".into(), "true".into());
    let mut observed = running(&retaining, "");
    let plan = planned(&retaining, &observed);
    assert_eq!(plan.state, State::Stopping);
    observed.deployment = None;
    observed.pods.clear();
    let plan = planned(&retaining, &observed);
    assert_eq!(
        (plan.state, plan.steps),
        (State::Releasing, vec![Step::DropFinalizer])
    );
}

#[test]
fn an_invalid_spec_does_not_keep_an_instance_from_going() {
    let mut invalid = dying();
    invalid.spec.password = None;
    invalid.spec.image = "no such image".into();
    invalid.spec.database = "other".into();
    let mut observed = running(&dying(), "");
    observed.service = serde_yaml::from_str("metadata: {name: shop-db}").unwrap();
    let plan = planned(&invalid, &observed);
    assert!(plan.steps.contains(&Step::Start(JobKind::Backup)));
    assert_eq!(plan.ledger.record.image, "mysql:5.7");
}

#[test]
fn data_of_a_resource_whose_finalizer_was_stripped_are_taken_over() {
    let earlier = CHILDREN.replace(UID, "an-earlier-uid");
    let mut observed = observed(&earlier);
    store(&mut observed, &alive(), |ledger| {
        filled(ledger);
        ledger.record.instance_uid = "an-earlier-uid".into();
    });
    let plan = planned(&alive(), &observed);
    assert!(plan.ledger.record.adopted);
    assert_eq!(plan.ledger.record.restored, None);
    assert!(plan.steps.contains(&Step::Start(JobKind::Restore)));
}

#[test]
fn a_lost_secret_does_not_make_an_instance_forget_that_it_was_filled() {
    let mut resource = dying();
    resource.status = serde_yaml::from_str("initialized: true").unwrap();
    let plan = planned(&resource, &observed(CHILDREN));
    assert!(plan.steps.contains(&Step::Start(JobKind::Backup)));
}

#[test]
fn a_job_that_gets_no_pod_says_so_after_a_while() {
    let running = |created: &str| {
        let job = format!(
            "kind: Job\nmetadata: {{name: restore-shop-db-job, uid: u, creationTimestamp: '{created}', \
             annotations: {{otus.homework/instance-uid: {UID}, otus.homework/operation-id: {}}}}}",
            filling()
        );
        let mut observed = observed(&format!("{CHILDREN}\n---\n{job}"));
        store(&mut observed, &alive(), |_| {});
        planned(&alive(), &observed)
    };
    let late = running("2026-01-01T11:59:50Z");
    assert!(
        matches!(&late.state, State::Restoring { trouble: Some(trouble) } if trouble.reason == "JobHasNoPod"),
        "{late:?}"
    );
    let early = running("2026-01-01T11:59:55Z");
    assert_eq!(early.state, State::Restoring { trouble: None });
    assert!(early.again <= super::POD_PATIENCE, "{:?}", early.again);
}
