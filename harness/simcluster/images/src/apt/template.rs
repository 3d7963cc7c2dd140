//! A data directory that is initialised once per image, so that containers start from a copy.
//!
//! The server of the image runs here on its own loader and libraries, with no namespace and no privilege. Its UUID is
//! removed again: each copy makes its own. Its TLS keys stay, because no client here verifies them and making them is
//! half of a start: all servers of an image share them.

use std::{
    fs::{self, File},
    io::{self, Read, Seek as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    recipes::Flavour,
    tools::{ToolError, mortal, run_program, run_with_input},
};
use crate::{entrypoint, source::Reporter};

/// Changes when templates are made in another way, so that those in caches are made anew.
pub(crate) const FORMAT: &str = "template 3";
/// Where the template is in the image; the entrypoint looks there.
pub(crate) const PLACE: &str = "usr/share/mysql-template";

/// SQL scripts of MariaDB's server package that make its system tables, in order. Some were renamed.
const MARIADB_SCRIPTS: [[&str; 2]; 6] = [
    ["mariadb_system_tables.sql", "mysql_system_tables.sql"],
    [
        "mariadb_performance_tables.sql",
        "mysql_performance_tables.sql",
    ],
    [
        "mariadb_system_tables_data.sql",
        "mysql_system_tables_data.sql",
    ],
    ["fill_help_tables.sql", "fill_help_tables.sql"],
    [
        "maria_add_gis_sp_bootstrap.sql",
        "maria_add_gis_sp_bootstrap.sql",
    ],
    ["mariadb_sys_schema.sql", "mysql_sys_schema.sql"],
];

/// Why there is no template.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TemplateError {
    /// The tree has no dynamic loader.
    #[error("no dynamic loader in the packages")]
    NoLoader,
    /// A script or program that should be in the packages is not.
    #[error("{0} is not in the packages")]
    Missing(String),
    /// A program of the image failed.
    #[error(transparent)]
    Run(#[from] ToolError),
    /// A file could not be written.
    #[error("cannot write {}: {error}", path.display())]
    Write { path: PathBuf, error: io::Error },
}

/// Initialises a data directory below `layer` with the programs in `tree`. `scratch` is for files in between.
pub(crate) fn make(
    flavour: Flavour,
    tree: &Path,
    layer: &Path,
    scratch: &Path,
    reporter: &dyn Reporter,
) -> Result<(), TemplateError> {
    let image = Programs::of(tree)?;
    let data = layer.join(PLACE);
    let write = |path: &Path| {
        let path = path.to_owned();
        move |error| TemplateError::Write { path, error }
    };
    fs::create_dir_all(&data).map_err(write(&data))?;
    let zones = image.time_zones(reporter)?;
    let script = scratch.join("initialise.sql");
    match flavour {
        Flavour::MySql => {
            fs::write(&script, format!("USE mysql;\n{zones}")).map_err(write(&script))?;
            let mut command = image.server("mysqld", &data)?;
            command
                .arg("--initialize-insecure")
                .arg(file_option("--init-file", &script));
            command.args(entrypoint::template_options(flavour));
            run_program("mysqld --initialize-insecure", command, reporter)?;
            // Keys are made by the first start; its end leaves the log of the initialisation behind it.
            fs::write(&script, "SHUTDOWN;\n").map_err(write(&script))?;
            let mut command = image.server("mysqld", &data)?;
            command
                .args([
                    "--skip-networking",
                    "--skip-log-bin",
                    "--loose-mysqlx=OFF",
                    "--secure-file-priv=",
                ])
                // In the data directory: no longer path is sure to be short enough.
                .arg("--socket=socket")
                .arg(file_option("--init-file", &script))
                .args(entrypoint::template_options(flavour));
            run_program("mysqld", command, reporter)?;
        }
        Flavour::MariaDb => {
            fs::write(&script, image.mariadb_script(&zones)?).map_err(write(&script))?;
            let mut command = image.server("mariadbd", &data)?;
            command
                .args([
                    "--bootstrap",
                    "--log-warnings=0",
                    "--enforce-storage-engine=",
                ])
                .args(["--max-allowed-packet=8M", "--net-buffer-length=16K"])
                .args(entrypoint::template_options(flavour));
            let input = File::open(&script).map_err(write(&script))?;
            run_with_input("mariadbd --bootstrap", command, input, reporter)?;
        }
    }
    make_common(&data).map_err(write(&data))
}

/// The programs of a tree, run without entering it.
struct Programs<'a> {
    tree: &'a Path,
    loader: PathBuf,
    libraries: String,
}

impl<'a> Programs<'a> {
    fn of(tree: &'a Path) -> Result<Self, TemplateError> {
        let loader = ["usr/lib64", "usr/lib"]
            .iter()
            .flat_map(|dir| entries(&tree.join(dir)))
            .find(|path| named(path).starts_with("ld-linux"))
            .ok_or(TemplateError::NoLoader)?;
        // Links in the tree are absolute in places, so the loader itself is looked for where it really is.
        let libraries: Vec<_> = entries(&tree.join("usr/lib"))
            .filter(|path| named(path).contains("-linux-gnu") && path.is_dir())
            .map(|path| path.to_string_lossy().into_owned())
            .collect();
        Ok(Self {
            tree,
            loader,
            libraries: libraries.join(":"),
        })
    }

    /// A program of the tree.
    fn program(&self, name: &str) -> Result<Command, TemplateError> {
        let program = ["usr/sbin", "usr/bin"]
            .iter()
            .map(|dir| self.tree.join(dir).join(name))
            .find(|path| path.exists())
            .ok_or_else(|| TemplateError::Missing(name.to_owned()))?;
        let mut command = mortal(&self.loader);
        command
            .arg("--library-path")
            .arg(&self.libraries)
            .arg(program);
        // Preloaded libraries of this machine do not fit the image's.
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC");
        Ok(command)
    }

    /// The server, with its files from the tree and nothing from this machine.
    fn server(&self, name: &str, data: &Path) -> Result<Command, TemplateError> {
        let mut command = self.program(name)?;
        let share = self.tree.join("usr/share/mysql");
        command
            .arg("--no-defaults")
            .arg("--user=root")
            .arg(file_option("--datadir", data))
            .arg(file_option("--lc-messages-dir", &share))
            .arg(file_option("--character-sets-dir", &share.join("charsets")))
            .arg(file_option(
                "--plugin-dir",
                &self.tree.join("usr/lib/mysql/plugin"),
            ));
        Ok(command)
    }

    /// SQL that fills the time zone tables; empty where the packages cannot make it.
    fn time_zones(&self, reporter: &dyn Reporter) -> Result<String, TemplateError> {
        let mut command = match self.program("mysql_tzinfo_to_sql") {
            Err(TemplateError::Missing(_)) => return Ok(String::new()),
            command => command?,
        };
        command.arg(self.tree.join("usr/share/zoneinfo"));
        Ok(run_program("mysql_tzinfo_to_sql", command, reporter)?)
    }

    fn mariadb_script(&self, zones: &str) -> Result<String, TemplateError> {
        let share = self.tree.join("usr/share/mysql");
        // The server takes a statement to end where a line ends with a semicolon.
        let mut script =
            "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n\
                          CREATE DATABASE IF NOT EXISTS sys;\n"
                .to_owned();
        for names in MARIADB_SCRIPTS {
            let text = names
                .iter()
                .find_map(|name| fs::read_to_string(share.join(name)).ok());
            script.push_str(&text.ok_or_else(|| TemplateError::Missing(names[0].to_owned()))?);
            script.push('\n');
        }
        script.push_str("USE mysql;\n");
        script.push_str(zones);
        // Only root at the socket, as in the official image.
        script.push_str(
            "\nDELETE FROM mysql.global_priv WHERE User NOT IN ('root', 'mariadb.sys') OR Host <> 'localhost';\n\
             DELETE FROM mysql.proxies_priv WHERE Host <> 'localhost';\n",
        );
        Ok(script)
    }
}

fn file_option(option: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(option);
    text.push("=");
    text.push(path);
    text
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
}

fn named(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Removes what each server must have for itself and what none needs, and lets any user of the container read the rest.
fn make_common(data: &Path) -> io::Result<()> {
    let redo = data.join("#innodb_redo");
    let own = |path: &Path| named(path) == "auto.cnf" || named(path).ends_with(".pid");
    let spare = |path: &Path| path.starts_with(&redo) && named(path).ends_with("_tmp");
    for path in entries(data).chain(entries(&redo)) {
        if own(&path) || spare(&path) {
            fs::remove_file(&path)?;
        }
    }
    open_up(data)
}

fn open_up(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    for path in entries(dir) {
        if path.is_dir() {
            open_up(&path)?;
        } else {
            make_sparse(&path)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

/// Rewrites a file without its zeros: most of a fresh data directory is room for what is to come, and each server
/// gets a copy.
fn make_sparse(path: &Path) -> io::Result<()> {
    const BLOCK: usize = 16 * 1024;
    const BLOCK_STEP: i64 = 16 * 1024;
    let length = fs::metadata(path)?.len();
    if length < BLOCK as u64 {
        return Ok(());
    }
    let zeros = vec![0; BLOCK];
    let mut block = Vec::with_capacity(BLOCK);
    let mut source = File::open(path)?;
    let beside = path.with_extension("sparse");
    let mut sparse = File::create_new(&beside)?;
    loop {
        block.clear();
        let read = Read::by_ref(&mut source)
            .take(BLOCK as u64)
            .read_to_end(&mut block)?;
        if read == 0 {
            break;
        } else if block == zeros {
            sparse.seek_relative(BLOCK_STEP)?;
        } else {
            sparse.write_all(&block)?;
        }
    }
    sparse.set_len(length)?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_sparse_file_reads_as_before() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("data");
        let mut bytes = vec![0; 1 << 20];
        bytes[5] = 1;
        bytes[700_000] = 2;
        bytes.extend([0, 0, 3, 0]);
        fs::write(&path, &bytes).expect("it is writable");
        make_sparse(&path).expect("it is rewritten");
        assert_eq!(fs::read(&path).expect("it is readable"), bytes);
        assert!(fs::metadata(&path).expect("there").blocks() * 512 < 200_000);
    }
}
