//! The operator is not always there.

use harness::conditions;
use scenarios::{
    deploy::{CR, DATABASE, INSTANCE, PASSWORD},
    prove,
};

#[test]
fn an_instance_created_before_the_operator_is_picked_up_at_its_start() {
    prove(async |lab| {
        lab.stop_operator().await?;
        lab.cluster().apply(CR).await?;
        lab.start_operator();
        lab.ready(INSTANCE).await?;
        lab.login(INSTANCE, PASSWORD, DATABASE)
            .await?
            .close()
            .await?;
        Ok(())
    });
}

#[test]
fn an_instance_deleted_while_the_operator_is_away_is_backed_up_at_its_return() {
    prove(async |lab| {
        lab.create(CR).await?;
        let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        session
            .execute("CREATE TABLE kept (id int primary key)")
            .await?;
        lab.stop_operator().await?;
        lab.instances()
            .delete(INSTANCE, &kube::api::DeleteParams::default())
            .await?;
        lab.start_operator();
        lab.cluster()
            .wait(&lab.instances(), INSTANCE, conditions::absent())
            .await?;
        lab.create(CR).await?;
        let mut session = lab.login(INSTANCE, PASSWORD, DATABASE).await?;
        assert_eq!(session.rows("SELECT count(*) FROM kept").await?, [["0"]]);
        Ok(())
    });
}

#[test]
fn restarting_the_operator_recreates_nothing() {
    prove(async |lab| {
        lab.create(CR).await?;
        let before = lab.pod(INSTANCE).await?.metadata.uid;
        lab.stop_operator().await?;
        lab.start_operator();
        lab.ready(INSTANCE).await?;
        assert_eq!(lab.pod(INSTANCE).await?.metadata.uid, before);
        Ok(())
    });
}
