//! What becomes of an instance that shall go, in which situation.

use crate::controller::fixtures::{now, observed, planned, store, validated};
use crate::controller::plan::tests::{
    CHILDREN, DONE, REFUSED, UID, dying, filled, filling, job, running,
};
use crate::controller::plan::{JobKind, State, Step};
use crate::controller::report;
use crate::crd::{MySQLStatus, Phase};
use crate::ledger::{Backup, Ledger};

const BACKED_UP: &str = r#"{"op":"backup","opId":"x","result":"ok","generation":"gen-000001-x","bytes":5,"sha256":"s","rows":2}"#;
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

/// Whoever waits for the word, or is alerted by it, must not have to be there at the right moment.
#[test]
fn a_blocked_deletion_says_so_from_the_first_failed_attempt_until_one_succeeds() {
    let operation = "final-11111111-77777777";
    let refused = |ended| job("backup", UID, operation, ended, REFUSED);
    let failed_pod =
        |job: String| job.replace("status:\n  cont", "status:\n  phase: Failed\n  cont");
    let under_way = "kind: Job\nmetadata: {name: backup-shop-db-job, uid: job-2, annotations: \
        {otus.homework/instance-uid: 11111111-2222, otus.homework/operation-id: final-11111111-77777777}}";
    let going = under_way.replace("uid: job-2", "deletionTimestamp: '2026-01-01T12:00:00Z'");
    let restore = job("restore", UID, &filling(), "Complete", DONE);
    let lasting = [
        (
            "an attempt failed, the Job goes on",
            failed_pod(refused("")),
        ),
        ("the Job was given up", refused("Failed")),
        ("the Job is being removed", going),
        ("the Job is gone", String::new()),
        ("something else is in the way", restore),
        ("another Job has just begun", under_way.to_owned()),
        ("its first attempt failed", failed_pod(refused(""))),
    ];
    let mut status = MySQLStatus::default();
    let mut tell = |objects: &str| {
        let observed = running(&dying(), objects);
        let (plan, validated) = (
            planned(&dying(), &observed),
            validated(&dying(), &observed).unwrap(),
        );
        status = report::status(&status, Some(1), &validated, &plan, now());
        let reason = |type_| status.condition(type_).unwrap().reason.clone();
        (
            reason("Ready"),
            reason("FinalBackup"),
            status.phase.unwrap(),
        )
    };
    assert_eq!(tell(under_way).0, "BackingUp");
    for (moment, objects) in lasting {
        let (ready, backup, phase) = tell(&objects);
        assert_eq!(ready, "DeletionBlocked", "{moment}");
        assert_eq!(backup, "DatabaseMissing", "{moment}");
        assert_eq!(phase, Phase::Blocked, "{moment}");
    }
    let done = job("backup", UID, operation, "Complete", BACKED_UP);
    let (ready, backup, phase) = tell(&done);
    assert_eq!((ready.as_str(), backup.as_str()), ("Stopping", "Verified"));
    assert_eq!(phase, Phase::Deleting);
}

#[test]
fn a_verified_backup_is_recorded_before_the_server_goes() {
    let done = job(
        "backup",
        UID,
        "final-11111111-77777777",
        "Complete",
        BACKED_UP,
    );
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
        let job = job(
            "backup",
            UID,
            "final-11111111-77777777",
            "Complete",
            message,
        );
        let plan = planned(&dying(), &running(&dying(), &job));
        assert_eq!(plan.state, State::ClearingJobs, "{message}");
        assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Backup)));
        assert!(!plan.steps.contains(&Step::RemoveDeployment));
    }
}

#[test]
fn a_failed_backup_blocks_the_deletion_and_removes_nothing() {
    let failed = job("backup", UID, "final-11111111-77777777", "Failed", REFUSED);
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
fn a_lost_secret_does_not_make_an_instance_forget_that_it_was_filled() {
    let mut resource = dying();
    resource.status = serde_yaml::from_str("initialized: true").unwrap();
    let plan = planned(&resource, &observed(CHILDREN));
    assert!(plan.steps.contains(&Step::Start(JobKind::Backup)));
}

#[test]
fn a_secret_lost_while_the_instance_goes_is_made_anew_with_the_password_of_the_spec() {
    let mut resource = dying();
    resource.status = serde_yaml::from_str("initialized: true").unwrap();
    let plan = planned(&resource, &observed(CHILDREN));
    assert_eq!(plan.steps.first(), Some(&Step::StoreLedger));
    assert!(plan.ledger.has_password(1));
    assert_eq!(plan.ledger.record.image, "mysql:5.7");

    // Where it is nowhere any more, the Job says what it lacks instead of waiting for a key that never comes.
    resource.spec.password = None;
    let plan = planned(&resource, &observed(CHILDREN));
    let validated = crate::controller::fixtures::validated(&resource, &observed(CHILDREN)).unwrap();
    let job = crate::controller::build::build(&validated, &plan.ledger, None).backup_job;
    let text = serde_json::to_string(&job).unwrap();
    assert!(!text.contains("root-password-"), "{text}");
}

#[test]
fn what_the_old_operator_holds_is_backed_up_and_goes() {
    let mut resource = dying();
    resource.metadata.finalizers = Some(vec!["kopf.zalando.org/KopfFinalizerMarker".to_owned()]);
    let child = CHILDREN.replace(", otus.homework/layout: data-and-state", "");
    let plan = planned(&resource, &observed(&child));
    assert_eq!(plan.state, State::BackingUp { trouble: None });
    assert!(plan.steps.contains(&Step::Start(JobKind::Backup)));
    assert!(!plan.steps.contains(&Step::AddFinalizer));
}

fn backed_up_on(claim: &str) -> impl FnOnce(&mut Ledger) {
    let claim = claim.to_owned();
    move |ledger| {
        filled(ledger);
        ledger.record.final_backup = Some(Backup {
            generation: "g".into(),
            bytes: 1,
            sha256: "s".into(),
            rows: 2,
        });
        ledger.record.backup_claim = Some(claim);
    }
}

#[test]
fn a_last_backup_that_went_away_with_its_claim_is_made_again_before_the_data_go() {
    let mut world = observed(CHILDREN);
    store(&mut world, &dying(), backed_up_on("77777777-8888"));
    assert_eq!(planned(&dying(), &world).state, State::Stopping);

    store(&mut world, &dying(), backed_up_on("another-claim"));
    let old = job(
        "backup",
        UID,
        "final-11111111-another",
        "Complete",
        BACKED_UP,
    );
    let of_old = observed(&old);
    world.backup_job = of_old.backup_job;
    let plan = planned(&dying(), &world);
    assert_eq!(plan.state, State::ClearingJobs);
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Backup)));
    assert!(!plan.steps.contains(&Step::RemoveDeployment));
    assert_eq!(plan.ledger.record.final_backup, None);

    // There is none yet: first it is made.
    world.backup_job = None;
    world.backup_claim = None;
    let plan = planned(&dying(), &world);
    assert!(
        plan.steps.contains(&Step::Ensure) && !plan.steps.contains(&Step::Start(JobKind::Backup))
    );

    // Data that are going already do not come back.
    let mut going = observed(&CHILDREN.replace(
        "name: shop-db-pvc",
        "name: shop-db-pvc\n  deletionTimestamp: '2026-01-01T11:59:59Z'",
    ));
    store(&mut going, &dying(), backed_up_on("another-claim"));
    assert_eq!(planned(&dying(), &going).state, State::Stopping);
}

#[test]
fn rows_on_a_volume_whose_claim_somebody_removed_do_not_go_without_a_backup() {
    let mut world = running(
        &dying(),
        "kind: PersistentVolume\nmetadata: {name: shop-db-pv}\n\
         spec: {claimRef: {namespace: shop, name: shop-db-pvc, uid: gone}}",
    );
    world.data_claim = None;
    let plan = planned(&dying(), &world);
    assert_eq!(plan.state, State::BackingUp { trouble: None });
    assert!(plan.steps.contains(&Step::ReleaseDataVolume));
}
