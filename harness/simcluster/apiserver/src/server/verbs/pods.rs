//! What can be done with a pod besides changing it: it is bound to a node, or evicted.

use http::StatusCode;
use serde_json::{Value, json};
use simcluster_machinery::{
    field::{Error, Path},
    kind::GroupVersionKind,
    selector::LabelSelector,
    status::{Cause, Details, Status},
};

use super::{
    Part,
    delete::{self, DeleteOptions},
    modify::{Change, modify},
    write_options::{OptionsKind, WriteOptions},
};
use crate::server::{
    Failure,
    admit::{self, webhooks::Write},
    call::Call,
    clock, decode,
    registry::collection,
    reply::{self, Reply},
};

/// A success with nothing to say.
fn done() -> Reply {
    let mut status = serde_json::to_value(Status::success(Details::default())).unwrap_or_default();
    if let Some(fields) = status.as_object_mut() {
        fields.remove("details");
        fields.insert("code".to_owned(), 201.into());
    }
    reply::json(
        StatusCode::CREATED,
        &status,
        &crate::server::negotiate::Wanted::default(),
    )
}

/// `POST` of a binding beside the pods: its name is the pod's.
pub(super) async fn bind_in_collection(call: &mut Call) -> Result<Reply, Failure> {
    let (options, binding) = binding(call).await?;
    if let Some(pods) = call.server.registry().find("", "v1", "pods") {
        call.resource = pods;
    }
    bind_to(call, options, &binding).await
}

/// `POST` of a pod's binding: the scheduler's decision.
pub(super) async fn bind(call: &mut Call) -> Result<Reply, Failure> {
    let (options, binding) = binding(call).await?;
    bind_to(call, options, &binding).await
}

/// The binding that is sent, after policies and webhooks had their say.
async fn binding(call: &mut Call) -> Result<(WriteOptions, Value), Failure> {
    let options = WriteOptions::of(call, OptionsKind::Create)?;
    let kind = GroupVersionKind::new("", "v1", "Binding");
    let mut binding = decode::other(call, &kind)?;
    if call.route.name.is_empty() {
        binding["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut call.route.name);
    }
    admit::through(call, &kind, &mut binding, creates(options)).await?;
    Ok((options, binding))
}

fn creates(options: WriteOptions) -> Write<'static> {
    Write {
        operation: "CREATE",
        dry_run: options.dry_run,
        ..Write::default()
    }
}

async fn bind_to(
    call: &mut Call,
    options: WriteOptions,
    binding: &Value,
) -> Result<Reply, Failure> {
    let target = &binding["target"];
    let node = target["name"].as_str().unwrap_or_default().to_owned();
    if !matches!(target["kind"].as_str(), None | Some("" | "Node")) || node.is_empty() {
        let path = Path::new("target");
        let error = if node.is_empty() {
            Error::required(&path.child("name"), "")
        } else {
            Error::not_supported(
                &path.child("kind"),
                target["kind"].clone(),
                &["Node", "<empty>"],
            )
        };
        // A real server does not expect this, and says so with a bare 500.
        return Err(Box::new(Status::unexpected(error.to_string())));
    }
    let uid = binding["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    modify(call, Part::Direct, options, |call, old| {
        let name = &call.route.name;
        let conflict = |why: &str| {
            let pods = simcluster_machinery::kind::GroupResource::new("", "pods/binding");
            Box::new(Status::conflict(&pods, name, why))
        };
        if !uid.is_empty() && old["metadata"]["uid"] != uid.as_str() {
            return Err(conflict(&format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old["metadata"]["uid"].as_str().unwrap_or_default()
            )));
        }
        if !old["metadata"]["deletionTimestamp"].is_null() {
            return Err(conflict(&format!(
                "pod {name} is being deleted, cannot be assigned to a host"
            )));
        }
        if let Some(own) = old["spec"]["nodeName"]
            .as_str()
            .filter(|own| !own.is_empty())
        {
            return Err(conflict(&format!(
                "pod {name} is already assigned to node {own:?}"
            )));
        }
        let gates = old["spec"]["schedulingGates"].as_array();
        if gates.is_some_and(|gates| !gates.is_empty()) {
            return Err(conflict(&format!(
                "pod {name} has non-empty .spec.schedulingGates"
            )));
        }
        let mut new = old.clone();
        new["spec"]["nodeName"] = node.as_str().into();
        for field in ["annotations", "labels"] {
            if let Some(more) = binding["metadata"][field].as_object() {
                if !new["metadata"][field].is_object() {
                    new["metadata"][field] = json!({});
                }
                for (key, value) in more {
                    new["metadata"][field][key.as_str()] = value.clone();
                }
            }
        }
        set_scheduled(&mut new, &clock::rfc3339(call.server.config.clock.now()));
        Ok(Change::to(new))
    })
    .await?;
    Ok(done())
}

fn set_scheduled(pod: &mut Value, now: &str) {
    if !pod["status"]["conditions"].is_array() {
        pod["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = pod["status"]["conditions"].as_array_mut() else {
        return;
    };
    conditions.retain(|condition| condition["type"] != "PodScheduled");
    conditions.push(json!({
        "type": "PodScheduled", "status": "True",
        "lastProbeTime": null, "lastTransitionTime": now,
    }));
}

/// `POST` of a pod's eviction: a deletion that disruption budgets may refuse.
pub(super) async fn evict(call: &mut Call) -> Result<Reply, Failure> {
    let write = WriteOptions::of(call, OptionsKind::Create)?;
    let kind = GroupVersionKind::new("policy", "v1", "Eviction");
    let mut eviction = decode::other(call, &kind)?;
    let name = eviction["metadata"]["name"].as_str().unwrap_or_default();
    if name != call.route.name {
        return Err(Box::new(Status::bad_request(
            "name in URL does not match name in Eviction object",
        )));
    }
    admit::through(call, &kind, &mut eviction, creates(write)).await?;
    let mut options = DeleteOptions::of_object(&eviction["deleteOptions"])?;
    // Who may say no to deletions is not asked: this is another thing.
    options.set_unjudged();
    if write.dry_run {
        options.set_dry_run();
    }
    let pod = super::read::find(call)?;
    let phase = pod.value()["status"]["phase"].as_str().unwrap_or_default();
    let unprotected = matches!(phase, "Succeeded" | "Failed" | "Pending")
        || !pod.value()["metadata"]["deletionTimestamp"].is_null();
    if !unprotected {
        spend_disruption(call, pod.value(), write.dry_run)?;
    }
    delete::remove(call, &options).await?;
    Ok(done())
}

/// Takes one disruption from the budget that the pod is under, if there is one.
fn spend_disruption(call: &Call, pod: &Value, dry_run: bool) -> Result<(), Failure> {
    let budgets = collection("policy", "poddisruptionbudgets");
    let prefix = format!("{}/", call.route.namespace);
    loop {
        let snapshot = call.server.store.read().snapshot(&budgets);
        let mut matching = snapshot.objects.iter().filter(|(key, budget)| {
            key.starts_with(&prefix)
                && LabelSelector::from_object(budget.value()["spec"].get("selector"))
                    .is_ok_and(|selector| selector.matches_object(pod))
        });
        let Some((key, budget)) = matching.next() else {
            return Ok(());
        };
        if matching.next().is_some() {
            let message = "This pod has more than one PodDisruptionBudget, \
                           which the eviction subresource does not support.";
            return Err(Box::new(Status::failure(500, "InternalError", message)));
        }
        let status = &budget.value()["status"];
        let observed = status["observedGeneration"].as_i64().unwrap_or(0);
        if observed
            < budget.value()["metadata"]["generation"]
                .as_i64()
                .unwrap_or(0)
        {
            return Err(too_early(budget.name(), 10));
        }
        let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed <= 0 {
            return Err(violates(budget.name(), status));
        }
        if dry_run {
            return Ok(());
        }
        let mut new = budget.value().clone();
        new["status"]["disruptionsAllowed"] = (allowed - 1).into();
        if !new["status"]["disruptedPods"].is_object() {
            new["status"]["disruptedPods"] = json!({});
        }
        new["status"]["disruptedPods"][call.route.name.as_str()] =
            clock::rfc3339(call.server.config.clock.now()).into();
        // Somebody else may have spent one meanwhile: then look again.
        if call
            .server
            .store
            .update(&budgets, key, budget.revision(), new)
            .is_ok()
        {
            return Ok(());
        }
    }
}

fn refused(cause: String, retry_after: u32) -> Failure {
    let message = "Cannot evict pod as it would violate the pod's disruption budget.";
    Box::new(Status::too_many_requests(message, 0).with_details(Details {
        causes: vec![Cause {
            reason: "DisruptionBudget".to_owned(),
            message: cause,
            field: String::new(),
        }],
        retry_after_seconds: retry_after,
        ..Details::default()
    }))
}

fn too_early(budget: &str, retry_after: u32) -> Failure {
    refused(
        format!("The disruption budget {budget} is still being processed by the server."),
        retry_after,
    )
}

fn violates(budget: &str, status: &Value) -> Failure {
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    refused(
        format!(
            "The disruption budget {budget} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        ),
        0,
    )
}
