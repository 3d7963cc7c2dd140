//! Volumes and environments as processes see them.

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolume, PersistentVolumeClaim, Pod, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use simcluster_kubelet_api::LogOptions;

use crate::support::{Cluster, shell};

async fn config(cluster: &Cluster) {
    let map = json!({"metadata": {"name": "cm"}, "data": {"a.txt": "alpha", "b.txt": "beta"}});
    cluster.create::<ConfigMap>(map).await;
    let secret = json!({"metadata": {"name": "se"}, "stringData": {"pw": "hidden"}});
    cluster.create::<Secret>(secret).await;
}

fn mounted(script: &str, mounts: Value) -> Value {
    let mut c = shell(script);
    c["volumeMounts"] = mounts;
    c
}

#[tokio::test]
async fn files_of_the_api_have_their_paths_modes_and_contents() {
    let cluster = Cluster::start().await;
    config(&cluster).await;
    let script = "cat /cm/deep/one; echo; ls -1 /cm /pr; cat /se/pw; echo; \
                  stat -L -c %a /se/pw /cm/deep/one; cat /sub; echo; (echo x > /cm/new) 2>/dev/null || echo no";
    let (_, log) = cluster
        .run(
            "v",
            json!({
                "volumes": [
                    {"name": "cm", "configMap":
                        {"name": "cm", "items": [{"key": "a.txt", "path": "deep/one"}]}},
                    {"name": "se", "secret": {"secretName": "se", "defaultMode": 256}},
                    {"name": "pr", "projected": {"sources": [
                        {"configMap": {"name": "cm"}}, {"secret": {"name": "se"}},
                    ]}},
                ],
                "containers": [mounted(script, json!([
                    {"name": "cm", "mountPath": "/cm"},
                    {"name": "se", "mountPath": "/se"},
                    {"name": "pr", "mountPath": "/pr"},
                    {"name": "pr", "mountPath": "/sub", "subPath": "b.txt"},
                ]))],
            }),
        )
        .await;
    let expected = "alpha\n/cm:\ndeep\n\n/pr:\na.txt\nb.txt\npw\nhidden\n400\n644\nbeta\n";
    assert!(log.starts_with(expected), "{log}");
    assert!(log.ends_with("no\n"), "{log}");
    cluster.end().await;
}

#[tokio::test]
async fn a_changed_config_map_reaches_the_running_pod() {
    let cluster = Cluster::start().await;
    config(&cluster).await;
    let script = "until grep -q changed /cm/a.txt 2>/dev/null || test $(cat /cm/a.txt) = changed; \
                  do sleep 0.05; done; echo seen";
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "cm", "configMap": {"name": "cm"}}],
        "containers": [mounted(script, json!([{"name": "cm", "mountPath": "/cm"}]))],
    });
    cluster.pod("u", spec).await;
    cluster.wait_ready("u").await;
    let patch = Patch::Merge(json!({"data": {"a.txt": "changed"}}));
    let maps: Api<ConfigMap> = cluster.api();
    maps.patch("cm", &PatchParams::default(), &patch)
        .await
        .unwrap();
    let pod = cluster.wait_phase("u", "Succeeded").await;
    assert_eq!(cluster.logs(&pod, LogOptions::default()).await, "seen\n");
    cluster.end().await;
}

#[tokio::test]
async fn a_missing_secret_holds_the_pod_until_it_is_there() {
    let cluster = Cluster::start().await;
    let spec = json!({
        "volumes": [
            {"name": "s", "secret": {"secretName": "absent"}},
            {"name": "o", "secret": {"secretName": "never", "optional": true}},
        ],
        "containers": [mounted("sleep 600", json!([
            {"name": "s", "mountPath": "/s"}, {"name": "o", "mountPath": "/o"},
        ]))],
    });
    cluster.pod("v", spec).await;
    assert_eq!(
        cluster.wait_event("v", "FailedMount").await,
        "MountVolume.SetUp failed for volume \"s\" : secret \"absent\" not found"
    );
    let pod: Pod = cluster.api().get("v").await.unwrap();
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    cluster
        .create::<Secret>(json!({"metadata": {"name": "absent"}}))
        .await;
    cluster.wait_ready("v").await;
    cluster.end().await;
}

#[tokio::test]
async fn the_environment_has_all_sources() {
    let cluster = Cluster::start().await;
    config(&cluster).await;
    let mut c =
        shell("echo $P_X $PW $NAME $CPU $DEP $IP '$$(A)'; test -n \"$KUBERNETES_SERVICE_HOST\"");
    c["resources"] = json!({"requests": {"cpu": "5m"}});
    c["env"] = json!([
        {"name": "P_X", "value": "px"},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "se", "key": "pw"}}},
        {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef":
            {"resource": "requests.cpu", "divisor": "1m"}}},
        {"name": "DEP", "value": "$(P_X)-$(NAME)-$$(NAME)-$(NOPE)"},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]);
    let (pod, log) = cluster.run("env", json!({"containers": [c]})).await;
    assert_eq!(
        log,
        "px hidden env 5 px-env-$(NAME)-$(NOPE) 10.42.0.1 $(A)\n"
    );
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Succeeded"));

    let mut c = shell("true");
    c["env"] = json!([{"name": "X", "valueFrom": {"secretKeyRef": {"name": "no", "key": "k"}}}]);
    cluster.pod("miss", json!({"containers": [c]})).await;
    assert_eq!(
        cluster.wait_event("miss", "Failed").await,
        "Error: secret \"no\" not found"
    );
    cluster.end().await;
}

#[tokio::test]
async fn a_claims_data_outlives_its_pods() {
    let cluster = Cluster::start().await;
    let volume = json!({
        "metadata": {"name": "pv"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data/pv", "type": "DirectoryOrCreate"},
        },
    });
    let volumes: Api<PersistentVolume> = Api::all(cluster.client.clone());
    volumes
        .create(
            &PostParams::default(),
            &serde_json::from_value(volume).unwrap(),
        )
        .await
        .unwrap();
    let claim = json!({
        "metadata": {"name": "claim"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeName": "pv",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    cluster.create::<PersistentVolumeClaim>(claim).await;
    let with = |script: &str, read_only: bool| {
        json!({
            "volumes": [{"name": "d", "persistentVolumeClaim":
                {"claimName": "claim", "readOnly": read_only}}],
            "containers": [mounted(script, json!([{"name": "d", "mountPath": "/d"}]))],
        })
    };
    cluster.pod("early", with("sleep 600", false)).await;
    assert!(
        cluster
            .wait_event("early", "FailedMount")
            .await
            .ends_with("PVC is not bound")
    );
    cluster.delete("early", 0).await;

    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    let claims: Api<PersistentVolumeClaim> = cluster.api();
    claims
        .patch_status("claim", &PatchParams::default(), &bound)
        .await
        .unwrap();
    cluster.run("w", with("echo kept > /d/f", false)).await;
    let (_, log) = cluster
        .run("r", with("cat /d/f; rm /d/f 2>/dev/null; echo $?", true))
        .await;
    assert_eq!(log, "kept\n1\n");
    cluster.end().await;
}

#[tokio::test]
async fn users_groups_and_root_file_systems_are_as_the_spec_says() {
    let cluster = Cluster::start().await;
    let mut c = shell("");
    c["command"] = json!([
        "sh",
        "-c",
        "id -u; id -g; id -G; (echo x > /x) 2>/dev/null || echo refused; stat -c '%a %g' /e; echo y > /e/y"
    ]);
    c["volumeMounts"] = json!([{"name": "e", "mountPath": "/e"}]);
    c["securityContext"] = json!({"runAsUser": 1000, "readOnlyRootFilesystem": true});
    let (pod, log) = cluster
        .run(
            "who",
            json!({
                "securityContext": {"fsGroup": 2000, "runAsNonRoot": true},
                "volumes": [{"name": "e", "emptyDir": {}}],
                "containers": [c],
            }),
        )
        .await;
    assert!(log.starts_with("1000\n1001\n1001"), "{log}");
    if cluster.has_users() {
        assert!(log.starts_with("1000\n1001\n1001 7 2000\n"), "{log}");
        assert!(log.ends_with("refused\n2777 2000\n"), "{log}");
    }
    assert!(log.contains("\nrefused\n"), "{log}");
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Succeeded"));
    cluster.end().await;
}

#[tokio::test]
async fn a_pod_has_its_service_accounts_token_and_its_namespace() {
    let cluster = Cluster::start().await;
    let account = json!({"metadata": {"name": "robot"}});
    cluster
        .create::<k8s_openapi::api::core::v1::ServiceAccount>(account)
        .await;
    let script = "head -c 3 /sa/token; echo; cat /sa/namespace";
    let (_, log) = cluster
        .run(
            "sa",
            json!({
                "serviceAccountName": "robot",
                "volumes": [{"name": "sa", "projected": {"sources": [
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                    {"downwardAPI": {"items": [
                        {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}},
                    ]}},
                ]}}],
                "containers": [mounted(script, json!([{"name": "sa", "mountPath": "/sa"}]))],
            }),
        )
        .await;
    assert_eq!(log, "eyJ\ndefault");
    cluster.end().await;
}

#[tokio::test]
async fn an_empty_dir_beyond_its_limit_evicts_the_pod() {
    let cluster = Cluster::start().await;
    let script = "head -c 3000000 /dev/zero > /v/f; sleep 600";
    let spec = json!({
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
        "containers": [mounted(script, json!([{"name": "v", "mountPath": "/v"}]))],
    });
    cluster.pod("big", spec).await;
    let pod = cluster.wait_phase("big", "Failed").await;
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("Evicted"));
    assert_eq!(
        status.message.as_deref(),
        Some("Usage of EmptyDir volume \"v\" exceeds the limit \"1Mi\". ")
    );
    cluster.end().await;
}

#[tokio::test]
async fn an_empty_dir_in_memory_is_shared_and_full_at_its_limit() {
    let cluster = Cluster::start().await;
    let fills = "head -c 3000000 /dev/zero > /v/f || full=full; rm /v/f; \
                 while read -r _ place kind _; do [ $place = /v ] && echo $kind $full; done \
                 < /proc/mounts > /v/told; exit 0";
    let mounts = json!([{"name": "v", "mountPath": "/v"}]);
    let mut init = mounted(fills, mounts.clone());
    init["name"] = json!("fills");
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "initContainers": [init],
        "containers": [mounted("cat /v/told", mounts)],
    });
    let (_, log) = cluster.run("m", spec).await;
    assert_eq!(log, "tmpfs full\n");
    cluster.end().await;
}

#[tokio::test]
async fn parts_of_an_empty_dir_in_memory_are_in_memory_too() {
    let cluster = Cluster::start().await;
    let part = json!([{"name": "v", "mountPath": "/part", "subPathExpr": "$(WHO)/deep"}]);
    let script = "head -c 3000000 /dev/zero > /part/f || full=full; rm /part/f; echo $full; echo mine > /part/x; \
                  while read -r _ place kind _; do [ $place = /part ] && echo $kind; done < /proc/mounts; exit 0";
    let mut init = mounted(script, part);
    init["name"] = json!("writes");
    init["env"] = json!([{"name": "WHO", "value": "me"}]);
    // A container's complaint that no space is left comes in its own words.
    init["command"] = json!(["sh", "-c", format!("({script}) > /whole/said 2> /dev/null")]);
    init["volumeMounts"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "v", "mountPath": "/whole"}));
    let whole = json!([{"name": "v", "mountPath": "/v"}]);
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
        "initContainers": [init],
        "containers": [mounted("cat /v/said /v/me/deep/x", whole)],
    });
    let (_, log) = cluster.run("parts", spec).await;
    assert_eq!(log, "full\ntmpfs\nmine\n");
    cluster.end().await;
}
