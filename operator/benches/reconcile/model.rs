//! A cluster on which instances become ready without MySQL: servers that only listen, Jobs that only report that
//! there was no backup. It has as many nodes as the servers need.

use std::{fs, path::Path, sync::Arc, time::Duration};

use simcluster::{
    Cluster, ImageStore, StoreConfig,
    model::{ModelContainer, Programs},
};

use crate::Failure;

/// Servers that fit on a model node, with their Jobs: it takes 110 pods.
const SERVERS: usize = 50;

/// Starts one for this many instances.
pub(crate) async fn start(instances: usize) -> Result<Cluster, Failure> {
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("model-images")),
        packages: false,
        ..StoreConfig::default()
    })?;
    let programs = Programs::default()
        .image("mysql-operator:latest", async |_: ModelContainer| 0)
        .image("mysql:8.4", async |container: ModelContainer| {
            let program = container.command.first();
            if program.is_some_and(|program| program == "/job/mysql-job") {
                job(&container).await
            } else {
                serve(container).await
            }
        });
    let nodes = u8::try_from(instances.div_ceil(SERVERS))?;
    let builder = Cluster::builder().images(Arc::new(store)).nodes(nodes);
    Ok(builder.model(programs).start().await?)
}

async fn serve(mut container: ModelContainer) -> i32 {
    let Ok(mut listener) = container.listen(3306) else {
        return 1;
    };
    loop {
        tokio::select! {
            _ = listener.accept() => {}
            _ = container.signal() => return 0,
        }
    }
}

async fn job(container: &ModelContainer) -> i32 {
    let options = container.command.windows(2);
    let value = |name: &str| {
        let pair = options.clone().find(|pair| pair[0] == name)?;
        Some(pair[1].clone())
    };
    let (Some(host), Some(operation)) = (value("--host"), value("--operation")) else {
        return 20;
    };
    while container.connect(&format!("{host}.default"), 3306).is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let report = format!(
        r#"{{"op":"restore","opId":"{operation}","result":"no-backup","reason":"NoBackup","server":"mysql 8.4.2"}}"#
    );
    let log = container.mounts.get(Path::new("/dev/termination-log"));
    log.map_or(1, |log| i32::from(fs::write(log, report).is_err()))
}
