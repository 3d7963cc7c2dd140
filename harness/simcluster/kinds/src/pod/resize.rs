//! A pod's `resize` subresource: what its containers get may change while they run.
//!
//! Whether the node can give it is not known here.

use serde_json::Value;
use simcluster_machinery::field::{Error, Path};

use super::{qos, validation};
use crate::meta;
use crate::read::{Fill, Read};

const LISTS: [&str; 2] = ["containers", "initContainers"];
/// What may change of what a container gets.
const MUTABLE: [&str; 2] = ["cpu", "memory"];

/// Makes an update through `resize` ready: only what containers get is taken.
pub fn prepare_resize(new: &mut Value, old: &Value) {
    let mut kept = old.clone();
    meta::keep(&mut kept, new, "metadata.resourceVersion");
    for list in LISTS {
        let path = format!("spec.{list}");
        for container in kept.items(&path) {
            let own_name = container.text("name").to_owned();
            let asked = new.list(&path).iter();
            if let Some(asked) = asked.into_iter().find(|one| one.text("name") == own_name) {
                for field in ["resources", "resizePolicy"] {
                    meta::keep(container, asked, field);
                }
            }
        }
    }
    let changed = kept["spec"] != old["spec"];
    meta::carry_generation(&mut kept, old, changed);
    *new = kept;
}

/// What is wrong with an update through `resize`.
pub fn validate_resize(new: &Value, old: &Value) -> Vec<Error> {
    let has_own =
        |pod: &Value| !pod.lacks("spec.resources.requests") || !pod.lacks("spec.resources.limits");
    let never = if has_own(new) || has_own(old) {
        Some("pods with pod-level resources cannot be resized")
    } else if old.text("spec.os.name") == "windows" {
        Some("windows pods cannot be resized")
    } else {
        None
    };
    if let Some(why) = never {
        return vec![Error::forbidden(&Path::root(), why)];
    }
    let mut errors = Vec::new();
    let path = Path::new("spec");
    validation::spec(&new["spec"], &path, &mut errors);
    if qos::class(&new["spec"]) != qos::class(&old["spec"]) {
        let class = old.text("status.qosClass");
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(Error::invalid(&path, class, detail));
    }
    // A node that says what its containers have can change it.
    let running = old
        .list("status.containerStatuses")
        .iter()
        .find(|status| status.at("state.running").is_some());
    if running.is_some_and(|status| status.at("resources").is_none()) {
        let detail = "Pod running on node without support for resize";
        errors.push(Error::forbidden(&path, detail));
    }
    for list in ["initContainers", "containers"] {
        each(new, old, list, |after, before, index| {
            if list == "containers" || before.text("restartPolicy") == "Always" {
                let place = path.child(list).index(index).child("resources");
                nothing_is_taken_back(after, before, &place, &mut errors);
            }
        });
    }
    for list in LISTS {
        each(new, old, list, |after, before, _| {
            let detail = match (list, before.text("restartPolicy")) {
                ("containers", _) => "only cpu and memory resources are mutable",
                (_, "Always") => "only cpu and memory resources for sidecar containers are mutable",
                _ => "resources for non-sidecar init containers are immutable",
            };
            let fixed = list == "initContainers" && before.text("restartPolicy") != "Always";
            let mut after = after.clone();
            if !fixed {
                restore(&mut after, before);
            }
            if after != *before {
                errors.push(Error::forbidden(&path, detail));
            }
        });
    }
    errors
}

fn each(new: &Value, old: &Value, list: &str, mut act: impl FnMut(&Value, &Value, usize)) {
    let path = format!("spec.{list}");
    let pairs = new.list(&path).iter().zip(old.list(&path));
    for (index, (after, before)) in pairs.enumerate() {
        act(after, before, index);
    }
}

fn nothing_is_taken_back(after: &Value, before: &Value, path: &Path, errors: &mut Vec<Error>) {
    for list in ["requests", "limits"] {
        let field = format!("resources.{list}");
        let has = |name: &str| after.map(&field).any(|(own, _)| own == name);
        if before.map(&field).any(|(name, _)| !has(name)) {
            let detail = format!("resource {list} cannot be removed");
            errors.push(Error::forbidden(&path.child(list), detail));
        }
    }
}

/// What may change as it was.
fn restore(after: &mut Value, before: &Value) {
    for list in ["requests", "limits"] {
        let field = format!("resources.{list}");
        if before.at(&field).is_none() {
            // What was not asked for at all may be asked for now, if it may change.
            let other = after
                .map(&field)
                .any(|(name, _)| !MUTABLE.contains(&name.as_str()));
            if !other {
                after.take_field(&field);
            }
            continue;
        }
        let Some(amounts) = after.object(&field) else {
            continue;
        };
        for name in MUTABLE {
            match before.at(&field).and_then(|known| known.get(name)) {
                Some(amount) => amounts.insert(name.to_owned(), amount.clone()),
                None => amounts.remove(name),
            };
        }
    }
    if before.at("resources").is_none() && after.lacks("resources") {
        after.take_field("resources");
    }
}
