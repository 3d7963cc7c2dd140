//! MariaDB: how it is initialised and started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use simcluster_images::ImageStore;

use crate::image::{self, program};
use crate::server::{self, Server};
use crate::template::{Template, run};

/// What people log in with.
pub(crate) const CLIENT: &str = "mariadb";

/// The layers of the image that the scenarios run: one has the programs, one an initialised data directory.
fn layer(has: impl Fn(&Path) -> bool) -> PathBuf {
    static LAYERS: OnceLock<(Vec<PathBuf>, ImageStore)> = OnceLock::new();
    let (layers, _store) = LAYERS.get_or_init(|| image::layers("mariadb:10.11"));
    let found = layers.iter().find(|layer| has(layer));
    found
        .expect("the image has a server and a data directory")
        .clone()
}

fn root_file_system() -> PathBuf {
    layer(|layer| program(layer, "mariadbd").is_some())
}

pub(crate) fn make(template: &Template) {
    image::wrap(
        &root_file_system(),
        &template.bin,
        &[CLIENT, "mariadb-dump"],
    );
    let initialised = "usr/share/mysql-template";
    run(Command::new("cp")
        .arg("-a")
        .arg(layer(|layer| layer.join(initialised).is_dir()).join(initialised))
        .arg(&template.data));
    let mut statements = vec!["ALTER USER 'root'@'localhost' IDENTIFIED BY 'boot'".to_owned()];
    for host in ["%", "10.1.2.3"] {
        statements.push(format!("CREATE USER 'root'@'{host}' IDENTIFIED BY 'boot'"));
        statements.push(format!(
            "GRANT ALL ON *.* TO 'root'@'{host}' WITH GRANT OPTION"
        ));
    }
    // The server reads a statement from each line, and ends after the last.
    statements.push("SHUTDOWN".into());
    template.write_statements(statements);
    run(server_command(&template.data)
        .arg("--init-file")
        .arg(&template.init)
        .arg("--socket")
        .arg(template.directory.join("s"))
        .arg("--skip-networking"));
}

/// A server on this data directory, without the rest of its command line.
pub(crate) fn server_command(data: &Path) -> Command {
    let root = root_file_system();
    let mut command = image::command(&root, &program(&root, "mariadbd").unwrap());
    let of_image = |option: &str, path: &str| format!("--{option}={}", root.join(path).display());
    command
        .args(["--no-defaults", "--user=root"])
        .arg(of_image("lc-messages-dir", "usr/share/mysql"))
        .arg(of_image("character-sets-dir", "usr/share/mysql/charsets"))
        .arg(of_image("plugin-dir", "usr/lib/mysql/plugin"))
        .args([
            "--performance-schema=OFF",
            "--innodb-log-file-size=16M",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
        ])
        .arg(format!("--datadir={}", data.display()))
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts it after it was killed.
    pub(crate) fn start_again(&mut self) {
        let _ = self.child.wait();
        self.child = server::spawn(self.directory.path(), self.port, &[]);
        self.wait_until_it_answers();
    }
}
