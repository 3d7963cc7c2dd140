//! What the init process does for each request. It answers at once, or says that the answer comes later.
//!
//! Later answers are given by the loop in [`super`], when a child has reported or ended.

use std::{net::SocketAddrV4, os::fd::OwnedFd};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Container, Response, Sandbox, Server};
use crate::{
    init::{
        Doing,
        child::{self, Work},
        network::{self, NodeNetwork},
        processes::{Phase, Process},
        program::Program,
    },
    protocol::{Answer, Call, Failure, Request},
    spec::{ContainerSpec, ExecSpec, SandboxSpec, Target},
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
            Request::RemoveTree { path } => {
                let work = Work::RemoveTree(path);
                let (pid, reports) = self.spawn(work, None, Vec::new(), CloneFlags::empty())?;
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
        self.sandboxes.insert(
            spec.id.clone(),
            Sandbox {
                network,
                removal: None,
            },
        );
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

    pub(super) fn forget_sandbox(&mut self, id: &str) {
        if let Some(sandbox) = self.sandboxes.remove(id) {
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
                key: Some(key),
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
                key: Some(key),
                sandbox: Some(sandbox),
                container: None,
                phase,
            },
        );
        Ok(())
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
