//! What a pod's spec has when the client did not say.
//!
//! The same for a Pod and for the template of a workload, but for what [`pod`] adds. What the
//! cluster decides (service account, tolerations, priority) is admission, not defaulting.

use serde_json::{Value, json};

use crate::read::{Fill, Read};
use crate::resources;

const FILE_MODE: i64 = 0o644;
const TOKEN_EXPIRATION_SECONDS: i64 = 3600;

/// Defaults of a Pod: those of its spec, and those that templates do not get.
pub(crate) fn pod(pod: &mut Value) {
    let spec = &mut pod["spec"];
    pod_spec(spec);
    spec.fill("enableServiceLinks", true);
    let host_network = spec.flag("hostNetwork");
    for_each_container(spec, |container| {
        requests_from_limits(container);
        if host_network {
            for port in container.items("ports") {
                if port.integer("hostPort").unwrap_or(0) == 0 {
                    let number = port["containerPort"].clone();
                    port.put("hostPort", number);
                }
            }
        }
    });
    pod_level_requests(spec);
}

/// Defaults of a `PodTemplateSpec`.
pub(crate) fn template(template: &mut Value) {
    template.object("metadata");
    if template.object("spec").is_some() {
        pod_spec(&mut template["spec"]);
    }
}

/// Defaults of a `PodSpec`.
pub(crate) fn pod_spec(spec: &mut Value) {
    spec.fill("dnsPolicy", "ClusterFirst");
    spec.fill("restartPolicy", "Always");
    spec.fill("securityContext", json!({}));
    spec.fill("terminationGracePeriodSeconds", 30);
    spec.fill("schedulerName", "default-scheduler");
    service_account(spec);
    for_each_container(spec, container);
    for one in spec.items("volumes") {
        volume(one);
    }
    resources::round_list(spec, "overhead");
}

/// Both names of the service account are the same; the deprecated one counts where it stands alone.
fn service_account(spec: &mut Value) {
    let name = match (spec.text("serviceAccountName"), spec.text("serviceAccount")) {
        ("", "") => return,
        ("", deprecated) => deprecated.to_owned(),
        (name, _) => name.to_owned(),
    };
    spec.put("serviceAccountName", name.as_str());
    spec.put("serviceAccount", name);
}

/// Runs `apply` on every container of a pod's spec.
pub(crate) fn for_each_container(spec: &mut Value, apply: impl Fn(&mut Value)) {
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.items(list).iter_mut().for_each(&apply);
    }
}

fn container(container: &mut Value) {
    let policy = if pulls_latest(container.text("image")) {
        "Always"
    } else {
        "IfNotPresent"
    };
    container.fill("imagePullPolicy", policy);
    container.fill("terminationMessagePath", "/dev/termination-log");
    container.fill("terminationMessagePolicy", "File");
    container.object("resources");
    resources::round_list(container, "resources.limits");
    resources::round_list(container, "resources.requests");
    for port in container.items("ports") {
        port.fill("protocol", "TCP");
    }
    for variable in container.items("env") {
        if let Some(reference) = variable.inner("valueFrom.fieldRef") {
            reference.fill("apiVersion", "v1");
        }
        if let Some(reference) = variable.inner("valueFrom.fileKeyRef") {
            reference.fill("optional", false);
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(one) = container.inner(name) {
            probe(one);
        }
    }
    for name in ["lifecycle.postStart.httpGet", "lifecycle.preStop.httpGet"] {
        if let Some(one) = container.inner(name) {
            http_get(one);
        }
    }
}

/// Whether an image's tag is `latest`, said or not; an image known by digest has no tag.
pub(crate) fn pulls_latest(image: &str) -> bool {
    if image.is_empty() || image.contains('@') {
        return false;
    }
    let name = image.rsplit('/').next().unwrap_or(image);
    name.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

fn probe(probe: &mut Value) {
    for (field, seconds) in [
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ] {
        if probe.integer(field).unwrap_or(0) == 0 {
            probe.put(field, seconds);
        }
    }
    if let Some(one) = probe.inner("httpGet") {
        http_get(one);
    }
    if let Some(Value::Object(grpc)) = probe.inner("grpc") {
        grpc.entry("service").or_insert_with(|| json!(""));
    }
}

fn http_get(action: &mut Value) {
    action.fill("path", "/");
    action.fill("scheme", "HTTP");
}

/// A resource that has a limit and no request requests its limit.
pub(crate) fn requests_from_limits(container: &mut Value) {
    let limits: Vec<(String, Value)> = container
        .map("resources.limits")
        .map(|(name, quantity)| (name.clone(), quantity.clone()))
        .collect();
    if limits.is_empty() {
        return;
    }
    if let Some(requests) = container.object("resources.requests") {
        for (name, quantity) in limits {
            requests.entry(name).or_insert(quantity);
        }
    }
}

/// Limits of the whole pod are its requests where neither it nor its containers say otherwise.
fn pod_level_requests(spec: &mut Value) {
    if spec.at("resources.limits").is_none() {
        return;
    }
    let requested: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.list(list))
        .flat_map(|container| container.map("resources.requests"))
        .map(|(name, _)| name.as_str())
        .collect();
    let missing: Vec<(String, Value)> = spec
        .map("resources.limits")
        .filter(|(name, _)| !requested.contains(&name.as_str()))
        .map(|(name, quantity)| (name.clone(), quantity.clone()))
        .collect();
    if missing.is_empty() {
        return;
    }
    if let Some(requests) = spec.object("resources.requests") {
        for (name, quantity) in missing {
            requests.entry(name).or_insert(quantity);
        }
    }
}

fn volume(volume: &mut Value) {
    let Some(fields) = volume.as_object_mut() else {
        return;
    };
    if !fields.keys().any(|name| name != "name") {
        fields.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(one) = volume.inner(source) {
            one.fill("defaultMode", FILE_MODE);
        }
    }
    if let Some(Value::Object(host_path)) = volume.inner("hostPath") {
        host_path.entry("type").or_insert_with(|| json!(""));
    }
    field_refs(volume, "downwardAPI.items");
    for source in volume.items("projected.sources") {
        field_refs(source, "downwardAPI.items");
        if let Some(token) = source.inner("serviceAccountToken") {
            token.fill("expirationSeconds", TOKEN_EXPIRATION_SECONDS);
        }
    }
    if let Some(spec) = volume.inner("ephemeral.volumeClaimTemplate.spec") {
        spec.fill("volumeMode", "Filesystem");
    }
    if let Some(image) = volume.inner("image") {
        let policy = if pulls_latest(image.text("reference")) {
            "Always"
        } else {
            "IfNotPresent"
        };
        image.fill("pullPolicy", policy);
    }
    if let Some(iscsi) = volume.inner("iscsi") {
        iscsi.fill("iscsiInterface", "default");
    }
}

fn field_refs(volume: &mut Value, items: &str) {
    for item in volume.items(items) {
        if let Some(reference) = item.inner("fieldRef") {
            reference.fill("apiVersion", "v1");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_untagged_image_is_latest_and_one_with_a_digest_is_not() {
        for (image, latest) in [
            ("busybox", true),
            ("busybox:latest", true),
            ("busybox:1.36", false),
            ("registry:5000/a/b", true),
            ("registry:5000/a/b:1", false),
            ("a@sha256:00", false),
            ("", false),
        ] {
            assert_eq!(pulls_latest(image), latest, "{image}");
        }
    }
}
