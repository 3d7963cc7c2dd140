//! What a container may use, and what a pod's containers share.

use simcluster_runtime::Runtime;

use crate::lab::{Lab, finish};

/// Keeps what it has read last, which is as much as that; ends in any case.
const GREEDY: &str = "head -c 99999999 /dev/zero | tail -c 67108864 | wc -c";
const LIMIT: u64 = 24 << 20;

#[tokio::test]
async fn a_container_that_wants_more_memory_than_its_limit_is_killed_and_its_end_says_so() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.itself("c", "limits::greedy");
    spec.memory_limit = Some(LIMIT);
    let container = lab.start_container(spec).await;
    let end = container.exit_watch();
    let warnings = container.warnings.concat();
    let (code, output) = finish(container).await;
    let end = end.wait().await;
    match Runtime::memory_limits() {
        Ok(_) => assert_eq!(
            (end.code, end.signal, end.oom_killed),
            (137, Some(9), true),
            "{output} {warnings}"
        ),
        Err(why) => {
            // Then nothing kills it, and that must be said.
            assert!(
                warnings.contains("memory limit is not kept"),
                "{why}: {warnings}"
            );
            assert_eq!((code, end.oom_killed), (0, false), "{output}");
        }
    }
}

#[test]
#[ignore = "runs in a container"]
fn greedy() {
    let kept = vec![1_u8; 64 << 20];
    let sum: usize = kept.iter().map(|byte| usize::from(*byte)).sum();
    assert_eq!(sum, kept.len());
}

#[tokio::test]
async fn a_program_executed_in_a_limited_container_is_limited_too() {
    if Runtime::memory_limits().is_err() {
        return; // The test before sees to it that this is said.
    }
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("c", "cat");
    spec.memory_limit = Some(LIMIT);
    let mut container = lab.start_container(spec).await;
    let (_, output) = lab.exec("c", GREEDY).await;
    assert!(!output.contains("67108864"), "{output}");
    drop(container.stdin.take());
    assert!(container.wait().await.oom_killed, "as the kubelet tells it");
}

#[tokio::test]
async fn a_container_within_its_limit_ends_as_ever() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.shell("modest", "echo done; exit 3");
    spec.memory_limit = Some(LIMIT);
    let container = lab.start_container(spec).await;
    let end = container.exit_watch();
    assert_eq!(finish(container).await, (3, "done\n".to_owned()));
    assert!(!end.wait().await.oom_killed);
}

#[tokio::test]
async fn a_container_has_no_more_processor_time_than_its_limit() {
    let lab = Lab::with_pod().await;
    let mut spec = lab.itself("c", "limits::busy");
    spec.cpu_limit = Some(100);
    let container = lab.start_container(spec).await;
    let warnings = container.warnings.concat();
    let (code, output) = finish(container).await;
    assert_eq!(code, 0, "{output}");
    match Runtime::cpu_limits() {
        // A tenth of a processor: what takes 300 ms of it takes three seconds, but for the first and the last period.
        Ok(_) => {
            let took = output
                .lines()
                .find_map(|line| line.rsplit_once("took ")?.1.parse::<u64>().ok());
            assert!(took.is_some_and(|took| took >= 1500), "{output} {warnings}");
        }
        Err(why) => assert!(
            warnings.contains("cpu limit is not kept"),
            "{why}: {warnings}"
        ),
    }
}

/// Uses 300 ms of processor time, and says how many milliseconds have passed.
#[test]
#[ignore = "runs in a container"]
fn busy() {
    let begun = std::time::Instant::now();
    let used = || {
        let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF);
        let usage = usage.expect("a process may ask").user_time();
        usage.tv_sec() * 1000 + usage.tv_usec() / 1000
    };
    while used() < 300 {
        std::hint::black_box((0..10_000_u64).sum::<u64>());
    }
    println!("took {}", begun.elapsed().as_millis());
}

#[tokio::test]
async fn containers_of_a_pod_share_memory_and_those_of_others_do_not() {
    let lab = Lab::with_pod().await;
    lab.sandbox("other", 3).await;
    let write = lab.shell("a", "echo hello > /dev/shm/x");
    assert_eq!(lab.run(write).await, (0, String::new()));
    let read = "cat /dev/shm/x 2> /dev/null || echo nothing; \
                df -k /dev/shm | tail -n 1 | tr -s ' ' | cut -d ' ' -f 2; stat -c %a /dev/shm";
    assert_eq!(
        lab.run(lab.shell("b", read)).await,
        (0, "hello\n65536\n1777\n".to_owned())
    );
    let mut elsewhere = lab.shell("c", read);
    elsewhere.sandbox = "other".to_owned();
    assert_eq!(
        lab.run(elsewhere).await,
        (0, "nothing\n65536\n1777\n".to_owned())
    );
    lab.runtime
        .remove_sandbox("pod")
        .await
        .expect("it can be removed");
    lab.sandbox("pod", 2).await;
    assert_eq!(
        lab.run(lab.shell("d", read)).await,
        (0, "nothing\n65536\n1777\n".to_owned()),
        "a new pod begins with nothing"
    );
}
