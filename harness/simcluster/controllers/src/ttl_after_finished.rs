//! Finished Jobs go when their `ttlSecondsAfterFinished` has passed. It does NOT look at Jobs without that field.

use std::{future::Future, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use kube::api::PropagationPolicy;

use crate::{
    cache::ObjectKey,
    clock::{Clock, seconds_after},
    context::Context,
    job::finished_at,
    objects::{Objects, WriteError},
    work_queue::{Next, Reconcile, WorkQueue, work},
};

const NAME: &str = "ttl-after-finished-controller";

struct Controller {
    jobs: Objects<Job>,
    clock: Clock,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let jobs = context.objects::<Job>();
    let own = queue.clone();
    jobs.cache().on_change(move |change| {
        if expires_at(change.object()).is_some() && !change.is_removal() {
            own.add(ObjectKey::of(&change.object().metadata));
        }
    });
    let controller = Controller {
        jobs,
        clock: context.clock,
    };
    async move {
        controller.jobs.cache().synced().await;
        work(NAME, queue, 8, controller).await;
    }
}

/// When a job is to go, if it is finished and has a time to live.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    Some(seconds_after(finished_at(job)?, i64::from(seconds)))
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(job) = self.jobs.cache().find(&key) else {
            return Ok(Next::OnChange);
        };
        let Some(at) = expires_at(&job).filter(|_| job.metadata.deletion_timestamp.is_none())
        else {
            return Ok(Next::OnChange);
        };
        if at > self.clock.now() {
            return Ok(Next::At(self.clock.instant(at)));
        }
        // The cache may be late, and a time to live may have been prolonged.
        let fresh = self
            .jobs
            .read(&key)
            .await?
            .filter(|fresh| fresh.metadata.uid == job.metadata.uid);
        match fresh.as_ref().and_then(expires_at) {
            Some(at) if at > self.clock.now() => Ok(Next::At(self.clock.instant(at))),
            Some(_) => {
                self.jobs
                    .delete(&*job, Some(PropagationPolicy::Foreground))
                    .await?;
                Ok(Next::OnChange)
            }
            None => Ok(Next::OnChange),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_finished_job_with_a_time_to_live_expires() {
        let job = |ttl: Option<i32>, finished: bool| -> Job {
            let conditions = finished.then(|| {
                json!([{"type": "Complete", "status": "True",
                        "lastTransitionTime": "2026-01-01T00:00:00Z"}])
            });
            serde_json::from_value(json!({
                "metadata": {},
                "spec": {"template": {}, "ttlSecondsAfterFinished": ttl},
                "status": {"conditions": conditions},
            }))
            .unwrap()
        };
        assert_eq!(expires_at(&job(None, true)), None);
        assert_eq!(expires_at(&job(Some(5), false)), None);
        assert_eq!(
            expires_at(&job(Some(5), true)),
            Some("2026-01-01T00:00:05Z".parse().unwrap())
        );
    }
}
