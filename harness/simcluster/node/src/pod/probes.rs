//! What the results of a container's probes add up to: started, ready, or to be restarted. Pure.
//!
//! It counts; `worker::prober` does the probing and the pod machine draws the consequences.

use k8s_openapi::api::core::v1::{Container, Probe};

/// Which probe of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// `startupProbe`
    Startup,
    /// `readinessProbe`
    Readiness,
    /// `livenessProbe`
    Liveness,
}

impl ProbeKind {
    /// As events write it: `Liveness probe failed: …`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
        }
    }

    /// This probe in a container's spec.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
        }
    }
}

/// One result of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// The container answered well.
    Success,
    /// It answered badly or not at all; the text goes into the event.
    Failure(String),
    /// The probe itself could not be made; it counts as neither.
    Errored(String),
}

/// The counters of one run of a container. A restart begins with new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeResults {
    startup: Streak,
    readiness: Streak,
    liveness: Streak,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Streak {
    successes: i32,
    failures: i32,
    verdict: Option<bool>,
}

impl ProbeResults {
    /// Counts one result; the answer is the probe's verdict if this result changed or confirmed it.
    pub fn count(&mut self, container: &Container, kind: ProbeKind, success: bool) -> Option<bool> {
        let probe = kind.of(container)?;
        let streak = match kind {
            ProbeKind::Startup => &mut self.startup,
            ProbeKind::Readiness => &mut self.readiness,
            ProbeKind::Liveness => &mut self.liveness,
        };
        if success {
            streak.failures = 0;
            streak.successes += 1;
            if streak.successes < probe.success_threshold.unwrap_or(1) {
                return None;
            }
        } else {
            streak.successes = 0;
            streak.failures += 1;
            if streak.failures < probe.failure_threshold.unwrap_or(3) {
                return None;
            }
        }
        streak.verdict = Some(success);
        streak.verdict
    }

    /// Whether the run has failed this probe for good, so that it is to end: further results say nothing new.
    pub fn on_hold(&self, kind: ProbeKind) -> bool {
        match kind {
            ProbeKind::Startup => self.startup.verdict == Some(false),
            ProbeKind::Liveness => self.liveness.verdict == Some(false),
            ProbeKind::Readiness => false,
        }
    }

    /// `started` of a running container: no startup probe, or it has succeeded.
    pub fn started(&self, container: &Container) -> bool {
        container.startup_probe.is_none() || self.startup.verdict == Some(true)
    }

    /// `ready` of a running container: started, and no readiness probe or it last succeeded.
    pub fn ready(&self, container: &Container) -> bool {
        self.started(container)
            && (container.readiness_probe.is_none() || self.readiness.verdict == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        Container {
            readiness_probe: Some(Probe {
                success_threshold: Some(2),
                failure_threshold: Some(2),
                ..Probe::default()
            }),
            startup_probe: Some(Probe::default()),
            ..Container::default()
        }
    }

    #[test]
    fn readiness_needs_its_thresholds_in_a_row_and_a_finished_start() {
        let c = container();
        let mut results = ProbeResults::default();
        assert_eq!(results.count(&c, ProbeKind::Startup, true), Some(true));
        results.count(&c, ProbeKind::Readiness, true);
        assert!(!results.ready(&c));
        results.count(&c, ProbeKind::Readiness, true);
        assert!(results.ready(&c));
        results.count(&c, ProbeKind::Readiness, false);
        assert!(
            results.ready(&c),
            "one failure of two does not change the verdict"
        );
        results.count(&c, ProbeKind::Readiness, false);
        assert!(!results.ready(&c));
    }

    #[test]
    fn without_probes_a_running_container_is_started_and_ready() {
        let plain = Container::default();
        let results = ProbeResults::default();
        assert!(results.started(&plain) && results.ready(&plain));
    }
}
