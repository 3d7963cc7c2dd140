//! How long the homework's verification takes, beside the same work by hand, without Kubernetes.
//!
//! `cargo bench -p scenarios`. Both take turns, so that whatever else the machine does meets both alike.
//! It prints a table and judges nothing.

#![expect(clippy::print_stdout, reason = "a bench tells its figures")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{Cluster, Failure, backend::simulated::Simulated};
use scenarios::{Lab, floor, images::Programs, lab, progress::Progress, verification};
use simcluster::ImageStore;

const ROUNDS: usize = 5;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let images = lab::image_store(Programs::Job).await?;
        let (mut by_hand, mut in_the_lab) = (Vec::new(), Vec::new());
        let mut steps: Vec<(String, Vec<Duration>)> = Vec::new();
        for _ in 0..ROUNDS {
            by_hand.push(floor::measure(&images).await?);
            let progress = Progress::silent();
            let start = Instant::now();
            verify(&images, &progress).await?;
            in_the_lab.push(start.elapsed());
            for (index, (name, took)) in progress.times().into_iter().enumerate() {
                match steps.get_mut(index) {
                    Some((_, times)) => times.push(took),
                    None => steps.push((name, vec![took])),
                }
            }
        }
        println!("{:<52}{:>10}{:>10}", "", "median", "worst");
        for (name, times) in steps {
            tell(&name, times);
        }
        let lab = tell(
            "the verification, from no cluster to no cluster",
            in_the_lab,
        );
        let floor = tell("the same by hand, without Kubernetes", by_hand);
        println!(
            "{:.2} times the floor",
            lab.as_secs_f64() / floor.as_secs_f64()
        );
        Ok(())
    })
}

async fn verify(images: &Arc<ImageStore>, progress: &Progress) -> Result<(), Failure> {
    let backend = Simulated::start(Arc::clone(images)).await?;
    let cluster = Cluster::new(Box::new(backend), "default");
    let mut lab = Lab::new(&cluster);
    lab.install().await?;
    lab.start_operator();
    let outcome = verification::verify(&lab, progress).await;
    lab.stop_operator().await?;
    let left = cluster.stop().await;
    outcome?;
    if left.0.is_empty() {
        return Ok(());
    }
    Err(format!("the cluster left behind: {left}").into())
}

/// Prints a line and answers the median.
fn tell(name: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let median = times[times.len() / 2];
    let worst = times[times.len() - 1];
    println!(
        "{name:<52}{:>8.2} s{:>8.2} s",
        median.as_secs_f64(),
        worst.as_secs_f64()
    );
    median
}
