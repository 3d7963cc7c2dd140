//! What is wrong with probes and lifecycle hooks.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{non_negative, one_of, port_number, port_number_or_name, required};
use crate::meta::complain;
use crate::read::Read;

/// The probes and hooks of a container that runs for as long as its pod.
pub(super) fn validate(spec: &Value, container: &Value, path: &Path, errors: &mut Vec<Error>) {
    let grace = spec.integer("terminationGracePeriodSeconds").unwrap_or(0);
    for name in ["postStart", "preStop"] {
        if let Some(handler) = container.at(&format!("lifecycle.{name}")) {
            let path = path.child("lifecycle").child(name);
            validate_handler(
                handler,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                grace,
                &path,
                errors,
            );
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.at(name) {
            validate_probe(name, probe, grace, &path.child(name), errors);
        }
    }
}

/// An init container that ends has none of them.
pub(super) fn validate_absent(container: &Value, path: &Path, errors: &mut Vec<Error>) {
    for name in [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        if container.at(name).is_some() {
            errors.push(Error::forbidden(
                &path.child(name),
                "may not be set for init containers without restartPolicy=Always",
            ));
        }
    }
}

fn validate_probe(name: &str, probe: &Value, pod_grace: i64, path: &Path, errors: &mut Vec<Error>) {
    validate_handler(
        probe,
        &["exec", "httpGet", "tcpSocket", "grpc"],
        pod_grace,
        path,
        errors,
    );
    let counts = [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ];
    non_negative(probe, &counts, path, errors);
    let grace = probe.integer("terminationGracePeriodSeconds");
    let place = path.child("terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        errors.push(Error::invalid(&place, seconds, "must be greater than 0"));
    }
    if name == "readinessProbe" {
        if let Some(seconds) = grace {
            errors.push(Error::invalid(
                &place,
                seconds,
                "must not be set for readinessProbes",
            ));
        }
    } else if let Some(threshold) = probe
        .integer("successThreshold")
        .filter(|count| *count != 1)
    {
        errors.push(Error::invalid(
            &path.child("successThreshold"),
            threshold,
            "must be 1",
        ));
    }
}

fn validate_handler(
    handler: &Value,
    kinds: &[&str],
    pod_grace: i64,
    path: &Path,
    errors: &mut Vec<Error>,
) {
    let mut given = kinds.iter().filter(|kind| handler.at(kind).is_some());
    let Some(kind) = given.next() else {
        errors.push(Error::required(path, "must specify a handler type"));
        return;
    };
    for other in given {
        let detail = "may not specify more than 1 handler type";
        errors.push(Error::forbidden(&path.child(other), detail));
    }
    let (action, path) = (&handler[*kind], path.child(kind));
    match *kind {
        "exec" => required(action, "command", &path, errors),
        "httpGet" => {
            required(action, "path", &path, errors);
            port_number_or_name(action, "port", &path, errors);
            one_of(action, "scheme", &["HTTP", "HTTPS"], &path, errors);
            for header in action.list("httpHeaders") {
                let own_name = header.text("name");
                let place = path.child("httpHeaders");
                complain(errors, &place, own_name, name::http_header_name(own_name));
            }
        }
        "tcpSocket" => port_number_or_name(action, "port", &path, errors),
        "grpc" => port_number(
            action.integer("port").unwrap_or(0),
            &path.child("port"),
            errors,
        ),
        _ => {
            let seconds = action.integer("seconds").unwrap_or(0);
            if !(0..=pod_grace).contains(&seconds) {
                let detail = format!(
                    "must be non-negative and less than terminationGracePeriodSeconds ({pod_grace})"
                );
                errors.push(Error::invalid(&path, seconds, detail));
            }
        }
    }
}
