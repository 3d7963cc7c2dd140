//! The `status` of a pod as its node writes it: phase, container statuses, addresses. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState as ApiState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, HostIP, PodIP, PodSpec, PodStatus,
        VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    Action, Ending, Part, PodState, Standing,
    conditions::whole_seconds,
    container::{Activity, ContainerState, Role, Shown, Terminated},
    qos,
};

impl PodState {
    /// Writes the status if it is not what was written last.
    pub(super) fn report(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.gone {
            return;
        }
        let status = self.status(now);
        if self.reported.as_ref() != Some(&status) {
            self.reported = Some(status.clone());
            out.push(Action::WriteStatus(Box::new(status)));
        }
    }

    /// Whether the pod has a network of its own, or the node's while it runs.
    pub(super) fn has_network(&self) -> bool {
        self.sandbox == Part::Ready
    }

    fn status(&self, now: Timestamp) -> PodStatus {
        let spec = self.granted_spec();
        if self.standing == Standing::Refused {
            return self.status_of_refused(&spec);
        }
        let phase = self.phase();
        let of = |roles: &[Role]| {
            let those = self.containers.iter().enumerate();
            let statuses: Vec<_> = those
                .filter(|(_, c)| roles.contains(&c.role))
                .map(|(index, container)| ContainerStatus {
                    state: Some(self.state(index, container)),
                    ..container_status(container)
                })
                .collect();
            (!statuses.is_empty()).then_some(statuses)
        };
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(self.conditions(self.phase_of_conditions(phase), now)),
            container_statuses: of(&[Role::Main]),
            init_container_statuses: of(&[Role::Init, Role::Sidecar]),
            ephemeral_container_statuses: of(&[Role::Ephemeral]),
            host_ip: Some(self.host_ip.clone()),
            host_ips: Some(vec![HostIP {
                ip: self.host_ip.clone(),
            }]),
            pod_ip: self.ip.clone(),
            pod_ips: self.ip.clone().map(|ip| vec![PodIP { ip }]),
            qos_class: Some(qos::class(&spec).to_owned()),
            resources: Some(qos::of_pod(&spec, self.at_rest())),
            start_time: Some(Time(whole_seconds(self.start_time))),
            observed_generation: self.pod.metadata.generation,
            reason: self.failure.as_ref().map(|(reason, _)| reason.to_string()),
            message: self.failure.as_ref().map(|(_, message)| message.clone()),
            ..PodStatus::default()
        }
    }

    /// The `state` of a container. When nothing of the pod is left, what was never seen to end has failed.
    fn state(&self, index: usize, container: &ContainerState) -> ApiState {
        let open = matches!(container.shown, Shown::Waiting { .. });
        if !self.at_rest() || !open {
            return api_state(&container.shown);
        }
        match (&container.last, self.ending) {
            // It waited for its next run, which a deletion takes away: its last one stands for it.
            (Some(last), Some(Ending::Deleted)) => terminated(last),
            _ if self.counts_as_lost(index, container.role) => lost(),
            _ => api_state(&container.shown),
        }
    }

    /// Whether a container should have come to its turn: regular ones once the pod is initialized, of the init
    /// containers the first, and those up to the last one that has run.
    fn counts_as_lost(&self, index: usize, role: Role) -> bool {
        let is_init = |c: &ContainerState| matches!(c.role, Role::Init | Role::Sidecar);
        let mut inits = self.containers.iter().filter(|c| is_init(c));
        match role {
            Role::Ephemeral => false,
            Role::Init | Role::Sidecar => {
                index == 0 || self.containers[index..].iter().any(|c| is_init(c) && c.ran)
            }
            Role::Main => {
                let ran = self
                    .containers
                    .iter()
                    .any(|c| c.role == Role::Main && c.ran);
                let last = inits.next_back();
                ran || last.is_none_or(|c| c.ended().is_some_and(Terminated::succeeded))
            }
        }
    }

    /// The phase that conditions are made for: the one before a pod that never came to run was found to have failed.
    fn phase_of_conditions(&self, phase: &'static str) -> &'static str {
        let mut mains = self.containers.iter().filter(|c| c.role == Role::Main);
        let never_ran = mains.any(|c| matches!(c.shown, Shown::Waiting { .. }) && c.last.is_none());
        if self.at_rest() && self.ending == Some(Ending::Deleted) && never_ran {
            "Pending"
        } else {
            phase
        }
    }

    /// All that is said of a pod that the node has not taken.
    fn status_of_refused(&self, spec: &PodSpec) -> PodStatus {
        let (reason, message) = self.failure.clone().unwrap_or_default();
        PodStatus {
            phase: Some("Failed".into()),
            conditions: Some(Vec::new()),
            qos_class: Some(qos::class(spec).to_owned()),
            start_time: Some(Time(whole_seconds(self.start_time))),
            observed_generation: self.pod.metadata.generation,
            reason: Some(reason.into_owned()),
            message: Some(message),
            ..PodStatus::default()
        }
    }

    /// The phase. It becomes terminal only when nothing of the pod runs any more.
    fn phase(&self) -> &'static str {
        let mains = || self.containers.iter().filter(|c| c.role == Role::Main);
        if self.at_rest() {
            let succeeded = mains().all(|c| {
                c.activity == Activity::Finished && c.ended().is_some_and(Terminated::succeeded)
            });
            return if succeeded && self.failure.is_none() {
                "Succeeded"
            } else {
                "Failed"
            };
        }
        let initializing = !mains().any(|c| c.ran)
            && self.containers.iter().any(|c| match c.role {
                Role::Init => !c.ready(),
                Role::Sidecar => !c.started(),
                Role::Main | Role::Ephemeral => false,
            });
        let waiting = mains().any(|c| matches!(c.shown, Shown::Waiting { .. }) && c.last.is_none());
        if initializing || waiting {
            "Pending"
        } else {
            "Running"
        }
    }
}

fn container_status(container: &ContainerState) -> ContainerStatus {
    let spec = &container.spec;
    let (image, image_id) = container
        .image
        .clone()
        .unwrap_or((spec.image.clone().unwrap_or_default(), String::new()));
    ContainerStatus {
        name: spec.name.clone(),
        state: Some(api_state(&container.shown)),
        last_state: Some(container.last.as_ref().map(terminated).unwrap_or_default()),
        ready: container.ready(),
        started: (container.role != Role::Ephemeral).then(|| container.started()),
        restart_count: i32::try_from(container.shown_restarts).unwrap_or(i32::MAX),
        image,
        image_id,
        container_id: container.container_id.clone(),
        // Resources and mounts are what a container has got, so they appear with its first run.
        allocated_resources: container.granted.requests.clone().filter(|_| container.ran),
        resources: container.ran.then(|| container.actual.clone()),
        volume_mounts: container
            .ran
            .then(|| volume_mounts(spec))
            .filter(|m| !m.is_empty()),
        ..ContainerStatus::default()
    }
}

fn volume_mounts(spec: &Container) -> Vec<VolumeMountStatus> {
    let mounts = spec.volume_mounts.iter().flatten();
    mounts
        .map(|mount| {
            let read_only = mount.read_only.unwrap_or_default();
            VolumeMountStatus {
                name: mount.name.clone(),
                mount_path: mount.mount_path.clone(),
                read_only: read_only.then_some(true),
                recursive_read_only: read_only.then(|| "Disabled".to_owned()),
                volume_status: None,
            }
        })
        .collect()
}

fn api_state(shown: &Shown) -> ApiState {
    match shown {
        Shown::Waiting { reason, message } => ApiState {
            waiting: Some(ContainerStateWaiting {
                reason: Some(reason.clone()),
                message: message.clone(),
            }),
            ..ApiState::default()
        },
        Shown::Running { since } => ApiState {
            running: Some(ContainerStateRunning {
                started_at: Some(Time(whole_seconds(*since))),
            }),
            ..ApiState::default()
        },
        Shown::Terminated(ended) => terminated(ended),
    }
}

/// Of a container that nobody has seen end.
fn lost() -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            started_at: None,
            finished_at: None,
            container_id: None,
            signal: None,
        }),
        ..ApiState::default()
    }
}

fn terminated(ended: &Terminated) -> ApiState {
    ApiState {
        terminated: Some(ContainerStateTerminated {
            exit_code: ended.exit_code,
            reason: Some(ended.reason.clone()),
            message: ended.message.clone(),
            started_at: Some(Time(whole_seconds(ended.started_at))),
            finished_at: Some(Time(whole_seconds(ended.finished_at))),
            container_id: ended.container_id.clone(),
            signal: None,
        }),
        ..ApiState::default()
    }
}
