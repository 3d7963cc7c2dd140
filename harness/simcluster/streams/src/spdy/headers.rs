//! Header blocks: name-value lists, compressed with one zlib stream per direction and connection.

use std::io;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::DICTIONARY;

/// A header block may not grow beyond this; Kubernetes' are below a kilobyte.
const MOST_BYTES: usize = 64 << 10;

/// Reads the blocks of one direction, in order.
#[derive(Debug)]
pub(super) struct Decoder(Decompress);

impl Decoder {
    pub(super) fn new() -> Self {
        Self(Decompress::new(true))
    }

    pub(super) fn decode(&mut self, block: &[u8]) -> io::Result<Vec<(String, String)>> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(1024);
        loop {
            if out.len() == out.capacity() {
                if out.len() >= MOST_BYTES {
                    return Err(invalid("a header block is too large"));
                }
                out.reserve(out.len().max(1024));
            }
            let (read, written) = (self.0.total_in(), self.0.total_out());
            let status = self
                .0
                .decompress_vec(block, &mut out, FlushDecompress::Sync);
            let consumed = usize::try_from(self.0.total_in() - read).unwrap_or(block.len());
            block = &block[consumed..];
            match status {
                Ok(Status::StreamEnd) => return Ok(out),
                Ok(_) if block.is_empty() && out.len() < out.capacity() => return Ok(out),
                Ok(_) if consumed == 0 && self.0.total_out() == written => {
                    return Err(invalid("a header block makes no progress"));
                }
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0
                        .set_dictionary(&DICTIONARY)
                        .map_err(io::Error::other)?;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }
}

/// Writes the blocks of one direction, in order.
#[derive(Debug)]
pub(super) struct Encoder(Compress);

impl Encoder {
    pub(super) fn new() -> io::Result<Self> {
        let mut compress = Compress::new(Compression::default(), true);
        compress
            .set_dictionary(&DICTIONARY)
            .map_err(io::Error::other)?;
        Ok(Self(compress))
    }

    pub(super) fn encode(&mut self, headers: &[(&str, &str)]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        put_length(&mut plain, headers.len())?;
        for (name, value) in headers {
            for text in [name, value] {
                put_length(&mut plain, text.len())?;
                plain.extend_from_slice(text.as_bytes());
            }
        }
        // A block of ours is some dozens of bytes; a synchronising flush adds five.
        let mut out = Vec::with_capacity(plain.len() + 256);
        self.0
            .compress_vec(&plain, &mut out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        Ok(out)
    }
}

fn put_length(bytes: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let length = u32::try_from(length).map_err(io::Error::other)?;
    bytes.extend_from_slice(&length.to_be_bytes());
    Ok(())
}

fn parse(mut block: &[u8]) -> io::Result<Vec<(String, String)>> {
    let count = take_length(&mut block)?;
    (0..count)
        .map(|_| {
            Ok((
                take_text(&mut block)?.to_ascii_lowercase(),
                take_text(&mut block)?,
            ))
        })
        .collect()
}

fn take_length(block: &mut &[u8]) -> io::Result<usize> {
    let (bytes, rest) = block
        .split_first_chunk::<4>()
        .ok_or_else(|| invalid("a header block is cut short"))?;
    *block = rest;
    usize::try_from(u32::from_be_bytes(*bytes)).map_err(io::Error::other)
}

fn take_text(block: &mut &[u8]) -> io::Result<String> {
    let length = take_length(block)?;
    let (text, rest) = block
        .split_at_checked(length)
        .ok_or_else(|| invalid("a header block is cut short"))?;
    *block = rest;
    String::from_utf8(text.to_vec())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_one_direction_are_read_in_order() {
        let mut encoder = Encoder::new().expect("an encoder");
        let mut decoder = Decoder::new();
        for headers in [
            [("streamtype", "data"), ("port", "80")],
            [("streamtype", "error"), ("port", "80")],
        ] {
            let block = encoder.encode(&headers).expect("a block");
            let read = decoder.decode(&block).expect("headers");
            let expected: Vec<_> = headers
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect();
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Decoder::new().decode(b"garbage").is_err());
        assert!(Decoder::new().decode(b"").is_err());
    }
}
