//! Reports of runs: for machines (JUnit XML, JSON), for people later (one page), for people now (lines).
//!
//! The page needs nothing but itself: no script or style from elsewhere. Nothing here decides anything.

use kube::api::ListParams;
use serde::Serialize;

use crate::{Cluster, history, journal::Entry, scenario::Run};

mod html;
mod junit;
mod live;
mod picture;
mod spinner;
mod told;

pub use html::html;
pub use junit::junit;
pub use live::{Live, Style};
pub use spinner::Spinner;
pub use told::{Told, seconds};

/// What happened in the cluster over time, for the picture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Versions of objects.
    pub versions: Vec<history::Version>,
    /// Events, oldest first.
    pub events: Vec<EventLine>,
    /// The requests of recorded clients.
    pub requests: Vec<Entry>,
}

/// An Event, as far as reports show it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EventLine {
    /// When it was first told.
    pub at: String,
    /// `Kind name`
    pub about: String,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why it was told.
    pub reason: String,
    /// What it says.
    pub message: String,
}

impl Timeline {
    /// Asks the cluster; what it does not know is left out.
    pub async fn of(cluster: &Cluster) -> Self {
        let versions = if cluster.can(crate::backend::Capability::History) {
            history::of_all(&cluster.client()).await.unwrap_or_default()
        } else {
            Vec::new()
        };
        let events = cluster.all::<k8s_openapi::api::core::v1::Event>();
        let events = events.list(&ListParams::default()).await;
        let events = events.map(|list| list.items).unwrap_or_default();
        let mut events: Vec<EventLine> = events.into_iter().map(EventLine::of).collect();
        events.sort_by(|a, b| a.at.cmp(&b.at));
        Self {
            versions,
            events,
            requests: cluster.journal().entries(),
        }
    }
}

impl EventLine {
    fn of(event: k8s_openapi::api::core::v1::Event) -> Self {
        let time = event.metadata.creation_timestamp;
        let about = event.involved_object;
        Self {
            at: time.map(|time| time.0.to_string()).unwrap_or_default(),
            about: format!(
                "{} {}",
                about.kind.unwrap_or_default(),
                about.name.unwrap_or_default()
            ),
            warning: event.type_.as_deref() == Some("Warning"),
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        }
    }
}

/// All runs as JSON.
pub fn json(runs: &[Run]) -> String {
    serde_json::to_string_pretty(runs).unwrap_or_default()
}
