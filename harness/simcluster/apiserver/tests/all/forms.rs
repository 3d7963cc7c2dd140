//! Other forms of answers, and documents.

use serde_json::json;

use crate::support::{CONFIG_MAPS, World, names};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

#[tokio::test]
async fn lists_and_objects_come_as_tables() {
    let world = World::start();
    world.config_map("a", &json!({"x": "1", "y": "2"})).await;
    for path in [CONFIG_MAPS.to_owned(), format!("{CONFIG_MAPS}/a")] {
        let table = world.get_as(&path, TABLE).await.ok();
        assert_eq!(table["kind"], "Table");
        assert_eq!(table["columnDefinitions"][1]["name"], "Data");
        assert_eq!(table["rows"][0]["cells"][0], "a");
        assert_eq!(table["rows"][0]["cells"][1], 2);
        assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    }
}

#[tokio::test]
async fn only_the_first_table_of_a_watch_has_columns() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    world.config_map("b", &json!({})).await;
    let mut watch = world
        .watch_as(&format!("{CONFIG_MAPS}?watch=true"), TABLE)
        .await;
    let first = watch.next().await.unwrap();
    assert!(first["object"]["columnDefinitions"].is_array());
    let second = watch.next().await.unwrap();
    assert!(second["object"]["columnDefinitions"].is_null());
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn metadata_alone_can_be_had() {
    let world = World::start();
    world.config_map("a", &json!({"hidden": "1"})).await;
    let one = world
        .get_as(
            &format!("{CONFIG_MAPS}/a"),
            "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        )
        .await
        .ok();
    assert_eq!(one["apiVersion"], "meta.k8s.io/v1");
    assert!(one.get("data").is_none());
    let many = world
        .get_as(
            CONFIG_MAPS,
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        )
        .await
        .ok();
    assert_eq!(names(&many), ["a"]);
}

#[tokio::test]
async fn what_cannot_be_written_is_406() {
    let world = World::start();
    assert_eq!(world.get_as(CONFIG_MAPS, "text/csv").await.code, 406);
    let yaml = world.get_as(CONFIG_MAPS, "application/yaml").await;
    assert_eq!(yaml.headers["content-type"], "application/yaml");
    assert!(
        yaml.text
            .starts_with("apiVersion: v1\nitems: []\nkind: ConfigMapList\n"),
        "{}",
        yaml.text
    );
    let protobuf = world
        .get_as(
            CONFIG_MAPS,
            "application/vnd.kubernetes.protobuf,application/json",
        )
        .await;
    assert_eq!(protobuf.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_list_is_no_object_and_an_object_no_list() {
    let world = World::start();
    world.config_map("a", &json!({})).await;
    let form = |kind: &str| format!("application/json;as={kind};g=meta.k8s.io;v=v1");
    let list = world
        .get_as(CONFIG_MAPS, &form("PartialObjectMetadata"))
        .await;
    list.fails(
        406,
        "you requested PartialObjectMetadata, but the requested object is a list \
         (*core.ConfigMapList)",
    );
    let one = format!("{CONFIG_MAPS}/a");
    let object = world.get_as(&one, &form("PartialObjectMetadataList")).await;
    object.fails(
        406,
        "you requested PartialObjectMetadataList, but the requested object is not a list \
         (*core.ConfigMap)",
    );
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_can_read_them() {
    let world = World::start();
    world
        .config_map("a", &json!({"k": "x".repeat(200_000)}))
        .await;
    let request = http::Request::get(CONFIG_MAPS).header("accept-encoding", "gzip");
    let answer = world
        .send(request.body(kube::client::Body::empty()).unwrap())
        .await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert!(answer.text.len() < 100_000);
}

#[tokio::test]
async fn discovery_tells_what_is_served() {
    let world = World::start();
    let legacy = world.get("/apis").await.ok();
    assert_eq!(legacy["kind"], "APIGroupList");
    let aggregated = world
        .get_as(
            "/apis",
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json",
        )
        .await
        .ok();
    assert_eq!(aggregated["kind"], "APIGroupDiscoveryList");
    let core = world.get("/api/v1").await.ok();
    assert!(
        core["resources"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["name"] == "pods/exec")
    );
    assert_eq!(world.get("/version").await.ok()["minor"], "36");
    for path in ["/healthz", "/livez", "/readyz"] {
        assert_eq!(world.get(path).await.text, "ok");
    }
    let openapi = world.get("/openapi/v3/apis/apps/v1").await.ok();
    assert!(openapi["components"]["schemas"]["io.k8s.api.apps.v1.Deployment"].is_object());
}
