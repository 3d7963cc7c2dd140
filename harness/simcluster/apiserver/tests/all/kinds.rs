//! Kinds that drivers, signers and the scheduler read: what may be stored, and what may change.

use serde_json::json;

use crate::support::World;

const STORAGE: &str = "/apis/storage.k8s.io/v1";

/// Each of these is in the message of a 422.
#[track_caller]
fn complains(answer: &crate::support::Answer, parts: &[&str]) {
    assert_eq!(answer.code, 422, "{}", answer.text);
    for part in parts {
        assert!(answer.message().contains(part), "{part}: {}", answer.text);
    }
}

#[tokio::test]
async fn csi_drivers_and_nodes_are_validated() {
    let world = World::start();
    let drivers = format!("{STORAGE}/csidrivers");
    let bad = json!({"metadata": {"name": "d.y"}, "spec": {
        "fsGroupPolicy": "X", "volumeLifecycleModes": ["Q"],
        "tokenRequests": [{"audience": "a"}, {"audience": "a"},
                          {"audience": "b", "expirationSeconds": 5}]}});
    complains(
        &world.post(&drivers, &bad).await,
        &[
            "spec.fsGroupPolicy: Unsupported value: \"X\": supported values: \"File\", \"None\", \
             \"ReadWriteOnceWithFSType\"",
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            "spec.tokenRequests[2].expirationSeconds: Invalid value: 5: may not specify a duration \
             less than 10 minutes",
            "spec.volumeLifecycleModes: Unsupported value: \"Q\": supported values: \"Persistent\", \
             \"Ephemeral\"",
        ],
    );
    let driver = json!({"metadata": {"name": "d.x"}, "spec": {}});
    world.post(&drivers, &driver).await.ok();
    let one = format!("{drivers}/d.x");
    let attach = json!({"spec": {"attachRequired": false}});
    complains(
        &world.patch("merge", &one, &attach).await,
        &["spec.attachedRequired: Invalid value: false: field is immutable"],
    );
    let policy = json!({"spec": {"fsGroupPolicy": "None"}});
    world.patch("merge", &one, &policy).await.ok();

    let nodes = format!("{STORAGE}/csinodes");
    let bad = json!({"metadata": {"name": "n"}, "spec": {"drivers": [
        {"name": "", "nodeID": ""}, {"name": "a", "nodeID": "b", "topologyKeys": ["x", "x"]},
        {"name": "a", "nodeID": "c"}]}});
    complains(
        &world.post(&nodes, &bad).await,
        &[
            "spec.drivers[0].name: Required value",
            "spec.drivers[0].nodeID: Required value",
            "spec.drivers[1]: Duplicate value: \"x\"",
            "spec.drivers[2].name: Duplicate value: \"a\"",
        ],
    );
}

#[tokio::test]
async fn attachments_name_one_source_and_stay() {
    let world = World::start();
    let path = format!("{STORAGE}/volumeattachments");
    let bad = json!({"metadata": {"name": "v"},
                     "spec": {"attacher": "", "nodeName": "n", "source": {}}});
    complains(
        &world.post(&path, &bad).await,
        &[
            "spec.attacher: Required value",
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and \
             persistentVolumeName",
        ],
    );
    let good = json!({"metadata": {"name": "v"}, "spec": {"attacher": "a", "nodeName": "n",
                      "source": {"persistentVolumeName": "p"}}});
    world.post(&path, &good).await.ok();
    let moved = json!({"spec": {"nodeName": "m"}});
    complains(
        &world.patch("merge", &format!("{path}/v"), &moved).await,
        &["spec: Invalid value: ", ": field is immutable"],
    );
}

#[tokio::test]
async fn classes_of_runtimes_storage_and_priority_are_validated() {
    let world = World::start();
    let runtimes = "/apis/node.k8s.io/v1/runtimeclasses";
    let bad = json!({"metadata": {"name": "r"}, "handler": "A_b",
                     "scheduling": {"nodeSelector": {"a b": "c"}}});
    complains(
        &world.post(runtimes, &bad).await,
        &[
            "handler: Invalid value: \"A_b\": a lowercase RFC 1123 label must consist of",
            "scheduling.nodeSelector: Invalid value: \"a b\"",
        ],
    );
    let good = json!({"metadata": {"name": "r"}, "handler": "ab"});
    world.post(runtimes, &good).await.ok();
    let other = json!({"handler": "cd"});
    complains(
        &world.patch("merge", &format!("{runtimes}/r"), &other).await,
        &["handler: Invalid value: \"cd\": field is immutable"],
    );

    let bad = json!({"metadata": {"name": "s"}, "provisioner": "x", "allowedTopologies": [
        {"matchLabelExpressions": [{"key": "a", "values": []}, {"key": "b", "values": ["1", "1"]}]}]});
    complains(
        &world.post(&format!("{STORAGE}/storageclasses"), &bad).await,
        &[
            "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            "allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: \"1\"",
        ],
    );

    let priorities = "/apis/scheduling.k8s.io/v1/priorityclasses";
    let class = |name: &str, default: bool| json!({"metadata": {"name": name}, "value": 1, "globalDefault": default});
    world.post(priorities, &class("first", true)).await.ok();
    let why = "PriorityClass first is already marked as default. Only one default can exist";
    world.post(priorities, &class("second", true)).await.fails(
        403,
        &format!("priorityclasses.scheduling.k8s.io \"second\" is forbidden: {why}"),
    );
    world.post(priorities, &class("third", false)).await.ok();
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    world
        .patch("merge", &format!("{priorities}/first"), &change)
        .await
        .ok();
}
