//! What every server of a run starts from: an initialised data directory, and the client programs. It is in a directory
//! that goes when this process does, however that ends. What it is made of says [`crate::programs`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::programs;
use crate::server::OPERATOR_PASSWORD;

pub(crate) struct Template {
    /// For all that a run makes.
    pub(crate) directory: PathBuf,
    /// An initialised data directory.
    pub(crate) data: PathBuf,
    /// The client programs.
    pub(crate) bin: PathBuf,
    /// SQL for the server to read.
    pub(crate) init: PathBuf,
    _remover: Child,
}

pub(crate) fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap().keep();
        let template = Template {
            _remover: remover(&directory),
            data: directory.join("data"),
            bin: directory.join("bin"),
            init: directory.join("init.sql"),
            directory,
        };
        programs::make(&template);
        template
    })
}

impl Template {
    /// Has the server run the statements that make the operator's account, these, and what tests are about.
    pub(crate) fn write_statements(&self, further: impl IntoIterator<Item = String>) {
        let mut statements =
            mysql_job::server::account_statements("otus_operator", OPERATOR_PASSWORD).unwrap();
        statements.push("CREATE DATABASE `otus-database`".into());
        statements.extend(further);
        fs::write(&self.init, statements.join(";\n") + ";\n").unwrap();
    }
}

/// Runs a program to its good end.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// No value outlives all tests of a process, but a process of its own does: its input ends with this one. Programs of a
/// test that was killed may still write for a moment.
fn remover(directory: &Path) -> Child {
    let script = r#"trap "" HUP INT TERM; cat > /dev/null; until rm -rf -- "$1"; do sleep 0.1; done 2> /dev/null"#;
    Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(directory)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}
