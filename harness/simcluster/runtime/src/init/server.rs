//! The loop of the init process: calls from the owner, reports from children on their way, and children that end.
//!
//! It never waits for any one of them. What a child does between its clone and its program is in [`super::child`].

use std::{
    collections::BTreeMap,
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::wait,
    },
    unistd::Pid,
};

use super::{
    Doing, StepError,
    boot::Node,
    child::{self, Child, Work},
    leftovers::MountNamespace,
    network::SandboxNetwork,
    processes::{Outcome, Phase, Processes, Reports},
    program::Program,
};
use crate::{
    cgroups::{ContainerGroup, Groups},
    protocol::{Answer, Boot, Call, Failure, Joining, Notice, Report},
    spec::ExitStatus,
    sys::{self, SingleThreaded},
    wire::{Inbox, Outbox},
};

/// What a call has led to.
enum Response {
    /// The answer, with its descriptors.
    Now(Answer, Vec<OwnedFd>),
    /// The answer comes when something has happened.
    Later,
}

impl Response {
    const DONE: Self = Self::Now(Answer::Done, Vec::new());
}

mod calls;
mod usage;

/// The init process at work.
pub(super) struct Server {
    proof: SingleThreaded,
    socket: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    signals: SignalFd,
    boot: Boot,
    node: Node,
    sandboxes: BTreeMap<String, Sandbox>,
    containers: BTreeMap<String, Container>,
    processes: Processes,
    /// Or why there are none.
    groups: Result<Groups, String>,
    home_pids: OwnedFd,
}

struct Sandbox {
    network: SandboxNetwork,
    /// The mount that its containers share as `/dev/shm`.
    shared_memory: Option<PathBuf>,
    /// Directories that are in memory.
    memory: Vec<PathBuf>,
    /// The first of the processes that its containers share, if they do.
    first: Option<Pid>,
    /// The call that waits until all its processes are gone.
    removal: Option<u64>,
}

/// What a program executed later in a container needs to know of it.
struct Container {
    sandbox: String,
    program: Program,
    limits: Option<ContainerGroup>,
    /// Its mount namespace, by which its processes are known where they are among others.
    mounts: Option<MountNamespace>,
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        let errno = error.errno();
        Failure::System {
            doing: error.doing,
            errno,
        }
    }
}

impl Server {
    pub(super) fn new(
        proof: SingleThreaded,
        socket: OwnedFd,
        inbox: Inbox,
        boot: Boot,
        node: Node,
    ) -> io::Result<Self> {
        let mut children = SigSet::empty();
        children.add(Signal::SIGCHLD);
        children.thread_block()?;
        let signals =
            SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        let home_pids = fs::File::open("/proc/self/ns/pid")?.into();
        let groups = boot.limits.clone().map(Groups::new);
        let mut outbox = Outbox::default();
        outbox.push(&Notice::Ready, fabric(&boot, &node)?)?;
        Ok(Self {
            proof,
            socket,
            inbox,
            outbox,
            signals,
            boot,
            node,
            sandboxes: BTreeMap::new(),
            containers: BTreeMap::new(),
            processes: Processes::default(),
            groups,
            home_pids,
        })
    }

    /// Serves until the owner is gone.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            match self.outbox.flush(self.socket.as_fd()) {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
            let (called, ended, reported) = self.wait()?;
            if called {
                match self.inbox.fill(self.socket.as_fd()) {
                    Ok(0) => {
                        self.end();
                        return Ok(());
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
                while let Some((call, descriptors)) = self.inbox.take::<Call>()? {
                    self.handle(call, descriptors)?;
                }
            }
            for pid in reported {
                self.advance(pid)?;
            }
            if ended {
                self.reap()?;
            }
        }
    }

    /// Waits for anything: a call, the end of a child, reports of children.
    fn wait(&self) -> io::Result<(bool, bool, Vec<Pid>)> {
        let mut interest = PollFlags::POLLIN;
        if !self.outbox.is_empty() {
            interest |= PollFlags::POLLOUT;
        }
        let starting: Vec<_> = self.processes.starting().collect();
        let mut fds = vec![
            PollFd::new(self.socket.as_fd(), interest),
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(
            starting
                .iter()
                .map(|(_, channel)| PollFd::new(*channel, PollFlags::POLLIN)),
        );
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let readable = |fd: &PollFd<'_>| {
            let ready = PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR;
            fd.revents().is_some_and(|events| events.intersects(ready))
        };
        let reported = starting
            .iter()
            .zip(&fds[2..])
            .filter(|(_, fd)| readable(fd));
        Ok((
            readable(&fds[0]),
            readable(&fds[1]),
            reported.map(|((pid, _), _)| *pid).collect(),
        ))
    }

    fn handle(&mut self, call: Call, descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let id = call.id;
        match self.answer(call, descriptors) {
            Ok(Response::Later) => Ok(()),
            Ok(Response::Now(answer, descriptors)) => {
                let result = Ok(answer);
                self.outbox.push(&Notice::Reply { id, result }, descriptors)
            }
            Err(failure) => self.reply(id, Err(failure)),
        }
    }

    fn reply(&mut self, id: u64, result: Result<Answer, Failure>) -> io::Result<()> {
        self.outbox.push(&Notice::Reply { id, result }, Vec::new())
    }

    /// Clones a child to do some work.
    fn spawn(
        &self,
        work: Work,
        sandbox: Option<&str>,
        stdio: Vec<OwnedFd>,
        flags: CloneFlags,
        limits: Option<&ContainerGroup>,
    ) -> Result<(Pid, Reports), StepError> {
        let (ours, theirs) =
            std::os::unix::net::UnixStream::pair().doing("make a report channel")?;
        let namespaces = sandbox.and_then(|id| self.sandboxes.get(id));
        if let Some(pid) = sys::clone_process(&self.proof, flags).doing("clone a process")? {
            // Now, while it cannot have been waited for.
            let pidfd = sys::pidfd_open(pid).doing("open a process")?;
            return Ok((pid, Reports::new(ours.into(), pidfd)));
        }
        child::run(
            Child {
                identity: &self.boot.identity,
                node: &self.node,
                sandbox: namespaces.map(|sandbox| &sandbox.network.namespaces),
                shared_memory: namespaces.and_then(|sandbox| sandbox.shared_memory.as_deref()),
                limits,
                stdio,
                reports: theirs.into(),
            },
            work,
        )
    }

    /// Reads the reports of a child on its way, and answers its call when it has arrived or failed.
    fn advance(&mut self, pid: Pid) -> io::Result<()> {
        let Some(process) = self.processes.get_mut(pid) else {
            return Ok(());
        };
        let Phase::Starting { call, reports } = &mut process.phase else {
            return Ok(());
        };
        let id = *call;
        match reports.look() {
            Outcome::Pending => Ok(()),
            Outcome::Closed => {
                let terminal = reports.terminal.take();
                let warnings = std::mem::take(&mut reports.warnings);
                let pidfd = reports.pidfd.take();
                let mounts = reports.mounts;
                process.phase = Phase::Running;
                let container = process.container.as_ref();
                if let Some(container) = container.and_then(|id| self.containers.get_mut(id)) {
                    container.mounts = mounts;
                }
                let answer = Answer::Started {
                    terminal: terminal.is_some(),
                    warnings,
                };
                let descriptors = pidfd.into_iter().chain(terminal).collect();
                self.outbox.push(
                    &Notice::Reply {
                        id,
                        result: Ok(answer),
                    },
                    descriptors,
                )
            }
            Outcome::Failed(report) => {
                process.phase = Phase::Failed;
                // The owner may use its id again as soon as it knows.
                if let Some(container) = process.container.take() {
                    let limits = self.containers.remove(&container).and_then(|it| it.limits);
                    self.bury_limits(limits);
                }
                self.reply(id, Err(failure(report)))
            }
        }
    }

    /// Waits for every child that has ended.
    fn reap(&mut self) -> io::Result<()> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let Some((pid, status)) = sys::wait_for_any_child()? else {
                return Ok(());
            };
            self.advance(pid)?;
            self.bury(pid, status)?;
        }
    }

    /// The owner is gone: what does not end with the processes is removed here, and nowhere else.
    fn end(&mut self) {
        let Ok(groups) = &mut self.groups else { return };
        if !groups.are_used() {
            // The kernel does the rest.
            return;
        }
        // All but this process, which is the first in its namespace.
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while !matches!(wait(), Err(Errno::ECHILD)) {}
        groups.end();
    }

    /// Lets go of the group of a container that has ended, or has never begun.
    fn bury_limits(&mut self, limits: Option<ContainerGroup>) {
        if let (Ok(groups), Some(limits)) = (&mut self.groups, limits) {
            groups.bury(limits);
        }
    }

    fn bury(&mut self, pid: Pid, mut status: ExitStatus) -> io::Result<()> {
        let Some(process) = self.processes.remove(pid) else {
            return Ok(());
        };
        if let Some(container) = &process.container {
            let ended = self.containers.remove(container);
            if let Some(ended) = &ended {
                self.kill_the_rest(ended);
            }
            let limits = ended.and_then(|it| it.limits);
            status.oom_killed = limits
                .as_ref()
                .is_some_and(ContainerGroup::was_out_of_memory);
            self.bury_limits(limits);
        }
        match process.phase {
            Phase::Running => {
                if let Some(process) = process.key {
                    self.outbox
                        .push(&Notice::Exited { process, status }, Vec::new())?;
                }
            }
            Phase::Job { call, mut reports } => {
                let result = match reports.look() {
                    Outcome::Failed(report) => Err(failure(report)),
                    Outcome::Closed | Outcome::Pending if status.code == 0 => Ok(Answer::Done),
                    Outcome::Closed | Outcome::Pending => Err(Failure::System {
                        doing: format!("finish a job, which ended with code {}", status.code),
                        errno: 0,
                    }),
                };
                self.reply(call, result)?;
            }
            Phase::Starting { .. } | Phase::Failed => {}
        }
        if let Some(id) = process.sandbox {
            self.finish_removal(&id)?;
        }
        Ok(())
    }

    /// Where the first process of a container is not that of its namespace, the kernel does not end the others with it.
    fn kill_the_rest(&self, ended: &Container) {
        let sandbox = self.sandboxes.get(&ended.sandbox);
        let shared = sandbox.is_some_and(|sandbox| sandbox.first.is_some());
        if let Some(mounts) = ended.mounts.filter(|_| shared) {
            mounts.kill_all();
        }
    }

    fn finish_removal(&mut self, id: &str) -> io::Result<()> {
        let waiting = self.sandboxes.get(id).and_then(|sandbox| sandbox.removal);
        let Some(call) = waiting else { return Ok(()) };
        if !self.processes.in_sandbox(id).is_empty() {
            return Ok(());
        }
        self.forget_sandbox(id);
        self.reply(call, Ok(Answer::Done))
    }
}

/// The descriptors by which other nodes can join the fabric that this one has made.
fn fabric(boot: &Boot, node: &Node) -> io::Result<Vec<OwnedFd>> {
    match &node.switch {
        Some(switch) if boot.fabric == Joining::Makes => {
            let users = fs::File::open("/proc/self/ns/user")?;
            Ok(vec![switch.try_clone()?, users.into()])
        }
        _ => Ok(Vec::new()),
    }
}

fn failure(report: Report) -> Failure {
    match report {
        Report::Failed(error) => Failure::Launch(error),
        Report::JobFailed { doing, errno } => Failure::System { doing, errno },
        Report::Terminal | Report::Mounts(_) | Report::Warning(_) => Failure::System {
            doing: "understand a child's report".to_owned(),
            errno: 0,
        },
    }
}
