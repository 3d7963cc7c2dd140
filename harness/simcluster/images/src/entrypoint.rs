//! What an assembled database image has besides packages: our own entrypoint, the server's defaults, and how to
//! run it, all by the contract that the official MySQL and MariaDB images made customary.
//!
//! The entrypoint itself is `entrypoint/docker-entrypoint.sh`.

use crate::{
    ImageConfig,
    apt::{Flavour, names_version},
    digest::Hasher,
};

/// Where the programs of an image are looked for.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Tells the entrypoint the version that was asked for, where another one is in the image.
const STANDS_IN_FOR: &str = "DATABASE_STANDS_IN_FOR";

/// A file of the image.
#[derive(Debug)]
pub(crate) struct ImageFile {
    pub(crate) path: &'static str,
    pub(crate) text: &'static str,
    pub(crate) mode: u32,
}

/// The files for one kind of server.
pub(crate) fn files(flavour: Flavour) -> Vec<ImageFile> {
    let (configuration, text) = match flavour {
        Flavour::MySql => ("etc/my.cnf", include_str!("entrypoint/mysql.cnf")),
        Flavour::MariaDb => ("etc/mysql/my.cnf", include_str!("entrypoint/mariadb.cnf")),
    };
    vec![
        ImageFile {
            path: "usr/local/bin/docker-entrypoint.sh",
            text: include_str!("entrypoint/docker-entrypoint.sh"),
            mode: 0o755,
        },
        ImageFile {
            path: configuration,
            text,
            mode: 0o644,
        },
    ]
}

/// The directories for one kind of server, with their permissions.
pub(crate) fn directories(flavour: Flavour) -> &'static [(&'static str, u32)] {
    match flavour {
        Flavour::MySql => &[
            ("docker-entrypoint-initdb.d", 0o755),
            ("etc/mysql/conf.d", 0o755),
            // Any user that the container runs as may own a server.
            ("run/mysqld", 0o1777),
            ("var/lib/mysql", 0o1777),
            ("var/lib/mysql-files", 0o1777),
        ],
        Flavour::MariaDb => &[
            ("docker-entrypoint-initdb.d", 0o755),
            ("etc/mysql/conf.d", 0o755),
            ("etc/mysql/mariadb.conf.d", 0o755),
            ("run/mysqld", 0o1777),
            ("var/lib/mysql", 0o1777),
        ],
    }
}

/// Changes with any of the files.
pub(crate) fn digest(flavour: Flavour) -> String {
    files(flavour)
        .iter()
        .fold(Hasher::default(), |hasher, file| {
            hasher
                .part(file.path)
                .part(file.text)
                .part(file.mode.to_be_bytes())
        })
        .parts(
            directories(flavour)
                .iter()
                .map(|(path, mode)| format!("{path} {mode:o}")),
        )
        .hex()
}

/// Options that shape the files of a data directory; the server's defaults in the image say the same.
pub(crate) fn template_options(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MySql => &["--loose-innodb-redo-log-capacity=32M"],
        Flavour::MariaDb => &["--innodb-log-file-size=16M"],
    }
}

/// How to run a server of this version.
pub(crate) fn config(flavour: Flavour, version: &str) -> ImageConfig {
    let major: Vec<_> = version.split('.').take(2).collect();
    let major = major.join(".");
    let (server, env) = match flavour {
        Flavour::MySql => (
            "mysqld",
            vec![
                format!("MYSQL_MAJOR={major}"),
                format!("MYSQL_VERSION={version}"),
            ],
        ),
        Flavour::MariaDb => (
            "mariadbd",
            vec![
                format!("MARIADB_MAJOR={major}"),
                format!("MARIADB_VERSION={version}"),
            ],
        ),
    };
    ImageConfig {
        entrypoint: vec!["docker-entrypoint.sh".to_owned()],
        cmd: vec![server.to_owned()],
        env: [vec![PATH.to_owned()], env].concat(),
        ..ImageConfig::default()
    }
}

/// The configuration as it is for an image that was asked for by `tag`.
pub(crate) fn config_for_tag(mut config: ImageConfig, tag: &str, version: &str) -> ImageConfig {
    if !names_version(tag, version) {
        config.env.push(format!("{STANDS_IN_FOR}={tag}"));
    }
    config
}
