//! Whether the node takes a pod that was bound to it: a kubelet's own checks, in its order and words. Pure.
//!
//! The scheduler asks the same and more, but whoever writes `spec.nodeName` passes it by. What is refused here fails
//! and is not tried again. Only a critical pod pushes others out: [`room`] says which.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use simcluster_placement::{
    ports,
    resources::{self, Resources},
    selection,
    taints::tolerates,
};

use crate::{pod::resize::Fit, sysctls};

mod room;

/// Why a pod is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// `reason` of the pod's status and of the Event.
    pub(crate) reason: String,
    /// The Event's message; the status puts a few words before it.
    pub(crate) message: String,
}

impl Refusal {
    fn new(reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            message: message.into(),
        }
    }

    fn predicate(name: &str, why: &str) -> Self {
        Self::new(name, format!("Predicate {name} failed: {why}"))
    }
}

/// The name of the refusal that a newer version of the Node might lift: its labels may have just changed.
pub(crate) const NODE_AFFINITY: &str = "NodeAffinity";

/// What a node does with a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Taken,
    Refused(Refusal),
    /// It is taken once these of the others have gone, by their places.
    TakenInsteadOf(Vec<usize>),
}

/// The first reason against a pod on this node, beside those that it has taken and that have not ended.
pub(crate) fn judge(pod: &Pod, node: &Node, others: &[&Pod]) -> Verdict {
    let Some(spec) = &pod.spec else {
        return Verdict::Taken;
    };
    let first = forbidden_sysctl(spec).or_else(|| other_system(pod, spec));
    let short = || lacking(spec, node, others);
    let other = || {
        not_selected(spec, node)
            .or_else(|| ports_taken(spec, others))
            .or_else(|| untolerated(spec, node))
    };
    if !room::is_critical(spec) {
        let too_little = || short().first().map(Lacking::refusal);
        let refusal = first.or_else(too_little).or_else(other);
        return refusal.map_or(Verdict::Taken, Verdict::Refused);
    }
    if let Some(refusal) = first.or_else(other) {
        return Verdict::Refused(refusal);
    }
    let needed: Amounts = short()
        .iter()
        .map(|it| (it.name.clone(), it.more()))
        .collect();
    match room::victims(spec, &needed, others) {
        _ if needed.is_empty() => Verdict::Taken,
        Ok(victims) => Verdict::TakenInsteadOf(victims),
        Err(why) => Verdict::Refused(Refusal::new(
            "UnexpectedAdmissionError",
            format!(
                "Unexpected error while attempting to recover from admission failure: preemption: \
                 error finding a set of pods to preempt: {why}"
            ),
        )),
    }
}

/// Whether the node has what a pod that it has taken already now wants, beside the others.
pub(crate) fn fit(pod: &Pod, node: &Node, others: &[&Pod]) -> Fit {
    let Some(spec) = &pod.spec else {
        return Fit::Fits;
    };
    let short_of = |names: [&str; 2], others: &[&Pod]| {
        let all = lacking(spec, node, others);
        let first = names
            .into_iter()
            .find_map(|name| all.iter().position(|it| it.name == name));
        first.and_then(|place| all.into_iter().nth(place))
    };
    // Even an empty node has not so much.
    if let Some(never) = short_of(["memory", "cpu"], &[]) {
        return Fit::Pending {
            reason: "Infeasible",
            message: format!(
                "Node didn't have enough capacity: {}, requested: {}, capacity: {}",
                never.name, never.requested, never.capacity
            ),
        };
    }
    match short_of(["cpu", "memory"], others) {
        None => Fit::Fits,
        Some(now) => Fit::Pending {
            reason: "Deferred",
            message: now.refusal().message,
        },
    }
}

fn forbidden_sysctl(spec: &PodSpec) -> Option<Refusal> {
    let why = sysctls::forbidden(spec)?;
    Some(Refusal::new(
        "SysctlForbidden",
        format!("forbidden sysctl: {why}"),
    ))
}

fn other_system(pod: &Pod, spec: &PodSpec) -> Option<Refusal> {
    let labels = pod.metadata.labels.as_ref();
    let labelled = labels.and_then(|labels| labels.get("kubernetes.io/os"));
    if labelled.is_some_and(|os| os != "linux") {
        return Some(Refusal::new(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ));
    }
    let wanted = spec.os.as_ref().filter(|os| os.name != "linux");
    wanted.map(|_| {
        Refusal::new(
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        )
    })
}

/// Amounts as a kubelet counts them: processors in thousandths, everything else whole, rounded up.
type Amounts = BTreeMap<String, i128>;

fn amounts(resources: &Resources) -> Amounts {
    let all = resources.iter();
    all.map(|(name, amount)| {
        let counted = match name.as_str() {
            "cpu" => amount.thousandths(),
            _ => amount.units(),
        };
        (name.clone(), counted)
    })
    .collect()
}

/// What a pod asks for.
fn requests(spec: &PodSpec) -> Amounts {
    amounts(&resources::of_spec(spec))
}

/// A resource of which the node has not enough.
struct Lacking {
    name: String,
    requested: i128,
    used: i128,
    capacity: i128,
}

impl Lacking {
    fn more(&self) -> i128 {
        self.requested - (self.capacity - self.used)
    }

    fn refusal(&self) -> Refusal {
        let Self {
            name,
            requested,
            used,
            capacity,
        } = self;
        Refusal::new(
            format!("OutOf{name}"),
            format!(
                "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
            ),
        )
    }
}

/// All resources of which the node has not enough for one pod more.
fn lacking(spec: &PodSpec, node: &Node, others: &[&Pod]) -> Vec<Lacking> {
    let Some(status) = &node.status else {
        return Vec::new();
    };
    let given = status.allocatable.as_ref().or(status.capacity.as_ref());
    let capacity = amounts(&Resources::of(given));
    let mut wanted = requests(spec);
    let mut used = Amounts::new();
    for other in others.iter().filter_map(|pod| pod.spec.as_ref()) {
        for (name, amount) in requests(other) {
            *used.entry(name).or_default() += amount;
        }
    }
    wanted.insert("pods".to_owned(), 1);
    let running = i128::try_from(others.len()).unwrap_or(i128::MAX);
    used.insert("pods".to_owned(), running);
    // These first; what the node does not know at all may be the cluster's and is not its to refuse.
    let first = ["pods", "cpu", "memory", "ephemeral-storage"];
    let rest = wanted
        .keys()
        .map(String::as_str)
        .filter(|name| !first.contains(name) && capacity.contains_key(*name));
    let amount = |of: &Amounts, name: &str| of.get(name).copied().unwrap_or_default();
    let looked_at = first.into_iter().chain(rest).map(|name| Lacking {
        name: name.to_owned(),
        requested: amount(&wanted, name),
        used: amount(&used, name),
        capacity: amount(&capacity, name),
    });
    looked_at
        .filter(|it| it.requested > 0 && it.more() > 0)
        .collect()
}

fn not_selected(spec: &PodSpec, node: &Node) -> Option<Refusal> {
    (!selection::selects(spec, node)).then(|| {
        Refusal::predicate(
            NODE_AFFINITY,
            "node(s) didn't match Pod's node affinity/selector",
        )
    })
}

fn ports_taken(spec: &PodSpec, others: &[&Pod]) -> Option<Refusal> {
    let taken: Vec<_> = others.iter().flat_map(|pod| ports::of_pod(pod)).collect();
    let wanted = ports::of_spec(spec);
    let collides = |port: &ports::HostPort| taken.iter().any(|other| ports::collide(port, other));
    wanted.iter().any(collides).then(|| {
        Refusal::predicate(
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        )
    })
}

/// Of taints, a node itself looks only at those that also drive pods away.
fn untolerated(spec: &PodSpec, node: &Node) -> Option<Refusal> {
    let taints = node.spec.as_ref()?.taints.as_ref()?;
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let stands = taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .any(|taint| !tolerations.iter().any(|one| tolerates(one, taint)));
    stands.then(|| Refusal::predicate("TaintToleration", "node(s) had untolerated taint(s)"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd"}},
            "spec": {"taints": [{"key": "soft", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3", "ephemeral-storage": "1Gi"}},
        }))
        .unwrap()
    }

    fn pod(spec: &Value) -> Pod {
        let mut spec = spec.clone();
        if spec.get("containers").is_none() {
            spec["containers"] = json!([{"name": "c"}]);
        }
        serde_json::from_value(json!({"metadata": {"labels": {}}, "spec": spec})).unwrap()
    }

    fn asking(requests: &Value) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
    }

    fn refusal(pod: &Pod, node: &Node, others: &[&Pod]) -> Option<Refusal> {
        match judge(pod, node, others) {
            Verdict::Refused(refusal) => Some(refusal),
            Verdict::Taken | Verdict::TakenInsteadOf(_) => None,
        }
    }

    fn said(spec: &Value, others: &[Value]) -> Option<(String, String)> {
        let others: Vec<Pod> = others.iter().map(pod).collect();
        let others: Vec<&Pod> = others.iter().collect();
        let refusal = refusal(&pod(spec), &node(), &others)?;
        Some((refusal.reason, refusal.message))
    }

    #[test]
    fn a_pod_that_does_not_fit_is_refused_in_a_kubelets_words() {
        let port = |number: i32| json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": number}]}]});
        let small = asking(&json!({"cpu": "1500m"}));
        for (spec, others, expected) in [
            (json!({}), vec![], None),
            (
                asking(&json!({"cpu": "1"})),
                vec![small],
                Some((
                    "OutOfcpu",
                    "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000",
                )),
            ),
            (
                asking(&json!({"memory": "2Gi"})),
                vec![],
                Some((
                    "OutOfmemory",
                    "Node didn't have enough resource: memory, requested: 2147483648, used: 0, capacity: 1073741824",
                )),
            ),
            (
                json!({}),
                vec![json!({}); 3],
                Some((
                    "OutOfpods",
                    "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
                )),
            ),
            (asking(&json!({"example.com/dongle": "1"})), vec![], None),
            (json!({"nodeSelector": {"disk": "ssd"}}), vec![], None),
            (
                json!({"nodeSelector": {"disk": "hdd"}}),
                vec![],
                Some((
                    "NodeAffinity",
                    "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
                )),
            ),
            (port(80), vec![port(81)], None),
            (
                port(80),
                vec![port(80)],
                Some((
                    "NodePorts",
                    "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
                )),
            ),
            (
                json!({"os": {"name": "windows"}}),
                vec![],
                Some((
                    "PodOSNotSupported",
                    "Failed to admit pod as the OS field doesn't match node OS",
                )),
            ),
        ] {
            let expected = expected.map(|(reason, text)| (reason.to_owned(), text.to_owned()));
            assert_eq!(said(&spec, &others), expected, "{spec}");
        }
    }

    #[test]
    fn a_critical_pod_is_short_of_nothing_that_others_could_give() {
        let mut critical = asking(&json!({"cpu": "1500m"}));
        critical["priority"] = json!(2_000_000_000);
        let small = pod(&asking(&json!({"cpu": "1500m"})));
        let verdict = |spec: &Value| judge(&pod(spec), &node(), &[&small]);
        assert_eq!(verdict(&critical), Verdict::TakenInsteadOf(vec![0]));
        assert_eq!(verdict(&asking(&json!({"cpu": "500m"}))), Verdict::Taken);
        let mut elsewhere = critical.clone();
        elsewhere["nodeSelector"] = json!({"disk": "hdd"});
        assert!(
            matches!(verdict(&elsewhere), Verdict::Refused(why) if why.reason == "NodeAffinity"),
            "nobody goes for a pod that cannot come"
        );
        critical["containers"][0]["resources"]["requests"]["cpu"] = json!("3");
        assert!(
            matches!(verdict(&critical), Verdict::Refused(why) if why.reason == "UnexpectedAdmissionError")
        );
    }

    #[test]
    fn a_taint_that_drives_away_keeps_off() {
        let mut node = node();
        let taint = json!([{"key": "k", "value": "v", "effect": "NoExecute"}]);
        node.spec.as_mut().unwrap().taints = serde_json::from_value(taint).unwrap();
        let refused = refusal(&pod(&json!({})), &node, &[]).unwrap();
        assert_eq!(refused.reason, "TaintToleration");
        let tolerating = pod(&json!({"tolerations": [{"key": "k", "value": "v"}]}));
        assert_eq!(refusal(&tolerating, &node, &[]), None);
    }

    #[test]
    fn terms_select_by_labels_and_by_the_nodes_name() {
        let with = |term: Value| {
            json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [term]}}}})
        };
        let by_name = |name: &str| {
            with(
                json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]}),
            )
        };
        assert_eq!(said(&by_name("n"), &[]), None);
        assert!(said(&by_name("other"), &[]).is_some());
        let by_label = |operator: &str| {
            with(json!({"matchExpressions": [{"key": "disk", "operator": operator}]}))
        };
        assert_eq!(said(&by_label("Exists"), &[]), None);
        assert!(said(&by_label("DoesNotExist"), &[]).is_some());
        assert!(said(&with(json!({})), &[]).is_some());
    }
}
