//! What is done to a serving instance in which situation.

use super::{Progress, Task};
use crate::controller::fixtures::{now, planned, resource, store};
use crate::controller::observe::Observed;
use crate::controller::plan::tests::{UID, alive, filled, job, running};
use crate::controller::plan::{JobKind, Plan, State, Step};
use crate::crd::{BackupSpec, MySQL};
use crate::ledger::{Ledger, Upgrade};
use crate::names;

const REPORT: &str = r#"{"op":"backup","opId":"x","result":"ok","generation":"gen-000001-x","bytes":5,"sha256":"s","rows":2}"#;
const PROBED: &str = r#"{"op":"probe","opId":"x","result":"ok","server":"mysql 9.7.4"}"#;
const REFUSED: &str = r#"{"op":"restore-test","opId":"x","result":"refused","reason":"ChecksumMismatch","detail":"damaged"}"#;

fn annotated(key: &str, value: &str) -> MySQL {
    let mut instance = alive();
    instance.metadata.annotations = Some([(key.to_owned(), value.to_owned())].into());
    instance
}

fn with_image(image: &str) -> MySQL {
    let mut instance = alive();
    image.clone_into(&mut instance.spec.image);
    instance
}

/// The instance has run `mysql:5.7`, whatever its resource says now.
fn seen(instance: &MySQL, more: &str, change: impl FnOnce(&mut Ledger)) -> Observed {
    let mut observed = running(instance, more);
    store(&mut observed, instance, |ledger| {
        filled(ledger);
        "mysql:5.7".clone_into(&mut ledger.record.image);
        ledger.record.server = Some("mysql 8.4.2".to_owned());
        change(ledger);
    });
    observed
}

fn errand(plan: &Plan) -> Option<(&str, &Task)> {
    plan.errand
        .as_ref()
        .map(|errand| (errand.operation.as_str(), &errand.task))
}

fn starts(plan: &Plan) -> bool {
    plan.steps.contains(&Step::Start(JobKind::Upkeep))
}

#[test]
fn a_backup_that_is_asked_for_is_made_once_for_each_wish() {
    let instance = annotated(names::BACKUP_NOW, "tuesday");
    let plan = planned(&instance, &seen(&instance, "", |_| {}));
    assert!(starts(&plan));
    let (operation, task) = errand(&plan).unwrap();
    assert!(matches!(
        task,
        Task::Backup {
            before_upgrade: false
        }
    ));
    assert_eq!(plan.state, State::Ready);

    let ended = job("upkeep", UID, operation, "Complete", REPORT);
    let plan = planned(&instance, &seen(&instance, &ended, |_| {}));
    let upkeep = &plan.ledger.record.upkeep;
    assert_eq!(upkeep.asked_backup.as_deref(), Some("tuesday"));
    assert!(plan.backed_up.is_some());
    assert!(
        plan.steps
            .contains(&Step::MarkBackups("gen-000001-x".to_owned()))
    );
    assert_eq!(errand(&plan), None);

    let recorded = upkeep.clone();
    let plan = planned(
        &instance,
        &seen(&instance, &ended, |ledger| ledger.record.upkeep = recorded),
    );
    assert!(plan.backed_up.is_none(), "the same backup is told twice");
    assert!(!plan.steps.contains(&Step::StoreLedger));
}

#[test]
fn a_scheduled_backup_is_made_when_it_is_due_and_not_for_moments_before_the_schedule() {
    let scheduled = resource(|resource| {
        *resource = alive();
        resource.spec.backup = Some(BackupSpec {
            keep: None,
            schedule: Some("0 * * * *".to_owned()),
        });
    });
    let plan = planned(&scheduled, &seen(&scheduled, "", |_| {}));
    assert_eq!(errand(&plan), None, "the schedule is new");
    assert!(plan.again.as_secs() <= 3600);
    let since = |seconds: i64| {
        seen(&scheduled, "", |ledger| {
            ledger.record.upkeep.schedule = Some("0 * * * *".to_owned());
            ledger.record.upkeep.scheduled = Some(now().as_second() - seconds);
        })
    };
    let plan = planned(&scheduled, &since(10_000));
    let expected = format!("scheduled-{}", now().as_second());
    assert_eq!(errand(&plan).unwrap().0, expected);
    assert_eq!(errand(&planned(&scheduled, &since(0))), None);
}

#[test]
fn another_image_is_looked_at_before_the_server_is_touched() {
    let instance = with_image("mysql:9");
    let plan = planned(&instance, &seen(&instance, "", |_| {}));
    assert_eq!(plan.state, State::Upgrading);
    assert_eq!(plan.ledger.record.image, "mysql:5.7");
    let (operation, task) = errand(&plan).unwrap();
    assert_eq!(task, &Task::Probe);
    assert_eq!(plan.errand.as_ref().unwrap().image, "mysql:9");

    let ended = job("upkeep", UID, operation, "Complete", PROBED);
    let plan = planned(&instance, &seen(&instance, &ended, |_| {}));
    assert_eq!(plan.ledger.record.image, "mysql:5.7", "no backup yet");
    let (operation, task) = errand(&plan).unwrap();
    assert_eq!(
        task,
        &Task::Backup {
            before_upgrade: true
        }
    );
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Upkeep)));

    let ended = job("upkeep", UID, operation, "Complete", REPORT);
    let probed = plan.ledger.record.upkeep.clone();
    let plan = planned(
        &instance,
        &seen(&instance, &ended, |ledger| ledger.record.upkeep = probed),
    );
    assert_eq!(plan.ledger.record.image, "mysql:9");
    assert_eq!(plan.ledger.record.server.as_deref(), Some("mysql 9.7.4"));
    assert_eq!(plan.ledger.record.upkeep.upgrade, None);
}

#[test]
fn a_server_that_cannot_read_the_data_is_refused_and_the_old_one_stays() {
    let instance = with_image("mysql:5.6");
    let older = |ledger: &mut Ledger| {
        ledger.record.upkeep.upgrade = Some(Upgrade {
            image: "mysql:5.6".to_owned(),
            server: "mysql 5.6.51".to_owned(),
            backed_up: false,
        });
    };
    let plan = planned(&instance, &seen(&instance, "", older));
    assert!(
        matches!(&plan.state, State::UpgradeRefused(failure) if failure.reason == "DowngradeNotSupported")
    );
    assert_eq!(plan.ledger.record.image, "mysql:5.7");
    assert_eq!(errand(&plan), None);

    let forced = resource(|resource| {
        *resource = instance.clone();
        resource.metadata.annotations =
            Some([(names::UPGRADE.to_owned(), "force".to_owned())].into());
    });
    let plan = planned(&forced, &seen(&forced, "", older));
    assert_eq!(plan.ledger.record.image, "mysql:5.6");
    assert_eq!(plan.state, State::Ready);
}

#[test]
fn a_probe_of_an_image_that_nobody_wants_any_more_is_broken_off() {
    let instance = alive();
    let waiting = job("upkeep", UID, "probe-00000000-2", "", "");
    let plan = planned(&instance, &seen(&instance, &waiting, |_| {}));
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Upkeep)));
}

#[test]
fn a_backup_under_way_is_left_to_end_before_the_password_changes() {
    let instance = resource(|resource| {
        *resource = alive();
        resource.spec.password = Some("new".to_owned());
    });
    let busy = job("upkeep", UID, "scheduled-1", "", "");
    let mut observed = running(&alive(), &busy);
    let plan = planned(&instance, &observed);
    assert!(!plan.steps.contains(&Step::Start(JobKind::Password)));
    observed.upkeep_job = None;
    let plan = planned(&instance, &observed);
    assert!(plan.steps.contains(&Step::Start(JobKind::Password)));
}

#[test]
fn a_restore_test_that_cannot_pass_has_an_answer_and_is_not_repeated() {
    let instance = annotated(names::RESTORE_TEST, "gen-000001-x/again");
    let plan = planned(&instance, &seen(&instance, "", |_| {}));
    let (operation, task) = errand(&plan).unwrap();
    let generation = Some("gen-000001-x".to_owned());
    assert_eq!(task, &Task::RestoreTest { generation });
    let ended = job("upkeep", UID, operation, "Failed", REFUSED);
    let plan = planned(&instance, &seen(&instance, &ended, |_| {}));
    let test = plan.ledger.record.upkeep.restore_test.as_ref().unwrap();
    assert!(!test.passed);
    assert_eq!(test.reason, "ChecksumMismatch");
    assert_eq!(errand(&plan), None);
}

#[test]
fn the_password_is_looked_after_when_the_time_has_come() {
    let instance = alive();
    let long_ago = |ledger: &mut Ledger| {
        ledger.record.upkeep.password_checked = Some(now().as_second() - 7 * 3600);
    };
    let plan = planned(&instance, &seen(&instance, "", long_ago));
    let (operation, task) = errand(&plan).unwrap();
    assert_eq!(task, &Task::CheckPassword);
    let set = r#"{"op":"password","opId":"x","result":"ok","reason":"Set"}"#;
    let ended = job("upkeep", UID, operation, "Complete", set);
    let plan = planned(&instance, &seen(&instance, &ended, long_ago));
    assert!(plan.repaired);
    assert_eq!(errand(&plan), None);
}

#[test]
fn an_errand_that_failed_says_why_and_is_tried_again_later() {
    let instance = annotated(names::BACKUP_NOW, "x");
    let plan = planned(&instance, &seen(&instance, "", |_| {}));
    let operation = errand(&plan).unwrap().0.to_owned();
    let full = r#"{"op":"backup","opId":"x","result":"failed","reason":"BackupVolumeFull","detail":"full"}"#;
    let failed = job("upkeep", UID, &operation, "Failed", full);
    let plan = planned(&instance, &seen(&instance, &failed, |_| {}));
    assert!(
        matches!(&plan.progress, Progress::Failed { failure, .. } if failure.reason == "BackupVolumeFull")
    );
    assert_eq!(plan.again.as_secs(), 50);
    assert_eq!(plan.state, State::Ready, "the instance serves all the same");
}

#[test]
fn a_backup_is_made_on_a_claim_that_takes_the_place_of_the_one_with_the_backups() {
    let on = |claim: &'static str| {
        move |ledger: &mut Ledger| ledger.record.backup_claim = Some(claim.to_owned())
    };
    let instance = with_image("mysql:5.7");
    let plan = planned(&instance, &seen(&instance, "", on("77777777-8888")));
    assert_eq!(errand(&plan), None);

    let world = seen(&instance, "", on("earlier"));
    let plan = planned(&instance, &world);
    let (operation, task) = errand(&plan).unwrap();
    assert!(operation.starts_with("replaced-") && matches!(task, Task::Backup { .. }));

    let ended = job("upkeep", UID, operation, "Complete", REPORT);
    let plan = planned(&instance, &seen(&instance, &ended, on("earlier")));
    assert_eq!(
        plan.ledger.record.backup_claim.as_deref(),
        Some("77777777-8888")
    );
    assert_eq!(errand(&plan), None);
}

#[test]
fn an_image_that_cannot_be_had_keeps_nobody_from_a_backup() {
    let mut instance = with_image("mysql:8.4-typo");
    let waiting = planned(&instance, &seen(&instance, "", |_| {}));
    let (operation, task) = errand(&waiting).unwrap();
    assert_eq!(*task, Task::Probe);
    let stuck = job("upkeep", UID, operation, "", "");
    instance.metadata.annotations = Some([(names::BACKUP_NOW.to_owned(), "now".to_owned())].into());
    let plan = planned(&instance, &seen(&instance, &stuck, |_| {}));
    assert!(matches!(errand(&plan), Some((_, Task::Backup { .. }))));
    assert!(plan.steps.contains(&Step::RemoveJob(JobKind::Upkeep)));
}

#[test]
fn a_clock_that_was_set_back_does_not_stop_what_is_due() {
    let mut instance = with_image("mysql:5.7");
    instance.spec.backup = Some(BackupSpec {
        schedule: Some("@hourly".to_owned()),
        keep: None,
    });
    // The last ones were made when the clock was a year ahead.
    let later = now().as_second() + 365 * 24 * 3600;
    let world = seen(&instance, "", |ledger| {
        let upkeep = &mut ledger.record.upkeep;
        upkeep.schedule = Some("@hourly".to_owned());
        upkeep.scheduled = Some(later);
        upkeep.password_checked = Some(later);
    });
    let upkeep = planned(&instance, &world).ledger.record.upkeep;
    assert_eq!(upkeep.scheduled, Some(now().as_second()));
    assert_eq!(upkeep.password_checked, Some(now().as_second()));
}
