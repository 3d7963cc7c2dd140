//! The watching: hands every change of every object to the checks, and asks the cluster where a check needs
//! to know more. It judges nothing itself.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use harness::{Cluster, Failure};
use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Service},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::watcher::{self, Event as Change},
};
use mysql_operator::crd::MySQL;
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use tokio_util::task::TaskTracker;

use super::{
    Violations, acknowledged, backups, convergence, credentials, foreign, gate, key, processes,
    release, restores, secrets, single,
};
use crate::{requests::Requests, watching};

/// The watching of one scenario. Dropping it ends it.
pub struct Watch {
    client: Client,
    violations: Violations,
    lives: Shared<acknowledged::Lives>,
    written: Shared<foreign::Written>,
    texts: secrets::Texts,
    /// Questions to the cluster that are not answered yet.
    asking: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
}

/// What several kinds of object tell of.
#[derive(Clone, Debug, Default)]
struct Shared<T>(Arc<Mutex<T>>);

impl<T> Shared<T> {
    fn get(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far apart looks at the machine's processes begin: whatever runs for longer is seen by one of them.
const PAUSE: Duration = Duration::from_millis(100);

/// Looks at command lines whenever pods have changed.
async fn look_at_commands(pods_changed: Arc<Notify>, texts: secrets::Texts) {
    loop {
        pods_changed.notified().await;
        let begun = Instant::now();
        let commands = tokio::task::spawn_blocking(processes::commands).await;
        for command in commands.into_iter().flatten() {
            texts.remember_text("a command line of an operation", command);
        }
        tokio::time::sleep_until(begun + PAUSE).await;
    }
}

impl Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Begins; the definition of the resource must be installed. The requests are those of an operator in
    /// this process.
    pub fn start(client: &Client, requests: &Requests) -> Self {
        let mut watch = Self {
            client: client.clone(),
            violations: Violations::default(),
            lives: Shared::default(),
            written: Shared::default(),
            texts: secrets::Texts::default(),
            asking: TaskTracker::new(),
            tasks: Vec::new(),
        };
        let told = watch.violations.clone();
        requests.judge_writes(move |write| told.add(foreign::wrong(write)));
        let restores = Shared::default();
        watch.pods();
        watch.instances(restores.clone());
        watch.jobs(restores);
        watch.secrets();
        watch.others();
        watch
    }

    fn pods(&mut self) {
        let (told, texts) = (self.violations.clone(), self.texts.clone());
        let (asked, asking) = (self.client.clone(), self.asking.clone());
        let mut opened = gate::Opened::default();
        let mut ready = credentials::Ready::default();
        let look = Arc::new(Notify::new());
        let looking = look_at_commands(Arc::clone(&look), texts.clone());
        self.tasks.push(tokio::spawn(looking));
        self.each(move |pods: &BTreeMap<String, Pod>, changed: &Pod| {
            texts.remember(changed);
            told.add(single::servers(pods));
            told.add(single::operations(pods));
            if opened.is_new(changed) {
                let (told, asked, pod) = (told.clone(), asked.clone(), changed.clone());
                asking.spawn(async move {
                    told.add(gate::opened_too_early(&asked, &pod).await);
                });
            }
            if ready.is_new(changed) {
                let namespace = changed.namespace().unwrap_or_default();
                let instance = changed.labels().get("app").cloned().unwrap_or_default();
                let (told, asked) = (told.clone(), asked.clone());
                asking.spawn(async move {
                    told.add(credentials::locked_out(&asked, &namespace, &instance).await);
                });
            }
            for container in texts.ended(changed) {
                let (texts, asked, pod) = (texts.clone(), asked.clone(), changed.clone());
                asking.spawn(async move { texts.remember_log(&asked, &pod, &container).await });
            }
            look.notify_one();
        });
    }

    fn instances(&mut self, restores: Shared<restores::Restores>) {
        let (told, texts) = (self.violations.clone(), self.texts.clone());
        let (asked, asking) = (self.client.clone(), self.asking.clone());
        let lives = self.lives.clone();
        let mut last = BTreeMap::new();
        self.each(move |all: &BTreeMap<String, MySQL>, changed: &MySQL| {
            texts.remember_instance(changed);
            told.add(convergence::unexplained(changed));
            told.add(foreign::spec_written(changed));
            told.add(restores.get().instance(changed));
            let key = key(changed);
            if all.contains_key(&key) {
                told.add(lives.get().changed(changed));
                last.insert(key, changed.clone());
            } else if let Some(before) = last.remove(&key) {
                told.add(lives.get().gone(&before));
                let (told, asked) = (told.clone(), asked.clone());
                asking.spawn(async move {
                    told.add(release::without_backup(&asked, &before).await);
                });
            }
        });
    }

    fn jobs(&mut self, restores: Shared<restores::Restores>) {
        let (told, texts) = (self.violations.clone(), self.texts.clone());
        let written = self.written.clone();
        self.each(move |_: &BTreeMap<String, Job>, changed: &Job| {
            texts.remember(changed);
            written.get().saw(changed);
            told.add(restores.get().job(changed));
        });
    }

    fn secrets(&mut self) {
        let (told, texts) = (self.violations.clone(), self.texts.clone());
        let (asked, asking) = (self.client.clone(), self.asking.clone());
        let written = self.written.clone();
        self.each(move |_: &BTreeMap<String, Secret>, changed: &Secret| {
            texts.learn(changed);
            written.get().saw(changed);
            let Some(instance) = changed.labels().get("otus.homework/instance").cloned() else {
                return;
            };
            let namespace = changed.namespace().unwrap_or_default();
            let (told, asked) = (told.clone(), asked.clone());
            asking.spawn(async move {
                told.add(credentials::locked_out(&asked, &namespace, &instance).await);
            });
        });
    }

    fn others(&mut self) {
        let (told, mut known) = (self.violations.clone(), backups::Known::default());
        let written = self.written.clone();
        self.each(
            move |_: &BTreeMap<String, PersistentVolumeClaim>, changed: &PersistentVolumeClaim| {
                told.add(known.lost(changed));
                written.get().saw(changed);
            },
        );
        let texts = self.texts.clone();
        self.each(move |_: &BTreeMap<String, Event>, changed: &Event| {
            texts.remember(changed);
        });
        self.written_by::<Service>();
        self.written_by::<Deployment>();
        self.written_by::<PersistentVolume>();
    }

    fn written_by<K>(&mut self)
    where
        K: Resource<DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize
            + Send
            + 'static,
    {
        let (written, texts) = (self.written.clone(), self.texts.clone());
        self.each(move |_: &BTreeMap<String, K>, changed: &K| {
            written.get().saw(changed);
            texts.remember(changed);
        });
    }

    /// Calls `check` with all objects of a kind and the one that has changed, at every change.
    fn each<K, F>(&mut self, mut check: F)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
        F: FnMut(&BTreeMap<String, K>, &K) + Send + 'static,
    {
        let api: Api<K> = Api::all(self.client.clone());
        self.tasks.push(tokio::spawn(async move {
            let mut objects = BTreeMap::new();
            let mut stream = watcher::watcher(api, watcher::Config::default()).boxed();
            while let Some(change) = stream.next().await {
                let changed = match change {
                    Ok(Change::InitApply(object) | Change::Apply(object)) => {
                        objects.insert(key(&object), object.clone());
                        object
                    }
                    Ok(Change::Delete(object)) => {
                        objects.remove(&key(&object));
                        object
                    }
                    // The watch is begun again by itself.
                    Ok(Change::Init | Change::InitDone) | Err(_) => continue,
                };
                check(&objects, &changed);
            }
        }));
    }

    /// Clients saw this many rows in the instance and wrote no more before they delete it.
    pub fn acknowledged(&self, instance: &MySQL, rows: u64) {
        self.lives.get().acknowledged(instance, rows);
    }

    /// Waits until every instance has come to rest; the operator must be at work.
    pub async fn rest(&self) -> Result<(), Failure> {
        let mut last = Vec::new();
        let all: Api<MySQL> = Api::all(self.client.clone());
        let config = watcher::Config::default();
        let resting = watching::until(all, config, "all instances to rest", |all| {
            last = all.values().filter_map(convergence::restless).collect();
            last.is_empty().then_some(())
        });
        match resting.await {
            Ok(()) => Ok(()),
            Err(_) => {
                Err(format!("I7: the end of all work never comes: {}", last.join("; ")).into())
            }
        }
    }

    /// Ends the watching and fails if something was seen that must never be. The exceptions are what the
    /// scenario does on purpose: violations that contain one of these words.
    pub async fn finish(self, cluster: &Cluster, exceptions: &[&str]) -> Result<(), Failure> {
        self.asking.close();
        self.asking.wait().await;
        self.texts.remember_logs(&self.client).await?;
        let own = cluster.run_log().text();
        let lines = own.lines().filter(|line| line.contains("mysql_operator"));
        self.texts
            .remember_text("the operator's log", lines.collect::<Vec<_>>().join("\n"));
        self.violations.add(self.texts.leaks());
        self.violations.add(self.written.get().violations());
        let violations: Vec<String> = self
            .violations
            .all()
            .into_iter()
            .filter(|text| !exceptions.iter().any(|word| text.contains(word)))
            .collect();
        if violations.is_empty() {
            return Ok(());
        }
        Err(format!("an invariant was violated:\n{}", violations.join("\n")).into())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
