//! The fence: from here on the server acknowledges no write of anybody.
//!
//! On MySQL this is `super_read_only`, kept over a restart where the server can (8.0 and later).
//! MariaDB lets root write under `read_only`, so there all other accounts are locked and their
//! connections ended. A fence that was raised for a backup that failed is lowered again: people must
//! be able to repair what made it fail.

use std::thread;
use std::time::{Duration, Instant};

use crate::accounts::Account;
use crate::arguments::Job;
use crate::client::{ClientError, Session};
use crate::server::{Flavour, Server};
use crate::sql;
use crate::survey;

/// How long writes under way may take to end by themselves.
const COURTESY: Duration = Duration::from_secs(5);

/// On MariaDB, the database in which a fence writes down what it locks.
const LOCKED: &str = "_otus_fence";

/// A raised fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    lower: Vec<String>,
}

/// Raises the fence. When this returns, every acknowledged write is visible to a dump begun now, and no
/// further one is acknowledged.
pub fn raise(server: &mut Server, job: &Job) -> Result<Fence, ClientError> {
    match server.facts.flavour {
        Flavour::MySql => super_read_only(server, job),
        Flavour::MariaDb => lock_accounts(server, job),
    }
}

impl Fence {
    /// Lowers it.
    pub fn lower(&self, session: &mut Session) -> Result<(), ClientError> {
        self.lower
            .iter()
            .try_for_each(|statement| session.execute(statement))
    }
}

/// Lowers a fence that an earlier operation left; harmless where there is none.
pub fn lower_leftover(server: &mut Server) -> Result<(), ClientError> {
    if server.facts.flavour == Flavour::MariaDb {
        if locked(&mut server.session)?.is_empty() {
            return Ok(());
        }
        return unlocking(&mut server.session)?
            .iter()
            .try_for_each(|statement| server.session.execute(statement));
    }
    let raised = server.session.value("SELECT @@GLOBAL.super_read_only")?;
    if raised.as_deref() != Some("1") {
        return Ok(());
    }
    lowering(&server.facts.number())
        .iter()
        .try_for_each(|statement| server.session.execute(statement))
}

fn super_read_only(server: &mut Server, job: &Job) -> Result<Fence, ClientError> {
    let number = server.facts.number();
    let scope = if number >= (8, 0, 0) {
        "PERSIST"
    } else {
        "GLOBAL"
    };
    let fence = Fence {
        lower: lowering(&number),
    };
    // The statement waits for locks of others; it runs in a session of its own, which an error ends.
    let deadline = Instant::now() + COURTESY * 6;
    loop {
        let mut session = server.another_session(job)?;
        session.execute(&format!(
            "SET SESSION lock_wait_timeout = {}",
            COURTESY.as_secs()
        ))?;
        match session.execute(&format!("SET {scope} super_read_only = ON")) {
            Ok(()) => return Ok(fence),
            // Somebody holds locks for longer than courtesy lasts.
            Err(ClientError::Server { code: 1205, .. }) if Instant::now() < deadline => {
                end_other_connections(server, job)?;
            }
            Err(error) => return Err(error),
        }
    }
}

fn lowering(number: &(u32, u32, u32)) -> Vec<String> {
    let mut statements = vec![
        "SET GLOBAL super_read_only = OFF".to_owned(),
        "SET GLOBAL read_only = OFF".to_owned(),
    ];
    if *number >= (8, 0, 0) {
        statements.push("RESET PERSIST IF EXISTS super_read_only".to_owned());
        statements.push("RESET PERSIST IF EXISTS read_only".to_owned());
    }
    statements
}

/// The accounts are written down on the server before they are locked: whoever comes after a crash can tell
/// them from those that people have locked.
fn lock_accounts(server: &mut Server, job: &Job) -> Result<Fence, ClientError> {
    let session = &mut server.session;
    session.execute(&format!("CREATE DATABASE IF NOT EXISTS {LOCKED}"))?;
    session.execute(&format!(
        "CREATE TABLE IF NOT EXISTS {LOCKED}.accounts (name TEXT NOT NULL)"
    ))?;
    let rows = session.query(
        "SELECT User, Host FROM mysql.global_priv \
         WHERE User <> SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND User NOT IN ('mariadb.sys', '') \
         AND NOT JSON_VALUE(Priv, '$.account_locked') <=> 'true' \
         AND NOT JSON_VALUE(Priv, '$.is_role') <=> 'true'",
    )?;
    for row in rows {
        let [user, host] = row.as_slice() else {
            continue;
        };
        let account =
            sql::account(user, host).map_err(|error| ClientError::Ended(error.to_string()))?;
        let name = survey::quoted(&account)?;
        session.execute(&format!("INSERT INTO {LOCKED}.accounts VALUES ({name})"))?;
        session.execute(&format!("ALTER USER {account} ACCOUNT LOCK"))?;
    }
    session.execute("SET GLOBAL event_scheduler = OFF")?;
    let lower = unlocking(session)?;
    let deadline = Instant::now() + COURTESY * 6;
    // A statement under way may still be acknowledged; only when its connection is gone it cannot.
    while end_other_connections(server, job)? > 0 {
        if Instant::now() > deadline {
            return Err(ClientError::Ended(
                "connections that were killed do not go".to_owned(),
            ));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(Fence { lower })
}

/// What undoes [`lock_accounts`], whoever did it.
fn unlocking(session: &mut Session) -> Result<Vec<String>, ClientError> {
    let names = locked(session)?;
    let mut statements: Vec<String> = names
        .iter()
        .map(|name| format!("ALTER USER IF EXISTS {name} ACCOUNT UNLOCK"))
        .collect();
    statements.push(format!("DROP DATABASE IF EXISTS {LOCKED}"));
    Ok(statements)
}

/// The accounts that a fence has locked; none where no fence is.
fn locked(session: &mut Session) -> Result<Vec<String>, ClientError> {
    let there = session.value(&format!(
        "SELECT COUNT(*) FROM information_schema.tables \
         WHERE table_schema = '{LOCKED}' AND table_name = 'accounts'"
    ))?;
    if there.as_deref() != Some("1") {
        return Ok(Vec::new());
    }
    let rows = session.query(&format!("SELECT DISTINCT name FROM {LOCKED}.accounts"))?;
    Ok(rows.into_iter().flatten().collect())
}

/// The accounts as they were before a fence of an earlier attempt locked them.
pub fn as_before(server: &mut Server, accounts: Vec<Account>) -> Result<Vec<Account>, ClientError> {
    if server.facts.flavour == Flavour::MySql {
        return Ok(accounts);
    }
    let ours = locked(&mut server.session)?;
    let unlock = |mut account: Account| {
        if ours.contains(&account.name) {
            account.create = account.create.replace(" ACCOUNT LOCK", "");
        }
        account
    };
    Ok(accounts.into_iter().map(unlock).collect())
}

/// Ends every client connection but those of the operator, and tells how many there were. One that ends by
/// itself meanwhile is an error to the server and none to us: the client program goes on after it.
fn end_other_connections(server: &Server, job: &Job) -> Result<usize, ClientError> {
    let mut session = Session::open_with(&server.tools, &server.login, &job.work, &["--force"])?;
    let mut ended = 0;
    for row in session.query("SHOW PROCESSLIST")? {
        let [id, user, ..] = row.as_slice() else {
            continue;
        };
        let of_the_server = ["system user", "event_scheduler"].contains(&user.as_str());
        if of_the_server || *user == server.login.user || !id.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        session.execute(&format!("KILL {id}"))?;
        ended += 1;
    }
    Ok(ended)
}
