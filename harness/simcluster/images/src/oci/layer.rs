//! One layer's blob as the tar stream that is in it: decompressed, and verified on both sides.
//!
//! It knows gzip and zstd, each of any number of members or frames. It does not unpack.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::{
    BlockDecodingStrategy, FrameDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use sha2::{Digest as _, Sha256};

use super::contents::Blob;
use crate::digest::hex;

/// How compressed layers begin.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// A frame of zstd that is to be skipped may come first; its magic number ends so.
const ZSTD_SKIPPED: &[u8] = &[0x2a, 0x4d, 0x18];

/// Reads a layer; nothing of it may be believed before [`Layer::verify`].
pub(super) struct Layer<'a> {
    blob: &'a Blob,
    tar: Hashing<Tar>,
}

impl<'a> Layer<'a> {
    pub(super) fn open(blob: &'a Blob, path: &Path) -> io::Result<Self> {
        let file = File::open(path).map_err(|error| {
            io::Error::new(error.kind(), format!("layer {}: {error}", blob.path))
        })?;
        let mut raw = BufReader::with_capacity(1 << 17, Hashing::new(file));
        let magic = raw.fill_buf()?;
        let tar = if magic.starts_with(GZIP) {
            Tar::Gzip(Box::new(MultiGzDecoder::new(raw)))
        } else if magic.starts_with(ZSTD) || magic.get(1..4) == Some(ZSTD_SKIPPED) {
            Tar::Zstd(Frames::Between(raw))
        } else {
            Tar::Plain(raw)
        };
        Ok(Self {
            blob,
            tar: Hashing::new(tar),
        })
    }

    /// Reads what is left, and compares all that was read with what the image says of it.
    pub(super) fn verify(mut self) -> io::Result<()> {
        io::copy(&mut self.tar, &mut io::sink())?;
        let mut raw = self.tar.reader.into_raw()?;
        // What follows the end of the compressed stream belongs to the blob as well.
        io::copy(&mut raw, &mut io::sink())?;
        let compressed = hex(&raw.into_inner().hash.finalize());
        let wrong = |what: &str| {
            let text = format!("layer {}: its {what}", self.blob.path);
            Err(io::Error::other(text))
        };
        if self
            .blob
            .sha256
            .as_ref()
            .is_some_and(|sha256| *sha256 != compressed)
        {
            return wrong("content is not what its name says");
        }
        if hex(&self.tar.hash.finalize()) != self.blob.diff_id {
            return wrong("uncompressed content is not what the image's configuration says");
        }
        Ok(())
    }
}

impl Read for Layer<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.read(buffer)
    }
}

type Raw = BufReader<Hashing<File>>;

enum Tar {
    Plain(Raw),
    Gzip(Box<MultiGzDecoder<Raw>>),
    Zstd(Frames),
}

impl Tar {
    fn into_raw(self) -> io::Result<Raw> {
        match self {
            Self::Plain(raw) | Self::Zstd(Frames::Between(raw) | Frames::Within(raw, _)) => Ok(raw),
            Self::Gzip(decoder) => Ok(decoder.into_inner()),
            Self::Zstd(Frames::Broken) => Err(io::Error::other("its compression is broken")),
        }
    }
}

impl Read for Tar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(raw) => raw.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(frames) => frames.read(buffer),
        }
    }
}

/// Zstandard frames one after another.
enum Frames {
    Between(Raw),
    Within(Raw, Box<FrameDecoder>),
    Broken,
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(self, Self::Broken) {
                Self::Broken => return Err(io::Error::other("its compression is broken")),
                Self::Within(mut raw, mut decoder) => {
                    while decoder.can_collect() == 0 && !decoder.is_finished() {
                        decoder
                            .decode_blocks(&mut raw, BlockDecodingStrategy::UptoBlocks(1))
                            .map_err(io::Error::other)?;
                    }
                    let read = decoder.read(buffer)?;
                    if read > 0 {
                        *self = Self::Within(raw, decoder);
                        return Ok(read);
                    }
                    *self = Self::Between(raw);
                }
                Self::Between(mut raw) => {
                    if raw.fill_buf()?.is_empty() {
                        *self = Self::Between(raw);
                        return Ok(0);
                    }
                    let mut decoder = FrameDecoder::new();
                    *self = match decoder.init(&mut raw) {
                        Ok(()) => Self::Within(raw, Box::new(decoder)),
                        Err(FrameDecoderError::ReadFrameHeaderError(
                            ReadFrameHeaderError::SkipFrame { length, .. },
                        )) => {
                            io::copy(&mut raw.by_ref().take(length.into()), &mut io::sink())?;
                            Self::Between(raw)
                        }
                        Err(error) => return Err(io::Error::other(error)),
                    };
                }
            }
        }
    }
}

/// Hashes what is read through it.
struct Hashing<R> {
    reader: R,
    hash: Sha256,
}

impl<R> Hashing<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            hash: Sha256::new(),
        }
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}
