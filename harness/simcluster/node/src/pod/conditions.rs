//! The conditions of a pod that its node writes. Pure.
//!
//! Conditions of others (readiness gates, disruption targets) are read here, never written.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{PodCondition, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    PodState,
    container::{ContainerState, Role},
};

/// One condition before it has times.
struct Verdict {
    status: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self {
            status: true,
            reason: None,
            message: None,
        }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self {
            status: false,
            reason: Some(reason),
            message: Some(message),
        }
    }
}

/// Why a pod has failed that a critical one has pushed out.
pub(super) const PREEMPTING: &str = "Preempting";

impl PodState {
    /// All conditions of this node for a pod in `phase`, with the times of those that did not change.
    pub(super) fn conditions(&self, phase: &str, now: Timestamp) -> Vec<PodCondition> {
        let containers_ready = self.containers_ready(phase);
        let ready = self.ready(&containers_ready);
        let sandbox = Verdict {
            status: self.has_network(),
            reason: None,
            message: None,
        };
        let all = [
            ("PodReadyToStartContainers", sandbox),
            ("Initialized", self.initialized(phase)),
            ("Ready", ready),
            ("ContainersReady", containers_ready),
            ("PodScheduled", Verdict::yes()),
        ];
        let disruption = self.failure.as_ref().and_then(|(reason, message)| {
            let preempted = "Pod was preempted by Kubelet to accommodate a critical pod.";
            match &**reason {
                "Evicted" => Some(message.clone()),
                PREEMPTING => Some(preempted.to_owned()),
                _ => None,
            }
        });
        let disruption = disruption.map(|message| {
            let verdict = Verdict {
                status: true,
                reason: Some("TerminationByKubelet"),
                message: Some(message),
            };
            ("DisruptionTarget", verdict)
        });
        let own = all.into_iter().chain(disruption);
        let own = own.map(|(kind, verdict)| self.condition(kind, verdict, now));
        self.of_resize(now).into_iter().chain(own).collect()
    }

    /// Where a change of the pod's resources stands, each with the generation of the spec that it is about.
    fn of_resize(&self, now: Timestamp) -> Vec<PodCondition> {
        let pending = self.resize.pending.as_ref().map(|pending| {
            let verdict = Verdict {
                status: true,
                reason: Some(pending.reason),
                message: Some(pending.message.clone()),
            };
            ("PodResizePending", verdict, pending.generation)
        });
        let under_way = self.resize.under_way.as_ref().map(|under_way| {
            let verdict = Verdict {
                status: true,
                reason: under_way.error.is_some().then_some("Error"),
                message: under_way.error.clone(),
            };
            ("PodResizeInProgress", verdict, under_way.generation)
        });
        let both = pending.into_iter().chain(under_way);
        both.map(|(kind, verdict, observed_generation)| PodCondition {
            observed_generation,
            ..self.condition(kind, verdict, now)
        })
        .collect()
    }

    fn condition(&self, kind: &str, verdict: Verdict, now: Timestamp) -> PodCondition {
        let status = if verdict.status { "True" } else { "False" };
        let before = self
            .reported
            .as_ref()
            .or(self.pod.status.as_ref())
            .and_then(|s| find(s, kind))
            .filter(|c| c.status == status);
        PodCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            last_probe_time: None,
            last_transition_time: before
                .and_then(|c| c.last_transition_time.clone())
                .or(Some(Time(whole_seconds(now)))),
            observed_generation: self.pod.metadata.generation,
            reason: verdict.reason.map(str::to_owned),
            message: verdict.message,
        }
    }

    fn initialized(&self, phase: &str) -> Verdict {
        let incomplete = names(&self.containers, |c| match c.role {
            Role::Init => !c.ready(),
            Role::Sidecar => !c.started(),
            Role::Main | Role::Ephemeral => false,
        });
        if phase == "Succeeded" {
            return Verdict {
                status: true,
                reason: Some("PodCompleted"),
                message: None,
            };
        }
        // A regular container that has run proves that the pod was initialized once.
        let proved = self
            .containers
            .iter()
            .any(|c| c.role == Role::Main && c.ran);
        match incomplete {
            Some(names) if !proved => Verdict::no(
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{names}]"),
            ),
            Some(_) | None => Verdict::yes(),
        }
    }

    fn containers_ready(&self, phase: &str) -> Verdict {
        let ended = match phase {
            "Succeeded" => Some("PodCompleted"),
            "Failed" => Some("PodFailed"),
            _ => None,
        };
        if ended.is_some() {
            return Verdict {
                status: false,
                reason: ended,
                message: None,
            };
        }
        let counts = |c: &ContainerState| matches!(c.role, Role::Sidecar | Role::Main);
        match names(&self.containers, |c| counts(c) && !c.ready()) {
            None => Verdict::yes(),
            Some(names) => Verdict::no(
                "ContainersNotReady",
                format!("containers with unready status: [{names}]"),
            ),
        }
    }

    fn ready(&self, containers_ready: &Verdict) -> Verdict {
        if !containers_ready.status {
            return Verdict {
                status: false,
                reason: containers_ready.reason,
                message: containers_ready.message.clone(),
            };
        }
        let gates = self
            .spec()
            .and_then(|s| s.readiness_gates.as_deref())
            .unwrap_or_default();
        let complaints: Vec<String> = gates
            .iter()
            .filter_map(|gate| {
                let kind = &gate.condition_type;
                match self.pod.status.as_ref().and_then(|s| find(s, kind)) {
                    None => Some(format!(
                        "corresponding condition of pod readiness gate {kind:?} does not exist."
                    )),
                    Some(c) if c.status != "True" => Some(format!(
                        "the status of pod readiness gate {kind:?} is not \"True\", but {}",
                        c.status
                    )),
                    Some(_) => None,
                }
            })
            .collect();
        if complaints.is_empty() {
            Verdict::yes()
        } else {
            Verdict::no("ReadinessGatesNotReady", complaints.join(", "))
        }
    }
}

/// The API's times have no fraction of a second.
pub(crate) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn find<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a PodCondition> {
    status
        .conditions
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|c| c.type_ == kind)
}

/// The names of those for which `test` holds, separated by spaces.
fn names(containers: &[ContainerState], test: impl Fn(&ContainerState) -> bool) -> Option<String> {
    let names: Vec<_> = containers
        .iter()
        .filter(|c| test(c))
        .map(|c| c.spec.name.as_str())
        .collect();
    (!names.is_empty()).then(|| names.join(" "))
}
