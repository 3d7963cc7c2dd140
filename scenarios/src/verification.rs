//! The homework's verification, step by step: create, fill, delete with backup, restore, password.
//!
//! The steps are those that students run by hand; each waits for what they would look at. It works on
//! any cluster with the operator running, and prints nothing itself.

use harness::{Failure, conditions, sql::Session};
use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{PersistentVolume, PersistentVolumeClaim},
};
use kube::ResourceExt;

use crate::{
    deploy::{CR, CR_PASSWD, DATABASE, INSTANCE, NEW_PASSWORD, PASSWORD},
    lab::Lab,
    progress::Progress,
};

const ROWS: &str = "SELECT id, name FROM test ORDER BY id";

/// What the verification saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Rows before the resource was deleted.
    pub before: Vec<Vec<String>>,
    /// Rows after it came back.
    pub after: Vec<Vec<String>>,
    /// `status.message` of the first life.
    pub first_message: String,
    /// `status.message` of the second life.
    pub second_message: String,
}

/// Runs every step; an error names the step it happened in.
pub async fn verify(lab: &Lab<'_>, progress: &Progress) -> Result<Outcome, Failure> {
    let first_message = progress
        .step("apply cr.yml; MySQL comes up", async {
            let instance = lab.create(CR).await?;
            job_complete(lab, "restore").await?;
            message(&instance)
        })
        .await?;
    expect(&first_message, "WITHOUT restore-job")?;

    let before = progress
        .step("create a table, write two rows", fill(lab))
        .await?;

    progress
        .step("delete the resource; a backup is taken first", async {
            lab.delete(INSTANCE).await?;
            job_complete(lab, "backup").await?;
            data_is_gone(lab).await
        })
        .await?;

    let second_message = progress
        .step("apply cr.yml again; the backup is restored", async {
            let instance = lab.create(CR).await?;
            job_complete(lab, "restore").await?;
            message(&instance)
        })
        .await?;
    expect(&second_message, "WITH restore-job")?;

    let after = progress
        .step("the rows are back", async {
            let rows = read(lab.login(INSTANCE, PASSWORD, DATABASE).await?).await?;
            if rows == before {
                Ok(rows)
            } else {
                Err(format!("before the deletion: {before:?}; now: {rows:?}").into())
            }
        })
        .await?;

    progress
        .step("apply cr-passwd.yml; the password changes", async {
            lab.cluster().apply(CR_PASSWD).await?;
            lab.ready(INSTANCE).await?;
            job_complete(lab, "passwd").await
        })
        .await?;

    progress
        .step("the new password works, the old one is refused", async {
            let rows = read(lab.login(INSTANCE, NEW_PASSWORD, DATABASE).await?).await?;
            if rows != after {
                return Err(format!("the rows changed with the password: {rows:?}").into());
            }
            refused(lab, PASSWORD).await
        })
        .await?;

    Ok(Outcome {
        before,
        after,
        first_message,
        second_message,
    })
}

/// The homework's table and rows.
async fn fill(lab: &Lab<'_>) -> Result<Vec<Vec<String>>, Failure> {
    let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
    session
        .execute(
            "CREATE TABLE test (id smallint unsigned not null auto_increment, \
             name varchar(20) not null, constraint pk_example primary key (id))",
        )
        .await?;
    for name in ["some data", "some data-2"] {
        session
            .execute(&format!(
                "INSERT INTO test (id, name) VALUES (null, '{name}')"
            ))
            .await?;
    }
    read(session).await
}

async fn read(mut session: Session) -> Result<Vec<Vec<String>>, Failure> {
    let rows = session.rows(ROWS).await?;
    session.close().await?;
    Ok(rows)
}

/// Fails unless the server refuses this password.
pub async fn refused(lab: &Lab<'_>, password: &str) -> Result<(), Failure> {
    match lab.login(INSTANCE, password, DATABASE).await {
        Ok(_) => Err("the old password still opens the server".into()),
        Err(error) => match error.downcast_ref::<harness::sql::SqlError>() {
            Some(sql) if sql.is_access_denied() => Ok(()),
            _ => Err(error),
        },
    }
}

/// Waits for a Job of the canonical instance.
pub async fn job_complete(lab: &Lab<'_>, operation: &str) -> Result<(), Failure> {
    let jobs = lab.cluster().namespaced::<Job>();
    let name = format!("{operation}-{INSTANCE}-job");
    lab.cluster()
        .wait(&jobs, &name, conditions::job_complete())
        .await?;
    Ok(())
}

/// The data volume and its claim are gone, the backup's are there.
async fn data_is_gone(lab: &Lab<'_>) -> Result<(), Failure> {
    let cluster = lab.cluster();
    let volumes = cluster.all::<PersistentVolume>();
    let claims = cluster.namespaced::<PersistentVolumeClaim>();
    cluster
        .wait(&claims, &format!("{INSTANCE}-pvc"), conditions::absent())
        .await?;
    cluster
        .wait(&volumes, &format!("{INSTANCE}-pv"), conditions::absent())
        .await?;
    cluster
        .wait(
            &claims,
            &format!("backup-{INSTANCE}-pvc"),
            conditions::claim_bound(),
        )
        .await?;
    cluster
        .wait(
            &volumes,
            &format!("backup-{INSTANCE}-pv"),
            conditions::exists(),
        )
        .await?;
    Ok(())
}

fn message(instance: &mysql_operator::crd::MySQL) -> Result<String, Failure> {
    let value = serde_json::to_value(instance)?;
    let message = value["status"]["message"].as_str();
    Ok(message
        .ok_or_else(|| format!("{} has no status.message", instance.name_any()))?
        .to_owned())
}

fn expect(message: &str, words: &str) -> Result<(), Failure> {
    if message.ends_with(words) {
        Ok(())
    } else {
        Err(format!("status.message should end with {words:?}, but is {message:?}").into())
    }
}
