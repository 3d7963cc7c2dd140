//! The scheduler and the health of nodes.

use std::time::Duration;

use serde_json::{Value, json};
use simcluster_controllers::Settings;

use crate::world::{World, batch, condition, core, merge};

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
        "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "x"}]}});
    merge(&mut pod["spec"], spec);
    pod
}

fn asks(cpu: &str) -> Value {
    json!({"containers": [{"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}]})
}

async fn refused(world: &World, name: &str) -> Value {
    let refused = |pod: &Value| condition(pod, "PodScheduled")["status"] == "False";
    world.until_one(&core("pods"), name, refused).await
}

const HOPELESS: &str = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not \
                        helpful for scheduling.";

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why() {
    let world = World::start().await;
    for (name, spec, why) in [
        ("big", asks("9000"), "1 Insufficient cpu"),
        (
            "picky",
            json!({"nodeSelector": {"no": "where"}}),
            "1 node(s) didn't match Pod's node affinity/selector",
        ),
    ] {
        world.post(&core("pods"), &pod(name, &spec)).await;
        let pod = refused(&world, name).await;
        let told = format!("0/1 nodes are available: {why}. {HOPELESS}");
        let said = condition(&pod, "PodScheduled");
        assert_eq!(said["message"], told);
        assert_eq!(said["reason"], "Unschedulable");
        assert_eq!(said["observedGeneration"], 1);
        let event = world.event(name, "FailedScheduling").await;
        assert_eq!(event["message"], told);
        assert_eq!(event["reportingComponent"], "default-scheduler");
    }
}

#[tokio::test]
async fn a_pod_is_scheduled_when_a_node_that_fits_comes() {
    let world = World::start().await;
    world
        .post(
            &core("pods"),
            &pod("p", &json!({"nodeSelector": {"disk": "fast"}})),
        )
        .await;
    refused(&world, "p").await;
    world
        .add_node("node-2", &json!({"metadata": {"labels": {"disk": "fast"}}}))
        .await;
    let placed = |pod: &Value| pod["spec"]["nodeName"] == "node-2";
    world.until_one(&core("pods"), "p", placed).await;
    let event = world.event("p", "Scheduled").await;
    assert_eq!(
        event["message"],
        "Successfully assigned default/p to node-2"
    );
}

#[tokio::test]
async fn pods_wait_for_room_and_take_it_when_it_comes() {
    let world = World::start().await;
    for name in ["a", "b"] {
        world.post(&core("pods"), &pod(name, &asks("3"))).await;
    }
    let second = refused(&world, "b").await;
    let message = condition(&second, "PodScheduled")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("1 No preemption victims found for incoming pod."),
        "{message}"
    );
    world.delete(&core("pods/a"), &Value::Null).await;
    let placed = |pod: &Value| pod["spec"]["nodeName"] == "node-1";
    world.until_one(&core("pods"), "b", placed).await;
}

#[tokio::test]
async fn gates_hold_a_pod_until_they_are_gone() {
    let world = World::start().await;
    let gated = json!({"schedulingGates": [{"name": "example.com/hold"}]});
    world.post(&core("pods"), &pod("g", &gated)).await;
    world
        .patch(&core("pods/g"), &json!({"spec": {"schedulingGates": null}}))
        .await;
    let runs = |pod: &Value| pod["status"]["phase"] == "Running";
    world.until_one(&core("pods"), "g", runs).await;
}

#[tokio::test]
async fn pods_that_refuse_each_other_are_spread() {
    let world = World::start().await;
    world.add_node("node-2", &json!({})).await;
    let apart = json!({"affinity": {"podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname",
            "labelSelector": {"matchLabels": {"app": "a"}}}]}}});
    for name in ["a", "b", "c"] {
        let mut pod = pod(name, &apart);
        pod["metadata"]["labels"] = json!({"app": "a"});
        world.post(&core("pods"), &pod).await;
    }
    let spread = |pods: &[Value]| {
        let mut nodes: Vec<_> = pods
            .iter()
            .filter_map(|pod| pod["spec"]["nodeName"].as_str())
            .collect();
        nodes.sort_unstable();
        nodes == ["node-1", "node-2"]
    };
    world.until(&core("pods"), spread).await;
}

#[tokio::test]
async fn a_node_that_is_not_ready_is_tainted_until_it_is_and_takes_no_pods_meanwhile() {
    let world = World::start().await;
    let ready =
        |status: &str| json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    world
        .patch("/api/v1/nodes/node-1/status", &ready("False"))
        .await;
    let tainted = |node: &Value| node["spec"]["taints"][0]["key"] == "node.kubernetes.io/not-ready";
    world.until_one("/api/v1/nodes", "node-1", tainted).await;
    world.post(&core("pods"), &pod("p", &json!({}))).await;
    let waiting = refused(&world, "p").await;
    let message = condition(&waiting, "PodScheduled")["message"]
        .as_str()
        .unwrap();
    assert!(
        message.contains("1 node(s) had untolerated taint(s)."),
        "{message}"
    );
    world
        .patch("/api/v1/nodes/node-1/status", &ready("True"))
        .await;
    let placed = |pod: &Value| pod["spec"]["nodeName"] == "node-1";
    world.until_one(&core("pods"), "p", placed).await;
}

#[tokio::test]
async fn pods_of_a_node_that_is_gone_go() {
    let settings = Settings {
        vanished_node_grace: Duration::ZERO,
        ..Settings::default()
    };
    let world = World::with(settings);
    world.add_node("node-1", &json!({})).await;
    world
        .post(
            &core("pods"),
            &pod("p", &json!({"terminationGracePeriodSeconds": 30})),
        )
        .await;
    let placed = |pod: &Value| pod["spec"]["nodeName"] == "node-1";
    world.until_one(&core("pods"), "p", placed).await;
    world.delete("/api/v1/nodes/node-1", &Value::Null).await;
    world.until_gone(&core("pods"), "p").await;
}

#[tokio::test]
async fn a_budget_counts_what_may_be_disrupted() {
    let world = World::start().await;
    for name in ["a", "b"] {
        let mut pod = pod(name, &json!({}));
        pod["metadata"]["labels"] = json!({"app": "a"});
        world.post(&core("pods"), &pod).await;
    }
    let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    world.post(budgets, &budget).await;
    let allows = |budget: &Value| budget["status"]["disruptionsAllowed"] == 1;
    let budget = world.until_one(budgets, "b", allows).await;
    assert_eq!(
        condition(&budget, "DisruptionAllowed")["reason"],
        "SufficientPods"
    );
}

#[tokio::test]
async fn a_budget_asks_how_large_the_workload_of_another_kind_is() {
    let world = World::start().await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "flocks.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
                 "names": {"plural": "flocks", "kind": "Flock"},
                 "versions": [{"name": "v1", "served": true, "storage": true,
                    "subresources": {"scale": {"specReplicasPath": ".spec.replicas",
                                               "statusReplicasPath": ".status.replicas"}},
                    "schema": {"openAPIV3Schema": {"type": "object",
                        "x-kubernetes-preserve-unknown-fields": true}}}]},
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    world.post(definitions, &definition).await;
    let flock = json!({"apiVersion": "example.com/v1", "kind": "Flock",
                       "metadata": {"name": "f"}, "spec": {"replicas": 2}});
    let flocks = "/apis/example.com/v1/namespaces/default/flocks";
    let flock = world.post(flocks, &flock).await;
    let schedule = json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "j"},
        "spec": {"suspend": true, "schedule": "* * * * *", "jobTemplate": {"spec": {"template":
            {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}});
    let schedule = world.post(&batch("cronjobs"), &schedule).await;
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    for (name, kind, version, owner) in [
        ("f", "Flock", "example.com/v1", &flock),
        ("j", "CronJob", "batch/v1", &schedule),
    ] {
        for number in 0..2 {
            let mut pod = pod(&format!("{name}-{number}"), &json!({}));
            pod["metadata"]["labels"] = json!({"app": name});
            pod["metadata"]["ownerReferences"] = json!([{
                "apiVersion": version, "kind": kind, "name": name,
                "uid": owner["metadata"]["uid"], "controller": true,
            }]);
            world.post(&core("pods"), &pod).await;
        }
        let budget = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}});
        world.post(budgets, &budget).await;
    }
    let allows = |budget: &Value| budget["status"]["disruptionsAllowed"] == 1;
    let budget = world.until_one(budgets, "f", allows).await;
    assert_eq!(budget["status"]["expectedPods"], 2);
    let failed = |budget: &Value| {
        let conditions = budget["status"]["conditions"].as_array();
        conditions.is_some_and(|all| all[0]["reason"] == "SyncFailed")
    };
    let budget = world.until_one(budgets, "j", failed).await;
    let why = "cronjobs.batch does not implement the scale subresource";
    assert_eq!(condition(&budget, "DisruptionAllowed")["message"], why);
    let event = world.event("j", "CalculateExpectedPodCountFailed").await;
    assert_eq!(
        event["message"],
        format!("Failed to calculate the number of expected pods: {why}")
    );
}

#[tokio::test]
async fn a_node_that_comes_and_goes_is_told_of() {
    let world = World::start().await;
    let event = world.event("node-1", "RegisteredNode").await;
    assert_eq!(
        event["message"],
        "Node node-1 event: Registered Node node-1 in Controller"
    );
    assert_eq!(event["source"]["component"], "node-controller");
    world.delete("/api/v1/nodes/node-1", &Value::Null).await;
    let event = world.event("node-1", "RemovingNode").await;
    assert_eq!(
        event["message"],
        "Node node-1 event: Removing Node node-1 from Controller"
    );
}

#[tokio::test]
async fn pods_of_a_node_that_fell_silent_count_as_not_ready() {
    let settings = Settings {
        node_grace: Duration::from_millis(1500),
        ..Settings::default()
    };
    let world = World::with(settings);
    world.add_node("node-1", &json!({})).await;
    world.post(&core("pods"), &pod("p", &json!({}))).await;
    let unready = |pod: &Value| {
        pod["spec"]["nodeName"] == "node-1" && condition(pod, "Ready")["status"] == "False"
    };
    world.until_one(&core("pods"), "p", unready).await;
    let event = world.event("p", "NodeNotReady").await;
    assert_eq!(event["message"], "Node is not ready");
    assert_eq!(event["type"], "Warning");
}

#[tokio::test]
async fn a_pod_that_a_taint_dooms_is_spared_when_the_taint_goes() {
    let world = World::start().await;
    let patience = json!({"tolerations": [
        {"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 600}]});
    world.post(&core("pods"), &pod("p", &patience)).await;
    let placed = |pod: &Value| pod["spec"]["nodeName"] == "node-1";
    world.until_one(&core("pods"), "p", placed).await;
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
    world.patch("/api/v1/nodes/node-1", &taint).await;
    let none = json!({"spec": {"taints": null}});
    // Its end is only set once the controller has seen the taint; each round gives it another chance to.
    let spared = async {
        loop {
            world.patch("/api/v1/nodes/node-1", &taint).await;
            tokio::task::yield_now().await;
            world.patch("/api/v1/nodes/node-1", &none).await;
        }
    };
    let event = tokio::select! {
        event = world.event("p", "TaintManagerEviction") => event,
        () = spared => unreachable!("it goes on until the event is there"),
    };
    assert_eq!(event["message"], "Cancelling deletion of Pod default/p");
    assert_eq!(event["source"]["component"], "taint-eviction-controller");
}
