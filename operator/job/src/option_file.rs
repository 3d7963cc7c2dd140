//! The option file through which the client programs get the password: never a command line, never an
//! environment variable.
//!
//! The file is made for this process alone (mode 0400) and removed with its value.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Who logs in where.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The account's name.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "Login({}@{}:{})",
            self.user, self.host, self.port
        )
    }
}

/// An option file on disk; dropping it removes it.
#[derive(Debug)]
pub struct OptionFile {
    path: PathBuf,
}

impl OptionFile {
    /// Writes the file into `directory`.
    pub fn write(directory: &Path, login: &Login) -> io::Result<Self> {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("login-{}-{serial}.cnf", std::process::id()));
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o400)
            .open(&path)?;
        let written = Self { path };
        file.write_all(text(login).as_bytes())?;
        Ok(written)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OptionFile {
    fn drop(&mut self) {
        // The directory is a volume that ends with the pod; a file left there is not worth an error.
        let _ = fs::remove_file(&self.path);
    }
}

fn text(login: &Login) -> String {
    format!(
        "[client]\nhost=\"{}\"\nport={}\nprotocol=tcp\nuser=\"{}\"\npassword=\"{}\"\n",
        escape(&login.host),
        login.port,
        escape(&login.user),
        escape(&login.password)
    )
}

/// A value between double quotes: everything the option file parser would take for itself is escaped.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            '\u{8}' => escaped.push_str("\\b"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn login(password: &str) -> Login {
        Login {
            host: "db".into(),
            port: 3306,
            user: "otus_operator".into(),
            password: password.into(),
        }
    }

    #[test]
    fn only_the_owner_reads_it_and_it_goes_away() {
        let directory = tempfile::tempdir().unwrap();
        let file = OptionFile::write(directory.path(), &login("secret")).unwrap();
        let mode = fs::metadata(file.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        let path = file.path().to_owned();
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn every_byte_that_the_parser_takes_is_escaped() {
        assert!(text(&login("a\"b\\c\nd\te#f")).contains(r#"password="a\"b\\c\nd\te#f""#));
    }

    #[test]
    fn the_password_is_not_in_the_debug_text() {
        assert!(!format!("{:?}", login("hunter2")).contains("hunter2"));
    }
}
