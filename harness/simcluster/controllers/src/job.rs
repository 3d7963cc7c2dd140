//! Jobs: pods that run to their end, counted exactly once each.
//!
//! A pod of a job carries a finalizer until its end has been counted: first it is noted as uncounted in the job's
//! status, then its finalizer goes, then it is counted. [`verdict`] decides whether the job is over, [`manage`] which
//! pods come and go, [`tally`] what is counted. It does NOT delete finished jobs (`ttl_after_finished` does).

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{Job, JobStatus},
    core::v1::Pod,
};
use serde_json::json;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    objects::{Objects, WriteError},
    ownership::{self, Claimer},
    pods::{control::PodControl, is_active},
    selector,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod backoff;
mod conditions;
mod failure_policy;
mod indexes;
mod manage;
mod spec;
mod tally;
mod verdict;

use backoff::Backoff;
use tally::{FINALIZER, has_finalizer};
use verdict::Verdict;

pub(crate) use conditions::finished_at;

const NAME: &str = "job-controller";

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Key {
    Job(ObjectKey),
    /// A pod with our finalizer whose job may be gone.
    Stray(ObjectKey),
}

struct Controller {
    jobs: Objects<Job>,
    pods: PodControl,
    clock: Clock,
    /// By the job's uid: how its latest pods failed. Lost at a restart, as in Kubernetes.
    backoffs: Mutex<HashMap<String, Backoff>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<Key>> = Arc::default();
    let jobs = context.objects::<Job>();
    let pods = context.objects::<Pod>();
    let (own, known) = (queue.clone(), pods.cache().clone());
    jobs.cache().on_change(move |change| {
        let job = change.object();
        own.add(Key::Job(ObjectKey::of(&job.metadata)));
        if change.is_removal() {
            let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
            for pod in known.in_namespace(namespace) {
                if has_finalizer(&pod) && ownership::is_controlled_by(&pod.metadata, &job.metadata)
                {
                    own.add(Key::Stray(ObjectKey::of(&pod.metadata)));
                }
            }
        }
    });
    let (touched, known) = (queue.clone(), jobs.cache().clone());
    pods.cache().on_change(move |change| {
        for pod in change.old().into_iter().chain([change.object()]) {
            for key in jobs_of(pod, &known) {
                touched.add(Key::Job(key));
            }
        }
        if !change.is_removal() && has_finalizer(change.object()) {
            let owner = ownership::controller_of_kind::<Job>(&change.object().metadata);
            if owner.is_none_or(|owner| known.find(&owner).is_none()) {
                touched.add(Key::Stray(ObjectKey::of(&change.object().metadata)));
            }
        }
    });
    let controller = Controller {
        jobs,
        pods: PodControl {
            pods,
            recorder: context.recorder(NAME),
        },
        clock: context.clock,
        backoffs: Mutex::default(),
    };
    async move {
        controller.jobs.cache().synced().await;
        controller.pods.pods.cache().synced().await;
        work(NAME, queue, 16, controller).await;
    }
}

/// The job that controls a pod, or those that would take it.
fn jobs_of(pod: &Pod, known: &Cache<Job>) -> Vec<ObjectKey> {
    if ownership::controller_of(&pod.metadata).is_some() {
        return ownership::controller_of_kind::<Job>(&pod.metadata)
            .into_iter()
            .collect();
    }
    known
        .in_namespace(pod.metadata.namespace.as_deref().unwrap_or_default())
        .iter()
        .filter(|job| {
            spec::selector(job)
                .is_some_and(|wanted| selector::matches(wanted, pod.metadata.labels.as_ref()))
        })
        .map(|job| ObjectKey::of(&job.metadata))
        .collect()
}

impl Reconcile<Key> for Controller {
    async fn reconcile(&self, key: Key) -> Result<Next, WriteError> {
        match key {
            Key::Job(key) => self.reconcile_job(key).await,
            Key::Stray(key) => self.free_stray(key).await,
        }
    }
}

impl Controller {
    async fn reconcile_job(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(job) = self.jobs.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        if spec::is_managed_elsewhere(&job) {
            return Ok(Next::OnChange);
        }
        let Some(wanted) = spec::selector(&job) else {
            return Ok(Next::OnChange);
        };
        if conditions::is_finished(&job) {
            self.backoffs().remove(uid(&job));
            self.free(&self.owned(&job)).await?;
            return Ok(Next::OnChange);
        }
        let claimer = Claimer {
            owners: &self.jobs,
            objects: &self.pods.pods,
            finalizer: Some(FINALIZER),
        };
        let pods = claimer.claim(&*job, wanted).await?;
        self.advance(job, pods).await
    }

    async fn advance(&self, job: Arc<Job>, pods: Vec<Arc<Pod>>) -> Result<Next, WriteError> {
        let now = self.clock.now();
        let backoff = self.backoff(&job, &pods);
        let verdict = verdict::verdict(&job, &pods, now);
        let mut failed = Ok(());
        let mut recheck = None;
        if verdict.is_some() {
            let running: Vec<_> = pods.iter().filter(|pod| is_active(pod)).cloned().collect();
            failed = self.pods.delete_all(&*job, &running).await;
        } else if job.metadata.deletion_timestamp.is_none() {
            let plan = manage::plan(&job, &pods, &backoff, now);
            recheck = plan.recheck;
            failed = self.stop(&job, &plan.stop).await;
            if failed.is_ok() {
                let new = manage::new_pods(&job, &pods, &plan.start);
                if let (_, Some(error)) = self.pods.create_all(&*job, new).await {
                    failed = Err(error);
                }
            }
        }
        self.count(job, now).await?;
        match failed {
            Err(error) if !error.is_namespace_terminating() => Err(error),
            _ => Ok(recheck.map_or(Next::OnChange, |at| Next::At(self.clock.instant(at)))),
        }
    }

    /// Deletes pods that are too many; they are not counted as failed.
    async fn stop(&self, job: &Job, pods: &[Arc<Pod>]) -> Result<(), WriteError> {
        self.free(pods).await?;
        self.pods.delete_all(job, pods).await
    }

    /// Notes what has ended, lets those pods go, counts them, and says what has become of the job.
    async fn count(&self, job: Arc<Job>, now: Timestamp) -> Result<(), WriteError> {
        let pods = self.owned(&job);
        // Deleted pods may have ended the job, or completed it, in the meantime.
        let verdict = verdict::verdict(&job, &pods, now);
        let (noted, ended) = tally::note(&job, &pods, verdict.as_ref(), now);
        let job = self.write(job, noted).await?;
        self.free(&ended).await?;
        let pods = self.owned(&job);
        let counted = tally::settle(&job, &pods, verdict.as_ref(), now);
        let before = job.clone();
        let job = self.write(job, counted).await?;
        self.tell(&before, &job, verdict.as_ref());
        Ok(())
    }

    async fn write(&self, job: Arc<Job>, status: JobStatus) -> Result<Arc<Job>, WriteError> {
        if job.status.as_ref() == Some(&status) {
            return Ok(job);
        }
        let changes = conditions::suspension_change(job.status.as_ref(), &status);
        let mut new = Job::clone(&job);
        new.status = Some(status);
        let written = Arc::new(self.jobs.replace_status(&new).await?);
        if let Some((reason, message)) = changes {
            self.pods.recorder.normal(&*written, reason, message);
        }
        Ok(written)
    }

    fn tell(&self, before: &Job, after: &Job, verdict: Option<&Verdict>) {
        if conditions::is_finished(before) || !conditions::is_finished(after) {
            return;
        }
        match verdict {
            Some(Verdict::Complete { .. }) => {
                let succeeded = after
                    .status
                    .as_ref()
                    .and_then(|status| status.succeeded)
                    .unwrap_or_default();
                if spec::completions(after).is_some_and(|completions| succeeded > completions) {
                    let text = "Too many succeeded pods running after completion count reached";
                    self.pods
                        .recorder
                        .warning(after, "TooManySucceededPods", text);
                }
                self.pods
                    .recorder
                    .normal(after, "Completed", "Job completed");
            }
            Some(Verdict::Failed { reason, message }) => {
                self.pods.recorder.warning(after, reason, message.clone());
            }
            None => {}
        }
    }

    /// The job's pods as last seen.
    fn owned(&self, job: &Job) -> Vec<Arc<Pod>> {
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        let mut pods = self.pods.pods.cache().in_namespace(namespace);
        pods.retain(|pod| ownership::is_controlled_by(&pod.metadata, &job.metadata));
        pods
    }

    /// Takes our finalizer off these pods.
    async fn free(&self, pods: &[Arc<Pod>]) -> Result<(), WriteError> {
        let frees = pods
            .iter()
            .filter(|pod| has_finalizer(pod))
            .map(|pod| self.free_one(pod));
        join_all(frees).await.into_iter().collect()
    }

    async fn free_one(&self, pod: &Pod) -> Result<(), WriteError> {
        let patch = json!({"metadata": {
            "uid": pod.metadata.uid,
            "$deleteFromPrimitiveList/finalizers": [FINALIZER],
        }});
        match self
            .pods
            .pods
            .strategic(&ObjectKey::of(&pod.metadata), patch)
            .await
        {
            Ok(_) => Ok(()),
            // It is gone, or another has its name: either way nothing of ours is left on it.
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn free_stray(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(pod) = self.pods.pods.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        if !has_finalizer(&pod) {
            return Ok(Next::OnChange);
        }
        if let Some(owner) = ownership::controller_of_kind::<Job>(&pod.metadata) {
            // Only the server knows for sure that the job is gone.
            let job = self.jobs.read(&owner).await?;
            let lives = job.is_some_and(|job| {
                ownership::is_controlled_by(&pod.metadata, &job.metadata)
                    && !conditions::is_finished(&job)
            });
            if lives {
                return Ok(Next::OnChange);
            }
        }
        self.free_one(&pod).await?;
        Ok(Next::OnChange)
    }

    fn backoffs(&self) -> std::sync::MutexGuard<'_, HashMap<String, Backoff>> {
        self.backoffs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is remembered of the job's failures, with those that are new.
    fn backoff(&self, job: &Job, pods: &[Arc<Pod>]) -> Backoff {
        let mut backoffs = self.backoffs();
        if backoffs.len() > 4096 {
            // Jobs that were deleted before they finished; forgetting a live one shortens one pause.
            backoffs.clear();
        }
        let backoff = backoffs.entry(uid(job).to_owned()).or_default();
        let (succeeded, failed) = tally::new_ends(job, pods);
        backoff.learn(&succeeded, &failed, self.clock.now());
        backoff.clone()
    }
}

fn uid(job: &Job) -> &str {
    job.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests;
