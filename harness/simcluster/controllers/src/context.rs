//! What every controller is given: caches, writes, events, time. It does NOT start anything.

use std::sync::{Arc, OnceLock};

use kube::Client;

use crate::{
    cache::{Cache, set::Caches},
    clock::Clock,
    events::{Form, Recorder, Recorders},
    objects::{Kind, Objects},
    settings::Settings,
    universe::Universe,
};

/// The field manager of all controllers but the scheduler, as in Kubernetes.
pub(crate) const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// What every controller is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) caches: Arc<Caches>,
    pub(crate) clock: Clock,
    pub(crate) settings: Arc<Settings>,
    recorders: Recorders,
    universe: Arc<OnceLock<Arc<Universe>>>,
}

impl Context {
    pub(crate) fn new(client: Client, settings: Settings, recorders: Recorders) -> Self {
        Self {
            caches: Arc::new(Caches::new(client.clone())),
            client,
            clock: Clock::start(),
            settings: Arc::new(settings),
            recorders,
            universe: Arc::default(),
        }
    }

    /// The objects of a kind, written in the controller manager's name.
    pub(crate) fn objects<K: Kind>(&self) -> Objects<K> {
        self.objects_as(CONTROLLER_MANAGER)
    }

    /// The objects of a kind, written in this name.
    pub(crate) fn objects_as<K: Kind>(&self, manager: &'static str) -> Objects<K> {
        Objects::new(self.client.clone(), self.caches.of(), self.clock, manager)
    }

    pub(crate) fn cache<K: Kind>(&self) -> Arc<Cache<K>> {
        self.caches.of()
    }

    pub(crate) fn recorder(&self, component: &'static str) -> Recorder {
        self.recorders.recorder(component, Form::Core)
    }

    pub(crate) fn reporting_recorder(&self, component: &'static str) -> Recorder {
        self.recorders.recorder(component, Form::Reporting)
    }

    /// All objects of all kinds; it is made at the first call.
    pub(crate) fn universe(&self) -> Arc<Universe> {
        let make = || Arc::new(Universe::new(self.client.clone(), self.caches.clone()));
        self.universe.get_or_init(make).clone()
    }

    /// The universe, if some controller has asked for it; whoever starts the controllers runs it.
    pub(crate) fn wanted_universe(&self) -> Option<Arc<Universe>> {
        self.universe.get().cloned()
    }
}
