//! `lab up` as another process, for tests of what others do with its cluster.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
};

use harness::backend::existing::Access;

/// `lab up` in a process of its own, ended with this value.
pub(crate) struct Up {
    child: Child,
    pub(crate) kubeconfig: PathBuf,
    /// What it said until it was ready.
    pub(crate) said: String,
    _directory: tempfile::TempDir,
    _output: BufReader<ChildStdout>,
}

impl Up {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    /// With more arguments.
    pub(crate) fn with(arguments: &[&OsStr]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let kubeconfig = directory.path().join("kubeconfig");
        let mut child = Command::new(env!("CARGO_BIN_EXE_lab"))
            .args(["up", "--kubeconfig"])
            .arg(&kubeconfig)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("lab can be started");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut seen = String::new();
        while !seen.contains("ready. In another terminal") {
            let read = output.read_line(&mut seen).expect("its output is text");
            assert_ne!(read, 0, "lab up ended early; it said:\n{seen}");
        }
        Self {
            child,
            kubeconfig,
            said: seen,
            _directory: directory,
            _output: output,
        }
    }

    pub(crate) fn access(&self) -> Access {
        Access {
            kubeconfig: Some(self.kubeconfig.clone()),
            ..Access::default()
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // SIGKILL: whatever it started ends itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
