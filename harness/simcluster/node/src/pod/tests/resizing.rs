//! Other resources for a pod that runs: its status, its Events, and what is asked for its containers.

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
};

use super::*;
use crate::pod::resize::Fit;

fn spec(policy: &str) -> Value {
    json!({"containers": [{
        "name": "c", "image": "busybox",
        "resources": {"limits": {"cpu": "100m", "memory": "32Mi"},
                      "requests": {"cpu": "100m", "memory": "32Mi"}},
        "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"},
                         {"resourceName": "memory", "restartPolicy": policy}],
    }]})
}

/// A running pod whose spec then wants another amount of something.
fn wants(policy: &str, resource: &str, amount: &str) -> Play {
    let mut play = Play::up(spec(policy));
    play.started(0);
    let asked = play.change(|pod| {
        pod.metadata.generation = Some(2);
        let resources = pod.spec.as_mut().unwrap().containers[0].resources.as_mut();
        let resources = resources.unwrap();
        for amounts in [&mut resources.limits, &mut resources.requests] {
            let amounts = amounts.as_mut().unwrap();
            amounts.insert(resource.to_owned(), Quantity(amount.to_owned()));
        }
    });
    assert_eq!(asked, [Action::JudgeResize { question: Some(1) }]);
    play
}

fn granted(play: &Play) -> ResourceRequirements {
    play.state.containers()[0].granted.clone()
}

fn limit(play: &Play) -> Action {
    Action::Limit {
        container: 0,
        run: 0,
        resources: Box::new(granted(play)),
    }
}

fn judged(play: &mut Play, fit: Fit) -> Vec<Action> {
    play.event(Event::ResizeJudged { question: 1, fit })
        .to_vec()
}

fn limited(play: &mut Play, result: Result<(), &str>) {
    let resources = granted(play);
    play.event(Event::Limited {
        container: 0,
        run: 0,
        resources: Box::new(resources),
        result: result.map_err(str::to_owned),
    });
}

fn has_condition(play: &Play, kind: &str) -> bool {
    let conditions = play.status.conditions.as_ref().unwrap();
    conditions.iter().any(|condition| condition.type_ == kind)
}

#[test]
fn a_running_container_gets_other_limits_without_a_restart() {
    let mut play = wants("NotRequired", "cpu", "200m");
    let before = play.container(0);
    assert_eq!(before["resources"]["limits"]["cpu"], "100m", "not had yet");
    assert!(!has_condition(&play, "PodResizeInProgress"));
    let asked = judged(&mut play, Fit::Fits);
    assert_eq!(asked, [limit(&play)]);
    let (status, ..) = play.condition("PodResizeInProgress");
    assert_eq!(status, "True");
    let under_way = play.container(0);
    assert_eq!(under_way["allocatedResources"]["cpu"], "200m");
    assert_eq!(under_way["resources"]["limits"]["cpu"], "100m");
    limited(&mut play, Ok(()));
    let after = play.container(0);
    assert_eq!(after["resources"]["limits"]["cpu"], "200m");
    assert_eq!(after["restartCount"], 0);
    assert!(!has_condition(&play, "PodResizeInProgress"));
    assert_eq!(play.status.observed_generation, Some(2));
    let resources = "{\"containers\":[{\"name\":\"c\",\"resources\":{\
        \"limits\":{\"cpu\":\"200m\",\"memory\":\"32Mi\"},\
        \"requests\":{\"cpu\":\"200m\",\"memory\":\"32Mi\"}}}],\"generation\":2}";
    let said: Vec<_> = play
        .records
        .iter()
        .map(|r| (&*r.reason, r.warning, &*r.message))
        .collect();
    assert_eq!(
        said,
        [
            (
                "ResizeStarted",
                false,
                &*format!("Pod resize started: {resources}")
            ),
            (
                "ResizeCompleted",
                false,
                &*format!("Pod resize completed: {resources}")
            ),
        ]
    );
}

#[test]
fn a_resize_policy_may_want_the_container_started_again() {
    let mut play = wants("RestartContainer", "memory", "64Mi");
    let asked = judged(&mut play, Fit::Fits);
    assert!(asked.contains(&signal(0)), "{asked:?}");
    assert_eq!(
        play.records.last().unwrap().message,
        "Container c resize requires restart"
    );
    assert!(has_condition(&play, "PodResizeInProgress"));
    assert!(play.exited(0, 143).contains(&start(0, 1)), "at once");
    play.started(0);
    let status = play.container(0);
    assert_eq!(status["resources"]["limits"]["memory"], "64Mi");
    assert_eq!(status["restartCount"], 1);
    assert!(!has_condition(&play, "PodResizeInProgress"));
    assert_eq!(play.reasons().last(), Some(&"ResizeCompleted"));
}

#[test]
fn what_does_not_fit_is_pending_and_nothing_changes() {
    for reason in ["Deferred", "Infeasible"] {
        let mut play = wants("NotRequired", "cpu", "200m");
        let no_room = || Fit::Pending {
            reason,
            message: "no room".into(),
        };
        assert_eq!(judged(&mut play, no_room()), []);
        assert_eq!(judged(&mut play, no_room()), []);
        assert_eq!(
            play.condition("PodResizePending"),
            ("True".into(), Some(reason.into()), Some("no room".into()))
        );
        let status = play.container(0);
        assert_eq!(status["allocatedResources"]["cpu"], "100m");
        assert_eq!(status["resources"]["limits"]["cpu"], "100m");
        let said = play.records.last().unwrap();
        assert_eq!(said.reason, format!("Resize{reason}"));
        assert!(
            said.message
                .starts_with(&format!("Pod resize {reason}: {{"))
        );
        assert!(
            said.message
                .ends_with("\"generation\":2,\"error\":\"no room\"}")
        );
        assert_eq!(play.records.len(), 1, "said once");
        // The user takes it back.
        let taken_back =
            play.change(|pod| pod.spec = serde_json::from_value(spec("NotRequired")).unwrap());
        assert_eq!(taken_back, [Action::JudgeResize { question: None }]);
        assert!(!has_condition(&play, "PodResizePending"));
    }
}

#[test]
fn an_answer_to_what_is_no_longer_wanted_changes_nothing() {
    let mut play = wants("NotRequired", "cpu", "200m");
    let asked = play.change(|pod| {
        let container = &mut pod.spec.as_mut().unwrap().containers[0];
        let limits = container.resources.as_mut().unwrap().limits.as_mut();
        limits
            .unwrap()
            .insert("cpu".to_owned(), Quantity("300m".to_owned()));
    });
    assert_eq!(asked, [Action::JudgeResize { question: Some(2) }]);
    assert_eq!(judged(&mut play, Fit::Fits), []);
    assert_eq!(play.container(0)["allocatedResources"]["cpu"], "100m");
}

#[test]
fn limits_that_cannot_be_given_are_told_until_they_can() {
    let mut play = wants("NotRequired", "memory", "8Mi");
    judged(&mut play, Fit::Fits);
    limited(&mut play, Err("too little"));
    limited(&mut play, Err("too little"));
    assert_eq!(
        play.condition("PodResizeInProgress"),
        (
            "True".into(),
            Some("Error".into()),
            Some("too little".into())
        )
    );
    assert_eq!(play.reasons(), ["ResizeStarted", "ResizeError"]);
    limited(&mut play, Ok(()));
    assert!(!has_condition(&play, "PodResizeInProgress"));
    assert_eq!(play.reasons().last(), Some(&"ResizeCompleted"));
}
