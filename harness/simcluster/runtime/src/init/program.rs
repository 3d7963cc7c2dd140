//! The program a process becomes: finding it in the container, and executing it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    env,
    ffi::CString,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags},
    unistd::{AccessFlags, execve, faccessat},
};

use super::child::{describe, describe_io};
use crate::{
    error::LaunchError,
    spec::{ContainerSpec, ExecSpec, User},
};

/// What is searched if the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to execute, as whom, with what.
#[derive(Clone, Debug)]
pub(super) struct Program {
    command: Vec<String>,
    env: BTreeMap<String, String>,
    working_dir: PathBuf,
    pub(super) user: User,
    pub(super) no_new_privileges: bool,
    pub(super) capabilities: Option<Vec<String>>,
    pub(super) tty: bool,
}

impl Program {
    /// A container's own.
    pub(super) fn of_container(spec: &ContainerSpec) -> Self {
        Self {
            command: spec.command.clone(),
            env: spec.env.clone(),
            working_dir: spec.working_dir.clone(),
            user: spec.user.clone(),
            no_new_privileges: spec.no_new_privileges,
            capabilities: spec.capabilities.clone(),
            tty: spec.tty,
        }
    }

    /// Another one in the container that runs this one.
    pub(super) fn for_exec(&self, spec: &ExecSpec) -> Self {
        Self {
            command: spec.command.clone(),
            tty: spec.tty,
            ..self.clone()
        }
    }

    /// Becomes the program. The process is in the container already, as its user.
    pub(super) fn execute(&self) -> Result<Infallible, LaunchError> {
        let Some(name) = self.command.first() else {
            return Err(LaunchError::NoCommand);
        };
        env::set_current_dir(&self.working_dir).map_err(|error| LaunchError::WorkingDirectory {
            path: self.working_dir.clone(),
            why: describe_io(&error),
        })?;
        let mut env = self.env.clone();
        if !env.contains_key("HOME") {
            env.insert("HOME".to_owned(), home_of(self.user.uid));
        }
        if self.tty && !env.contains_key("TERM") {
            env.insert("TERM".to_owned(), "xterm".to_owned());
        }
        let search = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
        let path = find(name, search)?;
        let refused = |why: String| LaunchError::Refused {
            program: path.display().to_string(),
            why,
        };
        let text =
            |bytes: String| CString::new(bytes).map_err(|_| refused(describe(Errno::EINVAL)));
        let program = text(path.display().to_string())?;
        let arguments: Vec<CString> = self
            .command
            .iter()
            .cloned()
            .map(text)
            .collect::<Result<_, _>>()?;
        let variables: Vec<CString> = env
            .into_iter()
            .map(|(name, value)| text(format!("{name}={value}")))
            .collect::<Result<_, _>>()?;
        execve(&program, &arguments, &variables).map_err(|errno| refused(describe(errno)))
    }
}

/// As a shell does: names with a slash are paths, others are searched for.
fn find(name: &str, search: &str) -> Result<PathBuf, LaunchError> {
    if !name.contains('/') {
        return search
            .split(':')
            .map(|directory| {
                Path::new(if directory.is_empty() { "." } else { directory }).join(name)
            })
            .find(|candidate| check(candidate).is_ok())
            .ok_or_else(|| LaunchError::NotInPath {
                program: name.to_owned(),
            });
    }
    match check(Path::new(name)) {
        Ok(()) => Ok(PathBuf::from(name)),
        Err(Unfit::Missing) => Err(LaunchError::NoSuchFile {
            program: name.to_owned(),
        }),
        Err(Unfit::Directory) => Err(LaunchError::NotExecutable {
            program: name.to_owned(),
            why: "is a directory".to_owned(),
        }),
        Err(Unfit::Forbidden(why)) => Err(LaunchError::NotExecutable {
            program: name.to_owned(),
            why,
        }),
    }
}

enum Unfit {
    Missing,
    Directory,
    Forbidden(String),
}

fn check(path: &Path) -> Result<(), Unfit> {
    let found = fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Unfit::Missing,
        _ => Unfit::Forbidden(describe_io(&error)),
    })?;
    if found.is_dir() {
        return Err(Unfit::Directory);
    }
    faccessat(AT_FDCWD, path, AccessFlags::X_OK, AtFlags::AT_EACCESS)
        .map_err(|errno| Unfit::Forbidden(describe(errno)))
}

/// From the container's own list of users; `/` for one that is not in it.
fn home_of(uid: u32) -> String {
    let users = fs::File::open("/etc/passwd")
        .map(BufReader::new)
        .into_iter()
        .flat_map(BufRead::lines);
    let homes = users.map_while(Result::ok).filter_map(|line| {
        let mut fields = line.split(':');
        let matches = fields.nth(2)?.parse() == Ok(uid);
        let home = fields.nth(2)?;
        (matches && !home.is_empty()).then(|| home.to_owned())
    });
    homes.into_iter().next().unwrap_or_else(|| "/".to_owned())
}
