//! What is refused, and with which word.

use crate::controller::fixtures::{observed, resource, store, validated};
use crate::controller::validate::{Ending, Layout};
use crate::crd::{DeletionPolicy, SecretKeyRef};

fn refusal(objects: &str) -> Option<&'static str> {
    validated(&resource(|_| {}), &observed(objects))
        .err()
        .map(|refusal| refusal.reason())
}

#[test]
fn objects_of_somebody_else_are_not_touched() {
    for object in [
        "{kind: Service, metadata: {name: shop-db}}",
        "{kind: Deployment, metadata: {name: shop-db}}",
        "{kind: PersistentVolumeClaim, metadata: {name: shop-db-pvc}}",
        "{kind: Secret, metadata: {name: shop-db-auth}}",
    ] {
        assert_eq!(refusal(object), Some("NameConflict"), "{object}");
    }
}

#[test]
fn a_backup_claim_is_used_whoever_made_it() {
    assert_eq!(
        refusal("{kind: PersistentVolumeClaim, metadata: {name: backup-shop-db-pvc}}"),
        None
    );
}

#[test]
fn children_of_the_old_operator_are_ours_and_their_data_stay_where_they_are() {
    let claim = "{kind: PersistentVolumeClaim, metadata: {name: shop-db-pvc, ownerReferences: \
                 [{apiVersion: otus.homework/v1, kind: MySQL, name: shop-db, uid: 11111111-2222}]}}";
    let validated = validated(&resource(|_| {}), &observed(claim)).unwrap();
    assert_eq!(validated.layout, Layout::Root);
    assert!(validated.ledger.record.adopted);
}

#[test]
fn a_volume_of_a_namesake_elsewhere_is_left_alone() {
    let volume = "{kind: PersistentVolume, metadata: {name: shop-db-pv}, \
                  spec: {claimRef: {namespace: other, name: shop-db-pvc}}}";
    let validated = validated(&resource(|_| {}), &observed(volume)).unwrap();
    assert_eq!(validated.data_volume.as_deref(), Some("shop-db.shop-pv"));
    assert_eq!(
        validated.backup_volume.as_deref(),
        Some("backup-shop-db-pv")
    );
}

#[test]
fn a_password_secret_that_is_missing_keeps_a_running_instance_running() {
    let by_reference = resource(|resource| {
        resource.spec.password = None;
        resource.spec.password_secret_ref = Some(SecretKeyRef {
            name: "root".into(),
            key: "password".into(),
        });
    });
    let mut world = observed("");
    assert_eq!(
        validated(&by_reference, &world).unwrap_err().reason(),
        "SecretNotFound"
    );

    store(&mut world, &resource(|_| {}), |_| {});
    let running = validated(&by_reference, &world).unwrap();
    assert!(
        running
            .password_trouble
            .unwrap()
            .to_string()
            .contains("\"root\"")
    );
    assert_eq!(running.ledger.record.desired, 1);

    world.password_secret =
        serde_yaml::from_str("{metadata: {name: root}, data: {password: bmV3}}").unwrap();
    let changed = validated(&by_reference, &world).unwrap();
    assert_eq!(
        (changed.password_trouble, changed.ledger.record.desired),
        (None, 2)
    );
}

#[test]
fn a_password_that_no_server_takes_is_refused_by_its_bytes() {
    let with = |password: String| {
        let resource = resource(|resource| resource.spec.password = Some(password));
        validated(&resource, &observed("")).map(|validated| validated.ledger.record.desired)
    };
    assert_eq!(with("\u{1f511}".repeat(64)).unwrap(), 1);
    let refused = with("\u{1f511}".repeat(65)).unwrap_err();
    assert_eq!(refused.reason(), "InvalidPassword");
    assert!(refused.to_string().contains("260 bytes"), "{refused}");
}

#[test]
fn data_go_without_a_backup_only_by_two_wishes_or_by_policy() {
    let ending = |policy, annotations: &[&str]| {
        let resource = resource(|resource| {
            resource.spec.deletion_policy = policy;
            let marks = resource.metadata.annotations.get_or_insert_default();
            for annotation in annotations {
                marks.insert((*annotation).to_owned(), "true".to_owned());
            }
        });
        validated(&resource, &observed("")).unwrap().ending
    };
    let (skip, delete) = (
        "otus.homework/skip-final-backup",
        "otus.homework/delete-data",
    );
    assert_eq!(ending(None, &[]), Ending::Backup);
    assert_eq!(ending(None, &[delete]), Ending::Backup);
    assert_eq!(ending(None, &[skip]), Ending::Retain);
    assert_eq!(ending(None, &[skip, delete]), Ending::Delete);
    assert_eq!(ending(Some(DeletionPolicy::Retain), &[]), Ending::Retain);
    assert_eq!(ending(Some(DeletionPolicy::Delete), &[]), Ending::Delete);
}
