//! The fence: from here on the server acknowledges no write of anybody.
//!
//! On MySQL this is `super_read_only`, kept over a restart where the server can (8.0 and later).
//! MariaDB lets root write under `read_only`, so there all other accounts are locked and their
//! connections ended. A fence that was raised for a backup that failed is lowered again: people must
//! be able to repair what made it fail.

use std::time::{Duration, Instant};

use crate::arguments::Job;
use crate::client::{ClientError, Session};
use crate::server::{Flavour, Server};
use crate::sql;

/// How long writes under way may take to end by themselves.
const COURTESY: Duration = Duration::from_secs(5);

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
        return Ok(());
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

fn lock_accounts(server: &mut Server, job: &Job) -> Result<Fence, ClientError> {
    let rows = server.session.query(
        "SELECT User, Host FROM mysql.global_priv \
         WHERE User <> SUBSTRING_INDEX(CURRENT_USER(), '@', 1) AND User NOT IN ('mariadb.sys', '') \
         AND NOT JSON_VALUE(Priv, '$.account_locked') <=> 'true' \
         AND NOT JSON_VALUE(Priv, '$.is_role') <=> 'true'",
    )?;
    let mut lower = Vec::new();
    for row in rows {
        let [user, host] = row.as_slice() else {
            continue;
        };
        let account =
            sql::account(user, host).map_err(|error| ClientError::Ended(error.to_string()))?;
        server
            .session
            .execute(&format!("ALTER USER {account} ACCOUNT LOCK"))?;
        lower.push(format!("ALTER USER {account} ACCOUNT UNLOCK"));
    }
    server.session.execute("SET GLOBAL event_scheduler = OFF")?;
    end_other_connections(server, job)?;
    Ok(Fence { lower })
}

/// Ends every client connection but those of the operator. One that ends by itself meanwhile is an error
/// to the server and none to us: the client program goes on after it.
fn end_other_connections(server: &Server, job: &Job) -> Result<(), ClientError> {
    let mut session = Session::open_with(&server.tools, &server.login, &job.work, &["--force"])?;
    for row in session.query("SHOW PROCESSLIST")? {
        let [id, user, ..] = row.as_slice() else {
            continue;
        };
        let of_the_server = ["system user", "event_scheduler"].contains(&user.as_str());
        if of_the_server || *user == server.login.user || !id.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        session.execute(&format!("KILL {id}"))?;
    }
    Ok(())
}
