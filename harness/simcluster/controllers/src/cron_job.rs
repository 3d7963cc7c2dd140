//! CronJobs: Jobs at the times of a schedule.
//!
//! [`schedule`] knows when, [`plan`] decides whether a Job is due and which are forgotten. It does NOT run pods: the
//! Jobs it makes do.

use std::{collections::HashMap, future::Future, sync::Arc, sync::Mutex, sync::PoisonError};

use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::ObjectReference,
};
use kube::{ResourceExt, api::PropagationPolicy};

use crate::{
    cache::ObjectKey,
    clock::{Clock, whole_seconds},
    context::Context,
    events::{Recorder, reference},
    job::finished_at,
    objects::{Objects, WriteError},
    ownership,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod plan;

use plan::Due;

const NAME: &str = "cronjob-controller";

struct Controller {
    cron_jobs: Objects<CronJob>,
    jobs: Objects<Job>,
    recorder: Recorder,
    clock: Clock,
    /// What was last complained about, by uid: the same is not said again at each look.
    complaints: Mutex<HashMap<String, String>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let cron_jobs = context.objects::<CronJob>();
    let jobs = context.objects::<Job>();
    let own = queue.clone();
    cron_jobs
        .cache()
        .on_change(move |change| own.add(ObjectKey::of(&change.object().metadata)));
    let touched = queue.clone();
    jobs.cache().on_change(move |change| {
        if let Some(key) = ownership::controller_of_kind::<CronJob>(&change.object().metadata) {
            touched.add(key);
        }
    });
    let controller = Controller {
        cron_jobs,
        jobs,
        recorder: context.recorder(NAME),
        clock: context.clock,
        complaints: Mutex::default(),
    };
    async move {
        controller.cron_jobs.cache().synced().await;
        controller.jobs.cache().synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(cron_job) = self.cron_jobs.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let jobs: Vec<_> = self
            .jobs
            .cache()
            .in_namespace(&key.namespace)
            .into_iter()
            .filter(|job| ownership::is_controlled_by(&job.metadata, &cron_job.metadata))
            .collect();
        let cron_job = self.follow_jobs(cron_job, &jobs).await?;
        self.forget_old_jobs(&cron_job, &jobs).await?;
        if cron_job.metadata.deletion_timestamp.is_some() || plan::is_suspended(&cron_job) {
            return Ok(Next::OnChange);
        }
        let now = self.clock.now();
        let decision = match plan::decide(&cron_job, now) {
            Ok(decision) => decision,
            Err(complaint) => {
                self.complain(&cron_job, complaint.reason, &complaint.message);
                return Ok(Next::OnChange);
            }
        };
        match decision.due {
            Due::Nothing => {}
            Due::TooLate(at) => {
                let at = plan::in_words(at);
                let text = format!("Missed scheduled time to start a job: {at}");
                self.complain(&cron_job, "MissSchedule", &text);
            }
            Due::Job { at, missed } => {
                if missed > 100 {
                    let text = format!(
                        "too many missed start times: {missed}. Set or decrease \
                         .spec.startingDeadlineSeconds or check clock skew"
                    );
                    self.complain(&cron_job, "TooManyMissedTimes", &text);
                }
                self.run_job(&cron_job, &jobs, at).await?;
            }
        }
        Ok(decision
            .next
            .map_or(Next::OnChange, |at| Next::At(self.clock.instant(at))))
    }
}

impl Controller {
    fn complain(&self, cron_job: &CronJob, reason: &str, message: &str) {
        let mut complaints = self
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complaints.len() > 4096 {
            complaints.clear();
        }
        let uid = cron_job.uid().unwrap_or_default();
        if complaints.insert(uid, message.to_owned()).as_deref() != Some(message) {
            self.recorder.warning(cron_job, reason, message);
        }
    }

    /// Brings the list of active Jobs up to date.
    async fn follow_jobs(
        &self,
        cron_job: Arc<CronJob>,
        jobs: &[Arc<Job>],
    ) -> Result<Arc<CronJob>, WriteError> {
        let known = cron_job.status.clone().unwrap_or_default();
        let listed = known.active.clone().unwrap_or_default();
        let is_listed = |job: &Job| listed.iter().any(|entry| entry.uid == job.metadata.uid);
        let mut status = known.clone();
        let mut active = Vec::new();
        for entry in &listed {
            let job = jobs.iter().find(|job| job.metadata.uid == entry.uid);
            let name = entry.name.as_deref().unwrap_or_default();
            match job {
                None => {
                    let text = format!("Active job went missing: {name}");
                    self.recorder.normal(&*cron_job, "MissingJob", text);
                }
                Some(job) if finished_at(job).is_some() => {
                    let condition = plan::finished_condition(job);
                    let text = format!("Saw completed job: {name}, condition: {condition}");
                    self.recorder.normal(&*cron_job, "SawCompletedJob", text);
                }
                Some(_) => active.push(entry.clone()),
            }
        }
        for job in jobs
            .iter()
            .filter(|job| finished_at(job).is_none() && !is_listed(job))
        {
            let name = job.name_any();
            let text = format!("Saw a job that the controller did not create or forgot: {name}");
            self.complain(&cron_job, "UnexpectedJob", &text);
        }
        let succeeded = jobs
            .iter()
            .filter_map(|job| job.status.as_ref()?.completion_time.clone());
        if let Some(last) = succeeded.max_by_key(|time| time.0)
            && status
                .last_successful_time
                .as_ref()
                .is_none_or(|known| known.0 < last.0)
        {
            status.last_successful_time = Some(last);
        }
        status.active = (!active.is_empty()).then_some(active);
        self.write(cron_job, status).await
    }

    async fn write(
        &self,
        cron_job: Arc<CronJob>,
        status: k8s_openapi::api::batch::v1::CronJobStatus,
    ) -> Result<Arc<CronJob>, WriteError> {
        if cron_job.status.clone().unwrap_or_default() == status {
            return Ok(cron_job);
        }
        let mut new = CronJob::clone(&cron_job);
        new.status = Some(status);
        Ok(Arc::new(self.cron_jobs.replace_status(&new).await?))
    }

    async fn forget_old_jobs(
        &self,
        cron_job: &CronJob,
        jobs: &[Arc<Job>],
    ) -> Result<(), WriteError> {
        for job in plan::too_old(cron_job, jobs) {
            self.delete(cron_job, &job).await?;
        }
        Ok(())
    }

    async fn delete(&self, cron_job: &CronJob, job: &Job) -> Result<(), WriteError> {
        let name = job.name_any();
        match self
            .jobs
            .delete(job, Some(PropagationPolicy::Background))
            .await
        {
            Ok(()) => {
                self.recorder
                    .normal(cron_job, "SuccessfulDelete", format!("Deleted job {name}"));
                Ok(())
            }
            Err(error) => {
                let text = format!("Deleted job: {}", error.message());
                self.recorder.warning(cron_job, "FailedDelete", text);
                Err(error)
            }
        }
    }

    async fn run_job(
        &self,
        cron_job: &Arc<CronJob>,
        jobs: &[Arc<Job>],
        at: jiff::Timestamp,
    ) -> Result<(), WriteError> {
        let mut status = cron_job.status.clone().unwrap_or_default();
        let active = status.active.clone().unwrap_or_default();
        if !active.is_empty() {
            match plan::concurrency(cron_job) {
                "Forbid" => {
                    let text = "Not starting job because prior execution is running and \
                                concurrency policy is Forbid";
                    self.recorder.normal(&**cron_job, "JobAlreadyActive", text);
                    return Ok(());
                }
                "Replace" => {
                    for entry in &active {
                        let job = jobs.iter().find(|job| job.metadata.uid == entry.uid);
                        if let Some(job) = job {
                            self.delete(cron_job, job).await?;
                        }
                    }
                    status.active = None;
                }
                _ => {}
            }
        }
        let job = match self.jobs.create(&plan::job(cron_job, at)).await {
            Ok(job) => {
                let text = format!("Created job {}", job.name_any());
                self.recorder.normal(&**cron_job, "SuccessfulCreate", text);
                Some(job)
            }
            // It was made before, and only the status is missing.
            Err(error) if error.is_already_exists() => {
                let name = plan::job_name(cron_job, at);
                let key = ObjectKey::new(cron_job.namespace().unwrap_or_default(), name);
                let known = self.jobs.read(&key).await?;
                known.filter(|job| {
                    ownership::is_controlled_by(&job.metadata, &cron_job.metadata)
                        && finished_at(job).is_none()
                })
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let text = format!("Error creating job: {}", error.message());
                    self.recorder.warning(&**cron_job, "FailedCreate", text);
                }
                return Err(error);
            }
        };
        if let Some(job) = job {
            let entry = ObjectReference {
                resource_version: job.resource_version(),
                ..reference(&job)
            };
            status.active.get_or_insert_default().push(entry);
        }
        status.last_schedule_time = Some(whole_seconds(at));
        self.write(cron_job.clone(), status).await.map(drop)
    }
}
