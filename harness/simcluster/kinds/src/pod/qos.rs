//! The quality of service class of a pod, from what its containers request and limit.

use std::collections::BTreeMap;

use serde_json::Value;
use simcluster_machinery::quantity::{Format, Quantity};

use crate::read::Read;
use crate::resources::quantities;

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// `Guaranteed` when every container limits CPU and memory and requests as much, `BestEffort` when
/// none asks for either, else `Burstable`. Resources of the whole pod take the place of its
/// containers'.
pub(crate) fn class(spec: &Value) -> &'static str {
    let mut requests = Totals::default();
    let mut limits = Totals::default();
    let mut guaranteed = true;
    let pod_level = spec
        .at("resources")
        .filter(|resources| !resources.lacks("requests") || !resources.lacks("limits"));
    let asked: Vec<&Value> = match pod_level {
        Some(resources) => vec![resources],
        None => ["containers", "initContainers"]
            .iter()
            .flat_map(|list| spec.list(list))
            .map(|container| container.get("resources").unwrap_or(&Value::Null))
            .collect(),
    };
    for resources in asked {
        requests.add(resources, "requests");
        guaranteed &= limits.add(resources, "limits") == COUNTED.len();
    }
    if requests.0.is_empty() && limits.0.is_empty() {
        "BestEffort"
    } else if guaranteed && requests.0 == limits.0 {
        "Guaranteed"
    } else {
        "Burstable"
    }
}

#[derive(Default)]
struct Totals(BTreeMap<&'static str, Quantity>);

impl Totals {
    /// Adds one list, and answers how many of the counted resources it has.
    fn add(&mut self, resources: &Value, list: &str) -> usize {
        let list = quantities(resources, list);
        let mut found = 0;
        for name in COUNTED {
            let Some(quantity) = list.get(name).filter(|quantity| !quantity.is_zero()) else {
                continue;
            };
            found += 1;
            let zero = Quantity::from_integer(0, Format::DecimalSi);
            let total = self.0.entry(name).or_insert(zero);
            *total = total.add(*quantity);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_class_follows_requests_and_limits() {
        let both = json!({"cpu": "100m", "memory": "1Gi"});
        for (resources, expected) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": both, "requests": both}), "Guaranteed"),
            (
                json!({"limits": both, "requests": {"cpu": "50m", "memory": "1Gi"}}),
                "Burstable",
            ),
            (json!({"requests": {"nvidia.com/gpu": "1"}}), "BestEffort"),
        ] {
            let spec = json!({"containers": [{"resources": resources}]});
            assert_eq!(class(&spec), expected, "{spec}");
        }
        let one_without = json!({"containers": [
            {"resources": {"limits": both, "requests": both}}, {"resources": {}}]});
        assert_eq!(class(&one_without), "Burstable");
    }
}
