//! A session with the server: the image's own client program as a child process.
//!
//! The child lives as long as the session, so that locks and session variables hold between
//! statements. Statements go to its standard input; after each one a marker row is asked for, which
//! tells where the answer ends. The client stops at the first error; the session is over then and a
//! new one must be opened. It does not decide what to do about an error.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use thiserror::Error;

use crate::option_file::{Login, OptionFile};
use crate::sql;

/// No single statement of ours but the dump itself may take longer without an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3600);

/// A client program that did not do its work.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The image has neither MySQL's nor MariaDB's programs.
    #[error(
        "the image has no {0} on its PATH; use an image with the client programs of the server"
    )]
    Missing(&'static str),
    /// The program or a file for it could not be started, written, read.
    #[error("cannot {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The server answered with an error.
    #[error("ERROR {code}: {message}")]
    Server {
        /// MySQL's error number.
        code: u32,
        /// Its text.
        message: String,
    },
    /// The program ended without an error of the server.
    #[error("the client program ended: {0}")]
    Ended(String),
    /// No answer.
    #[error("the server did not answer within an hour")]
    Silent,
}

impl ClientError {
    /// The server is there, and this account cannot come in.
    pub fn is_access_denied(&self) -> bool {
        matches!(
            self,
            Self::Server {
                code: 1045 | 1698 | 1251 | 1524 | 3118,
                ..
            }
        )
    }

    /// The server is not there, or not any more, or not yet.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Server {
                code: 1040 | 1053 | 1927 | 2000..=2065,
                ..
            }
        )
    }

    /// The text with its cause, for a report.
    pub fn full_text(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}

/// The client programs of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tools {
    /// `mariadb` or `mysql`
    pub client: PathBuf,
    /// `mariadb-dump` or `mysqldump`
    pub dump: PathBuf,
}

impl Tools {
    /// Looks along `PATH`. MariaDB's own names come first: its images keep the old names as links that
    /// warn, or no longer at all.
    pub fn find() -> Result<Self, ClientError> {
        Self::find_in(&env::var_os("PATH").unwrap_or_default())
    }

    fn find_in(path: &OsStr) -> Result<Self, ClientError> {
        let first = |names: [&str; 2]| {
            names
                .iter()
                .flat_map(|name| env::split_paths(path).map(move |dir| dir.join(name)))
                .find(|program| program.is_file())
        };
        Ok(Self {
            client: first(["mariadb", "mysql"]).ok_or(ClientError::Missing("mysql or mariadb"))?,
            dump: first(["mariadb-dump", "mysqldump"])
                .ok_or(ClientError::Missing("mysqldump or mariadb-dump"))?,
        })
    }
}

/// The long options a program says it has, without the dashes: programs are probed, versions are not parsed.
pub fn options_of(program: &Path) -> Result<BTreeSet<String>, ClientError> {
    let output = Command::new(program)
        .args(["--no-defaults", "--help"])
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ClientError::Io {
            action: "ask a client program for its options",
            source,
        })?;
    Ok(long_options(&String::from_utf8_lossy(&output.stdout)))
}

fn long_options(help: &str) -> BTreeSet<String> {
    help.split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| {
            let end = word
                .find(|character: char| {
                    !(character.is_ascii_alphanumeric() || "-_".contains(character))
                })
                .unwrap_or(word.len());
            word[..end].to_owned()
        })
        .filter(|option| !option.is_empty())
        .collect()
}

/// A row as text fields; SQL's `NULL` is the text `NULL`.
pub type Row = Vec<String>;

/// One connection, as one child process.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    asked: u64,
    // The client reads it while it connects; it must not go away before.
    _options: OptionFile,
}

impl Session {
    /// Connects and logs in.
    pub fn open(tools: &Tools, login: &Login, work: &Path) -> Result<Self, ClientError> {
        Self::open_with(tools, login, work, &[])
    }

    /// The same with further options of the client program.
    pub fn open_with(
        tools: &Tools,
        login: &Login,
        work: &Path,
        options: &[&str],
    ) -> Result<Self, ClientError> {
        let io = |action| move |source| ClientError::Io { action, source };
        let file = OptionFile::write(work, login).map_err(io("write the option file"))?;
        let mut child = Command::new(&tools.client)
            // Must come first; `--defaults-file` keeps every other file of the image out of it.
            .arg(format!("--defaults-file={}", file.path().display()))
            .args([
                "--batch",
                "--skip-column-names",
                "--unbuffered",
                "--binary-mode",
            ])
            .args(["--default-character-set=utf8mb4", "--connect-timeout=10"])
            .arg("--max-allowed-packet=1G")
            // A session that connects anew by itself has lost its lock and its `sql_mode`.
            .arg("--skip-reconnect")
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io("start the client program"))?;
        let output = child.stdout.take().expect("stdout was asked for");
        let errors = child.stderr.take().expect("stderr was asked for");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n') {
                let Ok(line) = line else { break };
                if sender
                    .send(String::from_utf8_lossy(&line).into_owned())
                    .is_err()
                {
                    break;
                }
            }
        });
        let errors = thread::spawn(move || read_all(errors));
        let mut session = Self {
            input: child.stdin.take(),
            child,
            lines,
            errors: Some(errors),
            asked: 0,
            _options: file,
        };
        session.execute(sql::PRELUDE)?;
        Ok(session)
    }

    /// Runs one statement and gives its rows.
    pub fn query(&mut self, statement: &str) -> Result<Vec<Row>, ClientError> {
        self.send(statement)?;
        self.answer()
    }

    /// Runs one statement that has no rows.
    pub fn execute(&mut self, statement: &str) -> Result<(), ClientError> {
        self.query(statement).map(drop)
    }

    /// The single value that the statement gives; `None` if it has no row.
    pub fn value(&mut self, statement: &str) -> Result<Option<String>, ClientError> {
        Ok(self
            .query(statement)?
            .into_iter()
            .next()
            .and_then(|row| row.into_iter().next()))
    }

    /// Runs everything in `script`, as it is; gives the number of bytes.
    pub fn feed(&mut self, mut script: impl Read) -> Result<u64, FeedError> {
        let mut buffer = vec![0; 64 * 1024];
        let mut fed = 0;
        loop {
            let length = script.read(&mut buffer).map_err(FeedError::Read)?;
            if length == 0 {
                break;
            }
            let input = self.input().map_err(FeedError::Client)?;
            if input.write_all(&buffer[..length]).is_err() {
                return Err(FeedError::Client(self.ended()));
            }
            fed += length as u64;
        }
        self.send("\n").map_err(FeedError::Client)?;
        self.answer().map_err(FeedError::Client)?;
        Ok(fed)
    }

    fn send(&mut self, statement: &str) -> Result<(), ClientError> {
        self.asked += 1;
        let text = if statement.trim().is_empty() {
            format!("\nSELECT '{}';\n", self.marker())
        } else {
            format!("{statement};\nSELECT '{}';\n", self.marker())
        };
        let input = self.input()?;
        let sent = input
            .write_all(text.as_bytes())
            .and_then(|()| input.flush());
        // A write fails only when the client has gone: what it said last is the cause.
        sent.map_err(|_| self.ended())
    }

    fn input(&mut self) -> Result<&mut ChildStdin, ClientError> {
        let ended = || ClientError::Ended("with an error before this".to_owned());
        self.input.as_mut().ok_or_else(ended)
    }

    fn marker(&self) -> String {
        format!("otus-answer-ends-{}", self.asked)
    }

    fn answer(&mut self) -> Result<Vec<Row>, ClientError> {
        let marker = self.marker();
        let mut rows = Vec::new();
        loop {
            match self.lines.recv_timeout(ANSWER_TIMEOUT) {
                Ok(line) if line == marker => return Ok(rows),
                Ok(line) => rows.push(line.split('\t').map(sql::unescape_batch).collect()),
                Err(RecvTimeoutError::Timeout) => return Err(ClientError::Silent),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(match self.ended() {
                        ClientError::Server { code, message } => caused(code, message, &rows),
                        error => error,
                    });
                }
            }
        }
    }

    /// Why the client has gone.
    fn ended(&mut self) -> ClientError {
        drop(self.input.take());
        let text = self
            .errors
            .take()
            .and_then(|errors| errors.join().ok())
            .unwrap_or_default();
        let status = self.child.wait();
        error_in(&text).unwrap_or_else(|| {
            let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            ClientError::Ended(format!("{status} {}", text.trim()))
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // End of input is how the client ends by itself; it then closes the connection properly.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// A script that did not run to its end.
#[derive(Debug)]
pub enum FeedError {
    /// The script itself could not be read.
    Read(io::Error),
    /// The server or the client stopped it.
    Client(ClientError),
}

/// All of a stream as text.
pub(crate) fn read_all(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What could be read before the error is all there is to tell.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Finds `ERROR 1045 (28000): …` (client) or `Got error: 1045: …` (dump) in what a program wrote.
pub(crate) fn error_in(text: &str) -> Option<ClientError> {
    text.lines().find_map(|line| {
        // The clients repeat a statement that failed, and there may be anything in its literals.
        let rest = line.strip_prefix("ERROR ").or_else(|| {
            let (before, rest) = line.split_once("rror: ")?;
            (!before.contains('\'')).then_some(rest)
        })?;
        let digits = rest
            .find(|character: char| !character.is_ascii_digit())
            .unwrap_or(rest.len());
        let code = rest[..digits].parse().ok()?;
        let message = rest.split_once(": ").map_or("", |(_, message)| message);
        Some(ClientError::Server {
            code,
            message: message.trim().to_owned(),
        })
    })
}

/// An error with what `--show-warnings` said before it: `Error (Code 1819): Your password does not …` is why,
/// and `Warning (Code 1819): …` says more of it.
fn caused(code: u32, message: String, warnings: &[Row]) -> ClientError {
    let told = |kind: &'static str| {
        warnings.iter().filter_map(move |row| {
            let rest = row.first()?.strip_prefix(kind)?.strip_prefix(" (Code ")?;
            let (code, text) = rest.split_once("): ")?;
            Some((code.parse::<u32>().ok()?, text.to_owned()))
        })
    };
    let Some((cause, why)) = told("Error").find(|(cause, _)| *cause != code) else {
        return ClientError::Server { code, message };
    };
    let more = told("Warning").filter(|(code, _)| *code == cause);
    let parts: Vec<String> = [message, why]
        .into_iter()
        .chain(more.map(|(_, text)| text))
        .collect();
    ClientError::Server {
        code: cause,
        message: parts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_looks_like_an_error_is_none() {
        let text = "--------------\nALTER USER a IDENTIFIED BY 'ERROR 7: my rror: 8: secret'\n--------------\n\n\
            ERROR 1396 (HY000) at line 3: Operation ALTER USER failed for 'a'\n";
        let error = error_in(text).unwrap().to_string();
        assert_eq!(error, "ERROR 1396: Operation ALTER USER failed for 'a'");
    }

    #[test]
    fn the_cause_of_an_error_is_what_the_warnings_before_it_say() {
        let rows = [
            "Warning (Code 1819): simple_password_check: Too short password (< 8)",
            "Error (Code 1819): Your password does not satisfy the current policy requirements",
        ]
        .map(|line| vec![line.to_owned()]);
        assert_eq!(
            caused(1396, "failed for 'a'".to_owned(), &rows).to_string(),
            "ERROR 1819: failed for 'a': Your password does not satisfy the current policy requirements: \
             simple_password_check: Too short password (< 8)"
        );
        let unchanged = caused(1396, "failed".to_owned(), &[]);
        assert_eq!(unchanged.to_string(), "ERROR 1396: failed");
    }

    #[test]
    fn an_error_of_the_server_is_found_among_warnings() {
        let text = "mysql: [Warning] something\nERROR 1045 (28000) at line 1: Access denied for user 'x'\n";
        let Some(ClientError::Server { code, message }) = error_in(text) else {
            panic!()
        };
        assert_eq!(
            (code, message.as_str()),
            (1045, "Access denied for user 'x'")
        );
        let dump = "mysqldump: Got error: 1049: Unknown database 'x' when selecting the database";
        assert!(matches!(
            error_in(dump),
            Some(ClientError::Server { code: 1049, .. })
        ));
        assert!(error_in("no error at all").is_none());
    }

    #[test]
    fn errors_fall_into_what_can_be_done_about_them() {
        let server = |code| ClientError::Server {
            code,
            message: String::new(),
        };
        assert!(server(1045).is_access_denied());
        assert!(server(2003).is_unreachable());
        assert!(!server(1064).is_access_denied() && !server(1064).is_unreachable());
    }

    #[test]
    fn options_are_read_from_the_help_text() {
        let options =
            long_options("  --column-statistics \n --set-gtid-purged[=name] \n -B, --batch  Do");
        assert!(options.contains("column-statistics"));
        assert!(options.contains("set-gtid-purged"));
        assert!(options.contains("batch"));
    }

    #[test]
    fn mariadbs_own_names_come_first() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["mysql", "mysqldump", "mariadb", "mariadb-dump"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let tools = Tools::find_in(directory.path().as_os_str()).unwrap();
        assert!(tools.client.ends_with("mariadb"));
        assert!(tools.dump.ends_with("mariadb-dump"));
        assert!(matches!(
            Tools::find_in(OsStr::new("/nowhere")),
            Err(ClientError::Missing(_))
        ));
    }
}
