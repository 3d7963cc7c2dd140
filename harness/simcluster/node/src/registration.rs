//! The node's own objects: Node, and the Lease that says it is alive.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{
            DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
            NodeStatus, NodeSystemInfo, ObjectReference,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time},
    },
};
use kube::{Api, api::Patch};
use serde_json::json;

use crate::{context::Context, events::Note, pod::conditions::whole_seconds, written};

/// How often the Lease is renewed; it is valid four times as long.
const RENEW: Duration = Duration::from_secs(10);
const VALID_SECONDS: i32 = 40;
/// How many pods a node takes.
pub(crate) const MOST_PODS: u32 = 110;

/// What a node says of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// Processors.
    pub(crate) cpus: usize,
    /// Memory, in KiB.
    pub(crate) memory_kib: u64,
    /// Disk, in KiB.
    pub(crate) disk_kib: u64,
}

impl Machine {
    /// This machine.
    pub(crate) fn read() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let info = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = info.lines().find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        });
        Self {
            cpus,
            memory_kib: memory.unwrap_or(4 << 20),
            disk_kib: 100 << 20,
        }
    }

    /// One that does not exist, the same everywhere.
    pub(crate) fn model() -> Self {
        Self {
            cpus: 16,
            memory_kib: 64 << 20,
            disk_kib: 100 << 20,
        }
    }
}

/// Creates the Node object, or takes over one of the same name.
pub(crate) async fn register(
    context: &Context,
    machine: &Machine,
    pod_cidr: &str,
) -> Result<(), kube::Error> {
    let api: Api<Node> = Api::all(context.client.clone());
    let node = node(context, machine, pod_cidr);
    let status = json!({"status": &node.status});
    let uid = match api.create(&written::by_post(), &node).await {
        Ok(created) => created.metadata.uid,
        Err(kube::Error::Api(error)) if error.code == 409 => {
            let existing = api.get(&context.node).await?;
            let labels = json!({"metadata": {"labels": node.metadata.labels}});
            api.patch(&context.node, &written::by_patch(), &Patch::Merge(labels))
                .await?;
            existing.metadata.uid
        }
        Err(error) => return Err(error),
    };
    api.patch_status(
        &context.node,
        &written::by_patch(),
        &Patch::Strategic(status),
    )
    .await?;
    let about = ObjectReference {
        kind: Some("Node".into()),
        name: Some(context.node.clone()),
        uid,
        ..ObjectReference::default()
    };
    for (reason, message) in [
        ("Starting", "Starting kubelet.".to_owned()),
        (
            "NodeReady",
            format!("Node {} status is now: NodeReady", context.node),
        ),
    ] {
        let event = Note {
            warning: false,
            reason: reason.into(),
            message,
        };
        context.recorder.record(about.clone(), event);
    }
    Ok(())
}

/// Renews the Lease until the task is dropped.
pub(crate) async fn keep_lease(context: Arc<Context>) {
    let api: Api<Lease> = Api::namespaced(context.client.clone(), "kube-node-lease");
    loop {
        let renewed = MicroTime(context.clock.now());
        let patch = json!({"spec": {"renewTime": renewed}});
        let result = match api
            .patch(&context.node, &written::by_patch(), &Patch::Merge(patch))
            .await
        {
            Err(kube::Error::Api(error)) if error.code == 404 => create_lease(&context, &api).await,
            other => other.map(drop),
        };
        if let Err(error) = result {
            // The namespace may not be there yet, or the server is busy.
            tracing::debug!(%error, "node lease not renewed");
        }
        tokio::time::sleep(RENEW).await;
    }
}

async fn create_lease(context: &Context, api: &Api<Lease>) -> Result<(), kube::Error> {
    let nodes: Api<Node> = Api::all(context.client.clone());
    let uid = nodes
        .get(&context.node)
        .await?
        .metadata
        .uid
        .unwrap_or_default();
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(context.node.clone()),
            owner_references: Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: context.node.clone(),
                uid,
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(context.node.clone()),
            lease_duration_seconds: Some(VALID_SECONDS),
            renew_time: Some(MicroTime(context.clock.now())),
            ..LeaseSpec::default()
        }),
    };
    api.create(&written::by_post(), &lease).await.map(drop)
}

fn node(context: &Context, machine: &Machine, pod_cidr: &str) -> Node {
    let (arch, os) = (go_architecture(), "linux");
    let labels = [
        ("kubernetes.io/hostname", context.node.as_str()),
        ("kubernetes.io/arch", arch),
        ("kubernetes.io/os", os),
        ("beta.kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", os),
    ];
    Node {
        metadata: ObjectMeta {
            name: Some(context.node.clone()),
            labels: Some(
                labels
                    .iter()
                    .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                    .collect(),
            ),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: Some(pod_cidr.to_owned()),
            pod_cidrs: Some(vec![pod_cidr.to_owned()]),
            provider_id: Some(format!("simcluster://{}", context.node)),
            ..NodeSpec::default()
        }),
        status: Some(status(context, machine)),
    }
}

fn status(context: &Context, machine: &Machine) -> NodeStatus {
    let amounts: BTreeMap<String, Quantity> = [
        ("cpu", machine.cpus.to_string()),
        ("memory", format!("{}Ki", machine.memory_kib)),
        ("ephemeral-storage", format!("{}Ki", machine.disk_kib)),
        ("hugepages-1Gi", "0".into()),
        ("hugepages-2Mi", "0".into()),
        ("pods", MOST_PODS.to_string()),
    ]
    .into_iter()
    .map(|(name, amount)| (name.to_owned(), Quantity(amount)))
    .collect();
    let now = Time(whole_seconds(context.clock.now()));
    let condition = |kind: &str, status: &str, reason: &str, message: &str| NodeCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    };
    let address = |kind: &str, address: String| NodeAddress {
        type_: kind.into(),
        address,
    };
    NodeStatus {
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        conditions: Some(vec![
            condition(
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            condition(
                "DiskPressure",
                "False",
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
            ),
            condition(
                "PIDPressure",
                "False",
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
            ),
            condition(
                "Ready",
                "True",
                "KubeletReady",
                "kubelet is posting ready status",
            ),
        ]),
        addresses: Some(vec![
            address("InternalIP", context.host_ip.to_string()),
            address("Hostname", context.node.clone()),
        ]),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: 10250 }),
        }),
        node_info: Some(system_info()),
        ..NodeStatus::default()
    }
}

fn system_info() -> NodeSystemInfo {
    let read = |path: &str| {
        std::fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let release = read("/etc/os-release");
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("Linux", |name| name.trim_matches('"'));
    NodeSystemInfo {
        architecture: go_architecture().into(),
        operating_system: "linux".into(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        os_image: name.to_owned(),
        kubelet_version: KUBERNETES_VERSION.into(),
        kube_proxy_version: String::new(),
        container_runtime_version: concat!("simcluster://", env!("CARGO_PKG_VERSION")).into(),
        machine_id: read("/etc/machine-id"),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        system_uuid: uuid::Uuid::new_v4().to_string(),
        ..NodeSystemInfo::default()
    }
}

/// The Kubernetes version whose behaviour this node has.
const KUBERNETES_VERSION: &str = "v1.36.2";

/// The processor's name as Kubernetes writes it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
