//! What assembled images are, seen from outside.

use simcluster_images::ImageStore;

use crate::container::{Container, only_packages};

#[tokio::test]
async fn busybox_goes_by_its_many_names() {
    let container = Container::of("busybox:1.36").await;
    let text = container
        .run("echo a | tr a b; ls -d /bin /tmp; readlink /bin/sh; id -u; wget 2>&1 | head -n 1")
        .await
        .good();
    assert!(
        text.starts_with("b\n/bin\n/tmp\n/bin/busybox\n0\nBusyBox v1."),
        "{text}"
    );
}

#[tokio::test]
async fn the_usual_programs_are_in_a_database_image() {
    let container = Container::of("mysql").await;
    let programs = "bash mysql mysqldump mysqladmin sh id mkdir chown cat ls grep sed tar gzip find getent setpriv hostname";
    let text = container
        .run(&format!(
            "for p in {programs}; do command -v $p > /dev/null || echo missing: $p; done; id mysql"
        ))
        .await
        .good();
    assert_eq!(text, "uid=999(mysql) gid=999(mysql) groups=999(mysql)\n");
}

#[tokio::test]
async fn an_older_tag_is_answered_and_said_to_be_something_else() {
    let store = ImageStore::open(only_packages()).unwrap();
    let old = store
        .ensure("docker.io/library/mysql:5.7", &())
        .await
        .unwrap();
    let sentence = old.substitution.unwrap();
    assert!(old.resolved.starts_with("mysql:"), "{}", old.resolved);
    assert!(
        sentence.starts_with(&format!(
            "{} stands in for docker.io/library/mysql:5.7",
            old.resolved
        )),
        "{sentence}"
    );
    assert!(
        old.config
            .env
            .contains(&"DATABASE_STANDS_IN_FOR=5.7".to_owned())
    );

    let version = old.resolved.split([':', ' ']).nth(1).unwrap();
    for genuine in ["mysql", "mysql:latest", &format!("mysql:{version}")] {
        let image = store.ensure(genuine, &()).await.unwrap();
        assert_eq!(image.substitution, None, "{genuine}");
        assert_eq!(image.layers, old.layers, "one image for all of them");
        assert_eq!(image.config.cmd, ["mysqld"]);
    }
}

#[tokio::test]
async fn an_image_that_cannot_be_had_says_what_can() {
    let store = ImageStore::open(only_packages()).unwrap();
    let error = store
        .ensure("no-such-image:1", &())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("only mysql, mariadb, busybox, registry can be assembled from packages"),
        "{error}"
    );
    let pinned = format!("mysql@sha256:{}", "0".repeat(64));
    let error = store.ensure(&pinned, &()).await.unwrap_err().to_string();
    assert!(error.contains("cannot have the digest"), "{error}");
}
