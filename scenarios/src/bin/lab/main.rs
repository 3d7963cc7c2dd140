//! `cargo lab`: the laboratory on the command line.
//!
//! `verify` runs the homework's verification, `up` gives you a cluster to work in with kubectl, `why` and `at`
//! look into its past, `image` writes the operator's image, `doctor` says what this machine can do. Each is a
//! module here; what they show is in the library.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use harness::backend::SelectionError;

mod at;
mod cluster;
mod completions;
mod doctor;
mod image;
mod images;
mod interrupt;
mod k3s_image;
mod kubeconfig_file;
mod running;
mod scenario;
mod up;
mod verify;
mod why;

/// A cluster makes and drops small trees of JSON all the time, at which this allocator is better by a sixth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As clap ends on a command line that it does not understand.
const NOT_UNDERSTOOD: u8 = 2;

/// What the shell is told.
const EXIT_CODES: &str = "Exit codes: 0 all went well, or a cluster was ended as asked; 1 something failed, \
    which is said; 2 the command line is not understood; 130 or 143 it was interrupted, by Ctrl-C or SIGTERM.";

/// Where a newcomer begins.
const BEGIN: &str = "Begin with:\n  \
    cargo lab doctor                  does this machine have what is needed?\n  \
    cargo lab verify                  the homework's verification, with its times\n  \
    cargo lab up --deploy             a cluster with the operator in it, for kubectl in another terminal\n  \
    cargo lab why mysql/NAME          there: each write to an object, who did it and why\n  \
    cargo lab scenario run scenarios/declarative\n\n";

/// The laboratory in which mysql-operator is proved.
#[derive(Debug, Parser)]
#[command(
    name = "lab",
    bin_name = "cargo lab",
    version,
    arg_required_else_help = true,
    after_help = format!("{BEGIN}{EXIT_CODES}")
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the homework's verification: create, fill, delete with backup, restore, change password.
    Verify(verify::Arguments),
    /// Start a cluster, write its kubeconfig, and keep it until Ctrl-C.
    Up(up::Arguments),
    /// List each write to an object of a running `lab up`: who, what changed, and why.
    Why(why::Arguments),
    /// Show kubectl the cluster of a running `lab up` as it was at a revision, read-only.
    At(at::Arguments),
    /// Write the operator's image as an archive; no Docker needed.
    Image(image::Arguments),
    /// Run scenario files, look for mistakes in them, print their schema.
    Scenario(scenario::Arguments),
    /// Build a container image of the simulated cluster that libraries for test containers take for k3s.
    K3sImage(k3s_image::Arguments),
    /// List, pull, import and remove cached images.
    #[command(subcommand)]
    Images(images::Command),
    /// Say what this machine can do, and what to change where it cannot.
    Doctor,
    /// Print what a shell needs to complete commands and options.
    Completions(completions::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let log = start_logging();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no async runtime: {error}")),
    };
    let outcome = runtime.block_on(async {
        match arguments.command {
            Command::Verify(arguments) => Box::pin(verify::run(arguments, &log)).await,
            Command::Up(arguments) => Box::pin(up::run(arguments)).await,
            Command::Why(arguments) => Box::pin(why::run(arguments)).await,
            Command::At(arguments) => Box::pin(at::run(arguments)).await,
            Command::Image(arguments) => Box::pin(image::run(arguments)).await,
            Command::Scenario(arguments) => Box::pin(scenario::run(arguments, &log)).await,
            Command::K3sImage(arguments) => k3s_image::run(&arguments).await,
            Command::Images(command) => images::run(command).await,
            Command::Doctor => doctor::run().await,
            Command::Completions(arguments) => completions::run(&arguments),
        }
    });
    // What an interrupted run had threads do, such as unpacking an image, is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => match failure.downcast_ref::<interrupt::Interrupted>() {
            Some(interrupted) => ExitCode::from(interrupted.exit_code()),
            None if failure.is::<SelectionError>() => {
                fail(&harness::proof::chain(&*failure));
                ExitCode::from(NOT_UNDERSTOOD)
            }
            None => fail(&harness::proof::chain(&*failure)),
        },
    }
}

/// Errors go to the terminal, or what `LAB_LOG` asks for; more is kept for the evidence of a failed run.
fn start_logging() -> harness::evidence::RunLog {
    use tracing_subscriber::{
        EnvFilter, Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
    };
    let log = harness::evidence::RunLog::default();
    let shown = EnvFilter::try_from_env("LAB_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    let to_terminal = fmt::layer().with_writer(std::io::stderr).with_filter(shown);
    let to_evidence = fmt::layer()
        .with_ansi(false)
        .with_writer(log.clone())
        .with_filter(harness::proof::kept());
    tracing_subscriber::registry()
        .with(to_terminal)
        .with(to_evidence)
        .init();
    log
}

#[expect(
    clippy::print_stderr,
    reason = "the one place where the program says why it failed"
)]
fn fail(text: &str) -> ExitCode {
    eprintln!("error: {text}");
    ExitCode::FAILURE
}
