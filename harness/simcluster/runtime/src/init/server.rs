//! The loop of the init process: calls from the owner, reports from children on their way, and children that end.
//!
//! It never waits for any one of them. What a child does between its clone and its program is in [`super::child`].

use std::{
    collections::BTreeMap,
    fs, io,
    net::SocketAddrV4,
    os::fd::{AsFd, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, setns},
    sys::{
        signal::{SigSet, Signal, kill},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

use super::{
    Doing, StepError,
    boot::Node,
    child::{self, Child, Work},
    network::{self, SandboxNetwork},
    processes::{Outcome, Phase, Process, Processes, Reports},
    program::Program,
};
use crate::{
    protocol::{Answer, Boot, Call, Failure, Notice, Report, Request},
    spec::{ContainerSpec, ExecSpec, ExitStatus, SandboxSpec, Target},
    sys::{self, SingleThreaded},
    wire::{Inbox, Outbox},
};

/// `Ok(None)`: the answer comes later.
type Handled = Result<Option<(Answer, Vec<OwnedFd>)>, Failure>;

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
    home_pids: OwnedFd,
}

struct Sandbox {
    network: SandboxNetwork,
    /// The call that waits until all its processes are gone.
    removal: Option<u64>,
}

/// What a program executed later in a container needs to know of it.
struct Container {
    sandbox: String,
    program: Program,
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
        let mut outbox = Outbox::default();
        outbox.push(&Notice::Ready, Vec::new())?;
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
                    Ok(0) => return Ok(()),
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
            Ok(None) => Ok(()),
            Ok(Some((answer, descriptors))) => self.outbox.push(
                &Notice::Reply {
                    id,
                    result: Ok(answer),
                },
                descriptors,
            ),
            Err(failure) => self.reply(id, Err(failure)),
        }
    }

    fn reply(&mut self, id: u64, result: Result<Answer, Failure>) -> io::Result<()> {
        self.outbox.push(&Notice::Reply { id, result }, Vec::new())
    }

    fn answer(&mut self, call: Call, descriptors: Vec<OwnedFd>) -> Handled {
        let id = call.id;
        match call.request {
            Request::CreateSandbox(spec) => self.create_sandbox(&spec).map(done),
            Request::RemoveSandbox { id: sandbox } => self.remove_sandbox(id, &sandbox),
            Request::Start { process, spec } => self
                .start_container(id, process, *spec, descriptors)
                .map(|()| None),
            Request::Exec { process, spec } => {
                self.exec(id, process, spec, descriptors).map(|()| None)
            }
            Request::SignalContainer { container, signal } => {
                let pid = self.processes.by_container(&container);
                let pid = pid.ok_or_else(|| Failure::NoSuchContainer(container.clone()))?;
                send_signal(pid, signal, &container).map(done)
            }
            Request::SignalProcess { process, signal } => match self.processes.by_key(process) {
                // It has ended meanwhile, which is what signals are mostly for.
                None => Ok(done(())),
                Some(pid) => send_signal(pid, signal, &format!("process {pid}")).map(done),
            },
            Request::Dial {
                target,
                address,
                port,
            } => {
                let to = SocketAddrV4::new(address, port);
                let from = match target {
                    Target::Node => None,
                    Target::Sandbox(sandbox) => Some(&self.live_sandbox(&sandbox)?.network),
                };
                let made = self
                    .node
                    .network
                    .dial(from, to)
                    .doing(format!("dial {to}"))?;
                Ok(Some((Answer::Socket, vec![made])))
            }
            Request::Listen { address, port } => {
                let at = SocketAddrV4::new(address, port);
                let made = network::listen_at(at).doing(format!("listen at {at}"))?;
                Ok(Some((Answer::Socket, vec![made])))
            }
            Request::Udp { address, port } => {
                let at = SocketAddrV4::new(address, port);
                let made = network::udp_at(at).doing(format!("bind udp {at}"))?;
                Ok(Some((Answer::Socket, vec![made])))
            }
            Request::AddAddress { address } => {
                let added = self.node.network.add_address(address);
                Ok(done(
                    added.doing(format!("add the address {address} to the node"))?,
                ))
            }
            Request::RemoveAddress { address } => {
                let removed = self.node.network.remove_address(address);
                Ok(done(removed.doing(format!(
                    "remove the address {address} from the node"
                ))?))
            }
            Request::RemoveTree { path } => {
                let work = Work::RemoveTree(path);
                let (pid, reports) = self.spawn(work, None, Vec::new(), CloneFlags::empty())?;
                let phase = Phase::Job { call: id, reports };
                let process = Process {
                    key: u64::MAX,
                    sandbox: None,
                    container: None,
                    phase,
                };
                self.processes.insert(pid, process);
                Ok(None)
            }
        }
    }

    fn live_sandbox(&self, id: &str) -> Result<&Sandbox, Failure> {
        self.sandboxes
            .get(id)
            .filter(|sandbox| sandbox.removal.is_none())
            .ok_or_else(|| Failure::NoSuchSandbox(id.to_owned()))
    }

    fn create_sandbox(&mut self, spec: &SandboxSpec) -> Result<(), Failure> {
        if self.sandboxes.contains_key(&spec.id) {
            return Err(Failure::SandboxExists(spec.id.clone()));
        }
        let network = self.node.network.create_sandbox(spec)?;
        self.sandboxes.insert(
            spec.id.clone(),
            Sandbox {
                network,
                removal: None,
            },
        );
        Ok(())
    }

    fn remove_sandbox(&mut self, call: u64, id: &str) -> Handled {
        self.live_sandbox(id)?;
        let processes = self.processes.in_sandbox(id);
        for pid in &processes {
            // It can only be dead already, and is then about to be waited for.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if processes.is_empty() {
            self.forget_sandbox(id);
            return Ok(done(()));
        }
        if let Some(sandbox) = self.sandboxes.get_mut(id) {
            sandbox.removal = Some(call);
        }
        Ok(None)
    }

    fn forget_sandbox(&mut self, id: &str) {
        if let Some(sandbox) = self.sandboxes.remove(id) {
            self.node.network.remove_sandbox(&sandbox.network);
        }
    }

    fn start_container(
        &mut self,
        call: u64,
        key: u64,
        spec: ContainerSpec,
        stdio: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        self.live_sandbox(&spec.sandbox)?;
        if self.containers.contains_key(&spec.id) {
            return Err(Failure::ContainerExists(spec.id));
        }
        let (id, sandbox) = (spec.id.clone(), spec.sandbox.clone());
        let program = Program::of_container(&spec);
        let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
        let work = Work::Start(Box::new(spec));
        let (pid, reports) = self.spawn(work, Some(&sandbox), stdio, namespaces)?;
        self.containers.insert(
            id.clone(),
            Container {
                sandbox: sandbox.clone(),
                program,
            },
        );
        let phase = Phase::Starting { call, reports };
        self.processes.insert(
            pid,
            Process {
                key,
                sandbox: Some(sandbox),
                container: Some(id),
                phase,
            },
        );
        Ok(())
    }

    fn exec(
        &mut self,
        call: u64,
        key: u64,
        spec: ExecSpec,
        stdio: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let missing = || Failure::NoSuchContainer(spec.container.clone());
        let container = self.containers.get(&spec.container).ok_or_else(missing)?;
        let first = self
            .processes
            .running_container(&spec.container)
            .ok_or_else(missing)?;
        let sandbox = container.sandbox.clone();
        let program = container.program.for_exec(&spec);
        let namespaces =
            child::ContainerNamespaces::open(first).map_err(|_ended_meanwhile| missing())?;
        // A process joins a pid namespace only by being born in it.
        let doing = || format!("enter container {}", spec.container);
        setns(namespaces.pids(), CloneFlags::CLONE_NEWPID).doing(doing())?;
        let work = Work::Exec {
            namespaces,
            program: Box::new(program),
        };
        let spawned = self.spawn(work, Some(&sandbox), stdio, CloneFlags::empty());
        setns(&self.home_pids, CloneFlags::CLONE_NEWPID)
            .expect("a process may always return to the namespace it is in");
        let (pid, reports) = spawned?;
        let phase = Phase::Starting { call, reports };
        self.processes.insert(
            pid,
            Process {
                key,
                sandbox: Some(sandbox),
                container: None,
                phase,
            },
        );
        Ok(())
    }

    /// Clones a child to do some work.
    fn spawn(
        &self,
        work: Work,
        sandbox: Option<&str>,
        stdio: Vec<OwnedFd>,
        flags: CloneFlags,
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
                process.phase = Phase::Running;
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
                    self.containers.remove(&container);
                }
                self.reply(id, Err(failure(report)))
            }
        }
    }

    /// Waits for every child that has ended.
    fn reap(&mut self) -> io::Result<()> {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (
                    pid,
                    ExitStatus {
                        code,
                        signal: None,
                        oom_killed: false,
                    },
                ),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    let signal = signal as i32;
                    (
                        pid,
                        ExitStatus {
                            code: 128 + signal,
                            signal: Some(signal),
                            oom_killed: false,
                        },
                    )
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            self.advance(pid)?;
            self.bury(pid, status)?;
        }
    }

    fn bury(&mut self, pid: Pid, status: ExitStatus) -> io::Result<()> {
        let Some(process) = self.processes.remove(pid) else {
            return Ok(());
        };
        if let Some(container) = &process.container {
            self.containers.remove(container);
        }
        match process.phase {
            Phase::Running => {
                self.outbox.push(
                    &Notice::Exited {
                        process: process.key,
                        status,
                    },
                    Vec::new(),
                )?;
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

fn done((): ()) -> Option<(Answer, Vec<OwnedFd>)> {
    Some((Answer::Done, Vec::new()))
}

fn failure(report: Report) -> Failure {
    match report {
        Report::Failed(error) => Failure::Launch(error),
        Report::JobFailed { doing, errno } => Failure::System { doing, errno },
        Report::Terminal | Report::Warning(_) => Failure::System {
            doing: "understand a child's report".to_owned(),
            errno: 0,
        },
    }
}

fn send_signal(pid: Pid, signal: i32, whom: &str) -> Result<(), Failure> {
    let doing = format!("send signal {signal} to {whom}");
    let valid = Signal::try_from(signal).doing(doing.clone())?;
    match kill(pid, valid) {
        // A zombie that is about to be waited for is still there, so ESRCH cannot be ours; be calm anyway.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).doing(doing).map_err(Failure::from),
    }
}
