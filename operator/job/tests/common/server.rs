//! A server of its own for each test, started from one that was initialised once. What kind of server that is
//! says [`crate::programs`].

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mysql_job::arguments::{Job, Password};
use mysql_job::report::Operation;

use crate::programs::{CLIENT, server_command};
use crate::template::template;

/// The operator's password on the test server: with everything in it that could break on the way.
pub(crate) const OPERATOR_PASSWORD: &str = r#"op"er\at'or #%;"#;

/// A running server and the directories of a Job beside it.
pub(crate) struct Server {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) child: Child,
    pub(crate) port: u16,
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

/// Starts the server of this directory.
pub(crate) fn spawn(directory: &Path, port: u16, arguments: &[&str]) -> Child {
    let option = |name: &str, file: &str| format!("--{name}={}", directory.join(file).display());
    server_command(&directory.join("data"))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args([option("socket", "s"), option("pid-file", "pid")])
        .arg(option("log-error", "log"))
        .args(arguments)
        .spawn()
        .unwrap()
}

impl Server {
    /// Starts one.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let template = template();
        // Every test sets the same value, before any thread of its own reads it.
        let path = std::env::var("PATH").unwrap();
        assert!(
            path.starts_with(&template.bin.display().to_string()) || set_path(&template.bin),
            "PATH must name the client programs"
        );
        let directory = tempfile::tempdir_in(&template.directory).unwrap();
        for name in ["credentials", "work", "backups"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        let copied = Command::new("cp")
            .args(["-a", "--sparse=always", "--reflink=auto"])
            .arg(&template.data)
            .arg(directory.path().join("data"))
            .status();
        assert!(copied.unwrap().success());
        let port = free_port();
        let mut server = Self {
            child: spawn(directory.path(), port, arguments),
            directory,
            port,
        };
        server.credential("operator-user", "otus_operator");
        server.credential("operator-password", OPERATOR_PASSWORD);
        server.credential("root-password", "otuspassword");
        server.credential("bootstrap-password", "boot");
        server.wait_until_it_answers();
        server
    }

    pub(crate) fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(120);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{ended:?} {:?}",
                fs::read_to_string(self.path("log"))
            );
            std::thread::sleep(Duration::from_millis(20));
        }
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

    pub(crate) fn client(&self, user: &str, password: &str, statement: &str) -> Command {
        let mut command = Command::new(template().bin.join(CLIENT));
        command
            .args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "-N"])
            .arg("--default-character-set=utf8mb4")
            .arg(format!("--port={}", self.port))
            .arg(format!("--user={user}"))
            .arg(format!("--execute={statement}"))
            .env("MYSQL_PWD", password);
        command
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
