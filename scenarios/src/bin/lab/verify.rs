//! `lab verify`: the homework's verification with its times, and the floor to compare them with.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use harness::{
    Cluster, Failure,
    backend::{Capability, Selection},
    evidence::RunLog,
    report::{Style, Told, seconds},
};
use scenarios::{
    Lab,
    images::Programs,
    lab,
    progress::{Progress, table},
    verification::{self, Outcome},
};
use simcluster::{ImageStore, StoreConfig};

use crate::interrupt::Interrupt;

/// What it is called in its own lines.
const NAME: &str = "verify";

/// Arguments of `lab verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also do the same by hand, without Kubernetes, and print both times.
    #[arg(long)]
    floor: bool,
    /// One JSON object a line instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cluster: crate::cluster::ClusterArguments,
}

/// Runs the verification; an error if any assertion failed.
pub(crate) async fn run(arguments: Arguments, log: &RunLog) -> Result<(), Failure> {
    let style = if arguments.json {
        Style::Json
    } else {
        Style::Plain
    };
    let progress = Progress::of(style);
    let interrupt = Interrupt::listen()?;
    // Words that select no cluster are refused before anything is done.
    let selection = arguments.cluster.selection()?;
    let start = Instant::now();
    let told = Told::RunStarted {
        run: NAME,
        cluster: selection.name(),
    };
    if arguments.json {
        progress.tell("", &told);
    }
    let outcome = whole(&selection, &progress, &interrupt, log).await;
    let why = outcome.as_ref().err().map(ToString::to_string);
    let verdict = match &outcome {
        Ok(_) => "passed",
        Err(_) if interrupt.so_far().is_err() => "interrupted",
        Err(_) => "failed",
    };
    if arguments.json {
        let told = Told::RunEnded {
            run: NAME,
            verdict,
            why: why.as_deref(),
            seconds: seconds(start.elapsed()),
        };
        progress.tell("", &told);
    }
    let (took, images) = outcome?;
    if arguments.floor {
        interrupt.or(compare(took, &progress, &images)).await?;
    }
    Ok(())
}

/// Images, cluster, steps, evidence if they failed, the end of the cluster.
async fn whole(
    selection: &Selection,
    progress: &Progress,
    interrupt: &Interrupt,
    log: &RunLog,
) -> Result<(Duration, Arc<ImageStore>), Failure> {
    let images = interrupt.or(images(progress)).await?;
    let start = Instant::now();
    let step = format!("start the cluster ({})", selection.name());
    let starting = progress.step(&step, async {
        Ok(selection.start(Arc::clone(&images), &lab::CARRIED).await?)
    });
    let cluster = interrupt.start(starting).await?;
    if !cluster.can(Capability::OwnCluster) {
        progress.say(&format!("in the namespace {}", cluster.namespace()));
    }
    let mut lab = Lab::new(&cluster);
    let mut outcome = interrupt.or(verify(&mut lab, progress)).await;
    let took = start.elapsed();
    if interrupt.so_far().is_ok() {
        outcome = keep_evidence(outcome, &cluster, selection, progress, log).await;
    }
    // Finalizers need the operator, so it is stopped last.
    let mut left = clean_up(&cluster, progress).await;
    let stopped = lab.stop_operator().await;
    drop(lab);
    left.extend(leave(cluster, progress).await);
    for line in left {
        progress.say(&format!("left behind: {line}"));
    }
    let outcome = outcome?;
    stopped?;
    progress.say(&format!("\n{}", table(&outcome.before, &outcome.after)));
    progress.say(&format!("verified in {:.2} s", took.as_secs_f64()));
    Ok((took, images))
}

/// Removes what was applied; a step of its own where there is something to remove.
async fn clean_up(cluster: &Cluster, progress: &Progress) -> Vec<String> {
    if cluster.can(Capability::OwnCluster) {
        return cluster.clean_up().await.0;
    }
    let cleaning = async { Ok(cluster.clean_up().await.0) };
    let left = progress.step("clean up, while the operator still runs", cleaning);
    left.await.unwrap_or_default()
}

/// Ends the cluster, or our part of it.
async fn leave(cluster: Cluster, progress: &Progress) -> Vec<String> {
    if cluster.backend().name() == "simulated" {
        return cluster.stop().await.0;
    }
    let leaving = async { Ok(cluster.stop().await.0) };
    let left = progress.step("leave the cluster", leaving);
    left.await.unwrap_or_default()
}

async fn images(progress: &Progress) -> Result<Arc<ImageStore>, Failure> {
    let images = progress
        .step(
            "link the operator's programs, prepare its image",
            lab::image_store_from(Programs::Job, StoreConfig::default()),
        )
        .await?;
    progress
        .step("MySQL is at hand", async {
            images
                .ensure("mysql:5.7", &scenarios::progress::Pull::new(progress))
                .await?;
            Ok(())
        })
        .await?;
    Ok(images)
}

async fn verify(lab: &mut Lab<'_>, progress: &Progress) -> Result<Outcome, Failure> {
    progress.step("apply crd.yml", lab.install()).await?;
    lab.start_operator();
    verification::verify(lab, progress).await
}

/// If it failed: what one needs to see why, and the failure without the cluster's secrets.
async fn keep_evidence(
    outcome: Result<Outcome, Failure>,
    cluster: &Cluster,
    selection: &Selection,
    progress: &Progress,
    log: &RunLog,
) -> Result<Outcome, Failure> {
    let Err(failure) = outcome else {
        return outcome;
    };
    let text = harness::proof::chain(&*failure);
    let to = harness::evidence::directory("lab-verify");
    let reproduce = format!("cargo lab verify --cluster {}", selection.name());
    let case = harness::evidence::Case {
        failure: &text,
        reproduce: &reproduce,
        run: None,
        log: Some(log),
    };
    let kept = harness::evidence::collect(cluster, case, &to).await;
    progress.say(&kept.to_string());
    Err(kept.secrets.hide(&text).into())
}

async fn compare(took: Duration, progress: &Progress, images: &ImageStore) -> Result<(), Failure> {
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
