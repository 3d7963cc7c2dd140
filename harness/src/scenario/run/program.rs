//! command and script: programs of this machine, with a kubeconfig of the cluster and nothing of the user's.

use std::{io, os::unix::fs::OpenOptionsExt as _, path::Path, process::Stdio};

use serde_json::{Value, json};

use super::Engine;
use crate::{
    Failure,
    scenario::{
        assertion::differences,
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
    environment: &'a [Binding],
    directory: Option<&'a String>,
    quiet: bool,
    check: Option<&'a Value>,
    outputs: &'a [Output],
    timeout: Option<&'a String>,
}

impl Engine<'_, '_> {
    pub(super) async fn command(&mut self, command: &Command) -> Result<(), Failure> {
        let arguments = command
            .args
            .iter()
            .map(|argument| self.text(argument))
            .collect::<Result<_, _>>()?;
        let program = self.text(&command.entrypoint)?;
        self.program(Program {
            executable: program,
            arguments,
            environment: &command.env,
            directory: command.work_dir.as_ref(),
            quiet: command.skip_log_output,
            check: command.check.as_ref(),
            outputs: &command.outputs,
            timeout: command.timeout.as_ref(),
        })
        .await
    }

    pub(super) async fn script(&mut self, script: &Script) -> Result<(), Failure> {
        self.program(Program {
            executable: script.shell.clone().unwrap_or_else(|| "sh".to_owned()),
            arguments: vec!["-c".to_owned(), script.content.clone()],
            environment: &script.env,
            directory: script.work_dir.as_ref(),
            quiet: script.skip_log_output,
            check: script.check.as_ref(),
            outputs: &script.outputs,
            timeout: script.timeout.as_ref(),
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
        let mut command = tokio::process::Command::new(&program.executable);
        command
            .args(&program.arguments)
            .current_dir(if directory.as_os_str().is_empty() {
                Path::new(".")
            } else {
                &directory
            })
            .env("KUBECONFIG", kubeconfig)
            .env("NAMESPACE", &self.namespace)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for variable in program.environment {
            let value = self.evaluated(&variable.value)?;
            let value = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            command.env(&variable.name, value);
        }
        let name = &program.executable;
        let output = tokio::time::timeout(limit, command.output())
            .await
            .map_err(|_| format!("{name} did not end within {limit:?}, so it was killed"))?
            .map_err(|error| format!("{name} could not be run: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        if !program.quiet {
            self.output = Some(format!("{stdout}{stderr}"));
        }
        let error = (!output.status.success()).then(|| output.status.to_string());
        let before = self.bindings.clone();
        self.bindings.insert("stdout".to_owned(), stdout.into());
        self.bindings
            .insert("stderr".to_owned(), stderr.clone().into());
        self.bindings.insert("error".to_owned(), json!(error));
        let outcome = self.judge_program(program.check, error, &stderr);
        let outcome = outcome.and_then(|()| self.keep(program.outputs, &super::nothing()));
        for name in ["stdout", "stderr", "error"] {
            match before.get(name) {
                Some(value) => self.bindings.insert(name.to_owned(), value.clone()),
                None => self.bindings.remove(name),
            };
        }
        outcome
    }

    fn judge_program(
        &self,
        check: Option<&Value>,
        error: Option<String>,
        stderr: &str,
    ) -> Result<(), Failure> {
        let Some(check) = check else {
            return match error {
                None => Ok(()),
                Some(error) => Err(format!("{error}: {}", stderr.trim()).into()),
            };
        };
        let found = differences(check, &super::nothing(), &self.bindings)?;
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
