//! A terminal for a program, from the container's own `/dev/pts`.

use std::{
    fs::File,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use nix::{
    fcntl::{OFlag, open as open_file},
    mount::{MsFlags, mount},
    sys::stat::Mode,
};

use super::{child::step, privileges};
use crate::{error::LaunchError, spec::User, sys};

/// The two ends: the owner's and the program's. With `console`, it is found at that path too.
pub(super) fn open(user: &User, console: Option<&Path>) -> Result<(OwnedFd, OwnedFd), LaunchError> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = open_file("/dev/ptmx", flags, Mode::empty()).map_err(step("open a terminal"))?;
    let peer =
        sys::open_terminal_peer(master.as_fd()).map_err(step("open a terminal's other end"))?;
    // Where ids are not mapped it belongs to the user already.
    let _ = privileges::give_away(peer.as_fd(), user);
    if let Some(console) = console {
        let number = sys::terminal_number(master.as_fd()).map_err(step("number a terminal"))?;
        File::create(console)?;
        let path = Path::new("/dev/pts").join(number.to_string());
        mount(
            Some(&path),
            console,
            None::<&str>,
            MsFlags::MS_BIND,
            None::<&str>,
        )
        .map_err(step("mount the console"))?;
    }
    Ok((master, peer))
}
