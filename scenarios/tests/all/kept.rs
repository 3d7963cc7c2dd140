//! The row that scenarios put into an instance and look for later, and an operator that looks again soon.

use std::time::Duration;

use harness::Failure;
use mysql_operator::Settings;
use scenarios::{
    Lab,
    deploy::{DATABASE, INSTANCE, PASSWORD},
};

/// A person waits a minute for another try, a test does not.
pub(crate) fn eager() -> Settings {
    Settings {
        retry: Duration::from_secs(1),
        ..Settings::default()
    }
}

/// Puts the row there.
pub(crate) async fn fill(lab: &Lab<'_>) -> Result<(), Failure> {
    let statements = [
        "CREATE TABLE kept (id int primary key)",
        "INSERT INTO kept VALUES (7)",
    ];
    lab.write(INSTANCE, PASSWORD, DATABASE, &statements).await
}

/// Asserts that the row is there, and no other.
pub(crate) async fn rows_are_back(lab: &Lab<'_>, password: &str) -> Result<(), Failure> {
    let rows = lab
        .read(INSTANCE, password, DATABASE, "SELECT id FROM kept")
        .await?;
    assert_eq!(rows, [["7"]]);
    Ok(())
}
