//! A cluster whose servers and Jobs are functions: everything between the API and the pods is
//! real, the SQL is not. The rows of a server are the lines of a file in its data directory.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use simcluster::{
    Cluster, ImageStore, StoreConfig,
    model::{ModelContainer, Programs},
};

/// The image that instances of this model run.
pub(crate) const IMAGE: &str = "mysql:8.4";

/// What is outside of the cluster: the data directory of the server that runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct World(Arc<Mutex<Option<PathBuf>>>);

impl World {
    /// The rows of the server that runs.
    pub(crate) fn rows(&self) -> Vec<String> {
        self.read("rows")
            .unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Adds a row, as a client would.
    pub(crate) fn insert(&self, row: &str) {
        let mut rows = self.read("rows").unwrap_or_default();
        rows.push_str(row);
        rows.push('\n');
        fs::write(self.data().expect("a server runs").join("rows"), rows).expect("it is written");
    }

    /// Root's password.
    pub(crate) fn password(&self) -> Option<String> {
        self.read("password")
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.data()?.join(name)).ok()
    }

    fn data(&self) -> Option<PathBuf> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, data: Option<PathBuf>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = data;
    }
}

/// Starts a cluster of one node.
pub(crate) async fn start(world: &World) -> Cluster {
    let store = ImageStore::open(StoreConfig {
        cache_dir: Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("model-images")),
        packages: false,
        ..StoreConfig::default()
    })
    .expect("a directory for images");
    let world = world.clone();
    let programs = Programs::default()
        .image("mysql-operator:latest", async |_: ModelContainer| 0)
        .image(IMAGE, move |container: ModelContainer| {
            let world = world.clone();
            async move {
                if container
                    .command
                    .first()
                    .is_some_and(|program| program == "/job/mysql-job")
                {
                    job(container, &world).await
                } else {
                    serve(container, &world).await
                }
            }
        });
    let builder = Cluster::builder().images(Arc::new(store)).nodes(1);
    let cluster = builder.model(programs).start().await;
    cluster.expect("a model needs nothing of the machine")
}

async fn serve(mut container: ModelContainer, world: &World) -> i32 {
    let Some(data) = container.mounts.get(Path::new("/var/lib/mysql")).cloned() else {
        return 1;
    };
    world.set(Some(data));
    let Ok(mut listener) = container.listen(3306) else {
        return 1;
    };
    loop {
        tokio::select! {
            _ = listener.accept() => {}
            _ = container.signal() => break,
        }
    }
    world.set(None);
    0
}

async fn job(container: ModelContainer, world: &World) -> i32 {
    let options: BTreeMap<&str, &str> = container.command[2..]
        .windows(2)
        .map(|pair| (pair[0].as_str(), pair[1].as_str()))
        .collect();
    let host = format!("{}.default", options["--host"]);
    while container.connect(&host, 3306).is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let place = |path: &str| container.mounts.get(Path::new(path)).cloned();
    let operation = options["--operation"];
    let backups = options.get("--backups").and_then(|path| place(path));
    let done = match container.command[1].as_str() {
        "restore" => restore(world, backups, place("/credentials")),
        "backup" => backup(world, backups, operation),
        "password" => password(world, place("/credentials")).map(|()| String::new()),
        other => Err(io::Error::other(other.to_owned())),
    };
    let (Ok(details), Some(log)) = (done, place("/dev/termination-log")) else {
        return 1;
    };
    let kind = &container.command[1];
    let report = format!(r#"{{"op":"{kind}","opId":"{operation}","result":"ok"{details}}}"#);
    i32::from(fs::write(log, report).is_err())
}

fn data(world: &World) -> io::Result<PathBuf> {
    world.data().ok_or_else(|| io::Error::other("no server"))
}

fn password(world: &World, credentials: Option<PathBuf>) -> io::Result<()> {
    let credentials = credentials.ok_or_else(|| io::Error::other("no credentials"))?;
    let wanted = fs::read(credentials.join("root-password"))?;
    fs::write(data(world)?.join("password"), wanted)
}

fn restore(
    world: &World,
    backups: Option<PathBuf>,
    credentials: Option<PathBuf>,
) -> io::Result<String> {
    let backups = backups.ok_or_else(|| io::Error::other("no volume"))?;
    let current = fs::read_to_string(backups.join("CURRENT"));
    let details = match &current {
        Ok(generation) => {
            let rows = fs::read(backups.join(generation))?;
            fs::write(data(world)?.join("rows"), rows)?;
            format!(r#","reason":"Restored","generation":"{generation}""#)
        }
        Err(_) => r#","reason":"NoBackup""#.to_owned(),
    };
    password(world, credentials)?;
    Ok(details)
}

fn backup(world: &World, backups: Option<PathBuf>, operation: &str) -> io::Result<String> {
    let backups = backups.ok_or_else(|| io::Error::other("no volume"))?;
    let rows = fs::read(data(world)?.join("rows")).unwrap_or_default();
    let number = fs::read_dir(&backups)?.count() + 1;
    let generation = format!("gen-{number:06}-{operation}");
    let bytes = rows.len();
    fs::write(backups.join(&generation), rows)?;
    fs::write(backups.join("CURRENT"), &generation)?;
    Ok(format!(
        r#","generation":"{generation}","bytes":{bytes},"sha256":"s","rows":1"#
    ))
}
