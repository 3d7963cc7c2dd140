//! The pure halves together: nodes, pods on them, and where another pod goes.

use serde_json::{Value, json};

use super::*;
use crate::cache::Cache;

fn node(name: &str, extra: &Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": &name[..1]}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
    });
    for (key, value) in extra.as_object().unwrap() {
        node["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, extra: &Value) -> Arc<Pod> {
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "n", "uid": name, "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "c"}]},
    });
    for (key, value) in extra.as_object().unwrap() {
        pod["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
}

fn state(nodes: &[Arc<Node>], placed: &[(&str, Arc<Pod>)]) -> State {
    let mut state = State::default();
    for node in nodes {
        state.put_node(node.clone());
    }
    for (node, pod) in placed {
        let mut pod = Pod::clone(pod);
        pod.spec.as_mut().unwrap().node_name = Some((*node).to_owned());
        state.put_pod(Arc::new(pod));
    }
    state
}

/// The node that is chosen, or what is told.
fn place(state: &State, pod: &Arc<Pod>) -> String {
    let claims = Cache::default();
    let storage = Storage::new(pod, &claims, &[], Vec::new());
    let storage = match storage {
        Ok(storage) => storage,
        Err(why) => {
            return Failure::Pod {
                total: state.nodes().count(),
                why,
            }
            .message();
        }
    };
    let world = World {
        state,
        storage: &storage,
        namespaces: &[],
    };
    let (fitting, refusals) = filter::split(pod, &world);
    if fitting.is_empty() {
        let helps = preemption::outlook(pod, &world, &refusals);
        return Failure::NoNode {
            total: state.nodes().count(),
            refusals,
            helps,
        }
        .message();
    }
    score::best(pod, &world, &fitting)
}

fn told(total: usize, reasons: &str, preemption: &str) -> String {
    format!(
        "0/{total} nodes are available: {reasons}. no new claims to deallocate, preemption: \
         0/{total} nodes are available: {preemption}."
    )
}

const HOPELESS: &str = "1 Preemption is not helpful for scheduling";

#[test]
fn a_pod_that_was_resized_counts_with_what_it_asks_for_now() {
    let bound = |cpu: &str| {
        let mut pod = Pod::clone(&pod("a", &asks(cpu)));
        pod.spec.as_mut().unwrap().node_name = Some("n".to_owned());
        Arc::new(pod)
    };
    let mut state = state(&[node("n", &json!({}))], &[]);
    assert!(state.put_pod(bound("3")), "it is new");
    assert!(!state.put_pod(bound("3")), "nothing has changed");
    let other = pod("b", &asks("2"));
    assert_ne!(place(&state, &other), "n");
    assert!(state.put_pod(bound("1")), "others may fit now");
    assert_eq!(place(&state, &other), "n");
}

#[test]
fn each_refusal_has_its_words() {
    let taint = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let closed = json!({"unschedulable": true});
    let none = json!({});
    for (spec, wish, reasons, preemption) in [
        (&none, asks("5"), "1 Insufficient cpu", HOPELESS),
        (
            &none,
            asks("3"),
            "1 Insufficient cpu",
            "1 No preemption victims found for incoming pod",
        ),
        (
            &taint,
            none.clone(),
            "1 node(s) had untolerated taint(s)",
            HOPELESS,
        ),
        (
            &closed,
            none.clone(),
            "1 node(s) were unschedulable",
            HOPELESS,
        ),
        (
            &none,
            json!({"nodeSelector": {"x": "y"}}),
            "1 node(s) didn't match Pod's node affinity/selector",
            HOPELESS,
        ),
    ] {
        let state = state(&[node("a1", spec)], &[("a1", pod("p", &asks("2")))]);
        assert_eq!(
            place(&state, &pod("q", &wish)),
            told(1, reasons, preemption),
            "{wish}"
        );
    }
    assert_eq!(
        place(&State::default(), &pod("q", &none)),
        "no nodes available to schedule pods"
    );
}

#[test]
fn reasons_are_counted_over_nodes() {
    let taint = json!({"taints": [{"key": "k", "effect": "NoExecute"}]});
    let state = state(
        &[
            node("a1", &taint),
            node("a2", &json!({})),
            node("b1", &json!({})),
        ],
        &[],
    );
    assert_eq!(
        place(&state, &pod("q", &asks("9"))),
        told(
            3,
            "1 node(s) had untolerated taint(s), 2 Insufficient cpu",
            "3 Preemption is not helpful for scheduling"
        )
    );
}

#[test]
fn the_emptier_node_is_chosen_and_a_tainted_one_only_if_tolerated() {
    let none = json!({});
    let taint = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
    let nodes = [node("a1", &none), node("a2", &none), node("b1", &taint)];
    let state = state(&nodes, &[("a1", pod("p", &asks("2")))]);
    assert_eq!(place(&state, &pod("q", &none)), "a2");
    let tolerant = json!({
        "tolerations": [{"key": "k", "operator": "Exists"}], "nodeSelector": {"zone": "b"},
    });
    assert_eq!(place(&state, &pod("q", &tolerant)), "b1");
}

#[test]
fn host_ports_are_taken_once() {
    let port =
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80}]}]});
    let state = state(&[node("a1", &json!({}))], &[("a1", pod("p", &port))]);
    assert_eq!(
        place(&state, &pod("q", &port)),
        told(
            1,
            "1 node(s) didn't have free ports for the requested pod ports",
            "1 No preemption victims found for incoming pod"
        )
    );
}

#[test]
fn pods_are_spread_over_domains() {
    let spread = json!({"topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}}}]});
    let nodes = [node("a1", &json!({})), node("b1", &json!({}))];
    let one = pod("p", &json!({}));
    let state = state(&nodes, &[("a1", one)]);
    assert_eq!(place(&state, &pod("q", &spread)), "b1");
    let only_a = json!({
        "topologySpreadConstraints": spread["topologySpreadConstraints"],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["a1"]}]}]}}},
    });
    assert_eq!(
        place(&state, &pod("q", &only_a)),
        "a1",
        "nodes that are not meant do not count"
    );
}

#[test]
fn affinity_draws_pods_near_and_anti_affinity_keeps_them_apart() {
    let term = json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "a"}}}]);
    let near = json!({"affinity": {"podAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let far = json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": term}}});
    let nodes = [
        node("a1", &json!({})),
        node("a2", &json!({})),
        node("b1", &json!({})),
    ];
    let empty = state(&nodes, &[]);
    assert_eq!(
        place(&empty, &pod("q", &near)),
        "a1",
        "the first of its kind may go anywhere"
    );
    let taken = state(&nodes, &[("b1", pod("p", &json!({})))]);
    assert_eq!(place(&taken, &pod("q", &near)), "b1");
    assert_eq!(place(&taken, &pod("q", &far)), "a1");
    let jealous = state(&nodes, &[("a1", pod("p", &far))]);
    assert_eq!(
        place(&jealous, &pod("q", &json!({}))),
        "b1",
        "what refuses others is respected"
    );
}

#[test]
fn a_pod_that_matters_more_pushes_off_the_least_that_makes_room() {
    let with_priority = |name: &str, cpu: &str, priority: i32| {
        let mut spec = asks(cpu);
        spec["priority"] = json!(priority);
        pod(name, &spec)
    };
    let state = state(
        &[node("a1", &json!({}))],
        &[
            ("a1", with_priority("low", "1", 1)),
            ("a1", with_priority("lower", "1", 0)),
            ("a1", with_priority("high", "2", 9)),
        ],
    );
    let pod = with_priority("q", "1", 5);
    let claims = Cache::default();
    let storage = Storage::new(&pod, &claims, &[], Vec::new()).unwrap();
    let world = World {
        state: &state,
        storage: &storage,
        namespaces: &[],
    };
    let (_, refusals) = filter::split(&pod, &world);
    let plan = preemption::outlook(&pod, &world, &refusals).plan.unwrap();
    let victims: Vec<_> = plan
        .victims
        .iter()
        .map(|victim| victim.name_any())
        .collect();
    assert_eq!(
        (plan.node.as_str(), victims),
        ("a1", vec!["lower".to_owned()])
    );
    let humble = with_priority("q", "1", 0);
    assert_eq!(
        place(&state, &humble),
        told(
            1,
            "1 Insufficient cpu",
            "1 No preemption victims found for incoming pod"
        )
    );
}

#[test]
fn a_claim_that_is_missing_is_named() {
    let state = state(&[node("a1", &json!({}))], &[]);
    let uses = json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]});
    assert_eq!(
        place(&state, &pod("q", &uses)),
        "0/1 nodes are available: persistentvolumeclaim \"c\" not found. not found"
    );
}

#[test]
fn what_is_freed_can_be_taken_again() {
    let mut state = state(&[node("a1", &json!({}))], &[]);
    let first = pod("p", &asks("3"));
    state.choose(first.clone(), "a1");
    assert_eq!(state.chosen(&first).as_deref(), Some("a1"));
    let second = pod("q", &asks("3"));
    assert!(place(&state, &second).starts_with("0/1"));
    state.forget_choice(&first);
    assert_eq!(place(&state, &second), "a1");
}

#[test]
fn whoever_makes_room_says_only_why_there_is_none_yet() {
    let mut important = Pod::clone(&pod("q", &asks("3")));
    important.spec.as_mut().unwrap().priority = Some(10);
    let mut lesser = Pod::clone(&pod("p", &asks("2")));
    let none = json!({});
    let before = state(&[node("a1", &none)], &[("a1", Arc::new(lesser.clone()))]);
    let why = "0/1 nodes are available: 1 Insufficient cpu.";
    assert_eq!(place(&before, &Arc::new(important.clone())), why);
    // Once it has pushed, it waits for those on their way out.
    lesser.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    important.status.get_or_insert_default().nominated_node_name = Some("a1".to_owned());
    let after = state(&[node("a1", &none)], &[("a1", Arc::new(lesser))]);
    let waits = "no new claims to deallocate, preemption: not eligible due to terminating pod on the nominated node.";
    assert_eq!(
        place(&after, &Arc::new(important)),
        format!("{why} {waits}")
    );
}
