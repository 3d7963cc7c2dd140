//! What a cloned process does until it executes its program, or until its job is done. It never returns.
//!
//! It runs on a copy of the init process's memory and may take its time: the init process does not wait.
//! Which step does what is in the modules it calls; here is their order.

use std::{
    convert::Infallible,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns},
    sys::{
        resource::{Resource, setrlimit},
        signal::SigSet,
    },
    unistd::{Pid, dup2_stderr, dup2_stdin, dup2_stdout, setsid},
};

use super::{
    boot::Node, devices, leftovers, mounts, network::Namespaces, pause, privileges,
    program::Program, root, terminal,
};
use crate::{
    cgroups::ContainerGroup,
    error::LaunchError,
    protocol::{Identity, Report},
    spec::ContainerSpec,
    sys,
};

/// What a child is given.
pub(super) struct Child<'a> {
    pub(super) identity: &'a Identity,
    pub(super) node: &'a Node,
    pub(super) sandbox: Option<&'a Namespaces>,
    /// What the pod's containers share as `/dev/shm`.
    pub(super) shared_memory: Option<&'a Path>,
    /// What limits it, if anything does.
    pub(super) limits: Option<&'a ContainerGroup>,
    /// Standard input, output and error; empty if the program has a terminal.
    pub(super) stdio: Vec<OwnedFd>,
    pub(super) reports: OwnedFd,
}

/// What it is for.
pub(super) enum Work {
    Start(Box<ContainerSpec>),
    Exec {
        namespaces: ContainerNamespaces,
        program: Box<Program>,
    },
    RemoveTree(PathBuf),
    /// Be the first of the processes that a pod's containers share.
    Hold,
}

/// The namespaces of a running container that its sandbox does not have.
#[derive(Debug)]
pub(super) struct ContainerNamespaces {
    pid: File,
    mount: File,
    /// If it has one of its own.
    user: Option<File>,
}

impl ContainerNamespaces {
    /// Those of the container whose first process is `first`.
    pub(super) fn open(first: Pid) -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/{first}/ns/{name}"));
        let user = open("user")?;
        let shared = user.metadata()?.ino() == fs::metadata("/proc/self/ns/user")?.ino();
        Ok(Self {
            pid: open("pid")?,
            mount: open("mnt")?,
            user: (!shared).then_some(user),
        })
    }

    /// The one that a process must be born in.
    pub(super) fn pids(&self) -> BorrowedFd<'_> {
        self.pid.as_fd()
    }

    fn raw(&self) -> impl Iterator<Item = i32> {
        [Some(&self.mount), self.user.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
    }

    fn enter(&self) -> nix::Result<()> {
        setns(&self.mount, CloneFlags::CLONE_NEWNS)?;
        // Last, for it takes away the rights over the other namespaces.
        match &self.user {
            None => Ok(()),
            Some(user) => setns(user, CloneFlags::CLONE_NEWUSER),
        }
    }
}

/// Lower-case, as in the texts of other container tools.
pub(super) fn describe(errno: Errno) -> String {
    let text = errno.desc();
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_lowercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// As [`describe`], for errors of the standard library.
pub(super) fn describe_io(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => describe(Errno::from_raw(code)),
        None => error.to_string(),
    }
}

/// A step of the launch that has no error of its own.
pub(super) fn step(step: impl Into<String>) -> impl FnOnce(Errno) -> LaunchError {
    let step = step.into();
    move |errno| LaunchError::Step {
        step,
        why: describe(errno),
    }
}

/// The rest of this process's life. Nothing is dropped on the way, for the descriptors may be closed already.
#[expect(
    clippy::needless_pass_by_value,
    reason = "taken for good: nothing else may use what the child's work closes"
)]
pub(super) fn run(child: Child<'_>, work: Work) -> ! {
    let mut keep = vec![child.reports.as_raw_fd()];
    keep.extend(child.stdio.iter().map(AsRawFd::as_raw_fd));
    keep.extend(child.sandbox.iter().flat_map(|namespaces| namespaces.raw()));
    if let Work::Exec { namespaces, .. } = &work {
        keep.extend(namespaces.raw());
    }
    sys::close_all_except(&keep);
    sys::default_signal_dispositions();
    let reports = child.reports.as_fd();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| perform(&child, &work)));
    let report = match outcome {
        Ok(Ok(())) => sys::exit_now(0),
        Ok(Err(report)) => report,
        Err(_) => Report::Failed(LaunchError::Step {
            step: "start a process".to_owned(),
            why: super::panic_text(),
        }),
    };
    // If the init process is gone, so are we.
    let _ = super::send_now(reports, &report);
    sys::exit_now(127)
}

fn perform(child: &Child<'_>, work: &Work) -> Result<(), Report> {
    let launched = match work {
        Work::Start(spec) => start(child, spec),
        Work::Exec {
            namespaces,
            program,
        } => exec(child, namespaces, program),
        Work::RemoveTree(path) => return remove_tree(path),
        Work::Hold => namespaces_of(child).and_then(pause::hold),
    };
    match launched {
        Ok(never) => match never {},
        Err(error) => Err(Report::Failed(error)),
    }
}

fn start(child: &Child<'_>, spec: &ContainerSpec) -> Result<Infallible, LaunchError> {
    let program = Program::of_container(spec);
    join_limits(child);
    join_sandbox(child)?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(step("part the container's mounts from the node's"))?;
    let mounts = leftovers::own_number().map_err(|error| LaunchError::Step {
        step: "look at the container's mounts".to_owned(),
        why: describe_io(&error),
    })?;
    // If the init process is gone, so are we.
    let _ = super::send_now(child.reports.as_fd(), &Report::Mounts(mounts));
    let root = root::assemble(spec, child.node, child.reports.as_fd())?;
    devices::furnish(&root, child.identity, child.shared_memory)?;
    mounts::make(&root, &spec.mounts)?;
    let working_dir = root.make_directory(&spec.working_dir);
    working_dir.map_err(|errno| LaunchError::WorkingDirectory {
        path: spec.working_dir.clone(),
        why: describe(errno),
    })?;
    devices::mask(&root)?;
    root.enter(spec.read_only_root)?;
    finish(child, &program, Some(Path::new("/dev/console")), false)
}

fn exec(
    child: &Child<'_>,
    namespaces: &ContainerNamespaces,
    program: &Program,
) -> Result<Infallible, LaunchError> {
    join_limits(child);
    join_sandbox(child)?;
    namespaces
        .enter()
        .map_err(step("enter the container's namespaces"))?;
    finish(child, program, None, namespaces.user.is_some())
}

/// From inside the container's root: its terminal or pipes, its user, its program.
fn finish(
    child: &Child<'_>,
    program: &Program,
    console: Option<&Path>,
    user_entered: bool,
) -> Result<Infallible, LaunchError> {
    setsid().map_err(step("start a session"))?;
    let (soft, hard) = child.node.open_files;
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).map_err(step("set the limit of open files"))?;
    if program.tty {
        let (master, peer) = terminal::open(&program.user, console)?;
        super::send_with(child.reports.as_fd(), &Report::Terminal, vec![master]).map_err(
            |error| LaunchError::Step {
                step: "pass the terminal".to_owned(),
                why: describe_io(&error),
            },
        )?;
        connect([&peer, &peer, &peer])?;
        sys::set_controlling_terminal(peer.as_fd()).map_err(step("take the terminal"))?;
    } else {
        let [input, output, error] = child.stdio.as_slice() else {
            return Err(LaunchError::Step {
                step: "connect standard streams".to_owned(),
                why: format!("{} came instead of 3", child.stdio.len()),
            });
        };
        for stream in [input, output, error] {
            // So that the program may open /dev/stdout again as its own user. Some streams refuse; they work all the same.
            let _ = privileges::give_away(stream.as_fd(), &program.user);
        }
        connect([input, output, error])?;
    }
    privileges::become_user(program, child.identity, user_entered)?;
    SigSet::empty()
        .thread_set_mask()
        .map_err(step("unblock signals"))?;
    program.execute()
}

fn connect([input, output, error]: [&OwnedFd; 3]) -> Result<(), LaunchError> {
    dup2_stdin(input)
        .and_then(|()| dup2_stdout(output))
        .and_then(|()| dup2_stderr(error))
        .map_err(step("connect standard streams"))
}

/// While the host's files are still in sight. A process that may not be moved runs without a limit.
fn join_limits(child: &Child<'_>) {
    if let Some(Err(error)) = child.limits.map(ContainerGroup::join) {
        let why = describe_io(&error);
        let warning = format!("its limits are not kept: it cannot join its control group: {why}");
        // If the init process is gone, so are we.
        let _ = super::send_now(child.reports.as_fd(), &Report::Warning(warning));
    }
}

fn namespaces_of<'a>(child: &Child<'a>) -> Result<&'a Namespaces, LaunchError> {
    child.sandbox.ok_or_else(|| LaunchError::Step {
        step: "enter the sandbox".to_owned(),
        why: "it is gone".to_owned(),
    })
}

fn join_sandbox(child: &Child<'_>) -> Result<(), LaunchError> {
    namespaces_of(child)?
        .enter()
        .map_err(step("enter the sandbox's namespaces"))
}

fn remove_tree(path: &Path) -> Result<(), Report> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => open_up(path).and_then(|()| fs::remove_dir_all(path)),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(|error| Report::JobFailed {
        doing: format!("remove {}", path.display()),
        errno: error.raw_os_error().unwrap_or(0),
    })
}

/// Makes every directory readable by its owner: overlayfs leaves some that are not, and without root that counts.
fn open_up(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::symlink_metadata(directory)?.permissions().mode();
    if mode & 0o700 != 0o700 {
        // A directory of someone else; if it matters, the removal says so.
        let _ = fs::set_permissions(directory, fs::Permissions::from_mode(mode | 0o700));
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
