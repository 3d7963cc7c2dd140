//! What one waits for, as values: a name and a pure test of one object.
//!
//! A condition decides only on the object it is shown; watching and time are [`crate::wait`]'s.

use std::fmt;

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{PersistentVolumeClaim, Pod},
};

/// What a condition says of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Met,
    /// It does not hold yet; the text says what is missing.
    NotYet(String),
    /// It cannot hold any more; waiting on would be in vain.
    Never(String),
}

/// What is asked of an object, or of its absence.
type Test<K> = Box<dyn Fn(Option<&K>) -> Verdict + Send + Sync>;

/// A named test of an object that may be absent.
pub struct Condition<K> {
    name: String,
    test: Test<K>,
}

impl<K> fmt::Debug for Condition<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Condition").field(&self.name).finish()
    }
}

impl<K> fmt::Display for Condition<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<K: 'static> Condition<K> {
    /// A condition on the object, present or not.
    pub fn new(
        name: impl Into<String>,
        test: impl Fn(Option<&K>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            test: Box::new(test),
        }
    }

    /// A condition on a present object; while it is absent the verdict is "not yet".
    pub fn of(
        name: impl Into<String>,
        test: impl Fn(&K) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self::new(name, move |object| match object {
            Some(object) => test(object),
            None => Verdict::NotYet("it does not exist".to_owned()),
        })
    }

    /// A condition that is a yes or no of a present object.
    pub fn holds(
        name: impl Into<String>,
        test: impl Fn(&K) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::of(name, move |object| {
            if test(object) {
                Verdict::Met
            } else {
                Verdict::NotYet("not yet so".to_owned())
            }
        })
    }

    /// Applies the test.
    pub fn judge(&self, object: Option<&K>) -> Verdict {
        (self.test)(object)
    }
}

/// The object is there.
pub fn exists<K: 'static>() -> Condition<K> {
    Condition::of("to exist", |_| Verdict::Met)
}

/// The object is not there (any more).
pub fn absent<K: 'static>() -> Condition<K> {
    Condition::new("to be gone", |object| match object {
        None => Verdict::Met,
        Some(_) => Verdict::NotYet("it still exists".to_owned()),
    })
}

/// A Deployment has its condition `Available`, for its latest generation.
pub fn deployment_available() -> Condition<Deployment> {
    Condition::of("to be Available", |deployment: &Deployment| {
        let status = deployment.status.clone().unwrap_or_default();
        if status.observed_generation < deployment.metadata.generation {
            return Verdict::NotYet("its latest generation is not observed".to_owned());
        }
        let conditions = status.conditions.unwrap_or_default();
        match conditions
            .iter()
            .find(|condition| condition.type_ == "Available")
        {
            Some(condition) if condition.status == "True" => Verdict::Met,
            Some(condition) => Verdict::NotYet(
                condition
                    .message
                    .clone()
                    .unwrap_or_else(|| "not Available".into()),
            ),
            None => Verdict::NotYet("it has no condition Available".to_owned()),
        }
    })
}

/// A Pod has its condition `Ready`; a Pod that has ended never will.
pub fn pod_ready() -> Condition<Pod> {
    Condition::of("to be Ready", |pod: &Pod| {
        let status = pod.status.clone().unwrap_or_default();
        let phase = status.phase.unwrap_or_default();
        if phase == "Failed" || phase == "Succeeded" {
            return Verdict::Never(format!("its phase is {phase}"));
        }
        let ready = status
            .conditions
            .unwrap_or_default()
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        if ready {
            Verdict::Met
        } else {
            Verdict::NotYet(format!("its phase is {phase}"))
        }
    })
}

/// A Job is `Complete`; a Job that is `Failed` never will be.
pub fn job_complete() -> Condition<Job> {
    Condition::of("to be Complete", |job: &Job| {
        let conditions = job
            .status
            .clone()
            .unwrap_or_default()
            .conditions
            .unwrap_or_default();
        let holds = |kind: &str| {
            conditions
                .iter()
                .find(|c| c.type_ == kind && c.status == "True")
        };
        if holds("Complete").is_some() {
            return Verdict::Met;
        }
        match holds("Failed") {
            Some(failed) => Verdict::Never(format!(
                "it failed: {}",
                failed.message.clone().unwrap_or_default()
            )),
            None => Verdict::NotYet("it is not finished".to_owned()),
        }
    })
}

/// A claim is bound to a volume.
pub fn claim_bound() -> Condition<PersistentVolumeClaim> {
    Condition::of("to be Bound", |claim: &PersistentVolumeClaim| {
        let phase = claim
            .status
            .clone()
            .unwrap_or_default()
            .phase
            .unwrap_or_default();
        if phase == "Bound" {
            Verdict::Met
        } else {
            Verdict::NotYet(format!("it is {phase}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_job_is_never_complete() {
        let job: Job = serde_json::from_value(serde_json::json!({
            "status": {"conditions": [{"type": "Failed", "status": "True", "message": "backoff"}]}
        }))
        .expect("a Job");
        assert_eq!(
            job_complete().judge(Some(&job)),
            Verdict::Never("it failed: backoff".to_owned())
        );
    }

    #[test]
    fn an_available_deployment_of_an_older_generation_is_not_available_yet() {
        let deployment: Deployment = serde_json::from_value(serde_json::json!({
            "metadata": {"generation": 2},
            "status": {"observedGeneration": 1,
                       "conditions": [{"type": "Available", "status": "True"}]}
        }))
        .expect("a Deployment");
        assert!(matches!(
            deployment_available().judge(Some(&deployment)),
            Verdict::NotYet(_)
        ));
    }
}
