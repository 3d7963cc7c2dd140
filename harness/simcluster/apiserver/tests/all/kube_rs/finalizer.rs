//! `finalizer`: adds its name, cleans up, and lets go.

use std::sync::Arc;

use kube::{
    api::DeleteParams,
    runtime::{
        controller::Action,
        finalizer::{Error, Event, finalizer},
    },
};

use super::{config_maps, create};
use crate::support::World;

const NAME: &str = "example.com/clean-up";

#[tokio::test]
async fn a_finalizer_is_added_runs_and_lets_go() {
    let world = World::start();
    let api = config_maps(&world);
    create(&api, "a").await;
    let run = async |broken: bool| {
        let object = Arc::new(api.get("a").await.expect("it is there"));
        let done = finalizer(&api, NAME, object, |event| async move {
            match event {
                Event::Cleanup(_) if broken => Err(std::io::Error::other("not yet")),
                Event::Apply(_) | Event::Cleanup(_) => Ok(Action::await_change()),
            }
        });
        done.await
    };
    // Once to add it, once to reconcile.
    for _ in 0..2 {
        run(false).await.expect("nothing fails");
    }
    let held = api.get("a").await.expect("it is there");
    assert_eq!(held.metadata.finalizers, Some(vec![NAME.to_owned()]));
    let marked = api.delete("a", &DeleteParams::default()).await;
    assert!(marked.expect("it is marked").is_left());
    let failed = run(true).await;
    assert!(matches!(failed, Err(Error::CleanupFailed(_))), "{failed:?}");
    assert!(api.get("a").await.is_ok(), "it is held");
    run(false).await.expect("nothing fails");
    assert!(api.get_opt("a").await.expect("it answers").is_none());
}
