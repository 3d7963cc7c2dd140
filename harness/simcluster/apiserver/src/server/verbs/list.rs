//! Many objects: all of them, selected ones, or a part at a time.

use std::{ops::Bound, sync::Arc};

use http::StatusCode;
use simcluster_machinery::status::Status;

use super::list_options::{Continue, ListOptions, Match, too_new};
use crate::{
    server::{
        Failure,
        call::Call,
        convert,
        form::{Former, ListMeta},
        reply::{self, Reply},
        select::Selection,
    },
    store::{Key, Object, Objects, Snapshot, StoreError},
};

/// `GET` of a collection.
pub(super) async fn list(call: &Call) -> Result<Reply, Failure> {
    let wanted = super::wanted(call, true)?;
    let former = Former::new(call, wanted)?;
    let options = ListOptions::of(call, false)?;
    let selection = Selection::of(call)?;
    let page = page(call, &options, &selection).await?;
    let text = former.list(&page.objects, &page.meta);
    Ok(reply::json_text(StatusCode::OK, text, &former.wanted))
}

/// A part of a list.
pub(super) struct Page {
    pub(super) objects: Vec<Arc<Object>>,
    pub(super) meta: ListMeta,
}

/// The part of a collection that a request is about.
pub(super) async fn page(
    call: &Call,
    options: &ListOptions,
    selection: &Selection,
) -> Result<Page, Failure> {
    let snapshot = snapshot(call, options)?;
    // Any revision will do: the answer comes from memory, which knows no parts.
    let limit = match (options.revision, options.revision_match) {
        (Some(0), _) => None,
        _ => options.limit,
    };
    let prefix = prefix(call);
    let start: Bound<&str> = match &options.start {
        Some(start) => Bound::Included(&start.key),
        None => Bound::Included(&prefix),
    };
    let covered = from(&snapshot.objects, start).take_while(|(key, _)| key.starts_with(&prefix));
    // Without selectors no more is looked at than is shown.
    let looked_at = limit.filter(|_| selection.is_everything());
    let covered = covered.take(looked_at.unwrap_or(usize::MAX));
    let covered: Vec<_> = covered.map(|(_, object)| object).collect();
    convert::ready(&call.server, &call.resource, covered).await?;
    let mut objects = Vec::new();
    let mut next = None;
    for (key, object) in from(&snapshot.objects, start) {
        if !key.starts_with(&prefix) {
            break;
        }
        if limit.is_some_and(|limit| objects.len() >= limit) {
            next = Some(key.clone());
            break;
        }
        let object = convert::served(&call.resource, object);
        if selection.is_everything() || selection.matches(&call.resource, &object) {
            objects.push(object);
        }
    }
    // With a selector the part may end where nothing that matches follows; a real server says so
    // only in the next, empty part as well.
    let remaining = next
        .as_ref()
        .filter(|_| selection.is_everything())
        .map(|next| {
            from(&snapshot.objects, Bound::Included(next))
                .take_while(|(key, _)| key.starts_with(&prefix))
                .count()
        });
    Ok(Page {
        objects,
        meta: ListMeta {
            revision: snapshot.revision,
            next: next.map(|key| {
                Continue {
                    revision: Some(snapshot.revision),
                    key: key.to_string(),
                }
                .token()
            }),
            remaining,
        },
    })
}

fn from<'o>(
    objects: &'o Objects,
    start: Bound<&str>,
) -> impl Iterator<Item = (&'o Key, &'o Arc<Object>)> {
    objects.range::<_, str>((start, Bound::Unbounded))
}

/// What the keys of the objects that the path covers begin with.
pub(super) fn prefix(call: &Call) -> String {
    if call.resource.namespaced && !call.route.namespace.is_empty() {
        format!("{}/", call.route.namespace)
    } else {
        String::new()
    }
}

fn snapshot(call: &Call, options: &ListOptions) -> Result<Snapshot, Failure> {
    let collection = &call.resource.collection;
    let store = call.server.store.read();
    let (revision, exact) = match (&options.start, options.revision) {
        (
            Some(Continue {
                revision: Some(revision),
                ..
            }),
            _,
        ) => (*revision, true),
        (None, Some(revision)) => {
            let exact = options.revision_match == Some(Match::Exact)
                // A list in parts that names a revision means that one.
                || (options.revision_match.is_none() && options.limit.is_some() && revision > 0);
            (revision, exact)
        }
        (Some(_), _) | (None, None) => return Ok(store.snapshot(collection)),
    };
    if revision > store.revision() {
        return Err(too_new(revision, store.revision()));
    }
    if !exact {
        return Ok(store.snapshot(collection));
    }
    store
        .snapshot_at(collection, revision)
        .map_err(|error| match error {
            StoreError::Compacted { .. } => match &options.start {
                Some(start) if options.limit.is_some() => too_old_to_go_on(start),
                _ => Box::new(Status::expired(
                    "The resourceVersion for the provided list is too old.",
                )),
            },
            other => Box::new(Status::internal(&other.to_string())),
        })
}

/// 410, with a token that goes on from the same key with what there is now.
fn too_old_to_go_on(start: &Continue) -> Failure {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. \
         You can start a new list without the continue parameter, or use the continue token \
         in this response to retrieve the remainder of the results. Continuing with the \
         provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may \
         show up in the list.",
    );
    let anew = Continue {
        revision: None,
        key: start.key.clone(),
    };
    status.metadata.go_on = anew.token();
    Box::new(status)
}
