//! The node's network: its bridge, the network namespaces of sandboxes, and sockets made inside them.
//!
//! No packet passes through this process; it hands sockets to the owner.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddrV4, UdpSocket},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, setns, unshare},
    sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, listen, setsockopt,
        socket, sockopt::ReuseAddr,
    },
    unistd::sethostname,
};

use super::{Doing, StepError};
use crate::{
    netlink::{HardwareAddress, Netlink},
    spec::{NetworkSpec, SandboxSpec},
};

const BRIDGE: &str = "pods0";
const POD_LINK: &str = "eth0";
const SWITCH: &str = "switch0";
const UPLINK: &str = "uplink0";
/// How many nodes of one address may be on their way out while another one comes.
const LIVES: u32 = 1000;
const DISCARD_PORT: u16 = 9;
/// How long a link may take until it passes packets. It takes microseconds; without waiting, the first
/// packet may be lost and be sent again only after a second.
const LINK_PATIENCE: Duration = Duration::from_millis(200);

/// The bridge and the node's own namespaces.
#[derive(Debug)]
pub(super) struct NodeNetwork {
    netlink: Netlink,
    spec: NetworkSpec,
    bridge: u32,
    loopback: u32,
    home: Namespaces,
    links_made: u64,
}

/// The namespaces that the containers of a sandbox share.
#[derive(Debug)]
pub(super) struct Namespaces {
    net: File,
    ipc: File,
    uts: File,
}

impl Namespaces {
    fn own() -> io::Result<Self> {
        let open = |name| File::open(format!("/proc/self/ns/{name}"));
        Ok(Self {
            net: open("net")?,
            ipc: open("ipc")?,
            uts: open("uts")?,
        })
    }

    /// Moves this process into them.
    pub(super) fn enter(&self) -> nix::Result<()> {
        setns(&self.uts, CloneFlags::CLONE_NEWUTS)?;
        setns(&self.ipc, CloneFlags::CLONE_NEWIPC)?;
        setns(&self.net, CloneFlags::CLONE_NEWNET)
    }

    /// The descriptors behind them.
    pub(super) fn raw(&self) -> [i32; 3] {
        [
            self.net.as_raw_fd(),
            self.ipc.as_raw_fd(),
            self.uts.as_raw_fd(),
        ]
    }
}

/// The network side of a sandbox.
#[derive(Debug)]
pub(super) struct SandboxNetwork {
    pub(super) namespaces: Namespaces,
    /// Its own view, if it is not in the node's network.
    inside: Option<Inside>,
}

/// A sandbox's own network, seen from inside.
#[derive(Debug)]
struct Inside {
    netlink: Netlink,
    /// Sends the first packet.
    greeter: UdpSocket,
    address: Ipv4Addr,
}

impl NodeNetwork {
    /// Makes the bridge in the namespace this process is in.
    pub(super) fn create(spec: &NetworkSpec) -> Result<Self, StepError> {
        let mut netlink = Netlink::open().doing("speak with the node's network")?;
        let loopback = set_up_loopback(&mut netlink).doing("set up the node's loopback link")?;
        netlink
            .add_bridge(BRIDGE, hardware_address(spec.gateway))
            .doing("make the pods' bridge")?;
        let bridge = netlink.index_of(BRIDGE).doing("find the pods' bridge")?;
        netlink
            .add_address(bridge, spec.gateway, spec.prefix)
            .doing(format!(
                "give the pods' bridge the address {}",
                spec.gateway
            ))?;
        let home = Namespaces::own().doing("open the node's own namespaces")?;
        Ok(Self {
            netlink,
            spec: spec.clone(),
            bridge,
            loopback,
            home,
            links_made: 0,
        })
    }

    /// Makes the switch that connects nodes, in a network namespace of its own; its descriptor is all that
    /// keeps it alive.
    pub(super) fn make_switch(&self) -> Result<OwnedFd, StepError> {
        unshare(CloneFlags::CLONE_NEWNET).doing("make the namespace of the cluster's switch")?;
        let made = (|| {
            let mut netlink = Netlink::open()?;
            netlink.add_bridge(SWITCH, hardware_address(Ipv4Addr::UNSPECIFIED))?;
            File::open("/proc/self/ns/net")
        })();
        self.return_home();
        made.map(OwnedFd::from).doing("make the cluster's switch")
    }

    /// Links the pods' bridge to the switch.
    pub(super) fn join(&mut self, switch: BorrowedFd<'_>) -> Result<(), StepError> {
        let gateway = self.spec.gateway;
        let doing = "link the node to the cluster's switch";
        // The link's own address is never spoken to, but must differ from all others.
        let mut address = hardware_address(gateway);
        address[1] = 0x59;
        let mut life = 0;
        let port = loop {
            let port = format!("n{:x}-{life:x}", u32::from(gateway));
            let made = self
                .netlink
                .add_veth(UPLINK, self.bridge, &port, address, switch);
            match made {
                // The port of an earlier node of this address, which the kernel is still removing.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && life < LIVES => {
                    life += 1;
                }
                other => break other.map(|()| port).doing(doing)?,
            }
        };
        setns(switch, CloneFlags::CLONE_NEWNET).doing("enter the cluster's switch")?;
        let linked = (|| {
            let mut netlink = Netlink::open()?;
            let bridge = netlink.index_of(SWITCH)?;
            let index = netlink.index_of(&port)?;
            netlink.enslave(index, bridge)?;
            await_operation(&mut netlink, index)
        })();
        self.return_home();
        linked.doing(doing)?;
        let index = self.netlink.index_of(UPLINK).doing(doing)?;
        await_operation(&mut self.netlink, index).doing(doing)
    }

    /// Makes a sandbox's namespaces and links them to the bridge.
    pub(super) fn create_sandbox(
        &mut self,
        spec: &SandboxSpec,
    ) -> Result<SandboxNetwork, StepError> {
        let mut flags = CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        if spec.address.is_some() {
            flags |= CloneFlags::CLONE_NEWNET;
        }
        unshare(flags).doing(format!("make the namespaces of sandbox {}", spec.id))?;
        let made = Self::furnish(spec);
        self.return_home();
        let mut sandbox = made?;
        if let Some(inside) = &mut sandbox.inside {
            let address = inside.address;
            self.link(&sandbox.namespaces.net, inside)
                .doing(format!("link sandbox {} as {address}", spec.id))?;
        }
        Ok(sandbox)
    }

    /// Frees a sandbox's address at once. The rest goes with the last process and descriptor, when the
    /// kernel finds the time: waiting for the removal of a link takes it some ten milliseconds.
    pub(super) fn remove_sandbox(mut sandbox: SandboxNetwork, prefix: u8) -> io::Result<()> {
        let Some(inside) = &mut sandbox.inside else {
            return Ok(());
        };
        let link = inside.netlink.index_of(POD_LINK)?;
        inside.netlink.remove_address(link, inside.address, prefix)
    }

    /// Gives the node one more address, which pods reach through their gateway.
    pub(super) fn add_address(&mut self, address: Ipv4Addr) -> io::Result<()> {
        self.netlink.add_address(self.loopback, address, 32)
    }

    /// Takes it back.
    pub(super) fn remove_address(&mut self, address: Ipv4Addr) -> io::Result<()> {
        self.netlink.remove_address(self.loopback, address, 32)
    }

    /// A socket that connects, or is about to, from inside a sandbox or from the node.
    pub(super) fn dial(
        &self,
        from: Option<&SandboxNetwork>,
        to: SocketAddrV4,
    ) -> io::Result<OwnedFd> {
        let made = match from {
            None => stream_socket(),
            Some(sandbox) => {
                setns(&sandbox.namespaces.net, CloneFlags::CLONE_NEWNET)?;
                let made = stream_socket();
                self.return_home();
                made
            }
        };
        let made = made?;
        match connect(made.as_raw_fd(), &SockaddrIn::from(to)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(made),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Back from a sandbox's namespaces. A node that cannot return is lost.
    fn return_home(&self) {
        self.home
            .enter()
            .expect("a process may always return to the namespaces it came from");
    }

    /// Inside the new namespaces: what needs no link.
    fn furnish(spec: &SandboxSpec) -> Result<SandboxNetwork, StepError> {
        sethostname(&spec.hostname).doing(format!("set the host name {}", spec.hostname))?;
        let mut inside = None;
        if let Some(address) = spec.address {
            // Containers bind ports below 1024 as any user, as under other runtimes.
            fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0")
                .doing("free the low ports")?;
            let doing = "speak with the sandbox's network";
            inside = Some(Inside {
                netlink: Netlink::open().doing(doing)?,
                greeter: UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).doing(doing)?,
                address,
            });
        }
        for (name, value) in &spec.sysctls {
            set(name, value).doing(format!("set {name} to {value:?}"))?;
        }
        let namespaces = Namespaces::own().doing("open the sandbox's namespaces")?;
        Ok(SandboxNetwork { namespaces, inside })
    }

    fn link(&mut self, namespace: &File, inside: &mut Inside) -> io::Result<()> {
        let (address, gateway) = (inside.address, self.spec.gateway);
        let within = &mut inside.netlink;
        set_up_loopback(within)?;
        self.links_made += 1;
        let name = format!("pod{:x}", self.links_made);
        let peer_address = hardware_address(address);
        self.netlink.add_veth(
            &name,
            self.bridge,
            POD_LINK,
            peer_address,
            namespace.as_fd(),
        )?;
        let outer = self.netlink.index_of(&name)?;
        let inner = within.index_of(POD_LINK)?;
        within.set_up(inner)?;
        within.add_address(inner, address, self.spec.prefix)?;
        within.add_default_route(gateway)?;
        await_operation(within, inner)?;
        await_operation(&mut self.netlink, outer)?;
        // The bridge may still remember a former sandbox of that address behind another link, and would
        // send there until it hears from this one. Nobody needs to receive it.
        inside.greeter.send_to(&[], (gateway, DISCARD_PORT))?;
        Ok(())
    }
}

/// One of the kernel's settings, for the namespaces this process is in.
fn set(name: &str, value: &str) -> io::Result<()> {
    let known = |part: &str| !part.is_empty() && part != "..";
    if !name.split('.').all(known) || name.contains('/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    fs::write(path, value)
}

/// A listening socket in the namespace this process is in.
pub(super) fn listen_at(address: SocketAddrV4) -> io::Result<OwnedFd> {
    let made = stream_socket()?;
    setsockopt(&made, ReuseAddr, &true)?;
    bind(made.as_raw_fd(), &SockaddrIn::from(address))?;
    listen(&made, Backlog::new(1024)?)?;
    Ok(made)
}

/// A bound datagram socket in the namespace this process is in.
pub(super) fn udp_at(address: SocketAddrV4) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let made = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    bind(made.as_raw_fd(), &SockaddrIn::from(address))?;
    Ok(made)
}

fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Inet, SockType::Stream, flags, None)?)
}

fn set_up_loopback(netlink: &mut Netlink) -> io::Result<u32> {
    let index = netlink.index_of("lo")?;
    netlink.set_up(index)?;
    Ok(index)
}

fn await_operation(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    let deadline = Instant::now() + LINK_PATIENCE;
    while !netlink.is_operational(index)? && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

/// From the address, so that a successor of the same address has the same one and no neighbour's table grows stale.
fn hardware_address(address: Ipv4Addr) -> HardwareAddress {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}
