//! FlowSchema and PriorityLevelConfiguration: how requests are told apart, and how many are served
//! at once. They are stored and judged; every request is served here.

use serde_json::{Value, json};
use simcluster_machinery::field::{Error, Path};
use simcluster_machinery::name;

use crate::meta::complain;
use crate::read::Read;

const LARGEST_PRECEDENCE: i64 = 10_000;
const MOST_QUEUES: i64 = 10_000_000;
/// The bits of a hash that dealing queues to flows may use up.
const HASH_BITS: u32 = 60;
/// The schema and the level of requests that wait for nobody.
const EXEMPT: &str = "exempt";
const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

/// What is wrong with a FlowSchema.
pub(crate) fn schema(schema: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&schema["spec"], Path::new("spec"));
    let precedence = spec.integer("matchingPrecedence").unwrap_or(0);
    let place = path.child("matchingPrecedence");
    let mut refuse = |detail: &str| errors.push(Error::invalid(&place, precedence, detail));
    if precedence <= 0 {
        refuse("must be a positive value");
    }
    if precedence > LARGEST_PRECEDENCE {
        refuse(&format!("must not be greater than {LARGEST_PRECEDENCE}"));
    }
    if precedence == 1 && schema.text("metadata.name") != EXEMPT {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1");
    }
    if let Some(method) = spec.at("distinguisherMethod") {
        let known = ["ByNamespace", "ByUser"];
        if !known.contains(&method.text("type")) {
            let place = path.child("distinguisherMethod").child("type");
            let shown = format!("{{\"Type\":{}}}", json!(method.text("type")));
            errors.push(Error::not_supported_shown(&place, shown, &known));
        }
    }
    let level = spec.text("priorityLevelConfiguration.name");
    let place = path.child("priorityLevelConfiguration").child("name");
    if level.is_empty() {
        errors.push(Error::required(&place, "must reference a priority level"));
    } else {
        complain(&mut errors, &place, level, name::dns1123_subdomain(level));
    }
    for (index, rule) in spec.list("rules").iter().enumerate() {
        validate_rule(rule, &path.child("rules").index(index), &mut errors);
    }
    errors
}

fn validate_rule(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    let subjects = path.child("subjects");
    if rule.lacks("subjects") {
        let detail = "subjects must contain at least one value";
        errors.push(Error::required(&subjects, detail));
    }
    for (index, subject) in rule.list("subjects").iter().enumerate() {
        validate_subject(subject, &subjects.index(index), errors);
    }
    if rule.lacks("resourceRules") && rule.lacks("nonResourceRules") {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(Error::required(path, detail));
    }
    for (index, one) in rule.list("resourceRules").iter().enumerate() {
        resources(one, &path.child("resourceRules").index(index), errors);
    }
    for (index, one) in rule.list("nonResourceRules").iter().enumerate() {
        paths(one, &path.child("nonResourceRules").index(index), errors);
    }
}

/// Kinds of subjects with the fields that they are told by.
const SUBJECTS: [(&str, &str); 3] = [
    ("ServiceAccount", "serviceAccount"),
    ("User", "user"),
    ("Group", "group"),
];

fn validate_subject(subject: &Value, path: &Path, errors: &mut Vec<Error>) {
    let kind = subject.text("kind");
    let Some((_, own)) = SUBJECTS.iter().find(|(known, _)| *known == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        errors.push(Error::not_supported(&path.child("kind"), kind, &known));
        return;
    };
    let place = path.child(own);
    match subject.at(own) {
        None => {
            let detail = format!("{own} is required when subject kind is '{kind}'");
            errors.push(Error::required(&place, detail));
        }
        Some(target) => {
            let own_name = target.text("name");
            if own_name.is_empty() {
                errors.push(Error::required(&place.child("name"), ""));
            } else if *own == "serviceAccount" && own_name != "*" {
                let complaints = name::dns1123_subdomain(own_name);
                complain(errors, &place.child("name"), own_name, complaints);
            }
            if *own == "serviceAccount" {
                let (namespace, place) = (target.text("namespace"), place.child("namespace"));
                if namespace.is_empty() {
                    let detail = "must specify namespace for service account";
                    errors.push(Error::required(&place, detail));
                } else {
                    complain(errors, &place, namespace, name::dns1123_label(namespace));
                }
            }
        }
    }
    for (kind, other) in SUBJECTS.iter().filter(|(_, other)| other != own) {
        if subject.at(other).is_some() {
            let detail = format!("{other} is forbidden when subject kind is not '{kind}'");
            errors.push(Error::forbidden(&path.child(other), detail));
        }
    }
}

fn verbs(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    let (verbs, place) = (rule.texts("verbs"), path.child("verbs"));
    if verbs.is_empty() {
        let detail = "verbs must contain at least one value";
        errors.push(Error::required(&place, detail));
    } else if verbs.contains(&"*") {
        alone(&verbs, "verbs", &place, errors);
    } else if !verbs.iter().all(|verb| VERBS.contains(verb)) {
        errors.push(Error::not_supported(&place, json!(verbs), &VERBS));
    }
}

/// `*` stands for all others.
fn alone(values: &[&str], words: &str, path: &Path, errors: &mut Vec<Error>) {
    if values.len() > 1 && values.contains(&"*") {
        let detail = format!("if '*' is present, must not specify other {words}");
        errors.push(Error::invalid(path, json!(values), detail));
    }
}

fn resources(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    verbs(rule, path, errors);
    for (field, one, many) in [
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ] {
        let (values, place) = (rule.texts(field), path.child(field));
        if values.is_empty() {
            let detail = format!("resource rules must supply at least one {one}");
            errors.push(Error::required(&place, detail));
        }
        alone(&values, many, &place, errors);
    }
    let (namespaces, place) = (rule.texts("namespaces"), path.child("namespaces"));
    if namespaces.is_empty() && !rule.flag("clusterScope") {
        let detail =
            "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(Error::required(&place, detail));
    } else if namespaces.contains(&"*") {
        alone(&namespaces, "namespaces", &place, errors);
    } else {
        for (index, namespace) in namespaces.into_iter().enumerate() {
            for why in name::dns1123_label(namespace) {
                let detail =
                    format!("each member of this list must be '*' or a DNS-1123 label; {why}");
                errors.push(Error::invalid(&place.index(index), namespace, detail));
            }
        }
    }
}

fn paths(rule: &Value, path: &Path, errors: &mut Vec<Error>) {
    verbs(rule, path, errors);
    let (urls, place) = (rule.texts("nonResourceURLs"), path.child("nonResourceURLs"));
    if urls.is_empty() {
        let detail = "nonResourceURLs must contain at least one value";
        errors.push(Error::required(&place, detail));
    } else if urls.contains(&"*") {
        alone(&urls, "non-resource URLs", &place, errors);
    } else {
        for (index, url) in urls.into_iter().enumerate() {
            if let Some(why) = url_complaint(url) {
                errors.push(Error::invalid(&place.index(index), url, why));
            }
        }
    }
}

fn url_complaint(url: &str) -> Option<&'static str> {
    let wildcards = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if wildcards > 1 || wildcards == 1 && !url.ends_with("/*") => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

/// What is wrong with a PriorityLevelConfiguration.
pub(crate) fn level(level: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let (spec, path) = (&level["spec"], Path::new("spec"));
    let kind = spec.text("type");
    if (level.text("metadata.name") == EXEMPT) != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(Error::invalid(&path.child("type"), kind, detail));
    }
    let (exempt, limited) = (spec.at("exempt"), spec.at("limited"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                let detail = "must be nil if the type is not Limited";
                errors.push(Error::forbidden(&path.child("limited"), detail));
            }
            if let Some(exempt) = exempt {
                shares(exempt, &path.child("exempt"), &mut errors);
                lent(exempt, &path.child("exempt"), &mut errors);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                let detail = "must be nil if the type is Limited";
                errors.push(Error::forbidden(&path.child("exempt"), detail));
            }
            match limited {
                None => {
                    let detail = "must not be empty when type is Limited";
                    errors.push(Error::required(&path.child("limited"), detail));
                }
                Some(limited) => validate_limits(limited, &path.child("limited"), &mut errors),
            }
        }
        other => {
            let known = ["Exempt", "Limited"];
            errors.push(Error::not_supported(&path.child("type"), other, &known));
        }
    }
    errors
}

fn shares(limits: &Value, path: &Path, errors: &mut Vec<Error>) {
    let shares = limits.integer("nominalConcurrencyShares");
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        let place = path.child("nominalConcurrencyShares");
        errors.push(Error::invalid(
            &place,
            shares,
            "must be a non-negative integer",
        ));
    }
}

fn lent(limits: &Value, path: &Path, errors: &mut Vec<Error>) {
    let percent = limits.integer("lendablePercent");
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        let detail = "must be between 0 and 100, inclusive";
        errors.push(Error::invalid(
            &path.child("lendablePercent"),
            percent,
            detail,
        ));
    }
}

fn validate_limits(limits: &Value, path: &Path, errors: &mut Vec<Error>) {
    shares(limits, path, errors);
    let response = limits.at("limitResponse").unwrap_or(&Value::Null);
    let place = path.child("limitResponse");
    let queuing = place.child("queuing");
    match (response.text("type"), response.at("queuing")) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(Error::forbidden(&queuing, detail));
        }
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(Error::required(&queuing, detail));
        }
        ("Queue", Some(given)) => validate_queues(given, &queuing, errors),
        ("Reject", None) => {}
        (other, _) => {
            let known = ["Queue", "Reject"];
            errors.push(Error::not_supported(&place.child("type"), other, &known));
        }
    }
    lent(limits, path, errors);
    let percent = limits.integer("borrowingLimitPercent");
    if let Some(percent) = percent.filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        let place = path.child("borrowingLimitPercent");
        errors.push(Error::invalid(&place, percent, detail));
    }
}

fn validate_queues(queuing: &Value, path: &Path, errors: &mut Vec<Error>) {
    let number = |field: &str| queuing.integer(field).unwrap_or(0);
    let (length, queues, hand) = (
        number("queueLengthLimit"),
        number("queues"),
        number("handSize"),
    );
    let mut refuse = |field: &str, given: i64, detail: String| {
        errors.push(Error::invalid(&path.child(field), given, detail));
    };
    let positive = || "must be positive".to_owned();
    if length <= 0 {
        refuse("queueLengthLimit", length, positive());
    }
    if queues <= 0 {
        refuse("queues", queues, positive());
    } else if queues > MOST_QUEUES {
        let detail = format!("must not be greater than {MOST_QUEUES}");
        refuse("queues", queues, detail);
    }
    if hand <= 0 {
        refuse("handSize", hand, positive());
    } else if hand > queues {
        let detail = format!("should not be greater than queues ({queues})");
        refuse("handSize", hand, detail);
    } else if takes_too_many_bits(queues, hand) {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater \
             than {HASH_BITS}"
        );
        refuse("handSize", hand, detail);
    }
}

/// Whether dealing a hand from a deck takes more bits than a hash has.
fn takes_too_many_bits(deck: i64, hand: i64) -> bool {
    let number = |number: i64| f64::from(i32::try_from(number).unwrap_or(i32::MAX));
    (number(deck).log2() * number(hand)).ceil() > f64::from(HASH_BITS)
}

/// What is wrong with the status of either: conditions have a type, each once.
pub(crate) fn status(object: &Value) -> Vec<Error> {
    let mut errors = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for (index, condition) in object.list("status.conditions").iter().enumerate() {
        let place = Path::new("status")
            .child("conditions")
            .index(index)
            .child("type");
        let kind = condition.text("type");
        if known.contains(&kind) {
            errors.push(Error::duplicate(&place, kind));
        }
        known.push(kind);
        if kind.is_empty() {
            errors.push(Error::required(&place, ""));
        }
    }
    errors
}
