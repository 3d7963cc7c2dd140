//! The few rtnetlink requests that a node's network needs: links, addresses, one route.
//!
//! Synchronous, for a process without a runtime; see `docs/decisions/0002-container-runtime.md` for why
//! no crate does this here. It knows no sandboxes: a [`Netlink`] works on the namespace it was opened in.

mod message;

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use message::{Attributes, Message};
use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// A link-layer address.
pub(crate) type HardwareAddress = [u8; 6];

/// `IF_OPER_UP`: the link passes packets.
const OPERATIONAL: u8 = 6;

/// A connection to the kernel's routing tables of one network namespace.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// For the network namespace this process is in now; it stays with it.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Makes a bridge that is up. Its address is fixed, for otherwise it would change with its ports and
    /// stand wrong in the neighbours' tables.
    pub(crate) fn add_bridge(&mut self, name: &str, address: HardwareAddress) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, create());
        message.link(0, true);
        message.string(libc::IFLA_IFNAME, name);
        message.bytes(libc::IFLA_ADDRESS, &address);
        message.nested(libc::IFLA_LINKINFO, |info| {
            info.string(libc::IFLA_INFO_KIND, "bridge");
        });
        self.acknowledged(message)
    }

    /// Makes a pair of connected links: `name` here, on the bridge of index `bridge`, and `peer` in another namespace.
    pub(crate) fn add_veth(
        &mut self,
        name: &str,
        bridge: u32,
        peer: &str,
        peer_address: HardwareAddress,
        peer_namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, create());
        message.link(0, true);
        message.string(libc::IFLA_IFNAME, name);
        message.number(libc::IFLA_MASTER, bridge);
        message.nested(libc::IFLA_LINKINFO, |info| {
            info.string(libc::IFLA_INFO_KIND, "veth");
            info.nested(libc::IFLA_INFO_DATA, |data| {
                data.nested(message::VETH_INFO_PEER, |other| {
                    // The kernel refuses to set it up before it has its other end.
                    other.link(0, false);
                    other.string(libc::IFLA_IFNAME, peer);
                    other.bytes(libc::IFLA_ADDRESS, &peer_address);
                    other.number(
                        libc::IFLA_NET_NS_FD,
                        peer_namespace.as_raw_fd().unsigned_abs(),
                    );
                });
            });
        });
        self.acknowledged(message)
    }

    /// Puts a link on a bridge, and sets it up.
    pub(crate) fn enslave(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, acknowledge());
        message.link(index, true);
        message.number(libc::IFLA_MASTER, bridge);
        self.acknowledged(message)
    }

    /// Sets a link up.
    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWLINK, acknowledge());
        message.link(index, true);
        self.acknowledged(message)
    }

    /// Gives a link an address.
    pub(crate) fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWADDR, create());
        message.address(index, address, prefix);
        self.acknowledged(message)
    }

    /// Takes an address from a link.
    pub(crate) fn remove_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_DELADDR, acknowledge());
        message.address(index, address, prefix);
        self.acknowledged(message)
    }

    /// Sends everything that has no nearer route to `gateway`.
    pub(crate) fn add_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let mut message = Message::new(libc::RTM_NEWROUTE, create());
        message.default_route(gateway);
        self.acknowledged(message)
    }

    /// The number of the link of that name.
    pub(crate) fn index_of(&mut self, name: &str) -> io::Result<u32> {
        let mut message = Message::new(libc::RTM_GETLINK, request());
        message.link(0, false);
        message.string(libc::IFLA_IFNAME, name);
        let answer = self.answered(message)?;
        message::link_index(&answer).ok_or_else(malformed)
    }

    /// Whether packets pass a link. Right after it was set up they may not: the kernel brings the far end's queue into service later.
    pub(crate) fn is_operational(&mut self, index: u32) -> io::Result<bool> {
        let mut message = Message::new(libc::RTM_GETLINK, request());
        message.link(index, false);
        let answer = self.answered(message)?;
        let state = message::link_attribute(&answer, libc::IFLA_OPERSTATE);
        Ok(state.and_then(<[u8]>::first) == Some(&OPERATIONAL))
    }

    fn acknowledged(&mut self, message: Message) -> io::Result<()> {
        self.answered(message).map(drop)
    }

    /// Sends a request; the body of the message that answers it, empty for a plain acknowledgement.
    fn answered(&mut self, message: Message) -> io::Result<Vec<u8>> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = message.finish(self.sequence);
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut buffer = vec![0; 32 << 10];
        loop {
            let count = match recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            for part in message::parts(&buffer[..count]) {
                if part.sequence != self.sequence {
                    continue;
                }
                if part.kind != message::NLMSG_ERROR {
                    return Ok(part.body.to_vec());
                }
                let code = part
                    .body
                    .first_chunk::<4>()
                    .map(|code| i32::from_ne_bytes(*code));
                return match code.ok_or_else(malformed)? {
                    0 => Ok(Vec::new()),
                    code => Err(io::Error::from_raw_os_error(-code)),
                };
            }
        }
    }
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's netlink answer is malformed",
    )
}

fn request() -> u16 {
    message::NLM_F_REQUEST
}

fn acknowledge() -> u16 {
    request() | message::NLM_F_ACK
}

fn create() -> u16 {
    acknowledge() | message::NLM_F_CREATE | message::NLM_F_EXCL
}
