//! A server of its own for each test, started from one that was initialised once.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql_job::arguments::{Backup, Job, Password, Restore, RestoreMode};
use mysql_job::report::Operation;
use simcluster_images::{ImageStore, StoreConfig};

/// The operator's password on the test server: with everything in it that could break on the way.
pub(crate) const OPERATOR_PASSWORD: &str = r#"op"er\at'or #%;"#;

/// A running server and the directories of a Job beside it.
pub(crate) struct Server {
    directory: tempfile::TempDir,
    child: Child,
    port: u16,
}

/// A root file system with a server in it: the image that the scenarios run, from the same cache.
/// `MYSQL_JOB_TEST_ROOTFS` names another one, for other versions.
fn root_file_system() -> &'static Path {
    // The store keeps the image on disk as long as it lives.
    static ROOT: OnceLock<(PathBuf, Option<ImageStore>)> = OnceLock::new();
    let (root, _store) = ROOT.get_or_init(|| {
        if let Some(path) = std::env::var_os("MYSQL_JOB_TEST_ROOTFS") {
            return (path.into(), None);
        }
        let store = ImageStore::open(StoreConfig::default()).unwrap();
        let image = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(store.ensure("mysql:5.7", &()))
            .expect("these tests need a MySQL server; `cargo lab doctor` says what is missing");
        let layer = image
            .layers
            .iter()
            .find(|layer| program(layer, "mysqld").is_some())
            .expect("a layer of the image has the server");
        (layer.clone(), Some(store))
    });
    root
}

fn program(root: &Path, name: &str) -> Option<PathBuf> {
    ["usr/sbin", "usr/bin", "usr/libexec"]
        .iter()
        .map(|dir| root.join(dir).join(name))
        .find(|path| path.is_file())
}

/// Runs a program of the root file system with its own libraries.
fn command(root: &Path, program: &Path) -> Command {
    let mut command = Command::new(root.join("lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(libraries(root))
        .arg(program);
    command
}

fn libraries(root: &Path) -> String {
    [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/mysql/private",
        "lib/x86_64-linux-gnu",
    ]
    .map(|path| root.join(path).display().to_string())
    .join(":")
}

/// An initialised data directory, and the client programs where `Tools::find` sees them.
fn template() -> &'static (tempfile::TempDir, PathBuf) {
    static TEMPLATE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let root = root_file_system();
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["mysql", "mysqldump"] {
            use std::os::unix::fs::PermissionsExt as _;
            let real = program(root, name).unwrap();
            let wrapper = bin.join(name);
            let loader = root.join("lib64/ld-linux-x86-64.so.2");
            fs::write(
                &wrapper,
                format!(
                    "#!/bin/sh\nexec {} --library-path {} {} \"$@\"\n",
                    loader.display(),
                    libraries(root),
                    real.display()
                ),
            )
            .unwrap();
            fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let init = directory.path().join("init.sql");
        let mut statements =
            mysql_job::server::account_statements("otus_operator", OPERATOR_PASSWORD).unwrap();
        statements.push("CREATE USER 'root'@'%' IDENTIFIED BY 'boot'".into());
        statements.push("GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION".into());
        statements.push("CREATE DATABASE `otus-database`".into());
        fs::write(&init, statements.join(";\n") + ";\n").unwrap();
        let output = server_command(root, &directory.path().join("data"))
            .arg("--initialize-insecure")
            .arg(format!("--init-file={}", init.display()))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        (directory, bin)
    })
}

/// A port that nobody listens at. It is not one of those that the kernel gives to connections: one of them
/// could be taken again before the server has it.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    (0..10_000)
        .map(|_| {
            let number = std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
            20_000 + u16::try_from(number % 10_000).unwrap()
        })
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

fn server_command(root: &Path, data: &Path) -> Command {
    let mut command = command(root, &program(root, "mysqld").unwrap());
    command
        .args([
            "--no-defaults",
            "--user=root",
            "--mysqlx=OFF",
            "--secure-file-priv=NULL",
            // Many servers at once on a small machine, none of which outlives its test.
            "--performance-schema=OFF",
            "--skip-log-bin",
            "--innodb-redo-log-capacity=8M",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-doublewrite=OFF",
        ])
        .arg(format!(
            "--plugin-dir={}",
            root.join("usr/lib/mysql/plugin").display()
        ))
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--basedir={}", root.join("usr").display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let root = root_file_system();
        let (template, bin) = template();
        // Every test sets the same value, before any thread of its own reads it.
        let path = std::env::var("PATH").unwrap();
        assert!(
            path.starts_with(&bin.display().to_string()) || set_path(bin),
            "PATH must name the client programs"
        );
        let directory = tempfile::tempdir().unwrap();
        for name in ["credentials", "work", "backups"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let data = directory.path().join("data");
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always", "--reflink=auto"])
            .arg(template.path().join("data"))
            .arg(&data)
            .status();
        assert!(copied.unwrap().success());
        let port = free_port();
        let child = server_command(root, &data)
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
            .arg(format!("--socket={}", directory.path().join("s").display()))
            .arg(format!(
                "--pid-file={}",
                directory.path().join("pid").display()
            ))
            .arg(format!(
                "--log-error={}",
                directory.path().join("log").display()
            ))
            .args(arguments)
            .spawn()
            .unwrap();
        let server = Self {
            directory,
            child,
            port,
        };
        server.credential("operator-user", "otus_operator");
        server.credential("operator-password", OPERATOR_PASSWORD);
        server.credential("root-password", "otuspassword");
        server.credential("bootstrap-password", "boot");
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(
                Instant::now() < deadline,
                "{:?}",
                fs::read_to_string(server.path("log"))
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn credential(&self, name: &str, value: &str) {
        fs::write(self.path("credentials").join(name), value).unwrap();
    }

    pub(crate) fn job(&self, operation: Operation, id: &str) -> Job {
        Job {
            operation,
            operation_id: id.into(),
            instance: "default/mysql-instance".into(),
            instance_uid: "uid-1".into(),
            host: "127.0.0.1".into(),
            port: self.port,
            credentials: self.path("credentials"),
            work: self.path("work"),
            patience: Duration::from_secs(60),
            termination_log: self.path("termination-log"),
        }
    }

    pub(crate) fn restore(&self, id: &str) -> Restore {
        Restore {
            job: self.job(Operation::Restore, id),
            database: "otus-database".into(),
            backups: self.path("backups"),
            legacy: Some("mysql-instance-dump.sql".into()),
            from_database: None,
            generation: None,
            expect_backup: None,
            mode: RestoreMode::Normal,
            adopt: false,
            capacity: None,
        }
    }

    pub(crate) fn backup(&self, id: &str, fence: bool) -> Backup {
        Backup {
            job: self.job(Operation::Backup, id),
            database: "otus-database".into(),
            backups: self.path("backups"),
            keep: 3,
            fence,
            before_upgrade: false,
        }
    }

    pub(crate) fn password(&self, id: &str) -> Password {
        Password {
            job: self.job(Operation::Password, id),
        }
    }

    /// Runs a statement as this user, as a person would; gives the output.
    pub(crate) fn sql_as(
        &self,
        user: &str,
        password: &str,
        statement: &str,
    ) -> Result<String, String> {
        let output = self
            .client(user, password, statement)
            .arg("otus-database")
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The same as the operator, who always can.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.sql_as("otus_operator", OPERATOR_PASSWORD, statement)
            .unwrap()
    }

    /// Without a default database.
    pub(crate) fn sql_anywhere(&self, statement: &str) {
        let output = self
            .client("otus_operator", OPERATOR_PASSWORD, statement)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn client(&self, user: &str, password: &str, statement: &str) -> Command {
        let mut command = Command::new(template().1.join("mysql"));
        command
            .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "-N"])
            .arg("--default-character-set=utf8mb4")
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={user}"))
            .arg(format!("--execute={statement}"))
            .env("MYSQL_PWD", password);
        command
    }

    pub(crate) fn write_two_rows(&self) {
        self.sql(
            "CREATE TABLE test (id smallint unsigned not null auto_increment, \
             name varchar(20) not null, constraint pk_example primary key (id)); \
             INSERT INTO test (name) VALUES ('some data'), ('some data-2')",
        );
    }

    pub(crate) fn empty_the_database(&self) {
        self.sql("DROP DATABASE `otus-database`; CREATE DATABASE `otus-database`");
    }
}

#[expect(
    unsafe_code,
    reason = "set once, before the tests of this process use it"
)]
fn set_path(bin: &Path) -> bool {
    static SET: OnceLock<()> = OnceLock::new();
    SET.get_or_init(|| {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        // SAFETY: all tests of this process come through here first and wait for it.
        unsafe { std::env::set_var("PATH", path) };
    });
    true
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
