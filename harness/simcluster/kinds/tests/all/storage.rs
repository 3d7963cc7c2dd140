//! Volumes, claims and storage classes.

use serde_json::json;

use super::{cells, created, refused, rules_of, updated};

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: c, namespace: n}
spec:
  storageClassName: fast
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1024Mi}}
";
const VOLUME: &str = "
apiVersion: v1
kind: PersistentVolume
metadata: {name: v}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  hostPath: {path: /data}
";

#[test]
fn new_volumes_and_claims_are_pending() {
    let claim = created(CLAIM);
    assert_eq!(
        claim["spec"],
        json!({
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast",
            "volumeMode": "Filesystem",
        })
    );
    assert_eq!(claim["status"], json!({"phase": "Pending"}));
    let volume = created(VOLUME);
    assert_eq!(
        volume["spec"],
        json!({
            "accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/data", "type": ""},
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Filesystem",
        })
    );
    let created_at = volume["metadata"]["creationTimestamp"].clone();
    assert_eq!(
        volume["status"],
        json!({"phase": "Pending", "lastPhaseTransitionTime": created_at})
    );
}

#[test]
fn a_change_of_phase_is_stamped() {
    let old = created(VOLUME);
    let now = "2024-05-02T00:00:00Z".parse().expect("a time");
    let mut new = old.clone();
    new["status"] = json!({"phase": "Bound"});
    rules_of(&old).stamp_status(&mut new, &old, now);
    assert_eq!(
        new["status"]["lastPhaseTransitionTime"],
        "2024-05-02T00:00:00Z"
    );
    let mut same = old.clone();
    same["status"] = json!({"phase": "Pending"});
    rules_of(&old).stamp_status(&mut same, &old, now);
    assert_eq!(same["status"], old["status"]);
}

#[test]
fn what_is_wrong_with_claims_and_volumes_is_said() {
    assert_eq!(
        refused(
            "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: n}, spec: {}}"
        ),
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ]
    );
    assert_eq!(
        refused("{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {}}"),
        [
            "spec.accessModes: Required value",
            "spec.capacity: Required value",
            "spec.capacity: Unsupported value: null: supported values: \"storage\"",
            "spec: Required value: must specify a volume type",
        ]
    );
    assert_eq!(
        refused(&VOLUME.replace("/data", "/a/../b")),
        ["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]
    );
}

#[test]
fn a_claim_may_be_bound_once_and_grow_when_it_is() {
    let claim = created(CLAIM);
    let (_, errors) = updated(&claim, |new| new["spec"]["volumeName"] = json!("v"));
    assert!(errors.is_empty(), "{errors:?}");
    let (_, errors) = updated(&claim, |new| {
        new["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with(
            "spec: Forbidden: spec is immutable after creation except resources.requests and \
             volumeAttributesClassName for bound claims\n"
        ),
        "{errors:?}"
    );
    let mut bound = claim;
    bound["spec"]["volumeName"] = json!("v");
    bound["status"] = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    let (_, errors) = updated(&bound, |new| {
        new["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    });
    assert!(errors.is_empty(), "{errors:?}");
    let (_, errors) = updated(&bound, |new| {
        new["spec"]["resources"]["requests"]["storage"] = json!("1Mi");
    });
    assert_eq!(
        errors,
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    let (_, errors) = updated(&bound, |new| new["spec"]["volumeName"] = json!("other"));
    assert_eq!(errors.len(), 1);
}

#[test]
fn a_volume_s_source_is_for_ever() {
    let volume = created(VOLUME);
    let (_, errors) = updated(&volume, |new| {
        new["spec"]["hostPath"]["path"] = json!("/other");
    });
    assert_eq!(errors.len(), 1);
    assert!(
        errors[0].starts_with(
            "spec.persistentvolumesource: Forbidden: \
             spec.persistentvolumesource is immutable after creation\n"
        ),
        "{errors:?}"
    );
    let (_, errors) = updated(&volume, |new| {
        new["spec"]["persistentVolumeReclaimPolicy"] = json!("Delete");
    });
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn rows_show_what_is_bound_to_what() {
    let mut claim = created(CLAIM);
    assert_eq!(
        json!(cells(&claim)),
        json!([
            "c",
            "Pending",
            "",
            "",
            "",
            "fast",
            "<unset>",
            "60m",
            "Filesystem"
        ])
    );
    claim["spec"]["volumeName"] = json!("v");
    claim["status"] =
        json!({"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]});
    assert_eq!(
        json!(cells(&claim)[1..5]),
        json!(["Bound", "v", "1Gi", "RWO"])
    );
    let mut volume = created(VOLUME);
    volume["spec"]["claimRef"] = json!({"namespace": "n", "name": "c"});
    volume["status"]["phase"] = json!("Bound");
    assert_eq!(
        json!(cells(&volume)),
        json!([
            "v",
            "1Gi",
            "RWO",
            "Retain",
            "Bound",
            "n/c",
            "",
            "<unset>",
            "",
            "60m",
            "Filesystem"
        ])
    );
}

#[test]
fn a_storage_class_is_what_it_was() {
    let class = created(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: s, annotations: \
         {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: example.com/p}",
    );
    assert_eq!(class["reclaimPolicy"], "Delete");
    assert_eq!(class["volumeBindingMode"], "Immediate");
    assert_eq!(
        json!(cells(&class)),
        json!([
            "s (default)",
            "example.com/p",
            "Delete",
            "Immediate",
            false,
            "60m"
        ])
    );
    let (_, errors) = updated(&class, |new| new["provisioner"] = json!("other"));
    assert_eq!(
        errors,
        ["provisioner: Invalid value: \"other\": field is immutable"]
    );
}
