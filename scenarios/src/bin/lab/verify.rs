//! `lab verify`: the homework's verification with its times, and the floor to compare them with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{Cluster, Failure};
use scenarios::{
    Lab,
    images::Programs,
    lab,
    progress::{Progress, table},
    verification::{self, Outcome},
};
use simcluster::StoreConfig;

/// Arguments of `lab verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also do the same by hand, without Kubernetes, and print both times.
    #[arg(long)]
    floor: bool,
    #[command(flatten)]
    cluster: crate::cluster::ClusterArguments,
}

/// Runs the verification; an error if any assertion failed.
pub(crate) async fn run(
    arguments: Arguments,
    log: &harness::evidence::RunLog,
) -> Result<(), Failure> {
    let progress = Progress::shown();
    let images = progress
        .step(
            "link the operator's programs, prepare its image",
            lab::image_store_from(Programs::Job, StoreConfig::default()),
        )
        .await?;
    progress
        .step("MySQL is at hand", async {
            images
                .ensure("mysql:5.7", &scenarios::progress::Pull::new(&progress))
                .await?;
            Ok(())
        })
        .await?;
    let selection = arguments.cluster.selection()?;
    let start = Instant::now();
    let cluster = progress
        .step(
            &format!("start the cluster ({})", selection.name()),
            async { Ok(selection.start(Arc::clone(&images), &lab::CARRIED).await?) },
        )
        .await?;
    let outcome = tokio::select! {
        outcome = verify(&cluster, &progress) => outcome,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            Err("interrupted".into())
        }
    };
    let took = start.elapsed();
    if let Err(failure) = &outcome {
        let text = harness::proof::chain(&**failure);
        let to = harness::evidence::directory("lab-verify");
        let reproduce = format!("cargo lab verify --cluster {}", selection.name());
        let case = harness::evidence::Case {
            failure: &text,
            reproduce: &reproduce,
            run: None,
            log: Some(log),
        };
        harness::evidence::collect(&cluster, case, &to).await?;
        progress.say(&format!("evidence: {}", to.display()));
    }
    for line in cluster.stop().await.0 {
        progress.say(&format!("left behind: {line}"));
    }
    let outcome = outcome?;
    progress.say(&format!("\n{}", table(&outcome.before, &outcome.after)));
    progress.say(&format!("verified in {:.2} s", took.as_secs_f64()));
    if arguments.floor {
        compare(took, &progress, &images).await?;
    }
    Ok(())
}

async fn verify(cluster: &Cluster, progress: &Progress) -> Result<Outcome, Failure> {
    let mut lab = Lab::new(cluster);
    progress.step("apply crd.yml", lab.install()).await?;
    lab.start_operator();
    let outcome = verification::verify(&lab, progress).await;
    // Finalizers need the operator, so it is stopped last.
    for line in cluster.clean_up().await.0 {
        progress.say(&format!("left behind: {line}"));
    }
    lab.stop_operator().await?;
    outcome
}

async fn compare(
    took: Duration,
    progress: &Progress,
    images: &simcluster::ImageStore,
) -> Result<(), Failure> {
    let floor = progress
        .step(
            "the same by hand, without Kubernetes",
            scenarios::floor::measure(images),
        )
        .await?;
    progress.say(&format!(
        "by hand {:.2} s, in the laboratory {:.2} s: {:.2} times the floor",
        floor.as_secs_f64(),
        took.as_secs_f64(),
        took.as_secs_f64() / floor.as_secs_f64()
    ));
    Ok(())
}
