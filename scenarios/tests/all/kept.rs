//! The row that scenarios put into an instance and look for in its next life, and an operator that looks again
//! soon.

use std::time::Duration;

use harness::{Failure, conditions};
use kube::api::DeleteParams;
use mysql_operator::Settings;
use scenarios::{
    Lab,
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    prove_with,
};

/// A person waits a minute for another try, a test does not.
pub(crate) fn eager() -> Settings {
    Settings {
        retry: Duration::from_secs(1),
        ..Settings::default()
    }
}

/// An instance has the row; after what happens to it, at the end of which it is gone, it is applied again, and
/// has the row still.
#[track_caller]
pub(crate) fn prove_kept<F>(happens: F)
where
    F: AsyncFnOnce(&mut Lab<'_>) -> Result<(), Failure>,
{
    prove_kept_with(Settings::default(), happens);
}

/// As [`prove_kept`], with settings of the operator's.
#[track_caller]
pub(crate) fn prove_kept_with<F>(settings: Settings, happens: F)
where
    F: AsyncFnOnce(&mut Lab<'_>) -> Result<(), Failure>,
{
    prove_with(settings, async move |lab| {
        begin(lab).await?;
        happens(lab).await?;
        next_life_has_the_row(lab).await
    });
}

/// Makes an instance and puts the row there.
pub(crate) async fn begin(lab: &Lab<'_>) -> Result<(), Failure> {
    lab.create(CR).await?;
    fill(lab).await
}

/// Applies the instance again; the row must be back.
pub(crate) async fn next_life_has_the_row(lab: &Lab<'_>) -> Result<(), Failure> {
    lab.create(CR).await?;
    rows_are_back(lab, PASSWORD).await
}

/// Deletes the instance, and waits for nothing.
pub(crate) async fn begin_to_delete(lab: &Lab<'_>) -> Result<(), Failure> {
    let parameters = DeleteParams::default();
    lab.instances().delete(INSTANCE, &parameters).await?;
    Ok(())
}

/// Waits until the resource is gone.
pub(crate) async fn gone(lab: &Lab<'_>) -> Result<(), Failure> {
    lab.cluster()
        .wait(&lab.instances(), INSTANCE, conditions::absent())
        .await?;
    Ok(())
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
