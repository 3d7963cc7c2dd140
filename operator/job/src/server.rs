//! The server of an instance: waiting for it, what it is, and the account to work with.
//!
//! All flows work as the operator's own account. Should the server not know it (an instance of an
//! older operator, or somebody dropped it), root makes it anew if one of the passwords at hand opens
//! root. It changes nothing else.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::arguments::Job;
use crate::client::{ClientError, Session, Tools};
use crate::option_file::Login;
use crate::report::Failure;
use crate::sql::{self, QuoteError};

/// Often enough to lose no time, seldom enough to cost none.
const POLL: Duration = Duration::from_millis(50);
/// The name of the lock that keeps two operations apart on the server itself.
const OPERATION_LOCK: &str = "otus-operation";

/// Whose server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Flavour {
    /// Oracle's.
    #[serde(rename = "mysql")]
    MySql,
    /// MariaDB's.
    #[serde(rename = "mariadb")]
    MariaDb,
}

/// What a server says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Whose.
    pub flavour: Flavour,
    /// `SELECT VERSION()`
    pub version: String,
}

impl Facts {
    /// From the answer to `SELECT VERSION()`.
    pub fn from_version(version: &str) -> Self {
        let flavour = if version.to_ascii_lowercase().contains("mariadb") {
            Flavour::MariaDb
        } else {
            Flavour::MySql
        };
        Self {
            flavour,
            version: version.to_owned(),
        }
    }

    /// Major, minor, patch; zero where there is none.
    pub fn number(&self) -> (u32, u32, u32) {
        let mut parts = self
            .version
            .split(|character: char| !character.is_ascii_digit())
            .map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// For people: `mysql 9.7.4`.
    pub fn text(&self) -> String {
        let flavour = match self.flavour {
            Flavour::MySql => "mysql",
            Flavour::MariaDb => "mariadb",
        };
        format!("{flavour} {}", self.version)
    }
}

/// A connection as the operator's account.
#[derive(Debug)]
pub struct Server {
    /// The session; it holds the operation lock.
    pub session: Session,
    /// What the server is.
    pub facts: Facts,
    /// The programs that fit it.
    pub tools: Tools,
    /// How further sessions log in.
    pub login: Login,
}

/// Waits until the server answers and the operator's account is in.
pub fn connect(job: &Job) -> Result<Server, Failure> {
    let deadline = Instant::now() + job.patience;
    let tools = Tools::find()
        .map_err(|error| Failure::permanent("ClientProgramMissing", error.to_string()))?;
    let login = job.login(
        &job.needed_credential("operator-user")?,
        &job.needed_credential("operator-password")?,
    );
    wait_for_port(job, deadline)?;
    let mut session = loop {
        match Session::open(&tools, &login, &job.work) {
            Ok(session) => break session,
            Err(error) if error.is_unreachable() && Instant::now() < deadline => {
                thread::sleep(POLL);
            }
            Err(error) if error.is_access_denied() => {
                make_account(job, &tools, &login, &error)?;
            }
            Err(error) => return Err(unavailable(job, &error.full_text())),
        }
    };
    let facts = session
        .value("SELECT VERSION()")
        .map_err(|error| unavailable(job, &error.full_text()))?
        .map(|version| Facts::from_version(&version))
        .ok_or_else(|| unavailable(job, "SELECT VERSION() gave no row"))?;
    let mut server = Server {
        session,
        facts,
        tools,
        login,
    };
    server.take_lock(job)?;
    Ok(server)
}

impl Server {
    /// A second session of the same account.
    pub fn another_session(&self, job: &Job) -> Result<Session, ClientError> {
        Session::open(&self.tools, &self.login, &job.work)
    }

    /// Goes on after an error, which ends a session and with it the lock.
    pub fn connect_again(&mut self, job: &Job) -> Result<(), Failure> {
        self.session = self
            .another_session(job)
            .map_err(|error| unavailable(job, &error.full_text()))?;
        self.take_lock(job)
    }

    /// No two operations on one server, whatever started them.
    fn take_lock(&mut self, job: &Job) -> Result<(), Failure> {
        let taken = self
            .session
            .value(&format!("SELECT GET_LOCK('{OPERATION_LOCK}', 30)"))
            .map_err(|error| unavailable(job, &error.full_text()))?;
        if taken.as_deref() == Some("1") {
            return Ok(());
        }
        Err(Failure::retry(
            "AnotherOperation",
            format!(
                "another operation on {} still holds the lock {OPERATION_LOCK:?} on the server",
                job.instance
            ),
        ))
    }
}

/// The statements that make, or repair, the operator's account. The operator puts the same ones into
/// the image's initialisation directory.
pub fn account_statements(user: &str, password: &str) -> Result<Vec<String>, QuoteError> {
    let account = sql::account(user, "%")?;
    let password = sql::literal(password)?;
    Ok(vec![
        format!("CREATE USER IF NOT EXISTS {account} IDENTIFIED BY {password}"),
        format!("ALTER USER {account} IDENTIFIED BY {password}"),
        format!("GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION"),
    ])
}

fn wait_for_port(job: &Job, deadline: Instant) -> Result<(), Failure> {
    loop {
        let last = match (job.host.as_str(), job.port).to_socket_addrs() {
            Ok(addresses) => {
                let mut last = "the name has no address".to_owned();
                for address in addresses {
                    match TcpStream::connect_timeout(&address, Duration::from_secs(2)) {
                        Ok(_) => return Ok(()),
                        Err(error) => last = format!("{address}: {error}"),
                    }
                }
                last
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(unavailable(job, &last));
        }
        thread::sleep(POLL);
    }
}

/// Lets root make the account that `denied` says is not there.
fn make_account(
    job: &Job,
    tools: &Tools,
    login: &Login,
    denied: &ClientError,
) -> Result<(), Failure> {
    let statements = account_statements(&login.user, &login.password)
        .map_err(|error| Failure::permanent("CredentialsUnusable", error.to_string()))?;
    for name in [
        "root-password",
        "previous-root-password",
        "bootstrap-password",
    ] {
        let Some(password) = job.credential(name) else {
            continue;
        };
        let Ok(mut root) = Session::open(tools, &job.login("root", &password), &job.work) else {
            continue;
        };
        for statement in &statements {
            root.execute(statement).map_err(|error| {
                Failure::retry(
                    "OperatorAccountMissing",
                    format!(
                        "root cannot make the operator's account on {}: {}",
                        job.host,
                        error.full_text()
                    ),
                )
            })?;
        }
        return Ok(());
    }
    Err(Failure::retry(
        "AdminAccessLost",
        format!(
            "neither the operator's account nor root with a known password can log in to {}: {}; \
             set spec.password to root's password on the server, or make the account {:?} by hand \
             with the password in the instance's Secret",
            job.host,
            denied.full_text(),
            login.user
        ),
    ))
}

/// The failure of a server that is not there.
pub(crate) fn unavailable(job: &Job, cause: &str) -> Failure {
    Failure::retry(
        "ServerUnavailable",
        format!(
            "the server of {} at {}:{} does not answer: {cause}",
            job.instance, job.host, job.port
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavour_and_number_come_from_the_server_itself() {
        let mysql = Facts::from_version("9.7.4-2");
        assert_eq!((mysql.flavour, mysql.number()), (Flavour::MySql, (9, 7, 4)));
        let mariadb = Facts::from_version("10.11.19-MariaDB-deb12");
        assert_eq!(
            (mariadb.flavour, mariadb.number()),
            (Flavour::MariaDb, (10, 11, 19))
        );
    }

    #[test]
    fn the_account_is_made_idempotently_and_quoted() {
        let statements = account_statements("o'p", "p\\w").unwrap();
        assert_eq!(
            statements[0],
            r"CREATE USER IF NOT EXISTS 'o''p'@'%' IDENTIFIED BY 'p\\w'"
        );
    }
}
