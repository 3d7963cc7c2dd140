//! command and script: programs of this machine, with a kubeconfig of the cluster and nothing of the user's.

use std::{io, os::unix::fs::OpenOptionsExt as _, path::Path, process::Stdio, time::Duration};

use serde_json::{Value, json};

use tokio::time::Instant;

use super::{Engine, values::nothing};
use crate::{
    Failure,
    scenario::{
        environment::expanded,
        model::{Binding, Command, Output, Script},
    },
};

/// A kubeconfig for programs, removed with the engine.
#[derive(Debug)]
pub(super) struct KubeconfigFile(tempfile::TempDir);

impl KubeconfigFile {
    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("kubeconfig")
    }
}

/// What is run, and what is made of the result.
struct Program<'a> {
    executable: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<&'a String>,
    quiet: bool,
    check: Option<&'a Value>,
    outputs: &'a [Output],
    timeout: Option<&'a String>,
    /// Again until it succeeds or the time is over.
    until_success: bool,
}

/// How long after a failure a program that must succeed some time is run again.
const RUN_AGAIN: Duration = Duration::from_millis(500);

/// What became of a program.
struct ProgramResult {
    stdout: String,
    stderr: String,
    /// In Go's words, as chainsaw's tests know them: `exit status 3`.
    error: Option<String>,
}

impl ProgramResult {
    fn new(output: &std::process::Output) -> Self {
        use std::os::unix::process::ExitStatusExt as _;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let status = output.status;
        let error = match (status.code(), status.signal()) {
            (Some(0), _) => None,
            (Some(code), _) => Some(format!("exit status {code}")),
            (None, Some(signal)) => Some(format!("ended by signal {signal}")),
            (None, None) => Some(status.to_string()),
        };
        Self {
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            error,
        }
    }

    fn none(error: String) -> Self {
        Self {
            stdout: String::new(),
            stderr: String::new(),
            error: Some(error),
        }
    }
}

impl Engine<'_, '_> {
    pub(super) async fn command(&mut self, command: &Command) -> Result<(), Failure> {
        let environment = self.environment(&command.env).await?;
        let value_of = |name: &str| {
            let own = environment.iter().find(|(known, _)| known == name);
            own.map(|(_, value)| value.clone())
                .or_else(|| std::env::var(name).ok())
        };
        let arguments = command
            .args
            .iter()
            .map(|argument| Ok(expanded(&self.text(argument)?, value_of)))
            .collect::<Result<_, Failure>>()?;
        let program = self.text(&command.entrypoint)?;
        self.program(Program {
            executable: program,
            arguments,
            environment,
            directory: command.work_dir.as_ref(),
            quiet: command.skip_log_output,
            check: command.check.as_ref(),
            outputs: &command.outputs,
            timeout: command.timeout.as_ref(),
            until_success: false,
        })
        .await
    }

    pub(super) async fn script(&mut self, script: &Script) -> Result<(), Failure> {
        let mut arguments = script.shell_args.clone();
        if arguments.is_empty() {
            arguments.push("-c".to_owned());
        }
        arguments.push(script.content.clone());
        self.program(Program {
            executable: script.shell.clone().unwrap_or_else(|| "sh".to_owned()),
            arguments,
            environment: self.environment(&script.env).await?,
            directory: script.work_dir.as_ref(),
            quiet: script.skip_log_output,
            check: script.check.as_ref(),
            outputs: &script.outputs,
            timeout: script.timeout.as_ref(),
            until_success: script.until_success,
        })
        .await
    }

    async fn program(&mut self, program: Program<'_>) -> Result<(), Failure> {
        let limit = self.limit(program.timeout, |t| &t.exec, 5)?;
        let kubeconfig = self.kubeconfig_file().await?;
        let directory = match program.directory {
            Some(directory) => self.folder.join(directory),
            None => self.folder.clone(),
        };
        let deadline = Instant::now() + limit;
        let name = &program.executable;
        let mut command = tokio::process::Command::new(name);
        command
            .args(&program.arguments)
            .current_dir(if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &directory
            })
            .env("KUBECONFIG", kubeconfig)
            .envs(
                program
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let result = loop {
            let result = match tokio::time::timeout_at(deadline, command.output()).await {
                Ok(Ok(output)) => ProgramResult::new(&output),
                Ok(Err(error)) => ProgramResult::none(format!("{name} could not be run: {error}")),
                Err(_) => ProgramResult::none(format!(
                    "{name} did not end within {limit:?}, so it was killed"
                )),
            };
            let again = program.until_success && result.error.is_some();
            if !again || Instant::now() + RUN_AGAIN >= deadline {
                break result;
            }
            tokio::time::sleep(RUN_AGAIN).await;
        };
        if !program.quiet {
            self.output = Some(format!("{}{}", result.stdout, result.stderr));
        }
        let before = self.bindings.clone();
        self.bindings.insert("stdout", result.stdout.into());
        self.bindings.insert("stderr", result.stderr.clone().into());
        self.bindings.insert("error", json!(result.error));
        let judged = self.judge_program(program.check, result.error, &result.stderr);
        let outcome = match judged.await {
            Ok(()) => self.keep(program.outputs, &nothing()).await,
            failed => failed,
        };
        self.forget(["stdout", "stderr", "error"].into_iter(), &before);
        outcome
    }

    /// What a program finds in its environment beside what this process has.
    async fn environment(&self, variables: &[Binding]) -> Result<Vec<(String, String)>, Failure> {
        let mut environment = vec![("NAMESPACE".to_owned(), self.namespace.clone())];
        for variable in variables {
            let bindings = self.bindings.with_compiler(variable.compiler);
            let value = self.asked(&bindings, &variable.value, &nothing()).await?;
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            environment.push((self.text(&variable.name)?, value));
        }
        Ok(environment)
    }

    async fn judge_program(
        &self,
        check: Option<&Value>,
        error: Option<String>,
        stderr: &str,
    ) -> Result<(), Failure> {
        let Some(check) = check else {
            return match error {
                None => Ok(()),
                Some(error) => Err(format!("{error}: {}", stderr.trim())
                    .trim_end_matches(": ")
                    .into()),
            };
        };
        let found = self.compared(check, &nothing(), &self.bindings).await?;
        if found.is_empty() {
            return Ok(());
        }
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        Err(format!("{}\nstandard error: {}", found.join("\n  "), stderr.trim()).into())
    }

    async fn kubeconfig_file(&mut self) -> Result<std::path::PathBuf, Failure> {
        if let Some(file) = &self.kubeconfig {
            return Ok(file.path());
        }
        let mut kubeconfig = self.cluster.backend().kubeconfig().await?;
        for context in &mut kubeconfig.contexts {
            if let Some(context) = &mut context.context {
                context.namespace = Some(self.namespace.clone());
            }
        }
        let file = KubeconfigFile(
            tempfile::Builder::new()
                .prefix("harness-scenario-")
                .tempdir()?,
        );
        let mut to = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(file.path())?;
        io::Write::write_all(&mut to, serde_yaml::to_string(&kubeconfig)?.as_bytes())?;
        let path = file.path();
        self.kubeconfig = Some(file);
        Ok(path)
    }
}
