//! One container's part of the pod machine: what it is doing, what the API shows of it, how it restarts.
//!
//! Pure data and rules; the order among containers is [`super::decide`]'s, stopping is [`super::stop`]'s.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, ResourceRequirements};

use super::{backoff::Backoff, probes::ProbeResults};

/// What a container is for; it decides when it starts, whether it restarts and what waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An init container: runs to its end before the next begins.
    Init,
    /// An init container with `restartPolicy: Always`: keeps running beside the others.
    Sidecar,
    /// One of `spec.containers`.
    Main,
    /// One of `spec.ephemeralContainers`: added while the pod runs, to look into it. Nothing waits for it.
    Ephemeral,
}

/// What the API shows as `state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// `waiting`
    Waiting {
        /// For example `ContainerCreating`.
        reason: String,
        /// More about it, if there is more.
        message: Option<String>,
    },
    /// `running`
    Running {
        /// `startedAt`
        since: Timestamp,
    },
    /// `terminated`
    Terminated(Terminated),
}

impl Shown {
    /// A waiting state without a message.
    pub fn waiting(reason: &str) -> Self {
        Self::Waiting {
            reason: reason.to_owned(),
            message: None,
        }
    }
}

/// How one run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminated {
    /// `exitCode`
    pub exit_code: i32,
    /// `signal`: the API has the field, the kubelet leaves it to `exitCode`.
    pub reason: String,
    /// The termination message.
    pub message: Option<String>,
    /// `startedAt`; the epoch when it never started.
    pub started_at: Timestamp,
    /// `finishedAt`
    pub finished_at: Timestamp,
    /// `containerID`
    pub container_id: Option<String>,
}

impl Terminated {
    /// Whether it did what it was for.
    pub fn succeeded(&self) -> bool {
        self.exit_code == 0
    }
}

/// Why a start did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartFailure {
    /// The image could not be had; the text is the source's own.
    ImagePull(String),
    /// `imagePullPolicy: Never` and the image is not there.
    ImageNeverPull(String),
    /// The image's name cannot be parsed.
    InvalidImageName(String),
    /// The spec refers to something that is absent or contradictory.
    Config(String),
    /// The container could not be made.
    Create(String),
    /// The container was made and its program could not be run.
    Run(String),
    /// The pod ended meanwhile.
    Cancelled,
}

/// What the machine does with a container just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Never started, or free to start when its turn comes.
    Idle,
    /// Asked to start; the answer is outstanding.
    Starting,
    /// Running its `postStart` hook; the API does not call it running yet.
    PostStart,
    /// Running.
    Running,
    /// Waits to be tried again.
    Held {
        /// When.
        until: Timestamp,
    },
    /// Ended and does not run again.
    Finished,
}

/// How far stopping a running container has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The moment of the last resort.
    pub kill_at: Timestamp,
    /// What has been done.
    pub phase: StopPhase,
}

/// The steps of stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopPhase {
    /// The `preStop` hook runs.
    PreStop,
    /// The stop signal is sent.
    Signalled,
    /// SIGKILL is sent.
    Killed,
}

/// One container of the pod machine.
#[derive(Clone, Debug)]
pub struct ContainerState {
    /// The spec as it was last seen.
    pub spec: Container,
    /// What it is for.
    pub role: Role,
    /// What happens now.
    pub activity: Activity,
    /// `state`
    pub shown: Shown,
    /// `lastState.terminated`
    pub last: Option<Terminated>,
    /// The number of the current run, or of the one that is being started.
    pub restart_count: u32,
    /// `restartCount`: the number of the newest run that exists.
    pub shown_restarts: u32,
    /// Whether a run of it ever existed.
    pub ran: bool,
    /// Whether the next start is a restart: there was a run since the last one was counted.
    pub run_to_count: bool,
    /// `containerID` of the newest run.
    pub container_id: Option<String>,
    /// `image` and `imageID` of the newest run.
    pub image: Option<(String, String)>,
    /// Set while it is being stopped.
    pub stop: Option<Stop>,
    /// The newest run's probes.
    pub probes: ProbeResults,
    /// Restarts.
    pub crashes: Backoff,
    /// Image pulls.
    pub pulls: Backoff,
    /// Failed tries to create it since the last success.
    pub create_failures: u32,
    /// When the newest run began.
    pub started_at: Option<Timestamp>,
    /// What the failed `postStart` hook of the newest run said.
    pub hook_error: Option<String>,
    /// What the newest pull said, while it is in back-off.
    pub pull_error: Option<String>,
    /// The resources that the node has granted it.
    pub granted: ResourceRequirements,
    /// Those that its newest run has.
    pub actual: ResourceRequirements,
    /// Those that its run is being given.
    pub limiting: Option<ResourceRequirements>,
}

impl ContainerState {
    /// An init container that has not run yet.
    pub fn init(spec: Container, reason: &str) -> Self {
        let role = match spec.restart_policy.as_deref() {
            Some("Always") => Role::Sidecar,
            _ => Role::Init,
        };
        Self::new(spec, role, reason)
    }

    /// A container that has not run yet.
    pub fn new(spec: Container, role: Role, reason: &str) -> Self {
        let granted = spec.resources.clone().unwrap_or_default();
        Self {
            spec,
            actual: granted.clone(),
            granted,
            limiting: None,
            role,
            activity: Activity::Idle,
            shown: Shown::waiting(reason),
            last: None,
            restart_count: 0,
            shown_restarts: 0,
            ran: false,
            run_to_count: false,
            container_id: None,
            image: None,
            stop: None,
            probes: ProbeResults::default(),
            crashes: Backoff::default(),
            pulls: Backoff::default(),
            create_failures: 0,
            started_at: None,
            hook_error: None,
            pull_error: None,
        }
    }

    /// Whether a process of it exists.
    pub fn alive(&self) -> bool {
        matches!(self.activity, Activity::PostStart | Activity::Running)
    }

    /// Whether nothing of it exists or is on its way.
    pub fn quiet(&self) -> bool {
        !self.alive() && self.activity != Activity::Starting
    }

    /// How its newest run ended, unless it runs.
    pub fn ended(&self) -> Option<&Terminated> {
        match &self.shown {
            Shown::Terminated(terminated) => Some(terminated),
            Shown::Waiting { .. } => self.last.as_ref(),
            Shown::Running { .. } => None,
        }
    }

    /// `started`
    pub fn started(&self) -> bool {
        matches!(self.shown, Shown::Running { .. }) && self.probes.started(&self.spec)
    }

    /// `ready`
    pub fn ready(&self) -> bool {
        match self.role {
            Role::Init => {
                self.activity == Activity::Finished
                    && self.ended().is_some_and(Terminated::succeeded)
            }
            Role::Ephemeral => false,
            Role::Sidecar | Role::Main => {
                matches!(self.shown, Shown::Running { .. }) && self.probes.ready(&self.spec)
            }
        }
    }

    /// Whether a run that ended with `exit_code` is followed by another.
    pub fn restarts_after(&self, exit_code: i32, pod_policy: &str) -> bool {
        match self.role {
            Role::Sidecar => true,
            Role::Ephemeral => false,
            Role::Init => {
                exit_code != 0
                    && self.spec.restart_policy.as_deref().unwrap_or(pod_policy) != "Never"
            }
            Role::Main => {
                let rules = self
                    .spec
                    .restart_policy_rules
                    .as_deref()
                    .unwrap_or_default();
                if rules.iter().any(|rule| matches_rule(rule, exit_code)) {
                    return true;
                }
                match self.spec.restart_policy.as_deref().unwrap_or(pod_policy) {
                    "Never" => false,
                    "OnFailure" => exit_code != 0,
                    _ => true,
                }
            }
        }
    }
}

fn matches_rule(rule: &ContainerRestartRule, exit_code: i32) -> bool {
    rule.action == "Restart"
        && rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes
                .values
                .as_deref()
                .unwrap_or_default()
                .contains(&exit_code);
            listed == (codes.operator == "In")
        })
}
