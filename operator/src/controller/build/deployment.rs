//! The server: one pod, replaced only when it is gone, open to clients only when its rows are back.
//!
//! The password of the spec is not in it: changing the password leaves the pod alone. There is no
//! liveness probe: a server that recovers must not be killed for being slow.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, PodReadinessGate, PodSpec, PodTemplateSpec, Probe, TCPSocketAction,
    Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use mysql_job::prepare;

use super::{labels, metadata, pod};
use crate::controller::trouble;
use crate::controller::validate::{Layout, Validated};
use crate::ledger;
use crate::names;

const CONTAINER: &str = "mysql";
pub(super) const DATA: &str = "data";
pub(super) const DATA_DIRECTORY: &str = "/var/lib/mysql";
const INITIALISATION: &str = "initialisation";
const CLIENT: &str = "client";
const CLIENT_DIRECTORY: &str = "/etc/mysql-operator";
const RECORD: &str = "record";
/// Directories that the server writes to beside its data; the root file system is read-only.
pub(super) const SCRATCH: [(&str, &str); 3] = [
    ("tmp", "/tmp"),
    ("run", "/var/run/mysqld"),
    ("files", "/var/lib/mysql-files"),
];
/// Both are known to every MySQL since 5.7 and every MariaDB. Names are looked up by nobody, and
/// connections that a probe breaks off block no host.
const ARGUMENTS: [&str; 2] = ["--skip-name-resolve", "--max-connect-errors=4294967295"];

pub(super) fn server(validated: &Validated) -> Deployment {
    let instance = &validated.instance;
    let selector = [(names::APP.to_owned(), instance.name.clone())];
    let mut template_labels = labels(validated, "server");
    template_labels.extend(selector.clone());
    Deployment {
        metadata: metadata(validated, instance.deployment(), "server"),
        spec: Some(DeploymentSpec {
            replicas: Some(1),
            // Two servers on one data directory would destroy it.
            strategy: Some(DeploymentStrategy {
                type_: Some("Recreate".to_owned()),
                rolling_update: None,
            }),
            selector: LabelSelector {
                match_labels: Some(selector.into()),
                ..LabelSelector::default()
            },
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(template_labels),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(validated)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod_spec(validated: &Validated) -> PodSpec {
    PodSpec {
        readiness_gates: Some(vec![PodReadinessGate {
            condition_type: names::READINESS_GATE.to_owned(),
        }]),
        // A large buffer pool takes its time to reach the disk.
        termination_grace_period_seconds: Some(120),
        init_containers: init_containers(validated),
        containers: vec![mysql(validated)],
        volumes: Some(volumes(validated)),
        ..pod::spec(validated)
    }
}

fn init_containers(validated: &Validated) -> Option<Vec<Container>> {
    match validated.layout {
        Layout::Root => None,
        Layout::Own => {
            let mut arguments: Vec<String> = [
                "prepare",
                "--volume",
                "/volume",
                "--initialized",
                "/record/initialized",
            ]
            .map(str::to_owned)
            .into();
            arguments.extend(pod::owner(validated));
            let mut container = pod::init_container(validated, trouble::PREPARE, arguments);
            container.volume_mounts = Some(vec![
                pod::mount(DATA, "/volume"),
                pod::mount(RECORD, "/record"),
            ]);
            Some(vec![container])
        }
    }
}

fn mysql(validated: &Validated) -> Container {
    let mut container = pod::container(CONTAINER, &validated.image, ("256Mi", "2Gi"));
    container.args = Some(ARGUMENTS.map(str::to_owned).into());
    container.env = Some(vec![
        pod::secret_variable(
            "MYSQL_ROOT_PASSWORD",
            validated.instance.secret(),
            ledger::BOOTSTRAP_PASSWORD,
        ),
        pod::variable("MYSQL_DATABASE", &validated.database),
        pod::variable("MYSQL_ROOT_HOST", "%"),
        // Client programs in the pod are root by default, as they are where the container is.
        pod::variable("MYSQL_HOME", CLIENT_DIRECTORY),
    ]);
    container.ports = Some(vec![ContainerPort {
        name: Some(names::PORT_NAME.to_owned()),
        container_port: names::PORT,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }]);
    // While the image initialises, the server listens on its socket only: TCP tells the two apart.
    container.readiness_probe = Some(Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(names::PORT),
            host: None,
        }),
        period_seconds: Some(1),
        timeout_seconds: Some(1),
        failure_threshold: Some(3),
        success_threshold: Some(1),
        ..Probe::default()
    });
    container.volume_mounts = Some(mounts(validated));
    container
}

fn mounts(validated: &Validated) -> Vec<VolumeMount> {
    let mut mounts = match validated.layout {
        Layout::Own => vec![
            pod::mount_part(DATA, DATA_DIRECTORY, prepare::DATA),
            pod::mount_part(DATA, ledger::STATE_MOUNT, prepare::STATE),
            pod::mount(INITIALISATION, "/docker-entrypoint-initdb.d"),
        ],
        Layout::Root => vec![pod::mount(DATA, DATA_DIRECTORY)],
    };
    mounts.push(pod::mount(CLIENT, CLIENT_DIRECTORY));
    mounts.extend(SCRATCH.map(|(name, path)| pod::mount(name, path)));
    mounts
}

fn volumes(validated: &Validated) -> Vec<Volume> {
    let instance = &validated.instance;
    let mut volumes = vec![pod::claimed(DATA, instance.data_claim())];
    match validated.layout {
        Layout::Own => volumes.extend([
            pod::secret(
                INITIALISATION,
                instance.secret(),
                &[
                    (ledger::ACCOUNT_SCRIPT, ledger::ACCOUNT_SCRIPT),
                    (ledger::MARK_SCRIPT, ledger::MARK_SCRIPT),
                ],
            ),
            pod::secret(
                RECORD,
                instance.secret(),
                &[(ledger::INITIALIZED, "initialized")],
            ),
        ]),
        Layout::Root => {}
    }
    volumes.push(pod::secret(
        CLIENT,
        instance.secret(),
        &[(ledger::CLIENT_OPTIONS, "my.cnf")],
    ));
    volumes.extend(SCRATCH.map(|(name, _)| pod::scratch(name)));
    volumes
}
