//! SHA-256 over things that have parts, so that no two different lists of parts hash alike.

use std::{fs::File, io, io::Read as _, path::Path};

use sha2::{Digest as _, Sha256};

/// Hashes parts in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Adds one part.
    pub(crate) fn part(mut self, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds several parts.
    pub(crate) fn parts<T: AsRef<[u8]>>(self, parts: impl IntoIterator<Item = T>) -> Self {
        parts.into_iter().fold(self, Self::part)
    }

    /// In hexadecimal.
    pub(crate) fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// The plain SHA-256 of a file's content, in hexadecimal.
pub(crate) fn file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(&buffer[..read]),
        }
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_parts_end_matters() {
        assert_ne!(
            Hasher::default().part("ab").part("c").hex(),
            Hasher::default().part("a").part("bc").hex()
        );
    }

    #[test]
    fn a_file_hashes_as_everywhere_else() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "abc").expect("it is writable");
        assert_eq!(
            super::file(file.path()).expect("it is readable"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
