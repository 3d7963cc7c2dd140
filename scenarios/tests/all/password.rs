//! Changing `spec.password`.

use kube::ResourceExt;
use rstest::rstest;
use scenarios::{
    deploy::{CR, CR_PASSWD, DATABASE, INSTANCE, NEW_PASSWORD, PASSWORD},
    prove,
    verification::{job_complete, refused},
};

#[test]
fn a_changed_password_works_and_the_old_one_is_refused() {
    prove(async |lab| {
        lab.create(CR).await?;
        let pod = lab.pod(INSTANCE).await?;
        lab.create(CR_PASSWD).await?;
        job_complete(lab, "passwd").await?;
        lab.login(INSTANCE, NEW_PASSWORD, DATABASE)
            .await?
            .close()
            .await?;
        refused(lab, PASSWORD).await?;
        assert_eq!(
            pod.uid(),
            lab.pod(INSTANCE).await?.uid(),
            "the server was restarted"
        );
        Ok(())
    });
}

#[test]
fn a_backup_after_a_password_change_restores() {
    prove(async |lab| {
        lab.create(CR).await?;
        lab.create(CR_PASSWD).await?;
        let mut session = lab.login(INSTANCE, NEW_PASSWORD, DATABASE).await?;
        session
            .execute("CREATE TABLE kept (id int primary key)")
            .await?;
        session.execute("INSERT INTO kept VALUES (7)").await?;
        lab.delete(INSTANCE).await?;
        lab.create(CR_PASSWD).await?;
        let mut session = lab.login(INSTANCE, NEW_PASSWORD, DATABASE).await?;
        assert_eq!(session.rows("SELECT id FROM kept").await?, [["7"]]);
        Ok(())
    });
}

#[rstest]
#[case::quotes(r#"it's "quoted" `so`"#)]
#[case::backslash(r"back\slash\n\0")]
#[case::shell("$(id); #|&<>!*%")]
#[case::unicode("пароль \u{1F511}")]
#[case::blanks(" leading and trailing ")]
#[case::option("-pfoo --help")]
#[case::line_breaks("two\nlines\tand a tab")]
fn any_password_works(#[case] password: &str) {
    let quoted = serde_json::to_string(password).expect("a string is JSON, and JSON is YAML");
    let manifest = CR.replace(PASSWORD, &quoted);
    let changed = CR.replace(PASSWORD, "in-between");
    prove(async |lab| {
        lab.create(&manifest).await?;
        lab.login(INSTANCE, password, DATABASE)
            .await?
            .close()
            .await?;
        lab.create(&changed).await?;
        lab.create(&manifest).await?;
        lab.login(INSTANCE, password, DATABASE)
            .await?
            .close()
            .await?;
        Ok(())
    });
}
