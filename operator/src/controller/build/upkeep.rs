//! The Job for everything that is done to an instance while it serves.
//!
//! A restore test brings a server of its own in the Job's pod: empty, on a scratch volume, gone with the pod.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Container;

use super::deployment::{DATA, DATA_DIRECTORY, SCRATCH};
use super::job::{Intent, backup_arguments, job as job_for};
use super::pod;
use crate::controller::plan::upkeep::{Errand, Task};
use crate::controller::validate::Validated;
use crate::ledger::{self, Ledger};

pub(super) fn job(validated: &Validated, ledger: &Ledger, errand: &Errand) -> Job {
    let mut intent = Intent {
        command: "probe",
        name: validated.instance.upkeep_job(),
        component: "upkeep",
        operation: errand.operation.clone(),
        image: &errand.image,
        host: validated.instance.admin_service(),
        sequence: None,
        with_backups: false,
        patience_seconds: 300,
        arguments: Vec::new(),
        ledger,
    };
    match &errand.task {
        Task::Probe => job_for(validated, &intent),
        Task::CheckPassword => {
            intent.command = "password";
            intent.sequence = Some(ledger.record.desired);
            job_for(validated, &intent)
        }
        Task::Backup { before_upgrade } => {
            intent.command = "backup";
            intent.with_backups = true;
            intent.arguments = backup_arguments(validated);
            intent
                .arguments
                .extend(["--keep".to_owned(), validated.keep.to_string()]);
            if *before_upgrade {
                intent.arguments.push("--before-upgrade".to_owned());
            }
            job_for(validated, &intent)
        }
        Task::RestoreTest { generation } => {
            intent.command = "restore-test";
            intent.with_backups = true;
            "127.0.0.1".clone_into(&mut intent.host);
            intent.arguments = backup_arguments(validated);
            intent
                .arguments
                .extend(["--legacy".to_owned(), validated.instance.legacy_dump()]);
            if let Some(generation) = generation {
                intent
                    .arguments
                    .extend(["--generation".to_owned(), generation.clone()]);
            }
            with_server(validated, job_for(validated, &intent))
        }
    }
}

/// Adds an empty server beside the Job's program.
fn with_server(validated: &Validated, mut job: Job) -> Job {
    if let Some(spec) = job
        .spec
        .as_mut()
        .and_then(|spec| spec.template.spec.as_mut())
    {
        spec.init_containers
            .get_or_insert_default()
            .push(server(validated));
        let volumes = spec.volumes.get_or_insert_default();
        volumes.push(pod::scratch(DATA));
        volumes.extend(
            SCRATCH
                .iter()
                .filter(|(name, _)| *name != "tmp")
                .map(|(name, _)| pod::scratch(name)),
        );
    }
    job
}

fn server(validated: &Validated) -> Container {
    let mut server = pod::container("scratch-server", &validated.image, ("256Mi", "2Gi"));
    // It starts before the program and is ended after it.
    server.restart_policy = Some("Always".to_owned());
    server.args = Some(vec!["--skip-name-resolve".to_owned()]);
    server.env = Some(vec![
        pod::secret_variable(
            "MYSQL_ROOT_PASSWORD",
            validated.instance.secret(),
            ledger::BOOTSTRAP_PASSWORD,
        ),
        pod::variable("MYSQL_ROOT_HOST", "%"),
    ]);
    let mut mounts = vec![pod::mount(DATA, DATA_DIRECTORY)];
    mounts.extend(SCRATCH.map(|(name, path)| pod::mount(name, path)));
    server.volume_mounts = Some(mounts);
    server
}
