//! Asks what pods use, and says in whose words it could not be had.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::{
    Client,
    api::{Api, ApiResource, DynamicObject, ListParams},
};
use serde_json::Value;
use simcluster_machinery::go;

use super::replicas::{PodMetric, PodMetrics, millis};

/// What the pods of a selector use of a resource, by their names.
pub(super) async fn of_pods(
    client: &Client,
    namespace: &str,
    selector: &str,
    resource: &str,
    container: Option<&str>,
) -> Result<PodMetrics, String> {
    let kind = ApiResource {
        group: "metrics.k8s.io".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "metrics.k8s.io/v1beta1".to_owned(),
        kind: "PodMetrics".to_owned(),
        plural: "pods".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let listed = api.list(&ListParams::default().labels(selector)).await;
    let listed = listed.map_err(|error| {
        format!(
            "unable to fetch metrics from resource metrics API: {}",
            said(&error, "pods.metrics.k8s.io")
        )
    })?;
    if listed.items.is_empty() {
        return Err("no metrics returned from resource metrics API".to_owned());
    }
    let mut all = PodMetrics::new();
    for item in listed.items {
        let name = item.metadata.name.unwrap_or_default();
        match container {
            None => {
                if let Some(metric) = sum(&item.data, resource) {
                    all.insert(name, metric);
                }
            }
            Some(wanted) => {
                let own = containers(&item.data).find(|own| own["name"] == wanted);
                let own = own.ok_or_else(|| {
                    format!(
                        "failed to get container metrics: container {wanted} not present in \
                         metrics for pod {namespace}/{name}"
                    )
                })?;
                if let Some(value) = usage(own, resource) {
                    all.insert(name, metric(&item.data, value));
                }
            }
        }
    }
    Ok(all)
}

/// An error as Kubernetes' own client shows it.
pub(super) fn said(error: &kube::Error, resource: &str) -> String {
    match error {
        kube::Error::Api(status)
            if status.code == 404
                && status.message == "the server could not find the requested resource" =>
        {
            format!("{} (get {resource})", status.message)
        }
        kube::Error::Api(status)
            if status.code == 404 && status.message.contains("page not found") =>
        {
            format!("the server could not find the requested resource (get {resource})")
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

fn containers(data: &Value) -> impl Iterator<Item = &Value> {
    data["containers"].as_array().into_iter().flatten()
}

fn usage(container: &Value, resource: &str) -> Option<i64> {
    let text = container["usage"][resource].as_str()?;
    Some(millis(&Quantity(text.to_owned())))
}

/// Of all containers together; none if one of them is not measured.
fn sum(data: &Value, resource: &str) -> Option<PodMetric> {
    let values: Option<Vec<i64>> = containers(data).map(|own| usage(own, resource)).collect();
    let values = values.filter(|values| !values.is_empty())?;
    Some(metric(data, values.into_iter().sum()))
}

fn metric(data: &Value, value: i64) -> PodMetric {
    let at = data["timestamp"]
        .as_str()
        .and_then(|text| text.parse().ok());
    let window = data["window"].as_str().and_then(go::duration);
    PodMetric {
        at: at.unwrap_or(Timestamp::UNIX_EPOCH),
        window: SignedDuration::from_nanos(window.unwrap_or_default()),
        value,
    }
}
