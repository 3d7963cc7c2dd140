//! A dump as a byte stream: compressed on the way to the volume, checked on the way back.
//!
//! It knows files and hashes; it does not know which generation is which.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::manifest::Digest;

/// The comment that `mysqldump` and `mariadb-dump` write last, and only when all went well.
const TRAILER: &[u8] = b"-- Dump completed";
/// The trailer has a date behind it, never more than this.
const TAIL: usize = 512;

/// A dump that must not be restored.
#[derive(Debug, Error)]
pub enum Damage {
    /// It cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not as long as it was.
    #[error("{path} has {found} bytes, its manifest says {expected}")]
    Length {
        /// The file.
        path: String,
        /// Bytes there.
        found: u64,
        /// Bytes in the manifest.
        expected: u64,
    },
    /// Its content has changed.
    #[error("{path} has the checksum {found}, its manifest says {expected}")]
    Checksum {
        /// The file.
        path: String,
        /// There.
        found: String,
        /// In the manifest.
        expected: String,
    },
    /// The dump program did not finish it.
    #[error("{path} does not end with \"-- Dump completed\": it was cut short")]
    Truncated {
        /// The file.
        path: String,
    },
}

impl Damage {
    /// One word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "BackupUnreadable",
            Self::Length { .. } | Self::Checksum { .. } => "ChecksumMismatch",
            Self::Truncated { .. } => "BackupTruncated",
        }
    }

    /// The text with its cause.
    pub fn full_text(&self) -> String {
        match self {
            Self::Unreadable { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}

/// What [`write()`] wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The SQL text.
    pub raw: Digest,
    /// The file.
    pub stored: Digest,
    /// The text ended as a complete dump does.
    pub complete: bool,
}

/// Compresses all of `source` into a new file at `path`, which is on disk when this returns.
pub fn write(mut source: impl Read, path: &Path) -> io::Result<Written> {
    let file = File::create_new(path)?;
    // The fastest level: a dump is limited by the server and the disk, not to be archived for decades.
    let mut encoder = GzEncoder::new(Hashing::new(file), Compression::fast());
    let mut raw = Hashing::new(io::sink());
    let mut tail = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = &buffer[..length];
        raw.write_all(chunk)?;
        encoder.write_all(chunk)?;
        keep_tail(&mut tail, chunk);
    }
    let stored = encoder.finish()?;
    stored.inner.sync_all()?;
    Ok(Written {
        raw: raw.digest(),
        stored: stored.digest(),
        complete: has_trailer(&tail),
    })
}

/// Length and hash of something small.
pub fn digest_of(content: &[u8]) -> Digest {
    let mut hashing = Hashing::new(io::sink());
    hashing.write_all(content).expect("a sink takes everything");
    hashing.digest()
}

/// The file is byte for byte what the manifest says.
pub fn verify(path: &Path, expected: &Digest) -> Result<(), Damage> {
    let name = || path.display().to_string();
    let unreadable = |source| Damage::Unreadable {
        path: name(),
        source,
    };
    let mut hashing = Hashing::new(io::sink());
    let mut file = File::open(path).map_err(unreadable)?;
    io::copy(&mut file, &mut hashing).map_err(unreadable)?;
    let found = hashing.digest();
    if found.bytes != expected.bytes {
        return Err(Damage::Length {
            path: name(),
            found: found.bytes,
            expected: expected.bytes,
        });
    }
    if found.sha256 != expected.sha256 {
        let expected = expected.sha256.clone();
        return Err(Damage::Checksum {
            path: name(),
            found: found.sha256,
            expected,
        });
    }
    Ok(())
}

/// A plain dump without a manifest, as the old operator left it: all that can be checked is its end.
pub fn verify_plain(path: &Path) -> Result<u64, Damage> {
    let name = || path.display().to_string();
    let unreadable = |source| Damage::Unreadable {
        path: name(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL as u64)))
        .map_err(unreadable)?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).map_err(unreadable)?;
    if has_trailer(&tail) {
        Ok(length)
    } else {
        Err(Damage::Truncated { path: name() })
    }
}

/// The SQL text of a file that [`write()`] wrote.
pub fn read_compressed(path: &Path) -> io::Result<impl Read + use<>> {
    Ok(GzDecoder::new(BufReader::new(File::open(path)?)))
}

fn keep_tail(tail: &mut Vec<u8>, chunk: &[u8]) {
    tail.extend_from_slice(&chunk[chunk.len().saturating_sub(TAIL)..]);
    let surplus = tail.len().saturating_sub(TAIL);
    tail.drain(..surplus);
}

/// The trailer stands at the beginning of the last line that is not empty.
fn has_trailer(tail: &[u8]) -> bool {
    tail.split(|byte| *byte == b'\n')
        .rfind(|line| !line.iter().all(u8::is_ascii_whitespace))
        .is_some_and(|line| line.starts_with(TRAILER))
}

/// Counts and hashes what passes through.
struct Hashing<W> {
    inner: W,
    hasher: Sha256,
    bytes: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            bytes: 0,
        }
    }

    fn digest(self) -> Digest {
        let hash = self.hasher.finalize();
        let sha256 = hash
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                use std::fmt::Write as _;
                write!(text, "{byte:02x}").expect("writing to a string cannot fail");
                text
            });
        Digest {
            bytes: self.bytes,
            sha256,
        }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &[u8] =
        b"-- MySQL dump\nINSERT INTO `test` VALUES (1);\n-- Dump completed on 2026-01-01\n";

    #[test]
    fn a_dump_comes_back_as_it_went() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump.sql.gz");
        let written = write(DUMP, &path).unwrap();
        assert!(written.complete);
        assert_eq!(written.raw.bytes, DUMP.len() as u64);
        verify(&path, &written.stored).unwrap();
        let mut back = Vec::new();
        read_compressed(&path)
            .unwrap()
            .read_to_end(&mut back)
            .unwrap();
        assert_eq!(back, DUMP);
    }

    #[test]
    fn one_changed_byte_is_a_checksum_mismatch() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dump.sql.gz");
        let written = write(DUMP, &path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(
            verify(&path, &written.stored).unwrap_err().reason(),
            "ChecksumMismatch"
        );
        bytes.pop();
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(
            verify(&path, &written.stored),
            Err(Damage::Length { .. })
        ));
    }

    #[test]
    fn a_dump_cut_at_a_statement_boundary_is_not_complete() {
        let directory = tempfile::tempdir().unwrap();
        let cut = &DUMP[..DUMP.len() - 32];
        assert!(!write(cut, &directory.path().join("a")).unwrap().complete);
        let plain = directory.path().join("b.sql");
        std::fs::write(&plain, cut).unwrap();
        assert_eq!(
            verify_plain(&plain).unwrap_err().reason(),
            "BackupTruncated"
        );
        std::fs::write(&plain, DUMP).unwrap();
        assert_eq!(verify_plain(&plain).unwrap(), DUMP.len() as u64);
        std::fs::write(&plain, b"").unwrap();
        assert!(verify_plain(&plain).is_err());
    }

    #[test]
    fn the_trailer_inside_the_data_does_not_count() {
        assert!(!has_trailer(
            b"-- Dump completed\nINSERT INTO t VALUES (1);\n"
        ));
        assert!(!has_trailer(
            b"INSERT INTO t VALUES ('-- Dump completed');\n"
        ));
        assert!(has_trailer(b"x\n-- Dump completed\n\n"));
    }
}
