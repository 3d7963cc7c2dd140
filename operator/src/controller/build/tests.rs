//! YAML in, whole objects out: the expected objects lie beside this file.

use std::path::Path;

use serde_json::Value;

use super::{Resources, build};
use crate::controller::fixtures::{observed, resource, validated};
use crate::crd::MySQL;

fn resources(resource: &MySQL) -> Resources {
    let validated = validated(resource, &observed("")).unwrap();
    build(&validated, &validated.ledger, None)
}

/// Compares with the stored object; with `UPDATE_EXPECTED` set, stores it.
fn check(name: &str, object: &impl serde::Serialize) {
    let directory =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/build/tests/expected");
    let path = directory.join(format!("{name}.yml"));
    let value = serde_json::to_value(object).unwrap();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        std::fs::write(&path, serde_yaml::to_string(&value).unwrap()).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let expected: Value = serde_yaml::from_str(&text).unwrap();
    assert!(
        expected == value,
        "{name} is not as expected; see what changed with\n    \
         UPDATE_EXPECTED=1 cargo test -p mysql-operator build && git diff operator/src\n{}",
        serde_yaml::to_string(&value).unwrap()
    );
}

#[test]
fn an_instance_consists_of_exactly_these_objects() {
    let Resources {
        secret: _,
        data_volume,
        data_claim,
        backup_volume,
        backup_claim,
        admin_service,
        service,
        deployment,
        restore_job,
        backup_job,
        password_job,
        upkeep_job,
    } = resources(&resource(|_| {}));
    check("data-volume", &data_volume);
    check("data-claim", &data_claim);
    check("backup-volume", &backup_volume);
    check("backup-claim", &backup_claim);
    check("admin-service", &admin_service);
    check("service", &service);
    check("deployment", &deployment);
    check("restore-job", &restore_job);
    check("backup-job", &backup_job);
    check("password-job", &password_job);
    assert_eq!(upkeep_job, None);
}

#[test]
fn the_secret_has_these_keys_and_no_others() {
    let secret = resources(&resource(|_| {})).secret;
    let keys: Vec<_> = secret.data.unwrap().into_keys().collect();
    assert_eq!(
        keys,
        [
            "10-operator-account.sql",
            "99-initialized.sh",
            "bootstrap-password",
            "initialized",
            "my.cnf",
            "operator-password",
            "operator-user",
            "record",
            "root-password-1",
        ]
    );
}

#[test]
fn no_password_is_in_any_object_but_the_secret() {
    let mut resources = resources(&resource(|resource| {
        resource.spec.password = Some("hunter2".to_owned());
    }));
    let data = std::mem::take(&mut resources.secret.data).unwrap();
    let text = format!("{resources:?}");
    for (key, secret) in data {
        if key.ends_with("password") || key.starts_with("root-password") {
            assert!(
                !text.contains(std::str::from_utf8(&secret.0).unwrap()),
                "{key}"
            );
        }
    }
}

#[test]
fn jobs_do_not_carry_the_label_of_the_servers_pod() {
    let resources = resources(&resource(|_| {}));
    for job in [
        resources.restore_job,
        resources.backup_job,
        resources.password_job,
    ] {
        let labels = job.spec.unwrap().template.metadata.unwrap().labels.unwrap();
        assert!(!labels.contains_key("app"));
    }
    let template = resources.deployment.spec.unwrap().template;
    assert_eq!(template.metadata.unwrap().labels.unwrap()["app"], "shop-db");
}

#[test]
fn changing_the_password_leaves_the_server_alone() {
    let before = resources(&resource(|_| {})).deployment;
    let after = resources(&resource(|resource| {
        resource.spec.password = Some("new".into());
    }));
    assert_eq!(before, after.deployment);
}

#[test]
fn nothing_is_owned_by_the_resource() {
    let resources = resources(&resource(|_| {}));
    assert!(!format!("{resources:?}").contains("owner_references: Some"));
}

#[test]
fn a_class_provides_both_volumes() {
    let resources = resources(&resource(|resource| {
        resource.spec.storage_class_name = Some("fast".to_owned());
    }));
    assert_eq!(
        (resources.data_volume, resources.backup_volume),
        (None, None)
    );
    for claim in [resources.data_claim, resources.backup_claim] {
        let spec = claim.spec.unwrap();
        assert_eq!(
            (spec.storage_class_name.as_deref(), spec.volume_name),
            (Some("fast"), None)
        );
    }
    let init = resources
        .deployment
        .spec
        .unwrap()
        .template
        .spec
        .unwrap()
        .init_containers
        .unwrap();
    assert_eq!(init[0].security_context.as_ref().unwrap().run_as_user, None);
}

#[test]
fn in_a_restricted_namespace_no_container_is_root() {
    let observed = observed(
        "{kind: Namespace, metadata: {name: shop, labels: {pod-security.kubernetes.io/enforce: restricted}}}",
    );
    let validated = validated(&resource(|_| {}), &observed).unwrap();
    let text = format!("{:?}", build(&validated, &validated.ledger, None));
    assert!(!text.contains("run_as_user: Some(0)") && !text.contains("CHOWN"));
}
