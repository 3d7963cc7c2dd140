//! Ingress and IngressClass.

use std::{collections::BTreeSet, net::IpAddr};

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{immutable, port_number, required};
use crate::meta::complain;
use crate::read::{Fill, Read, text_or};
use crate::rules::KindRules;
use crate::service::balanced;
use crate::table::{self, AGE, Column, NAME, Row};

/// How an ingress said its class before there was a field.
const CLASS: &str = "kubernetes.io/ingress.class";
/// What marks the class of those ingresses that name none.
const DEFAULT: &str = "ingressclass.kubernetes.io/is-default-class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

pub(crate) struct Ingress;

impl KindRules for Ingress {
    fn initial_status(&self) -> Value {
        json!({"loadBalancer": {}})
    }

    fn validate_create(&self, ingress: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let (spec, path) = (
            ingress.get("spec").unwrap_or(&Value::Null),
            Path::new("spec"),
        );
        let rules = spec.list("rules");
        if rules.is_empty() && spec.at("defaultBackend").is_none() {
            let detail = "either `defaultBackend` or `rules` must be specified";
            errors.push(Error::invalid(&path, Value::Null, detail));
        }
        if let Some(backend) = spec.at("defaultBackend") {
            validate_backend(backend, &path.child("defaultBackend"), &mut errors);
        }
        for (index, rule) in rules.iter().enumerate() {
            validate_rule(rule, &path.child("rules").index(index), &mut errors);
        }
        for (index, entry) in spec.list("tls").iter().enumerate() {
            for (at, host) in entry.texts("hosts").into_iter().enumerate() {
                let place = path.child("tls").index(index).child("hosts").index(at);
                validate_host(host, &place, &mut errors);
            }
            let (secret, place) = (entry.text("secretName"), path.child("tls").index(index));
            if !secret.is_empty() {
                let complaints = name::dns1123_subdomain(secret);
                complain(&mut errors, &place.child("secretName"), secret, complaints);
            }
        }
        let class = spec.text("ingressClassName");
        if spec.at("ingressClassName").is_some() {
            let place = path.child("ingressClassName");
            complain(&mut errors, &place, class, name::dns1123_subdomain(class));
        }
        errors
    }

    fn check_create(&self, ingress: &Value, scope: crate::meta::Scope) -> Vec<Error> {
        let path = Path::new("metadata");
        let mut errors = crate::meta::validate(ingress, scope, self.name_rule(), &path);
        errors.extend(crate::meta::validate_standard_finalizers(ingress, &path));
        errors.extend(self.validate_create(ingress));
        let annotations = ingress.at("metadata.annotations");
        let class = annotations.and_then(|all| all.get(CLASS));
        if let Some(class) = class
            && (ingress.at("spec.ingressClassName")).is_some_and(|field| field != class)
        {
            let place = Path::new("annotations").child(CLASS);
            let detail = "must match `ingressClassName` when both are specified";
            errors.push(Error::invalid(&place, class.clone(), detail));
        }
        errors
    }

    /// What was wrong before with names of Secrets, or behind a host with a wildcard, may stay.
    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let before = self.validate_create(old);
        let is_secret = |error: &Error| {
            let place = error.path.as_str();
            place.starts_with("spec.tls[") && place.ends_with("].secretName")
        };
        let wild = |ingress: &Value, error: &Error| {
            let place = error.path.as_str().strip_prefix("spec.rules[");
            let place = place.and_then(|rest| rest.split_once("].http"));
            let index = place.and_then(|(index, _)| index.parse::<usize>().ok());
            let rule = index.and_then(|index| ingress.list("spec.rules").get(index));
            rule.is_some_and(|rule| rule.text("host").contains('*'))
        };
        if before.iter().any(is_secret) {
            errors.retain(|error| !is_secret(error));
        }
        if before.iter().any(|error| wild(old, error)) {
            errors.retain(|error| !wild(new, error));
        }
        errors
    }

    fn validate_status_update(&self, new: &Value, _old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("status").child("loadBalancer").child("ingress");
        let all = new.list("status.loadBalancer.ingress");
        for (index, ingress) in all.iter().enumerate() {
            balanced(ingress, &path.index(index), &mut errors);
        }
        errors
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let annotated = new.map("metadata.annotations").any(|(key, _)| key == CLASS);
        if old.is_some() || !annotated || new.at("spec.ingressClassName").is_some() {
            return Vec::new();
        }
        vec![format!(
            "annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead"
        )]
    }

    fn has_status(&self) -> bool {
        true
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Class"),
                Column::text("Hosts"),
                Column::text("Address"),
                Column::text("Ports"),
                AGE,
            ]
        }
    }

    fn row(&self, ingress: &Value, now: Timestamp) -> Row {
        let addresses: BTreeSet<&str> = ingress
            .list("status.loadBalancer.ingress")
            .iter()
            .map(|one| text_or(one.text("ip"), one.text("hostname")))
            .filter(|one| !one.is_empty())
            .collect();
        let addresses: Vec<&str> = addresses.into_iter().collect();
        let ports = if ingress.lacks("spec.tls") {
            "80"
        } else {
            "80, 443"
        };
        Row::new(vec![
            table::name(ingress),
            json!(text_or(ingress.text("spec.ingressClassName"), "<none>")),
            json!(hosts(ingress.list("spec.rules"))),
            json!(addresses.join(",")),
            json!(ports),
            table::age(ingress, now),
        ])
    }
}

/// As many hosts as a table shows.
const SHOWN: usize = 3;

/// The hosts of rules on one line. All rules count for what is not shown, also those without one.
fn hosts(rules: &[Value]) -> String {
    let mut hosts: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in rules {
        let host = rule.text("host");
        more |= hosts.len() == SHOWN;
        if !more && !host.is_empty() {
            hosts.push(host);
        }
    }
    let shown = hosts.join(",");
    match (hosts.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (_, false) => shown,
        (_, true) => format!("{shown} + {} more...", rules.len() - SHOWN),
    }
}

fn validate_host(host: &str, path: &Path, errors: &mut Vec<Error>) {
    let rule = if host.contains('*') {
        name::wildcard_dns1123_subdomain
    } else {
        name::dns1123_subdomain
    };
    complain(errors, path, host, rule(host));
}

fn validate_rule(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    let host = rule.text("host");
    if host.parse::<IpAddr>().is_ok() {
        let detail = "must be a DNS name, not an IP address";
        errors.push(Error::invalid(&path.child("host"), host, detail));
    }
    if !host.is_empty() {
        validate_host(host, &path.child("host"), errors);
    }
    let Some(http) = rule.at("http") else { return };
    let place = path.child("http").child("paths");
    if http.lacks("paths") {
        errors.push(Error::required(&place, ""));
    }
    for (index, entry) in http.list("paths").iter().enumerate() {
        let path = place.index(index);
        if validate_path(entry, &path, errors) {
            validate_backend(&entry["backend"], &path.child("backend"), errors);
        }
    }
}

/// Answers whether to look further.
fn validate_path(entry: &Value, path: &Path, errors: &mut Vec<Error>) -> bool {
    let given = entry.text("path");
    let place = path.child("path");
    match entry.text("pathType") {
        "" => {
            let detail = "pathType must be specified";
            errors.push(Error::required(&path.child("pathType"), detail));
            return false;
        }
        "Exact" | "Prefix" => {
            if !given.starts_with('/') {
                errors.push(Error::invalid(&place, given, "must be an absolute path"));
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if given.contains(sequence) {
                    let detail = format!("must not contain '{sequence}'");
                    errors.push(Error::invalid(&place, given, detail));
                }
            }
            for suffix in ["/..", "/."] {
                if given.ends_with(suffix) {
                    let detail = format!("cannot end with '{suffix}'");
                    errors.push(Error::invalid(&place, given, detail));
                }
            }
        }
        "ImplementationSpecific" => {
            if !given.is_empty() && !given.starts_with('/') {
                errors.push(Error::invalid(&place, given, "must be an absolute path"));
            }
        }
        other => errors.push(Error::not_supported(
            &path.child("pathType"),
            other,
            &PATH_TYPES,
        )),
    }
    true
}

fn validate_backend(backend: &Value, path: &Path, errors: &mut Vec<Error>) {
    match (backend.at("service"), backend.at("resource")) {
        (Some(_), Some(_)) => {
            let detail = "cannot set both resource and service backends";
            errors.push(Error::invalid(path, "", detail));
        }
        (None, Some(resource)) => {
            reference(resource, &path.child("resource"), errors);
        }
        (None, None) => {
            let detail = "resource or service backend is required";
            errors.push(Error::invalid(path, "", detail));
        }
        (Some(service), None) => {
            let backend = path;
            let path = path.child("service");
            let own_name = service.text("name");
            if own_name.is_empty() {
                errors.push(Error::required(&path.child("name"), ""));
            } else {
                let complaints = name::dns1123_label(own_name);
                complain(errors, &path.child("name"), own_name, complaints);
            }
            let (port_name, number) = (
                service.text("port.name"),
                service.integer("port.number").unwrap_or(0),
            );
            let port = path.child("port");
            match (port_name.is_empty(), number) {
                (true, 0) => {
                    errors.push(Error::required(backend, "port name or number is required"));
                }
                (true, number) => port_number(number, &port.child("number"), errors),
                (false, 0) => {
                    complain(
                        errors,
                        &port.child("name"),
                        port_name,
                        name::port_name(port_name),
                    );
                }
                (false, _) => {
                    let detail = "cannot set both port name & port number";
                    errors.push(Error::invalid(backend, "", detail));
                }
            }
        }
    }
}

/// Group, kind and name of an object of any kind.
fn reference(target: &Value, path: &Path, errors: &mut Vec<Error>) {
    if let Some(group) = target.at("apiGroup").and_then(Value::as_str) {
        let complaints = name::dns1123_subdomain(group);
        complain(errors, &path.child("apiGroup"), group, complaints);
    }
    for field in ["kind", "name"] {
        required(target, field, path, errors);
        let own = target.text(field);
        if !own.is_empty() {
            complain(errors, &path.child(field), own, name::path_segment(own));
        }
    }
}

/// What a class of ingresses takes its parameters from.
fn validate_parameters(parameters: &Value, path: &Path, errors: &mut Vec<Error>) {
    reference(parameters, path, errors);
    let namespace = parameters.at("namespace").and_then(Value::as_str);
    let place = path.child("namespace");
    match (parameters.text("scope"), namespace) {
        ("Namespace", None) => {
            let detail = "`parameters.scope` is set to 'Namespace'";
            errors.push(Error::required(&place, detail));
        }
        ("Namespace", Some(own)) => complain(errors, &place, own, name::dns1123_label(own)),
        ("Cluster", Some(_)) => {
            let detail = "`parameters.scope` is set to 'Cluster'";
            errors.push(Error::forbidden(&place, detail));
        }
        ("Cluster", None) => {}
        (other, _) => {
            let place = path.child("scope");
            errors.push(Error::not_supported(
                &place,
                other,
                &["Cluster", "Namespace"],
            ));
        }
    }
}

pub(crate) struct IngressClass;

/// A path behind a domain: `acme.io/foo`.
fn validate_controller(class: &Value, errors: &mut Vec<Error>) {
    const LONGEST: usize = 250;
    let (controller, path) = (
        class.text("spec.controller"),
        Path::new("spec").child("controller"),
    );
    if controller.len() > LONGEST {
        errors.push(Error::too_long(&path, LONGEST));
    }
    if controller.is_empty() {
        errors.push(Error::required(&path, ""));
        return;
    }
    match controller.split_once('/') {
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            let complaints = name::dns1123_subdomain(domain);
            complain(errors, &path, domain, complaints);
            let allowed =
                |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
            if !rest.bytes().all(allowed) {
                let pattern = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
                let detail = name::mismatch("Invalid path", pattern, &[]);
                errors.push(Error::invalid(&path, rest, detail));
            }
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(Error::invalid(&path, controller, detail));
        }
    }
}

impl KindRules for IngressClass {
    fn default(&self, class: &mut Value) {
        if class.at("spec.parameters").is_some() && class.at("spec.parameters.scope").is_none() {
            class.put("spec.parameters.scope", "Cluster");
        }
    }

    fn validate_create(&self, class: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_controller(class, &mut errors);
        if let Some(parameters) = class.at("spec.parameters") {
            let path = Path::new("spec").child("parameters");
            validate_parameters(parameters, &path, &mut errors);
        }
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        let path = Path::new("spec");
        let empty = json!({});
        immutable(
            new.at("spec").unwrap_or(&empty),
            old.at("spec").unwrap_or(&empty),
            &["controller"],
            &path,
            &mut errors,
        );
        errors.extend(self.validate_create(new));
        errors
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                Column::text("Controller"),
                Column::text("Parameters"),
                AGE,
            ]
        }
    }

    fn row(&self, class: &Value, now: Timestamp) -> Row {
        let parameters = match class.at("spec.parameters") {
            None => "<none>".to_owned(),
            Some(given) => {
                let group = given.text("apiGroup");
                let dot = if given.at("apiGroup").is_none() {
                    ""
                } else {
                    "."
                };
                format!("{}{dot}{group}/{}", given.text("kind"), given.text("name"))
            }
        };
        let annotations = class.at("metadata.annotations");
        let is_default = annotations.and_then(|all| all.get(DEFAULT)) == Some(&json!("true"));
        let mark = if is_default { " (default)" } else { "" };
        Row::new(vec![
            json!(format!("{}{mark}", class.text("metadata.name"))),
            json!(class.text("spec.controller")),
            json!(parameters),
            table::age(class, now),
        ])
    }
}
