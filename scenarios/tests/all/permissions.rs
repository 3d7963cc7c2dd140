//! The operator's role grants what the operator uses, and nothing else.

use std::collections::BTreeSet;

use harness::conditions;
use k8s_openapi::api::rbac::v1::ClusterRole;
use mysql_operator::Settings;
use scenarios::{
    deploy::{self, CR, CR_PASSWD, INSTANCE},
    prove_with,
    requests::{Permission, granted},
};
use serde_json::json;
use std::time::Duration;

/// What requests do not show: it is used only by rare events, or asked for beside another permission.
const UNSEEN: [(&str, &str); 2] = [
    (
        "create services in \"\"",
        "server-side apply of what is not there needs it beside patch",
    ),
    (
        "create deployments in \"apps\"",
        "server-side apply of what is not there needs it beside patch",
    ),
];

fn role() -> BTreeSet<Permission> {
    let (_, text) = deploy::OPERATOR[1];
    let document = text.split("\n---").next().unwrap_or_default();
    let role: ClusterRole =
        serde_yaml::from_str(document).expect("deploy/role.yml begins with the ClusterRole");
    granted(&role.rules.unwrap_or_default())
}

#[test]
fn the_role_grants_exactly_what_the_operator_uses() {
    let settings = Settings {
        retry: Duration::from_secs(1),
        ..Settings::default()
    };
    let with_class = CR.replace(INSTANCE, "classy").replace(
        "storage_size: 1Gi",
        "storage_size: 1Gi\n  storageClassName: none",
    );
    prove_with(settings, async |lab| {
        // With another instance it looks at the class of volumes that are to grow.
        lab.cluster().apply(&with_class).await?;
        let claims = lab
            .cluster()
            .namespaced::<k8s_openapi::api::core::v1::PersistentVolumeClaim>();
        lab.cluster()
            .wait(&claims, "classy-pvc", conditions::exists())
            .await?;
        lab.patch("classy", json!({"spec": {"storage_size": "2Gi"}}))
            .await?;
        lab.create(CR).await?;
        lab.patch(INSTANCE, json!({"spec": {"storage_size": "2Gi"}}))
            .await?;
        lab.create(&CR_PASSWD.replace("1Gi", "2Gi")).await?;
        lab.annotate(INSTANCE, "otus.homework/backup-now", "1")
            .await?;
        lab.says(INSTANCE, "BackedUp", "True", "Verified").await?;
        lab.delete(INSTANCE).await?;
        let (role, used) = (role(), lab.requests.used());
        let missing: Vec<String> = used.difference(&role).map(ToString::to_string).collect();
        assert!(missing.is_empty(), "the role lacks {missing:#?}");
        let unseen: Vec<&str> = UNSEEN.iter().map(|(permission, _)| *permission).collect();
        let needless: Vec<String> = role
            .difference(&used)
            .map(ToString::to_string)
            .filter(|permission| !unseen.contains(&permission.as_str()))
            .collect();
        assert!(
            needless.is_empty(),
            "the role grants what nothing uses: {needless:#?}"
        );
        Ok(())
    });
}
