//! The history of one object, named as kubectl names it (`deploy/web`, `mysqls.otus.homework/shop`), with
//! what explains it: the history of its owners, and Events. It only asks the API, so it works on the
//! cluster of another process.

use kube::{
    Api, Client, Discovery, ResourceExt as _,
    api::DynamicObject,
    discovery::{ApiResource, Scope},
};
use serde_json::Value;

use super::{
    Version, of_kind,
    why::{self, Explained, Told},
};
use crate::Failure;

/// A kind that the cluster serves.
#[derive(Clone, Debug)]
struct Kind {
    resource: ApiResource,
    scope: Scope,
}

/// Every version of `KIND/NAME` that the cluster remembers, with its reasons.
pub async fn explained(
    client: &Client,
    asked: &str,
    namespace: &str,
) -> Result<Vec<Explained>, Failure> {
    let (kind, name) = asked
        .split_once('/')
        .filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains('/'))
        .ok_or_else(|| format!("{asked:?} is not KIND/NAME, for example pod/web-0"))?;
    let discovery = Discovery::new(client.clone()).run().await?;
    let found = resolve(client, &discovery, kind).await?;
    let namespace = (found.scope == Scope::Namespaced).then_some(namespace);
    let is_it = |version: &Version| version.namespace.as_deref() == namespace;
    let mut versions = of_kind(client, &found.resource, Some(name)).await?;
    versions.retain(is_it);
    super::times_from_neighbours(&mut versions);
    if versions.is_empty() {
        return Err(nothing(client, &found, name, namespace).await);
    }
    let owners = owners(client, &discovery, &versions, namespace).await;
    let events = events(client, &found.resource.kind, name, namespace, &owners).await?;
    Ok(why::explain(&versions, &owners, &events))
}

/// Either it was never there, or its versions are older than what the cluster remembers.
async fn nothing(client: &Client, kind: &Kind, name: &str, namespace: Option<&str>) -> Failure {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &kind.resource),
        None => Api::all_with(client.clone(), &kind.resource),
    };
    let what = match namespace {
        Some(namespace) => format!("{} {name} in the namespace {namespace}", kind.resource.kind),
        None => format!("{} {name}", kind.resource.kind),
    };
    match api.get_opt(name).await {
        Ok(Some(object)) => format!(
            "{what} is there, at revision {}, but the cluster remembers no change so old",
            object.resource_version().unwrap_or_default()
        ),
        Ok(None) => format!(
            "the cluster remembers no {what}; name another namespace with -n, \
             or look for it: kubectl get {}",
            kind.resource.plural
        ),
        Err(error) => format!("{what}: {}", crate::proof::chain(&error)),
    }
    .into()
}

/// By kind, plural, singular or short name, perhaps with the group: `deployments.apps`.
async fn resolve(client: &Client, discovery: &Discovery, asked: &str) -> Result<Kind, Failure> {
    let asked = asked.to_lowercase();
    let (word, group) = match asked.split_once('.') {
        Some((word, group)) => (word, Some(group)),
        None => (asked.as_str(), None),
    };
    for of_group in discovery.groups() {
        if group.is_some_and(|group| group != of_group.name()) {
            continue;
        }
        for (resource, capabilities) in of_group.recommended_resources() {
            let kind = resource.kind.to_lowercase();
            if kind == word || resource.plural == word {
                let scope = capabilities.scope;
                return Ok(Kind { resource, scope });
            }
        }
    }
    for of_group in discovery.groups() {
        for (resource, capabilities) in of_group.recommended_resources() {
            if group.is_none() && has_short_name(client, &resource, word).await {
                let scope = capabilities.scope;
                return Ok(Kind { resource, scope });
            }
        }
    }
    Err(format!(
        "the cluster serves no kind {asked:?}; kubectl api-resources lists those that it serves"
    )
    .into())
}

async fn has_short_name(client: &Client, resource: &ApiResource, word: &str) -> bool {
    let list = if resource.group.is_empty() {
        client.list_core_api_resources(&resource.version).await
    } else {
        client.list_api_group_resources(&resource.api_version).await
    };
    list.is_ok_and(|list| {
        list.resources.iter().any(|served| {
            served.name == resource.plural
                && (served.singular_name == word
                    || served
                        .short_names
                        .iter()
                        .flatten()
                        .any(|short| short == word))
        })
    })
}

/// The versions of all that owned the object at some time, and of what owned those.
async fn owners(
    client: &Client,
    discovery: &Discovery,
    versions: &[Version],
    namespace: Option<&str>,
) -> Vec<Version> {
    let mut found: Vec<Version> = Vec::new();
    let mut to_ask = owners_in(versions);
    while let Some((api_version, kind, name)) = to_ask.pop() {
        if found
            .iter()
            .any(|known| known.kind == kind && known.name == name)
        {
            continue;
        }
        let resources = discovery
            .groups()
            .flat_map(kube::discovery::ApiGroup::recommended_resources);
        let Some((resource, _)) = resources
            .into_iter()
            .find(|(resource, _)| resource.kind == kind && resource.api_version == api_version)
        else {
            continue;
        };
        // An owner whose history is not known explains nothing, and that is all.
        let Ok(mut of_owner) = of_kind(client, &resource, Some(&name)).await else {
            continue;
        };
        of_owner
            .retain(|owner| owner.namespace.is_none() || owner.namespace.as_deref() == namespace);
        to_ask.extend(owners_in(&of_owner));
        found.extend(of_owner);
    }
    found
}

fn owners_in(versions: &[Version]) -> Vec<(String, String, String)> {
    let references = versions
        .iter()
        .filter_map(|version| version.object["metadata"]["ownerReferences"].as_array())
        .flatten();
    let mut found: Vec<_> = references
        .map(|owner| {
            let part = |key: &str| owner[key].as_str().unwrap_or_default().to_owned();
            (part("apiVersion"), part("kind"), part("name"))
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// Events about the object, and those about its owners that speak of it by name.
async fn events(
    client: &Client,
    kind: &str,
    name: &str,
    namespace: Option<&str>,
    owners: &[Version],
) -> Result<Vec<Told>, kube::Error> {
    let resource = ApiResource::erase::<k8s_openapi::api::core::v1::Event>(&());
    let mut told = Vec::new();
    for event in of_kind(client, &resource, None).await? {
        let about = &event.object["involvedObject"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let same_place = namespace.is_none_or(|namespace| about["namespace"] == namespace);
        if event.change == "DELETED" || !same_place {
            continue;
        }
        let (about_kind, about_name) = (text(&about["kind"]), text(&about["name"]));
        let message = text(&event.object["message"]);
        let is_about_it = about_kind == kind && about_name == name;
        let is_owners = owners
            .iter()
            .any(|owner| owner.kind == about_kind && owner.name == about_name)
            && message.contains(name);
        if !(is_about_it || is_owners) {
            continue;
        }
        let by = [
            &event.object["source"]["component"],
            &event.object["reportingComponent"],
        ]
        .into_iter()
        .filter_map(Value::as_str)
        .find(|text| !text.is_empty())
        .unwrap_or("somebody");
        let subject = if is_about_it {
            String::new()
        } else {
            format!(" about {about_kind} {about_name}")
        };
        told.push(Told {
            at: event.at.as_deref().and_then(|at| at.parse().ok()),
            revision: super::revision(&event.revision),
            text: format!(
                "{} Event {}{subject} by {by}: {message}",
                text(&event.object["type"]),
                text(&event.object["reason"]),
            ),
        });
    }
    Ok(told)
}
