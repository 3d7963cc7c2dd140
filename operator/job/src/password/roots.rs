//! The statements that give root's accounts their password.
//!
//! Since 8.0, MySQL changes all accounts of one `ALTER USER` or none. MariaDB and MySQL 5.7 change those that
//! come before the one that fails, and after it too. There the accounts are changed one by one, `'root'@'%'` last:
//! whatever ends the operation in the middle, clients and the Jobs that come after it, which are not on the
//! server's machine, log in with the earlier password until all other accounts have the new one. What a failure
//! means is decided by [`super`].

use crate::arguments::Job;
use crate::client::{ClientError, Session};
use crate::server::{Flavour, Server};
use crate::sql::{self, QuoteError};

use super::REJECTED;

/// The host of an account that lets in clients from other machines.
pub(super) const ANYWHERE: &str = "%";
/// Hosts of accounts that only let in who is on the server's machine.
const HERE: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// Why a password was not set.
#[derive(Debug)]
pub(super) enum SetError {
    /// The server did not take it, or is not there.
    Server(ClientError),
    /// No statement can have this text in it.
    Unusable(QuoteError),
}

impl From<ClientError> for SetError {
    fn from(error: ClientError) -> Self {
        Self::Server(error)
    }
}

impl From<QuoteError> for SetError {
    fn from(error: QuoteError) -> Self {
        Self::Unusable(error)
    }
}

/// The hosts of root's accounts.
pub(super) fn hosts(session: &mut Session) -> Result<Vec<String>, ClientError> {
    let rows = session.query("SELECT Host FROM mysql.user WHERE User = 'root' ORDER BY Host")?;
    Ok(rows.into_iter().flatten().collect())
}

/// Gives all of root's accounts the password.
pub(super) fn set(
    server: &mut Server,
    job: &Job,
    hosts: &[String],
    wanted: &str,
) -> Result<(), SetError> {
    let literal = sql::literal(wanted)?;
    if server.facts.flavour == Flavour::MySql && server.facts.number() >= (8, 0, 0) {
        let parts = hosts
            .iter()
            .map(|host| Ok(with_password(&sql::account("root", host)?, &literal)))
            .collect::<Result<Vec<_>, QuoteError>>()?;
        let statement = format!("ALTER USER {}", parts.join(", "));
        return Ok(server.session.execute(&statement)?);
    }
    for host in one_after_the_other(hosts) {
        let account = sql::account("root", host)?;
        let statement = format!("ALTER USER {}", with_password(&account, &literal));
        // An error ends a session, and the operation's lock is held by the first one.
        let mut session = Session::open_with(
            &server.tools,
            &server.login,
            &job.work,
            // MariaDB says in a warning why it refuses a password.
            &["--show-warnings"],
        )?;
        match session.execute(&statement) {
            Ok(()) => {}
            Err(ClientError::Server { code: REJECTED, .. }) if has(server, host, &literal)? => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn with_password(account: &str, literal: &str) -> String {
    format!("{account} IDENTIFIED BY {literal}")
}

/// Those for the server's own machine first, and last the one for everybody.
fn one_after_the_other(hosts: &[String]) -> Vec<&str> {
    let mut hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    hosts.sort_by_key(|host| (*host == ANYWHERE, !HERE.contains(host)));
    hosts
}

/// The account has the password already: a policy that lets none be used twice (MariaDB's
/// `password_reuse_check`) refuses it then, also to an attempt that goes on where another one ended.
fn has(server: &mut Server, host: &str, literal: &str) -> Result<bool, SetError> {
    if server.facts.flavour != Flavour::MariaDb || server.facts.number() < (10, 4, 0) {
        return Ok(false);
    }
    let host = sql::literal(host)?;
    let same = server.session.value(&format!(
        "SELECT COUNT(*) FROM mysql.global_priv WHERE User = 'root' AND Host = {host} \
         AND JSON_VALUE(Priv, '$.plugin') = 'mysql_native_password' \
         AND JSON_VALUE(Priv, '$.authentication_string') = PASSWORD({literal}) \
         AND COALESCE(JSON_VALUE(Priv, '$.password_last_changed'), 1) <> 0"
    ))?;
    Ok(same.as_deref() == Some("1"))
}

/// With a second password left valid, "the old password is refused" would not hold.
pub(super) fn discard_second_passwords(server: &mut Server) -> Result<(), ClientError> {
    if server.facts.flavour != Flavour::MySql || server.facts.number() < (8, 0, 14) {
        return Ok(());
    }
    let hosts = server.session.query(
        "SELECT Host FROM mysql.user WHERE User = 'root' \
         AND JSON_CONTAINS_PATH(User_attributes, 'one', '$.additional_password')",
    )?;
    for host in hosts.into_iter().flatten() {
        let account =
            sql::account("root", &host).map_err(|error| ClientError::Ended(error.to_string()))?;
        server
            .session
            .execute(&format!("ALTER USER {account} DISCARD OLD PASSWORD"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_for_everybody_is_changed_last() {
        let hosts = ["%", "10.%", "127.0.0.1", "::1", "localhost"].map(str::to_owned);
        assert_eq!(
            one_after_the_other(&hosts),
            ["127.0.0.1", "::1", "localhost", "10.%", "%"]
        );
    }
}
