//! What the init process does for each request. It answers at once, or says that the answer comes later.
//!
//! Later answers are given by the loop in [`super`], when a child has reported or ended.

use std::{
    fs,
    net::SocketAddrV4,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Container, Response, Sandbox, Server};
use crate::{
    cgroups::{ContainerGroup, Limits, NodeGroup},
    init::{
        Doing, StepError,
        child::{self, Work},
        devices::SHARED_MEMORY,
        leftovers::MountNamespace,
        mapping,
        network::{self, NodeNetwork},
        processes::{Phase, Process, Reports},
        program::Program,
    },
    protocol::{Answer, Call, Failure, Request},
    spec::{ContainerSpec, ExecSpec, MemoryVolume, SandboxSpec, Target},
};

impl Server {
    pub(super) fn answer(
        &mut self,
        call: Call,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Response, Failure> {
        let id = call.id;
        match call.request {
            Request::CreateSandbox(spec) => self.create_sandbox(&spec).map(|()| Response::DONE),
            Request::RemoveSandbox { id: sandbox } => self.remove_sandbox(id, &sandbox),
            Request::Start { process, spec } => self
                .start_container(id, process, *spec, descriptors)
                .map(|()| Response::Later),
            Request::Exec { process, spec } => self
                .exec(id, process, &spec, descriptors)
                .map(|()| Response::Later),
            Request::SignalContainer { container, signal } => {
                let pid = self.processes.by_container(&container);
                let pid = pid.ok_or_else(|| Failure::NoSuchContainer(container.clone()))?;
                send_signal(pid, signal, &container).map(|()| Response::DONE)
            }
            Request::SignalProcess { process, signal } => match self.processes.by_key(process) {
                // It has ended meanwhile, which is what signals are mostly for.
                None => Ok(Response::DONE),
                Some(pid) => {
                    send_signal(pid, signal, &format!("process {pid}")).map(|()| Response::DONE)
                }
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
                Ok(Response::Now(Answer::Socket, vec![made]))
            }
            Request::Listen { address, port } => {
                let at = SocketAddrV4::new(address, port);
                let made = network::listen_at(at).doing(format!("listen at {at}"))?;
                Ok(Response::Now(Answer::Socket, vec![made]))
            }
            Request::Udp { address, port } => {
                let at = SocketAddrV4::new(address, port);
                let made = network::udp_at(at).doing(format!("bind udp {at}"))?;
                Ok(Response::Now(Answer::Socket, vec![made]))
            }
            Request::AddAddress { address } => {
                let added = self.node.network.add_address(address);
                added.doing(format!("add the address {address} to the node"))?;
                Ok(Response::DONE)
            }
            Request::RemoveAddress { address } => {
                let removed = self.node.network.remove_address(address);
                removed.doing(format!("remove the address {address} from the node"))?;
                Ok(Response::DONE)
            }
            Request::Usage => Ok(Response::Now(Answer::Usage(self.usage()), Vec::new())),
            Request::Limit {
                container,
                memory,
                cpu,
            } => {
                let warnings = self.change_limits(&container, Limits { memory, cpu })?;
                Ok(Response::Now(Answer::Limited { warnings }, Vec::new()))
            }
            Request::RemoveTree { path } => {
                let work = Work::RemoveTree(path);
                let (pid, reports) =
                    self.spawn(work, None, Vec::new(), CloneFlags::empty(), None)?;
                let phase = Phase::Job { call: id, reports };
                let process = Process {
                    key: None,
                    sandbox: None,
                    container: None,
                    phase,
                };
                self.processes.insert(pid, process);
                Ok(Response::Later)
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
        let shared_memory = self.share_memory(&spec.id);
        self.sandboxes.insert(
            spec.id.clone(),
            Sandbox {
                network,
                shared_memory,
                memory: spec.memory.iter().map(|v| v.path.clone()).collect(),
                first: None,
                removal: None,
            },
        );
        let mounted = spec.memory.iter().try_for_each(memory_volume);
        let made = mounted.and_then(|()| {
            if spec.share_processes {
                self.share_processes(&spec.id)
            } else {
                Ok(())
            }
        });
        if made.is_err() {
            self.forget_sandbox(&spec.id);
        }
        made
    }

    /// Starts the first of the processes that the containers of a sandbox will share.
    fn share_processes(&mut self, id: &str) -> Result<(), Failure> {
        let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
        let (first, _) = self.spawn(Work::Hold, Some(id), Vec::new(), namespaces, None)?;
        self.processes.insert(
            first,
            Process {
                key: None,
                sandbox: Some(id.to_owned()),
                container: None,
                phase: Phase::Running,
            },
        );
        if let Some(sandbox) = self.sandboxes.get_mut(id) {
            sandbox.first = Some(first);
        }
        Ok(())
    }

    fn remove_sandbox(&mut self, call: u64, id: &str) -> Result<Response, Failure> {
        self.live_sandbox(id)?;
        let processes = self.processes.in_sandbox(id);
        for pid in &processes {
            // It can only be dead already, and is then about to be waited for.
            let _ = kill(*pid, Signal::SIGKILL);
        }
        if processes.is_empty() {
            self.forget_sandbox(id);
            return Ok(Response::DONE);
        }
        if let Some(sandbox) = self.sandboxes.get_mut(id) {
            sandbox.removal = Some(call);
        }
        Ok(Response::Later)
    }

    /// Mounts what the sandbox's containers will share as `/dev/shm`. Without it each has one of its own.
    fn share_memory(&self, id: &str) -> Option<PathBuf> {
        let place = self.node.shared_memory.as_ref()?;
        let place = place.join(Path::new(id).file_name()?);
        fs::create_dir(&place).ok()?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let options = Some(SHARED_MEMORY);
        mount(Some("tmpfs"), &place, Some("tmpfs"), flags, options).ok()?;
        Some(place)
    }

    /// The groups of a container that is limited in anything; and which limits are not kept, and why.
    fn limit(&mut self, spec: &ContainerSpec) -> (Option<ContainerGroup>, Vec<String>) {
        let limits = Limits {
            memory: spec.memory_limit,
            cpu: spec.cpu_limit,
        };
        if limits == Limits::default() {
            return (None, Vec::new());
        }
        match &mut self.groups {
            Ok(groups) => {
                let (group, complaints) = groups.limited(&spec.id, limits);
                (Some(group), complaints)
            }
            Err(why) => (None, NodeGroup::complaints(limits, why)),
        }
    }

    /// Gives a running container other limits.
    fn change_limits(&mut self, id: &str, limits: Limits) -> Result<Vec<String>, Failure> {
        let missing = || Failure::NoSuchContainer(id.to_owned());
        let container = self.containers.get_mut(id).ok_or_else(missing)?;
        let groups = match &mut self.groups {
            Ok(groups) => groups,
            Err(why) => return Ok(NodeGroup::complaints(limits, why)),
        };
        let mounts = container.mounts;
        let members = || {
            let all = mounts.into_iter().flat_map(MountNamespace::members);
            all.map(Pid::as_raw).collect()
        };
        let group = container.limits.get_or_insert_default();
        let changed = groups.change(id, limits, group, members);
        changed.map_err(|doing| Failure::Refused { doing })
    }

    pub(super) fn forget_sandbox(&mut self, id: &str) {
        if let Some(sandbox) = self.sandboxes.remove(id) {
            if let Some(place) = &sandbox.shared_memory {
                // It all goes with the node in any case.
                let _ = umount2(place, MntFlags::MNT_DETACH);
                let _ = fs::remove_dir(place);
            }
            for path in &sandbox.memory {
                let _ = umount2(path, MntFlags::MNT_DETACH);
            }
            // Whatever the kernel did not like about it, it takes all of it down in any case.
            let _ = NodeNetwork::remove_sandbox(sandbox.network, self.boot.network.prefix);
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
        let (limits, warnings) = self.limit(&spec);
        let spawned = self.spawn_container(spec, stdio, limits.as_ref());
        let (pid, mut reports) = match spawned {
            Ok(spawned) => spawned,
            Err(failure) => {
                self.bury_limits(limits);
                return Err(failure);
            }
        };
        reports.warnings.extend(warnings);
        self.containers.insert(
            id.clone(),
            Container {
                sandbox: sandbox.clone(),
                program,
                limits,
                mounts: None,
            },
        );
        let phase = Phase::Starting { call, reports };
        self.processes.insert(
            pid,
            Process {
                key: Some(key),
                sandbox: Some(sandbox),
                container: Some(id),
                phase,
            },
        );
        Ok(())
    }

    /// Clones the first process of a container.
    fn spawn_container(
        &self,
        spec: ContainerSpec,
        stdio: Vec<OwnedFd>,
        limits: Option<&ContainerGroup>,
    ) -> Result<(Pid, Reports), Failure> {
        let (sandbox, pids) = (spec.sandbox.clone(), spec.pids_of.clone());
        let work = Work::Start(Box::new(spec));
        let shared = self.sandboxes.get(&sandbox).and_then(|it| it.first);
        if let Some(first) = shared {
            let gone = "enter the processes that its pod shares: the first of them has ended";
            let processes = fs::File::open(format!("/proc/{first}/ns/pid")).doing(gone)?;
            return Ok(self.among(processes.as_fd(), &sandbox, |server| {
                server.spawn(work, Some(&sandbox), stdio, CloneFlags::CLONE_NEWNS, limits)
            })?);
        }
        let Some(target) = pids else {
            let namespaces = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
            return Ok(self.spawn(work, Some(&sandbox), stdio, namespaces, limits)?);
        };
        let missing = || Failure::NoSuchContainer(target.clone());
        let first = self.processes.running_container(&target);
        let theirs = child::ContainerNamespaces::open(first.ok_or_else(missing)?)
            .map_err(|_ended_meanwhile| missing())?;
        Ok(self.among(theirs.pids(), &target, |server| {
            server.spawn(work, Some(&sandbox), stdio, CloneFlags::CLONE_NEWNS, limits)
        })?)
    }

    fn exec(
        &mut self,
        call: u64,
        key: u64,
        spec: &ExecSpec,
        stdio: Vec<OwnedFd>,
    ) -> Result<(), Failure> {
        let missing = || Failure::NoSuchContainer(spec.container.clone());
        let container = self.containers.get(&spec.container).ok_or_else(missing)?;
        let first = self
            .processes
            .running_container(&spec.container)
            .ok_or_else(missing)?;
        let sandbox = container.sandbox.clone();
        let program = container.program.for_exec(spec);
        let limits = container.limits.clone();
        let namespaces =
            child::ContainerNamespaces::open(first).map_err(|_ended_meanwhile| missing())?;
        let pids = namespaces.pids().try_clone_to_owned();
        let pids = pids.map_err(|_ended_meanwhile| missing())?;
        let work = Work::Exec {
            namespaces,
            program: Box::new(program),
        };
        let (pid, reports) = self.among(pids.as_fd(), &spec.container, |server| {
            server.spawn(
                work,
                Some(&sandbox),
                stdio,
                CloneFlags::empty(),
                limits.as_ref(),
            )
        })?;
        let phase = Phase::Starting { call, reports };
        self.processes.insert(
            pid,
            Process {
                key: Some(key),
                sandbox: Some(sandbox),
                container: None,
                phase,
            },
        );
        Ok(())
    }
}

impl Server {
    /// Does something that clones a child, which is then born among the processes of a container: a
    /// process joins a pid namespace in no other way.
    fn among<T>(
        &self,
        pids: BorrowedFd<'_>,
        whose: &str,
        act: impl FnOnce(&Self) -> Result<T, StepError>,
    ) -> Result<T, StepError> {
        let doing = || format!("enter the processes of {whose}");
        setns(pids, CloneFlags::CLONE_NEWPID).doing(doing())?;
        let done = act(self);
        setns(&self.home_pids, CloneFlags::CLONE_NEWPID)
            .expect("a process may always return to the namespace it is in");
        done
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

/// Mounts a directory that is in memory. It is seen by all containers that are started from now on.
fn memory_volume(volume: &MemoryVolume) -> Result<(), Failure> {
    let mut options = match volume.group {
        None => "mode=0777".to_owned(),
        Some(group) if mapping::has_group(group) => format!("mode=2777,gid={group}"),
        // An ordinary user has one group only, which stands for all; the mode lets everybody write.
        Some(_) => "mode=2777".to_owned(),
    };
    if let Some(bytes) = volume.size {
        options.extend([",size=", &bytes.to_string()]);
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("tmpfs"),
        &volume.path,
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
    .doing(format!("mount memory at {}", volume.path.display()))
    .map_err(Failure::from)
}
