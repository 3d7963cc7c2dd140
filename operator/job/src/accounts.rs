//! The accounts of people and programs, beside a dump: who they are and what they may do.
//!
//! Root and the operator's own account are not among them: their passwords come from the resource and
//! from the instance's Secret, and a restore must never bring older ones back. Without the others, views and
//! routines would come back with definers that do not exist, and applications could not log in. What a
//! server cannot take (the hash of a plugin it does not have) becomes a locked account and is told.

use serde::{Deserialize, Serialize};

use crate::arguments::Job;
use crate::client::{ClientError, Session};
use crate::server::{Flavour, Server};
use crate::sql;
use crate::survey::quoted;

/// Accounts that servers make for themselves.
const SERVERS_OWN: &str = "'root', '', 'mysql', 'mysql.sys', 'mysql.session', 'mysql.infoschema', 'mariadb.sys', 'PUBLIC'";

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// As SQL names it: `'app'@'%'`.
    pub name: String,
    /// The statement that makes it, with the hash of its password.
    pub create: String,
    /// The statements that give it its privileges.
    pub grants: Vec<String>,
}

/// All accounts but root's and the operator's.
pub fn collect(server: &mut Server) -> Result<Vec<Account>, ClientError> {
    let is_mysql = server.facts.flavour == Flavour::MySql;
    let number = server.facts.number();
    let own = quoted(&server.login.user)?;
    let session = &mut server.session;
    if is_mysql && number >= (8, 0, 17) {
        // The hashes of caching_sha2_password are bytes that no text can carry.
        session.execute("SET SESSION print_identified_with_as_hex = ON")?;
    }
    let role = if is_mysql { "'N'" } else { "is_role" };
    let rows = session.query(&format!(
        "SELECT User, Host, {role} FROM mysql.user \
         WHERE User NOT IN ({SERVERS_OWN}) AND User <> {own} ORDER BY User, Host"
    ))?;
    let mut accounts = Vec::new();
    for row in rows {
        let [user, host, role] = row.as_slice() else {
            continue;
        };
        let is_role = role == "Y";
        let name = if is_role {
            quoted(user)?
        } else {
            sql::account(user, host).map_err(|error| ClientError::Ended(error.to_string()))?
        };
        let create = if is_role {
            Some(format!("CREATE ROLE IF NOT EXISTS {name}"))
        } else {
            session
                .value(&format!("SHOW CREATE USER {name}"))?
                .and_then(|text| idempotent(&text))
        };
        let Some(create) = create else { continue };
        let grants = session.query(&format!("SHOW GRANTS FOR {name}"))?;
        accounts.push(Account {
            name,
            create,
            grants: grants.into_iter().flatten().collect(),
        });
    }
    Ok(accounts)
}

/// `CREATE USER IF NOT EXISTS …`: an account that is there keeps what it has.
fn idempotent(create: &str) -> Option<String> {
    let rest = create.strip_prefix("CREATE USER ")?;
    Some(format!("CREATE USER IF NOT EXISTS {rest}"))
}

/// Makes the accounts, before the dump names them as definers; gives those that had to be locked.
pub fn create(
    server: &Server,
    job: &Job,
    accounts: &[Account],
) -> Result<Vec<String>, ClientError> {
    let mut runner = Runner::new(server, job);
    let mut refused: Vec<&Account> = accounts.iter().collect();
    // An account may have a role that comes after it.
    for _ in 0..2 {
        let mut again = Vec::new();
        for account in refused {
            if !runner.run(&account.create)? {
                again.push(account);
            }
        }
        refused = again;
    }
    let mut locked = Vec::new();
    for Account { name, .. } in refused {
        runner.run(&format!("CREATE USER IF NOT EXISTS {name} ACCOUNT LOCK"))?;
        locked.push(name.clone());
    }
    Ok(locked)
}

/// Gives the accounts their privileges, once the tables are there; gives the statements that failed.
pub fn grant(server: &Server, job: &Job, accounts: &[Account]) -> Result<usize, ClientError> {
    let mut failed = 0;
    let mut runner = Runner::new(server, job);
    for statement in accounts.iter().flat_map(|account| &account.grants) {
        if !runner.run(statement)? {
            failed += 1;
        }
    }
    Ok(failed)
}

/// Runs statements one by one; the client program ends with the first error, so it is started again.
struct Runner<'a> {
    server: &'a Server,
    job: &'a Job,
    session: Option<Session>,
}

impl<'a> Runner<'a> {
    fn new(server: &'a Server, job: &'a Job) -> Self {
        Self {
            server,
            job,
            session: None,
        }
    }

    /// Whether the server took it.
    fn run(&mut self, statement: &str) -> Result<bool, ClientError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.server.another_session(self.job)?,
        };
        match session.execute(statement) {
            Ok(()) => {
                self.session = Some(session);
                Ok(true)
            }
            Err(error) if error.is_unreachable() => Err(error),
            Err(_) => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_is_there_is_not_made_again() {
        assert_eq!(
            idempotent("CREATE USER `a`@`%` IDENTIFIED WITH 'x' AS 0x00").as_deref(),
            Some("CREATE USER IF NOT EXISTS `a`@`%` IDENTIFIED WITH 'x' AS 0x00")
        );
        assert_eq!(idempotent("something else"), None);
    }
}
