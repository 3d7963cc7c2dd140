//! What LimitRanges of a namespace give to its pods, and what they refuse.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use simcluster_machinery::quantity::{Format, Quantity};

use crate::read::{Fill, Read};
use crate::resources::quantities;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LISTS: [(&str, &str); 2] = [
    ("containers", "container"),
    ("initContainers", "init container"),
];

/// Gives containers the requests and limits that they lack, and says so in an annotation.
pub fn apply_limit_ranges<'a>(pod: &mut Value, ranges: impl IntoIterator<Item = &'a Value>) {
    for range in ranges {
        let of_containers = limits(range).filter(|item| item.text("type") == "Container");
        let mut defaults = Defaults::default();
        for item in of_containers {
            defaults.requests.extend(entries(item, "defaultRequest"));
            defaults.limits.extend(entries(item, "default"));
        }
        let mut done = Vec::new();
        for (list, words) in LISTS {
            for container in pod["spec"].items(list) {
                let name = container.text("name").to_owned();
                let requests = merge(container, "resources.requests", &defaults.requests);
                let limits = merge(container, "resources.limits", &defaults.limits);
                for (names, kind) in [(requests, "request"), (limits, "limit")] {
                    if !names.is_empty() {
                        done.push(format!("{} {kind} for {words} {name}", names.join(", ")));
                    }
                }
            }
        }
        if !done.is_empty()
            && let Some(annotations) = pod.object("metadata.annotations")
        {
            let text = format!("LimitRanger plugin set: {}", done.join("; "));
            annotations.insert(ANNOTATION.to_owned(), json!(text));
        }
    }
}

#[derive(Default)]
struct Defaults {
    requests: BTreeMap<String, Value>,
    limits: BTreeMap<String, Value>,
}

fn limits(range: &Value) -> impl Iterator<Item = &Value> {
    range.list("spec.limits").iter()
}

fn entries<'a>(item: &'a Value, list: &str) -> impl Iterator<Item = (String, Value)> + use<'a> {
    let entries: Vec<_> = item
        .map(list)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    entries.into_iter()
}

/// Fills a resource list; answers with the names it filled in.
fn merge(container: &mut Value, list: &str, defaults: &BTreeMap<String, Value>) -> Vec<String> {
    let missing: Vec<(&String, &Value)> = defaults
        .iter()
        .filter(|(name, _)| !container.map(list).any(|(given, _)| given == *name))
        .collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let Some(target) = container.object(list) else {
        return Vec::new();
    };
    let mut names = Vec::new();
    for (name, value) in missing {
        target.insert(name.clone(), value.clone());
        names.push(name.clone());
    }
    names
}

/// What the LimitRanges of a namespace have against a pod or a claim.
pub fn check_limit_ranges<'a>(
    kind: &str,
    object: &Value,
    ranges: impl IntoIterator<Item = &'a Value>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    for item in ranges.into_iter().flat_map(limits) {
        match (kind, item.text("type")) {
            ("Pod", "Container") => {
                for list in ["spec.containers", "spec.initContainers"] {
                    for container in object.list(list) {
                        let requests = quantities(container, "resources.requests");
                        let limits = quantities(container, "resources.limits");
                        Bounds {
                            item,
                            kind: "Container",
                            requests,
                            limits,
                        }
                        .check(&mut complaints);
                    }
                }
            }
            ("Pod", "Pod") => {
                let requests = pod_total(object, "resources.requests");
                let limits = pod_total(object, "resources.limits");
                Bounds {
                    item,
                    kind: "Pod",
                    requests,
                    limits,
                }
                .check(&mut complaints);
            }
            ("PersistentVolumeClaim", "PersistentVolumeClaim") => {
                let requests = quantities(object, "spec.resources.requests");
                claim_size(item, &requests, &mut complaints);
            }
            _ => {}
        }
    }
    complaints
}

type Amounts = BTreeMap<String, Quantity>;

/// What all containers ask for together; an init container counts where it asks for more.
pub(super) fn pod_total(pod: &Value, list: &str) -> Amounts {
    let zero = Quantity::from_integer(0, Format::DecimalSi);
    let mut total = Amounts::new();
    let mut sidecars = Amounts::new();
    let mut peak = Amounts::new();
    let add = |sum: &mut Amounts, name: &str, quantity: Quantity| {
        let entry = sum.entry(name.to_owned()).or_insert(zero);
        *entry = if entry.is_zero() {
            quantity
        } else {
            entry.add(quantity)
        };
    };
    for container in pod.list("spec.containers") {
        for (name, quantity) in quantities(container, list) {
            add(&mut total, &name, quantity);
        }
    }
    for container in pod.list("spec.initContainers") {
        let own = quantities(container, list);
        if container.text("restartPolicy") == "Always" {
            for (name, quantity) in own {
                add(&mut total, &name, quantity);
                add(&mut sidecars, &name, quantity);
            }
            continue;
        }
        for (name, quantity) in own {
            let with = sidecars
                .get(&name)
                .map_or(quantity, |sum| sum.add(quantity));
            let entry = peak.entry(name).or_insert(with);
            *entry = (*entry).max(with);
        }
    }
    for (name, quantity) in peak {
        let entry = total.entry(name).or_insert(quantity);
        *entry = (*entry).max(quantity);
    }
    // What the pod as a whole asks for counts instead of the sum.
    let own = quantities(&pod["spec"], list);
    let own = own
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
    total.extend(own);
    total
}

struct Bounds<'a> {
    item: &'a Value,
    kind: &'static str,
    requests: Amounts,
    limits: Amounts,
}

impl Bounds<'_> {
    fn check(&self, complaints: &mut Vec<String>) {
        let kind = self.kind;
        for (name, bound) in quantities(self.item, "min") {
            let words = format!("minimum {name} usage per {kind} is {bound}");
            match (self.requests.get(&name), self.limits.get(&name)) {
                (None, _) => complaints.push(format!("{words}.  No request is specified")),
                (Some(request), _) if *request < bound => {
                    complaints.push(format!("{words}, but request is {request}"));
                }
                (_, Some(limit)) if *limit < bound => {
                    complaints.push(format!("{words}, but limit is {limit}"));
                }
                _ => {}
            }
        }
        for (name, bound) in quantities(self.item, "max") {
            let words = format!("maximum {name} usage per {kind} is {bound}");
            match (self.limits.get(&name), self.requests.get(&name)) {
                (None, _) => complaints.push(format!("{words}.  No limit is specified")),
                (Some(limit), _) if *limit > bound => {
                    complaints.push(format!("{words}, but limit is {limit}"));
                }
                (_, Some(request)) if *request > bound => {
                    complaints.push(format!("{words}, but request is {request}"));
                }
                _ => {}
            }
        }
        for (name, ratio) in quantities(self.item, "maxLimitRequestRatio") {
            self.check_ratio(&name, ratio, complaints);
        }
    }

    fn check_ratio(&self, name: &str, ratio: Quantity, complaints: &mut Vec<String>) {
        let words = format!(
            "{name} max limit to request ratio per {} is {ratio}",
            self.kind
        );
        let given = |amounts: &Amounts| amounts.get(name).filter(|one| !one.is_zero()).copied();
        match (given(&self.requests), given(&self.limits)) {
            (None, _) => {
                complaints.push(format!(
                    "{words}, but no request is specified or request is 0"
                ));
            }
            (_, None) => {
                complaints.push(format!("{words}, but no limit is specified or limit is 0"));
            }
            (Some(request), Some(limit)) => {
                let observed = limit.as_f64() / request.as_f64();
                if observed > ratio.as_f64() {
                    complaints.push(format!("{words}, but provided ratio is {observed:.6}"));
                }
            }
        }
    }
}

/// What a claim asks for, and whatever else a range says of claims.
fn claim_size(item: &Value, requests: &Amounts, complaints: &mut Vec<String>) {
    let mut check = |word: &str, list: &str, breaks: fn(Quantity, Quantity) -> bool| {
        for (name, bound) in quantities(item, list) {
            let words = format!("{word} {name} usage per PersistentVolumeClaim is {bound}");
            match requests.get(&name) {
                None => complaints.push(format!("{words}.  No request is specified")),
                Some(given) if breaks(*given, bound) => {
                    complaints.push(format!("{words}, but request is {given}"));
                }
                Some(_) => {}
            }
        }
    };
    check("minimum", "min", |given, bound| given < bound);
    check("maximum", "max", |given, bound| given > bound);
}
