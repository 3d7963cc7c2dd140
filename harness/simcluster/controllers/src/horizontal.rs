//! HorizontalPodAutoscalers: as many pods as what they use asks for.
//!
//! [`turn`] is one look at one of them: [`metrics`] asks what pods use, [`replicas`] reckons what one metric asks
//! for, [`behavior`] keeps that within what is allowed, [`status`] says it. Metrics of pods, objects and other
//! systems are those of APIs that nobody serves here, and are said to be missing.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kube::Client;
use tokio::time::Instant;

use crate::{
    cache::{Cache, ObjectKey},
    clock::Clock,
    context::Context,
    events::Recorder,
    objects::{Objects, WriteError},
    settings::HorizontalSettings,
    universe::Universe,
    work_queue::{Next, Reconcile, WorkQueue, work},
};

mod behavior;
mod metrics;
mod replicas;
mod status;
mod turn;

use behavior::Memory;
use turn::Turn;

const NAME: &str = "horizontal-pod-autoscaler";

/// What is remembered of one autoscaler.
struct Known {
    memory: Memory,
    /// When it looks again.
    due: Instant,
    /// The pods that it counted last.
    pods: BTreeSet<String>,
}

struct Controller {
    client: Client,
    autoscalers: Objects<HorizontalPodAutoscaler>,
    pods: Arc<Cache<Pod>>,
    universe: Arc<Universe>,
    recorder: Recorder,
    clock: Clock,
    settings: HorizontalSettings,
    known: Mutex<BTreeMap<ObjectKey, Known>>,
}

/// Registers for changes; the future works until dropped.
pub(crate) fn start(context: &Context) -> impl Future<Output = ()> + Send + use<> {
    let queue: Arc<WorkQueue<ObjectKey>> = Arc::default();
    let autoscalers = context.objects::<HorizontalPodAutoscaler>();
    let own = queue.clone();
    autoscalers.cache().on_change(move |change| {
        if change.old().is_none() || change.is_removal() {
            own.add(ObjectKey::of(&change.object().metadata));
        }
    });
    let controller = Controller {
        client: context.client.clone(),
        autoscalers,
        pods: context.cache(),
        universe: context.universe(),
        recorder: context.recorder(NAME),
        clock: context.clock,
        settings: context.settings.horizontal,
        known: Mutex::default(),
    };
    async move {
        controller.autoscalers.cache().synced().await;
        controller.pods.synced().await;
        controller.universe.synced().await;
        work(NAME, queue, 5, controller).await;
    }
}

impl Reconcile<ObjectKey> for Controller {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, WriteError> {
        let Some(autoscaler) = self.autoscalers.cache().find(&key) else {
            self.known().remove(&key);
            return Ok(Next::OnChange);
        };
        let (now, period) = (Instant::now(), self.settings.sync_period);
        let due = {
            let mut all = self.known();
            // One that is new is looked at after a period, too.
            let known = all.entry(key.clone()).or_insert_with(|| Known {
                memory: Memory::default(),
                due: now + period,
                pods: BTreeSet::new(),
            });
            if known.due <= now {
                known.due = now + period;
                None
            } else {
                Some(known.due)
            }
        };
        if let Some(due) = due {
            return Ok(Next::At(due));
        }
        let mut turn = Turn {
            controller: self,
            key: &key,
            autoscaler: &autoscaler,
            status: autoscaler.status.clone().unwrap_or_default(),
            now: self.clock.time(),
        };
        if let Err(why) = turn.take().await {
            tracing::debug!(autoscaler = ?key, why, "no replica count");
        }
        let new = turn.status;
        if autoscaler.status.as_ref() != Some(&new) {
            let mut told = HorizontalPodAutoscaler::clone(&autoscaler);
            told.status = Some(new);
            self.autoscalers.replace_status(&told).await?;
        }
        Ok(Next::At(now + period))
    }
}

impl Controller {
    fn known(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_memory<T>(&self, key: &ObjectKey, act: impl FnOnce(&mut Memory) -> T) -> Option<T> {
        self.known()
            .get_mut(key)
            .map(|known| act(&mut known.memory))
    }
}
