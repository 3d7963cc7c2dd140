//! The `scale` subresource: an object's replicas under a name that all workloads share.

use std::sync::Arc;

use http::StatusCode;
use serde_json::{Map, Value, json};
use simcluster_machinery::{
    field::{Error, Path},
    kind::GroupVersionKind,
    schema::builtin,
    selector::LabelSelector,
    status::Status,
};

use super::{
    Part,
    modify::{Change, modify},
    patch::{Patch, PatchKind},
    write_options::{OptionsKind, WriteOptions},
};
use crate::{
    server::{
        Failure,
        admit::{self, webhooks::Write},
        call::Call,
        decode, managed,
        negotiate::{self, Offer},
        registry::Resource,
        reply::{self, Reply},
    },
    store::Object,
};

/// Where an object has its replicas.
struct Paths {
    spec_replicas: Vec<String>,
    status_replicas: Vec<String>,
    selector: Option<Vec<String>>,
}

fn paths(resource: &Resource) -> Paths {
    let split = |path: &str| {
        path.trim_start_matches('.')
            .split('.')
            .map(str::to_owned)
            .collect()
    };
    match resource.custom.as_ref().and_then(|version| version.scale()) {
        Some(scale) => Paths {
            spec_replicas: split(&scale.spec_replicas),
            status_replicas: split(&scale.status_replicas),
            selector: scale.selector.as_deref().map(split),
        },
        None => Paths {
            spec_replicas: split("spec.replicas"),
            status_replicas: split("status.replicas"),
            selector: None,
        },
    }
}

/// `GET`, `PUT` and `PATCH` of a scale.
pub(super) async fn run(call: &mut Call, verb: &str) -> Result<Reply, Failure> {
    match verb {
        "get" => {
            let object = super::read::served(call).await?;
            has_replicas(call, object.value())?;
            answer(call, &object)
        }
        "update" => update(call).await,
        "patch" => patch(call).await,
        _ => Err(Box::new(Status::method_not_allowed())),
    }
}

/// A custom resource that does not say how many it wants has no scale to show.
fn has_replicas(call: &Call, object: &Value) -> Result<(), Failure> {
    let custom = call.resource.custom.as_ref();
    let Some(scale) = custom.and_then(|version| version.scale()) else {
        return Ok(());
    };
    if at(object, &paths(&call.resource).spec_replicas).is_some() {
        return Ok(());
    }
    let why = format!(
        "the spec replicas field {:?} does not exist",
        scale.spec_replicas
    );
    Err(Box::new(Status::internal(&why)))
}

fn kind() -> GroupVersionKind {
    GroupVersionKind::new("autoscaling", "v1", "Scale")
}

async fn update(call: &mut Call) -> Result<Reply, Failure> {
    let options = WriteOptions::of(call, OptionsKind::Update)?;
    let scale = decode::other(call, &kind())?;
    let changed = modify(call, Part::Whole, options, |call, old| {
        set(call, old, &scale)
    })
    .await?;
    answer(call, &changed)
}

async fn patch(call: &mut Call) -> Result<Reply, Failure> {
    let of = PatchKind::of(call)?;
    let applies = of == PatchKind::Apply;
    let options = WriteOptions::of(call, OptionsKind::Patch { apply: applies })?;
    if applies {
        return apply(call, options).await;
    }
    let patch = Patch::read(call, of)?;
    let changed = modify(call, Part::Whole, options, |call, old| {
        let patched = patch.apply_to(
            scale(&call.resource, old),
            builtin::schema(&kind()).as_ref(),
        )?;
        let patched = decode::patched_other(call, patched, patch.problems(), &kind())?;
        set(call, old, &patched)
    })
    .await?;
    answer(call, &changed)
}

/// `PATCH` with a configuration: who applies owns the replicas.
async fn apply(call: &mut Call, options: WriteOptions) -> Result<Reply, Failure> {
    let configuration = decode::configuration_of(call, &kind())?;
    let changed = modify(call, Part::Whole, options, |call, old| {
        let path = paths(&call.resource).spec_replicas;
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let before = scale(&call.resource, old);
        let mut new = old.clone();
        let merged = managed::merge_scale(call, old, &before, &configuration, &mut new, &names)?;
        let object = set(call, old, &merged)?.object;
        let managers = new["metadata"]["managedFields"].take();
        new = object;
        new["metadata"]["managedFields"] = managers;
        Ok(Change {
            object: new,
            recorded: true,
        })
    })
    .await?;
    answer(call, &changed)
}

/// Lets policies and webhooks see a change of replicas as what it is, a change of a scale.
pub(super) async fn admit(
    call: &mut Call,
    old: &Value,
    new: &mut Value,
    dry_run: bool,
) -> Result<(), Failure> {
    let resource = Arc::clone(&call.resource);
    let (before, mut after) = (scale(&resource, old), scale(&resource, new));
    let write = Write {
        operation: "UPDATE",
        old: Some(&before),
        dry_run,
        ..Write::default()
    };
    let asked = after["spec"]["replicas"].clone();
    admit::through(call, &kind(), &mut after, write).await?;
    if after["spec"]["replicas"] != asked {
        let replicas = after["spec"]["replicas"].as_i64().unwrap_or(0);
        put(new, &paths(&resource).spec_replicas, replicas.into());
    }
    Ok(())
}

fn set(call: &Call, old: &Value, scale: &Value) -> Result<Change, Failure> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let path = Path::new("spec").child("replicas");
        let error = Error::invalid(&path, replicas, "must be greater than or equal to 0");
        let name = &call.route.name;
        return Err(Box::new(Status::invalid(
            "autoscaling",
            "Scale",
            name,
            &[error],
        )));
    }
    let asked = scale["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default();
    let mut new = old.clone();
    if !asked.is_empty() && old["metadata"]["resourceVersion"] != asked {
        return Err(Box::new(Status::modified(
            call.resource_name(),
            &call.route.name,
        )));
    }
    let path = paths(&call.resource).spec_replicas;
    put(&mut new, &path, replicas.into());
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    managed::record_scale(call, old, &mut new, &path);
    Ok(Change {
        object: new,
        recorded: true,
    })
}

fn answer(call: &Call, object: &Object) -> Result<Reply, Failure> {
    let wanted = negotiate::object(&call.headers, &call.query, Offer::Whole, false)?;
    Ok(reply::json(
        StatusCode::OK,
        &scale(&call.resource, object.value()),
        &wanted,
    ))
}

/// The scale of an object.
fn scale(resource: &Resource, object: &Value) -> Value {
    let paths = paths(resource);
    let mut metadata = Map::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    let number = |path: &[String]| at(object, path).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    let wanted = number(&paths.spec_replicas);
    if wanted != 0 {
        spec.insert("replicas".to_owned(), wanted.into());
    }
    let mut status = json!({"replicas": number(&paths.status_replicas)});
    let selector = match &paths.selector {
        Some(path) => at(object, path).and_then(Value::as_str).map(str::to_owned),
        None if resource.custom.is_some() => None,
        None if resource.is("", "replicationcontrollers") => {
            let labels = serde_json::from_value(object["spec"]["selector"].clone());
            labels
                .ok()
                .map(|labels| LabelSelector::from_labels(&labels).to_string())
        }
        None => LabelSelector::from_object(object["spec"].get("selector"))
            .ok()
            .map(|selector| selector.to_string()),
    };
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": metadata, "spec": spec, "status": status,
    })
}

fn at<'v>(object: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(object, |value, name| value.get(name))
}

fn put(object: &mut Value, path: &[String], value: Value) {
    let Some((last, parents)) = path.split_last() else {
        return;
    };
    let mut place = object;
    for name in parents {
        if !place[name.as_str()].is_object() {
            place[name.as_str()] = json!({});
        }
        place = &mut place[name.as_str()];
    }
    place[last.as_str()] = value;
}
