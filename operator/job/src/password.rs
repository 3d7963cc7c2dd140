//! Root's password: all of root's accounts at once, verified from outside.
//!
//! Working as the operator's account, the flow needs to know no old password, and repeating it changes
//! nothing. [`roots`] has the statements.

mod roots;

use crate::arguments::{Job, Password};
use crate::client::{ClientError, Session};
use crate::fence;
use crate::report::{Failure, Success};
use crate::server::{self, Flavour, Server};
use crate::sql;

/// The server's password policy refused it (`ER_NOT_VALID_PASSWORD`).
const REJECTED: u32 = 1819;
/// It was used before, and may not be again (`ER_CREDENTIALS_CONTRADICT_TO_HISTORY`).
const USED_BEFORE: u32 = 3638;
/// What every MySQL since 8.0 knows.
const CURRENT_PLUGIN: &str = "caching_sha2_password";

/// The whole operation.
pub fn password(task: &Password) -> Result<Success, Failure> {
    let mut server = server::connect(&task.job)?;
    // A fence that a deletion which never finished has left would refuse the change.
    fence::lower_leftover(&mut server)
        .map_err(|error| server::unavailable(&task.job, &error.full_text()))?;
    let held = holds(&server, &task.job)?;
    apply(&mut server, &task.job)?;
    Ok(Success {
        reason: if held { "AlreadyHeld" } else { "Set" }.to_owned(),
        detail: "root's password holds for every host of root".to_owned(),
        server: Some(server.facts.text()),
        ..Success::default()
    })
}

/// Root has the wanted password already, as far as can be seen from outside.
fn holds(server: &Server, job: &Job) -> Result<bool, Failure> {
    let wanted = job.needed_credential("root-password")?;
    Ok(Session::open(&server.tools, &job.login("root", &wanted), &job.work).is_ok())
}

/// Sets the password and proves that it holds.
pub fn apply(server: &mut Server, job: &Job) -> Result<(), Failure> {
    let wanted = job.needed_credential("root-password")?;
    let failed = |error: &ClientError| not_set(job, error);
    let hosts = roots::hosts(&mut server.session).map_err(|error| failed(&error))?;
    if hosts.is_empty() {
        return Err(Failure::permanent(
            "RootAccountMissing",
            format!(
                "the server of {} has no account named root; make 'root'@'localhost' and 'root'@'%'",
                job.instance
            ),
        ));
    }
    match roots::set(server, job, &hosts, &wanted) {
        Ok(()) => {}
        // A history that lets no password be used twice refuses the one that is there. MySQL changes all
        // accounts or none, so that it holds for one says that it holds.
        Err(roots::SetError::Server(ClientError::Server {
            code: USED_BEFORE, ..
        })) if holds(server, job)? => server.connect_again(job)?,
        Err(roots::SetError::Server(error)) => return Err(failed(&error)),
        Err(roots::SetError::Unusable(error)) => {
            return Err(Failure::permanent("PasswordUnusable", error.to_string()));
        }
    }
    roots::discard_second_passwords(server).map_err(|error| failed(&error))?;
    if hosts.iter().any(|host| host == roots::ANYWHERE) {
        verify(server, job, &wanted)?;
    }
    Ok(())
}

/// Why the password was not set.
fn not_set(job: &Job, error: &ClientError) -> Failure {
    match error {
        ClientError::Server {
            code: REJECTED | USED_BEFORE,
            message,
        } => Failure::permanent(
            "PasswordRejected",
            format!(
                "the server's policy rejects the password: {message}; the earlier one stays valid; \
                 choose another one in spec.password"
            ),
        ),
        error if error.is_unreachable() => server::unavailable(job, &error.full_text()),
        error => Failure::retry(
            "PasswordNotApplied",
            format!(
                "root's password could not be set on {}, where the earlier one stays valid until it can: {}",
                job.host,
                error.full_text()
            ),
        ),
    }
}

/// Gives root and the operator a kind of password that later versions know: MySQL 8.4 does not let accounts in
/// that still have the one of 5.7, and 9.0 does not know it any more.
pub fn modernise(server: &mut Server, job: &Job) -> Result<(), Failure> {
    if server.facts.flavour != Flavour::MySql || server.facts.number() < (8, 0, 0) {
        return Ok(());
    }
    let failed = |error: &dyn std::fmt::Display| {
        Failure::retry(
            "AccountsNotConverted",
            format!(
                "root's and the operator's accounts on {} could not be prepared for the upgrade: {error}",
                job.host
            ),
        )
    };
    for (user, credential) in [
        (server.login.user.clone(), "operator-password"),
        ("root".to_owned(), "root-password"),
    ] {
        let password = job.needed_credential(credential)?;
        let literal = sql::literal(&password).map_err(|error| failed(&error))?;
        let name = sql::literal(&user).map_err(|error| failed(&error))?;
        let hosts = server
            .session
            .query(&format!(
                "SELECT Host FROM mysql.user WHERE User = {name} AND plugin <> '{CURRENT_PLUGIN}'"
            ))
            .map_err(|error| failed(&error.full_text()))?;
        for host in hosts.into_iter().flatten() {
            let account = sql::account(&user, &host).map_err(|error| failed(&error))?;
            server
                .session
                .execute(&format!(
                    "ALTER USER {account} IDENTIFIED WITH {CURRENT_PLUGIN} BY {literal}"
                ))
                .map_err(|error| failed(&error.full_text()))?;
        }
    }
    Ok(())
}

fn verify(server: &Server, job: &Job, wanted: &str) -> Result<(), Failure> {
    let open =
        |password: &str| Session::open(&server.tools, &job.login("root", password), &job.work);
    open(wanted).map_err(|error| {
        Failure::retry(
            "PasswordNotApplied",
            format!(
                "the new password was set and root cannot log in with it: {}",
                error.full_text()
            ),
        )
    })?;
    let previous = job.credential("previous-root-password");
    if let Some(previous) = previous.filter(|previous| previous != wanted) {
        match open(&previous) {
            Err(error) if error.is_access_denied() => {}
            Err(error) => return Err(server::unavailable(job, &error.full_text())),
            Ok(_) => {
                return Err(Failure::retry(
                    "OldPasswordStillValid",
                    format!(
                        "root can still log in to {} with the previous password",
                        job.host
                    ),
                ));
            }
        }
    }
    Ok(())
}
