//! Deployments, ReplicaSets, StatefulSets, DaemonSets, CronJobs.

use serde_json::{Value, json};

use crate::world::{World, apps, batch, condition, core, merge, template};

fn deployment(name: &str, extra: &Value) -> Value {
    let labels = json!({"app": name});
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template(&labels)},
    });
    merge(&mut deployment, extra);
    deployment
}

fn is_rolled_out(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && status["updatedReplicas"] == spec["replicas"]
        && status["replicas"] == spec["replicas"]
        && status["availableReplicas"] == spec["replicas"]
        && condition(deployment, "Progressing")["reason"] == "NewReplicaSetAvailable"
}

#[tokio::test]
async fn a_deployment_makes_a_set_that_makes_pods_and_reports() {
    let world = World::start().await;
    world
        .post(&apps("deployments"), &deployment("web", &json!({})))
        .await;
    let deployment = world
        .until_one(&apps("deployments"), "web", is_rolled_out)
        .await;
    assert_eq!(
        deployment["metadata"]["annotations"],
        json!({"deployment.kubernetes.io/revision": "1"})
    );
    assert_eq!(
        condition(&deployment, "Available")["reason"],
        "MinimumReplicasAvailable"
    );
    let mut status = deployment["status"].clone();
    status.as_object_mut().unwrap().remove("conditions");
    assert_eq!(
        status,
        json!({"availableReplicas": 2, "observedGeneration": 1, "readyReplicas": 2,
               "replicas": 2, "terminatingReplicas": 0, "updatedReplicas": 2})
    );
    let sets = world
        .until(&apps("replicasets"), |sets| sets.len() == 1)
        .await;
    let name = sets[0]["metadata"]["name"].as_str().unwrap();
    let hash = sets[0]["metadata"]["labels"]["pod-template-hash"]
        .as_str()
        .unwrap();
    assert_eq!(name, format!("web-{hash}"));
    assert_eq!(
        sets[0]["metadata"]["annotations"],
        json!({"deployment.kubernetes.io/desired-replicas": "2",
               "deployment.kubernetes.io/max-replicas": "3",
               "deployment.kubernetes.io/revision": "1"})
    );
    assert_eq!(
        sets[0]["status"],
        json!({"availableReplicas": 2, "fullyLabeledReplicas": 2, "observedGeneration": 1,
               "readyReplicas": 2, "replicas": 2, "terminatingReplicas": 0})
    );
    let event = world.event("web", "ScalingReplicaSet").await;
    assert_eq!(
        event["message"],
        format!("Scaled up replica set {name} from 0 to 2")
    );
    assert_eq!(
        event["source"],
        json!({"component": "deployment-controller"})
    );
    let event = world.event(name, "SuccessfulCreate").await;
    assert!(
        event["message"]
            .as_str()
            .unwrap()
            .starts_with(&format!("Created pod: {name}-"))
    );
}

#[tokio::test]
async fn a_rolling_update_replaces_pods_and_going_back_reuses_the_old_set() {
    let world = World::start().await;
    let deployments = apps("deployments");
    let strategy = json!({"spec": {"replicas": 3, "strategy": {
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}});
    world
        .post(&deployments, &deployment("roll", &strategy))
        .await;
    world.until_one(&deployments, "roll", is_rolled_out).await;
    let round = |value: Value| json!({"spec": {"template": {"metadata": {"annotations": {"round": value}}}}});
    let path = format!("{deployments}/roll");
    world.patch(&path, &round(json!("2"))).await;
    let second = world.until_one(&deployments, "roll", is_rolled_out).await;
    assert_eq!(
        second["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "2"
    );
    world.patch(&path, &round(Value::Null)).await;
    let third = world.until_one(&deployments, "roll", is_rolled_out).await;
    assert_eq!(
        third["metadata"]["annotations"]["deployment.kubernetes.io/revision"],
        "3"
    );
    let sets = world
        .until(&apps("replicasets"), |sets| sets.len() == 2)
        .await;
    let history = sets
        .iter()
        .map(|set| &set["metadata"]["annotations"])
        .find(|annotations| annotations["deployment.kubernetes.io/revision"] == "3")
        .map(|annotations| annotations["deployment.kubernetes.io/revision-history"].clone());
    assert_eq!(history, Some(json!("1")));
}

#[tokio::test]
async fn a_recreate_rollout_starts_new_pods_only_after_the_old_are_gone() {
    let world = World::start().await;
    let deployments = apps("deployments");
    let recreate = json!({"spec": {"strategy": {"type": "Recreate"}}});
    world.post(&deployments, &deployment("re", &recreate)).await;
    world.until_one(&deployments, "re", is_rolled_out).await;
    let old = world.until(&core("pods"), |pods| pods.len() == 2).await;
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}});
    world.patch(&format!("{deployments}/re"), &change).await;
    let names: Vec<_> = old
        .iter()
        .map(|pod| pod["metadata"]["name"].clone())
        .collect();
    let is_old = |pod: &Value| names.contains(&pod["metadata"]["name"]);
    world
        .until(&core("pods"), |pods| {
            let (old, new): (Vec<_>, Vec<_>) = pods.iter().partition(|pod| is_old(pod));
            assert!(old.is_empty() || new.is_empty(), "old and new pods at once");
            new.len() == 2
        })
        .await;
    world.until_one(&deployments, "re", is_rolled_out).await;
}

#[tokio::test]
async fn a_paused_deployment_does_not_roll_until_it_goes_on() {
    let world = World::start().await;
    let deployments = apps("deployments");
    world.post(&deployments, &deployment("p", &json!({}))).await;
    world.until_one(&deployments, "p", is_rolled_out).await;
    let path = format!("{deployments}/p");
    let change = json!({"spec": {"paused": true, "template": {
        "metadata": {"annotations": {"round": "2"}}}}});
    world.patch(&path, &change).await;
    let paused = |deployment: &Value| {
        condition(deployment, "Progressing")["reason"] == "DeploymentPaused"
            && deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
    };
    world.until_one(&deployments, "p", paused).await;
    assert_eq!(
        world.get(&apps("replicasets")).await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    world
        .patch(&path, &json!({"spec": {"paused": false}}))
        .await;
    world.until_one(&deployments, "p", is_rolled_out).await;
    world
        .until(&apps("replicasets"), |sets| sets.len() == 2)
        .await;
}

#[tokio::test]
async fn scaling_a_deployment_scales_its_set() {
    let world = World::start().await;
    let deployments = apps("deployments");
    world
        .post(
            &deployments,
            &deployment("sc", &json!({"spec": {"replicas": 0}})),
        )
        .await;
    world
        .until(&apps("replicasets"), |sets| sets.len() == 1)
        .await;
    let path = format!("{deployments}/sc");
    world.patch(&path, &json!({"spec": {"replicas": 20}})).await;
    world.until_one(&deployments, "sc", is_rolled_out).await;
    world.patch(&path, &json!({"spec": {"replicas": 1}})).await;
    world.until(&core("pods"), |pods| pods.len() == 1).await;
}

#[tokio::test]
async fn a_rollout_that_cannot_finish_says_so_after_its_deadline() {
    let world = World::start().await;
    let deployments = apps("deployments");
    let stuck = json!({"spec": {"progressDeadlineSeconds": 1, "template": {
        "metadata": {"annotations": {"test/ready": "false"}}}}});
    world.post(&deployments, &deployment("late", &stuck)).await;
    let late = |deployment: &Value| {
        condition(deployment, "Progressing")["reason"] == "ProgressDeadlineExceeded"
    };
    let deployment = world.until_one(&deployments, "late", late).await;
    assert_eq!(condition(&deployment, "Progressing")["status"], "False");
}

#[tokio::test]
async fn a_replica_set_takes_pods_that_match_and_replaces_those_that_go() {
    let world = World::start().await;
    let stray = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stray", "labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "x"}], "terminationGracePeriodSeconds": 0},
    });
    world.post(&core("pods"), &stray).await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "ad"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
                 "template": template(&json!({"a": "b"}))},
    });
    world.post(&apps("replicasets"), &set).await;
    let adopted = |pod: &Value| pod["metadata"]["ownerReferences"][0]["name"] == "ad";
    world.until_one(&core("pods"), "stray", adopted).await;
    world.delete(&core("pods/stray"), &Value::Null).await;
    let pods = world
        .until(&core("pods"), |pods| {
            pods.len() == 1 && pods[0]["metadata"]["name"] != "stray"
        })
        .await;
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    let released = json!({"metadata": {"labels": {"a": null}}});
    world.patch(&core(&format!("pods/{name}")), &released).await;
    world.until(&core("pods"), |pods| pods.len() == 2).await;
    let free = |pod: &Value| pod["metadata"]["ownerReferences"].is_null();
    world.until_one(&core("pods"), name, free).await;
}

#[tokio::test]
async fn a_stateful_set_makes_its_pods_in_order_with_a_claim_each_and_updates_the_last_first() {
    let world = World::start().await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "st"},
        "spec": {
            "serviceName": "svc", "replicas": 3, "selector": {"matchLabels": {"app": "st"}},
            "template": template(&json!({"app": "st"})),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        },
    });
    world.post(&apps("statefulsets"), &set).await;
    let ready = |set: &Value| set["status"]["readyReplicas"] == 3;
    let set = world.until_one(&apps("statefulsets"), "st", ready).await;
    assert_eq!(
        set["status"]["currentRevision"],
        set["status"]["updateRevision"]
    );
    let bound = |claims: &[Value]| {
        claims.len() == 3
            && claims
                .iter()
                .all(|claim| claim["status"]["phase"] == "Bound")
    };
    world.until(&core("persistentvolumeclaims"), bound).await;
    let event = world.event("st", "SuccessfulCreate").await;
    assert_eq!(
        event["message"],
        "create Claim data-st-0 Pod st-0 in StatefulSet st success"
    );
    let change = json!({"spec": {"template": {"metadata": {"annotations": {"round": "2"}}}}});
    world.patch(&apps("statefulsets/st"), &change).await;
    let updated = |set: &Value| {
        set["status"]["updatedReplicas"] == 3
            && set["status"]["readyReplicas"] == 3
            && set["status"]["currentRevision"] == set["status"]["updateRevision"]
            && set["status"]["observedGeneration"] == 2
    };
    world.until_one(&apps("statefulsets"), "st", updated).await;
    world
        .patch(&apps("statefulsets/st"), &json!({"spec": {"replicas": 1}}))
        .await;
    world.until(&core("pods"), |pods| pods.len() == 1).await;
    assert_eq!(
        world.get(&core("persistentvolumeclaims")).await["items"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn a_daemon_set_runs_one_pod_on_each_node_and_follows_new_ones() {
    let world = World::start().await;
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "ds"},
        "spec": {"selector": {"matchLabels": {"app": "ds"}},
                 "template": template(&json!({"app": "ds"}))},
    });
    world.post(&apps("daemonsets"), &set).await;
    let available = |number: i32| move |set: &Value| set["status"]["numberAvailable"] == number;
    let set = world
        .until_one(&apps("daemonsets"), "ds", available(1))
        .await;
    assert_eq!(
        set["status"],
        json!({"currentNumberScheduled": 1, "desiredNumberScheduled": 1, "numberAvailable": 1,
               "numberMisscheduled": 0, "numberReady": 1, "observedGeneration": 1,
               "updatedNumberScheduled": 1})
    );
    world.add_node("node-2", &json!({})).await;
    world
        .until_one(&apps("daemonsets"), "ds", available(2))
        .await;
    let nodes: Vec<_> = world.get(&core("pods")).await["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pod| pod["spec"]["nodeName"].as_str().unwrap().to_owned())
        .collect();
    assert!(nodes.contains(&"node-1".to_owned()) && nodes.contains(&"node-2".to_owned()));
}

#[tokio::test]
async fn a_cron_job_makes_jobs_and_owns_them() {
    let world = World::start().await;
    let mut job = template(&json!({}));
    merge(
        &mut job,
        &json!({"metadata": {"annotations": {"test/exit": "0"}}, "spec": {"restartPolicy": "Never"}}),
    );
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "cj"},
        "spec": {"schedule": "@every 1s", "successfulJobsHistoryLimit": 1,
                 "jobTemplate": {"spec": {"template": job}}},
    });
    // Kubernetes refuses schedules of seconds; what the server takes is not the controller's business.
    let made = world.client.request::<Value>(
        http::Request::post(batch("cronjobs"))
            .header("Content-Type", "application/json")
            .body(cron_job.to_string().into_bytes())
            .unwrap(),
    );
    if made.await.is_err() {
        return;
    }
    world.event("cj", "SuccessfulCreate").await;
    world.event("cj", "SawCompletedJob").await;
    world.delete(&batch("cronjobs/cj"), &Value::Null).await;
    world.until(&batch("jobs"), <[Value]>::is_empty).await;
}

#[tokio::test]
async fn a_replication_controller_keeps_its_number_of_pods_and_takes_those_that_fit() {
    let world = World::start().await;
    let controllers = core("replicationcontrollers");
    let labels = json!({"app": "old"});
    let stray = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "stray", "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    world.post(&core("pods"), &stray).await;
    let object = json!({
        "apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "old"},
        "spec": {"replicas": 2, "selector": labels, "template": template(&labels)},
    });
    world.post(&controllers, &object).await;
    let made = world
        .until_one(&controllers, "old", |made| {
            made["status"]["availableReplicas"] == 2
        })
        .await;
    assert_eq!(
        made["status"],
        json!({"availableReplicas": 2, "fullyLabeledReplicas": 2, "observedGeneration": 1,
               "readyReplicas": 2, "replicas": 2})
    );
    let pods = world.until(&core("pods"), |pods| pods.len() == 2).await;
    assert!(pods.iter().any(|pod| pod["metadata"]["name"] == "stray"));
    for pod in &pods {
        let owner = &pod["metadata"]["ownerReferences"][0];
        assert_eq!(
            (&owner["apiVersion"], &owner["kind"], &owner["uid"]),
            (
                &json!("v1"),
                &json!("ReplicationController"),
                &made["metadata"]["uid"]
            )
        );
    }
    let event = world.event("old", "SuccessfulCreate").await;
    assert_eq!(
        event["source"],
        json!({"component": "replication-controller"})
    );
    let path = format!("{controllers}/old");
    world.patch(&path, &json!({"spec": {"replicas": 0}})).await;
    world.until(&core("pods"), <[Value]>::is_empty).await;
}
