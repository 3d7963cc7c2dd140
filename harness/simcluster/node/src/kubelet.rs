//! The kubelet's API: logs, exec, attach and port-forward of this node's pods, and what they use.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Weak},
};

use futures::FutureExt as _;
use simcluster_kubelet_api::{
    Answer, Duplex, ExitStatus, Kubelet, KubeletError, LogOptions, LogStream, NodeStats, Output,
    Page, PodRef, Session, StreamOptions, TerminalSize,
};
use simcluster_runtime::spec::ExecSpec;
use tokio::{
    io::AsyncWriteExt as _,
    sync::{broadcast, mpsc, oneshot},
};

use crate::{
    agent::Pods,
    context::Context,
    handle::{PodHandle, Run},
    logs::{self, Source},
    pages,
    runtime::{Resize, Running, RuntimeError},
    stats,
};

/// This node, as an API server asks it. It does not keep the node alive.
pub(crate) struct NodeKubelet {
    context: Weak<Context>,
    pods: Pods,
}

impl NodeKubelet {
    pub(crate) fn new(context: &Arc<Context>, pods: Pods) -> Self {
        Self {
            context: Arc::downgrade(context),
            pods,
        }
    }

    fn context(&self) -> Result<Arc<Context>, KubeletError> {
        let ended = || KubeletError::Internal("the node has been shut down".into());
        self.context.upgrade().ok_or_else(ended)
    }

    fn find(&self, pod: &PodRef) -> Result<(Arc<Context>, Arc<PodHandle>), KubeletError> {
        let context = self.context()?;
        let missing = || KubeletError::NotFound(format!("pod {:?} not found", full_name(pod)));
        Ok((context, self.pods.get(&pod.uid).ok_or_else(missing)?))
    }
}

fn full_name(pod: &PodRef) -> String {
    format!("{}_{}", pod.name, pod.namespace)
}

impl Kubelet for NodeKubelet {
    fn logs(&self, pod: PodRef, options: LogOptions) -> Answer<LogStream> {
        let found = self.find(&pod);
        async move {
            let (_, handle) = found?;
            let log = log_of(&pod, &handle, &options)?;
            logs::read::stream(&log.log, &options).map_err(|error| {
                KubeletError::Internal(format!("failed to open the log of {}: {error}", pod.name))
            })
        }
        .boxed()
    }

    fn exec(&self, pod: PodRef, options: StreamOptions) -> Answer<Session> {
        let found = self.find(&pod);
        async move {
            let (context, handle) = found?;
            let run = running(&handle, &options.container)?;
            let spec = ExecSpec {
                container: run.id,
                command: options.command.clone(),
                tty: options.tty,
            };
            match context.runtime.exec(spec, options.stdin).await {
                Ok(process) => Ok(session(&context, process, &options)),
                Err(RuntimeError::NotRunning(_)) => Err(not_found(&options.container)),
                // The client learns on its error channel why the program could not be run.
                Err(RuntimeError::Program(text)) => Ok(failed_session(&options, text)),
                Err(RuntimeError::Failed(text)) => Err(KubeletError::Internal(text)),
            }
        }
        .boxed()
    }

    fn attach(&self, pod: PodRef, options: StreamOptions) -> Answer<Session> {
        let found = self.find(&pod);
        async move {
            let (context, handle) = found?;
            let run = running(&handle, &options.container)?;
            Ok(attached(&context, &run, &options))
        }
        .boxed()
    }

    fn port_forward(&self, pod: PodRef, port: u16) -> Answer<Box<dyn Duplex>> {
        let found = self.find(&pod);
        async move {
            let (context, handle) = found?;
            if handle.pod_ip().is_none() {
                return Err(KubeletError::BadRequest(
                    "unable to forward port because pod is not running. Current status=Pending"
                        .into(),
                ));
            }
            let uid = handle.uid.clone();
            context.runtime.dial(uid.clone(), Ipv4Addr::LOCALHOST, port).await.map_err(|error| {
                KubeletError::Internal(format!(
                    "failed to connect to localhost:{port} inside the network of pod {}: {error}",
                    full_name(&pod)
                ))
            })
        }
        .boxed()
    }

    fn stats(&self) -> Answer<NodeStats> {
        let (context, pods) = (self.context(), self.pods.clone());
        async move { stats::now(&*context?, &pods).await }.boxed()
    }

    fn page(&self, path: String, query: String) -> Answer<Page> {
        let (context, pods) = (self.context(), self.pods.clone());
        async move { pages::answer(&*context?, &pods, &path, &query).await }.boxed()
    }
}

fn not_found(container: &str) -> KubeletError {
    KubeletError::NotFound(format!("container not found ({container:?})"))
}

fn running(handle: &PodHandle, container: &str) -> Result<Run, KubeletError> {
    handle
        .runs(container)
        .current
        .filter(Run::alive)
        .ok_or_else(|| not_found(container))
}

/// The run whose log is asked for.
pub(crate) fn log_of(
    pod: &PodRef,
    handle: &PodHandle,
    options: &LogOptions,
) -> Result<Run, KubeletError> {
    let (container, name) = (&options.container, &pod.name);
    let runs = handle.runs(container);
    if options.previous {
        let ended = runs.current.as_ref().is_some_and(|run| !run.alive());
        // A container between two runs has its newest run in `lastState` already.
        let waiting = handle
            .container_status(container)
            .and_then(|s| s.state)
            .is_some_and(|state| state.waiting.is_some());
        let previous = if ended && waiting {
            runs.current
        } else {
            runs.previous
        };
        return previous.ok_or_else(|| {
            KubeletError::BadRequest(format!(
                "previous terminated container {container:?} in pod {name:?} not found"
            ))
        });
    }
    runs.current.ok_or_else(|| {
        let waiting = handle
            .container_status(container)
            .and_then(|s| s.state?.waiting);
        let reason = waiting
            .and_then(|w| w.reason)
            .unwrap_or_else(|| "ContainerCreating".into());
        let why = match reason.as_str() {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        KubeletError::BadRequest(format!(
            "container {container:?} in pod {name:?} is waiting to start: {why}"
        ))
    })
}

/// An executed program as a session; it is killed when the client has gone.
fn session(context: &Context, process: Running, options: &StreamOptions) -> Session {
    let Running {
        stdin,
        stdout,
        stderr,
        resize,
        exit,
        kill,
    } = process;
    let (mut tell, told) = oneshot::channel();
    context.tasks.spawn(async move {
        tokio::select! {
            status = exit => {
                let _ = tell.send(ExitStatus::Exited(status.code));
            }
            () = tell.closed() => kill.await,
        }
    });
    Session {
        stdin: stdin.filter(|_| options.stdin),
        stdout: stdout.filter(|_| options.stdout),
        stderr: stderr.filter(|_| options.stderr && !options.tty),
        resize: resize.map(|resize| resizer(context, Arc::new(resize))),
        exit: told,
    }
}

/// A session in which nothing ever ran.
fn failed_session(options: &StreamOptions, why: String) -> Session {
    let (tell, told) = oneshot::channel();
    // The receiver is in our hand.
    let _ = tell.send(ExitStatus::Failed(why));
    let empty = || Box::new(tokio::io::empty()) as Output;
    Session {
        stdin: options.stdin.then(|| Box::new(tokio::io::sink()) as _),
        stdout: options.stdout.then(empty),
        stderr: (options.stderr && !options.tty).then(empty),
        resize: None,
        exit: told,
    }
}

fn resizer(context: &Context, resize: Arc<Resize>) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel(4);
    context.tasks.spawn(async move {
        while let Some(size) = sizes.recv().await {
            resize(size);
        }
    });
    sender
}

/// The bytes of a container from now on, until its end.
fn attached(context: &Context, run: &Run, options: &StreamOptions) -> Session {
    const PIPE: usize = 64 * 1024;
    let (tell, told) = oneshot::channel();
    let mut outputs = Vec::new();
    let mut pipe = |wanted: bool, source: Source| {
        wanted.then(|| {
            let (ours, theirs) = tokio::io::duplex(PIPE);
            outputs.push((source, ours));
            Box::new(theirs) as Output
        })
    };
    let stdout = pipe(options.stdout, Source::Stdout);
    let stderr = pipe(options.stderr && !options.tty, Source::Stderr);
    let mut live = run.log.live();
    let mut progress = run.log.progress();
    let exit = run.exit.clone();
    context.tasks.spawn(async move {
        loop {
            let chunk = tokio::select! {
                biased;
                chunk = live.recv() => chunk,
                _ = progress.wait_for(|p| p.closed) => break,
            };
            match chunk {
                Ok((source, bytes)) => {
                    for (_, output) in outputs.iter_mut().filter(|(of, _)| *of == source) {
                        // A client that has gone away ends its session by itself.
                        let _ = output.write_all(&bytes).await;
                    }
                }
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "an attached client is too slow");
                }
                Err(broadcast::error::RecvError::Closed) => break,
            }
        }
        drop(outputs);
        let code = *exit.borrow();
        let _ = tell.send(ExitStatus::Exited(code.unwrap_or_default()));
    });
    let stdin = options.stdin.then(|| {
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (input, once) = (Arc::clone(&run.stdin), run.stdin_once);
        context.tasks.spawn(async move {
            let mut input = input.lock().await;
            if let Some(input) = input.as_mut() {
                let (mut ours, _) = tokio::io::split(ours);
                let _ = tokio::io::copy(&mut ours, input).await;
            }
            if once {
                *input = None;
            }
        });
        Box::new(theirs) as _
    });
    Session {
        stdin,
        stdout,
        stderr,
        resize: run.resize.clone().map(|resize| resizer(context, resize)),
        exit: told,
    }
}
