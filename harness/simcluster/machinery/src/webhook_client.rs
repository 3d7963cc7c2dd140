//! Where a webhook may be: what `clientConfig` says of it. Calling it is the server's business.

use serde_json::Value;

use crate::field::{Error, Path};
use crate::name;

const FORM: &str = "; desired format: https://host[/path]";

/// What is wrong with the URL of a webhook.
pub fn validate_url(url: &str, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", ""));
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{FORM}");
        errors.push(Error::invalid(path, scheme, detail));
    }
    if host.is_empty() {
        let detail = format!("host must be specified{FORM}");
        errors.push(Error::invalid(path, host, detail));
    }
    for (part, why) in [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ] {
        if !part.is_empty() {
            errors.push(Error::invalid(path, part, why));
        }
    }
    errors
}

/// What is wrong with the Service of a webhook.
pub fn validate_service(service: &Value, path: &Path) -> Vec<Error> {
    let mut errors = Vec::new();
    let text = |field: &str| service[field].as_str().unwrap_or_default();
    for field in ["name", "namespace"] {
        if text(field).is_empty() {
            errors.push(Error::required(&path.child(field), ""));
        }
    }
    let port = service["port"].as_i64().unwrap_or(443);
    for why in name::port_number(port) {
        let detail = format!("port is not valid: {why}");
        errors.push(Error::invalid(&path.child("port"), port, detail));
    }
    let (place, own) = (path.child("path"), text("path"));
    if own.is_empty() || own == "/" {
        return errors;
    }
    let Some(steps) = own.strip_prefix('/') else {
        let detail = "must start with a '/'";
        errors.push(Error::invalid(&place, own, detail));
        return errors;
    };
    let steps = steps.strip_suffix('/').unwrap_or(steps);
    for (index, step) in steps.split('/').enumerate() {
        if step.is_empty() {
            let detail = format!("segment[{index}] may not be empty");
            errors.push(Error::invalid(&place, own, detail));
            continue;
        }
        for why in name::dns1123_subdomain(step) {
            let detail = format!("segment[{index}]: {why}");
            errors.push(Error::invalid(&place, own, detail));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(errors: &[Error]) -> Vec<String> {
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_url_has_https_a_host_and_a_path_only() {
        let path = Path::new("url");
        assert!(validate_url("https://hook.example.com:8443/ask", &path).is_empty());
        assert_eq!(
            texts(&validate_url("http://me@/ask?a=b#c", &path)),
            [
                "url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired \
                 format: https://host[/path]",
                "url: Invalid value: \"\": host must be specified; desired format: \
                 https://host[/path]",
                "url: Invalid value: \"me\": user information is not permitted in the URL",
                "url: Invalid value: \"c\": fragments are not permitted in the URL",
                "url: Invalid value: \"a=b\": query parameters are not permitted in the URL",
            ]
        );
    }

    #[test]
    fn a_service_has_names_a_port_and_a_path_of_segments() {
        let path = Path::new("service");
        let good = json!({"name": "a", "namespace": "b", "path": "/ask/me/"});
        assert!(validate_service(&good, &path).is_empty());
        let bad = json!({"name": "a", "port": 70000, "path": "/ask//me"});
        assert_eq!(
            texts(&validate_service(&bad, &path)),
            [
                "service.namespace: Required value",
                "service.port: Invalid value: 70000: port is not valid: must be between 1 and \
                 65535, inclusive",
                "service.path: Invalid value: \"/ask//me\": segment[1] may not be empty",
            ]
        );
    }
}
