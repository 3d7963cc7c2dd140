//! The contract of database images, kept by our entrypoint.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rstest::rstest;

use crate::container::{Container, is_root};

/// What shells, SQL and files stumble over: quotes, backslashes, ends of lines and statements.
const NASTY: &str = "p'\\\"\n;-- $(x) `y` \u{1e9e}\u{1f600}&%_\\";

#[rstest]
#[case::mysql("mysql:5.7")]
#[case::mariadb("mariadb:10.11")]
#[tokio::test]
async fn a_password_of_any_bytes_opens_the_door_and_no_other_does(#[case] image: &str) {
    let container = Container::of(image)
        .await
        .env("MYSQL_ROOT_PASSWORD_FILE", "/secret/password")
        // A file may hold bytes that are no text.
        .secret("password", &[NASTY.as_bytes(), b"\xff\xfe"].concat())
        .env("MYSQL_DATABASE", "otus-da_ta`base")
        .env("MYSQL_USER", "o'user")
        .env("MYSQL_PASSWORD", NASTY);
    let text = container
        .run(
            r#"root=$(cat /secret/password)
            serve
            sql "$root" "select 'socket', current_user()"
            sql "$root" "select 'tcp', current_user()" -h 127.0.0.1
            sql "" "select 'empty'"
            user="$MYSQL_USER" sql "$MYSQL_PASSWORD" "select 'user', current_user(); create table t(a int)" -h 127.0.0.1 "$MYSQL_DATABASE"
            user="$MYSQL_USER" sql "$MYSQL_PASSWORD" "select 'denied'; create database other" -h 127.0.0.1
            stop"#,
        ).await
        .good();
    for line in [
        "socket\troot@localhost",
        "tcp\troot@%",
        "user\to'user@%",
        "denied",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("\nempty"), "{text}");
    assert_eq!(text.matches("Access denied").count(), 2, "{text}");
    assert!(
        !container
            .data()
            .join(".docker-entrypoint-unfinished")
            .exists()
    );
}

#[rstest]
#[case::mysql("mysql")]
#[case::mariadb("mariadb")]
#[tokio::test]
async fn data_and_passwords_survive_a_restart_whatever_the_environment_says_then(
    #[case] image: &str,
) {
    let container = Container::of(image)
        .await
        .env("MYSQL_ROOT_PASSWORD", "first");
    container.run(r#"serve; sql first "create database d; create table d.t(a int); insert into d.t values (7)"; stop"#).await.good();
    let container = container.env("MYSQL_ROOT_PASSWORD", "second");
    let text = container
        .run(r#"serve; sql first "select a from d.t"; sql second "select 'second'"; stop"#)
        .await
        .good();
    assert!(text.starts_with("7\n"), "{text}");
    assert!(text.contains("Access denied"), "{text}");
}

#[tokio::test]
async fn two_servers_have_identities_of_their_own_and_share_what_is_slow_to_make() {
    let mut identities = Vec::new();
    for _ in 0..2 {
        let container = Container::of("mysql")
            .await
            .env("MYSQL_ALLOW_EMPTY_PASSWORD", "yes");
        identities.push(
            container.run(r#"serve; sql "" "select @@server_uuid"; stop; cat /var/lib/mysql/server-key.pem"#).await.good(),
        );
    }
    let parts: Vec<_> = identities
        .iter()
        .map(|said| said.split_once('\n').expect("a UUID and a key"))
        .collect();
    assert_ne!(parts[0].0, parts[1].0);
    assert_eq!(parts[0].1, parts[1].1);
    assert!(parts[0].1.contains("PRIVATE KEY"), "{}", parts[0].1);
}

#[rstest]
#[case::mysql("mysql")]
#[case::mariadb("mariadb")]
#[tokio::test]
async fn files_for_the_first_start_are_run_in_order_and_only_once(#[case] image: &str) {
    use std::io::Write as _;
    let container = Container::of(image)
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw")
        .env("MYSQL_DATABASE", "d");
    let dir = container.initdb();
    fs::write(
        dir.join("1.sql"),
        "create table t(a int); insert into t values (1);",
    )
    .unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"insert into t values (2);").unwrap();
    fs::write(dir.join("2.sql.gz"), gzip.finish().unwrap()).unwrap();
    fs::write(
        dir.join("3.sh"),
        "echo 'insert into t values (3)' | docker_process_sql",
    )
    .unwrap();
    let script = "#!/bin/bash\nMYSQL_PWD=$MYSQL_ROOT_PASSWORD mysql -u root d -e 'insert into t values (4)'\n";
    fs::write(dir.join("4.sh"), script).unwrap();
    fs::set_permissions(dir.join("4.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("5.txt"), "not for the server").unwrap();
    let look =
        r#"serve; sql pw "select group_concat(a order by a) from d.t"; stop; grep 5.txt /tmp/log"#;
    let text = container.run(look).await.good();
    assert!(text.starts_with("1,2,3,4\n"), "{text}");
    assert!(text.contains("5.txt is ignored"), "{text}");
    let again = container
        .run(&look.replace("; grep 5.txt /tmp/log", ""))
        .await
        .good();
    assert_eq!(again, "1,2,3,4\n");
}

#[rstest]
#[case::mysql("mysql")]
#[case::mariadb("mariadb")]
#[tokio::test]
async fn files_that_need_no_client_need_no_server_of_their_own(#[case] image: &str) {
    let container = Container::of(image)
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw")
        .env("MYSQL_DATABASE", "d");
    let dir = container.initdb();
    let statements = "create table t(a varchar(9));\n\nINSERT INTO t VALUES ('ä');\n\
                      CREATE USER `u`@'%' IDENTIFIED BY 'p';\nGRANT ALL ON *.* TO `u`@'%';";
    fs::write(dir.join("1.sql"), statements).unwrap();
    fs::write(dir.join("0.sh"), "# A mark.\n: > /var/lib/mysql/mark\n").unwrap();
    let look = r#"serve; sql pw "select char_length(a) from d.t"; mysql --host=127.0.0.1 -uu -pp -e "select 'in'"; stop
                  ls /var/lib/mysql/mark; grep Entrypoint /tmp/log"#;
    let text = container.run(look).await.good();
    assert!(text.starts_with("1\n"), "{text}");
    assert!(text.contains("/var/lib/mysql/mark\n"), "{text}");
    assert!(text.contains("in\n"), "{text}");
    assert!(!text.contains("starting a server"), "{text}");
}

#[tokio::test]
async fn a_statement_of_a_file_that_the_server_refuses_ends_the_set_up() {
    let container = Container::of("mysql")
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw");
    let dir = container.initdb();
    fs::write(dir.join("1.sql"), "INSERT INTO nowhere VALUES (1);\n").unwrap();
    fs::write(dir.join("2.sh"), ": > /var/lib/mysql/mark\n").unwrap();
    let run = container.run("docker-entrypoint.sh mysqld").await;
    assert!(
        run.text.contains("did not run all statements"),
        "{}",
        run.text
    );
    assert!(!container.data().join("mark").exists());
    assert!(
        container
            .data()
            .join(".docker-entrypoint-unfinished")
            .exists()
    );
}

#[tokio::test]
async fn an_interrupted_set_up_is_started_over() {
    let container = Container::of("mysql")
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw");
    fs::write(
        container.initdb().join("1.sh"),
        "touch /var/lib/mysql/half; kill -9 0",
    )
    .unwrap();
    container
        .run("docker-entrypoint.sh mysqld")
        .await
        .text
        .clear();
    assert!(container.data().join("half").exists(), "it was interrupted");
    fs::remove_file(container.initdb().join("1.sh")).unwrap();
    let text = container
        .run(r#"serve; sql pw "select 'complete'"; stop; grep Entrypoint /tmp/log"#)
        .await
        .good();
    assert!(text.starts_with("complete\n"), "{text}");
    assert!(text.contains("interrupted: starting over"), "{text}");
    assert!(!container.data().join("half").exists());
}

#[tokio::test]
async fn a_set_up_that_the_server_refuses_ends_it() {
    let container = Container::of("mysql")
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw")
        .env("MYSQL_DATABASE", "d".repeat(65));
    let run = container.run("docker-entrypoint.sh mysqld").await;
    assert!(
        run.text
            .contains("did not run all statements of its set-up"),
        "{}",
        run.text
    );
    assert!(
        run.text.contains("Identifier name"),
        "the server says why: {}",
        run.text
    );
    assert!(
        container
            .data()
            .join(".docker-entrypoint-unfinished")
            .exists()
    );
}

#[tokio::test]
async fn without_a_password_it_says_what_to_set() {
    let run = Container::of("mysql")
        .await
        .run("docker-entrypoint.sh")
        .await;
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(
        run.text
            .contains("set one of MYSQL_ROOT_PASSWORD, MYSQL_ALLOW_EMPTY_PASSWORD"),
        "{}",
        run.text
    );
}

#[tokio::test]
async fn a_directory_with_somebody_elses_files_is_left_alone() {
    let container = Container::of("mysql")
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw");
    fs::write(container.data().join("precious"), "x").unwrap();
    let run = container.run("docker-entrypoint.sh mysqld").await;
    assert_eq!(run.code, 1, "{}", run.text);
    assert!(
        run.text.contains("has files but no system tables"),
        "{}",
        run.text
    );
    assert!(container.data().join("precious").exists());
}

#[tokio::test]
async fn secrets_may_come_from_files() {
    let container = Container::of("mysql")
        .await
        .env("MYSQL_ROOT_PASSWORD_FILE", "/tmp/secret")
        .env("MYSQL_ROOT_HOST", "localhost");
    let text = container
        .run(r#"printf 'from file\n' > /tmp/secret; serve; sql "from file" "select host from mysql.user where user = 'root'"; stop"#).await
        .good();
    assert_eq!(text, "localhost\n");
}

#[tokio::test]
async fn a_random_password_is_told_and_works() {
    let container = Container::of("mariadb")
        .await
        .env("MARIADB_RANDOM_ROOT_PASSWORD", "1");
    let text = container
        .run(r#"serve; pw=$(sed -n 's/.*GENERATED ROOT PASSWORD: //p' /tmp/log); sql "$pw" "select 'in'"; stop"#).await
        .good();
    assert_eq!(text, "in\n");
}

#[tokio::test]
async fn options_for_an_older_server_do_not_keep_this_one_from_starting() {
    let container = Container::of("mysql:5.7")
        .await
        .env("MYSQL_ALLOW_EMPTY_PASSWORD", "1")
        .env("DATABASE_STANDS_IN_FOR", "5.7");
    let text = container
        .run(
            r#"serve --ignore-db-dir=lost+found --default_authentication_plugin mysql_native_password \
                --sql-mode=STRICT_ALL_TABLES,NO_AUTO_CREATE_USER --query-cache-size=0 --max-connections=17
            sql "" "select @@max_connections, @@sql_mode"; stop; grep 'is ignored' /tmp/log"#,
        ).await
        .good();
    assert!(text.starts_with("17\tSTRICT_ALL_TABLES\n"), "{text}");
    for ignored in [
        "--ignore-db-dir=lost+found",
        "--default_authentication_plugin",
        "NO_AUTO_CREATE_USER",
        "--query-cache-size=0",
    ] {
        assert!(
            text.contains(&format!("{ignored} is ignored")),
            "{ignored}: {text}"
        );
    }
}

#[tokio::test]
async fn an_option_that_no_server_ever_had_is_an_error() {
    let container = Container::of("mysql:5.7")
        .await
        .env("MYSQL_ALLOW_EMPTY_PASSWORD", "1");
    let run = container
        .run("docker-entrypoint.sh --no-such-option=1")
        .await;
    assert_ne!(run.code, 0);
    assert!(
        run.text.contains("unknown variable 'no-such-option=1'"),
        "{}",
        run.text
    );
}

#[rstest]
#[case::mysql("mysql", "--lower-case-table-names=1", "lower_case_table_names", "1")]
#[case::mariadb("mariadb", "--innodb-page-size=8K", "innodb_page_size", "8192")]
#[tokio::test]
async fn options_that_shape_the_data_directory_are_heeded(
    #[case] image: &str,
    #[case] option: &str,
    #[case] variable: &str,
    #[case] value: &str,
) {
    let container = Container::of(image).await.env("MYSQL_ROOT_PASSWORD", "pw");
    let script = format!(
        r#"serve {option}; sql pw "select @@{variable}, current_user()" -h 127.0.0.1; stop"#
    );
    assert_eq!(
        container.run(&script).await.good(),
        format!("{value}\troot@%\n")
    );
}

#[tokio::test]
async fn time_zones_and_the_dump_program_are_there() {
    for image in ["mysql", "mariadb"] {
        let container = Container::of(image).await.env("MYSQL_ROOT_PASSWORD", "pw");
        let text = container
            .run(
                r#"serve
                sql pw "select convert_tz('2024-07-01 12:00:00', 'UTC', 'Europe/Berlin')"
                sql pw "create database d; create table d.t(a int); insert into d.t values (42)"
                MYSQL_PWD=pw mysqldump -u root --databases d | grep -c 'INSERT INTO .t. VALUES'
                stop"#,
            )
            .await
            .good();
        assert_eq!(text, "2024-07-01 14:00:00\n1\n", "{image}");
    }
}

#[rstest]
#[case::root_hands_over_to_the_servers_user(false)]
#[case::the_servers_user_starts_itself(true)]
#[tokio::test]
async fn with_users_to_choose_from_the_server_is_not_root(#[case] as_server: bool) {
    if !is_root() {
        return; // An ordinary user may have one id only, which is then the container's root.
    }
    let mut container = Container::of("mysql")
        .await
        .env("MYSQL_ROOT_PASSWORD", "pw");
    if as_server {
        container = container.run_by_server();
        fs::set_permissions(container.data(), fs::Permissions::from_mode(0o777)).unwrap();
    }
    let text = container
        .run(
            r#"serve; sql pw "select 'up'"; stat -c %U /proc/$server /var/lib/mysql/ibdata1; stop"#,
        )
        .await
        .good();
    assert_eq!(text, "up\nmysql\nmysql\n");
}

#[tokio::test]
async fn a_read_only_root_will_do() {
    let container = Container::of("mysql")
        .await
        .read_only()
        .env("MYSQL_ROOT_PASSWORD", "pw");
    let text = container
        .run(
            r#"(: > /usr/bin/new) 2> /dev/null && echo writable
            serve; sql pw "select 'up'"; stop"#,
        )
        .await
        .good();
    assert_eq!(text, "up\n");
}

#[tokio::test]
async fn any_other_command_is_simply_run() {
    let container = Container::of("mysql").await;
    assert_eq!(
        container
            .run("docker-entrypoint.sh printf '%s-' a 'b c'")
            .await
            .good(),
        "a-b c-"
    );
    let version = container
        .run("docker-entrypoint.sh mysqld --version")
        .await
        .good();
    assert!(version.contains("Ver "), "{version}");
}
