//! Ingress and IngressClass.

use std::net::IpAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::checks::{immutable, port_number, required};
use crate::meta::complain;
use crate::read::{Read, text_or};
use crate::rules::KindRules;
use crate::service::balanced;
use crate::table::{self, AGE, Column, NAME, Row};

/// How an ingress said its class before there was a field.
const CLASS: &str = "kubernetes.io/ingress.class";
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
        if !class.is_empty() {
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
            && ingress.at("spec.ingressClassName").is_some()
        {
            let place = Path::new("annotations").child(CLASS);
            let detail = "can not be set when the class field is also set";
            errors.push(Error::invalid(&place, class.clone(), detail));
        }
        errors
    }

    fn update_validates_whole_metadata(&self) -> bool {
        false
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
        let hosts: Vec<&str> = ingress
            .list("spec.rules")
            .iter()
            .map(|rule| text_or(rule.text("host"), "*"))
            .collect();
        let addresses: Vec<&str> = ingress
            .list("status.loadBalancer.ingress")
            .iter()
            .map(|one| text_or(one.text("ip"), one.text("hostname")))
            .collect();
        let ports = if ingress.lacks("spec.tls") {
            "80"
        } else {
            "80, 443"
        };
        Row::new(vec![
            table::name(ingress),
            json!(text_or(ingress.text("spec.ingressClassName"), "<none>")),
            json!(text_or(&hosts.join(","), "*")),
            json!(addresses.join(",")),
            json!(ports),
            table::age(ingress, now),
        ])
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
    } else if !host.is_empty() {
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
            let path = path.child("resource");
            required(resource, "kind", &path, errors);
            required(resource, "name", &path, errors);
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
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(Error::invalid(&path, controller, detail));
        }
    }
}

impl KindRules for IngressClass {
    fn validate_create(&self, class: &Value) -> Vec<Error> {
        let mut errors = Vec::new();
        validate_controller(class, &mut errors);
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value) -> Vec<Error> {
        let mut errors = self.validate_create(new);
        let path = Path::new("spec");
        let empty = json!({});
        immutable(
            new.at("spec").unwrap_or(&empty),
            old.at("spec").unwrap_or(&empty),
            &["controller"],
            &path,
            &mut errors,
        );
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
                let dot = if group.is_empty() { "" } else { "." };
                format!("{}{dot}{group}/{}", given.text("kind"), given.text("name"))
            }
        };
        Row::new(vec![
            table::name(class),
            json!(class.text("spec.controller")),
            json!(parameters),
            table::age(class, now),
        ])
    }
}
