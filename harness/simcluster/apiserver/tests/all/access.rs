//! Who may do what.

use serde_json::json;

use crate::support::{CONFIG_MAPS, World};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

async fn let_jan_read(world: &World) {
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]);
    world
        .post(
            ROLES,
            &json!({"metadata": {"name": "reader"}, "rules": rules}),
        )
        .await
        .ok();
    let binding = json!({
        "metadata": {"name": "jan-reads"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jan"}],
    });
    world.post(BINDINGS, &binding).await.ok();
}

#[tokio::test]
async fn nobody_may_anything_until_it_is_granted() {
    let world = World::start();
    let jan = world.as_user("jan");
    jan.get(CONFIG_MAPS).await.fails(
        403,
        "configmaps is forbidden: User \"jan\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\"",
    );
    let_jan_read(&world).await;
    jan.get(CONFIG_MAPS).await.ok();
    jan.get("/api/v1/configmaps").await.fails(
        403,
        "configmaps is forbidden: User \"jan\" cannot list resource \"configmaps\" in API group \"\" at the cluster scope",
    );
    jan.delete(&format!("{CONFIG_MAPS}/x")).await.fails(
        403,
        "configmaps \"x\" is forbidden: User \"jan\" cannot delete resource \"configmaps\" in API group \"\" in the namespace \"default\"",
    );
    jan.get("/version").await.ok();
    jan.get("/metrics")
        .await
        .fails(403, "forbidden: User \"jan\" cannot get path \"/metrics\"");
}

#[tokio::test]
async fn nobody_gives_away_what_they_do_not_have() {
    let world = World::start();
    let_jan_read(&world).await;
    let rules = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}]);
    world
        .patch(
            "merge",
            &format!("{ROLES}/reader"),
            &json!({"rules": rules}),
        )
        .await
        .ok();
    let more = json!({"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let refused = world.as_user("jan").post(ROLES, &more).await;
    refused.fails(
        403,
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jan\" (groups=[\"system:authenticated\"]) \
         is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}",
    );
}

#[tokio::test]
async fn reviews_tell_who_and_what() {
    let world = World::start();
    let_jan_read(&world).await;
    let jan = world.as_user("jan");
    let review = |verb: &str| json!({"spec": {"resourceAttributes": {"namespace": "default", "resource": "configmaps", "verb": verb}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(
        jan.post(path, &review("get")).await.ok()["status"]["allowed"],
        true
    );
    assert_eq!(
        jan.post(path, &review("delete")).await.ok()["status"]["allowed"],
        false
    );
    let who = jan
        .post(
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            &json!({}),
        )
        .await
        .ok();
    assert_eq!(who["status"]["userInfo"]["username"], "jan");
    let rules = jan
        .post(
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            &json!({"spec": {"namespace": "default"}}),
        )
        .await
        .ok();
    let rules = rules["status"]["resourceRules"].as_array().unwrap().clone();
    assert!(rules.contains(
        &json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]})
    ));
}

#[tokio::test]
async fn somebody_can_act_for_somebody_else() {
    let world = World::start();
    let_jan_read(&world).await;
    let request = |user: &str| {
        http::Request::get(CONFIG_MAPS)
            .header("impersonate-user", user)
            .body(kube::client::Body::empty())
            .unwrap()
    };
    world.send(request("jan")).await.ok();
    assert_eq!(world.send(request("kim")).await.code, 403);
    let refused = world.as_user("jan").send(request("kim")).await;
    refused.fails(
        403,
        "users \"kim\" is forbidden: User \"jan\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
    );
}

#[tokio::test]
async fn what_somebody_used_is_the_least_role_that_they_need() {
    let world = World::start();
    let_jan_read(&world).await;
    let jan = world.as_user("jan");
    jan.get(CONFIG_MAPS).await.ok();
    // What was refused is no use of a permission.
    jan.delete(&format!("{CONFIG_MAPS}/x")).await;
    let used = world.server.used_permissions("jan");
    let roles = used.rules_by_namespace();
    let found = serde_json::to_value(&roles["default"]).unwrap();
    let least = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    assert_eq!(found, least);
    let role = world.get(&format!("{ROLES}/reader")).await.ok();
    let granted: Vec<_> = serde_json::from_value(role["rules"].clone()).unwrap();
    assert_eq!(used.unused(&granted), ["get configmaps"]);
}

const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";

/// Lets `jan` write roles and bindings, and whatever else `rules` allow, everywhere.
async fn let_jan_grant(world: &World, rules: serde_json::Value) {
    let own = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create", "get", "update", "patch"]}]);
    let all: Vec<_> = [own, rules]
        .iter()
        .flat_map(|rules| rules.as_array().expect("rules are a list").clone())
        .collect();
    let role = json!({"metadata": {"name": "granting"}, "rules": all});
    world.post(CLUSTER_ROLES, &role).await.ok();
    let binding = json!({
        "metadata": {"name": "jan-grants"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "granting"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jan"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    world.post(path, &binding).await.ok();
}

#[tokio::test]
async fn what_is_missing_is_listed_in_order_with_the_roles_that_are_not_there() {
    let world = World::start();
    let_jan_grant(&world, json!([])).await;
    let dangling = json!({
        "metadata": {"name": "dangling"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "none"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jan"}],
    });
    world.post(BINDINGS, &dangling).await.ok();
    let role = json!({"metadata": {"name": "more"}, "rules": [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["d"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
    ]});
    world.as_user("jan").post(ROLES, &role).await.fails(
        403,
        "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jan\" (groups=[\"system:authenticated\"]) \
         is attempting to grant RBAC permissions not currently held:\n\
         {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\"]}\n\
         {APIGroups:[\"apps\"], Resources:[\"deployments\"], ResourceNames:[\"d\"], Verbs:[\"get\" \"list\"]}\
         ; resolution errors: [roles.rbac.authorization.k8s.io \"none\" not found]",
    );
}

#[tokio::test]
async fn a_role_that_gives_more_than_one_has_is_let_be_but_for_the_garbage_collector() {
    let world = World::start();
    let_jan_grant(&world, json!([])).await;
    let role = json!({"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    world.post(ROLES, &role).await.ok();
    let jan = world.as_user("jan");
    let path = format!("{ROLES}/more");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    assert_eq!(jan.patch("merge", &path, &labelled).await.code, 403);
    let finalized = json!({"metadata": {"finalizers": ["example.com/f"]}});
    jan.patch("merge", &path, &finalized).await.ok();
}

#[tokio::test]
async fn only_who_may_everything_aggregates_roles_and_a_role_to_bind_must_be_there() {
    let world = World::start();
    let_jan_grant(&world, json!([])).await;
    let jan = world.as_user("jan");
    let role = json!({"metadata": {"name": "all"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
    jan.post(CLUSTER_ROLES, &role).await.fails(
        403,
        "clusterroles.rbac.authorization.k8s.io \"all\" is forbidden: must have cluster-admin privileges to use \
         the aggregationRule",
    );
    world.post(CLUSTER_ROLES, &role).await.ok();
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "none"},
        "subjects": [{"kind": "ServiceAccount", "name": "s"}],
    });
    jan.post(BINDINGS, &binding).await.fails(
        404,
        "rolebindings.rbac.authorization.k8s.io \"none\" not found",
    );
}

#[tokio::test]
async fn an_update_that_uses_more_than_a_quota_leaves_is_refused() {
    let world = World::start();
    let namespace = "/api/v1/namespaces/default";
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"services.nodeports": "1"}}});
    world
        .post(&format!("{namespace}/resourcequotas"), &quota)
        .await
        .ok();
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}});
    world
        .post(&format!("{namespace}/services"), &service)
        .await
        .ok();
    let path = format!("{namespace}/services/s");
    let open = json!({"spec": {"type": "NodePort"}});
    world.patch("merge", &path, &open).await.fails(
        403,
        "services \"s\" is forbidden: exceeded quota: q, requested: services.nodeports=2, used: \
         services.nodeports=0, limited: services.nodeports=1",
    );
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    world.patch("merge", &path, &labelled).await.ok();
}
