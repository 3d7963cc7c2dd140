//! The Jobs: `mysql-job` in the instance's own image, so that client and server always fit.
//!
//! An init container of the operator's image copies the program; credentials come as files. Jobs do
//! not carry the label that users select the server's pod by.

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{PodTemplateSpec, VolumeMount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mysql_job::arguments::RestoreMode;
use mysql_job::report::EXIT_PERMANENT;

use super::{labels, metadata, pod};
use crate::controller::observe::job::CONTAINER;
use crate::controller::plan::{create, delete};
use crate::controller::trouble;
use crate::controller::validate::Validated;
use crate::ledger::{self, Ledger};
use crate::names;
use crate::quantity;

const PROGRAM_DIRECTORY: &str = "/job";
const CREDENTIALS: &str = "/credentials";
const WORK: &str = "/work";
/// Longer than any server may take; what keeps a Job waiting is told long before.
const DEADLINE_SECONDS: i64 = 24 * 3600;

/// What a Job is for.
pub(super) struct Intent<'a> {
    pub(super) command: &'static str,
    pub(super) name: String,
    pub(super) component: &'static str,
    pub(super) operation: String,
    /// The image it runs in.
    pub(super) image: &'a str,
    /// Where its server is.
    pub(super) host: String,
    /// The password it sets.
    pub(super) sequence: Option<u64>,
    /// It works on the backup volume.
    pub(super) with_backups: bool,
    /// How long the server may take to answer.
    pub(super) patience_seconds: u32,
    pub(super) arguments: Vec<String>,
    pub(super) ledger: &'a Ledger,
}

pub(super) fn restore(validated: &Validated, ledger: &Ledger) -> Job {
    let wish = &validated.restore;
    let mut arguments = backup_arguments(validated);
    arguments.extend(["--legacy".to_owned(), validated.instance.legacy_dump()]);
    for (option, value) in [
        ("--from-database", &wish.from_database),
        ("--generation", &wish.generation),
        ("--expect-backup", &validated.expect_backup),
    ] {
        if let Some(value) = value {
            arguments.extend([option.to_owned(), value.clone()]);
        }
    }
    if let Some(bytes) = quantity::bytes(&validated.storage) {
        arguments.extend(["--capacity".to_owned(), bytes.to_string()]);
    }
    let flags = [
        ("--skip", wish.mode == RestoreMode::Skip),
        ("--force", wish.mode == RestoreMode::Force),
        ("--adopt", ledger.record.adopted),
    ];
    arguments.extend(
        flags
            .iter()
            .filter(|(_, set)| *set)
            .map(|(flag, _)| (*flag).to_owned()),
    );
    job(
        validated,
        &Intent {
            command: "restore",
            name: validated.instance.restore_job(),
            component: "restore",
            operation: create::restore_operation(validated),
            image: &validated.image,
            host: validated.instance.admin_service(),
            sequence: Some(ledger.record.desired),
            with_backups: true,
            patience_seconds: 3600,
            arguments,
            ledger,
        },
    )
}

pub(super) fn backup(validated: &Validated, ledger: &Ledger) -> Job {
    let mut arguments = backup_arguments(validated);
    arguments.extend(["--keep".to_owned(), validated.keep.to_string()]);
    arguments.push("--fence".to_owned());
    job(
        validated,
        &Intent {
            command: "backup",
            name: validated.instance.backup_job(),
            component: "backup",
            operation: delete::backup_operation(validated),
            image: &validated.image,
            host: validated.instance.admin_service(),
            sequence: None,
            with_backups: true,
            patience_seconds: 300,
            arguments,
            ledger,
        },
    )
}

pub(super) fn password(validated: &Validated, ledger: &Ledger) -> Job {
    job(
        validated,
        &Intent {
            command: "password",
            name: validated.instance.password_job(),
            component: "password",
            operation: create::password_operation(validated, ledger.record.desired),
            image: &validated.image,
            host: validated.instance.admin_service(),
            sequence: Some(ledger.record.desired),
            with_backups: false,
            patience_seconds: 300,
            arguments: Vec::new(),
            ledger,
        },
    )
}

pub(super) fn backup_arguments(validated: &Validated) -> Vec<String> {
    vec![
        "--database".to_owned(),
        validated.database.clone(),
        "--backups".to_owned(),
        validated.instance.backup_mount(),
    ]
}

pub(super) fn job(validated: &Validated, intent: &Intent<'_>) -> Job {
    let mut metadata = metadata(validated, intent.name.clone(), intent.component);
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(names::OPERATION_ID.to_owned(), intent.operation.clone());
    if let Some(sequence) = intent.sequence {
        annotations.insert(names::PASSWORD_SEQUENCE.to_owned(), sequence.to_string());
    }
    if let (true, Some(claim)) = (intent.with_backups, &validated.backup_claim) {
        annotations.insert(names::BACKUP_CLAIM.to_owned(), claim.clone());
    }
    Job {
        metadata,
        spec: Some(JobSpec {
            backoff_limit: Some(3),
            active_deadline_seconds: Some(DEADLINE_SECONDS),
            // Two pods of one Job must not work on one server.
            pod_replacement_policy: Some("Failed".to_owned()),
            pod_failure_policy: Some(PodFailurePolicy {
                rules: vec![PodFailurePolicyRule {
                    action: "FailJob".to_owned(),
                    on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                        container_name: Some(CONTAINER.to_owned()),
                        operator: "In".to_owned(),
                        values: vec![i32::from(EXIT_PERMANENT)],
                    }),
                    on_pod_conditions: None,
                }],
            }),
            template: template(validated, intent),
            ..JobSpec::default()
        }),
        ..Job::default()
    }
}

fn template(validated: &Validated, intent: &Intent<'_>) -> PodTemplateSpec {
    let backups = intent
        .with_backups
        .then(|| pod::mount("backups", &validated.instance.backup_mount()));
    let program = format!("{PROGRAM_DIRECTORY}/mysql-job");
    let mut install: Vec<String> = ["install", "--to", &program].map(str::to_owned).into();
    if intent.with_backups {
        install.extend(["--own".to_owned(), validated.instance.backup_mount()]);
        install.extend(pod::owner(validated));
    }
    let mut init = pod::init_container(validated, trouble::INSTALL, install);
    init.volume_mounts = Some(with(
        vec![pod::mount("program", PROGRAM_DIRECTORY)],
        backups.clone(),
    ));
    let mut main = pod::container(CONTAINER, intent.image, ("64Mi", "1Gi"));
    main.command = Some(vec![program]);
    main.args = Some(arguments(validated, intent));
    main.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    main.volume_mounts = Some(with(
        vec![
            pod::mount("program", PROGRAM_DIRECTORY),
            pod::mount("credentials", CREDENTIALS),
            pod::mount("work", WORK),
            pod::mount("tmp", "/tmp"),
        ],
        backups,
    ));
    let mut spec = pod::spec(validated);
    spec.restart_policy = Some("Never".to_owned());
    // Every operation can be broken off at any point.
    spec.termination_grace_period_seconds = Some(1);
    spec.init_containers = Some(vec![init]);
    spec.containers = vec![main];
    let mut volumes = vec![
        pod::scratch("program"),
        credentials(validated, intent),
        pod::scratch_in_memory("work"),
        pod::scratch("tmp"),
    ];
    if intent.with_backups {
        volumes.push(pod::claimed("backups", validated.instance.backup_claim()));
    }
    spec.volumes = Some(volumes);
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels(validated, intent.component)),
            // A proxy beside it would never end, and so the Job would not.
            annotations: Some([("sidecar.istio.io/inject".to_owned(), "false".to_owned())].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(spec),
    }
}

fn with(mut mounts: Vec<VolumeMount>, more: Option<VolumeMount>) -> Vec<VolumeMount> {
    mounts.extend(more);
    mounts
}

fn arguments(validated: &Validated, intent: &Intent<'_>) -> Vec<String> {
    let pairs = [
        ("--operation", intent.operation.clone()),
        ("--instance", validated.instance.to_string()),
        ("--instance-uid", validated.uid.clone()),
        ("--host", intent.host.clone()),
        ("--credentials", CREDENTIALS.to_owned()),
        ("--work", WORK.to_owned()),
        ("--patience", intent.patience_seconds.to_string()),
    ];
    let mut arguments = vec![intent.command.to_owned()];
    arguments.extend(
        pairs
            .into_iter()
            .flat_map(|(option, value)| [option.to_owned(), value]),
    );
    arguments.extend(intent.arguments.clone());
    arguments
}

/// Passwords under keys that are written once: a Job sees the one it was started for, or does not start.
fn credentials(validated: &Validated, intent: &Intent<'_>) -> k8s_openapi::api::core::v1::Volume {
    let mut items = vec![
        (ledger::OPERATOR_USER_KEY.to_owned(), "operator-user"),
        (ledger::OPERATOR_PASSWORD.to_owned(), "operator-password"),
        (ledger::BOOTSTRAP_PASSWORD.to_owned(), "bootstrap-password"),
    ];
    let record = &intent.ledger.record;
    let wanted = intent.sequence.or(record.applied).unwrap_or(record.desired);
    if intent.ledger.has_password(wanted) {
        items.push((ledger::password_key(wanted), "root-password"));
    }
    if let Some(applied) = record.applied.filter(|applied| *applied != wanted) {
        items.push((ledger::password_key(applied), "previous-root-password"));
    }
    let items: Vec<(&str, &str)> = items
        .iter()
        .map(|(key, path)| (key.as_str(), *path))
        .collect();
    pod::secret("credentials", validated.instance.secret(), &items)
}
