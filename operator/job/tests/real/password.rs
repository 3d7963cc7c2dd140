//! Root's password on a real server.

use mysql_job::{password, restore};

use crate::server::Server;

/// Every one of these has broken some transport or some quoting somewhere.
const NASTY: [&str; 20] = [
    "otuspassword",
    "12345",
    "yes",
    "a #b",
    "$x",
    "it's",
    "do\"uble",
    "back\\slash",
    "semi;colon",
    " leading",
    "trailing ",
    "-pfoo",
    "per%cent",
    "new\nline",
    "tab\ttab",
    "cr\rcr",
    "`tick`",
    "пароль🔑",
    "Rick'; SELECT 'Astley';",
    "!a&b|c<d>e*",
];

#[test]
fn any_password_holds_and_the_one_before_is_refused() {
    let server = Server::start();
    restore::restore(&server.restore("r")).unwrap();
    let mut previous = "otuspassword".to_owned();
    for (number, wanted) in NASTY.iter().skip(1).enumerate() {
        server.credential("root-password", wanted);
        server.credential("previous-root-password", &previous);
        password::password(&server.password(&format!("password-{number}"))).unwrap();
        assert_eq!(
            server.sql_as("root", wanted, "SELECT 1").as_deref(),
            Ok("1"),
            "{wanted:?}"
        );
        assert!(
            server.sql_as("root", &previous, "SELECT 1").is_err(),
            "{previous:?} still opens"
        );
        previous = (*wanted).to_owned();
    }
}

#[test]
fn any_password_holds_under_no_backslash_escapes() {
    let server = Server::start_with(&["--sql-mode=NO_BACKSLASH_ESCAPES,ANSI_QUOTES"]);
    server.credential("root-password", r"a\\b'c");
    password::password(&server.password("p")).unwrap();
    assert_eq!(
        server.sql_as("root", r"a\\b'c", "SELECT 1").as_deref(),
        Ok("1")
    );
}

#[test]
fn localhost_gets_the_password_too() {
    let server = Server::start();
    password::password(&server.password("p")).unwrap();
    let same = server
        .sql("SELECT COUNT(*) FROM mysql.user WHERE user='root' AND authentication_string <> ''");
    assert_eq!(same, "2");
}

#[test]
fn repeating_changes_nothing() {
    let server = Server::start();
    for _ in 0..2 {
        password::password(&server.password("p")).unwrap();
    }
    assert_eq!(
        server.sql_as("root", "otuspassword", "SELECT 1").as_deref(),
        Ok("1")
    );
}

#[test]
fn a_dropped_operator_account_is_made_anew_by_root() {
    let server = Server::start();
    server.sql("DROP USER otus_operator@'%'");
    password::password(&server.password("p")).unwrap();
    assert_eq!(server.sql("SELECT 1"), "1");
}

#[test]
fn a_second_password_does_not_stay_valid() {
    let server = Server::start();
    server.sql("ALTER USER root@'%' IDENTIFIED BY 'second' RETAIN CURRENT PASSWORD");
    assert!(server.sql_as("root", "boot", "SELECT 1").is_ok());
    password::password(&server.password("p")).unwrap();
    for old in ["boot", "second"] {
        assert!(
            server.sql_as("root", old, "SELECT 1").is_err(),
            "{old} still opens"
        );
    }
}

#[test]
fn a_rejected_password_is_permanent_and_says_so() {
    let server = Server::start();
    server.sql("INSTALL COMPONENT 'file://component_validate_password'");
    server.credential("root-password", "short");
    let failure = password::password(&server.password("p")).unwrap_err();
    assert_eq!((failure.retry, failure.reason), (false, "PasswordRejected"));
}

#[test]
fn where_no_password_may_be_used_twice_the_one_that_holds_is_no_failure() {
    let server = Server::start();
    server.sql("SET GLOBAL password_history = 3");
    for id in ["p", "again"] {
        password::password(&server.password(id)).unwrap();
    }
    server.credential("root-password", "another");
    password::password(&server.password("another")).unwrap();
    server.credential("root-password", "otuspassword");
    let failure = password::password(&server.password("back")).unwrap_err();
    assert_eq!((failure.retry, failure.reason), (false, "PasswordRejected"));
    assert!(server.sql_as("root", "another", "SELECT 1").is_ok());
}
