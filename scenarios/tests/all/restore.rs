//! Backup on delete, restore on return.

use harness::{Failure, conditions};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use rstest::rstest;
use scenarios::{
    Lab,
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    prove,
    verification::job_complete,
};

async fn write(lab: &Lab<'_>, statements: &[&str]) -> Result<(), Failure> {
    let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
    for statement in statements {
        session.execute(statement).await?;
    }
    Ok(session.close().await?)
}

async fn read(lab: &Lab<'_>, query: &str) -> Result<Vec<Vec<String>>, Failure> {
    Ok(lab
        .login(INSTANCE, PASSWORD, DATABASE)
        .await?
        .rows(query)
        .await?)
}

#[rstest]
#[case::mysql("mysql:5.7")]
#[case::mariadb("mariadb:10.11")]
fn rows_survive_deleting_and_recreating_the_instance(#[case] image: &str) {
    let manifest = CR.replace("mysql:5.7", image);
    prove(async |lab| {
        lab.create(&manifest).await?;
        write(
            lab,
            &[
                "CREATE TABLE t (id int primary key, name varchar(40), data blob) CHARACTER SET utf8mb4",
                "INSERT INTO t VALUES (1, 'привет \u{1F42C}', x'00ff27'), (2, null, '')",
                "CREATE VIEW v AS SELECT id FROM t",
            ],
        )
        .await?;
        let query = "SELECT id, name, hex(data) FROM t ORDER BY id";
        let before = read(lab, query).await?;
        lab.delete(INSTANCE).await?;
        lab.create(&manifest).await?;
        assert_eq!(read(lab, query).await?, before);
        assert_eq!(read(lab, "SELECT count(*) FROM v").await?, [["2"]]);
        Ok(())
    });
}

#[test]
fn rows_survive_several_lives() {
    prove(async |lab| {
        for life in 1..=3 {
            lab.create(CR).await?;
            write(
                lab,
                &[
                    "CREATE TABLE IF NOT EXISTS lives (life int primary key)",
                    &format!("INSERT INTO lives VALUES ({life})"),
                ],
            )
            .await?;
            assert_eq!(
                read(lab, "SELECT count(*) FROM lives").await?,
                [[life.to_string()]]
            );
            lab.delete(INSTANCE).await?;
        }
        Ok(())
    });
}

#[test]
fn the_backup_job_and_its_pod_outlive_the_instance() {
    prove(async |lab| {
        lab.create(CR).await?;
        lab.delete(INSTANCE).await?;
        job_complete(lab, "backup").await?;
        let pods = lab.cluster().namespaced::<Pod>();
        let of_job =
            kube::api::ListParams::default().labels(&format!("job-name=backup-{INSTANCE}-job"));
        assert_eq!(pods.list(&of_job).await?.items.len(), 1);
        Ok(())
    });
}

#[test]
fn the_restore_job_of_a_new_life_is_a_new_job() {
    prove(async |lab| {
        lab.create(CR).await?;
        let jobs = lab.cluster().namespaced::<Job>();
        let name = format!("restore-{INSTANCE}-job");
        let first = lab
            .cluster()
            .wait(&jobs, &name, conditions::job_complete())
            .await?;
        lab.delete(INSTANCE).await?;
        assert!(
            jobs.get_opt(&name).await?.is_none(),
            "the first life's Job is still there"
        );
        lab.create(CR).await?;
        let second = lab
            .cluster()
            .wait(&jobs, &name, conditions::job_complete())
            .await?;
        let uid = |job: Option<Job>| job.and_then(|job| job.metadata.uid);
        assert_ne!(uid(first), uid(second));
        Ok(())
    });
}
