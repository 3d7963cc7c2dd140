//! What whoever starts the controllers decides: which of them run, and the few things they cannot learn from the API.

use std::{collections::BTreeSet, fmt, io, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;

/// A controller that can run, alone or with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Controller {
    /// Type checks of admission policies.
    AdmissionPolicyStatus,
    /// Certificates for approved requests of Kubernetes' own signers.
    CertificateSigning,
    /// The rules of ClusterRoles that are made of others.
    ClusterRoleAggregation,
    /// Jobs from a schedule.
    CronJob,
    /// One pod for each node.
    DaemonSet,
    /// Rollouts of ReplicaSets.
    Deployment,
    /// Whether pods of a budget may be evicted.
    Disruption,
    /// The Endpoints of a Service.
    Endpoints,
    /// The EndpointSlices of a Service.
    EndpointSlice,
    /// EndpointSlices of Endpoints that users write.
    EndpointSliceMirroring,
    /// The claims of volumes that live as long as their pod.
    EphemeralVolume,
    /// What has lost its owner goes.
    GarbageCollector,
    /// As many pods as what they use asks for.
    HorizontalPodAutoscaler,
    /// Pods that run to their end.
    Job,
    /// The content of a namespace that is deleted goes first.
    Namespace,
    /// Taints of nodes that do not report, and the eviction of their pods.
    NodeLifecycle,
    /// The finalizers that keep claims and volumes while they are used.
    Protection,
    /// Volumes for the StorageClass `standard`.
    Provisioner,
    /// A number of equal pods.
    ReplicaSet,
    /// The same in its older form.
    Replication,
    /// What a ResourceQuota says is used.
    ResourceQuota,
    /// On which node a pod runs.
    Scheduler,
    /// The ServiceAccount `default` and the ConfigMap `kube-root-ca.crt` of each namespace.
    ServiceAccount,
    /// Secrets that hold an account's token.
    ServiceAccountToken,
    /// Pods with names and volumes of their own.
    StatefulSet,
    /// Finished Jobs go after their time.
    TtlAfterFinished,
    /// Which claim has which volume.
    VolumeBinder,
}

impl Controller {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::AdmissionPolicyStatus,
        Self::CertificateSigning,
        Self::ClusterRoleAggregation,
        Self::CronJob,
        Self::DaemonSet,
        Self::Deployment,
        Self::Disruption,
        Self::Endpoints,
        Self::EndpointSlice,
        Self::EndpointSliceMirroring,
        Self::EphemeralVolume,
        Self::GarbageCollector,
        Self::HorizontalPodAutoscaler,
        Self::Job,
        Self::Namespace,
        Self::NodeLifecycle,
        Self::Protection,
        Self::Provisioner,
        Self::ReplicaSet,
        Self::Replication,
        Self::ResourceQuota,
        Self::Scheduler,
        Self::ServiceAccount,
        Self::ServiceAccountToken,
        Self::StatefulSet,
        Self::TtlAfterFinished,
        Self::VolumeBinder,
    ];
}

/// Removes the directory of a volume that is given up: on the node of this name (none if the volume is on every
/// node), at this path as the node sees it.
pub type RemoveVolume = Arc<dyn Fn(Option<&str>, &str) -> io::Result<()> + Send + Sync>;

/// How autoscalers go about it, where they do not say so themselves; the defaults are Kubernetes' own.
#[derive(Clone, Copy, Debug)]
pub struct HorizontalSettings {
    /// How often each looks.
    pub sync_period: Duration,
    /// How long a higher recommendation keeps pods from going.
    pub downscale_stabilization: Duration,
    /// How far usage may be from its target without anything being done.
    pub tolerance: f64,
    /// How long after its start a pod's processor time counts only while it is ready.
    pub cpu_initialization_period: Duration,
    /// How long after its start a pod that is not ready counts as one that never was.
    pub initial_readiness_delay: Duration,
}

impl Default for HorizontalSettings {
    fn default() -> Self {
        Self {
            sync_period: Duration::from_secs(15),
            downscale_stabilization: Duration::from_secs(300),
            tolerance: 0.1,
            cpu_initialization_period: Duration::from_secs(300),
            initial_readiness_delay: Duration::from_secs(30),
        }
    }
}

/// A certificate that is to be signed.
#[derive(Clone, Copy, Debug)]
pub struct CertificateOrder<'a> {
    /// The certificate signing request, as DER.
    pub request: &'a [u8],
    /// What the certificate is for, in the API's words.
    pub usages: &'a [String],
    /// From when on it counts.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// Signs a certificate with the cluster's authority: the certificate as PEM, or why there is none.
pub type SignCertificate =
    Arc<dyn Fn(&CertificateOrder<'_>) -> Result<String, String> + Send + Sync>;

/// What whoever starts the controllers decides.
#[derive(Clone)]
pub struct Settings {
    /// Which controllers run.
    pub controllers: BTreeSet<Controller>,
    /// The certificate of the API server's authority in PEM, for `kube-root-ca.crt`. Without it the ConfigMap is not
    /// made.
    pub root_ca: Option<String>,
    /// Signs what was approved; without it no certificate is.
    pub sign_certificate: Option<SignCertificate>,
    /// Under this directory, as the nodes see it, the provisioner of the StorageClass `standard` makes volumes.
    pub volume_directory: PathBuf,
    /// Removes what a volume held; without it the directory stays until its node goes.
    pub remove_volume: Option<RemoveVolume>,
    /// How long a node may be silent before it counts as unreachable.
    pub node_grace: Duration,
    /// How long a node may be unknown before the pods bound to it go.
    pub vanished_node_grace: Duration,
    /// How autoscalers go about it.
    pub horizontal: HorizontalSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            controllers: Controller::ALL.into(),
            root_ca: None,
            sign_certificate: None,
            volume_directory: PathBuf::from("/var/lib/simcluster/volumes"),
            remove_volume: None,
            node_grace: Duration::from_secs(50),
            vanished_node_grace: Duration::from_secs(40),
            horizontal: HorizontalSettings::default(),
        }
    }
}

impl Settings {
    /// The defaults, with only these controllers.
    pub fn only(controllers: impl IntoIterator<Item = Controller>) -> Self {
        Self {
            controllers: controllers.into_iter().collect(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Settings")
            .field("controllers", &self.controllers)
            .field("volume_directory", &self.volume_directory)
            .field("node_grace", &self.node_grace)
            .field("vanished_node_grace", &self.vanished_node_grace)
            .field("horizontal", &self.horizontal)
            .finish_non_exhaustive()
    }
}
