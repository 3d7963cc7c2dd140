//! The kubeconfig that `lab up` writes, and takes away at its end.
//!
//! It never replaces a file that it did not write itself, nor one whose cluster still answers.

use std::{
    fs,
    io::{self, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
};

use harness::Failure;

/// The first line of each, so that one that was left behind is known again.
const MARK: &str = "# Written by `cargo lab up`; it goes when the cluster ends.\n";

/// A file that is ours from the moment it is written until this value is dropped.
#[derive(Debug)]
pub(crate) struct KubeconfigFile {
    path: PathBuf,
    written: Option<String>,
}

impl KubeconfigFile {
    /// Refuses a path that holds somebody's configuration or belongs to a living cluster.
    pub(crate) fn claim(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        match fs::read_to_string(path) {
            Ok(text) if !text.starts_with(MARK) => {
                return Err(format!(
                    "{shown} exists and was not written by `lab up`; \
                     name another file with --kubeconfig, or remove it"
                )
                .into());
            }
            Ok(text) if answers(&text) => {
                return Err(format!(
                    "{shown} belongs to a `lab up` that still runs; end that one, \
                     or name another file with --kubeconfig"
                )
                .into());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => place(path)?,
            Err(error) => return Err(format!("{shown} could not be read: {error}").into()),
        }
        Ok(Self {
            path: path.to_owned(),
            written: None,
        })
    }

    /// Writes it; only its owner may read it.
    pub(crate) fn write(&mut self, kubeconfig: &str) -> Result<(), Failure> {
        let text = format!("{MARK}{kubeconfig}");
        write_private(&self.path, &text).map_err(|error| {
            format!(
                "could not write the kubeconfig to {}: {error}",
                self.path.display()
            )
        })?;
        self.written = Some(text);
        Ok(())
    }
}

impl Drop for KubeconfigFile {
    fn drop(&mut self) {
        let Some(written) = &self.written else { return };
        // Somebody may have put another file in its place meanwhile.
        if fs::read_to_string(&self.path).is_ok_and(|text| text == *written)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the kubeconfig stays behind");
        }
    }
}

/// Refuses a place where no file can be made, before a cluster is started for it.
fn place(path: &Path) -> Result<(), Failure> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let shown = directory.display();
    if !directory.is_dir() {
        return Err(format!(
            "there is no directory {shown} for the kubeconfig {}; make it, or name another file with --kubeconfig",
            path.display()
        )
        .into());
    }
    // Only an attempt tells whether it may be written to.
    tempfile::tempfile_in(directory).map_err(|error| {
        format!("no file can be made in {shown}: {error}; name another one with --kubeconfig")
    })?;
    Ok(())
}

/// Whether the server that a kubeconfig names takes connections.
fn answers(kubeconfig: &str) -> bool {
    kubeconfig
        .lines()
        .filter_map(|line| line.trim().strip_prefix("server: https://"))
        .any(|address| TcpStream::connect(address).is_ok())
}

/// A file that is already there keeps its mode, so it is made anew.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a directory")
    }

    #[test]
    fn somebodys_configuration_is_never_replaced() {
        let directory = directory();
        let path = directory.path().join("config");
        fs::write(&path, "apiVersion: v1").expect("written");
        let refusal = KubeconfigFile::claim(&path).expect_err("it is somebody's");
        assert!(refusal.to_string().contains("--kubeconfig"), "{refusal}");
        assert_eq!(
            fs::read_to_string(&path).expect("it is there"),
            "apiVersion: v1"
        );
    }

    #[test]
    fn the_file_of_a_cluster_that_is_gone_is_replaced_and_goes_at_the_end() {
        let directory = directory();
        let path = directory.path().join("config");
        let left = format!("{MARK}    server: https://127.0.0.1:1\n");
        fs::write(&path, left).expect("written");
        let mut file = KubeconfigFile::claim(&path).expect("nobody answers there");
        file.write("kind: Config").expect("written");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_place_where_no_file_can_be_is_refused_at_once() {
        let directory = directory();
        let path = directory.path().join("absent").join("config");
        let refusal = KubeconfigFile::claim(&path).expect_err("there is no such directory");
        assert!(
            refusal.to_string().contains("there is no directory"),
            "{refusal}"
        );
        let file = directory.path().join("file");
        fs::write(&file, "").expect("written");
        KubeconfigFile::claim(&file.join("config")).expect_err("that is no directory");
    }

    #[test]
    fn the_file_of_a_living_cluster_stays() {
        let directory = directory();
        let path = directory.path().join("config");
        let living = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = living.local_addr().expect("an address");
        fs::write(&path, format!("{MARK}server: https://{address}\n")).expect("written");
        let refusal = KubeconfigFile::claim(&path).expect_err("it lives");
        assert!(refusal.to_string().contains("still runs"), "{refusal}");
    }
}
