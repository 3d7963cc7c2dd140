//! Reports of runs: for machines (JUnit XML, JSON), for people later (one page), for people now (lines).
//!
//! The page needs nothing but itself: no script or style from elsewhere. Nothing here decides anything.

use kube::api::ListParams;
use serde::Serialize;

use crate::{Cluster, history, journal::Entry, scenario::Run};

mod html;
mod junit;
mod live;

pub use html::html;
pub use junit::junit;
pub use live::{Live, Style};

/// What happened in the cluster over time, for the picture.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Timeline {
    /// Versions of objects.
    pub versions: Vec<history::Version>,
    /// Events: time, about what, reason, message.
    pub events: Vec<[String; 4]>,
    /// The requests of recorded clients.
    pub requests: Vec<Entry>,
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
        Self {
            versions,
            events: events
                .into_iter()
                .map(|event| {
                    let time = event
                        .metadata
                        .creation_timestamp
                        .map(|time| time.0.to_string());
                    let about = event.involved_object;
                    let text = |text: Option<String>| text.unwrap_or_default();
                    [
                        text(time),
                        format!("{} {}", text(about.kind), text(about.name)),
                        text(event.reason),
                        text(event.message),
                    ]
                })
                .collect(),
            requests: cluster.journal().entries(),
        }
    }
}

/// All runs as JSON.
pub fn json(runs: &[Run]) -> String {
    serde_json::to_string_pretty(runs).unwrap_or_default()
}
