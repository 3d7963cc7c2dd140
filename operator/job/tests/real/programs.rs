//! MySQL: how it is initialised and started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use simcluster_images::ImageStore;

use crate::image::{self, program};
use crate::template::{Template, run};

/// What people log in with.
pub(crate) const CLIENT: &str = "mysql";

/// The image that the scenarios run. `MYSQL_JOB_TEST_ROOTFS` names another root file system, for other versions.
fn root_file_system() -> &'static Path {
    static ROOT: OnceLock<(PathBuf, Option<ImageStore>)> = OnceLock::new();
    let (root, _store) = ROOT.get_or_init(|| {
        if let Some(path) = std::env::var_os("MYSQL_JOB_TEST_ROOTFS") {
            return (path.into(), None);
        }
        let (layers, store) = image::layers("mysql:5.7");
        let mut layers = layers.into_iter();
        let layer = layers.find(|layer| program(layer, "mysqld").is_some());
        (
            layer.expect("a layer of the image has the server"),
            Some(store),
        )
    });
    root
}

pub(crate) fn make(template: &Template) {
    image::wrap(root_file_system(), &template.bin, &[CLIENT, "mysqldump"]);
    template.write_statements([
        "CREATE USER 'root'@'%' IDENTIFIED BY 'boot'".into(),
        "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION".into(),
    ]);
    run(server_command(&template.data)
        .arg("--initialize-insecure")
        .arg(format!("--init-file={}", template.init.display())));
}

/// A server on this data directory, without the rest of its command line.
pub(crate) fn server_command(data: &Path) -> Command {
    let root = root_file_system();
    let mut command = image::command(root, &program(root, "mysqld").unwrap());
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
