//! Building and reading rtnetlink messages. Pure: bytes in, bytes out.

use std::net::Ipv4Addr;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLM_F_REQUEST: u16 = 0x1;
pub(super) const NLM_F_ACK: u16 = 0x4;
pub(super) const NLM_F_EXCL: u16 = 0x200;
pub(super) const NLM_F_CREATE: u16 = 0x400;
pub(super) const VETH_INFO_PEER: u16 = 1;

const HEADER: usize = 16;
const LINK_HEADER: usize = 16;
const UP: u32 = 1;
const AF_INET: u8 = 2;

/// Whatever holds attributes: a message, or another attribute. Attribute lengths fit 16 bits since all are ours and short.
pub(super) trait Attributes: Sized {
    fn buffer(&mut self) -> &mut Vec<u8>;

    fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.nested(kind, |attribute| {
            attribute.buffer().extend_from_slice(value);
        });
    }

    fn string(&mut self, kind: u16, value: &str) {
        self.nested(kind, |attribute| {
            attribute.buffer().extend_from_slice(value.as_bytes());
            attribute.buffer().push(0);
        });
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Nested<'_>)) {
        let buffer = self.buffer();
        let start = buffer.len();
        buffer.extend_from_slice(&[0, 0]);
        buffer.extend_from_slice(&kind.to_ne_bytes());
        fill(&mut Nested(buffer));
        let length = u16::try_from(buffer.len() - start).expect("our attributes are short");
        buffer[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        align(buffer);
    }

    /// `struct ifinfomsg`.
    fn link(&mut self, index: u32, up: bool) {
        let flags = if up { UP } else { 0 };
        let buffer = self.buffer();
        buffer.extend_from_slice(&[0; 4]);
        buffer.extend_from_slice(&index.to_ne_bytes());
        buffer.extend_from_slice(&flags.to_ne_bytes());
        buffer.extend_from_slice(&flags.to_ne_bytes());
    }
}

pub(super) struct Nested<'a>(&'a mut Vec<u8>);

impl Attributes for Nested<'_> {
    fn buffer(&mut self) -> &mut Vec<u8> {
        self.0
    }
}

/// A request that is being put together.
pub(super) struct Message(Vec<u8>);

impl Attributes for Message {
    fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Message {
    pub(super) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        Self(bytes)
    }

    /// `struct ifaddrmsg` with the address.
    pub(super) fn address(&mut self, index: u32, address: Ipv4Addr, prefix: u8) {
        self.0.extend_from_slice(&[AF_INET, prefix, 0, 0]);
        self.0.extend_from_slice(&index.to_ne_bytes());
        self.bytes(libc::IFA_LOCAL, &address.octets());
        self.bytes(libc::IFA_ADDRESS, &address.octets());
    }

    /// `struct rtmsg` for 0.0.0.0/0 in the main table, with the gateway.
    pub(super) fn default_route(&mut self, gateway: Ipv4Addr) {
        const MAIN_TABLE: u8 = 254;
        const BY_BOOT: u8 = 3;
        const EVERYWHERE: u8 = 0;
        const UNICAST: u8 = 1;
        self.0
            .extend_from_slice(&[AF_INET, 0, 0, 0, MAIN_TABLE, BY_BOOT, EVERYWHERE, UNICAST]);
        self.0.extend_from_slice(&[0; 4]);
        self.bytes(libc::RTA_GATEWAY, &gateway.octets());
    }

    pub(super) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("our messages are short");
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.0
    }
}

/// One message of an answer.
pub(super) struct Part<'a> {
    pub(super) kind: u16,
    pub(super) sequence: u32,
    pub(super) body: &'a [u8],
}

/// Splits a datagram into its messages; stops at the first malformed one.
pub(super) fn parts(mut bytes: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = bytes.get(..length)?;
        let part = Part {
            kind: u16::from_ne_bytes(*message.get(4..)?.first_chunk()?),
            sequence: u32::from_ne_bytes(*message.get(8..)?.first_chunk()?),
            body: message.get(HEADER..)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(part)
    })
}

/// The index in the body of an `RTM_NEWLINK`.
pub(super) fn link_index(body: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(*body.get(4..)?.first_chunk()?))
}

/// One attribute in the body of an `RTM_NEWLINK`.
pub(super) fn link_attribute(body: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = body.get(LINK_HEADER..)?;
    loop {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let value = rest.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

fn align(buffer: &mut Vec<u8>) {
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}
