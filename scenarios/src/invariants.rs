//! What must be true at every moment of every scenario, watched for as long as the scenario runs.
//!
//! | module | invariants of `docs/operation.md` |
//! |---|---|
//! | [`backups`] | 2: once there was a verified generation, there is one |
//! | [`gate`] | 4: no service leads to a server whose rows are not back |
//! | [`secrets`] | 6: no password in a status, event, log, command line or specification |
//! | [`release`] | 8: a resource goes after a verified backup or by an explicit wish |
//! | [`single`] | 9: never two servers on one data directory, never two operations on one server |
//!
//! What needs rows to be judged (1, 3, 5, 7, 10) is in scenarios of its own. A check is a pure function of
//! what was seen; the watching is here.

pub mod backups;
pub mod gate;
pub mod release;
pub mod secrets;
pub mod single;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt as _;
use harness::Failure;
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Event, PersistentVolumeClaim, Pod, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::watcher::{self, Event as Change},
};
use mysql_operator::crd::MySQL;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// What was seen and must never be; empty is good.
#[derive(Clone, Debug, Default)]
pub struct Violations(Arc<Mutex<Vec<String>>>);

impl Violations {
    /// Adds each of them once.
    pub fn add(&self, texts: impl IntoIterator<Item = String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            if !all.contains(&text) {
                all.push(text);
            }
        }
    }

    fn all(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The watching of one scenario. Dropping it ends it.
pub struct Watch {
    client: Client,
    violations: Violations,
    texts: secrets::Texts,
    /// Questions to the cluster that are not answered yet.
    asking: TaskTracker,
    tasks: Vec<JoinHandle<()>>,
}

impl Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}

impl Watch {
    /// Begins; the definition of the resource must be installed.
    pub fn start(client: &Client) -> Self {
        let (violations, texts) = (Violations::default(), secrets::Texts::default());
        let mut watch = Self {
            client: client.clone(),
            violations: violations.clone(),
            texts: texts.clone(),
            asking: TaskTracker::new(),
            tasks: Vec::new(),
        };
        let (told, seen) = (violations.clone(), texts.clone());
        watch.each(
            client,
            move |pods: &BTreeMap<String, Pod>, changed: &Pod| {
                seen.remember(changed);
                told.add(single::servers(pods));
                told.add(single::operations(pods));
            },
        );
        let (told, asked, asking) = (violations.clone(), client.clone(), watch.asking.clone());
        let mut opened = gate::Opened::default();
        watch.each(client, move |_: &BTreeMap<String, Pod>, changed: &Pod| {
            if opened.is_new(changed) {
                let (told, asked, pod) = (told.clone(), asked.clone(), changed.clone());
                asking.spawn(async move {
                    told.add(gate::opened_too_early(&asked, &pod).await);
                });
            }
        });
        let (told, mut known) = (violations.clone(), backups::Known::default());
        watch.each(
            client,
            move |_: &Claims, changed: &PersistentVolumeClaim| {
                told.add(known.lost(changed));
            },
        );
        let (told, asked, asking) = (violations, client.clone(), watch.asking.clone());
        let (seen, mut last) = (texts.clone(), BTreeMap::new());
        watch.each(
            client,
            move |all: &BTreeMap<String, MySQL>, changed: &MySQL| {
                seen.remember_instance(changed);
                let key = key(changed);
                if all.contains_key(&key) {
                    last.insert(key, changed.clone());
                } else if let Some(before) = last.remove(&key) {
                    let (told, asked) = (told.clone(), asked.clone());
                    asking.spawn(async move {
                        told.add(release::without_backup(&asked, &before).await);
                    });
                }
            },
        );
        let seen = texts.clone();
        watch.each(client, move |_: &BTreeMap<String, Job>, changed: &Job| {
            seen.remember(changed);
        });
        let seen = texts.clone();
        watch.each(
            client,
            move |_: &BTreeMap<String, Event>, changed: &Event| {
                seen.remember(changed);
            },
        );
        watch.each(
            client,
            move |_: &BTreeMap<String, Secret>, changed: &Secret| {
                texts.learn(changed);
            },
        );
        watch
    }

    /// Calls `check` with all objects of a kind and the one that has changed, at every change.
    fn each<K, F>(&mut self, client: &Client, mut check: F)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
        F: FnMut(&BTreeMap<String, K>, &K) + Send + 'static,
    {
        let api: Api<K> = Api::all(client.clone());
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

    /// Ends the watching and fails if something was seen that must never be. The exceptions are what the
    /// scenario does on purpose: violations that contain one of these words.
    pub async fn finish(self, exceptions: &[&str]) -> Result<(), Failure> {
        self.asking.close();
        self.asking.wait().await;
        self.texts.remember_logs(&self.client).await?;
        self.violations.add(self.texts.leaks());
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

type Claims = BTreeMap<String, PersistentVolumeClaim>;

fn key<K: Resource>(object: &K) -> String {
    format!(
        "{}/{}",
        object.namespace().unwrap_or_default(),
        object.name_any()
    )
}
