//! The command line of the operator, and the environment that the deployment sets.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::lease::{Election, PATIENCE};
use crate::settings::Settings;
use crate::telemetry::{self, LogFormat};
use crate::{crd, watch};

/// An operator that runs MySQL from a custom resource and never loses a row.
#[derive(Debug, Parser)]
#[command(version)]
pub struct Arguments {
    /// Print the custom resource definition and exit.
    #[arg(long)]
    print_crd: bool,
    /// The image that carries /mysql-job; the operator's own.
    #[arg(long, env = "OPERATOR_IMAGE", default_value_t = Settings::default().operator_image)]
    operator_image: String,
    /// Where the directories of operator-made volumes begin on the node.
    #[arg(long, env = "HOST_PATH_ROOT", default_value_t = Settings::default().host_path_root)]
    host_path_root: String,
    /// Watch this namespace only.
    #[arg(long, env = "WATCH_NAMESPACE")]
    watch_namespace: Option<String>,
    /// How often to look whether root still has the password of the spec, in minutes; 0 for never.
    #[arg(long, env = "PASSWORD_CHECK_MINUTES", default_value_t = 360)]
    password_check_minutes: u32,
    /// Where to serve /healthz and /metrics.
    #[arg(long, env = "HTTP_ADDRESS", default_value = "0.0.0.0:8080")]
    http_address: SocketAddr,
    /// The namespace of the Lease that makes this operator the only one at work.
    #[arg(long, env = "POD_NAMESPACE")]
    lease_namespace: Option<String>,
    /// This operator's name in the Lease.
    #[arg(long, env = "POD_NAME", default_value = "mysql-operator")]
    identity: String,
    /// How log lines look.
    #[arg(long, env = "LOG_FORMAT", value_enum, default_value_t = LogFormat::Human)]
    log_format: LogFormat,
}

impl Arguments {
    /// Does what the command line says; ends with SIGTERM or Ctrl-C.
    pub fn run(self) -> ExitCode {
        if self.print_crd {
            return print_crd();
        }
        telemetry::start(self.log_format);
        let settings = Settings {
            operator_image: self.operator_image,
            host_path_root: self.host_path_root,
            http: Some(self.http_address),
            election: self.lease_namespace.map(|namespace| Election {
                namespace,
                identity: self.identity,
                patience: PATIENCE,
            }),
            password_check: (self.password_check_minutes > 0)
                .then(|| Duration::from_secs(u64::from(self.password_check_minutes) * 60)),
            watch_namespace: self
                .watch_namespace
                .filter(|namespace| !namespace.is_empty()),
            ..Settings::default()
        };
        let runtime = match tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "cannot start the runtime");
                return ExitCode::FAILURE;
            }
        };
        runtime.block_on(serve(settings))
    }
}

#[expect(clippy::print_stdout, reason = "the output is what was asked for")]
fn print_crd() -> ExitCode {
    match crd::manifest() {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

async fn serve(settings: Settings) -> ExitCode {
    let client = match Client::try_default().await {
        Ok(client) => client,
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), "no cluster to work for");
            return ExitCode::FAILURE;
        }
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(on_signal(shutdown.clone()));
    match watch::run(client, settings, shutdown).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %telemetry::chain(&error), "the operator stops");
            ExitCode::FAILURE
        }
    }
}

async fn on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            // Without the handler the signal ends the process by itself.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    shutdown.cancel();
}
