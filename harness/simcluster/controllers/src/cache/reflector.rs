//! Keeps a [`Cache`] equal to what the API server holds: a list, then a watch from that list's revision, for ever.
//!
//! Nothing here delays an event. Errors are retried with a growing pause; a watch that is too old is answered by a
//! new list. A kind that the server does not know counts as a kind without objects.

use std::{future::Future, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, TryStreamExt, stream::BoxStream};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta, WatchEvent, WatchParams},
    core::Status,
};
use serde::de::DeserializeOwned;
use tracing::{debug, warn};

use super::Cache;

/// Where a reflector reads: one kind, whole objects or their metadata only.
pub(crate) trait Source<K>: Send + Sync {
    /// How it is called in logs.
    fn describe(&self) -> String;
    /// Everything, and the revision at which it was so.
    fn list(&self) -> impl Future<Output = kube::Result<(Vec<K>, Option<String>)>> + Send;
    /// What happens after `revision`.
    fn watch(
        &self,
        revision: &str,
    ) -> impl Future<Output = kube::Result<BoxStream<'static, kube::Result<WatchEvent<K>>>>> + Send;
}

/// Whole objects of a kind known at compile time.
#[derive(Debug)]
pub(crate) struct Typed<K>(pub(crate) Api<K>);

impl<K> Source<K> for Typed<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    fn describe(&self) -> String {
        K::plural(&()).into_owned()
    }

    async fn list(&self) -> kube::Result<(Vec<K>, Option<String>)> {
        let list = self.0.list(&ListParams::default()).await?;
        Ok((list.items, list.metadata.resource_version))
    }

    async fn watch(
        &self,
        revision: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<K>>>> {
        Ok(self
            .0
            .watch(&WatchParams::default(), revision)
            .await?
            .boxed())
    }
}

/// Whole objects that a field selector selects, in all namespaces.
#[derive(Debug)]
pub(crate) struct Selected<K> {
    pub(crate) api: Api<K>,
    pub(crate) fields: &'static str,
}

impl<K> Source<K> for Selected<K>
where
    K: Resource<DynamicType = ()>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
{
    fn describe(&self) -> String {
        format!("{} with {}", K::plural(&()), self.fields)
    }

    async fn list(&self) -> kube::Result<(Vec<K>, Option<String>)> {
        let list = self
            .api
            .list(&ListParams::default().fields(self.fields))
            .await?;
        Ok((list.items, list.metadata.resource_version))
    }

    async fn watch(
        &self,
        revision: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<K>>>> {
        let params = WatchParams::default().fields(self.fields);
        Ok(self.api.watch(&params, revision).await?.boxed())
    }
}

/// The metadata of the objects of any kind.
#[derive(Debug)]
pub(crate) struct MetadataOnly {
    pub(crate) api: Api<DynamicObject>,
    pub(crate) resource: ApiResource,
}

impl Source<PartialObjectMeta<DynamicObject>> for MetadataOnly {
    fn describe(&self) -> String {
        format!(
            "metadata of {}.{}",
            self.resource.plural, self.resource.group
        )
    }

    async fn list(&self) -> kube::Result<(Vec<PartialObjectMeta<DynamicObject>>, Option<String>)> {
        let mut list = self.api.list_metadata(&ListParams::default()).await?;
        list.items.iter_mut().for_each(forget_what_is_large);
        Ok((list.items, list.metadata.resource_version))
    }

    async fn watch(
        &self,
        revision: &str,
    ) -> kube::Result<BoxStream<'static, kube::Result<WatchEvent<PartialObjectMeta<DynamicObject>>>>>
    {
        Ok(self
            .api
            .watch_metadata(&WatchParams::default(), revision)
            .await?
            .boxed())
    }
}

/// Who only looks at owners, finalizers and names needs neither of these, and there are many objects.
fn forget_what_is_large(object: &mut PartialObjectMeta<DynamicObject>) {
    object.metadata.managed_fields = None;
    object.metadata.annotations = None;
}

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Why a watch ended.
enum Ended {
    /// The server closed it in order, or it broke: go on from this revision.
    GoOnFrom(String),
    /// The revision is too old for a watch.
    ListAgain,
    /// The server refused.
    Refused,
}

/// Runs until dropped.
pub(crate) async fn reflect<K, S>(cache: Arc<Cache<K>>, source: S)
where
    K: Resource + Clone + Send + Sync + 'static,
    S: Source<K>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match source.list().await {
            Ok((objects, revision)) => {
                cache.replace(objects, revision.as_deref());
                pause = FIRST_PAUSE;
                let mut from = revision.unwrap_or_else(|| "0".to_owned());
                loop {
                    match follow(&cache, &source, from.clone()).await {
                        Ended::GoOnFrom(revision) => {
                            if revision == from {
                                // Without progress a server that closes at once would be asked in a hot loop.
                                tokio::time::sleep(FIRST_PAUSE).await;
                            }
                            from = revision;
                        }
                        Ended::ListAgain => break,
                        Ended::Refused => {
                            tokio::time::sleep(FIRST_PAUSE).await;
                            break;
                        }
                    }
                }
            }
            Err(error) => {
                if matches!(&error, kube::Error::Api(status) if status.code == 404) {
                    debug!(
                        kind = source.describe(),
                        "the server does not know this kind"
                    );
                    cache.replace_with_nothing();
                } else {
                    warn!(kind = source.describe(), %error, "listing failed; trying again");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn follow<K, S>(cache: &Cache<K>, source: &S, from: String) -> Ended
where
    K: Resource + Clone,
    S: Source<K>,
{
    let mut last = from;
    let mut events = match source.watch(&last).await {
        Ok(events) => events,
        Err(kube::Error::Api(status)) if status.code == 410 => return Ended::ListAgain,
        Err(error) => {
            debug!(kind = source.describe(), %error, "watching was refused");
            return Ended::Refused;
        }
    };
    loop {
        match next(&mut events).await {
            Some(Ok(event)) => match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    remember(&mut last, &object);
                    cache.told(object);
                }
                WatchEvent::Deleted(object) => {
                    remember(&mut last, &object);
                    cache.told_gone(&object);
                }
                WatchEvent::Bookmark(bookmark) => {
                    last = bookmark.metadata.resource_version;
                    cache.told_revision(&last);
                }
                WatchEvent::Error(status) => {
                    return if is_gone(&status) {
                        Ended::ListAgain
                    } else {
                        Ended::GoOnFrom(last)
                    };
                }
            },
            Some(Err(error)) => {
                debug!(kind = source.describe(), %error, "the watch broke");
                return Ended::GoOnFrom(last);
            }
            None => return Ended::GoOnFrom(last),
        }
    }
}

async fn next<T>(
    events: &mut (impl Stream<Item = kube::Result<T>> + Unpin),
) -> Option<kube::Result<T>> {
    events.try_next().await.transpose()
}

fn remember<K: Resource>(last: &mut String, object: &K) {
    if let Some(revision) = &object.meta().resource_version {
        last.clone_from(revision);
    }
}

fn is_gone(status: &Status) -> bool {
    status.code == 410
}
