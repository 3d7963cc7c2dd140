//! What is done in which situation. A situation is the resource and the objects that exist.

use super::{JobKind, State, Step};
use crate::controller::fixtures::{observed, planned, resource, store};
use crate::controller::observe::Observed;
use crate::crd::MySQL;
use crate::ledger::{Ledger, Restored};

pub(in crate::controller) const CHILDREN: &str = "
kind: PersistentVolumeClaim
metadata:
  name: shop-db-pvc
  labels: {app.kubernetes.io/managed-by: mysql-operator}
  annotations: {otus.homework/instance-uid: 11111111-2222, otus.homework/layout: data-and-state}
---
kind: PersistentVolumeClaim
metadata: {name: backup-shop-db-pvc, uid: 77777777-8888, labels: {app.kubernetes.io/managed-by: mysql-operator}}
---
kind: Deployment
metadata: {name: shop-db, labels: {app.kubernetes.io/managed-by: mysql-operator}}
spec: {selector: {}, template: {}}
---
kind: Pod
metadata: {name: shop-db-1, labels: {app: shop-db}}
status: {conditions: [{type: Ready, status: 'True'}, {type: otus.homework/restored, status: 'True'}]}
";

pub(in crate::controller) fn alive() -> MySQL {
    resource(|resource| {
        resource.metadata.finalizers = Some(vec!["otus.homework/final-backup".to_owned()]);
    })
}

pub(in crate::controller) fn dying() -> MySQL {
    resource(|resource| {
        resource.metadata.finalizers = Some(vec!["otus.homework/final-backup".to_owned()]);
        resource.metadata.deletion_timestamp =
            serde_yaml::from_str("'2026-01-01T11:59:59Z'").unwrap();
    })
}

pub(in crate::controller) fn filled(ledger: &mut Ledger) {
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
pub(in crate::controller) fn running(resource: &MySQL, more: &str) -> Observed {
    let mut observed = observed(&format!("{CHILDREN}\n---\n{more}"));
    store(&mut observed, resource, filled);
    observed
}

pub(in crate::controller) fn job(
    name: &str,
    uid: &str,
    operation: &str,
    ended: &str,
    message: &str,
) -> String {
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
    otus.homework/backup-claim-uid: 77777777-8888
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

pub(in crate::controller) const UID: &str = "11111111-2222";
pub(in crate::controller) const REFUSED: &str = r#"{"op":"backup","opId":"x","result":"refused","reason":"DatabaseMissing","detail":"no database"}"#;
pub(in crate::controller) const DONE: &str = r#"{"op":"restore","opId":"x","result":"no-backup","reason":"NoBackup","server":"mysql 9.7.4"}"#;

/// The operation that fills the instance.
pub(in crate::controller) fn filling() -> String {
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

#[test]
fn a_stale_volume_that_a_class_makes_useless_is_no_obstacle() {
    let mut instance = alive();
    instance.spec.storage_class_name = Some("fast".to_owned());
    let left = "kind: PersistentVolume\nmetadata: {name: shop-db-pv}\n\
                spec: {claimRef: {namespace: shop, name: shop-db-pvc, uid: gone}}";
    let plan = planned(&instance, &observed(left));
    assert_eq!(plan.state, State::Restoring { trouble: None });
    assert!(!plan.steps.contains(&Step::RemoveStaleDataVolume));
    let plan = planned(&alive(), &observed(left));
    assert!(plan.steps.contains(&Step::RemoveStaleDataVolume));
}

#[test]
fn a_volume_whose_claim_somebody_removed_is_given_to_the_next_claim() {
    let mut world = running(
        &alive(),
        "kind: PersistentVolume\nmetadata: {name: shop-db-pv}\n\
         spec: {claimRef: {namespace: shop, name: shop-db-pvc, uid: u}}",
    );
    assert!(
        !planned(&alive(), &world)
            .steps
            .contains(&Step::ReleaseDataVolume)
    );
    world.data_claim = None;
    let steps = planned(&alive(), &world).steps;
    let position = |step| steps.iter().position(|one| *one == step).unwrap();
    assert!(
        position(Step::ReleaseDataVolume) < position(Step::Ensure),
        "{steps:?}"
    );
}

#[test]
fn a_server_whose_data_are_lost_is_blocked_with_the_way_out() {
    let mut world = running(&alive(), "");
    world.pods = vec![
        serde_yaml::from_str(
            "metadata: {name: shop-db-1, labels: {app: shop-db}}\n\
             status: {initContainerStatuses: [{name: prepare, ready: false, restartCount: 0, image: i, imageID: i, \
             state: {terminated: {exitCode: 20, message: 'DataLost: empty; skip-final-backup'}}}]}",
        )
        .unwrap(),
    ];
    let plan = planned(&alive(), &world);
    let State::ServerFailed(failure) = plan.state else {
        panic!("{:?}", plan.state)
    };
    assert_eq!(failure.reason, "DataLost");
}

#[test]
fn a_clock_that_runs_after_keeps_nobody_waiting() {
    let wait = |ended: &str| {
        let failed =
            job("restore", UID, &filling(), "Failed", "").replace("2026-01-01T11:59:50Z", ended);
        let mut world = observed(&format!("{CHILDREN}\n---\n{failed}"));
        store(&mut world, &alive(), |_| {});
        let plan = planned(&alive(), &world);
        let again = plan.steps.contains(&Step::RemoveJob(JobKind::Restore));
        (again, plan.again.as_secs())
    };
    // By our clock it ended ten seconds ago, in half a minute, in an hour, an hour ago.
    assert_eq!(wait("2026-01-01T11:59:50Z"), (false, 50));
    assert_eq!(wait("2026-01-01T12:00:30Z"), (false, 60));
    assert!(wait("2026-01-01T13:00:00Z").0);
    assert!(wait("2026-01-01T11:00:00Z").0);
}
