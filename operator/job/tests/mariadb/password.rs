//! Root's password on MariaDB, which changes accounts one by one: whatever ends the operation in the middle, the
//! earlier password opens the server from other machines, and the next attempt ends with one password everywhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use mysql_job::arguments::Password;
use mysql_job::password::password;
use mysql_job::report::Failure;

use crate::server::Server;

const OLD: &str = "otuspassword";
const NEW: &str = r"n'e\w ERROR 7: it";

/// The accounts of root for other machines, for one other machine, and for the server's own.
const ACCOUNTS: [&str; 3] = ["%", "10.1.2.3", "localhost"];

/// A server whose root has [`OLD`] everywhere and shall get [`NEW`].
fn with_a_new_password_to_set() -> Server {
    let server = Server::start();
    password(&server.password("password-1")).unwrap();
    assert_eq!(hosts_with(&server, OLD), ACCOUNTS);
    server.credential("root-password", NEW);
    server.credential("previous-root-password", OLD);
    server
}

/// The hosts of root's accounts that have this password.
fn hosts_with(server: &Server, password: &str) -> Vec<String> {
    let literal = mysql_job::sql::literal(password).unwrap();
    let hosts = server.sql(&format!(
        "SET SESSION sql_mode = ''; SELECT Host FROM mysql.user \
         WHERE User = 'root' AND authentication_string = PASSWORD({literal}) ORDER BY Host"
    ));
    hosts.lines().map(str::to_owned).collect()
}

fn opens(server: &Server, password: &str) -> bool {
    server.sql_as("root", password, "SELECT 1").is_ok()
}

/// At most a moment is waited for a server that was killed.
fn attempt(server: &Server, id: &str) -> Result<(), Failure> {
    let mut task: Password = server.password(id);
    task.job.patience = Duration::from_secs(1);
    password(&task).map(drop)
}

/// When the first client program is about to change the account of this host, `fault` happens, once.
fn at_the_change_of(server: &Server, host: &str, fault: &str) {
    let file = server.path("work").join("fault");
    let directory = server.path("");
    let directory = directory.display();
    let script = format!(
        r#"#!/bin/sh
# What the client program reads goes through here; its output does not.
pipe=$(mktemp -u {directory}/pipe.XXXXXX)
mkfifo "$pipe"
exec 3<&0
(
    while IFS= read -r line; do
        case $line in
        "ALTER USER 'root'@'{host}'"*) rm -f {file}; {fault} ;;
        esac
        printf '%s\n' "$line"
    done
) <&3 >"$pipe" 2>/dev/null &
exec 3<&-
exec "$@" <"$pipe"
"#,
        file = file.display()
    );
    fs::write(&file, script).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_server_that_dies_between_two_accounts_of_root_locks_nobody_out() {
    for host in ACCOUNTS {
        let mut server = with_a_new_password_to_set();
        let kill = format!("kill -9 $(cat {})", server.path("pid").display());
        at_the_change_of(&server, host, &kill);
        let failure = attempt(&server, "password-2").unwrap_err();
        assert!(failure.retry, "{failure:?}");
        assert!(!server.path("work").join("fault").exists(), "{failure:?}");

        server.start_again();
        assert!(opens(&server, OLD), "{host}: {failure:?}");
        assert!(hosts_with(&server, OLD).contains(&"%".to_owned()), "{host}");

        attempt(&server, "password-2").unwrap();
        assert_eq!(hosts_with(&server, NEW), ACCOUNTS, "{host}");
        assert!(opens(&server, NEW) && !opens(&server, OLD), "{host}");
    }
}

#[test]
fn an_attempt_that_dies_between_two_accounts_of_root_is_ended_by_the_next_one() {
    for host in ACCOUNTS {
        let server = with_a_new_password_to_set();
        // The program's end is its client's end.
        at_the_change_of(&server, host, "exit");
        let failure = attempt(&server, "password-2").unwrap_err();
        assert!(failure.retry, "{failure:?}");
        assert!(opens(&server, OLD), "{host}: {failure:?}");

        attempt(&server, "password-2").unwrap();
        assert_eq!(hosts_with(&server, NEW), ACCOUNTS, "{host}");
        assert!(opens(&server, NEW) && !opens(&server, OLD), "{host}");
    }
}

#[test]
fn people_who_change_their_mind_half_way_get_the_earlier_password_back() {
    let server = with_a_new_password_to_set();
    at_the_change_of(&server, "%", "exit");
    attempt(&server, "password-2").unwrap_err();
    assert_eq!(hosts_with(&server, NEW), ["10.1.2.3", "localhost"]);
    server.credential("root-password", OLD);
    server.credential("previous-root-password", NEW);
    attempt(&server, "password-3").unwrap();
    assert_eq!(hosts_with(&server, OLD), ACCOUNTS);
    assert!(opens(&server, OLD));
}

/// An account that is in the table, and that the server has not read from there.
#[test]
fn an_account_of_root_that_cannot_be_changed_is_named_and_the_earlier_password_holds() {
    let server = with_a_new_password_to_set();
    server.sql(
        "INSERT INTO mysql.global_priv SELECT '10.5.5.5', User, Priv FROM mysql.global_priv \
         WHERE User = 'root' AND Host = '%'",
    );
    let failure = attempt(&server, "password-2").unwrap_err();
    assert_eq!(
        (failure.retry, failure.reason),
        (true, "PasswordNotApplied")
    );
    assert!(failure.detail.contains("'root'@'10.5.5.5'"), "{failure:?}");
    assert!(opens(&server, OLD) && !opens(&server, NEW));

    server.sql("FLUSH PRIVILEGES");
    attempt(&server, "password-2").unwrap();
    assert_eq!(
        hosts_with(&server, NEW),
        ["%", "10.1.2.3", "10.5.5.5", "localhost"]
    );
    assert!(opens(&server, NEW) && !opens(&server, OLD));
}

#[test]
fn where_no_password_may_be_used_twice_an_attempt_goes_on_where_another_one_ended() {
    let server = with_a_new_password_to_set();
    server.sql("INSTALL SONAME 'password_reuse_check'");
    at_the_change_of(&server, "%", "exit");
    attempt(&server, "password-2").unwrap_err();
    attempt(&server, "password-2").unwrap();
    assert_eq!(hosts_with(&server, NEW), ACCOUNTS);
    // And so does the check that looks every few hours whether it holds still.
    attempt(&server, "password-2").unwrap();

    server.credential("previous-root-password", NEW);
    for wanted in ["another", NEW] {
        server.credential("root-password", wanted);
        let outcome = attempt(&server, "password-3");
        server.credential("previous-root-password", wanted);
        assert_eq!(outcome.is_ok(), wanted != NEW, "{outcome:?}");
        if let Err(failure) = outcome {
            assert_eq!((failure.retry, failure.reason), (false, "PasswordRejected"));
            assert!(opens(&server, "another") && !opens(&server, NEW));
        }
    }
}

#[test]
fn a_rejected_password_is_permanent_and_says_what_is_missing() {
    let server = with_a_new_password_to_set();
    server.sql("INSTALL SONAME 'simple_password_check'");
    server.credential("root-password", "Short1");
    let failure = attempt(&server, "password-2").unwrap_err();
    assert_eq!((failure.retry, failure.reason), (false, "PasswordRejected"));
    assert!(failure.detail.contains("Too short password"), "{failure:?}");
    assert!(!failure.detail.contains("Short1"), "{failure:?}");
    assert_eq!(hosts_with(&server, OLD), ACCOUNTS);
}
