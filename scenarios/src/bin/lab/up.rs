//! `lab up`: a cluster to work in with kubectl, until Ctrl-C or SIGTERM.
//!
//! With `--scenario` the steps of a scenario file run in it first, as far as one likes; what they left is
//! handed over, with the operator running.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use harness::{
    Cluster, Failure,
    backend::simulated::Simulated,
    report::{Live, Style},
    scenario::{self, Loaded, Options, Subject as _, Verdict},
};
use scenarios::{deploy, images::Programs, lab, progress::Progress, subject::Operator};
use simcluster::StoreConfig;
use tokio::signal::unix::{SignalKind, signal};

use crate::kubeconfig_file::KubeconfigFile;

/// Arguments of `lab up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where to write the kubeconfig; your own configuration is never touched.
    #[arg(long, default_value = "lab.kubeconfig")]
    kubeconfig: PathBuf,
    /// Port of the API server on 127.0.0.1; a free one unless given.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Apply the CRD and the operator of deploy/ and wait until the operator is available.
    #[arg(long)]
    deploy: bool,
    /// Run a scenario first, with the operator as a part of this program, and leave everything as it then is.
    #[arg(long, value_name = "FILE", conflicts_with = "deploy")]
    scenario: Option<PathBuf>,
    /// Stop the scenario before this step.
    #[arg(long, value_name = "STEP", requires = "scenario")]
    before: Option<String>,
}

impl Arguments {
    /// The scenario to run first, if it and the step to stop before are there.
    fn scenario(&self) -> Result<Option<Loaded>, Failure> {
        let Some(path) = &self.scenario else {
            return Ok(None);
        };
        let mut all = scenario::load(path)?;
        if all.len() != 1 {
            let names: Vec<String> = all.iter().map(|one| one.name(0)).collect();
            return Err(format!(
                "{} holds {} scenarios ({}), and a cluster can be handed over after one only; \
                 put the one into a file of its own",
                path.display(),
                names.len(),
                names.join(", ")
            )
            .into());
        }
        let loaded = all.remove(0);
        let mistakes = scenario::lint::lint(&loaded);
        if !mistakes.is_empty() {
            return Err(format!("{}: {}", path.display(), mistakes.join("\n  ")).into());
        }
        let steps = loaded.step_names();
        if let Some(before) = &self.before
            && !steps.contains(before)
        {
            return Err(format!(
                "{} has no step {before:?}; its steps are {}",
                path.display(),
                steps.join(", ")
            )
            .into());
        }
        Ok(Some(loaded))
    }
}

/// Starts the cluster and waits for the end.
pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let loaded = arguments.scenario()?;
    let mut file = KubeconfigFile::claim(&arguments.kubeconfig)?;
    let progress = Progress::shown();
    let mut cluster = None;
    let mut operator = Operator::new();
    let outcome = tokio::select! {
        outcome = async {
            let cluster = start(&arguments, &progress, &mut file, &mut cluster).await?;
            if let Some(loaded) = &loaded {
                play(loaded, arguments.before.clone(), cluster, &mut operator, &progress).await?;
            }
            hand_over(&arguments, &progress).await
        } => outcome,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let outcome = outcome.and(operator.stop().await);
    if let Some(cluster) = cluster {
        progress.say("ending the cluster");
        cluster.stop().await;
    }
    outcome
}

/// Makes the cluster and writes its kubeconfig.
async fn start<'a>(
    arguments: &Arguments,
    progress: &Progress,
    file: &mut KubeconfigFile,
    cluster: &'a mut Option<Cluster>,
) -> Result<&'a Cluster, Failure> {
    let images = progress
        .step(
            "link the operator's programs, prepare its image",
            lab::image_store_from(Programs::All, StoreConfig::default()),
        )
        .await?;
    let backend = progress
        .step("start the cluster", async {
            Ok(Simulated::start(images).await?)
        })
        .await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let kubeconfig = backend.cluster().listen(address).await;
    let cluster = &*cluster.insert(Cluster::new(Box::new(backend), "default"));
    file.write(&serde_yaml::to_string(&kubeconfig?)?)?;
    if arguments.deploy {
        progress
            .step("apply deploy/: the operator is available", install(cluster))
            .await?;
    }
    Ok(cluster)
}

/// Runs a scenario as far as it shall, or as it can, and says where it stands.
async fn play(
    loaded: &Loaded,
    before: Option<String>,
    cluster: &Cluster,
    operator: &mut Operator,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut live = Live::new(Style::Plain);
    let options = Options {
        stop_before: before,
        keep: true,
        ..Options::default()
    };
    live.begin(&loaded.name(0), cluster.backend().name());
    scenarios::Lab::new(cluster).install().await?;
    let run = scenario::run_with(loaded, cluster, operator, &mut live, &options).await;
    live.end(&run);
    progress.say(match run.verdict {
        Verdict::Stopped(_) => "the cluster stands before that step, and the operator runs",
        Verdict::Failed(_) => "the cluster is as it was when that failed",
        Verdict::Passed => "the cluster is as the last step left it; nothing was cleaned up",
        Verdict::Skipped(_) | Verdict::Interrupted => "nothing of it was run",
    });
    Ok(())
}

/// Says how to use it and stays; whoever waits for this ends it.
async fn hand_over(arguments: &Arguments, progress: &Progress) -> Result<(), Failure> {
    let path = std::path::absolute(&arguments.kubeconfig)?;
    progress.say(&format!(
        "\nready. In another terminal:\n  export KUBECONFIG={}\n  kubectl get all\n\
         What happened to an object, and the cluster as it was:\n  cargo lab why KIND/NAME\n  \
         cargo lab at REVISION\nCtrl-C ends it.",
        path.display()
    ));
    std::future::pending().await
}

async fn install(cluster: &Cluster) -> Result<(), Failure> {
    scenarios::Lab::new(cluster).install().await?;
    for (_, manifest) in deploy::OPERATOR {
        cluster.apply(manifest).await?;
    }
    let deployments = cluster.namespaced();
    let available = harness::conditions::deployment_available();
    cluster
        .wait(&deployments, "mysql-operator", available)
        .await?;
    Ok(())
}
