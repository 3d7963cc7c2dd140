//! What containers are seen to use, and other limits for those that run.

use std::time::{Duration, Instant};

use simcluster_runtime::{Runtime, spec::Usage};

use crate::lab::{Lab, finish, read_line};

/// Longer than anything takes that works.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits until a container uses what `enough` wants.
async fn until(lab: &Lab, container: &str, enough: impl Fn(&Usage) -> bool) -> Usage {
    let begun = Instant::now();
    loop {
        let usage = lab.runtime.usage().await.expect("it can be measured");
        let own = usage.containers.get(container).copied();
        match own {
            Some(own) if enough(&own) => return own,
            _ if begun.elapsed() > LIMIT => panic!("{container}: {usage:?}"),
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

#[tokio::test]
async fn what_a_container_uses_is_what_its_processes_use() {
    let lab = Lab::with_pod().await;
    let mut idle = lab.shell("idle", "echo ready; cat");
    idle.memory_limit = None;
    let mut idle = lab.start_container(idle).await;
    assert_eq!(read_line(&mut idle).await, "ready");
    let busy = lab
        .start_container(lab.shell("busy", "while :; do :; done"))
        .await;
    let second = until(&lab, "busy", |usage| usage.cpu_nanos >= 300_000_000).await;
    let quiet = until(&lab, "idle", |usage| usage.processes > 0).await;
    assert!(quiet.cpu_nanos < second.cpu_nanos, "{quiet:?} {second:?}");
    assert!(second.working_set > 0 && second.rss > 0, "{second:?}");
    let grown = lab
        .start_container(lab.itself("grown", "usage::holds_memory"))
        .await;
    let grown_to = until(&lab, "grown", |usage| usage.rss >= 32 << 20).await;
    assert!(grown_to.working_set >= grown_to.rss, "{grown_to:?}");
    drop((idle, busy, grown));
}

/// Keeps 32 MiB until it is killed.
#[test]
#[ignore = "runs in a container"]
fn holds_memory() {
    let kept = vec![1_u8; 33 << 20];
    loop {
        std::thread::park();
        std::hint::black_box(&kept);
    }
}

#[tokio::test]
async fn a_running_container_is_limited_differently_at_once() {
    let lab = Lab::with_pod().await;
    if Runtime::cpu_limits().is_err() || Runtime::memory_limits().is_err() {
        let container = lab.start_container(lab.shell("c", "cat")).await;
        let said = lab.runtime.limit("c", Some(24 << 20), Some(500)).await;
        let said = said.expect("it runs").concat();
        assert!(said.contains("limit is not kept"), "{said}");
        drop(container);
        return;
    }
    // It began without any limit, so its processes have to be moved.
    let mut spec = lab.shell(
        "c",
        "head -c 1; head -c 99999999 /dev/zero | tail -c 67108864 | wc -c",
    );
    spec.memory_limit = None;
    let mut container = lab.start_container(spec).await;
    let warnings = lab.runtime.limit("c", Some(24 << 20), Some(500)).await;
    assert_eq!(warnings.expect("it runs"), Vec::<String>::new());
    drop(container.stdin.take());
    let end = container.exit_watch();
    let (_, output) = finish(container).await;
    assert!(!output.contains("67108864"), "{output}");
    assert!(end.wait().await.oom_killed, "{output}");
}

#[tokio::test]
async fn less_memory_than_is_in_use_is_refused_and_nothing_is_killed() {
    if Runtime::memory_limits().is_err() {
        return;
    }
    let lab = Lab::with_pod().await;
    let mut spec = lab.itself("c", "usage::holds_memory");
    spec.memory_limit = Some(256 << 20);
    let container = lab.start_container(spec).await;
    until(&lab, "c", |usage| usage.rss >= 32 << 20).await;
    let refused = lab.runtime.limit("c", Some(8 << 20), None).await;
    let text = refused.expect_err("it does not fit").to_string();
    assert!(text.contains("below current usage"), "{text}");
    let wider = lab.runtime.limit("c", Some(128 << 20), None).await;
    assert_eq!(wider.expect("there is room"), Vec::<String>::new());
    let usage = until(&lab, "c", |usage| usage.processes > 0).await;
    assert!(usage.working_set >= 32 << 20, "{usage:?}");
    drop(container);
}
